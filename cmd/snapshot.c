// SPDX-License-Identifier: GPL-2.0-only
/*
 * "lkvm snapshot": save a VM into a file, or look at such a file.
 *
 *   snapshot NAME FILE    the VM does the saving (saving.h)
 *   snapshot info FILE, snapshot verify FILE    snapshot_look.c
 *   snapshot diff FILE OTHER    snapshot_diff.c
 *
 * Until the very end FILE is what it was, and whatever fails leaves it so. With --pause
 * or --kill the guest does not run between the saving and what follows: the VM is paused
 * first.
 */
#include "snapshot.h"

#include "cmd.h"
#include "lkvm/process.h"
#include "lkvm/snapshot/format.h"
#include "lkvm/snapshot/memory.h"
#include "saving.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct snapshot_options {
	const char *name;
	struct log *log;
	bool pause, kill, json;
	int encoding; /* enum snapshot_encoding; -1: not said */
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

/*
 * Return: 1 where we paused it, 0 where it was paused already; -1 with @err set, -2 where it may be
 * paused all the same.
 */
static int pause_vm(struct saving *s, struct error *err)
{
	const char *state;
	json_t *result;
	bool paused;

	if (saving_ask(s, "status", NULL, -1, NULL, NULL, &result, err))
		return -1;
	state = json_string_value(json_object_get(result, "state"));
	paused = state && !strcmp(state, "paused");
	json_decref(result);
	if (paused)
		return 0;
	if (saving_ask(s, "pause", NULL, -1, NULL, NULL, &result, err))
		return process_ending() ? -2 : -1;
	json_decref(result);
	return 1;
}

/* A word to the VM whose answer does not matter; by a connection of its own, for what was asked
 * by the other one may not have been answered. */
static void tell(const char *name, const char *command, json_t *arguments)
{
	struct error err;
	json_t *result;

	if (!control_ask(name, command, arguments, &result, &err))
		json_decref(result);
}

static void print_saved(const struct snapshot_options *o, const char *path, json_t *result,
			uint64_t ns)
{
	json_int_t written = json_integer_value(json_object_get(result, "written"));
	json_int_t paused = json_integer_value(json_object_get(result, "paused"));
	json_t *lost = json_object_get(result, "lost");
	char size[32];
	size_t i;

	for (i = 0; i < json_array_size(lost); i++) {
		const char *text = json_string_value(json_array_get(lost, i));

		log_warning(o->log, "%s: %s", path, text ? text : "something is lost");
	}
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
static int save_file(struct saving *s, const struct snapshot_options *o, const char *path,
		     struct error *err)
{
	bool shown = false, person = isatty(STDERR_FILENO);
	uint64_t begin = now_ns();
	int encoding = o->encoding < 0 ? SNAPSHOT_RAW : o->encoding, ret;
	json_t *result;

	if (person) {
		if (saving_ask(s, "events", NULL, -1, NULL, NULL, &result, err))
			return -1;
		json_decref(result);
	}
	ret = saving_file(s, path, "snapshot",
			  json_pack("{s:s}", "compress", snapshot_encodings[encoding]),
			  person ? show_progress : NULL, &shown, &result, err);
	if (shown)
		fprintf(stderr, "\r%24s\r", "");
	if (ret)
		return -1;
	print_saved(o, path, result, now_ns() - begin);
	json_decref(result);
	return 0;
}

static int save(const struct snapshot_options *o, const char *name, const char *path,
		struct error *err)
{
	struct saving s;
	int paused = 0, ret = 0;

	if (saving_begin(&s, name, err))
		return -1;
	if (o->pause || o->kill) {
		paused = pause_vm(&s, err);
		ret = paused < 0 ? -1 : 0;
	}
	if (!ret)
		ret = save_file(&s, o, path, err);
	if (ret && (paused > 0 || paused == -2))
		tell(name, "resume", NULL);
	if (!ret && o->kill)
		tell(name, "stop", json_pack("{s:s}", "how", "kill"));
	saving_end(&s);
	return ret;
}

/* Looking at files. */
static int look(const struct snapshot_options *o, const struct operands *ops, struct error *err)
{
	const char *first = ops->argv[0];

	if (o->pause || o->kill || o->encoding >= 0)
		return fail(err,
			    "%s: nothing is saved, so --pause, --kill and --compress don't fit",
			    first);
	if (!strcmp(first, "diff"))
		return snapshot_compare(ops->argv[1], ops->argv[2], o->json, err);
	return snapshot_look(first, ops->argv[1], o->json, err);
}

static bool is_look(const struct snapshot_options *o, const struct operands *ops)
{
	if (o->name)
		return false;
	if (ops->argc == 2)
		return !strcmp(ops->argv[0], "info") || !strcmp(ops->argv[0], "verify");
	return ops->argc == 3 && !strcmp(ops->argv[0], "diff");
}

static int run(const struct snapshot_options *o, const struct operands *ops, struct error *err)
{
	const char *first = ops->argc ? ops->argv[0] : "";

	if (is_look(o, ops))
		return look(o, ops, err);
	if (o->pause && o->kill)
		return fail(err, "--pause and --kill: one of them follows the saving");
	if (o->name) {
		if (ops->argc != 1)
			return fail(err, "lkvm snapshot -n %s wants one FILE", o->name);
		return save(o, o->name, first, err);
	}
	if (ops->argc != 2)
		return fail(err, "lkvm snapshot wants the name of a VM and a FILE");
	return save(o, first, ops->argv[1], err);
}

int cmd_snapshot(struct log *log, int argc, char **argv)
{
	struct snapshot_options o = {.log = log, .encoding = -1};
	struct operands ops;
	struct error err;
	int ret = options_parse(&snapshot_table, &o, argc, argv, &ops, &err), trouble;

	if (ret > 0) {
		options_help(&snapshot_table, STDOUT_FILENO);
		operands_free(&ops);
		return 0;
	}
	/* As diff(1): 1 says that there are differences. */
	trouble = !ret && ops.argc && !o.name && !strcmp(ops.argv[0], "diff") ? 2 : 1;
	if (!ret)
		ret = run(&o, &ops, &err);
	operands_free(&ops);
	if (ret >= 0)
		return ret;
	log_fatal(log, "%s", err.msg);
	return trouble;
}
