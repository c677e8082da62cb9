// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where instructions lead. The codes are what an assembler (GNU as) makes of the text
 * beside them.
 */
#include "lkvm/riscv/insn.h"
#include "unit.h"

#define PC UINT64_C(0xffffffff80001000)

static uint64_t x[32];

static void setup(void)
{
	unsigned int i;

	for (i = 0; i < 32; i++)
		x[i] = 0x1000 * i;
	x[0] = 0;
	x[11] = (uint64_t)-5; /* a1 */
	x[12] = 7;	      /* a2 */
	x[13] = 7;	      /* a3 */
	x[14] = 0;	      /* a4 */
}

static void leads_to(uint32_t code, enum insn_kind kind, uint64_t target)
{
	struct insn insn = insn_decode(code, PC, x);

	ck_assert_msg((unsigned int)insn.kind == kind && insn.target == target,
		      "%08x: kind %u to %llx", code, insn.kind, (unsigned long long)insn.target);
}

static void takes(uint32_t code, bool taken, uint64_t target)
{
	struct insn insn = insn_decode(code, PC, x);

	leads_to(code, INSN_BRANCH, target);
	ck_assert_msg(insn.taken == taken, "%08x: taken is %d", code, insn.taken);
}

START_TEST(jumps)
{
	leads_to(0x0100006f, INSN_JUMP, PC + 16);	   /* j .+16 */
	leads_to(0xff1ff06f, INSN_JUMP, PC - 16);	   /* j .-16 */
	leads_to(0x7ffff0ef, INSN_JUMP, PC + 0xffffe);	   /* jal ra, .+0xffffe */
	leads_to(0x00008067, INSN_JUMP, x[1]);		   /* ret */
	leads_to(0xffd100e7, INSN_JUMP, x[2] - 4);	   /* jalr ra, -3(sp): bit 0 is cleared */
	leads_to(0xa809, INSN_JUMP, PC + 18);		   /* c.j .+18 */
	leads_to(0xbffd, INSN_JUMP, PC - 2);		   /* c.j .-2 */
	leads_to(0x8082, INSN_JUMP, x[1]);		   /* c.jr ra */
	leads_to(0x9782, INSN_JUMP, x[15] & ~UINT64_C(1)); /* c.jalr a5 */
	ck_assert_uint_eq(insn_decode(0x7ffff0ef, PC, x).rd, 1);
	ck_assert_uint_eq(insn_decode(0x0100006f, PC, x).rd, 0);
	ck_assert_uint_eq(insn_decode(0x9782, PC, x).rd, 1);
	ck_assert_uint_eq(insn_decode(0x8082, PC, x).rd, 0);
}
END_TEST

START_TEST(branches)
{
	takes(0x00d60863, true, PC + 16);     /* beq a2, a3, .+16 */
	takes(0x00d61863, false, PC + 16);    /* bne a2, a3 */
	takes(0x00c5c863, true, PC + 16);     /* blt a1, a2: -5 < 7 */
	takes(0x00c5d863, false, PC + 16);    /* bge a1, a2 */
	takes(0x00c5e863, false, PC + 16);    /* bltu a1, a2 */
	takes(0x00c5f863, true, PC + 16);     /* bgeu a1, a2 */
	takes(0xfed600e3, true, PC - 32);     /* beq a2, a3, .-32 */
	takes(0x80d60063, true, PC - 0x1000); /* beq a2, a3, .-4096 */
	takes(0x7ed60fe3, true, PC + 0xffe);  /* beq a2, a3, .+4094 */
	takes(0xc319, true, PC + 6);	      /* c.beqz a4, .+6 */
	takes(0xe319, false, PC + 6);	      /* c.bnez a4, .+6 */
	takes(0xfe6d, true, PC - 6);	      /* c.bnez a2, .-6 */
	ck_assert_uint_eq(insn_decode(0xc319, PC, x).size, 2);
	ck_assert_uint_eq(insn_decode(0x00d60863, PC, x).size, 4);
}
END_TEST

START_TEST(others)
{
	leads_to(0x00000013, INSN_PLAIN, 0);	       /* nop */
	leads_to(0x0001, INSN_PLAIN, 0);	       /* c.nop */
	leads_to(0x9002, INSN_PLAIN, 0);	       /* c.ebreak */
	leads_to(0x852e, INSN_PLAIN, 0);	       /* c.mv a0, a1 */
	leads_to(0x00100073, INSN_PLAIN, 0);	       /* ebreak */
	leads_to(0x00000073, INSN_ECALL, 0);	       /* ecall */
	leads_to(0x10200073, INSN_SRET, 0);	       /* sret */
	leads_to(0x10500073, INSN_WAIT, 0);	       /* wfi */
	leads_to(0x00d00073, INSN_WAIT, 0);	       /* wrs.nto */
	leads_to(0x12000073, INSN_PLAIN, 0);	       /* sfence.vma */
	leads_to(0x100537af, INSN_LR, 0);	       /* lr.d a5, (a0) */
	leads_to(0x18c5372f, INSN_SC, 0);	       /* sc.d a4, a2, (a0) */
	leads_to(0x00c537af, INSN_PLAIN, 0);	       /* amoadd.d a5, a2, (a0) */
	leads_to(0x10459073, INSN_CSR, 0);	       /* csrw sie, a1 */
	leads_to(0x0000a063 | 2 << 12, INSN_PLAIN, 0); /* no such branch */
	ck_assert_uint_eq(insn_decode(0x10459073, PC, x).csr, 0x104);
}
END_TEST

/* Whatever the bits, nothing undefined happens and the size is right. */
START_TEST(any_code)
{
	uint32_t i, code = 1;

	for (i = 0; i < 50000; i++) {
		struct insn insn = insn_decode(code, PC, x);

		ck_assert_uint_eq(insn.size, (code & 3) == 3 ? 4 : 2);
		ck_assert_uint_lt(insn.rd, 32);
		ck_assert(insn.kind != INSN_JUMP || !(insn.target & 1));
		code = code * 1664525 + 1013904223;
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("insn");
	TCase *tc = tcase_create("insn");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, jumps);
	tcase_add_test(tc, branches);
	tcase_add_test(tc, others);
	tcase_add_test(tc, any_code);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
