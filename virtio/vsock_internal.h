/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the parts of the socket device share: virtio/vsock.c (queues and packets),
 * virtio/vsock_conn.c (connections), virtio/vsock_flow.c (their packets and data),
 * virtio/vsock_vhost.c (the kernel's form), virtio/vsock_unix.c (unix sockets),
 * virtio/vsock_ready.c (the guest's word that it is ready).
 */
#ifndef LKVM_VSOCK_INTERNAL_H
#define LKVM_VSOCK_INTERNAL_H

#include "lkvm/virtio/vsock.h"

/* Virtio 1.2, section 5.10. */
#define VSOCK_ID 19
#define VSOCK_F_STREAM 0
#define VSOCK_F_SEQPACKET 1
#define VSOCK_F_NO_IMPLIED_STREAM 2 /* virtio 1.3 */

#define VSOCK_QUEUE_MAX 256
#define VSOCK_CONFIG_SIZE 8

enum { VSOCK_RX, VSOCK_TX, VSOCK_EVENT, VSOCK_QUEUES };

#define VSOCK_TYPE_STREAM 1

enum {
	VSOCK_OP_REQUEST = 1,
	VSOCK_OP_RESPONSE = 2,
	VSOCK_OP_RST = 3,
	VSOCK_OP_SHUTDOWN = 4,
	VSOCK_OP_RW = 5,
	VSOCK_OP_CREDIT_UPDATE = 6,
	VSOCK_OP_CREDIT_REQUEST = 7,
};

#define VSOCK_SHUT_BOTH (VSOCK_SHUT_RECEIVE | VSOCK_SHUT_SEND)

/* Bytes of a packet's header. */
#define VSOCK_HEADER 44

/* The largest payload that is sent, whatever the buffer holds; what Linux sends too. */
#define VSOCK_MAX_PAYLOAD (64 * KIB)

/* Resets for what is no connection of ours, until the guest has buffers for them. */
#define VSOCK_MAX_STRAYS 128

#define VSOCK_BUCKETS 64

/**
 * struct vsock_packet - a header, in the host's byte order
 */
struct vsock_packet {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
};

/**
 * struct vsock_state - what is saved
 * @next_port: the host's next port for virtio_vsock_open()
 * @reset_due: not saved: the state was loaded, and the guest is to be told
 */
struct vsock_state {
	uint32_t next_port;
	bool reset_due;
};

enum vsock_conn_state {
	CONN_CONNECTING, /* the guest asked; the host's end is not there yet */
	CONN_REQUESTED,	 /* the host asked; the guest did not answer yet */
	CONN_OPEN,
	CONN_CLOSING,  /* the guest was told that all is over; its reset is awaited */
	CONN_DRAINING, /* the guest is done; what it sent still goes to the host */
	CONN_DEAD,     /* a reset waits for a buffer; nothing else is left */
};

/* Packets that are due, besides data. */
#define WANT_REQUEST 1
#define WANT_RESPONSE 2
#define WANT_UPDATE 4
#define WANT_CREDIT 8
#define WANT_SHUTDOWN 16

/**
 * struct vsock_conn - one connection
 * @next: in its bucket
 * @after, @before: among those that have something for the guest, where @queued
 * @stream: the host's; NULL from CONN_CLOSING on
 * @want: WANT_* bits
 * @readable: the stream may have bytes; @ending, @gone: as VSOCK_ENDING, VSOCK_GONE
 * @asked: the guest was asked for credit since it last gave some
 * @ended: the stream's writing side was shut down, because the guest's was
 * @guest_shut, @host_shut: VSOCK_SHUT_*, what either side said
 * @rx_cnt: bytes the guest sent; @fwd_cnt: of these, taken by the host; @fwd_told: as
 *          the guest knows it
 * @tx_cnt: bytes sent to the guest; @peer_alloc, @peer_fwd: its buffer and what it took
 * @buf: a ring of VSOCK_BUFFER bytes that the host did not take yet, or NULL; @head: its
 *       first byte; @used: bytes in it
 * @deadline: ns; 0: none
 */
struct vsock_conn {
	struct virtio_vsock *vsock;
	struct vsock_conn *next, *after, *before;
	void *stream;
	uint32_t host_port, guest_port;
	enum vsock_conn_state state;
	uint8_t want, guest_shut, host_shut;
	bool queued, readable, ending, gone, asked, ended;
	uint32_t rx_cnt, fwd_cnt, fwd_told;
	uint32_t tx_cnt, peer_alloc, peer_fwd;
	uint8_t *buf;
	uint32_t head, used;
	uint64_t deadline;
};

/**
 * struct vsock_stray - a packet that gets a reset and belongs to no connection
 */
struct vsock_stray {
	uint32_t cid, host_port, guest_port;
	uint16_t type;
};

/**
 * struct virtio_vsock - the user-space device
 * @first, @last: connections that have something for the guest
 * @strays, @stray, @nr_strays: a ring and its first entry
 * @filling: receive buffers are being filled
 * @stalled: packets of the guest wait until there is room for more strays
 * @armed: the earliest deadline the host's side knows; UINT64_MAX: none
 */
struct virtio_vsock {
	struct virtio_device vdev;
	const struct vsock_host_ops *host;
	void *opaque;
	uint32_t cid;
	struct vsock_state state;
	struct vsock_conn *buckets[VSOCK_BUCKETS];
	unsigned int nr_conns;
	struct vsock_conn *first, *last;
	struct vsock_stray strays[VSOCK_MAX_STRAYS];
	unsigned int stray, nr_strays;
	bool filling, stalled;
	uint64_t armed;
};

/* What a packet from the guest does; @payload stands behind the header. */
void vsock_packet_in(struct virtio_vsock *v, const struct vsock_packet *p,
		     struct virtq_cursor *payload);

/* One packet of the first connection that has one. @req holds a header at least. */
void vsock_packet_out(struct virtio_vsock *v, struct virtq_request *req);

/* Write @p and count @p->len bytes behind it, which are there already. */
void vsock_put(struct virtq_request *req, const struct vsock_packet *p);

/* The packet @p gets a reset as its answer; there is room for it. */
void vsock_stray(struct virtio_vsock *v, const struct vsock_packet *p);

/* Close everything, without a word to the guest. */
void vsock_close_all(struct virtio_vsock *v);

/* --- connections ----------------------------------------------------------------------- */

/* The one of these ports; NULL: there is none. A new one, or NULL: there are too many. */
struct vsock_conn *vsock_find(struct virtio_vsock *v, uint32_t host_port, uint32_t guest_port);
struct vsock_conn *vsock_make(struct virtio_vsock *v, uint32_t host_port, uint32_t guest_port,
			      enum vsock_conn_state state);

/* Give up the buffer; the stream with it; the connection with both. */
void vsock_free_buffer(struct vsock_conn *conn);
void vsock_close_stream(struct vsock_conn *conn);
void vsock_forget(struct vsock_conn *conn);

/* The state has to change within @ns. */
void vsock_set_deadline(struct vsock_conn *conn, uint64_t ns);

/* Room for data that the guest has announced and not used. */
uint32_t vsock_credit(const struct vsock_conn *conn);

/* Would data from the stream be for the guest? */
bool vsock_may_read(const struct vsock_conn *conn);

/* Queue up, where there is something for the guest; leave the queue. */
void vsock_update(struct vsock_conn *conn);
void vsock_unqueue(struct vsock_conn *conn);

/* It ends by a reset. */
void vsock_kill(struct vsock_conn *conn);

/* The guest is to hear that the host will not do @flags any more. */
void vsock_host_stops(struct vsock_conn *conn, uint8_t flags);

/*
 * The guest's shutdown takes effect when all it sent before is with the host. @conn may
 * be gone when this returns.
 */
void vsock_settle(struct vsock_conn *conn);

/* The stream takes bytes again, or never: @conn may be gone when this returns. */
void vsock_send_buffer(struct vsock_conn *conn);

/* --- what both forms of the device do ------------------------------------------------ */

/* The configuration space; the state; an event buffer, for a reset that is due. */
void vsock_config(uint64_t cid, uint8_t *config);
void vsock_transfer(struct virtio_device *vdev, struct xfer *x, void *state);
void vsock_event(struct virtio_device *vdev, struct vsock_state *state);

/**
 * vsock_ready_start() - from now on (loop's thread)
 * @path: the host's port P is the socket @path_P; NULL: P of AF_VSOCK. NULL for @ready is allowed
 *
 * Return: 0, or -1 with @err set.
 */
int vsock_ready_start(struct vsock_ready *ready, const char *path, struct error *err);

#endif /* LKVM_VSOCK_INTERNAL_H */
