// SPDX-License-Identifier: GPL-2.0-only
/*
 * The block device: each request type and what can be wrong with it, framing of all
 * kinds, host faults armed at the nth call, the cache modes, completion from a
 * worker thread, and random requests against an oracle that is a plain array.
 */
#include "prng.h"
#include "unit.h"
#include "virtio_driver.h"

#include "lkvm/virtio/blk.h"
#include "lkvm/virtio/mmio.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define NUM 64
#define SECTORS 256
#define SIZE (SECTORS * 512)
#define HEADER (DRV_RAM + 0x100000)
#define STATUS (HEADER + 0x100)
#define DATA (DRV_RAM + 0x200000)

#define B_RO (UINT64_C(1) << 5)
#define B_FLUSH (UINT64_C(1) << 9)
#define B_WCE (UINT64_C(1) << 11)
#define B_MQ (UINT64_C(1) << 12)
#define B_DISCARD (UINT64_C(1) << 13)
#define B_ZEROES (UINT64_C(1) << 14)

#define T_IN 0
#define T_OUT 1
#define T_SCSI 2
#define T_FLUSH 4
#define T_GET_ID 8
#define T_GET_LIFETIME 10
#define T_DISCARD 11
#define T_ZEROES 13
#define T_SECURE_ERASE 14

#define OK 0
#define IOERR 1
#define UNSUPP 2

/* A back end that counts, and fails when told. */
struct flaky {
	struct blk_backend real;
	atomic_uint reads, writes, syncs, discards, zeroes, closes, now;
	unsigned int fail_at;  /* the nth call from now of any kind, 0: none */
	long answer;	       /* what it then says: -errno or a short count */
	unsigned int short_by; /* cut every read and write to so many bytes */
};

struct rig {
	struct guest_memory mem;
	struct drv drv;
	struct virtio_blk *blk;
	struct virtio_mmio *mmio;
	struct drv_ring ring;
	struct flaky flaky;
	int fd;
	struct log log;
	int log_fd;
};

static bool armed(struct flaky *f)
{
	return f->fail_at && !--f->fail_at;
}

static unsigned int cut(struct flaky *f, struct iovec *to, const struct iovec *iov, unsigned int nr)
{
	size_t left = f->short_by;
	unsigned int i;

	for (i = 0; i < nr && left; i++) {
		to[i] = iov[i];
		to[i].iov_len = min_u64(left, iov[i].iov_len);
		left -= to[i].iov_len;
	}
	return i;
}

static long on_perform(void *opaque, const struct blk_io *io)
{
	struct flaky *f = opaque;
	struct iovec part[BLK_BATCH];
	struct blk_io less = *io;

	f->reads += io->type == BLK_READ;
	f->writes += io->type == BLK_WRITE;
	f->syncs += io->type == BLK_SYNC;
	f->discards += io->type == BLK_DISCARD;
	f->zeroes += io->type == BLK_ZERO;
	if (armed(f))
		return f->answer;
	if (f->short_by && io->nr) {
		less.iov = part;
		less.nr = cut(f, part, io->iov, io->nr);
		less.len = min_u64(io->len, f->short_by);
	}
	return f->real.ops->perform(f->real.opaque, &less);
}

/* Every second time it would wait. */
static long on_now(void *opaque, const struct blk_io *io)
{
	struct flaky *f = opaque;

	return f->now++ % 2 ? -EAGAIN : on_perform(opaque, io);
}

static int64_t on_size(void *opaque)
{
	struct flaky *f = opaque;

	return armed(f) ? f->answer : f->real.ops->size(f->real.opaque);
}

static int on_set_size(void *opaque, uint64_t size)
{
	struct flaky *f = opaque;

	return armed(f) ? (int)f->answer : f->real.ops->set_size(f->real.opaque, size);
}

static void on_close(void *opaque)
{
	struct flaky *f = opaque;

	f->closes++;
	f->real.ops->close(f->real.opaque);
}

static const struct blk_backend_ops flaky_ops = {
	.perform = on_perform,
	.now = on_now,
	.size = on_size,
	.set_size = on_set_size,
	.close = on_close,
};

static void run_soon(void *opaque)
{
	(void)opaque;
}

static const struct virtio_mmio_env mmio_env = {
	.run_soon = run_soon,
};

static const struct virtio_blk_config plain = {
	.serial = "a serial of 20 bytes",
	.queues = 1,
	.queue_max = NUM,
};

static void go(struct rig *rig, uint64_t features)
{
	ck_assert(drv_start(&rig->drv, features));
	/* Not before: until the reset the rings are the device's too. */
	drv_ring_init(&rig->ring, &rig->mem, NUM, DRV_RAM + 0x1000);
	ck_assert(drv_queue(&rig->drv, 0, &rig->ring));
	drv_go(&rig->drv);
}

/* A file on a real file system, with its sectors numbered. */
static int image(void)
{
	char name[] = "/tmp/lkvm-test-blk-XXXXXX";
	int fd = mkostemp(name, O_CLOEXEC);
	uint32_t words[SIZE / 4], i;

	ck_assert_int_ge(fd, 0);
	unlink(name);
	for (i = 0; i < SIZE / 4; i++)
		words[i] = htole32(i);
	ck_assert_int_eq(pwrite(fd, words, SIZE, 0), SIZE);
	return fd;
}

static void start_with(struct rig *rig, const struct virtio_blk_config *config, bool ro,
		       const struct virtio_blk_env *env, void *opaque)
{
	struct blk_backend backend;
	struct blk_file_config file = {.read_only = ro};
	struct error err;
	char path[32];

	memset(rig, 0, sizeof(*rig));
	drv_memory(&rig->mem);
	rig->log_fd = memfd_create("log", 0);
	log_init(&rig->log, rig->log_fd, LOG_LEVEL_WARNING);
	rig->fd = image();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", rig->fd);
	file.path = path;
	ck_assert_msg(!blk_file_open(&file, true, NULL, &rig->flaky.real, &err), "%s", err.msg);
	backend = rig->flaky.real;
	backend.ops = &flaky_ops;
	backend.opaque = &rig->flaky;
	rig->blk = virtio_blk_create("disk0", &rig->mem, &rig->log, config, &backend, env, opaque,
				     &err);
	ck_assert_msg(rig->blk != NULL, "%s", err.msg);
	rig->mmio = virtio_mmio_create(virtio_blk_device(rig->blk), drv_line(&rig->drv), &mmio_env,
				       rig);
	rig->drv.dev = rig->mmio;
}

static void start(struct rig *rig, uint64_t features)
{
	start_with(rig, &plain, false, NULL, NULL);
	go(rig, features);
}

static void stop(struct rig *rig)
{
	struct stat st;

	virtio_mmio_device(rig->mmio)->ops->destroy(virtio_mmio_device(rig->mmio));
	ck_assert_uint_eq(rig->flaky.closes, 1);
	ck_assert_int_eq(fstat(rig->fd, &st), 0);
	ck_assert_int_eq(st.st_size, SIZE);
	close(rig->fd);
	close(rig->log_fd);
	memory_destroy(&rig->mem);
}

static void put_header(struct rig *rig, uint32_t type, uint64_t sector)
{
	uint8_t *p = drv_ptr(&rig->mem, HEADER, 16);

	type = htole32(type);
	sector = htole64(sector);
	memcpy(p, &type, 4);
	memset(p + 4, 0xee, 4);
	memcpy(p + 8, &sector, 8);
	*(uint8_t *)drv_ptr(&rig->mem, STATUS, 1) = 0xff;
}

static uint8_t status_of(struct rig *rig)
{
	return *(uint8_t *)drv_ptr(&rig->mem, STATUS, 1);
}

/* Send a chain and wait for it. */
static uint32_t send(struct rig *rig, const struct drv_seg *segs, unsigned int nr)
{
	uint32_t id, len;
	uint16_t head;

	drv_set_used_event(&rig->ring, rig->ring.last_used);
	head = drv_add(&rig->ring, segs, nr);
	drv_wr(&rig->drv, R_NOTIFY, 0);
	ck_assert(drv_get_used(&rig->ring, &id, &len));
	ck_assert_uint_eq(id, head);
	ck_assert_uint_eq(drv_rd(&rig->drv, R_STATUS), 15);
	ck_assert(rig->drv.level);
	drv_ack(&rig->drv);
	return len;
}

/* A request in the usual three buffers; its status, and (not NULL) the used length. */
static uint8_t request(struct rig *rig, uint32_t type, uint64_t sector, uint32_t len,
		       uint32_t *used)
{
	bool in = type == T_IN || type == T_GET_ID || type == T_GET_LIFETIME;
	struct drv_seg segs[3] = {{HEADER, 16, 0}, {DATA, len, in ? DRV_WRITE : 0}};
	unsigned int nr = len ? 3 : 2;
	uint32_t n;

	segs[nr - 1] = (struct drv_seg){STATUS, 1, DRV_WRITE};
	put_header(rig, type, sector);
	n = send(rig, segs, nr);
	if (used)
		*used = n;
	return status_of(rig);
}

static void sane_request(struct rig *rig)
{
	uint32_t used, word;

	go(rig, B_FLUSH);
	ck_assert_uint_eq(request(rig, T_IN, 3, 512, &used), OK);
	ck_assert_uint_eq(used, 513);
	ck_assert_int_eq(pread(rig->fd, &word, 4, 3 * 512), 4);
	ck_assert_int_eq(memcmp(drv_ptr(&rig->mem, DATA, 4), &word, 4), 0);
}

/* --- configuration ----------------------------------------------------------------- */

static uint64_t cfg(struct rig *rig, unsigned int offset, unsigned int size)
{
	return virtio_mmio_ops.read(rig->mmio, R_CONFIG + offset, size);
}

START_TEST(configuration)
{
	struct virtio_blk_config mq = {.queues = 4, .queue_max = 128};
	struct rig rig;

	start_with(&rig, &plain, false, NULL, NULL);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_DEVICE_ID), 2);
	ck_assert_uint_eq(drv_features(&rig.drv) & 0xffffff,
			  1 << 2 | 1 << 6 | B_FLUSH | B_WCE | B_DISCARD | B_ZEROES);
	ck_assert_uint_eq(cfg(&rig, 0, 8), SECTORS);
	ck_assert_uint_eq(cfg(&rig, 12, 4), NUM - 2);
	ck_assert_uint_eq(cfg(&rig, 20, 4), 512);
	ck_assert_uint_eq(cfg(&rig, 33, 1), 0);
	ck_assert_uint_eq(cfg(&rig, 34, 2), 1);
	ck_assert_uint_gt(cfg(&rig, 36, 4), 0);
	ck_assert_uint_gt(cfg(&rig, 40, 4), 0);
	ck_assert_uint_gt(cfg(&rig, 48, 4), 0);
	ck_assert_uint_gt(cfg(&rig, 52, 4), 0);
	ck_assert_uint_eq(cfg(&rig, 56, 1), 1);
	ck_assert_uint_eq(cfg(&rig, 57, 1) | cfg(&rig, 58, 2) | cfg(&rig, 60, 4), 0);
	/* A10: the capacity is not the guest's to set. */
	go(&rig, 0);
	virtio_mmio_ops.write(rig.mmio, R_CONFIG, 1, 8);
	ck_assert_uint_eq(cfg(&rig, 0, 8), SECTORS);
	stop(&rig);
	start_with(&rig, &mq, true, NULL, NULL);
	ck_assert_uint_eq(drv_features(&rig.drv) & 0xffffff,
			  1 << 2 | 1 << 6 | B_FLUSH | B_WCE | B_MQ | B_RO);
	ck_assert_uint_eq(cfg(&rig, 34, 2), 4);
	ck_assert_uint_eq(cfg(&rig, 36, 8), 0);
	ck_assert_uint_eq(cfg(&rig, 48, 8), 0);
	ck_assert_uint_eq(cfg(&rig, 56, 4), 0);
	stop(&rig);
}
END_TEST

START_TEST(refused_configurations)
{
	static const struct virtio_blk_config bad[] = {
		{.serial = "this serial has twenty-seven", .queues = 1, .queue_max = 64},
		{.queues = 0, .queue_max = 64},
		{.queues = 17, .queue_max = 64},
		{.queues = 1, .queue_max = 2},
		{.queues = 1, .queue_max = 65},
		{.queues = 1, .queue_max = 2048},
	};
	struct guest_memory mem;
	struct blk_backend backend = {.ops = &flaky_ops, .size = SIZE};
	struct error err;
	size_t i;

	drv_memory(&mem);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		err.msg[0] = '\0';
		ck_assert_ptr_null(virtio_blk_create("disk0", &mem, NULL, &bad[i], &backend, NULL,
						     NULL, &err));
		ck_assert(err.msg[0]);
	}
	memory_destroy(&mem);
}
END_TEST

/* --- requests ------------------------------------------------------------------------- */

START_TEST(read_write)
{
	struct rig rig;
	uint32_t used;
	uint8_t *data, back[1024];

	start(&rig, B_FLUSH);
	data = drv_ptr(&rig.mem, DATA, SIZE);
	ck_assert_uint_eq(request(&rig, T_IN, 0, SIZE, &used), OK);
	ck_assert_uint_eq(used, SIZE + 1);
	ck_assert_int_eq(memcmp(data + 4, "\1\0\0\0", 4), 0);
	memset(data, 0x77, 1024);
	ck_assert_uint_eq(request(&rig, T_OUT, SECTORS - 2, 1024, &used), OK);
	ck_assert_uint_eq(used, 1);
	ck_assert_int_eq(pread(rig.fd, back, 1024, SIZE - 1024), 1024);
	ck_assert_int_eq(memcmp(back, data, 1024), 0);
	ck_assert_uint_eq(request(&rig, T_IN, 5, 0, &used), OK);
	ck_assert_uint_eq(request(&rig, T_OUT, SECTORS, 0, &used), OK);
	ck_assert_uint_eq(rig.flaky.syncs, 0);
	stop(&rig);
}
END_TEST

/* C1 */
START_TEST(beyond_the_end)
{
	static const struct {
		uint64_t sector;
		uint32_t len;
	} bad[] = {
		{SECTORS, 512},
		{SECTORS - 1, 1024},
		{0, SIZE + 512},
		{SECTORS + 1, 0},
		{UINT64_C(1) << 55, 512},
		{(UINT64_C(1) << 55) - 1, 512},
		{UINT64_MAX, 512},
		{UINT64_MAX / 512, 512},
		{UINT64_MAX, 1024},
		{0, 1},
		{0, 511},
		{0, 513},
	};
	struct rig rig;
	uint32_t type;
	size_t i;

	start(&rig, B_FLUSH);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		for (type = T_IN; type <= T_OUT; type++) {
			uint32_t used;

			ck_assert_uint_eq(request(&rig, type, bad[i].sector, bad[i].len, &used),
					  IOERR);
			/* What was not written is not said to be. */
			ck_assert_uint_eq(used, type == T_IN && bad[i].len ? 0 : 1);
		}
	ck_assert_uint_eq(rig.flaky.reads + rig.flaky.writes, 0);
	sane_request(&rig);
	stop(&rig);
}
END_TEST

/* C1: each buffer fits, their sum does not. */
START_TEST(sum_beyond_the_end)
{
	struct drv_seg segs[] = {{HEADER, 16, 0},
				 {DATA, SIZE / 2, 0},
				 {DATA + SIZE, SIZE / 2, 0},
				 {DATA + 2 * SIZE, 512, 0},
				 {STATUS, 1, DRV_WRITE}};
	struct rig rig;

	start(&rig, B_FLUSH);
	put_header(&rig, T_OUT, 0);
	send(&rig, segs, 5);
	ck_assert_uint_eq(status_of(&rig), IOERR);
	ck_assert_uint_eq(rig.flaky.writes, 0);
	segs[3].len = 0;
	put_header(&rig, T_OUT, 0);
	send(&rig, segs, 5);
	ck_assert_uint_eq(status_of(&rig), OK);
	stop(&rig);
}
END_TEST

/* C2 */
START_TEST(read_only)
{
	struct rig rig;
	uint64_t with;

	start_with(&rig, &plain, true, NULL, NULL);
	for (with = 0; with <= B_RO; with += B_RO) {
		go(&rig, B_FLUSH | with);
		ck_assert_uint_eq(request(&rig, T_OUT, 0, 512, NULL), IOERR);
		ck_assert_uint_eq(request(&rig, T_DISCARD, 0, 16, NULL), UNSUPP);
		ck_assert_uint_eq(request(&rig, T_ZEROES, 0, 16, NULL), UNSUPP);
		ck_assert_uint_eq(request(&rig, T_IN, 0, 512, NULL), OK);
		ck_assert_uint_eq(request(&rig, T_FLUSH, 0, 0, NULL), OK);
	}
	ck_assert_uint_eq(rig.flaky.writes + rig.flaky.discards + rig.flaky.zeroes, 0);
	stop(&rig);
}
END_TEST

/* C3, C4 */
START_TEST(unknown_types)
{
	static const uint32_t types[] = {
		T_SCSI, 3,  5,	6,  7,	9,  T_GET_LIFETIME, T_SECURE_ERASE, 12, 15, 16,
		17,	18, 20, 22, 24, 26, 0x80000000,	    UINT32_MAX};
	struct rig rig;
	size_t i;

	start(&rig, 0);
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		ck_assert_uint_eq(request(&rig, types[i], 0, 512, NULL), UNSUPP);
		ck_assert_uint_eq(request(&rig, types[i], UINT64_MAX, 0, NULL), UNSUPP);
	}
	/* Not negotiated. */
	ck_assert_uint_eq(request(&rig, T_FLUSH, 0, 0, NULL), UNSUPP);
	ck_assert_uint_eq(request(&rig, T_DISCARD, 0, 16, NULL), UNSUPP);
	ck_assert_uint_eq(request(&rig, T_ZEROES, 0, 16, NULL), UNSUPP);
	ck_assert_uint_eq(rig.flaky.syncs + rig.flaky.discards + rig.flaky.zeroes, 0);
	sane_request(&rig);
	stop(&rig);
}
END_TEST

START_TEST(get_id)
{
	struct rig rig;
	uint32_t used, len;
	uint8_t *data;

	start(&rig, 0);
	data = drv_ptr(&rig.mem, DATA, 100);
	for (len = 0; len < 30; len++) {
		uint32_t n = len < 20 ? len : 20;

		memset(data, 0xee, 100);
		ck_assert_uint_eq(request(&rig, T_GET_ID, 77, len, &used), OK);
		ck_assert_int_eq(memcmp(data, plain.serial, n), 0);
		ck_assert_uint_eq(data[n], 0xee);
		/* The status lies behind what was not written. */
		ck_assert_uint_eq(used, len <= 20 ? len + 1 : 20);
	}
	stop(&rig);
}
END_TEST

static void put_range(struct rig *rig, unsigned int i, uint64_t sector, uint32_t sectors,
		      uint32_t flags)
{
	uint8_t *p = drv_ptr(&rig->mem, DATA + 16 * (uint64_t)i, 16);

	sector = htole64(sector);
	sectors = htole32(sectors);
	flags = htole32(flags);
	memcpy(p, &sector, 8);
	memcpy(p + 8, &sectors, 4);
	memcpy(p + 12, &flags, 4);
}

static bool reads_zero(struct rig *rig, uint64_t sector)
{
	uint8_t back[512];
	unsigned int i;

	ck_assert_int_eq(pread(rig->fd, back, 512, (off_t)sector * 512), 512);
	for (i = 0; i < 512; i++)
		if (back[i])
			return false;
	return true;
}

START_TEST(discard_and_zeroes)
{
	struct rig rig;
	uint32_t max, type;
	struct stat before, after;
	unsigned int i;

	start(&rig, B_FLUSH | B_DISCARD | B_ZEROES);
	fsync(rig.fd);
	fstat(rig.fd, &before);
	put_range(&rig, 0, 8, 128, 0);
	ck_assert_uint_eq(request(&rig, T_DISCARD, 0, 16, NULL), OK);
	fstat(rig.fd, &after);
	ck_assert_int_le(after.st_blocks, before.st_blocks);
	for (i = 0; i < 2; i++) {
		put_range(&rig, 0, 200, 2, i);
		put_range(&rig, 1, 210, 1, i);
		put_range(&rig, 2, SECTORS, 0, i);
		ck_assert_uint_eq(request(&rig, T_ZEROES, 0, 48, NULL), OK);
		ck_assert(reads_zero(&rig, 200) && reads_zero(&rig, 201) && reads_zero(&rig, 210));
		ck_assert(!reads_zero(&rig, 199) && !reads_zero(&rig, 202));
		put_header(&rig, T_OUT, 200);
		memset(drv_ptr(&rig.mem, DATA, 512 * 11), 1, 512 * 11);
		ck_assert_uint_eq(request(&rig, T_OUT, 200, 512 * 11, NULL), OK);
	}
	for (type = T_DISCARD; type <= T_ZEROES; type += T_ZEROES - T_DISCARD) {
		unsigned int calls = rig.flaky.discards + rig.flaky.zeroes;

		max = (uint32_t)cfg(&rig, type == T_DISCARD ? 40 : 52, 4);
		/* C3: no range, part of one, too many. */
		ck_assert_uint_eq(request(&rig, type, 0, 0, NULL), IOERR);
		ck_assert_uint_eq(request(&rig, type, 0, 15, NULL), IOERR);
		ck_assert_uint_eq(request(&rig, type, 0, 17, NULL), IOERR);
		for (i = 0; i <= max; i++)
			put_range(&rig, i, 0, 0, 0);
		ck_assert_uint_eq(request(&rig, type, 0, 16 * max + 16, NULL), IOERR);
		ck_assert_uint_eq(request(&rig, type, 0, 16 * max, NULL), OK);
		/* Flags nobody knows; unmap on discard. */
		put_range(&rig, 0, 0, 1, 2);
		ck_assert_uint_eq(request(&rig, type, 0, 16, NULL), UNSUPP);
		put_range(&rig, 0, 0, 1, 0x80000001);
		ck_assert_uint_eq(request(&rig, type, 0, 16, NULL), UNSUPP);
		put_range(&rig, 0, 0, 0, 1);
		ck_assert_uint_eq(request(&rig, type, 0, 16, NULL),
				  type == T_DISCARD ? UNSUPP : OK);
		/* A good range and a bad one: neither is carried out. */
		put_range(&rig, 0, 0, 1, 0);
		put_range(&rig, 1, SECTORS, 1, 0);
		ck_assert_uint_eq(request(&rig, type, 0, 32, NULL), IOERR);
		put_range(&rig, 1, UINT64_MAX, 2, 0);
		ck_assert_uint_eq(request(&rig, type, 0, 32, NULL), IOERR);
		put_range(&rig, 1, UINT64_C(1) << 55, 1, 0);
		ck_assert_uint_eq(request(&rig, type, 0, 32, NULL), IOERR);
		put_range(&rig, 1, 0, UINT32_MAX, 0);
		ck_assert_uint_eq(request(&rig, type, 0, 32, NULL), IOERR);
		ck_assert_uint_eq(rig.flaky.discards + rig.flaky.zeroes, calls);
	}
	stop(&rig);
}
END_TEST

/* --- framing ----------------------------------------------------------------------------- */

/* Header, data and status in pieces of 1 to 7 bytes, and joined across their borders. */
START_TEST(framing)
{
	struct prng p = prng_start("framing");
	struct rig rig;
	unsigned int round;

	start(&rig, B_FLUSH);
	for (round = 0; round < 200; round++) {
		/* One run of readable and one of writable bytes, cut anywhere. */
		bool in = round & 1;
		uint32_t readable = in ? 16 : 16 + 512, writable = in ? 512 + 1 : 1, pos;
		struct drv_seg segs[NUM];
		unsigned int nr = 0;
		uint64_t sector = prng_below(&p, SECTORS);
		uint8_t *r = drv_ptr(&rig.mem, DATA, readable);
		uint8_t *w = drv_ptr(&rig.mem, DATA + 0x10000, writable), back[512];
		uint32_t used;

		put_header(&rig, in ? T_IN : T_OUT, sector);
		memcpy(r, drv_ptr(&rig.mem, HEADER, 16), 16);
		if (!in)
			memset(r + 16, (int)round, 512);
		memset(w, 0xff, writable);
		for (pos = 0; pos < readable;) {
			uint32_t n = 1 + prng_below(&p, pos < 16 ? 7 : 40);

			if (nr >= NUM - 32)
				n = readable;
			n = (uint32_t)min_u64(n, readable - pos);
			segs[nr++] = (struct drv_seg){DATA + pos, n, 0};
			pos += n;
		}
		for (pos = 0; pos < writable;) {
			uint32_t n = 1 + prng_below(&p, 60);

			if (nr >= NUM - 1)
				n = writable;
			n = (uint32_t)min_u64(n, writable - pos);
			segs[nr++] = (struct drv_seg){DATA + 0x10000 + pos, n, DRV_WRITE};
			pos += n;
		}
		used = send(&rig, segs, nr);
		ck_assert_uint_eq(used, writable);
		ck_assert_uint_eq(w[writable - 1], OK);
		ck_assert_int_eq(pread(rig.fd, back, 512, (off_t)sector * 512), 512);
		ck_assert_int_eq(memcmp(back, in ? w : r + 16, 512), 0);
	}
	stop(&rig);
}
END_TEST

/* B12, B13 */
START_TEST(malformed)
{
	struct rig rig;
	struct drv_seg segs[3] = {{HEADER, 16, 0}, {DATA, 512, 0}, {STATUS, 1, DRV_WRITE}};
	uint32_t len;
	unsigned int i;

	start(&rig, B_FLUSH);
	/* No place for a status: given back, three queues full of them. */
	for (i = 0; i < 3 * NUM; i++) {
		put_header(&rig, i % 14, 0);
		ck_assert_uint_eq(send(&rig, segs, 1 + i % 2), 0);
	}
	/* A header that is short, or not there. */
	for (len = 0; len < 16; len++) {
		segs[0].len = len;
		segs[1] = segs[2];
		put_header(&rig, T_IN, 0);
		ck_assert_uint_eq(send(&rig, segs, 2), 1);
		ck_assert_uint_eq(status_of(&rig), IOERR);
		put_header(&rig, T_IN, 0);
		ck_assert_uint_eq(send(&rig, segs + 2, 1), 1);
		ck_assert_uint_eq(status_of(&rig), IOERR);
	}
	/* Data where only the device may write, and where it may not. */
	segs[0].len = 16;
	segs[1] = (struct drv_seg){DATA, 512, DRV_WRITE};
	put_header(&rig, T_OUT, 1);
	send(&rig, segs, 3);
	ck_assert_uint_eq(status_of(&rig), OK);
	ck_assert_uint_eq(rig.flaky.writes, 0);
	segs[1].flags = 0;
	put_header(&rig, T_IN, 1);
	ck_assert_uint_eq(send(&rig, segs, 3), 1);
	ck_assert_uint_eq(status_of(&rig), OK);
	ck_assert_uint_eq(rig.flaky.reads, 0);
	ck_assert_int_lt(lseek(rig.log_fd, 0, SEEK_END), 4096);
	sane_request(&rig);
	stop(&rig);
}
END_TEST

/* --- host faults ---------------------------------------------------------------------------- */

START_TEST(host_faults)
{
	static const long answers[] = {-EIO, -ENOSPC, -EDQUOT, -ENOMEM, 0, 1 << 30};
	struct rig rig;
	size_t i;
	uint32_t used;

	start(&rig, B_FLUSH | B_DISCARD | B_ZEROES);
	for (i = 0; i < ARRAY_SIZE(answers); i++) {
		rig.flaky.answer = answers[i];
		rig.flaky.fail_at = 1;
		ck_assert_uint_eq(request(&rig, T_IN, 0, 4096, &used), IOERR);
		ck_assert_uint_eq(used, 0);
		rig.flaky.fail_at = 1;
		ck_assert_uint_eq(request(&rig, T_OUT, 0, 4096, &used), IOERR);
		if (answers[i] >= 0)
			continue;
		rig.flaky.fail_at = 1;
		ck_assert_uint_eq(request(&rig, T_FLUSH, 0, 0, NULL), IOERR);
		put_range(&rig, 0, 0, 1, 0);
		rig.flaky.fail_at = 1;
		ck_assert_uint_eq(request(&rig, T_DISCARD, 0, 16, NULL), IOERR);
		rig.flaky.fail_at = 1;
		ck_assert_uint_eq(request(&rig, T_ZEROES, 0, 16, NULL), IOERR);
	}
	ck_assert_int_gt(lseek(rig.log_fd, 0, SEEK_END), 0);
	ck_assert_int_lt(lseek(rig.log_fd, 0, SEEK_END), 4096);
	/* Interrupted calls are made again. */
	rig.flaky.answer = -EINTR;
	rig.flaky.fail_at = 1;
	ck_assert_uint_eq(request(&rig, T_IN, 0, 4096, NULL), OK);
	/* Short ones go on, and what came before a fault is said to be there. */
	rig.flaky.short_by = 700;
	ck_assert_uint_eq(request(&rig, T_IN, 0, 4096, &used), OK);
	ck_assert_uint_eq(used, 4097);
	ck_assert_uint_eq(request(&rig, T_OUT, 8, 4096, NULL), OK);
	rig.flaky.answer = -EIO;
	rig.flaky.fail_at = 3;
	ck_assert_uint_eq(request(&rig, T_IN, 0, 4096, &used), IOERR);
	ck_assert_uint_eq(used, 1400);
	rig.flaky.short_by = 0;
	sane_request(&rig);
	stop(&rig);
}
END_TEST

/* E9: the file becomes shorter under us. */
START_TEST(truncated_file)
{
	struct rig rig;
	uint32_t used;

	start(&rig, B_FLUSH);
	ck_assert_int_eq(ftruncate(rig.fd, 512), 0);
	ck_assert_uint_eq(request(&rig, T_IN, 0, 1024, &used), IOERR);
	ck_assert_uint_eq(used, 512);
	ck_assert_uint_eq(request(&rig, T_IN, 0, 512, NULL), OK);
	ck_assert_int_eq(ftruncate(rig.fd, SIZE), 0);
	stop(&rig);
}
END_TEST

/* --- cache modes --------------------------------------------------------------------------------
 */

START_TEST(stable_writes)
{
	struct rig rig;
	unsigned int before;

	start(&rig, 0);
	/* Neither FLUSH nor CONFIG_WCE: each write is stable. */
	ck_assert_uint_eq(request(&rig, T_OUT, 0, 512, NULL), OK);
	ck_assert_uint_eq(rig.flaky.syncs, 1);
	rig.flaky.answer = -EIO;
	rig.flaky.fail_at = 2;
	ck_assert_uint_eq(request(&rig, T_OUT, 0, 512, NULL), IOERR);
	go(&rig, B_ZEROES);
	before = rig.flaky.syncs;
	put_range(&rig, 0, 0, 1, 0);
	ck_assert_uint_eq(request(&rig, T_ZEROES, 0, 16, NULL), OK);
	ck_assert_uint_eq(rig.flaky.syncs, before + 1);
	ck_assert_uint_eq(request(&rig, T_IN, 0, 512, NULL), OK);
	ck_assert_uint_eq(rig.flaky.syncs, before + 1);
	/* FLUSH: only when asked. */
	go(&rig, B_FLUSH);
	before = rig.flaky.syncs;
	ck_assert_uint_eq(cfg(&rig, 32, 1), 1);
	ck_assert_uint_eq(request(&rig, T_OUT, 0, 512, NULL), OK);
	ck_assert_uint_eq(rig.flaky.syncs, before);
	ck_assert_uint_eq(request(&rig, T_FLUSH, 0, 0, NULL), OK);
	ck_assert_uint_eq(rig.flaky.syncs, before + 1);
	/* Not negotiated, so it can't be set. */
	virtio_mmio_ops.write(rig.mmio, R_CONFIG + 32, 0, 1);
	ck_assert_uint_eq(cfg(&rig, 32, 1), 1);
	/* CONFIG_WCE without FLUSH starts with 0. */
	go(&rig, B_WCE);
	ck_assert_uint_eq(cfg(&rig, 32, 1), 0);
	before = rig.flaky.syncs;
	ck_assert_uint_eq(request(&rig, T_OUT, 0, 512, NULL), OK);
	ck_assert_uint_eq(rig.flaky.syncs, before + 1);
	/* Both: as it is set. */
	go(&rig, B_WCE | B_FLUSH);
	ck_assert_uint_eq(cfg(&rig, 32, 1), 1);
	before = rig.flaky.syncs;
	ck_assert_uint_eq(request(&rig, T_OUT, 0, 512, NULL), OK);
	ck_assert_uint_eq(rig.flaky.syncs, before);
	virtio_mmio_ops.write(rig.mmio, R_CONFIG + 32, 7, 1);
	ck_assert_uint_eq(cfg(&rig, 32, 1), 1);
	virtio_mmio_ops.write(rig.mmio, R_CONFIG + 32, 0, 1);
	ck_assert_uint_eq(cfg(&rig, 32, 1), 0);
	ck_assert_uint_eq(request(&rig, T_OUT, 0, 512, NULL), OK);
	ck_assert_uint_eq(rig.flaky.syncs, before + 1);
	stop(&rig);
}
END_TEST

START_TEST(resize)
{
	struct rig rig;
	uint32_t generation;
	struct error err;
	char reply[64];
	const struct virtio_device_ops *ops;
	struct virtio_device *vdev;

	start(&rig, B_FLUSH);
	vdev = virtio_blk_device(rig.blk);
	ops = vdev->ops;
	generation = drv_rd(&rig.drv, R_GENERATION);
	/* Nothing changed: the guest hears nothing. */
	ck_assert_int_eq(virtio_blk_look(rig.blk, &err), 0);
	ck_assert_uint_eq(drv_ack(&rig.drv), 0);
	ck_assert_int_eq(ftruncate(rig.fd, 2 * SIZE), 0);
	ck_assert_uint_eq(request(&rig, T_IN, SECTORS, 512, NULL), IOERR);
	ck_assert_int_eq(ops->command(vdev, "resize", reply, sizeof(reply), &err), 0);
	ck_assert_str_eq(reply, "disk0 has 256K");
	ck_assert_uint_eq(drv_ack(&rig.drv), 2);
	ck_assert_uint_ne(drv_rd(&rig.drv, R_GENERATION), generation);
	ck_assert_uint_eq(cfg(&rig, 0, 8), 2 * SECTORS);
	ck_assert_uint_eq(request(&rig, T_IN, SECTORS, 512, NULL), OK);
	/* Smaller, and the file with it. */
	ck_assert_int_eq(ops->command(vdev, "resize 65536", reply, sizeof(reply), &err), 0);
	ck_assert_str_eq(reply, "disk0 has 64K");
	ck_assert_uint_eq(drv_ack(&rig.drv), 2);
	ck_assert_int_eq(lseek(rig.fd, 0, SEEK_END), 65536);
	ck_assert_uint_eq(request(&rig, T_OUT, SECTORS / 2, 512, NULL), IOERR);
	ck_assert_int_eq(lseek(rig.fd, 0, SEEK_END), 65536);
	/* Refused, and nothing changes. */
	ck_assert_int_ne(ops->command(vdev, "resize 1000", reply, sizeof(reply), &err), 0);
	ck_assert_int_ne(ops->command(vdev, "resize 0", reply, sizeof(reply), &err), 0);
	ck_assert_int_ne(ops->command(vdev, "resize x", reply, sizeof(reply), &err), 0);
	ck_assert_int_ne(ops->command(vdev, "shrink", reply, sizeof(reply), &err), 0);
	rig.flaky.answer = -ENOSPC;
	rig.flaky.fail_at = 1;
	ck_assert_int_ne(ops->command(vdev, "resize 1M", reply, sizeof(reply), &err), 0);
	ck_assert_ptr_nonnull(strstr(err.msg, "No space"));
	rig.flaky.fail_at = 1;
	ck_assert_int_ne(virtio_blk_look(rig.blk, &err), 0);
	/* Also while somebody else holds it. */
	virtio_device_quiesce(vdev);
	ck_assert_int_eq(virtio_blk_look(rig.blk, &err), 0);
	ck_assert_int_eq(virtio_blk_set_size(rig.blk, SIZE, &err), 0);
	ck_assert_uint_eq(drv_ack(&rig.drv), 2);
	virtio_device_resume(vdev);
	ck_assert_uint_eq(drv_ack(&rig.drv), 0);
	ck_assert_uint_eq(cfg(&rig, 0, 8), SECTORS);
	stop(&rig);
	/* Who may only read does not change the file. */
	start_with(&rig, &plain, true, NULL, NULL);
	ck_assert_int_ne(virtio_blk_set_size(rig.blk, 2 * SIZE, &err), 0);
	ck_assert_int_eq(virtio_blk_look(rig.blk, &err), 0);
	stop(&rig);
}
END_TEST

/* --- save and load
 * ---------------------------------------------------------------------------------- */

START_TEST(save_load)
{
	struct rig a, b;
	struct device *from, *to;
	struct xfer x;

	start(&a, B_WCE | B_FLUSH);
	start_with(&b, &plain, false, NULL, NULL);
	from = virtio_mmio_device(a.mmio);
	to = virtio_mmio_device(b.mmio);
	virtio_mmio_ops.write(a.mmio, R_CONFIG + 32, 0, 1);
	request(&a, T_IN, 0, 512, NULL);
	from->ops->quiesce(from);
	xfer_save_init(&x);
	from->ops->transfer(from, &x);
	ck_assert_int_eq(xfer_done(&x, NULL), 0);
	memcpy(drv_ptr(&b.mem, DRV_RAM, DRV_BANK), drv_ptr(&a.mem, DRV_RAM, DRV_BANK), DRV_BANK);
	b.ring = a.ring;
	b.ring.mem = &b.mem;
	x.loading = true;
	to->ops->quiesce(to);
	to->ops->transfer(to, &x);
	ck_assert_int_eq(xfer_done(&x, NULL), 0);
	to->ops->resume(to);
	ck_assert_uint_eq(cfg(&b, 32, 1), 0);
	ck_assert_uint_eq(request(&b, T_OUT, 9, 512, NULL), OK);
	ck_assert_uint_eq(b.flaky.syncs, 1);
	/* Another size is another disk. */
	x.pos = 0;
	to->ops->resume(to);
	ck_assert_int_eq(virtio_blk_set_size(b.blk, SIZE / 2, NULL), 0);
	to->ops->transfer(to, &x);
	ck_assert_int_ne(xfer_done(&x, NULL), 0);
	x.loading = false;
	xfer_free(&x);
	ck_assert_int_eq(virtio_blk_set_size(b.blk, SIZE, NULL), 0);
	from->ops->resume(from);
	stop(&a);
	stop(&b);
}
END_TEST

/* --- against an oracle
 * ---------------------------------------------------------------------------------- */

/* Random requests, several at a time, right and wrong; the file is as the array says. */
START_TEST(against_an_oracle)
{
	struct prng p = prng_start("oracle");
	static uint8_t oracle[SIZE], back[SIZE];
	struct rig rig;
	unsigned int round, i;

	start(&rig, B_FLUSH | B_DISCARD | B_ZEROES | FEAT_EVENT_IDX | FEAT_INDIRECT);
	ck_assert_int_eq(pread(rig.fd, oracle, SIZE, 0), SIZE);
	for (round = 0; round < 3000; round++) {
		uint32_t type = (uint32_t[]){
			T_IN, T_OUT, T_OUT, T_ZEROES, T_FLUSH, T_IN}[prng_below(&p, 6)];
		uint64_t sector = prng_below(&p, SECTORS + 4);
		uint32_t len = prng_below(&p, 20) * 512, used;
		bool fits = sector + len / 512 <= SECTORS;
		uint8_t *data = drv_ptr(&rig.mem, DATA, 20 * 512), status;

		if (prng_below(&p, 20) == 0) {
			len += 1 + prng_below(&p, 511);
			fits = false;
		}
		rig.flaky.short_by = prng_below(&p, 4) ? 0 : 1 + prng_below(&p, 2000);
		if (type == T_ZEROES) {
			uint32_t flags = prng_below(&p, 2);

			put_range(&rig, 0, sector, len / 512, flags);
			fits = sector + len / 512 <= SECTORS;
			status = request(&rig, type, 0, 16, NULL);
			ck_assert_uint_eq(status, fits ? OK : IOERR);
			if (fits)
				memset(oracle + sector * 512, 0, len / 512 * 512);
			continue;
		}
		if (type == T_FLUSH) {
			ck_assert_uint_eq(request(&rig, type, 0, 0, NULL), OK);
			continue;
		}
		if (type == T_OUT)
			for (i = 0; i < len; i++)
				data[i] = (uint8_t)prng_u64(&p);
		status = request(&rig, type, sector, len, &used);
		ck_assert_uint_eq(status, fits ? OK : IOERR);
		if (!fits)
			continue;
		if (type == T_OUT) {
			memcpy(oracle + sector * 512, data, len);
		} else {
			ck_assert_int_eq(memcmp(oracle + sector * 512, data, len), 0);
			ck_assert_uint_eq(used, len + 1);
		}
	}
	ck_assert_int_eq(pread(rig.fd, back, SIZE, 0), SIZE);
	ck_assert_int_eq(memcmp(oracle, back, SIZE), 0);
	stop(&rig);
}
END_TEST

/* --- a worker
 * ------------------------------------------------------------------------------------------------
 */

struct worker {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct blk_task *todo[NUM];
	unsigned int head, tail, refused;
	bool over;
};

static bool on_submit(void *opaque, struct blk_task *task)
{
	struct worker *w = opaque;

	/* A thread can't be had now and then. */
	if (w->refused++ % 7 == 6)
		return false;
	pthread_mutex_lock(&w->lock);
	w->todo[w->tail++ % NUM] = task;
	pthread_cond_signal(&w->more);
	pthread_mutex_unlock(&w->lock);
	return true;
}

static const struct virtio_blk_env worker_env = {
	.submit = on_submit,
};

static void *work(void *arg)
{
	struct worker *w = arg;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		struct blk_task *task;

		while (w->head == w->tail && !w->over)
			pthread_cond_wait(&w->more, &w->lock);
		if (w->head == w->tail)
			break;
		task = w->todo[w->head++ % NUM];
		pthread_mutex_unlock(&w->lock);
		virtio_blk_perform(task);
		task->next = NULL;
		virtio_blk_finish(task);
		pthread_mutex_lock(&w->lock);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static void worker_start(struct worker *w)
{
	memset(w, 0, sizeof(*w));
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->more, NULL);
	ck_assert_int_eq(pthread_create(&w->thread, NULL, work, w), 0);
}

static void worker_stop(struct worker *w)
{
	pthread_mutex_lock(&w->lock);
	w->over = true;
	pthread_cond_signal(&w->more);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	pthread_mutex_destroy(&w->lock);
	pthread_cond_destroy(&w->more);
}

/* C5: requests complete elsewhere, and resets come whenever they like. */
START_TEST(worker_and_resets)
{
	struct prng p = prng_start("worker");
	struct worker w;
	struct rig rig;
	unsigned int round, i;

	worker_start(&w);
	start_with(&rig, &plain, false, &worker_env, &w);
	for (round = 0; round < 300; round++) {
		unsigned int n = 1 + prng_below(&p, NUM / 3), seen = 0;
		uint32_t id, len;

		go(&rig, B_FLUSH | (round & 1 ? FEAT_EVENT_IDX : 0));
		for (i = 0; i < n; i++) {
			/* Each has a header, data and status of its own. */
			gpa_t at = DATA + 0x1000 * (uint64_t)i;
			const struct drv_seg segs[] = {
				{at, 16, 0}, {at + 512, 512, DRV_WRITE}, {at + 32, 1, DRV_WRITE}};

			put_header(&rig, T_IN, i);
			memcpy(drv_ptr(&rig.mem, at, 16), drv_ptr(&rig.mem, HEADER, 16), 16);
			drv_add(&rig.ring, segs, 3);
			if (prng_below(&p, 3) == 0)
				drv_wr(&rig.drv, R_NOTIFY, 0);
		}
		drv_wr(&rig.drv, R_NOTIFY, 0);
		if (round % 3 == 0) {
			drv_wr(&rig.drv, R_STATUS, 0);
			/* Nothing of it comes after the reset. */
			ck_assert_uint_le(drv_used_idx(&rig.ring), n);
			ck_assert_uint_eq(virtio_queue(virtio_blk_device(rig.blk), 0)->inflight, 0);
			continue;
		}
		while (seen < n) {
			if (!drv_get_used(&rig.ring, &id, &len)) {
				sched_yield();
				continue;
			}
			ck_assert_uint_eq(len, 513);
			seen++;
		}
		for (i = 0; i < n; i++) {
			uint32_t word = i * 128;

			ck_assert_int_eq(
				memcmp(drv_ptr(&rig.mem, DATA + 0x1000 * (uint64_t)i + 512, 4),
				       &word, 4),
				0);
		}
	}
	go(&rig, B_FLUSH);
	stop(&rig);
	worker_stop(&w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio-blk");
	TCase *t = tcase_create("blk");

	tcase_add_test(t, configuration);
	tcase_add_test(t, refused_configurations);
	tcase_add_test(t, read_write);
	tcase_add_test(t, beyond_the_end);
	tcase_add_test(t, sum_beyond_the_end);
	tcase_add_test(t, read_only);
	tcase_add_test(t, unknown_types);
	tcase_add_test(t, get_id);
	tcase_add_test(t, discard_and_zeroes);
	tcase_add_test(t, framing);
	tcase_add_test(t, malformed);
	tcase_add_test(t, host_faults);
	tcase_add_test(t, truncated_file);
	tcase_add_test(t, stable_writes);
	tcase_add_test(t, resize);
	tcase_add_test(t, save_load);
	tcase_add_test(t, against_an_oracle);
	tcase_add_test(t, worker_and_resets);
	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	return unit_main(s);
}
