// SPDX-License-Identifier: GPL-2.0-only
/*
 * Choosing the G-stage (include/lkvm/riscv/hgatp.h).
 *
 * Widths and modes (privileged architecture, "Hypervisor Guest Address
 * Translation and Protection Register"): Sv39x4 has 41 bits and HGATP.MODE 8,
 * Sv48x4 50 and 9, Sv57x4 59 and 10; rv32 has Sv32x4 alone, 34 bits. A host that
 * has a mode has the narrower ones of its XLEN too.
 *
 * Probing. Whether the width can be chosen by KVM_CAP_VM_GPA_BITS shows only by
 * trying: enabling it with the width that the fresh VM has anyway changes
 * nothing, and is EINVAL on a kernel that has no such choice. Version numbers are
 * never compared. The posted capability numbers were given to other things later,
 * so their masks are believed only when they have the posted shape and their
 * widest mode is the one the VM has: a boolean 1 on a host wider than Sv39 is not
 * this capability, and on an Sv39 host there is nothing to choose.
 *
 * Applying ends with asking KVM for the width it now has, so that what is
 * recorded is what is.
 *
 * Thread: the one that builds the VM; no lock. What is saved: struct hgatp, as
 * information; a restore needs only a width that holds the layout.
 */
#include "lkvm/riscv/hgatp.h"

#include <errno.h>
#include <stdio.h>

/* "[PATCH v4 3/4] RISC-V: KVM: add KVM_CAP_RISCV_SET_HGATP_MODE" and its v7. */
#define CAP_SET_HGATP_MODE_247 247
#define CAP_SET_HGATP_MODE_248 248
#define MASK_247 0x7u
#define MASK_248 0x700u

static const struct hgatp_mode {
	unsigned int bits;
	unsigned int mode;
	const char *name;
	const char *option;
} modes[] = {
	{34, 1, "Sv32x4", "sv32"},
	{41, 8, "Sv39x4", "sv39"},
	{50, 9, "Sv48x4", "sv48"},
	{59, 10, "Sv57x4", "sv57"},
};

static const struct hgatp_mode *mode_of(unsigned int bits)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(modes); i++)
		if (modes[i].bits == bits)
			return &modes[i];
	return NULL;
}

const char *hgatp_name(unsigned int bits)
{
	const struct hgatp_mode *m = mode_of(bits);

	return m ? m->name : "unknown";
}

const char *hgatp_option(unsigned int bits)
{
	const struct hgatp_mode *m = mode_of(bits);

	return m ? m->option : "unknown";
}

const char *hgatp_interface_name(enum hgatp_interface interface)
{
	switch (interface) {
	case HGATP_GPA_BITS:
		return "KVM_CAP_VM_GPA_BITS";
	case HGATP_POSTED_247:
		return "KVM_CAP_RISCV_SET_HGATP_MODE (247)";
	case HGATP_POSTED_248:
		return "KVM_CAP_RISCV_SET_HGATP_MODE (248)";
	default:
		return "no interface to choose";
	}
}

gpa_t hgatp_limit(unsigned int bits)
{
	return (UINT64_C(1) << min_u64(bits, USABLE_GPA_BITS)) - GPA_TOP_SPARE;
}

/* The modes up to @max_bits as the posted masks count them: bit 0 is Sv39x4. */
static unsigned int modes_up_to(unsigned int max_bits)
{
	return max_bits >= 59 ? 7 : max_bits >= 50 ? 3 : 1;
}

static int refused(int errnum, unsigned int bits, enum hgatp_interface interface, struct error *err)
{
	const char *name = hgatp_name(bits), *how = hgatp_interface_name(interface);

	switch (errnum) {
	case EBUSY:
		return fail(err,
			    "%s: KVM says the VM has memory or vCPUs already, so the G-stage mode "
			    "is settled; this is a bug in lkvm",
			    how);
	case EINVAL:
		return fail(err, "%s: KVM offered %s and now refuses it", how, name);
	case ENOMEM:
		return fail(err, "%s: the host has no memory for the G-stage tables of %s", how,
			    name);
	default:
		return fail_errno(err, errnum, "%s: KVM refused %s", how, name);
	}
}

int hgatp_probe(const struct kvm *kvm, struct hgatp_host *host, struct error *err)
{
	int bits = kvm_check(kvm, KVM_CAP_VM_GPA_BITS), ret;
	unsigned int mask;

	/* Before that capability existed every host was Sv39x4 for all one could know. */
	if (!bits)
		bits = sizeof(long) == 8 ? 41 : 34;
	host->interface = HGATP_FIXED;
	host->max_bits = (unsigned int)bits;
	if (!mode_of(host->max_bits))
		return fail(err,
			    "KVM says that guest physical addresses have %d bits, which no G-stage "
			    "mode has",
			    bits);
	ret = kvm_enable_cap(kvm, KVM_CAP_VM_GPA_BITS, host->max_bits);
	if (!ret && kvm_check(kvm, KVM_CAP_VM_GPA_BITS) == bits) {
		host->interface = HGATP_GPA_BITS;
		return 0;
	}
	/* "No such capability" has these two forms; all else is no answer. */
	if (ret && ret != -EINVAL && ret != -ENOTTY)
		return refused(-ret, host->max_bits, HGATP_GPA_BITS, err);
	if (host->max_bits <= 41)
		return 0;
	mask = (unsigned int)kvm_check(kvm, CAP_SET_HGATP_MODE_247);
	if (mask && !(mask & ~MASK_247) && mask == modes_up_to(host->max_bits)) {
		host->interface = HGATP_POSTED_247;
		return 0;
	}
	mask = (unsigned int)kvm_check(kvm, CAP_SET_HGATP_MODE_248);
	if (mask && !(mask & ~MASK_248) && mask >> 8 == modes_up_to(host->max_bits))
		host->interface = HGATP_POSTED_248;
	return 0;
}

/* How many bits of address it takes to name everything below @top. */
static unsigned int bits_for(gpa_t top)
{
	gpa_t last = top + min_u64(GPA_TOP_SPARE - 1, UINT64_MAX - top);
	unsigned int bits = 0;

	while (bits < 64 && last >> bits)
		bits++;
	return bits;
}

static unsigned int choice_bits(enum hgatp_choice choice)
{
	switch (choice) {
	case HGATP_SV39:
		return 41;
	case HGATP_SV48:
		return 50;
	case HGATP_SV57:
		return 59;
	default:
		return 0;
	}
}

static unsigned int narrowest(unsigned int need, unsigned int max_bits)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		/* rv32 and rv64 hosts each have only modes of their own kind. */
		if ((modes[i].bits == 34) != (max_bits == 34))
			continue;
		if (modes[i].bits >= need && modes[i].bits <= max_bits)
			return modes[i].bits;
	}
	return 0;
}

static int too_small(const struct hgatp_host *host, unsigned int bits, const char *option,
		     const struct hgatp_need *need, struct error *err)
{
	return fail(err,
		    "%s: %s takes guest addresses of %u bits, and %s holds %u (up to 0x%llx); "
		    "this host has up to %s",
		    option, need->what, bits_for(need->top), hgatp_name(bits),
		    (unsigned int)min_u64(bits, USABLE_GPA_BITS),
		    (unsigned long long)hgatp_limit(bits), hgatp_name(host->max_bits));
}

int hgatp_select(const struct hgatp_host *host, const struct hgatp_request *req,
		 const struct hgatp_need *need, struct hgatp *out, struct error *err)
{
	unsigned int need_bits = bits_for(need->top);
	unsigned int want = choice_bits(req->choice);
	unsigned int least = (unsigned int)max_u64(need_bits, req->gpa_bits);
	char option[32];

	*out = (struct hgatp){.interface = host->interface};
	if (req->gpa_bits > host->max_bits)
		return fail(err, "--gpa-bits %u: this host gives guests at most %u bits (%s)",
			    req->gpa_bits, host->max_bits, hgatp_name(host->max_bits));
	if (want && req->gpa_bits > want)
		return fail(err, "--gpa-bits %u and --hgatp %s: that mode has %u bits",
			    req->gpa_bits, hgatp_option(want), want);
	if (want) {
		snprintf(option, sizeof(option), "--hgatp %s", hgatp_option(want));
		if (want > host->max_bits || (want != host->max_bits && host->max_bits == 34))
			return fail(err, "%s: this host has %s%s", option,
				    host->max_bits > 41 ? "modes up to " : "only ",
				    hgatp_name(host->max_bits));
		if (want != host->max_bits && host->interface == HGATP_FIXED)
			return fail(err,
				    "%s: this host's KVM gives every VM %s and offers no choice",
				    option, hgatp_name(host->max_bits));
		if (need->top > hgatp_limit(want))
			return too_small(host, want, option, need, err);
		out->bits = want;
		snprintf(out->why, sizeof(out->why), "asked for");
		return 0;
	}
	if (need->top > hgatp_limit(host->max_bits))
		return too_small(host, host->max_bits,
				 req->choice == HGATP_HOST ? "--hgatp host" : "-m", need, err);
	out->bits = host->max_bits;
	if (req->choice == HGATP_HOST) {
		snprintf(out->why, sizeof(out->why), "KVM's own choice");
	} else if (host->interface == HGATP_FIXED) {
		snprintf(out->why, sizeof(out->why), "the only one this host's KVM gives");
	} else {
		out->bits = narrowest(least, host->max_bits);
		if (req->gpa_bits > need_bits)
			snprintf(out->why, sizeof(out->why), "the narrowest with %u bits",
				 req->gpa_bits);
		else
			snprintf(out->why, sizeof(out->why), "the narrowest that holds %s",
				 need->what);
	}
	return 0;
}

int hgatp_apply(const struct kvm *kvm, const struct hgatp_host *host, const struct hgatp *hgatp,
		struct error *err)
{
	const struct hgatp_mode *mode = mode_of(hgatp->bits);
	int now, ret = 0;

	switch (hgatp->interface) {
	case HGATP_GPA_BITS:
		ret = kvm_enable_cap(kvm, KVM_CAP_VM_GPA_BITS, hgatp->bits);
		break;
	case HGATP_POSTED_247:
		if (hgatp->bits != host->max_bits)
			ret = kvm_enable_cap(kvm, CAP_SET_HGATP_MODE_247, mode->mode);
		break;
	case HGATP_POSTED_248:
		if (hgatp->bits != host->max_bits)
			ret = kvm_enable_cap(kvm, CAP_SET_HGATP_MODE_248, mode->mode);
		break;
	case HGATP_FIXED:
		break;
	}
	if (ret)
		return refused(-ret, hgatp->bits, hgatp->interface, err);
	now = kvm_check(kvm, KVM_CAP_VM_GPA_BITS);
	/* Only a kernel that offers no choice may leave the width unsaid. */
	if ((now || hgatp->interface != HGATP_FIXED) && (unsigned int)now != hgatp->bits)
		return fail(err, "%s: asked KVM for %u bits (%s), and the VM has %d",
			    hgatp_interface_name(hgatp->interface), hgatp->bits, mode->name, now);
	return 0;
}
