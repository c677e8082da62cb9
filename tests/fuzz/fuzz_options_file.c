// SPDX-License-Identifier: GPL-2.0-only
/*
 * Any bytes as a configuration file: they are refused in one line that names file and line, or
 * stored; and never read outside their memory.
 */
#include "lkvm/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct target {
	const char *text;
	unsigned int number, word;
	bool flag, other;
	size_t many;
};

static int count(void *target, const struct option_spec *opt, const char *value, bool on,
		 struct error *err)
{
	(void)opt;
	(void)on;
	(void)err;
	((struct target *)target)->many += strlen(value);
	return 0;
}

#define FIELD(name) .offset = offsetof(struct target, name)

static const char *const words[] = {"auto", "pci", NULL};

static const struct option_spec rows[] = {
	{"kernel", 'k', "FILE", "", NULL, option_set_string, FIELD(text), .operand = true},
	{"cpus", 'c', "N", "", NULL, option_set_uint, FIELD(number)},
	{"bus", 0, "KIND", "", NULL, option_set_word, FIELD(word), .words = words},
	{"disk", 'd', "PATH", "", NULL, .set = count, .many = true},
	{"rng", 0, NULL, "", NULL, option_set_flag, FIELD(flag)},
	{"color", 0, NULL, "", NULL, option_set_flag, FIELD(other), .negatable = true},
	{"config", 0, "FILE", "", NULL, .set = option_set_file},
	{.name = NULL},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct option_table table = {"fuzz", "[KERNEL]", NULL, rows, false};
	char config[64], cpus[] = "-c7";
	char *argv[] = {config, cpus};
	struct target target = {0};
	struct error err = {.msg = ""};
	struct operands ops;
	int fd = memfd_create("config", MFD_CLOEXEC), ret;

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(config, sizeof(config), "--config=/proc/self/fd/%d", fd);
	ret = options_parse(&table, &target, 1 + (int)(size & 1), argv, &ops, &err);
	if ((ret < 0) != (err.msg[0] != 0) || strchr(err.msg, '\n'))
		abort();
	if (ret < 0 && strncmp(err.msg, "/proc/self/fd/", 14) != 0 &&
	    strncmp(err.msg, "--config /proc", 14) != 0)
		abort();
	if (!ret && (size & 1) && target.number != 7)
		abort();
	if (!ret && target.text && strlen(target.text) > size)
		abort();
	operands_free(&ops);
	close(fd);
	return 0;
}
