// SPDX-License-Identifier: GPL-2.0-only
/*
 * "lkvm stat": what a VM has counted: exits of its vCPUs, interrupts by source, queues of
 * its devices; with --exits KVM's own figures of the VM and each vCPU.
 */
#include "remote.h"

#include <string.h>

struct stat_options {
	struct remote remote;
	bool exits;
};

static const struct option_spec rows[] = {
	REMOTE_NAME,
	REMOTE_ALL,
	REMOTE_JSON,
	{.name = "exits",
	 .help = "with KVM's own figures",
	 .set = option_set_flag,
	 .offset = offsetof(struct stat_options, exits)},
	/* kvmtool's. */
	{"memory", 'm', NULL, "\"lkvm balloon NAME\" shows the guest's own figures of its memory",
	 NULL, .set = option_refuse, .hidden = true},
	{.name = NULL},
};

#define PATH_MAX_CHARS 256

/* One line a figure: its path, and its value; objects within objects are paths. */
static void print_figures(const char *path, json_t *object)
{
	char longer[PATH_MAX_CHARS];
	const char *key;
	json_t *value;

	json_object_foreach (object, key, value) {
		snprintf(longer, sizeof(longer), "%s%s%s", path, *path ? " " : "", key);
		/* As deep as a path has room for. */
		if (json_is_object(value) && strlen(longer) + 1 < sizeof(longer))
			print_figures(longer, value);
		else if (json_is_integer(value))
			printf("%-40s %lld\n", longer, (long long)json_integer_value(value));
	}
}

static int stat_one(struct remote *r, const char *name, const struct operands *ops,
		    struct error *err)
{
	const struct stat_options *o = (const struct stat_options *)r;
	json_t *result;

	(void)ops;
	if (control_ask(name, "stat", json_pack("{s:b}", "exits", (int)o->exits), &result, err))
		return -1;
	if (r->json) {
		remote_json(name, result);
		return 0;
	}
	if (r->all)
		printf("%s:\n", name);
	printf("%-40s %lld\n", "seconds",
	       (long long)json_integer_value(json_object_get(result, "seconds")));
	printf("%-40s %lld\n", "restarts",
	       (long long)json_integer_value(json_object_get(result, "restarts")));
	print_figures("", json_object_get(result, "figures"));
	print_figures("kvm", json_object_get(result, "kvm"));
	json_decref(result);
	return 0;
}

const struct option_table stat_table = {
	"stat", "[NAME]", "Show what a VM has counted: exits, interrupts, queues.", rows, false};

int cmd_stat(struct log *log, int argc, char **argv)
{
	struct stat_options o = {.exits = false};

	return remote_main(log, &stat_table, &o.remote, argc, argv, 0, stat_one);
}
