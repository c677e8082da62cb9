// SPDX-License-Identifier: GPL-2.0-only
/*
 * "lkvm resize": make the image of a running VM's disk larger or smaller, or have the
 * VM look how large somebody else made it. A device command (cmd/device.c); a disk
 * knows the words "resize" and "resize BYTES".
 */
#include "cmd.h"

#include <stdio.h>
#include <unistd.h>

struct resize_options {
	const char *name;
};

static const struct option_spec resize_rows[] = {
	{"name", 'n', "NAME", "the VM", NULL, .set = option_set_string,
	 .offset = offsetof(struct resize_options, name)},
	{.name = NULL},
};

static int resize(const struct resize_options *o, const struct operands *ops, struct error *err)
{
	const char *vm = o->name, *disk;
	char words[64] = "resize";
	uint64_t size;
	int i = 0;

	if (!vm && ops->argc)
		vm = ops->argv[i++];
	if (!vm || ops->argc - i < 1 || ops->argc - i > 2)
		return fail(err, "lkvm resize wants the name of one VM, a disk (disk0), and "
				 "perhaps a size");
	disk = ops->argv[i++];
	if (i < ops->argc) {
		if (parse_size(ops->argv[i], MIB, &size, err))
			return -1;
		snprintf(words, sizeof(words), "resize %llu", (unsigned long long)size);
	}
	return device_command(vm, disk, words, err);
}

int cmd_resize(struct log *log, int argc, char **argv)
{
	const struct option_table table = {
		"resize", "NAME DISK [SIZE]",
		"Give the image of a VM's disk (disk0, disk1, ...) this SIZE (MiB, or with\n"
		"K M G T), and tell the guest. Without SIZE: tell it how large the image is now.",
		resize_rows, false};
	struct resize_options o = {NULL};
	struct operands ops;
	struct error err;
	int ret = options_parse(&table, &o, argc, argv, &ops, &err);

	if (ret > 0) {
		options_help(&table, STDOUT_FILENO);
		operands_free(&ops);
		return 0;
	}
	if (!ret)
		ret = resize(&o, &ops, &err);
	operands_free(&ops);
	if (!ret)
		return 0;
	log_fatal(log, "%s", err.msg);
	return 1;
}
