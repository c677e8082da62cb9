// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz the persistent memory device: flushes and what is none, in chains of any cut and
 * with buffers in the file itself; a worker that comes late, or never could; a host that
 * fails; resets with a flush under way, save and load. One input in two has a read-only
 * file.
 *
 * Besides what the sanitizers see: each request is answered once, by 0 or -1, in four
 * bytes or none; nothing is flushed that was not asked for; and a device that was reset
 * flushes.
 */
#include "virtio_guest.h"

#include "lkvm/virtio/pmem.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#define PLACE (RAM + MIB)
#define SIZE VIRTIO_PMEM_ALIGN

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct rig {
	struct guest g;
	struct worker_job *job; /* posted, not yet called */
	bool refuse, fail;
	unsigned int flushes, posts;
};

static int on_flush(void *opaque)
{
	struct rig *rig = opaque;

	rig->flushes++;
	return rig->fail ? -EIO : 0;
}

static bool on_post(void *opaque, struct worker_job *job)
{
	struct rig *rig = opaque;

	if (rig->refuse)
		return false;
	need(!rig->job);
	rig->job = job;
	rig->posts++;
	return true;
}

static const struct virtio_pmem_env env = {
	.flush = on_flush,
	.post = on_post,
};

static void work(struct rig *rig)
{
	struct worker_job *job = rig->job;

	rig->job = NULL;
	if (job)
		job->fn(job);
}

static void *worker(void *arg)
{
	work(arg);
	return NULL;
}

/* The worker comes while something waits for it. */
static void meanwhile(struct rig *rig, struct input *in, uint64_t op)
{
	struct guest *g = &rig->g;
	pthread_t thread;

	need(!pthread_create(&thread, NULL, worker, rig));
	if (op & 0x80)
		guest_save_load(g, in, op & 0x40);
	else if (op & 0x40)
		g->dev->ops->reset(g->dev);
	else
		wr(g, op & 0x20 ? 0x44 : 0x70, 0);
	pthread_join(thread, NULL);
	work(rig);
}

static void request(struct rig *rig, struct input *in)
{
	static const gpa_t places[] = {DATA, DATA, PLACE, PLACE + SIZE - 4, RAM_END - 4, PLACE - 4};
	uint64_t how = take(in, 1);
	struct guest *g = &rig->g;
	unsigned int head = g->next[0] % NUM;

	ram(g, DATA, 1)[0] = how & 0xc0 ? 0 : (uint8_t)how;
	guest_desc(g, 0, head, places[how % 6], how & 8 ? (uint32_t)take(in, 1) : 4, NEXT,
		   (uint16_t)(head + 1) % NUM);
	guest_desc(g, 0, head + 1, places[take(in, 1) % 6] + 64,
		   how & 16 ? (uint32_t)take(in, 1) : 4, WRITE, 0);
	g->next[0] = (uint16_t)(g->next[0] + 2);
	/* The file as memory may be none to write to, which breaks the queue. */
	guest_offer(g, 0, (uint16_t)head);
	guest_notify(g, 0);
}

static void step(struct rig *rig, struct input *in)
{
	uint64_t op = take(in, 1);
	struct guest *g = &rig->g;
	uint32_t id, len;

	switch (op & 7) {
	case 0:
		if (rig->job)
			meanwhile(rig, in, 0);
		guest_go(g, op & 0x80 ? take(in, 5) : 0);
		break;
	case 1:
	case 2:
		if (guest_free(g, 0))
			request(rig, in);
		break;
	case 3:
		work(rig);
		break;
	case 4:
		meanwhile(rig, in, op);
		break;
	case 5:
		guest_spoil(g, in);
		break;
	case 6:
		rig->refuse = op & 0x80;
		rig->fail = op & 0x40;
		break;
	default:
		guest_run(g);
		virtio_mmio_ops.write(g->mmio, 0x100 + op % 24, op, 1U << (op >> 6));
		break;
	}
	while (guest_used(g, 0, &id, &len))
		need(g->spoilt || (id < NUM && (len == 0 || len == 4)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtio_pmem_config config = {.start = PLACE, .size = SIZE};
	struct input in = {data, size};
	struct rig rig = {.job = NULL};
	struct virtio_pmem *pmem;
	uint32_t id, len, status;
	int fd = memfd_create("pmem", MFD_CLOEXEC);

	need(fd >= 0 && !ftruncate(fd, SIZE));
	config.read_only = take(&in, 1) & 1;
	guest_memory_init(&rig.g);
	need(memory_add_file(&rig.g.mem, PLACE, SIZE, SIZE, fd, config.read_only, NULL) != NULL);
	pmem = virtio_pmem_create("pmem0", &rig.g.mem, NULL, &config, &env, &rig);
	need(pmem != NULL);
	guest_plug(&rig.g, virtio_pmem_device(pmem), 1);
	guest_go(&rig.g, 0);
	while (in.size)
		step(&rig, &in);
	need(!config.read_only || !(rig.flushes + rig.posts));
	/* Whatever happened, a driver that starts afresh is served. */
	if (rig.job)
		meanwhile(&rig, &in, 0);
	rig.refuse = false;
	rig.fail = false;
	guest_go(&rig.g, 0);
	memset(ram(&rig.g, DATA, 8), 0, 4);
	memset(ram(&rig.g, DATA + 4, 4), 0xee, 4);
	guest_desc(&rig.g, 0, 0, DATA, 4, NEXT, 1);
	guest_desc(&rig.g, 0, 1, DATA + 4, 4, WRITE, 0);
	guest_offer(&rig.g, 0, 0);
	guest_notify(&rig.g, 0);
	work(&rig);
	need(guest_used(&rig.g, 0, &id, &len) && len == 4);
	memcpy(&status, ram(&rig.g, DATA + 4, 4), 4);
	need(!status);
	guest_end(&rig.g);
	close(fd);
	return 0;
}
