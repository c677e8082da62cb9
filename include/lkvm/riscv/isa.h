/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ISA and SBI extensions: their names and KVM numbers, what the host offers, what
 * the user takes away, and the strings that describe the result to the guest.
 *
 * KVM enables everything it can by default; only some extensions can be switched
 * off per vCPU, and only before it first runs. What KVM will not take away can
 * still be left out of the device tree.
 */
#ifndef LKVM_RISCV_ISA_H
#define LKVM_RISCV_ISA_H

#include "lkvm/kvm.h"
#include "lkvm/log.h"
#include "lkvm/util.h"

/* One past the highest number lkvm has a name for. */
#define ISA_EXT_COUNT 80
#define SBI_EXT_COUNT 14

/* The ones lkvm's own decisions depend on. */
enum {
	ISA_EXT_H = 4,
	ISA_EXT_SSTC = 8,
	ISA_EXT_ZICBOM = 11,
	ISA_EXT_ZICBOZ = 12,
	ISA_EXT_SSAIA = 14,
	ISA_EXT_SMSTATEEN = 23,
	ISA_EXT_ZKR = 32,
	ISA_EXT_SSCOFPMF = 54,
	ISA_EXT_SVADU = 65,
	ISA_EXT_ZICBOP = 71,
};

enum {
	SBI_EXT_V01 = 0,
	SBI_EXT_PMU = 6,
	SBI_EXT_DBCN = 9,
	SBI_EXT_SUSP = 11,
	SBI_EXT_FWFT = 12, /* Linux arch/riscv/include/uapi/asm/kvm.h, since 6.18 */
	SBI_EXT_MPXY = 13,
};

/**
 * isa_ext_name() / sbi_ext_name() - lower-case name of a KVM number, NULL beyond the count
 */
const char *isa_ext_name(unsigned int id);
const char *sbi_ext_name(unsigned int id);

/**
 * isa_ext_by_name() - KVM number, or -1
 */
int isa_ext_by_name(const char *name, size_t len);

/**
 * isa_told() - of which extensions was a guest told whose ISA string is @list?
 * @told: out; always true for what every guest may count on: letters, and what once was part
 *        of the letter i, and Sstc, whose timer a guest may have running
 */
void isa_told(const char *list, bool told[ISA_EXT_COUNT]);

/**
 * struct isa_request - what the user wants changed
 * @list: --isa: only these are offered; NULL: all
 * @hide_isa: --disable-EXT
 * @hide_sbi: --disable-sbi-EXT
 * @mvendorid, @marchid, @mimpid: --custom-…, where the flag beside it is set
 */
struct isa_request {
	const char *list;
	bool hide_isa[ISA_EXT_COUNT];
	bool hide_sbi[SBI_EXT_COUNT];
	bool set_mvendorid, set_marchid, set_mimpid;
	uint64_t mvendorid, marchid, mimpid;
};

/**
 * struct isa - what the guest gets, the same on every hart
 * @isa: enabled in KVM, by KVM number
 * @shown: of those, what the device tree names
 * @sbi: enabled SBI extensions
 * @off: writes each vCPU needs: ISA extensions to switch off
 * @sbi_set, @sbi_value: likewise for SBI extensions
 * @timebase: of the time CSR, Hz
 * @satp_mode: the host's widest first-stage mode as in satp.MODE (8, 9, 10)
 * @cbom, @cboz, @cbop: cache-block sizes, 0 where the extension is not shown
 * @xlen: 32 or 64
 */
struct isa {
	bool isa[ISA_EXT_COUNT];
	bool shown[ISA_EXT_COUNT];
	bool sbi[SBI_EXT_COUNT];
	bool off[ISA_EXT_COUNT];
	bool sbi_set[SBI_EXT_COUNT];
	bool sbi_value[SBI_EXT_COUNT];
	uint64_t timebase;
	uint64_t satp_mode;
	uint32_t cbom, cboz, cbop;
	unsigned int xlen;
};

/**
 * isa_decide() - read what @vcpu has and decide what the guest gets
 * @vcpu: any vCPU that has not run; it is changed to what was decided
 * @aia: the guest is told of Ssaia
 *
 * Return: 0, or -1 with @err set: an extension asked for that is not there, an
 * --isa list that Linux could not run with.
 */
int isa_decide(const struct kvm_vcpu *vcpu, const struct isa_request *req, bool aia,
	       struct log *log, struct isa *isa, struct error *err);

/**
 * isa_apply() - bring another vCPU to what was decided
 */
int isa_apply(const struct kvm_vcpu *vcpu, const struct isa_request *req, const struct isa *isa,
	      struct error *err);

#define ISA_STRING_MAX 1024

/**
 * isa_legacy_string() - "rv64imafdc_zicbom_…" of what is shown
 * @buf: ISA_STRING_MAX bytes
 */
void isa_legacy_string(const struct isa *isa, char *buf);

/**
 * isa_names() - the names of what is shown, ended by NULL, in the same order
 * @names: ISA_EXT_COUNT + 1 entries
 */
void isa_names(const struct isa *isa, const char **names);

#endif /* LKVM_RISCV_ISA_H */
