/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The virtio block device, in three parts that know little of each other:
 *
 *   the disk (virtio/blk.c) checks requests and cuts them into steps (struct blk_io)
 *   a back end (virtio/blk_file.c) carries out a step: now if it need not wait, or
 *     waiting for it, on something of a fixed size
 *   an executor (virtio/blk_aio.c) has the steps that wait carried out elsewhere
 */
#ifndef LKVM_VIRTIO_BLK_H
#define LKVM_VIRTIO_BLK_H

#include "lkvm/virtio/kind.h"
#include "lkvm/workers.h"

#define VIRTIO_BLK_SECTOR 512
#define VIRTIO_BLK_SERIAL 20
#define VIRTIO_BLK_MAX_QUEUES 16

/* Iovecs of one step that is carried out by a call. */
#define BLK_BATCH 128

enum blk_io_type {
	BLK_READ,
	BLK_WRITE,
	BLK_SYNC,    /* make what was written survive a crash of the host */
	BLK_DISCARD, /* the range is not needed any more: a hint */
	BLK_ZERO,    /* the range reads as zeroes from now */
};

/**
 * struct blk_io - one step
 * @unmap: for BLK_ZERO: give the range back to the host where that is possible
 * @offset, @len: in bytes; 0 for BLK_SYNC
 * @iov, @nr: guest memory, for BLK_READ and BLK_WRITE
 */
struct blk_io {
	enum blk_io_type type;
	bool unmap;
	uint64_t offset, len;
	const struct iovec *iov;
	unsigned int nr;
};

/**
 * struct blk_backend_ops - what a disk's back end does; any thread, several at once
 * @perform: carry out a step, waiting for it. Returns bytes done for BLK_READ (0: end of
 *           file) and BLK_WRITE, where less than all is allowed and the disk goes on
 *           with the rest; 0 for the others; or -errno.
 * @now: the same where it need not wait, else -EAGAIN. One at a time. May be NULL.
 * @ring_fd: a descriptor on which the kernel may carry out @io, a BLK_READ or
 *           BLK_WRITE, by itself; -1: @perform it. May be NULL.
 * @size: look how many bytes there are now; or -errno. May be NULL.
 * @set_size: make it so many; 0 or -errno. No step is under way. May be NULL.
 * @close: release it. May be NULL.
 *
 * Nothing but @set_size may change the size.
 */
struct blk_backend_ops {
	long (*perform)(void *opaque, const struct blk_io *io);
	long (*now)(void *opaque, const struct blk_io *io);
	int (*ring_fd)(void *opaque, const struct blk_io *io);
	int64_t (*size)(void *opaque);
	int (*set_size)(void *opaque, uint64_t size);
	void (*close)(void *opaque);
};

/**
 * struct blk_backend - a back end, by value
 * @size: bytes, a multiple of VIRTIO_BLK_SECTOR
 * @read_only: nothing is ever written
 * @discards, @zeroes: it can BLK_DISCARD and BLK_ZERO
 */
struct blk_backend {
	const struct blk_backend_ops *ops;
	void *opaque;
	uint64_t size;
	bool read_only, discards, zeroes;
};

/**
 * struct blk_file_config - how an image is used
 * @path: for messages, and for opening
 * @direct: past the host's page cache (O_DIRECT)
 */
struct blk_file_config {
	const char *path;
	bool read_only, direct;
};

/**
 * blk_file_open() - open a raw image: a regular file or a block device
 * @lock: refuse an image that somebody else writes, and who would write it later
 * @log: for what is not as it should be and no error; may be NULL
 *
 * The content is never looked at: raw is what it is, whatever it holds.
 *
 * Return: 0, or -1 with @err set (not there, no file or block device, in use, a size
 * that is no multiple of 512).
 */
int blk_file_open(const struct blk_file_config *config, bool lock, struct log *log,
		  struct blk_backend *backend, struct error *err);

/**
 * blk_file_lock() - the lock of @lock above, for whoever opens an image itself
 * @fd: open as @config says; the lock goes with it
 *
 * Return: 0, also with a line in @log where the file system knows no locks; or -1 with
 * @err set: it is in use.
 */
int blk_file_lock(int fd, const struct blk_file_config *config, struct log *log, struct error *err);

/**
 * struct virtio_blk_config - how a disk shall be
 * @serial: up to 20 bytes, without control characters; NULL: none
 * @queues: 1 to VIRTIO_BLK_MAX_QUEUES; @queue_max: entries of each, a power of two
 *          from 4 to 1024
 */
struct virtio_blk_config {
	const char *serial;
	unsigned int queues;
	uint16_t queue_max;
};

/**
 * struct blk_task - a request on its way through an executor, to whom the fields belong
 */
struct blk_task {
	struct worker_job job;
	struct blk_task *next;
	void *owner;
};

/**
 * struct virtio_blk_env - an executor
 * @submit: carry out @task from another thread, none of which is the loop's:
 *          { virtio_blk_next() -> the step -> virtio_blk_result() }*, then
 *          virtio_blk_finish(). Inside the device's lock. Returns false where it can't:
 *          nothing happened then.
 * @commit: a run of @submit is over. Inside. May be NULL.
 * @destroy: free it; no task is under way. May be NULL.
 *
 * Without one (NULL) every step is carried out on the notifying thread.
 */
struct virtio_blk_env {
	bool (*submit)(void *opaque, struct blk_task *task);
	void (*commit)(void *opaque);
	void (*destroy)(void *opaque);
};

struct virtio_blk;

/**
 * virtio_blk_create() - a disk
 * @backend, @env: belong to the disk when this succeeds; @env may be NULL
 *
 * Return: NULL with @err set.
 */
struct virtio_blk *virtio_blk_create(const char *name, struct guest_memory *mem, struct log *log,
				     const struct virtio_blk_config *config,
				     const struct blk_backend *backend,
				     const struct virtio_blk_env *env, void *opaque,
				     struct error *err);

/**
 * virtio_blk_device() - for the transport, which owns it then
 */
struct virtio_device *virtio_blk_device(struct virtio_blk *blk);

/**
 * virtio_blk_next() - the next step of @task (its executor's thread)
 * @iov: where the step's iovecs may go, at most @max; they need not
 *
 * Return: false where no step is left.
 */
bool virtio_blk_next(struct blk_task *task, struct blk_io *io, struct iovec *iov, unsigned int max);

/**
 * virtio_blk_result() - what came of the step that virtio_blk_next() gave last
 * @result: as blk_backend_ops.perform returns it; -EINTR asks for the step again
 */
void virtio_blk_result(struct blk_task *task, long result);

/**
 * virtio_blk_perform() - carry out all steps that are left, waiting for them
 */
void virtio_blk_perform(struct blk_task *task);

/**
 * virtio_blk_finish() - give tasks of one disk back to its guest, with one interrupt
 * @tasks: a list by their @next; gone afterwards
 */
void virtio_blk_finish(struct blk_task *tasks);

/**
 * virtio_blk_look() - ask the back end how many bytes there are now, and tell the guest
 * virtio_blk_set_size() - make the back end @size bytes large, and tell the guest
 *
 * Both wait until no request is under way, so that none is carried out beyond a new
 * end. The loop's thread.
 *
 * Return: 0, or -1 with @err set.
 */
int virtio_blk_look(struct virtio_blk *blk, struct error *err);
int virtio_blk_set_size(struct virtio_blk *blk, uint64_t size, struct error *err);

/**
 * enum blk_aio_mode - who waits
 * @BLK_AIO_AUTO: io_uring where the host has it, else threads
 * @BLK_AIO_NONE: the vCPU that asks
 */
enum blk_aio_mode { BLK_AIO_AUTO, BLK_AIO_URING, BLK_AIO_THREADS, BLK_AIO_NONE };

struct blk_aio;

/* Its opaque is what blk_aio_create() returns. */
extern const struct virtio_blk_env blk_aio_env;

/**
 * blk_aio_create() - an executor with a ring of the kernel's, threads, or both
 * @mode: any but BLK_AIO_NONE
 * @name: of the disk, for messages and threads
 *
 * Return: NULL with @err set (the host has no io_uring and BLK_AIO_URING asks for it).
 */
struct blk_aio *blk_aio_create(enum blk_aio_mode mode, const char *name,
			       const struct blk_backend *backend, struct log *log,
			       struct error *err);

/**
 * blk_aio_has_ring() - was it to be had?
 */
bool blk_aio_has_ring(const struct blk_aio *aio);

/* -d/--disk */
extern const struct virtio_kind virtio_blk_kind;

#endif /* LKVM_VIRTIO_BLK_H */
