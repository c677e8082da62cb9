// SPDX-License-Identifier: GPL-2.0-only
/*
 * "lkvm help [COMMAND]" and "lkvm version".
 */
#include "cmd.h"

#include <stdio.h>
#include <string.h>

int cmd_help(struct log *log, int argc, char **argv)
{
	static char help_word[] = "--help";
	char *words[] = {help_word};
	const struct command *c;
	struct error err;

	if (argc > 0) {
		for (c = commands; c->name; c++)
			if (!strcmp(c->name, argv[0]) && c->run != cmd_help)
				return c->run(log, 1, words);
		if (strcmp(argv[0], "help") && strcmp(argv[0], "--help")) {
			fail(&err, "there is no command %s; \"lkvm help\" lists them", argv[0]);
			return not_started(log, &err);
		}
	}
	printf("lkvm - light virtual machines on RISC-V KVM\n\n"
	       "usage: lkvm COMMAND [options]\n"
	       "       lkvm KERNEL [options]        the same as: lkvm run -k KERNEL [options]\n\n"
	       "The most commonly used commands are:\n");
	for (c = commands; c->name; c++)
		if (c->common)
			printf("  %-10s %s\n", c->name, c->summary);
	printf("\n\"lkvm help COMMAND\" explains one and lists its options.\n");
	return 0;
}

int cmd_version(struct log *log, int argc, char **argv)
{
	(void)log;
	(void)argc;
	(void)argv;
	printf("lkvm %s\n", LKVM_VERSION);
	return 0;
}
