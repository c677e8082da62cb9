/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest's loads and stores on a bus, without a guest.
 */
#ifndef LKVM_TESTS_MMIO_H
#define LKVM_TESTS_MMIO_H

#include "lkvm/bus.h"

/**
 * bus_read() / bus_write() - one access: does anybody answer? If not, *@value is 0
 */
static inline bool bus_read(const struct bus *bus, gpa_t gpa, unsigned int size, uint64_t *value)
{
	const struct mmio_region *window = bus_window(bus, NULL, gpa, size);

	*value = window ? mmio_load(window, gpa, size) : 0;
	return window;
}

static inline bool bus_write(const struct bus *bus, gpa_t gpa, unsigned int size, uint64_t value)
{
	const struct mmio_region *window = bus_window(bus, NULL, gpa, size);

	if (window)
		mmio_store(window, gpa, size, value);
	return window;
}

#endif /* LKVM_TESTS_MMIO_H */
