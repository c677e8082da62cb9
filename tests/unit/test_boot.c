// SPDX-License-Identifier: GPL-2.0-only
/*
 * Boot loading: each format, each misfit, headers made to hurt, and placement
 * over random sizes. Files are memfds; RAM is reserved but not populated, so
 * that 200 GiB of it cost nothing as long as nothing walks over all of it.
 */
#include "lkvm/riscv/boot.h"
#include "unit.h"

#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#define BASE UINT64_C(0x80000000)

static struct guest_memory mem;
static struct error err;
static struct boot_layout layout;

static void setup(void)
{
	memory_init(&mem);
	memset(&err, 0, sizeof(err));
	memset(&layout, 0xee, sizeof(layout));
}

static void teardown(void)
{
	memory_destroy(&mem);
}

static void ram_at(gpa_t gpa, uint64_t size)
{
	ck_assert_msg(memory_add(&mem, gpa, size, 2 * MIB, &err) != NULL, "%s", err.msg);
}

static void ram(uint64_t size)
{
	ram_at(BASE, size);
}

static int file_of(const void *data, size_t len)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write_all(fd, data, len), (long)len);
	return fd;
}

static int sparse_file(uint64_t size)
{
	int fd = memfd_create("sparse", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static void put16(uint8_t *p, unsigned int v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v & 0xffff);
	put16(p + 2, v >> 16);
}

static void put64(uint8_t *p, uint64_t v)
{
	put32(p, (uint32_t)v);
	put32(p + 4, (uint32_t)(v >> 32));
}

/* Bytes that differ from page to page and are never zero. */
static uint8_t pattern(uint64_t i)
{
	return (uint8_t)((i * 7 + (i >> 8) * 13 + (i >> 16)) | 1);
}

static void fill(uint8_t *p, size_t from, size_t len)
{
	size_t i;

	for (i = from; i < len; i++)
		p[i] = pattern(i);
}

static uint8_t *image(size_t len, uint64_t text_offset, uint64_t image_size)
{
	uint8_t *p = calloc(1, len < 64 ? 64 : len);

	ck_assert_ptr_nonnull(p);
	fill(p, 64, len);
	memcpy(p, "MZ", 2);
	put64(p + 8, text_offset);
	put64(p + 16, image_size);
	put32(p + 32, 2);
	memcpy(p + 48, "RISCV", 5);
	memcpy(p + 56, "RSC\x05", 4);
	return p;
}

/* A PE header with one section whose bytes end at @end. */
static void add_pe(uint8_t *p, uint32_t end)
{
	put32(p + 60, 64);
	memset(p + 64, 0, 512 - 64);
	memcpy(p + 64, "PE\0\0dP", 6);
	put16(p + 64 + 6, 1);
	put16(p + 64 + 20, 160);
	put32(p + 64 + 24 + 160 + 16, end - 4096);
	put32(p + 64 + 24 + 160 + 20, 4096);
}

/* One gzip member. */
static uint8_t *gzip_of(const void *data, size_t len, size_t *out)
{
	z_stream z = {0};
	size_t room = compressBound(len) + 64;
	uint8_t *p = malloc(room);

	ck_assert_ptr_nonnull(p);
	ck_assert_int_eq(deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = (uint8_t *)(uintptr_t)data;
	z.avail_in = (uInt)len;
	z.next_out = p;
	z.avail_out = (uInt)room;
	ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	*out = room - z.avail_out;
	deflateEnd(&z);
	return p;
}

struct segment {
	uint64_t offset, vaddr, paddr, filesz, memsz;
};

#define ELF_DATA 4096

/* An ELF64 of @len bytes with @nr PT_LOADs behind one PT_NOTE. */
static uint8_t *elf64(size_t len, uint64_t entry, const struct segment *s, size_t nr)
{
	uint8_t *p = calloc(1, len);
	size_t i;

	ck_assert_ptr_nonnull(p);
	fill(p, ELF_DATA, len);
	memcpy(p, ELFMAG, SELFMAG);
	p[EI_CLASS] = ELFCLASS64;
	p[EI_DATA] = ELFDATA2LSB;
	p[EI_VERSION] = 1;
	put16(p + 16, ET_EXEC);
	put16(p + 18, EM_RISCV);
	put32(p + 20, 1);
	put64(p + 24, entry);
	put64(p + 32, 64);
	put16(p + 52, 64);
	put16(p + 54, 56);
	put16(p + 56, (unsigned int)nr + 1);
	put32(p + 64, PT_NOTE);
	for (i = 0; i < nr; i++) {
		uint8_t *h = p + 64 + 56 * (i + 1);

		put32(h, PT_LOAD);
		put64(h + 8, s[i].offset);
		put64(h + 16, s[i].vaddr);
		put64(h + 24, s[i].paddr);
		put64(h + 32, s[i].filesz);
		put64(h + 40, s[i].memsz);
	}
	return p;
}

static uint8_t *elf32(size_t len, uint32_t entry, const struct segment *s, size_t nr)
{
	uint8_t *p = calloc(1, len);
	size_t i;

	ck_assert_ptr_nonnull(p);
	fill(p, ELF_DATA, len);
	memcpy(p, ELFMAG, SELFMAG);
	p[EI_CLASS] = ELFCLASS32;
	p[EI_DATA] = ELFDATA2LSB;
	put16(p + 16, ET_EXEC);
	put16(p + 18, EM_RISCV);
	put32(p + 24, entry);
	put32(p + 28, 52);
	put16(p + 42, 32);
	put16(p + 44, (unsigned int)nr);
	for (i = 0; i < nr; i++) {
		uint8_t *h = p + 52 + 32 * i;

		put32(h, PT_LOAD);
		put32(h + 4, (uint32_t)s[i].offset);
		put32(h + 8, (uint32_t)s[i].vaddr);
		put32(h + 12, (uint32_t)s[i].paddr);
		put32(h + 16, (uint32_t)s[i].filesz);
		put32(h + 20, (uint32_t)s[i].memsz);
	}
	return p;
}

static unsigned int xlen = 64;

static int load_fd(int kernel, int initrd, bool firmware)
{
	struct boot_request req = {.kernel = {kernel, "vmlinuz"},
				   .firmware = firmware,
				   .initrd = {initrd, "initrd.img"},
				   .xlen = xlen,
				   .fdt_size = 12345};

	return boot_load(&req, &mem, &layout, &err);
}

/* Load and close; data is freed. */
static int load_bytes(uint8_t *data, size_t len, int initrd)
{
	int fd = file_of(data, len);
	int ret = load_fd(fd, initrd, false);

	close(fd);
	free(data);
	if (initrd >= 0)
		close(initrd);
	return ret;
}

/* The message is one line, holds @text, and nothing was decided. */
static void refused(int ret, const char *text)
{
	struct boot_layout untouched;

	memset(&untouched, 0xee, sizeof(untouched));
	ck_assert_int_eq(ret, -1);
	ck_assert_msg(strstr(err.msg, text) != NULL, "'%s' lacks '%s'", err.msg, text);
	ck_assert_ptr_null(strchr(err.msg, '\n'));
	ck_assert_uint_lt(strlen(err.msg), ERROR_MAX - 1);
	ck_assert_mem_eq(&layout, &untouched, sizeof(layout));
}

static void loaded(int ret, enum boot_format format)
{
	ck_assert_msg(ret == 0, "%s", err.msg);
	ck_assert_int_eq(layout.format, format);
}

static void holds(gpa_t gpa, size_t from, size_t len)
{
	const uint8_t *p = memory_for_read(&mem, gpa, len);
	size_t i;

	ck_assert_ptr_nonnull(p);
	for (i = 0; i < len; i++)
		if (p[i] != pattern(from + i))
			ck_abort_msg("byte %zu is 0x%x, not 0x%x", from + i, p[i],
				     pattern(from + i));
}

static void zero(gpa_t gpa, size_t len)
{
	const uint8_t *p = memory_for_read(&mem, gpa, len);
	size_t i;

	ck_assert_ptr_nonnull(p);
	for (i = 0; i < len; i++)
		if (p[i])
			ck_abort_msg("byte %zu is 0x%x, not 0", i, p[i]);
}

static bool apart(gpa_t a, uint64_t alen, gpa_t b, uint64_t blen)
{
	return a + alen <= b || b + blen <= a;
}

/* What has to hold for every layout that was not refused. */
static void check_layout(uint64_t fdt_size)
{
	const struct memory_region *r = memory_find(&mem, layout.fdt, fdt_size);
	gpa_t linux_map = align_down(layout.fdt, 2 * MIB);
	uint64_t kernel_len = align_up(layout.kernel + layout.kernel_size, 2 * MIB) - layout.kernel;

	ck_assert_ptr_eq(r, &mem.regions[0]);
	ck_assert_uint_eq(layout.fdt % 8, 0);
	ck_assert_uint_le(layout.fdt + fdt_size, linux_map + 4 * MIB);
	ck_assert_uint_le(layout.fdt + fdt_size - r->gpa, 124 * GIB);
	ck_assert_ptr_nonnull(memory_find(&mem, layout.entry, 2));
	ck_assert(layout.entry - layout.kernel < layout.kernel_size);
	/* Linux owns its last 2 MiB page to the end. */
	ck_assert(apart(layout.kernel, kernel_len, layout.fdt, fdt_size));
	if (!layout.initrd_size) {
		ck_assert_uint_eq(layout.initrd, 0);
		return;
	}
	ck_assert_uint_eq(layout.initrd % 4096, 0);
	ck_assert_ptr_eq(memory_find(&mem, layout.initrd, layout.initrd_size), r);
	ck_assert_uint_le(layout.initrd + layout.initrd_size - r->gpa, 124 * GIB);
	ck_assert(apart(layout.kernel, kernel_len, layout.initrd, layout.initrd_size));
	ck_assert(apart(align_down(layout.fdt, 4096), align_up(fdt_size, 4096), layout.initrd,
			align_up(layout.initrd_size, 4096)));
}

/* --- Image ------------------------------------------------------------------------------- */

START_TEST(test_image)
{
	ram(256 * MIB);
	loaded(load_bytes(image(5 * MIB + 123, 2 * MIB, 6 * MIB), 5 * MIB + 123, -1), BOOT_IMAGE);
	ck_assert_uint_eq(layout.entry, BASE + 2 * MIB);
	ck_assert_uint_eq(layout.kernel, BASE + 2 * MIB);
	ck_assert_uint_eq(layout.kernel_size, 6 * MIB);
	ck_assert_uint_eq(layout.fdt, BASE + 8 * MIB);
	ck_assert_uint_eq(layout.initrd, 0);
	check_layout(12345);
	holds(BASE + 2 * MIB + 64, 64, 5 * MIB + 123 - 64);
	zero(BASE + 7 * MIB + 123, MIB);
}
END_TEST

START_TEST(test_image_initrd)
{
	uint8_t *p = malloc(3 * MIB + 17);

	ram(64 * MIB);
	fill(p, 0, 3 * MIB + 17);
	loaded(load_bytes(image(MIB, 2 * MIB, 6 * MIB + 1), MIB, file_of(p, 3 * MIB + 17)),
	       BOOT_IMAGE);
	free(p);
	ck_assert_uint_eq(layout.initrd_size, 3 * MIB + 17);
	check_layout(12345);
	holds(layout.initrd, 0, 3 * MIB + 17);
	zero(layout.initrd + 3 * MIB + 17, 4096);
}
END_TEST

START_TEST(test_image_larger_than_it_says)
{
	ram(64 * MIB);
	loaded(load_bytes(image(5 * MIB, 2 * MIB, MIB), 5 * MIB, -1), BOOT_IMAGE);
	ck_assert_uint_eq(layout.kernel_size, 5 * MIB);
	check_layout(12345);
}
END_TEST

START_TEST(test_image_size_zero)
{
	ram(64 * MIB);
	loaded(load_bytes(image(3 * MIB, 2 * MIB, 0), 3 * MIB, -1), BOOT_IMAGE);
	ck_assert_uint_eq(layout.kernel_size, 3 * MIB);
	/* Its BSS is nobody knows how large. */
	ck_assert_uint_ge(layout.fdt, BASE + 2 * MIB + 3 * MIB + 12 * MIB);
	check_layout(12345);
}
END_TEST

START_TEST(test_image_old_magic)
{
	uint8_t *p = image(MIB, 2 * MIB, MIB);

	memset(p, 0, 2);
	memset(p + 56, 0, 4);
	ram(64 * MIB);
	loaded(load_bytes(p, MIB, -1), BOOT_IMAGE);
}
END_TEST

START_TEST(test_image_text_offset)
{
	ram(64 * MIB);
	loaded(load_bytes(image(MIB, 0, MIB), MIB, -1), BOOT_IMAGE);
	ck_assert_uint_eq(layout.entry, BASE);
	loaded(load_bytes(image(MIB, 32 * MIB, MIB), MIB, -1), BOOT_IMAGE);
	ck_assert_uint_eq(layout.entry, BASE + 32 * MIB);
	check_layout(12345);
}
END_TEST

START_TEST(test_image_misaligned)
{
	ram(64 * MIB);
	refused(load_bytes(image(MIB, 2 * MIB + 4096, MIB), MIB, -1), "0x201000 above");
}
END_TEST

START_TEST(test_image_misaligned_ram)
{
	ram_at(BASE + MIB, 64 * MIB);
	refused(load_bytes(image(MIB, 2 * MIB, MIB), MIB, -1), "2M boundary");
}
END_TEST

START_TEST(test_image_text_offset_outside)
{
	ram(64 * MIB);
	refused(load_bytes(image(MIB, 64 * MIB, MIB), MIB, -1), "-m 64");
	refused(load_bytes(image(MIB, UINT64_MAX - 2 * MIB + 1, MIB), MIB, -1), "damaged");
	refused(load_bytes(image(MIB, UINT64_MAX - BASE + 1, MIB), MIB, -1), "damaged");
}
END_TEST

START_TEST(test_image_big_endian)
{
	uint8_t *p = image(MIB, 2 * MIB, MIB);

	p[24] = 1;
	ram(64 * MIB);
	refused(load_bytes(p, MIB, -1), "big-endian");
}
END_TEST

START_TEST(test_image_version)
{
	uint8_t *p = image(MIB, 2 * MIB, MIB);

	put32(p + 32, 0x10002);
	ram(64 * MIB);
	refused(load_bytes(p, MIB, -1), "1.2");
}
END_TEST

START_TEST(test_image_too_large)
{
	ram(20 * MIB);
	refused(load_bytes(image(MIB, 2 * MIB, 35 * MIB), MIB, -1),
		"kernel vmlinuz needs 35M at 0x80200000 but RAM ends at 0x81400000 (20M): give at "
		"least -m 48");
	refused(load_bytes(image(MIB, 2 * MIB, 18 * MIB + 1), MIB, -1), "-m 32");
	/* To the last byte, but then nothing is left for the device tree. */
	refused(load_bytes(image(MIB, 2 * MIB, 18 * MIB), MIB, -1),
		"the device tree (16K) does not fit behind the kernel (18M at 0x80200000, -k) in "
		"20M of RAM: give at least -m 32");
	loaded(load_bytes(image(MIB, 2 * MIB, 16 * MIB), MIB, -1), BOOT_IMAGE);
	check_layout(12345);
}
END_TEST

START_TEST(test_image_size_hostile)
{
	const uint64_t sizes[] = {UINT64_MAX, UINT64_MAX - 2 * MIB, UINT64_MAX - BASE,
				  UINT64_C(1) << 63, UINT64_C(1) << 56};
	size_t i;

	ram(64 * MIB);
	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		refused(load_bytes(image(MIB, 2 * MIB, sizes[i]), MIB, -1), "damaged");
	refused(load_bytes(image(MIB, 2 * MIB, 300 * GIB), MIB, -1), "needs 300G at");
}
END_TEST

START_TEST(test_image_truncated)
{
	uint8_t *p = image(8 * MIB, 2 * MIB, 10 * MIB);

	add_pe(p, 8 * MIB);
	ram(64 * MIB);
	loaded(load_bytes(p, 8 * MIB, -1), BOOT_IMAGE);
	memset(&layout, 0xee, sizeof(layout));
	p = image(8 * MIB, 2 * MIB, 10 * MIB);
	add_pe(p, 8 * MIB);
	refused(load_bytes(p, 8 * MIB - 1, -1), "truncated: it has 8388607 of 8388608 bytes");
}
END_TEST

START_TEST(test_image_odd_pe)
{
	uint8_t *p;
	size_t i;

	ram(64 * MIB);
	/* A table that makes no sense is none. */
	for (i = 0; i < 6; i++) {
		p = image(MIB, 2 * MIB, 2 * MIB);
		add_pe(p, 2 * MIB);
		if (i == 0)
			put32(p + 60, UINT32_MAX);
		else if (i == 1)
			put32(p + 60, 64 * KIB - 24);
		else if (i == 2)
			p[64] = 'X';
		else if (i == 3)
			put16(p + 64 + 6, 0xffff);
		else if (i == 4)
			put16(p + 64 + 20, 0xfff0);
		else
			put32(p + 60, 3);
		loaded(load_bytes(p, MIB, -1), BOOT_IMAGE);
	}
	/* Sums do not wrap at 32 bits. */
	p = image(MIB, 2 * MIB, 2 * MIB);
	add_pe(p, 2 * MIB);
	put32(p + 64 + 24 + 160 + 16, UINT32_MAX);
	memset(&layout, 0xee, sizeof(layout));
	refused(load_bytes(p, MIB, -1), "truncated");
}
END_TEST

START_TEST(test_image_short)
{
	uint8_t *p;
	size_t len;

	ram(64 * MIB);
	for (len = 1; len < 64; len++) {
		p = image(64, 2 * MIB, MIB);
		refused(load_bytes(p, len, -1), "vmlinuz");
	}
	loaded(load_bytes(image(64, 2 * MIB, MIB), 64, -1), BOOT_IMAGE);
}
END_TEST

/* --- gzip -------------------------------------------------------------------------------- */

static int load_gzip(uint8_t *data, size_t len, int initrd)
{
	size_t packed;
	uint8_t *gz = gzip_of(data, len, &packed);

	free(data);
	return load_bytes(gz, packed, initrd);
}

START_TEST(test_gzip)
{
	const size_t sizes[] = {64,	      64 * KIB - 1,   64 * KIB,
				64 * KIB + 1, MIB + 64 * KIB, 5 * MIB + 123};
	size_t i;

	ram(64 * MIB);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		ck_assert_int_eq(memory_forget(&mem, &err), 0);
		loaded(load_gzip(image(sizes[i], 2 * MIB, 6 * MIB), sizes[i], -1), BOOT_IMAGE_GZ);
		ck_assert_uint_eq(layout.entry, BASE + 2 * MIB);
		ck_assert_uint_eq(layout.kernel_size, 6 * MIB);
		check_layout(12345);
		holds(BASE + 2 * MIB + 64, 64, sizes[i] - 64);
		zero(BASE + 2 * MIB + sizes[i], 7 * MIB - sizes[i]);
	}
}
END_TEST

START_TEST(test_gzip_larger_than_it_says)
{
	uint8_t *p = malloc(MIB);

	ram(64 * MIB);
	fill(p, 0, MIB);
	loaded(load_gzip(image(9 * MIB, 2 * MIB, MIB), 9 * MIB, file_of(p, MIB)), BOOT_IMAGE_GZ);
	ck_assert_uint_eq(layout.kernel_size, 9 * MIB);
	check_layout(12345);
	holds(BASE + 2 * MIB + 64, 64, 9 * MIB - 64);
	holds(layout.initrd, 0, MIB);
	free(p);
}
END_TEST

START_TEST(test_gzip_fills_ram)
{
	ram(16 * MIB);
	/* Exactly to the end of RAM: all unpacked, then nothing is left. */
	refused(load_gzip(image(14 * MIB, 2 * MIB, MIB), 14 * MIB, -1), "the device tree");
	refused(load_gzip(image(14 * MIB + 1, 2 * MIB, MIB), 14 * MIB + 1, -1),
		"unpacks to more than the 14M of RAM from 0x80200000 on");
	loaded(load_gzip(image(12 * MIB, 2 * MIB, MIB), 12 * MIB, -1), BOOT_IMAGE_GZ);
	check_layout(12345);
}
END_TEST

START_TEST(test_gzip_bomb)
{
	/* 1 GiB in one MiB, with an honest header in front. */
	size_t packed;
	uint8_t *head = image(64, 2 * MIB, MIB);
	uint8_t *chunk = calloc(1, MIB);
	uint8_t *out = malloc(4 * MIB);
	z_stream z = {0};
	int i;

	ck_assert_int_eq(deflateInit2(&z, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_out = out;
	z.avail_out = 4 * MIB;
	z.next_in = head;
	z.avail_in = 64;
	ck_assert_int_eq(deflate(&z, Z_NO_FLUSH), Z_OK);
	for (i = 0; i < 1024; i++) {
		z.next_in = chunk;
		z.avail_in = MIB;
		ck_assert_int_eq(deflate(&z, i == 1023 ? Z_FINISH : Z_NO_FLUSH),
				 i == 1023 ? Z_STREAM_END : Z_OK);
	}
	packed = 4 * MIB - z.avail_out;
	deflateEnd(&z);
	free(chunk);
	free(head);
	ram(32 * MIB);
	refused(load_bytes(out, packed, -1), "unpacks to more than the 30M");
}
END_TEST

START_TEST(test_gzip_says_too_large)
{
	ram(32 * MIB);
	/* Known from the header, before anything is unpacked. */
	refused(load_gzip(image(MIB, 2 * MIB, 40 * MIB), MIB, -1), "needs 40M at 0x80200000");
	zero(BASE, 32 * MIB);
}
END_TEST

START_TEST(test_gzip_truncated)
{
	uint8_t *p = image(300 * KIB, 2 * MIB, MIB);
	size_t packed, len;
	uint8_t *gz = gzip_of(p, 300 * KIB, &packed);

	ram(32 * MIB);
	for (len = 2; len < packed; len = len < 20 || len + 20 > packed ? len + 1 : len + 97) {
		uint8_t *copy = malloc(len);

		memcpy(copy, gz, len);
		refused(load_bytes(copy, len, -1), "truncated");
		if (len + 20 < packed && len + 97 + 20 > packed)
			len = packed - 20 - 1;
	}
	free(gz);
	free(p);
}
END_TEST

START_TEST(test_gzip_corrupt)
{
	uint8_t *p = image(300 * KIB, 2 * MIB, MIB);
	size_t packed, i;
	uint8_t *gz = gzip_of(p, 300 * KIB, &packed);
	const size_t at[] = {2, 3, packed / 2, packed - 8, packed - 5, packed - 4, packed - 1};

	ram(32 * MIB);
	for (i = 0; i < ARRAY_SIZE(at); i++) {
		uint8_t *copy = malloc(packed);

		memcpy(copy, gz, packed);
		copy[at[i]] ^= 0xe0;
		refused(load_bytes(copy, packed, -1), "damaged gzip data");
	}
	free(gz);
	free(p);
}
END_TEST

START_TEST(test_gzip_truncated_image_inside)
{
	uint8_t *p = image(MIB, 2 * MIB, 2 * MIB);

	add_pe(p, MIB + 4);
	ram(32 * MIB);
	refused(load_gzip(p, MIB, -1), "truncated: it has 1048576 of 1048580 bytes when unpacked");
}
END_TEST

START_TEST(test_gzip_members)
{
	uint8_t *p = image(700 * KIB, 2 * MIB, MIB);
	size_t a, b;
	uint8_t *one = gzip_of(p, 300 * KIB, &a);
	uint8_t *two = gzip_of(p + 300 * KIB, 400 * KIB, &b);
	uint8_t *both = malloc(a + b);

	memcpy(both, one, a);
	memcpy(both + a, two, b);
	free(one);
	free(two);
	ram(32 * MIB);
	loaded(load_bytes(both, a + b, -1), BOOT_IMAGE_GZ);
	holds(BASE + 2 * MIB + 64, 64, 700 * KIB - 64);
	free(p);
}
END_TEST

START_TEST(test_gzip_trailing)
{
	uint8_t *p = image(300 * KIB, 2 * MIB, MIB);
	size_t packed;
	uint8_t *gz = gzip_of(p, 300 * KIB, &packed);
	uint8_t *long_one = calloc(1, packed + 100);

	/* Padding is no harm, anything else is a surprise. */
	memcpy(long_one, gz, packed);
	ram(32 * MIB);
	loaded(load_bytes(long_one, packed + 100, -1), BOOT_IMAGE_GZ);
	long_one = calloc(1, packed + 100);
	memcpy(long_one, gz, packed);
	long_one[packed + 50] = 1;
	memset(&layout, 0xee, sizeof(layout));
	refused(load_bytes(long_one, packed + 100, -1), "100 bytes behind its gzip data");
	long_one = calloc(1, packed + MIB);
	memcpy(long_one, gz, packed);
	refused(load_bytes(long_one, packed + MIB, -1), "1048576 bytes behind its gzip data");
	free(gz);
	free(p);
}
END_TEST

START_TEST(test_gzip_twice)
{
	uint8_t *p = image(300 * KIB, 2 * MIB, MIB);
	size_t packed;
	uint8_t *gz = gzip_of(p, 300 * KIB, &packed);

	free(p);
	ram(32 * MIB);
	refused(load_gzip(gz, packed, -1), "compressed twice");
}
END_TEST

START_TEST(test_gzip_of_nothing)
{
	ram(32 * MIB);
	refused(load_gzip(calloc(1, 1), 0, -1), "RISC-V Image");
	refused(load_gzip(calloc(1, 100), 100, -1), "in no format lkvm knows");
}
END_TEST

/* --- EFI zboot --------------------------------------------------------------------------- */

static uint8_t *zboot(const char *type, size_t *len, uint32_t offset)
{
	uint8_t *p = image(600 * KIB, 2 * MIB, MIB);
	size_t packed;
	uint8_t *gz = gzip_of(p, 600 * KIB, &packed);

	free(p);
	p = calloc(1, offset + packed + 333);
	memcpy(p, "MZ\0\0zimg", 8);
	put32(p + 8, offset);
	put32(p + 12, (uint32_t)packed);
	strcpy((char *)p + 24, type);
	put32(p + 56, 0x818223cd);
	memcpy(p + offset, gz, packed);
	/* Signatures and debug data may follow the payload. */
	memset(p + offset + packed, 0x55, 333);
	free(gz);
	*len = offset + packed + 333;
	return p;
}

START_TEST(test_zboot)
{
	uint8_t *p;
	size_t len;

	ram(32 * MIB);
	p = zboot("gzip", &len, 5000);
	loaded(load_bytes(p, len, -1), BOOT_ZBOOT);
	ck_assert_uint_eq(layout.kernel_size, MIB);
	check_layout(12345);
	holds(BASE + 2 * MIB + 64, 64, 600 * KIB - 64);
}
END_TEST

START_TEST(test_zboot_other)
{
	const char *const types[] = {"zstd22", "lz4", "xzkern", "lzma", "", "gzip2", "\x01\nbad"};
	size_t i, len;

	ram(32 * MIB);
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		uint8_t *p = zboot(types[i], &len, 5000);

		refused(load_bytes(p, len, -1), i < 6 ? types[i] : "'??bad'");
		ck_assert_ptr_nonnull(strstr(err.msg, "only gzip"));
	}
}
END_TEST

START_TEST(test_zboot_hostile)
{
	static const struct {
		uint32_t offset, size;
	} cases[] = {{UINT32_MAX, UINT32_MAX},
		     {5000, UINT32_MAX},
		     {UINT32_MAX, 1},
		     {5000, 0},
		     {0x7fffffff, 100}};
	uint8_t *p;
	size_t i, len;

	ram(32 * MIB);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		p = zboot("gzip", &len, 5000);
		put32(p + 8, cases[i].offset);
		put32(p + 12, cases[i].size);
		refused(load_bytes(p, len, -1), "truncated");
	}
	/* The payload is what the offset says, even if that is the program itself. */
	p = zboot("gzip", &len, 5000);
	put32(p + 8, 0);
	refused(load_bytes(p, len, -1), "damaged gzip data");
	p = zboot("gzip", &len, 5000);
	refused(load_bytes(p, 40, -1), "truncated");
	p = zboot("gzip", &len, 5000);
	memset(p + 24, 'x', 64);
	refused(load_bytes(p, len, -1), "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'");
}
END_TEST

/* --- ELF --------------------------------------------------------------------------------- */

START_TEST(test_elf)
{
	/* As U-Boot's: linked to where it runs, entry at its start. */
	const struct segment s = {4096, BASE + 2 * MIB, BASE + 2 * MIB, 700 * KIB, 900 * KIB};

	ram(64 * MIB);
	/* RAM that is not zero: the BSS still has to be. */
	memset(memory_for_write(&mem, BASE + 2 * MIB, MIB), 0xff, MIB);
	loaded(load_bytes(elf64(MIB, BASE + 2 * MIB, &s, 1), MIB, -1), BOOT_ELF);
	ck_assert_uint_eq(layout.entry, BASE + 2 * MIB);
	ck_assert_uint_eq(layout.kernel, BASE + 2 * MIB);
	ck_assert_uint_eq(layout.kernel_size, 900 * KIB);
	check_layout(12345);
	/* Neither where U-Boot moves to, nor right behind it. */
	ck_assert_uint_le(layout.fdt, BASE + 28 * MIB);
	ck_assert_uint_ge(layout.fdt, BASE + 16 * MIB);
	holds(BASE + 2 * MIB, 4096, 700 * KIB);
	zero(BASE + 2 * MIB + 700 * KIB, 200 * KIB);
	ck_assert_uint_eq(*(const uint8_t *)memory_for_read(&mem, BASE + 2 * MIB + 900 * KIB, 1),
			  0xff);
}
END_TEST

START_TEST(test_elf32)
{
	const struct segment s = {4096, 0xc0000000, 0x80400000, 70 * KIB, 90 * KIB};

	ram(64 * MIB);
	refused(load_bytes(elf32(MIB, 0xc0000010, &s, 1), MIB, -1),
		"kernel vmlinuz is a 32-bit ELF: this host's guests are rv64");
	xlen = 32;
	loaded(load_bytes(elf32(MIB, 0xc0000010, &s, 1), MIB, -1), BOOT_ELF);
	ck_assert_uint_eq(layout.entry, 0x80400010);
	check_layout(12345);
	holds(0x80400000, 4096, 70 * KIB);
	memset(&layout, 0xee, sizeof(layout));
	refused(load_bytes(elf64(MIB, 0xc0000010, &s, 1), MIB, -1),
		"kernel vmlinuz is a 64-bit ELF: this host's guests are rv32");
	xlen = 64;
}
END_TEST

#define KERNEL_LINK UINT64_C(0xffffffff80000000)

/* vmlinux: physical addresses from 0, or equal to the virtual ones. */
static void vmlinux(uint64_t paddr, bool gz)
{
	const struct segment s[] = {
		{4096, KERNEL_LINK, paddr, 300 * KIB, 300 * KIB},
		{4096 + 300 * KIB, KERNEL_LINK + 4 * MIB, paddr + 4 * MIB, 100 * KIB, MIB},
	};
	uint8_t *p = elf64(MIB, KERNEL_LINK, s, 2);

	ck_assert_int_eq(memory_forget(&mem, &err), 0);
	loaded(gz ? load_gzip(p, MIB, -1) : load_bytes(p, MIB, -1), BOOT_ELF);
	ck_assert_uint_eq(layout.entry, BASE + 2 * MIB);
	ck_assert_uint_eq(layout.kernel, BASE + 2 * MIB);
	ck_assert_uint_eq(layout.kernel_size, 5 * MIB);
	check_layout(12345);
	holds(BASE + 2 * MIB, 4096, 300 * KIB);
	zero(BASE + 2 * MIB + 300 * KIB, 3 * MIB);
	holds(BASE + 6 * MIB, 4096 + 300 * KIB, 100 * KIB);
	zero(BASE + 6 * MIB + 100 * KIB, 924 * KIB);
}

START_TEST(test_elf_vmlinux)
{
	ram(64 * MIB);
	vmlinux(0, false);
	vmlinux(KERNEL_LINK, false);
}
END_TEST

START_TEST(test_elf_gzip)
{
	ram(64 * MIB);
	vmlinux(0, true);
	vmlinux(KERNEL_LINK, true);
}
END_TEST

START_TEST(test_elf_gzip_shared_bytes)
{
	/* Two segments made of the same bytes, out of order, over a head's length. */
	const struct segment s[] = {
		{100 * KIB, BASE + 8 * MIB, BASE + 8 * MIB, 200 * KIB, 200 * KIB},
		{4096, BASE + 4 * MIB, BASE + 4 * MIB, 200 * KIB, 200 * KIB},
	};

	ram(64 * MIB);
	loaded(load_gzip(elf64(500 * KIB, BASE + 4 * MIB, s, 2), 500 * KIB, -1), BOOT_ELF);
	holds(BASE + 8 * MIB, 100 * KIB, 200 * KIB);
	holds(BASE + 4 * MIB, 4096, 200 * KIB);
}
END_TEST

START_TEST(test_elf_gzip_truncated_inside)
{
	const struct segment s = {4096, BASE + 2 * MIB, BASE + 2 * MIB, MIB, MIB};

	ram(64 * MIB);
	refused(load_gzip(elf64(MIB, BASE + 2 * MIB, &s, 1), MIB, -1),
		"truncated: unpacked it is 1048576 bytes, its segments end at 1052672");
}
END_TEST

START_TEST(test_elf_moved_keeps_alignment)
{
	const struct segment s = {4096, 0x11000, 0x11000, 4096, 4096};

	ram(64 * MIB);
	loaded(load_bytes(elf64(2 * 4096, 0x11010, &s, 1), 2 * 4096, -1), BOOT_ELF);
	ck_assert_uint_eq(layout.kernel, BASE + 2 * MIB + 0x11000);
	ck_assert_uint_eq(layout.entry, BASE + 2 * MIB + 0x11010);
}
END_TEST

START_TEST(test_elf_entry_physical)
{
	const struct segment s = {4096, KERNEL_LINK, BASE + 4 * MIB, 4096, 4096};

	ram(64 * MIB);
	loaded(load_bytes(elf64(2 * 4096, BASE + 4 * MIB + 8, &s, 1), 2 * 4096, -1), BOOT_ELF);
	ck_assert_uint_eq(layout.entry, BASE + 4 * MIB + 8);
}
END_TEST

START_TEST(test_elf_near_the_end)
{
	const struct segment s = {4096, BASE + 60 * MIB, BASE + 60 * MIB, 4096, 4 * MIB};

	ram(64 * MIB);
	/* Nothing fits above, so it goes below. */
	loaded(load_bytes(elf64(2 * 4096, BASE + 60 * MIB, &s, 1), 2 * 4096, sparse_file(5 * MIB)),
	       BOOT_ELF);
	ck_assert_uint_lt(layout.initrd, BASE + 60 * MIB);
	check_layout(12345);
	memset(&layout, 0xee, sizeof(layout));
	refused(load_bytes(elf64(2 * 4096, BASE + 60 * MIB, &s, 1), 2 * 4096,
			   sparse_file(60 * MIB)),
		"initrd initrd.img (-i, 60M) and the device tree (16K) do not fit");
}
END_TEST

START_TEST(test_elf_two_regions)
{
	const struct segment s[] = {
		{4096, BASE + 2 * MIB, BASE + 2 * MIB, 4096, 4096},
		{8192, 0x200000000, 0x200000000, 4096, 8192},
	};

	ram(64 * MIB);
	ram_at(0x200000000, 64 * MIB);
	loaded(load_bytes(elf64(3 * 4096, BASE + 2 * MIB, s, 2), 3 * 4096, -1), BOOT_ELF);
	holds(0x200000000, 8192, 4096);
	ck_assert_uint_gt(layout.fdt, BASE + 2 * MIB);
	ck_assert_uint_lt(layout.fdt, BASE + 64 * MIB);
	/* All of it in the second: the first is free. */
	loaded(load_bytes(elf64(3 * 4096, 0x200000000, s + 1, 1), 3 * 4096, -1), BOOT_ELF);
	ck_assert_uint_eq(layout.kernel, 0x200000000);
	check_layout(12345);
}
END_TEST

START_TEST(test_elf_outside)
{
	const struct segment s[] = {
		{4096, BASE + 200 * MIB, BASE + 200 * MIB, 4096, 8 * MIB},
		{4096, BASE + 2 * MIB, BASE + 2 * MIB, 4096, 4096},
	};

	ram(64 * MIB);
	refused(load_bytes(elf64(2 * 4096, BASE + 200 * MIB, s, 1), 2 * 4096, -1),
		"is linked to 0x8c800000 (8M), outside the RAM at 0x80000000 (64M): give at least "
		"-m 208");
	/* One inside, one outside: moving would break the one that fits. */
	refused(load_bytes(elf64(2 * 4096, BASE + 200 * MIB, s, 2), 2 * 4096, -1), "-m 208");
}
END_TEST

START_TEST(test_elf_too_large)
{
	const struct segment s = {4096, KERNEL_LINK, 0, 4096, 35 * MIB};

	ram(20 * MIB);
	refused(load_bytes(elf64(2 * 4096, KERNEL_LINK, &s, 1), 2 * 4096, -1),
		"needs 35M at 0x80200000 but RAM ends at 0x81400000 (20M): give at least -m 48");
}
END_TEST

START_TEST(test_elf_hostile_segments)
{
	static const struct {
		struct segment s;
		const char *text;
	} cases[] = {
		{{4096, BASE, BASE, 4097, 4096}, "holds more"},
		{{4096, BASE, BASE, MIB, MIB}, "truncated"},
		{{UINT64_MAX - 100, BASE, BASE, 200, 4096}, "wraps"},
		{{UINT64_MAX - 4095, BASE, BASE, 4096, 4096}, "wraps"},
		{{UINT64_C(1) << 63, BASE, BASE, 4096, 4096}, "truncated"},
		{{4096, 0, UINT64_MAX - 4095, 4096, 8192}, "wraps"},
		{{4096, BASE, BASE, 4096, 5 * GIB}, "more than 4G"},
		{{4096, BASE, BASE, 0, UINT64_MAX / 2}, "more than 4G"},
		{{4096, BASE, BASE, 4096, 65 * MIB}, "-m 80"},
		{{4096, 0, 0, 0, 0}, "without anything to load"},
		{{4096, BASE + 8192, BASE + 8192, 4096, 4096}, "entry point"},
	};
	size_t i;

	ram(64 * MIB);
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		refused(load_bytes(elf64(2 * 4096, BASE, &cases[i].s, 1), 2 * 4096, -1),
			cases[i].text);
}
END_TEST

START_TEST(test_elf_overlap)
{
	struct segment s[65] = {
		{4096, BASE, BASE, 4096, 8192},
		{4096, BASE + 4096, BASE + 4096, 4096, 4096},
	};
	size_t i;

	ram(64 * MIB);
	refused(load_bytes(elf64(2 * 4096, BASE, s, 2), 2 * 4096, -1), "overlap");
	for (i = 0; i < 65; i++)
		s[i] = (struct segment){4096, BASE + i * 4096, BASE + i * 4096, 4096, 4096};
	refused(load_bytes(elf64(2 * 4096, BASE, s, 65), 2 * 4096, -1), "at most 64");
	loaded(load_bytes(elf64(2 * 4096, BASE, s, 64), 2 * 4096, -1), BOOT_ELF);
	/* Together they may not be more than 4G either. */
	memset(&layout, 0xee, sizeof(layout));
	for (i = 0; i < 3; i++)
		s[i] = (struct segment){4096, 0, i * 2 * GIB, 0, 2 * GIB};
	refused(load_bytes(elf64(2 * 4096, BASE, s, 3), 2 * 4096, -1), "more than 4G");
}
END_TEST

START_TEST(test_elf_hostile_header)
{
	static const struct {
		size_t at;
		unsigned int width;
		uint64_t value;
		const char *text;
	} cases[] = {
		{EI_DATA, 1, ELFDATA2MSB, "big-endian"},
		{EI_DATA, 1, 0, "data 0"},
		{EI_CLASS, 1, 9, "class 9"},
		{16, 2, ET_REL, "object file"},
		{16, 2, ET_CORE, "core dump"},
		{18, 2, EM_X86_64, "x86-64"},
		{18, 2, EM_AARCH64, "arm64"},
		{18, 2, 0, "machine 0"},
		{32, 8, UINT64_MAX, "program headers at offset"},
		{32, 8, 2 * 4096 - 20, "program headers at offset"},
		{32, 8, 2 * 4096 + 1, "program headers at offset"},
		{54, 2, 0, "of 0 bytes"},
		{54, 2, 32, "of 32 bytes"},
		{54, 2, 0xffff, "of 65535 bytes"},
		{56, 2, 0, "without program headers"},
		{56, 2, 0xffff, "65535 program headers"},
		{56, 2, 257, "257 program headers"},
		{56, 2, 256, "program headers at offset"},
		{24, 8, BASE + 1, "odd"},
		{24, 8, 0, "in none"},
		{24, 8, UINT64_MAX, "in none"},
	};
	const struct segment s = {4096, BASE, BASE, 4096, 4096};
	size_t i;
	unsigned int b;

	ram(64 * MIB);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t *p = elf64(2 * 4096, BASE, &s, 1);

		for (b = 0; b < cases[i].width; b++)
			p[cases[i].at + b] = (uint8_t)(cases[i].value >> (8 * b));
		refused(load_bytes(p, 2 * 4096, -1), cases[i].text);
	}
	for (i = 4; i < 64; i++)
		refused(load_bytes(elf64(2 * 4096, BASE, &s, 1), i, -1), "vmlinuz");
}
END_TEST

START_TEST(test_elf_huge_bss_is_cheap)
{
	const struct segment s = {4096, BASE, BASE, 4096, 3 * GIB};
	struct rusage before, after;

	ram(200 * GIB);
	getrusage(RUSAGE_SELF, &before);
	loaded(load_bytes(elf64(2 * 4096, BASE, &s, 1), 2 * 4096, -1), BOOT_ELF);
	getrusage(RUSAGE_SELF, &after);
	ck_assert_int_lt(after.ru_maxrss - before.ru_maxrss, 64 * 1024);
	check_layout(12345);
}
END_TEST

/* --- Firmware and unknown files ---------------------------------------------------------- */

START_TEST(test_firmware)
{
	/* Not looked at: even what would be refused as a kernel. */
	uint8_t *p = image(650 * KIB, 1, UINT64_MAX);
	int fd;

	ram(128 * MIB);
	fd = file_of(p, 650 * KIB);
	loaded(load_fd(fd, -1, true), BOOT_FIRMWARE);
	ck_assert_uint_eq(layout.entry, BASE + 2 * MIB);
	ck_assert_uint_eq(layout.kernel_size, 650 * KIB);
	ck_assert_uint_ge(layout.fdt, BASE + 34 * MIB);
	ck_assert_uint_lt(layout.fdt, BASE + 64 * MIB);
	check_layout(12345);
	holds(BASE + 2 * MIB + 64, 64, 650 * KIB - 64);
	close(fd);
	free(p);
}
END_TEST

START_TEST(test_firmware_too_large)
{
	int fd = sparse_file(15 * MIB);

	ram(16 * MIB);
	refused(load_fd(fd, -1, true), "firmware vmlinuz needs 15M at 0x80200000");
	close(fd);
	fd = sparse_file(14 * MIB);
	refused(load_fd(fd, -1, true), "-f) in 16M of RAM");
	close(fd);
	fd = sparse_file(12 * MIB);
	loaded(load_fd(fd, -1, true), BOOT_FIRMWARE);
	check_layout(12345);
	close(fd);
}
END_TEST

START_TEST(test_tiny_ram)
{
	int fd = sparse_file(100);

	ram(MIB);
	refused(load_fd(fd, -1, true), "RAM ends at 0x80100000 (1M): give at least -m 16");
	refused(load_bytes(image(100, 2 * MIB, 100), 100, -1), "which has 1M");
	close(fd);
}
END_TEST

START_TEST(test_text_file)
{
	const char text[] = "#!/bin/sh\n# This is no kernel.\necho hello\n";

	ram(64 * MIB);
	refused(load_bytes((uint8_t *)strdup(text), sizeof(text) - 1, -1),
		"kernel vmlinuz is a text file: -k takes a RISC-V Image");
	refused(load_bytes((uint8_t *)strdup("x"), 1, -1), "text file");
}
END_TEST

START_TEST(test_other_kernels)
{
	static const struct {
		size_t at;
		const char *magic;
		size_t len;
		const char *text;
	} cases[] = {
		{56, "ARM\x64", 4, "arm64"},
		{0x202, "HdrS", 4, "x86"},
		{0,
		 "\xfd"
		 "7zXZ",
		 6, "xz"},
		{0, "\x28\xb5\x2f\xfd", 4, "zstd"},
		{0, "BZh9", 4, "bzip2"},
		{0, "\xd0\x0d\xfe\xed", 4, "device tree"},
		{0, "\x27\x05\x19\x56", 4, "U-Boot"},
		{0, "MZ", 2, "PE program"},
		{0, "070701", 6, "cpio"},
		{0, "\x01\x02", 2, "no format"},
	};
	size_t i;

	ram(64 * MIB);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t *p = calloc(1, 4096);

		memcpy(p + cases[i].at, cases[i].magic, cases[i].len);
		refused(load_bytes(p, 4096, -1), cases[i].text);
	}
}
END_TEST

/* --- Files that are none, and the rest --------------------------------------------------- */

START_TEST(test_not_a_file)
{
	int kernel = file_of("x", 1);
	int fd, pair[2];

	ram(64 * MIB);
	fd = open("/", O_RDONLY | O_DIRECTORY);
	refused(load_fd(fd, -1, false), "kernel vmlinuz is a directory: -k wants a regular file");
	refused(load_fd(fd, -1, true), "-f wants a regular file");
	refused(load_fd(kernel, fd, true), "initrd initrd.img is a directory: -i wants");
	close(fd);
	ck_assert_int_eq(pipe(pair), 0);
	refused(load_fd(pair[0], -1, false), "FIFO");
	refused(load_fd(kernel, pair[0], true), "FIFO");
	close(pair[0]);
	close(pair[1]);
	fd = open("/dev/zero", O_RDONLY);
	refused(load_fd(fd, -1, false), "character device");
	close(fd);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	refused(load_fd(pair[0], -1, false), "socket");
	close(pair[0]);
	close(pair[1]);
	refused(load_fd(1000, -1, false), "Bad file descriptor");
	refused(load_fd(-1, -1, false), "no kernel");
	close(kernel);
}
END_TEST

START_TEST(test_empty)
{
	int fd = sparse_file(0), kernel = file_of("x", 1);

	ram(64 * MIB);
	refused(load_fd(fd, -1, false), "kernel vmlinuz is empty");
	refused(load_fd(fd, -1, true), "firmware vmlinuz is empty");
	refused(load_fd(kernel, fd, true), "initrd initrd.img is empty");
	close(fd);
	close(kernel);
}
END_TEST

START_TEST(test_unreadable)
{
	char path[64];
	int fd = file_of("x", 1), wr;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	wr = open(path, O_WRONLY);
	ck_assert_int_ge(wr, 0);
	ram(64 * MIB);
	refused(load_fd(wr, -1, false), "cannot read kernel vmlinuz");
	refused(load_fd(fd, wr, true), "cannot read initrd initrd.img");
	close(fd);
	close(wr);
}
END_TEST

START_TEST(test_initrd_too_large)
{
	ram(256 * MIB);
	refused(load_bytes(image(MIB, 2 * MIB, 36 * MIB), MIB, sparse_file(300 * MIB)),
		"initrd initrd.img (-i, 300M) and the device tree (16K) do not fit behind the "
		"kernel (36M at 0x80200000, -k) in 256M of RAM: give at least -m 352");
	/* Larger than any RAM, and than 2^62. */
	refused(load_bytes(image(MIB, 2 * MIB, 36 * MIB), MIB, sparse_file(200 * GIB)),
		"at least -m 204848");
	refused(load_bytes(image(MIB, 2 * MIB, 36 * MIB), MIB, sparse_file(INT64_MAX)),
		"do not fit");
}
END_TEST

START_TEST(test_initrd_beyond_sv39)
{
	ram(200 * GIB);
	refused(load_bytes(image(MIB, 2 * MIB, 36 * MIB), MIB, sparse_file(125 * GIB)), "Sv39");
}
END_TEST

START_TEST(test_advice_suffices)
{
	uint64_t sizes[] = {3 * MIB, 14 * MIB, 16 * MIB - 4096, 300 * MIB + 5};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		const char *advice;
		uint64_t need;

		memory_init(&mem);
		memset(&layout, 0xee, sizeof(layout));
		ram(4 * MIB);
		refused(load_bytes(image(100, 2 * MIB, sizes[i]), 100, sparse_file(MIB)), "-m ");
		advice = strstr(err.msg, "-m ");
		need = strtoull(advice + 3, NULL, 10) * MIB;
		memory_destroy(&mem);
		ram(need);
		loaded(load_bytes(image(100, 2 * MIB, sizes[i]), 100, sparse_file(MIB)),
		       BOOT_IMAGE);
		memory_destroy(&mem);
		/* And it is not much more than that. */
		memset(&layout, 0xee, sizeof(layout));
		ram(need - 16 * MIB > 2 * MIB ? need - 16 * MIB : 2 * MIB);
		refused(load_bytes(image(100, 2 * MIB, sizes[i]), 100, sparse_file(MIB)), "-m ");
		memory_destroy(&mem);
	}
}
END_TEST

START_TEST(test_ram_sizes)
{
	static const uint64_t mib[] = {16,   32,   96,	 128,	512,	1024,
				       2048, 3072, 4096, 65536, 131072, 204800};
	struct rusage before, after;
	size_t i;

	getrusage(RUSAGE_SELF, &before);
	for (i = 0; i < ARRAY_SIZE(mib); i++) {
		memory_init(&mem);
		ram(mib[i] * MIB);
		loaded(load_bytes(image(MIB, 2 * MIB, 8 * MIB), MIB, sparse_file(MIB)), BOOT_IMAGE);
		check_layout(12345);
		/* The same place however large the RAM is. */
		ck_assert_uint_eq(layout.fdt, BASE + 10 * MIB);
		memory_destroy(&mem);
	}
	getrusage(RUSAGE_SELF, &after);
	ck_assert_int_lt(after.ru_maxrss - before.ru_maxrss, 64 * 1024);
}
END_TEST

START_TEST(test_long_name)
{
	char name[5000];
	int fd = file_of("hello", 5);
	struct boot_request req = {
		.kernel = {fd, name}, .initrd = {-1, NULL}, .xlen = 64, .fdt_size = 1};

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	name[sizeof(name) - 5] = '\n';
	ram(64 * MIB);
	refused(boot_load(&req, &mem, &layout, &err), "n?nnn is a text file: -k takes");
	close(fd);
}
END_TEST

START_TEST(test_bad_request)
{
	int fd = file_of("hello", 5);
	struct boot_request req = {.kernel = {fd, "k"}, .firmware = true, .initrd = {-1, NULL}};

	refused(boot_load(&req, &mem, &layout, &err), "no RAM");
	ram(64 * MIB);
	refused(boot_load(&req, &mem, &layout, &err), "XLEN 0");
	req.xlen = 64;
	refused(boot_load(&req, &mem, &layout, &err), "device tree of 0 bytes");
	req.fdt_size = BOOT_FDT_MAX + 1;
	refused(boot_load(&req, &mem, &layout, &err), "2097153 bytes");
	req.fdt_size = BOOT_FDT_MAX;
	loaded(boot_load(&req, &mem, &layout, &err), BOOT_FIRMWARE);
	check_layout(BOOT_FDT_MAX);
	close(fd);
}
END_TEST

START_TEST(test_again)
{
	/* A reset: the same files, the same layout, the same bytes. */
	uint8_t *p = image(MIB, 2 * MIB, 4 * MIB);
	int fd = file_of(p, MIB), initrd = sparse_file(4096);
	struct boot_layout first;

	ram(64 * MIB);
	loaded(load_fd(fd, initrd, false), BOOT_IMAGE);
	first = layout;
	ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), MIB);
	ck_assert_int_eq(memory_forget(&mem, &err), 0);
	loaded(load_fd(fd, initrd, false), BOOT_IMAGE);
	ck_assert_mem_eq(&first, &layout, sizeof(first));
	holds(BASE + 2 * MIB + 64, 64, MIB - 64);
	close(fd);
	close(initrd);
	free(p);
}
END_TEST

START_TEST(test_format_names)
{
	ck_assert_str_eq(boot_format_name(BOOT_IMAGE), "Image");
	ck_assert_str_eq(boot_format_name(BOOT_IMAGE_GZ), "gzip Image");
	ck_assert_str_eq(boot_format_name(BOOT_ZBOOT), "EFI zboot");
	ck_assert_str_eq(boot_format_name(BOOT_ELF), "ELF");
	ck_assert_str_eq(boot_format_name(BOOT_FIRMWARE), "firmware");
}
END_TEST

/* --- Placement over random sizes --------------------------------------------------------- */

static uint64_t rng_state;

static uint64_t rng(uint64_t below)
{
	rng_state = rng_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (rng_state >> 16) % below;
}

/* Any magnitude up to 2^@bits, not only the largest. */
static uint64_t rng_size(unsigned int bits)
{
	return 1 + rng(UINT64_C(1) << (1 + rng(bits)));
}

START_TEST(test_random_placement)
{
	unsigned int i, good = 0;

	rng_state = (uint64_t)_i + 1;
	for (i = 0; i < 400; i++) {
		uint64_t ram_size = align_up(16 * MIB + rng_size(37), 4096);
		uint64_t file = 64 + rng_size(17);
		uint64_t image_size = rng(8) ? rng_size(36) : 0;
		uint64_t text_offset = rng(4) ? 2 * MIB : rng(64) * 2 * MIB;
		uint64_t fdt = 1 + rng(BOOT_FDT_MAX);
		uint64_t initrd = rng(4) ? rng_size(20) : 0;
		uint64_t huge = rng(8) ? 0 : rng_size(36);
		bool firmware = !rng(4);
		uint8_t *p = image(file, text_offset, image_size);
		int fd = file_of(p, file);
		int ifd = initrd ? sparse_file(initrd + huge) : -1;
		struct boot_request req = {.kernel = {fd, "k"},
					   .firmware = firmware,
					   .initrd = {ifd, "i"},
					   .xlen = 64,
					   .fdt_size = fdt};
		uint64_t kernel = firmware ? file : max_u64(file, image_size);
		uint64_t offset = firmware ? 2 * MIB : text_offset;
		uint64_t need = align_up(offset + kernel, 2 * MIB) + align_up(fdt, 4096) +
				(initrd ? align_up(initrd + huge, 4096) : 0);
		bool fits = need <= min_u64(ram_size, 124 * GIB);

		/* Reading the file is not what is tested here. */
		if (!fits || initrd + huge < 64 * MIB) {
			memory_init(&mem);
			ram(ram_size);
			if (boot_load(&req, &mem, &layout, &err)) {
				ck_assert_msg(!fits, "%s", err.msg);
			} else {
				ck_assert(fits);
				ck_assert_uint_eq(layout.kernel, BASE + offset);
				ck_assert_uint_eq(layout.kernel_size, kernel);
				ck_assert_uint_eq(layout.initrd_size, initrd ? initrd + huge : 0);
				check_layout(fdt);
				good++;
			}
			memory_destroy(&mem);
		}
		close(fd);
		if (ifd >= 0)
			close(ifd);
		free(p);
	}
	/* The sizes are chosen so that both answers are common. */
	ck_assert_uint_gt(good, 50);
	ck_assert_uint_lt(good, 390);
}
END_TEST

START_TEST(test_random_elf_placement)
{
	unsigned int i, good = 0;

	rng_state = (uint64_t)_i + 77;
	for (i = 0; i < 300; i++) {
		uint64_t ram_size = align_up(16 * MIB + rng_size(30), 4096);
		uint64_t at = BASE + rng(ram_size) / 4096 * 4096;
		const struct segment s[] = {
			{4096, at, at, 4096, 4096 + rng_size(24)},
			{4096, at + 64 * MIB, at + 64 * MIB, 4096, 4096 + rng_size(24)},
		};
		size_t nr = 1 + rng(2);
		uint64_t fdt = 1 + rng(BOOT_FDT_MAX);
		uint8_t *p = elf64(2 * 4096, at, s, nr);
		int fd = file_of(p, 2 * 4096);
		int ifd = rng(2) ? sparse_file(rng_size(22)) : -1;
		struct boot_request req = {
			.kernel = {fd, "k"}, .initrd = {ifd, "i"}, .xlen = 64, .fdt_size = fdt};
		uint64_t end = s[nr - 1].paddr + s[nr - 1].memsz - BASE;

		memory_init(&mem);
		ram(ram_size);
		if (!boot_load(&req, &mem, &layout, &err)) {
			check_layout(fdt);
			ck_assert_uint_eq(layout.kernel, at);
			ck_assert_uint_eq(layout.entry, at);
			good++;
		} else if (end <= ram_size) {
			/* Refused though the segments fit: the rest has no place. */
			ck_assert_msg(strstr(err.msg, "not fit behind") != NULL, "%s", err.msg);
		}
		memory_destroy(&mem);
		close(fd);
		if (ifd >= 0)
			close(ifd);
		free(p);
	}
	ck_assert_uint_gt(good, 50);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("boot");
	TCase *tc = tcase_create("boot");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_image);
	tcase_add_test(tc, test_image_initrd);
	tcase_add_test(tc, test_image_larger_than_it_says);
	tcase_add_test(tc, test_image_size_zero);
	tcase_add_test(tc, test_image_old_magic);
	tcase_add_test(tc, test_image_text_offset);
	tcase_add_test(tc, test_image_misaligned);
	tcase_add_test(tc, test_image_misaligned_ram);
	tcase_add_test(tc, test_image_text_offset_outside);
	tcase_add_test(tc, test_image_big_endian);
	tcase_add_test(tc, test_image_version);
	tcase_add_test(tc, test_image_too_large);
	tcase_add_test(tc, test_image_size_hostile);
	tcase_add_test(tc, test_image_truncated);
	tcase_add_test(tc, test_image_odd_pe);
	tcase_add_test(tc, test_image_short);
	tcase_add_test(tc, test_gzip);
	tcase_add_test(tc, test_gzip_larger_than_it_says);
	tcase_add_test(tc, test_gzip_fills_ram);
	tcase_add_test(tc, test_gzip_bomb);
	tcase_add_test(tc, test_gzip_says_too_large);
	tcase_add_test(tc, test_gzip_truncated);
	tcase_add_test(tc, test_gzip_corrupt);
	tcase_add_test(tc, test_gzip_truncated_image_inside);
	tcase_add_test(tc, test_gzip_members);
	tcase_add_test(tc, test_gzip_trailing);
	tcase_add_test(tc, test_gzip_twice);
	tcase_add_test(tc, test_gzip_of_nothing);
	tcase_add_test(tc, test_zboot);
	tcase_add_test(tc, test_zboot_other);
	tcase_add_test(tc, test_zboot_hostile);
	tcase_add_test(tc, test_elf);
	tcase_add_test(tc, test_elf32);
	tcase_add_test(tc, test_elf_vmlinux);
	tcase_add_test(tc, test_elf_gzip);
	tcase_add_test(tc, test_elf_gzip_shared_bytes);
	tcase_add_test(tc, test_elf_gzip_truncated_inside);
	tcase_add_test(tc, test_elf_moved_keeps_alignment);
	tcase_add_test(tc, test_elf_entry_physical);
	tcase_add_test(tc, test_elf_near_the_end);
	tcase_add_test(tc, test_elf_two_regions);
	tcase_add_test(tc, test_elf_outside);
	tcase_add_test(tc, test_elf_too_large);
	tcase_add_test(tc, test_elf_hostile_segments);
	tcase_add_test(tc, test_elf_overlap);
	tcase_add_test(tc, test_elf_hostile_header);
	tcase_add_test(tc, test_elf_huge_bss_is_cheap);
	tcase_add_test(tc, test_firmware);
	tcase_add_test(tc, test_firmware_too_large);
	tcase_add_test(tc, test_tiny_ram);
	tcase_add_test(tc, test_text_file);
	tcase_add_test(tc, test_other_kernels);
	tcase_add_test(tc, test_not_a_file);
	tcase_add_test(tc, test_empty);
	tcase_add_test(tc, test_unreadable);
	tcase_add_test(tc, test_initrd_too_large);
	tcase_add_test(tc, test_initrd_beyond_sv39);
	tcase_add_test(tc, test_advice_suffices);
	tcase_add_test(tc, test_ram_sizes);
	tcase_add_test(tc, test_long_name);
	tcase_add_test(tc, test_bad_request);
	tcase_add_test(tc, test_again);
	tcase_add_test(tc, test_format_names);
	tcase_add_loop_test(tc, test_random_placement, 0, 8);
	tcase_add_loop_test(tc, test_random_elf_placement, 0, 4);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
