// SPDX-License-Identifier: GPL-2.0-only
/*
 * Harts that KVM reset. When a hart is started by SBI HSM, or wakes from suspend to
 * RAM, KVM resets it without telling user space. Two things must then be set
 * right, on the hart's own way through user space.
 *
 * The wire. KVM forgets the level of the hart's external interrupt, while the PLIC
 * remembers that it told: it is told again. (The kernel's AIA has no such wire.)
 *
 * scounteren. Linux before 7.x lets user space read the time CSR only as a side
 * effect of its SBI PMU driver, and hosts since 7.2 start a hart with
 * scounteren = 0. A 6.12 guest without a PMU would kill its first program. lkvm
 * sets scounteren to 7 where it reads 0: on the boot hart before it runs, on the
 * others when they are seen first. A guest's own choice other than 0 stays.
 *
 * The sign. With the PLIC a hart that Linux brings up writes its own threshold, at
 * each hot-plug too; for one that wakes up, any MMIO is sign enough (Linux 7.x does not
 * set scounteren again then). With the AIA a
 * hart may run for ever without an exit. So harts that were not seen are kicked out of
 * the guest from time to time, more and more seldom, until their program counter shows
 * that they were started, or a minute has passed: a guest that starts a hart later
 * than that is on its own. Unless it is one that needs this, which shows in a second hart
 * whose scounteren is still 0 when it is seen: then harts are looked at once a second for good,
 * and while one is stopped, which may come back, more often. In between, the program of a user on
 * a CPU that has just come back may be killed for reading the time.
 *
 * Thread and lock: a hart's registers are touched on its own thread only; the timer
 * runs on the loop's and only kicks. What is saved: nothing; scounteren is among the
 * registers.
 */
#include "machine.h"

#include "lkvm/arch.h"
#include "lkvm/riscv/regs.h"

/* Cycle, time and instret for user mode: what a guest with a PMU driver ends up with. */
#define SCOUNTEREN_CY_TM_IR 7

#define WAKE_WAIT NSEC_PER_MSEC
#define FIRST_WAIT (20 * NSEC_PER_MSEC)
#define LONGEST_WAIT (16 * NSEC_PER_SEC)
#define OLD_GUEST_WAIT NSEC_PER_SEC
#define GONE_WAIT (50 * NSEC_PER_MSEC)

/* Return: were they shut? */
static bool open_counters(const struct kvm_vcpu *vcpu)
{
	unsigned long now;

	if (kvm_get_reg(vcpu, reg_long(REG_CSR, 0, CSR_SCOUNTEREN), &now) || now)
		return false;
	reg_set_long(vcpu, REG_CSR, 0, CSR_SCOUNTEREN, SCOUNTEREN_CY_TM_IR);
	return true;
}

/* A hart that KVM has reset is on its way through user space. */
static void see(struct arch_vm *a, struct vcpu *vcpu)
{
	a->harts[vcpu->id].seen = true;
	a->harts[vcpu->id].gone = false;
	if (open_counters(&vcpu->kvm) && vcpu->id)
		a->old_guest = true;
	if (a->irq.plic)
		plic_drive_output(a->irq.plic, vcpu->id);
}

static void watch(struct arch_vm *a, uint64_t wait)
{
	a->hart_wait = wait;
	loop_timer_arm(&a->hart_watch, now_ns() + wait);
}

static void kick_unseen(void *opaque)
{
	struct arch_vm *a = opaque;
	bool unseen = false, gone = false;
	unsigned int i;

	for (i = 0; i < a->vm->nr_vcpus; i++) {
		struct hart *hart = &a->harts[i];

		unseen = unseen || (!hart->seen && !hart->gone);
		gone = gone || hart->gone;
		if (!hart->seen || a->old_guest)
			vcpu_kick(&a->vm->vcpus[i]);
	}
	if (gone)
		loop_timer_arm(&a->hart_watch, now_ns() + GONE_WAIT);
	else if (unseen && a->hart_wait < LONGEST_WAIT)
		watch(a, 2 * a->hart_wait);
	else if (a->old_guest)
		loop_timer_arm(&a->hart_watch, now_ns() + OLD_GUEST_WAIT);
}

void machine_harts_init(struct arch_vm *a)
{
	loop_timer_init(&a->hart_watch, a->vm->loop, kick_unseen, a);
}

void machine_harts_finish(struct arch_vm *a)
{
	if (a->hart_watch.loop)
		loop_timer_cancel(&a->hart_watch);
}

void machine_hart_fresh(struct arch_vm *a, struct vcpu *vcpu)
{
	a->harts[vcpu->id].seen = false;
	a->harts[vcpu->id].gone = false;
	a->harts[vcpu->id].left = 0;
	/* The next kernel may be another. */
	a->old_guest = false;
	if (!vcpu->id)
		open_counters(&vcpu->kvm);
	if (vcpu->id && machine_has_aia(a))
		watch(a, FIRST_WAIT);
}

void arch_vcpu_wakes(struct vcpu *vcpu)
{
	struct arch_vm *a = vcpu->vm->arch;

	a->harts[vcpu->id].seen = false;
	a->harts[vcpu->id].left = reg_long_or_zero(&vcpu->kvm, REG_CORE, CORE_PC);
	/* KVM resets it at once, and its programs go on soon. */
	if (machine_has_aia(a))
		watch(a, WAKE_WAIT);
}

void arch_mmio_done(struct vcpu *vcpu, gpa_t gpa, bool write)
{
	struct arch_vm *a = vcpu->vm->arch;

	if (!a->harts[vcpu->id].seen || (write && machine_is_plic_threshold(a, gpa)))
		see(a, vcpu);
}

void arch_vcpu_kicked(struct vcpu *vcpu)
{
	struct arch_vm *a = vcpu->vm->arch;
	struct hart *hart = &a->harts[vcpu->id];
	uint32_t state;
	uint64_t pc;

	if (!machine_has_aia(a) || (hart->seen && !a->old_guest))
		return;
	if (a->old_guest && !kvm_get_mp_state(&vcpu->kvm, &state) &&
	    state == KVM_MP_STATE_STOPPED) {
		hart->gone = hart->gone || hart->seen;
		hart->seen = false;
		return;
	}
	/* One that was never started stands at 0, and one that is just waking where it was. */
	pc = reg_long_or_zero(&vcpu->kvm, REG_CORE, CORE_PC);
	if (hart->seen || (pc && pc != hart->left))
		see(a, vcpu);
}
