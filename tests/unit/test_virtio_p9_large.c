// SPDX-License-Identifier: GPL-2.0-only
/*
 * A shared directory with as many files as a part of a kernel's tree: walked and read by
 * a client that keeps a fid for each of them, as Linux does with its caches on, while the
 * process has a thousand descriptors. The client must see what is there, by the sum of
 * all names and contents, and all is given back in the end.
 */
#include "p9_client.h"
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Under AddressSanitizer fewer will do: it is about twenty times slower. */
#ifdef __SANITIZE_ADDRESS__
#define DIRS 25
#else
#define DIRS 200
#endif
#define EACH 100
#define FILES (DIRS * EACH)
#define TEXT_MAX 4096

#define SCRATCH 1 /* a fid for what is open */
#define FIRST 100

/**
 * struct walk - what the client has seen
 * @next: fid; @sum: over files in any order
 */
struct walk {
	struct p9c *c;
	uint32_t next;
	unsigned int files;
	uint64_t sum;
};

static uint64_t mix(uint64_t sum, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len--)
		sum = (sum ^ *p++) * UINT64_C(0x100000001b3);
	return sum;
}

static uint64_t sum_of(const char *dir, const char *name, const void *text, size_t len)
{
	uint64_t sum = mix(UINT64_C(0xcbf29ce484222325), dir, strlen(dir));

	sum = mix(sum, name, strlen(name) + 1);
	return mix(sum, text, len);
}

/* Mostly short, some of some KiB. */
static size_t make_text(char *text, unsigned int number)
{
	size_t len = number % 16 ? 20 + number % 60 : 1000 + number % 3000, i;

	for (i = 0; i < len; i++)
		text[i] = (char)(' ' + (number * 7 + i * 13) % 95);
	return len;
}

/* The sum of all that is made. */
static uint64_t make_tree(struct p9c *c)
{
	char text[TEXT_MAX], name[64], dir[32];
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < FILES; i++) {
		size_t len = make_text(text, i);
		int fd;

		snprintf(dir, sizeof(dir), "dir%u", i / EACH);
		snprintf(name, sizeof(name), "%s/file%u.c", dir, i % EACH);
		if (i % EACH == 0)
			ck_assert_int_eq(mkdir(p9c_path(c, dir), 0755), 0);
		fd = open(p9c_path(c, name), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(write(fd, text, len), (ssize_t)len);
		close(fd);
		sum += sum_of(dir, strrchr(name, '/') + 1, text, len);
	}
	return sum;
}

/* A clone of @fid is opened and read to its end by @len bytes at @text; no more are there. */
static size_t read_file(struct p9c *c, uint32_t fid, size_t size, char *text)
{
	size_t len;

	ck_assert_int_eq(p9c_walk(c, fid, SCRATCH, ""), 0);
	ck_assert_int_eq(p9c_lopen(c, SCRATCH, L_RDONLY), 0);
	ck_assert_int_eq(p9c_read(c, SCRATCH, 0, TEXT_MAX), 0);
	len = (size_t)p9c_get(c, 4);
	ck_assert_uint_eq(len, size);
	memcpy(text, c->reply + c->at, len);
	ck_assert_int_eq(p9c_clunk(c, SCRATCH), 0);
	return len;
}

static void visit_file(struct walk *w, uint32_t parent, const char *dir, const char *name)
{
	char text[TEXT_MAX];
	struct p9c_attr attr;
	uint32_t fid = w->next++;
	size_t len;

	ck_assert_int_eq(p9c_walk(w->c, parent, fid, name), 0);
	ck_assert_int_eq(p9c_getattr(w->c, fid, &attr), 0);
	ck_assert(S_ISREG(attr.mode) && attr.size <= TEXT_MAX);
	len = read_file(w->c, fid, attr.size, text);
	w->sum += sum_of(dir, name, text, len);
	w->files++;
}

/* All names of @fid but "." and "..": one after the other, each with its NUL. */
static char *list(struct p9c *c, uint32_t fid, size_t *len)
{
	char *names = malloc(FILES * 16);
	uint64_t offset = 0;

	*len = 0;
	ck_assert_int_eq(p9c_walk(c, fid, SCRATCH, ""), 0);
	ck_assert_int_eq(p9c_lopen(c, SCRATCH, L_RDONLY | L_DIRECTORY), 0);
	for (;;) {
		uint32_t bytes;

		ck_assert_int_eq(p9c_readdir(c, SCRATCH, offset, 8192), 0);
		bytes = (uint32_t)p9c_get(c, 4);
		if (!bytes)
			break;
		while (c->at < 11 + bytes) {
			uint16_t n;

			c->at += 13;
			offset = p9c_get(c, 8);
			c->at++;
			n = (uint16_t)p9c_get(c, 2);
			if (c->reply[c->at] != '.') {
				memcpy(names + *len, c->reply + c->at, n);
				names[*len + n] = '\0';
				*len += n + 1U;
			}
			c->at += n;
		}
	}
	ck_assert_int_eq(p9c_clunk(c, SCRATCH), 0);
	return names;
}

static void visit_dir(struct walk *w, const char *dir)
{
	uint32_t fid = w->next++;
	size_t len, at;
	char *names;

	ck_assert_int_eq(p9c_walk(w->c, 0, fid, dir), 0);
	names = list(w->c, fid, &len);
	for (at = 0; at < len; at += strlen(names + at) + 1)
		visit_file(w, fid, dir, names + at);
	free(names);
}

static unsigned int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int nr = 0;

	while (readdir(dir))
		nr++;
	closedir(dir);
	return nr;
}

START_TEST(large_tree)
{
	/* As a guest with 64 MiB has them. */
	static const struct virtio_p9_config config = {.tag = "tag", .max_fids = 65536};
	struct rlimit limit, low;
	struct walk w = {.next = FIRST};
	unsigned int before;
	char *names;
	struct p9c c;
	size_t len, at;
	uint64_t sum;
	uint32_t fid;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low = limit;
	low.rlim_cur = min_u64(1024, limit.rlim_cur);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	p9c_start(&c, &config);
	before = count_fds();
	sum = make_tree(&c);
	w.c = &c;
	names = list(&c, 0, &len);
	for (at = 0; at < len; at += strlen(names + at) + 1)
		visit_dir(&w, names + at);
	free(names);
	ck_assert_uint_eq(w.files, FILES);
	ck_assert_uint_eq(w.sum, sum);
	ck_assert_uint_eq(w.next, FIRST + DIRS + FILES);
	ck_assert_uint_le(count_fds(), 1024);
	/* The first ones are good yet, though their descriptors went long ago. */
	for (fid = FIRST; fid < FIRST + EACH; fid++) {
		struct p9c_attr attr;

		ck_assert_int_eq(p9c_getattr(&c, fid, &attr), 0);
	}
	for (fid = FIRST; fid < w.next; fid++)
		ck_assert_int_eq(p9c_clunk(&c, fid), 0);
	/* The root's own stays. */
	ck_assert_uint_le(count_fds(), before + 4);
	p9c_stop(&c);
	setrlimit(RLIMIT_NOFILE, &limit);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio-p9-large");
	TCase *t = tcase_create("large");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, large_tree);
	suite_add_tcase(s, t);
	return unit_main(s);
}
