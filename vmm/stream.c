// SPDX-License-Identifier: GPL-2.0-only
/*
 * Streams (include/lkvm/stream.h): bytes between a console and descriptors that
 * were inherited, without ever waiting for the other side.
 *
 * Each direction works on a descriptor of its own (struct end), made once so that
 * reading and writing it never blocks; see open_end() for how. Both are watched
 * edge triggered. That is what keeps every end of file quiet: a descriptor at its
 * end, or a pty whose other side is closed, reports EPOLLHUP for ever, but only
 * one edge. And a consumer that has no room costs no epoll_ctl(2): the edge is
 * remembered ("ready") until a read says EAGAIN.
 *
 * Input belongs to the loop's thread. It reads while the consumer has room. When
 * there is none it sets "paused" and asks once more: stream_want_input(), which
 * any thread may call, posts a turn only where it finds that set. Files that
 * epoll does not take (regular files, block devices, /dev/null) are ready until
 * they end, a few reads per turn of the loop. A terminal that belongs to another
 * job is not read but looked at again each second.
 *
 * Output is under one mutex, held across a write(2) that cannot block. Bytes go
 * straight out while the buffer is empty, else behind those that wait. The first
 * byte that has to wait makes the loop watch the descriptor until none is left.
 *
 * Bytes in the buffer are the host's: a snapshot does not hold them (flush first).
 */
#include "lkvm/stream.h"

#include "lkvm/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#define READ_CHUNK 4096
#define READS_PER_TURN 8 /* then the loop's other customers */
#define BACKGROUND_RETRY_NS NSEC_PER_SEC
#define MEMORY_DEVICES 1 /* major number: /dev/null, zero, full, random */

/* One direction's own descriptor. */
struct end {
	int fd; /* -1: none */
	bool socket;
	bool tty;
	bool pty_master;
	bool restore; /* O_NONBLOCK was set on a description that others share */
};

struct stream {
	struct loop *loop;
	struct log *log;
	const struct stream_ops *ops;
	void *opaque;

	/* Input: the loop's thread, but for paused. */
	struct end in;
	struct loop_work in_work;
	struct loop_timer retry;
	atomic_bool paused; /* the consumer had no room */
	bool in_watched;
	bool ready; /* no read said EAGAIN since the last edge */

	/* Output: the loop's thread. */
	struct end out;
	struct loop_work out_work;
	bool out_watched;

	pthread_mutex_t lock; /* all below, and writes to out.fd */
	uint8_t *buf;
	size_t head, len;
	bool waiting; /* out_work was posted and the buffer not empty since */
	bool refused; /* drained is due */
	bool broken;  /* output is dropped */
};

/* Descriptors. */

static bool is_pty_master(int fd)
{
	unsigned int number;

	return !ioctl(fd, TIOCGPTN, &number);
}

/*
 * May @fd be opened anew by its number? A pipe, a terminal and /dev/null are the
 * same thing then. Not so a pty's master or a tap device: those make a new one.
 */
static bool can_reopen(const struct end *end, const struct stat *st)
{
	if (S_ISFIFO(st->st_mode))
		return true;
	return S_ISCHR(st->st_mode) &&
	       ((end->tty && !end->pty_master) || major(st->st_rdev) == MEMORY_DEVICES);
}

static int reopen(int fd, int access, const struct stat *st)
{
	struct stat now;
	char path[32];
	int own;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	/*
	 * Only the direction that is used: a pipe whose read end we also held open
	 * for writing would never end.
	 */
	own = open(path, access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (own < 0)
		return -1;
	if (!fstat(own, &now) && now.st_dev == st->st_dev && now.st_ino == st->st_ino &&
	    now.st_rdev == st->st_rdev)
		return own;
	close(own);
	return -1;
}

/*
 * A descriptor of our own for @fd that never blocks:
 * - files and block devices never do; sockets are told with each call: a dup;
 * - what can be reopened gets a description of its own, with O_NONBLOCK;
 * - else O_NONBLOCK is set on the description that others share, until destroy.
 * Of a dup and not of @fd itself, so that one descriptor can serve both
 * directions (epoll takes a number once).
 */
static int open_end(struct end *end, int fd, bool reading, struct error *err)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fstat(fd, &st))
		return fail_errno(err, errno, "cannot use descriptor %d", fd);
	if (S_ISDIR(st.st_mode))
		return fail(err, "descriptor %d is a directory", fd);
	if ((flags & O_PATH) || (flags & O_ACCMODE) == (reading ? O_WRONLY : O_RDONLY))
		return fail(err, "descriptor %d is not open for %s", fd,
			    reading ? "reading" : "writing");
	end->socket = S_ISSOCK(st.st_mode);
	end->tty = S_ISCHR(st.st_mode) && isatty(fd);
	end->pty_master = end->tty && is_pty_master(fd);
	if (!(flags & O_NONBLOCK) && can_reopen(end, &st)) {
		end->fd = reopen(fd, reading ? O_RDONLY : O_WRONLY, &st);
		if (end->fd >= 0)
			return 0;
	}
	end->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (end->fd < 0)
		return fail_errno(err, errno, "cannot duplicate descriptor %d", fd);
	if ((flags & O_NONBLOCK) || end->socket || S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))
		return 0;
	if (fcntl(end->fd, F_SETFL, flags | O_NONBLOCK)) {
		fail_errno(err, errno, "cannot make descriptor %d non-blocking", fd);
		close(end->fd);
		end->fd = -1;
		return -1;
	}
	end->restore = true;
	return 0;
}

static void close_end(struct end *end)
{
	if (end->fd < 0)
		return;
	if (end->restore)
		fcntl(end->fd, F_SETFL, fcntl(end->fd, F_GETFL) & ~O_NONBLOCK);
	close(end->fd);
	end->fd = -1;
}

/* Input. */

static void in_end(struct stream *s)
{
	if (s->in_watched)
		loop_remove_fd(s->loop, s->in.fd);
	s->in_watched = false;
	close_end(&s->in);
	if (s->ops->eof)
		s->ops->eof(s->opaque);
}

static size_t in_room(struct stream *s)
{
	return s->ops->room ? s->ops->room(s->opaque) : READ_CHUNK;
}

/* Did a read of no bytes from a terminal mean "nothing typed"? It does with VMIN 0. */
static bool tty_is_idle(int fd)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	struct termios modes;

	return poll(&pfd, 1, 0) >= 0 && !(pfd.revents & POLLHUP) && !tcgetattr(fd, &modes) &&
	       !(modes.c_lflag & ICANON) && !modes.c_cc[VMIN];
}

enum in_result { IN_BYTES, IN_LATER, IN_BACKGROUND, IN_EOF };

static enum in_result in_read(struct stream *s, uint8_t *buf, size_t size, size_t *len)
{
	ssize_t n;

	if (s->in.tty && !s->in.pty_master && process_tty_background(s->in.fd))
		return IN_BACKGROUND;
	do {
		if (s->in.socket)
			n = recv(s->in.fd, buf, size, MSG_DONTWAIT);
		else
			n = read(s->in.fd, buf, size);
	} while (n < 0 && errno == EINTR);
	if (n > 0) {
		*len = (size_t)n;
		return IN_BYTES;
	}
	if (!n)
		return s->in.tty && tty_is_idle(s->in.fd) ? IN_LATER : IN_EOF;
	switch (errno) {
	case EAGAIN:
		return IN_LATER;
	case EIO:
		if (s->in.pty_master) /* nobody has the other side open; somebody may */
			return IN_LATER;
		if (s->in.tty) /* sent to the background meanwhile, or hung up */
			return process_tty_background(s->in.fd) ? IN_BACKGROUND : IN_EOF;
		break;
	case ECONNRESET:
		return IN_EOF;
	}
	log_warning(s->log, "console input ends: %s", strerror(errno));
	return IN_EOF;
}

/* Read while there is something to read and room for it. */
static void in_turn(void *opaque)
{
	struct stream *s = opaque;
	uint8_t buf[READ_CHUNK];

	atomic_store(&s->paused, false);
	for (int i = 0; i < READS_PER_TURN; i++) {
		size_t room, len = 0;

		if (s->in.fd < 0 || !s->ready)
			return;
		room = in_room(s);
		if (!room) {
			atomic_store(&s->paused, true);
			/* Room that came before the flag was seen by nobody but us. */
			room = in_room(s);
			if (!room)
				return;
			atomic_store(&s->paused, false);
		}
		switch (in_read(s, buf, min_u64(room, sizeof(buf)), &len)) {
		case IN_BYTES:
			s->ops->input(s->opaque, buf, len);
			break;
		case IN_LATER:
			s->ready = false;
			return;
		case IN_BACKGROUND:
			loop_timer_arm(&s->retry, now_ns() + BACKGROUND_RETRY_NS);
			return;
		case IN_EOF:
			in_end(s);
			return;
		}
	}
	loop_post(s->loop, &s->in_work);
}

static void in_event(void *opaque, uint32_t events)
{
	struct stream *s = opaque;

	(void)events;
	s->ready = true;
	if (!atomic_load(&s->paused))
		in_turn(s);
}

void stream_want_input(struct stream *s)
{
	if (atomic_exchange(&s->paused, false))
		loop_post(s->loop, &s->in_work);
}

/* Output. */

/* Return: bytes written, fewer than @len where the reader takes no more; or -errno. */
static ssize_t out_write(struct stream *s, const uint8_t *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n;

		if (s->out.socket)
			n = send(s->out.fd, buf + done, len - done, MSG_DONTWAIT | MSG_NOSIGNAL);
		else
			n = write(s->out.fd, buf + done, len - done);
		if (n > 0)
			done += (size_t)n;
		else if (!n || errno == EAGAIN)
			break;
		else if (errno != EINTR)
			return -errno;
	}
	return (ssize_t)done;
}

static void out_break(struct stream *s)
{
	s->broken = true;
	s->len = 0;
}

static void warn_broken(struct stream *s, int errnum)
{
	log_warning(s->log, "console output is dropped from now on: %s", strerror(errnum));
}

/*
 * Loop thread: write what waits, and tell the consumer.
 * Return: true where nothing waits any more.
 */
static bool out_serve(struct stream *s)
{
	bool empty, drained;
	int errnum = 0;

	pthread_mutex_lock(&s->lock);
	while (s->len) {
		size_t part = min_u64(s->len, STREAM_BUFFER - s->head);
		ssize_t n = out_write(s, s->buf + s->head, part);

		if (n < 0) {
			errnum = (int)-n;
			out_break(s);
			break;
		}
		s->head = (s->head + (size_t)n) % STREAM_BUFFER;
		s->len -= (size_t)n;
		if ((size_t)n < part)
			break;
	}
	empty = !s->len;
	if (empty)
		s->waiting = false;
	/* Half of it, so that a slow reader does not wake the consumer for each byte. */
	drained = s->refused && s->len <= STREAM_BUFFER / 2;
	if (drained)
		s->refused = false;
	pthread_mutex_unlock(&s->lock);

	if (empty && s->out_watched) {
		loop_remove_fd(s->loop, s->out.fd);
		s->out_watched = false;
	}
	if (errnum)
		warn_broken(s, errnum);
	if (drained && s->ops->drained)
		s->ops->drained(s->opaque);
	return empty;
}

static void out_event(void *opaque, uint32_t events)
{
	(void)events;
	out_serve(opaque);
}

/* Posted when the first byte had to wait. */
static void out_wait(void *opaque)
{
	struct stream *s = opaque;
	int r;

	if (out_serve(s) || s->out_watched)
		return;
	r = loop_add_fd(s->loop, s->out.fd, EPOLLOUT | EPOLLET, out_event, s);
	if (!r) {
		s->out_watched = true;
		return;
	}
	/* Said EAGAIN, yet cannot be waited for; nothing known does that. */
	pthread_mutex_lock(&s->lock);
	out_break(s);
	pthread_mutex_unlock(&s->lock);
	warn_broken(s, -r);
	out_serve(s);
}

size_t stream_write(struct stream *s, const void *buf, size_t len)
{
	const uint8_t *bytes = buf;
	size_t done = 0;
	bool post = false;
	ssize_t n = 0;

	if (s->out.fd < 0 || !len)
		return len;
	pthread_mutex_lock(&s->lock);
	if (!s->broken && !s->len) {
		n = out_write(s, bytes, len);
		if (n < 0)
			out_break(s);
		else
			done = (size_t)n;
	}
	if (s->broken) {
		done = len;
	} else if (done < len) {
		while (done < len && s->len < STREAM_BUFFER) {
			size_t tail = (s->head + s->len) % STREAM_BUFFER;
			size_t space = STREAM_BUFFER - s->len;
			size_t part = min_u64(len - done, min_u64(space, STREAM_BUFFER - tail));

			memcpy(s->buf + tail, bytes + done, part);
			s->len += part;
			done += part;
		}
		if (done < len)
			s->refused = true;
		post = !s->waiting;
		s->waiting = true;
	}
	pthread_mutex_unlock(&s->lock);

	if (post)
		loop_post(s->loop, &s->out_work);
	if (n < 0)
		warn_broken(s, (int)-n);
	return done;
}

bool stream_flush(struct stream *s, int timeout_ms)
{
	uint64_t until = now_ns() + (timeout_ms > 0 ? (uint64_t)timeout_ms * NSEC_PER_MSEC : 0);

	if (s->out.fd < 0)
		return true;
	for (;;) {
		struct pollfd pfd = {.fd = s->out.fd, .events = POLLOUT};
		uint64_t now;

		/* The consumer may have written more from drained. */
		if (out_serve(s)) {
			bool empty;

			pthread_mutex_lock(&s->lock);
			empty = !s->len;
			pthread_mutex_unlock(&s->lock);
			if (empty)
				return true;
		}
		now = now_ns();
		if (now >= until)
			return false;
		/* A pty whose other side is closed hangs up at once, and takes nothing. */
		if (poll(&pfd, 1, (int)((until - now + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC)) > 0 &&
		    !(pfd.revents & POLLOUT))
			poll(NULL, 0, 10);
	}
}

size_t stream_waiting(struct stream *s)
{
	size_t len;

	pthread_mutex_lock(&s->lock);
	len = s->len;
	pthread_mutex_unlock(&s->lock);
	return len;
}

/* Life. */

struct stream *stream_create(struct loop *loop, struct log *log, int in, int out,
			     const struct stream_ops *ops, void *opaque, struct error *err)
{
	struct stream *s = calloc(1, sizeof(*s));
	int r;

	if (!s) {
		fail(err, "no memory for a stream");
		return NULL;
	}
	s->loop = loop;
	s->log = log;
	s->ops = ops;
	s->opaque = opaque;
	s->in.fd = -1;
	s->out.fd = -1;
	pthread_mutex_init(&s->lock, NULL);
	atomic_init(&s->paused, false);
	loop_work_init(&s->in_work, in_turn, s);
	loop_work_init(&s->out_work, out_wait, s);
	loop_timer_init(&s->retry, loop, in_turn, s);

	if (out >= 0) {
		s->buf = malloc(STREAM_BUFFER);
		if (!s->buf) {
			fail(err, "no memory for a stream");
			goto fail;
		}
		if (open_end(&s->out, out, false, err))
			goto fail;
	}
	if (in >= 0 && ops->input) {
		if (open_end(&s->in, in, true, err))
			goto fail;
		r = loop_add_fd(loop, s->in.fd, EPOLLIN | EPOLLET, in_event, s);
		if (r && r != -EPERM) {
			fail_errno(err, -r, "cannot watch descriptor %d", in);
			goto fail;
		}
		s->in_watched = !r;
		/*
		 * Not left to the first edge: files have none, and a pipe that was
		 * reopened after its last writer went does not report the end.
		 */
		s->ready = true;
		loop_post(loop, &s->in_work);
	}
	return s;
fail:
	stream_destroy(s);
	return NULL;
}

void stream_destroy(struct stream *s)
{
	if (!s)
		return;
	loop_unpost(s->loop, &s->in_work);
	loop_unpost(s->loop, &s->out_work);
	loop_timer_cancel(&s->retry);
	if (s->in_watched)
		loop_remove_fd(s->loop, s->in.fd);
	if (s->out_watched)
		loop_remove_fd(s->loop, s->out.fd);
	close_end(&s->in);
	close_end(&s->out);
	pthread_mutex_destroy(&s->lock);
	free(s->buf);
	free(s);
}
