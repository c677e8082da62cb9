/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest memory in a snapshot: an index (section "memory") and the bytes.
 *
 * RAM is cut into chunks of 64 pages of 4 KiB. The index says of each chunk which pages
 * are not zero, where they are, and their checksum. Raw, a region lies in the file as it
 * does in the guest, zero pages being holes, so that it can be mapped as it lies;
 * compressed, chunk follows upon chunk, each on its own.
 */
#ifndef LKVM_SNAPSHOT_MEMORY_H
#define LKVM_SNAPSHOT_MEMORY_H

#include "lkvm/memory.h"
#include "lkvm/snapshot/format.h"

#define SNAPSHOT_CHUNK_PAGES 64
#define SNAPSHOT_CHUNK (SNAPSHOT_CHUNK_PAGES * SNAPSHOT_PAGE)

/**
 * struct snapshot_chunk - one chunk of guest memory
 * @pages: bit n: page n is there; the others are zero
 * @offset: raw: of page 0, which may be a hole; compressed: of the first byte
 * @stored: bytes; as many as the pages have: they are not compressed
 * @sum: of the bytes of the pages that are there (compressed: as stored)
 */
struct snapshot_chunk {
	uint64_t pages, offset;
	uint32_t stored, sum;
};

/*
 * A word of memory that holds anything. Through a pointer to it words are loaded as such, which
 * compilers for RISC-V do not do for memcpy(3): they take a byte at a time.
 */
typedef uint64_t __attribute__((may_alias)) memory_word;

/* What a sum of guest memory begins with. */
#define SNAPSHOT_SUM_FIRST UINT64_C(0xd4bdb0408db9478a)

/**
 * snapshot_sum() - go on with the sum of a chunk's bytes
 * @sum: SNAPSHOT_SUM_FIRST at first
 * @buf: aligned to 8 bytes; @len: a multiple of 16, but for the last piece
 *
 * Several times as fast as a CRC where there are no instructions for one.
 */
uint64_t snapshot_sum(uint64_t sum, const void *buf, size_t len);

/**
 * snapshot_sum_end() - what stands in the file, of @len bytes in all
 */
uint32_t snapshot_sum_end(uint64_t sum, uint64_t len);

/**
 * struct snapshot_region - a region of RAM
 * @offset: raw: where it lies in the file
 * @chunks: of it
 */
struct snapshot_region {
	gpa_t gpa;
	uint64_t size, offset;
	struct snapshot_chunk *chunks;
	uint64_t nr_chunks;
};

/**
 * struct snapshot_memory - the index, checked against the file's size
 * @used: bytes of guest memory that are not zero
 */
struct snapshot_memory {
	const struct snapshot_file *file;
	enum snapshot_encoding encoding;
	struct snapshot_region regions[MEMORY_MAX_REGIONS];
	uint32_t nr;
	uint64_t used;
};

/**
 * snapshot_memory_open() - read the index, and check the file's identity by it
 */
int snapshot_memory_open(struct snapshot_memory *m, const struct snapshot_file *f,
			 struct error *err);
void snapshot_memory_close(struct snapshot_memory *m);

/**
 * snapshot_memory_read() - check all of guest memory and, with @mem, put it there
 * @mem: NULL, or RAM of the same regions, all zero; nothing reaches it that was not
 *       checked, but after a failure part of it has been written
 *
 * Return: 0, or -1 with @err naming the address.
 */
int snapshot_memory_read(const struct snapshot_memory *m, struct guest_memory *mem,
			 struct error *err);

/**
 * snapshot_memory_chunk() - chunk @i of region @r as the guest has it, checked
 * @buf: SNAPSHOT_CHUNK bytes
 */
int snapshot_memory_chunk(const struct snapshot_memory *m, const struct snapshot_region *r,
			  uint64_t i, uint8_t *buf, struct error *err);

/**
 * snapshot_memory_map() - have @mem, RAM of the same regions, be a copy of the file
 *
 * However large it is, that takes no time: pages are read when they are used. Nothing is
 * checked. The file must stay as it is while the memory lives.
 *
 * Return: true; false: it can't be mapped (compressed, shared with other processes, a file
 * system without that), and @mem is as it was.
 */
bool snapshot_memory_map(const struct snapshot_memory *m, struct guest_memory *mem);

/**
 * snapshot_memory_size() - bytes of the index for @mem
 */
size_t snapshot_memory_size(const struct guest_memory *mem);

/**
 * snapshot_memory_write() - RAM's bytes, from @offset of the file on
 * @index: out: snapshot_memory_size() bytes
 * @end: out: where the file ends
 */
int snapshot_memory_write(struct snapshot_writer *w, const struct guest_memory *mem,
			  enum snapshot_encoding encoding, uint64_t offset, uint8_t *index,
			  uint64_t *end, struct error *err);

#endif /* LKVM_SNAPSHOT_MEMORY_H */
