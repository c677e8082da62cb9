// SPDX-License-Identifier: GPL-2.0-only
/*
 * Options: the one parser (options_value.c has the syntax of values).
 *
 * A command is a const table of rows and a struct that the rows' setters fill.
 * The parser walks the words from left to right, finds the row by its exact name
 * (no abbreviations: a script must not change its meaning when an option is
 * added), and notes the value. It refuses what looks like a slip and would
 * otherwise be taken for something else: "-kernel X" (which spells -k ernel), and
 * an option's name where a value is due.
 *
 * When all words are noted, a configuration file's lines are noted as well
 * (options_file.c), less those that the command line has the last word on, and then
 * each row's setter is called: the file's first, so that what may be repeated comes
 * in that order.
 *
 * Pure functions of their arguments; no state, any thread.
 */
#include "lkvm/options.h"
#include "options_parts.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How much of a word from the command line a message repeats. */
#define SHOWN 100

/* Names. */

#define NAME_BYTES 64

static char fold(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (char)(c - 'A' + 'a');
	return c == '_' ? '-' : c;
}

static unsigned int least(unsigned int a, unsigned int b)
{
	return a < b ? a : b;
}

/*
 * How many slips of the fingers lie between two words: a letter too many, too
 * few, wrong, or two neighbours exchanged. Case and "_" for "-" cost nothing.
 * Both are at most NAME_BYTES long.
 */
static unsigned int slips(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned int rows[3][NAME_BYTES + 1];
	unsigned int *before = rows[0], *last = rows[1], *row = rows[2];

	for (size_t j = 0; j <= b_len; j++)
		last[j] = (unsigned int)j;
	for (size_t i = 1; i <= a_len; i++) {
		unsigned int *spare = before;

		row[0] = (unsigned int)i;
		for (size_t j = 1; j <= b_len; j++) {
			bool same = fold(a[i - 1]) == fold(b[j - 1]);
			unsigned int n = last[j - 1] + !same;

			n = least(n, last[j] + 1);
			n = least(n, row[j - 1] + 1);
			if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) &&
			    fold(a[i - 2]) == fold(b[j - 1]))
				n = least(n, before[j - 2] + 1);
			row[j] = n;
		}
		before = last;
		last = row;
		row = spare;
	}
	return last[b_len];
}

static bool starts_with(const char *word, const char *start, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (fold(word[i]) != fold(start[i]))
			return false;
	}
	return true;
}

const char *nearest_name(const char *word, const char *const *names)
{
	size_t len = strlen(word);
	unsigned int best = UINT_MAX;
	const char *nearest = NULL;

	if (!len || len > NAME_BYTES)
		return NULL;
	for (; *names; names++) {
		size_t name_len = strlen(*names);
		size_t shorter = len < name_len ? len : name_len;
		unsigned int n;

		if (!name_len || name_len > NAME_BYTES)
			continue;
		/* In half slips, so that a prefix can be better than a slip but not than none. */
		n = 2 * slips(word, len, *names, name_len);
		if (shorter >= 2 && starts_with(word, *names, shorter))
			n = least(n, 1);
		else if (n > 2 * (shorter + 1) / 3)
			continue; /* a third of the letters, and less for the shortest */
		if (n < best) {
			best = n;
			nearest = *names;
		}
	}
	return nearest;
}

/* Parsing. */

/* "-h, --help", which every command has. */
const struct option_spec option_help_row = {
	.name = "help",
	.letter = 'h',
	.help = "Show this help",
};

struct parser {
	const struct option_table *table;
	struct option_uses *uses;
	int argc;
	char **argv;
	int at; /* the word after the one being parsed */
	struct error *err;
};

const struct option_spec *option_find(const struct option_table *table, const char *name,
				      size_t len)
{
	for (const struct option_spec *row = table->rows; row->name; row++) {
		if (!strncmp(row->name, name, len) && !row->name[len])
			return row;
	}
	if (len == 4 && !memcmp(name, "help", 4))
		return &option_help_row;
	return NULL;
}

const struct option_spec *option_find_letter(const struct option_table *table, char letter)
{
	for (const struct option_spec *row = table->rows; row->name; row++) {
		if (row->letter == letter)
			return row;
	}
	return letter == option_help_row.letter ? &option_help_row : NULL;
}

/* Names with "no-" in front need memory of their own. */
bool option_nearest(const struct option_table *table, const char *name, size_t len,
		    char nearest[OPTION_NAME_MAX])
{
	const char **names;
	char(*negated)[OPTION_NAME_MAX];
	const char *found = NULL;
	size_t rows = 0;

	while (table->rows[rows].name)
		rows++;
	names = calloc(2 * rows + 2, sizeof(*names));
	negated = calloc(rows + 1, sizeof(*negated));
	if (names && negated && len <= NAME_BYTES) {
		char word[NAME_BYTES + 1] = "";
		size_t n = 0;

		memcpy(word, name, len);
		for (size_t i = 0; i < rows; i++) {
			if (table->rows[i].set == option_refuse)
				continue;
			names[n++] = table->rows[i].name;
			if (!table->rows[i].negatable)
				continue;
			snprintf(negated[i], sizeof(negated[i]), "no-%.*s", NAME_BYTES,
				 table->rows[i].name);
			names[n++] = negated[i];
		}
		names[n++] = option_help_row.name;
		found = nearest_name(word, names);
	}
	if (found)
		snprintf(nearest, OPTION_NAME_MAX, "%s", found);
	free(names);
	free(negated);
	return found != NULL;
}

static void unknown_long(struct parser *p, const char *dashes, const char *name, size_t len)
{
	char nearest[OPTION_NAME_MAX];

	if (option_nearest(p->table, name, len, nearest))
		fail(p->err, "unknown option %s%.*s; did you mean --%s?", dashes,
		     (int)(len < SHOWN ? len : SHOWN), name, nearest);
	else
		fail(p->err, "unknown option %s%.*s; see lkvm %s --help", dashes,
		     (int)(len < SHOWN ? len : SHOWN), name, p->table->command);
}

int option_use_add(struct option_uses *uses, const struct option_use *use, struct error *err)
{
	if (uses->nr == uses->room) {
		size_t room = uses->room ? 2 * uses->room : 16;
		struct option_use *list = reallocarray(uses->list, room, sizeof(*list));

		if (!list)
			return fail(err, "no memory for the options");
		uses->list = list;
		uses->room = room;
	}
	uses->list[uses->nr++] = *use;
	return 0;
}

static int use(struct parser *p, const struct option_spec *row, const char *value, bool on)
{
	const struct option_use one = {.row = row, .value = value, .on = on};

	return option_use_add(p->uses, &one, p->err);
}

/* Call the setter; its message gets the place, the option and the value in front. */
static int set(void *target, const struct option_use *u, const char *path, struct error *err)
{
	const char *dashes = u->line ? "" : "--", *no = u->on || u->line ? "" : "no-";
	char place[SHOWN + 32] = "";
	struct error why;

	why.msg[0] = 0;
	if (!u->row->set(target, u->row, u->value, u->on, &why))
		return 0;
	if (u->line)
		snprintf(place, sizeof(place), "%.*s:%u: ", SHOWN, path, u->line);
	if (!u->value)
		fail(err, "%s%s%s%s: %s", place, dashes, no, u->row->name, why.msg);
	else if (!*u->value)
		fail(err, "%s%s%s '': %s", place, dashes, u->row->name, why.msg);
	else
		fail(err, "%s%s%s %.*s%s: %s", place, dashes, u->row->name, SHOWN, u->value,
		     strlen(u->value) > SHOWN ? "..." : "", why.msg);
	return -1;
}

/* The value of @row is the next word. NULL with a message where there is none. */
static const char *next_value(struct parser *p, const struct option_spec *row)
{
	const char *value;

	if (p->at >= p->argc) {
		fail(p->err, "--%s needs a value: %s", row->name, row->arg);
		return NULL;
	}
	value = p->argv[p->at];
	if (!strcmp(value, "--") || (!strncmp(value, "--", 2) &&
				     option_find(p->table, value + 2, strcspn(value + 2, "=")))) {
		fail(p->err,
		     "--%s needs a value: %s; '%.*s' follows (write --%s=%.*s to mean that)",
		     row->name, row->arg, SHOWN, value, row->name, SHOWN, value);
		return NULL;
	}
	p->at++;
	return value;
}

static int parse_long(struct parser *p, const char *name)
{
	size_t len = strcspn(name, "=");
	const char *value = name[len] ? name + len + 1 : NULL;
	const struct option_spec *row = option_find(p->table, name, len);
	bool on = true;

	if (!row && len > 3 && !strncmp(name, "no-", 3)) {
		row = option_find(p->table, name + 3, len - 3);
		if (row && !row->negatable)
			row = NULL;
		on = false;
	}
	if (!row) {
		unknown_long(p, "--", name, len);
		return -1;
	}
	if (row->set == option_refuse)
		return fail(p->err, "--%s: %s", row->name, row->help);
	if (!row->arg && value)
		return fail(p->err, "--%.*s takes no value, '%.*s' was given", (int)len, name,
			    SHOWN, value);
	if (row == &option_help_row)
		return 1;
	if (row->arg && !value) {
		value = next_value(p, row);
		if (!value)
			return -1;
	}
	return use(p, row, value, on);
}

/* @word: "abc" of "-abc". */
static int parse_letters(struct parser *p, const char *word)
{
	const struct option_spec *meant = NULL;

	if (word[1])
		meant = option_find(p->table, word, strcspn(word, "="));
	if (meant && meant->set == option_refuse)
		return fail(p->err, "-%s: %s", meant->name, meant->help);
	if (meant) {
		unknown_long(p, "-", word, strcspn(word, "="));
		return -1;
	}
	for (const char *c = word; *c; c++) {
		const struct option_spec *row = option_find_letter(p->table, *c);
		const char *value = NULL;
		bool last;

		if (!row && word[1])
			return fail(p->err, "unknown option -%c in -%.*s; see lkvm %s --help", *c,
				    SHOWN, word, p->table->command);
		if (!row)
			return fail(p->err, "unknown option -%c; see lkvm %s --help", *c,
				    p->table->command);
		if (row == &option_help_row)
			return 1;
		if (row->set == option_refuse)
			return fail(p->err, "-%c: %s", *c, row->help);
		last = row->arg != NULL;
		if (last) {
			value = c[1] ? c + 1 : next_value(p, row);
			if (!value)
				return -1;
		}
		if (use(p, row, value, true))
			return -1;
		if (last)
			break;
	}
	return 0;
}

static int take_operand(struct parser *p, struct operands *ops, const char *word)
{
	if (!p->table->operands)
		return fail(p->err, "'%.*s' is no option of lkvm %s, which takes nothing else",
			    SHOWN, word, p->table->command);
	ops->argv[ops->argc++] = word;
	ops->argv[ops->argc] = NULL;
	return 0;
}

/* Note what the words say. Return: as options_parse(). */
static int note_words(struct parser *p, struct operands *ops)
{
	bool only_operands = false;
	int result = 0;

	while (!result && p->at < p->argc) {
		const char *word = p->argv[p->at++];

		if (only_operands || word[0] != '-' || !word[1]) {
			result = take_operand(p, ops, word);
			only_operands |= p->table->stop_at_operand;
		} else if (word[1] != '-') {
			result = parse_letters(p, word + 1);
		} else if (word[2]) {
			result = parse_long(p, word + 2);
		} else {
			if (p->at < p->argc && !p->table->operands)
				return take_operand(p, ops, p->argv[p->at]);
			ops->rest = p->argv + p->at;
			ops->nr_rest = p->argc - p->at;
			break;
		}
	}
	return result;
}

/* Does the command line say it otherwise? */
static bool overruled(const struct option_spec *row, const struct option_uses *words,
		      const struct operands *ops)
{
	if (row->many)
		return false;
	if (row->operand && ops->argc)
		return true;
	for (size_t i = 0; i < words->nr; i++) {
		if (words->list[i].row == row)
			return true;
	}
	return false;
}

/* The file that the words name, if they do: noted in @file, its text kept by @ops. */
static int note_file(const struct option_table *table, const struct option_uses *words,
		     struct option_uses *file, const char **path, struct operands *ops,
		     struct error *err)
{
	for (size_t i = 0; i < words->nr; i++) {
		const struct option_use *u = &words->list[i];

		if (u->row->set != option_set_file)
			continue;
		if (*path)
			return fail(err, "--%s %.*s: given twice, the first time as %.*s",
				    u->row->name, SHOWN, u->value, SHOWN, *path);
		*path = u->value;
		if (option_file_read(table, u->value, file, &ops->text, err))
			return -1;
	}
	return 0;
}

static int set_all(void *target, const struct option_uses *words, const struct option_uses *file,
		   const char *path, const struct operands *ops, struct error *err)
{
	for (size_t i = 0; i < file->nr; i++) {
		if (!overruled(file->list[i].row, words, ops) &&
		    set(target, &file->list[i], path, err))
			return -1;
	}
	for (size_t i = 0; i < words->nr; i++) {
		if (set(target, &words->list[i], path, err))
			return -1;
	}
	return 0;
}

int options_parse(const struct option_table *table, void *target, int argc, char **argv,
		  struct operands *ops, struct error *err)
{
	struct option_uses words = {0}, file = {0};
	struct parser p = {.table = table, .uses = &words, .argc = argc, .argv = argv, .err = err};
	const char *path = NULL;
	int result;

	*ops = (struct operands){0};
	ops->argv = calloc((size_t)argc + 1, sizeof(*ops->argv));
	if (!ops->argv)
		return fail(err, "no memory for the command line");
	result = note_words(&p, ops);
	if (!result)
		result = note_file(table, &words, &file, &path, ops, err);
	if (!result)
		result = set_all(target, &words, &file, path, ops, err);
	free(words.list);
	free(file.list);
	if (result)
		operands_free(ops);
	return result;
}

void operands_free(struct operands *ops)
{
	free(ops->argv);
	free(ops->text);
	*ops = (struct operands){0};
}
