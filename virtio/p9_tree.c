// SPDX-License-Identifier: GPL-2.0-only
/*
 * 9p operations that make, move and remove names: symlink, mknod, mkdir, link, rename,
 * renameat, unlinkat, remove.
 *
 * All of them name things by a directory that is held open and one component, which
 * these system calls never follow. A link's target is the guest's text: the host never
 * goes there.
 *
 * Device nodes are refused, even for root: in the guest they would do nothing that its
 * own /dev does not, and on the host they would be keys. FIFOs and sockets are names
 * only; the host does not open them either.
 *
 * What is new gets its owner and then its mode, both after it was made: the mode would
 * lose bits by the process's umask, and set-ID bits by the change of owner.
 *
 * Before a name goes (removed, or another file put in its place), the node that has it
 * gets its descriptor back, so that fids which stand for it stay good.
 *
 * Thread and lock: see p9_internal.h. Nothing here is saved.
 */
#include "p9_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* unlinkat()'s flag, as 9P2000.L and Linux have it. */
#define L_REMOVEDIR 0x200

/**
 * struct fresh - a name that is being made
 * @dir: where, held; @mode: with its type
 */
struct fresh {
	struct p9_fid *fid;
	int dir;
	char name[P9_NAME_MAX + 1];
	mode_t mode;
	uint32_t gid;
};

/* What all these messages start with: a directory and a name. */
static int take_place(struct p9_call *call, struct fresh *f)
{
	int ret = p9_call_fid(call, &f->fid), bad;

	bad = p9_get_name(&call->in, f->name, false);
	return ret ? ret : bad;
}

static int hold_dir(struct p9_call *call, struct p9_node *dir)
{
	return S_ISDIR(dir->type) ? p9_call_pin(call, dir) : -ENOTDIR;
}

static int check_dir(struct p9_call *call, struct fresh *f)
{
	f->dir = hold_dir(call, f->fid->node);
	return f->dir < 0 ? -f->dir : 0;
}

/* @fd is what was made: owner, mode, and its qid as the answer. */
static int finish_fd(struct p9_call *call, const struct fresh *f, int fd)
{
	struct p9_qid qid;
	struct stat st;
	int ret;

	if (fstat(fd, &st))
		return errno;
	/* Somebody on the host may have put something else there. */
	if ((st.st_mode & S_IFMT) != (f->mode & S_IFMT) || (!S_ISDIR(f->mode) && st.st_nlink > 1))
		return ESTALE;
	ret = p9_own(call->share, fd, f->fid->uid, f->gid);
	if (!ret && !S_ISLNK(f->mode))
		ret = p9_host_chmod(call->share, fd, f->mode & 07777);
	if (!ret && fstat(fd, &st))
		ret = errno;
	if (ret)
		return ret;
	qid = p9_qid_of(call->share, &st);
	p9_put_qid(&call->out, &qid);
	return 0;
}

/* @made: what making it returned. */
static int finish(struct p9_call *call, const struct fresh *f, int made)
{
	int fd, ret;

	if (made)
		return errno;
	fd = p9_open_name(call->share, f->dir, f->name, false);
	ret = fd < 0 ? -fd : finish_fd(call, f, fd);
	if (fd >= 0)
		close(fd);
	if (ret && ret != ESTALE)
		unlinkat(f->dir, f->name, S_ISDIR(f->mode) ? AT_REMOVEDIR : 0);
	return ret;
}

int p9_op_symlink(struct p9_call *call)
{
	char target[P9_TARGET_MAX + 1];
	struct fresh f = {.mode = S_IFLNK};
	struct p9_string str;
	int ret = take_place(call, &f);

	str = p9_get_string(&call->in);
	f.gid = p9_get_u32(&call->in);
	if (call->in.bad || !str.len || memchr(str.s, '\0', str.len))
		return EINVAL;
	if (str.len > P9_TARGET_MAX)
		return ENAMETOOLONG;
	if (!ret)
		ret = check_dir(call, &f);
	if (ret)
		return ret;
	memcpy(target, str.s, str.len);
	target[str.len] = '\0';
	return finish(call, &f, symlinkat(target, f.dir, f.name));
}

int p9_op_mkdir(struct p9_call *call)
{
	struct fresh f;
	int ret = take_place(call, &f);

	f.mode = S_IFDIR | (p9_get_u32(&call->in) & 07777);
	f.gid = p9_get_u32(&call->in);
	if (call->in.bad)
		return EINVAL;
	if (!ret)
		ret = check_dir(call, &f);
	if (ret)
		return ret;
	return finish(call, &f, mkdirat(f.dir, f.name, f.mode & 0700));
}

int p9_op_mknod(struct p9_call *call)
{
	struct fresh f;
	int ret = take_place(call, &f);

	f.mode = p9_get_u32(&call->in) & (S_IFMT | 07777);
	/* Major and minor number. */
	p9_get_u64(&call->in);
	f.gid = p9_get_u32(&call->in);
	if (call->in.bad)
		return EINVAL;
	if (ret)
		return ret;
	if (!(f.mode & S_IFMT))
		f.mode |= S_IFREG;
	if (S_ISCHR(f.mode) || S_ISBLK(f.mode))
		return EPERM;
	if (!S_ISREG(f.mode) && !S_ISFIFO(f.mode) && !S_ISSOCK(f.mode))
		return EINVAL;
	if (!p9_may_set_mode(call->share, f.mode & S_IFMT, f.mode))
		return EPERM;
	ret = check_dir(call, &f);
	if (ret)
		return ret;
	return finish(call, &f, mknodat(f.dir, f.name, f.mode & (S_IFMT | 0600), 0));
}

int p9_op_link(struct p9_call *call)
{
	struct p9_fid *to, *what;
	char name[P9_NAME_MAX + 1];
	int ret = p9_call_fid(call, &to), bad, dir, fd;

	if (ret)
		return ret;
	ret = p9_call_fid(call, &what);
	bad = p9_get_name(&call->in, name, false);
	if (ret || bad)
		return ret ? ret : bad;
	dir = hold_dir(call, to->node);
	if (dir < 0)
		return -dir;
	fd = p9_call_pin(call, what->node);
	if (fd < 0)
		return -fd;
	return p9_host_link(call->share, fd, dir, name);
}

/* --- moving and removing ---------------------------------------------------------------- */

/* The node that is @name in @dir, which is about to lose that name; or NULL. */
static struct p9_node *hold_name(struct p9_call *call, const struct p9_node *dir, const char *name)
{
	struct p9_node *node = p9_node_find(call->s, dir, name);

	/* One that is lost by now stays so. */
	if (node)
		p9_call_pin(call, node);
	return node;
}

static int move_name(struct p9_call *call, struct p9_node *from, const char *name,
		     struct p9_node *to, const char *newname)
{
	int old = hold_dir(call, from), new;
	struct p9_node *moved, *replaced;

	if (old < 0)
		return -old;
	new = hold_dir(call, to);
	if (new < 0)
		return -new;
	moved = hold_name(call, from, name);
	replaced = hold_name(call, to, newname);
	if (renameat(old, name, new, newname))
		return errno;
	/* Two names of one file both stay. */
	if (moved == replaced || (moved && replaced && moved->path == replaced->path))
		return 0;
	if (replaced)
		p9_node_unlink(call->s, replaced);
	if (moved)
		p9_node_move(call->s, moved, to, newname);
	return 0;
}

int p9_op_renameat(struct p9_call *call)
{
	char name[P9_NAME_MAX + 1], newname[P9_NAME_MAX + 1];
	struct p9_fid *from, *to;
	int ret, bad;

	ret = p9_call_fid(call, &from);
	bad = p9_get_name(&call->in, name, false);
	if (ret || bad)
		return ret ? ret : bad;
	ret = p9_call_fid(call, &to);
	bad = p9_get_name(&call->in, newname, false);
	if (ret || bad)
		return ret ? ret : bad;
	return move_name(call, from->node, name, to->node, newname);
}

/* Is what @node was found as still it? 0, or errno; then its directory is held too. */
static int check_place(struct p9_call *call, struct p9_node *node, int *dir)
{
	struct stat st;

	if (!node->parent)
		return EBUSY;
	*dir = p9_call_pin(call, node->parent);
	if (*dir < 0)
		return -*dir;
	if (!node->linked || fstatat(*dir, node->name, &st, AT_SYMLINK_NOFOLLOW) ||
	    p9_qid_of(call->share, &st).path != node->path)
		return ESTALE;
	return 0;
}

int p9_op_rename(struct p9_call *call)
{
	char name[P9_NAME_MAX + 1], newname[P9_NAME_MAX + 1];
	struct p9_fid *fid, *to;
	struct p9_node *node;
	int ret = p9_call_fid(call, &fid), bad, dir;

	if (ret)
		return ret;
	ret = p9_call_fid(call, &to);
	bad = p9_get_name(&call->in, newname, false);
	if (ret || bad)
		return ret ? ret : bad;
	node = fid->node;
	ret = check_place(call, node, &dir);
	if (ret)
		return ret;
	memcpy(name, node->name, strlen(node->name) + 1);
	return move_name(call, node->parent, name, to->node, newname);
}

static int remove_name(struct p9_call *call, struct p9_node *dir, const char *name, int flags)
{
	int at = hold_dir(call, dir);
	struct p9_node *node;

	if (at < 0)
		return -at;
	node = hold_name(call, dir, name);
	if (unlinkat(at, name, flags))
		return errno;
	if (node)
		p9_node_unlink(call->s, node);
	return 0;
}

int p9_op_unlinkat(struct p9_call *call)
{
	struct fresh f;
	uint32_t flags;
	int ret = take_place(call, &f);

	flags = p9_get_u32(&call->in);
	if (call->in.bad || flags & ~(uint32_t)L_REMOVEDIR)
		return EINVAL;
	if (ret)
		return ret;
	return remove_name(call, f.fid->node, f.name, flags ? AT_REMOVEDIR : 0);
}

int p9_op_remove(struct p9_call *call)
{
	char name[P9_NAME_MAX + 1];
	struct p9_node *node;
	struct p9_fid *fid;
	int ret = p9_call_fid(call, &fid), dir;

	if (ret)
		return ret;
	node = p9_node_get(fid->node);
	/* The fid is gone whatever comes of it. */
	p9_fid_drop(call->s, fid);
	ret = call->share->read_only ? EROFS : check_place(call, node, &dir);
	if (!ret) {
		memcpy(name, node->name, strlen(node->name) + 1);
		ret = remove_name(call, node->parent, name, S_ISDIR(node->type) ? AT_REMOVEDIR : 0);
	}
	p9_node_put(call->s, node);
	return ret;
}
