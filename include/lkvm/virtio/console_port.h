/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a console's port can be connected to on the host: a file, a terminal, a unix
 * socket that waits for a client, a new pty, a descriptor that was inherited.
 */
#ifndef LKVM_VIRTIO_CONSOLE_PORT_H
#define LKVM_VIRTIO_CONSOLE_PORT_H

#include "lkvm/loop.h"
#include "lkvm/suboptions.h"
#include "lkvm/virtio/console.h"

struct console_port;

/**
 * console_port_open() - a port by its option's text
 * @text: "NAME,path=FILE", "NAME,socket=PATH", "NAME,pty" or "NAME,fd=N", each with
 *        ",console" where it is to be a console of the guest
 * @dry_run: look at the words only, and touch nothing
 * @port: filled in for virtio_console_create(); its name lives as long as the port
 *
 * Files are made and sockets listen from here; bytes flow after console_port_attach().
 * Loop thread, or before the loop runs.
 *
 * Return: NULL with @err set.
 */
struct console_port *console_port_open(const char *text, struct loop *loop, struct log *log,
				       bool dry_run, struct virtio_console_port *port,
				       struct error *err);

/**
 * console_port_same_file() - would both write to the same file, over each other's bytes?
 */
bool console_port_same_file(const struct console_port *a, const struct console_port *b);

/**
 * console_port_attach() - it is port @index of @con, which closes it from now on
 *
 * Return: 0, or -1 with @err set (a descriptor can't be used).
 */
int console_port_attach(struct console_port *port, struct virtio_console *con, unsigned int index,
			struct error *err);

/**
 * console_port_close() - one that was not attached, or by its device's end
 */
void console_port_close(struct console_port *port);

/* The words of --console-port. */
extern const struct suboption console_port_words[];

#endif /* LKVM_VIRTIO_CONSOLE_PORT_H */
