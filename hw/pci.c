// SPDX-License-Identifier: GPL-2.0-only
/*
 * A PCI function's configuration space: PCI Local Bus Specification 3.0, chapter 6
 * (header type 0), with memory BARs of 32 and 64 bits and a list of capabilities.
 *
 * The space is 256 bytes and a mask that says which bits the guest can write;
 * everything else is read-only, so a write to what is not there is lost. A BAR's
 * address bits below its size can't be written, which is all that size probing
 * needs. The effects of a write, where it touched one:
 *
 *   command, memory bit   all BARs of the function appear or vanish
 *   command, bit 10       the interrupt pin is cut from, or put back to, its line
 *   a BAR while decoding  it moves (each half of a 64-bit one by itself)
 *
 * The status register's interrupt bit says whether the pin is asserted, cut or not.
 * No error is ever detected, so no bit of the status register needs clearing. There
 * is no I/O space, no expansion ROM, no extended configuration space.
 *
 * Where BARs lie, who wins where two overlap, and the lines are the host's
 * (hw/pci_host.c).
 *
 * Thread and lock: the host's configuration lock. What is saved: the whole space, as
 * part of the device that has the function; read-only bits must be the same, so that
 * a state is loaded only into the function it came from.
 */
#include "lkvm/hw/pci.h"

#include <string.h>

/* Memory decoding, bus master, interrupt disable. */
#define COMMAND_WRITABLE (PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE)

uint32_t pci_get(const struct pci_function *fn, unsigned int reg, unsigned int size)
{
	uint32_t value = 0;
	unsigned int i;

	for (i = 0; i < size; i++)
		value |= (uint32_t)fn->config[reg + i] << 8 * i;
	return value;
}

static void put_bytes(uint8_t *at, uint32_t value, unsigned int size)
{
	unsigned int i;

	for (i = 0; i < size; i++)
		at[i] = (uint8_t)(value >> 8 * i);
}

void pci_put(struct pci_function *fn, unsigned int reg, uint32_t value, unsigned int size)
{
	put_bytes(&fn->config[reg], value, size);
}

void pci_function_init(struct pci_function *fn, const struct pci_function_ops *ops,
		       const char *name, const struct pci_id *id)
{
	memset(fn, 0, sizeof(*fn));
	fn->ops = ops;
	fn->name = name;
	fn->next_cap = PCI_HEADER_SIZE;
	pci_put(fn, PCI_VENDOR_ID, id->vendor, 2);
	pci_put(fn, PCI_DEVICE_ID, id->device, 2);
	pci_put(fn, PCI_REVISION_ID, id->revision, 1);
	pci_put(fn, PCI_CLASS, id->class, 3);
	pci_put(fn, PCI_SUBSYSTEM_VENDOR_ID, id->subsystem_vendor, 2);
	pci_put(fn, PCI_SUBSYSTEM_ID, id->subsystem, 2);
	put_bytes(&fn->writable[PCI_COMMAND], COMMAND_WRITABLE, 2);
	fn->writable[PCI_INTERRUPT_LINE] = UINT8_MAX;
}

void pci_add_bar(struct pci_function *fn, unsigned int index, uint64_t size, bool wide)
{
	unsigned int reg = PCI_BAR0 + 4 * index;
	uint64_t mask = ~(size - 1);

	fn->bars[index] = (struct pci_bar){.size = size, .wide = wide};
	put_bytes(&fn->writable[reg], (uint32_t)mask, 4);
	if (wide) {
		pci_put(fn, reg, PCI_BAR_64, 4);
		put_bytes(&fn->writable[reg + 4], (uint32_t)(mask >> 32), 4);
	}
}

unsigned int pci_add_capability(struct pci_function *fn, uint8_t id, unsigned int size)
{
	unsigned int at = fn->next_cap;

	if (size > PCI_CONFIG_SIZE - at)
		return 0;
	fn->config[at] = id;
	/* The list ends where this one is 0. */
	fn->config[fn->last_cap ? fn->last_cap + 1 : PCI_CAPABILITIES] = (uint8_t)at;
	fn->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	fn->last_cap = at;
	fn->next_cap = (unsigned int)align_up(at + size, 4);
	return at;
}

bool pci_bar_decodes(const struct pci_function *fn, unsigned int bar, gpa_t *gpa)
{
	unsigned int reg = PCI_BAR0 + 4 * bar;

	if (!fn->bars[bar].size || !(pci_command(fn) & PCI_COMMAND_MEMORY))
		return false;
	*gpa = pci_get(fn, reg, 4);
	if (fn->bars[bar].wide)
		*gpa |= (uint64_t)pci_get(fn, reg + 4, 4) << 32;
	/* What is below the address are type bits. */
	*gpa &= ~(fn->bars[bar].size - 1);
	return true;
}

uint32_t pci_config_read(struct pci_function *fn, unsigned int reg, unsigned int size)
{
	uint32_t value;

	if (fn->ops->config_read)
		fn->ops->config_read(fn, reg, size);
	value = pci_get(fn, reg, size);
	if (pci_touches(reg, size, PCI_STATUS, 1) && pci_host_intx_state(fn))
		value |= (uint32_t)PCI_STATUS_INTERRUPT << 8 * (PCI_STATUS - reg);
	return value;
}

void pci_config_write(struct pci_function *fn, unsigned int reg, uint32_t value, unsigned int size)
{
	uint16_t before = pci_command(fn), changed;
	bool bars = pci_touches(reg, size, PCI_BAR0, 4 * PCI_BARS);
	unsigned int i;

	for (i = 0; i < size; i++) {
		uint8_t mask = fn->writable[reg + i];

		fn->config[reg + i] =
			(uint8_t)((fn->config[reg + i] & ~mask) | (value >> 8 * i & mask));
	}
	changed = before ^ pci_command(fn);
	if (changed & PCI_COMMAND_MEMORY || (bars && before & PCI_COMMAND_MEMORY))
		pci_host_remap(fn->host);
	if (changed & PCI_COMMAND_INTX_DISABLE)
		pci_host_disable_intx(fn, pci_command(fn) & PCI_COMMAND_INTX_DISABLE);
	if (fn->ops->config_written)
		fn->ops->config_written(fn, reg, size);
}

void pci_function_reset(struct pci_function *fn)
{
	pci_host_lock(fn->host);
	memcpy(fn->config, fn->power_on, sizeof(fn->config));
	pci_host_remap(fn->host);
	pci_host_disable_intx(fn, false);
	pci_host_unlock(fn->host);
}

void pci_function_transfer(struct pci_function *fn, struct xfer *x, uint8_t *config)
{
	unsigned int i;

	memcpy(config, fn->config, PCI_CONFIG_SIZE);
	xfer_bytes(x, config, PCI_CONFIG_SIZE);
	for (i = 0; i < PCI_CONFIG_SIZE; i++)
		xfer_check(x, !((config[i] ^ fn->config[i]) & ~fn->writable[i]),
			   "PCI: the configuration space of another function");
}

void pci_function_load(struct pci_function *fn, const uint8_t *config, bool intx)
{
	pci_host_lock(fn->host);
	memcpy(fn->config, config, sizeof(fn->config));
	pci_host_remap(fn->host);
	pci_host_load_intx(fn, intx, pci_command(fn) & PCI_COMMAND_INTX_DISABLE);
	pci_host_unlock(fn->host);
}
