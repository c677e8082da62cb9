/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the parts of the 9p server share.
 *
 *   p9.c        the virtio device: queue, worker thread, configuration, save and load
 *   p9_kind.c   the option
 *   p9_call.c   one message: framing, the table of operations
 *   p9_msg.c    fields of messages
 *   p9_host.c   the host's file system, one name at a time
 *   p9_fid.c    fids and the tree of what they stand for
 *   p9_walk.c   operations: session and walking
 *   p9_file.c   operations: on open files
 *   p9_tree.c   operations: that make, move and remove names
 *   p9_attr.c   operations: attributes
 *   p9_xattr.c  operations: extended attributes
 *   p9_state.c  a session's state, saved and loaded
 *
 * Errors are the host's errno values, positive: those of 9P2000.L are Linux's, and
 * every architecture that lkvm runs on has the generic ones. P9_LATER is one more:
 * nothing was done, because the host might have had to wait; do it where that is
 * allowed.
 *
 * Thread and lock: a session belongs to whoever carries out its one request at a
 * time, see p9.c. Nothing here takes a lock.
 */
#ifndef LKVM_VIRTIO_P9_INTERNAL_H
#define LKVM_VIRTIO_P9_INTERNAL_H

#include "lkvm/virtio/p9.h"

#include <sys/stat.h>

#define P9_LATER 0x10000

#define P9_VERSION "9P2000.L"
#define P9_MSIZE_MIN 4096
#define P9_MSIZE_MAX (512 * KIB)

/* size[4] type[1] tag[2] */
#define P9_HEADER 7
/* The shortest answer that can say that something went wrong. */
#define P9_RLERROR_SIZE (P9_HEADER + 4)
/* In front of the data of Rread and Rreaddir. */
#define P9_DATA_AT (P9_HEADER + 4)

/* The fields of a message, written data excepted. */
#define P9_FIELDS_MAX 8192
#define P9_ANSWER_MAX 4352

#define P9_NAME_MAX 255
#define P9_TARGET_MAX 4095
#define P9_WALK_MAX 16
#define P9_NO_FID UINT32_MAX
#define P9_NO_ID UINT32_MAX

#define P9_QT_DIR 0x80
#define P9_QT_SYMLINK 0x02
#define P9_QT_FILE 0x00

/* Entries of a directory in one answer, in bytes. */
#define P9_DIRENTS_MAX (32 * KIB)

/* The value of an attribute, or the list of names; and how many at a time. */
#define P9_XATTR_MAX (64 * KIB)
#define P9_XATTRS_MAX 64

struct p9_call;
struct p9_session;

/* --- p9_msg.c: fields -------------------------------------------------------------- */

/**
 * struct p9_in - fields that are read one after the other
 * @bad: one went beyond the end; it and all later ones are 0
 */
struct p9_in {
	const uint8_t *at, *end;
	bool bad;
};

/**
 * struct p9_string - a string inside a message; not terminated
 */
struct p9_string {
	const char *s;
	uint16_t len;
};

uint8_t p9_get_u8(struct p9_in *in);
uint16_t p9_get_u16(struct p9_in *in);
uint32_t p9_get_u32(struct p9_in *in);
uint64_t p9_get_u64(struct p9_in *in);
struct p9_string p9_get_string(struct p9_in *in);

/**
 * p9_check_name() - can @s be the name of one thing in a directory?
 * @dotdot: whether ".." is a name
 *
 * Return: 0, EINVAL (empty, ".", a '/' or NUL in it) or ENAMETOOLONG.
 */
int p9_check_name(const char *s, size_t len, bool dotdot);

/**
 * p9_get_name() - a string as the name of one thing in a directory
 * @name: P9_NAME_MAX + 1 bytes
 *
 * Return: as p9_check_name(); EINVAL where the message is too short.
 */
int p9_get_name(struct p9_in *in, char *name, bool dotdot);

/**
 * struct p9_out - fields that are written one after the other
 * @full: one did not fit; it and all later ones are left out
 */
struct p9_out {
	uint8_t *buf;
	size_t len, max;
	bool full;
};

struct p9_qid {
	uint8_t type;
	uint32_t version;
	uint64_t path;
};

void p9_put_u8(struct p9_out *out, uint8_t v);
void p9_put_u16(struct p9_out *out, uint16_t v);
void p9_put_u32(struct p9_out *out, uint32_t v);
void p9_put_u64(struct p9_out *out, uint64_t v);
void p9_put_string(struct p9_out *out, const char *s, size_t len);
void p9_put_qid(struct p9_out *out, const struct p9_qid *qid);

/* --- p9_host.c: the host's file system ------------------------------------------------ */

/**
 * struct p9_share - the directory, and how it is shared; does not change
 * @root: O_PATH descriptor of it
 * @proc: O_PATH descriptor of /proc/self/fd
 * @dev: the device @root is on; @ino: its inode
 * @no_openat2: the host has none
 * @local: @dev is no network's: attributes of what is held take no time
 * @owners: owners can be set
 */
struct p9_share {
	int root, proc;
	dev_t dev;
	ino_t ino;
	bool read_only, no_openat2, local, owners;
	enum p9_security security;
};

/**
 * p9_share_open() - a share of the directory @dir, which is its own when this succeeds
 *
 * Return: 0, or -1 with @err set.
 */
int p9_share_open(struct p9_share *share, int dir, bool read_only, enum p9_security security,
		  struct error *err);
void p9_share_close(struct p9_share *share);

/**
 * p9_open_name() - what @name is in the directory @dir, as an O_PATH descriptor
 * @cached: say P9_LATER where the host would have to ask a disk
 *
 * One component, never a link followed, never anything but an entry of @dir.
 *
 * Return: the descriptor, or -errno.
 */
int p9_open_name(const struct p9_share *share, int dir, const char *name, bool cached);

/**
 * p9_create_name() - make the regular file @name in @dir and open it with @flags
 *
 * Return: the descriptor, or -errno (-EEXIST).
 */
int p9_create_name(const struct p9_share *share, int dir, const char *name, int flags, mode_t mode);

/**
 * p9_reopen() - open what the O_PATH descriptor @fd stands for
 * @flags: of open(2); only for regular files and directories, or with O_PATH
 *
 * Return: the descriptor, or -errno.
 */
int p9_reopen(const struct p9_share *share, int fd, int flags);

/**
 * p9_host_chmod() / p9_host_link() - of what the O_PATH descriptor @fd stands for
 *
 * Return: 0 or errno.
 */
int p9_host_chmod(const struct p9_share *share, int fd, mode_t mode);
int p9_host_link(const struct p9_share *share, int fd, int dir, const char *name);

/**
 * p9_qid_of() - the identity of what has @st
 */
struct p9_qid p9_qid_of(const struct p9_share *share, const struct stat *st);

/* The qid's type for S_IFMT bits. */
uint8_t p9_qid_type(mode_t mode);

/* --- p9_fid.c: fids and nodes ------------------------------------------------------------ */

/**
 * struct p9_node - a place in the share that the guest has walked to
 * @parent: the directory it was found in; NULL: the root
 * @name: how it is called there
 * @linked: it was there when last looked at: found by @parent and @name
 * @fd: O_PATH, or -1: to be opened again
 * @type: S_IFMT bits; @path: of its qid
 * @dev: the device it is on, where @fd is open
 * @pins: calls that need the descriptor kept
 */
struct p9_node {
	unsigned int refs, pins;
	int fd;
	bool linked;
	dev_t dev;
	mode_t type;
	uint64_t path;
	struct p9_node *parent;
	char *name;
	/* private */
	struct p9_node *hash_next;
	struct p9_node *newer, *older;
	struct p9_node *below; /* scratch */
	uint32_t number;       /* scratch */
};

/**
 * enum p9_fid_kind - what a fid is good for
 */
enum p9_fid_kind {
	P9_FID_PATH,	   /* not open */
	P9_FID_OPEN,	   /* a file or directory, open */
	P9_FID_XATTR_READ, /* the value of an attribute, or the list of them */
	P9_FID_XATTR_WRITE,
};

/**
 * struct p9_xattr - what a fid of these kinds reads or collects
 * @size: bytes of @value; @done: collected so far
 */
struct p9_xattr {
	uint32_t size, done, flags;
	char name[P9_NAME_MAX + 1];
	uint8_t value[];
};

/**
 * struct p9_fid - what the guest calls a file by
 * @uid: who attached, P9_NO_ID: nobody in particular
 * @flags: open(2)'s, those that are kept; @fd: -1: to be opened again
 * @pos_known: a directory: @pos is where @fd stands
 * @no_nowait: reading without waiting is not to be had
 * @xattr: NULL: lost
 */
struct p9_fid {
	uint32_t number, uid;
	enum p9_fid_kind kind;
	bool pos_known, no_nowait;
	int fd, flags;
	uint64_t pos;
	struct p9_node *node;
	struct p9_xattr *xattr;
	struct p9_fid *next;
};

/**
 * struct p9_session - all that a guest has made of a share
 * @msize: agreed on; 0: no version yet
 * @max_fids: and nodes; @max_open: descriptors
 * @root: always there
 * @nr_open: descriptors of nodes and fids
 * @nr_xattrs: fids with memory for an attribute
 */
struct p9_session {
	const struct p9_share *share;
	uint32_t msize;
	uint32_t max_fids, max_open;
	struct p9_node *root;
	uint32_t nr_fids, nr_nodes, nr_open, nr_xattrs;
	struct p9_fid **fids;
	struct p9_node **nodes;
	size_t fid_buckets, node_buckets; /* powers of two */
	struct p9_node *newest, *oldest;  /* nodes whose descriptor can be given up */
	uint8_t *dirents;		  /* 2 * P9_DIRENTS_MAX bytes */
};

/**
 * p9_session_create() - nothing agreed on, no fids; NULL: no memory
 */
struct p9_session *p9_session_create(const struct p9_share *share, uint32_t max_fids,
				     uint32_t max_open);
void p9_session_destroy(struct p9_session *s);

/**
 * p9_session_clear() - forget all fids, and the version
 */
void p9_session_clear(struct p9_session *s);

/**
 * p9_fid_find() - NULL: unknown
 */
struct p9_fid *p9_fid_find(const struct p9_session *s, uint32_t number);

/**
 * p9_fid_add() - a new fid for @node, of which it takes a reference of its own
 *
 * Return: 0 with *@fid set, EBADF (in use, or no number for a fid), EMFILE, ENOMEM.
 */
int p9_fid_add(struct p9_session *s, uint32_t number, uint32_t uid, struct p9_node *node,
	       struct p9_fid **fid);

/**
 * p9_fid_drop() - close and forget it
 */
void p9_fid_drop(struct p9_session *s, struct p9_fid *fid);

/**
 * p9_fid_set_node() - @fid stands for @node now; takes the caller's reference
 */
void p9_fid_set_node(struct p9_session *s, struct p9_fid *fid, struct p9_node *node);

/**
 * p9_fid_open() - @fid is open as @fd, with @flags
 */
void p9_fid_open(struct p9_session *s, struct p9_fid *fid, int fd, int flags);

/**
 * p9_make_room() - give up descriptors until one more is allowed
 *
 * Return: 0 or EMFILE.
 */
int p9_make_room(struct p9_session *s);

/**
 * p9_give_up() - the host has no more descriptors: close one that can be had again
 */
bool p9_give_up(struct p9_session *s);

struct p9_node *p9_node_get(struct p9_node *node);
void p9_node_put(struct p9_session *s, struct p9_node *node);

/**
 * p9_node_find() - who is linked as @name in @dir, or NULL; no reference
 */
struct p9_node *p9_node_find(const struct p9_session *s, const struct p9_node *dir,
			     const char *name);

/**
 * p9_node_add() - a node for what @fd (O_PATH, taken over) is, found as @name in @dir
 * @st: fstat() of it
 *
 * The one that is linked there already, where it is the same.
 *
 * Return: a reference, or NULL with *@error set; @fd is closed then.
 */
struct p9_node *p9_node_add(struct p9_session *s, struct p9_node *dir, const char *name, int fd,
			    const struct stat *st, int *error);

/**
 * p9_node_new() - a node without a descriptor; for loading
 */
struct p9_node *p9_node_new(struct p9_session *s, struct p9_node *dir, const char *name);

/**
 * p9_node_link() / p9_node_unlink() - @node can (not) be found by parent and name
 */
void p9_node_link(struct p9_session *s, struct p9_node *node);
void p9_node_unlink(struct p9_session *s, struct p9_node *node);

/**
 * p9_node_move() - @node is called @name in @dir from now
 */
void p9_node_move(struct p9_session *s, struct p9_node *node, struct p9_node *dir,
		  const char *name);

/**
 * p9_node_fd() - @node's descriptor, opened again if need be
 * @quick: say P9_LATER where that might take time
 *
 * Return: the descriptor, or -errno (-ESTALE: what it was is gone). It may be closed
 * by the next call for another node, unless @node is pinned.
 */
int p9_node_fd(struct p9_session *s, struct p9_node *node, bool quick);

/**
 * p9_node_touch() - in use: the last to give up its descriptor
 */
void p9_node_touch(struct p9_session *s, struct p9_node *node);

/* --- p9_call.c: one request --------------------------------------------------------------- */

#define P9_PINS 4

/**
 * struct p9_call - a request under way
 * @quick: nothing may be done that can take time
 * @in, @out: fields of the message and of the answer
 * @data: written data (Twrite)
 * @room: most bytes the answer's data may have (Tread, Treaddir)
 * @tail: bytes behind @out, @tail_len of them; NULL where they were put into the
 *        request's memory at P9_DATA_AT already
 * @pins: nodes that keep their descriptor until the call ends
 */
struct p9_call {
	struct p9_session *s;
	const struct p9_share *share;
	struct virtq_request *req;
	bool quick;
	struct p9_in in;
	struct p9_out out;
	struct virtq_cursor data;
	uint32_t room;
	const uint8_t *tail;
	uint32_t tail_len;
	unsigned int nr_pins;
	struct p9_node *pins[P9_PINS];
};

/**
 * p9_serve() - carry out the request @req of session @s and write the answer
 * @quick: only if that takes no time
 *
 * Return: false where nothing was done: call again without @quick. Otherwise true with
 * @why (a string that stays) set where the message was none at all.
 */
bool p9_serve(struct p9_session *s, struct virtq_request *req, bool quick, const char **why);

/**
 * p9_call_fid() - the next field is a fid that must exist
 *
 * Return: 0 with *@fid set, or EBADF.
 */
int p9_call_fid(struct p9_call *call, struct p9_fid **fid);

/**
 * p9_call_pin() - @node's descriptor, good until the call ends
 *
 * Return: the descriptor, or -errno.
 */
int p9_call_pin(struct p9_call *call, struct p9_node *node);

/**
 * p9_call_io() - the descriptor of an open @fid
 *
 * Return: the descriptor, or -errno (-EBADF: not open).
 */
int p9_call_io(struct p9_call *call, struct p9_fid *fid);

/**
 * p9_call_stat() - the attributes of what @fid stands for, open or not
 *
 * Return: 0 or errno.
 */
int p9_call_stat(struct p9_call *call, struct p9_fid *fid, struct stat *st);

/**
 * p9_call_step() - walk from @dir to @name
 * @qid: of what is there
 *
 * Return: 0 with *@node a reference, or errno.
 */
int p9_call_step(struct p9_call *call, struct p9_node *dir, const char *name, struct p9_node **node,
		 struct p9_qid *qid);

/**
 * p9_call_reopen() - open what @node stands for with @flags of open(2)
 *
 * Return: a descriptor that p9_fid_open() may have, or -errno.
 */
int p9_call_reopen(struct p9_call *call, struct p9_node *node, int flags);

/**
 * p9_call_add() - a node for @fd (O_PATH, taken over), found as @name in @dir
 * @qid: of it
 *
 * Return: 0 with *@node a reference, or errno.
 */
int p9_call_add(struct p9_call *call, struct p9_node *dir, const char *name, int fd,
		struct p9_node **node, struct p9_qid *qid);

/**
 * p9_is_near() - do attributes and opening of @node take no time?
 */
bool p9_is_near(const struct p9_share *share, const struct p9_node *node);

/**
 * p9_strip_set_id() - what @node is gets another content: without these bits
 *
 * Return: 0 or errno.
 */
int p9_strip_set_id(struct p9_call *call, struct p9_node *node);

/**
 * p9_may_set_mode() - may the guest turn @before into @mode?
 */
bool p9_may_set_mode(const struct p9_share *share, mode_t before, mode_t mode);

/**
 * p9_own() - give what @fd (any descriptor) stands for to the fid's user and @gid
 *
 * Return: 0 or errno.
 */
int p9_own(const struct p9_share *share, int fd, uint32_t uid, uint32_t gid);

int p9_op_version(struct p9_call *call);
int p9_op_auth(struct p9_call *call);
int p9_op_attach(struct p9_call *call);
int p9_op_flush(struct p9_call *call);
int p9_op_walk(struct p9_call *call);
int p9_op_clunk(struct p9_call *call);
int p9_op_lopen(struct p9_call *call);
int p9_op_lcreate(struct p9_call *call);
int p9_op_read(struct p9_call *call);
int p9_op_write(struct p9_call *call);
int p9_op_readdir(struct p9_call *call);
int p9_op_fsync(struct p9_call *call);
int p9_op_lock(struct p9_call *call);
int p9_op_getlock(struct p9_call *call);
int p9_op_symlink(struct p9_call *call);
int p9_op_mknod(struct p9_call *call);
int p9_op_mkdir(struct p9_call *call);
int p9_op_link(struct p9_call *call);
int p9_op_rename(struct p9_call *call);
int p9_op_renameat(struct p9_call *call);
int p9_op_unlinkat(struct p9_call *call);
int p9_op_remove(struct p9_call *call);
int p9_op_statfs(struct p9_call *call);
int p9_op_readlink(struct p9_call *call);
int p9_op_getattr(struct p9_call *call);
int p9_op_setattr(struct p9_call *call);
int p9_op_xattrwalk(struct p9_call *call);
int p9_op_xattrcreate(struct p9_call *call);

/**
 * p9_xattr_store() - a fid that collected an attribute is clunked: set it
 *
 * Return: 0 or errno.
 */
int p9_xattr_store(struct p9_call *call, struct p9_fid *fid);

/* --- p9_state.c ---------------------------------------------------------------------------------
 */

/**
 * p9_session_transfer() - save @s, or fill the empty @s from what was saved
 */
void p9_session_transfer(struct p9_session *s, struct xfer *x);

#endif /* LKVM_VIRTIO_P9_INTERNAL_H */
