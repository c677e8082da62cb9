// SPDX-License-Identifier: GPL-2.0-only
/*
 * Attached terminals, the VM's side (include/lkvm/attach.h).
 *
 * Each is a stream on the socket that came with the command, and a listener of the guest's
 * console. Its stream never waits for the other side; when its buffer is full, the guest's
 * words are counted instead of kept, until half of the buffer is free: then a line says how
 * many were lost, and they are kept again. Its input is read as the guest takes it.
 *
 * The window's size is that of whoever told one last and is still there, else the VM's own
 * terminal's.
 *
 * Thread and lock: all is the loop's, but for a watcher's output, which comes on any thread
 * under the guest console's lock and has a lock of its own behind that (the stream's comes
 * behind both). Nothing is saved.
 */
#include "lkvm/attach.h"

#include "lkvm/arch.h"
#include "lkvm/guest_console.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Of what is dropped, at a time. */
#define READ_ONLY_ROOM 4096

/* Who does not read is not waited for longer when the VM ends. */
#define LAST_WORDS_MS 100

/**
 * struct watcher - one attached terminal
 * @quiet: its stream's log: that one leaves is no news
 * @lost: bytes that it was too slow for; @lock guards it
 * @told_ns: when it told its window's size; 0: never
 */
struct watcher {
	struct watcher *next;
	struct vm *vm;
	struct console_listener listener;
	struct stream *stream;
	struct log quiet;
	int fd;
	json_int_t id;
	bool read_only;
	pthread_mutex_t lock;
	uint64_t lost;
	uint16_t cols, rows;
	uint64_t told_ns;
	struct loop_work leave;
};

/* --- the console's words ---------------------------------------------------------- */

static void on_output(void *opaque, const uint8_t *buf, size_t len)
{
	struct watcher *w = opaque;

	pthread_mutex_lock(&w->lock);
	/* Behind a gap nothing is kept until the gap has been told of. */
	if (w->lost)
		w->lost += len;
	else
		w->lost = len - stream_write(w->stream, buf, len);
	pthread_mutex_unlock(&w->lock);
}

static void on_drained(void *opaque)
{
	struct watcher *w = opaque;
	char note[80];
	int len;

	pthread_mutex_lock(&w->lock);
	if (w->lost) {
		len = snprintf(note, sizeof(note),
			       "\r\n[lkvm: %" PRIu64 " bytes are missing here]\r\n", w->lost);
		stream_write(w->stream, note, (size_t)len);
		w->lost = 0;
	}
	pthread_mutex_unlock(&w->lock);
}

static void on_device_room(void *opaque)
{
	struct watcher *w = opaque;

	stream_want_input(w->stream);
}

/* --- what is typed ------------------------------------------------------------------ */

static size_t on_room(void *opaque)
{
	struct watcher *w = opaque;

	return w->read_only ? READ_ONLY_ROOM : guest_console_room(w->vm->console);
}

static void on_input(void *opaque, const uint8_t *buf, size_t len)
{
	struct watcher *w = opaque;

	if (!w->read_only)
		guest_console_input(w->vm->console, buf, len);
}

static void on_eof(void *opaque)
{
	struct watcher *w = opaque;

	/* A stream's callback can't destroy it. */
	loop_post(w->vm->loop, &w->leave);
}

static const struct stream_ops stream_ops = {
	.room = on_room,
	.input = on_input,
	.eof = on_eof,
	.drained = on_drained,
};

/* --- coming and going ---------------------------------------------------------------- */

static void settle_window(struct vm *vm)
{
	const struct watcher *w, *last = NULL;

	for (w = vm->watchers; w; w = w->next)
		if (w->told_ns && (!last || w->told_ns > last->told_ns))
			last = w;
	guest_console_set_size(vm->console, last ? last->cols : 0, last ? last->rows : 0);
	arch_window_changed(vm);
}

static void destroy(struct watcher *w)
{
	struct watcher **at = &w->vm->watchers;

	while (*at && *at != w)
		at = &(*at)->next;
	if (*at)
		*at = w->next;
	loop_unpost(w->vm->loop, &w->leave);
	stream_destroy(w->stream);
	close(w->fd);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

static void leave(void *opaque)
{
	struct watcher *w = opaque;
	struct vm *vm = w->vm;
	bool told = w->told_ns;

	log_info(vm->log, "a terminal has left the console");
	guest_console_unlisten(vm->console, &w->listener);
	destroy(w);
	if (told)
		settle_window(vm);
}

static void on_gone(void *opaque, struct guest_console *con)
{
	struct watcher *w = opaque;

	(void)con;
	stream_flush(w->stream, LAST_WORDS_MS);
	destroy(w);
}

static const struct console_listener_ops listener_ops = {
	.output = on_output,
	.room = on_device_room,
	.gone = on_gone,
};

/* --- commands ------------------------------------------------------------------------- */

static bool is_stream_socket(int fd)
{
	socklen_t len = sizeof(int);
	int type;

	return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) && type == SOCK_STREAM;
}

static int check_size(int cols, int rows, struct error *err)
{
	if (cols < 0 || cols > UINT16_MAX || rows < 0 || rows > UINT16_MAX)
		return fail(err, "a window has 0 to %d columns and rows", UINT16_MAX);
	return 0;
}

static void tell_size(struct watcher *w, int cols, int rows)
{
	w->cols = (uint16_t)cols;
	w->rows = (uint16_t)rows;
	w->told_ns = cols && rows ? now_ns() : 0;
	settle_window(w->vm);
}

static struct watcher *create(struct vm *vm, int fd, struct error *err)
{
	struct watcher *w = calloc(1, sizeof(*w));

	if (!w) {
		fail(err, "no memory");
		return NULL;
	}
	w->vm = vm;
	w->fd = fd;
	pthread_mutex_init(&w->lock, NULL);
	log_init(&w->quiet, vm->log->fd, LOG_LEVEL_ERROR);
	loop_work_init(&w->leave, leave, w);
	w->stream = stream_create(vm->loop, &w->quiet, fd, fd, &stream_ops, w, err);
	if (!w->stream) {
		pthread_mutex_destroy(&w->lock);
		free(w);
		return NULL;
	}
	w->listener = (struct console_listener){.ops = &listener_ops, .opaque = w};
	return w;
}

static int do_attach(struct control_call *call, json_t **result, struct error *err)
{
	int read_only = 0, recent = 0, cols = 0, rows = 0;
	struct vm *vm = call->vm;
	struct watcher *w;
	json_int_t id = 1;
	unsigned int nr = 0;

	if (control_arguments(call, err, "{s?b, s?b, s?i, s?i}", "read-only", &read_only, "recent",
			      &recent, "columns", &cols, "rows", &rows) ||
	    check_size(cols, rows, err))
		return -1;
	if (call->fd < 0 || !is_stream_socket(call->fd))
		return fail(err, "attach wants a connected stream socket with the request");
	if (!vm->console)
		return fail(err, "the VM has no console yet");
	for (w = vm->watchers; w; w = w->next, nr++)
		if (w->id >= id)
			id = w->id + 1;
	if (nr == WATCHERS_MAX)
		return fail(err, "%d terminals are attached already, which is all there can be",
			    WATCHERS_MAX);
	w = create(vm, call->fd, err);
	if (!w)
		return -1;
	call->fd = -1;
	w->id = id;
	w->read_only = read_only;
	w->next = vm->watchers;
	vm->watchers = w;
	guest_console_listen(vm->console, &w->listener, recent);
	if (cols && rows)
		tell_size(w, cols, rows);
	log_info(vm->log, "a terminal is attached to the console%s", read_only ? ", to look" : "");
	*result = json_pack("{s:I}", "terminal", id);
	return 0;
}

static int do_window(struct control_call *call, json_t **result, struct error *err)
{
	int cols, rows;
	json_int_t id;
	struct watcher *w;

	(void)result;
	if (control_arguments(call, err, "{s:I, s:i, s:i}", "terminal", &id, "columns", &cols,
			      "rows", &rows) ||
	    check_size(cols, rows, err))
		return -1;
	for (w = call->vm->watchers; w; w = w->next) {
		if (w->id != id)
			continue;
		tell_size(w, cols, rows);
		return 0;
	}
	return fail(err, "no such terminal is attached");
}

const struct control_command attach_commands[] = {
	{"attach", do_attach, "connect the socket that comes along to the console"},
	{"window", do_window, "an attached terminal has another size"},
	{NULL, NULL, NULL},
};
