/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A unix socket that listens at a path of the user's: made, taking the place of one that
 * nobody serves any more, and removed again where it is still ours.
 */
#ifndef LKVM_UNIX_SOCKET_H
#define LKVM_UNIX_SOCKET_H

#include "lkvm/util.h"

#include <sys/types.h>
#include <sys/un.h>

/**
 * struct unix_socket - where it is; zero: nowhere
 * @addr: set by the caller before unix_socket_listen()
 * @made, @dev, @ino: its file is there, and which it is
 */
struct unix_socket {
	struct sockaddr_un addr;
	bool made;
	dev_t dev;
	ino_t ino;
};

/**
 * unix_socket_listen() - make the file, for its owner only
 *
 * Return: a descriptor that does not block, or -1 with @err set: the path is in use, or is
 * something else.
 */
int unix_socket_listen(struct unix_socket *s, int backlog, struct error *err);

/**
 * unix_socket_remove() - remove the file, where it is still the one that was made
 *
 * The descriptor is the caller's to close.
 */
void unix_socket_remove(struct unix_socket *s);

#endif /* LKVM_UNIX_SOCKET_H */
