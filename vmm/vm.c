// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of a VM (include/lkvm/vm.h): build, run, pause, restart, end.
 *
 * Build order is fixed by KVM: the G-stage mode can only be chosen while the VM
 * has neither memslots nor vCPUs; vCPUs are configured before any has run; the
 * boot vCPU is created first because KVM starts the first one and stops the
 * others.
 *
 * A guest's reset throws the KVM VM away and makes a new one over the same RAM
 * mapping and the same devices. That is one path for every kernel (only newer
 * ones can reset a vCPU), it leaves nothing behind in KVM, and guest time starts
 * at zero as after power-on.
 *
 * Ending. vm_end() may come from a vCPU (power-off, reset, fault), a signal, the
 * timer or a command. The first verdict counts; the loop carries it out. SIGTERM first
 * presses the guest's power button, where it has one, and gives it time; a second ends
 * the VM at once, as any other signal does.
 *
 * Pausing is a barrier: the gate is closed, every thread kicked, and parked
 * threads counted under vm->lock. A vCPU that waits for a wake-up from suspend,
 * or for the VM to end, counts as parked already.
 *
 * Thread and lock: as the header says. What is saved: nothing here knows of files; the
 * snapshot code walks the parts, and comes back as a struct vm_image.
 */
#include "lkvm/vm.h"

#include "lkvm/arch.h"
#include "lkvm/arch_state.h"
#include "lkvm/control.h"
#include "lkvm/gdb.h"
#include "lkvm/guest_console.h"
#include "lkvm/process.h"
#include "lkvm/vcpu.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

/* How long a guest may take that is asked to power off by SIGTERM. */
#define POWER_OFF_SECONDS 30

static int init_sync(struct vm *vm)
{
	pthread_condattr_t attr;
	int ret;

	ret = pthread_mutex_init(&vm->lock, NULL);
	if (ret)
		return -ret;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	ret = pthread_cond_init(&vm->cond, &attr);
	pthread_condattr_destroy(&attr);
	if (ret)
		pthread_mutex_destroy(&vm->lock);
	return -ret;
}

/* KVM's limits decide, not the host's CPU count: more vCPUs than CPUs is fine. */
static void clamp_cpus(struct vm *vm)
{
	int max = kvm_check(&vm->kvm, KVM_CAP_MAX_VCPUS);

	if (!max)
		max = kvm_check(&vm->kvm, KVM_CAP_NR_VCPUS);
	if (!max)
		max = 4; /* what KVM_CAP_NR_VCPUS says to assume */
	vm->nr_vcpus = vm->cfg->cpus;
	if (vm->nr_vcpus <= (unsigned int)max)
		return;
	log_warning(vm->log, "-c %u: KVM on this host takes at most %d, so the VM has %d vCPUs",
		    vm->nr_vcpus, max, max);
	vm->nr_vcpus = (unsigned int)max;
}

static int add_memslots(struct vm *vm, struct error *err)
{
	char size[32];
	size_t i;
	int ret;

	for (i = 0; i < vm->mem.nr; i++) {
		struct memory_region *r = &vm->mem.regions[i];

		ret = kvm_set_memory(&vm->kvm, r->slot, r->gpa, r->size, r->hva,
				     r->read_only ? KVM_MEM_READONLY : 0);
		if (ret)
			return fail_errno(err, -ret, "KVM refused %s of memory at 0x%llx",
					  format_size(size, sizeof(size), r->size),
					  (unsigned long long)r->gpa);
	}
	return 0;
}

static void destroy_vcpus(struct vm *vm)
{
	unsigned int i;

	for (i = 0; vm->vcpus && i < vm->nr_vcpus; i++)
		if (vm->vcpus[i].kvm.kvm)
			kvm_vcpu_destroy(&vm->vcpus[i].kvm);
}

static int create_vcpus(struct vm *vm, struct error *err)
{
	unsigned int i;
	int ret;

	for (i = 0; i < vm->nr_vcpus; i++) {
		struct vcpu *vcpu = &vm->vcpus[i];

		vcpu->vm = vm;
		vcpu->id = i;
		vcpu->unfinished = false;
		ret = kvm_vcpu_create(&vm->kvm, i, &vcpu->kvm);
		if (ret)
			return fail_errno(err, -ret, "KVM could not create vCPU %u of %u", i,
					  vm->nr_vcpus);
	}
	for (i = 0; i < vm->nr_vcpus; i++)
		if (arch_vcpu_setup(vm, &vm->vcpus[i], err))
			return -1;
	return 0;
}

static int create_kvm(struct vm *vm, struct error *err)
{
	int ret = kvm_vm_create(&vm->kvm);

	if (ret)
		return fail_errno(err, -ret, "KVM could not create a VM");
	return 0;
}

/* A KVM VM exists and is empty: fill it. Runs at the start and at each reset. */
static int fill_kvm(struct vm *vm, struct error *err)
{
	/* A reset boots, whatever the VM came from. */
	const struct vm_image *image = vm->resets ? NULL : vm->cfg->image;
	int ret;

	for (;;) {
		if (add_memslots(vm, err) || create_vcpus(vm, err))
			return -1;
		if (image && image->vcpus(image->opaque, vm, err))
			return -1;
		ret = arch_irqchip(vm, err);
		if (ret < 0)
			return -1;
		if (!ret)
			return image ? image->memory(image->opaque, vm, err) : arch_boot(vm, err);
		destroy_vcpus(vm);
		kvm_vm_destroy(&vm->kvm);
		if (create_kvm(vm, err) || arch_kvm_setup(vm, err))
			return -1;
	}
}

static int stop_threads(struct vm *vm)
{
	unsigned int i;

	if (!vm->threads)
		return 0;
	pthread_mutex_lock(&vm->lock);
	atomic_store(&vm->gate, GATE_EXIT);
	pthread_cond_broadcast(&vm->cond);
	pthread_mutex_unlock(&vm->lock);
	for (i = 0; i < vm->nr_vcpus; i++)
		vcpu_kick(&vm->vcpus[i]);
	for (i = 0; i < vm->nr_vcpus; i++)
		vcpu_join(&vm->vcpus[i]);
	vm->threads = false;
	vm->suspended = false;
	vm->wake = false;
	return 0;
}

static void end_quiet(struct vm *vm)
{
	if (vm->quiet)
		arch_quiet(vm, false);
	vm->quiet = false;
}

/* The vCPUs are about to run. */
static int go(struct vm *vm, struct error *err)
{
	vm->origin.left = true;
	end_quiet(vm);
	return arch_go(vm, err);
}

static int start_threads(struct vm *vm, struct error *err)
{
	unsigned int i;
	int ret;

	if (!vm->paused && go(vm, err))
		return -1;
	atomic_store(&vm->gate, vm->paused ? GATE_CLOSED : GATE_OPEN);
	vm->threads = true;
	for (i = 0; i < vm->nr_vcpus; i++) {
		ret = vcpu_start(&vm->vcpus[i]);
		if (ret) {
			stop_threads(vm);
			return fail_errno(err, -ret, "cannot start the thread of vCPU %u", i);
		}
	}
	return 0;
}

static void end_image(const struct vm *vm)
{
	if (vm->cfg->image)
		vm->cfg->image->end(vm->cfg->image->opaque);
}

/* The vCPUs are stopped: a new KVM VM over the same RAM and devices. */
static int restart(struct vm *vm, struct error *err)
{
	/* First the devices, whose threads may be about to interrupt. */
	arch_reset(vm);
	end_quiet(vm);
	destroy_vcpus(vm);
	kvm_vm_destroy(&vm->kvm);
	vm->resets++;
	vm->origin.known = false;
	end_image(vm);
	if (memory_forget(&vm->mem, err) || create_kvm(vm, err) || arch_kvm_setup(vm, err) ||
	    fill_kvm(vm, err) || gdb_restarted(vm->gdb, err))
		return -1;
	guest_console_restarted(vm->console);
	if (start_threads(vm, err))
		return -1;
	control_event(vm->control, "reset", NULL);
	return 0;
}

static void end_reader(struct vm *vm)
{
	if (vm->reader)
		vm->reader->cancel(vm->reader);
}

static void carry_out_verdict(void *opaque)
{
	struct vm *vm = opaque;
	enum vm_verdict verdict;
	struct error err;
	bool asked = vm->reset_asked;

	vm->reset_asked = false;
	pthread_mutex_lock(&vm->lock);
	verdict = vm->verdict;
	pthread_mutex_unlock(&vm->lock);

	/* A second hart asked for the reset that has been carried out. */
	if (verdict == VM_ALIVE)
		return;
	end_reader(vm);
	if (verdict == VM_RESET) {
		/* From here on no vCPU can change its mind about how the VM ends. */
		stop_threads(vm);
		pthread_mutex_lock(&vm->lock);
		verdict = vm->verdict;
		pthread_mutex_unlock(&vm->lock);
	}
	if (verdict == VM_RESET) {
		arch_flush(vm);
		if (!asked && guest_console_panicked(vm->console)) {
			log_error(vm->log, "the guest's kernel panicked");
			control_event(vm->control, "panic", NULL);
			verdict = VM_DIED;
		} else if (asked || vm->cfg->on_reset == RESET_RESTART) {
			log_debug(vm->log, "the guest resets");
			pthread_mutex_lock(&vm->lock);
			vm->verdict = VM_ALIVE;
			pthread_mutex_unlock(&vm->lock);
			if (!restart(vm, &err))
				return;
			log_fatal(vm->log, "the guest could not be restarted: %s", err.msg);
			verdict = VM_DIED;
		}
	}
	loop_stop(vm->loop, verdict);
}

void vm_end(struct vm *vm, enum vm_verdict verdict)
{
	pthread_mutex_lock(&vm->lock);
	/* A reset that the loop has not carried out yet gives way to an end. */
	if (vm->verdict == VM_ALIVE || vm->verdict == VM_RESET)
		vm->verdict = verdict;
	pthread_mutex_unlock(&vm->lock);
	loop_post(vm->loop, &vm->end_work);
}

void vm_reset(struct vm *vm)
{
	vm->reset_asked = true;
	vm_end(vm, VM_RESET);
}

int vm_pause(struct vm *vm, int timeout_ms)
{
	uint64_t deadline = now_ns() + (uint64_t)timeout_ms * NSEC_PER_MSEC;
	struct timespec until = {.tv_sec = (time_t)(deadline / NSEC_PER_SEC),
				 .tv_nsec = (long)(deadline % NSEC_PER_SEC)};
	unsigned int i;
	int ret = 0;

	pthread_mutex_lock(&vm->lock);
	if (!vm->paused++)
		vm->paused_at = wall_ns();
	if (vm->threads && vm->paused == 1) {
		atomic_store(&vm->gate, GATE_CLOSED);
		for (i = 0; i < vm->nr_vcpus; i++)
			vcpu_kick(&vm->vcpus[i]);
		while (vm->parked < vm->nr_vcpus && !ret)
			ret = pthread_cond_timedwait(&vm->cond, &vm->lock, &until);
	}
	pthread_mutex_unlock(&vm->lock);
	if (ret) {
		vm_unpause(vm);
		return -ret;
	}
	return 0;
}

int vm_step(struct vm *vm, unsigned int id, unsigned int ms)
{
	const struct timespec while_running = {.tv_nsec = (long)(ms * NSEC_PER_MSEC)};
	uint64_t deadline = now_ns() + 5 * NSEC_PER_SEC;
	struct timespec until = {.tv_sec = (time_t)(deadline / NSEC_PER_SEC),
				 .tv_nsec = (long)(deadline % NSEC_PER_SEC)};
	int ret = 0;

	if (!vm->threads)
		return 0;
	end_quiet(vm);
	pthread_mutex_lock(&vm->lock);
	vm->vcpus[id].pass = true;
	pthread_cond_broadcast(&vm->cond);
	pthread_mutex_unlock(&vm->lock);
	nanosleep(&while_running, NULL);
	pthread_mutex_lock(&vm->lock);
	vm->vcpus[id].pass = false;
	vcpu_kick(&vm->vcpus[id]);
	while (vm->parked < vm->nr_vcpus && !ret)
		ret = pthread_cond_timedwait(&vm->cond, &vm->lock, &until);
	pthread_mutex_unlock(&vm->lock);
	return -ret;
}

void vm_unpause(struct vm *vm)
{
	struct error err;

	if (vm->paused == 1 && vm->threads && go(vm, &err)) {
		log_fatal(vm->log, "the VM can't go on: %s", err.msg);
		vm_end(vm, VM_DIED);
		return;
	}
	pthread_mutex_lock(&vm->lock);
	if (vm->paused && !--vm->paused && vm->threads) {
		atomic_store(&vm->gate, GATE_OPEN);
		pthread_cond_broadcast(&vm->cond);
	}
	pthread_mutex_unlock(&vm->lock);
}

void vm_suspend(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->suspended = true;
	vm->wake = false;
	pthread_mutex_unlock(&vm->lock);
}

bool vm_wake(struct vm *vm)
{
	bool was;

	pthread_mutex_lock(&vm->lock);
	was = vm->suspended;
	if (was) {
		vm->wake = true;
		pthread_cond_broadcast(&vm->cond);
	}
	pthread_mutex_unlock(&vm->lock);
	return was;
}

bool vm_suspended(struct vm *vm)
{
	bool suspended;

	pthread_mutex_lock(&vm->lock);
	suspended = vm->suspended;
	pthread_mutex_unlock(&vm->lock);
	return suspended;
}

static void timed_out(void *opaque)
{
	struct vm *vm = opaque;

	log_error(vm->log, "--timeout %u: the guest still runs after that many seconds",
		  vm->cfg->timeout_s);
	vm_end(vm, VM_TIMEOUT);
}

static void not_off_in_time(void *opaque)
{
	struct vm *vm = opaque;

	log_warning(vm->log, "the guest did not power off within %d s when asked, and is stopped",
		    POWER_OFF_SECONDS);
	vm_end(vm, VM_SIGNAL);
}

/* SIGTERM is how a host asks: the guest is asked too, once, where it has a button for that. */
static bool ask_guest(struct vm *vm, int sig)
{
	struct error err;

	if (sig != SIGTERM || vm->end_signal || vm->paused || vm_suspended(vm) ||
	    arch_power_button(vm, &err))
		return false;
	log_info(vm->log, "signal %d: the guest is asked to power off", sig);
	vm->end_signal = sig;
	loop_timer_arm(&vm->power_off, now_ns() + POWER_OFF_SECONDS * NSEC_PER_SEC);
	return true;
}

static void got_signal(void *opaque, uint32_t events)
{
	struct vm *vm = opaque;
	struct signalfd_siginfo info;

	(void)events;
	while (read(vm->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGWINCH) {
			arch_window_changed(vm);
			continue;
		}
		if (ask_guest(vm, (int)info.ssi_signo))
			continue;
		vm->end_signal = (int)info.ssi_signo;
		vm_end(vm, VM_SIGNAL);
	}
}

struct vm *vm_create(const struct vm_config *cfg, struct kvm_sys sys, struct log *log,
		     struct error *err)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	if (!vm || init_sync(vm)) {
		free(vm);
		fail(err, "no memory for a VM");
		return NULL;
	}
	vm->cfg = cfg;
	vm->log = log;
	vm->paused = cfg->paused;
	vm->paused_at = wall_ns();
	vm->signal_fd = -1;
	vm->kvm.fd = -1;
	vm->kvm.vm_fd = -1;
	vm->kvm.sys = sys;
	atomic_init(&vm->gate, GATE_CLOSED);
	memory_init(&vm->mem);
	loop_work_init(&vm->end_work, carry_out_verdict, vm);
	bus_init(&vm->bus);
	vm->loop = loop_create(err);
	if (!vm->loop)
		goto out;
	loop_timer_init(&vm->timeout, vm->loop, timed_out, vm);
	loop_timer_init(&vm->power_off, vm->loop, not_off_in_time, vm);

	if (kvm_open(&vm->kvm, sys, err) || create_kvm(vm, err))
		goto out;
	clamp_cpus(vm);
	vm->vcpus = calloc(vm->nr_vcpus, sizeof(*vm->vcpus));
	if (!vm->vcpus) {
		fail(err, "no memory for %u vCPUs", vm->nr_vcpus);
		goto out;
	}
	if (arch_plan(vm, err) || arch_kvm_setup(vm, err) || arch_build(vm, err) ||
	    fill_kvm(vm, err))
		goto out;
	return vm;
out:
	vm_destroy(vm);
	return NULL;
}

/* All devices are there: the rest of a state that the VM goes on from. */
static int take_image(struct vm *vm, struct error *err)
{
	const struct vm_image *image = vm->cfg->image;

	return image ? image->state(image->opaque, vm, err) : 0;
}

void vm_tell_end(struct vm *vm, enum vm_verdict verdict)
{
	control_ended(vm->control, verdict);
	gdb_ended(vm->gdb, vm_verdict_status(verdict));
}

enum vm_verdict vm_run(struct vm *vm)
{
	struct error err;
	int ret;

	if (vm->signal_fd >= 0) {
		/* They are blocked by now: unwatched, only SIGKILL would end the VM. */
		ret = loop_add_fd(vm->loop, vm->signal_fd, EPOLLIN, got_signal, vm);
		if (ret) {
			log_fatal(vm->log, "cannot watch for signals: %s", strerror(-ret));
			return VM_NOT_STARTED;
		}
	}
	if (vm->cfg->timeout_s)
		loop_timer_arm(&vm->timeout, now_ns() + vm->cfg->timeout_s * NSEC_PER_SEC);
	if (arch_start(vm, &err) || take_image(vm, &err) || start_threads(vm, &err)) {
		log_fatal(vm->log, "%s", err.msg);
		return VM_NOT_STARTED;
	}
	control_started(vm->control);
	ret = loop_run(vm->loop);
	end_reader(vm);
	stop_threads(vm);
	loop_timer_cancel(&vm->timeout);
	loop_timer_cancel(&vm->power_off);
	if (vm->signal_fd >= 0)
		loop_remove_fd(vm->loop, vm->signal_fd);
	if (ret < 0) {
		log_fatal(vm->log, "the event loop failed: %s", strerror(-ret));
		ret = VM_DIED;
	}
	vm->verdict = (enum vm_verdict)ret;
	vm_tell_end(vm, vm->verdict);
	return vm->verdict;
}

void vm_destroy(struct vm *vm)
{
	if (!vm)
		return;
	stop_threads(vm);
	gdb_destroy(vm->gdb);
	arch_destroy(vm);
	/* Devices may have waited for memory until now. */
	end_image(vm);
	/* Its end tells clients that all is over: files are closed by now. */
	control_destroy(vm->control);
	if (vm->loop) {
		loop_timer_cancel(&vm->timeout);
		loop_timer_cancel(&vm->power_off);
		loop_unpost(vm->loop, &vm->end_work);
	}
	destroy_vcpus(vm);
	free(vm->vcpus);
	kvm_close(&vm->kvm);
	memory_destroy(&vm->mem);
	bus_destroy(&vm->bus);
	loop_destroy(vm->loop);
	pthread_cond_destroy(&vm->cond);
	pthread_mutex_destroy(&vm->lock);
	free(vm);
}

int vm_verdict_status(enum vm_verdict verdict)
{
	switch (verdict) {
	case VM_POWEROFF:
	case VM_RESET:
	case VM_QUIT:
		return 0;
	case VM_TIMEOUT:
		return 124;
	case VM_NOT_STARTED:
		return 125;
	default:
		return 126;
	}
}
