// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz the clock: the input is a sequence of register accesses, time that goes
 * by or jumps, and states that are loaded.
 *
 * Besides what the sanitizers see: the line is told only on change, the timer is
 * armed exactly while an alarm is, and never for a time that has passed.
 */
#include "lkvm/hw/rtc.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t size;
};

struct world {
	struct irq_chip chip;
	uint64_t now, deadline;
	bool line, armed;
	bool repeats; /* allowed now */
};

static uint64_t take(struct input *in, unsigned int bytes)
{
	uint64_t v = 0;

	while (bytes-- && in->size) {
		v = v << 8 | *in->data++;
		in->size--;
	}
	return v;
}

static void on_line(struct irq_chip *chip, uint32_t source, bool level)
{
	struct world *w = container_of(chip, struct world, chip);

	if (source != 11 || (w->line == level && !w->repeats))
		abort();
	w->line = level;
}

static uint64_t on_now(void *opaque)
{
	struct world *w = opaque;

	return w->now;
}

static void on_arm(void *opaque, uint64_t deadline)
{
	struct world *w = opaque;

	if (deadline < w->now)
		abort();
	w->armed = true;
	w->deadline = deadline;
}

static void on_disarm(void *opaque)
{
	struct world *w = opaque;

	w->armed = false;
}

static const struct irq_chip_ops chip_ops = {
	.set_level = on_line,
};

static const struct rtc_env env = {
	.now = on_now,
	.arm = on_arm,
	.disarm = on_disarm,
};

static void load(struct rtc *rtc, struct world *w, const void *buf, size_t len)
{
	struct xfer x;

	rtc_device(rtc)->ops->quiesce(rtc_device(rtc));
	xfer_load_init(&x, buf, len);
	rtc_device(rtc)->ops->transfer(rtc_device(rtc), &x);
	xfer_done(&x, NULL);
	w->repeats = true;
	rtc_device(rtc)->ops->resume(rtc_device(rtc));
	w->repeats = false;
}

static void load_changed(struct rtc *rtc, struct world *w, struct input *in)
{
	unsigned int n = (unsigned int)take(in, 1) % 8;
	struct xfer x;

	xfer_save_init(&x);
	rtc_device(rtc)->ops->transfer(rtc_device(rtc), &x);
	if (xfer_done(&x, NULL))
		abort();
	while (n--) {
		size_t at = take(in, 1) % x.len;

		x.buf[at] = (uint8_t)take(in, 1);
	}
	load(rtc, w, x.buf, x.len);
	xfer_free(&x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct world w = {.chip = {&chip_ops}, .now = UINT64_C(1700000000000000000)};
	struct rtc *rtc = rtc_create("rtc0", (struct irq_line){&w.chip, 11}, &env, &w);
	uint64_t offset;

	if (!rtc)
		abort();
	while (in.size) {
		unsigned int op = (unsigned int)take(&in, 1);
		unsigned int width = op & 0x80 ? 1U << (op >> 4 & 3) : 4;

		switch (op & 7) {
		case 0:
		case 1:
			offset = take(&in, 1) & 0x3f;
			rtc_ops.read(rtc, op & 0x80 ? offset : offset & 0x1c, width);
			break;
		case 2:
		case 3:
			offset = take(&in, 1) & 0x3f;
			rtc_ops.write(rtc, op & 0x80 ? offset : offset & 0x1c, take(&in, width),
				      width);
			break;
		case 4:
			w.now += take(&in, 1 + (op >> 4 & 7));
			rtc_expire(rtc);
			break;
		case 5:
			/* The host's clock is set; a timer notices it some time later. */
			w.now = take(&in, 8);
			rtc_expire(rtc);
			break;
		case 6:
			load_changed(rtc, &w, &in);
			break;
		default:
			if (op & 0x10)
				load(rtc, &w, in.data, in.size);
			else
				rtc_device(rtc)->ops->reset(rtc_device(rtc));
			break;
		}
		if (w.armed != rtc_ops.read(rtc, 0x18, 4) || rtc_pending(rtc) != w.line)
			abort();
	}
	rtc_device(rtc)->ops->destroy(rtc_device(rtc));
	if (w.armed)
		abort();
	return 0;
}
