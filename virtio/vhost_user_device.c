// SPDX-License-Identifier: GPL-2.0-only
/*
 * A virtio device whose queues a vhost-user back end serves: virtio 1.2 and 1.3 as far
 * as the core is concerned, the type's own section as far as the back end is.
 *
 * What is whose. Status, negotiation, layouts of queues and their checks are the core's.
 * The back end is told of a ring only after it was checked and frozen, and while the
 * device runs the core does not touch it. Features are offered where both can do their
 * part; those that would need something from the transport that is not here are not.
 * The configuration space is kept here: filled from the back end, from the type and from
 * the user, read again when the back end says that it changed.
 *
 * Notifications. A queue has two eventfds: "kick", written by the notify operation, and
 * "call", written by the back end and watched by the loop, which interrupts the driver.
 * One more for all queues says that the driver broke a rule of a ring; the device then
 * needs a reset. They are made once and watched all the time: starting and stopping
 * happens on vCPU threads, which may not touch the loop's descriptors. While a ring runs
 * the transport may connect both to KVM (virtio_served()). The back end has the same open
 * files and could make them block, so reading says that it won't wait, and writing is done
 * by the kernel (vhost_user_bell.c).
 *
 * Stopping. The back end says for each ring where it stopped. It should have given back
 * all that it took by then; some need a moment longer, so the used index is watched for
 * that moment. Then the driver is interrupted, "call" or not: the call for what came back
 * last may be on its way, or never come, since a back end may let go of "call" when it
 * stops a ring. An interrupt too many is allowed, one that is missing is not.
 *
 * Failing. Whatever ends the connection (closed, time is up, nonsense) is told once in
 * one line. The queues that were away are broken, the driver hears that the device needs
 * a reset, and after that its features are not accepted any more: there is no way back
 * without a back end. The VM goes on.
 *
 * Thread and lock: the device's mutex for all that touches the connection. Requests are
 * made by whoever is inside, a vCPU's thread or the loop's, and wait for the answer up to
 * a few seconds. What is saved: see vhost_user_life.c. Pages that the back end writes are
 * not logged as dirty: a saved VM must be at rest until all memory is written.
 */
#include "vhost_user_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* How long a back end that said where it stopped may still give back requests. */
#define SETTLE_MS 1000

/* A configuration that changes is read so often. */
#define LOOK_NS NSEC_PER_SEC

bool vhost_user_fetch(int fd)
{
	uint64_t count;
	struct iovec iov = {&count, sizeof(count)};

	return preadv2(fd, &iov, 1, -1, RWF_NOWAIT) == (ssize_t)sizeof(count);
}

/* --- failing ---------------------------------------------------------------------- */

/* Inside. The ring is the core's again, and the driver looks at what came back. */
static void take_back(struct vhost_user_device *dev, struct vhost_user_queue *ring)
{
	virtio_served(&dev->vdev, ring->index, -1, -1);
	vhost_user_fetch(ring->call);
	virtio_signal(&dev->vdev, ring->index);
	ring->away = false;
	ring->started = false;
	virtio_take_back(&dev->vdev, ring->index, ring->base);
}

/* Inside. Take all rings back as they are; they are of no use before a reset. */
static void take_back_broken(struct vhost_user_device *dev, const char *why)
{
	unsigned int i;

	for (i = 0; i < dev->nr_rings; i++) {
		struct vhost_user_queue *ring = &dev->rings[i];

		if (!ring->away)
			continue;
		take_back(dev, ring);
		virtq_break(virtio_queue(&dev->vdev, i), why);
	}
	virtio_needs_reset(&dev->vdev);
}

/* Inside. The back end is lost. */
static void die(struct vhost_user_device *dev, const char *why)
{
	if (dev->dead)
		return;
	dev->dead = true;
	if (!dev->conn.broken)
		vhost_user_break(&dev->conn, NULL, "given up");
	log_error(dev->vdev.log, "%s: %s; this device is of no use to the guest any more",
		  dev->vdev.name, why);
	take_back_broken(dev, "its back end is lost");
}

void vhost_user_device_failed(struct vhost_user_device *dev, const struct error *err)
{
	if (dev->conn.broken)
		die(dev, err->msg);
	else
		virtio_complain(&dev->vdev, "%s", err->msg);
}

void vhost_user_device_gone(struct vhost_user_device *dev, const char *why)
{
	virtio_enter_device(&dev->vdev);
	die(dev, why);
	virtio_leave(&dev->vdev);
}

/* --- configuration space ------------------------------------------------------------ */

/* Inside. Take the back end's part anew. */
static int read_config(struct vhost_user_device *dev, struct error *err)
{
	uint8_t config[VIRTIO_CONFIG_MAX];

	if (vhost_user_get_config(&dev->conn, config, dev->type.config_size, err))
		return -1;
	memcpy(dev->state.config, config, dev->type.config_size);
	if (dev->type.fill)
		dev->type.fill(dev->state.config, dev->nr_rings - dev->type.extra_queues);
	return 0;
}

/*
 * Inside. The back end may have said, while we asked for something, that it changed. One that
 * says so all the time is asked now and then: reading it takes the loop's time.
 */
static void see_config_changed(struct vhost_user_device *dev)
{
	uint64_t now = now_ns();
	struct error err;

	if (!dev->conn.config_changed || dev->dead || !dev->type.config_size)
		return;
	if (dev->looked_ns && now < dev->looked_ns + LOOK_NS) {
		loop_timer_arm(&dev->look, dev->looked_ns + LOOK_NS);
		return;
	}
	dev->conn.config_changed = false;
	if (read_config(dev, &err))
		vhost_user_device_failed(dev, &err);
	else
		virtio_config_changed(&dev->vdev);
	/* From now on: while it was read somebody else had no turn. */
	dev->looked_ns = now_ns();
	if (dev->conn.config_changed && !dev->dead)
		loop_timer_arm(&dev->look, dev->looked_ns + LOOK_NS);
}

void vhost_user_look(void *opaque)
{
	struct vhost_user_device *dev = opaque;

	virtio_enter_device(&dev->vdev);
	see_config_changed(dev);
	virtio_leave(&dev->vdev);
}

static void op_config_get(struct virtio_device *vdev, uint8_t *config)
{
	memcpy(config, vhost_user_device_of(vdev)->state.config, vdev->ops->config_size);
}

static void op_config_set(struct virtio_device *vdev, uint32_t offset, const uint8_t *bytes,
			  uint32_t len)
{
	struct vhost_user_device *dev = vhost_user_device_of(vdev);
	struct error err;

	if (dev->dead || !vhost_user_writable(&dev->type, offset, len))
		return;
	/* What it made of it is the back end's to say. */
	if (vhost_user_set_config(&dev->conn, offset, bytes, len, &err) || read_config(dev, &err))
		vhost_user_device_failed(dev, &err);
	see_config_changed(dev);
}

/* --- running --------------------------------------------------------------------------- */

static bool op_negotiate(struct virtio_device *vdev, uint64_t features)
{
	(void)features;
	return !vhost_user_device_of(vdev)->dead;
}

/* Write what the driver had written before the state was saved. */
static int restore_config(struct vhost_user_device *dev, struct error *err)
{
	uint32_t at = dev->type.writable_at, len = dev->type.writable_len;
	uint8_t config[VIRTIO_CONFIG_MAX];

	if (!len)
		return 0;
	if (vhost_user_get_config(&dev->conn, config, dev->type.config_size, err))
		return -1;
	if (!memcmp(config + at, dev->state.config + at, len))
		return 0;
	return vhost_user_set_config(&dev->conn, at, dev->state.config + at, len, err);
}

/* The saved state that the back end has not heard of yet. */
static int restore(struct vhost_user_device *dev, struct error *err)
{
	if (!dev->state.loaded)
		return 0;
	dev->state.loaded = false;
	dev->announce = dev->type.link_at;
	if (restore_config(dev, err))
		return -1;
	if (!dev->state.has_blob)
		return 0;
	dev->state.has_blob = false;
	return vhost_user_load_state(&dev->conn, dev->blob, dev->blob_len, err);
}

static int start_ring(struct vhost_user_device *dev, struct vhost_user_queue *ring,
		      struct error *err)
{
	const struct guest_memory *mem = dev->vdev.mem;
	struct vhost_user_ring told = {
		.index = ring->index, .kick = ring->kick, .call = ring->call, .err = dev->err};
	struct virtq_layout layout;

	ring->base = virtio_hand_over(&dev->vdev, ring->index, &layout);
	ring->away = true;
	told.base = ring->base;
	told.num = layout.num;
	/* Checked when the queue was enabled; the first byte stands for the whole. */
	told.desc = memory_for_read(mem, layout.desc, 1);
	told.avail = memory_for_read(mem, layout.avail, 1);
	told.used = memory_for_read(mem, layout.used, 1);
	ring->used = (const uint16_t *)told.used + 1;
	if (vhost_user_start_ring(&dev->conn, &told, err))
		return -1;
	ring->started = true;
	return 0;
}

static int start_rings(struct vhost_user_device *dev, struct error *err)
{
	/* What lkvm does itself is none of the back end's business. */
	uint64_t features = dev->vdev.driver & dev->conn.features;
	unsigned int i;

	if (vhost_user_set_features(&dev->conn, features, err) ||
	    vhost_user_set_memory(&dev->conn, dev->vdev.mem, err) || restore(dev, err))
		return -1;
	for (i = 0; i < dev->nr_rings; i++) {
		const struct virtq *q = virtio_queue(&dev->vdev, i);

		if (q->ready && !q->broken && start_ring(dev, &dev->rings[i], err))
			return -1;
	}
	/* A ring starts with its first kick, and there may be requests that had theirs. */
	for (i = 0; i < dev->nr_rings; i++) {
		if (!dev->rings[i].away)
			continue;
		virtio_served(&dev->vdev, i, dev->rings[i].kick, dev->rings[i].call);
		vhost_user_bell_ring(&dev->bell, dev->rings[i].kick);
	}
	return 0;
}

/* Requests may still be on their way back. The index is the guest's memory: no trust. */
static bool settled(const struct vhost_user_queue *ring)
{
	return __atomic_load_n(ring->used, __ATOMIC_ACQUIRE) == ring->base;
}

static void settle(struct vhost_user_device *dev)
{
	const struct timespec ms = {.tv_nsec = NSEC_PER_MSEC};
	uint64_t begin = now_ns(), end = begin + min_u64(vhost_user_patience(&dev->conn, begin),
							 SETTLE_MS * NSEC_PER_MSEC);
	unsigned int i;

	for (i = 0; i < dev->nr_rings; i++) {
		const struct vhost_user_queue *ring = &dev->rings[i];

		while (ring->away && !settled(ring) && now_ns() < end)
			nanosleep(&ms, NULL);
		if (ring->away && !settled(ring))
			virtio_complain(&dev->vdev,
					"ring %u was stopped with requests under way (used index "
					"%u of %u)",
					i, *ring->used, ring->base);
	}
	vhost_user_waited(&dev->conn, begin);
}

/* Those that run; where that goes wrong they are broken already. */
static void stop_rings(struct vhost_user_device *dev)
{
	struct error err;
	unsigned int i;

	for (i = 0; i < dev->nr_rings && !dev->dead; i++) {
		struct vhost_user_queue *ring = &dev->rings[i];

		if (!ring->started)
			continue;
		ring->started = false;
		if (vhost_user_stop_ring(&dev->conn, i, &ring->base, &err))
			die(dev, err.msg);
	}
	settle(dev);
}

static void op_go(struct virtio_device *vdev)
{
	struct vhost_user_device *dev = vhost_user_device_of(vdev);
	struct error err;

	if (dev->dead) {
		virtio_needs_reset(vdev);
		return;
	}
	/* Then there is nothing to serve; vhost_user_link.c comes here again. */
	if (vhost_user_link_is_down(dev))
		return;
	vhost_user_fetch(dev->err);
	if (start_rings(dev, &err)) {
		/* Refused, and by halves it is of no use: the driver may try it anew. */
		vhost_user_device_failed(dev, &err);
		stop_rings(dev);
		take_back_broken(dev, "the back end did not take it");
	}
	vhost_user_announce(dev);
	see_config_changed(dev);
}

static void op_halt(struct virtio_device *vdev)
{
	struct vhost_user_device *dev = vhost_user_device_of(vdev);
	unsigned int i;

	stop_rings(dev);
	for (i = 0; i < dev->nr_rings; i++) {
		struct vhost_user_queue *ring = &dev->rings[i];

		if (!ring->away)
			continue;
		/* A kick that it did not fetch is given again by op_go(). */
		vhost_user_fetch(ring->kick);
		take_back(dev, ring);
	}
	see_config_changed(dev);
}

static void op_notify(struct virtio_device *vdev, unsigned int index)
{
	struct vhost_user_device *dev = vhost_user_device_of(vdev);

	if (dev->rings[index].away)
		vhost_user_bell_ring(&dev->bell, dev->rings[index].kick);
}

static void op_reset(struct virtio_device *vdev)
{
	struct vhost_user_device *dev = vhost_user_device_of(vdev);
	struct error err;

	vhost_user_forget_blob(dev);
	dev->state.loaded = false;
	dev->state.has_blob = false;
	dev->announce = false;
	if (!dev->dead && !dev->shown && vhost_user_reset(&dev->conn, &err))
		vhost_user_device_failed(dev, &err);
}

/* --- the loop ----------------------------------------------------------------------------- */

static void on_call(void *opaque, uint32_t events)
{
	struct vhost_user_queue *ring = opaque;
	struct virtio_device *vdev = &ring->dev->vdev;

	(void)events;
	virtio_enter_device(vdev);
	/* Fetched inside, so that what is fetched belongs to this run of the device. */
	if (vhost_user_fetch(ring->call) && ring->away)
		virtio_signal(vdev, ring->index);
	virtio_leave(vdev);
}

static void on_err(void *opaque, uint32_t events)
{
	struct vhost_user_device *dev = opaque;
	struct virtio_device *vdev = &dev->vdev;

	(void)events;
	virtio_enter_device(vdev);
	if (vhost_user_fetch(dev->err) && !dev->dead) {
		virtio_complain(vdev, "the back end says that the driver broke a ring");
		virtio_needs_reset(vdev);
	}
	virtio_leave(vdev);
}

/* The socket hangs up. */
static void on_end(void *opaque, uint32_t events)
{
	struct vhost_user_device *dev = opaque;

	(void)events;
	virtio_enter_device(&dev->vdev);
	die(dev, "the back end closed the connection");
	virtio_leave(&dev->vdev);
	loop_remove_fd(dev->loop, dev->conn.fd);
}

static void on_channel(void *opaque, uint32_t events)
{
	struct vhost_user_device *dev = opaque;
	struct error err;
	bool dead;

	(void)events;
	virtio_enter_device(&dev->vdev);
	if (!dev->dead) {
		if (vhost_user_channel(&dev->conn, &err))
			die(dev, err.msg);
		see_config_changed(dev);
	}
	dead = dev->dead;
	virtio_leave(&dev->vdev);
	if (dead)
		loop_remove_fd(dev->loop, dev->conn.channel);
}

static int make_event(struct vhost_user_device *dev, int *fd, loop_fd_fn fn, void *opaque)
{
	*fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (*fd < 0)
		return -errno;
	return fn ? loop_add_fd(dev->loop, *fd, EPOLLIN, fn, opaque) : 0;
}

int vhost_user_watch(struct vhost_user_device *dev, struct error *err)
{
	unsigned int i;
	int ret = vhost_user_bell_open(&dev->bell);

	if (ret)
		log_warning(dev->vdev.log,
			    "%s: no asynchronous I/O (%s): its back end can hold a notification "
			    "up, and the VM with it",
			    dev->vdev.name, strerror(-ret));
	ret = make_event(dev, &dev->err, on_err, dev);
	for (i = 0; !ret && i < dev->nr_rings; i++) {
		ret = make_event(dev, &dev->rings[i].kick, NULL, NULL);
		if (!ret)
			ret = make_event(dev, &dev->rings[i].call, on_call, &dev->rings[i]);
	}
	/* Answers are fetched by who asked: only its end is news. */
	if (!ret)
		ret = loop_add_fd(dev->loop, dev->conn.fd, EPOLLRDHUP, on_end, dev);
	if (!ret && dev->conn.channel >= 0)
		ret = loop_add_fd(dev->loop, dev->conn.channel, EPOLLIN, on_channel, dev);
	return ret ? fail_errno(err, -ret, "cannot watch the back end") : 0;
}

static void unwatch(struct vhost_user_device *dev, int fd)
{
	if (fd < 0)
		return;
	loop_remove_fd(dev->loop, fd);
	close(fd);
}

void vhost_user_unwatch(struct vhost_user_device *dev)
{
	unsigned int i;

	if (dev->loop)
		loop_timer_cancel(&dev->look);
	for (i = 0; dev->rings && i < dev->nr_rings; i++) {
		unwatch(dev, dev->rings[i].kick);
		unwatch(dev, dev->rings[i].call);
	}
	unwatch(dev, dev->err);
	vhost_user_bell_close(&dev->bell);
	if (dev->conn.channel >= 0)
		loop_remove_fd(dev->loop, dev->conn.channel);
	if (dev->conn.fd >= 0)
		loop_remove_fd(dev->loop, dev->conn.fd);
}

const struct virtio_device_ops vhost_user_device_ops = {
	.state_size = sizeof(struct vhost_user_saved),
	.negotiate = op_negotiate,
	.config_get = op_config_get,
	.config_set = op_config_set,
	.go = op_go,
	.halt = op_halt,
	.notify = op_notify,
	.reset = op_reset,
	.transfer = vhost_user_transfer,
	.obstacle = vhost_user_obstacle,
	.destroy = vhost_user_destroy,
};
