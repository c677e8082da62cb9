/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest physical memory map that follows from what RAM was asked for: where
 * each region of RAM lies, where the window for 64-bit PCI BARs lies above it,
 * and which address decides how wide guest addresses must be. A pure function.
 */
#ifndef LKVM_RISCV_LAYOUT_H
#define LKVM_RISCV_LAYOUT_H

#include "lkvm/config.h"
#include "lkvm/riscv/hgatp.h"
#include "lkvm/util.h"

/* Below this, devices; the first region of RAM starts here. */
#define LAYOUT_RAM_BASE UINT64_C(0x80000000)

/* 2 MiB G-stage mappings form where HVA and GPA agree modulo this, 1 GiB ones the same. */
#define LAYOUT_ALIGN (2 * MIB)
#define LAYOUT_ALIGN_GIB GIB

#define LAYOUT_MIN_RAM (16 * MIB)

/* How much RAM Linux maps on Sv39 and Sv48: the least any version did. */
#define LAYOUT_SV39_REACH (124 * GIB)
#define LAYOUT_SV48_REACH (64 * TIB)

struct layout_region {
	gpa_t gpa;
	uint64_t size;
};

/**
 * struct layout - the map
 * @ram, @nr_ram: regions in the order asked for, one of them at LAYOUT_RAM_BASE
 * @pci64: 64-bit PCI window, above all RAM
 * @need: the highest address and whose it is; @what of it points to @what
 * @what: text for that
 */
struct layout {
	struct layout_region ram[MEMORY_MAX_REGIONS];
	size_t nr_ram;
	struct layout_region pci64;
	struct hgatp_need need;
	char what[96];
};

/**
 * layout_plan() - place everything
 * @max_bits: widest guest address the host has; only the size of the PCI window
 *            bends to it, never RAM
 *
 * Return: 0, or -1 with @err set: a region below RAM's base, overlapping ones, no
 * or too little RAM at the base, an end beyond what any guest can name.
 */
int layout_plan(const struct mem_request *mem, size_t nr, unsigned int max_bits, struct layout *out,
		struct error *err);

/**
 * satp_name() - "sv39" for a mode as in satp.MODE, "bare" for 0
 */
const char *satp_name(unsigned int mode);

enum satp_choice {
	SATP_AUTO, /* the narrowest whose kernel reaches all RAM */
	SATP_HOST,
	SATP_SV39,
	SATP_SV48,
	SATP_SV57,
};

/**
 * layout_reach() - how many bytes of RAM Linux maps in a first-stage mode
 * @mode: as in satp.MODE
 */
uint64_t layout_reach(unsigned int mode);

/**
 * layout_satp() - the first-stage mode to tell the guest of
 * @host_mode: the host's widest, as in satp.MODE (8, 9, 10; 1 on rv32)
 * @mode: out: likewise
 *
 * Return: 0; 1 with @err set where the host's widest mode does not reach all RAM, so
 * that the guest will leave some unused; -1 with @err set where what was asked does
 * not, or the host has it not.
 */
int layout_satp(const struct layout *layout, enum satp_choice choice, unsigned int host_mode,
		unsigned int *mode, struct error *err);

#endif /* LKVM_RISCV_LAYOUT_H */
