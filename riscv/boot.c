// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loading: what a file is, where everything goes, and getting it there.
 *
 * In four steps, so that what does not fit is refused before anything large is
 * read: open (is it a regular file, what do its first bytes say), plan (headers
 * checked; what the kernel will occupy), place (kernel, device tree, initrd),
 * load. Only a compressed kernel may turn out larger than its header said;
 * then the rest is placed once more, behind it.
 *
 * A RISC-V Image (Linux Documentation/arch/riscv/boot-image-header.rst) goes to
 * RAM base + text_offset and occupies image_size, its BSS included. Its file is
 * shorter than that; a file cut off is found by the PE section table, which
 * kernels with an EFI stub carry. EFI zboot is a PE program around a compressed
 * Image, described by the first words of its header.
 *
 * Placement, all in the first region of RAM:
 *
 *   base                  + text_offset
 *   |                     | kernel ... BSS |pad| room | FDT | initrd |   free
 *
 * Everything but the kernel starts on the first 2 MiB boundary behind it: Linux
 * maps and reserves its own memory in such pages, to the end of the last one.
 * It can't go below, since kernels before 6.4 drop the RAM under themselves.
 * Staying low keeps it in reach of an Sv39 linear map however large the RAM is,
 * and clear of the top of RAM, to where U-Boot moves itself (taking a copy of
 * the device tree with it). Where no header says how much memory a program uses
 * before it reads the device tree (firmware, ELF, old Images), it is given room.
 * An early stack of such a program grows down from its start: what goes below a
 * program (an ELF linked near the end of RAM) lies as low as possible.
 *
 * Device tree and initrd are page aligned and share no page, because Linux frees
 * whole pages of the initrd. At 2 MiB alignment and at most 2 MiB of size the
 * tree lies within the two 2 MiB pages that Linux maps for it.
 *
 * Thread: the one that builds the VM, or resets it. Nothing is kept; the layout
 * is part of a snapshot only as what is in RAM.
 */
#include "boot_internal.h"

#include "lkvm/riscv/layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRMWARE_OFFSET (2 * MIB)

/* For a program whose headers do not say how much memory it uses. */
#define ROOM (32 * MIB)

/* How much compressed data is unpacked in one go: what is marked dirty with it. */
#define UNPACK_CHUNK MIB

#define IMAGE_HEADER 64
#define IMAGE_MAGIC_AT 48
#define IMAGE_MAGIC2_AT 56
#define IMAGE_FLAG_BE 1

#define ZBOOT_HEADER 56
#define ZBOOT_TYPE_AT 24

static bool has_at(const struct boot_payload *payload, size_t at, const void *magic, size_t len)
{
	return payload->head_len >= at + len && !memcmp(payload->head + at, magic, len);
}

#define HAS_AT(payload, at, text) has_at((payload), (at), (text), sizeof(text) - 1)

static bool is_image(const struct boot_payload *payload)
{
	/* Headers before version 0.2 have the first magic only. */
	return HAS_AT(payload, IMAGE_MAGIC2_AT, "RSC\x05") ||
	       HAS_AT(payload, IMAGE_MAGIC_AT, "RISCV\0\0\0");
}

static bool is_gzip(const struct boot_payload *payload)
{
	return HAS_AT(payload, 0, "\x1f\x8b");
}

static bool is_zboot(const struct boot_payload *payload)
{
	return HAS_AT(payload, 0, "MZ") && HAS_AT(payload, 4, "zimg");
}

static bool is_text(const struct boot_payload *payload)
{
	size_t i;

	for (i = 0; i < payload->head_len; i++) {
		uint8_t c = payload->head[i];

		if ((c < ' ' && c != '\n' && c != '\t' && c != '\r' && c != '\f' && c != 0x1b) ||
		    c == 0x7f)
			return false;
	}
	return true;
}

static int refuse_unknown(const struct boot_payload *payload, struct error *err)
{
	static const struct {
		size_t at, len;
		const char *magic;
		const char *what;
	} known[] = {
		{56, 4, "ARM\x64", "an arm64 kernel"},
		{0x202, 4, "HdrS", "an x86 kernel"},
		{0, 6,
		 "\xfd"
		 "7zXZ\0",
		 "xz-compressed, which must be unpacked first"},
		{0, 4, "\x28\xb5\x2f\xfd", "zstd-compressed, which must be unpacked first"},
		{0, 4, "\x22\xb5\x2f\xfd", "zstd-compressed, which must be unpacked first"},
		{0, 4, "\x02\x21\x4c\x18", "lz4-compressed, which must be unpacked first"},
		{0, 4, "\x04\x22\x4d\x18", "lz4-compressed, which must be unpacked first"},
		{0, 3, "BZh", "bzip2-compressed, which must be unpacked first"},
		{0, 4, "\x5d\0\0\0", "lzma-compressed, which must be unpacked first"},
		{0, 4, "\x27\x05\x19\x56", "a U-Boot legacy image"},
		{0, 4, "\xd0\x0d\xfe\xed", "a device tree or a FIT image"},
		{0, 6, "070701", "a cpio archive (an initrd goes with -i)"},
		{0, 2, "MZ", "a PE program without a RISC-V Image header"},
		{0, 8, "!<arch>\n", "an archive"},
	};
	const char *what = NULL;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(known) && !what; i++)
		if (has_at(payload, known[i].at, known[i].magic, known[i].len))
			what = known[i].what;
	if (!what)
		what = is_text(payload) ? "a text file" : "in no format lkvm knows";
	return fail(err,
		    "%s is %s: -k takes a RISC-V Image, plain or gzip-compressed, an EFI zboot "
		    "Image (gzip), or a RISC-V ELF; -f takes a raw S-mode binary",
		    payload->file->label, what);
}

static int read_head(struct boot_payload *payload, struct error *err)
{
	long n;

	if (payload->gz) {
		n = boot_gunzip_read(payload->gz, payload->head, BOOT_HEAD, err);
		if (n < 0)
			return -1;
		payload->head_len = (size_t)n;
		return 0;
	}
	payload->head_len = (size_t)min_u64(BOOT_HEAD, payload->file->size);
	return boot_file_read(payload->file, payload->head, payload->head_len, 0, err);
}

static int unpack_from(struct boot_payload *payload, uint64_t offset, uint64_t len,
		       struct error *err)
{
	payload->gz = boot_gunzip_new(payload->file, offset, len, err);
	if (!payload->gz || read_head(payload, err))
		return -1;
	if (is_gzip(payload) || is_zboot(payload))
		return fail(err, "%s is compressed twice: unpack it once (gzip -d)",
			    payload->file->label);
	return 0;
}

static int open_zboot(struct boot_payload *payload, struct error *err)
{
	const char *label = payload->file->label;
	const uint8_t *p = payload->head;
	char type[33];
	uint32_t offset, len;
	size_t i;

	if (payload->head_len < ZBOOT_HEADER)
		return fail(err, "%s is truncated: %zu bytes are no EFI zboot header", label,
			    payload->head_len);
	offset = get_le32(p + 8);
	len = get_le32(p + 12);
	for (i = 0; i < 32 && p[ZBOOT_TYPE_AT + i]; i++)
		type[i] = p[ZBOOT_TYPE_AT + i] >= ' ' && p[ZBOOT_TYPE_AT + i] < 0x7f
				  ? (char)p[ZBOOT_TYPE_AT + i]
				  : '?';
	type[i] = 0;
	if (strcmp(type, "gzip") != 0)
		return fail(err,
			    "%s is an EFI zboot Image compressed by '%s': only gzip is supported",
			    label, type);
	if (!len || offset > payload->file->size || len > payload->file->size - offset)
		return fail(err,
			    "%s is truncated: its EFI zboot payload is %u bytes at offset %u, the "
			    "file has %llu",
			    label, len, offset, (unsigned long long)payload->file->size);
	return unpack_from(payload, offset, len, err);
}

int boot_payload_open(struct boot_payload *payload, enum boot_format *format, struct error *err)
{
	if (read_head(payload, err))
		return -1;
	*format = BOOT_IMAGE;
	if (is_zboot(payload)) {
		*format = BOOT_ZBOOT;
		return open_zboot(payload, err);
	}
	if (is_gzip(payload)) {
		*format = BOOT_IMAGE_GZ;
		return unpack_from(payload, 0, payload->file->size, err);
	}
	return 0;
}

/*
 * The end of what the PE section table says is in the file, or 0 where there
 * is no such table: not every Image has one. It is no reason to refuse an Image
 * that the table makes no sense otherwise: nothing but firmware reads it.
 */
static uint64_t pe_end(const struct boot_payload *payload)
{
	const uint8_t *p = payload->head;
	size_t pe, table, nr, i;
	uint64_t end = 0;

	if (!HAS_AT(payload, 0, "MZ") || payload->head_len < IMAGE_HEADER)
		return 0;
	pe = get_le32(p + 60);
	if (pe < IMAGE_HEADER || pe > payload->head_len - 24 || memcmp(p + pe, "PE\0\0", 4) != 0)
		return 0;
	nr = get_le16(p + pe + 6);
	table = pe + 24 + get_le16(p + pe + 20);
	if (nr > 96 || table + nr * 40 > payload->head_len)
		return 0;
	for (i = 0; i < nr; i++) {
		const uint8_t *s = p + table + i * 40;

		if (get_le32(s + 16))
			end = max_u64(end, (uint64_t)get_le32(s + 16) + get_le32(s + 20));
	}
	return end;
}

static int check_image_whole(const struct boot_payload *payload, uint64_t size, struct error *err)
{
	uint64_t end = pe_end(payload);

	if (size < end)
		return fail(err, "%s is truncated: it has %llu of %llu bytes%s",
			    payload->file->label, (unsigned long long)size, (unsigned long long)end,
			    payload->gz ? " when unpacked" : "");
	return 0;
}

static int plan_image(const struct boot_payload *payload, const struct memory_region *ram,
		      struct boot_kernel *kernel, struct error *err)
{
	const char *label = payload->file->label;
	const uint8_t *p = payload->head;
	uint64_t text_offset, image_size;
	uint32_t version;

	if (payload->head_len < IMAGE_HEADER)
		return fail(err, "%s is truncated: %zu bytes are no Image header", label,
			    payload->head_len);
	text_offset = get_le64(p + 8);
	image_size = get_le64(p + 16);
	version = get_le32(p + 32);
	if (get_le64(p + 24) & IMAGE_FLAG_BE)
		return fail(err, "%s is a big-endian Image: only little-endian guests run", label);
	if (version >> 16)
		return fail(err, "%s has an Image header of version %u.%u: lkvm knows 0.x", label,
			    version >> 16, version & 0xffff);
	if ((ram->gpa + text_offset) % BOOT_ALIGN)
		return fail(err,
			    "%s wants to be 0x%llx above the start of RAM (0x%llx): that is not on "
			    "a 2M boundary",
			    label, (unsigned long long)text_offset, (unsigned long long)ram->gpa);
	if (text_offset >= ram->size) {
		char have[32], advice[96];

		return fail(err, "%s wants to be 0x%llx above the start of RAM, which has %s: %s",
			    label, (unsigned long long)text_offset,
			    boot_size(have, sizeof(have), ram->size),
			    boot_advice(advice, sizeof(advice), text_offset));
	}
	if (!payload->gz && check_image_whole(payload, payload->file->size, err))
		return -1;
	kernel->start = kernel->entry = ram->gpa + text_offset;
	kernel->size = max_u64(image_size, payload->gz ? payload->head_len : payload->file->size);
	kernel->exact = image_size != 0;
	kernel->below = false;
	return 0;
}

static void plan_firmware(const struct boot_file *file, const struct memory_region *ram,
			  struct boot_kernel *kernel)
{
	kernel->format = BOOT_FIRMWARE;
	kernel->start = kernel->entry = ram->gpa + FIRMWARE_OFFSET;
	kernel->size = file->size;
	kernel->exact = false;
	kernel->below = false;
}

/* Image and firmware: inside the first region? The rest comes with place(). */
static int fit_kernel(const struct boot_file *file, const struct memory_region *ram,
		      struct boot_kernel *kernel, uint64_t rest, struct error *err)
{
	uint64_t offset = kernel->start - ram->gpa;
	char size[32], have[32], advice[96];
	uint64_t need = UINT64_MAX;

	if (offset < ram->size && kernel->size <= ram->size - offset) {
		kernel->avoid = kernel->start;
		kernel->avoid_end = kernel->start + kernel->size;
		return 0;
	}
	if (kernel->size <= TIB && offset <= TIB && rest <= TIB)
		need = align_up(offset + kernel->size, BOOT_ALIGN) + rest;
	return fail(err, "%s needs %s at 0x%llx but RAM ends at 0x%llx (%s): %s", file->label,
		    boot_size(size, sizeof(size), kernel->size), (unsigned long long)kernel->start,
		    (unsigned long long)ram->gpa + ram->size,
		    boot_size(have, sizeof(have), ram->size),
		    boot_advice(advice, sizeof(advice), need));
}

/**
 * struct boot_rest - what is placed around the kernel
 * @fdt, @initrd: bytes, in whole pages
 */
struct boot_rest {
	uint64_t fdt;
	uint64_t initrd;
};

static int no_place(const struct boot_file *kernel_file, const struct boot_kernel *kernel,
		    const struct boot_file *initrd, const struct memory_region *ram,
		    const struct boot_rest *rest, struct error *err)
{
	char what[256], fdt[32], size[32], ksize[32], have[32], advice[96];
	uint64_t total = rest->fdt + rest->initrd;
	uint64_t used = kernel->avoid_end - ram->gpa;

	boot_size(fdt, sizeof(fdt), rest->fdt);
	if (initrd)
		snprintf(what, sizeof(what), "%s (%s, %s) and the device tree (%s) do",
			 initrd->label, initrd->option, boot_size(size, sizeof(size), initrd->size),
			 fdt);
	else
		snprintf(what, sizeof(what), "the device tree (%s) does", fdt);
	if (ram->size >= LAYOUT_SV39_REACH)
		snprintf(advice, sizeof(advice), "only the first %s count, as far as Sv39 reaches",
			 boot_size(size, sizeof(size), LAYOUT_SV39_REACH));
	else
		boot_advice(advice, sizeof(advice),
			    used > TIB || total > TIB ? UINT64_MAX
						      : align_up(used, BOOT_ALIGN) + total);
	return fail(err, "%s not fit behind the kernel (%s at 0x%llx, %s) in %s of RAM: %s", what,
		    boot_size(ksize, sizeof(ksize), kernel->avoid_end - kernel->avoid),
		    (unsigned long long)kernel->avoid, kernel_file->option,
		    boot_size(have, sizeof(have), ram->size), advice);
}

static int place(const struct boot_file *kernel_file, const struct boot_kernel *kernel,
		 const struct boot_file *initrd, const struct memory_region *ram,
		 const struct boot_rest *rest, struct boot_layout *layout, struct error *err)
{
	uint64_t reach = min_u64(ram->size, LAYOUT_SV39_REACH);
	uint64_t total = rest->fdt + rest->initrd;
	/* Offsets into the region from here on: they can't wrap. */
	uint64_t at = kernel->avoid_end - ram->gpa;
	uint64_t pad = -kernel->avoid_end % BOOT_ALIGN;
	uint64_t room = 0;

	if (at <= reach && pad <= reach - at && total <= reach - at - pad) {
		at += pad;
		/*
		 * Of a small RAM most stays free above: U-Boot takes the upper 33 MiB,
		 * stack and heap included, and should not meet the initrd there.
		 */
		if (!kernel->exact)
			room = align_down(min_u64(ROOM, (reach - at - total) / 4), BOOT_ALIGN);
		at += room;
	} else {
		at = -ram->gpa % BOOT_ALIGN;
		if (!kernel->below || at > kernel->avoid - ram->gpa ||
		    total > min_u64(kernel->avoid - ram->gpa, reach) - min_u64(at, reach))
			return no_place(kernel_file, kernel, initrd, ram, rest, err);
	}
	layout->format = kernel->format;
	layout->entry = kernel->entry;
	layout->kernel = kernel->start;
	layout->kernel_size = kernel->size;
	layout->fdt = ram->gpa + at;
	layout->initrd = initrd ? layout->fdt + rest->fdt : 0;
	layout->initrd_size = initrd ? initrd->size : 0;
	return 0;
}

/* The unpacked size is known at the end only; RAM is the limit until then. */
static int unpack_image(const struct boot_payload *payload, const struct memory_region *ram,
			struct guest_memory *mem, struct boot_kernel *kernel, struct error *err)
{
	uint64_t room = ram->size - (kernel->start - ram->gpa);
	uint64_t done = payload->head_len;
	char size[32];
	uint8_t more = 0;

	if (done > room || !memory_write(mem, kernel->start, payload->head, done))
		return fail(err, "%s: 0x%llx is not RAM", payload->file->label,
			    (unsigned long long)kernel->start);
	for (;;) {
		uint64_t chunk = min_u64(UNPACK_CHUNK, room - done);
		void *p = chunk ? memory_for_write(mem, kernel->start + done, chunk) : &more;
		long n = p ? boot_gunzip_read(payload->gz, p, chunk ? (size_t)chunk : 1, err)
			   : fail(err, "%s: 0x%llx is not RAM", payload->file->label,
				  (unsigned long long)kernel->start + done);

		if (n < 0)
			return -1;
		if (!chunk && n)
			return fail(err,
				    "%s unpacks to more than the %s of RAM from 0x%llx on: give "
				    "more than -m %llu",
				    payload->file->label, boot_size(size, sizeof(size), room),
				    (unsigned long long)kernel->start,
				    (unsigned long long)(ram->size / MIB));
		done += (uint64_t)n;
		if (!chunk || (uint64_t)n < chunk)
			break;
	}
	kernel->size = max_u64(kernel->size, done);
	return check_image_whole(payload, done, err);
}

/**
 * struct boot_job - one boot_load() under way
 */
struct boot_job {
	struct guest_memory *mem;
	unsigned int xlen;
	struct boot_file kernel_file;
	struct boot_file initrd_file;
	const struct boot_file *initrd; /* or NULL */
	struct boot_rest rest;
	struct boot_kernel kernel;
	struct boot_layout layout;
};

static int place_job(struct boot_job *job, struct error *err)
{
	const struct memory_region *ram = &job->mem->regions[0];

	if (job->kernel.format != BOOT_ELF &&
	    fit_kernel(&job->kernel_file, ram, &job->kernel, job->rest.fdt + job->rest.initrd, err))
		return -1;
	return place(&job->kernel_file, &job->kernel, job->initrd, ram, &job->rest, &job->layout,
		     err);
}

static int load_firmware(struct boot_job *job, struct error *err)
{
	plan_firmware(&job->kernel_file, &job->mem->regions[0], &job->kernel);
	if (place_job(job, err))
		return -1;
	return boot_file_to_guest(&job->kernel_file, job->mem, job->kernel.start,
				  job->kernel_file.size, 0, err);
}

static int load_payload(struct boot_job *job, struct boot_payload *payload, struct error *err)
{
	const struct memory_region *ram = &job->mem->regions[0];
	struct boot_kernel *kernel = &job->kernel;

	if (boot_payload_open(payload, &kernel->format, err))
		return -1;
	if (boot_elf_is(payload)) {
		if (boot_elf_plan(payload, job->xlen, job->mem, kernel, err) || place_job(job, err))
			return -1;
		return boot_elf_load(payload, kernel, job->mem, err);
	}
	if (!is_image(payload))
		return refuse_unknown(payload, err);
	if (plan_image(payload, ram, kernel, err) || place_job(job, err))
		return -1;
	if (!payload->gz)
		return boot_file_to_guest(payload->file, job->mem, kernel->start,
					  payload->file->size, 0, err);
	if (unpack_image(payload, ram, job->mem, kernel, err))
		return -1;
	return place_job(job, err);
}

static int load_kernel(struct boot_job *job, struct error *err)
{
	struct boot_payload payload = {.file = &job->kernel_file, .head = malloc(BOOT_HEAD)};
	int ret;

	ret = payload.head ? load_payload(job, &payload, err)
			   : fail(err, "no memory to read %s", job->kernel_file.label);
	boot_gunzip_free(payload.gz);
	free(payload.head);
	return ret;
}

int boot_load(const struct boot_request *req, struct guest_memory *mem, struct boot_layout *layout,
	      struct error *err)
{
	struct boot_job job = {.mem = mem, .xlen = req->xlen};

	if (!mem->nr)
		return fail(err, "there is no RAM to load a kernel to (-m)");
	if (req->kernel.fd < 0)
		return fail(err, "there is no kernel to load (-k or -f)");
	if (req->xlen != 32 && req->xlen != 64)
		return fail(err, "there are no harts with XLEN %u to load a kernel for", req->xlen);
	if (!req->fdt_size || req->fdt_size > BOOT_FDT_MAX)
		return fail(err, "a device tree of %llu bytes cannot be placed: the limit is 2M",
			    (unsigned long long)req->fdt_size);
	if (boot_file_check(&job.kernel_file, &req->kernel, req->firmware ? "firmware" : "kernel",
			    req->firmware ? "-f" : "-k", err))
		return -1;
	job.rest.fdt = align_up(req->fdt_size, BOOT_PAGE);
	if (req->initrd.fd >= 0) {
		if (boot_file_check(&job.initrd_file, &req->initrd, "initrd", "-i", err))
			return -1;
		job.initrd = &job.initrd_file;
		job.rest.initrd = align_up(job.initrd_file.size, BOOT_PAGE);
	}
	if (req->firmware ? load_firmware(&job, err) : load_kernel(&job, err))
		return -1;
	if (job.initrd &&
	    boot_file_to_guest(job.initrd, mem, job.layout.initrd, job.layout.initrd_size, 0, err))
		return -1;
	*layout = job.layout;
	return 0;
}

const char *boot_format_name(enum boot_format format)
{
	switch (format) {
	case BOOT_IMAGE:
		return "Image";
	case BOOT_IMAGE_GZ:
		return "gzip Image";
	case BOOT_ZBOOT:
		return "EFI zboot";
	case BOOT_ELF:
		return "ELF";
	case BOOT_FIRMWARE:
		return "firmware";
	}
	return "unknown";
}
