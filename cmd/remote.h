/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the commands to running VMs have in common: which VMs are meant (NAME, -n NAME or
 * -a), --json, and the way through all of them.
 *
 * A command's options are a struct whose first member is struct remote, and its rows
 * begin with REMOTE_NAME, REMOTE_ALL and, where it prints more than a word, REMOTE_JSON.
 */
#ifndef CMD_REMOTE_H
#define CMD_REMOTE_H

#include "cmd.h"
#include "lkvm/control_client.h"

#include <stdio.h>

/**
 * struct remote - which VMs, and how to print
 * @names: of them; freed by remote_free()
 * @nr: how many
 * @next: the first operand that is not a VM's name
 */
struct remote {
	const char *name;
	bool all, json;

	char **names;
	int nr, next;
};

#define REMOTE_NAME                                                                                \
	{                                                                                          \
		"name", 'n', "NAME", "the VM", NULL, .set = option_set_string,                     \
						     .offset = offsetof(struct remote, name)       \
	}
#define REMOTE_ALL                                                                                 \
	{                                                                                          \
		"all", 'a', NULL, "all VMs that run", NULL, .set = option_set_flag,                \
							    .offset = offsetof(struct remote, all) \
	}
#define REMOTE_JSON                                                                                \
	{                                                                                          \
		.name = "json", .help = "print JSON", .set = option_set_flag,                      \
		.offset = offsetof(struct remote, json)                                            \
	}

/**
 * remote_fn - do it to the VM @name
 *
 * Return: 0, or -1 with @err set.
 */
typedef int (*remote_fn)(struct remote *r, const char *name, const struct operands *ops,
			 struct error *err);

/**
 * remote_parse() - options_parse(), and find out which VMs are meant
 * @max: operands besides a NAME, at most
 *
 * Return: 0; 1: help was printed; -1 with @err set.
 */
int remote_parse(const struct option_table *table, struct remote *r, int argc, char **argv,
		 struct operands *ops, int max, struct error *err);
void remote_free(struct remote *r, struct operands *ops);

/**
 * remote_main() - all of a command that does one thing to each VM
 *
 * What one VM refuses does not keep it from the others.
 *
 * Return: the exit status: 0, or 1 where it failed for a VM.
 */
int remote_main(struct log *log, const struct option_table *table, struct remote *r, int argc,
		char **argv, int max, remote_fn fn);

/**
 * remote_text() - print a line about a VM; its name in front where there are several
 */
void remote_text(const struct remote *r, const char *name, const char *fmt, ...) __printf(3, 4);

/**
 * remote_json() - print an answer as one line of JSON, "name" in front; takes it over
 */
void remote_json(const char *name, json_t *result);

#endif /* CMD_REMOTE_H */
