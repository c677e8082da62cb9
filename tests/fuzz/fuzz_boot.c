// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzzing the loader: the input is the kernel file. Its first byte chooses how
 * it is taken: as it is, as firmware, gzip-compressed first (so that the fuzzer
 * reaches the Image and ELF parsers behind zlib without having to invent check
 * sums), with an initrd, in one region of RAM or two.
 *
 * What is not refused has to be a layout that holds: everything inside RAM,
 * aligned, and apart. RAM is set up once and forgotten now and then, so that
 * what one input loaded does not slow down the next.
 */
#include "lkvm/riscv/boot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#define BASE UINT64_C(0x80000000)
#define FDT_SIZE 5000

#define FLAG_FIRMWARE 1
#define FLAG_GZIP 2
#define FLAG_INITRD 4
#define FLAG_REGIONS 8
#define FLAG_ZBOOT 16
#define FLAG_RV32 32

struct fuzz {
	struct guest_memory one, two;
	int kernel, initrd;
	unsigned int runs;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "does not hold: %s\n", what);
	abort();
}

static bool apart(gpa_t a, uint64_t alen, gpa_t b, uint64_t blen)
{
	return a + alen <= b || b + blen <= a;
}

static void check_layout(const struct guest_memory *mem, const struct boot_layout *l)
{
	const struct memory_region *ram = &mem->regions[0];

	check(memory_find(mem, l->entry, 2) != NULL, "entry in RAM");
	check(l->fdt % 8 == 0, "device tree aligned");
	check(memory_find(mem, l->fdt, FDT_SIZE) == ram, "device tree in the first region");
	if (l->initrd_size) {
		check(l->initrd % 4096 == 0, "initrd aligned");
		check(memory_find(mem, l->initrd, l->initrd_size) == ram, "initrd in RAM");
		check(apart(l->initrd, l->initrd_size, l->fdt, FDT_SIZE), "initrd and tree");
	}
	check(l->entry - l->kernel < l->kernel_size, "entry in the kernel");
	/* In two regions the span of an ELF covers what lies between its parts. */
	if (l->format == BOOT_ELF && mem->nr > 1)
		return;
	check(memory_find(mem, l->kernel, l->kernel_size) != NULL, "kernel in RAM");
	check(apart(l->kernel, l->kernel_size, l->fdt, FDT_SIZE), "kernel and tree");
	check(!l->initrd_size || apart(l->kernel, l->kernel_size, l->initrd, l->initrd_size),
	      "kernel and initrd");
}

static void start(struct fuzz *f)
{
	memory_init(&f->one);
	memory_init(&f->two);
	check(memory_add(&f->one, BASE, 32 * MIB, 2 * MIB, NULL) &&
		      memory_add(&f->two, BASE, 16 * MIB, 2 * MIB, NULL) &&
		      memory_add(&f->two, 4 * GIB, 16 * MIB, 2 * MIB, NULL),
	      "RAM");
	f->kernel = memfd_create("kernel", MFD_CLOEXEC);
	f->initrd = memfd_create("initrd", MFD_CLOEXEC);
	check(f->kernel >= 0 && f->initrd >= 0 && !ftruncate(f->initrd, 100000), "files");
}

static size_t wrap(const uint8_t *data, size_t size, uint8_t *out, size_t room, bool zboot)
{
	size_t head = zboot ? 64 : 0;
	z_stream z = {0};

	check(deflateInit2(&z, 1, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) == Z_OK, "deflate");
	z.next_in = (uint8_t *)(uintptr_t)data;
	z.avail_in = (uInt)size;
	z.next_out = out + head;
	z.avail_out = (uInt)(room - head);
	check(deflate(&z, Z_FINISH) == Z_STREAM_END, "deflate");
	size = room - head - z.avail_out;
	deflateEnd(&z);
	if (zboot) {
		memset(out, 0, head);
		memcpy(out, "MZ\0\0zimg\x40", 9);
		out[12] = (uint8_t)size;
		out[13] = (uint8_t)(size >> 8);
		out[14] = (uint8_t)(size >> 16);
		memcpy(out + 24, "gzip", 4);
	}
	return head + size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz fuzz;
	static uint8_t packed[2 * MIB];
	struct guest_memory *mem;
	struct boot_request req;
	struct boot_layout layout;
	struct error err = {.msg = ""};
	uint8_t flags;

	if (!size || size > MIB)
		return -1;
	if (!fuzz.runs)
		start(&fuzz);
	if (++fuzz.runs % 256 == 0 &&
	    (memory_forget(&fuzz.one, NULL) || memory_forget(&fuzz.two, NULL)))
		return -1;
	flags = *data++;
	size--;
	if (flags & (FLAG_GZIP | FLAG_ZBOOT)) {
		size = wrap(data, size, packed, sizeof(packed), flags & FLAG_ZBOOT);
		data = packed;
	}
	check(!ftruncate(fuzz.kernel, 0) && pwrite(fuzz.kernel, data, size, 0) == (ssize_t)size,
	      "file written");
	mem = flags & FLAG_REGIONS ? &fuzz.two : &fuzz.one;
	req = (struct boot_request){.kernel = {fuzz.kernel, "kernel"},
				    .firmware = flags & FLAG_FIRMWARE,
				    .initrd = {flags & FLAG_INITRD ? fuzz.initrd : -1, "initrd"},
				    .xlen = flags & FLAG_RV32 ? 32 : 64,
				    .fdt_size = FDT_SIZE};
	if (!boot_load(&req, mem, &layout, &err))
		check_layout(mem, &layout);
	else
		check(err.msg[0] && !strchr(err.msg, '\n'), "one line says why");
	return 0;
}
