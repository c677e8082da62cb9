/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What this host offers to guests: learned from KVM by making a VM with one vCPU
 * and throwing it away. For "lkvm caps".
 */
#ifndef LKVM_RISCV_HOST_H
#define LKVM_RISCV_HOST_H

#include "lkvm/kvm.h"
#include "lkvm/riscv/hgatp.h"
#include "lkvm/riscv/isa.h"

/**
 * struct host_ext - one ISA or SBI extension
 * @there: KVM offers it on this host
 * @on: it is on by default
 * @switchable: it can be switched the other way, per VM
 */
struct host_ext {
	bool there;
	bool on;
	bool switchable;
};

/**
 * struct host - a host
 * @gstage: G-stage modes and how they are chosen
 * @satp_mode: widest first-stage mode, as in satp.MODE
 * @timebase: Hz
 * @cbom, @cboz, @cbop: cache-block sizes in bytes, 0 where there is none
 * @vlenb: bytes of a vector register, 0 without vectors
 * @aia: the kernel can emulate or give AIA interrupt controllers
 * @vcpus_advised, @vcpus_max, @memslots: KVM's limits
 * @registers: how many registers KVM lists for a vCPU, -1 where it has no list
 */
struct host {
	struct hgatp_host gstage;
	unsigned int satp_mode;
	uint64_t timebase;
	uint32_t cbom, cboz, cbop, vlenb;
	bool aia;
	int vcpus_advised, vcpus_max, memslots;
	long registers;
	uint64_t mvendorid, marchid, mimpid;
	struct host_ext isa[ISA_EXT_COUNT];
	struct host_ext sbi[SBI_EXT_COUNT];
};

/**
 * host_probe() - ask KVM
 *
 * Return: 0, or -1 with @err set where there is no usable KVM.
 */
int host_probe(struct kvm_sys sys, struct host *host, struct error *err);

#endif /* LKVM_RISCV_HOST_H */
