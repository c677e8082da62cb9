// SPDX-License-Identifier: GPL-2.0-only
/*
 * Words inside an option's value (include/lkvm/suboptions.h).
 *
 * The text is copied once and cut at single commas; a doubled comma stays in its word
 * as one. All strings handed out point into that copy. No state; any thread.
 */
#include "lkvm/suboptions.h"

#include "lkvm/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ROWS 64

const char *suboptions_end(const char *text)
{
	while (*text && (*text != ',' || text[1] == ','))
		text += *text == ',' ? 2 : 1;
	return text;
}

/* Cut off the first word of @text in place; returns what follows it, or NULL. */
static char *cut_word(char *text)
{
	char *from = text, *to = text;

	while (*from) {
		if (*from == ',' && from[1] != ',')
			break;
		if (*from == ',')
			from++;
		*to++ = *from++;
	}
	from = *from ? from + 1 : NULL;
	*to = '\0';
	return from;
}

static const struct suboption *find_row(const struct suboption *rows, const char *name,
					struct error *err)
{
	const char *names[MAX_ROWS + 1];
	char all[256] = "";
	const char *near;
	size_t nr = 0, i;

	for (; nr < MAX_ROWS && rows[nr].name; nr++) {
		if (!strcmp(rows[nr].name, name))
			return &rows[nr];
		names[nr] = rows[nr].name;
	}
	names[nr] = NULL;
	near = nearest_name(name, names);
	if (near) {
		fail(err, "unknown word '%s': did you mean '%s'?", name, near);
		return NULL;
	}
	for (i = 0; i < nr; i++) {
		strncat(all, i ? ", " : "", sizeof(all) - strlen(all) - 1);
		strncat(all, names[i], sizeof(all) - strlen(all) - 1);
	}
	fail(err, "unknown word '%s': there are %s", name, all);
	return NULL;
}

static int set_flag(bool *flag, const char *value, struct error *err)
{
	if (value && strcmp(value, "on") && strcmp(value, "off"))
		return fail(err, "is on or off, not '%s'", value);
	*flag = !value || !strcmp(value, "on");
	return 0;
}

static int set_word(const struct suboption *row, int *index, const char *value, struct error *err)
{
	char all[160] = "";
	int i;

	for (i = 0; row->words[i]; i++) {
		if (!strcmp(row->words[i], value)) {
			*index = i;
			return 0;
		}
		if (i)
			strncat(all, ", ", sizeof(all) - strlen(all) - 1);
		strncat(all, row->words[i], sizeof(all) - strlen(all) - 1);
	}
	return fail(err, "is one of %s, not '%s'", all, value);
}

static int set(const struct suboption *row, void *target, const char *value, struct error *err)
{
	void *field = (char *)target + row->offset;

	if (row->type == SUBOPTION_FLAG)
		return set_flag(field, value, err);
	if (!value || !*value)
		return fail(err, "needs a value");
	switch (row->type) {
	case SUBOPTION_STRING:
		*(const char **)field = value;
		return 0;
	case SUBOPTION_UINT:
		return parse_uint(value, row->max, field, err);
	case SUBOPTION_SIZE:
		return parse_size(value, 1, field, err);
	default:
		return set_word(row, field, value, err);
	}
}

int suboptions_parse(const char *text, const char **first, const struct suboption *rows,
		     void *target, char **copy, struct error *err)
{
	uint64_t seen = 0;
	char *word, *next;

	*copy = strdup(text);
	if (!*copy)
		return fail(err, "no memory");
	next = *copy;
	if (first) {
		*first = next;
		next = cut_word(next);
	} else if (!*next) {
		next = NULL;
	}
	while ((word = next)) {
		const struct suboption *row;
		struct error why;
		char *value;

		next = cut_word(word);
		value = strchr(word, '=');
		if (value)
			*value++ = '\0';
		row = find_row(rows, word, err);
		if (!row)
			return -1;
		if (seen & UINT64_C(1) << (row - rows))
			return fail(err, "'%s' is given twice", word);
		seen |= UINT64_C(1) << (row - rows);
		if (set(row, target, value, &why))
			return fail(err, "'%s' %s", word, why.msg);
	}
	return 0;
}

void suboptions_spelling(const struct suboption *row, char *text, size_t len)
{
	int n = snprintf(text, len, "%s%s", row->name, row->type == SUBOPTION_FLAG ? "" : "=");
	size_t i;

	if (row->arg)
		snprintf(text + n, len - (size_t)n, "%s", row->arg);
	else if (row->type == SUBOPTION_UINT || row->type == SUBOPTION_SIZE)
		snprintf(text + n, len - (size_t)n, row->type == SUBOPTION_UINT ? "N" : "SIZE");
	for (i = 0; row->type == SUBOPTION_WORD && !row->arg && row->words[i]; i++) {
		strncat(text, i ? "|" : "", len - strlen(text) - 1);
		strncat(text, row->words[i], len - strlen(text) - 1);
	}
}
