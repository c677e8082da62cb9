// SPDX-License-Identifier: GPL-2.0-only
/*
 * The PCI host and functions' configuration spaces: ECAM accesses of every shape, size
 * probing, BARs in every wrong place, moves, overlaps, interrupt pins, many devices,
 * reset, save and load, random operations against an oracle. The functions are toys
 * with three BARs that say what they are asked.
 */
#include "pci_rig.h"
#include "prng.h"
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TOY_VENDOR 0xabcd
#define TOY_DEVICE 0x1234
#define NARROW 0 /* 4 KiB, 32 bits */
#define WIDE 2	 /* 64 KiB, 64 bits */
#define TINY 4	 /* 16 bytes, 32 bits */
#define NARROW_SIZE 0x1000
#define WIDE_SIZE 0x10000
#define TINY_SIZE 16
#define ONES32 UINT64_C(0xffffffff)
#define MEMORY PCI_COMMAND_MEMORY

struct toy {
	struct pci_function fn;
	unsigned int reads, writes, config_reads, config_writes;
	unsigned int bar, size, reg, reg_size;
	uint64_t offset, value;
};

static uint64_t toy_read(struct pci_function *fn, unsigned int bar, uint64_t offset,
			 unsigned int size)
{
	struct toy *toy = container_of(fn, struct toy, fn);

	ck_assert_uint_lt(bar, PCI_BARS);
	ck_assert_uint_le(offset + size, fn->bars[bar].size);
	toy->reads++;
	toy->bar = bar;
	toy->size = size;
	toy->offset = offset;
	return 0x5a00000000000000 | (uint64_t)fn->devfn << 32 | bar << 16 | (offset & 0xffff);
}

static void toy_write(struct pci_function *fn, unsigned int bar, uint64_t offset, uint64_t value,
		      unsigned int size)
{
	struct toy *toy = container_of(fn, struct toy, fn);

	ck_assert_uint_le(offset + size, fn->bars[bar].size);
	toy->writes++;
	toy->bar = bar;
	toy->size = size;
	toy->offset = offset;
	toy->value = value;
}

static void toy_config_read(struct pci_function *fn, unsigned int reg, unsigned int size)
{
	struct toy *toy = container_of(fn, struct toy, fn);

	toy->config_reads++;
	toy->reg = reg;
	toy->reg_size = size;
}

static void toy_config_written(struct pci_function *fn, unsigned int reg, unsigned int size)
{
	struct toy *toy = container_of(fn, struct toy, fn);

	toy->config_writes++;
	toy->reg = reg;
	toy->reg_size = size;
}

static const struct pci_function_ops toy_ops = {
	.bar_read = toy_read,
	.bar_write = toy_write,
	.config_read = toy_config_read,
	.config_written = toy_config_written,
};

static void toy_init(struct toy *toy)
{
	static const struct pci_id id = {
		.vendor = TOY_VENDOR,
		.device = TOY_DEVICE,
		.subsystem_vendor = 0x1111,
		.subsystem = 0x2222,
		.class = 0x123456,
		.revision = 7,
	};

	memset(toy, 0, sizeof(*toy));
	pci_function_init(&toy->fn, &toy_ops, "toy", &id);
	pci_add_bar(&toy->fn, NARROW, NARROW_SIZE, false);
	pci_add_bar(&toy->fn, WIDE, WIDE_SIZE, true);
	pci_add_bar(&toy->fn, TINY, TINY_SIZE, false);
}

#define TOYS 6
#define STEPS 200000

struct world {
	struct pci_rig rig;
	struct toy toys[TOYS];
};

/* Toy i is in slot i + 1. */
static void start(struct world *w)
{
	unsigned int i;

	pci_rig_start(&w->rig, NULL);
	for (i = 0; i < TOYS; i++) {
		toy_init(&w->toys[i]);
		ck_assert_int_eq(pci_attach(w->rig.host, &w->toys[i].fn), 0);
		ck_assert_uint_eq(w->toys[i].fn.devfn, rig_devfn(i + 1, 0));
	}
}

static void stop(struct world *w)
{
	unsigned int i;

	for (i = 0; i < TOYS; i++)
		pci_detach(&w->toys[i].fn);
	pci_rig_stop(&w->rig);
}

static unsigned int slot(unsigned int i)
{
	return rig_devfn(i, 0);
}

/* --- configuration space --------------------------------------------------------- */

START_TEST(bridge_alone)
{
	struct pci_rig rig;
	unsigned int devfn;

	pci_rig_start(&rig, NULL);
	ck_assert_uint_ne(rig_config_read(&rig, 0, PCI_VENDOR_ID, 2), 0xffff);
	ck_assert_uint_eq(rig_config_read(&rig, 0, PCI_CLASS, 1), 0);
	ck_assert_uint_eq(rig_config_read(&rig, 0, PCI_CLASS + 1, 2), 0x0600);
	ck_assert_uint_eq(rig_config_read(&rig, 0, PCI_HEADER_TYPE, 1), 0);
	ck_assert_uint_eq(rig_config_read(&rig, 0, PCI_INTERRUPT_PIN, 1), 0);
	/* No BAR: nothing sticks. */
	rig_config_write(&rig, 0, PCI_BAR0, UINT32_MAX, 4);
	ck_assert_uint_eq(rig_config_read(&rig, 0, PCI_BAR0, 4), 0);
	for (devfn = 1; devfn < PCI_MAX_FUNCTIONS; devfn++) {
		rig_config_write(&rig, devfn, PCI_COMMAND, 0xffff, 2);
		ck_assert_uint_eq(rig_config_read(&rig, devfn, 0, 4), ONES32);
		ck_assert_uint_eq(rig_config_read(&rig, devfn, PCI_HEADER_TYPE, 1), 0xff);
	}
	pci_rig_stop(&rig);
}
END_TEST

START_TEST(header)
{
	static struct world w;
	unsigned int at = slot(1);

	start(&w);
	ck_assert_uint_eq(rig_config_read(&w.rig, at, 0, 4),
			  (uint64_t)TOY_DEVICE << 16 | TOY_VENDOR);
	ck_assert_uint_eq(rig_config_read(&w.rig, at, PCI_REVISION_ID, 4), 0x12345607);
	ck_assert_uint_eq(rig_config_read(&w.rig, at, PCI_SUBSYSTEM_VENDOR_ID, 4), 0x22221111);
	ck_assert_uint_eq(rig_config_read(&w.rig, at, PCI_COMMAND, 4), 0);
	ck_assert_uint_eq(rig_config_read(&w.rig, at, PCI_INTERRUPT_PIN, 1), 1);
	rig_config_write(&w.rig, at, PCI_INTERRUPT_LINE, 0xffa5, 2);
	ck_assert_uint_eq(rig_config_read(&w.rig, at, PCI_INTERRUPT_LINE, 2), 0x01a5);
	rig_config_write(&w.rig, at, PCI_COMMAND, UINT32_MAX, 4);
	ck_assert_uint_eq(rig_config_read(&w.rig, at, PCI_COMMAND, 4), 0x0406);
	stop(&w);
}
END_TEST

/* A16 */
START_TEST(ecam_shapes)
{
	static struct world w;
	unsigned int reg, size, at = slot(2);
	struct toy *toy = &w.toys[1];

	start(&w);
	for (size = 1; size <= 8; size *= 2) {
		uint64_t ones = size == 8 ? UINT64_MAX : (UINT64_C(1) << 8 * size) - 1;

		for (reg = 0; reg + size <= 4096; reg++) {
			bool good = size < 8 && reg % 4 + size <= 4 && reg < PCI_CONFIG_SIZE;
			uint64_t value;

			toy->config_reads = toy->config_writes = 0;
			value = rig_config_read(&w.rig, at, reg, size);
			ck_assert_uint_eq(toy->config_reads, good);
			if (good)
				ck_assert_uint_eq(value, pci_get(&toy->fn, reg, size));
			else
				ck_assert_uint_eq(value, ones);
			rig_config_write(&w.rig, at, reg, value, size);
			ck_assert_uint_eq(toy->config_writes, good);
			if (good) {
				ck_assert_uint_eq(toy->reg, reg);
				ck_assert_uint_eq(toy->reg_size, size);
			}
		}
	}
	/* An access from one function into the next, and beyond the bus. */
	ck_assert_uint_eq(rig_read(&w.rig, RIG_ECAM + 4096 * slot(2) - 2, 4), ONES32);
	ck_assert_uint_eq(rig_read(&w.rig, RIG_ECAM + PCI_ECAM_WINDOW - 4, 4), ONES32);
	ck_assert_uint_eq(rig_read(&w.rig, RIG_ECAM + PCI_ECAM_WINDOW, 4), 0);
	stop(&w);
}
END_TEST

START_TEST(read_only_bits)
{
	static struct world w;
	uint8_t before[PCI_CONFIG_SIZE];
	unsigned int reg, at = slot(3);
	struct toy *toy = &w.toys[2];

	start(&w);
	memcpy(before, toy->fn.config, sizeof(before));
	for (reg = 0; reg < PCI_CONFIG_SIZE; reg++)
		rig_config_write(&w.rig, at, reg, 0xff, 1);
	for (reg = 0; reg < PCI_CONFIG_SIZE; reg++)
		ck_assert_uint_eq(toy->fn.config[reg], before[reg] | toy->fn.writable[reg]);
	for (reg = 0; reg < PCI_CONFIG_SIZE; reg += 4)
		rig_config_write(&w.rig, at, reg, 0, 4);
	ck_assert_mem_eq(toy->fn.config, before, sizeof(before));
	stop(&w);
}
END_TEST

START_TEST(capabilities)
{
	static struct world w;
	struct toy toy;
	unsigned int one, two, three, at;

	start(&w);
	toy_init(&toy);
	one = pci_add_capability(&toy.fn, 9, 17);
	two = pci_add_capability(&toy.fn, 5, 2);
	three = pci_add_capability(&toy.fn, 9, 100);
	ck_assert_uint_eq(one, 0x40);
	ck_assert_uint_eq(two, 0x54);
	ck_assert_uint_eq(three, 0x58);
	/* 256 - 0xbc: exactly what is left, and no more. */
	ck_assert_uint_eq(pci_add_capability(&toy.fn, 1, 69), 0);
	ck_assert_uint_eq(pci_add_capability(&toy.fn, 1, 1000), 0);
	ck_assert_uint_eq(pci_add_capability(&toy.fn, 1, 68), 0xbc);
	ck_assert_uint_eq(pci_add_capability(&toy.fn, 1, 2), 0);
	ck_assert_int_eq(pci_attach(w.rig.host, &toy.fn), 0);
	at = toy.fn.devfn;
	ck_assert_uint_eq(rig_find_cap(&w.rig, at, 9, 0), one);
	ck_assert_uint_eq(rig_find_cap(&w.rig, at, 9, one), three);
	ck_assert_uint_eq(rig_find_cap(&w.rig, at, 9, three), 0);
	ck_assert_uint_eq(rig_find_cap(&w.rig, at, 5, 0), two);
	ck_assert_uint_eq(rig_find_cap(&w.rig, at, 1, 0), 0xbc);
	ck_assert_uint_eq(rig_find_cap(&w.rig, at, 2, 0), 0);
	/* The toys have none. */
	ck_assert_uint_eq(rig_config_read(&w.rig, slot(1), PCI_CAPABILITIES, 1), 0);
	ck_assert_uint_eq(rig_find_cap(&w.rig, slot(1), 9, 0), 0);
	pci_detach(&toy.fn);
	stop(&w);
}
END_TEST

/* --- BARs ---------------------------------------------------------------------------- */

static bool answers(struct world *w, unsigned int i, unsigned int bar, gpa_t gpa)
{
	struct toy *toy = &w->toys[i - 1];
	unsigned int before = toy->reads;
	uint64_t value = rig_read(&w->rig, gpa, 4);
	gpa_t at = 0;

	if (toy->reads == before)
		return false;
	ck_assert_uint_eq(toy->bar, bar);
	ck_assert_uint_eq(value, bar << 16 | (toy->offset & 0xffff));
	ck_assert(pci_bar_at(&toy->fn, bar, &at));
	ck_assert_uint_eq(at + toy->offset, gpa);
	return true;
}

static bool nowhere(struct world *w, unsigned int i, unsigned int bar)
{
	gpa_t at;

	return !pci_bar_at(&w->toys[i - 1].fn, bar, &at);
}

START_TEST(sizing)
{
	static struct world w;
	unsigned int at = slot(1), on;

	start(&w);
	for (on = 0; on < 2; on++) {
		rig_command(&w.rig, at, on ? MEMORY : 0, 0);
		rig_config_write(&w.rig, at, PCI_BAR0 + 4 * NARROW, UINT32_MAX, 4);
		ck_assert_uint_eq(rig_config_read(&w.rig, at, PCI_BAR0 + 4 * NARROW, 4),
				  (uint32_t)-NARROW_SIZE);
		rig_config_write(&w.rig, at, PCI_BAR0 + 4 * TINY, UINT32_MAX, 4);
		ck_assert_uint_eq(rig_config_read(&w.rig, at, PCI_BAR0 + 4 * TINY, 4),
				  (uint32_t)-TINY_SIZE);
		rig_set_bar64(&w.rig, at, WIDE, UINT64_MAX);
		ck_assert_uint_eq(rig_config_read(&w.rig, at, PCI_BAR0 + 4 * WIDE, 4),
				  (uint32_t)-WIDE_SIZE | PCI_BAR_64);
		ck_assert_uint_eq(rig_config_read(&w.rig, at, PCI_BAR0 + 4 * WIDE + 4, 4), ONES32);
		ck_assert(nowhere(&w, 1, NARROW) && nowhere(&w, 1, WIDE) && nowhere(&w, 1, TINY));
		/* Registers that are no BAR. */
		rig_config_write(&w.rig, at, PCI_BAR0 + 4, UINT32_MAX, 4);
		ck_assert_uint_eq(rig_config_read(&w.rig, at, PCI_BAR0 + 4, 4), 0);
		rig_config_write(&w.rig, at, PCI_BAR0 + 20, UINT32_MAX, 4);
		ck_assert_uint_eq(rig_config_read(&w.rig, at, PCI_BAR0 + 20, 4), 0);
		rig_config_write(&w.rig, at, 0x30, UINT32_MAX, 4);
		ck_assert_uint_eq(rig_config_read(&w.rig, at, 0x30, 4), 0);
	}
	stop(&w);
}
END_TEST

START_TEST(decoding)
{
	static struct world w;
	unsigned int at = slot(2), size;
	struct toy *toy = &w.toys[1];

	start(&w);
	rig_config_write(&w.rig, at, PCI_BAR0 + 4 * NARROW, RIG_LOW + 0x3000, 4);
	rig_set_bar64(&w.rig, at, WIDE, RIG_HIGH + 5 * GIB);
	ck_assert(!answers(&w, 2, NARROW, RIG_LOW + 0x3000));
	ck_assert_uint_eq(rig_read(&w.rig, RIG_LOW + 0x3000, 8), UINT64_MAX);
	rig_command(&w.rig, at, MEMORY, 0);
	ck_assert(answers(&w, 2, NARROW, RIG_LOW + 0x3000));
	ck_assert(answers(&w, 2, WIDE, RIG_HIGH + 5 * GIB + 0xfffc));
	ck_assert(!answers(&w, 2, NARROW, RIG_LOW + 0x2ffc));
	ck_assert(!answers(&w, 2, NARROW, RIG_LOW + 0x4000));
	/* Widths and values as they come; one over the end is nobody's. */
	for (size = 1; size <= 8; size *= 2) {
		rig_write(&w.rig, RIG_LOW + 0x3101, 0x1122334455667788, size);
		ck_assert_uint_eq(toy->offset, 0x101);
		ck_assert_uint_eq(toy->size, size);
		ck_assert_uint_eq(toy->value, size == 8 ? UINT64_C(0x1122334455667788)
							: UINT64_C(0x1122334455667788) &
								  ((UINT64_C(1) << 8 * size) - 1));
		if (size > 1) {
			toy->writes = toy->reads = 0;
			rig_write(&w.rig, RIG_LOW + 0x3fff, 0, size);
			ck_assert_uint_eq(rig_read(&w.rig, RIG_LOW + 0x3fff, size) & 0xff, 0xff);
			ck_assert_uint_eq(rig_read(&w.rig, RIG_LOW + 0x2fff, size) & 0xff, 0xff);
			ck_assert_uint_eq(toy->writes + toy->reads, 0);
		}
	}
	rig_command(&w.rig, at, 0, MEMORY);
	ck_assert(!answers(&w, 2, NARROW, RIG_LOW + 0x3000));
	ck_assert(!answers(&w, 2, WIDE, RIG_HIGH + 5 * GIB));
	/* One byte of the command register is enough. */
	rig_config_write(&w.rig, at, PCI_COMMAND, MEMORY, 1);
	ck_assert(answers(&w, 2, NARROW, RIG_LOW + 0x3000));
	stop(&w);
}
END_TEST

/* A15 */
START_TEST(wrong_places)
{
	static const uint32_t narrow[] = {
		0,	    0x0c000000, 0x10000000, 0x30000000, (uint32_t)RIG_LOW - NARROW_SIZE,
		0x80000000, 0xfffff000, 0xc0000000,
	};
	static const uint64_t wide[] = {
		0,
		UINT64_C(0x80000000),
		UINT64_C(0xffff0000),
		UINT64_C(0x100000000),
		RIG_LOW - WIDE_SIZE,
		RIG_LOW + RIG_LOW_SIZE,
		RIG_HIGH - WIDE_SIZE,
		RIG_HIGH + RIG_HIGH_SIZE,
		UINT64_MAX - WIDE_SIZE + 1,
		UINT64_C(1) << 63,
	};
	static struct world w;
	unsigned int at = slot(1), i, on;

	start(&w);
	for (on = 0; on < 2; on++) {
		for (i = 0; i < ARRAY_SIZE(narrow); i++) {
			rig_command(&w.rig, at, on ? MEMORY : 0, on ? 0 : MEMORY);
			rig_config_write(&w.rig, at, PCI_BAR0 + 4 * NARROW, narrow[i], 4);
			rig_command(&w.rig, at, MEMORY, 0);
			ck_assert_uint_eq(rig_config_read(&w.rig, at, PCI_BAR0 + 4 * NARROW, 4),
					  narrow[i]);
			ck_assert(nowhere(&w, 1, NARROW));
		}
		for (i = 0; i < ARRAY_SIZE(wide); i++) {
			rig_command(&w.rig, at, on ? MEMORY : 0, on ? 0 : MEMORY);
			rig_set_bar64(&w.rig, at, WIDE, wide[i]);
			rig_command(&w.rig, at, MEMORY, 0);
			ck_assert(nowhere(&w, 1, WIDE));
		}
	}
	/* The very last places that are good, in both windows. */
	rig_config_write(&w.rig, at, PCI_BAR0 + 4 * NARROW, RIG_LOW + RIG_LOW_SIZE - NARROW_SIZE,
			 4);
	ck_assert(answers(&w, 1, NARROW, RIG_LOW + RIG_LOW_SIZE - 4));
	rig_set_bar64(&w.rig, at, WIDE, RIG_HIGH + RIG_HIGH_SIZE - WIDE_SIZE);
	ck_assert(answers(&w, 1, WIDE, RIG_HIGH + RIG_HIGH_SIZE - 4));
	rig_set_bar64(&w.rig, at, WIDE, RIG_LOW);
	ck_assert(answers(&w, 1, WIDE, RIG_LOW));
	ck_assert(!answers(&w, 1, WIDE, RIG_HIGH + RIG_HIGH_SIZE - 4));
	stop(&w);
}
END_TEST

START_TEST(moves_while_decoding)
{
	static struct world w;
	unsigned int at = slot(1), i;
	gpa_t gpa;

	start(&w);
	rig_command(&w.rig, at, MEMORY, 0);
	for (i = 0; i < 1000; i++) {
		gpa = i % 2 ? RIG_HIGH + i * (gpa_t)WIDE_SIZE : RIG_LOW + i * (gpa_t)WIDE_SIZE;
		rig_set_bar64(&w.rig, at, WIDE, gpa);
		ck_assert(answers(&w, 1, WIDE, gpa + 0x80));
		/* By bytes. */
		rig_config_write(&w.rig, at, PCI_BAR0 + 4 * NARROW + 1, i << 4 & 0xff, 1);
		rig_config_write(&w.rig, at, PCI_BAR0 + 4 * NARROW + 2, 0, 1);
		rig_config_write(&w.rig, at, PCI_BAR0 + 4 * NARROW + 3, 0x70, 1);
		ck_assert(answers(&w, 1, NARROW, 0x70000000 | (i << 12 & 0xf000)));
	}
	/* Half of an address is one, too. */
	rig_set_bar64(&w.rig, at, WIDE, RIG_HIGH + MIB);
	rig_config_write(&w.rig, at, PCI_BAR0 + 4 * WIDE + 4, 0, 4);
	ck_assert(nowhere(&w, 1, WIDE));
	rig_config_write(&w.rig, at, PCI_BAR0 + 4 * WIDE, RIG_LOW + MIB, 4);
	ck_assert(answers(&w, 1, WIDE, RIG_LOW + MIB));
	stop(&w);
}
END_TEST

START_TEST(overlaps)
{
	static struct world w;
	unsigned int one = slot(1), two = slot(2);
	gpa_t gpa = RIG_LOW + 16 * MIB;

	start(&w);
	rig_command(&w.rig, one, MEMORY, 0);
	rig_command(&w.rig, two, MEMORY, 0);
	/* Whoever came first, the lower function has it. */
	rig_set_bar64(&w.rig, two, WIDE, gpa);
	ck_assert(answers(&w, 2, WIDE, gpa));
	rig_config_write(&w.rig, one, PCI_BAR0 + 4 * NARROW, gpa + 0x4000, 4);
	ck_assert(answers(&w, 1, NARROW, gpa + 0x4000));
	ck_assert(nowhere(&w, 2, WIDE));
	ck_assert(!answers(&w, 2, WIDE, gpa));
	/* It is back when there is room. */
	rig_config_write(&w.rig, one, PCI_BAR0 + 4 * NARROW, gpa + WIDE_SIZE, 4);
	ck_assert(answers(&w, 2, WIDE, gpa + 0x4000));
	ck_assert(answers(&w, 1, NARROW, gpa + WIDE_SIZE));
	rig_config_write(&w.rig, one, PCI_BAR0 + 4 * NARROW, gpa, 4);
	ck_assert(nowhere(&w, 2, WIDE));
	rig_command(&w.rig, one, 0, MEMORY);
	ck_assert(answers(&w, 2, WIDE, gpa));
	/* Two of one function. */
	rig_config_write(&w.rig, two, PCI_BAR0 + 4 * NARROW, gpa + 0xf000, 4);
	ck_assert(answers(&w, 2, NARROW, gpa + 0xf000));
	ck_assert(nowhere(&w, 2, WIDE));
	rig_config_write(&w.rig, two, PCI_BAR0 + 4 * TINY, gpa + 0xf010, 4);
	ck_assert(nowhere(&w, 2, TINY));
	rig_config_write(&w.rig, two, PCI_BAR0 + 4 * TINY, gpa + 0xeff0, 4);
	ck_assert(answers(&w, 2, TINY, gpa + 0xeffc));
	stop(&w);
}
END_TEST

/* --- interrupts ------------------------------------------------------------------------ */

static bool status_bit(struct world *w, unsigned int i)
{
	return rig_config_read(&w->rig, slot(i), PCI_STATUS, 2) & PCI_STATUS_INTERRUPT;
}

START_TEST(pins_and_lines)
{
	static struct world w;
	struct pci_rig *rig = &w.rig;
	unsigned int i;

	start(&w);
	for (i = 1; i <= TOYS; i++) {
		pci_intx(&w.toys[i - 1].fn, true);
		ck_assert(rig->level[i % 4]);
		ck_assert(status_bit(&w, i));
		pci_intx(&w.toys[i - 1].fn, true);
		pci_intx(&w.toys[i - 1].fn, false);
		ck_assert(!rig->level[i % 4]);
		ck_assert(!status_bit(&w, i));
	}
	/* Slots 1 and 5 share: the line is the OR. */
	pci_intx(&w.toys[0].fn, true);
	pci_intx(&w.toys[4].fn, true);
	ck_assert(rig->level[1]);
	pci_intx(&w.toys[0].fn, false);
	ck_assert(rig->level[1]);
	/* Cut from the line, the pin still shows in the status. */
	rig_command(rig, slot(5), PCI_COMMAND_INTX_DISABLE, 0);
	ck_assert(!rig->level[1]);
	ck_assert(status_bit(&w, 5));
	pci_intx(&w.toys[4].fn, false);
	ck_assert(!status_bit(&w, 5));
	pci_intx(&w.toys[4].fn, true);
	ck_assert(!rig->level[1]);
	rig_command(rig, slot(5), 0, PCI_COMMAND_INTX_DISABLE);
	ck_assert(rig->level[1]);
	/* Who goes leaves no line behind. */
	pci_detach(&w.toys[4].fn);
	ck_assert(!rig->level[1]);
	for (i = 0; i < PCI_PINS; i++)
		ck_assert_uint_eq(rig->repeats[i], 0);
	stop(&w);
}
END_TEST

/* --- many devices ------------------------------------------------------------------------ */

START_TEST(many_devices)
{
	static struct toy toys[PCI_MAX_DEVICES + 1];
	static struct pci_rig rig;
	unsigned int i, at;

	pci_rig_start(&rig, NULL);
	for (i = 0; i < PCI_MAX_DEVICES; i++) {
		unsigned int s = 1 + i % 31, f = i / 31;

		toy_init(&toys[i]);
		ck_assert_int_eq(pci_attach(rig.host, &toys[i].fn), 0);
		at = rig_devfn(s, f);
		ck_assert_uint_eq(toys[i].fn.devfn, at);
		ck_assert_uint_eq(rig_config_read(&rig, at, 0, 2), TOY_VENDOR);
		ck_assert_uint_eq(rig_config_read(&rig, at, PCI_INTERRUPT_PIN, 1), 1 + f % 4);
		ck_assert_uint_eq(rig_config_read(&rig, rig_devfn(s, 0), PCI_HEADER_TYPE, 1),
				  f ? 0x80 : 0);
		pci_intx(&toys[i].fn, true);
		ck_assert(rig.level[(s + f) % 4]);
		pci_intx(&toys[i].fn, false);
		ck_assert(!rig.level[(s + f) % 4]);
	}
	toy_init(&toys[i]);
	ck_assert_int_eq(pci_attach(rig.host, &toys[i].fn), -ENOSPC);
	pci_detach(&toys[i].fn);
	/* All BARs of all at once. */
	for (i = 0; i < PCI_MAX_DEVICES; i++) {
		at = toys[i].fn.devfn;
		rig_config_write(&rig, at, PCI_BAR0 + 4 * NARROW, RIG_LOW + i * NARROW_SIZE, 4);
		rig_config_write(&rig, at, PCI_BAR0 + 4 * TINY, RIG_LOW + 32 * MIB + i * TINY_SIZE,
				 4);
		rig_set_bar64(&rig, at, WIDE, RIG_HIGH + i * (gpa_t)WIDE_SIZE);
		rig_command(&rig, at, MEMORY, 0);
	}
	for (i = 0; i < PCI_MAX_DEVICES; i++) {
		rig_read(&rig, RIG_LOW + i * NARROW_SIZE, 4);
		rig_read(&rig, RIG_LOW + 32 * MIB + i * TINY_SIZE, 4);
		rig_read(&rig, RIG_HIGH + i * (gpa_t)WIDE_SIZE, 4);
		ck_assert_uint_eq(toys[i].reads, 3);
	}
	for (i = 0; i < PCI_MAX_DEVICES; i++)
		pci_detach(&toys[i].fn);
	ck_assert_uint_eq(rig_read(&rig, RIG_HIGH, 8), UINT64_MAX);
	pci_rig_stop(&rig);
}
END_TEST

/* --- reset, save, load ---------------------------------------------------------------------- */

static void save(struct world *w, struct xfer *x)
{
	struct device *dev = pci_host_device(w->rig.host);
	uint8_t config[PCI_CONFIG_SIZE];
	unsigned int i;

	xfer_save_init(x);
	dev->ops->transfer(dev, x);
	for (i = 0; i < TOYS; i++) {
		pci_function_transfer(&w->toys[i].fn, x, config);
		xfer_bool(x, &w->toys[i].fn.intx);
	}
	ck_assert_int_eq(xfer_done(x, NULL), 0);
}

static bool load(struct world *w, const struct xfer *saved)
{
	struct device *dev = pci_host_device(w->rig.host);
	uint8_t config[TOYS][PCI_CONFIG_SIZE];
	bool intx[TOYS] = {false};
	struct xfer x, y;
	unsigned int i;

	/* Host and functions are rows of their own in a machine. */
	xfer_load_init(&x, saved->buf, PCI_CONFIG_SIZE);
	dev->ops->transfer(dev, &x);
	xfer_load_init(&y, saved->buf + PCI_CONFIG_SIZE, saved->len - PCI_CONFIG_SIZE);
	for (i = 0; i < TOYS; i++) {
		pci_function_transfer(&w->toys[i].fn, &y, config[i]);
		xfer_bool(&y, &intx[i]);
	}
	if (xfer_done(&x, NULL) || xfer_done(&y, NULL))
		return false;
	for (i = 0; i < TOYS; i++)
		pci_function_load(&w->toys[i].fn, config[i], intx[i]);
	dev->ops->resume(dev);
	return true;
}

START_TEST(reset)
{
	static struct world w;
	struct device *dev;
	unsigned int i;

	start(&w);
	rig_set_bar64(&w.rig, slot(1), WIDE, RIG_HIGH);
	rig_command(&w.rig, slot(1), MEMORY | PCI_COMMAND_INTX_DISABLE, 0);
	rig_config_write(&w.rig, slot(1), PCI_INTERRUPT_LINE, 5, 1);
	pci_intx(&w.toys[0].fn, true);
	ck_assert(!w.rig.level[1]);
	ck_assert(answers(&w, 1, WIDE, RIG_HIGH));
	pci_function_reset(&w.toys[0].fn);
	ck_assert(!answers(&w, 1, WIDE, RIG_HIGH));
	/* The pin is the device's. */
	ck_assert(w.rig.level[1]);
	pci_intx(&w.toys[0].fn, false);
	for (i = 0; i < PCI_CONFIG_SIZE; i += 4)
		ck_assert_uint_eq(rig_config_read(&w.rig, slot(1), i, 4),
				  rig_config_read(&w.rig, slot(2), i, 4));
	dev = pci_host_device(w.rig.host);
	rig_command(&w.rig, 0, MEMORY | PCI_COMMAND_MASTER, 0);
	dev->ops->reset(dev);
	ck_assert_uint_eq(rig_config_read(&w.rig, 0, PCI_COMMAND, 2), 0);
	stop(&w);
}
END_TEST

START_TEST(save_load)
{
	static struct world w, other;
	struct xfer x, y;
	unsigned int i;

	start(&w);
	start(&other);
	for (i = 0; i < TOYS; i++) {
		rig_set_bar64(&w.rig, slot(i + 1), WIDE, RIG_HIGH + i * GIB);
		rig_command(&w.rig, slot(i + 1), MEMORY, 0);
	}
	rig_command(&w.rig, slot(3), PCI_COMMAND_INTX_DISABLE, 0);
	pci_intx(&w.toys[2].fn, true);
	pci_intx(&w.toys[0].fn, true);
	pci_intx(&w.toys[4].fn, true);
	save(&w, &x);
	other.rig.level[2] = true; /* the wires may stand anywhere */
	ck_assert(load(&other, &x));
	save(&other, &y);
	ck_assert_uint_eq(x.len, y.len);
	ck_assert_mem_eq(x.buf, y.buf, x.len);
	for (i = 0; i < TOYS; i++)
		ck_assert(answers(&other, i + 1, WIDE, RIG_HIGH + i * GIB));
	ck_assert(!other.rig.level[0] && other.rig.level[1] && !other.rig.level[2] &&
		  !other.rig.level[3]);
	pci_intx(&other.toys[0].fn, false);
	ck_assert(other.rig.level[1]);
	pci_intx(&other.toys[4].fn, false);
	ck_assert(!other.rig.level[1]);
	rig_command(&other.rig, slot(3), 0, PCI_COMMAND_INTX_DISABLE);
	ck_assert(other.rig.level[3]);
	xfer_free(&x);
	xfer_free(&y);
	stop(&w);
	stop(&other);
}
END_TEST

START_TEST(load_garbage)
{
	static struct world w;
	struct toy *toy = &w.toys[0];
	unsigned int i, bit, refused = 0;
	struct xfer x, y;
	size_t len;

	start(&w);
	save(&w, &x);
	for (i = 0; i < PCI_CONFIG_SIZE; i++) {
		for (bit = 0; bit < 8; bit++) {
			uint8_t *at = &x.buf[PCI_CONFIG_SIZE + i];

			*at ^= (uint8_t)(1U << bit);
			if (toy->fn.writable[i] >> bit & 1) {
				ck_assert(load(&w, &x));
				save(&w, &y);
				ck_assert_mem_eq(x.buf, y.buf, x.len);
				xfer_free(&y);
			} else {
				ck_assert(!load(&w, &x));
				refused++;
			}
			*at ^= (uint8_t)(1U << bit);
		}
	}
	ck_assert_uint_gt(refused, 1800);
	ck_assert(load(&w, &x));
	for (len = PCI_CONFIG_SIZE; len < x.len; len++) {
		struct xfer cut = {.buf = x.buf, .len = len};

		ck_assert(!load(&w, &cut));
	}
	save(&w, &y);
	ck_assert_mem_eq(x.buf, y.buf, x.len);
	xfer_free(&y);
	xfer_free(&x);
	stop(&w);
}
END_TEST

/* --- at random ---------------------------------------------------------------------------------
 */

/* Where BAR @bar is to be, told again from the registers alone. */
static bool wanted(struct world *w, unsigned int i, unsigned int bar, gpa_t *gpa)
{
	struct pci_function *fn = &w->toys[i].fn;
	uint64_t size = bar == NARROW ? NARROW_SIZE : bar == WIDE ? WIDE_SIZE : TINY_SIZE;
	unsigned int reg = PCI_BAR0 + 4 * bar;

	*gpa = pci_get(fn, reg, 4) & ~UINT32_C(15);
	if (bar == WIDE)
		*gpa |= (gpa_t)pci_get(fn, reg + 4, 4) << 32;
	if (!(pci_get(fn, PCI_COMMAND, 2) & MEMORY))
		return false;
	return (*gpa >= RIG_LOW && *gpa <= RIG_LOW + RIG_LOW_SIZE - size) ||
	       (*gpa >= RIG_HIGH && *gpa <= RIG_HIGH + RIG_HIGH_SIZE - size);
}

static void check_map(struct world *w)
{
	static const unsigned int bars[] = {NARROW, WIDE, TINY};
	static const uint64_t sizes[] = {NARROW_SIZE, WIDE_SIZE, TINY_SIZE};
	struct {
		gpa_t gpa;
		uint64_t size;
	} taken[TOYS * 3];
	unsigned int i, b, t, nr = 0;
	gpa_t gpa, at;

	for (i = 0; i < TOYS; i++) {
		for (b = 0; b < 3; b++) {
			bool want = wanted(w, i, bars[b], &gpa);

			for (t = 0; want && t < nr; t++)
				want = gpa >= taken[t].gpa + taken[t].size ||
				       gpa + sizes[b] <= taken[t].gpa;
			if (want) {
				taken[nr].gpa = gpa;
				taken[nr++].size = sizes[b];
			}
			if (pci_bar_at(&w->toys[i].fn, bars[b], &at) != want || (want && at != gpa))
				ck_abort_msg("toy %u bar %u at 0x%llx", i, bars[b],
					     (unsigned long long)gpa);
		}
	}
}

/* Addresses that meet each other often. */
static uint64_t some_address(struct prng *p)
{
	static const uint64_t places[] = {RIG_LOW,
					  RIG_LOW,
					  RIG_LOW + RIG_LOW_SIZE - 0x10000,
					  RIG_HIGH,
					  RIG_HIGH,
					  RIG_HIGH + RIG_HIGH_SIZE - 0x20000,
					  RIG_LOW - 0x10000,
					  UINT64_MAX - 0xffff,
					  UINT64_C(0xffff0000),
					  0};

	return places[prng_below(p, ARRAY_SIZE(places))] + 16 * prng_below(p, 0x2000);
}

static uint64_t random_step(struct world *w, struct prng *p)
{
	unsigned int devfn = prng_below(p, 10) ? slot(1 + prng_below(p, TOYS))
					       : prng_below(p, PCI_MAX_FUNCTIONS);
	unsigned int size = 1U << prng_below(p, 4), reg;
	static const unsigned int bars[] = {NARROW, WIDE, TINY, WIDE + 1};
	uint64_t address;

	switch (prng_below(p, 10)) {
	case 0:
		return rig_config_read(&w->rig, devfn, prng_below(p, 0x110), size);
	case 1:
		reg = prng_below(p, 0x110);
		rig_config_write(&w->rig, devfn, reg, prng_u64(p), size);
		return 0;
	case 2:
		rig_config_write(&w->rig, devfn, PCI_COMMAND, prng_u64(p), 2);
		return 0;
	case 3:
		pci_intx(&w->toys[prng_below(p, TOYS)].fn, prng_below(p, 2));
		return 0;
	case 4:
	case 5:
		return rig_read(&w->rig, some_address(p), size);
	case 6:
		rig_write(&w->rig, some_address(p), prng_u64(p), size);
		return 0;
	case 7:
		rig_config_write(&w->rig, devfn, PCI_BAR0 + 4 * bars[prng_below(p, 4)], prng_u64(p),
				 4);
		return 0;
	default:
		address = some_address(p);
		reg = bars[prng_below(p, 3)];
		if (reg == WIDE)
			rig_set_bar64(&w->rig, devfn, reg, address);
		else
			rig_config_write(&w->rig, devfn, PCI_BAR0 + 4 * reg, (uint32_t)address, 4);
		return 0;
	}
}

START_TEST(random_against_oracle)
{
	static struct world w;
	struct prng p = prng_start("pci: random_against_oracle");
	unsigned int i, line, n = STEPS;

	start(&w);
	while (n--) {
		unsigned int want[PCI_PINS] = {0};

		random_step(&w, &p);
		check_map(&w);
		for (i = 0; i < TOYS; i++)
			if (w.toys[i].fn.intx &&
			    !(pci_get(&w.toys[i].fn, PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE))
				want[(i + 1) % PCI_PINS]++;
		for (line = 0; line < PCI_PINS; line++)
			if (w.rig.level[line] != !!want[line])
				ck_abort_msg("line %u", line);
	}
	for (line = 0; line < PCI_PINS; line++)
		ck_assert_uint_eq(w.rig.repeats[line], 0);
	stop(&w);
}
END_TEST

/* The same steps, with and without a save and a load somewhere, have the same results. */
START_TEST(random_with_save_load)
{
	static struct world one, two, three;
	struct prng p = prng_start("pci: random_with_save_load"), q, cut;
	unsigned int n = STEPS;
	struct world *here = &two, *there = &three, *swap;
	struct xfer x;

	q = p;
	cut.state = p.state + 1;
	start(&one);
	start(&two);
	start(&three);
	while (n--) {
		uint64_t a = random_step(&one, &p), b = random_step(here, &q);

		if (a != b || memcmp(one.rig.level, here->rig.level, sizeof(one.rig.level)))
			ck_abort_msg("%u steps before the end: 0x%llx and 0x%llx", n,
				     (unsigned long long)a, (unsigned long long)b);
		if (prng_below(&cut, 20))
			continue;
		save(here, &x);
		ck_assert(load(there, &x));
		xfer_free(&x);
		swap = here;
		here = there;
		there = swap;
	}
	stop(&one);
	stop(&two);
	stop(&three);
}
END_TEST

/* --- threads
 * -------------------------------------------------------------------------------------- */

static void *mover(void *arg)
{
	struct world *w = arg;
	unsigned int i;

	for (i = 0; i < 20000; i++) {
		rig_config_write(&w->rig, slot(1), PCI_BAR0 + 4 * NARROW,
				 RIG_LOW + i % 2 * NARROW_SIZE, 4);
		rig_command(&w->rig, slot(1), i % 3 ? MEMORY : 0, i % 3 ? 0 : MEMORY);
		rig_config_write(&w->rig, slot(1), PCI_COMMAND + 1, i % 5 ? 4 : 0, 1);
	}
	return NULL;
}

START_TEST(two_harts)
{
	static struct world w;
	pthread_t thread;
	unsigned int i;

	start(&w);
	ck_assert_int_eq(pthread_create(&thread, NULL, mover, &w), 0);
	for (i = 0; i < 20000; i++) {
		rig_read(&w.rig, RIG_LOW + i % 4 * 0x800, 4);
		rig_write(&w.rig, RIG_LOW + i % 4 * 0x800, 4, 4);
		pci_intx(&w.toys[0].fn, i % 2);
		rig_config_read(&w.rig, slot(1 + i % 2), PCI_COMMAND, 4);
	}
	pthread_join(thread, NULL);
	pci_intx(&w.toys[0].fn, false);
	ck_assert(!w.rig.level[1]);
	ck_assert_uint_eq(w.rig.repeats[1], 0);
	stop(&w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pci");
	TCase *t = tcase_create("pci");

	tcase_add_test(t, bridge_alone);
	tcase_add_test(t, header);
	tcase_add_test(t, ecam_shapes);
	tcase_add_test(t, read_only_bits);
	tcase_add_test(t, capabilities);
	tcase_add_test(t, sizing);
	tcase_add_test(t, decoding);
	tcase_add_test(t, wrong_places);
	tcase_add_test(t, moves_while_decoding);
	tcase_add_test(t, overlaps);
	tcase_add_test(t, pins_and_lines);
	tcase_add_test(t, many_devices);
	tcase_add_test(t, reset);
	tcase_add_test(t, save_load);
	tcase_add_test(t, load_garbage);
	tcase_add_test(t, random_against_oracle);
	tcase_add_test(t, random_with_save_load);
	tcase_add_test(t, two_harts);
	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	return unit_main(s);
}
