// SPDX-License-Identifier: GPL-2.0-only
/*
 * The 9p device and a guest that wants out of the shared directory, or wants more than
 * its part of the host: names that are paths, links planted and then walked, races with
 * whoever moves things on the host, special files, set-ID bits, messages cut short and
 * answers without room, more fids and descriptors than there are, resets at any time.
 *
 * After each of them, what lies beside the shared directory is as it was (p9c_stop()).
 */
#include "p9_client.h"
#include "prng.h"
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static unsigned int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int nr = 0;

	while (readdir(dir))
		nr++;
	closedir(dir);
	return nr;
}

/* --- names --------------------------------------------------------------------------- */

static int walk_raw(struct p9c *c, const char *name, size_t len)
{
	p9c_begin(c, T_WALK);
	p9c_put(c, 0, 4);
	p9c_put(c, 50, 4);
	p9c_put(c, 1, 2);
	p9c_put(c, len, 2);
	p9c_bytes(c, name, len);
	return p9c_call(c);
}

START_TEST(names)
{
	static const struct {
		const char *name;
		size_t len;
		int error;
	} bad[] = {
		{"", 0, EINVAL},
		{".", 1, EINVAL},
		{"a/b", 3, EINVAL},
		{"/", 1, EINVAL},
		{"/etc/passwd", 11, EINVAL},
		{"../outside", 10, EINVAL},
		{"a\0b", 3, EINVAL},
		{"\0", 1, EINVAL},
		{"..\0", 3, EINVAL},
		{"d/../../outside", 15, EINVAL},
	};
	char name[300];
	struct p9c c;
	size_t i;

	p9c_start(&c, NULL);
	ck_assert_int_eq(mkdir(p9c_path(&c, "d"), 0755), 0);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		ck_assert_int_eq(walk_raw(&c, bad[i].name, bad[i].len), bad[i].error);
	memset(name, 'x', sizeof(name));
	ck_assert_int_eq(walk_raw(&c, name, 255), ENOENT);
	ck_assert_int_eq(walk_raw(&c, name, 256), ENAMETOOLONG);
	/* Where a name is made or goes, ".." is none either. */
	ck_assert_int_eq(p9c_walk(&c, 0, 1, "d"), 0);
	ck_assert_int_eq(p9c_mkdir(&c, 1, "..", 0755), EINVAL);
	ck_assert_int_eq(p9c_mkdir(&c, 1, "../../outside/new", 0755), EINVAL);
	ck_assert_int_eq(p9c_symlink(&c, 1, "../l", "x"), EINVAL);
	ck_assert_int_eq(p9c_mknod(&c, 1, "../n", S_IFREG | 0644), EINVAL);
	ck_assert_int_eq(p9c_lcreate(&c, 1, "../../outside/canary", L_RDWR, 0644), EINVAL);
	ck_assert_int_eq(p9c_unlinkat(&c, 1, "../../outside/canary", 0), EINVAL);
	ck_assert_int_eq(p9c_unlinkat(&c, 1, "..", 0x200), EINVAL);
	ck_assert_int_eq(p9c_unlinkat(&c, 1, ".", 0x200), EINVAL);
	ck_assert_int_eq(p9c_renameat(&c, 1, "..", 1, "x"), EINVAL);
	ck_assert_int_eq(p9c_renameat(&c, 0, "d", 0, "../outside/d"), EINVAL);
	ck_assert_int_eq(p9c_renameat(&c, 0, "d", 0, ".."), EINVAL);
	ck_assert_int_eq(p9c_rename(&c, 1, 0, "../d"), EINVAL);
	ck_assert_int_eq(p9c_link(&c, 0, 1, "../d"), EINVAL);
	p9c_stop(&c);
}
END_TEST

/* --- planted links ----------------------------------------------------------------------- */

START_TEST(planted_links)
{
	static const char *const targets[] = {"../outside", "/", "/etc", "/proc/self/root",
					      "/proc/self/fd/1"};
	struct p9c_attr attr;
	char name[16], outside[128], text[8];
	struct stat st;
	struct p9c c;
	size_t i;

	p9c_start(&c, NULL);
	for (i = 0; i < ARRAY_SIZE(targets) + 1; i++) {
		uint32_t fid = 10 + (uint32_t)i;

		snprintf(name, sizeof(name), "l%zu", i);
		snprintf(outside, sizeof(outside), "%s/outside", c.base);
		ck_assert_int_eq(
			p9c_symlink(&c, 0, name, i < ARRAY_SIZE(targets) ? targets[i] : outside),
			0);
		/* It is what it is: a link, and leads nowhere. */
		ck_assert_int_eq(p9c_walk(&c, 0, fid, name), 0);
		ck_assert_int_eq(p9c_getattr(&c, fid, &attr), 0);
		ck_assert_uint_eq(attr.mode & S_IFMT, S_IFLNK);
		ck_assert_int_eq(p9c_walk(&c, fid, 60, "canary"), ENOTDIR);
		ck_assert_int_eq(p9c_walk(&c, fid, 60, ".."), ENOTDIR);
		ck_assert_int_eq(p9c_lopen(&c, fid, L_RDONLY), ELOOP);
		ck_assert_int_eq(p9c_lopen(&c, fid, L_RDWR | L_TRUNC), ELOOP);
		ck_assert_int_eq(p9c_readdir(&c, fid, 0, 4096), EBADF);
		ck_assert_int_eq(p9c_lcreate(&c, fid, "new", L_RDWR, 0644), ENOTDIR);
		ck_assert_int_eq(p9c_mkdir(&c, fid, "new", 0755), ENOTDIR);
		ck_assert_int_eq(p9c_symlink(&c, fid, "new", "x"), ENOTDIR);
		ck_assert_int_eq(p9c_mknod(&c, fid, "new", S_IFREG | 0644), ENOTDIR);
		ck_assert_int_eq(p9c_link(&c, fid, 0, "new"), ENOTDIR);
		ck_assert_int_eq(p9c_unlinkat(&c, fid, "canary", 0), ENOTDIR);
		ck_assert_int_eq(p9c_renameat(&c, fid, "canary", 0, "got"), ENOTDIR);
		ck_assert_int_eq(p9c_renameat(&c, 0, name, fid, "new"), ENOTDIR);
		ck_assert_int_eq(p9c_setattr(&c, fid, SET_MODE, 0777, 0, 0, 0, 0), EOPNOTSUPP);
		ck_assert_int_eq(p9c_setattr(&c, fid, SET_SIZE, 0, 0, 0, 0, 0), EINVAL);
		ck_assert_int_eq(p9c_setattr(&c, fid, SET_MTIME, 0, 0, 0, 0, 0), 0);
		/* Through its name: the link is in the way. */
		ck_assert_int_eq(p9c_walk(&c, 0, 61, ""), 0);
		ck_assert_int_eq(p9c_lcreate(&c, 61, name, L_RDWR | L_EXCL, 0644), EEXIST);
		ck_assert_int_eq(p9c_lcreate(&c, 61, name, L_RDWR | L_TRUNC, 0644), ELOOP);
		ck_assert_int_eq(p9c_clunk(&c, 61), 0);
	}
	/* To the canary itself, and to a file of the host that is not there yet. */
	ck_assert_int_eq(p9c_symlink(&c, 0, "c", "../outside/canary"), 0);
	ck_assert_int_eq(p9c_symlink(&c, 0, "n", "../outside/new"), 0);
	ck_assert_int_eq(p9c_walk(&c, 0, 1, ""), 0);
	ck_assert_int_eq(p9c_lcreate(&c, 1, "c", L_RDWR | L_TRUNC, 0666), ELOOP);
	ck_assert_int_eq(p9c_lcreate(&c, 1, "n", L_RDWR, 0666), ELOOP);
	ck_assert_int_eq(p9c_walk(&c, 0, 2, "c"), 0);
	ck_assert_int_eq(p9c_setattr(&c, 2, SET_UID | SET_GID, 0, geteuid(), getegid(), 0, 0), 0);
	/* Another name of the link is a link; of the canary there is none. */
	ck_assert_int_eq(p9c_link(&c, 0, 2, "c2"), 0);
	ck_assert_int_eq(lstat(p9c_path(&c, "c2"), &st), 0);
	ck_assert(S_ISLNK(st.st_mode));
	ck_assert_int_eq(p9c_renameat(&c, 0, "c2", 0, "c3"), 0);
	ck_assert_int_eq(readlink(p9c_path(&c, "c3"), text, sizeof(text)), sizeof(text));
	/* A directory's place taken by a link: who holds the directory has the directory. */
	ck_assert_int_eq(p9c_mkdir(&c, 0, "d", 0755), 0);
	ck_assert_int_eq(p9c_walk(&c, 0, 3, "d"), 0);
	ck_assert_int_eq(p9c_renameat(&c, 0, "d", 0, "moved"), 0);
	ck_assert_int_eq(p9c_symlink(&c, 0, "d", "../outside"), 0);
	ck_assert_int_eq(p9c_walk(&c, 3, 4, "canary"), ENOENT);
	ck_assert_int_eq(p9c_mkdir(&c, 3, "in", 0755), 0);
	ck_assert_int_eq(access(p9c_path(&c, "moved/in"), F_OK), 0);
	ck_assert_int_eq(p9c_walk(&c, 0, 4, "d/canary"), -1);
	p9c_stop(&c);
}
END_TEST

/* --- races ------------------------------------------------------------------------------------ */

struct racer {
	const struct p9c *c;
	atomic_bool over;
	atomic_uint swaps;
};

/* "x" is a directory and a link to the outside by turns, never nothing. */
static void *swap(void *arg)
{
	struct racer *r = arg;
	char x[128], y[128];

	snprintf(x, sizeof(x), "%s/x", r->c->share);
	snprintf(y, sizeof(y), "%s/y", r->c->share);
	while (!atomic_load(&r->over)) {
		ck_assert_int_eq(renameat2(AT_FDCWD, x, AT_FDCWD, y, RENAME_EXCHANGE), 0);
		atomic_fetch_add(&r->swaps, 1);
		sched_yield();
	}
	return NULL;
}

START_TEST(races)
{
	unsigned int i, dirs = 0, links = 0;
	struct racer r = {0};
	pthread_t thread;
	struct p9c c;

	p9c_start(&c, NULL);
	r.c = &c;
	ck_assert_int_eq(mkdir(p9c_path(&c, "x"), 0755), 0);
	ck_assert_int_eq(symlink("../outside", p9c_path(&c, "y")), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, swap, &r), 0);
	for (i = 0; i < 3000 || !dirs || !links; i++) {
		int ret;

		/* It gets as far as x, whatever that is at the moment, and no further. */
		ck_assert_int_eq(p9c_walk(&c, 0, 1, "x/canary"), -1);
		ck_assert_int_eq(p9c_walk(&c, 0, 1, "x"), 0);
		ret = p9c_walk(&c, 1, 2, "canary");
		ck_assert(ret == ENOENT || ret == ENOTDIR);
		ck_assert_int_eq(p9c_unlinkat(&c, 1, "canary", 0), ret);
		ck_assert_int_eq(p9c_mkdir(&c, 1, "made", 0755), ret == ENOENT ? 0 : ENOTDIR);
		if (ret == ENOENT)
			ck_assert_int_eq(p9c_unlinkat(&c, 1, "made", 0x200), 0);
		dirs += ret == ENOENT;
		links += ret == ENOTDIR;
		ck_assert_int_eq(p9c_clunk(&c, 1), 0);
	}
	atomic_store(&r.over, true);
	pthread_join(thread, NULL);
	printf("%u directories, %u links, %u exchanges\n", dirs, links, atomic_load(&r.swaps));
	p9c_stop(&c);
}
END_TEST

/* --- special files, set-ID bits -----------------------------------------------------------------
 */

START_TEST(special_files)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct p9c_attr attr;
	struct p9c c;
	int fd, ret;

	p9c_start(&c, NULL);
	ck_assert_int_eq(mkfifo(p9c_path(&c, "fifo"), 0666), 0);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/sock", c.share);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ret = mknod(p9c_path(&c, "null"), S_IFCHR | 0666, 0x103);
	/* Opening a FIFO would wait; nothing is opened. */
	ck_assert_int_eq(p9c_walk(&c, 0, 1, "fifo"), 0);
	ck_assert_int_eq(p9c_lopen(&c, 1, L_RDONLY), EPERM);
	ck_assert_int_eq(p9c_lopen(&c, 1, L_RDWR), EPERM);
	ck_assert_int_eq(p9c_setattr(&c, 1, SET_SIZE, 0, 0, 0, 0, 0), EINVAL);
	ck_assert_int_eq(p9c_xattrwalk(&c, 1, 9, "user.a"), EOPNOTSUPP);
	ck_assert_int_eq(p9c_xattrcreate(&c, 1, "user.a", 1, 0), EOPNOTSUPP);
	ck_assert_int_eq(p9c_walk(&c, 0, 2, "sock"), 0);
	ck_assert_int_eq(p9c_lopen(&c, 2, L_RDWR), EPERM);
	ck_assert_int_eq(p9c_walk(&c, 0, 3, ""), 0);
	ck_assert_int_eq(p9c_lcreate(&c, 3, "fifo", L_RDWR, 0644), EPERM);
	ck_assert_int_eq(p9c_lcreate(&c, 3, "sock", L_RDWR | L_TRUNC, 0644), EPERM);
	if (!ret) {
		ck_assert_int_eq(p9c_walk(&c, 0, 4, "null"), 0);
		ck_assert_int_eq(p9c_lopen(&c, 4, L_RDWR), EPERM);
		ck_assert_int_eq(p9c_lcreate(&c, 3, "null", L_RDWR, 0644), EPERM);
		ck_assert_int_eq(p9c_getattr(&c, 4, &attr), 0);
		ck_assert_uint_eq(attr.rdev, 0x103);
	}
	/* Devices are not made, whoever asks. */
	ck_assert_int_eq(p9c_mknod(&c, 0, "mem", S_IFCHR | 0666), EPERM);
	ck_assert_int_eq(p9c_mknod(&c, 0, "disk", S_IFBLK | 0666), EPERM);
	ck_assert_int_eq(p9c_mknod(&c, 0, "link", S_IFLNK | 0777), EINVAL);
	ck_assert_int_eq(p9c_mknod(&c, 0, "dir", S_IFDIR | 0755), EINVAL);
	ck_assert_int_eq(p9c_mknod(&c, 0, "what", 0030000 | 0755), EINVAL);
	close(fd);
	p9c_stop(&c);
}
END_TEST

static mode_t mode_of(const struct p9c *c, const char *name)
{
	struct stat st;

	ck_assert_int_eq(lstat(p9c_path(c, name), &st), 0);
	return st.st_mode & 07777;
}

START_TEST(set_id_bits)
{
	static const struct virtio_p9_config trusted = {.tag = "tag", .security = P9_TRUSTED};
	struct p9c c;

	p9c_start(&c, NULL);
	ck_assert_int_eq(p9c_walk(&c, 0, 1, ""), 0);
	ck_assert_int_eq(p9c_lcreate(&c, 1, "f", L_RDWR, 04755), EPERM);
	ck_assert_int_eq(access(p9c_path(&c, "f"), F_OK), -1);
	ck_assert_int_eq(p9c_lcreate(&c, 1, "f", L_RDWR, 0755), 0);
	ck_assert_int_eq(p9c_setattr(&c, 1, SET_MODE, 04755, 0, 0, 0, 0), EPERM);
	ck_assert_int_eq(p9c_setattr(&c, 1, SET_MODE, 02755, 0, 0, 0, 0), EPERM);
	ck_assert_int_eq(p9c_setattr(&c, 1, SET_MODE, 01755, 0, 0, 0, 0), 0);
	ck_assert_int_eq(p9c_mknod(&c, 0, "n", S_IFREG | 04755), EPERM);
	ck_assert_int_eq(p9c_mkdir(&c, 0, "d", 02775), 0);
	ck_assert_uint_eq(mode_of(&c, "d"), 02775);
	/* The host's own program: kept by a chmod, lost by new content. */
	ck_assert_int_eq(chmod(p9c_path(&c, "f"), 06755), 0);
	ck_assert_int_eq(p9c_setattr(&c, 1, SET_MODE, 06711, 0, 0, 0, 0), 0);
	ck_assert_uint_eq(mode_of(&c, "f"), 06711);
	ck_assert_int_eq(p9c_write(&c, 1, 0, "x", 1), 0);
	ck_assert_uint_eq(mode_of(&c, "f"), 0711);
	ck_assert_int_eq(chmod(p9c_path(&c, "f"), 04755), 0);
	ck_assert_int_eq(p9c_setattr(&c, 1, SET_SIZE, 0, 0, 0, 5, 0), 0);
	ck_assert_uint_eq(mode_of(&c, "f"), 0755);
	ck_assert_int_eq(chmod(p9c_path(&c, "f"), 04755), 0);
	ck_assert_int_eq(p9c_walk(&c, 0, 2, "f"), 0);
	ck_assert_int_eq(p9c_lopen(&c, 2, L_WRONLY | L_TRUNC), 0);
	ck_assert_uint_eq(mode_of(&c, "f"), 0755);
	if (!geteuid()) {
		ck_assert_int_eq(chmod(p9c_path(&c, "f"), 06755), 0);
		ck_assert_int_eq(p9c_setattr(&c, 1, SET_UID, 0, 77, 0, 0, 0), 0);
		ck_assert_uint_eq(mode_of(&c, "f"), 0755);
	}
	p9c_stop(&c);

	/* Who is trusted may; new content still takes them away. */
	p9c_start(&c, &trusted);
	ck_assert_int_eq(p9c_walk(&c, 0, 1, ""), 0);
	ck_assert_int_eq(p9c_lcreate(&c, 1, "f", L_RDWR, 04755), 0);
	ck_assert_uint_eq(mode_of(&c, "f"), 04755);
	ck_assert_int_eq(p9c_write(&c, 1, 0, "x", 1), 0);
	ck_assert_uint_eq(mode_of(&c, "f"), 0755);
	ck_assert_int_eq(p9c_setattr(&c, 1, SET_MODE, 06755, 0, 0, 0, 0), 0);
	ck_assert_uint_eq(mode_of(&c, "f"), 06755);
	p9c_stop(&c);
}
END_TEST

/* --- messages ------------------------------------------------------------------------------------
 */

/* A whole message of each kind, that would do something. */
static size_t sample(struct p9c *c, unsigned int which)
{
	static const uint8_t types[] = {
		T_STATFS,  T_LOPEN,   T_LCREATE,   T_SYMLINK,	  T_MKNOD,    T_RENAME,	 T_READLINK,
		T_GETATTR, T_SETATTR, T_XATTRWALK, T_XATTRCREATE, T_READDIR,  T_FSYNC,	 T_LOCK,
		T_GETLOCK, T_LINK,    T_MKDIR,	   T_RENAMEAT,	  T_UNLINKAT, T_VERSION, T_ATTACH,
		T_FLUSH,   T_WALK,    T_READ,	   T_WRITE,	  T_CLUNK,    T_REMOVE,
	};
	uint32_t len;

	if (which >= ARRAY_SIZE(types))
		return 0;
	p9c_begin(c, types[which]);
	if (types[which] == T_VERSION) {
		p9c_put(c, 8192, 4);
		p9c_str(c, "9P2000.L");
	} else {
		/* Fields that make sense in one way or the other to all of them. */
		p9c_put(c, 0, 4);
		if (types[which] == T_WALK || types[which] == T_LINK || types[which] == T_RENAME ||
		    types[which] == T_XATTRWALK)
			p9c_put(c, 1, 4);
		if (types[which] == T_WALK)
			p9c_put(c, 2, 2);
		p9c_str(c, "dir");
		p9c_str(c, "name");
		p9c_put(c, 0, 8);
		p9c_put(c, 0, 8);
		p9c_str(c, "more");
		p9c_put(c, 0, 8);
	}
	len = (uint32_t)c->len;
	memcpy(c->msg, &len, 4);
	return c->len;
}

static void again(struct p9c *c)
{
	ck_assert_int_eq(p9c_version(c, P9C_MSIZE, "9P2000.L"), 0);
	ck_assert_int_eq(p9c_attach(c, 0, 0), 0);
}

/* Each message cut at each place, with the size it says right or wrong. */
START_TEST(cut_short)
{
	uint8_t msg[256];
	struct p9c c;
	unsigned int which;
	size_t len, n;
	uint32_t size;

	p9c_start(&c, NULL);
	for (which = 0; (len = sample(&c, which)); which++) {
		memcpy(msg, c.msg, len);
		for (n = 0; n < len; n++) {
			uint32_t used;

			/* It says more than there is. */
			memcpy(msg, c.msg, 4);
			used = p9c_send(&c, msg, (uint32_t)n, 4096);
			ck_assert_uint_eq(used, n < 7 ? 0 : 11);
			if (used)
				ck_assert_uint_eq(c.reply[4], 7);
			/* It says what there is, which is too little for what it is. */
			size = (uint32_t)n;
			memcpy(msg, &size, 4);
			used = p9c_send(&c, msg, (uint32_t)n, 4096);
			ck_assert(used == 0 ? n < 7 : used >= 7);
			memcpy(msg, c.msg, 4);
			if (n % 8 == 0) {
				again(&c);
				sample(&c, which);
			}
		}
		again(&c);
	}
	p9c_stop(&c);
}
END_TEST

START_TEST(sizes)
{
	static const uint32_t wrong[] = {0, 1, 6, 8, 1000000, UINT32_MAX};
	uint8_t msg[64];
	uint32_t room;
	struct p9c c;
	size_t i;

	p9c_start(&c, NULL);
	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		p9c_begin(&c, T_CLUNK);
		memcpy(msg, c.msg, 7);
		memcpy(msg, &wrong[i], 4);
		memset(msg + 7, 0xff, 4);
		ck_assert_uint_eq(p9c_send(&c, msg, 11, 100), 11);
		ck_assert_uint_eq(c.reply[4], 7);
	}
	/* More than was agreed on. */
	ck_assert_int_eq(p9c_version(&c, 4096, "9P2000.L"), 0);
	ck_assert_int_eq(p9c_attach(&c, 0, 0), 0);
	ck_assert_int_eq(p9c_walk(&c, 0, 1, ""), 0);
	ck_assert_int_eq(p9c_lcreate(&c, 1, "f", L_RDWR, 0644), 0);
	ck_assert_int_eq(p9c_write(&c, 1, 0, c.reply, 4096 - 23), 0);
	ck_assert_int_eq(p9c_write(&c, 1, 0, c.reply, 4096 - 22), EMSGSIZE);
	ck_assert_int_eq(p9c_read(&c, 1, 0, 60000), 0);
	ck_assert_uint_eq(c.used, 4096 - 23 + 11);
	ck_assert_int_eq(p9c_write(&c, 1, 4073, c.reply, 500), 0);
	ck_assert_int_eq(p9c_read(&c, 1, 0, 60000), 0);
	ck_assert_uint_eq(c.used, 4096);
	/* No kind of message, or an answer. */
	for (i = 0; i < 256; i++) {
		p9c_begin(&c, (uint8_t)i);
		p9c_put(&c, 77, 4);
		if (i % 2 || i < 8 || i > 122)
			ck_assert_int_eq(p9c_call(&c), EOPNOTSUPP);
	}
	/* A write that says more than it brings. */
	p9c_begin(&c, T_WRITE);
	p9c_put(&c, 1, 4);
	p9c_put(&c, 0, 8);
	p9c_put(&c, 5, 4);
	p9c_bytes(&c, "1234", 4);
	ck_assert_int_eq(p9c_call(&c), EINVAL);
	ck_assert_int_eq(p9c_write(&c, 1, INT64_MAX, "x", 1), EINVAL);
	ck_assert_int_eq(p9c_write(&c, 1, UINT64_MAX, "x", 1), EINVAL);
	ck_assert_int_eq(p9c_read(&c, 1, UINT64_MAX, 1), EINVAL);
	/* Rooms for the answer, from none on: an error where it does not fit, or nothing. */
	for (room = 0; room < 200; room++) {
		uint32_t used, size = 15;

		p9c_begin(&c, T_GETATTR);
		p9c_put(&c, 0, 4);
		p9c_put(&c, 0x7ff, 8);
		size = (uint32_t)c.len;
		memcpy(c.msg, &size, 4);
		used = p9c_send(&c, c.msg, size, room);
		ck_assert_uint_eq(used, room < 11 ? 0U : (room < 160 ? 11U : 160U));
		if (used == 11)
			ck_assert_uint_eq(c.reply[7], EMSGSIZE);
		/* What makes something does not, where it could not say so. */
		p9c_begin(&c, T_MKDIR);
		p9c_put(&c, 0, 4);
		p9c_str(&c, "d");
		p9c_put(&c, 0755, 4);
		p9c_put(&c, 0, 4);
		size = (uint32_t)c.len;
		memcpy(c.msg, &size, 4);
		used = p9c_send(&c, c.msg, size, room);
		ck_assert_int_eq(access(p9c_path(&c, "d"), F_OK), used == 20 ? 0 : -1);
		ck_assert_uint_eq(used, room < 11 ? 0U : (room < 20 ? 11U : 20U));
		rmdir(p9c_path(&c, "d"));
	}
	p9c_stop(&c);
}
END_TEST

/* Directory offsets nobody gave, and fids of the wrong kind everywhere. */
START_TEST(nonsense)
{
	static const uint64_t offsets[] = {1,	      5,	  UINT32_MAX,	     INT64_MAX - 1,
					   INT64_MAX, 0x12345678, UINT64_C(1) << 63, UINT64_MAX};
	struct p9c c;
	size_t i;
	int ret;

	p9c_start(&c, NULL);
	p9c_host_file(&c, "f", "text");
	ck_assert_int_eq(p9c_walk(&c, 0, 1, ""), 0);
	ck_assert_int_eq(p9c_lopen(&c, 1, L_RDONLY), 0);
	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		ret = p9c_readdir(&c, 1, offsets[i], 4096);
		ck_assert_int_ge(ret, 0);
		if (offsets[i] > INT64_MAX)
			ck_assert_int_eq(ret, EINVAL);
	}
	ck_assert_int_eq(p9c_readdir(&c, 1, 0, UINT32_MAX), 0);
	/* An open fid: not walked away, not opened, not made something else. */
	ck_assert_int_eq(p9c_walk(&c, 1, 1, "f"), EBADF);
	ck_assert_int_eq(p9c_walk(&c, 1, 2, "f"), 0);
	ck_assert_int_eq(p9c_lcreate(&c, 1, "g", L_RDWR, 0644), EBADF);
	ck_assert_int_eq(p9c_xattrcreate(&c, 1, "user.a", 1, 0), EBADF);
	ck_assert_int_eq(p9c_readlink(&c, 1, NULL, 0), EINVAL);
	ck_assert_int_eq(p9c_mkdir(&c, 2, "d", 0755), ENOTDIR);
	ck_assert_int_eq(p9c_lcreate(&c, 2, "g", L_RDWR, 0644), ENOTDIR);
	ck_assert_int_eq(p9c_unlinkat(&c, 2, "g", 0), ENOTDIR);
	p9c_stop(&c);
}
END_TEST

/* --- limits
 * ---------------------------------------------------------------------------------------- */

START_TEST(too_many_fids)
{
	static const struct virtio_p9_config few = {.tag = "tag", .max_fids = 50};
	struct p9c c;
	uint32_t i;

	p9c_start(&c, &few);
	for (i = 1; i < 50; i++)
		ck_assert_int_eq(p9c_walk(&c, 0, i, ""), 0);
	ck_assert_int_eq(p9c_walk(&c, 0, 50, ""), EMFILE);
	ck_assert_int_eq(p9c_attach(&c, 50, 0), EMFILE);
	ck_assert_int_eq(p9c_clunk(&c, 7), 0);
	ck_assert_int_eq(p9c_walk(&c, 0, 50, ""), 0);
	/* A deep path counts each of its directories. */
	for (i = 1; i < 50; i++)
		if (i != 7)
			ck_assert_int_eq(p9c_clunk(&c, i), 0);
	ck_assert_int_eq(p9c_walk(&c, 0, 1, ""), 0);
	for (i = 0; i < 49; i++) {
		ck_assert_int_eq(p9c_mkdir(&c, 1, "d", 0755), 0);
		ck_assert_int_eq(p9c_walk(&c, 1, 1, "d"), 0);
	}
	ck_assert_int_eq(p9c_mkdir(&c, 1, "d", 0755), 0);
	ck_assert_int_eq(p9c_walk(&c, 1, 1, "d"), EMFILE);
	ck_assert_int_eq(p9c_walk(&c, 1, 1, "../.."), 0);
	p9c_stop(&c);
}
END_TEST

#define MANY 300

static void many_name(char *name, uint32_t i)
{
	snprintf(name, 32, "d%u/f%u", i % 10, i);
}

/* Far more files in use than descriptors: they are had again when needed. */
START_TEST(few_descriptors)
{
	static const struct virtio_p9_config few = {.tag = "tag", .max_open = 16};
	struct prng p = prng_start("descriptors");
	unsigned int before = count_fds(), round;
	struct p9c_attr attr;
	char name[32], kept[128];
	struct p9c c;
	uint32_t i;
	int ret;

	p9c_start(&c, &few);
	for (i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "d%u", i);
		ck_assert_int_eq(p9c_mkdir(&c, 0, name, 0755), 0);
	}
	for (i = 1; i <= MANY; i++) {
		many_name(name, i);
		p9c_host_file(&c, name, &"123456789"[i % 9]);
		ck_assert_int_eq(p9c_walk(&c, 0, i, name), 0);
	}
	ck_assert_uint_lt(count_fds(), before + 40);
	for (round = 0; round < 2000; round++) {
		i = 1 + prng_below(&p, MANY);
		ck_assert_int_eq(p9c_getattr(&c, i, &attr), 0);
		ck_assert_uint_eq(attr.size, 9 - i % 9);
		if (round % 7)
			continue;
		ck_assert_int_eq(p9c_walk(&c, i, 1000, ""), 0);
		ck_assert_int_eq(p9c_lopen(&c, 1000, L_RDONLY), 0);
		ck_assert_int_eq(p9c_read(&c, 1000, 0, 100), 0);
		ck_assert_uint_eq(p9c_get(&c, 4), 9 - i % 9);
		ck_assert_int_eq(p9c_clunk(&c, 1000), 0);
	}
	ck_assert_uint_lt(count_fds(), before + 40);
	/* Removed by the guest while its descriptor was given up: still there for it. */
	ck_assert_int_eq(p9c_walk(&c, 0, 500, "d1"), 0);
	ck_assert_int_eq(p9c_unlinkat(&c, 500, "f1", 0), 0);
	ck_assert_int_eq(p9c_getattr(&c, 1, &attr), 0);
	ck_assert_uint_eq(attr.nlink, 0);
	/* Moved: had again at its new place; what was there keeps on too. */
	ck_assert_int_eq(p9c_renameat(&c, 500, "f11", 500, "f21"), 0);
	ck_assert_int_eq(p9c_renameat(&c, 0, "d1", 0, "e"), 0);
	for (i = 2; i <= 200; i++)
		if (i % 10 != 1)
			ck_assert_int_eq(p9c_getattr(&c, i, &attr), 0);
	ck_assert_int_eq(p9c_getattr(&c, 11, &attr), 0);
	ck_assert_uint_eq(attr.size, 9 - 11 % 9);
	ck_assert_int_eq(p9c_getattr(&c, 21, &attr), 0);
	ck_assert_uint_eq(attr.nlink, 0);
	ck_assert_int_eq(p9c_getattr(&c, 31, &attr), 0);
	ck_assert_uint_eq(attr.nlink, 1);
	/* Removed or replaced by the host meanwhile: said to be gone, or another. */
	many_name(name, 2);
	snprintf(kept, sizeof(kept), "%s/kept", c.share);
	ck_assert_int_eq(rename(p9c_path(&c, "d3/f3"), kept), 0);
	ck_assert_int_eq(unlink(p9c_path(&c, name)), 0);
	p9c_host_file(&c, "d3/f3", "other");
	for (i = 100; i <= 200; i++)
		if (i % 10 != 1)
			ck_assert_int_eq(p9c_getattr(&c, i, &attr), 0);
	ck_assert_int_eq(p9c_getattr(&c, 2, &attr), ESTALE);
	ck_assert_int_eq(p9c_getattr(&c, 3, &attr), ESTALE);
	ck_assert_int_eq(p9c_lopen(&c, 3, L_RDONLY), ESTALE);
	/* Open files keep theirs: in the end there are no more. */
	for (i = 0, ret = 0; i < 16 && !ret; i++) {
		many_name(name, 4 + 10 * i);
		ret = p9c_walk(&c, 0, 2000 + i, name);
		if (!ret)
			ret = p9c_lopen(&c, 2000 + i, L_RDONLY);
	}
	ck_assert_int_eq(ret, EMFILE);
	ck_assert_uint_gt(i, 10);
	ck_assert_int_eq(p9c_clunk(&c, 2000), 0);
	ck_assert_int_eq(p9c_clunk(&c, 2001), 0);
	ck_assert_int_eq(p9c_getattr(&c, 55, &attr), 0);
	/* And all is given back. */
	p9c_go(&c, 1);
	ck_assert_uint_le(count_fds(), before + 4);
	p9c_stop(&c);
	ck_assert_uint_eq(count_fds(), before);
}
END_TEST

START_TEST(many_attributes)
{
	struct p9c c;
	uint32_t i;

	p9c_start(&c, NULL);
	p9c_host_file(&c, "f", "");
	for (i = 1; i <= 64; i++) {
		ck_assert_int_eq(p9c_walk(&c, 0, i, "f"), 0);
		ck_assert_int_eq(p9c_xattrcreate(&c, i, "user.a", 65536, 0), 0);
	}
	ck_assert_int_eq(p9c_walk(&c, 0, i, "f"), 0);
	ck_assert_int_eq(p9c_xattrcreate(&c, i, "user.a", 65536, 0), EMFILE);
	ck_assert_int_eq(p9c_clunk(&c, 1), EIO);
	ck_assert_int_eq(p9c_xattrcreate(&c, i, "user.a", 65536, 0), 0);
	p9c_stop(&c);
}
END_TEST

/* --- resets
 * -------------------------------------------------------------------------------------------- */

/* Requests under way on the worker, and resets whenever they come. */
START_TEST(resets)
{
	struct prng p = prng_start("resets");
	unsigned int round, i;
	struct p9c c;

	p9c_start(&c, NULL);
	p9c_host_file(&c, "f", "text");
	for (round = 0; round < 200; round++) {
		unsigned int n = 1 + prng_below(&p, 15), seen = 0;
		uint32_t id, len;

		p9c_go(&c, round & 1 ? FEAT_EVENT_IDX | 1 : 1);
		if (round & 1)
			drv_set_used_event(&c.ring, 0);
		ck_assert_int_eq(p9c_version(&c, P9C_MSIZE, "9P2000.L"), 0);
		ck_assert_int_eq(p9c_attach(&c, 0, 0), 0);
		ck_assert_int_eq(p9c_walk(&c, 0, 1, "f"), 0);
		ck_assert_int_eq(p9c_lopen(&c, 1, L_RDWR), 0);
		for (i = 0; i < n; i++) {
			/* Some are for the worker (write), some not (getattr). */
			gpa_t at = DRV_RAM + 0x300000 + 0x1000 * (uint64_t)i;
			const struct drv_seg segs[] = {{at, 0, 0}, {at + 512, 512, DRV_WRITE}};
			struct drv_seg both[2] = {segs[0], segs[1]};

			p9c_begin(&c, prng_below(&p, 2) ? T_WRITE : T_GETATTR);
			p9c_put(&c, 1, 4);
			p9c_put(&c, i, 8);
			p9c_put(&c, 4, 4);
			p9c_bytes(&c, "data", 4);
			len = (uint32_t)c.len;
			memcpy(c.msg, &len, 4);
			memcpy(drv_ptr(&c.mem, at, len), c.msg, len);
			both[0].len = len;
			drv_add(&c.ring, both, 2);
			if (prng_below(&p, 3) == 0)
				drv_wr(&c.drv, R_NOTIFY, 0);
		}
		drv_wr(&c.drv, R_NOTIFY, 0);
		if (round % 3 == 0)
			continue;
		while (seen < n) {
			if (!drv_get_used(&c.ring, &id, &len)) {
				sched_yield();
				continue;
			}
			ck_assert(len == 11 || len == 160);
			seen++;
		}
	}
	p9c_stop(&c);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio-9p-hostile");
	TCase *t = tcase_create("hostile");

	tcase_add_test(t, names);
	tcase_add_test(t, planted_links);
	tcase_add_test(t, races);
	tcase_add_test(t, special_files);
	tcase_add_test(t, set_id_bits);
	tcase_add_test(t, cut_short);
	tcase_add_test(t, sizes);
	tcase_add_test(t, nonsense);
	tcase_add_test(t, too_many_fids);
	tcase_add_test(t, few_descriptors);
	tcase_add_test(t, many_attributes);
	tcase_add_test(t, resets);
	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	return unit_main(s);
}
