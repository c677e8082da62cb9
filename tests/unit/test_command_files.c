// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a guest for one command is packed from: archives as Linux unpacks them, modules
 * with what they need, and the release of a kernel.
 */
#include "lkvm/cpio.h"
#include "lkvm/modules.h"
#include "lkvm/riscv/boot.h"

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <zlib.h>

static struct error err;

/* --- archives ------------------------------------------------------------------- */

struct entry {
	char name[64];
	unsigned int mode, size, major, minor;
	const char *data;
};

static unsigned int field(const char *p, unsigned int nr)
{
	char hex[9] = "";

	memcpy(hex, p + 6 + 8 * nr, 8);
	return (unsigned int)strtoul(hex, NULL, 16);
}

/* The entry at @p, by the format's own words; returns what follows. */
static const char *parse(const char *p, const char *start, struct entry *e)
{
	unsigned int name;

	ck_assert(!memcmp(p, "070701", 6));
	ck_assert_uint_eq((size_t)(p - start) % 4, 0);
	e->mode = field(p, 1);
	e->size = field(p, 6);
	e->major = field(p, 9);
	e->minor = field(p, 10);
	name = field(p, 11);
	ck_assert_uint_le(name, sizeof(e->name));
	memcpy(e->name, p + 110, name);
	ck_assert_int_eq(e->name[name - 1], 0);
	e->data = start + ((size_t)(p + 110 + name - start) + 3) / 4 * 4;
	return e->data + (e->size + 3) / 4 * 4;
}

START_TEST(archive)
{
	int fd = memfd_create("cpio", MFD_CLOEXEC);
	static char text[4096];
	const char *p = text;
	struct entry e;
	struct cpio c;

	cpio_begin(&c, fd);
	cpio_add(&c, "dev", S_IFDIR | 0755, 0, NULL, 0);
	cpio_add(&c, "dev/console", S_IFCHR | 0600, makedev(5, 1), NULL, 0);
	cpio_add(&c, "init", S_IFREG | 0755, 0, "12345", 5);
	ck_assert_int_eq(cpio_end(&c), 0);
	ck_assert_int_gt(pread_all(fd, text, sizeof(text), 0), 0);
	p = parse(p, text, &e);
	ck_assert_str_eq(e.name, "dev");
	ck_assert_uint_eq(e.mode, S_IFDIR | 0755);
	p = parse(p, text, &e);
	ck_assert_str_eq(e.name, "dev/console");
	ck_assert_uint_eq(e.major, 5);
	ck_assert_uint_eq(e.minor, 1);
	p = parse(p, text, &e);
	ck_assert_uint_eq(e.size, 5);
	ck_assert(!memcmp(e.data, "12345\0\0\0", 8));
	parse(p, text, &e);
	ck_assert_str_eq(e.name, "TRAILER!!!");
	close(fd);
}
END_TEST

START_TEST(archive_fails)
{
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	char name[300];
	struct cpio c;

	cpio_begin(&c, fd);
	cpio_add(&c, "a", S_IFREG, 0, "x", 1);
	ck_assert_int_eq(cpio_end(&c), -ENOSPC);
	cpio_begin(&c, fd);
	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	cpio_add(&c, name, S_IFREG, 0, "x", 1);
	ck_assert_int_eq(cpio_end(&c), -EFBIG);
	close(fd);
}
END_TEST

/* --- modules --------------------------------------------------------------------- */

static char dir[64];

static void write_dep(const char *text)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/modules.dep", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_ge(write_all(fd, text, strlen(text)), 0);
	close(fd);
}

static void make_dir(void)
{
	snprintf(dir, sizeof(dir), "/tmp/lkvm-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void remove_dir(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/modules.dep", dir);
	unlink(path);
	ck_assert_int_eq(rmdir(dir), 0);
}

/* What is needed comes first, each file once, and a name is no part of a longer one. */
START_TEST(order)
{
	static const char *const names[] = {"9pnet_virtio", "9p",	  "virtio-rng",
					    "missing",	    "virtio_rng", NULL};
	static const char *const expected[] = {
		"kernel/fs/netfs/netfs.ko.xz", "kernel/net/9p/9pnet.ko.xz",
		"kernel/net/9p/9pnet_virtio.ko.xz", "kernel/fs/9p/9p.ko.xz",
		"kernel/drivers/virtio_rng.ko"};
	struct modules m;
	size_t i;

	write_dep("kernel/x/not9p.ko:\n"
		  "kernel/fs/9p/9p.ko.xz: kernel/net/9p/9pnet.ko.xz kernel/fs/netfs/netfs.ko.xz\n"
		  "kernel/net/9p/9pnet_virtio.ko.xz: kernel/net/9p/9pnet.ko.xz "
		  "kernel/fs/netfs/netfs.ko.xz\n"
		  "kernel/drivers/virtio_rng.ko:");
	ck_assert_msg(!modules_find(&m, dir, names, &err), "%s", err.msg);
	ck_assert_uint_eq(m.nr, ARRAY_SIZE(expected));
	for (i = 0; i < m.nr; i++)
		ck_assert_str_eq(m.files[i], expected[i]);
	modules_free(&m);
}
END_TEST

/* Paths that lead out are passed over; a line may be anything. */
START_TEST(strange_lines)
{
	static const char *const names[] = {"a", "b", NULL};
	struct modules m;

	write_dep("\n:\n::\n   \nx/a.ko: ../../etc/b.ko /abs/c.ko  \nb.ko\nb.k: q.ko\n");
	ck_assert_int_eq(modules_find(&m, dir, names, &err), 0);
	ck_assert_uint_eq(m.nr, 1);
	ck_assert_str_eq(m.files[0], "x/a.ko");
	modules_free(&m);
}
END_TEST

START_TEST(no_list)
{
	static const char *const names[] = {"a", NULL};
	struct modules m;

	ck_assert_int_eq(modules_find(&m, dir, names, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.msg, "modules.dep"));
	modules_free(&m);
	write_dep("");
	ck_assert_int_eq(modules_find(&m, dir, names, &err), -1);
	modules_free(&m);
}
END_TEST

START_TEST(too_many)
{
	static const char *const names[] = {"a", NULL};
	static char text[64 * (MODULES_MAX + 2)] = "a.ko:";
	struct modules m;
	int i;

	for (i = 0; i < MODULES_MAX; i++)
		snprintf(text + strlen(text), 32, " m%d.ko", i);
	write_dep(text);
	ck_assert_int_eq(modules_find(&m, dir, names, &err), -1);
	ck_assert_uint_eq(m.nr, MODULES_MAX);
	modules_free(&m);
}
END_TEST

/* --- the kernel's release ---------------------------------------------------------- */

/* A kernel file of @size bytes with @text at @at; gzip-compressed where asked. */
static struct boot_source kernel(size_t size, size_t at, const char *text, bool gz)
{
	struct boot_source src = {memfd_create("kernel", MFD_CLOEXEC), "k"};
	char *data = calloc(1, size);
	gzFile z;

	memcpy(data + at, text, strlen(text));
	if (gz) {
		z = gzdopen(dup(src.fd), "wb");
		ck_assert_int_eq(gzwrite(z, data, (unsigned int)size), (int)size);
		gzclose(z);
	} else {
		ck_assert_int_ge(write_all(src.fd, data, size), 0);
	}
	free(data);
	return src;
}

static int release_of(struct boot_source src, char *release)
{
	int ret = boot_kernel_release(&src, release, &err);

	close(src.fd);
	return ret;
}

/* Anywhere, also across the pieces in which the file is read. */
START_TEST(release)
{
	static const char text[] = "Linux version %s (%s)\nLinux version 7.2.0-rc1+ (me@here) #1";
	static const size_t places[] = {0,	    64 * 1024 - 30, 64 * 1024 - 1, 320 * 1024 - 40,
					320 * 1024, 700000};
	char name[BOOT_RELEASE_MAX];
	size_t i;

	for (i = 0; i < 2 * ARRAY_SIZE(places); i++) {
		ck_assert_msg(!release_of(kernel(800000, places[i / 2], text, i % 2), name), "%s",
			      err.msg);
		ck_assert_str_eq(name, "7.2.0-rc1+");
	}
}
END_TEST

START_TEST(no_release)
{
	static const char *const bad[] = {
		"Linux version ",
		"Linux version x",
		"Linux version 6.1",
		"Linux version 6/../x (",
		("Linux version "
		 "6.1234567890123456789012345678901234567890123456789012345678901234567 ("),
	};
	char name[BOOT_RELEASE_MAX];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		ck_assert_int_eq(
			release_of(kernel(100000, 100000 - strlen(bad[i]), bad[i], false), name),
			-1);
		ck_assert_ptr_nonnull(strstr(err.msg, "no Linux version"));
	}
	ck_assert_int_eq(
		release_of((struct boot_source){open("/", O_RDONLY | O_CLOEXEC), "/"}, name), -1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("command files");
	TCase *tc = tcase_create("archives");

	tcase_add_test(tc, archive);
	tcase_add_test(tc, archive_fails);
	tcase_add_test(tc, release);
	tcase_add_test(tc, no_release);
	suite_add_tcase(suite, tc);
	tc = tcase_create("modules");
	tcase_add_checked_fixture(tc, make_dir, remove_dir);
	tcase_add_test(tc, order);
	tcase_add_test(tc, strange_lines);
	tcase_add_test(tc, no_list);
	tcase_add_test(tc, too_many);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
