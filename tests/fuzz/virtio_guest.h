/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest's side of virtio-mmio for fuzzers of one device: rings that are set up right,
 * so that what lies behind them is reached, and ways to spoil them.
 *
 * Two banks of RAM that touch. Queue q has its rings at RING(q); from DATA on there is
 * room for buffers.
 */
#ifndef LKVM_FUZZ_VIRTIO_GUEST_H
#define LKVM_FUZZ_VIRTIO_GUEST_H

#include "lkvm/virtio/mmio.h"

#include <stdlib.h>
#include <string.h>

#define RAM UINT64_C(0x80000000)
#define BANK (64 * KIB)
#define RAM_END (RAM + 2 * BANK)
#define NUM 8
#define MAX_QUEUES 16
#define RING(q) (RAM + 0x200 * (gpa_t)(q))
#define AVAIL(q) (RING(q) + 0x80)
#define USED(q) (RING(q) + 0xc0)
#define DATA (RAM + 0x4000)

#define NEXT 1
#define WRITE 2

struct input {
	const uint8_t *data;
	size_t size;
};

/**
 * struct guest - the machine around one device
 * @next: the next descriptor of each queue
 * @seen: used entries that were looked at
 * @spoilt: rings were written at random, or descriptors of requests under way were: what is
 *          in them means nothing
 * @held, @pieces: descriptors of requests under way, in all and by head
 */
struct guest {
	struct guest_memory mem;
	struct irq_chip chip;
	struct virtio_mmio *mmio;
	struct device *dev;
	struct virtio_device *vdev;
	bool level, spoilt, again;
	unsigned int nr;
	uint16_t next[MAX_QUEUES], seen[MAX_QUEUES];
	unsigned int held[MAX_QUEUES], pieces[MAX_QUEUES][NUM];
};

static inline uint64_t take(struct input *in, unsigned int bytes)
{
	uint64_t v = 0;

	while (bytes-- && in->size) {
		v = v << 8 | *in->data++;
		in->size--;
	}
	return v;
}

static inline void need(bool ok)
{
	if (!ok)
		abort();
}

static inline uint8_t *ram(struct guest *g, gpa_t at, uint64_t len)
{
	const struct memory_region *r = memory_find(&g->mem, at, len);

	need(r != NULL);
	return (uint8_t *)r->hva + (at - r->gpa);
}

static inline void guest_line(struct irq_chip *chip, uint32_t source, bool level)
{
	struct guest *g = container_of(chip, struct guest, chip);

	(void)source;
	need(level != g->level);
	g->level = level;
}

static inline void guest_soon(void *opaque)
{
	((struct guest *)opaque)->again = true;
}

static const struct irq_chip_ops guest_chip = {.set_level = guest_line};
static const struct virtio_transport_env guest_env = {.run_soon = guest_soon};

static inline void guest_memory_init(struct guest *g)
{
	memset(g, 0, sizeof(*g));
	memory_init(&g->mem);
	need(memory_add(&g->mem, RAM, BANK, 4096, NULL) &&
	     memory_add(&g->mem, RAM + BANK, BANK, 4096, NULL));
}

static inline void guest_plug(struct guest *g, struct virtio_device *vdev, unsigned int nr)
{
	g->chip.ops = &guest_chip;
	g->vdev = vdev;
	g->nr = nr;
	g->mmio = virtio_mmio_create(vdev, (struct irq_line){&g->chip, 1}, &guest_env, g);
	need(g->mmio && nr <= MAX_QUEUES);
	g->dev = virtio_mmio_device(g->mmio);
}

static inline void guest_end(struct guest *g)
{
	g->dev->ops->destroy(g->dev);
	memory_destroy(&g->mem);
}

static inline void wr(struct guest *g, uint64_t reg, uint64_t value)
{
	virtio_mmio_ops.write(g->mmio, reg, value, 4);
}

static inline uint32_t rd(struct guest *g, uint64_t reg)
{
	return (uint32_t)virtio_mmio_ops.read(g->mmio, reg, 4);
}

/* A driver that knows its trade; the features are the input's, and may be refused. */
static inline void guest_go(struct guest *g, uint64_t features)
{
	unsigned int q;

	wr(g, 0x70, 0);
	memset(ram(g, RAM, 0x4000), 0, 0x4000);
	memset(g->next, 0, sizeof(g->next));
	memset(g->seen, 0, sizeof(g->seen));
	memset(g->held, 0, sizeof(g->held));
	memset(g->pieces, 0, sizeof(g->pieces));
	g->spoilt = false;
	wr(g, 0x70, 3);
	wr(g, 0x24, 0);
	wr(g, 0x20, (uint32_t)features);
	wr(g, 0x24, 1);
	wr(g, 0x20, features >> 32 | 1);
	wr(g, 0x70, 11);
	for (q = 0; q < g->nr; q++) {
		wr(g, 0x30, q);
		wr(g, 0x38, NUM);
		wr(g, 0x80, RING(q));
		wr(g, 0x84, RING(q) >> 32);
		wr(g, 0x90, AVAIL(q));
		wr(g, 0x94, AVAIL(q) >> 32);
		wr(g, 0xa0, USED(q));
		wr(g, 0xa4, USED(q) >> 32);
		wr(g, 0x44, 1);
	}
	wr(g, 0x70, 15);
}

static inline void guest_desc(struct guest *g, unsigned int q, unsigned int index, gpa_t addr,
			      uint32_t len, uint16_t flags, uint16_t next)
{
	uint64_t half = len | (uint64_t)flags << 32 | (uint64_t)next << 48;

	memcpy(ram(g, RING(q) + 16 * (index % NUM), 16), &addr, 8);
	memcpy(ram(g, RING(q) + 16 * (index % NUM) + 8, 8), &half, 8);
}

static inline void guest_offer(struct guest *g, unsigned int q, uint16_t head)
{
	uint16_t idx;

	memcpy(&idx, ram(g, AVAIL(q) + 2, 2), 2);
	memcpy(ram(g, AVAIL(q) + 4 + 2 * (idx % NUM), 2), &head, 2);
	idx++;
	memcpy(ram(g, AVAIL(q) + 2, 2), &idx, 2);
}

static inline void guest_notify(struct guest *g, unsigned int q)
{
	wr(g, 0x50, q);
}

/* The next used entry of a queue: its head and length. */
static inline bool guest_used(struct guest *g, unsigned int q, uint32_t *id, uint32_t *len)
{
	uint16_t idx;

	memcpy(&idx, ram(g, USED(q) + 2, 2), 2);
	if (idx == g->seen[q])
		return false;
	memcpy(id, ram(g, USED(q) + 4 + 8 * (g->seen[q] % NUM), 4), 4);
	memcpy(len, ram(g, USED(q) + 8 + 8 * (g->seen[q] % NUM), 4), 4);
	g->seen[q]++;
	if (*id < NUM) {
		g->held[q] -= g->pieces[q][*id];
		g->pieces[q][*id] = 0;
	}
	return true;
}

/* Are all of a queue's descriptors the driver's? Then one buffer can be added. */
static inline bool guest_free(struct guest *g, unsigned int q)
{
	uint16_t idx;

	memcpy(&idx, ram(g, AVAIL(q) + 2, 2), 2);
	return (uint16_t)(idx - g->seen[q]) < NUM;
}

/* A chain of up to three buffers, cut as the input says, and offered. */
static inline void guest_chain(struct guest *g, struct input *in, unsigned int q, gpa_t at,
			       uint32_t len, uint16_t flags)
{
	uint64_t how = take(in, 1);
	uint16_t head = g->next[q] % NUM;
	unsigned int i, pieces = how & 0x10 ? 1 : 1 + how % 3;

	for (i = 0; i < pieces; i++) {
		uint32_t part = i + 1 < pieces ? (uint32_t)take(in, 1) % (len + 1) : len;
		uint16_t own = i + 1 < pieces ? NEXT : 0;

		guest_desc(g, q, g->next[q], at, part, flags | own, (g->next[q] + 1) % NUM);
		g->next[q]++;
		at += part;
		len -= part;
	}
	g->held[q] += pieces;
	g->pieces[q][head] += pieces;
	if (g->held[q] > NUM)
		g->spoilt = true;
	guest_offer(g, q, head);
	guest_notify(g, q);
}

/* Rings as no driver writes them. */
static inline void guest_spoil(struct guest *g, struct input *in)
{
	static const gpa_t places[] = {DATA, RAM_END - 8, RAM + BANK - 8, 0, UINT64_MAX - 15};
	uint64_t how = take(in, 1);
	unsigned int q = (unsigned int)take(in, 1) % g->nr;

	g->spoilt = true;
	if (how & 1)
		guest_desc(g, q, (unsigned int)take(in, 1), places[take(in, 1) % 5],
			   (uint32_t)take(in, how & 2 ? 4 : 1), (uint16_t)take(in, 1) & 7,
			   (uint16_t)take(in, 1) % (NUM + 1));
	else if (how & 2)
		guest_offer(g, q, (uint16_t)take(in, 1) % (NUM + 1));
	else
		ram(g, RAM + take(in, 2) % 0x2000, 1)[0] = (uint8_t)take(in, 1);
	guest_notify(g, q);
}

static inline void guest_save(struct guest *g, struct xfer *x)
{
	xfer_save_init(x);
	g->dev->ops->transfer(g->dev, x);
	need(!xfer_done(x, NULL));
}

/* Save, perhaps change, load: what is taken is saved again as it was. */
static inline void guest_save_load(struct guest *g, struct input *in, bool change)
{
	struct xfer x, y, again;

	g->dev->ops->quiesce(g->dev);
	guest_save(g, &x);
	while (change && in->size && take(in, 1) & 1)
		x.buf[take(in, 2) % x.len] = (uint8_t)take(in, 1);
	xfer_load_init(&y, x.buf, x.len);
	g->dev->ops->transfer(g->dev, &y);
	if (!xfer_done(&y, NULL)) {
		guest_save(g, &again);
		need(again.len == x.len && !memcmp(again.buf, x.buf, x.len));
		xfer_free(&again);
		g->spoilt |= change;
	} else {
		need(change);
	}
	xfer_free(&x);
	/* Resume says the line again. */
	g->level = !rd(g, 0x60);
	g->dev->ops->resume(g->dev);
}

/* What the loop would do now. */
static inline void guest_run(struct guest *g)
{
	g->again = false;
	virtio_device_run(g->vdev);
}

#endif /* LKVM_FUZZ_VIRTIO_GUEST_H */
