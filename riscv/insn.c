// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where a hart goes next (include/lkvm/riscv/insn.h). Formats and opcodes: RISC-V
 * unprivileged architecture, "RV32I Base Integer Instruction Set" and "RV32/64G
 * Instruction Set Listings"; the compressed ones: "C" extension, table of quadrants.
 *
 * No state, no lock: any thread. Nothing is saved.
 */
#include "lkvm/riscv/insn.h"

#define OP_AMO 0x2f
#define OP_BRANCH 0x63
#define OP_JALR 0x67
#define OP_JAL 0x6f
#define OP_SYSTEM 0x73

#define CODE_ECALL 0x00000073u
#define CODE_SRET 0x10200073u
#define CODE_WFI 0x10500073u
#define CODE_WRS_NTO 0x00d00073u
#define CODE_WRS_STO 0x01d00073u

#define AMO_LR 2
#define AMO_SC 3

static uint32_t bits(uint32_t code, unsigned int high, unsigned int low)
{
	return code >> low & ((1u << (high - low + 1)) - 1);
}

/* @value has a sign at bit @top. */
static uint64_t extend(uint32_t value, unsigned int top)
{
	uint64_t sign = UINT64_C(1) << top;

	return (value ^ sign) - sign;
}

static bool compare(unsigned int how, uint64_t a, uint64_t b)
{
	switch (how & 6) {
	case 0:
		return (a == b) ^ (how & 1);
	case 4:
		return ((int64_t)a < (int64_t)b) ^ (how & 1);
	default:
		return (a < b) ^ (how & 1);
	}
}

static void jump(struct insn *insn, unsigned int rd, uint64_t target)
{
	insn->kind = INSN_JUMP;
	insn->rd = rd;
	insn->target = target;
}

static void branch(struct insn *insn, bool taken, uint64_t target)
{
	insn->kind = INSN_BRANCH;
	insn->taken = taken;
	insn->target = target;
}

static void decode_system(struct insn *insn, uint32_t code)
{
	unsigned int how = bits(code, 14, 12);

	switch (code) {
	case CODE_ECALL:
		insn->kind = INSN_ECALL;
		return;
	case CODE_SRET:
		insn->kind = INSN_SRET;
		return;
	case CODE_WFI:
	case CODE_WRS_NTO:
	case CODE_WRS_STO:
		insn->kind = INSN_WAIT;
		return;
	default:
		/* The fourth way is that of hypervisor loads. */
		if (how && how != 4) {
			insn->kind = INSN_CSR;
			insn->csr = bits(code, 31, 20);
		}
	}
}

static void decode_full(struct insn *insn, uint32_t code, uint64_t pc, const uint64_t *x)
{
	unsigned int rd = bits(code, 11, 7), rs1 = bits(code, 19, 15), rs2 = bits(code, 24, 20);
	uint32_t imm;

	switch (code & 0x7f) {
	case OP_JAL:
		imm = bits(code, 31, 31) << 20 | bits(code, 19, 12) << 12 |
		      bits(code, 20, 20) << 11 | bits(code, 30, 21) << 1;
		jump(insn, rd, pc + extend(imm, 20));
		break;
	case OP_JALR:
		if (!bits(code, 14, 12))
			jump(insn, rd, (x[rs1] + extend(bits(code, 31, 20), 11)) & ~UINT64_C(1));
		break;
	case OP_BRANCH:
		/* Two of the eight comparisons do not exist. */
		if ((bits(code, 14, 12) & 6) == 2)
			break;
		imm = bits(code, 31, 31) << 12 | bits(code, 7, 7) << 11 | bits(code, 30, 25) << 5 |
		      bits(code, 11, 8) << 1;
		branch(insn, compare(bits(code, 14, 12), x[rs1], x[rs2]), pc + extend(imm, 12));
		break;
	case OP_AMO:
		if (bits(code, 31, 27) == AMO_LR)
			insn->kind = INSN_LR;
		else if (bits(code, 31, 27) == AMO_SC)
			insn->kind = INSN_SC;
		break;
	case OP_SYSTEM:
		decode_system(insn, code);
		break;
	default:
		break;
	}
}

static void decode_compressed(struct insn *insn, uint32_t code, uint64_t pc, const uint64_t *x)
{
	unsigned int op = bits(code, 15, 13) << 2 | (code & 3), rs1 = bits(code, 11, 7);
	uint32_t imm;

	switch (op) {
	case 5 << 2 | 1: /* c.j */
		imm = bits(code, 12, 12) << 11 | bits(code, 8, 8) << 10 | bits(code, 10, 9) << 8 |
		      bits(code, 6, 6) << 7 | bits(code, 7, 7) << 6 | bits(code, 2, 2) << 5 |
		      bits(code, 11, 11) << 4 | bits(code, 5, 3) << 1;
		jump(insn, 0, pc + extend(imm, 11));
		break;
	case 6 << 2 | 1: /* c.beqz */
	case 7 << 2 | 1: /* c.bnez */
		imm = bits(code, 12, 12) << 8 | bits(code, 6, 5) << 6 | bits(code, 2, 2) << 5 |
		      bits(code, 11, 10) << 3 | bits(code, 4, 3) << 1;
		branch(insn, !x[8 + bits(code, 9, 7)] ^ bits(code, 13, 13), pc + extend(imm, 8));
		break;
	case 4 << 2 | 2: /* c.jr, c.jalr */
		if (!bits(code, 6, 2) && rs1)
			jump(insn, bits(code, 12, 12), x[rs1] & ~UINT64_C(1));
		break;
	default:
		break;
	}
}

struct insn insn_decode(uint32_t code, uint64_t pc, const uint64_t *x)
{
	struct insn insn = {.kind = INSN_PLAIN, .size = insn_size((uint16_t)code)};

	if (insn.size == 4)
		decode_full(&insn, code, pc, x);
	else
		decode_compressed(&insn, code & 0xffff, pc, x);
	return insn;
}
