/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Telling a service manager how lkvm is (sd_notify(3)'s protocol): one datagram to the
 * socket that NOTIFY_SOCKET names.
 */
#ifndef LKVM_NOTIFY_H
#define LKVM_NOTIFY_H

#include "lkvm/util.h"

#include <sys/un.h>

/**
 * struct notify - the service manager's socket; the fields are private
 */
struct notify {
	int fd; /* -1: nobody wants to know */
	struct sockaddr_un addr;
	unsigned int addr_len;
};

/**
 * notify_open() - find out who wants to know, before the first guest instruction
 *
 * NOTIFY_SOCKET is taken out of the environment: no program that is started from here is
 * the service. Where it is not set nothing is told, and that is no error.
 *
 * Return: 0, or -1 with @err set.
 */
int notify_open(struct notify *n, struct error *err);

/**
 * notify_tell() - send @state, e.g. "READY=1\nSTATUS=running"; never blocks (any thread)
 *
 * Return: 0, also where nobody wants to know; -errno.
 */
int notify_tell(const struct notify *n, const char *state);
void notify_close(struct notify *n);

#endif /* LKVM_NOTIFY_H */
