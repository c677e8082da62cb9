// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory out of a snapshot (include/lkvm/snapshot/memory.h): chunk by chunk into a
 * buffer of our own, checked there, then copied. Pages that are zero are never touched,
 * so a restored VM uses no more of the host's memory than it did.
 *
 * One thread; no lock.
 */
#include "lkvm/snapshot/memory.h"

#include "private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

unsigned int chunk_run(uint64_t pages, unsigned int from)
{
	unsigned int n = 0;

	while (from + n < SNAPSHOT_CHUNK_PAGES && pages >> (from + n) & 1)
		n++;
	return n;
}

int chunk_reader_init(struct chunk_reader *c, const struct snapshot_memory *m, struct error *err)
{
	*c = (struct chunk_reader){.m = m,
				   .pages = malloc(SNAPSHOT_CHUNK),
				   .stored = malloc(SNAPSHOT_CHUNK),
				   .what = "guest memory"};
	if (c->pages && c->stored)
		return 0;
	chunk_reader_free(c);
	return fail(err, "no memory to read guest memory");
}

void chunk_reader_free(struct chunk_reader *c)
{
	free(c->pages);
	free(c->stored);
	c->pages = NULL;
	c->stored = NULL;
}

static uint32_t sum_of(const uint8_t *bytes, size_t len)
{
	return snapshot_sum_end(snapshot_sum(SNAPSHOT_SUM_FIRST, bytes, len), len);
}

/* The pages that are there, run by run; what is between them must be zero. */
static int read_raw(struct chunk_reader *w, const struct snapshot_chunk *c, struct error *err)
{
	uint8_t *to = w->pages;
	unsigned int i = 0;

	while (i < SNAPSHOT_CHUNK_PAGES) {
		unsigned int n = chunk_run(c->pages, i);
		uint64_t at = c->offset + i * SNAPSHOT_PAGE;

		if (!n) {
			i++;
			continue;
		}
		if (w->in_order) {
			int ret = snapshot_zeroes(w->m->file, &w->gap, at, w->stop, w->what, err);

			if (ret)
				return ret;
		}
		if (snapshot_pread(w->m->file, to, n * SNAPSHOT_PAGE, at, w->what, err))
			return -1;
		to += n * SNAPSHOT_PAGE;
		i += n;
		w->gap = c->offset + i * SNAPSHOT_PAGE;
	}
	if (sum_of(w->pages, c->stored) != c->sum)
		return fail(err, "%s: damaged (its checksum is another)", w->what);
	return 0;
}

static int read_packed(struct chunk_reader *w, const struct snapshot_chunk *c, struct error *err)
{
	size_t len = (size_t)__builtin_popcountll(c->pages) * SNAPSHOT_PAGE;

	if (snapshot_pread(w->m->file, w->stored, c->stored, c->offset, w->what, err))
		return -1;
	if (sum_of(w->stored, c->stored) != c->sum)
		return fail(err, "%s: damaged (its checksum is another)", w->what);
	if (c->stored == len)
		memcpy(w->pages, w->stored, len);
	else if (!chunk_unpack(w->m->encoding, w->pages, len, w->stored, c->stored))
		return fail(err, "%s: damaged (it can't be unpacked)", w->what);
	return 0;
}

int chunk_read(struct chunk_reader *w, const struct snapshot_region *r, uint64_t i,
	       struct error *err)
{
	const struct snapshot_chunk *c = &r->chunks[i];
	gpa_t gpa = r->gpa + i * SNAPSHOT_CHUNK;

	snprintf(w->what, sizeof(w->what), "guest memory at 0x%llx", (unsigned long long)gpa);
	return w->m->encoding == SNAPSHOT_RAW ? read_raw(w, c, err) : read_packed(w, c, err);
}

/* Put the pages where the guest has them. */
static int deliver(const struct memory_walk *w, const struct snapshot_chunk *c, gpa_t gpa,
		   struct error *err)
{
	const uint8_t *from = w->reader.pages;
	unsigned int i = 0;

	while (i < SNAPSHOT_CHUNK_PAGES) {
		unsigned int n = chunk_run(c->pages, i);

		if (n && !memory_write(w->mem, gpa + i * SNAPSHOT_PAGE, from, n * SNAPSHOT_PAGE))
			return fail(err, "%s: the VM has no RAM there", w->reader.what);
		from += n * SNAPSHOT_PAGE;
		i += n ? n : 1;
	}
	return 0;
}

int memory_walk_begin(struct memory_walk *w, const struct snapshot_memory *m,
		      struct guest_memory *mem, struct error *err)
{
	*w = (struct memory_walk){.mem = mem};
	if (chunk_reader_init(&w->reader, m, err))
		return -1;
	w->reader.in_order = true;
	w->reader.gap = m->file->header.memory;
	return 0;
}

static int walk_region(struct memory_walk *w, const struct snapshot_region *r,
		       const _Atomic bool *stop, struct error *err)
{
	for (; w->chunk < r->nr_chunks; w->chunk++) {
		const struct snapshot_chunk *c = &r->chunks[w->chunk];
		int ret;

		if (stop && atomic_load(stop))
			return 1;
		if (!c->pages)
			continue;
		/* Stopped in it, all of it comes once more. */
		ret = chunk_read(&w->reader, r, w->chunk, err);
		if (!ret && w->mem)
			ret = deliver(w, c, r->gpa + w->chunk * SNAPSHOT_CHUNK, err);
		if (ret)
			return ret;
	}
	return 0;
}

int memory_walk_on(struct memory_walk *w, const _Atomic bool *stop, struct error *err)
{
	const struct snapshot_memory *m = w->reader.m;
	int ret;

	w->reader.stop = stop;
	for (; w->region < m->nr; w->region++, w->chunk = 0) {
		ret = walk_region(w, &m->regions[w->region], stop, err);
		if (ret)
			return ret;
	}
	if (m->encoding != SNAPSHOT_RAW)
		return 0;
	return snapshot_zeroes(m->file, &w->reader.gap, m->file->size, stop,
			       "guest memory, its end", err);
}

void memory_walk_end(struct memory_walk *w)
{
	chunk_reader_free(&w->reader);
}

int snapshot_memory_read(const struct snapshot_memory *m, struct guest_memory *mem,
			 struct error *err)
{
	struct memory_walk w;
	int ret = memory_walk_begin(&w, m, mem, err);

	if (!ret)
		ret = memory_walk_on(&w, NULL, err);
	memory_walk_end(&w);
	return ret;
}

int snapshot_memory_chunk(const struct snapshot_memory *m, const struct snapshot_region *r,
			  uint64_t i, uint8_t *buf, struct error *err)
{
	const struct snapshot_chunk *c = &r->chunks[i];
	struct chunk_reader reader;
	const uint8_t *from;
	unsigned int page;
	int ret;

	memset(buf, 0, SNAPSHOT_CHUNK);
	if (!c->pages)
		return 0;
	if (chunk_reader_init(&reader, m, err))
		return -1;
	ret = chunk_read(&reader, r, i, err);
	for (page = 0, from = reader.pages; !ret && page < SNAPSHOT_CHUNK_PAGES; page++) {
		if (!(c->pages >> page & 1))
			continue;
		memcpy(buf + page * SNAPSHOT_PAGE, from, SNAPSHOT_PAGE);
		from += SNAPSHOT_PAGE;
	}
	chunk_reader_free(&reader);
	return ret;
}
