// SPDX-License-Identifier: GPL-2.0-only
/*
 * The vhost-user device's life: made over a connection, saved, loaded, destroyed. What it
 * does while it lives is in vhost_user_device.c.
 *
 * Making. The back end is greeted at once, before the guest exists: how many queues there
 * are, what is offered and what the configuration space holds depend on its answers.
 *
 * Saving. The rings are at rest and their indexes are the core's. The back end's own
 * state, where it has one, is fetched now and written behind the configuration space. A
 * device whose back end has a state and can't give it says so, and is not saved.
 *
 * Loading. The configuration space must be what the new back end has, but for what a
 * driver may write. That, and the back end's state, are told to it when the device goes
 * on: it wants to hear of memory first.
 *
 * Thread and lock: building and destroying is the loop's thread, or before it; saving and
 * loading is inside the device.
 */
#include "vhost_user_internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the back end does to rings for any type; the core may know more of them. */
#define RING_FEATURES (VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC) | VIRTIO_BIT(VIRTIO_F_EVENT_IDX))

struct virtio_device *vhost_user_device(struct vhost_user_device *dev)
{
	return &dev->vdev;
}

void vhost_user_device_on_destroy(struct vhost_user_device *dev, void (*fn)(void *opaque),
				  void *opaque)
{
	dev->on_destroy = fn;
	dev->opaque = opaque;
}

void vhost_user_forget_blob(struct vhost_user_device *dev)
{
	free(dev->blob);
	dev->blob = NULL;
	dev->blob_len = 0;
}

/* --- save and load ---------------------------------------------------------------------------- */

const char *vhost_user_obstacle(struct virtio_device *vdev)
{
	struct vhost_user_device *dev = vhost_user_device_of(vdev);

	if (dev->dead)
		return "its back end is lost";
	if (dev->type.stateless || vhost_user_has(&dev->conn, VHOST_USER_PROTOCOL_DEVICE_STATE))
		return NULL;
	return "its back end has a state and does not offer to give it "
	       "(VHOST_USER_PROTOCOL_F_DEVICE_STATE)";
}

/* Does @a differ from @b where neither the driver can have written nor we? */
static bool other_config(const struct vhost_user_device *dev, const uint8_t *a, const uint8_t *b)
{
	uint32_t i;

	for (i = 0; i < dev->ops.config_size; i++)
		if (a[i] != b[i] && !vhost_user_writable(&dev->type, i, 1) &&
		    !vhost_user_is_link(dev, i))
			return true;
	return false;
}

/* The back end's own state: fetched for a save, kept for op_go() after a load. */
static void transfer_blob(struct vhost_user_device *dev, struct xfer *x,
			  struct vhost_user_saved *state)
{
	uint64_t len;

	if (!x->loading && !x->failed && !state->has_blob) {
		vhost_user_forget_blob(dev);
		/* Before the driver set it up there is nothing to remember. */
		if (!dev->type.stateless && dev->vdev.status & VIRTIO_STATUS_DRIVER_OK &&
		    vhost_user_save_state(&dev->conn, &dev->blob, &dev->blob_len, &x->err)) {
			x->failed = true;
			vhost_user_device_failed(dev, &x->err);
			return;
		}
	}
	len = dev->blob_len;
	xfer_u64(x, &len);
	if (x->loading && !x->failed) {
		xfer_check(x, len <= x->len - x->pos && len <= VHOST_USER_STATE_MAX,
			   "vhost-user: a back end's state that is cut off");
		vhost_user_forget_blob(dev);
		dev->blob = x->failed ? NULL : malloc((size_t)len + 1);
		xfer_check(x, dev->blob != NULL, "vhost-user: no memory for a back end's state");
		dev->blob_len = dev->blob ? (size_t)len : 0;
		state->has_blob = len > 0;
	}
	if (dev->blob_len)
		xfer_bytes(x, dev->blob, dev->blob_len);
}

void vhost_user_transfer(struct virtio_device *vdev, struct xfer *x, void *opaque)
{
	struct vhost_user_device *dev = vhost_user_device_of(vdev);
	struct vhost_user_saved *state = opaque;
	const char *why = x->loading ? NULL : vhost_user_obstacle(vdev);

	if (why && !x->failed) {
		x->failed = true;
		fail(&x->err, "%s can't be saved: %s", vdev->name, why);
	}
	xfer_bytes(x, state->config, dev->ops.config_size);
	xfer_check(x, !other_config(dev, state->config, dev->state.config),
		   "vhost-user: the back end's configuration is another one");
	vhost_user_check_link(dev, x, state->config);
	if (x->loading)
		state->loaded = true;
	transfer_blob(dev, x, state);
}

/* --- life ------------------------------------------------------------------------------------- */

static void free_device(struct vhost_user_device *dev)
{
	vhost_user_unwatch(dev);
	vhost_user_close(&dev->conn);
	vhost_user_forget_blob(dev);
	free(dev->rings);
	free(dev);
}

void vhost_user_destroy(struct virtio_device *vdev)
{
	struct vhost_user_device *dev = vhost_user_device_of(vdev);
	void (*fn)(void *opaque) = dev->on_destroy;
	void *opaque = dev->opaque;

	virtio_device_fini(vdev);
	free_device(dev);
	if (fn)
		fn(opaque);
}

/* How many queues, where the back end has @has of them (0: it does not say). */
static int count_queues(struct vhost_user_device *dev, const struct vhost_user_setup *setup,
			unsigned int nr_vcpus, uint64_t has, struct error *err)
{
	const struct vhost_user_type *t = &dev->type;
	uint64_t wanted = setup->queues ? setup->queues : t->queues, max = VIRTIO_MAX_QUEUES;

	if (has)
		max = min_u64(max, t->pairs ? 2 * min_u64(has, max) : has);
	if (max <= t->extra_queues)
		return fail(err, "the back end has %llu queues, and %s needs %u",
			    (unsigned long long)has, t->name, t->extra_queues + 1);
	max -= t->extra_queues;
	if (!wanted)
		wanted = dev->shown || has ? min_u64(max, nr_vcpus ? nr_vcpus : 1) : 1;
	if (wanted > max)
		return fail(err, "queues=%llu: at most %llu are possible",
			    (unsigned long long)wanted, (unsigned long long)max);
	dev->nr_rings = t->extra_queues + (unsigned int)wanted;
	return 0;
}

/* Ask the back end what it is, and whether that is enough. */
static int greet(struct vhost_user_device *dev, uint64_t *queues, struct error *err)
{
	*queues = 0;
	if (dev->shown)
		return 0;
	if (vhost_user_hello(&dev->conn, err) || vhost_user_queues(&dev->conn, queues, err) ||
	    vhost_user_open_channel(&dev->conn, err))
		return -1;
	if (!dev->type.config_size)
		return 0;
	return vhost_user_get_config(&dev->conn, dev->state.config, dev->type.config_size, err);
}

static void fill_ops(struct vhost_user_device *dev, const struct vhost_user_setup *setup)
{
	dev->ops = vhost_user_device_ops;
	dev->ops.kind = dev->type.name;
	dev->ops.id = dev->type.id;
	dev->ops.queue_max_was = dev->type.queue_max_was;
	if (dev->type.link_at)
		dev->ops.command = vhost_user_link_command;
	dev->ops.config_size = (uint32_t)max_u64(setup->config_len, dev->type.config_size);
}

static int init_rings(struct vhost_user_device *dev)
{
	unsigned int i;

	dev->rings = calloc(dev->nr_rings, sizeof(*dev->rings));
	if (!dev->rings)
		return -1;
	for (i = 0; i < dev->nr_rings; i++)
		dev->rings[i] =
			(struct vhost_user_queue){.dev = dev, .index = i, .kick = -1, .call = -1};
	return 0;
}

static int init_device(struct vhost_user_device *dev, const struct virtio_world *world,
		       const struct vhost_user_setup *setup, struct error *err)
{
	const struct vhost_user_type *t = &dev->type;
	uint64_t has;

	if (setup->config_len > VIRTIO_CONFIG_MAX || t->config_size > VIRTIO_CONFIG_MAX)
		return fail(err, "a configuration space has at most %d bytes", VIRTIO_CONFIG_MAX);
	if (setup->config_len)
		memcpy(dev->state.config, setup->config, setup->config_len);
	if (greet(dev, &has, err) || count_queues(dev, setup, world->nr_vcpus, has, err))
		return -1;
	if (t->fill)
		t->fill(dev->state.config, dev->nr_rings - t->extra_queues);
	fill_ops(dev, setup);
	if (init_rings(dev) || virtio_device_init(&dev->vdev, &dev->ops, world->name, world->mem,
						  world->log, t->features | setup->features,
						  dev->nr_rings, t->queue_max, 0, &dev->state))
		return fail(err, "no memory for a vhost-user device");
	if (!dev->shown)
		dev->vdev.offered &= VIRTIO_BIT(VIRTIO_F_VERSION_1) | setup->features |
				     ((t->features | RING_FEATURES) & dev->conn.features);
	if (t->trim)
		dev->vdev.offered = t->trim(dev->vdev.offered);
	return 0;
}

struct vhost_user_device *vhost_user_device_create(const struct virtio_world *world,
						   const struct vhost_user_setup *setup,
						   struct error *err)
{
	struct vhost_user_device *dev = calloc(1, sizeof(*dev));
	unsigned int timeout_ms;

	if (!dev) {
		fail(err, "no memory for a vhost-user device");
		if (setup->fd >= 0)
			close(setup->fd);
		return NULL;
	}
	vhost_user_init(&dev->conn, setup->fd);
	timeout_ms = setup->timeout_ms ? setup->timeout_ms : dev->conn.timeout_ms;
	vhost_user_set_timeout(&dev->conn, setup->greet_ms ? setup->greet_ms : timeout_ms);
	dev->type = *setup->type;
	dev->loop = world->loop;
	loop_timer_init(&dev->look, dev->loop, vhost_user_look, dev);
	dev->shown = setup->fd < 0;
	dev->err = -1;
	dev->bell.file = -1;
	if (init_device(dev, world, setup, err)) {
		free_device(dev);
		return NULL;
	}
	if (!dev->shown && vhost_user_watch(dev, err)) {
		virtio_device_fini(&dev->vdev);
		free_device(dev);
		return NULL;
	}
	vhost_user_set_timeout(&dev->conn, timeout_ms);
	return dev;
}
