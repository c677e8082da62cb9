/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Attaching a terminal to a running VM's console: the VM's side, which is commands of its
 * control socket, and the terminal's.
 *
 * Whoever attaches makes a pair of connected stream sockets and sends one of them along
 * with the command "attach". What goes over the other is the console itself, byte for
 * byte, both ways; closing it is leaving. The VM's own standard input and output go on as
 * they were: all hear all, and what is typed anywhere is typed.
 *
 * Nobody who is attached holds up the guest: who does not read loses what is said
 * meanwhile, and is told how much. (Standard output is waited for, as it is without them.)
 */
#ifndef LKVM_ATTACH_H
#define LKVM_ATTACH_H

#include "lkvm/control.h"
#include "lkvm/log.h"

/* Terminals that one VM's console has besides its own. */
#define WATCHERS_MAX 8

/* "attach" and "window": Documentation/lkvm-protocol.7. */
extern const struct control_command attach_commands[];

/**
 * struct attach_options - how
 * @read_only: look, type nothing
 * @recent: begin with what was said last
 * @in, @out: the terminal, or whatever there is
 * @signal_fd: process_signal_fd(), or -1
 */
struct attach_options {
	bool read_only, recent;
	int in, out, signal_fd;
};

enum attach_end {
	ATTACH_FAILED = -1,
	ATTACH_LEFT,  /* by the user's keys */
	ATTACH_ENDED, /* the VM has ended */
	ATTACH_SIGNAL,
};

/**
 * attach_run() - sit at the console of the VM @name until either leaves
 * @sig: out: which signal it was
 *
 * A terminal is raw meanwhile and as it was afterwards (process.h). Its keys are those of
 * lkvm/console.h; "Ctrl-a d" and "Ctrl-a x" leave.
 *
 * Return: how it ended; ATTACH_FAILED with @err set.
 */
enum attach_end attach_run(const char *name, const struct attach_options *o, struct log *log,
			   int *sig, struct error *err);

#endif /* LKVM_ATTACH_H */
