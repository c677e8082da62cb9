/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KVM's own figures of a VM or a vCPU: its binary statistics (KVM_GET_STATS_FD).
 */
#ifndef LKVM_KVM_STATS_H
#define LKVM_KVM_STATS_H

#include "lkvm/kvm.h"

/**
 * kvm_stats() - hand on each figure that is a single number
 * @vcpu: of this vCPU; NULL: of the VM
 * @each: called for each, in KVM's order; @name lives as long as the call
 *
 * Histograms are left out. Any thread; of a vCPU that runs KVM would make us wait until
 * it leaves the guest, so it is to be parked.
 *
 * Return: 0 or -errno (-ENOTTY: a kernel without them; -EPROTO: not what api.rst says).
 */
int kvm_stats(const struct kvm *kvm, const struct kvm_vcpu *vcpu,
	      void (*each)(void *opaque, const char *name, uint64_t value), void *opaque);

#endif /* LKVM_KVM_STATS_H */
