// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzzing the device tree: the input chooses the machine (harts, RAM, texts)
 * and then, call by call, what the machine adds below /soc. A tree that comes
 * out has to pass libfdt's full check and be the same when built again.
 */
#include "lkvm/riscv/boot.h"
#include "lkvm/riscv/fdt.h"

#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct input {
	const uint8_t *data;
	size_t size;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "does not hold: %s\n", what);
	abort();
}

static uint8_t next(struct input *in)
{
	if (!in->size)
		return 0;
	in->size--;
	return *in->data++;
}

static uint64_t next_u64(struct input *in)
{
	uint64_t v = 0;
	unsigned int i;

	for (i = 0; i < 8; i++)
		v = v << 8 | next(in);
	return v;
}

/* A text of the input's own bytes, or a long one, or none. */
static const char *text(struct input *in, char *buf, size_t room)
{
	size_t len = next(in), i;

	if (len == 255)
		return NULL;
	if (len >= 250)
		len = (len - 249) * room / 6 - 1;
	for (i = 0; i < len && i < room - 1; i++)
		buf[i] = in->size ? (char)(next(in) | 1) : 'x';
	buf[i] = 0;
	return buf;
}

/* Names as the machine uses them: never from outside. */
static const char *name(struct input *in)
{
	static const char *const names[] = {"serial", "reg",  "compatible", "interrupts",
					    "pci",    "plic", "ranges",	    "#address-cells"};

	return names[next(in) % ARRAY_SIZE(names)];
}

static void describe(struct fdt_builder *b, void *opaque)
{
	struct input in = *(const struct input *)opaque;
	char buf[300];
	uint32_t cells[64];
	const char *text_name;
	size_t nr;

	while (in.size) {
		switch (next(&in) % 12) {
		case 0:
			fdt_node_begin(b, name(&in));
			break;
		case 1:
			fdt_node_begin_at(b, name(&in), next_u64(&in));
			break;
		case 2:
		case 3:
			fdt_node_end(b);
			break;
		case 4:
			fdt_prop_empty(b, name(&in));
			break;
		case 5:
			fdt_prop_u32(b, name(&in), (uint32_t)next_u64(&in));
			break;
		case 6:
			fdt_prop_u64(b, name(&in), next_u64(&in));
			break;
		case 7:
			nr = next(&in) % ARRAY_SIZE(cells);
			memset(cells, next(&in), sizeof(cells));
			fdt_prop_cells(b, name(&in), cells, nr);
			break;
		case 8:
			text_name = name(&in);
			nr = min_u64(next(&in), in.size);
			fdt_prop_bytes(b, text_name, in.data, nr);
			break;
		case 9:
			fdt_prop_string(b, name(&in), text(&in, buf, sizeof(buf)));
			break;
		case 10:
			fdt_prop_strings(b, name(&in), "one", name(&in), NULL);
			break;
		default:
			fdt_prop_reg(b, next_u64(&in), next_u64(&in));
			break;
		}
	}
}

static void describe_nothing(struct fdt_builder *b, void *opaque)
{
	(void)b;
	(void)opaque;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const lists[][4] = {{NULL}, {"i", NULL}, {"i", "m", "zba", NULL}};
	static char isa[4000], args[8000], out[40], model[40], mmu[40];
	static struct guest_memory mem;
	struct input in = {data, size};
	struct fdt_alias aliases[] = {{"serial0", "/soc/serial@0"}, {"rtc0", "/soc"}};
	struct fdt_machine m = {.mem = &mem, .aliases = aliases};
	struct error err = {.msg = ""};
	size_t i, tree_size, again_size;
	void *tree, *again;
	uint8_t flags;

	flags = next(&in);
	m.nr_harts = next(&in) % 9;
	/* Many harts take long: few inputs get them. */
	if ((flags & 0x87) == 0x87)
		m.nr_harts = next(&in) == 0xa5 ? next(&in) * 5U : next(&in) % 64;
	m.xlen = flags & 8 ? 32 : next(&in) == 255 ? 16 : 64;
	m.timebase = next(&in) * 1000U;
	m.model = text(&in, model, sizeof(model));
	m.isa_legacy = text(&in, isa, sizeof(isa));
	m.isa_extensions = lists[next(&in) % ARRAY_SIZE(lists)];
	m.mmu_type = text(&in, mmu, sizeof(mmu));
	m.cbom = next(&in);
	m.cboz = next(&in);
	m.cbop = next(&in);
	m.bootargs = text(&in, args, sizeof(args));
	m.stdout_path = text(&in, out, sizeof(out));
	m.initrd = next_u64(&in);
	m.initrd_size = flags & 16 ? next_u64(&in) : 0;
	m.rng_seed = data;
	m.rng_seed_len = min_u64(next(&in), size);
	m.kaslr_seed = flags & 32 ? next_u64(&in) : 0;
	m.nr_aliases = next(&in) % (ARRAY_SIZE(aliases) + 1);
	mem.nr = next(&in) % (MEMORY_MAX_REGIONS + 1);
	for (i = 0; i < mem.nr; i++) {
		mem.regions[i].gpa = i << 32;
		mem.regions[i].size = next_u64(&in);
	}
	m.describe = flags & 64 ? describe_nothing : describe;
	m.opaque = &in;

	tree = fdt_build(&m, &tree_size, &err);
	if (!tree) {
		check(err.msg[0] && strlen(err.msg) < ERROR_MAX, "a line says why");
		return 0;
	}
	check(tree_size <= BOOT_FDT_MAX && tree_size == fdt_totalsize(tree), "its size");
	check(fdt_check_full(tree, tree_size) == 0, "fdt_check_full()");
	again = fdt_build(&m, &again_size, &err);
	check(again && again_size == tree_size && !memcmp(tree, again, tree_size), "same again");
	free(again);
	free(tree);
	return 0;
}
