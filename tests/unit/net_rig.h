/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A network device for tests: a driver on one side, a back end on the other that keeps
 * what it was given and gives what the test put there.
 */
#ifndef LKVM_TESTS_NET_RIG_H
#define LKVM_TESTS_NET_RIG_H

#include "virtio_driver.h"

#include "lkvm/virtio/mmio.h"
#include "lkvm/virtio/net.h"

#define RIG_NUM 64
#define RIG_PAIRS 4
#define RIG_RINGS (2 * RIG_PAIRS + 1)

/* Where the test puts what; each ring has 64 KiB for its buffers. */
#define RIG_HEAD (DRV_RAM + 0x100000)
#define RIG_TX (DRV_RAM + 0x200000)
#define RIG_RX (DRV_RAM + DRV_BANK)
#define RIG_RX_SIZE 0x80000

#define RIG_FRAMES 64

struct rig_frame {
	unsigned int pair;
	size_t len;
	uint8_t bytes[NET_HEADER + NET_FRAME_MAX];
};

/**
 * struct fake_net - the back end
 * @in: frames for the guest: in[in_head] to in[in_tail - 1], by pair
 * @out: the last frames from it; @nr_out: how many there were
 * @no_room: take nothing
 * @polled: what the device asked for
 * @recvs: calls; @first_in_ram: a first piece lay in guest memory
 */
struct fake_net {
	struct guest_memory *mem;
	struct virtio_net *net;
	unsigned int in_head, in_tail, nr_out;
	struct rig_frame *in, *out;
	bool no_room, polled[NET_MAX_PAIRS], link, first_in_ram;
	unsigned int polls, recvs, flushes, links, pairs, closes;
	uint64_t offloads;
	int send_answer;
	long recv_answer;
};

struct net_rig {
	struct guest_memory mem;
	struct drv drv;
	struct fake_net fake;
	struct virtio_net *net;
	struct virtio_mmio *mmio;
	struct drv_ring ring[RIG_RINGS];
	unsigned int nr_pairs, ctrl;
	uint64_t features;
	unsigned int soon;
	struct log log;
	int log_fd;
	bool real;
};

/* 02:00:00:00:00:01 */
extern const struct virtio_net_config net_rig_config;

/**
 * net_rig_create() - a device; @pairs up to RIG_PAIRS, @header: with all offloads
 */
void net_rig_create(struct net_rig *rig, const struct virtio_net_config *config, unsigned int pairs,
		    bool header);

/**
 * net_rig_prepare() - memory and log, for a back end that is no fake
 * net_rig_over() - the device over it
 */
void net_rig_prepare(struct net_rig *rig);
void net_rig_over(struct net_rig *rig, const struct virtio_net_config *config,
		  struct net_backend backend);

/**
 * net_rig_go() - reset, take @features (and VERSION_1), set up all queues, DRIVER_OK
 */
void net_rig_go(struct net_rig *rig, uint64_t features);

/* Both, with one pair and no header. */
void net_rig_start(struct net_rig *rig, uint64_t features);

void net_rig_stop(struct net_rig *rig);

/**
 * net_rig_send() - have the driver send a header and @len bytes from RIG_TX, and notify
 *
 * Return: was it given back?
 */
bool net_rig_send(struct net_rig *rig, unsigned int pair, const uint8_t header[NET_HEADER],
		  size_t len);

/* What the device wanted done by the loop's thread. */
void net_rig_run(struct net_rig *rig);

/* A frame of @len bytes at RIG_TX: addresses, type, numbered bytes from @seed on. */
uint8_t *net_rig_frame(struct net_rig *rig, size_t len, uint8_t seed);

/**
 * net_rig_buffers() - offer @nr receive buffers of @size bytes, and notify
 */
void net_rig_buffers(struct net_rig *rig, unsigned int pair, unsigned int nr, uint32_t size);

/**
 * net_rig_arrives() - a frame (with its header, where there is one) reaches the back end
 */
void net_rig_arrives(struct net_rig *rig, unsigned int pair, const void *bytes, size_t len);

/* A frame of @len bytes in @bytes, to the device's address. */
void net_rig_make(uint8_t *bytes, size_t len, uint8_t seed);

/**
 * net_rig_received() - the next received frame into @bytes, header first
 *
 * Return: its length with the header, 0 where there is none. @nr (not NULL) says how
 * many buffers it filled.
 */
size_t net_rig_received(struct net_rig *rig, unsigned int pair, uint8_t *bytes, unsigned int *nr);

/**
 * net_rig_command() - a command to the control queue; its answer, or -1 where none came
 */
int net_rig_command(struct net_rig *rig, uint8_t class, uint8_t command, const void *data,
		    size_t len);

/* Lines in the log that hold @text. */
unsigned int net_rig_logged(struct net_rig *rig, const char *text);

#endif /* LKVM_TESTS_NET_RIG_H */
