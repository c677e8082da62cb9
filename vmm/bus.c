// SPDX-License-Identifier: GPL-2.0-only
/*
 * The MMIO bus: a sorted table of windows, looked up by binary search
 * (include/lkvm/bus.h).
 *
 * Thread and lock: dispatch holds the read lock for the whole access, device
 * code included, so bus_remove() returns only when nobody is inside a window any
 * more. Lock order: bus -> device -> chip. Nothing here is saved: the machine
 * rebuilds the table.
 */
#include "lkvm/bus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int bus_init(struct bus *bus)
{
	memset(bus, 0, sizeof(*bus));
	return -pthread_rwlock_init(&bus->lock, NULL);
}

void bus_destroy(struct bus *bus)
{
	free(bus->regions);
	bus->regions = NULL;
	bus->nr = bus->max = 0;
	pthread_rwlock_destroy(&bus->lock);
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

static const struct mmio_region *find(const struct bus *bus, gpa_t gpa, unsigned int size)
{
	size_t i = upper_bound(bus, gpa);
	const struct mmio_region *region;
	uint64_t offset;

	if (!i)
		return NULL;
	region = &bus->regions[i - 1];
	offset = gpa - region->base;
	if (offset >= region->size || size > region->size - offset)
		return NULL;
	return region;
}

int bus_add(struct bus *bus, const struct mmio_region *region)
{
	int ret = -EEXIST;
	size_t i;

	if (!region->size || region->base + region->size - 1 < region->base)
		return -EINVAL;
	pthread_rwlock_wrlock(&bus->lock);
	i = upper_bound(bus, region->base);
	if (i && region->base - bus->regions[i - 1].base < bus->regions[i - 1].size)
		goto out;
	if (i < bus->nr && bus->regions[i].base - region->base < region->size)
		goto out;
	if (bus->nr == bus->max) {
		size_t max = bus->max ? 2 * bus->max : 16;
		struct mmio_region *grown = realloc(bus->regions, max * sizeof(*grown));

		ret = -ENOMEM;
		if (!grown)
			goto out;
		bus->regions = grown;
		bus->max = max;
	}
	memmove(&bus->regions[i + 1], &bus->regions[i], (bus->nr - i) * sizeof(*region));
	bus->regions[i] = *region;
	bus->nr++;
	ret = 0;
out:
	pthread_rwlock_unlock(&bus->lock);
	return ret;
}

int bus_remove(struct bus *bus, gpa_t base)
{
	int ret = -ENOENT;
	size_t i;

	pthread_rwlock_wrlock(&bus->lock);
	i = upper_bound(bus, base);
	if (i && bus->regions[i - 1].base == base) {
		memmove(&bus->regions[i - 1], &bus->regions[i],
			(bus->nr - i) * sizeof(*bus->regions));
		bus->nr--;
		ret = 0;
	}
	pthread_rwlock_unlock(&bus->lock);
	return ret;
}

static uint64_t size_mask(unsigned int size)
{
	return size >= 8 ? UINT64_MAX : (UINT64_C(1) << (8 * size)) - 1;
}

bool bus_read(struct bus *bus, gpa_t gpa, unsigned int size, uint64_t *value)
{
	const struct mmio_region *region;

	*value = 0;
	pthread_rwlock_rdlock(&bus->lock);
	region = find(bus, gpa, size);
	if (region)
		*value = region->ops->read(region->dev, gpa - region->base, size) & size_mask(size);
	pthread_rwlock_unlock(&bus->lock);
	return region;
}

bool bus_write(struct bus *bus, gpa_t gpa, unsigned int size, uint64_t value)
{
	const struct mmio_region *region;

	pthread_rwlock_rdlock(&bus->lock);
	region = find(bus, gpa, size);
	if (region)
		region->ops->write(region->dev, gpa - region->base, value & size_mask(size), size);
	pthread_rwlock_unlock(&bus->lock);
	return region;
}
