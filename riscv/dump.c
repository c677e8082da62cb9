// SPDX-License-Identifier: GPL-2.0-only
/*
 * RISC-V's part of core files (include/lkvm/arch_dump.h).
 *
 * Notes are those that Linux writes for a process, a hart in place of each thread, numbered
 * from 1: NT_PRSTATUS with pc and x1 to x31, NT_FPREGSET with f0 to f31 and fcsr (Linux
 * include/linux/elfcore.h, arch/riscv/include/uapi/asm/ptrace.h).
 *
 * Where the kernel sees memory is read out of the tables of the first hart that has paging
 * on. The distance between virtual and guest address that most of RAM has is the kernel's
 * linear map, and all RAM is put there. Other runs, as the kernel's own image, come beside
 * it where they are large enough to be worth a segment, and so do the pages of each hart's
 * stack, which Linux has elsewhere (CONFIG_VMAP_STACK), and no backtrace without. A kernel that
 * lies about its tables gets a file that says so; what is read is bounded.
 *
 * Thread and lock: the loop's thread, vCPUs parked. Nothing is saved.
 */
#include "lkvm/arch_dump.h"

#include "lkvm/riscv/regs.h"
#include "lkvm/riscv/walk.h"
#include "lkvm/vcpu.h"

#include <elf.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* RISC-V ELF psABI, "File Header". */
#define MACHINE_RISCV 243
#define FLAG_COMPRESSED 1
#define FLAG_DOUBLE 4

const uint16_t arch_dump_machine = MACHINE_RISCV;
const uint32_t arch_dump_flags = FLAG_COMPRESSED | FLAG_DOUBLE;

/* Smaller pieces of the kernel's address space are left away. */
#define RUN_MIN (512 * KIB)

#define PAGE UINT64_C(4096)
/* From the one that sp is in; Linux has 4 on most machines, and 16 with KASAN. */
#define STACK_PAGES 16

/**
 * struct status - NT_PRSTATUS of a 64-bit RISC-V Linux
 */
struct status {
	uint32_t signal[3];
	uint16_t current_signal, pad;
	uint64_t pending, held;
	uint32_t pid, ppid, pgrp, sid;
	uint64_t times[8];
	uint64_t pc, x[31];
	uint32_t fp_valid, pad2;
};

struct fp_state {
	uint64_t f[32];
	uint32_t fcsr, pad;
};

_Static_assert(sizeof(struct status) == 376, "as debuggers know it");
_Static_assert(sizeof(struct fp_state) == 264, "as debuggers know it");

static void put_note(FILE *out, uint32_t type, const void *data, uint32_t size)
{
	static const char name[8] = "CORE";
	const Elf64_Nhdr head = {
		.n_namesz = htole32(5), .n_descsz = htole32(size), .n_type = htole32(type)};

	fwrite(&head, sizeof(head), 1, out);
	fwrite(name, sizeof(name), 1, out);
	fwrite(data, size, 1, out);
}

static void put_status(FILE *out, const struct vcpu *vcpu)
{
	struct status s = {.pid = htole32(vcpu->id + 1),
			   .ppid = htole32(1),
			   .fp_valid = htole32(1),
			   .pc = htole64(reg_long_or_zero(&vcpu->kvm, REG_CORE, CORE_PC))};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(s.x); i++)
		s.x[i] = htole64(reg_long_or_zero(&vcpu->kvm, REG_CORE, CORE_RA + i));
	put_note(out, NT_PRSTATUS, &s, sizeof(s));
}

static void put_fp(FILE *out, const struct vcpu *vcpu)
{
	struct fp_state fp = {.fcsr = 0};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(fp.f); i++) {
		if (kvm_get_reg(&vcpu->kvm, reg_id(REG_FP_D, 0, i, REG_SIZE_U64), &fp.f[i]))
			return; /* no D: there is no such note */
		fp.f[i] = htole64(fp.f[i]);
	}
	kvm_get_reg(&vcpu->kvm, reg_id(REG_FP_D, 0, 32, REG_SIZE_U32), &fp.fcsr);
	fp.fcsr = htole32(fp.fcsr);
	put_note(out, NT_FPREGSET, &fp, sizeof(fp));
}

int arch_dump_notes(struct vm *vm, char **notes, size_t *len, struct error *err)
{
	FILE *out = open_memstream(notes, len);
	unsigned int i;

	if (!out)
		return fail(err, "no memory");
	for (i = 0; i < vm->nr_vcpus; i++) {
		put_status(out, &vm->vcpus[i]);
		put_fp(out, &vm->vcpus[i]);
	}
	if (!fclose(out))
		return 0;
	free(*notes);
	return fail(err, "no memory");
}

/* --- where the kernel sees memory ---------------------------------------------------------- */

/**
 * struct runs - what the kernel's tables map
 * @list, @nr: the pieces that are large enough
 */
struct runs {
	const struct guest_memory *mem;
	struct dump_segment list[DUMP_SEGMENTS_MAX - MEMORY_MAX_REGIONS];
	size_t nr;
};

static bool add_run(void *opaque, const struct walk_run *run)
{
	const struct memory_region *r;
	struct runs *runs = opaque;
	uint64_t size;

	r = memory_find(runs->mem, run->gpa, 0);
	if (!r || r->file)
		return true;
	/* What goes beyond the region is no RAM. */
	size = min_u64(run->len, r->gpa + r->size - run->gpa);
	if (size >= RUN_MIN)
		runs->list[runs->nr++] = (struct dump_segment){run->va, run->gpa, size};
	return runs->nr < ARRAY_SIZE(runs->list);
}

static uint64_t distance(const struct dump_segment *s)
{
	return s->va - s->gpa;
}

/* The distance that most memory has. Return: false where nothing is mapped. */
static bool linear_map(const struct runs *runs, uint64_t *most)
{
	uint64_t best = 0, sum;
	size_t i, k;

	for (i = 0; i < runs->nr; i++) {
		for (k = 0, sum = 0; k < runs->nr; k++)
			if (distance(&runs->list[k]) == distance(&runs->list[i]))
				sum += runs->list[k].size;
		if (sum > best) {
			best = sum;
			*most = distance(&runs->list[i]);
		}
	}
	return best;
}

static void find_runs(struct vm *vm, struct runs *runs)
{
	uint64_t satp;
	unsigned int i;

	for (i = 0; i < vm->nr_vcpus; i++) {
		satp = reg_long_or_zero(&vm->vcpus[i].kvm, REG_CSR, CSR_SATP);
		if (walk_is_bare(satp))
			continue;
		/* Where it ends early the rest is left away. */
		walk_kernel(&vm->mem, satp, add_run, runs);
		return;
	}
}

static bool is_shown(const struct dump_segment *list, size_t nr, uint64_t va)
{
	size_t i;

	for (i = 0; i < nr; i++)
		if (va - list[i].va < list[i].size)
			return true;
	return false;
}

/* Does the page follow upon @s, here and there? */
static bool follows(const struct dump_segment *s, uint64_t va, gpa_t gpa)
{
	return s->va + s->size == va && s->gpa + s->size == gpa;
}

/* What is mapped from the hart's stack pointer on, and not shown yet. Return: the new @nr. */
static size_t add_stack(const struct vcpu *vcpu, struct dump_segment *list, size_t nr)
{
	const struct guest_memory *mem = &vcpu->vm->mem;
	uint64_t satp = reg_long_or_zero(&vcpu->kvm, REG_CSR, CSR_SATP);
	uint64_t va = align_down(reg_long_or_zero(&vcpu->kvm, REG_CORE, CORE_SP), PAGE);
	const struct memory_region *r;
	size_t first = nr;
	unsigned int i;
	uint64_t len;
	gpa_t gpa;

	for (i = 0; i < STACK_PAGES && nr < DUMP_SEGMENTS_MAX; i++, va += PAGE) {
		if (is_shown(list, nr, va) || !walk(mem, satp, va, &gpa, &len))
			break;
		r = memory_find(mem, gpa, PAGE);
		if (!r || r->file)
			break;
		if (nr > first && follows(&list[nr - 1], va, gpa))
			list[nr - 1].size += PAGE;
		else
			list[nr++] = (struct dump_segment){va, gpa, PAGE};
	}
	return nr;
}

size_t arch_dump_segments(struct vm *vm, struct dump_segment *list)
{
	struct runs *runs = calloc(1, sizeof(*runs));
	uint64_t linear = 0;
	size_t nr = 0, i;

	if (runs) {
		runs->mem = &vm->mem;
		find_runs(vm, runs);
	}
	/* Without memory for that, or paging: by guest address. */
	if (runs && !linear_map(runs, &linear))
		linear = 0;
	for (i = 0; i < vm->mem.nr; i++) {
		const struct memory_region *r = &vm->mem.regions[i];

		if (!r->file)
			list[nr++] = (struct dump_segment){r->gpa + linear, r->gpa, r->size};
	}
	for (i = 0; runs && i < runs->nr; i++)
		if (distance(&runs->list[i]) != linear)
			list[nr++] = runs->list[i];
	free(runs);
	for (i = 0; i < vm->nr_vcpus; i++)
		nr = add_stack(&vm->vcpus[i], list, nr);
	return nr;
}
