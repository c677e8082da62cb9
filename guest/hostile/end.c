// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pokes that combine work in flight with an end: of the device by a reset, of the guest by
 * a shutdown or a reboot, of the VM by a signal. Each must come soon, whatever is left.
 */
#include "hostile.h"

#define RANGES 16
#define RESET_SECONDS 5

#define SBI_SRST 0x53525354
#define SRST_COLD_REBOOT 1

#define F_MULTIPORT 1

/* A queue full of requests, each of which writes zeroes over all of the disk RANGES times. */
static bool much_work(struct stage *s)
{
	volatile struct {
		uint64_t sector;
		uint32_t sectors, flags;
	} *range = (volatile void *)BLK_DATA(s);
	volatile struct vdesc *table = (volatile struct vdesc *)(BLK_DATA(s) + 4096);
	struct vring *r = &s->v->ring[0];
	unsigned int i;

	if (!up(s, s->v, ~UINT64_C(0) & ~(V_F_EVENT_IDX | V_F_RING_PACKED), V_RING_MAX))
		return false;
	blk_request(s, BLK_WRITE_ZEROES, 0, range, RANGES * 16, false);
	for (i = 0; i < 3; i++)
		table[i] = r->desc[i];
	for (i = 0; i < RANGES; i++) {
		range[i].sector = 0;
		range[i].sectors = (uint32_t)rd64(v_config(s->v));
		range[i].flags = 0;
	}
	for (i = 0; i < r->num; i++) {
		v_desc(r, i, table, 3 * sizeof(*table), VD_INDIRECT, 0);
		v_offer(r, (uint16_t)i);
	}
	v_notify(s->v, 0);
	return true;
}

static bool reset_at_work(struct stage *s)
{
	uint64_t begin;

	if (!much_work(s))
		return false;
	begin = read_time();
	if (!v_reset(s->v))
		return wrong("a reset does not end, status", v_status(s->v));
	if (read_time() - begin > RESET_SECONDS * s->guest->timebase)
		return wrong("ticks of a reset", read_time() - begin);
	return true;
}

static bool reboot_at_work(struct stage *s)
{
	return much_work(s) &&
	       wrong("no reboot", (uint64_t)sbi(SBI_SRST, 0, SRST_COLD_REBOOT, 0, 0, NULL));
}

/* Until somebody ends it from outside. */
static bool killed_at_work(struct stage *s)
{
	char line[8];

	if (!much_work(s))
		return false;
	print("hostile: busy\n");
	for (;;)
		read_line(s->guest, line, sizeof(line));
}

/* --- console ------------------------------------------------------------------------- */

static bool message(struct stage *s, uint32_t id, uint16_t event)
{
	volatile uint32_t *m = (volatile uint32_t *)BLK_DATA(s);

	m[0] = id;
	m[1] = event | UINT32_C(1) << 16;
	v_desc(&s->v->ring[3], 0, m, 8, 0, 0);
	v_offer(&s->v->ring[3], 0);
	return v_wait(s->v, s->guest, 3, NULL, NULL) || wrong("no answer to event", event);
}

/* Port 1 is open, and has 8 MiB to write in one request. */
static bool much_output(struct stage *s)
{
	struct vring *r = &s->v->ring[5];
	uint16_t i;

	if (!up(s, s->v, 1U << F_MULTIPORT, 16) || !message(s, 0, 0) || !message(s, 1, 3) ||
	    !message(s, 1, 6))
		return false;
	for (i = 0; i < 16; i++)
		v_desc(r, i, s->buf, 512 * 1024, i < 15 ? VD_NEXT : 0, (uint16_t)(i + 1));
	v_offer(r, 0);
	v_notify(s->v, 5);
	return true;
}

static bool output_and_reset(struct stage *s)
{
	return much_output(s) && (v_reset(s->v) || wrong("a reset does not end", 0));
}

static bool output_and_failed(struct stage *s)
{
	if (!much_output(s))
		return false;
	v_set_status(s->v, V_RUNS | V_FAILED);
	return true;
}

const struct poke end_pokes[] = {
	{"C5-reset", V_ID_BLK, reset_at_work},
	{"C5-end", V_ID_BLK, reset_at_work},
	{"C5-reboot", V_ID_BLK, reset_at_work},
	{"C5-killed", V_ID_BLK, reset_at_work},
	{"C13-end", V_ID_CONSOLE, output_and_reset},
	{"C13-failed", V_ID_CONSOLE, output_and_reset},
	{NULL, 0, NULL},
};

bool leave(struct stage *s, const char *name)
{
	static const struct {
		const char *name;
		bool (*last)(struct stage *s);
	} ends[] = {
		{"C5-end", much_work},
		{"C5-reboot", reboot_at_work},
		{"C5-killed", killed_at_work},
		{"C13-end", much_output},
		{"C13-failed", output_and_failed},
	};
	size_t i;

	for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (same(ends[i].name, name))
			return ends[i].last(s);
	return v_reset(s->v);
}
