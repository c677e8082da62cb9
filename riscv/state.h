/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files that save and load a machine's state share. Private to this folder.
 */
#ifndef RISCV_STATE_H
#define RISCV_STATE_H

#include "lkvm/riscv/reg_set.h"
#include "lkvm/snapshot/format.h"

struct arch_vm;

/**
 * machine_config_save() - the section "riscv": what the machine is
 */
int machine_config_save(const struct arch_vm *a, struct snapshot_writer *w, struct error *err);

/**
 * machine_read_vcpu() - the registers of one vCPU out of a file
 * @set: empty; to be freed whatever is returned
 * @why: receives what can't be taken by any host
 */
int machine_read_vcpu(const struct snapshot_file *f, unsigned int id, struct reg_set *set,
		      struct reasons *why, struct error *err);

#endif /* RISCV_STATE_H */
