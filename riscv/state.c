// SPDX-License-Identifier: GPL-2.0-only
/*
 * A machine's state out of and into KVM and the devices (include/lkvm/arch_state.h).
 *
 * Sections, in the order of the file:
 *
 *   riscv          what the machine is (state_config.c)
 *   platform       the VM's clock and the host's then, what lkvm remembers of each hart, console
 * input that no device has taken yet, whether the guest is suspended to RAM vcpu0, 1… registers
 * (regs_set.c) device:NAME    each device of the machine's table: its kind, then its own walk
 *
 * A loaded VM is held until it goes: its devices stay quiet, its clock and its harts'
 * timers wait here. So a VM that was loaded and not let go is saved as it was loaded, and
 * the guest's time goes on from where it stood, however long the VM was a file.
 *
 * Going on: devices resume and say their wires again, then the PLIC says each hart's,
 * changed or not, after sip was written, which would forget it; the guest is given another
 * generation id, with an interrupt; then the clock, once for
 * all harts, and the harts' timers. Software interrupts that were pending in sip are
 * delivered, but do not end a WFI in KVM: harts that have one are kicked a few times.
 *
 * A hart that suspended the guest to RAM is saved as it will wake up, which KVM tells
 * nobody: so lkvm makes those registers itself.
 *
 * Thread and lock: the loop's thread, the vCPUs parked or not started. What is saved: all
 * of it is said here.
 */
#include "machine.h"

#include "lkvm/arch_state.h"
#include "lkvm/riscv/reg_set.h"
#include "lkvm/snapshot/section.h"
#include "lkvm/vcpu.h"
#include "state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEVICE_PREFIX "device:"
#define KIND_MAX 32

/* When harts that sleep through a pending interrupt are kicked, in ms after going on. */
static const unsigned int kick_at_ms[] = {1, 3, 10, 30, 100};

/**
 * struct machine_state - what a VM that was loaded is held by
 * @held: it has not gone on yet
 * @time: the VM's clock while it is held; @wall: the host's, when it was that
 * @regs: each hart's, for its timer; @kicks: which harts are kicked, until @round is over
 */
struct machine_state {
	struct arch_vm *a;
	bool held;
	uint64_t time, wall;
	struct reg_set *regs;
	bool *kicks;
	unsigned int round;
	struct loop_timer kick;
};

static uint64_t time_id(void)
{
	return reg_id(REG_TIMER, 0, TIMER_TIME, REG_SIZE_U64);
}

/* --- obstacles -------------------------------------------------------------------------- */

void arch_state_obstacles(struct vm *vm, struct reasons *why)
{
	struct arch_vm *a = vm->arch;
	size_t i;

	for (i = 0; i < a->nr_devices; i++) {
		struct device *d = a->devices[i].device;
		struct virtio_device *vdev = machine_virtio_find(a, d->name);
		const char *text = vdev && vdev->ops->obstacle ? vdev->ops->obstacle(vdev) : NULL;

		if (text)
			reasons_add(why, "%s: %s", d->name, text);
		else if (!d->ops->transfer)
			reasons_add(why, "%s can't be saved", d->name);
	}
}

void arch_state_losses(struct vm *vm, struct reasons *why)
{
	const struct isa *isa = &vm->arch->isa;

	if (isa->sbi[SBI_EXT_PMU])
		reasons_add(why, "KVM gives nobody the guest's performance counters (SBI PMU): "
				 "they are lost (--disable-sbi-pmu hides them)");
}

bool arch_hart_starting(struct vcpu *vcpu)
{
	return reg_set_start_is_pending(&vcpu->kvm, !vcpu->id);
}

void arch_quiet(struct vm *vm, bool quiet)
{
	struct arch_vm *a = vm->arch;
	size_t i;

	if (arch_held(vm))
		return;
	for (i = 0; i < a->nr_devices; i++) {
		struct device *d = a->devices[quiet ? a->nr_devices - 1 - i : i].device;
		void (*fn)(struct device * dev) = quiet ? d->ops->quiesce : d->ops->resume;

		if (fn)
			fn(d);
	}
}

/* --- the platform -------------------------------------------------------------------------- */

/**
 * struct platform - the section's fields
 * @time: the VM's clock, in ticks; @wall: CLOCK_REALTIME then, in ns
 * @seen: of struct hart
 * @input: console input that waits
 * @suspended: to RAM, by hart @sleeper; @wake: and about to be woken
 */
struct platform {
	uint64_t time, wall;
	uint32_t harts;
	bool *seen;
	uint32_t input_len;
	uint8_t input[CONSOLE_BUFFER];
	bool suspended, wake;
	uint32_t sleeper;
};

static void walk_platform(void *opaque, struct xfer *x)
{
	struct platform *p = opaque;
	uint32_t harts = p->harts, i;

	xfer_u64(x, &p->time);
	xfer_u64(x, &p->wall);
	xfer_u32(x, &harts);
	xfer_check(x, harts == p->harts, "another number of harts");
	for (i = 0; i < p->harts; i++)
		xfer_bool(x, &p->seen[i]);
	xfer_u32(x, &p->input_len);
	xfer_check(x, p->input_len <= sizeof(p->input), "more console input than can wait");
	if (!x->failed)
		xfer_bytes(x, p->input, p->input_len);
	xfer_bool(x, &p->suspended);
	xfer_bool(x, &p->wake);
	xfer_u32(x, &p->sleeper);
	xfer_check(x, p->sleeper < p->harts, "a hart that is not there sleeps");
	xfer_check(x, p->suspended || (!p->wake && !p->sleeper), "nobody sleeps, and is woken");
}

static void get_input(struct machine_console *c, struct platform *p)
{
	size_t i;

	pthread_mutex_lock(&c->lock);
	p->input_len = (uint32_t)c->len;
	for (i = 0; i < c->len; i++)
		p->input[i] = c->buf[(c->head + i) % CONSOLE_BUFFER];
	pthread_mutex_unlock(&c->lock);
}

static void put_input(struct machine_console *c, const struct platform *p)
{
	pthread_mutex_lock(&c->lock);
	memcpy(c->buf, p->input, p->input_len);
	c->head = 0;
	c->len = p->input_len;
	pthread_mutex_unlock(&c->lock);
}

static void get_sleep(struct arch_vm *a, struct platform *p)
{
	struct vm *vm = a->vm;

	pthread_mutex_lock(&vm->lock);
	p->suspended = vm->suspended;
	p->wake = vm->suspended && vm->wake;
	pthread_mutex_unlock(&vm->lock);
	p->sleeper = p->suspended ? a->sleeper : 0;
}

/* The hart's registers are those that it wakes up with. */
static void put_sleep(struct arch_vm *a, const struct platform *p)
{
	struct vm *vm = a->vm;

	if (!p->suspended)
		return;
	a->sleeper = p->sleeper;
	a->sleep_in_kvm = false;
	vm->vcpus[p->sleeper].sleeps = true;
	pthread_mutex_lock(&vm->lock);
	vm->suspended = true;
	vm->wake = p->wake;
	pthread_mutex_unlock(&vm->lock);
}

static int platform_init(struct platform *p, const struct arch_vm *a, struct error *err)
{
	memset(p, 0, sizeof(*p));
	p->harts = a->vm->nr_vcpus;
	p->seen = calloc(p->harts, sizeof(*p->seen));
	return p->seen ? 0 : fail(err, "no memory for %u harts", p->harts);
}

static int get_time(const struct arch_vm *a, struct platform *p, struct error *err)
{
	int ret;

	if (a->state && a->state->held) {
		p->time = a->state->time;
		p->wall = a->state->wall;
		return 0;
	}
	p->wall = a->vm->paused_at;
	ret = kvm_get_reg(&a->vm->vcpus[0].kvm, time_id(), &p->time);
	return ret ? fail_errno(err, -ret, "KVM does not give the VM's time") : 0;
}

static int save_platform(struct arch_vm *a, struct snapshot_writer *w, struct error *err)
{
	struct platform p;
	unsigned int i;
	int ret;

	if (platform_init(&p, a, err))
		return -1;
	for (i = 0; i < p.harts; i++)
		p.seen[i] = a->harts[i].seen;
	get_input(&a->console, &p);
	get_sleep(a, &p);
	ret = get_time(a, &p, err);
	if (!ret)
		ret = section_save(w, "platform", SNAPSHOT_MANDATORY, walk_platform, &p, err);
	free(p.seen);
	return ret;
}

static int load_platform(struct arch_vm *a, const struct snapshot_file *f, struct error *err)
{
	struct platform p;
	unsigned int i;
	int ret;

	if (platform_init(&p, a, err))
		return -1;
	ret = section_load(f, "platform", walk_platform, &p, err);
	if (!ret) {
		for (i = 0; i < p.harts; i++)
			a->harts[i].seen = p.seen[i];
		put_input(&a->console, &p);
		put_sleep(a, &p);
		a->state->time = p.time;
		a->state->wall = p.wall;
	}
	free(p.seen);
	return ret;
}

/* --- vCPUs ----------------------------------------------------------------------------------- */

/* For section_load(): where the set goes, and what is strange in it. */
struct vcpu_walk {
	struct reg_set *set;
	struct reasons why;
};

static void walk_vcpu(void *opaque, struct xfer *x)
{
	struct vcpu_walk *v = opaque;

	reg_set_transfer(v->set, x, &v->why);
}

static const char *vcpu_name(unsigned int id, char *buf, size_t len)
{
	snprintf(buf, len, "vcpu%u", id);
	return buf;
}

/* A held VM's timers are not in KVM yet. */
static bool hold_timers(const struct arch_vm *a, unsigned int id, struct reg_set *set)
{
	const struct reg_set *held;
	size_t i;

	if (!a->state || !a->state->held)
		return true;
	held = &a->state->regs[id];
	for (i = 0; i < held->nr; i++) {
		uint64_t reg = held->regs[i].id;

		if (reg_class_of(reg) == REG_TIMER && reg_set_find(set, reg) &&
		    !reg_set_put(set, reg, reg_set_find(held, reg)))
			return false;
	}
	return true;
}

/*
 * The call that suspended the guest is still in the shared area: KVM keeps its
 * reason there, and has not been entered again.
 */
static void wake_up_registers(const struct vcpu *vcpu, struct reg_set *set)
{
	const struct kvm_run *run = vcpu->kvm.run;

	reg_set_reset(set, run->riscv_sbi.args[1], vcpu->id, run->riscv_sbi.args[2]);
}

static int save_vcpu(struct arch_vm *a, unsigned int id, struct snapshot_writer *w,
		     struct error *err)
{
	struct reg_set set = {0};
	struct vcpu_walk walk = {.set = &set};
	struct error why;
	char name[SNAPSHOT_NAME_SIZE];
	int ret;

	vcpu_name(id, name, sizeof(name));
	ret = reg_set_save(&set, &a->vm->vcpus[id].kvm, &why);
	if (ret)
		fail(err, "%s: %s", name, why.msg);
	if (!ret && vm_suspended(a->vm) && a->sleep_in_kvm && a->sleeper == id)
		wake_up_registers(&a->vm->vcpus[id], &set);
	if (!ret && !hold_timers(a, id, &set))
		ret = fail(err, "%s: no memory for registers", name);
	if (!ret && !id)
		reg_set_report(&set, a->vm->log);
	if (!ret)
		ret = section_save(w, name, SNAPSHOT_MANDATORY, walk_vcpu, &walk, err);
	reg_set_free(&set);
	return ret;
}

int machine_read_vcpu(const struct snapshot_file *f, unsigned int id, struct reg_set *set,
		      struct reasons *why, struct error *err)
{
	struct vcpu_walk walk = {.set = set};
	char name[SNAPSHOT_NAME_SIZE];
	unsigned int i;

	if (section_load(f, vcpu_name(id, name, sizeof(name)), walk_vcpu, &walk, err))
		return -1;
	for (i = 0; i < walk.why.nr && i < REASONS_MAX; i++)
		reasons_add(why, "%s", walk.why.list[i].msg);
	return 0;
}

static void kick_sleepers(void *opaque)
{
	struct machine_state *s = opaque;
	struct vm *vm = s->a->vm;
	unsigned int i;

	for (i = 0; i < vm->nr_vcpus; i++)
		if (s->kicks[i])
			vcpu_kick(&vm->vcpus[i]);
	if (++s->round < ARRAY_SIZE(kick_at_ms))
		loop_timer_arm(&s->kick,
			       now_ns() + (kick_at_ms[s->round] - kick_at_ms[s->round - 1]) *
						  NSEC_PER_MSEC);
}

void machine_state_free(struct arch_vm *a)
{
	struct machine_state *s = a->state;
	unsigned int i;

	if (!s)
		return;
	loop_timer_cancel(&s->kick);
	for (i = 0; s->regs && i < a->vm->nr_vcpus; i++)
		reg_set_free(&s->regs[i]);
	free(s->regs);
	free(s->kicks);
	free(s);
	a->state = NULL;
}

static int new_state(struct arch_vm *a, struct error *err)
{
	struct machine_state *s;

	machine_state_free(a);
	s = a->state = calloc(1, sizeof(*s));
	if (!s)
		return fail(err, "no memory for the state");
	s->a = a;
	loop_timer_init(&s->kick, a->vm->loop, kick_sleepers, s);
	s->regs = calloc(a->vm->nr_vcpus, sizeof(*s->regs));
	s->kicks = calloc(a->vm->nr_vcpus, sizeof(*s->kicks));
	return s->regs && s->kicks ? 0 : fail(err, "no memory for the state");
}

int arch_load_vcpus(struct vm *vm, const struct snapshot_file *f, struct error *err)
{
	struct arch_vm *a = vm->arch;
	struct reasons why = {0};
	struct error reason;
	unsigned int i;

	if (new_state(a, err))
		return -1;
	for (i = 0; i < vm->nr_vcpus; i++) {
		if (machine_read_vcpu(f, i, &a->state->regs[i], &why, err))
			return -1;
		reg_set_told(&a->state->regs[i], vm->cfg->arch->isa.list);
		if (reg_set_configure(&a->state->regs[i], &vm->vcpus[i].kvm, &reason))
			return fail(err, "vcpu%u: %s", i, reason.msg);
	}
	return reasons_fail(&why, "vCPUs", err);
}

/* --- devices -----------------------------------------------------------------------------------
 */

/* The device's kind, so that its bytes are read by nobody else, and its own walk. */
static void walk_device(void *opaque, struct xfer *x)
{
	struct device *d = opaque;
	const char *kind = d->ops->kind;
	char loaded[KIND_MAX] = "";
	uint8_t len = (uint8_t)strlen(kind);

	xfer_u8(x, &len);
	xfer_check(x, len == strlen(kind), "this is the state of another kind of device");
	if (x->failed)
		return;
	snprintf(loaded, sizeof(loaded), "%s", kind);
	xfer_bytes(x, loaded, len);
	xfer_check(x, !memcmp(loaded, kind, len), "this is the state of another kind of device");
	if (!x->failed)
		d->ops->transfer(d, x);
}

static const char *device_section(const struct device *d, char *buf, size_t len)
{
	snprintf(buf, len, DEVICE_PREFIX "%s", d->name);
	return buf;
}

int arch_save(struct vm *vm, struct snapshot_writer *w, struct error *err)
{
	struct arch_vm *a = vm->arch;
	char name[SNAPSHOT_NAME_SIZE];
	unsigned int i;

	if (machine_config_save(a, w, err) || save_platform(a, w, err))
		return -1;
	for (i = 0; i < vm->nr_vcpus; i++)
		if (save_vcpu(a, i, w, err))
			return -1;
	for (i = 0; i < a->nr_devices; i++) {
		struct device *d = a->devices[i].device;

		if (section_save(w, device_section(d, name, sizeof(name)), SNAPSHOT_MANDATORY,
				 walk_device, d, err))
			return -1;
	}
	return 0;
}

/* A device in the file that the machine does not have. */
static int check_devices(const struct arch_vm *a, const struct snapshot_file *f, struct error *err)
{
	const size_t prefix = strlen(DEVICE_PREFIX);
	uint32_t i;
	size_t k;

	for (i = 0; i < f->header.sections; i++) {
		const char *name = f->entries[i].name;

		if (strncmp(name, DEVICE_PREFIX, prefix))
			continue;
		for (k = 0; k < a->nr_devices; k++)
			if (!strcmp(a->devices[k].device->name, name + prefix))
				break;
		if (k == a->nr_devices)
			return fail(err, "the file has a device %s, this VM has not",
				    name + prefix);
	}
	return 0;
}

static int load_devices(struct arch_vm *a, const struct snapshot_file *f, struct error *err)
{
	char name[SNAPSHOT_NAME_SIZE];
	size_t i;

	if (check_devices(a, f, err))
		return -1;
	for (i = 0; i < a->nr_devices; i++) {
		struct device *d = a->devices[i].device;

		if (section_load(f, device_section(d, name, sizeof(name)), walk_device, d, err))
			return -1;
	}
	return 0;
}

int arch_load_state(struct vm *vm, const struct snapshot_file *f, struct error *err)
{
	struct arch_vm *a = vm->arch;
	struct error why;
	unsigned int i;

	for (i = 0; i < vm->nr_vcpus; i++) {
		if (reg_set_restore(&a->state->regs[i], &vm->vcpus[i].kvm, &why))
			return fail(err, "vcpu%u: %s", i, why.msg);
		a->state->kicks[i] = reg_set_wants_kick(&a->state->regs[i]);
	}
	arch_quiet(vm, true);
	a->state->held = true;
	return load_platform(a, f, err) || load_devices(a, f, err) ? -1 : 0;
}

bool arch_held(const struct vm *vm)
{
	return vm->arch->state && vm->arch->state->held;
}

/*
 * Svadu: a hart sets the accessed and dirty bits of the guest's page tables. Where the G-stage
 * maps their page read-only, as KVM does after a load fault from a page that the host would copy
 * first, the hart reports a guest-page fault of the kind that its own access was ("Memory
 * Management Fault", htinst 0x3020 says that it was a write): of a load, mostly. KVM of Linux 7.2
 * goes by that, and the hart stands at one load for ever (guest/checker/paging.c tries it).
 */
bool arch_writes_unseen(const struct vm *vm)
{
	uint64_t on;

	return !reg_get_long(&vm->vcpus[0].kvm, REG_ISA_EXT, EXT_SINGLE, ISA_EXT_SVADU, &on) && on;
}

/* The VM's clock when it goes on. A host whose clock is behind the file's counts as no time. */
static uint64_t time_to_go(const struct arch_vm *a)
{
	const struct machine_state *s = a->state;
	uint64_t now = wall_ns();

	if (a->vm->cfg->clock == CLOCK_CONTINUE || now <= s->wall)
		return s->time;
	return s->time +
	       (uint64_t)((unsigned __int128)(now - s->wall) * a->isa.timebase / NSEC_PER_SEC);
}

int arch_go(struct vm *vm, struct error *err)
{
	struct arch_vm *a = vm->arch;
	struct machine_state *s = a->state;
	struct error why;
	uint64_t now;
	unsigned int i;
	int ret;

	if (!arch_held(vm))
		return 0;
	s->held = false;
	arch_quiet(vm, false);
	if (!generation_renew(a->generation))
		return fail(err, "the host has no random bytes for another generation id");
	if (a->irq.plic)
		plic_drive_outputs(a->irq.plic);
	now = time_to_go(a);
	ret = kvm_set_reg(&vm->vcpus[0].kvm, time_id(), &now);
	if (ret)
		return fail_errno(err, -ret, "KVM refused the VM's time");
	for (i = 0; i < vm->nr_vcpus; i++)
		if (reg_set_restore_timer(&s->regs[i], &vm->vcpus[i].kvm, &why))
			return fail(err, "vcpu%u: %s", i, why.msg);
	loop_timer_arm(&s->kick, now_ns() + kick_at_ms[0] * NSEC_PER_MSEC);
	/* What is to wake a sleeping guest may have come before. */
	if (vm_suspended(vm))
		loop_post(vm->loop, &a->wake_check);
	return 0;
}
