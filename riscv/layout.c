// SPDX-License-Identifier: GPL-2.0-only
/*
 * The memory map (include/lkvm/riscv/layout.h).
 *
 * RAM comes first: regions that name an address get it, the others follow one
 * another from the base, in whatever order they were asked for, each starting where
 * a 2 MiB G-stage mapping can and behind a named region that begins there. The
 * 64-bit PCI window takes the next boundary above the highest RAM; it is made
 * smaller, down to nothing, rather than force a wider G-stage mode than RAM
 * itself needs, because nothing has to lie in it.
 *
 * First stage. Linux maps all RAM linearly, from its lowest to its highest
 * address: 128 GiB of it under Sv39 (124 in older kernels), 64 TiB under Sv48 (Linux
 * Documentation/arch/riscv/vm-layout.rst). The distance from the base to the end
 * of RAM therefore decides the narrowest mode that serves.
 *
 * Pure functions; no state, any thread. Nothing is saved: a restore reads the
 * regions from the file.
 */
#include "lkvm/riscv/layout.h"

#include <stdio.h>

#define PCI64_ALIGN GIB
#define PCI64_SIZE (64 * GIB)

static int check_place(const struct layout_region *r, struct error *err)
{
	gpa_t limit = hgatp_limit(USABLE_GPA_BITS);
	char size[32];

	format_size(size, sizeof(size), r->size);
	if (r->gpa < LAYOUT_RAM_BASE)
		return fail(err, "-m %s@0x%llx: devices live below 0x%llx, so RAM must not", size,
			    (unsigned long long)r->gpa, (unsigned long long)LAYOUT_RAM_BASE);
	if (r->gpa > limit || r->size > limit - r->gpa)
		return fail(err,
			    "-m %s: at 0x%llx it would end beyond 0x%llx, the last address that a "
			    "guest's page tables can name (56 bits, less a spare page)",
			    size, (unsigned long long)r->gpa, (unsigned long long)limit);
	return 0;
}

/* The first address from @next on that no named region holds. */
static gpa_t behind_named(const struct mem_request *mem, size_t nr, gpa_t next)
{
	size_t i = 0;

	while (i < nr) {
		if (mem[i].placed && next - mem[i].gpa < mem[i].size) {
			next = align_up(mem[i].gpa + mem[i].size, LAYOUT_ALIGN);
			i = 0;
		} else {
			i++;
		}
	}
	return next;
}

/* Named regions first, so that the others are put around places that make sense. */
static int place_all(const struct mem_request *mem, size_t nr, struct layout *out,
		     struct error *err)
{
	gpa_t next = LAYOUT_RAM_BASE;
	size_t i;

	for (i = 0; i < nr; i++) {
		out->ram[i] = (struct layout_region){.gpa = mem[i].gpa, .size = mem[i].size};
		if (mem[i].placed && check_place(&out->ram[i], err))
			return -1;
	}
	for (i = 0; i < nr; i++) {
		if (mem[i].placed)
			continue;
		out->ram[i].gpa = behind_named(mem, nr, next);
		if (check_place(&out->ram[i], err))
			return -1;
		next = align_up(out->ram[i].gpa + mem[i].size, LAYOUT_ALIGN);
	}
	return 0;
}

static int check_overlap(const struct layout *l, const struct layout_region *r, struct error *err)
{
	char one[32], other[32];
	size_t i;

	for (i = 0; i < l->nr_ram; i++) {
		const struct layout_region *o = &l->ram[i];

		if (r->gpa < o->gpa + o->size && o->gpa < r->gpa + r->size)
			return fail(err, "-m: %s at 0x%llx and %s at 0x%llx overlap",
				    format_size(one, sizeof(one), o->size),
				    (unsigned long long)o->gpa,
				    format_size(other, sizeof(other), r->size),
				    (unsigned long long)r->gpa);
	}
	return 0;
}

/* The narrowest mode's limit that holds @top, among those the host has. */
static gpa_t limit_for(gpa_t top, unsigned int max_bits)
{
	static const unsigned int widths[] = {34, 41, 50, 59};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(widths); i++)
		if (widths[i] <= max_bits && (widths[i] != 34 || max_bits == 34) &&
		    top <= hgatp_limit(widths[i]))
			return hgatp_limit(widths[i]);
	return 0;
}

static void place_pci64(struct layout *l, gpa_t ram_end, unsigned int max_bits)
{
	gpa_t limit = limit_for(ram_end, max_bits);
	gpa_t base = align_up(ram_end, PCI64_ALIGN);

	l->pci64 = (struct layout_region){.gpa = 0};
	/* Whole GiB, so that the window ends where an alignment does. */
	if (!limit || base >= align_down(limit, PCI64_ALIGN))
		return;
	l->pci64.gpa = base;
	l->pci64.size = min_u64(PCI64_SIZE, align_down(limit, PCI64_ALIGN) - base);
}

int layout_plan(const struct mem_request *mem, size_t nr, unsigned int max_bits, struct layout *out,
		struct error *err)
{
	const struct layout_region *last = NULL;
	char size[32];
	gpa_t end = 0;
	size_t i;

	*out = (struct layout){.nr_ram = 0};
	if (place_all(mem, nr, out, err))
		return -1;
	for (i = 0; i < nr; i++) {
		const struct layout_region *r = &out->ram[i];

		if (check_overlap(out, r, err))
			return -1;
		out->nr_ram++;
		if (r->gpa + r->size > end) {
			end = r->gpa + r->size;
			last = r;
		}
	}
	for (i = 0; i < out->nr_ram; i++)
		if (out->ram[i].gpa == LAYOUT_RAM_BASE && out->ram[i].size >= LAYOUT_MIN_RAM)
			break;
	if (i == out->nr_ram || !last)
		return fail(err,
			    "-m: at least %u MiB of RAM must lie at 0x%llx, where the guest starts",
			    (unsigned int)(LAYOUT_MIN_RAM / MIB),
			    (unsigned long long)LAYOUT_RAM_BASE);
	snprintf(out->what, sizeof(out->what), "RAM of %s at 0x%llx (ending at 0x%llx)",
		 format_size(size, sizeof(size), last->size), (unsigned long long)last->gpa,
		 (unsigned long long)end);
	place_pci64(out, end, max_bits);
	out->need.top = end;
	out->need.what = out->what;
	return 0;
}

const char *satp_name(unsigned int mode)
{
	switch (mode) {
	case 1:
		return "sv32";
	case 8:
		return "sv39";
	case 9:
		return "sv48";
	case 10:
		return "sv57";
	case 0:
		return "bare";
	default:
		return "unknown";
	}
}

uint64_t layout_reach(unsigned int mode)
{
	switch (mode) {
	case 1:
		return GIB; /* rv32: the linear map of a 4 GiB address space */
	case 8:
		return LAYOUT_SV39_REACH;
	case 9:
		return LAYOUT_SV48_REACH;
	default:
		return UINT64_MAX;
	}
}

int layout_satp(const struct layout *layout, enum satp_choice choice, unsigned int host_mode,
		unsigned int *mode, struct error *err)
{
	uint64_t span = layout->need.top - LAYOUT_RAM_BASE;
	char far[32], reach[32];
	unsigned int want;

	switch (choice) {
	case SATP_SV39:
		want = 8;
		break;
	case SATP_SV48:
		want = 9;
		break;
	case SATP_SV57:
		want = 10;
		break;
	default:
		want = 8;
		while (want < host_mode && span > layout_reach(want))
			want++;
		*mode = choice == SATP_HOST || want > host_mode ? host_mode : want;
		if (span <= layout_reach(*mode))
			return 0;
		fail(err,
		     "RAM ends %s above its start, and this host's guests have at most %s, in "
		     "which "
		     "Linux reaches %s: it will leave the rest unused",
		     format_size(far, sizeof(far), span), satp_name(*mode),
		     format_size(reach, sizeof(reach), layout_reach(*mode)));
		return 1;
	}
	if (want > host_mode || host_mode < 8)
		return fail(err, "--satp %s: this host's own first stage is at most %s",
			    satp_name(want), satp_name(host_mode));
	if (span > layout_reach(want))
		return fail(
			err,
			"--satp %s: in it Linux reaches %s of RAM, and -m puts the end of RAM %s "
			"above its start",
			satp_name(want), format_size(reach, sizeof(reach), layout_reach(want)),
			format_size(far, sizeof(far), span));
	*mode = want;
	return 0;
}
