// SPDX-License-Identifier: GPL-2.0-only
/*
 * "--vsock CID,ready=PORT": the guest itself says that it is ready, as a service says it to
 * its manager. A program there connects to port PORT of the host (CID 2, stream) and says
 * lines as sd_notify(3) has them:
 *
 *   READY=1
 *   STATUS=words for people
 *
 * READY=1 is told on, once for each time it is said, with the status beside it; all other
 * lines are not for us. systemd does it by itself where the credential vmm.notify_socket is
 * "vsock-stream:2:PORT".
 *
 * We are one more program on the host: we listen at the unix socket that stands for the port,
 * or at the port of AF_VSOCK, where a CID that is not our guest's is turned away. What is said
 * there is a stranger's word: of a message MESSAGE_MAX bytes are taken, one message at a time
 * (a new one ends the one before), and its status is shown without control characters.
 *
 * A program that does not close is heard too, as soon as its last line is whole.
 *
 * Thread: the loop's; no lock. Nothing is saved: a restored guest may say it again.
 */
#include "vsock_internal.h"

#include "lkvm/unix_socket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Behind what it needs of <sys/socket.h>. */
#include <linux/vm_sockets.h>

#define MESSAGE_MAX 4096
#define STATUS_MAX 128
#define BACKLOG 4

/**
 * struct vsock_ready - the listener, and who talks
 * @by_cid: it listens at AF_VSOCK
 * @file: else, where
 * @listener, @talker: descriptors, or -1
 * @text, @len: what @talker has said
 */
struct vsock_ready {
	struct loop *loop;
	void (*ready)(void *opaque, const char *status);
	void *opaque;
	uint64_t cid;
	uint32_t port;
	bool by_cid;
	struct unix_socket file;
	int listener, talker;
	char text[MESSAGE_MAX + 1];
	size_t len;
};

static void unwatch(struct vsock_ready *r, int *fd)
{
	if (*fd < 0)
		return;
	loop_remove_fd(r->loop, *fd);
	close(*fd);
	*fd = -1;
}

/* --- what is said ----------------------------------------------------------------- */

/* The value of the first whole line "@name=..." in @text; its length in *@len. NULL: none. */
static const char *find_line(const char *text, const char *name, size_t *len)
{
	size_t n = strlen(name), all;

	for (; *text; text += all + 1) {
		all = strcspn(text, "\n");
		if (!text[all])
			return NULL;
		if (all >= n && !strncmp(text, name, n)) {
			*len = all - n;
			return text + n;
		}
	}
	return NULL;
}

static void copy_printable(char status[STATUS_MAX], const char *from, size_t len)
{
	size_t i;

	for (i = 0; i < len && i < STATUS_MAX - 1; i++)
		status[i] = from[i] >= ' ' && from[i] < 0x7f ? from[i] : '?';
	status[i] = '\0';
}

/* True where the message has been heard. */
static bool heard(struct vsock_ready *r)
{
	char status[STATUS_MAX] = "";
	const char *value;
	size_t len;

	/* A status may be on its way. */
	if (r->len && r->text[r->len - 1] != '\n')
		return false;
	value = find_line(r->text, "READY=", &len);
	if (!value || len != 1 || *value != '1')
		return false;
	value = find_line(r->text, "STATUS=", &len);
	if (value)
		copy_printable(status, value, len);
	if (r->ready)
		r->ready(r->opaque, status);
	return true;
}

static void on_words(void *opaque, uint32_t events)
{
	struct vsock_ready *r = opaque;
	ssize_t n = recv(r->talker, r->text + r->len, MESSAGE_MAX - 1 - r->len, MSG_DONTWAIT);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	/* Who closes has ended the last line too. */
	if (n <= 0)
		r->text[r->len++] = '\n';
	else
		r->len += (size_t)n;
	r->text[r->len] = '\0';
	/* A byte of zero would hide what is behind it. */
	if (heard(r) || n <= 0 || r->len >= MESSAGE_MAX - 1 || strlen(r->text) != r->len)
		unwatch(r, &r->talker);
}

/* --- who talks --------------------------------------------------------------------- */

static bool is_guest(const struct vsock_ready *r, const struct sockaddr_vm *peer)
{
	return !r->by_cid || peer->svm_cid == r->cid;
}

static void on_caller(void *opaque, uint32_t events)
{
	struct vsock_ready *r = opaque;
	struct sockaddr_vm peer = {.svm_family = AF_VSOCK};
	socklen_t len = sizeof(peer);
	int fd;

	(void)events;
	fd = accept4(r->listener, r->by_cid ? (struct sockaddr *)&peer : NULL,
		     r->by_cid ? &len : NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	if (!is_guest(r, &peer)) {
		close(fd);
		return;
	}
	unwatch(r, &r->talker);
	r->len = 0;
	if (loop_add_fd(r->loop, fd, EPOLLIN, on_words, r))
		close(fd);
	else
		r->talker = fd;
}

/* --- life ---------------------------------------------------------------------------- */

static int listen_vsock(struct vsock_ready *r, struct error *err)
{
	struct sockaddr_vm addr = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = r->port};
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return fail_errno(err, errno, "ready=%u: cannot make a socket", r->port);
	if (!bind(fd, (struct sockaddr *)&addr, sizeof(addr)) && !listen(fd, BACKLOG))
		return fd;
	if (errno == EADDRINUSE)
		fail(err, "ready=%u: port %u of AF_VSOCK is in use: a VM needs one of its own",
		     r->port, r->port);
	else
		fail_errno(err, errno, "ready=%u: cannot listen", r->port);
	close(fd);
	return -1;
}

static int listen_unix(struct vsock_ready *r, const char *path, struct error *err)
{
	size_t size = sizeof(r->file.addr.sun_path);
	struct error why;
	int fd;

	r->file.addr.sun_family = AF_UNIX;
	if ((size_t)snprintf(r->file.addr.sun_path, size, "%s_%u", path, r->port) >= size)
		return fail(err, "ready=%u: %s_%u is too long a path for a socket", r->port, path,
			    r->port);
	fd = unix_socket_listen(&r->file, BACKLOG, &why);
	return fd < 0 ? fail(err, "ready=%u: %s", r->port, why.msg) : fd;
}

int vsock_ready_start(struct vsock_ready *r, const char *path, struct error *err)
{
	int ret;

	if (!r)
		return 0;
	r->by_cid = !path;
	r->listener = path ? listen_unix(r, path, err) : listen_vsock(r, err);
	if (r->listener < 0)
		return -1;
	ret = loop_add_fd(r->loop, r->listener, EPOLLIN, on_caller, r);
	if (!ret)
		return 0;
	close(r->listener);
	r->listener = -1;
	return fail_errno(err, -ret, "ready=%u: cannot watch the socket", r->port);
}

struct vsock_ready *vsock_ready_new(const struct virtio_world *world, uint64_t cid, uint32_t port,
				    struct error *err)
{
	struct vsock_ready *r = calloc(1, sizeof(*r));

	if (!r) {
		fail(err, "no memory for a socket device");
		return NULL;
	}
	r->loop = world->loop;
	r->ready = world->ready;
	r->opaque = world->opaque;
	r->cid = cid;
	r->port = port;
	r->listener = r->talker = -1;
	if (r->ready)
		r->ready(r->opaque, NULL);
	return r;
}

void vsock_ready_free(struct vsock_ready *r)
{
	if (!r)
		return;
	unwatch(r, &r->talker);
	unwatch(r, &r->listener);
	unix_socket_remove(&r->file);
	free(r);
}
