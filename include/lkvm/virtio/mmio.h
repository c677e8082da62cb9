/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The virtio-mmio transport, version 2: one window of registers and one interrupt
 * line for one virtio device. A pure model: no system call.
 */
#ifndef LKVM_VIRTIO_MMIO_H
#define LKVM_VIRTIO_MMIO_H

#include "lkvm/bus.h"
#include "lkvm/device.h"
#include "lkvm/irq.h"
#include "lkvm/virtio/device.h"

#define VIRTIO_MMIO_WINDOW 0x200

/* The older name of what all transports have. */
#define virtio_mmio_env virtio_transport_env

struct virtio_mmio;

/**
 * virtio_mmio_create() - a window onto @vdev, which it owns from then on
 * @irq: level triggered
 * @env: stays the caller's and must live as long as the transport
 *
 * Return: NULL where there is no memory; @vdev then stays the caller's.
 */
struct virtio_mmio *virtio_mmio_create(struct virtio_device *vdev, struct irq_line irq,
				       const struct virtio_transport_env *env, void *opaque);

/**
 * virtio_mmio_device() - the device for the machine's table, the virtio device included
 *
 * Its kind is "virtio-mmio"; the state it transfers names the virtio device's ID.
 */
struct device *virtio_mmio_device(struct virtio_mmio *mmio);

/**
 * virtio_mmio_ops - for a struct mmio_region of VIRTIO_MMIO_WINDOW bytes whose dev is
 * the transport
 */
extern const struct mmio_ops virtio_mmio_ops;

/**
 * virtio_mmio_vdev() - the virtio device behind it
 */
struct virtio_device *virtio_mmio_vdev(struct virtio_mmio *mmio);

#endif /* LKVM_VIRTIO_MMIO_H */
