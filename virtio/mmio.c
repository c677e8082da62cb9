// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-mmio, version 2 ("modern"): virtio 1.2 and 1.3, section 4.2.2.
 *
 * Control registers are 32 bits wide and little-endian, from 0x000 to 0x0ff. An
 * access that is not 32 bits wide and aligned, a read of what can only be written,
 * or an offset where nothing is, reads as 0 and does nothing else. The device's
 * configuration space starts at 0x100 and takes any width at any offset; the core
 * (virtio/device.c) cuts off what lies beyond its end.
 *
 * All that is not the transport's own is the core's: whether a write is allowed in
 * the current state, and what it does. A selected queue that does not exist has
 * NumMax and Ready 0, and takes nothing.
 *
 * InterruptStatus keeps an event from when it happens until the driver acknowledges
 * it; the line follows whether any is left. There is no shared memory region:
 * length and base read as all ones. A queue reset is over when its write returns.
 *
 * Notifications of queues that somebody else serves (vhost, a vhost-user back end) are
 * stores of the queue's number to QueueNotify that KVM turns into writes to the eventfd of
 * who serves it. Interrupts come to lkvm, which must keep InterruptStatus.
 *
 * Thread and lock: the virtio device's mutex covers the registers too. What is
 * saved: the selectors and InterruptStatus, then the virtio device. Loading touches
 * no line: resume does.
 */
#include "lkvm/virtio/mmio.h"

#include <stdlib.h>

#define REG_MAGIC 0x000
#define REG_VERSION 0x004
#define REG_DEVICE_ID 0x008
#define REG_VENDOR_ID 0x00c
#define REG_DEVICE_FEATURES 0x010
#define REG_DEVICE_FEATURES_SEL 0x014
#define REG_DRIVER_FEATURES 0x020
#define REG_DRIVER_FEATURES_SEL 0x024
#define REG_QUEUE_SEL 0x030
#define REG_QUEUE_NUM_MAX 0x034
#define REG_QUEUE_NUM 0x038
#define REG_QUEUE_READY 0x044
#define REG_QUEUE_NOTIFY 0x050
#define REG_INTERRUPT_STATUS 0x060
#define REG_INTERRUPT_ACK 0x064
#define REG_STATUS 0x070
#define REG_QUEUE_DESC_LOW 0x080
#define REG_QUEUE_DESC_HIGH 0x084
#define REG_QUEUE_DRIVER_LOW 0x090
#define REG_QUEUE_DRIVER_HIGH 0x094
#define REG_QUEUE_DEVICE_LOW 0x0a0
#define REG_QUEUE_DEVICE_HIGH 0x0a4
#define REG_SHM_SEL 0x0ac
#define REG_SHM_LEN_LOW 0x0b0
#define REG_SHM_LEN_HIGH 0x0b4
#define REG_SHM_BASE_LOW 0x0b8
#define REG_SHM_BASE_HIGH 0x0bc
#define REG_QUEUE_RESET 0x0c0
#define REG_CONFIG_GENERATION 0x0fc
#define REG_CONFIG 0x100

#define MAGIC 0x74726976 /* "virt" */
#define VERSION 2
#define VENDOR 0x6d766b6c /* "lkvm" */

#define INT_USED 1
#define INT_CONFIG 2

/**
 * struct mmio_regs - what is saved
 */
struct mmio_regs {
	uint32_t device_features_sel, driver_features_sel, queue_sel, interrupt;
};

struct virtio_mmio {
	struct device dev;
	struct virtio_transport transport;
	struct virtio_device *vdev;
	struct irq_line irq;
	bool level; /* what the line was last set to */
	const struct virtio_transport_env *env;
	void *opaque;
	struct ratelimit stray;
	struct mmio_regs r;
	int kicks[VIRTIO_MAX_QUEUES]; /* what QueueNotify rings; -1: nothing */
};

static void update_line(struct virtio_mmio *mmio)
{
	bool level = mmio->r.interrupt;

	if (level == mmio->level)
		return;
	mmio->level = level;
	irq_line_set(&mmio->irq, level);
}

/* --- what the core calls ------------------------------------------------------ */

static void raise_event(struct virtio_transport *transport, uint32_t event)
{
	struct virtio_mmio *mmio = container_of(transport, struct virtio_mmio, transport);

	mmio->r.interrupt |= event;
	update_line(mmio);
}

static void on_used(struct virtio_transport *transport, unsigned int index)
{
	(void)index;
	raise_event(transport, INT_USED);
}

static void on_config(struct virtio_transport *transport)
{
	raise_event(transport, INT_CONFIG);
}

static void on_again(struct virtio_transport *transport)
{
	struct virtio_mmio *mmio = container_of(transport, struct virtio_mmio, transport);

	mmio->env->run_soon(mmio->opaque);
}

static void on_reset(struct virtio_transport *transport)
{
	struct virtio_mmio *mmio = container_of(transport, struct virtio_mmio, transport);

	mmio->r = (struct mmio_regs){0};
	update_line(mmio);
}

static void on_served(struct virtio_transport *transport, unsigned int index, int kick, int call)
{
	struct virtio_mmio *mmio = container_of(transport, struct virtio_mmio, transport);
	struct virtio_doorbell bell = {
		.address = REG_QUEUE_NOTIFY, .size = 4, .match = true, .value = index};

	(void)call;
	if (!mmio->env->doorbell)
		return;
	bell.fd = mmio->kicks[index];
	if (bell.fd >= 0)
		mmio->env->doorbell(mmio->opaque, &bell, false);
	bell.fd = kick;
	mmio->kicks[index] =
		kick >= 0 && !mmio->env->doorbell(mmio->opaque, &bell, true) ? kick : -1;
}

static const struct virtio_transport_ops transport_ops = {
	.used = on_used,
	.config = on_config,
	.again = on_again,
	.reset = on_reset,
	.served = on_served,
};

/* --- registers ------------------------------------------------------------------ */

/* A guest driver's mistake is worth a line to whoever writes that driver. */
static void stray(struct virtio_mmio *mmio, const char *what, uint64_t offset, unsigned int size)
{
	if (mmio->vdev->log)
		log_ratelimited(mmio->vdev->log, &mmio->stray, LOG_LEVEL_DEBUG,
				"%s: the guest's %s of %u bytes at offset 0x%llx is no register",
				mmio->dev.name, what, size, (unsigned long long)offset);
}

static uint32_t read_reg(struct virtio_mmio *mmio, uint64_t offset)
{
	struct virtio_device *vdev = mmio->vdev;

	switch (offset) {
	case REG_MAGIC:
		return MAGIC;
	case REG_VERSION:
		return VERSION;
	case REG_DEVICE_ID:
		return vdev->ops->id;
	case REG_VENDOR_ID:
		return VENDOR;
	case REG_DEVICE_FEATURES:
		return virtio_features(vdev, mmio->r.device_features_sel);
	case REG_QUEUE_NUM_MAX:
		return virtio_queue_max(vdev, mmio->r.queue_sel);
	case REG_QUEUE_READY:
		return virtio_queue_ready(vdev, mmio->r.queue_sel);
	case REG_INTERRUPT_STATUS:
		return mmio->r.interrupt;
	case REG_STATUS:
		return vdev->status;
	case REG_SHM_LEN_LOW:
	case REG_SHM_LEN_HIGH:
	case REG_SHM_BASE_LOW:
	case REG_SHM_BASE_HIGH:
		return UINT32_MAX;
	case REG_QUEUE_RESET:
		return 0;
	case REG_CONFIG_GENERATION:
		return virtio_generation(vdev);
	default:
		stray(mmio, "read", offset, 4);
		return 0;
	}
}

/* One of the registers that make the selected queue's layout. */
static void write_layout(struct virtio_mmio *mmio, uint64_t offset, uint32_t value)
{
	struct virtq_layout *layout = virtio_queue_setup(mmio->vdev, mmio->r.queue_sel);

	if (!layout)
		return;
	switch (offset) {
	case REG_QUEUE_NUM:
		layout->num = value;
		break;
	case REG_QUEUE_DESC_LOW:
	case REG_QUEUE_DESC_HIGH:
		virtio_put_half(&layout->desc, value, offset == REG_QUEUE_DESC_HIGH);
		break;
	case REG_QUEUE_DRIVER_LOW:
	case REG_QUEUE_DRIVER_HIGH:
		virtio_put_half(&layout->avail, value, offset == REG_QUEUE_DRIVER_HIGH);
		break;
	default:
		virtio_put_half(&layout->used, value, offset == REG_QUEUE_DEVICE_HIGH);
		break;
	}
}

static void write_reg(struct virtio_mmio *mmio, uint64_t offset, uint32_t value)
{
	struct virtio_device *vdev = mmio->vdev;

	switch (offset) {
	case REG_DEVICE_FEATURES_SEL:
		mmio->r.device_features_sel = value;
		break;
	case REG_DRIVER_FEATURES:
		virtio_set_features(vdev, mmio->r.driver_features_sel, value);
		break;
	case REG_DRIVER_FEATURES_SEL:
		mmio->r.driver_features_sel = value;
		break;
	case REG_QUEUE_SEL:
		mmio->r.queue_sel = value;
		break;
	case REG_QUEUE_NUM:
	case REG_QUEUE_DESC_LOW:
	case REG_QUEUE_DESC_HIGH:
	case REG_QUEUE_DRIVER_LOW:
	case REG_QUEUE_DRIVER_HIGH:
	case REG_QUEUE_DEVICE_LOW:
	case REG_QUEUE_DEVICE_HIGH:
		write_layout(mmio, offset, value);
		break;
	case REG_QUEUE_READY:
		/* 0 and 1 have a meaning. */
		if (value <= 1)
			virtio_queue_enable(vdev, mmio->r.queue_sel, value);
		break;
	case REG_QUEUE_NOTIFY:
		virtio_queue_notify(vdev, value);
		break;
	case REG_INTERRUPT_ACK:
		mmio->r.interrupt &= ~value;
		update_line(mmio);
		break;
	case REG_STATUS:
		virtio_set_status(vdev, value);
		break;
	case REG_SHM_SEL:
		break;
	case REG_QUEUE_RESET:
		if (value == 1)
			virtio_queue_reset(vdev, mmio->r.queue_sel);
		break;
	default:
		stray(mmio, "write", offset, 4);
		break;
	}
}

static uint64_t mmio_read(void *dev, uint64_t offset, unsigned int size)
{
	struct virtio_mmio *mmio = dev;
	uint64_t value;

	if (offset < REG_CONFIG && (size != 4 || offset % 4)) {
		stray(mmio, "read", offset, size);
		return 0;
	}
	virtio_enter(mmio->vdev);
	if (offset >= REG_CONFIG)
		value = virtio_config_read(mmio->vdev, offset - REG_CONFIG, size);
	else
		value = read_reg(mmio, offset);
	virtio_leave(mmio->vdev);
	return value;
}

static void mmio_write(void *dev, uint64_t offset, uint64_t value, unsigned int size)
{
	struct virtio_mmio *mmio = dev;

	if (offset < REG_CONFIG && (size != 4 || offset % 4)) {
		stray(mmio, "write", offset, size);
		return;
	}
	virtio_enter(mmio->vdev);
	if (offset >= REG_CONFIG)
		virtio_config_write(mmio->vdev, offset - REG_CONFIG, value, size);
	else
		write_reg(mmio, offset, (uint32_t)value);
	virtio_leave(mmio->vdev);
}

const struct mmio_ops virtio_mmio_ops = {
	.read = mmio_read,
	.write = mmio_write,
};

/* --- life cycle --------------------------------------------------------------------- */

static int mmio_activate(struct device *dev, struct error *err)
{
	return virtio_device_start(container_of(dev, struct virtio_mmio, dev)->vdev, err);
}

static void mmio_quiesce(struct device *dev)
{
	virtio_device_quiesce(container_of(dev, struct virtio_mmio, dev)->vdev);
}

static void mmio_resume(struct device *dev)
{
	struct virtio_mmio *mmio = container_of(dev, struct virtio_mmio, dev);

	virtio_enter(mmio->vdev);
	/* After a load the line may stand anywhere. */
	mmio->level = mmio->r.interrupt;
	irq_line_set(&mmio->irq, mmio->level);
	virtio_leave(mmio->vdev);
	virtio_device_resume(mmio->vdev);
}

static void mmio_transfer(struct device *dev, struct xfer *x)
{
	struct virtio_mmio *mmio = container_of(dev, struct virtio_mmio, dev);
	struct mmio_regs r;

	virtio_enter(mmio->vdev);
	r = mmio->r;
	xfer_u32(x, &r.device_features_sel);
	xfer_u32(x, &r.driver_features_sel);
	xfer_u32(x, &r.queue_sel);
	xfer_u32(x, &r.interrupt);
	xfer_check(x, !(r.interrupt & ~(uint32_t)(INT_USED | INT_CONFIG)),
		   "virtio-mmio: unknown bits in InterruptStatus");
	if (virtio_device_transfer(mmio->vdev, x))
		mmio->r = r;
	virtio_leave(mmio->vdev);
}

static void mmio_reset(struct device *dev)
{
	virtio_device_reset(container_of(dev, struct virtio_mmio, dev)->vdev);
}

static void mmio_stat(struct device *dev, const struct stat_sink *sink)
{
	virtio_device_stat(container_of(dev, struct virtio_mmio, dev)->vdev, sink);
}

static void mmio_destroy(struct device *dev)
{
	struct virtio_mmio *mmio = container_of(dev, struct virtio_mmio, dev);

	mmio->vdev->ops->destroy(mmio->vdev);
	free(mmio);
}

static const struct device_ops mmio_device_ops = {
	.kind = "virtio-mmio",
	.activate = mmio_activate,
	.quiesce = mmio_quiesce,
	.resume = mmio_resume,
	.transfer = mmio_transfer,
	.reset = mmio_reset,
	.stat = mmio_stat,
	.destroy = mmio_destroy,
};

struct virtio_mmio *virtio_mmio_create(struct virtio_device *vdev, struct irq_line irq,
				       const struct virtio_transport_env *env, void *opaque)
{
	struct virtio_mmio *mmio = calloc(1, sizeof(*mmio));
	unsigned int i;

	if (!mmio)
		return NULL;
	for (i = 0; i < VIRTIO_MAX_QUEUES; i++)
		mmio->kicks[i] = -1;
	mmio->dev.ops = &mmio_device_ops;
	mmio->dev.name = vdev->name;
	mmio->transport.ops = &transport_ops;
	mmio->vdev = vdev;
	mmio->irq = irq;
	mmio->env = env;
	mmio->opaque = opaque;
	vdev->transport = &mmio->transport;
	return mmio;
}

struct device *virtio_mmio_device(struct virtio_mmio *mmio)
{
	return &mmio->dev;
}

struct virtio_device *virtio_mmio_vdev(struct virtio_mmio *mmio)
{
	return mmio->vdev;
}
