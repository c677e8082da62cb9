/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A vCPU: its thread, and the answer to each exit.
 *
 * The thread loops over KVM_RUN. Before each run it looks at the VM's gate; when
 * the gate is closed it first lets KVM finish the exit it was in (KVM_RUN with
 * immediate_exit), then parks. A kick is a signal whose handler sets
 * immediate_exit, so that it is not lost between the look and the ioctl.
 */
#ifndef LKVM_VCPU_H
#define LKVM_VCPU_H

#include "lkvm/kvm.h"

#include <pthread.h>
#include <stdatomic.h>

struct vm;

/**
 * enum vcpu_next - what a vCPU thread does after an exit
 */
enum vcpu_next {
	VCPU_RUN,     /* re-enter the guest */
	VCPU_SUSPEND, /* the guest suspended to RAM: wait for vm_wake() first */
	VCPU_PARK,    /* the VM ends or restarts: wait for the loop to decide */
};

/**
 * struct vcpu - one vCPU
 * @vm: whose it is
 * @id: index and KVM id
 * @kvm: its descriptor and shared area
 * @unfinished: KVM has an exit to finish at the next KVM_RUN (own thread)
 * @pass: it may run though the gate is closed (vm->lock)
 * @held: a debugger holds it back though the gate is open (set on any thread, ended with
 *        vm->lock held)
 * @hit: it came to a breakpoint instruction that nobody has looked at
 * @sleeps: its thread begins as that of a hart that suspended the guest to RAM
 * @window: of its last MMIO access that somebody answered, or NULL (own thread)
 * @mmio_exits, @other_exits: counters (own thread writes)
 */
struct vcpu {
	struct vm *vm;
	unsigned int id;
	struct kvm_vcpu kvm;
	pthread_t thread;
	bool started;
	bool unfinished;
	bool pass;
	bool sleeps;
	atomic_bool held, hit;
	const struct mmio_region *window;
	_Atomic uint64_t mmio_exits, other_exits;
};

/**
 * vcpu_start() / vcpu_join() - its thread (loop thread)
 *
 * Return: 0 or -errno.
 */
int vcpu_start(struct vcpu *vcpu);
void vcpu_join(struct vcpu *vcpu);

/**
 * vcpu_kick() - get the thread out of KVM_RUN soon (any thread)
 */
void vcpu_kick(struct vcpu *vcpu);

/**
 * vcpu_handle_exit() - answer the exit in run->exit_reason (own thread)
 *
 * Every reason that KVM can give has a defined answer; unknown ones end the VM
 * with a report.
 */
enum vcpu_next vcpu_handle_exit(struct vcpu *vcpu);

/**
 * vcpu_handle_error() - answer a KVM_RUN that failed with @errnum (own thread)
 */
enum vcpu_next vcpu_handle_error(struct vcpu *vcpu, int errnum);

#endif /* LKVM_VCPU_H */
