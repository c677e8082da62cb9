// SPDX-License-Identifier: GPL-2.0-only
/*
 * A disk's back end: a raw image in a regular file, or a block device of the host.
 *
 * Raw means raw: nothing in the file is ever looked at to find out what it is, since
 * a guest may write there what it likes. The file keeps its size whatever the guest
 * does: the device checks each request against it, and holes are punched with
 * KEEP_SIZE.
 *
 * Zeroing uses what the file system or device can do, and writes zeroes where it can
 * do nothing (which is slower, and as good). Discarding is a hint: where the host
 * can't, it is done by doing nothing.
 *
 * Thread and lock: none; the kernel's file is safe for several threads. Nothing is
 * saved.
 */
#include "lkvm/virtio/blk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ZERO_CHUNK (64 * KIB)

struct blk_file {
	int fd;
};

static long file_readv(void *opaque, const struct iovec *iov, unsigned int nr, uint64_t offset)
{
	struct blk_file *file = opaque;
	ssize_t n = preadv(file->fd, iov, (int)nr, (off_t)offset);

	return n < 0 ? -errno : n;
}

static long file_writev(void *opaque, const struct iovec *iov, unsigned int nr, uint64_t offset)
{
	struct blk_file *file = opaque;
	ssize_t n = pwritev(file->fd, iov, (int)nr, (off_t)offset);

	return n < 0 ? -errno : n;
}

static int file_sync(void *opaque)
{
	struct blk_file *file = opaque;
	int ret;

	do
		ret = fdatasync(file->fd);
	while (ret && errno == EINTR);
	return ret ? -errno : 0;
}

static int change_range(const struct blk_file *file, int mode, uint64_t offset, uint64_t len)
{
	int ret;

	do
		ret = fallocate(file->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len);
	while (ret && errno == EINTR);
	return ret ? -errno : 0;
}

static bool unable(int ret)
{
	return ret == -EOPNOTSUPP || ret == -ENOSYS || ret == -EINVAL || ret == -ENODEV;
}

static int file_discard(void *opaque, uint64_t offset, uint64_t len)
{
	int ret = change_range(opaque, FALLOC_FL_PUNCH_HOLE, offset, len);

	return unable(ret) ? 0 : ret;
}

static int write_zeroes(const struct blk_file *file, uint64_t offset, uint64_t len)
{
	char *zeroes = calloc(1, ZERO_CHUNK);
	ssize_t n;

	if (!zeroes)
		return -ENOMEM;
	while (len) {
		n = pwrite(file->fd, zeroes, min_u64(len, ZERO_CHUNK), (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			int errnum = n ? errno : EIO;

			free(zeroes);
			return -errnum;
		}
		offset += (uint64_t)n;
		len -= (uint64_t)n;
	}
	free(zeroes);
	return 0;
}

static int file_zero(void *opaque, uint64_t offset, uint64_t len, bool unmap)
{
	int ret = -EOPNOTSUPP;

	if (unmap)
		ret = change_range(opaque, FALLOC_FL_PUNCH_HOLE, offset, len);
	if (unable(ret))
		ret = change_range(opaque, FALLOC_FL_ZERO_RANGE, offset, len);
	if (unable(ret))
		ret = write_zeroes(opaque, offset, len);
	return ret;
}

static void file_close(void *opaque)
{
	struct blk_file *file = opaque;

	close(file->fd);
	free(file);
}

static const struct blk_backend_ops file_ops = {
	.readv = file_readv,
	.writev = file_writev,
	.sync = file_sync,
	.discard = file_discard,
	.zero = file_zero,
	.close = file_close,
};

int blk_file_open(int fd, bool read_only, const char *name, struct blk_backend *backend,
		  struct error *err)
{
	struct blk_file *file;
	struct stat st;
	off_t size;
	int flags;

	if (fstat(fd, &st))
		return fail_errno(err, errno, "cannot look at the disk image '%s'", name);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return fail(err, "the disk image '%s' is neither a file nor a block device", name);
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || (flags & O_ACCMODE) == O_WRONLY ||
	    (!read_only && (flags & O_ACCMODE) != O_RDWR))
		return fail(err, "the disk image '%s' is not open for %s", name,
			    read_only ? "reading" : "reading and writing");
	/* Works for block devices too, whose st_size is 0. */
	size = lseek(fd, 0, SEEK_END);
	if (size < 0)
		return fail_errno(err, errno, "cannot find the size of the disk image '%s'", name);
	if (!size || size % VIRTIO_BLK_SECTOR)
		return fail(err, "the disk image '%s' has %lld bytes: not whole sectors of %d",
			    name, (long long)size, VIRTIO_BLK_SECTOR);
	file = calloc(1, sizeof(*file));
	if (!file)
		return fail(err, "no memory for the disk image '%s'", name);
	file->fd = fd;
	*backend = (struct blk_backend){
		.ops = &file_ops,
		.opaque = file,
		.size = (uint64_t)size,
		.read_only = read_only,
	};
	return 0;
}
