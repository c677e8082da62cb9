// SPDX-License-Identifier: GPL-2.0-only
/*
 * Packets and data of the connections of the user-space socket device: virtio 1.2,
 * sections 5.10.6.3 (buffer space) and 5.10.6.5 (stream sockets).
 *
 * To the host. Bytes go from the guest's packet into the stream at once. What the
 * stream does not take is kept in a buffer of the connection's own and goes on when
 * the stream says so. The guest may send VSOCK_BUFFER bytes ahead of what the stream
 * took, and not one more: a packet beyond that breaks the connection. So what a VM can
 * make us hold is VSOCK_MAX_CONNECTIONS * VSOCK_BUFFER, and only where that many host
 * programs do not read.
 *
 * To the guest. Bytes are read from the stream into a receive buffer, never more than
 * the guest has announced room for; where there is none they stay in the stream, and
 * the guest is asked for credit once. Counters are 32 bits wide and wrap; a fwd_cnt
 * that was overtaken by a newer one, or is ahead of what was sent, is not taken over.
 *
 * Thread and lock: the virtio device's mutex. Nothing of this is saved.
 */
#include "vsock_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

/* The host's end has to be there by then; Linux in the guest waits 2 s itself. */
#define CONNECT_NS (2 * NSEC_PER_SEC)
/* The guest has to answer a shutdown; Linux gives it as long. */
#define CLOSE_NS (8 * NSEC_PER_SEC)
/* A host program has to take something in that time, when the guest is done. */
#define DRAIN_NS (10 * NSEC_PER_SEC)

/* Iovecs of one transfer to or from a stream; what does not fit waits for the next. */
#define BATCH 32

/* --- to the host ------------------------------------------------------------------------ */

/* The guest should hear of room that it does not know of, before it has to stop. */
static void took(struct vsock_conn *conn, uint32_t len)
{
	conn->fwd_cnt += len;
	if (conn->rx_cnt - conn->fwd_told > VSOCK_BUFFER / 2)
		conn->want |= WANT_UPDATE;
}

static void discard_buffer(struct vsock_conn *conn)
{
	took(conn, conn->used);
	vsock_free_buffer(conn);
}

/* The stream takes nothing any more. */
static void host_deaf(struct vsock_conn *conn)
{
	if (conn->used)
		conn->vsock->host->want_send(conn->stream, false);
	discard_buffer(conn);
	vsock_host_stops(conn, VSOCK_SHUT_RECEIVE);
}

/* The filled part of the ring, as one or two pieces. */
static unsigned int buffered(const struct vsock_conn *conn, struct iovec *iov)
{
	uint32_t first = (uint32_t)min_u64(conn->used, VSOCK_BUFFER - conn->head);

	iov[0] = (struct iovec){conn->buf + conn->head, first};
	iov[1] = (struct iovec){conn->buf, conn->used - first};
	return conn->used > first ? 2 : 1;
}

/* What waits goes on; @conn may be gone when this returns. */
void vsock_send_buffer(struct vsock_conn *conn)
{
	const struct vsock_host_ops *host = conn->vsock->host;
	struct iovec iov[2];
	unsigned int nr;
	long n;

	while (conn->used) {
		nr = buffered(conn, iov);
		n = host->send(conn->stream, iov, nr);
		if (n == -EAGAIN || !n)
			break;
		if (n < 0 || (uint64_t)n > conn->used) {
			host_deaf(conn);
			break;
		}
		conn->head = (conn->head + (uint32_t)n) % VSOCK_BUFFER;
		conn->used -= (uint32_t)n;
		took(conn, (uint32_t)n);
		if (conn->state == CONN_DRAINING)
			vsock_set_deadline(conn, DRAIN_NS);
		if (!conn->used) {
			vsock_free_buffer(conn);
			host->want_send(conn->stream, false);
		}
	}
	vsock_update(conn);
	vsock_settle(conn);
}

/* Keep @len bytes of @c. There is room: the guest kept to its credit. */
static bool keep(struct vsock_conn *conn, struct virtq_cursor *c, uint32_t len)
{
	uint32_t at, part;

	if (!conn->buf) {
		conn->buf = malloc(VSOCK_BUFFER);
		if (!conn->buf)
			return false;
		conn->vsock->host->want_send(conn->stream, true);
	}
	while (len) {
		at = (conn->head + conn->used) % VSOCK_BUFFER;
		part = (uint32_t)min_u64(len, VSOCK_BUFFER - at);
		virtq_read(c, conn->buf + at, part);
		conn->used += part;
		len -= part;
	}
	return true;
}

/* Data of the guest. */
static void to_host(struct vsock_conn *conn, struct virtq_cursor *c, uint32_t len)
{
	struct iovec iov[BATCH];
	unsigned int nr;
	size_t mapped;
	long n;

	conn->rx_cnt += len;
	while (len && !conn->used && !(conn->host_shut & VSOCK_SHUT_RECEIVE)) {
		nr = virtq_map(c, len, iov, BATCH, &mapped);
		n = conn->vsock->host->send(conn->stream, iov, nr);
		if (n == -EAGAIN || !n)
			break;
		if (n < 0 || (size_t)n > mapped) {
			host_deaf(conn);
			break;
		}
		virtq_skip(c, (size_t)n);
		took(conn, (uint32_t)n);
		len -= (uint32_t)n;
	}
	if (conn->host_shut & VSOCK_SHUT_RECEIVE)
		took(conn, len);
	else if (len && !keep(conn, c, len))
		vsock_kill(conn);
}

/* --- packets from the guest ---------------------------------------------------------------- */

/* The guest broke a rule. */
static void violation(struct vsock_conn *conn, const char *what)
{
	virtio_complain(&conn->vsock->vdev, "port %u to host port %u is reset: %s",
			conn->guest_port, conn->host_port, what);
	vsock_kill(conn);
}

static void learn_credit(struct vsock_conn *conn, const struct vsock_packet *p)
{
	uint32_t before = vsock_credit(conn);

	conn->peer_alloc = p->buf_alloc;
	/* Two of the guest's threads may have put their packets in another order. */
	if (p->fwd_cnt - conn->peer_fwd <= conn->tx_cnt - conn->peer_fwd)
		conn->peer_fwd = p->fwd_cnt;
	if (vsock_credit(conn) > before)
		conn->asked = false;
}

static void request(struct virtio_vsock *v, const struct vsock_packet *p)
{
	struct vsock_conn *conn = vsock_make(v, p->dst_port, p->src_port, CONN_CONNECTING);
	int ret;

	if (!conn) {
		vsock_stray(v, p);
		return;
	}
	learn_credit(conn, p);
	ret = v->host->connect(v->opaque, conn, conn->host_port, &conn->stream);
	if (!ret) {
		conn->state = CONN_OPEN;
		conn->want |= WANT_RESPONSE;
		vsock_update(conn);
	} else if (ret == -EINPROGRESS) {
		vsock_set_deadline(conn, CONNECT_NS);
	} else {
		vsock_forget(conn);
		vsock_stray(v, p);
	}
}

static void response(struct vsock_conn *conn)
{
	if (conn->state != CONN_REQUESTED || conn->want & WANT_REQUEST) {
		violation(conn, "a response to no request");
		return;
	}
	conn->state = CONN_OPEN;
	conn->deadline = 0;
	conn->vsock->host->accepted(conn->stream, conn->host_port);
}

/* @conn may be gone when this returns. */
static void reset(struct vsock_conn *conn)
{
	if (conn->state != CONN_OPEN || !conn->used) {
		vsock_forget(conn);
		return;
	}
	vsock_unqueue(conn);
	conn->want = 0;
	conn->readable = false;
	conn->state = CONN_DRAINING;
	vsock_set_deadline(conn, DRAIN_NS);
}

/* Do both sides know that it is open? */
static bool stands(const struct vsock_conn *conn)
{
	return conn->state == CONN_OPEN && !(conn->want & WANT_RESPONSE);
}

static void shut(struct vsock_conn *conn, uint8_t flags)
{
	uint8_t fresh = flags & ~conn->guest_shut;

	conn->guest_shut |= flags;
	if (conn->state == CONN_CLOSING) {
		/* Both sides closed at the same time. */
		if (conn->guest_shut == VSOCK_SHUT_BOTH)
			vsock_kill(conn);
		return;
	}
	if (!stands(conn)) {
		violation(conn, "a shutdown before the connection stood");
		return;
	}
	if (fresh & VSOCK_SHUT_RECEIVE) {
		conn->vsock->host->shutdown(conn->stream, SHUT_RD);
		/* What the program said last will not be read: it is over now. */
		if (conn->gone)
			vsock_host_stops(conn, VSOCK_SHUT_BOTH);
	}
	vsock_settle(conn);
}

static void data(struct vsock_conn *conn, const struct vsock_packet *p, struct virtq_cursor *c)
{
	if (conn->state == CONN_CLOSING) {
		conn->rx_cnt += p->len;
		took(conn, p->len);
		return;
	}
	if (!stands(conn) || conn->guest_shut & VSOCK_SHUT_SEND)
		violation(conn, "data out of place");
	else if (p->len > c->left)
		violation(conn, "a packet's length is beyond its buffers");
	else if (p->len > VSOCK_BUFFER - (conn->rx_cnt - conn->fwd_cnt))
		violation(conn, "more data than it has credit for");
	else
		to_host(conn, c, p->len);
}

void vsock_packet_in(struct virtio_vsock *v, const struct vsock_packet *p,
		     struct virtq_cursor *payload)
{
	struct vsock_conn *conn = vsock_find(v, p->dst_port, p->src_port);

	/* The guest used its ports anew, before it saw that the old connection is over. */
	if (conn && p->op == VSOCK_OP_REQUEST && conn->state == CONN_CLOSING) {
		vsock_forget(conn);
		conn = NULL;
	}
	if (!conn) {
		if (p->op == VSOCK_OP_REQUEST)
			request(v, p);
		else
			vsock_stray(v, p);
		return;
	}
	/* What the guest sent before it saw its reset. */
	if (conn->state == CONN_DEAD)
		return;
	if (p->op == VSOCK_OP_RST) {
		reset(conn);
		return;
	}
	learn_credit(conn, p);
	switch (p->op) {
	case VSOCK_OP_RESPONSE:
		response(conn);
		break;
	case VSOCK_OP_SHUTDOWN:
		shut(conn, p->flags & VSOCK_SHUT_BOTH);
		break;
	case VSOCK_OP_RW:
		data(conn, p, payload);
		break;
	case VSOCK_OP_CREDIT_UPDATE:
		break;
	case VSOCK_OP_CREDIT_REQUEST:
		conn->want |= WANT_UPDATE;
		break;
	default:
		violation(conn, "an operation that is none, or out of place");
		break;
	}
	vsock_update(conn);
}

/* --- packets to the guest --------------------------------------------------------------------- */

/* Bytes of the stream behind the header of @req: the operation that carries them. */
static uint16_t from_host(struct vsock_conn *conn, struct virtq_request *req, uint32_t *len)
{
	struct virtq_cursor c = virtq_writer(req);
	struct iovec iov[BATCH];
	bool more = true;
	unsigned int nr;
	size_t mapped;
	long n;

	virtq_skip(&c, VSOCK_HEADER);
	nr = virtq_map(&c, (size_t)min_u64(vsock_credit(conn), VSOCK_MAX_PAYLOAD), iov, BATCH,
		       &mapped);
	/* A buffer of a header only; something has to be said with it. */
	if (!mapped)
		return VSOCK_OP_CREDIT_UPDATE;
	n = conn->vsock->host->recv(conn->stream, iov, nr, &more);
	if (n == -EAGAIN) {
		conn->readable = false;
		return VSOCK_OP_CREDIT_UPDATE;
	}
	if (n <= 0 || (size_t)n > mapped) {
		vsock_host_stops(conn, n || conn->gone ? VSOCK_SHUT_BOTH : VSOCK_SHUT_SEND);
		return VSOCK_OP_SHUTDOWN;
	}
	/* The end has to be read too. */
	if (!more && !conn->ending)
		conn->readable = false;
	conn->tx_cnt += (uint32_t)n;
	*len = (uint32_t)n;
	return VSOCK_OP_RW;
}

/* The next operation; data only where nothing has to come before it. */
static uint16_t next_op(struct vsock_conn *conn, struct virtq_request *req, uint32_t *len)
{
	if (conn->want & WANT_REQUEST)
		return VSOCK_OP_REQUEST;
	if (conn->want & WANT_RESPONSE)
		return VSOCK_OP_RESPONSE;
	if (vsock_may_read(conn) && vsock_credit(conn))
		return from_host(conn, req, len);
	if (conn->want & WANT_SHUTDOWN)
		return VSOCK_OP_SHUTDOWN;
	if (conn->want & WANT_CREDIT)
		return VSOCK_OP_CREDIT_REQUEST;
	return VSOCK_OP_CREDIT_UPDATE;
}

static void said(struct vsock_conn *conn, uint16_t op)
{
	/* Every packet carries our credit. */
	conn->want &= (uint8_t)~WANT_UPDATE;
	conn->fwd_told = conn->fwd_cnt;
	switch (op) {
	case VSOCK_OP_REQUEST:
		conn->want &= (uint8_t)~WANT_REQUEST;
		break;
	case VSOCK_OP_RESPONSE:
		conn->want &= (uint8_t)~WANT_RESPONSE;
		break;
	case VSOCK_OP_CREDIT_REQUEST:
		conn->want &= (uint8_t)~WANT_CREDIT;
		break;
	case VSOCK_OP_SHUTDOWN:
		conn->want &= (uint8_t)~WANT_SHUTDOWN;
		if (conn->host_shut == VSOCK_SHUT_BOTH) {
			vsock_close_stream(conn);
			conn->state = CONN_CLOSING;
			conn->want = 0;
			vsock_set_deadline(conn, CLOSE_NS);
		}
		break;
	default:
		break;
	}
}

void vsock_packet_out(struct virtio_vsock *v, struct virtq_request *req)
{
	struct vsock_conn *conn = v->first;
	struct vsock_packet p = {
		.src_cid = VSOCK_HOST_CID,
		.dst_cid = v->cid,
		.src_port = conn->host_port,
		.dst_port = conn->guest_port,
		.type = VSOCK_TYPE_STREAM,
		.op = VSOCK_OP_RST,
		.buf_alloc = (uint32_t)VSOCK_BUFFER,
	};

	vsock_unqueue(conn);
	if (conn->state != CONN_DEAD)
		p.op = next_op(conn, req, &p.len);
	p.fwd_cnt = conn->fwd_cnt;
	if (p.op == VSOCK_OP_SHUTDOWN)
		p.flags = conn->host_shut;
	vsock_put(req, &p);
	if (p.op == VSOCK_OP_RST) {
		vsock_forget(conn);
		return;
	}
	said(conn, p.op);
	vsock_update(conn);
}
