// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-pci, modern devices only: virtio 1.2 and 1.3, section 4.1.
 *
 * One 64-bit memory BAR, a page for each part, so that each can be mapped or watched by
 * itself; vendor capabilities say where the parts are:
 *
 *   0x0000 common configuration   0x3000 notifications, 4 bytes a queue
 *   0x1000 ISR status             0x4000 MSI-X table
 *   0x2000 device configuration   0x5000 MSI-X pending bits
 *
 * Common configuration is in virtio/pci_common.c, MSI-X in hw/pci_msix.c. ISR status
 * takes bytes, a notification 16 bits; which queue it is for is told by its address.
 * Whatever else is read gives 0 and whatever else is written is dropped. Device
 * configuration takes any width at any offset; the core (virtio/device.c) cuts off
 * what lies beyond its end. All that is not the transport's own is the core's.
 *
 * The configuration access capability reaches the same registers through configuration
 * space: a read or write of its data does an access of its length, 1, 2 or 4, at its
 * offset in its BAR, if that lies inside and is aligned; else nothing happens.
 *
 * Interrupts. With MSI-X enabled each event goes to the vector the driver gave it.
 * Without, it goes to the ISR status, and the pin is asserted while that is not 0; the
 * driver's read clears it. The configuration bit of the ISR status is set in both
 * cases (4.1.4.5.1). In a machine that takes no messages functions have no MSI-X.
 *
 * Bus master. A function that the command register forbids to access memory does not:
 * the virtio device stands still as it does in a pause, until it is allowed again, and
 * beside any pause (both hold it: see virtio_device_quiesce()). So
 * none writes to memory behind the back of a guest that has turned it off (kexec).
 *
 * Queues that somebody else serves (vhost, a vhost-user back end) are connected past
 * lkvm: the notification address of the queue to the eventfd that tells them (a doorbell
 * in KVM, which follows the BAR), and the one by which they interrupt to the queue's MSI-X
 * vector. Whatever can't be connected, or not at present (a masked vector, a driver that
 * uses the pin), comes to lkvm and is passed on.
 *
 * A machine whose interrupt files are small gives a device fewer vectors than queues
 * (struct virtio_device). Drivers then share what there is, or use the pin.
 *
 * Thread and lock: the registers are the virtio device's mutex's; see
 * include/lkvm/hw/pci.h for the others. What is saved: configuration space, the MSI-X
 * table, selectors, vectors and ISR status, then the virtio device. Loading touches no
 * line and sends nothing: resume does.
 */
#include "pci_internal.h"

#include <stdlib.h>

#define VENDOR 0x1af4
#define DEVICE_BASE 0x1040
#define SUBSYSTEM 0x1100 /* 0x40 or higher for a device that is not transitional */
#define REVISION 1

#define BAR 0
#define BAR_SIZE 0x8000
#define PART 0x1000
#define PART_COMMON 0
#define PART_ISR 1
#define PART_CONFIG 2
#define PART_NOTIFY 3
#define PART_MSIX_TABLE 4
#define PART_MSIX_PBA 5

_Static_assert((VIRTIO_MAX_QUEUES + 1) * PCI_MSIX_ENTRY <= PART, "the MSI-X table fits its part");

#define NOTIFY_MULTIPLIER 4

#define ISR_QUEUE 1
#define ISR_CONFIG 2

/* Vendor capabilities (4.1.4). */
#define CAP_COMMON 1
#define CAP_NOTIFY 2
#define CAP_ISR 3
#define CAP_DEVICE 4
#define CAP_PCI 5
#define CAP_LEN 2
#define CAP_TYPE 3
#define CAP_BAR 4
#define CAP_OFFSET 8
#define CAP_LENGTH 12
#define CAP_SIZE 16
#define CAP_EXTRA 16 /* notify_off_multiplier, pci_cfg_data */

/* --- interrupts ------------------------------------------------------------------ */

static void update_pin(struct virtio_pci *pci)
{
	bool level = pci->r.isr && !pci->msix_on;

	if (level == pci->level)
		return;
	pci->level = level;
	pci_intx(&pci->fn, level);
}

static void fire(struct virtio_pci *pci, uint16_t vector)
{
	if (vector != VIRTIO_PCI_NO_VECTOR)
		pci_msix_fire(&pci->msix, vector);
}

static void on_used(struct virtio_transport *transport, unsigned int index)
{
	struct virtio_pci *pci = container_of(transport, struct virtio_pci, transport);

	if (pci->msix_on) {
		fire(pci, pci->r.queue_vector[index]);
		return;
	}
	pci->r.isr |= ISR_QUEUE;
	update_pin(pci);
}

static void on_config(struct virtio_transport *transport)
{
	struct virtio_pci *pci = container_of(transport, struct virtio_pci, transport);

	pci->r.isr |= ISR_CONFIG;
	if (pci->msix_on)
		fire(pci, pci->r.config_vector);
	update_pin(pci);
}

static void on_again(struct virtio_transport *transport)
{
	struct virtio_pci *pci = container_of(transport, struct virtio_pci, transport);

	pci->env->run_soon(pci->opaque);
}

/* --- eventfds past lkvm ------------------------------------------------------------- */

void virtio_pci_bind(struct virtio_pci *pci, unsigned int index)
{
	pci_msix_bind(&pci->msix, index, pci->r.queue_vector[index], pci->bells[index].call);
}

static void ring(struct virtio_pci *pci, unsigned int index, bool on)
{
	struct virtio_pci_bells *b = &pci->bells[index];
	struct virtio_doorbell bell = {.size = 2, .fd = b->kick};

	if (on == b->rung || !pci->env->doorbell || (on && (!pci->here || b->kick < 0)))
		return;
	if (on)
		b->at = pci->at + PART_NOTIFY * PART + (gpa_t)NOTIFY_MULTIPLIER * index;
	bell.address = b->at;
	b->rung = !pci->env->doorbell(pci->opaque, &bell, on) && on;
}

static void on_served(struct virtio_transport *transport, unsigned int index, int kick, int call)
{
	struct virtio_pci *pci = container_of(transport, struct virtio_pci, transport);

	ring(pci, index, false);
	pci->bells[index].kick = kick;
	pci->bells[index].call = call;
	ring(pci, index, true);
	virtio_pci_bind(pci, index);
}

static void on_moved(struct pci_function *fn, unsigned int bar, bool here, gpa_t gpa)
{
	struct virtio_pci *pci = container_of(fn, struct virtio_pci, fn);
	unsigned int i;

	(void)bar;
	/* On the way to its end. */
	if (!pci->vdev)
		return;
	virtio_enter_device(pci->vdev);
	pci->here = here;
	pci->at = gpa;
	for (i = 0; i < pci->vdev->nr_queues; i++)
		ring(pci, i, here);
	virtio_leave(pci->vdev);
}

static void default_regs(struct virtio_pci_regs *r)
{
	unsigned int i;

	*r = (struct virtio_pci_regs){.config_vector = VIRTIO_PCI_NO_VECTOR};
	for (i = 0; i < VIRTIO_MAX_QUEUES; i++)
		r->queue_vector[i] = VIRTIO_PCI_NO_VECTOR;
}

static void on_reset(struct virtio_transport *transport)
{
	struct virtio_pci *pci = container_of(transport, struct virtio_pci, transport);

	/* All queues are back, so no eventfd is bound to a vector. */
	default_regs(&pci->r);
	update_pin(pci);
}

static const struct virtio_transport_ops transport_ops = {
	.used = on_used,
	.config = on_config,
	.again = on_again,
	.reset = on_reset,
	.served = on_served,
};

/* --- the BAR ------------------------------------------------------------------------- */

/* A guest driver's mistake is worth a line to whoever writes that driver. */
void virtio_pci_stray(struct virtio_pci *pci, const char *what, uint64_t offset, unsigned int size)
{
	if (pci->vdev->log)
		log_ratelimited(pci->vdev->log, &pci->stray, LOG_LEVEL_DEBUG,
				"%s: the guest's %s of %u bytes at offset 0x%llx is no register",
				pci->dev.name, what, size, (unsigned long long)offset);
}

static uint64_t read_isr(struct virtio_pci *pci)
{
	uint8_t isr = pci->r.isr;

	pci->r.isr = 0;
	update_pin(pci);
	return isr;
}

static uint64_t bar_read(struct pci_function *fn, unsigned int bar, uint64_t offset,
			 unsigned int size)
{
	struct virtio_pci *pci = container_of(fn, struct virtio_pci, fn);
	uint64_t part = offset / PART, at = offset % PART, value = 0;

	(void)bar;
	if (part == PART_MSIX_TABLE)
		return pci_msix_table_read(&pci->msix, at, size);
	if (part == PART_MSIX_PBA)
		return pci_msix_pba_read(&pci->msix, at, size);
	virtio_enter(pci->vdev);
	if (part == PART_CONFIG)
		value = virtio_config_read(pci->vdev, at, size);
	else if (part == PART_COMMON)
		value = virtio_pci_common_read(pci, at, size);
	else if (part == PART_ISR && !at && size == 1)
		value = read_isr(pci);
	else
		virtio_pci_stray(pci, "read", offset, size);
	virtio_leave(pci->vdev);
	return value;
}

static void bar_write(struct pci_function *fn, unsigned int bar, uint64_t offset, uint64_t value,
		      unsigned int size)
{
	struct virtio_pci *pci = container_of(fn, struct virtio_pci, fn);
	uint64_t part = offset / PART, at = offset % PART;

	(void)bar;
	if (part == PART_MSIX_TABLE) {
		pci_msix_table_write(&pci->msix, at, value, size);
		return;
	}
	virtio_enter(pci->vdev);
	if (part == PART_NOTIFY && size == 2 && !(at % NOTIFY_MULTIPLIER))
		virtio_queue_notify(pci->vdev, (uint32_t)(at / NOTIFY_MULTIPLIER));
	else if (part == PART_CONFIG)
		virtio_config_write(pci->vdev, at, value, size);
	else if (part == PART_COMMON)
		virtio_pci_common_write(pci, at, value, size);
	else
		virtio_pci_stray(pci, "write", offset, size);
	virtio_leave(pci->vdev);
}

/* --- configuration space ---------------------------------------------------------------- */

/* What the configuration access capability asks for; false: nothing that makes sense. */
static bool window(const struct virtio_pci *pci, uint32_t *offset, uint32_t *length)
{
	const struct pci_function *fn = &pci->fn;

	*offset = pci_get(fn, pci->access + CAP_OFFSET, 4);
	*length = pci_get(fn, pci->access + CAP_LENGTH, 4);
	if (*length != 1 && *length != 2 && *length != 4)
		return false;
	return pci_get(fn, pci->access + CAP_BAR, 1) == BAR && !(*offset % *length) &&
	       *offset <= BAR_SIZE - *length;
}

static void on_config_read(struct pci_function *fn, unsigned int reg, unsigned int size)
{
	struct virtio_pci *pci = container_of(fn, struct virtio_pci, fn);
	uint32_t offset, length;

	if (pci_touches(reg, size, pci->access + CAP_EXTRA, 4) && window(pci, &offset, &length))
		pci_put(fn, pci->access + CAP_EXTRA, (uint32_t)bar_read(fn, BAR, offset, length),
			length);
}

/* The bus master bit holds the device by itself, whoever else does. */
static void set_master(struct virtio_pci *pci)
{
	bool master = pci_command(&pci->fn) & PCI_COMMAND_MASTER;

	if (master == pci->master)
		return;
	pci->master = master;
	if (master)
		virtio_device_resume(pci->vdev);
	else
		virtio_device_quiesce(pci->vdev);
}

/*
 * Obey MSI-X's control. A driver that switches while the device works loses no event: what
 * the pin has told and nobody has read is told by messages, of all queues, for the ISR
 * status does not say which; and what waits in a masked vector is told by the pin.
 */
static void switch_msix(struct virtio_pci *pci)
{
	bool was_on = pci->msix_on, waits = was_on && pci_msix_pending(&pci->msix);
	unsigned int i;

	pci->msix_on = pci_msix_config(&pci->msix);
	if (was_on && !pci->msix_on && waits)
		pci->r.isr |= ISR_QUEUE;
	if (was_on || !pci->msix_on)
		return;
	for (i = 0; pci->r.isr & ISR_QUEUE && i < pci->vdev->nr_queues; i++)
		fire(pci, pci->r.queue_vector[i]);
	if (pci->r.isr & ISR_CONFIG)
		fire(pci, pci->r.config_vector);
}

/* The command register, or MSI-X's control, may have changed. */
static void apply(struct virtio_pci *pci)
{
	/* One step for the device, whose events come from any thread. */
	virtio_enter_device(pci->vdev);
	switch_msix(pci);
	update_pin(pci);
	virtio_leave(pci->vdev);
	set_master(pci);
}

static void on_config_written(struct pci_function *fn, unsigned int reg, unsigned int size)
{
	struct virtio_pci *pci = container_of(fn, struct virtio_pci, fn);
	uint32_t offset, length;

	if (pci_touches(reg, size, PCI_COMMAND, 2) ||
	    (pci->msix.cap && pci_touches(reg, size, pci->msix.cap, 4)))
		apply(pci);
	if (pci_touches(reg, size, pci->access + CAP_EXTRA, 4) && window(pci, &offset, &length)) {
		uint64_t mask = length == 4 ? UINT32_MAX : (1U << 8 * length) - 1;

		bar_write(fn, BAR, offset, pci_get(fn, pci->access + CAP_EXTRA, 4) & mask, length);
	}
}

static const struct pci_function_ops function_ops = {
	.bar_read = bar_read,
	.bar_write = bar_write,
	.config_read = on_config_read,
	.config_written = on_config_written,
	.moved = on_moved,
};

/* --- life cycle ----------------------------------------------------------------------------- */

static int pci_activate(struct device *dev, struct error *err)
{
	return virtio_device_start(container_of(dev, struct virtio_pci, dev)->vdev, err);
}

static void pci_quiesce(struct device *dev)
{
	virtio_device_quiesce(container_of(dev, struct virtio_pci, dev)->vdev);
}

static void pci_resume(struct device *dev)
{
	struct virtio_pci *pci = container_of(dev, struct virtio_pci, dev);

	/* The pin's line is the host's, which has resumed before. */
	pci_msix_config(&pci->msix);
	virtio_device_resume(pci->vdev);
}

static void transfer_regs(const struct virtio_pci *pci, struct xfer *x, struct virtio_pci_regs *r)
{
	unsigned int i;

	xfer_u32(x, &r->device_features_sel);
	xfer_u32(x, &r->driver_features_sel);
	xfer_u16(x, &r->queue_sel);
	xfer_u8(x, &r->isr);
	xfer_check(x, !(r->isr & ~(ISR_QUEUE | ISR_CONFIG)),
		   "virtio-pci: unknown bits in the ISR status");
	xfer_u16(x, &r->config_vector);
	xfer_check(x, r->config_vector == virtio_pci_vector(pci, r->config_vector),
		   "virtio-pci: a vector that is not there");
	for (i = 0; i < pci->vdev->nr_queues; i++) {
		xfer_u16(x, &r->queue_vector[i]);
		xfer_check(x, r->queue_vector[i] == virtio_pci_vector(pci, r->queue_vector[i]),
			   "virtio-pci: a vector that is not there");
	}
}

static void pci_transfer(struct device *dev, struct xfer *x)
{
	struct virtio_pci *pci = container_of(dev, struct virtio_pci, dev);
	struct msix_entry *entries;
	uint8_t config[PCI_CONFIG_SIZE];
	struct virtio_pci_regs r;
	bool good;

	virtio_enter(pci->vdev);
	r = pci->r;
	pci_function_transfer(&pci->fn, x, config);
	entries = pci_msix_transfer(&pci->msix, x);
	transfer_regs(pci, x, &r);
	good = virtio_device_transfer(pci->vdev, x);
	if (good) {
		pci->r = r;
		pci->msix_on = pci_msix_enabled(&pci->msix, config);
		pci->level = r.isr && !pci->msix_on;
	}
	virtio_leave(pci->vdev);
	if (!good) {
		free(entries);
		return;
	}
	pci_function_load(&pci->fn, config, pci->level);
	pci_msix_load(&pci->msix, entries);
	set_master(pci);
}

static void pci_reset(struct device *dev)
{
	struct virtio_pci *pci = container_of(dev, struct virtio_pci, dev);

	virtio_device_reset(pci->vdev);
	pci_function_reset(&pci->fn);
	pci_msix_reset(&pci->msix);
	apply(pci);
}

static void pci_stat(struct device *dev, const struct stat_sink *sink)
{
	struct virtio_pci *pci = container_of(dev, struct virtio_pci, dev);

	virtio_device_stat(pci->vdev, sink);
	pci_msix_stat(&pci->msix, dev->name, sink);
}

static void pci_destroy(struct device *dev)
{
	struct virtio_pci *pci = container_of(dev, struct virtio_pci, dev);

	pci->vdev->ops->destroy(pci->vdev);
	pci->vdev = NULL;
	pci_detach(&pci->fn);
	pci_msix_fini(&pci->msix);
	free(pci);
}

static const struct device_ops pci_device_ops = {
	.kind = "virtio-pci",
	.activate = pci_activate,
	.quiesce = pci_quiesce,
	.resume = pci_resume,
	.transfer = pci_transfer,
	.reset = pci_reset,
	.stat = pci_stat,
	.destroy = pci_destroy,
};

/* --- building --------------------------------------------------------------------------------- */

/* PCI Code and ID Assignment Specification; what a guest shows before a driver is there. */
static uint32_t class_of(uint32_t id)
{
	switch (id) {
	case 1: /* network */
		return 0x020000;
	case 2:	 /* block */
	case 26: /* file system */
		return 0x018000;
	case 3: /* console */
		return 0x078000;
	case 19: /* socket */
		return 0x028000;
	default:
		return 0x00ff00;
	}
}

static unsigned int add_cap(struct virtio_pci *pci, uint8_t type, unsigned int extra,
			    unsigned int part, uint32_t length)
{
	unsigned int cap = pci_add_capability(&pci->fn, PCI_CAP_ID_VENDOR, CAP_SIZE + extra);

	/* All of them fit: 96 bytes of 192. */
	pci_put(&pci->fn, cap + CAP_LEN, CAP_SIZE + extra, 1);
	pci_put(&pci->fn, cap + CAP_TYPE, type, 1);
	pci_put(&pci->fn, cap + CAP_BAR, BAR, 1);
	pci_put(&pci->fn, cap + CAP_OFFSET, part * PART, 4);
	pci_put(&pci->fn, cap + CAP_LENGTH, length, 4);
	return cap;
}

static void allow(struct pci_function *fn, unsigned int reg, unsigned int size)
{
	while (size--)
		fn->writable[reg++] = UINT8_MAX;
}

static void add_caps(struct virtio_pci *pci)
{
	const struct virtio_device *vdev = pci->vdev;
	unsigned int cap;

	add_cap(pci, CAP_COMMON, 0, PART_COMMON, VIRTIO_PCI_COMMON_SIZE);
	add_cap(pci, CAP_ISR, 0, PART_ISR, 1);
	if (vdev->ops->config_size)
		add_cap(pci, CAP_DEVICE, 0, PART_CONFIG, vdev->ops->config_size);
	cap = add_cap(pci, CAP_NOTIFY, 4, PART_NOTIFY, NOTIFY_MULTIPLIER * vdev->nr_queues);
	pci_put(&pci->fn, cap + CAP_EXTRA, NOTIFY_MULTIPLIER, 4);
	pci->access = add_cap(pci, CAP_PCI, 4, 0, 0);
	allow(&pci->fn, pci->access + CAP_BAR, 1);
	allow(&pci->fn, pci->access + CAP_OFFSET, 4);
	allow(&pci->fn, pci->access + CAP_LENGTH, 4);
	allow(&pci->fn, pci->access + CAP_EXTRA, 4);
}

static int build(struct virtio_pci *pci, struct pci_host *host, struct msi_sink *sink)
{
	struct virtio_device *vdev = pci->vdev;
	const struct pci_id id = {
		.vendor = VENDOR,
		.device = (uint16_t)(DEVICE_BASE + vdev->ops->id),
		.subsystem_vendor = VENDOR,
		.subsystem = SUBSYSTEM,
		.class = class_of(vdev->ops->id),
		.revision = REVISION,
	};

	pci_function_init(&pci->fn, &function_ops, vdev->name, &id);
	pci_add_bar(&pci->fn, BAR, BAR_SIZE, true);
	add_caps(pci);
	/* One vector for each queue and one for the configuration, where there are so many. */
	if (pci_msix_init(&pci->msix, &pci->fn, vdev->nr_queues + 1, BAR, PART_MSIX_TABLE * PART,
			  PART_MSIX_PBA * PART, sink, vdev->log))
		return -1;
	if (vdev->vectors)
		pci_msix_limit(&pci->msix, vdev->vectors);
	if (!pci_attach(host, &pci->fn))
		return 0;
	pci_msix_fini(&pci->msix);
	return -1;
}

struct virtio_pci *virtio_pci_create(struct virtio_device *vdev, struct pci_host *host,
				     struct msi_sink *sink, const struct virtio_transport_env *env,
				     void *opaque)
{
	struct virtio_pci *pci = calloc(1, sizeof(*pci));
	unsigned int i;

	if (!pci)
		return NULL;
	pci->vdev = vdev;
	for (i = 0; i < VIRTIO_MAX_QUEUES; i++)
		pci->bells[i] = (struct virtio_pci_bells){.kick = -1, .call = -1};
	if (build(pci, host, sink)) {
		free(pci);
		return NULL;
	}
	pci->dev.ops = &pci_device_ops;
	pci->dev.name = vdev->name;
	pci->transport.ops = &transport_ops;
	pci->env = env;
	pci->opaque = opaque;
	default_regs(&pci->r);
	vdev->transport = &pci->transport;
	/* Until the guest lets it access memory. */
	virtio_device_quiesce(vdev);
	return pci;
}

struct device *virtio_pci_device(struct virtio_pci *pci)
{
	return &pci->dev;
}

struct pci_function *virtio_pci_function(struct virtio_pci *pci)
{
	return &pci->fn;
}

unsigned int virtio_pci_vectors(const struct virtio_pci *pci)
{
	return pci->msix.nr;
}

struct virtio_device *virtio_pci_vdev(struct virtio_pci *pci)
{
	return pci->vdev;
}
