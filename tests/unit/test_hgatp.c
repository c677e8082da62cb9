// SPDX-License-Identifier: GPL-2.0-only
/*
 * Choosing the G-stage: on scripted kernels that a few numbers describe (struct
 * script), with every message word for word; the same on the scripted hosts of
 * fake_kvm.h; and as a property, for random layouts on random hosts.
 */
#include "fake_kvm.h"
#include "lkvm/riscv/hgatp.h"
#include "lkvm/riscv/layout.h"
#include "prng.h"
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEV_FD 5
#define VM_FD 6
#define HOSTS 4

/**
 * struct script - a kernel, as far as the G-stage goes
 * @bits: what 207 says of a fresh VM; 0: it does not know the number
 * @choice: 207 can be enabled
 * @mask247, @mask248: what these say
 * @refuse: errno that enabling gives, from the @refuse_from-th time on (from 1)
 * @stuck_at: what 207 says after anything was enabled, 0: what was
 * @now: the VM's width
 */
struct script {
	int bits;
	bool choice;
	int mask247, mask248;
	int refuse, refuse_from;
	int stuck_at;

	int now;
	int enables;
	unsigned int last_cap;
	uint64_t last_arg;
};

static int script_check(const struct script *s, unsigned long cap)
{
	switch (cap) {
	case 207:
		return s->enables && s->stuck_at ? s->stuck_at : s->now;
	case 247:
		return s->mask247;
	case 248:
		return s->mask248;
	default:
		ck_abort_msg("capability %lu was asked", cap);
		return 0;
	}
}

static int script_enable(struct script *s, const struct kvm_enable_cap *cap)
{
	size_t i;

	ck_assert_uint_eq(cap->flags, 0);
	for (i = 1; i < ARRAY_SIZE(cap->args); i++)
		ck_assert_uint_eq(cap->args[i], 0);
	s->last_cap = cap->cap;
	s->last_arg = cap->args[0];
	s->enables++;
	if (s->refuse && s->enables >= s->refuse_from)
		return -s->refuse;
	switch (cap->cap) {
	case 207:
		if (!s->choice || cap->args[0] > (uint64_t)s->bits)
			return -EINVAL;
		s->now = (int)cap->args[0];
		return 0;
	case 247:
	case 248:
		/* HGATP.MODE; the mask must say so. */
		if (cap->args[0] < 8 || cap->args[0] > 10)
			return -EINVAL;
		if (!((cap->cap == 247 ? s->mask247 : s->mask248 >> 8) >> (cap->args[0] - 8) & 1))
			return -EINVAL;
		s->now = 41 + 9 * ((int)cap->args[0] - 8);
		return 0;
	default:
		ck_abort_msg("capability %u was enabled", cap->cap);
		return -EINVAL;
	}
}

static int script_ioctl(void *opaque, int fd, unsigned long request, unsigned long arg)
{
	/* Asked on /dev/kvm, one of the posted kernels followed a null pointer. */
	ck_assert_int_eq(fd, VM_FD);
	if (request == KVM_CHECK_EXTENSION)
		return script_check(opaque, arg);
	ck_assert_uint_eq(request, KVM_ENABLE_CAP);
	return script_enable(opaque, (const struct kvm_enable_cap *)arg);
}

static const struct kvm_sys_ops script_ops = {.ioctl = script_ioctl};

static struct kvm script_kvm(struct script *s)
{
	s->now = s->bits;
	s->enables = 0;
	return (struct kvm){.sys = {.ops = &script_ops, .opaque = s}, .fd = DEV_FD, .vm_fd = VM_FD};
}

#define SCRIPT(...) ((struct script){__VA_ARGS__})

static struct error err;

/* Probing, which must leave the VM as wide as it was. */
static struct hgatp_host probed(struct script s)
{
	struct kvm kvm = script_kvm(&s);
	struct hgatp_host host;

	ck_assert_msg(!hgatp_probe(&kvm, &host, &err), "%s", err.msg);
	ck_assert_int_eq(s.now, s.bits);
	if (s.enables) {
		ck_assert_int_eq(s.enables, 1);
		ck_assert_uint_eq(s.last_cap, 207);
		ck_assert_uint_eq(s.last_arg, host.max_bits);
	}
	return host;
}

static void probes_as(struct script s, unsigned int bits, enum hgatp_interface interface)
{
	struct hgatp_host host = probed(s);

	ck_assert_uint_eq(host.max_bits, bits);
	ck_assert_msg(host.interface == interface, "%s, not %s",
		      hgatp_interface_name(host.interface), hgatp_interface_name(interface));
}

static void probe_fails(struct script s, const char *message)
{
	struct kvm kvm = script_kvm(&s);
	struct hgatp_host host;

	ck_assert_int_eq(hgatp_probe(&kvm, &host, &err), -1);
	ck_assert_str_eq(err.msg, message);
}

/* --- probing ---------------------------------------------------------- */

START_TEST(probe_gpa_bits)
{
	probes_as(SCRIPT(.bits = 41, .choice = true), 41, HGATP_GPA_BITS);
	probes_as(SCRIPT(.bits = 50, .choice = true), 50, HGATP_GPA_BITS);
	probes_as(SCRIPT(.bits = 59, .choice = true), 59, HGATP_GPA_BITS);
	/* It comes first: nothing else is asked then. */
	probes_as(SCRIPT(.bits = 59, .choice = true, .mask247 = 7, .mask248 = 0x700), 59,
		  HGATP_GPA_BITS);
	/* rv32 has one mode, and a kernel may let it be "chosen". */
	probes_as(SCRIPT(.bits = 34, .choice = true), 34, HGATP_GPA_BITS);
}
END_TEST

START_TEST(probe_fixed)
{
	probes_as(SCRIPT(.bits = 34), 34, HGATP_FIXED);
	probes_as(SCRIPT(.bits = 41), 41, HGATP_FIXED);
	probes_as(SCRIPT(.bits = 50), 50, HGATP_FIXED);
	probes_as(SCRIPT(.bits = 59), 59, HGATP_FIXED);
	/* No such ioctl at all. */
	probes_as(SCRIPT(.bits = 59, .choice = true, .refuse = ENOTTY, .refuse_from = 1), 59,
		  HGATP_FIXED);
	/* It took it, and then is something else: not believed. */
	probes_as(SCRIPT(.bits = 59, .choice = true, .stuck_at = 41), 59, HGATP_FIXED);
}
END_TEST

START_TEST(probe_unknown_width)
{
	struct script s = SCRIPT(.bits = 0);
	struct kvm kvm = script_kvm(&s);
	struct hgatp_host host;

	ck_assert_int_eq(hgatp_probe(&kvm, &host, &err), 0);
	ck_assert_uint_eq(host.max_bits, sizeof(long) == 8 ? 41 : 34);
	ck_assert_int_eq(host.interface, HGATP_FIXED);
}
END_TEST

START_TEST(probe_nonsense)
{
	probe_fails(SCRIPT(.bits = 1),
		    "KVM says that guest physical addresses have 1 bits, which no G-stage mode "
		    "has");
	probe_fails(SCRIPT(.bits = 48),
		    "KVM says that guest physical addresses have 48 bits, which no G-stage mode "
		    "has");
	probe_fails(SCRIPT(.bits = 64, .choice = true),
		    "KVM says that guest physical addresses have 64 bits, which no G-stage mode "
		    "has");
}
END_TEST

START_TEST(probe_errors)
{
	probe_fails(SCRIPT(.bits = 59, .choice = true, .refuse = EBUSY, .refuse_from = 1),
		    "KVM_CAP_VM_GPA_BITS: KVM says the VM has memory or vCPUs already, so the "
		    "G-stage mode is settled; this is a bug in lkvm");
	probe_fails(SCRIPT(.bits = 59, .choice = true, .refuse = ENOMEM, .refuse_from = 1),
		    "KVM_CAP_VM_GPA_BITS: the host has no memory for the G-stage tables of "
		    "Sv57x4");
	probe_fails(SCRIPT(.bits = 50, .choice = true, .refuse = EIO, .refuse_from = 1),
		    "KVM_CAP_VM_GPA_BITS: KVM refused Sv48x4: Input/output error");
	probe_fails(SCRIPT(.bits = 50, .choice = true, .refuse = EPERM, .refuse_from = 1),
		    "KVM_CAP_VM_GPA_BITS: KVM refused Sv48x4: Operation not permitted");
}
END_TEST

START_TEST(probe_posted)
{
	probes_as(SCRIPT(.bits = 59, .mask247 = 7), 59, HGATP_POSTED_247);
	probes_as(SCRIPT(.bits = 50, .mask247 = 3), 50, HGATP_POSTED_247);
	probes_as(SCRIPT(.bits = 59, .mask248 = 0x700), 59, HGATP_POSTED_248);
	probes_as(SCRIPT(.bits = 50, .mask248 = 0x300), 50, HGATP_POSTED_248);
	/* One mode is no choice, and 1 is what any boolean says. */
	probes_as(SCRIPT(.bits = 41, .mask247 = 1), 41, HGATP_FIXED);
	probes_as(SCRIPT(.bits = 41, .mask248 = 0x100), 41, HGATP_FIXED);
	probes_as(SCRIPT(.bits = 34, .mask247 = 1), 34, HGATP_FIXED);
}
END_TEST

START_TEST(probe_something_else)
{
	/* Each with each width of host: believed only where it is exactly the modes. */
	static const int widths[] = {41, 50, 59};
	static const int masks[] = {1,	     2,	    3,	   4,	  5,	   6,	      7,
				    8,	     9,	    0xf,   0x100, 0x200,   0x300,     0x400,
				    0x600,   0x700, 0x701, 0x800, 0xf00,   1 << 16,   0x7fff,
				    0x10007, 4096,  32767, 65536, 1 << 30, INT32_MAX, 0x707};
	size_t w, m;

	for (w = 0; w < ARRAY_SIZE(widths); w++) {
		int all = (2 << w) - 1;

		for (m = 0; m < ARRAY_SIZE(masks); m++) {
			probes_as(SCRIPT(.bits = widths[w], .mask247 = masks[m]),
				  (unsigned int)widths[w],
				  w && masks[m] == all ? HGATP_POSTED_247 : HGATP_FIXED);
			probes_as(SCRIPT(.bits = widths[w], .mask248 = masks[m]),
				  (unsigned int)widths[w],
				  w && masks[m] == all << 8 ? HGATP_POSTED_248 : HGATP_FIXED);
			/* Something else at 247 does not hide the later form. */
			if (w)
				probes_as(SCRIPT(.bits = widths[w], .mask247 = masks[m],
						 .mask248 = all << 8),
					  (unsigned int)widths[w],
					  masks[m] == all ? HGATP_POSTED_247 : HGATP_POSTED_248);
		}
	}
	/* An errno is no mask. */
	probes_as(SCRIPT(.bits = 59, .mask247 = -EINVAL, .mask248 = -EIO), 59, HGATP_FIXED);
}
END_TEST

/* --- selecting -------------------------------------------------------- */

static struct hgatp chosen;

static int pick(unsigned int max_bits, enum hgatp_interface interface, enum hgatp_choice choice,
		unsigned int gpa_bits, gpa_t top)
{
	struct hgatp_host host = {max_bits, interface};
	struct hgatp_request req = {choice, gpa_bits};
	struct hgatp_need need = {top, "RAM of 1G at 0x1234"};

	err.msg[0] = '\0';
	return hgatp_select(&host, &req, &need, &chosen, &err);
}

static void picks(unsigned int bits, const char *why)
{
	ck_assert_uint_eq(chosen.bits, bits);
	ck_assert_str_eq(chosen.why, why);
}

static void says(int ret, const char *message)
{
	ck_assert_int_eq(ret, -1);
	ck_assert_str_eq(err.msg, message);
}

#define SMALL (UINT64_C(3) << 30)
#define AT41 (UINT64_C(1) << 41)
#define AT50 (UINT64_C(1) << 50)
#define AT56 (UINT64_C(1) << 56)

START_TEST(select_auto)
{
	static const enum hgatp_interface choices[] = {HGATP_GPA_BITS, HGATP_POSTED_247,
						       HGATP_POSTED_248};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(choices); i++) {
		ck_assert_int_eq(pick(59, choices[i], HGATP_AUTO, 0, SMALL), 0);
		picks(41, "the narrowest that holds RAM of 1G at 0x1234");
		ck_assert_int_eq(chosen.interface, choices[i]);
		/* The last page stays free. */
		ck_assert_int_eq(pick(59, choices[i], HGATP_AUTO, 0, AT41 - 4096), 0);
		ck_assert_uint_eq(chosen.bits, 41);
		ck_assert_int_eq(pick(59, choices[i], HGATP_AUTO, 0, AT41 - 4095), 0);
		ck_assert_uint_eq(chosen.bits, 50);
		ck_assert_int_eq(pick(59, choices[i], HGATP_AUTO, 0, AT41), 0);
		ck_assert_uint_eq(chosen.bits, 50);
		ck_assert_int_eq(pick(59, choices[i], HGATP_AUTO, 0, AT50 - 4096), 0);
		ck_assert_uint_eq(chosen.bits, 50);
		ck_assert_int_eq(pick(59, choices[i], HGATP_AUTO, 0, AT50), 0);
		ck_assert_uint_eq(chosen.bits, 59);
		ck_assert_int_eq(pick(59, choices[i], HGATP_AUTO, 0, AT56 - 4096), 0);
		ck_assert_uint_eq(chosen.bits, 59);
		ck_assert_int_eq(pick(50, choices[i], HGATP_AUTO, 0, SMALL), 0);
		ck_assert_uint_eq(chosen.bits, 41);
	}
	ck_assert_int_eq(pick(59, HGATP_FIXED, HGATP_AUTO, 0, SMALL), 0);
	picks(59, "the only one this host's KVM gives");
	ck_assert_int_eq(pick(34, HGATP_FIXED, HGATP_AUTO, 0, SMALL), 0);
	picks(34, "the only one this host's KVM gives");
	ck_assert_int_eq(pick(34, HGATP_GPA_BITS, HGATP_AUTO, 0, SMALL), 0);
	picks(34, "the narrowest that holds RAM of 1G at 0x1234");
}
END_TEST

START_TEST(select_auto_refuses)
{
	says(pick(41, HGATP_GPA_BITS, HGATP_AUTO, 0, AT41),
	     "-m: RAM of 1G at 0x1234 takes guest addresses of 42 bits, and Sv39x4 holds 41 (up to "
	     "0x1fffffff000); this host has up to Sv39x4");
	says(pick(50, HGATP_FIXED, HGATP_AUTO, 0, AT50 + 1),
	     "-m: RAM of 1G at 0x1234 takes guest addresses of 51 bits, and Sv48x4 holds 50 (up to "
	     "0x3fffffffff000); this host has up to Sv48x4");
	says(pick(59, HGATP_GPA_BITS, HGATP_AUTO, 0, AT56),
	     "-m: RAM of 1G at 0x1234 takes guest addresses of 57 bits, and Sv57x4 holds 56 (up to "
	     "0xfffffffffff000); this host has up to Sv57x4");
	says(pick(34, HGATP_FIXED, HGATP_AUTO, 0, UINT64_C(1) << 34),
	     "-m: RAM of 1G at 0x1234 takes guest addresses of 35 bits, and Sv32x4 holds 34 (up to "
	     "0x3fffff000); this host has up to Sv32x4");
	says(pick(41, HGATP_FIXED, HGATP_HOST, 0, AT41),
	     "--hgatp host: RAM of 1G at 0x1234 takes guest addresses of 42 bits, and Sv39x4 holds "
	     "41 (up to 0x1fffffff000); this host has up to Sv39x4");
	says(pick(59, HGATP_GPA_BITS, HGATP_AUTO, 0, UINT64_MAX),
	     "-m: RAM of 1G at 0x1234 takes guest addresses of 64 bits, and Sv57x4 holds 56 (up to "
	     "0xfffffffffff000); this host has up to Sv57x4");
}
END_TEST

START_TEST(select_host)
{
	ck_assert_int_eq(pick(59, HGATP_GPA_BITS, HGATP_HOST, 0, SMALL), 0);
	picks(59, "KVM's own choice");
	ck_assert_int_eq(pick(50, HGATP_FIXED, HGATP_HOST, 0, SMALL), 0);
	picks(50, "KVM's own choice");
	ck_assert_int_eq(pick(34, HGATP_FIXED, HGATP_HOST, 0, SMALL), 0);
	picks(34, "KVM's own choice");
}
END_TEST

START_TEST(select_explicit)
{
	static const struct {
		enum hgatp_choice choice;
		unsigned int bits;
	} modes[] = {{HGATP_SV39, 41}, {HGATP_SV48, 50}, {HGATP_SV57, 59}};
	static const unsigned int widths[] = {41, 50, 59};
	size_t h, m;
	int i;

	for (h = 0; h < ARRAY_SIZE(widths); h++)
		for (m = 0; m < ARRAY_SIZE(modes); m++)
			for (i = HGATP_FIXED; i <= HGATP_POSTED_248; i++) {
				bool there = modes[m].bits == widths[h] ||
					     (modes[m].bits < widths[h] && i != HGATP_FIXED);

				ck_assert_int_eq(pick(widths[h], (enum hgatp_interface)i,
						      modes[m].choice, 0, SMALL),
						 there ? 0 : -1);
				if (there)
					picks(modes[m].bits, "asked for");
			}
}
END_TEST

START_TEST(select_explicit_refuses)
{
	says(pick(41, HGATP_GPA_BITS, HGATP_SV48, 0, SMALL),
	     "--hgatp sv48: this host has only Sv39x4");
	says(pick(41, HGATP_GPA_BITS, HGATP_SV57, 0, SMALL),
	     "--hgatp sv57: this host has only Sv39x4");
	says(pick(50, HGATP_POSTED_247, HGATP_SV57, 0, SMALL),
	     "--hgatp sv57: this host has modes up to Sv48x4");
	says(pick(59, HGATP_FIXED, HGATP_SV39, 0, SMALL),
	     "--hgatp sv39: this host's KVM gives every VM Sv57x4 and offers no choice");
	says(pick(50, HGATP_FIXED, HGATP_SV39, 0, SMALL),
	     "--hgatp sv39: this host's KVM gives every VM Sv48x4 and offers no choice");
	says(pick(59, HGATP_GPA_BITS, HGATP_SV39, 0, AT41),
	     "--hgatp sv39: RAM of 1G at 0x1234 takes guest addresses of 42 bits, and Sv39x4 holds "
	     "41 (up to 0x1fffffff000); this host has up to Sv57x4");
	says(pick(59, HGATP_GPA_BITS, HGATP_SV48, 0, AT50),
	     "--hgatp sv48: RAM of 1G at 0x1234 takes guest addresses of 51 bits, and Sv48x4 holds "
	     "50 (up to 0x3fffffffff000); this host has up to Sv57x4");
	/* rv32 has none of these. */
	says(pick(34, HGATP_FIXED, HGATP_SV39, 0, SMALL),
	     "--hgatp sv39: this host has only Sv32x4");
	says(pick(34, HGATP_GPA_BITS, HGATP_SV57, 0, SMALL),
	     "--hgatp sv57: this host has only Sv32x4");
}
END_TEST

START_TEST(select_gpa_bits)
{
	ck_assert_int_eq(pick(59, HGATP_GPA_BITS, HGATP_AUTO, 41, SMALL), 0);
	picks(41, "the narrowest with 41 bits");
	ck_assert_int_eq(pick(59, HGATP_GPA_BITS, HGATP_AUTO, 42, SMALL), 0);
	picks(50, "the narrowest with 42 bits");
	ck_assert_int_eq(pick(59, HGATP_POSTED_248, HGATP_AUTO, 51, SMALL), 0);
	picks(59, "the narrowest with 51 bits");
	ck_assert_int_eq(pick(59, HGATP_POSTED_247, HGATP_AUTO, 59, SMALL), 0);
	picks(59, "the narrowest with 59 bits");
	/* The layout needs more than that. */
	ck_assert_int_eq(pick(59, HGATP_GPA_BITS, HGATP_AUTO, 40, AT41), 0);
	picks(50, "the narrowest that holds RAM of 1G at 0x1234");
	ck_assert_int_eq(pick(59, HGATP_GPA_BITS, HGATP_SV48, 50, SMALL), 0);
	picks(50, "asked for");
	ck_assert_int_eq(pick(50, HGATP_FIXED, HGATP_AUTO, 48, SMALL), 0);
	ck_assert_uint_eq(chosen.bits, 50);
	ck_assert_int_eq(pick(59, HGATP_GPA_BITS, HGATP_HOST, 48, SMALL), 0);
	ck_assert_uint_eq(chosen.bits, 59);

	says(pick(41, HGATP_GPA_BITS, HGATP_AUTO, 42, SMALL),
	     "--gpa-bits 42: this host gives guests at most 41 bits (Sv39x4)");
	says(pick(59, HGATP_GPA_BITS, HGATP_AUTO, 60, SMALL),
	     "--gpa-bits 60: this host gives guests at most 59 bits (Sv57x4)");
	says(pick(34, HGATP_FIXED, HGATP_AUTO, 35, SMALL),
	     "--gpa-bits 35: this host gives guests at most 34 bits (Sv32x4)");
	says(pick(59, HGATP_GPA_BITS, HGATP_SV39, 42, SMALL),
	     "--gpa-bits 42 and --hgatp sv39: that mode has 41 bits");
	says(pick(59, HGATP_GPA_BITS, HGATP_SV48, 51, SMALL),
	     "--gpa-bits 51 and --hgatp sv48: that mode has 50 bits");
}
END_TEST

START_TEST(names)
{
	ck_assert_str_eq(hgatp_name(34), "Sv32x4");
	ck_assert_str_eq(hgatp_name(41), "Sv39x4");
	ck_assert_str_eq(hgatp_name(50), "Sv48x4");
	ck_assert_str_eq(hgatp_name(59), "Sv57x4");
	ck_assert_str_eq(hgatp_name(48), "unknown");
	ck_assert_str_eq(hgatp_option(34), "sv32");
	ck_assert_str_eq(hgatp_option(59), "sv57");
	ck_assert_str_eq(hgatp_option(0), "unknown");
	ck_assert_str_eq(hgatp_interface_name(HGATP_FIXED), "no interface to choose");
	ck_assert_str_eq(hgatp_interface_name(HGATP_GPA_BITS), "KVM_CAP_VM_GPA_BITS");
	ck_assert_str_eq(hgatp_interface_name(HGATP_POSTED_247),
			 "KVM_CAP_RISCV_SET_HGATP_MODE (247)");
	ck_assert_str_eq(hgatp_interface_name(HGATP_POSTED_248),
			 "KVM_CAP_RISCV_SET_HGATP_MODE (248)");
	ck_assert_uint_eq(hgatp_limit(34), (UINT64_C(1) << 34) - 4096);
	ck_assert_uint_eq(hgatp_limit(41), AT41 - 4096);
	/* What the guest's own page tables can't name is no use. */
	ck_assert_uint_eq(hgatp_limit(59), AT56 - 4096);
}
END_TEST

/* --- applying --------------------------------------------------------- */

/* Probe, then apply @bits; @s afterwards tells what the kernel was asked. */
static int apply(struct script *s, unsigned int bits)
{
	struct kvm kvm = script_kvm(s);
	struct hgatp_host host;
	struct hgatp h;

	ck_assert_msg(!hgatp_probe(&kvm, &host, &err), "%s", err.msg);
	s->enables = 0;
	s->last_cap = 0;
	h = (struct hgatp){.bits = bits, .interface = host.interface};
	err.msg[0] = '\0';
	return hgatp_apply(&kvm, &host, &h, &err);
}

static void applied(struct script s, unsigned int bits, int enables, unsigned int cap, uint64_t arg)
{
	int ret = apply(&s, bits);

	ck_assert_msg(!ret, "%s", err.msg);
	ck_assert_int_eq(s.now, (int)bits);
	ck_assert_int_eq(s.enables, enables);
	ck_assert_uint_eq(s.last_cap, cap);
	if (enables)
		ck_assert_uint_eq(s.last_arg, arg);
}

START_TEST(apply_modes)
{
	applied(SCRIPT(.bits = 59, .choice = true), 41, 1, 207, 41);
	applied(SCRIPT(.bits = 59, .choice = true), 50, 1, 207, 50);
	applied(SCRIPT(.bits = 59, .choice = true), 59, 1, 207, 59);
	applied(SCRIPT(.bits = 34, .choice = true), 34, 1, 207, 34);
	applied(SCRIPT(.bits = 59, .mask247 = 7), 41, 1, 247, 8);
	applied(SCRIPT(.bits = 59, .mask247 = 7), 50, 1, 247, 9);
	applied(SCRIPT(.bits = 50, .mask247 = 3), 41, 1, 247, 8);
	applied(SCRIPT(.bits = 59, .mask248 = 0x700), 41, 1, 248, 8);
	applied(SCRIPT(.bits = 59, .mask248 = 0x700), 50, 1, 248, 9);
	/* The VM has it anyway. */
	applied(SCRIPT(.bits = 59, .mask247 = 7), 59, 0, 0, 0);
	applied(SCRIPT(.bits = 59, .mask248 = 0x700), 59, 0, 0, 0);
	applied(SCRIPT(.bits = 59), 59, 0, 0, 0);
	applied(SCRIPT(.bits = 34), 34, 0, 0, 0);
}
END_TEST

/* Only what applying asks fails. */
static void fails_with(struct script s, unsigned int bits, int errnum, const char *message)
{
	struct kvm kvm = script_kvm(&s);
	struct hgatp_host host;
	struct hgatp h;

	ck_assert_int_eq(hgatp_probe(&kvm, &host, &err), 0);
	s.refuse = errnum;
	s.refuse_from = 0;
	h = (struct hgatp){.bits = bits, .interface = host.interface};
	says(hgatp_apply(&kvm, &host, &h, &err), message);
}

START_TEST(apply_refused)
{
	struct script gpa = SCRIPT(.bits = 59, .choice = true);
	struct script v4 = SCRIPT(.bits = 59, .mask247 = 7);
	struct script v7 = SCRIPT(.bits = 59, .mask248 = 0x700);

	fails_with(gpa, 41, EBUSY,
		   "KVM_CAP_VM_GPA_BITS: KVM says the VM has memory or vCPUs already, so the "
		   "G-stage mode is settled; this is a bug in lkvm");
	fails_with(gpa, 50, EINVAL, "KVM_CAP_VM_GPA_BITS: KVM offered Sv48x4 and now refuses it");
	fails_with(gpa, 59, ENOMEM,
		   "KVM_CAP_VM_GPA_BITS: the host has no memory for the G-stage tables of Sv57x4");
	fails_with(gpa, 41, EFAULT, "KVM_CAP_VM_GPA_BITS: KVM refused Sv39x4: Bad address");
	fails_with(v4, 41, EBUSY,
		   "KVM_CAP_RISCV_SET_HGATP_MODE (247): KVM says the VM has memory or vCPUs "
		   "already, so the G-stage mode is settled; this is a bug in lkvm");
	fails_with(v4, 50, EINVAL,
		   "KVM_CAP_RISCV_SET_HGATP_MODE (247): KVM offered Sv48x4 and now refuses it");
	fails_with(v4, 41, ENOMEM,
		   "KVM_CAP_RISCV_SET_HGATP_MODE (247): the host has no memory for the G-stage "
		   "tables of Sv39x4");
	fails_with(v7, 41, EIO,
		   "KVM_CAP_RISCV_SET_HGATP_MODE (248): KVM refused Sv39x4: Input/output error");
	fails_with(v7, 41, EINVAL,
		   "KVM_CAP_RISCV_SET_HGATP_MODE (248): KVM offered Sv39x4 and now refuses it");
}
END_TEST

/* KVM said yes, and then has another width. */
static void mismatch(struct script s, unsigned int bits, int stuck_at, const char *message)
{
	struct kvm kvm = script_kvm(&s);
	struct hgatp_host host;
	struct hgatp h;

	ck_assert_int_eq(hgatp_probe(&kvm, &host, &err), 0);
	s.stuck_at = stuck_at;
	s.enables = 1;
	h = (struct hgatp){.bits = bits, .interface = host.interface};
	says(hgatp_apply(&kvm, &host, &h, &err), message);
}

START_TEST(apply_verified)
{
	mismatch(SCRIPT(.bits = 59, .choice = true), 41, 59,
		 "KVM_CAP_VM_GPA_BITS: asked KVM for 41 bits (Sv39x4), and the VM has 59");
	mismatch(SCRIPT(.bits = 59, .choice = true), 50, 41,
		 "KVM_CAP_VM_GPA_BITS: asked KVM for 50 bits (Sv48x4), and the VM has 41");
	mismatch(SCRIPT(.bits = 59, .choice = true), 50, -EIO,
		 "KVM_CAP_VM_GPA_BITS: asked KVM for 50 bits (Sv48x4), and the VM has 0");
	mismatch(SCRIPT(.bits = 59, .mask247 = 7), 41, 59,
		 "KVM_CAP_RISCV_SET_HGATP_MODE (247): asked KVM for 41 bits (Sv39x4), and the VM "
		 "has 59");
	mismatch(SCRIPT(.bits = 59, .mask248 = 0x700), 59, 50,
		 "KVM_CAP_RISCV_SET_HGATP_MODE (248): asked KVM for 59 bits (Sv57x4), and the VM "
		 "has 50");
	mismatch(SCRIPT(.bits = 50), 50, 41,
		 "no interface to choose: asked KVM for 50 bits (Sv48x4), and the VM has 41");
}
END_TEST

START_TEST(apply_unsaid)
{
	struct script s = SCRIPT(.bits = 0);
	struct kvm kvm = script_kvm(&s);
	struct hgatp_host host = {41, HGATP_FIXED};
	struct hgatp h = {.bits = 41, .interface = HGATP_FIXED};

	/* A kernel from before 207: nothing can be checked. */
	ck_assert_int_eq(hgatp_apply(&kvm, &host, &h, &err), 0);
}
END_TEST

/* --- on the scripted hosts --------------------------------------------- */

struct profile {
	const char *name;
	enum fake_kernel kernel;
	enum fake_mode_cap cap;
	enum hgatp_interface expect;
};

static const struct profile profiles[] = {
	{"6.12", FAKE_6_12, FAKE_NO_MODE_CAP, HGATP_FIXED},
	{"7.2", FAKE_7_2, FAKE_NO_MODE_CAP, HGATP_GPA_BITS},
	{"7.3", FAKE_7_3, FAKE_NO_MODE_CAP, HGATP_GPA_BITS},
	{"posted v4", FAKE_6_12, FAKE_POSTED_V4, HGATP_POSTED_247},
	{"posted v7", FAKE_6_12, FAKE_POSTED_V7, HGATP_POSTED_248},
	{"247 is something else", FAKE_6_12, FAKE_OTHER_CAP, HGATP_FIXED},
	{"247 is something else on 7.2", FAKE_7_2, FAKE_OTHER_CAP, HGATP_GPA_BITS},
};

static void on_profile(const struct profile *p, unsigned int max_bits, enum hgatp_choice choice,
		       unsigned int want)
{
	struct fake_host *fake = fake_host_new(p->kernel);
	struct hgatp_request req = {choice, 0};
	struct hgatp_need need = {SMALL, "RAM"};
	bool free_choice = p->expect != HGATP_FIXED && max_bits > 41;
	struct hgatp_host host;
	struct hgatp h;
	struct kvm kvm;
	int ret;

	fake->mode_cap = p->cap;
	fake->max_bits = max_bits;
	ck_assert_int_eq(kvm_open(&kvm, fake_host_sys(fake), &err), 0);
	ck_assert_int_eq(kvm_vm_create(&kvm), 0);
	ck_assert_int_eq(hgatp_probe(&kvm, &host, &err), 0);
	ck_assert_uint_eq(host.max_bits, max_bits);
	/* On an Sv39 host the posted numbers offer nothing to choose. */
	if (max_bits > 41)
		ck_assert_msg(host.interface == p->expect, "%s: %s", p->name,
			      hgatp_interface_name(host.interface));
	ret = hgatp_select(&host, &req, &need, &h, &err);
	if (want && (want > max_bits || (want < max_bits && !free_choice))) {
		ck_assert_msg(ret == -1, "%s: %u on %u", p->name, want, max_bits);
	} else {
		ck_assert_msg(!ret, "%s: %s", p->name, err.msg);
		ck_assert_msg(!hgatp_apply(&kvm, &host, &h, &err), "%s: %s", p->name, err.msg);
		ck_assert_uint_eq(fake_vm(fake)->bits, h.bits);
		if (want)
			ck_assert_uint_eq(h.bits, want);
		else
			ck_assert_uint_eq(h.bits,
					  choice == HGATP_AUTO && free_choice ? 41 : max_bits);
	}
	kvm_close(&kvm);
	ck_assert_msg(!fake_complaint(fake), "%s: %s", p->name, fake_complaint(fake));
	ck_assert_uint_eq(fake_live(fake), 0);
	fake_host_free(fake);
}

START_TEST(matrix)
{
	static const unsigned int widths[] = {41, 50, 59};
	static const unsigned int wants[] = {0, 0, 41, 50, 59};
	size_t p, w;
	int c;

	for (p = 0; p < ARRAY_SIZE(profiles); p++)
		for (w = 0; w < ARRAY_SIZE(widths); w++)
			for (c = HGATP_AUTO; c <= HGATP_SV57; c++)
				on_profile(&profiles[p], widths[w], (enum hgatp_choice)c, wants[c]);
}
END_TEST

/* Memory and vCPUs first: KVM's EBUSY, and lkvm's sentence for it. */
START_TEST(too_late)
{
	static char page[4096] __attribute__((aligned(4096)));
	struct fake_host *fake = fake_host_new(FAKE_7_2);
	struct hgatp_host host;
	struct hgatp h = {.bits = 41, .interface = HGATP_GPA_BITS};
	struct kvm_vcpu vcpu;
	struct kvm kvm;
	const char *sentence =
		"KVM_CAP_VM_GPA_BITS: KVM says the VM has memory or vCPUs already, so the G-stage "
		"mode is settled; this is a bug in lkvm";

	ck_assert_int_eq(kvm_open(&kvm, fake_host_sys(fake), &err), 0);
	ck_assert_int_eq(kvm_vm_create(&kvm), 0);
	ck_assert_int_eq(hgatp_probe(&kvm, &host, &err), 0);
	ck_assert_int_eq(kvm_set_memory(&kvm, 0, 0x80000000, 4096, page, 0), 0);
	says(hgatp_apply(&kvm, &host, &h, &err), sentence);
	ck_assert_int_eq(kvm_set_memory(&kvm, 0, 0x80000000, 0, page, 0), 0);
	ck_assert_int_eq(hgatp_apply(&kvm, &host, &h, &err), 0);
	ck_assert_int_eq(kvm_vcpu_create(&kvm, 0, &vcpu), 0);
	says(hgatp_apply(&kvm, &host, &h, &err), sentence);
	says(hgatp_probe(&kvm, &host, &err), sentence);
	kvm_vcpu_destroy(&vcpu);
	kvm_close(&kvm);
	fake_host_free(fake);
}
END_TEST

/* --- the property ------------------------------------------------------- */

/* What auto should give, found by looking at every mode. */
static unsigned int expected(const struct hgatp_host *host, gpa_t top, unsigned int gpa_bits)
{
	static const unsigned int all[] = {34, 41, 50, 59};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(all); i++) {
		unsigned int usable = all[i] > 56 ? 56 : all[i];

		if ((all[i] == 34) != (host->max_bits == 34) || all[i] > host->max_bits ||
		    all[i] < gpa_bits)
			continue;
		if (host->interface == HGATP_FIXED && all[i] != host->max_bits)
			continue;
		/* One page stays free at the top. */
		if ((unsigned __int128)top + 4096 <= (unsigned __int128)1 << usable)
			return all[i];
	}
	return 0;
}

static gpa_t random_top(struct prng *p)
{
	static const unsigned int edges[] = {34, 41, 50, 56, 59};
	unsigned int shift = 31 + prng_below(p, 33);

	if (prng_below(p, 3))
		return (UINT64_C(1) << shift | (prng_u64(p) & ((UINT64_C(1) << shift) - 1))) &
		       ~UINT64_C(4095);
	/* Around a limit. */
	return (UINT64_C(1) << edges[prng_below(p, ARRAY_SIZE(edges))]) +
	       4096 * (uint64_t)prng_below(p, 5) - 8192;
}

START_TEST(property_auto)
{
	static const unsigned int widths[HOSTS] = {34, 41, 50, 59};
	struct prng p = prng_start("hgatp");
	unsigned int had[HOSTS] = {0}, refused = 0;
	int n;

	for (n = 0; n < 100000; n++) {
		struct hgatp_host host = {widths[prng_below(&p, HOSTS)],
					  (enum hgatp_interface)prng_below(&p, 4)};
		struct hgatp_request req = {HGATP_AUTO,
					    prng_below(&p, 4) ? 0 : 32 + prng_below(&p, 33)};
		struct hgatp_need need = {random_top(&p), "RAM of 1G at 0x1234"};
		unsigned int want = expected(&host, need.top, req.gpa_bits);
		struct hgatp h;
		int ret = hgatp_select(&host, &req, &need, &h, &err);

		ck_assert_msg(!ret == !!want, "%u bits, interface %d, top 0x%llx, gpa-bits %u: %s",
			      host.max_bits, (int)host.interface, (unsigned long long)need.top,
			      req.gpa_bits, ret ? err.msg : h.why);
		if (!ret) {
			ck_assert_uint_eq(h.bits, want);
			ck_assert_int_eq(h.interface, host.interface);
			ck_assert_uint_le(need.top, hgatp_limit(h.bits));
			ck_assert_uint_gt(strlen(h.why), 0);
			had[h.bits == 34 ? 0 : (h.bits - 32) / 9]++;
		} else {
			/* For the right reason. */
			if (req.gpa_bits > host.max_bits)
				ck_assert_msg(!strncmp(err.msg, "--gpa-bits ", 11), "%s", err.msg);
			else
				ck_assert_msg(!strncmp(err.msg, "-m: RAM of 1G at 0x1234 ", 24),
					      "%s", err.msg);
			refused++;
		}
	}
	for (n = 0; n < HOSTS; n++)
		ck_assert_uint_gt(had[n], 1000);
	ck_assert_uint_gt(refused, 1000);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("hgatp");
	TCase *tc = tcase_create("hgatp");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, probe_gpa_bits);
	tcase_add_test(tc, probe_fixed);
	tcase_add_test(tc, probe_unknown_width);
	tcase_add_test(tc, probe_nonsense);
	tcase_add_test(tc, probe_errors);
	tcase_add_test(tc, probe_posted);
	tcase_add_test(tc, probe_something_else);
	tcase_add_test(tc, select_auto);
	tcase_add_test(tc, select_auto_refuses);
	tcase_add_test(tc, select_host);
	tcase_add_test(tc, select_explicit);
	tcase_add_test(tc, select_explicit_refuses);
	tcase_add_test(tc, select_gpa_bits);
	tcase_add_test(tc, names);
	tcase_add_test(tc, apply_modes);
	tcase_add_test(tc, apply_refused);
	tcase_add_test(tc, apply_verified);
	tcase_add_test(tc, apply_unsaid);
	tcase_add_test(tc, matrix);
	tcase_add_test(tc, too_late);
	tcase_add_test(tc, property_auto);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
