// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM's binary statistics: a file as api.rst lays it out, and files that are not.
 */
#include "lkvm/kvm_stats.h"

#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define NAME_BYTES 48

/* What the host answers with: a file, or an errno. */
static int file, refusal;
static unsigned int opened, closed;

static int host_ioctl(void *opaque, int fd, unsigned long request, unsigned long arg)
{
	(void)opaque;
	(void)arg;
	ck_assert_int_eq(fd, 7);
	ck_assert_uint_eq(request, KVM_GET_STATS_FD);
	if (refusal)
		return -refusal;
	opened++;
	return file;
}

static long host_read(void *opaque, int fd, void *buf, size_t len, uint64_t offset)
{
	long n = pread_all(fd, buf, len, offset);

	(void)opaque;
	return n < 0 ? -errno : n;
}

static void host_close(void *opaque, int fd)
{
	(void)opaque;
	ck_assert_int_eq(fd, file);
	closed++;
}

static const struct kvm_sys_ops ops = {.ioctl = host_ioctl, .read = host_read, .close = host_close};
static const struct kvm kvm = {.sys = {.ops = &ops}, .fd = 3, .vm_fd = 7};
static const struct kvm_vcpu vcpu = {.kvm = &kvm, .fd = 7};

static char seen[512];

static void see(void *opaque, const char *name, uint64_t value)
{
	size_t len = strlen(seen);

	ck_assert_ptr_eq(opaque, &kvm);
	snprintf(seen + len, sizeof(seen) - len, "%s=%llu ", name, (unsigned long long)value);
}

static void put(uint64_t offset, const void *data, size_t len)
{
	ck_assert_int_eq(pwrite(file, data, len, (off_t)offset), (ssize_t)len);
}

/* Header, then descriptors at @desc, then data at @data. */
static void make_file(struct kvm_stats_header head)
{
	static const struct {
		uint16_t size;
		uint32_t offset;
		const char *name;
	} rows[] = {
		{1, 0, "ecall_exit_stat"},
		{1, 8, "wfi_exit_stat"},
		{20, 16, "halt_poll_success_hist"},
		{1, 176, "blocking"},
	};
	uint64_t data[23] = {12, UINT64_MAX, [22] = 1};
	size_t i;

	put(0, &head, sizeof(head));
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct kvm_stats_desc desc = {.size = rows[i].size, .offset = rows[i].offset};
		char name[NAME_BYTES] = "";
		uint64_t at = head.desc_offset + i * (sizeof(desc) + NAME_BYTES);

		memcpy(name, rows[i].name, strlen(rows[i].name));
		put(at, &desc, sizeof(desc));
		put(at + sizeof(desc), name, sizeof(name));
	}
	put(head.data_offset, data, sizeof(data));
}

static const struct kvm_stats_header good = {
	.name_size = NAME_BYTES, .num_desc = 4, .desc_offset = 100, .data_offset = 1000};

static void setup(void)
{
	file = memfd_create("stats", MFD_CLOEXEC);
	ck_assert_int_ge(file, 0);
}

static void teardown(void)
{
	ck_assert_uint_eq(opened, closed);
	close(file);
}

START_TEST(figures)
{
	make_file(good);
	ck_assert_int_eq(kvm_stats(&kvm, NULL, see, (void *)(uintptr_t)&kvm), 0);
	ck_assert_str_eq(seen, "ecall_exit_stat=12 wfi_exit_stat=18446744073709551615 blocking=1 ");
	seen[0] = '\0';
	ck_assert_int_eq(kvm_stats(&kvm, &vcpu, see, (void *)(uintptr_t)&kvm), 0);
	ck_assert_ptr_nonnull(strstr(seen, "blocking=1"));
}
END_TEST

START_TEST(no_figures)
{
	struct kvm_stats_header head = good;

	refusal = ENOTTY;
	ck_assert_int_eq(kvm_stats(&kvm, NULL, see, NULL), -ENOTTY);
	refusal = 0;
	/* Nothing, too little, and what would not fit. */
	ck_assert_int_eq(kvm_stats(&kvm, NULL, see, NULL), -EPROTO);
	put(0, &good, sizeof(good));
	ck_assert_int_eq(kvm_stats(&kvm, NULL, see, NULL), -EPROTO);
	head.num_desc = 1000000;
	make_file(head);
	ck_assert_int_eq(kvm_stats(&kvm, NULL, see, NULL), -EPROTO);
	head = good;
	head.name_size = 0;
	make_file(head);
	ck_assert_int_eq(kvm_stats(&kvm, NULL, see, NULL), -EPROTO);
	head.name_size = 100000;
	make_file(head);
	ck_assert_int_eq(kvm_stats(&kvm, NULL, see, NULL), -EPROTO);
	/* A name without an end is cut. */
	head = good;
	make_file(head);
	{
		char full[NAME_BYTES];

		memset(full, 'n', sizeof(full));
		put(head.desc_offset + sizeof(struct kvm_stats_desc), full, sizeof(full));
	}
	ck_assert_int_eq(kvm_stats(&kvm, NULL, see, (void *)(uintptr_t)&kvm), 0);
	ck_assert_uint_eq(strspn(seen, "n"), NAME_BYTES - 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kvm_stats");
	TCase *tc = tcase_create("kvm_stats");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, figures);
	tcase_add_test(tc, no_figures);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
