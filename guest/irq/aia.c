// SPDX-License-Identifier: GPL-2.0-only
/*
 * irq: the AIA (RISC-V Advanced Interrupt Architecture 1.0): IMSICs, and an APLIC that
 * turns lines into messages to them.
 *
 * Identities above 31, counted from the last multiple of 64, are used for nothing but
 * the check of all identities, where that is asked for: KVM (6.12 and 7.2) changes the
 * bits of an interrupt file that it holds in software by words of 32 bits, so that these
 * can't be enabled.
 *
 * As the APLIC forgets that a level is pending when it has sent the message, a handler's
 * end makes it pending anew by setipnum, which the APLIC takes only while the line is up
 * (section 4.9.2).
 */
#include "aia.h"

/* CSRs by number: the assembler need not know Ssaia. */
#define CSR_SISELECT "0x150"
#define CSR_SIREG "0x151"
#define CSR_STOPEI "0x15c"
#define CSR_STOPI "0xdb0"

#define EIDELIVERY 0x70
#define EITHRESHOLD 0x72
#define EIP(id) (0x80 + (id) / 64 * 2)
#define EIE(id) (0xc0 + (id) / 64 * 2)

/* Never in a handler: these two belong together. */
static uint64_t file_read(uint64_t which)
{
	uint64_t v;

	__asm__ volatile("csrw " CSR_SISELECT ", %1\n\tcsrr %0, " CSR_SIREG
			 : "=r"(v)
			 : "r"(which)
			 : "memory");
	return v;
}

static void file_write(uint64_t which, uint64_t value)
{
	__asm__ volatile("csrw " CSR_SISELECT ", %0\n\tcsrw " CSR_SIREG ", %1" ::"r"(which),
			 "r"(value)
			 : "memory");
}

static void file_bit(uint64_t which, uint32_t id, bool on)
{
	uint64_t bit = UINT64_C(1) << id % 64;

	if (on)
		__asm__ volatile("csrw " CSR_SISELECT ", %0\n\tcsrs " CSR_SIREG ", %1" ::"r"(which),
				 "r"(bit)
				 : "memory");
	else
		__asm__ volatile("csrw " CSR_SISELECT ", %0\n\tcsrc " CSR_SIREG ", %1" ::"r"(which),
				 "r"(bit)
				 : "memory");
}

static bool file_has(uint64_t which, uint32_t id)
{
	return file_read(which) >> id % 64 & 1;
}

void imsic_send(struct bench *b, uint64_t hart, uint32_t id)
{
	fence();
	wr32(b->guest->imsic + hart * PAGE_SIZE, id);
}

/* --- the chip ------------------------------------------------------------------------ */

static void aia_begin_hart(struct hart *h)
{
	uint32_t id;

	for (id = 0; id < h->bench->guest->nr_ids; id += 64) {
		file_write(EIP(id), 0);
		file_write(EIE(id), UINT64_MAX);
	}
	file_write(EITHRESHOLD, 0);
	file_write(EIDELIVERY, 1);
	wr32(reg(h->bench, DOMAINCFG), DOMAINCFG_IE);
}

/* The lower half of each 64 identities. */
uint32_t aia_identity(uint32_t source)
{
	return source / 32 * 64 + source % 32;
}

static void aia_route(struct bench *b, uint32_t source, uint64_t hart)
{
	/* The mode first: an inactive source has no target (section 4.5.16), but in KVM. */
	if (rd32(reg(b, SOURCECFG(source))) != SM_LEVEL_HIGH)
		set_mode(b, source, SM_LEVEL_HIGH);
	set_target(b, source, hart);
	aia_unmask(b, source);
}

static uint32_t aia_claim(struct hart *h)
{
	uint64_t top;

	(void)h;
	__asm__ volatile("csrrw %0, " CSR_STOPEI ", zero" : "=r"(top)::"memory");
	return (uint32_t)(top >> 16);
}

static void aia_complete(struct hart *h, uint32_t id)
{
	struct bench *b = h->bench;

	if (id < MAX_IDS && b->by_id[id])
		wr32(reg(b, SETIPNUM_LE), b->by_id[id]->source);
}

const struct chip aia_chip = {
	.name = "aia",
	.identity = aia_identity,
	.begin_hart = aia_begin_hart,
	.route = aia_route,
	.mask = aia_mask,
	.unmask = aia_unmask,
	.claim = aia_claim,
	.complete = aia_complete,
};

/* --- IMSIC ----------------------------------------------------------------------------- */

static bool send_to_each(struct hart *h)
{
	struct bench *b = h->bench;
	uint64_t i;

	for (i = 0; i < b->nr; i++) {
		uint32_t before = b->hart[i].count[ID_A];

		imsic_send(b, i, ID_A);
		if (!came(b, &b->hart[i].count[ID_A], before + 1))
			return differs("a message to hart", i, b->hart[i].count[ID_A] - before, 1);
	}
	return true;
}

static bool messages(struct bench *b)
{
	uint64_t i;

	forget(b);
	for (i = 0; i < b->nr; i++)
		if (!on(b, i, send_to_each))
			return differs("messages from hart", i, false, true);
	settle(b);
	for (i = 0; i < b->nr; i++)
		if (b->hart[i].count[ID_A] != b->nr)
			return differs("messages to hart", i, b->hart[i].count[ID_A], b->nr);
	return true;
}

/* One message after the other to a hart that sleeps. */
static bool wakes(struct bench *b)
{
	uint64_t i;
	uint32_t n;

	forget(b);
	for (i = 1; i < b->nr; i++) {
		for (n = 1; n <= 100; n++) {
			imsic_send(b, i, ID_C);
			if (!came(b, &b->hart[i].count[ID_C], n))
				return differs("messages to hart", i, b->hart[i].count[ID_C], n);
			if (n % 8 == 0)
				nap(b);
		}
	}
	return true;
}

/* Every identity there is, on each hart; the last as good as the first. */
static bool identities(struct hart *h)
{
	struct bench *b = h->bench;
	uint32_t id, last = b->guest->nr_ids < MAX_IDS ? b->guest->nr_ids : MAX_IDS - 1;
	char word[4];
	bool all = option(b->guest, "irq.ids", word, sizeof(word));

	for (id = 1; id <= last; id++) {
		uint32_t before = h->count[id];

		/* Those of wires would be taken for the wires' interrupts. */
		if (b->by_id[id] || (!all && id % 64 > 31))
			continue;
		imsic_send(b, h->id, id);
		if (!reached(b, &h->count[id], before + 1))
			return differs("identity not taken", id, 0, 1);
	}
	return true;
}

static bool quiet(struct hart *h, const char *what, uint32_t id)
{
	settle(h->bench);
	return !h->count[id] || differs(what, id, h->count[id], 0);
}

static bool delivery(struct hart *h)
{
	bool pending;

	h->count[ID_A] = 0;
	file_write(EIDELIVERY, 0);
	imsic_send(h->bench, h->id, ID_A);
	if (!quiet(h, "without delivery, identity", ID_A))
		return false;
	pending = file_has(EIP(ID_A), ID_A);
	if (sip() & SIP_SEIP)
		return differs("SEIP without delivery, hart", h->id, true, false);
	file_write(EIDELIVERY, 1);
	return pending && reached(h->bench, &h->count[ID_A], 1) && h->count[ID_A] == 1;
}

static bool enables(struct hart *h)
{
	bool pending;

	h->count[ID_B] = 0;
	file_bit(EIE(ID_B), ID_B, false);
	imsic_send(h->bench, h->id, ID_B);
	imsic_send(h->bench, h->id, ID_B);
	if (!quiet(h, "not enabled, identity", ID_B))
		return false;
	pending = file_has(EIP(ID_B), ID_B);
	file_bit(EIE(ID_B), ID_B, true);
	if (!pending || !reached(h->bench, &h->count[ID_B], 1))
		return differs("enabled, identity", ID_B, h->count[ID_B], 1);
	settle(h->bench);
	if (h->count[ID_B] != 1)
		return differs("sent twice while off, identity", ID_B, h->count[ID_B], 1);
	/* Pending by the file's own register, and taken back by it. */
	file_bit(EIP(ID_B), ID_B, true);
	if (!reached(h->bench, &h->count[ID_B], 2))
		return differs("made pending, identity", ID_B, h->count[ID_B], 2);
	file_bit(EIE(ID_B), ID_B, false);
	imsic_send(h->bench, h->id, ID_B);
	settle(h->bench);
	file_bit(EIP(ID_B), ID_B, false);
	file_bit(EIE(ID_B), ID_B, true);
	settle(h->bench);
	return h->count[ID_B] == 2 || differs("taken back, identity", ID_B, h->count[ID_B], 2);
}

static bool threshold(struct hart *h)
{
	h->count[ID_A] = h->count[ID_B] = 0;
	file_write(EITHRESHOLD, ID_B);
	imsic_send(h->bench, h->id, ID_B);
	if (!quiet(h, "at the threshold, identity", ID_B))
		return false;
	imsic_send(h->bench, h->id, ID_A);
	if (!reached(h->bench, &h->count[ID_A], 1))
		return differs("below the threshold, identity", ID_A, 0, 1);
	file_write(EITHRESHOLD, 0);
	return reached(h->bench, &h->count[ID_B], 1) ||
	       differs("threshold lifted, identity", ID_B, 0, 1);
}

/* The lowest identity first, whatever came first; stopei says it before it is taken. */
static bool order(struct hart *h)
{
	static const uint32_t sent[] = {ID_C, ID_A, ID_B}, want[] = {ID_A, ID_B, ID_C};
	struct bench *b = h->bench;
	uint64_t top, any;
	size_t i;

	irq_off();
	h->nr_order = 0;
	for (i = 0; i < 3; i++)
		imsic_send(b, h->id, sent[i]);
	__asm__ volatile("csrr %0, " CSR_STOPEI : "=r"(top)::"memory");
	__asm__ volatile("csrr %0, " CSR_STOPI : "=r"(any)::"memory");
	irq_on();
	if (top != ((uint64_t)ID_A << 16 | ID_A))
		return differs("stopei, hart", h->id, top, (uint64_t)ID_A << 16 | ID_A);
	if (any >> 16 != 9)
		return differs("stopi's interrupt, hart", h->id, any >> 16, 9);
	if (!reached(b, &h->nr_order, 3))
		return differs("interrupts, hart", h->id, h->nr_order, 3);
	for (i = 0; i < 3; i++)
		if (h->order[i] != want[i])
			return differs("taken as number", i, h->order[i], want[i]);
	return true;
}

static bool nonsense(struct hart *h)
{
	struct bench *b = h->bench;
	uint64_t page = b->guest->imsic + h->id * PAGE_SIZE;
	uint32_t before = h->nothing;

	settle(b);
	h->nr_order = 0;
	wr32(page, 0);
	wr32(page, b->guest->nr_ids + 1);
	wr32(page, UINT32_MAX);
	wr32(page + 8, ID_A);
	wr32(page + PAGE_SIZE - 4, ID_A);
	wr32(b->guest->imsic + b->guest->nr_harts * PAGE_SIZE, ID_A);
	if (rd32(page) | rd32(page + 4) | rd32(page + 8))
		return differs("read from the page of hart", h->id, rd32(page), 0);
	settle(b);
	if (h->nr_order || h->nothing != before)
		return differs("nonsense interrupts hart", h->id, h->nr_order ? h->order[0] : 0, 0);
	wr32(page, ID_B);
	return reached(b, &h->nr_order, 1) && h->order[0] == ID_B;
}

/* A flood of messages from all harts to one: what is pending melts, the last is never lost. */
static bool storm(struct hart *h)
{
	struct bench *b = h->bench;
	uint32_t i, n = b->flood;

	for (i = 0; i < n; i++)
		imsic_send(b, 0, ID_A + (uint32_t)h->id);
	return true;
}

static bool stormed(struct bench *b)
{
	uint64_t i;

	forget(b);
	if (!on_all(b, storm))
		return false;
	settle(b);
	for (i = 0; i < b->nr; i++) {
		uint32_t n = b->hart[0].count[ID_A + i];

		if (!n || n > b->flood)
			return differs("interrupts by messages of hart", i, n, b->flood);
		b->hart[0].count[ID_A + i] = 0;
		imsic_send(b, 0, ID_A + (uint32_t)i);
		if (!reached(b, &b->hart[0].count[ID_A + i], 1))
			return differs("after a storm, message of hart", i, 0, 1);
	}
	return true;
}

void imsic_checks(struct bench *b)
{
	check(b, messages(b), "IMSIC: messages from each hart to each");
	check(b, wakes(b), "IMSIC: messages wake a hart from WFI");
	check(b, on_all(b, identities), "IMSIC: every identity");
	check(b, on_all(b, delivery), "IMSIC: eidelivery");
	check(b, on_all(b, enables), "IMSIC: enable and pending bits");
	check(b, on_all(b, threshold), "IMSIC: eithreshold");
	check(b, on_all(b, order), "IMSIC: lowest identity first, stopei, stopi");
	check(b, on_all(b, nonsense), "IMSIC: nonsense has no effect");
	check(b, stormed(b), "IMSIC: a storm of messages");
}
