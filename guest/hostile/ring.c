// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pokes at split rings and descriptor chains: virtio 1.2, section 2.7. The device is
 * a disk because its requests have parts in both directions.
 */
#include "hostile.h"

static bool head_too_big(struct stage *s)
{
	blk_request(s, BLK_IN, 0, BLK_DATA(s), 512, true);
	return broke(s, 0, (uint16_t)s->v->ring[0].num) && sane(s, s->v) && broke(s, 0, 0xffff);
}

static bool next_too_big(struct stage *s)
{
	blk_request(s, BLK_IN, 0, BLK_DATA(s), 512, true);
	s->v->ring[0].desc[1].next = (uint16_t)s->v->ring[0].num;
	return broke(s, 0, 0);
}

static bool loop(struct stage *s)
{
	struct vring *r = &s->v->ring[0];

	blk_request(s, BLK_IN, 0, BLK_DATA(s), 512, true);
	r->desc[2].flags = VD_NEXT | VD_WRITE;
	r->desc[2].next = 1;
	if (!broke(s, 0, 0) || !sane(s, s->v))
		return false;
	v_desc(r, 0, BLK_HEADER(s), 16, VD_NEXT, 0);
	return broke(s, 0, 0);
}

/* A table that is wrong in itself, at @table with @len bytes. */
static bool bad_table(struct stage *s, uint64_t table, uint32_t len)
{
	if (!up(s, s->v, V_F_INDIRECT, 16))
		return false;
	v_desc(&s->v->ring[0], 0, (void *)table, len, VD_INDIRECT, 0);
	return broke(s, 0, 0) || wrong("indirect table", table + len);
}

static bool indirect_place(struct stage *s)
{
	const struct guest_region *ram = &s->guest->ram[s->guest->nr_ram - 1];
	uint64_t table = (uint64_t)s->buf + 2048, end = ram->base + ram->size;
	volatile struct vdesc *d = (volatile struct vdesc *)table;

	d[0] = (struct vdesc){(uint64_t)BLK_HEADER(s), 16, VD_NEXT, 1};
	d[1] = (struct vdesc){(uint64_t)BLK_DATA(s), 512, VD_NEXT | VD_WRITE, 2};
	d[2] = (struct vdesc){(uint64_t)BLK_STATUS(s), 1, VD_WRITE, 0};
	return bad_table(s, table, 0) && bad_table(s, table, 47) && bad_table(s, table, 8) &&
	       bad_table(s, end, 48) && bad_table(s, end - 32, 48) &&
	       bad_table(s, s->guest->serial, 48) && bad_table(s, ~UINT64_C(0) - 15, 48) &&
	       bad_table(s, table, 0xfffffff0) && bad_table(s, table, 65537 * 16);
}

static bool indirect_next(struct stage *s)
{
	uint64_t table = (uint64_t)s->buf + 2048;
	volatile struct vdesc *d = (volatile struct vdesc *)table;

	/* A next behind the table's end, and a loop inside it. */
	d[0] = (struct vdesc){(uint64_t)BLK_HEADER(s), 16, VD_NEXT, 3};
	if (!bad_table(s, table, 48))
		return false;
	d[0].next = 0;
	return bad_table(s, table, 48);
}

static bool indirect_twice(struct stage *s)
{
	uint64_t table = (uint64_t)s->buf + 2048;
	volatile struct vdesc *d = (volatile struct vdesc *)table;
	struct vring *r = &s->v->ring[0];

	d[0] = (struct vdesc){table, 16, VD_INDIRECT, 0};
	if (!bad_table(s, table, 16))
		return false;
	/* Indirect and a next. */
	d[0] = (struct vdesc){(uint64_t)BLK_HEADER(s), 16, 0, 0};
	if (!up(s, s->v, V_F_INDIRECT, 16))
		return false;
	v_desc(r, 0, (void *)table, 16, VD_INDIRECT | VD_NEXT, 1);
	v_desc(r, 1, BLK_STATUS(s), 1, VD_WRITE, 0);
	if (!broke(s, 0, 0))
		return false;
	/* Not negotiated. */
	if (!up(s, s->v, 0, 16))
		return false;
	v_desc(r, 0, (void *)table, 16, VD_INDIRECT, 0);
	return broke(s, 0, 0);
}

static bool avail_jump(struct stage *s)
{
	struct vring *r = &s->v->ring[0];

	blk_request(s, BLK_IN, 0, BLK_DATA(s), 512, true);
	r->avail->idx = (uint16_t)(r->avail->idx + r->num);
	return broke(s, 0, 0);
}

/* The same three buffers again and again, as fast as they come back. */
static bool endless(struct stage *s)
{
	struct vring *r = &s->v->ring[0];
	uint64_t done = 0, until = read_time() + s->guest->timebase / 2;

	blk_request(s, BLK_IN, 0, BLK_DATA(s), 512, true);
	v_offer(r, 0);
	v_notify(s->v, 0);
	while (read_time() < until && done < s->count) {
		if (!v_get(r, NULL, NULL))
			continue;
		done++;
		v_offer(r, 0);
		v_notify(s->v, 0);
	}
	return done > 3 || wrong("requests done", done);
}

/* One head twice at once. The first may be done before the second is looked at. */
static bool head_twice(struct stage *s)
{
	struct vring *r = &s->v->ring[0];
	uint64_t until;
	unsigned int got = 0;

	blk_request(s, BLK_IN, 0, BLK_DATA(s), 8192, true);
	v_offer(r, 0);
	v_offer(r, 0);
	v_notify(s->v, 0);
	until = read_time() + s->guest->timebase;
	while (got < 2 && !(v_status(s->v) & V_NEEDS_RESET) && read_time() < until)
		got += v_get(r, NULL, NULL);
	return got == 2 || v_status(s->v) & V_NEEDS_RESET || wrong("given back", got);
}

/* A second hart that changes everything a device might read twice. */
static void scribble(void *arg)
{
	struct stage *s = arg;
	struct vring *r = &s->v->ring[0];
	uint32_t i;

	for (i = 0;; i++) {
		r->desc[1].len = i & 1 ? 512 : 0xfffffe00;
		r->desc[1].addr = i & 2 ? (uint64_t)BLK_DATA(s) : ~UINT64_C(0) << 12;
		BLK_HEADER(s)->sector = i & 4 ? 0 : ~UINT64_C(0) >> 1;
		BLK_HEADER(s)->type = i & 8 ? BLK_IN : BLK_GET_ID;
	}
}

static bool double_fetch(struct stage *s)
{
	uint64_t until = read_time() + s->guest->timebase / 2, rounds = 0;
	void *stack = (uint8_t *)vbus_pages(s->bus, 4) + 4 * PAGE_SIZE;
	struct stage *shared = vbus_pages(s->bus, 1);

	*shared = *s;
	if (!start_hart(1, scribble, shared, stack))
		return wrong("no second hart", 1);
	while (read_time() < until) {
		if (v_status(s->v) != V_RUNS && !up(s, s->v, 0, 16))
			return false;
		blk_request(s, BLK_IN, 0, BLK_DATA(s), 512, true);
		v_offer(&s->v->ring[0], 0);
		v_notify(s->v, 0);
		v_get(&s->v->ring[0], NULL, NULL);
		rounds++;
	}
	/* The other hart goes on with the rings that this one gives up. */
	s->v->ring[0].desc = vbus_pages(s->bus, 1);
	s->v->ring[0].avail = vbus_pages(s->bus, 1);
	s->v->ring[0].used = vbus_pages(s->bus, 1);
	s->buf = vbus_pages(s->bus, 16);
	return rounds > 3 || wrong("rounds", rounds);
}

/* A buffer that is not RAM, or not all of it. */
static bool bad_buffers(struct stage *s)
{
	const struct guest_region *ram = &s->guest->ram[s->guest->nr_ram - 1];
	uint64_t end = ram->base + ram->size;
	const struct guest_region bad[] = {
		{end, 512},
		{end - 256, 512},
		{~UINT64_C(0) - 255, 512},
		{4096, 512},
		{s->guest->serial, 512},
		{s->guest->plic, 4096},
		{s->guest->ram[0].base - 256, 512},
		{s->guest->ram[0].base, 0xfffffe00},
		{UINT64_C(1) << 55, 512},
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (!up(s, s->v, 0, 16))
			return false;
		blk_request(s, BLK_IN, 0, (void *)bad[i].base, (uint32_t)bad[i].size, true);
		if (!broke(s, 0, 0))
			return wrong("a buffer at", bad[i].base);
	}
	return true;
}

/* Nothing in it: allowed where something else is, and the sum is what counts. */
static bool no_length(struct stage *s)
{
	struct vring *r = &s->v->ring[0];
	uint32_t len;

	blk_request(s, BLK_IN, 0, BLK_DATA(s), 0, true);
	v_offer(r, 0);
	v_wait(s->v, s->guest, 0, NULL, &len);
	if (!up(s, s->v, 0, 16))
		return false;
	v_desc(r, 0, BLK_DATA(s), 0, 0, 0);
	v_offer(r, 0);
	v_notify(s->v, 0);
	return true;
}

/* More bytes than 32 bits count, all of them RAM. */
static bool length_overflow(struct stage *s)
{
	const struct guest_region *ram = &s->guest->ram[0];
	struct vring *r = &s->v->ring[0];
	uint32_t piece = (uint32_t)(ram->size < UINT64_C(0x40000000) ? ram->size : 0x40000000);
	uint16_t i;

	blk_request(s, BLK_OUT, 0, BLK_DATA(s), 512, false);
	for (i = 1; i < 15; i++)
		v_desc(r, i, (void *)ram->base, piece & ~UINT32_C(511), VD_NEXT, (uint16_t)(i + 1));
	v_desc(r, 15, BLK_STATUS(s), 1, VD_WRITE, 0);
	v_offer(r, 0);
	v_notify(s->v, 0);
	/* Either answer will do, a second of copying will not. */
	v_wait(s->v, s->guest, 0, NULL, NULL);
	return true;
}

static bool wrong_direction(struct stage *s)
{
	struct vring *r = &s->v->ring[0];

	/* A readable part behind a writable one. */
	blk_request(s, BLK_IN, 0, BLK_DATA(s), 512, true);
	r->desc[2].flags = VD_NEXT;
	r->desc[2].next = 3;
	v_desc(r, 3, BLK_STATUS(s), 1, VD_WRITE, 0);
	if (!broke(s, 0, 0) || !up(s, s->v, 0, 16))
		return false;
	/* A read into what may only be read: nothing to write but the status. */
	blk_request(s, BLK_IN, 0, BLK_DATA(s), 512, false);
	BLK_DATA(s)[0] = 0x5a;
	v_offer(r, 0);
	v_wait(s->v, s->guest, 0, NULL, NULL);
	return BLK_DATA(s)[0] == 0x5a || wrong("the device wrote", BLK_DATA(s)[0]);
}

/* A header and nothing else: the slot comes back, or the queue is broken. */
static bool no_status(struct stage *s)
{
	struct vring *r = &s->v->ring[0];
	uint32_t len = 1;

	blk_request(s, BLK_IN, 0, BLK_DATA(s), 512, true);
	v_desc(r, 0, BLK_HEADER(s), 16, 0, 0);
	v_offer(r, 0);
	if (v_wait(s->v, s->guest, 0, NULL, &len))
		return !len || wrong("the length is", len);
	return v_status(s->v) & V_NEEDS_RESET || wrong("a slot is lost, status", v_status(s->v));
}

/* What the device wrote is its own business: changing it changes nothing. */
static bool scribbled_used(struct stage *s)
{
	struct vring *r = &s->v->ring[0];
	unsigned int i;

	for (i = 0; i < 20; i++) {
		blk_request(s, BLK_IN, 0, BLK_DATA(s), 512, true);
		v_offer(r, 0);
		v_notify(s->v, 0);
		r->desc[0].next = 9;
		r->desc[1].flags = 0xffff;
		r->used->idx = (uint16_t)(i * 4711);
		r->used->flags = 0xffff;
		r->avail->flags = (uint16_t)i;
		r->avail->ring[r->num] = (uint16_t)(i * 977);
	}
	return true;
}

/* Bytes that were not read must not count as written, nor hold what was there before. */
static bool used_length(struct stage *s)
{
	struct vring *r = &s->v->ring[0];
	uint32_t len = 0;
	unsigned int i;

	/* A read beyond the disk: one byte, the status. */
	for (i = 0; i < 512; i++)
		BLK_DATA(s)[i] = 0xa5;
	blk_request(s, BLK_IN, ~UINT64_C(0) >> 10, BLK_DATA(s), 512, true);
	v_offer(r, 0);
	if (!v_wait(s->v, s->guest, 0, NULL, &len))
		return wrong("no answer, status", v_status(s->v));
	if (*BLK_STATUS(s) != 1)
		return wrong("the status is", *BLK_STATUS(s));
	for (i = 0; i < 512; i++)
		if (BLK_DATA(s)[i] != 0xa5 && BLK_DATA(s)[i])
			return wrong("the host's memory shows", BLK_DATA(s)[i]);
	return len <= 513 || wrong("the length is", len);
}

const struct poke ring_pokes[] = {
	{"B1", V_ID_BLK, head_too_big},
	{"B2", V_ID_BLK, next_too_big},
	{"B3", V_ID_BLK, loop},
	{"B4", V_ID_BLK, indirect_place},
	{"B4-next", V_ID_BLK, indirect_next},
	{"B5", V_ID_BLK, indirect_twice},
	{"B6", V_ID_BLK, avail_jump},
	{"B7", V_ID_BLK, endless},
	{"B8", V_ID_BLK, head_twice},
	{"B9", V_ID_BLK, double_fetch},
	{"B10", V_ID_BLK, bad_buffers},
	{"B11", V_ID_BLK, no_length},
	{"B11-sum", V_ID_BLK, length_overflow},
	{"B12", V_ID_BLK, wrong_direction},
	{"B13", V_ID_BLK, no_status},
	{"B14", V_ID_BLK, scribbled_used},
	{"B15", V_ID_BLK, used_length},
	{NULL, 0, NULL},
};
