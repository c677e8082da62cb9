// SPDX-License-Identifier: GPL-2.0-only
/*
 * The walk over a device's state: layout, direction, and what it refuses.
 */
#include "unit.h"

#include "lkvm/xfer.h"

#include <string.h>

struct fields {
	uint8_t a;
	uint16_t b;
	uint32_t c;
	uint64_t d;
	bool e;
	uint8_t f[3];
};

static const struct fields sample = {0x12, 0x3456, 0x789abcde, 0xf123456789abcdef, true, {7, 8, 9}};

static const uint8_t sample_bytes[] = {
	0x12, 0x56, 0x34, 0xde, 0xbc, 0x9a, 0x78, 0xef, 0xcd, 0xab,
	0x89, 0x67, 0x45, 0x23, 0xf1, 0x01, 7,	  8,	9,
};

static void walk(struct xfer *x, struct fields *f)
{
	xfer_u8(x, &f->a);
	xfer_u16(x, &f->b);
	xfer_u32(x, &f->c);
	xfer_u64(x, &f->d);
	xfer_bool(x, &f->e);
	xfer_bytes(x, f->f, sizeof(f->f));
}

START_TEST(layout_is_little_endian)
{
	struct fields f = sample;
	struct xfer x;

	xfer_save_init(&x);
	walk(&x, &f);
	ck_assert_int_eq(xfer_done(&x, NULL), 0);
	ck_assert_uint_eq(x.len, sizeof(sample_bytes));
	ck_assert_mem_eq(x.buf, sample_bytes, sizeof(sample_bytes));
	xfer_free(&x);
	ck_assert_ptr_null(x.buf);
}
END_TEST

START_TEST(loads_what_was_saved)
{
	struct fields f = {0};
	struct error err;
	struct xfer x;

	xfer_load_init(&x, sample_bytes, sizeof(sample_bytes));
	walk(&x, &f);
	ck_assert_int_eq(xfer_done(&x, &err), 0);
	ck_assert_uint_eq(f.a, sample.a);
	ck_assert_uint_eq(f.b, sample.b);
	ck_assert_uint_eq(f.c, sample.c);
	ck_assert_uint_eq(f.d, sample.d);
	ck_assert(f.e);
	ck_assert_mem_eq(f.f, sample.f, 3);
	/* The buffer stays the caller's. */
	xfer_free(&x);
}
END_TEST

START_TEST(refuses_every_truncation)
{
	size_t len;

	for (len = 0; len < sizeof(sample_bytes); len++) {
		struct fields f = {0};
		struct error err;
		struct xfer x;

		xfer_load_init(&x, sample_bytes, len);
		walk(&x, &f);
		ck_assert_int_eq(xfer_done(&x, &err), -1);
		ck_assert_ptr_nonnull(strstr(err.msg, "ends early"));
		ck_assert(x.failed && x.pos <= len);
		ck_assert_uint_eq(f.f[0], 0);
	}
}
END_TEST

START_TEST(refuses_left_overs)
{
	struct error err;
	struct xfer x;
	uint8_t v;

	xfer_load_init(&x, sample_bytes, 2);
	xfer_u8(&x, &v);
	ck_assert(!xfer_commit(&x));
	ck_assert_int_eq(xfer_done(&x, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.msg, "1 bytes are left over"));
	/* Where the device did not ask, the caller does. */
	xfer_load_init(&x, sample_bytes, 2);
	xfer_u8(&x, &v);
	ck_assert_int_eq(xfer_done(&x, &err), -1);
	xfer_load_init(&x, NULL, 0);
	ck_assert_int_eq(xfer_done(&x, &err), 0);
}
END_TEST

START_TEST(commits_only_a_whole_load)
{
	struct fields f = sample;
	struct xfer x;

	xfer_save_init(&x);
	walk(&x, &f);
	ck_assert(!xfer_commit(&x));
	ck_assert_int_eq(xfer_done(&x, NULL), 0);
	xfer_free(&x);
	xfer_load_init(&x, sample_bytes, sizeof(sample_bytes) - 1);
	walk(&x, &f);
	ck_assert(!xfer_commit(&x));
	xfer_load_init(&x, sample_bytes, sizeof(sample_bytes));
	walk(&x, &f);
	ck_assert(xfer_commit(&x));
	ck_assert_int_eq(xfer_done(&x, NULL), 0);
}
END_TEST

START_TEST(refuses_odd_bool)
{
	const uint8_t bytes[] = {2, 5};
	struct error err;
	struct xfer x;
	bool b = true;
	uint8_t v = 77;

	xfer_load_init(&x, bytes, sizeof(bytes));
	xfer_bool(&x, &b);
	ck_assert(b);
	xfer_u8(&x, &v);
	ck_assert_uint_eq(v, 77);
	ck_assert_int_eq(xfer_done(&x, &err), -1);
	ck_assert_int_eq(xfer_done(&x, NULL), -1);
}
END_TEST

START_TEST(nothing_after_a_failure)
{
	struct fields f = {0};
	struct error err;
	struct xfer x;

	xfer_load_init(&x, sample_bytes, sizeof(sample_bytes));
	xfer_check(&x, true, "fine");
	ck_assert(!x.failed);
	xfer_check(&x, false, "first reason: 100% wrong");
	xfer_check(&x, false, "second reason");
	walk(&x, &f);
	ck_assert_uint_eq(f.a, 0);
	ck_assert_uint_eq(x.pos, 0);
	ck_assert_int_eq(xfer_done(&x, &err), -1);
	ck_assert_str_eq(err.msg, "first reason: 100% wrong");
}
END_TEST

START_TEST(checks_only_while_loading)
{
	struct xfer x;

	xfer_save_init(&x);
	xfer_check(&x, false, "never mind");
	ck_assert_int_eq(xfer_done(&x, NULL), 0);
	ck_assert_uint_eq(x.len, 0);
	xfer_free(&x);
}
END_TEST

START_TEST(grows)
{
	static const uint8_t zeros[100000];
	struct xfer x;
	uint32_t i;

	xfer_save_init(&x);
	for (i = 0; i < 10000; i++)
		xfer_u32(&x, &i);
	xfer_bytes(&x, (void *)(uintptr_t)zeros, sizeof(zeros));
	xfer_bytes(&x, NULL, 0);
	ck_assert_int_eq(xfer_done(&x, NULL), 0);
	ck_assert_uint_eq(x.len, 140000);
	for (i = 0; i < 10000; i++) {
		if (x.buf[4 * i] != (uint8_t)i || x.buf[4 * i + 1] != (uint8_t)(i >> 8))
			ck_abort_msg("word %u is wrong", i);
	}
	ck_assert_mem_eq(x.buf + 40000, zeros, sizeof(zeros));
	xfer_free(&x);
}
END_TEST

static Suite *xfer_suite(void)
{
	const TTest *const cases[] = {
		layout_is_little_endian, loads_what_was_saved,	    refuses_every_truncation,
		refuses_left_overs,	 commits_only_a_whole_load, refuses_odd_bool,
		nothing_after_a_failure, checks_only_while_loading, grows,
	};
	Suite *suite = suite_create("xfer");
	TCase *tc = tcase_create("xfer");
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		tcase_add_test(tc, cases[i]);
	suite_add_tcase(suite, tc);
	return suite;
}

int main(void)
{
	return unit_main(xfer_suite());
}
