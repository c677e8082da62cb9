// SPDX-License-Identifier: GPL-2.0-only
/*
 * Raw images: what is refused as a disk, who may use an image together with whom,
 * direct I/O whatever the alignment, what is done at once, zeroing by hand; and the
 * words of -d/--disk.
 */
#include "prng.h"
#include "unit.h"
#include "virtio_driver.h"

#include "lkvm/virtio/blk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SIZE (256 * 1024)

static char dir[] = "/tmp/lkvm-test-blk-XXXXXX";

static const char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void make(void)
{
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void clean(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	ck_assert_int_eq(system(command), 0);
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
}

static const char *image(const char *name, off_t size)
{
	const char *path = path_of(name);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, size), 0);
	close(fd);
	return path;
}

static int open_as(const char *path, bool ro, bool direct, struct blk_backend *b, struct error *err)
{
	return blk_file_open(&(struct blk_file_config){path, ro, direct}, true, NULL, b, err);
}

static void refused(const char *path, bool ro, const char *why)
{
	struct blk_backend b;
	struct error err = {""};

	ck_assert_int_ne(open_as(path, ro, false, &b, &err), 0);
	ck_assert_msg(strstr(err.msg, why) && strstr(err.msg, path), "%s", err.msg);
}

/* E10 */
START_TEST(what_is_no_disk)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	refused(path_of("missing"), false, "No such file");
	refused(dir, true, "a directory");
	refused("/dev/null", false, "a character device");
	ck_assert_int_eq(mkfifo(path_of("fifo"), 0600), 0);
	/* Without waiting for a peer. */
	refused(path_of("fifo"), true, "a FIFO");
	strcpy(addr.sun_path, path_of("socket"));
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	refused(path_of("socket"), true, "a socket");
	close(fd);
	refused(image("empty", 0), false, "has 0 bytes");
	refused(image("odd", 1000), false, "has 1000 bytes");
	/* A program that runs is not to be written: root too hears that. */
	refused("/proc/self/exe", false, "/proc/self/exe");
}
END_TEST

static void close_backend(struct blk_backend *b)
{
	b->ops->close(b->opaque);
}

START_TEST(locks)
{
	const char *path = image("disk", SIZE);
	struct blk_backend a, b, c;
	struct error err;

	ck_assert_int_eq(open_as(path, false, false, &a, &err), 0);
	ck_assert(!a.read_only && a.discards && a.zeroes && a.size == SIZE);
	refused(path, false, "in use");
	refused(path, true, "that writes it");
	/* To be shown only. */
	ck_assert_int_eq(
		blk_file_open(&(struct blk_file_config){.path = path}, false, NULL, &b, &err), 0);
	close_backend(&b);
	refused(path, false, "in use");
	close_backend(&a);
	/* Readers share. */
	ck_assert_int_eq(open_as(path, true, false, &a, &err), 0);
	ck_assert_int_eq(open_as(path, true, false, &b, &err), 0);
	ck_assert(a.read_only && !a.discards && !a.zeroes);
	refused(path, false, "',ro'");
	close_backend(&a);
	refused(path, false, "in use");
	close_backend(&b);
	ck_assert_int_eq(open_as(path, false, true, &c, &err), 0);
	refused(path, true, "in use");
	close_backend(&c);
}
END_TEST

/* Reads and writes cut and placed in any way come out as in a plain array. */
static void random_io(const char *path, bool direct, const char *seed)
{
	struct prng p = prng_start(seed);
	static uint8_t oracle[SIZE], all[SIZE];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *memory = aligned_alloc(4096, 2 * SIZE);
	struct blk_backend b;
	struct error err;
	unsigned int round, i;

	ck_assert_msg(!open_as(path, false, direct, &b, &err), "%s", err.msg);
	ck_assert_int_eq(pread(fd, oracle, SIZE, 0), SIZE);
	for (round = 0; round < 1500; round++) {
		struct iovec iov[8];
		struct blk_io io = {.type = prng_below(&p, 2) ? BLK_READ : BLK_WRITE,
				    .iov = iov,
				    .nr = 1 + prng_below(&p, 8)};
		uint32_t unit = (uint32_t[]){512, 4096, 4}[prng_below(&p, 3)], done = 0;
		uint8_t *at = memory + (prng_below(&p, 2) ? 0 : prng_below(&p, 512));

		for (i = 0; i < io.nr; i++) {
			size_t len = (1 + prng_below(&p, 8)) * (size_t)unit;

			if (i + 1 == io.nr)
				len += -(io.len + len) & 511;
			iov[i] = (struct iovec){at, len};
			at += len;
			io.len += len;
		}
		io.offset = prng_below(&p, (uint32_t)((SIZE - io.len) / 512 + 1)) * UINT64_C(512);
		if (prng_below(&p, 2))
			io.offset &= ~UINT64_C(4095);
		for (i = 0; io.type == BLK_WRITE && i < io.len; i++)
			((uint8_t *)iov[0].iov_base)[i] = (uint8_t)prng_u64(&p);
		while (done < io.len) {
			/* As the disk does it. */
			struct iovec part = {(uint8_t *)iov[0].iov_base + done, io.len - done};
			struct blk_io rest = {.type = io.type,
					      .offset = io.offset + done,
					      .len = io.len - done,
					      .iov = &part,
					      .nr = 1};
			long n = b.ops->perform(b.opaque, done ? &rest : &io);

			ck_assert_msg(n > 0, "%s at %llu + %llu", strerror((int)-n),
				      (unsigned long long)io.offset, (unsigned long long)io.len);
			done += (uint32_t)n;
		}
		ck_assert_uint_eq(done, io.len);
		if (io.type == BLK_WRITE)
			memcpy(oracle + io.offset, iov[0].iov_base, io.len);
		else
			ck_assert_int_eq(memcmp(oracle + io.offset, iov[0].iov_base, io.len), 0);
	}
	ck_assert_int_eq(b.ops->perform(b.opaque, &(struct blk_io){.type = BLK_SYNC}), 0);
	close_backend(&b);
	ck_assert_int_eq(pread(fd, all, SIZE, 0), SIZE);
	ck_assert_int_eq(memcmp(all, oracle, SIZE), 0);
	close(fd);
	free(memory);
}

START_TEST(any_alignment)
{
	char path[32];
	int fd;

	random_io(image("cached", SIZE), false, "cached");
	random_io(image("direct", SIZE), true, "direct");
	/* A file system that does not tell what it wants: the most is assumed. */
	fd = memfd_create("disk", MFD_CLOEXEC);
	ck_assert_int_eq(ftruncate(fd, SIZE), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	random_io(path, false, "memory");
	if (open(path, O_RDONLY | O_DIRECT | O_CLOEXEC) >= 0)
		random_io(path, true, "memory direct");
	close(fd);
}
END_TEST

static long now(struct blk_backend *b, enum blk_io_type type, void *buf, size_t len)
{
	struct iovec iov = {buf, len};
	bool data = type == BLK_READ || type == BLK_WRITE;

	return b->ops->now(
		b->opaque,
		&(struct blk_io){.type = type, .len = len, .iov = data ? &iov : NULL, .nr = data});
}

/* What the page cache can do, and nothing else. */
START_TEST(at_once)
{
	const char *path = image("disk", SIZE);
	static uint8_t buf[65536] __attribute__((aligned(4096)));
	struct iovec iov = {buf, sizeof(buf)};
	struct blk_backend b;
	struct error err;
	char shm[32];
	int fd;

	ck_assert_int_eq(open_as(path, false, false, &b, &err), 0);
	memset(buf, 1, sizeof(buf));
	ck_assert_int_eq(now(&b, BLK_WRITE, buf, sizeof(buf)), sizeof(buf));
	memset(buf, 0, sizeof(buf));
	ck_assert_int_eq(now(&b, BLK_READ, buf, sizeof(buf)), sizeof(buf));
	ck_assert_uint_eq(buf[sizeof(buf) - 1], 1);
	ck_assert_int_eq(now(&b, BLK_SYNC, NULL, 0), -EAGAIN);
	ck_assert_int_eq(now(&b, BLK_ZERO, NULL, 4096), -EAGAIN);
	ck_assert_int_eq(now(&b, BLK_DISCARD, NULL, 4096), -EAGAIN);
	ck_assert_int_ge(b.ops->ring_fd(b.opaque, &(struct blk_io){.type = BLK_READ,
								   .len = sizeof(buf),
								   .iov = &iov,
								   .nr = 1}),
			 0);
	ck_assert_int_lt(b.ops->ring_fd(b.opaque, &(struct blk_io){.type = BLK_WRITE,
								   .len = sizeof(buf),
								   .iov = &iov,
								   .nr = 1}),
			 0);
	/* Not in the cache. */
	ck_assert_int_eq(b.ops->perform(b.opaque, &(struct blk_io){.type = BLK_SYNC}), 0);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
	ck_assert_int_eq(now(&b, BLK_READ, buf, sizeof(buf)), -EAGAIN);
	close_backend(&b);

	ck_assert_int_eq(open_as(path, false, true, &b, &err), 0);
	ck_assert_int_eq(now(&b, BLK_WRITE, buf, sizeof(buf)), -EAGAIN);
	ck_assert_int_eq(now(&b, BLK_READ, buf, sizeof(buf)), -EAGAIN);
	ck_assert_int_ge(b.ops->ring_fd(b.opaque, &(struct blk_io){.type = BLK_WRITE,
								   .len = sizeof(buf),
								   .iov = &iov,
								   .nr = 1}),
			 0);
	iov.iov_base = buf + 1;
	iov.iov_len--;
	ck_assert_int_lt(b.ops->ring_fd(b.opaque, &(struct blk_io){.type = BLK_WRITE,
								   .len = sizeof(buf) - 1,
								   .iov = &iov,
								   .nr = 1}),
			 0);
	close_backend(&b);

	/* Memory never waits. */
	fd = memfd_create("disk", MFD_CLOEXEC);
	ck_assert_int_eq(ftruncate(fd, SIZE), 0);
	snprintf(shm, sizeof(shm), "/proc/self/fd/%d", fd);
	ck_assert_int_eq(open_as(shm, false, false, &b, &err), 0);
	ck_assert_int_eq(now(&b, BLK_READ, buf, sizeof(buf)), sizeof(buf));
	ck_assert_int_eq(now(&b, BLK_SYNC, NULL, 0), 0);
	ck_assert_int_eq(now(&b, BLK_DISCARD, NULL, 4096), 0);
	close_backend(&b);
	close(fd);
}
END_TEST

/* On a file system that can punch holes and not zero (shmem), by way of direct I/O too. */
START_TEST(zeroes_by_hand)
{
	struct blk_backend b;
	uint8_t *ones = malloc(SIZE), *back = malloc(SIZE);
	int fd = memfd_create("disk", MFD_CLOEXEC);
	struct blk_io io = {.type = BLK_ZERO, .offset = 512, .len = SIZE - 1024};
	char path[32];
	unsigned int i;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	for (i = 0; i < 4; i++) {
		memset(ones, 1, SIZE);
		ck_assert_int_eq(pwrite(fd, ones, SIZE, 0), SIZE);
		if (open_as(path, false, i & 2, &b, NULL))
			continue;
		io.unmap = i & 1;
		ck_assert_int_eq(b.ops->perform(b.opaque, &io), 0);
		ck_assert_int_eq(pread(fd, back, SIZE, 0), SIZE);
		ck_assert_int_eq(memcmp(back, ones, 512), 0);
		ck_assert_int_eq(memcmp(back + SIZE - 512, ones, 512), 0);
		memset(ones, 0, SIZE);
		ck_assert_int_eq(memcmp(back + 512, ones, SIZE - 1024), 0);
		ck_assert_int_eq(lseek(fd, 0, SEEK_END), SIZE);
		close_backend(&b);
	}
	close(fd);
	free(ones);
	free(back);
}
END_TEST

START_TEST(sizes)
{
	const char *path = image("disk", SIZE);
	struct blk_backend b;
	struct error err;

	ck_assert_int_eq(open_as(path, false, false, &b, &err), 0);
	ck_assert_int_eq(b.ops->size(b.opaque), SIZE);
	ck_assert_int_eq(truncate(path, 512), 0);
	ck_assert_int_eq(b.ops->size(b.opaque), 512);
	ck_assert_int_eq(b.ops->set_size(b.opaque, 2 * SIZE), 0);
	ck_assert_int_eq(b.ops->size(b.opaque), 2 * SIZE);
	ck_assert_int_lt(b.ops->set_size(b.opaque, UINT64_MAX - 511), 0);
	close_backend(&b);
}
END_TEST

/* --- the option ------------------------------------------------------------------- */

static struct virtio_device *disk(struct virtio_world *world, const char *words, struct error *err)
{
	struct virtio_device *vdev = NULL;
	char text[256];

	snprintf(text, sizeof(text), "%s%s", path_of("disk"), words);
	if (virtio_blk_kind.build(world, text, &vdev, err))
		return NULL;
	ck_assert_ptr_nonnull(vdev);
	return vdev;
}

START_TEST(words)
{
	static const struct {
		const char *words, *why;
	} bad[] = {
		{",format=qcow2", "vhost-user-blk"},
		{",format=qcow2", "qemu-storage-daemon"},
		{",queues=0", "1 to 16 queues"},
		{",queues=17", "16"},
		{",queue-size=100", "power of two"},
		{",queue-size=2", "4 to 1024"},
		{",queue-size=4096", "1024"},
		{",aio=native", "auto, uring, threads, none"},
		{",serial=123456789012345678901", "20 characters"},
		{",serial=a b", "printable"},
		{",readonly", "unknown word 'readonly'"},
		{",directt", "did you mean 'direct'"},
		{",ro=maybe", "on or off"},
		{".missing", "No such file"},
	};
	struct guest_memory mem;
	struct virtio_world world = {.name = "disk0", .mem = &mem, .nr_vcpus = 3};
	struct virtio_device *vdev, *other;
	struct error err;
	size_t i;

	drv_memory(&mem);
	image("disk", SIZE);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		vdev = disk(&world, bad[i].words, &err);
		ck_assert_msg(!vdev && strstr(err.msg, bad[i].why), "%s: %s", bad[i].words,
			      vdev ? "taken" : err.msg);
	}
	ck_assert_int_ne(virtio_blk_kind.build(&world, "", &vdev, &err), 0);
	/* A queue for each vCPU, 16 at most, unless told. */
	vdev = disk(&world, "", &err);
	ck_assert_msg(vdev != NULL, "%s", err.msg);
	ck_assert_uint_eq(vdev->nr_queues, 3);
	ck_assert_uint_eq(virtio_queue_max(vdev, 2), 512);
	/* It is locked; to show it, that does not matter. */
	ck_assert_ptr_null(disk(&world, ",aio=none", &err));
	world.dry_run = true;
	world.nr_vcpus = 100;
	other = disk(&world, ",queue-size=64,format=raw", &err);
	ck_assert_msg(other != NULL, "%s", err.msg);
	ck_assert_uint_eq(other->nr_queues, 16);
	ck_assert_uint_eq(virtio_queue_max(other, 15), 64);
	other->ops->destroy(other);
	vdev->ops->destroy(vdev);
	world.dry_run = false;
	vdev = disk(&world, ",ro,direct,queues=2,serial=S123,aio=threads", &err);
	ck_assert_msg(vdev != NULL, "%s", err.msg);
	ck_assert_uint_eq(vdev->nr_queues, 2);
	ck_assert(vdev->offered & 1 << 5);
	other = disk(&world, ",ro,aio=none", &err);
	ck_assert_msg(other != NULL, "%s", err.msg);
	other->ops->destroy(other);
	vdev->ops->destroy(vdev);
	memory_destroy(&mem);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio-blk-file");
	TCase *t = tcase_create("file");

	tcase_add_checked_fixture(t, make, clean);
	tcase_add_test(t, what_is_no_disk);
	tcase_add_test(t, locks);
	tcase_add_test(t, any_alignment);
	tcase_add_test(t, at_once);
	tcase_add_test(t, zeroes_by_hand);
	tcase_add_test(t, sizes);
	tcase_add_test(t, words);
	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	return unit_main(s);
}
