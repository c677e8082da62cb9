// SPDX-License-Identifier: GPL-2.0-only
/*
 * The MMIO bus: who answers which address.
 */
#include "lkvm/bus.h"
#include "mmio.h"
#include "unit.h"

#include <errno.h>
#include <string.h>

struct recorder {
	uint64_t offset, value, answer;
	unsigned int size, reads, writes;
};

static uint64_t rec_read(void *dev, uint64_t offset, unsigned int size)
{
	struct recorder *r = dev;

	r->offset = offset;
	r->size = size;
	r->reads++;
	return r->answer;
}

static void rec_write(void *dev, uint64_t offset, uint64_t value, unsigned int size)
{
	struct recorder *r = dev;

	r->offset = offset;
	r->size = size;
	r->value = value;
	r->writes++;
}

static const struct mmio_ops rec_ops = {.read = rec_read, .write = rec_write};

static struct bus bus;

static void setup(void)
{
	bus_init(&bus);
}

static void teardown(void)
{
	bus_destroy(&bus);
}

static int add(gpa_t base, uint64_t size, struct recorder *r)
{
	return bus_add(
		&bus,
		&(struct mmio_region){
			.name = "rec", .base = base, .size = size, .ops = &rec_ops, .dev = r});
}

START_TEST(nothing_there)
{
	uint64_t value = 5;

	ck_assert(!bus_read(&bus, 0, 4, &value));
	ck_assert_uint_eq(value, 0);
	ck_assert(!bus_write(&bus, UINT64_MAX, 1, 1));
	ck_assert_int_eq(bus_remove(&bus, 0), -ENOENT);
}
END_TEST

START_TEST(sizes_and_masks)
{
	struct recorder r = {.answer = 0x1122334455667788};
	static const uint64_t want[] = {0x88, 0x7788, 0x55667788, 0x1122334455667788};
	uint64_t value;
	unsigned int i;

	ck_assert_int_eq(add(0x1000, 0x100, &r), 0);
	for (i = 0; i < 4; i++) {
		value = 1;
		ck_assert(bus_read(&bus, 0x1010, 1u << i, &value));
		ck_assert_uint_eq(value, want[i]);
		ck_assert_uint_eq(r.offset, 0x10);
		ck_assert_uint_eq(r.size, 1u << i);
		ck_assert(bus_write(&bus, 0x10f8, 1u << i, 0x1122334455667788));
		ck_assert_uint_eq(r.value, want[i]);
		ck_assert_uint_eq(r.offset, 0xf8);
	}
}
END_TEST

START_TEST(edges_and_straddling)
{
	struct recorder a = {.answer = 1}, b = {.answer = 2};
	uint64_t value;

	ck_assert_int_eq(add(0x1000, 8, &a), 0);
	ck_assert_int_eq(add(0x1008, 8, &b), 0);
	ck_assert(bus_read(&bus, 0x1007, 1, &value));
	ck_assert_uint_eq(value, 1);
	ck_assert(bus_read(&bus, 0x1008, 1, &value));
	ck_assert_uint_eq(value, 2);
	/* Over the border of two devices, over the end, and before the start. */
	value = 9;
	ck_assert(!bus_read(&bus, 0x1006, 4, &value));
	ck_assert_uint_eq(value, 0);
	ck_assert(!bus_write(&bus, 0x100c, 8, 0));
	ck_assert(!bus_read(&bus, 0x100f, 2, &value));
	ck_assert(!bus_read(&bus, 0x0fff, 2, &value));
	ck_assert(!bus_read(&bus, 0x0ffc, 4, &value));
	ck_assert(!bus_read(&bus, 0x1010, 1, &value));
	ck_assert_uint_eq(a.reads + b.reads, 2);
	ck_assert_uint_eq(a.writes + b.writes, 0);
}
END_TEST

START_TEST(ends_of_the_address_space)
{
	struct recorder low = {.answer = 1}, high = {.answer = 2};
	uint64_t value;

	ck_assert_int_eq(add(0, 4096, &low), 0);
	ck_assert_int_eq(add(UINT64_MAX - 4095, 4096, &high), 0);
	ck_assert(bus_read(&bus, 0, 8, &value));
	ck_assert_uint_eq(value, 1);
	ck_assert(bus_read(&bus, UINT64_MAX, 1, &value));
	ck_assert_uint_eq(value, 2);
	ck_assert(bus_read(&bus, UINT64_MAX - 7, 8, &value));
	/* Over the top: not the device at 0, and no wrap. */
	ck_assert(!bus_read(&bus, UINT64_MAX - 3, 8, &value));
	ck_assert(!bus_write(&bus, UINT64_MAX, 2, 0));
	ck_assert_uint_eq(low.reads, 1);
}
END_TEST

START_TEST(refusals)
{
	struct recorder r = {0};

	ck_assert_int_eq(add(0x1000, 0, &r), -EINVAL);
	ck_assert_int_eq(add(UINT64_MAX, 2, &r), -EINVAL);
	ck_assert_int_eq(add(0x1000, UINT64_MAX, &r), -EINVAL);
	ck_assert_int_eq(add(0x1000, 0x1000, &r), 0);
	ck_assert_int_eq(add(0x1000, 0x1000, &r), -EEXIST);
	ck_assert_int_eq(add(0x1fff, 1, &r), -EEXIST);
	ck_assert_int_eq(add(0x0fff, 2, &r), -EEXIST);
	ck_assert_int_eq(add(0, UINT64_MAX, &r), -EEXIST);
	ck_assert_int_eq(add(0x1800, 0x10, &r), -EEXIST);
	ck_assert_int_eq(add(0x2000, 1, &r), 0);
	ck_assert_int_eq(add(0x0fff, 1, &r), 0);
	ck_assert_uint_eq(bus.nr, 3);
	/* Only the exact base names a window. */
	ck_assert_int_eq(bus_remove(&bus, 0x1001), -ENOENT);
	ck_assert_int_eq(bus_remove(&bus, 0x1000), 0);
	ck_assert_int_eq(bus_remove(&bus, 0x1000), -ENOENT);
	ck_assert_int_eq(add(0x1000, 0x1000, &r), 0);
}
END_TEST

START_TEST(sixty_four_devices)
{
	struct recorder r[64] = {{0}};
	uint64_t value;
	unsigned int i;

	/* Added in a scattered order, windows with gaps. */
	for (i = 0; i < 64; i++) {
		unsigned int k = i * 37 % 64;

		r[k].answer = 100 + k;
		ck_assert_int_eq(add(0x10000 + 0x1000 * k, 0x200, &r[k]), 0);
	}
	for (i = 0; i < 64; i++) {
		ck_assert(bus_read(&bus, 0x10000 + 0x1000 * i, 4, &value));
		ck_assert_uint_eq(value, 100 + i);
		ck_assert(bus_read(&bus, 0x10000 + 0x1000 * i + 0x1fc, 4, &value));
		ck_assert(!bus_read(&bus, 0x10000 + 0x1000 * i + 0x200, 4, &value));
		if (i)
			ck_assert_uint_lt(bus.regions[i - 1].base, bus.regions[i].base);
	}
	for (i = 0; i < 64; i += 2)
		ck_assert_int_eq(bus_remove(&bus, 0x10000 + 0x1000 * i), 0);
	for (i = 0; i < 64; i++)
		ck_assert_int_eq(bus_read(&bus, 0x10000 + 0x1000 * i, 4, &value), i & 1);
}
END_TEST

/* The last window answers first, but for its own addresses only. */
START_TEST(last_window)
{
	const struct mmio_region *a, *b;
	struct recorder r[2] = {{.reads = 0}};

	ck_assert_int_eq(add(0x1000, 0x100, &r[0]), 0);
	ck_assert_int_eq(add(0x2000, 0x100, &r[1]), 0);
	a = bus_window(&bus, NULL, 0x1000, 4);
	b = bus_window(&bus, a, 0x20ff, 1);
	ck_assert_ptr_nonnull(a);
	ck_assert_ptr_nonnull(b);
	ck_assert_uint_eq(a->base, 0x1000);
	ck_assert_uint_eq(b->base, 0x2000);
	ck_assert_ptr_eq(bus_window(&bus, a, 0x10fc, 4), a);
	ck_assert_ptr_eq(bus_window(&bus, b, 0x10fc, 4), a);
	ck_assert_ptr_null(bus_window(&bus, a, 0x10fd, 4));
	ck_assert_ptr_null(bus_window(&bus, a, 0xfff, 1));
	ck_assert_ptr_null(bus_window(&bus, b, 0x2100, 1));
	ck_assert_ptr_null(bus_window(&bus, b, UINT64_MAX, 8));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bus");
	TCase *tc = tcase_create("bus");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, nothing_there);
	tcase_add_test(tc, sizes_and_masks);
	tcase_add_test(tc, edges_and_straddling);
	tcase_add_test(tc, ends_of_the_address_space);
	tcase_add_test(tc, refusals);
	tcase_add_test(tc, sixty_four_devices);
	tcase_add_test(tc, last_window);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
