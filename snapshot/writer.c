// SPDX-License-Identifier: GPL-2.0-only
/*
 * Writing a snapshot (include/lkvm/snapshot/format.h). Sections are gathered in memory;
 * then the whole is laid out, guest memory is written to its place, after that the
 * sections and the table, and the header last: a file that was torn off has none.
 *
 * One thread; no lock.
 */
#include "lkvm/snapshot/format.h"
#include "lkvm/snapshot/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct snapshot_section {
	struct snapshot_entry e;
	uint8_t *data;
};

void snapshot_writer_init(struct snapshot_writer *w, struct snapshot_io io, int fd)
{
	*w = (struct snapshot_writer){.io = io, .fd = fd};
}

void snapshot_writer_free(struct snapshot_writer *w)
{
	size_t i;

	for (i = 0; i < w->nr; i++)
		free(w->sections[i].data);
	free(w->sections);
	w->sections = NULL;
	w->nr = w->max = 0;
}

static struct snapshot_section *new_section(struct snapshot_writer *w)
{
	if (w->nr == w->max) {
		size_t max = w->max ? 2 * w->max : 16;
		struct snapshot_section *all = realloc(w->sections, max * sizeof(*all));

		if (!all)
			return NULL;
		w->sections = all;
		w->max = max;
	}
	memset(&w->sections[w->nr], 0, sizeof(w->sections[0]));
	return &w->sections[w->nr];
}

int snapshot_add(struct snapshot_writer *w, const char *name, uint16_t version, uint32_t flags,
		 const void *data, size_t len, struct error *err)
{
	struct snapshot_section *s;

	if (strlen(name) >= SNAPSHOT_NAME_SIZE || len > SNAPSHOT_MAX_SECTION ||
	    w->nr == SNAPSHOT_MAX_SECTIONS)
		return fail(err, "section %s does not fit a snapshot", name);
	s = new_section(w);
	if (s)
		s->data = malloc(len ? len : 1);
	if (!s || !s->data)
		return fail(err, "no memory for section %s", name);
	memcpy(s->e.name, name, strlen(name));
	s->e.version = version;
	s->e.oldest = version;
	s->e.flags = flags;
	s->e.size = len;
	if (data)
		memcpy(s->data, data, len);
	w->nr++;
	return 0;
}

int snapshot_write(struct snapshot_writer *w, const void *buf, size_t len, uint64_t offset,
		   struct error *err)
{
	const uint8_t *p = buf;

	while (len) {
		long n = w->io.ops->write(w->io.opaque, w->fd, p, len, offset);

		if (n == -EINTR)
			continue;
		if (n <= 0)
			return fail_errno(err, n ? (int)-n : ENOSPC, "cannot write the snapshot");
		p += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
		w->written += (uint64_t)n;
	}
	return 0;
}

/* Where each section goes. Return: where memory begins. */
static uint64_t lay_out(struct snapshot_writer *w)
{
	uint64_t at = SNAPSHOT_PAGE + w->nr * SNAPSHOT_ENTRY_SIZE;
	size_t i;

	for (i = 0; i < w->nr; i++) {
		at = align_up(at, SNAPSHOT_ALIGN);
		w->sections[i].e.offset = at;
		at += w->sections[i].e.size;
	}
	return align_up(at, SNAPSHOT_PAGE);
}

/* The table's bytes: checksums are known now. */
static uint8_t *make_table(const struct snapshot_writer *w)
{
	uint8_t *table = calloc(w->nr, SNAPSHOT_ENTRY_SIZE);
	size_t i;

	for (i = 0; table && i < w->nr; i++) {
		struct snapshot_section *s = &w->sections[i];

		s->e.crc = snapshot_crc(0, s->data, s->e.size);
		snapshot_entry_bytes(&s->e, table + i * SNAPSHOT_ENTRY_SIZE);
	}
	return table;
}

static int write_state(struct snapshot_writer *w, struct snapshot_header *h, struct error *err)
{
	const struct snapshot_section *memory = &w->sections[w->nr - 1];
	size_t len = w->nr * SNAPSHOT_ENTRY_SIZE, i;
	uint8_t page[SNAPSHOT_PAGE];
	uint8_t *table = make_table(w);
	int ret = 0;

	if (!table)
		return fail(err, "no memory for the table");
	h->table_crc = snapshot_crc(0, table, len);
	snapshot_identity(table, len, memory->data, memory->e.size, h->id);
	for (i = 0; i < w->nr && !ret; i++)
		ret = snapshot_write(w, w->sections[i].data, w->sections[i].e.size,
				     w->sections[i].e.offset, err);
	if (!ret)
		ret = snapshot_write(w, table, len, SNAPSHOT_PAGE, err);
	free(table);
	snapshot_header_bytes(h, page);
	return ret ? ret : snapshot_write(w, page, sizeof(page), 0, err);
}

int snapshot_finish(struct snapshot_writer *w, const struct guest_memory *mem,
		    enum snapshot_encoding encoding, const uint8_t *parent,
		    uint8_t id[SNAPSHOT_ID_SIZE], struct error *err)
{
	struct snapshot_header h = {.version = SNAPSHOT_VERSION,
				    .oldest = SNAPSHOT_OLDEST_READER,
				    .machine = SNAPSHOT_MACHINE_RISCV,
				    .xlen = 8 * sizeof(long)};
	int ret;

	if (parent)
		memcpy(h.parent, parent, sizeof(h.parent));
	/* Last among the sections; its place is known before its bytes. */
	if (snapshot_add(w, SNAPSHOT_SECTION_MEMORY, 1, SNAPSHOT_MANDATORY, NULL,
			 snapshot_memory_size(mem), err))
		return -1;
	h.sections = (uint32_t)w->nr;
	h.memory = lay_out(w);
	if (snapshot_memory_write(w, mem, encoding, h.memory, w->sections[w->nr - 1].data,
				  &h.file_size, err))
		return -1;
	ret = w->io.ops->truncate(w->io.opaque, w->fd, h.file_size);
	if (ret)
		return fail_errno(err, -ret, "cannot give the snapshot its size");
	if (write_state(w, &h, err))
		return -1;
	memcpy(id, h.id, sizeof(h.id));
	return 0;
}
