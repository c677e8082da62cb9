// SPDX-License-Identifier: GPL-2.0-only
/*
 * Debugging a VM (include/lkvm/debug.h).
 *
 * Stopped means that a vm_pause() of ours is in force; it nests with those of commands. A
 * hart that is not to go when the VM does is held (vcpu->held): it waits where a closed
 * gate would have it wait, and counts as parked.
 *
 * A hart that comes to a breakpoint instruction holds itself, on its own thread, and the
 * loop looks: one of ours stops the VM; one of the guest's own is given to the guest, and
 * nothing else stops for that.
 *
 * Breakpoints are kept by GPA, for that is where the instruction lies; what was there is
 * kept beside, shown to readers and changed by writers. What the guest has written over one
 * meanwhile (Linux does, to the first instructions of functions, when it prepares tracing;
 * or it uses the page anew) is left alone when the breakpoint goes.
 *
 * A step is the architecture's plan (arch_debug_step()): temporary breakpoints, and one
 * hart that runs alone, so that no other can run into them. One of ours at the hart's pc
 * is lifted for that time.
 *
 * Thread and lock: the loop's thread alone; vcpu->held and hit are atomic, and harts wait
 * under vm->lock. Nothing is saved: no VM is saved while a debugger is attached.
 */
#include "lkvm/debug.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* KVM_CAP_SET_GUEST_DEBUG; the <linux/kvm.h> of Linux 6.1 has it for other machines only. */
#define CAP_SET_GUEST_DEBUG 23

#define STOP_MS 2000

#define NO_HART UINT32_MAX

/**
 * struct breakpoint - a breakpoint instruction in guest memory
 * @va: what it was asked for by
 * @len: bytes; they do not cross a page
 * @saved: what the guest has there
 */
struct breakpoint {
	uint64_t va;
	gpa_t gpa;
	size_t len;
	uint8_t insn[4], saved[4];
};

/**
 * struct debug - the debugger of one VM
 * @list, @nr, @size: breakpoints
 * @stepper: the hart that steps, or NO_HART; @step: how
 * @stops, @nr_stops: its temporary breakpoints
 * @lifted: the breakpoint it steps from is out of memory; @at: which
 */
struct debug {
	struct vm *vm;
	debug_stopped_fn stopped_fn;
	void *opaque;
	bool attached, stopped, physical;
	struct loop_work look;
	struct ratelimit complaints;

	struct breakpoint *list;
	size_t nr, size;

	unsigned int stepper;
	struct debug_step step;
	struct breakpoint stops[DEBUG_STEP_STOPS];
	size_t nr_stops;
	bool lifted;
	gpa_t at;
};

/* --- breakpoints in memory ---------------------------------------------------------------- */

static void flush_code(struct debug *d, gpa_t gpa, size_t len)
{
	char *hva = (char *)(uintptr_t)memory_for_read(&d->vm->mem, gpa, len);

	/* Harts run as threads of this process, and fetch what its stores put there. */
	if (hva)
		__builtin___clear_cache(hva, hva + len);
}

static bool put(struct debug *d, const struct breakpoint *b, const uint8_t *bytes)
{
	if (!memory_write(&d->vm->mem, b->gpa, bytes, b->len))
		return false;
	flush_code(d, b->gpa, b->len);
	return true;
}

static int plant(struct debug *d, unsigned int hart, uint64_t va, struct breakpoint *b)
{
	struct vcpu *vcpu = &d->vm->vcpus[hart];
	uint64_t len;

	*b = (struct breakpoint){.va = va};
	b->len = arch_debug_breakpoint(vcpu, b->insn);
	if (va % b->len)
		return -EINVAL;
	if (!arch_debug_translate(vcpu, va, &b->gpa, &len) || len < b->len ||
	    !memory_for_ring(&d->vm->mem, b->gpa, b->len) ||
	    !memory_read(&d->vm->mem, b->gpa, b->saved, b->len) || !put(d, b, b->insn))
		return -EFAULT;
	return 0;
}

static void lift(struct debug *d, const struct breakpoint *b)
{
	uint8_t now[sizeof(b->insn)];

	if (memory_read(&d->vm->mem, b->gpa, now, b->len) && !memcmp(now, b->insn, b->len))
		put(d, b, b->saved);
	else
		log_ratelimited(d->vm->log, &d->complaints, LOG_LEVEL_WARNING,
				"the guest has written over the breakpoint at 0x%llx",
				(unsigned long long)b->va);
}

static struct breakpoint *find(struct debug *d, gpa_t gpa)
{
	size_t i;

	for (i = 0; i < d->nr; i++)
		if (d->list[i].gpa == gpa)
			return &d->list[i];
	return NULL;
}

static bool make_room(struct debug *d)
{
	struct breakpoint *longer;
	size_t size = d->size ? 2 * d->size : 16;

	if (d->nr < d->size)
		return true;
	if (size > DEBUG_BREAKPOINTS_MAX)
		return false;
	longer = realloc(d->list, size * sizeof(*longer));
	if (!longer)
		return false;
	d->list = longer;
	d->size = size;
	return true;
}

int debug_insert(struct debug *d, unsigned int hart, uint64_t va)
{
	uint64_t len;
	gpa_t gpa;
	int ret;

	if (arch_debug_translate(&d->vm->vcpus[hart], va, &gpa, &len) && find(d, gpa))
		return 0;
	if (!make_room(d))
		return -ENOSPC;
	ret = plant(d, hart, va, &d->list[d->nr]);
	if (!ret)
		d->nr++;
	return ret;
}

void debug_remove(struct debug *d, uint64_t va)
{
	size_t i = 0;

	while (i < d->nr) {
		if (d->list[i].va != va) {
			i++;
			continue;
		}
		lift(d, &d->list[i]);
		d->list[i] = d->list[--d->nr];
	}
}

static void remove_all(struct debug *d)
{
	while (d->nr)
		lift(d, &d->list[--d->nr]);
}

/* --- memory ------------------------------------------------------------------------------- */

void debug_physical(struct debug *d, bool physical)
{
	d->physical = physical;
}

bool debug_is_physical(const struct debug *d)
{
	return d->physical;
}

/* How much of @len at @va lies together, and where. */
static bool piece(struct debug *d, unsigned int hart, uint64_t va, gpa_t *gpa, uint64_t *len)
{
	const struct memory_region *r;
	uint64_t mapped = UINT64_MAX;

	*gpa = va;
	if (!d->physical && !arch_debug_translate(&d->vm->vcpus[hart], va, gpa, &mapped))
		return false;
	r = memory_find(&d->vm->mem, *gpa, 0);
	/* A file may get shorter under us. */
	if (!r || r->file)
		return false;
	*len = min_u64(*len, min_u64(mapped, r->gpa + r->size - *gpa));
	return *len;
}

/* The part of @b in [@gpa, @gpa + @len): where it begins in that, in @b, and how long it is. */
static size_t overlap(const struct breakpoint *b, gpa_t gpa, uint64_t len, size_t *there,
		      size_t *here)
{
	gpa_t from = max_u64(b->gpa, gpa), to = min_u64(b->gpa + b->len, gpa + len);

	if (from >= to)
		return 0;
	*there = (size_t)(from - gpa);
	*here = (size_t)(from - b->gpa);
	return (size_t)(to - from);
}

size_t debug_read(struct debug *d, unsigned int hart, uint64_t va, void *buf, size_t len)
{
	size_t done = 0, there = 0, here = 0, i, n;

	while (done < len) {
		uint64_t chunk = len - done;
		gpa_t gpa;

		if (!piece(d, hart, va + done, &gpa, &chunk) ||
		    !memory_read(&d->vm->mem, gpa, (char *)buf + done, chunk))
			break;
		for (i = 0; i < d->nr; i++) {
			n = overlap(&d->list[i], gpa, chunk, &there, &here);
			memcpy((char *)buf + done + there, d->list[i].saved + here, n);
		}
		done += chunk;
	}
	return done;
}

size_t debug_write(struct debug *d, unsigned int hart, uint64_t va, const void *buf, size_t len)
{
	size_t done = 0, there = 0, here = 0, i, n;

	while (done < len) {
		uint64_t chunk = len - done;
		gpa_t gpa;

		if (!piece(d, hart, va + done, &gpa, &chunk) ||
		    !memory_write(&d->vm->mem, gpa, (const char *)buf + done, chunk))
			break;
		for (i = 0; i < d->nr; i++) {
			n = overlap(&d->list[i], gpa, chunk, &there, &here);
			memcpy(d->list[i].saved + here, (const char *)buf + done + there, n);
			if (n)
				put(d, &d->list[i], d->list[i].insn);
		}
		flush_code(d, gpa, chunk);
		done += chunk;
	}
	return done;
}

/* --- stop and go -------------------------------------------------------------------------- */

static void let_go(struct debug *d, struct vcpu *vcpu, bool go)
{
	pthread_mutex_lock(&d->vm->lock);
	atomic_store(&vcpu->held, !go);
	pthread_cond_broadcast(&d->vm->cond);
	pthread_mutex_unlock(&d->vm->lock);
}

static bool is_ours(struct debug *d, struct vcpu *vcpu)
{
	uint64_t pc = arch_debug_pc(vcpu), len;
	gpa_t gpa;
	size_t i;

	if (!arch_debug_translate(vcpu, pc, &gpa, &len))
		return false;
	for (i = 0; i < d->nr_stops; i++)
		if (d->stops[i].gpa == gpa)
			return true;
	return find(d, gpa) && !(d->lifted && d->at == gpa);
}

/* Look at the harts that came to a breakpoint. Return: the first at one of ours, or NO_HART. */
static unsigned int look_at_hits(struct debug *d)
{
	unsigned int i, hart = NO_HART;

	for (i = 0; i < d->vm->nr_vcpus; i++) {
		struct vcpu *vcpu = &d->vm->vcpus[i];

		if (!atomic_exchange(&vcpu->hit, false))
			continue;
		if (is_ours(d, vcpu)) {
			hart = hart == NO_HART ? i : hart;
		} else {
			arch_debug_give(vcpu);
			let_go(d, vcpu, true);
		}
	}
	return hart;
}

static void end_step(struct debug *d)
{
	struct breakpoint *b;

	if (d->stepper == NO_HART)
		return;
	while (d->nr_stops)
		lift(d, &d->stops[--d->nr_stops]);
	b = d->lifted ? find(d, d->at) : NULL;
	if (b)
		put(d, b, b->insn);
	d->lifted = false;
	arch_debug_stepped(&d->vm->vcpus[d->stepper], &d->step);
	d->stepper = NO_HART;
}

int debug_stop(struct debug *d)
{
	int ret;

	if (d->stopped)
		return 0;
	ret = vm_pause(d->vm, STOP_MS);
	if (ret)
		return ret;
	d->stopped = true;
	look_at_hits(d);
	end_step(d);
	return 0;
}

static void look(void *opaque)
{
	struct debug *d = opaque;
	bool stepped = d->stepper != NO_HART;
	unsigned int hart;

	/* What came while it was being stopped has been looked at there. */
	if (d->stopped)
		return;
	hart = look_at_hits(d);
	if (hart == NO_HART)
		return;
	if (debug_stop(d)) {
		log_error(d->vm->log, "a hart did not stop in time for the debugger");
		atomic_store(&d->vm->vcpus[hart].hit, true);
		loop_post(d->vm->loop, &d->look);
		return;
	}
	d->stopped_fn(d->opaque, hart, stepped ? DEBUG_STEPPED : DEBUG_BREAKPOINT);
}

void debug_hit(struct debug *d, struct vcpu *vcpu)
{
	atomic_store(&vcpu->held, true);
	atomic_store(&vcpu->hit, true);
	loop_post(d->vm->loop, &d->look);
}

struct fetch {
	struct debug *d;
	unsigned int hart;
};

static bool fetch(void *opaque, uint64_t va, void *buf, size_t len)
{
	struct fetch *f = opaque;
	bool physical = f->d->physical, ok;

	f->d->physical = false;
	ok = debug_read(f->d, f->hart, va, buf, len) == len;
	f->d->physical = physical;
	return ok;
}

/* Out of the way of its own step. */
static void lift_own(struct debug *d, struct vcpu *vcpu)
{
	struct breakpoint *b = NULL;
	uint64_t len;
	gpa_t gpa;

	if (arch_debug_translate(vcpu, arch_debug_pc(vcpu), &gpa, &len))
		b = find(d, gpa);
	if (!b)
		return;
	lift(d, b);
	d->lifted = true;
	d->at = gpa;
}

/* Return: 0: the hart is to run; 1: the step is done; -errno. */
static int begin_step(struct debug *d, unsigned int hart)
{
	struct vcpu *vcpu = &d->vm->vcpus[hart];
	struct fetch f = {d, hart};
	int ret = arch_debug_step(vcpu, fetch, &f, &d->step);
	size_t i;

	if (ret || d->step.done)
		return ret ? ret : 1;
	d->stepper = hart;
	lift_own(d, vcpu);
	/* One that is not mapped is no place that it can come to. */
	for (i = 0; i < d->step.nr; i++)
		if (!plant(d, hart, d->step.stops[i], &d->stops[d->nr_stops]))
			d->nr_stops++;
	return 0;
}

int debug_resume(struct debug *d, const enum debug_run *run)
{
	unsigned int i, stepper = NO_HART;
	int ret = 0;

	for (i = 0; i < d->vm->nr_vcpus && stepper == NO_HART; i++)
		if (run[i] == DEBUG_STEP)
			stepper = i;
	if (stepper != NO_HART)
		ret = begin_step(d, stepper);
	if (ret < 0)
		return ret;
	if (ret) {
		d->stopped_fn(d->opaque, stepper, DEBUG_STEPPED);
		return 0;
	}
	for (i = 0; i < d->vm->nr_vcpus; i++)
		let_go(d, &d->vm->vcpus[i], stepper == NO_HART ? run[i] == DEBUG_GO : i == stepper);
	d->stopped = false;
	vm_unpause(d->vm);
	return 0;
}

/* --- coming and going --------------------------------------------------------------------- */

static int enable(struct debug *d, bool on)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < d->vm->nr_vcpus && !ret; i++)
		ret = kvm_guest_debug(&d->vm->vcpus[i].kvm, on);
	return ret;
}

static void release_all(struct debug *d)
{
	unsigned int i;

	for (i = 0; i < d->vm->nr_vcpus; i++) {
		atomic_store(&d->vm->vcpus[i].hit, false);
		let_go(d, &d->vm->vcpus[i], true);
	}
}

int debug_attach(struct debug *d, struct error *err)
{
	bool stood = d->stopped;
	int ret;

	if (debug_stop(d))
		return fail(err, "a vCPU did not stop in time; the VM goes on");
	ret = enable(d, true);
	if (!ret) {
		d->attached = true;
		return 0;
	}
	enable(d, false);
	d->stopped = stood;
	if (!stood)
		vm_unpause(d->vm);
	return fail_errno(err, -ret, "KVM does not hand out breakpoints");
}

void debug_detach(struct debug *d)
{
	if (!d->attached)
		return;
	/* Where a hart does not stop KVM goes on to hand out breakpoints, all to be given back. */
	if (debug_stop(d))
		log_error(d->vm->log, "a hart did not stop in time to take breakpoints away");
	else
		enable(d, false);
	end_step(d);
	remove_all(d);
	release_all(d);
	d->attached = false;
	d->physical = false;
	if (d->stopped) {
		d->stopped = false;
		vm_unpause(d->vm);
	}
}

int debug_restarted(struct debug *d, struct error *err)
{
	int ret;

	loop_unpost(d->vm->loop, &d->look);
	release_all(d);
	d->nr = 0;
	d->nr_stops = 0;
	d->lifted = false;
	d->stepper = NO_HART;
	if (!d->attached)
		return 0;
	ret = enable(d, true);
	if (ret)
		return fail_errno(err, -ret, "KVM does not hand out breakpoints");
	if (!d->stopped && !vm_pause(d->vm, STOP_MS)) {
		d->stopped = true;
		d->stopped_fn(d->opaque, 0, DEBUG_RESET);
	}
	return 0;
}

bool debug_attached(const struct debug *d)
{
	return d->attached;
}

bool debug_is_stopped(const struct debug *d)
{
	return d->stopped;
}

struct debug *debug_create(struct vm *vm, debug_stopped_fn stopped, void *opaque, struct error *err)
{
	struct debug *d;

	if (!kvm_check(&vm->kvm, CAP_SET_GUEST_DEBUG)) {
		fail(err, "KVM of this host can't debug guests (KVM_CAP_SET_GUEST_DEBUG)");
		return NULL;
	}
	d = calloc(1, sizeof(*d));
	if (!d) {
		fail(err, "no memory");
		return NULL;
	}
	d->vm = vm;
	d->stopped_fn = stopped;
	d->opaque = opaque;
	d->stepper = NO_HART;
	loop_work_init(&d->look, look, d);
	return d;
}

void debug_destroy(struct debug *d)
{
	if (!d)
		return;
	loop_unpost(d->vm->loop, &d->look);
	free(d->list);
	free(d);
}
