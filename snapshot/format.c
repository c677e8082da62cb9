// SPDX-License-Identifier: GPL-2.0-only
/*
 * Header, table and identity of a snapshot (include/lkvm/snapshot/format.h).
 *
 * The identity is a hash of 128 bits over the table and the memory index: one lane is
 * FNV-1a, the other mixes that lane's steps. Both parts hold the checksums of all else, so
 * it names the whole state. It is a name, not a seal: it
 * keeps no attacker from making a file, and none is trusted for it.
 *
 * Pure functions: any thread.
 */
#include "lkvm/snapshot/format.h"

#include "lkvm/xfer.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

/* Where the header's own checksum is; it counts as zero in it. */
#define HEADER_CRC_AT 80
#define HEADER_BYTES 84

/* Without a zero byte behind it. */
static const char magic[8] = SNAPSHOT_MAGIC;

uint32_t snapshot_crc(uint32_t crc, const void *buf, size_t len)
{
	return (uint32_t)crc32_z(crc, buf, len);
}

static void header_fields(struct snapshot_header *h, struct xfer *x)
{
	uint32_t crc = 0;

	xfer_u32(x, &h->version);
	xfer_u32(x, &h->oldest);
	xfer_u32(x, &h->machine);
	xfer_u32(x, &h->xlen);
	xfer_u64(x, &h->file_size);
	xfer_bytes(x, h->id, sizeof(h->id));
	xfer_bytes(x, h->parent, sizeof(h->parent));
	xfer_u64(x, &h->memory);
	xfer_u32(x, &h->sections);
	xfer_u32(x, &h->table_crc);
	xfer_u32(x, &crc);
}

static uint32_t get_le32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put_le32(uint8_t *p, uint32_t v)
{
	unsigned int i;

	for (i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

void snapshot_header_bytes(const struct snapshot_header *h, uint8_t *page)
{
	struct snapshot_header copy = *h;
	struct xfer x;

	memset(page, 0, SNAPSHOT_PAGE);
	memcpy(page, magic, sizeof(magic));
	xfer_save_init(&x);
	header_fields(&copy, &x);
	/* Out of memory leaves a page of zeroes, which nobody takes for a header. */
	if (!xfer_done(&x, NULL))
		memcpy(page + 8, x.buf, x.len);
	xfer_free(&x);
	put_le32(page + HEADER_CRC_AT, snapshot_crc(0, page, SNAPSHOT_PAGE));
}

int snapshot_header_parse(struct snapshot_header *h, const uint8_t *page, struct error *err)
{
	uint8_t copy[SNAPSHOT_PAGE];
	uint32_t crc = get_le32(page + HEADER_CRC_AT);
	struct xfer x;

	if (memcmp(page, magic, sizeof(magic)))
		return fail(err, "header: this is no snapshot of lkvm");
	xfer_load_init(&x, page + 8, HEADER_BYTES - 8);
	header_fields(h, &x);
	if (xfer_done(&x, err))
		return -1;
	/* Before the checksum, which a newer format may do otherwise. */
	if (h->oldest > SNAPSHOT_VERSION)
		return fail(err,
			    "header: format %u, which needs a reader of format %u; this lkvm "
			    "reads up to %u",
			    h->version, h->oldest, SNAPSHOT_VERSION);
	memcpy(copy, page, sizeof(copy));
	put_le32(copy + HEADER_CRC_AT, 0);
	if (snapshot_crc(0, copy, sizeof(copy)) != crc)
		return fail(err, "header: damaged (its checksum is another)");
	return 0;
}

static void entry_fields(struct snapshot_entry *e, struct xfer *x)
{
	uint32_t reserved = 0;

	xfer_bytes(x, e->name, sizeof(e->name));
	xfer_u16(x, &e->version);
	xfer_u16(x, &e->oldest);
	xfer_u32(x, &e->flags);
	xfer_u64(x, &e->offset);
	xfer_u64(x, &e->size);
	xfer_u32(x, &e->crc);
	xfer_u32(x, &reserved);
	xfer_check(x, !reserved, "table: a reserved field is not zero");
}

void snapshot_entry_bytes(const struct snapshot_entry *e, uint8_t *buf)
{
	struct snapshot_entry copy = *e;
	struct xfer x;

	memset(buf, 0, SNAPSHOT_ENTRY_SIZE);
	xfer_save_init(&x);
	entry_fields(&copy, &x);
	if (!xfer_done(&x, NULL))
		memcpy(buf, x.buf, x.len);
	xfer_free(&x);
}

/* A name's letters, then zeroes only. */
static bool name_ok(const char *name)
{
	size_t len = strnlen(name, SNAPSHOT_NAME_SIZE), i;

	if (!len || len == SNAPSHOT_NAME_SIZE ||
	    strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789:._-") != len)
		return false;
	for (i = len; i < SNAPSHOT_NAME_SIZE; i++)
		if (name[i])
			return false;
	return true;
}

int snapshot_entry_parse(struct snapshot_entry *e, const uint8_t *buf, struct error *err)
{
	struct xfer x;

	xfer_load_init(&x, buf, SNAPSHOT_ENTRY_SIZE);
	entry_fields(e, &x);
	if (xfer_done(&x, err))
		return -1;
	return name_ok(e->name) ? 0 : fail(err, "table: a section's name is none");
}

/* FNV-1a's prime and basis of 64 bits (Fowler, Noll, Vo; RFC 9923), and a second lane. */
#define HASH_PRIME UINT64_C(0x100000001b3)
#define HASH_BASIS UINT64_C(0xcbf29ce484222325)
#define HASH_SECOND UINT64_C(0x9e3779b97f4a7c15)

struct hash {
	uint64_t a, b;
};

static void hash_bytes(struct hash *h, const uint8_t *p, size_t len)
{
	while (len--) {
		h->a = (h->a ^ *p++) * HASH_PRIME;
		h->b = ((h->b ^ h->a) << 29 | (h->b ^ h->a) >> 35) * HASH_SECOND;
	}
}

void snapshot_identity(const void *table, size_t table_len, const void *index, size_t index_len,
		       uint8_t id[SNAPSHOT_ID_SIZE])
{
	struct hash h = {HASH_BASIS, HASH_SECOND};
	unsigned int i;

	hash_bytes(&h, table, table_len);
	hash_bytes(&h, index, index_len);
	for (i = 0; i < 8; i++) {
		id[i] = (uint8_t)(h.a >> 8 * i);
		id[8 + i] = (uint8_t)(h.b >> 8 * i);
	}
}

const char *snapshot_id_text(const uint8_t id[SNAPSHOT_ID_SIZE], char *buf)
{
	unsigned int i;

	for (i = 0; i < SNAPSHOT_ID_SIZE; i++)
		snprintf(buf + (size_t)2 * i, 3, "%02x", id[i]);
	return buf;
}
