// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pokes at the small devices: console (virtio 1.2, section 5.3), entropy (5.4),
 * balloon (5.5).
 */
#include "hostile.h"

#define F_MULTIPORT 1

static bool push(struct stage *s, uint32_t queue, uint16_t index, const volatile void *at,
		 uint32_t len, uint16_t flags)
{
	v_desc(&s->v->ring[queue], index, at, len, flags, 0);
	v_offer(&s->v->ring[queue], index);
	return v_wait(s->v, s->guest, queue, NULL, NULL);
}

/* --- console -------------------------------------------------------------------- */

struct control {
	uint32_t id;
	uint16_t event, value;
};

/* Control messages about ports that are not there, and events nobody knows. */
static bool console_control(struct stage *s)
{
	static const uint32_t ids[] = {0, 1, 31, 32, 0x7fffffff, 0xffffffff};
	volatile struct control *c = (volatile struct control *)BLK_DATA(s);
	uint16_t event;
	size_t i;

	if (!up(s, s->v, 1U << F_MULTIPORT, 16))
		return false;
	for (i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		for (event = 0; event < 12; event++) {
			c->id = ids[i];
			c->event = event;
			c->value = 0xffff;
			if (!push(s, 3, 0, c, 8, 0))
				return wrong("no answer to event", event);
		}
	for (i = 0; i < 8; i++)
		if (!push(s, 3, 0, c, (uint32_t)i, 0))
			return wrong("no answer to length", i);
	return push(s, 3, 0, c, 4096, 0) || wrong("no answer to length", 4096);
}

/* Much output in one go; the terminal's own language in it. */
static bool console_flood(struct stage *s)
{
	uint64_t i;

	for (i = 0; i < 8192; i++)
		BLK_DATA(s)[i] = i % 64 == 63 ? '\n' : '.';
	for (i = 0; i < 64; i++)
		if (!push(s, 1, 0, BLK_DATA(s), 8192, 0))
			return wrong("no answer, round", i);
	return true;
}

/* --- entropy ---------------------------------------------------------------------- */

static bool rng_huge(struct stage *s)
{
	const struct guest_region *ram = &s->guest->ram[0];
	struct vring *r = &s->v->ring[0];
	uint64_t from = s->bus->next_page;
	uint32_t len = 0;
	uint16_t i;

	/* One descriptor over all free memory, then eight of them in a chain. */
	v_desc(r, 0, (void *)from, (uint32_t)(ram->base + ram->size - from), VD_WRITE, 0);
	v_offer(r, 0);
	if (!v_wait(s->v, s->guest, 0, NULL, &len) || !len || len > 65536)
		return wrong("a huge request is filled with", len);
	for (i = 0; i < 8; i++)
		v_desc(r, i, (void *)from, 0x1000000, (uint16_t)(VD_WRITE | (i < 7 ? VD_NEXT : 0)),
		       (uint16_t)(i + 1));
	v_offer(r, 0);
	return v_wait(s->v, s->guest, 0, NULL, &len) && len <= 65536;
}

/* Many requests; those beyond the rate wait, and a reset ends the waiting. */
static bool rng_many(struct stage *s)
{
	uint64_t i, until = read_time() + s->guest->timebase / 2;
	struct vring *r = &s->v->ring[0];

	for (i = 0; i < s->count && read_time() < until; i++) {
		v_desc(r, 0, BLK_DATA(s), 16384, VD_WRITE, 0);
		v_offer(r, 0);
		v_notify(s->v, 0);
		while (!v_get(r, NULL, NULL) && read_time() < until)
			;
	}
	return v_reset(s->v) || wrong("status", v_status(s->v));
}

static bool rng_read_only(struct stage *s)
{
	uint32_t len = 0;

	BLK_DATA(s)[0] = 0x5a;
	v_desc(&s->v->ring[0], 0, BLK_DATA(s), 16, 0, 0);
	v_offer(&s->v->ring[0], 0);
	v_wait(s->v, s->guest, 0, NULL, &len);
	return !len || wrong("a readable buffer is filled with", len);
}

/* --- balloon ------------------------------------------------------------------------ */

#define F_STATS 1
#define F_REPORTING 5

/* Pages outside RAM, the same one over and over, our own code. */
static bool balloon_pages(struct stage *s)
{
	const struct guest_region *ram = &s->guest->ram[s->guest->nr_ram - 1];
	volatile uint32_t *pfn = (volatile uint32_t *)BLK_DATA(s);
	uint32_t queue, i;

	for (queue = 0; queue < 2; queue++) {
		for (i = 0; i < 256; i++)
			pfn[i] = i & 1 ? 0xffffffff - i : (uint32_t)((ram->base + ram->size) >> 12);
		pfn[7] = 0;
		pfn[9] = (uint32_t)(s->guest->serial >> 12);
		if (!push(s, queue, 0, pfn, 1024, 0))
			return wrong("no answer on queue", queue);
		for (i = 0; i < 256; i++)
			pfn[i] = (uint32_t)((uint64_t)s->buf >> 12) + 12;
		if (!push(s, queue, 0, pfn, 1024, 0))
			return wrong("no answer on queue", queue);
		for (i = 0; i < 8; i++)
			if (!push(s, queue, 0, pfn, i, 0))
				return wrong("no answer to length", i);
		/* Deflating what was never inflated must not count below nothing. */
		if (!push(s, 1, 0, pfn, 1024, 0))
			return wrong("no answer", 1);
	}
	/* The field "actual" is the driver's. */
	wr32(v_config(s->v) + 4, 0xffffffff);
	wr32(v_config(s->v) + 4, 0);
	wr32(v_config(s->v), 0xffffffff);
	return true;
}

/* A report of free pages that are not: reports are about whole buffers. */
static bool balloon_report(struct stage *s)
{
	const struct guest_region *ram = &s->guest->ram[s->guest->nr_ram - 1];
	struct vring *r;
	uint32_t queue;

	if (!up(s, s->v, UINT64_C(1) << F_REPORTING, 16))
		return false;
	/* Without statistics and hints the queues are inflate, deflate, report. */
	for (queue = 4; queue >= 2; queue--)
		if (v_queue_ready(s->v, queue))
			break;
	if (queue < 2)
		return true;
	r = &s->v->ring[queue];
	if (!push(s, queue, 0, BLK_DATA(s) + 1, 4095, VD_WRITE))
		return wrong("no answer to an odd report", queue);
	if (!push(s, queue, 0, BLK_DATA(s), 100, VD_WRITE))
		return wrong("no answer to a short report", queue);
	/* Beyond RAM: broken. */
	v_desc(r, 0, (void *)(ram->base + ram->size - 4096), 8192, VD_WRITE, 0);
	return broke(s, queue, 0);
}

static bool balloon_stats(struct stage *s)
{
	unsigned int i;

	if (!up(s, s->v, 1U << F_STATS, 16))
		return false;
	for (i = 0; i < 4000; i++)
		BLK_DATA(s)[i] = (uint8_t)(i * 37);
	/* It is kept until the host asks; a second one is a driver's mistake. */
	v_desc(&s->v->ring[2], 0, BLK_DATA(s), 4000, 0, 0);
	v_offer(&s->v->ring[2], 0);
	v_notify(s->v, 2);
	for (i = 1; i < 8; i++) {
		v_desc(&s->v->ring[2], i, BLK_DATA(s), i * 3, 0, 0);
		v_offer(&s->v->ring[2], (uint16_t)i);
		v_notify(s->v, 2);
	}
	return true;
}

const struct poke misc_pokes[] = {
	{"C13-control", V_ID_CONSOLE, console_control},
	{"C13-flood", V_ID_CONSOLE, console_flood},
	{"C14", V_ID_RNG, rng_huge},
	{"C14-many", V_ID_RNG, rng_many},
	{"C14-readable", V_ID_RNG, rng_read_only},
	{"C15", V_ID_BALLOON, balloon_pages},
	{"C15-report", V_ID_BALLOON, balloon_report},
	{"C16", V_ID_BALLOON, balloon_stats},
	{NULL, 0, NULL},
};
