// SPDX-License-Identifier: GPL-2.0-only
/*
 * The socket device: virtio 1.2 and 1.3, section 5.10. Stream sockets only. This file
 * has the queues and the packets; virtio/vsock_conn.c the connections.
 *
 * Transmit queue: packets from the guest. A header is copied once and only the copy is
 * looked at; it may be cut into descriptors in any way. A packet whose source is not
 * the guest is dropped; one that is for nobody, or of an unknown type, is answered by
 * a reset.
 *
 * Receive queue: packets for the guest. Those connections that have something queue
 * up; each gets one buffer at a turn. A buffer is taken from the ring only for a
 * packet that is due, is filled and given back at once, so nothing is ever in flight
 * and there is nothing to drain. A buffer too small for a header goes back empty.
 *
 * Resets for what is no connection have a small store of their own. When it is full,
 * no more packets are taken from the transmit queue until receive buffers come: that
 * is the limit of what a guest can make us hold by not looking at its receive queue
 * (5.10.6.1).
 *
 * Event queue: one event, which says that all connections are gone, after the state
 * was loaded. Connections do not survive that: their other ends are elsewhere.
 *
 * Thread and lock: the virtio device's mutex. Packets are carried out on the thread
 * that notifies; what streams say comes from the loop's. What is saved: the next port
 * for connections from the host. The CID is the option's, not the saved one: a guest
 * that was told of the reset reads it again.
 */
#include "vsock_internal.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define EVENT_TRANSPORT_RESET 0

/* On the wire. */
struct header {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
} __attribute__((packed));

_Static_assert(sizeof(struct header) == VSOCK_HEADER, "a header is 44 bytes");

/* --- both forms ---------------------------------------------------------------- */

void vsock_config(uint64_t cid, uint8_t *config)
{
	cid = htole64(cid);
	memcpy(config, &cid, sizeof(cid));
}

void vsock_transfer(struct virtio_device *vdev, struct xfer *x, void *state)
{
	struct vsock_state *s = state;

	(void)vdev;
	xfer_u32(x, &s->next_port);
	xfer_check(x, s->next_port >= VSOCK_FIRST_PORT && s->next_port <= VSOCK_LAST_PORT,
		   "vsock: a next port out of range");
	if (x->loading)
		s->reset_due = true;
}

void vsock_event(struct virtio_device *vdev, struct vsock_state *state)
{
	const uint32_t id = htole32(EVENT_TRANSPORT_RESET);
	struct virtq_request *req;
	struct virtq_cursor c;

	while (state->reset_due && (req = virtq_pop(virtio_queue(vdev, VSOCK_EVENT)))) {
		c = virtq_writer(req);
		if (virtq_write(&c, &id, sizeof(id)) == sizeof(id))
			state->reset_due = false;
		else
			virtio_complain(vdev, "an event buffer of %u bytes is too small",
					req->writable);
		virtio_complete(vdev, req);
	}
}

/* --- packets ------------------------------------------------------------------- */

static bool get_header(struct virtq_cursor *c, struct vsock_packet *p)
{
	struct header h;

	if (virtq_read(c, &h, sizeof(h)) != sizeof(h))
		return false;
	*p = (struct vsock_packet){
		.src_cid = le64toh(h.src_cid),
		.dst_cid = le64toh(h.dst_cid),
		.src_port = le32toh(h.src_port),
		.dst_port = le32toh(h.dst_port),
		.len = le32toh(h.len),
		.type = le16toh(h.type),
		.op = le16toh(h.op),
		.flags = le32toh(h.flags),
		.buf_alloc = le32toh(h.buf_alloc),
		.fwd_cnt = le32toh(h.fwd_cnt),
	};
	return true;
}

void vsock_put(struct virtq_request *req, const struct vsock_packet *p)
{
	struct virtq_cursor c = virtq_writer(req);
	struct header h = {
		.src_cid = htole64(p->src_cid),
		.dst_cid = htole64(p->dst_cid),
		.src_port = htole32(p->src_port),
		.dst_port = htole32(p->dst_port),
		.len = htole32(p->len),
		.type = htole16(p->type),
		.op = htole16(p->op),
		.flags = htole32(p->flags),
		.buf_alloc = htole32(p->buf_alloc),
		.fwd_cnt = htole32(p->fwd_cnt),
	};

	virtq_write(&c, &h, sizeof(h));
	virtq_filled(&c, p->len);
}

void vsock_stray(struct virtio_vsock *v, const struct vsock_packet *p)
{
	unsigned int i = (v->stray + v->nr_strays) % VSOCK_MAX_STRAYS;

	/* Never answer a reset by a reset. */
	if (p->op == VSOCK_OP_RST || v->nr_strays == VSOCK_MAX_STRAYS)
		return;
	v->strays[i] = (struct vsock_stray){
		.cid = (uint32_t)p->dst_cid,
		.host_port = p->dst_port,
		.guest_port = p->src_port,
		.type = p->type,
	};
	v->nr_strays++;
}

static void stray_out(struct virtio_vsock *v, struct virtq_request *req)
{
	const struct vsock_stray *s = &v->strays[v->stray];
	struct vsock_packet p = {
		.src_cid = s->cid,
		.dst_cid = v->cid,
		.src_port = s->host_port,
		.dst_port = s->guest_port,
		.type = s->type,
		.op = VSOCK_OP_RST,
	};

	v->stray = (v->stray + 1) % VSOCK_MAX_STRAYS;
	v->nr_strays--;
	vsock_put(req, &p);
}

static void packet(struct virtio_vsock *v, struct virtq_request *req)
{
	struct virtq_cursor c = virtq_reader(req);
	struct vsock_packet p;

	if (!get_header(&c, &p))
		virtio_complain(&v->vdev, "a packet of %u bytes is too short", req->readable);
	else if (p.src_cid != v->cid)
		virtio_complain(&v->vdev, "a packet comes from CID %llu, which is not the guest's",
				(unsigned long long)p.src_cid);
	else if (p.dst_cid != VSOCK_HOST_CID || p.type != VSOCK_TYPE_STREAM)
		vsock_stray(v, &p);
	else
		vsock_packet_in(v, &p, &c);
}

/* --- queues -------------------------------------------------------------------- */

static bool something_for_guest(const struct virtio_vsock *v)
{
	return v->nr_strays || v->first;
}

static void fill(struct virtio_vsock *v)
{
	struct virtq *q = virtio_queue(&v->vdev, VSOCK_RX);
	struct virtq_request *req;

	while (something_for_guest(v)) {
		req = virtq_pop(q);
		if (!req)
			return;
		if (req->writable < VSOCK_HEADER)
			virtio_complain(&v->vdev, "a receive buffer of %u bytes is too small",
					req->writable);
		else if (v->nr_strays)
			stray_out(v, req);
		else
			vsock_packet_out(v, req);
		virtio_complete(&v->vdev, req);
	}
}

static void receive_queue(struct virtio_vsock *v)
{
	if (v->filling)
		return;
	v->filling = true;
	fill(v);
	/* Ends: each turn begins with a full store, which this pass's buffers emptied. */
	while (v->stalled && v->nr_strays < VSOCK_MAX_STRAYS) {
		v->stalled = false;
		virtio_queue_notify(&v->vdev, VSOCK_TX);
		fill(v);
	}
	v->filling = false;
}

static void transmit_queue(struct virtio_vsock *v)
{
	struct virtq *q = virtio_queue(&v->vdev, VSOCK_TX);
	struct virtq_request *req;

	for (;;) {
		if (v->nr_strays == VSOCK_MAX_STRAYS) {
			v->stalled = true;
			break;
		}
		req = virtq_pop(q);
		if (!req)
			break;
		packet(v, req);
		virtio_complete(&v->vdev, req);
	}
	virtio_vsock_flush(v);
}

void virtio_vsock_flush(struct virtio_vsock *v)
{
	if (something_for_guest(v) && !v->filling)
		virtio_queue_notify(&v->vdev, VSOCK_RX);
}

static struct virtio_vsock *from_vdev(struct virtio_device *vdev)
{
	return container_of(vdev, struct virtio_vsock, vdev);
}

static void on_notify(struct virtio_device *vdev, unsigned int index)
{
	struct virtio_vsock *v = from_vdev(vdev);

	if (index == VSOCK_RX)
		receive_queue(v);
	else if (index == VSOCK_TX)
		transmit_queue(v);
	else
		vsock_event(vdev, &v->state);
}

/* --- device -------------------------------------------------------------------- */

static bool on_negotiate(struct virtio_device *vdev, uint64_t features)
{
	(void)vdev;
	/* Streams are all there is; who says they are not implied has to ask for them. */
	return !(features & VIRTIO_BIT(VSOCK_F_NO_IMPLIED_STREAM)) ||
	       features & VIRTIO_BIT(VSOCK_F_STREAM);
}

static void on_config_get(struct virtio_device *vdev, uint8_t *config)
{
	vsock_config(from_vdev(vdev)->cid, config);
}

static int on_start(struct virtio_device *vdev, struct error *err)
{
	struct virtio_vsock *v = from_vdev(vdev);

	return v->host->start ? v->host->start(v->opaque, err) : 0;
}

/* After a load, connections of the time before it would be half open. */
static void on_go(struct virtio_device *vdev)
{
	struct virtio_vsock *v = from_vdev(vdev);

	if (v->state.reset_due)
		vsock_close_all(v);
}

static void on_reset(struct virtio_device *vdev)
{
	struct virtio_vsock *v = from_vdev(vdev);

	vsock_close_all(v);
	v->state.reset_due = false;
}

static void on_destroy(struct virtio_device *vdev)
{
	struct virtio_vsock *v = from_vdev(vdev);

	virtio_device_fini(vdev);
	vsock_close_all(v);
	v->host->destroy(v->opaque);
	free(v);
}

static const struct virtio_device_ops vsock_ops = {
	.kind = "vsock",
	.id = VSOCK_ID,
	.config_size = VSOCK_CONFIG_SIZE,
	.state_size = sizeof(struct vsock_state),
	.negotiate = on_negotiate,
	.config_get = on_config_get,
	.start = on_start,
	.go = on_go,
	.notify = on_notify,
	.reset = on_reset,
	.transfer = vsock_transfer,
	.destroy = on_destroy,
};

struct virtio_vsock *virtio_vsock_create(const char *name, struct guest_memory *mem,
					 struct log *log, uint64_t cid,
					 const struct vsock_host_ops *host, void *opaque)
{
	const uint64_t features =
		VIRTIO_BIT(VSOCK_F_STREAM) | VIRTIO_BIT(VSOCK_F_NO_IMPLIED_STREAM);
	struct virtio_vsock *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	if (virtio_device_init(&v->vdev, &vsock_ops, name, mem, log, features, VSOCK_QUEUES,
			       VSOCK_QUEUE_MAX, 0, &v->state)) {
		free(v);
		return NULL;
	}
	v->host = host;
	v->opaque = opaque;
	v->cid = (uint32_t)cid;
	v->state.next_port = VSOCK_FIRST_PORT;
	v->armed = UINT64_MAX;
	return v;
}

struct virtio_device *virtio_vsock_device(struct virtio_vsock *vsock)
{
	return &vsock->vdev;
}
