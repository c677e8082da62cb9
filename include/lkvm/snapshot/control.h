/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Snapshots over a VM's control socket.
 */
#ifndef LKVM_SNAPSHOT_CONTROL_H
#define LKVM_SNAPSHOT_CONTROL_H

#include "lkvm/control.h"

/* "snapshot" and "dump": one table for control_create(). */
extern const struct control_command snapshot_commands[];

#endif /* LKVM_SNAPSHOT_CONTROL_H */
