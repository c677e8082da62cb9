// SPDX-License-Identifier: GPL-2.0-only
/*
 * treesum DIR: one line for all that is beneath DIR: "N files SUM".
 * treesum make DIR DIRS FILES: a tree to be summed, with DIRS * 10 * FILES files in it:
 *	DIR/dirD/subS/fileF.c, of some 40 bytes each, every tenth of some KiB.
 *
 * Host and guest see the same tree where they get the same line. The sum (FNV-1a, 64 bits)
 * takes in, by names in the order of their bytes, the path of each file, directory and link
 * seen from DIR, its type, mode and owner, a file's length and contents, a link's target.
 * What can't be read, or is shorter than it is said to be, ends it with an error.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t sum = UINT64_C(0xcbf29ce484222325);
static long files;

static void add(const void *data, size_t len)
{
	const unsigned char *p = data;

	while (len--)
		sum = (sum ^ *p++) * UINT64_C(0x100000001b3);
}

static int failed(const char *path)
{
	fprintf(stderr, "treesum: %s: %s\n", path, strerror(errno));
	return -1;
}

static int add_file(const char *path, off_t size)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW);
	char buf[65536];
	off_t left = size;
	ssize_t n = 1;

	if (fd < 0)
		return failed(path);
	while (left && (n = read(fd, buf, sizeof(buf))) > 0) {
		add(buf, (size_t)n);
		left -= n;
	}
	if (n < 0)
		failed(path);
	else if (left)
		fprintf(stderr, "treesum: %s has not the %lld bytes it is said to have\n", path,
			(long long)size);
	close(fd);
	return left ? -1 : 0;
}

static int add_link(const char *path)
{
	char target[PATH_MAX];
	ssize_t n = readlink(path, target, sizeof(target));

	if (n < 0)
		return failed(path);
	add(target, (size_t)n);
	return 0;
}

static int not_dots(const struct dirent *e)
{
	return strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* @path, whose part from @from on counts. */
static int add_tree(char *path, size_t from)
{
	size_t len = strlen(path);
	struct dirent **names;
	struct stat st;
	int i, nr, ret = 0;

	nr = scandir(path, &names, not_dots, by_bytes);
	if (nr < 0)
		return failed(path);
	for (i = 0; i < nr && !ret; i++) {
		char text[PATH_MAX + 64];

		snprintf(path + len, PATH_MAX - len, "/%s", names[i]->d_name);
		if (lstat(path, &st)) {
			ret = failed(path);
			break;
		}
		add(text, (size_t)snprintf(text, sizeof(text), "%s %o %u %u ", path + from,
					   st.st_mode, st.st_uid, st.st_gid));
		if (S_ISDIR(st.st_mode)) {
			ret = add_tree(path, from);
		} else if (S_ISLNK(st.st_mode)) {
			ret = add_link(path);
		} else if (S_ISREG(st.st_mode)) {
			add(&st.st_size, sizeof(st.st_size));
			ret = add_file(path, st.st_size);
			files++;
		}
	}
	path[len] = '\0';
	for (i = 0; i < nr; i++)
		free(names[i]);
	free(names);
	return ret;
}

static int make_file(const char *path, unsigned int number)
{
	unsigned int lines = number % 10 ? 1 : 60, i;
	FILE *f = fopen(path, "w");

	if (!f)
		return failed(path);
	for (i = 0; i < lines; i++)
		fprintf(f, "%u.%u: the quick brown fox jumps, %x\n", number, i,
			number * 2654435761U + i);
	return fclose(f) ? failed(path) : 0;
}

static int make_tree(const char *dir, unsigned int dirs, unsigned int each)
{
	unsigned int i, number = 0;
	char path[PATH_MAX];

	for (i = 0; i < dirs * 10 * each; i++, number++) {
		if (i % (10 * each) == 0) {
			snprintf(path, sizeof(path), "%s/dir%u", dir, i / (10 * each));
			if (mkdir(path, 0755))
				return failed(path);
		}
		if (i % each == 0) {
			snprintf(path, sizeof(path), "%s/dir%u/sub%u", dir, i / (10 * each),
				 i / each % 10);
			if (mkdir(path, 0755))
				return failed(path);
		}
		snprintf(path, sizeof(path), "%s/dir%u/sub%u/file%u.c", dir, i / (10 * each),
			 i / each % 10, i % each);
		if (make_file(path, number))
			return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	char path[PATH_MAX];

	if (argc == 5 && !strcmp(argv[1], "make"))
		return make_tree(argv[2], (unsigned int)atoi(argv[3]), (unsigned int)atoi(argv[4]))
			       ? 1
			       : 0;
	if (argc != 2) {
		fprintf(stderr, "usage: treesum DIR; treesum make DIR DIRS FILES\n");
		return 2;
	}
	snprintf(path, sizeof(path), "%s", argv[1]);
	if (add_tree(path, strlen(path)))
		return 1;
	printf("%ld files %016llx\n", files, (unsigned long long)sum);
	return 0;
}
