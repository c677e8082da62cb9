// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz the PCI host, functions and MSI-X: the input is a sequence of accesses of any
 * width to configuration space, to the windows and to MSI-X tables, of pins and events,
 * and of saves and loads, some of them with bytes changed.
 *
 * Besides what the sanitizers see, after each step: BARs answer exactly where the
 * registers and the rule of the lowest function say, lines are the OR of their pins
 * and never repeat themselves, a vector has a route if and only if it can send.
 */
#include "lkvm/hw/pci_msix.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOW UINT64_C(0x40000000)
#define LOW_SIZE UINT64_C(0x100000)
#define HIGH UINT64_C(0x1000000000)
#define HIGH_SIZE UINT64_C(0x1000000)
#define FUNCTIONS 5
#define VECTORS 5
#define ROUTES 16
#define NARROW_SIZE 0x1000
#define WIDE_SIZE 0x4000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t size;
};

struct toy {
	struct pci_function fn;
	struct pci_msix msix;
	bool intx;
};

struct world {
	struct pci_host *host;
	struct irq_chip chip;
	bool level[PCI_PINS], resuming;
	struct msi_sink sink;
	bool used[ROUTES];
	struct {
		uint64_t address;
		uint32_t data;
	} routes[ROUTES];
	unsigned int room;
	struct toy toys[FUNCTIONS];
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

static void need(bool ok)
{
	if (!ok)
		abort();
}

static void on_line(struct irq_chip *chip, uint32_t source, bool level)
{
	struct world *w = container_of(chip, struct world, chip);

	need(source < PCI_PINS && (w->resuming || level != w->level[source]));
	w->level[source] = level;
}

static const struct irq_chip_ops chip_ops = {.set_level = on_line};

static int on_update(struct msi_sink *sink, uint32_t *handle, uint64_t address, uint32_t data)
{
	struct world *w = container_of(sink, struct world, sink);
	uint32_t h = *handle;

	/* Some addresses nobody takes. */
	if (address >> 60 == 15)
		return -EINVAL;
	need(h == MSI_NONE || w->used[h]);
	if (h == MSI_NONE)
		for (h = 0; h < w->room && w->used[h]; h++)
			;
	if (h >= ROUTES || (*handle == MSI_NONE && h >= w->room))
		return -ENOSPC;
	w->used[h] = true;
	w->routes[h].address = address;
	w->routes[h].data = data;
	*handle = h;
	return 0;
}

/* Only what has a route; and some numbers are nobody's. */
static int on_send(struct msi_sink *sink, uint64_t address, uint32_t data)
{
	struct world *w = container_of(sink, struct world, sink);
	uint32_t h;

	for (h = 0; h < ROUTES; h++)
		if (w->used[h] && w->routes[h].address == address && w->routes[h].data == data)
			return data >> 30 == 3 ? -EINVAL : 0;
	need(false);
	return 0;
}

static void on_release(struct msi_sink *sink, uint32_t handle)
{
	struct world *w = container_of(sink, struct world, sink);

	need(w->used[handle]);
	w->used[handle] = false;
}

static const struct msi_sink_ops sink_ops = {
	.update = on_update,
	.send = on_send,
	.release = on_release,
};

/* BAR 0: the MSI-X table in its lower half, pending bits in the upper one. BAR 1: 64 bits. */
static uint64_t bar_read(struct pci_function *fn, unsigned int bar, uint64_t offset,
			 unsigned int size)
{
	struct toy *toy = container_of(fn, struct toy, fn);

	need(bar < 2 && offset + size <= fn->bars[bar].size);
	if (bar)
		return offset;
	return offset < 0x800 ? pci_msix_table_read(&toy->msix, offset, size)
			      : pci_msix_pba_read(&toy->msix, offset - 0x800, size);
}

static void bar_write(struct pci_function *fn, unsigned int bar, uint64_t offset, uint64_t value,
		      unsigned int size)
{
	struct toy *toy = container_of(fn, struct toy, fn);

	need(bar < 2 && offset + size <= fn->bars[bar].size);
	if (!bar && offset < 0x800)
		pci_msix_table_write(&toy->msix, offset, value, size);
}

static void config_written(struct pci_function *fn, unsigned int reg, unsigned int size)
{
	need(size <= 4 && reg + size <= PCI_CONFIG_SIZE);
	pci_msix_config(&container_of(fn, struct toy, fn)->msix);
}

static const struct pci_function_ops toy_ops = {
	.bar_read = bar_read,
	.bar_write = bar_write,
	.config_written = config_written,
};

static void start(struct world *w, uint64_t setup)
{
	static const struct pci_id id = {.vendor = 0x1234, .device = 0x5678};
	struct pci_host_config config = {.name = "pci0",
					 .windows = {{LOW, LOW_SIZE}, {HIGH, HIGH_SIZE}}};
	unsigned int i;

	memset(w, 0, sizeof(*w));
	w->chip.ops = &chip_ops;
	w->sink.ops = &sink_ops;
	w->room = setup & 1 ? ROUTES : 3;
	for (i = 0; i < PCI_PINS; i++)
		config.lines[i] = (struct irq_line){&w->chip, i};
	w->host = pci_host_create(&config);
	need(w->host != NULL);
	for (i = 0; i < FUNCTIONS; i++) {
		struct toy *toy = &w->toys[i];

		pci_function_init(&toy->fn, &toy_ops, "toy", &id);
		pci_add_bar(&toy->fn, 0, NARROW_SIZE, false);
		pci_add_bar(&toy->fn, 1, WIDE_SIZE, true);
		need(!pci_msix_init(&toy->msix, &toy->fn, VECTORS, 0, 0, 0x800,
				    setup & 2 ? NULL : &w->sink, NULL));
		need(!pci_attach(w->host, &toy->fn));
	}
}

static void stop(struct world *w)
{
	struct device *dev = pci_host_device(w->host);
	unsigned int i;

	for (i = 0; i < FUNCTIONS; i++) {
		pci_detach(&w->toys[i].fn);
		pci_msix_fini(&w->toys[i].msix);
	}
	for (i = 0; i < ROUTES; i++)
		need(!w->used[i]);
	dev->ops->destroy(dev);
}

static struct device *host_dev(struct world *w)
{
	return pci_host_device(w->host);
}

static void save(struct world *w, struct xfer *x)
{
	uint8_t config[PCI_CONFIG_SIZE];
	unsigned int i;

	xfer_save_init(x);
	for (i = 0; i < FUNCTIONS; i++) {
		pci_function_transfer(&w->toys[i].fn, x, config);
		need(!pci_msix_transfer(&w->toys[i].msix, x));
	}
	need(!xfer_done(x, NULL));
}

static bool load(struct world *w, struct xfer *x)
{
	uint8_t config[FUNCTIONS][PCI_CONFIG_SIZE];
	struct msix_entry *entries[FUNCTIONS];
	unsigned int i;
	bool good;

	for (i = 0; i < FUNCTIONS; i++) {
		pci_function_transfer(&w->toys[i].fn, x, config[i]);
		entries[i] = pci_msix_transfer(&w->toys[i].msix, x);
	}
	good = !xfer_done(x, NULL);
	for (i = 0; i < FUNCTIONS; i++) {
		if (!good) {
			free(entries[i]);
			continue;
		}
		pci_function_load(&w->toys[i].fn, config[i], w->toys[i].intx);
		pci_msix_load(&w->toys[i].msix, entries[i]);
	}
	return good;
}

static void resume(struct world *w)
{
	unsigned int i;

	w->resuming = true;
	host_dev(w)->ops->resume(host_dev(w));
	w->resuming = false;
	for (i = 0; i < FUNCTIONS; i++)
		pci_msix_config(&w->toys[i].msix);
}

static void save_load(struct world *w, struct input *in, bool change)
{
	struct xfer x, y, again;

	save(w, &x);
	while (change && in->size && take(in, 1) & 1)
		x.buf[take(in, 2) % x.len] = (uint8_t)take(in, 1);
	xfer_load_init(&y, x.buf, x.len);
	if (load(w, &y)) {
		save(w, &again);
		need(again.len == x.len && !memcmp(again.buf, x.buf, x.len));
		xfer_free(&again);
	} else {
		need(change);
	}
	resume(w);
	xfer_free(&x);
}

static void check_map(struct world *w)
{
	gpa_t taken[2 * FUNCTIONS][2], gpa, at;
	unsigned int i, bar, t, nr = 0;

	for (i = 0; i < FUNCTIONS; i++) {
		struct pci_function *fn = &w->toys[i].fn;

		for (bar = 0; bar < 2; bar++) {
			uint64_t size = bar ? WIDE_SIZE : NARROW_SIZE;
			bool want = pci_get(fn, PCI_COMMAND, 2) & PCI_COMMAND_MEMORY;

			gpa = pci_get(fn, PCI_BAR0 + 4 * bar, 4) & ~(gpa_t)15;
			if (bar)
				gpa |= (gpa_t)pci_get(fn, PCI_BAR0 + 8, 4) << 32;
			want = want && ((gpa >= LOW && gpa <= LOW + LOW_SIZE - size) ||
					(gpa >= HIGH && gpa <= HIGH + HIGH_SIZE - size));
			for (t = 0; want && t < nr; t++)
				want = gpa >= taken[t][1] || gpa + size <= taken[t][0];
			if (want) {
				taken[nr][0] = gpa;
				taken[nr++][1] = gpa + size;
			}
			need(pci_bar_at(fn, bar, &at) == want && (!want || at == gpa));
		}
	}
}

static void check_world(struct world *w)
{
	bool lines[PCI_PINS] = {false};
	unsigned int i, v;

	check_map(w);
	for (i = 0; i < FUNCTIONS; i++) {
		struct toy *toy = &w->toys[i];
		uint16_t command = (uint16_t)pci_get(&toy->fn, PCI_COMMAND, 2);
		uint16_t control = (uint16_t)pci_get(&toy->fn, toy->msix.cap + 2, 2);

		if (toy->intx && !(command & PCI_COMMAND_INTX_DISABLE))
			lines[(i + 1) % PCI_PINS] = true;
		for (v = 0; v < toy->msix.nr; v++) {
			bool can = control >> 14 == 2 && command & PCI_COMMAND_MASTER &&
				   !toy->msix.entries[v].masked;

			/* It may have been refused one; then it waits. */
			need(can || toy->msix.handles[v] == MSI_NONE);
			need(!toy->msix.entries[v].pending || !can ||
			     toy->msix.handles[v] == MSI_NONE);
		}
		need(pci_get(&toy->fn, 0, 4) == 0x56781234);
	}
	for (i = 0; i < PCI_PINS; i++)
		need(w->level[i] == lines[i]);
}

static void ecam(struct world *w, struct input *in, unsigned int width, bool write)
{
	uint64_t at = take(in, 3) % (PCI_ECAM_WINDOW - width + 1);

	if (write)
		pci_ecam_ops.write(w->host, at, take(in, width), width);
	else
		pci_ecam_ops.read(w->host, at, width);
}

/* A register that does something, of a function that is there. */
static void config(struct world *w, struct input *in, unsigned int width)
{
	static const uint8_t regs[] = {0x04, 0x06, 0x10, 0x14, 0x18, 0x3c, 0x42, 0x40};
	uint64_t how = take(in, 1);
	uint64_t at = (how % FUNCTIONS + 1) * PCI_FUNCTIONS * 4096 + regs[how >> 5];

	width = width > 4 ? 2 : width;
	pci_ecam_ops.write(w->host, at, take(in, width), width);
}

/* A BAR somewhere near where others are. */
static void place(struct world *w, struct input *in)
{
	uint64_t how = take(in, 1), page = take(in, 1);
	uint64_t at = (how % FUNCTIONS + 1) * PCI_FUNCTIONS * 4096;
	gpa_t gpa = (how & 0x40 ? HIGH : LOW) + page * 0x1000;

	if (how & 0x20) {
		pci_ecam_ops.write(w->host, at + PCI_BAR0, (uint32_t)gpa, 4);
	} else {
		pci_ecam_ops.write(w->host, at + PCI_BAR0 + 4, (uint32_t)gpa, 4);
		pci_ecam_ops.write(w->host, at + PCI_BAR0 + 8, gpa >> 32, 4);
	}
	if (how & 0x80)
		pci_ecam_ops.write(w->host, at + PCI_COMMAND, 6, 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct world w;
	unsigned int width, window;
	uint64_t op, at;
	struct toy *toy;

	start(&w, take(&in, 1));
	while (in.size) {
		op = take(&in, 1);
		width = 1U << (op >> 4 & 3);
		toy = &w.toys[(op >> 4) % FUNCTIONS];
		switch (op & 15) {
		case 0:
		case 1:
			ecam(&w, &in, width, op & 1);
			break;
		case 2:
		case 3:
			config(&w, &in, width);
			break;
		case 4:
		case 5:
			place(&w, &in);
			break;
		case 6:
		case 7:
			window = op >> 6 & 1;
			at = take(&in, 3) % ((window ? HIGH_SIZE : LOW_SIZE) - width + 1);
			if (op & 1)
				pci_window_ops.write(pci_host_window(w.host, window), at,
						     take(&in, width), width);
			else
				pci_window_ops.read(pci_host_window(w.host, window), at, width);
			break;
		case 8:
		case 9:
			at = take(&in, 1) & 0x7f;
			bar_write(&toy->fn, 0, at, take(&in, width), width);
			break;
		case 10:
			toy->intx = take(&in, 1) & 1;
			pci_intx(&toy->fn, toy->intx);
			break;
		case 11:
		case 12:
			at = take(&in, 1) % VECTORS;
			if (at < toy->msix.nr)
				pci_msix_fire(&toy->msix, (unsigned int)at);
			break;
		case 13:
			bar_read(&toy->fn, 0, take(&in, 2) % (NARROW_SIZE - 7), width);
			break;
		case 14:
			save_load(&w, &in, op & 0x80);
			break;
		default:
			pci_function_reset(&toy->fn);
			pci_msix_reset(&toy->msix);
			break;
		}
		check_world(&w);
	}
	stop(&w);
	return 0;
}
