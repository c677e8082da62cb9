/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The virtio console: byte streams between the guest and the host, called ports.
 * Port 0 may be the guest's console (hvc0); others have names.
 *
 * The device knows nothing of descriptors and sockets: what is on the host's side of
 * a port comes in by struct virtio_console_port_ops.
 */
#ifndef LKVM_VIRTIO_CONSOLE_H
#define LKVM_VIRTIO_CONSOLE_H

#include "lkvm/virtio/device.h"

/* Two queues a port, two for control. */
#define VIRTIO_CONSOLE_MAX_PORTS 31

/* Bytes of a port's name. */
#define VIRTIO_CONSOLE_NAME_MAX 64

/* Input that waits in the device for the guest's buffers, a port. */
#define VIRTIO_CONSOLE_INPUT 4096

struct virtio_console;
struct virtio_kind;

/**
 * struct virtio_console_port_ops - the host's side of a port; called with the device's
 * lock held, on any thread, and only while somebody is connected
 * @write: output of the guest; must not block. Returns how much of it was taken: where
 *         that is less than @len, virtio_console_drained() must follow, and the guest's
 *         requests wait in its ring until then. @buf is the guest's own memory, which
 *         may change while it is read.
 * @want_input: there may be room for input now (virtio_console_room()): ask for it on
 *              the loop's thread
 * @finish: the guest has ended: wait until what was written is taken. False: it is not, or
 *          no more is wanted: by @deadline (now_ns()) all should be over. Outside the
 *          device's lock, loop's thread. May be NULL.
 * @destroy: the device is gone. May be NULL.
 */
struct virtio_console_port_ops {
	size_t (*write)(void *opaque, const void *buf, size_t len);
	void (*want_input)(void *opaque);
	bool (*finish)(void *opaque, uint64_t deadline);
	void (*destroy)(void *opaque);
};

/**
 * struct virtio_console_port - a port as it shall be
 * @ops: NULL: there is no such port
 * @name: as the guest sees it, up to VIRTIO_CONSOLE_NAME_MAX bytes; NULL: none. Copied.
 * @console: a console for the guest (hvcN), and not a named stream of bytes
 * @connected: somebody is on the host's side from the start
 */
struct virtio_console_port {
	const struct virtio_console_port_ops *ops;
	void *opaque;
	const char *name;
	bool console, connected;
};

/**
 * virtio_console_create() - a console device, or NULL where there is no memory
 * @ports: port 0 first; with more than one the device offers MULTIPORT. Window size
 *         and emergency write are offered where port 0 is a console.
 * @nr: 1 to VIRTIO_CONSOLE_MAX_PORTS
 *
 * The ports' opaques are destroyed with the device, and not where this fails.
 */
struct virtio_console *virtio_console_create(const char *name, struct guest_memory *mem,
					     struct log *log,
					     const struct virtio_console_port *ports,
					     unsigned int nr);

/**
 * struct virtio_console_host - what the guest's own console, port 0, is connected to
 * @ops, @opaque: the port
 * @attach: the device is there now
 */
struct virtio_console_host {
	const struct virtio_console_port_ops *ops;
	void *opaque;
	void (*attach)(void *opaque, struct virtio_console *con);
};

/**
 * virtio_console_device() - for the transport, which owns it then
 */
struct virtio_device *virtio_console_device(struct virtio_console *con);

/* The rest is for the host's side: outside, loop's thread. */

/**
 * virtio_console_room() - how much input port @port takes now
 *
 * 0 until the guest listens; want_input follows then.
 */
size_t virtio_console_room(struct virtio_console *con, unsigned int port);

/**
 * virtio_console_input() - @len bytes for the guest
 * @len: at most what virtio_console_room() said
 *
 * What the guest has no buffer for waits in the device, over resets too.
 */
void virtio_console_input(struct virtio_console *con, unsigned int port, const void *buf,
			  size_t len);

/**
 * virtio_console_waiting() - how many of these bytes wait
 */
size_t virtio_console_waiting(struct virtio_console *con, unsigned int port);

/**
 * virtio_console_drained() - the host's side takes output again
 */
void virtio_console_drained(struct virtio_console *con, unsigned int port);

/**
 * virtio_console_connect() - somebody came to the host's side of @port, or left
 *
 * The guest is told. While nobody is there, output is dropped, and after this returned
 * none of the port's functions is called.
 */
void virtio_console_connect(struct virtio_console *con, unsigned int port, bool connected);

/**
 * virtio_console_resize() - the window of port 0 has this size now; 0, 0: unknown
 */
void virtio_console_resize(struct virtio_console *con, uint16_t cols, uint16_t rows);

/* "--console virtio", which is no option by itself, and "--console-port". */
extern const struct virtio_kind virtio_console_kind, virtio_console_port_kind;

#endif /* LKVM_VIRTIO_CONSOLE_H */
