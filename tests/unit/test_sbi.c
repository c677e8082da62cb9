// SPDX-License-Identifier: GPL-2.0-only
/*
 * Forwarded SBI calls: each function, and the addresses and lengths a hostile
 * guest gives the debug console.
 */
#include "lkvm/riscv/sbi.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#define BASE UINT64_C(0x80000000)
#define SIZE (4 * MIB)
#define EID_HSM 0x48534d
#define EID_MPXY 0x4d505859

static struct guest_memory mem;
static struct sbi_env env;

/* A console that takes @room bytes more and has @waiting bytes. */
static uint8_t *sent;
static size_t nr_sent, room, waiting, calls;

static size_t put(void *opaque, const uint8_t *buf, size_t len)
{
	size_t take = len < room ? len : room;

	(void)opaque;
	calls++;
	memcpy(sent + nr_sent, buf, take);
	nr_sent += take;
	room -= take;
	return take;
}

static size_t get(void *opaque, uint8_t *buf, size_t len)
{
	size_t take = len < waiting ? len : waiting;

	(void)opaque;
	calls++;
	memset(buf, 'x', take);
	waiting -= take;
	return take;
}

static void setup(void)
{
	struct error err;

	memory_init(&mem);
	ck_assert_ptr_nonnull(memory_add(&mem, BASE, SIZE, 2 * MIB, &err));
	ck_assert_ptr_nonnull(memory_add(&mem, BASE + SIZE, SIZE, 2 * MIB, &err));
	sent = calloc(1, 4 * MIB);
	ck_assert_ptr_nonnull(sent);
	nr_sent = waiting = calls = 0;
	room = 4 * MIB;
	env = (struct sbi_env){.mem = &mem, .xlen = 64, .put = put, .get = get};
}

static void teardown(void)
{
	free(sent);
	memory_destroy(&mem);
}

struct answer {
	int64_t error;
	uint64_t value;
	enum sbi_outcome outcome;
};

static struct answer call(uint64_t eid, uint64_t fid, uint64_t a0, uint64_t a1, uint64_t a2)
{
	const uint64_t args[6] = {a0, a1, a2, 4, 5, 6};
	struct answer a = {99, 99, SBI_DONE};

	a.outcome = sbi_call(&env, eid, fid, args, &a.error, &a.value);
	return a;
}

static void check(struct answer a, int64_t error, uint64_t value)
{
	ck_assert_int_eq(a.error, error);
	ck_assert_uint_eq(a.value, value);
	ck_assert_int_eq(a.outcome, SBI_DONE);
}

START_TEST(legacy_console)
{
	/* a1 comes back as it was; the function number is whatever a6 held. */
	check(call(SBI_EID_PUTCHAR, 12345, 'h', 0xfeed, 0), 0, 0xfeed);
	check(call(SBI_EID_PUTCHAR, 0, 0xffffff00 | 'i', 1, 0), 0, 1);
	ck_assert_str_eq((char *)sent, "hi");
	check(call(SBI_EID_GETCHAR, 7, 0, 0xfeed, 0), -1, 0xfeed);
	waiting = 1;
	check(call(SBI_EID_GETCHAR, 7, 0, 2, 0), 'x', 2);
	check(call(SBI_EID_GETCHAR, 7, 0, 2, 0), -1, 2);
	room = 0;
	check(call(SBI_EID_PUTCHAR, 0, 'z', 3, 0), 0, 3);
	ck_assert_uint_eq(nr_sent, 2);
}
END_TEST

START_TEST(probes)
{
	check(call(SBI_EID_BASE, SBI_BASE_PROBE, 0x09000000, 0, 0), 0, 0);
	check(call(SBI_EID_BASE, SBI_BASE_PROBE, 0x08123456, 0, 0), 0, 0);
	check(call(SBI_EID_BASE, 0, 0, 0, 0), SBI_ERR_NOT_SUPPORTED, 0);
	check(call(SBI_EID_BASE, UINT64_MAX, 0, 0, 0), SBI_ERR_NOT_SUPPORTED, 0);
}
END_TEST

START_TEST(unknown_extensions)
{
	static const uint64_t eids[] = {0,	    3,		8,	    0x08000000,
					0x08ffffff, 0x09000000, 0x09ffffff, EID_MPXY,
					EID_HSM,    0x53525354, UINT64_MAX, UINT64_C(0x14442434e)};
	size_t i;
	uint64_t fid;

	for (i = 0; i < ARRAY_SIZE(eids); i++)
		for (fid = 0; fid < 5; fid++)
			check(call(eids[i], fid, BASE, BASE, BASE), SBI_ERR_NOT_SUPPORTED, 0);
	ck_assert_uint_eq(calls, 0);
}
END_TEST

START_TEST(dbcn_write)
{
	ck_assert(memory_write(&mem, BASE + 100, "hello", 5));
	check(call(SBI_EID_DBCN, SBI_DBCN_WRITE, 5, BASE + 100, 0), 0, 5);
	ck_assert_str_eq((char *)sent, "hello");
	/* A console that takes a part, or nothing: a short count is no error. */
	room = 2;
	check(call(SBI_EID_DBCN, SBI_DBCN_WRITE, 5, BASE + 100, 0), 0, 2);
	check(call(SBI_EID_DBCN, SBI_DBCN_WRITE, 5, BASE + 100, 0), 0, 0);
	ck_assert_uint_eq(nr_sent, 7);
	/* The last byte of RAM. */
	room = 100;
	check(call(SBI_EID_DBCN, SBI_DBCN_WRITE, 1, BASE + 2 * SIZE - 1, 0), 0, 1);
}
END_TEST

START_TEST(dbcn_read)
{
	char back[300] = "";
	uint8_t zero = 1;

	check(call(SBI_EID_DBCN, SBI_DBCN_READ, 10, BASE, 0), 0, 0);
	waiting = 5;
	check(call(SBI_EID_DBCN, SBI_DBCN_READ, 10, BASE, 0), 0, 5);
	ck_assert(memory_read(&mem, BASE, back, 5));
	ck_assert_str_eq(back, "xxxxx");
	/* More than one inner piece; never more than asked. */
	waiting = 1000;
	check(call(SBI_EID_DBCN, SBI_DBCN_READ, 700, BASE + 4096, 0), 0, 700);
	ck_assert_uint_eq(waiting, 300);
	ck_assert(memory_read(&mem, BASE + 4096 + 700, &zero, 1));
	ck_assert_uint_eq(zero, 0);
	check(call(SBI_EID_DBCN, SBI_DBCN_READ, 1, BASE + 2 * SIZE - 1, 0), 0, 1);
}
END_TEST

START_TEST(dbcn_write_byte)
{
	check(call(SBI_EID_DBCN, SBI_DBCN_WRITE_BYTE, 0x1234ff41, 0, 0), 0, 0);
	ck_assert_str_eq((char *)sent, "A");
	room = 0;
	check(call(SBI_EID_DBCN, SBI_DBCN_WRITE_BYTE, 'B', 0, 0), 0, 0);
	check(call(SBI_EID_DBCN, 3, 'B', 0, 0), SBI_ERR_NOT_SUPPORTED, 0);
	check(call(SBI_EID_DBCN, UINT64_MAX, 'B', 0, 0), SBI_ERR_NOT_SUPPORTED, 0);
}
END_TEST

START_TEST(dbcn_bad_ranges)
{
	static const struct {
		uint64_t len, lo, hi;
	} bad[] = {
		{1, 0, 0},			  /* nothing there */
		{1, 0x10000000, 0},		  /* a device */
		{1, BASE - 1, 0},		  /* just below */
		{1, BASE + 2 * SIZE, 0},	  /* just above */
		{2, BASE + 2 * SIZE - 1, 0},	  /* across the end */
		{8, BASE - 4, 0},		  /* across the start */
		{8, BASE + SIZE - 4, 0},	  /* across two regions */
		{2 * SIZE, BASE, 0},		  /* both */
		{5, BASE, 1},			  /* hi half set on rv64 */
		{5, BASE, UINT64_MAX},		  /* likewise */
		{UINT64_MAX, BASE, 0},		  /* huge */
		{UINT64_MAX - BASE + 1, BASE, 0}, /* wraps to 0 */
		{UINT64_MAX, UINT64_MAX, UINT64_MAX},
		{SIZE + 1, BASE, 0},
	};
	size_t i;

	waiting = 100;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		check(call(SBI_EID_DBCN, SBI_DBCN_WRITE, bad[i].len, bad[i].lo, bad[i].hi),
		      SBI_ERR_INVALID_PARAM, 0);
		check(call(SBI_EID_DBCN, SBI_DBCN_READ, bad[i].len, bad[i].lo, bad[i].hi),
		      SBI_ERR_INVALID_PARAM, 0);
	}
	ck_assert_uint_eq(nr_sent, 0);
	ck_assert_uint_eq(waiting, 100);
}
END_TEST

START_TEST(dbcn_zero_length)
{
	check(call(SBI_EID_DBCN, SBI_DBCN_WRITE, 0, BASE, 0), 0, 0);
	check(call(SBI_EID_DBCN, SBI_DBCN_READ, 0, BASE, 0), 0, 0);
	check(call(SBI_EID_DBCN, SBI_DBCN_WRITE, 0, 0, 0), 0, 0);
	ck_assert_uint_eq(calls, 0);
}
END_TEST

START_TEST(dbcn_huge_is_cut)
{
	struct answer a;

	room = waiting = 2 * SIZE;
	a = call(SBI_EID_DBCN, SBI_DBCN_WRITE, SIZE, BASE, 0);
	ck_assert_int_eq(a.error, 0);
	ck_assert_uint_gt(a.value, 0);
	ck_assert_uint_le(a.value, 64 * KIB);
	ck_assert_uint_eq(nr_sent, a.value);
	a = call(SBI_EID_DBCN, SBI_DBCN_READ, SIZE, BASE, 0);
	ck_assert_int_eq(a.error, 0);
	ck_assert_uint_gt(a.value, 0);
	ck_assert_uint_le(a.value, 64 * KIB);
	ck_assert_uint_eq(2 * SIZE - waiting, a.value);
}
END_TEST

START_TEST(dbcn_rv32_halves)
{
	struct error err;

	env.xlen = 32;
	ck_assert_ptr_nonnull(memory_add(&mem, UINT64_C(0x300000000), 4096, 4096, &err));
	ck_assert(memory_write(&mem, UINT64_C(0x300000010), "high", 4));
	check(call(SBI_EID_DBCN, SBI_DBCN_WRITE, 4, 0x10, 3), 0, 4);
	ck_assert_str_eq((char *)sent, "high");
	check(call(SBI_EID_DBCN, SBI_DBCN_WRITE, 4, 0x10, 4), SBI_ERR_INVALID_PARAM, 0);
}
END_TEST

START_TEST(dbcn_read_is_dirty)
{
	const struct memory_region *r = memory_find(&mem, BASE, 1);

	ck_assert_int_eq(memory_log_dirty(&mem, true), 0);
	waiting = 1;
	check(call(SBI_EID_DBCN, SBI_DBCN_READ, 4096, BASE + 8192, 0), 0, 1);
	ck_assert_uint_eq(atomic_load(&r->dirty[0]), 4);
	check(call(SBI_EID_DBCN, SBI_DBCN_WRITE, 4096, BASE, 0), 0, 4096);
	ck_assert_uint_eq(atomic_load(&r->dirty[0]), 4);
}
END_TEST

START_TEST(suspend)
{
	struct answer a = call(SBI_EID_SUSP, SBI_SUSP_SYSTEM, 0, BASE, 0xabc);

	ck_assert_int_eq(a.outcome, SBI_SUSPEND);
	ck_assert_int_eq(a.error, SBI_SUCCESS);
	a = call(SBI_EID_SUSP, 1, 0, BASE, 0);
	ck_assert_int_eq(a.outcome, SBI_DONE);
}
END_TEST

START_TEST(suspend_unknown_function)
{
	/* SBI 3.0: a function that does not exist is not supported. */
	ck_assert_int_eq(call(SBI_EID_SUSP, 1, 0, BASE, 0).error, SBI_ERR_NOT_SUPPORTED);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sbi");
	TCase *tc = tcase_create("sbi");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, legacy_console);
	tcase_add_test(tc, probes);
	tcase_add_test(tc, unknown_extensions);
	tcase_add_test(tc, dbcn_write);
	tcase_add_test(tc, dbcn_read);
	tcase_add_test(tc, dbcn_write_byte);
	tcase_add_test(tc, dbcn_bad_ranges);
	tcase_add_test(tc, dbcn_zero_length);
	tcase_add_test(tc, dbcn_huge_is_cut);
	tcase_add_test(tc, dbcn_rv32_halves);
	tcase_add_test(tc, dbcn_read_is_dirty);
	tcase_add_test(tc, suspend);
	tcase_add_test(tc, suspend_unknown_function);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
