// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest's side of virtio, for tests; see virtio_driver.h. Ring fields are stored
 * and loaded whole and atomically, as a hart does it, so that tests with two threads
 * are clean under ThreadSanitizer.
 */
#include "virtio_driver.h"
#include "unit.h"

#include "lkvm/virtio/mmio.h"

#include <endian.h>
#include <string.h>

void drv_memory(struct guest_memory *mem)
{
	memory_init(mem);
	ck_assert_ptr_nonnull(memory_add(mem, DRV_RAM, DRV_BANK, 4096, NULL));
	ck_assert_ptr_nonnull(memory_add(mem, DRV_RAM + DRV_BANK, DRV_BANK, 4096, NULL));
}

void *drv_ptr(struct guest_memory *mem, gpa_t at, uint64_t len)
{
	const struct memory_region *region = memory_find(mem, at, len);

	/* An assertion that holds costs a system call, and this is called all the time. */
	if (!region)
		ck_abort_msg("the test itself left RAM at 0x%llx", (unsigned long long)at);
	/* Not memory_for_write(): that would count as the VMM's. */
	return (char *)region->hva + (at - region->gpa);
}

gpa_t drv_ring_init(struct drv_ring *ring, struct guest_memory *mem, uint32_t num, gpa_t at)
{
	memset(ring, 0, sizeof(*ring));
	ring->mem = mem;
	ring->num = num;
	ring->desc = align_up(at, 16);
	ring->avail = ring->desc + 16 * (uint64_t)num;
	ring->used = align_up(ring->avail + 6 + 2 * (uint64_t)num, 4);
	at = ring->used + 6 + 8 * (uint64_t)num;
	memset(drv_ptr(mem, ring->desc, at - ring->desc), 0, at - ring->desc);
	return align_up(at, 4096);
}

static void put16(struct guest_memory *mem, gpa_t at, uint16_t value, bool release)
{
	uint16_t *p = drv_ptr(mem, at, 2);

	if (release)
		__atomic_store_n(p, htole16(value), __ATOMIC_RELEASE);
	else
		__atomic_store_n(p, htole16(value), __ATOMIC_RELAXED);
}

static uint16_t get16(struct guest_memory *mem, gpa_t at)
{
	const uint16_t *p = drv_ptr(mem, at, 2);

	return le16toh(__atomic_load_n(p, __ATOMIC_ACQUIRE));
}

void drv_desc_at(struct guest_memory *mem, gpa_t table, unsigned int index, gpa_t addr,
		 uint32_t len, uint16_t flags, uint16_t next)
{
	void *p = drv_ptr(mem, table + 16 * (uint64_t)index, 16);
	uint64_t half[2] = {htole64(addr),
			    htole64(len | (uint64_t)flags << 32 | (uint64_t)next << 48)};

	if ((uintptr_t)p % 8) {
		memcpy(p, half, sizeof(half));
		return;
	}
	__atomic_store_n((uint64_t *)p, half[0], __ATOMIC_RELAXED);
	__atomic_store_n((uint64_t *)p + 1, half[1], __ATOMIC_RELAXED);
}

void drv_desc(struct drv_ring *ring, unsigned int index, gpa_t addr, uint32_t len, uint16_t flags,
	      uint16_t next)
{
	drv_desc_at(ring->mem, ring->desc, index, addr, len, flags, next);
}

void drv_set_avail_idx(struct drv_ring *ring, uint16_t idx)
{
	ring->avail_idx = idx;
	put16(ring->mem, ring->avail + 2, idx, true);
}

void drv_set_avail_flags(struct drv_ring *ring, uint16_t flags)
{
	put16(ring->mem, ring->avail, flags, false);
}

void drv_set_used_event(struct drv_ring *ring, uint16_t event)
{
	put16(ring->mem, ring->avail + 4 + 2 * (uint64_t)ring->num, event, false);
}

uint16_t drv_avail_idx(const struct drv_ring *ring)
{
	return get16(ring->mem, ring->avail + 2);
}

uint16_t drv_used_idx(const struct drv_ring *ring)
{
	return get16(ring->mem, ring->used + 2);
}

uint16_t drv_used_flags(const struct drv_ring *ring)
{
	return get16(ring->mem, ring->used);
}

uint16_t drv_avail_event(const struct drv_ring *ring)
{
	return get16(ring->mem, ring->used + 4 + 8 * (uint64_t)ring->num);
}

void drv_offer(struct drv_ring *ring, uint16_t head)
{
	uint16_t at = ring->avail_idx % ring->num;

	put16(ring->mem, ring->avail + 4 + 2 * (uint64_t)at, head, false);
	drv_set_avail_idx(ring, (uint16_t)(ring->avail_idx + 1));
}

uint16_t drv_chain(struct drv_ring *ring, const struct drv_seg *segs, unsigned int nr)
{
	uint16_t head = ring->next % ring->num;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		uint16_t at = ring->next++ % ring->num;
		uint16_t flags = segs[i].flags | (i + 1 < nr ? DRV_NEXT : 0);

		drv_desc(ring, at, segs[i].addr, segs[i].len, flags,
			 (uint16_t)(ring->next % ring->num));
	}
	return head;
}

uint16_t drv_add(struct drv_ring *ring, const struct drv_seg *segs, unsigned int nr)
{
	uint16_t head = drv_chain(ring, segs, nr);

	drv_offer(ring, head);
	return head;
}

bool drv_get_used(struct drv_ring *ring, uint32_t *id, uint32_t *len)
{
	const uint32_t *elem;

	if (drv_used_idx(ring) == ring->last_used)
		return false;
	elem = drv_ptr(ring->mem, ring->used + 4 + 8 * (uint64_t)(ring->last_used % ring->num), 8);
	*id = le32toh(__atomic_load_n(&elem[0], __ATOMIC_RELAXED));
	*len = le32toh(__atomic_load_n(&elem[1], __ATOMIC_RELAXED));
	ring->last_used++;
	return true;
}

/* --- virtio-mmio ----------------------------------------------------------- */

static void on_line(struct irq_chip *chip, uint32_t source, bool level)
{
	struct drv *drv = container_of(chip, struct drv, chip);

	ck_assert_uint_eq(source, 7);
	drv->line_repeats += drv->level == level;
	drv->edges += level && !drv->level;
	drv->level = level;
}

static const struct irq_chip_ops chip_ops = {
	.set_level = on_line,
};

struct irq_line drv_line(struct drv *drv)
{
	drv->chip.ops = &chip_ops;
	return (struct irq_line){&drv->chip, 7};
}

uint32_t drv_rd(struct drv *drv, uint64_t reg)
{
	return (uint32_t)virtio_mmio_ops.read(drv->dev, reg, 4);
}

void drv_wr(struct drv *drv, uint64_t reg, uint32_t value)
{
	virtio_mmio_ops.write(drv->dev, reg, value, 4);
}

uint64_t drv_features(struct drv *drv)
{
	uint64_t features;

	drv_wr(drv, R_FEATURES_SEL, 1);
	features = (uint64_t)drv_rd(drv, R_FEATURES) << 32;
	drv_wr(drv, R_FEATURES_SEL, 0);
	return features | drv_rd(drv, R_FEATURES);
}

void drv_accept(struct drv *drv, uint64_t features)
{
	drv_wr(drv, R_DRV_FEATURES_SEL, 0);
	drv_wr(drv, R_DRV_FEATURES, (uint32_t)features);
	drv_wr(drv, R_DRV_FEATURES_SEL, 1);
	drv_wr(drv, R_DRV_FEATURES, (uint32_t)(features >> 32));
}

bool drv_start(struct drv *drv, uint64_t features)
{
	drv_wr(drv, R_STATUS, 0);
	drv_wr(drv, R_STATUS, ST_ACK);
	drv_wr(drv, R_STATUS, ST_ACK | ST_DRIVER);
	drv_accept(drv, features | FEAT_VERSION_1);
	drv_wr(drv, R_STATUS, ST_ACK | ST_DRIVER | ST_FEATURES_OK);
	return drv_rd(drv, R_STATUS) & ST_FEATURES_OK;
}

void drv_set_queue(struct drv *drv, unsigned int index, const struct drv_ring *ring)
{
	drv_wr(drv, R_QUEUE_SEL, index);
	drv_wr(drv, R_QUEUE_NUM, ring->num);
	drv_wr(drv, R_DESC, (uint32_t)ring->desc);
	drv_wr(drv, R_DESC + 4, (uint32_t)(ring->desc >> 32));
	drv_wr(drv, R_AVAIL, (uint32_t)ring->avail);
	drv_wr(drv, R_AVAIL + 4, (uint32_t)(ring->avail >> 32));
	drv_wr(drv, R_USED, (uint32_t)ring->used);
	drv_wr(drv, R_USED + 4, (uint32_t)(ring->used >> 32));
}

bool drv_queue(struct drv *drv, unsigned int index, const struct drv_ring *ring)
{
	drv_set_queue(drv, index, ring);
	drv_wr(drv, R_QUEUE_READY, 1);
	return drv_rd(drv, R_QUEUE_READY);
}

void drv_go(struct drv *drv)
{
	drv_wr(drv, R_STATUS, ST_ACK | ST_DRIVER | ST_FEATURES_OK | ST_DRIVER_OK);
}

uint32_t drv_ack(struct drv *drv)
{
	uint32_t status = drv_rd(drv, R_INT_STATUS);

	drv_wr(drv, R_INT_ACK, status);
	return status;
}
