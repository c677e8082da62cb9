// SPDX-License-Identifier: GPL-2.0-only
/*
 * "lkvm link": plug a network device's cable in or out, or show how it is. A device
 * command (cmd/device.c); the device knows the words "link", "link up", "link down".
 */
#include "cmd.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct link_options {
	const char *name;
};

static const struct option_spec link_rows[] = {
	{"name", 'n', "NAME", "the VM", NULL, .set = option_set_string,
	 .offset = offsetof(struct link_options, name)},
	{.name = NULL},
};

static int link_device(const struct link_options *o, const struct operands *ops, struct error *err)
{
	const char *vm = o->name, *device = "net0", *state = "";
	char words[16];
	int i = 0;

	if (!vm && ops->argc)
		vm = ops->argv[i++];
	/* The device's name may be left out. */
	if (i < ops->argc && strcmp(ops->argv[i], "up") && strcmp(ops->argv[i], "down"))
		device = ops->argv[i++];
	if (i < ops->argc)
		state = ops->argv[i++];
	if (!vm || i < ops->argc || (*state && strcmp(state, "up") && strcmp(state, "down")))
		return fail(err, "lkvm link wants the name of one VM, a device (net0), and up or "
				 "down");
	snprintf(words, sizeof(words), "link%s%s", *state ? " " : "", state);
	return device_command(vm, device, words, err);
}

int cmd_link(struct log *log, int argc, char **argv)
{
	const struct option_table table = {
		"link", "NAME [DEVICE] [up|down]",
		"Plug the cable of a VM's network device (net0) in or out. Without up or down:\n"
		"show how it is.",
		link_rows, false};
	struct link_options o = {NULL};
	struct operands ops;
	struct error err;
	int ret = options_parse(&table, &o, argc, argv, &ops, &err);

	if (ret > 0) {
		options_help(&table, STDOUT_FILENO);
		operands_free(&ops);
		return 0;
	}
	if (!ret)
		ret = link_device(&o, &ops, &err);
	operands_free(&ops);
	if (!ret)
		return 0;
	log_fatal(log, "%s", err.msg);
	return 1;
}
