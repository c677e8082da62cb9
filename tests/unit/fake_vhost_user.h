/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A vhost-user back end for tests: a thread at the other end of a socket pair, which
 * speaks the protocol by itself (nothing of virtio/ is used for it), maps guest memory a
 * second time, and serves split rings.
 *
 * What it serves: every byte of a request's writable part becomes the sum of its readable
 * part's bytes plus one.
 *
 * It misbehaves on order: at one request, in one way. What it was told is read by the
 * test after fake_vu_stop(), or under fake_vu_lock().
 */
#ifndef LKVM_TESTS_FAKE_VHOST_USER_H
#define LKVM_TESTS_FAKE_VHOST_USER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAKE_VU_REQUESTS 48
#define FAKE_VU_RINGS 8
#define FAKE_VU_REGIONS 8

/* Request numbers of the protocol. */
enum {
	VU_GET_FEATURES = 1,
	VU_SET_FEATURES = 2,
	VU_SET_OWNER = 3,
	VU_SET_MEM_TABLE = 5,
	VU_SET_VRING_NUM = 8,
	VU_SET_VRING_ADDR = 9,
	VU_SET_VRING_BASE = 10,
	VU_GET_VRING_BASE = 11,
	VU_SET_VRING_KICK = 12,
	VU_SET_VRING_CALL = 13,
	VU_SET_VRING_ERR = 14,
	VU_GET_PROTOCOL_FEATURES = 15,
	VU_SET_PROTOCOL_FEATURES = 16,
	VU_GET_QUEUE_NUM = 17,
	VU_SET_VRING_ENABLE = 18,
	VU_SEND_RARP = 19,
	VU_SET_BACKEND_REQ_FD = 21,
	VU_GET_CONFIG = 24,
	VU_SET_CONFIG = 25,
	VU_RESET_DEVICE = 34,
	VU_SET_DEVICE_STATE_FD = 42,
	VU_CHECK_DEVICE_STATE = 43,
};

#define VU_F_PROTOCOL (UINT64_C(1) << 30)

/* Ways to misbehave. */
enum fake_vu_way {
	FAKE_GOOD,
	FAKE_SILENT,	   /* no answer */
	FAKE_CLOSE,	   /* hang up instead */
	FAKE_HALF_HEADER,  /* five bytes, and nothing more */
	FAKE_HALF_PAYLOAD, /* all but the last byte, then hang up */
	FAKE_WRONG_REQUEST,
	FAKE_WRONG_VERSION,
	FAKE_NO_REPLY_FLAG,
	FAKE_EMPTY,	 /* no payload */
	FAKE_SHORT,	 /* four bytes fewer */
	FAKE_LONG,	 /* four bytes more */
	FAKE_HUGE,	 /* says 4 GiB */
	FAKE_ONE_FD,	 /* a descriptor beside the answer */
	FAKE_MANY_FDS,	 /* forty of them */
	FAKE_TWICE,	 /* the answer comes twice */
	FAKE_ALL_ONES,	 /* each byte of the payload is 0xff */
	FAKE_ALL_ZEROES, /* … 0 */
	FAKE_WAYS,
};

struct fake_vu_ring {
	uint32_t num;
	uint16_t base, last;
	uint64_t desc, avail, used; /* as told */
	int kick, call, err;
	bool enabled, started;
	unsigned int served, starts;
};

struct fake_vu {
	/* Set before fake_vu_start(). */
	uint64_t features, protocol, queues;
	uint8_t config[256];
	uint32_t config_len;
	const char *state; /* what it gives as its own */
	size_t state_len;
	bool hold_state; /* neither give nor take any more of it, and hold the line */
	uint32_t bad_request;
	enum fake_vu_way way;
	unsigned int bad_after; /* so many good ones first */
	unsigned int bad_times; /* so often; 0: from then on always */
	bool ask_first;		/* asks on its channel before it answers GET_CONFIG */
	unsigned int slow_used; /* ms between stopping and giving back the last requests */
	unsigned int slow_ms;	/* before each answer */
	bool restless;		/* says after each GET_CONFIG that it changed again */
	bool drop_call;		/* lets go of "call" when it stops a ring */

	/* What happened. */
	unsigned int seen[FAKE_VU_REQUESTS];
	uint64_t driver_features, driver_protocol;
	unsigned int nr_regions;
	struct {
		uint64_t gpa, size, user, offset;
		uint8_t *map;
	} regions[FAKE_VU_REGIONS];
	struct fake_vu_ring rings[FAKE_VU_RINGS];
	char got_state[4096];
	size_t got_state_len;
	uint8_t written[256]; /* by SET_CONFIG */
	uint8_t announced[8]; /* by SEND_RARP */
	unsigned int resets, faults;
	bool hung_up; /* the front end closed the connection */

	/* private */
	int fd, channel, stop, held;
	pthread_t thread;
	pthread_mutex_t lock;
	bool running;
};

/**
 * fake_vu_init() - a well-behaved back end with all features that lkvm uses
 */
void fake_vu_init(struct fake_vu *f);

/**
 * fake_vu_start() - let it run; returns the front end's end of the connection
 */
int fake_vu_start(struct fake_vu *f);

/**
 * fake_vu_serve() - let it run on the listening socket @fd: it takes one connection
 */
void fake_vu_serve(struct fake_vu *f, int fd);

/**
 * fake_vu_stop() - end it: it hangs up where it has not
 */
void fake_vu_stop(struct fake_vu *f);

void fake_vu_lock(struct fake_vu *f);
void fake_vu_unlock(struct fake_vu *f);

/**
 * fake_vu_ask() - a request of its own on its channel; @fds descriptors come with it
 */
void fake_vu_ask(struct fake_vu *f, uint32_t request, uint32_t flags, const void *payload,
		 uint32_t size, unsigned int fds);

#endif /* LKVM_TESTS_FAKE_VHOST_USER_H */
