// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory: the edges of the one accessor, guard pages, and what a region's
 * address promises. Each test has its own struct guest_memory.
 */
#include "lkvm/memory.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define BASE UINT64_C(0x80000000)

static struct guest_memory mem;
static struct error err;

static void setup(void)
{
	memory_init(&mem);
	err.msg[0] = '\0';
}

static void teardown(void)
{
	memory_destroy(&mem);
}

static struct memory_region *add(gpa_t gpa, uint64_t size)
{
	struct memory_region *r = memory_add(&mem, gpa, size, 2 * MIB, &err);

	ck_assert_msg(r, "%s", err.msg);
	return r;
}

static void refused(gpa_t gpa, uint64_t size, uint64_t align)
{
	size_t before = mem.nr;

	err.msg[0] = '\0';
	ck_assert_ptr_null(memory_add(&mem, gpa, size, align, &err));
	ck_assert_uint_eq(mem.nr, before);
	ck_assert_uint_gt(strlen(err.msg), 10);
	ck_assert_ptr_null(strchr(err.msg, '\n'));
}

START_TEST(edges)
{
	uint8_t byte = 0x5a, back = 0;
	uint64_t word;

	add(BASE, 4 * MIB);
	ck_assert(memory_write(&mem, BASE, &byte, 1));
	ck_assert(memory_write(&mem, BASE + 4 * MIB - 1, &byte, 1));
	ck_assert(memory_read(&mem, BASE + 4 * MIB - 1, &back, 1));
	ck_assert_uint_eq(back, 0x5a);
	ck_assert(!memory_read(&mem, BASE + 4 * MIB, &back, 1));
	ck_assert(!memory_read(&mem, BASE - 1, &back, 1));
	ck_assert(!memory_read(&mem, BASE - 4, &word, 8));
	ck_assert(!memory_read(&mem, BASE + 4 * MIB - 7, &word, 8));
	ck_assert(memory_read(&mem, BASE + 4 * MIB - 8, &word, 8));
	ck_assert_uint_eq(back, 0x5a);
	/* A refused access copies nothing. */
	word = 0x1122334455667788;
	ck_assert(!memory_read(&mem, BASE + 4 * MIB - 7, &word, 8));
	ck_assert_uint_eq(word, 0x1122334455667788);
	ck_assert(!memory_write(&mem, BASE + 4 * MIB - 7, &word, 8));
	ck_assert(memory_read(&mem, BASE + 4 * MIB - 7, &back, 1));
	ck_assert_uint_eq(back, 0);
	ck_assert_ptr_nonnull(memory_for_read(&mem, BASE, 4 * MIB));
	ck_assert_ptr_null(memory_for_read(&mem, BASE, 4 * MIB + 1));
	ck_assert_ptr_null(memory_for_read(&mem, BASE + 1, 4 * MIB));
}
END_TEST

START_TEST(wrap_at_the_end_of_64_bits)
{
	static const struct {
		gpa_t gpa;
		uint64_t len;
	} bad[] = {
		{BASE, UINT64_MAX},	{BASE + 8, UINT64_MAX - 7},
		{UINT64_MAX, 1},	{UINT64_MAX, 2},
		{UINT64_MAX - 7, 8},	{UINT64_MAX - 7, BASE + 16},
		{0, UINT64_MAX},	{BASE + 4096, 0 - UINT64_C(4096)},
		{BASE + 1, UINT64_MAX}, {0 - UINT64_C(4096), BASE + 8192},
	};
	size_t i;

	add(BASE, 4 * MIB);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		ck_assert_ptr_null(memory_find(&mem, bad[i].gpa, bad[i].len));
		ck_assert_ptr_null(memory_for_write(&mem, bad[i].gpa, bad[i].len));
		ck_assert_ptr_null(memory_for_read(&mem, bad[i].gpa, bad[i].len));
	}
}
END_TEST

START_TEST(zero_length)
{
	char c = 0;

	add(BASE, 2 * MIB);
	ck_assert_ptr_nonnull(memory_find(&mem, BASE, 0));
	ck_assert_ptr_nonnull(memory_find(&mem, BASE + 2 * MIB - 1, 0));
	ck_assert_ptr_null(memory_find(&mem, BASE + 2 * MIB, 0));
	ck_assert_ptr_null(memory_find(&mem, BASE - 1, 0));
	ck_assert(memory_read(&mem, BASE, &c, 0));
	ck_assert(memory_write(&mem, BASE, &c, 0));
	ck_assert(!memory_write(&mem, 0, &c, 0));
}
END_TEST

START_TEST(no_memory_at_all)
{
	char c = 0;

	ck_assert_ptr_null(memory_find(&mem, 0, 0));
	ck_assert(!memory_read(&mem, 0, &c, 1));
	ck_assert_uint_eq(memory_total(&mem), 0);
	ck_assert_int_eq(memory_forget(&mem, &err), 0);
	ck_assert_int_eq(memory_log_dirty(&mem, true), 0);
}
END_TEST

START_TEST(touching_regions_are_two)
{
	uint64_t word = 0;

	add(BASE + 2 * MIB, 2 * MIB);
	add(BASE, 2 * MIB);
	ck_assert_uint_eq(mem.nr, 2);
	/* Sorted, slots follow the order. */
	ck_assert_uint_eq(mem.regions[0].gpa, BASE);
	ck_assert_uint_eq(mem.regions[0].slot, 0);
	ck_assert_uint_eq(mem.regions[1].slot, 1);
	ck_assert(memory_write(&mem, BASE + 2 * MIB - 8, &word, 8));
	ck_assert(memory_write(&mem, BASE + 2 * MIB, &word, 8));
	ck_assert(!memory_write(&mem, BASE + 2 * MIB - 4, &word, 8));
	ck_assert(!memory_read(&mem, BASE + 2 * MIB - 1, &word, 2));
	ck_assert_uint_eq(memory_total(&mem), 4 * MIB);
}
END_TEST

START_TEST(refusals)
{
	add(BASE, 2 * MIB);
	refused(BASE, 2 * MIB, 4096);		      /* the same */
	refused(BASE + 2 * MIB - 4096, 4096, 4096);   /* last page */
	refused(BASE - 4096, 8192, 4096);	      /* first page */
	refused(BASE - 4096, 4 * MIB, 4096);	      /* around it */
	refused(0, 0, 4096);			      /* nothing */
	refused(1, 4096, 4096);			      /* crooked */
	refused(0, 4097, 4096);			      /* crooked */
	refused(0, 4096, 0);			      /* no alignment */
	refused(0, 4096, 4095);			      /* no power of two */
	refused(0, 4096, 2048);			      /* below a page */
	refused(UINT64_MAX - 4095, 8192, 4096);	      /* wraps */
	refused(8192, UINT64_MAX - 4095, 4096);	      /* wraps */
	refused(4 * TIB, UINT64_C(1) << 62, 2 * MIB); /* more than any host has */
	refused(0, 4096, UINT64_C(1) << 63);
	/* Beside it is allowed. */
	add(BASE - 4096, 4096);
	add(BASE + 2 * MIB, 4096);
}
END_TEST

START_TEST(table_full)
{
	unsigned int i;

	for (i = 0; i < MEMORY_MAX_REGIONS; i++)
		add(BASE + (MEMORY_MAX_REGIONS - i) * 2 * MIB, 4096);
	refused(0, 4096, 4096);
	for (i = 0; i < MEMORY_MAX_REGIONS; i++) {
		ck_assert_uint_eq(mem.regions[i].slot, i);
		ck_assert_uint_eq(mem.regions[i].gpa, BASE + (i + 1) * 2 * MIB);
		ck_assert_ptr_eq(memory_find(&mem, BASE + (i + 1) * 2 * MIB + 5, 1),
				 &mem.regions[i]);
	}
}
END_TEST

START_TEST(congruence)
{
	static const uint64_t aligns[] = {4096, 2 * MIB, GIB};
	static const gpa_t gpas[] = {BASE, BASE + 4096, 3 * GIB + 6 * MIB, 0x1234567000};
	size_t i, k;

	for (i = 0; i < ARRAY_SIZE(aligns); i++)
		for (k = 0; k < ARRAY_SIZE(gpas); k++) {
			struct memory_region *r = memory_add(&mem, gpas[k], 4096, aligns[i], &err);

			ck_assert_msg(r, "%s", err.msg);
			ck_assert_uint_eq((uintptr_t)r->hva & (aligns[i] - 1),
					  gpas[k] & (aligns[i] - 1));
			memory_destroy(&mem);
		}
}
END_TEST

/* Does touching @p kill a process? */
static bool faults(volatile uint8_t *p)
{
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		*p = 1;
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

START_TEST(guard_pages)
{
	static const uint64_t sizes[] = {4096, 12288, 2 * MIB};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct memory_region *r = add(BASE + 4096, sizes[i]);
		uint8_t *hva = r->hva;

		ck_assert(!faults(hva));
		ck_assert(!faults(hva + sizes[i] - 1));
		ck_assert(faults(hva - 1));
		ck_assert(faults(hva + sizes[i]));
		ck_assert(faults(hva - 2 * MIB));
		ck_assert(faults(hva + sizes[i] + 2 * MIB - 1));
		memory_destroy(&mem);
	}
}
END_TEST

static bool dirty(const struct memory_region *r, unsigned int page)
{
	return atomic_load(&r->dirty[page / 64]) >> (page % 64) & 1;
}

static unsigned int dirty_pages(const struct memory_region *r)
{
	unsigned int i, n = 0;

	for (i = 0; i < r->size / 4096; i++)
		n += dirty(r, i);
	return n;
}

START_TEST(dirty_bits)
{
	struct memory_region *r = add(BASE, 130 * 4096);
	char buf[2 * 4096 + 2] = {0};

	ck_assert(memory_write(&mem, BASE, buf, 1));
	ck_assert_ptr_null(r->dirty);
	ck_assert_int_eq(memory_log_dirty(&mem, true), 0);
	ck_assert_uint_eq(dirty_pages(r), 0);
	ck_assert(memory_read(&mem, BASE, buf, 4096));
	ck_assert_ptr_nonnull(memory_for_read(&mem, BASE, 4096));
	ck_assert_uint_eq(dirty_pages(r), 0);
	ck_assert(memory_write(&mem, BASE + 64 * 4096, buf, 1));
	ck_assert(dirty(r, 64));
	ck_assert_uint_eq(dirty_pages(r), 1);
	/* From the last byte of a page over a whole one into the next. */
	ck_assert(memory_write(&mem, BASE + 3 * 4096 - 1, buf, sizeof(buf)));
	ck_assert(dirty(r, 2) && dirty(r, 3) && dirty(r, 4) && dirty(r, 5));
	ck_assert(!dirty(r, 6));
	ck_assert_uint_eq(dirty_pages(r), 5);
	ck_assert_ptr_nonnull(memory_for_write(&mem, BASE + 129 * 4096, 4096));
	ck_assert(dirty(r, 129));
	/* A refused write and one of nothing mark nothing. */
	ck_assert(!memory_write(&mem, BASE + 129 * 4096 + 1, buf, 4096));
	ck_assert(memory_write(&mem, BASE + 100 * 4096, buf, 0));
	ck_assert_uint_eq(dirty_pages(r), 6);
	/* Starting again starts at zero. */
	ck_assert_int_eq(memory_log_dirty(&mem, true), 0);
	ck_assert_uint_eq(dirty_pages(r), 0);
	ck_assert_int_eq(memory_log_dirty(&mem, false), 0);
	ck_assert_ptr_null(r->dirty);
}
END_TEST

START_TEST(forget_zeroes)
{
	char full[4096], zero[4096] = {0}, back[4096];

	memset(full, 0xff, sizeof(full));
	add(BASE, 2 * MIB);
	add(BASE + 4 * MIB, 2 * MIB);
	ck_assert(memory_write(&mem, BASE, full, sizeof(full)));
	ck_assert(memory_write(&mem, BASE + 6 * MIB - 4096, full, sizeof(full)));
	ck_assert_int_eq(memory_forget(&mem, &err), 0);
	ck_assert(memory_read(&mem, BASE, back, sizeof(back)));
	ck_assert(!memcmp(back, zero, sizeof(zero)));
	ck_assert(memory_read(&mem, BASE + 6 * MIB - 4096, back, sizeof(back)));
	ck_assert(!memcmp(back, zero, sizeof(zero)));
}
END_TEST

static uint64_t allocated(int fd)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

/* Another process sees the same bytes, and can't cut them off. */
START_TEST(shared)
{
	char full[4096], zero[4096] = {0}, back[4096];
	struct memory_region *r;
	char *twin;
	int fd;

	memory_share(&mem);
	add(BASE + 8 * MIB, 2 * MIB);
	r = add(BASE, 4 * MIB);
	ck_assert_uint_eq((uintptr_t)r->hva % (2 * MIB), 0);
	fd = r->fd;
	ck_assert_int_ge(fd, 0);
	ck_assert_int_ne(mem.regions[1].fd, fd);
	ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	twin = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(twin, MAP_FAILED);
	memset(full, 0xff, sizeof(full));
	ck_assert(memory_write(&mem, BASE + 3 * MIB, full, sizeof(full)));
	ck_assert_int_eq(memcmp(twin + 3 * MIB, full, sizeof(full)), 0);
	twin[0] = 0x5a;
	ck_assert(memory_read(&mem, BASE, back, 1));
	ck_assert_int_eq(back[0], 0x5a);

	ck_assert_int_eq(ftruncate(fd, 4096), -1);
	ck_assert_int_eq(ftruncate(fd, 8 * MIB), -1);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1);

	ck_assert_uint_ge(allocated(fd), 8192);
	ck_assert_int_eq(memory_forget(&mem, &err), 0);
	ck_assert_uint_eq(allocated(fd), 0);
	ck_assert(memory_read(&mem, BASE + 3 * MIB, back, sizeof(back)));
	ck_assert_int_eq(memcmp(back, zero, sizeof(zero)), 0);
	munmap(twin, 4 * MIB);
}
END_TEST

static void discards(void)
{
	char full[4096], zero[4096] = {0}, back[4096];
	unsigned int i;

	memset(full, 0xff, sizeof(full));
	add(BASE, 2 * MIB);
	for (i = 0; i < 4; i++)
		ck_assert(memory_write(&mem, BASE + i * 4096, full, sizeof(full)));
	ck_assert_int_eq(memory_log_dirty(&mem, true), 0);
	ck_assert_int_eq(memory_discard(&mem, BASE + 4096, 8192), 0);
	ck_assert_uint_eq(atomic_load(&mem.regions[0].dirty[0]), 6);
	for (i = 0; i < 4; i++) {
		ck_assert(memory_read(&mem, BASE + i * 4096, back, sizeof(back)));
		ck_assert_int_eq(memcmp(back, i == 1 || i == 2 ? zero : full, sizeof(back)), 0);
	}
	ck_assert_int_eq(memory_discard(&mem, BASE + 1, 4096), -EINVAL);
	ck_assert_int_eq(memory_discard(&mem, BASE, 4095), -EINVAL);
	ck_assert_int_eq(memory_discard(&mem, BASE, 0), -EINVAL);
	ck_assert_int_eq(memory_discard(&mem, BASE + 2 * MIB - 4096, 8192), -EINVAL);
	ck_assert_int_eq(memory_discard(&mem, BASE - 4096, 4096), -EINVAL);
}

START_TEST(discard)
{
	discards();
}
END_TEST

START_TEST(discard_shared)
{
	memory_share(&mem);
	discards();
	ck_assert_uint_le(allocated(mem.regions[0].fd), 2 * MIB - 8192);
}
END_TEST

START_TEST(big_region_costs_nothing)
{
	char c = 1;

	/* More than this machine has: reserved, not used. */
	add(BASE, 64 * GIB);
	ck_assert(memory_write(&mem, BASE + 64 * GIB - 1, &c, 1));
	ck_assert_uint_eq(memory_total(&mem), 64 * GIB);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("memory");
	TCase *tc = tcase_create("memory");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, edges);
	tcase_add_test(tc, wrap_at_the_end_of_64_bits);
	tcase_add_test(tc, zero_length);
	tcase_add_test(tc, no_memory_at_all);
	tcase_add_test(tc, touching_regions_are_two);
	tcase_add_test(tc, refusals);
	tcase_add_test(tc, table_full);
	tcase_add_test(tc, congruence);
	tcase_add_test(tc, guard_pages);
	tcase_add_test(tc, dirty_bits);
	tcase_add_test(tc, forget_zeroes);
	tcase_add_test(tc, shared);
	tcase_add_test(tc, discard);
	tcase_add_test(tc, discard_shared);
	tcase_add_test(tc, big_region_costs_nothing);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
