// SPDX-License-Identifier: GPL-2.0-only
/*
 * "lkvm dump": a VM's memory and registers as an ELF core file that gdb opens. The file is
 * made beside its place and put there when it is whole.
 */
#include "remote.h"
#include "saving.h"

#include <string.h>

static const struct option_spec rows[] = {
	REMOTE_NAME,
	REMOTE_JSON,
	{.name = NULL},
};

static void print(const struct remote *r, const char *name, const char *path, json_t *result)
{
	json_int_t written = json_integer_value(json_object_get(result, "written"));
	json_int_t paused = json_integer_value(json_object_get(result, "paused"));
	char size[32];

	if (r->json) {
		remote_json(name, result);
		return;
	}
	printf("%s: %s written, the guest stood still for %lld ms\n", path,
	       format_size(size, sizeof(size), align_up((uint64_t)written, MIB)),
	       (long long)paused / 1000);
	json_decref(result);
}

static int dump_one(struct remote *r, const char *name, const struct operands *ops,
		    struct error *err)
{
	const char *path = ops->argv[r->next];
	struct saving saving;
	json_t *result;
	int ret;

	if (!path)
		return fail(err, "lkvm dump wants the name of a VM and a FILE");
	if (saving_begin(&saving, name, err))
		return -1;
	ret = saving_file(&saving, path, "dump", NULL, NULL, NULL, &result, err);
	if (!ret)
		print(r, name, path, result);
	saving_end(&saving);
	return ret;
}

const struct option_table dump_table = {
	"dump", "NAME FILE",
	"Write a VM's memory and registers into an ELF core file, for gdb. It goes on.", rows,
	false};

int cmd_dump(struct log *log, int argc, char **argv)
{
	struct remote r = {.name = NULL};

	return remote_main(log, &dump_table, &r, argc, argv, 1, dump_one);
}
