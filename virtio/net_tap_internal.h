/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the two files of the tap back end share: virtio/net_tap.c (frames, queues, life)
 * and virtio/net_tap_open.c (opening, making, what the kernel can do).
 */
#ifndef LKVM_VIRTIO_NET_TAP_INTERNAL_H
#define LKVM_VIRTIO_NET_TAP_INTERNAL_H

#include "net_internal.h"

#include "lkvm/virtio/net_backend.h"

#include <net/if.h>

struct net_tap;

/**
 * struct tap_queue - one pair
 * @waits: bytes of a frame, in @out, that the kernel did not take yet
 * @blocked: somebody was told so
 * @in: the frame that was read; like @out where copies by whole words go fastest, as
 *      drivers' buffers begin at such places too
 */
struct tap_queue {
	struct net_tap *tap;
	unsigned int pair;
	int fd;
	bool attached;
	struct net_watch watch;
	size_t waits;
	bool blocked;
	_Alignas(64) uint8_t in[NET_HEADER + NET_FRAME_MAX];
	_Alignas(64) uint8_t out[NET_HEADER + NET_FRAME_MAX];
};

/**
 * struct net_tap - a tap device
 * @header: IFF_VNET_HDR
 * @gone: it was deleted on the host
 * @in_use: pairs
 */
struct net_tap {
	struct loop *loop;
	struct log *log;
	struct virtio_net *net;
	char name[IFNAMSIZ];
	char *script, *downscript;
	bool ran_script, header, gone;
	unsigned int nr, in_use;
	struct loop_work sync_work;
	struct tap_queue *queues;
};

/**
 * net_tap_new() - one of @nr queues that are not open yet, or NULL
 * net_tap_free() - and its memory; descriptors are the caller's business
 */
struct net_tap *net_tap_new(unsigned int nr, struct loop *loop, struct log *log);
void net_tap_free(struct net_tap *tap);

/**
 * net_tap_set_offloads() - TUNSETOFFLOAD for feature bits; 0 or -errno
 */
int net_tap_set_offloads(const struct net_tap *tap, uint64_t bits);

/* What frames go through once it is open. */
extern const struct net_backend_ops net_tap_ops;

#endif /* LKVM_VIRTIO_NET_TAP_INTERNAL_H */
