/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The flattened device tree that describes the VM to its guest, built by
 * libfdt's sequential interface. A pure function of struct fdt_machine: same
 * input, same bytes.
 *
 * Devices below /soc are described by the machine through struct fdt_builder,
 * so that this file knows no device. Errors stick in the builder: callers chain
 * calls and look once, at the end.
 */
#ifndef LKVM_RISCV_FDT_H
#define LKVM_RISCV_FDT_H

#include "lkvm/memory.h"
#include "lkvm/util.h"

struct fdt_builder;

/*
 * Nodes and properties; a property belongs to the innermost open node, and must
 * come before the first node inside that one.
 */
void fdt_node_begin(struct fdt_builder *b, const char *name);
/* "name@unit" with the unit address in hex as the specification wants it */
void fdt_node_begin_at(struct fdt_builder *b, const char *name, uint64_t unit);
void fdt_node_end(struct fdt_builder *b);
void fdt_prop_empty(struct fdt_builder *b, const char *name);
void fdt_prop_u32(struct fdt_builder *b, const char *name, uint32_t value);
void fdt_prop_u64(struct fdt_builder *b, const char *name, uint64_t value);
void fdt_prop_cells(struct fdt_builder *b, const char *name, const uint32_t *cells, size_t nr);
void fdt_prop_bytes(struct fdt_builder *b, const char *name, const void *data, size_t len);
void fdt_prop_string(struct fdt_builder *b, const char *name, const char *text);
/* A list of strings; NULL ends the array */
void fdt_prop_string_list(struct fdt_builder *b, const char *name, const char *const *list);
/* The same, with the strings as arguments; a NULL at their end is allowed */
#define fdt_prop_strings(b, name, ...)                                                             \
	fdt_prop_string_list((b), (name), (const char *const[]){__VA_ARGS__, NULL})
/* reg = <base size> with two cells each */
void fdt_prop_reg(struct fdt_builder *b, gpa_t base, uint64_t size);

/* Phandles. Hart i's interrupt controller has fdt_phandle_hart(i). */
#define FDT_PHANDLE_IRQCHIP 1 /* the chip that wired interrupts go to */
#define FDT_PHANDLE_MSI 2     /* the MSI controller (IMSIC) */
static inline uint32_t fdt_phandle_hart(unsigned int hart)
{
	return 16 + hart;
}

/**
 * struct fdt_alias - one line of /aliases ("serial0" -> "/soc/serial@10000000")
 */
struct fdt_alias {
	const char *name;
	const char *path;
};

/**
 * struct fdt_machine - all that the tree says outside /soc
 * @nr_harts: hart ids 0 .. nr - 1, all alike
 * @timebase: ticks per second
 * @xlen: 32 or 64
 * @isa_legacy: "rv64imafdc_zicbom_…", for riscv,isa
 * @isa_extensions: single names, ended by NULL, for riscv,isa-extensions
 * @mmu_type: "riscv,sv48"
 * @cbom, @cboz, @cbop: cache-block sizes in bytes, 0 to leave out
 * @mem: the RAM regions
 * @bootargs: NULL for none
 * @stdout_path: alias or path with options, NULL for none
 * @initrd, @initrd_size: 0 for none
 * @rng_seed, @rng_seed_len: 0 for none
 * @kaslr_seed: 0 for none
 * @aliases, @nr_aliases
 * @describe: adds properties of /soc and the nodes below it; called once; ends
 *            what it begins
 * @opaque: passed to @describe
 */
struct fdt_machine {
	const char *model;
	unsigned int nr_harts;
	uint32_t timebase;
	unsigned int xlen;
	const char *isa_legacy;
	const char *const *isa_extensions;
	const char *mmu_type;
	uint32_t cbom, cboz, cbop;
	const struct guest_memory *mem;
	const char *bootargs;
	const char *stdout_path;
	gpa_t initrd;
	uint64_t initrd_size;
	const uint8_t *rng_seed;
	size_t rng_seed_len;
	uint64_t kaslr_seed;
	const struct fdt_alias *aliases;
	size_t nr_aliases;
	void (*describe)(struct fdt_builder *b, void *opaque);
	void *opaque;
};

/**
 * fdt_build() - make the tree
 * @size: out: bytes
 *
 * Return: the tree, to be freed with free(3); NULL with @err set (too big for
 * BOOT_FDT_MAX, or a builder error that names the node or property).
 */
void *fdt_build(const struct fdt_machine *machine, size_t *size, struct error *err);

#endif /* LKVM_RISCV_FDT_H */
