// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz the serial port: the input is a sequence of register accesses, bytes that
 * arrive, hosts that take more or less, and states that are loaded.
 *
 * Besides what the sanitizers see: the line is told only on change, never more
 * than the buffer waits, rx_room comes only after there was none, a flush is asked
 * for once, and a port that loads the saved state saves the same bytes.
 */
#include "lkvm/hw/serial.h"

#include <stdlib.h>
#include <string.h>

/* Operations that touch kilobytes: enough of them, and still fast. */
#define MAX_WALKS 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t size;
};

struct world {
	struct irq_chip chip;
	bool line;
	bool repeats; /* allowed now */
	bool asked;
	bool full; /* the port said so, and rx_room was not called since */
	size_t credit;
	uint64_t got;
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

	if (source != 10 || (w->line == level && !w->repeats))
		abort();
	w->line = level;
}

static size_t on_write(void *opaque, const uint8_t *buf, size_t len)
{
	struct world *w = opaque;
	size_t i;

	if (!len || len > SERIAL_TX_BUFFER)
		abort();
	len = len < w->credit ? len : w->credit;
	w->credit -= len;
	for (i = 0; i < len; i++)
		w->got += buf[i];
	return len;
}

static void on_flush_soon(void *opaque)
{
	struct world *w = opaque;

	if (w->asked)
		abort();
	w->asked = true;
}

static void on_rx_room(void *opaque)
{
	struct world *w = opaque;

	if (!w->full)
		abort();
	w->full = false;
}

static const struct irq_chip_ops chip_ops = {
	.set_level = on_line,
};

static const struct serial_env env = {
	.write = on_write,
	.flush_soon = on_flush_soon,
	.rx_room = on_rx_room,
};

static struct serial *new_port(struct world *w)
{
	struct serial *port;

	w->chip.ops = &chip_ops;
	port = serial_create("serial0", (struct irq_line){&w->chip, 10}, &env, w);
	if (!port)
		abort();
	return port;
}

static size_t ask_room(struct serial *port, struct world *w)
{
	size_t room = serial_rx_room(port);

	w->full |= !room;
	return room;
}

static void save(struct serial *port, struct xfer *x)
{
	xfer_save_init(x);
	serial_device(port)->ops->transfer(serial_device(port), x);
	if (xfer_done(x, NULL))
		abort();
}

/* Whatever comes out of it, the port must be fit for use. */
static bool load(struct serial *port, struct world *w, const void *buf, size_t len)
{
	struct xfer x;
	bool ok;

	xfer_load_init(&x, buf, len);
	serial_device(port)->ops->transfer(serial_device(port), &x);
	ok = !xfer_done(&x, NULL);
	/* A new state knows nothing of what the old one asked for. */
	if (ok)
		w->asked = false;
	w->repeats = true;
	serial_device(port)->ops->resume(serial_device(port));
	w->repeats = false;
	return ok;
}

static void load_changed(struct serial *port, struct world *w, struct input *in)
{
	unsigned int n = (unsigned int)take(in, 1) % 8;
	struct xfer x;

	save(port, &x);
	while (n--) {
		size_t at = take(in, 1) % 16;

		x.buf[at] = (uint8_t)take(in, 1);
	}
	load(port, w, x.buf, x.len);
	xfer_free(&x);
}

static void check_twin(struct serial *port, struct world *w)
{
	struct world other = {.repeats = true};
	struct serial *twin = new_port(&other);
	struct xfer x, y;

	save(port, &x);
	if (!load(twin, &other, x.buf, x.len))
		abort();
	save(twin, &y);
	if (x.len != y.len || memcmp(x.buf, y.buf, x.len) || other.line != w->line ||
	    ask_room(port, w) != ask_room(twin, &other))
		abort();
	xfer_free(&x);
	xfer_free(&y);
	serial_device(twin)->ops->destroy(serial_device(twin));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct world w = {0};
	struct serial *port = new_port(&w);
	uint8_t buf[32];
	unsigned int i, n, walks = 0;
	size_t room, before;

	while (in.size) {
		unsigned int op = (unsigned int)take(&in, 1);
		unsigned int width = 1U << (op >> 7 ? take(&in, 1) & 3 : 0);
		unsigned int reg = op >> 4 & 7;

		if (((op & 15) == 8 || (op & 15) >= 12) && walks++ >= MAX_WALKS)
			continue;
		switch (op & 15) {
		case 0:
		case 1:
		case 2:
		case 3:
			serial_ops.read(port, reg, width);
			break;
		case 4:
		case 5:
		case 6:
		case 7:
			serial_ops.write(port, reg, take(&in, width), width);
			break;
		case 8:
			/* Fill the transmitter. */
			n = (unsigned int)take(&in, 1) * 32;
			for (i = 0; i < n; i++)
				serial_ops.write(port, 0, i & 0xff, 1);
			break;
		case 9:
		case 10:
			n = (unsigned int)take(&in, 1) % sizeof(buf);
			for (i = 0; i < n; i++)
				buf[i] = (uint8_t)take(&in, 1);
			room = ask_room(port, &w);
			before = serial_rx_waiting(port);
			serial_rx(port, buf, n);
			if (n <= room && serial_rx_waiting(port) != before + n)
				abort();
			if (room > SERIAL_FIFO || serial_rx_waiting(port) > 2 * SERIAL_FIFO)
				abort();
			break;
		case 11:
			w.credit = take(&in, 2);
			w.asked = false;
			serial_flush(port);
			break;
		case 12:
			load_changed(port, &w, &in);
			break;
		case 13:
			load(port, &w, in.data, in.size);
			break;
		case 14:
			check_twin(port, &w);
			break;
		default:
			serial_device(port)->ops->reset(serial_device(port));
			break;
		}
	}
	check_twin(port, &w);
	serial_device(port)->ops->destroy(serial_device(port));
	return 0;
}
