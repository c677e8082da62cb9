// SPDX-License-Identifier: GPL-2.0-only
/*
 * A 9p session, saved and loaded.
 *
 * Descriptors can't be saved, so what goes into the file is how the guest came to each
 * of its fids: the tree of nodes, parents first (name, type, inode), and the fids by
 * number with the node and, where they were open, how. A loaded node has no descriptor
 * and gets one when it is first needed, by the same steps beneath the directory that
 * is shared then, as a node does that had to give its descriptor up (p9_fid.c): it
 * must turn out to be the same type and inode, or the guest is told ESTALE. So are
 * files that had no name any more when they were saved, and attributes that were being
 * read or collected. No path of the file's is ever used whole, each name is checked as
 * one from the guest is, and what could not have been open then is not now.
 *
 * The order depends on nothing but the state, so that saving what was loaded gives the
 * same bytes.
 */
#include "p9_internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_FLAGS (O_ACCMODE | O_APPEND | O_DSYNC | O_SYNC)

/**
 * struct list - nodes in the order of the file; the root is first
 */
struct list {
	struct p9_node **nodes;
	uint32_t nr;
};

/* --- saving ----------------------------------------------------------------------------- */

static bool is_listed(const struct list *list, const struct p9_node *node)
{
	return node->number < list->nr && list->nodes[node->number] == node;
}

/* Put @node and all above it that are missing behind the others. */
static void add_to_list(struct list *list, struct p9_node *node)
{
	struct p9_node *at = node;

	node->below = NULL;
	while (!is_listed(list, at)) {
		at->parent->below = at;
		at = at->parent;
	}
	while (at != node) {
		at = at->below;
		at->number = list->nr;
		list->nodes[list->nr++] = at;
	}
}

static int by_number(const void *a, const void *b)
{
	const struct p9_fid *const *x = a, *const *y = b;

	return (*x)->number < (*y)->number ? -1 : (*x)->number > (*y)->number;
}

static void collect(struct p9_session *s, struct p9_fid **fids, struct list *list)
{
	struct p9_fid *fid;
	uint32_t nr = 0, i;
	size_t bucket;

	for (bucket = 0; bucket < s->fid_buckets; bucket++)
		for (fid = s->fids[bucket]; fid; fid = fid->next)
			fids[nr++] = fid;
	qsort(fids, nr, sizeof(struct p9_fid *), by_number);
	s->root->number = 0;
	list->nodes[0] = s->root;
	list->nr = 1;
	for (i = 0; i < nr; i++)
		add_to_list(list, fids[i]->node);
}

/* --- both ways --------------------------------------------------------------------------- */

static bool good_type(uint32_t type)
{
	return type == S_IFREG || type == S_IFDIR || type == S_IFLNK || type == S_IFIFO ||
	       type == S_IFSOCK || type == S_IFCHR || type == S_IFBLK;
}

static void transfer_node(struct p9_session *s, struct xfer *x, struct list *list,
			  struct p9_node *node)
{
	uint32_t parent = node ? node->parent->number : 0, type = node ? node->type : 0;
	uint8_t len = node ? (uint8_t)strlen(node->name) : 0;
	bool linked = node && node->linked;
	uint64_t path = node ? node->path : 0;
	char name[P9_NAME_MAX + 1] = "";

	if (node)
		memcpy(name, node->name, len);
	xfer_u32(x, &parent);
	xfer_u32(x, &type);
	xfer_u64(x, &path);
	xfer_bool(x, &linked);
	xfer_u8(x, &len);
	xfer_bytes(x, name, len);
	xfer_check(x, parent < list->nr && S_ISDIR(list->nodes[parent]->type),
		   "9p: a file that is in no directory");
	xfer_check(x, good_type(type), "9p: a file of no known type");
	xfer_check(x, !p9_check_name(name, len, false), "9p: a name no file can have");
	if (!x->loading || x->failed)
		return;
	xfer_check(x, !linked || !p9_node_find(s, list->nodes[parent], name),
		   "9p: two files of one name");
	if (x->failed)
		return;
	node = p9_node_new(s, list->nodes[parent], name);
	xfer_check(x, node, "9p: no memory for files");
	if (!node)
		return;
	node->type = type;
	node->path = path;
	node->dev = s->share->dev;
	list->nodes[list->nr++] = node;
	if (linked)
		p9_node_link(s, node);
}

static bool could_be_open(const struct p9_share *share, const struct p9_node *node, int flags)
{
	bool reads = (flags & O_ACCMODE) == O_RDONLY;

	if (flags & ~KEPT_FLAGS || (flags & O_ACCMODE) == O_ACCMODE || (share->read_only && !reads))
		return false;
	return S_ISREG(node->type) || (S_ISDIR(node->type) && reads);
}

static void transfer_fid(struct p9_session *s, struct xfer *x, const struct list *list,
			 struct p9_fid *fid, uint64_t *before)
{
	uint32_t number = fid ? fid->number : 0, uid = fid ? fid->uid : 0;
	uint32_t node = fid ? fid->node->number : 0, flags = fid ? (uint32_t)fid->flags : 0;
	uint8_t kind = fid ? (uint8_t)fid->kind : 0;

	xfer_u32(x, &number);
	xfer_u32(x, &uid);
	xfer_u8(x, &kind);
	xfer_u32(x, &flags);
	xfer_u32(x, &node);
	/* In order, and so none twice. */
	xfer_check(x, number >= *before && number != P9_NO_FID, "9p: fids out of order");
	xfer_check(x, node < list->nr, "9p: a fid of no file");
	xfer_check(x, kind <= P9_FID_XATTR_WRITE, "9p: a fid of no known kind");
	if (x->loading && !x->failed)
		xfer_check(x,
			   kind == P9_FID_OPEN
				   ? could_be_open(s->share, list->nodes[node], (int)flags)
				   : !flags,
			   "9p: a fid opened as none can be");
	*before = (uint64_t)number + 1;
	if (!x->loading || x->failed)
		return;
	xfer_check(x, !p9_fid_add(s, number, uid, list->nodes[node], &fid), "9p: too many fids");
	if (x->failed)
		return;
	fid->kind = kind;
	fid->flags = (int)flags;
}

static void transfer_all(struct p9_session *s, struct xfer *x, struct list *list,
			 struct p9_fid **fids, uint32_t nr_nodes, uint32_t nr_fids)
{
	uint64_t before = 0;
	uint32_t i;

	for (i = 1; i < nr_nodes && !x->failed; i++)
		transfer_node(s, x, list, x->loading ? NULL : list->nodes[i]);
	for (i = 0; i < nr_fids && !x->failed; i++)
		transfer_fid(s, x, list, x->loading ? NULL : fids[i], &before);
}

void p9_session_transfer(struct p9_session *s, struct xfer *x)
{
	uint32_t nr_fids = s->nr_fids, nr_nodes, i;
	struct list list = {calloc(s->max_fids + 1, sizeof(struct p9_node *)), 1};
	struct p9_fid **fids = calloc(nr_fids + 1, sizeof(struct p9_fid *));

	if (!list.nodes || !fids) {
		x->failed = true;
		fail(&x->err, "9p: no memory for the files of a share");
		goto out;
	}
	list.nodes[0] = s->root;
	if (!x->loading)
		collect(s, fids, &list);
	nr_nodes = list.nr;
	xfer_u32(x, &s->msize);
	xfer_check(x, !s->msize || (s->msize >= P9_MSIZE_MIN && s->msize <= P9_MSIZE_MAX),
		   "9p: a message size that can't be agreed on");
	xfer_u32(x, &nr_nodes);
	xfer_check(x, nr_nodes && nr_nodes <= s->max_fids, "9p: more files than a share may hold");
	xfer_u32(x, &nr_fids);
	xfer_check(x, nr_fids <= s->max_fids && (s->msize || !nr_fids),
		   "9p: more fids than a share may have");
	if (!x->failed)
		transfer_all(s, x, &list, fids, nr_nodes, nr_fids);
	if (x->loading)
		/* Those that no fid needs are gone with this. */
		for (i = list.nr; --i;)
			p9_node_put(s, list.nodes[i]);
out:
	free(list.nodes);
	free(fids);
}
