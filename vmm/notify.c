// SPDX-License-Identifier: GPL-2.0-only
/*
 * The service manager's socket (include/lkvm/notify.h): a path, or "@" and an abstract name,
 * as sd_notify(3) has it. Its library does the same and much else; the protocol is a
 * datagram, is promised to stay, and lkvm needs no more of it.
 *
 * No state but the caller's. Nothing is saved.
 */
#include "lkvm/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int notify_open(struct notify *n, struct error *err)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len = path ? strlen(path) : 0;

	*n = (struct notify){.fd = -1, .addr = {.sun_family = AF_UNIX}};
	if (!len)
		return 0;
	if ((*path != '/' && *path != '@') || len >= sizeof(n->addr.sun_path))
		return fail(err, "NOTIFY_SOCKET=%.100s: neither a path nor @ and a name", path);
	memcpy(n->addr.sun_path, path, len);
	if (*path == '@')
		n->addr.sun_path[0] = '\0';
	n->addr_len = (unsigned int)(offsetof(struct sockaddr_un, sun_path) + len);
	n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (n->fd < 0)
		return fail_errno(err, errno, "cannot make a socket for NOTIFY_SOCKET");
	unsetenv("NOTIFY_SOCKET");
	return 0;
}

int notify_tell(const struct notify *n, const char *state)
{
	if (n->fd < 0)
		return 0;
	if (sendto(n->fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&n->addr,
		   n->addr_len) < 0)
		return -errno;
	return 0;
}

void notify_close(struct notify *n)
{
	if (n->fd >= 0)
		close(n->fd);
	n->fd = -1;
}
