// SPDX-License-Identifier: GPL-2.0-only
/*
 * Compressing chunks of guest memory (private.h). Each is packed by itself, at the fastest
 * level, by zlib (there everywhere) or zstd (several times as fast, and smaller). What comes
 * from a file is a stranger's: neither library writes beyond what it is given, and a chunk
 * that becomes another length than the index says is damaged.
 *
 * Pure functions: any thread.
 */
#include "private.h"

#include <zlib.h>
#include <zstd.h>

const char *const snapshot_encodings[] = {"none", "zlib", "zstd", NULL};

size_t chunk_pack_max(size_t len)
{
	size_t a = compressBound(len), b = ZSTD_compressBound(len);

	return a > b ? a : b;
}

size_t chunk_pack(enum snapshot_encoding encoding, uint8_t *to, size_t max, const uint8_t *from,
		  size_t len)
{
	uLongf packed = max;
	size_t n;

	if (encoding == SNAPSHOT_ZLIB)
		return compress2(to, &packed, from, len, Z_BEST_SPEED) == Z_OK ? packed : 0;
	n = ZSTD_compress(to, max, from, len, 1);
	return ZSTD_isError(n) ? 0 : n;
}

bool chunk_unpack(enum snapshot_encoding encoding, uint8_t *to, size_t len, const uint8_t *from,
		  size_t stored)
{
	uLongf unpacked = len;

	if (encoding == SNAPSHOT_ZLIB)
		return uncompress(to, &unpacked, from, stored) == Z_OK && unpacked == len;
	return ZSTD_decompress(to, len, from, stored) == len;
}
