// SPDX-License-Identifier: GPL-2.0-only
/*
 * A hart's registers by name, for people (include/lkvm/arch.h, arch_registers()): all that
 * KVM lists and that programs and kernels see, as the catalogue names them. What says
 * which extensions there are is left out. Under the AIA the hart's interrupt file follows.
 *
 * Thread and lock: the caller's, who has the vCPU parked. Nothing is saved.
 */
#include "lkvm/arch.h"
#include "lkvm/riscv/reg_catalogue.h"
#include "machine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Two views of the same registers: with D its own has all of them. */
static bool has_double(const uint64_t *ids, long nr)
{
	long i;

	for (i = 0; i < nr; i++)
		if (reg_class_of(ids[i]) == REG_FP_D)
			return true;
	return false;
}

static bool wanted(uint64_t id, bool with_double)
{
	switch (reg_class_of(id)) {
	case REG_CORE:
	case REG_CSR:
	case REG_TIMER:
	case REG_FP_D:
	case REG_VECTOR:
		return true;
	case REG_FP_F:
		return !with_double;
	default:
		return false;
	}
}

struct each_word {
	arch_register_fn fn;
	void *opaque;
};

static void each_word(void *opaque, const char *name, uint64_t value)
{
	const struct each_word *e = opaque;

	e->fn(e->opaque, name, &value, sizeof(value));
}

int arch_registers(struct vcpu *vcpu, arch_register_fn each, void *opaque, struct error *err)
{
	const struct aia *aia = &vcpu->vm->arch->irq.aia;
	uint8_t value[REG_SIZE_MAX];
	char name[REG_NAME_MAX];
	uint64_t *ids;
	long nr = regs_list(&vcpu->kvm, &ids), i;
	bool with_double;

	if (nr < 0)
		return fail_errno(err, (int)-nr, "hart %u: KVM does not list its registers",
				  vcpu->id);
	with_double = has_double(ids, nr);
	for (i = 0; i < nr; i++) {
		if (!wanted(ids[i], with_double) || reg_size(ids[i]) > sizeof(value))
			continue;
		/* One that KVM lists and does not give is not there. */
		if (!kvm_get_reg(&vcpu->kvm, ids[i], value))
			each(opaque, reg_name(ids[i], name), value, reg_size(ids[i]));
	}
	free(ids);
	if (aia->fd >= 0)
		aia_file_each(aia, vcpu->id, each_word, &(struct each_word){each, opaque});
	return 0;
}

const char *arch_vcpu_state(struct vcpu *vcpu)
{
	uint32_t state;

	if (kvm_get_mp_state(&vcpu->kvm, &state))
		return "unknown";
	return state == KVM_MP_STATE_RUNNABLE ? "started" : "stopped";
}
