// SPDX-License-Identifier: GPL-2.0-only
/*
 * Words inside an option's value: paths with and without commas, each type of word,
 * and what is refused in which words.
 */
#include "unit.h"

#include "lkvm/suboptions.h"

#include <stdlib.h>
#include <string.h>

struct target {
	bool ro;
	const char *serial;
	uint64_t queues, size;
	int mode;
};

static const char *const modes[] = {"tap", "user", NULL};

static const struct suboption rows[] = {
	{"ro", SUBOPTION_FLAG, offsetof(struct target, ro), 0, .words = NULL},
	{"serial", SUBOPTION_STRING, offsetof(struct target, serial), 0, .words = NULL},
	{"queues", SUBOPTION_UINT, offsetof(struct target, queues), 16, .words = NULL},
	{"size", SUBOPTION_SIZE, offsetof(struct target, size), 0, .words = NULL},
	{"mode", SUBOPTION_WORD, offsetof(struct target, mode), 0, .words = modes},
	{.name = NULL},
};

/* The path and all words of a good text. */
START_TEST(all_words)
{
	struct target t = {.ro = false};
	struct error err;
	const char *path;
	char *copy;

	ck_assert_int_eq(suboptions_parse("a b.img,ro,serial=x=y,queues=0x10,size=2k,mode=user",
					  &path, rows, &t, &copy, &err),
			 0);
	ck_assert_str_eq(path, "a b.img");
	ck_assert(t.ro);
	ck_assert_str_eq(t.serial, "x=y");
	ck_assert_uint_eq(t.queues, 16);
	ck_assert_uint_eq(t.size, 2048);
	ck_assert_int_eq(t.mode, 1);
	free(copy);
}
END_TEST

/* A doubled comma is one that belongs to the word, wherever it stands. */
START_TEST(commas)
{
	static const struct {
		const char *text, *path, *serial;
	} cases[] = {
		{"a,,b,serial=c,,d", "a,b", "c,d"},
		{",,", ",", NULL},
		{"a,,,serial=,,", "a,", ","},
		{"", "", NULL},
		{"a=b", "a=b", NULL},
	};
	const char *path;
	struct error err;
	char *copy;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct target t = {.serial = NULL};

		ck_assert_int_eq(suboptions_parse(cases[i].text, &path, rows, &t, &copy, &err), 0);
		ck_assert_str_eq(path, cases[i].path);
		ck_assert(!t.serial == !cases[i].serial);
		if (t.serial)
			ck_assert_str_eq(t.serial, cases[i].serial);
		free(copy);
	}
}
END_TEST

/* Without a path the first word is one like the others. */
START_TEST(no_path)
{
	struct target t = {.mode = -1};
	struct error err;
	char *copy;

	ck_assert_int_eq(suboptions_parse("mode=tap,ro=off", NULL, rows, &t, &copy, &err), 0);
	ck_assert_int_eq(t.mode, 0);
	ck_assert(!t.ro);
	free(copy);
	ck_assert_int_eq(suboptions_parse("", NULL, rows, &t, &copy, &err), 0);
	free(copy);
}
END_TEST

START_TEST(refused)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{"p,rw", "unknown word 'rw': did you mean 'ro'?"},
		{"p,zzz=1", "unknown word 'zzz': there are ro, serial, queues, size, mode"},
		{"p,", "unknown word '': there are ro, serial, queues, size, mode"},
		{"p,ro,ro", "'ro' is given twice"},
		{"p,ro=yes", "'ro' is on or off, not 'yes'"},
		{"p,serial", "'serial' needs a value"},
		{"p,serial=", "'serial' needs a value"},
		{"p,queues=17", NULL},
		{"p,queues=x", NULL},
		{"p,size=1Q", NULL},
		{"p,mode=bridge", "'mode' is one of tap, user, not 'bridge'"},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct target t = {.ro = false};
		struct error err = {.msg = ""};
		const char *path;
		char *copy;

		ck_assert_int_eq(suboptions_parse(cases[i].text, &path, rows, &t, &copy, &err), -1);
		if (cases[i].message)
			ck_assert_str_eq(err.msg, cases[i].message);
		else
			ck_assert_uint_gt(strlen(err.msg), 0);
		free(copy);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("suboptions");
	TCase *tc = tcase_create("suboptions");

	tcase_add_test(tc, all_words);
	tcase_add_test(tc, commas);
	tcase_add_test(tc, no_path);
	tcase_add_test(tc, refused);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
