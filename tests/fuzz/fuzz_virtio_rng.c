// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz the entropy device: requests of any shape and size, time that goes on, ticks
 * that come early, late or for nothing, a host that gives less than asked for or fails,
 * resets, save and load.
 *
 * Besides what the sanitizers see: the host is asked for no more than a request may
 * have, no period gives more than its share, and a device that was reset answers.
 */
#include "virtio_guest.h"

#include "lkvm/virtio/rng.h"

#include <errno.h>

#define SHARE 5000
#define PERIOD 100

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct rig {
	struct guest g;
	struct virtio_rng *rng;
	uint64_t now, given, periods;
	uint64_t answer; /* of the host: 0 all, else how much, or an error */
	bool limited;
};

static long on_fill(void *opaque, void *buf, size_t len)
{
	struct rig *rig = opaque;
	size_t n = rig->answer ? min_u64(len, rig->answer) : len;

	need(len && len <= VIRTIO_RNG_MAX_REQUEST);
	if (rig->answer == 77)
		return -EIO;
	memset(buf, 0x5a, n);
	rig->given += n;
	return (long)n;
}

static uint64_t on_now(void *opaque)
{
	return ((struct rig *)opaque)->now;
}

static void on_arm(void *opaque, uint64_t deadline)
{
	struct rig *rig = opaque;

	need(rig->limited && deadline > rig->now && deadline <= rig->now + PERIOD);
}

static const struct virtio_rng_env env = {
	.fill = on_fill,
	.now = on_now,
	.arm = on_arm,
};

static void step(struct rig *rig, struct input *in)
{
	uint64_t op = take(in, 1), gone;
	struct guest *g = &rig->g;
	uint32_t id, len;

	switch (op & 7) {
	case 0:
		guest_go(g, (op >> 3 & 3) << 28);
		break;
	case 1:
	case 2:
		if (guest_free(g, 0))
			guest_chain(g, in, 0, op & 0x80 ? RAM_END - 0x8000 : DATA,
				    (uint32_t)take(in, op & 0x40 ? 2 : 1) % 0x8000,
				    op & 0x20 ? 0 : WRITE);
		break;
	case 3:
		rig->answer = take(in, 1);
		break;
	case 4:
		gone = take(in, 1);
		rig->now += gone;
		/* A period is counted from when it is first used. */
		rig->periods += 1 + gone / PERIOD;
		virtio_rng_tick(rig->rng);
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
	while (guest_used(g, 0, &id, &len))
		need(g->spoilt || (id < NUM && len <= VIRTIO_RNG_MAX_REQUEST));
	need(!rig->limited || rig->given <= SHARE * (rig->periods + 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	uint32_t id, len;
	struct rig rig = {.now = 1};

	guest_memory_init(&rig.g);
	rig.limited = take(&in, 1) & 1;
	rig.rng = virtio_rng_create("rng0", &rig.g.mem, NULL, rig.limited ? SHARE : 0, PERIOD, &env,
				    &rig);
	need(rig.rng != NULL);
	guest_plug(&rig.g, virtio_rng_device(rig.rng), 1);
	guest_go(&rig.g, 0);
	while (in.size)
		step(&rig, &in);
	/* Whatever happened, a driver that starts afresh is served. */
	rig.now += PERIOD;
	rig.answer = 0;
	guest_go(&rig.g, 0);
	guest_desc(&rig.g, 0, 0, DATA, 100, WRITE, 0);
	guest_offer(&rig.g, 0, 0);
	guest_notify(&rig.g, 0);
	need(guest_used(&rig.g, 0, &id, &len) && len == 100 && rig.g.level);
	guest_end(&rig.g);
	return 0;
}
