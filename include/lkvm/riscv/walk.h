/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest's page tables, walked in user space: Sv39, Sv48, Sv57 with NAPOT pages
 * (RISC-V privileged architecture, "Supervisor Address Translation and Protection").
 *
 * Pure: guest memory in, addresses out. The guest may change its tables at any time; each
 * entry is read once.
 */
#ifndef LKVM_RISCV_WALK_H
#define LKVM_RISCV_WALK_H

#include "lkvm/memory.h"

/**
 * walk_is_bare() - does this satp switch translation off (or name a mode unknown here)?
 */
bool walk_is_bare(uint64_t satp);

/**
 * walk() - translate @va
 * @len: out: bytes from there to the end of its page
 *
 * Permissions are not looked at. A bare @satp maps nothing here: that is the caller's case.
 *
 * Return: false where nothing is mapped.
 */
bool walk(const struct guest_memory *mem, uint64_t satp, uint64_t va, gpa_t *gpa, uint64_t *len);

/**
 * struct walk_run - virtual addresses that are mapped to guest addresses without a gap
 */
struct walk_run {
	uint64_t va;
	gpa_t gpa;
	uint64_t len;
};

/**
 * walk_fn - is handed one run. Return: false to end
 */
typedef bool (*walk_fn)(void *opaque, const struct walk_run *run);

/**
 * walk_kernel() - all runs in the upper half of the address space, from the lowest
 *
 * Tables that point to themselves end by a limit on what is read.
 *
 * Return: false where it ended early.
 */
bool walk_kernel(const struct guest_memory *mem, uint64_t satp, walk_fn each, void *opaque);

#endif /* LKVM_RISCV_WALK_H */
