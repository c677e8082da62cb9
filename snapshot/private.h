/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of snapshot/ share. Private to this folder.
 */
#ifndef SNAPSHOT_PRIVATE_H
#define SNAPSHOT_PRIVATE_H

#include "lkvm/snapshot/snapshot.h"

/* Chunks of a block of 2 MiB, of which a host may make a huge page. */
#define SNAPSHOT_BLOCK_CHUNKS 8

/**
 * saved_write() - the sections "writer" and "config"
 */
int saved_write(const struct vm *vm, struct snapshot_writer *w, struct error *err);

/**
 * chunk_pack_max() - the most that chunk_pack() makes of @len bytes
 * chunk_pack() - compress; 0 where there is no memory
 */
size_t chunk_pack_max(size_t len);
size_t chunk_pack(enum snapshot_encoding encoding, uint8_t *to, size_t max, const uint8_t *from,
		  size_t len);

/**
 * chunk_unpack() - a stranger's bytes, which must become exactly @len; else false
 */
bool chunk_unpack(enum snapshot_encoding encoding, uint8_t *to, size_t len, const uint8_t *from,
		  size_t stored);

/**
 * struct chunk_reader - reading chunks of guest memory, one by one, each checked
 * @pages: the pages of the last chunk that are there, one behind the other
 * @stored: private: the chunk as it lies in the file, where it is compressed
 * @in_order: chunks come in the file's order, and in a raw file what is between their pages
 *	from byte @gap on is looked at too: it must be zero
 * @stop: or NULL: that is left as soon as this is true
 * @what: the part that is being read, for messages
 */
struct chunk_reader {
	const struct snapshot_memory *m;
	uint8_t *pages, *stored;
	bool in_order;
	uint64_t gap;
	const _Atomic bool *stop;
	char what[64];
};

/**
 * chunk_reader_init() - of @m, which must live as long
 * chunk_read() - chunk @i of region @r, which has pages, into @c->pages
 *
 * Return: 0; 1: stopped (@stop); -1 with @err set.
 */
int chunk_reader_init(struct chunk_reader *c, const struct snapshot_memory *m, struct error *err);
void chunk_reader_free(struct chunk_reader *c);
int chunk_read(struct chunk_reader *c, const struct snapshot_region *r, uint64_t i,
	       struct error *err);

/**
 * struct memory_walk - reading all of guest memory in the file's order, in as many turns as wanted
 * @mem: where it goes, or NULL
 * @region, @chunk: the next one
 */
struct memory_walk {
	struct chunk_reader reader;
	struct guest_memory *mem;
	uint32_t region;
	uint64_t chunk;
};

/**
 * memory_walk_begin() - of @m, which must live as long; nothing is read yet
 * memory_walk_on() - until all is read, or @stop (or NULL) becomes true; then another call goes on
 * memory_walk_end() - free it; may be called twice
 *
 * One thread at a time. Return: 0: all is good; 1: stopped; -1 with @err set.
 */
int memory_walk_begin(struct memory_walk *w, const struct snapshot_memory *m,
		      struct guest_memory *mem, struct error *err);
int memory_walk_on(struct memory_walk *w, const _Atomic bool *stop, struct error *err);
void memory_walk_end(struct memory_walk *w);

/**
 * chunk_run() - how many pages from page @from on are there in a row? (~@pages: are not there)
 */
unsigned int chunk_run(uint64_t pages, unsigned int from);

/**
 * snapshot_pieces() - call @fn for each piece of @r that is not all zero
 * @fn: gets @opaque, the first byte in the region, and bytes; not 0 ends it
 *
 * Short stretches of zeroes count as what surrounds them, for the host has a limit of
 * mappings (vm.max_map_count, 65530).
 *
 * Return: what @fn did.
 */
int snapshot_pieces(const struct snapshot_region *r,
		    int (*fn)(void *opaque, const struct snapshot_region *r, uint64_t at,
			      uint64_t len),
		    void *opaque);

/**
 * snapshot_demand_new() - have @vm's memory, RAM of the same regions, come out of the file when
 *	it is used
 * @m: must live as long
 *
 * What comes is checked before; damage ends the process (status 126).
 *
 * Return: NULL with @why set where the host does not let us; memory is as it was then.
 */
struct snapshot_demand *snapshot_demand_new(struct vm *vm, const struct snapshot_memory *m,
					    struct error *why);

/**
 * snapshot_demand_end() - what has not come stays zero; NULL is allowed (loop thread)
 *
 * No vCPU runs.
 */
void snapshot_demand_end(struct snapshot_demand *d);

/**
 * snapshot_check_new() - have @vm's memory, whose file is used by it, checked while it runs
 * @m: must live as long
 *
 * Damage ends the VM. Return: NULL with @err set.
 */
struct snapshot_check *snapshot_check_new(struct vm *vm, const struct snapshot_memory *m,
					  struct error *err);

/**
 * snapshot_check_finish() - check what is left at once, on the caller's thread (any but the
 *	checking one), one caller at a time
 * @cancel: gives up soon after that becomes true, within a chunk; what is left then is checked
 *	while the VM runs
 *
 * Return: 0: the memory is good, or @c is NULL; 1 with @err set: given up; -1 with @err set: it is
 * not good, and the VM is about to end.
 */
int snapshot_check_finish(struct snapshot_check *c, const _Atomic bool *cancel, struct error *err);

/**
 * snapshot_check_end() - stop and free it; NULL is allowed (loop thread)
 */
void snapshot_check_end(struct snapshot_check *c);

#endif /* SNAPSHOT_PRIVATE_H */
