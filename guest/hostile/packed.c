// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pokes at packed rings: virtio 1.2, section 2.8. The device is a disk, as in ring.c.
 *
 * v_queue() gives a packed ring the three pages that a split one has: slots, the
 * driver's events, the device's events. A slot is a struct vdesc whose `flags` hold the
 * buffer's ID and whose `next` holds the flags.
 */
#include "hostile.h"

#define NUM 16
#define F_AVAIL 0x80
#define F_USED 0x8000

/* Slot @i in the first round; @more is flags besides the two of the round. */
static void slot(struct stage *s, unsigned int i, const volatile void *at, uint32_t len,
		 uint16_t id, uint16_t more)
{
	v_desc(&s->v->ring[0], i, at, len, id, more | F_AVAIL);
}

/* A read of the first sector in slots 0 to 2, whose ID is @id; the first slot comes last. */
static void read_request(struct stage *s, uint16_t id)
{
	BLK_HEADER(s)->type = BLK_IN;
	BLK_HEADER(s)->sector = 0;
	*BLK_STATUS(s) = 0xff;
	slot(s, 1, BLK_DATA(s), 512, id, VD_NEXT | VD_WRITE);
	slot(s, 2, BLK_STATUS(s), 1, id, VD_WRITE);
	fence();
	slot(s, 0, BLK_HEADER(s), 16, id, VD_NEXT);
}

static bool begin(struct stage *s)
{
	if (!(v_features(s->v) & V_F_RING_PACKED))
		return wrong("packed rings are not offered", v_features(s->v));
	return up(s, s->v, V_F_RING_PACKED | V_F_INDIRECT, NUM);
}

/* Was slot 0 given back in the first round? */
static bool answered(struct stage *s)
{
	uint64_t until = read_time() + s->guest->timebase;
	volatile struct vdesc *d = &s->v->ring[0].desc[0];

	v_notify(s->v, 0);
	do {
		fence();
		if ((d->next & (F_AVAIL | F_USED)) == (F_AVAIL | F_USED))
			return true;
	} while (read_time() < until && !(v_status(s->v) & V_NEEDS_RESET));
	return false;
}

static bool breaks(struct stage *s, const char *what)
{
	if (answered(s))
		return wrong(what, v_status(s->v));
	return needs_reset(s) || wrong(what, v_status(s->v));
}

/* What works when nothing is wrong: without it the pokes below would prove nothing. */
static bool good_read(struct stage *s)
{
	if (!begin(s))
		return false;
	read_request(s, 3);
	if (!answered(s))
		return wrong("a packed ring is not served, status", v_status(s->v));
	if (*BLK_STATUS(s) || s->v->ring[0].desc[0].len != 513 || s->v->ring[0].desc[0].flags != 3)
		return wrong("a read's length is", s->v->ring[0].desc[0].len);
	return true;
}

static bool bad_lists(struct stage *s)
{
	const struct guest_region *ram = &s->guest->ram[s->guest->nr_ram - 1];
	uint64_t end = ram->base + ram->size;
	unsigned int i;

	/* IDs that no slot has. */
	for (i = 0; i < 2; i++) {
		if (!begin(s))
			return false;
		read_request(s, i ? 0xffff : NUM);
		if (!breaks(s, "an ID beyond the queue"))
			return false;
	}
	/* A list without an end. */
	if (!begin(s))
		return false;
	for (i = NUM; i--;)
		slot(s, i, BLK_HEADER(s), 16, 0, VD_NEXT);
	if (!breaks(s, "a list without an end"))
		return false;
	/* A buffer that leaves RAM, and one that may be read behind one to be written. */
	if (!begin(s))
		return false;
	read_request(s, 0);
	slot(s, 1, (void *)(end - 256), 512, 0, VD_NEXT | VD_WRITE);
	if (!breaks(s, "a buffer outside RAM") || !begin(s))
		return false;
	read_request(s, 0);
	slot(s, 2, BLK_STATUS(s), 1, 0, 0);
	return breaks(s, "a readable buffer behind a writable one");
}

static bool bad_tables(struct stage *s)
{
	const struct guest_region *ram = &s->guest->ram[s->guest->nr_ram - 1];
	const struct {
		uint64_t at;
		uint32_t len;
		uint16_t more;
	} bad[] = {
		{(uint64_t)s->buf, 0, 0},
		{(uint64_t)s->buf, 15, 0},
		{(uint64_t)s->buf, 16, VD_NEXT},
		{(uint64_t)s->buf, 0xfffffff0, 0},
		{ram->base + ram->size - 16, 32, 0},
		{~UINT64_C(0) - 15, 32, 0},
		{s->guest->serial, 32, 0},
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (!begin(s))
			return false;
		slot(s, 1, BLK_STATUS(s), 1, 0, VD_WRITE);
		slot(s, 0, (void *)bad[i].at, bad[i].len, 0, VD_INDIRECT | bad[i].more);
		if (!breaks(s, "a bad table"))
			return wrong("table", i);
	}
	/* In a list of slots. */
	if (!begin(s))
		return false;
	read_request(s, 0);
	slot(s, 1, s->buf, 32, 0, VD_INDIRECT);
	return breaks(s, "a table in a list");
}

/* Rounds that are not: nothing of this is available, or only as much as a ring holds. */
static bool wrong_rounds(struct stage *s)
{
	static const uint16_t flags[] = {0, F_USED, F_AVAIL | F_USED};
	struct vring *r = &s->v->ring[0];
	unsigned int i, k;

	for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (!begin(s))
			return false;
		for (k = 0; k < NUM; k++)
			v_desc(r, k, BLK_HEADER(s), 16, (uint16_t)k, flags[i]);
		v_notify(s->v, 0);
		if (v_status(s->v) != V_RUNS || r->desc[0].next != flags[i])
			return wrong("slots that are not available are taken, flags", flags[i]);
	}
	/* The same ID everywhere; all at once, and again while they are being worked on. */
	if (!begin(s))
		return false;
	for (i = 0; i < 50; i++) {
		for (k = 0; k < NUM; k++)
			slot(s, k, BLK_HEADER(s), 16, 0, 0);
		v_notify(s->v, 0);
	}
	return v_reset(s->v) || wrong("status", v_status(s->v));
}

/* The device's event structure and slots that are done belong to it: changing them is idle. */
static bool scribbled(struct stage *s)
{
	struct vring *r = &s->v->ring[0];
	unsigned int i;

	for (i = 0; i < 30; i++) {
		if (!begin(s))
			return false;
		wr32((uint64_t)r->used, 0xffffffff);
		wr32((uint64_t)r->avail, i * 0x01010101U);
		read_request(s, (uint16_t)(i % NUM));
		if (!answered(s))
			return wrong("no answer, events", i);
		v_desc(r, 0, (void *)~UINT64_C(0), 0xffffffff, 0xffff, (uint16_t)(i * 2053));
		wr32((uint64_t)r->used, 0);
		v_notify(s->v, 0);
	}
	return v_reset(s->v) || wrong("status", v_status(s->v));
}

static bool lists(struct stage *s)
{
	return good_read(s) && bad_lists(s) && bad_tables(s);
}

static bool rounds(struct stage *s)
{
	return good_read(s) && wrong_rounds(s) && scribbled(s);
}

const struct poke packed_pokes[] = {
	{"B16", V_ID_BLK, lists},
	{"B16-rounds", V_ID_BLK, rounds},
	{NULL, 0, NULL},
};
