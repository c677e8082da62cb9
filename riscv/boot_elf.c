// SPDX-License-Identifier: GPL-2.0-only
/*
 * ELF kernels: vmlinux, U-Boot, bare-metal programs (System V ABI, chapters 4
 * and 5; RISC-V psABI for the machine number).
 *
 * PT_LOAD segments go to their physical addresses (p_paddr). Linux links its
 * vmlinux with physical addresses that count from 0 or that are virtual ones;
 * no RAM is there, so such a file is moved as a whole: the 2 MiB page that holds
 * its lowest address becomes the one at RAM base + 2 MiB. A program linked to
 * addresses inside or above the RAM is never moved, since it may depend on them.
 *
 * Everything is checked before the first byte is loaded: sizes against the file
 * and against overflow, segments against each other and against the RAM. The
 * sum of the segments is limited to what the medany code model can reach twice
 * over, so that a file cannot make lkvm fill the host with zeroes.
 *
 * Thread: the one that builds the VM. Nothing is kept, nothing is saved.
 */
#include "boot_internal.h"

#include <elf.h>
#include <string.h>

#define ELF_MAX_PHDRS 256
#define ELF_MAX_TOTAL (4 * GIB)

/* Above this no RISC-V physical address exists (Sv48 and Sv57 have 56 bits). */
#define PHYSICAL_END (UINT64_C(1) << 56)

struct elf_header {
	bool is64;
	uint16_t type;
	uint64_t entry;
	uint64_t phoff;
	unsigned int phentsize;
	unsigned int phnum;
};

bool boot_elf_is(const struct boot_payload *payload)
{
	return payload->head_len >= EI_NIDENT && !memcmp(payload->head, ELFMAG, SELFMAG);
}

static int parse_header(const struct boot_payload *payload, unsigned int xlen, struct elf_header *h,
			struct error *err)
{
	const char *label = payload->file->label;
	const uint8_t *p = payload->head;
	unsigned int machine;

	if (p[EI_DATA] == ELFDATA2MSB)
		return fail(err, "%s is a big-endian ELF: only little-endian guests run", label);
	if (p[EI_DATA] != ELFDATA2LSB || (p[EI_CLASS] != ELFCLASS64 && p[EI_CLASS] != ELFCLASS32))
		return fail(err, "%s has an ELF header with class %u and data %u", label,
			    p[EI_CLASS], p[EI_DATA]);
	h->is64 = p[EI_CLASS] == ELFCLASS64;
	if (payload->head_len < (h->is64 ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr)))
		return fail(err, "%s is truncated: %zu bytes are no ELF header", label,
			    payload->head_len);
	h->type = get_le16(p + 16);
	machine = get_le16(p + 18);
	if (machine != EM_RISCV)
		return fail(err, "%s is an ELF for machine %u%s, not for RISC-V (%u)", label,
			    machine,
			    machine == EM_X86_64    ? " (x86-64)"
			    : machine == EM_AARCH64 ? " (arm64)"
						    : "",
			    EM_RISCV);
	/* A hart would take the other's instructions for its own, and say nothing. */
	if (h->is64 != (xlen == 64))
		return fail(err, "%s is a %u-bit ELF: this host's guests are rv%u", label,
			    h->is64 ? 64 : 32, xlen);
	if (h->type != ET_EXEC && h->type != ET_DYN)
		return fail(err, "%s is an ELF of type %u%s, not a program", label, h->type,
			    h->type == ET_REL	 ? " (object file)"
			    : h->type == ET_CORE ? " (core dump)"
						 : "");
	if (h->is64) {
		h->entry = get_le64(p + 24);
		h->phoff = get_le64(p + 32);
		h->phentsize = get_le16(p + 54);
		h->phnum = get_le16(p + 56);
	} else {
		h->entry = get_le32(p + 24);
		h->phoff = get_le32(p + 28);
		h->phentsize = get_le16(p + 42);
		h->phnum = get_le16(p + 44);
	}
	if (!h->phnum)
		return fail(err, "%s is an ELF without program headers", label);
	if (h->phnum > ELF_MAX_PHDRS)
		return fail(err, "%s is an ELF with %u program headers: at most %d are taken",
			    label, h->phnum, ELF_MAX_PHDRS);
	if (h->phentsize != (h->is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)))
		return fail(err, "%s is an ELF with program headers of %u bytes instead of %zu",
			    label, h->phentsize, h->is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr));
	return 0;
}

/* The program headers: from the file, or out of the head of what is unpacked. */
static int read_phdrs(const struct boot_payload *payload, const struct elf_header *h, uint8_t *buf,
		      struct error *err)
{
	size_t len = (size_t)h->phnum * h->phentsize;
	uint64_t limit = payload->gz ? payload->head_len : payload->file->size;

	if (h->phoff > limit || len > limit - h->phoff)
		return fail(err,
			    "%s: its %u ELF program headers at offset %llu are not within %s (%llu "
			    "bytes)",
			    payload->file->label, h->phnum, (unsigned long long)h->phoff,
			    payload->gz ? "what was unpacked for a look" : "the file, truncated?",
			    (unsigned long long)limit);
	if (!payload->gz)
		return boot_file_read(payload->file, buf, len, h->phoff, err);
	memcpy(buf, payload->head + h->phoff, len);
	return 0;
}

static int parse_segments(const struct boot_payload *payload, const struct elf_header *h,
			  const uint8_t *phdrs, struct boot_kernel *kernel, struct error *err)
{
	const char *label = payload->file->label;
	uint64_t total = 0;
	unsigned int i;

	for (i = 0; i < h->phnum; i++) {
		const uint8_t *p = phdrs + (size_t)i * h->phentsize;
		struct boot_segment s;

		if (get_le32(p) != PT_LOAD)
			continue;
		if (h->is64)
			s = (struct boot_segment){.offset = get_le64(p + 8),
						  .vaddr = get_le64(p + 16),
						  .gpa = get_le64(p + 24),
						  .file_size = get_le64(p + 32),
						  .size = get_le64(p + 40)};
		else
			s = (struct boot_segment){.offset = get_le32(p + 4),
						  .vaddr = get_le32(p + 8),
						  .gpa = get_le32(p + 12),
						  .file_size = get_le32(p + 16),
						  .size = get_le32(p + 20)};
		if (s.file_size > s.size)
			return fail(err,
				    "%s: ELF segment %u holds more (0x%llx) than it occupies "
				    "(0x%llx)",
				    label, i, (unsigned long long)s.file_size,
				    (unsigned long long)s.size);
		if (!s.size)
			continue;
		if (s.offset + s.file_size < s.offset)
			return fail(err,
				    "%s: ELF segment %u at offset 0x%llx + 0x%llx wraps around",
				    label, i, (unsigned long long)s.offset,
				    (unsigned long long)s.file_size);
		if (!payload->gz && s.file_size && s.offset + s.file_size > payload->file->size)
			return fail(
				err,
				"%s is truncated: ELF segment %u ends at %llu, the file at %llu",
				label, i, (unsigned long long)s.offset + s.file_size,
				(unsigned long long)payload->file->size);
		if (s.gpa + s.size < s.gpa)
			return fail(err, "%s: ELF segment %u at 0x%llx + 0x%llx wraps around",
				    label, i, (unsigned long long)s.gpa,
				    (unsigned long long)s.size);
		if (s.size > ELF_MAX_TOTAL || total + s.size > ELF_MAX_TOTAL)
			return fail(err, "%s: its ELF segments need more than 4G: no kernel does",
				    label);
		total += s.size;
		if (kernel->nr_segments == BOOT_ELF_SEGMENTS)
			return fail(err, "%s: at most %d ELF segments to load are taken", label,
				    BOOT_ELF_SEGMENTS);
		kernel->segments[kernel->nr_segments++] = s;
	}
	if (!kernel->nr_segments)
		return fail(err, "%s is an ELF without anything to load", label);
	return 0;
}

static int check_overlap(const struct boot_payload *payload, const struct boot_kernel *kernel,
			 struct error *err)
{
	size_t i, j;

	for (i = 0; i < kernel->nr_segments; i++) {
		const struct boot_segment *a = &kernel->segments[i];

		for (j = 0; j < i; j++) {
			const struct boot_segment *b = &kernel->segments[j];

			if (a->gpa < b->gpa + b->size && b->gpa < a->gpa + a->size)
				return fail(err,
					    "%s: ELF segments 0x%llx + 0x%llx and 0x%llx + 0x%llx "
					    "overlap",
					    payload->file->label, (unsigned long long)b->gpa,
					    (unsigned long long)b->size, (unsigned long long)a->gpa,
					    (unsigned long long)a->size);
		}
	}
	return 0;
}

/* The entry point is a virtual address; some linkers write a physical one. */
static bool entry_to_gpa(const struct boot_kernel *kernel, uint64_t entry, gpa_t *gpa)
{
	size_t i;

	for (i = 0; i < kernel->nr_segments; i++) {
		const struct boot_segment *s = &kernel->segments[i];

		if (entry - s->vaddr < s->size) {
			*gpa = s->gpa + (entry - s->vaddr);
			return true;
		}
	}
	for (i = 0; i < kernel->nr_segments; i++) {
		const struct boot_segment *s = &kernel->segments[i];

		if (entry - s->gpa < s->size) {
			*gpa = entry;
			return true;
		}
	}
	return false;
}

static int place_segments(const struct boot_payload *payload, const struct guest_memory *mem,
			  struct boot_kernel *kernel, struct error *err)
{
	const struct memory_region *ram = &mem->regions[0];
	const struct boot_segment *misfit = NULL;
	gpa_t low = UINT64_MAX, end = 0, to;
	size_t i, fit = 0;

	for (i = 0; i < kernel->nr_segments; i++) {
		const struct boot_segment *s = &kernel->segments[i];

		low = min_u64(low, s->gpa);
		end = max_u64(end, s->gpa + s->size);
		if (memory_find(mem, s->gpa, s->size))
			fit++;
		else
			misfit = misfit ? misfit : s;
	}
	if (misfit && !fit && (low < ram->gpa || low >= PHYSICAL_END)) {
		/* Both sums are modulo 2^64 where the RAM is at the very end. */
		to = align_up(ram->gpa, BOOT_ALIGN) + BOOT_ALIGN + low % BOOT_ALIGN;
		if (to < ram->gpa || to - ram->gpa >= ram->size ||
		    end - low > ram->size - (to - ram->gpa)) {
			char size[32], have[32], advice[96];

			return fail(err, "%s needs %s at 0x%llx but RAM ends at 0x%llx (%s): %s",
				    payload->file->label, boot_size(size, sizeof(size), end - low),
				    (unsigned long long)to,
				    (unsigned long long)ram->gpa + ram->size,
				    boot_size(have, sizeof(have), ram->size),
				    boot_advice(advice, sizeof(advice),
						end - low > TIB ? UINT64_MAX
								: to - ram->gpa + (end - low)));
		}
		for (i = 0; i < kernel->nr_segments; i++)
			kernel->segments[i].gpa += to - low;
		end = end - low + to;
		low = to;
	} else if (misfit) {
		char size[32], have[32], advice[128] = "";

		/* More memory helps where the segment is above the start of RAM. */
		if (misfit->gpa >= ram->gpa && mem->nr == 1)
			boot_advice(advice, sizeof(advice), misfit->gpa + misfit->size - ram->gpa);
		return fail(err, "%s is linked to 0x%llx (%s), outside the RAM at 0x%llx (%s)%s%s",
			    payload->file->label, (unsigned long long)misfit->gpa,
			    boot_size(size, sizeof(size), misfit->size),
			    (unsigned long long)ram->gpa, boot_size(have, sizeof(have), ram->size),
			    advice[0] ? ": " : "", advice);
	}
	kernel->start = low;
	kernel->size = end - low;
	return 0;
}

int boot_elf_plan(const struct boot_payload *payload, unsigned int xlen,
		  const struct guest_memory *mem, struct boot_kernel *kernel, struct error *err)
{
	const struct memory_region *ram = &mem->regions[0];
	uint8_t phdrs[ELF_MAX_PHDRS * sizeof(Elf64_Phdr)] = {0};
	struct elf_header h = {0};
	size_t i;

	kernel->format = BOOT_ELF;
	kernel->exact = false;
	kernel->below = true;
	kernel->nr_segments = 0;
	if (parse_header(payload, xlen, &h, err) || read_phdrs(payload, &h, phdrs, err) ||
	    parse_segments(payload, &h, phdrs, kernel, err) ||
	    check_overlap(payload, kernel, err) || place_segments(payload, mem, kernel, err))
		return -1;
	if (!entry_to_gpa(kernel, h.entry, &kernel->entry))
		return fail(err, "%s: its entry point 0x%llx is in none of its ELF segments",
			    payload->file->label, (unsigned long long)h.entry);
	if (kernel->entry % 2)
		return fail(err, "%s: its entry point 0x%llx is odd", payload->file->label,
			    (unsigned long long)h.entry);

	kernel->avoid = kernel->avoid_end = ram->gpa;
	for (i = 0; i < kernel->nr_segments; i++) {
		const struct boot_segment *s = &kernel->segments[i];

		if (s->gpa - ram->gpa >= ram->size)
			continue;
		if (kernel->avoid == kernel->avoid_end) {
			kernel->avoid = s->gpa;
			kernel->avoid_end = s->gpa + s->size;
		}
		kernel->avoid = min_u64(kernel->avoid, s->gpa);
		kernel->avoid_end = max_u64(kernel->avoid_end, s->gpa + s->size);
	}
	return 0;
}

/* A piece of what is unpacked goes to every segment that holds some of it. */
static int scatter(const struct boot_kernel *kernel, struct guest_memory *mem, const uint8_t *buf,
		   uint64_t offset, uint64_t len, const char *label, struct error *err)
{
	size_t i;

	for (i = 0; i < kernel->nr_segments; i++) {
		const struct boot_segment *s = &kernel->segments[i];
		uint64_t from = max_u64(s->offset, offset);
		uint64_t to = min_u64(s->offset + s->file_size, offset + len);

		if (from < to && !memory_write(mem, s->gpa + (from - s->offset),
					       buf + (from - offset), to - from))
			return fail(err, "%s: 0x%llx is not RAM", label,
				    (unsigned long long)s->gpa + (from - s->offset));
	}
	return 0;
}

static int load_unpacked(const struct boot_payload *payload, const struct boot_kernel *kernel,
			 struct guest_memory *mem, struct error *err)
{
	const char *label = payload->file->label;
	uint64_t offset = payload->head_len;
	uint64_t need = 0;
	long n;
	size_t i;

	for (i = 0; i < kernel->nr_segments; i++) {
		const struct boot_segment *s = &kernel->segments[i];

		if (s->file_size)
			need = max_u64(need, s->offset + s->file_size);
	}
	if (scatter(kernel, mem, payload->head, 0, payload->head_len, label, err))
		return -1;
	/* To the end, for the check sum, even behind the last segment. */
	do {
		n = boot_gunzip_read(payload->gz, payload->head, BOOT_HEAD, err);
		if (n < 0 || scatter(kernel, mem, payload->head, offset, (uint64_t)n, label, err))
			return -1;
		offset += (uint64_t)n;
		if (offset > ELF_MAX_TOTAL)
			return fail(err, "%s unpacks to more than 4G: no kernel does", label);
	} while (n == (long)BOOT_HEAD);
	if (offset < need)
		return fail(err,
			    "%s is truncated: unpacked it is %llu bytes, its segments end at %llu",
			    label, (unsigned long long)offset, (unsigned long long)need);
	return 0;
}

/* RAM that nobody wrote reads as zero: only what is not is written. */
static bool zero_guest(struct guest_memory *mem, gpa_t gpa, uint64_t len)
{
	static const uint8_t zeroes[4096];

	while (len) {
		uint64_t n = min_u64(len, BOOT_PAGE - gpa % BOOT_PAGE);
		const void *p = memory_for_read(mem, gpa, n);

		if (!p || (memcmp(p, zeroes, (size_t)n) != 0 && !memory_write(mem, gpa, zeroes, n)))
			return false;
		gpa += n;
		len -= n;
	}
	return true;
}

int boot_elf_load(const struct boot_payload *payload, const struct boot_kernel *kernel,
		  struct guest_memory *mem, struct error *err)
{
	size_t i;

	if (payload->gz && load_unpacked(payload, kernel, mem, err))
		return -1;
	for (i = 0; i < kernel->nr_segments; i++) {
		const struct boot_segment *s = &kernel->segments[i];

		if (!payload->gz &&
		    boot_file_to_guest(payload->file, mem, s->gpa, s->file_size, s->offset, err))
			return -1;
		if (!zero_guest(mem, s->gpa + s->file_size, s->size - s->file_size))
			return fail(err, "%s: 0x%llx + 0x%llx is not RAM", payload->file->label,
				    (unsigned long long)s->gpa, (unsigned long long)s->size);
	}
	return 0;
}
