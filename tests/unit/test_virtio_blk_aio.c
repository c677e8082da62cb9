// SPDX-License-Identifier: GPL-2.0-only
/*
 * The disk's executor, by the kernel's ring and by threads: many requests at a time
 * against an array, host faults on either way, resets and ends with requests under
 * way, several queues notified from several threads, a host without io_uring, and
 * no thread where none is needed.
 */
#include "prng.h"
#include "unit.h"
#include "virtio_driver.h"

#include "lkvm/virtio/blk.h"
#include "lkvm/virtio/mmio.h"

#include <dlfcn.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NUM 64
#define SLOTS 20
#define AREA 8192 /* of the disk, for each slot */
#define QUEUES 3
#define SIZE (QUEUES * SLOTS * AREA)
#define SECTORS (SIZE / 512)

#define B_FLUSH (UINT64_C(1) << 9)
#define B_MQ (UINT64_C(1) << 12)
#define B_DISCARD (UINT64_C(1) << 13)
#define B_ZEROES (UINT64_C(1) << 14)

#define T_IN 0
#define T_OUT 1
#define T_FLUSH 4
#define T_DISCARD 11
#define T_ZEROES 13

#define OK 0
#define IOERR 1

/* The real back end, with faults: each nth step fails, or the ring gets another descriptor. */
struct flaky {
	struct blk_backend real;
	atomic_uint steps;
	unsigned int every; /* 0: none */
	long answer;
	unsigned int short_by;
	int ring_fd; /* -1: the real one */
	bool never_now;
};

struct rig {
	struct guest_memory mem;
	struct drv drv;
	struct virtio_blk *blk;
	struct virtio_mmio *mmio;
	struct drv_ring rings[QUEUES];
	struct flaky flaky;
	struct blk_aio *aio;
	struct log log;
	int fd, log_fd;
	unsigned int queues;
};

static long on_perform(void *opaque, const struct blk_io *io)
{
	struct flaky *f = opaque;
	struct blk_io less = *io;
	struct iovec one;

	if (f->every && ++f->steps % f->every == 0)
		return f->answer;
	if (f->short_by && io->nr) {
		one = io->iov[0];
		one.iov_len = min_u64(one.iov_len, f->short_by);
		less.iov = &one;
		less.nr = 1;
		less.len = one.iov_len;
	}
	return f->real.ops->perform(f->real.opaque, &less);
}

static long on_now(void *opaque, const struct blk_io *io)
{
	struct flaky *f = opaque;

	return f->never_now ? -EAGAIN : f->real.ops->now(f->real.opaque, io);
}

static int on_ring_fd(void *opaque, const struct blk_io *io)
{
	struct flaky *f = opaque;
	int fd = f->real.ops->ring_fd(f->real.opaque, io);

	return fd < 0 || f->ring_fd < 0 ? fd : f->ring_fd;
}

static void on_close(void *opaque)
{
	struct flaky *f = opaque;

	f->real.ops->close(f->real.opaque);
}

static const struct blk_backend_ops flaky_ops = {
	.perform = on_perform,
	.now = on_now,
	.ring_fd = on_ring_fd,
	.close = on_close,
};

static void run_soon(void *opaque)
{
	(void)opaque;
}

static const struct virtio_mmio_env mmio_env = {
	.run_soon = run_soon,
};

static void start(struct rig *rig, enum blk_aio_mode mode, bool direct, unsigned int queues)
{
	struct virtio_blk_config config = {.queues = queues, .queue_max = NUM};
	char name[] = "/tmp/lkvm-test-aio-XXXXXX", path[32];
	struct blk_file_config file = {.path = path, .direct = direct};
	struct blk_backend backend;
	struct error err;

	memset(rig, 0, sizeof(*rig));
	drv_memory(&rig->mem);
	rig->log_fd = memfd_create("log", 0);
	log_init(&rig->log, rig->log_fd, LOG_LEVEL_INFO);
	rig->fd = mkostemp(name, O_CLOEXEC);
	ck_assert_int_ge(rig->fd, 0);
	unlink(name);
	ck_assert_int_eq(ftruncate(rig->fd, SIZE), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", rig->fd);
	ck_assert_msg(!blk_file_open(&file, true, NULL, &rig->flaky.real, &err), "%s", err.msg);
	rig->flaky.ring_fd = -1;
	backend = rig->flaky.real;
	backend.ops = &flaky_ops;
	backend.opaque = &rig->flaky;
	rig->aio = blk_aio_create(mode, "disk0", &backend, &rig->log, &err);
	ck_assert_msg(rig->aio != NULL, "%s", err.msg);
	rig->blk = virtio_blk_create("disk0", &rig->mem, &rig->log, &config, &backend, &blk_aio_env,
				     rig->aio, &err);
	ck_assert_ptr_nonnull(rig->blk);
	rig->mmio = virtio_mmio_create(virtio_blk_device(rig->blk), drv_line(&rig->drv), &mmio_env,
				       rig);
	rig->drv.dev = rig->mmio;
	rig->queues = queues;
}

static void go(struct rig *rig)
{
	gpa_t at = DRV_RAM + 0x1000;
	unsigned int i;

	ck_assert(drv_start(&rig->drv, B_FLUSH | B_DISCARD | B_ZEROES | FEAT_EVENT_IDX |
					       (rig->queues > 1 ? B_MQ : 0)));
	for (i = 0; i < rig->queues; i++) {
		at = drv_ring_init(&rig->rings[i], &rig->mem, NUM, at);
		ck_assert(drv_queue(&rig->drv, i, &rig->rings[i]));
	}
	drv_go(&rig->drv);
}

static void stop(struct rig *rig)
{
	virtio_mmio_device(rig->mmio)->ops->destroy(virtio_mmio_device(rig->mmio));
	ck_assert_int_eq(lseek(rig->fd, 0, SEEK_END), SIZE);
	close(rig->fd);
	close(rig->log_fd);
	memory_destroy(&rig->mem);
}

static bool logged(struct rig *rig, const char *text)
{
	char buf[4096] = "";

	ck_assert_int_ge(pread(rig->log_fd, buf, sizeof(buf) - 1, 0), 0);
	return strstr(buf, text);
}

/* --- slots: one request each, in memory and in an area of the disk of its own --------- */

struct slot {
	uint32_t type, len;
	uint64_t sector;
	bool busy;
};

/* Header and status; the data lies behind, at an odd address now and then. */
static gpa_t slot_at(unsigned int queue, unsigned int i)
{
	return DRV_RAM + 0x100000 + (queue * SLOTS + i) * UINT64_C(0x4000);
}

static gpa_t data_at(unsigned int queue, unsigned int i)
{
	return slot_at(queue, i) + 0x1000 + (i % 5 == 4 ? 20 : 0);
}

static void put(struct rig *rig, unsigned int queue, unsigned int i, const struct slot *s)
{
	gpa_t at = slot_at(queue, i);
	uint32_t *p = drv_ptr(&rig->mem, at, 64);
	uint64_t sector = htole64(s->sector);
	uint16_t way = s->type == T_IN ? DRV_WRITE : 0, head = (uint16_t)(3 * i);
	struct drv_ring *ring = &rig->rings[queue];

	p[0] = htole32(s->type);
	p[1] = 0;
	memcpy(&p[2], &sector, 8);
	p[8] = 0xff;
	/* Descriptors are the slot's own, as chains do not end in order. */
	drv_desc(ring, head, at, 16, DRV_NEXT, s->len ? head + 1 : head + 2);
	drv_desc(ring, head + 1U, data_at(queue, i), s->len, DRV_NEXT | way, head + 2);
	drv_desc(ring, head + 2U, at + 32, 1, DRV_WRITE, 0);
	drv_offer(ring, head);
}

static uint8_t status(struct rig *rig, unsigned int queue, unsigned int i)
{
	return *(uint8_t *)drv_ptr(&rig->mem, slot_at(queue, i) + 32, 1);
}

/* Wait for one; its slot. */
static unsigned int wait_one(struct rig *rig, unsigned int queue)
{
	uint32_t id, len;
	unsigned int tries = 0;

	while (!drv_get_used(&rig->rings[queue], &id, &len))
		if (tries++ < 20)
			sched_yield();
		else
			usleep(50);
	ck_assert_uint_eq(id % 3, 0);
	return id / 3;
}

static uint8_t single(struct rig *rig, uint32_t type, uint64_t sector, uint32_t len)
{
	put(rig, 0, 0, &(struct slot){.type = type, .len = len, .sector = sector});
	drv_wr(&rig->drv, R_NOTIFY, 0);
	ck_assert_uint_eq(wait_one(rig, 0), 0);
	return status(rig, 0, 0);
}

/* --- against an array ------------------------------------------------------------------- */

struct player {
	struct rig *rig;
	unsigned int queue, rounds;
	uint8_t oracle[SLOTS * AREA];
	struct slot slots[SLOTS];
	struct prng p;
};

static void fill_slot(struct player *pl, unsigned int i)
{
	struct prng *p = &pl->p;
	struct slot *s = &pl->slots[i];
	uint32_t what = prng_below(p, 12), sectors = 1 + prng_below(p, AREA / 512), first, j;
	uint8_t *data = drv_ptr(&pl->rig->mem, data_at(pl->queue, i), AREA);

	first = prng_below(p, AREA / 512 - sectors + 1);
	s->busy = true;
	s->len = sectors * 512;
	s->sector = (pl->queue * SLOTS + i) * (AREA / 512) + first;
	s->type = what < 5 ? T_IN : what < 10 ? T_OUT : what == 10 ? T_FLUSH : T_ZEROES;
	if (s->type == T_OUT)
		for (j = 0; j < s->len; j++)
			data[j] = (uint8_t)prng_u64(p);
	if (s->type == T_OUT)
		memcpy(pl->oracle + i * AREA + first * 512, data, s->len);
	if (s->type == T_FLUSH)
		s->len = 0;
	if (s->type == T_ZEROES) {
		uint64_t at = htole64(s->sector);
		uint32_t n[2] = {htole32(sectors), htole32(prng_below(p, 2))};

		memcpy(data, &at, 8);
		memcpy(data + 8, n, 8);
		memset(pl->oracle + i * AREA + first * 512, 0, s->len);
		s->len = 16;
	}
	put(pl->rig, pl->queue, i, s);
}

static void check_slot(struct player *pl, unsigned int i)
{
	struct slot *s = &pl->slots[i];
	uint64_t at = s->sector * 512 - (uint64_t)pl->queue * SLOTS * AREA;

	ck_assert(s->busy);
	s->busy = false;
	ck_assert_uint_eq(status(pl->rig, pl->queue, i), OK);
	if (s->type == T_IN)
		ck_assert_int_eq(memcmp(pl->oracle + at,
					drv_ptr(&pl->rig->mem, data_at(pl->queue, i), s->len),
					s->len),
				 0);
}

static void *play(void *arg)
{
	struct player *pl = arg;
	unsigned int busy = 0, i;

	while (pl->rounds || busy) {
		for (i = 0; i < SLOTS && pl->rounds; i++) {
			if (pl->slots[i].busy || prng_below(&pl->p, 3) == 0)
				continue;
			fill_slot(pl, i);
			busy++;
			pl->rounds--;
			if (prng_below(&pl->p, 4) == 0)
				drv_wr(&pl->rig->drv, R_NOTIFY, pl->queue);
		}
		drv_wr(&pl->rig->drv, R_NOTIFY, pl->queue);
		if (busy) {
			check_slot(pl, wait_one(pl->rig, pl->queue));
			busy--;
		}
	}
	return NULL;
}

static void play_all(struct rig *rig, unsigned int rounds)
{
	static struct player players[QUEUES];
	pthread_t threads[QUEUES];
	static uint8_t all[SIZE];
	unsigned int q;

	ck_assert_int_eq(pread(rig->fd, all, SIZE, 0), SIZE);
	for (q = 0; q < rig->queues; q++) {
		memset(&players[q], 0, sizeof(players[q]));
		memcpy(players[q].oracle, all + (size_t)q * SLOTS * AREA, SLOTS * AREA);
		players[q].rig = rig;
		players[q].queue = q;
		players[q].rounds = rounds;
		players[q].p = prng_start("player");
		players[q].p.state += q;
		ck_assert_int_eq(pthread_create(&threads[q], NULL, play, &players[q]), 0);
	}
	for (q = 0; q < rig->queues; q++)
		pthread_join(threads[q], NULL);
	ck_assert_int_eq(pread(rig->fd, all, SIZE, 0), SIZE);
	for (q = 0; q < rig->queues; q++)
		ck_assert_int_eq(
			memcmp(all + (size_t)q * SLOTS * AREA, players[q].oracle, SLOTS * AREA), 0);
}

/* Ring or threads; direct or not; whether the cache may answer at once. */
START_TEST(against_an_array)
{
	struct rig rig;

	start(&rig, _i & 1 ? BLK_AIO_THREADS : BLK_AIO_AUTO, _i & 2, _i & 4 ? QUEUES : 1);
	ck_assert_int_eq(blk_aio_has_ring(rig.aio), !(_i & 1));
	rig.flaky.never_now = _i & 8;
	go(&rig);
	play_all(&rig, 600);
	stop(&rig);
}
END_TEST

START_TEST(short_counts_and_eintr)
{
	struct rig rig;

	start(&rig, BLK_AIO_THREADS, false, 1);
	rig.flaky.never_now = true;
	rig.flaky.short_by = 700;
	rig.flaky.every = 3;
	rig.flaky.answer = -EINTR;
	go(&rig);
	play_all(&rig, 300);
	stop(&rig);
}
END_TEST

/* --- faults ------------------------------------------------------------------------------- */

START_TEST(worker_faults)
{
	static const int errors[] = {EIO, ENOSPC, EDQUOT, EAGAIN};
	struct rig rig;
	size_t i;

	start(&rig, BLK_AIO_THREADS, true, 1);
	go(&rig);
	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		rig.flaky.steps = 0;
		rig.flaky.every = 3;
		rig.flaky.answer = -errors[i];
		ck_assert_uint_eq(single(&rig, T_OUT, 0, 512), OK);
		ck_assert_uint_eq(single(&rig, T_FLUSH, 0, 0), OK);
		ck_assert_uint_eq(single(&rig, T_OUT, 0, 512), IOERR);
		ck_assert(logged(&rig, strerror(errors[i])));
		ck_assert_uint_eq(single(&rig, T_IN, 0, 512), OK);
	}
	stop(&rig);
}
END_TEST

START_TEST(ring_faults)
{
	struct rig rig;

	start(&rig, BLK_AIO_URING, true, 1);
	go(&rig);
	ck_assert_uint_eq(single(&rig, T_OUT, 0, 4096), OK);
	rig.flaky.ring_fd = open("/dev/full", O_RDWR | O_CLOEXEC);
	ck_assert_uint_eq(single(&rig, T_OUT, 0, 4096), IOERR);
	ck_assert(logged(&rig, "disk0: writing at byte 0 failed: No space left"));
	close(rig.flaky.ring_fd);
	rig.flaky.ring_fd = 9999;
	ck_assert_uint_eq(single(&rig, T_IN, 8, 4096), IOERR);
	ck_assert(logged(&rig, "disk0: reading at byte 4096 failed: Bad file"));
	rig.flaky.ring_fd = -1;
	/* E9: cut short under us. */
	ck_assert_int_eq(ftruncate(rig.fd, 2048), 0);
	ck_assert_uint_eq(single(&rig, T_IN, 0, 4096), IOERR);
	ck_assert_uint_eq(single(&rig, T_IN, 8, 4096), IOERR);
	ck_assert_int_eq(ftruncate(rig.fd, SIZE), 0);
	ck_assert_uint_eq(single(&rig, T_IN, 8, 4096), OK);
	stop(&rig);
}
END_TEST

/* A kernel that has no memory for requests just now takes none of them. */
static atomic_bool no_memory;

int io_uring_submit(struct io_uring *ring)
{
	union {
		void *sym;
		int (*fn)(struct io_uring *ring);
	} real = {dlsym(RTLD_NEXT, "io_uring_submit")};

	return no_memory ? -EAGAIN : real.fn(ring);
}

int io_uring_submit_and_wait(struct io_uring *ring, unsigned int nr)
{
	union {
		void *sym;
		int (*fn)(struct io_uring *ring, unsigned int nr);
	} real = {dlsym(RTLD_NEXT, "io_uring_submit_and_wait")};

	return no_memory ? -EAGAIN : real.fn(ring, nr);
}

#define PARTS 16

/* A read in PARTS buffers, the last of which holds the status too: iovecs are the ring's. */
static void put_parts(struct rig *rig, unsigned int i)
{
	gpa_t at = slot_at(0, i), table = at + 0x100;
	uint64_t sector = htole64((uint64_t)i * AREA / 512);
	uint32_t *p = drv_ptr(&rig->mem, at, 32);
	unsigned int k;

	memset(p, 0, 32);
	memcpy(&p[2], &sector, 8);
	memset(drv_ptr(&rig->mem, at + 0x1000, AREA + 1), 0xff, AREA + 1);
	drv_desc_at(&rig->mem, table, 0, at, 16, DRV_NEXT, 1);
	for (k = 0; k < PARTS; k++)
		drv_desc_at(&rig->mem, table, k + 1, at + 0x1000 + k * (AREA / PARTS),
			    AREA / PARTS + (k == PARTS - 1),
			    k == PARTS - 1 ? DRV_WRITE : DRV_WRITE | DRV_NEXT, (uint16_t)(k + 2));
	drv_desc(&rig->rings[0], 3 * i, table, 16 * (PARTS + 1), DRV_INDIRECT, 0);
	drv_offer(&rig->rings[0], (uint16_t)(3 * i));
	drv_wr(&rig->drv, R_NOTIFY, 0);
}

/* What waits to be submitted keeps its iovecs, however many come after it. */
START_TEST(nothing_submitted)
{
	static uint8_t all[SLOTS * AREA];
	struct rig rig;
	unsigned int i;

	start(&rig, BLK_AIO_URING, false, 1);
	rig.flaky.never_now = true;
	for (i = 0; i < SLOTS; i++)
		memset(all + (size_t)i * AREA, (int)i + 1, AREA);
	ck_assert_int_eq(pwrite(rig.fd, all, sizeof(all), 0), sizeof(all));
	ck_assert(drv_start(&rig.drv, FEAT_INDIRECT));
	drv_ring_init(&rig.rings[0], &rig.mem, NUM, DRV_RAM + 0x1000);
	ck_assert(drv_queue(&rig.drv, 0, &rig.rings[0]));
	drv_go(&rig.drv);
	/* The thread is there, and has its eventfd in the ring. */
	put_parts(&rig, 0);
	wait_one(&rig, 0);
	no_memory = true;
	for (i = 0; i < SLOTS; i++) {
		put_parts(&rig, i);
		usleep(3000);
	}
	no_memory = false;
	while (drv_used_idx(&rig.rings[0]) < 1 + SLOTS)
		usleep(1000);
	for (i = 0; i < SLOTS; i++) {
		const uint8_t *data = drv_ptr(&rig.mem, slot_at(0, i) + 0x1000, AREA + 1);

		ck_assert_msg(!memcmp(data, all + (size_t)i * AREA, AREA), "slot %u", i);
		ck_assert_uint_eq(data[AREA], OK);
	}
	stop(&rig);
}
END_TEST

/* --- resets, quiesce, end ------------------------------------------------------------------ */

static void fill_queue(struct rig *rig, struct prng *p)
{
	unsigned int i;

	for (i = 0; i < SLOTS; i++) {
		struct slot s = {.type = prng_below(p, 2) ? T_IN : T_OUT,
				 .len = 512 * (1 + prng_below(p, 16)),
				 .sector = i * (AREA / 512)};

		if (prng_below(p, 5) == 0) {
			s.type = T_FLUSH;
			s.len = 0;
		}
		put(rig, 0, i, &s);
	}
	drv_wr(&rig->drv, R_NOTIFY, 0);
}

/* C5 */
START_TEST(resets)
{
	struct prng p = prng_start("resets");
	struct virtio_device *vdev;
	struct rig rig;
	unsigned int round;

	start(&rig, _i & 1 ? BLK_AIO_THREADS : BLK_AIO_AUTO, _i & 2, 1);
	rig.flaky.never_now = true;
	vdev = virtio_blk_device(rig.blk);
	for (round = 0; round < 200; round++) {
		go(&rig);
		fill_queue(&rig, &p);
		if (round % 4 == 0) {
			virtio_device_quiesce(vdev);
			ck_assert_uint_eq(virtio_queue(vdev, 0)->inflight, 0);
			/* All came back: there is nothing to cancel about a disk. */
			ck_assert_uint_eq(drv_used_idx(&rig.rings[0]), SLOTS);
			virtio_device_resume(vdev);
		}
		if (round % 3 == 0)
			wait_one(&rig, 0);
		drv_wr(&rig.drv, R_STATUS, 0);
		ck_assert_uint_eq(virtio_queue(vdev, 0)->inflight, 0);
	}
	/* And the end in the middle of it. */
	go(&rig);
	fill_queue(&rig, &p);
	stop(&rig);
}
END_TEST

/* --- threads --------------------------------------------------------------------------------- */

static unsigned int threads_at_start;

START_TEST(no_thread_for_nothing)
{
	unsigned int before = threads_at_start;
	struct rig rig;

	unit_settle(before);
	start(&rig, BLK_AIO_AUTO, false, 1);
	go(&rig);
	ck_assert_uint_eq(single(&rig, T_OUT, 0, 4096), OK);
	ck_assert_uint_eq(single(&rig, T_IN, 0, 4096), OK);
	ck_assert_uint_eq(unit_threads(), before);
	ck_assert_uint_eq(single(&rig, T_FLUSH, 0, 0), OK);
	unit_settle(before);
	stop(&rig);
	unit_settle(before);
	start(&rig, BLK_AIO_AUTO, true, 1);
	go(&rig);
	ck_assert_uint_eq(unit_threads(), before);
	ck_assert_uint_eq(single(&rig, T_IN, 0, 4096), OK);
	ck_assert_uint_eq(unit_threads(), before + 1);
	stop(&rig);
	unit_settle(before);
}
END_TEST

/* This process, from here on, on a kernel without io_uring. */
static void forbid_rings(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {ARRAY_SIZE(code), code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, 2, &prog))
		_exit(77);
}

static void without_ring(void)
{
	struct error err = {""};
	struct rig rig;

	forbid_rings();
	start(&rig, BLK_AIO_AUTO, true, 1);
	ck_assert(!blk_aio_has_ring(rig.aio));
	ck_assert(logged(&rig, "disk0: no io_uring (Operation not permitted)"));
	go(&rig);
	ck_assert_uint_eq(single(&rig, T_OUT, 0, 4096), OK);
	ck_assert_uint_eq(single(&rig, T_IN, 0, 4096), OK);
	ck_assert_ptr_null(blk_aio_create(BLK_AIO_URING, "disk1", &rig.flaky.real, NULL, &err));
	ck_assert_ptr_nonnull(strstr(err.msg, "'aio=uring'"));
	stop(&rig);
}

START_TEST(no_io_uring)
{
	pid_t pid = fork();
	int status_of;

	ck_assert_int_ge(pid, 0);
	if (!pid) {
		without_ring();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status_of, 0), pid);
	ck_assert(WIFEXITED(status_of));
	ck_assert(WEXITSTATUS(status_of) == 0 || WEXITSTATUS(status_of) == 77);
}
END_TEST

static void *nothing(void *arg)
{
	return arg;
}

int main(void)
{
	Suite *s = suite_create("virtio-blk-aio");
	TCase *t = tcase_create("aio");
	pthread_t thread;

	/* A sanitizer has a thread too, from our first one on. */
	pthread_create(&thread, NULL, nothing, NULL);
	pthread_join(thread, NULL);
	usleep(100000);
	threads_at_start = unit_threads();
	tcase_add_loop_test(t, against_an_array, 0, 16);
	tcase_add_test(t, short_counts_and_eintr);
	tcase_add_test(t, worker_faults);
	tcase_add_test(t, ring_faults);
	tcase_add_test(t, nothing_submitted);
	tcase_add_loop_test(t, resets, 0, 4);
	tcase_add_test(t, no_thread_for_nothing);
	tcase_add_test(t, no_io_uring);
	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	return unit_main(s);
}
