// SPDX-License-Identifier: GPL-2.0-only
/*
 * The socket device over a scripted host: connections from both sides and how they
 * end, credit, what a hostile guest sends (C11, C12), limits, and the state.
 */
#include "../../virtio/vsock_internal.h"
#include "prng.h"
#include "unit.h"
#include "vsock_driver.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define STREAM_ROOM (64 * KIB)
#define MAX_STREAMS 1024

/**
 * struct stream - a host program, as the test plays it
 * @in: bytes for the guest; @in_len of them, @in_pos read
 * @eof: no more come; @broken: reading and writing fail by this
 * @out: bytes from the guest, in memory for @out_room; @room: how many more it takes
 */
struct stream {
	struct rig *rig;
	struct vsock_conn *conn;
	uint32_t port, accepted;
	uint8_t in[STREAM_ROOM], *out;
	size_t in_len, in_pos, out_len, out_room, room;
	bool open, eof, want_send, shut_rd, shut_wr;
	int broken;
};

struct rig {
	struct vd vd;
	struct virtio_vsock *vsock;
	struct stream *streams;
	unsigned int nr, closed;
	int answer; /* to connect */
	uint64_t now, deadline;
	bool destroyed, started;
	size_t most; /* bytes taken or given at once */
};

static struct stream *new_stream(struct rig *rig)
{
	struct stream *s = &rig->streams[rig->nr++];

	ck_assert_uint_le(rig->nr, MAX_STREAMS);
	s->rig = rig;
	s->open = true;
	s->room = 16 * MIB;
	return s;
}

static int h_start(void *opaque, struct error *err)
{
	(void)err;
	((struct rig *)opaque)->started = true;
	return 0;
}

static int h_connect(void *opaque, struct vsock_conn *conn, uint32_t port, void **stream)
{
	struct rig *rig = opaque;
	struct stream *s;

	if (rig->answer && rig->answer != -EINPROGRESS)
		return rig->answer;
	s = new_stream(rig);
	s->conn = conn;
	s->port = port;
	*stream = s;
	return rig->answer;
}

static void h_accepted(void *stream, uint32_t host_port)
{
	((struct stream *)stream)->accepted = host_port;
}

static size_t room_of(const struct iovec *iov, unsigned int nr)
{
	size_t room = 0;

	while (nr--)
		room += iov[nr].iov_len;
	return room;
}

static long h_recv(void *stream, const struct iovec *iov, unsigned int nr, bool *more)
{
	struct stream *s = stream;
	size_t n = s->in_len - s->in_pos, done = 0, part;

	ck_assert(s->open);
	if (s->broken)
		return s->broken;
	if (!n)
		return s->eof ? 0 : -EAGAIN;
	n = min_u64(n, room_of(iov, nr));
	if (s->rig->most)
		n = min_u64(n, s->rig->most);
	for (; done < n; iov++) {
		part = min_u64(n - done, iov->iov_len);
		memcpy(iov->iov_base, s->in + s->in_pos + done, part);
		done += part;
	}
	s->in_pos += n;
	*more = s->in_pos < s->in_len;
	return (long)n;
}

static long h_send(void *stream, const struct iovec *iov, unsigned int nr)
{
	struct stream *s = stream;
	size_t n = min_u64(room_of(iov, nr), s->room), done = 0, part;

	ck_assert(s->open);
	if (s->broken)
		return s->broken;
	if (!n)
		return -EAGAIN;
	if (s->rig->most)
		n = min_u64(n, s->rig->most);
	if (s->out_len + n > s->out_room) {
		s->out_room = 2 * (s->out_len + n);
		s->out = realloc(s->out, s->out_room);
	}
	for (; done < n; iov++) {
		part = min_u64(n - done, iov->iov_len);
		memcpy(s->out + s->out_len + done, iov->iov_base, part);
		done += part;
	}
	s->out_len += n;
	s->room -= n;
	return (long)n;
}

static void h_want_send(void *stream, bool on)
{
	((struct stream *)stream)->want_send = on;
}

static void h_shutdown(void *stream, int how)
{
	struct stream *s = stream;

	ck_assert(s->open);
	if (how == SHUT_RD)
		s->shut_rd = true;
	else
		s->shut_wr = true;
}

static void h_close(void *stream)
{
	struct stream *s = stream;

	ck_assert(s->open);
	s->open = false;
	s->rig->closed++;
}

static void h_arm(void *opaque, uint64_t deadline)
{
	((struct rig *)opaque)->deadline = deadline;
}

static uint64_t h_now(void *opaque)
{
	return ((struct rig *)opaque)->now;
}

static void h_destroy(void *opaque)
{
	((struct rig *)opaque)->destroyed = true;
}

static const struct vsock_host_ops host_ops = {
	.start = h_start,
	.connect = h_connect,
	.accepted = h_accepted,
	.recv = h_recv,
	.send = h_send,
	.want_send = h_want_send,
	.shutdown = h_shutdown,
	.close = h_close,
	.arm = h_arm,
	.now = h_now,
	.destroy = h_destroy,
};

static void start(struct rig *rig)
{
	memset(rig, 0, sizeof(*rig));
	rig->now = 1000;
	rig->streams = calloc(MAX_STREAMS, sizeof(*rig->streams));
	vd_memory(&rig->vd);
	rig->vsock = virtio_vsock_create("vsock0", &rig->vd.mem, NULL, VD_CID, &host_ops, rig);
	ck_assert_ptr_nonnull(rig->vsock);
	vd_start(&rig->vd, virtio_vsock_device(rig->vsock), 0);
}

static void stop(struct rig *rig)
{
	unsigned int i;

	vd_stop(&rig->vd);
	ck_assert(rig->destroyed);
	ck_assert_uint_eq(rig->closed, rig->nr);
	for (i = 0; i < rig->nr; i++)
		free(rig->streams[i].out);
	free(rig->streams);
}

/* As the host's side does it: inside, then flush. */
static void ready(struct stream *s, unsigned int what)
{
	virtio_enter_device(s->rig->vd.vdev);
	virtio_vsock_ready(s->conn, what);
	virtio_vsock_flush(s->rig->vsock);
	virtio_leave(s->rig->vd.vdev);
}

static void say(struct stream *s, const void *bytes, size_t len)
{
	ck_assert_uint_le(s->in_len + len, STREAM_ROOM);
	memcpy(s->in + s->in_len, bytes, len);
	s->in_len += len;
	ready(s, VSOCK_READABLE);
}

static struct stream *host_opens(struct rig *rig, uint32_t port)
{
	struct stream *s = new_stream(rig);

	virtio_enter_device(rig->vd.vdev);
	s->conn = virtio_vsock_open(rig->vsock, port, s);
	virtio_vsock_flush(rig->vsock);
	virtio_leave(rig->vd.vdev);
	if (s->conn)
		return s;
	s->open = false;
	rig->closed++;
	return NULL;
}

static void tick(struct rig *rig, uint64_t ns)
{
	rig->now += ns;
	if (rig->deadline <= rig->now)
		virtio_vsock_tick(rig->vsock);
}

static unsigned int conns(const struct rig *rig)
{
	return rig->vsock->nr_conns;
}

/* A guest's connection that stands. */
static struct stream *guest_opens(struct rig *rig, uint32_t guest_port, uint32_t host_port)
{
	vd_op(&rig->vd, OP_REQUEST, guest_port, host_port);
	vd_buffers(&rig->vd, 1, 4096);
	vd_expect(&rig->vd, OP_RESPONSE, guest_port, host_port);
	return &rig->streams[rig->nr - 1];
}

static bool send_data(struct rig *rig, uint32_t guest_port, uint32_t host_port, const void *bytes,
		      uint32_t len)
{
	struct pkt p = vd_packet(OP_RW, guest_port, host_port);

	p.len = len;
	return vd_send(&rig->vd, &p, bytes, len);
}

static void shutdown_op(struct rig *rig, uint32_t guest_port, uint32_t host_port, uint32_t flags)
{
	struct pkt p = vd_packet(OP_SHUTDOWN, guest_port, host_port);

	p.flags = flags;
	ck_assert(vd_send(&rig->vd, &p, NULL, 0));
}

static void nothing(struct rig *rig)
{
	struct pkt p;

	vd_buffers(&rig->vd, 1, 4096);
	ck_assert_msg(!vd_get(&rig->vd, &p), "op %u came", p.op);
}

/* --- configuration ------------------------------------------------------------- */

START_TEST(configuration)
{
	struct rig rig;
	uint64_t features;
	struct error err;

	start(&rig);
	ck_assert_uint_eq(drv_rd(&rig.vd.drv, R_DEVICE_ID), 19);
	ck_assert_uint_eq(drv_rd(&rig.vd.drv, R_CONFIG), VD_CID);
	ck_assert_uint_eq(drv_rd(&rig.vd.drv, R_CONFIG + 4), 0);
	/* A10: the guest's to read only. */
	drv_wr(&rig.vd.drv, R_CONFIG, 77);
	ck_assert_uint_eq(drv_rd(&rig.vd.drv, R_CONFIG), VD_CID);
	features = drv_features(&rig.vd.drv);
	ck_assert_uint_eq(features & 7, 5);
	/* Streams not implied and not asked for: nothing would be left. */
	ck_assert(!drv_start(&rig.vd.drv, 4));
	ck_assert(drv_start(&rig.vd.drv, 5));
	ck_assert(drv_start(&rig.vd.drv, 1));
	ck_assert_int_eq(virtio_device_start(rig.vd.vdev, &err), 0);
	ck_assert(rig.started);
	stop(&rig);
}
END_TEST

/* --- connections from the guest --------------------------------------------------- */

START_TEST(guest_connects)
{
	struct stream *s;
	struct rig rig;
	struct pkt p;

	start(&rig);
	vd_op(&rig.vd, OP_REQUEST, 1000, 22);
	ck_assert_uint_eq(rig.nr, 1);
	s = &rig.streams[0];
	ck_assert_uint_eq(s->port, 22);
	vd_buffers(&rig.vd, 1, 4096);
	p = vd_expect(&rig.vd, OP_RESPONSE, 1000, 22);
	ck_assert_uint_eq(p.alloc, VSOCK_BUFFER);
	ck_assert_uint_eq(p.fwd, 0);
	ck_assert(rig.vd.drv.level);
	ck_assert(send_data(&rig, 1000, 22, "hello", 5));
	ck_assert_mem_eq(s->out, "hello", 5);
	vd_buffers(&rig.vd, 1, 4096);
	say(s, "hi!", 3);
	p = vd_expect(&rig.vd, OP_RW, 1000, 22);
	ck_assert_uint_eq(p.len, 3);
	ck_assert_mem_eq(p.data, "hi!", 3);
	ck_assert_uint_eq(p.fwd, 5);
	nothing(&rig);
	stop(&rig);
}
END_TEST

START_TEST(nobody_listens)
{
	struct rig rig;

	start(&rig);
	rig.answer = -ENOENT;
	vd_op(&rig.vd, OP_REQUEST, 1000, 22);
	ck_assert_uint_eq(conns(&rig), 0);
	vd_buffers(&rig.vd, 1, 4096);
	vd_expect(&rig.vd, OP_RST, 1000, 22);
	nothing(&rig);
	stop(&rig);
}
END_TEST

START_TEST(slow_listener)
{
	struct rig rig;
	unsigned int way;

	start(&rig);
	vd_buffers(&rig.vd, 8, 4096);
	for (way = 0; way < 4; way++) {
		struct stream *s = &rig.streams[rig.nr];
		struct pkt p;

		rig.answer = -EINPROGRESS;
		vd_op(&rig.vd, OP_REQUEST, 1000, 22);
		ck_assert(!vd_get(&rig.vd, &p));
		ck_assert_uint_eq(conns(&rig), 1);
		switch (way) {
		case 0: /* it comes */
		case 1: /* it does not */
			virtio_enter_device(rig.vd.vdev);
			virtio_vsock_connected(s->conn, !way);
			virtio_vsock_flush(rig.vsock);
			virtio_leave(rig.vd.vdev);
			vd_expect(&rig.vd, way ? OP_RST : OP_RESPONSE, 1000, 22);
			break;
		case 2: /* nor does any answer */
			tick(&rig, 2 * NSEC_PER_SEC - 1);
			ck_assert_uint_eq(conns(&rig), 1);
			tick(&rig, 1);
			vd_expect(&rig.vd, OP_RST, 1000, 22);
			break;
		default: /* the guest changes its mind */
			break;
		}
		vd_op(&rig.vd, OP_RST, 1000, 22);
		ck_assert_uint_eq(conns(&rig), 0);
		ck_assert(!s->open);
	}
	stop(&rig);
}
END_TEST

/* --- connections from the host ------------------------------------------------------ */

START_TEST(host_connects)
{
	struct stream *s;
	struct rig rig;
	struct pkt p;

	start(&rig);
	vd_buffers(&rig.vd, 4, 4096);
	s = host_opens(&rig, 52);
	p = vd_expect(&rig.vd, OP_REQUEST, 52, VSOCK_FIRST_PORT);
	ck_assert_uint_eq(p.alloc, VSOCK_BUFFER);
	/* Nothing is read before the guest has answered. */
	say(s, "early", 5);
	ck_assert(!vd_get(&rig.vd, &p));
	ck_assert_uint_eq(s->in_pos, 0);
	vd_op(&rig.vd, OP_RESPONSE, 52, VSOCK_FIRST_PORT);
	ck_assert_uint_eq(s->accepted, VSOCK_FIRST_PORT);
	ready(s, VSOCK_READABLE);
	p = vd_expect(&rig.vd, OP_RW, 52, VSOCK_FIRST_PORT);
	ck_assert_mem_eq(p.data, "early", 5);
	/* The next one has a port of its own. */
	s = host_opens(&rig, 52);
	vd_expect(&rig.vd, OP_REQUEST, 52, VSOCK_FIRST_PORT + 1);
	vd_op(&rig.vd, OP_RST, 52, VSOCK_FIRST_PORT + 1);
	ck_assert(!s->open);
	ck_assert_uint_eq(conns(&rig), 1);
	stop(&rig);
}
END_TEST

START_TEST(host_connects_in_vain)
{
	struct stream *s;
	struct rig rig;

	start(&rig);
	vd_buffers(&rig.vd, 4, 4096);
	/* No answer. */
	s = host_opens(&rig, 52);
	vd_expect(&rig.vd, OP_REQUEST, 52, VSOCK_FIRST_PORT);
	tick(&rig, 5 * NSEC_PER_SEC);
	ck_assert(!s->open);
	vd_expect(&rig.vd, OP_RST, 52, VSOCK_FIRST_PORT);
	/* The program leaves before the answer. */
	s = host_opens(&rig, 52);
	vd_expect(&rig.vd, OP_REQUEST, 52, VSOCK_FIRST_PORT + 1);
	ready(s, VSOCK_GONE);
	vd_expect(&rig.vd, OP_RST, 52, VSOCK_FIRST_PORT + 1);
	/* Or before the question: there are no more buffers. */
	s = host_opens(&rig, 52);
	ready(s, VSOCK_GONE);
	nothing(&rig);
	ck_assert_uint_eq(conns(&rig), 0);
	/* No driver. */
	drv_wr(&rig.vd.drv, R_STATUS, 0);
	ck_assert_ptr_null(host_opens(&rig, 52));
	vd_bring_up(&rig.vd, 0);
	ck_assert_ptr_nonnull(host_opens(&rig, 52));
	drv_wr(&rig.vd.drv, R_STATUS,
	       ST_ACK | ST_DRIVER | ST_FEATURES_OK | ST_DRIVER_OK | ST_FAILED);
	ck_assert_ptr_null(host_opens(&rig, 52));
	stop(&rig);
}
END_TEST

/* The host's ports come round, and never give a pair twice. */
START_TEST(ports_wrap)
{
	struct rig rig;
	struct pkt p;

	start(&rig);
	vd_buffers(&rig.vd, 8, 4096);
	host_opens(&rig, 52);
	vd_expect(&rig.vd, OP_REQUEST, 52, VSOCK_FIRST_PORT);
	rig.vsock->state.next_port = VSOCK_LAST_PORT;
	host_opens(&rig, 52);
	vd_expect(&rig.vd, OP_REQUEST, 52, VSOCK_LAST_PORT);
	host_opens(&rig, 52);
	vd_expect(&rig.vd, OP_REQUEST, 52, VSOCK_FIRST_PORT + 1);
	rig.vsock->state.next_port = VSOCK_FIRST_PORT;
	host_opens(&rig, 53);
	vd_expect(&rig.vd, OP_REQUEST, 53, VSOCK_FIRST_PORT);
	ck_assert(!vd_get(&rig.vd, &p));
	stop(&rig);
}
END_TEST

/* --- data ---------------------------------------------------------------------------- */

static void pattern(uint8_t *p, size_t len, uint8_t seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 7 + (i >> 8) + seed);
}

/* A header and data cut into descriptors in every way. */
START_TEST(framing)
{
	uint8_t bytes[100];
	struct stream *s;
	unsigned int cuts;
	struct rig rig;
	struct pkt p;
	uint32_t id, len;

	start(&rig);
	s = guest_opens(&rig, 1000, 22);
	pattern(bytes, sizeof(bytes), 3);
	for (cuts = 1; cuts <= 48; cuts++) {
		s->out_len = 0;
		p = vd_packet(OP_RW, 1000, 22);
		p.len = sizeof(bytes);
		vd_send_only(&rig.vd, &p, bytes, sizeof(bytes), cuts);
		ck_assert(drv_get_used(&rig.vd.tx, &id, &len));
		ck_assert_uint_eq(s->out_len, sizeof(bytes));
		ck_assert_mem_eq(s->out, bytes, sizeof(bytes));
	}
	/* More buffer than data. */
	s->out_len = 0;
	p.len = 10;
	ck_assert(vd_send(&rig.vd, &p, bytes, sizeof(bytes)));
	ck_assert_uint_eq(s->out_len, 10);
	/* No data. */
	p.len = 0;
	ck_assert(vd_send(&rig.vd, &p, NULL, 0));
	ck_assert_uint_eq(s->out_len, 10);
	ck_assert(s->open);
	stop(&rig);
}
END_TEST

START_TEST(slow_reader)
{
	uint8_t *bytes = malloc(VSOCK_BUFFER);
	struct stream *s;
	struct rig rig;
	struct pkt p;
	uint32_t at;

	start(&rig);
	s = guest_opens(&rig, 1000, 22);
	pattern(bytes, VSOCK_BUFFER, 1);
	s->room = 100;
	for (at = 0; at < VSOCK_BUFFER; at += 4096)
		ck_assert(send_data(&rig, 1000, 22, bytes + at, 4096));
	ck_assert_uint_eq(s->out_len, 100);
	ck_assert(s->want_send);
	/* The guest was told of nothing: less than half of the buffer was taken. */
	s->room = 1000;
	ready(s, VSOCK_WRITABLE);
	ck_assert_uint_eq(s->out_len, 1100);
	vd_buffers(&rig.vd, 4, 4096);
	p = vd_expect(&rig.vd, OP_UPDATE, 1000, 22);
	ck_assert_uint_eq(p.fwd, 1100);
	/* What it got free it may fill; the ring wraps. */
	ck_assert(send_data(&rig, 1000, 22, bytes, 1100));
	s->room = 4 * VSOCK_BUFFER;
	ready(s, VSOCK_WRITABLE);
	ck_assert(!s->want_send);
	ck_assert_uint_eq(s->out_len, VSOCK_BUFFER + 1100);
	ck_assert_mem_eq(s->out, bytes, VSOCK_BUFFER);
	ck_assert_mem_eq(s->out + VSOCK_BUFFER, bytes, 1100);
	ck_assert_ptr_null(s->conn->buf);
	p = vd_expect(&rig.vd, OP_UPDATE, 1000, 22);
	ck_assert_uint_eq(p.fwd, VSOCK_BUFFER + 1100);
	/* A question is answered. */
	vd_op(&rig.vd, OP_CREDIT, 1000, 22);
	vd_expect(&rig.vd, OP_UPDATE, 1000, 22);
	stop(&rig);
	free(bytes);
}
END_TEST

/* One byte more than the guest has credit for. */
START_TEST(beyond_credit)
{
	uint8_t *bytes = calloc(1, VSOCK_BUFFER + 1);
	struct stream *s;
	struct rig rig;

	start(&rig);
	s = guest_opens(&rig, 1000, 22);
	s->room = 10;
	ck_assert(send_data(&rig, 1000, 22, bytes, VSOCK_BUFFER));
	ck_assert(send_data(&rig, 1000, 22, bytes, 10));
	ck_assert(s->open);
	ck_assert(send_data(&rig, 1000, 22, bytes, 1));
	ck_assert(!s->open);
	vd_buffers(&rig.vd, 2, 4096);
	vd_expect(&rig.vd, OP_RST, 1000, 22);
	ck_assert_uint_eq(conns(&rig), 0);
	s = guest_opens(&rig, 1000, 22);
	ck_assert(send_data(&rig, 1000, 22, bytes, VSOCK_BUFFER + 1));
	ck_assert(!s->open);
	vd_expect(&rig.vd, OP_RST, 1000, 22);
	stop(&rig);
	free(bytes);
}
END_TEST

START_TEST(guest_credit)
{
	uint8_t bytes[1000];
	struct stream *s;
	struct rig rig;
	struct pkt p, u;

	start(&rig);
	s = guest_opens(&rig, 1000, 22);
	pattern(bytes, sizeof(bytes), 9);
	u = vd_packet(OP_UPDATE, 1000, 22);
	u.alloc = 300;
	ck_assert(vd_send(&rig.vd, &u, NULL, 0));
	vd_buffers(&rig.vd, 32, HDR + 200);
	say(s, bytes, sizeof(bytes));
	p = vd_expect(&rig.vd, OP_RW, 1000, 22);
	ck_assert_uint_eq(p.len, 200);
	p = vd_expect(&rig.vd, OP_RW, 1000, 22);
	ck_assert_uint_eq(p.len, 100);
	ck_assert_mem_eq(p.data, bytes + 200, 100);
	/* Asked once, however much there is. */
	vd_expect(&rig.vd, OP_CREDIT, 1000, 22);
	ready(s, VSOCK_READABLE);
	ck_assert(!vd_get(&rig.vd, &p));
	/* A buffer that shrinks below what is on its way gives nothing. */
	u.alloc = 0;
	u.fwd = 250;
	ck_assert(vd_send(&rig.vd, &u, NULL, 0));
	ck_assert(!vd_get(&rig.vd, &p));
	u.alloc = 51;
	ck_assert(vd_send(&rig.vd, &u, NULL, 0));
	p = vd_expect(&rig.vd, OP_RW, 1000, 22);
	ck_assert_uint_eq(p.len, 1);
	vd_expect(&rig.vd, OP_CREDIT, 1000, 22);
	/* Ahead of what was sent, or overtaken: not believed. */
	u.alloc = 60;
	u.fwd = 302;
	ck_assert(vd_send(&rig.vd, &u, NULL, 0));
	p = vd_expect(&rig.vd, OP_RW, 1000, 22);
	ck_assert_uint_eq(p.len, 9);
	vd_expect(&rig.vd, OP_CREDIT, 1000, 22);
	u.fwd = 200;
	u.alloc = 61;
	ck_assert(vd_send(&rig.vd, &u, NULL, 0));
	p = vd_expect(&rig.vd, OP_RW, 1000, 22);
	ck_assert_uint_eq(p.len, 1);
	ck_assert_uint_eq(s->in_pos, 311);
	stop(&rig);
}
END_TEST

/* The counters wrap at 2^32. */
START_TEST(counters_wrap)
{
	uint8_t bytes[600];
	struct stream *s;
	struct rig rig;
	struct pkt p, u;

	start(&rig);
	s = guest_opens(&rig, 1000, 22);
	pattern(bytes, sizeof(bytes), 5);
	s->conn->tx_cnt = s->conn->peer_fwd = 0xffffff00;
	s->conn->rx_cnt = s->conn->fwd_cnt = s->conn->fwd_told = 0xfffffff0;
	u = vd_packet(OP_UPDATE, 1000, 22);
	u.alloc = 400;
	u.fwd = 0xffffff00;
	ck_assert(vd_send(&rig.vd, &u, NULL, 0));
	vd_buffers(&rig.vd, 8, 4096);
	say(s, bytes, sizeof(bytes));
	p = vd_expect(&rig.vd, OP_RW, 1000, 22);
	ck_assert_uint_eq(p.len, 400);
	ck_assert_uint_eq(s->conn->tx_cnt, 0xffffff00U + 400);
	vd_expect(&rig.vd, OP_CREDIT, 1000, 22);
	u.fwd += 399;
	ck_assert(vd_send(&rig.vd, &u, NULL, 0));
	p = vd_expect(&rig.vd, OP_RW, 1000, 22);
	ck_assert_uint_eq(p.len, 200);
	ck_assert(send_data(&rig, 1000, 22, bytes, 32));
	vd_op(&rig.vd, OP_CREDIT, 1000, 22);
	p = vd_expect(&rig.vd, OP_UPDATE, 1000, 22);
	ck_assert_uint_eq(p.fwd, 16);
	stop(&rig);
}
END_TEST

/* Receive buffers that hold no header, only a header, or little more. */
START_TEST(small_buffers)
{
	struct stream *s;
	uint32_t id, len;
	struct rig rig;
	struct pkt p;

	start(&rig);
	s = guest_opens(&rig, 1000, 22);
	say(s, "abc", 3);
	vd_buffers(&rig.vd, 1, HDR - 1);
	ck_assert(drv_get_used(&rig.vd.rx, &id, &len));
	ck_assert_uint_eq(len, 0);
	vd_buffers(&rig.vd, 1, HDR);
	vd_expect(&rig.vd, OP_UPDATE, 1000, 22);
	vd_buffers(&rig.vd, 1, HDR + 1);
	p = vd_expect(&rig.vd, OP_RW, 1000, 22);
	ck_assert_uint_eq(p.len, 1);
	vd_buffers(&rig.vd, 1, HDR + 2);
	p = vd_expect(&rig.vd, OP_RW, 1000, 22);
	ck_assert_mem_eq(p.data, "bc", 2);
	/* Said to be readable, and is not. */
	ready(s, VSOCK_READABLE);
	vd_buffers(&rig.vd, 1, 4096);
	vd_expect(&rig.vd, OP_UPDATE, 1000, 22);
	nothing(&rig);
	stop(&rig);
}
END_TEST

/* A buffer of many pieces, the header cut too. */
START_TEST(buffer_in_pieces)
{
	struct drv_seg segs[40];
	uint8_t bytes[200], *got;
	uint32_t id, len;
	struct rig rig;
	unsigned int i;
	gpa_t at = DRV_RAM + DRV_BANK + 3 * MIB;

	start(&rig);
	guest_opens(&rig, 1000, 22);
	pattern(bytes, sizeof(bytes), 77);
	for (i = 0; i < ARRAY_SIZE(segs); i++)
		segs[i] = (struct drv_seg){at + 7 * i, 7, DRV_WRITE};
	drv_add(&rig.vd.rx, segs, ARRAY_SIZE(segs));
	say(&rig.streams[0], bytes, sizeof(bytes));
	ck_assert(drv_get_used(&rig.vd.rx, &id, &len));
	got = drv_ptr(&rig.vd.mem, at, 280);
	ck_assert_uint_eq(len, HDR + got[24]);
	ck_assert_uint_gt(got[24], 100);
	ck_assert_mem_eq(got + HDR, bytes, got[24]);
	stop(&rig);
}
END_TEST

/* Those who have much to say take turns. */
START_TEST(turns)
{
	uint8_t bytes[2000];
	struct stream *s[3];
	struct rig rig;
	unsigned int i;

	start(&rig);
	pattern(bytes, sizeof(bytes), 0);
	for (i = 0; i < 3; i++)
		s[i] = guest_opens(&rig, 1000 + i, 22);
	for (i = 0; i < 3; i++)
		say(s[i], bytes, sizeof(bytes));
	vd_buffers(&rig.vd, 9, HDR + 100);
	for (i = 0; i < 9; i++)
		vd_expect(&rig.vd, OP_RW, 1000 + i % 3, 22);
	stop(&rig);
}
END_TEST

/* --- how it ends -------------------------------------------------------------------------- */

START_TEST(guest_closes)
{
	struct stream *s;
	struct rig rig;

	start(&rig);
	vd_buffers(&rig.vd, 4, 4096);
	s = guest_opens(&rig, 1000, 22);
	shutdown_op(&rig, 1000, 22, 3);
	ck_assert(!s->open);
	vd_expect(&rig.vd, OP_RST, 1000, 22);
	ck_assert_uint_eq(conns(&rig), 0);
	/* In two steps, with something said in between. */
	s = guest_opens(&rig, 1000, 22);
	shutdown_op(&rig, 1000, 22, 2);
	ck_assert(s->open && s->shut_wr && !s->shut_rd);
	say(s, "bye", 3);
	vd_expect(&rig.vd, OP_RW, 1000, 22);
	/* Flags that were set stay so. */
	shutdown_op(&rig, 1000, 22, 0);
	ck_assert(s->open);
	shutdown_op(&rig, 1000, 22, 1);
	ck_assert(!s->open);
	vd_buffers(&rig.vd, 1, 4096);
	vd_expect(&rig.vd, OP_RST, 1000, 22);
	stop(&rig);
}
END_TEST

/* The other half first: it does not want to hear more. */
START_TEST(guest_deaf)
{
	struct stream *s;
	struct rig rig;

	start(&rig);
	s = guest_opens(&rig, 1000, 22);
	shutdown_op(&rig, 1000, 22, 1);
	ck_assert(s->shut_rd && !s->shut_wr);
	say(s, "nobody listens", 14);
	nothing(&rig);
	ck_assert_uint_eq(s->in_pos, 0);
	ck_assert(send_data(&rig, 1000, 22, "still here", 10));
	ck_assert_uint_eq(s->out_len, 10);
	/* The program goes: that can't be told by the end of what it said. */
	ready(s, VSOCK_GONE);
	ck_assert_uint_eq(vd_expect(&rig.vd, OP_SHUTDOWN, 1000, 22).flags, 3);
	ck_assert(!s->open);
	/* The other way round. */
	s = guest_opens(&rig, 1001, 22);
	ready(s, VSOCK_GONE | VSOCK_READABLE);
	s->conn->guest_shut = 0;
	shutdown_op(&rig, 1001, 22, 1);
	stop(&rig);
}
END_TEST

/* What the guest said last arrives before its end does. */
START_TEST(guest_closes_behind_data)
{
	struct stream *s;
	struct rig rig;

	start(&rig);
	s = guest_opens(&rig, 1000, 22);
	s->room = 2;
	ck_assert(send_data(&rig, 1000, 22, "last words", 10));
	shutdown_op(&rig, 1000, 22, 2);
	ck_assert(!s->shut_wr);
	shutdown_op(&rig, 1000, 22, 3);
	ck_assert(s->open);
	nothing(&rig);
	s->room = 3;
	ready(s, VSOCK_WRITABLE);
	ck_assert(s->open);
	s->room = 30;
	ready(s, VSOCK_WRITABLE);
	ck_assert(!s->open);
	ck_assert_mem_eq(s->out, "last words", 10);
	vd_expect(&rig.vd, OP_RST, 1000, 22);
	/* Half a close. */
	s = guest_opens(&rig, 1000, 22);
	s->room = 2;
	ck_assert(send_data(&rig, 1000, 22, "last words", 10));
	shutdown_op(&rig, 1000, 22, 2);
	s->room = 30;
	ready(s, VSOCK_WRITABLE);
	ck_assert(s->open && s->shut_wr);
	stop(&rig);
}
END_TEST

/* It does not even wait for that. */
START_TEST(draining)
{
	struct stream *s, *t;
	struct rig rig;

	start(&rig);
	s = guest_opens(&rig, 1000, 22);
	s->room = 2;
	ck_assert(send_data(&rig, 1000, 22, "last words", 10));
	vd_op(&rig.vd, OP_RST, 1000, 22);
	ck_assert(s->open);
	/* The guest's port is free again. */
	t = guest_opens(&rig, 1000, 22);
	ck_assert_uint_eq(conns(&rig), 2);
	/* As long as the program takes something... */
	tick(&rig, 9 * NSEC_PER_SEC);
	s->room = 1;
	ready(s, VSOCK_WRITABLE);
	tick(&rig, 9 * NSEC_PER_SEC);
	ck_assert(s->open);
	s->room = 30;
	ready(s, VSOCK_WRITABLE);
	ck_assert(!s->open);
	ck_assert_mem_eq(s->out, "last words", 10);
	/* ... and not if it does not, or is gone. */
	t->room = 0;
	ck_assert(send_data(&rig, 1000, 22, "last words", 10));
	vd_op(&rig.vd, OP_RST, 1000, 22);
	tick(&rig, 10 * NSEC_PER_SEC);
	ck_assert(!t->open);
	s = guest_opens(&rig, 1000, 22);
	s->room = 0;
	ck_assert(send_data(&rig, 1000, 22, "last words", 10));
	vd_op(&rig.vd, OP_RST, 1000, 22);
	s->broken = -EPIPE;
	ready(s, VSOCK_GONE);
	ck_assert(!s->open);
	ck_assert_uint_eq(conns(&rig), 0);
	nothing(&rig);
	stop(&rig);
}
END_TEST

START_TEST(host_closes)
{
	struct stream *s;
	struct rig rig;
	struct pkt p;

	start(&rig);
	vd_buffers(&rig.vd, 8, 4096);
	s = guest_opens(&rig, 1000, 22);
	/* It stops sending. */
	s->eof = true;
	memcpy(s->in, "end", 3);
	s->in_len = 3;
	ready(s, VSOCK_READABLE | VSOCK_ENDING);
	vd_expect(&rig.vd, OP_RW, 1000, 22);
	p = vd_expect(&rig.vd, OP_SHUTDOWN, 1000, 22);
	ck_assert_uint_eq(p.flags, 2);
	ck_assert(send_data(&rig, 1000, 22, "ok", 2));
	ck_assert_uint_eq(s->out_len, 2);
	/* It goes. */
	ready(s, VSOCK_GONE);
	p = vd_expect(&rig.vd, OP_SHUTDOWN, 1000, 22);
	ck_assert_uint_eq(p.flags, 3);
	ck_assert(!s->open);
	ck_assert_uint_eq(conns(&rig), 1);
	/* What is still under way from the guest is no mistake of its. */
	ck_assert(send_data(&rig, 1000, 22, "late", 4));
	vd_op(&rig.vd, OP_CREDIT, 1000, 22);
	vd_expect(&rig.vd, OP_UPDATE, 1000, 22);
	vd_op(&rig.vd, OP_RST, 1000, 22);
	ck_assert_uint_eq(conns(&rig), 0);
	/* All at once, and the guest says nothing. */
	s = guest_opens(&rig, 1000, 22);
	s->eof = true;
	ready(s, VSOCK_READABLE | VSOCK_GONE);
	p = vd_expect(&rig.vd, OP_SHUTDOWN, 1000, 22);
	ck_assert_uint_eq(p.flags, 3);
	tick(&rig, 8 * NSEC_PER_SEC - 1);
	ck_assert(!vd_get(&rig.vd, &p));
	tick(&rig, 1);
	vd_expect(&rig.vd, OP_RST, 1000, 22);
	ck_assert_uint_eq(conns(&rig), 0);
	stop(&rig);
}
END_TEST

/* Both close at the same time; the guest uses its port at once again. */
START_TEST(both_close)
{
	struct stream *s;
	struct rig rig;

	start(&rig);
	vd_buffers(&rig.vd, 8, 4096);
	s = guest_opens(&rig, 1000, 22);
	s->eof = true;
	ready(s, VSOCK_GONE);
	vd_expect(&rig.vd, OP_SHUTDOWN, 1000, 22);
	shutdown_op(&rig, 1000, 22, 1);
	shutdown_op(&rig, 1000, 22, 2);
	vd_expect(&rig.vd, OP_RST, 1000, 22);
	ck_assert_uint_eq(conns(&rig), 0);
	s = guest_opens(&rig, 1000, 22);
	s->eof = true;
	ready(s, VSOCK_GONE);
	vd_expect(&rig.vd, OP_SHUTDOWN, 1000, 22);
	s = guest_opens(&rig, 1000, 22);
	ck_assert(s->open);
	ck_assert_uint_eq(conns(&rig), 1);
	stop(&rig);
}
END_TEST

/* A program that does not read any more, or whose stream breaks. */
START_TEST(host_breaks)
{
	struct stream *s;
	struct rig rig;
	struct pkt p;

	start(&rig);
	vd_buffers(&rig.vd, 16, 4096);
	s = guest_opens(&rig, 1000, 22);
	s->broken = -EPIPE;
	ck_assert(send_data(&rig, 1000, 22, "hello", 5));
	p = vd_expect(&rig.vd, OP_SHUTDOWN, 1000, 22);
	ck_assert_uint_eq(p.flags, 1);
	ck_assert_uint_eq(p.fwd, 5);
	ck_assert(send_data(&rig, 1000, 22, "hello", 5));
	s->broken = 0;
	say(s, "still", 5);
	vd_expect(&rig.vd, OP_RW, 1000, 22);
	s->broken = -ECONNRESET;
	ready(s, VSOCK_READABLE);
	p = vd_expect(&rig.vd, OP_SHUTDOWN, 1000, 22);
	ck_assert_uint_eq(p.flags, 3);
	vd_op(&rig.vd, OP_RST, 1000, 22);
	/* With something in the buffer. */
	s = guest_opens(&rig, 1000, 22);
	s->room = 1;
	ck_assert(send_data(&rig, 1000, 22, "hello", 5));
	s->broken = -EPIPE;
	ready(s, VSOCK_GONE);
	p = vd_expect(&rig.vd, OP_SHUTDOWN, 1000, 22);
	ck_assert_uint_eq(p.flags & 1, 1);
	ck_assert(!s->want_send);
	/* And the guest had closed already. */
	s = guest_opens(&rig, 1001, 22);
	s->room = 1;
	ck_assert(send_data(&rig, 1001, 22, "hello", 5));
	shutdown_op(&rig, 1001, 22, 3);
	s->broken = -EPIPE;
	ready(s, VSOCK_WRITABLE);
	vd_expect(&rig.vd, OP_RST, 1001, 22);
	ck_assert(!s->open);
	stop(&rig);
}
END_TEST

/* --- hostile guests --------------------------------------------------------------------------- */

/* C12: whatever is no step for a state breaks the connection, and only that. */
START_TEST(out_of_place)
{
	static const uint16_t ops[] = {0, OP_REQUEST, OP_RESPONSE, OP_SHUTDOWN, OP_RW, 8, 0xffff};
	struct stream *s, *other;
	unsigned int i, state;
	struct rig rig;
	struct pkt p;

	start(&rig);
	vd_buffers(&rig.vd, 4, 4096);
	other = guest_opens(&rig, 99, 99);
	for (state = 0; state < 4; state++) {
		if (state == 2) { /* it stands, and the guest does not know: no buffers */
			ck_assert(other->open);
			vd_bring_up(&rig.vd, 0);
		}
		for (i = 0; i < ARRAY_SIZE(ops); i++) {
			uint32_t port = 22;

			rig.answer = state == 0 ? -EINPROGRESS : 0;
			if (state == 3) { /* the host asked */
				vd_buffers(&rig.vd, 1, 4096);
				s = host_opens(&rig, 1000);
				ck_assert(vd_get(&rig.vd, &p));
				port = p.sport;
				if (ops[i] == OP_RESPONSE)
					continue;
			} else {
				vd_op(&rig.vd, OP_REQUEST, 1000, port);
				s = &rig.streams[rig.nr - 1];
			}
			if (state == 1) { /* it stands */
				vd_buffers(&rig.vd, 1, 4096);
				vd_expect(&rig.vd, OP_RESPONSE, 1000, port);
				if (ops[i] == OP_RW)
					shutdown_op(&rig, 1000, port, 2);
				if (ops[i] == OP_SHUTDOWN) {
					vd_op(&rig.vd, OP_RST, 1000, port);
					continue;
				}
			}
			vd_op(&rig.vd, ops[i], 1000, port);
			ck_assert_msg(!s->open, "state %u, op %u", state, ops[i]);
			vd_buffers(&rig.vd, 1, 4096);
			vd_expect(&rig.vd, OP_RST, 1000, port);
			while (vd_get(&rig.vd, &p))
				;
		}
	}
	ck_assert_uint_eq(drv_rd(&rig.vd.drv, R_STATUS), 15);
	stop(&rig);
}
END_TEST

/* C11: who it is for, and of what type. */
START_TEST(addresses)
{
	struct rig rig;
	struct pkt p, r;
	unsigned int i;

	start(&rig);
	vd_buffers(&rig.vd, 16, 4096);
	/* Not from the guest: dropped. */
	for (i = 0; i < 3; i++) {
		p = vd_packet(OP_REQUEST, 1000, 22);
		p.src = i == 0 ? 2 : i == 1 ? VD_CID + 1 : VD_CID | UINT64_C(1) << 32;
		ck_assert(vd_send(&rig.vd, &p, NULL, 0));
		ck_assert(!vd_get(&rig.vd, &r));
	}
	/* For nobody here: reset, by whom it was sent to. */
	for (i = 0; i < 4; i++) {
		p = vd_packet(OP_REQUEST, 1000, 22);
		p.dst = i == 0 ? 0 : i == 1 ? 1 : i == 2 ? 77 : UINT64_C(1) << 32 | 2;
		ck_assert(vd_send(&rig.vd, &p, NULL, 0));
		ck_assert(vd_get(&rig.vd, &r));
		ck_assert_uint_eq(r.op, OP_RST);
		ck_assert_uint_eq(r.src, (uint32_t)p.dst);
		ck_assert_uint_eq(r.sport, 22);
		ck_assert_uint_eq(r.dport, 1000);
	}
	/* Of an unknown type: reset, with the type. */
	for (i = 0; i < 3; i++) {
		p = vd_packet(OP_REQUEST, 1000, 22);
		p.type = i == 0 ? 0 : i == 1 ? 2 : 0xffff;
		ck_assert(vd_send(&rig.vd, &p, NULL, 0));
		ck_assert(vd_get(&rig.vd, &r));
		ck_assert_uint_eq(r.op, OP_RST);
		ck_assert_uint_eq(r.type, p.type);
		/* But no reset for a reset. */
		p.op = OP_RST;
		ck_assert(vd_send(&rig.vd, &p, NULL, 0));
		ck_assert(!vd_get(&rig.vd, &r));
	}
	/* Of no connection. */
	vd_op(&rig.vd, OP_RST, 1000, 22);
	ck_assert(!vd_get(&rig.vd, &r));
	for (i = 0; i < 10; i++) {
		if (i == OP_RST || i == OP_REQUEST)
			continue;
		vd_op(&rig.vd, (uint16_t)i, 1000, 22);
		if (i < 8)
			vd_expect(&rig.vd, OP_RST, 1000, 22);
		else
			ck_assert(vd_get(&rig.vd, &r) || i == 9);
	}
	ck_assert_uint_eq(rig.nr, 0);
	stop(&rig);
}
END_TEST

/* C11: lengths that lie. */
START_TEST(lengths)
{
	static const uint32_t lies[] = {11, 65536, 0x7fffffff, 0xffffffff};
	struct drv_seg seg = {DRV_RAM + MIB, 0, 0};
	uint8_t bytes[10] = {0};
	uint32_t id, len;
	struct rig rig;
	struct pkt p;
	unsigned int i;

	start(&rig);
	/* Shorter than a header. */
	for (i = 0; i < HDR; i++) {
		seg.len = i;
		drv_add(&rig.vd.tx, &seg, 1);
		drv_wr(&rig.vd.drv, R_NOTIFY, 1);
		ck_assert(drv_get_used(&rig.vd.tx, &id, &len));
		ck_assert_uint_eq(len, 0);
	}
	for (i = 0; i < ARRAY_SIZE(lies); i++) {
		struct stream *s = guest_opens(&rig, 1000, 22);

		p = vd_packet(OP_RW, 1000, 22);
		p.len = lies[i];
		ck_assert(vd_send(&rig.vd, &p, bytes, sizeof(bytes)));
		ck_assert(!s->open);
		ck_assert_uint_eq(s->out_len, 0);
		vd_buffers(&rig.vd, 1, 4096);
		vd_expect(&rig.vd, OP_RST, 1000, 22);
	}
	ck_assert_uint_eq(drv_rd(&rig.vd.drv, R_STATUS), 15);
	stop(&rig);
}
END_TEST

/* A guest that takes no answers makes us hold so many, and then waits itself. */
START_TEST(no_receive_buffers)
{
	unsigned int sent = 0, got = 0, taken = 0;
	uint32_t id, len;
	struct rig rig;
	struct pkt p;

	start(&rig);
	rig.answer = -ECONNREFUSED;
	for (; sent < VSOCK_MAX_STRAYS + 20; sent++) {
		p = vd_packet(OP_REQUEST, sent, 22);
		vd_send_only(&rig.vd, &p, NULL, 0, 1);
		while (drv_get_used(&rig.vd.tx, &id, &len))
			taken++;
	}
	ck_assert_uint_eq(taken, VSOCK_MAX_STRAYS);
	/* In the order of the questions, and it goes on by itself. */
	while (got < sent) {
		vd_buffers(&rig.vd, 1, 4096);
		vd_expect(&rig.vd, OP_RST, got, 22);
		got++;
		while (drv_get_used(&rig.vd.tx, &id, &len))
			taken++;
	}
	ck_assert_uint_eq(taken, sent);
	nothing(&rig);
	/* A reset with a full store. */
	for (sent = 0; sent < VSOCK_MAX_STRAYS + 20; sent++) {
		p = vd_packet(OP_REQUEST, sent, 22);
		vd_send_only(&rig.vd, &p, NULL, 0, 1);
	}
	vd_bring_up(&rig.vd, 0);
	nothing(&rig);
	rig.answer = 0;
	guest_opens(&rig, 1, 22);
	stop(&rig);
}
END_TEST

/* C12: as many connections as there may be, and a hundred thousand requests. */
START_TEST(many_requests)
{
	unsigned int i, answers = 0, resets = 0;
	struct rig rig;
	struct pkt p;

	start(&rig);
	for (i = 0; i < 100000; i++) {
		vd_op(&rig.vd, OP_REQUEST, i, i * 7);
		if (i % 32 == 31)
			vd_buffers(&rig.vd, 32, 4096);
		while (vd_get(&rig.vd, &p)) {
			answers += p.op == OP_RESPONSE;
			resets += p.op == OP_RST;
		}
	}
	ck_assert_uint_eq(rig.nr, VSOCK_MAX_CONNECTIONS);
	ck_assert_uint_eq(conns(&rig), VSOCK_MAX_CONNECTIONS);
	ck_assert_uint_eq(answers, VSOCK_MAX_CONNECTIONS);
	ck_assert_uint_eq(resets, 100000 - VSOCK_MAX_CONNECTIONS);
	ck_assert_ptr_null(host_opens(&rig, 1));
	/* One that ends makes room. */
	vd_op(&rig.vd, OP_RST, 5, 35);
	guest_opens(&rig, 5, 35);
	/* A reset ends all. */
	drv_wr(&rig.vd.drv, R_STATUS, 0);
	ck_assert_uint_eq(conns(&rig), 0);
	ck_assert_uint_eq(rig.closed, rig.nr);
	vd_bring_up(&rig.vd, 0);
	guest_opens(&rig, 5, 35);
	stop(&rig);
}
END_TEST

/* Connections that are broken, and nobody takes their resets. */
START_TEST(resets_wait)
{
	struct rig rig;
	unsigned int i;
	struct pkt p;

	start(&rig);
	for (i = 0; i < VSOCK_MAX_CONNECTIONS; i++) {
		vd_op(&rig.vd, OP_REQUEST, i, 22);
		vd_op(&rig.vd, 77, i, 22);
		ck_assert_uint_eq(rig.closed, i + 1);
		/* It is over; nothing makes it more so. */
		vd_op(&rig.vd, OP_RW, i, 22);
		vd_op(&rig.vd, OP_REQUEST, i, 22);
		vd_op(&rig.vd, OP_RST, i, 22);
	}
	ck_assert_uint_eq(conns(&rig), VSOCK_MAX_CONNECTIONS);
	ck_assert_ptr_null(host_opens(&rig, 1));
	for (i = 0; i < VSOCK_MAX_CONNECTIONS; i++) {
		vd_buffers(&rig.vd, 1, 4096);
		vd_expect(&rig.vd, OP_RST, i, 22);
	}
	ck_assert_uint_eq(conns(&rig), 0);
	vd_buffers(&rig.vd, 1, 4096);
	ck_assert(!vd_get(&rig.vd, &p));
	stop(&rig);
}
END_TEST

/* --- state
 * ----------------------------------------------------------------------------------------- */

static struct device *dev_of(struct rig *rig)
{
	return virtio_mmio_device(rig->vd.mmio);
}

static void save(struct rig *rig, struct xfer *x)
{
	xfer_save_init(x);
	dev_of(rig)->ops->transfer(dev_of(rig), x);
	ck_assert_int_eq(xfer_done(x, NULL), 0);
}

static int load(struct rig *rig, const struct xfer *from)
{
	struct xfer x;

	xfer_load_init(&x, from->buf, from->len);
	dev_of(rig)->ops->transfer(dev_of(rig), &x);
	return xfer_done(&x, NULL);
}

START_TEST(save_and_load)
{
	const struct drv_seg small = {DRV_RAM + 2 * MIB, 2, DRV_WRITE};
	const struct drv_seg good = {DRV_RAM + 2 * MIB, 8, DRV_WRITE};
	struct xfer first, again;
	uint32_t id, len, port;
	struct stream *s;
	struct rig rig;
	size_t i;

	start(&rig);
	s = guest_opens(&rig, 1000, 22);
	vd_buffers(&rig.vd, 8, 4096);
	host_opens(&rig, 52);
	vd_expect(&rig.vd, OP_REQUEST, 52, VSOCK_FIRST_PORT);
	dev_of(&rig)->ops->quiesce(dev_of(&rig));
	save(&rig, &first);
	save(&rig, &again);
	ck_assert_uint_eq(first.len, again.len);
	ck_assert_mem_eq(first.buf, again.buf, first.len);
	xfer_free(&again);
	/* A pause is no end. */
	dev_of(&rig)->ops->resume(dev_of(&rig));
	ck_assert(s->open);
	ck_assert(!drv_get_used(&rig.vd.ev, &id, &len));

	dev_of(&rig)->ops->quiesce(dev_of(&rig));
	ck_assert_int_eq(load(&rig, &first), 0);
	save(&rig, &again);
	ck_assert_uint_eq(first.len, again.len);
	ck_assert_mem_eq(first.buf, again.buf, first.len);
	xfer_free(&again);
	dev_of(&rig)->ops->resume(dev_of(&rig));
	/* Connections are gone; the guest is told as soon as it can be. */
	ck_assert(!s->open);
	ck_assert_uint_eq(conns(&rig), 0);
	ck_assert(!drv_get_used(&rig.vd.ev, &id, &len));
	drv_add(&rig.vd.ev, &small, 1);
	drv_wr(&rig.vd.drv, R_NOTIFY, 2);
	ck_assert(drv_get_used(&rig.vd.ev, &id, &len));
	ck_assert_uint_eq(len, 2);
	memset(drv_ptr(&rig.vd.mem, good.addr, 8), 0xff, 8);
	drv_add(&rig.vd.ev, &good, 1);
	drv_add(&rig.vd.ev, &good, 1);
	drv_wr(&rig.vd.drv, R_NOTIFY, 2);
	ck_assert(drv_get_used(&rig.vd.ev, &id, &len));
	ck_assert_uint_eq(len, 4);
	ck_assert_mem_eq(drv_ptr(&rig.vd.mem, good.addr, 8), "\0\0\0\0\xff\xff\xff\xff", 8);
	/* Once. */
	ck_assert(!drv_get_used(&rig.vd.ev, &id, &len));
	/* The next port is the one behind. */
	host_opens(&rig, 52);
	vd_expect(&rig.vd, OP_REQUEST, 52, VSOCK_FIRST_PORT + 1);

	/* Garbage is refused and changes nothing. */
	dev_of(&rig)->ops->quiesce(dev_of(&rig));
	port = VSOCK_LAST_PORT + 1;
	memcpy(first.buf + first.len - 4, &port, 4);
	ck_assert_int_ne(load(&rig, &first), 0);
	port = VSOCK_FIRST_PORT - 1;
	memcpy(first.buf + first.len - 4, &port, 4);
	ck_assert_int_ne(load(&rig, &first), 0);
	for (i = 0; i < first.len; i++) {
		struct xfer cut = first;

		cut.len = i;
		ck_assert_int_ne(load(&rig, &cut), 0);
	}
	dev_of(&rig)->ops->resume(dev_of(&rig));
	ck_assert_uint_eq(conns(&rig), 1);
	xfer_free(&first);

	/* A driver that starts anew needs to hear of nothing. */
	dev_of(&rig)->ops->quiesce(dev_of(&rig));
	save(&rig, &first);
	ck_assert_int_eq(load(&rig, &first), 0);
	xfer_free(&first);
	dev_of(&rig)->ops->resume(dev_of(&rig));
	vd_bring_up(&rig.vd, 0);
	drv_add(&rig.vd.ev, &good, 1);
	drv_wr(&rig.vd.drv, R_NOTIFY, 2);
	ck_assert(!drv_get_used(&rig.vd.ev, &id, &len));
	stop(&rig);
}
END_TEST

/* While the device is quiesced nothing reaches guest memory; it comes afterwards. */
START_TEST(quiesced)
{
	struct stream *s;
	struct rig rig;
	struct pkt p;

	start(&rig);
	s = guest_opens(&rig, 1000, 22);
	vd_buffers(&rig.vd, 8, 4096);
	dev_of(&rig)->ops->quiesce(dev_of(&rig));
	say(s, "later", 5);
	host_opens(&rig, 52);
	ck_assert(!vd_get(&rig.vd, &p));
	p = vd_packet(OP_RW, 1000, 22);
	p.len = 3;
	ck_assert(!vd_send(&rig.vd, &p, "abc", 3));
	ck_assert_uint_eq(s->out_len, 0);
	tick(&rig, 100);
	dev_of(&rig)->ops->resume(dev_of(&rig));
	vd_expect(&rig.vd, OP_RW, 1000, 22);
	vd_expect(&rig.vd, OP_REQUEST, 52, VSOCK_FIRST_PORT);
	ck_assert_uint_eq(s->out_len, 3);
	stop(&rig);
}
END_TEST

/* --- property
 * ----------------------------------------------------------------------------------------- */

/**
 * struct flow - one connection of the random test, both ends played here
 */
struct flow {
	struct stream *s;
	uint32_t guest, host;
	size_t to_host, to_guest, got;	    /* bytes */
	uint32_t taken, peer_fwd, peer_buf; /* the guest's credit, as it sees it */
	uint32_t alloc;
};

/*
 * Bytes go both ways on several connections, in pieces of any size, through windows
 * of any size, to hosts that take what they like: not one is lost, doubled or changed,
 * and neither side ever exceeds its credit.
 */
START_TEST(random_flows)
{
	struct prng r = prng_start("random_flows");
	unsigned int round, i;
	struct flow flows[4];
	uint8_t bytes[8192];
	struct rig rig;
	struct pkt p;

	start(&rig);
	memset(flows, 0, sizeof(flows));
	for (i = 0; i < 4; i++) {
		flows[i].guest = 1000 + i;
		flows[i].host = 22;
		flows[i].s = guest_opens(&rig, flows[i].guest, 22);
		flows[i].s->room = 0;
		flows[i].alloc = 65536;
		flows[i].peer_buf = VSOCK_BUFFER;
	}
	for (round = 0; round < 20000; round++) {
		struct flow *f = &flows[prng_below(&r, 4)];
		struct stream *s = f->s;
		size_t n = prng_below(&r, sizeof(bytes)), j;

		rig.most = prng_below(&r, 3) ? 0 : 1 + prng_below(&r, 900);
		switch (prng_below(&r, 5)) {
		case 0: /* the host program says something */
			if (s->in_pos == s->in_len)
				s->in_pos = s->in_len = 0;
			n = min_u64(n, STREAM_ROOM - s->in_len);
			for (j = 0; j < n; j++)
				bytes[j] = (uint8_t)((f->to_guest + j) * 13 >> 3);
			f->to_guest += n;
			say(s, bytes, n);
			break;
		case 1: /* it takes something */
			s->room = n;
			ready(s, VSOCK_WRITABLE);
			break;
		case 2: /* the guest sends */
			n = min_u64(n, f->peer_buf - ((uint32_t)f->to_host - f->peer_fwd));
			for (j = 0; j < n; j++)
				bytes[j] = (uint8_t)((f->to_host + j) * 11 >> 2);
			f->to_host += n;
			p = vd_packet(OP_RW, f->guest, f->host);
			p.len = (uint32_t)n;
			p.alloc = f->alloc;
			p.fwd = f->taken;
			ck_assert(vd_send(&rig.vd, &p, bytes, (uint32_t)n));
			break;
		case 3: /* it takes what it got, and tells of another window */
			f->taken = (uint32_t)f->got;
			if (!prng_below(&r, 3))
				f->alloc = prng_below(&r, 70000);
			p = vd_packet(OP_UPDATE, f->guest, f->host);
			p.alloc = f->alloc;
			p.fwd = f->taken;
			ck_assert(vd_send(&rig.vd, &p, NULL, 0));
			break;
		default:
			vd_buffers(&rig.vd, 1, HDR + (uint32_t)n);
			break;
		}
		while (vd_get(&rig.vd, &p)) {
			f = &flows[p.dport - 1000];
			ck_assert_uint_ne(p.op, OP_RST);
			f->peer_fwd = p.fwd;
			ck_assert_uint_eq(p.alloc, VSOCK_BUFFER);
			for (j = 0; j < p.len; j++)
				if (p.data[j] != (uint8_t)((f->got + j) * 13 >> 3))
					ck_abort_msg("byte %zu of flow %u is wrong", f->got + j,
						     p.dport);
			f->got += p.len;
		}
	}
	/* All that is left comes through. */
	rig.most = 0;
	for (i = 0; i < 4; i++) {
		struct flow *f = &flows[i];
		size_t j;

		f->s->room = 16 * MIB;
		ready(f->s, VSOCK_WRITABLE);
		ck_assert_uint_eq(f->s->out_len, f->to_host);
		for (j = 0; j < f->to_host; j++)
			if (f->s->out[j] != (uint8_t)(j * 11 >> 2))
				ck_abort_msg("byte %zu to the host is wrong", j);
		ck_assert_uint_gt(f->got, 100000);
	}
	stop(&rig);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio-vsock");
	TCase *t = tcase_create("vsock");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, configuration);
	tcase_add_test(t, guest_connects);
	tcase_add_test(t, nobody_listens);
	tcase_add_test(t, slow_listener);
	tcase_add_test(t, host_connects);
	tcase_add_test(t, host_connects_in_vain);
	tcase_add_test(t, ports_wrap);
	tcase_add_test(t, framing);
	tcase_add_test(t, slow_reader);
	tcase_add_test(t, beyond_credit);
	tcase_add_test(t, guest_credit);
	tcase_add_test(t, counters_wrap);
	tcase_add_test(t, small_buffers);
	tcase_add_test(t, buffer_in_pieces);
	tcase_add_test(t, turns);
	tcase_add_test(t, guest_closes);
	tcase_add_test(t, guest_deaf);
	tcase_add_test(t, guest_closes_behind_data);
	tcase_add_test(t, draining);
	tcase_add_test(t, host_closes);
	tcase_add_test(t, both_close);
	tcase_add_test(t, host_breaks);
	tcase_add_test(t, out_of_place);
	tcase_add_test(t, addresses);
	tcase_add_test(t, lengths);
	tcase_add_test(t, no_receive_buffers);
	tcase_add_test(t, many_requests);
	tcase_add_test(t, resets_wait);
	tcase_add_test(t, save_and_load);
	tcase_add_test(t, quiesced);
	tcase_add_test(t, random_flows);
	suite_add_tcase(s, t);
	return unit_main(s);
}
