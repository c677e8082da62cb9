// SPDX-License-Identifier: GPL-2.0-only
/*
 * "lkvm attach": this terminal at a running VM's console (lkvm/attach.h).
 *
 * Status: 0, the user left or the VM ended; 1, it could not be attached; 128+n, a signal.
 */
#include "remote.h"

#include "lkvm/attach.h"
#include "lkvm/process.h"

#include <unistd.h>

struct attach_command {
	struct remote remote;
	bool read_only;
};

static const struct option_spec rows[] = {
	REMOTE_NAME,
	{.name = "read-only",
	 .help = "look at it, type nothing",
	 .set = option_set_flag,
	 .offset = offsetof(struct attach_command, read_only)},
	{.name = NULL},
};

static int sit_at(struct log *log, const struct attach_command *c, struct error *err)
{
	struct attach_options o = {
		.read_only = c->read_only,
		.recent = true,
		.in = STDIN_FILENO,
		.out = STDOUT_FILENO,
	};
	const char *name = c->remote.names[0];
	enum attach_end end;
	int sig;

	if (process_init(err))
		return -1;
	o.signal_fd = process_signal_fd(err);
	if (o.signal_fd < 0)
		return -1;
	end = attach_run(name, &o, log, &sig, err);
	close(o.signal_fd);
	if (end == ATTACH_SIGNAL)
		process_die_by(sig);
	if (end == ATTACH_LEFT)
		log_plain(log, "%s goes on", name);
	if (end == ATTACH_ENDED)
		log_plain(log, "%s has ended", name);
	return end == ATTACH_FAILED ? -1 : 0;
}

const struct option_table attach_table = {
	"attach", "[NAME]", "Sit at a running VM's console: Ctrl-a d leaves, and the VM goes on.",
	rows, false};

int cmd_attach(struct log *log, int argc, char **argv)
{
	struct attach_command c = {.remote = {.name = NULL}};
	struct operands ops;
	struct error err;
	int status = 0, ret = remote_parse(&attach_table, &c.remote, argc, argv, &ops, 0, &err);

	if (!ret)
		ret = sit_at(log, &c, &err);
	if (ret < 0) {
		log_fatal(log, "%s", err.msg);
		status = 1;
	}
	remote_free(&c.remote, &ops);
	return status;
}
