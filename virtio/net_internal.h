/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the network device share: virtio/net.c (the device), net_data.c
 * (frames), net_ctrl.c (the control queue). Everything is inside the device's lock.
 */
#ifndef LKVM_VIRTIO_NET_INTERNAL_H
#define LKVM_VIRTIO_NET_INTERNAL_H

#include "lkvm/virtio/net.h"
#include "lkvm/virtio/vhost.h"

/* Addresses in each table of the receive filter; a longer table lets all in. */
#define NET_FILTER_MAX 64

/* Receive modes (VIRTIO_NET_CTRL_RX_*), as bits by their command number. */
#define NET_RX_PROMISC 0x01
#define NET_RX_ALLMULTI 0x02
#define NET_RX_ALLUNI 0x04
#define NET_RX_NOMULTI 0x08
#define NET_RX_NOUNI 0x10
#define NET_RX_NOBCAST 0x20
#define NET_RX_MODES 0x3f

/**
 * struct net_filter - one table of addresses
 * @overflow: the driver wanted more than fit: all are let in
 */
struct net_filter {
	uint8_t nr;
	bool overflow;
	uint8_t mac[NET_FILTER_MAX][NET_MAC];
};

/**
 * struct net_state - what is saved
 * @own: the address the device has after a reset; @mac: now
 * @up: the cable is in
 * @announce: the driver shall tell the network where it is, and did not say yet that it
 *            has
 * @modes: NET_RX_*
 * @pairs: in use
 * @offloads: what the driver takes in now
 * @loaded: this state came from a file; not itself saved
 */
struct net_state {
	uint8_t own[NET_MAC], mac[NET_MAC];
	bool up, announce;
	uint8_t modes;
	uint16_t pairs;
	uint64_t offloads;
	struct net_filter uni, multi;
	bool loaded;
};

/**
 * struct net_pair - one pair of queues
 * @readable: the back end may have frames for it
 * @polled: the back end is to say when that becomes true
 * @turned: a pass was made
 * @lingers: the driver is sending a stream: no need for it to notify; @kicks: how often
 *           it did since a frame was received
 * @frame, @len: the frame that waits for buffers, header first where there is one; lent
 *               by the back end. @len 0: none.
 */
struct net_pair {
	bool readable, polled, turned, lingers;
	unsigned int kicks;
	const uint8_t *frame;
	size_t len;
};

struct virtio_net {
	struct virtio_device vdev;
	struct net_backend backend;
	struct virtio_net_config config;
	struct net_state s;
	bool carrier; /* the back end's */
	bool was_up;  /* what the driver was told of both */
	bool told_up; /* what the back end was told of the cable */
	struct net_pair pair[NET_MAX_PAIRS];
	struct virtq_request *taken[NET_QUEUE_MAX]; /* by one frame */
	struct vhost vhost[NET_MAX_PAIRS];
	bool use_vhost;
	struct loop *loop; /* for vhost */
};

static inline struct virtio_net *to_net(struct virtio_device *vdev)
{
	return container_of(vdev, struct virtio_net, vdev);
}

/**
 * net_link_up() - can frames pass?
 */
static inline bool net_link_up(const struct virtio_net *net)
{
	return net->s.up && net->carrier;
}

/**
 * net_receive() / net_transmit() - a pass over a queue of @pair
 */
void net_receive(struct virtio_net *net, unsigned int pair);
void net_transmit(struct virtio_net *net, unsigned int pair);

/**
 * net_poll() - have the back end tell of frames, or not
 */
void net_poll(struct virtio_net *net, unsigned int pair, bool on);

/**
 * net_control() - a pass over the control queue @index
 */
void net_control(struct virtio_net *net, unsigned int index);

/**
 * net_accepts() - does the receive filter let a frame to the address at @to in?
 */
bool net_accepts(const struct virtio_net *net, const uint8_t *to);

/**
 * net_update() - something changed that decides which pairs run, and how
 */
void net_update(struct virtio_net *net);

/**
 * net_set_offloads() - the driver takes in @bits from now
 */
void net_set_offloads(struct virtio_net *net, uint64_t bits);

/* --- for back ends ------------------------------------------------------------------- */

/**
 * struct net_watch - a descriptor of a back end in the loop
 *
 * What it waits for is decided inside, on any thread; the loop's descriptors are its own
 * thread's. So a change is noted here and posted.
 *
 * @want: epoll events; @now: as the loop has it (its thread only)
 */
struct net_watch {
	struct loop *loop;
	struct virtio_device *vdev;
	int fd;
	uint32_t want, now;
	bool watched;
	struct loop_work work;
};

/**
 * net_watch_start() - let the loop know @fd, waiting for nothing yet (loop's thread)
 * @fn: called for events; errors and hang-ups come unasked. It must end that by
 *      net_watch_stop().
 *
 * Return: 0 or -errno.
 */
int net_watch_start(struct net_watch *w, struct loop *loop, struct virtio_device *vdev, int fd,
		    loop_fd_fn fn, void *opaque);

/**
 * net_watch_set() - wait for @events or not (inside)
 */
void net_watch_set(struct net_watch *w, uint32_t events, bool on);

/**
 * net_watch_stop() - forget it (loop's thread, or after the loop); may come twice, and
 * without net_watch_start() where *@w is zero
 */
void net_watch_stop(struct net_watch *w);

/**
 * struct net_socket_owner - who stands behind a socket (passt)
 * @start: in the start operation, when the socket is watched
 * @patience_ns: when the other side closes the socket, this is how long the owner has
 *               to say why (net_socket_end())
 * @close: with the back end's own
 */
struct net_socket_owner {
	int (*start)(void *opaque, struct virtio_net *net, struct error *err);
	uint64_t patience_ns;
	void (*close)(void *opaque);
};

/**
 * net_socket_own() - @owner stands behind the socket back end @backend
 */
void net_socket_own(const struct net_backend *backend, const struct net_socket_owner *owner,
		    void *opaque);

/**
 * net_socket_end() - it is over, because of @why (outside, loop's thread)
 */
void net_socket_end(const struct net_backend *backend, const char *why);

#endif /* LKVM_VIRTIO_NET_INTERNAL_H */
