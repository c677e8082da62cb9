// SPDX-License-Identifier: GPL-2.0-only
/*
 * The index of guest memory (include/lkvm/snapshot/memory.h), section "memory":
 *
 *	u32 encoding (0 raw, 1 zlib, 2 zstd), u32 regions, u32 page size, u32 pages of a chunk
 *	for each region: u64 gpa, u64 size, u64 offset in the file (compressed: 0)
 *	for each region, for each of its chunks: u64 pages, u64 offset, u32 stored, u32 sum
 *
 * A chunk's sum: s is 0xd4bdb0408db9478a at first. For each two u64 a and b of the bytes, filled up
 * with zeroes to a multiple of 16, and then for the number of bytes and 0: x is s ^ a; the 128-bit
 * product of x and b ^ 0x963656a4e309b4d1 is made; s becomes its upper half xor its lower half, and
 * plus x. The lower half of s counts. (Both numbers: the SHA-256 of "lkvm snapshot".)
 *
 * There is but one way for a state to lie in a file: regions rise, each begins in the
 * file where the one before ended, and so do compressed chunks. So everything up to the
 * file's end belongs to something, and anything else is damage.
 *
 * One thread for each index; no lock.
 */
#include "lkvm/snapshot/memory.h"

#include "lkvm/xfer.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_BYTES 16
#define REGION_BYTES 24
#define CHUNK_BYTES 24

#define SUM_FACTOR UINT64_C(0x963656a4e309b4d1)

/*
 * Each bit of x and of the factor moves both halves of the product, so changes in neighbouring
 * words do not cancel out. Without x beside it a factor of 0, or of all ones, would make the sum
 * forget all words before: the number that does so to a factor must not be one that memory is
 * likely to hold.
 */
static uint64_t sum_step(uint64_t sum, uint64_t a, uint64_t b)
{
	uint64_t x = sum ^ a;
	unsigned __int128 product = (unsigned __int128)x * (b ^ SUM_FACTOR);

	return ((uint64_t)(product >> 64) ^ (uint64_t)product) + x;
}

uint64_t snapshot_sum(uint64_t sum, const void *buf, size_t len)
{
	const memory_word *p = __builtin_assume_aligned(buf, sizeof(*p));
	const memory_word *end = p + len / (8 * sizeof(*p)) * 8;
	uint64_t rest[8] = {0};
	unsigned int i;

	/* By eights: by twos the loop itself would cost as much as a step does. */
	for (; p < end; p += 8) {
		sum = sum_step(sum, le64toh(p[0]), le64toh(p[1]));
		sum = sum_step(sum, le64toh(p[2]), le64toh(p[3]));
		sum = sum_step(sum, le64toh(p[4]), le64toh(p[5]));
		sum = sum_step(sum, le64toh(p[6]), le64toh(p[7]));
	}
	len %= sizeof(rest);
	memcpy(rest, p, len);
	for (i = 0; i * sizeof(*p) < len; i += 2)
		sum = sum_step(sum, le64toh(rest[i]), le64toh(rest[i + 1]));
	return sum;
}

uint32_t snapshot_sum_end(uint64_t sum, uint64_t len)
{
	return (uint32_t)sum_step(sum, len, 0);
}

static uint64_t chunks_of(uint64_t size)
{
	return size / SNAPSHOT_CHUNK + (size % SNAPSHOT_CHUNK != 0);
}

size_t snapshot_memory_size(const struct guest_memory *mem)
{
	size_t len = HEAD_BYTES, i;

	for (i = 0; i < mem->nr; i++)
		if (!mem->regions[i].file)
			len += REGION_BYTES + (size_t)chunks_of(mem->regions[i].size) * CHUNK_BYTES;
	return len;
}

/* Regions of a sane size, rising, whose chunks fill the rest of the index. */
static void load_regions(struct snapshot_memory *m, struct xfer *x)
{
	uint64_t room = (x->len - x->pos) / CHUNK_BYTES, total = 0;
	gpa_t end = 0;
	uint32_t i;

	for (i = 0; i < m->nr && !x->failed; i++) {
		struct snapshot_region *r = &m->regions[i];

		xfer_u64(x, &r->gpa);
		xfer_u64(x, &r->size);
		xfer_u64(x, &r->offset);
		xfer_check(x,
			   r->size && r->size % SNAPSHOT_PAGE == 0 && r->gpa % SNAPSHOT_PAGE == 0 &&
				   r->gpa + r->size > r->gpa && r->gpa >= end,
			   "memory: a region of RAM is none");
		end = r->gpa + r->size;
		r->nr_chunks = chunks_of(r->size);
		xfer_check(x, r->nr_chunks <= room - total, "memory: the index is too short");
		if (!x->failed)
			total += r->nr_chunks;
	}
	xfer_check(x,
		   total == (x->len - x->pos) / CHUNK_BYTES && (x->len - x->pos) % CHUNK_BYTES == 0,
		   "memory: the index has not as many chunks as the regions");
}

static uint64_t all_pages(const struct snapshot_region *r, uint64_t chunk)
{
	uint64_t left = (r->size - chunk * SNAPSHOT_CHUNK) / SNAPSHOT_PAGE;

	return left >= SNAPSHOT_CHUNK_PAGES ? UINT64_MAX : (UINT64_C(1) << left) - 1;
}

static void load_chunk(struct snapshot_memory *m, const struct snapshot_region *r, uint64_t i,
		       uint64_t *at, struct xfer *x)
{
	struct snapshot_chunk *c = &r->chunks[i];
	uint64_t bytes;
	bool raw = m->encoding == SNAPSHOT_RAW;

	xfer_u64(x, &c->pages);
	xfer_u64(x, &c->offset);
	xfer_u32(x, &c->stored);
	xfer_u32(x, &c->sum);
	bytes = (uint64_t)__builtin_popcountll(c->pages) * SNAPSHOT_PAGE;
	xfer_check(x, !(c->pages & ~all_pages(r, i)), "memory: a page lies outside its region");
	xfer_check(x, raw ? c->stored == bytes : c->stored <= bytes && !c->stored == !bytes,
		   "memory: a chunk's length is none");
	xfer_check(x, c->offset == (raw ? r->offset + i * SNAPSHOT_CHUNK : *at),
		   "memory: a chunk lies where none can");
	if (x->failed)
		return;
	m->used += bytes;
	*at += raw ? 0 : c->stored;
}

static void load_chunks(struct snapshot_memory *m, struct xfer *x)
{
	uint64_t at = m->file->header.memory, size = m->file->header.file_size, i;
	uint32_t k;

	for (k = 0; k < m->nr && !x->failed; k++) {
		struct snapshot_region *r = &m->regions[k];

		/* The index holds that many records, so this is no larger than it. */
		r->chunks = calloc((size_t)r->nr_chunks + 1, sizeof(*r->chunks));
		xfer_check(x, r->chunks, "memory: no memory for the index");
		if (m->encoding == SNAPSHOT_RAW) {
			xfer_check(x, r->offset == at && r->size <= size - at,
				   "memory: a region lies in the file where none can");
			at += x->failed ? 0 : r->size;
		} else {
			xfer_check(x, !r->offset, "memory: a region lies where none can");
		}
		for (i = 0; i < r->nr_chunks && !x->failed; i++) {
			load_chunk(m, r, i, &at, x);
			xfer_check(x, at <= size, "memory: a chunk lies beyond the file's end");
		}
	}
	xfer_check(x, at == size, "memory: the file does not end where memory does");
}

static void load_index(struct snapshot_memory *m, struct xfer *x)
{
	uint32_t encoding = 0, page = 0, pages = 0;

	xfer_u32(x, &encoding);
	xfer_u32(x, &m->nr);
	xfer_u32(x, &page);
	xfer_u32(x, &pages);
	xfer_check(x, encoding <= SNAPSHOT_ZSTD, "memory: an encoding that this lkvm can't read");
	xfer_check(x, page == SNAPSHOT_PAGE && pages == SNAPSHOT_CHUNK_PAGES,
		   "memory: pages or chunks of another size");
	xfer_check(x, m->nr && m->nr <= MEMORY_MAX_REGIONS, "memory: no or too many regions");
	m->encoding = (enum snapshot_encoding)encoding;
	if (x->failed)
		m->nr = 0;
	load_regions(m, x);
	load_chunks(m, x);
}

int snapshot_memory_open(struct snapshot_memory *m, const struct snapshot_file *f,
			 struct error *err)
{
	uint8_t id[SNAPSHOT_ID_SIZE], *data;
	struct xfer x;
	size_t len;
	int ret;

	memset(m, 0, sizeof(*m));
	m->file = f;
	if (snapshot_read(f, SNAPSHOT_SECTION_MEMORY, 1, &data, &len, err))
		return -1;
	xfer_load_init(&x, data, len);
	load_index(m, &x);
	ret = xfer_done(&x, err);
	snapshot_identity(f->table, (size_t)f->header.sections * SNAPSHOT_ENTRY_SIZE, data, len,
			  id);
	free(data);
	if (!ret && memcmp(id, f->header.id, sizeof(id)))
		ret = fail(err, "header: state and memory are not those it names");
	if (ret)
		snapshot_memory_close(m);
	return ret;
}

void snapshot_memory_close(struct snapshot_memory *m)
{
	uint32_t i;

	for (i = 0; i < MEMORY_MAX_REGIONS; i++)
		free(m->regions[i].chunks);
	memset(m, 0, sizeof(*m));
}
