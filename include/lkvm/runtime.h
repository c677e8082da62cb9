/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The directory of a user's running VMs, where their sockets are:
 * $XDG_RUNTIME_DIR/lkvm, else ~/.lkvm.
 */
#ifndef LKVM_RUNTIME_H
#define LKVM_RUNTIME_H

#include "lkvm/util.h"

/**
 * runtime_dir() - its path
 * @dir: receives it, @size bytes
 * @make: make it (mode 0700) where it is missing; its parent must be there
 *
 * Return: 0, or -1 with @err set: no such directory, too long a path, or it is not a
 * directory of this user's that nobody else can look into.
 */
int runtime_dir(char *dir, size_t size, bool make, struct error *err);

#endif /* LKVM_RUNTIME_H */
