// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device tree: every property, libfdt's full check, dtc's warnings where
 * dtc is installed, 1 to 1024 harts, and what makes a builder give up.
 */
#include "lkvm/riscv/boot.h"
#include "lkvm/riscv/fdt.h"
#include "unit.h"

#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BASE UINT64_C(0x80000000)

static const char *const extensions[] = {"i",	    "m",      "a",	"f",	 "d",	 "c",
					 "zicbom",  "zicboz", "zicbop", "zicsr", "sstc", "svinval",
					 "svnapot", "svpbmt", "zba",	NULL};

static const struct fdt_alias aliases[] = {
	{"serial0", "/soc/serial@10000000"},
	{"rtc0", "/soc/rtc@101000"},
};

static const uint8_t rng_seed[32] = {1, 2, 3, 250, 251, 252};

/* What tests/unit need of struct guest_memory is regions; nothing is mapped. */
static struct guest_memory mem;
static struct fdt_machine machine;
static struct error err;
static void *tree;
static size_t tree_size;

static void describe_plic(struct fdt_builder *b, unsigned int nr_harts)
{
	uint32_t *cells = malloc(nr_harts * 2 * sizeof(*cells));
	unsigned int i;

	ck_assert_ptr_nonnull(cells);
	for (i = 0; i < nr_harts; i++) {
		cells[2 * i] = fdt_phandle_hart(i);
		cells[2 * i + 1] = 9;
	}
	fdt_node_begin_at(b, "interrupt-controller", 0xc000000);
	fdt_prop_strings(b, "compatible", "sifive,plic-1.0.0", "riscv,plic0");
	fdt_prop_reg(b, 0xc000000, 0x4000000);
	fdt_prop_empty(b, "interrupt-controller");
	fdt_prop_u32(b, "#interrupt-cells", 1);
	fdt_prop_u32(b, "#address-cells", 0);
	fdt_prop_cells(b, "interrupts-extended", cells, (size_t)nr_harts * 2);
	fdt_prop_u32(b, "riscv,ndev", 96);
	fdt_prop_u32(b, "phandle", FDT_PHANDLE_IRQCHIP);
	fdt_node_end(b);
	free(cells);
}

static void describe(struct fdt_builder *b, void *opaque)
{
	const struct fdt_machine *m = opaque;

	fdt_prop_u32(b, "interrupt-parent", FDT_PHANDLE_IRQCHIP);
	fdt_node_begin_at(b, "rtc", 0x101000);
	fdt_prop_string(b, "compatible", "google,goldfish-rtc");
	fdt_prop_reg(b, 0x101000, 0x1000);
	fdt_prop_u32(b, "interrupts", 11);
	fdt_node_end(b);
	describe_plic(b, m->nr_harts);
	fdt_node_begin_at(b, "serial", 0x10000000);
	fdt_prop_string(b, "compatible", "ns16550a");
	fdt_prop_reg(b, 0x10000000, 8);
	fdt_prop_u32(b, "clock-frequency", 3686400);
	fdt_prop_u32(b, "interrupts", 10);
	fdt_node_end(b);
}

static void setup(void)
{
	memset(&mem, 0, sizeof(mem));
	mem.nr = 1;
	mem.regions[0].gpa = BASE;
	mem.regions[0].size = 256 * MIB;
	memset(&err, 0, sizeof(err));
	tree = NULL;
	machine = (struct fdt_machine){
		.model = "lkvm",
		.nr_harts = 2,
		.timebase = 10000000,
		.xlen = 64,
		.isa_legacy =
			"rv64imafdc_zicbom_zicboz_zicbop_zicsr_sstc_svinval_svnapot_svpbmt_zba",
		.isa_extensions = extensions,
		.mmu_type = "riscv,sv48",
		.cbom = 64,
		.cboz = 128,
		.cbop = 32,
		.mem = &mem,
		.bootargs = "console=ttyS0 panic=1",
		.stdout_path = "serial0:115200n8",
		.initrd = UINT64_C(0x123456000),
		.initrd_size = 0x54321,
		.rng_seed = rng_seed,
		.rng_seed_len = sizeof(rng_seed),
		.kaslr_seed = UINT64_C(0x1122334455667788),
		.aliases = aliases,
		.nr_aliases = ARRAY_SIZE(aliases),
		.describe = describe,
		.opaque = &machine,
	};
}

static void teardown(void)
{
	free(tree);
}

static void build(void)
{
	free(tree);
	tree = fdt_build(&machine, &tree_size, &err);
	ck_assert_msg(tree != NULL, "%s", err.msg);
	ck_assert_uint_eq(tree_size, fdt_totalsize(tree));
	ck_assert_uint_le(tree_size, BOOT_FDT_MAX);
	ck_assert_int_eq(fdt_check_full(tree, tree_size), 0);
}

static void refused(const char *text)
{
	ck_assert_ptr_null(fdt_build(&machine, &tree_size, &err));
	ck_assert_msg(strstr(err.msg, text) != NULL, "'%s' lacks '%s'", err.msg, text);
	ck_assert_ptr_null(strchr(err.msg, '\n'));
}

static const void *prop(const char *path, const char *name, int *len)
{
	int node = fdt_path_offset(tree, path);

	ck_assert_msg(node >= 0, "no node %s", path);
	return fdt_getprop(tree, node, name, len);
}

static void prop_is(const char *path, const char *name, const void *value, size_t want)
{
	int len = -1;
	const void *p = prop(path, name, &len);

	ck_assert_msg(p && (size_t)len == want && !memcmp(p, value, want), "%s of %s (%d bytes)",
		      name, path, len);
}

static void text_is(const char *path, const char *name, const char *text)
{
	prop_is(path, name, text, strlen(text) + 1);
}

static void cells_are(const char *path, const char *name, const uint32_t *cells, size_t nr)
{
	fdt32_t be[16];
	size_t i;

	ck_assert_uint_le(nr, ARRAY_SIZE(be));
	for (i = 0; i < nr; i++)
		be[i] = cpu_to_fdt32(cells[i]);
	prop_is(path, name, be, nr * 4);
}

static void u32_is(const char *path, const char *name, uint32_t value)
{
	cells_are(path, name, &value, 1);
}

static void u64_is(const char *path, const char *name, uint64_t value)
{
	const uint32_t cells[] = {(uint32_t)(value >> 32), (uint32_t)value};

	cells_are(path, name, cells, 2);
}

static void absent(const char *path, const char *name)
{
	ck_assert_msg(prop(path, name, NULL) == NULL, "%s has %s", path, name);
}

START_TEST(test_root)
{
	build();
	u32_is("/", "#address-cells", 2);
	u32_is("/", "#size-cells", 2);
	text_is("/", "model", "lkvm");
	prop_is("/", "compatible", "lkvm,riscv-virt\0linux,dummy-virt",
		sizeof("lkvm,riscv-virt\0linux,dummy-virt"));
}
END_TEST

START_TEST(test_chosen)
{
	build();
	text_is("/chosen", "bootargs", "console=ttyS0 panic=1");
	text_is("/chosen", "stdout-path", "serial0:115200n8");
	u64_is("/chosen", "linux,initrd-start", UINT64_C(0x123456000));
	u64_is("/chosen", "linux,initrd-end", UINT64_C(0x1234aa321));
	prop_is("/chosen", "rng-seed", rng_seed, sizeof(rng_seed));
	u64_is("/chosen", "kaslr-seed", UINT64_C(0x1122334455667788));
}
END_TEST

START_TEST(test_chosen_bare)
{
	machine.bootargs = NULL;
	machine.stdout_path = NULL;
	machine.initrd_size = 0;
	machine.rng_seed_len = 0;
	machine.kaslr_seed = 0;
	machine.nr_aliases = 0;
	build();
	absent("/chosen", "bootargs");
	absent("/chosen", "stdout-path");
	absent("/chosen", "linux,initrd-start");
	absent("/chosen", "linux,initrd-end");
	absent("/chosen", "rng-seed");
	absent("/chosen", "kaslr-seed");
	ck_assert_int_lt(fdt_path_offset(tree, "/aliases"), 0);
}
END_TEST

START_TEST(test_bootargs_empty)
{
	machine.bootargs = "";
	build();
	text_is("/chosen", "bootargs", "");
}
END_TEST

START_TEST(test_aliases)
{
	build();
	text_is("/aliases", "serial0", "/soc/serial@10000000");
	text_is("/aliases", "rtc0", "/soc/rtc@101000");
	/* libfdt follows it. */
	ck_assert_int_eq(fdt_path_offset(tree, "serial0"),
			 fdt_path_offset(tree, "/soc/serial@10000000"));
}
END_TEST

START_TEST(test_memory)
{
	const uint32_t first[] = {0, 0x80000000, 0, 0x10000000};
	const uint32_t second[] = {2, 0, 0x30, 0x1000};

	mem.nr = 2;
	mem.regions[1].gpa = UINT64_C(0x200000000);
	mem.regions[1].size = UINT64_C(0x3000001000);
	build();
	text_is("/memory@80000000", "device_type", "memory");
	cells_are("/memory@80000000", "reg", first, 4);
	text_is("/memory@200000000", "device_type", "memory");
	cells_are("/memory@200000000", "reg", second, 4);
}
END_TEST

START_TEST(test_cpus)
{
	build();
	u32_is("/cpus", "#address-cells", 1);
	u32_is("/cpus", "#size-cells", 0);
	u32_is("/cpus", "timebase-frequency", 10000000);
	text_is("/cpus/cpu@1", "device_type", "cpu");
	text_is("/cpus/cpu@1", "compatible", "riscv");
	text_is("/cpus/cpu@1", "status", "okay");
	u32_is("/cpus/cpu@1", "reg", 1);
	text_is("/cpus/cpu@1", "riscv,isa", machine.isa_legacy);
	text_is("/cpus/cpu@1", "riscv,isa-base", "rv64i");
	text_is("/cpus/cpu@1", "mmu-type", "riscv,sv48");
	u32_is("/cpus/cpu@1", "riscv,cbom-block-size", 64);
	u32_is("/cpus/cpu@1", "riscv,cboz-block-size", 128);
	u32_is("/cpus/cpu@1", "riscv,cbop-block-size", 32);
	ck_assert_int_lt(fdt_path_offset(tree, "/cpus/cpu@2"), 0);
}
END_TEST

START_TEST(test_isa_extensions)
{
	int node, i;

	build();
	node = fdt_path_offset(tree, "/cpus/cpu@0");
	ck_assert_int_eq(fdt_stringlist_count(tree, node, "riscv,isa-extensions"),
			 ARRAY_SIZE(extensions) - 1);
	for (i = 0; extensions[i]; i++)
		ck_assert_str_eq(fdt_stringlist_get(tree, node, "riscv,isa-extensions", i, NULL),
				 extensions[i]);
}
END_TEST

START_TEST(test_cpu_bare)
{
	machine.cbom = machine.cboz = machine.cbop = 0;
	machine.mmu_type = NULL;
	machine.xlen = 32;
	build();
	absent("/cpus/cpu@0", "riscv,cbom-block-size");
	absent("/cpus/cpu@0", "riscv,cboz-block-size");
	absent("/cpus/cpu@0", "riscv,cbop-block-size");
	absent("/cpus/cpu@0", "mmu-type");
	text_is("/cpus/cpu@0", "riscv,isa-base", "rv32i");
}
END_TEST

START_TEST(test_intc)
{
	const char *path = "/cpus/cpu@1/interrupt-controller";

	build();
	text_is(path, "compatible", "riscv,cpu-intc");
	u32_is(path, "#interrupt-cells", 1);
	u32_is(path, "phandle", fdt_phandle_hart(1));
	prop_is(path, "interrupt-controller", "", 0);
	ck_assert_int_eq(fdt_node_offset_by_phandle(tree, fdt_phandle_hart(1)),
			 fdt_path_offset(tree, path));
}
END_TEST

START_TEST(test_soc)
{
	const uint32_t plic[] = {fdt_phandle_hart(0), 9, fdt_phandle_hart(1), 9};
	const uint32_t reg[] = {0, 0x10000000, 0, 8};

	build();
	text_is("/soc", "compatible", "simple-bus");
	u32_is("/soc", "#address-cells", 2);
	u32_is("/soc", "#size-cells", 2);
	prop_is("/soc", "ranges", "", 0);
	cells_are("/soc/interrupt-controller@c000000", "interrupts-extended", plic, 4);
	prop_is("/soc/interrupt-controller@c000000", "compatible", "sifive,plic-1.0.0\0riscv,plic0",
		sizeof("sifive,plic-1.0.0\0riscv,plic0"));
	cells_are("/soc/serial@10000000", "reg", reg, 4);
}
END_TEST

START_TEST(test_no_devices)
{
	machine.describe = NULL;
	machine.nr_aliases = 0;
	build();
	ck_assert_int_eq(fdt_first_subnode(tree, fdt_path_offset(tree, "/soc")), -FDT_ERR_NOTFOUND);
}
END_TEST

/* Every builder call, with values that show the byte order. */
static void describe_all(struct fdt_builder *b, void *opaque)
{
	const uint32_t cells[] = {0x01020304, 0xfffefdfc};

	(void)opaque;
	fdt_node_begin(b, "plain");
	fdt_prop_empty(b, "empty");
	fdt_prop_u32(b, "u32", 0x01020304);
	fdt_prop_u64(b, "u64", UINT64_C(0x0102030405060708));
	fdt_prop_cells(b, "cells", cells, 2);
	fdt_prop_cells(b, "no-cells", NULL, 0);
	fdt_prop_bytes(b, "bytes", "\x01\x02\x03", 3);
	fdt_prop_bytes(b, "no-bytes", NULL, 0);
	fdt_prop_string(b, "string", "text");
	fdt_prop_strings(b, "strings", "one", "", "three", NULL);
	fdt_prop_strings(b, "no-strings", NULL);
	fdt_node_begin_at(b, "unit", UINT64_C(0xabcdef0123456789));
	fdt_node_end(b);
	fdt_node_end(b);
}

START_TEST(test_builder)
{
	const char *path = "/soc/plain";

	machine.describe = describe_all;
	build();
	prop_is(path, "empty", "", 0);
	prop_is(path, "u32", "\x01\x02\x03\x04", 4);
	prop_is(path, "u64", "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
	prop_is(path, "cells", "\x01\x02\x03\x04\xff\xfe\xfd\xfc", 8);
	prop_is(path, "no-cells", "", 0);
	prop_is(path, "bytes", "\x01\x02\x03", 3);
	prop_is(path, "no-bytes", "", 0);
	text_is(path, "string", "text");
	prop_is(path, "strings", "one\0\0three", 11);
	prop_is(path, "no-strings", "", 0);
	ck_assert_int_ge(fdt_path_offset(tree, "/soc/plain/unit@abcdef0123456789"), 0);
}
END_TEST

START_TEST(test_same_bytes)
{
	void *other;
	size_t size;

	machine.nr_harts = 64;
	build();
	other = fdt_build(&machine, &size, &err);
	ck_assert_ptr_nonnull(other);
	ck_assert_uint_eq(size, tree_size);
	ck_assert_mem_eq(other, tree, size);
	free(other);
}
END_TEST

START_TEST(test_size_is_fixed)
{
	size_t first;

	/* Addresses and seeds are found after the size is settled: it must not move. */
	build();
	first = tree_size;
	machine.initrd = 1;
	machine.initrd_size = 1;
	machine.kaslr_seed = 1;
	build();
	ck_assert_uint_eq(tree_size, first);
}
END_TEST

START_TEST(test_harts)
{
	static const unsigned int harts[] = {1, 2, 3, 8, 63, 64, 65, 512, 1023, 1024};
	char path[64];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(harts); i++) {
		machine.nr_harts = harts[i];
		build();
		snprintf(path, sizeof(path), "/cpus/cpu@%x", harts[i] - 1);
		u32_is(path, "reg", harts[i] - 1);
		snprintf(path, sizeof(path), "/cpus/cpu@%x/interrupt-controller", harts[i] - 1);
		u32_is(path, "phandle", fdt_phandle_hart(harts[i] - 1));
		snprintf(path, sizeof(path), "/cpus/cpu@%x", harts[i]);
		ck_assert_int_lt(fdt_path_offset(tree, path), 0);
	}
}
END_TEST

/* Every name that KVM has today, on as many harts as a PLIC can have contexts. */
START_TEST(test_harts_with_all_extensions)
{
	static const char *many[81];
	static char names[80][12];
	static char isa[16 + 80 * 12] = "rv64imafdcv";
	size_t i;

	for (i = 0; i < 80; i++) {
		snprintf(names[i], sizeof(names[i]), "zicbo%02zu", i);
		many[i] = names[i];
		strcat(strcat(isa, "_"), names[i]);
	}
	machine.isa_legacy = isa;
	machine.isa_extensions = many;
	machine.nr_harts = 1024;
	build();
	ck_assert_uint_gt(tree_size, MIB);
}
END_TEST

START_TEST(test_too_big)
{
	char *text = malloc(3 * MIB);

	memset(text, 'x', 3 * MIB - 1);
	text[3 * MIB - 1] = 0;
	machine.bootargs = text;
	refused("does not fit 2048 KiB (at bootargs): 2 harts with an ISA text of 69 bytes each "
		"and a command line of 3145727 bytes");
	text[2 * MIB - 1024] = 0;
	refused("does not fit 2048 KiB");
	text[2 * MIB - 8192] = 0;
	build();
	machine.bootargs = NULL;
	text[4096] = 0;
	machine.isa_legacy = text;
	machine.nr_harts = 1024;
	refused("1024 harts with an ISA text of 4096 bytes each");
	free(text);
}
END_TEST

START_TEST(test_every_size)
{
	/* The buffer grows at every possible place. */
	static char text[6000];
	size_t i;

	machine.bootargs = text;
	for (i = 0; i < sizeof(text) - 1; i++) {
		text[i] = 'x';
		if (i % 4 == 0)
			build();
	}
}
END_TEST

static void unbalanced_open(struct fdt_builder *b, void *opaque)
{
	(void)opaque;
	fdt_node_begin(b, "left-open");
}

static void unbalanced_close(struct fdt_builder *b, void *opaque)
{
	(void)opaque;
	fdt_node_end(b);
	fdt_node_begin(b, "elsewhere");
}

static void prop_after_node(struct fdt_builder *b, void *opaque)
{
	(void)opaque;
	fdt_node_begin(b, "node");
	fdt_node_end(b);
	fdt_prop_empty(b, "too-late");
}

static void null_string(struct fdt_builder *b, void *opaque)
{
	(void)opaque;
	fdt_prop_string(b, "a-name", NULL);
	fdt_node_end(b);
	fdt_prop_strings(b, "later", "x", NULL);
}

static void null_name(struct fdt_builder *b, void *opaque)
{
	(void)opaque;
	fdt_prop_empty(b, NULL);
}

static void null_node(struct fdt_builder *b, void *opaque)
{
	(void)opaque;
	fdt_node_begin(b, NULL);
	fdt_node_begin_at(b, NULL, 1);
}

static void long_node(struct fdt_builder *b, void *opaque)
{
	(void)opaque;
	fdt_node_begin_at(b, "a-name-of-a-node-that-goes-on-and-on-and-on-without-an-end", 1);
	fdt_node_begin_at(b, "a-name-of-a-node-that-goes-on-and-on-and-on-without-an-end",
			  UINT64_MAX);
}

static void huge_cells(struct fdt_builder *b, void *opaque)
{
	(void)opaque;
	fdt_prop_cells(b, "huge", NULL, SIZE_MAX / 2);
}

static void huge_bytes(struct fdt_builder *b, void *opaque)
{
	(void)opaque;
	fdt_prop_bytes(b, "huge", "", SIZE_MAX);
}

START_TEST(test_builder_errors)
{
	static const struct {
		void (*describe)(struct fdt_builder *b, void *opaque);
		const char *text;
	} cases[] = {
		{unbalanced_open, "a node below /soc that was not ended"},
		{unbalanced_close, "the end of a node that was not begun"},
		{null_string, "a-name"},
		{null_name, "(no name)"},
		{null_node, "(no name)"},
		{long_node, "a-name-of-a-node"},
		{huge_cells, "at huge"},
		{huge_bytes, "at huge"},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		machine.describe = cases[i].describe;
		refused(cases[i].text);
	}
}
END_TEST

START_TEST(test_prop_after_node)
{
	/* The format wants properties first; readers stop at the first node. */
	machine.describe = prop_after_node;
	refused("too-late");
}
END_TEST

START_TEST(test_bad_machine)
{
	machine.nr_harts = 0;
	refused("at least one hart");
	setup();
	machine.xlen = 128;
	refused("XLEN 128");
	setup();
	machine.timebase = 0;
	refused("time counter");
	setup();
	machine.model = NULL;
	refused("model");
	setup();
	machine.isa_legacy = NULL;
	refused("ISA");
	setup();
	machine.isa_extensions = NULL;
	refused("ISA");
	setup();
	machine.initrd = UINT64_MAX;
	machine.initrd_size = 2;
	refused("wraps");
}
END_TEST

START_TEST(test_dtc)
{
	char dtb[] = "/tmp/lkvm-test-fdt-XXXXXX";
	char command[256], line[512];
	unsigned int lines = 0;
	FILE *out;
	int fd;

	if (system("command -v dtc >/dev/null 2>&1") != 0)
		return;
	if (_i)
		machine.nr_harts = 1024;
	mem.nr = 2;
	mem.regions[1].gpa = UINT64_C(0x200000000);
	mem.regions[1].size = GIB;
	build();
	fd = mkstemp(dtb);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write_all(fd, tree, tree_size), (long)tree_size);
	close(fd);
	snprintf(command, sizeof(command), "dtc -I dtb -O dts -o /dev/null %s 2>&1; echo $?", dtb);
	out = popen(command, "r");
	ck_assert_ptr_nonnull(out);
	while (fgets(line, sizeof(line), out)) {
		ck_assert_msg(!strcmp(line, "0\n"), "dtc: %s", line);
		lines++;
	}
	pclose(out);
	unlink(dtb);
	ck_assert_uint_eq(lines, 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fdt");
	TCase *tc = tcase_create("fdt");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_root);
	tcase_add_test(tc, test_chosen);
	tcase_add_test(tc, test_chosen_bare);
	tcase_add_test(tc, test_bootargs_empty);
	tcase_add_test(tc, test_aliases);
	tcase_add_test(tc, test_memory);
	tcase_add_test(tc, test_cpus);
	tcase_add_test(tc, test_isa_extensions);
	tcase_add_test(tc, test_cpu_bare);
	tcase_add_test(tc, test_intc);
	tcase_add_test(tc, test_soc);
	tcase_add_test(tc, test_no_devices);
	tcase_add_test(tc, test_builder);
	tcase_add_test(tc, test_same_bytes);
	tcase_add_test(tc, test_size_is_fixed);
	tcase_add_test(tc, test_harts);
	tcase_add_test(tc, test_harts_with_all_extensions);
	tcase_add_test(tc, test_too_big);
	tcase_add_test(tc, test_every_size);
	tcase_add_test(tc, test_builder_errors);
	tcase_add_test(tc, test_prop_after_node);
	tcase_add_test(tc, test_bad_machine);
	tcase_add_loop_test(tc, test_dtc, 0, 2);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
