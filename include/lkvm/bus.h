/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The MMIO bus: which device answers which guest physical address.
 *
 * Regions never overlap and are looked up by binary search. vCPU threads dispatch
 * concurrently, without a lock: the table is built before they start and changes only
 * while none of them dispatches (what moves within a window, as PCI's BARs do, is its
 * device's affair). The bus takes no device lock: devices lock themselves.
 */
#ifndef LKVM_BUS_H
#define LKVM_BUS_H

#include "lkvm/util.h"

/**
 * struct mmio_ops - how a device answers loads and stores
 * @read: @size (1, 2, 4 or 8) bytes at @offset from the region's base, as a
 *        number (least significant byte at the lowest address); the access lies
 *        wholly inside the region; bits above @size are ignored
 * @write: likewise; bits of @value above @size are zero
 *
 * Both are called from vCPU threads, several at once. No access may fail:
 * what makes no sense reads as 0 and is dropped.
 */
struct mmio_ops {
	uint64_t (*read)(void *dev, uint64_t offset, unsigned int size);
	void (*write)(void *dev, uint64_t offset, uint64_t value, unsigned int size);
};

/**
 * struct mmio_region - a device's window
 * @name: for messages
 * @base: first GPA
 * @size: in bytes, not 0, base + size does not wrap
 * @ops: the device's answers
 * @dev: passed to @ops
 */
struct mmio_region {
	const char *name;
	gpa_t base;
	uint64_t size;
	const struct mmio_ops *ops;
	void *dev;
};

struct bus {
	struct mmio_region *regions; /* sorted by base */
	size_t nr, max;
};

void bus_init(struct bus *bus);
void bus_destroy(struct bus *bus);

/**
 * bus_add() - claim a window (while no vCPU dispatches)
 *
 * Return: 0; -EEXIST where it overlaps another, -EINVAL for an empty or
 * wrapping one, -ENOMEM.
 */
int bus_add(struct bus *bus, const struct mmio_region *region);

/**
 * bus_remove() - give back the window that starts at @base (while no vCPU dispatches)
 *
 * Return: 0 or -ENOENT.
 */
int bus_remove(struct bus *bus, gpa_t base);

/**
 * bus_window() - which window an access by a guest lies in
 * @last: the one of this vCPU's last access, which is looked at first, or NULL. Good until
 *	the table changes
 * @size: 1, 2, 4 or 8
 *
 * Return: the window, or NULL where nobody answers. An access that straddles the end of
 * a window has none.
 */
const struct mmio_region *bus_window(const struct bus *bus, const struct mmio_region *last,
				     gpa_t gpa, unsigned int size);

/**
 * mmio_load() / mmio_store() - the access itself, of @size bytes at @gpa
 */
static inline uint64_t mmio_mask(unsigned int size)
{
	return UINT64_MAX >> (64 - 8 * size);
}

static inline uint64_t mmio_load(const struct mmio_region *window, gpa_t gpa, unsigned int size)
{
	return window->ops->read(window->dev, gpa - window->base, size) & mmio_mask(size);
}

static inline void mmio_store(const struct mmio_region *window, gpa_t gpa, unsigned int size,
			      uint64_t value)
{
	window->ops->write(window->dev, gpa - window->base, value & mmio_mask(size), size);
}

#endif /* LKVM_BUS_H */
