// SPDX-License-Identifier: GPL-2.0-only
/*
 * How a machine with the kernel's AIA describes itself to its guest: Linux' device tree
 * bindings riscv,imsics and riscv,aplic, and what devices say of their interrupts. Bits
 * and numbers are those that KVM was given.
 */
#include "lkvm/riscv/fdt.h"
#include "lkvm/virtio/rng.h"
#include "tree_rig.h"
#include "unit.h"

#include "../../riscv/machine.h"

#include <libfdt.h>
#include <stdio.h>
#include <unistd.h>

#define IMSICS "/soc/imsics@28000000"
#define APLIC "/soc/interrupt-controller@d000000"
#define PCI "/soc/pci@30000000"
#define SERIAL "/soc/serial@10000000"

#define EXTERNAL 9 /* the supervisor's external interrupt, at a hart */
#define LEVEL_HIGH 4

static struct rig rig;
static struct tree_rig dump;
static const uint8_t *const tree = dump.fdt;

static void setup(void)
{
	rig_init(&rig, FAKE_7_2);
	tree_rig_init(&dump, &rig);
	rig.host->host_aia = true;
	rig.host->host_isa[ISA_EXT_SSAIA] = true;
	rig.arch.irqchip = IRQCHIP_AIA;
	rig.cfg.virtio[rig.cfg.nr_virtio++] =
		(struct virtio_request){.kind = &virtio_rng_kind, .text = ""};
}

static void teardown(void)
{
	tree_rig_fini(&dump);
	rig_end(&rig);
}

static void create(unsigned int cpus, enum transport_choice transport)
{
	teardown();
	setup();
	rig.cfg.cpus = cpus;
	rig.cfg.transport = transport;
	rig_create(&rig);
	tree_rig_read(&dump);
}

static const fdt32_t *cells(const char *path, const char *name, int *nr)
{
	int len = 0;
	const fdt32_t *value = fdt_getprop(tree, fdt_path_offset(tree, path), name, &len);

	*nr = value ? len / 4 : -1;
	return value;
}

static uint32_t cell(const char *path, const char *name, int index)
{
	int nr;
	const fdt32_t *value = cells(path, name, &nr);

	ck_assert_msg(index < nr, "%s %s", path, name);
	return fdt32_to_cpu(value[index]);
}

static bool has(const char *path, const char *name)
{
	int nr;

	cells(path, name, &nr);
	return nr >= 0;
}

static bool is(const char *path, const char *what)
{
	return !fdt_node_check_compatible(tree, fdt_path_offset(tree, path), what);
}

/* Each hart's own interrupt controller, in the order of their numbers. */
static void files_of(unsigned int harts)
{
	char path[64];
	unsigned int i;
	int nr;

	cells(IMSICS, "interrupts-extended", &nr);
	ck_assert_int_eq(nr, 2 * (int)harts);
	for (i = 0; i < harts; i++) {
		snprintf(path, sizeof(path), "/cpus/cpu@%x/interrupt-controller", i);
		ck_assert_uint_eq(cell(IMSICS, "interrupts-extended", 2 * (int)i),
				  cell(path, "phandle", 0));
		ck_assert_uint_eq(cell(IMSICS, "interrupts-extended", 2 * (int)i + 1), EXTERNAL);
	}
}

START_TEST(imsics)
{
	static const unsigned int cpus[] = {1, 2, 3, 8, 9, 64};
	static const uint32_t bits[] = {0, 1, 2, 3, 4, 6};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cpus); i++) {
		create(cpus[i], TRANSPORT_AUTO);
		ck_assert(is(IMSICS, "riscv,imsics") && is(IMSICS, "qemu,imsics"));
		ck_assert_uint_eq(cell(IMSICS, "reg", 1), 0x28000000);
		ck_assert_uint_eq(cell(IMSICS, "reg", 3), 4096 * cpus[i]);
		ck_assert(has(IMSICS, "interrupt-controller") && has(IMSICS, "msi-controller"));
		ck_assert_uint_eq(cell(IMSICS, "#interrupt-cells", 0), 0);
		ck_assert_uint_eq(cell(IMSICS, "#msi-cells", 0), 0);
		ck_assert_uint_eq(cell(IMSICS, "riscv,num-ids", 0), rig.vm->arch->irq.aia.ids);
		ck_assert_uint_eq(cell(IMSICS, "riscv,hart-index-bits", 0), bits[i]);
		ck_assert_uint_eq(rig.vm->arch->irq.aia.hart_bits, bits[i]);
		/* One group, and no guest files of the guest's own: their defaults. */
		ck_assert(!has(IMSICS, "riscv,guest-index-bits"));
		ck_assert(!has(IMSICS, "riscv,group-index-bits"));
		files_of(cpus[i]);
	}
}
END_TEST

START_TEST(aplic)
{
	create(2, TRANSPORT_AUTO);
	ck_assert(is(APLIC, "riscv,aplic") && is(APLIC, "qemu,aplic"));
	ck_assert_uint_eq(cell(APLIC, "reg", 1), 0x0d000000);
	ck_assert_uint_eq(cell(APLIC, "reg", 3), 0x4000);
	ck_assert(has(APLIC, "interrupt-controller"));
	ck_assert_uint_eq(cell(APLIC, "#interrupt-cells", 0), 2);
	ck_assert_uint_eq(cell(APLIC, "#address-cells", 0), 0);
	ck_assert_uint_eq(cell(APLIC, "riscv,num-sources", 0), rig.vm->arch->irq.aia.sources);
	/* Its wires become messages, which is what KVM's can do. */
	ck_assert_uint_eq(cell(APLIC, "msi-parent", 0), cell(IMSICS, "phandle", 0));
	ck_assert(!has(APLIC, "interrupts-extended"));
	ck_assert_int_lt(fdt_path_offset(tree, "/soc/interrupt-controller@c000000"), 0);
}
END_TEST

START_TEST(devices)
{
	int nr, row;

	create(2, TRANSPORT_AUTO);
	ck_assert_uint_eq(cell(SERIAL, "interrupt-parent", 0), cell(APLIC, "phandle", 0));
	cells(SERIAL, "interrupts", &nr);
	ck_assert_int_eq(nr, 2);
	ck_assert_uint_eq(cell(SERIAL, "interrupts", 1), LEVEL_HIGH);
	ck_assert_uint_eq(cell(PCI, "msi-parent", 0), cell(IMSICS, "phandle", 0));
	/* Function and pin, the chip, its source, and high. */
	cells(PCI, "interrupt-map", &nr);
	ck_assert_int_gt(nr, 0);
	ck_assert_int_eq(nr % 7, 0);
	for (row = 0; row < nr; row += 7) {
		ck_assert_uint_eq(cell(PCI, "interrupt-map", row + 4), cell(APLIC, "phandle", 0));
		ck_assert_uint_le(cell(PCI, "interrupt-map", row + 5),
				  cell(APLIC, "riscv,num-sources", 0));
		ck_assert_uint_eq(cell(PCI, "interrupt-map", row + 6), LEVEL_HIGH);
	}
	create(2, TRANSPORT_MMIO);
	ck_assert_int_lt(fdt_path_offset(tree, PCI), 0);
	nr = fdt_node_offset_by_compatible(tree, -1, "virtio,mmio");
	ck_assert_int_gt(nr, 0);
	ck_assert_ptr_nonnull(fdt_getprop(tree, nr, "interrupts", &row));
	ck_assert_int_eq(row, 8);
}
END_TEST

/* Harts say that they have the registers. */
START_TEST(harts)
{
	create(1, TRANSPORT_AUTO);
	ck_assert_int_ge(fdt_stringlist_search(tree, fdt_path_offset(tree, "/cpus/cpu@0"),
					       "riscv,isa-extensions", "ssaia"),
			 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("aia_tree");
	TCase *tc = tcase_create("aia_tree");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, imsics);
	tcase_add_test(tc, aplic);
	tcase_add_test(tc, devices);
	tcase_add_test(tc, harts);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
