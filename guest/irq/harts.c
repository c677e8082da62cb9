// SPDX-License-Identifier: GPL-2.0-only
/*
 * irq: what harts do among themselves: timers, IPIs, stop and start.
 *
 * The timer is stimecmp (Sstc) or, where harts have none, SBI set_timer: guest.c.
 */
#include "irq.h"

static uint64_t ms(const struct hart *h, uint64_t n)
{
	return n * h->bench->guest->timebase / 1000;
}

static bool timer_fires(struct hart *h)
{
	uint32_t before = h->timers;
	uint64_t at = read_time() + ms(h, 2);

	set_timer(h->bench->guest, at);
	if (!reached(h->bench, &h->timers, before + 1))
		return differs("timer interrupts of hart", h->id, h->timers - before, 1);
	if (h->timer_at < at)
		return differs("too early, ticks, hart", h->id, at - h->timer_at, 0);
	/* A time that has passed. */
	set_timer(h->bench->guest, at);
	if (!reached(h->bench, &h->timers, before + 2))
		return differs("timer set to the past, hart", h->id, h->timers - before, 2);
	settle(h->bench);
	return h->timers == before + 2 ||
	       differs("timer interrupts of hart", h->id, h->timers - before, 2);
}

/* Does an interrupt that is masked become pending? */
static bool pends(const struct hart *h, uint64_t bit)
{
	uint64_t until = read_time() + PATIENCE_S * h->bench->guest->timebase;

	while (!(sip() & bit))
		if (read_time() > until)
			return false;
	return true;
}

/* Pending while masked, taken once it is unmasked, gone where it was put off. */
static bool timer_masked(struct hart *h)
{
	const struct guest *guest = h->bench->guest;
	uint32_t before = h->timers;
	bool pending, gone;

	sie_clear(SIP_STIP);
	set_timer(guest, read_time());
	pending = pends(h, SIP_STIP);
	settle(h->bench);
	if (h->timers != before)
		return differs("a masked timer interrupts hart", h->id, h->timers, before);
	sie_set(SIP_STIP);
	if (!pending || !reached(h->bench, &h->timers, before + 1))
		return differs("unmasked timer of hart", h->id, h->timers - before, 1);
	sie_clear(SIP_STIP);
	set_timer(guest, read_time());
	pends(h, SIP_STIP);
	set_timer(guest, UINT64_MAX);
	gone = !(sip() & SIP_STIP);
	sie_set(SIP_STIP);
	settle(h->bench);
	if (!gone || h->timers != before + 1)
		return differs("a timer that was put off, hart", h->id, h->timers - before, 1);
	/* Moved before it fired: to later, then to sooner. */
	set_timer(guest, read_time() + ms(h, 1000));
	set_timer(guest, read_time() + ms(h, 1));
	return reached(h->bench, &h->timers, before + 2) && h->timers == before + 2;
}

/* A hart that sleeps with interrupts off is woken, ten times over. */
static bool timer_wakes(struct hart *h)
{
	uint32_t before = h->timers;
	unsigned int i;

	for (i = 0; i < 10; i++) {
		uint64_t at = read_time() + ms(h, 1);

		irq_off();
		set_timer(h->bench->guest, at);
		while (!(sip() & SIP_STIP))
			__asm__ volatile("wfi" ::: "memory");
		if (read_time() < at)
			return differs("woken too early, hart", h->id, read_time(), at);
		irq_on();
		if (!reached(h->bench, &h->timers, before + i + 1))
			return differs("timer interrupts of hart", h->id, h->timers - before,
				       i + 1);
	}
	return true;
}

static bool ipi_to_each(struct hart *h)
{
	struct bench *b = h->bench;
	uint64_t i;

	/* The one that told of this work may still be on its way. */
	settle(b);
	for (i = 0; i < b->nr; i++) {
		uint32_t before = b->hart[i].ipis;

		if (send_ipi(1, i) || !reached(b, &b->hart[i].ipis, before + 1))
			return differs("an IPI to hart", i, b->hart[i].ipis - before, 1);
	}
	return true;
}

/* All but one, in one call, by mask and base. */
static bool ipi_by_mask(struct bench *b)
{
	uint32_t before[MAX_HARTS];
	uint64_t left_out, i, mask = (UINT64_C(1) << b->nr) - 1;

	for (left_out = 0; left_out < b->nr; left_out++) {
		for (i = 0; i < b->nr; i++)
			before[i] = b->hart[i].ipis;
		if (send_ipi(mask & ~(UINT64_C(1) << left_out), 0))
			return false;
		for (i = 0; i < b->nr; i++)
			if (i != left_out && !reached(b, &b->hart[i].ipis, before[i] + 1))
				return differs("an IPI by mask to hart", i, false, true);
		settle(b);
		if (b->hart[left_out].ipis != before[left_out])
			return differs("left out, but interrupted: hart", left_out, true, false);
	}
	for (i = 0; i < b->nr; i++)
		before[i] = b->hart[i].ipis;
	if (send_ipi(0, UINT64_MAX))
		return false;
	for (i = 0; i < b->nr; i++)
		if (!reached(b, &b->hart[i].ipis, before[i] + 1))
			return differs("an IPI to all, hart", i, false, true);
	return true;
}

static bool ipi_masked(struct hart *h)
{
	uint32_t before;
	bool pending;

	settle(h->bench);
	before = h->ipis;
	sie_clear(SIP_SSIP);
	send_ipi(1, h->id);
	send_ipi(1, h->id);
	pending = pends(h, SIP_SSIP);
	settle(h->bench);
	if (h->ipis != before)
		return differs("a masked IPI interrupts hart", h->id, h->ipis, before);
	sie_set(SIP_SSIP);
	if (!pending || !reached(h->bench, &h->ipis, before + 1))
		return differs("unmasked IPI of hart", h->id, h->ipis - before, 1);
	settle(h->bench);
	return h->ipis == before + 1;
}

static bool stop(struct hart *h)
{
	irq_off();
	h->up = false;
	sie_clear(SIP_SSIP | SIP_STIP | SIP_SEIP);
	fence();
	stop_hart();
	return false;
}

/* KVM calls a hart that sleeps in WFI suspended. */
static bool status_is(struct bench *b, uint64_t hart, uint64_t want)
{
	uint64_t until = read_time() + PATIENCE_S * b->guest->timebase, status;

	do {
		status = UINT64_MAX;
		sbi(SBI_HSM, HSM_STATUS, hart, 0, 0, &status);
		if (status == HSM_STATUS_SUSPENDED)
			status = HSM_STATUS_STARTED;
	} while (status != want && read_time() < until);
	return status == want || differs("HSM status of hart", hart, status, want);
}

static bool hsm_answers(struct bench *b)
{
	uint64_t i;
	long ret;

	for (i = 0; i < b->nr; i++) {
		if (!status_is(b, i, HSM_STATUS_STARTED))
			return false;
		ret = sbi(SBI_HSM, HSM_START, i, 0x80200000, 0, NULL);
		if (ret != SBI_ERR_ALREADY_AVAILABLE)
			return differs("start of running hart", i, (uint64_t)ret,
				       (uint64_t)SBI_ERR_ALREADY_AVAILABLE);
	}
	ret = sbi(SBI_HSM, HSM_START, b->guest->nr_harts, 0x80200000, 0, NULL);
	return ret == SBI_ERR_INVALID_PARAM ||
	       differs("start of hart", b->guest->nr_harts, (uint64_t)ret,
		       (uint64_t)SBI_ERR_INVALID_PARAM);
}

/* All stop, all start again, and are as good as before. */
static bool stop_and_start(struct bench *b)
{
	unsigned int round;
	uint64_t i;

	for (round = 0; round < 3; round++) {
		for (i = 1; i < b->nr; i++) {
			b->hart[i].told = true;
			b->hart[i].work = stop;
			send_ipi(1, i);
		}
		for (i = 1; i < b->nr; i++)
			if (!status_is(b, i, HSM_STATUS_STOPPED))
				return false;
		if (!start_all(b) || !on_all(b, timer_fires) || !ipi_to_each(&b->hart[0]))
			return false;
	}
	return true;
}

void hart_checks(struct bench *b)
{
	bool good = true;
	uint64_t i;

	check(b, hsm_answers(b), "HSM tells what harts do, and refuses what it must");
	print("# the timer is %s\n", b->guest->sstc ? "stimecmp" : "SBI set_timer");
	check(b, on_all(b, timer_fires), "timer: fires when it is due, and once");
	check(b, on_all(b, timer_masked), "timer: masked, unmasked, put off, moved");
	check(b, on_all(b, timer_wakes), "timer: wakes a hart from WFI");
	for (i = 0; i < b->nr; i++)
		good = on(b, i, ipi_to_each) && good;
	check(b, good, "IPI: from each hart to each");
	check(b, ipi_by_mask(b), "IPI: by mask, and to all");
	check(b, on_all(b, ipi_masked), "IPI: masked and unmasked");
	check(b, stop_and_start(b), "HSM: harts stop and start, with timer and IPIs");
}
