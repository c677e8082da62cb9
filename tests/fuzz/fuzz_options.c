// SPDX-License-Identifier: GPL-2.0-only
/*
 * Any words on a command line: the parser must refuse or store them, say why in
 * one line, and never read outside them. The input is the words, ended by 0 bytes;
 * its first byte chooses the table's variations.
 */
#include "lkvm/options.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct target {
	const char *text;
	unsigned int number;
	uint64_t size;
	bool flag, other;
};

static int set_size(void *target, const struct option_spec *opt, const char *value, bool on,
		    struct error *err)
{
	(void)opt;
	(void)on;
	return parse_size(value, MIB, &((struct target *)target)->size, err);
}

static const struct option_spec rows[] = {
	{.name = "kernel",
	 .letter = 'k',
	 .arg = "FILE",
	 .set = option_set_string,
	 .offset = offsetof(struct target, text)},
	{.name = "cpus",
	 .letter = 'c',
	 .arg = "N",
	 .set = option_set_uint,
	 .offset = offsetof(struct target, number)},
	{.name = "mem", .letter = 'm', .arg = "SIZE", .set = set_size},
	{.name = "rng",
	 .letter = 'r',
	 .set = option_set_flag,
	 .offset = offsetof(struct target, flag)},
	{.name = "color",
	 .letter = 'C',
	 .set = option_set_flag,
	 .negatable = true,
	 .offset = offsetof(struct target, other)},
	{0},
};

#define MAX_WORDS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct option_table table = {.command = "fuzz", .rows = rows};
	struct target target = {0};
	char *words[MAX_WORDS + 1];
	struct operands ops;
	struct error err = {.msg = ""};
	size_t at = 1;
	int argc = 0;
	int r;

	if (!size)
		return 0;
	table.stop_at_operand = data[0] & 1;
	table.operands = data[0] & 2 ? "[-- CMD]" : NULL;
	/* Each word in memory of its own, so that reading past it is noticed. */
	while (at < size && argc < MAX_WORDS) {
		size_t len = strnlen((const char *)data + at, size - at);

		words[argc] = malloc(len + 1);
		if (!words[argc])
			break;
		memcpy(words[argc], data + at, len);
		words[argc++][len] = 0;
		at += len + 1;
	}
	words[argc] = NULL;
	r = options_parse(&table, &target, argc, words, &ops, &err);
	if ((r < 0) != (err.msg[0] != 0))
		abort();
	if (!r) {
		if (ops.argc + ops.nr_rest > argc || ops.argv[ops.argc])
			abort();
		for (int i = 0; i < ops.nr_rest; i++) {
			if (ops.rest[i] != words[argc - ops.nr_rest + i])
				abort();
		}
	}
	operands_free(&ops);
	for (int i = 0; i < argc; i++)
		free(words[i]);
	return 0;
}
