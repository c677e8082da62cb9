/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A vCPU's registers outside of KVM: taken from one, kept in a file, looked at by a host
 * that is to take them, and put into a new vCPU there in the order that KVM needs.
 *
 * One thread; the vCPU does not run.
 */
#ifndef LKVM_RISCV_REG_SET_H
#define LKVM_RISCV_REG_SET_H

#include "lkvm/log.h"
#include "lkvm/riscv/isa.h"
#include "lkvm/riscv/reg_catalogue.h"
#include "lkvm/snapshot/reasons.h"
#include "lkvm/xfer.h"

/* What one vCPU may have in a file. */
#define REG_SET_MAX 4096

/**
 * struct reg_value - one register: where its bytes lie in struct reg_set
 */
struct reg_value {
	uint64_t id;
	size_t at;
};

/**
 * struct reg_set - a vCPU's registers, by rising id; starts as {0}
 * @mp_state: KVM_MP_STATE_*
 * @untold: ISA extensions that are on because KVM can't switch them off, and that the guest does
 *          not know of (reg_set_told()): a host may lack them
 */
struct reg_set {
	struct reg_value *regs;
	size_t nr, max;
	uint8_t *data;
	size_t len, data_max;
	uint32_t mp_state;
	bool untold[ISA_EXT_COUNT];
};

void reg_set_free(struct reg_set *set);

/**
 * reg_set_find() - the value of register @id, reg_size(@id) bytes, or NULL
 */
const void *reg_set_find(const struct reg_set *set, uint64_t id);

/**
 * reg_set_get() - a register of up to 8 bytes, or @otherwise where it is not there
 */
uint64_t reg_set_get(const struct reg_set *set, uint64_t id, uint64_t otherwise);

/**
 * reg_set_put() - set a register; false where there is no memory
 */
bool reg_set_put(struct reg_set *set, uint64_t id, const void *value);

/**
 * reg_set_save() - all that @vcpu has, but for what the catalogue says need not be
 *
 * Return: 0, or -1 with @err naming the register that KVM does not give.
 */
int reg_set_save(struct reg_set *set, const struct kvm_vcpu *vcpu, struct error *err);

/**
 * reg_set_report() - tell once of registers that the catalogue does not know
 */
void reg_set_report(const struct reg_set *set, struct log *log);

/**
 * reg_set_transfer() - to and from bytes (see xfer.h)
 *
 * ISA and SBI extensions go by name, all else by KVM's id. Loading into an empty set;
 * extensions that this lkvm has no name for and that were on are given to @why.
 */
void reg_set_transfer(struct reg_set *set, struct xfer *x, struct reasons *why);

/**
 * reg_set_told() - the guest's ISA string is @isa: fill @untold
 */
void reg_set_told(struct reg_set *set, const char *isa);

/**
 * reg_set_check() - can @vcpu, fresh, of a host that is asked, take these registers?
 * @label: for the reasons: "vCPU 1"
 *
 * Switches extensions of @vcpu as reg_set_configure() would, so it is one to be thrown
 * away. Each reason names the register or extension.
 */
void reg_set_check(const struct reg_set *set, const struct kvm_vcpu *vcpu, const char *label,
		   struct reasons *why);

/**
 * reg_set_configure() - first half of a restore: what the vCPU is
 *
 * Before it has run, and before the kernel's interrupt chip exists.
 *
 * Return: 0, or -1 with @err naming the register.
 */
int reg_set_configure(const struct reg_set *set, const struct kvm_vcpu *vcpu, struct error *err);

/**
 * reg_set_restore() - second half: its state, but for the timer; mp_state last
 */
int reg_set_restore(const struct reg_set *set, const struct kvm_vcpu *vcpu, struct error *err);

/**
 * reg_set_restore_timer() - just before it runs
 *
 * The VM's time has been set by the caller.
 */
int reg_set_restore_timer(const struct reg_set *set, const struct kvm_vcpu *vcpu,
			  struct error *err);

/**
 * reg_set_wants_kick() - is an interrupt pending that does not wake the hart by itself?
 *
 * What was put back by sip is delivered to a hart that takes interrupts, but KVM does not
 * end a WFI for it. A signal to its thread does.
 */
bool reg_set_wants_kick(const struct reg_set *set);

/**
 * reg_set_reset() - what KVM makes of a hart that it resets and starts at @pc
 * @hart: in a0; @opaque: in a1
 *
 * For a hart whose reset KVM has queued and not carried out.
 */
void reg_set_reset(struct reg_set *set, uint64_t pc, uint64_t hart, uint64_t opaque);

/**
 * reg_set_start_is_pending() - may the hart's start still be inside KVM?
 * @boot: it is the one that KVM starts by itself
 *
 * After SBI HSM hart_start KVM says RUNNABLE at once and sets the registers when the
 * vCPU runs next. True for a hart that is RUNNABLE and has never run, or whose registers
 * are those of its own successful hart_stop. May be wrong, never the other way.
 */
bool reg_set_start_is_pending(const struct kvm_vcpu *vcpu, bool boot);

#endif /* LKVM_RISCV_REG_SET_H */
