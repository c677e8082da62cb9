// SPDX-License-Identifier: GPL-2.0-only
/*
 * The state of the kernel's AIA (include/lkvm/riscv/aia_state.h). RISC-V Advanced
 * Interrupt Architecture 1.0, chapters "IMSIC" and "APLIC"; Linux
 * arch/riscv/kvm/aia_imsic.c, aia_aplic.c.
 *
 *	u32 identities, u32 sources, u32 harts
 *	u64 levels of the wires, two words
 *	for each hart: u64 eidelivery, u64 eithreshold, u64 eie and u64 eip of each 64
 *	u32 domaincfg; for each source: u32 sourcecfg, u32 target;
 *	for each 32 sources: u32 enabled, u32 pending
 *
 * Order of a load. A hart's file: threshold, enables, pending bits, and delivery last.
 * The APLIC: first the wires, while every source is inactive and a level is remembered
 * only; then targets, modes, enables, pending bits, which a level source takes only where
 * its wire agrees; domaincfg, which lets messages go, last. genmsi is never written: that
 * sends one.
 *
 * KVM sees to it that registers hold what they can; a message to a hart that is not there
 * it drops. Before a vCPU has run all files are in software, also those that hardware will have.
 * Where they take half of a register there (riscv/aia.c), the other half is refused here: KVM
 * would drop it without a word. What such a KVM gives is half a register too, its sign extended.
 *
 * Thread: the loop's; no lock. What is saved: this is it.
 */
#include "lkvm/riscv/aia_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Indirect registers of an interrupt file, on RV64 every other one of the arrays. */
#define ISEL_EIDELIVERY 0x70
#define ISEL_EITHRESHOLD 0x72
#define ISEL_EIP(word) (0x80 + 2 * (word))
#define ISEL_EIE(word) (0xc0 + 2 * (word))

/* The APLIC's registers, by offset. */
#define APLIC_DOMAINCFG 0x0000
#define APLIC_SOURCECFG(n) (0x0004 + 4 * ((n)-1))
#define APLIC_SETIP(word) (0x1c00 + 4 * (word))
#define APLIC_SETIE(word) (0x1e00 + 4 * (word))
#define APLIC_TARGET(n) (0x3004 + 4 * ((n)-1))

/* KVM's most: 2047 identities, 1023 sources. */
#define MAX_FILE_WORDS 32
#define MAX_SOURCE_WORDS 32

struct file {
	uint64_t delivery, threshold;
	uint64_t enable[MAX_FILE_WORDS], pending[MAX_FILE_WORDS];
};

struct aplic {
	uint32_t domain;
	uint32_t config[AIA_MAX_SOURCES + 1], target[AIA_MAX_SOURCES + 1];
	uint32_t enable[MAX_SOURCE_WORDS], pending[MAX_SOURCE_WORDS];
};

/**
 * struct io - attributes in one direction, until one fails
 */
struct io {
	const struct aia *aia;
	bool set;
	struct xfer *x;
};

static void access_attr(struct io *io, uint32_t group, uint64_t attr, void *value)
{
	int ret;

	if (io->x->failed)
		return;
	ret = io->set ? aia_set(io->aia, group, attr, value) : aia_get(io->aia, group, attr, value);
	if (ret >= 0)
		return;
	io->x->failed = true;
	fail_errno(&io->x->err, -ret, "KVM refused %s register 0x%llx of %s",
		   io->set ? "to set" : "to give",
		   (unsigned long long)(group == AIA_GROUP_IMSIC ? attr & 0xfff : attr),
		   group == AIA_GROUP_IMSIC ? "an interrupt file" : "the APLIC");
}

/* KVM's 32 bits of it, with the sign in the others? Those that are no sign are hardware's. */
static uint64_t without_sign(const struct aia *aia, uint64_t value)
{
	return aia->halves && value >> 31 == UINT64_MAX >> 31 ? (uint32_t)value : value;
}

static void check_word(struct io *io, uint64_t value, unsigned int word)
{
	unsigned int identity = word * 64 + 32;

	if (!io->aia->halves || !(value >> 32) || io->x->failed)
		return;
	for (value >>= 32; !(value & 1); value >>= 1)
		identity++;
	io->x->failed = true;
	fail(&io->x->err,
	     "the guest uses interrupt identity %u, and KVM's interrupt files in software, where a "
	     "loaded VM begins, can't hold it here",
	     identity);
}

static void access_word(struct io *io, uint64_t attr, uint64_t *value, unsigned int word)
{
	if (io->set)
		check_word(io, *value, word);
	access_attr(io, AIA_GROUP_IMSIC, attr, value);
	if (!io->set)
		*value = without_sign(io->aia, *value);
}

static void access_file(struct io *io, unsigned int hart, struct file *f)
{
	uint64_t base = (uint64_t)hart << 12;
	unsigned int words = (io->aia->ids + 1) / 64, i;

	access_attr(io, AIA_GROUP_IMSIC, base | ISEL_EITHRESHOLD, &f->threshold);
	for (i = 0; i < words; i++)
		access_word(io, base | ISEL_EIE(i), &f->enable[i], i);
	for (i = 0; i < words; i++)
		access_word(io, base | ISEL_EIP(i), &f->pending[i], i);
	access_attr(io, AIA_GROUP_IMSIC, base | ISEL_EIDELIVERY, &f->delivery);
}

static void access_aplic(struct io *io, struct aplic *a)
{
	unsigned int sources = io->aia->sources, i;

	for (i = 1; i <= sources; i++)
		access_attr(io, AIA_GROUP_APLIC, APLIC_TARGET(i), &a->target[i]);
	for (i = 1; i <= sources; i++)
		access_attr(io, AIA_GROUP_APLIC, APLIC_SOURCECFG(i), &a->config[i]);
	for (i = 0; i <= sources / 32; i++)
		access_attr(io, AIA_GROUP_APLIC, APLIC_SETIE(i), &a->enable[i]);
	for (i = 0; i <= sources / 32; i++)
		access_attr(io, AIA_GROUP_APLIC, APLIC_SETIP(i), &a->pending[i]);
	access_attr(io, AIA_GROUP_APLIC, APLIC_DOMAINCFG, &a->domain);
}

static void walk(const struct aia *aia, struct file *files, unsigned int harts, struct aplic *a,
		 uint64_t *levels, struct xfer *x)
{
	uint32_t ids = aia->ids, sources = aia->sources, nr = harts;
	unsigned int i, k;

	xfer_u32(x, &ids);
	xfer_u32(x, &sources);
	xfer_u32(x, &nr);
	xfer_check(x, ids == aia->ids, "aia: another number of interrupt identities");
	xfer_check(x, sources == aia->sources && nr == harts, "aia: other sources or harts");
	for (i = 0; i < AIA_LEVEL_WORDS; i++)
		xfer_u64(x, &levels[i]);
	for (i = 0; i < harts; i++) {
		xfer_u64(x, &files[i].delivery);
		xfer_u64(x, &files[i].threshold);
		for (k = 0; k < (aia->ids + 1) / 64; k++) {
			xfer_u64(x, &files[i].enable[k]);
			xfer_u64(x, &files[i].pending[k]);
		}
	}
	xfer_u32(x, &a->domain);
	for (i = 1; i <= aia->sources; i++) {
		xfer_u32(x, &a->config[i]);
		xfer_u32(x, &a->target[i]);
	}
	for (i = 0; i <= aia->sources / 32; i++) {
		xfer_u32(x, &a->enable[i]);
		xfer_u32(x, &a->pending[i]);
	}
}

static void set_wires(struct io *io, const uint64_t *levels)
{
	unsigned int i;
	int ret = 0;

	if (io->x->failed)
		return;
	for (i = 1; !ret && i <= io->aia->sources && i < 64 * AIA_LEVEL_WORDS; i++)
		if (levels[i / 64] >> (i % 64) & 1)
			ret = aia_set_line(io->aia, i, true);
	if (!ret)
		return;
	io->x->failed = true;
	fail_errno(&io->x->err, -ret, "KVM refused the level of a wire");
}

static void transfer(const struct aia *aia, struct file *files, unsigned int harts, struct aplic *a,
		     uint64_t *levels, struct xfer *x)
{
	struct io io = {.aia = aia, .set = x->loading, .x = x};
	uint64_t scratch[AIA_LEVEL_WORDS];
	unsigned int i;

	memcpy(scratch, levels, sizeof(scratch));
	if (!x->loading) {
		for (i = 0; i < harts; i++)
			access_file(&io, i, &files[i]);
		access_aplic(&io, a);
	}
	walk(aia, files, harts, a, scratch, x);
	if (!xfer_commit(x))
		return;
	for (i = 0; i < harts; i++)
		access_file(&io, i, &files[i]);
	set_wires(&io, scratch);
	access_aplic(&io, a);
	if (!x->failed)
		memcpy(levels, scratch, sizeof(scratch));
}

void aia_state_transfer(const struct aia *aia, unsigned int harts, uint64_t levels[AIA_LEVEL_WORDS],
			struct xfer *x)
{
	struct file *files = calloc(harts, sizeof(*files));
	struct aplic *a = calloc(1, sizeof(*a));

	if (!files || !a || aia->ids >= 64 * MAX_FILE_WORDS || aia->sources > AIA_MAX_SOURCES) {
		x->failed = true;
		fail(&x->err, "aia: no memory, or larger than any can be");
	} else {
		transfer(aia, files, harts, a, levels, x);
	}
	free(files);
	free(a);
}

int aia_file_each(const struct aia *aia, unsigned int hart, aia_word_fn each, void *opaque)
{
	static const struct {
		const char *name;
		unsigned int at;
	} arrays[] = {{"eie", ISEL_EIE(0)}, {"eip", ISEL_EIP(0)}};
	uint64_t base = (uint64_t)hart << 12, value = 0;
	unsigned int i, k;
	char name[16];
	int ret;

	ret = aia_get(aia, AIA_GROUP_IMSIC, base | ISEL_EIDELIVERY, &value);
	if (ret < 0)
		return ret;
	each(opaque, "eidelivery", value);
	for (k = 0; k < ARRAY_SIZE(arrays); k++) {
		for (i = 0; i < (aia->ids + 1) / 64; i++) {
			ret = aia_get(aia, AIA_GROUP_IMSIC, base | (arrays[k].at + 2 * i), &value);
			if (ret < 0)
				return ret;
			snprintf(name, sizeof(name), "%s%u", arrays[k].name, 2 * i);
			each(opaque, name, without_sign(aia, value));
		}
	}
	return 0;
}
