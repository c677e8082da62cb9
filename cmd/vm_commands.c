// SPDX-License-Identifier: GPL-2.0-only
/*
 * The commands that a running VM understands at its control socket: the core's, and those
 * of the parts that bring more. One line a part.
 */
#include "cmd.h"
#include "lkvm/attach.h"
#include "lkvm/control.h"
#include "lkvm/snapshot/control.h"

const struct control_command *const vm_commands[] = {
	control_core_commands,
	attach_commands,
	snapshot_commands,
	NULL,
};
