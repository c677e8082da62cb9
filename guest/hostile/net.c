// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pokes at a network card: virtio 1.2, section 5.1.6.
 */
#include "hostile.h"

#define HEADER 12
#define F_CTRL_VQ 17
#define F_CTRL_RX 18
#define F_CTRL_VLAN 19
#define F_CTRL_MAC_ADDR 23
#define F_MQ 22

#define CTRL_OK 0

static bool send(struct stage *s, uint32_t len)
{
	v_desc(&s->v->ring[1], 0, BLK_DATA(s), len, 0, 0);
	v_offer(&s->v->ring[1], 0);
	return v_wait(s->v, s->guest, 1, NULL, NULL) || wrong("a frame is kept, length", len);
}

static void frame(struct stage *s)
{
	unsigned int i;

	for (i = 0; i < 4000; i++)
		BLK_DATA(s)[i] = i < HEADER ? 0 : (uint8_t)i;
	for (i = 0; i < 6; i++)
		BLK_DATA(s)[HEADER + 6 + i] = rd8(v_config(s->v) + i);
}

/* Shorter than its header, headers that promise what is not there, many pieces. */
static bool bad_frames(struct stage *s)
{
	struct vring *r = &s->v->ring[1];
	uint32_t len, i;

	frame(s);
	for (len = 0; len < HEADER + 20; len++)
		if (!send(s, len))
			return false;
	for (i = 0; i < 256; i++) {
		frame(s);
		BLK_DATA(s)[0] = (uint8_t)i;			      /* flags */
		BLK_DATA(s)[1] = (uint8_t)(i * 7);		      /* GSO type */
		wr16((uint64_t)BLK_DATA(s) + 2, 0xffff);	      /* header length */
		wr16((uint64_t)BLK_DATA(s) + 4, (uint16_t)(i * 251)); /* GSO size */
		wr16((uint64_t)BLK_DATA(s) + 6, 0xfff0);	      /* checksum start */
		wr16((uint64_t)BLK_DATA(s) + 8, 0xffff);	      /* checksum offset */
		wr16((uint64_t)BLK_DATA(s) + 10, 0xffff);
		if (!send(s, 1000))
			return false;
	}
	frame(s);
	if (!send(s, 4000))
		return false;
	/* All of the ring in one-byte pieces, and 60 KiB in large ones. */
	for (i = 0; i < r->num; i++)
		v_desc(r, i, BLK_DATA(s) + i, 1, i + 1 < r->num ? VD_NEXT : 0, (uint16_t)(i + 1));
	v_offer(r, 0);
	if (!v_wait(s->v, s->guest, 1, NULL, NULL))
		return wrong("a frame in pieces is kept", r->num);
	for (i = 0; i < r->num; i++)
		v_desc(r, i, s->buf, 8192, i + 1 < r->num ? VD_NEXT : 0, (uint16_t)(i + 1));
	v_offer(r, 0);
	return v_wait(s->v, s->guest, 1, NULL, NULL) || wrong("a huge frame is kept", r->num);
}

/* Offer buffer @i of the receive ring, with @len bytes. */
static void give_buffer(struct stage *s, unsigned int i, uint32_t len)
{
	v_desc(&s->v->ring[0], i, BLK_DATA(s) + i * 2048, len, VD_WRITE, 0);
	v_offer(&s->v->ring[0], (uint16_t)i);
}

/*
 * While the host sends without a pause: no buffers, such as are too small for anything, one
 * at a time. The queue must not stand still when there are good ones again.
 */
static bool no_room(struct stage *s)
{
	uint64_t until = read_time() + s->guest->timebase / 4;
	struct vring *r = &s->v->ring[0];
	uint32_t id, len;
	unsigned int i;

	v_notify(s->v, 0);
	for (i = 0; i < r->num; i++)
		give_buffer(s, i, i % 13U);
	while (read_time() < until) {
		v_notify(s->v, 0);
		if (v_get(r, &id, NULL) && id < r->num)
			give_buffer(s, id, id % 13U);
	}
	frame(s);
	if (!send(s, 500) || !up(s, s->v, 0, 16))
		return false;
	for (i = 0; i < 50; i++) {
		give_buffer(s, 0, 2048);
		if (!v_wait(s->v, s->guest, 0, NULL, &len))
			return wrong("no frame comes in any more, after", i);
		if (len < HEADER + 14 || len > 2048)
			return wrong("a frame has length", len);
	}
	for (i = 0; i < r->num; i++)
		give_buffer(s, i, 2048);
	v_notify(s->v, 0);
	return true;
}

/* Control commands with counts that lie. */
static bool control(struct stage *s)
{
	static const uint8_t classes[] = {0, 1, 2, 3, 4, 5, 77, 255};
	uint64_t features = 1U << F_CTRL_VQ | 1U << F_CTRL_RX | 1U << F_CTRL_VLAN | 1U << F_MQ |
			    1U << F_CTRL_MAC_ADDR;
	volatile uint8_t *ack = BLK_DATA(s) + 3000;
	uint32_t queue, command, len;
	struct vring *r;
	size_t i;

	if (!(v_features(s->v) >> F_CTRL_VQ & 1))
		return true;
	if (!up(s, s->v, features, 16))
		return false;
	/* It is the last queue there is. */
	for (queue = V_MAX_QUEUES - 1; queue && !v_queue_ready(s->v, queue); queue--)
		;
	r = &s->v->ring[queue];
	for (i = 0; i < sizeof(classes); i++)
		for (command = 0; command < 6; command++)
			for (len = 0; len < 40; len += 3) {
				wr32((uint64_t)BLK_DATA(s) + 2, 0xffffffff);
				wr32((uint64_t)BLK_DATA(s) + 8, 0xffffffff);
				BLK_DATA(s)[0] = classes[i];
				BLK_DATA(s)[1] = (uint8_t)command;
				*ack = 0xff;
				v_desc(r, 0, BLK_DATA(s), len, VD_NEXT, 1);
				v_desc(r, 1, ack, 1, VD_WRITE, 0);
				v_offer(r, 0);
				if (!v_wait(s->v, s->guest, queue, NULL, NULL))
					return wrong("no answer to class", classes[i]);
				if (classes[i] > 5 && *ack == CTRL_OK)
					return wrong("class is fine:", classes[i]);
			}
	return true;
}

/* Somebody else's address as the sender. */
static bool spoof(struct stage *s)
{
	unsigned int i;

	frame(s);
	for (i = 0; i < 6; i++)
		BLK_DATA(s)[HEADER + 6 + i] = (uint8_t)(0x52 + i);
	return send(s, 100);
}

const struct poke net_pokes[] = {
	{"C6", V_ID_NET, bad_frames}, {"C7", V_ID_NET, no_room}, {"C8", V_ID_NET, control},
	{"C10", V_ID_NET, spoof},     {NULL, 0, NULL},
};
