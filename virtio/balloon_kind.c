// SPDX-License-Identifier: GPL-2.0-only
/*
 * "--balloon": a balloon over the VM's own memory and clock.
 *
 * Thread: the timer is the loop's; memory_discard() is for any thread. What is saved:
 * nothing of this.
 */
#include "lkvm/virtio/balloon.h"
#include "lkvm/virtio/kind.h"

#include <stdlib.h>

struct balloon_host {
	struct virtio_balloon *balloon;
	struct guest_memory *mem;
	struct loop_timer timer;
};

static int host_discard(void *opaque, gpa_t gpa, uint64_t len)
{
	struct balloon_host *host = opaque;

	return memory_discard(host->mem, gpa, len);
}

static uint64_t host_now(void *opaque)
{
	(void)opaque;
	return now_ns();
}

static void host_arm(void *opaque, uint64_t deadline_ns)
{
	struct balloon_host *host = opaque;

	loop_timer_arm(&host->timer, deadline_ns);
}

static void host_destroy(void *opaque)
{
	struct balloon_host *host = opaque;

	loop_timer_cancel(&host->timer);
	free(host);
}

static void host_tick(void *opaque)
{
	struct balloon_host *host = opaque;

	virtio_balloon_tick(host->balloon);
}

static const struct virtio_balloon_env balloon_env = {
	.discard = host_discard,
	.now = host_now,
	.arm = host_arm,
	.destroy = host_destroy,
};

static int build_balloon(const struct virtio_world *world, const char *text,
			 struct virtio_device **vdev, struct error *err)
{
	struct balloon_host *host = calloc(1, sizeof(*host));

	(void)text;
	if (host) {
		host->mem = world->mem;
		loop_timer_init(&host->timer, world->loop, host_tick, host);
		host->balloon = virtio_balloon_create(world->name, world->mem, world->log,
						      &balloon_env, host);
	}
	if (!host || !host->balloon) {
		free(host);
		return fail(err, "no memory");
	}
	*vdev = virtio_balloon_device(host->balloon);
	return 0;
}

const struct virtio_kind virtio_balloon_kind = {
	.option = "balloon",
	.help = "a balloon: \"lkvm balloon\" takes memory from the guest, and what the guest frees "
		"goes back to the host",
	.prefix = "balloon",
	.single = true,
	.build = build_balloon,
};
