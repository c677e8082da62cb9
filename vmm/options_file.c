// SPDX-License-Identifier: GPL-2.0-only
/*
 * A configuration file: options of a command, one a line, in the words of its table
 * (include/lkvm/options.h has the format).
 *
 * The file is read whole, then taken apart in place: values are strings inside its text.
 * Nothing is set here; occurrences are noted for the parser, which knows what the
 * command line overrules. What can't be meant is refused with the line's number: a word
 * without a row, a flag that is neither on nor off, a blank and "#" behind a value,
 * which some would take for a comment and others for the value's end.
 *
 * Reads any file that can be read to its end, pipes too; thread: that of the command line.
 */
#include "options_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How much of a path or word a message repeats. */
#define SHOWN 100

#define FILE_MAX ((size_t)MIB)

struct file {
	const struct option_table *table;
	const char *path;
	unsigned int line;
	struct option_uses *uses;
	struct error *err;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Cut blanks off both ends of what ends at @end, where there is room for a 0 byte. */
static char *trim(char *text, char *end)
{
	while (is_blank(*text))
		text++;
	while (end > text && is_blank(end[-1]))
		end--;
	*end = '\0';
	return text;
}

static int refuse(struct file *f, const char *why)
{
	return fail(f->err, "%.*s:%u: %s", SHOWN, f->path, f->line, why);
}

static int refuse_word(struct file *f, const char *word, const char *why)
{
	return fail(f->err, "%.*s:%u: %.*s: %s", SHOWN, f->path, f->line, SHOWN, word, why);
}

static int unknown(struct file *f, const char *key)
{
	const struct option_spec *row = key[1] ? NULL : option_find_letter(f->table, key[0]);
	char nearest[OPTION_NAME_MAX];

	if (!strncmp(key, "--", 2))
		return refuse_word(f, key, "no dashes in front of an option here");
	if (row && row != &option_help_row)
		return fail(f->err, "%.*s:%u: unknown option %s; did you mean %s?", SHOWN, f->path,
			    f->line, key, row->name);
	if (option_nearest(f->table, key, strlen(key), nearest) &&
	    strcmp(nearest, option_help_row.name) != 0)
		return fail(f->err, "%.*s:%u: unknown option %.*s; did you mean %s?", SHOWN,
			    f->path, f->line, SHOWN, key, nearest);
	return fail(f->err, "%.*s:%u: unknown option %.*s; see lkvm %s --help", SHOWN, f->path,
		    f->line, SHOWN, key, f->table->command);
}

/* "no-color" as a key, where the table has it. */
static const struct option_spec *find(const struct file *f, const char *key, bool *on)
{
	const struct option_spec *row = option_find(f->table, key, strlen(key));

	*on = true;
	if (!row && !strncmp(key, "no-", 3)) {
		row = option_find(f->table, key + 3, strlen(key + 3));
		*on = false;
		if (row && !row->negatable)
			row = NULL;
	}
	return row == &option_help_row ? NULL : row;
}

/* -1: neither. */
static int truth(const char *value)
{
	static const char *const words[] = {"off", "on", "no", "yes", "false", "true"};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(words[i], value))
			return (int)(i % 2);
	return -1;
}

/* What off means to a flag without "no-": as if the line were not there. */
static int note_flag(struct file *f, const struct option_spec *row, const char *value, bool on)
{
	struct option_use use = {.row = row, .on = on, .line = f->line};
	int is = value ? truth(value) : 1;

	if (is < 0)
		return refuse_word(f, row->name, "it is on or off");
	if (!is)
		use.on = !on;
	if (!use.on && !row->negatable)
		return 0;
	return option_use_add(f->uses, &use, f->err);
}

/* In quotes: all between the first and the last. */
static int unquote(struct file *f, char **value)
{
	size_t len = strlen(*value);

	if (**value == '"') {
		if (len < 2 || (*value)[len - 1] != '"')
			return refuse(f, "the value's closing \" is missing");
		(*value)[len - 1] = '\0';
		++*value;
	} else if (strstr(*value, " #") || strstr(*value, "\t#")) {
		return refuse(f, "a comment has a line of its own; if # belongs to the value, "
				 "write it in \"quotes\"");
	}
	return 0;
}

static int take_line(struct file *f, char *line, char *end)
{
	struct option_use use = {.on = true, .line = f->line};
	const struct option_spec *row;
	char *equals, *value = NULL;
	bool on;

	if (memchr(line, 0, (size_t)(end - line)))
		return refuse(f, "a byte of value 0: this is no text");
	line = trim(line, end);
	if (!*line || *line == '#')
		return 0;
	equals = strchr(line, '=');
	if (equals) {
		value = trim(equals + 1, equals + 1 + strlen(equals + 1));
		line = trim(line, equals);
	}
	if (*line == '[')
		return refuse(f, "there are no sections here, only lines \"option = value\"");
	if (!*line || strpbrk(line, " \t"))
		return refuse(f, "this is no line \"option = value\"");
	row = find(f, line, &on);
	if (!row)
		return unknown(f, line);
	if (row->set == option_refuse)
		return refuse_word(f, line, row->help);
	if (row->set == option_set_file)
		return refuse_word(f, line, "a configuration file can't name another");
	if (value && unquote(f, &value))
		return -1;
	if (!row->arg)
		return note_flag(f, row, value, on);
	if (!value)
		return fail(f->err, "%.*s:%u: %s needs a value: %s = %s", SHOWN, f->path, f->line,
			    row->name, row->name, row->arg);
	use.row = row;
	use.value = value;
	return option_use_add(f->uses, &use, f->err);
}

/* All of it, with room for a 0 byte behind it. */
static int read_text(const char *path, char **text, size_t *len, struct error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	long got;

	if (fd < 0)
		return fail_errno(err, errno, "--config %.*s", SHOWN, path);
	*text = malloc(FILE_MAX + 2);
	got = *text ? read_all(fd, *text, FILE_MAX + 1) : -1;
	close(fd);
	if (got < 0)
		return fail_errno(err, errno, "--config %.*s", SHOWN, path);
	if ((size_t)got > FILE_MAX)
		return fail(err, "--config %.*s: more than 1 MiB is no configuration file", SHOWN,
			    path);
	*len = (size_t)got;
	return 0;
}

int option_file_read(const struct option_table *table, const char *path, struct option_uses *uses,
		     char **text, struct error *err)
{
	struct file f = {.table = table, .path = path, .uses = uses, .err = err};
	char *at, *end, *line_end;
	size_t len = 0;

	if (read_text(path, text, &len, err))
		return -1;
	end = *text + len;
	for (at = *text; at < end; at = line_end + 1) {
		f.line++;
		line_end = memchr(at, '\n', (size_t)(end - at));
		if (!line_end)
			line_end = end;
		if (take_line(&f, at, line_end))
			return -1;
	}
	return 0;
}
