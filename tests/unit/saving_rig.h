/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VM that runs and is told by its control socket to save itself, and a directory of its own for
 * the file: for tests of saving from outside.
 */
#ifndef LKVM_TESTS_SAVING_RIG_H
#define LKVM_TESTS_SAVING_RIG_H

#include "snapshot_rig.h"

/**
 * saving_dir - where the file and the control sockets are; saving_path - the file
 *
 * Only between saving_rig_begin() and saving_rig_end().
 */
extern char saving_dir[64], saving_path[96];

/**
 * saving_rig_begin() / saving_rig_end() - fixture: make the directory, and remove it
 *
 * saving_rig_end() fails the test where anything was left in it beside the file.
 */
void saving_rig_begin(void);
void saving_rig_end(void);

/**
 * saving_rig_run() - give the VM of @rig, which was created, its control socket, and start it
 *
 * Returns when its hart, which has gone through snapshot_hello, waits.
 */
void saving_rig_run(struct rig *rig);

#endif /* LKVM_TESTS_SAVING_RIG_H */
