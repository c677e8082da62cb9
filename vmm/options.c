// SPDX-License-Identifier: GPL-2.0-only
/*
 * Options: the one parser, the one help printer, and the number syntax that all
 * commands share.
 *
 * A command is a const table of rows and a struct that the rows' setters fill.
 * The parser walks the words from left to right, finds the row by its exact name
 * (no abbreviations: a script must not change its meaning when an option is
 * added), and hands the value to the row's setter. It refuses what looks like a
 * slip and would otherwise be taken for something else: "-kernel X" (which spells
 * -k ernel), and an option's name where a value is due.
 *
 * Pure functions of their arguments; no state, any thread.
 */
#include "lkvm/options.h"

#include "lkvm/suboptions.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How much of a word from the command line a message repeats. */
#define SHOWN 100

#define HELP_WIDTH 80
#define HELP_COLUMN 30
#define HELP_PARTS 12

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

/* Numbers. */

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 16;
}

/*
 * Read digits at *@text and move it behind them.
 * Return: 0; -1 where there are none; 1 where they do not fit 64 bits.
 */
static int read_digits(const char **text, uint64_t *value)
{
	const char *p = *text;
	unsigned int base = 10;
	uint64_t v = 0;
	int result = -1;

	if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
		base = 16;
		p += 2;
	}
	for (; (unsigned int)digit_value(*p) < base; p++) {
		if (result < 0)
			result = 0;
		if (__builtin_mul_overflow(v, (uint64_t)base, &v) ||
		    __builtin_add_overflow(v, (uint64_t)digit_value(*p), &v))
			result = 1;
	}
	*text = p;
	*value = v;
	return result;
}

static bool is_negative(const char *text)
{
	const char *p = text + 1;
	uint64_t v;

	return *text == '-' && read_digits(&p, &v) >= 0;
}

int parse_uint(const char *text, uint64_t max, uint64_t *value, struct error *err)
{
	const char *p = text;
	uint64_t v;
	int result = read_digits(&p, &v);

	if (result < 0 || *p) {
		if (is_negative(text))
			return fail(err, "below 0");
		return fail(err, "not a whole number");
	}
	if (result > 0 || v > max)
		return fail(err, "above the limit of %llu", (unsigned long long)max);
	*value = v;
	return 0;
}

/* The bytes that a suffix stands for, moving *@text behind it; 0: no such suffix. */
static uint64_t read_suffix(const char **text, uint64_t unit)
{
	static const char letters[] = "kmgt";
	const char *p = *text;
	const char *letter;

	if (!*p)
		return unit ? unit : 1;
	if ((*p == 'B' || *p == 'b') && !p[1]) {
		*text = p + 1;
		return 1;
	}
	letter = strchr(letters, fold(*p));
	if (!letter)
		return 0;
	p++;
	if (fold(p[0]) == 'i' && fold(p[1]) == 'b')
		p += 2;
	else if (fold(p[0]) == 'b')
		p++;
	*text = p;
	return UINT64_C(1) << (10 * (letter - letters + 1));
}

int parse_size(const char *text, uint64_t unit, uint64_t *bytes, struct error *err)
{
	const char *p = text;
	uint64_t v, factor;
	int result = read_digits(&p, &v);

	factor = result < 0 ? 0 : read_suffix(&p, unit);
	if (!factor || *p) {
		if (is_negative(text))
			return fail(err, "below 0");
		return fail(err, "not a size such as 512M or 2G");
	}
	if (result > 0 || __builtin_mul_overflow(v, factor, &v))
		return fail(err, "more bytes than 64 bits can count");
	*bytes = v;
	return 0;
}

/* Setters. */

int option_set_flag(void *target, const struct option_spec *opt, const char *value, bool on,
		    struct error *err)
{
	(void)value;
	(void)err;
	*(bool *)((char *)target + opt->offset) = on;
	return 0;
}

int option_set_string(void *target, const struct option_spec *opt, const char *value, bool on,
		      struct error *err)
{
	const char **field = (const char **)((char *)target + opt->offset);

	(void)on;
	if (*field)
		return fail(err, "given twice, the first time as %.100s", *field);
	*field = value;
	return 0;
}

int option_set_uint(void *target, const struct option_spec *opt, const char *value, bool on,
		    struct error *err)
{
	uint64_t v = 0;

	(void)on;
	if (parse_uint(value, UINT_MAX, &v, err))
		return -1;
	*(unsigned int *)((char *)target + opt->offset) = (unsigned int)v;
	return 0;
}

int option_set_word(void *target, const struct option_spec *opt, const char *value, bool on,
		    struct error *err)
{
	char all[160] = "";
	size_t len = 0;
	unsigned int i;

	(void)on;
	for (i = 0; opt->words[i]; i++) {
		if (!strcmp(opt->words[i], value)) {
			*(unsigned int *)((char *)target + opt->offset) = i;
			return 0;
		}
		if (len < sizeof(all))
			len += (size_t)snprintf(all + len, sizeof(all) - len, "%s%s", i ? ", " : "",
						opt->words[i]);
	}
	return fail(err, "must be one of %s", all);
}

/* Parsing. */

/* "-h, --help", which every command has. */
static const struct option_spec help_row = {
	.name = "help",
	.letter = 'h',
	.help = "Show this help",
};

struct parser {
	const struct option_table *table;
	void *target;
	int argc;
	char **argv;
	int at; /* the word after the one being parsed */
	struct error *err;
};

static const struct option_spec *find_long(const struct option_table *table, const char *name,
					   size_t len)
{
	for (const struct option_spec *row = table->rows; row->name; row++) {
		if (!strncmp(row->name, name, len) && !row->name[len])
			return row;
	}
	if (len == 4 && !memcmp(name, "help", 4))
		return &help_row;
	return NULL;
}

static const struct option_spec *find_letter(const struct option_table *table, char letter)
{
	for (const struct option_spec *row = table->rows; row->name; row++) {
		if (row->letter == letter)
			return row;
	}
	return letter == help_row.letter ? &help_row : NULL;
}

/* Names with "no-" in front need memory of their own. */
static void unknown_long(struct parser *p, const char *dashes, const char *name, size_t len)
{
	const struct option_table *table = p->table;
	const char **names;
	char(*negated)[NAME_BYTES + 4];
	const char *nearest = NULL;
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
			names[n++] = table->rows[i].name;
			if (!table->rows[i].negatable)
				continue;
			snprintf(negated[i], sizeof(negated[i]), "no-%.*s", NAME_BYTES,
				 table->rows[i].name);
			names[n++] = negated[i];
		}
		names[n++] = help_row.name;
		nearest = nearest_name(word, names);
	}
	if (nearest)
		fail(p->err, "unknown option %s%.*s; did you mean --%s?", dashes,
		     (int)(len < SHOWN ? len : SHOWN), name, nearest);
	else
		fail(p->err, "unknown option %s%.*s; see lkvm %s --help", dashes,
		     (int)(len < SHOWN ? len : SHOWN), name, table->command);
	free(names);
	free(negated);
}

/* Call the setter; its message gets the option and the value in front. */
static int set(struct parser *p, const struct option_spec *row, const char *value, bool on)
{
	struct error why;

	why.msg[0] = 0;
	if (!row->set(p->target, row, value, on, &why))
		return 0;
	if (!value)
		fail(p->err, "--%s%s: %s", on ? "" : "no-", row->name, why.msg);
	else if (!*value)
		fail(p->err, "--%s '': %s", row->name, why.msg);
	else
		fail(p->err, "--%s %.*s%s: %s", row->name, SHOWN, value,
		     strlen(value) > SHOWN ? "..." : "", why.msg);
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
	if (!strcmp(value, "--") ||
	    (!strncmp(value, "--", 2) && find_long(p->table, value + 2, strcspn(value + 2, "=")))) {
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
	const struct option_spec *row = find_long(p->table, name, len);
	bool on = true;

	if (!row && len > 3 && !strncmp(name, "no-", 3)) {
		row = find_long(p->table, name + 3, len - 3);
		if (row && !row->negatable)
			row = NULL;
		on = false;
	}
	if (!row) {
		unknown_long(p, "--", name, len);
		return -1;
	}
	if (!row->arg && value)
		return fail(p->err, "--%.*s takes no value, '%.*s' was given", (int)len, name,
			    SHOWN, value);
	if (row == &help_row)
		return 1;
	if (row->arg && !value) {
		value = next_value(p, row);
		if (!value)
			return -1;
	}
	return set(p, row, value, on);
}

/* @word: "abc" of "-abc". */
static int parse_letters(struct parser *p, const char *word)
{
	if (word[1] && find_long(p->table, word, strcspn(word, "="))) {
		unknown_long(p, "-", word, strcspn(word, "="));
		return -1;
	}
	for (const char *c = word; *c; c++) {
		const struct option_spec *row = find_letter(p->table, *c);
		const char *value = NULL;
		bool last;

		if (!row && word[1])
			return fail(p->err, "unknown option -%c in -%.*s; see lkvm %s --help", *c,
				    SHOWN, word, p->table->command);
		if (!row)
			return fail(p->err, "unknown option -%c; see lkvm %s --help", *c,
				    p->table->command);
		if (row == &help_row)
			return 1;
		last = row->arg != NULL;
		if (last) {
			value = c[1] ? c + 1 : next_value(p, row);
			if (!value)
				return -1;
		}
		if (set(p, row, value, true))
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

int options_parse(const struct option_table *table, void *target, int argc, char **argv,
		  struct operands *ops, struct error *err)
{
	struct parser p = {
		.table = table, .target = target, .argc = argc, .argv = argv, .err = err};
	bool only_operands = false;
	int result = 0;

	*ops = (struct operands){0};
	ops->argv = calloc((size_t)argc + 1, sizeof(*ops->argv));
	if (!ops->argv)
		return fail(err, "no memory for the command line");
	while (!result && p.at < argc) {
		const char *word = argv[p.at++];

		if (only_operands || word[0] != '-' || !word[1]) {
			result = take_operand(&p, ops, word);
			only_operands |= table->stop_at_operand;
		} else if (word[1] != '-') {
			result = parse_letters(&p, word + 1);
		} else if (word[2]) {
			result = parse_long(&p, word + 2);
		} else {
			if (p.at < argc && !table->operands) {
				result = take_operand(&p, ops, argv[p.at]);
				break;
			}
			ops->rest = argv + p.at;
			ops->nr_rest = argc - p.at;
			break;
		}
	}
	if (result)
		operands_free(ops);
	return result;
}

void operands_free(struct operands *ops)
{
	free(ops->argv);
	*ops = (struct operands){0};
}

/* Help. */

struct page {
	FILE *out;
	int column;
	int indent; /* of the lines that wrap() begins */
};

static void put_char(struct page *page, char c)
{
	fputc(c, page->out);
	if (c == '\n')
		page->column = 0;
	else if (((unsigned char)c & 0xc0) != 0x80) /* not the rest of a UTF-8 character */
		page->column++;
}

static void put_text(struct page *page, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		put_char(page, text[i]);
}

static void put_indent(struct page *page)
{
	while (page->column < page->indent)
		put_char(page, ' ');
}

static int columns(const char *text, size_t len)
{
	int n = 0;

	for (size_t i = 0; i < len; i++)
		n += ((unsigned char)text[i] & 0xc0) != 0x80;
	return n;
}

/* How many bytes belong together at @text: up to a space, a comma or a bracket. */
static size_t piece(const char *text)
{
	size_t len = 1;

	while (text[len] && text[len] != ' ' && text[len] != '[' && text[len - 1] != ',' &&
	       text[len - 1] != '|')
		len++;
	return len;
}

/*
 * Print @text from the current column on, in lines of at most HELP_WIDTH.
 * @blank: a space is due before the next piece, unless a line begins with it
 */
static void wrap(struct page *page, const char *text, bool blank)
{
	bool begun = page->column > page->indent;

	while (*text) {
		size_t len;
		int width;

		if (*text == ' ' || *text == '\n') {
			blank = begun;
			text++;
			continue;
		}
		len = piece(text);
		width = columns(text, len);
		if (begun && page->column + blank + width > HELP_WIDTH) {
			put_char(page, '\n');
			blank = false;
		} else if (blank) {
			put_char(page, ' ');
			blank = false;
		}
		put_indent(page);
		/* Wider than a line can be: cut, between characters. */
		while (columns(text, len) > HELP_WIDTH - page->indent) {
			size_t part = 0;

			while (columns(text, part + 1) <= HELP_WIDTH - page->indent)
				part++;
			put_text(page, text, part);
			put_char(page, '\n');
			put_indent(page);
			text += part;
			len -= part;
		}
		put_text(page, text, len);
		text += len;
		begun = true;
	}
}

/* The words inside the value of an option, one a line. */
static void help_for_parts(struct page *page, const struct suboption *part)
{
	char spelling[80];

	for (; part->name; part++) {
		if (!part->help)
			continue;
		suboptions_spelling(part, spelling, sizeof(spelling));
		page->indent = HELP_PARTS;
		wrap(page, spelling, false);
		page->indent = HELP_COLUMN;
		if (page->column > HELP_COLUMN - 2)
			put_char(page, '\n');
		put_indent(page);
		wrap(page, part->help, false);
		put_char(page, '\n');
	}
}

static void help_for_row(struct page *page, const struct option_spec *row)
{
	page->indent = 2;
	put_indent(page);
	page->indent = 10;
	if (row->letter) {
		put_char(page, '-');
		put_char(page, row->letter);
		put_text(page, ", ", 2);
	} else {
		put_text(page, "    ", 4);
	}
	put_text(page, row->negatable ? "--[no-]" : "--", row->negatable ? 7 : 2);
	put_text(page, row->name, strlen(row->name));
	if (row->arg) {
		wrap(page, row->arg, true);
	}
	page->indent = HELP_COLUMN;
	if (row->help) {
		if (page->column > HELP_COLUMN - 2)
			put_char(page, '\n');
		put_indent(page);
		wrap(page, row->help, false);
	}
	put_char(page, '\n');
	if (row->parts)
		help_for_parts(page, row->parts);
}

static void help_page(struct page *page, const struct option_table *table)
{
	const char *group = NULL, *printed = NULL;
	bool help_shown = false;

	page->indent = 8;
	put_text(page, "Usage: lkvm", 11);
	wrap(page, table->command, true);
	if (table->rows[0].name)
		wrap(page, "[options]", true);
	if (table->operands && *table->operands)
		wrap(page, table->operands, true);
	put_char(page, '\n');
	page->indent = 0;
	if (table->summary) {
		put_char(page, '\n');
		wrap(page, table->summary, false);
		put_char(page, '\n');
	}
	for (const struct option_spec *row = table->rows; row->name; row++) {
		if (row->group)
			group = row->group;
		if (row->hidden)
			continue;
		if (!group)
			group = "Options";
		if (group != printed) {
			page->indent = 0;
			put_char(page, '\n');
			wrap(page, group, false);
			put_text(page, ":\n", 2);
			printed = group;
		}
		help_for_row(page, row);
		help_shown |= !strcmp(row->name, help_row.name);
	}
	if (!help_shown) {
		put_char(page, '\n');
		help_for_row(page, &help_row);
	}
}

void options_help(const struct option_table *table, int fd)
{
	struct page page = {0};
	char *text = NULL;
	size_t len = 0;

	page.out = open_memstream(&text, &len);
	if (!page.out)
		return;
	help_page(&page, table);
	if (!fclose(page.out))
		write_all(fd, text, len);
	free(text);
}
