// SPDX-License-Identifier: GPL-2.0-only
/*
 * irq: the APLIC itself (RISC-V Advanced Interrupt Architecture 1.0, chapter 4): source
 * modes, what is pending when, targets, the domain's switch. KVM's has one domain, which
 * sends messages.
 */
#include "aia.h"

static bool is_pending(struct bench *b, uint32_t source)
{
	return rd32(reg(b, SETIP(source))) >> source % 32 & 1;
}

static bool is_high(struct bench *b, uint32_t source)
{
	return rd32(reg(b, IN_CLRIP(source))) >> source % 32 & 1;
}

static bool registers(struct bench *b)
{
	uint32_t s = b->wire[0].source;

	if (rd32(reg(b, DOMAINCFG)) != DOMAINCFG_READS)
		return differs("domaincfg", 0, rd32(reg(b, DOMAINCFG)), DOMAINCFG_READS);
	set_mode(b, s, SOURCECFG_D | 1);
	if (rd32(reg(b, SOURCECFG(s))))
		return differs("a delegated sourcecfg", s, rd32(reg(b, SOURCECFG(s))), 0);
	/* What is inactive has no bits; but an enable bit where KVM is the APLIC. */
	wr32(reg(b, SETIENUM), s);
	wr32(reg(b, SETIPNUM), s);
	if (is_pending(b, s))
		return differs("an inactive source is pending", s, 1, 0);
	if (rd32(reg(b, SETIE(s))) >> s % 32 & 1)
		print("# KVM enables an inactive source\n");
	set_mode(b, s, SM_LEVEL_HIGH);
	wr32(reg(b, SETIENUM), s);
	if (!(rd32(reg(b, SETIE(s))) >> s % 32 & 1))
		return differs("enabled", s, 0, 1);
	wr32(reg(b, CLRIENUM), s);
	if (rd32(reg(b, SETIE(s))) >> s % 32 & 1)
		return differs("disabled", s, 1, 0);
	/* Numbers that are none. */
	wr32(reg(b, SETIENUM), 0);
	wr32(reg(b, SETIENUM), 1023);
	wr32(reg(b, SETIPNUM), 0);
	wr32(reg(b, SETIPNUM), UINT32_MAX);
	wr32(reg(b, TARGET(1023)), UINT32_MAX);
	return !(rd32(reg(b, SETIE(0))) & 1) && !(rd32(reg(b, SETIP(0))) & 1);
}

/* A wire whose interrupts go to hart @h by @mode, and whose handler leaves it as it is. */
static struct wire *prepare(struct bench *b, size_t index, uint64_t h, uint32_t mode)
{
	struct wire *w = &b->wire[index];

	w->lower(w);
	aia_mask(b, w->source);
	b->by_id[w->id] = NULL;
	set_mode(b, w->source, SM_INACTIVE);
	set_mode(b, w->source, mode);
	set_target(b, w->source, h);
	wr32(reg(b, CLRIPNUM), w->source);
	forget(b);
	return w;
}

static bool count_is(struct bench *b, const char *what, uint64_t h, uint32_t id, uint32_t want)
{
	came(b, &b->hart[h].count[id], want);
	settle(b);
	return b->hart[h].count[id] == want || differs(what, id, b->hart[h].count[id], want);
}

static bool level(struct bench *b, uint64_t h)
{
	struct wire *w = prepare(b, 0, h, SM_LEVEL_HIGH);
	uint32_t s = w->source;

	aia_unmask(b, s);
	if (is_high(b, s))
		return differs("high before it is raised: source", s, 1, 0);
	w->raise(w);
	if (!count_is(b, "level raised", h, w->id, 1))
		return false;
	if (!is_high(b, s) || is_pending(b, s))
		return differs("high, its message sent, but pending", s, is_pending(b, s), 0);
	wr32(reg(b, SETIPNUM), s);
	if (!count_is(b, "set pending while high", h, w->id, 2))
		return false;
	wr32(reg(b, SETIP(s)), UINT32_C(1) << s % 32);
	if (!count_is(b, "set pending by its bit while high", h, w->id, 3))
		return false;
	w->lower(w);
	if (is_high(b, s))
		return differs("high after it was lowered: source", s, 1, 0);
	wr32(reg(b, SETIPNUM), s);
	wr32(reg(b, SETIPNUM_LE), s);
	return count_is(b, "set pending while low", h, w->id, 3);
}

/* Raised while masked, then seen as pending; message at the unmasking. */
static bool level_masked(struct bench *b, uint64_t h)
{
	struct wire *w = prepare(b, 0, h, SM_LEVEL_HIGH);
	uint32_t s = w->source;
	bool good;

	w->raise(w);
	settle(b);
	if (!is_pending(b, s) || b->hart[h].count[w->id])
		return differs("masked and raised: pending", s, is_pending(b, s), 1);
	aia_unmask(b, s);
	good = count_is(b, "unmasked", h, w->id, 1);
	/* The whole domain's switch masks too. */
	wr32(reg(b, DOMAINCFG), 0);
	wr32(reg(b, SETIPNUM), s);
	good = good && count_is(b, "with the domain off", h, w->id, 1);
	wr32(reg(b, DOMAINCFG), DOMAINCFG_IE);
	good = good && count_is(b, "with the domain on again", h, w->id, 2);
	w->lower(w);
	return good;
}

/* Turned round: the line's rest is the active level. */
static bool inverted(struct bench *b, uint64_t h)
{
	struct wire *w = prepare(b, 0, h, SM_LEVEL_LOW);
	uint32_t s = w->source;

	aia_unmask(b, s);
	settle(b);
	if (!is_high(b, s))
		return differs("rectified input of a low line", s, 0, 1);
	forget(b);
	wr32(reg(b, SETIPNUM), s);
	if (!count_is(b, "set pending while low and active low", h, w->id, 1))
		return false;
	w->raise(w);
	settle(b);
	if (is_high(b, s))
		return differs("rectified input of a high line", s, 1, 0);
	forget(b);
	wr32(reg(b, SETIPNUM), s);
	if (!count_is(b, "set pending while high and active low", h, w->id, 0))
		return false;
	w->lower(w);
	return count_is(b, "lowered", h, w->id, 1);
}

static bool edges(struct bench *b, uint64_t h)
{
	struct wire *w = prepare(b, 0, h, SM_EDGE_RISE);
	uint32_t s = w->source, i;

	aia_unmask(b, s);
	for (i = 1; i <= 5; i++) {
		w->raise(w);
		if (!count_is(b, "rising edge", h, w->id, i))
			return false;
		w->lower(w);
	}
	if (!count_is(b, "after falling edges", h, w->id, 5))
		return false;
	/* While masked: one is remembered, however many there were. */
	aia_mask(b, s);
	for (i = 0; i < 3; i++) {
		w->raise(w);
		w->lower(w);
	}
	if (!count_is(b, "edges while masked", h, w->id, 5) || !is_pending(b, s))
		return differs("pending after edges", s, is_pending(b, s), 1);
	aia_unmask(b, s);
	if (!count_is(b, "unmasked after edges", h, w->id, 6))
		return false;
	/* And it can be taken back. */
	aia_mask(b, s);
	w->raise(w);
	w->lower(w);
	wr32(reg(b, CLRIPNUM), s);
	aia_unmask(b, s);
	if (!count_is(b, "an edge taken back", h, w->id, 6))
		return false;
	/* Held high: a level that is no edge. */
	w->raise(w);
	if (!count_is(b, "the last rising edge", h, w->id, 7))
		return false;
	aia_mask(b, s);
	aia_unmask(b, s);
	if (!count_is(b, "high across mask and unmask", h, w->id, 7))
		return false;
	w = prepare(b, 0, h, SM_EDGE_FALL);
	aia_unmask(b, s);
	w->raise(w);
	if (!count_is(b, "rising, waiting for the fall", h, w->id, 0))
		return false;
	w->lower(w);
	return count_is(b, "falling edge", h, w->id, 1);
}

/* No wire at all, and messages made by hand. */
static bool by_hand(struct bench *b, uint64_t h)
{
	struct wire *w = prepare(b, 0, h, SM_DETACHED);
	uint32_t s = w->source;

	aia_unmask(b, s);
	w->raise(w);
	w->lower(w);
	if (!count_is(b, "detached", h, w->id, 0))
		return false;
	wr32(reg(b, SETIPNUM), s);
	if (!count_is(b, "detached, set pending", h, w->id, 1))
		return false;
	wr32(reg(b, TARGET(s)), (uint32_t)h << TARGET_HART | ID_C);
	wr32(reg(b, SETIPNUM), s);
	if (!count_is(b, "another identity", h, ID_C, 1))
		return false;
	wr32(reg(b, GENMSI), (uint32_t)h << TARGET_HART | ID_B);
	return count_is(b, "genmsi", h, ID_B, 1);
}

static void of_each(struct bench *b, bool (*play)(struct bench *b, uint64_t h), const char *name)
{
	bool good = true;
	uint64_t h;

	for (h = 0; good && h < b->nr; h++) {
		good = play(b, h);
		if (!good)
			print("# that was hart %u\n", h);
	}
	check(b, good, name);
}

void aplic_checks(struct bench *b)
{
	size_t i;

	for (i = 0; i < b->nr_wires; i++)
		aia_mask(b, b->wire[i].source);
	check(b, registers(b), "APLIC: registers");
	of_each(b, level, "APLIC: a level comes again by setipnum, while it is high");
	of_each(b, level_masked, "APLIC: a level raised while masked, and with the domain off");
	of_each(b, inverted, "APLIC: active low, rectified input");
	of_each(b, edges, "APLIC: edges, also while masked");
	of_each(b, by_hand, "APLIC: detached sources, targets, genmsi");
	aia_mask(b, b->wire[0].source);
}
