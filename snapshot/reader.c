// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reading a snapshot (include/lkvm/snapshot/format.h): from the first page outwards, each
 * part proven before what it says is used.
 *
 * A file is a stranger's. Its header says how large it must be, which is compared with
 * how large it is; the table's place is fixed; sections stand in the order of their
 * offsets with less than 8 bytes between them, so they can't overlap, and their sizes sum
 * to less than the file. Only then is memory taken for one.
 *
 * One thread for each struct snapshot_file; no lock.
 */
#include "lkvm/snapshot/format.h"
#include "lkvm/snapshot/memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What is looked at when a gap is searched for what does not belong there. */
#define GAP_STEP 65536

int snapshot_pread(const struct snapshot_file *f, void *buf, size_t len, uint64_t offset,
		   const char *what, struct error *err)
{
	long n = pread_all(f->fd, buf, len, offset);

	if (n < 0)
		return fail_errno(err, errno, "%s: cannot be read", what);
	if ((size_t)n < len)
		return fail(err, "%s: the file ends in it, at byte %llu", what,
			    (unsigned long long)offset + (unsigned long long)n);
	return 0;
}

static bool all_zero(const uint8_t *p, size_t len)
{
	return !len || (!*p && !memcmp(p, p + 1, len - 1));
}

int snapshot_zeroes(const struct snapshot_file *f, uint64_t *from, uint64_t to,
		    const _Atomic bool *stop, const char *what, struct error *err)
{
	uint8_t buf[GAP_STEP];

	while (*from < to) {
		size_t len = (size_t)min_u64(sizeof(buf), to - *from);
		off_t data = to - *from < SNAPSHOT_PAGE ? (off_t)*from
							: lseek(f->fd, (off_t)*from, SEEK_DATA);

		if (stop && atomic_load(stop))
			return 1;
		/* No data up to the end; a file system that can't tell has data everywhere. */
		if (data < 0 && errno == ENXIO)
			data = (off_t)to;
		if (data > 0 && (uint64_t)data > *from) {
			*from = (uint64_t)data;
			continue;
		}
		if (snapshot_pread(f, buf, len, *from, what, err))
			return -1;
		if (!all_zero(buf, len))
			return fail(err, "%s: damaged (what must be zero is not, near byte %llu)",
				    what, (unsigned long long)*from);
		*from += len;
	}
	return 0;
}

/* The part that byte @at lies in, for a file that was cut off there. */
static const char *part_at(const struct snapshot_file *f, uint64_t at)
{
	uint32_t i;

	for (i = 0; i < f->header.sections; i++)
		if (at < f->entries[i].offset + f->entries[i].size)
			return f->entries[i].name;
	return "guest memory";
}

static int read_header(struct snapshot_file *f, struct error *err)
{
	uint8_t page[SNAPSHOT_PAGE];

	if (f->size < sizeof(page))
		return fail(err, "header: the file has %llu bytes, a snapshot at least %zu",
			    (unsigned long long)f->size, sizeof(page));
	if (snapshot_pread(f, page, sizeof(page), 0, "header", err))
		return -1;
	return snapshot_header_parse(&f->header, page, err);
}

static int check_entry(const struct snapshot_file *f, uint32_t i, uint64_t from, struct error *err)
{
	const struct snapshot_entry *e = &f->entries[i];
	uint32_t k;

	if (e->offset < from || e->offset - from >= SNAPSHOT_ALIGN || e->offset % SNAPSHOT_ALIGN ||
	    e->offset > f->header.memory || e->size > f->header.memory - e->offset ||
	    e->size > SNAPSHOT_MAX_SECTION)
		return fail(err, "table: section %s lies where none can", e->name);
	for (k = 0; k < i; k++)
		if (!strcmp(f->entries[k].name, e->name))
			return fail(err, "table: section %s is there twice", e->name);
	return 0;
}

static int read_table(struct snapshot_file *f, struct error *err)
{
	size_t len = (size_t)f->header.sections * SNAPSHOT_ENTRY_SIZE;
	uint64_t from = SNAPSHOT_PAGE + len;
	uint32_t i;

	if (!f->header.sections || f->header.sections > SNAPSHOT_MAX_SECTIONS)
		return fail(err, "header: %u sections, there are 1 to %u", f->header.sections,
			    SNAPSHOT_MAX_SECTIONS);
	if (f->size < from)
		return fail(err, "table: the file ends in it");
	f->table = malloc(len);
	f->entries = calloc(f->header.sections, sizeof(*f->entries));
	if (!f->table || !f->entries)
		return fail(err, "no memory for the table");
	if (snapshot_pread(f, f->table, len, SNAPSHOT_PAGE, "table", err))
		return -1;
	if (snapshot_crc(0, f->table, len) != f->header.table_crc)
		return fail(err, "table: damaged (its checksum is another)");
	for (i = 0; i < f->header.sections; i++) {
		if (snapshot_entry_parse(&f->entries[i], f->table + (size_t)i * SNAPSHOT_ENTRY_SIZE,
					 err) ||
		    check_entry(f, i, from, err))
			return -1;
		from = f->entries[i].offset + f->entries[i].size;
	}
	if (f->header.memory % SNAPSHOT_PAGE || f->header.memory < from ||
	    f->header.memory - from >= SNAPSHOT_PAGE || f->header.memory > f->header.file_size)
		return fail(err, "header: memory lies where it can't");
	return 0;
}

static int check_size(const struct snapshot_file *f, struct error *err)
{
	unsigned long long is = f->size, should = f->header.file_size;

	if (f->size < f->header.file_size)
		return fail(err, "%s: the file ends in it: %llu of %llu bytes are there",
			    part_at(f, f->size), is, should);
	if (f->size > f->header.file_size)
		return fail(err, "guest memory: %llu bytes follow it that are no part of the file",
			    is - should);
	return 0;
}

int snapshot_open(struct snapshot_file *f, int fd, struct error *err)
{
	struct stat st;

	memset(f, 0, sizeof(*f));
	f->fd = fd;
	if (fstat(fd, &st))
		return fail_errno(err, errno, "cannot be looked at");
	if (!S_ISREG(st.st_mode))
		return fail(err, "this is no plain file");
	f->size = (uint64_t)st.st_size;
	if (!read_header(f, err) && !read_table(f, err) && !check_size(f, err))
		return 0;
	snapshot_close(f);
	return -1;
}

void snapshot_close(struct snapshot_file *f)
{
	free(f->entries);
	free(f->table);
	f->entries = NULL;
	f->table = NULL;
}

const struct snapshot_entry *snapshot_find(const struct snapshot_file *f, const char *name)
{
	uint32_t i;

	for (i = 0; i < f->header.sections; i++)
		if (!strcmp(f->entries[i].name, name))
			return &f->entries[i];
	return NULL;
}

int snapshot_read(const struct snapshot_file *f, const char *name, uint16_t version, uint8_t **data,
		  size_t *len, struct error *err)
{
	const struct snapshot_entry *e = snapshot_find(f, name);

	*data = NULL;
	*len = 0;
	if (!e)
		return fail(err, "there is no section %s", name);
	if (e->oldest > version)
		return fail(err, "section %s is of version %u; this lkvm reads up to %u", name,
			    e->version, version);
	*data = malloc(e->size ? (size_t)e->size : 1);
	if (!*data)
		return fail(err, "no memory for section %s", name);
	*len = (size_t)e->size;
	if (snapshot_pread(f, *data, *len, e->offset, name, err)) {
		free(*data);
		*data = NULL;
		return -1;
	}
	if (snapshot_crc(0, *data, *len) == e->crc)
		return 0;
	free(*data);
	*data = NULL;
	return fail(err, "%s: damaged (its checksum is another)", name);
}

/* Each section's bytes, and the gaps between them. */
static int verify_sections(const struct snapshot_file *f, struct error *err)
{
	uint64_t from = SNAPSHOT_PAGE + (uint64_t)f->header.sections * SNAPSHOT_ENTRY_SIZE;
	uint8_t *data;
	uint32_t i;
	size_t len;

	for (i = 0; i < f->header.sections; i++) {
		const struct snapshot_entry *e = &f->entries[i];

		if (snapshot_zeroes(f, &from, e->offset, NULL, e->name, err) ||
		    snapshot_read(f, e->name, UINT16_MAX, &data, &len, err))
			return -1;
		free(data);
		from = e->offset + e->size;
	}
	return snapshot_zeroes(f, &from, f->header.memory, NULL, "guest memory", err);
}

int snapshot_verify(const struct snapshot_file *f, struct error *err)
{
	struct snapshot_memory m;
	int ret;

	if (verify_sections(f, err) || snapshot_memory_open(&m, f, err))
		return -1;
	ret = snapshot_memory_read(&m, NULL, err);
	snapshot_memory_close(&m);
	return ret;
}
