// SPDX-License-Identifier: GPL-2.0-only
/*
 * Help: the one printer of option tables, for lines of at most 80 columns.
 *
 * A row's name and value stand on the left, its sentence on the right of HELP_COLUMN,
 * both wrapped; text is UTF-8, of which each character takes a column.
 *
 * Pure functions of their arguments; no state, any thread.
 */
#include "lkvm/options.h"
#include "options_parts.h"

#include "lkvm/suboptions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HELP_WIDTH 80
#define HELP_COLUMN 30
#define HELP_PARTS 12

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

/* How many bytes belong together at @text: up to a blank, a comma or a bracket. */
static size_t piece(const char *text)
{
	size_t len = 1;

	while (text[len] && text[len] != ' ' && text[len] != '\n' && text[len] != '[' &&
	       text[len - 1] != ',' && text[len - 1] != '|')
		len++;
	return len;
}

/*
 * Print @text from the current column on, in lines of at most HELP_WIDTH.
 * @blank: a space is due before the next piece, unless a line begins with it
 *
 * Lines of the text are joined; an empty one begins a paragraph.
 */
static void wrap(struct page *page, const char *text, bool blank)
{
	bool begun = page->column > page->indent;

	while (*text) {
		size_t len;
		int width;

		if (!strncmp(text, "\n\n", 2)) {
			put_text(page, text, 2);
			text += 2;
			begun = blank = false;
			continue;
		}
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
		help_shown |= !strcmp(row->name, option_help_row.name);
	}
	if (!help_shown) {
		put_char(page, '\n');
		help_for_row(page, &option_help_row);
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
