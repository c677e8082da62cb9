/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The RISC-V part of a VM's configuration (struct arch_config behind
 * struct vm_config). Plain data, filled like the rest.
 */
#ifndef LKVM_RISCV_CONFIG_H
#define LKVM_RISCV_CONFIG_H

#include "lkvm/riscv/aia.h"
#include "lkvm/riscv/hgatp.h"
#include "lkvm/riscv/isa.h"
#include "lkvm/riscv/layout.h"

enum irqchip_choice {
	IRQCHIP_AUTO,
	IRQCHIP_PLIC,
	IRQCHIP_AIA,
};

/**
 * struct arch_config - what only a RISC-V VM has
 * @irqchip: which interrupt chip
 * @aia: where its interrupt files live
 * @identities: of each file, and @usable: how many of them devices go by; 0: as many as
 *              are needed, and can be had
 * @hgatp: G-stage mode and width
 * @satp: the guest's own paging mode
 * @isa: extensions and ids
 */
struct arch_config {
	enum irqchip_choice irqchip;
	enum aia_choice aia;
	uint32_t identities, usable;
	struct hgatp_request hgatp;
	enum satp_choice satp;
	struct isa_request isa;
};

#endif /* LKVM_RISCV_CONFIG_H */
