// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fids, and the tree of what they stand for.
 *
 * A fid is the guest's number for a file it has walked to. It refers to a node, of
 * which there is one for each place (directory node and name) that some fid or some
 * node below needs. A node holds an O_PATH descriptor: it goes on meaning the same
 * file whatever happens to names meanwhile, so that a file that was unlinked can
 * still be used.
 *
 * Descriptors are few, files are many: beyond max_open the node that was used least
 * recently gives its descriptor up, provided that it can be had again: it is linked,
 * which means that parent and name lead to it as far as this server knows. Later it
 * is opened again by them, and must then be what it was (type and inode); otherwise
 * the guest is told ESTALE. Whoever is about to remove or replace a name first opens
 * the node that has it (p9_tree.c). A loaded session starts with no descriptors at
 * all and gets them the same way.
 *
 * ".." is the parent node and nothing else, and the root's is the root: the host is
 * never asked to go up. A move keeps the tree in step, and refuses to make a circle,
 * which only someone else's moves beneath the share could bring about.
 *
 * What a guest can make here is bounded: fids and nodes by max_fids, descriptors by
 * max_open.
 *
 * Thread and lock: see p9_internal.h. What is saved: see p9_state.c.
 */
#include "p9_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_BUCKETS 64

/* --- tables ------------------------------------------------------------------------ */

static size_t fid_bucket(uint32_t number, size_t buckets)
{
	return (number * UINT32_C(0x9e3779b1) >> 8) & (buckets - 1);
}

static size_t node_bucket(const struct p9_node *dir, const char *name, size_t buckets)
{
	uint64_t h = (uintptr_t)dir;

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
	return (h ^ h >> 32) & (buckets - 1);
}

/* More buckets where there is memory for them; else chains grow longer. */
static void grow_fids(struct p9_session *s)
{
	size_t buckets = s->fid_buckets * 2, i;
	struct p9_fid **fids = calloc(buckets, sizeof(struct p9_fid *));

	if (!fids)
		return;
	for (i = 0; i < s->fid_buckets; i++)
		while (s->fids[i]) {
			struct p9_fid *fid = s->fids[i];
			size_t to = fid_bucket(fid->number, buckets);

			s->fids[i] = fid->next;
			fid->next = fids[to];
			fids[to] = fid;
		}
	free(s->fids);
	s->fids = fids;
	s->fid_buckets = buckets;
}

static void grow_nodes(struct p9_session *s)
{
	size_t buckets = s->node_buckets * 2, i;
	struct p9_node **nodes = calloc(buckets, sizeof(struct p9_node *));

	if (!nodes)
		return;
	for (i = 0; i < s->node_buckets; i++)
		while (s->nodes[i]) {
			struct p9_node *node = s->nodes[i];
			size_t to = node_bucket(node->parent, node->name, buckets);

			s->nodes[i] = node->hash_next;
			node->hash_next = nodes[to];
			nodes[to] = node;
		}
	free(s->nodes);
	s->nodes = nodes;
	s->node_buckets = buckets;
}

/* --- descriptors ---------------------------------------------------------------------- */

/* Can it be had again? */
static bool can_give_up(const struct p9_node *node)
{
	return node->linked && node->fd >= 0;
}

static void leave_list(struct p9_session *s, struct p9_node *node)
{
	if (node->newer)
		node->newer->older = node->older;
	else if (s->newest == node)
		s->newest = node->older;
	if (node->older)
		node->older->newer = node->newer;
	else if (s->oldest == node)
		s->oldest = node->newer;
	node->newer = NULL;
	node->older = NULL;
}

static void join_list(struct p9_session *s, struct p9_node *node)
{
	node->newer = NULL;
	node->older = s->newest;
	if (s->newest)
		s->newest->newer = node;
	else
		s->oldest = node;
	s->newest = node;
}

void p9_node_touch(struct p9_session *s, struct p9_node *node)
{
	if (s->newest == node || !can_give_up(node))
		return;
	leave_list(s, node);
	join_list(s, node);
}

static void drop_fd(struct p9_session *s, struct p9_node *node)
{
	leave_list(s, node);
	if (node->fd >= 0 && node != s->root) {
		close(node->fd);
		s->nr_open--;
	}
	node->fd = -1;
}

bool p9_give_up(struct p9_session *s)
{
	struct p9_node *node = s->oldest;

	while (node && node->pins)
		node = node->newer;
	if (!node)
		return false;
	drop_fd(s, node);
	return true;
}

int p9_make_room(struct p9_session *s)
{
	while (s->nr_open >= s->max_open)
		if (!p9_give_up(s))
			return EMFILE;
	return 0;
}

/* --- nodes ------------------------------------------------------------------------------- */

struct p9_node *p9_node_get(struct p9_node *node)
{
	node->refs++;
	return node;
}

void p9_node_put(struct p9_session *s, struct p9_node *node)
{
	while (node && !--node->refs) {
		struct p9_node *parent = node->parent;

		p9_node_unlink(s, node);
		drop_fd(s, node);
		s->nr_nodes--;
		free(node->name);
		free(node);
		node = parent;
	}
}

struct p9_node *p9_node_find(const struct p9_session *s, const struct p9_node *dir,
			     const char *name)
{
	struct p9_node *node = s->nodes[node_bucket(dir, name, s->node_buckets)];

	while (node && (node->parent != dir || strcmp(node->name, name)))
		node = node->hash_next;
	return node;
}

void p9_node_link(struct p9_session *s, struct p9_node *node)
{
	struct p9_node **bucket;

	if (node->linked)
		return;
	if (s->nr_nodes > s->node_buckets)
		grow_nodes(s);
	bucket = &s->nodes[node_bucket(node->parent, node->name, s->node_buckets)];
	node->hash_next = *bucket;
	*bucket = node;
	node->linked = true;
	if (node->fd >= 0)
		join_list(s, node);
}

void p9_node_unlink(struct p9_session *s, struct p9_node *node)
{
	struct p9_node **at;

	if (!node->linked)
		return;
	at = &s->nodes[node_bucket(node->parent, node->name, s->node_buckets)];
	while (*at != node)
		at = &(*at)->hash_next;
	*at = node->hash_next;
	node->linked = false;
	leave_list(s, node);
}

static bool is_above(const struct p9_node *node, const struct p9_node *dir)
{
	while (dir && dir != node)
		dir = dir->parent;
	return dir;
}

void p9_node_move(struct p9_session *s, struct p9_node *node, struct p9_node *dir, const char *name)
{
	struct p9_node *old = node->parent;
	char *copy = strdup(name);

	p9_node_unlink(s, node);
	/* Where it is now is not known then, and it keeps its descriptor. */
	if (!copy || is_above(node, dir)) {
		free(copy);
		return;
	}
	free(node->name);
	node->name = copy;
	node->parent = p9_node_get(dir);
	p9_node_link(s, node);
	p9_node_put(s, old);
}

struct p9_node *p9_node_new(struct p9_session *s, struct p9_node *dir, const char *name)
{
	struct p9_node *node;

	if (s->nr_nodes >= s->max_fids)
		return NULL;
	node = calloc(1, sizeof(*node));
	if (!node)
		return NULL;
	node->name = strdup(name);
	if (!node->name) {
		free(node);
		return NULL;
	}
	node->refs = 1;
	node->fd = -1;
	node->parent = dir ? p9_node_get(dir) : NULL;
	s->nr_nodes++;
	return node;
}

static bool is_same(const struct p9_share *share, const struct p9_node *node, const struct stat *st)
{
	return node->type == (st->st_mode & S_IFMT) && node->path == p9_qid_of(share, st).path;
}

struct p9_node *p9_node_add(struct p9_session *s, struct p9_node *dir, const char *name, int fd,
			    const struct stat *st, int *error)
{
	struct p9_node *node = p9_node_find(s, dir, name);

	if (node && is_same(s->share, node, st)) {
		if (node->fd >= 0) {
			close(fd);
		} else {
			node->fd = fd;
			s->nr_open++;
			join_list(s, node);
		}
		return p9_node_get(node);
	}
	/* Someone else has put something new there. */
	if (node)
		p9_node_unlink(s, node);
	*error = s->nr_nodes >= s->max_fids ? EMFILE : ENOMEM;
	node = p9_node_new(s, dir, name);
	if (!node) {
		close(fd);
		return NULL;
	}
	node->fd = fd;
	s->nr_open++;
	node->type = st->st_mode & S_IFMT;
	node->path = p9_qid_of(s->share, st).path;
	node->dev = st->st_dev;
	p9_node_link(s, node);
	return node;
}

/* Open @node, whose parent is open. */
static int open_again(struct p9_session *s, struct p9_node *node)
{
	struct stat st;
	int fd, ret = p9_make_room(s);

	if (ret)
		return ret;
	if (!node->linked)
		return ESTALE;
	fd = p9_open_name(s->share, node->parent->fd, node->name, false);
	if (fd < 0)
		return fd == -ENOENT || fd == -ENOTDIR ? ESTALE : -fd;
	if (fstat(fd, &st) || !is_same(s->share, node, &st)) {
		close(fd);
		return ESTALE;
	}
	node->fd = fd;
	node->dev = st.st_dev;
	s->nr_open++;
	join_list(s, node);
	return 0;
}

int p9_node_fd(struct p9_session *s, struct p9_node *node, bool quick)
{
	struct p9_node *at = node;
	int ret;

	if (node->fd >= 0) {
		p9_node_touch(s, node);
		return node->fd;
	}
	if (quick)
		return -P9_LATER;
	/* Up to the first that is open, which the root is at the latest, and down again. */
	node->below = NULL;
	while (at->fd < 0) {
		at->parent->below = at;
		at = at->parent;
	}
	while (at != node) {
		p9_node_touch(s, at);
		/* It is above one that is needed: not to be given up for that. */
		at->pins++;
		ret = open_again(s, at->below);
		at->pins--;
		if (ret)
			return -ret;
		at = at->below;
	}
	return node->fd;
}

/* --- fids ---------------------------------------------------------------------------------- */

struct p9_fid *p9_fid_find(const struct p9_session *s, uint32_t number)
{
	struct p9_fid *fid = s->fids[fid_bucket(number, s->fid_buckets)];

	while (fid && fid->number != number)
		fid = fid->next;
	return fid;
}

int p9_fid_add(struct p9_session *s, uint32_t number, uint32_t uid, struct p9_node *node,
	       struct p9_fid **fid)
{
	struct p9_fid **bucket, *f;

	if (number == P9_NO_FID || p9_fid_find(s, number))
		return EBADF;
	if (s->nr_fids >= s->max_fids)
		return EMFILE;
	f = calloc(1, sizeof(*f));
	if (!f)
		return ENOMEM;
	if (s->nr_fids > s->fid_buckets)
		grow_fids(s);
	f->number = number;
	f->uid = uid;
	f->fd = -1;
	f->node = p9_node_get(node);
	bucket = &s->fids[fid_bucket(number, s->fid_buckets)];
	f->next = *bucket;
	*bucket = f;
	s->nr_fids++;
	*fid = f;
	return 0;
}

static void free_fid(struct p9_session *s, struct p9_fid *fid)
{
	s->nr_fids--;
	if (fid->fd >= 0) {
		close(fid->fd);
		s->nr_open--;
	}
	p9_node_put(s, fid->node);
	if (fid->xattr)
		s->nr_xattrs--;
	free(fid->xattr);
	free(fid);
}

void p9_fid_drop(struct p9_session *s, struct p9_fid *fid)
{
	struct p9_fid **at = &s->fids[fid_bucket(fid->number, s->fid_buckets)];

	while (*at != fid)
		at = &(*at)->next;
	*at = fid->next;
	free_fid(s, fid);
}

void p9_fid_set_node(struct p9_session *s, struct p9_fid *fid, struct p9_node *node)
{
	struct p9_node *old = fid->node;

	fid->node = node;
	p9_node_put(s, old);
}

void p9_fid_open(struct p9_session *s, struct p9_fid *fid, int fd, int flags)
{
	fid->kind = P9_FID_OPEN;
	fid->fd = fd;
	fid->flags = flags;
	fid->pos_known = false;
	s->nr_open++;
}

/* --- sessions --------------------------------------------------------------------------------- */

void p9_session_clear(struct p9_session *s)
{
	size_t i;

	for (i = 0; i < s->fid_buckets; i++)
		while (s->fids[i]) {
			struct p9_fid *fid = s->fids[i];

			s->fids[i] = fid->next;
			free_fid(s, fid);
		}
	s->msize = 0;
}

void p9_session_destroy(struct p9_session *s)
{
	if (!s)
		return;
	if (s->root) {
		p9_session_clear(s);
		p9_node_put(s, s->root);
	}
	free(s->fids);
	free(s->nodes);
	free(s->dirents);
	free(s);
}

struct p9_session *p9_session_create(const struct p9_share *share, uint32_t max_fids,
				     uint32_t max_open)
{
	struct p9_session *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->share = share;
	s->max_fids = max_fids;
	s->max_open = max_open;
	s->fid_buckets = FIRST_BUCKETS;
	s->node_buckets = FIRST_BUCKETS;
	s->fids = calloc(s->fid_buckets, sizeof(struct p9_fid *));
	s->nodes = calloc(s->node_buckets, sizeof(struct p9_node *));
	s->dirents = malloc(2 * P9_DIRENTS_MAX);
	if (s->fids && s->nodes && s->dirents)
		s->root = p9_node_new(s, NULL, "");
	if (!s->root) {
		p9_session_destroy(s);
		return NULL;
	}
	s->root->fd = share->root;
	s->root->type = S_IFDIR;
	s->root->path = share->ino;
	s->root->dev = share->dev;
	return s;
}
