// SPDX-License-Identifier: GPL-2.0-only
/*
 * vhost-user with a back end that behaves: what it is told, that it is asked in the right
 * order, that requests reach it and interrupts come back, stopping, saving and loading.
 * Those that do not behave are in test_vhost_user_hostile.c.
 */
#include "unit.h"
#include "vhost_user_rig.h"

#include "lkvm/device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const struct vhost_user_type *blk(void)
{
	return vhost_user_type_find("blk");
}

static struct device *machine_device(struct vu_rig *rig)
{
	return virtio_mmio_device(rig->mmio);
}

/* --- greeting ------------------------------------------------------------------ */

START_TEST(offer)
{
	struct vu_rig rig;

	vu_rig_init(&rig);
	/* Flush and a bit that lkvm does not know for disks; event index is missing. */
	rig.fake.features = FEAT_VERSION_1 | FEAT_INDIRECT | VU_F_PROTOCOL | 1 << 9 | 1 << 16;
	memset(rig.fake.config, 0x11, 60);
	ck_assert_msg(vu_rig_device(&rig, blk()), "%s", rig.err.msg);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_DEVICE_ID), 2);
	ck_assert_uint_eq(drv_features(&rig.drv), FEAT_VERSION_1 | FEAT_INDIRECT | 1 << 9);
	/* All of it is the back end's, but the number of queues. */
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG), 0x11111111);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 32), RIG_QUEUES << 16 | 0x1111);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 56), 0x11111111);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 60), 0);
	drv_wr(&rig.drv, R_QUEUE_SEL, 1);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_QUEUE_NUM_MAX), 256);
	drv_wr(&rig.drv, R_QUEUE_SEL, 2);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_QUEUE_NUM_MAX), 0);
	/* It hears only of what it offers, and of the bit that is the protocol's own. */
	ck_assert(vu_rig_go(&rig));
	vu_rig_stop(&rig);
	ck_assert_uint_eq(rig.fake.driver_features, FEAT_VERSION_1 | FEAT_INDIRECT | VU_F_PROTOCOL);
	ck_assert_uint_eq(rig.fake.driver_protocol,
			  1 << 0 | 1 << 3 | 1 << 5 | 1 << 9 | 1 << 13 | 1 << 19);
	ck_assert_uint_eq(rig.fake.seen[VU_SET_OWNER], 1);
	ck_assert_uint_eq(rig.fake.seen[VU_GET_QUEUE_NUM], 1);
	ck_assert_uint_eq(rig.fake.seen[VU_SET_BACKEND_REQ_FD], 1);
}
END_TEST

START_TEST(refused_back_ends)
{
	struct vhost_user_type type = *blk();
	struct vu_rig rig;

	/* Virtio 0.9. */
	vu_rig_init(&rig);
	rig.fake.features &= ~FEAT_VERSION_1;
	ck_assert(!vu_rig_device(&rig, blk()));
	ck_assert_ptr_nonnull(strstr(rig.err.msg, "virtio 1.0"));
	vu_rig_drop(&rig);
	/* A disk without a size. */
	vu_rig_init(&rig);
	rig.fake.protocol &= ~UINT64_C(0x200);
	ck_assert(!vu_rig_device(&rig, blk()));
	ck_assert_ptr_nonnull(strstr(rig.err.msg, "configuration"));
	vu_rig_drop(&rig);
	vu_rig_init(&rig);
	rig.fake.config_len = 59;
	ck_assert(!vu_rig_device(&rig, blk()));
	ck_assert_ptr_nonnull(strstr(rig.err.msg, "60 bytes"));
	vu_rig_drop(&rig);
	/* Too few queues for what must be there, and for what was asked for. */
	vu_rig_init(&rig);
	rig.fake.queues = 1;
	ck_assert(!vu_rig_device(&rig, vhost_user_type_find("fs")));
	ck_assert_ptr_nonnull(strstr(rig.err.msg, "needs 2"));
	vu_rig_drop(&rig);
	vu_rig_init(&rig);
	rig.fake.queues = 2;
	type.queues = 3;
	ck_assert(!vu_rig_device(&rig, &type));
	ck_assert_ptr_nonnull(strstr(rig.err.msg, "at most 2"));
	vu_rig_drop(&rig);
}
END_TEST

/* Without MQ the back end does not say: one; queues of network devices come in pairs. */
START_TEST(number_of_queues)
{
	struct vu_rig rig;

	vu_rig_init(&rig);
	rig.fake.protocol &= ~UINT64_C(1);
	ck_assert(vu_rig_device(&rig, blk()));
	drv_wr(&rig.drv, R_QUEUE_SEL, 1);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_QUEUE_NUM_MAX), 0);
	vu_rig_stop(&rig);
	vu_rig_init(&rig);
	rig.world.nr_vcpus = 64;
	ck_assert(vu_rig_device(&rig, blk()));
	drv_wr(&rig.drv, R_QUEUE_SEL, FAKE_VU_RINGS - 1);
	ck_assert_uint_ne(drv_rd(&rig.drv, R_QUEUE_NUM_MAX), 0);
	drv_wr(&rig.drv, R_QUEUE_SEL, FAKE_VU_RINGS);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_QUEUE_NUM_MAX), 0);
	vu_rig_stop(&rig);
	vu_rig_init(&rig);
	rig.fake.queues = 1;
	ck_assert_msg(vu_rig_device(&rig, vhost_user_type_find("net")), "%s", rig.err.msg);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_DEVICE_ID), 1);
	drv_wr(&rig.drv, R_QUEUE_SEL, 1);
	ck_assert_uint_ne(drv_rd(&rig.drv, R_QUEUE_NUM_MAX), 0);
	vu_rig_stop(&rig);
}
END_TEST

/* What lkvm offers itself, with its part of the configuration space. */
START_TEST(own_features)
{
	static const uint8_t mac[6] = {2, 3, 4, 5, 6, 7};
	struct vu_rig rig;
	struct vhost_user_setup setup;

	vu_rig_init(&rig);
	setup = (struct vhost_user_setup){.type = vhost_user_type_find("net"),
					  .fd = fake_vu_start(&rig.fake),
					  .features = 1 << 5,
					  .config = mac,
					  .config_len = sizeof(mac)};
	rig.dev = vhost_user_device_create(&rig.world, &setup, &rig.err);
	ck_assert_ptr_nonnull(rig.dev);
	ck_assert_uint_eq(vhost_user_device(rig.dev)->offered,
			  FEAT_VERSION_1 | FEAT_INDIRECT | FEAT_EVENT_IDX | 1 << 5);
	ck_assert_uint_eq(vhost_user_device(rig.dev)->ops->config_size, 6);
	vhost_user_device(rig.dev)->ops->destroy(vhost_user_device(rig.dev));
	vu_rig_stop(&rig);
}
END_TEST

/* For --dry-run: nobody at the other end. */
START_TEST(only_shown)
{
	struct vu_rig rig;
	struct vhost_user_setup setup = {.type = blk(), .fd = -1};
	struct virtio_device *vdev;

	vu_rig_init(&rig);
	rig.dev = vhost_user_device_create(&rig.world, &setup, &rig.err);
	ck_assert_ptr_nonnull(rig.dev);
	vdev = vhost_user_device(rig.dev);
	ck_assert_uint_eq(vdev->ops->id, 2);
	ck_assert_uint_eq(vdev->ops->config_size, 60);
	virtio_device_reset(vdev);
	vdev->ops->destroy(vdev);
	vu_rig_drop(&rig);
}
END_TEST

/* --- running --------------------------------------------------------------------- */

START_TEST(serves)
{
	struct vu_rig rig;
	unsigned int i;

	vu_rig_start(&rig);
	for (i = 0; i < 3 * RIG_NUM; i++) {
		vu_rig_ask(&rig, i % 2, (uint8_t)i, 100 + i);
		ck_assert(vu_rig_served(&rig, i % 2, (uint8_t)i, 100 + i));
	}
	fake_vu_lock(&rig.fake);
	ck_assert_uint_eq(rig.fake.nr_regions, 2);
	ck_assert_uint_eq(rig.fake.regions[1].gpa, DRV_RAM + DRV_BANK);
	ck_assert_uint_eq(rig.fake.rings[0].num, RIG_NUM);
	ck_assert_uint_eq(rig.fake.rings[0].served, 3 * RIG_NUM / 2);
	ck_assert_uint_eq(rig.fake.rings[1].served, 3 * RIG_NUM / 2);
	ck_assert_uint_eq(rig.fake.seen[VU_SET_VRING_ERR], 2);
	fake_vu_unlock(&rig.fake);
	vu_rig_stop(&rig);
	ck_assert(rig.fake.hung_up);
}
END_TEST

/* Old back ends: no protocol features, so no acknowledgements, and rings are enabled. */
START_TEST(no_protocol_features)
{
	static const struct vhost_user_type type = {
		.name = "old", .id = 3, .queues = RIG_QUEUES, .queue_max = 32, .stateless = true};
	struct vu_rig rig;

	vu_rig_init(&rig);
	rig.fake.features &= ~VU_F_PROTOCOL;
	ck_assert_msg(vu_rig_device(&rig, &type), "%s", rig.err.msg);
	ck_assert(vu_rig_go(&rig));
	vu_rig_ask(&rig, 1, 7, 9);
	ck_assert(vu_rig_served(&rig, 1, 7, 9));
	machine_device(&rig)->ops->quiesce(machine_device(&rig));
	machine_device(&rig)->ops->resume(machine_device(&rig));
	vu_rig_ask(&rig, 1, 8, 9);
	ck_assert(vu_rig_served(&rig, 1, 8, 9));
	vu_rig_stop(&rig);
	ck_assert_uint_eq(rig.fake.seen[VU_SET_VRING_ENABLE], 0);
	ck_assert_uint_eq(rig.fake.seen[VU_GET_PROTOCOL_FEATURES], 0);
	ck_assert_uint_eq(rig.fake.driver_features & VU_F_PROTOCOL, 0);
}
END_TEST

/* What needs another feature is not offered without it, whatever the back end says. */
START_TEST(trim)
{
	static const struct {
		const char *type;
		uint64_t has, want;
	} cases[] = {
		{"blk", VIRTIO_BIT(11), 0},
		{"blk", VIRTIO_BIT(11) | VIRTIO_BIT(9), VIRTIO_BIT(11) | VIRTIO_BIT(9)},
		{"net", VIRTIO_BIT(7) | VIRTIO_BIT(15), VIRTIO_BIT(15)},
		{"net", VIRTIO_BIT(1) | VIRTIO_BIT(7), VIRTIO_BIT(1) | VIRTIO_BIT(7)},
	};
	struct vu_rig rig;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		vu_rig_init(&rig);
		rig.fake.features = VIRTIO_BIT(VIRTIO_F_VERSION_1) | VU_F_PROTOCOL | cases[i].has;
		ck_assert(vu_rig_device(&rig, vhost_user_type_find(cases[i].type)));
		ck_assert_uint_eq(drv_features(&rig.drv) & (VIRTIO_BIT(24) - 1), cases[i].want);
		vu_rig_stop(&rig);
	}
}
END_TEST

/* A queue that the driver does not use is not the back end's to touch. */
START_TEST(one_queue_of_two)
{
	struct vu_rig rig;

	vu_rig_init(&rig);
	ck_assert(vu_rig_device(&rig, blk()));
	ck_assert(drv_start(&rig.drv, 0));
	drv_ring_init(&rig.rings[1], &rig.mem, RIG_NUM, DRV_RAM + 0x1000);
	ck_assert(drv_queue(&rig.drv, 1, &rig.rings[1]));
	drv_go(&rig.drv);
	drv_wr(&rig.drv, R_NOTIFY, 0);
	vu_rig_ask(&rig, 1, 1, 1);
	ck_assert(vu_rig_served(&rig, 1, 1, 1));
	fake_vu_lock(&rig.fake);
	ck_assert_uint_eq(rig.fake.rings[0].num, 0);
	ck_assert(!rig.fake.rings[0].enabled);
	fake_vu_unlock(&rig.fake);
	vu_rig_stop(&rig);
}
END_TEST

START_TEST(reset_and_again)
{
	struct vu_rig rig;
	unsigned int i;

	vu_rig_start(&rig);
	for (i = 0; i < 20; i++) {
		vu_rig_ask(&rig, 0, 3, 5);
		ck_assert(vu_rig_served(&rig, 0, 3, 5));
		drv_wr(&rig.drv, R_STATUS, 0);
		ck_assert_uint_eq(drv_rd(&rig.drv, R_STATUS), 0);
		ck_assert(vu_rig_go(&rig));
	}
	/* From the first entry again. */
	fake_vu_lock(&rig.fake);
	ck_assert_uint_eq(rig.fake.rings[0].base, 0);
	ck_assert_uint_eq(rig.fake.seen[VU_GET_VRING_BASE], 40);
	/* The driver itself resets before it begins, too. */
	ck_assert_uint_ge(rig.fake.resets, 20);
	fake_vu_unlock(&rig.fake);
	vu_rig_stop(&rig);
}
END_TEST

/* What comes in while the device rests is served when it goes on, from where it was. */
START_TEST(quiesce_and_resume)
{
	struct vu_rig rig;
	unsigned int i;

	vu_rig_start(&rig);
	for (i = 0; i < 5; i++) {
		vu_rig_ask(&rig, 0, 3, 5);
		ck_assert(vu_rig_served(&rig, 0, 3, 5));
	}
	machine_device(&rig)->ops->quiesce(machine_device(&rig));
	fake_vu_lock(&rig.fake);
	ck_assert(!rig.fake.rings[0].enabled);
	fake_vu_unlock(&rig.fake);
	vu_rig_ask(&rig, 0, 9, 6);
	vu_rig_turn(&rig, 20);
	ck_assert_uint_eq(drv_used_idx(&rig.rings[0]), 5);
	machine_device(&rig)->ops->resume(machine_device(&rig));
	ck_assert(vu_rig_served(&rig, 0, 9, 6));
	fake_vu_lock(&rig.fake);
	ck_assert_uint_eq(rig.fake.rings[0].base, 5);
	fake_vu_unlock(&rig.fake);
	vu_rig_stop(&rig);
}
END_TEST

/* The driver stops one of its queues: the other one goes on, also with what it had. */
START_TEST(stop_one_queue)
{
	struct vu_rig rig;

	vu_rig_start(&rig);
	drv_wr(&rig.drv, R_QUEUE_SEL, 0);
	drv_wr(&rig.drv, R_QUEUE_READY, 0);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_QUEUE_READY), 0);
	drv_wr(&rig.drv, R_NOTIFY, 0);
	vu_rig_ask(&rig, 1, 9, 6);
	ck_assert(vu_rig_served(&rig, 1, 9, 6));
	fake_vu_lock(&rig.fake);
	ck_assert(!rig.fake.rings[0].enabled);
	ck_assert(rig.fake.rings[1].enabled);
	fake_vu_unlock(&rig.fake);
	vu_rig_stop(&rig);
}
END_TEST

/* An interrupt that the loop did not see yet is not lost when the device stops. */
START_TEST(call_at_the_last_moment)
{
	struct vu_rig rig;
	unsigned int i;

	vu_rig_start(&rig);
	vu_rig_ask(&rig, 0, 2, 2);
	for (i = 0; !drv_used_idx(&rig.rings[0]) && i < 400; i++)
		usleep(10000);
	usleep(20000);
	ck_assert(!rig.drv.level);
	machine_device(&rig)->ops->quiesce(machine_device(&rig));
	ck_assert(rig.drv.level);
	ck_assert_uint_eq(drv_ack(&rig.drv), 1);
	vu_rig_turn(&rig, 20);
	ck_assert(!rig.drv.level);
	vu_rig_stop(&rig);
}
END_TEST

/*
 * Requests that are given back a moment after the ring was stopped: the driver is told, also by
 * a back end that lets go of "call" when the ring stops, as libvhost-user does.
 */
static void give_back_late(bool drop_call)
{
	struct vu_rig rig;
	unsigned int i;
	bool got = false;

	vu_rig_init(&rig);
	rig.fake.slow_used = 100;
	rig.fake.drop_call = drop_call;
	ck_assert(vu_rig_device(&rig, blk()));
	ck_assert(vu_rig_go(&rig));
	vu_rig_ask(&rig, 0, 2, 2);
	for (i = 0; !got && i < 400; i++) {
		fake_vu_lock(&rig.fake);
		got = rig.fake.rings[0].served;
		fake_vu_unlock(&rig.fake);
		usleep(1000);
	}
	ck_assert_uint_eq(drv_used_idx(&rig.rings[0]), 0);
	ck_assert(!rig.drv.level);
	machine_device(&rig)->ops->quiesce(machine_device(&rig));
	ck_assert_uint_eq(drv_used_idx(&rig.rings[0]), 1);
	ck_assert(rig.drv.level);
	vu_rig_stop(&rig);
}

START_TEST(settles)
{
	give_back_late(false);
}
END_TEST

START_TEST(settles_without_call)
{
	give_back_late(true);
}
END_TEST

/* --- configuration space ----------------------------------------------------------- */

START_TEST(config_changes)
{
	struct vu_rig rig;
	uint32_t generation;

	vu_rig_start(&rig);
	generation = drv_rd(&rig.drv, R_GENERATION);
	fake_vu_lock(&rig.fake);
	rig.fake.config[0] = 0x77;
	fake_vu_unlock(&rig.fake);
	fake_vu_ask(&rig.fake, 2, 1, NULL, 0, 0);
	vu_rig_turn(&rig, 50);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG), 0x77);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 34) & 0xffff, RIG_QUEUES);
	ck_assert_uint_ne(drv_rd(&rig.drv, R_GENERATION), generation);
	ck_assert_uint_eq(drv_ack(&rig.drv), 2);
	vu_rig_stop(&rig);
}
END_TEST

/* It asks on its channel before it answers us: both get their answer. */
START_TEST(asks_before_it_answers)
{
	struct vu_rig rig;

	vu_rig_start(&rig);
	fake_vu_lock(&rig.fake);
	rig.fake.ask_first = true;
	rig.fake.config[1] = 0x55;
	fake_vu_unlock(&rig.fake);
	fake_vu_ask(&rig.fake, 2, 1, NULL, 0, 0);
	vu_rig_turn(&rig, 50);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG), 0x5500);
	/* Once at the start, once for each of the two words, of which the second has to wait. */
	fake_vu_lock(&rig.fake);
	ck_assert_uint_eq(rig.fake.seen[VU_GET_CONFIG], 2);
	rig.fake.config[1] = 0x66;
	fake_vu_unlock(&rig.fake);
	loop_run_once(rig.loop, 3000);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG), 0x6600);
	vu_rig_stop(&rig);
	ck_assert_uint_eq(rig.fake.seen[VU_GET_CONFIG], 3);
}
END_TEST

START_TEST(config_writes)
{
	struct vu_rig rig;

	vu_rig_start(&rig);
	/* `writeback`, one byte. */
	virtio_mmio_ops.write(rig.mmio, R_CONFIG + 32, 1, 1);
	ck_assert_uint_eq(virtio_mmio_ops.read(rig.mmio, R_CONFIG + 32, 1), 1);
	fake_vu_lock(&rig.fake);
	ck_assert_uint_eq(rig.fake.config[32], 1);
	fake_vu_unlock(&rig.fake);
	/* The capacity is not the driver's to write, nor what lies beside `writeback`. */
	drv_wr(&rig.drv, R_CONFIG, 5);
	virtio_mmio_ops.write(rig.mmio, R_CONFIG + 32, 0x0202, 2);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG), 0);
	vu_rig_stop(&rig);
	ck_assert_uint_eq(rig.fake.seen[VU_SET_CONFIG], 1);
}
END_TEST

/* --- errors of the driver's ------------------------------------------------------------- */

START_TEST(driver_broke_a_ring)
{
	static const uint64_t one = 1;
	struct vu_rig rig;

	vu_rig_start(&rig);
	fake_vu_lock(&rig.fake);
	ck_assert_int_eq(write(rig.fake.rings[1].err, &one, 8), 8);
	fake_vu_unlock(&rig.fake);
	vu_rig_turn(&rig, 20);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_STATUS) & ST_NEEDS_RESET, ST_NEEDS_RESET);
	ck_assert_uint_eq(drv_ack(&rig.drv), 2);
	/* A reset is enough, since the back end is still there. */
	ck_assert(vu_rig_go(&rig));
	vu_rig_ask(&rig, 1, 5, 5);
	ck_assert(vu_rig_served(&rig, 1, 5, 5));
	ck_assert_uint_eq(drv_rd(&rig.drv, R_STATUS) & ST_NEEDS_RESET, 0);
	vu_rig_stop(&rig);
}
END_TEST

/* Memory that can't be shared: said when the device would run, and the VM goes on. */
START_TEST(memory_not_shared)
{
	struct vu_rig rig;

	vu_rig_init(&rig);
	memory_destroy(&rig.mem);
	memory_init(&rig.mem);
	ck_assert_ptr_nonnull(memory_add(&rig.mem, DRV_RAM, DRV_BANK, 4096, NULL));
	ck_assert_ptr_nonnull(memory_add(&rig.mem, DRV_RAM + DRV_BANK, DRV_BANK, 4096, NULL));
	ck_assert(vu_rig_device(&rig, blk()));
	ck_assert(vu_rig_go(&rig));
	ck_assert_uint_eq(drv_rd(&rig.drv, R_STATUS) & ST_NEEDS_RESET, ST_NEEDS_RESET);
	ck_assert(vu_rig_go(&rig));
	ck_assert_uint_eq(drv_rd(&rig.drv, R_STATUS) & ST_NEEDS_RESET, ST_NEEDS_RESET);
	vu_rig_stop(&rig);
	ck_assert_uint_eq(rig.fake.seen[VU_SET_MEM_TABLE], 0);
}
END_TEST

/* A file that another device brought as memory is not given to the back end. */
START_TEST(files_are_not_told)
{
	struct vu_rig rig;
	int fd;

	vu_rig_init(&rig);
	fd = memfd_create("test", MFD_CLOEXEC);
	ck_assert_int_eq(ftruncate(fd, (off_t)DRV_BANK), 0);
	ck_assert_ptr_nonnull(memory_add_file(&rig.mem, DRV_RAM - 4 * DRV_BANK, DRV_BANK, 4096, fd,
					      false, &rig.err));
	ck_assert(vu_rig_device(&rig, blk()));
	ck_assert(vu_rig_go(&rig));
	vu_rig_ask(&rig, 1, 1, 1);
	ck_assert(vu_rig_served(&rig, 1, 1, 1));
	fake_vu_lock(&rig.fake);
	ck_assert_uint_eq(rig.fake.nr_regions, 2);
	ck_assert_uint_eq(rig.fake.regions[0].gpa, DRV_RAM);
	fake_vu_unlock(&rig.fake);
	close(fd);
	vu_rig_stop(&rig);
}
END_TEST

/* --- save and load -------------------------------------------------------------------------- */

static const char brain[] = "what the back end remembers";

/* A type with a state of its own. */
static const struct vhost_user_type thinker = {
	.name = "thinker",
	.id = 26,
	.extra_queues = 1,
	.queues = 1,
	.queue_max = 64,
	.config_size = 8,
	.writable_at = 4,
	.writable_len = 2,
};

static void start_type(struct vu_rig *rig, const struct vhost_user_type *type)
{
	vu_rig_init(rig);
	memcpy(rig->fake.config, "\1\2\3\4\5\6\7\10", 8);
	rig->fake.state = brain;
	rig->fake.state_len = sizeof(brain);
	ck_assert_msg(vu_rig_device(rig, type), "%s", rig->err.msg);
}

static void start_thinker(struct vu_rig *rig)
{
	start_type(rig, &thinker);
}

static void save(struct vu_rig *rig, struct xfer *x)
{
	xfer_save_init(x);
	machine_device(rig)->ops->transfer(machine_device(rig), x);
}

static int load(struct vu_rig *rig, const void *buf, size_t len)
{
	struct xfer x;

	xfer_load_init(&x, buf, len);
	machine_device(rig)->ops->transfer(machine_device(rig), &x);
	return xfer_done(&x, &rig->err);
}

/* Guest memory moves with the state. */
static void copy_memory(struct vu_rig *to, struct vu_rig *from)
{
	unsigned int i;

	for (i = 0; i < 2; i++)
		memcpy(to->mem.regions[i].hva, from->mem.regions[i].hva, DRV_BANK);
	memcpy(to->rings, from->rings, sizeof(to->rings));
	for (i = 0; i < RIG_QUEUES; i++)
		to->rings[i].mem = &to->mem;
}

START_TEST(save_load_save)
{
	struct vu_rig a, b;
	struct xfer x, y;
	unsigned int i;

	start_thinker(&a);
	ck_assert(vu_rig_go(&a));
	for (i = 0; i < 5; i++) {
		vu_rig_ask(&a, 1, 3, 5);
		ck_assert(vu_rig_served(&a, 1, 3, 5));
	}
	virtio_mmio_ops.write(a.mmio, R_CONFIG + 4, 0x99, 1);
	machine_device(&a)->ops->quiesce(machine_device(&a));
	vu_rig_ask(&a, 1, 9, 6);
	save(&a, &x);
	ck_assert_msg(!xfer_done(&x, &a.err), "%s", a.err.msg);
	ck_assert_ptr_nonnull(memmem(x.buf, x.len, brain, sizeof(brain)));

	start_thinker(&b);
	copy_memory(&b, &a);
	machine_device(&b)->ops->quiesce(machine_device(&b));
	ck_assert_msg(!load(&b, x.buf, x.len), "%s", b.err.msg);
	save(&b, &y);
	ck_assert_int_eq(xfer_done(&y, NULL), 0);
	ck_assert_uint_eq(y.len, x.len);
	ck_assert_mem_eq(y.buf, x.buf, x.len);
	/* Nothing was told to the new back end yet. */
	fake_vu_lock(&b.fake);
	ck_assert_uint_eq(b.fake.seen[VU_SET_DEVICE_STATE_FD], 0);
	fake_vu_unlock(&b.fake);
	/* It goes on where the old one was, with the request that had waited. */
	machine_device(&b)->ops->resume(machine_device(&b));
	ck_assert_uint_eq(drv_rd(&b.drv, R_CONFIG + 4) & 0xff, 0x99);
	ck_assert(vu_rig_served(&b, 1, 9, 6));
	fake_vu_lock(&b.fake);
	ck_assert_uint_eq(b.fake.rings[1].base, 5);
	ck_assert_uint_eq(b.fake.got_state_len, sizeof(brain));
	ck_assert_mem_eq(b.fake.got_state, brain, sizeof(brain));
	ck_assert_uint_eq(b.fake.config[4], 0x99);
	fake_vu_unlock(&b.fake);
	/* Once only. */
	machine_device(&b)->ops->quiesce(machine_device(&b));
	machine_device(&b)->ops->resume(machine_device(&b));
	vu_rig_ask(&b, 1, 4, 4);
	ck_assert(vu_rig_served(&b, 1, 4, 4));
	vu_rig_stop(&b);
	ck_assert_uint_eq(b.fake.seen[VU_SET_DEVICE_STATE_FD], 1);
	/* The old one is as it was. */
	machine_device(&a)->ops->resume(machine_device(&a));
	ck_assert(vu_rig_served(&a, 1, 9, 6));
	vu_rig_drop(&a);
	ck_assert_uint_eq(a.fake.faults, 0);
	xfer_free(&x);
	xfer_free(&y);
}
END_TEST

/* Garbage is refused and changes nothing: cut off anywhere, or any byte another. */
START_TEST(load_garbage)
{
	struct vu_rig a, b;
	struct xfer x, before, after;
	size_t i;

	start_thinker(&a);
	ck_assert(vu_rig_go(&a));
	machine_device(&a)->ops->quiesce(machine_device(&a));
	save(&a, &x);
	ck_assert_int_eq(xfer_done(&x, NULL), 0);
	start_thinker(&b);
	machine_device(&b)->ops->quiesce(machine_device(&b));
	save(&b, &before);
	for (i = 0; i < x.len; i++) {
		ck_assert_int_ne(load(&b, x.buf, i), 0);
		save(&b, &after);
		ck_assert_uint_eq(after.len, before.len);
		ck_assert_mem_eq(after.buf, before.buf, before.len);
		xfer_free(&after);
	}
	for (i = 0; i < x.len; i++) {
		x.buf[i] ^= 0xff;
		/* Some bytes may be anything: what counts is that nothing breaks. */
		load(&b, x.buf, x.len);
		x.buf[i] ^= 0xff;
		machine_device(&b)->ops->reset(machine_device(&b));
	}
	xfer_free(&before);
	xfer_free(&x);
	vu_rig_stop(&b);
	vu_rig_drop(&a);
}
END_TEST

START_TEST(load_into_another_back_end)
{
	struct vu_rig a, b;
	struct xfer x;

	start_thinker(&a);
	machine_device(&a)->ops->quiesce(machine_device(&a));
	save(&a, &x);
	ck_assert_int_eq(xfer_done(&x, NULL), 0);
	vu_rig_init(&b);
	memcpy(b.fake.config, "\1\2\3\4\6\6\7\11", 8);
	ck_assert(vu_rig_device(&b, &thinker));
	ck_assert_int_ne(load(&b, x.buf, x.len), 0);
	ck_assert_ptr_nonnull(strstr(b.err.msg, "configuration"));
	xfer_free(&x);
	vu_rig_stop(&b);
	vu_rig_drop(&a);
}
END_TEST

/* A state with queues of another size: taken where an earlier version had that, and kept. */
START_TEST(load_older_queues)
{
	static const uint16_t was[] = {0, 32, 256};
	struct vhost_user_type older = thinker, newer = thinker;
	struct vu_rig a, b;
	struct xfer x, y;

	/* The ring that is saved would be too long. */
	older.queue_max = 256;
	newer.queue_max = RIG_NUM / 2;
	newer.queue_max_was = was[_i];
	start_type(&a, &older);
	ck_assert(vu_rig_go(&a));
	machine_device(&a)->ops->quiesce(machine_device(&a));
	vu_rig_ask(&a, 1, 9, 6);
	save(&a, &x);
	ck_assert_int_eq(xfer_done(&x, NULL), 0);
	start_type(&b, &newer);
	ck_assert_uint_eq(drv_rd(&b.drv, R_QUEUE_NUM_MAX), RIG_NUM / 2);
	copy_memory(&b, &a);
	machine_device(&b)->ops->quiesce(machine_device(&b));
	if (was[_i] == older.queue_max) {
		ck_assert_msg(!load(&b, x.buf, x.len), "%s", b.err.msg);
		save(&b, &y);
		ck_assert_int_eq(xfer_done(&y, NULL), 0);
		ck_assert_uint_eq(y.len, x.len);
		ck_assert_mem_eq(y.buf, x.buf, x.len);
		xfer_free(&y);
		machine_device(&b)->ops->resume(machine_device(&b));
		ck_assert_uint_eq(drv_rd(&b.drv, R_QUEUE_NUM_MAX), 256);
		ck_assert(vu_rig_served(&b, 1, 9, 6));
		/* Until it ends, whatever the driver does. */
		drv_wr(&b.drv, R_STATUS, 0);
		ck_assert_uint_eq(drv_rd(&b.drv, R_QUEUE_NUM_MAX), 256);
	} else {
		ck_assert_int_ne(load(&b, x.buf, x.len), 0);
		ck_assert_ptr_nonnull(strstr(b.err.msg, "another queue size"));
		ck_assert_uint_eq(drv_rd(&b.drv, R_QUEUE_NUM_MAX), RIG_NUM / 2);
	}
	xfer_free(&x);
	vu_rig_stop(&b);
	vu_rig_drop(&a);
}
END_TEST

/* What shared directories had is what those that were saved have. */
START_TEST(fs_queues)
{
	const struct vhost_user_type *fs = vhost_user_type_find("fs");

	ck_assert_uint_eq(fs->queue_max, 128);
	ck_assert_uint_eq(fs->queue_max_was, 256);
	ck_assert_uint_eq(blk()->queue_max_was, 0);
}
END_TEST

/* --- the link of a network device ----------------------------------------------------------- */

/* Address, status (up), pairs, MTU. */
static const uint8_t card[12] = {2, 0, 0, 0, 0, 9, 1, 0, 0, 0, 0xdc, 5};

static void start_card(struct vu_rig *rig, bool rarp)
{
	vu_rig_init(rig);
	rig->config = card;
	rig->config_len = sizeof(card);
	if (rarp)
		rig->fake.protocol |= 1 << 2;
	ck_assert_msg(vu_rig_device(rig, vhost_user_type_find("net")), "%s", rig->err.msg);
}

static const char *command(struct vu_rig *rig, const char *words)
{
	struct virtio_device *vdev = vhost_user_device(rig->dev);
	static char reply[100];

	reply[0] = '\0';
	if (vdev->ops->command(vdev, words, reply, sizeof(reply), &rig->err))
		return rig->err.msg;
	return reply;
}

static bool enabled(struct vu_rig *rig)
{
	bool on;

	fake_vu_lock(&rig->fake);
	on = rig->fake.rings[0].enabled;
	fake_vu_unlock(&rig->fake);
	return on;
}

static unsigned int link_status(struct vu_rig *rig)
{
	return drv_rd(&rig->drv, R_CONFIG + 4) >> 16;
}

START_TEST(link_up_and_down)
{
	struct vu_rig rig;

	start_card(&rig, true);
	ck_assert(vu_rig_go(&rig));
	vu_rig_ask(&rig, 0, 1, 1);
	ck_assert(vu_rig_served(&rig, 0, 1, 1));
	ck_assert_str_eq(command(&rig, "link"), "up");
	ck_assert_str_eq(command(&rig, "link up"), "up");
	ck_assert_uint_eq(drv_ack(&rig.drv), 0);
	ck_assert_str_eq(command(&rig, "link down"), "down");
	ck_assert_uint_eq(drv_ack(&rig.drv) & 2, 2);
	ck_assert_uint_eq(link_status(&rig), 0);
	ck_assert(!enabled(&rig));
	/* Nothing goes through, and nothing is lost. */
	vu_rig_ask(&rig, 0, 2, 2);
	vu_rig_turn(&rig, 20);
	ck_assert_uint_eq(drv_used_idx(&rig.rings[0]), 1);
	ck_assert_str_eq(command(&rig, "link up"), "up");
	ck_assert_uint_eq(link_status(&rig), 1);
	ck_assert(enabled(&rig));
	ck_assert(vu_rig_served(&rig, 0, 2, 2));
	/* It stays out over a reset: it is not the driver's. */
	ck_assert_str_eq(command(&rig, "link down"), "down");
	ck_assert(vu_rig_go(&rig));
	ck_assert(!enabled(&rig));
	ck_assert_str_eq(command(&rig, "link up"), "up");
	ck_assert(enabled(&rig));
	ck_assert_ptr_nonnull(strstr(command(&rig, "unplug"), "link up"));
	fake_vu_lock(&rig.fake);
	ck_assert_uint_eq(rig.fake.seen[VU_SEND_RARP], 0);
	fake_vu_unlock(&rig.fake);
	vu_rig_stop(&rig);
	/* Where the status is not lkvm's, that is said. */
	vu_rig_init(&rig);
	ck_assert(vu_rig_device(&rig, vhost_user_type_find("net")));
	ck_assert_ptr_nonnull(strstr(command(&rig, "link down"), "-n vhost-user"));
	vu_rig_stop(&rig);
}
END_TEST

/* A cable that is out stays out; when it is in, the guest is announced where it is now. */
START_TEST(link_save_load)
{
	struct vu_rig a, b;
	struct xfer x, y;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		start_card(&a, false);
		ck_assert(vu_rig_go(&a));
		ck_assert_str_eq(command(&a, "link down"), "down");
		machine_device(&a)->ops->quiesce(machine_device(&a));
		save(&a, &x);
		ck_assert_int_eq(xfer_done(&x, NULL), 0);
		start_card(&b, i);
		ck_assert_msg(!load(&b, x.buf, x.len), "%s", b.err.msg);
		copy_memory(&b, &a);
		save(&b, &y);
		ck_assert_uint_eq(x.len, y.len);
		ck_assert_mem_eq(x.buf, y.buf, x.len);
		machine_device(&b)->ops->resume(machine_device(&b));
		ck_assert_str_eq(command(&b, "link"), "down");
		ck_assert(!enabled(&b));
		ck_assert_str_eq(command(&b, "link up"), "up");
		ck_assert(enabled(&b));
		fake_vu_lock(&b.fake);
		ck_assert_uint_eq(b.fake.seen[VU_SEND_RARP], i);
		if (i)
			ck_assert_mem_eq(b.fake.announced, card, 6);
		fake_vu_unlock(&b.fake);
		xfer_free(&x);
		xfer_free(&y);
		vu_rig_stop(&b);
		vu_rig_stop(&a);
	}
}
END_TEST

/* A back end that has a state and can't give it: the device says so by name. */
START_TEST(obstacle)
{
	struct vu_rig rig;
	struct virtio_device *vdev;
	struct xfer x;

	vu_rig_init(&rig);
	rig.fake.protocol &= ~(UINT64_C(1) << 19);
	ck_assert(vu_rig_device(&rig, &thinker));
	vdev = vhost_user_device(rig.dev);
	ck_assert_ptr_nonnull(strstr(vdev->ops->obstacle(vdev), "DEVICE_STATE"));
	save(&rig, &x);
	ck_assert_int_ne(xfer_done(&x, &rig.err), 0);
	ck_assert_ptr_nonnull(strstr(rig.err.msg, "test0"));
	xfer_free(&x);
	vu_rig_stop(&rig);
	/* A disk has none. */
	vu_rig_init(&rig);
	rig.fake.protocol &= ~(UINT64_C(1) << 19);
	ck_assert(vu_rig_device(&rig, blk()));
	vdev = vhost_user_device(rig.dev);
	ck_assert_ptr_null(vdev->ops->obstacle(vdev));
	vu_rig_stop(&rig);
}
END_TEST

/* --- option --------------------------------------------------------------------------------- */

static int build(struct vu_rig *rig, const char *text, struct virtio_device **vdev)
{
	rig->err.msg[0] = '\0';
	*vdev = NULL;
	return virtio_vhost_user_kind.build(&rig->world, text, vdev, &rig->err);
}

START_TEST(option)
{
	struct vu_rig rig;
	struct virtio_device *vdev;
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	char dir[] = "/tmp/lkvm-test-XXXXXX", text[160];
	int fd;

	vu_rig_init(&rig);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/s", dir);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	snprintf(text, sizeof(text), "blk,socket=%s", addr.sun_path);
	/* Nobody listens. */
	ck_assert_int_eq(build(&rig, text, &vdev), -1);
	ck_assert_ptr_nonnull(strstr(rig.err.msg, addr.sun_path));
	rig.world.dry_run = true;
	ck_assert_int_eq(build(&rig, text, &vdev), 0);
	vdev->ops->destroy(vdev);
	ck_assert_int_eq(build(&rig, "blk,socket=/nonexistent", &vdev), -1);
	ck_assert_int_eq(build(&rig, "blk,socket=/", &vdev), -1);
	ck_assert_ptr_nonnull(strstr(rig.err.msg, "no socket"));
	snprintf(text, sizeof(text), "fs,socket=%s,tag=home,queues=3,queue-size=512",
		 addr.sun_path);
	ck_assert_msg(!build(&rig, text, &vdev), "%s", rig.err.msg);
	ck_assert_uint_eq(vdev->ops->id, 26);
	ck_assert_uint_eq(vdev->ops->queue_max_was, 0);
	ck_assert_uint_eq(vdev->nr_queues, 4);
	{
		uint8_t config[VIRTIO_CONFIG_MAX] = {0};

		vdev->ops->config_get(vdev, config);
		ck_assert_str_eq((const char *)config, "home");
		ck_assert_uint_eq(config[36], 3);
	}
	vdev->ops->destroy(vdev);
	snprintf(text, sizeof(text), "41,socket=%s,queues=2,config-size=8", addr.sun_path);
	ck_assert_msg(!build(&rig, text, &vdev), "%s", rig.err.msg);
	ck_assert_uint_eq(vdev->ops->id, 41);
	ck_assert_uint_eq(vdev->nr_queues, 2);
	ck_assert_uint_eq(vdev->ops->config_size, 8);
	vdev->ops->destroy(vdev);
	rig.world.dry_run = false;
	close(fd);
	unlink(addr.sun_path);
	rmdir(dir);
	vu_rig_drop(&rig);
}
END_TEST

START_TEST(bad_options)
{
	static const struct {
		const char *text, *part;
	} cases[] = {
		{"", "which type"},
		{"disk,socket=/x", "which type"},
		{"0,socket=/x", "which type"},
		{"64,socket=/x", "which type"},
		{"2x,socket=/x", "which type"},
		{"99999999999999999999,socket=/x", "which type"},
		{"blk", "where is the back end"},
		{"blk,sockett=/x", "did you mean 'socket'"},
		{"blk,socket=/x,tag=a", "only fs"},
		{"fs,socket=/x", "tag=NAME"},
		{"fs,socket=/x,tag=", "needs a value"},
		{"fs,socket=/x,tag=1234567890123456789012345678901234567", "36"},
		{"blk,socket=/x,queue-size=100", "power of two"},
		{"blk,socket=/x,queue-size=2048", "queue-size"},
		{"blk,socket=/x,queues=65", "queues"},
		{"blk,socket=/x,config-size=8", "config-size"},
		{"net,socket=/x,queues=4", "can't be chosen"},
		{"26,socket=/nonexistent/x", "cannot connect"},
		{"blk,socket=/"
		 "123456789012345678901234567890123456789012345678901234567890123456789012345678901"
		 "234567890123456789012345678901234567890",
		 "longer"},
	};
	struct vu_rig rig;
	struct virtio_device *vdev;
	size_t i;

	vu_rig_init(&rig);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		ck_assert_int_eq(build(&rig, cases[i].text, &vdev), -1);
		ck_assert_ptr_null(vdev);
		ck_assert_msg(strstr(rig.err.msg, cases[i].part), "%s: %s", cases[i].text,
			      rig.err.msg);
	}
	ck_assert(virtio_vhost_user_kind.shares_memory("blk,socket=/x"));
	vu_rig_drop(&rig);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vhost-user");
	TCase *t = tcase_create("good");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, offer);
	tcase_add_test(t, refused_back_ends);
	tcase_add_test(t, number_of_queues);
	tcase_add_test(t, own_features);
	tcase_add_test(t, only_shown);
	tcase_add_test(t, serves);
	tcase_add_test(t, no_protocol_features);
	tcase_add_test(t, trim);
	tcase_add_test(t, one_queue_of_two);
	tcase_add_test(t, reset_and_again);
	tcase_add_test(t, quiesce_and_resume);
	tcase_add_test(t, stop_one_queue);
	tcase_add_test(t, call_at_the_last_moment);
	tcase_add_test(t, settles);
	tcase_add_test(t, settles_without_call);
	tcase_add_test(t, config_changes);
	tcase_add_test(t, asks_before_it_answers);
	tcase_add_test(t, config_writes);
	tcase_add_test(t, driver_broke_a_ring);
	tcase_add_test(t, memory_not_shared);
	tcase_add_test(t, files_are_not_told);
	tcase_add_test(t, save_load_save);
	tcase_add_test(t, load_garbage);
	tcase_add_test(t, load_into_another_back_end);
	tcase_add_loop_test(t, load_older_queues, 0, 3);
	tcase_add_test(t, fs_queues);
	tcase_add_test(t, link_up_and_down);
	tcase_add_test(t, link_save_load);
	tcase_add_test(t, obstacle);
	tcase_add_test(t, option);
	tcase_add_test(t, bad_options);
	suite_add_tcase(s, t);
	return unit_main(s);
}
