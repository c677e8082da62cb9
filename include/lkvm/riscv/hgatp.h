/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The G-stage: which page-table mode translates guest physical addresses, and how
 * wide they are. KVM lets user space choose per VM, before the first memslot and
 * vCPU, by one of three interfaces, all asked on the VM descriptor:
 *
 *   GPA_BITS  KVM_CAP_VM_GPA_BITS (207) can be enabled with a width (Linux 7.2)
 *   POSTED    KVM_CAP_RISCV_SET_HGATP_MODE as it was posted: number 247 with the
 *             modes in bits 0 to 2 of CHECK_EXTENSION, later 248 with bits 8 to
 *             10; enabled with HGATP.MODE
 *   FIXED     neither: the host's only width (Linux 6.12)
 *
 * Negotiation is a function of a struct kvm with a fresh VM, what the user asked
 * and what the layout needs. Loop thread, no lock.
 */
#ifndef LKVM_RISCV_HGATP_H
#define LKVM_RISCV_HGATP_H

#include "lkvm/kvm.h"
#include "lkvm/util.h"

/* Guest page tables name 56 bits of physical address, whatever the G-stage has. */
#define USABLE_GPA_BITS 56

/* KVM before 7.3 refuses a memslot that ends exactly at the limit: one page stays free. */
#define GPA_TOP_SPARE UINT64_C(4096)

enum hgatp_choice {
	HGATP_AUTO, /* the narrowest mode that holds the layout */
	HGATP_HOST, /* what KVM gives by itself */
	HGATP_SV39,
	HGATP_SV48,
	HGATP_SV57,
};

enum hgatp_interface {
	HGATP_FIXED,
	HGATP_GPA_BITS,
	HGATP_POSTED_247,
	HGATP_POSTED_248,
};

/**
 * struct hgatp_host - what a host offers
 * @max_bits: widest GPA width: 41, 50 or 59 (34 on rv32)
 * @interface: how a narrower one can be chosen
 */
struct hgatp_host {
	unsigned int max_bits;
	enum hgatp_interface interface;
};

/**
 * struct hgatp_request - what the user asked
 * @choice: --hgatp
 * @gpa_bits: --gpa-bits, 0 where not given: the VM must have at least as many
 */
struct hgatp_request {
	enum hgatp_choice choice;
	unsigned int gpa_bits;
};

/**
 * struct hgatp_need - what the layout needs
 * @top: one past the last byte the guest can name
 * @what: whose byte that is, with its address, for messages
 */
struct hgatp_need {
	gpa_t top;
	const char *what;
};

/**
 * struct hgatp - what was settled; part of the VM's state
 * @bits: GPA width the VM has
 * @interface: how it was had
 * @why: one clause for --dry-run and info
 */
struct hgatp {
	unsigned int bits;
	enum hgatp_interface interface;
	char why[160];
};

/**
 * hgatp_probe() - learn what the host offers; changes nothing that stays
 *
 * Return: 0, or -1 with @err set where KVM answers nonsense, or no answer comes.
 */
int hgatp_probe(const struct kvm *kvm, struct hgatp_host *host, struct error *err);

/**
 * hgatp_select() - decide the width, without touching KVM
 *
 * Return: 0; -1 with @err set: what was asked, what the host has, what the layout
 * needs and which address needs it.
 */
int hgatp_select(const struct hgatp_host *host, const struct hgatp_request *req,
		 const struct hgatp_need *need, struct hgatp *out, struct error *err);

/**
 * hgatp_apply() - put the decision into a fresh VM, and check that KVM has it
 */
int hgatp_apply(const struct kvm *kvm, const struct hgatp_host *host, const struct hgatp *hgatp,
		struct error *err);

/**
 * hgatp_limit() - one past the last address of RAM that fits @bits
 */
gpa_t hgatp_limit(unsigned int bits);

/**
 * hgatp_name() - "Sv39x4" for a width; hgatp_option() - "sv39"
 */
const char *hgatp_name(unsigned int bits);
const char *hgatp_option(unsigned int bits);
const char *hgatp_interface_name(enum hgatp_interface interface);

#endif /* LKVM_RISCV_HGATP_H */
