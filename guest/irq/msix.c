// SPDX-License-Identifier: GPL-2.0-only
/*
 * irq: MSI-X of a PCI device (PCI Local Bus 3.0, section 6.8.2; virtio 1.2, section
 * 4.1.4.3): a disk's queue has a vector, whose message goes to each hart in turn.
 */
#include "irq.h"

#define MSIX_CONTROL 2
#define MSIX_ENABLE 0x8000
#define MSIX_MASK_ALL 0x4000
#define ENTRY_ADDRESS 0
#define ENTRY_DATA 8
#define ENTRY_CONTROL 12
#define ID 210

static uint64_t control(const struct vdev *v)
{
	return v->function + v->msix_cap + MSIX_CONTROL;
}

/* An entry is changed while it is masked only. */
static void aim(struct bench *b, const struct vdev *v, uint64_t hart)
{
	uint64_t page = b->guest->imsic + hart * PAGE_SIZE;

	wr32(v->msix + ENTRY_CONTROL, 1);
	wr32(v->msix + ENTRY_ADDRESS, (uint32_t)page);
	wr32(v->msix + ENTRY_ADDRESS + 4, (uint32_t)(page >> 32));
	wr32(v->msix + ENTRY_DATA, ID);
	wr32(v->msix + ENTRY_CONTROL, 0);
}

static void ask(struct vdev *v)
{
	v_offer(&v->ring[0], 0);
	v_notify(v, 0);
}

static bool to_each(struct bench *b, struct vdev *v)
{
	uint64_t h;

	for (h = 0; h < b->nr; h++) {
		forget(b);
		aim(b, v, h);
		ask(v);
		came(b, &b->hart[h].count[ID], 1);
		settle(b);
		if (!only(b, ID, h, 1))
			return false;
	}
	return true;
}

/* Masked by its own bit or by that of all: pending, and sent when unmasked. */
static bool masked(struct bench *b, struct vdev *v, bool all)
{
	uint64_t at = all ? control(v) : v->msix + ENTRY_CONTROL, h = b->nr - 1;

	forget(b);
	aim(b, v, h);
	if (all)
		wr16(at, MSIX_ENABLE | MSIX_MASK_ALL);
	else
		wr32(at, 1);
	ask(v);
	settle(b);
	if (!(rd32(v->pba) & 1) || b->hart[h].count[ID])
		return differs("masked: pending bits", 0, rd32(v->pba), 1);
	if (all)
		wr16(at, MSIX_ENABLE);
	else
		wr32(at, 0);
	came(b, &b->hart[h].count[ID], 1);
	settle(b);
	return only(b, ID, h, 1) && !(rd32(v->pba) & 1);
}

/* While the vector is aimed at one hart after the other. */
static bool moved(struct bench *b, struct vdev *v)
{
	uint32_t want[MAX_HARTS] = {0}, i;
	uint64_t h = b->nr - 1;

	forget(b);
	aim(b, v, h);
	for (i = 1; i <= b->flood; i++) {
		ask(v);
		/* The request ends before the notification's store does, so it went to @h. */
		if (!came(b, &b->hart[h].count[ID], ++want[h])) {
			differs("lost with request", i, h, 0);
			return differs("messages", h, b->hart[h].count[ID], want[h]);
		}
		h = i % b->nr;
		aim(b, v, h);
	}
	return true;
}

void msix_checks(struct bench *b)
{
	struct vdev *v = b->wire[1].v;

	bool there = v->vectors;

	if (there) {
		wr16(control(v), MSIX_ENABLE);
		there = ready_disk(b, v, true);
	}
	check(b, there, "MSI-X: a queue takes a vector");
	if (!there)
		return;
	check(b, to_each(b, v), "MSI-X: to each hart in turn");
	check(b, masked(b, v, false), "MSI-X: a masked vector is pending");
	check(b, masked(b, v, true), "MSI-X: a masked function is pending");
	check(b, moved(b, v), "MSI-X: aimed at one hart after the other");
	wr16(control(v), 0);
}
