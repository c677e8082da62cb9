/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The virtio balloon: takes memory from a running guest and gives it back, learns what
 * the guest knows of its memory, and returns pages to the host that the guest has freed.
 */
#ifndef LKVM_VIRTIO_BALLOON_H
#define LKVM_VIRTIO_BALLOON_H

#include "lkvm/virtio/device.h"

/* The tags of statistics that are understood: VIRTIO_BALLOON_S_… 0 to 9. */
enum balloon_stat {
	BALLOON_SWAP_IN,   /* bytes */
	BALLOON_SWAP_OUT,  /* bytes */
	BALLOON_MAJOR,	   /* page faults */
	BALLOON_MINOR,	   /* page faults */
	BALLOON_FREE,	   /* bytes, of no use at all */
	BALLOON_TOTAL,	   /* bytes */
	BALLOON_AVAILABLE, /* bytes, without swapping */
	BALLOON_CACHES,	   /* bytes, soon to be had */
	BALLOON_HUGE_DONE, /* huge pages allocated */
	BALLOON_HUGE_FAIL, /* and not */
	BALLOON_NR_STATS,
};

/**
 * struct balloon_stats - what the guest said last
 * @value: by enum balloon_stat; @known: a bit for each that it said
 * @when_ns: CLOCK_MONOTONIC; 0: it never did
 */
struct balloon_stats {
	uint64_t value[BALLOON_NR_STATS];
	uint32_t known;
	uint64_t when_ns;
};

/**
 * struct virtio_balloon_env - the world of a balloon
 * @discard: give [@gpa, @gpa + @len), multiples of 4 KiB, back to the host; 0, or
 *           -EINVAL where that is not inside one region of RAM, or another -errno
 * @now: CLOCK_MONOTONIC in ns
 * @arm: call virtio_balloon_tick() at @deadline_ns, from the loop's thread
 * @changed: the driver says that the balloon holds @bytes now. May be NULL.
 * @destroy: the device is gone. May be NULL.
 *
 * All but @destroy are called with the device's lock held; @discard by any thread.
 */
struct virtio_balloon_env {
	int (*discard)(void *opaque, gpa_t gpa, uint64_t len);
	uint64_t (*now)(void *opaque);
	void (*arm)(void *opaque, uint64_t deadline_ns);
	void (*changed)(void *opaque, uint64_t bytes);
	void (*destroy)(void *opaque);
};

struct virtio_balloon;
struct virtio_kind;

/**
 * virtio_balloon_create() - an empty balloon, or NULL where there is no memory
 * @opaque: for @env; not destroyed where this fails
 */
struct virtio_balloon *virtio_balloon_create(const char *name, struct guest_memory *mem,
					     struct log *log, const struct virtio_balloon_env *env,
					     void *opaque);

/**
 * virtio_balloon_device() - for the transport, which owns it then
 */
struct virtio_device *virtio_balloon_device(struct virtio_balloon *balloon);

/**
 * virtio_balloon_set_target() - how many bytes the balloon is to hold (outside)
 *
 * The driver does what it can, in its own time. Return: 0, or -1 with @err set (more
 * than the guest has).
 */
int virtio_balloon_set_target(struct virtio_balloon *balloon, uint64_t bytes, struct error *err);

/**
 * virtio_balloon_stats() - what is known of the guest's memory (outside)
 *
 * Never waits: asks the guest for new figures, now and each second for a while, and
 * gives those that are there.
 */
void virtio_balloon_stats(struct virtio_balloon *balloon, struct balloon_stats *stats);

/**
 * virtio_balloon_tick() - the time that was armed has come (loop's thread)
 */
void virtio_balloon_tick(struct virtio_balloon *balloon);

/* "--balloon" */
extern const struct virtio_kind virtio_balloon_kind;

#endif /* LKVM_VIRTIO_BALLOON_H */
