/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Streams: a console's way out of the process. A stream is a stream: terminal,
 * pipe, file, socket, pty or character device, each direction its own
 * descriptor (or none), always polled, end of file included, and never
 * blocking the caller.
 *
 * Reading happens on the loop's thread, and only as much as the consumer says
 * it has room for, so a fast writer is held back by the kernel's pipe and not by
 * our memory. At end of file the descriptor leaves the loop: no busy turn. A
 * terminal that belongs to another job gives no input until it is ours again.
 * Writing may happen on any thread: bytes go straight to the descriptor while
 * nothing waits, else into a bounded buffer that the loop empties.
 *
 * Inherited descriptors are shared with other processes, so O_NONBLOCK is never
 * set on them where it can be avoided: terminals, pipes and devices are reopened
 * by /proc/self/fd, sockets use MSG_DONTWAIT, files never block. Where a reopen
 * is refused or would open something else (a pty's master), the flag is set and
 * put back by stream_destroy().
 */
#ifndef LKVM_STREAM_H
#define LKVM_STREAM_H

#include "lkvm/log.h"
#include "lkvm/loop.h"
#include "lkvm/util.h"

struct stream;

/**
 * struct stream_ops - the consumer's side; NULL entries are not called
 * @room: how many bytes @input may be given now (loop thread); NULL: any number
 * @input: @len bytes arrived, @len never above what @room said (loop thread);
 *         NULL: nothing is read
 * @eof: no more input will come, all that came was delivered (loop thread, once)
 * @drained: after stream_write() took fewer bytes than it was given: half of the
 *           buffer is free again (loop thread, once per such time)
 *
 * No stream lock is held in a callback; it may call anything here but
 * stream_destroy().
 */
struct stream_ops {
	size_t (*room)(void *opaque);
	void (*input)(void *opaque, const uint8_t *buf, size_t len);
	void (*eof)(void *opaque);
	void (*drained)(void *opaque);
};

#define STREAM_BUFFER (64 * 1024)

/**
 * stream_create() - put two descriptors behind one stream
 * @in: descriptor to read, or -1
 * @out: descriptor to write, or -1: output is accepted and dropped; may be @in
 *
 * The caller keeps @in and @out and closes them after stream_destroy(). Input
 * starts with the first turn of the loop. Loop thread, or before loop_run().
 *
 * Return: the stream, or NULL with @err set (no room for memory, not readable …).
 */
struct stream *stream_create(struct loop *loop, struct log *log, int in, int out,
			     const struct stream_ops *ops, void *opaque, struct error *err);

/**
 * stream_write() - send bytes, never blocking (any thread)
 *
 * Output whose reader is gone (EPIPE) or broken (EIO, ENOSPC) is dropped from
 * then on, with one warning.
 *
 * Return: how many bytes were taken, fewer than @len where reader and buffer are
 * full: @drained then follows.
 */
size_t stream_write(struct stream *stream, const void *buf, size_t len);

/**
 * stream_want_input() - the consumer has room again (any thread)
 *
 * Calls nothing back itself, so it may be called with the consumer's locks held;
 * next to free where nothing waits. Needed only after @room said 0.
 */
void stream_want_input(struct stream *stream);

/**
 * stream_flush() - wait up to @timeout_ms for the buffer to empty (loop thread)
 *
 * Waits for this descriptor alone: nothing else of the loop is served meanwhile.
 * @drained is called where it is due, and what the consumer then writes is waited
 * for as well.
 *
 * Return: true where all was written (or dropped).
 */
bool stream_flush(struct stream *stream, int timeout_ms);

/**
 * stream_destroy() - drop what waits, restore descriptor flags (loop thread, or
 * after loop_run(); no other thread may use the stream any more). NULL is allowed.
 */
/**
 * stream_waiting() - bytes that were taken and not written yet (any thread)
 */
size_t stream_waiting(struct stream *stream);

void stream_destroy(struct stream *stream);

#endif /* LKVM_STREAM_H */
