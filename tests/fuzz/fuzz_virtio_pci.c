// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz the virtio-pci transport with a device that only fills what it gets: the input
 * is a sequence of accesses of any width to the function's BAR and configuration space,
 * writes to guest memory, whole initialisations done right (so that what comes behind
 * is reached), resets, save and load, some of it with bytes changed.
 *
 * Besides what the sanitizers see: the pin follows the ISR status and MSI-X, the line
 * never repeats itself, messages are sent only by vectors that can, status is one that
 * initialisation can reach, nothing in memory but the rings and the buffers changes,
 * and a device that was reset answers a sane request.
 */
#include "lkvm/virtio/pci.h"

#include <stdlib.h>
#include <string.h>

#define RAM UINT64_C(0x80000000)
#define BANK (64 * KIB)
#define NUM 8
#define QUEUES 2
#define CONFIG_SIZE 6
#define BAR_SIZE 0x8000
#define ROUTES 8
#define ECAM (1 * PCI_FUNCTIONS * 4096)

/* Where the layouts done right lie, and what is nobody's. */
#define DESC RAM
#define AVAIL (RAM + 0x400)
#define USED (RAM + 0x800)
#define BUFFER (RAM + 0x1000)
#define QUIET (RAM + BANK)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t size;
};

struct filler {
	struct virtio_device vdev;
	struct {
		uint8_t config[CONFIG_SIZE];
	} s;
};

struct world {
	struct guest_memory mem;
	struct pci_host *host;
	struct irq_chip chip;
	bool level, resuming;
	struct msi_sink sink;
	bool used[ROUTES];
	struct virtio_pci *pci;
	struct pci_function *fn;
	struct filler *filler;
	unsigned int access, msix;
};

static uint64_t take(struct input *in, unsigned int bytes)
{
	uint64_t v = 0;

	while (bytes-- && in->size) {
		v = v << 8 | *in->data++;
		in->size--;
	}
	return v;
}

static void need(bool ok)
{
	if (!ok)
		abort();
}

static uint8_t *ram(struct world *w, gpa_t at, uint64_t len)
{
	const struct memory_region *r = memory_find(&w->mem, at, len);

	need(r != NULL);
	return (uint8_t *)r->hva + (at - r->gpa);
}

static void on_line(struct irq_chip *chip, uint32_t source, bool level)
{
	struct world *w = container_of(chip, struct world, chip);

	need(w->resuming || (source == 1 && level != w->level));
	if (source == 1)
		w->level = level;
}

static const struct irq_chip_ops chip_ops = {.set_level = on_line};

static int on_update(struct msi_sink *sink, uint32_t *handle, uint64_t address, uint32_t data)
{
	struct world *w = container_of(sink, struct world, sink);
	uint32_t h = *handle;

	need(!(address & 3));
	(void)data;
	if (h == MSI_NONE)
		for (h = 0; w->used[h]; h++)
			need(h + 1 < ROUTES);
	w->used[h] = true;
	*handle = h;
	return 0;
}

static int on_send(struct msi_sink *sink, uint64_t address, uint32_t data)
{
	struct world *w = container_of(sink, struct world, sink);

	need(!(address & 3));
	(void)data;
	need(pci_get(w->fn, w->msix + 2, 2) >> 14 == 2);
	need(pci_command(w->fn) & PCI_COMMAND_MASTER);
	return 0;
}

static void on_release(struct msi_sink *sink, uint32_t handle)
{
	struct world *w = container_of(sink, struct world, sink);

	need(w->used[handle]);
	w->used[handle] = false;
}

static const struct msi_sink_ops sink_ops = {
	.update = on_update,
	.send = on_send,
	.release = on_release,
};

/* --- the device ---------------------------------------------------------------------- */

static void config_get(struct virtio_device *vdev, uint8_t *config)
{
	memcpy(config, container_of(vdev, struct filler, vdev)->s.config, CONFIG_SIZE);
}

static void config_set(struct virtio_device *vdev, uint32_t offset, const uint8_t *bytes,
		       uint32_t len)
{
	need(offset < CONFIG_SIZE && len <= CONFIG_SIZE - offset);
	memcpy(container_of(vdev, struct filler, vdev)->s.config + offset, bytes, len);
	virtio_config_changed(vdev);
}

static void notify(struct virtio_device *vdev, unsigned int index)
{
	struct virtq_request *req;
	uint8_t byte = 0x5a;

	while ((req = virtq_pop(virtio_queue(vdev, index)))) {
		struct virtq_cursor c = virtq_writer(req);

		while (virtq_write(&c, &byte, 1))
			;
		virtio_complete(vdev, req);
	}
}

static void transfer(struct virtio_device *vdev, struct xfer *x, void *state)
{
	(void)vdev;
	xfer_bytes(x, state, CONFIG_SIZE);
}

static void destroy(struct virtio_device *vdev)
{
	virtio_device_fini(vdev);
	free(container_of(vdev, struct filler, vdev));
}

static const struct virtio_device_ops filler_ops = {
	.kind = "filler",
	.id = 4,
	.config_size = CONFIG_SIZE,
	.state_size = CONFIG_SIZE,
	.config_get = config_get,
	.config_set = config_set,
	.notify = notify,
	.transfer = transfer,
	.destroy = destroy,
};

static void run_soon(void *opaque)
{
	(void)opaque;
}

static const struct virtio_transport_env env = {.run_soon = run_soon};

/* --- the guest --------------------------------------------------------------------------- */

static uint64_t config_read(struct world *w, unsigned int reg, unsigned int size)
{
	return pci_ecam_ops.read(w->host, ECAM + reg, size);
}

static void config_write(struct world *w, unsigned int reg, uint64_t value, unsigned int size)
{
	pci_ecam_ops.write(w->host, ECAM + reg, value, size);
}

/* Where the BAR may have gone is fuzz_pci's subject: here it is always at offset 0. */
static uint64_t bar_read(struct world *w, uint64_t at, unsigned int size)
{
	return w->fn->ops->bar_read(w->fn, 0, at, size);
}

static void bar_write(struct world *w, uint64_t at, uint64_t value, unsigned int size)
{
	w->fn->ops->bar_write(w->fn, 0, at, value, size);
}

static void start(struct world *w)
{
	struct pci_host_config config = {.name = "pci0", .windows = {{0x40000000, BAR_SIZE}}};
	unsigned int i, cap;

	memset(w, 0, sizeof(*w));
	memory_init(&w->mem);
	need(memory_add(&w->mem, RAM, BANK, 4096, NULL) &&
	     memory_add(&w->mem, RAM + BANK, BANK, 4096, NULL));
	w->chip.ops = &chip_ops;
	w->sink.ops = &sink_ops;
	for (i = 0; i < PCI_PINS; i++)
		config.lines[i] = (struct irq_line){&w->chip, i};
	w->host = pci_host_create(&config);
	w->filler = calloc(1, sizeof(*w->filler));
	need(w->host && w->filler);
	need(!virtio_device_init(&w->filler->vdev, &filler_ops, "filler", &w->mem, NULL, 0, QUEUES,
				 NUM, 0, &w->filler->s));
	w->pci = virtio_pci_create(&w->filler->vdev, w->host, &w->sink, &env, w);
	need(w->pci != NULL);
	w->fn = virtio_pci_function(w->pci);
	for (cap = w->fn->config[PCI_CAPABILITIES]; cap; cap = w->fn->config[cap + 1]) {
		if (w->fn->config[cap] == PCI_CAP_ID_MSIX)
			w->msix = cap;
		else if (w->fn->config[cap + 3] == 5)
			w->access = cap;
	}
}

static void stop(struct world *w)
{
	struct device *dev = virtio_pci_device(w->pci), *host = pci_host_device(w->host);
	unsigned int i;

	dev->ops->destroy(dev);
	need(!w->level);
	for (i = 0; i < ROUTES; i++)
		need(!w->used[i]);
	host->ops->destroy(host);
	memory_destroy(&w->mem);
}

/* What a driver does that knows its trade; the features are the input's. */
static void bring_up(struct world *w, uint64_t features, unsigned int queue, bool msix)
{
	unsigned int i;

	memset(ram(w, DESC, 0x1000), 0, 0x1000);
	config_write(w, PCI_COMMAND, 6, 2);
	config_write(w, w->msix + 2, msix ? 0x8000 : 0, 2);
	for (i = 0; msix && i <= QUEUES; i++) {
		bar_write(w, 0x4000 + 16 * i, 0x28000000 + 4 * i, 8);
		bar_write(w, 0x4008 + 16 * i, i, 8);
	}
	bar_write(w, 0x14, 0, 1);
	bar_write(w, 0x14, 3, 1);
	bar_write(w, 0x08, 0, 4);
	bar_write(w, 0x0c, (uint32_t)features, 4);
	bar_write(w, 0x08, 1, 4);
	bar_write(w, 0x0c, features >> 32 | 1, 4);
	bar_write(w, 0x14, 11, 1);
	bar_write(w, 0x10, 0, 2);
	bar_write(w, 0x16, queue, 2);
	bar_write(w, 0x1a, queue + 1, 2);
	bar_write(w, 0x20, DESC, 8);
	bar_write(w, 0x28, AVAIL, 8);
	bar_write(w, 0x30, (uint32_t)USED, 4);
	bar_write(w, 0x34, USED >> 32, 4);
	bar_write(w, 0x1c, 1, 2);
	bar_write(w, 0x14, 15, 1);
}

static void put_desc(struct world *w, unsigned int index, gpa_t addr, uint32_t len, uint16_t flags,
		     uint16_t next)
{
	uint64_t half[2] = {addr, len | (uint64_t)flags << 32 | (uint64_t)next << 48};

	memcpy(ram(w, DESC + 16 * index, 16), half, 16);
}

static void offer(struct world *w, uint16_t head)
{
	uint16_t idx;

	memcpy(&idx, ram(w, AVAIL + 2, 2), 2);
	memcpy(ram(w, AVAIL + 4 + 2 * (idx % NUM), 2), &head, 2);
	idx++;
	memcpy(ram(w, AVAIL + 2, 2), &idx, 2);
}

/* --- save, load, checks ------------------------------------------------------------------------
 */

static void save(struct world *w, struct xfer *x)
{
	struct device *dev = virtio_pci_device(w->pci);

	xfer_save_init(x);
	dev->ops->transfer(dev, x);
	need(!xfer_done(x, NULL));
}

static void save_load(struct world *w, struct input *in, bool change)
{
	struct device *dev = virtio_pci_device(w->pci), *host = pci_host_device(w->host);
	struct xfer x, y, again;

	dev->ops->quiesce(dev);
	save(w, &x);
	while (change && in->size && take(in, 1) & 1)
		x.buf[take(in, 2) % x.len] = (uint8_t)take(in, 1);
	xfer_load_init(&y, x.buf, x.len);
	dev->ops->transfer(dev, &y);
	if (!xfer_done(&y, NULL)) {
		save(w, &again);
		need(again.len == x.len && !memcmp(again.buf, x.buf, x.len));
		xfer_free(&again);
	} else {
		need(change);
	}
	xfer_free(&x);
	w->resuming = true;
	host->ops->resume(host);
	w->resuming = false;
	dev->ops->resume(dev);
}

static void check_world(struct world *w)
{
	static const uint8_t zeroes[4096];
	uint8_t status = (uint8_t)bar_read(w, 0x14, 1) & 15;
	bool asserted = config_read(w, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT;

	/* FEATURES_OK comes behind DRIVER, DRIVER_OK behind FEATURES_OK. */
	need((!(status & 8) || status & 2) && (!(status & 4) || status & 8));
	need(w->level == (asserted && !(pci_command(w->fn) & PCI_COMMAND_INTX_DISABLE)));
	need(!asserted || !(pci_get(w->fn, w->msix + 2, 2) & 0x8000));
	need(bar_read(w, 0x12, 2) == QUEUES);
	need(config_read(w, 0, 4) == 0x10441af4);
	need(!memcmp(ram(w, QUIET + BANK - 4096, 4096), zeroes, 4096));
}

static void check_sane(struct world *w, bool msix)
{
	uint16_t used;

	bring_up(w, 0, 0, msix);
	config_write(w, PCI_COMMAND, 6, 2);
	need(bar_read(w, 0x14, 1) == 15);
	put_desc(w, 0, BUFFER, 5, 2, 0);
	offer(w, 0);
	bar_write(w, 0x3000, 0, 2);
	memcpy(&used, ram(w, USED + 2, 2), 2);
	need(used == 1 && w->level == !msix);
	need(*ram(w, BUFFER + 4, 1) == 0x5a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t regs[] = {0x04, 0x05, 0x06, 0x10, 0x14, 0x3c};
	struct input in = {data, size};
	struct world w;
	unsigned int width;
	struct device *dev;
	uint64_t op, at;

	start(&w);
	dev = virtio_pci_device(w.pci);
	while (in.size) {
		op = take(&in, 1);
		width = 1U << (op >> 4 & 3);
		switch (op & 15) {
		case 0: /* any width, any offset */
			bar_read(&w, take(&in, 2) % (BAR_SIZE - 7), width);
			break;
		case 1:
			at = take(&in, 2) % (BAR_SIZE - 7);
			bar_write(&w, at, take(&in, width), width);
			break;
		case 2: /* common configuration, a field's own width */
		case 3:
			at = take(&in, 1) % 0x40;
			width = at < 0x10 ? 4 : at == 0x14 ? 1 : at < 0x20 || at >= 0x38 ? 2 : 8;
			bar_write(&w, at & ~(uint64_t)(width - 1), take(&in, op & 0x80 ? width : 1),
				  width);
			break;
		case 4:
			bring_up(&w, op & 0x80 ? take(&in, 6) : take(&in, 1) << 28, op >> 4 & 1,
				 op >> 5 & 1);
			break;
		case 5:
			put_desc(&w, op >> 4 & 7, BUFFER + take(&in, 2) % 0x2000,
				 (uint32_t)take(&in, 1), (uint16_t)take(&in, 1) & 7,
				 (uint16_t)take(&in, 1) % (NUM + 1));
			break;
		case 6:
			offer(&w, (uint16_t)take(&in, 1) % (NUM + 1));
			bar_write(&w, 0x3000 + 4 * (op >> 4 & 1), 0, 2);
			break;
		case 7: /* memory: the rings */
			*ram(&w, RAM + take(&in, 2) % 0xc00, 1) = (uint8_t)take(&in, 1);
			break;
		case 8: /* configuration space */
			config_read(&w, (unsigned int)take(&in, 1), width);
			break;
		case 9:
			at = op & 0x80 ? take(&in, 1) : regs[take(&in, 1) % sizeof(regs)];
			config_write(&w, (unsigned int)at, take(&in, width), width);
			break;
		case 10: /* the access capability */
			config_write(&w, w.access + 4, op & 0x80 ? take(&in, 1) : 0, 1);
			config_write(&w, w.access + 8, take(&in, 2), 4);
			config_write(&w, w.access + 12, width, 4);
			if (op & 0x40)
				config_write(&w, w.access + 16, take(&in, 2), 4);
			else
				config_read(&w, w.access + 16, 4);
			break;
		case 11:
			config_write(&w, w.msix + 2, take(&in, 1) << 8, 2);
			break;
		case 12:
			save_load(&w, &in, op & 0x80);
			break;
		case 13: /* the MSI-X table */
			at = 0x4000 + (take(&in, 1) & 0x3f) / 4 * 4;
			bar_write(&w, at, take(&in, 2), op & 0x10 ? 8 : 4);
			break;
		case 14:
			bar_read(&w, 0x1000, 1);
			virtio_device_run(virtio_pci_vdev(w.pci));
			break;
		default:
			dev->ops->reset(dev);
			break;
		}
		check_world(&w);
	}
	check_sane(&w, false);
	check_sane(&w, true);
	check_world(&w);
	stop(&w);
	return 0;
}
