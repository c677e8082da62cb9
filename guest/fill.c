// SPDX-License-Identifier: GPL-2.0-only
/*
 * fill: is all the RAM there that the device tree speaks of?
 *
 * Theory of operation: every region is filled with words that are made from their
 * own address, all of them before the first is read back, so that regions that
 * share memory are found out. What lies below the end of this program and of the
 * device tree is left alone. The command line says
 *
 *	fill.step=N	bytes from one word to the next (8: all of RAM)
 *	fill.then=wait	wait for ever when done, instead of powering off
 *
 * and a region gives the line "fill: 0xBASE N MiB: N words good", the whole
 * "fill: good" or "fill: bad".
 */
#include "guest.h"

static uint64_t word_for(uint64_t addr)
{
	return (addr ^ addr >> 29) * UINT64_C(0x9e3779b97f4a7c15);
}

static uint64_t first_of(const struct guest *guest, const struct guest_region *r)
{
	return guest->free > r->base && guest->free < r->base + r->size ? guest->free : r->base;
}

static bool check(const struct guest *guest, const struct guest_region *r, uint64_t step)
{
	uint64_t addr, end = r->base + r->size, good = 0;

	for (addr = first_of(guest, r); addr < end; addr += step) {
		uint64_t found = *(volatile uint64_t *)addr;

		if (found != word_for(addr)) {
			print("fill: %x %u MiB: at %x is %x instead of %x\n", r->base,
			      r->size / MIB, addr, found, word_for(addr));
			return false;
		}
		good++;
	}
	print("fill: %x %u MiB: %u words good\n", r->base, r->size / MIB, good);
	return true;
}

bool guest_main(const struct guest *guest)
{
	uint64_t step = option_number(guest, "fill.step", 8) & ~UINT64_C(7), addr;
	bool good = true;
	char then[8];
	size_t i;

	if (!step)
		step = 8;
	for (i = 0; i < guest->nr_ram; i++) {
		const struct guest_region *r = &guest->ram[i];

		for (addr = first_of(guest, r); addr < r->base + r->size; addr += step)
			*(volatile uint64_t *)addr = word_for(addr);
	}
	for (i = 0; i < guest->nr_ram; i++)
		good = check(guest, &guest->ram[i], step) && good;
	print("fill: %s\n", good ? "good" : "bad");
	if (option(guest, "fill.then", then, sizeof(then)) && same(then, "wait"))
		for (;;)
			__asm__ volatile("wfi");
	return good;
}
