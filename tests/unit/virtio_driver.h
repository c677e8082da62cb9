/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest's side of virtio, for tests: builds rings and chains in guest memory by
 * itself (nothing of virtio/ is used for it), and drives a virtio-mmio window.
 *
 * It can break every rule on purpose: descriptors and indexes are written raw.
 */
#ifndef LKVM_TESTS_VIRTIO_DRIVER_H
#define LKVM_TESTS_VIRTIO_DRIVER_H

#include "lkvm/bus.h"
#include "lkvm/irq.h"
#include "lkvm/log.h"
#include "lkvm/memory.h"

#define DRV_NEXT 1
#define DRV_WRITE 2
#define DRV_INDIRECT 4

/* Two banks of RAM that touch, and a hole behind them. */
#define DRV_RAM UINT64_C(0x80000000)
#define DRV_BANK (4 * MIB)
#define DRV_RAM_END (DRV_RAM + 2 * DRV_BANK)

/* Registers of virtio-mmio, by the specification's table. */
#define R_MAGIC 0x000
#define R_VERSION 0x004
#define R_DEVICE_ID 0x008
#define R_VENDOR_ID 0x00c
#define R_FEATURES 0x010
#define R_FEATURES_SEL 0x014
#define R_DRV_FEATURES 0x020
#define R_DRV_FEATURES_SEL 0x024
#define R_QUEUE_SEL 0x030
#define R_QUEUE_NUM_MAX 0x034
#define R_QUEUE_NUM 0x038
#define R_QUEUE_READY 0x044
#define R_NOTIFY 0x050
#define R_INT_STATUS 0x060
#define R_INT_ACK 0x064
#define R_STATUS 0x070
#define R_DESC 0x080
#define R_AVAIL 0x090
#define R_USED 0x0a0
#define R_SHM_SEL 0x0ac
#define R_SHM_LEN 0x0b0
#define R_SHM_BASE 0x0b8
#define R_QUEUE_RESET 0x0c0
#define R_GENERATION 0x0fc
#define R_CONFIG 0x100

#define ST_ACK 1
#define ST_DRIVER 2
#define ST_DRIVER_OK 4
#define ST_FEATURES_OK 8
#define ST_NEEDS_RESET 64
#define ST_FAILED 128

#define FEAT_INDIRECT (UINT64_C(1) << 28)
#define FEAT_EVENT_IDX (UINT64_C(1) << 29)
#define FEAT_VERSION_1 (UINT64_C(1) << 32)
#define FEAT_RING_PACKED (UINT64_C(1) << 34)
#define FEAT_RING_RESET (UINT64_C(1) << 40)

/**
 * struct drv_ring - one split ring as the driver sees it
 * @avail_idx: what was last made visible
 * @last_used: used entries seen so far
 * @next: next descriptor drv_add() takes
 */
struct drv_ring {
	struct guest_memory *mem;
	uint32_t num;
	gpa_t desc, avail, used;
	uint16_t avail_idx, last_used, next;
};

/**
 * struct drv_seg - one buffer of a chain
 */
struct drv_seg {
	gpa_t addr;
	uint32_t len;
	uint16_t flags; /* 0 or DRV_WRITE */
};

/**
 * drv_memory() - the two banks
 */
void drv_memory(struct guest_memory *mem);

/**
 * drv_ring_init() - zeroed rings of @num entries, one after the other from @at
 *
 * Return: the first free address behind them.
 */
gpa_t drv_ring_init(struct drv_ring *ring, struct guest_memory *mem, uint32_t num, gpa_t at);

/* Host pointer of guest bytes; fails the test where there are none. */
void *drv_ptr(struct guest_memory *mem, gpa_t at, uint64_t len);

/* Raw accesses to ring fields, each one store or load. */
void drv_desc_at(struct guest_memory *mem, gpa_t table, unsigned int index, gpa_t addr,
		 uint32_t len, uint16_t flags, uint16_t next);
void drv_desc(struct drv_ring *ring, unsigned int index, gpa_t addr, uint32_t len, uint16_t flags,
	      uint16_t next);
void drv_set_avail_idx(struct drv_ring *ring, uint16_t idx);
void drv_set_avail_flags(struct drv_ring *ring, uint16_t flags);
void drv_set_used_event(struct drv_ring *ring, uint16_t event);
uint16_t drv_avail_idx(const struct drv_ring *ring);
uint16_t drv_used_idx(const struct drv_ring *ring);
uint16_t drv_used_flags(const struct drv_ring *ring);
uint16_t drv_avail_event(const struct drv_ring *ring);

/**
 * drv_offer() - put @head into the ring and make it visible
 */
void drv_offer(struct drv_ring *ring, uint16_t head);

/**
 * drv_chain() - write a chain into the next free descriptors; drv_add() offers it too
 *
 * Return: its head.
 */
uint16_t drv_chain(struct drv_ring *ring, const struct drv_seg *segs, unsigned int nr);
uint16_t drv_add(struct drv_ring *ring, const struct drv_seg *segs, unsigned int nr);

/**
 * drv_get_used() - the next used entry
 */
bool drv_get_used(struct drv_ring *ring, uint32_t *id, uint32_t *len);

/**
 * struct drv - a driver of one virtio-mmio window
 * @dev: what @virtio_mmio_ops work on
 * @level: where the interrupt line stands; @edges: how often it rose
 */
struct drv {
	struct irq_chip chip;
	void *dev;
	bool level;
	unsigned int edges, line_repeats;
};

/* The line to give to virtio_mmio_create(). */
struct irq_line drv_line(struct drv *drv);

uint32_t drv_rd(struct drv *drv, uint64_t reg);
void drv_wr(struct drv *drv, uint64_t reg, uint32_t value);
uint64_t drv_features(struct drv *drv);
void drv_accept(struct drv *drv, uint64_t features);

/**
 * drv_start() - reset and go to FEATURES_OK with @features and VERSION_1
 *
 * Return: did FEATURES_OK stick?
 */
bool drv_start(struct drv *drv, uint64_t features);

/**
 * drv_set_queue() - write the layout of queue @index; drv_queue() enables it too
 */
void drv_set_queue(struct drv *drv, unsigned int index, const struct drv_ring *ring);
bool drv_queue(struct drv *drv, unsigned int index, const struct drv_ring *ring);

/* DRIVER_OK. */
void drv_go(struct drv *drv);

/* Read the interrupt's reasons and acknowledge them. */
uint32_t drv_ack(struct drv *drv);

#endif /* LKVM_TESTS_VIRTIO_DRIVER_H */
