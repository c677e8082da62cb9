// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's page tables (include/lkvm/riscv/walk.h).
 *
 * satp has the mode in bits 63..60 and the root's page number in bits 43..0. An entry has
 * V, R, W, X in bits 0..3, a page number in bits 53..10 and N (Svnapot) in bit 63. R or X
 * make it a leaf at any level. A NAPOT leaf of the lowest level stands for 64 KiB: its
 * page number ends in 1000, and these bits come from the address.
 *
 * No state, no lock: any thread. Nothing is saved.
 */
#include "lkvm/riscv/walk.h"

#include <endian.h>
#include <string.h>

#define PAGE_SHIFT 12
#define PAGE_SIZE (UINT64_C(1) << PAGE_SHIFT)
#define INDEX_BITS 9
#define ENTRIES 512u

#define PTE_V UINT64_C(1)
#define PTE_R UINT64_C(2)
#define PTE_X UINT64_C(8)
#define PTE_N (UINT64_C(1) << 63)
#define PPN_MASK ((UINT64_C(1) << 44) - 1)

#define NAPOT_MASK 15u
#define NAPOT_64K 8u

/* Entries that walk_kernel() reads at most: the tables of some hundred GiB in 2 MiB pages. */
#define READS_MAX (1u << 22)

/* Levels of the mode in @satp; 0: bare, or unknown. */
static unsigned int levels_of(uint64_t satp)
{
	unsigned int mode = satp >> 60;

	return mode >= 8 && mode <= 10 ? mode - 5 : 0;
}

bool walk_is_bare(uint64_t satp)
{
	return !levels_of(satp);
}

static unsigned int shift_of(unsigned int level)
{
	return PAGE_SHIFT + level * INDEX_BITS;
}

static bool canonical(uint64_t va, unsigned int levels)
{
	unsigned int top = shift_of(levels) - 1;
	int64_t upper = (int64_t)va >> top;

	return upper == 0 || upper == -1;
}

static bool read_entry(const struct guest_memory *mem, uint64_t table, unsigned int index,
		       uint64_t *pte)
{
	const void *at = memory_for_ring(mem, (table << PAGE_SHIFT) + 8 * index, sizeof(*pte));
	uint64_t raw;

	if (!at)
		return false;
	memcpy(&raw, at, sizeof(raw));
	*pte = le64toh(raw);
	return true;
}

static bool is_leaf(uint64_t pte)
{
	return pte & (PTE_R | PTE_X);
}

/* What a leaf maps at @va: false where the entry is none that a hart would take. */
static bool leaf(uint64_t pte, unsigned int level, uint64_t va, gpa_t *gpa, uint64_t *size)
{
	uint64_t ppn = pte >> 10 & PPN_MASK;

	*size = UINT64_C(1) << shift_of(level);
	if (pte & PTE_N) {
		if (level || (ppn & NAPOT_MASK) != NAPOT_64K)
			return false;
		ppn &= ~(uint64_t)NAPOT_MASK;
		*size = (NAPOT_MASK + 1) * PAGE_SIZE;
	}
	if ((ppn << PAGE_SHIFT) & (*size - 1))
		return false;
	*gpa = (ppn << PAGE_SHIFT) + (va & (*size - 1));
	return true;
}

bool walk(const struct guest_memory *mem, uint64_t satp, uint64_t va, gpa_t *gpa, uint64_t *len)
{
	unsigned int levels = levels_of(satp), level;
	uint64_t table = satp & PPN_MASK, pte, size;

	if (!levels || !canonical(va, levels))
		return false;
	for (level = levels; level-- > 0; table = pte >> 10 & PPN_MASK) {
		if (!read_entry(mem, table, va >> shift_of(level) & (ENTRIES - 1), &pte) ||
		    !(pte & PTE_V))
			return false;
		if (!is_leaf(pte))
			continue;
		if (!leaf(pte, level, va, gpa, &size))
			return false;
		*len = size - (va & (size - 1));
		return true;
	}
	return false;
}

/**
 * struct all - walk_kernel() under way
 * @run: what will be handed on when it does not grow any more
 */
struct all {
	const struct guest_memory *mem;
	walk_fn each;
	void *opaque;
	unsigned int reads;
	struct walk_run run;
};

static bool hand_on(struct all *a)
{
	return !a->run.len || a->each(a->opaque, &a->run);
}

static bool add_leaf(struct all *a, uint64_t va, gpa_t gpa, uint64_t size)
{
	if (a->run.len && a->run.va + a->run.len == va && a->run.gpa + a->run.len == gpa) {
		a->run.len += size;
		return true;
	}
	if (!hand_on(a))
		return false;
	a->run = (struct walk_run){va, gpa, size};
	return true;
}

/* The entries from @first on of one table, which begins at @va; tables are five deep at most. */
static bool walk_table(struct all *a, uint64_t table, unsigned int level, uint64_t va,
		       unsigned int first)
{
	unsigned int i;

	for (i = first; i < ENTRIES; i++) {
		uint64_t at = va + ((uint64_t)i << shift_of(level)), pte, size;
		gpa_t gpa;

		if (a->reads++ >= READS_MAX)
			return false;
		if (!read_entry(a->mem, table, i, &pte))
			return true; /* no RAM */
		if (!(pte & PTE_V))
			continue;
		if (!is_leaf(pte)) {
			if (level && !walk_table(a, pte >> 10 & PPN_MASK, level - 1, at, 0))
				return false;
			continue;
		}
		/* The other entries of a NAPOT page say the same again. */
		if (!leaf(pte, level, at, &gpa, &size) || at & (size - 1))
			continue;
		if (!add_leaf(a, at, gpa, size))
			return false;
	}
	return true;
}

bool walk_kernel(const struct guest_memory *mem, uint64_t satp, walk_fn each, void *opaque)
{
	unsigned int levels = levels_of(satp);
	struct all a = {.mem = mem, .each = each, .opaque = opaque};
	uint64_t base;

	if (!levels)
		return true;
	/* With the sign of the upper half; indices from half of the table on make it whole. */
	base = ~UINT64_C(0) << shift_of(levels);
	return walk_table(&a, satp & PPN_MASK, levels - 1, base, ENTRIES / 2) && hand_on(&a);
}
