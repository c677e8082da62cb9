// SPDX-License-Identifier: GPL-2.0-only
/*
 * 9p operations: xattrwalk, xattrcreate, and the store when such a fid is clunked.
 *
 * Only attributes called user.* exist for a guest, on regular files and directories,
 * as Linux has it: those of other classes say something to the host (security.* can
 * give a program rights, trusted.* and system.* steer file systems).
 *
 * xattrwalk reads the value, or the list of names, at once into memory, from where
 * Tread takes it; xattrcreate collects what Twrite brings until the fid is clunked. A
 * value is at most 64 KiB, and at most P9_XATTRS_MAX are in the making at a time.
 *
 * The attribute is asked for by a descriptor opened for the purpose: O_PATH ones are
 * not good for it.
 *
 * Thread and lock: see p9_internal.h. What is saved: that a fid was such a one; after a
 * load its content is lost, and using it says ESTALE.
 */
#include "p9_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define CLASS "user."

static bool is_ours(const char *name)
{
	return !strncmp(name, CLASS, strlen(CLASS)) && name[strlen(CLASS)];
}

static bool may_have(const struct p9_node *node)
{
	return S_ISREG(node->type) || S_ISDIR(node->type);
}

static int open_for(struct p9_call *call, struct p9_node *node)
{
	return p9_call_reopen(call, node, O_RDONLY | O_NONBLOCK);
}

static struct p9_xattr *xattr_new(uint32_t size)
{
	struct p9_xattr *xattr = calloc(1, sizeof(*xattr) + size);

	if (xattr)
		xattr->size = size;
	return xattr;
}

static int read_value(int fd, const char *name, struct p9_xattr **xattr)
{
	ssize_t n = fgetxattr(fd, name, NULL, 0);

	if (n < 0)
		return errno;
	if ((size_t)n > P9_XATTR_MAX)
		return E2BIG;
	*xattr = xattr_new((uint32_t)n);
	if (!*xattr)
		return ENOMEM;
	/* A size of 0 would ask for the length once more, and it may have grown. */
	if (n)
		n = fgetxattr(fd, name, (*xattr)->value, (*xattr)->size);
	if (n < 0)
		return errno;
	/* It may have become shorter; where it grew that was ERANGE. */
	(*xattr)->size = (uint32_t)n;
	return 0;
}

/* Leave the names of our class in @list; bytes left. */
static uint32_t keep_ours(char *list, size_t len)
{
	size_t from = 0, to = 0;

	while (from < len) {
		size_t name = strnlen(list + from, len - from) + 1;

		if (from + name > len)
			break;
		if (is_ours(list + from)) {
			memmove(list + to, list + from, name);
			to += name;
		}
		from += name;
	}
	return (uint32_t)to;
}

static int read_list(int fd, struct p9_xattr **xattr)
{
	ssize_t n;

	*xattr = xattr_new((uint32_t)P9_XATTR_MAX);
	if (!*xattr)
		return ENOMEM;
	n = flistxattr(fd, (char *)(*xattr)->value, (*xattr)->size);
	if (n < 0)
		return errno;
	(*xattr)->size = keep_ours((char *)(*xattr)->value, (size_t)n);
	return 0;
}

static int read_xattr(struct p9_call *call, struct p9_node *node, const char *name,
		      struct p9_xattr **xattr)
{
	int fd, ret;

	*xattr = NULL;
	if (!may_have(node)) {
		*xattr = *name ? NULL : xattr_new(0);
		return *xattr ? 0 : EOPNOTSUPP;
	}
	fd = open_for(call, node);
	if (fd < 0)
		return -fd;
	ret = *name ? read_value(fd, name, xattr) : read_list(fd, xattr);
	close(fd);
	return ret;
}

int p9_op_xattrwalk(struct p9_call *call)
{
	struct p9_xattr *xattr = NULL;
	char name[P9_NAME_MAX + 1];
	struct p9_string str;
	struct p9_fid *fid, *fresh;
	uint32_t newfid;
	int ret = p9_call_fid(call, &fid);

	newfid = p9_get_u32(&call->in);
	str = p9_get_string(&call->in);
	if (call->in.bad || memchr(str.s, '\0', str.len))
		return EINVAL;
	if (ret)
		return ret;
	if (str.len > P9_NAME_MAX)
		return ERANGE;
	memcpy(name, str.s, str.len);
	name[str.len] = '\0';
	/* A guest asks for these at every turn. */
	if (*name && !is_ours(name))
		return EOPNOTSUPP;
	if (call->quick)
		return P9_LATER;
	if (call->s->nr_xattrs >= P9_XATTRS_MAX)
		return EMFILE;
	ret = read_xattr(call, fid->node, name, &xattr);
	if (!ret && !xattr)
		ret = ENOMEM;
	if (!ret)
		ret = p9_fid_add(call->s, newfid, fid->uid, fid->node, &fresh);
	if (ret) {
		free(xattr);
		return ret;
	}
	fresh->kind = P9_FID_XATTR_READ;
	fresh->xattr = xattr;
	call->s->nr_xattrs++;
	p9_put_u64(&call->out, xattr->size);
	return 0;
}

int p9_op_xattrcreate(struct p9_call *call)
{
	char name[P9_NAME_MAX + 1];
	struct p9_xattr *xattr;
	struct p9_fid *fid;
	uint64_t size;
	uint32_t flags;
	int ret = p9_call_fid(call, &fid), bad;

	bad = p9_get_name(&call->in, name, false);
	size = p9_get_u64(&call->in);
	flags = p9_get_u32(&call->in);
	if (call->in.bad || flags & ~(uint32_t)(XATTR_CREATE | XATTR_REPLACE))
		return EINVAL;
	if (ret || bad)
		return ret ? ret : bad;
	if (fid->kind != P9_FID_PATH)
		return EBADF;
	if (!is_ours(name) || !may_have(fid->node))
		return EOPNOTSUPP;
	if (size > P9_XATTR_MAX)
		return E2BIG;
	if (call->s->nr_xattrs >= P9_XATTRS_MAX)
		return EMFILE;
	xattr = xattr_new((uint32_t)size);
	if (!xattr)
		return ENOMEM;
	xattr->flags = flags;
	memcpy(xattr->name, name, strlen(name) + 1);
	fid->kind = P9_FID_XATTR_WRITE;
	fid->xattr = xattr;
	call->s->nr_xattrs++;
	return 0;
}

int p9_xattr_store(struct p9_call *call, struct p9_fid *fid)
{
	const struct p9_xattr *xattr = fid->xattr;
	int fd, ret;

	if (!xattr)
		return ESTALE;
	if (xattr->done != xattr->size)
		return EIO;
	fd = open_for(call, fid->node);
	if (fd < 0)
		return -fd;
	/* An empty value that replaces is how Linux's client removes one. */
	if (!xattr->size && xattr->flags == XATTR_REPLACE)
		ret = fremovexattr(fd, xattr->name);
	else
		ret = fsetxattr(fd, xattr->name, xattr->value, xattr->size, (int)xattr->flags);
	ret = ret ? errno : 0;
	close(fd);
	return ret;
}
