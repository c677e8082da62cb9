// SPDX-License-Identifier: GPL-2.0-only
/*
 * Frames over a socket: a stream (virtio/net_frames.c says how they are told apart) or
 * messages, one frame each. The other end is passt, another VM, a switch: whoever it
 * is, it is not trusted, and is never waited for.
 *
 * Stream, out. Frames are collected in a buffer and sent by one call when the pass over
 * the queue ends, or when the buffer is full. What the socket does not take stays, a
 * part of a frame too, and goes before everything else: the stream is never torn. While
 * a frame of any length would not fit behind it, there is no room, and the loop waits
 * for the socket.
 *
 * Stream, in. One call fetches what fits. Where it gets less than that, the socket was
 * empty at that moment, and no other call is made to learn it.
 *
 * Messages. Sent at once from where they lie; the one that the socket does not take is
 * copied and waits.
 *
 * The end. The other side may close, or send what is no frame. That is noticed inside,
 * on any thread, but told by the loop's: the descriptor is taken from the loop, and the
 * device loses its carrier. Where passt stands behind the socket it gets a moment to
 * say how it ended, which is the better message.
 *
 * Flags of the descriptor, which may be shared with other processes, are left alone:
 * every call says itself that it must not wait.
 *
 * Thread and lock: the device's lock for both buffers; the loop's thread for the rest.
 * What is saved: nothing.
 */
#include "net_internal.h"

#include "lkvm/virtio/net_backend.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PREFIX 4
#define OUT_BUFFER (256 * 1024)

_Static_assert(OUT_BUFFER >= PREFIX + NET_SOCKET_FRAME_MAX, "a whole frame fits");

struct net_socket {
	struct loop *loop;
	struct virtio_net *net;
	int fd;
	bool stream;
	struct net_watch watch;
	const struct net_socket_owner *owner;
	void *owner_opaque;

	/* The end. */
	bool dead;	 /* inside */
	const char *why; /* inside; where nobody knows better */
	bool told;
	struct loop_work end_work;
	struct loop_timer end_timer;

	/* Out. */
	bool blocked; /* somebody was told that there is no room */
	size_t out_head, out_len;
	uint8_t out[OUT_BUFFER];

	/* In; of messages only the buffer is used. */
	bool drained;
	struct net_frames in;
};

/* --- the end -------------------------------------------------------------------------- */

/* Inside. */
static void die(struct net_socket *s, const char *why)
{
	if (s->dead)
		return;
	s->dead = true;
	s->why = why;
	s->out_len = 0;
	net_watch_set(&s->watch, EPOLLIN | EPOLLOUT, false);
	loop_post(s->loop, &s->end_work);
}

static void tell(struct net_socket *s, const char *why)
{
	if (s->told)
		return;
	s->told = true;
	loop_timer_cancel(&s->end_timer);
	net_watch_stop(&s->watch);
	virtio_net_carrier(s->net, false, why);
}

static void patience_is_over(void *opaque)
{
	struct net_socket *s = opaque;

	tell(s, s->why);
}

static void end(void *opaque)
{
	struct net_socket *s = opaque;

	/* A hang-up is reported again and again. */
	net_watch_stop(&s->watch);
	if (s->owner && s->owner->patience_ns)
		loop_timer_arm(&s->end_timer, now_ns() + s->owner->patience_ns);
	else
		tell(s, s->why);
}

void net_socket_own(const struct net_backend *backend, const struct net_socket_owner *owner,
		    void *opaque)
{
	struct net_socket *s = backend->opaque;

	s->owner = owner;
	s->owner_opaque = opaque;
}

void net_socket_end(const struct net_backend *backend, const char *why)
{
	struct net_socket *s = backend->opaque;
	struct virtio_device *vdev = virtio_net_device(s->net);

	virtio_enter_device(vdev);
	die(s, "");
	virtio_leave(vdev);
	tell(s, why);
}

/* --- out -------------------------------------------------------------------------------- */

static bool would_block(int errnum)
{
	return errnum == EAGAIN || errnum == EWOULDBLOCK;
}

/* Is the other side gone for good? */
static bool is_end(int errnum)
{
	return errnum == EPIPE || errnum == ECONNRESET || errnum == ECONNREFUSED ||
	       errnum == ENOTCONN || errnum == ESHUTDOWN;
}

/* Send what waits, as far as the socket takes it. */
static void push(struct net_socket *s)
{
	while (s->out_len) {
		ssize_t n =
			send(s->fd, s->out + s->out_head, s->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && would_block(errno))
			break;
		if (n < 0 && (s->stream || is_end(errno))) {
			die(s, "the other side closed the connection");
			return;
		}
		/* A message that is refused, for its length perhaps, is dropped. */
		if (n < 0 || !s->stream)
			n = (ssize_t)s->out_len;
		s->out_head += (size_t)n;
		s->out_len -= (size_t)n;
	}
	if (!s->out_len)
		s->out_head = 0;
	net_watch_set(&s->watch, EPOLLOUT, s->out_len);
}

static bool fits(const struct net_socket *s)
{
	if (s->dead)
		return true;
	return s->stream ? OUT_BUFFER - s->out_len >= PREFIX + NET_SOCKET_FRAME_MAX : !s->out_len;
}

static bool socket_room(void *opaque, unsigned int pair)
{
	struct net_socket *s = opaque;

	(void)pair;
	if (!fits(s))
		push(s);
	s->blocked = !fits(s);
	return !s->blocked;
}

static void append(struct net_socket *s, const void *bytes, size_t len)
{
	memcpy(s->out + s->out_head + s->out_len, bytes, len);
	s->out_len += len;
}

static int keep(struct net_socket *s, const struct iovec *iov, unsigned int nr, size_t len)
{
	uint32_t prefix = htobe32((uint32_t)len);
	unsigned int i;

	if (OUT_BUFFER - s->out_head - s->out_len < PREFIX + len) {
		memmove(s->out, s->out + s->out_head, s->out_len);
		s->out_head = 0;
	}
	if (s->stream)
		append(s, &prefix, PREFIX);
	for (i = 0; i < nr; i++)
		append(s, iov[i].iov_base, iov[i].iov_len);
	return 0;
}

static int socket_send(void *opaque, unsigned int pair, const struct iovec *iov, unsigned int nr,
		       size_t len)
{
	struct net_socket *s = opaque;
	/* sendmsg() takes it and leaves it alone. */
	const struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = nr};

	(void)pair;
	if (s->dead)
		return -EPIPE;
	if (len > NET_SOCKET_FRAME_MAX)
		return -EMSGSIZE;
	if (s->stream)
		return keep(s, iov, nr, len);
	if (sendmsg(s->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return 0;
	if (would_block(errno)) {
		keep(s, iov, nr, len);
		net_watch_set(&s->watch, EPOLLOUT, true);
		return 0;
	}
	if (is_end(errno))
		die(s, "the other side closed the connection");
	return -errno;
}

static void socket_flush(void *opaque, unsigned int pair)
{
	struct net_socket *s = opaque;

	(void)pair;
	if (s->stream && !s->dead)
		push(s);
}

/* --- in ---------------------------------------------------------------------------------- */

static ssize_t receive(struct net_socket *s, void *buf, size_t len)
{
	ssize_t n;

	do
		n = recv(s->fd, buf, len, MSG_DONTWAIT | (s->stream ? 0 : MSG_TRUNC));
	while (n < 0 && errno == EINTR);
	if (n < 0 && would_block(errno))
		return -EAGAIN;
	/* Of messages an empty one is none; their end is told by an error, or a hang-up. */
	if (n < 0 || (!n && s->stream)) {
		die(s, "the other side closed the connection");
		return -EPIPE;
	}
	return n;
}

static long recv_stream(struct net_socket *s, const uint8_t **frame)
{
	for (;;) {
		long n = net_frames_next(&s->in, frame);
		uint8_t *at;
		size_t len;

		if (n < 0)
			die(s, "the other side sent what is no frame");
		if (n)
			return n;
		if (s->drained) {
			s->drained = false;
			return 0;
		}
		at = net_frames_space(&s->in, &len);
		n = receive(s, at, len);
		if (n < 0)
			return n == -EAGAIN ? 0 : n;
		net_frames_filled(&s->in, (size_t)n);
		s->drained = (size_t)n < len;
	}
}

static long recv_message(struct net_socket *s, const uint8_t **frame)
{
	ssize_t n = receive(s, s->in.buf, sizeof(s->in.buf));

	if (n < 0)
		return n == -EAGAIN ? 0 : (long)n;
	*frame = s->in.buf;
	/* What is no frame is dropped by its length, but it was something. */
	return n && (size_t)n <= sizeof(s->in.buf) ? (long)n : 1;
}

static long socket_recv(void *opaque, unsigned int pair, const uint8_t **frame)
{
	struct net_socket *s = opaque;

	(void)pair;
	if (s->dead)
		return -EPIPE;
	return s->stream ? recv_stream(s, frame) : recv_message(s, frame);
}

static void socket_poll(void *opaque, unsigned int pair, bool on)
{
	struct net_socket *s = opaque;

	(void)pair;
	if (!s->dead)
		net_watch_set(&s->watch, EPOLLIN, on);
}

/* --- the loop's side ------------------------------------------------------------------------ */

/* The socket takes bytes again. True where somebody waited for that. */
static bool make_room(struct net_socket *s)
{
	struct virtio_device *vdev = virtio_net_device(s->net);
	bool was_blocked;

	virtio_enter_device(vdev);
	was_blocked = s->blocked;
	push(s);
	if (was_blocked)
		s->blocked = !fits(s);
	was_blocked = was_blocked && !s->blocked;
	virtio_leave(vdev);
	return was_blocked;
}

static void socket_ready(void *opaque, uint32_t events)
{
	struct net_socket *s = opaque;
	struct virtio_device *vdev = virtio_net_device(s->net);

	if (events & (EPOLLHUP | EPOLLERR)) {
		virtio_enter_device(vdev);
		die(s, "the other side closed the connection");
		virtio_leave(vdev);
		return;
	}
	if (events & EPOLLOUT && make_room(s))
		virtio_net_writable(s->net, 0);
	if (events & EPOLLIN)
		virtio_net_readable(s->net, 0);
}

static void socket_attach(void *opaque, struct virtio_net *net)
{
	((struct net_socket *)opaque)->net = net;
}

static int socket_start(void *opaque, struct error *err)
{
	struct net_socket *s = opaque;
	int ret = net_watch_start(&s->watch, s->loop, virtio_net_device(s->net), s->fd,
				  socket_ready, s);

	if (ret)
		return fail_errno(err, -ret, "cannot watch the network device's socket");
	return s->owner ? s->owner->start(s->owner_opaque, s->net, err) : 0;
}

static void socket_close(void *opaque)
{
	struct net_socket *s = opaque;

	loop_timer_cancel(&s->end_timer);
	loop_unpost(s->loop, &s->end_work);
	net_watch_stop(&s->watch);
	close(s->fd);
	if (s->owner)
		s->owner->close(s->owner_opaque);
	free(s);
}

static const struct net_backend_ops socket_ops = {
	.attach = socket_attach,
	.start = socket_start,
	.room = socket_room,
	.send = socket_send,
	.flush = socket_flush,
	.recv = socket_recv,
	.poll = socket_poll,
	.close = socket_close,
};

int net_socket_open(int fd, struct loop *loop, struct net_backend *backend, struct error *err)
{
	struct net_socket *s;
	socklen_t len = sizeof(int);
	int type;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len))
		return fail_errno(err, errno, "descriptor %d is no socket", fd);
	if (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_SEQPACKET)
		return fail(err, "descriptor %d is a socket of a type that carries no frames", fd);
	s = calloc(1, sizeof(*s));
	if (!s)
		return fail(err, "no memory for a network device");
	s->loop = loop;
	s->fd = fd;
	s->stream = type == SOCK_STREAM;
	loop_work_init(&s->end_work, end, s);
	loop_timer_init(&s->end_timer, loop, patience_is_over, s);
	*backend = (struct net_backend){.ops = &socket_ops, .opaque = s, .pairs = 1};
	return 0;
}
