/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the bare-metal guests are written in: text out and power-off by SBI calls,
 * the few things they want from the device tree, and page tables.
 *
 * No C library; interrupts are off, unless the program sets its own stvec; addresses are physical
 * ones, and where translation is on, the map is the identity.
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
#define GUEST_PCI_PINS 4

struct guest_region {
	uint64_t base, size;
};

/**
 * struct guest - what the device tree says
 * @bootargs: command line, empty where there is none
 * @timebase: ticks of the time CSR in a second
 * @nr_harts: CPUs; their numbers are 0 and up
 * @sstc: the hart has a timer of its own, the stimecmp CSR
 * @vector: it has vector registers
 * @ram, @nr_ram: memory nodes, in the tree's order
 * @virtio, @virtio_irq, @nr_virtio: virtio-mmio windows and their interrupt sources
 * @ecam: PCI configuration space of bus 0; base 0 where there is no PCI
 * @pci_mem: the window for 32-bit BARs
 * @pci_irq: interrupt source of INTA of slot n % 4, as the interrupt map has it
 * @plic, @serial, @serial_irq: their registers, the serial port's interrupt source
 * @aplic, @imsic: registers of the AIA; 0 where there is none
 * @nr_ids: interrupt identities of an IMSIC
 * @free: first byte behind this program and the device tree, in whole 2 MiB
 */
struct guest {
	const char *bootargs;
	uint64_t timebase;
	unsigned int nr_harts;
	bool sstc, vector;
	struct guest_region ram[GUEST_MAX_RAM];
	size_t nr_ram;
	uint64_t virtio[GUEST_MAX_VIRTIO];
	uint32_t virtio_irq[GUEST_MAX_VIRTIO];
	size_t nr_virtio;
	struct guest_region ecam, pci_mem;
	uint32_t pci_irq[GUEST_PCI_PINS];
	uint64_t plic, serial;
	uint32_t serial_irq;
	uint64_t aplic, imsic;
	uint32_t nr_ids;
	uint64_t free;
};

/**
 * guest_main() - the guest itself; the VM is powered off when it returns
 *
 * Return: did it go well? Otherwise the reset reason is "system failure".
 */
bool guest_main(const struct guest *guest);

/**
 * guest_end() - power the VM off, as a return of guest_main() does
 * @good: otherwise the reset reason is "system failure"
 *
 * Returns only where the machine has no power-off.
 */
void guest_end(bool good);

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
 * set_timer() - have this hart's timer pending from @when on; UINT64_MAX: never
 */
void set_timer(const struct guest *guest, uint64_t when);

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

/* SBI extensions and functions. */
#define SBI_IPI 0x735049
#define SBI_HSM 0x48534d
#define HSM_START 0
#define HSM_STOP 1
#define HSM_STATUS 2
#define HSM_STATUS_STARTED 0
#define HSM_STATUS_STOPPED 1
#define HSM_STATUS_SUSPENDED 4
#define SBI_SUSP 0x53555350
#define SUSP_SYSTEM 0
#define SUSP_TO_RAM 0
#define SBI_ERR_INVALID_PARAM (-3)
#define SBI_ERR_ALREADY_AVAILABLE (-6)

/**
 * start_hart() - have another hart call @entry(@arg) on a stack of its own
 * @stack: its upper end
 *
 * Return: false where there is no such hart, or it runs. It runs until it calls stop_hart().
 */
bool start_hart(uint64_t hart, void (*entry)(void *arg), void *arg, void *stack);

/**
 * stop_hart() - stop the hart that calls this; start_hart() brings it back
 */
void stop_hart(void);

/**
 * suspend_to_ram() - have the whole machine sleep, until it is woken from outside
 * @entry, @arg, @stack: what this hart does then, as for start_hart(); its CSRs are as they
 *	are after that, and all other harts, which were stopped before, still are
 *
 * Return: only where it can't be done: the SBI error (SBI v2.0, 13.1).
 */
long suspend_to_ram(void (*entry)(void *arg), void *arg, void *stack);

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
