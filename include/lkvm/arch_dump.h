/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a core file of a VM wants of the architecture (riscv/dump.c): the harts as notes,
 * and where the guest's kernel sees its memory. On the loop's thread, vCPUs parked.
 */
#ifndef LKVM_ARCH_DUMP_H
#define LKVM_ARCH_DUMP_H

#include "lkvm/vm.h"

/* e_machine and e_flags of the file (ELF, processor supplement). */
extern const uint16_t arch_dump_machine;
extern const uint32_t arch_dump_flags;

/**
 * struct dump_segment - guest memory at a virtual address
 */
struct dump_segment {
	uint64_t va;
	gpa_t gpa;
	uint64_t size;
};

#define DUMP_SEGMENTS_MAX 1024

/**
 * arch_dump_segments() - where the guest's kernel sees RAM
 * @list: out: DUMP_SEGMENTS_MAX at most, each inside one region
 *
 * All of RAM is among them, at its GPA where the kernel has no mapping of it.
 *
 * Return: how many.
 */
size_t arch_dump_segments(struct vm *vm, struct dump_segment *list);

/**
 * arch_dump_notes() - the harts' registers as ELF notes
 * @notes: out: to be freed by the caller
 *
 * Return: 0, or -1 with @err set.
 */
int arch_dump_notes(struct vm *vm, char **notes, size_t *len, struct error *err);

#endif /* LKVM_ARCH_DUMP_H */
