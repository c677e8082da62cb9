/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The device tree that the VM of a rig gives its guest, for tests that look at it.
 */
#ifndef LKVM_TESTS_TREE_RIG_H
#define LKVM_TESTS_TREE_RIG_H

#include "rig.h"

/**
 * struct tree_rig - the tree, from tree_rig_read() on
 * @path, @fd: where the VM writes it, which is in memory
 */
struct tree_rig {
	char path[32];
	int fd;
	uint8_t fdt[256 * KIB] __attribute__((aligned(8)));
};

/**
 * tree_rig_init() - have @rig's VM, not created yet, write its tree to @t
 * tree_rig_read() - the VM was created: look at what it wrote
 */
void tree_rig_init(struct tree_rig *t, struct rig *rig);
void tree_rig_read(struct tree_rig *t);
void tree_rig_fini(struct tree_rig *t);

#endif /* LKVM_TESTS_TREE_RIG_H */
