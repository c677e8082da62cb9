// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz the console device: the input is a sequence of what the guest and the host do.
 * The guest sends output and control messages, offers buffers, opens ports, resets,
 * spoils its rings; the host takes some of the output, gives input, connects, leaves,
 * resizes its window; the state is saved and loaded, changed or not.
 *
 * Besides what the sanitizers see: no function of a port that nobody is connected to is
 * called; a port is added once and never beyond the maximum; the guest is told of no
 * port that is not there; input keeps its order; a device that was reset carries bytes
 * both ways.
 */
#include "virtio_guest.h"

#include "lkvm/virtio/console.h"

#define PORTS 4 /* one of them not there */
#define INPUT_AREA (DATA + 0x2000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct rig;

struct host {
	struct rig *rig;
	bool there, connected;
	uint64_t takes, written;
	uint8_t given, got; /* counters that are the bytes of the input */
	size_t unknown;	    /* so many bytes first that may be any */
};

struct rig {
	struct guest g;
	struct virtio_console *con;
	struct host host[PORTS];
	bool added[PORTS];
	bool cut; /* a message did not fit its buffer */
	unsigned int nr;
};

static size_t on_write(void *opaque, const void *buf, size_t len)
{
	struct host *h = opaque;
	volatile uint8_t sink;
	size_t i;

	need(h->there && h->connected && len);
	/* All of it is memory. */
	for (i = 0; i < len; i += 4096)
		sink = ((const uint8_t *)buf)[i];
	sink = ((const uint8_t *)buf)[len - 1];
	(void)sink;
	len = min_u64(len, h->takes);
	h->takes -= len;
	h->written += len;
	return len;
}

static void on_want(void *opaque)
{
	struct host *h = opaque;

	need(h->there && h->connected);
}

static const struct virtio_console_port_ops port_ops = {
	.write = on_write,
	.want_input = on_want,
};

static void start(struct rig *rig, uint64_t setup)
{
	struct virtio_console_port ports[PORTS] = {
		{&port_ops, &rig->host[0], NULL, true, true},
		{&port_ops, &rig->host[1], "first", false, setup & 4},
		{&port_ops, &rig->host[2], "second", setup & 8, true},
		{.ops = NULL},
	};
	unsigned int i;

	memset(rig, 0, sizeof(*rig));
	guest_memory_init(&rig->g);
	if (setup & 2)
		ports[0].ops = NULL;
	rig->nr = setup & 1 ? PORTS : 1;
	ports[0].ops = rig->nr == 1 ? &port_ops : ports[0].ops;
	for (i = 0; i < rig->nr; i++) {
		rig->host[i].rig = rig;
		rig->host[i].there = ports[i].ops;
		rig->host[i].connected = ports[i].ops && ports[i].connected;
	}
	rig->con = virtio_console_create("console0", &rig->g.mem, NULL, ports, rig->nr);
	need(rig->con != NULL);
	guest_plug(&rig->g, virtio_console_device(rig->con), rig->nr > 1 ? 2 * PORTS + 2 : 2);
}

static unsigned int queue_of(unsigned int port, bool transmit)
{
	return (port ? 2 * port + 2 : 0) + transmit;
}

static void send_control(struct rig *rig, struct input *in)
{
	uint64_t how = take(in, 1);
	uint64_t id = how & 0x80 ? take(in, 4) : how >> 4 & 7, event = how & 7, message;
	uint32_t len = 8;

	if (how & 8) {
		event = take(in, 2);
		len = (uint32_t)take(in, 1) % 20;
	}
	message = id | event << 32 | take(in, 1) << 48;
	memcpy(ram(&rig->g, DATA, 8), &message, 8);
	guest_chain(&rig->g, in, 3, DATA, len, 0);
}

static void look_at_input(struct host *h, const uint8_t *at, uint32_t len)
{
	uint32_t i;

	for (i = 0; i < len; i++) {
		if (h->unknown)
			h->unknown--;
		else
			need(at[i] == h->got++);
	}
}

/* Look at what came: control messages, and input in its order. */
static void look(struct rig *rig)
{
	uint32_t id, len, port;
	uint64_t message;
	unsigned int q;

	for (q = 0; q < rig->g.nr; q++) {
		while (guest_used(&rig->g, q, &id, &len)) {
			const uint8_t *at;

			if (rig->g.spoilt)
				continue;
			need(id < NUM);
			at = ram(&rig->g, INPUT_AREA + q * 0x800 + id * 0x100, 0x100);
			if (q & 1) {
				need(!len);
			} else if (q == 2) {
				/* A buffer too short for a message: which it was is not known. */
				if (len < 8) {
					rig->cut = true;
					continue;
				}
				memcpy(&message, at, 8);
				port = (uint32_t)message;
				need(port < rig->nr && rig->host[port].there);
				if ((message >> 32 & 0xffff) == 1) {
					need(!rig->added[port]);
					rig->added[port] = true;
				} else {
					need(rig->added[port] || rig->cut);
				}
			} else {
				port = q ? q / 2 - 1 : 0;
				look_at_input(&rig->host[port], at, len);
			}
		}
	}
}

static void give_input(struct rig *rig, unsigned int port, size_t want)
{
	struct host *h = &rig->host[port];
	uint8_t buf[256];
	size_t room = virtio_console_room(rig->con, port), i;

	need(room <= VIRTIO_CONSOLE_INPUT);
	need(virtio_console_waiting(rig->con, port) <= VIRTIO_CONSOLE_INPUT);
	want = min_u64(min_u64(want, room), sizeof(buf));
	for (i = 0; i < want; i++)
		buf[i] = h->given++;
	virtio_console_input(rig->con, port, buf, want);
}

/* With a changed state those that wait may be any: the counters start anew behind them. */
static void forget_input(struct rig *rig)
{
	unsigned int port;

	for (port = 0; port < rig->nr; port++) {
		rig->host[port].unknown = virtio_console_waiting(rig->con, port);
		rig->host[port].got = rig->host[port].given;
	}
}

static void go(struct rig *rig, uint64_t features)
{
	/* What came into a spoilt ring was not looked at. */
	if (rig->g.spoilt)
		forget_input(rig);
	guest_go(&rig->g, features);
	memset(rig->added, 0, sizeof(rig->added));
	rig->cut = false;
}

static void step(struct rig *rig, struct input *in)
{
	uint64_t op = take(in, 1), at;
	unsigned int port = (op >> 4 & 3) % rig->nr, q;
	struct host *h = &rig->host[port];
	struct guest *g = &rig->g;

	switch (op & 15) {
	case 0:
		go(rig, op & 0x80 ? take(in, 5) : (op >> 4 & 7) | (op & 8) << 26);
		break;
	case 1: /* output */
		q = queue_of(port, true);
		if (guest_free(g, q))
			guest_chain(g, in, q, op & 0x80 ? RAM_END - 0x8000 : DATA,
				    (uint32_t)take(in, op & 0x40 ? 2 : 1) % 0x8000, 0);
		break;
	case 2: /* a buffer for input, or for a message */
		q = op & 0x80 && rig->nr > 1 ? 2 : queue_of(port, false);
		if (guest_free(g, q)) {
			uint16_t slot = g->next[q] % NUM;

			guest_desc(g, q, slot, INPUT_AREA + q * 0x800 + slot * 0x100,
				   (uint32_t)take(in, 1), WRITE, 0);
			g->next[q]++;
			guest_offer(g, q, slot);
			guest_notify(g, q);
		}
		break;
	case 3:
	case 4:
		if (rig->nr > 1 && guest_free(g, 3))
			send_control(rig, in);
		break;
	case 5: /* the reader reads */
		h->takes = op & 0x80 ? UINT32_MAX : take(in, 1);
		virtio_console_drained(rig->con, port);
		break;
	case 6:
		if (h->there)
			give_input(rig, port, take(in, 1));
		break;
	case 7:
		if (h->there) {
			h->connected = op & 0x80;
			virtio_console_connect(rig->con, port, h->connected);
		}
		break;
	case 8:
		virtio_console_resize(rig->con, (uint16_t)take(in, 1), (uint16_t)(op >> 4));
		break;
	case 9:
		guest_save_load(g, in, op & 0x80);
		if (op & 0x80) {
			forget_input(rig);
			go(rig, 3);
		}
		break;
	case 10:
		if (op & 0x80)
			guest_spoil(g, in);
		break;
	case 11:
		g->dev->ops->reset(g->dev);
		go(rig, 0);
		break;
	case 12: /* the configuration space; a byte of an emergency */
		at = take(in, 1);
		virtio_mmio_ops.read(g->mmio, 0x100 + at % 0xf8, 1U << (op >> 4 & 3));
		virtio_mmio_ops.write(g->mmio, 0x100 + at % 0xf8, take(in, 1), 1U << (op >> 4 & 3));
		break;
	default:
		guest_run(g);
		break;
	}
	look(rig);
}

/* Whatever happened, a driver that starts afresh is served. */
static void check_sane(struct rig *rig)
{
	struct guest *g = &rig->g;
	unsigned int port = rig->host[0].there ? 0 : 1;
	unsigned int in = queue_of(port, false), out = queue_of(port, true);
	struct host *h = &rig->host[port];
	uint32_t id, len;
	unsigned int i;

	h->connected = true;
	h->takes = UINT64_MAX;
	virtio_console_connect(rig->con, port, true);
	guest_go(g, rig->nr > 1 ? 2 : 0);
	need(rd(g, 0x70) == 15);
	if (rig->nr > 1) {
		for (i = 0; i < NUM; i++) {
			guest_desc(g, 2, i, INPUT_AREA + i * 0x100, 0x100, WRITE, 0);
			guest_offer(g, 2, (uint16_t)i);
		}
		for (i = 0; i < 3; i++) {
			const uint64_t message[] = {UINT64_C(1) << 48,
						    port | UINT64_C(3) << 32 | UINT64_C(1) << 48,
						    port | UINT64_C(6) << 32 | UINT64_C(1) << 48};

			memcpy(ram(g, DATA, 8), &message[i], 8);
			guest_desc(g, 3, i, DATA, 8, 0, 0);
			guest_offer(g, 3, (uint16_t)i);
			guest_notify(g, 3);
		}
	}
	h->written = 0;
	guest_desc(g, out, 0, DATA, 1000, 0, 0);
	guest_offer(g, out, 0);
	guest_notify(g, out);
	need(h->written == 1000 && guest_used(g, out, &id, &len));
	for (i = 0; i < NUM; i++) {
		guest_desc(g, in, i, INPUT_AREA + i * 0x400, 0x400, WRITE, 0);
		guest_offer(g, in, (uint16_t)i);
	}
	guest_notify(g, in);
	while (guest_used(g, in, &id, &len))
		;
	need(virtio_console_room(rig->con, port) == VIRTIO_CONSOLE_INPUT);
	virtio_console_input(rig->con, port, "ok", 2);
	need(guest_used(g, in, &id, &len) && len == 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct rig rig;

	start(&rig, take(&in, 1));
	go(&rig, 3);
	while (in.size)
		step(&rig, &in);
	check_sane(&rig);
	guest_end(&rig.g);
	return 0;
}
