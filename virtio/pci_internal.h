/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the virtio-pci transport share. Private to them.
 */
#ifndef VIRTIO_PCI_INTERNAL_H
#define VIRTIO_PCI_INTERNAL_H

#include "lkvm/hw/pci_msix.h"
#include "lkvm/virtio/pci.h"

/* Bytes of common configuration. */
#define VIRTIO_PCI_COMMON_SIZE 0x3c

#define VIRTIO_PCI_NO_VECTOR 0xffff

/**
 * struct virtio_pci_regs - what is saved
 */
struct virtio_pci_regs {
	uint32_t device_features_sel, driver_features_sel;
	uint16_t queue_sel, config_vector;
	uint8_t isr;
	uint16_t queue_vector[VIRTIO_MAX_QUEUES];
};

/**
 * struct virtio_pci_bells - the eventfds of who serves a queue, -1: none
 * @rung: @kick is where the guest's notifications go, at @at
 */
struct virtio_pci_bells {
	int kick, call;
	bool rung;
	gpa_t at;
};

/**
 * struct virtio_pci - the transport
 * @access: where the configuration access capability is
 * @master: the function may access memory (configuration lock)
 * @msix_on: as @msix last said; @level: what the pin was last set to
 * @here, @at: where the BAR answers
 */
struct virtio_pci {
	struct device dev;
	struct virtio_transport transport;
	struct virtio_device *vdev;
	struct pci_function fn;
	struct pci_msix msix;
	unsigned int access;
	bool master, msix_on, level, here;
	gpa_t at;
	struct virtio_pci_bells bells[VIRTIO_MAX_QUEUES];
	const struct virtio_transport_env *env;
	void *opaque;
	struct ratelimit stray;
	struct virtio_pci_regs r;
};

/**
 * virtio_pci_stray() - log an access that no register is for (inside)
 */
void virtio_pci_stray(struct virtio_pci *pci, const char *what, uint64_t offset, unsigned int size);

/**
 * virtio_pci_vector() - @value where there is such a vector, else NO_VECTOR
 */
uint16_t virtio_pci_vector(const struct virtio_pci *pci, uint64_t value);

/**
 * virtio_pci_bind() - queue @index's interrupts go to the vector that the driver gave it
 * (inside)
 */
void virtio_pci_bind(struct virtio_pci *pci, unsigned int index);

/**
 * virtio_pci_common_read() / virtio_pci_common_write() - @size bytes at @offset of the
 * common configuration (inside)
 */
uint64_t virtio_pci_common_read(struct virtio_pci *pci, uint64_t offset, unsigned int size);
void virtio_pci_common_write(struct virtio_pci *pci, uint64_t offset, uint64_t value,
			     unsigned int size);

#endif /* VIRTIO_PCI_INTERNAL_H */
