// SPDX-License-Identifier: GPL-2.0-only
/*
 * "lkvm events": what happens to running VMs, one line of JSON each, as it happens, until
 * the last of them has ended.
 */
#include "remote.h"

#include <poll.h>
#include <stdlib.h>

static const struct option_spec rows[] = {
	REMOTE_NAME,
	REMOTE_ALL,
	REMOTE_JSON,
	{.name = NULL},
};

static struct control_client *listen_to(const char *name, struct error *err)
{
	struct control_client *c = control_connect(name, err);
	json_t *result;

	if (!c)
		return NULL;
	if (!control_send(c, "events", NULL, -1, err) &&
	    !control_result(c, CONTROL_ANSWER_MS, &result, err)) {
		json_decref(result);
		return c;
	}
	control_hang_up(c);
	return NULL;
}

/* Print what has come from one VM. Return: 0; 1: it has ended; -1. */
static int print_events(struct control_client *c, struct error *err)
{
	json_t *event;
	int ret;

	do {
		ret = control_next_event(c, -1, &event, err);
		if (ret)
			return ret;
		json_dumpf(event, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(event);
	} while (control_has_more(c));
	/* Who reads them wants them now; and who has left wants no more. */
	return fflush(stdout) ? 1 : 0;
}

/* What came together with the answer to listen_to() is not to be waited for. */
static int wait_for_some(struct control_client **clients, struct pollfd *pfds, int nr)
{
	int i, some = 0;

	for (i = 0; i < nr; i++) {
		pfds[i].revents = pfds[i].fd >= 0 && control_has_more(clients[i]) ? POLLIN : 0;
		some += !!pfds[i].revents;
	}
	return some ? some : poll(pfds, (nfds_t)nr, -1);
}

static int print_all(struct control_client **clients, struct pollfd *pfds, int nr, struct log *log)
{
	int i, left = nr, status = 0, ret;
	struct error err;

	while (left) {
		if (wait_for_some(clients, pfds, nr) < 0)
			continue;
		for (i = 0; i < nr; i++) {
			if (!pfds[i].revents)
				continue;
			ret = print_events(clients[i], &err);
			if (!ret)
				continue;
			if (ret < 0) {
				log_fatal(log, "%s", err.msg);
				status = 1;
			}
			pfds[i].fd = -1;
			pfds[i].revents = 0;
			left--;
		}
		if (ferror(stdout))
			return 1;
	}
	return status;
}

static int events(struct log *log, const struct remote *r)
{
	struct control_client **clients =
		calloc((size_t)r->nr + 1, sizeof(struct control_client *));
	struct pollfd *pfds = calloc((size_t)r->nr + 1, sizeof(*pfds));
	int i, nr = 0, status = clients && pfds ? 0 : 1;
	struct error err;

	for (i = 0; !status && i < r->nr; i++) {
		clients[nr] = listen_to(r->names[i], &err);
		if (!clients[nr]) {
			log_fatal(log, "%s", err.msg);
			status = 1;
			break;
		}
		pfds[nr].fd = control_fd(clients[nr]);
		pfds[nr++].events = POLLIN;
	}
	if (!status)
		status = print_all(clients, pfds, nr, log);
	for (i = 0; i < nr; i++)
		control_hang_up(clients[i]);
	free(clients);
	free(pfds);
	return status;
}

const struct option_table events_table = {
	"events", "[NAME]", "Tell what happens to a VM until it ends, one line of JSON each.", rows,
	false};

int cmd_events(struct log *log, int argc, char **argv)
{
	struct remote r = {.name = NULL};
	struct operands ops;
	struct error err;
	int status = 0, ret = remote_parse(&events_table, &r, argc, argv, &ops, 0, &err);

	if (ret < 0) {
		log_fatal(log, "%s", err.msg);
		status = 1;
	} else if (!ret) {
		status = events(log, &r);
	}
	remote_free(&r, &ops);
	return status;
}
