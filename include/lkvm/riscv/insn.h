/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Just enough of RISC-V's instructions to know where a hart goes next: jumps, branches,
 * compressed ones included, returns from traps, waits, and atomic sequences (RISC-V
 * unprivileged architecture, RV64 base, "C", "Zawrs", "A").
 *
 * Pure.
 */
#ifndef LKVM_RISCV_INSN_H
#define LKVM_RISCV_INSN_H

#include "lkvm/util.h"

enum insn_kind {
	INSN_PLAIN,  /* the next one follows, or a trap */
	INSN_JUMP,   /* to @target; @rd (0: none) gets the address behind it */
	INSN_BRANCH, /* to @target where @taken */
	INSN_WAIT,   /* wfi, wrs: may end at any time */
	INSN_SRET,   /* to sepc */
	INSN_ECALL,
	INSN_CSR, /* @csr is read or written */
	INSN_LR,  /* begins an atomic sequence */
	INSN_SC,  /* ends one */
};

/**
 * struct insn - one instruction
 * @size: 2 or 4 bytes
 */
struct insn {
	enum insn_kind kind;
	unsigned int size;
	unsigned int rd;
	unsigned int csr;
	bool taken;
	uint64_t target;
};

/**
 * insn_size() - of the instruction that begins with @half: 2 or 4
 */
static inline unsigned int insn_size(uint16_t half)
{
	return (half & 3) == 3 ? 4 : 2;
}

/**
 * insn_decode() - what does @code at @pc do?
 * @x: the hart's registers x0 to x31
 */
struct insn insn_decode(uint32_t code, uint64_t pc, const uint64_t *x);

#endif /* LKVM_RISCV_INSN_H */
