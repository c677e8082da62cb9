// SPDX-License-Identifier: GPL-2.0-only
/*
 * 9p operations on open files: lopen, lcreate, read, write, readdir, fsync, lock,
 * getlock.
 *
 * Only regular files and directories are ever opened: a FIFO, a device or a socket in
 * the share is the guest's own business, which opens its own. What is opened is what
 * the fid stands for, through its descriptor, not what has its name by now.
 *
 * Data moves between the file and guest memory directly. Reading is tried at once
 * with RWF_NOWAIT: what the host has in memory is there with no thread woken.
 *
 * Whoever changes a file's content takes its set-user-ID and set-group-ID bits away.
 * The host's kernel does that for ordinary users; here it is done for root too, or a
 * guest could put its own content into a program that runs with someone's rights.
 *
 * A directory's offsets are the host's own cookies: they are given to lseek(2) as
 * they come, which is up to any number.
 *
 * Locks are granted to everybody: between processes of a guest its own kernel has
 * settled that before it asks; with the host and with other guests there are none.
 *
 * Thread and lock: see p9_internal.h. What is saved: that a fid is open, and how.
 */
#include "p9_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* open(2)'s flags as 9P2000.L numbers them. */
#define L_ACCMODE 3
#define L_EXCL 0200
#define L_TRUNC 01000
#define L_APPEND 02000
#define L_DSYNC 010000
#define L_DIRECTORY 0200000
#define L_SYNC 04000000

#define LOCK_SUCCESS 0
#define LOCK_UNLOCKED 2

/* Of one system call. */
#define IOVS 128

/* getdents64() must find room for the longest entry. */
#define DIRENT_MIN 288
/* qid[13] offset[8] type[1] name[s] */
#define DIRENT_FIELDS 24

static int host_flags(uint32_t flags)
{
	int host = (int)(flags & L_ACCMODE);

	if (flags & L_TRUNC)
		host |= O_TRUNC;
	if (flags & L_APPEND)
		host |= O_APPEND;
	if (flags & L_SYNC)
		host |= O_SYNC;
	else if (flags & L_DSYNC)
		host |= O_DSYNC;
	return host;
}

static bool changes(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC;
}

/* May @node be opened at all? */
static int check_type(const struct p9_node *node, int flags)
{
	if (S_ISREG(node->type))
		return 0;
	if (S_ISDIR(node->type))
		return changes(flags) ? EISDIR : 0;
	return S_ISLNK(node->type) ? ELOOP : EPERM;
}

/* Open @node for @fid, and look at it: both or none. */
static int open_node(struct p9_call *call, struct p9_fid *fid, struct p9_node *node, int flags,
		     struct stat *st)
{
	int how = flags, fd, ret;

	if (flags & O_TRUNC) {
		ret = p9_strip_set_id(call, node);
		if (ret)
			return ret;
	}
	if (S_ISDIR(node->type))
		how |= O_DIRECTORY;
	/* Not waiting for whoever holds a lease. */
	if (call->quick)
		how |= O_NONBLOCK;
	fd = p9_call_reopen(call, node, how);
	if (fd < 0)
		return call->quick && fd == -EAGAIN ? P9_LATER : -fd;
	if (fstat(fd, st)) {
		ret = errno;
		close(fd);
		return ret;
	}
	p9_fid_open(call->s, fid, fd, flags & ~O_TRUNC);
	return 0;
}

/* The answer of lopen and lcreate; the guest chooses the size of its requests itself. */
static void put_opened(struct p9_call *call, const struct p9_qid *qid)
{
	p9_put_qid(&call->out, qid);
	p9_put_u32(&call->out, 0);
}

int p9_op_lopen(struct p9_call *call)
{
	struct p9_qid qid;
	struct p9_fid *fid;
	struct stat st;
	uint32_t wanted;
	int flags, ret;

	ret = p9_call_fid(call, &fid);
	wanted = p9_get_u32(&call->in);
	if (call->in.bad || (wanted & L_ACCMODE) == L_ACCMODE)
		return EINVAL;
	if (ret)
		return ret;
	if (fid->kind != P9_FID_PATH)
		return EBADF;
	flags = host_flags(wanted);
	if (changes(flags) && call->share->read_only)
		return EROFS;
	ret = check_type(fid->node, flags);
	if (!ret && wanted & L_DIRECTORY && !S_ISDIR(fid->node->type))
		ret = ENOTDIR;
	if (ret)
		return ret;
	/* Truncating takes time; so may opening where others than this host have a say. */
	if (call->quick && (flags & O_TRUNC || !p9_is_near(call->share, fid->node)))
		return P9_LATER;
	ret = open_node(call, fid, fid->node, flags, &st);
	if (ret)
		return ret;
	qid = p9_qid_of(call->share, &st);
	put_opened(call, &qid);
	return 0;
}

/* --- lcreate --------------------------------------------------------------------------- */

/* The new file @fd is the guest's: owner, and mode as it was asked for. */
static int hand_over(struct p9_call *call, int fd, uint32_t uid, uint32_t gid, mode_t mode)
{
	struct stat st;
	int ret = p9_own(call->share, fd, uid, gid);

	if (ret)
		return ret;
	if (fstat(fd, &st))
		return errno;
	if ((st.st_mode & 07777) == mode)
		return 0;
	return fchmod(fd, mode) ? errno : 0;
}

/* @fid, a directory, becomes the new file @name in it, which is open as @fd. */
static int become(struct p9_call *call, struct p9_fid *fid, const char *name, int fd, int flags,
		  struct p9_qid *qid)
{
	struct p9_node *node;
	int path, ret = p9_make_room(call->s);

	if (ret)
		return ret;
	path = p9_reopen(call->share, fd, O_PATH);
	if (path < 0)
		return -path;
	ret = p9_call_add(call, fid->node, name, path, &node, qid);
	if (ret)
		return ret;
	p9_fid_set_node(call->s, fid, node);
	p9_fid_open(call->s, fid, fd, flags);
	return 0;
}

/* Somebody was faster: open what is there, which keeps its owner and mode. */
static int open_existing(struct p9_call *call, struct p9_fid *fid, const char *name, int flags,
			 struct p9_qid *qid)
{
	struct p9_node *node;
	struct stat st;
	int ret = p9_call_step(call, fid->node, name, &node, qid);

	if (ret)
		return ret;
	ret = check_type(node, flags);
	if (!ret && S_ISDIR(node->type))
		ret = EISDIR;
	if (!ret)
		ret = open_node(call, fid, node, flags, &st);
	if (ret)
		p9_node_put(call->s, node);
	else
		p9_fid_set_node(call->s, fid, node);
	return ret;
}

int p9_op_lcreate(struct p9_call *call)
{
	char name[P9_NAME_MAX + 1];
	uint32_t wanted, mode, gid;
	struct p9_qid qid;
	struct p9_fid *fid;
	int dir, fd, flags, bad, ret;

	ret = p9_call_fid(call, &fid);
	bad = p9_get_name(&call->in, name, false);
	wanted = p9_get_u32(&call->in);
	mode = p9_get_u32(&call->in) & 07777;
	gid = p9_get_u32(&call->in);
	if (call->in.bad || (wanted & L_ACCMODE) == L_ACCMODE)
		return EINVAL;
	if (ret || bad)
		return ret ? ret : bad;
	if (fid->kind != P9_FID_PATH)
		return EBADF;
	if (!S_ISDIR(fid->node->type))
		return ENOTDIR;
	if (!p9_may_set_mode(call->share, S_IFREG, mode))
		return EPERM;
	flags = host_flags(wanted);
	dir = p9_call_pin(call, fid->node);
	if (dir < 0)
		return -dir;
	ret = p9_make_room(call->s);
	if (ret)
		return ret;
	fd = p9_create_name(call->share, dir, name, flags & ~O_TRUNC, mode & 0777);
	if (fd == -EEXIST && !(wanted & L_EXCL)) {
		ret = open_existing(call, fid, name, flags, &qid);
	} else if (fd < 0) {
		ret = -fd;
	} else {
		ret = hand_over(call, fd, fid->uid, gid, mode);
		if (!ret)
			ret = become(call, fid, name, fd, flags & ~O_TRUNC, &qid);
		if (ret) {
			unlinkat(dir, name, 0);
			close(fd);
		}
	}
	if (!ret)
		put_opened(call, &qid);
	return ret;
}

/* --- data --------------------------------------------------------------------------------- */

static bool good_offset(uint64_t offset)
{
	return offset <= INT64_MAX - P9_MSIZE_MAX;
}

/*
 * Move up to @left bytes between @fd and the place @at, either way. Bytes moved, which
 * are fewer at the end of the file or where something went wrong later on; or -errno.
 */
static long move(int fd, struct virtq_cursor at, size_t left, uint64_t offset, bool write)
{
	struct iovec iov[IOVS];
	long done = 0;

	while (left) {
		size_t mapped;
		unsigned int nr = virtq_map(&at, left, iov, IOVS, &mapped);
		ssize_t n;

		if (write)
			n = pwritev(fd, iov, (int)nr, (off_t)offset);
		else
			n = preadv(fd, iov, (int)nr, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && !done)
			return -errno;
		if (n <= 0)
			break;
		virtq_skip(&at, (size_t)n);
		done += n;
		offset += (uint64_t)n;
		left -= (size_t)n;
	}
	return done;
}

/* Read what the host has in memory; -P9_LATER where that is not all of it. */
static long read_now(struct p9_call *call, struct p9_fid *fid, int fd, struct virtq_cursor at,
		     size_t left, uint64_t offset)
{
	struct iovec iov[IOVS];
	struct stat st;
	size_t mapped;
	unsigned int nr;
	ssize_t n;

	if (fid->no_nowait || !p9_is_near(call->share, fid->node))
		return -P9_LATER;
	nr = virtq_map(&at, left, iov, IOVS, &mapped);
	n = mapped < left ? -1 : preadv2(fd, iov, (int)nr, (off_t)offset, RWF_NOWAIT);
	if (n < 0) {
		fid->no_nowait = mapped == left && errno == EOPNOTSUPP;
		return -P9_LATER;
	}
	/* It may have stopped at what was not there, or at the file's end. */
	if ((size_t)n < left && (fstat(fd, &st) || offset + (uint64_t)n < (uint64_t)st.st_size))
		return -P9_LATER;
	return n;
}

static int read_xattr(struct p9_call *call, const struct p9_fid *fid, uint64_t offset,
		      uint32_t count)
{
	if (!fid->xattr)
		return ESTALE;
	if (offset < fid->xattr->size) {
		call->tail = fid->xattr->value + offset;
		call->tail_len = (uint32_t)min_u64(count, fid->xattr->size - offset);
	}
	p9_put_u32(&call->out, call->tail_len);
	return 0;
}

int p9_op_read(struct p9_call *call)
{
	struct virtq_cursor at = virtq_writer(call->req);
	struct p9_fid *fid;
	uint64_t offset;
	uint32_t count;
	long n;
	int fd, ret;

	ret = p9_call_fid(call, &fid);
	offset = p9_get_u64(&call->in);
	count = p9_get_u32(&call->in);
	if (call->in.bad || !good_offset(offset))
		return EINVAL;
	if (ret)
		return ret;
	count = (uint32_t)min_u64(count, call->room);
	if (fid->kind == P9_FID_XATTR_READ)
		return read_xattr(call, fid, offset, count);
	fd = p9_call_io(call, fid);
	if (fd < 0)
		return -fd;
	virtq_skip(&at, P9_DATA_AT);
	if (call->quick)
		n = read_now(call, fid, fd, at, count, offset);
	else
		n = move(fd, at, count, offset, false);
	if (n < 0)
		return (int)-n;
	call->tail_len = (uint32_t)n;
	p9_put_u32(&call->out, call->tail_len);
	return 0;
}

static int write_xattr(struct p9_call *call, struct p9_fid *fid, uint64_t offset, uint32_t count)
{
	struct p9_xattr *xattr = fid->xattr;

	if (!xattr)
		return ESTALE;
	if (offset != xattr->done || count > xattr->size - xattr->done)
		return EINVAL;
	virtq_read(&call->data, xattr->value + xattr->done, count);
	xattr->done += count;
	p9_put_u32(&call->out, count);
	return 0;
}

int p9_op_write(struct p9_call *call)
{
	struct p9_fid *fid;
	uint64_t offset;
	uint32_t count;
	long n;
	int fd, ret;

	ret = p9_call_fid(call, &fid);
	offset = p9_get_u64(&call->in);
	count = p9_get_u32(&call->in);
	if (call->in.bad || count > call->data.left || !good_offset(offset))
		return EINVAL;
	if (ret)
		return ret;
	if (fid->kind == P9_FID_XATTR_WRITE)
		return write_xattr(call, fid, offset, count);
	fd = p9_call_io(call, fid);
	if (fd < 0)
		return -fd;
	if ((fid->flags & O_ACCMODE) == O_RDONLY)
		return EBADF;
	ret = p9_strip_set_id(call, fid->node);
	if (ret)
		return ret;
	n = move(fd, call->data, count, offset, true);
	if (n < 0)
		return (int)-n;
	p9_put_u32(&call->out, (uint32_t)n);
	return 0;
}

int p9_op_fsync(struct p9_call *call)
{
	struct p9_fid *fid;
	bool data = false;
	int fd, ret;

	ret = p9_call_fid(call, &fid);
	if (ret)
		return ret;
	/* The field came later than the message. */
	if (call->in.end - call->in.at >= 4)
		data = p9_get_u32(&call->in);
	fd = p9_call_io(call, fid);
	if (fd < 0)
		return -fd;
	if (data)
		ret = fdatasync(fd);
	else
		ret = fsync(fd);
	return ret ? errno : 0;
}

/* --- directories ----------------------------------------------------------------------------- */

static struct p9_qid entry_qid(const struct p9_call *call, const struct p9_node *dir,
			       const struct dirent64 *e)
{
	struct stat st = {
		.st_dev = dir->dev,
		.st_ino = e->d_ino,
		.st_mode = DTTOIF(e->d_type),
	};
	struct p9_qid qid = p9_qid_of(call->share, &st);

	qid.version = 0;
	/* What is above the share is nobody's business. */
	if (!strcmp(e->d_name, ".."))
		qid.path = dir->parent ? dir->parent->path : dir->path;
	else if (!strcmp(e->d_name, "."))
		qid.path = dir->path;
	return qid;
}

/* Put the @len bytes of host entries at @from into @out. Where the next one is. */
static uint64_t put_entries(const struct p9_call *call, const struct p9_node *dir,
			    const uint8_t *from, size_t len, struct p9_out *out, bool *all)
{
	uint64_t next = 0;
	size_t at = 0;

	while (at < len) {
		const struct dirent64 *e = (const struct dirent64 *)(const void *)(from + at);
		size_t name = strlen(e->d_name);
		struct p9_qid qid = entry_qid(call, dir, e);

		if (out->max - out->len < DIRENT_FIELDS + name)
			break;
		p9_put_qid(out, &qid);
		p9_put_u64(out, (uint64_t)e->d_off);
		p9_put_u8(out, e->d_type);
		p9_put_string(out, e->d_name, name);
		next = (uint64_t)e->d_off;
		at += e->d_reclen;
	}
	*all = at >= len;
	return next;
}

int p9_op_readdir(struct p9_call *call)
{
	uint8_t *host = call->s->dirents;
	struct p9_out out = {host + P9_DIRENTS_MAX, 0, 0, false};
	struct p9_fid *fid;
	uint64_t offset;
	ssize_t n;
	bool all;
	int fd, ret;

	ret = p9_call_fid(call, &fid);
	offset = p9_get_u64(&call->in);
	out.max = min_u64(min_u64(p9_get_u32(&call->in), call->room), P9_DIRENTS_MAX);
	if (call->in.bad || offset > INT64_MAX)
		return EINVAL;
	if (ret)
		return ret;
	fd = p9_call_io(call, fid);
	if (fd < 0)
		return -fd;
	if (!S_ISDIR(fid->node->type))
		return ENOTDIR;
	if ((!fid->pos_known || fid->pos != offset) && lseek(fd, (off_t)offset, SEEK_SET) < 0)
		return errno;
	fid->pos_known = false;
	/* An entry of the answer is up to 7/6 of the host's. */
	n = getdents64(fd, host, max_u64(out.max / 7 * 6, DIRENT_MIN));
	if (n < 0)
		return errno;
	fid->pos = put_entries(call, fid->node, host, (size_t)n, &out, &all);
	if (n && !out.len)
		return EINVAL;
	/* At the end the host stands where it stood. */
	fid->pos_known = n && all;
	call->tail = out.buf;
	call->tail_len = (uint32_t)out.len;
	p9_put_u32(&call->out, call->tail_len);
	return 0;
}

/* --- locks --------------------------------------------------------------------------------------
 */

int p9_op_lock(struct p9_call *call)
{
	struct p9_fid *fid;
	int ret = p9_call_fid(call, &fid);

	if (ret)
		return ret;
	if (fid->kind != P9_FID_OPEN)
		return EBADF;
	p9_put_u8(&call->out, LOCK_SUCCESS);
	return 0;
}

int p9_op_getlock(struct p9_call *call)
{
	struct p9_string client;
	struct p9_fid *fid;
	uint64_t start, length;
	uint32_t process;
	int ret = p9_call_fid(call, &fid);

	p9_get_u8(&call->in);
	start = p9_get_u64(&call->in);
	length = p9_get_u64(&call->in);
	process = p9_get_u32(&call->in);
	client = p9_get_string(&call->in);
	if (call->in.bad)
		return EINVAL;
	if (ret)
		return ret;
	if (fid->kind != P9_FID_OPEN)
		return EBADF;
	p9_put_u8(&call->out, LOCK_UNLOCKED);
	p9_put_u64(&call->out, start);
	p9_put_u64(&call->out, length);
	p9_put_u32(&call->out, process);
	p9_put_string(&call->out, client.s, client.len);
	return 0;
}
