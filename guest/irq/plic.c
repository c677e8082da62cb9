// SPDX-License-Identifier: GPL-2.0-only
/*
 * irq: the PLIC (RISC-V Platform-Level Interrupt Controller specification 1.0.0).
 *
 * Masking is by priority 0, as Linux does it, routing by the enable bits. A completion
 * counts only where the source is enabled: a handler whose interrupt was moved away
 * meanwhile enables it for that moment. The enable words are changed by several harts,
 * so there is a lock around that, and a copy, as reading them would be one more exit for
 * each interrupt.
 */
#include "irq.h"

#define PRIORITY(s) (UINT64_C(4) * (s))
#define PENDING(s) (UINT64_C(0x1000) + (s) / 32 * 4)
#define ENABLE(h, s) (UINT64_C(0x2000) + UINT64_C(0x80) * (h) + (s) / 32 * 4)
#define THRESHOLD(h) (UINT64_C(0x200000) + UINT64_C(0x1000) * (h))
#define CLAIM(h) (THRESHOLD(h) + 4)

static uint64_t reg(const struct bench *b, uint64_t offset)
{
	return b->guest->plic + offset;
}

static struct {
	uint32_t lock;
	uint32_t word[MAX_HARTS][32];
} enables;

static bool lock_enables(void)
{
	uint64_t sstatus;

	__asm__ volatile("csrrci %0, sstatus, 2" : "=r"(sstatus)::"memory");
	lock(&enables.lock);
	return sstatus & SSTATUS_SIE;
}

static void unlock_enables(bool on)
{
	unlock(&enables.lock);
	if (on)
		irq_on();
}

static void enable(struct bench *b, uint64_t hart, uint32_t source, bool on)
{
	uint32_t bit = UINT32_C(1) << source % 32, *word = &enables.word[hart][source / 32];

	*word = on ? *word | bit : *word & ~bit;
	wr32(reg(b, ENABLE(hart, source)), *word);
}

static bool is_enabled(uint64_t hart, uint32_t source)
{
	return enables.word[hart][source / 32] >> source % 32 & 1;
}

static void plic_route(struct bench *b, uint32_t source, uint64_t hart)
{
	bool on = lock_enables();
	uint64_t i;

	for (i = 0; i < b->nr; i++)
		enable(b, i, source, i == hart);
	unlock_enables(on);
	wr32(reg(b, PRIORITY(source)), 1);
}

static void plic_mask(struct bench *b, uint32_t source)
{
	wr32(reg(b, PRIORITY(source)), 0);
}

static void plic_unmask(struct bench *b, uint32_t source)
{
	wr32(reg(b, PRIORITY(source)), 1);
}

static void plic_begin_hart(struct hart *h)
{
	wr32(reg(h->bench, THRESHOLD(h->id)), 0);
}

static uint32_t plic_claim(struct hart *h)
{
	return rd32(reg(h->bench, CLAIM(h->id)));
}

static void plic_complete(struct hart *h, uint32_t source)
{
	bool on = lock_enables(), moved = !is_enabled(h->id, source);

	if (moved)
		enable(h->bench, h->id, source, true);
	wr32(reg(h->bench, CLAIM(h->id)), source);
	if (moved)
		enable(h->bench, h->id, source, false);
	unlock_enables(on);
}

static uint32_t plic_identity(uint32_t source)
{
	return source;
}

const struct chip plic_chip = {
	.name = "plic",
	.identity = plic_identity,
	.begin_hart = plic_begin_hart,
	.route = plic_route,
	.mask = plic_mask,
	.unmask = plic_unmask,
	.claim = plic_claim,
	.complete = plic_complete,
};

/* --- what only a PLIC has ----------------------------------------------------------- */

static void begin(struct bench *b, uint64_t hart)
{
	size_t i;

	for (i = 0; i < 3; i++) {
		b->wire[i].serve = NULL;
		b->by_id[b->wire[i].id] = &b->wire[i];
		plic_route(b, b->wire[i].source, hart);
	}
	forget(b);
}

static bool threshold(struct bench *b)
{
	const struct wire *w = &b->wire[0];
	uint64_t h;

	for (h = 0; h < b->nr; h++) {
		begin(b, h);
		wr32(reg(b, PRIORITY(w->source)), 3);
		wr32(reg(b, THRESHOLD(h)), 3);
		b->wire[0].raise(&b->wire[0]);
		settle(b);
		if (!only(b, w->id, h, 0) ||
		    !(rd32(reg(b, PENDING(w->source))) >> w->source % 32 & 1))
			return differs("a threshold's interrupt is pending, hart", h, false, true);
		wr32(reg(b, THRESHOLD(h)), 2);
		if (!reached(b, &b->hart[h].count[w->id], 1))
			return differs("threshold lowered, hart", h, 0, 1);
		wr32(reg(b, THRESHOLD(h)), 0);
	}
	return true;
}

/* All pending behind a threshold: the highest priority first, of equals the lowest source. */
static bool order(struct bench *b)
{
	uint32_t want[3];
	uint64_t h = b->nr - 1;
	size_t i;

	begin(b, h);
	wr32(reg(b, THRESHOLD(h)), 7);
	wr32(reg(b, PRIORITY(b->wire[0].source)), 2);
	wr32(reg(b, PRIORITY(b->wire[1].source)), 2);
	wr32(reg(b, PRIORITY(b->wire[2].source)), 5);
	want[0] = b->wire[2].source;
	i = b->wire[0].source > b->wire[1].source;
	want[1] = b->wire[i].source;
	want[2] = b->wire[!i].source;
	for (i = 0; i < 3; i++)
		b->wire[i].raise(&b->wire[i]);
	settle(b);
	wr32(reg(b, THRESHOLD(h)), 0);
	if (!reached(b, &b->hart[h].nr_order, 3))
		return differs("interrupts taken", 0, b->hart[h].nr_order, 3);
	for (i = 0; i < 3; i++)
		if (b->hart[h].order[i] != want[i])
			return differs("taken as number", i, b->hart[h].order[i], want[i]);
	settle(b);
	return true;
}

/* All harts hear of it, one claims it. */
static bool multicast(struct bench *b)
{
	const struct wire *w = &b->wire[1];
	struct watch watch = {0};
	uint32_t round;
	uint64_t i;

	begin(b, 0);
	for (i = 0; i < b->nr; i++)
		enable(b, i, w->source, true);
	for (round = 1; round <= 20; round++) {
		b->wire[1].raise(&b->wire[1]);
		/* Whoever claims it may be a while at it. */
		while (sum(b, w->id) < round && goes_on(b, &watch, sum(b, w->id)))
			;
		settle(b);
		if (sum(b, w->id) != round)
			return differs("interrupts claimed", 0, sum(b, w->id), round);
	}
	return true;
}

/* Nonsense that has no effect, then one interrupt that works. */
static bool nonsense(struct bench *b)
{
	static const uint32_t ids[] = {0, 1, 500, 1023, 1024, UINT32_MAX};
	const struct wire *w = &b->wire[1];
	size_t i;

	begin(b, 0);
	irq_off();
	for (i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		wr32(reg(b, CLAIM(0)), ids[i]);
	wr32(reg(b, CLAIM(0)), w->source);
	wr32(reg(b, PENDING(0)), UINT32_MAX);
	wr32(reg(b, PRIORITY(0)), 7);
	wr32(reg(b, CLAIM(b->guest->nr_harts)), w->source);
	wr8(reg(b, CLAIM(0)), 1);
	wr64(reg(b, ENABLE(0, 0)), 0);
	i = rd32(reg(b, CLAIM(0))) | rd32(reg(b, PENDING(0))) | rd32(reg(b, PRIORITY(0))) |
	    rd8(reg(b, CLAIM(0))) | rd16(reg(b, CLAIM(0))) |
	    rd32(reg(b, CLAIM(b->guest->nr_harts)));
	irq_on();
	if (i)
		return differs("registers are", 0, i, 0);
	b->wire[1].raise(&b->wire[1]);
	return reached(b, &b->hart[0].count[w->id], 1);
}

void plic_checks(struct bench *b)
{
	size_t i;

	check(b, threshold(b), "PLIC: threshold");
	check(b, order(b), "PLIC: by priority, then by number");
	check(b, multicast(b), "PLIC: enabled on all harts, claimed by one");
	check(b, nonsense(b), "PLIC: nonsense has no effect");
	for (i = 0; i < 3; i++)
		plic_mask(b, b->wire[i].source);
}
