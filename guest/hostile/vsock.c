// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pokes at a socket device: virtio 1.2, section 5.10.6.
 */
#include "hostile.h"

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

const struct poke vsock_pokes[] = {
	{"C11", V_ID_VSOCK, headers},
	{"C11-split", V_ID_VSOCK, split_header},
	{"C12", V_ID_VSOCK, credit},
	{"C12-requests", V_ID_VSOCK, requests},
	{NULL, 0, NULL},
};
