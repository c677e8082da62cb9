// SPDX-License-Identifier: GPL-2.0-only
/*
 * Frames in a stream of bytes, as passt and QEMU's stream sockets carry them: a length
 * of four bytes, most significant first, and the frame.
 *
 * The other side is not trusted. A length below NET_FRAME_MIN or above
 * NET_SOCKET_FRAME_MAX can't be one: everything behind it would be read at the wrong
 * place, so the stream is broken for good. All else is data.
 *
 * Frames are handed out where they lie. When the buffer holds no whole frame any more,
 * the part that is left moves to its start; that is less than one frame for each read.
 *
 * Pure: no system call, no lock, nothing saved.
 */
#include "lkvm/virtio/net_backend.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define PREFIX 4

_Static_assert(NET_STREAM_BUFFER > PREFIX + NET_SOCKET_FRAME_MAX, "a whole frame fits");

uint8_t *net_frames_space(struct net_frames *f, size_t *len)
{
	if (f->head) {
		memmove(f->buf, f->buf + f->head, f->len);
		f->head = 0;
	}
	*len = sizeof(f->buf) - f->len;
	return f->buf + f->len;
}

void net_frames_filled(struct net_frames *f, size_t len)
{
	f->len += len;
}

long net_frames_next(struct net_frames *f, const uint8_t **frame)
{
	uint32_t len;

	if (f->broken)
		return -EPROTO;
	if (f->len < PREFIX)
		return 0;
	memcpy(&len, f->buf + f->head, PREFIX);
	len = be32toh(len);
	if (len < NET_FRAME_MIN || len > NET_SOCKET_FRAME_MAX) {
		f->broken = true;
		return -EPROTO;
	}
	if (f->len < PREFIX + len)
		return 0;
	*frame = f->buf + f->head + PREFIX;
	f->head += PREFIX + len;
	f->len -= PREFIX + len;
	return len;
}
