/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the vhost-user device share: vhost_user_device.c runs it,
 * vhost_user_life.c makes, saves, loads and destroys it. Threads and locks are said there.
 */
#ifndef LKVM_VIRTIO_VHOST_USER_INTERNAL_H
#define LKVM_VIRTIO_VHOST_USER_INTERNAL_H

#include "lkvm/virtio/vhost_user.h"

/**
 * struct vhost_user_saved - what is saved besides the rings
 * @config: the configuration space
 * @loaded: it came from a saved state, and the back end has not been told
 * @has_blob: … nor the back end's own state, in the device's blob
 */
struct vhost_user_saved {
	uint8_t config[VIRTIO_CONFIG_MAX];
	bool loaded, has_blob;
};

/**
 * struct vhost_user_queue - one queue
 * @kick, @call: eventfds, to and from the back end; -1: not made
 * @base: where the back end started; @used: of the ring, in host memory
 * @away: it was handed over; @started: and the back end took it
 */
struct vhost_user_queue {
	struct vhost_user_device *dev;
	unsigned int index;
	int kick, call;
	uint16_t base;
	const uint16_t *used;
	bool away, started;
};

/**
 * struct vhost_user_bell - what it takes to write an eventfd and not to wait
 * @context: for asynchronous I/O, 0: none
 * @file: an empty one
 */
struct vhost_user_bell {
	unsigned long context;
	int file;
};

/**
 * vhost_user_bell_open() - before the guest runs
 *
 * Return: 0, or -errno: then it rings by write(2), see vhost_user_bell.c.
 */
int vhost_user_bell_open(struct vhost_user_bell *bell);

/**
 * vhost_user_bell_ring() - add one to eventfd @fd (one thread at a time)
 */
void vhost_user_bell_ring(struct vhost_user_bell *bell, int fd);

/**
 * vhost_user_bell_close() - also after vhost_user_bell_open() failed
 */
void vhost_user_bell_close(struct vhost_user_bell *bell);

/**
 * struct vhost_user_device - the device
 * @ops: vhost_user_device_ops with the type's own fields
 * @shown: there is no back end, and no guest
 * @announce: the state was loaded, and the network is to hear of that
 * @dead: the connection is over
 * @err: eventfd: the driver broke a rule of a ring
 * @bell: for the rings' kicks
 * @look: calls vhost_user_look(); @looked_ns: when the configuration was read last, because
 *        it had changed
 * @state: what the core saves for us; its configuration space is the one the guest sees
 * @blob: the back end's own state, as it was saved or loaded last
 */
struct vhost_user_device {
	struct virtio_device vdev;
	struct virtio_device_ops ops;
	struct vhost_user_type type;
	struct loop *loop;
	struct vhost_user conn;
	bool shown, dead, announce;
	int err;
	struct vhost_user_bell bell;
	struct loop_timer look;
	uint64_t looked_ns;
	unsigned int nr_rings;
	struct vhost_user_queue *rings;
	struct vhost_user_saved state;
	void *blob;
	size_t blob_len;
	void (*on_destroy)(void *opaque);
	void *opaque;
};

static inline struct vhost_user_device *vhost_user_device_of(struct virtio_device *vdev)
{
	return container_of(vdev, struct vhost_user_device, vdev);
}

/* Does the driver write there? */
static inline bool vhost_user_writable(const struct vhost_user_type *type, uint32_t offset,
				       uint32_t len)
{
	return offset >= type->writable_at &&
	       (uint64_t)offset + len <= (uint64_t)type->writable_at + type->writable_len;
}

/* The operations, but for the type's own fields. */
extern const struct virtio_device_ops vhost_user_device_ops;

/* Was the eventfd written since the last time? */
bool vhost_user_fetch(int fd);

/* Inside, after a request went wrong: the end, if the connection is broken. */
void vhost_user_device_failed(struct vhost_user_device *dev, const struct error *err);

/* The configuration changed, and it was not the time to look (loop's thread). */
void vhost_user_look(void *opaque);

/* Make the eventfds and watch what is to be watched (before the loop, or its thread). */
int vhost_user_watch(struct vhost_user_device *dev, struct error *err);
void vhost_user_unwatch(struct vhost_user_device *dev);

void vhost_user_forget_blob(struct vhost_user_device *dev);

/* --- the link, where the device has one (vhost_user_link.c), inside ----------------- */

bool vhost_user_link_is_down(const struct vhost_user_device *dev);

/* Does byte @offset of the configuration space belong to its status? */
bool vhost_user_is_link(const struct vhost_user_device *dev, uint32_t offset);

/* May the loaded @config be, as far as the link goes? */
void vhost_user_check_link(const struct vhost_user_device *dev, struct xfer *x,
			   const uint8_t *config);

/* The rings run: have the guest announced, if that is due. */
void vhost_user_announce(struct vhost_user_device *dev);

/* "link", "link up", "link down" (outside, loop's thread). */
int vhost_user_link_command(struct virtio_device *vdev, const char *words, char *reply, size_t len,
			    struct error *err);

/* --- operations (vhost_user_life.c) ------------------------------------------------- */

const char *vhost_user_obstacle(struct virtio_device *vdev);
void vhost_user_transfer(struct virtio_device *vdev, struct xfer *x, void *opaque);
void vhost_user_destroy(struct virtio_device *vdev);

#endif /* LKVM_VIRTIO_VHOST_USER_INTERNAL_H */
