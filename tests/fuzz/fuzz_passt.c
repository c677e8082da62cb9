// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz the stream of frames that passt sends: any bytes, arriving in pieces of any size.
 *
 * The input is a list of records: a byte that says what, a length of one to four bytes,
 * and where it is a frame so many bytes (as far as there are some, else zeroes, so that
 * long frames cost no long input). What comes out is compared with a plain reading of
 * the whole stream: the same frames, and broken at the same place, for good.
 */
#include "lkvm/virtio/net_backend.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define STREAM_MAX (512 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t size;
};

static uint64_t take(struct input *in, unsigned int bytes)
{
	uint64_t v = 0;

	while (bytes-- && in->size) {
		v = v << 8 | *in->data++;
		in->size--;
	}
	return v;
}

static void need(bool ok)
{
	if (!ok)
		abort();
}

/* What the peer sends. */
static size_t make_stream(struct input *in, uint8_t *stream)
{
	size_t len = 0;

	while (in->size && len < STREAM_MAX - 70000) {
		uint64_t how = take(in, 1);
		uint32_t frame = (uint32_t)take(in, 1 + (how & 3)), be = htobe32(frame);
		size_t bytes = how & 4 ? frame % 66000 : frame % 256, real;

		if (how & 8) {
			/* Any bytes, no frame. */
			stream[len++] = (uint8_t)frame;
			continue;
		}
		if (how & 16)
			be = htobe32((uint32_t)bytes);
		memcpy(stream + len, &be, 4);
		len += 4;
		real = bytes < in->size ? bytes : in->size;
		if (how & 32)
			real = real < 8 ? real : 8;
		memset(stream + len, 0, bytes);
		memcpy(stream + len, in->data, real);
		in->data += real;
		in->size -= real;
		len += bytes;
	}
	return len;
}

/* The frame at *@at of the whole stream: its length, 0: none is complete, -1: broken. */
static long plain(const uint8_t *stream, size_t len, size_t *at)
{
	uint32_t be;

	if (len - *at < 4)
		return 0;
	memcpy(&be, stream + *at, 4);
	be = be32toh(be);
	if (be < NET_FRAME_MIN || be > NET_SOCKET_FRAME_MAX)
		return -1;
	if (len - *at - 4 < be)
		return 0;
	*at += 4 + be;
	return be;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	uint64_t cuts = take(&in, 8);
	struct net_frames *f = malloc(sizeof(*f));
	uint8_t *stream = malloc(STREAM_MAX);
	size_t len, done = 0, at = 0;
	unsigned int turn = 0;
	bool broken = false;

	need(f && stream);
	f->head = f->len = 0;
	f->broken = false;
	len = make_stream(&in, stream);
	do {
		size_t room, piece;
		uint8_t *to = net_frames_space(f, &room);
		const uint8_t *frame;
		long n;

		need(room && to >= f->buf && to + room <= f->buf + sizeof(f->buf));
		piece = (cuts >> 8 * (turn++ % 8) & 0xff) + 1;
		if (piece > 200)
			piece *= 600;
		if (piece > room)
			piece = room;
		if (piece > len - done)
			piece = len - done;
		memcpy(to, stream + done, piece);
		net_frames_filled(f, piece);
		done += piece;
		while ((n = net_frames_next(f, &frame)) > 0) {
			size_t start = at;

			need(!broken && plain(stream, done, &at) == n);
			need(!memcmp(frame, stream + start + 4, (size_t)n));
		}
		need(n == 0 || n == -EPROTO);
		broken = plain(stream, done, &at) == -1;
		need(broken == (n == -EPROTO));
		need(n || plain(stream, done, &at) == 0);
	} while (done < len && !broken);
	free(stream);
	free(f);
	return 0;
}
