// SPDX-License-Identifier: GPL-2.0-only
/*
 * The 9p device's state: what a guest holds goes on after a load, saving what was
 * loaded gives the same bytes, what is gone by then is said to be gone, and a state
 * that no guest can have made is refused, whatever it tries.
 */
#include "p9_client.h"
#include "prng.h"
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void save(struct p9c *c, struct xfer *x)
{
	struct device *dev = virtio_mmio_device(c->mmio);

	dev->ops->quiesce(dev);
	xfer_save_init(x);
	dev->ops->transfer(dev, x);
	ck_assert_int_eq(xfer_done(x, NULL), 0);
	dev->ops->resume(dev);
}

/* Load @len bytes into the client's device; 0 or -1. It runs on afterwards. */
static int load(struct p9c *c, const void *state, size_t len, struct error *err)
{
	struct device *dev = virtio_mmio_device(c->mmio);
	struct xfer x;
	int ret;

	dev->ops->quiesce(dev);
	xfer_load_init(&x, state, len);
	dev->ops->transfer(dev, &x);
	ret = xfer_done(&x, err);
	dev->ops->resume(dev);
	return ret;
}

/* Another lkvm: nothing left of the device but what was saved. */
static void move(struct p9c *c, const struct virtio_p9_config *config)
{
	struct xfer x, y;
	struct error err;

	save(c, &x);
	p9c_device_free(c);
	p9c_device(c, config);
	ck_assert_msg(!load(c, x.buf, x.len, &err), "%s", err.msg);
	save(c, &y);
	ck_assert_uint_eq(x.len, y.len);
	ck_assert_int_eq(memcmp(x.buf, y.buf, x.len), 0);
	xfer_free(&x);
	xfer_free(&y);
}

static void guest_text(struct p9c *c, uint32_t fid, const char *want)
{
	ck_assert_int_eq(p9c_read(c, fid, 0, 4096), 0);
	ck_assert_uint_eq(p9c_get(c, 4), strlen(want));
	ck_assert_int_eq(memcmp(c->reply + 11, want, strlen(want)), 0);
}

/* Fids of all kinds: 1 a directory deep down, 2 open for writing, 3 open directory, 4
 * a link, 5 removed and open, 6 an attribute, 7 open to append, 8 not open. */
static void make_fids(struct p9c *c)
{
	ck_assert_int_eq(p9c_mkdir(c, 0, "a", 0755), 0);
	ck_assert_int_eq(mkdir(p9c_path(c, "a/b"), 0755), 0);
	ck_assert_int_eq(mkdir(p9c_path(c, "a/b/c"), 0755), 0);
	p9c_host_file(c, "a/b/c/f", "deep");
	p9c_host_file(c, "g", "text");
	p9c_host_file(c, "gone", "gone");
	ck_assert_int_eq(p9c_walk(c, 0, 1, "a/b/c"), 0);
	ck_assert_int_eq(p9c_walk(c, 0, 2, "g"), 0);
	ck_assert_int_eq(p9c_lopen(c, 2, L_RDWR), 0);
	ck_assert_int_eq(p9c_walk(c, 0, 3, "a"), 0);
	ck_assert_int_eq(p9c_lopen(c, 3, L_RDONLY), 0);
	ck_assert_int_eq(p9c_symlink(c, 0, "l", "../outside"), 0);
	ck_assert_int_eq(p9c_walk(c, 0, 4, "l"), 0);
	ck_assert_int_eq(p9c_walk(c, 0, 5, "gone"), 0);
	ck_assert_int_eq(p9c_lopen(c, 5, L_RDONLY), 0);
	ck_assert_int_eq(p9c_unlinkat(c, 0, "gone", 0), 0);
	ck_assert_int_eq(p9c_walk(c, 0, 6, "g"), 0);
	ck_assert_int_eq(p9c_xattrcreate(c, 6, "user.a", 1, 0), 0);
	ck_assert_int_eq(p9c_walk(c, 0, 7, "g"), 0);
	ck_assert_int_eq(p9c_lopen(c, 7, L_WRONLY | L_APPEND), 0);
	ck_assert_int_eq(p9c_walk(c, 1, 0x87654321, "f"), 0);
}

START_TEST(going_on)
{
	struct p9c_attr attr;
	char target[64];
	struct p9c c;

	p9c_start(&c, NULL);
	make_fids(&c);
	move(&c, NULL);
	ck_assert_int_eq(p9c_walk(&c, 1, 10, "f"), 0);
	ck_assert_int_eq(p9c_lopen(&c, 10, L_RDONLY), 0);
	guest_text(&c, 10, "deep");
	ck_assert_int_eq(p9c_getattr(&c, 0x87654321, &attr), 0);
	ck_assert_uint_eq(attr.size, 4);
	ck_assert_int_eq(p9c_walk(&c, 1, 11, "../../../g"), 0);
	guest_text(&c, 2, "text");
	ck_assert_int_eq(p9c_write(&c, 2, 0, "T", 1), 0);
	ck_assert_int_eq(p9c_write(&c, 7, 0, "!", 1), 0);
	guest_text(&c, 2, "Text!");
	ck_assert_int_eq(p9c_readdir(&c, 3, 0, 4096), 0);
	ck_assert_uint_eq(p9c_get(&c, 4), 3 * 24 + 1 + 2 + 1);
	ck_assert_int_eq(p9c_readlink(&c, 4, target, sizeof(target)), 0);
	ck_assert_str_eq(target, "../outside");
	/* What has no name any more, and what was in memory only. */
	ck_assert_int_eq(p9c_read(&c, 5, 0, 10), ESTALE);
	ck_assert_int_eq(p9c_getattr(&c, 5, &attr), ESTALE);
	ck_assert_int_eq(p9c_write(&c, 6, 0, "x", 1), ESTALE);
	ck_assert_int_eq(p9c_clunk(&c, 6), ESTALE);
	ck_assert_int_eq(p9c_clunk(&c, 6), EBADF);
	ck_assert_int_eq(p9c_clunk(&c, 5), 0);
	/* Once more, some of it open again and some not. */
	move(&c, NULL);
	guest_text(&c, 2, "Text!");
	ck_assert_int_eq(p9c_mkdir(&c, 1, "new", 0755), 0);
	/* Before any version was agreed on, too. */
	p9c_go(&c, 1);
	move(&c, NULL);
	ck_assert_int_eq(p9c_attach(&c, 0, 0), EPROTO);
	p9c_stop(&c);
}
END_TEST

/* What the host did to the directory while nobody looked. */
START_TEST(another_place)
{
	char from[128], to[128];
	struct p9c_attr attr;
	struct xfer x;
	struct p9c c;

	p9c_start(&c, NULL);
	make_fids(&c);
	save(&c, &x);
	p9c_device_free(&c);
	/* The directory is a link to the outside now; the file is another. */
	snprintf(from, sizeof(from), "%s/a", c.share);
	snprintf(to, sizeof(to), "%s/moved", c.share);
	ck_assert_int_eq(rename(from, to), 0);
	ck_assert_int_eq(symlink("../outside", from), 0);
	snprintf(from, sizeof(from), "%s/g", c.share);
	snprintf(to, sizeof(to), "%s/g2", c.share);
	ck_assert_int_eq(rename(from, to), 0);
	p9c_host_file(&c, "g", "other");
	p9c_device(&c, NULL);
	ck_assert_int_eq(load(&c, x.buf, x.len, NULL), 0);
	ck_assert_int_eq(p9c_getattr(&c, 1, &attr), ESTALE);
	ck_assert_int_eq(p9c_walk(&c, 1, 20, "f"), ESTALE);
	ck_assert_int_eq(p9c_mkdir(&c, 1, "new", 0755), ESTALE);
	ck_assert_int_eq(p9c_getattr(&c, 3, &attr), ESTALE);
	ck_assert_int_eq(p9c_readdir(&c, 3, 0, 4096), ESTALE);
	ck_assert_int_eq(p9c_read(&c, 2, 0, 10), ESTALE);
	ck_assert_int_eq(p9c_write(&c, 7, 0, "x", 1), ESTALE);
	ck_assert_int_eq(p9c_getattr(&c, 0, &attr), 0);
	ck_assert_int_eq(p9c_walk(&c, 0, 20, "g"), 0);
	ck_assert_int_eq(p9c_getattr(&c, 20, &attr), 0);
	ck_assert_uint_eq(attr.size, 5);
	ck_assert_int_eq(p9c_walk(&c, 1, 21, ".."), 0);
	xfer_free(&x);
	p9c_stop(&c);
}
END_TEST

START_TEST(limits)
{
	static const struct virtio_p9_config few = {.tag = "tag", .max_fids = 8};
	static const struct virtio_p9_config ro = {.tag = "tag", .read_only = true};
	struct p9c_attr attr;
	struct error err;
	struct xfer x;
	struct p9c c;

	p9c_start(&c, NULL);
	make_fids(&c);
	save(&c, &x);
	p9c_device_free(&c);
	p9c_device(&c, &few);
	ck_assert_int_ne(load(&c, x.buf, x.len, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.msg, "than a share may"));
	p9c_device_free(&c);
	/* Open for writing, where nothing is written. */
	p9c_device(&c, &ro);
	ck_assert_int_ne(load(&c, x.buf, x.len, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.msg, "opened"));
	/* A load that was refused leaves what was there. */
	p9c_go(&c, 1);
	ck_assert_int_eq(p9c_version(&c, P9C_MSIZE, "9P2000.L"), 0);
	ck_assert_int_eq(p9c_attach(&c, 3, 0), 0);
	ck_assert_int_ne(load(&c, x.buf, x.len, &err), 0);
	ck_assert_int_eq(p9c_getattr(&c, 3, &attr), 0);
	ck_assert_int_eq(p9c_getattr(&c, 0, &attr), EBADF);
	xfer_free(&x);
	p9c_stop(&c);
}
END_TEST

static void go_anew(struct p9c *c)
{
	p9c_go(c, 1);
	ck_assert_int_eq(p9c_version(c, P9C_MSIZE, "9P2000.L"), 0);
	ck_assert_int_eq(p9c_attach(c, 0, 0), 0);
}

/* States with bytes changed and cut off: refused, or good for something. */
START_TEST(garbage)
{
	struct prng p = prng_start("garbage");
	unsigned int i, round, good = 0;
	struct xfer x, y;
	uint8_t *bytes;
	struct p9c c;
	size_t n;

	p9c_start(&c, NULL);
	ck_assert_int_eq(mkfifo(p9c_path(&c, "fifo"), 0644), 0);
	make_fids(&c);
	ck_assert_int_eq(p9c_walk(&c, 0, 30, "fifo"), 0);
	save(&c, &x);
	bytes = malloc(x.len);
	for (n = 0; n < x.len; n++)
		ck_assert_int_ne(load(&c, x.buf, n, NULL), 0);
	for (round = 0; round < 20000; round++) {
		memcpy(bytes, x.buf, x.len);
		for (i = 1 + prng_below(&p, 3); i; i--)
			bytes[prng_below(&p, (unsigned int)x.len)] =
				prng_below(&p, 2) ? (uint8_t)prng_below(&p, 16)
						  : (uint8_t)prng_u64(&p);
		if (load(&c, bytes, x.len, NULL))
			continue;
		good++;
		/* What was taken can be saved, and loaded again. */
		save(&c, &y);
		ck_assert_int_eq(load(&c, y.buf, y.len, NULL), 0);
		xfer_free(&y);
	}
	printf("%u of %u were taken\n", good, round);
	free(bytes);
	go_anew(&c);
	xfer_free(&x);
	p9c_stop(&c);
}
END_TEST

/* A FIFO that says it is an open file is not opened. */
START_TEST(open_fifo)
{
	struct p9c_attr attr;
	struct xfer x;
	struct p9c c;
	size_t i;

	p9c_start(&c, NULL);
	ck_assert_int_eq(mkfifo(p9c_path(&c, "fifo"), 0644), 0);
	ck_assert_int_eq(p9c_walk(&c, 0, 0x11223344, "fifo"), 0);
	save(&c, &x);
	for (i = x.len; memcmp(x.buf + --i, "\x44\x33\x22\x11", 4);)
		;
	/* Kind behind number and user: open. */
	x.buf[i + 8] = 1;
	ck_assert_int_ne(load(&c, x.buf, x.len, NULL), 0);
	/* And the FIFO a regular file: it must be the same when it is found. In front of
	 * the name: type[4] path[8] linked[1] len[1]. */
	for (i = 0; memcmp(x.buf + i, "fifo", 4); i++)
		;
	ck_assert_uint_eq(x.buf[i - 13], S_IFIFO >> 8);
	x.buf[i - 13] = S_IFREG >> 8;
	ck_assert_int_eq(load(&c, x.buf, x.len, NULL), 0);
	ck_assert_int_eq(p9c_read(&c, 0x11223344, 0, 10), ESTALE);
	ck_assert_int_eq(p9c_getattr(&c, 0x11223344, &attr), ESTALE);
	xfer_free(&x);
	p9c_stop(&c);
}
END_TEST

/* Random trees and fids: saved, loaded and saved again, all the same. */
START_TEST(random_states)
{
	static const struct virtio_p9_config few = {.tag = "tag", .max_open = 20};
	struct prng p = prng_start("states");
	unsigned int round, i;
	char name[4] = "";
	struct p9c c;

	p9c_start(&c, &few);
	for (round = 0; round < 60; round++) {
		for (i = 0; i < 40; i++) {
			uint32_t fid = prng_below(&p, 40), other = prng_below(&p, 40);

			name[0] = (char)('a' + prng_below(&p, 4));
			switch (prng_below(&p, 9)) {
			case 0:
				p9c_mkdir(&c, fid, name, 0755);
				break;
			case 1:
				p9c_lcreate(&c, fid, name, prng_below(&p, 3), 0644);
				break;
			case 2:
				p9c_lopen(&c, fid, prng_below(&p, 3));
				break;
			case 3:
				p9c_unlinkat(&c, fid, name, prng_below(&p, 2) ? 0x200 : 0);
				break;
			case 4:
				p9c_renameat(&c, fid, name, other, "b");
				break;
			case 5:
				p9c_clunk(&c, fid ? fid : 1);
				break;
			case 6:
				p9c_symlink(&c, fid, name, "../..");
				break;
			default:
				p9c_walk(&c, fid, other, name);
				break;
			}
		}
		move(&c, &few);
	}
	p9c_stop(&c);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio-9p-state");
	TCase *t = tcase_create("state");

	tcase_add_test(t, going_on);
	tcase_add_test(t, another_place);
	tcase_add_test(t, limits);
	tcase_add_test(t, garbage);
	tcase_add_test(t, open_fifo);
	tcase_add_test(t, random_states);
	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	return unit_main(s);
}
