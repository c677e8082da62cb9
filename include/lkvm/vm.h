/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A virtual machine: what everything hangs off, and its life.
 *
 *   vm_create -> vm_run -> vm_destroy
 *
 * vm_create() opens every file, asks KVM what it can do, settles the layout,
 * makes the devices and the vCPUs, and loads the guest. vm_run() starts the vCPU
 * threads and serves the loop until the VM ends. Two VMs in one process work:
 * there is no state outside struct vm.
 *
 * Threads: the thread that calls vm_run() is the loop's thread and owns the
 * life cycle (pause, reset, end). vCPU threads handle their own exits and touch
 * devices under the devices' locks. vm_end(), vm_wake() and the counters are for
 * any thread; the rest is for the loop's thread.
 */
#ifndef LKVM_VM_H
#define LKVM_VM_H

#include "lkvm/bus.h"
#include "lkvm/config.h"
#include "lkvm/kvm.h"
#include "lkvm/log.h"
#include "lkvm/loop.h"
#include "lkvm/memory.h"

#include <pthread.h>
#include <stdatomic.h>

struct arch_vm;
struct console_listener;
struct control;
struct gdb;
struct guest_console;
struct vcpu;
struct watcher;

/**
 * enum vm_verdict - why a VM ended
 */
enum vm_verdict {
	VM_ALIVE,
	VM_NOT_STARTED, /* vm_run() could not start the vCPUs */
	VM_POWEROFF,	/* the guest powered off */
	VM_RESET,	/* the guest asked for a reset */
	VM_DIED,	/* a panic, or KVM could not go on */
	VM_TIMEOUT,	/* --timeout ran out */
	VM_QUIT,	/* the user asked, at the console or by the stop command */
	VM_SIGNAL,	/* a signal; vm->end_signal says which */
};

enum vm_gate {
	GATE_OPEN,   /* vCPUs run */
	GATE_CLOSED, /* vCPUs park before their next KVM_RUN */
	GATE_EXIT,   /* vCPU threads end */
};

/**
 * struct vm_origin - a saved state that a VM came from (loop thread)
 * @known: it came from one, and has not been reset since
 * @left: its vCPUs have run since
 * @id: its name; @parent: that of the state that it came from itself
 */
struct vm_origin {
	bool known, left;
	uint8_t id[16], parent[16];
};

/**
 * struct vm_reader - who reads a paused VM on another thread, as a save does
 * @cancel: the VM is about to change: stop reading before this returns (loop thread)
 */
struct vm_reader {
	void (*cancel)(struct vm_reader *reader);
};

/**
 * struct vm_ready - who hears from the guest itself that it is ready (loop thread)
 * @awaited: a device was asked to listen for that (set before vm_create() returns)
 * @heard: @status: the guest's words, printable; may be called more than once. NULL: nobody
 */
struct vm_ready {
	bool awaited;
	void (*heard)(void *opaque, const char *status);
	void *opaque;
};

/**
 * struct vm - one virtual machine
 * @cfg: what was asked
 * @log: where it speaks
 * @kvm: the host's side
 * @mem, @bus, @loop: as their headers say
 * @arch: the architecture's part: machine, devices, layout
 * @console: what the guest's console is connected to
 * @listeners: who hears it from its start: a list, set before vm_run()
 * @watchers: terminals that were attached to it (loop thread)
 * @control: the socket that commands reach it by, or NULL
 * @gdb: the stub that a debugger reaches it by, or NULL
 * @vcpus, @nr_vcpus: index is also the id; [0] is the boot vCPU
 * @lock: guards the gate, the parked count, the suspend and the verdict; a leaf:
 *        taken with device locks held (an RTC's alarm wakes the guest), and
 *        nothing is locked while it is held but the kick's target
 * @cond: signalled when one of these changes
 * @gate: read without @lock on the vCPU's path
 * @paused: depth of vm_pause() calls; @paused_at: CLOCK_REALTIME of the first, ns
 * @quiet: it was saved and is still paused: devices do nothing for it until it goes on, so that
 *         what was saved stays true of the world (loop thread)
 * @suspended: the guest suspended itself to RAM and waits for a wake-up
 * @end_work: brings a vm_end() to the loop
 * @verdict: set once by vm_end()
 * @resets: how often the guest was restarted
 * @origin: the saved state that it came from
 * @reader: or NULL (loop thread)
 * @ready: what the guest says of itself
 * @reset_asked: the user wants the reset that is due (loop thread)
 */
struct vm {
	const struct vm_config *cfg;
	struct log *log;
	struct kvm kvm;
	struct guest_memory mem;
	struct bus bus;
	struct loop *loop;
	struct arch_vm *arch;
	struct guest_console *console;
	struct console_listener *listeners;
	struct watcher *watchers;
	struct control *control;
	struct gdb *gdb;
	struct vcpu *vcpus;
	unsigned int nr_vcpus;

	pthread_mutex_t lock;
	pthread_cond_t cond;
	_Atomic enum vm_gate gate;
	unsigned int parked;
	bool threads;
	unsigned int paused;
	uint64_t paused_at;
	bool quiet;
	bool suspended;
	bool wake;
	enum vm_verdict verdict;
	int end_signal;

	struct loop_work end_work;
	struct loop_timer timeout, power_off;
	int signal_fd;
	uint64_t resets;
	struct vm_origin origin;
	struct vm_reader *reader;
	struct vm_ready ready;
	bool reset_asked;
	struct ratelimit mmio_rl, sbi_rl, csr_rl;
};

/**
 * vm_create() - build a VM up to the point where it could run
 * @cfg: stays the caller's and must outlive the VM
 * @sys: &kvm_sys_linux, or a test's host
 *
 * Return: the VM, or NULL with @err set: one line for a person, and nothing was
 * started.
 */
struct vm *vm_create(const struct vm_config *cfg, struct kvm_sys sys, struct log *log,
		     struct error *err);

/**
 * vm_run() - run it until it ends
 *
 * Return: the verdict; vm->end_signal is valid for VM_SIGNAL.
 */
enum vm_verdict vm_run(struct vm *vm);

void vm_destroy(struct vm *vm);

/**
 * vm_end() - the VM is to end (or restart, for VM_RESET); the first call wins (any thread)
 */
void vm_end(struct vm *vm, enum vm_verdict verdict);

/**
 * vm_reset() - restart the guest, whatever is configured for its own resets (loop thread)
 */
void vm_reset(struct vm *vm);

/**
 * vm_pause() - park all vCPUs; nests
 * @timeout_ms: how long to wait for the slowest
 *
 * On return no vCPU runs, and each has finished the exit it was in. Its registers
 * are what the guest sees next, but for a hart whose start by SBI HSM KVM has not
 * carried out yet.
 *
 * Return: 0; -ETIMEDOUT (they run again).
 */
int vm_pause(struct vm *vm, int timeout_ms);
void vm_unpause(struct vm *vm);

/**
 * vm_step() - let one vCPU of a paused VM run for a moment (loop thread)
 * @ms: about how long
 *
 * Return: 0 with all parked again; -ETIMEDOUT.
 */
int vm_step(struct vm *vm, unsigned int id, unsigned int ms);

/**
 * vm_suspend() - the guest has suspended itself to RAM (vCPU thread)
 *
 * From here vm_wake() counts; the vCPU then answers its exit with VCPU_SUSPEND.
 */
void vm_suspend(struct vm *vm);

/**
 * vm_wake() - end the guest's suspend to RAM, if it is in one (any thread)
 *
 * Return: true where it was suspended.
 */
bool vm_wake(struct vm *vm);

/**
 * vm_suspended() - is the guest suspended to RAM? (any thread)
 */
bool vm_suspended(struct vm *vm);

/**
 * vm_tell_end() - tell clients that the VM has ended, for who ends the process then (loop thread)
 */
void vm_tell_end(struct vm *vm, enum vm_verdict verdict);

/**
 * vm_verdict_status() - the process exit status for @verdict (see lkvm(1))
 */
int vm_verdict_status(enum vm_verdict verdict);

#endif /* LKVM_VM_H */
