/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Finding kernel modules and what they need in a directory as depmod(8) leaves it:
 * /lib/modules/RELEASE.
 */
#ifndef LKVM_MODULES_H
#define LKVM_MODULES_H

#include "lkvm/util.h"

#define MODULES_MAX 128

/**
 * struct modules - files in the order in which they are to be loaded
 * @files: paths relative to the directory, each once
 */
struct modules {
	char *files[MODULES_MAX];
	size_t nr;
};

/**
 * modules_find() - the files of the modules @names and of all that they need (any thread)
 * @dir: with modules.dep in it
 * @names: ended by NULL; "-" and "_" are the same. One that is not there may be built
 *         into the kernel, or the kernel is without it: that shows when it runs.
 *
 * Return: 0, or -1 with @err set (no modules.dep; too many). modules_free() in any case.
 */
int modules_find(struct modules *m, const char *dir, const char *const *names, struct error *err);
void modules_free(struct modules *m);

#endif /* LKVM_MODULES_H */
