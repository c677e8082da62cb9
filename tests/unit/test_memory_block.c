// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory by blocks: what may be mapped as one, at the edges of regions, and ranges
 * cut to it; the host's policy.
 */
#include "unit.h"

#include "lkvm/memory.h"

#include <unistd.h>

#define BASE UINT64_C(0x80000000)
#define HUGE (2 * MIB)

/* RAM from 4 KiB before a block to 8 KiB behind the next but one, and RAM without any. */
static void make(struct guest_memory *mem)
{
	memory_init(mem);
	ck_assert_ptr_nonnull(memory_add(mem, BASE - 4096, 3 * HUGE + 3 * 4096, 4096, NULL));
	ck_assert_ptr_nonnull(memory_add(mem, 2 * BASE, 2 * HUGE, 4096, NULL));
	ck_assert_ptr_nonnull(memory_add(mem, 3 * BASE + 4096, 2 * HUGE - 8192, 4096, NULL));
	mem->regions[0].huge = true;
	mem->regions[2].huge = true;
}

START_TEST(block)
{
	struct guest_memory mem;

	make(&mem);
	ck_assert_uint_eq(memory_block(&mem, BASE - 4097), 0);
	ck_assert_uint_eq(memory_block(&mem, BASE - 4096), 4096);
	ck_assert_uint_eq(memory_block(&mem, BASE - 1), 4096);
	ck_assert_uint_eq(memory_block(&mem, BASE), HUGE);
	ck_assert_uint_eq(memory_block(&mem, BASE + 3 * HUGE - 1), HUGE);
	ck_assert_uint_eq(memory_block(&mem, BASE + 3 * HUGE), 4096);
	ck_assert_uint_eq(memory_block(&mem, BASE + 3 * HUGE + 8191), 4096);
	ck_assert_uint_eq(memory_block(&mem, BASE + 3 * HUGE + 8192), 0);
	/* Not huge. */
	ck_assert_uint_eq(memory_block(&mem, 2 * BASE), 4096);
	/* Too small for a whole one. */
	ck_assert_uint_eq(memory_block(&mem, 3 * BASE + 4096), 4096);
	ck_assert_uint_eq(memory_block(&mem, 3 * BASE + HUGE), 4096);
	ck_assert_uint_eq(memory_block(&mem, 0), 0);
	ck_assert_uint_eq(memory_block(&mem, UINT64_MAX), 0);
	/* A file is no RAM. */
	mem.regions[1].file = true;
	ck_assert_uint_eq(memory_block(&mem, 2 * BASE), 0);
	memory_destroy(&mem);
}
END_TEST

START_TEST(whole_blocks)
{
	/* Offsets from BASE: what is asked, and what is left. */
	static const struct {
		int64_t from, to, first, last;
	} ranges[] = {
		{-4096, 3 * HUGE + 8192, -4096, 3 * HUGE + 8192},
		{-4095, 3 * HUGE + 8191, 0, 3 * HUGE + 4096},
		{0, HUGE, 0, HUGE},
		{1, 2 * HUGE, HUGE, 2 * HUGE},
		{4096, 3 * HUGE - 1, HUGE, 2 * HUGE},
		{-4096, HUGE - 1, -4096, 0},
		{HUGE + 4096, 3 * HUGE + 4096, 2 * HUGE, 3 * HUGE + 4096},
		{3 * HUGE, 3 * HUGE + 4096, 3 * HUGE, 3 * HUGE + 4096},
		/* Nothing. */
		{0, HUGE - 1, 0, 0},
		{4096, HUGE, 0, 0},
		{1, 2 * HUGE - 1, 0, 0},
		{HUGE + 1, HUGE + 2, 0, 0},
		{3 * HUGE + 1, 3 * HUGE + 4097, 0, 0},
		{HUGE, HUGE, 0, 0},
	};
	struct guest_memory mem;
	uint64_t len;
	gpa_t gpa;
	size_t i;

	make(&mem);
	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		gpa = BASE + (uint64_t)ranges[i].from;
		len = (uint64_t)(ranges[i].to - ranges[i].from);
		ck_assert(memory_whole_blocks(&mem, &gpa, &len));
		ck_assert_msg(len == (uint64_t)(ranges[i].last - ranges[i].first) &&
				      (!len || gpa == BASE + (uint64_t)ranges[i].first),
			      "range %zu: 0x%llx, %llu bytes", i, (unsigned long long)gpa,
			      (unsigned long long)len);
		ck_assert(!len || !memory_discard(&mem, gpa, len));
	}
	gpa = 2 * BASE + 1;
	len = 8191;
	ck_assert(memory_whole_blocks(&mem, &gpa, &len));
	ck_assert(gpa == 2 * BASE + 4096 && len == 4096);
	gpa = BASE;
	len = 4 * HUGE;
	ck_assert(!memory_whole_blocks(&mem, &gpa, &len));
	gpa = UINT64_MAX;
	ck_assert(!memory_whole_blocks(&mem, &gpa, &len));
	mem.regions[1].file = true;
	gpa = 2 * BASE;
	len = HUGE;
	ck_assert(!memory_whole_blocks(&mem, &gpa, &len));
	memory_destroy(&mem);
}
END_TEST

/* Whatever the policy is here: only where GPA and HVA are congruent, and as the host says. */
START_TEST(policy)
{
	struct guest_memory mem;

	memory_init(&mem);
	ck_assert_ptr_nonnull(memory_add(&mem, BASE, 4 * MIB, 4096, NULL));
	ck_assert_ptr_nonnull(memory_add(&mem, 2 * BASE, 4 * MIB, HUGE, NULL));
	ck_assert(!mem.regions[0].huge);
	ck_assert(!mem.regions[1].huge || memory_may_be_huge(-1));
	memory_destroy(&mem);
	memory_init(&mem);
	memory_share(&mem);
	ck_assert_ptr_nonnull(memory_add(&mem, 2 * BASE, 4 * MIB, HUGE, NULL));
	ck_assert(!mem.regions[0].huge || memory_may_be_huge(mem.regions[0].fd));
	memory_destroy(&mem);
	if (access("/sys/kernel/mm/transparent_hugepage", F_OK))
		ck_assert(!memory_may_be_huge(-1) && !memory_may_be_huge(0));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("memory-block");
	TCase *t = tcase_create("block");

	tcase_add_test(t, block);
	tcase_add_test(t, whole_blocks);
	tcase_add_test(t, policy);
	suite_add_tcase(s, t);
	return unit_main(s);
}
