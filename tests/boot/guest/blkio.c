// SPDX-License-Identifier: GPL-2.0-only
/*
 * Direct I/O on a disk, for tests and benchmarks.
 *
 *	blkio read|write DEV BYTES COUNT [seq]	COUNT requests of BYTES, one after the other, at
 *						random places, or from the start on: says how many
 *						nanoseconds each took
 *	blkio figures DEV			4 KiB reads and writes, one at a time and 32, and of
 *						1 MiB, as tests/bench/blk wants them
 *	blkio exits DEV				2,000 reads of 4 KiB, with marks before and after
 *						by which tests/bench/blk takes KVM's counts
 *	blkio check DEV THREADS ROUNDS		THREADS at a time, each on a CPU and a part of the
 *						disk of its own: random writes, now and then
 *						a sync, then reads that must give what was written
 *
 * Theory of operation: O_DIRECT, so each request goes to the device. In `check` each 512-byte
 * sector holds words made of its place and of a generation, which the thread remembers.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SECTOR 512

/* Requests that are not counted. */
#define WARM_UP 20

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "blkio: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t next(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *state >> 16;
}

static int open_disk(const char *path, int flags, uint64_t *size)
{
	int fd = open(path, flags | O_DIRECT | O_CLOEXEC);
	off_t end = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);

	if (end < 0)
		die(path);
	*size = (uint64_t)end;
	return fd;
}

static int measure(const char *op, const char *path, uint64_t bytes, uint64_t count, int seq)
{
	int writes = !strcmp(op, "write");
	uint64_t size, state = 1, start = 0, i, places;
	int fd = open_disk(path, writes ? O_RDWR : O_RDONLY, &size);
	void *buf = aligned_alloc(4096, bytes);

	if (!buf || size < bytes)
		die("size");
	memset(buf, 0x5a, bytes);
	places = size / bytes;
	for (i = 0; i < count + WARM_UP; i++) {
		off_t at = (off_t)((seq ? i % places : next(&state) % places) * bytes);
		ssize_t n;

		if (i == WARM_UP)
			start = now_ns();
		n = writes ? pwrite(fd, buf, bytes, at) : pread(fd, buf, bytes, at);

		if (n != (ssize_t)bytes)
			die(op);
	}
	printf("blkio: %s %s %llu: %llu ns each\n", op, seq ? "sequential" : "random",
	       (unsigned long long)bytes, (unsigned long long)((now_ns() - start) / count));
	return 0;
}

/* 4 KiB at random places, DEPTH under way at any time, by the kernel's asynchronous I/O. */
#define DEPTH 32

static void submit(aio_context_t context, struct iocb *cb)
{
	if (syscall(SYS_io_submit, context, 1, &cb) != 1)
		die("io_submit");
}

static int deep(const char *op, const char *path, uint64_t count)
{
	uint64_t size, state = 1, start = 0, counted = 0, begun = 0, all = count + WARM_UP;
	int writes = !strcmp(op, "write");
	int fd = open_disk(path, writes ? O_RDWR : O_RDONLY, &size);
	char *buf = aligned_alloc(4096, DEPTH * 4096);
	struct iocb cb[DEPTH], *idle[DEPTH];
	struct io_event events[DEPTH];
	unsigned int nr_idle;
	aio_context_t context = 0;

	if (!buf || size < 4096 || syscall(SYS_io_setup, DEPTH, &context))
		die("asynchronous I/O");
	memset(buf, 0x5a, DEPTH * 4096);
	memset(cb, 0, sizeof(cb));
	for (nr_idle = 0; nr_idle < DEPTH; nr_idle++) {
		idle[nr_idle] = &cb[nr_idle];
		cb[nr_idle].aio_lio_opcode = writes ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
		cb[nr_idle].aio_fildes = (uint32_t)fd;
		cb[nr_idle].aio_buf = (uint64_t)(uintptr_t)buf + nr_idle * 4096;
		cb[nr_idle].aio_nbytes = 4096;
	}
	while (counted < count) {
		long n;

		for (; nr_idle && begun < all; begun++) {
			struct iocb *next_one = idle[--nr_idle];

			next_one->aio_offset = (int64_t)(next(&state) % (size / 4096) * 4096);
			submit(context, next_one);
		}
		n = syscall(SYS_io_getevents, context, 1, DEPTH, events, NULL);
		if (n < 1)
			die("io_getevents");
		if (start)
			counted += (uint64_t)n;
		else if (begun >= WARM_UP + DEPTH)
			start = now_ns();
		while (n--) {
			if (events[n].res != 4096)
				die(op);
			idle[nr_idle++] = (struct iocb *)(uintptr_t)events[n].obj;
		}
		if (nr_idle == DEPTH && begun == all)
			break;
	}
	printf("blkio: %s random 4096, %d at a time: %llu ns each\n", op, DEPTH,
	       (unsigned long long)((now_ns() - start) / counted));
	syscall(SYS_io_destroy, context);
	free(buf);
	close(fd);
	return 0;
}

/* The guest has just started: let it come to rest first. */
static int figures(const char *path)
{
	int ret;

	sleep(2);
	ret = measure("read", path, 4096, 5000, 0) || measure("write", path, 4096, 5000, 0) ||
	      measure("read", path, 1 << 20, 64, 1) || measure("write", path, 1 << 20, 64, 1) ||
	      deep("read", path, 5000) || deep("write", path, 5000);
	if (!ret)
		printf("blkio: done\n");
	return ret;
}

/* Whoever reads the marks has a second for it in which little else happens. */
static void mark(const char *what)
{
	printf("blkio: mark %s\n", what);
	fflush(stdout);
	sleep(2);
}

static int exits(const char *path)
{
	sleep(2);
	mark("rest");
	mark("begin");
	measure("read", path, 4096, 2000 - WARM_UP, 0);
	mark("end");
	return 0;
}

struct part {
	pthread_t thread;
	int fd, cpu;
	uint64_t first, sectors; /* of the disk */
	unsigned int rounds;
	uint32_t *generation; /* of each sector; 0: not written */
};

static void fill(uint64_t *words, uint64_t sector, uint32_t generation)
{
	unsigned int i;

	for (i = 0; i < SECTOR / 8; i++)
		words[i] = (sector << 24 ^ generation) * UINT64_C(0x9e3779b97f4a7c15) + i;
}

static void request(struct part *p, uint64_t *state, char *buf, uint32_t generation)
{
	uint64_t n = 1 + next(state) % (next(state) % 4 ? 16 : 256), at, i, want[SECTOR / 8];
	int writes = next(state) & 1;
	ssize_t ret;

	if (n > p->sectors)
		n = p->sectors;
	at = next(state) % (p->sectors - n + 1);
	for (i = 0; writes && i < n; i++) {
		p->generation[at + i] = generation;
		fill((uint64_t *)(void *)(buf + i * SECTOR), p->first + at + i, generation);
	}
	if (writes)
		ret = pwrite(p->fd, buf, n * SECTOR, (off_t)((p->first + at) * SECTOR));
	else
		ret = pread(p->fd, buf, n * SECTOR, (off_t)((p->first + at) * SECTOR));
	if (ret != (ssize_t)(n * SECTOR))
		die(writes ? "write" : "read");
	for (i = 0; !writes && i < n; i++) {
		if (!p->generation[at + i])
			continue;
		fill(want, p->first + at + i, p->generation[at + i]);
		if (memcmp(want, buf + i * SECTOR, SECTOR)) {
			fprintf(stderr, "blkio: sector %llu is not what was written\n",
				(unsigned long long)(p->first + at + i));
			exit(1);
		}
	}
}

static void *check_part(void *arg)
{
	struct part *p = arg;
	char *buf = aligned_alloc(4096, 256 * SECTOR);
	uint64_t state = p->first + 1;
	cpu_set_t set;
	uint32_t i;

	CPU_ZERO(&set);
	CPU_SET(p->cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
	if (!buf)
		die("memory");
	for (i = 1; i <= p->rounds; i++) {
		request(p, &state, buf, i);
		if (next(&state) % 64 == 0 && fdatasync(p->fd))
			die("sync");
	}
	free(buf);
	return NULL;
}

static int check(const char *path, unsigned int threads, unsigned int rounds)
{
	struct part *parts = calloc(threads, sizeof(*parts));
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t size;
	int fd = open_disk(path, O_RDWR, &size);
	unsigned int i;

	if (!parts || !threads)
		die("threads");
	for (i = 0; i < threads; i++) {
		struct part *p = &parts[i];

		p->fd = fd;
		p->cpu = (int)(i % (unsigned int)cpus);
		p->sectors = size / SECTOR / threads;
		p->first = i * p->sectors;
		p->rounds = rounds;
		p->generation = calloc(p->sectors, sizeof(*p->generation));
		if (!p->generation || pthread_create(&p->thread, NULL, check_part, p))
			die("thread");
	}
	for (i = 0; i < threads; i++)
		pthread_join(parts[i].thread, NULL);
	printf("blkio: %u threads, %u requests each: all is as it was written\n", threads, rounds);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc >= 5 && (!strcmp(argv[1], "read") || !strcmp(argv[1], "write")))
		return measure(argv[1], argv[2], strtoull(argv[3], NULL, 0),
			       strtoull(argv[4], NULL, 0), argc > 5);
	if (argc == 3 && !strcmp(argv[1], "figures"))
		return figures(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "exits"))
		return exits(argv[2]);
	if (argc == 5 && !strcmp(argv[1], "check"))
		return check(argv[2], (unsigned int)atoi(argv[3]), (unsigned int)atoi(argv[4]));
	fprintf(stderr, "usage: blkio read|write DEV BYTES COUNT [seq] | figures DEV | exits DEV | "
			"check DEV "
			"THREADS ROUNDS\n");
	return 2;
}
