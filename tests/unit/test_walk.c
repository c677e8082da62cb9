// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's page tables: pages of all sizes in all modes, NAPOT, what maps nothing, and
 * tables that a hostile guest made.
 */
#include "lkvm/riscv/walk.h"
#include "unit.h"

#include <endian.h>
#include <string.h>

#define RAM UINT64_C(0x80000000)
#define ROOT (RAM + 0x1000)

#define V 1u
#define RWX 14u
#define N (UINT64_C(1) << 63)

static struct guest_memory mem;

static void setup(void)
{
	struct error err;

	memory_init(&mem);
	ck_assert_ptr_nonnull(memory_add(&mem, RAM, 16 * MIB, 4096, &err));
}

static void teardown(void)
{
	memory_destroy(&mem);
}

static uint64_t satp(unsigned int mode)
{
	return (uint64_t)mode << 60 | UINT64_C(0xabcd) << 44 | ROOT >> 12;
}

static uint64_t pte(uint64_t gpa, uint64_t flags)
{
	return gpa >> 12 << 10 | flags;
}

static void entry(uint64_t table, unsigned int index, uint64_t value)
{
	value = htole64(value);
	ck_assert(memory_write(&mem, table + 8 * index, &value, sizeof(value)));
}

/* One leaf at @level for @va; tables from ROOT on, a page each. */
static void map(unsigned int levels, unsigned int level, uint64_t va, uint64_t leaf)
{
	uint64_t table = ROOT;
	unsigned int l;

	for (l = levels - 1; l > level; l--, table += 0x1000)
		entry(table, va >> (12 + 9 * l) & 511, pte(table + 0x1000, V));
	entry(table, va >> (12 + 9 * level) & 511, leaf);
}

static void clear(void)
{
	static const uint8_t zeroes[8 * 4096];

	ck_assert(memory_write(&mem, ROOT, zeroes, sizeof(zeroes)));
}

static bool walks(unsigned int mode, uint64_t va, uint64_t gpa, uint64_t len)
{
	uint64_t got_len = 0;
	gpa_t got = 0;

	return walk(&mem, satp(mode), va, &got, &got_len) && got == gpa && got_len == len;
}

static bool nothing(unsigned int mode, uint64_t va)
{
	uint64_t len;
	gpa_t gpa;

	return !walk(&mem, satp(mode), va, &gpa, &len);
}

START_TEST(all_sizes)
{
	static const uint64_t base[] = {UINT64_C(0xffffffd600000000), UINT64_C(0xffffaf8000000000),
					UINT64_C(0xff60000000000000)};
	unsigned int mode, level;

	for (mode = 8; mode <= 10; mode++) {
		unsigned int levels = mode - 5;

		for (level = 0; level < levels; level++) {
			uint64_t size = UINT64_C(1) << (12 + 9 * level), gpa = 3 * size;
			uint64_t va = base[mode - 8] + 5 * size;

			clear();
			map(levels, level, va, pte(gpa, V | RWX));
			ck_assert(walks(mode, va, gpa, size));
			ck_assert(walks(mode, va + 0x123, gpa + 0x123, size - 0x123));
			ck_assert(walks(mode, va + size - 1, gpa + size - 1, 1));
			ck_assert(nothing(mode, va - 1));
			ck_assert(nothing(mode, va + size));
			/* The sign must go on to the top. */
			ck_assert(nothing(mode, va & ~(UINT64_C(1) << 63)));
			/* A large page that does not lie on its size is none. */
			clear();
			map(levels, level, va, pte(gpa + 0x1000, V | RWX));
			ck_assert(level ? nothing(mode, va) : walks(mode, va, gpa + 0x1000, size));
		}
	}
}
END_TEST

START_TEST(napot)
{
	uint64_t va = 0x40000, leaf = pte(RAM + 0x20000 + 0x8000, V | RWX) | N;
	unsigned int i;

	for (i = 0; i < 16; i++)
		map(3, 0, va + 0x1000 * i, leaf);
	ck_assert(walks(8, va, RAM + 0x20000, 0x10000));
	ck_assert(walks(8, va + 0x5678, RAM + 0x25678, 0x10000 - 0x5678));
	/* Other sizes are reserved, as is N on larger pages. */
	map(3, 0, va, pte(RAM + 0x20000 + 0x4000, V | RWX) | N);
	ck_assert(nothing(8, va));
	map(3, 1, 0x400000, pte(0x80200000, V | RWX) | N);
	ck_assert(nothing(8, 0x400000));
}
END_TEST

START_TEST(nothing_there)
{
	uint64_t len;
	gpa_t gpa;

	ck_assert(nothing(8, 0x1000));
	/* Bare, and modes that nobody knows. */
	ck_assert(walk_is_bare(satp(0)));
	ck_assert(walk_is_bare(satp(7)));
	ck_assert(walk_is_bare(satp(11)));
	ck_assert(!walk_is_bare(satp(8)));
	ck_assert(nothing(0, 0x1000));
	ck_assert(nothing(15, 0x1000));
	/* A pointer at the last level; R clear and W set is reserved, and no pointer either. */
	map(3, 0, 0x1000, pte(RAM, V));
	ck_assert(nothing(8, 0x1000));
	/* Tables where no RAM is. */
	ck_assert(!walk(&mem, UINT64_C(8) << 60 | 0x1234, 0, &gpa, &len));
	entry(ROOT, 0, pte(UINT64_C(0x3ffffffffff000), V));
	ck_assert(nothing(8, 0x1000));
}
END_TEST

struct runs {
	struct walk_run run[16];
	size_t nr, limit;
};

static bool add(void *opaque, const struct walk_run *run)
{
	struct runs *r = opaque;

	if (r->nr < ARRAY_SIZE(r->run))
		r->run[r->nr] = *run;
	return ++r->nr < r->limit;
}

START_TEST(kernel)
{
	struct runs r = {.limit = 100};

	/* Lower half: not the kernel's. */
	entry(ROOT, 3, pte(0, V | RWX));
	/* Two of 1 GiB that go together, one that does not, and a page. */
	entry(ROOT, 256, pte(UINT64_C(0x80000000), V | RWX));
	entry(ROOT, 257, pte(UINT64_C(0xc0000000), V | RWX));
	entry(ROOT, 258, pte(UINT64_C(0x80000000), V | RWX));
	entry(ROOT, 511, pte(ROOT + 0x1000, V));
	entry(ROOT + 0x1000, 511, pte(ROOT + 0x2000, V));
	entry(ROOT + 0x2000, 511, pte(RAM + 0x7000, V | RWX));
	ck_assert(walk_kernel(&mem, satp(8), add, &r));
	ck_assert_uint_eq(r.nr, 3);
	ck_assert(r.run[0].va == UINT64_C(0xffffffc000000000) && r.run[0].gpa == 0x80000000 &&
		  r.run[0].len == 2 * GIB);
	ck_assert(r.run[1].va == UINT64_C(0xffffffc080000000) && r.run[1].len == GIB);
	ck_assert(r.run[2].va == UINT64_C(0xfffffffffffff000) && r.run[2].gpa == RAM + 0x7000 &&
		  r.run[2].len == 4096);
	/* Whoever has enough ends it. */
	r = (struct runs){.limit = 1};
	ck_assert(!walk_kernel(&mem, satp(8), add, &r));
	ck_assert_uint_eq(r.nr, 1);
	/* All is well where there are none. */
	r = (struct runs){.limit = 100};
	ck_assert(walk_kernel(&mem, satp(0), add, &r));
	ck_assert_uint_eq(r.nr, 0);
}
END_TEST

/* A table all of whose entries are itself: 512^5 paths. */
START_TEST(endless)
{
	struct runs r = {.limit = SIZE_MAX};
	unsigned int i;

	for (i = 0; i < 512; i++)
		entry(ROOT, i, pte(ROOT, V));
	ck_assert(!walk_kernel(&mem, satp(10), add, &r));
	ck_assert_uint_eq(r.nr, 0);
	ck_assert(nothing(10, 0x1000));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("walk");
	TCase *tc = tcase_create("walk");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, all_sizes);
	tcase_add_test(tc, napot);
	tcase_add_test(tc, nothing_there);
	tcase_add_test(tc, kernel);
	tcase_add_test(tc, endless);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
