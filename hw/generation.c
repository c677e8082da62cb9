// SPDX-License-Identifier: GPL-2.0-only
/*
 * The generation id (include/lkvm/hw/generation.h): a window of 4 KiB whose first 16 bytes
 * are the id; the rest is zero, and writes go nowhere. Loads of 1, 2, 4 and 8 bytes.
 *
 * A new id comes with an interrupt. The binding knows no register to acknowledge it by; a
 * driver reads the id when it comes. So the line, which is level triggered, falls when the
 * id's first byte is read. A guest that was saved between the first and the last byte of
 * its reading reads on in the new id, keeps the line up by that, and reads again.
 *
 * A reset of the guest keeps the id: it is the same VM. Linux takes a change, not the first
 * value, as the sign to forget what its random numbers were made of.
 *
 * Lock: one around everything; the line is set with it held. What is saved: the id and the
 * line. Whoever goes on from the saved state renews it; who only looks at it does not.
 */
#include "lkvm/hw/generation.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct generation {
	struct device dev;
	pthread_mutex_t lock;
	struct irq_line irq;
	generation_random_fn random;
	uint8_t id[GENERATION_ID];
	bool level;
};

static void set_level(struct generation *g, bool level)
{
	if (g->level == level)
		return;
	g->level = level;
	irq_line_set(&g->irq, level);
}

static uint64_t generation_read(void *dev, uint64_t offset, unsigned int size)
{
	struct generation *g = dev;
	uint64_t value = 0;
	unsigned int i;

	pthread_mutex_lock(&g->lock);
	for (i = 0; i < size && offset + i < GENERATION_ID; i++)
		value |= (uint64_t)g->id[offset + i] << 8 * i;
	if (!offset)
		set_level(g, false);
	pthread_mutex_unlock(&g->lock);
	return value;
}

static void generation_write(void *dev, uint64_t offset, uint64_t value, unsigned int size)
{
	(void)dev;
	(void)offset;
	(void)value;
	(void)size;
}

bool generation_renew(struct generation *g)
{
	uint8_t id[GENERATION_ID];

	if (!g->random(id, sizeof(id)))
		return false;
	pthread_mutex_lock(&g->lock);
	memcpy(g->id, id, sizeof(id));
	set_level(g, true);
	pthread_mutex_unlock(&g->lock);
	return true;
}

const char *generation_text(struct generation *g, char *text)
{
	unsigned int i;

	pthread_mutex_lock(&g->lock);
	for (i = 0; i < GENERATION_ID; i++)
		snprintf(text + (size_t)2 * i, 3, "%02x", g->id[i]);
	pthread_mutex_unlock(&g->lock);
	return text;
}

static void generation_resume(struct device *dev)
{
	struct generation *g = container_of(dev, struct generation, dev);

	pthread_mutex_lock(&g->lock);
	/* After a load the line may stand anywhere. */
	irq_line_set(&g->irq, g->level);
	pthread_mutex_unlock(&g->lock);
}

static void generation_transfer(struct device *dev, struct xfer *x)
{
	struct generation *g = container_of(dev, struct generation, dev);
	uint8_t id[GENERATION_ID];
	bool level;

	pthread_mutex_lock(&g->lock);
	memcpy(id, g->id, sizeof(id));
	level = g->level;
	xfer_bytes(x, id, sizeof(id));
	xfer_bool(x, &level);
	if (xfer_commit(x)) {
		memcpy(g->id, id, sizeof(id));
		g->level = level;
	}
	pthread_mutex_unlock(&g->lock);
}

static void generation_reset(struct device *dev)
{
	struct generation *g = container_of(dev, struct generation, dev);

	pthread_mutex_lock(&g->lock);
	set_level(g, false);
	pthread_mutex_unlock(&g->lock);
}

static void generation_destroy(struct device *dev)
{
	struct generation *g = container_of(dev, struct generation, dev);

	pthread_mutex_destroy(&g->lock);
	free(g);
}

static const struct device_ops generation_device_ops = {
	.kind = "generation",
	.resume = generation_resume,
	.transfer = generation_transfer,
	.reset = generation_reset,
	.destroy = generation_destroy,
};

const struct mmio_ops generation_ops = {
	.read = generation_read,
	.write = generation_write,
};

struct generation *generation_create(const char *name, struct irq_line irq,
				     generation_random_fn random)
{
	struct generation *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	if (!random(g->id, sizeof(g->id)) || pthread_mutex_init(&g->lock, NULL)) {
		free(g);
		return NULL;
	}
	g->dev.ops = &generation_device_ops;
	g->dev.name = name;
	g->irq = irq;
	g->random = random;
	return g;
}

struct device *generation_device(struct generation *g)
{
	return &g->dev;
}
