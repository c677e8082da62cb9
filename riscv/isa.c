// SPDX-License-Identifier: GPL-2.0-only
/*
 * ISA and SBI extensions (include/lkvm/riscv/isa.h).
 *
 * The two tables state KVM's numbers (Linux arch/riscv/include/uapi/asm/kvm.h,
 * enumerations KVM_RISCV_ISA_EXT_* and KVM_RISCV_SBI_EXT_*, as of 7.3) as
 * positions of names. A number beyond the table is reported once and left alone:
 * the guest is not told of it.
 *
 * Deciding happens on one vCPU, because all harts of a VM are alike (Linux uses
 * what all of them have in common). The result is a short list of writes that
 * the other vCPUs repeat, so a VM with many vCPUs costs a few ioctls for each.
 *
 * Thread: the one that builds the VM; no lock. What is saved: the vCPUs'
 * registers themselves, by name.
 */
#include "lkvm/riscv/isa.h"

#include "lkvm/riscv/regs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const isa_ext_names[ISA_EXT_COUNT] = {
	"a",	    "c",       "d",	    "f",	   "h",	       "i",	   "m",
	"svpbmt",   "sstc",    "svinval",   "zihintpause", "zicbom",   "zicboz",   "zbb",
	"ssaia",    "v",       "svnapot",   "zba",	   "zbs",      "zicntr",   "zicsr",
	"zifencei", "zihpm",   "smstateen", "zicond",	   "zbc",      "zbkb",	   "zbkc",
	"zbkx",	    "zknd",    "zkne",	    "zknh",	   "zkr",      "zksed",	   "zksh",
	"zkt",	    "zvbb",    "zvbc",	    "zvkb",	   "zvkg",     "zvkned",   "zvknha",
	"zvknhb",   "zvksed",  "zvksh",	    "zvkt",	   "zfh",      "zfhmin",   "zihintntl",
	"zvfh",	    "zvfhmin", "zfa",	    "ztso",	   "zacas",    "sscofpmf", "zimop",
	"zca",	    "zcb",     "zcd",	    "zcf",	   "zcmop",    "zawrs",	   "smnpm",
	"ssnpm",    "svade",   "svadu",	    "svvptc",	   "zabha",    "ziccrse",  "zaamo",
	"zalrsc",   "zicbop",  "zfbfmin",   "zvfbfmin",	   "zvfbfwma", "zclsd",	   "zilsd",
	"zalasr",   "zicfilp", "zicfiss",
};

static const char *const sbi_ext_names[SBI_EXT_COUNT] = {
	"v01",		"time",	  "ipi",  "rfence", "srst", "hsm",  "pmu",
	"experimental", "vendor", "dbcn", "sta",    "susp", "fwft", "mpxy",
};

/* The order of single letters in an ISA string (ISA manual, "Subset naming convention"). */
static const char letter_order[] = "imafdqcbvh";

const char *isa_ext_name(unsigned int id)
{
	return id < ISA_EXT_COUNT ? isa_ext_names[id] : NULL;
}

const char *sbi_ext_name(unsigned int id)
{
	return id < SBI_EXT_COUNT ? sbi_ext_names[id] : NULL;
}

int isa_ext_by_name(const char *name, size_t len)
{
	unsigned int i;

	for (i = 0; i < ISA_EXT_COUNT; i++)
		if (strlen(isa_ext_names[i]) == len && !strncasecmp(isa_ext_names[i], name, len))
			return (int)i;
	return -1;
}

/*
 * Which extensions are on: by the words of enable bits (two ioctls instead of
 * eighty), or one by one where a kernel has no such words.
 */
static void read_extensions(const struct kvm_vcpu *vcpu, enum reg_class class, unsigned int nr,
			    bool *on)
{
	unsigned int bits = 8 * sizeof(long), i;
	uint64_t word = 0;

	for (i = 0; i < nr; i++) {
		if (!(i % bits) && reg_get_long(vcpu, class, EXT_MULTI_ENABLE, i / bits, &word))
			break;
		on[i] = word >> (i % bits) & 1;
	}
	for (; i < nr; i++)
		on[i] = !reg_get_long(vcpu, class, EXT_SINGLE, i, &word) && word;
}

/* Something new in KVM is worth one line to those who look. */
static void report_unknown(const struct kvm_vcpu *vcpu, struct log *log)
{
	uint64_t *ids;
	long nr = kvm_get_reg_list(vcpu, &ids), i;

	for (i = 0; i < nr; i++) {
		unsigned int index = reg_index_of(ids[i]);

		if (reg_class_of(ids[i]) == REG_ISA_EXT && index >= ISA_EXT_COUNT)
			log_debug(log,
				  "KVM has ISA extension number %u, which lkvm has no name for: "
				  "the guest is not told",
				  index);
		if (reg_class_of(ids[i]) == REG_SBI_EXT && index >= SBI_EXT_COUNT)
			log_debug(log,
				  "KVM has SBI extension number %u, which lkvm has no name for: "
				  "left as it is",
				  index);
	}
	free(ids);
}

/* "rv64gcv_zba,zbb": letters of the first word, then names. */
static int parse_list(const char *list, bool *wanted, struct error *err)
{
	const char *p = list;
	bool first = true;

	if (!strncasecmp(p, "rv64", 4) || !strncasecmp(p, "rv32", 4)) {
		if (atoi(p + 2) != 8 * (int)sizeof(long))
			return fail(err, "--isa %s: this host's guests are rv%d", list,
				    8 * (int)sizeof(long));
		p += 4;
	}
	while (*p) {
		size_t len = strcspn(p, "_,");
		size_t i;

		if (isa_ext_by_name(p, len) >= 0) {
			wanted[isa_ext_by_name(p, len)] = true;
		} else if (first) {
			for (i = 0; i < len; i++) {
				static const char *const g[] = {"i", "m",     "a",	 "f",
								"d", "zicsr", "zifencei"};
				size_t k;

				if (p[i] == 'g' || p[i] == 'G') {
					for (k = 0; k < ARRAY_SIZE(g); k++)
						wanted[isa_ext_by_name(g[k], strlen(g[k]))] = true;
				} else if (isa_ext_by_name(&p[i], 1) >= 0) {
					wanted[isa_ext_by_name(&p[i], 1)] = true;
				} else {
					return fail(err, "--isa %s: no extension is called \"%c\"",
						    list, p[i]);
				}
			}
		} else {
			return fail(err, "--isa %s: no extension is called \"%.*s\"", list,
				    (int)min_u64(len, 40), p);
		}
		first = false;
		p += len;
		if (*p)
			p++;
	}
	if (!wanted[isa_ext_by_name("i", 1)] || !wanted[isa_ext_by_name("m", 1)] ||
	    !wanted[isa_ext_by_name("a", 1)])
		return fail(err, "--isa %s: a Linux guest needs at least i, m and a", list);
	return 0;
}

void isa_told(const char *list, bool told[ISA_EXT_COUNT])
{
	static const char *const always[] = {"zicsr", "zifencei", "zicntr", "sstc"};
	struct error ignored;
	unsigned int i;
	size_t k;

	memset(told, 0, ISA_EXT_COUNT * sizeof(told[0]));
	parse_list(list, told, &ignored);
	for (i = 0; i < ISA_EXT_COUNT; i++)
		told[i] |= !isa_ext_names[i][1];
	for (k = 0; k < ARRAY_SIZE(always); k++)
		told[isa_ext_by_name(always[k], strlen(always[k]))] = true;
}

static int decide_isa(const struct kvm_vcpu *vcpu, const struct isa_request *req, bool aia,
		      struct log *log, struct isa *isa, struct error *err)
{
	bool wanted[ISA_EXT_COUNT] = {false};
	bool hide[ISA_EXT_COUNT];
	unsigned int i;

	if (req->list && parse_list(req->list, wanted, err))
		return -1;
	for (i = 0; i < ISA_EXT_COUNT; i++) {
		bool asked = req->hide_isa[i] || (req->list && !wanted[i]);

		if (req->list && wanted[i] && req->hide_isa[i])
			return fail(err, "--isa names %s and --disable-%s takes it away",
				    isa_ext_names[i], isa_ext_names[i]);
		if (req->list && wanted[i] && i == ISA_EXT_SSAIA && !aia)
			return fail(err, "--isa: ssaia needs the AIA, and this VM has the PLIC");
		if (req->list && wanted[i] && !isa->isa[i])
			return fail(err, "--isa: this host does not offer %s to guests",
				    isa_ext_names[i]);
		hide[i] = asked;
	}
	/* A guest that is given the PLIC must not try the interrupt files. */
	hide[ISA_EXT_SSAIA] |= !aia;

	for (i = 0; i < ISA_EXT_COUNT; i++) {
		isa->shown[i] = isa->isa[i] && !hide[i];
		if (!isa->isa[i] || !hide[i])
			continue;
		if (!reg_set_long(vcpu, REG_ISA_EXT, EXT_SINGLE, i, 0)) {
			isa->off[i] = true;
			isa->isa[i] = false;
		} else if (req->hide_isa[i] && i != ISA_EXT_SSTC) {
			log_warning(log,
				    "--disable-%s: KVM cannot take it away, so only the device "
				    "tree hides it",
				    isa_ext_names[i]);
		} else if (req->list && i != ISA_EXT_SSAIA) {
			log_debug(
				log,
				"--isa: KVM cannot take %s away, so only the device tree hides it",
				isa_ext_names[i]);
		}
	}
	/*
	 * Seen with Linux 7.2 on an emulated host, without any snapshot: a hart waits for ever, and
	 * its compare register is what it was before the SBI call that set its timer.
	 */
	if (isa->isa[ISA_EXT_SSTC] && !isa->shown[ISA_EXT_SSTC])
		log_warning(log, "the guest is not told of Sstc, which KVM cannot take away: "
				 "timers that it sets by SBI calls may be lost");
	/* Nested virtualisation does not exist in KVM: the letter promises what is not there. */
	isa->shown[ISA_EXT_H] = false;
	/* The overflow interrupt is useless, and misleading, without the SBI calls for counters. */
	if (!isa->sbi[SBI_EXT_PMU])
		isa->shown[ISA_EXT_SSCOFPMF] = false;
	return 0;
}

static int decide_sbi(const struct kvm_vcpu *vcpu, const struct isa_request *req, struct isa *isa,
		      struct error *err)
{
	unsigned int i;
	uint64_t now;
	int ret;

	for (i = 0; i < SBI_EXT_COUNT; i++) {
		bool want;

		if (reg_get_long(vcpu, REG_SBI_EXT, EXT_SINGLE, i, &now)) {
			isa->sbi[i] = false; /* not in this kernel: nothing to hide either */
			continue;
		}
		/* Off by default in KVM because user space must answer: lkvm does. */
		want = now || i == SBI_EXT_DBCN || i == SBI_EXT_SUSP;
		if (req->hide_sbi[i])
			want = false;
		isa->sbi[i] = want;
		if (want == (bool)now)
			continue;
		ret = reg_set_long(vcpu, REG_SBI_EXT, EXT_SINGLE, i, want);
		if (ret)
			return fail_errno(err, -ret, "KVM will not switch SBI extension %s %s",
					  sbi_ext_names[i], want ? "on" : "off");
		isa->sbi_set[i] = true;
		isa->sbi_value[i] = want;
	}
	return 0;
}

static int set_ids(const struct kvm_vcpu *vcpu, const struct isa_request *req, struct error *err)
{
	const struct {
		bool set;
		unsigned int index;
		uint64_t value;
		const char *name;
	} ids[] = {
		{req->set_mvendorid, CONFIG_MVENDORID, req->mvendorid, "mvendorid"},
		{req->set_marchid, CONFIG_MARCHID, req->marchid, "marchid"},
		{req->set_mimpid, CONFIG_MIMPID, req->mimpid, "mimpid"},
	};
	size_t i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		if (!ids[i].set)
			continue;
		ret = reg_set_long(vcpu, REG_CONFIG, 0, ids[i].index, ids[i].value);
		if (ret)
			return fail_errno(err, -ret, "--custom-%s: KVM refused 0x%llx", ids[i].name,
					  (unsigned long long)ids[i].value);
	}
	return 0;
}

static uint32_t block_size(const struct kvm_vcpu *vcpu, bool shown, unsigned int index)
{
	uint64_t size;

	if (!shown || reg_get_long(vcpu, REG_CONFIG, 0, index, &size) || size > UINT32_MAX)
		return 0;
	return (uint32_t)size;
}

int isa_decide(const struct kvm_vcpu *vcpu, const struct isa_request *req, bool aia,
	       struct log *log, struct isa *isa, struct error *err)
{
	int ret;

	memset(isa, 0, sizeof(*isa));
	isa->xlen = 8 * sizeof(long);
	ret = kvm_get_reg(vcpu, reg_id(REG_TIMER, 0, TIMER_FREQUENCY, REG_SIZE_U64),
			  &isa->timebase);
	if (ret)
		return fail_errno(err, -ret,
				  "this host's KVM is not RISC-V's: it does not tell the frequency "
				  "of the time CSR");
	/* 6.4 and older have no such register: all their hosts run Sv39 guests. */
	if (reg_get_long(vcpu, REG_CONFIG, 0, CONFIG_SATP_MODE, &isa->satp_mode))
		isa->satp_mode = isa->xlen == 64 ? 8 : 1;
	report_unknown(vcpu, log);
	read_extensions(vcpu, REG_ISA_EXT, ISA_EXT_COUNT, isa->isa);
	if (decide_sbi(vcpu, req, isa, err) || decide_isa(vcpu, req, aia, log, isa, err) ||
	    set_ids(vcpu, req, err))
		return -1;
	isa->cbom = block_size(vcpu, isa->shown[ISA_EXT_ZICBOM], CONFIG_ZICBOM_BLOCK_SIZE);
	isa->cboz = block_size(vcpu, isa->shown[ISA_EXT_ZICBOZ], CONFIG_ZICBOZ_BLOCK_SIZE);
	isa->cbop = block_size(vcpu, isa->shown[ISA_EXT_ZICBOP], CONFIG_ZICBOP_BLOCK_SIZE);
	return 0;
}

int isa_apply(const struct kvm_vcpu *vcpu, const struct isa_request *req, const struct isa *isa,
	      struct error *err)
{
	unsigned int i;
	int ret;

	for (i = 0; i < ISA_EXT_COUNT; i++) {
		if (!isa->off[i])
			continue;
		ret = reg_set_long(vcpu, REG_ISA_EXT, EXT_SINGLE, i, 0);
		if (ret)
			return fail_errno(err, -ret, "KVM will not switch ISA extension %s off",
					  isa_ext_names[i]);
	}
	for (i = 0; i < SBI_EXT_COUNT; i++) {
		if (!isa->sbi_set[i])
			continue;
		ret = reg_set_long(vcpu, REG_SBI_EXT, EXT_SINGLE, i, isa->sbi_value[i]);
		if (ret)
			return fail_errno(err, -ret, "KVM will not switch SBI extension %s %s",
					  sbi_ext_names[i], isa->sbi_value[i] ? "on" : "off");
	}
	return set_ids(vcpu, req, err);
}

void isa_names(const struct isa *isa, const char **names)
{
	unsigned int i, n = 0;
	const char *p;

	for (p = letter_order; *p; p++) {
		int id = isa_ext_by_name(p, 1);

		if (id >= 0 && isa->shown[id])
			names[n++] = isa_ext_names[id];
	}
	for (i = 0; i < ISA_EXT_COUNT; i++)
		if (isa->shown[i] && isa_ext_names[i][1])
			names[n++] = isa_ext_names[i];
	names[n] = NULL;
}

void isa_legacy_string(const struct isa *isa, char *buf)
{
	const char *names[ISA_EXT_COUNT + 1];
	size_t len;
	unsigned int i;

	isa_names(isa, names);
	len = (size_t)snprintf(buf, ISA_STRING_MAX, "rv%u", isa->xlen);
	for (i = 0; names[i]; i++)
		len += (size_t)snprintf(buf + len, ISA_STRING_MAX - len, "%s%s",
					names[i][1] ? "_" : "", names[i]);
}
