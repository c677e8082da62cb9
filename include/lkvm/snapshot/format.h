/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The snapshot file as bytes (lkvm-snapshot(5) has every one of them):
 *
 *   0        header, 4 KiB: magic, versions, identity, where the table is, a checksum
 *   4096     table of sections, 64 bytes each
 *            sections, each at a multiple of 8
 *            memory, from a multiple of 4 KiB on to the end of the file
 *
 * All numbers are little-endian. Everything is covered by a checksum (CRC-32 as zlib
 * computes it): the header's own, in it that of the table, in that each section's, and
 * in the section "memory" those of guest memory, chunk by chunk. What lies between the
 * parts is zero, and a reader looks.
 *
 * One thread for each struct; no lock.
 */
#ifndef LKVM_SNAPSHOT_FORMAT_H
#define LKVM_SNAPSHOT_FORMAT_H

#include "lkvm/snapshot/io.h"
#include "lkvm/util.h"

#include <stdatomic.h>

#define SNAPSHOT_MAGIC "lkvmsnap"
#define SNAPSHOT_VERSION 1
#define SNAPSHOT_OLDEST_READER 1

/* ELF's number of RISC-V. */
#define SNAPSHOT_MACHINE_RISCV 243

#define SNAPSHOT_PAGE UINT64_C(4096)
#define SNAPSHOT_ID_SIZE 16
#define SNAPSHOT_NAME_SIZE 32
#define SNAPSHOT_ENTRY_SIZE 64
#define SNAPSHOT_ALIGN 8

/* More than a VM with 1024 harts and 80 devices needs. */
#define SNAPSHOT_MAX_SECTIONS 2048

/* The largest is the index of guest memory: that of 2 TiB of RAM. */
#define SNAPSHOT_MAX_SECTION (256 * MIB)

/* A reader that does not know the section must not go on without it. */
#define SNAPSHOT_MANDATORY 1u

#define SNAPSHOT_SECTION_MEMORY "memory"

/**
 * struct snapshot_header - the first page
 * @version: of the format; @oldest: a reader of at least this version can read it
 * @machine: as ELF numbers them; @xlen: 32 or 64
 * @file_size: of the whole file
 * @id: what the state, memory included, is called: computed from all checksums, so that
 *      the same state has the same, and any other has another
 * @parent: that of the state that this one came from; zero: a VM that was booted
 * @sections: entries of the table; @table_crc: of its bytes
 * @memory: where guest memory begins
 */
struct snapshot_header {
	uint32_t version, oldest, machine, xlen;
	uint64_t file_size;
	uint8_t id[SNAPSHOT_ID_SIZE], parent[SNAPSHOT_ID_SIZE];
	uint32_t sections, table_crc;
	uint64_t memory;
};

/**
 * struct snapshot_entry - a row of the table
 * @version: of the section; @oldest: who knows this version of it can read it
 */
struct snapshot_entry {
	char name[SNAPSHOT_NAME_SIZE];
	uint16_t version, oldest;
	uint32_t flags;
	uint64_t offset, size;
	uint32_t crc;
};

/**
 * snapshot_crc() - the checksum of @len bytes, going on from @crc (0 at first)
 */
uint32_t snapshot_crc(uint32_t crc, const void *buf, size_t len);

/**
 * snapshot_header_bytes() / snapshot_header_parse() - the first page
 * @page: SNAPSHOT_PAGE bytes
 */
void snapshot_header_bytes(const struct snapshot_header *h, uint8_t *page);
int snapshot_header_parse(struct snapshot_header *h, const uint8_t *page, struct error *err);

/**
 * snapshot_entry_bytes() / snapshot_entry_parse() - a row of the table
 * @buf: SNAPSHOT_ENTRY_SIZE bytes
 */
void snapshot_entry_bytes(const struct snapshot_entry *e, uint8_t *buf);
int snapshot_entry_parse(struct snapshot_entry *e, const uint8_t *buf, struct error *err);

/**
 * snapshot_identity() - of a state, from the table's bytes and the memory index'
 */
void snapshot_identity(const void *table, size_t table_len, const void *index, size_t index_len,
		       uint8_t id[SNAPSHOT_ID_SIZE]);

/**
 * snapshot_id_text() - in hexadecimal
 * @buf: 2 * SNAPSHOT_ID_SIZE + 1 bytes
 */
const char *snapshot_id_text(const uint8_t id[SNAPSHOT_ID_SIZE], char *buf);

/* --- writing ---------------------------------------------------------------------------- */

enum snapshot_encoding {
	SNAPSHOT_RAW,  /* as it is: may be mapped; pages of zeroes are holes */
	SNAPSHOT_ZLIB, /* chunks compressed by zlib */
	SNAPSHOT_ZSTD, /* by zstd */
};

/* What they are called, in their order, ended by NULL. */
extern const char *const snapshot_encodings[];

struct snapshot_section;

/**
 * struct snapshot_progress - how far a writer is, for other threads
 * @done: bytes of guest memory that it has behind it, of @total
 * @cancel: it is to give up soon
 */
struct snapshot_progress {
	_Atomic uint64_t done;
	uint64_t total;
	_Atomic bool cancel;
};

/**
 * struct snapshot_writer - a file that is being made
 * @written: bytes that were written, holes not counted
 * @progress: or NULL
 */
struct snapshot_writer {
	struct snapshot_io io;
	int fd;
	struct snapshot_section *sections;
	size_t nr, max;
	uint64_t written;
	struct snapshot_progress *progress;
};

void snapshot_writer_init(struct snapshot_writer *w, struct snapshot_io io, int fd);
void snapshot_writer_free(struct snapshot_writer *w);

/**
 * snapshot_add() - one more section; @data is copied
 *
 * Return: 0, or -1 with @err set.
 */
int snapshot_add(struct snapshot_writer *w, const char *name, uint16_t version, uint32_t flags,
		 const void *data, size_t len, struct error *err);

struct guest_memory;

/**
 * snapshot_finish() - write all of it: memory first, the header last
 * @parent: or NULL
 * @id: out: what the state is called
 *
 * The file must be empty. Not brought to the disk: snapshot_target_commit() does that.
 *
 * Return: 0, or -1 with @err set.
 */
int snapshot_finish(struct snapshot_writer *w, const struct guest_memory *mem,
		    enum snapshot_encoding encoding, const uint8_t *parent,
		    uint8_t id[SNAPSHOT_ID_SIZE], struct error *err);

/**
 * snapshot_write() - @len bytes at @offset, through short counts
 */
int snapshot_write(struct snapshot_writer *w, const void *buf, size_t len, uint64_t offset,
		   struct error *err);

/* --- reading ---------------------------------------------------------------------------- */

/**
 * struct snapshot_file - a file whose header and table are good
 * @size: of the file
 */
struct snapshot_file {
	int fd;
	uint64_t size;
	struct snapshot_header header;
	struct snapshot_entry *entries;
	uint8_t *table;
};

/**
 * snapshot_open() - header and table
 * @fd: stays the caller's; a plain file
 *
 * Nothing that the file says is trusted: lengths are compared with the file's size before
 * anything is allocated by them.
 *
 * Return: 0, or -1 with @err naming the part that is not good.
 */
int snapshot_open(struct snapshot_file *f, int fd, struct error *err);
void snapshot_close(struct snapshot_file *f);

/**
 * snapshot_find() - the entry of a section, or NULL
 */
const struct snapshot_entry *snapshot_find(const struct snapshot_file *f, const char *name);

/**
 * snapshot_read() - a section's bytes, checked
 * @data: out: to be freed; NULL where there is no such section
 * @version: the newest that the caller knows
 *
 * Return: 0, or -1 with @err set: not there, damaged, too new.
 */
int snapshot_read(const struct snapshot_file *f, const char *name, uint16_t version, uint8_t **data,
		  size_t *len, struct error *err);

/**
 * snapshot_verify() - everything: each section, all of memory, each gap, the identity
 */
int snapshot_verify(const struct snapshot_file *f, struct error *err);

/**
 * snapshot_pread() - all of @len bytes at @offset of the file
 * @what: the part, for messages
 */
int snapshot_pread(const struct snapshot_file *f, void *buf, size_t len, uint64_t offset,
		   const char *what, struct error *err);

/**
 * snapshot_zeroes() - [@from, @to) of the file must be zeroes; holes are not read
 * @from: what is behind it was zeroes
 * @stop: or NULL: leave it there as soon as that is true
 *
 * Return: 0; 1: stopped; -1 with @err set.
 */
int snapshot_zeroes(const struct snapshot_file *f, uint64_t *from, uint64_t to,
		    const _Atomic bool *stop, const char *what, struct error *err);

#endif /* LKVM_SNAPSHOT_FORMAT_H */
