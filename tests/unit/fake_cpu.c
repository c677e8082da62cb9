// SPDX-License-Identifier: GPL-2.0-only
/*
 * A very small hart for the scripted host (fake_kvm.h): the instructions that tests of the
 * debugger need, without paging. Interrupts and exceptions go to stvec as on a hart; a
 * reservation does not outlive KVM_RUN.
 */
#include "fake_kvm.h"

#include "lkvm/riscv/regs.h"

#include <endian.h>
#include <string.h>

#define SIE (UINT64_C(1) << 1)
#define SPIE (UINT64_C(1) << 5)
#define SPP (UINT64_C(1) << 8)

#define ILLEGAL 2
#define BREAKPOINT 3

static void trap(struct fake_vcpu *v, uint64_t cause)
{
	uint64_t status = v->csr[CSR_SSTATUS] & ~(SIE | SPIE | SPP);

	if (v->csr[CSR_SSTATUS] & SIE)
		status |= SPIE;
	if (v->core[CORE_MODE])
		status |= SPP;
	v->csr[CSR_SSTATUS] = status;
	v->csr[CSR_SEPC] = v->core[CORE_PC];
	v->csr[CSR_SCAUSE] = cause;
	v->core[CORE_MODE] = 1;
	v->core[CORE_PC] = v->csr[CSR_STVEC];
}

static void sret(struct fake_vcpu *v)
{
	uint64_t status = v->csr[CSR_SSTATUS];

	v->core[CORE_MODE] = !!(status & SPP);
	v->csr[CSR_SSTATUS] = (status & ~(SIE | SPP)) | (status & SPIE ? SIE : 0) | SPIE;
	v->core[CORE_PC] = v->csr[CSR_SEPC];
}

static bool interrupted(struct fake_vcpu *v)
{
	uint64_t pending = v->csr[CSR_SIP] & v->csr[CSR_SIE];

	if (!pending || (v->core[CORE_MODE] && !(v->csr[CSR_SSTATUS] & SIE)))
		return false;
	trap(v, UINT64_C(1) << 63 | (unsigned int)__builtin_ctzll(pending));
	return true;
}

static int64_t sign(uint32_t value, unsigned int top)
{
	int64_t bit = INT64_C(1) << top;

	return ((int64_t)value ^ bit) - bit;
}

static uint64_t get(const struct fake_vcpu *v, unsigned int x)
{
	return x ? v->core[x] : 0;
}

static void set(struct fake_vcpu *v, unsigned int x, uint64_t value)
{
	if (x)
		v->core[x] = value;
}

static enum fake_cpu_next ebreak(struct fake_vcpu *v)
{
	if (v->debug)
		return FAKE_CPU_EBREAK;
	trap(v, BREAKPOINT);
	return FAKE_CPU_ON;
}

static enum fake_cpu_next system_insn(struct fake_vcpu *v, uint32_t code)
{
	switch (code) {
	case 0x00100073:
		return ebreak(v);
	case 0x10200073:
		sret(v);
		return FAKE_CPU_ON;
	case 0x10500073: /* wfi */
		v->core[CORE_PC] += 4;
		return FAKE_CPU_IDLE;
	default:
		trap(v, ILLEGAL);
		return FAKE_CPU_ON;
	}
}

/* lr.d and sc.d at the address in rs1, without memory: only whether it succeeds. */
static void atomic(struct fake_vcpu *v, uint32_t code)
{
	if (code >> 27 == 2)
		v->reserved = true;
	else
		set(v, code >> 7 & 31, !v->reserved);
	if (code >> 27 == 3)
		v->reserved = false;
	v->core[CORE_PC] += 4;
}

static enum fake_cpu_next full(struct fake_vcpu *v, uint32_t code)
{
	unsigned int rd = code >> 7 & 31, rs1 = code >> 15 & 31, rs2 = code >> 20 & 31;
	uint64_t pc = v->core[CORE_PC], target;
	uint32_t imm;

	switch (code & 0x7f) {
	case 0x13: /* addi */
		set(v, rd, get(v, rs1) + (uint64_t)sign(code >> 20, 11));
		v->core[CORE_PC] = pc + 4;
		return FAKE_CPU_ON;
	case 0x2f:
		atomic(v, code);
		return FAKE_CPU_ON;
	case 0x63: /* bne */
		imm = (code >> 31) << 12 | (code >> 7 & 1) << 11 | (code >> 25 & 63) << 5 |
		      (code >> 8 & 15) << 1;
		v->core[CORE_PC] =
			get(v, rs1) != get(v, rs2) ? pc + (uint64_t)sign(imm, 12) : pc + 4;
		return FAKE_CPU_ON;
	case 0x67: /* jalr */
		target = (get(v, rs1) + (uint64_t)sign(code >> 20, 11)) & ~UINT64_C(1);
		set(v, rd, pc + 4);
		v->core[CORE_PC] = target;
		return FAKE_CPU_ON;
	case 0x6f: /* jal */
		imm = (code >> 31) << 20 | (code >> 12 & 255) << 12 | (code >> 20 & 1) << 11 |
		      (code >> 21 & 1023) << 1;
		if (!imm)
			return FAKE_CPU_IDLE;
		set(v, rd, pc + 4);
		v->core[CORE_PC] = pc + (uint64_t)sign(imm, 20);
		return FAKE_CPU_ON;
	case 0x73:
		return system_insn(v, code);
	default:
		trap(v, ILLEGAL);
		return FAKE_CPU_ON;
	}
}

static enum fake_cpu_next compressed(struct fake_vcpu *v, uint32_t code)
{
	if (code == 0x9002)
		return ebreak(v);
	if ((code & 0xe003) == 1) { /* c.addi */
		set(v, code >> 7 & 31,
		    get(v, code >> 7 & 31) +
			    (uint64_t)sign((code >> 12 & 1) << 5 | (code >> 2 & 31), 5));
		v->core[CORE_PC] += 2;
	} else {
		trap(v, ILLEGAL);
	}
	return FAKE_CPU_ON;
}

enum fake_cpu_next fake_cpu(struct fake_vcpu *v, uint8_t *code, uint64_t base, uint64_t size)
{
	uint64_t at = v->core[CORE_PC] - base;
	uint32_t insn;

	if (!code || at >= size - 4 || at % 2)
		return FAKE_CPU_IDLE;
	if (interrupted(v))
		return FAKE_CPU_ON;
	memcpy(&insn, code + at, sizeof(insn));
	insn = le32toh(insn);
	return (insn & 3) == 3 ? full(v, insn) : compressed(v, insn & 0xffff);
}
