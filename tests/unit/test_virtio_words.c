// SPDX-License-Identifier: GPL-2.0-only
/*
 * Help says every word of every device's option with its meaning: it is made of the rows
 * by which the words are parsed.
 */
#include "unit.h"

#include "lkvm/options.h"
#include "lkvm/virtio/kind.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Understood, to be refused with a better word. */
static const char *const untold[] = {"trans"};

static bool is_untold(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(untold); i++)
		if (!strcmp(untold[i], name))
			return true;
	return false;
}

static char *help_of(const struct virtio_kind *kind)
{
	const struct option_spec rows[] = {
		{.name = kind->option, .arg = kind->arg, .help = kind->help, .parts = kind->words},
		{.name = NULL},
	};
	const struct option_table table = {.command = "run", .rows = rows};
	static char text[16384];
	FILE *file = tmpfile();

	ck_assert_ptr_nonnull(file);
	options_help(&table, fileno(file));
	rewind(file);
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	fclose(file);
	return text;
}

START_TEST(all_words)
{
	const struct virtio_kind *const *kind;
	const struct suboption *word;
	unsigned int nr = 0;

	for (kind = virtio_kinds; *kind; kind++) {
		char *help = help_of(*kind), *line, *next;

		for (word = (*kind)->words; word && word->name; word++) {
			char spelling[80], want[100];

			ck_assert_msg(is_untold(word->name) == !word->help, "--%s: %s",
				      (*kind)->option, word->name);
			if (!word->help)
				continue;
			suboptions_spelling(word, spelling, sizeof(spelling));
			ck_assert_uint_lt(strlen(spelling), sizeof(spelling) - 1);
			snprintf(want, sizeof(want), "\n            %s", spelling);
			ck_assert_msg(strstr(help, want) != NULL, "--%s: %s", (*kind)->option,
				      spelling);
			nr++;
		}
		/* Nowhere is the reader sent, and lines fit. */
		ck_assert_ptr_null(strstr(help, "lkvm("));
		for (line = help; (next = strchr(line, '\n')); line = next + 1)
			ck_assert_int_le(next - line, 80);
	}
	ck_assert_uint_ge(nr, 40);
}
END_TEST

START_TEST(spellings)
{
	static const char *const words[] = {"one", "two", NULL};
	static const struct {
		struct suboption row;
		const char *text;
	} cases[] = {
		{{.name = "ro", .type = SUBOPTION_FLAG}, "ro"},
		{{.name = "n", .type = SUBOPTION_UINT}, "n=N"},
		{{.name = "n", .type = SUBOPTION_UINT, .arg = "BITS"}, "n=BITS"},
		{{.name = "size", .type = SUBOPTION_SIZE}, "size=SIZE"},
		{{.name = "how", .type = SUBOPTION_WORD, .words = words}, "how=one|two"},
		{{.name = "how", .type = SUBOPTION_WORD, .words = words, .arg = "one"}, "how=one"},
		{{.name = "to", .type = SUBOPTION_STRING, .arg = "FILE"}, "to=FILE"},
	};
	char text[32], small[8];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		suboptions_spelling(&cases[i].row, text, sizeof(text));
		ck_assert_str_eq(text, cases[i].text);
	}
	suboptions_spelling(&cases[4].row, small, sizeof(small));
	ck_assert_str_eq(small, "how=one");
}
END_TEST

START_TEST(ends)
{
	static const char text[] = "a,,b,c";

	ck_assert_ptr_eq(suboptions_end(text), text + 4);
	ck_assert_ptr_eq(suboptions_end(text + 5), text + 6);
	ck_assert_str_eq(suboptions_end(""), "");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio-words");
	TCase *t = tcase_create("words");

	tcase_add_test(t, all_words);
	tcase_add_test(t, spellings);
	tcase_add_test(t, ends);
	suite_add_tcase(s, t);
	return unit_main(s);
}
