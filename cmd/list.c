// SPDX-License-Identifier: GPL-2.0-only
/*
 * "lkvm list": this user's running VMs. What killed VMs left behind is removed on the way.
 * A VM that does not answer is listed with its name and "?".
 */
#include "remote.h"

#include "lkvm/util.h"

#include <stdio.h>
#include <unistd.h>

struct list_options {
	bool json;
};

static int set_nothing(void *target, const struct option_spec *opt, const char *value, bool on,
		       struct error *err)
{
	(void)target;
	(void)opt;
	(void)value;
	(void)on;
	(void)err;
	return 0;
}

static const struct option_spec rows[] = {
	{.name = "json",
	 .help = "print JSON",
	 .set = option_set_flag,
	 .offset = offsetof(struct list_options, json)},
	/* kvmtool's. */
	{"run", 'i', NULL, "what is listed anyway", NULL, .set = set_nothing, .hidden = true},
	{"rootfs", 'r', NULL, "lkvm keeps no root file systems", NULL, .set = option_refuse,
	 .hidden = true},
	{.name = NULL},
};

/* All are asked before the first answer is waited for: one that hangs holds up only once. */
static json_t *ask_all(char **names, int nr)
{
	struct control_client **clients = calloc((size_t)nr + 1, sizeof(struct control_client *));
	json_t *all = json_array(), *one;
	uint64_t deadline = now_ns() + 2 * NSEC_PER_SEC, now;
	int i;

	for (i = 0; clients && i < nr; i++) {
		clients[i] = control_connect(names[i], NULL);
		if (clients[i] && control_send(clients[i], "status", NULL, -1, NULL)) {
			control_hang_up(clients[i]);
			clients[i] = NULL;
		}
	}
	for (i = 0; clients && i < nr; i++) {
		now = now_ns();
		one = NULL;
		if (!clients[i] ||
		    control_result(clients[i],
				   now < deadline ? (int)((deadline - now) / NSEC_PER_MSEC) : 0,
				   &one, NULL))
			one = json_pack("{s:s, s:n}", "name", names[i], "state");
		json_array_append_new(all, one);
		control_hang_up(clients[i]);
	}
	free(clients);
	return all;
}

static void print_text(const json_t *all)
{
	const json_t *one;
	const char *text;
	char size[32];
	size_t i;

	printf("%-20s %-10s %8s %5s %8s %8s\n", "NAME", "STATE", "PID", "VCPUS", "MEMORY",
	       "SECONDS");
	json_array_foreach (all, i, one) {
		text = json_string_value(json_object_get(one, "state"));
		printf("%-20s %-10s", json_string_value(json_object_get(one, "name")),
		       text ? text : "?");
		if (text)
			printf(" %8lld %5lld %8s %8lld",
			       (long long)json_integer_value(json_object_get(one, "pid")),
			       (long long)json_integer_value(json_object_get(one, "vcpus")),
			       format_size(size, sizeof(size),
					   (uint64_t)json_integer_value(
						   json_object_get(one, "memory"))),
			       (long long)json_integer_value(json_object_get(one, "seconds")));
		putchar('\n');
	}
}

static int list(const struct list_options *o, struct error *err)
{
	char **names;
	int nr = control_names(&names, err);
	json_t *all;

	if (nr < 0) {
		control_names_free(names);
		return -1;
	}
	all = ask_all(names, nr);
	if (o->json) {
		json_dumpf(all, stdout, JSON_COMPACT);
		putchar('\n');
	} else if (nr) {
		print_text(all);
	}
	json_decref(all);
	control_names_free(names);
	return 0;
}

const struct option_table list_table = {"list", NULL, "List your running VMs.", rows, false};

int cmd_list(struct log *log, int argc, char **argv)
{
	struct list_options o = {false};
	struct operands ops;
	struct error err;
	int ret = options_parse(&list_table, &o, argc, argv, &ops, &err);

	if (ret > 0)
		options_help(&list_table, STDOUT_FILENO);
	else if (!ret)
		ret = list(&o, &err);
	operands_free(&ops);
	if (ret >= 0)
		return 0;
	log_fatal(log, "%s", err.msg);
	return 1;
}
