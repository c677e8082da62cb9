// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz the balloon: lists of pages in RAM, at its edges and nowhere, statistics of any
 * bytes, free pages that are none, in chains of any cut; a user who sets targets and
 * asks for figures while time goes on; a host that refuses; resets, save and load.
 *
 * The guest's own rings may go into the balloon: they read as zeroes then, and so be it.
 *
 * A third bank of RAM has huge pages, between two halves of a block that have none.
 *
 * Besides what the sanitizers see: whole pages of RAM are given back and nothing else,
 * and huge ones as wholes; one pass stays within its bound, and a device that was reset
 * takes a page.
 */
#include "virtio_guest.h"

#include "lkvm/virtio/balloon.h"

#include <errno.h>
#include <stdio.h>

#define QUEUES 5
#define PASS 256 /* numbers of a list that one pass looks at */

#define BLOCK (2 * MIB)
#define HUGE_RAM (RAM + 0x10000000)
#define HUGE_SIZE (2 * BLOCK)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct rig {
	struct guest g;
	struct virtio_balloon *balloon;
	uint64_t now, refuse;
	unsigned int discards; /* of one step */
};

/* May what is given back begin or end here? */
static bool whole(gpa_t at)
{
	return at % BLOCK == 0 || at < HUGE_RAM || at > HUGE_RAM + HUGE_SIZE;
}

static int on_discard(void *opaque, gpa_t gpa, uint64_t len)
{
	struct rig *rig = opaque;
	int ret;

	rig->discards++;
	need(len && gpa % 4096 == 0 && len % 4096 == 0);
	if (gpa >= HUGE_RAM - MIB)
		need(whole(gpa) && whole(gpa + len));
	if (rig->refuse)
		return -ENOMEM;
	ret = memory_discard(&rig->g.mem, gpa, len);
	need(!ret || ret == -EINVAL);
	if (!ret)
		rig->g.spoilt = true;
	return ret;
}

static uint64_t on_now(void *opaque)
{
	return ((struct rig *)opaque)->now;
}

static void on_arm(void *opaque, uint64_t deadline)
{
	need(deadline > ((struct rig *)opaque)->now);
}

static const struct virtio_balloon_env env = {
	.discard = on_discard,
	.now = on_now,
	.arm = on_arm,
};

/* A list of numbers near something. */
static void send_pages(struct rig *rig, struct input *in, unsigned int q)
{
	static const uint32_t places[] = {(uint32_t)(RAM >> 12),
					  (uint32_t)(RAM_END >> 12) - 4,
					  (uint32_t)((RAM + BANK) >> 12) - 4,
					  0,
					  UINT32_MAX - 8,
					  (uint32_t)(HUGE_RAM >> 12),
					  (uint32_t)(HUGE_RAM >> 12) - 8,
					  (uint32_t)((HUGE_RAM + HUGE_SIZE) >> 12) - 8};
	uint64_t how = take(in, 1), i;
	uint32_t nr = (uint32_t)take(in, 1), page = places[how % 8] - 1;

	/* Hundreds of neighbours, or some that lie anywhere near. */
	nr = how & 0x40 ? 3 * nr : nr % 40;
	for (i = 0; i < nr; i++) {
		page = how & 0x40 ? page + 1 : places[how % 8] + (uint32_t)take(in, 1) % 16;
		memcpy(ram(&rig->g, DATA + 4 * i, 4), &page, 4);
	}
	guest_chain(&rig->g, in, q, DATA, how & 0x80 ? (uint32_t)take(in, 2) % 0x8000 : 4 * nr, 0);
}

static void step(struct rig *rig, struct input *in)
{
	char words[32] = "", reply[512];
	uint64_t op = take(in, 1);
	struct guest *g = &rig->g;
	struct virtio_device *vdev = g->vdev;
	struct balloon_stats stats;
	struct error err;
	unsigned int i;
	uint32_t id, len;
	gpa_t at;

	rig->discards = 0;
	switch (op & 15) {
	case 0:
		guest_go(g, op & 0x80 ? take(in, 5) : (op >> 4 & 7) << 3 | 7);
		break;
	case 1:
	case 2:
		if (guest_free(g, 0))
			send_pages(rig, in, 0);
		break;
	case 3:
		if (guest_free(g, 1))
			send_pages(rig, in, 1);
		break;
	case 4: /* statistics */
		len = (uint32_t)take(in, 1) % 60;
		for (i = 0; i < len; i++)
			ram(g, DATA + i, 1)[0] = (uint8_t)take(in, 1);
		if (guest_free(g, 2))
			guest_chain(g, in, 2, DATA, op & 0x80 ? 0x8000 : len, 0);
		break;
	case 5: /* free pages */
		at = take(in, 2);
		len = (uint32_t)take(in, 2);
		if (guest_free(g, 3 + (op >> 7)))
			guest_chain(g, in, 3 + (op >> 7),
				    op & 0x20 ? HUGE_RAM - MIB + at * 64
					      : RAM_END - 0x8000 + at % 0x7000,
				    op & 0x20 ? len * 64 : len % 0x1000 * 8, op & 0x40 ? 0 : WRITE);
		break;
	case 6:
		virtio_balloon_set_target(rig->balloon, take(in, 3), &err);
		break;
	case 7:
		virtio_balloon_stats(rig->balloon, &stats);
		break;
	case 8:
		rig->now += take(in, 1) * NSEC_PER_SEC / 16;
		virtio_balloon_tick(rig->balloon);
		break;
	case 9:
		guest_save_load(g, in, op & 0x80);
		break;
	case 10:
		guest_spoil(g, in);
		break;
	case 11:
		virtio_mmio_ops.write(g->mmio, 0x100 + take(in, 1) % 24, take(in, 2),
				      1U << (op >> 4 & 3));
		break;
	case 12: /* the user's words */
		for (i = 0; i < (op >> 4); i++)
			words[i] = (char)take(in, 1);
		if (op & 0x80)
			snprintf(words, sizeof(words), op & 0x10 ? "show" : "target %llu",
				 (unsigned long long)take(in, 4));
		vdev->ops->command(vdev, words, reply, sizeof(reply), &err);
		break;
	case 13:
		rig->refuse = op >> 7;
		break;
	case 14:
		if (op & 0x80)
			g->dev->ops->reset(g->dev);
		break;
	default:
		guest_run(g);
		break;
	}
	/* The run of a list may be tried page by page once more; reports have few buffers. */
	need(rig->discards <= 2 * PASS + (size_t)NUM * NUM);
	for (i = 0; i < QUEUES; i++)
		while (guest_used(g, i, &id, &len))
			need(g->spoilt || (id < NUM && !len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint32_t page = (uint32_t)((RAM + BANK) >> 12);
	struct input in = {data, size};
	struct rig rig = {.now = 1};
	uint32_t id, len;

	guest_memory_init(&rig.g);
	need(memory_add(&rig.g.mem, HUGE_RAM - MIB, HUGE_SIZE + 2 * MIB, BLOCK, NULL));
	rig.g.mem.regions[2].huge = true;
	rig.balloon = virtio_balloon_create("balloon0", &rig.g.mem, NULL, &env, &rig);
	need(rig.balloon != NULL);
	guest_plug(&rig.g, virtio_balloon_device(rig.balloon), QUEUES);
	guest_go(&rig.g, 0x27);
	while (in.size)
		step(&rig, &in);
	/* Whatever happened, a driver that starts afresh is served. */
	rig.refuse = 0;
	guest_go(&rig.g, 2);
	memset(ram(&rig.g, RAM + BANK, 4096), 0x5a, 4096);
	memcpy(ram(&rig.g, DATA, 4), &page, 4);
	guest_desc(&rig.g, 0, 0, DATA, 4, 0, 0);
	guest_offer(&rig.g, 0, 0);
	guest_notify(&rig.g, 0);
	need(guest_used(&rig.g, 0, &id, &len) && !*ram(&rig.g, RAM + BANK, 1));
	guest_end(&rig.g);
	return 0;
}
