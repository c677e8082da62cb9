// SPDX-License-Identifier: GPL-2.0-only
/*
 * How much a disk has under way: requests as large as they may be, as many as a queue
 * holds, against a back end that takes its time. Resets, stopped queues and the end cut
 * them off; what a pause waits for is bounded; and a guest that makes sense has all its
 * requests under way at once.
 */
#include "unit.h"
#include "virtio_driver.h"

#include "lkvm/virtio/blk.h"
#include "lkvm/virtio/mmio.h"

#include <endian.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NUM 512
#define QUEUES 2
#define SIZE (64 * GIB)

#define HEADER (DRV_RAM + 0x100000)
#define STATUS (HEADER + 64)
#define RANGES (HEADER + 128)
#define TABLE (DRV_RAM + 0x110000)
#define DATA (DRV_RAM + DRV_BANK)

#define B_FLUSH (UINT64_C(1) << 9)
#define B_MQ (UINT64_C(1) << 12)
#define B_ZEROES (UINT64_C(1) << 14)

#define T_IN 0
#define T_ZEROES 13

#define OK 0
#define IOERR 1

/* What may be under way, and what one request may hold. */
#define LIMIT (64 * MIB)
#define LARGEST GIB
#define MAX_RANGES 16
#define MAX_RANGE (64 * MIB)

struct rig {
	struct guest_memory mem;
	struct drv drv;
	struct virtio_blk *blk;
	struct virtio_mmio *mmio;
	struct drv_ring ring[QUEUES];
	unsigned int us_per_mib; /* the back end's speed */
	_Atomic uint64_t performed;
	atomic_bool soon;
	struct blk_task *tasks; /* that were submitted, the newest first */
	unsigned int nr_tasks, commits;
};

static long on_perform(void *opaque, const struct blk_io *io)
{
	struct rig *rig = opaque;

	rig->performed += io->len;
	usleep((useconds_t)(io->len / MIB * rig->us_per_mib));
	return io->type == BLK_READ ? (long)io->len : 0;
}

static const struct blk_backend_ops slow_ops = {.perform = on_perform};

static void run_soon(void *opaque)
{
	((struct rig *)opaque)->soon = true;
}

static const struct virtio_transport_env transport_env = {.run_soon = run_soon};

/* An executor that does nothing until it is told. */
static bool keep(void *opaque, struct blk_task *task)
{
	struct rig *rig = opaque;

	task->next = rig->tasks;
	rig->tasks = task;
	rig->nr_tasks++;
	return true;
}

static const struct virtio_blk_env keep_env = {.submit = keep};

/* The last @nr of them are done. */
static void finish(struct rig *rig, unsigned int nr)
{
	while (nr--) {
		struct blk_task *task = rig->tasks;

		rig->tasks = task->next;
		rig->nr_tasks--;
		task->next = NULL;
		virtio_blk_perform(task);
		virtio_blk_finish(task);
	}
}

enum how { BY_THREADS, BY_KEEPING, BY_VCPU };

static void start(struct rig *rig, enum how how)
{
	struct virtio_blk_config config = {.queues = QUEUES, .queue_max = NUM};
	struct blk_backend backend = {
		.ops = &slow_ops, .opaque = rig, .size = SIZE, .zeroes = true, .discards = true};
	const struct virtio_blk_env *env = how == BY_THREADS ? &blk_aio_env : &keep_env;
	void *opaque = rig;
	gpa_t at = DRV_RAM + 0x1000;
	struct error err;
	unsigned int i;

	memset(rig, 0, sizeof(*rig));
	drv_memory(&rig->mem);
	if (how == BY_THREADS)
		opaque = blk_aio_create(BLK_AIO_THREADS, "disk0", &backend, NULL, &err);
	rig->blk = virtio_blk_create("disk0", &rig->mem, NULL, &config, &backend,
				     how == BY_VCPU ? NULL : env, opaque, &err);
	ck_assert_ptr_nonnull(rig->blk);
	rig->mmio = virtio_mmio_create(virtio_blk_device(rig->blk), drv_line(&rig->drv),
				       &transport_env, rig);
	rig->drv.dev = rig->mmio;
	ck_assert(
		drv_start(&rig->drv, B_FLUSH | B_MQ | B_ZEROES | FEAT_INDIRECT | FEAT_RING_RESET));
	for (i = 0; i < QUEUES; i++) {
		at = drv_ring_init(&rig->ring[i], &rig->mem, NUM, at);
		ck_assert(drv_queue(&rig->drv, i, &rig->ring[i]));
	}
	ck_assert_uint_le(at, HEADER);
	drv_go(&rig->drv);
}

static void stop(struct rig *rig)
{
	virtio_mmio_device(rig->mmio)->ops->destroy(virtio_mmio_device(rig->mmio));
	memory_destroy(&rig->mem);
}

static void put_header(struct rig *rig, uint32_t type)
{
	uint32_t *p = drv_ptr(&rig->mem, HEADER, 16);

	p[0] = htole32(type);
	p[1] = p[2] = p[3] = 0;
	*(uint8_t *)drv_ptr(&rig->mem, STATUS, 1) = 0xff;
	drv_desc_at(&rig->mem, TABLE, 0, HEADER, 16, DRV_NEXT, 1);
}

/* @nr requests, which are all the same one: a table of header, data and status. */
static void offer(struct rig *rig, unsigned int queue, unsigned int descs, unsigned int nr)
{
	struct drv_ring *ring = &rig->ring[queue];

	drv_desc_at(&rig->mem, TABLE, descs - 1, STATUS, 1, DRV_WRITE, 0);
	while (nr--) {
		uint16_t head = ring->next++ % NUM;

		drv_desc(ring, head, TABLE, 16 * descs, DRV_INDIRECT, 0);
		drv_offer(ring, head);
	}
	drv_wr(&rig->drv, R_NOTIFY, queue);
}

/* Reads of @len bytes, into the same memory again and again. */
static void reads(struct rig *rig, unsigned int queue, uint64_t len, unsigned int nr)
{
	unsigned int i;

	put_header(rig, T_IN);
	for (i = 1; len; i++) {
		uint32_t n = (uint32_t)min_u64(len, DRV_BANK);

		drv_desc_at(&rig->mem, TABLE, i, DATA, n, DRV_WRITE | DRV_NEXT, (uint16_t)(i + 1));
		len -= n;
	}
	offer(rig, queue, i + 1, nr);
}

/* Writes of zeroes, in MAX_RANGES ranges of @len bytes, which are the same one. */
static void zeroes(struct rig *rig, unsigned int queue, uint64_t len, unsigned int nr)
{
	uint32_t *p = drv_ptr(&rig->mem, RANGES, 16 * MAX_RANGES);
	unsigned int i;

	put_header(rig, T_ZEROES);
	memset(p, 0, 16 * MAX_RANGES);
	for (i = 0; i < MAX_RANGES; i++)
		p[4 * i + 2] = htole32((uint32_t)(len / 512));
	drv_desc_at(&rig->mem, TABLE, 1, RANGES, 16 * MAX_RANGES, DRV_NEXT, 2);
	offer(rig, queue, 3, nr);
}

static unsigned int status(struct rig *rig)
{
	return *(uint8_t *)drv_ptr(&rig->mem, STATUS, 1);
}

/* --- who does not wait for what nobody reads ------------------------------------------- */

/* C5: much is under way, and more offered, when the driver or the VM ends it. */
START_TEST(cut_off)
{
	struct rig rig;
	uint64_t begin;

	start(&rig, BY_THREADS);
	rig.us_per_mib = 5000;
	if (_i & 4)
		reads(&rig, 0, 512 * MIB, 200);
	else
		zeroes(&rig, 0, MAX_RANGE, 200);
	usleep(20000);
	begin = now_ns();
	switch (_i & 3) {
	case 0:
		drv_wr(&rig.drv, R_STATUS, 0);
		break;
	case 1:
		drv_wr(&rig.drv, R_QUEUE_SEL, 0);
		drv_wr(&rig.drv, R_QUEUE_RESET, 1);
		break;
	case 2:
		virtio_mmio_device(rig.mmio)->ops->reset(virtio_mmio_device(rig.mmio));
		break;
	}
	stop(&rig);
	ck_assert_uint_lt(now_ns() - begin, 3 * NSEC_PER_SEC);
}
END_TEST

/* A queue that is stopped takes nothing from the other, whose requests go on. */
START_TEST(other_queue_goes_on)
{
	unsigned int tries = 2000;
	struct rig rig;

	start(&rig, BY_THREADS);
	rig.us_per_mib = 100;
	reads(&rig, 0, 32 * MIB, 40);
	offer(&rig, 1, 10, 40);
	drv_wr(&rig.drv, R_QUEUE_SEL, 1);
	drv_wr(&rig.drv, R_QUEUE_RESET, 1);
	while (drv_used_idx(&rig.ring[0]) < 40 && tries--) {
		if (atomic_exchange(&rig.soon, false))
			virtio_device_run(virtio_blk_device(rig.blk));
		usleep(5000);
	}
	ck_assert_uint_eq(drv_used_idx(&rig.ring[0]), 40);
	ck_assert_uint_eq(status(&rig), OK);
	stop(&rig);
}
END_TEST

/* --- how much is under way --------------------------------------------------------------- */

START_TEST(sensible_guest)
{
	struct rig rig;

	start(&rig, BY_KEEPING);
	reads(&rig, 0, MIB, 32);
	ck_assert_uint_eq(rig.nr_tasks, 32);
	finish(&rig, 32);
	ck_assert_uint_eq(drv_used_idx(&rig.ring[0]), 32);
	/* Small ones by the queue. */
	reads(&rig, 0, 4096, NUM / 2);
	ck_assert_uint_eq(rig.nr_tasks, NUM / 2);
	finish(&rig, NUM / 2);
	/* As soon as there is room the rest follows, and it is never nearly idle. */
	reads(&rig, 0, MIB, 200);
	ck_assert_uint_eq(rig.nr_tasks, LIMIT / MIB);
	while (drv_used_idx(&rig.ring[0]) < 32 + NUM / 2 + 200) {
		unsigned int left = 32 + NUM / 2 + 200 - drv_used_idx(&rig.ring[0]);

		ck_assert_uint_ge(rig.nr_tasks, min_u64(left, LIMIT / MIB / 2));
		ck_assert_uint_le(rig.nr_tasks, LIMIT / MIB);
		finish(&rig, 1);
	}
	ck_assert_uint_eq(rig.nr_tasks, 0);
	stop(&rig);
}
END_TEST

/* One that is too large by itself is under way alone; in each queue all have their turn. */
START_TEST(large_requests)
{
	unsigned int queue;
	struct rig rig;

	start(&rig, BY_KEEPING);
	reads(&rig, 0, 128 * MIB, 20);
	ck_assert_uint_eq(rig.nr_tasks, 1);
	offer(&rig, 1, 34, 20);
	ck_assert_uint_eq(rig.nr_tasks, 1);
	while (rig.nr_tasks) {
		ck_assert_uint_eq(rig.nr_tasks, 1);
		finish(&rig, 1);
	}
	for (queue = 0; queue < QUEUES; queue++)
		ck_assert_uint_eq(drv_used_idx(&rig.ring[queue]), 20);
	/* Neither starves the other. */
	reads(&rig, 0, 128 * MIB, 100);
	offer(&rig, 1, 34, 4);
	finish(&rig, 12);
	ck_assert_uint_eq(drv_used_idx(&rig.ring[1]), 24);
	finish(&rig, 92);
	ck_assert_uint_eq(rig.performed, 144 * 128 * MIB);
	/* What the host may do without touching each byte counts less. */
	zeroes(&rig, 0, MAX_RANGE / 16, 40);
	ck_assert_uint_eq(rig.nr_tasks, 16);
	while (rig.nr_tasks)
		finish(&rig, 1);
	ck_assert_uint_eq(drv_used_idx(&rig.ring[0]), 160);
	/* Nothing is counted over a reset. */
	reads(&rig, 0, MIB, 64);
	ck_assert_uint_eq(rig.nr_tasks, 64);
	finish(&rig, 64);
	stop(&rig);
}
END_TEST

/* Where each vCPU waits for its own it comes back from time to time. */
START_TEST(passes)
{
	struct rig rig;
	uint64_t before = 0;

	start(&rig, BY_VCPU);
	reads(&rig, 0, 16 * MIB, 40);
	ck_assert_uint_eq(drv_used_idx(&rig.ring[0]), 4);
	while (drv_used_idx(&rig.ring[0]) < 40) {
		ck_assert_uint_gt(rig.performed, before);
		ck_assert_uint_le(rig.performed, before + LIMIT);
		ck_assert(rig.soon);
		before = rig.performed;
		rig.soon = false;
		virtio_device_run(virtio_blk_device(rig.blk));
	}
	stop(&rig);
}
END_TEST

/* --- how large a request may be -------------------------------------------------------------- */

START_TEST(too_large)
{
	struct rig rig;

	start(&rig, BY_VCPU);
	reads(&rig, 0, LARGEST, 1);
	ck_assert_uint_eq(status(&rig), OK);
	ck_assert_uint_eq(rig.performed, LARGEST);
	reads(&rig, 0, LARGEST + 512, 1);
	virtio_device_run(virtio_blk_device(rig.blk));
	ck_assert_uint_eq(status(&rig), IOERR);
	zeroes(&rig, 0, MAX_RANGE, 1);
	ck_assert_uint_eq(status(&rig), OK);
	ck_assert_uint_eq(rig.performed, LARGEST + MAX_RANGES * MAX_RANGE);
	zeroes(&rig, 0, MAX_RANGE + 512, 1);
	virtio_device_run(virtio_blk_device(rig.blk));
	ck_assert_uint_eq(status(&rig), IOERR);
	ck_assert_uint_eq(virtio_mmio_ops.read(rig.mmio, R_CONFIG + 36, 4), MAX_RANGE / 512);
	ck_assert_uint_eq(virtio_mmio_ops.read(rig.mmio, R_CONFIG + 40, 4), MAX_RANGES);
	ck_assert_uint_eq(virtio_mmio_ops.read(rig.mmio, R_CONFIG + 48, 4), MAX_RANGE / 512);
	ck_assert_uint_eq(virtio_mmio_ops.read(rig.mmio, R_CONFIG + 52, 4), MAX_RANGES);
	stop(&rig);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio-blk-limits");
	TCase *t = tcase_create("limits");

	tcase_add_loop_test(t, cut_off, 0, 8);
	tcase_add_test(t, other_queue_goes_on);
	tcase_add_test(t, sensible_guest);
	tcase_add_test(t, large_requests);
	tcase_add_test(t, passes);
	tcase_add_test(t, too_large);
	tcase_set_timeout(t, 20);
	suite_add_tcase(s, t);
	return unit_main(s);
}
