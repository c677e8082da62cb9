/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the bare-metal guests are written in: text out and power-off by SBI calls,
 * the few things they want from the device tree, and page tables.
 *
 * No interrupts, no C library; addresses are physical ones, and where
 * translation is on, the map is the identity.
 */
#ifndef LKVM_GUEST_GUEST_H
#define LKVM_GUEST_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MIB (UINT64_C(1) << 20)
#define PAGE_SIZE UINT64_C(4096)

#define GUEST_MAX_RAM 16
#define GUEST_MAX_VIRTIO 64

struct guest_region {
	uint64_t base, size;
};

/**
 * struct guest - what the device tree says
 * @bootargs: command line, empty where there is none
 * @timebase: ticks of the time CSR in a second
 * @sstc: the hart has a timer of its own, the stimecmp CSR
 * @ram, @nr_ram: memory nodes, in the tree's order
 * @virtio, @nr_virtio: virtio-mmio windows
 * @ecam: PCI configuration space of bus 0; base 0 where there is no PCI
 * @pci_mem: the window for 32-bit BARs
 * @plic, @serial: their registers
 * @free: first byte behind this program and the device tree, in whole 2 MiB
 */
struct guest {
	const char *bootargs;
	uint64_t timebase;
	bool sstc;
	struct guest_region ram[GUEST_MAX_RAM];
	size_t nr_ram;
	uint64_t virtio[GUEST_MAX_VIRTIO];
	size_t nr_virtio;
	struct guest_region ecam, pci_mem;
	uint64_t plic, serial;
	uint64_t free;
};

/**
 * guest_main() - the guest itself; the VM is powered off when it returns
 *
 * Return: did it go well? Otherwise the reset reason is "system failure".
 */
bool guest_main(const struct guest *guest);

/* Called by start.S. */
void guest_start(uint64_t hart, uint64_t fdt);
void guest_trap(uint64_t cause, uint64_t pc, uint64_t value);

/**
 * print() - text with %s, %u (uint64_t) and %x (uint64_t, with 0x)
 */
void print(const char *fmt, ...);

/**
 * option() - the value of NAME=VALUE among the words of the command line
 * @buf: receives it, cut to @len - 1 bytes
 *
 * Return: is it there?
 */
bool option(const struct guest *guest, const char *name, char *buf, size_t len);

/**
 * option_number() - the same for a decimal number, or @otherwise
 */
uint64_t option_number(const struct guest *guest, const char *name, uint64_t otherwise);

bool same(const char *a, const char *b);

/**
 * read_line() - wait for a line from the console, asleep between looks
 * @buf: receives it without its end, cut to @len - 1 bytes
 */
void read_line(const struct guest *guest, char *buf, size_t len);

/**
 * sbi() - any SBI call; the first result is in *@value where that is not NULL
 *
 * Return: the error, 0 where all went well.
 */
long sbi(uint64_t extension, uint64_t function, uint64_t arg0, uint64_t arg1, uint64_t arg2,
	 uint64_t *value);

/**
 * start_hart() - have another hart call @entry(@arg) on a stack of its own
 * @stack: its upper end
 *
 * Return: false where there is no such hart. It stays; there is no way to stop it.
 */
bool start_hart(uint64_t hart, void (*entry)(void *arg), void *arg, void *stack);

/**
 * struct tables - room for page tables
 * @next, @end: what is left
 */
struct tables {
	uint64_t next, end;
};

/**
 * map_identity() - page tables for [start, end), readable, writable, executable
 * @levels: 3, 4 or 5: Sv39, Sv48, Sv57
 * @leaf: level of the leaves: 0 for 4 KiB pages, 1 for 2 MiB
 *
 * Return: the root table; 0 where there is no room.
 */
uint64_t map_identity(struct tables *tables, uint64_t start, uint64_t end, unsigned int levels,
		      unsigned int leaf);

/**
 * set_satp() - switch translation; @levels 0 turns it off
 *
 * Return: does the hart have that mode? If not, nothing has changed.
 */
bool set_satp(uint64_t root, unsigned int levels);

static inline uint64_t read_time(void)
{
	uint64_t t;

	__asm__ volatile("rdtime %0" : "=r"(t)::"memory");
	return t;
}

#endif /* LKVM_GUEST_GUEST_H */
