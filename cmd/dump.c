// SPDX-License-Identifier: GPL-2.0-only
/*
 * "lkvm dump": a VM's memory and registers as an ELF core file that gdb opens. The file is
 * made beside its place and put there when it is whole.
 */
#include "lkvm/snapshot/io.h"
#include "remote.h"

#include <string.h>

static const struct option_spec rows[] = {
	REMOTE_NAME,
	REMOTE_JSON,
	{.name = NULL},
};

/* Have the VM write. Return: its answer, or NULL with @err set. */
static json_t *have_written(const char *name, int fd, struct error *err)
{
	struct control_client *c = control_connect(name, err);
	json_t *result = NULL;

	if (!c)
		return NULL;
	/* It takes as long as the disk does. */
	if (control_send(c, "dump", NULL, fd, err) || control_result(c, -1, &result, err))
		result = NULL;
	control_hang_up(c);
	return result;
}

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
	const struct snapshot_io io = {.ops = &snapshot_io_linux};
	const char *path = ops->argv[r->next];
	struct snapshot_target t;
	json_t *result;

	if (!path)
		return fail(err, "lkvm dump wants the name of a VM and a FILE");
	if (snapshot_target_open(&t, io, path, err))
		return -1;
	result = have_written(name, t.fd, err);
	if (!result) {
		snapshot_target_abort(&t);
		return -1;
	}
	if (snapshot_target_commit(&t, err)) {
		json_decref(result);
		return -1;
	}
	print(r, name, path, result);
	return 0;
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
