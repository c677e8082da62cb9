// SPDX-License-Identifier: GPL-2.0-only
/*
 * The generation id: loads of every width, the line that falls when the id is read from its
 * beginning, and save and load.
 */
#include "unit.h"

#include "lkvm/hw/generation.h"

#include <string.h>

static struct irq_chip chip;
static bool line, no_random;
static unsigned int calls;
static uint8_t next;

static void on_line(struct irq_chip *c, uint32_t source, bool level)
{
	ck_assert_ptr_eq(c, &chip);
	ck_assert_uint_eq(source, 12);
	line = level;
	calls++;
}

static const struct irq_chip_ops chip_ops = {.set_level = on_line};

static bool some_bytes(void *buf, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		((uint8_t *)buf)[i] = (uint8_t)(next + i);
	next += 0x20;
	return !no_random;
}

static struct generation *make(void)
{
	struct generation *g;

	chip.ops = &chip_ops;
	line = no_random = false;
	calls = 0;
	next = 0x10;
	g = generation_create("generation0", (struct irq_line){&chip, 12}, some_bytes);
	ck_assert_ptr_nonnull(g);
	return g;
}

static void finish(struct generation *g)
{
	struct device *dev = generation_device(g);

	dev->ops->destroy(dev);
}

static uint64_t load(struct generation *g, uint64_t offset, unsigned int size)
{
	return generation_ops.read(g, offset, size);
}

START_TEST(loads)
{
	struct generation *g = make();
	unsigned int i;

	for (i = 0; i < 16; i++)
		ck_assert_uint_eq(load(g, i, 1), 0x10 + i);
	ck_assert_uint_eq(load(g, 0, 8), UINT64_C(0x1716151413121110));
	ck_assert_uint_eq(load(g, 8, 8), UINT64_C(0x1f1e1d1c1b1a1918));
	ck_assert_uint_eq(load(g, 12, 4), 0x1f1e1d1c);
	ck_assert_uint_eq(load(g, 14, 4), 0x1f1e);
	ck_assert_uint_eq(load(g, 16, 8), 0);
	ck_assert_uint_eq(load(g, 0xff8, 8), 0);
	generation_ops.write(g, 0, 0, 8);
	ck_assert_uint_eq(load(g, 0, 2), 0x1110);
	ck_assert_uint_eq(calls, 0);
	finish(g);
}
END_TEST

START_TEST(renewed)
{
	struct generation *g = make();
	struct device *dev = generation_device(g);
	char text[2 * GENERATION_ID + 1];

	ck_assert(generation_renew(g));
	ck_assert(line);
	/* Who reads on where it was saved has not seen it. */
	ck_assert_uint_eq(load(g, 8, 8), UINT64_C(0x3f3e3d3c3b3a3938));
	ck_assert(line);
	ck_assert_uint_eq(load(g, 0, 8), UINT64_C(0x3736353433323130));
	ck_assert(!line);
	ck_assert_uint_eq(calls, 2);
	ck_assert_str_eq(generation_text(g, text), "303132333435363738393a3b3c3d3e3f");
	/* A reset lowers the line, and keeps the id. */
	ck_assert(generation_renew(g));
	dev->ops->reset(dev);
	ck_assert(!line);
	ck_assert_uint_eq(load(g, 0, 1), 0x50);
	no_random = true;
	ck_assert(!generation_renew(g));
	ck_assert_uint_eq(load(g, 0, 1), 0x50);
	ck_assert(!line);
	ck_assert_ptr_null(generation_create("x", (struct irq_line){&chip, 12}, some_bytes));
	finish(g);
}
END_TEST

START_TEST(saved)
{
	struct generation *a = make(), *b;
	struct device *dev = generation_device(a), *other;
	struct xfer x, y;
	struct error err;

	ck_assert(generation_renew(a));
	xfer_save_init(&x);
	dev->ops->transfer(dev, &x);
	ck_assert_int_eq(xfer_done(&x, &err), 0);
	b = generation_create("generation0", (struct irq_line){&chip, 12}, some_bytes);
	other = generation_device(b);
	line = false;
	xfer_load_init(&y, x.buf, x.len);
	other->ops->transfer(other, &y);
	ck_assert_int_eq(xfer_done(&y, &err), 0);
	/* The line waits for the resume. */
	ck_assert(!line);
	other->ops->resume(other);
	ck_assert(line);
	xfer_save_init(&y);
	other->ops->transfer(other, &y);
	ck_assert_uint_eq(y.len, x.len);
	ck_assert_mem_eq(y.buf, x.buf, x.len);
	ck_assert_uint_eq(load(b, 0, 8), load(a, 0, 8));
	/* Cut off: nothing of it is taken. */
	ck_assert(generation_renew(b));
	xfer_free(&y);
	xfer_load_init(&y, x.buf, x.len - 1);
	other->ops->transfer(other, &y);
	ck_assert_int_eq(xfer_done(&y, &err), -1);
	ck_assert_uint_ne(load(b, 0, 8), load(a, 0, 8));
	xfer_free(&x);
	finish(a);
	finish(b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("generation");
	TCase *tc = tcase_create("generation");

	tcase_add_test(tc, loads);
	tcase_add_test(tc, renewed);
	tcase_add_test(tc, saved);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
