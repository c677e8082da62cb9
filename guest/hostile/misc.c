// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pokes at the small devices: console (virtio 1.2, section 5.3), entropy (5.4),
 * balloon (5.5), persistent memory (5.19).
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

/* A port whose reader on the host never comes: its queue stops, and nothing else. */
static bool console_blocked(struct stage *s)
{
	static const uint16_t steps[][3] = {{0, 0, 1}, {1, 3, 1}, {1, 6, 1}};
	volatile struct control *c = (volatile struct control *)BLK_DATA(s);
	unsigned int i;

	if (!up(s, s->v, 1U << F_MULTIPORT, 16))
		return false;
	/* The device and the port are ready, and the port is open. */
	for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		c->id = steps[i][0];
		c->event = steps[i][1];
		c->value = steps[i][2];
		if (!push(s, 3, 0, c, 8, 0))
			return wrong("no answer to event", steps[i][1]);
	}
	for (i = 0; i < 256; i++)
		if (!push(s, 5, (uint16_t)(i % 16), BLK_DATA(s), 8192, 0))
			break;
	if (!i || i == 256)
		return wrong("somebody took so many times 8 KiB:", i);
	for (i = 0; i < 100; i++)
		v_notify(s->v, 5);
	if (v_status(s->v) != V_RUNS)
		return wrong("status", v_status(s->v));
	c->event = 100;
	return push(s, 3, 0, c, 8, 0) || wrong("no answer to event", 100);
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

/* --- persistent memory -------------------------------------------------------------- */

/* One flush; its answer, or 0xffff where there was none. */
static uint32_t flush(struct stage *s, uint32_t type, uint32_t in, uint32_t out)
{
	uint64_t at = (uint64_t)BLK_DATA(s);
	struct vring *r = &s->v->ring[0];

	wr32(at, type);
	wr32(at + 64, 0xffff);
	v_desc(r, 0, (void *)at, in, out ? VD_NEXT : 0, 1);
	v_desc(r, 1, (void *)(at + 64), out, VD_WRITE, 0);
	v_offer(r, 0);
	return v_wait(s->v, s->guest, 0, NULL, NULL) ? rd32(at + 64) : 0xffff;
}

/* Types that are none, requests cut short, a ring full of flushes over and over. */
static bool pmem_flushes(struct stage *s)
{
	static const uint32_t types[] = {1, 0x100, 0x80000000, 0xffffffff};
	struct vring *r = &s->v->ring[0];
	uint64_t i, got;
	uint32_t len;

	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (flush(s, types[i], 4, 4) != 0xffffffff)
			return wrong("no error for type", types[i]);
	for (len = 1; len < 4; len++) {
		if (flush(s, 0, len, 4) != 0xffffffff)
			return wrong("no error for length", len);
		flush(s, 0, 4, len);
	}
	flush(s, 0, 4, 0);
	for (i = 0, got = 0; i < s->count; i++) {
		unsigned int slot = (unsigned int)(i % 8 * 2);

		v_desc(r, slot, BLK_DATA(s), 4, VD_NEXT, (uint16_t)(slot + 1));
		v_desc(r, slot + 1, BLK_DATA(s) + 64, 4, VD_WRITE, 0);
		v_offer(r, (uint16_t)slot);
		if (i % 8 < 7)
			continue;
		for (got = 0; got < 8; got++)
			if (!v_wait(s->v, s->guest, 0, NULL, NULL))
				return wrong("a flush is kept, round", i);
	}
	return true;
}

/* The region's ends, its description, and rings and buffers that lie in it or leave it. */
static bool pmem_edges(struct stage *s)
{
	uint64_t config = v_config(s->v), start = rd64(config), size = rd64(config + 8);
	uint64_t end = start + size;
	struct vring *r = &s->v->ring[0];

	if (size % (2 * MIB) || start % (2 * MIB))
		return wrong("a region of odd place or size", size);
	wr64(config, 0);
	wr64(config + 8, ~UINT64_C(0));
	if (rd64(config) != start || rd64(config + 8) != size)
		return wrong("the region was moved to", rd64(config));
	wr64(end - 8, 0x5a);
	wr64(end, 0x5a);
	wr64(start - 8, 0x5a);
	if (rd64(end - 8) != 0x5a || rd64(end) == 0x5a || rd64(start - 8) == 0x5a)
		return wrong("memory before or behind the region", rd64(end));
	/* A request in it may be carried out or refused; then over its end. */
	wr32(end - 8, 0);
	v_desc(r, 0, (void *)(end - 8), 4, VD_NEXT, 1);
	v_desc(r, 1, (void *)(end - 4), 4, VD_WRITE, 0);
	v_offer(r, 0);
	if (!v_wait(s->v, s->guest, 0, NULL, NULL))
		return wrong("no answer to a request in the region, status", v_status(s->v));
	v_desc(r, 1, (void *)(end - 4), 8, VD_WRITE, 0);
	if (!broke(s, 0, 0))
		return false;
	if (!v_begin(s->v, 0))
		return wrong("features", 0);
	v_set_layout(s->v, 0, 16, start, start + 4096, start + 8192);
	v_set_ready(s->v, 0, true);
	return !v_queue_ready(s->v, 0) || wrong("a queue has its rings in a file, at", start);
}

/* The second one can't be written, by the guest or by a device for it. */
static bool pmem_read_only(struct stage *s)
{
	struct stage on = *s;
	uint64_t start, size, i;

	on.v = vbus_device(s->bus, V_ID_PMEM, 1);
	if (!on.v)
		return wrong("no second region", 1);
	start = rd64(v_config(on.v));
	size = rd64(v_config(on.v) + 8);
	for (i = 0; i < size; i += size / 8) {
		wr8(start + i, 0);
		wr64(start + i + 8, 0);
		if (rd8(start + i) != 'p' || rd8(start + i + 15) != 'p')
			return wrong("a read-only file is written at", i);
	}
	if (!up(&on, on.v, 0, 16))
		return false;
	if (flush(&on, 0, 4, 4))
		return wrong("a flush of it fails", 0);
	/* The answer would go into it. */
	v_desc(&on.v->ring[0], 0, BLK_DATA(s), 4, VD_NEXT, 1);
	v_desc(&on.v->ring[0], 1, (void *)start, 4, VD_WRITE, 0);
	if (!broke(&on, 0, 0))
		return false;
	if (rd8(start) != 'p')
		return wrong("an answer was written into a read-only file", rd8(start));
	return v_reset(on.v) || wrong("status", v_status(on.v));
}

const struct poke misc_pokes[] = {
	{"C13-control", V_ID_CONSOLE, console_control},
	{"C13-flood", V_ID_CONSOLE, console_flood},
	{"C13-blocked", V_ID_CONSOLE, console_blocked},
	{"C14", V_ID_RNG, rng_huge},
	{"C14-many", V_ID_RNG, rng_many},
	{"C14-readable", V_ID_RNG, rng_read_only},
	{"C15", V_ID_BALLOON, balloon_pages},
	{"C15-report", V_ID_BALLOON, balloon_report},
	{"C16", V_ID_BALLOON, balloon_stats},
	{"C21", V_ID_PMEM, pmem_edges},
	{"C21-flush", V_ID_PMEM, pmem_flushes},
	{"C21-ro", V_ID_PMEM, pmem_read_only},
	{NULL, 0, NULL},
};
