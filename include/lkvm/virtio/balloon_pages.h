/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which pages are in a balloon, where memory goes back to the host by larger blocks than
 * the 4 KiB that a driver speaks of.
 *
 * One bit a page, for each region that is asked about, made at the first page: 32 KiB for
 * a GiB of RAM at most, which the host has to find only where pages are in the balloon.
 * What a driver says twice, or says of pages that are none, changes nothing.
 *
 * Thread and lock: the owner's. All of it is called while regions stay as they are.
 */
#ifndef LKVM_VIRTIO_BALLOON_PAGES_H
#define LKVM_VIRTIO_BALLOON_PAGES_H

#include "lkvm/memory.h"

/**
 * struct balloon_pages - a record; zeroed, but for @mem, it is empty
 */
struct balloon_pages {
	const struct guest_memory *mem;
	uint64_t *bits[MEMORY_MAX_REGIONS];
};

/**
 * balloon_pages_add() - the page at @gpa is in the balloon now
 *
 * @gpa must be in a block larger than a page (memory_block()).
 *
 * Return: 1 where its block was not all in the balloon before, and is now; 0; -ENOMEM.
 */
int balloon_pages_add(struct balloon_pages *p, gpa_t gpa);

/**
 * balloon_pages_remove() - the page at @gpa, which may be anywhere, is not
 */
void balloon_pages_remove(struct balloon_pages *p, gpa_t gpa);

/**
 * balloon_pages_clear() - none is; nothing is left to free
 */
void balloon_pages_clear(struct balloon_pages *p);

#endif /* LKVM_VIRTIO_BALLOON_PAGES_H */
