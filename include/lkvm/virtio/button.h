/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A power button: a virtio input device with the one key by which a machine's user asks
 * its system to power off.
 */
#ifndef LKVM_VIRTIO_BUTTON_H
#define LKVM_VIRTIO_BUTTON_H

#include "lkvm/virtio/device.h"

struct virtio_kind;

/**
 * virtio_button_create() - the device, or NULL where there is no memory
 */
struct virtio_device *virtio_button_create(const char *name, struct guest_memory *mem,
					   struct log *log);

/* "--power-button". Its command is "press". */
extern const struct virtio_kind virtio_button_kind;

#endif /* LKVM_VIRTIO_BUTTON_H */
