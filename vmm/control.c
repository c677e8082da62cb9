// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control socket (include/lkvm/control.h).
 *
 * Ownership of a name is a lock: NAME.lock in the runtime directory, held by
 * flock(2) for the VM's life. Whoever holds it may remove a socket that an
 * earlier, dead VM left behind; nobody guesses from process numbers. The lock is
 * taken on an inode and then compared with the path, so two starters that race
 * with a VM's end can't both win.
 *
 * A client gets one request of at most REQUEST_MAX bytes, CLIENT_SECONDS of time
 * and a place among CLIENTS_MAX, which a newer client takes from the one that has
 * been silent for longest; who exceeds a limit is closed. Nothing a client does
 * blocks the loop: sockets are non-blocking and an answer that does not fit the
 * socket's buffer is dropped with the client.
 *
 * Thread and lock: the loop's thread alone; no lock. Nothing is saved.
 */
#include "lkvm/control.h"

#include "lkvm/arch.h"
#include "lkvm/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define REQUEST_MAX 256
#define ANSWER_MAX 65536
#define LINE_MAX_BYTES 1024 /* of an answer that is one line; an error's text fits */
#define CLIENTS_MAX 8
#define CLIENT_SECONDS 5
#define PROTOCOL "lkvm/1 "

/* How long a pause may wait for the slowest vCPU. */
#define PAUSE_MS 5000

struct client {
	struct control *control;
	int fd; /* -1: the place is free */
	size_t len;
	char buf[REQUEST_MAX];
	struct loop_timer timer;
};

struct control {
	struct vm *vm;
	int lock_fd;
	int fd;
	bool paused;
	struct loop_timer listen_again;
	struct sockaddr_un addr;
	char lock_path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	struct client clients[CLIENTS_MAX];
};

bool control_name_ok(const char *name)
{
	size_t len = strlen(name);

	return len >= 1 && len <= VM_NAME_MAX && strcmp(name, ".") && strcmp(name, "..") &&
	       strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") ==
		       len;
}

static int make_paths(const char *name, bool make, char *sock, char *lock, size_t size,
		      struct error *err)
{
	char dir[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	int len;

	if (runtime_dir(dir, sizeof(dir), make, err))
		return -1;
	len = snprintf(sock, size, "%s/%s.sock", dir, name);
	if (len < 0 || (size_t)len >= size)
		return fail(err, "%s/%s.sock is too long a path for a socket", dir, name);
	/* As long as the socket's path, which fits. */
	if (lock && snprintf(lock, size, "%s/%s.lock", dir, name) != len)
		return fail(err, "%s/%s.lock is too long a path", dir, name);
	return 0;
}

static void drop_client(struct client *c)
{
	if (c->fd < 0)
		return;
	loop_timer_cancel(&c->timer);
	loop_remove_fd(c->control->vm->loop, c->fd);
	close(c->fd);
	c->fd = -1;
}

static void client_late(void *opaque)
{
	drop_client(opaque);
}

/* A peer that is gone or reads nothing loses its answer, nothing else. */
static void answer_text(struct client *c, const char *text, size_t len)
{
	(void)!send(c->fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	drop_client(c);
}

static void answer(struct client *c, const char *text)
{
	char line[LINE_MAX_BYTES + 1];
	int len = snprintf(line, sizeof(line), "%s\n", text);

	answer_text(c, line, len > 0 ? (size_t)len : 0);
}

static void do_resume(struct control *control, struct client *c)
{
	if (control->paused) {
		control->paused = false;
		vm_unpause(control->vm);
		answer(c, "ok resumed");
	} else if (vm_wake(control->vm)) {
		answer(c, "ok woken from suspend");
	} else {
		answer(c, "error the VM is neither paused nor suspended");
	}
}

static void do_pause(struct control *control, struct client *c)
{
	int ret;

	if (control->paused) {
		answer(c, "error the VM is paused already");
		return;
	}
	ret = vm_pause(control->vm, PAUSE_MS);
	if (ret) {
		answer(c, "error a vCPU did not stop in time; the VM goes on");
		return;
	}
	control->paused = true;
	answer(c, "ok paused");
}

static void do_info(struct control *control, struct client *c)
{
	struct vm *vm = control->vm;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (!out) {
		answer(c, "error no memory");
		return;
	}
	fprintf(out, "ok\nname: %s\nstate: %s\nrestarts: %llu\n", vm->cfg->name,
		control->paused	   ? "paused"
		: vm_suspended(vm) ? "suspended to RAM"
				   : "running",
		(unsigned long long)vm->resets);
	arch_print_plan(vm, out);
	/* All or nothing: half an answer would be taken for the whole. */
	if (fclose(out) || len >= ANSWER_MAX)
		answer(c, "error the answer is too long");
	else
		answer_text(c, text, len);
	free(text);
}

/* "device NAME WORDS…": what the words mean is the device's business. */
static void do_device(struct control *control, struct client *c, const char *rest)
{
	char line[LINE_MAX_BYTES], reply[LINE_MAX_BYTES - 8], name[32];
	const char *words = strchr(rest, ' ');
	size_t len = words ? (size_t)(words - rest) : strlen(rest);
	struct error err;

	if (!len || len >= sizeof(name)) {
		answer(c, "error the request names no device");
		return;
	}
	memcpy(name, rest, len);
	name[len] = '\0';
	if (arch_device_command(control->vm, name, words ? words + 1 : "", reply, sizeof(reply),
				&err))
		snprintf(line, sizeof(line), "error %s", err.msg);
	else
		snprintf(line, sizeof(line), "ok%s%s", *reply ? " " : "", reply);
	answer(c, line);
}

static void handle(struct client *c, const char *request)
{
	struct control *control = c->control;
	const char *word = request + strlen(PROTOCOL);

	if (strncmp(request, PROTOCOL, strlen(PROTOCOL))) {
		answer(c, "error this VM speaks lkvm/1");
	} else if (!strcmp(word, "resume")) {
		do_resume(control, c);
	} else if (!strcmp(word, "pause")) {
		do_pause(control, c);
	} else if (!strcmp(word, "info")) {
		do_info(control, c);
	} else if (!strncmp(word, "device ", 7)) {
		do_device(control, c, word + 7);
	} else if (!strcmp(word, "stop")) {
		answer(c, "ok stopping");
		vm_end(control->vm, VM_QUIT);
	} else {
		answer(c, "error unknown request");
	}
}

static void client_ready(void *opaque, uint32_t events)
{
	struct client *c = opaque;
	ssize_t n = recv(c->fd, c->buf + c->len, sizeof(c->buf) - c->len, MSG_DONTWAIT);
	char *end;

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop_client(c);
		return;
	}
	c->len += (size_t)n;
	end = memchr(c->buf, '\n', c->len);
	if (end) {
		*end = '\0';
		/* A zero byte in the line would hide what follows it. */
		handle(c, strlen(c->buf) == (size_t)(end - c->buf) ? c->buf : PROTOCOL);
	} else if (c->len == sizeof(c->buf)) {
		answer(c, "error the request is too long");
	}
}

static bool peer_allowed(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		return false;
	return cred.uid == geteuid() || !cred.uid;
}

/* A free place, or that of the client that has been silent for longest. */
static struct client *take_place(struct control *control)
{
	struct client *oldest = &control->clients[0];
	size_t i;

	for (i = 0; i < CLIENTS_MAX; i++) {
		struct client *c = &control->clients[i];

		if (c->fd < 0)
			return c;
		if (c->timer.deadline < oldest->timer.deadline)
			oldest = c;
	}
	drop_client(oldest);
	return oldest;
}

static void listen_again(void *opaque)
{
	struct control *control = opaque;

	loop_modify_fd(control->vm->loop, control->fd, EPOLLIN);
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
		close(fd);
		return;
	}
	c = take_place(control);
	if (loop_add_fd(control->vm->loop, fd, EPOLLIN, client_ready, c)) {
		close(fd);
		return;
	}
	c->fd = fd;
	c->len = 0;
	loop_timer_arm(&c->timer, now_ns() + CLIENT_SECONDS * NSEC_PER_SEC);
}

/* Is the lock that we hold still the one that the path names? */
static bool holds_name(const struct control *control, int lock_fd)
{
	struct stat by_fd, by_path;

	return !fstat(lock_fd, &by_fd) && !lstat(control->lock_path, &by_path) &&
	       by_fd.st_ino == by_path.st_ino && by_fd.st_dev == by_path.st_dev;
}

/* Take the name; a second VM of the same name is refused. */
static int take_lock(struct control *control, const char *name, struct error *err)
{
	int fd;

	for (;;) {
		fd = open(control->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return fail_errno(err, errno, "cannot open %s", control->lock_path);
		if (flock(fd, LOCK_EX | LOCK_NB)) {
			int errnum = errno;

			close(fd);
			if (errnum == EWOULDBLOCK)
				return fail(err, "--name %s: a VM of this name runs already", name);
			return fail_errno(err, errnum, "cannot lock %s", control->lock_path);
		}
		if (holds_name(control, fd))
			break;
		close(fd); /* the last owner removed it between our open and our lock */
	}
	control->lock_fd = fd;
	return 0;
}

static int listen_at(struct control *control, struct error *err)
{
	const struct sockaddr *addr = (const struct sockaddr *)&control->addr;

	control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (control->fd < 0)
		return fail_errno(err, errno, "cannot make a control socket");
	/* Before bind: the inode is born with this mode. */
	fchmod(control->fd, 0600);
	unlink(control->addr.sun_path);
	if (bind(control->fd, addr, sizeof(control->addr)) || listen(control->fd, CLIENTS_MAX))
		return fail_errno(err, errno, "cannot listen on %s", control->addr.sun_path);
	return 0;
}

struct control *control_create(struct vm *vm, struct error *err)
{
	struct control *control = calloc(1, sizeof(*control));
	size_t i;
	int ret;

	if (!control) {
		fail(err, "no memory for the control socket");
		return NULL;
	}
	control->vm = vm;
	control->lock_fd = -1;
	control->fd = -1;
	control->addr.sun_family = AF_UNIX;
	loop_timer_init(&control->listen_again, vm->loop, listen_again, control);
	for (i = 0; i < CLIENTS_MAX; i++) {
		control->clients[i].control = control;
		control->clients[i].fd = -1;
		loop_timer_init(&control->clients[i].timer, vm->loop, client_late,
				&control->clients[i]);
	}
	if (make_paths(vm->cfg->name, true, control->addr.sun_path, control->lock_path,
		       sizeof(control->lock_path), err) ||
	    take_lock(control, vm->cfg->name, err) || listen_at(control, err))
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

void control_destroy(struct control *control)
{
	size_t i;

	if (!control)
		return;
	for (i = 0; i < CLIENTS_MAX; i++)
		drop_client(&control->clients[i]);
	loop_timer_cancel(&control->listen_again);
	if (control->fd >= 0) {
		loop_remove_fd(control->vm->loop, control->fd);
		close(control->fd);
	}
	if (control->lock_fd >= 0) {
		/* A cleaner may have removed our files, and another VM taken the name. */
		if (holds_name(control, control->lock_fd)) {
			unlink(control->addr.sun_path);
			unlink(control->lock_path);
		}
		close(control->lock_fd);
	}
	free(control);
}

int control_request(const char *name, const char *word, char *text, size_t len, struct error *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = 2 * CLIENT_SECONDS};
	char line[ANSWER_MAX];
	size_t got = 0, first;
	ssize_t n = 0;
	int fd;

	if (!control_name_ok(name))
		return fail(err, "%.80s is not a VM's name", name);
	if (make_paths(name, false, addr.sun_path, NULL, sizeof(addr.sun_path), err))
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fail_errno(err, errno, "cannot make a socket");
	/* Sending covers connecting: a VM that hangs accepts nobody. */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		bool hangs = errno == EAGAIN;

		close(fd);
		return hangs ? fail(err, "%s: the VM did not answer", name)
			     : fail(err, "no VM called %s runs here", name);
	}
	snprintf(line, sizeof(line), PROTOCOL "%s\n", word);
	if (send(fd, line, strlen(line), MSG_NOSIGNAL) >= 0)
		while (got < sizeof(line) - 1 &&
		       (n = recv(fd, line + got, sizeof(line) - 1 - got, 0)) > 0)
			got += (size_t)n;
	close(fd);
	line[got] = '\0';
	if (n < 0 || got == sizeof(line) - 1)
		return fail(err, "%s: the VM did not answer %s", name,
			    n < 0 ? "in time" : "in bounds");
	if (!strncmp(line, "ok", 2)) {
		snprintf(text, len, "%s", line[2] ? line + 3 : "");
		return 0;
	}
	first = strcspn(line, "\n");
	line[first] = '\0';
	if (!strncmp(line, "error ", 6))
		return fail(err, "%s: %s", name, line + 6);
	return fail(err, "%s: the VM did not answer", name);
}
