/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The virtio-pci transport, modern only: one PCI function for one virtio device, with
 * MSI-X and an interrupt pin. A pure model: no system call.
 */
#ifndef LKVM_VIRTIO_PCI_H
#define LKVM_VIRTIO_PCI_H

#include "lkvm/hw/pci.h"
#include "lkvm/msi.h"
#include "lkvm/virtio/device.h"

struct virtio_pci;

/**
 * virtio_pci_create() - a function on @host's bus for @vdev, which it owns from then on
 * @sink: takes MSI-X messages; NULL: nothing does, and the function has no MSI-X
 * @env: stays the caller's and must live as long as the transport
 *
 * Return: NULL where there is no memory or no place on the bus; @vdev then stays the
 * caller's.
 */
struct virtio_pci *virtio_pci_create(struct virtio_device *vdev, struct pci_host *host,
				     struct msi_sink *sink, const struct virtio_transport_env *env,
				     void *opaque);

/**
 * virtio_pci_device() - the device for the machine's table, the virtio device included
 *
 * Its kind is "virtio-pci"; the state it transfers names the virtio device's ID.
 */
struct device *virtio_pci_device(struct virtio_pci *pci);

/**
 * virtio_pci_function() - the PCI function
 */
struct pci_function *virtio_pci_function(struct virtio_pci *pci);

/**
 * virtio_pci_vectors() - how many MSI-X vectors it has
 */
unsigned int virtio_pci_vectors(const struct virtio_pci *pci);

/**
 * virtio_pci_vdev() - the virtio device behind it
 */
struct virtio_device *virtio_pci_vdev(struct virtio_pci *pci);

#endif /* LKVM_VIRTIO_PCI_H */
