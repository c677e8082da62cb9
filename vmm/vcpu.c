// SPDX-License-Identifier: GPL-2.0-only
/*
 * vCPU threads and exits (include/lkvm/vcpu.h).
 *
 * The gate. vm->gate is looked at before every KVM_RUN. Open, with no debugger that
 * holds this vCPU back, is the fast path: two loads. Otherwise the thread lets KVM
 * finish the exit it was in, counts itself as parked under vm->lock, and waits. A kick
 * that comes between the look and the ioctl is kept by immediate_exit, which the
 * signal's handler sets in the shared area of the vCPU that the thread runs.
 *
 * Exits. MMIO goes to the bus; what nobody claims reads as zero and is dropped.
 * System events end the VM or restart it; a guest that shuts down because of a
 * failure, as it says, has died. What only RISC-V knows goes to arch_handle_exit().
 * Everything else, and a KVM_RUN that fails, is a host fault or a guest that KVM
 * cannot carry on: the VM ends with a report of the hart and where it stood, once.
 *
 * Thread and lock: each function says; device code runs on the vCPU's thread under the
 * device's own lock. Registers are saved by the snapshot code while the thread is
 * parked.
 */
#include "lkvm/vcpu.h"

#include "lkvm/arch.h"
#include "lkvm/gdb.h"
#include "lkvm/process.h"
#include "lkvm/vm.h"

#include <endian.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* Room for arch_vcpu_where(). */
#define WHERE_MAX 256

/* vCPU threads run shallow code; a small stack keeps many of them cheap. */
#define VCPU_STACK (256 * KIB)

static enum vcpu_next died(struct vcpu *vcpu)
{
	vm_end(vcpu->vm, VM_DIED);
	return VCPU_PARK;
}

static void count(_Atomic uint64_t *counter)
{
	/* One writer: a plain add is enough, the atomic type is for readers. */
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

static void handle_mmio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->kvm.run;
	struct vm *vm = vcpu->vm;
	gpa_t gpa = run->mmio.phys_addr;
	unsigned int size = run->mmio.len;
	bool write = run->mmio.is_write;
	/* One word, where struct kvm_run has bytes, which compilers may copy one by one. */
	uint64_t *data = (uint64_t *)(void *)run->mmio.data;
	const struct mmio_region *window;

	count(&vcpu->mmio_exits);
	vcpu->unfinished = true;
	if (size != 1 && size != 2 && size != 4 && size != 8) {
		*data = 0;
		return;
	}
	window = bus_window(&vm->bus, vcpu->window, gpa, size);
	if (window)
		vcpu->window = window;
	else
		log_ratelimited(vm->log, &vm->mmio_rl, LOG_LEVEL_DEBUG,
				"hart %u: %u-byte %s at 0x%llx, where nothing is", vcpu->id, size,
				write ? "store" : "load", (unsigned long long)gpa);
	if (!write)
		*data = window ? htole64(mmio_load(window, gpa, size)) : 0;
	else if (window)
		mmio_store(window, gpa, size, le64toh(*data));
	arch_mmio_done(vcpu, gpa, write);
}

/* KVM hands on the reason of the SBI call (SBI 3.0, "System Reset Extension"). */
#define REASON_SYSTEM_FAILURE 1

static enum vcpu_next handle_shutdown(struct vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->kvm.run;

	if (run->system_event.ndata && run->system_event.data[0] == REASON_SYSTEM_FAILURE) {
		log_error(vcpu->vm->log, "the guest shut down because of a failure in it");
		return died(vcpu);
	}
	vm_end(vcpu->vm, VM_POWEROFF);
	return VCPU_PARK;
}

static enum vcpu_next handle_system_event(struct vcpu *vcpu)
{
	uint32_t type = vcpu->kvm.run->system_event.type;

	switch (type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		return handle_shutdown(vcpu);
	case KVM_SYSTEM_EVENT_RESET:
		vm_end(vcpu->vm, VM_RESET);
		return VCPU_PARK;
	default:
		log_fatal(vcpu->vm->log,
			  "hart %u: KVM reports system event %u, which lkvm does not know",
			  vcpu->id, type);
		return died(vcpu);
	}
}

static enum vcpu_next report(struct vcpu *vcpu, const char *what)
{
	char where[WHERE_MAX];

	log_fatal(vcpu->vm->log, "hart %u: %s (%s)", vcpu->id, what,
		  arch_vcpu_where(vcpu, where, sizeof(where)));
	return died(vcpu);
}

/* Not in line: the frame for its texts would be MMIO's as well. */
__attribute__((noinline)) static enum vcpu_next handle_other(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->kvm.run;
	char text[ARCH_ENTRY_FAILURE_MAX];
	int next;

	count(&vcpu->other_exits);
	switch (run->exit_reason) {
	case KVM_EXIT_INTR:
		arch_vcpu_kicked(vcpu);
		return VCPU_RUN;
	case KVM_EXIT_SYSTEM_EVENT:
		return handle_system_event(vcpu);
	case KVM_EXIT_FAIL_ENTRY:
		return report(vcpu, arch_entry_failure(vcpu, text, sizeof(text)));
	case KVM_EXIT_DEBUG:
		if (gdb_hit(vcpu->vm->gdb, vcpu))
			return VCPU_RUN;
		return report(vcpu, "a breakpoint was hit, but nobody is debugging this VM");
	case KVM_EXIT_INTERNAL_ERROR:
		snprintf(text, sizeof(text), "KVM internal error %u", run->internal.suberror);
		return report(vcpu, text);
	default:
		next = arch_handle_exit(vcpu);
		if (next >= 0)
			return (enum vcpu_next)next;
		snprintf(text, sizeof(text), "KVM exit reason %u, which lkvm does not know",
			 run->exit_reason);
		return report(vcpu, text);
	}
}

enum vcpu_next vcpu_handle_exit(struct vcpu *vcpu)
{
	if (vcpu->kvm.run->exit_reason != KVM_EXIT_MMIO)
		return handle_other(vcpu);
	handle_mmio(vcpu);
	return VCPU_RUN;
}

enum vcpu_next vcpu_handle_error(struct vcpu *vcpu, int errnum)
{
	const char *meaning = arch_run_error(errnum);
	char text[256];

	/* EINTR: kicked. EAGAIN: a hart that was not ready; KVM wants another try. */
	if (errnum == EINTR)
		arch_vcpu_kicked(vcpu);
	if (errnum == EINTR || errnum == EAGAIN)
		return VCPU_RUN;
	snprintf(text, sizeof(text), "KVM cannot go on: %s%s%s", strerror(errnum),
		 meaning ? ": " : "", meaning ? meaning : "");
	return report(vcpu, text);
}

/* Let KVM finish the last exit, so that the registers are what comes next. */
static void finish_exit(struct vcpu *vcpu)
{
	int ret;

	if (!vcpu->unfinished)
		return;
	vcpu->kvm.run->immediate_exit = 1;
	ret = kvm_vcpu_run(&vcpu->kvm);
	vcpu->kvm.run->immediate_exit = 0;
	vcpu->unfinished = false;
	if (ret < 0 && ret != -EINTR)
		vcpu_handle_error(vcpu, -ret);
}

/* Wait until this vCPU may enter the guest. Return: false where its thread ends. */
static bool pass_gate(struct vcpu *vcpu, enum vcpu_next next)
{
	struct vm *vm = vcpu->vm;
	bool go;

	/*
	 * Who closes the gate kicks this thread afterwards, so that an old value is soon found
	 * out; a debugger holds a vCPU on its own thread, or while it is parked.
	 */
	if (next == VCPU_RUN &&
	    atomic_load_explicit(&vm->gate, memory_order_acquire) == GATE_OPEN &&
	    !atomic_load_explicit(&vcpu->held, memory_order_acquire))
		return true;
	finish_exit(vcpu);

	pthread_mutex_lock(&vm->lock);
	vm->parked++;
	pthread_cond_broadcast(&vm->cond);
	for (;;) {
		enum vm_gate gate = atomic_load(&vm->gate);

		go = gate != GATE_EXIT;
		if (!go)
			break;
		if ((gate == GATE_OPEN || vcpu->pass) && next == VCPU_RUN &&
		    !atomic_load(&vcpu->held))
			break;
		if (gate == GATE_OPEN && next == VCPU_SUSPEND && vm->wake) {
			vm->wake = false;
			vm->suspended = false;
			break;
		}
		pthread_cond_wait(&vm->cond, &vm->lock);
	}
	vm->parked--;
	pthread_mutex_unlock(&vm->lock);
	return go;
}

static void *vcpu_thread(void *opaque)
{
	struct vcpu *vcpu = opaque;
	enum vcpu_next next = vcpu->sleeps ? VCPU_SUSPEND : VCPU_RUN;
	sigset_t set;

	vcpu->sleeps = false;
	vcpu->window = NULL;
	process_set_kick_flag(&vcpu->kvm.run->immediate_exit);
	sigemptyset(&set);
	sigaddset(&set, process_kick_signal());
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);

	while (pass_gate(vcpu, next)) {
		int ret;

		if (next == VCPU_SUSPEND)
			arch_vcpu_wakes(vcpu);
		ret = kvm_vcpu_run(&vcpu->kvm);
		vcpu->kvm.run->immediate_exit = 0;
		vcpu->unfinished = false;
		next = ret < 0 ? vcpu_handle_error(vcpu, -ret) : vcpu_handle_exit(vcpu);
	}
	process_set_kick_flag(NULL);
	return NULL;
}

int vcpu_start(struct vcpu *vcpu)
{
	sigset_t all, old;
	pthread_attr_t attr;
	char name[16];
	int ret;

	ret = pthread_attr_init(&attr);
	if (ret)
		return -ret;
	pthread_attr_setstacksize(&attr, VCPU_STACK);
	/* Signals are for the loop's descriptor; only the kick reaches a vCPU. */
	sigfillset(&all);
	process_keep_faults(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&vcpu->thread, &attr, vcpu_thread, vcpu);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (ret)
		return -ret;
	vcpu->started = true;
	snprintf(name, sizeof(name), "vcpu%u", vcpu->id);
	pthread_setname_np(vcpu->thread, name);
	return 0;
}

void vcpu_join(struct vcpu *vcpu)
{
	if (!vcpu->started)
		return;
	pthread_join(vcpu->thread, NULL);
	vcpu->started = false;
}

void vcpu_kick(struct vcpu *vcpu)
{
	if (vcpu->started)
		pthread_kill(vcpu->thread, process_kick_signal());
}
