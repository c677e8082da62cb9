// SPDX-License-Identifier: GPL-2.0-only
/*
 * "lkvm debug": the registers of all harts by name. The VM stands still while they are
 * read.
 */
#include "remote.h"

#include <string.h>

static const struct option_spec rows[] = {
	REMOTE_NAME,
	REMOTE_ALL,
	REMOTE_JSON,
	/* kvmtool's. */
	{"nmi", 'm', "N", "RISC-V guests have no NMI", NULL, .set = option_refuse, .hidden = true},
	{"sysrq", 's', "KEY", "a guest's SysRq is reached by its own console", NULL,
	 .set = option_refuse, .hidden = true},
	{.name = NULL},
};

#define LINE_COLUMNS 80

static void print_hart(json_t *hart)
{
	const char *key, *text;
	int column = 0, width;
	json_t *value;

	text = json_string_value(json_object_get(hart, "state"));
	printf("hart %lld, %s\n", (long long)json_integer_value(json_object_get(hart, "hart")),
	       text ? text : "?");
	json_object_foreach (json_object_get(hart, "registers"), key, value) {
		text = json_string_value(value);
		if (!text)
			continue;
		width = (int)(strlen(key) + 1 + strlen(text));
		/* In columns where they fit, else a line each. */
		if (column && column + 2 + (width > 29 ? width : 29) > LINE_COLUMNS)
			column = (putchar('\n'), 0);
		column += printf("%s%-10s %-18s", column ? "  " : "  ", key, text);
	}
	putchar('\n');
}

static int debug_one(struct remote *r, const char *name, const struct operands *ops,
		     struct error *err)
{
	json_t *result, *hart;
	size_t i;

	(void)ops;
	if (control_ask(name, "debug", NULL, &result, err))
		return -1;
	if (r->json) {
		remote_json(name, result);
		return 0;
	}
	if (r->all)
		printf("%s:\n", name);
	json_array_foreach (json_object_get(result, "harts"), i, hart) {
		print_hart(hart);
	}
	json_decref(result);
	return 0;
}

const struct option_table debug_table = {"debug", "[NAME]",
					 "Show the registers of all harts of a VM.", rows, false};

int cmd_debug(struct log *log, int argc, char **argv)
{
	struct remote r = {.name = NULL};

	return remote_main(log, &debug_table, &r, argc, argv, 0, debug_one);
}
