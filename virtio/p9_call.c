// SPDX-License-Identifier: GPL-2.0-only
/*
 * One 9P message: taken out of the request, handed to its operation, answered.
 *
 *   size[4] type[1] tag[2] fields...
 *
 * All but written data is copied out of guest memory once, and parsed from the copy.
 * The message's size must lie within the request's readable part and within what was
 * agreed on (msize). The answer must find room in the writable part and in msize;
 * that is checked before the operation is carried out, so that nothing is done whose
 * result can't be told. Data that is read goes straight to where the guest wants it.
 *
 * A table says for each operation its least answer, whether it changes anything
 * (EROFS on a read-only share, decided here for all), and whether it may be tried at
 * once on the thread that was notified (`quick`). An operation that finds out that it
 * would have to wait for the host then returns P9_LATER before it has done anything.
 *
 * What is not a message at all (no header, no room for an error) is given back with
 * length 0.
 *
 * Thread and lock: see p9_internal.h. Nothing here is saved.
 */
#include "p9_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define P9_RLERROR 7
#define P9_TVERSION 100
#define P9_TWRITE 118
/* fid[4] offset[8] count[4]; data follows */
#define P9_TWRITE_FIELDS 16

#define READS 0
#define QUICK 1
#define CHANGES 2

/**
 * struct operation - a kind of message
 * @answer: bytes of its answer, at least
 */
struct operation {
	int (*run)(struct p9_call *call);
	uint8_t flags;
	uint8_t answer;
};

/* By T-message; the answer's type is one more. */
static const struct operation operations[] = {
	[8 / 2] = {p9_op_statfs, READS, P9_HEADER + 60},
	[12 / 2] = {p9_op_lopen, QUICK, P9_HEADER + 17},
	[14 / 2] = {p9_op_lcreate, CHANGES, P9_HEADER + 17},
	[16 / 2] = {p9_op_symlink, CHANGES, P9_HEADER + 13},
	[18 / 2] = {p9_op_mknod, CHANGES, P9_HEADER + 13},
	[20 / 2] = {p9_op_rename, CHANGES, P9_HEADER},
	[22 / 2] = {p9_op_readlink, READS, P9_HEADER + 2},
	[24 / 2] = {p9_op_getattr, QUICK, P9_HEADER + 153},
	[26 / 2] = {p9_op_setattr, CHANGES, P9_HEADER},
	[30 / 2] = {p9_op_xattrwalk, QUICK, P9_HEADER + 8},
	[32 / 2] = {p9_op_xattrcreate, CHANGES, P9_HEADER},
	[40 / 2] = {p9_op_readdir, READS, P9_DATA_AT},
	[50 / 2] = {p9_op_fsync, READS, P9_HEADER},
	[52 / 2] = {p9_op_lock, QUICK, P9_HEADER + 1},
	[54 / 2] = {p9_op_getlock, QUICK, P9_HEADER + 23},
	[70 / 2] = {p9_op_link, CHANGES, P9_HEADER},
	[72 / 2] = {p9_op_mkdir, CHANGES, P9_HEADER + 13},
	[74 / 2] = {p9_op_renameat, CHANGES, P9_HEADER},
	[76 / 2] = {p9_op_unlinkat, CHANGES, P9_HEADER},
	[100 / 2] = {p9_op_version, READS, P9_HEADER + 6 + sizeof(P9_VERSION)},
	[102 / 2] = {p9_op_auth, QUICK, P9_HEADER + 13},
	[104 / 2] = {p9_op_attach, QUICK, P9_HEADER + 13},
	[108 / 2] = {p9_op_flush, QUICK, P9_HEADER},
	[110 / 2] = {p9_op_walk, QUICK, P9_HEADER + 2},
	[116 / 2] = {p9_op_read, QUICK, P9_DATA_AT},
	[118 / 2] = {p9_op_write, CHANGES, P9_HEADER + 4},
	[120 / 2] = {p9_op_clunk, QUICK, P9_HEADER},
	/* Lets go of its fid on a read-only share too: it says EROFS itself. */
	[122 / 2] = {p9_op_remove, READS, P9_HEADER},
};

/* --- for operations ------------------------------------------------------------------- */

int p9_call_fid(struct p9_call *call, struct p9_fid **fid)
{
	uint32_t number = p9_get_u32(&call->in);

	*fid = call->in.bad ? NULL : p9_fid_find(call->s, number);
	if (*fid)
		return 0;
	return call->in.bad ? EINVAL : EBADF;
}

int p9_call_pin(struct p9_call *call, struct p9_node *node)
{
	int fd = p9_node_fd(call->s, node, call->quick);

	unsigned int i;

	if (fd < 0)
		return fd;
	for (i = 0; i < call->nr_pins; i++)
		if (call->pins[i] == node)
			return fd;
	if (call->nr_pins == P9_PINS)
		return -EMFILE;
	node->pins++;
	call->pins[call->nr_pins++] = p9_node_get(node);
	return fd;
}

static void unpin_all(struct p9_call *call)
{
	while (call->nr_pins) {
		struct p9_node *node = call->pins[--call->nr_pins];

		node->pins--;
		p9_node_put(call->s, node);
	}
}

int p9_call_io(struct p9_call *call, struct p9_fid *fid)
{
	int fd;

	if (fid->kind != P9_FID_OPEN)
		return -EBADF;
	if (fid->fd >= 0)
		return fid->fd;
	/* It was open when the session was saved. */
	if (call->quick)
		return -P9_LATER;
	fd = p9_call_reopen(call, fid->node, fid->flags);
	if (fd >= 0)
		p9_fid_open(call->s, fid, fd, fid->flags);
	return fd;
}

int p9_call_stat(struct p9_call *call, struct p9_fid *fid, struct stat *st)
{
	int fd = fid->kind == P9_FID_OPEN ? fid->fd : -1;

	if (call->quick && !p9_is_near(call->share, fid->node))
		return P9_LATER;
	if (fd < 0)
		fd = p9_node_fd(call->s, fid->node, call->quick);
	if (fd < 0)
		return -fd;
	return fstat(fd, st) ? errno : 0;
}

int p9_call_add(struct p9_call *call, struct p9_node *dir, const char *name, int fd,
		struct p9_node **node, struct p9_qid *qid)
{
	struct stat st;
	int ret = 0;

	if (fstat(fd, &st)) {
		ret = errno;
		close(fd);
		return ret;
	}
	*qid = p9_qid_of(call->share, &st);
	*node = p9_node_add(call->s, dir, name, fd, &st, &ret);
	return *node ? 0 : ret;
}

static int open_name(struct p9_call *call, struct p9_node *dir, const char *name)
{
	int at = p9_node_fd(call->s, dir, call->quick), fd;

	if (at < 0)
		return at;
	fd = p9_make_room(call->s);
	if (fd)
		return -fd;
	do
		fd = p9_open_name(call->share, at, name, call->quick);
	/* The process has no more: one of ours that is not needed now may go. */
	while ((fd == -EMFILE || fd == -ENFILE) && p9_give_up(call->s));
	return fd;
}

int p9_call_step(struct p9_call *call, struct p9_node *dir, const char *name, struct p9_node **node,
		 struct p9_qid *qid)
{
	int fd;

	dir->pins++;
	fd = open_name(call, dir, name);
	dir->pins--;
	return fd < 0 ? -fd : p9_call_add(call, dir, name, fd, node, qid);
}

int p9_call_reopen(struct p9_call *call, struct p9_node *node, int flags)
{
	int at = p9_call_pin(call, node), fd;

	if (at < 0)
		return at;
	fd = p9_make_room(call->s);
	if (fd)
		return -fd;
	do
		fd = p9_reopen(call->share, at, flags);
	while ((fd == -EMFILE || fd == -ENFILE) && p9_give_up(call->s));
	return fd;
}

bool p9_is_near(const struct p9_share *share, const struct p9_node *node)
{
	return share->local && node->dev == share->dev;
}

int p9_strip_set_id(struct p9_call *call, struct p9_node *node)
{
	struct stat st;
	int fd = p9_call_pin(call, node);

	if (fd < 0)
		return -fd;
	if (fstat(fd, &st))
		return errno;
	if (!S_ISREG(st.st_mode) || !(st.st_mode & (S_ISUID | S_ISGID)))
		return 0;
	return p9_host_chmod(call->share, fd, st.st_mode & 07777 & ~(S_ISUID | S_ISGID));
}

bool p9_may_set_mode(const struct p9_share *share, mode_t before, mode_t mode)
{
	if (share->security == P9_TRUSTED || S_ISDIR(before))
		return true;
	return !(mode & ~before & (S_ISUID | S_ISGID));
}

int p9_own(const struct p9_share *share, int fd, uint32_t uid, uint32_t gid)
{
	if (!share->owners || (uid == P9_NO_ID && gid == P9_NO_ID))
		return 0;
	return fchownat(fd, "", uid, gid, AT_EMPTY_PATH) ? errno : 0;
}

/* --- framing --------------------------------------------------------------------------- */

static void answer(struct p9_call *call, uint8_t type, uint16_t tag)
{
	struct virtq_cursor at = virtq_writer(call->req);
	uint8_t header[P9_HEADER];
	struct p9_out h = {header, 0, sizeof(header), false};

	p9_put_u32(&h, (uint32_t)(P9_HEADER + call->out.len + call->tail_len));
	p9_put_u8(&h, type);
	p9_put_u16(&h, tag);
	virtq_write(&at, header, sizeof(header));
	virtq_write(&at, call->out.buf, call->out.len);
	if (call->tail)
		virtq_write(&at, call->tail, call->tail_len);
	else
		virtq_filled(&at, call->tail_len);
}

static void answer_error(struct p9_call *call, uint16_t tag, int error)
{
	call->out.len = 0;
	call->out.full = false;
	call->tail = NULL;
	call->tail_len = 0;
	p9_put_u32(&call->out, (uint32_t)error);
	answer(call, P9_RLERROR, tag);
}

static const struct operation *find(uint8_t type)
{
	if (type & 1 || type / 2 >= ARRAY_SIZE(operations) || !operations[type / 2].run)
		return NULL;
	return &operations[type / 2];
}

/* What can be said against the message before its operation looks at it; 0: nothing. */
static int check(const struct p9_call *call, const struct operation *op, uint8_t type)
{
	const struct p9_session *s = call->s;

	if (!op)
		return EOPNOTSUPP;
	if (!s->msize && type != P9_TVERSION)
		return EPROTO;
	if (op->flags & CHANGES && call->share->read_only)
		return EROFS;
	if (call->req->writable < op->answer)
		return EMSGSIZE;
	return call->quick && !(op->flags & QUICK) ? P9_LATER : 0;
}

/* Copy the fields of a message of @len bytes behind its header. 0 or errno. */
static int take_fields(struct p9_call *call, struct virtq_cursor *at, uint8_t type, uint32_t len,
		       uint8_t *fields)
{
	uint32_t take = type == P9_TWRITE && len > P9_TWRITE_FIELDS ? P9_TWRITE_FIELDS : len;

	if (take > P9_FIELDS_MAX)
		return EMSGSIZE;
	virtq_read(at, fields, take);
	call->in = (struct p9_in){fields, fields + take, false};
	call->data = *at;
	call->data.left = len - take;
	return 0;
}

bool p9_serve(struct p9_session *s, struct virtq_request *req, bool quick, const char **why)
{
	uint8_t header[P9_HEADER], fields[P9_FIELDS_MAX], buf[P9_ANSWER_MAX], type;
	struct p9_call call = {.s = s, .share = s->share, .req = req, .quick = quick};
	struct p9_in h = {header, header + sizeof(header), false};
	struct virtq_cursor at = virtq_reader(req);
	const struct operation *op;
	uint32_t size, limit;
	uint16_t tag;
	int error;

	if (req->writable < P9_RLERROR_SIZE || req->readable < P9_HEADER) {
		*why = "a request has no message, or no room for an answer";
		return true;
	}
	call.out = (struct p9_out){buf, 0, sizeof(buf), false};
	virtq_read(&at, header, sizeof(header));
	size = p9_get_u32(&h);
	type = p9_get_u8(&h);
	tag = p9_get_u16(&h);
	limit = s->msize ? s->msize : P9_MSIZE_MIN;
	call.room = (uint32_t)min_u64(req->writable, limit) - P9_DATA_AT;
	op = find(type);
	if (size < P9_HEADER || size > req->readable)
		error = EINVAL;
	else if (size > limit)
		error = EMSGSIZE;
	else
		error = check(&call, op, type);
	if (!error)
		error = take_fields(&call, &at, type, size - P9_HEADER, fields);
	if (!error)
		error = op->run(&call);
	unpin_all(&call);
	if (error == P9_LATER)
		return false;
	if (!error && (call.out.full ||
		       P9_HEADER + call.out.len + call.tail_len > min_u64(req->writable, limit)))
		error = EMSGSIZE;
	if (error)
		answer_error(&call, tag, error);
	else
		answer(&call, type + 1, tag);
	return true;
}
