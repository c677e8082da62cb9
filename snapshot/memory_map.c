// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory that is a snapshot's, page by page as it is used
 * (include/lkvm/snapshot/memory.h).
 *
 * A region of an uncompressed file lies there as in the guest. What the file has is mapped
 * copy-on-write; what is all zero stays the anonymous memory that it is, so that a VM that
 * came from a file is given new memory as any other, huge pages included. Short stretches of
 * zeroes are mapped with what surrounds them, for the host has a limit of mappings
 * (vm.max_map_count, 65530).
 *
 * One thread, before vCPUs run; no lock.
 */
#include "private.h"

/* Mappings of one region, about. */
#define MAX_PIECES 4096

/* The chunk behind the piece that begins at @from. */
static uint64_t piece_end(const struct snapshot_region *r, uint64_t from, uint64_t gap)
{
	uint64_t end = from, i;

	for (i = from; i < r->nr_chunks && i - end <= gap; i++)
		if (r->chunks[i].pages)
			end = i + 1;
	return end;
}

int snapshot_pieces(const struct snapshot_region *r,
		    int (*fn)(void *opaque, const struct snapshot_region *r, uint64_t at,
			      uint64_t len),
		    void *opaque)
{
	/* More zeroes than a block part two; than that, where there would be many pieces. */
	uint64_t least = r->nr_chunks / MAX_PIECES;
	uint64_t gap = least > SNAPSHOT_BLOCK_CHUNKS ? least : SNAPSHOT_BLOCK_CHUNKS;
	uint64_t i = 0, at, end;
	int ret = 0;

	while (i < r->nr_chunks && !ret) {
		if (!r->chunks[i].pages) {
			i++;
			continue;
		}
		end = piece_end(r, i, gap);
		at = i * SNAPSHOT_CHUNK;
		ret = fn(opaque, r, at, min_u64(end * SNAPSHOT_CHUNK, r->size) - at);
		i = end;
	}
	return ret;
}

struct map {
	const struct snapshot_memory *m;
	struct guest_memory *mem;
};

static int map_piece(void *opaque, const struct snapshot_region *r, uint64_t at, uint64_t len)
{
	const struct map *map = opaque;

	return memory_map_copy(map->mem, r->gpa + at, len, map->m->file->fd, r->offset + at);
}

bool snapshot_memory_map(const struct snapshot_memory *m, struct guest_memory *mem)
{
	struct map map = {.m = m, .mem = mem};
	struct error ignored;
	uint32_t i;
	int ret = m->encoding == SNAPSHOT_RAW ? 0 : -1;

	for (i = 0; i < m->nr && !ret; i++)
		ret = snapshot_pieces(&m->regions[i], map_piece, &map);
	/* What was mapped before goes away. */
	if (ret && m->encoding == SNAPSHOT_RAW && memory_forget(mem, &ignored))
		return false;
	return !ret;
}
