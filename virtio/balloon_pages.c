// SPDX-License-Identifier: GPL-2.0-only
/*
 * The record of a balloon's pages (include/lkvm/virtio/balloon_pages.h): a bitmap for each
 * region of RAM, from the block on in which the region begins, so that a block's 512 bits
 * are eight whole words.
 *
 * Thread and lock: the balloon's. What is saved: nothing (virtio/balloon.c says why).
 */
#include "lkvm/virtio/balloon_pages.h"

#include <errno.h>
#include <stdlib.h>

#define PAGE_SHIFT 12
#define BLOCK (2 * MIB)
#define BLOCK_WORDS ((BLOCK >> PAGE_SHIFT) / 64)

/* The region that holds @gpa, and the number of the page's bit there. */
static const struct memory_region *find_bit(const struct balloon_pages *p, gpa_t gpa, uint64_t *bit)
{
	const struct memory_region *r = memory_find(p->mem, gpa, 1);

	if (r)
		*bit = (gpa - align_down(r->gpa, BLOCK)) >> PAGE_SHIFT;
	return r;
}

static uint64_t *make_bits(const struct memory_region *r)
{
	uint64_t size = r->gpa + r->size - align_down(r->gpa, BLOCK);

	return calloc((size_t)((size + BLOCK - 1) / BLOCK), BLOCK_WORDS * sizeof(uint64_t));
}

static bool is_full(const uint64_t *block)
{
	size_t i;

	for (i = 0; i < BLOCK_WORDS; i++)
		if (~block[i])
			return false;
	return true;
}

int balloon_pages_add(struct balloon_pages *p, gpa_t gpa)
{
	const struct memory_region *r;
	uint64_t bit, mask, **bits;

	r = find_bit(p, gpa, &bit);
	if (!r)
		return 0;
	bits = &p->bits[r - p->mem->regions];
	if (!*bits)
		*bits = make_bits(r);
	if (!*bits)
		return -ENOMEM;
	mask = UINT64_C(1) << bit % 64;
	if ((*bits)[bit / 64] & mask)
		return 0;
	(*bits)[bit / 64] |= mask;
	return is_full(*bits + align_down(bit / 64, BLOCK_WORDS));
}

void balloon_pages_remove(struct balloon_pages *p, gpa_t gpa)
{
	const struct memory_region *r;
	uint64_t bit, *bits;

	r = find_bit(p, gpa, &bit);
	bits = r ? p->bits[r - p->mem->regions] : NULL;
	if (bits)
		bits[bit / 64] &= ~(UINT64_C(1) << bit % 64);
}

void balloon_pages_clear(struct balloon_pages *p)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(p->bits); i++) {
		free(p->bits[i]);
		p->bits[i] = NULL;
	}
}
