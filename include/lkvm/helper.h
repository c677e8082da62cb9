/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Helper programs that lkvm starts beside a VM (passt, virtiofsd): a clean
 * environment, no descriptor but those it is given, default signals, and never
 * outliving lkvm.
 */
#ifndef LKVM_HELPER_H
#define LKVM_HELPER_H

#include "lkvm/log.h"
#include "lkvm/loop.h"

struct helper;

/**
 * struct helper_request - what to start
 * @what: for messages ("passt")
 * @argv: ended by NULL; argv[0] is a path, or a name that is looked for in PATH and in
 *        the usual places for such programs (/usr/libexec, /usr/lib/qemu, /usr/sbin)
 * @fds, @nr_fds: descriptors it is given as 3, 4, …; they stay the caller's. Its
 *                standard input is /dev/null; what it prints is logged line by line
 *                at debug level, and the last lines at error level when it dies
 * @died: it ended without being asked to (loop's thread); @status as from waitpid(2)
 */
struct helper_request {
	const char *what;
	char *const *argv;
	const int *fds;
	size_t nr_fds;
	void (*died)(void *opaque, int status);
	void *opaque;
};

/**
 * helper_find() - where a program is, as helper_start() would look for it
 *
 * Return: true with @path (PATH_MAX bytes) filled in.
 */
bool helper_find(const char *name, char *path);

/**
 * helper_start() - start one (loop's thread, or before the loop runs)
 *
 * It is killed when this process ends, however it ends.
 *
 * Return: NULL with @err set (not found: the message says where was looked; exec
 * failed: the message says why).
 */
struct helper *helper_start(struct loop *loop, struct log *log, const struct helper_request *req,
			    struct error *err);

/**
 * helper_stop() - end it (SIGTERM, then SIGKILL after a second), reap and free it
 *
 * Loop's thread, or after the loop. NULL is allowed.
 */
void helper_stop(struct helper *helper);

#endif /* LKVM_HELPER_H */
