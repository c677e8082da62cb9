/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The generation id: 16 bytes that tell a guest that it is not the only one that goes on
 * from some moment (Microsoft's "Virtual Machine Generation ID"; Linux
 * Documentation/devicetree/bindings/rng/microsoft,vmgenid.yaml).
 *
 * One lock inside; every function may be called from any thread.
 */
#ifndef LKVM_HW_GENERATION_H
#define LKVM_HW_GENERATION_H

#include "lkvm/bus.h"
#include "lkvm/device.h"
#include "lkvm/irq.h"

#define GENERATION_WINDOW UINT64_C(0x1000)
#define GENERATION_ID 16

struct generation;

/**
 * generation_random_fn - fill @buf with @len bytes that nobody can guess; false: can't
 */
typedef bool (*generation_random_fn)(void *buf, size_t len);

/**
 * generation_create() - one with an id of its own
 * @name: stays the caller's and must live as long as it
 *
 * Return: it, or NULL where there is no memory or no random bytes.
 */
struct generation *generation_create(const char *name, struct irq_line irq,
				     generation_random_fn random);

/**
 * generation_device() - the device inside, for the machine's table
 */
struct device *generation_device(struct generation *g);

/**
 * generation_ops - for a struct mmio_region of GENERATION_WINDOW bytes
 */
extern const struct mmio_ops generation_ops;

/**
 * generation_renew() - the guest goes on from a saved state: another id, and an interrupt
 *
 * Return: false: there are no random bytes, and nothing has changed.
 */
bool generation_renew(struct generation *g);

/**
 * generation_text() - the id in hexadecimal, its bytes in their order
 * @text: 2 * GENERATION_ID + 1 bytes
 */
const char *generation_text(struct generation *g, char *text);

#endif /* LKVM_HW_GENERATION_H */
