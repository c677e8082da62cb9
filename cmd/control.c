// SPDX-License-Identifier: GPL-2.0-only
/*
 * "lkvm info", "lkvm pause", "lkvm resume", "lkvm stop": one word each to a running VM's
 * control socket. The VM is named by an operand or by -n/--name, as in kvmtool.
 */
#include "lkvm/control.h"
#include "cmd.h"

#include <stdio.h>
#include <unistd.h>

struct control_options {
	const char *name;
};

static const struct option_spec rows[] = {
	{"name", 'n', "NAME", "the VM", NULL, .set = option_set_string,
	 .offset = offsetof(struct control_options, name)},
	{.name = NULL},
};

static int request(struct log *log, const char *word, const char *summary, int argc, char **argv)
{
	const struct option_table table = {word, "NAME", summary, rows, false};
	struct control_options o = {NULL};
	struct operands ops;
	struct error err;
	char text[65536];
	int ret;

	ret = options_parse(&table, &o, argc, argv, &ops, &err);
	if (ret > 0) {
		options_help(&table, STDOUT_FILENO);
		operands_free(&ops);
		return 0;
	}
	if (!ret && ops.argc == 1 && !o.name)
		o.name = ops.argv[0];
	else if (!ret && (ops.argc || !o.name))
		ret = fail(&err, "lkvm %s wants the name of one VM", word);
	if (!ret)
		ret = control_request(o.name, word, text, sizeof(text), &err);
	operands_free(&ops);
	if (ret) {
		log_fatal(log, "%s", err.msg);
		return 1;
	}
	fputs(text, stdout);
	return 0;
}

int cmd_pause(struct log *log, int argc, char **argv)
{
	return request(log, "pause", "Stop a VM's vCPUs until resume.", argc, argv);
}

int cmd_resume(struct log *log, int argc, char **argv)
{
	return request(log, "resume",
		       "Let a paused VM go on, or wake a guest that suspended to RAM.", argc, argv);
}

int cmd_info(struct log *log, int argc, char **argv)
{
	return request(log, "info", "Show a VM's state, layout and interrupts.", argc, argv);
}

int cmd_stop(struct log *log, int argc, char **argv)
{
	return request(log, "stop", "End a VM at once.", argc, argv);
}
