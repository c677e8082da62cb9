// SPDX-License-Identifier: GPL-2.0-only
/*
 * The machine with devices behind PCI, on a scripted host: what its plan and its
 * device tree say, a request through the VM's own bus with the interrupt at the PLIC's
 * source, a machine reset, more devices than slots, and a machine without any.
 */
#include "lkvm/arch.h"
#include "lkvm/hw/pci.h"
#include "lkvm/virtio/rng.h"
#include "mmio.h"
#include "tree_rig.h"
#include "unit.h"

#include <libfdt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ECAM UINT64_C(0x30000000)
#define BAR (UINT64_C(0x40000000) + 64 * MIB)
#define PLIC UINT64_C(0x0c000000)
#define RINGS UINT64_C(0x82000000)
#define NODE "/soc/pci@30000000"
#define ONES UINT64_C(0xffffffff)

static struct rig rig;
static struct tree_rig dump;
static const uint8_t *const tree = dump.fdt;

static void setup(void)
{
	rig_init(&rig, FAKE_7_2);
	tree_rig_init(&dump, &rig);
	rig.cfg.transport = TRANSPORT_PCI;
}

static void teardown(void)
{
	tree_rig_fini(&dump);
	rig_end(&rig);
}

static void create(unsigned int devices)
{
	while (devices--)
		rig.cfg.virtio[rig.cfg.nr_virtio++] =
			(struct virtio_request){.kind = &virtio_rng_kind, .text = ""};
	rig_create(&rig);
	tree_rig_read(&dump);
}

static const char *plan(void)
{
	static char text[16384];
	FILE *out;

	memset(text, 0, sizeof(text));
	out = fmemopen(text, sizeof(text) - 1, "w");
	arch_print_plan(rig.vm, out);
	fclose(out);
	return text;
}

static uint32_t cell(const char *name, int index)
{
	int len, node = fdt_path_offset(tree, NODE);
	const fdt32_t *cells = fdt_getprop(tree, node, name, &len);

	ck_assert_msg(cells && len >= 4 * (index + 1), "%s", name);
	return fdt32_to_cpu(cells[index]);
}

static int length(const char *name)
{
	int len = -1;

	fdt_getprop(tree, fdt_path_offset(tree, NODE), name, &len);
	return len;
}

static uint64_t rd(gpa_t gpa, unsigned int size)
{
	uint64_t value;

	bus_read(&rig.vm->bus, gpa, size, &value);
	return value;
}

static void wr(gpa_t gpa, uint64_t value, unsigned int size)
{
	bus_write(&rig.vm->bus, gpa, size, value);
}

static gpa_t function(unsigned int slot, unsigned int fn)
{
	return ECAM + (slot << 15 | fn << 12);
}

START_TEST(none)
{
	rig.cfg.transport = TRANSPORT_MMIO;
	create(1);
	ck_assert_int_lt(fdt_path_offset(tree, NODE), 0);
	ck_assert_ptr_null(strstr(plan(), "PCI 00:"));
	ck_assert_ptr_nonnull(strstr(plan(), "kept free for 64-bit PCI"));
	ck_assert_uint_eq(rd(ECAM, 4), 0);
}
END_TEST

START_TEST(tells_where_it_is)
{
	unsigned int slot, pin, row = 0;
	uint64_t high;

	create(2);
	ck_assert_ptr_nonnull(strstr(plan(), "0x000030000000       1M  pci0"));
	ck_assert_ptr_nonnull(strstr(plan(), "PCI 00:01.0               rng0, interrupt 33"));
	ck_assert_ptr_nonnull(strstr(plan(), "PCI 00:02.0               rng1, interrupt 34"));
	ck_assert_ptr_nonnull(strstr(plan(), "window for 32-bit PCI"));
	ck_assert_ptr_nonnull(strstr(plan(), "window for 64-bit PCI"));
	ck_assert_str_eq(fdt_getprop(tree, fdt_path_offset(tree, NODE), "compatible", NULL),
			 "pci-host-ecam-generic");
	ck_assert_str_eq(fdt_getprop(tree, fdt_path_offset(tree, NODE), "device_type", NULL),
			 "pci");
	ck_assert_uint_eq(cell("#address-cells", 0), 3);
	ck_assert_uint_eq(cell("#size-cells", 0), 2);
	ck_assert_uint_eq(cell("#interrupt-cells", 0), 1);
	ck_assert_uint_eq(cell("reg", 1), ECAM);
	ck_assert_uint_eq(cell("reg", 3), PCI_ECAM_WINDOW);
	ck_assert_uint_eq(cell("bus-range", 1), 0);
	ck_assert_int_eq(length("dma-coherent"), 0);
	ck_assert_int_eq(length("msi-parent"), -FDT_ERR_NOTFOUND);
	/* Both windows are as large as the bus says. */
	ck_assert_int_eq(length("ranges"), 2 * 7 * 4);
	ck_assert_uint_eq(cell("ranges", 0), 0x02000000);
	ck_assert_uint_eq(cell("ranges", 4), 0x40000000);
	ck_assert_uint_eq(cell("ranges", 6), 0x40000000);
	ck_assert_uint_eq(cell("ranges", 7) & 0x03000000, 0x03000000);
	high = (uint64_t)cell("ranges", 10) << 32 | cell("ranges", 11);
	ck_assert_uint_eq(high, (uint64_t)cell("ranges", 8) << 32 | cell("ranges", 9));
	ck_assert_uint_eq(rd(high, 4), ONES);
	ck_assert_uint_eq(rd(high - 4, 4), 0);
	high += (uint64_t)cell("ranges", 12) << 32 | cell("ranges", 13);
	ck_assert_uint_eq(rd(high - 4, 4), ONES);
	ck_assert_uint_eq(rd(high, 4), 0);
	/* Slot, two zeroes, pin, PLIC, source. */
	ck_assert_int_eq(length("interrupt-map"), 16 * 6 * 4);
	ck_assert_uint_eq(cell("interrupt-map-mask", 0), 0x1800);
	ck_assert_uint_eq(cell("interrupt-map-mask", 3), 7);
	for (slot = 0; slot < 4; slot++) {
		for (pin = 1; pin <= 4; pin++, row += 6) {
			ck_assert_uint_eq(cell("interrupt-map", row), slot << 11);
			ck_assert_uint_eq(cell("interrupt-map", row + 3), pin);
			ck_assert_uint_eq(cell("interrupt-map", row + 5),
					  32 + (slot + pin - 1) % 4);
		}
	}
}
END_TEST

/* Map the BAR of the function and bring its one queue up; then a request. */
static void one_request(gpa_t fn)
{
	static const uint8_t zeroes[64];
	uint64_t desc[2] = {RINGS + 0x2000, 64 | UINT64_C(2) << 32};
	uint16_t avail[3] = {0, 1, 0};
	uint8_t bytes[64], used[8];

	wr(fn + PCI_BAR0, BAR, 4);
	wr(fn + PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	wr(BAR + 0x14, 0, 1);
	wr(BAR + 0x14, 3, 1);
	wr(BAR + 0x08, 1, 4);
	wr(BAR + 0x0c, 1, 4);
	wr(BAR + 0x14, 11, 1);
	wr(BAR + 0x18, 8, 2);
	wr(BAR + 0x20, RINGS, 8);
	wr(BAR + 0x28, RINGS + 0x1000, 8);
	wr(BAR + 0x30, RINGS + 0x1800, 8);
	wr(BAR + 0x1c, 1, 2);
	wr(BAR + 0x14, 15, 1);
	ck_assert_uint_eq(rd(BAR + 0x14, 1), 15);
	memory_write(&rig.vm->mem, RINGS + 0x1800, zeroes, sizeof(zeroes));
	memory_write(&rig.vm->mem, RINGS, desc, sizeof(desc));
	memory_write(&rig.vm->mem, RINGS + 0x1000, avail, sizeof(avail));
	wr(BAR + 0x3000, 0, 2);
	memory_read(&rig.vm->mem, RINGS + 0x1800, used, sizeof(used));
	ck_assert_uint_eq(used[2], 1);
	memory_read(&rig.vm->mem, RINGS + 0x2000, bytes, sizeof(bytes));
	ck_assert_mem_ne(bytes, zeroes, sizeof(bytes));
}

START_TEST(request_and_reset)
{
	unsigned int life;

	create(2);
	for (life = 0; life < 2; life++) {
		ck_assert_uint_eq(rd(function(2, 0), 4), 0x10441af4);
		ck_assert_uint_eq(rd(function(2, 0) + PCI_BAR0, 4), 4);
		ck_assert_uint_eq(rd(BAR + 0x14, 1), 0xff);
		one_request(function(2, 0));
		/* Slot 2, INTA: source 34. */
		ck_assert_uint_eq(rd(PLIC + 0x1004, 4), 1 << 2);
		ck_assert_uint_eq(rd(BAR + 0x1000, 1), 1);
		arch_reset(rig.vm);
		ck_assert_uint_eq(rd(PLIC + 0x1004, 4), 0);
	}
}
END_TEST

START_TEST(more_than_slots)
{
	create(VM_MAX_VIRTIO);
	ck_assert_ptr_nonnull(strstr(plan(), "PCI 00:1f.0               rng30, interrupt 35"));
	ck_assert_ptr_nonnull(strstr(plan(), "PCI 00:01.1               rng31, interrupt 34"));
	ck_assert_ptr_nonnull(strstr(plan(), "PCI 00:02.2               rng63, interrupt 32"));
	ck_assert_uint_eq(rd(function(1, 2), 4), 0x10441af4);
	ck_assert_uint_eq(rd(function(3, 2), 4), ONES);
	one_request(function(2, 2));
	ck_assert_uint_eq(rd(PLIC + 0x1004, 4), 1);
}
END_TEST

/* RAM up to where the narrowest mode ends leaves no room for the upper window. */
START_TEST(no_upper_window)
{
	rig.cfg.mem[1] = (struct mem_request){
		.size = 16 * MIB, .placed = true, .gpa = (UINT64_C(1) << 41) - 64 * MIB};
	rig.cfg.nr_mem = 2;
	create(1);
	ck_assert_ptr_null(strstr(plan(), "64-bit PCI"));
	ck_assert_int_eq(length("ranges"), 7 * 4);
	one_request(function(1, 0));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pci_machine");
	TCase *t = tcase_create("pci_machine");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, none);
	tcase_add_test(t, tells_where_it_is);
	tcase_add_test(t, request_and_reset);
	tcase_add_test(t, more_than_slots);
	tcase_add_test(t, no_upper_window);
	suite_add_tcase(s, t);
	return unit_main(s);
}
