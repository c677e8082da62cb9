// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz the socket device: the input is a sequence of what the guest and the host's
 * programs do. Packets are nearly right: few ports, so that they meet connections, and
 * fields that are mostly good; chains are sometimes cut, or not chains at all. Host
 * programs take and give as the input says, and end in every way.
 *
 * Besides what the sanitizers see: connections, streams and buffers agree and keep to
 * their limits, nothing is in flight between two steps, every packet the guest gets is
 * whole and to it, and after a reset a connection and an echo work.
 */
#include "../../virtio/vsock_internal.h"

#include "lkvm/virtio/mmio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RAM UINT64_C(0x80000000)
#define RAM_SIZE (2 * MIB)
#define NUM 16
#define CID 5

/* Rings of queue Q from here on; then packets, then receive buffers. */
#define DESC(q) (RAM + 0x1000 * (q))
#define AVAIL(q) (DESC(q) + 0x800)
#define USED(q) (DESC(q) + 0xa00)
#define OUT (RAM + 0x4000)
#define IN (RAM + MIB)
#define IN_SLOT 0x8000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t size;
};

struct stream {
	struct rig *rig;
	struct stream *next;
	struct vsock_conn *conn;
	bool connecting;
	uint32_t left; /* bytes it has for the guest */
	bool eof, broken;
};

struct rig {
	struct guest_memory mem;
	struct irq_chip chip;
	struct virtio_mmio *mmio;
	struct virtio_vsock *vsock;
	struct stream *streams;
	unsigned int nr_streams;
	uint32_t room; /* bytes any program takes */
	uint8_t answer;
	uint64_t now, deadline;
	uint16_t rx_seen;
	uint32_t next_slot;
	bool strange; /* rings were written raw: nothing can be said of them */
};

static uint64_t take(struct input *in, unsigned int bytes)
{
	uint64_t v = 0;

	while (bytes-- && in->size) {
		v = v << 8 | *in->data++;
		in->size--;
	}
	return v;
}

static void need(bool ok)
{
	if (!ok)
		abort();
}

static uint8_t *ram(struct rig *rig, gpa_t at, uint64_t len)
{
	const struct memory_region *r = memory_find(&rig->mem, at, len);

	need(r != NULL);
	return (uint8_t *)r->hva + (at - r->gpa);
}

/* --- the host ------------------------------------------------------------------- */

static struct stream *new_stream(struct rig *rig)
{
	struct stream *s = calloc(1, sizeof(*s));

	need(s != NULL);
	s->rig = rig;
	s->next = rig->streams;
	rig->streams = s;
	rig->nr_streams++;
	return s;
}

static int on_connect(void *opaque, struct vsock_conn *conn, uint32_t port, void **stream)
{
	struct rig *rig = opaque;
	struct stream *s;

	(void)port;
	if (rig->answer == 1)
		return -ECONNREFUSED;
	s = new_stream(rig);
	s->conn = conn;
	s->connecting = rig->answer == 2;
	*stream = s;
	return s->connecting ? -EINPROGRESS : 0;
}

static void on_accepted(void *stream, uint32_t host_port)
{
	(void)stream;
	need(host_port >= VSOCK_FIRST_PORT && host_port <= VSOCK_LAST_PORT);
}

static long on_recv(void *stream, const struct iovec *iov, unsigned int nr, bool *more)
{
	struct stream *s = stream;
	uint32_t n = 0, part;

	if (s->broken)
		return -ECONNRESET;
	if (!s->left)
		return s->eof ? 0 : -EAGAIN;
	for (; nr-- && s->left; iov++) {
		part = (uint32_t)min_u64(s->left, iov->iov_len);
		memset(iov->iov_base, 0x5a, part);
		s->left -= part;
		n += part;
	}
	*more = s->left;
	return n;
}

static long on_send(void *stream, const struct iovec *iov, unsigned int nr)
{
	struct stream *s = stream;
	volatile uint8_t sum = 0;
	long n = 0;
	size_t i;

	if (s->broken)
		return -EPIPE;
	for (; nr--; iov++)
		for (i = 0; i < iov->iov_len && s->rig->room; i++, n++, s->rig->room--)
			sum = sum + ((uint8_t *)iov->iov_base)[i];
	return n ? n : -EAGAIN;
}

static void on_want_send(void *stream, bool on)
{
	(void)stream;
	(void)on;
}

static void on_shutdown(void *stream, int how)
{
	(void)stream;
	(void)how;
}

static void on_close(void *stream)
{
	struct stream *s = stream, **link = &s->rig->streams;

	while (*link != s)
		link = &(*link)->next;
	*link = s->next;
	s->rig->nr_streams--;
	free(s);
}

static void on_arm(void *opaque, uint64_t deadline)
{
	((struct rig *)opaque)->deadline = deadline;
}

static uint64_t on_now(void *opaque)
{
	return ((struct rig *)opaque)->now;
}

static void on_destroy(void *opaque)
{
	need(!((struct rig *)opaque)->streams);
}

static const struct vsock_host_ops host_ops = {
	.connect = on_connect,
	.accepted = on_accepted,
	.recv = on_recv,
	.send = on_send,
	.want_send = on_want_send,
	.shutdown = on_shutdown,
	.close = on_close,
	.arm = on_arm,
	.now = on_now,
	.destroy = on_destroy,
};

/* --- the guest ------------------------------------------------------------------- */

static void on_line(struct irq_chip *chip, uint32_t source, bool level)
{
	(void)chip;
	(void)source;
	(void)level;
}

static const struct irq_chip_ops chip_ops = {
	.set_level = on_line,
};

static void run_soon(void *opaque)
{
	(void)opaque;
}

static const struct virtio_mmio_env mmio_env = {
	.run_soon = run_soon,
};

static void wr(struct rig *rig, uint64_t reg, uint64_t value)
{
	virtio_mmio_ops.write(rig->mmio, reg, value, 4);
}

static uint32_t rd(struct rig *rig, uint64_t reg)
{
	return (uint32_t)virtio_mmio_ops.read(rig->mmio, reg, 4);
}

static void bring_up(struct rig *rig, uint64_t features)
{
	unsigned int q;

	wr(rig, 0x70, 0);
	memset(ram(rig, RAM, 0x3000), 0, 0x3000);
	wr(rig, 0x70, 3);
	wr(rig, 0x24, 0);
	wr(rig, 0x20, (uint32_t)features);
	wr(rig, 0x24, 1);
	wr(rig, 0x20, 1);
	wr(rig, 0x70, 11);
	for (q = 0; q < 3; q++) {
		wr(rig, 0x30, q);
		wr(rig, 0x38, NUM);
		wr(rig, 0x80, DESC(q));
		wr(rig, 0x84, 0);
		wr(rig, 0x90, AVAIL(q));
		wr(rig, 0x94, 0);
		wr(rig, 0xa0, USED(q));
		wr(rig, 0xa4, 0);
		wr(rig, 0x44, 1);
	}
	wr(rig, 0x70, 15);
	rig->rx_seen = 0;
	rig->strange = false;
}

static void put_desc(struct rig *rig, unsigned int q, unsigned int i, gpa_t addr, uint32_t len,
		     uint16_t flags, uint16_t next)
{
	uint64_t half = len | (uint64_t)flags << 32 | (uint64_t)next << 48;

	memcpy(ram(rig, DESC(q) + 16 * i, 16), &addr, 8);
	memcpy(ram(rig, DESC(q) + 16 * i + 8, 8), &half, 8);
}

static void offer(struct rig *rig, unsigned int q, uint16_t head)
{
	uint16_t idx;

	memcpy(&idx, ram(rig, AVAIL(q) + 2, 2), 2);
	memcpy(ram(rig, AVAIL(q) + 4 + 2 * (idx % NUM), 2), &head, 2);
	idx++;
	memcpy(ram(rig, AVAIL(q) + 2, 2), &idx, 2);
	wr(rig, 0x50, q);
}

static uint16_t used(struct rig *rig, unsigned int q)
{
	uint16_t idx;

	memcpy(&idx, ram(rig, USED(q) + 2, 2), 2);
	return idx;
}

static uint16_t avail(struct rig *rig, unsigned int q)
{
	uint16_t idx;

	memcpy(&idx, ram(rig, AVAIL(q) + 2, 2), 2);
	return idx;
}

static void put32(uint8_t *p, uint64_t v)
{
	memcpy(p, &v, 4);
}

static void send(struct rig *rig, uint16_t op, uint32_t guest_port, uint32_t host_port,
		 uint32_t len, uint32_t flags, uint32_t alloc, uint32_t fwd, uint32_t given,
		 unsigned int cut)
{
	uint8_t *h = ram(rig, OUT, 44);

	memset(h, 0, 44);
	h[0] = CID;
	h[8] = 2;
	put32(h + 16, guest_port);
	put32(h + 20, host_port);
	put32(h + 24, len);
	put32(h + 28, (uint32_t)op << 16 | 1);
	put32(h + 32, flags);
	put32(h + 36, alloc);
	put32(h + 40, fwd);
	if (cut) {
		put_desc(rig, 1, 0, OUT, cut, 1, 1);
		put_desc(rig, 1, 1, OUT + cut, 44 + given - cut, 0, 0);
	} else {
		put_desc(rig, 1, 0, OUT, 44 + given, 0, 0);
	}
	offer(rig, 1, 0);
}

static uint32_t some_port(uint64_t how)
{
	return how & 4 ? VSOCK_FIRST_PORT + (uint32_t)(how & 3) : (uint32_t)how & 3;
}

static void some_packet(struct rig *rig, struct input *in)
{
	static const uint32_t alloc[] = {65536, 0, 1, 100, 0x7fffffff, 0xffffffff, 4096, 256};
	uint64_t how = take(in, 1), ports = take(in, 1), lens = take(in, 1);
	uint32_t given = (uint32_t)(lens & 0x80 ? (lens & 0x7f) * 4096 : lens), len = given;
	uint16_t op = how & 0x80 ? (uint16_t)take(in, 2) : how & 7;
	uint32_t fwd = 0;

	if (how & 0x40)
		len = (uint32_t)take(in, 4);
	if (how & 0x20)
		fwd = (uint32_t)take(in, 2);
	send(rig, op, (uint32_t)(ports >> 4 & 3), some_port(ports), len, (uint32_t)(ports >> 6),
	     alloc[ports >> 3 & 7], fwd, given, how & 0x10 ? 1 + (uint32_t)take(in, 1) % 43 : 0);
}

static void receive_buffer(struct rig *rig, uint32_t len)
{
	uint32_t slot;

	/* The ring is full: a good driver waits. */
	if (!rig->strange && (uint16_t)(avail(rig, 0) - used(rig, 0)) == NUM)
		return;
	slot = rig->next_slot++ % NUM;
	put_desc(rig, 0, slot, IN + IN_SLOT * slot, len % (IN_SLOT + 1), 2, 0);
	offer(rig, 0, (uint16_t)slot);
}

/* What the guest got. */
static void look(struct rig *rig)
{
	uint16_t idx = used(rig, 0);
	uint32_t id, len, payload;
	const uint8_t *h;

	if (rig->strange)
		return;
	for (; rig->rx_seen != idx; rig->rx_seen++) {
		const uint8_t *elem = ram(rig, USED(0) + 4 + 8 * (rig->rx_seen % NUM), 8);

		memcpy(&id, elem, 4);
		memcpy(&len, elem + 4, 4);
		need(id < NUM);
		if (!len) /* too small */
			continue;
		h = ram(rig, IN + IN_SLOT * id, IN_SLOT);
		memcpy(&payload, h + 24, 4);
		need(len == 44 + payload && h[8] == CID);
		need(h[30] >= 1 && h[30] <= 7 && !h[31]);
		need(!payload || (h[30] == 5 && h[44] == 0x5a && h[len - 1] == 0x5a));
	}
}

static void check_world(struct rig *rig)
{
	const struct virtio_vsock *v = rig->vsock;
	unsigned int i, conns = 0, streams = 0;
	struct vsock_conn *conn;

	for (i = 0; i < VSOCK_BUCKETS; i++)
		for (conn = v->buckets[i]; conn; conn = conn->next) {
			conns++;
			streams += conn->stream != NULL;
			need(conn->used <= VSOCK_BUFFER && !conn->used == !conn->buf);
			need(conn->state == CONN_DRAINING ||
			     conn->used == conn->rx_cnt - conn->fwd_cnt ||
			     conn->state >= CONN_CLOSING);
			need(!conn->deadline || v->armed <= conn->deadline);
		}
	need(conns == v->nr_conns && conns <= VSOCK_MAX_CONNECTIONS);
	need(streams == rig->nr_streams);
	need(v->nr_strays <= VSOCK_MAX_STRAYS && !v->filling);
	for (i = 0; i < 3; i++)
		need(!virtio_queue((struct virtio_device *)(uintptr_t)&v->vdev, i)->inflight);
}

/* --- steps ------------------------------------------------------------------------- */

static struct stream *pick(struct rig *rig, uint64_t which)
{
	struct stream *s = rig->streams;

	for (which &= 7; s && s->next && which; which--)
		s = s->next;
	return s;
}

static void host_step(struct rig *rig, struct input *in)
{
	uint64_t how = take(in, 1), arg = take(in, 1);
	struct stream *s = pick(rig, how >> 5);

	virtio_enter_device(&rig->vsock->vdev);
	if ((how & 7) == 7) {
		s = new_stream(rig);
		s->conn = virtio_vsock_open(rig->vsock, (uint32_t)arg & 3, s);
		if (!s->conn)
			on_close(s);
	} else if (s && s->connecting) {
		s->connecting = false;
		virtio_vsock_connected(s->conn, how & 1);
	} else if (s) {
		s->left += how & 8 ? (uint32_t)arg * 64 : 0;
		s->eof |= (how & 7) == 5;
		s->broken |= (how & 0x17) == 0x16;
		rig->room = how & 0x10 ? (uint32_t)arg * 1024 : (uint32_t)arg;
		virtio_vsock_ready(s->conn, (how & 7) == 5   ? VSOCK_READABLE | VSOCK_ENDING
					    : (how & 7) == 6 ? VSOCK_GONE
							     : (unsigned int)how & 3);
	}
	virtio_vsock_flush(rig->vsock);
	virtio_leave(&rig->vsock->vdev);
}

static void save(struct device *dev, struct xfer *x)
{
	xfer_save_init(x);
	dev->ops->transfer(dev, x);
	need(!xfer_done(x, NULL));
}

static void save_load(struct rig *rig, struct input *in, bool change)
{
	struct device *dev = virtio_mmio_device(rig->mmio);
	struct xfer x, y, again;

	dev->ops->quiesce(dev);
	save(dev, &x);
	while (change && in->size && take(in, 1) & 1)
		x.buf[take(in, 1) % x.len] = (uint8_t)take(in, 1);
	xfer_load_init(&y, x.buf, x.len);
	dev->ops->transfer(dev, &y);
	if (!xfer_done(&y, NULL)) {
		save(dev, &again);
		need(again.len == x.len && !memcmp(again.buf, x.buf, x.len));
		xfer_free(&again);
		rig->strange |= change;
	} else {
		need(change);
	}
	xfer_free(&x);
	dev->ops->resume(dev);
}

static void step(struct rig *rig, struct input *in)
{
	uint64_t op = take(in, 1);

	switch (op & 15) {
	case 0:
	case 1:
	case 2:
	case 3:
		some_packet(rig, in);
		break;
	case 4:
		receive_buffer(rig, 4096);
		break;
	case 5:
		receive_buffer(rig, (uint32_t)take(in, 2));
		break;
	case 6:
	case 7:
	case 8:
		host_step(rig, in);
		break;
	case 9:
		rig->now += (op >> 4) * NSEC_PER_SEC;
		if (rig->deadline <= rig->now)
			virtio_vsock_tick(rig->vsock);
		virtio_device_run(virtio_mmio_vdev(rig->mmio));
		break;
	case 10:
		rig->answer = op >> 4 & 3;
		break;
	case 11: /* a descriptor, an index, a header: anything */
		rig->strange = true;
		put_desc(rig, op >> 4 & 1, (unsigned int)take(in, 1) % NUM,
			 RAM + take(in, 3) % (3 * MIB), (uint32_t)take(in, 2),
			 (uint16_t)take(in, 1) & 7, (uint16_t)take(in, 1) % (NUM + 1));
		offer(rig, op >> 4 & 1, (uint16_t)take(in, 1) % (NUM + 1));
		break;
	case 12:
		ram(rig, OUT + take(in, 1) % 44, 1)[0] = (uint8_t)take(in, 1);
		put_desc(rig, 1, 0, OUT, 44, 0, 0);
		offer(rig, 1, 0);
		break;
	case 13:
		save_load(rig, in, op & 0x80);
		break;
	case 14:
		put_desc(rig, 2, 0, OUT + 0x1000, (uint32_t)op >> 4, 2, 0);
		offer(rig, 2, 0);
		break;
	default:
		bring_up(rig, op >> 4 & 5);
		break;
	}
}

/* A driver that knows its trade gets an answer, and its bytes to the host and back. */
static void check_sane(struct rig *rig)
{
	struct stream *s;

	bring_up(rig, 0);
	need(rd(rig, 0x70) == 15 && !rig->nr_streams);
	rig->answer = 0;
	rig->room = 100;
	receive_buffer(rig, 4096);
	receive_buffer(rig, 4096);
	send(rig, VSOCK_OP_REQUEST, 1, 2, 0, 0, 65536, 0, 0, 0);
	need(used(rig, 0) == 1 && rig->nr_streams == 1);
	send(rig, VSOCK_OP_RW, 1, 2, 100, 0, 65536, 0, 100, 0);
	need(!rig->room);
	s = rig->streams;
	s->left = 100;
	virtio_enter_device(&rig->vsock->vdev);
	virtio_vsock_ready(s->conn, VSOCK_READABLE);
	virtio_vsock_flush(rig->vsock);
	virtio_leave(&rig->vsock->vdev);
	need(used(rig, 0) == 2);
	look(rig);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct device *dev;
	struct rig rig;

	memset(&rig, 0, sizeof(rig));
	memory_init(&rig.mem);
	need(memory_add(&rig.mem, RAM, RAM_SIZE, 4096, NULL) != NULL);
	rig.vsock = virtio_vsock_create("vsock0", &rig.mem, NULL, CID, &host_ops, &rig);
	need(rig.vsock != NULL);
	rig.chip.ops = &chip_ops;
	rig.mmio = virtio_mmio_create(virtio_vsock_device(rig.vsock),
				      (struct irq_line){&rig.chip, 1}, &mmio_env, &rig);
	need(rig.mmio != NULL);
	dev = virtio_mmio_device(rig.mmio);
	bring_up(&rig, 0);
	while (in.size) {
		step(&rig, &in);
		look(&rig);
		check_world(&rig);
	}
	check_sane(&rig);
	check_world(&rig);
	dev->ops->destroy(dev);
	memory_destroy(&rig.mem);
	return 0;
}
