/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The state of the kernel's AIA, out of and into KVM: the APLIC's registers and each
 * hart's interrupt file, through the device's attributes.
 */
#ifndef LKVM_RISCV_AIA_STATE_H
#define LKVM_RISCV_AIA_STATE_H

#include "lkvm/riscv/aia.h"
#include "lkvm/xfer.h"

/* Words of wire levels: sources 0 to 127. */
#define AIA_LEVEL_WORDS 2

/**
 * aia_state_transfer() - save or load it (see xfer.h)
 * @harts: vCPUs
 * @levels: of the wires, by source; loading: set to the saved ones
 *
 * Loading goes into an AIA that was just started and has as many identities, sources and
 * harts; where its interrupt files live may differ. The harts' sip has been set before.
 *
 * The vCPUs do not run: KVM would wait for them.
 */
void aia_state_transfer(const struct aia *aia, unsigned int harts, uint64_t levels[AIA_LEVEL_WORDS],
			struct xfer *x);

#endif /* LKVM_RISCV_AIA_STATE_H */
