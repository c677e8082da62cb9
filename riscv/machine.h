/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of riscv/ share about one VM: struct arch_vm, the architecture's
 * part of struct vm. Private to this folder.
 */
#ifndef RISCV_MACHINE_H
#define RISCV_MACHINE_H

#include "lkvm/device.h"
#include "lkvm/hw/generation.h"
#include "lkvm/hw/pci.h"
#include "lkvm/hw/rtc.h"
#include "lkvm/hw/serial.h"
#include "lkvm/irq.h"
#include "lkvm/msi.h"
#include "lkvm/riscv/aia.h"
#include "lkvm/riscv/boot.h"
#include "lkvm/riscv/config.h"
#include "lkvm/riscv/fdt.h"
#include "lkvm/riscv/isa.h"
#include "lkvm/riscv/msi_table.h"
#include "lkvm/riscv/plic.h"
#include "lkvm/riscv/sbi.h"
#include "lkvm/virtio/console.h"
#include "lkvm/vm.h"

#include <stdio.h>

#define MACHINE_MAX_DEVICES 80

/* Wires to the interrupt chip, 1 to this. */
#define MACHINE_SOURCES 127u
#define IRQ_PCI 32u    /* and three more, for the four pins */
#define IRQ_VIRTIO 40u /* behind virtio-mmio: this one and on */

struct arch_vm;
struct machine_state;
struct machine_virtio;
struct virtio_device;

/**
 * struct machine_device - one row of the machine, with what was built from it
 * @device: for the life cycle
 * @describe: adds its node below /soc, or NULL
 * @in_kernel: its window is KVM's, not the bus's
 * @base, @size: its window
 * @function: or else it is this function on the PCI bus
 * @irq: its interrupt source, 0 for none
 * @vectors: MSI-X vectors, where there is somebody who takes messages
 */
struct machine_device {
	struct device *device;
	void (*describe)(struct fdt_builder *b, const struct arch_vm *a,
			 const struct machine_device *d);
	gpa_t base;
	uint64_t size;
	struct pci_function *function;
	bool in_kernel;
	uint32_t irq;
	unsigned int vectors;
};

/**
 * struct hart - what is remembered of a hart beside KVM (harts.c)
 * @seen: it came to user space since KVM last reset it, as far as lkvm knows (its own
 *        thread writes)
 * @gone: it was seen, and the guest has stopped it
 * @left: where it stood when it fell asleep: KVM has not reset it yet while it stands there
 *        (own thread)
 */
struct hart {
	_Atomic bool seen, gone;
	uint64_t left;
};

/**
 * struct machine_irqchip - the chip that lines and messages go to (irqchip.c)
 * @chip, @sink: what devices hold
 * @plic: the one in user space; NULL where the kernel's AIA is used
 * @aia: the one in the kernel
 * @try_aia: it is to be used, or is
 * @why_plic: what kept the AIA from being had, where that was looked at; "" else
 * @dev: its place in the machine's table
 * @wires: which of the first 64 somebody has
 * @levels: of the wires to it; @raised: how often each rose
 * @messages: what devices may send; @sent: how many of them lkvm sent
 */
struct machine_irqchip {
	struct irq_chip chip;
	struct msi_sink sink;
	struct arch_vm *a;
	struct plic *plic;
	struct aia aia;
	bool try_aia, built;
	struct error why_plic;
	struct device dev;
	uint64_t wires;
	_Atomic uint64_t levels[2], raised[MACHINE_SOURCES + 1], sent;
	struct msi_table messages;
	struct ratelimit complaints;
};

#define CONSOLE_BUFFER 1024

/**
 * struct machine_console - the guest's consoles, and who gets input
 * @virtio: the virtio console where there is one; it belongs to its transport
 * @host: our side of it
 * @flush: sends the serial port's burst a moment after its first byte
 * @feed: moves what waits in @buf into the serial port
 * @lock: guards @buf
 * @buf, @head, @len: input that waits: for an SBI read, or for a guest that it woke
 */
struct machine_console {
	struct serial *serial;
	struct virtio_console *virtio;
	struct virtio_console_host host;
	struct loop_timer flush;
	struct loop_work feed;
	pthread_mutex_t lock;
	uint8_t buf[CONSOLE_BUFFER];
	size_t head, len;
};

/**
 * struct arch_vm - the RISC-V side of a VM
 * @isa_request: what @cfg says of extensions, and what the console adds
 * @map: where RAM and the PCI window lie
 * @hgatp_host, @hgatp: what the host offers, and what was settled
 * @satp_mode: the widest first-stage mode the guest is told of
 * @kernel, @initrd: opened when the VM was created, read again at each reset
 * @devices: the machine's table, in order
 * @virtio, @nr_virtio: those of them that are virtio devices (virtio.c)
 * @pci: the PCI host, or NULL
 * @msi: what takes devices' messages, or NULL
 * @bootargs: the kernel command line that results, or NULL
 * @isa: decided on the first vCPU, once
 * @harts, @hart_watch, @hart_wait, @old_guest: see harts.c
 * @wake_check: looks for a reason to end a suspend at once
 * @state: what a loaded VM is held by, or NULL (state.c)
 * @sleeper: the hart that suspended the guest to RAM; @sleep_in_kvm: KVM holds back the
 *           reset that it wakes up by
 */
struct arch_vm {
	struct vm *vm;
	const struct arch_config *cfg;
	struct isa_request isa_request;
	struct layout map;
	struct hgatp_host hgatp_host;
	struct hgatp hgatp;
	unsigned int satp_mode;
	struct boot_source kernel, initrd;
	bool firmware;
	struct machine_device devices[MACHINE_MAX_DEVICES];
	size_t nr_devices;
	struct machine_virtio *virtio;
	size_t nr_virtio;
	struct pci_host *pci;
	struct msi_sink *msi;
	struct machine_irqchip irq;
	struct rtc *rtc;
	struct generation *generation;
	struct loop_timer rtc_timer;
	struct machine_console console;
	char *bootargs;
	struct isa isa;
	bool isa_decided;
	struct boot_layout layout;
	struct sbi_env sbi;
	struct hart *harts;
	struct loop_timer hart_watch;
	_Atomic uint64_t hart_wait;
	_Atomic bool old_guest;
	struct loop_work wake_check;
	bool dumped;
	struct machine_state *state;
	unsigned int sleeper;
	bool sleep_in_kvm;
};

/**
 * machine_irqchip_build() - the first row of the machine
 * machine_irqchip_reset() - devices are reset, the KVM VM is about to go
 * machine_irqchip_finish() - after the devices
 * machine_irqchip_print() - for --dry-run
 * machine_identities() - by how many interrupts a hart can be reached; the chip is certain
 * machine_other_identities() - how many of them what is no virtio device takes, PCI's four pins
 *                              not among them; devices are built
 * machine_has_aia() - is the kernel's AIA used, or about to be?
 * machine_is_plic_threshold() - is a hart's PLIC threshold at @gpa?
 */
int machine_irqchip_build(struct arch_vm *a, struct error *err);
void machine_irqchip_reset(struct arch_vm *a);
void machine_irqchip_finish(struct arch_vm *a);
void machine_irqchip_print(const struct arch_vm *a, FILE *out);
uint32_t machine_other_identities(const struct arch_vm *a);
uint32_t machine_identities(const struct arch_vm *a);
bool machine_has_aia(const struct arch_vm *a);
bool machine_is_plic_threshold(const struct arch_vm *a, gpa_t gpa);

/**
 * machine_harts_init() / machine_harts_finish() - before and after vCPUs exist
 * machine_hart_fresh() - a vCPU was made
 */
void machine_harts_init(struct arch_vm *a);
void machine_harts_finish(struct arch_vm *a);
void machine_hart_fresh(struct arch_vm *a, struct vcpu *vcpu);

/**
 * machine_state_free() - forget what a loaded VM was held by
 */
void machine_state_free(struct arch_vm *a);

/**
 * machine_irq() - the wire to interrupt source @source of the machine's chip
 */
struct irq_line machine_irq(struct arch_vm *a, uint32_t source);

/* The most that machine_irq_cells() makes. */
#define MACHINE_IRQ_CELLS 2

/**
 * machine_irq_cells() - how the chip's device tree binding spells source @irq, which is
 * level triggered
 *
 * Return: how many of @cells it took.
 */
size_t machine_irq_cells(const struct arch_vm *a, uint32_t irq, uint32_t *cells);

/**
 * machine_describe_irq() - the interrupt properties of a node whose source is @irq
 */
void machine_describe_irq(struct fdt_builder *b, const struct arch_vm *a, uint32_t irq);

/**
 * machine_add() - one more row for the machine: on the bus, in the life cycle
 * @row: copied; @ops, @opaque: what answers in its window
 *
 * Return: 0, or -1 with @err set; then the device stays the caller's.
 */
int machine_add(struct arch_vm *a, const struct machine_device *row, const struct mmio_ops *ops,
		void *opaque, struct error *err);

/**
 * machine_virtio_shares_memory() - will one of them give RAM to another process?
 * machine_virtio_build() - the virtio devices that were asked for, behind nothing yet
 * machine_virtio_interrupts() - the most interrupts that they may have, vectors or wires
 * machine_virtio_attach() - put them behind their transports; the interrupt chip is
 * certain. Nothing where that was done before.
 * machine_virtio_flush() - the guest has ended: hand on what it gave (loop thread)
 * machine_virtio_finish() - what must end before the devices are destroyed
 * machine_virtio_find() - by name ("disk0"), or NULL
 */
bool machine_virtio_shares_memory(const struct arch_vm *a);
int machine_virtio_build(struct arch_vm *a, struct error *err);
uint32_t machine_virtio_interrupts(const struct arch_vm *a);
int machine_virtio_attach(struct arch_vm *a, struct error *err);
void machine_virtio_flush(struct arch_vm *a);
void machine_virtio_finish(struct arch_vm *a);
struct virtio_device *machine_virtio_find(struct arch_vm *a, const char *name);

/**
 * machine_pci() - the PCI host, built by the first who asks; NULL with @err set
 * machine_pci_irq() - the interrupt source that a function's pin drives
 * machine_pci_finish() - take its windows off the bus
 * machine_pci_print() - its windows, or where there is room for one, for --dry-run
 */
struct pci_host *machine_pci(struct arch_vm *a, struct error *err);
uint32_t machine_pci_irq(const struct pci_function *fn);
void machine_pci_finish(struct arch_vm *a);
void machine_pci_print(const struct arch_vm *a, FILE *out);

/**
 * machine_console_build() - the serial port, the SBI console, and their way out
 *
 * Return: the serial port's device, or NULL with @err set.
 */
struct device *machine_console_build(struct arch_vm *a, struct irq_line irq, struct error *err);

/**
 * machine_console_connect() - open the guest's console; all devices exist
 */
int machine_console_connect(struct arch_vm *a, struct error *err);

/**
 * machine_console_flush() - hand over what the serial port gathers (loop thread)
 * @patient: as guest_console_flush()
 *
 * Return: 0, or about how many bytes the reader did not take.
 */
size_t machine_console_flush(struct arch_vm *a, bool patient);

/**
 * machine_console_finish() - hand over what waits and close
 */
void machine_console_finish(struct arch_vm *a);

/**
 * machine_console_watch() - the guest sleeps: input is to wake it (loop thread)
 */
void machine_console_watch(struct arch_vm *a);

/**
 * machine_console_resized() - tell the guest how large the terminal is (loop thread)
 */
void machine_console_resized(struct arch_vm *a);

/* For struct sbi_env; opaque is the arch_vm. */
size_t machine_console_put(void *opaque, const uint8_t *buf, size_t len);
size_t machine_console_get(void *opaque, uint8_t *buf, size_t len);

/**
 * machine_console_has_input() - does input wait that the guest has not read?
 */
bool machine_console_has_input(struct arch_vm *a);

#endif /* RISCV_MACHINE_H */
