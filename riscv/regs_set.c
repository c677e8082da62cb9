// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sets of registers (include/lkvm/riscv/reg_set.h): keeping them, taking them from KVM,
 * and their bytes in a file.
 *
 * In a file (little-endian):
 *
 *	u32 mp_state
 *	u32 number of extensions, then each: u8 kind (0 ISA, 1 SBI), u8 length, name,
 *	    u64 value; an extension without a name is called "#" and its number
 *	u32 number of registers, then each: u64 KVM's id, as many bytes as it says
 *
 * Extensions go by name because what a kernel calls number 62 is for the next one to
 * say; ids rise strictly, so that no register is there twice.
 *
 * Thread and lock: one thread, no lock. What is saved: this is it.
 */
#include "lkvm/riscv/reg_set.h"

#include "lkvm/riscv/isa.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_REGS 256
#define FIRST_DATA 4096

#define EXT_NAME_MAX 32

void reg_set_free(struct reg_set *set)
{
	free(set->regs);
	free(set->data);
	memset(set, 0, sizeof(*set));
}

/* Where @id is, or would be put. */
static size_t place_of(const struct reg_set *set, uint64_t id)
{
	size_t low = 0, high = set->nr;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (set->regs[mid].id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

const void *reg_set_find(const struct reg_set *set, uint64_t id)
{
	size_t i = place_of(set, id);

	return i < set->nr && set->regs[i].id == id ? set->data + set->regs[i].at : NULL;
}

/* KVM's registers are in the host's byte order; lkvm knows little-endian hosts only. */
uint64_t reg_set_get(const struct reg_set *set, uint64_t id, uint64_t otherwise)
{
	const void *at = reg_set_find(set, id);
	uint64_t value = 0;

	if (!at || reg_size(id) > sizeof(value))
		return otherwise;
	memcpy(&value, at, reg_size(id));
	return le64toh(value);
}

static bool make_room(struct reg_set *set, size_t bytes)
{
	if (set->nr == set->max) {
		size_t max = set->max ? 2 * set->max : FIRST_REGS;
		struct reg_value *regs = realloc(set->regs, max * sizeof(*regs));

		if (!regs)
			return false;
		set->regs = regs;
		set->max = max;
	}
	if (bytes > set->data_max - set->len) {
		size_t max = set->data_max ? 2 * set->data_max : FIRST_DATA;
		uint8_t *data;

		while (max - set->len < bytes)
			max *= 2;
		data = realloc(set->data, max);
		if (!data)
			return false;
		set->data = data;
		set->data_max = max;
	}
	return true;
}

bool reg_set_put(struct reg_set *set, uint64_t id, const void *value)
{
	size_t i = place_of(set, id), size = reg_size(id);

	if (i < set->nr && set->regs[i].id == id) {
		memcpy(set->data + set->regs[i].at, value, size);
		return true;
	}
	if (!make_room(set, size))
		return false;
	memmove(&set->regs[i + 1], &set->regs[i], (set->nr - i) * sizeof(set->regs[0]));
	set->regs[i] = (struct reg_value){id, set->len};
	set->nr++;
	memcpy(set->data + set->len, value, size);
	set->len += size;
	return true;
}

static bool has_class(const uint64_t *ids, long nr, enum reg_class class)
{
	long i;

	for (i = 0; i < nr; i++)
		if (reg_class_of(ids[i]) == class)
			return true;
	return false;
}

static int save_one(struct reg_set *set, const struct kvm_vcpu *vcpu, uint64_t id,
		    struct error *err)
{
	char name[REG_NAME_MAX];
	uint8_t value[REG_SIZE_MAX];
	int ret;

	if (reg_size(id) > sizeof(value))
		return fail(err, "%s is larger than any register can be", reg_name(id, name));
	ret = kvm_get_reg(vcpu, id, value);
	if (ret)
		return fail_errno(err, -ret, "KVM does not give %s", reg_name(id, name));
	return reg_set_put(set, id, value) ? 0 : fail(err, "no memory for registers");
}

/*
 * SEIP is not the hart's own: the PLIC's wire, or KVM's interrupt file, says it anew. Between
 * a message and its SEIP, KVM may show the one without the other.
 */
static void forget_seip(struct reg_set *set)
{
	uint64_t id = reg_long(REG_CSR, 0, CSR_SIP);
	unsigned long sip;

	if (!reg_set_find(set, id))
		return;
	sip = (unsigned long)(reg_set_get(set, id, 0) & ~SIP_SEIP);
	/* It is there, so there is room. */
	reg_set_put(set, id, &sip);
}

int reg_set_save(struct reg_set *set, const struct kvm_vcpu *vcpu, struct error *err)
{
	uint64_t *ids;
	long nr = regs_list(vcpu, &ids), i;
	bool has_d;
	int ret;

	if (nr < 0)
		return fail_errno(err, (int)-nr, "KVM does not say which registers there are");
	ret = kvm_get_mp_state(vcpu, &set->mp_state);
	if (ret) {
		free(ids);
		return fail_errno(err, -ret, "KVM does not say whether the hart is started");
	}
	/* Two views of one array: writing one would spoil the other. */
	has_d = has_class(ids, nr, REG_FP_D);
	for (i = 0; i < nr && !ret; i++) {
		struct reg_info info = reg_info(ids[i]);

		if (info.rule == REG_RULE_DERIVE || info.rule == REG_RULE_SKIP ||
		    (has_d && reg_class_of(ids[i]) == REG_FP_F))
			continue;
		ret = save_one(set, vcpu, ids[i], err);
	}
	free(ids);
	forget_seip(set);
	return ret;
}

void reg_set_report(const struct reg_set *set, struct log *log)
{
	char name[REG_NAME_MAX];
	size_t i, nr = 0, first = 0;

	for (i = 0; i < set->nr; i++) {
		if (reg_info(set->regs[i].id).known)
			continue;
		if (!nr++)
			first = i;
	}
	if (nr)
		log_warning(log,
			    "KVM has %zu registers that lkvm has no name for (the first is %s): "
			    "they are saved as they are",
			    nr, reg_name(set->regs[first].id, name));
}

/* --- bytes ---------------------------------------------------------------------------- */

static bool is_ext(uint64_t id)
{
	return (reg_class_of(id) == REG_ISA_EXT || reg_class_of(id) == REG_SBI_EXT) &&
	       reg_sub_of(id) == EXT_SINGLE && reg_size(id) == sizeof(long);
}

static const char *ext_name(uint64_t id)
{
	return reg_class_of(id) == REG_ISA_EXT ? isa_ext_name(reg_index_of(id))
					       : sbi_ext_name(reg_index_of(id));
}

static void save_ext(const struct reg_set *set, uint64_t id, struct xfer *x)
{
	const char *name = ext_name(id);
	uint8_t kind = reg_class_of(id) == REG_SBI_EXT, len;
	uint64_t value = reg_set_get(set, id, 0);
	char number[EXT_NAME_MAX];

	if (!name) {
		snprintf(number, sizeof(number), "#%u", reg_index_of(id));
		name = number;
	}
	len = (uint8_t)strlen(name);
	xfer_u8(x, &kind);
	xfer_u8(x, &len);
	xfer_bytes(x, (char *)(uintptr_t)name, len);
	xfer_u64(x, &value);
}

static void save_bytes(struct reg_set *set, struct xfer *x)
{
	uint32_t exts = 0, others = 0;
	size_t i;

	xfer_u32(x, &set->mp_state);
	for (i = 0; i < set->nr; i++)
		*(is_ext(set->regs[i].id) ? &exts : &others) += 1;
	xfer_u32(x, &exts);
	for (i = 0; i < set->nr; i++)
		if (is_ext(set->regs[i].id))
			save_ext(set, set->regs[i].id, x);
	xfer_u32(x, &others);
	for (i = 0; i < set->nr; i++) {
		uint64_t id = set->regs[i].id;

		if (is_ext(id))
			continue;
		xfer_u64(x, &id);
		xfer_bytes(x, set->data + set->regs[i].at, reg_size(id));
	}
}

static int ext_number(unsigned int kind, const char *name)
{
	unsigned int i;

	/* KVM's numbers keep their meaning: one without a name goes by its own. */
	if (*name == '#') {
		char *end;
		unsigned long n = strtoul(name + 1, &end, 10);

		return end > name + 1 && !*end && n <= 0xffff &&
				       !(n < (kind ? SBI_EXT_COUNT : ISA_EXT_COUNT))
			       ? (int)n
			       : -1;
	}
	if (!kind)
		return isa_ext_by_name(name, strlen(name));
	for (i = 0; i < SBI_EXT_COUNT; i++)
		if (!strcmp(sbi_ext_name(i), name))
			return (int)i;
	return -1;
}

static bool is_word(const char *name, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (!((name[i] >= 'a' && name[i] <= 'z') || (name[i] >= '0' && name[i] <= '9') ||
		      name[i] == '#'))
			return false;
	return len;
}

static void load_ext(struct reg_set *set, struct xfer *x, struct reasons *why)
{
	char name[EXT_NAME_MAX] = "";
	unsigned long word;
	uint64_t value = 0;
	uint8_t kind = 0, len = 0;
	int number;

	xfer_u8(x, &kind);
	xfer_check(x, kind <= 1, "an extension is neither of the ISA nor of the SBI");
	xfer_u8(x, &len);
	xfer_check(x, len && len < sizeof(name), "an extension's name is empty or too long");
	if (x->failed)
		return;
	xfer_bytes(x, name, len);
	xfer_u64(x, &value);
	xfer_check(x, is_word(name, len), "an extension's name is none");
	xfer_check(x, value <= 1, "an extension is neither on nor off");
	if (x->failed)
		return;
	number = ext_number(kind, name);
	if (number < 0) {
		if (value)
			reasons_add(why, "%s extension %s is on, which this lkvm does not know",
				    kind ? "SBI" : "ISA", name);
		return;
	}
	word = (unsigned long)value;
	if (!reg_set_put(
		    set,
		    reg_long(kind ? REG_SBI_EXT : REG_ISA_EXT, EXT_SINGLE, (unsigned int)number),
		    &word))
		xfer_check(x, false, "no memory for registers");
}

static void load_reg(struct reg_set *set, struct xfer *x, uint64_t *last)
{
	uint8_t value[REG_SIZE_MAX];
	uint64_t id = 0;

	xfer_u64(x, &id);
	xfer_check(x, (id & KVM_REG_ARCH_MASK) == KVM_REG_RISCV && reg_size(id) <= sizeof(value),
		   "a register's id is none of RISC-V");
	xfer_check(x, id > *last, "registers are not in order");
	xfer_check(x, !is_ext(id), "an extension stands among the registers");
	if (x->failed)
		return;
	*last = id;
	xfer_bytes(x, value, reg_size(id));
	if (!x->failed && !reg_set_put(set, id, value))
		xfer_check(x, false, "no memory for registers");
}

void reg_set_transfer(struct reg_set *set, struct xfer *x, struct reasons *why)
{
	uint32_t exts = 0, others = 0, i;
	uint64_t last = 0;

	if (!x->loading) {
		save_bytes(set, x);
		return;
	}
	xfer_u32(x, &set->mp_state);
	xfer_check(x,
		   set->mp_state == KVM_MP_STATE_RUNNABLE || set->mp_state == KVM_MP_STATE_STOPPED,
		   "a hart is neither started nor stopped");
	xfer_u32(x, &exts);
	xfer_check(x, exts <= REG_SET_MAX, "more extensions than there can be");
	for (i = 0; i < exts && !x->failed; i++)
		load_ext(set, x, why);
	xfer_u32(x, &others);
	xfer_check(x, others <= REG_SET_MAX, "more registers than there can be");
	for (i = 0; i < others && !x->failed; i++)
		load_reg(set, x, &last);
}
