// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host's file system as the 9p server sees it: one directory and one name at a
 * time.
 *
 * A guest must not get out of the shared directory, whatever links it plants and
 * however it races with itself or with the host. So nothing here ever takes a path.
 * Each step is one name (no '/', no "..") in a directory that is held open, never
 * follows a link, and yields an O_PATH descriptor, which pins what was found and has
 * no effect on it: a FIFO or a device is not opened. openat2(2) is asked to enforce
 * all that once more (RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS);
 * where the host has none, one component with O_NOFOLLOW says the same.
 *
 * What an O_PATH descriptor stands for is opened through /proc/self/fd, which leads
 * to that very file even if its name is gone or means another one by now; only
 * regular files and directories ever are, see the callers. /proc/self/fd is held
 * open too, so it is looked up by path once, when the share is made.
 *
 * Thread and lock: pure functions and system calls; a share does not change. Nothing
 * is saved.
 */
#include "p9_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BENEATH (RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS)

/* Qids of other devices than the root's. */
#define FOREIGN (UINT64_C(1) << 63)
#define FOREIGN_SHIFT 48

/* "2147483647" */
#define FD_TEXT 12

static int openat2_call(int dir, const char *name, int flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = {
		.flags = (uint64_t)flags,
		.mode = mode,
		.resolve = resolve,
	};
	long fd = syscall(SYS_openat2, dir, name, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

int p9_open_name(const struct p9_share *share, int dir, const char *name, bool cached)
{
	int flags = O_PATH | O_NOFOLLOW | O_CLOEXEC, fd;

	if (share->no_openat2) {
		if (cached)
			return -P9_LATER;
		fd = openat(dir, name, flags);
		return fd < 0 ? -errno : fd;
	}
	fd = openat2_call(dir, name, flags, 0, BENEATH | (cached ? RESOLVE_CACHED : 0));
	/* EINVAL: a kernel that does not know RESOLVE_CACHED. */
	if (cached && (fd == -EAGAIN || fd == -EINVAL))
		return -P9_LATER;
	return fd;
}

int p9_create_name(const struct p9_share *share, int dir, const char *name, int flags, mode_t mode)
{
	int fd;

	flags |= O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY;
	if (!share->no_openat2)
		return openat2_call(dir, name, flags, mode, BENEATH);
	fd = openat(dir, name, flags, mode);
	return fd < 0 ? -errno : fd;
}

static void fd_text(char *text, int fd)
{
	snprintf(text, FD_TEXT, "%d", fd);
}

int p9_reopen(const struct p9_share *share, int fd, int flags)
{
	char text[FD_TEXT];
	int ret;

	fd_text(text, fd);
	ret = openat(share->proc, text, flags | O_CLOEXEC | O_NOCTTY);
	return ret < 0 ? -errno : ret;
}

int p9_host_chmod(const struct p9_share *share, int fd, mode_t mode)
{
	char text[FD_TEXT];

	fd_text(text, fd);
	return fchmodat(share->proc, text, mode, 0) ? errno : 0;
}

int p9_host_link(const struct p9_share *share, int fd, int dir, const char *name)
{
	char text[FD_TEXT];

	fd_text(text, fd);
	return linkat(share->proc, text, dir, name, AT_SYMLINK_FOLLOW) ? errno : 0;
}

uint8_t p9_qid_type(mode_t mode)
{
	if (S_ISDIR(mode))
		return P9_QT_DIR;
	return S_ISLNK(mode) ? P9_QT_SYMLINK : P9_QT_FILE;
}

/*
 * Inode numbers are unique on a device only. Those of other devices, which are mounted
 * beneath the share, get the device's number mixed into the upper bits.
 */
static uint64_t qid_path(const struct p9_share *share, const struct stat *st)
{
	uint64_t dev = st->st_dev, ino = st->st_ino;

	if (st->st_dev == share->dev)
		return ino;
	dev *= UINT64_C(0x9e3779b97f4a7c15);
	return FOREIGN | (dev >> (FOREIGN_SHIFT + 1) << FOREIGN_SHIFT ^ ino);
}

struct p9_qid p9_qid_of(const struct p9_share *share, const struct stat *st)
{
	return (struct p9_qid){
		.type = p9_qid_type(st->st_mode),
		.version = (uint32_t)st->st_mtim.tv_sec ^ (uint32_t)st->st_mtim.tv_nsec << 2 ^
			   (uint32_t)st->st_size << 8,
		.path = qid_path(share, st),
	};
}

/* File systems that answer from memory for what is held open. */
static bool is_local(int dir)
{
	static const uint32_t known[] = {
		EXT4_SUPER_MAGIC,  XFS_SUPER_MAGIC,	  BTRFS_SUPER_MAGIC, F2FS_SUPER_MAGIC,
		TMPFS_MAGIC,	   RAMFS_MAGIC,		  SQUASHFS_MAGIC,    EROFS_SUPER_MAGIC_V1,
		ISOFS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC,
	};
	struct statfs fs;
	size_t i;

	if (fstatfs(dir, &fs))
		return false;
	for (i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i] == (uint32_t)fs.f_type)
			return true;
	return false;
}

int p9_share_open(struct p9_share *share, int dir, bool read_only, enum p9_security security,
		  struct error *err)
{
	struct stat st;
	int fd;

	if (fstat(dir, &st))
		return fail_errno(err, errno, "the shared directory can't be looked at");
	if (!S_ISDIR(st.st_mode))
		return fail(err, "what shall be shared is no directory");
	*share = (struct p9_share){
		.root = dir,
		.dev = st.st_dev,
		.ino = st.st_ino,
		.read_only = read_only,
		.security = security,
		.local = is_local(dir),
		.owners = security != P9_SQUASH && !geteuid(),
	};
	share->proc = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (share->proc < 0)
		return fail_errno(err, errno, "/proc is needed, but /proc/self/fd can't be opened");
	fd = openat2_call(dir, ".", O_PATH | O_DIRECTORY | O_CLOEXEC, 0, BENEATH);
	if (fd >= 0)
		close(fd);
	/* No such call, or a filter that does not know it. */
	share->no_openat2 = fd == -ENOSYS || fd == -EPERM;
	return 0;
}

void p9_share_close(struct p9_share *share)
{
	close(share->root);
	close(share->proc);
}
