// SPDX-License-Identifier: GPL-2.0-only
/*
 * The real-time clock: the goldfish RTC, a 64-bit count of nanoseconds since
 * 1970 with one alarm. There is no formal specification; the registers are what
 * the drivers use, and where they leave something open it is settled here.
 *
 *   0x00 TIME_LOW         read: low half of now; latches the high half
 *                         write: sets the clock to TIME_HIGH:value
 *   0x04 TIME_HIGH        read: the latched high half; write: sets the latch
 *   0x08 ALARM_LOW        write: arms the alarm for ALARM_HIGH:value
 *   0x0c ALARM_HIGH       high half for the next arming
 *   0x10 IRQ_ENABLED      bit 0: the interrupt may leave
 *   0x14 CLEAR_ALARM      write: disarms
 *   0x18 ALARM_STATUS     read: 1 while armed
 *   0x1c CLEAR_INTERRUPT  write: the interrupt is dealt with
 *
 * Drivers write the high half first; the clock and the alarm change only with
 * the low half, so that no half-written value is ever acted on. Registers are
 * 32 bits wide; other widths, unaligned and other offsets read as 0 and ignore
 * writes.
 *
 * Time. The guest's clock is the host's plus an offset, modulo 2^64; setting it
 * changes the offset. Times are compared as the unsigned numbers that the guest
 * reads. The host is asked for a call after "alarm minus now", which can't
 * wrap when the alarm lies ahead; where the sum is beyond the host's numbers the
 * last one is taken. When the call comes the clock is looked at again, so early
 * calls and a host clock that was set meanwhile do no harm.
 *
 * Alarm. When its time is reached, or was in the past when armed, it disarms
 * itself and makes the interrupt pending. The line is pending AND enabled; a
 * pending interrupt waits while it is not enabled, and wakes nobody.
 *
 * Reset: the alarm, the interrupt and the latches are cleared; the time goes on
 * as the guest had set it, like that of a clock with a battery.
 *
 * Threads: one mutex around everything; registers are used by vCPU threads,
 * rtc_expire() by the loop's.
 *
 * Saved: registers and offset, not the time: after a restore the guest reads the
 * true time, as far as its clock was right. Loading touches neither line nor
 * timer: resume does, and lets an alarm go off whose time passed meanwhile.
 */
#include "lkvm/hw/rtc.h"

#include <pthread.h>
#include <stdlib.h>

#define REG_TIME_LOW 0x00
#define REG_TIME_HIGH 0x04
#define REG_ALARM_LOW 0x08
#define REG_ALARM_HIGH 0x0c
#define REG_IRQ_ENABLED 0x10
#define REG_CLEAR_ALARM 0x14
#define REG_ALARM_STATUS 0x18
#define REG_CLEAR_INTERRUPT 0x1c

/**
 * struct rtc_state - what is saved
 * @offset: guest time minus host time, modulo 2^64
 * @alarm: what the alarm was last armed for, in guest time
 * @time_high: the latch behind TIME_HIGH
 * @alarm_high: the register; equals the alarm's high half only after arming
 * @armed: ALARM_STATUS
 * @enabled: IRQ_ENABLED
 * @pending: the alarm went off and CLEAR_INTERRUPT was not written
 */
struct rtc_state {
	uint64_t offset;
	uint64_t alarm;
	uint32_t time_high;
	uint32_t alarm_high;
	bool armed;
	bool enabled;
	bool pending;
};

struct rtc {
	struct device dev;
	pthread_mutex_t lock;
	struct irq_line irq;
	const struct rtc_env *env;
	void *opaque;
	bool level; /* what the line was last set to */
	bool timer; /* the host was asked for a call */
	struct rtc_state s;
};

static uint64_t guest_now(struct rtc *rtc)
{
	return rtc->env->now(rtc->opaque) + rtc->s.offset;
}

static void update_irq(struct rtc *rtc)
{
	bool level = rtc->s.pending && rtc->s.enabled;

	if (level == rtc->level)
		return;
	rtc->level = level;
	irq_line_set(&rtc->irq, level);
}

static void stop_timer(struct rtc *rtc)
{
	if (!rtc->timer)
		return;
	rtc->timer = false;
	rtc->env->disarm(rtc->opaque);
}

/* Something changed that the alarm depends on, or time went by. */
static void update_alarm(struct rtc *rtc)
{
	struct rtc_state *s = &rtc->s;
	uint64_t host, guest, wait;

	if (!s->armed) {
		stop_timer(rtc);
		return;
	}
	host = rtc->env->now(rtc->opaque);
	guest = host + s->offset;
	if (guest < s->alarm) {
		wait = s->alarm - guest;
		rtc->timer = true;
		rtc->env->arm(rtc->opaque, wait > UINT64_MAX - host ? UINT64_MAX : host + wait);
		return;
	}
	stop_timer(rtc);
	s->armed = false;
	s->pending = true;
	update_irq(rtc);
	/* Who did not ask for the interrupt is not to be woken by it. */
	if (s->enabled && rtc->env->alarm)
		rtc->env->alarm(rtc->opaque);
}

static uint64_t rtc_read(void *dev, uint64_t offset, unsigned int size)
{
	struct rtc *rtc = dev;
	struct rtc_state *s = &rtc->s;
	uint64_t value = 0;

	if (size != 4)
		return 0;
	pthread_mutex_lock(&rtc->lock);
	switch (offset) {
	case REG_TIME_LOW:
		value = guest_now(rtc);
		s->time_high = (uint32_t)(value >> 32);
		value = (uint32_t)value;
		break;
	case REG_TIME_HIGH:
		value = s->time_high;
		break;
	case REG_ALARM_LOW:
		value = (uint32_t)s->alarm;
		break;
	case REG_ALARM_HIGH:
		value = s->alarm_high;
		break;
	case REG_IRQ_ENABLED:
		value = s->enabled;
		break;
	case REG_ALARM_STATUS:
		value = s->armed;
		break;
	default:
		break;
	}
	pthread_mutex_unlock(&rtc->lock);
	return value;
}

static void rtc_write(void *dev, uint64_t offset, uint64_t value, unsigned int size)
{
	struct rtc *rtc = dev;
	struct rtc_state *s = &rtc->s;
	uint32_t v = (uint32_t)value;

	if (size != 4)
		return;
	pthread_mutex_lock(&rtc->lock);
	switch (offset) {
	case REG_TIME_LOW:
		s->offset = ((uint64_t)s->time_high << 32 | v) - rtc->env->now(rtc->opaque);
		update_alarm(rtc);
		break;
	case REG_TIME_HIGH:
		s->time_high = v;
		break;
	case REG_ALARM_LOW:
		s->alarm = (uint64_t)s->alarm_high << 32 | v;
		s->armed = true;
		update_alarm(rtc);
		break;
	case REG_ALARM_HIGH:
		s->alarm_high = v;
		break;
	case REG_IRQ_ENABLED:
		s->enabled = v & 1;
		update_irq(rtc);
		break;
	case REG_CLEAR_ALARM:
		s->armed = false;
		update_alarm(rtc);
		break;
	case REG_CLEAR_INTERRUPT:
		s->pending = false;
		update_irq(rtc);
		break;
	default:
		break;
	}
	pthread_mutex_unlock(&rtc->lock);
}

void rtc_expire(struct rtc *rtc)
{
	pthread_mutex_lock(&rtc->lock);
	update_alarm(rtc);
	pthread_mutex_unlock(&rtc->lock);
}

bool rtc_pending(struct rtc *rtc)
{
	bool pending;

	pthread_mutex_lock(&rtc->lock);
	pending = rtc->s.pending && rtc->s.enabled;
	pthread_mutex_unlock(&rtc->lock);
	return pending;
}

static void rtc_quiesce(struct device *dev)
{
	struct rtc *rtc = container_of(dev, struct rtc, dev);

	pthread_mutex_lock(&rtc->lock);
	stop_timer(rtc);
	pthread_mutex_unlock(&rtc->lock);
}

static void rtc_resume(struct device *dev)
{
	struct rtc *rtc = container_of(dev, struct rtc, dev);

	pthread_mutex_lock(&rtc->lock);
	/* After a load the line may stand anywhere. */
	rtc->level = rtc->s.pending && rtc->s.enabled;
	irq_line_set(&rtc->irq, rtc->level);
	update_alarm(rtc);
	pthread_mutex_unlock(&rtc->lock);
}

static void rtc_transfer(struct device *dev, struct xfer *x)
{
	struct rtc *rtc = container_of(dev, struct rtc, dev);
	struct rtc_state s;

	pthread_mutex_lock(&rtc->lock);
	s = rtc->s;
	xfer_u64(x, &s.offset);
	xfer_u64(x, &s.alarm);
	xfer_u32(x, &s.time_high);
	xfer_u32(x, &s.alarm_high);
	xfer_bool(x, &s.armed);
	xfer_bool(x, &s.enabled);
	xfer_bool(x, &s.pending);
	if (xfer_commit(x))
		rtc->s = s;
	pthread_mutex_unlock(&rtc->lock);
}

static void rtc_reset(struct device *dev)
{
	struct rtc *rtc = container_of(dev, struct rtc, dev);

	pthread_mutex_lock(&rtc->lock);
	rtc->s = (struct rtc_state){.offset = rtc->s.offset};
	update_alarm(rtc);
	update_irq(rtc);
	pthread_mutex_unlock(&rtc->lock);
}

static void rtc_destroy(struct device *dev)
{
	struct rtc *rtc = container_of(dev, struct rtc, dev);

	stop_timer(rtc);
	pthread_mutex_destroy(&rtc->lock);
	free(rtc);
}

static const struct device_ops rtc_device_ops = {
	.kind = "rtc",
	.quiesce = rtc_quiesce,
	.resume = rtc_resume,
	.transfer = rtc_transfer,
	.reset = rtc_reset,
	.destroy = rtc_destroy,
};

const struct mmio_ops rtc_ops = {
	.read = rtc_read,
	.write = rtc_write,
};

struct rtc *rtc_create(const char *name, struct irq_line irq, const struct rtc_env *env,
		       void *opaque)
{
	struct rtc *rtc = calloc(1, sizeof(*rtc));

	if (!rtc)
		return NULL;
	if (pthread_mutex_init(&rtc->lock, NULL)) {
		free(rtc);
		return NULL;
	}
	rtc->dev.ops = &rtc_device_ops;
	rtc->dev.name = name;
	rtc->irq = irq;
	rtc->env = env;
	rtc->opaque = opaque;
	return rtc;
}

struct device *rtc_device(struct rtc *rtc)
{
	return &rtc->dev;
}
