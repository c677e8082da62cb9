// SPDX-License-Identifier: GPL-2.0-only
/*
 * The 9p device: its configuration, and each operation of 9P2000.L as a well-behaved
 * guest uses it, compared with what is on the host's disk. What a hostile guest does is
 * in test_virtio_p9_hostile.c, saving and loading in test_virtio_p9_state.c.
 */
#include "p9_client.h"
#include "prng.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

static void host_stat(const struct p9c *c, const char *name, struct stat *st)
{
	ck_assert_int_eq(lstat(p9c_path(c, name), st), 0);
}

static void host_text(const struct p9c *c, const char *name, const char *want)
{
	char text[256] = "";
	int fd = open(p9c_path(c, name), O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_ge(read(fd, text, sizeof(text) - 1), 0);
	close(fd);
	ck_assert_str_eq(text, want);
}

/* Read @fid from @offset; the text must be @want. */
static void guest_text(struct p9c *c, uint32_t fid, uint64_t offset, const char *want)
{
	ck_assert_int_eq(p9c_read(c, fid, offset, 4096), 0);
	ck_assert_uint_eq(p9c_get(c, 4), strlen(want));
	ck_assert_int_eq(memcmp(c->reply + 11, want, strlen(want)), 0);
}

/* --- configuration ----------------------------------------------------------------- */

START_TEST(configuration)
{
	static const struct virtio_p9_config config = {.tag = "a tag, 15 bytes"};
	struct p9c c;
	unsigned int i;

	p9c_place(&c);
	p9c_device(&c, &config);
	ck_assert_uint_eq(drv_rd(&c.drv, R_DEVICE_ID), 9);
	ck_assert_uint_eq(drv_features(&c.drv) & 0xffffff, 1);
	ck_assert_uint_eq(virtio_mmio_ops.read(c.mmio, R_CONFIG, 2), 15);
	for (i = 0; i < VIRTIO_P9_TAG_MAX; i++)
		ck_assert_uint_eq(virtio_mmio_ops.read(c.mmio, R_CONFIG + 2 + i, 1),
				  i < 15 ? (unsigned char)config.tag[i] : 0U);
	p9c_go(&c, 0);
	/* The tag is not the guest's to set. */
	virtio_mmio_ops.write(c.mmio, R_CONFIG, 3, 2);
	ck_assert_uint_eq(virtio_mmio_ops.read(c.mmio, R_CONFIG, 2), 15);
	p9c_stop(&c);
}
END_TEST

START_TEST(refused_configurations)
{
	char tag[VIRTIO_P9_TAG_MAX + 2];
	const char *const bad[] = {"", "new\nline", "del\x7f", tag};
	struct virtio_p9_config config = {0};
	struct error err;
	struct p9c c;
	size_t i;
	int fd;

	memset(tag, 'x', sizeof(tag) - 1);
	tag[sizeof(tag) - 1] = '\0';
	p9c_place(&c);
	fd = open(c.share, O_PATH | O_CLOEXEC);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		config.tag = bad[i];
		err.msg[0] = '\0';
		ck_assert_ptr_null(virtio_p9_create("9p0", &c.mem, NULL, fd, &config, &err));
		ck_assert(err.msg[0]);
	}
	close(fd);
	config.tag = "tag";
	fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	ck_assert_ptr_null(virtio_p9_create("9p0", &c.mem, NULL, fd, &config, &err));
	ck_assert_ptr_nonnull(strstr(err.msg, "no directory"));
	close(fd);
	p9c_device(&c, NULL);
	p9c_stop(&c);
}
END_TEST

static int build(struct p9c *c, const char *text, struct virtio_device **vdev, struct error *err)
{
	const struct virtio_world world = {
		.name = "9p0", .mem = &c->mem, .log = &c->log, .nr_vcpus = 1, .vm_name = "test"};

	*vdev = NULL;
	err->msg[0] = '\0';
	return virtio_p9_kind.build(&world, text, vdev, err);
}

START_TEST(option)
{
	static const char *const good[] = {"%s,tag", "%s,tag,ro", "%s,tag,ro=off,security=squash",
					   "%s,t.g,security=trusted",
					   "%s,tag,security=passthrough,ro"};
	static const char *const bad[] = {"",
					  "%s",
					  "%s,",
					  "%s,tag,rw",
					  "%s,tag,security=none",
					  "%s,ro=on",
					  "%s/none,tag",
					  ",tag",
					  "%s,tag,ro,ro",
					  "%s,a,,b",
					  "%s,tag,",
					  "%s,security=squash"};
	struct virtio_device *vdev;
	char text[256], dir[128];
	struct error err;
	struct p9c c;
	size_t i;

	p9c_place(&c);
	for (i = 0; i < ARRAY_SIZE(good); i++) {
		snprintf(text, sizeof(text), good[i], c.share);
		ck_assert_msg(!build(&c, text, &vdev, &err), "%s: %s", text, err.msg);
		ck_assert_uint_eq(virtio_features(vdev, 0) & 0xffffff, 1);
		ck_assert_uint_eq(virtio_config_read(vdev, 0, 2), 3);
		vdev->ops->destroy(vdev);
	}
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(text, sizeof(text), bad[i], c.share);
		ck_assert_msg(build(&c, text, &vdev, &err), "%s", text);
		ck_assert(err.msg[0]);
	}
	/* A comma in the directory's name is written twice. */
	snprintf(dir, sizeof(dir), "%s/a,b", c.share);
	ck_assert_int_eq(mkdir(dir, 0755), 0);
	snprintf(text, sizeof(text), "%s/a,,b,tag,ro", c.share);
	ck_assert_msg(!build(&c, text, &vdev, &err), "%s", err.msg);
	vdev->ops->destroy(vdev);
	p9c_device(&c, NULL);
	p9c_stop(&c);
}
END_TEST

/* --- session, walking ----------------------------------------------------------------- */

START_TEST(versions)
{
	struct p9c c;

	p9c_place(&c);
	p9c_device(&c, NULL);
	p9c_go(&c, 1);
	ck_assert_int_eq(p9c_attach(&c, 0, 0), EPROTO);
	ck_assert_int_eq(p9c_version(&c, 4095, "9P2000.L"), EMSGSIZE);
	ck_assert_int_eq(p9c_version(&c, 8192, "9P2000.u"), 0);
	p9c_get(&c, 4);
	ck_assert_uint_eq(p9c_get(&c, 2), 7);
	ck_assert_int_eq(memcmp(c.reply + c.at, "unknown", 7), 0);
	ck_assert_int_eq(p9c_attach(&c, 0, 0), EPROTO);
	ck_assert_int_eq(p9c_version(&c, UINT32_MAX, "9P2000.L"), 0);
	ck_assert_uint_eq(p9c_get(&c, 4), 512 * KIB);
	ck_assert_uint_eq(p9c_get(&c, 2), 8);
	ck_assert_int_eq(memcmp(c.reply + c.at, "9P2000.L", 8), 0);
	ck_assert_int_eq(p9c_attach(&c, 0, 0), 0);
	ck_assert_uint_eq(p9c_get(&c, 1), 0x80);
	ck_assert_int_eq(p9c_attach(&c, 0, 0), EBADF);
	/* A version starts anew, with nothing left of what was. */
	ck_assert_int_eq(p9c_version(&c, 4096, "9P2000.L"), 0);
	ck_assert_uint_eq(p9c_get(&c, 4), 4096);
	ck_assert_int_eq(p9c_clunk(&c, 0), EBADF);
	ck_assert_int_eq(p9c_attach(&c, 0, 0), 0);
	/* So does a reset. */
	p9c_go(&c, 1);
	ck_assert_int_eq(p9c_attach(&c, 0, 0), EPROTO);
	p9c_stop(&c);
}
END_TEST

START_TEST(attaching)
{
	struct p9c c;

	p9c_start(&c, NULL);
	p9c_begin(&c, T_ATTACH);
	p9c_put(&c, 1, 4);
	p9c_put(&c, NOFID, 4);
	p9c_str(&c, "");
	p9c_str(&c, "/etc");
	p9c_put(&c, 0, 4);
	ck_assert_int_eq(p9c_call(&c), ENOENT);
	p9c_begin(&c, T_ATTACH);
	p9c_put(&c, 1, 4);
	p9c_put(&c, 0, 4);
	p9c_str(&c, "");
	p9c_str(&c, "/");
	p9c_put(&c, 0, 4);
	ck_assert_int_eq(p9c_call(&c), EBADF);
	ck_assert_int_eq(p9c_attach(&c, NOFID, 0), EBADF);
	p9c_begin(&c, T_AUTH);
	p9c_put(&c, 1, 4);
	p9c_str(&c, "root");
	p9c_str(&c, "");
	p9c_put(&c, 0, 4);
	ck_assert_int_eq(p9c_call(&c), EOPNOTSUPP);
	p9c_stop(&c);
}
END_TEST

START_TEST(walking)
{
	struct p9c_attr root, attr;
	struct p9c c;
	unsigned int i;

	p9c_start(&c, NULL);
	ck_assert_int_eq(mkdir(p9c_path(&c, "a"), 0755), 0);
	ck_assert_int_eq(mkdir(p9c_path(&c, "a/b"), 0755), 0);
	p9c_host_file(&c, "a/b/f", "text");
	ck_assert_int_eq(p9c_getattr(&c, 0, &root), 0);
	ck_assert_int_eq(p9c_walk(&c, 0, 1, "a/b/f"), 0);
	ck_assert_int_eq(p9c_getattr(&c, 1, &attr), 0);
	ck_assert_uint_eq(attr.size, 4);
	ck_assert_uint_eq(attr.qid_type, 0);
	/* A fid is never made twice, and none is called NOFID. */
	ck_assert_int_eq(p9c_walk(&c, 0, 1, "a"), EBADF);
	ck_assert_int_eq(p9c_walk(&c, 0, NOFID, "a"), EBADF);
	ck_assert_int_eq(p9c_walk(&c, 7, 8, "a"), EBADF);
	/* Stuck at the first name: an error; later: how far it went, and no fid. */
	ck_assert_int_eq(p9c_walk(&c, 0, 2, "none/b"), ENOENT);
	ck_assert_int_eq(p9c_walk(&c, 0, 2, "a/none/f"), -1);
	ck_assert_int_eq(p9c_walk(&c, 0, 2, "a/b/f/g"), -3);
	ck_assert_int_eq(p9c_walk(&c, 1, 2, "g"), ENOTDIR);
	ck_assert_int_eq(p9c_walk(&c, 1, 2, ".."), ENOTDIR);
	ck_assert_int_eq(p9c_clunk(&c, 2), EBADF);
	/* Up, and never above the root. */
	ck_assert_int_eq(p9c_walk(&c, 0, 2, "a/b/../.."), 0);
	ck_assert_int_eq(p9c_getattr(&c, 2, &attr), 0);
	ck_assert_uint_eq(attr.ino, root.ino);
	ck_assert_int_eq(p9c_walk(&c, 2, 3, "../../.."), 0);
	ck_assert_int_eq(p9c_getattr(&c, 3, &attr), 0);
	ck_assert_uint_eq(attr.ino, root.ino);
	ck_assert_int_eq(p9c_walk(&c, 3, 4, "../outside"), -1);
	ck_assert_int_eq(p9c_walk(&c, 3, 4, "outside"), ENOENT);
	/* A copy; and onto itself. */
	ck_assert_int_eq(p9c_walk(&c, 1, 4, ""), 0);
	ck_assert_int_eq(p9c_getattr(&c, 4, &attr), 0);
	ck_assert_uint_eq(attr.size, 4);
	ck_assert_int_eq(p9c_walk(&c, 2, 2, "a"), 0);
	ck_assert_int_eq(p9c_walk(&c, 2, 2, "b"), 0);
	ck_assert_int_eq(p9c_walk(&c, 2, 2, "f"), 0);
	ck_assert_int_eq(p9c_getattr(&c, 2, &attr), 0);
	ck_assert_uint_eq(attr.size, 4);
	/* Sixteen at a time. */
	ck_assert_int_eq(p9c_walk(&c, 0, 5, "a/../a/../a/../a/../a/../a/../a/../a/.."), 0);
	ck_assert_int_eq(p9c_walk(&c, 0, 6, "a/../a/../a/../a/../a/../a/../a/../a/../a"), EINVAL);
	for (i = 0; i < 6; i++)
		ck_assert_int_eq(p9c_clunk(&c, i), 0);
	ck_assert_int_eq(p9c_clunk(&c, 0), EBADF);
	p9c_stop(&c);
}
END_TEST

/* --- files ------------------------------------------------------------------------------- */

START_TEST(reading_and_writing)
{
	struct stat st;
	struct p9c c;

	p9c_start(&c, NULL);
	ck_assert_int_eq(p9c_walk(&c, 0, 1, ""), 0);
	ck_assert_int_eq(p9c_lcreate(&c, 1, "f", L_RDWR, 0640), 0);
	host_stat(&c, "f", &st);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0640);
	ck_assert_int_eq(p9c_write(&c, 1, 0, "hello", 5), 0);
	ck_assert_uint_eq(p9c_get(&c, 4), 5);
	ck_assert_int_eq(p9c_write(&c, 1, 5, " world", 6), 0);
	host_text(&c, "f", "hello world");
	guest_text(&c, 1, 0, "hello world");
	guest_text(&c, 1, 6, "world");
	guest_text(&c, 1, 11, "");
	guest_text(&c, 1, 1000, "");
	ck_assert_int_eq(p9c_read(&c, 1, 2, 3), 0);
	ck_assert_int_eq(memcmp(c.reply + 7, "\3\0\0\0llo", 7), 0);
	ck_assert_int_eq(p9c_write(&c, 1, 3, "", 0), 0);
	/* An open fid is not opened again. */
	ck_assert_int_eq(p9c_lopen(&c, 1, L_RDONLY), EBADF);
	ck_assert_int_eq(p9c_lcreate(&c, 1, "g", L_RDWR, 0644), EBADF);
	ck_assert_int_eq(p9c_clunk(&c, 1), 0);
	/* Each way of opening. */
	ck_assert_int_eq(p9c_walk(&c, 0, 1, "f"), 0);
	ck_assert_int_eq(p9c_read(&c, 1, 0, 1), EBADF);
	ck_assert_int_eq(p9c_write(&c, 1, 0, "x", 1), EBADF);
	ck_assert_int_eq(p9c_lopen(&c, 1, 3), EINVAL);
	ck_assert_int_eq(p9c_lopen(&c, 1, L_RDONLY | L_DIRECTORY), ENOTDIR);
	ck_assert_int_eq(p9c_lopen(&c, 1, L_RDONLY), 0);
	ck_assert_int_eq(p9c_write(&c, 1, 0, "x", 1), EBADF);
	guest_text(&c, 1, 0, "hello world");
	ck_assert_int_eq(p9c_walk(&c, 0, 2, "f"), 0);
	ck_assert_int_eq(p9c_lopen(&c, 2, L_WRONLY | L_APPEND), 0);
	ck_assert_int_eq(p9c_write(&c, 2, 0, "!", 1), 0);
	host_text(&c, "f", "hello world!");
	ck_assert_int_eq(p9c_read(&c, 2, 0, 1), EBADF);
	ck_assert_int_eq(p9c_walk(&c, 0, 3, "f"), 0);
	ck_assert_int_eq(p9c_lopen(&c, 3, L_RDWR | L_TRUNC), 0);
	host_text(&c, "f", "");
	ck_assert_int_eq(p9c_write(&c, 3, 2, "ab", 2), 0);
	ck_assert_int_eq(p9c_read(&c, 1, 0, 10), 0);
	ck_assert_int_eq(memcmp(c.reply + 7, "\4\0\0\0\0\0ab", 8), 0);
	/* Directories are opened for reading only, and not read as files. */
	ck_assert_int_eq(p9c_walk(&c, 0, 4, ""), 0);
	ck_assert_int_eq(p9c_lopen(&c, 4, L_RDWR), EISDIR);
	ck_assert_int_eq(p9c_lopen(&c, 4, L_RDONLY | L_DIRECTORY), 0);
	ck_assert_int_eq(p9c_read(&c, 4, 0, 10), EISDIR);
	ck_assert_int_eq(p9c_readdir(&c, 1, 0, 1000), ENOTDIR);
	p9c_stop(&c);
}
END_TEST

/* Long transfers, cut in all kinds of ways, against a plain array. */
START_TEST(against_an_array)
{
	struct prng p = prng_start("array");
	static uint8_t want[200000], data[P9C_MSIZE];
	uint32_t size = 0, i, round;
	struct p9c c;

	memset(want, 0, sizeof(want));
	p9c_start(&c, NULL);
	ck_assert_int_eq(p9c_walk(&c, 0, 1, ""), 0);
	ck_assert_int_eq(p9c_lcreate(&c, 1, "f", L_RDWR, 0644), 0);
	for (round = 0; round < 400; round++) {
		uint32_t at = prng_below(&p, 130000), n = prng_below(&p, P9C_MSIZE - 23), got;

		if (prng_below(&p, 2)) {
			for (i = 0; i < n; i++)
				data[i] = (uint8_t)prng_u64(&p);
			ck_assert_int_eq(p9c_write(&c, 1, at, data, n), 0);
			ck_assert_uint_eq(p9c_get(&c, 4), n);
			memcpy(want + at, data, n);
			if (n && at + n > size)
				size = at + n;
			continue;
		}
		ck_assert_int_eq(p9c_read(&c, 1, at, n), 0);
		got = (uint32_t)p9c_get(&c, 4);
		i = at < size ? size - at : 0;
		ck_assert_uint_eq(got, n < i ? n : i);
		ck_assert_uint_eq(c.used, 11 + got);
		ck_assert_int_eq(memcmp(c.reply + 11, want + at, got), 0);
	}
	/* More than the answer may hold: what fits. */
	ck_assert_int_eq(p9c_read(&c, 1, 0, UINT32_MAX), 0);
	ck_assert_uint_eq(p9c_get(&c, 4), P9C_MSIZE - 11);
	p9c_stop(&c);
}
END_TEST

START_TEST(creating)
{
	struct stat st;
	struct p9c c;
	mode_t mask;

	p9c_start(&c, NULL);
	mask = umask(077);
	ck_assert_int_eq(p9c_walk(&c, 0, 1, ""), 0);
	ck_assert_int_eq(p9c_lcreate(&c, 1, "f", L_WRONLY | L_EXCL, 0666), 0);
	host_stat(&c, "f", &st);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0666);
	ck_assert_int_eq(p9c_write(&c, 1, 0, "text", 4), 0);
	/* Again: with EXCL refused, else opened as it is. */
	ck_assert_int_eq(p9c_walk(&c, 0, 2, ""), 0);
	ck_assert_int_eq(p9c_lcreate(&c, 2, "f", L_RDONLY | L_EXCL, 0600), EEXIST);
	ck_assert_int_eq(p9c_lcreate(&c, 2, "f", L_RDONLY, 0600), 0);
	guest_text(&c, 2, 0, "text");
	host_stat(&c, "f", &st);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0666);
	ck_assert_int_eq(p9c_walk(&c, 0, 3, ""), 0);
	ck_assert_int_eq(p9c_lcreate(&c, 3, "f", L_RDWR | L_TRUNC, 0600), 0);
	host_text(&c, "f", "");
	/* A file its owner can't write may be made to be written. */
	ck_assert_int_eq(p9c_walk(&c, 0, 4, ""), 0);
	ck_assert_int_eq(p9c_lcreate(&c, 4, "g", L_RDWR, 0400), 0);
	ck_assert_int_eq(p9c_write(&c, 4, 0, "x", 1), 0);
	ck_assert_int_eq(p9c_mkdir(&c, 0, "d", 01777), 0);
	ck_assert_uint_eq(p9c_get(&c, 1), 0x80);
	host_stat(&c, "d", &st);
	ck_assert_uint_eq(st.st_mode, S_IFDIR | 01777);
	ck_assert_int_eq(p9c_mkdir(&c, 0, "d", 0755), EEXIST);
	ck_assert_int_eq(p9c_mkdir(&c, 1, "d", 0755), ENOTDIR);
	ck_assert_int_eq(p9c_walk(&c, 0, 5, ""), 0);
	ck_assert_int_eq(p9c_lcreate(&c, 5, "d", L_RDWR, 0755), EISDIR);
	ck_assert_int_eq(p9c_mknod(&c, 0, "fifo", S_IFIFO | 0622), 0);
	host_stat(&c, "fifo", &st);
	ck_assert_uint_eq(st.st_mode, S_IFIFO | 0622);
	ck_assert_int_eq(p9c_mknod(&c, 0, "sock", S_IFSOCK | 0777), 0);
	ck_assert_int_eq(p9c_mknod(&c, 0, "reg", S_IFREG | 0644), 0);
	ck_assert_int_eq(p9c_mknod(&c, 0, "zero", 0644), 0);
	host_stat(&c, "zero", &st);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0644);
	umask(mask);
	p9c_stop(&c);
}
END_TEST

/* --- directories ------------------------------------------------------------------------------ */

#define FILES 300

/* Read the whole directory @fid, @count bytes at a time; how many entries there were. */
static unsigned int list(struct p9c *c, uint32_t fid, uint32_t count, bool *seen)
{
	uint64_t offset = 0;
	unsigned int nr = 0;

	for (;;) {
		uint32_t len;

		ck_assert_int_eq(p9c_readdir(c, fid, offset, count), 0);
		len = (uint32_t)p9c_get(c, 4);
		ck_assert_uint_le(len, count);
		ck_assert_uint_eq(c->used, 11 + len);
		if (!len)
			return nr;
		while (c->at < 11 + len) {
			char name[256] = "";
			uint8_t qid = (uint8_t)p9c_get(c, 1), type;
			uint16_t n;

			c->at += 12;
			offset = p9c_get(c, 8);
			type = (uint8_t)p9c_get(c, 1);
			n = (uint16_t)p9c_get(c, 2);
			memcpy(name, c->reply + c->at, n);
			c->at += n;
			ck_assert_uint_eq(qid, type == 4 ? 0x80 : 0);
			nr++;
			if (name[0] == '.')
				continue;
			ck_assert(!seen[atoi(name)]);
			seen[atoi(name)] = true;
		}
	}
}

START_TEST(listing)
{
	static const uint32_t counts[] = {4096, 300, 512, 65000, 1000};
	bool seen[FILES];
	struct p9c c;
	char name[300];
	size_t i, k;

	p9c_start(&c, NULL);
	ck_assert_int_eq(mkdir(p9c_path(&c, "d"), 0755), 0);
	for (i = 0; i < FILES; i++) {
		/* Names of many lengths. */
		snprintf(name, sizeof(name), "d/%zu%.*s", i, (int)(i % 250),
			 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
			 "aaaa"
			 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
			 "aaaa"
			 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
			 "aaaa"
			 "aaaaaaaaaaaaaaaaaaaaaaaa");
		p9c_host_file(&c, name, "");
	}
	ck_assert_int_eq(p9c_walk(&c, 0, 1, "d"), 0);
	ck_assert_int_eq(p9c_readdir(&c, 1, 0, 4096), EBADF);
	ck_assert_int_eq(p9c_lopen(&c, 1, L_RDONLY), 0);
	for (k = 0; k < ARRAY_SIZE(counts); k++) {
		memset(seen, 0, sizeof(seen));
		ck_assert_uint_eq(list(&c, 1, counts[k], seen), FILES + 2);
		for (i = 0; i < FILES; i++)
			ck_assert(seen[i]);
	}
	/* Too little room for one entry. */
	ck_assert_int_eq(p9c_readdir(&c, 1, 0, 20), EINVAL);
	ck_assert_int_eq(p9c_readdir(&c, 1, 0, 0), EINVAL);
	p9c_stop(&c);
}
END_TEST

/* --- attributes ---------------------------------------------------------------------------------
 */

START_TEST(attributes)
{
	struct p9c_attr attr;
	struct stat st;
	struct p9c c;

	p9c_start(&c, NULL);
	p9c_host_file(&c, "f", "12345");
	ck_assert_int_eq(p9c_walk(&c, 0, 1, "f"), 0);
	ck_assert_int_eq(p9c_setattr(&c, 1, SET_MODE, 0601, 0, 0, 0, 0), 0);
	ck_assert_int_eq(p9c_setattr(&c, 1, SET_SIZE, 0, 0, 0, 3, 0), 0);
	ck_assert_int_eq(p9c_setattr(&c, 1, SET_MTIME | SET_MTIME_TO, 0, 0, 0, 0, 1000), 0);
	host_stat(&c, "f", &st);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0601);
	ck_assert_int_eq(st.st_size, 3);
	ck_assert_int_eq(st.st_mtim.tv_sec, 1000);
	ck_assert_int_eq(st.st_mtim.tv_nsec, 5);
	ck_assert_int_eq(p9c_getattr(&c, 1, &attr), 0);
	ck_assert_uint_eq(attr.ino, st.st_ino);
	ck_assert_uint_eq(attr.mode, st.st_mode);
	ck_assert_uint_eq(attr.uid, st.st_uid);
	ck_assert_uint_eq(attr.gid, st.st_gid);
	ck_assert_uint_eq(attr.nlink, 1);
	ck_assert_uint_eq(attr.size, 3);
	ck_assert_uint_eq(attr.mtime, 1000);
	ck_assert_int_eq(p9c_setattr(&c, 1, SET_MTIME, 0, 0, 0, 0, 0), 0);
	host_stat(&c, "f", &st);
	ck_assert_int_gt(st.st_mtim.tv_sec, 1000000);
	ck_assert_int_eq(p9c_setattr(&c, 0, SET_SIZE, 0, 0, 0, 0, 0), EISDIR);
	ck_assert_int_eq(p9c_setattr(&c, 1, SET_SIZE, 0, 0, 0, UINT64_MAX, 0), EINVAL);
	/* An open file can be cut even if its mode forbids writing by now. */
	ck_assert_int_eq(p9c_lopen(&c, 1, L_RDWR), 0);
	ck_assert_int_eq(p9c_setattr(&c, 1, SET_MODE | SET_SIZE, 0400, 0, 0, 1, 0), 0);
	host_stat(&c, "f", &st);
	ck_assert_int_eq(st.st_size, 1);
	p9c_stop(&c);
}
END_TEST

START_TEST(owners)
{
	static const struct virtio_p9_config squash = {.tag = "tag", .security = P9_SQUASH};
	struct stat st;
	struct p9c c;
	bool root = !geteuid();

	p9c_start(&c, NULL);
	ck_assert_int_eq(p9c_attach(&c, 9, 1234), 0);
	ck_assert_int_eq(p9c_walk(&c, 9, 1, ""), 0);
	p9c_begin(&c, T_LCREATE);
	p9c_put(&c, 1, 4);
	p9c_str(&c, "f");
	p9c_put(&c, L_RDWR, 4);
	p9c_put(&c, 0640, 4);
	p9c_put(&c, 4321, 4);
	ck_assert_int_eq(p9c_call(&c), 0);
	host_stat(&c, "f", &st);
	ck_assert_uint_eq(st.st_uid, root ? 1234 : geteuid());
	if (root)
		ck_assert_uint_eq(st.st_gid, 4321);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0640);
	ck_assert_int_eq(p9c_symlink(&c, 9, "l", "f"), 0);
	host_stat(&c, "l", &st);
	ck_assert_uint_eq(st.st_uid, root ? 1234 : geteuid());
	ck_assert_int_eq(p9c_mkdir(&c, 9, "d", 0750), 0);
	host_stat(&c, "d", &st);
	ck_assert_uint_eq(st.st_uid, root ? 1234 : geteuid());
	ck_assert_uint_eq(st.st_mode, S_IFDIR | 0750);
	ck_assert_int_eq(p9c_setattr(&c, 1, SET_UID | SET_GID, 0, 77, 78, 0, 0), root ? 0 : EPERM);
	host_stat(&c, "f", &st);
	ck_assert_uint_eq(st.st_uid, root ? 77 : geteuid());
	/* A link's own owner, not that of what it points to. */
	ck_assert_int_eq(p9c_walk(&c, 0, 2, "l"), 0);
	ck_assert_int_eq(p9c_setattr(&c, 2, SET_UID, 0, 66, 0, 0, 0), root ? 0 : EPERM);
	host_stat(&c, "f", &st);
	ck_assert_uint_eq(st.st_uid, root ? 77 : geteuid());
	host_stat(&c, "l", &st);
	ck_assert_uint_eq(st.st_uid, root ? 66 : geteuid());
	p9c_stop(&c);

	p9c_start(&c, &squash);
	ck_assert_int_eq(p9c_attach(&c, 9, 1234), 0);
	ck_assert_int_eq(p9c_walk(&c, 9, 1, ""), 0);
	ck_assert_int_eq(p9c_lcreate(&c, 1, "f", L_RDWR, 0640), 0);
	ck_assert_int_eq(p9c_setattr(&c, 1, SET_UID | SET_GID, 0, 77, 78, 0, 0), 0);
	host_stat(&c, "f", &st);
	ck_assert_uint_eq(st.st_uid, geteuid());
	p9c_stop(&c);
}
END_TEST

START_TEST(statistics)
{
	struct statfs fs;
	struct p9c c;

	p9c_start(&c, NULL);
	p9c_begin(&c, T_STATFS);
	p9c_put(&c, 0, 4);
	ck_assert_int_eq(p9c_call(&c), 0);
	ck_assert_int_eq(statfs(c.share, &fs), 0);
	ck_assert_uint_eq(p9c_get(&c, 4), 0x01021997);
	ck_assert_uint_eq(p9c_get(&c, 4), (uint64_t)fs.f_bsize);
	ck_assert_uint_eq(p9c_get(&c, 8), fs.f_blocks);
	c.at += 40;
	ck_assert_uint_eq(p9c_get(&c, 4), 255);
	p9c_stop(&c);
}
END_TEST

/* --- names
 * ---------------------------------------------------------------------------------------- */

START_TEST(links)
{
	struct p9c_attr attr;
	char target[4096];
	struct p9c c;

	p9c_start(&c, NULL);
	p9c_host_file(&c, "f", "text");
	ck_assert_int_eq(p9c_symlink(&c, 0, "l", "some/where"), 0);
	ck_assert_uint_eq(p9c_get(&c, 1), 2);
	ck_assert_int_eq(p9c_walk(&c, 0, 1, "l"), 0);
	ck_assert_int_eq(p9c_readlink(&c, 1, target, sizeof(target)), 0);
	ck_assert_str_eq(target, "some/where");
	ck_assert_int_eq(p9c_walk(&c, 0, 2, "f"), 0);
	ck_assert_int_eq(p9c_readlink(&c, 2, target, sizeof(target)), EINVAL);
	ck_assert_int_eq(p9c_link(&c, 0, 2, "g"), 0);
	ck_assert_int_eq(p9c_getattr(&c, 2, &attr), 0);
	ck_assert_uint_eq(attr.nlink, 2);
	ck_assert_int_eq(p9c_link(&c, 0, 2, "g"), EEXIST);
	ck_assert_int_eq(p9c_link(&c, 0, 0, "h"), EPERM);
	/* A link has names like any other. */
	ck_assert_int_eq(p9c_link(&c, 0, 1, "m"), 0);
	ck_assert_int_eq(p9c_walk(&c, 0, 3, "m"), 0);
	ck_assert_int_eq(p9c_readlink(&c, 3, target, sizeof(target)), 0);
	ck_assert_str_eq(target, "some/where");
	/* Two names of one file: a rename from one to the other changes nothing. */
	ck_assert_int_eq(p9c_walk(&c, 0, 4, "g"), 0);
	ck_assert_int_eq(p9c_renameat(&c, 0, "f", 0, "g"), 0);
	host_text(&c, "f", "text");
	host_text(&c, "g", "text");
	ck_assert_int_eq(p9c_unlinkat(&c, 0, "f", 0), 0);
	ck_assert_int_eq(p9c_getattr(&c, 2, &attr), 0);
	ck_assert_uint_eq(attr.nlink, 1);
	p9c_stop(&c);
}
END_TEST

START_TEST(moving)
{
	struct p9c_attr attr, a;
	struct p9c c;

	p9c_start(&c, NULL);
	ck_assert_int_eq(p9c_mkdir(&c, 0, "a", 0755), 0);
	ck_assert_int_eq(p9c_mkdir(&c, 0, "b", 0755), 0);
	p9c_host_file(&c, "a/f", "old");
	p9c_host_file(&c, "b/g", "new");
	ck_assert_int_eq(p9c_walk(&c, 0, 1, "a"), 0);
	ck_assert_int_eq(p9c_walk(&c, 0, 2, "b"), 0);
	ck_assert_int_eq(p9c_walk(&c, 1, 3, "f"), 0);
	ck_assert_int_eq(p9c_walk(&c, 2, 4, "g"), 0);
	ck_assert_int_eq(p9c_walk(&c, 2, 5, "g"), 0);
	ck_assert_int_eq(p9c_lopen(&c, 5, L_RDONLY), 0);
	/* Over another, which goes on for who has it. */
	ck_assert_int_eq(p9c_renameat(&c, 1, "f", 2, "g"), 0);
	host_text(&c, "b/g", "old");
	guest_text(&c, 5, 0, "new");
	ck_assert_int_eq(p9c_getattr(&c, 4, &attr), 0);
	ck_assert_uint_eq(attr.nlink, 0);
	ck_assert_int_eq(p9c_getattr(&c, 3, &attr), 0);
	ck_assert_uint_eq(attr.nlink, 1);
	/* By its fid. */
	ck_assert_int_eq(p9c_rename(&c, 3, 1, "h"), 0);
	host_text(&c, "a/h", "old");
	ck_assert_int_eq(p9c_rename(&c, 4, 1, "i"), ESTALE);
	ck_assert_int_eq(p9c_rename(&c, 0, 1, "i"), EBUSY);
	/* A directory, with what is below it: up from there is where it is now. */
	ck_assert_int_eq(p9c_renameat(&c, 0, "a", 2, "c"), 0);
	ck_assert_int_eq(p9c_getattr(&c, 2, &a), 0);
	ck_assert_int_eq(p9c_walk(&c, 1, 6, ".."), 0);
	ck_assert_int_eq(p9c_getattr(&c, 6, &attr), 0);
	ck_assert_uint_eq(attr.ino, a.ino);
	ck_assert_int_eq(p9c_walk(&c, 0, 7, "b/c/h"), 0);
	ck_assert_int_eq(p9c_renameat(&c, 0, "b", 1, "x"), EINVAL);
	ck_assert_int_eq(p9c_renameat(&c, 0, "none", 1, "x"), ENOENT);
	ck_assert_int_eq(p9c_renameat(&c, 3, "x", 1, "x"), ENOTDIR);
	ck_assert_int_eq(p9c_renameat(&c, 1, "x", 3, "x"), ENOTDIR);
	p9c_stop(&c);
}
END_TEST

START_TEST(removing)
{
	struct p9c_attr attr;
	struct p9c c;

	p9c_start(&c, NULL);
	ck_assert_int_eq(p9c_mkdir(&c, 0, "d", 0755), 0);
	p9c_host_file(&c, "d/f", "text");
	ck_assert_int_eq(p9c_walk(&c, 0, 1, "d/f"), 0);
	ck_assert_int_eq(p9c_walk(&c, 0, 2, "d/f"), 0);
	ck_assert_int_eq(p9c_walk(&c, 0, 3, "d"), 0);
	ck_assert_int_eq(p9c_lopen(&c, 2, L_RDWR), 0);
	ck_assert_int_eq(p9c_unlinkat(&c, 3, "f", 0x200), ENOTDIR);
	ck_assert_int_eq(p9c_unlinkat(&c, 0, "d", 0), EISDIR);
	ck_assert_int_eq(p9c_unlinkat(&c, 0, "d", 0x200), ENOTEMPTY);
	ck_assert_int_eq(p9c_unlinkat(&c, 0, "d", 0x400), EINVAL);
	ck_assert_int_eq(p9c_unlinkat(&c, 3, "f", 0), 0);
	ck_assert_int_eq(access(p9c_path(&c, "d/f"), F_OK), -1);
	/* It goes on, open or not, and can be opened still. */
	guest_text(&c, 2, 0, "text");
	ck_assert_int_eq(p9c_write(&c, 2, 4, "more", 4), 0);
	ck_assert_int_eq(p9c_getattr(&c, 1, &attr), 0);
	ck_assert_uint_eq(attr.size, 8);
	ck_assert_uint_eq(attr.nlink, 0);
	ck_assert_int_eq(p9c_lopen(&c, 1, L_RDONLY), 0);
	guest_text(&c, 1, 0, "textmore");
	/* What is new under the old name is something else. */
	p9c_host_file(&c, "d/f", "x");
	ck_assert_int_eq(p9c_walk(&c, 0, 4, "d/f"), 0);
	ck_assert_int_eq(p9c_getattr(&c, 4, &attr), 0);
	ck_assert_uint_eq(attr.size, 1);
	guest_text(&c, 1, 0, "textmore");
	/* By the fid, which goes with it. */
	ck_assert_int_eq(p9c_remove(&c, 4), 0);
	ck_assert_int_eq(p9c_clunk(&c, 4), EBADF);
	ck_assert_int_eq(access(p9c_path(&c, "d/f"), F_OK), -1);
	ck_assert_int_eq(p9c_remove(&c, 1), ESTALE);
	ck_assert_int_eq(p9c_clunk(&c, 1), EBADF);
	ck_assert_int_eq(p9c_remove(&c, 3), 0);
	ck_assert_int_eq(access(p9c_path(&c, "d"), F_OK), -1);
	ck_assert_int_eq(p9c_remove(&c, 0), EBUSY);
	ck_assert_int_eq(p9c_clunk(&c, 0), EBADF);
	p9c_stop(&c);
}
END_TEST

/* --- the rest
 * ---------------------------------------------------------------------------------------- */

START_TEST(read_only)
{
	static const struct virtio_p9_config ro = {.tag = "tag", .read_only = true};
	struct stat st, now;
	struct p9c c;

	p9c_place(&c);
	p9c_host_file(&c, "f", "text");
	p9c_device(&c, &ro);
	p9c_go(&c, 1);
	ck_assert_int_eq(p9c_version(&c, P9C_MSIZE, "9P2000.L"), 0);
	ck_assert_int_eq(p9c_attach(&c, 0, 0), 0);
	host_stat(&c, "", &st);
	ck_assert_int_eq(p9c_walk(&c, 0, 1, "f"), 0);
	ck_assert_int_eq(p9c_lopen(&c, 1, L_WRONLY), EROFS);
	ck_assert_int_eq(p9c_lopen(&c, 1, L_RDWR), EROFS);
	ck_assert_int_eq(p9c_lopen(&c, 1, L_RDONLY | L_TRUNC), EROFS);
	ck_assert_int_eq(p9c_lopen(&c, 1, L_RDONLY), 0);
	guest_text(&c, 1, 0, "text");
	ck_assert_int_eq(p9c_write(&c, 1, 0, "x", 1), EROFS);
	ck_assert_int_eq(p9c_setattr(&c, 1, SET_MODE, 0600, 0, 0, 0, 0), EROFS);
	ck_assert_int_eq(p9c_setattr(&c, 1, SET_SIZE, 0, 0, 0, 0, 0), EROFS);
	ck_assert_int_eq(p9c_setattr(&c, 1, SET_MTIME, 0, 0, 0, 0, 0), EROFS);
	ck_assert_int_eq(p9c_lcreate(&c, 0, "n", L_RDWR, 0644), EROFS);
	ck_assert_int_eq(p9c_lcreate(&c, 0, "f", L_RDONLY, 0644), EROFS);
	ck_assert_int_eq(p9c_mkdir(&c, 0, "n", 0755), EROFS);
	ck_assert_int_eq(p9c_symlink(&c, 0, "n", "f"), EROFS);
	ck_assert_int_eq(p9c_mknod(&c, 0, "n", S_IFREG | 0644), EROFS);
	ck_assert_int_eq(p9c_link(&c, 0, 1, "n"), EROFS);
	ck_assert_int_eq(p9c_rename(&c, 1, 0, "n"), EROFS);
	ck_assert_int_eq(p9c_renameat(&c, 0, "f", 0, "n"), EROFS);
	ck_assert_int_eq(p9c_unlinkat(&c, 0, "f", 0), EROFS);
	ck_assert_int_eq(p9c_xattrcreate(&c, 0, "user.a", 1, 0), EROFS);
	ck_assert_int_eq(p9c_walk(&c, 0, 2, "f"), 0);
	ck_assert_int_eq(p9c_remove(&c, 2), EROFS);
	ck_assert_int_eq(p9c_clunk(&c, 2), EBADF);
	host_text(&c, "f", "text");
	host_stat(&c, "", &now);
	ck_assert_int_eq(memcmp(&st.st_ctim, &now.st_ctim, sizeof(st.st_ctim)), 0);
	p9c_stop(&c);
}
END_TEST

START_TEST(small_things)
{
	struct p9c c;

	p9c_start(&c, NULL);
	p9c_begin(&c, T_FLUSH);
	p9c_put(&c, 3, 2);
	ck_assert_int_eq(p9c_call(&c), 0);
	ck_assert_int_eq(p9c_walk(&c, 0, 1, ""), 0);
	p9c_begin(&c, T_FSYNC);
	p9c_put(&c, 1, 4);
	p9c_put(&c, 0, 4);
	ck_assert_int_eq(p9c_call(&c), EBADF);
	ck_assert_int_eq(p9c_lcreate(&c, 1, "f", L_RDWR, 0644), 0);
	p9c_begin(&c, T_FSYNC);
	p9c_put(&c, 1, 4);
	p9c_put(&c, 1, 4);
	ck_assert_int_eq(p9c_call(&c), 0);
	/* As it was before it had a second field. */
	p9c_begin(&c, T_FSYNC);
	p9c_put(&c, 1, 4);
	ck_assert_int_eq(p9c_call(&c), 0);
	p9c_begin(&c, T_LOCK);
	p9c_put(&c, 1, 4);
	p9c_put(&c, 1, 1);
	p9c_put(&c, 1, 4);
	p9c_put(&c, 0, 8);
	p9c_put(&c, 100, 8);
	p9c_put(&c, 42, 4);
	p9c_str(&c, "client");
	ck_assert_int_eq(p9c_call(&c), 0);
	ck_assert_uint_eq(p9c_get(&c, 1), 0);
	p9c_begin(&c, T_GETLOCK);
	p9c_put(&c, 1, 4);
	p9c_put(&c, 1, 1);
	p9c_put(&c, 7, 8);
	p9c_put(&c, 100, 8);
	p9c_put(&c, 42, 4);
	p9c_str(&c, "client");
	ck_assert_int_eq(p9c_call(&c), 0);
	ck_assert_uint_eq(p9c_get(&c, 1), 2);
	ck_assert_uint_eq(p9c_get(&c, 8), 7);
	ck_assert_uint_eq(p9c_get(&c, 8), 100);
	ck_assert_uint_eq(p9c_get(&c, 4), 42);
	ck_assert_uint_eq(p9c_get(&c, 2), 6);
	p9c_stop(&c);
}
END_TEST

START_TEST(extended_attributes)
{
	char big[5000], value[64];
	struct p9c c;
	int ret;

	p9c_start(&c, NULL);
	p9c_host_file(&c, "f", "text");
	ret = setxattr(p9c_path(&c, "f"), "user.one", "first", 5, 0);
	ck_assert_int_eq(p9c_walk(&c, 0, 1, "f"), 0);
	/* Those of other classes are not there, whatever the host says. */
	ck_assert_int_eq(p9c_xattrwalk(&c, 1, 2, "security.capability"), EOPNOTSUPP);
	ck_assert_int_eq(p9c_xattrwalk(&c, 1, 2, "system.posix_acl_access"), EOPNOTSUPP);
	ck_assert_int_eq(p9c_xattrwalk(&c, 1, 2, "user."), EOPNOTSUPP);
	ck_assert_int_eq(p9c_xattrcreate(&c, 1, "trusted.overlay.opaque", 1, 0), EOPNOTSUPP);
	ck_assert_int_eq(p9c_xattrcreate(&c, 1, "security.capability", 20, 0), EOPNOTSUPP);
	if (ret) {
		printf("this file system has no attributes\n");
		p9c_stop(&c);
		return;
	}
	ck_assert_int_eq(p9c_xattrwalk(&c, 1, 2, "user.two"), ENODATA);
	ck_assert_int_eq(p9c_xattrwalk(&c, 1, 0, "user.one"), EBADF);
	ck_assert_int_eq(p9c_xattrwalk(&c, 1, 2, "user.one"), 0);
	ck_assert_uint_eq(p9c_get(&c, 8), 5);
	guest_text(&c, 2, 0, "first");
	guest_text(&c, 2, 3, "st");
	guest_text(&c, 2, 5, "");
	guest_text(&c, 2, 6000, "");
	ck_assert_int_eq(p9c_write(&c, 2, 0, "x", 1), EBADF);
	ck_assert_int_eq(p9c_clunk(&c, 2), 0);
	/* Set one, in two parts. */
	ck_assert_int_eq(p9c_walk(&c, 0, 2, "f"), 0);
	ck_assert_int_eq(p9c_xattrcreate(&c, 2, "user.two", 6, 0), 0);
	ck_assert_int_eq(p9c_write(&c, 2, 1, "x", 1), EINVAL);
	ck_assert_int_eq(p9c_write(&c, 2, 0, "sec", 3), 0);
	ck_assert_int_eq(p9c_write(&c, 2, 3, "ond!", 4), EINVAL);
	ck_assert_int_eq(p9c_read(&c, 2, 0, 3), EBADF);
	ck_assert_int_eq(p9c_write(&c, 2, 3, "ond", 3), 0);
	ck_assert_int_eq(p9c_clunk(&c, 2), 0);
	ck_assert_int_eq(getxattr(p9c_path(&c, "f"), "user.two", value, sizeof(value)), 6);
	ck_assert_int_eq(memcmp(value, "second", 6), 0);
	ck_assert_int_eq(p9c_xattrwalk(&c, 1, 2, ""), 0);
	ck_assert_uint_eq(p9c_get(&c, 8), 18);
	ck_assert_int_eq(p9c_clunk(&c, 2), 0);
	/* Not all of it came. */
	ck_assert_int_eq(p9c_walk(&c, 0, 2, "f"), 0);
	ck_assert_int_eq(p9c_xattrcreate(&c, 2, "user.three", 6, 0), 0);
	ck_assert_int_eq(p9c_clunk(&c, 2), EIO);
	ck_assert_int_eq(p9c_walk(&c, 0, 2, "f"), 0);
	ck_assert_int_eq(p9c_xattrcreate(&c, 2, "user.one", 6, XATTR_CREATE), 0);
	ck_assert_int_eq(p9c_write(&c, 2, 0, "000000", 6), 0);
	ck_assert_int_eq(p9c_clunk(&c, 2), EEXIST);
	/* Remove one. */
	ck_assert_int_eq(p9c_walk(&c, 0, 2, "f"), 0);
	ck_assert_int_eq(p9c_xattrcreate(&c, 2, "user.one", 0, XATTR_REPLACE), 0);
	ck_assert_int_eq(p9c_clunk(&c, 2), 0);
	ck_assert_int_eq(getxattr(p9c_path(&c, "f"), "user.one", value, sizeof(value)), -1);
	/* Links have none. */
	ck_assert_int_eq(p9c_symlink(&c, 0, "l", "f"), 0);
	ck_assert_int_eq(p9c_walk(&c, 0, 3, "l"), 0);
	ck_assert_int_eq(p9c_xattrwalk(&c, 3, 4, "user.two"), EOPNOTSUPP);
	ck_assert_int_eq(p9c_xattrwalk(&c, 3, 4, ""), 0);
	ck_assert_uint_eq(p9c_get(&c, 8), 0);
	ck_assert_int_eq(p9c_xattrcreate(&c, 3, "user.two", 1, 0), EOPNOTSUPP);
	memset(big, 'x', sizeof(big));
	ck_assert_int_eq(p9c_walk(&c, 0, 2, "f"), 0);
	ck_assert_int_eq(p9c_xattrcreate(&c, 2, "user.big", 65537, 0), E2BIG);
	ck_assert_int_eq(p9c_xattrcreate(&c, 2, "user.big", 65536, 0), 0);
	ck_assert_int_eq(p9c_write(&c, 2, 0, big, sizeof(big)), 0);
	p9c_stop(&c);
}
END_TEST

/* Another writer of the file: the value grows after the next look at its length. */
static size_t grows_to;

ssize_t fgetxattr(int fd, const char *name, void *value, size_t size)
{
	long n = syscall(SYS_fgetxattr, fd, name, value, size);
	char more[2000] = "";

	if (grows_to) {
		ck_assert_int_eq(fsetxattr(fd, name, more, grows_to, 0), 0);
		grows_to = 0;
	}
	return n;
}

/* What is told of a value is never more than what was read of it. */
START_TEST(attribute_grows)
{
	struct p9c c;

	p9c_start(&c, NULL);
	p9c_host_file(&c, "f", "text");
	if (setxattr(p9c_path(&c, "f"), "user.one", "", 0, 0)) {
		printf("this file system has no attributes\n");
		p9c_stop(&c);
		return;
	}
	ck_assert_int_eq(p9c_walk(&c, 0, 1, "f"), 0);
	grows_to = 2000;
	ck_assert_int_eq(p9c_xattrwalk(&c, 1, 2, "user.one"), 0);
	ck_assert_uint_eq(grows_to, 0);
	ck_assert_uint_eq(p9c_get(&c, 8), 0);
	guest_text(&c, 2, 0, "");
	ck_assert_int_eq(p9c_clunk(&c, 2), 0);
	ck_assert_int_eq(setxattr(p9c_path(&c, "f"), "user.one", "x", 1, 0), 0);
	grows_to = 2000;
	ck_assert_int_eq(p9c_xattrwalk(&c, 1, 2, "user.one"), ERANGE);
	p9c_stop(&c);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio-9p");
	TCase *t = tcase_create("9p");

	tcase_add_test(t, configuration);
	tcase_add_test(t, refused_configurations);
	tcase_add_test(t, option);
	tcase_add_test(t, versions);
	tcase_add_test(t, attaching);
	tcase_add_test(t, walking);
	tcase_add_test(t, reading_and_writing);
	tcase_add_test(t, against_an_array);
	tcase_add_test(t, creating);
	tcase_add_test(t, listing);
	tcase_add_test(t, attributes);
	tcase_add_test(t, owners);
	tcase_add_test(t, statistics);
	tcase_add_test(t, links);
	tcase_add_test(t, moving);
	tcase_add_test(t, removing);
	tcase_add_test(t, read_only);
	tcase_add_test(t, small_things);
	tcase_add_test(t, extended_attributes);
	tcase_add_test(t, attribute_grows);
	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	return unit_main(s);
}
