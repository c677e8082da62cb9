// SPDX-License-Identifier: GPL-2.0-only
/*
 * Connections of the user-space socket device, and how they begin and end: virtio 1.2,
 * section 5.10.6.5 (stream sockets). virtio/vsock_flow.c has their packets and data.
 *
 * A connection is named by its two ports; the CIDs are always the host's and the
 * guest's. It has a stream, which is the host's side of it.
 *
 * The end. Either side may stop sending, or receiving, alone. When the guest has done
 * both and the stream has all its bytes, a reset answers (clean disconnect). When the
 * host's program is gone, the guest is told by a shutdown and answers with a reset,
 * for which it has some seconds. A guest that resets without waiting for its bytes to
 * arrive is forgotten, but the bytes still go to the stream. Whatever is no legal step
 * for the state breaks the connection by a reset. A reset that is due keeps the
 * connection's place until the guest has a buffer for it: so nothing the guest does
 * makes more than VSOCK_MAX_CONNECTIONS of them.
 *
 * Thread and lock: the virtio device's mutex. Nothing of this is saved.
 */
#include "vsock_internal.h"

#include <stdlib.h>
#include <sys/socket.h>

/* The guest has to answer a request by then. */
#define REQUEST_NS (5 * NSEC_PER_SEC)

/* --- the table ------------------------------------------------------------------- */

static struct vsock_conn **bucket(struct virtio_vsock *v, uint32_t host_port, uint32_t guest_port)
{
	uint32_t hash = (host_port * 31 + guest_port) * UINT32_C(2654435761);

	return &v->buckets[hash >> 16 & (VSOCK_BUCKETS - 1)];
}

struct vsock_conn *vsock_find(struct virtio_vsock *v, uint32_t host_port, uint32_t guest_port)
{
	struct vsock_conn *conn = *bucket(v, host_port, guest_port);

	/* One that drains is the guest's no more, which may use its ports again. */
	while (conn && (conn->host_port != host_port || conn->guest_port != guest_port ||
			conn->state == CONN_DRAINING))
		conn = conn->next;
	return conn;
}

struct vsock_conn *vsock_make(struct virtio_vsock *v, uint32_t host_port, uint32_t guest_port,
			      enum vsock_conn_state state)
{
	struct vsock_conn **head = bucket(v, host_port, guest_port), *conn;

	if (v->nr_conns == VSOCK_MAX_CONNECTIONS) {
		virtio_complain(&v->vdev, "there are %d connections; another is refused",
				VSOCK_MAX_CONNECTIONS);
		return NULL;
	}
	conn = calloc(1, sizeof(*conn));
	if (!conn)
		return NULL;
	conn->vsock = v;
	conn->host_port = host_port;
	conn->guest_port = guest_port;
	conn->state = state;
	conn->next = *head;
	*head = conn;
	v->nr_conns++;
	return conn;
}

void vsock_unqueue(struct vsock_conn *conn)
{
	struct virtio_vsock *v = conn->vsock;

	if (!conn->queued)
		return;
	conn->queued = false;
	if (conn->before)
		conn->before->after = conn->after;
	else
		v->first = conn->after;
	if (conn->after)
		conn->after->before = conn->before;
	else
		v->last = conn->before;
}

void vsock_free_buffer(struct vsock_conn *conn)
{
	free(conn->buf);
	conn->buf = NULL;
	conn->head = 0;
	conn->used = 0;
}

void vsock_close_stream(struct vsock_conn *conn)
{
	if (conn->stream)
		conn->vsock->host->close(conn->stream);
	conn->stream = NULL;
	conn->readable = false;
	vsock_free_buffer(conn);
}

void vsock_forget(struct vsock_conn *conn)
{
	struct vsock_conn **link = bucket(conn->vsock, conn->host_port, conn->guest_port);

	vsock_close_stream(conn);
	vsock_unqueue(conn);
	while (*link != conn)
		link = &(*link)->next;
	*link = conn->next;
	conn->vsock->nr_conns--;
	free(conn);
}

void vsock_set_deadline(struct vsock_conn *conn, uint64_t ns)
{
	struct virtio_vsock *v = conn->vsock;

	conn->deadline = v->host->now(v->opaque) + ns;
	if (conn->deadline < v->armed) {
		v->armed = conn->deadline;
		v->host->arm(v->opaque, conn->deadline);
	}
}

/* --- what is due to the guest -------------------------------------------------------- */

/* Room for data that the guest has announced and not used. */
uint32_t vsock_credit(const struct vsock_conn *conn)
{
	uint32_t flight = conn->tx_cnt - conn->peer_fwd;

	return flight < conn->peer_alloc ? conn->peer_alloc - flight : 0;
}

bool vsock_may_read(const struct vsock_conn *conn)
{
	return conn->state == CONN_OPEN && conn->readable && !(conn->host_shut & VSOCK_SHUT_SEND) &&
	       !(conn->guest_shut & VSOCK_SHUT_RECEIVE);
}

/* Queue up, where there is something for the guest. */
void vsock_update(struct vsock_conn *conn)
{
	struct virtio_vsock *v = conn->vsock;
	bool due = conn->state == CONN_DEAD || conn->want;

	if (vsock_may_read(conn)) {
		if (vsock_credit(conn)) {
			due = true;
		} else if (!conn->asked) {
			conn->asked = true;
			conn->want |= WANT_CREDIT;
			due = true;
		}
	}
	if (!due || conn->queued || conn->state == CONN_DRAINING)
		return;
	conn->queued = true;
	conn->after = NULL;
	conn->before = v->last;
	if (v->last)
		v->last->after = conn;
	else
		v->first = conn;
	v->last = conn;
}

/* It ends by a reset. */
void vsock_kill(struct vsock_conn *conn)
{
	vsock_close_stream(conn);
	conn->state = CONN_DEAD;
	conn->want = 0;
	conn->deadline = 0;
	vsock_update(conn);
}

/* The guest is to hear that the host will not do @flags any more. */
void vsock_host_stops(struct vsock_conn *conn, uint8_t flags)
{
	if (flags & ~conn->host_shut) {
		conn->host_shut |= flags;
		conn->want |= WANT_SHUTDOWN;
	}
}

/*
 * The guest's shutdown takes effect when all it sent before is with the host. @conn may
 * be gone when this returns.
 */
void vsock_settle(struct vsock_conn *conn)
{
	if (conn->used)
		return;
	if (conn->state == CONN_DRAINING) {
		vsock_forget(conn);
	} else if (conn->state == CONN_OPEN && conn->guest_shut == VSOCK_SHUT_BOTH) {
		vsock_kill(conn);
	} else if (conn->state == CONN_OPEN && conn->guest_shut & VSOCK_SHUT_SEND && !conn->ended) {
		conn->ended = true;
		conn->vsock->host->shutdown(conn->stream, SHUT_WR);
	}
}

/* --- the host's side
 * -------------------------------------------------------------------------------- */

struct vsock_conn *virtio_vsock_open(struct virtio_vsock *v, uint32_t port, void *stream)
{
	uint32_t *next = &v->state.next_port, host_port;
	struct vsock_conn *conn;

	if (!(v->vdev.status & VIRTIO_STATUS_DRIVER_OK) || v->vdev.status & VIRTIO_STATUS_FAILED)
		return NULL;
	/* Ends: there are more ports than connections. */
	do {
		host_port = *next;
		*next = *next == VSOCK_LAST_PORT ? VSOCK_FIRST_PORT : *next + 1;
	} while (vsock_find(v, host_port, port));
	conn = vsock_make(v, host_port, port, CONN_REQUESTED);
	if (!conn)
		return NULL;
	conn->stream = stream;
	conn->want = WANT_REQUEST;
	vsock_set_deadline(conn, REQUEST_NS);
	vsock_update(conn);
	return conn;
}

void virtio_vsock_connected(struct vsock_conn *conn, bool ok)
{
	if (conn->state != CONN_CONNECTING)
		return;
	if (!ok) {
		vsock_kill(conn);
		return;
	}
	conn->state = CONN_OPEN;
	conn->deadline = 0;
	conn->want |= WANT_RESPONSE;
	vsock_update(conn);
}

void virtio_vsock_ready(struct vsock_conn *conn, unsigned int what)
{
	if (conn->state == CONN_REQUESTED && what & VSOCK_GONE) {
		/* What the guest was never asked needs no word either. */
		if (conn->want & WANT_REQUEST)
			vsock_forget(conn);
		else
			vsock_kill(conn);
		return;
	}
	if (conn->state != CONN_OPEN && conn->state != CONN_DRAINING)
		return;
	conn->readable |= what & (VSOCK_READABLE | VSOCK_ENDING | VSOCK_GONE);
	conn->ending |= what & (VSOCK_ENDING | VSOCK_GONE);
	conn->gone |= what & VSOCK_GONE;
	if (conn->state == CONN_OPEN && conn->gone) {
		/* Nothing is left to be read, or nobody to read it. */
		if (conn->host_shut & VSOCK_SHUT_SEND || conn->guest_shut & VSOCK_SHUT_RECEIVE)
			vsock_host_stops(conn, VSOCK_SHUT_BOTH);
	}
	vsock_update(conn);
	if (what & (VSOCK_WRITABLE | VSOCK_GONE) && conn->used)
		vsock_send_buffer(conn);
}

static void expire(struct vsock_conn *conn)
{
	conn->deadline = 0;
	if (conn->state == CONN_DRAINING)
		vsock_forget(conn);
	else
		vsock_kill(conn);
}

void virtio_vsock_tick(struct virtio_vsock *v)
{
	struct vsock_conn *conn, *next;
	uint64_t now, least = UINT64_MAX;
	unsigned int i;

	virtio_enter_device(&v->vdev);
	now = v->host->now(v->opaque);
	for (i = 0; i < VSOCK_BUCKETS; i++) {
		for (conn = v->buckets[i]; conn; conn = next) {
			next = conn->next;
			if (!conn->deadline)
				continue;
			if (conn->deadline <= now)
				expire(conn);
			else
				least = min_u64(least, conn->deadline);
		}
	}
	v->armed = least;
	if (least != UINT64_MAX)
		v->host->arm(v->opaque, least);
	virtio_vsock_flush(v);
	virtio_leave(&v->vdev);
}

void vsock_close_all(struct virtio_vsock *v)
{
	struct vsock_conn *conn, *next;
	unsigned int i;

	for (i = 0; i < VSOCK_BUCKETS; i++) {
		for (conn = v->buckets[i]; conn; conn = next) {
			next = conn->next;
			vsock_forget(conn);
		}
	}
	v->stray = 0;
	v->nr_strays = 0;
	v->stalled = false;
}
