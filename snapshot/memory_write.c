// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory into a snapshot (include/lkvm/snapshot/memory.h).
 *
 * The VM is paused and its devices are quiet, so RAM holds still. Pages that the host has
 * never given to the VM are zero without being looked at, which would make the host give
 * them: /proc/self/pagemap says which those are. It only saves time: without it all
 * pages are looked at.
 *
 * One thread; no lock.
 */
#include "lkvm/snapshot/memory.h"

#include "lkvm/xfer.h"
#include "private.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Linux Documentation/admin-guide/mm/pagemap.rst: present, or swapped out. */
#define PAGEMAP_THERE (UINT64_C(3) << 62)

/**
 * struct pass - one pass over RAM
 * @x: the index that results
 * @at: compressed: where the next chunk goes
 * @pages, @packed: compressed: a chunk's pages, and what becomes of them
 * @pagemap: descriptor, or -1
 */
struct pass {
	struct snapshot_writer *w;
	enum snapshot_encoding encoding;
	struct xfer x;
	uint64_t at;
	uint8_t *pages, *packed;
	size_t packed_max;
	int pagemap;
};

/* Most pages that are not zero show it early. By eights: see snapshot_sum(). */
static bool is_zero(const uint8_t *page)
{
	const memory_word *p = __builtin_assume_aligned(page, SNAPSHOT_PAGE);
	const memory_word *end = p + SNAPSHOT_PAGE / sizeof(*p);

	for (; p < end; p += 8)
		if (p[0] | p[1] | p[2] | p[3] | p[4] | p[5] | p[6] | p[7])
			return false;
	return true;
}

/* Which of @n pages at @hva may hold something: what the host never gave does not. */
static uint64_t touched(const struct pass *p, const struct memory_region *r, const uint8_t *hva,
			unsigned int n)
{
	uint64_t entries[SNAPSHOT_CHUNK_PAGES], there = 0;
	unsigned int i;

	/* Another process may have filled a file's pages, or they are a snapshot's. */
	if (r->fd >= 0 || r->copied || p->pagemap < 0 ||
	    pread_all(p->pagemap, entries, n * sizeof(entries[0]),
		      (uintptr_t)hva / SNAPSHOT_PAGE * sizeof(entries[0])) !=
		    (long)(n * sizeof(entries[0])))
		return UINT64_MAX;
	for (i = 0; i < n; i++)
		if (entries[i] & PAGEMAP_THERE)
			there |= UINT64_C(1) << i;
	return there;
}

static int write_raw(struct pass *p, const uint8_t *hva, struct snapshot_chunk *c,
		     struct error *err)
{
	uint64_t sum = SNAPSHOT_SUM_FIRST;
	unsigned int i = 0, n;

	while (i < SNAPSHOT_CHUNK_PAGES) {
		for (n = 0; i + n < SNAPSHOT_CHUNK_PAGES && c->pages >> (i + n) & 1; n++)
			;
		if (!n) {
			i++;
			continue;
		}
		sum = snapshot_sum(sum, hva + i * SNAPSHOT_PAGE, n * SNAPSHOT_PAGE);
		if (snapshot_write(p->w, hva + i * SNAPSHOT_PAGE, n * SNAPSHOT_PAGE,
				   c->offset + i * SNAPSHOT_PAGE, err))
			return -1;
		c->stored += (uint32_t)(n * SNAPSHOT_PAGE);
		i += n;
	}
	c->sum = snapshot_sum_end(sum, c->stored);
	return 0;
}

static int write_packed(struct pass *p, const uint8_t *hva, struct snapshot_chunk *c,
			struct error *err)
{
	size_t len = 0, packed;
	const uint8_t *from = p->packed;
	unsigned int i;

	for (i = 0; i < SNAPSHOT_CHUNK_PAGES; i++) {
		if (!(c->pages >> i & 1))
			continue;
		memcpy(p->pages + len, hva + i * SNAPSHOT_PAGE, SNAPSHOT_PAGE);
		len += SNAPSHOT_PAGE;
	}
	packed = chunk_pack(p->encoding, p->packed, p->packed_max, p->pages, len);
	if (!packed)
		return fail(err, "no memory to compress guest memory");
	if (packed >= len) {
		packed = len;
		from = p->pages;
	}
	c->stored = (uint32_t)packed;
	c->sum = snapshot_sum_end(snapshot_sum(SNAPSHOT_SUM_FIRST, from, packed), packed);
	p->at += packed;
	return snapshot_write(p->w, from, packed, c->offset, err);
}

static int write_chunk(struct pass *p, const struct memory_region *r, uint64_t chunk,
		       uint64_t file_at, struct error *err)
{
	const uint8_t *hva = (const uint8_t *)r->hva + chunk * SNAPSHOT_CHUNK;
	unsigned int n = (unsigned int)(min_u64(r->size - chunk * SNAPSHOT_CHUNK, SNAPSHOT_CHUNK) /
					SNAPSHOT_PAGE);
	uint64_t maybe = touched(p, r, hva, n);
	struct snapshot_chunk c = {.offset = file_at};
	unsigned int i;
	int ret = 0;

	for (i = 0; maybe && i < n; i++)
		if (maybe >> i & 1 && !is_zero(hva + i * SNAPSHOT_PAGE))
			c.pages |= UINT64_C(1) << i;
	if (c.pages)
		ret = p->encoding == SNAPSHOT_RAW ? write_raw(p, hva, &c, err)
						  : write_packed(p, hva, &c, err);
	xfer_u64(&p->x, &c.pages);
	xfer_u64(&p->x, &c.offset);
	xfer_u32(&p->x, &c.stored);
	xfer_u32(&p->x, &c.sum);
	return ret;
}

static void write_head(struct pass *p, const struct guest_memory *mem)
{
	uint32_t encoding = p->encoding, nr = 0, page = SNAPSHOT_PAGE, pages = SNAPSHOT_CHUNK_PAGES;
	uint64_t at = p->at;
	size_t i;

	for (i = 0; i < mem->nr; i++)
		nr += !mem->regions[i].file;
	xfer_u32(&p->x, &encoding);
	xfer_u32(&p->x, &nr);
	xfer_u32(&p->x, &page);
	xfer_u32(&p->x, &pages);
	for (i = 0; i < mem->nr; i++) {
		const struct memory_region *r = &mem->regions[i];
		uint64_t gpa = r->gpa, size = r->size;
		uint64_t offset = p->encoding == SNAPSHOT_RAW ? at : 0;

		if (r->file)
			continue;
		xfer_u64(&p->x, &gpa);
		xfer_u64(&p->x, &size);
		xfer_u64(&p->x, &offset);
		at += size;
	}
}

/* Return: 0, or -1 with @err set where nobody wants the file any more. */
static int advance(const struct pass *p, uint64_t bytes, struct error *err)
{
	struct snapshot_progress *progress = p->w->progress;

	if (!progress)
		return 0;
	atomic_fetch_add(&progress->done, bytes);
	return atomic_load(&progress->cancel)
		       ? fail(err, "the VM ended or restarted while it was saved")
		       : 0;
}

static int write_all_chunks(struct pass *p, const struct guest_memory *mem, struct error *err)
{
	bool raw = p->encoding == SNAPSHOT_RAW;
	size_t i;

	write_head(p, mem);
	for (i = 0; i < mem->nr; i++) {
		const struct memory_region *r = &mem->regions[i];
		uint64_t start = p->at, chunk;

		if (r->file)
			continue;
		for (chunk = 0; chunk * SNAPSHOT_CHUNK < r->size; chunk++)
			if (write_chunk(p, r, chunk, raw ? start + chunk * SNAPSHOT_CHUNK : p->at,
					err) ||
			    advance(p, min_u64(r->size - chunk * SNAPSHOT_CHUNK, SNAPSHOT_CHUNK),
				    err))
				return -1;
		if (raw)
			p->at = start + r->size;
	}
	return xfer_done(&p->x, err);
}

int snapshot_memory_write(struct snapshot_writer *w, const struct guest_memory *mem,
			  enum snapshot_encoding encoding, uint64_t offset, uint8_t *index,
			  uint64_t *end, struct error *err)
{
	struct pass p = {.w = w,
			 .encoding = encoding,
			 .at = offset,
			 .pages = malloc(SNAPSHOT_CHUNK),
			 .packed_max = chunk_pack_max(SNAPSHOT_CHUNK),
			 .pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)};
	int ret;

	p.packed = malloc(p.packed_max);
	xfer_save_init(&p.x);
	if (!p.pages || !p.packed)
		ret = fail(err, "no memory to save guest memory");
	else
		ret = write_all_chunks(&p, mem, err);
	if (!ret && p.x.len != snapshot_memory_size(mem))
		ret = fail(err, "the index of guest memory has another size than it was given");
	if (!ret)
		memcpy(index, p.x.buf, p.x.len);
	*end = p.at;
	xfer_free(&p.x);
	free(p.pages);
	free(p.packed);
	if (p.pagemap >= 0)
		close(p.pagemap);
	return ret;
}
