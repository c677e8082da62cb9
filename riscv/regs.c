// SPDX-License-Identifier: GPL-2.0-only
/*
 * The register catalogue (include/lkvm/riscv/reg_catalogue.h): one table, a row for each
 * class of registers or a part of one. All questions are answered from it: a register's
 * name, its rule and place in a restore, and which to try where KVM has no list.
 *
 * What is special, and why:
 *
 *   core mode     the privilege mode: without it user code goes on as a supervisor
 *   sip           writing it replaces what is pending and forgets what was injected
 *   timer         time belongs to the VM and is saved once, beside the vCPUs; all of the
 *                 class is written last, just before the vCPUs run
 *   fp-f, fp-d    two views of one array: with D only that one is saved
 *   satp-mode     what the host can do, not what the guest does (that is satp)
 *   isa           the letters: follow from the extensions
 *   cache blocks  compared where the extension is on (regs_restore.c), never written
 *
 * No state, no lock: any thread.
 */
#include "lkvm/riscv/reg_catalogue.h"

#include "lkvm/riscv/isa.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const config_names[] = {
	"isa",	  "zicbom-block-size", "mvendorid", "marchid",
	"mimpid", "zicboz-block-size", "satp-mode", "zicbop-block-size",
};

static const char *const core_names[] = {
	"pc", "ra", "sp", "gp", "tp",  "t0",  "t1", "t2", "s0", "s1", "a0",
	"a1", "a2", "a3", "a4", "a5",  "a6",  "a7", "s2", "s3", "s4", "s5",
	"s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6", "mode",
};

static const char *const csr_names[] = {
	"sstatus", "sie", "stvec", "sscratch",	 "sepc",    "scause",
	"stval",   "sip", "satp",  "scounteren", "senvcfg",
};

static const char *const aia_names[] = {
	"siselect", "iprio1", "iprio2", "sieh", "siph", "iprio1h", "iprio2h",
};

static const char *const smstateen_names[] = {"sstateen0"};
static const char *const zicfiss_names[] = {"ssp"};
static const char *const timer_names[] = {"frequency", "time", "compare", "timer-state"};
static const char *const vector_names[] = {"vstart", "vl", "vtype", "vcsr", "vlenb"};
static const char *const sta_names[] = {"sta shmem-lo", "sta shmem-hi"};

/* SBI 3.0, "Firmware Features Extension", as KVM numbers the features it has. */
static const char *const fwft_names[] = {
	"fwft misaligned-deleg enable", "fwft misaligned-deleg flags",
	"fwft misaligned-deleg value",	"fwft pointer-masking enable",
	"fwft pointer-masking flags",	"fwft pointer-masking value",
	"fwft pte-ad-updating enable",	"fwft pte-ad-updating flags",
	"fwft pte-ad-updating value",	"fwft landing-pad enable",
	"fwft landing-pad flags",	"fwft landing-pad value",
	"fwft shadow-stack enable",	"fwft shadow-stack flags",
	"fwft shadow-stack value",
};

enum width {
	WIDTH_LONG, /* as the host's XLEN */
	WIDTH_32,
	WIDTH_64,
	WIDTH_VECTOR, /* as a vector register */
};

/**
 * struct row - registers @first to @first + @count - 1 of one class and subtype
 * @names: one for each; else @format with the number counted from @first; else by @name
 */
struct row {
	enum reg_class class;
	unsigned int sub, first, count;
	enum width width;
	enum reg_rule rule;
	enum reg_place place;
	const char *group;
	const char *const *names;
	const char *format;
	const char *(*name)(unsigned int index);
};

#define NAMED(array) .count = ARRAY_SIZE(array), .names = (array)
#define RULE(r, p) .rule = REG_RULE_##r, .place = REG_PLACE_##p

/* The first row that holds a register counts: exceptions stand before the rule. */
static const struct row rows[] = {
	{.class = REG_CONFIG,
	 .first = CONFIG_ISA,
	 .count = 1,
	 .names = config_names,
	 .group = "config",
	 RULE(DERIVE, ID)},
	{.class = REG_CONFIG,
	 .first = CONFIG_MVENDORID,
	 .count = 3,
	 .names = config_names + CONFIG_MVENDORID,
	 .group = "config",
	 RULE(WRITE, ID)},
	{.class = REG_CONFIG, NAMED(config_names), .group = "config", RULE(CHECK, ID)},
	{.class = REG_CORE, NAMED(core_names), .group = "core", RULE(WRITE, CORE)},
	{.class = REG_CSR,
	 .first = CSR_SIP,
	 .count = 1,
	 .names = csr_names + CSR_SIP,
	 .group = "csr",
	 RULE(WRITE, SIP)},
	{.class = REG_CSR, NAMED(csr_names), .group = "csr", RULE(WRITE, CSR)},
	{.class = REG_CSR, .sub = 1, NAMED(aia_names), .group = "csr", RULE(WRITE, CSR)},
	{.class = REG_CSR, .sub = 2, NAMED(smstateen_names), .group = "csr", RULE(WRITE, CSR)},
	{.class = REG_CSR, .sub = 3, NAMED(zicfiss_names), .group = "csr", RULE(WRITE, CSR)},
	{.class = REG_TIMER,
	 .first = TIMER_FREQUENCY,
	 .count = 1,
	 .names = timer_names,
	 .width = WIDTH_64,
	 .group = "timer",
	 RULE(CHECK, TIMER)},
	{.class = REG_TIMER,
	 .first = TIMER_TIME,
	 .count = 1,
	 .names = timer_names + TIMER_TIME,
	 .width = WIDTH_64,
	 .group = "timer",
	 RULE(DERIVE, TIMER)},
	{.class = REG_TIMER,
	 NAMED(timer_names),
	 .width = WIDTH_64,
	 .group = "timer",
	 RULE(WRITE, TIMER)},
	{.class = REG_FP_F,
	 .count = 32,
	 .format = "f%u",
	 .width = WIDTH_32,
	 .group = "fp-f",
	 RULE(WRITE, FP)},
	{.class = REG_FP_F,
	 .first = 32,
	 .count = 1,
	 .format = "fcsr",
	 .width = WIDTH_32,
	 .group = "fp-f",
	 RULE(WRITE, FP)},
	{.class = REG_FP_D,
	 .count = 32,
	 .format = "f%u",
	 .width = WIDTH_64,
	 .group = "fp-d",
	 RULE(WRITE, FP)},
	{.class = REG_FP_D,
	 .first = 32,
	 .count = 1,
	 .format = "fcsr",
	 .width = WIDTH_32,
	 .group = "fp-d",
	 RULE(WRITE, FP)},
	{.class = REG_VECTOR,
	 .first = VECTOR_VLENB,
	 .count = 1,
	 .names = vector_names + VECTOR_VLENB,
	 .group = "vector",
	 RULE(CHECK, VECTOR)},
	{.class = REG_VECTOR, NAMED(vector_names), .group = "vector", RULE(WRITE, VECTOR)},
	{.class = REG_VECTOR,
	 .first = VECTOR_V0,
	 .count = 32,
	 .format = "v%u",
	 .width = WIDTH_VECTOR,
	 .group = "vector",
	 RULE(WRITE, VECTOR)},
	{.class = REG_ISA_EXT,
	 .count = ISA_EXT_COUNT,
	 .name = isa_ext_name,
	 .group = "isa-ext",
	 RULE(WRITE, ISA)},
	{.class = REG_SBI_EXT,
	 .count = SBI_EXT_COUNT,
	 .name = sbi_ext_name,
	 .group = "sbi-ext",
	 RULE(WRITE, SBI)},
	{.class = REG_SBI_STATE,
	 .first = 1,
	 .count = 1,
	 .names = sta_names + 1,
	 .group = "sbi-state",
	 RULE(WRITE, STA_HIGH)},
	{.class = REG_SBI_STATE, NAMED(sta_names), .group = "sbi-state", RULE(WRITE, STA_LOW)},
	{.class = REG_SBI_STATE,
	 .sub = 1,
	 NAMED(fwft_names),
	 .group = "sbi-state",
	 RULE(WRITE, FWFT)},
};

static const struct row *find_row(uint64_t id)
{
	unsigned int index = reg_index_of(id);
	size_t i;

	if ((id & KVM_REG_ARCH_MASK) != KVM_REG_RISCV)
		return NULL;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *r = &rows[i];

		if (r->class == reg_class_of(id) && r->sub == reg_sub_of(id) && index >= r->first &&
		    index - r->first < r->count)
			return r;
	}
	return NULL;
}

struct reg_info reg_info(uint64_t id)
{
	const struct row *r = find_row(id);

	if (r)
		return (struct reg_info){r->group, r->rule, r->place, true};
	/* Extensions too new for a name are switched with the others. */
	if (reg_class_of(id) == REG_ISA_EXT && reg_sub_of(id) == EXT_SINGLE)
		return (struct reg_info){"isa-ext", REG_RULE_WRITE, REG_PLACE_ISA, false};
	if (reg_class_of(id) == REG_SBI_EXT && reg_sub_of(id) == EXT_SINGLE)
		return (struct reg_info){"sbi-ext", REG_RULE_WRITE, REG_PLACE_SBI, false};
	return (struct reg_info){"unknown", REG_RULE_WRITE, REG_PLACE_UNKNOWN, false};
}

const char *reg_name(uint64_t id, char buf[REG_NAME_MAX])
{
	const struct row *r = find_row(id);
	unsigned int nth;

	if (!r) {
		snprintf(buf, REG_NAME_MAX, "register 0x%llx", (unsigned long long)id);
		return buf;
	}
	nth = reg_index_of(id) - r->first;
	if (r->names)
		snprintf(buf, REG_NAME_MAX, "%s", r->names[nth]);
	else if (r->format)
		snprintf(buf, REG_NAME_MAX, r->format, nth);
	else
		snprintf(buf, REG_NAME_MAX, "%s %s", r->group, r->name(nth));
	return buf;
}

size_t reg_size(uint64_t id)
{
	return (size_t)1 << (id >> KVM_REG_SIZE_SHIFT & 15);
}

static unsigned int size_field(enum width width, uint64_t vlenb)
{
	unsigned int field = 0;

	switch (width) {
	case WIDTH_32:
		return REG_SIZE_U32;
	case WIDTH_64:
		return REG_SIZE_U64;
	case WIDTH_VECTOR:
		while (vlenb >>= 1)
			field++;
		return field;
	default:
		return REG_SIZE_LONG;
	}
}

/* Is @row's register @index told by an earlier row? */
static bool is_exception(const struct row *row, unsigned int index)
{
	return find_row(reg_id(row->class, row->sub, index, REG_SIZE_LONG)) != row;
}

/* The catalogue tried on the vCPU: what can be read is there. */
static long walk(const struct kvm_vcpu *vcpu, uint64_t **ids)
{
	uint64_t vlenb = reg_long_or_zero(vcpu, REG_VECTOR, VECTOR_VLENB);
	uint8_t value[REG_SIZE_MAX];
	size_t nr = 0, max = 0, i;

	for (i = 0; i < ARRAY_SIZE(rows); i++)
		max += rows[i].count;
	*ids = calloc(max, sizeof(**ids));
	if (!*ids)
		return -ENOMEM;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *r = &rows[i];
		unsigned int index;

		if (r->width == WIDTH_VECTOR && (!vlenb || vlenb > REG_SIZE_MAX))
			continue;
		for (index = r->first; index < r->first + r->count; index++) {
			uint64_t id = reg_id(r->class, r->sub, index, size_field(r->width, vlenb));

			if (!is_exception(r, index) && !kvm_get_reg(vcpu, id, value))
				(*ids)[nr++] = id;
		}
	}
	return (long)nr;
}

long regs_list(const struct kvm_vcpu *vcpu, uint64_t **ids)
{
	long nr = kvm_get_reg_list(vcpu, ids);

	return nr > 0 || nr == -ENOMEM ? nr : walk(vcpu, ids);
}
