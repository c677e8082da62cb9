/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The virtio network device, and the seam to what moves its frames: a tap device, a
 * socket, passt (include/lkvm/virtio/net_backend.h makes those).
 *
 * A frame is an Ethernet frame without its checksum. Where a back end says so, a
 * header of NET_HEADER bytes stands before it (virtio 1.2, 5.1.6: struct
 * virtio_net_hdr with num_buffers) that tells of checksums to be filled in and of
 * segments to be cut.
 *
 * Both directions are under the device's lock: "inside" below means that it is held.
 */
#ifndef LKVM_VIRTIO_NET_H
#define LKVM_VIRTIO_NET_H

#include "lkvm/virtio/kind.h"

#define NET_MAC 6
#define NET_HEADER 12

/* The shortest frame that is taken, and the longest: 64 KiB of IP behind two VLAN tags. */
#define NET_FRAME_MIN 14
#define NET_FRAME_MAX (NET_FRAME_MIN + 8 + 65535)

/* Pairs of queues (receive, transmit) of a device. */
#define NET_MAX_PAIRS 16

/* Ports of the host that a device may forward. */
#define VIRTIO_NET_MAX_PUBLISH 32

/* Entries of each queue; a frame to be sent is in at most so many pieces. */
#define NET_QUEUE_MAX 256

/* Feature bits (5.1.3). */
#define NET_F_CSUM 0
#define NET_F_GUEST_CSUM 1
#define NET_F_CTRL_GUEST_OFFLOADS 2
#define NET_F_MTU 3
#define NET_F_MAC 5
#define NET_F_GUEST_TSO4 7
#define NET_F_GUEST_TSO6 8
#define NET_F_GUEST_ECN 9
#define NET_F_GUEST_UFO 10
#define NET_F_HOST_TSO4 11
#define NET_F_HOST_TSO6 12
#define NET_F_HOST_ECN 13
#define NET_F_HOST_UFO 14
#define NET_F_MRG_RXBUF 15
#define NET_F_STATUS 16
#define NET_F_CTRL_VQ 17
#define NET_F_CTRL_RX 18
#define NET_F_CTRL_RX_EXTRA 20
#define NET_F_GUEST_ANNOUNCE 21
#define NET_F_MQ 22
#define NET_F_CTRL_MAC_ADDR 23
#define NET_F_GUEST_USO4 54
#define NET_F_GUEST_USO6 55
#define NET_F_HOST_USO 56
#define NET_F_RSC_EXT 61

/* What the guest can take in: the bits of VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET. */
#define NET_GUEST_OFFLOADS                                                                         \
	(VIRTIO_BIT(NET_F_GUEST_CSUM) | VIRTIO_BIT(NET_F_GUEST_TSO4) |                             \
	 VIRTIO_BIT(NET_F_GUEST_TSO6) | VIRTIO_BIT(NET_F_GUEST_ECN) |                              \
	 VIRTIO_BIT(NET_F_GUEST_UFO) | VIRTIO_BIT(NET_F_GUEST_USO4) |                              \
	 VIRTIO_BIT(NET_F_GUEST_USO6))

/* What the host can do for the guest. */
#define NET_HOST_OFFLOADS                                                                          \
	(VIRTIO_BIT(NET_F_CSUM) | VIRTIO_BIT(NET_F_HOST_TSO4) | VIRTIO_BIT(NET_F_HOST_TSO6) |      \
	 VIRTIO_BIT(NET_F_HOST_ECN) | VIRTIO_BIT(NET_F_HOST_UFO) | VIRTIO_BIT(NET_F_HOST_USO))

struct virtio_net;

/**
 * struct net_backend_ops - where frames come from and go to; what is NULL is not needed
 * @attach: @net is whom to tell; before anything else
 * @start: see virtio_device_ops.start; outside
 * @room: can a frame of any length be taken for @pair? Where not, virtio_net_writable()
 *        is called when that has changed. Inside.
 * @send: take one frame of @len bytes, header first where there is one: it is sent,
 *        kept, or dropped where the other side refuses it. Only after @room said yes.
 *        The first piece of @iov is not the guest's and holds header and addresses.
 *        Returns 0, or -errno where it was dropped. Inside.
 * @flush: no more frames for now: send what was kept. Inside.
 * @recv: lend the next frame, header first where there is one, until the next call for
 *        @pair. Returns its length; 0: there is none now; -errno: there will be none
 *        any more. Inside.
 * @poll: call virtio_net_readable() when a frame of @pair may be there, or don't.
 *        Called only where that changes. Inside; any thread, so the call may still
 *        come once.
 * @offloads: frames to the guest may make use of the offloads @bits (NET_GUEST_OFFLOADS)
 *            and of no others. Inside.
 * @pairs: the first @n pairs are in use. Inside.
 * @link: what the other side shall see of a link. Inside.
 * @tap: descriptor of @pair, for vhost-net, or -1
 * @close: release it; the loop's thread, or after the loop
 *
 * Nothing here ever waits.
 */
struct net_backend_ops {
	void (*attach)(void *opaque, struct virtio_net *net);
	int (*start)(void *opaque, struct error *err);
	bool (*room)(void *opaque, unsigned int pair);
	int (*send)(void *opaque, unsigned int pair, const struct iovec *iov, unsigned int nr,
		    size_t len);
	void (*flush)(void *opaque, unsigned int pair);
	long (*recv)(void *opaque, unsigned int pair, const uint8_t **frame);
	void (*poll)(void *opaque, unsigned int pair, bool on);
	void (*offloads)(void *opaque, uint64_t bits);
	void (*pairs)(void *opaque, unsigned int n);
	void (*link)(void *opaque, bool up);
	int (*tap)(void *opaque, unsigned int pair);
	void (*close)(void *opaque);
};

/**
 * struct net_backend - a back end, by value
 * @header: frames have a header before them
 * @offloads: of NET_GUEST_OFFLOADS and NET_HOST_OFFLOADS, what it can do; 0 without
 *            @header
 * @pairs: how many pairs of queues it has, 1 to NET_MAX_PAIRS
 */
struct net_backend {
	const struct net_backend_ops *ops;
	void *opaque;
	bool header;
	uint64_t offloads;
	unsigned int pairs;
};

/**
 * struct virtio_net_config - how a network device shall be
 * @mac: its address
 * @fixed: the address is the user's: the driver can't change it, and a loaded state
 *         must have it
 * @enforce: frames from another address than the device's present one are dropped
 * @mtu: what the driver is told, 68 to 65535; 0: nothing
 */
struct virtio_net_config {
	uint8_t mac[NET_MAC];
	bool fixed, enforce;
	uint16_t mtu;
};

/**
 * virtio_net_create() - a network device
 * @backend: belongs to the device when this succeeds
 *
 * Return: NULL with @err set.
 */
struct virtio_net *virtio_net_create(const char *name, struct guest_memory *mem, struct log *log,
				     const struct virtio_net_config *config,
				     const struct net_backend *backend, struct error *err);

/**
 * virtio_net_device() - for the transport, which owns it then
 */
struct virtio_device *virtio_net_device(struct virtio_net *net);

/**
 * virtio_net_use_vhost() - have the kernel serve the queues from DRIVER_OK on
 *
 * Right after virtio_net_create(), for a back end with a tap operation. @loop is the
 * VM's.
 *
 * Return: 0, or -1 with @err set: then the device works without.
 */
int virtio_net_use_vhost(struct virtio_net *net, struct loop *loop, struct error *err);

/**
 * virtio_net_set_link() - plug the cable in or out (any thread, outside)
 *
 * It begins plugged in. While it is out, frames of both directions are dropped.
 */
void virtio_net_set_link(struct virtio_net *net, bool up);

/**
 * virtio_net_trim() - @features without those that need others which are not among them
 */
uint64_t virtio_net_trim(uint64_t features);

/* --- for back ends, outside, on the loop's thread --------------------------------- */

/**
 * virtio_net_readable() - frames of @pair may be there
 * virtio_net_writable() - there is room for a frame again
 */
void virtio_net_readable(struct virtio_net *net, unsigned int pair);
void virtio_net_writable(struct virtio_net *net, unsigned int pair);

/**
 * virtio_net_carrier() - the other side is gone (or is back): the link is down whatever
 * virtio_net_set_link() says
 * @why: "passt ended with status 1", for the log; with @up false
 */
void virtio_net_carrier(struct virtio_net *net, bool up, const char *why);

/**
 * virtio_net_check_publish() - is @text a port to be forwarded, as publish= takes it?
 *
 * Return: 0, or -1 with @err set.
 */
int virtio_net_check_publish(const char *text, struct error *err);

/* -n/--network */
extern const struct virtio_kind virtio_net_kind;

#endif /* LKVM_VIRTIO_NET_H */
