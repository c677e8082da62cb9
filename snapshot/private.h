/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of snapshot/ share. Private to this folder.
 */
#ifndef SNAPSHOT_PRIVATE_H
#define SNAPSHOT_PRIVATE_H

#include "lkvm/snapshot/snapshot.h"

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
 * snapshot_check_new() - have @vm's memory, which is mapped from a file, checked while it runs
 * @m: taken over
 *
 * Damage ends the VM. Return: NULL with @err set.
 */
struct snapshot_check *snapshot_check_new(struct vm *vm, const struct snapshot_memory *m,
					  struct error *err);

/**
 * snapshot_check_wait() - until it is over (any thread)
 * @mine: the caller's own: gives up where it is cancelled
 *
 * Return: 0: the memory is good, or @c is NULL; -1 with @err set.
 */
int snapshot_check_wait(struct snapshot_check *c, struct snapshot_progress *mine,
			struct error *err);

/**
 * snapshot_check_end() - stop and free it; NULL is allowed (loop thread)
 */
void snapshot_check_end(struct snapshot_check *c);

#endif /* SNAPSHOT_PRIVATE_H */
