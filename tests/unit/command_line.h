/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Command lines as people type them, on a scripted host: what is said, and what would be started.
 */
#ifndef LKVM_TESTS_COMMAND_LINE_H
#define LKVM_TESTS_COMMAND_LINE_H

#include "fake_kvm.h"
#include "lkvm/config.h"

/**
 * struct command_line - one command line
 * @host: what "run" and the like meet
 * @message: what was said to the user, of any level, without the newline at the end
 * @plan: what "run" would start, in words (command_line_plan()); "" if nothing
 */
struct command_line {
	struct fake_host *host;
	char message[2048], plan[2048];
};

/**
 * command_line_try() - carry out @line up to the point at which a guest would be started
 * @line: without "lkvm"; words are parted by blanks, 'quotes' keep them together
 *
 * "run" is parsed, and, where @build, its VM made and thrown away. Other commands are
 * carried out whole; the standard output is left alone.
 *
 * Return: the exit status; 0 where a guest would have been started.
 */
int command_line_try(struct command_line *c, const char *line, bool build);

#endif /* LKVM_TESTS_COMMAND_LINE_H */
