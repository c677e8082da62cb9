// SPDX-License-Identifier: GPL-2.0-only
/*
 * The PCI host of the machine, which is there when a device sits behind it.
 *
 *   0x30000000  configuration space (ECAM), one bus
 *   0x40000000  window for 32-bit BARs, up to RAM
 *   above RAM   window for large 64-bit BARs (riscv/layout.c), where addresses reach
 *
 * The places below RAM are those of QEMU's virt machine. The guest assigns the BARs:
 * at power-on there are none. INTA to INTD of slot 0 are interrupt sources 32 to 35, the
 * other slots are swizzled over them; the device tree's interrupt map says so for
 * slots 0 to 3, and its mask that it repeats (IEEE 1275 PCI binding, Linux binding
 * pci/host-generic-pci). Only a machine whose interrupt chip takes messages tells of an
 * MSI parent; without, guests use the pins.
 *
 * Thread and lock: building is before the guest; then as hw/pci_host.c. What is saved:
 * the host, as a row of the machine.
 */
#include "machine.h"

#include "lkvm/hw/pci.h"

#include <stdio.h>
#include <string.h>

#define MAP_PCI_ECAM UINT64_C(0x30000000)
#define MAP_PCI_WINDOW UINT64_C(0x40000000)

/*
 * The first cell of a child address in ranges: which space. The upper one is for large
 * memory without side effects; Linux wants no other window above 4 GiB.
 */
#define RANGE_32 0x02000000u
#define RANGE_64 0x43000000u

static uint32_t high(uint64_t v)
{
	return (uint32_t)(v >> 32);
}

static size_t put_range(uint32_t *cells, uint32_t space, gpa_t base, uint64_t size)
{
	/* The same address on the bus and for the CPU. */
	const uint32_t range[] = {space,	  high(base), (uint32_t)base, high(base),
				  (uint32_t)base, high(size), (uint32_t)size};

	memcpy(cells, range, sizeof(range));
	return ARRAY_SIZE(range);
}

static void describe_ranges(struct fdt_builder *b, const struct arch_vm *a)
{
	const struct layout_region *wide = &a->map.pci64;
	uint32_t cells[14];
	size_t n;

	n = put_range(cells, RANGE_32, MAP_PCI_WINDOW, LAYOUT_RAM_BASE - MAP_PCI_WINDOW);
	if (wide->size)
		n += put_range(cells + n, RANGE_64, wide->gpa, wide->size);
	fdt_prop_cells(b, "ranges", cells, n);
}

/* Each row: the slot's address, the pin, the chip, and the chip's words for the source. */
static void describe_interrupts(struct fdt_builder *b, const struct arch_vm *a)
{
	static const uint32_t mask[] = {(PCI_PINS - 1) << 11, 0, 0, 7};
	uint32_t cells[PCI_PINS * PCI_PINS * (5 + MACHINE_IRQ_CELLS)];
	unsigned int slot, pin;
	size_t n = 0;

	for (slot = 0; slot < PCI_PINS; slot++) {
		for (pin = 1; pin <= PCI_PINS; pin++) {
			cells[n++] = slot << 11;
			cells[n++] = 0;
			cells[n++] = 0;
			cells[n++] = pin;
			cells[n++] = FDT_PHANDLE_IRQCHIP;
			n += machine_irq_cells(a, IRQ_PCI + pci_line(slot, pin), cells + n);
		}
	}
	fdt_prop_u32(b, "#interrupt-cells", 1);
	fdt_prop_cells(b, "interrupt-map-mask", mask, ARRAY_SIZE(mask));
	fdt_prop_cells(b, "interrupt-map", cells, n);
	if (a->msi)
		fdt_prop_u32(b, "msi-parent", FDT_PHANDLE_MSI);
}

static void describe_host(struct fdt_builder *b, const struct arch_vm *a,
			  const struct machine_device *d)
{
	static const uint32_t buses[] = {0, 0};

	fdt_node_begin_at(b, "pci", d->base);
	fdt_prop_string(b, "compatible", "pci-host-ecam-generic");
	fdt_prop_string(b, "device_type", "pci");
	fdt_prop_u32(b, "#address-cells", 3);
	fdt_prop_u32(b, "#size-cells", 2);
	fdt_prop_reg(b, d->base, d->size);
	fdt_prop_cells(b, "bus-range", buses, ARRAY_SIZE(buses));
	fdt_prop_u32(b, "linux,pci-domain", 0);
	fdt_prop_empty(b, "dma-coherent");
	describe_ranges(b, a);
	describe_interrupts(b, a);
	fdt_node_end(b);
}

static int add_window(struct arch_vm *a, struct pci_host *host, unsigned int index, gpa_t base,
		      uint64_t size, struct error *err)
{
	struct mmio_region region = {.name = "PCI window",
				     .base = base,
				     .size = size,
				     .ops = &pci_window_ops,
				     .dev = pci_host_window(host, index)};
	int ret = bus_add(&a->vm->bus, &region);

	return ret ? fail_errno(err, -ret, "a PCI window does not fit at 0x%llx",
				(unsigned long long)base)
		   : 0;
}

static void remove_windows(struct arch_vm *a)
{
	bus_remove(&a->vm->bus, MAP_PCI_WINDOW);
	if (a->map.pci64.size)
		bus_remove(&a->vm->bus, a->map.pci64.gpa);
}

struct pci_host *machine_pci(struct arch_vm *a, struct error *err)
{
	struct pci_host_config config = {.name = "pci0", .log = a->vm->log};
	struct machine_device row = {
		.describe = describe_host, .base = MAP_PCI_ECAM, .size = PCI_ECAM_WINDOW};
	struct pci_host *host;
	unsigned int i;

	if (a->pci)
		return a->pci;
	config.windows[0].base = MAP_PCI_WINDOW;
	config.windows[0].size = LAYOUT_RAM_BASE - MAP_PCI_WINDOW;
	config.windows[1].base = a->map.pci64.gpa;
	config.windows[1].size = a->map.pci64.size;
	for (i = 0; i < PCI_PINS; i++)
		config.lines[i] = machine_irq(a, IRQ_PCI + i);
	host = pci_host_create(&config);
	if (!host) {
		fail(err, "no memory for the PCI host");
		return NULL;
	}
	row.device = pci_host_device(host);
	if (add_window(a, host, 0, config.windows[0].base, config.windows[0].size, err) ||
	    (config.windows[1].size &&
	     add_window(a, host, 1, config.windows[1].base, config.windows[1].size, err)) ||
	    machine_add(a, &row, &pci_ecam_ops, host, err)) {
		remove_windows(a);
		row.device->ops->destroy(row.device);
		return NULL;
	}
	a->pci = host;
	return host;
}

uint32_t machine_pci_irq(const struct pci_function *fn)
{
	return IRQ_PCI + pci_line(fn->devfn / PCI_FUNCTIONS, pci_get(fn, PCI_INTERRUPT_PIN, 1));
}

void machine_pci_finish(struct arch_vm *a)
{
	if (a->pci)
		remove_windows(a);
	a->pci = NULL;
}

void machine_pci_print(const struct arch_vm *a, FILE *out)
{
	char size[32];

	if (a->pci)
		fprintf(out, "  0x%012llx %8s  window for 32-bit PCI\n",
			(unsigned long long)MAP_PCI_WINDOW,
			format_size(size, sizeof(size), LAYOUT_RAM_BASE - MAP_PCI_WINDOW));
	if (a->map.pci64.size)
		fprintf(out, "  0x%012llx %8s  %s 64-bit PCI\n",
			(unsigned long long)a->map.pci64.gpa,
			format_size(size, sizeof(size), a->map.pci64.size),
			a->pci ? "window for" : "kept free for");
}
