// SPDX-License-Identifier: GPL-2.0-only
/*
 * "lkvm snapshot info FILE", "lkvm snapshot verify FILE": what a file has, and whether all of
 * it is good, as text or as JSON. Nothing is started. Nothing is saved.
 */
#include "snapshot.h"

#include "cmd.h"
#include "lkvm/riscv/config.h"
#include "lkvm/snapshot/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Which file, in front of what is wrong with it. */
static int about(const char *path, const struct error *why, struct error *err)
{
	return fail(err, "%s: %s", path, why->msg);
}

int snapshot_path_open(const char *path, struct snapshot_file *f, struct error *err)
{
	/* A FIFO must not hold us up. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct error why;

	if (fd < 0)
		return fail_errno(err, errno, "cannot open %s", path);
	if (!snapshot_open(f, fd, &why))
		return 0;
	close(fd);
	return about(path, &why, err);
}

void snapshot_path_close(struct snapshot_file *f)
{
	int fd = f->fd;

	snapshot_close(f);
	close(fd);
}

static bool has_parent(const struct snapshot_file *f)
{
	static const uint8_t none[SNAPSHOT_ID_SIZE];

	return memcmp(f->header.parent, none, sizeof(none)) != 0;
}

static void print_info(const struct snapshot_file *f, const struct snapshot_saved *s,
		       const struct snapshot_memory *m)
{
	char id[2 * SNAPSHOT_ID_SIZE + 1], size[32], used[32];
	struct stat st;
	uint32_t i;

	printf("name: %s\nid: %s\n", s->name, snapshot_id_text(f->header.id, id));
	if (has_parent(f))
		printf("parent: %s\n", snapshot_id_text(f->header.parent, id));
	printf("format: %u, by %s\n", f->header.version, s->writer ? s->writer : "unknown");
	arch_saved_print(s->arch, stdout);
	for (i = 0; i < m->nr; i++)
		printf("RAM: %s at 0x%llx\n", format_size(size, sizeof(size), m->regions[i].size),
		       (unsigned long long)m->regions[i].gpa);
	if (!fstat(f->fd, &st))
		printf("memory in use: %s, compressed by %s; the file takes %s\n",
		       format_size(used, sizeof(used), m->used), snapshot_encodings[m->encoding],
		       format_size(size, sizeof(size), (uint64_t)st.st_blocks * 512));
	if (s->params)
		printf("command line: %s\n", s->params);
	for (i = 0; i < s->nr_devices; i++)
		printf("device: %s (--%s)\n", s->devices[i].name, s->devices[i].option);
}

static void print_json(json_t *object)
{
	json_dumpf(object, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(object);
}

static void info_json(const struct snapshot_file *f, const struct snapshot_saved *s,
		      const struct snapshot_memory *m)
{
	char id[2 * SNAPSHOT_ID_SIZE + 1], parent[2 * SNAPSHOT_ID_SIZE + 1];
	json_t *ram = json_array(), *devices = json_array();
	uint32_t i;

	for (i = 0; i < m->nr; i++)
		json_array_append_new(ram, json_pack("{s:I, s:I}", "address",
						     (json_int_t)m->regions[i].gpa, "size",
						     (json_int_t)m->regions[i].size));
	for (i = 0; i < s->nr_devices; i++)
		json_array_append_new(devices, json_pack("{s:s, s:s}", "name", s->devices[i].name,
							 "option", s->devices[i].option));
	print_json(json_pack("{s:s, s:s, s:s?, s:i, s:s?, s:o, s:o, s:I, s:s, s:I, s:o?, s:o}",
			     "name", s->name, "id", snapshot_id_text(f->header.id, id), "parent",
			     has_parent(f) ? snapshot_id_text(f->header.parent, parent) : NULL,
			     "format", (int)f->header.version, "writer", s->writer, "machine",
			     arch_saved_json(s->arch), "ram", ram, "used", (json_int_t)m->used,
			     "compress", snapshot_encodings[m->encoding], "length",
			     (json_int_t)f->size, "params",
			     /* null too where it is no text */
			     s->params ? json_string(s->params) : NULL, "devices", devices));
}

static int info(const struct snapshot_file *f, bool json, struct error *err)
{
	struct arch_config arch = {.irqchip = IRQCHIP_AUTO};
	struct snapshot_saved s;
	struct snapshot_memory m = {.nr = 0};
	int ret = snapshot_saved_read(&s, f, &arch, err);

	if (!ret) {
		ret = snapshot_memory_open(&m, f, err);
		if (!ret) {
			if (json)
				info_json(f, &s, &m);
			else
				print_info(f, &s, &m);
			snapshot_memory_close(&m);
		}
	}
	snapshot_saved_free(&s);
	return ret;
}

static int verify(const struct snapshot_file *f, bool json, struct error *err)
{
	struct arch_config arch = {.irqchip = IRQCHIP_AUTO};
	struct snapshot_saved s;
	int ret = snapshot_verify(f, err);

	if (!ret) {
		ret = snapshot_saved_read(&s, f, &arch, err);
		snapshot_saved_free(&s);
	}
	if (!ret && json)
		print_json(json_pack("{s:b}", "good", 1));
	else if (!ret)
		printf("good\n");
	return ret;
}

int snapshot_look(const char *word, const char *path, bool json, struct error *err)
{
	struct snapshot_file f = {.fd = -1};
	struct error why;
	int ret;

	if (snapshot_path_open(path, &f, err))
		return -1;
	ret = !strcmp(word, "info") ? info(&f, json, &why) : verify(&f, json, &why);
	snapshot_path_close(&f);
	return ret ? about(path, &why, err) : 0;
}
