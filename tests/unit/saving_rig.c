// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VM that is told to save itself, and a directory for that (saving_rig.h).
 */
#include "saving_rig.h"

#include "unit.h"

#include "lkvm/control.h"
#include "lkvm/snapshot/control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char saving_dir[64], saving_path[96];

void saving_rig_begin(void)
{
	strcpy(saving_dir, "/tmp/lkvm-saving-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(saving_dir));
	snprintf(saving_path, sizeof(saving_path), "%s/file", saving_dir);
	setenv("XDG_RUNTIME_DIR", saving_dir, 1);
}

void saving_rig_end(void)
{
	char lkvm[96];

	snprintf(lkvm, sizeof(lkvm), "%s/lkvm", saving_dir);
	rmdir(lkvm);
	unlink(saving_path);
	ck_assert_int_eq(rmdir(saving_dir), 0);
}

void saving_rig_run(struct rig *rig)
{
	static const struct control_command *const tables[] = {control_core_commands,
							       snapshot_commands, NULL};
	struct error err;

	rig->vm->control = control_create(rig->vm, tables, &err);
	ck_assert_msg(rig->vm->control, "%s", err.msg);
	rig_start(rig);
	ck_assert(fake_wait_idle(rig->host, 0));
}
