// SPDX-License-Identifier: GPL-2.0-only
/*
 * A disk's back end: a raw image in a regular file, or a block device of the host.
 *
 * Raw means raw: nothing in the file is ever looked at to find out what it is, since
 * a guest may write there what it likes. The file keeps its size whatever the guest
 * does: the device checks each request against it, and holes are punched with
 * KEEP_SIZE.
 *
 * Whose it is. A writer holds a write lock on the whole file, a reader a read lock
 * (F_OFD_SETLK, which other VMMs know too), and a block device is opened with O_EXCL
 * for writing, which the kernel refuses while it is mounted. Where the file system
 * knows no locks, that is said and the disk is used.
 *
 * What need not wait. A read is tried with RWF_NOWAIT: the page cache has it, or says
 * EAGAIN. So is a write, where the file system can tell. Where it can't (ext4), the
 * write is made: it is a copy into the page cache nearly always. One that took longer
 * than SLOW_NS (dirty pages are over the host's limit, the journal commits) was not:
 * then writes go to the executor for AVOID_NS, and the vCPU is held up once. A file in
 * a file system that is memory never waits.
 *
 * Direct. The kernel wants memory, offset and length aligned, how much it says by
 * statx(2). Memory that is not goes through a buffer of ours. An offset or length that
 * is not (512-byte sectors on a device with larger ones) goes through the page cache by
 * a second descriptor, is written out and thrown out of the cache again: the kernel
 * does the read-modify-write, one page at a time. The guest is told of 512-byte sectors
 * in both cases, as its partition table counts in them.
 *
 * Zeroing uses what the file system or device can do, and writes zeroes where it can
 * do nothing (which is slower, and as good). Discarding is a hint: where the host
 * can't, it is done by doing nothing.
 *
 * Thread and lock: none; the kernel's file is safe for several threads, and what is
 * remembered here (whether RWF_NOWAIT works, when a write was slow) is atomic. Nothing
 * is saved.
 */
#include "lkvm/virtio/blk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

/* What is zeroed or copied through a buffer at a time. */
#define CHUNK (256 * KIB)

/* The most that any device asks for, and what is assumed where none says. */
#define ALIGN_MAX 4096

#define SLOW_NS (2 * NSEC_PER_MSEC)
#define AVOID_NS (500 * NSEC_PER_MSEC)

/**
 * struct blk_file
 * @fd: the image
 * @cached: the same through the page cache, where @fd is direct; else -1
 * @direct, @block, @memory: how it is open, and what it is
 * @mem_align, @io_align: what direct I/O asks for
 * @no_nowait_read, @no_nowait_write: RWF_NOWAIT was refused
 * @avoid_until: until when writes shall not be made by a vCPU
 */
struct blk_file {
	int fd, cached;
	bool direct, block, memory;
	uint32_t mem_align, io_align;
	atomic_bool no_nowait_read, no_nowait_write;
	_Atomic uint64_t avoid_until;
};

static long negative_errno(long ret)
{
	return ret < 0 ? -errno : ret;
}

/* --- read and write, waiting ---------------------------------------------------- */

static bool memory_aligned(const struct blk_file *file, const struct blk_io *io)
{
	unsigned int i;

	for (i = 0; i < io->nr; i++)
		if ((uintptr_t)io->iov[i].iov_base % file->mem_align ||
		    io->iov[i].iov_len % file->mem_align)
			return false;
	return true;
}

static bool place_aligned(const struct blk_file *file, const struct blk_io *io)
{
	return !(io->offset % file->io_align) && !(io->len % file->io_align);
}

static long rw(int fd, const struct blk_io *io, int flags)
{
	if (io->type == BLK_READ)
		return negative_errno(preadv2(fd, io->iov, (int)io->nr, (off_t)io->offset, flags));
	return negative_errno(pwritev2(fd, io->iov, (int)io->nr, (off_t)io->offset, flags));
}

/* Between the first @len bytes of @iov and @buf. */
static void copy(const struct blk_io *io, char *buf, size_t len, bool out)
{
	unsigned int i;

	for (i = 0; i < io->nr && len; i++) {
		size_t n = min_u64(io->iov[i].iov_len, len);

		if (out)
			memcpy(buf, io->iov[i].iov_base, n);
		else
			memcpy(io->iov[i].iov_base, buf, n);
		buf += n;
		len -= n;
	}
}

/* Through a buffer that is aligned. Both what is asked for and CHUNK are whole blocks. */
static long rw_bounced(const struct blk_file *file, const struct blk_io *io)
{
	size_t len = min_u64(io->len, CHUNK);
	char *buf = aligned_alloc(ALIGN_MAX, align_up(len, ALIGN_MAX));
	struct iovec iov = {buf, len};
	struct blk_io through = {.type = io->type, .offset = io->offset, .len = len, .iov = &iov};
	long n;

	if (!buf)
		return -ENOMEM;
	through.nr = 1;
	if (io->type == BLK_WRITE)
		copy(io, buf, len, true);
	n = rw(file->fd, &through, 0);
	if (io->type == BLK_READ && n > 0)
		copy(io, buf, (size_t)n, false);
	free(buf);
	return n;
}

/* By way of the page cache, which shall not keep it. */
static long rw_cached(const struct blk_file *file, const struct blk_io *io)
{
	long n = rw(file->cached, io, 0);

	if (n <= 0)
		return n;
	if (io->type == BLK_WRITE &&
	    sync_file_range(file->cached, (off_t)io->offset, n,
			    SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
				    SYNC_FILE_RANGE_WAIT_AFTER))
		return -errno;
	posix_fadvise(file->cached, (off_t)io->offset, n, POSIX_FADV_DONTNEED);
	return n;
}

static long file_rw(const struct blk_file *file, const struct blk_io *io)
{
	if (!file->direct)
		return rw(file->fd, io, 0);
	if (!place_aligned(file, io))
		return rw_cached(file, io);
	return memory_aligned(file, io) ? rw(file->fd, io, 0) : rw_bounced(file, io);
}

/* --- sync, discard, zero ---------------------------------------------------------- */

static int file_sync(const struct blk_file *file)
{
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
	return ret == -EOPNOTSUPP || ret == -ENOSYS || ret == -EINVAL || ret == -ENODEV ||
	       ret == -ENOTTY;
}

static int file_discard(const struct blk_file *file, uint64_t offset, uint64_t len)
{
	uint64_t range[2] = {offset, len};
	int ret;

	if (file->block)
		ret = ioctl(file->fd, BLKDISCARD, range) ? -errno : 0;
	else
		ret = change_range(file, FALLOC_FL_PUNCH_HOLE, offset, len);
	return unable(ret) ? 0 : ret;
}

/* The same page again and again: no worker needs a buffer of its own for it. */
static unsigned int zero_iovecs(struct iovec *iov, size_t len)
{
	static const char zeroes[ALIGN_MAX] __attribute__((aligned(ALIGN_MAX)));
	unsigned int nr;

	for (nr = 0; len; nr++) {
		iov[nr].iov_base = (void *)(uintptr_t)zeroes;
		iov[nr].iov_len = min_u64(len, ALIGN_MAX);
		len -= iov[nr].iov_len;
	}
	return nr;
}

static int write_zeroes(const struct blk_file *file, uint64_t offset, uint64_t len)
{
	struct iovec iov[CHUNK / ALIGN_MAX];
	struct blk_io io = {.type = BLK_WRITE, .iov = iov};
	long n = 0;

	while (len && (n >= 0 || n == -EINTR)) {
		io.offset = offset;
		io.len = min_u64(len, CHUNK);
		io.nr = zero_iovecs(iov, io.len);
		n = file_rw(file, &io);
		if (n == 0)
			n = -EIO;
		if (n > 0) {
			offset += (uint64_t)n;
			len -= (uint64_t)n;
		}
	}
	return len ? (int)n : 0;
}

static int file_zero(const struct blk_file *file, uint64_t offset, uint64_t len, bool unmap)
{
	int ret = -EOPNOTSUPP;

	if (unmap)
		ret = change_range(file, FALLOC_FL_PUNCH_HOLE, offset, len);
	if (unable(ret))
		ret = change_range(file, FALLOC_FL_ZERO_RANGE, offset, len);
	if (unable(ret))
		ret = write_zeroes(file, offset, len);
	return ret;
}

static long file_perform(void *opaque, const struct blk_io *io)
{
	const struct blk_file *file = opaque;

	switch (io->type) {
	case BLK_SYNC:
		return file_sync(file);
	case BLK_DISCARD:
		return file_discard(file, io->offset, io->len);
	case BLK_ZERO:
		return file_zero(file, io->offset, io->len, io->unmap);
	default:
		return file_rw(file, io);
	}
}

/* --- not waiting --------------------------------------------------------------------- */

/* A write that the file system can't make without perhaps waiting: see above. */
static long write_now(struct blk_file *file, const struct blk_io *io)
{
	uint64_t start = now_ns(), end;
	long n;

	if (start < file->avoid_until)
		return -EAGAIN;
	n = rw(file->fd, io, 0);
	end = now_ns();
	if (end - start > SLOW_NS)
		file->avoid_until = end + AVOID_NS;
	return n;
}

static long file_now(void *opaque, const struct blk_io *io)
{
	struct blk_file *file = opaque;
	atomic_bool *refused =
		io->type == BLK_READ ? &file->no_nowait_read : &file->no_nowait_write;
	long n = -EOPNOTSUPP;

	if (file->memory)
		return file_perform(opaque, io);
	if (file->direct || (io->type != BLK_READ && io->type != BLK_WRITE))
		return -EAGAIN;
	if (!*refused)
		n = rw(file->fd, io, RWF_NOWAIT);
	if (n != -EOPNOTSUPP && n != -ENOSYS)
		/* 0 at the end of a file that was cut: the disk says so by the long way. */
		return n ? n : -EAGAIN;
	*refused = true;
	return io->type == BLK_WRITE ? write_now(file, io) : -EAGAIN;
}

/* The ring reads what the cache has not, and does direct I/O as it stands. */
static int file_ring_fd(void *opaque, const struct blk_io *io)
{
	const struct blk_file *file = opaque;

	if (file->direct)
		return place_aligned(file, io) && memory_aligned(file, io) ? file->fd : -1;
	return io->type == BLK_READ && !file->memory ? file->fd : -1;
}

/* --- size, open, close ------------------------------------------------------------------ */

static int64_t file_size(void *opaque)
{
	const struct blk_file *file = opaque;

	/* Works for block devices too, whose st_size is 0. */
	return negative_errno(lseek(file->fd, 0, SEEK_END));
}

static int file_set_size(void *opaque, uint64_t size)
{
	const struct blk_file *file = opaque;

	if (file->block)
		return -EOPNOTSUPP;
	return size > INT64_MAX ? -EFBIG : (int)negative_errno(ftruncate(file->fd, (off_t)size));
}

static void file_close(void *opaque)
{
	struct blk_file *file = opaque;

	if (file->cached >= 0)
		close(file->cached);
	close(file->fd);
	free(file);
}

static const struct blk_backend_ops file_ops = {
	.perform = file_perform,
	.now = file_now,
	.ring_fd = file_ring_fd,
	.size = file_size,
	.set_size = file_set_size,
	.close = file_close,
};

static const char *type_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "a directory";
	case S_IFIFO:
		return "a FIFO";
	case S_IFCHR:
		return "a character device";
	case S_IFSOCK:
		return "a socket";
	default:
		return "something else";
	}
}

/* Before it is opened: opening a FIFO or a device can do something. */
static int check_type(const struct stat *st, const char *path, struct error *err)
{
	if (S_ISREG(st->st_mode) || S_ISBLK(st->st_mode))
		return 0;
	return fail(err, "a disk is a regular file or a block device: %s is %s%s", path,
		    type_name(st->st_mode),
		    S_ISDIR(st->st_mode) ? " (--share gives one to a guest)" : "");
}

static int open_image(const struct blk_file_config *c, bool direct, bool exclusive,
		      struct error *err)
{
	int flags = (c->read_only ? O_RDONLY : O_RDWR) | (direct ? O_DIRECT : 0) |
		    (exclusive ? O_EXCL : 0) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	int fd = open(c->path, flags);

	/* That was for opening only; the ring would take it for "never wait". */
	if (fd >= 0 && !fcntl(fd, F_SETFL, direct ? O_DIRECT : 0))
		return fd;
	if (fd >= 0)
		close(fd);
	if (errno == EINVAL && direct)
		return fail(err, "the file system of %s has no direct I/O", c->path);
	if (errno == EBUSY && exclusive)
		return fail(err, "%s is mounted, or in use by another program that writes it",
			    c->path);
	if ((errno == EACCES || errno == EROFS || errno == EPERM) && !c->read_only)
		return fail_errno(err, errno, "cannot open %s for writing (',ro' reads only)",
				  c->path);
	return fail_errno(err, errno, "cannot open %s", c->path);
}

int blk_file_lock(int fd, const struct blk_file_config *c, struct log *log, struct error *err)
{
	/* From the first to the last byte, wherever that will be. */
	struct flock lock = {.l_type = c->read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};

	if (!fcntl(fd, F_OFD_SETLK, &lock))
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return fail(err, "%s is in use by another program%s", c->path,
			    c->read_only ? " that writes it"
					 : "; to share it, all have to use it with ',ro'");
	log_warning(log, "%s can't be locked (%s): see that no other program writes it", c->path,
		    strerror(errno));
	return 0;
}

static bool in_memory(int fd)
{
	struct statfs fs;

	/* fs.f_type is signed on some machines; these are 32-bit numbers. */
	return !fstatfs(fd, &fs) && ((uint32_t)fs.f_type == (uint32_t)TMPFS_MAGIC ||
				     (uint32_t)fs.f_type == (uint32_t)RAMFS_MAGIC);
}

static void find_alignment(struct blk_file *file)
{
	int sector = ALIGN_MAX;

	file->mem_align = ALIGN_MAX;
	file->io_align = ALIGN_MAX;
#ifdef STATX_DIOALIGN
	struct statx stx;

	if (!statx(file->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) &&
	    stx.stx_mask & STATX_DIOALIGN && stx.stx_dio_mem_align && stx.stx_dio_offset_align) {
		file->mem_align = stx.stx_dio_mem_align;
		file->io_align = stx.stx_dio_offset_align;
		return;
	}
#endif
	if (file->block && !ioctl(file->fd, BLKSSZGET, &sector) && sector > 0) {
		file->mem_align = (uint32_t)sector;
		file->io_align = (uint32_t)sector;
	}
}

/* @file->fd is open: find out about it. */
static int look_at(struct blk_file *file, const struct blk_file_config *c, bool lock,
		   struct log *log, struct blk_backend *backend, struct error *err)
{
	struct stat st;
	int64_t size;

	if (fstat(file->fd, &st))
		return fail_errno(err, errno, "cannot look at %s", c->path);
	if (check_type(&st, c->path, err))
		return -1;
	file->block = S_ISBLK(st.st_mode);
	file->memory = !file->block && in_memory(file->fd);
	file->direct = c->direct;
	size = file_size(file);
	if (size < 0)
		return fail_errno(err, (int)-size, "cannot find the size of %s", c->path);
	if (!size || size % VIRTIO_BLK_SECTOR)
		return fail(err, "%s has %lld bytes: a disk has whole sectors of %d, at least one",
			    c->path, (long long)size, VIRTIO_BLK_SECTOR);
	if (lock && blk_file_lock(file->fd, c, log, err))
		return -1;
	if (file->direct) {
		find_alignment(file);
		file->cached = open_image(c, false, false, err);
		if (file->cached < 0)
			return -1;
	}
	backend->size = (uint64_t)size;
	return 0;
}

int blk_file_open(const struct blk_file_config *c, bool lock, struct log *log,
		  struct blk_backend *backend, struct error *err)
{
	struct blk_file *file;
	struct stat st;

	if (stat(c->path, &st))
		return fail_errno(err, errno, "cannot open %s", c->path);
	if (check_type(&st, c->path, err))
		return -1;
	file = calloc(1, sizeof(*file));
	if (!file)
		return fail(err, "no memory for the disk %s", c->path);
	file->cached = -1;
	file->fd = open_image(c, c->direct, lock && !c->read_only && S_ISBLK(st.st_mode), err);
	if (file->fd < 0) {
		free(file);
		return -1;
	}
	*backend = (struct blk_backend){
		.ops = &file_ops,
		.opaque = file,
		.read_only = c->read_only,
		.discards = !c->read_only,
		.zeroes = !c->read_only,
	};
	if (look_at(file, c, lock, log, backend, err)) {
		file_close(file);
		return -1;
	}
	return 0;
}
