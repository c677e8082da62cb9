// SPDX-License-Identifier: GPL-2.0-only
/*
 * "--balloon": a balloon over the VM's own memory and clock.
 *
 * What the driver says of the balloon's size is told at most ten times a second: it writes
 * it after each MiB, and a hostile one as often as it can.
 *
 * Thread: the timers are the loop's; memory_discard() is for any thread. What is saved:
 * nothing of this.
 */
#include "lkvm/virtio/balloon.h"
#include "lkvm/virtio/kind.h"

#include <stdatomic.h>
#include <stdlib.h>

struct balloon_host {
	struct virtio_balloon *balloon;
	struct guest_memory *mem;
	struct loop_timer timer;
	struct loop_timer tell;
	_Atomic uint64_t actual;
	atomic_bool telling;
	const char *name;
	void (*event)(void *opaque, const char *event, const char *device, const char *figure,
		      uint64_t value);
	void *opaque;
};

#define TELL_NS (NSEC_PER_SEC / 10)

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

static void host_changed(void *opaque, uint64_t bytes)
{
	struct balloon_host *host = opaque;

	atomic_store(&host->actual, bytes);
	if (host->event && !atomic_exchange(&host->telling, true))
		loop_timer_arm(&host->tell, now_ns() + TELL_NS);
}

static void host_tell(void *opaque)
{
	struct balloon_host *host = opaque;

	atomic_store(&host->telling, false);
	host->event(host->opaque, "balloon", host->name, "actual", atomic_load(&host->actual));
}

static void host_destroy(void *opaque)
{
	struct balloon_host *host = opaque;

	loop_timer_cancel(&host->timer);
	loop_timer_cancel(&host->tell);
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
	.changed = host_changed,
	.destroy = host_destroy,
};

static int build_balloon(const struct virtio_world *world, const char *text,
			 struct virtio_device **vdev, struct error *err)
{
	struct balloon_host *host = calloc(1, sizeof(*host));

	(void)text;
	if (host) {
		host->mem = world->mem;
		host->name = world->name;
		host->event = world->event;
		host->opaque = world->opaque;
		loop_timer_init(&host->timer, world->loop, host_tick, host);
		loop_timer_init(&host->tell, world->loop, host_tell, host);
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
