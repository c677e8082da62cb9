// SPDX-License-Identifier: GPL-2.0-only
/*
 * The goldfish RTC: each rule of hw/rtc.c as a case, and a million random
 * operations against a small model, with the clock moved through save and load
 * all the time.
 */
#include "prng.h"
#include "unit.h"

#include "lkvm/hw/rtc.h"

#include <string.h>

#define TIME_LOW 0x00
#define TIME_HIGH 0x04
#define ALARM_LOW 0x08
#define ALARM_HIGH 0x0c
#define IRQ_ENABLED 0x10
#define CLEAR_ALARM 0x14
#define ALARM_STATUS 0x18
#define CLEAR_INTERRUPT 0x1c

#define START_TIME UINT64_C(1700000000123456789)

/* A clock and the world around it. */
struct rig {
	struct irq_chip chip;
	struct rtc *rtc;
	uint64_t now;
	bool line, armed;
	uint64_t deadline;
	unsigned int line_calls, line_repeats, alarms, arms, disarms;
};

static void on_line(struct irq_chip *chip, uint32_t source, bool level)
{
	struct rig *rig = container_of(chip, struct rig, chip);

	ck_assert_uint_eq(source, 11);
	rig->line_calls++;
	rig->line_repeats += rig->line == level;
	rig->line = level;
}

static uint64_t on_now(void *opaque)
{
	struct rig *rig = opaque;

	return rig->now;
}

static void on_arm(void *opaque, uint64_t deadline)
{
	struct rig *rig = opaque;

	rig->arms++;
	rig->armed = true;
	rig->deadline = deadline;
}

static void on_disarm(void *opaque)
{
	struct rig *rig = opaque;

	rig->disarms++;
	rig->armed = false;
}

static void on_alarm(void *opaque)
{
	struct rig *rig = opaque;

	rig->alarms++;
}

static const struct irq_chip_ops chip_ops = {
	.set_level = on_line,
};

static const struct rtc_env env = {
	.now = on_now,
	.arm = on_arm,
	.disarm = on_disarm,
	.alarm = on_alarm,
};

static const struct rtc_env env_without_alarm = {
	.now = on_now,
	.arm = on_arm,
	.disarm = on_disarm,
};

static struct rtc *new_rtc(struct rig *rig, const struct rtc_env *e)
{
	struct rtc *rtc = rtc_create("rtc0", (struct irq_line){&rig->chip, 11}, e, rig);

	ck_assert_ptr_nonnull(rtc);
	return rtc;
}

static void start(struct rig *rig)
{
	memset(rig, 0, sizeof(*rig));
	rig->chip.ops = &chip_ops;
	rig->now = START_TIME;
	rig->rtc = new_rtc(rig, &env);
}

static void stop(struct rig *rig)
{
	ck_assert_uint_eq(rig->line_repeats, 0);
	rtc_device(rig->rtc)->ops->destroy(rtc_device(rig->rtc));
	ck_assert(!rig->armed);
}

static uint32_t rd(struct rig *rig, uint64_t offset)
{
	return (uint32_t)rtc_ops.read(rig->rtc, offset, 4);
}

static void wr(struct rig *rig, uint64_t offset, uint32_t value)
{
	rtc_ops.write(rig->rtc, offset, value, 4);
}

static uint64_t get_time(struct rig *rig)
{
	uint64_t low = rd(rig, TIME_LOW);

	return (uint64_t)rd(rig, TIME_HIGH) << 32 | low;
}

static void set_time(struct rig *rig, uint64_t t)
{
	wr(rig, TIME_HIGH, (uint32_t)(t >> 32));
	wr(rig, TIME_LOW, (uint32_t)t);
}

static void set_alarm(struct rig *rig, uint64_t t)
{
	wr(rig, ALARM_HIGH, (uint32_t)(t >> 32));
	wr(rig, ALARM_LOW, (uint32_t)t);
}

/* Time goes by, and the host's timer does what it was asked for. */
static void pass(struct rig *rig, uint64_t ns)
{
	rig->now += ns;
	if (rig->armed && rig->now >= rig->deadline)
		rtc_expire(rig->rtc);
}

static void save(struct rig *rig, struct xfer *x)
{
	xfer_save_init(x);
	rtc_device(rig->rtc)->ops->transfer(rtc_device(rig->rtc), x);
	ck_assert_int_eq(xfer_done(x, NULL), 0);
}

static int load(struct rig *rig, const void *buf, size_t len)
{
	struct xfer x;

	xfer_load_init(&x, buf, len);
	rtc_device(rig->rtc)->ops->transfer(rtc_device(rig->rtc), &x);
	return xfer_done(&x, NULL);
}

START_TEST(shows_host_time)
{
	struct rig rig;

	start(&rig);
	ck_assert_uint_eq(get_time(&rig), START_TIME);
	pass(&rig, 5 * NSEC_PER_SEC);
	ck_assert_uint_eq(get_time(&rig), START_TIME + 5 * NSEC_PER_SEC);
	ck_assert_uint_eq(rd(&rig, ALARM_STATUS), 0);
	ck_assert_uint_eq(rd(&rig, IRQ_ENABLED), 0);
	stop(&rig);
}
END_TEST

START_TEST(low_read_latches_high)
{
	struct rig rig;

	start(&rig);
	rig.now = UINT64_C(0x1ffffffff);
	ck_assert_uint_eq(rd(&rig, TIME_LOW), 0xffffffff);
	rig.now++;
	ck_assert_uint_eq(rd(&rig, TIME_HIGH), 1);
	ck_assert_uint_eq(rd(&rig, TIME_LOW), 0);
	ck_assert_uint_eq(rd(&rig, TIME_HIGH), 2);
	stop(&rig);
}
END_TEST

START_TEST(guest_sets_its_time)
{
	struct rig rig;

	start(&rig);
	set_time(&rig, UINT64_C(946684800) * NSEC_PER_SEC);
	ck_assert_uint_eq(get_time(&rig), UINT64_C(946684800) * NSEC_PER_SEC);
	pass(&rig, 1);
	ck_assert_uint_eq(get_time(&rig), UINT64_C(946684800) * NSEC_PER_SEC + 1);
	/* The high half alone changes nothing yet. */
	wr(&rig, TIME_HIGH, 0);
	ck_assert_uint_eq(get_time(&rig), UINT64_C(946684800) * NSEC_PER_SEC + 1);
	/* The future works as well, and the ends. */
	set_time(&rig, UINT64_MAX);
	ck_assert_uint_eq(get_time(&rig), UINT64_MAX);
	pass(&rig, 1);
	ck_assert_uint_eq(get_time(&rig), 0);
	stop(&rig);
}
END_TEST

START_TEST(alarm_goes_off)
{
	struct rig rig;

	start(&rig);
	set_alarm(&rig, START_TIME + 1000);
	wr(&rig, IRQ_ENABLED, 1);
	ck_assert_uint_eq(rd(&rig, ALARM_STATUS), 1);
	ck_assert_uint_eq(rd(&rig, ALARM_LOW), (uint32_t)(START_TIME + 1000));
	ck_assert_uint_eq(rd(&rig, ALARM_HIGH), (START_TIME + 1000) >> 32);
	ck_assert(rig.armed);
	ck_assert_uint_eq(rig.deadline, START_TIME + 1000);
	pass(&rig, 999);
	ck_assert(!rig.line);
	pass(&rig, 1);
	ck_assert(rig.line && rtc_pending(rig.rtc));
	ck_assert(!rig.armed);
	ck_assert_uint_eq(rig.alarms, 1);
	ck_assert_uint_eq(rd(&rig, ALARM_STATUS), 0);
	wr(&rig, CLEAR_INTERRUPT, 1);
	ck_assert(!rig.line && !rtc_pending(rig.rtc));
	pass(&rig, NSEC_PER_SEC);
	ck_assert_uint_eq(rig.alarms, 1);
	ck_assert_uint_eq(rig.line_calls, 2);
	stop(&rig);
}
END_TEST

START_TEST(past_alarm_at_once)
{
	struct rig rig;

	start(&rig);
	wr(&rig, IRQ_ENABLED, 1);
	set_alarm(&rig, START_TIME);
	ck_assert(rig.line);
	ck_assert_uint_eq(rd(&rig, ALARM_STATUS), 0);
	ck_assert_uint_eq(rig.arms, 0);
	wr(&rig, CLEAR_INTERRUPT, 0);
	set_alarm(&rig, 0);
	ck_assert(rig.line);
	ck_assert_uint_eq(rig.alarms, 2);
	stop(&rig);
}
END_TEST

START_TEST(interrupt_waits_for_enable)
{
	struct rig rig;

	start(&rig);
	set_alarm(&rig, START_TIME);
	ck_assert(!rig.line && !rtc_pending(rig.rtc));
	/* As Linux does: enabled after arming. */
	wr(&rig, IRQ_ENABLED, 1);
	ck_assert(rig.line);
	wr(&rig, IRQ_ENABLED, 0);
	ck_assert(!rig.line);
	wr(&rig, IRQ_ENABLED, 0xfffffffe);
	ck_assert_uint_eq(rd(&rig, IRQ_ENABLED), 0);
	wr(&rig, IRQ_ENABLED, 0xffffffff);
	ck_assert_uint_eq(rd(&rig, IRQ_ENABLED), 1);
	ck_assert(rig.line);
	stop(&rig);
}
END_TEST

START_TEST(disabled_alarm_wakes_nobody)
{
	struct rig rig;

	start(&rig);
	set_alarm(&rig, START_TIME + 1000);
	pass(&rig, 1000);
	ck_assert_uint_eq(rd(&rig, ALARM_STATUS), 0);
	ck_assert_uint_eq(rig.alarms, 0);
	ck_assert(!rig.line && !rtc_pending(rig.rtc));
	/* A guest that runs gets it late: nothing to wake. */
	wr(&rig, IRQ_ENABLED, 1);
	ck_assert(rig.line && rtc_pending(rig.rtc));
	ck_assert_uint_eq(rig.alarms, 0);
	wr(&rig, CLEAR_INTERRUPT, 1);
	set_alarm(&rig, START_TIME + 2000);
	pass(&rig, 1000);
	ck_assert_uint_eq(rig.alarms, 1);
	stop(&rig);
}
END_TEST

START_TEST(alarm_cleared)
{
	struct rig rig;

	start(&rig);
	wr(&rig, IRQ_ENABLED, 1);
	set_alarm(&rig, START_TIME + 1000);
	wr(&rig, CLEAR_ALARM, 1);
	ck_assert(!rig.armed);
	ck_assert_uint_eq(rd(&rig, ALARM_STATUS), 0);
	pass(&rig, 2000);
	rtc_expire(rig.rtc);
	ck_assert(!rig.line);
	ck_assert_uint_eq(rig.alarms, 0);
	stop(&rig);
}
END_TEST

START_TEST(alarm_high_alone_arms_nothing)
{
	struct rig rig;

	start(&rig);
	wr(&rig, IRQ_ENABLED, 1);
	wr(&rig, ALARM_HIGH, 0);
	ck_assert_uint_eq(rd(&rig, ALARM_STATUS), 0);
	ck_assert_uint_eq(rig.alarms, 0);
	set_alarm(&rig, START_TIME + 1000);
	/* Half of the next alarm: the armed one stays as it is. */
	wr(&rig, ALARM_HIGH, 0);
	rtc_expire(rig.rtc);
	ck_assert_uint_eq(rd(&rig, ALARM_STATUS), 1);
	pass(&rig, 1000);
	ck_assert_uint_eq(rig.alarms, 1);
	stop(&rig);
}
END_TEST

START_TEST(alarm_moved)
{
	struct rig rig;

	start(&rig);
	wr(&rig, IRQ_ENABLED, 1);
	set_alarm(&rig, START_TIME + 1000);
	set_alarm(&rig, START_TIME + 500);
	ck_assert_uint_eq(rig.deadline, START_TIME + 500);
	set_alarm(&rig, START_TIME + 3000);
	ck_assert_uint_eq(rig.deadline, START_TIME + 3000);
	pass(&rig, 2000);
	ck_assert_uint_eq(rig.alarms, 0);
	stop(&rig);
}
END_TEST

START_TEST(setting_time_moves_alarm)
{
	struct rig rig;

	start(&rig);
	wr(&rig, IRQ_ENABLED, 1);
	set_time(&rig, 5000);
	set_alarm(&rig, 6000);
	ck_assert_uint_eq(rig.deadline, START_TIME + 1000);
	set_time(&rig, 2000);
	ck_assert_uint_eq(rig.deadline, START_TIME + 4000);
	set_time(&rig, 7000);
	ck_assert(rig.line && !rig.armed);
	stop(&rig);
}
END_TEST

START_TEST(early_and_late_calls)
{
	struct rig rig;

	start(&rig);
	wr(&rig, IRQ_ENABLED, 1);
	set_alarm(&rig, START_TIME + 1000);
	rtc_expire(rig.rtc);
	ck_assert(rig.armed);
	/* The host's clock is set back: wait longer. */
	rig.now -= 500;
	rtc_expire(rig.rtc);
	ck_assert_uint_eq(rig.deadline, START_TIME + 1000);
	rig.now += 1000000;
	rtc_expire(rig.rtc);
	ck_assert_uint_eq(rig.alarms, 1);
	rtc_expire(rig.rtc);
	ck_assert_uint_eq(rig.alarms, 1);
	stop(&rig);
}
END_TEST

START_TEST(nothing_overflows)
{
	struct rig rig;

	start(&rig);
	wr(&rig, IRQ_ENABLED, 1);
	/* The farthest alarm of a guest that lives in 1970. */
	set_time(&rig, 0);
	set_alarm(&rig, UINT64_MAX);
	ck_assert(rig.armed);
	ck_assert_uint_eq(rig.deadline, UINT64_MAX);
	rtc_expire(rig.rtc);
	ck_assert_uint_eq(rig.alarms, 0);
	set_time(&rig, UINT64_MAX);
	ck_assert_uint_eq(rig.alarms, 1);
	rig.now = UINT64_MAX;
	set_time(&rig, 10);
	set_alarm(&rig, 20);
	ck_assert_uint_eq(rig.deadline, UINT64_MAX);
	rtc_expire(rig.rtc);
	ck_assert_uint_eq(rig.alarms, 1);
	stop(&rig);
}
END_TEST

START_TEST(other_accesses_ignored)
{
	static const unsigned int sizes[] = {1, 2, 8};
	struct rig rig;
	uint64_t offset;
	size_t i;

	start(&rig);
	for (offset = 0; offset < RTC_WINDOW; offset++) {
		for (i = 0; i < ARRAY_SIZE(sizes); i++) {
			rtc_ops.write(rig.rtc, offset, UINT64_MAX, sizes[i]);
			if (rtc_ops.read(rig.rtc, offset, sizes[i]))
				ck_abort_msg("offset %u", (unsigned int)offset);
		}
		if (offset >= 0x20 || offset % 4) {
			wr(&rig, offset, UINT32_MAX);
			if (rd(&rig, offset))
				ck_abort_msg("offset %u", (unsigned int)offset);
		}
	}
	/* Write-only and read-only ones. */
	ck_assert_uint_eq(rd(&rig, CLEAR_ALARM), 0);
	ck_assert_uint_eq(rd(&rig, CLEAR_INTERRUPT), 0);
	wr(&rig, ALARM_STATUS, 1);
	ck_assert_uint_eq(rd(&rig, ALARM_STATUS), 0);
	ck_assert_uint_eq(rd(&rig, IRQ_ENABLED), 0);
	ck_assert_uint_eq(get_time(&rig), START_TIME);
	ck_assert_uint_eq(rig.line_calls + rig.alarms + rig.arms, 0);
	stop(&rig);
}
END_TEST

START_TEST(reset_keeps_time)
{
	struct rig rig;

	start(&rig);
	set_time(&rig, 1000);
	wr(&rig, IRQ_ENABLED, 1);
	set_alarm(&rig, 0);
	set_alarm(&rig, 5000);
	ck_assert(rig.line && rig.armed);
	rtc_device(rig.rtc)->ops->reset(rtc_device(rig.rtc));
	ck_assert(!rig.line && !rig.armed);
	ck_assert_uint_eq(rd(&rig, TIME_HIGH), 0);
	ck_assert_uint_eq(rd(&rig, ALARM_LOW), 0);
	ck_assert_uint_eq(rd(&rig, ALARM_HIGH), 0);
	ck_assert_uint_eq(rd(&rig, ALARM_STATUS), 0);
	ck_assert_uint_eq(rd(&rig, IRQ_ENABLED), 0);
	ck_assert_uint_eq(get_time(&rig), 1000);
	stop(&rig);
}
END_TEST

START_TEST(no_wakeup_wanted)
{
	struct rig rig;

	start(&rig);
	rtc_device(rig.rtc)->ops->destroy(rtc_device(rig.rtc));
	rig.rtc = new_rtc(&rig, &env_without_alarm);
	wr(&rig, IRQ_ENABLED, 1);
	set_alarm(&rig, 0);
	ck_assert(rig.line);
	stop(&rig);
}
END_TEST

START_TEST(pause_stops_the_timer)
{
	struct rig rig;

	start(&rig);
	wr(&rig, IRQ_ENABLED, 1);
	set_alarm(&rig, START_TIME + 1000);
	rtc_device(rig.rtc)->ops->quiesce(rtc_device(rig.rtc));
	ck_assert(!rig.armed);
	pass(&rig, 5000);
	ck_assert(!rig.line);
	rtc_device(rig.rtc)->ops->resume(rtc_device(rig.rtc));
	ck_assert(rig.line);
	ck_assert_uint_eq(rig.alarms, 1);
	/* Resume says the level first as it was. */
	ck_assert_uint_eq(rig.line_repeats, 1);
	rig.line_repeats = 0;
	stop(&rig);
}
END_TEST

START_TEST(save_load_round_trip)
{
	struct rig a, b;
	struct xfer x, y;
	size_t len;

	start(&a);
	start(&b);
	set_time(&a, 1000000);
	wr(&a, IRQ_ENABLED, 1);
	set_alarm(&a, 0);
	set_alarm(&a, 2000000);
	wr(&a, ALARM_HIGH, 77);
	wr(&a, TIME_HIGH, 88);
	save(&a, &x);
	for (len = 0; len < x.len; len++)
		ck_assert_int_ne(load(&b, x.buf, len), 0);
	ck_assert_uint_eq(get_time(&b), START_TIME);
	ck_assert_int_eq(load(&b, x.buf, x.len), 0);
	ck_assert(!b.line && !b.armed);
	save(&b, &y);
	ck_assert_uint_eq(x.len, y.len);
	ck_assert_mem_eq(x.buf, y.buf, x.len);
	rtc_device(b.rtc)->ops->resume(rtc_device(b.rtc));
	ck_assert(b.line && b.armed);
	ck_assert_uint_eq(rd(&b, TIME_HIGH), 88);
	ck_assert_uint_eq(rd(&b, ALARM_HIGH), 77);
	ck_assert_uint_eq(get_time(&b), 1000000);
	wr(&b, CLEAR_INTERRUPT, 0);
	pass(&b, 1000000);
	ck_assert(b.line);
	/* Flags are 0 or 1. */
	for (len = x.len - 3; len < x.len; len++) {
		uint8_t good = x.buf[len];

		x.buf[len] = 2;
		ck_assert_int_ne(load(&b, x.buf, x.len), 0);
		x.buf[len] = good;
	}
	xfer_free(&x);
	xfer_free(&y);
	stop(&a);
	stop(&b);
}
END_TEST

START_TEST(alarm_missed_while_saved)
{
	struct rig a, b;
	struct xfer x;

	start(&a);
	start(&b);
	wr(&a, IRQ_ENABLED, 1);
	set_alarm(&a, START_TIME + 1000);
	save(&a, &x);
	ck_assert_int_eq(load(&b, x.buf, x.len), 0);
	b.now += 1000000;
	rtc_device(b.rtc)->ops->resume(rtc_device(b.rtc));
	ck_assert(b.line);
	ck_assert_uint_eq(b.alarms, 1);
	b.line_repeats = 0;
	xfer_free(&x);
	stop(&a);
	stop(&b);
}
END_TEST

/* A state goes into a new clock, which takes the old one's place. */
static void move_house(struct rig *rig)
{
	struct rtc *old = rig->rtc;
	struct xfer x, y;

	rtc_device(old)->ops->quiesce(rtc_device(old));
	save(rig, &x);
	rig->rtc = new_rtc(rig, &env);
	ck_assert_int_eq(load(rig, x.buf, x.len), 0);
	save(rig, &y);
	ck_assert_uint_eq(x.len, y.len);
	ck_assert_mem_eq(x.buf, y.buf, x.len);
	rtc_device(old)->ops->destroy(rtc_device(old));
	rtc_device(rig->rtc)->ops->resume(rtc_device(rig->rtc));
	ck_assert_uint_eq(rig->line_repeats, 1);
	rig->line_repeats = 0;
	xfer_free(&x);
	xfer_free(&y);
}

START_TEST(random_walk)
{
	struct prng p = prng_start("rtc");
	struct rig rig;
	uint64_t offset = 0, alarm = 0, high = 0, alarm_high = 0, t;
	bool armed = false, enabled = false, pending = false;
	unsigned int n, alarms = 0;

	start(&rig);
	for (n = 0; n < 1000000; n++) {
		unsigned int kind = prng_below(&p, 1000);
		uint32_t v = (uint32_t)prng_u64(&p);

		/* Now and then at the ends of the number line. */
		if (!prng_below(&p, 50))
			v = prng_below(&p, 2) ? UINT32_MAX - v % 4 : v % 4;
		if (kind < 250) {
			/* Up to about eight seconds, two high halves. */
			rig.now += v * UINT64_C(2);
			if (rig.armed && rig.now >= rig.deadline)
				rtc_expire(rig.rtc);
			else if (rig.armed != armed)
				ck_abort_msg("op %u: timer %d, alarm %d", n, rig.armed, armed);
		} else if (kind < 350) {
			t = rig.now + offset;
			if (rd(&rig, TIME_LOW) != (uint32_t)t)
				ck_abort_msg("op %u: time differs", n);
			high = t >> 32;
		} else if (kind < 400) {
			if (rd(&rig, TIME_HIGH) != high || rd(&rig, ALARM_HIGH) != alarm_high ||
			    rd(&rig, ALARM_LOW) != (uint32_t)alarm)
				ck_abort_msg("op %u: a register differs", n);
		} else if (kind < 450) {
			high = v;
			if (prng_below(&p, 2))
				high = (rig.now + offset + v) >> 32;
			wr(&rig, TIME_HIGH, (uint32_t)high);
		} else if (kind < 500) {
			wr(&rig, TIME_LOW, v);
			offset = (high << 32 | v) - rig.now;
		} else if (kind < 600) {
			/* Mostly near. */
			alarm_high = v;
			if (prng_below(&p, 10))
				alarm_high = ((rig.now + offset) >> 32) + v % 4;
			alarm_high = (uint32_t)alarm_high;
			wr(&rig, ALARM_HIGH, (uint32_t)alarm_high);
		} else if (kind < 750) {
			alarm = alarm_high << 32 | v;
			armed = true;
			wr(&rig, ALARM_LOW, v);
		} else if (kind < 850) {
			enabled = v & 1;
			wr(&rig, IRQ_ENABLED, v);
		} else if (kind < 880) {
			armed = false;
			wr(&rig, CLEAR_ALARM, v);
		} else if (kind < 980) {
			pending = false;
			wr(&rig, CLEAR_INTERRUPT, v);
		} else if (kind < 990) {
			uint64_t at = prng_u64(&p) % RTC_WINDOW;

			rtc_ops.write(rig.rtc, at, v, 8);
			wr(&rig, at | 1, v);
			if (rtc_ops.read(rig.rtc, at, 2) || rd(&rig, at | 1))
				ck_abort_msg("op %u: a stray read is not 0", n);
		} else if (kind < 999) {
			move_house(&rig);
		} else {
			rtc_device(rig.rtc)->ops->reset(rtc_device(rig.rtc));
			alarm = high = alarm_high = 0;
			armed = enabled = pending = false;
		}
		if (armed && rig.now + offset >= alarm) {
			armed = false;
			pending = true;
			alarms += enabled;
		}
		if (rig.line != (pending && enabled) || rtc_pending(rig.rtc) != rig.line)
			ck_abort_msg("op %u (kind %u): the line is wrong", n, kind);
		if (rd(&rig, ALARM_STATUS) != armed || rig.armed != armed)
			ck_abort_msg("op %u (kind %u): armed is wrong", n, kind);
		if (rig.alarms != alarms)
			ck_abort_msg("op %u (kind %u): %u alarms, not %u", n, kind, rig.alarms,
				     alarms);
		if (rig.line_repeats)
			ck_abort_msg("op %u (kind %u): the line told twice", n, kind);
	}
	ck_assert_uint_gt(alarms, 10000);
	stop(&rig);
}
END_TEST

static Suite *rtc_suite(void)
{
	const TTest *const cases[] = {
		shows_host_time,
		low_read_latches_high,
		guest_sets_its_time,
		alarm_goes_off,
		past_alarm_at_once,
		interrupt_waits_for_enable,
		disabled_alarm_wakes_nobody,
		alarm_cleared,
		alarm_high_alone_arms_nothing,
		alarm_moved,
		setting_time_moves_alarm,
		early_and_late_calls,
		nothing_overflows,
		other_accesses_ignored,
		reset_keeps_time,
		no_wakeup_wanted,
		pause_stops_the_timer,
		save_load_round_trip,
		alarm_missed_while_saved,
		random_walk,
	};
	Suite *suite = suite_create("rtc");
	TCase *tc = tcase_create("rtc");
	size_t i;

	tcase_set_timeout(tc, 120);
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		tcase_add_test(tc, cases[i]);
	suite_add_tcase(suite, tc);
	return suite;
}

int main(void)
{
	return unit_main(rtc_suite());
}
