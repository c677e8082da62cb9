// SPDX-License-Identifier: GPL-2.0-only
/*
 * Asking a host what it offers (include/lkvm/riscv/host.h).
 *
 * Whether an extension can be switched is found out by switching it, on a vCPU
 * that never runs and is thrown away; KVM has no other way to ask. Everything is
 * asked of the VM and the vCPU, as a real VM would.
 *
 * Thread: the caller's; no state, no lock, nothing saved.
 */
#include "lkvm/riscv/host.h"

#include "lkvm/riscv/regs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void probe_extensions(const struct kvm_vcpu *vcpu, enum reg_class class,
			     struct host_ext *ext, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		uint64_t id = reg_long(class, EXT_SINGLE, i);
		unsigned long v = 0, other;

		ext[i].there = !kvm_get_reg(vcpu, id, &v);
		if (!ext[i].there)
			continue;
		ext[i].on = v;
		other = !v;
		ext[i].switchable = !kvm_set_reg(vcpu, id, &other);
		if (ext[i].switchable)
			kvm_set_reg(vcpu, id, &v);
	}
}

static void probe_vcpu(const struct kvm_vcpu *vcpu, struct host *host)
{
	uint64_t *ids;

	kvm_get_reg(vcpu, reg_id(REG_TIMER, 0, TIMER_FREQUENCY, REG_SIZE_U64), &host->timebase);
	host->satp_mode = (unsigned int)reg_long_or_zero(vcpu, REG_CONFIG, CONFIG_SATP_MODE);
	host->cbom = (uint32_t)reg_long_or_zero(vcpu, REG_CONFIG, CONFIG_ZICBOM_BLOCK_SIZE);
	host->cboz = (uint32_t)reg_long_or_zero(vcpu, REG_CONFIG, CONFIG_ZICBOZ_BLOCK_SIZE);
	host->cbop = (uint32_t)reg_long_or_zero(vcpu, REG_CONFIG, CONFIG_ZICBOP_BLOCK_SIZE);
	host->vlenb = (uint32_t)reg_long_or_zero(vcpu, REG_VECTOR, VECTOR_VLENB);
	host->mvendorid = reg_long_or_zero(vcpu, REG_CONFIG, CONFIG_MVENDORID);
	host->marchid = reg_long_or_zero(vcpu, REG_CONFIG, CONFIG_MARCHID);
	host->mimpid = reg_long_or_zero(vcpu, REG_CONFIG, CONFIG_MIMPID);
	host->registers = kvm_get_reg_list(vcpu, &ids);
	if (host->registers < 0)
		host->registers = -1;
	free(ids);
	probe_extensions(vcpu, REG_ISA_EXT, host->isa, ISA_EXT_COUNT);
	probe_extensions(vcpu, REG_SBI_EXT, host->sbi, SBI_EXT_COUNT);
}

int host_probe(struct kvm_sys sys, struct host *host, struct error *err)
{
	struct kvm_vcpu vcpu;
	struct kvm kvm;
	int ret;

	memset(host, 0, sizeof(*host));
	if (kvm_open(&kvm, sys, err))
		return -1;
	ret = kvm_vm_create(&kvm);
	if (ret) {
		fail_errno(err, -ret, "KVM could not create a VM");
		goto out;
	}
	if (hgatp_probe(&kvm, &host->gstage, err)) {
		ret = -1;
		goto out;
	}
	host->aia = kvm_check(&kvm, KVM_CAP_IRQCHIP);
	host->vcpus_advised = kvm_check(&kvm, KVM_CAP_NR_VCPUS);
	host->vcpus_max = kvm_check(&kvm, KVM_CAP_MAX_VCPUS);
	host->memslots = kvm_check(&kvm, KVM_CAP_NR_MEMSLOTS);
	ret = kvm_vcpu_create(&kvm, 0, &vcpu);
	if (ret) {
		fail_errno(err, -ret, "KVM could not create a vCPU");
		goto out;
	}
	probe_vcpu(&vcpu, host);
	kvm_vcpu_destroy(&vcpu);
out:
	kvm_close(&kvm);
	return ret ? -1 : 0;
}
