// SPDX-License-Identifier: GPL-2.0-only
/*
 * The console a person sits at (include/lkvm/console.h): escape keys in front of
 * a stream.
 *
 * Where the input is a terminal, it is read whether or not the guest has room,
 * into a queue: "Ctrl-a x" must work above all when the guest no longer listens.
 * Only when the queue is full too (64 KiB typed or pasted at a guest that reads
 * nothing) is the terminal held back. The escape keys are a two-state machine
 * over single bytes, so it does not matter how the bytes are cut into reads.
 *
 * Input that is no terminal goes through unchanged and unqueued: there the
 * consumer's room is what the stream is told.
 *
 * A terminal that belongs to another job ("lkvm run … &" in a shell) is neither
 * made raw nor read; each second we look whether it is ours now.
 *
 * Thread: all of it is the loop's, but for writing and console_want_input(), which
 * any thread may call; those touch only the stream and one atomic flag. No lock of
 * its own. Nothing is saved.
 */
#include "lkvm/console.h"

#include "lkvm/process.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define CTRL_A 0x01
#define QUEUE_BYTES STREAM_BUFFER
#define FOREGROUND_RETRY_NS NSEC_PER_SEC

static const struct console_words vm_words = {
	.leave = 'x',
	.hint = "Ctrl-a x quits, Ctrl-a h helps, Ctrl-a a sends Ctrl-a",
	.help = "Ctrl-a x  end the virtual machine and lkvm",
};

struct console {
	struct loop *loop;
	struct log *log;
	struct stream *stream;
	const struct stream_ops *ops;
	void *opaque;
	const struct console_words *words;
	loop_fn quit;
	void *quit_opaque;
	int in, out;

	/* The rest only where the input is a terminal. */
	uint8_t *queue; /* NULL: it is none */
	size_t head, len;
	bool raw;
	bool escape;	     /* Ctrl-a was the last key */
	bool eof;	     /* to be passed on when the queue is empty */
	atomic_bool starved; /* bytes are queued and the consumer had no room */
	struct loop_work pump_work;
	struct loop_timer foreground;
};

static size_t consumer_room(struct console *con)
{
	return con->ops->room ? con->ops->room(con->opaque) : QUEUE_BYTES;
}

/* Hand the consumer what it has room for. */
static void pump(void *opaque)
{
	struct console *con = opaque;
	bool moved = false;

	atomic_store(&con->starved, false);
	while (con->len) {
		size_t room = consumer_room(con);
		size_t part;

		if (!room) {
			atomic_store(&con->starved, true);
			/* Room that came before the flag was seen by nobody but us. */
			room = consumer_room(con);
			if (!room)
				break;
			atomic_store(&con->starved, false);
		}
		part = min_u64(room, min_u64(con->len, QUEUE_BYTES - con->head));
		if (con->ops->input)
			con->ops->input(con->opaque, con->queue + con->head, part);
		con->head = (con->head + part) % QUEUE_BYTES;
		con->len -= part;
		moved = true;
	}
	if (moved)
		stream_want_input(con->stream);
	if (!con->len && con->eof) {
		con->eof = false;
		if (con->ops->eof)
			con->ops->eof(con->opaque);
	}
}

static void enqueue(struct console *con, uint8_t byte)
{
	con->queue[(con->head + con->len) % QUEUE_BYTES] = byte;
	con->len++;
}

static void show_keys(struct console *con)
{
	const char *const lines[] = {
		"",
		con->words->help,
		"Ctrl-a h  show these keys",
		"Ctrl-a a  send Ctrl-a to the guest",
		"Ctrl-a and any other key sends both",
	};
	/* To where the person looks, and not into a file that only the output goes to. */
	bool to_output = !isatty(con->log->fd) && isatty(con->out);

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		if (to_output) {
			stream_write(con->stream, lines[i], strlen(lines[i]));
			stream_write(con->stream, "\r\n", 2);
		} else {
			log_plain(con->log, "%s", lines[i]);
		}
	}
}

static void leave(struct console *con)
{
	if (con->quit)
		con->quit(con->quit_opaque);
}

static void key_after_escape(struct console *con, uint8_t key)
{
	if ((key | 0x20) == con->words->leave) {
		leave(con);
		return;
	}
	switch (key) {
	case 'x':
	case 'X':
		leave(con);
		break;
	case 'h':
	case 'H':
	case '?':
		show_keys(con);
		break;
	case 'a':
	case 'A':
		enqueue(con, CTRL_A);
		break;
	default:
		enqueue(con, CTRL_A);
		enqueue(con, key);
		break;
	}
}

static size_t on_room(void *opaque)
{
	struct console *con = opaque;

	if (!con->queue)
		return consumer_room(con);
	/* One less than there is: a read may begin with the key after a Ctrl-a, and add both. */
	if (!con->raw || con->len + 1 >= QUEUE_BYTES)
		return 0;
	return QUEUE_BYTES - con->len - 1;
}

static void on_input(void *opaque, const uint8_t *buf, size_t len)
{
	struct console *con = opaque;

	if (!con->queue) {
		con->ops->input(con->opaque, buf, len);
		return;
	}
	for (size_t i = 0; i < len; i++) {
		if (con->escape) {
			con->escape = false;
			key_after_escape(con, buf[i]);
		} else if (buf[i] == CTRL_A) {
			con->escape = true;
		} else {
			enqueue(con, buf[i]);
		}
	}
	pump(con);
}

static void on_eof(void *opaque)
{
	struct console *con = opaque;

	if (con->queue) {
		con->eof = true;
		pump(con);
	} else if (con->ops->eof) {
		con->ops->eof(con->opaque);
	}
}

static void on_drained(void *opaque)
{
	struct console *con = opaque;

	if (con->ops->drained)
		con->ops->drained(con->opaque);
}

static const struct stream_ops console_stream_ops = {
	.room = on_room,
	.input = on_input,
	.eof = on_eof,
	.drained = on_drained,
};

/* A consumer without input is never read for; a terminal still is, for its escape keys. */
static const struct stream_ops output_stream_ops = {
	.drained = on_drained,
};

static int start_terminal(struct console *con, struct error *err)
{
	if (process_tty_background(con->in)) {
		loop_timer_arm(&con->foreground, now_ns() + FOREGROUND_RETRY_NS);
		return 0;
	}
	if (process_tty_raw(con->in, err))
		return -1;
	con->raw = true;
	if (isatty(con->log->fd))
		atomic_store(&con->log->crlf, true);
	log_plain(con->log, "%s", con->words->hint);
	stream_want_input(con->stream);
	return 0;
}

static void look_for_foreground(void *opaque)
{
	struct console *con = opaque;
	struct error err;

	if (start_terminal(con, &err))
		log_warning(con->log, "no input from the terminal: %s", err.msg);
}

struct console *console_create(struct loop *loop, struct log *log, int in, int out,
			       const struct stream_ops *ops, void *opaque,
			       const struct console_words *words, loop_fn quit, void *quit_opaque,
			       struct error *err)
{
	struct console *con = calloc(1, sizeof(*con));
	const struct stream_ops *own = &console_stream_ops;
	bool terminal = in >= 0 && isatty(in);

	if (!con) {
		fail(err, "no memory for a console");
		return NULL;
	}
	con->loop = loop;
	con->log = log;
	con->ops = ops;
	con->opaque = opaque;
	con->words = words ? words : &vm_words;
	con->quit = quit;
	con->quit_opaque = quit_opaque;
	con->in = in;
	con->out = out;
	atomic_init(&con->starved, false);
	loop_work_init(&con->pump_work, pump, con);
	loop_timer_init(&con->foreground, loop, look_for_foreground, con);
	if (terminal) {
		con->queue = malloc(QUEUE_BYTES);
		if (!con->queue) {
			fail(err, "no memory for a console");
			free(con);
			return NULL;
		}
	} else if (!ops->input) {
		own = &output_stream_ops;
	}
	con->stream = stream_create(loop, log, in, out, own, con, err);
	if (!con->stream || (terminal && start_terminal(con, err))) {
		console_destroy(con);
		return NULL;
	}
	return con;
}

void console_destroy(struct console *con)
{
	if (!con)
		return;
	loop_timer_cancel(&con->foreground);
	loop_unpost(con->loop, &con->pump_work);
	stream_destroy(con->stream);
	if (con->raw) {
		process_tty_restore();
		atomic_store(&con->log->crlf, false);
	}
	free(con->queue);
	free(con);
}

bool console_size(const struct console *con, uint16_t *cols, uint16_t *rows)
{
	struct winsize size;

	if ((con->out < 0 || ioctl(con->out, TIOCGWINSZ, &size)) &&
	    (con->in < 0 || ioctl(con->in, TIOCGWINSZ, &size)))
		return false;
	*cols = size.ws_col;
	*rows = size.ws_row;
	return size.ws_col && size.ws_row;
}

size_t console_write(struct console *con, const void *buf, size_t len)
{
	return stream_write(con->stream, buf, len);
}

void console_want_input(struct console *con)
{
	if (!con->queue)
		stream_want_input(con->stream);
	else if (atomic_exchange(&con->starved, false))
		loop_post(con->loop, &con->pump_work);
}

bool console_flush(struct console *con, int timeout_ms)
{
	return stream_flush(con->stream, timeout_ms);
}

size_t console_waiting(struct console *con)
{
	return stream_waiting(con->stream);
}
