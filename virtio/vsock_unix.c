// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host's side of a socket device by unix stream sockets, in Firecracker's
 * convention, so that it needs no privilege and no kernel module:
 *
 *   host to guest   a program connects to PATH and says "CONNECT PORT\n"; when the guest
 *                   has accepted, it reads "OK HOSTPORT\n", else the end
 *   guest to host   a connection to host port PORT goes to the unix socket PATH_PORT,
 *                   where a program listens
 *
 * One epoll descriptor of our own holds the listening socket and all streams, and is
 * itself watched by the VM's loop. Streams can so be added, changed and closed on any
 * thread that holds the device's lock, and whatever epoll says is handled under that
 * lock, so it is never about a stream that is gone. Streams are watched edge
 * triggered: what is ready stays so until a read or a write said that it is not; only
 * who was refused by a full socket waits for EPOLLOUT.
 *
 * A client has CLIENT_NS to say its line, of at most LINE_BYTES. It is looked at
 * without being taken, so that not a byte behind it is lost. Clients that did not say
 * it yet have few places, which a newer one takes from the oldest.
 *
 * A connect to a socket whose backlog is full is tried again every RETRY_NS; the
 * connection's own limit of time ends that.
 *
 * The paths are the user's, and who may reach them is decided by the mode of the
 * socket (0600, from birth) and of its directory. A socket that nobody listens on any
 * more is taken over; one that answers is not.
 *
 * Thread and lock: the virtio device's mutex; start and destroy on the loop's thread.
 * Nothing is saved.
 */
#include "lkvm/runtime.h"
#include "lkvm/unix_socket.h"
#include "vsock_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENT_NS (5 * NSEC_PER_SEC)
#define CLIENTS_MAX 16
#define LINE_BYTES 32
#define RETRY_NS (20 * NSEC_PER_MSEC)
#define LISTEN_AGAIN_NS NSEC_PER_SEC

#define BACKLOG 64
#define ACCEPTS_PER_EVENT 16
#define EVENTS_PER_TURN 32

#define WORD "CONNECT "

/* "_" and a port. */
#define SUFFIX_MAX 11

enum phase {
	PHASE_CLIENT,	  /* it did not say where it wants to go */
	PHASE_WAITING,	  /* for the guest's answer */
	PHASE_CONNECTING, /* the listener's backlog is full */
	PHASE_OPEN,
	PHASE_CLOSED, /* freed when no event is being handled */
};

/**
 * struct stream - one unix socket
 * @next, @prev: among all
 * @deadline: of PHASE_CLIENT and of the next try in PHASE_CONNECTING
 */
struct stream {
	struct unix_side *side;
	struct stream *next, *prev;
	struct vsock_conn *conn;
	int fd;
	enum phase phase;
	uint32_t port;
	uint64_t deadline;
};

/**
 * struct unix_side - all of them
 * @socket: that is listened on; its path is "" until it is known
 * @streams: a ring through a head
 * @closed: those that are freed when @busy ends
 * @clients: of PHASE_CLIENT
 * @tick: virtio_vsock_tick(); @timer: deadlines of streams
 * @listen_at: when to listen again, after descriptors ran out; 0: it does
 */
struct unix_side {
	struct virtio_vsock *vsock;
	struct virtio_device *vdev;
	struct loop *loop;
	struct log *log;
	const char *vm_name;
	struct unix_socket socket;
	int listener, epoll;
	struct stream streams, *closed;
	unsigned int clients;
	bool busy;
	struct vsock_ready *ready;
	struct loop_timer tick, timer;
	uint64_t armed, listen_at;
};

/* --- streams -------------------------------------------------------------------- */

static void arm(struct unix_side *side, uint64_t deadline)
{
	if (deadline >= side->armed)
		return;
	side->armed = deadline;
	loop_timer_arm(&side->timer, deadline);
}

static int watch(struct stream *s, int op, uint32_t more)
{
	struct epoll_event ev = {
		.events = EPOLLIN | EPOLLRDHUP | EPOLLET | more,
		.data.ptr = s,
	};

	return epoll_ctl(s->side->epoll, op, s->fd, &ev) ? -errno : 0;
}

static struct stream *new_stream(struct unix_side *side, int fd, enum phase phase)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->side = side;
	s->fd = fd;
	s->phase = phase;
	s->next = &side->streams;
	s->prev = side->streams.prev;
	s->prev->next = s;
	s->next->prev = s;
	side->clients += phase == PHASE_CLIENT;
	return s;
}

static void set_phase(struct stream *s, enum phase phase)
{
	s->side->clients -= s->phase == PHASE_CLIENT;
	s->phase = phase;
}

static void close_stream(struct stream *s)
{
	struct unix_side *side = s->side;

	set_phase(s, PHASE_CLOSED);
	/* Leaves the epoll set by it. */
	close(s->fd);
	s->prev->next = s->next;
	s->next->prev = s->prev;
	if (!side->busy) {
		free(s);
		return;
	}
	/* An event that was fetched may still name it. */
	s->next = side->closed;
	side->closed = s;
}

static void begin(struct unix_side *side)
{
	virtio_enter_device(side->vdev);
	side->busy = true;
}

static void end(struct unix_side *side)
{
	virtio_vsock_flush(side->vsock);
	side->busy = false;
	while (side->closed) {
		struct stream *s = side->closed;

		side->closed = s->next;
		free(s);
	}
	virtio_leave(side->vdev);
}

/* --- what the device asks for ------------------------------------------------------ */

static int try_connect(const struct stream *s)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	/* It fits: that was seen to when the device was built. */
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%.*s_%u",
		 (int)(sizeof(addr.sun_path) - SUFFIX_MAX - 1), s->side->socket.addr.sun_path,
		 s->port);
	return connect(s->fd, (struct sockaddr *)&addr, sizeof(addr)) ? -errno : 0;
}

static int on_connect(void *opaque, struct vsock_conn *conn, uint32_t port, void **stream)
{
	struct unix_side *side = opaque;
	struct stream *s;
	int ret, fd;

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	s = new_stream(side, fd, PHASE_OPEN);
	if (!s) {
		close(fd);
		return -ENOMEM;
	}
	s->conn = conn;
	s->port = port;
	ret = try_connect(s);
	if (ret == -EAGAIN) {
		s->phase = PHASE_CONNECTING;
		s->deadline = now_ns() + RETRY_NS;
		arm(side, s->deadline);
		ret = -EINPROGRESS;
	} else if (!ret) {
		ret = watch(s, EPOLL_CTL_ADD, 0);
	}
	if (ret && ret != -EINPROGRESS)
		close_stream(s);
	else
		*stream = s;
	return ret;
}

static void on_accepted(void *stream, uint32_t host_port)
{
	struct stream *s = stream;
	char line[LINE_BYTES];
	int len = snprintf(line, sizeof(line), "OK %u\n", host_port);

	set_phase(s, PHASE_OPEN);
	/* The socket is empty; a client that is gone already is told of by epoll. */
	(void)!send(s->fd, line, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL);
	/* What came meanwhile is said again. */
	watch(s, EPOLL_CTL_MOD, 0);
}

static long on_recv(void *stream, const struct iovec *iov, unsigned int nr, bool *more)
{
	struct stream *s = stream;
	struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = nr};
	size_t room = 0;
	unsigned int i;
	int left = 0;
	ssize_t n;

	/* Descriptors that come along are closed by the kernel: there is no room for them. */
	n = recvmsg(s->fd, &msg, MSG_DONTWAIT);
	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	for (i = 0; i < nr; i++)
		room += iov[i].iov_len;
	if (n && (size_t)n < room && !ioctl(s->fd, FIONREAD, &left))
		*more = left;
	return n;
}

static long on_send(void *stream, const struct iovec *iov, unsigned int nr)
{
	struct stream *s = stream;
	struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = nr};
	ssize_t n = sendmsg(s->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);

	return n < 0 ? -errno : n;
}

static void on_want_send(void *stream, bool on)
{
	watch(stream, EPOLL_CTL_MOD, on ? EPOLLOUT : 0);
}

static void on_shutdown(void *stream, int how)
{
	shutdown(((struct stream *)stream)->fd, how);
}

static void on_close(void *stream)
{
	close_stream(stream);
}

static void on_arm(void *opaque, uint64_t deadline_ns)
{
	loop_timer_arm(&((struct unix_side *)opaque)->tick, deadline_ns);
}

static uint64_t on_now(void *opaque)
{
	(void)opaque;
	return now_ns();
}

/* --- clients ------------------------------------------------------------------------ */

/* "CONNECT PORT" and nothing else. */
static bool parse_line(const char *line, size_t len, uint32_t *port)
{
	uint64_t value = 0;
	size_t i = strlen(WORD);

	if (len <= i || len > i + 10 || memcmp(line, WORD, i) != 0)
		return false;
	for (; i < len; i++) {
		if (line[i] < '0' || line[i] > '9')
			return false;
		value = value * 10 + (uint64_t)(line[i] - '0');
	}
	*port = (uint32_t)value;
	return value <= UINT32_MAX;
}

static void serve_client(struct stream *s)
{
	char line[LINE_BYTES], *newline;
	ssize_t n = recv(s->fd, line, sizeof(line), MSG_PEEK | MSG_DONTWAIT);
	size_t len;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	newline = n > 0 ? memchr(line, '\n', (size_t)n) : NULL;
	if (!newline) {
		/* Gone, or too long; else the rest is on its way. */
		if (n <= 0 || (size_t)n == sizeof(line))
			close_stream(s);
		return;
	}
	len = (size_t)(newline - line);
	if (recv(s->fd, line, len + 1, MSG_DONTWAIT) != (ssize_t)len + 1 ||
	    !parse_line(line, len, &s->port)) {
		close_stream(s);
		return;
	}
	set_phase(s, PHASE_WAITING);
	s->deadline = 0;
	s->conn = virtio_vsock_open(s->side->vsock, s->port, s);
	if (!s->conn)
		close_stream(s);
}

/* Those who said nothing make room for those who may. */
static void drop_oldest_client(struct unix_side *side)
{
	struct stream *s = side->streams.next;

	while (s != &side->streams && s->phase != PHASE_CLIENT)
		s = s->next;
	if (s != &side->streams)
		close_stream(s);
}

static void listen_for(struct unix_side *side, int op, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = side};

	epoll_ctl(side->epoll, op, side->listener, &ev);
}

static void new_clients(struct unix_side *side)
{
	struct stream *s;
	int fd, i;

	for (i = 0; i < ACCEPTS_PER_EVENT; i++) {
		fd = accept4(side->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0 && errno == ECONNABORTED)
			continue;
		if (fd < 0) {
			/* Out of descriptors: it stays readable, so look away for a while. */
			if (errno != EAGAIN && errno != EINTR) {
				listen_for(side, EPOLL_CTL_MOD, 0);
				side->listen_at = now_ns() + LISTEN_AGAIN_NS;
				arm(side, side->listen_at);
			}
			return;
		}
		if (side->clients == CLIENTS_MAX)
			drop_oldest_client(side);
		s = new_stream(side, fd, PHASE_CLIENT);
		if (!s) {
			close(fd);
			return;
		}
		s->deadline = now_ns() + CLIENT_NS;
		arm(side, s->deadline);
		if (watch(s, EPOLL_CTL_ADD, 0))
			close_stream(s);
	}
}

/* --- events --------------------------------------------------------------------------- */

static void stream_event(struct stream *s, uint32_t events)
{
	unsigned int what = 0;

	switch (s->phase) {
	case PHASE_CLIENT:
		serve_client(s);
		return;
	case PHASE_WAITING:
		if (events & (EPOLLHUP | EPOLLERR))
			virtio_vsock_ready(s->conn, VSOCK_GONE);
		return;
	case PHASE_OPEN:
		break;
	default:
		return;
	}
	if (events & EPOLLIN)
		what |= VSOCK_READABLE;
	if (events & EPOLLOUT)
		what |= VSOCK_WRITABLE;
	if (events & EPOLLRDHUP)
		what |= VSOCK_ENDING;
	if (events & (EPOLLHUP | EPOLLERR))
		what |= VSOCK_GONE;
	virtio_vsock_ready(s->conn, what);
}

static void on_events(void *opaque, uint32_t loop_events)
{
	struct unix_side *side = opaque;
	struct epoll_event events[EVENTS_PER_TURN];
	int i, n;

	(void)loop_events;
	begin(side);
	/* What does not fit makes our descriptor readable again. */
	n = epoll_wait(side->epoll, events, EVENTS_PER_TURN, 0);
	for (i = 0; i < n; i++) {
		if (events[i].data.ptr == side)
			new_clients(side);
		else
			stream_event(events[i].data.ptr, events[i].events);
	}
	end(side);
}

/* Carry out what is due at @s: its next deadline; 0: none, and it may be gone. */
static uint64_t late(struct stream *s, uint64_t now)
{
	int ret;

	if (s->phase != PHASE_CONNECTING) {
		close_stream(s);
		return 0;
	}
	ret = try_connect(s);
	if (ret == -EAGAIN) {
		s->deadline = now + RETRY_NS;
		return s->deadline;
	}
	set_phase(s, PHASE_OPEN);
	s->deadline = 0;
	if (!ret)
		ret = watch(s, EPOLL_CTL_ADD, 0);
	virtio_vsock_connected(s->conn, !ret);
	return 0;
}

static void on_timer(void *opaque)
{
	struct unix_side *side = opaque;
	uint64_t now, deadline, least = UINT64_MAX;
	struct stream *s, *next;

	begin(side);
	now = now_ns();
	if (side->listen_at && side->listen_at <= now) {
		side->listen_at = 0;
		listen_for(side, EPOLL_CTL_MOD, EPOLLIN);
	}
	if (side->listen_at)
		least = side->listen_at;
	for (s = side->streams.next; s != &side->streams; s = next) {
		next = s->next;
		deadline = s->deadline;
		if (deadline && deadline <= now)
			deadline = late(s, now);
		if (deadline)
			least = min_u64(least, deadline);
	}
	side->armed = UINT64_MAX;
	arm(side, least);
	end(side);
}

static void on_tick(void *opaque)
{
	virtio_vsock_tick(((struct unix_side *)opaque)->vsock);
}

/* --- life ------------------------------------------------------------------------------- */

static int default_path(struct unix_side *side, struct error *err)
{
	char dir[sizeof(side->socket.addr.sun_path)];
	int len;

	if (runtime_dir(dir, sizeof(dir), true, err))
		return -1;
	len = snprintf(side->socket.addr.sun_path, sizeof(side->socket.addr.sun_path),
		       "%s/%s.vsock", dir, side->vm_name);
	if (len < 0 || (size_t)len + SUFFIX_MAX >= sizeof(side->socket.addr.sun_path))
		return fail(err, "%s/%s.vsock is too long a path for sockets", dir, side->vm_name);
	return 0;
}

static int on_start(void *opaque, struct error *err)
{
	struct unix_side *side = opaque;
	int ret;

	if (!side->socket.addr.sun_path[0] && default_path(side, err))
		return -1;
	side->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (side->epoll < 0)
		return fail_errno(err, errno, "cannot make a socket");
	side->listener = unix_socket_listen(&side->socket, BACKLOG, err);
	if (side->listener < 0)
		return -1;
	listen_for(side, EPOLL_CTL_ADD, EPOLLIN);
	ret = loop_add_fd(side->loop, side->epoll, EPOLLIN, on_events, side);
	if (ret)
		return fail_errno(err, -ret, "cannot watch %s", side->socket.addr.sun_path);
	log_info(side->log,
		 "%s: unix sockets: the guest's port P by %s and \"CONNECT P\", the host's by %s_P",
		 side->vdev->name, side->socket.addr.sun_path, side->socket.addr.sun_path);
	return vsock_ready_start(side->ready, side->socket.addr.sun_path, err);
}

static void on_destroy(void *opaque)
{
	struct unix_side *side = opaque;
	struct stream *s, *next;

	for (s = side->streams.next; s != &side->streams; s = next) {
		next = s->next;
		close_stream(s);
	}
	vsock_ready_free(side->ready);
	loop_timer_cancel(&side->tick);
	loop_timer_cancel(&side->timer);
	if (side->epoll >= 0) {
		loop_remove_fd(side->loop, side->epoll);
		close(side->epoll);
	}
	if (side->listener >= 0)
		close(side->listener);
	unix_socket_remove(&side->socket);
	free(side);
}

static const struct vsock_host_ops unix_ops = {
	.start = on_start,
	.connect = on_connect,
	.accepted = on_accepted,
	.recv = on_recv,
	.send = on_send,
	.want_send = on_want_send,
	.shutdown = on_shutdown,
	.close = on_close,
	.arm = on_arm,
	.now = on_now,
	.destroy = on_destroy,
};

struct virtio_device *vsock_unix_build(const struct virtio_world *world, uint64_t cid,
				       const char *path, struct vsock_ready *ready,
				       struct error *err)
{
	struct unix_side *side;

	if (path && (!*path || strlen(path) + SUFFIX_MAX >= sizeof(side->socket.addr.sun_path))) {
		fail(err, "uds=%s: a path for sockets has 1 to %zu bytes", path,
		     sizeof(side->socket.addr.sun_path) - SUFFIX_MAX - 1);
		return NULL;
	}
	side = calloc(1, sizeof(*side));
	if (!side) {
		fail(err, "no memory for a socket device");
		return NULL;
	}
	side->loop = world->loop;
	side->log = world->log;
	side->vm_name = world->vm_name;
	side->socket.addr.sun_family = AF_UNIX;
	if (path)
		memcpy(side->socket.addr.sun_path, path, strlen(path) + 1);
	side->listener = -1;
	side->epoll = -1;
	side->streams.next = side->streams.prev = &side->streams;
	side->armed = UINT64_MAX;
	loop_timer_init(&side->tick, world->loop, on_tick, side);
	loop_timer_init(&side->timer, world->loop, on_timer, side);
	side->vsock =
		virtio_vsock_create(world->name, world->mem, world->log, cid, &unix_ops, side);
	if (!side->vsock) {
		fail(err, "no memory for a socket device");
		free(side);
		return NULL;
	}
	side->ready = ready;
	side->vdev = virtio_vsock_device(side->vsock);
	return side->vdev;
}
