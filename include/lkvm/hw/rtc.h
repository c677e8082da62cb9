/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The real-time clock: Google's goldfish RTC as a pure model (the registers
 * that Linux's rtc-goldfish driver and U-Boot use). Time comes in through
 * struct rtc_env, in nanoseconds since 1970.
 *
 * One lock inside; every function may be called from any thread. The env
 * callbacks run with that lock held and must not call back into the clock.
 */
#ifndef LKVM_HW_RTC_H
#define LKVM_HW_RTC_H

#include "lkvm/bus.h"
#include "lkvm/device.h"
#include "lkvm/irq.h"

#define RTC_WINDOW UINT64_C(0x1000)

/**
 * struct rtc_env - the world of a clock
 * @now: wall-clock nanoseconds since 1970 of the host
 * @arm: call rtc_expire() when now() may have reached @deadline; an earlier
 *       deadline is replaced
 * @disarm: no call is wanted any more
 * @alarm: an alarm went off whose interrupt is enabled (for wake-up from suspend);
 *         may be NULL
 */
struct rtc_env {
	uint64_t (*now)(void *opaque);
	void (*arm)(void *opaque, uint64_t deadline);
	void (*disarm)(void *opaque);
	void (*alarm)(void *opaque);
};

struct rtc;

/**
 * rtc_create() - a clock that shows the host's time, or NULL where there is no memory
 * @name, @env: stay the caller's and must live as long as the clock
 *
 * A reset leaves the time as the guest set it, and clears alarm and interrupt.
 */
struct rtc *rtc_create(const char *name, struct irq_line irq, const struct rtc_env *env,
		       void *opaque);

/**
 * rtc_device() - the device inside, for the machine's table
 */
struct device *rtc_device(struct rtc *rtc);

/**
 * rtc_ops - for a struct mmio_region of RTC_WINDOW bytes whose dev is the clock
 */
extern const struct mmio_ops rtc_ops;

/**
 * rtc_expire() - the armed deadline may have come: looks at now() and decides
 */
void rtc_expire(struct rtc *rtc);

/**
 * rtc_pending() - is the interrupt line up: an alarm that nobody dealt with yet?
 */
bool rtc_pending(struct rtc *rtc);

#endif /* LKVM_HW_RTC_H */
