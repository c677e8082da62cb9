// SPDX-License-Identifier: GPL-2.0-only
/*
 * Frames through a network device: virtio 1.2 and 1.3, sections 5.1.6.2 (transmission)
 * to 5.1.6.4 (receive).
 *
 * Sending. A request is a header and a frame, cut into descriptors in any way. Header
 * and addresses (the first 26 bytes) are copied once and checked; the back end gets
 * that copy and, behind it, the rest where it lies in guest memory, which it takes in
 * or copies before it returns. So a request is done when it was looked at: nothing is
 * ever in flight. What makes use of an offload that was not negotiated, is too short
 * or too long, comes from a foreign address where that matters, or meets a link that
 * is down, is dropped and given back like the others. When the back end has no room,
 * requests stay in the ring until it has.
 *
 * Streams. The first frame goes at once, on the thread that notified. Where frame
 * follows frame with nothing coming back, each at the price of an exit, the device
 * lingers: it leaves notifications off and looks again by itself, on the loop's thread,
 * until it finds nothing new. So a question and its answer are quick, and a stream
 * costs few exits and goes to the back end in batches.
 *
 * Receiving. The back end lends a frame; it is copied into as many requests as it
 * fills (one, where mergeable buffers were not negotiated). Where there are not enough
 * requests, those taken are put back, the frame waits, and nothing more is read until
 * the driver notifies: then the other side's queue fills up, and it drops. A frame that
 * would not even fit into a full ring is dropped, so that small buffers can't stop a
 * queue for good.
 *
 * What a frame from the host may ask of the driver is what the driver said it takes in.
 * Frames that ask for more were queued before it said so, and are dropped; so are those
 * that are longer than the MTU the driver was told (5.1.4.1).
 *
 * Thread and lock: the virtio device's. Sending happens on the thread that notified
 * (the loop's after waiting for room), receiving on the loop's, or on the one that
 * notified where frames were waiting. What is saved: nothing; a frame that waits is
 * lost, as frames may be.
 */
#include "net_internal.h"

#include <endian.h>
#include <string.h>

#define HDR_F_NEEDS_CSUM 1
#define HDR_F_DATA_VALID 2

#define HDR_GSO_NONE 0
#define HDR_GSO_TCPV4 1
#define HDR_GSO_UDP 3
#define HDR_GSO_TCPV6 4
#define HDR_GSO_UDP_L4 5
#define HDR_GSO_ECN 0x80

/* The destination and the source at the start of a frame. */
#define TO 0
#define FROM NET_MAC

/* Between them and the type. */
#define VLAN_TAG 4

/* Notifications without a frame in the other direction between them: a stream. */
#define KICKS_OF_A_STREAM 2

/* Frames thrown away in one pass; then others have their turn. */
#define DROPS_PER_PASS 256

/* As in guest memory; little-endian. */
struct net_header {
	uint8_t flags, gso;
	uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};
_Static_assert(sizeof(struct net_header) == NET_HEADER, "as the specification has it");

/**
 * struct net_head - what of a frame to be sent is copied and checked
 */
struct net_head {
	struct net_header header;
	uint8_t addresses[NET_FRAME_MIN];
};

/* --- sending ---------------------------------------------------------------------- */

/* May a frame that is cut like this be sent with the features there are? */
static bool gso_negotiated(const struct virtio_device *vdev, uint8_t gso)
{
	if (gso & HDR_GSO_ECN && !virtio_has(vdev, NET_F_HOST_ECN))
		return false;
	switch (gso & ~HDR_GSO_ECN) {
	case HDR_GSO_NONE:
		return true;
	case HDR_GSO_TCPV4:
		return virtio_has(vdev, NET_F_HOST_TSO4);
	case HDR_GSO_TCPV6:
		return virtio_has(vdev, NET_F_HOST_TSO6);
	case HDR_GSO_UDP:
		return virtio_has(vdev, NET_F_HOST_UFO);
	case HDR_GSO_UDP_L4:
		return virtio_has(vdev, NET_F_HOST_USO);
	default:
		return false;
	}
}

static bool check_head(struct virtio_net *net, struct net_head *head)
{
	struct virtio_device *vdev = &net->vdev;

	/* Flags that are not known are to be ignored (5.1.6.2.1), not passed on. */
	head->header.flags &= HDR_F_NEEDS_CSUM;
	head->header.num_buffers = 0;
	if ((head->header.flags & HDR_F_NEEDS_CSUM && !virtio_has(vdev, NET_F_CSUM)) ||
	    !gso_negotiated(vdev, head->header.gso)) {
		virtio_complain(vdev, "a frame wants an offload that was not negotiated; dropped");
		return false;
	}
	if (net->config.enforce && memcmp(head->addresses + FROM, net->s.mac, NET_MAC)) {
		virtio_complain(vdev, "a frame comes from an address that is not the device's; "
				      "dropped (spoof=on lets it pass)");
		return false;
	}
	return true;
}

static void send_frame(struct virtio_net *net, unsigned int pair, struct virtq_request *req)
{
	struct virtq_cursor c = virtq_reader(req);
	struct iovec iov[1 + NET_QUEUE_MAX];
	struct net_head head;
	size_t len = req->readable, mapped;
	unsigned int nr;

	if (len < sizeof(head) || len > NET_HEADER + NET_FRAME_MAX) {
		virtio_complain(&net->vdev, "a frame of %zu bytes with its header; dropped", len);
		return;
	}
	virtq_read(&c, &head, sizeof(head));
	if (!net_link_up(net) || !check_head(net, &head))
		return;
	iov[0] = (struct iovec){&head, sizeof(head)};
	if (!net->backend.header) {
		iov[0] = (struct iovec){head.addresses, sizeof(head.addresses)};
		len -= NET_HEADER;
	}
	nr = 1 + virtq_map(&c, c.left, iov + 1, NET_QUEUE_MAX, &mapped);
	/* A chain has no more pieces than the queue has entries. */
	if (mapped == c.left)
		net->backend.ops->send(net->backend.opaque, pair, iov, nr, len);
}

static bool has_room(struct virtio_net *net, unsigned int pair)
{
	/* Where the link is down there is room for all. */
	return !net_link_up(net) || net->backend.ops->room(net->backend.opaque, pair);
}

enum ending { ASLEEP, LINGERS, BLOCKED };

/* Send what is there. While lingering, not even an empty queue asks for notifications. */
static enum ending send_frames(struct virtio_net *net, unsigned int pair, bool linger)
{
	struct virtq *q = virtio_queue(&net->vdev, 2 * pair + 1);
	bool any = false;

	for (;;) {
		struct virtq_request *req;

		if (!has_room(net, pair))
			return BLOCKED;
		if (linger && !virtq_waiting(q)) {
			if (any)
				return LINGERS;
			/* Nothing came in the meantime: the stream is over. */
			linger = false;
		}
		req = virtq_pop(q);
		if (!req)
			return linger && virtq_more(q) ? LINGERS : ASLEEP;
		send_frame(net, pair, req);
		virtio_complete(&net->vdev, req);
		any = true;
	}
}

void net_transmit(struct virtio_net *net, unsigned int pair)
{
	struct net_pair *p = &net->pair[pair];

	if (!p->lingers && ++p->kicks >= KICKS_OF_A_STREAM)
		p->lingers = true;
	switch (send_frames(net, pair, p->lingers)) {
	case LINGERS:
		virtq_linger(virtio_queue(&net->vdev, 2 * pair + 1));
		break;
	case ASLEEP:
		if (p->lingers)
			p->kicks = 0;
		p->lingers = false;
		break;
	case BLOCKED:
		/* The back end wakes us; until then the driver need not notify either. */
		break;
	}
	if (net->backend.ops->flush && net_link_up(net))
		net->backend.ops->flush(net->backend.opaque, pair);
}

/* --- receiving ---------------------------------------------------------------------- */

void net_poll(struct virtio_net *net, unsigned int pair, bool on)
{
	struct net_pair *p = &net->pair[pair];

	if (p->polled == on)
		return;
	p->polled = on;
	net->backend.ops->poll(net->backend.opaque, pair, on);
}

/* May the driver be given a frame with this header? What it need not know is cleared. */
static bool driver_takes(const struct virtio_net *net, struct net_header *h)
{
	uint64_t on = net->s.offloads, needed = 0;

	h->flags &= HDR_F_NEEDS_CSUM | HDR_F_DATA_VALID;
	if (!(on & VIRTIO_BIT(NET_F_GUEST_CSUM)))
		h->flags &= ~HDR_F_DATA_VALID;
	if (h->flags & HDR_F_NEEDS_CSUM)
		needed |= VIRTIO_BIT(NET_F_GUEST_CSUM);
	if (h->gso & HDR_GSO_ECN)
		needed |= VIRTIO_BIT(NET_F_GUEST_ECN);
	switch (h->gso & ~HDR_GSO_ECN) {
	case HDR_GSO_NONE:
		break;
	case HDR_GSO_TCPV4:
		needed |= VIRTIO_BIT(NET_F_GUEST_TSO4);
		break;
	case HDR_GSO_TCPV6:
		needed |= VIRTIO_BIT(NET_F_GUEST_TSO6);
		break;
	case HDR_GSO_UDP:
		needed |= VIRTIO_BIT(NET_F_GUEST_UFO);
		break;
	case HDR_GSO_UDP_L4:
		/* Which IP it is stands in the frame; drivers take both or none. */
		needed |= VIRTIO_BIT(NET_F_GUEST_USO4) | VIRTIO_BIT(NET_F_GUEST_USO6);
		break;
	default:
		return false;
	}
	return !(needed & ~on);
}

/* Not longer than the driver was told, by MTU? Up to two VLAN tags are no payload. */
static bool fits_mtu(const struct virtio_net *net, const struct net_header *h, const uint8_t *frame,
		     size_t len)
{
	size_t type = NET_FRAME_MIN - 2, end = type + 2 * VLAN_TAG;

	if (!virtio_has(&net->vdev, NET_F_MTU) || h->gso & ~HDR_GSO_ECN)
		return true;
	while (type < end && type + VLAN_TAG < len &&
	       ((frame[type] == 0x81 && !frame[type + 1]) ||
		(frame[type] == 0x88 && frame[type + 1] == 0xa8)))
		type += VLAN_TAG;
	return len <= type + 2 + net->config.mtu;
}

/* The frame that waits, taken apart. False: it is not for the driver. */
static bool open_frame(struct virtio_net *net, const struct net_pair *p, struct net_header *h,
		       const uint8_t **frame, size_t *len)
{
	size_t header = net->backend.header ? NET_HEADER : 0;

	if (p->len < header + NET_FRAME_MIN || p->len > header + NET_FRAME_MAX)
		return false;
	memset(h, 0, sizeof(*h));
	memcpy(h, p->frame, header);
	*frame = p->frame + header;
	*len = p->len - header;
	return net_link_up(net) && driver_takes(net, h) && fits_mtu(net, h, *frame, *len) &&
	       net_accepts(net, *frame + TO);
}

static void put_back(struct virtio_net *net, struct virtq *q, unsigned int nr)
{
	bool more = virtq_more(q);

	while (nr)
		virtq_put_back(q, net->taken[--nr], 0, more);
}

/*
 * Take requests that hold @need bytes. How many; 0: there are not enough now; -1: there
 * never will be.
 */
static int take_buffers(struct virtio_net *net, struct virtq *q, unsigned int index, size_t need)
{
	unsigned int nr = 0, max = virtio_queue_layout(&net->vdev, index)->num;
	size_t have = 0;

	if (!virtio_has(&net->vdev, NET_F_MRG_RXBUF))
		max = 1;
	while (have < need && nr < max && nr < NET_QUEUE_MAX) {
		struct virtq_request *req = virtq_pop(q);

		if (!req) {
			put_back(net, q, nr);
			return 0;
		}
		if (!nr && req->writable < NET_HEADER) {
			/* Else it would be in the way for ever. */
			virtio_complain(&net->vdev, "a buffer of %u bytes holds no header",
					req->writable);
			virtio_complete(&net->vdev, req);
			continue;
		}
		have += req->writable;
		net->taken[nr++] = req;
	}
	if (have >= need)
		return (int)nr;
	virtio_complain(&net->vdev, "%u buffers hold %zu bytes and a frame has %zu; dropped", nr,
			have, need);
	put_back(net, q, nr);
	return -1;
}

static void fill_buffers(struct virtio_net *net, unsigned int nr, const struct net_header *h,
			 const uint8_t *frame, size_t len)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		struct virtq_cursor c = virtq_writer(net->taken[i]);
		size_t n;

		if (!i)
			virtq_write(&c, h, sizeof(*h));
		n = virtq_write(&c, frame, len);
		frame += n;
		len -= n;
		virtio_complete(&net->vdev, net->taken[i]);
	}
}

enum outcome { DELIVERED, DROPPED, WAITS };

static enum outcome deliver(struct virtio_net *net, unsigned int pair)
{
	struct net_pair *p = &net->pair[pair];
	struct net_header h;
	const uint8_t *frame;
	size_t len;
	int nr;

	if (!open_frame(net, p, &h, &frame, &len))
		return DROPPED;
	nr = take_buffers(net, virtio_queue(&net->vdev, 2 * pair), 2 * pair, sizeof(h) + len);
	if (nr <= 0)
		return nr ? DROPPED : WAITS;
	h.num_buffers = htole16((uint16_t)nr);
	fill_buffers(net, (unsigned int)nr, &h, frame, len);
	return DELIVERED;
}

/* Is there a frame for this pair? */
static bool next_frame(struct virtio_net *net, unsigned int pair)
{
	struct net_pair *p = &net->pair[pair];
	long n;

	if (p->len)
		return true;
	if (!p->readable)
		return false;
	n = net->backend.ops->recv(net->backend.opaque, pair, &p->frame);
	if (n <= 0)
		p->readable = false;
	else
		p->len = (size_t)n;
	return n > 0;
}

void net_receive(struct virtio_net *net, unsigned int pair)
{
	unsigned int drops = 0;

	while (next_frame(net, pair)) {
		enum outcome outcome = deliver(net, pair);

		if (outcome == WAITS) {
			/* Also where the pass is over: then the core comes back. */
			net_poll(net, pair, false);
			return;
		}
		net->pair[pair].len = 0;
		if (outcome == DELIVERED)
			net->pair[pair].kicks = 0;
		/* The back end is level triggered: it says once more that there are some. */
		if (outcome == DROPPED && ++drops == DROPS_PER_PASS)
			break;
	}
	net_poll(net, pair, true);
}
