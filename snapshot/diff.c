// SPDX-License-Identifier: GPL-2.0-only
/*
 * Comparing two snapshots (include/lkvm/snapshot/diff.h).
 *
 * What has names is compared by names: configuration here, machine and registers by the
 * architecture. Sections that only a device can read are compared as bytes. Memory is
 * compared page by page; pages that differ side by side are told as one range.
 *
 * One thread, no state. Files are strangers': all that is used of them was checked.
 */
#include "lkvm/snapshot/diff.h"

#include "lkvm/riscv/config.h"
#include "private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void diff_tell(struct diff_sink *sink, const char *part, const char *what, const char *a,
	       const char *b)
{
	sink->nr++;
	sink->tell(sink->opaque, part, what, a, b);
}

void diff_text(struct diff_sink *sink, const char *part, const char *what, const char *a,
	       const char *b)
{
	if (!a && !b)
		return;
	if (!a || !b || strcmp(a, b))
		diff_tell(sink, part, what, a, b);
}

void diff_number(struct diff_sink *sink, const char *part, const char *what, uint64_t a, uint64_t b)
{
	char x[24], y[24];

	if (a == b)
		return;
	snprintf(x, sizeof(x), "%llu", (unsigned long long)a);
	snprintf(y, sizeof(y), "%llu", (unsigned long long)b);
	diff_tell(sink, part, what, x, y);
}

/* --- configuration ---------------------------------------------------------------------- */

static void diff_config(const struct snapshot_saved *a, const struct snapshot_saved *b,
			struct diff_sink *sink)
{
	char what[32], x[64], y[64];
	uint32_t i;

	diff_text(sink, "config", "name", a->name, b->name);
	diff_number(sink, "config", "vCPUs", a->cpus, b->cpus);
	diff_number(sink, "config", "console", a->console, b->console);
	diff_number(sink, "config", "transport", a->transport, b->transport);
	diff_text(sink, "config", "command line", a->params, b->params);
	for (i = 0; i < a->nr_mem || i < b->nr_mem; i++) {
		const struct mem_request *m = &a->cfg.mem[i], *n = &b->cfg.mem[i];

		snprintf(what, sizeof(what), "RAM %u", i);
		snprintf(x, sizeof(x), "0x%llx at 0x%llx", (unsigned long long)m->size,
			 (unsigned long long)m->gpa);
		snprintf(y, sizeof(y), "0x%llx at 0x%llx", (unsigned long long)n->size,
			 (unsigned long long)n->gpa);
		diff_text(sink, "config", what, i < a->nr_mem ? x : NULL, i < b->nr_mem ? y : NULL);
	}
	for (i = 0; i < a->nr_devices || i < b->nr_devices; i++) {
		snprintf(what, sizeof(what), "device %u", i);
		diff_text(sink, "config", what, i < a->nr_devices ? a->devices[i].name : NULL,
			  i < b->nr_devices ? b->devices[i].name : NULL);
	}
}

static int diff_saved(const struct snapshot_file *a, const struct snapshot_file *b,
		      struct diff_sink *sink, struct error *err)
{
	struct arch_config x = {.irqchip = IRQCHIP_AUTO}, y = x;
	struct snapshot_saved s, t = {.arch = NULL};
	int ret = snapshot_saved_read(&s, a, &x, err);

	if (!ret)
		ret = snapshot_saved_read(&t, b, &y, err);
	if (!ret) {
		diff_config(&s, &t, sink);
		arch_saved_diff(s.arch, t.arch, sink);
	}
	snapshot_saved_free(&s);
	snapshot_saved_free(&t);
	return ret;
}

/* --- sections ----------------------------------------------------------------------------- */

static void tell_bytes(const char *name, const uint8_t *a, size_t len, const uint8_t *b,
		       size_t other, struct diff_sink *sink)
{
	size_t i, nr = 0, first = 0, both = len < other ? len : other;
	char what[48], x[32], y[32];

	for (i = 0; i < both; i++)
		if (a[i] != b[i] && !nr++)
			first = i;
	if (len != other) {
		diff_number(sink, name, "bytes", len, other);
		return;
	}
	if (!nr)
		return;
	snprintf(what, sizeof(what), "%zu of %zu bytes, from byte %zu", nr, len, first);
	snprintf(x, sizeof(x), "0x%02x", a[first]);
	snprintf(y, sizeof(y), "0x%02x", b[first]);
	diff_tell(sink, name, what, x, y);
}

static int diff_bytes(const struct snapshot_file *a, const struct snapshot_file *b,
		      const char *name, struct diff_sink *sink, struct error *err)
{
	uint8_t *x, *y = NULL;
	size_t len, other;
	int ret = snapshot_read(a, name, UINT16_MAX, &x, &len, err);

	if (!ret)
		ret = snapshot_read(b, name, UINT16_MAX, &y, &other, err);
	if (!ret)
		tell_bytes(name, x, len, y, other, sink);
	free(x);
	free(y);
	return ret;
}

/* Those that are compared by what they mean, or do not count. */
static bool is_told_elsewhere(const char *name)
{
	return !strcmp(name, "writer") || !strcmp(name, "config") || !strcmp(name, "riscv") ||
	       !strcmp(name, SNAPSHOT_SECTION_MEMORY);
}

static int diff_sections(const struct snapshot_file *a, const struct snapshot_file *b,
			 struct diff_sink *sink, struct error *err)
{
	uint32_t i;
	int ret = 0;

	for (i = 0; i < a->header.sections && !ret; i++) {
		const char *name = a->entries[i].name;

		if (is_told_elsewhere(name))
			continue;
		if (!snapshot_find(b, name)) {
			diff_tell(sink, name, "section", "there", NULL);
			continue;
		}
		ret = arch_section_diff(a, b, name, sink, err);
		if (ret > 0)
			ret = diff_bytes(a, b, name, sink, err);
	}
	for (i = 0; i < b->header.sections; i++)
		if (!snapshot_find(a, b->entries[i].name) && !is_told_elsewhere(b->entries[i].name))
			diff_tell(sink, b->entries[i].name, "section", NULL, "there");
	return ret;
}

/* --- memory ------------------------------------------------------------------------------- */

/**
 * struct memory_diff - @from, @nr: pages side by side that differ, not told yet
 */
struct memory_diff {
	struct diff_sink *sink;
	uint8_t *a, *b;
	gpa_t from;
	uint64_t nr;
};

static void tell_range(struct memory_diff *d)
{
	char what[48], pages[32];

	if (!d->nr)
		return;
	snprintf(what, sizeof(what), "0x%llx-0x%llx", (unsigned long long)d->from,
		 (unsigned long long)(d->from + d->nr * SNAPSHOT_PAGE - 1));
	snprintf(pages, sizeof(pages), "%llu pages", (unsigned long long)d->nr);
	diff_tell(d->sink, SNAPSHOT_SECTION_MEMORY, what, pages, pages);
	d->nr = 0;
}

static void diff_chunk(struct memory_diff *d, gpa_t gpa)
{
	unsigned int i;

	for (i = 0; i < SNAPSHOT_CHUNK_PAGES; i++) {
		gpa_t page = gpa + i * SNAPSHOT_PAGE;

		if (!memcmp(d->a + i * SNAPSHOT_PAGE, d->b + i * SNAPSHOT_PAGE, SNAPSHOT_PAGE))
			continue;
		if (d->nr && d->from + d->nr * SNAPSHOT_PAGE != page)
			tell_range(d);
		if (!d->nr)
			d->from = page;
		d->nr++;
	}
}

static int diff_region(struct memory_diff *d, const struct snapshot_memory *a,
		       const struct snapshot_memory *b, uint32_t k, struct error *err)
{
	const struct snapshot_region *r = &a->regions[k], *s = &b->regions[k];
	uint64_t i;

	/* Told by the configuration. */
	if (r->gpa != s->gpa || r->size != s->size)
		return 0;
	for (i = 0; i < r->nr_chunks; i++) {
		if (!r->chunks[i].pages && !s->chunks[i].pages)
			continue;
		if (snapshot_memory_chunk(a, r, i, d->a, err) ||
		    snapshot_memory_chunk(b, s, i, d->b, err))
			return -1;
		diff_chunk(d, r->gpa + i * SNAPSHOT_CHUNK);
	}
	tell_range(d);
	return 0;
}

static int diff_memory(const struct snapshot_file *a, const struct snapshot_file *b,
		       struct diff_sink *sink, struct error *err)
{
	struct memory_diff d = {
		.sink = sink, .a = malloc(SNAPSHOT_CHUNK), .b = malloc(SNAPSHOT_CHUNK)};
	struct snapshot_memory x = {.nr = 0}, y = x;
	uint32_t k;
	int ret;

	if (!d.a || !d.b) {
		free(d.a);
		free(d.b);
		return fail(err, "no memory to compare guest memory");
	}
	ret = snapshot_memory_open(&x, a, err);
	if (!ret)
		ret = snapshot_memory_open(&y, b, err);
	for (k = 0; !ret && k < x.nr && k < y.nr; k++)
		ret = diff_region(&d, &x, &y, k, err);
	snapshot_memory_close(&x);
	snapshot_memory_close(&y);
	free(d.a);
	free(d.b);
	return ret;
}

int snapshot_diff(const struct snapshot_file *a, const struct snapshot_file *b,
		  struct diff_sink *sink, struct error *err)
{
	return diff_saved(a, b, sink, err) || diff_sections(a, b, sink, err) ||
			       diff_memory(a, b, sink, err)
		       ? -1
		       : 0;
}
