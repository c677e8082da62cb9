// SPDX-License-Identifier: GPL-2.0-only
/*
 * The balloon: what goes back to the host, page by page or by larger blocks, and what
 * does not (C15); the statistics' queue (C16); free pages; a user's commands; a host that refuses;
 * save and load in the middle of a list.
 */
#include "unit.h"
#include "virtio_driver.h"

#include "lkvm/virtio/balloon.h"
#include "lkvm/virtio/mmio.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#define NUM 16
#define NR_QUEUES 5
#define DATA (DRV_RAM + MIB)
#define RINGS (DRV_RAM + 0x10000)
#define PAGE 4096
#define PFN(gpa) ((uint32_t)((gpa) >> 12))

/* Where RAM has huge pages: one block of them, and another that it touches. */
#define BLOCK (2 * MIB)
#define BLOCK_PAGES 512
#define FIRST (DRV_RAM + DRV_BANK)
#define SECOND (FIRST + BLOCK)

#define F_TELL UINT64_C(1)
#define F_STATS UINT64_C(2)
#define F_OOM UINT64_C(4)
#define F_POISON UINT64_C(16)
#define F_REPORTING UINT64_C(32)
#define ALL (F_STATS | F_OOM | F_REPORTING)

struct rig {
	struct guest_memory mem;
	struct drv drv;
	struct virtio_balloon *balloon;
	struct virtio_mmio *mmio;
	struct drv_ring ring[NR_QUEUES];
	uint64_t now, deadline;
	unsigned int arms, discards, soons, destroyed;
	uint64_t pages; /* given back, by the host's count */
	int answer;	/* of the host, where not 0 */
};

static int on_discard(void *opaque, gpa_t gpa, uint64_t len)
{
	struct rig *rig = opaque;
	int ret;

	rig->discards++;
	if (rig->answer)
		return rig->answer;
	ret = memory_discard(&rig->mem, gpa, len);
	if (!ret)
		rig->pages += len / PAGE;
	return ret;
}

static uint64_t on_now(void *opaque)
{
	return ((struct rig *)opaque)->now;
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

static const struct virtio_balloon_env env = {
	.discard = on_discard,
	.now = on_now,
	.arm = on_arm,
	.destroy = on_destroy,
};

static void run_soon(void *opaque)
{
	((struct rig *)opaque)->soons++;
}

static const struct virtio_transport_env transport_env = {.run_soon = run_soon};

static void make(struct rig *rig)
{
	rig->balloon = virtio_balloon_create("balloon0", &rig->mem, NULL, &env, rig);
	ck_assert_ptr_nonnull(rig->balloon);
	rig->mmio = virtio_mmio_create(virtio_balloon_device(rig->balloon), drv_line(&rig->drv),
				       &transport_env, rig);
	rig->drv.dev = rig->mmio;
	ck_assert_uint_eq(drv_rd(&rig->drv, R_DEVICE_ID), 5);
}

static void go(struct rig *rig, uint64_t features)
{
	gpa_t at = RINGS;
	unsigned int i;

	ck_assert(drv_start(&rig->drv, features));
	for (i = 0; i < NR_QUEUES; i++) {
		at = drv_ring_init(&rig->ring[i], &rig->mem, NUM, at);
		ck_assert(drv_queue(&rig->drv, i, &rig->ring[i]));
	}
	drv_go(&rig->drv);
}

static void start(struct rig *rig, uint64_t features)
{
	memset(rig, 0, sizeof(*rig));
	rig->now = NSEC_PER_SEC;
	drv_memory(&rig->mem);
	make(rig);
	go(rig, features);
}

static void fill(struct rig *rig, gpa_t at, uint64_t len)
{
	memset(drv_ptr(&rig->mem, at, len), 0x5a, len);
}

static void start_huge(struct rig *rig, uint64_t features)
{
	size_t i;

	start(rig, features);
	for (i = 0; i < rig->mem.nr; i++)
		rig->mem.regions[i].huge = true;
	fill(rig, FIRST, 2 * BLOCK);
}

static void stop(struct rig *rig)
{
	virtio_mmio_device(rig->mmio)->ops->destroy(virtio_mmio_device(rig->mmio));
	memory_destroy(&rig->mem);
}

static unsigned int used(struct rig *rig, unsigned int queue)
{
	uint32_t id, len;
	unsigned int n = 0;

	for (; drv_get_used(&rig->ring[queue], &id, &len); n++)
		ck_assert_uint_eq(len, 0);
	return n;
}

static void send(struct rig *rig, unsigned int queue, const void *bytes, uint32_t len)
{
	memcpy(drv_ptr(&rig->mem, DATA, len), bytes, len);
	drv_add(&rig->ring[queue], &(struct drv_seg){DATA, len, 0}, 1);
	drv_wr(&rig->drv, R_NOTIFY, queue);
}

static void run(struct rig *rig)
{
	while (rig->soons) {
		rig->soons = 0;
		virtio_device_run(virtio_balloon_device(rig->balloon));
	}
}

/* Does the page read as zeroes, or as it was? */
static bool gone(struct rig *rig, gpa_t at)
{
	const uint8_t *p = drv_ptr(&rig->mem, at, PAGE);

	ck_assert(p[0] == p[PAGE - 1] && (!p[0] || p[0] == 0x5a));
	return !p[0];
}

static const char *command(struct rig *rig, const char *words)
{
	struct virtio_device *vdev = virtio_balloon_device(rig->balloon);
	static char reply[512];
	static struct error err;

	reply[0] = '\0';
	return vdev->ops->command(vdev, words, reply, sizeof(reply), &err) ? err.msg : reply;
}

START_TEST(features_and_config)
{
	struct rig rig;

	start(&rig, ALL);
	ck_assert_uint_eq(drv_features(&rig.drv) & 0xff, ALL | F_POISON | F_TELL);
	drv_wr(&rig.drv, R_QUEUE_SEL, NR_QUEUES);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_QUEUE_NUM_MAX), 0);
	/* Only `actual` can be written; by pieces too. */
	drv_wr(&rig.drv, R_CONFIG, 77);
	drv_wr(&rig.drv, R_CONFIG + 4, 0x01020304);
	drv_wr(&rig.drv, R_CONFIG + 8, 77);
	drv_wr(&rig.drv, R_CONFIG + 12, 77);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG), 0);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 4), 0x01020304);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 8), 0);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 12), 0);
	virtio_mmio_ops.write(rig.drv.dev, R_CONFIG + 5, 0xaa, 1);
	virtio_mmio_ops.write(rig.drv.dev, R_CONFIG + 3, 0xbbcc, 2);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 4), 0x0102aabb);
	virtio_mmio_ops.write(rig.drv.dev, R_CONFIG, UINT64_MAX, 8);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG), 0);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 4), UINT32_MAX);
	/* Gone with the reset; the host's wish stays. */
	ck_assert_str_eq(command(&rig, "target 8192"), "");
	drv_wr(&rig.drv, R_STATUS, 0);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG), 2);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 4), 0);
	stop(&rig);
	ck_assert_uint_eq(rig.destroyed, 1);
}
END_TEST

START_TEST(target)
{
	struct rig rig;

	start(&rig, ALL);
	ck_assert_str_eq(command(&rig, "target 1048577"), "");
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG), 257);
	ck_assert_uint_eq(drv_ack(&rig.drv), 2);
	/* Nothing new, no interrupt. */
	ck_assert_str_eq(command(&rig, "target 1048577"), "");
	ck_assert(!rig.drv.level);
	ck_assert_ptr_nonnull(strstr(command(&rig, "target 8388609"), "the guest has only 8M"));
	ck_assert_str_eq(command(&rig, "target 8388608"), "");
	ck_assert_ptr_nonnull(strstr(command(&rig, "target x"), "number"));
	ck_assert_ptr_nonnull(strstr(command(&rig, "target "), "number"));
	ck_assert_ptr_nonnull(strstr(command(&rig, "burst"), "understands"));
	ck_assert_ptr_nonnull(strstr(command(&rig, ""), "understands"));
	/* `actual` is what the driver says, and it may say anything. */
	drv_wr(&rig.drv, R_CONFIG + 4, 512);
	ck_assert_str_eq(command(&rig, "show"),
			 "target 8M, actual 2M, of 8M; the guest says nothing of its memory");
	drv_wr(&rig.drv, R_CONFIG + 4, UINT32_MAX);
	ck_assert_ptr_nonnull(strstr(command(&rig, "show"), "actual 8M"));
	stop(&rig);
}
END_TEST

START_TEST(inflate)
{
	const gpa_t at = DRV_RAM + 2 * MIB;
	/* Up, down, twice, and one by itself. */
	const uint32_t up[] = {PFN(at), PFN(at) + 1, PFN(at) + 2};
	const uint32_t down[] = {PFN(at) + 9, PFN(at) + 8, PFN(at) + 8, PFN(at) + 5};
	const struct drv_seg pieces[] = {{DATA, 1, 0}, {DATA + 1, 2, 0}, {DATA + 3, 1, 0}};
	struct rig rig;
	unsigned int i;

	start(&rig, ALL);
	fill(&rig, at, 16 * PAGE);
	ck_assert_int_eq(memory_log_dirty(&rig.mem, true), 0);
	send(&rig, 0, up, sizeof(up));
	ck_assert_uint_eq(used(&rig, 0), 1);
	ck_assert(rig.drv.level);
	ck_assert_uint_eq(rig.discards, 1);
	send(&rig, 0, down, sizeof(down));
	ck_assert_uint_eq(used(&rig, 0), 1);
	for (i = 0; i < 16; i++)
		ck_assert_msg(gone(&rig, at + i * PAGE) == (i < 3 || i == 5 || i == 8 || i == 9),
			      "page %u", i);
	ck_assert_uint_eq(rig.pages, 7);
	/* What was given back counts as written. */
	i = (unsigned int)(at - DRV_RAM) / PAGE;
	ck_assert(rig.mem.regions[0].dirty[i / 64] >> i % 64 & 1);
	/* A number in pieces. */
	memcpy(drv_ptr(&rig.mem, DATA, 4), &(uint32_t){PFN(at) + 15}, 4);
	drv_add(&rig.ring[0], pieces, 3);
	drv_wr(&rig.drv, R_NOTIFY, 0);
	ck_assert_uint_eq(used(&rig, 0), 1);
	ck_assert(gone(&rig, at + 15 * PAGE));
	/* Taken out again, also what never was in: the guest's to use. */
	send(&rig, 1, down, sizeof(down));
	send(&rig, 1, "x", 1);
	ck_assert_uint_eq(used(&rig, 1), 2);
	fill(&rig, at + 8 * PAGE, PAGE);
	ck_assert(!gone(&rig, at + 8 * PAGE));
	stop(&rig);
}
END_TEST

/* C15 */
START_TEST(pages_that_are_none)
{
	const uint32_t last = PFN(DRV_RAM_END) - 1;
	const uint32_t seam = PFN(DRV_RAM + DRV_BANK);
	const uint32_t wild[] = {0, 1, UINT32_MAX, UINT32_MAX - 1, PFN(DRV_RAM) - 1, last + 1};
	const uint32_t edge[] = {last - 1, last, last + 1, last + 2};
	const uint32_t over[] = {seam - 1, seam};
	struct rig rig;

	start(&rig, ALL);
	send(&rig, 0, wild, sizeof(wild));
	ck_assert_uint_eq(used(&rig, 0), 1);
	ck_assert_uint_eq(rig.pages, 0);
	/* Those beside them that are RAM are taken. */
	send(&rig, 0, edge, sizeof(edge));
	ck_assert_uint_eq(rig.pages, 2);
	send(&rig, 0, over, sizeof(over));
	ck_assert_uint_eq(rig.pages, 4);
	/* No whole number, none at all, and what is no list. */
	send(&rig, 0, edge, 3);
	send(&rig, 0, edge, 0);
	send(&rig, 0, edge, 7);
	ck_assert_uint_eq(rig.pages, 5);
	drv_add(&rig.ring[0], &(struct drv_seg){DATA, 8, DRV_WRITE}, 1);
	drv_wr(&rig.drv, R_NOTIFY, 0);
	ck_assert_uint_eq(used(&rig, 0), 6);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_STATUS) & ST_NEEDS_RESET, 0);
	stop(&rig);
}
END_TEST

/* A list of a quarter of a million numbers is worked through by and by. */
START_TEST(endless_list)
{
	struct drv_seg segs[NUM];
	struct rig rig;
	unsigned int i, passes = 0;
	uint64_t before;

	start(&rig, ALL);
	/* All of RAM is numbers 0: no RAM of ours, so each costs a look. */
	for (i = 0; i < NUM; i++)
		segs[i] = (struct drv_seg){DRV_RAM + DRV_BANK, 64 * 1024, 0};
	drv_add(&rig.ring[0], segs, NUM);
	drv_wr(&rig.drv, R_NOTIFY, 0);
	ck_assert_uint_eq(used(&rig, 0), 0);
	while (rig.soons) {
		rig.soons = 0;
		before = rig.discards;
		virtio_device_run(virtio_balloon_device(rig.balloon));
		ck_assert_uint_le(rig.discards - before, 256);
		passes++;
		/* Other queues are served between the passes. */
		send(&rig, 1, "", 0);
		ck_assert_uint_eq(used(&rig, 1), 1);
	}
	ck_assert_uint_eq(used(&rig, 0), 1);
	ck_assert_uint_eq(passes, NUM * 16 * 4 - 1);
	/* A reset in the middle: the next list starts at its beginning. */
	drv_add(&rig.ring[0], segs, NUM);
	drv_wr(&rig.drv, R_NOTIFY, 0);
	ck_assert_uint_eq(rig.soons, 1);
	go(&rig, ALL);
	run(&rig);
	rig.pages = 0;
	send(&rig, 0, &(uint32_t){PFN(DATA) + 1}, 4);
	ck_assert_uint_eq(rig.pages, 1);
	stop(&rig);
}
END_TEST

START_TEST(host_refuses)
{
	struct rig rig;

	start(&rig, ALL);
	fill(&rig, DATA + 8 * PAGE, PAGE);
	rig.answer = -ENOMEM;
	send(&rig, 0, &(uint32_t){PFN(DATA) + 8}, 4);
	ck_assert_uint_eq(used(&rig, 0), 1);
	drv_add(&rig.ring[4], &(struct drv_seg){DATA + 8 * PAGE, PAGE, DRV_WRITE}, 1);
	drv_wr(&rig.drv, R_NOTIFY, 4);
	ck_assert_uint_eq(used(&rig, 4), 1);
	ck_assert(!gone(&rig, DATA + 8 * PAGE));
	ck_assert_uint_eq(rig.discards, 2);
	stop(&rig);
}
END_TEST

/* --- by larger blocks --------------------------------------------------------- */

/* A list of @nr pages from @at on, worked through to its end. */
static void list(struct rig *rig, unsigned int queue, gpa_t at, unsigned int nr)
{
	uint32_t pages[2 * BLOCK_PAGES];
	unsigned int i;

	for (i = 0; i < nr; i++)
		pages[i] = PFN(at) + i;
	send(rig, queue, pages, nr * 4);
	run(rig);
	ck_assert_uint_eq(used(rig, queue), 1);
}

static unsigned int gone_of(struct rig *rig, gpa_t at, unsigned int nr)
{
	unsigned int i, n = 0;

	for (i = 0; i < nr; i++)
		n += gone(rig, at + i * PAGE);
	return n;
}

START_TEST(blocks)
{
	struct rig rig;

	start_huge(&rig, ALL | F_TELL);
	/* All but one, some of them twice: nothing to give back yet. */
	list(&rig, 0, FIRST, 300);
	list(&rig, 0, FIRST + 200 * PAGE, 311);
	list(&rig, 0, SECOND, 1);
	ck_assert_uint_eq(rig.discards, 0);
	ck_assert_uint_eq(gone_of(&rig, FIRST, 2 * BLOCK_PAGES), 0);
	/* The last one: all of them, at once. */
	list(&rig, 0, SECOND - PAGE, 1);
	ck_assert_uint_eq(rig.discards, 1);
	ck_assert_uint_eq(rig.pages, BLOCK_PAGES);
	ck_assert_uint_eq(gone_of(&rig, FIRST, BLOCK_PAGES), BLOCK_PAGES);
	ck_assert(!gone(&rig, SECOND));
	/* What is in the balloon can't be given twice. */
	list(&rig, 0, FIRST, BLOCK_PAGES);
	ck_assert_uint_eq(rig.discards, 1);
	/* A page that was taken out is the guest's, whatever comes in beside it. */
	list(&rig, 1, FIRST + 7 * PAGE, 2);
	fill(&rig, FIRST + 7 * PAGE, 2 * PAGE);
	list(&rig, 0, FIRST, 7);
	list(&rig, 0, FIRST + 8 * PAGE, 504);
	ck_assert_uint_eq(gone_of(&rig, FIRST, BLOCK_PAGES), BLOCK_PAGES - 2);
	list(&rig, 0, FIRST + 7 * PAGE, 1);
	ck_assert_uint_eq(rig.discards, 2);
	ck_assert_uint_eq(gone_of(&rig, FIRST, BLOCK_PAGES), BLOCK_PAGES);
	/* Out, without having been in; and in again, where both blocks fill in one list. */
	list(&rig, 1, FIRST, 2 * BLOCK_PAGES);
	fill(&rig, FIRST, 2 * BLOCK);
	list(&rig, 0, FIRST, 2 * BLOCK_PAGES);
	ck_assert_uint_eq(rig.discards, 4);
	ck_assert_uint_eq(gone_of(&rig, FIRST, 2 * BLOCK_PAGES), 2 * BLOCK_PAGES);
	stop(&rig);
}
END_TEST

/* C15: what is no RAM changes nothing of what is recorded beside it. */
START_TEST(blocks_and_nonsense)
{
	const uint32_t wild[] = {0,	     UINT32_MAX, PFN(DRV_RAM_END), PFN(DRV_RAM) - 1,
				 PFN(FIRST), PFN(FIRST), UINT32_MAX};
	struct rig rig;

	start_huge(&rig, ALL | F_TELL);
	send(&rig, 1, wild, sizeof(wild));
	send(&rig, 0, wild, sizeof(wild));
	send(&rig, 1, wild, sizeof(wild));
	send(&rig, 0, wild, sizeof(wild));
	send(&rig, 0, wild, 7);
	ck_assert_uint_eq(used(&rig, 0), 3);
	ck_assert_uint_eq(used(&rig, 1), 2);
	ck_assert_uint_eq(rig.pages, 0);
	/* Beyond the end of RAM, and over the seam of two regions. */
	list(&rig, 0, DRV_RAM_END - 2 * PAGE, 10);
	list(&rig, 0, FIRST - 2 * PAGE, 513);
	ck_assert_uint_eq(rig.pages, 0);
	list(&rig, 0, FIRST + 511 * PAGE, 1);
	ck_assert_uint_eq(rig.pages, BLOCK_PAGES);
	/* A host that refuses is asked again when the block is full again. */
	rig.answer = -ENOMEM;
	list(&rig, 0, SECOND, BLOCK_PAGES);
	rig.answer = 0;
	list(&rig, 0, SECOND, BLOCK_PAGES);
	ck_assert_uint_eq(gone_of(&rig, SECOND, BLOCK_PAGES), 0);
	list(&rig, 1, SECOND, 1);
	list(&rig, 0, SECOND, 1);
	ck_assert_uint_eq(gone_of(&rig, SECOND, BLOCK_PAGES), BLOCK_PAGES);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_STATUS) & ST_NEEDS_RESET, 0);
	stop(&rig);
}
END_TEST

/* A region that begins and ends within a block: single pages there. */
START_TEST(block_edges)
{
	const gpa_t at = 0x90001000, whole = 0x90200000, end = at + 5 * MIB;
	struct rig rig;

	memset(&rig, 0, sizeof(rig));
	drv_memory(&rig.mem);
	ck_assert_ptr_nonnull(memory_add(&rig.mem, at, 5 * MIB, 4096, NULL));
	rig.mem.regions[2].huge = true;
	make(&rig);
	go(&rig, ALL | F_TELL);
	list(&rig, 0, at, 1);
	list(&rig, 0, end - PAGE, 2);
	ck_assert_uint_eq(rig.pages, 2);
	list(&rig, 0, whole - PAGE, 2);
	ck_assert_uint_eq(rig.pages, 3);
	list(&rig, 0, whole + PAGE, BLOCK_PAGES);
	ck_assert_uint_eq(rig.pages, 4 + BLOCK_PAGES);
	list(&rig, 0, whole + BLOCK, BLOCK_PAGES);
	ck_assert_uint_eq(rig.pages, 4 + BLOCK_PAGES + 256 + 1);
	stop(&rig);
}
END_TEST

/* A driver that need not tell before it takes pages out may have done so. */
START_TEST(blocks_untold)
{
	struct rig rig;

	start_huge(&rig, ALL);
	list(&rig, 0, FIRST, 256);
	list(&rig, 0, FIRST + 256 * PAGE, 256);
	ck_assert_uint_eq(rig.pages, 0);
	list(&rig, 0, FIRST, BLOCK_PAGES);
	ck_assert_uint_eq(rig.pages, BLOCK_PAGES);
	stop(&rig);
}
END_TEST

START_TEST(blocks_and_resets)
{
	struct rig rig;

	start_huge(&rig, ALL | F_TELL);
	list(&rig, 0, FIRST, BLOCK_PAGES - 1);
	go(&rig, ALL | F_TELL);
	list(&rig, 0, SECOND - PAGE, 1);
	ck_assert_uint_eq(rig.pages, 0);
	list(&rig, 0, FIRST, BLOCK_PAGES);
	ck_assert_uint_eq(rig.pages, BLOCK_PAGES);
	stop(&rig);
}
END_TEST

START_TEST(report_blocks)
{
	const struct drv_seg segs[] = {/* Less than one, a half and one and a half, one. */
				       {FIRST, BLOCK - PAGE, DRV_WRITE},
				       {FIRST - MIB, MIB, DRV_WRITE},
				       {FIRST + MIB, 3 * MIB - 1, DRV_WRITE},
				       {SECOND, BLOCK, DRV_WRITE}};
	struct rig rig;

	start_huge(&rig, ALL | F_TELL);
	fill(&rig, DRV_RAM + 2 * MIB, 2 * MIB);
	drv_add(&rig.ring[4], segs, 3);
	drv_wr(&rig.drv, R_NOTIFY, 4);
	ck_assert_uint_eq(used(&rig, 4), 1);
	ck_assert_uint_eq(rig.discards, 0);
	drv_add(&rig.ring[4], segs + 3, 1);
	drv_wr(&rig.drv, R_NOTIFY, 4);
	ck_assert_uint_eq(rig.pages, BLOCK_PAGES);
	ck_assert(!gone(&rig, SECOND - PAGE));
	ck_assert(gone(&rig, SECOND));
	/* What was in the balloon is in it still. */
	list(&rig, 0, SECOND, BLOCK_PAGES - 1);
	drv_add(&rig.ring[4], segs + 3, 1);
	drv_wr(&rig.drv, R_NOTIFY, 4);
	list(&rig, 0, SECOND + BLOCK - PAGE, 1);
	ck_assert_uint_eq(rig.discards, 3);
	stop(&rig);
}
END_TEST

/* --- free pages --------------------------------------------------------------- */

START_TEST(reporting)
{
	const gpa_t at = DRV_RAM + 2 * MIB;
	const struct drv_seg segs[] = {{at, 3 * PAGE, DRV_WRITE},
				       /* Not whole pages: what lies within. */
				       {at + 8 * PAGE + 1, 3 * PAGE, DRV_WRITE},
				       {at + 13 * PAGE - 1, 2, DRV_WRITE},
				       {at + 14 * PAGE, 0, DRV_WRITE},
				       {at + 15 * PAGE, PAGE - 1, DRV_WRITE}};
	struct rig rig;
	unsigned int i, queue;

	/* The queue by the specification, and by the count of older drivers. */
	for (queue = 3; queue <= 4; queue++) {
		start(&rig, ALL);
		fill(&rig, at, 17 * PAGE);
		drv_add(&rig.ring[queue], segs, ARRAY_SIZE(segs));
		drv_wr(&rig.drv, R_NOTIFY, queue);
		ck_assert_uint_eq(used(&rig, queue), 1);
		for (i = 0; i < 17; i++)
			ck_assert_msg(gone(&rig, at + i * PAGE) == (i < 3 || i == 9 || i == 10),
				      "page %u", i);
		/* What is to be read is no free page. */
		drv_add(&rig.ring[queue], &(struct drv_seg){at + 16 * PAGE, PAGE, 0}, 1);
		drv_wr(&rig.drv, R_NOTIFY, queue);
		ck_assert_uint_eq(used(&rig, queue), 1);
		ck_assert(!gone(&rig, at + 16 * PAGE));
		stop(&rig);
	}
	/* Not negotiated: the queue is not looked at. */
	start(&rig, F_STATS);
	fill(&rig, at, PAGE);
	drv_add(&rig.ring[4], segs, 1);
	drv_wr(&rig.drv, R_NOTIFY, 4);
	ck_assert_uint_eq(used(&rig, 4), 0);
	ck_assert(!gone(&rig, at));
	stop(&rig);
}
END_TEST

START_TEST(poison)
{
	const gpa_t at = DRV_RAM + 2 * MIB;
	struct rig rig;

	start(&rig, ALL | F_POISON);
	drv_wr(&rig.drv, R_CONFIG + 12, 0x5a5a5a5a);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 12), 0x5a5a5a5a);
	fill(&rig, at, PAGE);
	drv_add(&rig.ring[4], &(struct drv_seg){at, PAGE, DRV_WRITE}, 1);
	drv_wr(&rig.drv, R_NOTIFY, 4);
	ck_assert_uint_eq(used(&rig, 4), 1);
	/* Nothing but the poison may be found there. */
	ck_assert(!gone(&rig, at));
	/* The balloon's pages are written anew when they come out. */
	send(&rig, 0, &(uint32_t){PFN(at)}, 4);
	ck_assert(gone(&rig, at));
	/* A poison of 0 is what pages that were given back hold. */
	fill(&rig, at, PAGE);
	drv_wr(&rig.drv, R_CONFIG + 12, 0);
	drv_add(&rig.ring[4], &(struct drv_seg){at, PAGE, DRV_WRITE}, 1);
	drv_wr(&rig.drv, R_NOTIFY, 4);
	ck_assert(gone(&rig, at));
	stop(&rig);
}
END_TEST

/* --- statistics ----------------------------------------------------------------- */

static uint32_t put_stat(uint8_t *at, uint16_t tag, uint64_t value)
{
	memcpy(at, &(uint16_t){htole16(tag)}, 2);
	memcpy(at + 2, &(uint64_t){htole64(value)}, 8);
	return 10;
}

START_TEST(statistics)
{
	struct balloon_stats stats;
	uint8_t bytes[200];
	uint32_t len = 0;
	struct rig rig;

	start(&rig, ALL);
	virtio_balloon_stats(rig.balloon, &stats);
	ck_assert_uint_eq(stats.when_ns, 0);
	/* Any order, tags nobody knows, one twice: the last counts. */
	len += put_stat(bytes + len, 5, 500 * MIB);
	len += put_stat(bytes + len, 0xffff, 1);
	len += put_stat(bytes + len, 4, 7);
	len += put_stat(bytes + len, 10, 1);
	len += put_stat(bytes + len, 4, 300 * MIB);
	rig.now = 2 * NSEC_PER_SEC;
	send(&rig, 2, bytes, len);
	/* It is kept until figures are wanted. */
	ck_assert_uint_eq(used(&rig, 2), 0);
	rig.now = 5 * NSEC_PER_SEC;
	virtio_balloon_stats(rig.balloon, &stats);
	ck_assert_uint_eq(stats.known, 1 << BALLOON_TOTAL | 1 << BALLOON_FREE);
	ck_assert_uint_eq(stats.value[BALLOON_FREE], 300 * MIB);
	ck_assert_uint_eq(stats.when_ns, 2 * NSEC_PER_SEC);
	/* The timer of the first question is still under way: it asks. */
	ck_assert_uint_eq(rig.arms, 1);
	ck_assert_uint_eq(used(&rig, 2), 0);
	virtio_balloon_tick(rig.balloon);
	ck_assert_uint_eq(used(&rig, 2), 1);
	ck_assert_uint_eq(rig.arms, 2);
	ck_assert_uint_eq(rig.deadline, 6 * NSEC_PER_SEC);
	/* C16: a driver that does not answer holds nothing up. */
	rig.now = 6 * NSEC_PER_SEC;
	virtio_balloon_tick(rig.balloon);
	ck_assert_str_eq(command(&rig, "show"), "target 0, actual 0, of 8M; 4 s ago the guest had "
						"total 500M, free 300M");
	put_stat(bytes, 5, 400 * MIB);
	send(&rig, 2, bytes, 10);
	virtio_balloon_stats(rig.balloon, &stats);
	ck_assert_uint_eq(stats.known, 1 << BALLOON_TOTAL);
	ck_assert_uint_eq(stats.value[BALLOON_TOTAL], 400 * MIB);
	/* Nobody asks any more: the timer stops. */
	rig.now = 60 * NSEC_PER_SEC;
	rig.arms = 0;
	virtio_balloon_tick(rig.balloon);
	ck_assert_uint_eq(rig.arms, 0);
	ck_assert_uint_eq(used(&rig, 2), 0);
	/* Somebody does. What was read does not become newer by being given back. */
	virtio_balloon_stats(rig.balloon, &stats);
	ck_assert_uint_eq(rig.arms, 1);
	ck_assert_uint_eq(used(&rig, 2), 1);
	virtio_balloon_stats(rig.balloon, &stats);
	ck_assert_uint_eq(stats.when_ns, 6 * NSEC_PER_SEC);
	/* The next system has its own. */
	go(&rig, ALL);
	virtio_balloon_stats(rig.balloon, &stats);
	ck_assert_uint_eq(stats.when_ns, 0);
	stop(&rig);
}
END_TEST

/* As Linux does it: the first buffer is told of before DRIVER_OK, and never again. */
START_TEST(early_statistics)
{
	struct balloon_stats stats;
	uint8_t bytes[10];
	struct rig rig;

	start(&rig, ALL);
	ck_assert(drv_start(&rig.drv, ALL));
	drv_ring_init(&rig.ring[2], &rig.mem, NUM, RINGS);
	ck_assert(drv_queue(&rig.drv, 2, &rig.ring[2]));
	put_stat(bytes, 4, 5);
	send(&rig, 2, bytes, 10);
	drv_go(&rig.drv);
	virtio_balloon_stats(rig.balloon, &stats);
	ck_assert_uint_eq(stats.value[BALLOON_FREE], 5);
	stop(&rig);
}
END_TEST

/* C16: buffers of all sizes, more of them than there may be. */
START_TEST(bad_statistics)
{
	struct balloon_stats stats;
	struct drv_seg segs[NUM];
	uint8_t bytes[200];
	struct rig rig;
	unsigned int i;

	start(&rig, ALL);
	put_stat(bytes, 5, 1);
	put_stat(bytes + 10, 4, 2);
	for (i = 0; i < 20; i++) {
		send(&rig, 2, bytes, i);
		virtio_balloon_stats(rig.balloon, &stats);
		ck_assert_uint_eq(stats.known, i < 10 ? 0 : 1 << BALLOON_TOTAL);
		rig.now += NSEC_PER_SEC;
		virtio_balloon_tick(rig.balloon);
		ck_assert_uint_eq(used(&rig, 2), 1);
	}
	/* Megabytes of figures: the first ones count. */
	for (i = 0; i < NUM; i++)
		segs[i] = (struct drv_seg){DRV_RAM + DRV_BANK, (uint32_t)DRV_BANK, 0};
	put_stat(drv_ptr(&rig.mem, DRV_RAM + DRV_BANK, 10), 6, 1);
	put_stat(drv_ptr(&rig.mem, DRV_RAM + DRV_BANK + 100000, 10), 7, 1);
	drv_add(&rig.ring[2], segs, NUM);
	drv_wr(&rig.drv, R_NOTIFY, 2);
	virtio_balloon_stats(rig.balloon, &stats);
	ck_assert_uint_eq(stats.known, 1 << BALLOON_AVAILABLE | 1 << BALLOON_SWAP_IN);
	virtio_balloon_tick(rig.balloon);
	ck_assert_uint_eq(used(&rig, 2), 1);
	/* Several at once, against the rules: one is given back for each question. */
	for (i = 0; i < 4; i++)
		send(&rig, 2, bytes, 10);
	for (i = 0; i < 4; i++) {
		ck_assert_uint_eq(used(&rig, 2), i ? 1 : 0);
		virtio_balloon_tick(rig.balloon);
	}
	stop(&rig);
	/* Not negotiated. */
	start(&rig, 0);
	send(&rig, 2, bytes, 10);
	virtio_balloon_stats(rig.balloon, &stats);
	virtio_balloon_tick(rig.balloon);
	ck_assert_uint_eq(stats.when_ns, 0);
	ck_assert_uint_eq(used(&rig, 2), 0);
	stop(&rig);
}
END_TEST

/* --- save and load ------------------------------------------------------------ */

static void save(struct rig *rig, struct xfer *x)
{
	struct device *dev = virtio_mmio_device(rig->mmio);

	dev->ops->quiesce(dev);
	xfer_save_init(x);
	dev->ops->transfer(dev, x);
	ck_assert_int_eq(xfer_done(x, NULL), 0);
}

static int load(struct rig *rig, const void *buf, size_t len)
{
	struct device *dev = virtio_mmio_device(rig->mmio);
	struct xfer x;

	xfer_load_init(&x, buf, len);
	dev->ops->transfer(dev, &x);
	return xfer_done(&x, NULL);
}

START_TEST(save_and_load)
{
	struct drv_seg segs[2] = {{DATA, 64 * 1024, 0}, {DATA, 64 * 1024, 0}};
	struct balloon_stats stats;
	struct virtio_mmio *old;
	struct rig rig;
	struct device *dev;
	struct xfer x, y;
	size_t i;

	start(&rig, ALL | F_POISON);
	drv_wr(&rig.drv, R_CONFIG + 12, 9);
	drv_wr(&rig.drv, R_CONFIG + 4, 3);
	command(&rig, "target 1048576");
	put_stat(drv_ptr(&rig.mem, DATA + MIB, 10), 4, 77);
	drv_add(&rig.ring[2], &(struct drv_seg){DATA + MIB, 10, 0}, 1);
	drv_wr(&rig.drv, R_NOTIFY, 2);
	/* Half a list, and a page at its end that only the second half gives back. */
	memset(drv_ptr(&rig.mem, DATA, 64 * 1024), 0, 64 * 1024);
	fill(&rig, DRV_RAM + 3 * MIB, PAGE);
	memcpy(drv_ptr(&rig.mem, DATA + 64 * 1024 - 4, 4), &(uint32_t){PFN(DRV_RAM + 3 * MIB)}, 4);
	segs[0].len -= 16384;
	drv_add(&rig.ring[0], segs, 2);
	drv_wr(&rig.drv, R_NOTIFY, 0);
	ck_assert(rig.soons);
	ck_assert(!gone(&rig, DRV_RAM + 3 * MIB));
	save(&rig, &x);
	old = rig.mmio;
	make(&rig);
	ck_assert_int_eq(load(&rig, x.buf, x.len), 0);
	save(&rig, &y);
	ck_assert_uint_eq(x.len, y.len);
	ck_assert_int_eq(memcmp(x.buf, y.buf, x.len), 0);
	xfer_free(&y);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG), 256);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 4), 3);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 12), 9);
	rig.discards = 0;
	dev = virtio_mmio_device(rig.mmio);
	dev->ops->resume(dev);
	run(&rig);
	ck_assert_uint_eq(used(&rig, 0), 1);
	ck_assert(gone(&rig, DRV_RAM + 3 * MIB));
	/* 28 Ki numbers, less the first pass. */
	ck_assert_uint_eq(rig.discards, 28 * 1024 - 256);
	/* The figures came with the driver's buffer. */
	virtio_balloon_stats(rig.balloon, &stats);
	ck_assert_uint_eq(stats.value[BALLOON_FREE], 77);
	dev->ops->quiesce(dev);
	for (i = 0; i < x.len; i++)
		ck_assert_int_ne(load(&rig, x.buf, i), 0);
	for (i = 0; i < x.len; i++) {
		x.buf[i] ^= 0x81;
		if (!load(&rig, x.buf, x.len))
			ck_assert_uint_le(drv_rd(&rig.drv, R_CONFIG), 8 * MIB / PAGE);
		x.buf[i] ^= 0x81;
	}
	xfer_free(&x);
	stop(&rig);
	virtio_mmio_device(old)->ops->destroy(virtio_mmio_device(old));
}
END_TEST

/* What is in the balloon is not saved: nothing is given back that was not named since. */
START_TEST(blocks_loaded)
{
	struct drv_ring rings[NR_QUEUES];
	static uint8_t ram[64 * KIB];
	struct virtio_mmio *old;
	struct device *dev;
	struct rig rig;
	struct xfer x;

	start_huge(&rig, ALL | F_TELL);
	list(&rig, 0, FIRST, BLOCK_PAGES - 1);
	save(&rig, &x);
	memcpy(ram, drv_ptr(&rig.mem, RINGS, sizeof(ram)), sizeof(ram));
	memcpy(rings, rig.ring, sizeof(rings));
	dev = virtio_mmio_device(rig.mmio);
	dev->ops->resume(dev);
	/* To be saved changes nothing. */
	list(&rig, 0, SECOND - PAGE, 1);
	ck_assert_uint_eq(rig.pages, BLOCK_PAGES);
	list(&rig, 0, SECOND, BLOCK_PAGES - 1);
	dev->ops->quiesce(dev);
	/* Back to that moment, in the same device: the guest took them out since. */
	memcpy(drv_ptr(&rig.mem, RINGS, sizeof(ram)), ram, sizeof(ram));
	memcpy(rig.ring, rings, sizeof(rings));
	ck_assert_int_eq(load(&rig, x.buf, x.len), 0);
	dev->ops->resume(dev);
	fill(&rig, SECOND, BLOCK);
	list(&rig, 0, SECOND + BLOCK - PAGE, 1);
	ck_assert_uint_eq(rig.pages, BLOCK_PAGES);
	dev->ops->quiesce(dev);
	xfer_free(&x);
	/* And in another. */
	save(&rig, &x);
	old = rig.mmio;
	make(&rig);
	ck_assert_int_eq(load(&rig, x.buf, x.len), 0);
	dev = virtio_mmio_device(rig.mmio);
	dev->ops->resume(dev);
	list(&rig, 0, SECOND, BLOCK_PAGES - 1);
	ck_assert_uint_eq(rig.pages, BLOCK_PAGES);
	list(&rig, 0, SECOND + BLOCK - PAGE, 1);
	ck_assert_uint_eq(rig.pages, 2 * BLOCK_PAGES);
	xfer_free(&x);
	stop(&rig);
	virtio_mmio_device(old)->ops->destroy(virtio_mmio_device(old));
}
END_TEST

/* --- two threads -------------------------------------------------------------- */

#define RACE_LISTS 300

static void *race_guest(void *arg)
{
	struct rig *rig = arg;
	uint32_t pages[8], i;
	uint8_t bytes[10];
	unsigned int done = 0, n;

	for (n = 0; n < RACE_LISTS; n++) {
		for (i = 0; i < 8; i++)
			pages[i] = PFN(DRV_RAM + 2 * MIB) + (n * 5 + i) % 64;
		send(rig, 0, pages, sizeof(pages));
		done += used(rig, 0);
		if (n % 4 == 0 && rig->ring[2].avail_idx == drv_used_idx(&rig->ring[2])) {
			put_stat(bytes, 4, n);
			memcpy(drv_ptr(&rig->mem, DATA + MIB, 10), bytes, 10);
			drv_add(&rig->ring[2], &(struct drv_seg){DATA + MIB, 10, 0}, 1);
			drv_wr(&rig->drv, R_NOTIFY, 2);
		}
		drv_wr(&rig->drv, R_CONFIG + 4, n);
	}
	return (void *)(uintptr_t)done;
}

START_TEST(threads)
{
	struct balloon_stats stats;
	struct rig rig;
	pthread_t thread;
	void *done;
	unsigned int i;

	start(&rig, ALL);
	ck_assert_int_eq(pthread_create(&thread, NULL, race_guest, &rig), 0);
	for (i = 0; i < 2000; i++) {
		ck_assert_int_eq(virtio_balloon_set_target(rig.balloon, i * PAGE, NULL), 0);
		virtio_balloon_stats(rig.balloon, &stats);
		virtio_balloon_tick(rig.balloon);
		virtio_device_run(virtio_balloon_device(rig.balloon));
	}
	ck_assert_int_eq(pthread_join(thread, &done), 0);
	ck_assert_uint_eq((uintptr_t)done, RACE_LISTS);
	stop(&rig);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio-balloon");
	TCase *t = tcase_create("balloon");

	tcase_add_test(t, features_and_config);
	tcase_add_test(t, target);
	tcase_add_test(t, inflate);
	tcase_add_test(t, pages_that_are_none);
	tcase_add_test(t, endless_list);
	tcase_add_test(t, host_refuses);
	tcase_add_test(t, blocks);
	tcase_add_test(t, blocks_and_nonsense);
	tcase_add_test(t, block_edges);
	tcase_add_test(t, blocks_untold);
	tcase_add_test(t, blocks_and_resets);
	tcase_add_test(t, report_blocks);
	tcase_add_test(t, blocks_loaded);
	tcase_add_test(t, reporting);
	tcase_add_test(t, poison);
	tcase_add_test(t, statistics);
	tcase_add_test(t, early_statistics);
	tcase_add_test(t, bad_statistics);
	tcase_add_test(t, save_and_load);
	tcase_add_test(t, threads);
	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	return unit_main(s);
}
