// SPDX-License-Identifier: GPL-2.0-only
/*
 * Files for snapshots (include/lkvm/snapshot/io.h).
 *
 * Replacing a file: the new one is made under another name in the same directory,
 * written, brought to the disk, and renamed over the old one; then the directory is
 * brought to the disk. Whoever is killed in between leaves the old file as it was, and
 * maybe one with a name ".NAME.lkvm-NUMBER" beside it.
 *
 * No state but the target, which belongs to one thread.
 */
#include "lkvm/snapshot/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static long io_write(void *opaque, int fd, const void *buf, size_t len, uint64_t offset)
{
	ssize_t n = pwrite(fd, buf, len, (off_t)offset);

	(void)opaque;
	return n < 0 ? -errno : n;
}

static int io_truncate(void *opaque, int fd, uint64_t size)
{
	(void)opaque;
	return ftruncate(fd, (off_t)size) ? -errno : 0;
}

static int io_sync(void *opaque, int fd)
{
	(void)opaque;
	return fsync(fd) ? -errno : 0;
}

static int io_rename(void *opaque, int dir, const char *from, const char *to)
{
	(void)opaque;
	return renameat(dir, from, dir, to) ? -errno : 0;
}

const struct snapshot_io_ops snapshot_io_linux = {
	.write = io_write,
	.truncate = io_truncate,
	.sync = io_sync,
	.rename = io_rename,
};

static void close_all(struct snapshot_target *t)
{
	if (t->fd >= 0)
		close(t->fd);
	if (t->dir >= 0)
		close(t->dir);
	t->fd = -1;
	t->dir = -1;
}

/* Split @path, and open its directory. */
static int open_directory(struct snapshot_target *t, const char *path, struct error *err)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	char dir[4096] = ".";

	if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
		return fail(err, "%s is no name of a file", path);
	if (strlen(name) > sizeof(t->name) - 32 ||
	    (slash && (size_t)(slash - path) + 2 > sizeof(dir)))
		return fail(err, "%s is too long a name", path);
	memcpy(t->name, name, strlen(name) + 1);
	if (slash) {
		size_t len = slash == path ? 1 : (size_t)(slash - path);

		memcpy(dir, path, len);
		dir[len] = '\0';
	}
	t->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return t->dir < 0 ? fail_errno(err, errno, "cannot open %s", dir) : 0;
}

static int open_temporary(struct snapshot_target *t, struct error *err)
{
	unsigned int i;

	for (i = 0; i < 100; i++) {
		snprintf(t->temporary, sizeof(t->temporary), ".%.200s.lkvm-%d.%u", t->name,
			 (int)getpid(), i);
		/* Guest memory may hold secrets: for this user only. */
		t->fd = openat(t->dir, t->temporary,
			       O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (t->fd >= 0 || errno != EEXIST)
			break;
	}
	return t->fd < 0 ? fail_errno(err, errno, "cannot make a file beside %s", t->name) : 0;
}

int snapshot_target_open(struct snapshot_target *t, struct snapshot_io io, const char *path,
			 struct error *err)
{
	struct stat st;

	*t = (struct snapshot_target){.io = io, .fd = -1, .dir = -1};
	if (open_directory(t, path, err))
		return -1;
	if (!fstatat(t->dir, t->name, &st, AT_SYMLINK_NOFOLLOW) && !S_ISREG(st.st_mode)) {
		fail(err, "%s is there and is no plain file", path);
		close_all(t);
		return -1;
	}
	if (open_temporary(t, err)) {
		close_all(t);
		return -1;
	}
	return 0;
}

int snapshot_target_commit(struct snapshot_target *t, struct error *err)
{
	int ret = t->io.ops->sync(t->io.opaque, t->fd);

	if (ret)
		fail_errno(err, -ret, "the new file did not get to the disk; %s is as it was",
			   t->name);
	if (!ret) {
		ret = t->io.ops->rename(t->io.opaque, t->dir, t->temporary, t->name);
		if (ret)
			fail_errno(err, -ret, "cannot put the new file in place of %s", t->name);
	}
	if (ret) {
		snapshot_target_abort(t);
		return -1;
	}
	ret = t->io.ops->sync(t->io.opaque, t->dir);
	close_all(t);
	if (ret)
		return fail_errno(err, -ret,
				  "%s is written, but its directory did not get to the disk",
				  t->name);
	return 0;
}

void snapshot_target_abort(struct snapshot_target *t)
{
	if (t->dir >= 0 && t->fd >= 0)
		unlinkat(t->dir, t->temporary, 0);
	close_all(t);
}
