// SPDX-License-Identifier: GPL-2.0-only
/*
 * 9p operations: version, auth, attach, walk, clunk, flush.
 *
 * Tversion starts a session anew: all fids are forgotten, whatever it asks for. One
 * dialect is spoken, 9P2000.L; another is answered "unknown", and nothing works until
 * the right one is asked for. There is no authentication: who may see the share is a
 * matter of which guest it is given to.
 *
 * A walk takes up to 16 names, each one step from a directory that is held (p9_host.c).
 * ".." is the parent in this server's tree, the root's the root. A name that is a
 * symbolic link ends there: the guest reads links and follows them itself; going on
 * through one is ENOTDIR.
 *
 * Tflush: requests are carried out one after the other in the order in which they
 * came, so what is to be flushed has been answered already.
 *
 * Thread and lock: see p9_internal.h.
 */
#include "p9_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

int p9_op_version(struct p9_call *call)
{
	uint32_t msize = p9_get_u32(&call->in);
	struct p9_string version = p9_get_string(&call->in);

	if (call->in.bad)
		return EINVAL;
	p9_session_clear(call->s);
	if (msize < P9_MSIZE_MIN)
		return EMSGSIZE;
	msize = (uint32_t)min_u64(msize, P9_MSIZE_MAX);
	p9_put_u32(&call->out, msize);
	if (version.len == strlen(P9_VERSION) && !memcmp(version.s, P9_VERSION, version.len)) {
		call->s->msize = msize;
		p9_put_string(&call->out, P9_VERSION, version.len);
	} else {
		p9_put_string(&call->out, "unknown", strlen("unknown"));
	}
	return 0;
}

int p9_op_auth(struct p9_call *call)
{
	(void)call;
	return EOPNOTSUPP;
}

int p9_op_attach(struct p9_call *call)
{
	uint32_t number = p9_get_u32(&call->in), afid = p9_get_u32(&call->in), uid;
	struct p9_string aname;
	struct p9_qid qid;
	struct p9_fid *fid;
	struct stat st;
	int ret;

	p9_get_string(&call->in);
	aname = p9_get_string(&call->in);
	uid = p9_get_u32(&call->in);
	if (call->in.bad)
		return EINVAL;
	if (afid != P9_NO_FID)
		return EBADF;
	if (aname.len > 1 || (aname.len && *aname.s != '/'))
		return ENOENT;
	if (call->quick && !call->share->local)
		return P9_LATER;
	if (fstat(call->share->root, &st))
		return errno;
	ret = p9_fid_add(call->s, number, uid, call->s->root, &fid);
	if (ret)
		return ret;
	qid = p9_qid_of(call->share, &st);
	p9_put_qid(&call->out, &qid);
	return 0;
}

int p9_op_flush(struct p9_call *call)
{
	p9_get_u16(&call->in);
	return call->in.bad ? EINVAL : 0;
}

int p9_op_clunk(struct p9_call *call)
{
	struct p9_fid *fid;
	int ret = p9_call_fid(call, &fid);

	if (ret)
		return ret;
	/* The last one to let go of a removed file frees its blocks; closing may write. */
	if (call->quick && (!fid->node->linked || fid->kind == P9_FID_XATTR_WRITE ||
			    (fid->flags & O_ACCMODE) != O_RDONLY))
		return P9_LATER;
	if (fid->kind == P9_FID_XATTR_WRITE && !call->share->read_only)
		ret = p9_xattr_store(call, fid);
	p9_fid_drop(call->s, fid);
	return ret;
}

/* --- walk ---------------------------------------------------------------------------- */

static int check_names(struct p9_in in, unsigned int nr)
{
	char name[P9_NAME_MAX + 1];
	int ret = 0;

	while (nr-- && !ret)
		ret = p9_get_name(&in, name, true);
	return ret;
}

/* One step from *@node, which is exchanged. */
static int step(struct p9_call *call, struct p9_node **node, const char *name, struct p9_qid *qid)
{
	struct p9_node *from = *node, *to;
	int ret;

	if (!S_ISDIR(from->type))
		return ENOTDIR;
	if (!strcmp(name, "..")) {
		to = p9_node_get(from->parent ? from->parent : from);
		*qid = (struct p9_qid){P9_QT_DIR, 0, to->path};
	} else {
		ret = p9_call_step(call, from, name, &to, qid);
		if (ret)
			return ret;
	}
	*node = to;
	p9_node_put(call->s, from);
	return 0;
}

/*
 * A walk that gets stuck on its way says how far it came, which the guest takes for "no
 * such file". Other reasons are better told.
 */
static bool is_stuck(int error)
{
	return error == ENOENT || error == ENOTDIR || error == EACCES;
}

/* Walk the names; *@node is where that ended. The number of steps, or -errno. */
static int walk(struct p9_call *call, struct p9_node **node, unsigned int nr, struct p9_qid *qids)
{
	char name[P9_NAME_MAX + 1];
	unsigned int i;
	int ret;

	for (i = 0; i < nr; i++) {
		/* Names were checked. */
		p9_get_name(&call->in, name, true);
		ret = step(call, node, name, &qids[i]);
		if (ret && (!i || !is_stuck(ret)))
			return -ret;
		if (ret)
			break;
	}
	return (int)i;
}

/* All steps were made: *@node is the fid's, or the new one's. */
static int arrive(struct p9_call *call, struct p9_fid *fid, uint32_t newfid, struct p9_node **node)
{
	struct p9_fid *fresh;

	if (newfid != fid->number)
		return p9_fid_add(call->s, newfid, fid->uid, *node, &fresh);
	p9_fid_set_node(call->s, fid, *node);
	*node = NULL;
	return 0;
}

int p9_op_walk(struct p9_call *call)
{
	struct p9_qid qids[P9_WALK_MAX];
	struct p9_node *node;
	struct p9_fid *fid;
	uint32_t newfid;
	unsigned int nr;
	int ret, steps, i;

	ret = p9_call_fid(call, &fid);
	newfid = p9_get_u32(&call->in);
	nr = p9_get_u16(&call->in);
	if (call->in.bad || nr > P9_WALK_MAX)
		return EINVAL;
	if (!ret)
		ret = check_names(call->in, nr);
	if (ret)
		return ret;
	if (fid->kind != P9_FID_PATH && (fid->kind != P9_FID_OPEN || newfid == fid->number))
		return EBADF;
	if (newfid != fid->number && (newfid == P9_NO_FID || p9_fid_find(call->s, newfid)))
		return EBADF;
	/* Else there would be a fid that the guest is not told of. */
	if (call->req->writable < P9_HEADER + 2 + 13 * nr)
		return EMSGSIZE;
	node = p9_node_get(fid->node);
	steps = walk(call, &node, nr, qids);
	ret = steps < 0 ? -steps : 0;
	if (steps == (int)nr)
		ret = arrive(call, fid, newfid, &node);
	if (node)
		p9_node_put(call->s, node);
	if (ret)
		return ret;
	p9_put_u16(&call->out, (uint16_t)steps);
	for (i = 0; i < steps; i++)
		p9_put_qid(&call->out, &qids[i]);
	return 0;
}
