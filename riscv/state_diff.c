// SPDX-License-Identifier: GPL-2.0-only
/*
 * In what two saved machines differ, by name (include/lkvm/arch_state.h): registers and
 * extensions of each hart. What the machine is, is compared in state_config.c.
 *
 * One thread, no lock, no state.
 */
#include "lkvm/arch_state.h"
#include "lkvm/riscv/reg_set.h"
#include "state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A number, the most significant digit first; long ones are cut. */
#define VALUE_MAX 80

static const char *value_text(const struct reg_set *set, uint64_t id, char *buf)
{
	const uint8_t *value = reg_set_find(set, id);
	size_t i, len = 2;

	if (!value)
		return NULL;
	memcpy(buf, "0x", 3);
	for (i = reg_size(id); i-- > 0 && len + 6 < VALUE_MAX; len += 2)
		snprintf(buf + len, 3, "%02x", value[i]);
	if (i != (size_t)-1)
		snprintf(buf + len, VALUE_MAX - len, "…");
	return buf;
}

static void diff_reg(const struct reg_set *a, const struct reg_set *b, uint64_t id,
		     const char *part, struct diff_sink *sink)
{
	char x[VALUE_MAX], y[VALUE_MAX], name[REG_NAME_MAX];
	const void *p = reg_set_find(a, id), *q = reg_set_find(b, id);

	if (p && q && !memcmp(p, q, reg_size(id)))
		return;
	diff_tell(sink, part, reg_name(id, name), value_text(a, id, x), value_text(b, id, y));
}

static const char *state_text(const struct reg_set *set)
{
	return set->mp_state == KVM_MP_STATE_STOPPED ? "stopped" : "started";
}

static void diff_regs(const struct reg_set *a, const struct reg_set *b, const char *part,
		      struct diff_sink *sink)
{
	size_t i;

	diff_text(sink, part, "hart", state_text(a), state_text(b));
	for (i = 0; i < a->nr; i++)
		diff_reg(a, b, a->regs[i].id, part, sink);
	for (i = 0; i < b->nr; i++)
		if (!reg_set_find(a, b->regs[i].id))
			diff_reg(a, b, b->regs[i].id, part, sink);
}

int arch_section_diff(const struct snapshot_file *a, const struct snapshot_file *b,
		      const char *name, struct diff_sink *sink, struct error *err)
{
	struct reg_set x = {0}, y = {0};
	struct reasons ignored = {0};
	unsigned int id;
	char *end;
	int ret;

	if (strncmp(name, "vcpu", 4))
		return 1;
	id = (unsigned int)strtoul(name + 4, &end, 10);
	if (end == name + 4 || *end)
		return 1;
	ret = machine_read_vcpu(a, id, &x, &ignored, err);
	if (!ret)
		ret = machine_read_vcpu(b, id, &y, &ignored, err);
	if (!ret)
		diff_regs(&x, &y, name, sink);
	reg_set_free(&x);
	reg_set_free(&y);
	return ret;
}
