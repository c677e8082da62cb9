// SPDX-License-Identifier: GPL-2.0-only
/*
 * How consoles are asked for: "--console virtio", whose port 0 is the guest's hvc0 and
 * lkvm's standard input and output, and "--console-port", which may be repeated and
 * makes one device with a named port for each.
 *
 * These are two devices, for two reasons. The window's size reaches a console without
 * MULTIPORT in a way that all drivers read alike (console.c says more), and hvc0 then
 * needs nothing but its two queues, so that it speaks early and to the end.
 */
#include "lkvm/config.h"
#include "lkvm/virtio/console_port.h"
#include "lkvm/virtio/kind.h"

#include <stdlib.h>
#include <string.h>

static int build_console(const struct virtio_world *world, const char *text,
			 struct virtio_device **vdev, struct error *err)
{
	const struct virtio_console_host *host = world->console;
	struct virtio_console_port port = {.console = true, .connected = true};
	struct virtio_console *con;

	(void)text;
	if (!host)
		return fail(err, "nothing is connected to it");
	port.ops = host->ops;
	port.opaque = host->opaque;
	con = virtio_console_create(world->name, world->mem, world->log, &port, 1);
	if (!con)
		return fail(err, "no memory");
	host->attach(host->opaque, con);
	*vdev = virtio_console_device(con);
	return 0;
}

/* No option of its own: "--console" has other words too. */
const struct virtio_kind virtio_console_kind = {
	.option = "console",
	.arg = "virtio",
	.help = "",
	.prefix = "console",
	.single = true,
	.build = build_console,
};

/**
 * struct port_list - the ports of one device, while it is built
 * @ports: the console's place, which nobody has here, and @nr - 1 others
 */
struct port_list {
	struct virtio_console_port ports[VIRTIO_CONSOLE_MAX_PORTS];
	struct console_port *hosts[VIRTIO_CONSOLE_MAX_PORTS];
	unsigned int nr;
};

static int add_port(const struct virtio_world *world, const char *text, struct port_list *list,
		    struct error *err)
{
	struct virtio_console_port *port = &list->ports[list->nr];
	unsigned int i;

	if (list->nr == VIRTIO_CONSOLE_MAX_PORTS)
		return fail(err, "a VM has at most %d named ports", VIRTIO_CONSOLE_MAX_PORTS - 1);
	list->hosts[list->nr] =
		console_port_open(text, world->loop, world->log, world->dry_run, port, err);
	if (!list->hosts[list->nr])
		return -1;
	list->nr++;
	for (i = 1; i < list->nr - 1; i++) {
		if (!strcmp(list->ports[i].name, port->name))
			return fail(err, "there is a port called %s already", port->name);
		if (console_port_same_file(list->hosts[i], list->hosts[list->nr - 1]))
			return fail(err, "the port %s writes to this file already",
				    list->ports[i].name);
	}
	return 0;
}

static struct virtio_device *make_device(const struct virtio_world *world, struct port_list *list,
					 struct error *err)
{
	struct virtio_console *con;
	unsigned int i;

	con = virtio_console_create(world->name, world->mem, world->log, list->ports, list->nr);
	if (!con) {
		fail(err, "no memory");
		return NULL;
	}
	/* They are the device's from here. */
	for (i = 1; i < list->nr; i++)
		list->hosts[i] = NULL;
	for (i = 1; i < list->nr; i++) {
		if (console_port_attach(list->ports[i].opaque, con, i, err)) {
			virtio_console_device(con)->ops->destroy(virtio_console_device(con));
			return NULL;
		}
	}
	return virtio_console_device(con);
}

/* The first request builds the device for all of them. */
static int build_ports(const struct virtio_world *world, const char *text,
		       struct virtio_device **vdev, struct error *err)
{
	struct port_list list = {.nr = 1};
	size_t i;
	int ret = 0;

	for (i = 0; i < world->index; i++)
		if (world->asked[i].kind == &virtio_console_port_kind)
			return 0;
	ret = add_port(world, text, &list, err);
	for (i = world->index + 1; i < world->nr_asked && !ret; i++) {
		struct error why;

		if (world->asked[i].kind != &virtio_console_port_kind)
			continue;
		ret = add_port(world, world->asked[i].text, &list, &why);
		if (ret)
			fail(err, "and %s: %s", world->asked[i].text, why.msg);
	}
	if (!ret) {
		*vdev = make_device(world, &list, err);
		ret = *vdev ? 0 : -1;
	}
	for (i = 1; i < list.nr; i++)
		if (list.hosts[i])
			console_port_close(list.hosts[i]);
	return ret;
}

const struct virtio_kind virtio_console_port_kind = {
	.option = "console-port",
	.arg = "NAME,TO",
	.help = "a named port for the guest, to one of path=, socket=, pty and fd=; repeat for "
		"more",
	.words = console_port_words,
	.prefix = "ports",
	.build = build_ports,
};
