// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pokes at what every transport has: selectors, layouts, features, status,
 * configuration space. Virtio 1.2, sections 2.1 to 2.7, 3.1, 4.1.4, 4.2.2.
 */
#include "hostile.h"

/* MMIO registers and common configuration fields that are poked raw. */
#define M_QUEUE_SEL 0x030
#define M_QUEUE_NUM_MAX 0x034
#define M_QUEUE_NUM 0x038
#define M_QUEUE_READY 0x044
#define M_NOTIFY 0x050
#define M_INTERRUPT_ACK 0x064
#define M_CONFIG 0x100
#define C_QUEUE_SEL 0x16
#define C_QUEUE_SIZE 0x18
#define C_QUEUE_ENABLE 0x1c
#define C_DESC 0x20

#define BLK_CONFIG_SIZE 60

/* A queue that does not exist reads as nothing and takes nothing. */
static bool absent_queue(struct stage *s)
{
	struct vdev *v = s->v;
	uint32_t queue = s->pci ? 0xffff : 0xffff0000;

	if (v_queue_max(v, queue) || v_queue_ready(v, queue))
		return wrong("an absent queue has size", v_queue_max(v, queue));
	v_set_layout(v, queue, 8, (uint64_t)s->buf, (uint64_t)s->buf, (uint64_t)s->buf);
	v_set_ready(v, queue, true);
	if (v_queue_ready(v, queue))
		return wrong("an absent queue is ready", queue);
	v_set_ready(v, queue, false);
	return works(s, v);
}

static bool stray_notify(struct stage *s)
{
	struct vdev *v = s->v;
	uint64_t at = s->pci ? v->notify : v->base + M_NOTIFY;

	if (!v_begin(v, 0))
		return wrong("features", v_status(v));
	/* Before a queue is ready, and before DRIVER_OK. */
	if (s->pci)
		wr16(at, 0);
	else
		wr32(at, 0);
	if (!v_queue(v, s->bus, 0, 16))
		return wrong("no queue", 0);
	v_notify(v, 0);
	if (s->pci) {
		wr16(at, 0xffff);
		wr16(at + 2, 7);
		wr32(at, 0x12345678);
	} else {
		wr32(at, 0xffffffff);
		wr32(at, 8);
	}
	return !(v_status(v) & V_NEEDS_RESET) || wrong("status", v_status(v));
}

static bool bad_size(struct stage *s)
{
	static const uint32_t sizes[] = {0, 3, 24, 65535, 32768, 512, 4096};
	struct vdev *v = s->v;
	struct vring *r = &v->ring[0];
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		if (!v_begin(v, 0))
			return wrong("features", i);
		if (sizes[i] == v_queue_max(v, 0))
			continue;
		v_set_layout(v, 0, sizes[i], (uint64_t)r->desc, (uint64_t)r->avail,
			     (uint64_t)r->used);
		v_set_ready(v, 0, true);
		/* Refused, or never taken in the first place. */
		if (v_queue_ready(v, 0) && v_queue_max(v, 0) == sizes[i])
			return wrong("a queue has size", sizes[i]);
	}
	return true;
}

/* What was written when the queue was enabled counts, whatever comes later. */
static bool frozen_layout(struct stage *s)
{
	struct vdev *v = s->v;

	v_set_layout(v, 0, 4, 0, ~UINT64_C(0), (uint64_t)s->buf + 1);
	if (!v_queue_ready(v, 0))
		return wrong("a queue is not ready any more", 0);
	return works(s, v);
}

static bool bad_addresses(struct stage *s)
{
	const struct guest_region *ram = &s->guest->ram[s->guest->nr_ram - 1];
	uint64_t good = (uint64_t)s->buf, end = ram->base + ram->size;
	const uint64_t bad[] = {
		0,
		good + 8,
		good + 1,
		end,
		end - 16,
		~UINT64_C(0),
		~UINT64_C(0) - 15,
		~UINT64_C(0) - 4095,
		s->guest->plic,
		s->guest->serial,
		UINT64_C(1) << 56,
		UINT64_C(1) << 63,
	};
	struct vdev *v = s->v;
	size_t i;
	int field;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		for (field = 0; field < 3; field++) {
			/* The available ring may start at any even address, the used one at 4. */
			if (bad[i] == good + 8 && field)
				continue;
			if (!v_begin(v, 0))
				return wrong("features", i);
			v_set_layout(v, 0, 16, field == 0 ? bad[i] : good,
				     field == 1 ? bad[i] : good + 4096,
				     field == 2 ? bad[i] : good + 8192);
			v_set_ready(v, 0, true);
			if (v_queue_ready(v, 0))
				return wrong("a queue is ready at", bad[i]);
			if (!(v_status(v) & V_NEEDS_RESET))
				return wrong("no NEEDS_RESET for", bad[i]);
		}
	return true;
}

static bool overlapping_rings(struct stage *s)
{
	uint64_t at = (uint64_t)s->buf;
	struct vdev *v = s->v;

	if (!v_begin(v, 0))
		return wrong("features", 0);
	v_set_layout(v, 0, 16, at, at, at);
	v_set_ready(v, 0, true);
	/* It may be refused; where it is not, it must not hurt. */
	v_set_status(v, V_RUNS);
	v_notify(v, 0);
	return true;
}

static bool bad_features(struct stage *s)
{
	struct vdev *v = s->v;
	uint64_t offered = v_features(v);

	v_reset(v);
	v_set_status(v, V_ACKNOWLEDGE | V_DRIVER);
	v_set_features(v, ~UINT64_C(0));
	v_set_status(v, V_ACKNOWLEDGE | V_DRIVER | V_FEATURES_OK);
	if (v_status(v) & V_FEATURES_OK)
		return wrong("all features are accepted, status", v_status(v));
	v_reset(v);
	v_set_status(v, V_ACKNOWLEDGE | V_DRIVER);
	v_set_features(v, 0);
	v_set_status(v, V_ACKNOWLEDGE | V_DRIVER | V_FEATURES_OK);
	if (v_status(v) & V_FEATURES_OK)
		return wrong("a legacy driver is accepted, status", v_status(v));
	if (!v_begin(v, 0))
		return wrong("features", 0);
	/* Too late: the ring has no event index, whatever is written now. */
	v_set_features(v, offered);
	if (!v_queue(v, s->bus, 0, 16))
		return wrong("no queue", 0);
	v_set_status(v, V_RUNS);
	return works(s, v);
}

static bool bad_status(struct stage *s)
{
	struct vdev *v = s->v;

	v_reset(v);
	v_set_status(v, V_DRIVER_OK);
	if (v_status(v))
		return wrong("DRIVER_OK alone gives", v_status(v));
	v_set_status(v, 0xff);
	v_set_status(v, 0x30);
	if (v_status(v) & V_DRIVER_OK)
		return wrong("garbage gives", v_status(v));
	if (!s->pci)
		v_set_status(v, 0xffffff00);
	if (!up(s, v, 0, 16))
		return false;
	/* Bits do not go away one by one. */
	v_set_status(v, V_ACKNOWLEDGE);
	v_set_status(v, V_DRIVER_OK);
	if (v_status(v) != V_RUNS)
		return wrong("status is", v_status(v));
	return works(s, v);
}

static bool ready_storm(struct stage *s)
{
	uint64_t i;

	for (i = 0; i < 200; i++)
		v_set_ready(s->v, 0, true);
	return works(s, s->v);
}

static bool reset_storm(struct stage *s)
{
	uint64_t i;

	for (i = 0; i < s->count; i++)
		if (!v_reset(s->v))
			return wrong("a reset does not end", i);
	return true;
}

/* Reads of everything the ring holds, and a reset at once; then the same again. */
static bool reset_in_flight(struct stage *s)
{
	struct vdev *v = s->v;
	unsigned int i, round;

	for (round = 0; round < 50; round++) {
		if (!up(s, v, 0, 16))
			return false;
		for (i = 0; i < 5; i++) {
			struct vring *r = &v->ring[0];
			uint16_t at = (uint16_t)(3 * i);

			BLK_HEADER(s)->type = BLK_IN;
			BLK_HEADER(s)->sector = 0;
			v_desc(r, at, BLK_HEADER(s), 16, VD_NEXT, (uint16_t)(at + 1));
			v_desc(r, at + 1U, BLK_DATA(s), 8192, VD_NEXT | VD_WRITE,
			       (uint16_t)(at + 2));
			v_desc(r, at + 2U, BLK_STATUS(s), 1, VD_WRITE, 0);
			v_offer(r, at);
		}
		v_notify(v, 0);
		if (!v_reset(v))
			return wrong("a reset does not end, round", round);
	}
	return true;
}

/* Loads and stores of every width all over the configuration space and behind it. */
static bool config_sweep(struct stage *s)
{
	uint64_t at = v_config(s->v), i;
	uint64_t end = s->pci ? BLK_CONFIG_SIZE + 68 : 0x200 - M_CONFIG;

	for (i = 0; i < end; i++) {
		rd8(at + i);
		if (!(i & 1))
			rd16(at + i);
		if (!(i & 3))
			rd32(at + i);
		if (!(i & 7))
			rd64(at + i);
	}
	/* Behind the device's own space there is nothing. */
	for (i = BLK_CONFIG_SIZE; i < end; i++)
		if (rd8(at + i))
			return wrong("behind the configuration there is", rd8(at + i));
	/* The last field, and what follows it. */
	if (rd64(at + 56) >> 32)
		return wrong("a load across the end reads", rd64(at + 56));
	for (i = BLK_CONFIG_SIZE - 4; i < end; i += 4)
		wr32(at + i, ~UINT32_C(0));
	return works(s, s->v);
}

static bool config_write(struct stage *s)
{
	uint64_t at = v_config(s->v), capacity = rd64(at);
	unsigned int i;

	for (i = 0; i < 8; i++)
		wr8(at + i, 0xff);
	wr32(at, 0xffffffff);
	wr64(at, ~UINT64_C(0));
	if (rd64(at) != capacity)
		return wrong("the capacity became", rd64(at));
	return works(s, s->v);
}

/* Registers have a width. Where a wider or narrower access is, nothing is. */
static bool odd_widths(struct stage *s)
{
	struct vdev *v = s->v;
	uint64_t at, end = s->pci ? v->common + 56 : v->base + M_CONFIG;

	for (at = s->pci ? v->common : v->base; at < end; at++) {
		rd8(at);
		if (!(at & 1))
			rd16(at);
		if (!(at & 7))
			rd64(at);
	}
	if (!s->pci && (rd8(v->base) || rd16(v->base) || rd64(v->base)))
		return wrong("a narrow load reads", rd8(v->base));
	for (at = s->pci ? v->common : v->base; at < end; at += 8) {
		wr64(at, ~UINT64_C(0));
		if (!s->pci) {
			wr8(at, 0xff);
			wr16(at + 4, 0xffff);
		}
	}
	/* A driver that did this resets; here it must still be there to be reset. */
	return v_reset(v) || wrong("status", v_status(v));
}

static bool odd_ack(struct stage *s)
{
	unsigned int i;

	for (i = 0; i < 32 && !s->pci; i++)
		wr32(s->v->base + M_INTERRUPT_ACK, UINT32_C(1) << i);
	for (i = 0; i < 8 && s->pci; i++) {
		rd8(s->v->isr);
		wr8(s->v->isr, 0xff);
		rd32(s->v->isr);
	}
	return works(s, s->v);
}

/* One interrupt for each of many requests, and nobody listens. */
static bool interrupt_storm(struct stage *s)
{
	uint64_t i;

	for (i = 0; i < s->count / 4; i++)
		if (!works(s, s->v))
			return false;
	return true;
}

const struct poke transport_pokes[] = {
	{"A1", V_ID_BLK, absent_queue},
	{"A2", V_ID_BLK, stray_notify},
	{"A3", V_ID_BLK, bad_size},
	{"A4", V_ID_BLK, frozen_layout},
	{"A5", V_ID_BLK, bad_addresses},
	{"A5-overlap", V_ID_BLK, overlapping_rings},
	{"A6", V_ID_BLK, bad_features},
	{"A7", V_ID_BLK, bad_status},
	{"A8-ready", V_ID_BLK, ready_storm},
	{"A8-reset", V_ID_BLK, reset_storm},
	{"A8-inflight", V_ID_BLK, reset_in_flight},
	{"A9", V_ID_BLK, config_sweep},
	{"A10", V_ID_BLK, config_write},
	{"A11", V_ID_BLK, odd_widths},
	{"A12", V_ID_BLK, odd_ack},
	{"A17", V_ID_BLK, interrupt_storm},
	{NULL, 0, NULL},
};
