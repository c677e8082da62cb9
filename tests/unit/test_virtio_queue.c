// SPDX-License-Identifier: GPL-2.0-only
/*
 * Split virtqueues: every rule that virtio/queue.c enforces, broken once; chains of
 * all shapes; both kinds of notification suppression, around the wrap of the 16-bit
 * indexes too; cursors against a flat copy; a driver on a second thread.
 */
#include "prng.h"
#include "unit.h"
#include "virtio_driver.h"

#include "lkvm/virtio/queue.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define NUM 8
#define MAX 256
#define DATA (DRV_RAM + MIB)

struct rig {
	struct guest_memory mem;
	struct drv_ring ring;
	struct virtq q;
};

static struct virtq_layout layout_of(const struct drv_ring *ring)
{
	return (struct virtq_layout){ring->num, ring->desc, ring->avail, ring->used};
}

static void start_num(struct rig *rig, uint32_t num, bool indirect, bool event_idx)
{
	struct virtq_layout layout;

	memset(rig, 0, sizeof(*rig));
	drv_memory(&rig->mem);
	drv_ring_init(&rig->ring, &rig->mem, num, DRV_RAM + 0x1000);
	ck_assert_int_eq(virtq_init(&rig->q, &rig->mem, MAX, 0), 0);
	layout = layout_of(&rig->ring);
	ck_assert_int_eq(
		virtq_enable(&rig->q, &layout,
			     (indirect ? VIRTQ_INDIRECT : 0) | (event_idx ? VIRTQ_EVENT_IDX : 0),
			     NULL),
		0);
}

static void start(struct rig *rig)
{
	start_num(rig, NUM, true, false);
}

static void stop(struct rig *rig)
{
	ck_assert_uint_eq(rig->q.inflight, 0);
	virtq_destroy(&rig->q);
	memory_destroy(&rig->mem);
}

/* The next request of a new pass. */
static struct virtq_request *take(struct rig *rig)
{
	virtq_begin(&rig->q);
	return virtq_pop(&rig->q);
}

/* The driver broke a rule whose name holds @why; then nothing is taken any more. */
static void expect_broken(struct rig *rig, const char *why)
{
	ck_assert_ptr_null(take(rig));
	ck_assert(rig->q.broken);
	ck_assert_msg(strstr(rig->q.why, why) != NULL, "it says: %s", rig->q.why);
	drv_add(&rig->ring, &(struct drv_seg){DATA, 16, 0}, 1);
	ck_assert_ptr_null(take(rig));
	ck_assert_uint_eq(drv_used_idx(&rig->ring), 0);
	ck_assert(!virtq_should_signal(&rig->q));
	stop(rig);
}

static void finish(struct rig *rig, struct virtq_request *req)
{
	virtq_push(&rig->q, req);
}

/* --- geometry ---------------------------------------------------------------- */

START_TEST(init_refuses)
{
	struct guest_memory mem;
	struct virtq q;

	drv_memory(&mem);
	ck_assert_int_ne(virtq_init(&q, &mem, 0, 0), 0);
	ck_assert_int_ne(virtq_init(&q, &mem, 3, 0), 0);
	ck_assert_int_ne(virtq_init(&q, &mem, 65535, 0), 0);
	ck_assert_int_eq(virtq_init(&q, &mem, 32768, 0), 0);
	virtq_destroy(&q);
	memory_destroy(&mem);
}
END_TEST

static bool enables(struct rig *rig, uint32_t num, gpa_t desc, gpa_t avail, gpa_t used)
{
	struct virtq_layout layout = {num, desc, avail, used};
	struct error err = {""};
	bool ok;

	virtq_disable(&rig->q);
	ok = !virtq_enable(&rig->q, &layout, VIRTQ_INDIRECT | VIRTQ_EVENT_IDX, &err);
	ck_assert_int_eq(ok, rig->q.ready);
	ck_assert_int_eq(ok, err.msg[0] == '\0');
	return ok;
}

START_TEST(geometry)
{
	const gpa_t d = DRV_RAM, a = DRV_RAM + 0x1000, u = DRV_RAM + 0x2000, end = DRV_RAM_END;
	struct rig rig;
	uint32_t num;

	start(&rig);
	for (num = 1; num <= MAX; num *= 2)
		ck_assert(enables(&rig, num, d, a, u));
	ck_assert(!enables(&rig, 0, d, a, u));
	ck_assert(!enables(&rig, 3, d, a, u));
	ck_assert(!enables(&rig, 512, d, a, u));
	ck_assert(!enables(&rig, 65535, d, a, u));
	ck_assert(!enables(&rig, 65536, d, a, u));
	ck_assert(!enables(&rig, UINT32_MAX, d, a, u));
	ck_assert(!enables(&rig, UINT32_C(0x80000000), d, a, u));

	ck_assert(!enables(&rig, 8, d + 8, a, u));
	ck_assert(enables(&rig, 8, d + 16, a + 2, u + 4));
	ck_assert(!enables(&rig, 8, d, a + 1, u));
	ck_assert(!enables(&rig, 8, d, a, u + 2));

	/* Outside, and the last byte outside. */
	ck_assert(!enables(&rig, 8, 0, a, u));
	ck_assert(!enables(&rig, 8, d, 0x1000, u));
	ck_assert(!enables(&rig, 8, d, a, end));
	ck_assert(enables(&rig, 8, end - 128, a, u));
	ck_assert(!enables(&rig, 8, end - 112, a, u));
	ck_assert(enables(&rig, 8, d, end - 22, u));
	ck_assert(!enables(&rig, 8, d, end - 20, u));
	ck_assert(enables(&rig, 8, d, a, end - 72));
	ck_assert(!enables(&rig, 8, d, a, end - 68));
	/* Across two banks; around the end of the address space. */
	ck_assert(!enables(&rig, 8, DRV_RAM + DRV_BANK - 64, a, u));
	ck_assert(!enables(&rig, 8, UINT64_MAX - 15, a, u));
	ck_assert(!enables(&rig, 8, d, UINT64_MAX - 1, u));
	ck_assert(!enables(&rig, 8, d, a, UINT64_MAX - 3));
	/* Over each other: 128 bytes of descriptors, 22 available, 70 used. */
	ck_assert(!enables(&rig, 8, d, d, u));
	ck_assert(!enables(&rig, 8, d, d + 126, u));
	ck_assert(enables(&rig, 8, d, d + 128, u));
	ck_assert(!enables(&rig, 8, d, a, d + 124));
	ck_assert(enables(&rig, 8, d, a, d + 128));
	ck_assert(!enables(&rig, 8, d, a, a + 20));
	ck_assert(enables(&rig, 8, d, a, a + 24));
	ck_assert(!enables(&rig, 8, u + 64, a, u));
	virtq_disable(&rig.q);
	stop(&rig);
}
END_TEST

START_TEST(not_enabled)
{
	struct rig rig;

	start(&rig);
	drv_add(&rig.ring, &(struct drv_seg){DATA, 16, 0}, 1);
	virtq_disable(&rig.q);
	ck_assert_ptr_null(take(&rig));
	ck_assert(!rig.q.broken);
	stop(&rig);
}
END_TEST

/* --- chains -------------------------------------------------------------------- */

START_TEST(chain_of_all_kinds)
{
	const struct drv_seg segs[] = {
		{DATA, 16, 0},
		{DATA + 0x100, 3, 0},
		{DATA + 0x200, 0, 0},
		{DATA + 0x300, 100, DRV_WRITE},
		{DATA + 0x400, 0, DRV_WRITE},
		{DATA + 0x501, 1, DRV_WRITE},
	};
	struct virtq_request *req;
	struct rig rig;
	uint32_t id, len;
	uint16_t head;

	start(&rig);
	head = drv_add(&rig.ring, segs, 6);
	req = take(&rig);
	ck_assert_ptr_nonnull(req);
	ck_assert_uint_eq(req->readable, 19);
	ck_assert_uint_eq(req->writable, 101);
	ck_assert_uint_eq(req->nr_readable, 2);
	ck_assert_uint_eq(req->nr_writable, 2);
	ck_assert_ptr_eq(req->iov[0].iov_base, drv_ptr(&rig.mem, DATA, 16));
	ck_assert_ptr_eq(req->iov[3].iov_base, drv_ptr(&rig.mem, DATA + 0x501, 1));
	finish(&rig, req);
	ck_assert(drv_get_used(&rig.ring, &id, &len));
	ck_assert_uint_eq(id, head);
	ck_assert_uint_eq(len, 0);
	ck_assert_ptr_null(take(&rig));
	ck_assert(!rig.q.broken);
	stop(&rig);
}
END_TEST

START_TEST(longest_chain)
{
	struct drv_seg segs[NUM];
	struct virtq_request *req;
	struct rig rig;
	unsigned int i;

	start(&rig);
	for (i = 0; i < NUM; i++)
		segs[i] = (struct drv_seg){DATA + i * 0x1000, 0x1000, i < 3 ? 0 : DRV_WRITE};
	drv_add(&rig.ring, segs, NUM);
	req = take(&rig);
	ck_assert_ptr_nonnull(req);
	ck_assert_uint_eq(req->nr_readable + req->nr_writable, NUM);
	finish(&rig, req);
	stop(&rig);
}
END_TEST

START_TEST(chain_of_zero_bytes)
{
	struct virtq_request *req;
	struct rig rig;

	start(&rig);
	/* An address nobody looks at. */
	drv_add(&rig.ring, &(struct drv_seg){UINT64_MAX, 0, 0}, 1);
	req = take(&rig);
	ck_assert_ptr_nonnull(req);
	ck_assert_uint_eq(req->readable + req->writable, 0);
	finish(&rig, req);
	stop(&rig);
}
END_TEST

START_TEST(loop_of_one)
{
	struct rig rig;

	start(&rig);
	drv_desc(&rig.ring, 0, DATA, 1, DRV_NEXT, 0);
	drv_offer(&rig.ring, 0);
	expect_broken(&rig, "longer than the queue");
}
END_TEST

START_TEST(loop_of_all)
{
	struct rig rig;
	uint16_t i;

	start(&rig);
	for (i = 0; i < NUM; i++)
		drv_desc(&rig.ring, i, DATA, 0, DRV_NEXT, (i + 1) % NUM);
	drv_offer(&rig.ring, 3);
	expect_broken(&rig, "longer than the queue");
}
END_TEST

START_TEST(head_beyond)
{
	struct rig rig;

	start(&rig);
	drv_offer(&rig.ring, NUM);
	expect_broken(&rig, "head");
	start(&rig);
	drv_offer(&rig.ring, 65535);
	expect_broken(&rig, "head");
}
END_TEST

START_TEST(next_beyond)
{
	struct rig rig;

	start(&rig);
	drv_desc(&rig.ring, 0, DATA, 1, DRV_NEXT, NUM);
	drv_offer(&rig.ring, 0);
	expect_broken(&rig, "next");
	/* Where NEXT is clear, nobody looks. */
	start(&rig);
	drv_desc(&rig.ring, 0, DATA, 1, 0, 0xffff);
	drv_offer(&rig.ring, 0);
	finish(&rig, take(&rig));
	stop(&rig);
}
END_TEST

static void one_buffer(gpa_t addr, uint32_t len, uint16_t flags, bool good)
{
	struct rig rig;

	start(&rig);
	drv_add(&rig.ring, &(struct drv_seg){addr, len, flags}, 1);
	if (good) {
		struct virtq_request *req = take(&rig);

		ck_assert_ptr_nonnull(req);
		finish(&rig, req);
		stop(&rig);
	} else {
		expect_broken(&rig, "not inside RAM");
	}
}

START_TEST(buffer_places)
{
	uint16_t f;

	for (f = 0; f <= DRV_WRITE; f += DRV_WRITE) {
		one_buffer(DRV_RAM, (uint32_t)DRV_BANK, f, true);
		one_buffer(DRV_RAM, (uint32_t)DRV_BANK + 1, f, false);
		one_buffer(DRV_RAM + DRV_BANK - 1, 1, f, true);
		one_buffer(DRV_RAM + DRV_BANK - 1, 2, f, false);
		one_buffer(DRV_RAM_END - 1, 1, f, true);
		one_buffer(DRV_RAM_END - 1, 2, f, false);
		one_buffer(DRV_RAM_END, 1, f, false);
		one_buffer(DRV_RAM - 1, 2, f, false);
		one_buffer(0x10000000, 8, f, false);
		one_buffer(UINT64_MAX, 1, f, false);
		one_buffer(UINT64_MAX, 2, f, false);
		one_buffer(DRV_RAM, UINT32_MAX, f, false);
		one_buffer(UINT64_MAX - UINT32_MAX + 1, UINT32_MAX, f, false);
	}
}
END_TEST

/* The first region is a file that must not be written: read from it, or write beside it. */
START_TEST(read_only_file)
{
	const gpa_t file = DRV_RAM / 2;
	const struct drv_seg good[] = {{file + 100, 16, 0}, {DATA, 16, DRV_WRITE}};
	struct virtq_request *req;
	struct rig rig;
	int fd = memfd_create("file", MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(fd, MIB), 0);
	start(&rig);
	ck_assert_ptr_nonnull(memory_add_file(&rig.mem, file, MIB, 4096, fd, true, NULL));
	drv_add(&rig.ring, good, 2);
	req = take(&rig);
	ck_assert_ptr_nonnull(req);
	ck_assert_ptr_eq(req->iov[0].iov_base, drv_ptr(&rig.mem, file + 100, 16));
	ck_assert_ptr_eq(req->iov[1].iov_base, drv_ptr(&rig.mem, DATA, 16));
	finish(&rig, req);
	drv_get_used(&rig.ring, &(uint32_t){0}, &(uint32_t){0});
	drv_add(&rig.ring, &(struct drv_seg){file + MIB - 16, 16, DRV_WRITE}, 1);
	ck_assert_ptr_null(take(&rig));
	ck_assert(rig.q.broken);
	ck_assert_str_eq(rig.q.why, "a buffer to be written is in a read-only file");
	stop(&rig);
	close(fd);
}
END_TEST

START_TEST(readable_after_writable)
{
	const struct drv_seg segs[] = {{DATA, 1, DRV_WRITE}, {DATA, 1, 0}};
	const struct drv_seg empty[] = {{DATA, 1, DRV_WRITE}, {DATA, 0, 0}};
	struct rig rig;

	start(&rig);
	drv_add(&rig.ring, segs, 2);
	expect_broken(&rig, "readable buffer follows");
	start(&rig);
	drv_add(&rig.ring, empty, 2);
	expect_broken(&rig, "readable buffer follows");
}
END_TEST

/* 4 GiB without 4 GiB of RAM: the same buffer over and over. */
START_TEST(sum_of_lengths)
{
	const uint32_t per = (uint32_t)DRV_BANK;
	const unsigned int nr = (unsigned int)(4 * GIB / DRV_BANK);
	struct virtq_layout layout;
	struct virtq_request *req;
	struct rig rig;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		unsigned int n;

		start(&rig);
		virtq_disable(&rig.q);
		virtq_destroy(&rig.q);
		ck_assert_int_eq(virtq_init(&rig.q, &rig.mem, 2048, 0), 0);
		drv_ring_init(&rig.ring, &rig.mem, 2048, DRV_RAM + 0x10000);
		layout = layout_of(&rig.ring);
		ck_assert_int_eq(virtq_enable(&rig.q, &layout, VIRTQ_INDIRECT, NULL), 0);
		for (n = 0; n < nr; n++)
			drv_desc(&rig.ring, n, DRV_RAM, n + 1 < nr ? per : per - 1 + i,
				 (n + 1 < nr ? DRV_NEXT : 0) | (n > 9 ? DRV_WRITE : 0),
				 (uint16_t)(n + 1));
		drv_offer(&rig.ring, 0);
		if (i) {
			expect_broken(&rig, "4 GiB");
			continue;
		}
		req = take(&rig);
		ck_assert_ptr_nonnull(req);
		ck_assert_uint_eq((uint64_t)req->readable + req->writable, 4 * GIB - 1);
		finish(&rig, req);
		stop(&rig);
	}
}
END_TEST

/* --- indirect tables --------------------------------------------------------------- */

#define TABLE (DRV_RAM + 2 * MIB)

static void offer_table(struct rig *rig, gpa_t at, uint32_t len, uint16_t more)
{
	drv_desc(&rig->ring, 0, at, len, DRV_INDIRECT | more, 1);
	drv_offer(&rig->ring, 0);
}

START_TEST(indirect)
{
	struct virtq_request *req;
	struct rig rig;
	gpa_t at;

	/* WRITE on the reference says nothing; the table may lie anywhere. */
	for (at = TABLE; at < TABLE + 16; at++) {
		start(&rig);
		drv_desc_at(&rig.mem, at, 0, DATA, 10, DRV_NEXT, 2);
		drv_desc_at(&rig.mem, at, 2, DATA + 64, 20, DRV_NEXT | DRV_WRITE, 1);
		drv_desc_at(&rig.mem, at, 1, DATA + 128, 30, DRV_WRITE, 9);
		offer_table(&rig, at, 48, at & 1 ? DRV_WRITE : 0);
		req = take(&rig);
		ck_assert_ptr_nonnull(req);
		ck_assert_uint_eq(req->readable, 10);
		ck_assert_uint_eq(req->writable, 50);
		finish(&rig, req);
		stop(&rig);
	}
}
END_TEST

START_TEST(indirect_after_direct)
{
	struct virtq_request *req;
	struct rig rig;

	start(&rig);
	drv_desc_at(&rig.mem, TABLE, 0, DATA + 64, 20, DRV_WRITE, 0);
	drv_desc(&rig.ring, 0, DATA, 1, DRV_NEXT, 5);
	drv_desc(&rig.ring, 5, DATA, 2, DRV_NEXT, 2);
	drv_desc(&rig.ring, 2, TABLE, 16, DRV_INDIRECT, 0);
	drv_offer(&rig.ring, 0);
	req = take(&rig);
	ck_assert_ptr_nonnull(req);
	ck_assert_uint_eq(req->readable, 3);
	ck_assert_uint_eq(req->writable, 20);
	finish(&rig, req);
	stop(&rig);
}
END_TEST

START_TEST(indirect_not_negotiated)
{
	struct rig rig;

	start_num(&rig, NUM, false, false);
	drv_desc_at(&rig.mem, TABLE, 0, DATA, 20, 0, 0);
	offer_table(&rig, TABLE, 16, 0);
	expect_broken(&rig, "not negotiated");
}
END_TEST

START_TEST(indirect_with_next)
{
	struct rig rig;

	start(&rig);
	offer_table(&rig, TABLE, 16, DRV_NEXT);
	expect_broken(&rig, "has a next");
}
END_TEST

START_TEST(indirect_inside_indirect)
{
	struct rig rig;

	start(&rig);
	drv_desc_at(&rig.mem, TABLE, 0, TABLE, 16, DRV_INDIRECT, 0);
	offer_table(&rig, TABLE, 16, 0);
	expect_broken(&rig, "inside an indirect table");
}
END_TEST

START_TEST(indirect_lengths)
{
	static const uint32_t bad[] = {0, 1, 15, 17, 24, UINT32_C(65537) * 16, UINT32_MAX - 15};
	struct rig rig;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		start(&rig);
		offer_table(&rig, TABLE, bad[i], 0);
		expect_broken(&rig, "bad length");
	}
	start(&rig);
	offer_table(&rig, DRV_RAM, 65536 * 16, 0);
	finish(&rig, take(&rig));
	stop(&rig);
}
END_TEST

START_TEST(indirect_places)
{
	static const gpa_t bad[] = {0, DRV_RAM_END - 16, DRV_RAM + DRV_BANK - 16, UINT64_MAX - 31,
				    UINT64_MAX - 15};
	struct rig rig;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		start(&rig);
		offer_table(&rig, bad[i], 32, 0);
		expect_broken(&rig, "not inside RAM");
	}
}
END_TEST

START_TEST(indirect_next_beyond_and_loop)
{
	struct rig rig;

	start(&rig);
	drv_desc_at(&rig.mem, TABLE, 0, DATA, 1, DRV_NEXT, 2);
	offer_table(&rig, TABLE, 32, 0);
	expect_broken(&rig, "next");
	start(&rig);
	drv_desc_at(&rig.mem, TABLE, 0, DATA, 1, DRV_NEXT, 1);
	drv_desc_at(&rig.mem, TABLE, 1, DATA, 1, DRV_NEXT, 0);
	offer_table(&rig, TABLE, 32, 0);
	expect_broken(&rig, "longer than the queue");
}
END_TEST

START_TEST(indirect_chain_longer_than_queue)
{
	struct rig rig;
	uint16_t i, n;

	for (n = NUM; n <= NUM + 1; n++) {
		start(&rig);
		for (i = 0; i < n; i++)
			drv_desc_at(&rig.mem, TABLE, i, DATA, 1, i + 1 < n ? DRV_NEXT : 0, i + 1);
		offer_table(&rig, TABLE, 16U * n, 0);
		if (n > NUM) {
			expect_broken(&rig, "longer than the queue");
		} else {
			finish(&rig, take(&rig));
			stop(&rig);
		}
	}
}
END_TEST

/* --- indexes --------------------------------------------------------------------------- */

START_TEST(avail_jumps)
{
	struct rig rig;

	start(&rig);
	drv_set_avail_idx(&rig.ring, NUM + 1);
	expect_broken(&rig, "ran ahead");
	/* Backwards is far ahead. */
	start(&rig);
	drv_set_avail_idx(&rig.ring, 0xffff);
	expect_broken(&rig, "ran ahead");
}
END_TEST

START_TEST(same_head_twice)
{
	struct virtq_request *req;
	struct rig rig;

	start(&rig);
	drv_desc(&rig.ring, 2, DATA, 1, 0, 0);
	drv_offer(&rig.ring, 2);
	drv_offer(&rig.ring, 2);
	virtq_begin(&rig.q);
	req = virtq_pop(&rig.q);
	ck_assert_ptr_nonnull(req);
	ck_assert_ptr_null(virtq_pop(&rig.q));
	ck_assert(rig.q.broken);
	ck_assert_ptr_nonnull(strstr(rig.q.why, "in flight"));
	/* What is under way ends without a trace in the ring. */
	virtq_push(&rig.q, req);
	ck_assert_uint_eq(drv_used_idx(&rig.ring), 0);
	stop(&rig);
}
END_TEST

START_TEST(same_head_again_after_used)
{
	struct rig rig;
	unsigned int i;

	start(&rig);
	drv_desc(&rig.ring, 2, DATA, 1, 0, 0);
	for (i = 0; i < 3 * NUM; i++) {
		drv_offer(&rig.ring, 2);
		finish(&rig, take(&rig));
	}
	ck_assert(!rig.q.broken);
	stop(&rig);
}
END_TEST

START_TEST(one_pass_takes_no_more_than_the_queue)
{
	struct virtq_request *req;
	unsigned int taken = 0;
	struct rig rig;

	start(&rig);
	drv_desc(&rig.ring, 0, DATA, 1, 0, 0);
	drv_offer(&rig.ring, 0);
	virtq_begin(&rig.q);
	/* The driver adds one whenever one is taken. */
	while ((req = virtq_pop(&rig.q))) {
		taken++;
		finish(&rig, req);
		drv_offer(&rig.ring, 0);
	}
	ck_assert_uint_eq(taken, NUM);
	ck_assert(virtq_more(&rig.q));
	/* Silent still, since we come back. */
	ck_assert_uint_eq(drv_used_flags(&rig.ring), 1);
	finish(&rig, take(&rig));
	ck_assert_ptr_null(virtq_pop(&rig.q));
	ck_assert(!virtq_more(&rig.q));
	ck_assert_uint_eq(drv_used_flags(&rig.ring), 0);
	stop(&rig);
}
END_TEST

/* All heads in flight: what more could be offered is one of them. */
START_TEST(no_more_in_flight_than_entries)
{
	struct virtq_request *reqs[NUM];
	struct rig rig;
	uint16_t i;

	start(&rig);
	for (i = 0; i < NUM; i++) {
		drv_desc(&rig.ring, i, DATA, 1, 0, 0);
		drv_offer(&rig.ring, i);
	}
	virtq_begin(&rig.q);
	for (i = 0; i < NUM; i++)
		ck_assert_ptr_nonnull(reqs[i] = virtq_pop(&rig.q));
	drv_offer(&rig.ring, 0);
	ck_assert_ptr_null(take(&rig));
	ck_assert(rig.q.broken);
	for (i = 0; i < NUM; i++)
		virtq_push(&rig.q, reqs[i]);
	stop(&rig);
}
END_TEST

/* What the guest scribbles where only we write changes nothing. */
START_TEST(scribbled_used_ring)
{
	struct rig rig;
	uint32_t id, len;
	unsigned int i;

	start(&rig);
	for (i = 0; i < 3 * NUM; i++) {
		struct virtq_request *req;

		drv_add(&rig.ring, &(struct drv_seg){DATA, 1, 0}, 1);
		req = take(&rig);
		ck_assert_ptr_nonnull(req);
		memset(drv_ptr(&rig.mem, rig.ring.used, 6 + 8 * NUM), 0xa5, 6 + 8 * NUM);
		/* The descriptor too: it was copied. */
		drv_desc(&rig.ring, i % NUM, UINT64_MAX, UINT32_MAX, 0xffff, 0xffff);
		finish(&rig, req);
		ck_assert_uint_eq(drv_used_idx(&rig.ring), i + 1);
		ck_assert(drv_get_used(&rig.ring, &id, &len));
		ck_assert_uint_eq(id, i % NUM);
	}
	ck_assert(!rig.q.broken);
	stop(&rig);
}
END_TEST

START_TEST(out_of_order)
{
	struct virtq_request *a, *b;
	struct rig rig;
	uint32_t id, len;

	start(&rig);
	drv_add(&rig.ring, &(struct drv_seg){DATA, 1, 0}, 1);
	drv_add(&rig.ring, &(struct drv_seg){DATA, 1, DRV_WRITE}, 1);
	virtq_begin(&rig.q);
	a = virtq_pop(&rig.q);
	b = virtq_pop(&rig.q);
	finish(&rig, b);
	finish(&rig, a);
	ck_assert(drv_get_used(&rig.ring, &id, &len));
	ck_assert_uint_eq(id, 1);
	ck_assert(drv_get_used(&rig.ring, &id, &len));
	ck_assert_uint_eq(id, 0);
	stop(&rig);
}
END_TEST

/* Both indexes around 65536, in queues of every size. */
START_TEST(index_wrap)
{
	uint32_t num;

	for (num = 1; num <= MAX; num *= 4) {
		struct rig rig;
		unsigned int i, wrong = 0;
		uint32_t id, len;

		start_num(&rig, num, true, num & 4);
		for (i = 0; i < 70000; i++) {
			uint16_t head = drv_add(&rig.ring, &(struct drv_seg){DATA, 1, 0}, 1);
			struct virtq_request *req = take(&rig);

			if (!req)
				break;
			finish(&rig, req);
			wrong += !drv_get_used(&rig.ring, &id, &len) || id != head;
		}
		ck_assert_uint_eq(i, 70000);
		ck_assert_uint_eq(wrong, 0);
		ck_assert_uint_eq(drv_used_idx(&rig.ring), 70000 - 65536);
		stop(&rig);
	}
}
END_TEST

/* --- notification ------------------------------------------------------------------------- */

static void use(struct rig *rig, unsigned int n)
{
	while (n--) {
		drv_add(&rig->ring, &(struct drv_seg){DATA, 1, 0}, 1);
		finish(rig, take(rig));
	}
}

START_TEST(signal_by_flags)
{
	struct rig rig;

	start(&rig);
	ck_assert(!virtq_should_signal(&rig.q));
	use(&rig, 1);
	ck_assert(virtq_should_signal(&rig.q));
	ck_assert(!virtq_should_signal(&rig.q));
	drv_set_avail_flags(&rig.ring, 1);
	use(&rig, 3);
	ck_assert(!virtq_should_signal(&rig.q));
	drv_set_avail_flags(&rig.ring, 0);
	ck_assert(!virtq_should_signal(&rig.q));
	/* used_event means nothing here. */
	drv_set_used_event(&rig.ring, 1000);
	use(&rig, 1);
	ck_assert(virtq_should_signal(&rig.q));
	stop(&rig);
}
END_TEST

START_TEST(signal_by_event)
{
	struct rig rig;

	start_num(&rig, NUM, true, true);
	/* Event 0: after the first. The flag means nothing here. */
	drv_set_avail_flags(&rig.ring, 1);
	use(&rig, 1);
	ck_assert(virtq_should_signal(&rig.q));
	/* Not again before 65536. */
	use(&rig, 1);
	ck_assert(!virtq_should_signal(&rig.q));
	/* Index 4 is the fifth. */
	drv_set_used_event(&rig.ring, 4);
	use(&rig, 2);
	ck_assert(!virtq_should_signal(&rig.q));
	use(&rig, 1);
	ck_assert(virtq_should_signal(&rig.q));
	/* In the middle of a batch. */
	drv_set_used_event(&rig.ring, 7);
	use(&rig, 6);
	ck_assert(virtq_should_signal(&rig.q));
	/* Gone by. */
	use(&rig, 1);
	ck_assert(!virtq_should_signal(&rig.q));
	stop(&rig);
}
END_TEST

/* For every place of event and batch around the wrap: what counting says. */
START_TEST(signal_event_wrap)
{
	struct rig rig;
	unsigned int batch;
	int offset;

	start_num(&rig, NUM, true, true);
	drv_set_used_event(&rig.ring, 0x8000);
	use(&rig, 65530);
	virtq_should_signal(&rig.q);
	for (batch = 1; batch <= NUM; batch++) {
		for (offset = -3; offset < 12; offset++) {
			uint16_t from = rig.q.used_idx;
			bool want = offset >= 0 && offset < (int)batch;

			drv_set_used_event(&rig.ring, (uint16_t)(from + offset));
			use(&rig, batch);
			ck_assert_int_eq(virtq_should_signal(&rig.q), want);
		}
	}
	stop(&rig);
}
END_TEST

START_TEST(notify_by_flags)
{
	struct rig rig;
	struct virtq_request *req;

	start(&rig);
	drv_add(&rig.ring, &(struct drv_seg){DATA, 1, 0}, 1);
	req = take(&rig);
	ck_assert_uint_eq(drv_used_flags(&rig.ring), 1);
	finish(&rig, req);
	ck_assert_ptr_null(virtq_pop(&rig.q));
	ck_assert_uint_eq(drv_used_flags(&rig.ring), 0);
	ck_assert_uint_eq(drv_avail_event(&rig.ring), 0);
	stop(&rig);
}
END_TEST

START_TEST(notify_by_event)
{
	struct rig rig;
	unsigned int i, wrong = 0;

	start_num(&rig, NUM, true, true);
	for (i = 1; i < 70000; i++) {
		struct virtq_request *req;

		drv_add(&rig.ring, &(struct drv_seg){DATA, 1, 0}, 1);
		req = take(&rig);
		if (!req)
			break;
		wrong += drv_used_flags(&rig.ring) != 0;
		/* At work: the place stays behind. */
		wrong += drv_avail_event(&rig.ring) != (uint16_t)(i - 1);
		finish(&rig, req);
		wrong += virtq_pop(&rig.q) != NULL;
		wrong += drv_avail_event(&rig.ring) != (uint16_t)i;
	}
	ck_assert_uint_eq(i, 70000);
	ck_assert_uint_eq(wrong, 0);
	stop(&rig);
}
END_TEST

/* --- cursors --------------------------------------------------------------------------------- */

/* Random cuts of one byte string, read and written in other random cuts. */
START_TEST(cursors_against_a_flat_copy)
{
	struct prng p = prng_start("cursors");
	static uint8_t flat[2000], out[2000], back[2000];
	unsigned int round;

	for (round = 0; round < 500; round++) {
		struct drv_seg segs[64];
		unsigned int nr = 0, i;
		uint32_t rlen = prng_below(&p, 1000), wlen = prng_below(&p, 1000), pos;
		gpa_t at = DATA;
		struct virtq_request *req;
		struct virtq_cursor c;
		struct rig rig;
		uint32_t id, len;

		start_num(&rig, 64, true, false);
		for (i = 0; i < rlen + wlen; i++)
			flat[i] = (uint8_t)prng_u64(&p);
		for (pos = 0; pos < rlen + wlen && nr < 62;) {
			uint32_t n = prng_below(&p, 80), end = pos < rlen ? rlen : rlen + wlen;

			n = (uint32_t)min_u64(nr == 30 || nr == 61 ? end : n, end - pos);
			if (pos < rlen)
				memcpy(drv_ptr(&rig.mem, at, n), flat + pos, n);
			segs[nr++] = (struct drv_seg){at, n, pos < rlen ? 0 : DRV_WRITE};
			at += n + prng_below(&p, 10);
			pos += n;
		}
		/* Too many cuts: the writable part is what was offered. */
		wlen = pos > rlen ? pos - rlen : 0;
		rlen = pos < rlen ? pos : rlen;
		if (!nr)
			segs[nr++] = (struct drv_seg){at, 0, 0};
		drv_add(&rig.ring, segs, nr);
		req = take(&rig);
		ck_assert_ptr_nonnull(req);
		ck_assert_uint_eq(req->readable, rlen);
		ck_assert_uint_eq(req->writable, wlen);

		c = virtq_reader(req);
		for (pos = 0; c.left;) {
			size_t n = prng_below(&p, 100);

			if (prng_below(&p, 4) == 0) {
				struct iovec iov[3];
				size_t mapped, k, seen = 0;
				unsigned int got = virtq_map(&c, n, iov, 3, &mapped);

				ck_assert_uint_le(mapped, n);
				for (k = 0; k < got; k++) {
					ck_assert_int_eq(memcmp(iov[k].iov_base, flat + pos + seen,
								iov[k].iov_len),
							 0);
					seen += iov[k].iov_len;
				}
				ck_assert_uint_eq(seen, mapped);
				virtq_skip(&c, mapped);
				pos += (uint32_t)mapped;
				continue;
			}
			n = virtq_read(&c, out, n);
			ck_assert_int_eq(memcmp(out, flat + pos, n), 0);
			pos += (uint32_t)n;
			ck_assert_uint_eq(c.pos, pos);
		}
		ck_assert_uint_eq(pos, rlen);
		ck_assert_uint_eq(virtq_read(&c, out, 10), 0);

		c = virtq_writer(req);
		for (pos = 0; c.left; pos = c.pos)
			virtq_write(&c, flat + pos, prng_below(&p, 100));
		ck_assert_uint_eq(virtq_write(&c, flat, 10), 0);
		virtq_skip(&c, 10);
		virtq_filled(&c, 10);
		ck_assert_uint_eq(req->filled, wlen);
		for (i = 0, pos = 0; i < nr; i++) {
			if (!segs[i].flags)
				continue;
			memcpy(back + pos, drv_ptr(&rig.mem, segs[i].addr, segs[i].len),
			       segs[i].len);
			pos += segs[i].len;
		}
		ck_assert_int_eq(memcmp(back, flat, wlen), 0);
		finish(&rig, req);
		ck_assert(drv_get_used(&rig.ring, &id, &len));
		ck_assert_uint_eq(len, wlen);
		stop(&rig);
	}
}
END_TEST

/* The used length is what was written without a gap from the start. */
START_TEST(used_length)
{
	const struct drv_seg segs[] = {{DATA, 10, DRV_WRITE}, {DATA + 64, 10, DRV_WRITE}};
	struct virtq_request *req;
	struct virtq_cursor c;
	struct rig rig;
	uint32_t id, len;

	start(&rig);
	drv_add(&rig.ring, segs, 2);
	req = take(&rig);
	c = virtq_writer(req);
	virtq_skip(&c, 19);
	virtq_write(&c, "x", 1);
	ck_assert_uint_eq(req->filled, 0);
	c = virtq_writer(req);
	virtq_filled(&c, 12);
	ck_assert_uint_eq(req->filled, 12);
	/* Twice the same counts once; over the edge counts on. */
	c = virtq_writer(req);
	virtq_skip(&c, 11);
	virtq_write(&c, "abc", 3);
	ck_assert_uint_eq(req->filled, 14);
	c = virtq_writer(req);
	virtq_write(&c, "a", 1);
	ck_assert_uint_eq(req->filled, 14);
	finish(&rig, req);
	ck_assert(drv_get_used(&rig.ring, &id, &len));
	ck_assert_uint_eq(len, 14);
	stop(&rig);
}
END_TEST

static bool dirty(struct rig *rig, gpa_t at)
{
	const struct memory_region *r = memory_find(&rig->mem, at, 1);
	uint64_t page = (at - r->gpa) >> 12;

	return r->dirty[page / 64] >> (page % 64) & 1;
}

START_TEST(dirty_pages)
{
	const struct drv_seg segs[] = {
		{DATA, 100, 0}, {DATA + 0x1000, 0x2000, DRV_WRITE}, {DATA + 0x8000, 10, DRV_WRITE}};
	struct virtq_request *req;
	struct virtq_cursor c;
	struct rig rig;

	start(&rig);
	ck_assert_int_eq(memory_log_dirty(&rig.mem, true), 0);
	drv_add(&rig.ring, segs, 3);
	req = take(&rig);
	ck_assert(!dirty(&rig, DATA + 0x1000));
	c = virtq_writer(req);
	virtq_filled(&c, 0x1000);
	ck_assert(dirty(&rig, DATA + 0x1000));
	ck_assert(!dirty(&rig, DATA + 0x2000));
	virtq_skip(&c, 0x1000);
	virtq_write(&c, "x", 1);
	ck_assert(!dirty(&rig, DATA + 0x2000));
	ck_assert(dirty(&rig, DATA + 0x8000));
	ck_assert(!dirty(&rig, DATA));
	ck_assert_int_eq(memory_log_dirty(&rig.mem, true), 0);
	finish(&rig, req);
	ck_assert(dirty(&rig, rig.ring.used));
	stop(&rig);
}
END_TEST

/* --- put back ------------------------------------------------------------------ */

START_TEST(put_back)
{
	struct virtq_request *req;
	struct xfer x;
	struct rig rig;

	start(&rig);
	drv_add(&rig.ring, &(struct drv_seg){DATA, 5, 0}, 1);
	drv_add(&rig.ring, &(struct drv_seg){DATA, 6, 0}, 1);
	req = take(&rig);
	ck_assert_uint_eq(req->done, 0);
	virtq_put_back(&rig.q, req, 3, false);
	ck_assert(!virtq_more(&rig.q));
	ck_assert_uint_eq(drv_used_idx(&rig.ring), 0);
	ck_assert_uint_eq(rig.q.inflight, 0);
	/* It can be saved now; what is done moves too. */
	xfer_save_init(&x);
	virtq_transfer_indexes(&x, &rig.q);
	ck_assert_int_eq(xfer_done(&x, NULL), 0);
	xfer_free(&x);
	/* The same one, and not the next; the mark belongs to it alone. */
	req = take(&rig);
	ck_assert_uint_eq(req->readable, 5);
	ck_assert_uint_eq(req->done, 3);
	virtq_put_back(&rig.q, req, 4, true);
	ck_assert(virtq_more(&rig.q));
	req = take(&rig);
	ck_assert_uint_eq(req->done, 4);
	finish(&rig, req);
	req = take(&rig);
	ck_assert_uint_eq(req->readable, 6);
	ck_assert_uint_eq(req->done, 0);
	virtq_put_back(&rig.q, req, 2, false);
	/* The driver may take it away meanwhile, and forgets it with the queue. */
	virtq_disable(&rig.q);
	drv_ring_init(&rig.ring, &rig.mem, NUM, DRV_RAM + 0x1000);
	ck_assert_int_eq(virtq_enable(&rig.q,
				      &(struct virtq_layout){NUM, rig.ring.desc, rig.ring.avail,
							     rig.ring.used},
				      VIRTQ_INDIRECT, NULL),
			 0);
	drv_add(&rig.ring, &(struct drv_seg){DATA, 7, 0}, 1);
	req = take(&rig);
	ck_assert_uint_eq(req->done, 0);
	/* Into a broken queue nothing goes back. */
	virtq_break(&rig.q, "test");
	virtq_put_back(&rig.q, req, 1, true);
	ck_assert(!virtq_more(&rig.q));
	ck_assert_uint_eq(rig.q.inflight, 0);
	stop(&rig);
}
END_TEST

/* --- save and load ------------------------------------------------------------------------------
 */

START_TEST(transfer_in_flight_fails)
{
	struct virtq_request *req;
	struct xfer x;
	struct rig rig;

	start(&rig);
	drv_add(&rig.ring, &(struct drv_seg){DATA, 1, 0}, 1);
	req = take(&rig);
	xfer_save_init(&x);
	virtq_transfer_indexes(&x, &rig.q);
	ck_assert_int_ne(xfer_done(&x, NULL), 0);
	xfer_free(&x);
	finish(&rig, req);
	xfer_save_init(&x);
	virtq_transfer_indexes(&x, &rig.q);
	ck_assert_int_eq(xfer_done(&x, NULL), 0);
	xfer_free(&x);
	stop(&rig);
}
END_TEST

/* --- two threads
 * ------------------------------------------------------------------------------------ */

#define HANDOVERS 2000

struct handover {
	struct rig rig;
	bool event_idx;
	uint64_t end; /* give up then: a notification was lost */
	atomic_bool kick, done;
	atomic_uint seen; /* available index that was looked at */
};

/* By 2.7.10: a driver notifies only where the device asks for it. */
static bool wants_notification(struct handover *h, uint16_t before)
{
	struct drv_ring *ring = &h->rig.ring;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!h->event_idx)
		return !drv_used_flags(ring);
	return (uint16_t)(drv_avail_event(ring) - before) < (uint16_t)(ring->avail_idx - before);
}

/* The driver: keeps the ring full of counted requests and looks at the answers. */
static void *drive(void *arg)
{
	struct handover *h = arg;
	struct drv_ring *ring = &h->rig.ring;
	uint32_t sent = 0, seen = 0, id, len;

	while (seen < HANDOVERS && now_ns() < h->end) {
		uint16_t before = ring->avail_idx;

		while (sent < HANDOVERS && sent - seen < NUM / 2) {
			gpa_t at = DATA + 64 * (uint64_t)(sent % (NUM / 2));
			const struct drv_seg segs[] = {{at, 4, 0}, {at + 8, 4, DRV_WRITE}};

			memcpy(drv_ptr(&h->rig.mem, at, 4), &sent, 4);
			drv_add(ring, segs, 2);
			sent++;
		}
		if (ring->avail_idx != before && wants_notification(h, before))
			atomic_store(&h->kick, true);
		if (drv_get_used(ring, &id, &len)) {
			uint32_t answer;

			memcpy(&answer,
			       drv_ptr(&h->rig.mem, DATA + 64 * (uint64_t)(seen % (NUM / 2)) + 8,
				       4),
			       4);
			if (answer != ~seen || len != 4)
				break;
			seen++;
		} else {
			sched_yield();
		}
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
	start_num(&h.rig, NUM, true, _i);
	h.event_idx = _i;
	h.end = now_ns() + 60 * NSEC_PER_SEC;
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
			finish(&h.rig, req);
		}
		virtq_should_signal(&h.rig.q);
	}
	pthread_join(thread, &seen);
	ck_assert_uint_eq((uintptr_t)seen, HANDOVERS);
	ck_assert(!h.rig.q.broken);
	stop(&h.rig);
}
END_TEST

/* A hart that rewrites descriptors and indexes while they are looked at. */
static void *scribble(void *arg)
{
	struct handover *h = arg;
	struct prng p = {42};

	while (!atomic_load(&h->done)) {
		unsigned int i = prng_below(&p, NUM);
		gpa_t addr = DRV_RAM + DRV_BANK - 32 + prng_below(&p, 64);

		drv_desc(&h->rig.ring, i, addr, prng_below(&p, 64), (uint16_t)prng_below(&p, 8),
			 (uint16_t)prng_below(&p, NUM + 1));
		if ((uint16_t)(h->rig.ring.avail_idx - atomic_load(&h->seen)) < NUM / 2)
			drv_offer(&h->rig.ring, (uint16_t)i);
	}
	return NULL;
}

START_TEST(descriptors_change_under_us)
{
	uint64_t end = now_ns() + 100 * NSEC_PER_SEC;
	unsigned int taken = 0, wrong = 0;
	struct virtq_layout layout;
	struct virtq_request *req;
	struct handover h;
	pthread_t thread;

	memset(&h, 0, sizeof(h));
	start(&h.rig);
	layout = layout_of(&h.rig.ring);
	ck_assert_int_eq(pthread_create(&thread, NULL, scribble, &h), 0);
	while (taken < 50 && now_ns() < end) {
		virtq_begin(&h.rig.q);
		req = virtq_pop(&h.rig.q);
		if (req) {
			unsigned int i;
			uint64_t sum = 0;

			taken++;
			for (i = 0; i < req->nr_readable + req->nr_writable; i++) {
				/* Each lies in one bank, whatever the descriptor says now. */
				wrong += !memory_find(&h.rig.mem, virtq_gpa(req, i),
						      req->iov[i].iov_len);
				sum += req->iov[i].iov_len;
			}
			wrong += sum != (uint64_t)req->readable + req->writable;
			finish(&h.rig, req);
		}
		if (h.rig.q.broken) {
			virtq_disable(&h.rig.q);
			wrong += virtq_enable(&h.rig.q, &layout, VIRTQ_INDIRECT, NULL) != 0;
			/* Where the other hart is now. */
			h.rig.q.last_avail = drv_avail_idx(&h.rig.ring);
		}
		atomic_store(&h.seen, h.rig.q.last_avail);
		if (!req)
			sched_yield();
	}
	atomic_store(&h.done, true);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(wrong, 0);
	ck_assert_uint_eq(taken, 50);
	virtq_disable(&h.rig.q);
	stop(&h.rig);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio-queue");
	TCase *t = tcase_create("rules");

	tcase_add_test(t, init_refuses);
	tcase_add_test(t, geometry);
	tcase_add_test(t, not_enabled);
	tcase_add_test(t, chain_of_all_kinds);
	tcase_add_test(t, longest_chain);
	tcase_add_test(t, chain_of_zero_bytes);
	tcase_add_test(t, loop_of_one);
	tcase_add_test(t, loop_of_all);
	tcase_add_test(t, head_beyond);
	tcase_add_test(t, next_beyond);
	tcase_add_test(t, buffer_places);
	tcase_add_test(t, read_only_file);
	tcase_add_test(t, readable_after_writable);
	tcase_add_test(t, sum_of_lengths);
	tcase_add_test(t, indirect);
	tcase_add_test(t, indirect_after_direct);
	tcase_add_test(t, indirect_not_negotiated);
	tcase_add_test(t, indirect_with_next);
	tcase_add_test(t, indirect_inside_indirect);
	tcase_add_test(t, indirect_lengths);
	tcase_add_test(t, indirect_places);
	tcase_add_test(t, indirect_next_beyond_and_loop);
	tcase_add_test(t, indirect_chain_longer_than_queue);
	tcase_add_test(t, avail_jumps);
	tcase_add_test(t, same_head_twice);
	tcase_add_test(t, same_head_again_after_used);
	tcase_add_test(t, one_pass_takes_no_more_than_the_queue);
	tcase_add_test(t, no_more_in_flight_than_entries);
	tcase_add_test(t, scribbled_used_ring);
	tcase_add_test(t, out_of_order);
	tcase_add_test(t, index_wrap);
	tcase_add_test(t, signal_by_flags);
	tcase_add_test(t, signal_by_event);
	tcase_add_test(t, signal_event_wrap);
	tcase_add_test(t, notify_by_flags);
	tcase_add_test(t, notify_by_event);
	tcase_add_test(t, cursors_against_a_flat_copy);
	tcase_add_test(t, used_length);
	tcase_add_test(t, dirty_pages);
	tcase_add_test(t, put_back);
	tcase_add_test(t, transfer_in_flight_fails);
	tcase_add_loop_test(t, driver_on_another_thread, 0, 2);
	tcase_add_test(t, descriptors_change_under_us);
	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	return unit_main(s);
}
