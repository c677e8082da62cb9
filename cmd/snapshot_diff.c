// SPDX-License-Identifier: GPL-2.0-only
/*
 * "lkvm snapshot diff A B": in what two files differ, a line each, or as JSON. The exit
 * status is that of diff(1): 0 they are the same state, 1 they are not, 2 that can't be said.
 */
#include "snapshot.h"

#include "cmd.h"
#include "lkvm/snapshot/diff.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* Lines for people; --json has all. */
#define LINES_MAX 200

static void add(void *opaque, const char *part, const char *what, const char *a, const char *b)
{
	/* "s?": null where it is not there. */
	json_array_append_new(opaque, json_pack("{s:s, s:s, s:s?, s:s?}", "part", part, "what",
						what, "a", a, "b", b));
}

static void print(void *opaque, const char *part, const char *what, const char *a, const char *b)
{
	unsigned int *lines = opaque;

	if (++*lines > LINES_MAX)
		return;
	if (a && b && !strcmp(a, b))
		printf("%s: %s: %s\n", part, what, a);
	else
		printf("%s: %s: %s, %s\n", part, what, a ? a : "none", b ? b : "none");
}

static void print_json(json_t *differences)
{
	json_t *all = json_pack("{s:b, s:o}", "same", !json_array_size(differences), "differences",
				differences);

	json_dumpf(all, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(all);
}

static int compare(const struct snapshot_file *a, const struct snapshot_file *b, bool json,
		   struct error *err)
{
	unsigned int lines = 0;
	struct diff_sink sink = {.tell = print, .opaque = &lines};

	if (json)
		sink = (struct diff_sink){.tell = add, .opaque = json_array()};
	if (snapshot_diff(a, b, &sink, err)) {
		if (json)
			json_decref(sink.opaque);
		return -1;
	}
	if (json)
		print_json(sink.opaque);
	else if (lines > LINES_MAX)
		printf("and %u more (--json tells all)\n", lines - LINES_MAX);
	return sink.nr ? 1 : 0;
}

int snapshot_compare(const char *one, const char *other, bool json, struct error *err)
{
	struct snapshot_file a, b;
	struct error why;
	int ret;

	if (snapshot_path_open(one, &a, err))
		return -1;
	if (snapshot_path_open(other, &b, err)) {
		snapshot_path_close(&a);
		return -1;
	}
	ret = compare(&a, &b, json, &why);
	if (ret < 0)
		fail(err, "%s, %s: %s", one, other, why.msg);
	snapshot_path_close(&a);
	snapshot_path_close(&b);
	return ret;
}
