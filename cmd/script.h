/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * "lkvm run" with a script (lkvm/script.h) or a log of the console: options, and what the
 * script's end means for the exit status.
 */
#ifndef CMD_SCRIPT_H
#define CMD_SCRIPT_H

#include "lkvm/console_log.h"
#include "lkvm/options.h"
#include "lkvm/script.h"

/**
 * struct script_options - as asked for, and under way
 * @after: what follows the last step: index of after_words
 * @says_after, @says_timeout: it was asked for
 */
struct script_options {
	struct script script;
	unsigned int after;
	bool says_after, says_timeout;
	const char *log_path;
	struct console_log console_log;
	struct script_run run;
};

enum { AFTER_STOP, AFTER_CONTINUE };
extern const char *const after_words[];

/* Setters; each row's offset is that of the struct script_options in the target. */
int script_set_expect(void *target, const struct option_spec *opt, const char *value, bool on,
		      struct error *err);
int script_set_send(void *target, const struct option_spec *opt, const char *value, bool on,
		    struct error *err);
int script_set_timeout(void *target, const struct option_spec *opt, const char *value, bool on,
		       struct error *err);
int script_set_file(void *target, const struct option_spec *opt, const char *value, bool on,
		    struct error *err);
int script_set_after(void *target, const struct option_spec *opt, const char *value, bool on,
		     struct error *err);
int script_set_log(void *target, const struct option_spec *opt, const char *value, bool on,
		   struct error *err);

#define SCRIPT_ROW(option, argument, text, heading, setter, field)                                 \
	{                                                                                          \
		.name = (option), .arg = (argument), .help = (text), .group = (heading),           \
		.set = (setter), .offset = (field), .many = true                                   \
	}

/* Rows of a table whose target has its struct script_options at @at. */
#define SCRIPT_ROWS(at)                                                                            \
	SCRIPT_ROW("expect", "TEXT", "a step: wait until the console says this (no pattern)",      \
		   "Scripted boot", script_set_expect, at),                                        \
		SCRIPT_ROW("send", "TEXT",                                                         \
			   "a step: type this and Enter (ending in \\c: no Enter)", NULL,          \
			   script_set_send, at),                                                   \
		SCRIPT_ROW("step-timeout", "SECONDS",                                              \
			   "how long each later step may take; 0: for ever (120)", NULL,           \
			   script_set_timeout, at),                                                \
		SCRIPT_ROW("script", "FILE", "steps from a file: expect, send, timeout lines",     \
			   NULL, script_set_file, at),                                             \
		SCRIPT_ROW("after-script", "WHAT",                                                 \
			   "when all steps are done: stop, continue (stop)", NULL,                 \
			   script_set_after, at),                                                  \
		SCRIPT_ROW("console-log", "FILE", "write all that the console says to a file",     \
			   NULL, script_set_log, at)

/**
 * script_settle() - check what was asked for, and let @vm have its part of it
 * @command: there is a command after "--"
 */
int script_settle(struct script_options *o, struct vm_config *vm, bool command, struct error *err);

/**
 * script_goes_on() - is there a script, behind which the VM goes on?
 */
bool script_goes_on(const struct script_options *o);

/**
 * script_begin() - @vm exists and does not run yet
 */
int script_begin(struct script_options *o, struct vm *vm, struct error *err);

/**
 * script_verdict() - after vm_close(): the exit status, and a line for whoever has to know why
 * @status: what it would be without a script
 */
int script_verdict(const struct script_options *o, enum vm_verdict verdict, int status,
		   struct log *log);

void script_options_free(struct script_options *o);

#endif /* CMD_SCRIPT_H */
