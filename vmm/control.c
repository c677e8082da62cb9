// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control socket and its clients (include/lkvm/control.h).
 *
 * A client has a place among CONTROL_CLIENTS_MAX, and time to finish a request and to
 * take an answer (CLIENT_SECONDS each; who listens to events may be silent for ever, and
 * loses events, of which it is told, while it takes none). A new client that finds no
 * place gets that of the one that has been silent for longest, and is told so where all
 * are at work. Who exceeds a limit is told why and closed.
 *
 * Nothing a client does blocks the loop. One answer is under way at a time: before it is
 * taken the client's next request is not looked at, so what a client can make us keep is
 * one request, one answer and EVENTS_MAX bytes of events.
 *
 * Thread and lock: the loop's thread alone; no lock. Nothing is saved.
 */
#include "control_parts.h"

#include "lkvm/arch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CLIENT_SECONDS 5
#define EVENTS_MAX 65536
#define FIRST_SIZE 1024

/* More descriptors in one message than this are dropped by the kernel. */
#define FDS_MAX 4

/* --- a client ----------------------------------------------------------- */

static void drop_client(struct client *c)
{
	if (c->fd < 0)
		return;
	loop_timer_cancel(&c->timer);
	loop_remove_fd(c->control->vm->loop, c->fd);
	close(c->fd);
	if (c->passed >= 0)
		close(c->passed);
	free(c->in);
	free(c->out);
	c->fd = -1;
	c->passed = -1;
	c->in = NULL;
	c->out = NULL;
}

/* Room for @more bytes behind @len. */
static bool make_room(char **buf, size_t *size, size_t len, size_t more)
{
	size_t want = *size ? *size : FIRST_SIZE;
	char *longer;

	while (want < len + more)
		want *= 2;
	if (want == *size)
		return true;
	longer = realloc(*buf, want);
	if (!longer)
		return false;
	*buf = longer;
	*size = want;
	return true;
}

static size_t waiting(const struct client *c)
{
	return c->out_len - c->sent;
}

void client_put(struct client *c, json_t *message)
{
	char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
	size_t len = text ? strlen(text) : 0;

	json_decref(message);
	if (len >= CONTROL_ANSWER_MAX) {
		free(text);
		client_refuse(c, "the answer is too long");
		return;
	}
	/* Without memory for an answer the connection can't go on. */
	if (!text || !make_room(&c->out, &c->out_size, c->out_len, len + 1)) {
		c->closing = true;
		c->sent = c->out_len;
	} else {
		memcpy(c->out + c->out_len, text, len);
		c->out[c->out_len + len] = '\n';
		c->out_len += len + 1;
	}
	free(text);
}

/* Return: false where the other side is gone. */
static bool send_some(struct client *c)
{
	ssize_t n;

	while (waiting(c)) {
		n = send(c->fd, c->out + c->sent, waiting(c), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		c->sent += (size_t)n;
		c->wait = WAIT_NOTHING; /* it takes something: its time begins anew */
	}
	c->out_len = 0;
	c->sent = 0;
	return true;
}

static json_int_t wall_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (json_int_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static json_t *event_message(struct control *control, const char *name, json_int_t when,
			     json_t *data)
{
	return json_pack("{s:i, s:s, s:I, s:s, s:o}", "version", CONTROL_VERSION, "event", name,
			 "time", when, "vm", control->vm->cfg->name, "data",
			 data ? data : json_object());
}

/*
 * To who has taken all that waited: first of all that the VM started, which nobody can have
 * listened to; and how much it missed since.
 */
static void catch_up(struct client *c)
{
	struct control *control = c->control;

	if (!c->listens || waiting(c) || c->closing)
		return;
	if (!c->greeted && control->started_ms) {
		client_put(c, event_message(control, "started", control->started_ms, NULL));
		c->greeted = true;
	}
	if (c->lost) {
		client_put(c, event_message(control, "lost", wall_ms(),
					    json_pack("{s:I}", "events", (json_int_t)c->lost)));
		c->lost = 0;
	}
}

static enum client_wait what_for(const struct client *c)
{
	if (c->control->busy || (c->listens && !c->in_len))
		return WAIT_NOTHING;
	if (waiting(c))
		return c->listens ? WAIT_NOTHING : WAIT_READER;
	return c->later ? WAIT_NOTHING : WAIT_REQUEST;
}

static bool takes_requests(const struct client *c)
{
	return !c->eof && !c->closing && !c->later && !waiting(c);
}

/* Nothing more comes, and there is nothing left to do for it. */
static bool finished(const struct client *c)
{
	return c->closing || (c->eof && !c->later && !c->control->busy &&
			      !memchr(c->in + c->looked, '\n', c->in_len - c->looked));
}

/* All of its requests that can be carried out now; the rest stays in the buffer. */
static void serve(struct client *c)
{
	uint64_t serial = c->serial;
	char *end;
	size_t len;

	while (c->fd >= 0 && c->serial == serial && !c->closing && !c->later && !waiting(c) &&
	       !c->control->busy && c->in_len) {
		end = memchr(c->in + c->looked, '\n', c->in_len - c->looked);
		if (!end) {
			c->looked = c->in_len;
			if (c->in_len >= CONTROL_REQUEST_MAX)
				client_refuse(c, "the request is longer than 64 KiB");
			break;
		}
		len = (size_t)(end - c->in);
		c->wait = WAIT_NOTHING;
		loop_timer_cancel(&c->timer);
		control_handle_line(c, c->in, len);
		if (c->fd < 0 || c->serial != serial)
			return;
		memmove(c->in, c->in + len + 1, c->in_len - len - 1);
		c->in_len -= len + 1;
		c->looked = 0;
		if (!send_some(c))
			c->closing = true;
	}
}

void client_settle(struct client *c)
{
	enum client_wait wait;
	uint32_t events;

	if (c->fd < 0)
		return;
	if (!send_some(c)) {
		drop_client(c);
		return;
	}
	catch_up(c);
	if (!send_some(c)) {
		drop_client(c);
		return;
	}
	if (!waiting(c) && finished(c)) {
		drop_client(c);
		return;
	}
	events = (takes_requests(c) && c->in_len < CONTROL_REQUEST_MAX ? (uint32_t)EPOLLIN : 0) |
		 (waiting(c) ? (uint32_t)EPOLLOUT : 0);
	loop_modify_fd(c->control->vm->loop, c->fd, events);
	wait = what_for(c);
	if (wait == WAIT_NOTHING)
		loop_timer_cancel(&c->timer);
	else if (wait != c->wait)
		loop_timer_arm(&c->timer, now_ns() + CLIENT_SECONDS * NSEC_PER_SEC);
	c->wait = wait;
}

static void client_late(void *opaque)
{
	struct client *c = opaque;

	if (c->wait == WAIT_REQUEST) {
		client_refuse(c, "no request came in time");
		send_some(c);
	}
	drop_client(c);
}

/* Keep the first descriptor of a message, drop the rest. */
static void take_fds(struct client *c, struct msghdr *msg)
{
	struct cmsghdr *head;
	int fds[FDS_MAX];
	size_t i, nr;

	for (head = CMSG_FIRSTHDR(msg); head; head = CMSG_NXTHDR(msg, head)) {
		if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
			continue;
		nr = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(head), nr * sizeof(int));
		for (i = 0; i < nr; i++) {
			if (c->passed < 0)
				c->passed = fds[i];
			else
				close(fds[i]);
		}
	}
}

/* Return: false where the connection is broken. */
static bool receive(struct client *c)
{
	union {
		char buf[CMSG_SPACE(FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} cmsg;
	struct iovec iov;
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = cmsg.buf,
			     .msg_controllen = sizeof(cmsg.buf)};
	ssize_t n;

	if (!make_room(&c->in, &c->in_size, c->in_len, FIRST_SIZE))
		return false;
	iov = (struct iovec){c->in + c->in_len,
			     min_u64(c->in_size, CONTROL_REQUEST_MAX) - c->in_len};
	if (!iov.iov_len)
		return true;
	n = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	take_fds(c, &msg);
	if (!n)
		c->eof = true;
	c->in_len += (size_t)n;
	return true;
}

static void client_ready(void *opaque, uint32_t events)
{
	struct client *c = opaque;
	uint64_t serial = c->serial;

	/* Asked to take nothing more from it, only its end can be news. */
	if ((events & (EPOLLHUP | EPOLLERR) && !takes_requests(c)) ||
	    (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !receive(c))) {
		drop_client(c);
		return;
	}
	serve(c);
	if (c->serial == serial)
		client_settle(c);
}

static void serve_all(void *opaque)
{
	struct control *control = opaque;
	size_t i;

	for (i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		if (control->clients[i].fd < 0)
			continue;
		serve(&control->clients[i]);
		client_settle(&control->clients[i]);
	}
}

void control_started(struct control *control)
{
	if (control)
		control->started_ms = wall_ms();
}

static size_t nr_listening(const struct control *control)
{
	size_t i, nr = 0;

	for (i = 0; i < CONTROL_CLIENTS_MAX; i++)
		nr += control->clients[i].fd >= 0 && control->clients[i].listens;
	return nr;
}

void control_event(struct control *control, const char *name, json_t *data)
{
	json_t *message;
	size_t i;

	if (!control || !nr_listening(control)) {
		json_decref(data);
		return;
	}
	message = event_message(control, name, wall_ms(), data);
	for (i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct client *c = &control->clients[i];

		if (c->fd < 0 || !c->listens || c->closing)
			continue;
		if (c->lost || waiting(c) > EVENTS_MAX)
			c->lost++;
		else
			client_put(c, json_incref(message));
		client_settle(c);
	}
	json_decref(message);
}

/* --- the socket --------------------------------------------------------- */

/* Root may do all that the user may, and does not need us for it. */
static bool peer_allowed(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		return false;
	return cred.uid == geteuid() || !cred.uid;
}

/* A free place, or that of the client that has been silent for longest, or NULL. */
static struct client *take_place(struct control *control)
{
	struct client *oldest = NULL;
	size_t i;

	for (i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct client *c = &control->clients[i];

		if (c->fd < 0)
			return c;
		if (c->wait == WAIT_REQUEST &&
		    (!oldest || c->timer.deadline < oldest->timer.deadline))
			oldest = c;
	}
	if (oldest) {
		client_refuse(oldest, "others need the place of a client that says nothing");
		send_some(oldest);
		drop_client(oldest);
	}
	return oldest;
}

static void listen_again(void *opaque)
{
	struct control *control = opaque;

	loop_modify_fd(control->vm->loop, control->fd, EPOLLIN);
}

static void turn_away(int fd, const char *why)
{
	char line[256];
	int len = snprintf(line, sizeof(line),
			   "{\"version\":%d,\"id\":null,\"error\":{\"message\":\"%s\"}}\n",
			   CONTROL_VERSION, why);

	(void)!send(fd, line, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL);
	close(fd);
}

static void new_client(void *opaque, uint32_t events)
{
	struct control *control = opaque;
	int fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *c;

	(void)events;
	if (fd < 0) {
		/* Out of descriptors: the socket stays readable, so look away for a while. */
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
			loop_modify_fd(control->vm->loop, control->fd, 0);
			loop_timer_arm(&control->listen_again, now_ns() + NSEC_PER_SEC);
		}
		return;
	}
	if (!peer_allowed(fd)) {
		turn_away(fd, "this VM belongs to another user");
		return;
	}
	c = take_place(control);
	if (!c) {
		turn_away(fd, "the VM serves as many clients as it can");
		return;
	}
	if (loop_add_fd(control->vm->loop, fd, EPOLLIN, client_ready, c)) {
		turn_away(fd, "no memory");
		return;
	}
	*c = (struct client){.control = control,
			     .fd = fd,
			     .passed = -1,
			     .serial = ++control->serials,
			     .timer = c->timer};
	client_settle(c);
}

static int listen_at(struct control *control, struct error *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	memcpy(addr.sun_path, control->name.sock, sizeof(addr.sun_path));
	control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (control->fd < 0)
		return fail_errno(err, errno, "cannot make a control socket");
	/* Before bind: the inode is born with this mode. */
	fchmod(control->fd, 0600);
	unlink(control->name.sock);
	if (bind(control->fd, (struct sockaddr *)&addr, sizeof(addr)) ||
	    listen(control->fd, CONTROL_CLIENTS_MAX))
		return fail_errno(err, errno, "cannot listen on %s", control->name.sock);
	return 0;
}

struct control *control_create(struct vm *vm, const struct control_command *const *tables,
			       struct error *err)
{
	struct control *control = calloc(1, sizeof(*control));
	size_t i;
	int ret;

	if (!control) {
		fail(err, "no memory for the control socket");
		return NULL;
	}
	control->vm = vm;
	control->tables = tables;
	control->name.fd = -1;
	control->fd = -1;
	control->begin_ns = now_ns();
	control->paused = vm->paused;
	loop_timer_init(&control->listen_again, vm->loop, listen_again, control);
	loop_work_init(&control->serve_all, serve_all, control);
	control_stop_init(control);
	for (i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct client *c = &control->clients[i];

		*c = (struct client){.control = control, .fd = -1, .passed = -1};
		loop_timer_init(&c->timer, vm->loop, client_late, c);
	}
	if (control_name_paths(&control->name, vm->cfg->name, true, err) ||
	    control_name_take(&control->name, vm->cfg->name, err) || listen_at(control, err))
		goto out;
	ret = loop_add_fd(vm->loop, control->fd, EPOLLIN, new_client, control);
	if (ret) {
		fail_errno(err, -ret, "cannot watch the control socket");
		goto out;
	}
	return control;
out:
	control_destroy(control);
	return NULL;
}

void control_ended(struct control *control, enum vm_verdict verdict)
{
	if (!control)
		return;
	control->ended = true;
	control_event(control, "stopped",
		      json_pack("{s:s}", "reason", control_verdict_word(verdict)));
	control_stop_finish(control, verdict);
}

void control_destroy(struct control *control)
{
	size_t i;

	if (!control)
		return;
	control->ended = true;
	control_stop_finish(control, VM_NOT_STARTED);
	control_answer_all(control, "the VM has ended");
	loop_timer_cancel(&control->listen_again);
	loop_unpost(control->vm->loop, &control->serve_all);
	if (control->fd >= 0) {
		loop_remove_fd(control->vm->loop, control->fd);
		close(control->fd);
	}
	control_name_release(&control->name);
	/* Last, for it tells that the name is free. */
	for (i = 0; i < CONTROL_CLIENTS_MAX; i++)
		drop_client(&control->clients[i]);
	free(control);
}
