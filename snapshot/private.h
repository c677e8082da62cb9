/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of snapshot/ share. Private to this folder.
 */
#ifndef SNAPSHOT_PRIVATE_H
#define SNAPSHOT_PRIVATE_H

#include "lkvm/snapshot/snapshot.h"

/**
 * saved_write() - the sections "writer" and "config"
 */
int saved_write(const struct vm *vm, struct snapshot_writer *w, struct error *err);

#endif /* SNAPSHOT_PRIVATE_H */
