// SPDX-License-Identifier: GPL-2.0-only
/*
 * The snapshot file by itself: what is written is read again, in both encodings; every
 * kind of damage is refused with the name of the part; a failing disk leaves the old file.
 */
#include "lkvm/snapshot/format.h"
#include "lkvm/snapshot/memory.h"
#include "prng.h"
#include "unit.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define RAM UINT64_C(0x80000000)

#define GOLDEN_ID "103b6ea1ff1090c774376094fb2549db"
#define GOLDEN_CRC 0x662fda72

static struct guest_memory mem;
static struct error err;
static char dir[64];
static int fd;

static void fill(struct prng *p)
{
	uint64_t size = 3 * MIB, page, i;

	for (page = 0; page < size / SNAPSHOT_PAGE; page++) {
		uint64_t *at = memory_for_write(&mem, RAM + page * SNAPSHOT_PAGE, SNAPSHOT_PAGE);

		if (page < 4 || prng_below(p, 12))
			continue;
		/* Some compress, some do not, one has its last byte only. */
		for (i = 0; i < SNAPSHOT_PAGE / 8; i++)
			at[i] = page % 3 ? prng_u64(p) : page;
		if (page % 5 == 0) {
			memset(at, 0, SNAPSHOT_PAGE);
			((uint8_t *)at)[SNAPSHOT_PAGE - 1] = 1;
		}
	}
	memset(memory_for_write(&mem, RAM + size - 16, 16), 0x5a, 16);
	memset(memory_for_write(&mem, 0x100000000, 8), 0x77, 8);
}

static void setup(void)
{
	struct prng p = prng_start("fill");

	memory_init(&mem);
	ck_assert(memory_add(&mem, RAM, 3 * MIB, 4096, &err));
	ck_assert(memory_add(&mem, 0x100000000, 5 * SNAPSHOT_PAGE, 4096, &err));
	fill(&p);
	strcpy(dir, "/tmp/lkvm-snapshot-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	fd = open(dir, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
}

static void teardown(void)
{
	struct dirent *e;
	DIR *d = opendir(dir);

	close(fd);
	memory_destroy(&mem);
	while ((e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
	rmdir(dir);
}

static const struct snapshot_io real = {.ops = &snapshot_io_linux};

static int write_to(int to, struct snapshot_io io, enum snapshot_encoding encoding,
		    uint8_t id[SNAPSHOT_ID_SIZE])
{
	struct snapshot_writer w;
	int ret;

	snapshot_writer_init(&w, io, to);
	ret = snapshot_add(&w, "config", 1, SNAPSHOT_MANDATORY, "a configuration", 15, &err) ||
	      snapshot_add(&w, "vcpu0", 1, SNAPSHOT_MANDATORY, "registers", 9, &err) ||
	      snapshot_add(&w, "device:disk0", 1, 0, "", 0, &err) ||
	      snapshot_finish(&w, &mem, encoding, NULL, id, &err);
	snapshot_writer_free(&w);
	return ret ? -1 : 0;
}

static void make(enum snapshot_encoding encoding)
{
	uint8_t id[SNAPSHOT_ID_SIZE];

	ck_assert_int_eq(ftruncate(fd, 0), 0);
	ck_assert_msg(!write_to(fd, real, encoding, id), "%s", err.msg);
}

static int verify(void)
{
	struct snapshot_file f;
	int ret;

	if (snapshot_open(&f, fd, &err))
		return -1;
	ret = snapshot_verify(&f, &err);
	snapshot_close(&f);
	return ret;
}

START_TEST(round_trip)
{
	struct guest_memory other;
	struct snapshot_memory m;
	struct snapshot_file f;
	uint8_t *data;
	size_t len;

	make((enum snapshot_encoding)_i);
	ck_assert_msg(!verify(), "%s", err.msg);
	ck_assert_int_eq(snapshot_open(&f, fd, &err), 0);
	ck_assert_int_eq(snapshot_read(&f, "vcpu0", 1, &data, &len, &err), 0);
	ck_assert_uint_eq(len, 9);
	ck_assert_mem_eq(data, "registers", 9);
	free(data);
	ck_assert_int_eq(snapshot_read(&f, "vcpu1", 1, &data, &len, &err), -1);
	ck_assert_str_eq(err.msg, "there is no section vcpu1");
	ck_assert_int_eq(snapshot_read(&f, "vcpu0", 0, &data, &len, &err), -1);

	memory_init(&other);
	ck_assert(memory_add(&other, RAM, 3 * MIB, 4096, &err));
	ck_assert(memory_add(&other, 0x100000000, 5 * SNAPSHOT_PAGE, 4096, &err));
	ck_assert_msg(!snapshot_memory_open(&m, &f, &err), "%s", err.msg);
	ck_assert_msg(!snapshot_memory_read(&m, &other, &err), "%s", err.msg);
	ck_assert(!memcmp(other.regions[0].hva, mem.regions[0].hva, 3 * MIB));
	ck_assert(!memcmp(other.regions[1].hva, mem.regions[1].hva, 5 * SNAPSHOT_PAGE));
	ck_assert_uint_eq(m.encoding, (unsigned int)_i);
	ck_assert_uint_gt(m.used, 0);
	/* Raw memory may be mapped as it lies. */
	if (m.encoding == SNAPSHOT_RAW)
		ck_assert_uint_eq(m.regions[0].offset % SNAPSHOT_PAGE, 0);
	snapshot_memory_close(&m);
	snapshot_close(&f);
	memory_destroy(&other);
}
END_TEST

/* Zero pages take no room, and the same state gives the same bytes and the same name. */
START_TEST(small_and_equal)
{
	uint8_t a[SNAPSHOT_ID_SIZE], b[SNAPSHOT_ID_SIZE], *first, *again;
	struct stat st;
	size_t len;

	ck_assert_int_eq(write_to(fd, real, (enum snapshot_encoding)_i, a), 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_lt(st.st_blocks * 512, 600 * 1024);
	len = (size_t)st.st_size;
	first = malloc(len);
	ck_assert_int_eq(pread_all(fd, first, len, 0), (long)len);
	ck_assert_int_eq(ftruncate(fd, 0), 0);
	ck_assert_int_eq(write_to(fd, real, (enum snapshot_encoding)_i, b), 0);
	ck_assert_mem_eq(a, b, sizeof(a));
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_size, (off_t)len);
	again = malloc(len);
	ck_assert_int_eq(pread_all(fd, again, len, 0), (long)len);
	ck_assert(!memcmp(first, again, len));
	free(again);
	free(first);
	/* Another state has another name. */
	*(uint8_t *)memory_for_write(&mem, RAM + 5 * SNAPSHOT_PAGE, 1) ^= 1;
	ck_assert_int_eq(ftruncate(fd, 0), 0);
	ck_assert_int_eq(write_to(fd, real, (enum snapshot_encoding)_i, b), 0);
	ck_assert(memcmp(a, b, sizeof(a)));
}
END_TEST

static bool names_a_part(const char *text)
{
	static const char *const parts[] = {"header: ", "table: ",  "config: ",	   "vcpu0: ",
					    "device:",	"memory: ", "guest memory"};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(parts); i++)
		if (!strncmp(text, parts[i], strlen(parts[i])))
			return true;
	return false;
}

/* Any bit of the file, holes included. */
START_TEST(bit_flips)
{
	struct prng p = prng_start("flips");
	struct stat st;
	unsigned int i;

	make((enum snapshot_encoding)(_i % 3));
	ck_assert_int_eq(fstat(fd, &st), 0);
	for (i = 0; i < 1700; i++) {
		/* Half of them where the state is. */
		uint64_t at = (prng_u64(&p) >> 8) % (uint64_t)(i % 2 ? st.st_size : 8192);
		uint8_t old, new;

		ck_assert_int_eq(pread(fd, &old, 1, (off_t)at), 1);
		new = old ^ (uint8_t)(1u << prng_below(&p, 8));
		ck_assert_int_eq(pwrite(fd, &new, 1, (off_t)at), 1);
		ck_assert_msg(verify() == -1, "a bit flipped in byte %llu is not seen",
			      (unsigned long long)at);
		ck_assert_msg(names_a_part(err.msg), "%s", err.msg);
		ck_assert_int_eq(pwrite(fd, &old, 1, (off_t)at), 1);
	}
	ck_assert_msg(!verify(), "%s", err.msg);
}
END_TEST

static void cut_at(int full, uint64_t at)
{
	struct snapshot_file f;
	int cut = open(dir, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	uint8_t *data = malloc(at ? at : 1);

	ck_assert_int_ge(cut, 0);
	ck_assert_int_eq(pread_all(full, data, at, 0), (long)at);
	ck_assert_int_eq(write_all(cut, data, at), (long)at);
	free(data);
	ck_assert_msg(snapshot_open(&f, cut, &err) == -1, "cut at %llu: taken",
		      (unsigned long long)at);
	ck_assert_msg(names_a_part(err.msg), "%s", err.msg);
	close(cut);
}

/* Cut off at every section's edge and its neighbours, and at every 4 KiB; and too long. */
START_TEST(truncation)
{
	struct snapshot_file f;
	struct stat st;
	uint64_t at;
	uint32_t i;

	make((enum snapshot_encoding)_i);
	ck_assert_int_eq(fstat(fd, &st), 0);
	for (at = 0; at < (uint64_t)st.st_size; at += SNAPSHOT_PAGE)
		cut_at(fd, at);
	cut_at(fd, (uint64_t)st.st_size - 1);
	ck_assert_int_eq(snapshot_open(&f, fd, &err), 0);
	for (i = 0; i < f.header.sections; i++) {
		uint64_t start = f.entries[i].offset, end = start + f.entries[i].size;

		cut_at(fd, start);
		cut_at(fd, start - 1);
		cut_at(fd, end);
		if (f.entries[i].size)
			cut_at(fd, end - 1);
	}
	snapshot_close(&f);
	ck_assert_int_eq(ftruncate(fd, st.st_size + 1), 0);
	ck_assert_int_eq(verify(), -1);
	ck_assert_ptr_nonnull(strstr(err.msg, "no part of the file"));
}
END_TEST

/* --- a disk that fails -------------------------------------------------------------------- */

/* @nth: the call that fails; @shorten: writes take 1000 bytes at most. */
struct bad_disk {
	unsigned long nth, calls;
	int errnum;
	bool shorten;
};

static int hit(struct bad_disk *d)
{
	return ++d->calls == d->nth ? -d->errnum : 0;
}

static long bad_write(void *opaque, int to, const void *buf, size_t len, uint64_t offset)
{
	struct bad_disk *d = opaque;
	int ret = hit(d);

	if (ret)
		return ret;
	if (d->shorten && len > 1000)
		len = 1000;
	return snapshot_io_linux.write(NULL, to, buf, len, offset);
}

static int bad_truncate(void *opaque, int to, uint64_t size)
{
	int ret = hit(opaque);

	return ret ? ret : snapshot_io_linux.truncate(NULL, to, size);
}

static int bad_sync(void *opaque, int to)
{
	(void)to;
	return hit(opaque);
}

static int bad_rename(void *opaque, int at, const char *from, const char *to)
{
	int ret = hit(opaque);

	return ret ? ret : snapshot_io_linux.rename(NULL, at, from, to);
}

static const struct snapshot_io_ops bad_ops = {
	.write = bad_write,
	.truncate = bad_truncate,
	.sync = bad_sync,
	.rename = bad_rename,
};

/* Save over @path. */
static int save_over(const char *path, struct snapshot_io io)
{
	uint8_t id[SNAPSHOT_ID_SIZE];
	struct snapshot_target t;

	if (snapshot_target_open(&t, io, path, &err))
		return -1;
	if (write_to(t.fd, io, SNAPSHOT_RAW, id)) {
		snapshot_target_abort(&t);
		return -1;
	}
	return snapshot_target_commit(&t, &err);
}

static unsigned int files(void)
{
	DIR *d = opendir(dir);
	unsigned int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static void good_file(const char *path, uint8_t id[SNAPSHOT_ID_SIZE])
{
	struct snapshot_file f;
	int old = open(path, O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(old, 0);
	ck_assert_msg(!snapshot_open(&f, old, &err), "%s", err.msg);
	ck_assert_msg(!snapshot_verify(&f, &err), "%s", err.msg);
	memcpy(id, f.header.id, SNAPSHOT_ID_SIZE);
	snapshot_close(&f);
	close(old);
}

START_TEST(failing_disk)
{
	static const int errors[] = {ENOSPC, EIO};
	uint8_t before[SNAPSHOT_ID_SIZE], after[SNAPSHOT_ID_SIZE];
	struct bad_disk d = {.errnum = errors[_i]};
	struct snapshot_io bad = {&bad_ops, &d};
	unsigned long nth, last;
	char path[128];

	snprintf(path, sizeof(path), "%s/file", dir);
	ck_assert_msg(!save_over(path, bad), "%s", err.msg);
	last = d.calls;
	ck_assert_uint_gt(last, 20);
	good_file(path, before);
	*(uint8_t *)memory_for_write(&mem, RAM + 5 * SNAPSHOT_PAGE, 1) ^= 1;
	/* The last call is the directory's way to the disk: then the new file stands. */
	for (nth = 1; nth < last; nth++) {
		d.nth = nth;
		d.calls = 0;
		ck_assert_msg(save_over(path, bad) == -1, "call %lu", nth);
		ck_assert_ptr_nonnull(strstr(err.msg, strerror(errors[_i])));
		ck_assert_uint_eq(files(), 1);
	}
	good_file(path, after);
	ck_assert_mem_eq(before, after, sizeof(before));
	d.calls = 0;
	d.nth = last;
	ck_assert_int_eq(save_over(path, bad), -1);
	ck_assert_ptr_nonnull(strstr(err.msg, "is written, but"));
	good_file(path, after);
	ck_assert(memcmp(before, after, sizeof(before)));
}
END_TEST

/* Killed at any moment while it saves over a good file: there is a good file every time. */
START_TEST(killed)
{
	struct prng p = prng_start("killed");
	uint8_t id[SNAPSHOT_ID_SIZE], last[SNAPSHOT_ID_SIZE] = {0};
	unsigned int i, replaced = 0, unfinished = 0;
	char path[128];

	snprintf(path, sizeof(path), "%s/file", dir);
	ck_assert_msg(!save_over(path, real), "%s", err.msg);
	for (i = 0; i < 200; i++) {
		int status;
		pid_t pid;

		*(uint64_t *)memory_for_write(&mem, RAM + 5 * SNAPSHOT_PAGE, 8) = i + 1;
		pid = fork();
		ck_assert_int_ge(pid, 0);
		if (!pid)
			_exit(save_over(path, real) ? 1 : 0);
		usleep(prng_below(&p, 6000));
		kill(pid, SIGKILL);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		unfinished += WIFSIGNALED(status);
		good_file(path, id);
		replaced += memcmp(id, last, sizeof(id)) != 0;
		memcpy(last, id, sizeof(id));
	}
	printf("killed: %u of 200 before the end, the file was replaced %u times\n", unfinished,
	       replaced);
}
END_TEST

#define SUM_FACTOR UINT64_C(0x963656a4e309b4d1)

/* What memory may hold: what makes the factor 0 (it is in lkvm itself), and what hashes go by. */
static const uint64_t bad_words[] = {
	SUM_FACTOR,
	~SUM_FACTOR,
	0,
	UINT64_MAX,
	UINT64_C(0xcbf29ce484222325),
	UINT64_C(0x9e3779b97f4a7c15),
};

/* lkvm-snapshot(5) read literally: a byte at a time, and the product by halves. */
static uint64_t slow_step(uint64_t s, uint64_t a, uint64_t b)
{
	uint64_t x = s ^ a, y = b ^ SUM_FACTOR;
	uint64_t low = (uint32_t)x * (y & 0xffffffff), mid = (x >> 32) * (y & 0xffffffff);
	uint64_t other = (uint32_t)x * (y >> 32),
		 carry = (low >> 32) + (uint32_t)mid + (uint32_t)other;
	uint64_t high = (x >> 32) * (y >> 32) + (mid >> 32) + (other >> 32) + (carry >> 32);

	return (high ^ x * y) + x;
}

static uint32_t slow_sum(const uint8_t *bytes, size_t len)
{
	uint64_t s = UINT64_C(0xd4bdb0408db9478a), pair[2];
	size_t i, n;

	for (i = 0; i < len; i += 16) {
		pair[0] = pair[1] = 0;
		for (n = 0; n < 16 && i + n < len; n++)
			pair[n / 8] |= (uint64_t)bytes[i + n] << n % 8 * 8;
		s = slow_step(s, pair[0], pair[1]);
	}
	return (uint32_t)slow_step(s, len, 0);
}

static uint32_t fast_sum(const uint8_t *bytes, size_t len)
{
	return snapshot_sum_end(snapshot_sum(SNAPSHOT_SUM_FIRST, bytes, len), len);
}

/* Any length, in pieces. */
START_TEST(sums)
{
	struct prng p = prng_start("sums");
	uint8_t bytes[208] __attribute__((aligned(8)));
	size_t len, cut, i;

	for (i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)prng_u64(&p);
	for (len = 0; len <= sizeof(bytes); len++) {
		uint32_t want = slow_sum(bytes, len);

		for (cut = 0; cut <= len; cut += 16) {
			uint64_t s = snapshot_sum(SNAPSHOT_SUM_FIRST, bytes, cut);

			s = snapshot_sum(s, bytes + cut, len - cut);
			ck_assert_uint_eq(snapshot_sum_end(s, len), want);
		}
	}
}
END_TEST

/* A page full of such a word, or with one in its middle: flipped bits are seen, one and two. */
START_TEST(sums_see_damage)
{
	static uint64_t words[SNAPSHOT_PAGE / 8];
	struct prng p = prng_start("damage");
	const uint8_t *bytes = (const uint8_t *)words;
	uint64_t bad = htole64(bad_words[_i / 3]);
	unsigned int bit, nr = ARRAY_SIZE(words), i;
	uint32_t want;

	for (i = 0; i < nr; i++)
		words[i] = _i % 3 == 2 ? bad : prng_u64(&p);
	words[nr / 2 + _i % 3 % 2] = bad;
	want = fast_sum(bytes, sizeof(words));
	ck_assert_uint_eq(want, slow_sum(bytes, sizeof(words)));
	for (bit = 0; bit < 64 * nr; bit++) {
		uint64_t flip = UINT64_C(1) << bit % 64;

		words[bit / 64] ^= flip;
		ck_assert_uint_ne(fast_sum(bytes, sizeof(words)), want);
		/* The same bit of the next word, as a broken line would have it. */
		words[(bit / 64 + 1) % nr] ^= flip;
		ck_assert_uint_ne(fast_sum(bytes, sizeof(words)), want);
		words[(bit / 64 + 1) % nr] ^= flip;
		words[bit / 64] ^= flip;
	}
}
END_TEST

/* The format does not change by accident: these are the bytes of version 1. */
START_TEST(golden)
{
	uint8_t id[SNAPSHOT_ID_SIZE], *bytes;
	char text[2 * SNAPSHOT_ID_SIZE + 1];
	struct guest_memory small;
	struct snapshot_writer w;
	struct stat st;

	memory_init(&small);
	ck_assert(memory_add(&small, RAM, 3 * SNAPSHOT_PAGE, 4096, &err));
	memset(memory_for_write(&small, RAM + SNAPSHOT_PAGE, 100), 0xa5, 100);
	snapshot_writer_init(&w, real, fd);
	ck_assert(!snapshot_add(&w, "config", 1, SNAPSHOT_MANDATORY, "a configuration", 15, &err));
	ck_assert(!snapshot_finish(&w, &small, SNAPSHOT_RAW, NULL, id, &err));
	snapshot_writer_free(&w);
	memory_destroy(&small);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_size, 5 * SNAPSHOT_PAGE);
	bytes = malloc((size_t)st.st_size);
	ck_assert_int_eq(pread_all(fd, bytes, (size_t)st.st_size, 0), st.st_size);
	ck_assert_str_eq(snapshot_id_text(id, text), GOLDEN_ID);
	ck_assert_uint_eq(snapshot_crc(0, bytes, (size_t)st.st_size), GOLDEN_CRC);
	free(bytes);
}
END_TEST

START_TEST(short_writes)
{
	struct bad_disk d = {.shorten = true};
	struct snapshot_io io = {&bad_ops, &d};
	uint8_t id[SNAPSHOT_ID_SIZE];

	ck_assert_msg(!write_to(fd, io, SNAPSHOT_RAW, id), "%s", err.msg);
	ck_assert_msg(!verify(), "%s", err.msg);
}
END_TEST

START_TEST(targets)
{
	struct snapshot_target t;
	char path[128];

	snprintf(path, sizeof(path), "%s/pipe", dir);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_eq(snapshot_target_open(&t, real, path, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.msg, "no plain file"));
	ck_assert_int_eq(snapshot_target_open(&t, real, dir, &err), -1);
	ck_assert_int_eq(snapshot_target_open(&t, real, "/nowhere/at/all", &err), -1);
	ck_assert_ptr_nonnull(strstr(err.msg, "cannot open /nowhere/at"));
	ck_assert_int_eq(snapshot_target_open(&t, real, "/tmp/", &err), -1);
	snprintf(path, sizeof(path), "%s/new", dir);
	ck_assert_int_eq(snapshot_target_open(&t, real, path, &err), 0);
	ck_assert_uint_eq(files(), 2);
	snapshot_target_abort(&t);
	ck_assert_uint_eq(files(), 1);
}
END_TEST

/* --- lies with good checksums --------------------------------------------------------------- */

static void rewrite(const struct snapshot_header *h)
{
	uint8_t page[SNAPSHOT_PAGE];

	snapshot_header_bytes(h, page);
	ck_assert_int_eq(pwrite(fd, page, sizeof(page), 0), sizeof(page));
}

static void refused(const char *text)
{
	ck_assert_int_eq(verify(), -1);
	ck_assert_msg(strstr(err.msg, text) != NULL, "%s", err.msg);
}

START_TEST(lying_header)
{
	struct snapshot_header h;
	struct snapshot_file f;

	make(SNAPSHOT_RAW);
	ck_assert_int_eq(snapshot_open(&f, fd, &err), 0);
	h = f.header;
	h.sections = UINT32_MAX;
	rewrite(&h);
	refused("4294967295 sections");
	h = f.header;
	h.sections = 2000;
	rewrite(&h);
	refused("table: ");
	h = f.header;
	h.memory += SNAPSHOT_PAGE;
	rewrite(&h);
	refused("memory lies where it can't");
	h = f.header;
	h.memory = UINT64_MAX - 4095;
	rewrite(&h);
	refused("memory lies where it can't");
	h = f.header;
	h.file_size = UINT64_MAX;
	rewrite(&h);
	refused("the file ends in it");
	h = f.header;
	h.oldest = 2;
	rewrite(&h);
	refused("needs a reader of format 2");
	h = f.header;
	h.id[3] ^= 1;
	rewrite(&h);
	refused("state and memory are not those it names");
	/* A newer format that says that we can read it. */
	h = f.header;
	h.version = 7;
	rewrite(&h);
	ck_assert_msg(!verify(), "%s", err.msg);
	snapshot_close(&f);
}
END_TEST

/* Each field of the memory index, spoilt, with all checksums made good again. */
START_TEST(lying_index)
{
	struct prng p = prng_start("index");
	struct snapshot_file f;
	struct snapshot_entry e;
	uint8_t *table, *index;
	unsigned int i, taken = 0;
	size_t len;

	make((enum snapshot_encoding)_i);
	ck_assert_int_eq(snapshot_open(&f, fd, &err), 0);
	ck_assert_int_eq(snapshot_read(&f, "memory", 1, &index, &len, &err), 0);
	table = malloc((size_t)f.header.sections * SNAPSHOT_ENTRY_SIZE);
	for (i = 0; i < 2000; i++) {
		struct snapshot_header h = f.header;
		size_t at = prng_below(&p, (unsigned int)(i % 2 ? len : 160));
		uint8_t old = index[at];

		e = f.entries[f.header.sections - 1];
		index[at] ^= (uint8_t)(1u << prng_below(&p, 8));
		e.crc = snapshot_crc(0, index, len);
		memcpy(table, f.table, (size_t)f.header.sections * SNAPSHOT_ENTRY_SIZE);
		snapshot_entry_bytes(&e,
				     table + (size_t)(f.header.sections - 1) * SNAPSHOT_ENTRY_SIZE);
		h.table_crc =
			snapshot_crc(0, table, (size_t)f.header.sections * SNAPSHOT_ENTRY_SIZE);
		snapshot_identity(table, (size_t)f.header.sections * SNAPSHOT_ENTRY_SIZE, index,
				  len, h.id);
		ck_assert_int_eq(pwrite(fd, index, len, (off_t)e.offset), (ssize_t)len);
		ck_assert_int_gt(pwrite(fd, table, (size_t)f.header.sections * SNAPSHOT_ENTRY_SIZE,
					SNAPSHOT_PAGE),
				 0);
		rewrite(&h);
		/* A region that lies elsewhere in the guest is no lie that can be seen. */
		taken += !verify();
		index[at] = old;
	}
	ck_assert_uint_lt(taken, 200);
	free(index);
	free(table);
	snapshot_close(&f);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("snapshot_format");
	TCase *tc = tcase_create("snapshot_format");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, round_trip, SNAPSHOT_RAW, SNAPSHOT_ZSTD + 1);
	tcase_add_loop_test(tc, small_and_equal, SNAPSHOT_RAW, SNAPSHOT_ZSTD + 1);
	tcase_add_loop_test(tc, bit_flips, 0, 6);
	tcase_add_loop_test(tc, truncation, SNAPSHOT_RAW, SNAPSHOT_ZSTD + 1);
	tcase_add_loop_test(tc, failing_disk, 0, 2);
	tcase_add_test(tc, killed);
	tcase_add_test(tc, sums);
	tcase_add_loop_test(tc, sums_see_damage, 0, 3 * ARRAY_SIZE(bad_words));
	tcase_add_test(tc, golden);
	tcase_add_test(tc, short_writes);
	tcase_add_test(tc, targets);
	tcase_add_test(tc, lying_header);
	tcase_add_loop_test(tc, lying_index, SNAPSHOT_RAW, SNAPSHOT_ZSTD + 1);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
