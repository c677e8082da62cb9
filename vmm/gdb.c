// SPDX-License-Identifier: GPL-2.0-only
/*
 * The GDB stub's socket and its one connection (include/lkvm/gdb.h).
 *
 * The other side is not trusted. One packet at a time is kept of what it says, and one
 * answer of ours: while that waits for the reader nothing more is read. What it may do to
 * the guest is everything; what lkvm does for it takes bounded time, and the loop never
 * waits for it.
 *
 * A second debugger is hung up on. When the one there is leaves, in whatever way, its
 * breakpoints leave with it and the VM goes on.
 *
 * Thread and lock: the loop's thread alone (gdb_hit() only passes on). Nothing is saved, and
 * no VM is saved while a debugger is there.
 */
#include "gdb_parts.h"
#include "lkvm/unix_socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/un.h>
#include <unistd.h>

/* In GDB's own numbering. */
#define SIGNAL_INT 2
#define SIGNAL_TRAP 5

#define CHUNK 4096

/**
 * struct gdb - the stub
 * @listen: the socket, or -1; @again: looks at it again when there were no descriptors
 * @socket: where it listens, if that is a unix socket
 * @fd: the connection, or -1
 * @stop_due: the VM stopped: the answer to what let it go
 * @closing: hang up when all is sent
 * @chunk, @chunk_at, @chunk_len: bytes that came and were not looked at
 * @out, @out_len, @sent: bytes that go; @frame_at, @frame_len: the last packet in @out
 */
struct gdb {
	struct vm *vm;
	struct debug *debug;
	int listen;
	struct loop_timer again;
	struct unix_socket socket;

	int fd;
	struct gdb_session session;
	struct gdb_input input;
	struct gdb_reply reply;
	bool stop_due, closing;
	uint8_t chunk[CHUNK];
	size_t chunk_at, chunk_len;
	char out[GDB_OUT_MAX];
	size_t out_len, sent, frame_at, frame_len;
};

/* --- what goes out ------------------------------------------------------------------------ */

static void hang_up(struct gdb *g)
{
	if (g->fd < 0)
		return;
	loop_remove_fd(g->vm->loop, g->fd);
	close(g->fd);
	g->fd = -1;
	gdb_session_free(&g->session);
	debug_detach(g->debug);
	log_info(g->vm->log, "the debugger has left");
}

static bool waiting(const struct gdb *g)
{
	return g->sent < g->out_len;
}

static void flush(struct gdb *g)
{
	ssize_t n;

	while (g->fd >= 0 && waiting(g)) {
		n = send(g->fd, g->out + g->sent, g->out_len - g->sent,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			hang_up(g);
			return;
		}
		g->sent += (size_t)n;
	}
	if (g->closing)
		hang_up(g);
}

/* A byte for the framing itself; there is always room before a packet. */
static void put_byte(struct gdb *g, char byte)
{
	if (!waiting(g))
		g->out_len = g->sent = g->frame_len = 0;
	if (g->out_len < sizeof(g->out))
		g->out[g->out_len++] = byte;
}

static void put_packet(struct gdb *g, const struct gdb_reply *reply)
{
	if (!waiting(g))
		g->out_len = g->sent = 0;
	/* More than an acknowledgement can't be before it: see serve(). */
	g->frame_at = g->out_len;
	g->frame_len = gdb_frame(reply, g->out + g->out_len);
	g->out_len += g->frame_len;
}

/* It did not get through: the same bytes again. */
static void send_again(struct gdb *g)
{
	if (g->session.no_ack || !g->frame_len || waiting(g))
		return;
	memmove(g->out, g->out + g->frame_at, g->frame_len);
	g->frame_at = 0;
	g->out_len = g->frame_len;
	g->sent = 0;
}

static void tell_stop(struct gdb *g)
{
	if (!g->stop_due || waiting(g))
		return;
	g->stop_due = false;
	put_packet(g, &g->session.stop);
}

/* --- what comes in ------------------------------------------------------------------------ */

static void interrupt(struct gdb *g)
{
	if (debug_is_stopped(g->debug))
		return;
	if (debug_stop(g->debug)) {
		log_error(g->vm->log, "a hart did not stop in time for the debugger");
		return;
	}
	gdb_stop_reply(&g->session, g->session.hart, SIGNAL_INT, "");
	g->stop_due = true;
}

static void handle(struct gdb *g)
{
	bool no_ack = g->session.no_ack;
	enum gdb_then then;

	if (!no_ack)
		put_byte(g, '+');
	then = gdb_handle(&g->session, g->input.buf, g->input.len, &g->reply);
	if (then != GDB_SILENT && (then != GDB_KILL || g->reply.len))
		put_packet(g, &g->reply);
	if (then == GDB_GOODBYE || then == GDB_KILL)
		g->closing = true;
	if (then == GDB_KILL) {
		log_info(g->vm->log, "the debugger ended the VM");
		vm_end(g->vm, VM_QUIT);
	}
}

static void refuse_packet(struct gdb *g)
{
	if (!g->session.no_ack)
		put_byte(g, '+');
	g->reply.len = 0;
	gdb_put(&g->reply, "E%02x", (unsigned int)E2BIG);
	put_packet(g, &g->reply);
}

static void take(struct gdb *g, enum gdb_event event)
{
	switch (event) {
	case GDB_PACKET:
		handle(g);
		break;
	case GDB_TOO_LONG:
		refuse_packet(g);
		break;
	case GDB_DAMAGED:
		/* Nobody would send it again. */
		if (g->session.no_ack)
			g->closing = true;
		else
			put_byte(g, '-');
		break;
	case GDB_INTERRUPT:
		interrupt(g);
		break;
	case GDB_AGAIN:
		send_again(g);
		break;
	default:
		break;
	}
}

/* All that has come, as long as what is answered is taken. */
static void serve(struct gdb *g)
{
	enum gdb_event event;

	tell_stop(g);
	flush(g);
	while (g->fd >= 0 && !waiting(g) && g->chunk_at < g->chunk_len) {
		event = gdb_feed(&g->input, g->chunk[g->chunk_at++]);
		if (event == GDB_NOTHING)
			continue;
		take(g, event);
		flush(g);
		if (g->fd >= 0)
			tell_stop(g);
		flush(g);
	}
	if (g->fd >= 0)
		loop_modify_fd(g->vm->loop, g->fd, waiting(g) ? EPOLLOUT : EPOLLIN);
}

static void ready(void *opaque, uint32_t events)
{
	struct gdb *g = opaque;
	ssize_t n;

	if (!waiting(g) && g->chunk_at == g->chunk_len) {
		n = recv(g->fd, g->chunk, sizeof(g->chunk), MSG_DONTWAIT);
		if (!n || (n < 0 && errno != EAGAIN && errno != EINTR)) {
			hang_up(g);
			return;
		}
		g->chunk_at = 0;
		g->chunk_len = n > 0 ? (size_t)n : 0;
	} else if (events & EPOLLHUP) {
		hang_up(g);
		return;
	}
	serve(g);
}

static void stopped(void *opaque, unsigned int hart, enum debug_reason reason)
{
	struct gdb *g = opaque;

	gdb_stop_reply(&g->session, hart, SIGNAL_TRAP,
		       reason == DEBUG_BREAKPOINT ? "swbreak:;" : "");
	if (g->fd < 0)
		return;
	g->stop_due = true;
	/* Inside a packet's handling that is seen to behind it. */
	loop_modify_fd(g->vm->loop, g->fd, EPOLLIN | EPOLLOUT);
}

void gdb_serve(struct gdb *g, int fd)
{
	struct error err;
	int one = 1;

	/* It is no TCP where it is a unix socket. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (g->fd >= 0 || loop_add_fd(g->vm->loop, fd, EPOLLIN, ready, g)) {
		close(fd);
		return;
	}
	g->fd = fd;
	g->stop_due = g->closing = false;
	g->chunk_at = g->chunk_len = 0;
	g->out_len = g->sent = g->frame_len = 0;
	memset(&g->input, 0, sizeof(g->input));
	gdb_session_init(&g->session, g->vm, g->debug);
	log_info(g->vm->log, "a debugger has come; the VM stands still");
	if (!debug_attach(g->debug, &err))
		return;
	log_error(g->vm->log, "the debugger can't be served: %s", err.msg);
	hang_up(g);
}

/* --- the socket --------------------------------------------------------------------------- */

/* On a unix socket it can be told who is there: this user, or root. */
static bool peer_allowed(const struct gdb *g, int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (g->socket.addr.sun_family != AF_UNIX)
		return true;
	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) &&
	       (cred.uid == geteuid() || !cred.uid);
}

static void look_again(void *opaque)
{
	struct gdb *g = opaque;

	loop_modify_fd(g->vm->loop, g->listen, EPOLLIN);
}

static void new_peer(void *opaque, uint32_t events)
{
	struct gdb *g = opaque;
	int fd = accept4(g->listen, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0) {
		/* Out of descriptors: the socket stays readable, so look away for a while. */
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
			loop_modify_fd(g->vm->loop, g->listen, 0);
			loop_timer_arm(&g->again, now_ns() + NSEC_PER_SEC);
		}
		return;
	}
	/* What is being saved must not get breakpoints meanwhile. */
	if (peer_allowed(g, fd) && !g->vm->reader)
		gdb_serve(g, fd);
	else
		close(fd);
}

static int listen_tcp(const struct gdb_address *a, struct error *err)
{
	int fd = socket(a->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1;

	if (fd < 0)
		return fail_errno(err, errno, "cannot make a socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (!bind(fd, (const struct sockaddr *)&a->address, a->len) && !listen(fd, 1))
		return fd;
	fail_errno(err, errno, "cannot listen there");
	close(fd);
	return -1;
}

static int listen_at(struct gdb *g, const struct gdb_address *a, struct error *err)
{
	struct error why;
	int ret;

	if (a->address.ss_family == AF_UNIX) {
		memcpy(&g->socket.addr, &a->address, sizeof(g->socket.addr));
		g->listen = unix_socket_listen(&g->socket, 1, &why);
	} else {
		g->listen = listen_tcp(a, &why);
	}
	if (g->listen < 0)
		return fail(err, "--gdb: %s", why.msg);
	ret = loop_add_fd(g->vm->loop, g->listen, EPOLLIN, new_peer, g);
	return ret ? fail_errno(err, -ret, "--gdb: cannot watch the socket") : 0;
}

struct gdb *gdb_create(struct vm *vm, const struct gdb_address *address, struct error *err)
{
	struct gdb *g = calloc(1, sizeof(*g));
	struct error why;

	if (!g) {
		fail(err, "no memory");
		return NULL;
	}
	g->vm = vm;
	g->listen = -1;
	g->fd = -1;
	loop_timer_init(&g->again, vm->loop, look_again, g);
	g->debug = debug_create(vm, stopped, g, &why);
	if (!g->debug) {
		fail(err, "--gdb: %s", why.msg);
		goto out;
	}
	gdb_session_init(&g->session, vm, g->debug);
	if (listen_at(g, address, err))
		goto out;
	/* Nothing runs yet, so it can't fail. */
	if (address->wait)
		debug_stop(g->debug);
	return g;
out:
	gdb_destroy(g);
	return NULL;
}

bool gdb_attached(const struct gdb *g)
{
	return g && debug_attached(g->debug);
}

bool gdb_stopped(const struct gdb *g)
{
	return g && debug_is_stopped(g->debug);
}

bool gdb_hit(struct gdb *g, struct vcpu *vcpu)
{
	if (!g)
		return false;
	debug_hit(g->debug, vcpu);
	return true;
}

int gdb_restarted(struct gdb *g, struct error *err)
{
	return g ? debug_restarted(g->debug, err) : 0;
}

void gdb_ended(struct gdb *g, int status)
{
	if (!g || g->fd < 0 || waiting(g))
		return;
	g->reply.len = 0;
	gdb_put(&g->reply, "W%02x", (unsigned int)status & 0xff);
	put_packet(g, &g->reply);
	(void)!send(g->fd, g->out, g->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);
	g->out_len = g->sent = 0;
}

void gdb_destroy(struct gdb *g)
{
	if (!g)
		return;
	loop_timer_cancel(&g->again);
	if (g->fd >= 0) {
		loop_remove_fd(g->vm->loop, g->fd);
		close(g->fd);
		gdb_session_free(&g->session);
	}
	if (g->listen >= 0) {
		loop_remove_fd(g->vm->loop, g->listen);
		close(g->listen);
	}
	unix_socket_remove(&g->socket);
	debug_destroy(g->debug);
	free(g);
}
