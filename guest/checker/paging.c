// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page tables that nobody has touched for long: does a load through them still come to an end?
 *
 * Each hart has a tree for Sv39: one GiB of identity, in which everything of this guest lies, and
 * many last tables, each a page of its own with one entry, all of the same page. An epoch loads
 * through the next one, whose entry has no A bit. Where the hart sets that itself (Svadu), its
 * write is the first one to this page for as many epochs as there are tables, and the first use
 * of it at all where the guest was saved and brought back in between. The entry is looked at and
 * cleared only after that. Where harts do not set it, it is set from the start.
 *
 * Each hart's tables are its own; no lock. Nothing is saved but by the host.
 */
#include "checker.h"

#define PTE_V 0x01
#define PTE_A 0x40
#define PTE_LEAF 0x8f /* D, X, W, R, V */
#define PTES 512

#define WINDOW (UINT64_C(1) << 30)
#define WINDOW_STEP (UINT64_C(1) << 21)

#define TABLES 32

struct tree {
	uint64_t root[PTES], middle[PTES], last[TABLES][PTES];
} __attribute__((aligned(4096)));

static struct tree trees[MAX_HARTS];

static bool hart_sets_a;

static uint64_t entry(const volatile void *to, uint64_t bits)
{
	return (uintptr_t)to >> 12 << 10 | bits;
}

static uint64_t *page_of(struct hart *h)
{
	return (uint64_t *)(((uintptr_t)h->memory + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1));
}

/* Load from @va; false: it was refused. Interrupts are off. */
static bool try_load(uint64_t va, uint64_t *value)
{
	uint64_t good, vector;

	__asm__ volatile("la %2, 1f\n\t"
			 "csrrw %2, stvec, %2\n\t"
			 "li %0, 0\n\t"
			 "ld %1, (%3)\n\t"
			 "li %0, 1\n\t"
			 ".balign 4\n"
			 "1:\n\t"
			 "csrw stvec, %2"
			 : "=&r"(good), "=&r"(*value), "=&r"(vector)
			 : "r"(va)
			 : "memory");
	return good;
}

/* The same while table @k of @t is in use. */
static bool load_through(const struct tree *t, uint64_t k, uint64_t *value)
{
	bool good;

	__asm__ volatile("csrci sstatus, 2" ::: "memory");
	good = set_satp((uintptr_t)t->root, 3) && try_load(WINDOW + k * WINDOW_STEP, value);
	set_satp(0, 0);
	__asm__ volatile("csrsi sstatus, 2" ::: "memory");
	return good;
}

bool begin_paging(struct hart *harts, unsigned int nr)
{
	uint64_t gib = (uintptr_t)trees >> 30, i, k, value;

	for (i = 0; i < nr; i++) {
		struct tree *t = &trees[i];

		t->root[gib] = entry((void *)(gib << 30), PTE_LEAF | PTE_A);
		t->root[WINDOW >> 30] = entry(t->middle, PTE_V);
		for (k = 0; k < TABLES; k++) {
			t->middle[k] = entry(t->last[k], PTE_V);
			t->last[k][0] = entry(page_of(&harts[i]), PTE_LEAF);
		}
	}
	hart_sets_a = load_through(&trees[0], 0, &value);
	for (i = 0; i < nr; i++)
		for (k = 0; k < TABLES; k++)
			trees[i].last[k][0] = entry(page_of(&harts[i]),
						    hart_sets_a ? PTE_LEAF : PTE_LEAF | PTE_A);
	return hart_sets_a;
}

const char *check_paging(struct hart *h, uint64_t *got, uint64_t *want)
{
	struct tree *t = &trees[h->id];
	uint64_t k = h->epoch % TABLES;

	*want = *page_of(h);
	if (!load_through(t, k, got))
		return "load, refused, through table";
	if (*got != *want)
		return "load through table";
	*got = t->last[k][0];
	*want = entry(page_of(h), PTE_LEAF | PTE_A);
	if (*got != *want)
		return "entry of table";
	if (hart_sets_a)
		t->last[k][0] = *got & ~(uint64_t)PTE_A;
	return NULL;
}
