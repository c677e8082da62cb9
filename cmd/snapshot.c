// SPDX-License-Identifier: GPL-2.0-only
/*
 * "lkvm snapshot": save a VM into a file, or look at such a file.
 *
 *   snapshot NAME FILE    the VM does the saving; this process makes the file beside
 *                         FILE, hands its descriptor over, and puts it in place when it
 *                         has got to the disk
 *   snapshot info FILE, snapshot verify FILE
 *   snapshot diff FILE OTHER
 *
 * Until the very end FILE is what it was, and whatever fails leaves it so. With --pause
 * or --kill the guest does not run between the saving and what follows: the VM is paused
 * first.
 */
#include "lkvm/snapshot/snapshot.h"
#include "cmd.h"
#include "lkvm/control_client.h"
#include "snapshot.h"

#include "lkvm/riscv/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct snapshot_options {
	const char *name;
	bool pause, kill, json;
	enum snapshot_encoding encoding;
};

#define FIELD(field) .offset = offsetof(struct snapshot_options, field)

static const struct option_spec rows[] = {
	{"name", 'n', "NAME", "the VM", NULL, .set = option_set_string, FIELD(name)},
	{"pause", 0, NULL, "leave the VM paused", NULL, .set = option_set_flag, FIELD(pause)},
	{"kill", 0, NULL, "end the VM when it is saved", NULL, .set = option_set_flag, FIELD(kill)},
	{"compress", 0, "HOW", "guest memory in the file: none, zlib, zstd (none)", NULL,
	 .set = option_set_word, FIELD(encoding), .words = snapshot_encodings},
	{"json", 0, NULL, "print JSON", NULL, .set = option_set_flag, FIELD(json)},
	{.name = NULL},
};

const struct option_table snapshot_table = {
	"snapshot", "NAME FILE | info FILE | verify FILE | diff FILE OTHER",
	"Save a VM into FILE; it goes on unless told otherwise. \"info\" shows what\n"
	"a file has, \"verify\" checks all of it, \"diff\" tells in what two of them\n"
	"differ (and by its status, 1). \"lkvm restore\" starts a VM from one.",
	rows, false};

/* --- files --------------------------------------------------------------------------------- */

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

static int info(const struct snapshot_file *f, struct error *err)
{
	struct arch_config arch = {.irqchip = IRQCHIP_AUTO};
	struct snapshot_saved s;
	struct snapshot_memory m = {.nr = 0};
	int ret = snapshot_saved_read(&s, f, &arch, err);

	if (!ret) {
		ret = snapshot_memory_open(&m, f, err);
		if (!ret) {
			print_info(f, &s, &m);
			snapshot_memory_close(&m);
		}
	}
	snapshot_saved_free(&s);
	return ret;
}

static int verify(const struct snapshot_file *f, struct error *err)
{
	struct arch_config arch = {.irqchip = IRQCHIP_AUTO};
	struct snapshot_saved s;
	int ret = snapshot_verify(f, err);

	if (!ret) {
		ret = snapshot_saved_read(&s, f, &arch, err);
		snapshot_saved_free(&s);
	}
	if (!ret)
		printf("good\n");
	return ret;
}

static int look(const char *word, const char *path, struct error *err)
{
	struct snapshot_file f = {.fd = -1};
	struct error why;
	int ret;

	if (snapshot_path_open(path, &f, err))
		return -1;
	ret = !strcmp(word, "info") ? info(&f, &why) : verify(&f, &why);
	snapshot_path_close(&f);
	return ret ? about(path, &why, err) : 0;
}

/* --- saving ---------------------------------------------------------------------------------- */

static int ask(struct control_client *c, const char *command, json_t *arguments, int fd,
	       json_t **result, struct error *err)
{
	return control_send(c, command, arguments, fd, err) || control_result(c, -1, result, err)
		       ? -1
		       : 0;
}

/* Return: 1 where we paused it, 0 where it was paused already; -1 with @err set. */
static int pause_vm(struct control_client *c, struct error *err)
{
	const char *state;
	json_t *result;
	bool paused;

	if (ask(c, "status", NULL, -1, &result, err))
		return -1;
	state = json_string_value(json_object_get(result, "state"));
	paused = state && !strcmp(state, "paused");
	json_decref(result);
	if (paused)
		return 0;
	if (ask(c, "pause", NULL, -1, &result, err))
		return -1;
	json_decref(result);
	return 1;
}

static void go_on(struct control_client *c)
{
	struct error err;
	json_t *result;

	if (!ask(c, "resume", NULL, -1, &result, &err))
		json_decref(result);
}

static void print_saved(const struct snapshot_options *o, const char *path, json_t *result,
			uint64_t ns)
{
	json_int_t written = json_integer_value(json_object_get(result, "written"));
	json_int_t paused = json_integer_value(json_object_get(result, "paused"));
	char size[32];

	if (o->json) {
		json_dumpf(result, stdout, JSON_COMPACT);
		putchar('\n');
		return;
	}
	format_size(size, sizeof(size), align_up((uint64_t)written, MIB));
	printf("%s: %s in %llu.%03llu s, the guest stood still for %lld ms\n", path, size,
	       (unsigned long long)(ns / NSEC_PER_SEC),
	       (unsigned long long)(ns / NSEC_PER_MSEC % 1000), (long long)paused / 1000);
}

/* How far it is: for a person who waits. */
static void show_progress(void *opaque, json_t *event)
{
	json_t *data = json_object_get(event, "data");
	double done = json_number_value(json_object_get(data, "done"));
	double total = json_number_value(json_object_get(data, "total"));
	bool *shown = opaque;

	if (strcmp(json_string_value(json_object_get(event, "event")), "saving") || total <= 0)
		return;
	fprintf(stderr, "\r%3.0f%% of guest memory", 100 * done / total);
	fflush(stderr);
	*shown = true;
}

/* Saving takes as long as the disk does, and at a terminal one sees how long that is. */
static int ask_to_save(struct control_client *c, const struct snapshot_options *o, int fd,
		       json_t **result, struct error *err)
{
	bool shown = false, person = isatty(STDERR_FILENO);
	int ret;

	if (person) {
		if (ask(c, "events", NULL, -1, result, err))
			return -1;
		json_decref(*result);
	}
	ret = control_send(c, "snapshot",
			   json_pack("{s:s}", "compress", snapshot_encodings[o->encoding]), fd,
			   err);
	if (!ret)
		ret = control_result_events(c, -1, person ? show_progress : NULL, &shown, result,
					    err);
	if (shown)
		fprintf(stderr, "\r%24s\r", "");
	return ret;
}

/* Have the VM write, and put the file in place. */
static int save_file(struct control_client *c, const struct snapshot_options *o, const char *path,
		     struct error *err)
{
	const struct snapshot_io io = {.ops = &snapshot_io_linux};
	uint64_t begin = now_ns();
	struct snapshot_target t;
	json_t *result;

	if (snapshot_target_open(&t, io, path, err))
		return -1;
	if (ask_to_save(c, o, t.fd, &result, err)) {
		snapshot_target_abort(&t);
		return -1;
	}
	if (snapshot_target_commit(&t, err)) {
		json_decref(result);
		return -1;
	}
	print_saved(o, path, result, now_ns() - begin);
	json_decref(result);
	return 0;
}

static int save(const struct snapshot_options *o, const char *name, const char *path,
		struct error *err)
{
	struct control_client *c = control_connect(name, err);
	struct error ignored;
	json_t *result;
	int paused = 0, ret = 0;

	if (!c)
		return -1;
	if (o->pause || o->kill) {
		paused = pause_vm(c, err);
		ret = paused < 0 ? -1 : 0;
	}
	if (!ret)
		ret = save_file(c, o, path, err);
	if (ret && paused > 0)
		go_on(c);
	if (!ret && o->kill &&
	    !ask(c, "stop", json_pack("{s:s}", "how", "kill"), -1, &result, &ignored))
		json_decref(result);
	control_hang_up(c);
	return ret;
}

static int run(const struct snapshot_options *o, const struct operands *ops, struct error *err)
{
	const char *first = ops->argc ? ops->argv[0] : "";

	if (o->pause && o->kill)
		return fail(err, "--pause and --kill: one of them follows the saving");
	if (o->name) {
		if (ops->argc != 1)
			return fail(err, "lkvm snapshot -n %s wants one FILE", o->name);
		return save(o, o->name, first, err);
	}
	if (ops->argc == 3 && !strcmp(first, "diff"))
		return snapshot_compare(ops->argv[1], ops->argv[2], o->json, err);
	if (ops->argc != 2)
		return fail(err, "lkvm snapshot wants the name of a VM and a FILE");
	if (!strcmp(first, "info") || !strcmp(first, "verify"))
		return look(first, ops->argv[1], err);
	return save(o, first, ops->argv[1], err);
}

int cmd_snapshot(struct log *log, int argc, char **argv)
{
	struct snapshot_options o = {.encoding = SNAPSHOT_RAW};
	struct operands ops;
	struct error err;
	int ret = options_parse(&snapshot_table, &o, argc, argv, &ops, &err), trouble;

	if (ret > 0) {
		options_help(&snapshot_table, STDOUT_FILENO);
		operands_free(&ops);
		return 0;
	}
	/* As diff(1): 1 says that there are differences. */
	trouble = !ret && ops.argc && !strcmp(ops.argv[0], "diff") ? 2 : 1;
	if (!ret)
		ret = run(&o, &ops, &err);
	operands_free(&ops);
	if (ret >= 0)
		return ret;
	log_fatal(log, "%s", err.msg);
	return trouble;
}
