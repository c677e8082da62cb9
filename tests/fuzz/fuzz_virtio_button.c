// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz the power button: presses at any time, buffers of any shape and size on both
 * queues, stores to the configuration space, resets, save and load.
 *
 * Besides what the sanitizers see: no event is longer than eight bytes, and a device
 * that was reset sends a whole press.
 */
#include "virtio_guest.h"

#include "lkvm/virtio/button.h"

#define EVENT 8
#define CONFIG 0x100

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int press(struct guest *g)
{
	struct error err;
	char reply[8];

	return g->vdev->ops->command(g->vdev, "press", reply, sizeof(reply), &err);
}

static void step(struct guest *g, struct input *in)
{
	uint64_t op = take(in, 1);
	unsigned int q = op >> 7 & 1;
	uint32_t id, len;

	switch (op & 7) {
	case 0:
		guest_go(g, (op >> 3 & 3) << 28);
		break;
	case 1:
	case 2:
		if (guest_free(g, q))
			guest_chain(g, in, q, op & 0x40 ? RAM_END - 64 : DATA,
				    (uint32_t)take(in, 1), op & 0x20 ? 0 : WRITE);
		break;
	case 3:
		press(g);
		break;
	case 4:
		virtio_mmio_ops.write(g->mmio, CONFIG + take(in, 1), take(in, 1),
				      1U << (op >> 3 & 3));
		virtio_mmio_ops.read(g->mmio, CONFIG + take(in, 1), 1U << (op >> 3 & 3));
		break;
	case 5:
		guest_save_load(g, in, op & 0x80);
		break;
	case 6:
		guest_spoil(g, in);
		break;
	default:
		if (op & 0x80)
			g->dev->ops->reset(g->dev);
		guest_run(g);
		break;
	}
	for (q = 0; q < 2; q++)
		while (guest_used(g, q, &id, &len))
			need(g->spoilt || (id < NUM && len <= (q ? 0 : EVENT)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct guest g;
	uint32_t id, len;
	uint16_t i;

	guest_memory_init(&g);
	guest_plug(&g, virtio_button_create("button0", &g.mem, NULL), 2);
	guest_go(&g, 0);
	while (in.size)
		step(&g, &in);
	/* Whatever happened, a driver that starts afresh gets a press. */
	guest_go(&g, 0);
	for (i = 0; i < 4; i++) {
		guest_desc(&g, 0, i, DATA + EVENT * i, EVENT, WRITE, 0);
		guest_offer(&g, 0, i);
	}
	guest_notify(&g, 0);
	need(!guest_used(&g, 0, &id, &len));
	need(!press(&g));
	for (i = 0; i < 4; i++)
		need(guest_used(&g, 0, &id, &len) && id == i && len == EVENT);
	need(!memcmp(ram(&g, DATA, 16), "\1\0\x74\0\1\0\0\0\0\0\0\0\0\0\0\0", 16) && g.level);
	guest_end(&g);
	return 0;
}
