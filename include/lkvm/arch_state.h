/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The rest of the contract between core and architecture (arch.h): taking a paused VM's
 * state out, and making a VM that goes on from one. Order of calls:
 *
 *   saving    arch_state_obstacles, (vm_pause), arch_hart_starting until none is,
 *             arch_quiet(true), arch_save, arch_quiet(false)
 *   loading   arch_load_config before the VM is made; then in place of a boot
 *             arch_load_vcpus (none has run), arch_load_state (memory is there, devices
 *             are active), arch_go just before they run
 *
 * All on the loop's thread with the vCPUs parked or not started. What a file says was
 * written by anybody: nothing is taken that a guest could not have made.
 */
#ifndef LKVM_ARCH_STATE_H
#define LKVM_ARCH_STATE_H

#include "lkvm/snapshot/diff.h"
#include "lkvm/snapshot/format.h"
#include "lkvm/snapshot/reasons.h"
#include "lkvm/vm.h"

#include <stdio.h>

struct arch_config;

/**
 * arch_state_obstacles() - why the VM can't be saved now; adds to @why
 */
void arch_state_obstacles(struct vm *vm, struct reasons *why);

/**
 * arch_state_losses() - what of the guest's state KVM gives to nobody; adds to @why
 */
void arch_state_losses(struct vm *vm, struct reasons *why);

/**
 * arch_hart_starting() - may KVM still hold back the registers that the hart starts with?
 */
bool arch_hart_starting(struct vcpu *vcpu);

/**
 * arch_quiet() - devices stop (from the last to the first) or go on (from the first)
 *
 * Stopped, they have nothing in flight and touch neither guest memory nor wires.
 */
void arch_quiet(struct vm *vm, bool quiet);

/**
 * arch_save() - vCPUs, devices and all else but RAM, as sections of @w
 *
 * Return: 0, or -1 with @err naming the part.
 */
int arch_save(struct vm *vm, struct snapshot_writer *w, struct error *err);

/**
 * struct arch_saved - the architecture's part of a snapshot's configuration
 */
struct arch_saved;

/**
 * arch_saved_read() - that part out of a file; arch_saved_free()
 *
 * Return: it, or NULL with @err set.
 */
struct arch_saved *arch_saved_read(const struct snapshot_file *f, struct error *err);
void arch_saved_free(struct arch_saved *s);

/**
 * arch_saved_apply() - ask for the same machine in @cfg, whose strings live as long as @s
 */
void arch_saved_apply(const struct arch_saved *s, struct arch_config *cfg);

/**
 * arch_saved_print() - it, for people
 */
void arch_saved_print(const struct arch_saved *s, FILE *out);

/**
 * arch_saved_json() - it, for programs: a new object of jansson's, or NULL without memory
 */
struct json_t *arch_saved_json(const struct arch_saved *s);

/**
 * arch_saved_diff() - in what two machines differ
 */
void arch_saved_diff(const struct arch_saved *a, const struct arch_saved *b,
		     struct diff_sink *sink);

/**
 * arch_section_diff() - in what section @name, which both have, differs
 *
 * Return: 0; 1: it is none of the architecture's; -1 with @err set.
 */
int arch_section_diff(const struct snapshot_file *a, const struct snapshot_file *b,
		      const char *name, struct diff_sink *sink, struct error *err);

/**
 * arch_host_check() - can this host take the VM in @f? By a vCPU that is thrown away
 * @cfg: what the VM was: vCPUs, RAM
 *
 * Adds every reason against it to @why. Return: 0, or -1 with @err set where there is no
 * usable KVM or the file is damaged.
 */
int arch_host_check(const struct snapshot_file *f, const struct arch_saved *s,
		    const struct vm_config *cfg, struct kvm_sys sys, struct reasons *why,
		    struct error *err);

/**
 * arch_load_vcpus() - what the vCPUs are, before the kernel's interrupt chip exists
 */
int arch_load_vcpus(struct vm *vm, const struct snapshot_file *f, struct error *err);

/**
 * arch_load_state() - the vCPUs' state and the devices'; from here the VM is held: quiet,
 * and its clock stands, until arch_go()
 */
int arch_load_state(struct vm *vm, const struct snapshot_file *f, struct error *err);

/**
 * arch_go() - a VM that is held goes on; nothing for any other
 *
 * Return: 0, or -1 with @err set.
 */
int arch_go(struct vm *vm, struct error *err);

/**
 * arch_held() - is it?
 */
bool arch_held(const struct vm *vm);

/**
 * arch_writes_unseen() - may harts write into memory by themselves, so that KVM takes it for loads?
 *
 * Such a write into a page that the host has not made the VM's own is tried for ever. Of a VM
 * whose vCPUs are configured.
 */
bool arch_writes_unseen(const struct vm *vm);

#endif /* LKVM_ARCH_STATE_H */
