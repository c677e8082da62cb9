/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Back ends of network devices: tap devices, sockets that carry frames, passt. Each
 * makes a struct net_backend for virtio_net_create().
 */
#ifndef LKVM_VIRTIO_NET_BACKEND_H
#define LKVM_VIRTIO_NET_BACKEND_H

#include "lkvm/loop.h"
#include "lkvm/virtio/net.h"

/* Frames on a socket have no header; this is the longest there. */
#define NET_SOCKET_FRAME_MAX 65535

/* --- frames in a stream ------------------------------------------------------------ */

/* Room for two of the longest frames, so that reading goes on behind a part of one. */
#define NET_STREAM_BUFFER (128 * 1024 + 1024)

/**
 * struct net_frames - frames cut out of a stream of bytes: four bytes of length, most
 * significant first, then so many bytes of frame
 * @head, @len: bytes that wait: buf[head] to buf[head + len]
 * @broken: a length that no frame has: there is no telling where the next one starts
 */
struct net_frames {
	size_t head, len;
	bool broken;
	uint8_t buf[NET_STREAM_BUFFER];
};

/**
 * net_frames_space() - where to put bytes that come; *@len how many fit, at least one
 *
 * Call only when net_frames_next() gave nothing.
 */
uint8_t *net_frames_space(struct net_frames *f, size_t *len);

/**
 * net_frames_filled() - @len bytes were put there
 */
void net_frames_filled(struct net_frames *f, size_t len);

/**
 * net_frames_next() - the next whole frame, valid until net_frames_space()
 *
 * Return: its length, 0 where it has not come yet, or -EPROTO where the stream is
 * broken.
 */
long net_frames_next(struct net_frames *f, const uint8_t **frame);

/* --- sockets -------------------------------------------------------------------------- */

/**
 * net_socket_open() - frames over a connected socket
 * @fd: SOCK_STREAM (each frame with its length, as passt and QEMU do it) or SOCK_DGRAM
 *      or SOCK_SEQPACKET (each message a frame). Belongs to the back end when this
 *      succeeds. Its flags are not changed.
 *
 * One pair, no header. The other side's end, or a broken stream, takes the carrier
 * away.
 *
 * Return: 0, or -1 with @err set.
 */
int net_socket_open(int fd, struct loop *loop, struct net_backend *backend, struct error *err);

/* --- tap ---------------------------------------------------------------------------------- */

/**
 * struct net_tap_config - which tap device
 * @name: of the interface; NULL: a new one
 * @pairs: pairs of queues
 * @mtu: of a new interface, 0: as the kernel makes it
 * @script: run with the interface's name when it is open, NULL: none
 * @downscript: the same when the VM ends
 * @host_ip: address of a new interface on the host, NULL: none
 */
struct net_tap_config {
	const char *name;
	unsigned int pairs;
	uint16_t mtu;
	const char *script, *downscript, *host_ip;
};

/**
 * net_tap_open() - open or make a tap device
 *
 * An interface that exists and belongs to the user needs no privilege; making one does.
 * A new one is taken up, unless a script is there to do it, and vanishes with the VM.
 *
 * Return: 0, or -1 with @err set.
 */
int net_tap_open(const struct net_tap_config *config, struct loop *loop, struct log *log,
		 struct net_backend *backend, struct error *err);

/**
 * net_tap_adopt() - a tap device that was opened before: @nr descriptors, one a queue
 *
 * Non-blocking mode and the header's size are set. They belong to the back end when
 * this succeeds.
 *
 * Return: 0; 1 where @fds[0] is no tap device; -1 with @err set.
 */
int net_tap_adopt(const int *fds, unsigned int nr, struct loop *loop, struct log *log,
		  struct net_backend *backend, struct error *err);

/* --- passt ---------------------------------------------------------------------------------- */

/**
 * struct net_user_config - how passt is started
 * @mtu: told to the guest by DHCP, 0: passt's own choice
 * @guest_ip, @host_ip: address of the guest and of its gateway, NULL: the host's own
 * @host_mac: the gateway's Ethernet address, NULL: passt's own choice
 * @reach_host: the gateway's address leads to the host itself, its loopback included
 * @publish: forwarded ports, "[HOSTADDR:]HOSTPORT:GUESTPORT[/udp]"; @nr_publish of them
 */
struct net_user_config {
	uint16_t mtu;
	const char *guest_ip, *host_ip, *host_mac;
	bool reach_host;
	const char *const *publish;
	size_t nr_publish;
};

/**
 * net_user_open() - user-mode networking by passt, which the start operation starts
 *
 * Return: 0, or -1 with @err set (a publish= that makes no sense, passt missing).
 */
int net_user_open(const struct net_user_config *config, struct loop *loop, struct log *log,
		  struct net_backend *backend, struct error *err);

#endif /* LKVM_VIRTIO_NET_BACKEND_H */
