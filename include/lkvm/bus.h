/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The MMIO bus: which device answers which guest physical address.
 *
 * Regions never overlap and are looked up by binary search. vCPU threads
 * dispatch concurrently under a read lock; adding and removing a region takes
 * the write lock and may happen at any time from any thread that is not inside
 * a dispatch. The bus takes no device lock: devices lock themselves.
 */
#ifndef LKVM_BUS_H
#define LKVM_BUS_H

#include "lkvm/util.h"

#include <pthread.h>

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
	pthread_rwlock_t lock;
	struct mmio_region *regions; /* sorted by base */
	size_t nr, max;
};

int bus_init(struct bus *bus);
void bus_destroy(struct bus *bus);

/**
 * bus_add() - claim a window
 *
 * Return: 0; -EEXIST where it overlaps another, -EINVAL for an empty or
 * wrapping one, -ENOMEM.
 */
int bus_add(struct bus *bus, const struct mmio_region *region);

/**
 * bus_remove() - give back the window that starts at @base
 *
 * When it returns no vCPU is inside the device's ops through this window.
 *
 * Return: 0 or -ENOENT.
 */
int bus_remove(struct bus *bus, gpa_t base);

/**
 * bus_read() / bus_write() - one access by a guest
 * @size: 1, 2, 4 or 8
 *
 * An access that straddles the end of a window counts as unclaimed.
 *
 * Return: true where a device answered; false leaves *@value 0.
 */
bool bus_read(struct bus *bus, gpa_t gpa, unsigned int size, uint64_t *value);
bool bus_write(struct bus *bus, gpa_t gpa, unsigned int size, uint64_t value);

#endif /* LKVM_BUS_H */
