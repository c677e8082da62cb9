/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A vhost-user device between a driver of virtio-mmio and a fake back end, with shared
 * guest memory and a loop that the test turns.
 */
#ifndef LKVM_TESTS_VHOST_USER_RIG_H
#define LKVM_TESTS_VHOST_USER_RIG_H

#include "fake_vhost_user.h"
#include "virtio_driver.h"

#include "lkvm/virtio/mmio.h"
#include "lkvm/virtio/vhost_user.h"

#define RIG_NUM 16
#define RIG_QUEUES 2
#define RIG_DATA (DRV_RAM + MIB)

struct vu_rig {
	struct guest_memory mem;
	struct loop *loop;
	struct log log;
	struct fake_vu fake;
	struct virtio_world world;
	struct vhost_user_device *dev;
	struct virtio_mmio *mmio;
	struct drv drv;
	struct drv_ring rings[RIG_QUEUES];
	struct error err;
	unsigned int timeout_ms;
	const void *config; /* lkvm's own part of the configuration space */
	uint32_t config_len;
	unsigned int descriptors; /* open ones, before */
};

/* Memory and a loop; the fake can be changed before vu_rig_device(). */
void vu_rig_init(struct vu_rig *rig);

/* The device of @type; false, with err set, where it can't be made. */
bool vu_rig_device(struct vu_rig *rig, const struct vhost_user_type *type);

/* A driver that sets up both queues; false where it has to give up before DRIVER_OK. */
bool vu_rig_go(struct vu_rig *rig);

/* vu_rig_init(), a blk device, vu_rig_go(): all must work. */
void vu_rig_start(struct vu_rig *rig);

/* Turn the loop until it has been idle for @ms. */
void vu_rig_turn(struct vu_rig *rig, int ms);

/*
 * Put a request of four readable bytes and @len writable ones into queue @index and
 * notify; it is served where vu_rig_served() says so.
 */
void vu_rig_ask(struct vu_rig *rig, unsigned int index, uint8_t byte, uint32_t len);
bool vu_rig_served(struct vu_rig *rig, unsigned int index, uint8_t byte, uint32_t len);

/* Destroy everything; no descriptor is left over, and the fake saw nothing wrong. */
void vu_rig_stop(struct vu_rig *rig);

/* The same for a rig that has had a device or not, without an opinion on the fake. */
void vu_rig_drop(struct vu_rig *rig);

#endif /* LKVM_TESTS_VHOST_USER_RIG_H */
