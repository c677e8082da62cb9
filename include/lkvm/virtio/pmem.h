/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The virtio persistent memory device: a file as guest memory, and a queue by which the
 * guest asks that what it wrote there be stable.
 */
#ifndef LKVM_VIRTIO_PMEM_H
#define LKVM_VIRTIO_PMEM_H

#include "lkvm/virtio/kind.h"
#include "lkvm/workers.h"

/* Linux makes memory of its own of the region, which comes in blocks of this size. */
#define VIRTIO_PMEM_ALIGN (2 * MIB)

/**
 * struct virtio_pmem_env - the world of such a device
 * @flush: make what was written to the file stable; waits. Returns 0 or -errno. Called by
 *         a job of @post, or where @post fails. One at a time.
 * @post: have @job called from another thread, which is not the loop's. Inside the
 *        device's lock. Returns false where it can't: nothing happens then.
 * @destroy: the device is gone, no job is under way. May be NULL.
 */
struct virtio_pmem_env {
	int (*flush)(void *opaque);
	bool (*post)(void *opaque, struct worker_job *job);
	void (*destroy)(void *opaque);
};

/**
 * struct virtio_pmem_config - the region
 * @start: its guest address
 * @size: bytes, a multiple of VIRTIO_PMEM_ALIGN
 * @read_only: nothing ever reaches the file
 */
struct virtio_pmem_config {
	gpa_t start;
	uint64_t size;
	bool read_only;
};

struct virtio_pmem;

/**
 * virtio_pmem_create() - the device, or NULL where there is no memory
 * @opaque: for @env; not destroyed where this fails
 */
struct virtio_pmem *virtio_pmem_create(const char *name, struct guest_memory *mem, struct log *log,
				       const struct virtio_pmem_config *config,
				       const struct virtio_pmem_env *env, void *opaque);

/**
 * virtio_pmem_device() - for the transport, which owns it then
 */
struct virtio_device *virtio_pmem_device(struct virtio_pmem *pmem);

/* --pmem */
extern const struct virtio_kind virtio_pmem_kind;

#endif /* LKVM_VIRTIO_PMEM_H */
