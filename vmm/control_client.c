// SPDX-License-Identifier: GPL-2.0-only
/*
 * The client's side of the control socket (include/lkvm/control_client.h).
 *
 * A connection is non-blocking from its start; every wait has a deadline, also the one for
 * a place in the VM's queue of connections, which a VM that hangs does not empty. What a
 * VM may send is bounded by CONTROL_ANSWER_MAX a line.
 *
 * Thread and lock: none; a connection is one thread's.
 */
#include "lkvm/control_client.h"

#include "control_parts.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIRST_SIZE 4096

/* A VM whose queue of connections is full is tried again this often, and so long. */
#define QUEUE_TRY_US 20000
#define QUEUE_MS 4000

/**
 * struct control_client - a connection to the VM @name
 * @watched: ends every wait, or -1
 * @id: of the request sent last
 * @buf, @len, @size: what has come; @taken: of it, the last line that was given out
 */
struct control_client {
	char name[VM_NAME_MAX + 1];
	int fd, watched;
	json_int_t id;
	char *buf;
	size_t len, size, taken;
};

static uint64_t deadline_of(int timeout_ms)
{
	return timeout_ms < 0 ? UINT64_MAX : now_ns() + (uint64_t)timeout_ms * NSEC_PER_MSEC;
}

static int left_ms(uint64_t deadline)
{
	uint64_t now = now_ns();

	if (deadline == UINT64_MAX)
		return -1;
	return now >= deadline
		       ? 0
		       : (int)min_u64((deadline - now) / NSEC_PER_MSEC + 1, 1000 * 1000 * 1000);
}

/* Return: 0: ready; -1 with @err set. */
static int wait_for(const struct control_client *c, short events, uint64_t deadline,
		    struct error *err)
{
	struct pollfd fds[] = {{.fd = c->fd, .events = events},
			       {.fd = c->watched, .events = POLLIN}};
	int n;

	do
		n = poll(fds, ARRAY_SIZE(fds), left_ms(deadline));
	while ((n < 0 && errno == EINTR) || (!n && left_ms(deadline)));
	if (n > 0 && fds[1].revents)
		return fail(err, "%s: not waited for to the end", c->name);
	return n > 0 ? 0 : fail(err, "%s: the VM did not answer in time", c->name);
}

/* Return: 0 or -errno; -EAGAIN: it hangs. */
static int try_connect(int fd, const char *path)
{
	uint64_t deadline = deadline_of(QUEUE_MS);
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	memcpy(addr.sun_path, path, sizeof(addr.sun_path));
	while (connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN || !left_ms(deadline))
			return -errno;
		usleep(QUEUE_TRY_US);
	}
	return 0;
}

struct control_client *control_connect(const char *name, struct error *err)
{
	struct control_client *c;
	struct control_name n;
	int ret;

	if (control_name_paths(&n, name, false, err))
		return NULL;
	c = calloc(1, sizeof(*c));
	if (!c) {
		fail(err, "no memory");
		return NULL;
	}
	c->watched = -1;
	snprintf(c->name, sizeof(c->name), "%s", name);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0) {
		fail_errno(err, errno, "cannot make a socket");
		free(c);
		return NULL;
	}
	ret = try_connect(c->fd, n.sock);
	if (!ret)
		return c;
	control_hang_up(c);
	if (ret == -EAGAIN) {
		fail(err, "%s: the VM did not answer", name);
	} else {
		control_name_clean(name);
		fail(err, "no VM called %s runs here", name);
	}
	return NULL;
}

void control_hang_up(struct control_client *c)
{
	if (!c)
		return;
	close(c->fd);
	free(c->buf);
	free(c);
}

void control_watch(struct control_client *c, int fd)
{
	c->watched = fd;
}

int control_fd(const struct control_client *c)
{
	return c->fd;
}

bool control_has_more(const struct control_client *c)
{
	return c->len > c->taken && memchr(c->buf + c->taken, '\n', c->len - c->taken);
}

static ssize_t send_piece(struct control_client *c, const char *text, size_t len, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} cmsg = {.buf = {0}};
	struct iovec iov = {(void *)(uintptr_t)text, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *head;

	if (fd >= 0) {
		msg.msg_control = cmsg.buf;
		msg.msg_controllen = sizeof(cmsg.buf);
		head = CMSG_FIRSTHDR(&msg);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(head), &fd, sizeof(int));
	}
	return sendmsg(c->fd, &msg, MSG_NOSIGNAL);
}

/* The descriptor goes with the first byte. */
static int send_all(struct control_client *c, const char *text, size_t len, int fd,
		    struct error *err)
{
	uint64_t deadline = deadline_of(CONTROL_ANSWER_MS);
	size_t sent = 0;
	ssize_t n;

	while (sent < len) {
		n = send_piece(c, text + sent, len - sent, sent ? -1 : fd);
		if (n > 0)
			sent += (size_t)n;
		else if (errno == EPIPE || errno == ECONNRESET)
			break; /* what it has to say about that can be read */
		else if (errno != EINTR && errno != EAGAIN)
			return fail_errno(err, errno, "%s: cannot send a command", c->name);
		else if (wait_for(c, POLLOUT, deadline, err))
			return -1;
	}
	return 0;
}

int control_send(struct control_client *c, const char *command, json_t *arguments, int fd,
		 struct error *err)
{
	json_t *request =
		json_pack("{s:i, s:I, s:s, s:o}", "version", CONTROL_VERSION, "id", ++c->id,
			  "command", command, "arguments", arguments ? arguments : json_object());
	char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
	size_t len;
	int ret;

	json_decref(request);
	if (!text)
		return fail(err, "what is to be sent is no text");
	len = strlen(text);
	if (len >= CONTROL_REQUEST_MAX) {
		free(text);
		return fail(err, "that is too long a command");
	}
	text[len++] = '\n'; /* in the place of the zero byte */
	ret = send_all(c, text, len, fd, err);
	free(text);
	return ret;
}

/* Return: 0: a line of @len bytes at c->buf; 1: the VM has closed; -1. */
static int next_line(struct control_client *c, uint64_t deadline, size_t *len, struct error *err)
{
	char *end, *longer;
	ssize_t n;

	if (c->taken)
		memmove(c->buf, c->buf + c->taken, c->len - c->taken);
	c->len -= c->taken;
	c->taken = 0;
	while (!(end = c->len ? memchr(c->buf, '\n', c->len) : NULL)) {
		if (c->len >= CONTROL_ANSWER_MAX)
			return fail(err, "%s: the VM did not answer in bounds", c->name);
		if (c->len == c->size) {
			c->size = c->size ? 2 * c->size : FIRST_SIZE;
			longer = realloc(c->buf, c->size);
			if (!longer)
				return fail(err, "no memory");
			c->buf = longer;
		}
		n = recv(c->fd, c->buf + c->len, c->size - c->len, 0);
		if (n > 0)
			c->len += (size_t)n;
		else if (!n || (errno != EAGAIN && errno != EINTR))
			return 1;
		else if (wait_for(c, POLLIN, deadline, err))
			return -1;
	}
	*len = (size_t)(end - c->buf);
	c->taken = *len + 1;
	return 0;
}

/* The same, as an object. */
static int next_message(struct control_client *c, uint64_t deadline, json_t **message,
			struct error *err)
{
	size_t len;
	int ret = next_line(c, deadline, &len, err);

	*message = NULL;
	if (ret)
		return ret;
	*message = json_loadb(c->buf, len, JSON_REJECT_DUPLICATES, NULL);
	if (json_is_object(*message))
		return 0;
	json_decref(*message);
	*message = NULL;
	return fail(err, "%s: the VM's answer is no JSON object", c->name);
}

int control_result(struct control_client *c, int timeout_ms, json_t **result, struct error *err)
{
	return control_result_events(c, timeout_ms, NULL, NULL, result, err);
}

int control_result_events(struct control_client *c, int timeout_ms, control_event_fn fn,
			  void *opaque, json_t **result, struct error *err)
{
	uint64_t deadline = deadline_of(timeout_ms);
	json_t *message, *value, *id;
	const char *text;
	int ret;

	for (;;) {
		ret = next_message(c, deadline, &message, err);
		if (ret < 0)
			return -1;
		if (ret)
			return fail(err, "%s: the VM did not answer", c->name);
		id = json_object_get(message, "id");
		/* Without an id it is about the connection. */
		if (json_is_null(id) || (json_is_integer(id) && json_integer_value(id) == c->id))
			break;
		if (fn && json_is_string(json_object_get(message, "event")))
			fn(opaque, message);
		json_decref(message);
	}
	text = json_string_value(json_object_get(json_object_get(message, "error"), "message"));
	value = json_object_get(message, "return");
	if (text)
		ret = fail(err, "%s: %s", c->name, text);
	else if (!json_is_object(value))
		ret = fail(err, "%s: the VM's answer is none", c->name);
	else
		*result = json_incref(value);
	json_decref(message);
	return ret;
}

int control_next_event(struct control_client *c, int timeout_ms, json_t **event, struct error *err)
{
	uint64_t deadline = deadline_of(timeout_ms);
	int ret;

	while (!(ret = next_message(c, deadline, event, err))) {
		if (json_is_string(json_object_get(*event, "event")))
			return 0;
		json_decref(*event);
	}
	return ret;
}

int control_wait_gone(struct control_client *c, int timeout_ms, struct error *err)
{
	uint64_t deadline = deadline_of(timeout_ms);
	size_t len;
	int ret;

	while (!(ret = next_line(c, deadline, &len, err)))
		;
	return ret < 0 ? -1 : 0;
}

int control_ask(const char *name, const char *command, json_t *arguments, json_t **result,
		struct error *err)
{
	struct control_client *c = control_connect(name, err);
	int ret;

	if (!c) {
		json_decref(arguments);
		return -1;
	}
	ret = control_send(c, command, arguments, -1, err);
	if (!ret)
		ret = control_result(c, CONTROL_ANSWER_MS, result, err);
	control_hang_up(c);
	return ret;
}
