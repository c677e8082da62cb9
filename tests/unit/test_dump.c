// SPDX-License-Identifier: GPL-2.0-only
/*
 * Core files of VMs: what is where in them, what the kernel's page tables bring in, and
 * what happens when the disk is full.
 */
#include "rig.h"
#include "unit.h"

#include "lkvm/riscv/regs.h"
#include "lkvm/snapshot/dump.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define RAM UINT64_C(0x80000000)
#define HIGH UINT64_C(0x100000000)
#define TABLE (RAM + 32 * MIB)
#define LINK UINT64_C(0xffffffff80000000)
#define LINEAR UINT64_C(0xffffffd600000000)
#define STACKS UINT64_C(0xffffffc600000000)

static struct rig rig;
static struct error err;

static void setup(void)
{
	rig_init(&rig, FAKE_7_2);
	rig.cfg.cpus = 2;
	rig.cfg.nr_mem = 2;
	rig.cfg.mem[1] = (struct mem_request){.size = 2 * MIB, .placed = true, .gpa = HIGH};
	rig_create(&rig);
}

static void teardown(void)
{
	rig_end(&rig);
}

struct job {
	struct snapshot_io io;
	int fd, ret;
	struct dump_result result;
};

static void do_dump(struct rig *r, void *arg)
{
	struct job *job = arg;

	job->ret = dump_write(r->vm, job->io, job->fd, &job->result, &err);
}

static void write_at(uint64_t gpa, const void *data, size_t len)
{
	ck_assert(memory_write(&rig.vm->mem, gpa, data, len));
}

static void entry(uint64_t table, unsigned int index, uint64_t gpa, unsigned int flags)
{
	uint64_t pte = gpa >> 12 << 10 | flags;

	write_at(table + 8 * index, &pte, sizeof(pte));
}

/* As Linux has it: RAM at LINEAR but for its last page, and 2 MiB at LINK. */
static void page_tables(void)
{
	unsigned int i;

	entry(TABLE, LINEAR >> 30 & 511, TABLE + 0x1000, 1);
	for (i = 0; i < 32; i++)
		entry(TABLE + 0x1000, i, RAM + i * 2 * MIB, 15);
	entry(TABLE, LINK >> 30 & 511, TABLE + 0x2000, 1);
	entry(TABLE + 0x2000, 0, RAM + 2 * MIB, 15);
	/* A page by itself, and what is no RAM, are not worth a segment. */
	entry(TABLE + 0x2000, 1, TABLE + 0x3000, 1);
	entry(TABLE + 0x3000, 0, RAM, 15);
	entry(TABLE + 0x2000, 2, 0x10000000, 15);
	fake_vcpu(rig.host, 1)->csr[CSR_SATP] = UINT64_C(8) << 60 | TABLE >> 12;
}

static uint8_t *dump(size_t *len)
{
	struct job job = {.io = {.ops = &snapshot_io_linux},
			  .fd = memfd_create("core", MFD_CLOEXEC)};
	struct stat st;
	uint8_t *file;

	ck_assert_int_ge(job.fd, 0);
	rig_start(&rig);
	ck_assert(fake_wait_idle(rig.host, 0));
	rig_call(&rig, do_dump, &job);
	ck_assert_msg(!job.ret, "%s", err.msg);
	/* It has gone on. */
	ck_assert(fake_wait_idle(rig.host, 0));
	ck_assert_uint_eq(rig.vm->paused, 0);
	vm_end(rig.vm, VM_QUIT);
	ck_assert_int_eq(rig_join(&rig), VM_QUIT);
	ck_assert_int_eq(fstat(job.fd, &st), 0);
	/* Zeroes are holes. */
	ck_assert_int_lt(st.st_blocks * 512, 8 * MIB);
	ck_assert_uint_lt(job.result.written, 8 * MIB);
	*len = (size_t)st.st_size;
	file = mmap(NULL, *len, PROT_READ, MAP_PRIVATE, job.fd, 0);
	ck_assert(file != MAP_FAILED);
	close(job.fd);
	return file;
}

static const Elf64_Phdr *segments(const uint8_t *file, size_t len, unsigned int *nr)
{
	const Elf64_Ehdr *e = (const void *)file;

	ck_assert(!memcmp(e->e_ident, ELFMAG, SELFMAG) && e->e_ident[EI_CLASS] == ELFCLASS64);
	ck_assert_uint_eq(e->e_type, ET_CORE);
	ck_assert_uint_eq(e->e_machine, 243);
	ck_assert_uint_le(e->e_phoff + e->e_phnum * sizeof(Elf64_Phdr), len);
	*nr = e->e_phnum;
	return (const void *)(file + e->e_phoff);
}

static void segment(const uint8_t *file, size_t len, const Elf64_Phdr *p, uint64_t va, uint64_t gpa,
		    uint64_t size)
{
	uint8_t *ram = malloc(size);

	ck_assert_uint_eq(p->p_type, PT_LOAD);
	ck_assert_uint_eq(p->p_vaddr, va);
	ck_assert_uint_eq(p->p_paddr, gpa);
	ck_assert_uint_eq(p->p_filesz, size);
	ck_assert_uint_eq(p->p_memsz, size);
	ck_assert_uint_eq(p->p_offset % 4096, 0);
	ck_assert_uint_le(p->p_offset + size, len);
	ck_assert(ram && memory_read(&rig.vm->mem, gpa, ram, size));
	ck_assert(!memcmp(ram, file + p->p_offset, size));
	free(ram);
}

static uint64_t word(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static void registers(const uint8_t *file, const Elf64_Phdr *p)
{
	const uint8_t *at = file + p->p_offset, *end = at + p->p_filesz;
	unsigned int hart = 0;

	ck_assert_uint_eq(p->p_type, PT_NOTE);
	for (; at < end; hart++) {
		const Elf64_Nhdr *n = (const void *)at;
		const uint8_t *desc = at + sizeof(*n) + 8;

		ck_assert_uint_eq(n->n_type, NT_PRSTATUS);
		ck_assert_uint_eq(n->n_descsz, 376);
		ck_assert_str_eq((const char *)(n + 1), "CORE");
		ck_assert_uint_eq(word(desc + 32) & UINT32_MAX, hart + 1);
		ck_assert_uint_eq(word(desc + 112), fake_vcpu(rig.host, hart)->core[CORE_PC]);
		ck_assert_uint_eq(word(desc + 112 + 8 * 31), 0x3131 + hart);
		at += sizeof(*n) + 8 + 376;
		n = (const void *)at;
		ck_assert_uint_eq(n->n_type, NT_FPREGSET);
		ck_assert_uint_eq(n->n_descsz, 264);
		ck_assert_uint_eq(word(at + sizeof(*n) + 8 + 8 * 9), 0x99 + hart);
		at += sizeof(*n) + 8 + 264;
	}
	ck_assert_ptr_eq(at, end);
	ck_assert_uint_eq(hart, 2);
}

static void scribble(void)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		fake_vcpu(rig.host, i)->core[31] = 0x3131 + i;
		fake_vcpu(rig.host, i)->fp[9] = 0x99 + i;
	}
	write_at(RAM + 64 * MIB - 8, "the end", 8);
	write_at(HIGH + 5, "high", 4);
}

START_TEST(bare)
{
	const Elf64_Phdr *p;
	unsigned int nr;
	uint8_t *file;
	size_t len;

	scribble();
	file = dump(&len);
	p = segments(file, len, &nr);
	ck_assert_uint_eq(nr, 3);
	registers(file, p);
	segment(file, len, p + 1, RAM, RAM, 64 * MIB);
	segment(file, len, p + 2, HIGH, HIGH, 2 * MIB);
	munmap(file, len);
}
END_TEST

START_TEST(by_page_tables)
{
	const Elf64_Phdr *p;
	unsigned int nr;
	uint8_t *file;
	size_t len;

	scribble();
	page_tables();
	file = dump(&len);
	p = segments(file, len, &nr);
	ck_assert_uint_eq(nr, 4);
	registers(file, p);
	segment(file, len, p + 1, LINEAR, RAM, 64 * MIB);
	segment(file, len, p + 2, LINEAR + HIGH - RAM, HIGH, 2 * MIB);
	segment(file, len, p + 3, LINK, RAM + 2 * MIB, 2 * MIB);
	munmap(file, len);
}
END_TEST

static void stack(unsigned int hart, uint64_t sp)
{
	fake_vcpu(rig.host, hart)->csr[CSR_SATP] = UINT64_C(8) << 60 | TABLE >> 12;
	fake_vcpu(rig.host, hart)->core[CORE_SP] = sp;
}

/* Of 4 KiB pages, from that of sp to the gap behind the stack. */
START_TEST(stacks)
{
	const Elf64_Phdr *p;
	unsigned int nr;
	uint8_t *file;
	size_t len;

	scribble();
	page_tables();
	entry(TABLE, STACKS >> 30 & 511, TABLE + 0x4000, 1);
	entry(TABLE + 0x4000, 0, TABLE + 0x5000, 1);
	/* Below sp; two that follow each other, one that does not; the gap; another's. */
	entry(TABLE + 0x5000, 0, RAM + 0x100000, 15);
	entry(TABLE + 0x5000, 1, RAM + 0x101000, 15);
	entry(TABLE + 0x5000, 2, RAM + 0x102000, 15);
	entry(TABLE + 0x5000, 3, RAM + 0x200000, 15);
	entry(TABLE + 0x5000, 5, RAM + 0x201000, 15);
	/* No RAM is there. */
	entry(TABLE + 0x5000, 6, 0x10000000, 15);
	stack(0, STACKS + 0x1ff0);
	stack(1, STACKS + 0x5008);
	file = dump(&len);
	p = segments(file, len, &nr);
	ck_assert_uint_eq(nr, 7);
	segment(file, len, p + 4, STACKS + 0x1000, RAM + 0x101000, 0x2000);
	segment(file, len, p + 5, STACKS + 0x3000, RAM + 0x200000, 0x1000);
	segment(file, len, p + 6, STACKS + 0x5000, RAM + 0x201000, 0x1000);
	munmap(file, len);
}
END_TEST

/* One that lies in what is shown anyhow, and none. */
START_TEST(stacks_elsewhere)
{
	const Elf64_Phdr *p;
	unsigned int nr;
	uint8_t *file;
	size_t len;

	scribble();
	page_tables();
	stack(0, LINEAR + 0x1230);
	stack(1, 0);
	file = dump(&len);
	p = segments(file, len, &nr);
	ck_assert_uint_eq(nr, 4);
	ck_assert_uint_eq(p[3].p_vaddr, LINK);
	munmap(file, len);
}
END_TEST

static long full(void *opaque, int fd, const void *buf, size_t len, uint64_t offset)
{
	int *left = opaque;

	return (*left)-- > 0 ? snapshot_io_linux.write(NULL, fd, buf, len, offset) : -ENOSPC;
}

static int no_truncate(void *opaque, int fd, uint64_t size)
{
	(void)opaque;
	(void)fd;
	(void)size;
	return -EFBIG;
}

START_TEST(full_disk)
{
	struct snapshot_io_ops ops = {.write = full, .truncate = no_truncate};
	int left, i;
	struct job job = {.io = {&ops, &left}, .fd = memfd_create("core", MFD_CLOEXEC)};

	scribble();
	rig_start(&rig);
	for (i = 0; i < 100; i++) {
		left = i;
		rig_call(&rig, do_dump, &job);
		ck_assert_int_eq(job.ret, -1);
		ck_assert_uint_eq(rig.vm->paused, 0);
		if (!strstr(err.msg, "No space"))
			break;
	}
	ck_assert_int_ge(i, 3);
	ck_assert_ptr_nonnull(strstr(err.msg, "as long as RAM"));
	close(job.fd);
	vm_end(rig.vm, VM_QUIT);
	rig_join(&rig);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("dump");
	TCase *tc = tcase_create("dump");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, bare);
	tcase_add_test(tc, by_page_tables);
	tcase_add_test(tc, stacks);
	tcase_add_test(tc, stacks_elsewhere);
	tcase_add_test(tc, full_disk);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
