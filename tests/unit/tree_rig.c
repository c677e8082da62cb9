// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device tree that a VM gives its guest (tree_rig.h).
 */
#include "tree_rig.h"

#include "unit.h"

#include <libfdt.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

void tree_rig_init(struct tree_rig *t, struct rig *rig)
{
	t->fd = memfd_create("dtb", MFD_CLOEXEC);
	snprintf(t->path, sizeof(t->path), "/proc/self/fd/%d", t->fd);
	rig->cfg.dump_dtb = t->path;
}

void tree_rig_read(struct tree_rig *t)
{
	ck_assert_int_gt(pread(t->fd, t->fdt, sizeof(t->fdt), 0), 0);
	ck_assert_int_eq(fdt_check_full(t->fdt, sizeof(t->fdt)), 0);
}

void tree_rig_fini(struct tree_rig *t)
{
	close(t->fd);
}
