// SPDX-License-Identifier: GPL-2.0-only
/*
 * The console device: virtio 1.2 and 1.3, section 5.3.
 *
 * Queues: 0 receives for port 0 and 1 transmits; with MULTIPORT 2 and 3 are the control
 * queues, and port n has 2n + 2 and 2n + 3.
 *
 * Output. A transmit request's bytes go from guest memory straight to the port's write
 * function. Where that takes less, the request stays in the ring with a mark how far it
 * got (virtq_put_back()), and the port is blocked until the host's side has drained.
 * Nothing is kept here, nobody waits: only this port's queue stands still. One pass
 * writes OUTPUT_PASS bytes at most; the loop's thread goes on then, with its other
 * customers between the passes.
 *
 * Input comes from the loop's thread, as much as there is room for in a small buffer of
 * the port's own, and moves on from there as the driver offers buffers. There is no
 * room until the driver listens: it is running, and with MULTIPORT has opened the port.
 * A reset keeps what waits, since it was sent to whoever listens next.
 *
 * Control messages to the driver are not queued but due: one bit for each kind and
 * port, sent in a fixed order as the driver offers buffers. So a driver that asks
 * without end, or takes nothing, costs nothing. A port is added when the driver says
 * that it is ready; what is to be known of the port follows when the driver says that
 * the port is ready.
 *
 * RESIZE has columns before rows, as the specification has it. Linux has read it the
 * other way round for most of its life, so whoever puts a device together gives the
 * console's port a device of its own without MULTIPORT: the size is read from the
 * configuration space then, whose order nobody disputes.
 *
 * Thread and lock: the virtio device's. What is saved: where each port stands with the
 * driver, what is due, and input that waits. Not the window's size and not who is
 * connected: these are the host's, and the driver is told where they differ.
 */
#include "lkvm/virtio/console.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define CONSOLE_ID 3
#define CONSOLE_QUEUE_MAX 128

#define F_SIZE 0
#define F_MULTIPORT 1
#define F_EMERG_WRITE 2

/* Configuration space: le16 cols, le16 rows, le32 max_nr_ports, le32 emerg_wr. */
#define CONFIG_SIZE 12
#define CONFIG_EMERG_WRITE 8

#define CONTROL_RECEIVE 2
#define CONTROL_TRANSMIT 3

/* Control messages: le32 id, le16 event, le16 value. */
#define MESSAGE_SIZE 8
#define DEVICE_READY 0
#define DEVICE_ADD 1
#define PORT_READY 3
#define CONSOLE_PORT 4
#define RESIZE 5
#define PORT_OPEN 6
#define PORT_NAME 7

#define DUE(event) (1U << (event))
#define DUE_ALL                                                                                    \
	(DUE(DEVICE_ADD) | DUE(CONSOLE_PORT) | DUE(RESIZE) | DUE(PORT_OPEN) | DUE(PORT_NAME))

/* A guest's gigabytes are written in pieces, so that the thread is free now and then. */
#define OUTPUT_PASS (UINT32_C(1024) * 1024)

/* For all ports together, what a guest that has ended left to be written. */
#define FINISH_NS (5 * NSEC_PER_SEC)

/**
 * struct port_state - what is saved of a port
 * @added: DEVICE_ADD was sent; @ready: the driver answered
 * @open: the driver opened it
 * @told: the driver was told that somebody is connected
 * @due: DUE bits of the messages to send
 * @nr_input: bytes of @input that wait
 */
struct port_state {
	bool added, ready, open, told;
	uint8_t due;
	uint16_t nr_input;
	uint8_t input[VIRTIO_CONSOLE_INPUT];
};

/**
 * struct port - the host's side
 * @blocked: it takes no output until virtio_console_drained()
 */
struct port {
	const struct virtio_console_port_ops *ops;
	void *opaque;
	char name[VIRTIO_CONSOLE_NAME_MAX + 1];
	bool console, connected, blocked;
};

struct virtio_console {
	struct virtio_device vdev;
	unsigned int nr;
	uint16_t cols, rows;
	struct port ports[VIRTIO_CONSOLE_MAX_PORTS];
	struct console_state {
		struct port_state port[VIRTIO_CONSOLE_MAX_PORTS];
	} state;
};

static struct virtio_console *to_console(struct virtio_device *vdev)
{
	return container_of(vdev, struct virtio_console, vdev);
}

static unsigned int receive_queue(unsigned int port)
{
	return port ? 2 * port + 2 : 0;
}

static unsigned int transmit_queue(unsigned int port)
{
	return receive_queue(port) + 1;
}

static bool has_ports(const struct virtio_console *con)
{
	return virtio_has(&con->vdev, F_MULTIPORT);
}

/* --- output ------------------------------------------------------------------- */

/*
 * Write a request from where it stopped; *@left is what this pass may still write.
 * Return: true where it is done; else req->done says how far it got.
 */
static bool output(struct port *p, struct virtq_request *req, uint32_t *left)
{
	struct virtq_cursor c = virtq_reader(req);

	virtq_skip(&c, req->done);
	while (c.left && *left) {
		struct iovec iov;
		size_t len, taken;

		virtq_map(&c, *left, &iov, 1, &len);
		taken = p->connected ? p->ops->write(p->opaque, iov.iov_base, len) : len;
		taken = min_u64(taken, len);
		virtq_skip(&c, taken);
		*left -= (uint32_t)taken;
		if (taken < len) {
			p->blocked = true;
			break;
		}
	}
	req->done = c.pos;
	return !c.left;
}

static void transmit(struct virtio_console *con, unsigned int port)
{
	struct virtq *q = virtio_queue(&con->vdev, transmit_queue(port));
	struct port *p = &con->ports[port];
	struct virtq_request *req;
	uint32_t left = OUTPUT_PASS;

	/* The host's side comes back. */
	while (!p->blocked && (req = virtq_pop(q))) {
		if (output(p, req, &left)) {
			virtio_complete(&con->vdev, req);
			continue;
		}
		virtq_put_back(q, req, req->done, !p->blocked);
		return;
	}
}

/* --- input -------------------------------------------------------------------- */

static bool listens(const struct virtio_console *con, unsigned int port)
{
	return con->vdev.status & VIRTIO_STATUS_DRIVER_OK &&
	       (has_ports(con) ? con->state.port[port].open : !port);
}

/* Move what waits into the driver's buffers. */
static void receive(struct virtio_console *con, unsigned int port)
{
	struct virtq *q = virtio_queue(&con->vdev, receive_queue(port));
	struct port_state *s = &con->state.port[port];
	struct port *p = &con->ports[port];
	struct virtq_request *req;

	if (!p->ops || !listens(con, port))
		return;
	while (s->nr_input && (req = virtq_pop(q))) {
		struct virtq_cursor c = virtq_writer(req);
		size_t len = virtq_write(&c, s->input, s->nr_input);

		s->nr_input -= (uint16_t)len;
		memmove(s->input, s->input + len, s->nr_input);
		virtio_complete(&con->vdev, req);
	}
	if (s->nr_input)
		return;
	if (p->connected)
		p->ops->want_input(p->opaque);
	else if (s->due & DUE(PORT_OPEN))
		virtio_queue_notify(&con->vdev, CONTROL_RECEIVE);
}

size_t virtio_console_room(struct virtio_console *con, unsigned int port)
{
	size_t room = 0;

	virtio_enter(&con->vdev);
	if (listens(con, port))
		room = VIRTIO_CONSOLE_INPUT - con->state.port[port].nr_input;
	virtio_leave(&con->vdev);
	return room;
}

void virtio_console_input(struct virtio_console *con, unsigned int port, const void *buf,
			  size_t len)
{
	struct port_state *s = &con->state.port[port];

	virtio_enter(&con->vdev);
	len = min_u64(len, VIRTIO_CONSOLE_INPUT - s->nr_input);
	memcpy(s->input + s->nr_input, buf, len);
	s->nr_input += (uint16_t)len;
	virtio_queue_notify(&con->vdev, receive_queue(port));
	virtio_leave(&con->vdev);
}

size_t virtio_console_waiting(struct virtio_console *con, unsigned int port)
{
	size_t len;

	virtio_enter(&con->vdev);
	len = con->state.port[port].nr_input;
	virtio_leave(&con->vdev);
	return len;
}

/* --- control ------------------------------------------------------------------ */

static size_t put_message(uint8_t *buf, uint32_t id, uint16_t event, uint16_t value)
{
	uint64_t message = htole64(id | (uint64_t)event << 32 | (uint64_t)value << 48);

	memcpy(buf, &message, MESSAGE_SIZE);
	return MESSAGE_SIZE;
}

/* The next message that is due for a port, and its bytes; 0: none is. */
static unsigned int next_due(struct virtio_console *con, unsigned int port, uint8_t *buf,
			     size_t *len)
{
	static const uint8_t order[] = {DEVICE_ADD, CONSOLE_PORT, PORT_NAME, RESIZE, PORT_OPEN};
	const struct port *p = &con->ports[port];
	unsigned int due = con->state.port[port].due, event = 0;
	uint16_t size[2] = {htole16(con->cols), htole16(con->rows)};
	size_t i;

	/* A reader is to find the end behind what was sent before it. */
	if (!p->connected && con->state.port[port].nr_input)
		due &= ~DUE(PORT_OPEN);
	for (i = 0; i < ARRAY_SIZE(order) && !event; i++)
		if (due & DUE(order[i]))
			event = order[i];
	*len = put_message(buf, port, (uint16_t)event, event == PORT_OPEN ? p->connected : 1);
	if (event == PORT_NAME) {
		memcpy(buf + *len, p->name, strlen(p->name));
		*len += strlen(p->name);
	} else if (event == RESIZE) {
		memcpy(buf + *len, size, sizeof(size));
		*len += sizeof(size);
	}
	return event;
}

static void sent(struct virtio_console *con, unsigned int port, unsigned int event)
{
	struct port_state *s = &con->state.port[port];

	s->due &= (uint8_t)~DUE(event);
	if (event == DEVICE_ADD)
		s->added = true;
	else if (event == PORT_OPEN)
		s->told = con->ports[port].connected;
}

/* Send what is due, as far as the driver's buffers reach. */
static void send_control(struct virtio_console *con)
{
	struct virtq *q = virtio_queue(&con->vdev, CONTROL_RECEIVE);
	uint8_t message[MESSAGE_SIZE + VIRTIO_CONSOLE_NAME_MAX];
	unsigned int port, event;
	size_t len;

	for (port = 0; port < con->nr; port++) {
		while ((event = next_due(con, port, message, &len))) {
			struct virtq_request *req = virtq_pop(q);
			struct virtq_cursor c;

			if (!req)
				return;
			c = virtq_writer(req);
			if (c.left < len)
				virtio_complain(&con->vdev,
						"a control buffer of %u bytes is too small for "
						"a message of %zu",
						c.left, len);
			if (c.left) {
				virtq_write(&c, message, len);
				sent(con, port, event);
			}
			virtio_complete(&con->vdev, req);
		}
	}
}

/* The driver knows the port: say what else there is to know. */
static void introduce(struct virtio_console *con, unsigned int port)
{
	const struct port *p = &con->ports[port];
	struct port_state *s = &con->state.port[port];

	s->ready = true;
	if (p->console)
		s->due |= DUE(CONSOLE_PORT);
	if (*p->name)
		s->due |= DUE(PORT_NAME);
	if (p->console && !port && (con->cols || con->rows))
		s->due |= DUE(RESIZE);
	if (p->connected)
		s->due |= DUE(PORT_OPEN);
}

static void add_ports(struct virtio_console *con)
{
	unsigned int port;

	for (port = 0; port < con->nr; port++)
		if (con->ports[port].ops && !con->state.port[port].added)
			con->state.port[port].due |= DUE(DEVICE_ADD);
}

static void handle_message(struct virtio_console *con, uint32_t id, uint16_t event, uint16_t value)
{
	struct port_state *s = id < con->nr ? &con->state.port[id] : NULL;

	if (event == DEVICE_READY) {
		if (value)
			add_ports(con);
		else
			virtio_complain(&con->vdev, "the driver could not set the device up");
		return;
	}
	if (event != PORT_READY && event != PORT_OPEN) {
		virtio_complain(&con->vdev, "the driver sent an unknown event %u", event);
		return;
	}
	if (!s || !s->added) {
		virtio_complain(&con->vdev, "the driver spoke of port %u, which there is not", id);
		return;
	}
	if (event == PORT_OPEN) {
		s->open = value;
		virtio_queue_notify(&con->vdev, receive_queue(id));
	} else if (!value) {
		virtio_complain(&con->vdev, "the driver could not set port %u up", id);
	} else if (!s->ready) {
		introduce(con, id);
	}
}

static void take_control(struct virtio_console *con)
{
	struct virtq *q = virtio_queue(&con->vdev, CONTROL_TRANSMIT);
	struct virtq_request *req;

	while ((req = virtq_pop(q))) {
		struct virtq_cursor c = virtq_reader(req);
		uint64_t message;
		size_t len = virtq_read(&c, &message, MESSAGE_SIZE);

		virtio_complete(&con->vdev, req);
		if (len < MESSAGE_SIZE) {
			virtio_complain(&con->vdev,
					"the driver sent a control message of %zu bytes", len);
			continue;
		}
		message = le64toh(message);
		handle_message(con, (uint32_t)message, (uint16_t)(message >> 32),
			       (uint16_t)(message >> 48));
	}
	virtio_queue_notify(&con->vdev, CONTROL_RECEIVE);
}

/* The driver is to know who is connected. */
static void update_open(struct virtio_console *con, unsigned int port)
{
	struct port_state *s = &con->state.port[port];

	if (s->ready && s->told != con->ports[port].connected)
		s->due |= DUE(PORT_OPEN);
	else
		s->due &= (uint8_t)~DUE(PORT_OPEN);
}

/* --- the host's side ---------------------------------------------------------- */

void virtio_console_drained(struct virtio_console *con, unsigned int port)
{
	virtio_enter(&con->vdev);
	con->ports[port].blocked = false;
	virtio_queue_notify(&con->vdev, transmit_queue(port));
	virtio_leave(&con->vdev);
}

void virtio_console_connect(struct virtio_console *con, unsigned int port, bool connected)
{
	struct port *p = &con->ports[port];

	virtio_enter(&con->vdev);
	p->connected = connected;
	p->blocked = false;
	update_open(con, port);
	if (has_ports(con))
		virtio_queue_notify(&con->vdev, CONTROL_RECEIVE);
	virtio_queue_notify(&con->vdev, transmit_queue(port));
	virtio_leave(&con->vdev);
}

void virtio_console_resize(struct virtio_console *con, uint16_t cols, uint16_t rows)
{
	virtio_enter(&con->vdev);
	if (con->ports[0].console && (cols != con->cols || rows != con->rows)) {
		con->cols = cols;
		con->rows = rows;
		virtio_config_changed(&con->vdev);
		if (con->state.port[0].ready) {
			con->state.port[0].due |= DUE(RESIZE);
			virtio_queue_notify(&con->vdev, CONTROL_RECEIVE);
		}
	}
	virtio_leave(&con->vdev);
}

/* --- the kind ----------------------------------------------------------------- */

static void console_config_get(struct virtio_device *vdev, uint8_t *config)
{
	struct virtio_console *con = to_console(vdev);
	uint16_t size[2] = {htole16(con->cols), htole16(con->rows)};
	uint32_t ports = htole32(con->nr);

	if (vdev->offered & VIRTIO_BIT(F_SIZE))
		memcpy(config, size, sizeof(size));
	if (vdev->offered & VIRTIO_BIT(F_MULTIPORT))
		memcpy(config + 4, &ports, sizeof(ports));
}

/* An emergency write works before the driver said a word, and after all went wrong. */
static void console_config_set(struct virtio_device *vdev, uint32_t offset, const uint8_t *bytes,
			       uint32_t len)
{
	struct port *p = &to_console(vdev)->ports[0];

	if (vdev->offered & VIRTIO_BIT(F_EMERG_WRITE) && offset <= CONFIG_EMERG_WRITE &&
	    offset + len > CONFIG_EMERG_WRITE && p->connected && !p->blocked &&
	    !p->ops->write(p->opaque, bytes + CONFIG_EMERG_WRITE - offset, 1))
		p->blocked = true;
}

static void console_go(struct virtio_device *vdev)
{
	struct virtio_console *con = to_console(vdev);
	unsigned int port;

	/* After a load others may be connected than when it was saved. */
	for (port = 0; port < con->nr; port++)
		update_open(con, port);
}

static void console_notify(struct virtio_device *vdev, unsigned int index)
{
	struct virtio_console *con = to_console(vdev);
	unsigned int port = index < 2 ? 0 : index / 2 - 1;

	if (index >= 2 && !has_ports(con))
		return;
	if (index == CONTROL_RECEIVE)
		send_control(con);
	else if (index == CONTROL_TRANSMIT)
		take_control(con);
	else if (index & 1)
		transmit(con, port);
	else
		receive(con, port);
}

static void console_reset(struct virtio_device *vdev)
{
	struct console_state *s = &to_console(vdev)->state;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(s->port); i++) {
		s->port[i].added = s->port[i].ready = s->port[i].open = s->port[i].told = false;
		s->port[i].due = 0;
	}
}

static void transfer_port(const struct virtio_console *con, unsigned int port, struct xfer *x,
			  struct port_state *s)
{
	bool any;

	xfer_bool(x, &s->added);
	xfer_bool(x, &s->ready);
	xfer_bool(x, &s->open);
	xfer_bool(x, &s->told);
	xfer_u8(x, &s->due);
	xfer_u16(x, &s->nr_input);
	any = s->added || s->ready || s->open || s->told || s->due || s->nr_input;
	xfer_check(x, con->ports[port].ops || !any, "console: a port that is not here");
	xfer_check(x, s->added || !(s->ready || s->open || s->told), "console: a port not added");
	xfer_check(x, !(s->due & ~DUE_ALL) && !(s->added && s->due & DUE(DEVICE_ADD)),
		   "console: messages that can't be due");
	xfer_check(x, s->ready || !(s->due & ~DUE(DEVICE_ADD)), "console: a port not introduced");
	xfer_check(x, s->nr_input <= VIRTIO_CONSOLE_INPUT, "console: too much input");
	if (!x->failed)
		xfer_bytes(x, s->input, s->nr_input);
}

static void console_transfer(struct virtio_device *vdev, struct xfer *x, void *state)
{
	const struct virtio_console *con = to_console(vdev);
	struct console_state *s = state;
	uint32_t nr = con->nr;
	unsigned int port;

	xfer_u32(x, &nr);
	xfer_check(x, nr == con->nr, "console: another number of ports");
	for (port = 0; port < con->nr; port++)
		transfer_port(con, port, x, &s->port[port]);
}

static void console_destroy(struct virtio_device *vdev)
{
	struct virtio_console *con = to_console(vdev);
	unsigned int port;

	virtio_device_fini(vdev);
	for (port = 0; port < con->nr; port++)
		if (con->ports[port].ops && con->ports[port].ops->destroy)
			con->ports[port].ops->destroy(con->ports[port].opaque);
	free(con);
}

static bool has_output(const struct virtio_console *con, unsigned int port)
{
	return con->ports[port].blocked || con->vdev.queues[transmit_queue(port)].again;
}

/*
 * What the guest left in its rings may be as much as 4 GiB in each of 128 requests, so the
 * port says when it is enough. Who is not served any more has nothing left (run_queue()).
 */
static void finish_port(struct virtio_console *con, unsigned int port, uint64_t deadline)
{
	struct port *p = &con->ports[port];
	bool taken = true;

	if (!p->ops || !p->ops->finish)
		return;
	while (taken) {
		virtio_device_run(&con->vdev);
		taken = p->ops->finish(p->opaque, deadline) && has_output(con, port);
	}
	if (has_output(con, port))
		virtio_complain(&con->vdev,
				"port %u: the guest ended, and not all that it left could be "
				"written in time",
				port);
}

static void console_finish(struct virtio_device *vdev)
{
	struct virtio_console *con = to_console(vdev);
	uint64_t deadline = now_ns() + FINISH_NS;
	unsigned int i;

	for (i = 0; i < con->nr; i++)
		finish_port(con, i, deadline);
}

static const struct virtio_device_ops console_ops = {
	.kind = "console",
	.id = CONSOLE_ID,
	.config_size = CONFIG_SIZE,
	.state_size = sizeof(struct console_state),
	.config_get = console_config_get,
	.config_set = console_config_set,
	.config_early = true,
	.go = console_go,
	.notify = console_notify,
	.reset = console_reset,
	.transfer = console_transfer,
	.finish = console_finish,
	.destroy = console_destroy,
};

struct virtio_console *virtio_console_create(const char *name, struct guest_memory *mem,
					     struct log *log,
					     const struct virtio_console_port *ports,
					     unsigned int nr)
{
	struct virtio_console *con;
	unsigned int i;
	uint64_t features = 0;

	if (!nr || nr > VIRTIO_CONSOLE_MAX_PORTS)
		return NULL;
	con = calloc(1, sizeof(*con));
	if (!con)
		return NULL;
	con->nr = nr;
	for (i = 0; i < nr; i++) {
		con->ports[i].ops = ports[i].ops;
		con->ports[i].opaque = ports[i].opaque;
		con->ports[i].console = ports[i].console;
		con->ports[i].connected = ports[i].ops && ports[i].connected;
		if (ports[i].name)
			strncpy(con->ports[i].name, ports[i].name, VIRTIO_CONSOLE_NAME_MAX);
	}
	if (ports[0].ops && ports[0].console)
		features |= VIRTIO_BIT(F_SIZE) | VIRTIO_BIT(F_EMERG_WRITE);
	if (nr > 1)
		features |= VIRTIO_BIT(F_MULTIPORT);
	if (virtio_device_init(&con->vdev, &console_ops, name, mem, log, features,
			       nr > 1 ? 2 * nr + 2 : 2, CONSOLE_QUEUE_MAX, 0, &con->state)) {
		free(con);
		return NULL;
	}
	return con;
}

struct virtio_device *virtio_console_device(struct virtio_console *con)
{
	return &con->vdev;
}
