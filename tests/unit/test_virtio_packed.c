// SPDX-License-Identifier: GPL-2.0-only
/*
 * Packed rings: requests in order and out of order round and round the ring, each rule
 * a driver can break, event suppression against a plain model, save and load, a driver
 * on a second thread. The driver here writes slots itself and knows nothing of virtio/.
 */
#include "prng.h"
#include "unit.h"
#include "virtio_driver.h"

#include "lkvm/virtio/queue.h"

#include <endian.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#define MAX 64
#define AT (DRV_RAM + 0x1000)
#define DRIVER_EVENT (AT + 0x4000)
#define DEVICE_EVENT (AT + 0x5000)
#define DATA (DRV_RAM + MIB)

#define F_AVAIL 0x80
#define F_USED 0x8000

struct rig {
	struct guest_memory mem;
	struct virtq q;
	struct virtq_layout layout;
	/* the driver's */
	unsigned int next, seen;
	bool wrap, seen_wrap;
};

static void start(struct rig *rig, uint32_t num, unsigned int flags)
{
	memset(rig, 0, sizeof(*rig));
	drv_memory(&rig->mem);
	rig->layout = (struct virtq_layout){num, AT, DRIVER_EVENT, DEVICE_EVENT};
	rig->wrap = rig->seen_wrap = true;
	ck_assert_int_eq(virtq_init(&rig->q, &rig->mem, MAX, 0), 0);
	ck_assert_int_eq(virtq_enable(&rig->q, &rig->layout, flags | VIRTQ_PACKED, NULL), 0);
}

static void stop(struct rig *rig)
{
	ck_assert_uint_eq(rig->q.inflight, 0);
	virtq_destroy(&rig->q);
	memory_destroy(&rig->mem);
}

static void put_slot(struct rig *rig, gpa_t at, gpa_t addr, uint32_t len, uint16_t id,
		     uint16_t flags)
{
	uint8_t *p = drv_ptr(&rig->mem, at, 16);

	memcpy(p, &(uint64_t){htole64(addr)}, 8);
	memcpy(p + 8, &(uint32_t){htole32(len)}, 4);
	memcpy(p + 12, &(uint16_t){htole16(id)}, 2);
	__atomic_store_n((uint16_t *)(void *)(p + 14), htole16(flags), __ATOMIC_RELEASE);
}

/* The driver's place moves on by a slot. */
static void step(struct rig *rig)
{
	if (++rig->next < rig->layout.num)
		return;
	rig->next = 0;
	rig->wrap = !rig->wrap;
}

/* A chain of @nr buffers of @len bytes; the first flags are written last. */
static void offer(struct rig *rig, uint16_t id, unsigned int nr, uint32_t len, uint16_t flags)
{
	gpa_t first = AT + 16 * (gpa_t)rig->next;
	uint16_t first_flags = 0;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		uint16_t f = flags | (i + 1 < nr ? DRV_NEXT : 0) | (rig->wrap ? F_AVAIL : F_USED);

		if (!i)
			first_flags = f;
		put_slot(rig, AT + 16 * (gpa_t)rig->next, DATA + i * 4096, len, id,
			 i ? f : f ^ F_AVAIL ^ F_USED);
		step(rig);
	}
	__atomic_store_n((uint16_t *)drv_ptr(&rig->mem, first + 14, 2), htole16(first_flags),
			 __ATOMIC_RELEASE);
}

/* The next used slot, of a request that had @slots. */
static bool get_used(struct rig *rig, unsigned int slots, uint16_t *id, uint32_t *len)
{
	const uint8_t *p = drv_ptr(&rig->mem, AT + 16 * (gpa_t)rig->seen, 16);
	uint16_t flags = le16toh(
		__atomic_load_n((const uint16_t *)(const void *)(p + 14), __ATOMIC_ACQUIRE));

	if (!!(flags & F_AVAIL) != rig->seen_wrap || !!(flags & F_USED) != rig->seen_wrap)
		return false;
	memcpy(len, p + 8, 4);
	memcpy(id, p + 12, 2);
	/* WRITE says whether anything was written. */
	ck_assert_int_eq(flags & DRV_WRITE, *len ? DRV_WRITE : 0);
	rig->seen += slots;
	if (rig->seen >= rig->layout.num) {
		rig->seen -= rig->layout.num;
		rig->seen_wrap = !rig->seen_wrap;
	}
	return true;
}

static struct virtq_request *take(struct rig *rig)
{
	virtq_begin(&rig->q);
	return virtq_pop(&rig->q);
}

static void set_event(struct rig *rig, uint16_t slot, uint16_t flags)
{
	memcpy(drv_ptr(&rig->mem, DRIVER_EVENT, 2), &(uint16_t){htole16(slot)}, 2);
	memcpy(drv_ptr(&rig->mem, DRIVER_EVENT + 2, 2), &(uint16_t){htole16(flags)}, 2);
}

static uint16_t device_event(struct rig *rig, unsigned int field)
{
	const uint16_t *p = drv_ptr(&rig->mem, DEVICE_EVENT + 2 * field, 2);

	return le16toh(__atomic_load_n(p, __ATOMIC_RELAXED));
}

START_TEST(geometry)
{
	static const struct {
		uint32_t num;
		gpa_t desc, driver, device;
		bool good;
	} cases[] = {
		{1, AT, DRIVER_EVENT, DEVICE_EVENT, true},
		{3, AT, DRIVER_EVENT, DEVICE_EVENT, true},
		{MAX, AT, DRIVER_EVENT, DEVICE_EVENT, true},
		{0, AT, DRIVER_EVENT, DEVICE_EVENT, false},
		{MAX + 1, AT, DRIVER_EVENT, DEVICE_EVENT, false},
		{UINT32_MAX, AT, DRIVER_EVENT, DEVICE_EVENT, false},
		{4, AT + 8, DRIVER_EVENT, DEVICE_EVENT, false},
		{4, AT, DRIVER_EVENT + 2, DEVICE_EVENT, false},
		{4, AT, DRIVER_EVENT, DEVICE_EVENT + 2, false},
		{4, AT, AT + 60, DEVICE_EVENT, false},
		{4, AT, AT + 64, DEVICE_EVENT, true},
		{4, AT, DRIVER_EVENT, DRIVER_EVENT, false},
		{4, DRV_RAM_END - 48, DRIVER_EVENT, DEVICE_EVENT, false},
		{4, DRV_RAM_END - 64, DRIVER_EVENT, DEVICE_EVENT, true},
		{4, AT, DRV_RAM_END, DEVICE_EVENT, false},
		{4, AT, DRIVER_EVENT, UINT64_MAX - 3, false},
	};
	struct rig rig;
	size_t i;

	start(&rig, 4, 0);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct virtq_layout l = {cases[i].num, cases[i].desc, cases[i].driver,
					 cases[i].device};
		struct error err = {.msg = ""};

		virtq_disable(&rig.q);
		ck_assert_int_eq(!virtq_enable(&rig.q, &l, VIRTQ_PACKED, &err), cases[i].good);
		ck_assert_int_eq(rig.q.ready, cases[i].good);
	}
	stop(&rig);
}
END_TEST

/* Chains of changing length, given back in a changing order, many rounds. */
START_TEST(rounds)
{
	static const uint32_t sizes[] = {1, 2, 3, 7, 16, 64};
	unsigned int s;

	for (s = 0; s < ARRAY_SIZE(sizes); s++) {
		uint32_t num = sizes[s];
		struct prng prng = {num};
		struct virtq_request *held[MAX];
		struct rig rig;
		unsigned int round, slots_of[MAX];

		start(&rig, num, 0);
		for (round = 0; round < 500; round++) {
			unsigned int left = num, nr = 0, i, k;
			uint32_t len;
			uint16_t id;

			while (left && nr < num) {
				unsigned int n = 1 + (unsigned int)(prng_u64(&prng) % left);

				slots_of[nr] = n;
				offer(&rig, (uint16_t)nr++, n, 100, n % 2 ? DRV_WRITE : 0);
				left -= n;
			}
			virtq_begin(&rig.q);
			for (i = 0; i < nr; i++) {
				held[i] = virtq_pop(&rig.q);
				ck_assert_ptr_nonnull(held[i]);
				ck_assert_uint_eq(held[i]->id, i);
				ck_assert_uint_eq(held[i]->readable + held[i]->writable,
						  100 * slots_of[i]);
				for (k = 0; k < slots_of[i]; k++)
					ck_assert_uint_eq(virtq_gpa(held[i], k), DATA + 4096 * k);
			}
			ck_assert_ptr_null(virtq_pop(&rig.q));
			ck_assert_uint_eq(rig.q.inflight, nr);
			while (nr) {
				unsigned int which = (unsigned int)(prng_u64(&prng) % nr);
				struct virtq_cursor w = virtq_writer(held[which]);
				uint16_t want = held[which]->id;
				uint32_t wrote = (uint32_t)virtq_write(&w, "x", 1);

				virtq_push(&rig.q, held[which]);
				ck_assert(get_used(&rig, slots_of[want], &id, &len));
				ck_assert_uint_eq(id, want);
				ck_assert_uint_eq(len, wrote);
				held[which] = held[--nr];
			}
			ck_assert(!get_used(&rig, 0, &id, &len));
		}
		stop(&rig);
	}
}
END_TEST

static void expect_broken(struct rig *rig, const char *why)
{
	ck_assert_ptr_null(take(rig));
	ck_assert(rig->q.broken);
	ck_assert_msg(strstr(rig->q.why, why) != NULL, "it says: %s", rig->q.why);
	ck_assert(!virtq_should_signal(&rig->q));
	stop(rig);
}

START_TEST(broken_rules)
{
	struct virtq_request *req;
	struct rig rig;
	unsigned int i;

	start(&rig, 8, 0);
	offer(&rig, 8, 1, 16, 0);
	expect_broken(&rig, "ID is beyond");
	start(&rig, 8, 0);
	offer(&rig, 0xffff, 3, 16, 0);
	expect_broken(&rig, "ID is beyond");
	/* A chain that never ends. */
	start(&rig, 8, 0);
	for (i = 0; i < 8; i++)
		offer(&rig, 1, 1, 16, DRV_NEXT);
	expect_broken(&rig, "longer than the queue");
	/* The same ID while it is in flight. */
	start(&rig, 8, 0);
	offer(&rig, 1, 1, 16, 0);
	offer(&rig, 1, 1, 16, 0);
	virtq_begin(&rig.q);
	req = virtq_pop(&rig.q);
	ck_assert_ptr_nonnull(req);
	ck_assert_ptr_null(virtq_pop(&rig.q));
	ck_assert(rig.q.broken);
	virtq_push(&rig.q, req);
	stop(&rig);
	/* Slots made available again before they were given back. */
	start(&rig, 4, 0);
	for (i = 0; i < 4; i++)
		offer(&rig, (uint16_t)i, 1, 16, 0);
	{
		struct virtq_request *held[3];

		virtq_begin(&rig.q);
		for (i = 0; i < 3; i++)
			held[i] = virtq_pop(&rig.q);
		virtq_push(&rig.q, held[0]);
		/* Two slots for one that is free, with the ID that is. */
		offer(&rig, 0, 1, 16, DRV_NEXT);
		put_slot(&rig, AT + 16 * 3, DATA, 16, 0, F_AVAIL | DRV_NEXT);
		put_slot(&rig, AT, DATA, 16, 0, F_USED | DRV_NEXT);
		put_slot(&rig, AT + 16, DATA, 16, 0, F_USED);
		ck_assert_ptr_null(take(&rig));
		ck_assert(rig.q.broken);
		ck_assert_msg(strstr(rig.q.why, "in flight") != NULL, "it says: %s", rig.q.why);
		virtq_push(&rig.q, held[1]);
		virtq_push(&rig.q, held[2]);
	}
	stop(&rig);
	/* Buffers, as in a split ring. */
	start(&rig, 8, 0);
	put_slot(&rig, AT, DRV_RAM_END - 8, 16, 0, F_AVAIL);
	expect_broken(&rig, "not inside RAM");
	start(&rig, 8, 0);
	put_slot(&rig, AT, DATA, 16, 0, F_AVAIL | DRV_WRITE | DRV_NEXT);
	put_slot(&rig, AT + 16, DATA, 16, 0, F_AVAIL);
	expect_broken(&rig, "readable buffer follows");
}
END_TEST

START_TEST(indirect)
{
	gpa_t table = DRV_RAM + 2 * MIB;
	struct virtq_request *req;
	struct rig rig;
	uint32_t len;
	uint16_t id;

	start(&rig, 4, VIRTQ_INDIRECT);
	/* IDs and all flags but WRITE mean nothing inside a table, and that nothing before it. */
	put_slot(&rig, table, DATA, 10, 0xffff, DRV_NEXT);
	put_slot(&rig, table + 16, DATA + 4096, 20, 7, DRV_INDIRECT | F_USED);
	put_slot(&rig, table + 32, DATA + 8192, 30, 0, DRV_WRITE | F_AVAIL);
	put_slot(&rig, AT, table, 48, 3, F_AVAIL | DRV_INDIRECT | DRV_WRITE);
	req = take(&rig);
	ck_assert_ptr_nonnull(req);
	ck_assert_uint_eq(req->readable, 30);
	ck_assert_uint_eq(req->writable, 30);
	virtq_push(&rig.q, req);
	ck_assert(get_used(&rig, 1, &id, &len));
	ck_assert_uint_eq(id, 3);
	stop(&rig);

	start(&rig, 4, 0);
	put_slot(&rig, AT, table, 48, 3, F_AVAIL | DRV_INDIRECT);
	expect_broken(&rig, "not negotiated");
	start(&rig, 4, VIRTQ_INDIRECT);
	put_slot(&rig, AT, table, 47, 3, F_AVAIL | DRV_INDIRECT);
	expect_broken(&rig, "bad length");
	start(&rig, 4, VIRTQ_INDIRECT);
	put_slot(&rig, AT, table, 0, 3, F_AVAIL | DRV_INDIRECT);
	expect_broken(&rig, "bad length");
	start(&rig, 4, VIRTQ_INDIRECT);
	put_slot(&rig, AT, DRV_RAM_END - 32, 48, 3, F_AVAIL | DRV_INDIRECT);
	expect_broken(&rig, "not inside RAM");
	start(&rig, 4, VIRTQ_INDIRECT);
	put_slot(&rig, AT, table, 48, 3, F_AVAIL | DRV_INDIRECT | DRV_NEXT);
	expect_broken(&rig, "has a next");
	start(&rig, 4, VIRTQ_INDIRECT);
	put_slot(&rig, AT, DATA, 16, 3, F_AVAIL | DRV_NEXT);
	put_slot(&rig, AT + 16, table, 48, 3, F_AVAIL | DRV_INDIRECT);
	expect_broken(&rig, "in a chain");
	start(&rig, 4, VIRTQ_INDIRECT);
	put_slot(&rig, AT, table, 16 * 5, 3, F_AVAIL | DRV_INDIRECT);
	expect_broken(&rig, "longer than the queue");
}
END_TEST

/* What the driver asked for against a model that counts slots from the start. */
START_TEST(events)
{
	struct prng prng = {4711};
	unsigned int round;
	uint32_t num;

	for (num = 3; num <= 8; num++) {
		uint64_t given = 0, told = 0; /* slots since the start */
		struct rig rig;

		start(&rig, num, VIRTQ_EVENT_IDX);
		for (round = 0; round < 2000; round++) {
			uint64_t event = told + prng_u64(&prng) % (2 * (uint64_t)num),
				 before = given;
			unsigned int nr = 1 + (unsigned int)(prng_u64(&prng) % num), i;
			bool wrap = event / num % 2 == 0, want;
			uint32_t len;
			uint16_t id;

			/* The last slot's event is within a round of where we write. */
			if (event >= given + num)
				event = given + num - 1, wrap = event / num % 2 == 0;
			set_event(&rig, (uint16_t)(event % num | (wrap ? 0x8000 : 0)), 2);
			for (i = 0; i < nr; i++) {
				offer(&rig, (uint16_t)i, 1, 16, 0);
				virtq_push(&rig.q, take(&rig));
				ck_assert(get_used(&rig, 1, &id, &len));
				given++;
			}
			want = event >= told && event < given;
			ck_assert_int_eq(virtq_should_signal(&rig.q), want);
			ck_assert(!virtq_should_signal(&rig.q));
			told = given;
			(void)before;
		}
		stop(&rig);
	}
}
END_TEST

START_TEST(suppression)
{
	struct rig rig;
	uint32_t len;
	uint16_t id;

	start(&rig, 4, 0);
	/* Empty: notify us. */
	ck_assert_ptr_null(take(&rig));
	ck_assert_uint_eq(device_event(&rig, 1), 0);
	offer(&rig, 0, 1, 16, 0);
	set_event(&rig, 0, 1);
	virtq_push(&rig.q, take(&rig));
	ck_assert_uint_eq(device_event(&rig, 1), 1);
	ck_assert(!virtq_should_signal(&rig.q));
	ck_assert(get_used(&rig, 1, &id, &len));
	set_event(&rig, 0, 0);
	offer(&rig, 0, 1, 16, 0);
	virtq_push(&rig.q, take(&rig));
	ck_assert(virtq_should_signal(&rig.q));
	/* A value that means nothing without the feature is no reason to be silent. */
	set_event(&rig, 0, 2);
	offer(&rig, 0, 1, 16, 0);
	virtq_push(&rig.q, take(&rig));
	ck_assert(virtq_should_signal(&rig.q));
	set_event(&rig, 0x7fff, 3);
	offer(&rig, 0, 1, 16, 0);
	virtq_push(&rig.q, take(&rig));
	ck_assert(virtq_should_signal(&rig.q));
	stop(&rig);

	start(&rig, 4, VIRTQ_EVENT_IDX);
	ck_assert_ptr_null(take(&rig));
	ck_assert_uint_eq(device_event(&rig, 0), 0x8000);
	ck_assert_uint_eq(device_event(&rig, 1), 2);
	offer(&rig, 0, 3, 16, 0);
	virtq_push(&rig.q, take(&rig));
	ck_assert_ptr_null(take(&rig));
	ck_assert_uint_eq(device_event(&rig, 0), 0x8003);
	offer(&rig, 0, 2, 16, 0);
	virtq_push(&rig.q, take(&rig));
	ck_assert_ptr_null(take(&rig));
	/* Beyond the end the counter changes. */
	ck_assert_uint_eq(device_event(&rig, 0), 1);
	stop(&rig);
}
END_TEST

/* A pass is bounded although the driver reuses slots at once. */
START_TEST(bounded_pass)
{
	unsigned int nr = 0;
	struct virtq_request *req;
	struct rig rig;
	uint32_t len;
	uint16_t id;

	start(&rig, 4, 0);
	offer(&rig, 0, 1, 16, 0);
	virtq_begin(&rig.q);
	while ((req = virtq_pop(&rig.q))) {
		virtq_push(&rig.q, req);
		ck_assert(get_used(&rig, 1, &id, &len));
		offer(&rig, 0, 1, 16, 0);
		nr++;
	}
	ck_assert_uint_eq(nr, 4);
	ck_assert(virtq_more(&rig.q));
	stop(&rig);
}
END_TEST

/* What is put back comes again, over the ring's end too. */
START_TEST(put_back)
{
	struct virtq_request *req;
	struct rig rig;
	unsigned int i;
	uint32_t len;
	uint16_t id;

	start(&rig, 4, 0);
	for (i = 0; i < 20; i++) {
		offer(&rig, 2, 3, 16, 0);
		req = take(&rig);
		ck_assert_ptr_nonnull(req);
		ck_assert_uint_eq(req->done, 0);
		virtq_put_back(&rig.q, req, i, false);
		ck_assert_uint_eq(rig.q.inflight, 0);
		req = take(&rig);
		ck_assert_ptr_nonnull(req);
		ck_assert_uint_eq(req->done, i);
		ck_assert_uint_eq(req->readable, 48);
		virtq_push(&rig.q, req);
		ck_assert(get_used(&rig, 3, &id, &len));
	}
	stop(&rig);
}
END_TEST

START_TEST(save_load)
{
	struct virtq twin;
	struct rig rig;
	unsigned int i;
	uint32_t len;
	uint16_t id, bad;

	start(&rig, 5, VIRTQ_EVENT_IDX);
	for (i = 0; i < 23; i++) {
		struct xfer x, y, z;

		offer(&rig, 0, 1 + i % 3, 16, 0);
		virtq_push(&rig.q, take(&rig));
		ck_assert(get_used(&rig, 1 + i % 3, &id, &len));
		virtq_should_signal(&rig.q);
		xfer_save_init(&x);
		virtq_transfer_indexes(&x, &rig.q);
		ck_assert_int_eq(xfer_done(&x, NULL), 0);
		virtq_init(&twin, &rig.mem, MAX, 0);
		virtq_enable(&twin, &rig.layout, VIRTQ_PACKED | VIRTQ_EVENT_IDX, NULL);
		xfer_load_init(&y, x.buf, x.len);
		virtq_transfer_indexes(&y, &twin);
		ck_assert_int_eq(xfer_done(&y, NULL), 0);
		xfer_save_init(&z);
		virtq_transfer_indexes(&z, &twin);
		ck_assert_uint_eq(z.len, x.len);
		ck_assert_int_eq(memcmp(z.buf, x.buf, x.len), 0);
		/* The copy goes on where the first one stood. */
		virtq_destroy(&rig.q);
		rig.q = twin;
		xfer_free(&x);
		xfer_free(&z);
	}
	stop(&rig);
	/* An index beyond the ring. */
	start(&rig, 5, 0);
	for (bad = 5; bad < 0x7fff; bad = (uint16_t)(bad * 3)) {
		uint8_t buf[8] = {(uint8_t)bad, (uint8_t)(bad >> 8), (uint8_t)bad,
				  (uint8_t)(bad >> 8)};
		struct xfer x;

		xfer_load_init(&x, buf, sizeof(buf));
		virtq_transfer_indexes(&x, &rig.q);
		ck_assert_int_ne(xfer_done(&x, NULL), 0);
	}
	virtq_disable(&rig.q);
	stop(&rig);
}
END_TEST

/* What a driver writes into used slots and events is its own affair: nothing is read back. */
START_TEST(scribbled_used_slots)
{
	struct rig rig;
	unsigned int i;
	uint32_t len;
	uint16_t id;

	start(&rig, 4, VIRTQ_EVENT_IDX);
	for (i = 0; i < 40; i++) {
		unsigned int slot = rig.next;
		bool wrap = rig.wrap;

		offer(&rig, 1, 1, 16, 0);
		virtq_push(&rig.q, take(&rig));
		ck_assert(get_used(&rig, 1, &id, &len));
		ck_assert_uint_eq(id, 1);
		/* As used in the round before and after, with flags and an ID from nowhere. */
		put_slot(&rig, AT + 16 * (gpa_t)slot, ~UINT64_C(0), 0xffffffff, 0xffff,
			 (uint16_t)((wrap ? F_AVAIL | F_USED : 0) | i));
		memset(drv_ptr(&rig.mem, DEVICE_EVENT, 4), 0xff, 4);
		ck_assert_ptr_null(take(&rig));
		ck_assert(!rig.q.broken);
	}
	stop(&rig);
}
END_TEST

/* --- two threads ------------------------------------------------------------------- */

#define HANDOVERS 2000
#define PAIRS 3 /* in a ring of seven: every other round one lies across its end */

struct handover {
	struct rig rig;
	bool event_idx;
	uint64_t end; /* give up then: a notification was lost */
	atomic_bool kick, done;
};

/* A readable buffer of 4 bytes at @at, a writable one behind; the first slot comes last. */
static void offer_pair(struct rig *rig, uint16_t id, gpa_t at)
{
	gpa_t first = AT + 16 * (gpa_t)rig->next;
	uint16_t flags = DRV_NEXT | (rig->wrap ? F_AVAIL : F_USED);

	put_slot(rig, first, at, 4, id, flags ^ F_AVAIL ^ F_USED);
	step(rig);
	put_slot(rig, AT + 16 * (gpa_t)rig->next, at + 8, 4, id,
		 DRV_WRITE | (rig->wrap ? F_AVAIL : F_USED));
	step(rig);
	__atomic_store_n((uint16_t *)drv_ptr(&rig->mem, first + 14, 2), htole16(flags),
			 __ATOMIC_RELEASE);
}

/* Does the device want to hear of the pair that begins at @slot? */
static bool wants_notification(struct handover *h, unsigned int slot, bool wrap)
{
	unsigned int i;
	uint16_t event;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (device_event(&h->rig, 1) != 2)
		return !device_event(&h->rig, 1);
	event = device_event(&h->rig, 0);
	for (i = 0; i < 2; i++) {
		if (event == (slot | (wrap ? 0x8000 : 0)))
			return true;
		if (++slot == h->rig.layout.num) {
			slot = 0;
			wrap = !wrap;
		}
	}
	return false;
}

/* The driver: keeps the ring full of counted requests and looks at the answers. */
static void *drive(void *arg)
{
	struct handover *h = arg;
	struct rig *rig = &h->rig;
	uint32_t sent = 0, seen = 0, len, question, answer;
	uint16_t id;

	while (seen < HANDOVERS && now_ns() < h->end) {
		while (sent < HANDOVERS && sent - seen < PAIRS) {
			gpa_t at = DATA + 64 * (gpa_t)(sent % PAIRS);
			unsigned int slot = rig->next;
			bool wrap = rig->wrap;

			memcpy(drv_ptr(&rig->mem, at, 4), &sent, 4);
			offer_pair(rig, (uint16_t)(sent++ % PAIRS), at);
			if (wants_notification(h, slot, wrap))
				atomic_store(&h->kick, true);
		}
		if (!get_used(rig, 2, &id, &len)) {
			sched_yield();
			continue;
		}
		memcpy(&question, drv_ptr(&rig->mem, DATA + 64 * (gpa_t)id, 4), 4);
		memcpy(&answer, drv_ptr(&rig->mem, DATA + 64 * (gpa_t)id + 8, 4), 4);
		if (id != seen % PAIRS || question != seen || answer != ~seen || len != 4)
			break;
		seen++;
	}
	atomic_store(&h->done, true);
	return (void *)(uintptr_t)seen;
}

START_TEST(driver_on_another_thread)
{
	struct virtq_request *req;
	struct handover h;
	pthread_t thread;
	void *seen;

	memset(&h, 0, sizeof(h));
	start(&h.rig, 2 * PAIRS + 1, _i ? VIRTQ_EVENT_IDX : 0);
	h.event_idx = _i;
	h.end = now_ns() + 60 * NSEC_PER_SEC;
	/* Empty: it asks for the first notification. */
	ck_assert_ptr_null(take(&h.rig));
	ck_assert_int_eq(pthread_create(&thread, NULL, drive, &h), 0);
	while (!atomic_load(&h.done)) {
		if (!atomic_exchange(&h.kick, false) && !virtq_more(&h.rig.q)) {
			sched_yield();
			continue;
		}
		virtq_begin(&h.rig.q);
		while ((req = virtq_pop(&h.rig.q))) {
			struct virtq_cursor r = virtq_reader(req), w = virtq_writer(req);
			uint32_t v;

			v = virtq_read(&r, &v, 4) == 4 ? ~v : 0;
			virtq_write(&w, &v, 4);
			virtq_push(&h.rig.q, req);
		}
		virtq_should_signal(&h.rig.q);
	}
	pthread_join(thread, &seen);
	ck_assert_uint_eq((uintptr_t)seen, HANDOVERS);
	ck_assert(!h.rig.q.broken);
	stop(&h.rig);
}
END_TEST

/* A hart that rewrites slots and a table while they are looked at. */
static void *scribble(void *arg)
{
	struct handover *h = arg;
	struct prng p = {42};

	while (!atomic_load(&h->done)) {
		unsigned int i = prng_below(&p, h->rig.layout.num);
		bool table = prng_below(&p, 4) == 0;
		gpa_t addr =
			prng_below(&p, 3) ? DRV_RAM + DRV_BANK - 32 + prng_below(&p, 64) : DATA;
		uint16_t flags = (uint16_t)(prng_below(&p, 8) | (prng_below(&p, 2) ? F_AVAIL : 0) |
					    (prng_below(&p, 2) ? F_USED : 0));

		/* In a packed slot the ID comes before the flags. */
		drv_desc_at(&h->rig.mem, table ? DATA : AT, i, addr, 16 * prng_below(&p, 4),
			    (uint16_t)prng_below(&p, h->rig.layout.num + 1), flags);
	}
	return NULL;
}

START_TEST(slots_change_under_us)
{
	uint64_t end = now_ns() + 100 * NSEC_PER_SEC;
	unsigned int taken = 0, wrong = 0;
	struct virtq_request *req;
	struct handover h;
	pthread_t thread;

	memset(&h, 0, sizeof(h));
	start(&h.rig, 5, VIRTQ_INDIRECT | VIRTQ_EVENT_IDX);
	ck_assert_int_eq(pthread_create(&thread, NULL, scribble, &h), 0);
	while (taken < 200 && now_ns() < end) {
		virtq_begin(&h.rig.q);
		req = virtq_pop(&h.rig.q);
		if (req) {
			unsigned int i;
			uint64_t sum = 0;

			taken++;
			wrong += req->slots > h.rig.layout.num || req->id >= h.rig.layout.num;
			for (i = 0; i < req->nr_readable + req->nr_writable; i++) {
				/* Each lies in one bank, whatever the slot says now. */
				wrong += !memory_find(&h.rig.mem, virtq_gpa(req, i),
						      req->iov[i].iov_len);
				sum += req->iov[i].iov_len;
			}
			wrong += sum != (uint64_t)req->readable + req->writable;
			virtq_push(&h.rig.q, req);
		}
		if (h.rig.q.broken) {
			virtq_disable(&h.rig.q);
			wrong += virtq_enable(&h.rig.q, &h.rig.layout,
					      VIRTQ_PACKED | VIRTQ_INDIRECT | VIRTQ_EVENT_IDX,
					      NULL) != 0;
		}
		if (!req)
			sched_yield();
	}
	atomic_store(&h.done, true);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(wrong, 0);
	ck_assert_uint_eq(taken, 200);
	virtq_disable(&h.rig.q);
	stop(&h.rig);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio-packed");
	TCase *tc = tcase_create("packed");

	tcase_add_test(tc, geometry);
	tcase_add_test(tc, rounds);
	tcase_add_test(tc, broken_rules);
	tcase_add_test(tc, indirect);
	tcase_add_test(tc, events);
	tcase_add_test(tc, suppression);
	tcase_add_test(tc, bounded_pass);
	tcase_add_test(tc, put_back);
	tcase_add_test(tc, save_load);
	tcase_add_test(tc, scribbled_used_slots);
	tcase_add_loop_test(tc, driver_on_another_thread, 0, 2);
	tcase_add_test(tc, slots_change_under_us);
	tcase_set_timeout(tc, 120);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
