// SPDX-License-Identifier: GPL-2.0-only
/*
 * The MMIO bus: a sorted table of windows, looked up by binary search
 * (include/lkvm/bus.h).
 *
 * Thread and lock: none; the table stands still while vCPUs dispatch. Nothing here is
 * saved: the machine rebuilds the table.
 */
#include "lkvm/bus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void bus_init(struct bus *bus)
{
	memset(bus, 0, sizeof(*bus));
}

void bus_destroy(struct bus *bus)
{
	free(bus->regions);
	bus->regions = NULL;
	bus->nr = bus->max = 0;
}

/* Index of the first region that starts above @gpa. */
static size_t upper_bound(const struct bus *bus, gpa_t gpa)
{
	size_t lo = 0, hi = bus->nr;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (bus->regions[mid].base <= gpa)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool holds(const struct mmio_region *region, gpa_t gpa, unsigned int size)
{
	uint64_t offset = gpa - region->base;

	return offset < region->size && size <= region->size - offset;
}

const struct mmio_region *bus_window(const struct bus *bus, const struct mmio_region *last,
				     gpa_t gpa, unsigned int size)
{
	size_t i;

	if (last && holds(last, gpa, size))
		return last;
	i = upper_bound(bus, gpa);
	return i && holds(&bus->regions[i - 1], gpa, size) ? &bus->regions[i - 1] : NULL;
}

int bus_add(struct bus *bus, const struct mmio_region *region)
{
	size_t i;

	if (!region->size || region->base + region->size - 1 < region->base)
		return -EINVAL;
	i = upper_bound(bus, region->base);
	if (i && region->base - bus->regions[i - 1].base < bus->regions[i - 1].size)
		return -EEXIST;
	if (i < bus->nr && bus->regions[i].base - region->base < region->size)
		return -EEXIST;
	if (bus->nr == bus->max) {
		size_t max = bus->max ? 2 * bus->max : 16;
		struct mmio_region *grown = realloc(bus->regions, max * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		bus->regions = grown;
		bus->max = max;
	}
	memmove(&bus->regions[i + 1], &bus->regions[i], (bus->nr - i) * sizeof(*region));
	bus->regions[i] = *region;
	bus->nr++;
	return 0;
}

int bus_remove(struct bus *bus, gpa_t base)
{
	size_t i = upper_bound(bus, base);

	if (!i || bus->regions[i - 1].base != base)
		return -ENOENT;
	memmove(&bus->regions[i - 1], &bus->regions[i], (bus->nr - i) * sizeof(*bus->regions));
	bus->nr--;
	return 0;
}
