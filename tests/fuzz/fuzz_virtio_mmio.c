// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz virtio-mmio with real devices behind it: the input is a sequence of register
 * accesses of any width at any offset, writes to guest memory, whole initialisations
 * done right (so that what comes behind is reached), ticks, resets, save and load.
 * The first byte chooses an entropy device or a disk on a small file in memory.
 *
 * Besides what the sanitizers see: the file keeps its size, the interrupt line
 * follows InterruptStatus and never repeats itself, status is one that initialisation
 * can reach, and a device that was reset answers a sane request.
 */
#include "lkvm/virtio/blk.h"
#include "lkvm/virtio/mmio.h"
#include "lkvm/virtio/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define RAM UINT64_C(0x80000000)
#define BANK (64 * KIB)
#define DISK (32 * KIB)
#define NUM 8

/* Where the layouts done right lie. */
#define DESC RAM
#define AVAIL (RAM + 0x400)
#define USED (RAM + 0x800)
#define HEADER (RAM + 0x1000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t size;
};

struct rig {
	struct guest_memory mem;
	struct irq_chip chip;
	struct virtio_mmio *mmio;
	struct virtio_rng *rng;
	bool level, disk;
	int fd;
	uint64_t now;
};

static uint64_t take(struct input *in, unsigned int bytes)
{
	uint64_t v = 0;

	while (bytes-- && in->size) {
		v = v << 8 | *in->data++;
		in->size--;
	}
	return v;
}

static void need(bool ok)
{
	if (!ok)
		abort();
}

static uint8_t *ram(struct rig *rig, gpa_t at, uint64_t len)
{
	const struct memory_region *r = memory_find(&rig->mem, at, len);

	need(r != NULL);
	return (uint8_t *)r->hva + (at - r->gpa);
}

static void on_line(struct irq_chip *chip, uint32_t source, bool level)
{
	struct rig *rig = container_of(chip, struct rig, chip);

	(void)source;
	need(level != rig->level);
	rig->level = level;
}

static const struct irq_chip_ops chip_ops = {
	.set_level = on_line,
};

static void run_soon(void *opaque)
{
	(void)opaque;
}

static const struct virtio_mmio_env mmio_env = {
	.run_soon = run_soon,
};

static long on_fill(void *opaque, void *buf, size_t len)
{
	(void)opaque;
	memset(buf, 0x5a, len);
	return (long)len;
}

static uint64_t on_now(void *opaque)
{
	return ((struct rig *)opaque)->now;
}

static void on_arm(void *opaque, uint64_t deadline)
{
	(void)opaque;
	(void)deadline;
}

static const struct virtio_rng_env rng_env = {
	.fill = on_fill,
	.now = on_now,
	.arm = on_arm,
};

static void start(struct rig *rig, uint64_t setup)
{
	static const struct virtio_blk_config config = {
		.serial = "fuzz", .queues = 2, .queue_max = NUM};
	char path[32];
	struct blk_file_config image = {.path = path};
	struct blk_backend backend;
	struct virtio_blk *blk;
	struct virtio_device *vdev;

	memset(rig, 0, sizeof(*rig));
	rig->fd = -1;
	memory_init(&rig->mem);
	need(memory_add(&rig->mem, RAM, BANK, 4096, NULL) &&
	     memory_add(&rig->mem, RAM + BANK, BANK, 4096, NULL));
	if (setup & 1) {
		rig->disk = true;
		rig->fd = memfd_create("disk", MFD_CLOEXEC);
		need(rig->fd >= 0 && !ftruncate(rig->fd, DISK));
		snprintf(path, sizeof(path), "/proc/self/fd/%d", rig->fd);
		image.read_only = setup & 2;
		need(!blk_file_open(&image, false, NULL, &backend, NULL));
		blk = virtio_blk_create("disk0", &rig->mem, NULL, &config, &backend, NULL, NULL,
					NULL);
		need(blk != NULL);
		vdev = virtio_blk_device(blk);
	} else {
		rig->rng = virtio_rng_create("rng0", &rig->mem, NULL, setup & 2 ? 4096 : 0, 10,
					     &rng_env, rig);
		need(rig->rng != NULL);
		vdev = virtio_rng_device(rig->rng);
	}
	rig->chip.ops = &chip_ops;
	rig->mmio = virtio_mmio_create(vdev, (struct irq_line){&rig->chip, 1}, &mmio_env, rig);
	need(rig->mmio != NULL);
}

static void wr(struct rig *rig, uint64_t reg, uint64_t value)
{
	virtio_mmio_ops.write(rig->mmio, reg, value, 4);
}

static uint32_t rd(struct rig *rig, uint64_t reg)
{
	return (uint32_t)virtio_mmio_ops.read(rig->mmio, reg, 4);
}

/* What a driver does that knows its trade; the features are the input's. */
static void bring_up(struct rig *rig, uint64_t features, unsigned int queue)
{
	memset(ram(rig, DESC, 0x1000), 0, 0x1000);
	wr(rig, 0x70, 0);
	wr(rig, 0x70, 3);
	wr(rig, 0x24, 0);
	wr(rig, 0x20, (uint32_t)features);
	wr(rig, 0x24, 1);
	wr(rig, 0x20, features >> 32 | 1);
	wr(rig, 0x70, 11);
	wr(rig, 0x30, queue);
	wr(rig, 0x38, NUM);
	wr(rig, 0x80, DESC);
	wr(rig, 0x84, 0);
	wr(rig, 0x90, AVAIL);
	wr(rig, 0x94, 0);
	wr(rig, 0xa0, USED);
	wr(rig, 0xa4, 0);
	wr(rig, 0x44, 1);
	wr(rig, 0x70, 15);
}

static void put_desc(struct rig *rig, gpa_t at, gpa_t addr, uint32_t len, uint16_t flags,
		     uint16_t next)
{
	uint64_t half = len | (uint64_t)flags << 32 | (uint64_t)next << 48;

	memcpy(ram(rig, at, 16), &addr, 8);
	memcpy(ram(rig, at + 8, 8), &half, 8);
}

static void offer(struct rig *rig, uint16_t head, bool notify)
{
	uint16_t idx;

	memcpy(&idx, ram(rig, AVAIL + 2, 2), 2);
	memcpy(ram(rig, AVAIL + 4 + 2 * (idx % NUM), 2), &head, 2);
	idx++;
	memcpy(ram(rig, AVAIL + 2, 2), &idx, 2);
	if (notify)
		wr(rig, 0x50, 0);
}

/* A chain that is nearly right: header, data, status, with some of it the input's. */
static void some_request(struct rig *rig, struct input *in)
{
	static const uint32_t types[] = {0, 1, 4, 8, 11, 13, 2, 77};
	uint64_t how = take(in, 1), sector = how & 0x80 ? take(in, 8) : take(in, 1) % 70;
	uint32_t type = types[how & 7], len = (uint32_t)take(in, how & 0x40 ? 4 : 1);
	uint16_t base = (how >> 3 & 1) * 4;
	bool in_dir = type == 0 || type == 8;

	if (!(how & 0x10))
		len = len % 17 * 512;
	if ((type == 11 || type == 13) && !(how & 0x10))
		len = 16 * (1 + len % 3);
	memcpy(ram(rig, HEADER, 4), &type, 4);
	memcpy(ram(rig, HEADER + 8, 8), &sector, 8);
	/* Ranges of a discard. */
	sector = take(in, 1);
	memcpy(ram(rig, HEADER + 0x100, 8), &sector, 8);
	sector = take(in, 1) | take(in, 1) << 32;
	memcpy(ram(rig, HEADER + 0x108, 8), &sector, 8);
	put_desc(rig, DESC + 16 * base, HEADER, 16, 1, base + 1);
	put_desc(rig, DESC + 16 * (base + 1), HEADER + 0x100, len, in_dir ? 3 : 1, base + 2);
	put_desc(rig, DESC + 16 * (base + 2), HEADER + 0x80, 1, 2, 0);
	/* The second half: another cut. */
	if (how & 0x20)
		put_desc(rig, DESC + 16 * (base + (take(in, 1) & 3)), HEADER + take(in, 1),
			 (uint32_t)take(in, 1), (uint16_t)take(in, 1) & 7, take(in, 1) % NUM);
	offer(rig, base, true);
}

static void save(struct rig *rig, struct xfer *x)
{
	struct device *dev = virtio_mmio_device(rig->mmio);

	xfer_save_init(x);
	dev->ops->transfer(dev, x);
	need(!xfer_done(x, NULL));
}

static void save_load(struct rig *rig, struct input *in, bool change)
{
	struct device *dev = virtio_mmio_device(rig->mmio);
	struct xfer x, y, again;

	dev->ops->quiesce(dev);
	save(rig, &x);
	while (change && in->size && take(in, 1) & 1)
		x.buf[take(in, 1) % x.len] = (uint8_t)take(in, 1);
	xfer_load_init(&y, x.buf, x.len);
	dev->ops->transfer(dev, &y);
	if (!xfer_done(&y, NULL)) {
		save(rig, &again);
		need(again.len == x.len && !memcmp(again.buf, x.buf, x.len));
		xfer_free(&again);
	} else {
		need(change);
	}
	xfer_free(&x);
	/* Resume says the line again. */
	rig->level = !rd(rig, 0x60);
	dev->ops->resume(dev);
}

static void check_world(struct rig *rig)
{
	uint32_t status = rd(rig, 0x70) & 15;
	struct stat st;

	need(rig->level == !!rd(rig, 0x60));
	/* FEATURES_OK comes behind DRIVER, DRIVER_OK behind FEATURES_OK. */
	need((!(status & 8) || status & 2) && (!(status & 4) || status & 8));
	need(rd(rig, 0x00) == 0x74726976 && rd(rig, 0x04) == 2);
	if (rig->disk)
		need(!fstat(rig->fd, &st) && st.st_size == (off_t)DISK);
}

static void check_sane(struct rig *rig)
{
	uint16_t used;

	rig->now += 1000;
	bring_up(rig, 0, 0);
	need(rd(rig, 0x70) == 15);
	memset(ram(rig, HEADER, 16), 0, 16);
	put_desc(rig, DESC, HEADER, 16, 1, 1);
	put_desc(rig, DESC + 16, HEADER + 0x100, 513, 2, 0);
	offer(rig, 0, true);
	memcpy(&used, ram(rig, USED + 2, 2), 2);
	need(used == 1 && rig->level);
	if (rig->disk)
		need(*ram(rig, HEADER + 0x100 + 512, 1) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct device *dev;
	struct rig rig;
	unsigned int width;
	uint64_t op, at;

	start(&rig, take(&in, 1));
	dev = virtio_mmio_device(rig.mmio);
	while (in.size) {
		op = take(&in, 1);
		width = 1U << (op >> 4 & 3);
		switch (op & 15) {
		case 0: /* any width, any offset */
			at = take(&in, 2) % (VIRTIO_MMIO_WINDOW - width + 1);
			virtio_mmio_ops.read(rig.mmio, at, width);
			break;
		case 1:
			at = take(&in, 2) % (VIRTIO_MMIO_WINDOW - width + 1);
			virtio_mmio_ops.write(rig.mmio, at, take(&in, width), width);
			break;
		case 2: /* registers */
		case 3:
			at = take(&in, 1) % 0x40 * 4;
			wr(&rig, at, take(&in, op & 0x80 ? 4 : 1));
			break;
		case 4:
			bring_up(&rig, op & 0x80 ? take(&in, 6) : take(&in, 1) << 28, op >> 4 & 1);
			break;
		case 5:
		case 6:
			some_request(&rig, &in);
			break;
		case 7: /* memory */
			at = RAM + take(&in, 2) % 0x2000;
			ram(&rig, at, 8)[0] = (uint8_t)take(&in, 1);
			break;
		case 8:
			put_desc(&rig, DESC + 16 * (op >> 4 & 7), RAM + take(&in, 3) % (3 * BANK),
				 (uint32_t)take(&in, 2), (uint16_t)take(&in, 1) & 7,
				 (uint16_t)take(&in, 1) % (NUM + 1));
			break;
		case 9:
			offer(&rig, (uint16_t)take(&in, 1) % (NUM + 1), op & 0x10);
			break;
		case 10:
			wr(&rig, 0x50, op >> 4 & 1);
			break;
		case 11:
			rig.now += take(&in, 1);
			if (rig.rng)
				virtio_rng_tick(rig.rng);
			virtio_device_run(virtio_mmio_vdev(rig.mmio));
			break;
		case 12:
			save_load(&rig, &in, op & 0x80);
			break;
		case 13:
			wr(&rig, 0x64, op >> 4);
			break;
		case 14:
			wr(&rig, 0x70, take(&in, 1));
			break;
		default:
			dev->ops->reset(dev);
			break;
		}
		check_world(&rig);
	}
	check_sane(&rig);
	check_world(&rig);
	dev->ops->destroy(dev);
	if (rig.fd >= 0)
		close(rig.fd);
	memory_destroy(&rig.mem);
	return 0;
}
