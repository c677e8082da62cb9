// SPDX-License-Identifier: GPL-2.0-only
/*
 * irq: the frame around the checks: harts, what they do when interrupted, the report.
 *
 * The command line says
 *
 *	irq.chip=plic|aia	which interrupt chip must be there
 *	irq.harts=N		how many harts
 *	irq.bus=mmio|pci	which transport the disks are behind (two of one, five of the other)
 *	irq.flood=N		how many interrupts a flood has (500)
 *	irq.input=N		so many bytes come over the serial line (0)
 *	irq.ids=all		check the upper halves of interrupt files too (see aia.c)
 *	irq.only=GROUP		play one group only: harts, lines, serial, plic, imsic, aplic,
 *				msix, or cost, which only measures
 *	irq.rest=N		"cost" rests for N seconds before and after what it measures, and
 *				says so first: "# rest 1" and on, so that the host can be looked at
 *	irq.stay=N		leave a hart that sleeps with its interrupt pending alone for N
 *				seconds, so that the host can be looked at
 *
 * and the report ends with "irq: all N checks passed", or "irq: M of N checks failed" and a
 * shutdown for the reason "system failure".
 *
 * Each hart has a struct hart of its own, tp points to it; its interrupt handler writes
 * counters there that others read. The boot hart waits by looking again and again, and
 * never for ever; the others sleep, and an IPI tells them of work.
 *
 * Privileged architecture, "Supervisor-Level ISA"; SBI 3.0, "Hart State Management",
 * "IPI Extension". Nothing is saved.
 */
#include "irq.h"

#define CAUSE_SOFTWARE 1
#define CAUSE_TIMER 5
#define CAUSE_EXTERNAL 9

#define STACK_SIZE 8192

void irq_vector(void); /* vector.S */
void irq_taken(uint64_t cause);

/* --- the report --------------------------------------------------------------- */

void check(struct bench *b, bool good, const char *name)
{
	uint64_t now = read_time();

	b->checks++;
	b->bad += !good;
	print("%s %u %s # %u ms\n", good ? "ok" : "not ok", (uint64_t)b->checks, name,
	      (now - b->since) * 1000 / b->guest->timebase);
	b->since = now;
}

bool differs(const char *what, uint64_t where, uint64_t got, uint64_t want)
{
	print("# %s %u: %x, not %x\n", what, where, got, want);
	return false;
}

/* --- waiting ------------------------------------------------------------------ */

bool reached(struct bench *b, const volatile uint32_t *counter, uint32_t want)
{
	uint64_t until = read_time() + PATIENCE_S * b->guest->timebase;

	while (*counter < want)
		if (read_time() > until)
			return *counter >= want;
	fence();
	return true;
}

bool came(struct bench *b, const volatile uint32_t *counter, uint32_t want)
{
	uint64_t until;
	uint32_t had;

	if (reached(b, counter, want))
		return true;
	had = *counter;
	until = read_time() + b->stay * b->guest->timebase;
	while (read_time() < until)
		;
	send_ipi(0, UINT64_MAX);
	settle(b);
	settle(b);
	if (*counter < want)
		return false;
	b->asleep++;
	print("# a hart slept at %u of %u interrupts, until it was woken\n", (uint64_t)had,
	      (uint64_t)want);
	return true;
}

bool goes_on(struct bench *b, struct watch *w, uint32_t progress)
{
	uint64_t now = read_time();

	if (!w->since || progress != w->last) {
		if (w->woken) {
			b->asleep++;
			print("# a hart slept in a flood, until it was woken\n");
		}
		*w = (struct watch){.last = progress, .since = now};
		return true;
	}
	if (now - w->since < PATIENCE_S * b->guest->timebase)
		return true;
	if (w->woken)
		return false;
	w->woken = true;
	w->since = now;
	send_ipi(0, UINT64_MAX);
	return true;
}

void nap(struct bench *b)
{
	/* With interrupts off: what comes before WFI ends it, and is taken after. */
	irq_off();
	set_timer(b->guest, read_time() + b->guest->timebase / 1000);
	__asm__ volatile("wfi" ::: "memory");
	irq_on();
}

void settle(struct bench *b)
{
	uint64_t until = read_time() + SETTLE_MS * b->guest->timebase / 1000;

	while (read_time() < until)
		;
}

void forget(struct bench *b)
{
	unsigned int i, id;

	/*
	 * Two messages may have been sent for one level that moved, and a hart may take its
	 * own late, where the host is busy. What is pending comes before an IPI (but for one that
	 * was pending itself, which is as good a sign on all but the busiest host).
	 */
	for (i = 1; i < b->nr; i++) {
		uint32_t before = b->hart[i].ipis;

		if (b->hart[i].up && !send_ipi(1, i))
			reached(b, &b->hart[i].ipis, before + 1);
	}
	for (i = 0; i < b->nr; i++) {
		struct hart *h = &b->hart[i];

		for (id = 0; id < MAX_IDS; id++)
			if (h->count[id])
				h->count[id] = 0;
		h->nr_order = 0;
	}
	fence();
}

uint32_t sum(struct bench *b, uint32_t id)
{
	uint32_t n = 0;
	unsigned int i;

	for (i = 0; i < b->nr; i++)
		n += b->hart[i].count[id];
	return n;
}

bool only(struct bench *b, uint32_t id, uint64_t hart, uint32_t want)
{
	uint64_t i;

	for (i = 0; i < b->nr; i++) {
		uint32_t n = b->hart[i].count[id];

		if (n != (i == hart ? want : 0))
			return differs("interrupts taken by hart", i, n, i == hart ? want : 0);
	}
	return true;
}

/* --- interrupts --------------------------------------------------------------- */

static void serve(struct wire *w, struct hart *h)
{
	lock(&w->lock);
	if (w->serve)
		w->serve(w, h);
	else if (w->hold)
		w->hold--;
	else
		w->lower(w);
	unlock(&w->lock);
}

static void external(struct hart *h)
{
	struct bench *b = h->bench;
	uint32_t id = b->chip->claim(h), first = id;

	for (; id; id = b->chip->claim(h)) {
		struct wire *w = NULL;

		if (id < MAX_IDS) {
			w = b->by_id[id];
			if (h->nr_order < MAX_ORDER) {
				h->order[h->nr_order] = id;
				h->nr_order++;
			}
		}
		if (w)
			serve(w, h);
		b->chip->complete(h, id);
		fence();
		/* The last thing, as others wait for it. */
		if (id < MAX_IDS)
			h->count[id]++;
	}
	if (!first)
		h->nothing++;
}

void irq_taken(uint64_t cause)
{
	struct hart *h = self();

	switch (cause & 0xff) {
	case CAUSE_SOFTWARE:
		__asm__ volatile("csrc sip, %0" ::"r"(SIP_SSIP) : "memory");
		h->ipis++;
		break;
	case CAUSE_TIMER:
		h->timer_at = read_time();
		set_timer(h->bench->guest, UINT64_MAX);
		h->timers++;
		break;
	case CAUSE_EXTERNAL:
		external(h);
		break;
	default:
		guest_trap(cause, 0, 0);
		break;
	}
}

/* --- harts -------------------------------------------------------------------- */

long send_ipi(uint64_t mask, uint64_t base)
{
	fence();
	return sbi(SBI_IPI, 0, mask, base, 0, NULL);
}

void begin_hart(struct hart *h)
{
	__asm__ volatile("mv tp, %0" ::"r"(h));
	__asm__ volatile("csrw stvec, %0" ::"r"(irq_vector) : "memory");
	set_timer(h->bench->guest, UINT64_MAX);
	h->bench->chip->begin_hart(h);
	sie_set(SIP_SSIP | SIP_STIP | SIP_SEIP);
	irq_on();
}

static void worker(void *arg)
{
	struct hart *h = arg;

	begin_hart(h);
	fence();
	h->up = true;
	for (;;) {
		irq_off();
		while (!h->work) {
			/* Woken by what is pending, which is taken right after. */
			__asm__ volatile("wfi" ::: "memory");
			irq_on();
			irq_off();
		}
		irq_on();
		/* From here on every IPI that comes is one that the work is about. */
		while (!h->told)
			;
		fence();
		h->good = h->work(h);
		fence();
		h->work = NULL;
		fence();
	}
}

static bool wait_up(struct bench *b, struct hart *h)
{
	uint64_t until = read_time() + PATIENCE_S * b->guest->timebase;

	while (!h->up)
		if (read_time() > until)
			return false;
	return true;
}

bool start_all(struct bench *b)
{
	static uint8_t stacks[MAX_HARTS][STACK_SIZE] __attribute__((aligned(16)));
	bool good = true;
	uint64_t i;

	for (i = 1; i < b->nr; i++) {
		b->hart[i].up = false;
		b->hart[i].work = NULL;
		if (!start_hart(i, worker, &b->hart[i], stacks[i] + STACK_SIZE))
			good = differs("start of hart", i, false, true);
	}
	for (i = 1; good && i < b->nr; i++)
		if (!wait_up(b, &b->hart[i]))
			good = differs("sign of life of hart", i, false, true);
	return good;
}

static void give(struct hart *h, bool (*work)(struct hart *h))
{
	h->good = h->told = false;
	fence();
	h->work = work;
	send_ipi(1, h->id);
	h->told = true;
	fence();
}

static bool taken_back(struct bench *b, struct hart *h)
{
	uint64_t until = read_time() + 3 * PATIENCE_S * b->guest->timebase;

	while (h->work)
		if (read_time() > until)
			return differs("still at work, hart", h->id, true, false);
	fence();
	return h->good;
}

bool on(struct bench *b, uint64_t hart, bool (*work)(struct hart *h))
{
	struct hart *h = &b->hart[hart];

	if (!hart)
		return work(h);
	give(h, work);
	return taken_back(b, h);
}

bool on_all(struct bench *b, bool (*work)(struct hart *h))
{
	bool good;
	uint64_t i;

	for (i = 1; i < b->nr; i++)
		give(&b->hart[i], work);
	good = work(&b->hart[0]);
	for (i = 1; i < b->nr; i++)
		good = taken_back(b, &b->hart[i]) && good;
	return good;
}

/* --- the play ----------------------------------------------------------------- */

static void checks(struct bench *b)
{
	const struct group {
		const char *name;
		void (*play)(struct bench *b);
		bool wanted;
	} groups[] = {
		{"lines", wire_checks, true},
		{"serial", serial_checks, true},
		{"cost", cost_checks, same(b->only, "cost")},
		{"plic", plic_checks, b->chip == &plic_chip},
		{"imsic", imsic_checks, b->chip == &aia_chip},
		{"aplic", aplic_checks, b->chip == &aia_chip},
		{"msix", msix_checks, b->chip == &aia_chip && b->pci},
	};
	size_t i;

	if (!b->only[0] || same(b->only, "harts"))
		hart_checks(b);
	/* To measure the serial port does. */
	if (!find_wires(b) && !(same(b->only, "cost") && b->nr_wires)) {
		check(b, false, "devices are there");
		return;
	}
	for (i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		if (groups[i].wanted && (!b->only[0] || same(b->only, groups[i].name)))
			groups[i].play(b);
}

static void sum_up(struct bench *b)
{
	uint64_t nothing = 0;
	unsigned int i;

	for (i = 0; i < b->nr; i++)
		nothing += b->hart[i].nothing;
	print("# interrupted %u times for nothing\n", nothing);
	if (b->asleep)
		print("# %u times a hart slept with an interrupt pending\n", (uint64_t)b->asleep);
	print("1..%u\n", (uint64_t)b->checks);
	if (b->bad)
		print("irq: %u of %u checks failed\n", (uint64_t)b->bad, (uint64_t)b->checks);
	else
		print("irq: all %u checks passed\n", (uint64_t)b->checks);
}

bool guest_main(const struct guest *guest)
{
	static struct bench b;
	char word[8] = "";
	bool good;
	uint64_t i;

	b.guest = guest;
	b.chip = guest->aplic ? &aia_chip : &plic_chip;
	b.nr = guest->nr_harts < MAX_HARTS ? guest->nr_harts : MAX_HARTS;
	b.flood = (uint32_t)option_number(guest, "irq.flood", 500);
	b.stay = (uint32_t)option_number(guest, "irq.stay", 0);
	b.rest = (uint32_t)option_number(guest, "irq.rest", 0);
	b.since = read_time();
	if (!option(guest, "irq.only", b.only, sizeof(b.only)))
		b.only[0] = '\0';
	b.pci = option(guest, "irq.bus", word, sizeof(word)) && same(word, "pci");
	for (i = 0; i < b.nr; i++) {
		b.hart[i].bench = &b;
		b.hart[i].id = i;
	}
	b.hart[0].up = true;
	good = !option(guest, "irq.chip", word, sizeof(word)) || same(word, b.chip->name);
	print("# %s\n", b.chip->name);
	check(&b, good, "the interrupt chip that was asked for");
	good = good && option_number(guest, "irq.harts", b.nr) == b.nr;
	check(&b, good, "the number of harts");
	if (good) {
		begin_hart(&b.hart[0]);
		good = start_all(&b);
		check(&b, good, "HSM starts all harts");
	}
	if (good)
		checks(&b);
	sum_up(&b);
	irq_off();
	return !b.bad;
}
