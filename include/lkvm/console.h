/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The console a person sits at: a stream with the escape keys of an interactive
 * session in front of it.
 *
 * Where the input is a terminal it goes raw (process.h keeps what it was) and
 * Ctrl-a is taken out of the input: "Ctrl-a x" asks to end the VM, "Ctrl-a h"
 * prints the keys, "Ctrl-a a" sends one Ctrl-a; another key after Ctrl-a sends
 * both. The keys are said once on standard error when a tty starts. Input that
 * is not a terminal passes unchanged.
 *
 * A terminal is read even while the consumer has no room (up to STREAM_BUFFER
 * bytes), so that "Ctrl-a x" also ends a VM that no longer listens. One that
 * belongs to another job is left alone until it is ours.
 */
#ifndef LKVM_CONSOLE_H
#define LKVM_CONSOLE_H

#include "lkvm/stream.h"

struct console;

/**
 * struct console_words - what the escape keys are called where the console is not a VM's own
 * @leave: a key that does the same as x: a letter
 * @hint: said once when a terminal starts
 * @help: the line of "Ctrl-a h" about it
 */
struct console_words {
	char leave;
	const char *hint, *help;
};

/**
 * console_create() - a console on two descriptors
 * @words: NULL: a VM's own
 * @quit: called on the loop's thread for "Ctrl-a x"
 *
 * @ops, @opaque as for stream_create(). Puts a terminal into raw mode by
 * process_tty_raw() and, where @log's descriptor is a terminal, sets log->crlf.
 * Loop thread, or before loop_run().
 *
 * Return: the console, or NULL with @err set.
 */
struct console *console_create(struct loop *loop, struct log *log, int in, int out,
			       const struct stream_ops *ops, void *opaque,
			       const struct console_words *words, loop_fn quit, void *quit_opaque,
			       struct error *err);

/**
 * console_destroy() - as stream_destroy(); restores the terminal and log->crlf
 */
void console_destroy(struct console *con);

/**
 * console_size() - the window of the terminal it is, output first (any thread)
 *
 * Return: false where it is no terminal, or one that does not know.
 */
bool console_size(const struct console *con, uint16_t *cols, uint16_t *rows);

/* As the stream functions of the same name. */
size_t console_write(struct console *con, const void *buf, size_t len);
void console_want_input(struct console *con);
bool console_flush(struct console *con, int timeout_ms);
size_t console_waiting(struct console *con);

#endif /* LKVM_CONSOLE_H */
