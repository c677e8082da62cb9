// SPDX-License-Identifier: GPL-2.0-only
/*
 * The core of virtio devices through the virtio-mmio window: registers of every
 * width and offset, negotiation, the status machine, queues set up wrongly, broken
 * queues, resets with requests in flight, save and load. The device behind it is a
 * probe with two queues that fills what it gets, or holds it until told.
 */
#include "prng.h"
#include "unit.h"
#include "virtio_driver.h"

#include "lkvm/virtio/mmio.h"

#include <endian.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define QUEUES 2
#define NUM 16
#define PROBE_ID 42
#define PROBE_FEATURE (UINT64_C(1) << 3)
#define PROBE_ODD (UINT64_C(1) << 4) /* only without PROBE_FEATURE */
#define CONFIG_SIZE 11
#define CONFIG_WRITABLE 8
#define DATA (DRV_RAM + MIB)

struct probe {
	struct virtio_device vdev;
	struct {
		uint8_t config[CONFIG_SIZE];
	} s;
	bool hold; /* keep requests */
	struct virtq_request *held[NUM * QUEUES];
	unsigned int nr_held;
	unsigned int notified, activated, resets, drains;
	bool cancel; /* what is held, when drained */
	bool *destroyed;
	struct drv_ring *endless;
};

struct rig {
	struct guest_memory mem;
	struct drv drv;
	struct probe *probe;
	struct virtio_mmio *mmio;
	struct drv_ring ring[QUEUES];
	struct log log;
	int log_fd;
	unsigned int soon;
	bool destroyed;
};

static struct probe *to_probe(struct virtio_device *vdev)
{
	return container_of(vdev, struct probe, vdev);
}

static bool probe_negotiate(struct virtio_device *vdev, uint64_t features)
{
	(void)vdev;
	return !(features & PROBE_FEATURE && features & PROBE_ODD);
}

static void probe_config_get(struct virtio_device *vdev, uint8_t *config)
{
	memcpy(config, to_probe(vdev)->s.config, CONFIG_SIZE);
}

static void probe_config_set(struct virtio_device *vdev, uint32_t offset, const uint8_t *bytes,
			     uint32_t len)
{
	ck_assert_uint_lt(offset, CONFIG_SIZE);
	ck_assert_uint_le(len, CONFIG_SIZE - offset);
	if (offset <= CONFIG_WRITABLE && CONFIG_WRITABLE - offset < len)
		to_probe(vdev)->s.config[CONFIG_WRITABLE] = bytes[CONFIG_WRITABLE - offset];
}

static void probe_activate(struct virtio_device *vdev)
{
	to_probe(vdev)->activated++;
}

static void fill(struct virtq_request *req)
{
	struct virtq_cursor c = virtq_writer(req);
	uint8_t byte = 0x5a;

	while (virtq_write(&c, &byte, 1))
		;
}

static void probe_notify(struct virtio_device *vdev, unsigned int index)
{
	struct probe *probe = to_probe(vdev);
	struct virtq_request *req;

	probe->notified++;
	while ((req = virtq_pop(virtio_queue(vdev, index)))) {
		if (probe->hold) {
			probe->held[probe->nr_held++] = req;
			continue;
		}
		fill(req);
		virtio_complete(vdev, req);
	}
}

static void probe_drain(struct virtio_device *vdev)
{
	struct probe *probe = to_probe(vdev);

	probe->drains++;
	while (probe->cancel && probe->nr_held)
		virtio_cancel(vdev, probe->held[--probe->nr_held]);
}

static void probe_reset(struct virtio_device *vdev)
{
	to_probe(vdev)->resets++;
}

static void probe_transfer(struct virtio_device *vdev, struct xfer *x, void *state)
{
	(void)vdev;
	xfer_bytes(x, state, CONFIG_SIZE);
}

static void probe_destroy(struct virtio_device *vdev)
{
	virtio_device_fini(vdev);
	*to_probe(vdev)->destroyed = true;
	free(to_probe(vdev));
}

static const struct virtio_device_ops probe_ops = {
	.kind = "probe",
	.id = PROBE_ID,
	.config_size = CONFIG_SIZE,
	.state_size = CONFIG_SIZE,
	.negotiate = probe_negotiate,
	.config_get = probe_config_get,
	.config_set = probe_config_set,
	.go = probe_activate,
	.notify = probe_notify,
	.drain = probe_drain,
	.reset = probe_reset,
	.transfer = probe_transfer,
	.destroy = probe_destroy,
};

static void run_soon(void *opaque)
{
	struct rig *rig = opaque;

	rig->soon++;
}

static const struct virtio_mmio_env env = {
	.run_soon = run_soon,
};

static void start(struct rig *rig)
{
	unsigned int i;
	gpa_t at = DRV_RAM + 0x1000;

	memset(rig, 0, sizeof(*rig));
	drv_memory(&rig->mem);
	rig->log_fd = memfd_create("log", 0);
	log_init(&rig->log, rig->log_fd, LOG_LEVEL_DEBUG);
	rig->probe = calloc(1, sizeof(*rig->probe));
	rig->probe->destroyed = &rig->destroyed;
	ck_assert_int_eq(virtio_device_init(&rig->probe->vdev, &probe_ops, "probe0", &rig->mem,
					    &rig->log, PROBE_FEATURE | PROBE_ODD, QUEUES, NUM, 8,
					    &rig->probe->s),
			 0);
	for (i = 0; i < CONFIG_SIZE; i++)
		rig->probe->s.config[i] = (uint8_t)(0x10 + i);
	rig->mmio = virtio_mmio_create(&rig->probe->vdev, drv_line(&rig->drv), &env, rig);
	ck_assert_ptr_nonnull(rig->mmio);
	rig->drv.dev = rig->mmio;
	for (i = 0; i < QUEUES; i++)
		at = drv_ring_init(&rig->ring[i], &rig->mem, NUM, at);
}

static void stop(struct rig *rig)
{
	ck_assert_uint_eq(rig->drv.line_repeats, 0);
	virtio_mmio_device(rig->mmio)->ops->destroy(virtio_mmio_device(rig->mmio));
	ck_assert(rig->destroyed);
	memory_destroy(&rig->mem);
	close(rig->log_fd);
}

static off_t logged(struct rig *rig)
{
	return lseek(rig->log_fd, 0, SEEK_END);
}

/* New rings, a driver that knows its trade, and one request that must be answered. */
static void sane_request(struct rig *rig, uint64_t features)
{
	struct drv *drv = &rig->drv;
	unsigned int i;
	uint32_t id, len;

	ck_assert(drv_start(drv, features));
	for (i = 0; i < QUEUES; i++) {
		drv_ring_init(&rig->ring[i], &rig->mem, NUM, rig->ring[i].desc);
		ck_assert(drv_queue(drv, i, &rig->ring[i]));
	}
	drv_go(drv);
	ck_assert_uint_eq(drv_rd(drv, R_STATUS), 15);
	for (i = 0; i < QUEUES; i++) {
		drv_add(&rig->ring[i], &(struct drv_seg){DATA, 7, DRV_WRITE}, 1);
		drv_wr(drv, R_NOTIFY, i);
		ck_assert(drv_get_used(&rig->ring[i], &id, &len));
		ck_assert_uint_eq(len, 7);
		ck_assert(drv->level);
		ck_assert_uint_eq(drv_ack(drv), 1);
		ck_assert(!drv->level);
	}
}

START_TEST(good_way)
{
	struct rig rig;
	struct drv *drv = &rig.drv;

	start(&rig);
	ck_assert_uint_eq(drv_rd(drv, R_MAGIC), 0x74726976);
	ck_assert_uint_eq(drv_rd(drv, R_VERSION), 2);
	ck_assert_uint_eq(drv_rd(drv, R_DEVICE_ID), PROBE_ID);
	ck_assert_uint_ne(drv_rd(drv, R_VENDOR_ID), 0);
	ck_assert_uint_eq(drv_rd(drv, R_STATUS), 0);
	ck_assert_uint_eq(drv_features(drv), PROBE_FEATURE | PROBE_ODD | FEAT_INDIRECT |
						     FEAT_EVENT_IDX | FEAT_VERSION_1 |
						     FEAT_RING_PACKED | FEAT_RING_RESET);
	drv_wr(drv, R_QUEUE_SEL, 1);
	ck_assert_uint_eq(drv_rd(drv, R_QUEUE_NUM_MAX), NUM);
	ck_assert_uint_eq(drv_rd(drv, R_QUEUE_READY), 0);
	drv_wr(drv, R_SHM_SEL, 0);
	ck_assert_uint_eq(drv_rd(drv, R_SHM_LEN), UINT32_MAX);
	ck_assert_uint_eq(drv_rd(drv, R_SHM_LEN + 4), UINT32_MAX);
	ck_assert_uint_eq(drv_rd(drv, R_SHM_BASE), UINT32_MAX);
	ck_assert_uint_eq(drv_rd(drv, R_SHM_BASE + 4), UINT32_MAX);
	sane_request(&rig, PROBE_FEATURE);
	ck_assert_uint_eq(rig.probe->activated, 1);
	sane_request(&rig, PROBE_FEATURE | FEAT_EVENT_IDX | FEAT_INDIRECT | FEAT_RING_RESET);
	ck_assert_int_eq(logged(&rig), 0);
	stop(&rig);
}
END_TEST

/* A1 */
START_TEST(absent_queue)
{
	static const uint32_t absent[] = {QUEUES, 0xffff, 0xffff0000, UINT32_MAX};
	struct rig rig;
	struct drv *drv = &rig.drv;
	size_t i;

	start(&rig);
	drv_start(drv, 0);
	for (i = 0; i < ARRAY_SIZE(absent); i++) {
		drv_set_queue(drv, absent[i], &rig.ring[0]);
		ck_assert_uint_eq(drv_rd(drv, R_QUEUE_NUM_MAX), 0);
		drv_wr(drv, R_QUEUE_READY, 1);
		ck_assert_uint_eq(drv_rd(drv, R_QUEUE_READY), 0);
		drv_wr(drv, R_QUEUE_READY, 0);
		drv_wr(drv, R_QUEUE_RESET, 1);
		ck_assert_uint_eq(drv_rd(drv, R_QUEUE_RESET), 0);
	}
	ck_assert_uint_eq(drv_rd(drv, R_STATUS) & ST_NEEDS_RESET, 0);
	sane_request(&rig, 0);
	stop(&rig);
}
END_TEST

/* A2 */
START_TEST(notify_out_of_place)
{
	struct rig rig;
	struct drv *drv = &rig.drv;
	uint32_t id, len;

	start(&rig);
	drv_wr(drv, R_NOTIFY, 0);
	ck_assert(drv_start(drv, 0));
	ck_assert(drv_queue(drv, 0, &rig.ring[0]));
	drv_add(&rig.ring[0], &(struct drv_seg){DATA, 7, DRV_WRITE}, 1);
	drv_wr(drv, R_NOTIFY, 0);
	ck_assert(!drv_get_used(&rig.ring[0], &id, &len));
	ck_assert(!drv->level);
	drv_go(drv);
	ck_assert_uint_eq(rig.probe->notified, 0);
	drv_wr(drv, R_NOTIFY, 1); /* not enabled */
	drv_wr(drv, R_NOTIFY, QUEUES);
	drv_wr(drv, R_NOTIFY, 0x10000);
	drv_wr(drv, R_NOTIFY, UINT32_MAX);
	ck_assert_uint_eq(rig.probe->notified, 0);
	drv_wr(drv, R_NOTIFY, 0);
	ck_assert(drv_get_used(&rig.ring[0], &id, &len));
	/* For nothing, again and again. */
	drv_ack(drv);
	drv_wr(drv, R_NOTIFY, 0);
	drv_wr(drv, R_NOTIFY, 0);
	ck_assert(!drv->level);
	ck_assert(!drv_get_used(&rig.ring[0], &id, &len));
	sane_request(&rig, 0);
	stop(&rig);
}
END_TEST

/* A3, A5: what virtq_enable() refuses (its own test has all of it) ends in NEEDS_RESET. */
START_TEST(bad_layout)
{
	struct rig rig;
	struct drv *drv = &rig.drv;
	unsigned int i;

	start(&rig);
	for (i = 0; i < 8; i++) {
		struct drv_ring bad = rig.ring[0];

		switch (i) {
		case 0:
			bad.num = 0;
			break;
		case 1:
			bad.num = 3;
			break;
		case 2:
			bad.num = 2 * NUM;
			break;
		case 3:
			bad.num = 65536;
			break;
		case 4:
			bad.desc = 0x10000000;
			break;
		case 5:
			bad.avail = UINT64_MAX - 1;
			break;
		case 6:
			bad.used = bad.desc;
			break;
		default:
			bad.desc += 8;
			break;
		}
		ck_assert(drv_start(drv, 0));
		ck_assert(!drv_queue(drv, 0, &bad));
		ck_assert_uint_eq(drv_rd(drv, R_STATUS), 11 | ST_NEEDS_RESET);
		/* No interrupt before DRIVER_OK, one after it. */
		ck_assert(!drv->level);
		drv_go(drv);
		ck_assert_uint_eq(drv_rd(drv, R_STATUS), 15 | ST_NEEDS_RESET);
		ck_assert_uint_eq(drv_ack(drv), 2);
		drv_wr(drv, R_NOTIFY, 0);
		ck_assert_uint_eq(rig.probe->notified, 0);
	}
	sane_request(&rig, 0);
	stop(&rig);
}
END_TEST

/* A4 */
START_TEST(frozen_layout)
{
	struct rig rig;
	struct drv *drv = &rig.drv;
	struct drv_ring other;
	uint32_t id, len;

	start(&rig);
	drv_ring_init(&other, &rig.mem, 4, DRV_RAM + 0x100000);
	/* Before FEATURES_OK nothing is taken. */
	drv_wr(drv, R_STATUS, 3);
	ck_assert(!drv_queue(drv, 0, &rig.ring[0]));
	ck_assert_uint_eq(drv_rd(drv, R_STATUS), 3);
	ck_assert(drv_start(drv, 0));
	ck_assert(drv_queue(drv, 0, &rig.ring[0]));
	drv_set_queue(drv, 0, &other);
	ck_assert_uint_eq(drv_rd(drv, R_QUEUE_READY), 1);
	drv_wr(drv, R_QUEUE_READY, 1);
	drv_wr(drv, R_QUEUE_READY, 2);
	/* What was written while it was enabled is not even there afterwards. */
	drv_wr(drv, R_QUEUE_READY, 0);
	drv_wr(drv, R_QUEUE_READY, 1);
	drv_go(drv);
	drv_set_queue(drv, 0, &other);
	drv_add(&rig.ring[0], &(struct drv_seg){DATA, 7, DRV_WRITE}, 1);
	drv_wr(drv, R_NOTIFY, 0);
	ck_assert(drv_get_used(&rig.ring[0], &id, &len));
	ck_assert_uint_eq(drv_used_idx(&other), 0);
	/* Stopped, and after DRIVER_OK it does not start again without RING_RESET. */
	drv_wr(drv, R_QUEUE_READY, 0);
	ck_assert_uint_eq(drv_rd(drv, R_QUEUE_READY), 0);
	ck_assert(!drv_queue(drv, 0, &other));
	ck_assert(!drv_queue(drv, 1, &other));
	drv_add(&rig.ring[0], &(struct drv_seg){DATA, 7, DRV_WRITE}, 1);
	drv_wr(drv, R_NOTIFY, 0);
	ck_assert(!drv_get_used(&rig.ring[0], &id, &len));
	ck_assert_uint_eq(drv_rd(drv, R_STATUS), 15);
	sane_request(&rig, 0);
	stop(&rig);
}
END_TEST

/* A6 */
START_TEST(features)
{
	struct rig rig;
	struct drv *drv = &rig.drv;

	start(&rig);
	ck_assert(!drv_start(drv, UINT64_MAX));
	ck_assert_uint_eq(drv_rd(drv, R_STATUS), 3);
	/* It may think again. */
	drv_accept(drv, 0);
	drv_wr(drv, R_STATUS, 11);
	ck_assert_uint_eq(drv_rd(drv, R_STATUS), 3);
	drv_accept(drv, PROBE_FEATURE);
	drv_wr(drv, R_STATUS, 11);
	ck_assert_uint_eq(drv_rd(drv, R_STATUS), 3);
	drv_accept(drv, FEAT_VERSION_1 | UINT64_C(1) << 63);
	drv_wr(drv, R_STATUS, 15);
	ck_assert_uint_eq(drv_rd(drv, R_STATUS), 3);
	drv_accept(drv, FEAT_VERSION_1 | PROBE_FEATURE | PROBE_ODD);
	drv_wr(drv, R_STATUS, 11);
	ck_assert_uint_eq(drv_rd(drv, R_STATUS), 3);
	drv_accept(drv, FEAT_VERSION_1 | PROBE_FEATURE);
	drv_wr(drv, R_STATUS, 11);
	ck_assert_uint_eq(drv_rd(drv, R_STATUS), 11);
	/* Too late. */
	drv_accept(drv, UINT64_MAX);
	ck_assert_uint_eq(rig.probe->vdev.driver, FEAT_VERSION_1 | PROBE_FEATURE);
	/* Words that do not exist. */
	drv_wr(drv, R_STATUS, 0);
	ck_assert_uint_eq(rig.probe->vdev.driver, 0);
	drv_wr(drv, R_DRV_FEATURES_SEL, 2);
	drv_wr(drv, R_DRV_FEATURES, UINT32_MAX);
	drv_wr(drv, R_DRV_FEATURES_SEL, UINT32_MAX);
	drv_wr(drv, R_DRV_FEATURES, UINT32_MAX);
	ck_assert_uint_eq(rig.probe->vdev.driver, 0);
	drv_wr(drv, R_FEATURES_SEL, 2);
	ck_assert_uint_eq(drv_rd(drv, R_FEATURES), 0);
	drv_wr(drv, R_FEATURES_SEL, UINT32_MAX);
	ck_assert_uint_eq(drv_rd(drv, R_FEATURES), 0);
	sane_request(&rig, 0);
	stop(&rig);
}
END_TEST

/* A7: from every state, every value; the answer by the specification's order. */
START_TEST(status_machine)
{
	static const uint32_t states[] = {0, 1, 2, 3, 10, 11, 14, 15};
	struct rig rig;
	struct drv *drv = &rig.drv;
	size_t i;
	uint32_t value;

	start(&rig);
	for (i = 0; i < ARRAY_SIZE(states); i++) {
		for (value = 1; value < 0x200; value++) {
			uint32_t from = states[i], v = value & ~(uint32_t)ST_NEEDS_RESET, want = v;
			uint32_t steps = v & 15;

			drv_wr(drv, R_STATUS, 0);
			drv_accept(drv, FEAT_VERSION_1);
			if (from)
				drv_wr(drv, R_STATUS, from);
			ck_assert_uint_eq(drv_rd(drv, R_STATUS), from);
			drv_wr(drv, R_STATUS, value);
			if (v & ~(uint32_t)(15 | ST_FAILED) || from & ~v ||
			    (steps & ST_FEATURES_OK && !(steps & ST_DRIVER)) ||
			    (steps & ST_DRIVER_OK && !(steps & ST_FEATURES_OK)))
				want = from;
			ck_assert_uint_eq(drv_rd(drv, R_STATUS), want);
			if (want & ST_FAILED) {
				/* Only a reset helps. */
				drv_wr(drv, R_STATUS, want | 1);
				ck_assert_uint_eq(drv_rd(drv, R_STATUS), want);
				ck_assert(!drv_queue(drv, 0, &rig.ring[0]));
			}
		}
	}
	drv_wr(drv, R_STATUS, 0);
	drv_wr(drv, R_STATUS, UINT32_C(0x80000001));
	ck_assert_uint_eq(drv_rd(drv, R_STATUS), 0);
	/* Not a flood. */
	ck_assert_int_lt(logged(&rig), 4096);
	sane_request(&rig, 0);
	stop(&rig);
}
END_TEST

START_TEST(failed_stops_work)
{
	struct rig rig;
	struct drv *drv = &rig.drv;
	uint32_t id, len;

	start(&rig);
	sane_request(&rig, 0);
	drv_wr(drv, R_STATUS, 15 | ST_FAILED);
	drv_add(&rig.ring[0], &(struct drv_seg){DATA, 7, DRV_WRITE}, 1);
	drv_wr(drv, R_NOTIFY, 0);
	ck_assert(!drv_get_used(&rig.ring[0], &id, &len));
	sane_request(&rig, 0);
	stop(&rig);
}
END_TEST

/* A8 */
START_TEST(reset_storm)
{
	struct rig rig;
	struct drv *drv = &rig.drv;
	unsigned int i;

	start(&rig);
	for (i = 0; i < 100000; i++) {
		drv_wr(drv, R_STATUS, 0);
		if (i % 100 == 0)
			sane_request(&rig, FEAT_RING_RESET);
	}
	for (i = 0; i < 200; i++) {
		drv_wr(drv, R_QUEUE_SEL, i % QUEUES);
		drv_wr(drv, R_QUEUE_READY, 1);
	}
	sane_request(&rig, 0);
	ck_assert_int_eq(logged(&rig), 0);
	stop(&rig);
}
END_TEST

START_TEST(reset_clears)
{
	struct rig rig;
	struct drv *drv = &rig.drv;
	unsigned int i;

	start(&rig);
	sane_request(&rig, 0);
	drv_add(&rig.ring[0], &(struct drv_seg){DATA, 7, DRV_WRITE}, 1);
	drv_wr(drv, R_NOTIFY, 0);
	ck_assert(drv->level);
	drv_wr(drv, R_STATUS, 0);
	ck_assert(!drv->level);
	ck_assert_uint_eq(drv_rd(drv, R_STATUS), 0);
	ck_assert_uint_eq(drv_rd(drv, R_INT_STATUS), 0);
	for (i = 0; i < QUEUES; i++) {
		drv_wr(drv, R_QUEUE_SEL, i);
		ck_assert_uint_eq(drv_rd(drv, R_QUEUE_READY), 0);
		ck_assert_uint_eq(drv_rd(drv, R_QUEUE_RESET), 0);
	}
	/* Nothing is consumed any more. */
	drv_add(&rig.ring[0], &(struct drv_seg){DATA, 7, DRV_WRITE}, 1);
	i = rig.probe->notified;
	drv_wr(drv, R_NOTIFY, 0);
	ck_assert_uint_eq(rig.probe->notified, i);
	stop(&rig);
}
END_TEST

/* A9, A10 */
START_TEST(config_space)
{
	struct rig rig;
	struct drv *drv = &rig.drv;
	unsigned int size, k;
	uint64_t offset;

	start(&rig);
	/* Before FEATURES_OK it can be read and not written. */
	virtio_mmio_ops.write(drv->dev, R_CONFIG + CONFIG_WRITABLE, 0x77, 1);
	for (size = 1; size <= 8; size *= 2) {
		for (offset = 0; offset + size <= VIRTIO_MMIO_WINDOW - R_CONFIG; offset++) {
			uint64_t want = 0;

			for (k = 0; k < size; k++)
				if (offset + k < CONFIG_SIZE)
					want |= (0x10 + offset + k) << 8 * k;
			ck_assert_uint_eq(virtio_mmio_ops.read(drv->dev, R_CONFIG + offset, size),
					  want);
		}
	}
	sane_request(&rig, 0);
	/* One field can be written, by any access that covers it. */
	for (size = 1; size <= 8; size *= 2) {
		for (offset = 0; offset + size <= VIRTIO_MMIO_WINDOW - R_CONFIG; offset++) {
			uint8_t *config = rig.probe->s.config;

			config[CONFIG_WRITABLE] = 0x18;
			virtio_mmio_ops.write(drv->dev, R_CONFIG + offset,
					      UINT64_C(0xa7a6a5a4a3a2a1a0), size);
			for (k = 0; k < CONFIG_SIZE; k++) {
				if (k == CONFIG_WRITABLE && k >= offset && k < offset + size)
					ck_assert_uint_eq(config[k], 0xa0 + k - offset);
				else
					ck_assert_uint_eq(config[k], 0x10 + k);
			}
		}
	}
	stop(&rig);
}
END_TEST

START_TEST(config_generation)
{
	struct rig rig;
	struct drv *drv = &rig.drv;
	uint32_t before;

	start(&rig);
	before = drv_rd(drv, R_GENERATION);
	virtio_enter(&rig.probe->vdev);
	rig.probe->s.config[0] = 1;
	virtio_config_changed(&rig.probe->vdev);
	virtio_leave(&rig.probe->vdev);
	ck_assert_uint_ne(drv_rd(drv, R_GENERATION), before);
	ck_assert(!drv->level);
	sane_request(&rig, 0);
	before = drv_rd(drv, R_GENERATION);
	ck_assert_uint_eq(drv_rd(drv, R_GENERATION), before);
	virtio_enter(&rig.probe->vdev);
	virtio_config_changed(&rig.probe->vdev);
	virtio_leave(&rig.probe->vdev);
	ck_assert_uint_ne(drv_rd(drv, R_GENERATION), before);
	ck_assert_uint_eq(drv_ack(drv), 2);
	stop(&rig);
}
END_TEST

/* A11: every offset in every width: nothing but 32-bit registers does anything. */
START_TEST(register_widths)
{
	static const unsigned int sizes[] = {1, 2, 4, 8};
	struct rig rig;
	struct drv *drv = &rig.drv;
	uint64_t offset;
	size_t i;

	start(&rig);
	sane_request(&rig, 0);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (offset = 0; offset < R_CONFIG; offset++) {
			if (sizes[i] == 4 && offset % 4 == 0)
				continue;
			ck_assert_uint_eq(virtio_mmio_ops.read(drv->dev, offset, sizes[i]), 0);
			virtio_mmio_ops.write(drv->dev, offset, 0, sizes[i]);
			virtio_mmio_ops.write(drv->dev, offset, UINT64_MAX >> (64 - 8 * sizes[i]),
					      sizes[i]);
		}
	}
	ck_assert_uint_eq(drv_rd(drv, R_STATUS), 15);
	ck_assert_uint_eq(drv_rd(drv, R_QUEUE_READY), 1);
	/* Registers that can only be written, or are none, read as 0. */
	for (offset = 0; offset < R_CONFIG; offset += 4) {
		uint32_t v = drv_rd(drv, offset);

		switch (offset) {
		case R_MAGIC:
		case R_VERSION:
		case R_DEVICE_ID:
		case R_VENDOR_ID:
		case R_FEATURES:
		case R_QUEUE_NUM_MAX:
		case R_QUEUE_READY:
		case R_STATUS:
		case R_SHM_LEN:
		case R_SHM_LEN + 4:
		case R_SHM_BASE:
		case R_SHM_BASE + 4:
			ck_assert_uint_ne(v, 0);
			break;
		default:
			ck_assert_uint_eq(v, 0);
		}
	}
	/* Those that can only be read keep what they say. */
	for (offset = 0; offset < 0x14; offset += 4) {
		uint32_t v = drv_rd(drv, offset);

		drv_wr(drv, offset, ~v);
		ck_assert_uint_eq(drv_rd(drv, offset), v);
	}
	drv_wr(drv, R_INT_STATUS, 3);
	ck_assert_uint_eq(drv_rd(drv, R_INT_STATUS), 0);
	drv_wr(drv, R_GENERATION, 3);
	ck_assert_uint_eq(drv_rd(drv, R_GENERATION), 0);
	ck_assert_int_lt(logged(&rig), 4096);
	stop(&rig);
}
END_TEST

/* A12 */
START_TEST(interrupt_ack)
{
	struct rig rig;
	struct drv *drv = &rig.drv;

	start(&rig);
	sane_request(&rig, 0);
	drv_wr(drv, R_INT_ACK, UINT32_MAX);
	ck_assert_uint_eq(drv_rd(drv, R_INT_STATUS), 0);
	drv_add(&rig.ring[0], &(struct drv_seg){DATA, 7, DRV_WRITE}, 1);
	drv_wr(drv, R_NOTIFY, 0);
	virtio_enter(&rig.probe->vdev);
	virtio_config_changed(&rig.probe->vdev);
	virtio_leave(&rig.probe->vdev);
	ck_assert_uint_eq(drv_rd(drv, R_INT_STATUS), 3);
	/* Reading clears nothing, other bits neither; each bit by itself. */
	ck_assert_uint_eq(drv_rd(drv, R_INT_STATUS), 3);
	drv_wr(drv, R_INT_ACK, ~UINT32_C(3));
	ck_assert_uint_eq(drv_rd(drv, R_INT_STATUS), 3);
	drv_wr(drv, R_INT_ACK, 1);
	ck_assert_uint_eq(drv_rd(drv, R_INT_STATUS), 2);
	ck_assert(drv->level);
	drv_wr(drv, R_INT_ACK, 2);
	ck_assert(!drv->level);
	stop(&rig);
}
END_TEST

/* Rules of section B: one broken queue, NEEDS_RESET, an interrupt, the other goes on. */
START_TEST(broken_queue)
{
	struct rig rig;
	struct drv *drv = &rig.drv;
	uint32_t id, len;
	off_t before;

	start(&rig);
	sane_request(&rig, 0);
	before = logged(&rig);
	drv_offer(&rig.ring[0], NUM);
	drv_wr(drv, R_NOTIFY, 0);
	ck_assert_uint_eq(drv_rd(drv, R_STATUS), 15 | ST_NEEDS_RESET);
	ck_assert_uint_eq(drv_ack(drv), 2);
	ck_assert_int_gt(logged(&rig), before);
	before = logged(&rig);
	/* Said once. */
	drv_wr(drv, R_NOTIFY, 0);
	drv_wr(drv, R_NOTIFY, 0);
	ck_assert(!drv->level);
	ck_assert_int_eq(logged(&rig), before);
	/* The driver can't write it away. */
	drv_wr(drv, R_STATUS, 15);
	ck_assert_uint_eq(drv_rd(drv, R_STATUS), 15 | ST_NEEDS_RESET);
	drv_add(&rig.ring[1], &(struct drv_seg){DATA, 7, DRV_WRITE}, 1);
	drv_wr(drv, R_NOTIFY, 1);
	ck_assert(drv_get_used(&rig.ring[1], &id, &len));
	sane_request(&rig, 0);
	stop(&rig);
}
END_TEST

/* B7: a ring that is full again whenever it was emptied. */
START_TEST(long_work_is_cut)
{
	struct rig rig;
	struct drv *drv = &rig.drv;
	struct drv_ring *ring = &rig.ring[0];
	uint32_t id, len;
	unsigned int i, n = 0;

	start(&rig);
	sane_request(&rig, 0);
	rig.probe->hold = true;
	/* Held requests let us add during the pass: only NUM heads exist, though. */
	for (i = 0; i < NUM; i++)
		drv_add(ring, &(struct drv_seg){DATA, 1, DRV_WRITE}, 1);
	drv_wr(drv, R_NOTIFY, 0);
	ck_assert_uint_eq(rig.probe->nr_held, NUM);
	ck_assert_uint_eq(rig.soon, 0);
	virtio_enter_device(&rig.probe->vdev);
	while (rig.probe->nr_held)
		virtio_complete(&rig.probe->vdev, rig.probe->held[--rig.probe->nr_held]);
	virtio_leave(&rig.probe->vdev);
	while (drv_get_used(ring, &id, &len))
		n++;
	ck_assert_uint_eq(n, NUM);
	rig.probe->hold = false;
	ck_assert_uint_eq(drv_ack(drv), 1);
	stop(&rig);
}
END_TEST

/* A device whose notify adds a buffer for each it takes, as a second hart would. */
static void endless_notify(struct virtio_device *vdev, unsigned int index)
{
	struct virtq_request *req;

	to_probe(vdev)->notified++;
	while ((req = virtq_pop(virtio_queue(vdev, index)))) {
		virtio_complete(vdev, req);
		drv_add(to_probe(vdev)->endless, &(struct drv_seg){DATA, 1, DRV_WRITE}, 1);
	}
}

START_TEST(endless_work_yields)
{
	struct virtio_device_ops ops = probe_ops;
	struct rig rig;
	struct drv *drv = &rig.drv;
	unsigned int i;

	start(&rig);
	sane_request(&rig, 0);
	ops.notify = endless_notify;
	rig.probe->vdev.ops = &ops;
	rig.probe->endless = &rig.ring[0];
	i = rig.probe->notified;
	drv_add(&rig.ring[0], &(struct drv_seg){DATA, 1, DRV_WRITE}, 1);
	drv_wr(drv, R_NOTIFY, 0);
	ck_assert_uint_eq(rig.soon, 1);
	ck_assert_uint_eq(drv_used_idx(&rig.ring[0]), 1 + NUM);
	/* A storm of notifications buys no second turn. */
	drv_wr(drv, R_NOTIFY, 0);
	drv_wr(drv, R_NOTIFY, 0);
	ck_assert_uint_eq(rig.probe->notified, i + 1);
	virtio_device_run(&rig.probe->vdev);
	ck_assert_uint_eq(drv_used_idx(&rig.ring[0]), 1 + 2 * NUM);
	ck_assert_uint_eq(rig.soon, 2);
	/* A reset ends it. */
	drv_wr(drv, R_STATUS, 0);
	virtio_device_run(&rig.probe->vdev);
	ck_assert_uint_eq(drv_used_idx(&rig.ring[0]), 1 + 2 * NUM);
	rig.probe->vdev.ops = &probe_ops;
	sane_request(&rig, 0);
	stop(&rig);
}
END_TEST

/* --- per-queue reset ------------------------------------------------------------- */

START_TEST(queue_reset)
{
	struct rig rig;
	struct drv *drv = &rig.drv;
	struct drv_ring other;
	uint32_t id, len;

	start(&rig);
	sane_request(&rig, FEAT_RING_RESET);
	drv_wr(drv, R_QUEUE_SEL, 0);
	drv_wr(drv, R_QUEUE_RESET, 0);
	ck_assert_uint_eq(drv_rd(drv, R_QUEUE_READY), 1);
	drv_wr(drv, R_QUEUE_RESET, 1);
	ck_assert_uint_eq(drv_rd(drv, R_QUEUE_RESET), 0);
	ck_assert_uint_eq(drv_rd(drv, R_QUEUE_READY), 0);
	drv_add(&rig.ring[0], &(struct drv_seg){DATA, 7, DRV_WRITE}, 1);
	drv_wr(drv, R_NOTIFY, 0);
	ck_assert(!drv_get_used(&rig.ring[0], &id, &len));
	/* The other goes on; this one comes back, smaller and elsewhere, from index 0. */
	drv_add(&rig.ring[1], &(struct drv_seg){DATA, 7, DRV_WRITE}, 1);
	drv_wr(drv, R_NOTIFY, 1);
	ck_assert(drv_get_used(&rig.ring[1], &id, &len));
	drv_ring_init(&other, &rig.mem, 4, DRV_RAM + 0x100000);
	ck_assert(drv_queue(drv, 0, &other));
	ck_assert_uint_eq(drv_rd(drv, R_QUEUE_RESET), 0);
	drv_add(&other, &(struct drv_seg){DATA, 7, DRV_WRITE}, 1);
	drv_wr(drv, R_NOTIFY, 0);
	ck_assert(drv_get_used(&other, &id, &len));
	/* A queue that was broken too. */
	drv_offer(&other, 4);
	drv_wr(drv, R_NOTIFY, 0);
	drv_wr(drv, R_QUEUE_SEL, 0);
	drv_wr(drv, R_QUEUE_RESET, 1);
	drv_ring_init(&other, &rig.mem, 8, DRV_RAM + 0x100000);
	ck_assert(drv_queue(drv, 0, &other));
	/* Without the feature it is no register. */
	sane_request(&rig, 0);
	drv_wr(drv, R_QUEUE_SEL, 0);
	drv_wr(drv, R_QUEUE_RESET, 1);
	ck_assert_uint_eq(drv_rd(drv, R_QUEUE_READY), 1);
	stop(&rig);
}
END_TEST

/* --- requests in flight ------------------------------------------------------------- */

struct late {
	struct rig *rig;
	atomic_bool over;
};

/* A back end that takes its time. */
static void *complete_late(void *arg)
{
	struct late *late = arg;
	struct probe *probe = late->rig->probe;
	struct timespec nap = {0, 20000000};

	nanosleep(&nap, NULL);
	virtio_enter_device(&probe->vdev);
	while (probe->nr_held) {
		struct virtq_request *req = probe->held[--probe->nr_held];

		fill(req);
		virtio_complete(&probe->vdev, req);
	}
	atomic_store(&late->over, true);
	virtio_leave(&probe->vdev);
	return NULL;
}

static void hold_some(struct rig *rig)
{
	unsigned int i;

	rig->probe->hold = true;
	for (i = 0; i < 5; i++) {
		drv_add(&rig->ring[0], &(struct drv_seg){DATA + 16 * i, 7, DRV_WRITE}, 1);
		drv_add(&rig->ring[1], &(struct drv_seg){DATA + 16 * i, 7, DRV_WRITE}, 1);
	}
	drv_wr(&rig->drv, R_NOTIFY, 0);
	drv_wr(&rig->drv, R_NOTIFY, 1);
	ck_assert_uint_eq(rig->probe->nr_held, 10);
}

/* A8, C5: each way to stop waits for what is in flight. */
START_TEST(stops_wait)
{
	struct rig rig;
	struct drv *drv = &rig.drv;
	struct device *dev;
	pthread_t thread;
	struct late late = {&rig, false};

	start(&rig);
	dev = virtio_mmio_device(rig.mmio);
	sane_request(&rig, FEAT_RING_RESET);
	hold_some(&rig);
	ck_assert_int_eq(pthread_create(&thread, NULL, complete_late, &late), 0);
	switch (_i) {
	case 0:
		drv_wr(drv, R_STATUS, 0);
		ck_assert_uint_eq(drv_rd(drv, R_STATUS), 0);
		break;
	case 1:
		drv_wr(drv, R_QUEUE_SEL, 1);
		drv_wr(drv, R_QUEUE_READY, 0);
		break;
	case 2:
		drv_wr(drv, R_QUEUE_SEL, 1);
		drv_wr(drv, R_QUEUE_RESET, 1);
		break;
	case 3:
		dev->ops->reset(dev);
		break;
	default:
		dev->ops->quiesce(dev);
		ck_assert_uint_eq(drv_used_idx(&rig.ring[0]), 6);
		/* Now nothing moves, until resume. */
		drv_add(&rig.ring[0], &(struct drv_seg){DATA, 7, DRV_WRITE}, 1);
		drv_wr(drv, R_NOTIFY, 0);
		ck_assert_uint_eq(drv_used_idx(&rig.ring[0]), 6);
		rig.probe->hold = false;
		dev->ops->resume(dev);
		ck_assert_uint_eq(drv_used_idx(&rig.ring[0]), 7);
		/* The line was said again. */
		rig.drv.line_repeats = 0;
		break;
	}
	ck_assert(atomic_load(&late.over));
	ck_assert_uint_eq(rig.probe->nr_held, 0);
	ck_assert_uint_eq(rig.probe->drains, 1);
	pthread_join(thread, NULL);
	rig.probe->hold = false;
	sane_request(&rig, 0);
	stop(&rig);
}
END_TEST

/* A pause, and what needs the device quiet for a moment in it: each lets go for itself. */
START_TEST(holds_are_counted)
{
	struct virtio_device *vdev;
	struct rig rig;
	unsigned int i;

	start(&rig);
	vdev = &rig.probe->vdev;
	sane_request(&rig, 0);
	for (i = 0; i < 3; i++)
		virtio_device_quiesce(vdev);
	drv_add(&rig.ring[0], &(struct drv_seg){DATA, 7, DRV_WRITE}, 1);
	for (i = 0; i < 3; i++) {
		drv_wr(&rig.drv, R_NOTIFY, 0);
		ck_assert_uint_eq(drv_used_idx(&rig.ring[0]), 1);
		virtio_device_resume(vdev);
	}
	ck_assert_uint_eq(drv_used_idx(&rig.ring[0]), 2);
	/* A reset meanwhile. */
	virtio_device_quiesce(vdev);
	drv_wr(&rig.drv, R_STATUS, 0);
	virtio_device_resume(vdev);
	sane_request(&rig, 0);
	stop(&rig);
}
END_TEST

static void *reset_by_hart(void *arg)
{
	struct rig *rig = arg;

	drv_wr(&rig->drv, R_STATUS, 0);
	return NULL;
}

/* While one hart resets, another sees no state in between: its access waits. */
START_TEST(other_harts_wait)
{
	struct rig rig;
	pthread_t back_end, hart;
	struct late late = {&rig, false};

	start(&rig);
	sane_request(&rig, 0);
	hold_some(&rig);
	ck_assert_int_eq(pthread_create(&hart, NULL, reset_by_hart, &rig), 0);
	for (;;) {
		bool draining;

		virtio_enter_device(&rig.probe->vdev);
		draining = rig.probe->vdev.draining;
		virtio_leave(&rig.probe->vdev);
		if (draining)
			break;
		sched_yield();
	}
	ck_assert_int_eq(pthread_create(&back_end, NULL, complete_late, &late), 0);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_STATUS), 0);
	ck_assert(atomic_load(&late.over));
	pthread_join(hart, NULL);
	pthread_join(back_end, NULL);
	rig.probe->hold = false;
	sane_request(&rig, 0);
	stop(&rig);
}
END_TEST

START_TEST(destroy_waits)
{
	struct rig rig;
	pthread_t thread;
	struct late late = {&rig, false};

	start(&rig);
	sane_request(&rig, 0);
	hold_some(&rig);
	ck_assert_int_eq(pthread_create(&thread, NULL, complete_late, &late), 0);
	stop(&rig);
	ck_assert(atomic_load(&late.over));
	pthread_join(thread, NULL);
}
END_TEST

/* What waits for the outside world is cancelled, and the driver hears nothing of it. */
START_TEST(reset_cancels)
{
	struct rig rig;

	start(&rig);
	sane_request(&rig, 0);
	hold_some(&rig);
	rig.probe->cancel = true;
	drv_wr(&rig.drv, R_STATUS, 0);
	ck_assert_uint_eq(drv_used_idx(&rig.ring[0]), 1);
	ck_assert_uint_eq(rig.probe->nr_held, 0);
	rig.probe->hold = false;
	sane_request(&rig, 0);
	stop(&rig);
}
END_TEST

/* --- save and load ------------------------------------------------------------------------ */

static void save(struct rig *rig, struct xfer *x)
{
	struct device *dev = virtio_mmio_device(rig->mmio);

	xfer_save_init(x);
	dev->ops->transfer(dev, x);
	ck_assert_int_eq(xfer_done(x, NULL), 0);
}

static bool load(struct rig *rig, const void *buf, size_t len)
{
	struct device *dev = virtio_mmio_device(rig->mmio);
	struct xfer x;

	xfer_load_init(&x, buf, len);
	dev->ops->transfer(dev, &x);
	return !xfer_done(&x, NULL);
}

START_TEST(save_load)
{
	struct rig a, b;
	struct xfer x, y;
	uint32_t id, len;
	unsigned int i;

	start(&a);
	start(&b);
	sane_request(&a, FEAT_EVENT_IDX | FEAT_INDIRECT);
	for (i = 0; i < 3; i++)
		drv_add(&a.ring[0], &(struct drv_seg){DATA, 7, DRV_WRITE}, 1);
	drv_set_used_event(&a.ring[0], 1);
	drv_wr(&a.drv, R_NOTIFY, 0);
	drv_offer(&a.ring[1], NUM);
	drv_wr(&a.drv, R_NOTIFY, 1);
	drv_wr(&a.drv, R_QUEUE_SEL, 1);
	save(&a, &x);
	ck_assert(load(&b, x.buf, x.len));
	save(&b, &y);
	ck_assert_uint_eq(x.len, y.len);
	ck_assert_int_eq(memcmp(x.buf, y.buf, x.len), 0);
	ck_assert_uint_eq(drv_rd(&b.drv, R_STATUS), 15 | ST_NEEDS_RESET);
	ck_assert_uint_eq(drv_rd(&b.drv, R_INT_STATUS), 3);
	ck_assert(!b.drv.level);
	/* The copy goes on in its own memory where the first one stood. */
	memcpy(drv_ptr(&b.mem, DRV_RAM, DRV_BANK), drv_ptr(&a.mem, DRV_RAM, DRV_BANK), DRV_BANK);
	virtio_mmio_device(b.mmio)->ops->resume(virtio_mmio_device(b.mmio));
	ck_assert(b.drv.level);
	b.ring[0] = a.ring[0];
	b.ring[0].mem = &b.mem;
	drv_add(&b.ring[0], &(struct drv_seg){DATA, 5, DRV_WRITE}, 1);
	drv_wr(&b.drv, R_NOTIFY, 0);
	for (i = 0; i < 4; i++)
		ck_assert(drv_get_used(&b.ring[0], &id, &len));
	ck_assert_uint_eq(len, 5);
	xfer_free(&x);
	xfer_free(&y);
	stop(&a);
	sane_request(&b, 0);
	stop(&b);
}
END_TEST

/* --- packed rings ------------------------------------------------------------------------- */

#define PACKED_NUM 5
#define PACKED_AT (DRV_RAM + 0x20000)
#define PACKED_AVAIL 0x80
#define PACKED_USED 0x8000

/* One writable buffer in slot @n, counted from the start. */
static void put_packed(struct rig *rig, unsigned int n, uint16_t id)
{
	bool wrap = n / PACKED_NUM % 2 == 0;

	/* In a packed slot the ID comes before the flags. */
	drv_desc_at(&rig->mem, PACKED_AT, n % PACKED_NUM, DATA, 7, id,
		    DRV_WRITE | (wrap ? PACKED_AVAIL : PACKED_USED));
	drv_wr(&rig->drv, R_NOTIFY, 0);
}

static void expect_packed(struct rig *rig, unsigned int n, uint16_t id)
{
	const uint8_t *slot = drv_ptr(&rig->mem, PACKED_AT + 16 * (n % PACKED_NUM), 16);
	bool wrap = n / PACKED_NUM % 2 == 0;
	uint16_t got_id, flags;
	uint32_t len;

	memcpy(&len, slot + 8, 4);
	memcpy(&got_id, slot + 12, 2);
	memcpy(&flags, slot + 14, 2);
	ck_assert_uint_eq(le32toh(len), 7);
	ck_assert_uint_eq(le16toh(got_id), id);
	ck_assert_uint_eq(le16toh(flags), DRV_WRITE | (wrap ? PACKED_AVAIL | PACKED_USED : 0));
	ck_assert_uint_eq(drv_ack(&rig->drv), 1);
}

/* Negotiated: a size that is no power of two, two rounds and more, a rule broken, a load. */
START_TEST(packed_rings)
{
	struct drv_ring ring = {.num = PACKED_NUM,
				.desc = PACKED_AT,
				.avail = PACKED_AT + 0x1000,
				.used = PACKED_AT + 0x2000};
	struct rig rig, twin;
	struct xfer x, y;
	unsigned int n;

	start(&rig);
	start(&twin);
	ck_assert(drv_start(&rig.drv, FEAT_RING_PACKED));
	ck_assert(drv_queue(&rig.drv, 0, &ring));
	drv_go(&rig.drv);
	for (n = 0; n < 3 * PACKED_NUM - 1; n++) {
		put_packed(&rig, n, (uint16_t)(n % 3));
		expect_packed(&rig, n, (uint16_t)(n % 3));
	}
	save(&rig, &x);
	ck_assert(load(&twin, x.buf, x.len));
	save(&twin, &y);
	ck_assert_uint_eq(x.len, y.len);
	ck_assert_int_eq(memcmp(x.buf, y.buf, x.len), 0);
	xfer_free(&x);
	xfer_free(&y);
	/* The copy goes on with the last slot of a round. */
	put_packed(&twin, n, 4);
	expect_packed(&twin, n, 4);
	put_packed(&rig, n, PACKED_NUM);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_STATUS), 15 | ST_NEEDS_RESET);
	ck_assert_uint_eq(drv_ack(&rig.drv), 2);
	/* The same sizes are no layout of a split ring. */
	ck_assert(drv_start(&rig.drv, 0));
	ck_assert(!drv_queue(&rig.drv, 0, &ring));
	ck_assert(drv_rd(&rig.drv, R_STATUS) & ST_NEEDS_RESET);
	sane_request(&rig, 0);
	sane_request(&twin, 0);
	stop(&rig);
	stop(&twin);
}
END_TEST

/* Any byte changed, any length cut: refused as a whole, or a state that works. */
START_TEST(load_garbage)
{
	struct rig a, b;
	struct xfer x, before, after;
	size_t i;
	unsigned int v, refused = 0;

	start(&a);
	start(&b);
	sane_request(&a, FEAT_EVENT_IDX);
	save(&a, &x);
	for (i = 0; i < x.len; i++)
		ck_assert(!load(&b, x.buf, i));
	for (i = 0; i < x.len; i++) {
		for (v = 1; v < 256; v = v * 2 + (v & 1)) {
			x.buf[i] ^= (uint8_t)v;
			save(&b, &before);
			if (!load(&b, x.buf, x.len)) {
				refused++;
				save(&b, &after);
				ck_assert_uint_eq(before.len, after.len);
				ck_assert_int_eq(memcmp(before.buf, after.buf, before.len), 0);
				xfer_free(&after);
			}
			xfer_free(&before);
			x.buf[i] ^= (uint8_t)v;
		}
	}
	ck_assert_uint_gt(refused, 100);
	xfer_free(&x);
	/* Loading touched no line. */
	ck_assert(!b.drv.level);
	virtio_mmio_device(b.mmio)->ops->reset(virtio_mmio_device(b.mmio));
	sane_request(&b, 0);
	stop(&a);
	stop(&b);
}
END_TEST

START_TEST(save_in_flight_fails)
{
	struct rig rig;
	struct device *dev;
	struct xfer x;

	start(&rig);
	dev = virtio_mmio_device(rig.mmio);
	sane_request(&rig, 0);
	hold_some(&rig);
	xfer_save_init(&x);
	dev->ops->transfer(dev, &x);
	ck_assert_int_ne(xfer_done(&x, NULL), 0);
	xfer_free(&x);
	rig.probe->cancel = true;
	stop(&rig);
}
END_TEST

/* --- two harts and a back end -------------------------------------------------------------- */

static void *hammer(void *arg)
{
	struct rig *rig = arg;
	struct prng p = {7};
	unsigned int i;

	for (i = 0; i < 20000; i++) {
		uint64_t reg = prng_below(&p, 0x200) & ~UINT64_C(3);

		if (prng_below(&p, 2))
			virtio_mmio_ops.read(rig->mmio, reg, 4);
		else if (reg != R_STATUS || prng_below(&p, 50) == 0)
			virtio_mmio_ops.write(rig->mmio, reg, prng_below(&p, 20), 4);
	}
	return NULL;
}

START_TEST(two_harts)
{
	struct rig rig;
	pthread_t thread;
	unsigned int i;

	start(&rig);
	sane_request(&rig, FEAT_RING_RESET);
	ck_assert_int_eq(pthread_create(&thread, NULL, hammer, &rig), 0);
	for (i = 0; i < 2000; i++) {
		drv_wr(&rig.drv, R_NOTIFY, i % QUEUES);
		virtio_device_run(&rig.probe->vdev);
		if (i % 64 == 0 && drv_start(&rig.drv, 0)) {
			drv_queue(&rig.drv, 0, &rig.ring[0]);
			drv_go(&rig.drv);
		}
	}
	pthread_join(thread, NULL);
	sane_request(&rig, 0);
	stop(&rig);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio-device");
	TCase *t = tcase_create("mmio");

	tcase_add_test(t, good_way);
	tcase_add_test(t, absent_queue);
	tcase_add_test(t, notify_out_of_place);
	tcase_add_test(t, bad_layout);
	tcase_add_test(t, frozen_layout);
	tcase_add_test(t, features);
	tcase_add_test(t, status_machine);
	tcase_add_test(t, failed_stops_work);
	tcase_add_test(t, reset_storm);
	tcase_add_test(t, reset_clears);
	tcase_add_test(t, config_space);
	tcase_add_test(t, config_generation);
	tcase_add_test(t, register_widths);
	tcase_add_test(t, interrupt_ack);
	tcase_add_test(t, broken_queue);
	tcase_add_test(t, long_work_is_cut);
	tcase_add_test(t, endless_work_yields);
	tcase_add_test(t, queue_reset);
	tcase_add_loop_test(t, stops_wait, 0, 5);
	tcase_add_test(t, holds_are_counted);
	tcase_add_test(t, other_harts_wait);
	tcase_add_test(t, destroy_waits);
	tcase_add_test(t, reset_cancels);
	tcase_add_test(t, save_load);
	tcase_add_test(t, packed_rings);
	tcase_add_test(t, load_garbage);
	tcase_add_test(t, save_in_flight_fails);
	tcase_add_test(t, two_harts);
	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	return unit_main(s);
}
