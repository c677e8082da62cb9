// SPDX-License-Identifier: GPL-2.0-only
/*
 * lkvm's main(): find the subcommand and call it. "lkvm FILE" means "lkvm run
 * FILE", as kvmtool has it.
 */
#include "cmd.h"

#include <string.h>
#include <unistd.h>

const struct command commands[] = {
	{"run", "start a virtual machine in the foreground", cmd_run, true},
	{"caps", "show what this host offers to guests", cmd_caps, true},
	{"list", "list the running VMs", cmd_list, true},
	{"info", "show a running VM's state", cmd_info, true},
	{"stat", "show a running VM's counters", cmd_stat, true},
	{"events", "tell what happens to a running VM", cmd_events, true},
	{"pause", "stop a VM's vCPUs", cmd_pause, true},
	{"resume", "let a paused VM go on, or wake a suspended guest", cmd_resume, true},
	{"stop", "have a VM's guest power off, or end it", cmd_stop, true},
	{"reset", "restart a VM's guest", cmd_reset, true},
	{"debug", "show the registers of all harts", cmd_debug, true},
	{"dump", "write a VM's memory and registers for a debugger", cmd_dump, true},
	{"snapshot", "save a VM into a file, or look at one", cmd_snapshot, true},
	{"restore", "start a VM that goes on from a snapshot", cmd_restore, true},
	{"balloon", "take memory from a running VM, or give it back", cmd_balloon, true},
	{"link", "plug a running VM's network cable in or out", cmd_link, true},
	{"resize", "change the size of a running VM's disk", cmd_resize, true},
	{"help", "explain a command", cmd_help, true},
	{"version", "print the version", cmd_version, true},
	{NULL, NULL, NULL, false},
};

int not_started(struct log *log, const struct error *err)
{
	log_fatal(log, "%s", err->msg);
	return STATUS_NOT_STARTED;
}

static const struct command *find(const char *name)
{
	const struct command *c;

	for (c = commands; c->name; c++)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}

static int unknown_command(struct log *log, const char *word)
{
	const char *names[32];
	const char *near;
	size_t n = 0;
	const struct command *c;
	struct error err;

	for (c = commands; c->name && n + 1 < ARRAY_SIZE(names); c++)
		names[n++] = c->name;
	names[n] = NULL;
	near = nearest_name(word, names);
	if (near)
		fail(&err, "%s is neither a command nor a file; did you mean \"lkvm %s\"?", word,
		     near);
	else
		fail(&err, "%s is neither a command nor a file; \"lkvm help\" lists the commands",
		     word);
	return not_started(log, &err);
}

int main(int argc, char **argv)
{
	const struct command *command;
	struct log log;

	log_init(&log, STDERR_FILENO, LOG_LEVEL_WARNING);
	if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return cmd_help(&log, 0, NULL);
	if (!strcmp(argv[1], "--version"))
		return cmd_version(&log, 0, NULL);
	command = find(argv[1]);
	if (command)
		return command->run(&log, argc - 2, argv + 2);
	/* A bare option or file is a run without the word. */
	if (argv[1][0] == '-' || !access(argv[1], F_OK) || strchr(argv[1], '/'))
		return cmd_run(&log, argc - 1, argv + 1);
	return unknown_command(&log, argv[1]);
}
