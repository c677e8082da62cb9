// SPDX-License-Identifier: GPL-2.0-only
/*
 * "--rng": an entropy device fed by the host's getrandom(2), at a rate that seeds any
 * guest at once and that no guest can turn into load: a MiB a second, in sixteenths.
 *
 * Thread: the timer is the loop's. What is saved: nothing.
 */
#include "lkvm/virtio/kind.h"
#include "lkvm/virtio/rng.h"

#include <stdlib.h>

#define RNG_BYTES (64 * KIB)
#define RNG_PERIOD_NS (NSEC_PER_SEC / 16)

struct rng_host {
	struct virtio_rng *rng;
	struct loop_timer timer;
};

static uint64_t host_now(void *opaque)
{
	(void)opaque;
	return now_ns();
}

static void host_arm(void *opaque, uint64_t deadline_ns)
{
	struct rng_host *host = opaque;

	loop_timer_arm(&host->timer, deadline_ns);
}

static void host_destroy(void *opaque)
{
	struct rng_host *host = opaque;

	loop_timer_cancel(&host->timer);
	free(host);
}

static void host_tick(void *opaque)
{
	struct rng_host *host = opaque;

	virtio_rng_tick(host->rng);
}

static const struct virtio_rng_env rng_env = {
	.fill = virtio_rng_host_fill,
	.now = host_now,
	.arm = host_arm,
	.destroy = host_destroy,
};

static int build_rng(const struct virtio_world *world, const char *text,
		     struct virtio_device **vdev, struct error *err)
{
	struct rng_host *host = calloc(1, sizeof(*host));

	(void)text;
	if (host) {
		loop_timer_init(&host->timer, world->loop, host_tick, host);
		host->rng = virtio_rng_create(world->name, world->mem, world->log, RNG_BYTES,
					      RNG_PERIOD_NS, &rng_env, host);
	}
	if (!host || !host->rng) {
		free(host);
		return fail(err, "no memory");
	}
	*vdev = virtio_rng_device(host->rng);
	return 0;
}

const struct virtio_kind virtio_rng_kind = {
	.option = "rng",
	.help = "a source of random bytes (virtio-rng)",
	.prefix = "rng",
	.single = true,
	.build = build_rng,
};
