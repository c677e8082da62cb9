/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The register catalogue: what lkvm knows of every register that KVM RISC-V has
 * (KVM_GET_ONE_REG): its name, and what a restore does with it, and when.
 *
 * Which registers a vCPU has is KVM's to say (KVM_GET_REG_LIST, regs_list()); the
 * catalogue says what they mean. One that it does not know is saved and written back
 * like any other, after those it knows.
 *
 * Source: Linux arch/riscv/kvm/vcpu_onereg.c, vcpu_timer.c, vcpu_fp.c, vcpu_vector.c,
 * vcpu_sbi*.c and arch/riscv/include/uapi/asm/kvm.h of 6.12, 7.2 and 7.3.
 */
#ifndef LKVM_RISCV_REG_CATALOGUE_H
#define LKVM_RISCV_REG_CATALOGUE_H

#include "lkvm/riscv/regs.h"

/**
 * enum reg_rule - what a restore does with a register
 */
enum reg_rule {
	REG_RULE_WRITE,	 /* write it back */
	REG_RULE_CHECK,	 /* the host's must be the same: KVM can't change it */
	REG_RULE_DERIVE, /* something else carries it: not saved here */
	REG_RULE_SKIP,	 /* another view of what is saved under another number */
};

/**
 * enum reg_place - when a restore writes it; in this order
 */
enum reg_place {
	REG_PLACE_ID,  /* before any other: what the vCPU is */
	REG_PLACE_ISA, /* which ISA extensions it has */
	REG_PLACE_SBI, /* which SBI extensions */
	REG_PLACE_CSR, /* from here on: its state */
	REG_PLACE_VECTOR,
	REG_PLACE_FP,
	REG_PLACE_CORE,
	REG_PLACE_FWFT,
	REG_PLACE_STA_HIGH, /* KVM 7.2 and later erase the low half when the high one is set */
	REG_PLACE_STA_LOW,
	REG_PLACE_UNKNOWN,
	REG_PLACE_SIP,	 /* forgets injections, so before any */
	REG_PLACE_TIMER, /* just before the vCPUs run */
};

/**
 * struct reg_info - what the catalogue says of one register
 * @group: "core", "csr", "isa-ext"…; "unknown" where the catalogue does not know it
 * @known: it does
 */
struct reg_info {
	const char *group;
	enum reg_rule rule;
	enum reg_place place;
	bool known;
};

/**
 * reg_info() - look it up by its id
 */
struct reg_info reg_info(uint64_t id);

/* A name with its end. */
#define REG_NAME_MAX 48

/**
 * reg_name() - "sp", "fcsr", "sstatus", "isa-ext zba", "sbi-ext fwft", "v17"; a number in
 * hexadecimal where the catalogue does not know it
 * @buf: REG_NAME_MAX bytes
 *
 * Return: @buf.
 */
const char *reg_name(uint64_t id, char buf[REG_NAME_MAX]);

/**
 * reg_size() - bytes of the register's value, from its id: 1 to 32768
 */
size_t reg_size(uint64_t id);

/* No register is larger: VLEN is at most 65536 bits. */
#define REG_SIZE_MAX 8192

/**
 * regs_list() - the ids of all registers that the vCPU has now
 * @ids: out: to be freed by the caller
 *
 * KVM's own list; where the kernel has none (before 6.6), those of the catalogue that can
 * be read. Any thread while the vCPU does not run.
 *
 * Return: how many, or -errno.
 */
long regs_list(const struct kvm_vcpu *vcpu, uint64_t **ids);

#endif /* LKVM_RISCV_REG_CATALOGUE_H */
