/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * irq: what the checks of IMSICs (aia.c) and of the APLIC (aplic.c) share.
 */
#ifndef LKVM_GUEST_IRQ_AIA_H
#define LKVM_GUEST_IRQ_AIA_H

#include "irq.h"

/* Registers of the APLIC; offsets, for source s. */
#define DOMAINCFG 0x0000
#define DOMAINCFG_IE 0x100
#define DOMAINCFG_READS 0x80000104
#define SOURCECFG(s) (UINT64_C(4) * (s))
#define SETIP(s) (UINT64_C(0x1c00) + (s) / 32 * 4)
#define SETIPNUM 0x1cdc
#define IN_CLRIP(s) (UINT64_C(0x1d00) + (s) / 32 * 4)
#define CLRIPNUM 0x1ddc
#define SETIE(s) (UINT64_C(0x1e00) + (s) / 32 * 4)
#define SETIENUM 0x1edc
#define CLRIENUM 0x1fdc
#define SETIPNUM_LE 0x2000
#define GENMSI 0x3000
#define TARGET(s) (UINT64_C(0x3000) + UINT64_C(4) * (s))
#define TARGET_HART 18
#define SM_INACTIVE 0
#define SM_DETACHED 1
#define SM_EDGE_RISE 4
#define SM_EDGE_FALL 5
#define SM_LEVEL_HIGH 6
#define SM_LEVEL_LOW 7
#define SOURCECFG_D 0x400

/* Identities that no source has. */
#define ID_A 129
#define ID_B 140
#define ID_C 200

/**
 * aia_identity() - of the interrupts of a source
 */
uint32_t aia_identity(uint32_t source);

static inline uint64_t reg(const struct bench *b, uint64_t offset)
{
	return b->guest->aplic + offset;
}

static inline void set_target(struct bench *b, uint32_t source, uint64_t hart)
{
	wr32(reg(b, TARGET(source)), (uint32_t)hart << TARGET_HART | aia_identity(source));
}

static inline void set_mode(struct bench *b, uint32_t source, uint32_t mode)
{
	wr32(reg(b, SOURCECFG(source)), mode);
}

static inline void aia_mask(struct bench *b, uint32_t source)
{
	wr32(reg(b, CLRIENUM), source);
}

static inline void aia_unmask(struct bench *b, uint32_t source)
{
	wr32(reg(b, SETIENUM), source);
}

#endif /* LKVM_GUEST_IRQ_AIA_H */
