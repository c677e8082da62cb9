// SPDX-License-Identifier: GPL-2.0-only
/*
 * treeio TAG CACHE: what working with a tree of small files costs on the 9p share TAG, or
 * (CACHE virtiofs) the virtio-fs one, by this guest's clock.
 *
 * Theory of operation: all free memory is written once, then the share is mounted at /mnt, 9p with
 * cache=CACHE. Two passes over the directory "tree" in it, the guest's caches dropped before each:
 * names and attributes (as find and ls do), then opening, reading and closing every file too; and
 * both again with whatever the guest kept. Then the file "big", which is there, is read from end to
 * end in pieces of 1 MiB, and 8 MiB are written to "big.new". One line for each: "treeio: WHAT: N
 * files, T ns each".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#define PIECE (1 << 20)

static long files;
static int reads;
static char piece[PIECE];

static long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000L + ts.tv_nsec;
}

static void drop_caches(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

	sync();
	if (fd < 0 || write(fd, "3\n", 2) != 2)
		perror("treeio: drop_caches");
	close(fd);
}

static int visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	int fd;

	(void)ftw;
	if (type != FTW_F || !S_ISREG(st->st_mode))
		return 0;
	files++;
	if (!reads)
		return 0;
	fd = open(path, O_RDONLY);
	if (fd < 0) {
		perror(path);
		return 1;
	}
	while (read(fd, piece, sizeof(piece)) > 0)
		;
	close(fd);
	return 0;
}

static int pass(const char *what, const char *dir, int read, int drop)
{
	long start;

	if (drop)
		drop_caches();
	files = 0;
	reads = read;
	start = now();
	if (nftw(dir, visit, 32, FTW_PHYS) || !files) {
		printf("treeio: %s: %s\n", dir, files ? strerror(errno) : "no files");
		return 1;
	}
	printf("treeio: %s: %ld files, %ld ns each\n", what, files, (now() - start) / files);
	return 0;
}

static int whole_file(const char *name)
{
	char new[256];
	long start, n, total = 0;
	int fd = open(name, O_RDONLY), i;

	if (fd < 0) {
		perror(name);
		return 1;
	}
	drop_caches();
	start = now();
	while ((n = read(fd, piece, sizeof(piece))) > 0)
		total += n;
	close(fd);
	printf("treeio: whole file: %ld bytes, %ld ns each KiB\n", total,
	       (now() - start) / (total / 1024 + 1));
	snprintf(new, sizeof(new), "%s.new", name);
	fd = open(new, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	start = now();
	for (i = 0; i < 8; i++)
		if (write(fd, piece, sizeof(piece)) != sizeof(piece)) {
			perror(new);
			return 1;
		}
	close(fd);
	printf("treeio: new file: %d bytes, %ld ns each KiB\n", 8 * PIECE,
	       (now() - start) / (8 * PIECE / 1024));
	return 0;
}

/*
 * Have the host make all of this guest's memory before it counts: which pages are used next is
 * chance.
 */
static void touch_memory(void)
{
	struct sysinfo info;
	size_t len;
	char *p;

	if (sysinfo(&info))
		return;
	len = (size_t)info.freeram * info.mem_unit / 8 * 7;
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return;
	memset(p, 1, len);
	munmap(p, len);
}

int main(int argc, char **argv)
{
	char options[128];

	if (argc < 3)
		return 2;
	snprintf(options, sizeof(options), "trans=virtio,version=9p2000.L,msize=524288,cache=%s",
		 argv[2]);
	touch_memory();
	mkdir("/mnt", 0755);
	if (strcmp(argv[2], "virtiofs") ? mount(argv[1], "/mnt", "9p", 0, options)
					: mount(argv[1], "/mnt", "virtiofs", 0, NULL)) {
		perror("treeio: mount");
		return 1;
	}
	return pass("walk", "/mnt/tree", 0, 1) || pass("read", "/mnt/tree", 1, 1) ||
	       pass("walk again", "/mnt/tree", 0, 0) || pass("read again", "/mnt/tree", 1, 0) ||
	       whole_file("/mnt/big");
}
