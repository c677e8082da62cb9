// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz the PLIC: the input is a sequence of accesses of a guest, wires that
 * change, resets, and states that are loaded: raw bytes from the input, and a
 * saved state with some bytes replaced, which gets past the lengths.
 *
 * Besides what the sanitizers see: outputs are told only on change, and at the
 * end a new PLIC that loads the saved state has the same outputs and saves the
 * same bytes, so indexes kept step by step and computed anew agree.
 */
#include "lkvm/riscv/plic.h"

#include <stdlib.h>
#include <string.h>

#define SOURCES 70
#define CONTEXTS 3

/* Operations that walk over the whole state: enough of them, and still fast. */
#define MAX_WALKS 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t size;
};

struct wires {
	bool level[CONTEXTS];
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

static void on_output(void *opaque, unsigned int context, bool level)
{
	struct wires *wires = opaque;

	if (context >= CONTEXTS || (wires->level[context] == level && !wires->repeats))
		abort();
	wires->level[context] = level;
}

static struct plic *new_plic(struct wires *wires)
{
	struct plic *plic = plic_create("plic0", SOURCES, CONTEXTS, on_output, wires, NULL);
	unsigned int s;

	if (!plic)
		abort();
	for (s = 2; s <= SOURCES; s += 5)
		plic_set_trigger(plic, s, PLIC_EDGE);
	return plic;
}

static void save(struct plic *plic, struct xfer *x)
{
	xfer_save_init(x);
	plic_device(plic)->ops->transfer(plic_device(plic), x);
	if (xfer_done(x, NULL))
		abort();
}

static bool load(struct plic *plic, const void *buf, size_t len)
{
	struct xfer x;

	xfer_load_init(&x, buf, len);
	plic_device(plic)->ops->transfer(plic_device(plic), &x);
	return !xfer_done(&x, NULL);
}

/* Where registers are, more often than chance would find them. */
static uint64_t some_offset(struct input *in)
{
	uint64_t v = take(in, 2);

	switch (v >> 14) {
	case 0:
		return (v & 0x3fff) % 0x1084;
	case 1:
		return 0x2000 + (v & 0x3fff) % 0x300;
	case 2:
		return 0x200000 + (v >> 3 & 7) * 0x1000 + (v & 7);
	default:
		return (v << 16 | take(in, 2)) % PLIC_WINDOW;
	}
}

static void load_changed(struct plic *plic, struct wires *wires, struct input *in)
{
	unsigned int n = (unsigned int)take(in, 1) % 8;
	struct xfer x;

	save(plic, &x);
	while (n--) {
		size_t at = take(in, 2) % x.len;

		x.buf[at] = (uint8_t)take(in, 1);
	}
	load(plic, x.buf, x.len);
	xfer_free(&x);
	wires->repeats = true;
	plic_drive_outputs(plic);
	wires->repeats = false;
}

static void check_twin(struct plic *plic, const struct wires *wires)
{
	struct wires other = {.repeats = true};
	struct plic *twin = new_plic(&other);
	struct xfer x, y;

	save(plic, &x);
	if (!load(twin, x.buf, x.len))
		abort();
	save(twin, &y);
	plic_drive_outputs(twin);
	if (x.len != y.len || memcmp(x.buf, y.buf, x.len) ||
	    memcmp(wires->level, other.level, sizeof(other.level)))
		abort();
	xfer_free(&x);
	xfer_free(&y);
	plic_device(twin)->ops->destroy(plic_device(twin));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct wires wires = {0};
	struct plic *plic = new_plic(&wires);
	struct irq_line line = {plic_chip(plic), 0};
	unsigned int walks = 0;
	uint64_t offset;

	while (in.size) {
		unsigned int op = (unsigned int)take(&in, 1);
		unsigned int width = 1U << (op >> 4 & 3);

		/* 32 bits in half of the cases. */
		if (op & 0x80)
			width = 4;
		if ((op & 15) >= 12 && walks++ >= MAX_WALKS)
			continue;
		switch (op & 15) {
		case 0:
		case 1:
		case 2:
		case 3:
			offset = some_offset(&in);
			plic_ops.read(plic, offset, width);
			break;
		case 4:
		case 5:
		case 6:
		case 7:
			offset = some_offset(&in);
			plic_ops.write(plic, offset, take(&in, width), width);
			break;
		case 8:
		case 9:
		case 10:
		case 11:
			line.source = (uint32_t)take(&in, op & 0x40 ? 1 : 4);
			irq_line_set(&line, op & 1);
			break;
		case 12:
			load_changed(plic, &wires, &in);
			break;
		case 13:
			if (load(plic, in.data, in.size)) {
				wires.repeats = true;
				plic_drive_outputs(plic);
				wires.repeats = false;
			}
			break;
		case 14:
			check_twin(plic, &wires);
			break;
		default:
			plic_device(plic)->ops->reset(plic_device(plic));
			break;
		}
	}
	check_twin(plic, &wires);
	plic_device(plic)->ops->destroy(plic_device(plic));
	return 0;
}
