// SPDX-License-Identifier: GPL-2.0-only
/*
 * A machine with nothing but a PCI host on its bus, for tests; see pci_rig.h.
 */
#include "pci_rig.h"
#include "mmio.h"
#include "unit.h"

#include <errno.h>
#include <string.h>

static void on_line(struct irq_chip *chip, uint32_t source, bool level)
{
	struct pci_rig *rig = container_of(chip, struct pci_rig, chip);
	unsigned int line = source - RIG_FIRST_SOURCE;

	ck_assert_uint_lt(line, PCI_PINS);
	rig->repeats[line] += rig->level[line] == level;
	rig->edges[line] += level && !rig->level[line];
	rig->level[line] = level;
}

static const struct irq_chip_ops chip_ops = {
	.set_level = on_line,
};

static int on_update(struct msi_sink *sink, uint32_t *handle, uint64_t address, uint32_t data)
{
	struct pci_rig *rig = container_of(sink, struct pci_rig, sink);
	uint32_t h = *handle;

	rig->updates++;
	if (h == MSI_NONE) {
		if (rig->live >= rig->room)
			return -ENOSPC;
		for (h = 0; rig->routes[h].used; h++)
			;
		rig->live++;
	}
	ck_assert_uint_lt(h, RIG_ROUTES);
	ck_assert(*handle == MSI_NONE || rig->routes[h].used);
	rig->routes[h] = (struct rig_route){true, address, data};
	*handle = h;
	return 0;
}

static int on_send(struct msi_sink *sink, uint64_t address, uint32_t data)
{
	struct pci_rig *rig = container_of(sink, struct pci_rig, sink);
	unsigned int h;

	for (h = 0; h < RIG_ROUTES; h++)
		if (rig->routes[h].used && rig->routes[h].address == address &&
		    rig->routes[h].data == data)
			break;
	ck_assert_uint_lt(h, RIG_ROUTES);
	if (rig->deaf)
		return -EINVAL;
	rig->sent++;
	rig->last = rig->routes[h];
	return 0;
}

static void on_release(struct msi_sink *sink, uint32_t handle)
{
	struct pci_rig *rig = container_of(sink, struct pci_rig, sink);
	unsigned int i;

	ck_assert(handle < RIG_ROUTES && rig->routes[handle].used);
	if (rig->on_release)
		rig->on_release(rig);
	rig->routes[handle].used = false;
	rig->live--;
	for (i = 0; i < RIG_FDS; i++)
		ck_assert(rig->fds[i].fd <= 0 || rig->fds[i].handle != handle);
}

static unsigned int find_fd(const struct pci_rig *rig, int fd)
{
	unsigned int i;

	for (i = 0; i < RIG_FDS && rig->fds[i].fd != fd; i++)
		;
	return i;
}

static void on_attach(struct msi_sink *sink, uint32_t handle, int fd)
{
	struct pci_rig *rig = container_of(sink, struct pci_rig, sink);
	unsigned int i = find_fd(rig, 0);

	ck_assert_int_gt(fd, 0);
	ck_assert_uint_lt(i, RIG_FDS);
	ck_assert_uint_eq(find_fd(rig, fd), RIG_FDS);
	ck_assert(rig->routes[handle].used);
	rig->fds[i].fd = fd;
	rig->fds[i].handle = handle;
}

static void on_detach(struct msi_sink *sink, uint32_t handle, int fd)
{
	struct pci_rig *rig = container_of(sink, struct pci_rig, sink);
	unsigned int i = find_fd(rig, fd);

	ck_assert_uint_lt(i, RIG_FDS);
	ck_assert_uint_eq(rig->fds[i].handle, handle);
	rig->fds[i].fd = 0;
}

static void on_commit(struct msi_sink *sink)
{
	container_of(sink, struct pci_rig, sink)->commits++;
}

static const struct msi_sink_ops sink_ops = {
	.update = on_update,
	.send = on_send,
	.release = on_release,
	.attach = on_attach,
	.detach = on_detach,
	.commit = on_commit,
};

const struct rig_route *rig_fd_route(const struct pci_rig *rig, int fd)
{
	unsigned int i = find_fd(rig, fd);

	return i < RIG_FDS ? &rig->routes[rig->fds[i].handle] : NULL;
}

unsigned int rig_fds(const struct pci_rig *rig)
{
	unsigned int i, n = 0;

	for (i = 0; i < RIG_FDS; i++)
		n += rig->fds[i].fd > 0;
	return n;
}

static void add(struct pci_rig *rig, gpa_t base, uint64_t size, const struct mmio_ops *ops,
		void *dev)
{
	const struct mmio_region region = {
		.name = "pci", .base = base, .size = size, .ops = ops, .dev = dev};

	ck_assert_int_eq(bus_add(&rig->bus, &region), 0);
}

void pci_rig_start(struct pci_rig *rig, struct log *log)
{
	struct pci_host_config config = {
		.name = "pci0",
		.windows = {{RIG_LOW, RIG_LOW_SIZE}, {RIG_HIGH, RIG_HIGH_SIZE}},
		.log = log,
	};
	unsigned int i;

	memset(rig, 0, sizeof(*rig));
	rig->chip.ops = &chip_ops;
	rig->sink.ops = &sink_ops;
	rig->room = RIG_ROUTES;
	for (i = 0; i < PCI_PINS; i++)
		config.lines[i] = (struct irq_line){&rig->chip, RIG_FIRST_SOURCE + i};
	bus_init(&rig->bus);
	rig->host = pci_host_create(&config);
	ck_assert_ptr_nonnull(rig->host);
	add(rig, RIG_ECAM, PCI_ECAM_WINDOW, &pci_ecam_ops, rig->host);
	add(rig, RIG_LOW, RIG_LOW_SIZE, &pci_window_ops, pci_host_window(rig->host, 0));
	add(rig, RIG_HIGH, RIG_HIGH_SIZE, &pci_window_ops, pci_host_window(rig->host, 1));
}

void pci_rig_stop(struct pci_rig *rig)
{
	struct device *dev = pci_host_device(rig->host);

	ck_assert_uint_eq(rig->live, 0);
	dev->ops->destroy(dev);
	bus_destroy(&rig->bus);
}

uint64_t rig_read(struct pci_rig *rig, gpa_t gpa, unsigned int size)
{
	uint64_t value;

	bus_read(&rig->bus, gpa, size, &value);
	return value;
}

void rig_write(struct pci_rig *rig, gpa_t gpa, uint64_t value, unsigned int size)
{
	bus_write(&rig->bus, gpa, size, value);
}

uint64_t rig_config_read(struct pci_rig *rig, unsigned int devfn, unsigned int reg,
			 unsigned int size)
{
	return rig_read(rig, RIG_ECAM + 4096 * (uint64_t)devfn + reg, size);
}

void rig_config_write(struct pci_rig *rig, unsigned int devfn, unsigned int reg, uint64_t value,
		      unsigned int size)
{
	rig_write(rig, RIG_ECAM + 4096 * (uint64_t)devfn + reg, value, size);
}

void rig_set_bar64(struct pci_rig *rig, unsigned int devfn, unsigned int bar, gpa_t gpa)
{
	rig_config_write(rig, devfn, PCI_BAR0 + 4 * bar, (uint32_t)gpa, 4);
	rig_config_write(rig, devfn, PCI_BAR0 + 4 * bar + 4, gpa >> 32, 4);
}

void rig_command(struct pci_rig *rig, unsigned int devfn, uint16_t set, uint16_t clear)
{
	uint64_t command = rig_config_read(rig, devfn, PCI_COMMAND, 2);

	rig_config_write(rig, devfn, PCI_COMMAND, (command & ~(uint64_t)clear) | set, 2);
}

unsigned int rig_find_cap(struct pci_rig *rig, unsigned int devfn, uint8_t id, unsigned int from)
{
	unsigned int at, count = 0;

	if (!(rig_config_read(rig, devfn, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST))
		return 0;
	at = (unsigned int)rig_config_read(rig, devfn, from ? from + 1 : PCI_CAPABILITIES, 1);
	while (at && rig_config_read(rig, devfn, at, 1) != id) {
		ck_assert_uint_lt(count++, 48);
		ck_assert_uint_eq(at % 4, 0);
		at = (unsigned int)rig_config_read(rig, devfn, at + 1, 1);
	}
	return at;
}
