// SPDX-License-Identifier: GPL-2.0-only
/*
 * A hart's registers as debuggers number them (include/lkvm/arch_debug.h). The numbers are
 * those that GDB gives RISC-V's registers itself (GDB's gdb/riscv-tdep.h), so that one
 * without XML understands the first of them too:
 *
 *	0 to 31	x0 to x31		33 to 64	f0 to f31
 *	32	pc			65 + n		CSR n
 *	4161	privilege mode		4162 to 4193	v0 to v31
 *
 * The description has the standard features "org.gnu.gdb.riscv.cpu", "fpu", "csr",
 * "vector" and "virtual" (GDB's manual, "RISC-V Features"), each with the registers that KVM
 * gives of this vCPU.
 *
 * Not to be set: x0; what KVM has of the host (vlenb) or for all harts together (time); sip,
 * for writing it forgets interrupts; stimecmp, which KVM does not arm by itself everywhere.
 *
 * Thread and lock: the caller's, who has the vCPU parked. Nothing is saved.
 */
#include "lkvm/arch_debug.h"
#include "lkvm/riscv/reg_catalogue.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NR_PC 32u
#define NR_F0 33u
#define NR_CSR0 65u
#define NR_PRIV 4161u
#define NR_V0 4162u

#define NR_CSRS 4096u

/* CSRs that are parts of what KVM has as one. */
#define CSR_NR_FFLAGS 0x001u
#define CSR_NR_FRM 0x002u
#define CSR_NR_FCSR 0x003u
#define CSR_NR_VXSAT 0x009u
#define CSR_NR_VXRM 0x00au

/**
 * struct csr - a control register by its own number, and where KVM has it
 * @shift, @width: it is these bits of that; width 0: all
 */
struct csr {
	unsigned int nr;
	const char *name;
	enum reg_class class;
	unsigned int sub, index;
	bool read_only;
	unsigned int shift, width;
};

static const struct csr fp_csrs[] = {
	{CSR_NR_FFLAGS, "fflags", REG_FP_D, 0, 32, false, 0, 5},
	{CSR_NR_FRM, "frm", REG_FP_D, 0, 32, false, 5, 3},
	{CSR_NR_FCSR, "fcsr", REG_FP_D, 0, 32, false, 0, 0},
};

static const struct csr csrs[] = {
	{0x008, "vstart", REG_VECTOR, 0, VECTOR_VSTART, false, 0, 0},
	{CSR_NR_VXSAT, "vxsat", REG_VECTOR, 0, VECTOR_VCSR, false, 0, 1},
	{CSR_NR_VXRM, "vxrm", REG_VECTOR, 0, VECTOR_VCSR, false, 1, 2},
	{0x00f, "vcsr", REG_VECTOR, 0, VECTOR_VCSR, false, 0, 0},
	{0x011, "ssp", REG_CSR, 3, 0, false, 0, 0},
	{0x100, "sstatus", REG_CSR, 0, CSR_SSTATUS, false, 0, 0},
	{0x104, "sie", REG_CSR, 0, CSR_SIE, false, 0, 0},
	{0x105, "stvec", REG_CSR, 0, CSR_STVEC, false, 0, 0},
	{0x106, "scounteren", REG_CSR, 0, CSR_SCOUNTEREN, false, 0, 0},
	{0x10a, "senvcfg", REG_CSR, 0, CSR_SENVCFG, false, 0, 0},
	{0x10c, "sstateen0", REG_CSR, 2, 0, false, 0, 0},
	{0x140, "sscratch", REG_CSR, 0, CSR_SSCRATCH, false, 0, 0},
	{0x141, "sepc", REG_CSR, 0, CSR_SEPC, false, 0, 0},
	{0x142, "scause", REG_CSR, 0, CSR_SCAUSE, false, 0, 0},
	{0x143, "stval", REG_CSR, 0, CSR_STVAL, false, 0, 0},
	{0x144, "sip", REG_CSR, 0, CSR_SIP, true, 0, 0},
	{0x14d, "stimecmp", REG_TIMER, 0, TIMER_COMPARE, true, 0, 0},
	{0x150, "siselect", REG_CSR, 1, 0, false, 0, 0},
	{0x180, "satp", REG_CSR, 0, CSR_SATP, false, 0, 0},
	{0xc01, "time", REG_TIMER, 0, TIMER_TIME, true, 0, 0},
	{0xc20, "vl", REG_VECTOR, 0, VECTOR_VL, false, 0, 0},
	{0xc21, "vtype", REG_VECTOR, 0, VECTOR_VTYPE, false, 0, 0},
	{0xc22, "vlenb", REG_VECTOR, 0, VECTOR_VLENB, true, 0, 0},
};

static const char *const x_names[] = {
	"zero", "ra", "sp", "gp", "tp",	 "t0",	"t1", "t2", "fp", "s1", "a0",
	"a1",	"a2", "a3", "a4", "a5",	 "a6",	"a7", "s2", "s3", "s4", "s5",
	"s6",	"s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
};

static const char *const f_names[] = {
	"ft0", "ft1", "ft2", "ft3", "ft4",  "ft5",  "ft6", "ft7", "fs0",  "fs1",  "fa0",
	"fa1", "fa2", "fa3", "fa4", "fa5",  "fa6",  "fa7", "fs2", "fs3",  "fs4",  "fs5",
	"fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "ft8", "ft9", "ft10", "ft11",
};

static const struct csr *find_csr(unsigned int nr)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fp_csrs); i++)
		if (fp_csrs[i].nr == nr)
			return &fp_csrs[i];
	for (i = 0; i < ARRAY_SIZE(csrs); i++)
		if (csrs[i].nr == nr)
			return &csrs[i];
	return NULL;
}

/* --- where KVM has it --------------------------------------------------------------------- */

/* Bytes of a vector register; 0: the vCPU has none. */
static uint64_t vlenb(const struct kvm_vcpu *vcpu)
{
	uint64_t size = reg_long_or_zero(vcpu, REG_VECTOR, VECTOR_VLENB);

	return is_power_of_two(size) && size <= ARCH_DEBUG_REG_MAX ? size : 0;
}

static unsigned int log2_of(uint64_t n)
{
	unsigned int l = 0;

	while (n >>= 1)
		l++;
	return l;
}

/* With D its view has all of them. */
static uint64_t fp_id(const struct kvm_vcpu *vcpu, unsigned int index)
{
	uint64_t id = reg_id(REG_FP_D, 0, index, index == 32 ? REG_SIZE_U32 : REG_SIZE_U64);
	uint64_t value;

	return kvm_get_reg(vcpu, id, &value) ? reg_id(REG_FP_F, 0, index, REG_SIZE_U32) : id;
}

static uint64_t csr_id(const struct kvm_vcpu *vcpu, const struct csr *csr)
{
	switch (csr->class) {
	case REG_FP_D:
		return fp_id(vcpu, csr->index);
	case REG_TIMER:
		return reg_id(REG_TIMER, 0, csr->index, REG_SIZE_U64);
	default:
		return reg_long(csr->class, csr->sub, csr->index);
	}
}

/* KVM's id of a register that is no CSR. Return: 0 where there is none of that number. */
static uint64_t plain_id(const struct kvm_vcpu *vcpu, unsigned int nr)
{
	uint64_t size;

	if (nr == NR_PC)
		return reg_long(REG_CORE, 0, CORE_PC);
	if (nr && nr < NR_PC)
		return reg_long(REG_CORE, 0, nr);
	if (nr >= NR_F0 && nr < NR_F0 + 32)
		return fp_id(vcpu, nr - NR_F0);
	if (nr == NR_PRIV)
		return reg_long(REG_CORE, 0, CORE_MODE);
	if (nr < NR_V0 || nr >= NR_V0 + 32)
		return 0;
	size = vlenb(vcpu);
	return size ? reg_id(REG_VECTOR, 0, VECTOR_V0 + nr - NR_V0, log2_of(size)) : 0;
}

/* --- access ------------------------------------------------------------------------------- */

static uint64_t mask_of(const struct csr *csr)
{
	return csr->width ? (UINT64_C(1) << csr->width) - 1 : UINT64_MAX;
}

static long get_csr(const struct kvm_vcpu *vcpu, const struct csr *csr, void *value)
{
	uint64_t id = csr_id(vcpu, csr), raw = 0;
	int ret = kvm_get_reg(vcpu, id, &raw);

	if (ret)
		return ret;
	raw = raw >> csr->shift & mask_of(csr);
	memcpy(value, &raw, reg_size(id));
	return (long)reg_size(id);
}

static int set_csr(const struct kvm_vcpu *vcpu, const struct csr *csr, const void *value,
		   size_t size)
{
	uint64_t id = csr_id(vcpu, csr), mask = mask_of(csr) << csr->shift, raw = 0, part = 0;
	int ret;

	if (csr->read_only)
		return -EPERM;
	if (size != reg_size(id))
		return -EINVAL;
	ret = kvm_get_reg(vcpu, id, &raw);
	if (ret)
		return ret;
	memcpy(&part, value, size);
	raw = (raw & ~mask) | (part << csr->shift & mask);
	return kvm_set_reg(vcpu, id, &raw);
}

long arch_debug_get(struct vcpu *vcpu, unsigned int nr, void *value)
{
	const struct csr *csr;
	uint64_t id;
	int ret;

	if (!nr) {
		memset(value, 0, sizeof(uint64_t));
		return sizeof(uint64_t);
	}
	if (nr >= NR_CSR0 && nr < NR_CSR0 + NR_CSRS) {
		csr = find_csr(nr - NR_CSR0);
		return csr ? get_csr(&vcpu->kvm, csr, value) : -ENOENT;
	}
	id = plain_id(&vcpu->kvm, nr);
	if (!id)
		return -ENOENT;
	ret = kvm_get_reg(&vcpu->kvm, id, value);
	return ret ? ret : (long)reg_size(id);
}

int arch_debug_set(struct vcpu *vcpu, unsigned int nr, const void *value, size_t size)
{
	const struct csr *csr;
	uint64_t id;

	/* GDB writes all of them back; nothing happens to x0. */
	if (!nr)
		return size == sizeof(uint64_t) ? 0 : -EINVAL;
	if (nr >= NR_CSR0 && nr < NR_CSR0 + NR_CSRS) {
		csr = find_csr(nr - NR_CSR0);
		return csr ? set_csr(&vcpu->kvm, csr, value, size) : -ENOENT;
	}
	id = plain_id(&vcpu->kvm, nr);
	if (!id)
		return -ENOENT;
	return size == reg_size(id) ? kvm_set_reg(&vcpu->kvm, id, value) : -EINVAL;
}

unsigned int arch_debug_general(void)
{
	return NR_PC + 1;
}

uint64_t arch_debug_pc(struct vcpu *vcpu)
{
	return reg_long_or_zero(&vcpu->kvm, REG_CORE, CORE_PC);
}

int arch_debug_set_pc(struct vcpu *vcpu, uint64_t pc)
{
	return reg_set_long(&vcpu->kvm, REG_CORE, 0, CORE_PC, pc);
}

/* --- the description ---------------------------------------------------------------------- */

static void begin(FILE *out, const char *feature)
{
	fprintf(out, "<feature name=\"org.gnu.gdb.riscv.%s\">\n", feature);
}

static void end(FILE *out)
{
	fputs("</feature>\n", out);
}

static void describe(FILE *out, const char *name, size_t size, unsigned int nr, const char *type)
{
	fprintf(out, "<reg name=\"%s\" bitsize=\"%zu\" regnum=\"%u\" type=\"%s\"/>\n", name,
		8 * size, nr, type);
}

static void describe_cpu(FILE *out)
{
	unsigned int i;

	begin(out, "cpu");
	for (i = 0; i < 32; i++)
		describe(out, x_names[i], 8, i,
			 i == 1		  ? "code_ptr"
			 : i > 1 && i < 5 ? "data_ptr"
					  : "int");
	describe(out, "pc", 8, NR_PC, "code_ptr");
	end(out);
}

static void describe_csr(FILE *out, struct vcpu *vcpu, const struct csr *csr)
{
	uint64_t value;
	long size = get_csr(&vcpu->kvm, csr, &value);

	if (size > 0)
		describe(out, csr->name, (size_t)size, NR_CSR0 + csr->nr, "int");
}

static void describe_fpu(FILE *out, struct vcpu *vcpu)
{
	uint64_t value;
	long size = arch_debug_get(vcpu, NR_F0, &value);
	unsigned int i;

	if (size < 0)
		return;
	begin(out, "fpu");
	for (i = 0; i < 32; i++)
		describe(out, f_names[i], (size_t)size, NR_F0 + i,
			 size == 8 ? "ieee_double" : "ieee_single");
	for (i = 0; i < ARRAY_SIZE(fp_csrs); i++)
		describe_csr(out, vcpu, &fp_csrs[i]);
	end(out);
}

static void describe_vector(FILE *out, uint64_t size)
{
	static const struct {
		const char *id, *type, *field;
		unsigned int bytes;
	} views[] = {
		{"longs", "uint64", "l", 8},
		{"words", "uint32", "w", 4},
		{"shorts", "uint16", "s", 2},
		{"bytes", "uint8", "b", 1},
	};
	char name[4];
	unsigned int i;

	begin(out, "vector");
	for (i = 0; i < ARRAY_SIZE(views); i++)
		fprintf(out, "<vector id=\"%s\" type=\"%s\" count=\"%u\"/>\n", views[i].id,
			views[i].type, (unsigned int)size / views[i].bytes);
	fputs("<union id=\"riscv_vector\">\n", out);
	for (i = ARRAY_SIZE(views); i-- > 0;)
		fprintf(out, "<field name=\"%s\" type=\"%s\"/>\n", views[i].field, views[i].id);
	fputs("</union>\n", out);
	for (i = 0; i < 32; i++) {
		snprintf(name, sizeof(name), "v%u", i);
		describe(out, name, size, NR_V0 + i, "riscv_vector");
	}
	end(out);
}

char *arch_debug_target(struct vcpu *vcpu)
{
	char *text = NULL;
	size_t len, i;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	fputs("<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target>\n"
	      "<architecture>riscv:rv64</architecture>\n",
	      out);
	describe_cpu(out);
	describe_fpu(out, vcpu);
	begin(out, "csr");
	for (i = 0; i < ARRAY_SIZE(csrs); i++)
		describe_csr(out, vcpu, &csrs[i]);
	end(out);
	begin(out, "virtual");
	describe(out, "priv", 8, NR_PRIV, "int");
	end(out);
	if (vlenb(&vcpu->kvm) >= 8)
		describe_vector(out, vlenb(&vcpu->kvm));
	fputs("</target>\n", out);
	if (!fclose(out))
		return text;
	free(text);
	return NULL;
}
