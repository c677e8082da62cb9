// SPDX-License-Identifier: GPL-2.0-only
/*
 * Listening unix sockets (include/lkvm/unix_socket.h).
 *
 * A socket's file outlives a process that was killed. One that refuses connections is such
 * a file and is replaced; one that is served, and whatever is no socket, is left alone and
 * named. At the end only the inode that was made here is removed: another VM may have taken
 * the path since.
 *
 * No state; any thread.
 */
#include "lkvm/unix_socket.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_stale(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool stale;

	if (fd < 0)
		return false;
	stale = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) && errno == ECONNREFUSED;
	close(fd);
	return stale;
}

static int bind_path(const struct unix_socket *s, int fd, struct error *err)
{
	const struct sockaddr *addr = (const struct sockaddr *)&s->addr;
	const char *path = s->addr.sun_path;
	struct stat st;

	if (!bind(fd, addr, sizeof(s->addr)))
		return 0;
	if (errno != EADDRINUSE)
		return fail_errno(err, errno, "cannot make the socket %s", path);
	if (lstat(path, &st) || !S_ISSOCK(st.st_mode))
		return fail(err, "%s exists and is no socket", path);
	if (!is_stale(&s->addr))
		return fail(err, "%s is in use", path);
	unlink(path);
	if (bind(fd, addr, sizeof(s->addr)))
		return fail_errno(err, errno, "cannot make the socket %s", path);
	return 0;
}

int unix_socket_listen(struct unix_socket *s, int backlog, struct error *err)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;

	if (fd < 0)
		return fail_errno(err, errno, "cannot make a socket");
	/* Before bind: the file is born with this mode. */
	fchmod(fd, 0600);
	if (bind_path(s, fd, err)) {
		close(fd);
		return -1;
	}
	if (!lstat(s->addr.sun_path, &st)) {
		s->made = true;
		s->dev = st.st_dev;
		s->ino = st.st_ino;
	}
	if (!listen(fd, backlog))
		return fd;
	fail_errno(err, errno, "cannot listen on %s", s->addr.sun_path);
	unix_socket_remove(s);
	close(fd);
	return -1;
}

void unix_socket_remove(struct unix_socket *s)
{
	struct stat st;

	if (s->made && !lstat(s->addr.sun_path, &st) && st.st_dev == s->dev && st.st_ino == s->ino)
		unlink(s->addr.sun_path);
	s->made = false;
}
