/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Helper programs that lkvm starts beside a VM (passt, virtiofsd): a clean
 * environment, no descriptor but those it is given, default signals, and never
 * outliving lkvm.
 *
 *   helper_start -> [helper_wait] -> died() at most once -> helper_stop
 *
 * All of it belongs to the thread that turns the loop, or will.
 */
#ifndef LKVM_HELPER_H
#define LKVM_HELPER_H

#include "lkvm/log.h"
#include "lkvm/loop.h"

struct helper;

/* Descriptors that a helper can be given. */
#define HELPER_MAX_FDS 16

/* Long enough for what helper_status() writes. */
#define HELPER_STATUS_MAX 64

/**
 * struct helper_request - what to start
 * @what: for messages ("passt"); copied
 * @argv: ended by NULL; argv[0] is a path, or a name that is looked for in PATH and in
 *        the usual places for such programs (/usr/libexec, /usr/lib/qemu, /usr/sbin).
 *        The program sees argv[0] as it is given here.
 * @package: the packages that hold it, for the message that it is missing ("passt"), or
 *           NULL
 * @fds, @nr_fds: descriptors it is given as 3, 4, …; they stay the caller's. Its
 *                standard input is /dev/null; what it prints is logged line by line
 *                at debug level, and the last lines again when it dies: at error level, or at
 *                info level where a signal from elsewhere ended it
 * @died: it ended without being asked to (loop's thread); @status as from waitpid(2).
 *        Says so to the user in the words of its owner (helper_status()), who knows
 *        what it means. May call helper_stop(). NULL is allowed.
 */
struct helper_request {
	const char *what;
	char *const *argv;
	const char *package;
	const int *fds;
	size_t nr_fds;
	void (*died)(void *opaque, int status);
	void *opaque;
};

/**
 * helper_find() - where a program is, as helper_start() would look for it
 *
 * A name with a slash is a path, which is only checked. Components of PATH that are
 * not absolute are passed over.
 *
 * Return: true with @path (PATH_MAX bytes) filled in.
 */
bool helper_find(const char *name, char *path);

/**
 * helper_start() - start one
 *
 * The program runs in a session of its own, so that keys typed at lkvm's terminal do
 * not reach it. It is killed when the calling thread ends, however that ends: so call
 * this from the thread that turns the loop until the VM is gone. (The kernel forgets
 * that wish where the program changes its user id: such a program must also end when
 * its descriptors are closed.) Its environment is PATH, LANG=C, and TMPDIR, HOME and
 * XDG_RUNTIME_DIR where we have them. Nothing outside the helper waits for it.
 *
 * Return: NULL with @err set (not found: the message says where was looked; exec
 * failed: the message says why).
 */
struct helper *helper_start(struct loop *loop, struct log *log, const struct helper_request *req,
			    struct error *err);

/**
 * helper_wait() - wait, up to @timeout_ms, until it prints a line that @ready likes
 * @ready: called for each line, without its newline; NULL: just see whether it lives
 *         when the time is over
 *
 * The loop does not turn meanwhile: for the time before the guest runs. What is
 * printed is logged as always.
 *
 * Return: 0; 1 where the time ran out; -1 where the program ended, with @err saying
 * how and its last line. died is not called then.
 */
int helper_wait(struct helper *helper, int timeout_ms,
		bool (*ready)(void *opaque, const char *line), void *opaque, struct error *err);

/**
 * helper_run() - start a program and wait, up to @timeout_ms, until it ends by itself
 *
 * For scripts. The loop does not turn meanwhile.
 *
 * Return: 0 where it ended with status 0; else -1 with @err set.
 */
int helper_run(struct loop *loop, struct log *log, const struct helper_request *req, int timeout_ms,
	       struct error *err);

/**
 * helper_pid() - its process number, as this process sees it
 */
int helper_pid(const struct helper *helper);

/**
 * helper_status() - "ended with status 1", "was ended by signal 9 (Killed)"
 * @buf: HELPER_STATUS_MAX bytes
 *
 * Return: @buf.
 */
const char *helper_status(int status, char *buf);

/**
 * helper_stop() - end it (SIGTERM, then SIGKILL after a second), reap and free it
 *
 * Also after the loop has ended. NULL is allowed.
 */
void helper_stop(struct helper *helper);

#endif /* LKVM_HELPER_H */
