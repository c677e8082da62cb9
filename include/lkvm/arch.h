/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The contract between the core and the architecture: vmm/ calls these, riscv/
 * implements them. Order of calls for one VM:
 *
 *   arch_plan        a fresh KVM VM exists: decide modes and layout, once
 *   arch_kvm_setup   put the decisions into the KVM VM, before memslots and vCPUs
 *   arch_build       guest RAM and devices, once
 *   arch_vcpu_setup  all vCPUs exist, none has run: one call for each
 *   arch_irqchip     the kernel's interrupt chip, where there is one, and the first time
 *                    what depends on whether there is
 *   arch_boot        load the guest and set the boot vCPU's registers
 *   arch_start       connect the console: the vCPUs start next, once
 *   (vCPU threads run: arch_handle_exit, arch_mmio_done)
 *   arch_reset       devices back to power-on state, vCPUs gone or fresh
 *   arch_destroy
 *
 * A reset builds a new KVM VM: arch_reset, arch_kvm_setup, arch_vcpu_setup,
 * arch_irqchip, arch_boot run again. All but the two exit functions run on the loop's thread.
 * Each returns 0, or -1 with @err set.
 */
#ifndef LKVM_ARCH_H
#define LKVM_ARCH_H

#include "lkvm/stat.h"
#include "lkvm/util.h"
#include "lkvm/vcpu.h"

#include <stdio.h>

struct vm;

/**
 * arch_ram_base() - where RAM starts when the user does not say
 */
gpa_t arch_ram_base(void);

int arch_plan(struct vm *vm, struct error *err);
int arch_kvm_setup(struct vm *vm, struct error *err);
int arch_build(struct vm *vm, struct error *err);
int arch_vcpu_setup(struct vm *vm, struct vcpu *vcpu, struct error *err);
int arch_boot(struct vm *vm, struct error *err);

/**
 * arch_irqchip() - all vCPUs exist and are set up
 *
 * Return: 0; 1: it has changed its mind, start over with a new KVM VM; -1.
 */
int arch_irqchip(struct vm *vm, struct error *err);

int arch_start(struct vm *vm, struct error *err);
void arch_reset(struct vm *vm);
void arch_destroy(struct vm *vm);

/**
 * arch_flush() - hand over the guest's output that devices still gather (loop thread)
 */
void arch_flush(struct vm *vm);

/**
 * arch_window_changed() - the terminal that the console is may have another size (loop
 * thread, after arch_start())
 */
void arch_window_changed(struct vm *vm);

/**
 * arch_handle_exit() - an exit that only the architecture knows (vCPU thread)
 *
 * Return: what to do next; -1 where it does not know the exit either.
 */
int arch_handle_exit(struct vcpu *vcpu);

/**
 * arch_mmio_done() - the vCPU accessed @gpa by MMIO (vCPU thread)
 */
void arch_mmio_done(struct vcpu *vcpu, gpa_t gpa, bool write);

/**
 * arch_vcpu_kicked() - the vCPU left the guest because of a signal (vCPU thread)
 */
void arch_vcpu_kicked(struct vcpu *vcpu);

/**
 * arch_vcpu_wakes() - the vCPU, which suspended the guest, is about to go on from reset (vCPU
 * thread)
 */
void arch_vcpu_wakes(struct vcpu *vcpu);

/**
 * arch_vcpu_where() - "pc 0x… ra 0x… …" of a vCPU that is not running, for reports
 */
const char *arch_vcpu_where(struct vcpu *vcpu, char *buf, size_t len);

/**
 * arch_register_fn - is handed one register
 * @name: "sp", "sstatus"; lives as long as the call
 * @value: @size bytes, the least significant first
 */
typedef void (*arch_register_fn)(void *opaque, const char *name, const void *value, size_t size);

/**
 * arch_registers() - hand on the registers of a vCPU that is not running (loop thread)
 */
int arch_registers(struct vcpu *vcpu, arch_register_fn each, void *opaque, struct error *err);

/**
 * arch_vcpu_state() - "started", "stopped" (by its kernel) or "unknown"; not running
 */
const char *arch_vcpu_state(struct vcpu *vcpu);

/* Room for any of its sentences. */
#define ARCH_ENTRY_FAILURE_MAX 160

/**
 * arch_entry_failure() - what KVM_EXIT_FAIL_ENTRY means on this architecture, and what can be done
 *
 * Return: @buf, with one sentence. vCPU thread.
 */
const char *arch_entry_failure(struct vcpu *vcpu, char *buf, size_t len);

/**
 * arch_run_error() - what a failed KVM_RUN means on this architecture
 *
 * Return: a sentence, or NULL where errno says all there is.
 */
const char *arch_run_error(int errnum);

/**
 * arch_device_command() - a user's command for one device (loop thread)
 * @name: of the device ("disk0"); @words: the command with its arguments
 * @reply: one line, may become empty
 */
int arch_device_command(struct vm *vm, const char *name, const char *words, char *reply, size_t len,
			struct error *err);

/**
 * arch_power_button() - ask the guest to power off, by its power button (loop thread)
 *
 * Return: 0; -1 with @err set where it has none, or has no driver for it.
 */
int arch_power_button(struct vm *vm, struct error *err);

/**
 * arch_stat() - the VM's figures: vCPUs, interrupt chip, devices (loop thread)
 *
 * The VM may run meanwhile: each figure is right by itself.
 */
void arch_stat(struct vm *vm, const struct stat_sink *sink);

/**
 * arch_print_plan() - the resolved layout and interrupts, for --dry-run
 */
void arch_print_plan(struct vm *vm, FILE *out);

#endif /* LKVM_ARCH_H */
