// SPDX-License-Identifier: GPL-2.0-only
/*
 * The table of subcommands, which main(), help and completion share.
 */
#include "cmd.h"

#include <string.h>

const struct command commands[] = {
	{"run", "start a virtual machine in the foreground", cmd_run, true, .make = run_table},
	{"caps", "show what this host offers to guests", cmd_caps, true, .table = &caps_table},
	{"list", "list the running VMs", cmd_list, true, .table = &list_table},
	{"info", "show a running VM's state", cmd_info, true, .table = &info_table},
	{"stat", "show a running VM's counters", cmd_stat, true, .table = &stat_table},
	{"events", "tell what happens to a running VM", cmd_events, true, .table = &events_table},
	{"pause", "stop a VM's vCPUs", cmd_pause, true, .table = &pause_table},
	{"resume", "let a paused VM go on, or wake a suspended guest", cmd_resume, true,
	 .table = &resume_table},
	{"stop", "have a VM's guest power off, or end it", cmd_stop, true, .table = &stop_table},
	{"reset", "restart a VM's guest", cmd_reset, true, .table = &reset_table},
	{"attach", "sit at a running VM's console", cmd_attach, true, .table = &attach_table},
	{"debug", "show the registers of all harts", cmd_debug, true, .table = &debug_table},
	{"dump", "write a VM's memory and registers for a debugger", cmd_dump, true,
	 .table = &dump_table},
	{"snapshot", "save a VM into a file, or look at one", cmd_snapshot, true,
	 .table = &snapshot_table},
	{"restore", "start a VM that goes on from a snapshot", cmd_restore, true,
	 .make = restore_table},
	{"balloon", "take memory from a running VM, or give it back", cmd_balloon, true,
	 .table = &balloon_table},
	{"link", "plug a running VM's network cable in or out", cmd_link, true,
	 .table = &link_table},
	{"resize", "change the size of a running VM's disk", cmd_resize, true,
	 .table = &resize_table},
	{"help", "explain a command", cmd_help, true, .table = &help_table},
	{"version", "print the version", cmd_version, true, .table = &version_table},
	{"complete", "what may follow, for shells", cmd_complete, false, .table = &complete_table},
	{.name = NULL},
};

int not_started(struct log *log, const struct error *err)
{
	log_fatal(log, "%s", err->msg);
	return STATUS_NOT_STARTED;
}

const struct command *command_find(const char *name)
{
	const struct command *c;

	for (c = commands; c->name; c++)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}

const char *command_near(const char *word)
{
	const char *names[ARRAY_SIZE(commands)];
	const struct command *c;
	size_t n = 0;

	for (c = commands; c->name; c++)
		if (c->common)
			names[n++] = c->name;
	names[n] = NULL;
	return nearest_name(word, names);
}

/* kvmtool's commands that there are not here, and what there is. */
static const struct {
	const char *name, *instead;
} foreign[] = {
	{"setup", "lkvm keeps no root file systems; \"lkvm run -- COMMAND\" uses the host's files"},
	{"sandbox", "\"lkvm run [options] -- COMMAND\" runs a command in a guest"},
};

int command_unknown(const char *word, struct error *err)
{
	const char *near = command_near(word);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(foreign); i++)
		if (!strcmp(foreign[i].name, word))
			return fail(err, "%s: %s", word, foreign[i].instead);
	if (near)
		return fail(err, "%s is neither a command nor a file; did you mean \"lkvm %s\"?",
			    word, near);
	return fail(err, "%s is neither a command nor a file; \"lkvm help\" lists the commands",
		    word);
}
