/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How KVM RISC-V names a vCPU's registers (KVM_GET_ONE_REG, KVM_SET_ONE_REG).
 *
 * The numbers are the kernel's ABI (Linux arch/riscv/include/uapi/asm/kvm.h, as
 * of 7.3). They are stated here, in our own words, because most of them are
 * newer than the headers of the oldest system that lkvm builds on, and because
 * unit tests for RISC-V code run on machines whose <asm/kvm.h> is another one.
 */
#ifndef LKVM_RISCV_REGS_H
#define LKVM_RISCV_REGS_H

#include "lkvm/kvm.h"

/* Bits 31..24 of an id: the class. */
enum reg_class {
	REG_CONFIG = 1,
	REG_CORE = 2,
	REG_CSR = 3,
	REG_TIMER = 4,
	REG_FP_F = 5,
	REG_FP_D = 6,
	REG_ISA_EXT = 7,
	REG_SBI_EXT = 8,
	REG_VECTOR = 9,
	REG_SBI_STATE = 10,
};

/* Bits 55..52: log2 of the size in bytes. "Long" registers are as wide as the host's XLEN. */
#define REG_SIZE_U32 2
#define REG_SIZE_U64 3
#define REG_SIZE_LONG (sizeof(long) == 8 ? REG_SIZE_U64 : REG_SIZE_U32)

/**
 * reg_id() - an id from its parts
 * @sub: bits 23..16, the subtype; 0 where the class has none
 * @index: bits 15..0
 */
static inline uint64_t reg_id(enum reg_class class, unsigned int sub, unsigned int index,
			      unsigned int size)
{
	return KVM_REG_RISCV | (uint64_t)size << 52 | (uint64_t) class << 24 | (uint64_t)sub << 16 |
	       index;
}

static inline uint64_t reg_long(enum reg_class class, unsigned int sub, unsigned int index)
{
	return reg_id(class, sub, index, REG_SIZE_LONG);
}

/**
 * reg_get_long() / reg_set_long() - one register as wide as the host's XLEN
 *
 * Return: 0 or -errno; *@value is 0 where it could not be read.
 */
static inline int reg_get_long(const struct kvm_vcpu *vcpu, enum reg_class class, unsigned int sub,
			       unsigned int index, uint64_t *value)
{
	unsigned long v = 0;
	int ret = kvm_get_reg(vcpu, reg_long(class, sub, index), &v);

	*value = ret ? 0 : v;
	return ret;
}

static inline int reg_set_long(const struct kvm_vcpu *vcpu, enum reg_class class, unsigned int sub,
			       unsigned int index, uint64_t value)
{
	unsigned long v = (unsigned long)value;

	return kvm_set_reg(vcpu, reg_long(class, sub, index), &v);
}

/**
 * reg_long_or_zero() - for a report: what can't be read counts as 0
 */
static inline uint64_t reg_long_or_zero(const struct kvm_vcpu *vcpu, enum reg_class class,
					unsigned int index)
{
	uint64_t value;

	reg_get_long(vcpu, class, 0, index, &value);
	return value;
}

static inline enum reg_class reg_class_of(uint64_t id)
{
	return (enum reg_class)(id >> 24 & 0xff);
}

static inline unsigned int reg_sub_of(uint64_t id)
{
	return id >> 16 & 0xff;
}

static inline unsigned int reg_index_of(uint64_t id)
{
	return id & 0xffff;
}

/* REG_CONFIG */
enum {
	CONFIG_ISA,
	CONFIG_ZICBOM_BLOCK_SIZE,
	CONFIG_MVENDORID,
	CONFIG_MARCHID,
	CONFIG_MIMPID,
	CONFIG_ZICBOZ_BLOCK_SIZE,
	CONFIG_SATP_MODE,
	CONFIG_ZICBOP_BLOCK_SIZE,
};

/* REG_CORE: pc, then x1 to x31 by number, then the privilege mode */
enum {
	CORE_PC = 0,
	CORE_RA = 1,
	CORE_SP = 2,
	CORE_A0 = 10,
	CORE_A1 = 11,
	CORE_MODE = 32,
};

/* REG_CSR, subtype 0 */
enum {
	CSR_SSTATUS,
	CSR_SIE,
	CSR_STVEC,
	CSR_SSCRATCH,
	CSR_SEPC,
	CSR_SCAUSE,
	CSR_STVAL,
	CSR_SIP,
	CSR_SATP,
	CSR_SCOUNTEREN,
	CSR_SENVCFG,
};

/* sip.SEIP: an external interrupt is pending (privileged architecture, 12.1.3). */
#define SIP_SEIP (UINT64_C(1) << 9)

/* REG_TIMER, always 64 bits wide */
enum {
	TIMER_FREQUENCY,
	TIMER_TIME,
	TIMER_COMPARE,
	TIMER_STATE,
};

/* REG_VECTOR: control registers, then v0 to v31, each as wide as a vector register */
enum {
	VECTOR_VSTART,
	VECTOR_VL,
	VECTOR_VTYPE,
	VECTOR_VCSR,
	VECTOR_VLENB,
	VECTOR_V0 = 6,
};

/* REG_ISA_EXT and REG_SBI_EXT: one register an extension, or a word of 64 (32) enable bits */
enum {
	EXT_SINGLE,
	EXT_MULTI_ENABLE,
	EXT_MULTI_DISABLE,
};

#endif /* LKVM_RISCV_REGS_H */
