/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Debugging a VM, without the words of any protocol: stop it, let harts go or step, read
 * and write memory as a hart sees it, set breakpoints. gdb.h speaks to debuggers.
 *
 * Breakpoints are instructions in guest memory. While a debugger is attached KVM hands
 * out every such instruction that a hart comes to; those of the guest's own are given to
 * the guest.
 *
 * Threads: the loop's, but for debug_hit().
 */
#ifndef LKVM_DEBUG_H
#define LKVM_DEBUG_H

#include "lkvm/arch_debug.h"
#include "lkvm/vm.h"

#define DEBUG_BREAKPOINTS_MAX 1024

struct debug;

/**
 * enum debug_reason - why the VM stopped
 */
enum debug_reason {
	DEBUG_BREAKPOINT,
	DEBUG_STEPPED,
	DEBUG_RESET, /* the guest was restarted; it stands before its first instruction */
};

/**
 * enum debug_run - what a hart does when the VM goes on
 */
enum debug_run {
	DEBUG_STAY,
	DEBUG_GO,
	DEBUG_STEP, /* one instruction; all other harts stay meanwhile */
};

typedef void (*debug_stopped_fn)(void *opaque, unsigned int hart, enum debug_reason reason);

/**
 * debug_create() - nobody is attached yet
 * @stopped: told each time the VM stops that nobody asked for
 *
 * Return: it, or NULL with @err set: no memory, or KVM can't debug guests.
 */
struct debug *debug_create(struct vm *vm, debug_stopped_fn stopped, void *opaque,
			   struct error *err);
void debug_destroy(struct debug *d);

/**
 * debug_attach() - stop the VM and have KVM hand out breakpoints; debug_detach() - take
 * all breakpoints away and let it go on
 *
 * Return: 0, or -1 with @err set: nothing has changed.
 */
int debug_attach(struct debug *d, struct error *err);
void debug_detach(struct debug *d);

bool debug_attached(const struct debug *d);
bool debug_is_stopped(const struct debug *d);

/**
 * debug_stop() - stop all harts
 *
 * Return: 0; -ETIMEDOUT: one did not stop in time, they go on.
 */
int debug_stop(struct debug *d);

/**
 * debug_resume() - let the stopped VM go on
 * @run: one for each hart. The first that steps is the only one that runs
 *
 * A step may be over, and told, before this returns.
 *
 * Return: 0 or -errno: it stays stopped.
 */
int debug_resume(struct debug *d, const enum debug_run *run);

/**
 * debug_read() / debug_write() - memory at @va as hart @hart sees it, or at a GPA
 *
 * Breakpoints do not show. Return: how many bytes were there, from the first on.
 */
size_t debug_read(struct debug *d, unsigned int hart, uint64_t va, void *buf, size_t len);
size_t debug_write(struct debug *d, unsigned int hart, uint64_t va, const void *buf, size_t len);
void debug_physical(struct debug *d, bool physical);
bool debug_is_physical(const struct debug *d);

/**
 * debug_insert() - a breakpoint at @va as @hart sees it; again changes nothing
 *
 * Return: 0; -EFAULT: no RAM is mapped there; -ENOSPC: too many; -EINVAL: not the
 * address of an instruction.
 */
int debug_insert(struct debug *d, unsigned int hart, uint64_t va);

/**
 * debug_remove() - take away what was inserted at @va, by whichever hart's tables; nothing
 * where there is none
 */
void debug_remove(struct debug *d, uint64_t va);

/**
 * debug_hit() - the vCPU came to a breakpoint instruction (its own thread)
 *
 * It is held until the loop has looked.
 */
void debug_hit(struct debug *d, struct vcpu *vcpu);

/**
 * debug_restarted() - new vCPUs exist over cleared memory, and have not run
 */
int debug_restarted(struct debug *d, struct error *err);

#endif /* LKVM_DEBUG_H */
