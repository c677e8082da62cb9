// SPDX-License-Identifier: GPL-2.0-only
/*
 * MSI-X: the capability, table accesses of every width, masks of every kind, pending
 * bits, routes taken and given back, a sink that refuses, save and load, random
 * operations against an oracle.
 */
#include "lkvm/hw/pci_msix.h"
#include "pci_rig.h"
#include "prng.h"
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NR 70
#define TABLE 0x1000
#define PBA 0x2000
#define CONTROL 2
#define ENABLE 0x8000
#define FMASK 0x4000
#define DEVFN (1 * PCI_FUNCTIONS)

#define ADDRESS UINT64_C(0x28001000)
#define DATA 77

struct world {
	struct pci_rig rig;
	struct pci_function fn;
	struct pci_msix msix;
	bool enabled; /* as pci_msix_config() said */
};

static void on_written(struct pci_function *fn, unsigned int reg, unsigned int size)
{
	struct world *w = container_of(fn, struct world, fn);

	(void)reg;
	(void)size;
	w->enabled = pci_msix_config(&w->msix);
}

static const struct pci_function_ops ops = {.config_written = on_written};
static const struct pci_id id = {.vendor = 1, .device = 2};

static void start_with(struct world *w, bool sink)
{
	pci_rig_start(&w->rig, NULL);
	pci_function_init(&w->fn, &ops, "toy", &id);
	pci_add_bar(&w->fn, 0, 0x4000, false);
	ck_assert_int_eq(pci_msix_init(&w->msix, &w->fn, NR, 0, TABLE, PBA,
				       sink ? &w->rig.sink : NULL, NULL),
			 0);
	ck_assert_int_eq(pci_attach(w->rig.host, &w->fn), 0);
	w->enabled = false;
}

static void start(struct world *w)
{
	start_with(w, true);
}

static void stop(struct world *w)
{
	pci_detach(&w->fn);
	pci_msix_fini(&w->msix);
	pci_rig_stop(&w->rig);
}

static void set_control(struct world *w, uint16_t control)
{
	rig_config_write(&w->rig, DEVFN, w->msix.cap + CONTROL, control, 2);
}

static void set_master(struct world *w, bool on)
{
	rig_command(&w->rig, DEVFN, on ? PCI_COMMAND_MASTER : 0, on ? 0 : PCI_COMMAND_MASTER);
}

static void set_message(struct world *w, unsigned int vector, uint64_t address, uint32_t data)
{
	pci_msix_table_write(&w->msix, 16 * vector, (uint32_t)address, 4);
	pci_msix_table_write(&w->msix, 16 * vector + 4, address >> 32, 4);
	pci_msix_table_write(&w->msix, 16 * vector + 8, data, 4);
}

static void set_mask(struct world *w, unsigned int vector, bool on)
{
	pci_msix_table_write(&w->msix, 16 * vector + 12, on, 4);
}

static bool pending(struct world *w, unsigned int vector)
{
	return pci_msix_pba_read(&w->msix, vector / 32 * 4, 4) >> vector % 32 & 1;
}

/* Everything on, vector @vector with its own message. */
static void ready(struct world *w, unsigned int vector)
{
	set_master(w, true);
	set_control(w, ENABLE);
	set_message(w, vector, ADDRESS + 8 * vector, DATA + vector);
	set_mask(w, vector, false);
}

static bool was_sent(struct world *w, unsigned int vector)
{
	bool sent = w->rig.sent == 1 && w->rig.last.address == ADDRESS + 8 * vector &&
		    w->rig.last.data == DATA + vector;

	w->rig.sent = 0;
	return sent;
}

START_TEST(capability)
{
	static struct world w;
	unsigned int cap;

	start(&w);
	cap = rig_find_cap(&w.rig, DEVFN, PCI_CAP_ID_MSIX, 0);
	ck_assert_uint_ne(cap, 0);
	ck_assert_uint_eq(cap, w.msix.cap);
	ck_assert_uint_eq(rig_config_read(&w.rig, DEVFN, cap + 2, 2), NR - 1);
	ck_assert_uint_eq(rig_config_read(&w.rig, DEVFN, cap + 4, 4), TABLE);
	ck_assert_uint_eq(rig_config_read(&w.rig, DEVFN, cap + 8, 4), PBA);
	set_control(&w, 0xffff);
	ck_assert_uint_eq(rig_config_read(&w.rig, DEVFN, cap + 2, 2), ENABLE | FMASK | (NR - 1));
	ck_assert(w.enabled);
	set_control(&w, 0);
	ck_assert_uint_eq(rig_config_read(&w.rig, DEVFN, cap + 2, 2), NR - 1);
	ck_assert(!w.enabled);
	stop(&w);
}
END_TEST

START_TEST(bad_parameters)
{
	static struct pci_rig rig;
	struct msi_sink *sink = &rig.sink;
	struct pci_function fn;
	struct pci_msix msix;

	pci_function_init(&fn, &ops, "toy", &id);
	ck_assert_int_eq(pci_msix_init(&msix, &fn, 0, 0, 0, 0x800, sink, NULL), -EINVAL);
	ck_assert_int_eq(pci_msix_init(&msix, &fn, 2049, 0, 0, 0x800, sink, NULL), -EINVAL);
	ck_assert_int_eq(pci_msix_init(&msix, &fn, 1, 6, 0, 0x800, sink, NULL), -EINVAL);
	ck_assert_int_eq(pci_msix_init(&msix, &fn, 1, 0, 4, 0x800, sink, NULL), -EINVAL);
	ck_assert_int_eq(pci_msix_init(&msix, &fn, 1, 0, 0, 0x801, sink, NULL), -EINVAL);
	ck_assert_uint_ne(pci_add_capability(&fn, 9, 181), 0);
	ck_assert_int_eq(pci_msix_init(&msix, &fn, 1, 0, 0, 0x800, sink, NULL), -ENOSPC);
	pci_function_init(&fn, &ops, "toy", &id);
	ck_assert_int_eq(pci_msix_init(&msix, &fn, 2048, 0, 0, 0x8000, sink, NULL), 0);
	pci_msix_fini(&msix);
}
END_TEST

/* A13 */
START_TEST(table_shapes)
{
	static struct world w;
	unsigned int at, size, i;

	start(&w);
	for (at = 0; at < 16 * NR; at += 16) {
		ck_assert_uint_eq(pci_msix_table_read(&w.msix, at, 8), 0);
		ck_assert_uint_eq(pci_msix_table_read(&w.msix, at + 8, 8), UINT64_C(1) << 32);
	}
	/* By 4 and by 8 bytes; bits that are not there. */
	pci_msix_table_write(&w.msix, 16, 0x1122334455667788 | 3, 8);
	ck_assert_uint_eq(pci_msix_table_read(&w.msix, 16, 8), 0x1122334455667788);
	pci_msix_table_write(&w.msix, 24, UINT64_C(0xfffffffe99aabbcc), 8);
	ck_assert_uint_eq(pci_msix_table_read(&w.msix, 24, 8), 0x99aabbcc);
	pci_msix_table_write(&w.msix, 28, UINT32_MAX, 4);
	ck_assert_uint_eq(pci_msix_table_read(&w.msix, 28, 4), 1);
	ck_assert_uint_eq(pci_msix_table_read(&w.msix, 20, 4), 0x11223344);
	/* Everything else changes nothing and reads as 0. */
	for (size = 1; size <= 8; size *= 2) {
		for (at = 0; at < 0x1000; at++) {
			if ((size == 4 || size == 8) && at % size == 0 && at < 16 * NR)
				continue;
			pci_msix_table_write(&w.msix, at, UINT64_MAX, size);
			ck_assert_uint_eq(pci_msix_table_read(&w.msix, at, size), 0);
		}
	}
	pci_msix_table_write(&w.msix, UINT64_MAX - 3, 1, 4);
	ck_assert_uint_eq(pci_msix_table_read(&w.msix, UINT64_MAX - 7, 8), 0);
	for (i = 0; i < NR; i++)
		ck_assert_uint_eq(pci_msix_table_read(&w.msix, 16 * i + 8, 8),
				  i == 1 ? UINT64_C(0x199aabbcc) : UINT64_C(1) << 32);
	ck_assert_uint_eq(pci_msix_table_read(&w.msix, 0, 8), 0);
	ck_assert_uint_eq(w.rig.updates, 0);
	stop(&w);
}
END_TEST

START_TEST(firing)
{
	static struct world w;
	unsigned int i;

	start(&w);
	/* Not enabled: nothing, and nothing later. */
	set_message(&w, 3, ADDRESS, DATA);
	pci_msix_fire(&w.msix, 3);
	ck_assert(!pending(&w, 3));
	for (i = 0; i < NR; i++) {
		ready(&w, i);
		ck_assert_uint_eq(w.rig.sent, 0);
		pci_msix_fire(&w.msix, i);
		ck_assert(was_sent(&w, i));
		ck_assert(!pending(&w, i));
	}
	ck_assert_uint_eq(w.rig.live, NR);
	set_control(&w, 0);
	ck_assert_uint_eq(w.rig.live, 0);
	pci_msix_fire(&w.msix, 5);
	ck_assert_uint_eq(w.rig.sent, 0);
	stop(&w);
}
END_TEST

START_TEST(masks)
{
	static struct world w;
	unsigned int how;

	start(&w);
	for (how = 0; how < 3; how++) {
		ready(&w, 65);
		if (how == 0)
			set_mask(&w, 65, true);
		else if (how == 1)
			set_control(&w, ENABLE | FMASK);
		else
			set_master(&w, false);
		ck_assert_uint_eq(w.rig.live, 0);
		pci_msix_fire(&w.msix, 65);
		pci_msix_fire(&w.msix, 65);
		ck_assert_uint_eq(w.rig.sent, 0);
		ck_assert(pending(&w, 65));
		ck_assert_uint_eq(pci_msix_pba_read(&w.msix, 8, 8), 2);
		ck_assert_uint_eq(pci_msix_pba_read(&w.msix, 0, 8), 0);
		/* A message that was changed meanwhile. */
		set_message(&w, 65, ADDRESS + 8 * 66, DATA + 66);
		if (how == 0)
			set_mask(&w, 65, false);
		else if (how == 1)
			set_control(&w, ENABLE);
		else
			set_master(&w, true);
		ck_assert(was_sent(&w, 66));
		ck_assert(!pending(&w, 65));
	}
	/* All at once; one is enough to hold it. */
	ready(&w, 65);
	set_mask(&w, 65, true);
	set_control(&w, ENABLE | FMASK);
	set_master(&w, false);
	pci_msix_fire(&w.msix, 65);
	set_mask(&w, 65, false);
	set_control(&w, ENABLE);
	ck_assert(pending(&w, 65));
	set_master(&w, true);
	ck_assert(was_sent(&w, 65));
	/* Disabling forgets. */
	set_mask(&w, 65, true);
	pci_msix_fire(&w.msix, 65);
	set_control(&w, 0);
	ck_assert(!pending(&w, 65));
	ready(&w, 65);
	ck_assert_uint_eq(w.rig.sent, 0);
	stop(&w);
}
END_TEST

START_TEST(pending_bits)
{
	static struct world w;
	unsigned int i, size;

	start(&w);
	set_control(&w, ENABLE);
	for (i = 0; i < NR; i += 3)
		pci_msix_fire(&w.msix, i);
	for (i = 0; i < NR; i++)
		ck_assert_uint_eq(pending(&w, i), i % 3 == 0);
	ck_assert_uint_eq(pci_msix_pba_read(&w.msix, 0, 8), UINT64_C(0x9249249249249249));
	ck_assert_uint_eq(pci_msix_pba_read(&w.msix, 4, 4), 0x92492492);
	ck_assert_uint_eq(pci_msix_pba_read(&w.msix, 8, 8), 0x24);
	ck_assert_uint_eq(pci_msix_pba_read(&w.msix, 12, 4), 0);
	for (size = 1; size <= 8; size *= 2)
		for (i = 0; i < 4096; i++)
			if (size < 4 || i % size || i >= 16)
				ck_assert_uint_eq(pci_msix_pba_read(&w.msix, i, size), 0);
	stop(&w);
}
END_TEST

START_TEST(routes)
{
	static struct world w;
	unsigned int i, updates;

	start(&w);
	ready(&w, 0);
	ready(&w, 1);
	ck_assert_uint_eq(w.rig.live, 2);
	/* A change is told at once, and what is no change is not. */
	updates = w.rig.updates;
	pci_msix_table_write(&w.msix, 8, 1234, 4);
	ck_assert_uint_eq(w.rig.updates, updates + 1);
	pci_msix_table_write(&w.msix, 8, 1234, 4);
	pci_msix_table_write(&w.msix, 12, 0, 4);
	ck_assert_uint_eq(w.rig.updates, updates + 1);
	pci_msix_fire(&w.msix, 0);
	ck_assert_uint_eq(w.rig.last.data, 1234);
	ck_assert_uint_eq(w.rig.last.address, ADDRESS);
	/* A17: storms leave nothing behind. */
	for (i = 0; i < 100000; i++) {
		set_mask(&w, i % NR, i % 3);
		if (i % 1000 == 0)
			set_control(&w, i % 2000 ? ENABLE : ENABLE | FMASK);
		ck_assert(w.rig.live <= NR);
	}
	for (i = 0; i < NR; i++)
		set_mask(&w, i, true);
	ck_assert_uint_eq(w.rig.live, 0);
	pci_function_reset(&w.fn);
	pci_msix_reset(&w.msix);
	ck_assert_uint_eq(pci_msix_table_read(&w.msix, 0, 8), 0);
	ck_assert_uint_eq(pci_msix_table_read(&w.msix, 8, 8), UINT64_C(1) << 32);
	ready(&w, 2);
	pci_function_reset(&w.fn);
	pci_msix_reset(&w.msix);
	ck_assert_uint_eq(w.rig.live, 0);
	stop(&w);
}
END_TEST

START_TEST(sink_refuses)
{
	static struct world w;

	start(&w);
	w.rig.room = 1;
	ready(&w, 0);
	ready(&w, 1);
	ck_assert_uint_eq(w.rig.live, 1);
	pci_msix_fire(&w.msix, 1);
	ck_assert_uint_eq(w.rig.sent, 0);
	ck_assert(pending(&w, 1));
	pci_msix_fire(&w.msix, 0);
	ck_assert(was_sent(&w, 0));
	/* The next event or change finds the room that there is now. */
	w.rig.room = 2;
	pci_msix_fire(&w.msix, 1);
	ck_assert(was_sent(&w, 1));
	set_mask(&w, 0, true);
	w.rig.room = 1;
	set_mask(&w, 0, false);
	pci_msix_fire(&w.msix, 0);
	ck_assert(pending(&w, 0));
	set_mask(&w, 1, true);
	set_mask(&w, 0, false);
	ck_assert(was_sent(&w, 0));
	stop(&w);
}
END_TEST

/* What the sink has a route for and then does not take is gone, and has not been sent. */
START_TEST(sink_is_deaf)
{
	static struct world w;

	start(&w);
	ready(&w, 0);
	w.rig.deaf = true;
	pci_msix_fire(&w.msix, 0);
	ck_assert(!pending(&w, 0));
	ck_assert_uint_eq(w.msix.counts[0].fired, 1);
	ck_assert_uint_eq(w.msix.counts[0].sent, 0);
	w.rig.deaf = false;
	pci_msix_fire(&w.msix, 0);
	ck_assert(was_sent(&w, 0));
	ck_assert_uint_eq(w.msix.counts[0].fired, 2);
	ck_assert_uint_eq(w.msix.counts[0].sent, 1);
	stop(&w);
}
END_TEST

static void save(struct world *w, struct xfer *x)
{
	uint8_t config[PCI_CONFIG_SIZE];

	xfer_save_init(x);
	pci_function_transfer(&w->fn, x, config);
	ck_assert_ptr_null(pci_msix_transfer(&w->msix, x));
	ck_assert_int_eq(xfer_done(x, NULL), 0);
}

static bool load(struct world *w, const void *buf, size_t len)
{
	uint8_t config[PCI_CONFIG_SIZE];
	struct msix_entry *entries;
	struct xfer x;

	xfer_load_init(&x, buf, len);
	pci_function_transfer(&w->fn, &x, config);
	entries = pci_msix_transfer(&w->msix, &x);
	if (xfer_done(&x, NULL)) {
		free(entries);
		return false;
	}
	pci_function_load(&w->fn, config, false);
	pci_msix_load(&w->msix, entries);
	ck_assert_uint_eq(w->rig.live, 0);
	return true;
}

/* Nothing takes messages: no capability, no vector, nothing to save. */
START_TEST(no_sink)
{
	static struct world w;
	struct xfer x, y;
	unsigned int i;

	start_with(&w, false);
	ck_assert_uint_eq(rig_find_cap(&w.rig, DEVFN, PCI_CAP_ID_MSIX, 0), 0);
	ck_assert_uint_eq(w.msix.nr, 0);
	for (i = 0; i < PCI_CONFIG_SIZE; i += 4)
		rig_config_write(&w.rig, DEVFN, i, UINT32_MAX, 4);
	ck_assert(!w.enabled);
	pci_msix_limit(&w.msix, 3);
	ck_assert_uint_eq(w.msix.nr, 0);
	for (i = 0; i < 64; i += 8) {
		pci_msix_table_write(&w.msix, i, UINT64_MAX, 8);
		ck_assert_uint_eq(pci_msix_table_read(&w.msix, i, 8), 0);
		ck_assert_uint_eq(pci_msix_pba_read(&w.msix, i, 8), 0);
	}
	pci_msix_bind(&w.msix, 0, 0, 5);
	pci_msix_bind(&w.msix, 0, 0, -1);
	ck_assert(!pci_msix_pending(&w.msix));
	save(&w, &x);
	ck_assert(load(&w, x.buf, x.len));
	save(&w, &y);
	ck_assert_uint_eq(x.len, y.len);
	ck_assert_mem_eq(x.buf, y.buf, x.len);
	xfer_free(&x);
	xfer_free(&y);
	pci_function_reset(&w.fn);
	pci_msix_reset(&w.msix);
	ck_assert_uint_eq(w.rig.updates, 0);
	stop(&w);
}
END_TEST

START_TEST(save_load)
{
	static struct world w, other;
	struct xfer x, y;
	size_t len;

	start(&w);
	start(&other);
	ready(&w, 4);
	ready(&w, 5);
	set_mask(&w, 5, true);
	pci_msix_fire(&w.msix, 5);
	set_master(&w, false);
	pci_msix_fire(&w.msix, 4);
	save(&w, &x);
	ready(&other, 60);
	ck_assert(load(&other, x.buf, x.len));
	save(&other, &y);
	ck_assert_uint_eq(x.len, y.len);
	ck_assert_mem_eq(x.buf, y.buf, x.len);
	xfer_free(&y);
	pci_msix_config(&other.msix);
	ck_assert_uint_eq(other.rig.sent, 0);
	set_master(&other, true);
	ck_assert(was_sent(&other, 4));
	set_mask(&other, 5, false);
	ck_assert(was_sent(&other, 5));
	ck_assert_uint_eq(other.rig.live, 2);
	/* With something pending that can be sent (there was no room): after the resume. */
	set_mask(&other, 5, true);
	other.rig.room = 1;
	set_mask(&other, 5, false);
	pci_msix_fire(&other.msix, 5);
	save(&other, &y);
	ck_assert(load(&w, y.buf, y.len));
	ck_assert_uint_eq(w.rig.sent, 0);
	pci_msix_config(&w.msix);
	ck_assert(was_sent(&w, 5));
	xfer_free(&y);
	/* Garbage. */
	save(&w, &y);
	for (len = 0; len < x.len; len++)
		ck_assert(!load(&w, x.buf, len));
	x.buf[PCI_CONFIG_SIZE]++; /* vectors */
	ck_assert(!load(&w, x.buf, x.len));
	x.buf[PCI_CONFIG_SIZE]--;
	x.buf[PCI_CONFIG_SIZE + 4] |= 1; /* address */
	ck_assert(!load(&w, x.buf, x.len));
	x.buf[PCI_CONFIG_SIZE + 4] = 0;
	x.buf[PCI_CONFIG_SIZE + 4 + 12] = 2; /* masked */
	ck_assert(!load(&w, x.buf, x.len));
	xfer_free(&x);
	save(&w, &x);
	ck_assert_mem_eq(x.buf, y.buf, x.len);
	xfer_free(&x);
	xfer_free(&y);
	stop(&w);
	stop(&other);
}
END_TEST

/* --- at random ------------------------------------------------------------------------ */

struct oracle {
	uint64_t address[NR];
	uint32_t data[NR];
	bool masked[NR], pending[NR];
	bool enabled, fmask, master;
	unsigned int sent;
};

static bool can(const struct oracle *o, unsigned int v)
{
	return o->enabled && o->master && !o->fmask && !o->masked[v];
}

static void settle(struct oracle *o)
{
	unsigned int v;

	for (v = 0; v < NR; v++) {
		if (!o->enabled)
			o->pending[v] = false;
		o->sent += can(o, v) && o->pending[v];
		o->pending[v] = o->pending[v] && !can(o, v);
	}
}

static void compare(struct world *w, const struct oracle *o, unsigned int step)
{
	unsigned int v, live = 0;

	for (v = 0; v < NR; v++) {
		uint32_t handle = w->msix.handles[v];

		live += can(o, v);
		if (pending(w, v) != o->pending[v] || (handle != MSI_NONE) != can(o, v) ||
		    (handle != MSI_NONE && (w->rig.routes[handle].address != o->address[v] ||
					    w->rig.routes[handle].data != o->data[v])))
			ck_abort_msg("vector %u after step %u", v, step);
	}
	if (w->rig.live != live || w->rig.sent != o->sent)
		ck_abort_msg("%u routes and %u messages, not %u and %u after step %u", w->rig.live,
			     w->rig.sent, live, o->sent, step);
}

START_TEST(random_against_oracle)
{
	static struct world w;
	static struct oracle o;
	struct prng p = prng_start("msix: random_against_oracle");
	unsigned int step, v;
	uint64_t value;

	start(&w);
	memset(&o, 0, sizeof(o));
	memset(o.masked, true, sizeof(o.masked));
	for (step = 0; step < 100000; step++) {
		v = prng_below(&p, NR);
		value = prng_u64(&p);
		switch (prng_below(&p, 9)) {
		case 0:
			pci_msix_table_write(&w.msix, 16 * v, value, 8);
			o.address[v] = value & ~UINT64_C(3);
			break;
		case 1:
			pci_msix_table_write(&w.msix, 16 * v + 4, (uint32_t)value, 4);
			o.address[v] = (uint32_t)o.address[v] | value << 32;
			break;
		case 2:
			pci_msix_table_write(&w.msix, 16 * v + 8, value, 8);
			o.data[v] = (uint32_t)value;
			o.masked[v] = value >> 32 & 1;
			break;
		case 3:
		case 4:
			set_mask(&w, v, value & 1);
			o.masked[v] = value & 1;
			break;
		case 5:
			o.enabled = value % 8;
			o.fmask = !(value >> 8 & 7);
			set_control(&w, (o.enabled ? ENABLE : 0) | (o.fmask ? FMASK : 0));
			break;
		case 6:
			o.master = value % 8;
			set_master(&w, o.master);
			break;
		default:
			pci_msix_fire(&w.msix, v);
			o.pending[v] = true;
			break;
		}
		settle(&o);
		compare(&w, &o, step);
	}
	ck_assert_uint_gt(o.sent, 1000);
	stop(&w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pci_msix");
	TCase *t = tcase_create("pci_msix");

	tcase_add_test(t, capability);
	tcase_add_test(t, bad_parameters);
	tcase_add_test(t, table_shapes);
	tcase_add_test(t, firing);
	tcase_add_test(t, masks);
	tcase_add_test(t, pending_bits);
	tcase_add_test(t, routes);
	tcase_add_test(t, sink_refuses);
	tcase_add_test(t, sink_is_deaf);
	tcase_add_test(t, no_sink);
	tcase_add_test(t, save_load);
	tcase_add_test(t, random_against_oracle);
	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	return unit_main(s);
}
