// SPDX-License-Identifier: GPL-2.0-only
/*
 * Commands that go to one device of a running VM: "lkvm balloon". Each becomes the
 * control word "device" with the device's name and its own words; the device says
 * what they mean (include/lkvm/virtio/device.h, command).
 */
#include "cmd.h"
#include "lkvm/control.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int device_command(const char *vm, const char *device, const char *words, struct error *err)
{
	char request[512], text[2048];

	if (snprintf(request, sizeof(request), "device %s %s", device, words) >=
	    (int)sizeof(request))
		return fail(err, "that is too long a command");
	if (control_request(vm, request, text, sizeof(text), err))
		return -1;
	fputs(text, stdout);
	return 0;
}

struct balloon_options {
	const char *name;
};

static const struct option_spec balloon_rows[] = {
	{"name", 'n', "NAME", "the VM", NULL, .set = option_set_string,
	 .offset = offsetof(struct balloon_options, name)},
	{.name = NULL},
};

static int balloon(const struct balloon_options *o, const struct operands *ops, struct error *err)
{
	const char *vm = o->name, *text = NULL;
	char words[64] = "show";
	uint64_t size;
	int i = 0;

	if (!vm && ops->argc)
		vm = ops->argv[i++];
	if (i < ops->argc)
		text = ops->argv[i++];
	if (!vm || i < ops->argc)
		return fail(err, "lkvm balloon wants the name of one VM and at most one size");
	if (text) {
		if (parse_size(text, MIB, &size, err))
			return -1;
		snprintf(words, sizeof(words), "target %llu", (unsigned long long)size);
	}
	return device_command(vm, "balloon0", words, err);
}

int cmd_balloon(struct log *log, int argc, char **argv)
{
	const struct option_table table = {
		"balloon", "NAME [SIZE]",
		"Take SIZE of memory (MiB, or with K M G T) from a VM that has a balloon;\n"
		"0 gives all of it back. Without SIZE: show what it holds, and the guest's\n"
		"own figures.",
		balloon_rows, false};
	struct balloon_options o = {NULL};
	struct operands ops;
	struct error err;
	int ret = options_parse(&table, &o, argc, argv, &ops, &err);

	if (ret > 0) {
		options_help(&table, STDOUT_FILENO);
		operands_free(&ops);
		return 0;
	}
	if (!ret)
		ret = balloon(&o, &ops, &err);
	operands_free(&ops);
	if (!ret)
		return 0;
	log_fatal(log, "%s", err.msg);
	return 1;
}
