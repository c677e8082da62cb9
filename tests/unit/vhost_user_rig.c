// SPDX-License-Identifier: GPL-2.0-only
/*
 * The rig of the vhost-user tests; see vhost_user_rig.h.
 */
#include "vhost_user_rig.h"
#include "unit.h"

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned int count_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int nr = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		nr++;
	closedir(dir);
	return nr;
}

void vu_rig_init(struct vu_rig *rig)
{
	memset(rig, 0, sizeof(*rig));
	signal(SIGPIPE, SIG_IGN);
	rig->descriptors = count_descriptors();
	memory_init(&rig->mem);
	memory_share(&rig->mem);
	ck_assert_ptr_nonnull(memory_add(&rig->mem, DRV_RAM, DRV_BANK, 4096, NULL));
	ck_assert_ptr_nonnull(memory_add(&rig->mem, DRV_RAM + DRV_BANK, DRV_BANK, 4096, NULL));
	rig->loop = loop_create(&rig->err);
	ck_assert_ptr_nonnull(rig->loop);
	log_init(&rig->log, STDERR_FILENO, getenv("VU_LOG") ? LOG_LEVEL_DEBUG : LOG_LEVEL_FATAL);
	fake_vu_init(&rig->fake);
	rig->world = (struct virtio_world){.name = "test0",
					   .mem = &rig->mem,
					   .loop = rig->loop,
					   .log = &rig->log,
					   .nr_vcpus = RIG_QUEUES,
					   .vm_name = "test"};
	rig->timeout_ms = 4000;
}

static void run_soon(void *opaque)
{
	(void)opaque;
}

static const struct virtio_mmio_env mmio_env = {
	.run_soon = run_soon,
};

bool vu_rig_device(struct vu_rig *rig, const struct vhost_user_type *type)
{
	struct vhost_user_setup setup = {.type = type,
					 .timeout_ms = rig->timeout_ms,
					 .config = rig->config,
					 .config_len = rig->config_len};

	setup.fd = fake_vu_start(&rig->fake);
	rig->dev = vhost_user_device_create(&rig->world, &setup, &rig->err);
	if (!rig->dev)
		return false;
	rig->mmio = virtio_mmio_create(vhost_user_device(rig->dev), drv_line(&rig->drv), &mmio_env,
				       rig);
	ck_assert_ptr_nonnull(rig->mmio);
	rig->drv.dev = rig->mmio;
	return true;
}

bool vu_rig_go(struct vu_rig *rig)
{
	gpa_t at = DRV_RAM + 0x1000;
	unsigned int i;

	if (!drv_start(&rig->drv, drv_features(&rig->drv) & FEAT_INDIRECT))
		return false;
	for (i = 0; i < RIG_QUEUES; i++) {
		/* The second one lies in the second bank. */
		at = drv_ring_init(&rig->rings[i], &rig->mem, RIG_NUM, at);
		at = DRV_RAM + DRV_BANK + 0x3000;
		ck_assert(drv_queue(&rig->drv, i, &rig->rings[i]));
	}
	drv_go(&rig->drv);
	return true;
}

void vu_rig_start(struct vu_rig *rig)
{
	vu_rig_init(rig);
	if (!vu_rig_device(rig, vhost_user_type_find("blk")))
		ck_abort_msg("%s", rig->err.msg);
	ck_assert(vu_rig_go(rig));
	ck_assert_uint_eq(drv_rd(&rig->drv, R_STATUS),
			  ST_ACK | ST_DRIVER | ST_FEATURES_OK | ST_DRIVER_OK);
}

void vu_rig_turn(struct vu_rig *rig, int ms)
{
	while (loop_run_once(rig->loop, ms) > 0)
		;
}

static gpa_t data_at(unsigned int index)
{
	return RIG_DATA + index * DRV_BANK;
}

void vu_rig_ask(struct vu_rig *rig, unsigned int index, uint8_t byte, uint32_t len)
{
	gpa_t at = data_at(index);
	const struct drv_seg segs[] = {{at, 4, 0}, {at + 0x1000, len, DRV_WRITE}};

	memset(drv_ptr(&rig->mem, at, 4), byte, 4);
	memset(drv_ptr(&rig->mem, at + 0x1000, len), 0, len);
	drv_add(&rig->rings[index], segs, 2);
	drv_wr(&rig->drv, R_NOTIFY, index);
}

bool vu_rig_served(struct vu_rig *rig, unsigned int index, uint8_t byte, uint32_t len)
{
	const uint8_t *p = drv_ptr(&rig->mem, data_at(index) + 0x1000, len);
	uint32_t id, used, i;
	uint64_t deadline = now_ns() + 10 * NSEC_PER_SEC;

	/* An interrupt may be for the configuration space, and an answer precede its own. */
	while ((drv_used_idx(&rig->rings[index]) == rig->rings[index].last_used ||
		!rig->drv.level) &&
	       now_ns() < deadline)
		loop_run_once(rig->loop, 10);
	if (!drv_get_used(&rig->rings[index], &id, &used) || used != len)
		return false;
	drv_ack(&rig->drv);
	for (i = 0; i < len; i++)
		if (p[i] != (uint8_t)(4 * byte + 1))
			return false;
	return true;
}

void vu_rig_drop(struct vu_rig *rig)
{
	if (rig->mmio)
		virtio_mmio_device(rig->mmio)->ops->destroy(virtio_mmio_device(rig->mmio));
	fake_vu_stop(&rig->fake);
	loop_destroy(rig->loop);
	memory_destroy(&rig->mem);
	ck_assert_uint_eq(count_descriptors(), rig->descriptors);
}

void vu_rig_stop(struct vu_rig *rig)
{
	vu_rig_drop(rig);
	ck_assert_uint_eq(rig->fake.faults, 0);
}
