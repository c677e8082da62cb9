// SPDX-License-Identifier: GPL-2.0-only
/*
 * A virtio driver for bare-metal guests (virtio.h): virtio 1.2, sections 2.6 (split
 * rings), 4.1 (PCI) and 4.2.2 (MMIO).
 *
 * PCI: bus 0 is looked through function by function; memory BARs get addresses one
 * after the other in the 32-bit window, aligned to their size; the virtio structures
 * are found by their capabilities. Nothing uses interrupts: the used ring is polled.
 *
 * One hart drives a device; no lock, nothing saved.
 */
#include "virtio.h"

/* virtio-mmio registers. */
#define M_MAGIC 0x000
#define M_VERSION 0x004
#define M_DEVICE_ID 0x008
#define M_FEATURES 0x010
#define M_FEATURES_SEL 0x014
#define M_DRIVER_FEATURES 0x020
#define M_DRIVER_FEATURES_SEL 0x024
#define M_QUEUE_SEL 0x030
#define M_QUEUE_NUM_MAX 0x034
#define M_QUEUE_NUM 0x038
#define M_QUEUE_READY 0x044
#define M_NOTIFY 0x050
#define M_INTERRUPT_STATUS 0x060
#define M_INTERRUPT_ACK 0x064
#define M_STATUS 0x070
#define M_DESC 0x080
#define M_AVAIL 0x090
#define M_USED 0x0a0
#define M_GENERATION 0x0fc
#define M_CONFIG 0x100
#define MAGIC 0x74726976

/* Common configuration structure. */
#define C_FEATURES_SEL 0x00
#define C_FEATURES 0x04
#define C_DRIVER_FEATURES_SEL 0x08
#define C_DRIVER_FEATURES 0x0c
#define C_STATUS 0x14
#define C_GENERATION 0x15
#define C_QUEUE_SEL 0x16
#define C_QUEUE_SIZE 0x18
#define C_QUEUE_ENABLE 0x1c
#define C_NOTIFY_OFF 0x1e
#define C_DESC 0x20
#define C_AVAIL 0x28
#define C_USED 0x30

#define PCI_VENDOR_VIRTIO 0x1af4
#define PCI_COMMAND 0x04
#define PCI_COMMAND_MEMORY 2
#define PCI_COMMAND_MASTER 4
#define PCI_BAR0 0x10
#define PCI_CAPABILITIES 0x34
#define PCI_CAP_MSIX 0x11
#define PCI_CAP_VENDOR 0x09
#define CAP_COMMON 1
#define CAP_NOTIFY 2
#define CAP_ISR 3
#define CAP_DEVICE 4
#define CAP_PCI 5

/* --- finding ------------------------------------------------------------------ */

void *vbus_pages(struct vbus *bus, unsigned int nr)
{
	uint64_t at = bus->next_page, i;

	if (bus->end - at < nr * PAGE_SIZE) {
		print("guest: out of memory\n");
		return NULL;
	}
	bus->next_page += nr * PAGE_SIZE;
	for (i = 0; i < nr * PAGE_SIZE; i += 8)
		wr64(at + i, 0);
	return (void *)at;
}

/* Size and place one BAR; returns the index of the next one. */
static unsigned int place_bar(struct vbus *bus, uint64_t function, unsigned int index,
			      uint64_t *bars)
{
	uint64_t at = function + PCI_BAR0 + 4 * index, size;
	uint32_t type = rd32(at);
	bool wide = (type & 6) == 4;

	bars[index] = 0;
	wr32(at, UINT32_MAX);
	size = rd32(at) & ~UINT32_C(15);
	if (!size || type & 1)
		return index + 1;
	size = (uint32_t)-size;
	bus->next_bar = (bus->next_bar + size - 1) & ~(size - 1);
	wr32(at, (uint32_t)bus->next_bar);
	if (wide)
		wr32(at + 4, 0);
	bars[index] = bus->next_bar;
	bus->next_bar += size;
	return index + (wide ? 2 : 1);
}

static void take_capability(struct vdev *v, uint64_t cap, const uint64_t *bars)
{
	uint64_t at = bars[rd8(cap + 4) % 6] + rd32(cap + 8);

	switch (rd8(cap + 3)) {
	case CAP_COMMON:
		v->common = at;
		break;
	case CAP_NOTIFY:
		v->notify = at;
		v->notify_step = rd32(cap + 16);
		break;
	case CAP_ISR:
		v->isr = at;
		break;
	case CAP_DEVICE:
		v->config = at;
		break;
	case CAP_PCI:
		v->cfg_access = (uint32_t)(cap - v->function);
		break;
	}
}

static void take_function(struct vbus *bus, uint64_t function)
{
	struct vdev *v = &bus->dev[bus->nr];
	uint64_t bars[6], cap;
	unsigned int i;

	if (rd16(function) != PCI_VENDOR_VIRTIO || bus->nr == GUEST_MAX_VIRTIO)
		return;
	*v = (struct vdev){.id = rd16(function + 2) - 0x1040U, .function = function};
	wr16(function + PCI_COMMAND, 0);
	for (i = 0; i < 6;)
		i = place_bar(bus, function, i, bars);
	wr16(function + PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	for (cap = rd8(function + PCI_CAPABILITIES), i = 0; cap && i < 48;
	     cap = rd8(function + cap + 1), i++) {
		if (rd8(function + cap) == PCI_CAP_VENDOR)
			take_capability(v, function + cap, bars);
		if (rd8(function + cap) != PCI_CAP_MSIX)
			continue;
		v->msix_cap = (uint32_t)cap;
		v->vectors = (rd16(function + cap + 2) & 0x7ffU) + 1;
		v->msix = bars[rd32(function + cap + 4) & 7] + (rd32(function + cap + 4) & ~7U);
		v->pba = bars[rd32(function + cap + 8) & 7] + (rd32(function + cap + 8) & ~7U);
	}
	bus->nr++;
}

void vbus_find(struct vbus *bus, const struct guest *guest, bool pci)
{
	uint64_t at;
	size_t i;

	bus->nr = 0;
	bus->next_page = guest->free;
	bus->end = guest->ram[0].base + guest->ram[0].size;
	bus->next_bar = guest->pci_mem.base;
	if (pci) {
		for (at = 0; at < guest->ecam.size && at < MIB; at += PAGE_SIZE)
			take_function(bus, guest->ecam.base + at);
		return;
	}
	for (i = 0; i < guest->nr_virtio; i++) {
		at = guest->virtio[i];
		if (rd32(at + M_MAGIC) == MAGIC && rd32(at + M_VERSION) == 2 &&
		    rd32(at + M_DEVICE_ID))
			bus->dev[bus->nr++] =
				(struct vdev){.id = rd32(at + M_DEVICE_ID), .base = at};
	}
}

struct vdev *vbus_device(struct vbus *bus, uint32_t id, unsigned int nth)
{
	size_t i;

	for (i = 0; i < bus->nr; i++)
		if (bus->dev[i].id == id && !nth--)
			return &bus->dev[i];
	return NULL;
}

/* --- registers ---------------------------------------------------------------- */

uint32_t v_status(struct vdev *v)
{
	return v->base ? rd32(v->base + M_STATUS) : rd8(v->common + C_STATUS);
}

void v_set_status(struct vdev *v, uint32_t status)
{
	if (v->base)
		wr32(v->base + M_STATUS, status);
	else
		wr8(v->common + C_STATUS, (uint8_t)status);
}

uint64_t v_features(struct vdev *v)
{
	uint64_t sel = v->base ? v->base + M_FEATURES_SEL : v->common + C_FEATURES_SEL;
	uint64_t at = v->base ? v->base + M_FEATURES : v->common + C_FEATURES;
	uint64_t low;

	wr32(sel, 0);
	low = rd32(at);
	wr32(sel, 1);
	return low | (uint64_t)rd32(at) << 32;
}

void v_set_features(struct vdev *v, uint64_t features)
{
	uint64_t sel =
		v->base ? v->base + M_DRIVER_FEATURES_SEL : v->common + C_DRIVER_FEATURES_SEL;
	uint64_t at = v->base ? v->base + M_DRIVER_FEATURES : v->common + C_DRIVER_FEATURES;

	wr32(sel, 0);
	wr32(at, (uint32_t)features);
	wr32(sel, 1);
	wr32(at, (uint32_t)(features >> 32));
}

static void select_queue(struct vdev *v, uint32_t queue)
{
	if (v->base)
		wr32(v->base + M_QUEUE_SEL, queue);
	else
		wr16(v->common + C_QUEUE_SEL, (uint16_t)queue);
}

uint32_t v_queue_max(struct vdev *v, uint32_t queue)
{
	select_queue(v, queue);
	return v->base ? rd32(v->base + M_QUEUE_NUM_MAX) : rd16(v->common + C_QUEUE_SIZE);
}

bool v_queue_ready(struct vdev *v, uint32_t queue)
{
	select_queue(v, queue);
	return v->base ? rd32(v->base + M_QUEUE_READY) : rd16(v->common + C_QUEUE_ENABLE);
}

void v_set_ready(struct vdev *v, uint32_t queue, bool on)
{
	select_queue(v, queue);
	if (v->base)
		wr32(v->base + M_QUEUE_READY, on);
	else
		wr16(v->common + C_QUEUE_ENABLE, on);
}

static void set_address(struct vdev *v, uint64_t mmio, uint64_t pci, uint64_t value)
{
	uint64_t at = v->base ? v->base + mmio : v->common + pci;

	wr32(at, (uint32_t)value);
	wr32(at + 4, (uint32_t)(value >> 32));
}

void v_set_layout(struct vdev *v, uint32_t queue, uint32_t num, uint64_t desc, uint64_t avail,
		  uint64_t used)
{
	select_queue(v, queue);
	if (v->base)
		wr32(v->base + M_QUEUE_NUM, num);
	else
		wr16(v->common + C_QUEUE_SIZE, (uint16_t)num);
	set_address(v, M_DESC, C_DESC, desc);
	set_address(v, M_AVAIL, C_AVAIL, avail);
	set_address(v, M_USED, C_USED, used);
}

void v_notify(struct vdev *v, uint32_t queue)
{
	fence();
	if (v->base) {
		wr32(v->base + M_NOTIFY, queue);
		return;
	}
	select_queue(v, queue);
	wr16(v->notify + (uint64_t)rd16(v->common + C_NOTIFY_OFF) * v->notify_step,
	     (uint16_t)queue);
}

uint32_t v_interrupt(struct vdev *v)
{
	uint32_t why;

	if (!v->base)
		return rd8(v->isr);
	why = rd32(v->base + M_INTERRUPT_STATUS);
	wr32(v->base + M_INTERRUPT_ACK, why);
	return why;
}

uint32_t v_generation(struct vdev *v)
{
	return v->base ? rd32(v->base + M_GENERATION) : rd8(v->common + C_GENERATION);
}

uint64_t v_config(struct vdev *v)
{
	return v->base ? v->base + M_CONFIG : v->config;
}

/* --- the way to a running device ------------------------------------------------ */

bool v_reset(struct vdev *v)
{
	unsigned int tries;

	v_set_status(v, 0);
	for (tries = 0; tries < 100000; tries++)
		if (!v_status(v))
			return true;
	return false;
}

bool v_begin(struct vdev *v, uint64_t features)
{
	if (!v_reset(v))
		return false;
	v_set_status(v, V_ACKNOWLEDGE);
	v_set_status(v, V_ACKNOWLEDGE | V_DRIVER);
	v_set_features(v, (features & v_features(v)) | V_F_VERSION_1);
	v_set_status(v, V_ACKNOWLEDGE | V_DRIVER | V_FEATURES_OK);
	return v_status(v) & V_FEATURES_OK;
}

bool v_queue(struct vdev *v, struct vbus *bus, uint32_t queue, uint32_t num)
{
	struct vring *r = &v->ring[queue];
	uint32_t max = v_queue_max(v, queue);

	/* Rings of a device that was reset are used again. */
	if (!r->desc) {
		r->desc = vbus_pages(bus, 1);
		r->avail = vbus_pages(bus, 1);
		r->used = vbus_pages(bus, 1);
	} else {
		uint64_t i;

		for (i = 0; i < PAGE_SIZE; i += 8) {
			wr64((uint64_t)r->desc + i, 0);
			wr64((uint64_t)r->avail + i, 0);
			wr64((uint64_t)r->used + i, 0);
		}
	}
	r->num = num < max ? num : max;
	r->seen = 0;
	v_set_layout(v, queue, r->num, (uint64_t)r->desc, (uint64_t)r->avail, (uint64_t)r->used);
	v_set_ready(v, queue, true);
	return max && v_queue_ready(v, queue);
}

/* --- rings ------------------------------------------------------------------------ */

void v_desc(struct vring *r, unsigned int index, const volatile void *at, uint32_t len,
	    uint16_t flags, uint16_t next)
{
	r->desc[index].addr = (uint64_t)at;
	r->desc[index].len = len;
	r->desc[index].flags = flags;
	r->desc[index].next = next;
}

void v_offer(struct vring *r, uint16_t head)
{
	r->avail->ring[r->avail->idx % r->num] = head;
	fence();
	r->avail->idx = (uint16_t)(r->avail->idx + 1);
	fence();
}

bool v_get(struct vring *r, uint32_t *id, uint32_t *len)
{
	fence();
	if (r->used->idx == r->seen)
		return false;
	if (id)
		*id = r->used->ring[r->seen % r->num].id;
	if (len)
		*len = r->used->ring[r->seen % r->num].len;
	r->seen++;
	return true;
}

bool v_wait(struct vdev *v, const struct guest *guest, uint32_t queue, uint32_t *id, uint32_t *len)
{
	uint64_t until = read_time() + guest->timebase;

	v_notify(v, queue);
	do {
		if (v_get(&v->ring[queue], id, len))
			return true;
	} while (read_time() < until);
	return false;
}
