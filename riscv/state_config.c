// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a machine is, in a snapshot (section "riscv"), and whether a host can be one
 * (include/lkvm/arch_state.h).
 *
 *	u32 harts
 *	u8  interrupt chip (1 PLIC, 2 AIA); u32 interrupt identities of a hart, u32 how many of
 *	    them devices go by (PLIC: 0); u8 where its files live (0 anywhere, 1 in hardware,
 *	    2 in software)
 *	u32 width of guest physical addresses
 *	u32 widest first-stage mode that the guest was told of, as in satp.MODE
 *	u64 address, u64 size of the window for 64-bit PCI BARs; 0 and 0 without PCI
 *	text ISA string that the device tree has
 *	u32 number of SBI extensions that are on, each: text name
 *
 * Checking a host makes a VM of one vCPU there and throws it away: it is asked the same
 * things that a restore does later. G-stage: the width is chosen anew, so only what the
 * layout needs counts.
 *
 * Thread: the caller's; no lock. Strings of a file are checked to be words.
 */
#include "machine.h"

#include "lkvm/arch_state.h"
#include "lkvm/riscv/regs.h"
#include "lkvm/snapshot/section.h"
#include "state.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHIP_PLIC 1
#define CHIP_AIA 2

/* KVM's own limit of vCPUs. */
#define MAX_HARTS 1024

/* Where an AIA is put that is only asked. */
#define PROBE_APLIC UINT64_C(0x0d000000)
#define PROBE_IMSIC UINT64_C(0x28000000)

#define FILES_ANY 0
#define FILES_HARDWARE 1
#define FILES_SOFTWARE 2

#define MAX_SBI 64
#define SBI_NAME_MAX 32

struct arch_saved {
	uint32_t harts, identities, usable, gpa_bits, satp_mode;
	uint8_t chip, files;
	uint64_t pci64, pci64_size;
	char *isa;
	uint32_t nr_sbi;
	char *sbi[MAX_SBI];
};

static bool are_words(const char *text, const char *more)
{
	size_t i;

	for (i = 0; text[i]; i++)
		if (!((text[i] >= 'a' && text[i] <= 'z') || (text[i] >= '0' && text[i] <= '9') ||
		      strchr(more, text[i])))
			return false;
	return i;
}

static void walk_saved(void *opaque, struct xfer *x)
{
	struct arch_saved *s = opaque;
	uint32_t i;

	xfer_u32(x, &s->harts);
	xfer_check(x, s->harts && s->harts <= MAX_HARTS, "no or too many harts");
	xfer_u8(x, &s->chip);
	xfer_check(x, s->chip == CHIP_PLIC || s->chip == CHIP_AIA,
		   "an interrupt chip that this lkvm does not know");
	xfer_u32(x, &s->identities);
	xfer_u32(x, &s->usable);
	xfer_check(x, s->usable <= s->identities, "more identities than there are");
	xfer_u8(x, &s->files);
	xfer_check(x, s->files <= (s->chip == CHIP_AIA ? FILES_SOFTWARE : FILES_ANY),
		   "interrupt files that this lkvm does not know");
	xfer_u32(x, &s->gpa_bits);
	xfer_u32(x, &s->satp_mode);
	xfer_u64(x, &s->pci64);
	xfer_u64(x, &s->pci64_size);
	section_text(x, &s->isa, ISA_STRING_MAX - 1);
	xfer_check(x, s->isa && are_words(s->isa, "_"), "the ISA string is none");
	xfer_u32(x, &s->nr_sbi);
	xfer_check(x, s->nr_sbi <= MAX_SBI, "more SBI extensions than there can be");
	if (x->failed)
		s->nr_sbi = 0;
	for (i = 0; i < s->nr_sbi; i++) {
		section_text(x, &s->sbi[i], SBI_NAME_MAX);
		xfer_check(x, s->sbi[i] && are_words(s->sbi[i], ""),
			   "an SBI extension's name is none");
	}
}

/* What KVM made of "auto" is the host's matter; what was asked for by name stays. */
static uint8_t files(const struct arch_vm *a)
{
	if (a->irq.plic)
		return FILES_ANY;
	if (aia_all_in_hardware(&a->irq.aia))
		return FILES_HARDWARE;
	return a->cfg->aia == AIA_EMUL ? FILES_SOFTWARE : FILES_ANY;
}

static enum aia_choice choice(const struct arch_saved *s)
{
	switch (s->files) {
	case FILES_HARDWARE:
		return AIA_HWACCEL;
	case FILES_SOFTWARE:
		return AIA_EMUL;
	default:
		return AIA_AUTO;
	}
}

int machine_config_save(const struct arch_vm *a, struct snapshot_writer *w, struct error *err)
{
	char isa[ISA_STRING_MAX];
	struct arch_saved s = {
		.harts = a->vm->nr_vcpus,
		.chip = a->irq.plic ? CHIP_PLIC : CHIP_AIA,
		.identities = a->irq.plic ? 0 : a->irq.aia.ids,
		.usable = a->irq.plic ? 0 : machine_identities(a),
		.files = files(a),
		.gpa_bits = a->hgatp.bits,
		.satp_mode = a->satp_mode,
		.pci64 = a->pci ? a->map.pci64.gpa : 0,
		.pci64_size = a->pci ? a->map.pci64.size : 0,
		.isa = isa,
	};
	unsigned int i;

	isa_legacy_string(&a->isa, isa);
	for (i = 0; i < SBI_EXT_COUNT; i++)
		if (a->isa.sbi[i])
			s.sbi[s.nr_sbi++] = (char *)(uintptr_t)sbi_ext_name(i);
	return section_save(w, "riscv", SNAPSHOT_MANDATORY, walk_saved, &s, err);
}

struct arch_saved *arch_saved_read(const struct snapshot_file *f, struct error *err)
{
	struct arch_saved *s = calloc(1, sizeof(*s));

	if (!s) {
		fail(err, "no memory for the configuration");
		return NULL;
	}
	if (!section_load(f, "riscv", walk_saved, s, err))
		return s;
	arch_saved_free(s);
	return NULL;
}

void arch_saved_free(struct arch_saved *s)
{
	uint32_t i;

	if (!s)
		return;
	free(s->isa);
	for (i = 0; i < MAX_SBI; i++)
		free(s->sbi[i]);
	free(s);
}

static bool has_sbi(const struct arch_saved *s, const char *name)
{
	uint32_t i;

	for (i = 0; i < s->nr_sbi; i++)
		if (!strcmp(s->sbi[i], name))
			return true;
	return false;
}

static const char *chip_name(const struct arch_saved *s)
{
	return s->chip == CHIP_PLIC ? "PLIC" : "AIA";
}

void arch_saved_apply(const struct arch_saved *s, struct arch_config *cfg)
{
	unsigned int i;

	cfg->irqchip = s->chip == CHIP_PLIC ? IRQCHIP_PLIC : IRQCHIP_AIA;
	cfg->aia = choice(s);
	cfg->identities = s->identities;
	cfg->usable = s->usable;
	cfg->satp = s->satp_mode == 9 ? SATP_SV48 : s->satp_mode == 10 ? SATP_SV57 : SATP_SV39;
	cfg->isa.list = s->isa;
	for (i = 0; i < SBI_EXT_COUNT; i++)
		cfg->isa.hide_sbi[i] = !has_sbi(s, sbi_ext_name(i));
}

void arch_saved_print(const struct arch_saved *s, FILE *out)
{
	uint32_t i;

	fprintf(out, "vCPUs: %u, first stage up to %s\n", s->harts, satp_name(s->satp_mode));
	fprintf(out, "G-stage: %u bits of guest physical address\n", s->gpa_bits);
	fprintf(out, "interrupts: %s\n", chip_name(s));
	fprintf(out, "ISA: %s\nSBI:", s->isa);
	for (i = 0; i < s->nr_sbi; i++)
		fprintf(out, " %s", s->sbi[i]);
	fprintf(out, "\n");
}

json_t *arch_saved_json(const struct arch_saved *s)
{
	json_t *sbi = json_array();
	uint32_t i;

	for (i = 0; i < s->nr_sbi; i++)
		json_array_append_new(sbi, json_string(s->sbi[i]));
	return json_pack("{s:I, s:s, s:I, s:s, s:s, s:o}", "vcpus", (json_int_t)s->harts,
			 "first-stage", satp_name(s->satp_mode), "gpa-bits",
			 (json_int_t)s->gpa_bits, "irqchip", s->chip == CHIP_PLIC ? "plic" : "aia",
			 "isa", s->isa, "sbi", sbi);
}

void arch_saved_diff(const struct arch_saved *a, const struct arch_saved *b, struct diff_sink *sink)
{
	uint32_t i;

	diff_number(sink, "riscv", "harts", a->harts, b->harts);
	diff_text(sink, "riscv", "interrupt chip", chip_name(a), chip_name(b));
	diff_number(sink, "riscv", "interrupt identities", a->identities, b->identities);
	diff_number(sink, "riscv", "bits of a guest physical address", a->gpa_bits, b->gpa_bits);
	diff_text(sink, "riscv", "first stage up to", satp_name(a->satp_mode),
		  satp_name(b->satp_mode));
	diff_number(sink, "riscv", "PCI window", a->pci64, b->pci64);
	diff_number(sink, "riscv", "size of the PCI window", a->pci64_size, b->pci64_size);
	diff_text(sink, "riscv", "ISA", a->isa, b->isa);
	for (i = 0; i < a->nr_sbi || i < b->nr_sbi; i++)
		diff_text(sink, "riscv", "SBI extension", i < a->nr_sbi ? a->sbi[i] : NULL,
			  i < b->nr_sbi ? b->sbi[i] : NULL);
}

/* --- the host --------------------------------------------------------------------------- */

static void check_layout(const struct arch_saved *s, const struct vm_config *cfg,
			 const struct hgatp_host *host, struct reasons *why)
{
	struct error err;
	struct hgatp_request req = {.choice = HGATP_AUTO};
	struct layout map;
	struct hgatp hgatp;

	if (layout_plan(cfg->mem, cfg->nr_mem, host->max_bits, &map, &err) ||
	    hgatp_select(host, &req, &map.need, &hgatp, &err)) {
		reasons_add(why, "%s", err.msg);
		return;
	}
	if (!s->pci64_size)
		return;
	/* A file as memory (--pmem) takes the upper end of the window. */
	if (s->pci64 != map.pci64.gpa || s->pci64_size > map.pci64.size)
		reasons_add(why,
			    "the guest has a window for PCI devices of 0x%llx bytes at 0x%llx, "
			    "with this host's %u bits of address it has 0x%llx at 0x%llx",
			    (unsigned long long)s->pci64_size, (unsigned long long)s->pci64,
			    host->max_bits, (unsigned long long)map.pci64.size,
			    (unsigned long long)map.pci64.gpa);
}

/* The guest was told that it may use that mode, and may do so any time. */
static void check_satp(const struct arch_saved *s, const struct kvm_vcpu *vcpu, struct reasons *why)
{
	uint64_t host;

	if (reg_get_long(vcpu, REG_CONFIG, 0, CONFIG_SATP_MODE, &host))
		host = 8;
	if (s->satp_mode > host)
		reasons_add(why, "the guest was told of %s page tables, this host has up to %s",
			    satp_name(s->satp_mode), satp_name((unsigned int)host));
}

/* A wire is enough to ask: what counts is how many identities a file has. */
static void check_aia(const struct arch_saved *s, const struct kvm *kvm, struct reasons *why)
{
	const struct aia_request req = {.aplic = PROBE_APLIC,
					.imsic = PROBE_IMSIC,
					.harts = 1,
					.sources = 1,
					.ids = s->identities,
					.mode = choice(s)};
	struct error err;
	struct aia aia;

	if (s->chip != CHIP_AIA || aia_offered(kvm, &err))
		return;
	if (aia_setup(&aia, kvm, &req, &err)) {
		reasons_add(why, "the kernel's AIA: %s", err.msg);
		return;
	}
	if (aia.ids != s->identities)
		reasons_add(why, "the guest's harts have %u interrupt identities, here %u",
			    s->identities, aia.ids);
	else if (aia.usable < s->usable)
		reasons_add(
			why,
			"the guest's devices interrupt by up to %u identities, of which only %u "
			"work here",
			s->usable, aia.usable);
	aia_close(&aia);
}

static int check_vcpus(const struct snapshot_file *f, const struct arch_saved *s,
		       const struct kvm *kvm, struct reasons *why, struct error *err)
{
	uint32_t i;
	int ret = 0;

	for (i = 0; i < s->harts && !ret; i++) {
		struct reg_set set = {0};
		struct kvm_vcpu vcpu;
		char label[24];

		ret = machine_read_vcpu(f, i, &set, why, err);
		reg_set_told(&set, s->isa);
		/* Harts are alike in what they are: one that was asked speaks for all. */
		if (!ret && !i) {
			int errnum = kvm_vcpu_create(kvm, 0, &vcpu);

			snprintf(label, sizeof(label), "vCPU %u", i);
			if (errnum)
				ret = fail_errno(err, -errnum, "KVM could not create a vCPU");
			if (!errnum) {
				check_satp(s, &vcpu, why);
				reg_set_check(&set, &vcpu, label, why);
				check_aia(s, kvm, why);
				kvm_vcpu_destroy(&vcpu);
			}
		}
		reg_set_free(&set);
	}
	return ret;
}

int arch_host_check(const struct snapshot_file *f, const struct arch_saved *s,
		    const struct vm_config *cfg, struct kvm_sys sys, struct reasons *why,
		    struct error *err)
{
	struct hgatp_host host;
	struct error reason;
	struct kvm kvm;
	int ret, max;

	if (kvm_open(&kvm, sys, err))
		return -1;
	ret = kvm_vm_create(&kvm);
	if (ret) {
		kvm_close(&kvm);
		return fail_errno(err, -ret, "KVM could not create a VM");
	}
	max = kvm_check(&kvm, KVM_CAP_MAX_VCPUS);
	if (max && s->harts > (uint32_t)max)
		reasons_add(why, "the VM has %u vCPUs, KVM here takes at most %d", s->harts, max);
	if (s->chip == CHIP_AIA && aia_offered(&kvm, &reason))
		reasons_add(why, "%s", reason.msg);
	ret = hgatp_probe(&kvm, &host, err);
	if (!ret) {
		check_layout(s, cfg, &host, why);
		ret = check_vcpus(f, s, &kvm, why, err);
	}
	kvm_close(&kvm);
	return ret;
}
