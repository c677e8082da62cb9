/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A virtio driver for bare-metal guests, over virtio-mmio and PCI: small, without
 * interrupts (it polls), and with every register and ring field open to whoever
 * wants to write nonsense into it.
 */
#ifndef LKVM_GUEST_VIRTIO_H
#define LKVM_GUEST_VIRTIO_H

#include "guest.h"

#define V_ACKNOWLEDGE 1
#define V_DRIVER 2
#define V_DRIVER_OK 4
#define V_FEATURES_OK 8
#define V_NEEDS_RESET 64
#define V_FAILED 128
#define V_RUNS (V_ACKNOWLEDGE | V_DRIVER | V_FEATURES_OK | V_DRIVER_OK)

#define V_F_INDIRECT (UINT64_C(1) << 28)
#define V_F_EVENT_IDX (UINT64_C(1) << 29)
#define V_F_VERSION_1 (UINT64_C(1) << 32)
#define V_F_RING_PACKED (UINT64_C(1) << 34)

#define V_ID_NET 1
#define V_ID_BLK 2
#define V_ID_CONSOLE 3
#define V_ID_RNG 4
#define V_ID_BALLOON 5
#define V_ID_9P 9
#define V_ID_VSOCK 19
#define V_ID_PMEM 27

#define VD_NEXT 1
#define VD_WRITE 2
#define VD_INDIRECT 4

#define V_RING_MAX 256
#define V_MAX_QUEUES 8

struct vdesc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

/* As in memory, for @num entries; event fields lie behind the last entry. */
struct vavail {
	uint16_t flags, idx, ring[V_RING_MAX + 1];
};

struct vused {
	uint16_t flags, idx;
	struct {
		uint32_t id, len;
	} ring[V_RING_MAX];
	uint16_t avail_event;
};

/**
 * struct vring - one split ring
 * @seen: used entries taken
 */
struct vring {
	uint32_t num;
	volatile struct vdesc *desc;
	volatile struct vavail *avail;
	volatile struct vused *used;
	uint16_t seen;
};

/**
 * struct vdev - a device
 * @base: virtio-mmio window; 0 where it sits on PCI
 * @function: its configuration space (PCI)
 * @common, @notify, @isr, @config: its structures in BARs
 * @msix: MSI-X table, @pba: pending bits, @vectors: entries; 0 where there are none
 * @cfg_access: offset of the configuration access capability, or 0
 */
struct vdev {
	uint32_t id;
	uint64_t base;
	uint64_t function;
	uint64_t common, notify, isr, config;
	uint32_t notify_step;
	uint64_t msix, pba;
	uint32_t vectors;
	uint32_t msix_cap, cfg_access;
	struct vring ring[V_MAX_QUEUES];
};

/**
 * struct vbus - all devices of a transport
 * @next_page: memory for rings and buffers, taken page by page
 * @next_bar: where the next BAR goes
 */
struct vbus {
	struct vdev dev[GUEST_MAX_VIRTIO];
	size_t nr;
	uint64_t next_page, end;
	uint64_t next_bar;
};

static inline uint32_t rd32(uint64_t at)
{
	uint64_t v;

	/* Not lw: KVM of 6.12 does not extend the sign of what a device answers. */
	__asm__ volatile("lwu %0, (%1)" : "=r"(v) : "r"(at) : "memory");
	return (uint32_t)v;
}

static inline void wr32(uint64_t at, uint32_t value)
{
	*(volatile uint32_t *)at = value;
}

static inline uint16_t rd16(uint64_t at)
{
	return *(volatile uint16_t *)at;
}

static inline void wr16(uint64_t at, uint16_t value)
{
	*(volatile uint16_t *)at = value;
}

static inline uint8_t rd8(uint64_t at)
{
	return *(volatile uint8_t *)at;
}

static inline void wr8(uint64_t at, uint8_t value)
{
	*(volatile uint8_t *)at = value;
}

static inline uint64_t rd64(uint64_t at)
{
	return *(volatile uint64_t *)at;
}

static inline void wr64(uint64_t at, uint64_t value)
{
	*(volatile uint64_t *)at = value;
}

static inline void fence(void)
{
	__asm__ volatile("fence iorw, iorw" ::: "memory");
}

/**
 * vbus_find() - find the devices of one transport, and give PCI ones their BARs
 */
void vbus_find(struct vbus *bus, const struct guest *guest, bool pci);

/**
 * vbus_device() - the @nth device with this ID, or NULL
 */
struct vdev *vbus_device(struct vbus *bus, uint32_t id, unsigned int nth);

/**
 * vbus_pages() - zeroed memory of @nr pages
 */
void *vbus_pages(struct vbus *bus, unsigned int nr);

uint32_t v_status(struct vdev *v);
void v_set_status(struct vdev *v, uint32_t status);
uint64_t v_features(struct vdev *v);
void v_set_features(struct vdev *v, uint64_t features);
uint32_t v_queue_max(struct vdev *v, uint32_t queue);
bool v_queue_ready(struct vdev *v, uint32_t queue);
void v_set_ready(struct vdev *v, uint32_t queue, bool on);

/**
 * v_set_layout() - write size and addresses of a queue, enable nothing
 */
void v_set_layout(struct vdev *v, uint32_t queue, uint32_t num, uint64_t desc, uint64_t avail,
		  uint64_t used);
void v_notify(struct vdev *v, uint32_t queue);

/* Why there was an interrupt; on PCI reading clears it, on MMIO this acknowledges. */
uint32_t v_interrupt(struct vdev *v);
uint32_t v_generation(struct vdev *v);

/* Where the configuration space is. */
uint64_t v_config(struct vdev *v);

/**
 * v_reset() - status 0, and wait until it reads so
 */
bool v_reset(struct vdev *v);

/**
 * v_begin() - reset and go to FEATURES_OK with these of the features offered
 */
bool v_begin(struct vdev *v, uint64_t features);

/**
 * v_queue() - rings for a queue, zeroed and enabled, @num entries at most
 */
bool v_queue(struct vdev *v, struct vbus *bus, uint32_t queue, uint32_t num);

/**
 * v_offer() - make head @head available; v_get() - the next used entry
 * @len: its length, may be NULL
 */
void v_offer(struct vring *r, uint16_t head);
bool v_get(struct vring *r, uint32_t *id, uint32_t *len);

/**
 * v_desc() - write one descriptor
 */
void v_desc(struct vring *r, unsigned int index, const volatile void *at, uint32_t len,
	    uint16_t flags, uint16_t next);

/**
 * v_wait() - notify and wait up to a second for the next used entry
 */
bool v_wait(struct vdev *v, const struct guest *guest, uint32_t queue, uint32_t *id, uint32_t *len);

#endif /* LKVM_GUEST_VIRTIO_H */
