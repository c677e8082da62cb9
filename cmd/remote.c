// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the commands to running VMs have in common (remote.h).
 */
#include "remote.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int one_name(struct remote *r, const char *name, struct error *err)
{
	r->names = calloc(2, sizeof(*r->names));
	if (r->names)
		r->names[0] = strdup(name);
	if (!r->names || !r->names[0])
		return fail(err, "no memory");
	r->nr = 1;
	return 0;
}

static bool takes_all(const struct option_table *table)
{
	const struct option_spec *row;

	for (row = table->rows; row->name; row++)
		if (row->letter == 'a')
			return true;
	return false;
}

static int choose(const struct option_table *table, struct remote *r, const struct operands *ops,
		  int max, struct error *err)
{
	if (ops->nr_rest)
		return fail(err, "lkvm %s takes nothing behind \"--\"", table->command);
	if (r->all && r->name)
		return fail(err, "-a and -n %s: all VMs, or one of them", r->name);
	if (!r->all && !r->name && ops->argc)
		r->name = ops->argv[r->next++];
	if (!r->all && !r->name)
		return fail(err, "lkvm %s wants the name of a VM%s (\"lkvm list\" shows them)",
			    table->command, takes_all(table) ? ", or -a for all" : "");
	if (r->all && !max && ops->argc)
		return fail(err, "-a and %s: all VMs, or one of them", ops->argv[0]);
	if (!max && ops->argc > r->next)
		return fail(err, "%s and %s: lkvm %s takes one VM%s", r->name, ops->argv[r->next],
			    table->command, takes_all(table) ? ", or -a for all" : "");
	if (ops->argc - r->next > max)
		return fail(err, "lkvm %s takes no operand %s", table->command,
			    ops->argv[r->next + max]);
	if (!r->all)
		return one_name(r, r->name, err);
	r->nr = control_names(&r->names, err);
	return r->nr < 0 ? -1 : 0;
}

int remote_parse(const struct option_table *table, struct remote *r, int argc, char **argv,
		 struct operands *ops, int max, struct error *err)
{
	int ret = options_parse(table, r, argc, argv, ops, err);

	if (ret > 0)
		options_help(table, STDOUT_FILENO);
	return ret ? ret : choose(table, r, ops, max, err);
}

void remote_free(struct remote *r, struct operands *ops)
{
	control_names_free(r->names);
	r->names = NULL;
	operands_free(ops);
}

int remote_main(struct log *log, const struct option_table *table, struct remote *r, int argc,
		char **argv, int max, remote_fn fn)
{
	struct operands ops;
	struct error err;
	int ret = remote_parse(table, r, argc, argv, &ops, max, &err), i, status = 0;

	if (ret < 0) {
		log_fatal(log, "%s", err.msg);
		status = 1;
	}
	for (i = 0; !ret && i < r->nr; i++)
		if (fn(r, r->names[i], &ops, &err)) {
			log_fatal(log, "%s", err.msg);
			status = 1;
		}
	remote_free(r, &ops);
	return status;
}

void remote_text(const struct remote *r, const char *name, const char *fmt, ...)
{
	va_list ap;

	if (r->all)
		printf("%s: ", name);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

void remote_json(const char *name, json_t *result)
{
	json_t *all = json_pack("{s:s}", "name", name);

	json_object_update_missing(all, result);
	json_dumpf(all, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(all);
	json_decref(result);
}
