/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The virtio block device, over a small back end: positioned vectored I/O, sync,
 * discard and zeroing on something of a fixed size.
 */
#ifndef LKVM_VIRTIO_BLK_H
#define LKVM_VIRTIO_BLK_H

#include "lkvm/virtio/device.h"

#define VIRTIO_BLK_SECTOR 512
#define VIRTIO_BLK_SERIAL 20
#define VIRTIO_BLK_MAX_QUEUES 16

/* Iovecs of one call to a back end. */
#define BLK_BATCH 128

/**
 * struct blk_backend_ops - what a disk's back end does; any thread, several at once
 * @readv: fill @iov from @offset; returns bytes read (0: end of file), or -errno
 * @writev: the other direction; returns bytes written, or -errno
 * @sync: make what was written survive a crash of the host; 0 or -errno
 * @discard: [@offset, @offset + @len) is not needed any more; 0 or -errno. May be NULL.
 * @zero: the range reads as zeroes from now, given back to the host where @unmap and
 *        that is possible; 0 or -errno. May be NULL.
 * @close: release it. May be NULL.
 *
 * A short count is allowed: the device goes on with the rest. Nothing here may
 * change the size.
 */
struct blk_backend_ops {
	long (*readv)(void *opaque, const struct iovec *iov, unsigned int nr, uint64_t offset);
	long (*writev)(void *opaque, const struct iovec *iov, unsigned int nr, uint64_t offset);
	int (*sync)(void *opaque);
	int (*discard)(void *opaque, uint64_t offset, uint64_t len);
	int (*zero)(void *opaque, uint64_t offset, uint64_t len, bool unmap);
	void (*close)(void *opaque);
};

/**
 * struct blk_backend - a back end, by value
 * @size: bytes, a multiple of VIRTIO_BLK_SECTOR
 * @read_only: nothing is ever written
 */
struct blk_backend {
	const struct blk_backend_ops *ops;
	void *opaque;
	uint64_t size;
	bool read_only;
};

/**
 * blk_file_open() - a raw image: a regular file or a block device
 * @fd: open for reading and, unless @read_only, writing. Belongs to the back end when
 *      this succeeds.
 * @name: for messages
 *
 * The content is never looked at: raw is what it is, whatever it holds.
 *
 * Return: 0, or -1 with @err set (no file or block device, a size that is no multiple
 * of 512, @fd not writable).
 */
int blk_file_open(int fd, bool read_only, const char *name, struct blk_backend *backend,
		  struct error *err);

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
 * struct virtio_blk_env - where requests are carried out
 * @submit: have virtio_blk_execute() called for @req by a thread that is not the
 *          loop's. Called with the device's lock held.
 *
 * With no env (NULL) they are carried out at once, on the notifying thread.
 */
struct virtio_blk_env {
	void (*submit)(void *opaque, struct virtq_request *req);
};

struct virtio_blk;

/**
 * virtio_blk_create() - a disk
 * @backend: belongs to the disk when this succeeds
 * @env: may be NULL
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
 * virtio_blk_execute() - carry out a submitted request and give it back (any thread)
 *
 * Must be called once for each; a reset waits for it.
 */
void virtio_blk_execute(struct virtq_request *req);

/**
 * virtio_blk_resize() - the back end has @size bytes now (any thread but a submitter's)
 *
 * Requests under way were checked against the old size: quiesce before the back end
 * shrinks.
 *
 * Return: 0, or -EINVAL where that is no multiple of 512.
 */
int virtio_blk_resize(struct virtio_blk *blk, uint64_t size);

#endif /* LKVM_VIRTIO_BLK_H */
