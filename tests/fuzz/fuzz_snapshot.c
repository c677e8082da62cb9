// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz the snapshot loader. The input is a file, or (second byte odd) changes to a good
 * one with all checksums made right again afterwards, which gets behind them: into the
 * table, the memory index, and the sections' own walks.
 *
 * What is taken must verify, and every section that lkvm loads without a VM is loaded:
 * configuration, machine, registers.
 */
#include "lkvm/riscv/config.h"
#include "lkvm/riscv/reg_set.h"
#include "lkvm/snapshot/section.h"
#include "lkvm/snapshot/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RAM UINT64_C(0x80000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void text(struct xfer *x, const char *value)
{
	char *t = (char *)(uintptr_t)value;

	section_text(x, &t, 4096);
}

static void u32(struct xfer *x, uint32_t v)
{
	xfer_u32(x, &v);
}

static void u64(struct xfer *x, uint64_t v)
{
	xfer_u64(x, &v);
}

static void u8(struct xfer *x, uint8_t v)
{
	xfer_u8(x, &v);
}

static void walk_config(void *opaque, struct xfer *x)
{
	(void)opaque;
	text(x, "guest");
	u32(x, 1);
	u32(x, 0);
	u32(x, 0);
	u8(x, 0);
	u8(x, 0);
	text(x, "quiet");
	u32(x, 1);
	u64(x, RAM);
	u64(x, MIB);
	u32(x, 1);
	text(x, "disk");
	text(x, "disk0");
}

static void walk_riscv(void *opaque, struct xfer *x)
{
	(void)opaque;
	u32(x, 1);
	u8(x, 1);
	u32(x, 0);
	u32(x, 0);
	u8(x, 0);
	u32(x, 41);
	u32(x, 8);
	u64(x, 0);
	u64(x, 0);
	text(x, "rv64imafdc_zba");
	u32(x, 1);
	text(x, "time");
}

static void extension(struct xfer *x, uint8_t kind, const char *name)
{
	u8(x, kind);
	u8(x, (uint8_t)strlen(name));
	xfer_bytes(x, (char *)(uintptr_t)name, strlen(name));
	u64(x, 1);
}

static void walk_vcpu(void *opaque, struct xfer *x)
{
	(void)opaque;
	u32(x, 0);
	u32(x, 2);
	extension(x, 0, "zba");
	extension(x, 1, "time");
	u32(x, 2);
	u64(x, reg_long(REG_CORE, 0, CORE_PC));
	u64(x, RAM);
	u64(x, reg_long(REG_CORE, 0, CORE_SP));
	u64(x, RAM);
}

/* A whole and good file of one page of RAM that is not zero. */
static int good_file(enum snapshot_encoding encoding)
{
	static const struct snapshot_io io = {.ops = &snapshot_io_linux};
	int fd = memfd_create("snapshot", MFD_CLOEXEC);
	uint8_t id[SNAPSHOT_ID_SIZE];
	struct snapshot_writer w;
	struct guest_memory mem;
	struct error err;

	memory_init(&mem);
	snapshot_writer_init(&w, io, fd);
	if (fd < 0 || !memory_add(&mem, RAM, MIB, 4096, &err))
		abort();
	memset(memory_for_write(&mem, RAM + 5 * SNAPSHOT_PAGE, 1000), 7, 1000);
	if (section_save(&w, "config", 1, walk_config, NULL, &err) ||
	    section_save(&w, "riscv", 1, walk_riscv, NULL, &err) ||
	    section_save(&w, "vcpu0", 1, walk_vcpu, NULL, &err) ||
	    snapshot_finish(&w, &mem, encoding, NULL, id, &err))
		abort();
	snapshot_writer_free(&w);
	memory_destroy(&mem);
	return fd;
}

/* Replace bytes of the state, as the input says. */
static void change(int fd, uint64_t state, const uint8_t *data, size_t size)
{
	while (size >= 4) {
		uint64_t at = (data[0] | (uint64_t)data[1] << 8) % (state - SNAPSHOT_PAGE);
		uint8_t new = data[3];

		if (data[2] & 1) {
			uint8_t old = 0;

			if (pread(fd, &old, 1, (off_t)(SNAPSHOT_PAGE + at)) != 1)
				return;
			new ^= old;
		}
		if (pwrite(fd, &new, 1, (off_t)(SNAPSHOT_PAGE + at)) != 1)
			return;
		data += 4;
		size -= 4;
	}
}

/* Checksums of sections, table and header, and the identity, as the bytes now want them. */
static void make_good(int fd, struct snapshot_header h)
{
	size_t len = (size_t)h.sections * SNAPSHOT_ENTRY_SIZE;
	uint8_t *table = malloc(len), *state = malloc(h.memory), page[SNAPSHOT_PAGE];
	struct snapshot_entry e = {.size = 0};
	struct error err;
	uint32_t i;

	if (!table || !state || pread_all(fd, state, h.memory, 0) != (long)h.memory)
		abort();
	memcpy(table, state + SNAPSHOT_PAGE, len);
	for (i = 0; i < h.sections; i++) {
		if (snapshot_entry_parse(&e, table + (size_t)i * SNAPSHOT_ENTRY_SIZE, &err) ||
		    e.offset > h.memory || e.size > h.memory - e.offset)
			continue;
		e.crc = snapshot_crc(0, state + e.offset, e.size);
		snapshot_entry_bytes(&e, table + (size_t)i * SNAPSHOT_ENTRY_SIZE);
	}
	h.table_crc = snapshot_crc(0, table, len);
	if (e.offset <= h.memory && e.size <= h.memory - e.offset)
		snapshot_identity(table, len, state + e.offset, e.size, h.id);
	snapshot_header_bytes(&h, page);
	if (pwrite(fd, table, len, SNAPSHOT_PAGE) != (ssize_t)len ||
	    pwrite(fd, page, sizeof(page), 0) != (ssize_t)sizeof(page))
		abort();
	free(table);
	free(state);
}

static void walk_regs(void *opaque, struct xfer *x)
{
	struct reasons why = {0};

	reg_set_transfer(opaque, x, &why);
}

/* What is good must be taken. */
static void expect(bool good, int ret)
{
	if (good && ret)
		abort();
}

/* All that is loaded from a file before there is a VM; @good: nothing was changed in it. */
static void load(int fd, bool good)
{
	struct arch_config arch = {.irqchip = IRQCHIP_AUTO};
	struct reg_set set = {0};
	struct snapshot_saved saved;
	struct snapshot_memory m;
	struct snapshot_file f;
	struct guest_memory mem;
	struct error err;

	if (snapshot_open(&f, fd, &err)) {
		expect(good, -1);
		return;
	}
	expect(good, snapshot_verify(&f, &err));
	expect(good, snapshot_saved_read(&saved, &f, &arch, &err));
	snapshot_saved_free(&saved);
	expect(good, section_load(&f, "vcpu0", walk_regs, &set, &err));
	reg_set_free(&set);
	memory_init(&mem);
	if (!snapshot_memory_open(&m, &f, &err)) {
		if (memory_add(&mem, RAM, MIB, 4096, &err))
			expect(good, snapshot_memory_read(&m, &mem, &err));
		snapshot_memory_close(&m);
	}
	memory_destroy(&mem);
	snapshot_close(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct snapshot_file f;
	struct error err;
	int fd;

	if (size < 2)
		return 0;
	if (data[1] & 1) {
		fd = good_file((enum snapshot_encoding)(data[0] % 3));
		if (snapshot_open(&f, fd, &err))
			abort();
		change(fd, f.header.memory, data + 2, size - 2);
		make_good(fd, f.header);
		snapshot_close(&f);
	} else {
		fd = memfd_create("snapshot", MFD_CLOEXEC);
		if (fd < 0 || write_all(fd, data + 2, size - 2) < 0)
			abort();
	}
	load(fd, data[1] & 1 && size < 6);
	close(fd);
	return 0;
}
