// SPDX-License-Identifier: GPL-2.0-only
/*
 * Attached terminals, the terminal's side (include/lkvm/attach.h): a console with its
 * escape keys, as a VM has one, whose guest is a socket.
 *
 * Bytes are read from either side only when the other has taken all that came before. A
 * stream tells that it has room again only to who was refused: so what it did not take of a
 * piece waits here (struct rest) until it does.
 *
 * Thread and lock: the caller's thread, in a loop of its own; no lock.
 */
#include "lkvm/attach.h"

#include "lkvm/console.h"
#include "lkvm/control_client.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* Its last words are shown even to a slow terminal, for so long. */
#define LAST_WORDS_MS 2000

static const struct console_words words = {
	.leave = 'd',
	.hint = "Ctrl-a d leaves, and the VM goes on; Ctrl-a h helps, Ctrl-a a sends Ctrl-a",
	.help = "Ctrl-a d  leave; the virtual machine goes on",
};

#define PIECE 4096

/* Of a piece, what the other side has not taken yet. */
struct rest {
	uint8_t buf[PIECE];
	size_t at, len;
};

struct attached {
	const char *name;
	const struct attach_options *o;
	struct log *log;
	struct loop *loop;
	struct console *con; /* the terminal */
	struct stream *data; /* the VM */
	struct rest typed, said;
	json_int_t id;
	int sig;
};

static void keep_rest(struct rest *rest, const uint8_t *buf, size_t len, size_t taken)
{
	rest->at = 0;
	rest->len = len - taken;
	memcpy(rest->buf, buf + taken, rest->len);
}

static void took_rest(struct rest *rest, size_t taken)
{
	rest->at += taken;
	rest->len -= taken;
}

/* --- terminal to VM ---------------------------------------------------------------- */

static size_t typed_room(void *opaque)
{
	struct attached *a = opaque;

	return a->typed.len ? 0 : PIECE;
}

static void typed(void *opaque, const uint8_t *buf, size_t len)
{
	struct attached *a = opaque;

	if (!a->o->read_only)
		keep_rest(&a->typed, buf, len, stream_write(a->data, buf, len));
}

static void said_taken(void *opaque)
{
	struct attached *a = opaque;

	took_rest(&a->said, console_write(a->con, a->said.buf + a->said.at, a->said.len));
	if (!a->said.len)
		stream_want_input(a->data);
}

static const struct stream_ops terminal_ops = {
	.room = typed_room,
	.input = typed,
	.drained = said_taken,
};

static void want_to_leave(void *opaque)
{
	struct attached *a = opaque;

	loop_stop(a->loop, ATTACH_LEFT);
}

/* --- VM to terminal ---------------------------------------------------------------- */

static size_t said_room(void *opaque)
{
	struct attached *a = opaque;

	return a->said.len ? 0 : PIECE;
}

static void said(void *opaque, const uint8_t *buf, size_t len)
{
	struct attached *a = opaque;

	keep_rest(&a->said, buf, len, console_write(a->con, buf, len));
}

static void vm_gone(void *opaque)
{
	struct attached *a = opaque;

	loop_stop(a->loop, ATTACH_ENDED);
}

static void typed_taken(void *opaque)
{
	struct attached *a = opaque;

	took_rest(&a->typed, stream_write(a->data, a->typed.buf + a->typed.at, a->typed.len));
	if (!a->typed.len)
		console_want_input(a->con);
}

static const struct stream_ops data_ops = {
	.room = said_room,
	.input = said,
	.eof = vm_gone,
	.drained = typed_taken,
};

/* --- the window and signals ---------------------------------------------------------- */

static bool window(const struct attach_options *o, struct winsize *size)
{
	return (!ioctl(o->out, TIOCGWINSZ, size) || !ioctl(o->in, TIOCGWINSZ, size)) &&
	       size->ws_col && size->ws_row;
}

/* The answer is not waited for: a VM that is slow to answer does not hold up the keys. */
static void tell_window(struct attached *a)
{
	struct control_client *c;
	struct winsize size;
	struct error err;

	if (!window(a->o, &size))
		return;
	c = control_connect(a->name, &err);
	if (c)
		control_send(c, "window",
			     json_pack("{s:I, s:i, s:i}", "terminal", a->id, "columns",
				       (int)size.ws_col, "rows", (int)size.ws_row),
			     -1, &err);
	control_hang_up(c);
}

static void got_signal(void *opaque, uint32_t events)
{
	struct attached *a = opaque;
	struct signalfd_siginfo info;

	(void)events;
	while (read(a->o->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGWINCH) {
			tell_window(a);
			continue;
		}
		a->sig = (int)info.ssi_signo;
		loop_stop(a->loop, ATTACH_SIGNAL);
	}
}

/* --- all of it ------------------------------------------------------------------------ */

static int ask(struct attached *a, int fd, struct error *err)
{
	json_t *arguments = json_pack("{s:b, s:b}", "read-only", (int)a->o->read_only, "recent",
				      (int)a->o->recent),
	       *result;
	struct control_client *c = control_connect(a->name, err);
	struct winsize size;
	int ret;

	if (!c) {
		json_decref(arguments);
		return -1;
	}
	if (window(a->o, &size)) {
		json_object_set_new(arguments, "columns", json_integer(size.ws_col));
		json_object_set_new(arguments, "rows", json_integer(size.ws_row));
	}
	ret = control_send(c, "attach", arguments, fd, err);
	if (!ret)
		ret = control_result(c, CONTROL_ANSWER_MS, &result, err);
	control_hang_up(c);
	if (ret)
		return -1;
	a->id = json_integer_value(json_object_get(result, "terminal"));
	json_decref(result);
	return 0;
}

/* @sock is connected to the console. */
static enum attach_end sit(struct attached *a, int sock, struct error *err)
{
	int signal_fd = a->o->signal_fd, ret;

	if (signal_fd >= 0) {
		ret = loop_add_fd(a->loop, signal_fd, EPOLLIN, got_signal, a);
		if (ret)
			return fail_errno(err, -ret, "cannot watch for signals");
	}
	a->con = console_create(a->loop, a->log, a->o->in, a->o->out, &terminal_ops, a, &words,
				want_to_leave, a, err);
	if (!a->con)
		return ATTACH_FAILED;
	a->data = stream_create(a->loop, a->log, sock, sock, &data_ops, a, err);
	if (!a->data)
		return ATTACH_FAILED;
	ret = loop_run(a->loop);
	if (ret < 0)
		return fail_errno(err, -ret, "the event loop failed");
	if (ret == ATTACH_ENDED)
		console_flush(a->con, LAST_WORDS_MS);
	return (enum attach_end)ret;
}

enum attach_end attach_run(const char *name, const struct attach_options *o, struct log *log,
			   int *sig, struct error *err)
{
	struct attached a = {.name = name, .o = o, .log = log};
	enum attach_end end = ATTACH_FAILED;
	int pair[2], ret;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return fail_errno(err, errno, "cannot make a pair of sockets");
	ret = ask(&a, pair[1], err);
	/* Ours must be the only one left, else its end would never be seen. */
	close(pair[1]);
	a.loop = ret ? NULL : loop_create(err);
	if (a.loop)
		end = sit(&a, pair[0], err);
	if (a.loop && o->signal_fd >= 0)
		loop_remove_fd(a.loop, o->signal_fd);
	stream_destroy(a.data);
	console_destroy(a.con);
	loop_destroy(a.loop);
	close(pair[0]);
	*sig = a.sig;
	return end;
}
