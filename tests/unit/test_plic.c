// SPDX-License-Identifier: GPL-2.0-only
/*
 * The PLIC: each rule of riscv/plic.c as a case, and a million random register
 * operations against a slow independent model that scans everything.
 */
#include "prng.h"
#include "unit.h"

#include "lkvm/riscv/plic.h"

#include <string.h>

#define PRIORITY(s) (UINT64_C(4) * (s))
#define PENDING(w) (UINT64_C(0x1000) + 4 * (w))
#define ENABLE(c, w) (UINT64_C(0x2000) + UINT64_C(0x80) * (c) + 4 * (w))
#define THRESHOLD(c) (UINT64_C(0x200000) + UINT64_C(0x1000) * (c))
#define CLAIM(c) (THRESHOLD(c) + 4)

#define MAX_OUT 256

/* A PLIC and the wires that leave it. */
struct rig {
	struct plic *plic;
	bool out[MAX_OUT];
	unsigned int calls;   /* of the output function */
	unsigned int repeats; /* calls that did not change the level */
};

static void on_output(void *opaque, unsigned int context, bool level)
{
	struct rig *rig = opaque;

	rig->calls++;
	rig->repeats += rig->out[context] == level;
	rig->out[context] = level;
}

static void start(struct rig *rig, unsigned int sources, unsigned int contexts)
{
	memset(rig, 0, sizeof(*rig));
	rig->plic = plic_create("plic0", sources, contexts, on_output, rig, NULL);
	ck_assert_ptr_nonnull(rig->plic);
}

static void stop(struct rig *rig)
{
	ck_assert_uint_eq(rig->repeats, 0);
	plic_device(rig->plic)->ops->destroy(plic_device(rig->plic));
}

static uint32_t rd(struct rig *rig, uint64_t offset)
{
	return (uint32_t)plic_ops.read(rig->plic, offset, 4);
}

static void wr(struct rig *rig, uint64_t offset, uint32_t value)
{
	plic_ops.write(rig->plic, offset, value, 4);
}

static void wire(struct rig *rig, unsigned int source, bool level)
{
	struct irq_line line = {plic_chip(rig->plic), source};

	irq_line_set(&line, level);
}

static void pulse(struct rig *rig, unsigned int source)
{
	wire(rig, source, true);
	wire(rig, source, false);
}

static void enable(struct rig *rig, unsigned int context, unsigned int source, bool on)
{
	uint64_t reg = ENABLE(context, source / 32);
	uint32_t bit = UINT32_C(1) << source % 32;

	wr(rig, reg, on ? rd(rig, reg) | bit : rd(rig, reg) & ~bit);
}

/* Priority 1 and enabled, as Linux does it. */
static void use(struct rig *rig, unsigned int context, unsigned int source)
{
	wr(rig, PRIORITY(source), 1);
	enable(rig, context, source, true);
}

static bool pending(struct rig *rig, unsigned int source)
{
	return rd(rig, PENDING(source / 32)) >> source % 32 & 1;
}

static void save(struct rig *rig, struct xfer *x)
{
	struct error err;

	xfer_save_init(x);
	plic_device(rig->plic)->ops->transfer(plic_device(rig->plic), x);
	ck_assert_int_eq(xfer_done(x, &err), 0);
}

static int load(struct rig *rig, const void *buf, size_t len)
{
	struct xfer x;

	xfer_load_init(&x, buf, len);
	plic_device(rig->plic)->ops->transfer(plic_device(rig->plic), &x);
	return xfer_done(&x, NULL);
}

START_TEST(create_limits)
{
	ck_assert_ptr_null(plic_create("p", 0, 1, on_output, NULL, NULL));
	ck_assert_ptr_null(plic_create("p", 1024, 1, on_output, NULL, NULL));
	ck_assert_ptr_null(plic_create("p", 1, 0, on_output, NULL, NULL));
	ck_assert_ptr_null(plic_create("p", 1, 1025, on_output, NULL, NULL));
}
END_TEST

START_TEST(starts_with_zeros)
{
	struct rig rig;
	uint64_t offset;

	start(&rig, 127, 4);
	for (offset = 0; offset < 0x3000; offset += 4)
		ck_assert_uint_eq(rd(&rig, offset), 0);
	for (offset = 0x200000; offset < 0x204000; offset += 4)
		ck_assert_uint_eq(rd(&rig, offset), 0);
	ck_assert_uint_eq(rig.calls, 0);
	stop(&rig);
}
END_TEST

START_TEST(level_interrupt_whole_way)
{
	struct rig rig;

	start(&rig, 127, 2);
	use(&rig, 0, 10);
	wire(&rig, 10, true);
	ck_assert(rig.out[0] && !rig.out[1] && pending(&rig, 10));
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 10);
	ck_assert(!rig.out[0] && !pending(&rig, 10));
	wire(&rig, 10, false);
	wr(&rig, CLAIM(0), 10);
	ck_assert(!rig.out[0] && !pending(&rig, 10));
	ck_assert_uint_eq(rig.calls, 2);
	stop(&rig);
}
END_TEST

START_TEST(level_forwards_one_request)
{
	struct rig rig;

	start(&rig, 127, 1);
	use(&rig, 0, 1);
	wire(&rig, 1, true);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 1);
	/* Still up, and up and down again: nothing before the completion. */
	pulse(&rig, 1);
	wire(&rig, 1, true);
	ck_assert(!pending(&rig, 1));
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 0);
	stop(&rig);
}
END_TEST

START_TEST(level_sampled_at_completion)
{
	struct rig rig;

	start(&rig, 127, 1);
	use(&rig, 0, 1);
	wire(&rig, 1, true);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 1);
	rig.calls = 0;
	wr(&rig, CLAIM(0), 1);
	ck_assert(pending(&rig, 1) && rig.out[0]);
	ck_assert_uint_eq(rig.calls, 1);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 1);
	wire(&rig, 1, false);
	wr(&rig, CLAIM(0), 1);
	ck_assert(!pending(&rig, 1) && !rig.out[0]);
	stop(&rig);
}
END_TEST

START_TEST(level_drop_keeps_request)
{
	struct rig rig;

	start(&rig, 127, 1);
	use(&rig, 0, 5);
	pulse(&rig, 5);
	ck_assert(pending(&rig, 5) && rig.out[0]);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 5);
	wr(&rig, CLAIM(0), 5);
	ck_assert(!pending(&rig, 5));
	stop(&rig);
}
END_TEST

START_TEST(same_level_twice_is_nothing)
{
	struct rig rig;

	start(&rig, 127, 1);
	plic_set_trigger(rig.plic, 3, PLIC_EDGE);
	use(&rig, 0, 3);
	wire(&rig, 3, true);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 3);
	wire(&rig, 3, true);
	wr(&rig, CLAIM(0), 3);
	ck_assert(!pending(&rig, 3));
	stop(&rig);
}
END_TEST

START_TEST(edge_fires_once_per_edge)
{
	struct rig rig;

	start(&rig, 127, 1);
	plic_set_trigger(rig.plic, 7, PLIC_EDGE);
	use(&rig, 0, 7);
	wire(&rig, 7, true);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 7);
	/* Unlike a level: still up at completion means nothing. */
	wr(&rig, CLAIM(0), 7);
	ck_assert(!pending(&rig, 7));
	wire(&rig, 7, false);
	ck_assert(!pending(&rig, 7));
	wire(&rig, 7, true);
	ck_assert(pending(&rig, 7));
	stop(&rig);
}
END_TEST

START_TEST(edge_in_service_remembered_once)
{
	struct rig rig;

	start(&rig, 127, 1);
	plic_set_trigger(rig.plic, 7, PLIC_EDGE);
	use(&rig, 0, 7);
	pulse(&rig, 7);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 7);
	pulse(&rig, 7);
	pulse(&rig, 7);
	ck_assert(!pending(&rig, 7));
	wr(&rig, CLAIM(0), 7);
	ck_assert(pending(&rig, 7) && rig.out[0]);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 7);
	wr(&rig, CLAIM(0), 7);
	ck_assert(!pending(&rig, 7));
	stop(&rig);
}
END_TEST

START_TEST(edge_while_pending_melts)
{
	struct rig rig;

	start(&rig, 127, 1);
	plic_set_trigger(rig.plic, 7, PLIC_EDGE);
	use(&rig, 0, 7);
	pulse(&rig, 7);
	pulse(&rig, 7);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 7);
	wr(&rig, CLAIM(0), 7);
	ck_assert(!pending(&rig, 7));
	stop(&rig);
}
END_TEST

START_TEST(trigger_change)
{
	struct rig rig;

	start(&rig, 127, 1);
	use(&rig, 0, 7);
	plic_set_trigger(rig.plic, 7, PLIC_EDGE);
	pulse(&rig, 7);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 7);
	pulse(&rig, 7);
	/* A level gateway remembers no edges, but sees the wire. */
	plic_set_trigger(rig.plic, 7, PLIC_LEVEL);
	wr(&rig, CLAIM(0), 7);
	ck_assert(!pending(&rig, 7));
	plic_set_trigger(rig.plic, 7, PLIC_EDGE);
	wire(&rig, 7, true);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 7);
	wr(&rig, CLAIM(0), 7);
	ck_assert(!rig.out[0]);
	plic_set_trigger(rig.plic, 7, PLIC_LEVEL);
	ck_assert(pending(&rig, 7) && rig.out[0]);
	plic_set_trigger(rig.plic, 0, PLIC_EDGE);
	plic_set_trigger(rig.plic, 128, PLIC_EDGE);
	stop(&rig);
}
END_TEST

START_TEST(priority_zero_never)
{
	struct rig rig;

	start(&rig, 127, 1);
	enable(&rig, 0, 9, true);
	wire(&rig, 9, true);
	ck_assert(pending(&rig, 9) && !rig.out[0]);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 0);
	wr(&rig, PRIORITY(9), 1);
	ck_assert(rig.out[0]);
	wr(&rig, PRIORITY(9), 0);
	ck_assert(!rig.out[0]);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 0);
	stop(&rig);
}
END_TEST

START_TEST(priority_warl)
{
	struct rig rig;
	uint32_t v;

	start(&rig, 127, 1);
	for (v = 0; v < 8; v++) {
		wr(&rig, PRIORITY(127), v);
		ck_assert_uint_eq(rd(&rig, PRIORITY(127)), v);
	}
	wr(&rig, PRIORITY(127), UINT32_MAX);
	ck_assert_uint_eq(rd(&rig, PRIORITY(127)), 7);
	wr(&rig, PRIORITY(127), 8);
	ck_assert_uint_eq(rd(&rig, PRIORITY(127)), 0);
	wr(&rig, PRIORITY(0), 7);
	ck_assert_uint_eq(rd(&rig, PRIORITY(0)), 0);
	wr(&rig, PRIORITY(128), 7);
	ck_assert_uint_eq(rd(&rig, PRIORITY(128)), 0);
	stop(&rig);
}
END_TEST

START_TEST(claim_highest_priority_first)
{
	struct rig rig;

	start(&rig, 1023, 1);
	use(&rig, 0, 1);
	use(&rig, 0, 500);
	use(&rig, 0, 1023);
	wr(&rig, PRIORITY(500), 7);
	wr(&rig, PRIORITY(1023), 3);
	wire(&rig, 1, true);
	wire(&rig, 500, true);
	wire(&rig, 1023, true);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 500);
	ck_assert(rig.out[0]);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 1023);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 1);
	ck_assert(!rig.out[0]);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 0);
	stop(&rig);
}
END_TEST

START_TEST(claim_lowest_id_of_equals)
{
	static const unsigned int ids[] = {5, 31, 32, 63, 64, 126};
	struct rig rig;
	size_t i;

	start(&rig, 127, 1);
	for (i = ARRAY_SIZE(ids); i--;) {
		use(&rig, 0, ids[i]);
		wire(&rig, ids[i], true);
	}
	for (i = 0; i < ARRAY_SIZE(ids); i++)
		ck_assert_uint_eq(rd(&rig, CLAIM(0)), ids[i]);
	stop(&rig);
}
END_TEST

START_TEST(threshold_masks_notification)
{
	struct rig rig;

	start(&rig, 127, 1);
	use(&rig, 0, 4);
	wr(&rig, PRIORITY(4), 3);
	wr(&rig, THRESHOLD(0), 3);
	wire(&rig, 4, true);
	ck_assert(!rig.out[0]);
	wr(&rig, THRESHOLD(0), 2);
	ck_assert(rig.out[0]);
	wr(&rig, THRESHOLD(0), 7);
	ck_assert(!rig.out[0]);
	wr(&rig, PRIORITY(4), 7);
	ck_assert(!rig.out[0]);
	wr(&rig, THRESHOLD(0), 6);
	ck_assert(rig.out[0]);
	stop(&rig);
}
END_TEST

START_TEST(threshold_warl)
{
	struct rig rig;

	start(&rig, 127, 2);
	wr(&rig, THRESHOLD(1), UINT32_MAX);
	ck_assert_uint_eq(rd(&rig, THRESHOLD(1)), 7);
	ck_assert_uint_eq(rd(&rig, THRESHOLD(0)), 0);
	stop(&rig);
}
END_TEST

START_TEST(claim_ignores_threshold)
{
	struct rig rig;

	start(&rig, 127, 1);
	use(&rig, 0, 4);
	wr(&rig, THRESHOLD(0), 7);
	wire(&rig, 4, true);
	ck_assert(!rig.out[0]);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 4);
	ck_assert(!pending(&rig, 4));
	stop(&rig);
}
END_TEST

START_TEST(claim_nothing_pending)
{
	struct rig rig;

	start(&rig, 127, 1);
	use(&rig, 0, 4);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 0);
	ck_assert_uint_eq(rig.calls, 0);
	stop(&rig);
}
END_TEST

START_TEST(claim_only_enabled)
{
	struct rig rig;

	start(&rig, 127, 2);
	use(&rig, 0, 4);
	wire(&rig, 4, true);
	ck_assert_uint_eq(rd(&rig, CLAIM(1)), 0);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 4);
	stop(&rig);
}
END_TEST

START_TEST(multicast_first_claim_wins)
{
	struct rig rig;
	unsigned int i;

	start(&rig, 127, 130);
	for (i = 0; i < 130; i++)
		use(&rig, i, 4);
	wire(&rig, 4, true);
	for (i = 0; i < 130; i++)
		ck_assert(rig.out[i]);
	ck_assert_uint_eq(rd(&rig, CLAIM(129)), 4);
	for (i = 0; i < 130; i++)
		ck_assert(!rig.out[i]);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 0);
	ck_assert_uint_eq(rig.calls, 260);
	stop(&rig);
}
END_TEST

START_TEST(complete_by_another_context)
{
	struct rig rig;

	start(&rig, 127, 2);
	use(&rig, 0, 4);
	use(&rig, 1, 4);
	wire(&rig, 4, true);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 4);
	wr(&rig, CLAIM(1), 4);
	ck_assert(pending(&rig, 4));
	stop(&rig);
}
END_TEST

START_TEST(complete_where_disabled_ignored)
{
	struct rig rig;

	start(&rig, 127, 2);
	use(&rig, 0, 4);
	wire(&rig, 4, true);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 4);
	wr(&rig, CLAIM(1), 4);
	ck_assert(!pending(&rig, 4));
	enable(&rig, 0, 4, false);
	wr(&rig, CLAIM(0), 4);
	ck_assert(!pending(&rig, 4));
	/* As Linux does for a handler that masked its interrupt. */
	enable(&rig, 0, 4, true);
	wr(&rig, CLAIM(0), 4);
	ck_assert(pending(&rig, 4));
	stop(&rig);
}
END_TEST

START_TEST(complete_masked_by_priority)
{
	struct rig rig;

	start(&rig, 127, 1);
	use(&rig, 0, 4);
	wire(&rig, 4, true);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 4);
	wr(&rig, PRIORITY(4), 0);
	wr(&rig, CLAIM(0), 4);
	ck_assert(pending(&rig, 4) && !rig.out[0]);
	wr(&rig, PRIORITY(4), 1);
	ck_assert(rig.out[0]);
	stop(&rig);
}
END_TEST

START_TEST(complete_of_unclaimed_ignored)
{
	struct rig rig;

	start(&rig, 127, 1);
	use(&rig, 0, 4);
	wr(&rig, CLAIM(0), 4);
	ck_assert(!pending(&rig, 4));
	wire(&rig, 4, true);
	/* Pending, not claimed: the request stays. */
	wr(&rig, CLAIM(0), 4);
	ck_assert(pending(&rig, 4) && rig.out[0]);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 4);
	ck_assert_uint_eq(rig.calls, 2);
	stop(&rig);
}
END_TEST

START_TEST(complete_out_of_range_ignored)
{
	static const uint32_t ids[] = {0, 128, 1023, 1024, 4096, 0x80000004, UINT32_MAX};
	struct rig rig;
	size_t i;

	start(&rig, 127, 1);
	use(&rig, 0, 4);
	wire(&rig, 4, true);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 4);
	for (i = 0; i < ARRAY_SIZE(ids); i++)
		wr(&rig, CLAIM(0), ids[i]);
	ck_assert(!pending(&rig, 4));
	stop(&rig);
}
END_TEST

START_TEST(affinity_change_while_pending)
{
	struct rig rig;

	start(&rig, 127, 2);
	use(&rig, 0, 4);
	wire(&rig, 4, true);
	ck_assert(rig.out[0]);
	enable(&rig, 0, 4, false);
	ck_assert(!rig.out[0] && pending(&rig, 4));
	enable(&rig, 1, 4, true);
	ck_assert(rig.out[1]);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 0);
	ck_assert_uint_eq(rd(&rig, CLAIM(1)), 4);
	stop(&rig);
}
END_TEST

START_TEST(affinity_change_in_service)
{
	struct rig rig;

	start(&rig, 127, 2);
	use(&rig, 0, 4);
	wire(&rig, 4, true);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 4);
	enable(&rig, 0, 4, false);
	enable(&rig, 1, 4, true);
	wr(&rig, CLAIM(0), 4);
	ck_assert(!pending(&rig, 4));
	wr(&rig, CLAIM(1), 4);
	ck_assert(pending(&rig, 4) && rig.out[1] && !rig.out[0]);
	stop(&rig);
}
END_TEST

START_TEST(enables_are_independent)
{
	struct rig rig;
	unsigned int c, w;

	start(&rig, 1023, 3);
	for (c = 0; c < 3; c++)
		for (w = 0; w < 32; w++)
			wr(&rig, ENABLE(c, w), 0x01010101U * (c + 1) + w * 2);
	for (c = 0; c < 3; c++)
		for (w = 0; w < 32; w++)
			ck_assert_uint_eq(rd(&rig, ENABLE(c, w)),
					  (0x01010101U * (c + 1) + w * 2) & (w ? ~0U : ~1U));
	stop(&rig);
}
END_TEST

START_TEST(enable_only_sources_there)
{
	struct rig rig;

	start(&rig, 40, 1);
	wr(&rig, ENABLE(0, 0), UINT32_MAX);
	wr(&rig, ENABLE(0, 1), UINT32_MAX);
	wr(&rig, ENABLE(0, 2), UINT32_MAX);
	wr(&rig, ENABLE(0, 31), UINT32_MAX);
	ck_assert_uint_eq(rd(&rig, ENABLE(0, 0)), 0xfffffffe);
	ck_assert_uint_eq(rd(&rig, ENABLE(0, 1)), 0x1ff);
	ck_assert_uint_eq(rd(&rig, ENABLE(0, 2)), 0);
	ck_assert_uint_eq(rd(&rig, ENABLE(0, 31)), 0);
	stop(&rig);
}
END_TEST

START_TEST(pending_is_read_only)
{
	struct rig rig;

	start(&rig, 127, 1);
	use(&rig, 0, 4);
	wr(&rig, PENDING(0), UINT32_MAX);
	ck_assert_uint_eq(rd(&rig, PENDING(0)), 0);
	wire(&rig, 4, true);
	wr(&rig, PENDING(0), 0);
	ck_assert_uint_eq(rd(&rig, PENDING(0)), 0x10);
	stop(&rig);
}
END_TEST

START_TEST(wires_out_of_range_ignored)
{
	struct rig rig;
	unsigned int w;

	start(&rig, 127, 1);
	wire(&rig, 0, true);
	wire(&rig, 128, true);
	wire(&rig, UINT32_MAX, true);
	for (w = 0; w < 32; w++)
		ck_assert_uint_eq(rd(&rig, PENDING(w)), 0);
	stop(&rig);
}
END_TEST

START_TEST(other_widths_ignored)
{
	static const unsigned int sizes[] = {1, 2, 8};
	struct rig rig;
	size_t i;

	start(&rig, 127, 1);
	use(&rig, 0, 4);
	wire(&rig, 4, true);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		ck_assert_uint_eq(plic_ops.read(rig.plic, PRIORITY(4), sizes[i]), 0);
		ck_assert_uint_eq(plic_ops.read(rig.plic, CLAIM(0), sizes[i]), 0);
		ck_assert_uint_eq(plic_ops.read(rig.plic, THRESHOLD(0), sizes[i]), 0);
		plic_ops.write(rig.plic, PRIORITY(4), 7, sizes[i]);
		plic_ops.write(rig.plic, THRESHOLD(0), 7, sizes[i]);
	}
	ck_assert_uint_eq(rd(&rig, PRIORITY(4)), 1);
	ck_assert_uint_eq(rd(&rig, THRESHOLD(0)), 0);
	ck_assert(pending(&rig, 4) && rig.out[0]);
	/* Unaligned. */
	for (i = 1; i < 4; i++) {
		ck_assert_uint_eq(rd(&rig, PRIORITY(4) + i), 0);
		ck_assert_uint_eq(rd(&rig, CLAIM(0) + i), 0);
		wr(&rig, PRIORITY(4) + i, 7);
	}
	ck_assert_uint_eq(rd(&rig, PRIORITY(4)), 1);
	stop(&rig);
}
END_TEST

START_TEST(contexts_out_of_range_ignored)
{
	struct rig rig;

	start(&rig, 127, 2);
	use(&rig, 0, 4);
	wire(&rig, 4, true);
	wr(&rig, ENABLE(2, 0), UINT32_MAX);
	ck_assert_uint_eq(rd(&rig, ENABLE(2, 0)), 0);
	wr(&rig, ENABLE(15871, 0), UINT32_MAX);
	ck_assert_uint_eq(rd(&rig, ENABLE(15871, 0)), 0);
	wr(&rig, THRESHOLD(2), 7);
	ck_assert_uint_eq(rd(&rig, THRESHOLD(2)), 0);
	ck_assert_uint_eq(rd(&rig, CLAIM(2)), 0);
	wr(&rig, CLAIM(2), 4);
	ck_assert_uint_eq(rd(&rig, CLAIM(15871)), 0);
	ck_assert(pending(&rig, 4));
	ck_assert_uint_eq(rd(&rig, PLIC_WINDOW), 0);
	wr(&rig, PLIC_WINDOW, 1);
	stop(&rig);
}
END_TEST

/* Every aligned address of the window but the registers in use, written and read. */
START_TEST(whole_window_sweep)
{
	struct rig rig;
	struct xfer before, after;
	uint64_t offset;

	start(&rig, 127, 2);
	use(&rig, 0, 4);
	wire(&rig, 4, true);
	save(&rig, &before);
	for (offset = 0; offset < PLIC_WINDOW; offset += 4) {
		bool used = offset < 4 * 128 || (offset >= 0x2000 && offset < 0x2100) ||
			    (offset >= 0x200000 && offset < 0x202000 && offset % 0x1000 < 8);

		if (used)
			continue;
		wr(&rig, offset, UINT32_MAX);
		if (rd(&rig, offset) && offset != PENDING(0))
			ck_abort_msg("offset 0x%llx is not 0", (unsigned long long)offset);
	}
	save(&rig, &after);
	ck_assert_uint_eq(before.len, after.len);
	ck_assert_mem_eq(before.buf, after.buf, before.len);
	xfer_free(&before);
	xfer_free(&after);
	stop(&rig);
}
END_TEST

START_TEST(outputs_only_on_change)
{
	struct rig rig;

	start(&rig, 127, 1);
	use(&rig, 0, 4);
	use(&rig, 0, 5);
	wire(&rig, 4, true);
	ck_assert_uint_eq(rig.calls, 1);
	wire(&rig, 5, true);
	wr(&rig, THRESHOLD(0), 0);
	wr(&rig, PRIORITY(4), 5);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 4);
	ck_assert_uint_eq(rig.calls, 1);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 5);
	ck_assert_uint_eq(rig.calls, 2);
	stop(&rig);
}
END_TEST

START_TEST(drive_outputs_tells_all)
{
	struct rig rig;

	start(&rig, 127, 3);
	use(&rig, 1, 4);
	wire(&rig, 4, true);
	rig.calls = 0;
	plic_drive_outputs(rig.plic);
	ck_assert_uint_eq(rig.calls, 3);
	ck_assert(!rig.out[0] && rig.out[1] && !rig.out[2]);
	rig.repeats = 0;
	stop(&rig);
}
END_TEST

START_TEST(counts_claims)
{
	struct rig rig;
	unsigned int i;

	start(&rig, 127, 1);
	use(&rig, 0, 4);
	wire(&rig, 4, true);
	for (i = 0; i < 3; i++) {
		ck_assert_uint_eq(rd(&rig, CLAIM(0)), 4);
		wr(&rig, CLAIM(0), 4);
	}
	ck_assert_uint_eq(plic_source_count(rig.plic, 4), 3);
	ck_assert_uint_eq(plic_source_count(rig.plic, 5), 0);
	ck_assert_uint_eq(plic_source_count(rig.plic, 128), 0);
	ck_assert_uint_eq(plic_source_count(rig.plic, UINT32_MAX), 0);
	stop(&rig);
}
END_TEST

START_TEST(threshold_addresses)
{
	ck_assert(plic_is_threshold(0x200000));
	ck_assert(plic_is_threshold(0x201000));
	ck_assert(plic_is_threshold(0x200000 + 1023 * 0x1000));
	ck_assert(!plic_is_threshold(0x200000 + 1024 * 0x1000));
	ck_assert(!plic_is_threshold(0x200004));
	ck_assert(!plic_is_threshold(0x1ff000));
	ck_assert(!plic_is_threshold(0));
	ck_assert(!plic_is_threshold(UINT64_MAX));
}
END_TEST

START_TEST(reset_clears_all)
{
	struct rig rig;
	uint64_t offset;

	start(&rig, 127, 2);
	plic_set_trigger(rig.plic, 5, PLIC_EDGE);
	use(&rig, 0, 4);
	use(&rig, 1, 5);
	wr(&rig, THRESHOLD(0), 3);
	pulse(&rig, 4);
	pulse(&rig, 5);
	ck_assert_uint_eq(rd(&rig, CLAIM(1)), 5);
	pulse(&rig, 5);
	wr(&rig, THRESHOLD(0), 0);
	ck_assert(rig.out[0]);
	plic_device(rig.plic)->ops->reset(plic_device(rig.plic));
	ck_assert(!rig.out[0] && !rig.out[1]);
	for (offset = 0; offset < 0x3000; offset += 4)
		ck_assert_uint_eq(rd(&rig, offset), 0);
	ck_assert_uint_eq(rd(&rig, THRESHOLD(0)), 0);
	use(&rig, 0, 4);
	use(&rig, 1, 5);
	ck_assert(!rig.out[0] && !rig.out[1]);
	/* Not in service any more, and an edge source still. */
	wire(&rig, 5, true);
	ck_assert_uint_eq(rd(&rig, CLAIM(1)), 5);
	wr(&rig, CLAIM(1), 5);
	ck_assert(!pending(&rig, 5));
	stop(&rig);
}
END_TEST

START_TEST(reset_with_wire_up)
{
	struct rig rig;

	start(&rig, 127, 1);
	use(&rig, 0, 4);
	use(&rig, 0, 5);
	wire(&rig, 4, true);
	wire(&rig, 5, true);
	plic_device(rig.plic)->ops->reset(plic_device(rig.plic));
	/* One device lowers its wire in its own reset, the other keeps on. */
	wire(&rig, 4, false);
	ck_assert_uint_eq(rd(&rig, PENDING(0)), 0);
	use(&rig, 0, 4);
	use(&rig, 0, 5);
	ck_assert(rig.out[0]);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 5);
	ck_assert_uint_eq(rd(&rig, CLAIM(0)), 0);
	stop(&rig);
}
END_TEST

/* A state with something in every field. */
static void make_busy(struct rig *rig)
{
	plic_set_trigger(rig->plic, 100, PLIC_EDGE);
	use(rig, 0, 4);
	use(rig, 1, 5);
	use(rig, 0, 100);
	wr(rig, PRIORITY(100), 6);
	wr(rig, THRESHOLD(1), 2);
	wire(rig, 4, true);
	wire(rig, 5, true);
	pulse(rig, 100);
	ck_assert_uint_eq(rd(rig, CLAIM(0)), 100);
	pulse(rig, 100);
	ck_assert_uint_eq(rd(rig, CLAIM(0)), 4);
}

START_TEST(save_load_round_trip)
{
	struct rig a, b;
	struct xfer x, y;

	start(&a, 127, 2);
	make_busy(&a);
	save(&a, &x);
	start(&b, 127, 2);
	plic_set_trigger(b.plic, 100, PLIC_EDGE);
	ck_assert_int_eq(load(&b, x.buf, x.len), 0);
	save(&b, &y);
	ck_assert_uint_eq(x.len, y.len);
	ck_assert_mem_eq(x.buf, y.buf, x.len);
	/* The wires of the loaded one are told only when asked. */
	ck_assert_uint_eq(b.calls, 0);
	plic_drive_outputs(b.plic);
	ck_assert(!b.out[0] && !b.out[1]);
	b.repeats = 0;
	wr(&b, THRESHOLD(1), 0);
	ck_assert(b.out[1]);
	wr(&b, CLAIM(0), 100);
	ck_assert_uint_eq(rd(&b, CLAIM(0)), 100);
	wire(&b, 4, false);
	wr(&b, CLAIM(0), 4);
	ck_assert(!pending(&b, 4));
	xfer_free(&x);
	xfer_free(&y);
	stop(&a);
	stop(&b);
}
END_TEST

START_TEST(load_refuses_other_machines)
{
	struct rig a, b;
	struct xfer x;

	start(&a, 127, 2);
	make_busy(&a);
	save(&a, &x);
	start(&b, 126, 2);
	plic_set_trigger(b.plic, 100, PLIC_EDGE);
	ck_assert_int_ne(load(&b, x.buf, x.len), 0);
	stop(&b);
	start(&b, 127, 3);
	plic_set_trigger(b.plic, 100, PLIC_EDGE);
	ck_assert_int_ne(load(&b, x.buf, x.len), 0);
	stop(&b);
	start(&b, 127, 2);
	ck_assert_int_ne(load(&b, x.buf, x.len), 0);
	stop(&b);
	xfer_free(&x);
	stop(&a);
}
END_TEST

START_TEST(load_refuses_every_truncation)
{
	struct rig a;
	struct xfer x, y;
	size_t len;

	start(&a, 127, 2);
	make_busy(&a);
	save(&a, &x);
	for (len = 0; len < x.len; len++)
		if (!load(&a, x.buf, len))
			ck_abort_msg("%zu bytes were enough", len);
	/* Nor one byte more, with another state before it. */
	x.buf = realloc(x.buf, x.len + 1);
	ck_assert_ptr_nonnull(x.buf);
	x.buf[x.len] = 0;
	x.buf[8 + 5 * 128] ^= 7;
	ck_assert_int_ne(load(&a, x.buf, x.len + 1), 0);
	x.buf[8 + 5 * 128] ^= 7;
	save(&a, &y);
	ck_assert_mem_eq(x.buf, y.buf, x.len);
	xfer_free(&x);
	xfer_free(&y);
	stop(&a);
}
END_TEST

/* Offsets of the fields in a state of 127 sources and 2 contexts. */
#define AT_EDGE 8
#define AT_LEVEL (AT_EDGE + 128)
#define AT_PENDING (AT_LEVEL + 128)
#define AT_CLAIMED (AT_PENDING + 128)
#define AT_LATCHED (AT_CLAIMED + 128)
#define AT_PRIORITY (AT_LATCHED + 128)
#define AT_THRESHOLD (AT_PRIORITY + 127)
#define AT_ENABLE (AT_THRESHOLD + 1)

START_TEST(load_refuses_bad_fields)
{
	static const struct {
		size_t at;
		uint8_t value;
	} bad[] = {
		{AT_LEVEL, 0x01},	  {AT_LEVEL + 16, 0x01},   {AT_PENDING, 0x01},
		{AT_PENDING + 127, 0x80}, {AT_CLAIMED + 16, 0x01}, {AT_CLAIMED, 0x20},
		{AT_LATCHED, 0x10},	  {AT_LATCHED + 16, 0x01}, {AT_PRIORITY, 8},
		{AT_PRIORITY + 126, 255}, {AT_THRESHOLD, 8},	   {AT_ENABLE, 0x01},
		{AT_ENABLE + 16, 0x01},	  {AT_ENABLE + 127, 0x80},
	};
	struct rig a;
	struct xfer x, y;
	size_t i;

	start(&a, 127, 2);
	make_busy(&a);
	save(&a, &x);
	ck_assert_uint_eq(x.len, AT_THRESHOLD + 2 * 129);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		uint8_t good = x.buf[bad[i].at];

		x.buf[bad[i].at] |= bad[i].value;
		if (!load(&a, x.buf, x.len))
			ck_abort_msg("row %zu was taken", i);
		x.buf[bad[i].at] = good;
	}
	save(&a, &y);
	ck_assert_mem_eq(x.buf, y.buf, x.len);
	xfer_free(&x);
	xfer_free(&y);
	stop(&a);
}
END_TEST

/* --- the slow model -------------------------------------------------------- */

struct model {
	unsigned int sources, contexts;
	bool level[1024], edge[1024], pending[1024], service[1024], latched[1024];
	unsigned int priority[1024];
	unsigned int threshold[MAX_OUT];
	bool enable[MAX_OUT][1024];
};

static bool model_out(const struct model *m, unsigned int c)
{
	unsigned int s;

	for (s = 1; s <= m->sources; s++)
		if (m->pending[s] && m->enable[c][s] && m->priority[s] > m->threshold[c])
			return true;
	return false;
}

static void model_wire(struct model *m, unsigned int s, bool level)
{
	bool rose = level && !m->level[s];

	m->level[s] = level;
	if (!rose)
		return;
	if (m->service[s])
		m->latched[s] = m->edge[s];
	else
		m->pending[s] = true;
}

static unsigned int model_claim(struct model *m, unsigned int c)
{
	unsigned int s, best = 0;

	for (s = 1; s <= m->sources; s++)
		if (m->pending[s] && m->enable[c][s] && m->priority[s] &&
		    (!best || m->priority[s] > m->priority[best]))
			best = s;
	if (best) {
		m->pending[best] = false;
		m->service[best] = true;
	}
	return best;
}

static void model_complete(struct model *m, unsigned int c, uint32_t s)
{
	if (s < 1 || s > m->sources || !m->enable[c][s] || !m->service[s])
		return;
	m->service[s] = false;
	m->pending[s] = m->edge[s] ? m->latched[s] : m->level[s];
	m->latched[s] = false;
}

static void model_priority(struct model *m, unsigned int s, uint32_t v)
{
	if (s < 1 || s > m->sources)
		return;
	/* Only a reset leaves a level that nobody asked about, with priority 0. */
	if (!m->priority[s] && v % 8 && m->level[s] && !m->edge[s] && !m->service[s])
		m->pending[s] = true;
	m->priority[s] = v % 8;
}

static void model_reset(struct model *m)
{
	memset(m->pending, 0, sizeof(m->pending));
	memset(m->service, 0, sizeof(m->service));
	memset(m->latched, 0, sizeof(m->latched));
	memset(m->priority, 0, sizeof(m->priority));
	memset(m->threshold, 0, sizeof(m->threshold));
	memset(m->enable, 0, sizeof(m->enable));
}

static uint32_t model_word(const bool *bits, unsigned int w)
{
	uint32_t v = 0;
	unsigned int i;

	for (i = 0; i < 32; i++)
		v |= (uint32_t)bits[w * 32 + i] << i;
	return v;
}

/* A state goes through a file into a new PLIC, which takes the old one's place. */
static void move_house(struct rig *rig, const struct model *m)
{
	struct rig old = *rig;
	struct xfer x, y;
	unsigned int s;

	save(rig, &x);
	rig->plic = plic_create("plic0", m->sources, m->contexts, on_output, rig, NULL);
	ck_assert_ptr_nonnull(rig->plic);
	for (s = 1; s <= m->sources; s++)
		if (m->edge[s])
			plic_set_trigger(rig->plic, s, PLIC_EDGE);
	ck_assert_int_eq(load(rig, x.buf, x.len), 0);
	save(rig, &y);
	ck_assert_uint_eq(x.len, y.len);
	ck_assert_mem_eq(x.buf, y.buf, x.len);
	xfer_free(&x);
	xfer_free(&y);
	plic_device(old.plic)->ops->destroy(plic_device(old.plic));
}

#define RECENT 16

/*
 * @ops random operations. All outputs are compared after each where @full, else
 * those of the context at work and a few others, and all from time to time.
 */
static void random_walk(struct prng *p, unsigned int sources, unsigned int contexts,
			unsigned int ops, bool full)
{
	struct model *m = calloc(1, sizeof(*m));
	unsigned int recent[RECENT] = {0}, nr_claims = 0, fired = 0;
	struct rig rig;
	unsigned int n, i;

	ck_assert_ptr_nonnull(m);
	m->sources = sources;
	m->contexts = contexts;
	start(&rig, sources, contexts);
	for (i = 1; i <= sources; i += 3) {
		plic_set_trigger(rig.plic, i, PLIC_EDGE);
		m->edge[i] = true;
	}
	for (n = 0; n < ops; n++) {
		unsigned int kind = prng_below(p, 1000);
		/* Now and then one that is not there. */
		unsigned int s = prng_below(p, sources + 2) % 1024;
		unsigned int c = prng_below(p, contexts);
		uint32_t v = (uint32_t)prng_u64(p), got, want;

		if (kind < 350) {
			bool level = prng_below(p, 2);

			wire(&rig, s, level);
			if (s >= 1 && s <= sources)
				model_wire(m, s, level);
		} else if (kind < 600) {
			got = rd(&rig, CLAIM(c));
			want = model_claim(m, c);
			if (got != want)
				ck_abort_msg("op %u: claim by %u: %u, not %u", n, c, got, want);
			if (got)
				recent[nr_claims++ % RECENT] = got;
			fired += got != 0;
		} else if (kind < 850) {
			uint32_t id = recent[prng_below(p, RECENT)];

			if (kind < 610)
				id = kind & 1 ? v : s;
			wr(&rig, CLAIM(c), id);
			model_complete(m, c, id);
		} else if (kind < 890) {
			/* Mostly not 0, which would end everything soon. */
			uint32_t priority = prng_below(p, 4) ? v | 1 : v;

			wr(&rig, PRIORITY(s), priority);
			model_priority(m, s, priority);
		} else if (kind < 940) {
			unsigned int w = prng_below(p, sources / 32 + 1);

			v |= (uint32_t)prng_u64(p);
			wr(&rig, ENABLE(c, w), v);
			for (i = 0; i < 32; i++)
				if (w * 32 + i >= 1 && w * 32 + i <= sources)
					m->enable[c][w * 32 + i] = v >> i & 1;
		} else if (kind < 960) {
			v &= v >> 3;
			wr(&rig, THRESHOLD(c), v);
			m->threshold[c] = v % 8;
		} else if (kind < 980) {
			unsigned int w = prng_below(p, 32);

			if (rd(&rig, PENDING(w)) != model_word(m->pending, w) ||
			    rd(&rig, ENABLE(c, w)) != model_word(m->enable[c], w) ||
			    rd(&rig, THRESHOLD(c)) != m->threshold[c] ||
			    rd(&rig, PRIORITY(s)) != m->priority[s])
				ck_abort_msg("op %u: a register differs", n);
		} else if (kind < 998) {
			uint64_t offset = prng_u64(p) % PLIC_WINDOW;
			unsigned int size = 1U << prng_below(p, 4);

			/* Reserved, or of the wrong kind: no effect. */
			if (size == 4)
				offset |= 1;
			if (plic_ops.read(rig.plic, offset, size))
				ck_abort_msg("op %u: a stray read is not 0", n);
			plic_ops.write(rig.plic, offset, v, size);
		} else if (prng_below(p, 4)) {
			move_house(&rig, m);
		} else if (!prng_below(p, 20)) {
			plic_device(rig.plic)->ops->reset(plic_device(rig.plic));
			model_reset(m);
		}
		for (i = 0; i < contexts; i++) {
			if (!full && n % 500 && i != c && i != s % contexts)
				continue;
			if (rig.out[i] != model_out(m, i))
				ck_abort_msg("op %u (kind %u): wire %u is wrong", n, kind, i);
		}
		if (rig.repeats)
			ck_abort_msg("op %u (kind %u): an output told twice", n, kind);
	}
	/* The walk is worth something only if interrupts went through. */
	ck_assert_uint_gt(fired, ops / 100);
	free(m);
	stop(&rig);
}

START_TEST(random_small)
{
	struct prng p = prng_start("plic small");

	random_walk(&p, 70, 5, 500000, true);
	random_walk(&p, 7, 2, 500000, true);
}
END_TEST

START_TEST(random_big)
{
	struct prng p = prng_start("plic big");

	random_walk(&p, 1023, 130, 40000, false);
}
END_TEST

static Suite *plic_suite(void)
{
	const TTest *const cases[] = {
		create_limits,
		starts_with_zeros,
		level_interrupt_whole_way,
		level_forwards_one_request,
		level_sampled_at_completion,
		level_drop_keeps_request,
		same_level_twice_is_nothing,
		edge_fires_once_per_edge,
		edge_in_service_remembered_once,
		edge_while_pending_melts,
		trigger_change,
		priority_zero_never,
		priority_warl,
		claim_highest_priority_first,
		claim_lowest_id_of_equals,
		threshold_masks_notification,
		threshold_warl,
		claim_ignores_threshold,
		claim_nothing_pending,
		claim_only_enabled,
		multicast_first_claim_wins,
		complete_by_another_context,
		complete_where_disabled_ignored,
		complete_masked_by_priority,
		complete_of_unclaimed_ignored,
		complete_out_of_range_ignored,
		affinity_change_while_pending,
		affinity_change_in_service,
		enables_are_independent,
		enable_only_sources_there,
		pending_is_read_only,
		wires_out_of_range_ignored,
		other_widths_ignored,
		contexts_out_of_range_ignored,
		whole_window_sweep,
		outputs_only_on_change,
		drive_outputs_tells_all,
		counts_claims,
		threshold_addresses,
		reset_clears_all,
		reset_with_wire_up,
		save_load_round_trip,
		load_refuses_other_machines,
		load_refuses_every_truncation,
		load_refuses_bad_fields,
		random_small,
		random_big,
	};
	Suite *suite = suite_create("plic");
	TCase *tc = tcase_create("plic");
	size_t i;

	tcase_set_timeout(tc, 120);
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		tcase_add_test(tc, cases[i]);
	suite_add_tcase(suite, tc);
	return suite;
}

int main(void)
{
	return unit_main(plic_suite());
}
