// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host's side of a named console port (include/lkvm/virtio/console_port.h).
 *
 * All of them end in a stream, which never blocks and holds a bounded number of bytes;
 * what it does not take stays in the guest's ring.
 *
 *   path=FILE     a regular file is made anew and receives what the guest writes; a
 *                 terminal goes both ways
 *   socket=PATH   a unix stream socket, mode 0600, for one client after the other: who
 *                 comes while one is served waits in the socket's queue. A socket that
 *                 a dead process left behind is replaced; any other file is not.
 *   pty           a new pty, raw; its name is said on standard error. lkvm keeps the
 *                 other side open, so that nothing is lost while nobody reads.
 *   fd=N          by its access mode: read, written, or both
 *
 * With "wait" in its words a reader may be as slow as it likes when the guest has ended by
 * itself; else it has a second for what is left, and all ports of the device together a
 * few for what the guest left in its rings.
 *
 * The port is connected while there is a stream. End of input ends the connection,
 * after what came before it went to the device. A socket's peer may end its own half
 * alone and still want an answer: then the connection lasts until the peer is gone.
 *
 * Thread and lock: the loop's thread makes and destroys streams; the device's functions
 * come in on any thread with the device's lock held. They touch the stream only while
 * the device believes the port connected, so a stream is there before
 * virtio_console_connect() says so, and goes after it said the contrary. What is saved:
 * nothing; descriptors are the host's.
 */
#include "lkvm/virtio/console_port.h"

#include "lkvm/process.h"
#include "lkvm/stream.h"
#include "lkvm/suboptions.h"
#include "lkvm/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#define NO_FD UINT64_MAX

/* How long a slow reader is waited for at the end, in ms. */
#define LAST_FLUSH_MS 1000

/**
 * struct port_words - the option's text, taken apart
 */
struct port_words {
	const char *name, *path, *socket;
	uint64_t fd;
	bool pty, console, wait;
};

const struct suboption console_port_words[] = {
	{"path", SUBOPTION_STRING, offsetof(struct port_words, path), .arg = "FILE",
	 .help = "to a file or FIFO"},
	{"socket", SUBOPTION_STRING, offsetof(struct port_words, socket), .arg = "PATH",
	 .help = "to whoever connects to this socket"},
	{"fd", SUBOPTION_UINT, offsetof(struct port_words, fd), INT32_MAX,
	 .help = "to a descriptor that lkvm inherited"},
	{"pty", SUBOPTION_FLAG, offsetof(struct port_words, pty),
	 .help = "to a new pseudo-terminal, whose name is said"},
	{"console", SUBOPTION_FLAG, offsetof(struct port_words, console),
	 .help = "a console (hvcN) in place of /dev/virtio-ports/NAME"},
	{"wait", SUBOPTION_FLAG, offsetof(struct port_words, wait),
	 .help = "at the end wait for the reader, however slow"},
	{.name = NULL},
};

/**
 * struct console_port - one port
 * @quiet: for the streams of clients, who come and go without a word
 * @in, @out: what the stream works on, -1: none; closed at the end where @own
 * @other: a pty's other side, or -1
 * @listen: the socket that clients come to, or -1
 * @socket: its file
 * @dev, @ino: of the file for path=
 * @hang_up: ends a connection outside the stream's callbacks
 * @listen_again: when there are descriptors again
 */
struct console_port {
	struct loop *loop;
	struct log *log, quiet;
	struct virtio_console *con;
	unsigned int index;
	char *copy;
	struct port_words words;
	struct stream *stream;
	int in, out, other, listen;
	bool own;
	struct unix_socket socket;
	dev_t dev;
	ino_t ino;
	struct loop_work hang_up;
	struct loop_timer listen_again;
};

/* --- the stream's side -------------------------------------------------------- */

static size_t on_room(void *opaque)
{
	struct console_port *p = opaque;

	return p->con ? virtio_console_room(p->con, p->index) : 0;
}

static void on_input(void *opaque, const uint8_t *buf, size_t len)
{
	struct console_port *p = opaque;

	if (p->con)
		virtio_console_input(p->con, p->index, buf, len);
}

static void on_peer_gone(void *opaque, uint32_t events)
{
	struct console_port *p = opaque;

	(void)events;
	loop_remove_fd(p->loop, p->in);
	loop_post(p->loop, &p->hang_up);
}

/* The stream has descriptors of its own: this one is free to be watched. */
static void on_eof(void *opaque)
{
	struct console_port *p = opaque;
	struct pollfd pfd = {.fd = p->in};
	struct stat st;

	if (p->in == p->out && !fstat(p->in, &st) && S_ISSOCK(st.st_mode) &&
	    poll(&pfd, 1, 0) >= 0 && !(pfd.revents & POLLHUP) &&
	    !loop_add_fd(p->loop, p->in, 0, on_peer_gone, p))
		return;
	loop_post(p->loop, &p->hang_up);
}

static void on_drained(void *opaque)
{
	struct console_port *p = opaque;

	if (p->con)
		virtio_console_drained(p->con, p->index);
}

static const struct stream_ops stream_ops = {
	.room = on_room,
	.input = on_input,
	.eof = on_eof,
	.drained = on_drained,
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void close_ends(struct console_port *p)
{
	if (p->own && p->out != p->in)
		close_fd(&p->out);
	if (p->own)
		close_fd(&p->in);
	p->in = p->out = -1;
}

/* The descriptors are there: let bytes flow. */
static int connect_stream(struct console_port *p, struct error *err)
{
	p->stream = stream_create(p->loop, p->listen < 0 ? p->log : &p->quiet, p->in, p->out,
				  &stream_ops, p, err);
	if (!p->stream)
		return -1;
	virtio_console_connect(p->con, p->index, true);
	return 0;
}

static void listen_for(struct console_port *p, uint32_t events)
{
	loop_modify_fd(p->loop, p->listen, events);
}

static void on_hang_up(void *opaque)
{
	struct console_port *p = opaque;

	virtio_console_connect(p->con, p->index, false);
	loop_remove_fd(p->loop, p->in);
	stream_destroy(p->stream);
	p->stream = NULL;
	close_ends(p);
	if (p->listen >= 0)
		listen_for(p, EPOLLIN);
}

/* --- sockets ------------------------------------------------------------------ */

static void on_listen_again(void *opaque)
{
	struct console_port *p = opaque;

	listen_for(p, EPOLLIN);
}

static void on_client(void *opaque, uint32_t events)
{
	struct console_port *p = opaque;
	int fd = accept4(p->listen, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct error err;

	(void)events;
	if (fd < 0) {
		/* Out of descriptors: the socket stays readable, so look away for a while. */
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
			listen_for(p, 0);
			loop_timer_arm(&p->listen_again, now_ns() + NSEC_PER_SEC);
		}
		return;
	}
	p->in = p->out = fd;
	if (connect_stream(p, &err)) {
		log_warning(p->log, "console port %s: %s", p->words.name, err.msg);
		close_ends(p);
		return;
	}
	listen_for(p, 0);
}

static int open_socket(struct console_port *p, struct error *err)
{
	struct sockaddr_un *addr = &p->socket.addr;
	const char *path = p->words.socket;
	struct error why;

	if (strlen(path) >= sizeof(addr->sun_path) || !*path)
		return fail(err, "socket=%s: a socket's path has 1 to %zu bytes", path,
			    sizeof(addr->sun_path) - 1);
	addr->sun_family = AF_UNIX;
	memcpy(addr->sun_path, path, strlen(path));
	p->listen = unix_socket_listen(&p->socket, 1, &why);
	if (p->listen < 0)
		return fail(err, "socket=: %s", why.msg);
	p->own = true;
	return 0;
}

static void close_socket(struct console_port *p)
{
	if (p->listen < 0)
		return;
	loop_timer_cancel(&p->listen_again);
	loop_remove_fd(p->loop, p->listen);
	close_fd(&p->listen);
	unix_socket_remove(&p->socket);
}

/* --- the others --------------------------------------------------------------- */

static int open_path(struct console_port *p, struct error *err)
{
	const char *path = p->words.path;
	struct stat st;
	int fd;

	/* Not blocking: whoever names a FIFO by mistake gets an answer. */
	fd = open(path, O_RDWR | O_CREAT | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, 0666);
	if (fd < 0)
		return fail_errno(err, errno, "path=%s", path);
	p->own = true;
	p->out = fd;
	if (fstat(fd, &st))
		return fail_errno(err, errno, "path=%s", path);
	if (S_ISCHR(st.st_mode)) {
		p->in = isatty(fd) ? fd : -1;
		return 0;
	}
	if (!S_ISREG(st.st_mode))
		return fail(err,
			    "path=%s is neither a file nor a terminal; other things can be "
			    "opened by a shell and given as fd=N",
			    path);
	p->dev = st.st_dev;
	p->ino = st.st_ino;
	return ftruncate(fd, 0) ? fail_errno(err, errno, "path=%s", path) : 0;
}

static int open_pty(struct console_port *p, struct error *err)
{
	char name[64];
	struct termios modes;

	p->own = true;
	p->in = p->out = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (p->in < 0 || grantpt(p->in) || unlockpt(p->in) || ptsname_r(p->in, name, sizeof(name)))
		return fail_errno(err, errno, "cannot make a pty");
	p->other = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (p->other < 0 || tcgetattr(p->other, &modes))
		return fail_errno(err, errno, "%s", name);
	/* An echo would come back to the guest as input. */
	cfmakeraw(&modes);
	if (tcsetattr(p->other, TCSANOW, &modes))
		return fail_errno(err, errno, "%s", name);
	log_plain(p->log, "console port %s is %s", p->words.name, name);
	return 0;
}

static int open_fd(struct console_port *p, struct error *err)
{
	int fd = (int)p->words.fd, flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return fail_errno(err, errno, "fd=%d", fd);
	if (fd <= STDERR_FILENO)
		return fail(err, "fd=%d is in use; give a descriptor above 2", fd);
	/* Inherited ones are never close-on-exec; lkvm's own are, and another device's. */
	if (fcntl(fd, F_GETFD) & FD_CLOEXEC)
		return fail(err, "fd=%d is no inherited descriptor, or in use already", fd);
	/* Programs that lkvm starts must not get it. */
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	p->in = (flags & O_ACCMODE) == O_WRONLY ? -1 : fd;
	p->out = (flags & O_ACCMODE) == O_RDONLY ? -1 : fd;
	return 0;
}

static int open_words(struct console_port *p, struct error *err)
{
	if (p->words.path)
		return open_path(p, err);
	if (p->words.socket)
		return open_socket(p, err);
	if (p->words.pty)
		return open_pty(p, err);
	return open_fd(p, err);
}

/* --- the device's side -------------------------------------------------------- */

static size_t port_write(void *opaque, const void *buf, size_t len)
{
	struct console_port *p = opaque;

	return stream_write(p->stream, buf, len);
}

static void port_want_input(void *opaque)
{
	struct console_port *p = opaque;

	stream_want_input(p->stream);
}

/* The guest ended: with "wait" its reader has all the time it needs, until lkvm is told to end. */
static bool port_finish(void *opaque, uint64_t deadline)
{
	struct console_port *p = opaque;
	bool taken;

	do {
		taken = !p->stream || stream_flush(p->stream, LAST_FLUSH_MS);
	} while (!taken && p->words.wait && !process_ending());
	return taken && !process_ending() && (p->words.wait || now_ns() < deadline);
}

static void port_destroy(void *opaque)
{
	console_port_close(opaque);
}

static const struct virtio_console_port_ops port_ops = {
	.write = port_write,
	.want_input = port_want_input,
	.finish = port_finish,
	.destroy = port_destroy,
};

static int check_words(const struct port_words *w, struct error *err)
{
	int ways = !!w->path + !!w->socket + w->pty + (w->fd != NO_FD);
	size_t len = strlen(w->name);

	if (!len || len > VIRTIO_CONSOLE_NAME_MAX ||
	    strspn(w->name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") !=
		    len)
		return fail(err, "a port's name is 1 to %d of the characters A-Z a-z 0-9 . _ -",
			    VIRTIO_CONSOLE_NAME_MAX);
	if (ways != 1)
		return fail(err, "say what the port is connected to by one of path=, socket=, pty "
				 "and fd=");
	return 0;
}

struct console_port *console_port_open(const char *text, struct loop *loop, struct log *log,
				       bool dry_run, struct virtio_console_port *port,
				       struct error *err)
{
	struct console_port *p = calloc(1, sizeof(*p));

	if (!p) {
		fail(err, "no memory for a port");
		return NULL;
	}
	p->loop = loop;
	p->log = log;
	log_init(&p->quiet, log->fd, LOG_LEVEL_ERROR);
	p->in = p->out = p->other = p->listen = -1;
	p->words.fd = NO_FD;
	loop_work_init(&p->hang_up, on_hang_up, p);
	loop_timer_init(&p->listen_again, loop, on_listen_again, p);
	if (suboptions_parse(text, &p->words.name, console_port_words, &p->words, &p->copy, err) ||
	    check_words(&p->words, err) || (!dry_run && open_words(p, err))) {
		console_port_close(p);
		return NULL;
	}
	*port = (struct virtio_console_port){
		.ops = &port_ops, .opaque = p, .name = p->words.name, .console = p->words.console};
	return p;
}

bool console_port_same_file(const struct console_port *a, const struct console_port *b)
{
	return a->words.path && b->words.path && a->ino && a->ino == b->ino && a->dev == b->dev;
}

int console_port_attach(struct console_port *p, struct virtio_console *con, unsigned int index,
			struct error *err)
{
	int ret;

	p->con = con;
	p->index = index;
	if (p->in >= 0 || p->out >= 0)
		return connect_stream(p, err);
	if (p->listen < 0)
		return 0;
	ret = loop_add_fd(p->loop, p->listen, EPOLLIN, on_client, p);
	return ret ? fail_errno(err, -ret, "cannot watch a socket") : 0;
}

void console_port_close(struct console_port *p)
{
	/* The device may be gone already. */
	p->con = NULL;
	loop_unpost(p->loop, &p->hang_up);
	if (p->in >= 0)
		loop_remove_fd(p->loop, p->in);
	close_socket(p);
	if (p->stream && !stream_flush(p->stream, LAST_FLUSH_MS))
		log_warning(p->log, "nobody reads console port %s: %zu bytes of output are lost",
			    p->words.name, stream_waiting(p->stream));
	stream_destroy(p->stream);
	close_ends(p);
	close_fd(&p->other);
	free(p->copy);
	free(p);
}
