// SPDX-License-Identifier: GPL-2.0-only
/*
 * The persistent memory device: flushes that are carried out together, by somebody else,
 * and fail; requests that are none; a file that is guest memory, for writing and for
 * reading only, and what may not lie in it; the option's words.
 */
#include "unit.h"
#include "virtio_driver.h"

#include "lkvm/virtio/mmio.h"
#include "lkvm/virtio/pmem.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NUM 16
#define HEADER (DRV_RAM + 0x100000)
#define ANSWER (HEADER + 0x100)
#define PLACE UINT64_C(0x240000000)
#define SIZE (4 * MIB)

#define OK 0
#define FAILED UINT32_MAX

struct rig {
	struct guest_memory mem;
	struct drv drv;
	struct virtio_pmem *pmem;
	struct virtio_mmio *mmio;
	struct drv_ring ring;
	struct worker_job *job; /* posted, not yet called */
	struct workers *workers;
	atomic_uint flushes;
	unsigned int posts, destroyed;
	bool no_threads;
	int result;
	void (*meanwhile)(struct rig *rig); /* during a flush, once */
};

static int on_flush(void *opaque)
{
	struct rig *rig = opaque;
	void (*meanwhile)(struct rig *) = rig->meanwhile;

	rig->flushes++;
	rig->meanwhile = NULL;
	if (meanwhile)
		meanwhile(rig);
	return rig->result;
}

static bool on_post(void *opaque, struct worker_job *job)
{
	struct rig *rig = opaque;

	if (rig->no_threads)
		return false;
	rig->posts++;
	if (rig->workers)
		return workers_post(rig->workers, job);
	ck_assert_ptr_null(rig->job);
	rig->job = job;
	return true;
}

static void on_destroy(void *opaque)
{
	struct rig *rig = opaque;

	rig->destroyed++;
	workers_destroy(rig->workers);
}

static const struct virtio_pmem_env env = {
	.flush = on_flush,
	.post = on_post,
	.destroy = on_destroy,
};

static void run_soon(void *opaque)
{
	(void)opaque;
}

static const struct virtio_transport_env mmio_env = {
	.run_soon = run_soon,
};

static void go(struct rig *rig)
{
	ck_assert(drv_start(&rig->drv, 0));
	/* Not before: until the reset the rings are the device's too. */
	drv_ring_init(&rig->ring, &rig->mem, NUM, DRV_RAM + 0x1000);
	ck_assert(drv_queue(&rig->drv, 0, &rig->ring));
	drv_go(&rig->drv);
}

static void plug(struct rig *rig, bool read_only)
{
	const struct virtio_pmem_config config = {PLACE, SIZE, read_only};

	rig->pmem = virtio_pmem_create("pmem0", &rig->mem, NULL, &config, &env, rig);
	ck_assert_ptr_nonnull(rig->pmem);
	rig->mmio = virtio_mmio_create(virtio_pmem_device(rig->pmem), drv_line(&rig->drv),
				       &mmio_env, rig);
	rig->drv.dev = rig->mmio;
}

static void start(struct rig *rig, bool read_only)
{
	memset(rig, 0, sizeof(*rig));
	drv_memory(&rig->mem);
	plug(rig, read_only);
	go(rig);
}

static void stop(struct rig *rig)
{
	virtio_mmio_device(rig->mmio)->ops->destroy(virtio_mmio_device(rig->mmio));
	memory_destroy(&rig->mem);
	ck_assert_uint_ge(rig->destroyed, 1);
}

/* A request of @in readable and @out writable bytes, of type @type. */
static void add(struct rig *rig, uint32_t type, uint32_t in, uint32_t out)
{
	const struct drv_seg segs[] = {{HEADER, in, 0}, {ANSWER, out, DRV_WRITE}};

	type = htole32(type);
	memcpy(drv_ptr(&rig->mem, HEADER, 4), &type, 4);
	memset(drv_ptr(&rig->mem, ANSWER, 16), 0xee, 16);
	if (in && out)
		drv_add(&rig->ring, segs, 2);
	else
		drv_add(&rig->ring, in ? segs : segs + 1, 1);
}

static void notify(struct rig *rig)
{
	drv_wr(&rig->drv, R_NOTIFY, 0);
}

/* The executor gets a turn. */
static void work(struct rig *rig)
{
	struct worker_job *job = rig->job;

	ck_assert_ptr_nonnull(job);
	rig->job = NULL;
	job->fn(job);
}

static uint32_t said(struct rig *rig)
{
	uint32_t value;

	memcpy(&value, drv_ptr(&rig->mem, ANSWER, 4), 4);
	return le32toh(value);
}

/* The next used entry has this length. */
static void used(struct rig *rig, uint32_t want)
{
	uint32_t id, len;

	ck_assert(drv_get_used(&rig->ring, &id, &len));
	ck_assert_uint_eq(len, want);
}

START_TEST(configuration)
{
	struct rig rig;
	unsigned int i;

	start(&rig, false);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_DEVICE_ID), 27);
	/* No SHMEM_REGION: the place is in the configuration space. */
	ck_assert_uint_eq(drv_features(&rig.drv) & 0xffffff, 0);
	for (i = 0; i < 2; i++) {
		ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG), (uint32_t)PLACE);
		ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 4), PLACE >> 32);
		ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 8), SIZE);
		ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 12), 0);
		ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 16), 0);
		drv_wr(&rig.drv, R_CONFIG, 0);
		drv_wr(&rig.drv, R_CONFIG + 8, 0xffffffff);
	}
	drv_wr(&rig.drv, R_QUEUE_SEL, 1);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_QUEUE_NUM_MAX), 0);
	stop(&rig);
}
END_TEST

START_TEST(flushes)
{
	struct rig rig;

	start(&rig, false);
	add(&rig, 0, 4, 4);
	notify(&rig);
	/* Not before the flush is done. */
	ck_assert_uint_eq(drv_used_idx(&rig.ring), 0);
	ck_assert_uint_eq(rig.flushes, 0);
	work(&rig);
	ck_assert_uint_eq(rig.flushes, 1);
	used(&rig, 4);
	ck_assert_uint_eq(said(&rig), OK);
	ck_assert(drv_ack(&rig.drv) & 1);

	rig.result = -EIO;
	add(&rig, 0, 4, 4);
	notify(&rig);
	work(&rig);
	used(&rig, 4);
	ck_assert_uint_eq(said(&rig), FAILED);
	rig.result = -ENOSPC;
	/* More bytes than there need be. */
	add(&rig, 0, 16, 16);
	notify(&rig);
	work(&rig);
	used(&rig, 4);
	ck_assert_uint_eq(said(&rig), FAILED);
	stop(&rig);
}
END_TEST

static void two_more(struct rig *rig)
{
	add(rig, 0, 4, 4);
	add(rig, 0, 4, 4);
	notify(rig);
	ck_assert_ptr_null(rig->job);
}

START_TEST(together)
{
	struct rig rig;
	unsigned int i;

	start(&rig, false);
	for (i = 0; i < 5; i++) {
		add(&rig, 0, 4, 4);
		notify(&rig);
	}
	ck_assert_uint_eq(rig.posts, 1);
	/* What comes while the file is flushed may have been written too late for that. */
	rig.meanwhile = two_more;
	work(&rig);
	ck_assert_uint_eq(rig.flushes, 2);
	ck_assert_uint_eq(rig.posts, 1);
	for (i = 0; i < 7; i++)
		used(&rig, 4);
	ck_assert_ptr_null(rig.job);

	/* No thread to be had: it is done all the same. */
	rig.no_threads = true;
	add(&rig, 0, 4, 4);
	notify(&rig);
	ck_assert_uint_eq(rig.flushes, 3);
	used(&rig, 4);
	ck_assert_uint_eq(said(&rig), OK);
	stop(&rig);
}
END_TEST

START_TEST(nonsense)
{
	static const uint32_t types[] = {1, 2, 0x100, 0x80000000, UINT32_MAX};
	struct rig rig;
	size_t i;

	start(&rig, false);
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		add(&rig, types[i], 4, 4);
		notify(&rig);
		used(&rig, 4);
		ck_assert_uint_eq(said(&rig), FAILED);
	}
	/* No type, half a type. */
	add(&rig, 0, 0, 4);
	add(&rig, 0, 3, 4);
	notify(&rig);
	used(&rig, 4);
	used(&rig, 4);
	ck_assert_uint_eq(said(&rig), FAILED);
	/* No answer, half an answer. */
	add(&rig, 0, 4, 0);
	add(&rig, 0, 4, 3);
	notify(&rig);
	used(&rig, 0);
	used(&rig, 0);
	ck_assert_uint_eq(said(&rig), 0xeeeeeeee);
	ck_assert_uint_eq(rig.posts + rig.flushes, 0);
	stop(&rig);
}
END_TEST

START_TEST(read_only)
{
	struct rig rig;

	start(&rig, true);
	add(&rig, 0, 4, 4);
	notify(&rig);
	used(&rig, 4);
	ck_assert_uint_eq(said(&rig), OK);
	add(&rig, 7, 4, 4);
	notify(&rig);
	used(&rig, 4);
	ck_assert_uint_eq(said(&rig), FAILED);
	ck_assert_uint_eq(rig.posts + rig.flushes, 0);
	stop(&rig);
}
END_TEST

START_TEST(resets)
{
	const struct drv_seg again[] = {{HEADER, 4, 0}, {ANSWER, 4, DRV_WRITE}};
	struct rig rig;
	unsigned int i;

	start(&rig, false);
	rig.workers = workers_create("pmem", 1);
	for (i = 0; i < 200; i++) {
		add(&rig, 0, 4, 4);
		notify(&rig);
		/* The same again, with nothing touched that the first one may be at work on. */
		drv_add(&rig.ring, again, 2);
		notify(&rig);
		if (i % 3 == 0)
			go(&rig);
		else
			while (drv_used_idx(&rig.ring) != drv_avail_idx(&rig.ring))
				usleep(100);
	}
	drv_wr(&rig.drv, R_STATUS, 0);
	ck_assert_uint_ge(rig.flushes, 200);
	/* Destroyed with a job on its way. */
	go(&rig);
	add(&rig, 0, 4, 4);
	notify(&rig);
	stop(&rig);
}
END_TEST

static void save(struct device *dev, struct xfer *x)
{
	xfer_save_init(x);
	dev->ops->transfer(dev, x);
	ck_assert_int_eq(xfer_done(x, NULL), 0);
}

static int load(struct device *dev, const void *buf, size_t len)
{
	struct xfer x;

	xfer_load_init(&x, buf, len);
	dev->ops->transfer(dev, &x);
	return xfer_done(&x, NULL);
}

START_TEST(save_and_load)
{
	struct device *old, *dev;
	struct xfer x, y;
	struct rig rig;
	size_t i;

	start(&rig, false);
	add(&rig, 0, 4, 4);
	notify(&rig);
	work(&rig);
	used(&rig, 4);
	add(&rig, 9, 4, 4);
	old = virtio_mmio_device(rig.mmio);
	old->ops->quiesce(old);
	save(old, &x);

	plug(&rig, false);
	dev = virtio_mmio_device(rig.mmio);
	dev->ops->quiesce(dev);
	for (i = 0; i < x.len; i++)
		ck_assert_int_eq(load(dev, x.buf, i), -1);
	/* The last 17 bytes say where the region is. */
	for (i = x.len - 17; i < x.len; i++) {
		x.buf[i] ^= 1;
		ck_assert_int_eq(load(dev, x.buf, x.len), -1);
		x.buf[i] ^= 1;
	}
	ck_assert_int_eq(load(dev, x.buf, x.len), 0);
	save(dev, &y);
	ck_assert_uint_eq(x.len, y.len);
	ck_assert_int_eq(memcmp(x.buf, y.buf, x.len), 0);
	xfer_free(&x);
	xfer_free(&y);
	/* What was in the ring is looked at. */
	dev->ops->resume(dev);
	used(&rig, 4);
	ck_assert_uint_eq(said(&rig), FAILED);
	old->ops->destroy(old);
	stop(&rig);
}
END_TEST

/* --- the option ---------------------------------------------------------------------- */

struct house {
	struct guest_memory mem;
	struct log log;
	struct error err;
	struct virtio_device *vdev;
	char path[32];
	gpa_t at;
	bool no_room, dry_run;
};

static gpa_t on_place(void *opaque, int fd, uint64_t size, bool ro, struct error *err)
{
	struct house *h = opaque;

	if (h->no_room) {
		fail(err, "no room");
		return 0;
	}
	return memory_add_file(&h->mem, h->at, size, 2 * MIB, fd, ro, err) ? h->at : 0;
}

static void house(struct house *h, off_t size)
{
	int fd;

	memset(h, 0, sizeof(*h));
	drv_memory(&h->mem);
	log_init(&h->log, STDERR_FILENO, LOG_LEVEL_WARNING);
	h->at = PLACE;
	snprintf(h->path, sizeof(h->path), "/tmp/lkvm-pmem.XXXXXX");
	fd = mkstemp(h->path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, size), 0);
	close(fd);
}

/* The mapping keeps the file's lock, as it shall: it goes with guest memory. */
static void leave(struct house *h)
{
	if (h->vdev)
		h->vdev->ops->destroy(h->vdev);
	h->vdev = NULL;
	memory_destroy(&h->mem);
	drv_memory(&h->mem);
}

static void house_end(struct house *h)
{
	if (h->vdev)
		h->vdev->ops->destroy(h->vdev);
	memory_destroy(&h->mem);
	unlink(h->path);
}

static int build(struct house *h, const char *path, const char *words, struct virtio_device **vdev)
{
	const struct virtio_world world = {
		.name = "pmem0",
		.mem = &h->mem,
		.log = &h->log,
		.nr_vcpus = 1,
		.dry_run = h->dry_run,
		.place = on_place,
		.opaque = h,
	};
	char text[128];

	*vdev = NULL;
	h->err.msg[0] = '\0';
	snprintf(text, sizeof(text), "%s%s", path, words);
	return virtio_pmem_kind.build(&world, text, vdev, &h->err);
}

static void taken(struct house *h, const char *words)
{
	ck_assert_msg(!build(h, h->path, words, &h->vdev), "%s", h->err.msg);
	ck_assert_ptr_nonnull(h->vdev);
	h->at += GIB;
}

static void refused(struct house *h, const char *path, const char *words, const char *why)
{
	struct virtio_device *vdev;

	ck_assert_int_eq(build(h, path, words, &vdev), -1);
	ck_assert_ptr_null(vdev);
	ck_assert_msg(strstr(h->err.msg, why) != NULL, "%s", h->err.msg);
}

static int64_t size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) ? -1 : (int64_t)st.st_size;
}

START_TEST(words)
{
	static const off_t sizes[] = {0, 1, 4096, MIB, 3 * MIB, 2 * MIB + 512};
	struct house h;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		house(&h, sizes[i]);
		refused(&h, h.path, "", "persistent memory comes in blocks of 2M");
		ck_assert_int_eq(size_of(h.path), sizes[i]);
		house_end(&h);
	}
	house(&h, SIZE);
	refused(&h, "", "", "which file?");
	refused(&h, "", ",ro", "which file?");
	refused(&h, "/nonexistent/file", "", "cannot open");
	refused(&h, "/tmp", "", "no regular file");
	refused(&h, "/dev/null", "", "no regular file");
	refused(&h, h.path, ",rw", "rw");
	h.no_room = true;
	refused(&h, h.path, "", "no room");
	h.no_room = false;
	taken(&h, "");
	ck_assert_int_eq(size_of(h.path), SIZE);
	house_end(&h);
}
END_TEST

START_TEST(locks)
{
	struct virtio_device *second;
	struct house h, other;

	house(&h, SIZE);
	house(&other, SIZE);
	h.dry_run = true;
	taken(&h, "");
	ck_assert_int_eq(build(&other, h.path, "", &second), 0);
	refused(&h, "/tmp", "", "no regular file");
	h.dry_run = false;
	refused(&h, h.path, "", "in use by another program");
	refused(&h, h.path, ",ro", "in use by another program");
	second->ops->destroy(second);
	refused(&h, h.path, "", "in use by another program");
	leave(&other);
	leave(&h);
	ck_assert_int_eq(build(&other, h.path, ",ro", &second), 0);
	taken(&h, ",ro");
	refused(&h, h.path, "", "in use by another program");
	second->ops->destroy(second);
	house_end(&other);
	house_end(&h);
}
END_TEST

/* The byte at the file's start. */
static int first_byte(const char *path)
{
	int fd = open(path, O_RDONLY);
	unsigned char c;
	ssize_t n = read(fd, &c, 1);

	close(fd);
	return n == 1 ? c : -1;
}

START_TEST(guest_memory)
{
	uint8_t byte = 0x5a;
	struct house h;

	house(&h, SIZE);
	taken(&h, "");
	ck_assert(memory_write(&h.mem, PLACE, &byte, 1));
	ck_assert_int_eq(first_byte(h.path), 0x5a);
	/* A reset clears RAM only; the balloon takes nothing of it; it is no RAM. */
	ck_assert_int_eq(memory_forget(&h.mem, NULL), 0);
	ck_assert_int_eq(memory_discard(&h.mem, PLACE, 4096), -EINVAL);
	ck_assert_int_eq(first_byte(h.path), 0x5a);
	ck_assert_uint_eq(memory_total(&h.mem), 2 * DRV_BANK);
	ck_assert(memory_may_write(&h.mem, PLACE, SIZE));
	ck_assert_ptr_nonnull(memory_for_read(&h.mem, PLACE, SIZE));
	ck_assert_ptr_null(memory_for_ring(&h.mem, PLACE, 1));
	ck_assert_ptr_nonnull(memory_for_ring(&h.mem, DRV_RAM, DRV_BANK));
	leave(&h);

	taken(&h, ",ro");
	byte = 0;
	ck_assert(!memory_write(&h.mem, h.at - GIB, &byte, 1));
	ck_assert(!memory_may_write(&h.mem, h.at - GIB, 1));
	ck_assert(!memory_may_write(&h.mem, h.at - GIB, 2 * SIZE));
	ck_assert(memory_read(&h.mem, h.at - GIB, &byte, 1));
	ck_assert_uint_eq(byte, 0x5a);
	house_end(&h);
}
END_TEST

/* Wait for one answer; a real worker and a real file. */
static void answered(struct drv_ring *ring)
{
	while (drv_used_idx(ring) != drv_avail_idx(ring))
		usleep(100);
}

START_TEST(buffers_in_the_file)
{
	struct drv_ring ring, bad;
	struct virtio_mmio *mmio;
	struct drv drv = {.level = false};
	struct house h, other;
	uint32_t zero = 0;
	int i;

	/* At PLACE a read-only file, beyond it the one of the device under test. */
	house(&h, SIZE);
	house(&other, SIZE);
	ck_assert_int_eq(build(&h, other.path, ",ro", &other.vdev), 0);
	h.at += GIB;
	taken(&h, "");
	mmio = virtio_mmio_create(h.vdev, drv_line(&drv), &mmio_env, NULL);
	drv.dev = mmio;
	for (i = 0; i < 3; i++) {
		const gpa_t answer = i == 1 ? PLACE + 64 : PLACE + GIB + 64;
		const struct drv_seg segs[] = {{PLACE, 4, 0}, {answer, 4, DRV_WRITE}};

		/* Rings can't lie there; the descriptor table shows it. */
		ck_assert(drv_start(&drv, 0));
		drv_ring_init(&ring, &h.mem, NUM, DRV_RAM + 0x1000);
		bad = ring;
		bad.desc = PLACE + GIB;
		ck_assert(!drv_queue(&drv, 0, &bad));
		ck_assert(drv_rd(&drv, R_STATUS) & ST_NEEDS_RESET);
		/* A request may be read from either and written into the second. */
		ck_assert(drv_start(&drv, 0));
		ck_assert(drv_queue(&drv, 0, &ring));
		drv_go(&drv);
		ck_assert(memory_write(&h.mem, PLACE + GIB + 64, &(uint32_t){0xeeeeeeee}, 4));
		drv_add(&ring, segs, 2);
		drv_wr(&drv, R_NOTIFY, 0);
		if (i == 1) {
			ck_assert(drv_rd(&drv, R_STATUS) & ST_NEEDS_RESET);
			ck_assert_uint_eq(drv_used_idx(&ring), 0);
			continue;
		}
		answered(&ring);
		ck_assert_int_eq(memcmp(drv_ptr(&h.mem, PLACE + GIB + 64, 4), &zero, sizeof(zero)),
				 0);
	}
	virtio_mmio_device(mmio)->ops->destroy(virtio_mmio_device(mmio));
	h.vdev = NULL;
	house_end(&other);
	house_end(&h);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio-pmem");
	TCase *t = tcase_create("pmem");

	tcase_add_test(t, configuration);
	tcase_add_test(t, flushes);
	tcase_add_test(t, together);
	tcase_add_test(t, nonsense);
	tcase_add_test(t, read_only);
	tcase_add_test(t, resets);
	tcase_add_test(t, save_and_load);
	tcase_add_test(t, words);
	tcase_add_test(t, locks);
	tcase_add_test(t, guest_memory);
	tcase_add_test(t, buffers_in_the_file);
	suite_add_tcase(s, t);
	return unit_main(s);
}
