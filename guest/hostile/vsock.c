// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pokes at a socket device: virtio 1.2, section 5.10.6. Where the host's kernel serves it
 * (vhost), rings and notifications go past lkvm; the runner gives such a one to the cases
 * that ask for it by their names.
 */
#include "hostile.h"

#define RX 0
#define TX 1
#define PCI_BAR0 0x10
#define BAR_SIZE UINT64_C(0x8000)

#define HEADER 44
#define OP_REQUEST 1
#define OP_RST 3
#define OP_SHUTDOWN 4
#define OP_RW 5
#define OP_CREDIT_UPDATE 6

struct packet {
	uint64_t src, dst;
	uint32_t src_port, dst_port, len, type_op, flags, buf_alloc, fwd_cnt;
};

static void write_packet(struct stage *s, const struct packet *p)
{
	uint64_t at = (uint64_t)BLK_DATA(s);

	wr64(at, p->src);
	wr64(at + 8, p->dst);
	wr32(at + 16, p->src_port);
	wr32(at + 20, p->dst_port);
	wr32(at + 24, p->len);
	wr32(at + 28, p->type_op);
	wr32(at + 32, p->flags);
	wr32(at + 36, p->buf_alloc);
	wr32(at + 40, p->fwd_cnt);
}

static bool send(struct stage *s, const struct packet *p, uint32_t bytes)
{
	write_packet(s, p);
	v_desc(&s->v->ring[1], 0, BLK_DATA(s), bytes, 0, 0);
	v_offer(&s->v->ring[1], 0);
	return v_wait(s->v, s->guest, 1, NULL, NULL) || wrong("a packet is kept, op", p->type_op);
}

static struct packet good(struct stage *s, uint32_t op)
{
	return (struct packet){.src = rd64(v_config(s->v)),
			       .dst = 2,
			       .src_port = 1000,
			       .dst_port = 2000,
			       .type_op = op << 16 | 1,
			       .buf_alloc = 65536};
}

/* Lengths that lie, operations and types nobody knows, senders we are not. */
static bool headers(struct stage *s)
{
	struct packet p;
	uint32_t i;

	for (i = 0; i < HEADER; i += 5) {
		p = good(s, OP_REQUEST);
		if (!send(s, &p, i))
			return false;
	}
	for (i = 0; i < 32; i++) {
		p = good(s, i);
		p.len = i & 1 ? 0xffffffff : 65537;
		if (!send(s, &p, HEADER + 16))
			return false;
		p = good(s, OP_REQUEST);
		p.type_op = OP_REQUEST << 16 | i;
		if (!send(s, &p, HEADER))
			return false;
		p = good(s, OP_REQUEST);
		p.src = i;
		if (!send(s, &p, HEADER))
			return false;
		p = good(s, OP_REQUEST);
		p.dst = i + 3;
		if (!send(s, &p, HEADER))
			return false;
		p = good(s, OP_RW);
		p.src |= UINT64_C(1) << (32 + i % 31);
		if (!send(s, &p, HEADER))
			return false;
	}
	return true;
}

/* The header cut over many descriptors. */
static bool split_header(struct stage *s)
{
	struct packet p = good(s, OP_REQUEST);
	struct vring *r = &s->v->ring[1];
	uint16_t i;

	write_packet(s, &p);
	for (i = 0; i < 11; i++)
		v_desc(r, i, BLK_DATA(s) + 4 * i, 4, i < 10 ? VD_NEXT : 0, (uint16_t)(i + 1));
	v_offer(r, 0);
	return v_wait(s->v, s->guest, 1, NULL, NULL) || wrong("a packet is kept", 0);
}

/* Credit games, and data on connections that never were. */
static bool credit(struct stage *s)
{
	static const uint32_t values[] = {0, 1, 0x7fffffff, 0x80000000, 0xffffffff};
	struct packet p;
	size_t i, j;

	for (i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		for (j = 0; j < sizeof(values) / sizeof(values[0]); j++) {
			p = good(s, OP_CREDIT_UPDATE);
			p.buf_alloc = values[i];
			p.fwd_cnt = values[j];
			if (!send(s, &p, HEADER))
				return false;
			p.type_op = OP_RW << 16 | 1;
			p.len = 16;
			if (!send(s, &p, HEADER + 16))
				return false;
			p.type_op = OP_SHUTDOWN << 16 | 1;
			p.flags = values[i];
			p.len = 0;
			if (!send(s, &p, HEADER))
				return false;
		}
	return true;
}

/* Requests for connections without end, and nobody takes the answers. */
static bool requests(struct stage *s)
{
	struct packet p = good(s, OP_REQUEST);
	uint64_t i;

	for (i = 0; i < s->count; i++) {
		p.src_port = (uint32_t)i;
		p.dst_port = (uint32_t)(i * 7);
		write_packet(s, &p);
		v_desc(&s->v->ring[1], 0, BLK_DATA(s), HEADER, 0, 0);
		v_offer(&s->v->ring[1], 0);
		v_notify(s->v, 1);
		/* A device may stop taking them until its answers are taken. */
		if (!v_get(&s->v->ring[1], NULL, NULL) && !v_wait(s->v, s->guest, 1, NULL, NULL))
			break;
	}
	return v_status(s->v) == V_RUNS || wrong("status", v_status(s->v));
}

/* --- served by the host's kernel --------------------------------------------------------- */

static void wait_ms(struct stage *s, uint64_t ms)
{
	uint64_t until = read_time() + s->guest->timebase * ms / 1000;

	while (read_time() < until)
		;
}

/* One thing that a split ring must not have. */
static void spoil(struct stage *s, unsigned int which)
{
	struct vring *r = &s->v->ring[which & 1 ? RX : TX];

	switch (which / 2) {
	case 0:
		v_offer(r, 0xffff);
		break;
	case 1:
		v_desc(r, 0, (void *)~UINT64_C(0xfff), 4096, which & 1 ? VD_WRITE : 0, 0);
		v_offer(r, 0);
		break;
	case 2:
		v_desc(r, 0, BLK_DATA(s), 16, VD_NEXT, 0);
		v_offer(r, 0);
		break;
	case 3:
		r->avail->idx = (uint16_t)(r->avail->idx + 1000);
		break;
	default:
		v_desc(r, 0, (void *)s->guest->serial, 16, VD_INDIRECT | VD_NEXT, 0xffff);
		v_offer(r, 0);
		break;
	}
}

/* Rings that change or lie while the kernel walks them, and queues stopped under it. */
static bool kernel_rings(struct stage *s)
{
	struct vdev *v = s->v;
	unsigned int which;

	for (which = 0; which < 10; which++) {
		if (!up(s, v, 0, 16))
			return false;
		v_set_layout(v, TX, 8, 0, ~UINT64_C(0), (uint64_t)s->buf + 1);
		v_set_ready(v, TX, true);
		if (!works(s, v))
			return wrong("a layout was changed under the kernel, round", which);
		spoil(s, which);
		v_notify(v, RX);
		v_notify(v, TX);
		wait_ms(s, 5);
		/* MMIO can stop a queue; on PCI this says nothing. */
		if (which & 1) {
			v_set_ready(v, TX, false);
			v_notify(v, TX);
		}
		if (!v_reset(v))
			return wrong("a reset does not end, round", which);
	}
	return true;
}

/* The BAR that holds all of a function's structures. */
static void move_bar(struct vdev *v, uint64_t to)
{
	uint64_t by = to - v->common;

	wr32(v->function + PCI_BAR0, (uint32_t)to);
	v->common += by;
	v->notify += by;
	v->isr += by;
	v->config += by;
}

/* Doorbells and interrupts past lkvm, connected and cut again and again. */
static bool doorbells(struct stage *s)
{
	struct vdev *v = s->v;
	uint64_t home = v->common, away = (s->bus->next_bar + BAR_SIZE - 1) & ~(BAR_SIZE - 1), i;
	bool good = true;

	for (i = 0; good && i < s->count / 25; i++) {
		uint64_t old = v->notify;

		if (s->pci) {
			move_bar(v, i & 1 ? home : away);
			/* Where it was there is nothing now. */
			wr16(old, 0);
			wr16(old + 4, 1);
		}
		good = works(s, v) || wrong("a packet is lost, round", i);
		if (good && i % 4 == 3)
			good = up(s, v, 0, 16);
	}
	if (s->pci)
		move_bar(v, home);
	return good;
}

const struct poke vsock_pokes[] = {
	{"C11", V_ID_VSOCK, headers},
	{"C11-split", V_ID_VSOCK, split_header},
	{"C12", V_ID_VSOCK, credit},
	{"C12-requests", V_ID_VSOCK, requests},
	{"C22", V_ID_VSOCK, kernel_rings},
	{"A17-vhost", V_ID_VSOCK, doorbells},
	{NULL, 0, NULL},
};
