// SPDX-License-Identifier: GPL-2.0-only
/*
 * "lkvm stop": have guests power off, by their power buttons, and end the VMs of those
 * that do not in time; or end VMs at once. Says for each which way it ended.
 *
 * RISC-V machines without ACPI have no power button of their own: the VM has one where it
 * was given one (--power-button). Without it there is nobody to ask, and the plain command
 * says so and ends the VM; --graceful refuses.
 *
 * All VMs are asked before the first is waited for.
 */
#include "remote.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STOP_SECONDS 30
#define STOP_SECONDS_MAX 86400

/* How long a VM may take to put its things away, once its guest has ended. */
#define ENDING_MS 30000

struct stop_options {
	struct remote remote;
	bool graceful, kill;
	unsigned int timeout;
};

static const struct option_spec rows[] = {
	REMOTE_NAME,
	REMOTE_ALL,
	REMOTE_JSON,
	{.name = "graceful",
	 .help = "only if the guest can be asked",
	 .set = option_set_flag,
	 .offset = offsetof(struct stop_options, graceful)},
	{.name = "kill",
	 .help = "end the VM at once, without asking",
	 .set = option_set_flag,
	 .offset = offsetof(struct stop_options, kill)},
	{.name = "timeout",
	 .arg = "SECONDS",
	 .help = "how long the guest may take before the VM is ended (30)",
	 .set = option_set_uint,
	 .offset = offsetof(struct stop_options, timeout)},
	{.name = NULL},
};

static struct control_client *begin(const struct stop_options *o, const char *name,
				    struct error *err)
{
	struct control_client *c = control_connect(name, err);
	json_t *arguments = json_pack("{s:i}", "timeout", (int)o->timeout);

	if (o->graceful || o->kill)
		json_object_set_new(arguments, "how", json_string(o->kill ? "kill" : "ask"));
	if (!c) {
		json_decref(arguments);
		return NULL;
	}
	if (!control_send(c, "stop", arguments, -1, err))
		return c;
	control_hang_up(c);
	return NULL;
}

/* In words. */
static void tell(const struct stop_options *o, const char *name, const json_t *result)
{
	const char *ended = json_string_value(json_object_get(result, "ended"));
	const char *unasked = json_string_value(json_object_get(result, "unasked"));
	bool forced = json_is_true(json_object_get(result, "forced"));

	if (!ended)
		ended = "?";
	if (o->kill)
		remote_text(&o->remote, name, "stopped at once");
	else if (unasked)
		remote_text(&o->remote, name, "stopped at once: %s", unasked);
	else if (!strcmp(ended, "poweroff"))
		remote_text(&o->remote, name, "the guest powered off");
	else if (forced)
		remote_text(&o->remote, name,
			    "stopped: the guest did not power off within %u s when asked",
			    o->timeout);
	else
		remote_text(&o->remote, name, "the VM ended otherwise: %s", ended);
}

static int finish(const struct stop_options *o, const char *name, struct control_client *c,
		  struct error *err)
{
	json_t *result;
	int ret = control_result(c, (int)o->timeout * 1000 + ENDING_MS, &result, err);

	if (ret)
		return -1;
	/* Its name and its files are free when this returns. */
	ret = control_wait_gone(c, ENDING_MS, err);
	if (o->remote.json) {
		remote_json(name, result);
		return ret;
	}
	tell(o, name, result);
	json_decref(result);
	return ret;
}

static int check(const struct stop_options *o, struct error *err)
{
	if (o->graceful && o->kill)
		return fail(err, "--graceful and --kill: a VM is stopped in one of these ways");
	if (o->timeout > STOP_SECONDS_MAX)
		return fail(err, "--timeout %u: at most %d seconds", o->timeout, STOP_SECONDS_MAX);
	return 0;
}

static int stop_all(struct log *log, const struct stop_options *o)
{
	const struct remote *r = &o->remote;
	struct control_client **all = calloc((size_t)r->nr + 1, sizeof(struct control_client *));
	struct error err;
	int i, status = all ? 0 : 1;

	for (i = 0; all && i < r->nr; i++) {
		all[i] = begin(o, r->names[i], &err);
		if (!all[i]) {
			log_fatal(log, "%s", err.msg);
			status = 1;
		}
	}
	for (i = 0; all && i < r->nr; i++) {
		if (all[i] && finish(o, r->names[i], all[i], &err)) {
			log_fatal(log, "%s", err.msg);
			status = 1;
		}
		control_hang_up(all[i]);
	}
	free(all);
	return status;
}

const struct option_table stop_table = {
	"stop", "[NAME]",
	"Have a VM's guest power off by its power button (lkvm run --power-button),\n"
	"and end the VM if it does not in time, or has no such button.",
	rows, false};

int cmd_stop(struct log *log, int argc, char **argv)
{
	struct stop_options o = {.timeout = STOP_SECONDS};
	struct operands ops;
	struct error err;
	int status = 0, ret = remote_parse(&stop_table, &o.remote, argc, argv, &ops, 0, &err);

	if (!ret)
		ret = check(&o, &err);
	if (ret < 0) {
		log_fatal(log, "%s", err.msg);
		status = 1;
	} else if (!ret) {
		status = stop_all(log, &o);
	}
	remote_free(&o.remote, &ops);
	return status;
}
