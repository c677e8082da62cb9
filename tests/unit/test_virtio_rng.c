// SPDX-License-Identifier: GPL-2.0-only
/*
 * The entropy device: what it fills, its limits (C14), and a host that gives
 * nothing.
 */
#include "unit.h"
#include "virtio_driver.h"

#include "lkvm/virtio/mmio.h"
#include "lkvm/virtio/rng.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define NUM 8
#define DATA (DRV_RAM + MIB)

struct rig {
	struct guest_memory mem;
	struct drv drv;
	struct virtio_rng *rng;
	struct virtio_mmio *mmio;
	struct drv_ring ring;
	uint64_t now, deadline;
	unsigned int arms, fills, destroyed;
	long answer; /* of the host, where not 0 */
	size_t largest;
};

static long on_fill(void *opaque, void *buf, size_t len)
{
	struct rig *rig = opaque;

	rig->fills++;
	if (len > rig->largest)
		rig->largest = len;
	if (rig->answer)
		return rig->answer;
	memset(buf, 0x5a, len);
	return (long)len;
}

static uint64_t on_now(void *opaque)
{
	return __atomic_load_n(&((struct rig *)opaque)->now, __ATOMIC_RELAXED);
}

static void on_arm(void *opaque, uint64_t deadline)
{
	struct rig *rig = opaque;

	rig->arms++;
	rig->deadline = deadline;
}

static void on_destroy(void *opaque)
{
	((struct rig *)opaque)->destroyed++;
}

static const struct virtio_rng_env env = {
	.fill = on_fill,
	.now = on_now,
	.arm = on_arm,
	.destroy = on_destroy,
};

static const struct virtio_rng_env host_env = {
	.fill = virtio_rng_host_fill,
	.now = on_now,
	.arm = on_arm,
};

static void run_soon(void *opaque)
{
	(void)opaque;
}

static const struct virtio_transport_env mmio_env = {
	.run_soon = run_soon,
};

static void go(struct rig *rig)
{
	ck_assert(drv_start(&rig->drv, 0));
	/* Not before: until the reset the rings are the device's too. */
	drv_ring_init(&rig->ring, &rig->mem, NUM, DRV_RAM + 0x1000);
	ck_assert(drv_queue(&rig->drv, 0, &rig->ring));
	drv_go(&rig->drv);
}

static void start(struct rig *rig, uint64_t bytes, const struct virtio_rng_env *e)
{
	memset(rig, 0, sizeof(*rig));
	rig->now = 1000;
	drv_memory(&rig->mem);
	rig->rng = virtio_rng_create("rng0", &rig->mem, NULL, bytes, 100, e, rig);
	ck_assert_ptr_nonnull(rig->rng);
	rig->mmio = virtio_mmio_create(virtio_rng_device(rig->rng), drv_line(&rig->drv), &mmio_env,
				       rig);
	rig->drv.dev = rig->mmio;
	ck_assert_uint_eq(drv_rd(&rig->drv, R_DEVICE_ID), 4);
	go(rig);
}

static void stop(struct rig *rig)
{
	virtio_mmio_device(rig->mmio)->ops->destroy(virtio_mmio_device(rig->mmio));
	memory_destroy(&rig->mem);
}

/* Bytes given for a request of @len, or -1 where it was not answered. */
static long ask(struct rig *rig, uint32_t len)
{
	uint32_t id, used;

	drv_add(&rig->ring, &(struct drv_seg){DATA, len, DRV_WRITE}, 1);
	drv_wr(&rig->drv, R_NOTIFY, 0);
	return drv_get_used(&rig->ring, &id, &used) ? (long)used : -1;
}

START_TEST(fills)
{
	struct rig rig;
	uint8_t *p;

	start(&rig, 0, &env);
	p = drv_ptr(&rig.mem, DATA, 101);
	ck_assert_int_eq(ask(&rig, 100), 100);
	ck_assert_uint_eq(p[99], 0x5a);
	ck_assert_uint_eq(p[100], 0);
	ck_assert_int_eq(ask(&rig, 1), 1);
	ck_assert_int_eq(ask(&rig, 0), 0);
	ck_assert(rig.drv.level);
	stop(&rig);
}
END_TEST

START_TEST(host_random)
{
	static const uint8_t zero[64];
	struct rig rig;

	start(&rig, 0, &host_env);
	ck_assert_int_eq(ask(&rig, 64), 64);
	ck_assert_int_ne(memcmp(drv_ptr(&rig.mem, DATA, 64), zero, 64), 0);
	stop(&rig);
}
END_TEST

START_TEST(several_buffers)
{
	const struct drv_seg segs[] = {
		{DATA, 8, 0}, {DATA + 0x100, 5, DRV_WRITE}, {DATA + 0x200, 7, DRV_WRITE}};
	struct rig rig;
	uint32_t id, len;

	start(&rig, 0, &env);
	/* A readable part is not the driver's to send; it is not touched. */
	drv_add(&rig.ring, segs, 3);
	drv_wr(&rig.drv, R_NOTIFY, 0);
	ck_assert(drv_get_used(&rig.ring, &id, &len));
	ck_assert_uint_eq(len, 12);
	ck_assert_uint_eq(*(uint8_t *)drv_ptr(&rig.mem, DATA, 1), 0);
	ck_assert_uint_eq(*(uint8_t *)drv_ptr(&rig.mem, DATA + 0x206, 1), 0x5a);
	stop(&rig);
}
END_TEST

/* C14: gigabytes at once are cut; a thousand requests wait for their time. */
START_TEST(large_request)
{
	struct drv_seg segs[NUM];
	struct rig rig;
	uint32_t id, len;
	unsigned int i;

	start(&rig, 0, &env);
	for (i = 0; i < NUM; i++)
		segs[i] = (struct drv_seg){DRV_RAM + DRV_BANK, (uint32_t)DRV_BANK, DRV_WRITE};
	drv_add(&rig.ring, segs, NUM);
	drv_wr(&rig.drv, R_NOTIFY, 0);
	ck_assert(drv_get_used(&rig.ring, &id, &len));
	ck_assert_uint_eq(len, 65536);
	ck_assert_uint_le(rig.largest, 65536);
	stop(&rig);
}
END_TEST

START_TEST(rate)
{
	struct rig rig;
	unsigned int i;
	uint64_t given = 0;
	long n;

	start(&rig, 1000, &env);
	ck_assert_int_eq(ask(&rig, 600), 600);
	ck_assert_int_eq(ask(&rig, 600), 400);
	ck_assert_int_eq(ask(&rig, 600), -1);
	ck_assert_uint_eq(rig.arms, 1);
	ck_assert_uint_eq(rig.deadline, 1100);
	drv_wr(&rig.drv, R_NOTIFY, 0);
	ck_assert_uint_eq(rig.arms, 1);
	/* Too early. */
	rig.now = 1099;
	virtio_rng_tick(rig.rng);
	ck_assert_uint_eq(drv_used_idx(&rig.ring), 2);
	ck_assert_uint_eq(rig.arms, 2);
	rig.now = 1100;
	virtio_rng_tick(rig.rng);
	ck_assert_uint_eq(drv_used_idx(&rig.ring), 3);
	/* What waits in the ring is forgotten by a reset, and a late tick finds nothing. */
	for (i = 0; i < 3; i++)
		drv_add(&rig.ring, &(struct drv_seg){DATA, 600, DRV_WRITE}, 1);
	drv_wr(&rig.drv, R_NOTIFY, 0);
	drv_wr(&rig.drv, R_STATUS, 0);
	rig.now = 5000;
	virtio_rng_tick(rig.rng);
	go(&rig);
	ck_assert_int_eq(ask(&rig, 600), 600);
	/* A thousand requests in the same moment. */
	go(&rig);
	for (i = 0; i < 1000; i++) {
		n = ask(&rig, 60000);
		if (n > 0)
			given += (uint64_t)n;
		else
			go(&rig);
	}
	ck_assert_uint_le(given, 1000);
	stop(&rig);
}
END_TEST

START_TEST(host_gives_nothing)
{
	struct rig rig;

	start(&rig, 1000, &env);
	rig.answer = -EIO;
	ck_assert_int_eq(ask(&rig, 100), 0);
	rig.answer = 3;
	ck_assert_int_eq(ask(&rig, 9), 9);
	ck_assert_uint_eq(rig.fills, 4);
	/* More than was asked for is a bug of the host's, and no length. */
	rig.answer = 1000000;
	ck_assert_int_eq(ask(&rig, 10), 0);
	stop(&rig);
}
END_TEST

/* Nothing of its own moves; what waits in the ring is served on the other side. */
START_TEST(save_and_load)
{
	struct virtio_mmio *old;
	struct device *dev;
	struct xfer x, y;
	struct rig rig;
	uint32_t id, len;
	size_t i;

	start(&rig, 1000, &env);
	ck_assert_int_eq(ask(&rig, 1000), 1000);
	ck_assert_int_eq(ask(&rig, 500), -1);
	old = rig.mmio;
	dev = virtio_mmio_device(old);
	dev->ops->quiesce(dev);
	/* The period's end finds nobody at home. */
	rig.now += 100;
	virtio_rng_tick(rig.rng);
	ck_assert_uint_eq(drv_used_idx(&rig.ring), 1);
	xfer_save_init(&x);
	dev->ops->transfer(dev, &x);
	ck_assert_int_eq(xfer_done(&x, NULL), 0);

	rig.rng = virtio_rng_create("rng0", &rig.mem, NULL, 1000, 100, &env, &rig);
	rig.mmio =
		virtio_mmio_create(virtio_rng_device(rig.rng), drv_line(&rig.drv), &mmio_env, &rig);
	rig.drv.dev = rig.mmio;
	dev = virtio_mmio_device(rig.mmio);
	for (i = 0; i <= x.len; i++) {
		xfer_load_init(&y, x.buf, i);
		dev->ops->transfer(dev, &y);
		ck_assert_int_eq(xfer_done(&y, NULL), i < x.len ? -1 : 0);
	}
	xfer_save_init(&y);
	dev->ops->transfer(dev, &y);
	ck_assert_uint_eq(x.len, y.len);
	ck_assert_int_eq(memcmp(x.buf, y.buf, x.len), 0);
	dev->ops->resume(dev);
	ck_assert_uint_eq(drv_used_idx(&rig.ring), 2);
	ck_assert(drv_get_used(&rig.ring, &id, &len));
	ck_assert_uint_eq(len, 500);
	xfer_free(&x);
	xfer_free(&y);
	stop(&rig);
	virtio_mmio_device(old)->ops->destroy(virtio_mmio_device(old));
	ck_assert_uint_eq(rig.destroyed, 2);
}
END_TEST

/* A guest that asks on one thread while time passes on another. */
static void *race_guest(void *arg)
{
	struct rig *rig = arg;
	uintptr_t given = 0;
	uint32_t id, len;
	unsigned int i;

	for (i = 0; i < 2000; i++) {
		if ((uint16_t)(rig->ring.avail_idx - rig->ring.last_used) < NUM)
			drv_add(&rig->ring, &(struct drv_seg){DATA, 700, DRV_WRITE}, 1);
		drv_wr(&rig->drv, R_NOTIFY, 0);
		while (drv_get_used(&rig->ring, &id, &len))
			given += len;
	}
	return (void *)given;
}

START_TEST(threads)
{
	struct rig rig;
	pthread_t thread;
	void *given;
	unsigned int i;

	start(&rig, 1000, &host_env);
	ck_assert_int_eq(pthread_create(&thread, NULL, race_guest, &rig), 0);
	for (i = 0; i < 500; i++) {
		__atomic_fetch_add(&rig.now, 100, __ATOMIC_RELAXED);
		virtio_rng_tick(rig.rng);
	}
	ck_assert_int_eq(pthread_join(thread, &given), 0);
	ck_assert_uint_le((uintptr_t)given, 501 * 1000);
	stop(&rig);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio-rng");
	TCase *t = tcase_create("rng");

	tcase_add_test(t, fills);
	tcase_add_test(t, host_random);
	tcase_add_test(t, several_buffers);
	tcase_add_test(t, large_request);
	tcase_add_test(t, rate);
	tcase_add_test(t, host_gives_nothing);
	tcase_add_test(t, save_and_load);
	tcase_add_test(t, threads);
	suite_add_tcase(s, t);
	return unit_main(s);
}
