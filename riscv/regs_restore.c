// SPDX-License-Identifier: GPL-2.0-only
/*
 * Registers into a host (include/lkvm/riscv/reg_set.h): what it can't take, named, and
 * the order in which it takes the rest.
 *
 * Checking makes the same steps as restoring, on a vCPU that is thrown away: extensions
 * are switched, then every register must be there. So the two agree by construction. What
 * KVM can't change is compared: the time's frequency, the size of vector registers and,
 * where the extension is on, of cache blocks. The first-stage mode that the guest uses
 * (satp) must be one that the host has; what else the host could do does not count.
 *
 * An extension that is on here and was off there, and that KVM can't switch off, stays:
 * the guest was told of what there is. And one that was on there because KVM could not switch
 * it off, and that the guest was not told of (--isa; Ssaia with a PLIC), need not be here, nor
 * need its registers.
 *
 * Order (the numbers are places, reg_catalogue.h): identity; extensions; state, with the
 * high half of the steal-time address before the low one, which KVM 7.2 erases with it;
 * sip, which forgets injections, so the caller drives interrupt wires after it;
 * mp_state. The timer comes last of all. timer-state says whether a timer is armed on
 * hosts without Sstc: 0 can't be written (a new vCPU's is), and KVM 6.12 overwrites
 * compare when 1 is.
 *
 * No state, no lock.
 */
#include "lkvm/riscv/reg_set.h"

#include "lkvm/riscv/isa.h"
#include "lkvm/riscv/layout.h"

#include <errno.h>
#include <string.h>

/* Bits of sip and sie (privileged architecture, "Supervisor Interrupt Registers"). */
#define SIP_STIP (UINT64_C(1) << 5)

/* SBI hart state management: what a successful hart_stop leaves in the registers. */
#define SBI_EID_HSM 0x48534d
#define SBI_HSM_STOP 1

static uint64_t timer_id(unsigned int index)
{
	return reg_id(REG_TIMER, 0, index, REG_SIZE_U64);
}

/* The extension whose absence takes a register away, of those that guests may not know; or -1. */
static int ext_of(uint64_t id)
{
	if (reg_class_of(id) != REG_CSR)
		return -1;
	switch (reg_sub_of(id)) {
	case 1:
		return ISA_EXT_SSAIA;
	case 2:
		return ISA_EXT_SMSTATEEN;
	default:
		return -1;
	}
}

/* The guest does not know of it, and it is not here. */
static bool not_missed(const struct reg_set *set, const struct kvm_vcpu *vcpu, uint64_t id)
{
	uint8_t value[REG_SIZE_MAX];
	int ext = ext_of(id);

	return ext >= 0 && set->untold[ext] && kvm_get_reg(vcpu, id, value);
}

void reg_set_told(struct reg_set *set, const char *isa)
{
	bool told[ISA_EXT_COUNT];
	unsigned int i;

	isa_told(isa, told);
	for (i = 0; i < ISA_EXT_COUNT; i++)
		set->untold[i] = !told[i];
}

static bool ext_on(const struct reg_set *set, enum reg_class class, unsigned int number)
{
	return reg_set_get(set, reg_long(class, EXT_SINGLE, number), 0);
}

/* --- extensions ------------------------------------------------------------------------- */

/* A host may lack it. */
static bool untold(const struct reg_set *set, uint64_t id)
{
	return reg_class_of(id) == REG_ISA_EXT && reg_index_of(id) < ISA_EXT_COUNT &&
	       set->untold[reg_index_of(id)];
}

/*
 * Bring one extension to the saved value. Return: 0; -errno where it has to be on and
 * can't. One that can't be switched off stays.
 */
static int switch_ext(const struct reg_set *set, const struct kvm_vcpu *vcpu, uint64_t id)
{
	uint64_t want = reg_set_get(set, id, 0);
	bool must = want && !untold(set, id);
	unsigned long now = 0, value = (unsigned long)want;
	int ret = kvm_get_reg(vcpu, id, &now);

	if (ret)
		return must ? ret : 0;
	if (now == value)
		return 0;
	ret = kvm_set_reg(vcpu, id, &value);
	return must ? ret : 0;
}

/* What this host has and the set says nothing of: off, as far as KVM lets it be. */
static void switch_off_others(const struct reg_set *set, const struct kvm_vcpu *vcpu)
{
	unsigned int i;

	for (i = 0; i < ISA_EXT_COUNT; i++)
		if (!reg_set_find(set, reg_long(REG_ISA_EXT, EXT_SINGLE, i)))
			switch_ext(set, vcpu, reg_long(REG_ISA_EXT, EXT_SINGLE, i));
	for (i = 0; i < SBI_EXT_COUNT; i++)
		if (!reg_set_find(set, reg_long(REG_SBI_EXT, EXT_SINGLE, i)))
			switch_ext(set, vcpu, reg_long(REG_SBI_EXT, EXT_SINGLE, i));
}

/* An SBI extension that stays on answers calls that the guest was told do not exist: harmless. */
static int switch_exts(const struct reg_set *set, const struct kvm_vcpu *vcpu, enum reg_place place,
		       uint64_t *failed)
{
	size_t i;
	int ret;

	for (i = 0; i < set->nr; i++) {
		uint64_t id = set->regs[i].id;

		if (reg_info(id).place != place)
			continue;
		ret = switch_ext(set, vcpu, id);
		if (ret) {
			*failed = id;
			return ret;
		}
	}
	return 0;
}

/* --- checking ---------------------------------------------------------------------------- */

static void check_ext(const struct reg_set *set, const struct kvm_vcpu *vcpu, uint64_t id,
		      struct reasons *why)
{
	char name[REG_NAME_MAX];
	int ret = switch_ext(set, vcpu, id);
	bool sbi = reg_class_of(id) == REG_SBI_EXT;
	const char *bare;

	if (!ret)
		return;
	bare = strchr(reg_name(id, name), ' ');
	reasons_add(why, "the guest has %s extension %s, which KVM here %s", sbi ? "SBI" : "ISA",
		    bare ? bare + 1 : name,
		    ret == -ENOENT ? "does not have" : "does not switch on");
}

static bool block_matters(const struct reg_set *set, uint64_t id)
{
	unsigned int ext;

	switch (reg_index_of(id)) {
	case CONFIG_ZICBOM_BLOCK_SIZE:
		ext = ISA_EXT_ZICBOM;
		break;
	case CONFIG_ZICBOZ_BLOCK_SIZE:
		ext = ISA_EXT_ZICBOZ;
		break;
	case CONFIG_ZICBOP_BLOCK_SIZE:
		ext = ISA_EXT_ZICBOP;
		break;
	default:
		return false; /* satp-mode: see check_satp() */
	}
	return ext_on(set, REG_ISA_EXT, ext) && !set->untold[ext];
}

/* What can't be set must be the same. */
static void check_equal(const struct reg_set *set, const struct kvm_vcpu *vcpu, uint64_t id,
			struct reasons *why)
{
	uint64_t want = reg_set_get(set, id, 0), have = 0;
	char name[REG_NAME_MAX];

	if (reg_class_of(id) == REG_CONFIG && (!block_matters(set, id) || !want))
		return;
	/* Vectors: said once, by the extension. */
	if (kvm_get_reg(vcpu, id, &have) && reg_class_of(id) == REG_VECTOR)
		return;
	if (have == want)
		return;
	if (reg_class_of(id) == REG_TIMER)
		reasons_add(why, "the guest's clock counts %llu Hz, the host's %llu Hz",
			    (unsigned long long)want, (unsigned long long)have);
	else if (reg_class_of(id) == REG_VECTOR)
		reasons_add(why, "vector registers (vlenb) have %llu bytes, here %llu",
			    (unsigned long long)want, (unsigned long long)have);
	else
		reasons_add(why, "%s is %llu, here %llu", reg_name(id, name),
			    (unsigned long long)want, (unsigned long long)have);
}

/* satp.MODE, bits 63 to 60; on RV32 bit 31. */
static unsigned int satp_mode_of(uint64_t satp)
{
	return sizeof(long) == 8 ? (unsigned int)(satp >> 60) : (unsigned int)(satp >> 31 & 1);
}

static void check_satp(const struct reg_set *set, const struct kvm_vcpu *vcpu, const char *label,
		       struct reasons *why)
{
	unsigned int mode = satp_mode_of(reg_set_get(set, reg_long(REG_CSR, 0, CSR_SATP), 0));
	uint64_t host;

	/* A kernel that does not tell has hosts with Sv39 only. */
	if (reg_get_long(vcpu, REG_CONFIG, 0, CONFIG_SATP_MODE, &host))
		host = sizeof(long) == 8 ? 8 : 1;
	if (mode > host)
		reasons_add(why, "%s: the guest uses %s page tables, this host has up to %s", label,
			    satp_name(mode), satp_name((unsigned int)host));
}

static bool is_ext_place(enum reg_place place)
{
	return place == REG_PLACE_ISA || place == REG_PLACE_SBI;
}

/*
 * Registers of an extension that is off in the set and was saved all the same do not
 * happen: KVM lists what is on. The size of vectors is compared above, so here a vector
 * register of another size is not told again.
 */
static void check_there(const struct reg_set *set, const struct kvm_vcpu *vcpu, uint64_t id,
			const char *label, struct reasons *why)
{
	uint8_t value[REG_SIZE_MAX];
	char name[REG_NAME_MAX];
	int ret;

	if (reg_class_of(id) == REG_VECTOR || not_missed(set, vcpu, id))
		return;
	ret = kvm_get_reg(vcpu, id, value);
	if (ret)
		reasons_add(why, "%s: KVM here has no register %s", label, reg_name(id, name));
}

void reg_set_check(const struct reg_set *set, const struct kvm_vcpu *vcpu, const char *label,
		   struct reasons *why)
{
	unsigned int before = why->nr;
	size_t i;

	switch_off_others(set, vcpu);
	for (i = 0; i < set->nr; i++)
		if (is_ext_place(reg_info(set->regs[i].id).place))
			check_ext(set, vcpu, set->regs[i].id, why);
	for (i = 0; i < set->nr; i++)
		if (reg_info(set->regs[i].id).rule == REG_RULE_CHECK)
			check_equal(set, vcpu, set->regs[i].id, why);
	check_satp(set, vcpu, label, why);
	/* With an extension missing, so are its registers: said already. */
	if (why->nr != before)
		return;
	for (i = 0; i < set->nr; i++) {
		struct reg_info info = reg_info(set->regs[i].id);

		if (info.rule == REG_RULE_WRITE && !is_ext_place(info.place))
			check_there(set, vcpu, set->regs[i].id, label, why);
	}
}

/* --- restoring --------------------------------------------------------------------------- */

static int put_back(const struct reg_set *set, const struct kvm_vcpu *vcpu, uint64_t id,
		    struct error *err)
{
	char name[REG_NAME_MAX];
	int ret = kvm_set_reg(vcpu, id, reg_set_find(set, id));

	return ret ? fail_errno(err, -ret, "KVM refused %s", reg_name(id, name)) : 0;
}

/* All registers of one place, by rising id. */
static int put_back_place(const struct reg_set *set, const struct kvm_vcpu *vcpu,
			  enum reg_place place, struct error *err)
{
	size_t i;

	for (i = 0; i < set->nr; i++) {
		struct reg_info info = reg_info(set->regs[i].id);

		if (info.rule == REG_RULE_WRITE && info.place == place &&
		    !not_missed(set, vcpu, set->regs[i].id) &&
		    put_back(set, vcpu, set->regs[i].id, err))
			return -1;
	}
	return 0;
}

int reg_set_configure(const struct reg_set *set, const struct kvm_vcpu *vcpu, struct error *err)
{
	char name[REG_NAME_MAX];
	uint64_t failed = 0;
	int ret;

	if (put_back_place(set, vcpu, REG_PLACE_ID, err))
		return -1;
	switch_off_others(set, vcpu);
	ret = switch_exts(set, vcpu, REG_PLACE_ISA, &failed);
	if (!ret)
		ret = switch_exts(set, vcpu, REG_PLACE_SBI, &failed);
	if (ret)
		return fail_errno(err, -ret, "KVM will not switch on %s", reg_name(failed, name));
	return 0;
}

/* Does the vCPU's timer interrupt come from compare by itself? */
static bool has_sstc(const struct kvm_vcpu *vcpu)
{
	uint64_t on;

	return !reg_get_long(vcpu, REG_ISA_EXT, EXT_SINGLE, ISA_EXT_SSTC, &on) && on;
}

/* Where the source had no Sstc and this host has it, STIP follows from compare. */
static bool gains_sstc(const struct reg_set *set, const struct kvm_vcpu *vcpu)
{
	return !ext_on(set, REG_ISA_EXT, ISA_EXT_SSTC) && has_sstc(vcpu);
}

static int put_back_sip(const struct reg_set *set, const struct kvm_vcpu *vcpu, struct error *err)
{
	uint64_t id = reg_long(REG_CSR, 0, CSR_SIP), sip;
	int ret;

	if (!reg_set_find(set, id))
		return 0;
	sip = reg_set_get(set, id, 0) & ~SIP_SEIP;
	if (gains_sstc(set, vcpu))
		sip &= ~SIP_STIP;
	ret = reg_set_long(vcpu, REG_CSR, 0, CSR_SIP, sip);
	return ret ? fail_errno(err, -ret, "KVM refused sip") : 0;
}

int reg_set_restore(const struct reg_set *set, const struct kvm_vcpu *vcpu, struct error *err)
{
	enum reg_place place;
	int ret;

	for (place = REG_PLACE_CSR; place < REG_PLACE_SIP; place++)
		if (put_back_place(set, vcpu, place, err))
			return -1;
	if (put_back_sip(set, vcpu, err))
		return -1;
	ret = kvm_set_mp_state(vcpu, set->mp_state);
	return ret ? fail_errno(err, -ret, "KVM refused mp_state %u", set->mp_state) : 0;
}

/* A timer that is not armed any more must not go off on a host where compare alone counts. */
static uint64_t compare_for(const struct reg_set *set, const struct kvm_vcpu *vcpu, uint64_t saved)
{
	bool pending = reg_set_get(set, reg_long(REG_CSR, 0, CSR_SIP), 0) & SIP_STIP;
	bool armed = reg_set_get(set, timer_id(TIMER_STATE), 0);

	return gains_sstc(set, vcpu) && !armed && !pending ? UINT64_MAX : saved;
}

int reg_set_restore_timer(const struct reg_set *set, const struct kvm_vcpu *vcpu, struct error *err)
{
	uint64_t id = timer_id(TIMER_COMPARE), compare, on = 1;
	int ret = 0;

	if (reg_set_find(set, id)) {
		compare = compare_for(set, vcpu, reg_set_get(set, id, 0));
		ret = kvm_set_reg(vcpu, id, &compare);
		if (!ret && reg_set_get(set, timer_id(TIMER_STATE), 0) && !has_sstc(vcpu)) {
			ret = kvm_set_reg(vcpu, timer_id(TIMER_STATE), &on);
			if (!ret)
				ret = kvm_set_reg(vcpu, id, &compare);
		}
	}
	return ret ? fail_errno(err, -ret, "KVM refused the hart's timer") : 0;
}

bool reg_set_wants_kick(const struct reg_set *set)
{
	/* SEIP is said again by its chip, which does wake. */
	return reg_set_get(set, reg_long(REG_CSR, 0, CSR_SIP), 0) & ~SIP_SEIP;
}

/* --- resets ---------------------------------------------------------------------------------- */

/* What a register becomes: all its bytes are that. */
static int reset_byte(uint64_t id, enum reg_place place)
{
	switch (place) {
	case REG_PLACE_STA_LOW:
		return 0xff; /* off */
	case REG_PLACE_TIMER:
		return reg_index_of(id) == TIMER_COMPARE ? 0xff : 0;
	default:
		return 0;
	}
}

static void put_word(struct reg_set *set, unsigned int index, uint64_t value)
{
	unsigned long word = (unsigned long)value;

	/* It is there, so this needs no memory. */
	if (reg_set_find(set, reg_long(REG_CORE, 0, index)))
		reg_set_put(set, reg_long(REG_CORE, 0, index), &word);
}

void reg_set_reset(struct reg_set *set, uint64_t pc, uint64_t hart, uint64_t opaque)
{
	size_t i;

	for (i = 0; i < set->nr; i++) {
		uint64_t id = set->regs[i].id;
		struct reg_info info = reg_info(id);

		if (!info.known || info.rule != REG_RULE_WRITE || info.place < REG_PLACE_CSR)
			continue;
		/* Whether a feature can be had stays. */
		if (info.place == REG_PLACE_FWFT && reg_index_of(id) % 3 == 0)
			continue;
		memset(set->data + set->regs[i].at, reset_byte(id, info.place), reg_size(id));
	}
	put_word(set, CORE_PC, pc);
	put_word(set, CORE_A0, hart);
	put_word(set, CORE_A1, opaque);
	put_word(set, CORE_MODE, 1);
}

/* --- pending starts ------------------------------------------------------------------------ */

bool reg_set_start_is_pending(const struct kvm_vcpu *vcpu, bool boot)
{
	unsigned int i;
	uint32_t state;

	if (kvm_get_mp_state(vcpu, &state) || state != KVM_MP_STATE_RUNNABLE)
		return false;
	if (reg_long_or_zero(vcpu, REG_CORE, CORE_A0 + 7) == SBI_EID_HSM &&
	    reg_long_or_zero(vcpu, REG_CORE, CORE_A0 + 6) == SBI_HSM_STOP &&
	    !reg_long_or_zero(vcpu, REG_CORE, CORE_A0) &&
	    !reg_long_or_zero(vcpu, REG_CORE, CORE_A1))
		return true;
	if (boot)
		return false;
	for (i = CORE_PC; i < CORE_MODE; i++)
		if (reg_long_or_zero(vcpu, REG_CORE, i))
			return false;
	return true;
}
