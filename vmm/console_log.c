// SPDX-License-Identifier: GPL-2.0-only
/*
 * The console's log file (include/lkvm/console_log.h).
 *
 * A plain file (or /dev/null and the like), written where the guest's bytes come by, so
 * that what a guest said before lkvm was killed is in it. What a terminal would obey is not
 * written as it is: whoever looks at the file is not at the guest's mercy. A file that
 * takes no more (disk full, ulimit -f) is given up with one line; the guest goes on.
 *
 * Thread and lock: the guest console's lock; nothing of it is saved.
 */
#include "lkvm/console_log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Input bytes of one write; each may become two. */
#define PIECE 2048

static size_t make_safe(const uint8_t *buf, size_t len, char *out)
{
	size_t i, n = 0;

	for (i = 0; i < len; i++) {
		if (buf[i] == '\r')
			continue;
		if ((buf[i] < ' ' && buf[i] != '\n' && buf[i] != '\t') || buf[i] == 0x7f) {
			out[n++] = '^';
			out[n++] = (char)(buf[i] ^ 0x40);
		} else {
			out[n++] = (char)buf[i];
		}
	}
	return n;
}

static void on_output(void *opaque, const uint8_t *buf, size_t len)
{
	struct console_log *cl = opaque;
	char safe[2 * PIECE];
	size_t n, out;

	for (; len && !cl->broken; buf += n, len -= n) {
		n = min_u64(len, PIECE);
		out = make_safe(buf, n, safe);
		if (write_all(cl->fd, safe, out) == (long)out)
			continue;
		cl->broken = true;
		log_warning(cl->log, "--console-log %s: no more is written: %s", cl->path,
			    strerror(errno));
	}
}

static const struct console_listener_ops listener_ops = {.output = on_output};

int console_log_open(struct console_log *cl, const char *path, struct error *err)
{
	struct stat st;
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);

	if (fd < 0)
		return fail_errno(err, errno, "--console-log: cannot write %s", path);
	if (fstat(fd, &st) || (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode)) || isatty(fd) ||
	    (S_ISREG(st.st_mode) && ftruncate(fd, 0))) {
		close(fd);
		return fail(err, "--console-log: %s is no file that can be written anew", path);
	}
	*cl = (struct console_log){.path = path, .fd = fd};
	return 0;
}

void console_log_start(struct console_log *cl, struct vm *vm)
{
	cl->log = vm->log;
	cl->listener = (struct console_listener){&listener_ops, cl, vm->listeners};
	vm->listeners = &cl->listener;
}

void console_log_close(struct console_log *cl)
{
	if (cl->fd > 0)
		close(cl->fd);
	cl->fd = 0;
}
