// SPDX-License-Identifier: GPL-2.0-only
/*
 * "lkvm info", "lkvm pause", "lkvm resume", "lkvm reset": each one command to a running
 * VM's control socket, and its answer in words or as JSON.
 */
#include "remote.h"

#include <stdio.h>

static const struct option_spec rows[] = {
	REMOTE_NAME,
	REMOTE_ALL,
	REMOTE_JSON,
	{.name = NULL},
};

/* Ask, and print the answer where JSON is wanted. Return: 0: *@result is to be printed. */
static int ask(struct remote *r, const char *name, const char *command, json_t **result,
	       struct error *err)
{
	if (control_ask(name, command, NULL, result, err))
		return -1;
	if (!r->json)
		return 0;
	remote_json(name, *result);
	return 1;
}

static int pause_one(struct remote *r, const char *name, const struct operands *ops,
		     struct error *err)
{
	json_t *result;
	int ret = ask(r, name, "pause", &result, err);

	(void)ops;
	if (!ret) {
		remote_text(r, name, "paused");
		json_decref(result);
	}
	return ret < 0 ? -1 : 0;
}

static int resume_one(struct remote *r, const char *name, const struct operands *ops,
		      struct error *err)
{
	json_t *result;
	int ret = ask(r, name, "resume", &result, err);

	(void)ops;
	if (!ret) {
		remote_text(r, name, "%s",
			    json_is_true(json_object_get(result, "woken")) ? "woken from suspend"
									   : "resumed");
		json_decref(result);
	}
	return ret < 0 ? -1 : 0;
}

static int reset_one(struct remote *r, const char *name, const struct operands *ops,
		     struct error *err)
{
	json_t *result;
	int ret = ask(r, name, "reset", &result, err);

	(void)ops;
	if (!ret) {
		remote_text(r, name, "restarted");
		json_decref(result);
	}
	return ret < 0 ? -1 : 0;
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "?";
}

static long long number_of(const json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

static int info_one(struct remote *r, const char *name, const struct operands *ops,
		    struct error *err)
{
	json_t *result, *line;
	size_t i;
	int ret = ask(r, name, "info", &result, err);

	(void)ops;
	if (ret)
		return ret < 0 ? -1 : 0;
	printf("name: %s\nstate: %s\nrestarts: %lld\nprocess: %lld, for %lld s (lkvm %s)\n", name,
	       text_of(result, "state"), number_of(result, "restarts"), number_of(result, "pid"),
	       number_of(result, "seconds"), text_of(result, "lkvm"));
	json_array_foreach (json_object_get(result, "machine"), i, line) {
		if (json_is_string(line))
			puts(json_string_value(line));
	}
	json_decref(result);
	return 0;
}

const struct option_table pause_table = {"pause", "[NAME]", "Stop a VM's vCPUs until resume.", rows,
					 false};

int cmd_pause(struct log *log, int argc, char **argv)
{
	struct remote r = {.name = NULL};

	return remote_main(log, &pause_table, &r, argc, argv, 0, pause_one);
}

const struct option_table resume_table = {
	"resume", "[NAME]", "Let a paused VM go on, or wake a guest that suspended to RAM.", rows,
	false};

int cmd_resume(struct log *log, int argc, char **argv)
{
	struct remote r = {.name = NULL};

	return remote_main(log, &resume_table, &r, argc, argv, 0, resume_one);
}

const struct option_table reset_table = {
	"reset", "[NAME]", "Restart a VM's guest at once, as after power-on.", rows, false};

int cmd_reset(struct log *log, int argc, char **argv)
{
	struct remote r = {.name = NULL};

	return remote_main(log, &reset_table, &r, argc, argv, 0, reset_one);
}

const struct option_table info_table = {"info", "[NAME]",
					"Show a VM's state, layout and interrupts.", rows, false};

int cmd_info(struct log *log, int argc, char **argv)
{
	struct remote r = {.name = NULL};

	return remote_main(log, &info_table, &r, argc, argv, 0, info_one);
}
