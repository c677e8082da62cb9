// SPDX-License-Identifier: GPL-2.0-only
/*
 * A file that a running VM writes (saving.h). This process makes it beside its place, hands
 * its descriptor over, and puts it in place when it has got to the disk. Until the very end
 * what is in that place stays what it was.
 *
 * SIGINT, SIGTERM, SIGHUP and SIGQUIT are held back meanwhile: one that comes ends the
 * waiting, what was begun is removed, and only then the signal ends the process. The VM sees
 * that its client has left, and stops writing.
 *
 * One thread; nothing is saved.
 */
#include "saving.h"

#include "lkvm/process.h"

int saving_begin(struct saving *s, const char *name, struct error *err)
{
	s->end_fd = process_end_fd(err);
	if (s->end_fd < 0)
		return -1;
	s->client = control_connect(name, err);
	if (s->client) {
		control_watch(s->client, s->end_fd);
		return 0;
	}
	process_end_fd_close(s->end_fd);
	return -1;
}

int saving_ask(struct saving *s, const char *command, json_t *arguments, int fd,
	       control_event_fn fn, void *opaque, json_t **result, struct error *err)
{
	if (control_send(s->client, command, arguments, fd, err))
		return -1;
	return control_result_events(s->client, -1, fn, opaque, result, err);
}

int saving_file(struct saving *s, const char *path, const char *command, json_t *arguments,
		control_event_fn fn, void *opaque, json_t **result, struct error *err)
{
	const struct snapshot_io io = {.ops = &snapshot_io_linux};
	struct snapshot_target t;

	if (snapshot_target_open(&t, io, path, err)) {
		json_decref(arguments);
		return -1;
	}
	if (saving_ask(s, command, arguments, t.fd, fn, opaque, result, err)) {
		snapshot_target_abort(&t);
		return -1;
	}
	if (!snapshot_target_commit(&t, err))
		return 0;
	json_decref(*result);
	return -1;
}

void saving_end(struct saving *s)
{
	control_hang_up(s->client);
	process_end_fd_close(s->end_fd);
}
