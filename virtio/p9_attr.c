// SPDX-License-Identifier: GPL-2.0-only
/*
 * 9p operations: statfs, readlink, getattr, setattr.
 *
 * Attributes are the host's. Setting them works on what the fid stands for, by its
 * descriptor. Owners follow the share's way (enum p9_security); a mode is set as
 * given, but new set-user-ID and set-group-ID bits on anything but directories are
 * refused unless the guest is trusted: they would be the host's too. A change of owner
 * loses these bits on the host, as everywhere; a change of size does here.
 *
 * Several attributes in one message are set one after the other: owner, mode, size,
 * times; the first that fails ends it.
 *
 * Thread and lock: see p9_internal.h. Nothing here is saved.
 */
#include "p9_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define GETATTR_BASIC 0x7ff

#define SET_MODE 0x001
#define SET_UID 0x002
#define SET_GID 0x004
#define SET_SIZE 0x008
#define SET_ATIME 0x010
#define SET_MTIME 0x020
#define SET_ATIME_TO 0x080
#define SET_MTIME_TO 0x100

int p9_op_statfs(struct p9_call *call)
{
	struct p9_fid *fid;
	struct statfs fs;
	int ret = p9_call_fid(call, &fid), fd;
	uint32_t id[2];

	if (ret)
		return ret;
	fd = p9_call_pin(call, fid->node);
	if (fd < 0)
		return -fd;
	if (fstatfs(fd, &fs))
		return errno;
	_Static_assert(sizeof(id) == sizeof(fs.f_fsid), "an ID of two words");
	__builtin_memcpy(id, &fs.f_fsid, sizeof(id));
	p9_put_u32(&call->out, V9FS_MAGIC);
	p9_put_u32(&call->out, (uint32_t)fs.f_bsize);
	p9_put_u64(&call->out, fs.f_blocks);
	p9_put_u64(&call->out, fs.f_bfree);
	p9_put_u64(&call->out, fs.f_bavail);
	p9_put_u64(&call->out, fs.f_files);
	p9_put_u64(&call->out, fs.f_ffree);
	p9_put_u64(&call->out, id[0] | (uint64_t)id[1] << 32);
	p9_put_u32(&call->out, P9_NAME_MAX);
	return 0;
}

int p9_op_readlink(struct p9_call *call)
{
	char target[P9_TARGET_MAX + 1];
	struct p9_fid *fid;
	ssize_t n;
	int ret = p9_call_fid(call, &fid), fd;

	if (ret)
		return ret;
	if (!S_ISLNK(fid->node->type))
		return EINVAL;
	fd = p9_call_pin(call, fid->node);
	if (fd < 0)
		return -fd;
	n = readlinkat(fd, "", target, sizeof(target));
	if (n < 0)
		return errno;
	p9_put_string(&call->out, target, (size_t)n);
	return 0;
}

static void put_time(struct p9_out *out, const struct timespec *t)
{
	p9_put_u64(out, (uint64_t)t->tv_sec);
	p9_put_u64(out, (uint64_t)t->tv_nsec);
}

int p9_op_getattr(struct p9_call *call)
{
	struct p9_fid *fid;
	struct p9_qid qid;
	struct stat st;
	unsigned int i;
	int ret = p9_call_fid(call, &fid);

	if (!ret)
		ret = p9_call_stat(call, fid, &st);
	if (ret)
		return ret;
	qid = p9_qid_of(call->share, &st);
	p9_put_u64(&call->out, GETATTR_BASIC);
	p9_put_qid(&call->out, &qid);
	p9_put_u32(&call->out, st.st_mode);
	p9_put_u32(&call->out, st.st_uid);
	p9_put_u32(&call->out, st.st_gid);
	p9_put_u64(&call->out, st.st_nlink);
	/* As the kernel's new_encode_dev() has it. */
	p9_put_u64(&call->out, (minor(st.st_rdev) & 0xff) | major(st.st_rdev) << 8 |
				       (uint64_t)(minor(st.st_rdev) & ~0xffU) << 12);
	p9_put_u64(&call->out, (uint64_t)st.st_size);
	p9_put_u64(&call->out, (uint64_t)st.st_blksize);
	p9_put_u64(&call->out, (uint64_t)st.st_blocks);
	put_time(&call->out, &st.st_atim);
	put_time(&call->out, &st.st_mtim);
	put_time(&call->out, &st.st_ctim);
	/* Time of birth, generation, data version: not said. */
	for (i = 0; i < 4; i++)
		p9_put_u64(&call->out, 0);
	return 0;
}

/* --- setattr ---------------------------------------------------------------------------- */

struct wanted {
	uint32_t valid, mode, uid, gid;
	uint64_t size;
	struct timespec times[2];
};

static int set_owner(struct p9_call *call, int fd, const struct wanted *w)
{
	uint32_t uid = w->valid & SET_UID ? w->uid : P9_NO_ID;
	uint32_t gid = w->valid & SET_GID ? w->gid : P9_NO_ID;

	if (!(w->valid & (SET_UID | SET_GID)) || call->share->security == P9_SQUASH)
		return 0;
	return fchownat(fd, "", uid, gid, AT_EMPTY_PATH) ? errno : 0;
}

static int set_mode(struct p9_call *call, int fd, const struct wanted *w)
{
	struct stat st;

	if (!(w->valid & SET_MODE))
		return 0;
	if (fstat(fd, &st))
		return errno;
	if (!p9_may_set_mode(call->share, st.st_mode, w->mode))
		return EPERM;
	return p9_host_chmod(call->share, fd, w->mode & 07777);
}

/* By the fid's own descriptor where it can write: its mode may have changed since. */
static int set_size(struct p9_call *call, struct p9_fid *fid, const struct wanted *w)
{
	bool own = fid->kind == P9_FID_OPEN && (fid->flags & O_ACCMODE) != O_RDONLY;
	int fd, ret;

	if (!(w->valid & SET_SIZE))
		return 0;
	if (!S_ISREG(fid->node->type))
		return S_ISDIR(fid->node->type) ? EISDIR : EINVAL;
	if (w->size > INT64_MAX)
		return EINVAL;
	ret = p9_strip_set_id(call, fid->node);
	if (ret)
		return ret;
	fd = own ? p9_call_io(call, fid) : p9_call_reopen(call, fid->node, O_WRONLY);
	if (fd < 0)
		return -fd;
	ret = ftruncate(fd, (off_t)w->size) ? errno : 0;
	if (!own)
		close(fd);
	return ret;
}

/* One of the two times: left alone, the host's now, or what was given. */
static int choose_time(struct timespec *t, bool set, bool to)
{
	if (!set)
		t->tv_nsec = UTIME_OMIT;
	else if (!to)
		t->tv_nsec = UTIME_NOW;
	else if (t->tv_nsec < 0 || t->tv_nsec >= (long)NSEC_PER_SEC)
		return EINVAL;
	return 0;
}

static int set_times(int fd, const struct wanted *w)
{
	struct timespec times[2] = {w->times[0], w->times[1]};
	int ret;

	if (!(w->valid & (SET_ATIME | SET_MTIME)))
		return 0;
	ret = choose_time(&times[0], w->valid & SET_ATIME, w->valid & SET_ATIME_TO);
	if (!ret)
		ret = choose_time(&times[1], w->valid & SET_MTIME, w->valid & SET_MTIME_TO);
	if (ret)
		return ret;
	return utimensat(fd, "", times, AT_EMPTY_PATH) ? errno : 0;
}

static void take_wanted(struct p9_in *in, struct wanted *w)
{
	unsigned int i;

	w->valid = p9_get_u32(in);
	w->mode = p9_get_u32(in);
	w->uid = p9_get_u32(in);
	w->gid = p9_get_u32(in);
	w->size = p9_get_u64(in);
	for (i = 0; i < 2; i++) {
		w->times[i].tv_sec = (time_t)p9_get_u64(in);
		w->times[i].tv_nsec = (long)p9_get_u64(in);
	}
}

int p9_op_setattr(struct p9_call *call)
{
	struct wanted w;
	struct p9_fid *fid;
	int ret = p9_call_fid(call, &fid), fd;

	take_wanted(&call->in, &w);
	if (call->in.bad)
		return EINVAL;
	if (ret)
		return ret;
	fd = p9_call_pin(call, fid->node);
	if (fd < 0)
		return -fd;
	ret = set_owner(call, fd, &w);
	if (!ret)
		ret = set_mode(call, fd, &w);
	if (!ret)
		ret = set_size(call, fid, &w);
	if (!ret)
		ret = set_times(fd, &w);
	return ret;
}
