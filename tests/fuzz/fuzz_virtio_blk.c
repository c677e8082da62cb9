// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz the block device: requests of every type and of none, at places inside, across and
 * beyond the disk's end, in chains of any cut; a driver that negotiates what it likes and
 * switches the cache mode; a back end that fails, does less than it was asked and would
 * often wait; an executor that comes late or refuses; a disk that gets another size; resets,
 * save and load with work under way.
 *
 * Besides what the sanitizers see: the back end is never asked for a byte beyond the disk,
 * nor to write to a read-only one, each request is answered once with a status that exists,
 * and after all of it a read gives what the disk has.
 */
#include "virtio_guest.h"

#include "lkvm/virtio/blk.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#define QUEUES 2
#define DISK (32 * KIB)
#define DISK_MAX (64 * KIB)
#define HEADER DATA
#define STATUS (DATA + 0x40)
#define BYTES (DATA + 0x100)
#define READ_ONLY 1
#define NO_EXECUTOR 2

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/**
 * struct rig
 * @odd: the byte at STATUS may be data, as a chain was cut otherwise
 * @tasks: submitted, not yet carried out
 * @moods: what the back end does next, a byte each call, over and over
 */
struct rig {
	struct guest g;
	struct virtio_blk *blk;
	uint8_t disk[DISK_MAX];
	uint64_t size;
	bool read_only, refuse, odd;
	struct blk_task *tasks;
	uint8_t moods[4];
	atomic_uint calls;
};

/* 0: as it should be; negative: an error, EINTR at most every second time; else: at most so many
 * bytes */
static long mood(struct rig *rig)
{
	unsigned int n = rig->calls++;
	uint8_t m = rig->moods[n % sizeof(rig->moods)];

	if (m < 0xc0)
		return 0;
	if (m < 0xe0)
		return m & 1 ? -EIO : -ENOSPC;
	if (m < 0xf0)
		return n & 1 ? -EINTR : 0;
	return 512 * (m & 7);
}

static long transfer(struct rig *rig, const struct blk_io *io, uint64_t max)
{
	uint64_t done = 0;
	unsigned int i;

	for (i = 0; i < io->nr && done < max; i++) {
		uint8_t *at = rig->disk + io->offset + done;
		size_t n = min_u64(io->iov[i].iov_len, max - done);

		need(done + io->iov[i].iov_len <= io->len);
		if (io->type == BLK_READ)
			memcpy(io->iov[i].iov_base, at, n);
		else
			memcpy(at, io->iov[i].iov_base, n);
		done += n;
	}
	return (long)done;
}

static long on_perform(void *opaque, const struct blk_io *io)
{
	struct rig *rig = opaque;
	long m = mood(rig);

	need(io->offset <= rig->size && io->len <= rig->size - io->offset);
	need(!rig->read_only || io->type == BLK_READ || io->type == BLK_SYNC);
	if (m < 0)
		return m;
	if (io->type == BLK_ZERO)
		memset(rig->disk + io->offset, 0, io->len);
	if (io->type != BLK_READ && io->type != BLK_WRITE)
		return 0;
	return transfer(rig, io, m ? min_u64(io->len, (uint64_t)m) : io->len);
}

static long on_now(void *opaque, const struct blk_io *io)
{
	struct rig *rig = opaque;

	return rig->moods[0] & 1 ? -EAGAIN : on_perform(opaque, io);
}

static int64_t on_size(void *opaque)
{
	return (int64_t)((struct rig *)opaque)->size;
}

/* Also by somebody else: then the disk looks. */
static int on_set_size(void *opaque, uint64_t size)
{
	struct rig *rig = opaque;

	if (size > DISK_MAX)
		return -EFBIG;
	rig->size = size;
	return 0;
}

static const struct blk_backend_ops backend_ops = {
	.perform = on_perform,
	.now = on_now,
	.size = on_size,
	.set_size = on_set_size,
};

static bool on_submit(void *opaque, struct blk_task *task)
{
	struct rig *rig = opaque;

	if (rig->refuse)
		return false;
	task->next = rig->tasks;
	rig->tasks = task;
	return true;
}

static const struct virtio_blk_env env = {.submit = on_submit};

/* The executor's turn: all that was submitted is given back together. */
static void work(struct rig *rig)
{
	struct blk_task *tasks = rig->tasks, *task;

	rig->tasks = NULL;
	for (task = tasks; task; task = task->next)
		virtio_blk_perform(task);
	virtio_blk_finish(tasks);
}

static void *worker(void *arg)
{
	work(arg);
	return NULL;
}

static void resize(struct rig *rig, struct input *in)
{
	struct error err;

	virtio_blk_set_size(rig->blk, take(in, 2) % 160 * 512 + take(in, 1) % 2, &err);
}

/* The executor comes while something waits for it. */
static void meanwhile(struct rig *rig, struct input *in, uint64_t what)
{
	struct guest *g = &rig->g;
	pthread_t thread;
	bool started = rig->tasks && !pthread_create(&thread, NULL, worker, rig);

	need(started || !rig->tasks);
	switch (what & 3) {
	case 0:
		guest_save_load(g, in, what & 4);
		break;
	case 1:
		resize(rig, in);
		break;
	case 2:
		wr(g, 0x30, what >> 2 & 1);
		wr(g, 0x44, 0);
		break;
	default:
		wr(g, 0x70, 0);
		break;
	}
	if (started)
		pthread_join(thread, NULL);
}

/* Header, data, status; any of them may be missing, or somewhere else. */
static void request(struct rig *rig, struct input *in, unsigned int q)
{
	static const uint32_t types[] = {0, 1, 4, 8, 11, 13, 2, 14};
	static const uint32_t lengths[] = {512, 1024, 4096, 0, 16, 20, 511, 32};
	uint64_t how = take(in, 1), sector = take(in, 1), shape = take(in, 1);
	uint32_t type = types[how & 7], len = lengths[shape & 7] * (1 + (how >> 6));
	struct guest *g = &rig->g;
	unsigned int d = g->next[q];
	uint16_t head = d % NUM;
	bool in_data = type == 0 || type == 8;
	uint8_t *range;

	if (how & 8)
		sector = UINT64_MAX - sector;
	else if (how & 16)
		sector = rig->size / 512 - sector % 4;
	memcpy(ram(g, HEADER, 4), &type, 4);
	memcpy(ram(g, HEADER + 8, 8), &sector, 8);
	if (type == 11 || type == 13) {
		uint64_t word = take(in, 1) | take(in, 1) << 32;

		range = ram(g, BYTES, 16);
		memcpy(range, &sector, 8);
		memcpy(range + 8, &word, 8);
	}
	guest_desc(g, q, d, HEADER, shape & 8 ? (uint32_t)take(in, 1) : 16, NEXT, (head + 1) % NUM);
	d++;
	if (!(shape & 16)) {
		bool write = in_data != !!(shape & 32);

		guest_desc(g, q, d, shape & 64 ? RAM_END - len : BYTES, len,
			   NEXT | (write ? WRITE : 0), (d + 1) % NUM);
		d++;
	}
	guest_desc(g, q, d, STATUS, shape & 128 ? (uint32_t)take(in, 1) % 4 : 1, WRITE, 0);
	g->next[q] = (uint16_t)(d + 1);
	rig->odd |= shape & (16 | 128);
	ram(g, STATUS, 1)[0] = 0;
	guest_offer(g, q, head);
	guest_notify(g, q);
}

static void step(struct rig *rig, struct input *in)
{
	uint64_t op = take(in, 1);
	unsigned int q = op >> 7, i;
	struct guest *g = &rig->g;
	struct error err;
	uint32_t id, len;

	switch (op & 15) {
	case 0:
		meanwhile(rig, in, 3);
		rig->odd = false;
		ram(g, STATUS, 1)[0] = 0;
		guest_go(g, op & 0x40 ? take(in, 5) : 0x30006a00 | (op & 0x30) << 5);
		break;
	case 1:
	case 2:
	case 3:
	case 4:
		if (guest_free(g, q))
			request(rig, in, q);
		break;
	case 5:
		work(rig);
		break;
	case 6:
	case 7:
		meanwhile(rig, in, op >> 4);
		break;
	case 8:
		guest_spoil(g, in);
		break;
	case 9:
		for (i = 0; i < sizeof(rig->moods); i++)
			rig->moods[i] = (uint8_t)take(in, 1);
		break;
	case 10:
		rig->refuse = op & 0x80;
		break;
	case 11: /* the configuration: the cache mode, and what is not to be written */
		virtio_mmio_ops.write(g->mmio, 0x100 + (op & 0x80 ? 32 : take(in, 1) % 64),
				      take(in, 1), 1U << (op >> 4 & 3));
		break;
	case 12:
		work(rig);
		if (!rig->read_only)
			rig->size = (1 + take(in, 1) % 64) * 512;
		virtio_blk_look(rig->blk, &err);
		break;
	default:
		guest_run(g);
		break;
	}
	for (i = 0; i < QUEUES; i++)
		while (guest_used(g, i, &id, &len))
			need(g->spoilt || id < NUM);
	need(g->spoilt || rig->odd || ram(g, STATUS, 1)[0] <= 2);
}

/* Whatever happened, a driver that starts afresh reads what is there. */
static void sane(struct rig *rig)
{
	struct guest *g = &rig->g;
	uint32_t id, len;

	memset(rig->moods, 0, sizeof(rig->moods));
	guest_go(g, 0);
	memset(ram(g, HEADER, 16), 0, 16);
	ram(g, STATUS, 1)[0] = 0xee;
	guest_desc(g, 1, 0, HEADER, 16, NEXT, 1);
	guest_desc(g, 1, 1, BYTES, 512, NEXT | WRITE, 2);
	guest_desc(g, 1, 2, STATUS, 1, WRITE, 0);
	guest_offer(g, 1, 0);
	guest_notify(g, 1);
	work(rig);
	need(guest_used(g, 1, &id, &len) && len == 513 && !ram(g, STATUS, 1)[0]);
	need(!memcmp(ram(g, BYTES, 512), rig->disk, 512));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct virtio_blk_config config = {
		.serial = "fuzz", .queues = QUEUES, .queue_max = 16};
	struct blk_backend backend = {.ops = &backend_ops, .size = DISK};
	struct input in = {data, size};
	struct rig rig = {.size = DISK};
	uint64_t kind = take(&in, 1);
	struct error err;
	size_t i;

	rig.read_only = kind & READ_ONLY;
	backend.opaque = &rig;
	backend.read_only = rig.read_only;
	backend.discards = !rig.read_only;
	backend.zeroes = !rig.read_only;
	for (i = 0; i < DISK_MAX; i++)
		rig.disk[i] = (uint8_t)(i / 512 + i);
	guest_memory_init(&rig.g);
	rig.blk = virtio_blk_create("disk0", &rig.g.mem, NULL, &config, &backend,
				    kind & NO_EXECUTOR ? NULL : &env, &rig, &err);
	need(rig.blk != NULL);
	guest_plug(&rig.g, virtio_blk_device(rig.blk), QUEUES);
	guest_go(&rig.g, 0x30006a00);
	while (in.size)
		step(&rig, &in);
	meanwhile(&rig, &in, 3);
	sane(&rig);
	guest_end(&rig.g);
	return 0;
}
