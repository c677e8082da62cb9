// SPDX-License-Identifier: GPL-2.0-only
/*
 * The common configuration of virtio-pci: virtio 1.2 and 1.3, section 4.1.4.3.
 *
 * An access has a field's own width; a 64-bit field is also taken by halves. Anything
 * else reads as 0 and is dropped. A selected queue that does not exist has size 0, is
 * not enabled, has no vector, and takes nothing. Notification data and administration
 * queues are not offered.
 *
 * Vectors may be changed at any time: each is checked when it is written, and one that
 * is not there reads back as NO_VECTOR.
 *
 * Thread and lock, and what is saved: see virtio/pci.c.
 */
#include "pci_internal.h"

#define COMMON_DEVICE_FEATURE_SELECT 0x00
#define COMMON_DEVICE_FEATURE 0x04
#define COMMON_DRIVER_FEATURE_SELECT 0x08
#define COMMON_DRIVER_FEATURE 0x0c
#define COMMON_CONFIG_VECTOR 0x10
#define COMMON_NUM_QUEUES 0x12
#define COMMON_STATUS 0x14
#define COMMON_GENERATION 0x15
#define COMMON_QUEUE_SELECT 0x16
#define COMMON_QUEUE_SIZE 0x18
#define COMMON_QUEUE_VECTOR 0x1a
#define COMMON_QUEUE_ENABLE 0x1c
#define COMMON_QUEUE_NOTIFY_OFF 0x1e
#define COMMON_QUEUE_DESC 0x20
#define COMMON_QUEUE_DRIVER 0x28
#define COMMON_QUEUE_DEVICE 0x30
#define COMMON_QUEUE_NOTIFY_DATA 0x38
#define COMMON_QUEUE_RESET 0x3a

/* Is that a field, or half of a 64-bit one? */
static bool is_field(uint64_t offset, unsigned int size)
{
	unsigned int width = 2;

	if (offset < COMMON_CONFIG_VECTOR)
		width = 4;
	else if (offset == COMMON_STATUS || offset == COMMON_GENERATION)
		width = 1;
	else if (offset >= COMMON_QUEUE_DESC && offset < COMMON_QUEUE_NOTIFY_DATA)
		width = size == 8 ? 8 : 4;
	return size == width && !(offset % width) && offset < VIRTIO_PCI_COMMON_SIZE;
}

static uint64_t read_layout(const struct virtio_pci *pci, uint64_t field)
{
	const struct virtq_layout *layout = virtio_queue_layout(pci->vdev, pci->r.queue_sel);

	if (!layout)
		return 0;
	switch (field) {
	case COMMON_QUEUE_SIZE:
		/* A split ring of another size can't be: the queue will not be enabled. */
		if (!virtio_has(pci->vdev, VIRTIO_F_RING_PACKED) && !is_power_of_two(layout->num))
			return 0;
		return layout->num;
	case COMMON_QUEUE_DESC:
		return layout->desc;
	case COMMON_QUEUE_DRIVER:
		return layout->avail;
	default:
		return layout->used;
	}
}

uint64_t virtio_pci_common_read(struct virtio_pci *pci, uint64_t offset, unsigned int size)
{
	struct virtio_device *vdev = pci->vdev;
	bool exists = virtio_queue_max(vdev, pci->r.queue_sel);

	if (!is_field(offset, size)) {
		virtio_pci_stray(pci, "read", offset, size);
		return 0;
	}
	switch (offset) {
	case COMMON_DEVICE_FEATURE_SELECT:
		return pci->r.device_features_sel;
	case COMMON_DEVICE_FEATURE:
		return virtio_features(vdev, pci->r.device_features_sel);
	case COMMON_DRIVER_FEATURE_SELECT:
		return pci->r.driver_features_sel;
	case COMMON_DRIVER_FEATURE:
		return virtio_driver_features(vdev, pci->r.driver_features_sel);
	case COMMON_CONFIG_VECTOR:
		return pci->r.config_vector;
	case COMMON_NUM_QUEUES:
		return vdev->nr_queues;
	case COMMON_STATUS:
		return vdev->status;
	case COMMON_GENERATION:
		return (uint8_t)virtio_generation(vdev);
	case COMMON_QUEUE_SELECT:
		return pci->r.queue_sel;
	case COMMON_QUEUE_SIZE:
		return read_layout(pci, offset);
	case COMMON_QUEUE_VECTOR:
		return exists ? pci->r.queue_vector[pci->r.queue_sel] : VIRTIO_PCI_NO_VECTOR;
	case COMMON_QUEUE_ENABLE:
		return virtio_queue_ready(vdev, pci->r.queue_sel);
	case COMMON_QUEUE_NOTIFY_OFF:
		return exists ? pci->r.queue_sel : 0;
	case COMMON_QUEUE_NOTIFY_DATA:
	case COMMON_QUEUE_RESET:
		return 0;
	default:
		return read_layout(pci, align_down(offset, 8)) >> (offset % 8 ? 32 : 0);
	}
}

/* Both halves of an address of the selected queue, or the one that was written. */
static void write_address(struct virtio_pci *pci, uint64_t offset, uint64_t value,
			  unsigned int size)
{
	struct virtq_layout *layout = virtio_queue_setup(pci->vdev, pci->r.queue_sel);
	gpa_t *address;

	if (!layout)
		return;
	address = offset < COMMON_QUEUE_DRIVER	 ? &layout->desc
		  : offset < COMMON_QUEUE_DEVICE ? &layout->avail
						 : &layout->used;
	if (size == 8)
		*address = value;
	else
		virtio_put_half(address, (uint32_t)value, offset % 8);
}

uint16_t virtio_pci_vector(const struct virtio_pci *pci, uint64_t value)
{
	return value < pci->msix.nr ? (uint16_t)value : VIRTIO_PCI_NO_VECTOR;
}

/* A field of the selected queue. */
static void write_queue(struct virtio_pci *pci, uint64_t offset, uint64_t value)
{
	struct virtio_device *vdev = pci->vdev;
	uint16_t index = pci->r.queue_sel;
	struct virtq_layout *layout;

	if (!virtio_queue_max(vdev, index))
		return;
	switch (offset) {
	case COMMON_QUEUE_SIZE:
		layout = virtio_queue_setup(vdev, index);
		if (layout)
			layout->num = (uint32_t)value;
		break;
	case COMMON_QUEUE_VECTOR:
		pci->r.queue_vector[index] = virtio_pci_vector(pci, value);
		virtio_pci_bind(pci, index);
		break;
	case COMMON_QUEUE_ENABLE:
		/* The driver can't stop a queue by it (4.1.4.3.2). */
		if (value == 1)
			virtio_queue_enable(vdev, index, true);
		break;
	default: /* COMMON_QUEUE_RESET */
		if (value != 1 || !virtio_has(vdev, VIRTIO_F_RING_RESET))
			break;
		virtio_queue_reset(vdev, index);
		pci->r.queue_vector[index] = VIRTIO_PCI_NO_VECTOR;
		virtio_pci_bind(pci, index);
		break;
	}
}

void virtio_pci_common_write(struct virtio_pci *pci, uint64_t offset, uint64_t value,
			     unsigned int size)
{
	struct virtio_device *vdev = pci->vdev;

	if (!is_field(offset, size)) {
		virtio_pci_stray(pci, "write", offset, size);
		return;
	}
	switch (offset) {
	case COMMON_DEVICE_FEATURE_SELECT:
		pci->r.device_features_sel = (uint32_t)value;
		break;
	case COMMON_DRIVER_FEATURE_SELECT:
		pci->r.driver_features_sel = (uint32_t)value;
		break;
	case COMMON_DRIVER_FEATURE:
		virtio_set_features(vdev, pci->r.driver_features_sel, (uint32_t)value);
		break;
	case COMMON_CONFIG_VECTOR:
		pci->r.config_vector = virtio_pci_vector(pci, value);
		break;
	case COMMON_STATUS:
		virtio_set_status(vdev, (uint32_t)value);
		break;
	case COMMON_QUEUE_SELECT:
		pci->r.queue_sel = (uint16_t)value;
		break;
	case COMMON_QUEUE_SIZE:
	case COMMON_QUEUE_VECTOR:
	case COMMON_QUEUE_ENABLE:
	case COMMON_QUEUE_RESET:
		write_queue(pci, offset, value);
		break;
	case COMMON_DEVICE_FEATURE:
	case COMMON_NUM_QUEUES:
	case COMMON_GENERATION:
	case COMMON_QUEUE_NOTIFY_OFF:
	case COMMON_QUEUE_NOTIFY_DATA:
		virtio_pci_stray(pci, "write", offset, size);
		break;
	default:
		write_address(pci, offset, value, size);
		break;
	}
}
