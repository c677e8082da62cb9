// SPDX-License-Identifier: GPL-2.0-only
/*
 * The wire of vhost-user: messages over a stream socket, with descriptors beside them
 * and time limits on everything (include/lkvm/virtio/vhost_user.h). What the messages
 * mean is in vhost_user.c.
 *
 * A message is a header of three 32-bit words in the machine's byte order (request,
 * flags, size) and a payload. We ask on the connection, one exchange at a time; the
 * back end may ask on a second socket, its channel, which is answered from the loop,
 * and also while we wait: some back ends ask before they answer.
 *
 * Patience. Who makes a request may be the loop's thread, and may be inside a device whose
 * lock the loop waits for. So there is one account for all exchanges: it holds the time
 * limit of one, each takes what it took, and a tenth of the time that goes by is paid in.
 * A back end that is slow once gets its limit, one that always is a tenth of our time. The
 * first milliseconds of an exchange are free: that is no slowness but how processes take
 * turns, and a guest that resets its device without end must not use the account up.
 *
 * Trust. A message is gathered piece by piece, never more bytes than it may have, so
 * that the loop does not wait for a peer that sends half of one. Its size is checked
 * against what the request can be answered with before the payload is read.
 * No answer that we ask for brings a descriptor: one that comes is closed and ends the
 * connection, as do an answer to another request, a wrong version, a byte that nobody
 * asked for, a channel that is not read, and the time limit.
 *
 * After that the socket is shut down but kept open: its number can't be reused while a
 * loop watches it, and the loop sees it hang up.
 *
 * Thread and lock: the caller's, see struct vhost_user.
 */
#include "lkvm/virtio/vhost_user.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define HEADER 12
#define VERSION 1
#define FLAG_VERSION 3
#define FLAG_REPLY 4
#define FLAG_NEED_REPLY 8

/* What the back end may ask for; the rest is refused. */
#define ASK_CONFIG_CHANGED 2

#define TIMEOUT_MS 5000

/* What an exchange costs nothing, and the part of the time that is paid in. */
#define FREE_NS (20 * NSEC_PER_MSEC)
#define PAID_PART 10

/* Room for more descriptors than we take, so that they are seen, and closed. */
#define CONTROL_FDS 16

struct header {
	uint32_t request, flags, size;
};

int vhost_user_connect(const char *path, struct error *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(addr.sun_path))
		return fail(err, "the socket's path is longer than %zu bytes: %s",
			    sizeof(addr.sun_path) - 1, path);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fail_errno(err, errno, "cannot make a socket");
	if (!connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return fd;
	fail_errno(err, errno, "cannot connect to %s (the back end must be running)", path);
	close(fd);
	return -1;
}

void vhost_user_init(struct vhost_user *c, int fd)
{
	memset(c, 0, sizeof(*c));
	c->fd = fd;
	c->channel = -1;
	vhost_user_set_timeout(c, TIMEOUT_MS);
	/* Our half only: the peer's is another open file. */
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

void vhost_user_set_timeout(struct vhost_user *c, unsigned int ms)
{
	c->timeout_ms = ms;
	c->patience_ns = ms * NSEC_PER_MSEC;
	c->since_ns = now_ns();
}

uint64_t vhost_user_patience(struct vhost_user *c, uint64_t now)
{
	uint64_t paid = (now - c->since_ns) / PAID_PART;

	c->patience_ns = min_u64(c->patience_ns + paid, c->timeout_ms * NSEC_PER_MSEC);
	c->since_ns = now;
	return c->patience_ns + FREE_NS;
}

void vhost_user_waited(struct vhost_user *c, uint64_t begin)
{
	uint64_t now = now_ns(), took = now - begin;

	if (took > FREE_NS)
		c->patience_ns -= min_u64(c->patience_ns, took - FREE_NS);
	c->since_ns = now;
}

void vhost_user_close(struct vhost_user *c)
{
	if (c->channel >= 0)
		close(c->channel);
	if (c->fd >= 0)
		close(c->fd);
	c->channel = -1;
	c->fd = -1;
	c->broken = true;
}

int vhost_user_break(struct vhost_user *c, struct error *err, const char *fmt, ...)
{
	struct error text;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text.msg, sizeof(text.msg), fmt, ap);
	va_end(ap);
	c->broken = true;
	shutdown(c->fd, SHUT_RDWR);
	if (c->channel >= 0)
		shutdown(c->channel, SHUT_RDWR);
	return fail(err, "%s", text.msg);
}

/* --- coming in -------------------------------------------------------------------- */

/* Close what came with a piece of a message; false where there was something. */
static bool no_fds(struct msghdr *msg)
{
	bool none = !(msg->msg_flags & MSG_CTRUNC);
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t i, nr = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (i = 0; i < nr; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			close(fd);
		}
		none = false;
	}
	return none;
}

/* Up to @want bytes in all. 1: they are there; 0: not yet; -1: never. */
static int gather(struct vhost_user_inbox *in, int fd, size_t want, const char **why)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(CONTROL_FDS * sizeof(int))];
	} control;

	while (in->have < want) {
		struct iovec iov = {in->bytes + in->have, want - in->have};
		struct msghdr msg = {.msg_iov = &iov,
				     .msg_iovlen = 1,
				     .msg_control = control.bytes,
				     .msg_controllen = sizeof(control.bytes)};
		ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			if (errno == EAGAIN)
				return 0;
			continue;
		}
		if (n <= 0) {
			*why = n ? "the connection failed" : "it closed the connection";
			return -1;
		}
		in->have += (size_t)n;
		if (!no_fds(&msg)) {
			*why = "it sent a descriptor that nobody asked for";
			return -1;
		}
	}
	return 1;
}

static struct header header_of(const struct vhost_user_inbox *in)
{
	struct header h;

	memcpy(&h, in->bytes, HEADER);
	return h;
}

/* A whole message with at most @max bytes of payload; results as of gather(). */
static int receive(struct vhost_user_inbox *in, int fd, size_t max, const char **why)
{
	struct header h;
	int ret = gather(in, fd, HEADER, why);

	if (ret <= 0)
		return ret;
	h = header_of(in);
	if ((h.flags & FLAG_VERSION) != VERSION) {
		*why = "it sent a message of another version of the protocol";
		return -1;
	}
	if (h.size > max) {
		*why = "it sent a message that is too long";
		return -1;
	}
	return gather(in, fd, HEADER + h.size, why);
}

/* --- going out -------------------------------------------------------------------- */

static int ms_until(uint64_t deadline)
{
	uint64_t now = now_ns();

	return now >= deadline ? 0 : (int)((deadline - now) / NSEC_PER_MSEC + 1);
}

static size_t attach_fds(struct msghdr *msg, void *control, const int *fds, size_t nr)
{
	struct cmsghdr *c;

	if (!nr)
		return 0;
	msg->msg_control = control;
	msg->msg_controllen = CMSG_SPACE(nr * sizeof(int));
	memset(control, 0, msg->msg_controllen);
	c = CMSG_FIRSTHDR(msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(nr * sizeof(int));
	memcpy(CMSG_DATA(c), fds, nr * sizeof(int));
	return nr;
}

/* Send it all; descriptors go with the first byte. */
static int send_message(struct vhost_user *c, const struct vhost_user_message *m, uint32_t flags,
			uint64_t deadline, struct error *err)
{
	struct header h = {m->request, flags, (uint32_t)m->size};
	uint8_t bytes[HEADER + VHOST_USER_PAYLOAD_MAX];
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(VHOST_USER_MAX_REGIONS * sizeof(int))];
	} control;
	size_t done = 0, len = HEADER + m->size, fds = m->nr_fds;

	memcpy(bytes, &h, HEADER);
	if (m->size)
		memcpy(bytes + HEADER, m->payload, m->size);
	while (done < len) {
		struct iovec iov = {bytes + done, len - done};
		struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
		struct pollfd out = {.fd = c->fd, .events = POLLOUT};
		ssize_t n;

		attach_fds(&msg, control.bytes, m->fds, fds);
		n = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n >= 0) {
			done += (size_t)n;
			fds = 0;
		} else if (errno == EAGAIN) {
			if (poll(&out, 1, ms_until(deadline)) == 0)
				return vhost_user_break(c, err, "the back end reads nothing");
		} else if (errno != EINTR) {
			return vhost_user_break(c, err, "the back end is gone (%s)",
						strerror(errno));
		}
	}
	return 0;
}

/* --- the channel -------------------------------------------------------------------- */

static int answer(struct vhost_user *c, const struct header *ask, uint64_t result,
		  struct error *err)
{
	struct header h = {ask->request, VERSION | FLAG_REPLY, sizeof(result)};
	uint8_t bytes[HEADER + sizeof(result)];

	memcpy(bytes, &h, HEADER);
	memcpy(bytes + HEADER, &result, sizeof(result));
	/* A peer that asks and does not read is not waited for. */
	if (send(c->channel, bytes, sizeof(bytes), MSG_NOSIGNAL | MSG_DONTWAIT) ==
	    (ssize_t)sizeof(bytes))
		return 0;
	return vhost_user_break(c, err, "the back end does not read what it asked for");
}

int vhost_user_channel(struct vhost_user *c, struct error *err)
{
	const char *why = "";
	struct header h;
	bool known;
	int ret;

	if (c->broken)
		return fail(err, "the connection is over");
	ret = receive(&c->channel_in, c->channel, VHOST_USER_PAYLOAD_MAX, &why);
	if (ret < 0)
		return vhost_user_break(c, err, "the back end's channel: %s", why);
	if (!ret)
		return 0;
	h = header_of(&c->channel_in);
	c->channel_in.have = 0;
	known = h.request == ASK_CONFIG_CHANGED && vhost_user_has(c, VHOST_USER_PROTOCOL_CONFIG);
	if (known)
		c->config_changed = true;
	if (h.flags & FLAG_NEED_REPLY && vhost_user_has(c, VHOST_USER_PROTOCOL_REPLY_ACK))
		return answer(c, &h, known ? 0 : 1, err);
	return 0;
}

/* --- exchanges ------------------------------------------------------------------------ */

/* Nothing may lie in the socket before we ask. */
static int check_quiet(struct vhost_user *c, struct error *err)
{
	struct pollfd in = {.fd = c->fd, .events = POLLIN};
	char byte;

	if (poll(&in, 1, 0) <= 0)
		return 0;
	if (recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
		return vhost_user_break(c, err, "the back end sent what nobody asked for");
	return vhost_user_break(c, err, "the back end closed the connection");
}

static int wait_for_answer(struct vhost_user *c, const struct vhost_user_message *m, size_t max,
			   uint64_t deadline, struct error *err)
{
	const char *why = "";
	int ret;

	while ((ret = receive(&c->in, c->fd, max, &why)) == 0) {
		struct pollfd fds[2] = {{.fd = c->fd, .events = POLLIN},
					{.fd = c->channel, .events = POLLIN}};
		int left = ms_until(deadline);

		if (!left || poll(fds, 2, left) == 0)
			return vhost_user_break(c, err,
						"the back end did not answer request %u in time "
						"(%u ms, and less where it is slow all the time)",
						m->request, c->timeout_ms);
		if (fds[1].revents && vhost_user_channel(c, err))
			return -1;
	}
	return ret < 0 ? vhost_user_break(c, err, "the back end: %s", why) : 0;
}

static int check_answer(struct vhost_user *c, const struct vhost_user_message *m, struct error *err)
{
	struct header h = header_of(&c->in);

	if (h.request != m->request || !(h.flags & FLAG_REPLY))
		return vhost_user_break(c, err,
					"the back end answered request %u with 0x%x (flags 0x%x)",
					m->request, h.request, h.flags);
	return 0;
}

/* An acknowledgement is a number: 0 means done. */
static int acknowledged(struct vhost_user *c, const struct vhost_user_message *m, struct error *err)
{
	uint64_t result;

	if (header_of(&c->in).size != sizeof(result))
		return vhost_user_break(c, err,
					"the back end acknowledged request %u with %u bytes",
					m->request, header_of(&c->in).size);
	memcpy(&result, c->in.bytes + HEADER, sizeof(result));
	if (!result)
		return 0;
	fail(err, "the back end refused request %u (error %llu)", m->request,
	     (unsigned long long)result);
	return 1;
}

static int exchange(struct vhost_user *c, struct vhost_user_message *m, uint64_t deadline,
		    struct error *err)
{
	bool ack = !m->reply && vhost_user_has(c, VHOST_USER_PROTOCOL_REPLY_ACK);
	size_t max = m->reply ? m->reply_max : sizeof(uint64_t);

	m->reply_len = 0;
	if (c->broken)
		return fail(err, "the connection to the back end is over");
	c->in.have = 0;
	if (check_quiet(c, err) ||
	    send_message(c, m, VERSION | (ack ? FLAG_NEED_REPLY : 0), deadline, err))
		return -1;
	if (!m->reply && !ack)
		return 0;
	if (wait_for_answer(c, m, max, deadline, err) || check_answer(c, m, err))
		return -1;
	if (ack)
		return acknowledged(c, m, err);
	m->reply_len = header_of(&c->in).size;
	memcpy(m->reply, c->in.bytes + HEADER, m->reply_len);
	return 0;
}

int vhost_user_exchange(struct vhost_user *c, struct vhost_user_message *m, struct error *err)
{
	uint64_t begin = now_ns();
	int ret = exchange(c, m, begin + vhost_user_patience(c, begin), err);

	vhost_user_waited(c, begin);
	return ret;
}
