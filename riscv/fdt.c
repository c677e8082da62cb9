// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device tree (Devicetree Specification 0.4; Linux bindings riscv/cpus,
 * riscv/extensions, interrupt-controller/riscv,cpu-intc, chosen).
 *
 * libfdt's sequential interface writes front to back into one buffer. The
 * buffer starts small and doubles whenever libfdt says that there is no space,
 * up to BOOT_FDT_MAX, the most that Linux maps. The first error sticks, with the
 * name of the node or property it happened at; every later call does nothing.
 *
 * Both ISA descriptions are written: older kernels parse the one string of
 * riscv,isa, newer ones prefer the list of riscv,isa-extensions, whose names
 * have a meaning each.
 *
 * The builder lives on the stack of one fdt_build(); no lock. Nothing is saved:
 * the tree is in guest memory.
 */
#include "lkvm/riscv/fdt.h"

#include "lkvm/riscv/boot.h"

#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE (4 * KIB)

/* The specification's limit is 31 characters before the unit address. */
#define NAME_MAX_LEN 64

/**
 * struct fdt_builder - a tree under way
 * @buf, @size: calloc(3)ed, so that padding is zero in every build
 * @error: libfdt's code, negative; 0: none yet
 * @where: what was being written then
 * @depth: open nodes; @floor: how many of them describe() may not end
 * @child_ended: the innermost open node has a child: too late for properties
 */
struct fdt_builder {
	void *buf;
	size_t size;
	int error;
	char where[NAME_MAX_LEN];
	unsigned int depth;
	unsigned int floor;
	bool child_ended;
};

static void set_error(struct fdt_builder *b, int error, const char *where)
{
	if (b->error || !error)
		return;
	b->error = error;
	snprintf(b->where, sizeof(b->where), "%s", where ? where : "(no name)");
}

/* After a call returned @ret: true where it is to be repeated in a larger buffer. */
static bool again(struct fdt_builder *b, int ret, const char *where)
{
	size_t size = b->size * 2;
	void *buf;

	if (ret != -FDT_ERR_NOSPACE || size > BOOT_FDT_MAX) {
		set_error(b, ret, where);
		return false;
	}
	buf = calloc(1, size);
	if (!buf) {
		set_error(b, -FDT_ERR_INTERNAL, where);
		return false;
	}
	ret = fdt_resize(b->buf, buf, (int)size);
	if (ret) {
		free(buf);
		set_error(b, ret, where);
		return false;
	}
	free(b->buf);
	b->buf = buf;
	b->size = size;
	return true;
}

void fdt_node_begin(struct fdt_builder *b, const char *name)
{
	int ret;

	if (!name)
		set_error(b, -FDT_ERR_BADVALUE, name);
	if (b->error)
		return;
	do
		ret = fdt_begin_node(b->buf, name);
	while (again(b, ret, name));
	if (!b->error)
		b->depth++;
	b->child_ended = false;
}

void fdt_node_begin_at(struct fdt_builder *b, const char *name, uint64_t unit)
{
	char full[NAME_MAX_LEN];
	int n;

	n = snprintf(full, sizeof(full), "%s@%llx", name ? name : "", (unsigned long long)unit);
	if (!name || n < 0 || (size_t)n >= sizeof(full))
		set_error(b, -FDT_ERR_BADVALUE, name);
	fdt_node_begin(b, full);
}

void fdt_node_end(struct fdt_builder *b)
{
	int ret;

	/* libfdt would let one part of the machine end another one's node. */
	if (b->depth <= b->floor)
		set_error(b, -FDT_ERR_BADSTATE, "the end of a node that was not begun");
	if (b->error)
		return;
	do
		ret = fdt_end_node(b->buf);
	while (again(b, ret, "the end of a node"));
	if (!b->error)
		b->depth--;
	b->child_ended = true;
}

/* Room for @len bytes of a property, or NULL; to be filled at once. */
static void *prop_space(struct fdt_builder *b, const char *name, size_t len)
{
	void *data = NULL;
	int ret;

	/* libfdt would write it, and every reader would miss it. */
	if (b->child_ended)
		set_error(b, -FDT_ERR_BADSTATE, name);
	if (!name || len > BOOT_FDT_MAX)
		set_error(b, name ? -FDT_ERR_NOSPACE : -FDT_ERR_BADVALUE, name);
	if (b->error)
		return NULL;
	do
		ret = fdt_property_placeholder(b->buf, name, (int)len, &data);
	while (again(b, ret, name));
	return b->error ? NULL : data;
}

void fdt_prop_empty(struct fdt_builder *b, const char *name)
{
	prop_space(b, name, 0);
}

static void put_cell(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t)(value >> 24);
	p[1] = (uint8_t)(value >> 16);
	p[2] = (uint8_t)(value >> 8);
	p[3] = (uint8_t)value;
}

void fdt_prop_cells(struct fdt_builder *b, const char *name, const uint32_t *cells, size_t nr)
{
	uint8_t *p;
	size_t i;

	if (nr > BOOT_FDT_MAX / 4) {
		set_error(b, -FDT_ERR_NOSPACE, name);
		return;
	}
	p = prop_space(b, name, nr * 4);
	for (i = 0; p && i < nr; i++)
		put_cell(p + i * 4, cells[i]);
}

void fdt_prop_u32(struct fdt_builder *b, const char *name, uint32_t value)
{
	fdt_prop_cells(b, name, &value, 1);
}

void fdt_prop_u64(struct fdt_builder *b, const char *name, uint64_t value)
{
	const uint32_t cells[] = {(uint32_t)(value >> 32), (uint32_t)value};

	fdt_prop_cells(b, name, cells, ARRAY_SIZE(cells));
}

void fdt_prop_bytes(struct fdt_builder *b, const char *name, const void *data, size_t len)
{
	void *p = prop_space(b, name, len);

	if (p && len)
		memcpy(p, data, len);
}

void fdt_prop_string(struct fdt_builder *b, const char *name, const char *text)
{
	if (text)
		fdt_prop_bytes(b, name, text, strlen(text) + 1);
	else
		set_error(b, -FDT_ERR_BADVALUE, name);
}

void fdt_prop_string_list(struct fdt_builder *b, const char *name, const char *const *list)
{
	size_t len = 0;
	size_t i;
	char *p;

	for (i = 0; list[i]; i++)
		len += strlen(list[i]) + 1;
	p = prop_space(b, name, len);
	for (i = 0; p && list[i]; i++) {
		memcpy(p, list[i], strlen(list[i]) + 1);
		p += strlen(list[i]) + 1;
	}
}

void fdt_prop_reg(struct fdt_builder *b, gpa_t base, uint64_t size)
{
	const uint32_t cells[] = {(uint32_t)(base >> 32), (uint32_t)base, (uint32_t)(size >> 32),
				  (uint32_t)size};

	fdt_prop_cells(b, "reg", cells, ARRAY_SIZE(cells));
}

static void build_chosen(struct fdt_builder *b, const struct fdt_machine *m)
{
	fdt_node_begin(b, "chosen");
	if (m->bootargs)
		fdt_prop_string(b, "bootargs", m->bootargs);
	if (m->stdout_path)
		fdt_prop_string(b, "stdout-path", m->stdout_path);
	if (m->initrd_size) {
		fdt_prop_u64(b, "linux,initrd-start", m->initrd);
		fdt_prop_u64(b, "linux,initrd-end", m->initrd + m->initrd_size);
	}
	if (m->rng_seed_len)
		fdt_prop_bytes(b, "rng-seed", m->rng_seed, m->rng_seed_len);
	if (m->kaslr_seed)
		fdt_prop_u64(b, "kaslr-seed", m->kaslr_seed);
	fdt_node_end(b);
}

static void build_aliases(struct fdt_builder *b, const struct fdt_machine *m)
{
	size_t i;

	if (!m->nr_aliases)
		return;
	fdt_node_begin(b, "aliases");
	for (i = 0; i < m->nr_aliases; i++)
		fdt_prop_string(b, m->aliases[i].name, m->aliases[i].path);
	fdt_node_end(b);
}

static void build_memory(struct fdt_builder *b, const struct fdt_machine *m)
{
	size_t i;

	for (i = 0; i < m->mem->nr; i++) {
		if (m->mem->regions[i].file)
			continue;
		fdt_node_begin_at(b, "memory", m->mem->regions[i].gpa);
		fdt_prop_string(b, "device_type", "memory");
		fdt_prop_reg(b, m->mem->regions[i].gpa, m->mem->regions[i].size);
		fdt_node_end(b);
	}
}

static void build_cpu(struct fdt_builder *b, const struct fdt_machine *m, unsigned int hart)
{
	fdt_node_begin_at(b, "cpu", hart);
	fdt_prop_string(b, "device_type", "cpu");
	fdt_prop_string(b, "compatible", "riscv");
	fdt_prop_u32(b, "reg", hart);
	fdt_prop_string(b, "status", "okay");
	fdt_prop_string(b, "riscv,isa", m->isa_legacy);
	fdt_prop_string(b, "riscv,isa-base", m->xlen == 32 ? "rv32i" : "rv64i");
	fdt_prop_string_list(b, "riscv,isa-extensions", m->isa_extensions);
	if (m->mmu_type)
		fdt_prop_string(b, "mmu-type", m->mmu_type);
	if (m->cbom)
		fdt_prop_u32(b, "riscv,cbom-block-size", m->cbom);
	if (m->cboz)
		fdt_prop_u32(b, "riscv,cboz-block-size", m->cboz);
	if (m->cbop)
		fdt_prop_u32(b, "riscv,cbop-block-size", m->cbop);

	fdt_node_begin(b, "interrupt-controller");
	fdt_prop_string(b, "compatible", "riscv,cpu-intc");
	fdt_prop_u32(b, "#interrupt-cells", 1);
	fdt_prop_u32(b, "#address-cells", 0);
	fdt_prop_empty(b, "interrupt-controller");
	fdt_prop_u32(b, "phandle", fdt_phandle_hart(hart));
	fdt_node_end(b);

	fdt_node_end(b);
}

static void build_cpus(struct fdt_builder *b, const struct fdt_machine *m)
{
	unsigned int i;

	fdt_node_begin(b, "cpus");
	fdt_prop_u32(b, "#address-cells", 1);
	fdt_prop_u32(b, "#size-cells", 0);
	fdt_prop_u32(b, "timebase-frequency", m->timebase);
	for (i = 0; i < m->nr_harts && !b->error; i++)
		build_cpu(b, m, i);
	fdt_node_end(b);
}

static void build_soc(struct fdt_builder *b, const struct fdt_machine *m)
{
	fdt_node_begin(b, "soc");
	fdt_prop_u32(b, "#address-cells", 2);
	fdt_prop_u32(b, "#size-cells", 2);
	fdt_prop_string(b, "compatible", "simple-bus");
	fdt_prop_empty(b, "ranges");
	if (m->describe) {
		b->floor = b->depth;
		m->describe(b, m->opaque);
		if (b->depth != b->floor)
			set_error(b, -FDT_ERR_BADSTATE, "a node below /soc that was not ended");
		b->floor = 0;
	}
	fdt_node_end(b);
}

static void build_root(struct fdt_builder *b, const struct fdt_machine *m)
{
	fdt_node_begin(b, "");
	fdt_prop_u32(b, "#address-cells", 2);
	fdt_prop_u32(b, "#size-cells", 2);
	/* The second name is the one that bindings have for a machine of virtio devices. */
	fdt_prop_strings(b, "compatible", "lkvm,riscv-virt", "linux,dummy-virt");
	fdt_prop_string(b, "model", m->model);
	build_chosen(b, m);
	build_aliases(b, m);
	build_memory(b, m);
	build_cpus(b, m);
	build_soc(b, m);
	fdt_node_end(b);
}

static int check_machine(const struct fdt_machine *m, struct error *err)
{
	if (!m->nr_harts)
		return fail(err, "a device tree needs at least one hart");
	if (m->xlen != 32 && m->xlen != 64)
		return fail(err, "a device tree cannot describe harts with XLEN %u", m->xlen);
	if (!m->timebase)
		return fail(err, "a device tree needs the frequency of the guest's time counter");
	if (!m->model || !m->isa_legacy || !m->isa_extensions || !m->mem)
		return fail(err, "a device tree needs a model, the ISA and the RAM");
	if (m->initrd + m->initrd_size < m->initrd)
		return fail(err, "an initrd of 0x%llx bytes at 0x%llx wraps around",
			    (unsigned long long)m->initrd_size, (unsigned long long)m->initrd);
	return 0;
}

/* Everything up to the last byte; what is left is reading b->error. */
static void build(struct fdt_builder *b, const struct fdt_machine *m)
{
	int ret;

	set_error(b, fdt_create(b->buf, (int)b->size), "the header");
	if (b->error)
		return;
	do
		ret = fdt_finish_reservemap(b->buf);
	while (again(b, ret, "the reservation map"));
	if (b->error)
		return;
	build_root(b, m);
	if (b->error)
		return;
	do
		ret = fdt_finish(b->buf);
	while (again(b, ret, "the end of the tree"));
}

void *fdt_build(const struct fdt_machine *machine, size_t *size, struct error *err)
{
	struct fdt_builder b = {.size = FIRST_SIZE};

	if (check_machine(machine, err))
		return NULL;
	b.buf = calloc(1, b.size);
	if (!b.buf) {
		fail(err, "no memory for the device tree");
		return NULL;
	}
	build(&b, machine);
	if (b.error) {
		if (b.error == -FDT_ERR_NOSPACE)
			fail(err,
			     "the device tree does not fit %llu KiB (at %s): %u harts with an ISA "
			     "text of %zu bytes each and a command line of %zu bytes",
			     (unsigned long long)(BOOT_FDT_MAX / KIB), b.where, machine->nr_harts,
			     strlen(machine->isa_legacy),
			     machine->bootargs ? strlen(machine->bootargs) : 0);
		else
			fail(err, "cannot build the device tree: %s at %s", fdt_strerror(b.error),
			     b.where);
		free(b.buf);
		return NULL;
	}
	*size = fdt_totalsize(b.buf);
	return b.buf;
}
