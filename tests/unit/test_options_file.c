// SPDX-License-Identifier: GPL-2.0-only
/*
 * Configuration files: the words of an option table, one a line; what is refused, and in
 * which words; and who wins where the command line says something too.
 */
#include "lkvm/options.h"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct target {
	const char *kernel, *params;
	unsigned int cpus, console;
	bool rng, color;
	char disks[64];
};

static int add_disk(void *target, const struct option_spec *opt, const char *value, bool on,
		    struct error *err)
{
	struct target *t = target;

	(void)opt;
	(void)on;
	if (!*value)
		return fail(err, "a path is missing");
	strncat(t->disks, value, sizeof(t->disks) - strlen(t->disks) - 1);
	return 0;
}

static int refuse_flag(void *target, const struct option_spec *opt, const char *value, bool on,
		       struct error *err)
{
	(void)target;
	(void)opt;
	(void)value;
	return fail(err, on ? "not here" : "not even off");
}

#define FIELD(name) .offset = offsetof(struct target, name)

static const char *const consoles[] = {"serial", "virtio", NULL};

static const struct option_spec rows[] = {
	{"kernel", 'k', "FILE", "", NULL, option_set_string, FIELD(kernel), .operand = true},
	{"params", 'p', "TEXT", "", NULL, option_set_string, FIELD(params)},
	{"cpus", 'c', "N", "", NULL, option_set_uint, FIELD(cpus)},
	{"console", 0, "KIND", "", NULL, option_set_word, FIELD(console), .words = consoles},
	{"disk", 'd', "PATH", "", NULL, .set = add_disk, .many = true},
	{"rng", 0, NULL, "", NULL, option_set_flag, FIELD(rng)},
	{"color", 0, NULL, "", NULL, option_set_flag, FIELD(color), .negatable = true},
	{"never", 0, NULL, "", NULL, .set = refuse_flag, .negatable = true},
	{"sdl", 0, NULL, "there are no pictures here", NULL, .set = option_refuse},
	{"config", 0, "FILE", "", NULL, .set = option_set_file},
	{.name = NULL},
};

static const struct option_table table = {"run", "[KERNEL]", "x", rows, false};

static char dir[64], path[80];
static struct target target;
static struct operands ops;
static struct error err;

static void setup(void)
{
	snprintf(dir, sizeof(dir), "/tmp/lkvm-options-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	snprintf(path, sizeof(path), "vm.conf");
}

static void teardown(void)
{
	operands_free(&ops);
	unlink("vm.conf");
	rmdir(dir);
}

static void put(const char *text, size_t len)
{
	FILE *f = fopen("vm.conf", "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(text, 1, len, f), len);
	ck_assert_int_eq(fclose(f), 0);
}

/* "--config vm.conf" and @more, words parted by blanks. */
static int parse(const char *more)
{
	static char line[256];
	static char *words[16];
	char *save = NULL, *w;
	int argc = 0;

	snprintf(line, sizeof(line), "--config vm.conf %s", more);
	for (w = strtok_r(line, " ", &save); w; w = strtok_r(NULL, " ", &save))
		words[argc++] = w;
	operands_free(&ops);
	memset(&target, 0, sizeof(target));
	memset(&err, 0, sizeof(err));
	return options_parse(&table, &target, argc, words, &ops, &err);
}

static int file(const char *text)
{
	put(text, strlen(text));
	return parse("");
}

START_TEST(all_kinds)
{
	ck_assert_int_eq(file("# a machine\n"
			      "kernel = Image\n"
			      "\n"
			      "  params=root=/dev/vda  quiet=1 \t\r\n"
			      "\t# indented\n"
			      "cpus= 0x4\n"
			      "console =virtio\n"
			      "disk = a\n"
			      "disk = b,ro\n"
			      "rng\n"
			      "color = yes"),
			 0);
	ck_assert_str_eq(target.kernel, "Image");
	ck_assert_str_eq(target.params, "root=/dev/vda  quiet=1");
	ck_assert_uint_eq(target.cpus, 4);
	ck_assert_uint_eq(target.console, 1);
	ck_assert_str_eq(target.disks, "ab,ro");
	ck_assert(target.rng && target.color);
}
END_TEST

static const char *const nothing[] = {
	"", "\n", "\n\n", "#", "# kernel = x\n#", " \t\r\n ", "rng = off", "rng=no\nrng=false"};

START_TEST(says_nothing)
{
	ck_assert_int_eq(file(nothing[_i]), 0);
	ck_assert_ptr_null(target.kernel);
	ck_assert(!target.rng);
}
END_TEST

START_TEST(quotes)
{
	ck_assert_int_eq(file("params = \" a # b \"\nkernel=\"\"\ndisk=\"x\"y\"\ndisk=a#b"), 0);
	ck_assert_str_eq(target.params, " a # b ");
	ck_assert_str_eq(target.kernel, "");
	ck_assert_str_eq(target.disks, "x\"ya#b");
}
END_TEST

START_TEST(flags_off)
{
	ck_assert_int_eq(file("color\nno-color"), 0);
	ck_assert(!target.color);
	ck_assert_int_eq(file("color\ncolor=false"), 0);
	ck_assert(!target.color);
	ck_assert_int_eq(file("no-color\nno-color = off"), 0);
	ck_assert(target.color);
	ck_assert_int_eq(file("color = true\nrng = on"), 0);
	ck_assert(target.color && target.rng);
}
END_TEST

START_TEST(command_line_wins)
{
	ck_assert_int_eq(file("kernel = Image\ncpus = abc\ndisk = a\nrng\n"), -1);
	ck_assert_int_eq(parse("-c 2 -d b --kernel other"), 0);
	ck_assert_uint_eq(target.cpus, 2);
	ck_assert_str_eq(target.kernel, "other");
	ck_assert_str_eq(target.disks, "ab");
	ck_assert(target.rng);
	/* The kernel as an operand. */
	ck_assert_int_eq(parse("-c 2 other"), 0);
	ck_assert_ptr_null(target.kernel);
	ck_assert_str_eq(ops.argv[0], "other");
	/* Wherever it stands. */
	ck_assert_int_eq(file("color"), 0);
	ck_assert_int_eq(parse("--no-color"), 0);
	ck_assert(!target.color);
}
END_TEST

/* What is refused, and in which words. */
static const struct {
	const char *text, *message;
} refused[] = {
	{"kernal = x", "vm.conf:1: unknown option kernal; did you mean kernel?"},
	{"\n# x\n\ncpu = 4", "vm.conf:4: unknown option cpu; did you mean cpus?"},
	{"c = 4", "vm.conf:1: unknown option c; did you mean cpus?"},
	{"z = 4", "vm.conf:1: unknown option z; see lkvm run --help"},
	{"h = 4", "vm.conf:1: unknown option h; see lkvm run --help"},
	{"nothing-like-it", "vm.conf:1: unknown option nothing-like-it; see lkvm run --help"},
	{"no-colour", "vm.conf:1: unknown option no-colour; did you mean no-color?"},
	{"no-rng", "vm.conf:1: unknown option no-rng; see lkvm run --help"},
	{"help", "vm.conf:1: unknown option help; see lkvm run --help"},
	{"--cpus = 4", "vm.conf:1: --cpus: no dashes in front of an option here"},
	{"[vm]", "vm.conf:1: there are no sections here, only lines \"option = value\""},
	{"cpus 4", "vm.conf:1: this is no line \"option = value\""},
	{"= 4", "vm.conf:1: this is no line \"option = value\""},
	{"cpus\t4 = 5", "vm.conf:1: this is no line \"option = value\""},
	{"kernel", "vm.conf:1: kernel needs a value: kernel = FILE"},
	{"rng = perhaps", "vm.conf:1: rng: it is on or off"},
	{"rng =", "vm.conf:1: rng: it is on or off"},
	{"cpus = abc", "vm.conf:1: cpus abc: not a whole number"},
	{"cpus =", "vm.conf:1: cpus '': not a whole number"},
	{"\ncpus = -1", "vm.conf:2: cpus -1: below 0"},
	{"console = vga", "vm.conf:1: console vga: must be one of serial, virtio"},
	{"kernel = a\nkernel = b", "vm.conf:2: kernel b: given twice, the first time as a"},
	{"disk = ", "vm.conf:1: disk '': a path is missing"},
	{"never", "vm.conf:1: never: not here"},
	{"never = off", "vm.conf:1: never: not even off"},
	{"sdl", "vm.conf:1: sdl: there are no pictures here"},
	{"config = other", "vm.conf:1: config: a configuration file can't name another"},
	{"params = quiet # less",
	 "vm.conf:1: a comment has a line of its own; if # belongs to the value, write it in "
	 "\"quotes\""},
	{"params = quiet\t# less",
	 "vm.conf:1: a comment has a line of its own; if # belongs to the value, write it in "
	 "\"quotes\""},
	{"params = \"quiet", "vm.conf:1: the value's closing \" is missing"},
	{"params = \"", "vm.conf:1: the value's closing \" is missing"},
};

START_TEST(refusals)
{
	ck_assert_int_eq(file(refused[_i].text), -1);
	ck_assert_str_eq(err.msg, refused[_i].message);
	ck_assert_ptr_null(ops.argv);
	ck_assert_ptr_null(ops.text);
}
END_TEST

START_TEST(no_text)
{
	put("cpus = 4\nke\0rnel = x\n", 21);
	ck_assert_int_eq(parse(""), -1);
	ck_assert_str_eq(err.msg, "vm.conf:2: a byte of value 0: this is no text");
}
END_TEST

START_TEST(no_file)
{
	ck_assert_int_eq(parse(""), -1);
	ck_assert_str_eq(err.msg, "--config vm.conf: No such file or directory");
	put("", 0);
	ck_assert_int_eq(parse("--config other"), -1);
	ck_assert_str_eq(err.msg, "--config other: given twice, the first time as vm.conf");
}
END_TEST

START_TEST(directory)
{
	char word[] = "--config=/";
	char *words[] = {word};

	ck_assert_int_eq(options_parse(&table, &target, 1, words, &ops, &err), -1);
	ck_assert_str_eq(err.msg, "--config /: Is a directory");
}
END_TEST

START_TEST(too_long)
{
	char *text = calloc(1, MIB + 1);

	ck_assert_ptr_nonnull(text);
	memset(text, '\n', MIB + 1);
	put(text, MIB + 1);
	ck_assert_int_eq(parse(""), -1);
	ck_assert_str_eq(err.msg, "--config vm.conf: more than 1 MiB is no configuration file");
	put(text, MIB);
	ck_assert_int_eq(parse(""), 0);
	free(text);
}
END_TEST

/* Long words are cut in messages, and many options fit. */
START_TEST(long_and_many)
{
	char *text = malloc(8192), *at = text;
	int i;

	ck_assert_ptr_nonnull(text);
	memset(text, 'x', 2000);
	text[2000] = 0;
	ck_assert_int_eq(file(text), -1);
	ck_assert_ptr_nonnull(strstr(err.msg, "vm.conf:1: unknown option xxx"));
	for (i = 0; i < 500; i++)
		at += sprintf(at, "cpus = %d\n", i);
	ck_assert_int_eq(file(text), 0);
	ck_assert_uint_eq(target.cpus, 499);
	free(text);
}
END_TEST

/* All words are understood before the first is set, and before a file is read. */
START_TEST(help_and_nonsense_first)
{
	ck_assert_int_eq(parse("--help"), 1);
	ck_assert_int_eq(parse("--kernal"), -1);
	ck_assert_str_eq(err.msg, "unknown option --kernal; did you mean --kernel?");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("options_file");
	TCase *tc = tcase_create("options_file");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, all_kinds);
	tcase_add_loop_test(tc, says_nothing, 0, ARRAY_SIZE(nothing));
	tcase_add_test(tc, quotes);
	tcase_add_test(tc, flags_off);
	tcase_add_test(tc, command_line_wins);
	tcase_add_loop_test(tc, refusals, 0, ARRAY_SIZE(refused));
	tcase_add_test(tc, no_text);
	tcase_add_test(tc, no_file);
	tcase_add_test(tc, directory);
	tcase_add_test(tc, too_long);
	tcase_add_test(tc, long_and_many);
	tcase_add_test(tc, help_and_nonsense_first);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
