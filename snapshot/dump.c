// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VM as an ELF core file (include/lkvm/snapshot/dump.h; ELF: System V ABI, chapters 4
 * and 5):
 *
 *   header, program headers, notes (a set of registers for each hart), RAM
 *
 * RAM lies in the file once, region by region from the lowest, pages of zeroes as holes.
 * A segment (PT_LOAD) names a piece of it by guest address and by a virtual address that the
 * kernel uses; several may name the same piece. Files that the guest has as memory (--pmem)
 * are no RAM and are left away.
 *
 * Thread: the loop's, which serves nothing else meanwhile.
 */
#include "lkvm/snapshot/dump.h"

#include "lkvm/arch_dump.h"
#include "lkvm/gdb.h"
#include "lkvm/snapshot/format.h"
#include "lkvm/snapshot/memory.h"

#include <elf.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define PAUSE_MS 5000

/**
 * struct dump - a file that is being written
 * @segments, @nr: what it shows of memory
 * @notes, @notes_len: the harts
 * @ram: where memory begins in it
 */
struct dump {
	struct vm *vm;
	struct dump_segment segments[DUMP_SEGMENTS_MAX];
	size_t nr;
	char *notes;
	size_t notes_len;
	uint64_t ram;
};

/* Where guest memory at @gpa lies in the file. */
static uint64_t file_offset(const struct dump *d, gpa_t gpa)
{
	uint64_t at = d->ram;
	size_t i;

	for (i = 0; i < d->vm->mem.nr; i++) {
		const struct memory_region *r = &d->vm->mem.regions[i];

		if (r->file)
			continue;
		if (gpa >= r->gpa && gpa - r->gpa < r->size)
			return at + (gpa - r->gpa);
		at += r->size;
	}
	return at;
}

static uint64_t headers_len(const struct dump *d)
{
	return sizeof(Elf64_Ehdr) + (d->nr + 1) * sizeof(Elf64_Phdr);
}

static void fill_header(const struct dump *d, Elf64_Ehdr *e)
{
	*e = (Elf64_Ehdr){
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
			    EV_CURRENT},
		.e_type = htole16(ET_CORE),
		.e_machine = htole16(arch_dump_machine),
		.e_version = htole32(EV_CURRENT),
		.e_phoff = htole64(sizeof(*e)),
		.e_flags = htole32(arch_dump_flags),
		.e_ehsize = htole16(sizeof(*e)),
		.e_phentsize = htole16(sizeof(Elf64_Phdr)),
		.e_phnum = htole16((uint16_t)(d->nr + 1)),
	};
}

static void fill_segments(const struct dump *d, Elf64_Phdr *p)
{
	size_t i;

	*p++ = (Elf64_Phdr){.p_type = htole32(PT_NOTE),
			    .p_offset = htole64(headers_len(d)),
			    .p_filesz = htole64(d->notes_len),
			    .p_align = htole64(4)};
	for (i = 0; i < d->nr; i++) {
		const struct dump_segment *s = &d->segments[i];

		*p++ = (Elf64_Phdr){.p_type = htole32(PT_LOAD),
				    .p_flags = htole32(PF_R | PF_W | PF_X),
				    .p_offset = htole64(file_offset(d, s->gpa)),
				    .p_vaddr = htole64(s->va),
				    .p_paddr = htole64(s->gpa),
				    .p_filesz = htole64(s->size),
				    .p_memsz = htole64(s->size),
				    .p_align = htole64(SNAPSHOT_PAGE)};
	}
}

static int write_headers(struct dump *d, struct snapshot_writer *w, struct error *err)
{
	char *head = malloc(headers_len(d));
	int ret;

	if (!head)
		return fail(err, "no memory");
	fill_header(d, (Elf64_Ehdr *)(void *)head);
	fill_segments(d, (Elf64_Phdr *)(void *)(head + sizeof(Elf64_Ehdr)));
	ret = snapshot_write(w, head, headers_len(d), 0, err);
	free(head);
	return ret ? ret : snapshot_write(w, d->notes, d->notes_len, headers_len(d), err);
}

static int write_memory(struct dump *d, struct snapshot_writer *w, struct error *err)
{
	/* The core file has no use for the index of pages. */
	uint8_t *index = malloc(snapshot_memory_size(&d->vm->mem));
	uint64_t end;
	int ret;

	if (!index)
		return fail(err, "no memory");
	ret = snapshot_memory_write(w, &d->vm->mem, SNAPSHOT_RAW, d->ram, index, &end, err);
	free(index);
	if (ret)
		return ret;
	ret = w->io.ops->truncate(w->io.opaque, w->fd, end);
	return ret ? fail_errno(err, -ret, "the file can't be made as long as RAM") : 0;
}

static int write_all_parts(struct dump *d, struct snapshot_writer *w, struct error *err)
{
	d->nr = arch_dump_segments(d->vm, d->segments);
	if (arch_dump_notes(d->vm, &d->notes, &d->notes_len, err))
		return -1;
	d->ram = align_up(headers_len(d) + d->notes_len, SNAPSHOT_PAGE);
	return write_headers(d, w, err) || write_memory(d, w, err) ? -1 : 0;
}

int dump_write(struct vm *vm, struct snapshot_io io, int fd, struct dump_result *result,
	       struct error *err)
{
	struct dump *d = calloc(1, sizeof(*d));
	uint64_t begin = now_ns();
	struct snapshot_writer w;
	int ret;

	if (!d)
		return fail(err, "no memory");
	d->vm = vm;
	snapshot_writer_init(&w, io, fd);
	if (gdb_attached(vm->gdb))
		ret = fail(err, "a debugger is attached, which may have breakpoints in its memory");
	else if (vm_pause(vm, PAUSE_MS))
		ret = fail(err, "a vCPU did not stop in time; the VM goes on");
	else {
		ret = write_all_parts(d, &w, err);
		vm_unpause(vm);
	}
	*result = (struct dump_result){.written = w.written, .paused_ns = now_ns() - begin};
	snapshot_writer_free(&w);
	free(d->notes);
	free(d);
	return ret;
}
