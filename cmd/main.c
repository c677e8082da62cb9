// SPDX-License-Identifier: GPL-2.0-only
/*
 * lkvm's main(): find the subcommand and call it. "lkvm FILE" means "lkvm run
 * FILE", as kvmtool has it.
 */
#include "cmd.h"

#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	const struct command *command;
	struct error err;
	struct log log;

	log_init(&log, STDERR_FILENO, LOG_LEVEL_WARNING);
	if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return cmd_help(&log, 0, NULL);
	if (!strcmp(argv[1], "--version"))
		return cmd_version(&log, 0, NULL);
	command = command_find(argv[1]);
	if (command)
		return command->run(&log, argc - 2, argv + 2);
	/* A bare option or file is a run without the word. */
	if (argv[1][0] == '-' || !access(argv[1], F_OK) || strchr(argv[1], '/'))
		return cmd_run(&log, argc - 1, argv + 1);
	command_unknown(argv[1], &err);
	return not_started(&log, &err);
}
