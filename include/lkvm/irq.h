/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Interrupt lines: what a device holds to raise its interrupt, whatever chip
 * stands behind it (the PLIC model, the kernel's APLIC, a recorder in a test).
 *
 * A device sets a level and forgets it; the chip remembers the last level and
 * decides what it means (level or edge). Chips take their own lock: a line may
 * be set from any thread, with the device's lock held.
 * Lock order: device -> chip.
 */
#ifndef LKVM_IRQ_H
#define LKVM_IRQ_H

#include "lkvm/util.h"

struct irq_chip;

/**
 * struct irq_chip_ops - what an interrupt chip offers to lines
 * @set_level: the wire of @source is now @level; calling it twice with the same
 *             level is allowed and means nothing new
 */
struct irq_chip_ops {
	void (*set_level)(struct irq_chip *chip, uint32_t source, bool level);
};

struct irq_chip {
	const struct irq_chip_ops *ops;
};

/**
 * struct irq_line - one wire from a device to a chip
 * @chip: NULL means not connected: setting it does nothing
 * @source: the chip's number for the wire
 */
struct irq_line {
	struct irq_chip *chip;
	uint32_t source;
};

static inline void irq_line_set(const struct irq_line *line, bool level)
{
	if (line->chip)
		line->chip->ops->set_level(line->chip, line->source, level);
}

#endif /* LKVM_IRQ_H */
