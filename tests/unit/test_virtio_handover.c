// SPDX-License-Identifier: GPL-2.0-only
/*
 * Queues that somebody else serves: when a device is told to go and to halt, what the
 * core leaves alone meanwhile, and where a queue goes on when it comes back. The
 * device hands over queue 0 and serves queue 1 itself; "somebody else" is the test.
 */
#include "unit.h"
#include "virtio_driver.h"

#include "lkvm/virtio/mmio.h"

#include <string.h>

#define NUM 8
#define DATA (DRV_RAM + MIB)

struct away {
	struct virtio_device vdev;
	struct virtq_layout layout;
	uint16_t next; /* where queue 0 stands */
	bool with_elsewhere;
	unsigned int goes, halts, kicks, starts;
	bool refuse_start;
};

struct rig {
	struct guest_memory mem;
	struct drv drv;
	struct away away;
	struct virtio_mmio *mmio;
	struct drv_ring ring[2];
};

static struct away *to_away(struct virtio_device *vdev)
{
	return container_of(vdev, struct away, vdev);
}

static int away_start(struct virtio_device *vdev, struct error *err)
{
	to_away(vdev)->starts++;
	return to_away(vdev)->refuse_start ? fail(err, "nobody there") : 0;
}

static void away_go(struct virtio_device *vdev)
{
	struct away *a = to_away(vdev);

	a->goes++;
	if (!virtio_queue_ready(vdev, 0))
		return;
	a->next = virtio_hand_over(vdev, 0, &a->layout);
	a->with_elsewhere = true;
}

static void away_halt(struct virtio_device *vdev)
{
	struct away *a = to_away(vdev);

	a->halts++;
	if (a->with_elsewhere)
		virtio_take_back(vdev, 0, a->next);
	a->with_elsewhere = false;
}

static void away_notify(struct virtio_device *vdev, unsigned int index)
{
	struct virtq_request *req;

	if (!index && to_away(vdev)->with_elsewhere) {
		to_away(vdev)->kicks++;
		ck_assert_ptr_null(virtq_pop(virtio_queue(vdev, 0)));
		return;
	}
	while ((req = virtq_pop(virtio_queue(vdev, index))))
		virtio_complete(vdev, req);
}

static void away_destroy(struct virtio_device *vdev)
{
	virtio_device_fini(vdev);
}

static const struct virtio_device_ops away_ops = {
	.kind = "away",
	.id = 42,
	.start = away_start,
	.go = away_go,
	.halt = away_halt,
	.notify = away_notify,
	.destroy = away_destroy,
};

static void run_soon(void *opaque)
{
	(void)opaque;
}

static const struct virtio_mmio_env env = {.run_soon = run_soon};

static void start(struct rig *rig)
{
	gpa_t at = DRV_RAM + 0x1000;
	unsigned int i;

	memset(rig, 0, sizeof(*rig));
	drv_memory(&rig->mem);
	ck_assert_int_eq(virtio_device_init(&rig->away.vdev, &away_ops, "away0", &rig->mem, NULL, 0,
					    2, NUM, 0, NULL),
			 0);
	rig->mmio = virtio_mmio_create(&rig->away.vdev, drv_line(&rig->drv), &env, rig);
	rig->drv.dev = rig->mmio;
	for (i = 0; i < 2; i++)
		at = drv_ring_init(&rig->ring[i], &rig->mem, NUM, at);
}

static void stop(struct rig *rig)
{
	virtio_mmio_device(rig->mmio)->ops->destroy(virtio_mmio_device(rig->mmio));
	memory_destroy(&rig->mem);
}

static void drive(struct rig *rig)
{
	unsigned int i;

	ck_assert(drv_start(&rig->drv, 0));
	for (i = 0; i < 2; i++) {
		drv_ring_init(&rig->ring[i], &rig->mem, NUM, rig->ring[i].desc);
		ck_assert(drv_queue(&rig->drv, i, &rig->ring[i]));
	}
	drv_go(&rig->drv);
}

static void offer(struct rig *rig, unsigned int queue, unsigned int nr)
{
	while (nr--)
		drv_add(&rig->ring[queue], &(struct drv_seg){DATA, 4, DRV_WRITE}, 1);
	drv_wr(&rig->drv, R_NOTIFY, queue);
}

static struct device *dev(struct rig *rig)
{
	return virtio_mmio_device(rig->mmio);
}

/* Notifications are passed on, the rings stay untouched, the other queue is served. */
START_TEST(served_elsewhere)
{
	struct rig rig;
	uint32_t id, len;

	start(&rig);
	/* What can't be done with a queue that is away is not offered. */
	ck_assert_uint_eq(drv_features(&rig.drv), FEAT_VERSION_1 | FEAT_INDIRECT | FEAT_EVENT_IDX);
	drive(&rig);
	ck_assert_uint_eq(rig.away.goes, 1);
	ck_assert_uint_eq(rig.away.next, 0);
	ck_assert_uint_eq(rig.away.layout.desc, rig.ring[0].desc);
	ck_assert_uint_eq(rig.away.layout.num, NUM);
	/* A head that the core would call a broken rule is not its business now. */
	drv_offer(&rig.ring[0], 0xffff);
	drv_wr(&rig.drv, R_NOTIFY, 0);
	ck_assert_uint_eq(rig.away.kicks, 1);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_STATUS), 15);
	ck_assert_uint_eq(drv_used_idx(&rig.ring[0]), 0);
	ck_assert_uint_eq(drv_used_flags(&rig.ring[0]), 0);
	offer(&rig, 1, 1);
	ck_assert(drv_get_used(&rig.ring[1], &id, &len));
	ck_assert_uint_eq(drv_ack(&rig.drv), 1);
	virtio_enter_device(&rig.away.vdev);
	virtio_signal(&rig.away.vdev, 0);
	virtio_leave(&rig.away.vdev);
	ck_assert_uint_eq(drv_ack(&rig.drv), 1);
	stop(&rig);
	ck_assert_uint_eq(rig.away.halts, 1);
}
END_TEST

/* A quiesce takes the queue back; the device's own walk goes on where it stands. */
START_TEST(comes_back)
{
	struct virtio_device *vdev;
	struct rig rig;
	uint32_t id, len;
	unsigned int i;

	start(&rig);
	vdev = &rig.away.vdev;
	drive(&rig);
	offer(&rig, 0, 3);
	/* Who serves it takes two and gives them back. */
	*(uint16_t *)drv_ptr(&rig.mem, rig.ring[0].used + 2, 2) = 2;
	rig.ring[0].last_used = 2;
	rig.away.next = 2;
	dev(&rig)->ops->quiesce(dev(&rig));
	ck_assert_uint_eq(rig.away.halts, 1);
	ck_assert(!rig.away.with_elsewhere);
	ck_assert(!virtio_queue(vdev, 0)->away);
	dev(&rig)->ops->resume(dev(&rig));
	ck_assert_uint_eq(rig.away.goes, 2);
	ck_assert_uint_eq(rig.away.next, 2);
	/* It was told that there may be work. */
	ck_assert_uint_eq(rig.away.kicks, 2);
	/* FAILED halts, and nothing goes again before a reset. */
	drv_wr(&rig.drv, R_STATUS, 15 | ST_FAILED);
	ck_assert_uint_eq(rig.away.halts, 2);
	dev(&rig)->ops->quiesce(dev(&rig));
	dev(&rig)->ops->resume(dev(&rig));
	ck_assert_uint_eq(rig.away.goes, 2);
	drive(&rig);
	ck_assert_uint_eq(rig.away.goes, 3);
	ck_assert_uint_eq(rig.away.next, 0);
	for (i = 0; i < 3; i++)
		offer(&rig, 1, 1);
	for (i = 0; i < 3; i++)
		ck_assert(drv_get_used(&rig.ring[1], &id, &len));
	stop(&rig);
}
END_TEST

/* A reset and a queue that is stopped halt first; such a device has no RING_RESET. */
START_TEST(stops)
{
	struct rig rig;

	start(&rig);
	ck_assert(!(drv_features(&rig.drv) & FEAT_RING_RESET));
	drive(&rig);
	drv_wr(&rig.drv, R_STATUS, 0);
	ck_assert_uint_eq(rig.away.halts, 1);
	drv_wr(&rig.drv, R_STATUS, 0);
	ck_assert_uint_eq(rig.away.halts, 1);
	drive(&rig);
	drv_wr(&rig.drv, R_QUEUE_SEL, 0);
	drv_wr(&rig.drv, R_QUEUE_READY, 0);
	ck_assert_uint_eq(rig.away.halts, 2);
	ck_assert(!rig.away.with_elsewhere);
	/* The rest of the device goes on. */
	ck_assert_uint_eq(rig.away.goes, 3);
	drv_wr(&rig.drv, R_QUEUE_SEL, 1);
	drv_wr(&rig.drv, R_QUEUE_READY, 0);
	ck_assert_uint_eq(rig.away.halts, 2);
	stop(&rig);
}
END_TEST

/* The start operation runs once before the guest, and its refusal is passed on. */
START_TEST(start_operation)
{
	struct error err = {.msg = ""};
	struct rig rig;

	start(&rig);
	ck_assert_int_eq(dev(&rig)->ops->activate(dev(&rig), &err), 0);
	ck_assert_uint_eq(rig.away.starts, 1);
	rig.away.refuse_start = true;
	ck_assert_int_eq(dev(&rig)->ops->activate(dev(&rig), &err), -1);
	ck_assert_str_eq(err.msg, "nobody there");
	stop(&rig);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio-handover");
	TCase *tc = tcase_create("handover");

	tcase_add_test(tc, served_elsewhere);
	tcase_add_test(tc, comes_back);
	tcase_add_test(tc, stops);
	tcase_add_test(tc, start_operation);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
