/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The virtio entropy device: random bytes from the host, at a limited rate.
 */
#ifndef LKVM_VIRTIO_RNG_H
#define LKVM_VIRTIO_RNG_H

#include "lkvm/virtio/device.h"

/* A request is filled up to here; the driver asks again for more. */
#define VIRTIO_RNG_MAX_REQUEST (64 * KIB)

/**
 * struct virtio_rng_env - the world of an entropy device
 * @fill: @len random bytes, at most VIRTIO_RNG_MAX_REQUEST; returns how many were
 *        made, or -errno (virtio_rng_host_fill() asks the kernel)
 * @now: CLOCK_MONOTONIC in ns
 * @arm: call virtio_rng_tick() at @deadline_ns, from the loop's thread
 * @destroy: the device is gone. May be NULL.
 *
 * All but @destroy are called with the device's lock held.
 */
struct virtio_rng_env {
	long (*fill)(void *opaque, void *buf, size_t len);
	uint64_t (*now)(void *opaque);
	void (*arm)(void *opaque, uint64_t deadline_ns);
	void (*destroy)(void *opaque);
};

struct virtio_rng;
struct virtio_kind;

/**
 * virtio_rng_create() - an entropy device, or NULL where there is no memory
 * @bytes, @period_ns: at most @bytes in each period; 0 bytes: no limit
 * @opaque: for @env; not destroyed where this fails
 */
struct virtio_rng *virtio_rng_create(const char *name, struct guest_memory *mem, struct log *log,
				     uint64_t bytes, uint64_t period_ns,
				     const struct virtio_rng_env *env, void *opaque);

/**
 * virtio_rng_device() - for the transport, which owns it then
 */
struct virtio_device *virtio_rng_device(struct virtio_rng *rng);

/**
 * virtio_rng_tick() - the time that was armed has come (loop's thread)
 */
void virtio_rng_tick(struct virtio_rng *rng);

/**
 * virtio_rng_host_fill() - struct virtio_rng_env's fill by getrandom(2)
 */
long virtio_rng_host_fill(void *opaque, void *buf, size_t len);

/* "--rng": a MiB a second. */
extern const struct virtio_kind virtio_rng_kind;

#endif /* LKVM_VIRTIO_RNG_H */
