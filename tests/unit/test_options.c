// SPDX-License-Identifier: GPL-2.0-only
/*
 * Options: parsing, messages, help and numbers. Pure functions; each test parses
 * one command line into one struct.
 */
#include "lkvm/options.h"

#include "unit.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct target {
	const char *kernel;
	const char *params;
	unsigned int cpus;
	uint64_t mem;
	bool rng;
	bool balloon;
	bool color;
	int disks;
	char last_disk[32];
};

static int set_mem(void *target, const struct option_spec *opt, const char *value, bool on,
		   struct error *err)
{
	struct target *t = target;

	(void)opt;
	(void)on;
	return parse_size(value, MIB, &t->mem, err);
}

static int set_disk(void *target, const struct option_spec *opt, const char *value, bool on,
		    struct error *err)
{
	struct target *t = target;

	(void)opt;
	(void)on;
	if (!*value)
		return fail(err, "a path is missing");
	t->disks++;
	snprintf(t->last_disk, sizeof(t->last_disk), "%s", value);
	return 0;
}

static const struct option_spec rows[] = {
	{.name = "kernel",
	 .letter = 'k',
	 .arg = "FILE",
	 .group = "Loading",
	 .help = "Kernel image: Image, compressed Image, EFI zboot Image or ELF",
	 .set = option_set_string,
	 .offset = offsetof(struct target, kernel)},
	{.name = "params",
	 .letter = 'p',
	 .arg = "TEXT",
	 .help = "Kernel command line",
	 .set = option_set_string,
	 .offset = offsetof(struct target, params)},
	{.name = "cpus",
	 .letter = 'c',
	 .arg = "N",
	 .group = "Machine",
	 .help = "How many virtual CPUs",
	 .set = option_set_uint,
	 .offset = offsetof(struct target, cpus)},
	{.name = "mem",
	 .letter = 'm',
	 .arg = "SIZE[@GPA]",
	 .help = "Memory, in MiB without a suffix; may be repeated, one region each, and this "
		 "sentence goes on so that it has to be wrapped more than once by the printer",
	 .set = set_mem},
	{.name = "memory", .arg = "SIZE", .help = "The same", .set = set_mem, .hidden = true},
	{.name = "rng",
	 .letter = 'r',
	 .help = "A random number device",
	 .set = option_set_flag,
	 .offset = offsetof(struct target, rng)},
	{.name = "balloon",
	 .letter = 'b',
	 .help = "A balloon",
	 .set = option_set_flag,
	 .offset = offsetof(struct target, balloon)},
	{.name = "color",
	 .help = "Colours…",
	 .set = option_set_flag,
	 .negatable = true,
	 .offset = offsetof(struct target, color)},
	{.name = "network",
	 .letter = 'n',
	 .arg = "mode=none|user|tap|fd|vhost-user[,guest_mac=…][,tapif=…][,script=…][,fd=…]",
	 .help = "A network device",
	 .set = set_disk},
	{.name = "disk", .letter = 'd', .arg = "PATH[,ro]", .help = "A disk", .set = set_disk},
	{0},
};

static const struct option_table table = {
	.command = "run",
	.operands = "[KERNEL] [-- CMD…]",
	.summary = "Start a virtual machine in the foreground and stay until it ends, which is "
		   "said in more words than one line holds.",
	.rows = rows,
};

#define MAX_WORDS 16

static struct target target;
static struct operands ops;
static struct error err;

/* Split @line at spaces ('' is an empty word) and parse it. */
static char *words[MAX_WORDS + 1];
static char line_buf[256];

static int parse_with(const struct option_table *t, const char *line)
{
	int argc = 0;
	char *save = NULL;

	snprintf(line_buf, sizeof(line_buf), "%s", line);
	for (char *w = strtok_r(line_buf, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		ck_assert_int_lt(argc, MAX_WORDS);
		if (!strcmp(w, "''"))
			*w = 0;
		words[argc++] = w;
	}
	words[argc] = NULL;
	operands_free(&ops);
	memset(&target, 0, sizeof(target));
	memset(&err, 0, sizeof(err));
	return options_parse(t, &target, argc, words, &ops, &err);
}

static int parse(const char *line)
{
	return parse_with(&table, line);
}

static void teardown(void)
{
	operands_free(&ops);
}

START_TEST(no_words)
{
	ck_assert_int_eq(parse(""), 0);
	ck_assert_int_eq(ops.argc, 0);
	ck_assert_ptr_null(ops.argv[0]);
	ck_assert_ptr_null(ops.rest);
	ck_assert_int_eq(ops.nr_rest, 0);
}
END_TEST

/* Every spelling of a value gives the same. */
static const char *const kernel_lines[] = {
	"--kernel Image", "--kernel=Image", "-k Image", "-kImage", "-rk Image", "-rbkImage",
};

START_TEST(value_spellings)
{
	ck_assert_int_eq(parse(kernel_lines[_i]), 0);
	ck_assert_str_eq(target.kernel, "Image");
	ck_assert_int_eq(ops.argc, 0);
}
END_TEST

/* A value that would be dropped is refused: nothing is ignored. */
START_TEST(given_twice)
{
	ck_assert_int_eq(parse("--kernel other -k Image"), -1);
	ck_assert_ptr_nonnull(strstr(err.msg, "given twice, the first time as other"));
}
END_TEST

START_TEST(empty_value)
{
	ck_assert_int_eq(parse("--params="), 0);
	ck_assert_str_eq(target.params, "");
	ck_assert_int_eq(parse("-p ''"), 0);
	ck_assert_str_eq(target.params, "");
}
END_TEST

START_TEST(value_holds_equals_sign)
{
	ck_assert_int_eq(parse("--params=root=/dev/vda"), 0);
	ck_assert_str_eq(target.params, "root=/dev/vda");
	ck_assert_int_eq(parse("-p root=/dev/vda"), 0);
	ck_assert_str_eq(target.params, "root=/dev/vda");
}
END_TEST

START_TEST(value_that_looks_like_an_option)
{
	ck_assert_int_eq(parse("--params -v"), 0);
	ck_assert_str_eq(target.params, "-v");
	ck_assert_int_eq(parse("--params --verbose"), 0);
	ck_assert_str_eq(target.params, "--verbose");
	ck_assert_int_eq(parse("--params=--cpus"), 0);
	ck_assert_str_eq(target.params, "--cpus");
	ck_assert_int_eq(parse("-p -"), 0);
	ck_assert_str_eq(target.params, "-");
}
END_TEST

START_TEST(bundled_flags)
{
	ck_assert_int_eq(parse("-rb"), 0);
	ck_assert(target.rng && target.balloon);
	ck_assert_int_eq(parse("-bc4"), 0);
	ck_assert(target.balloon && !target.rng);
	ck_assert_uint_eq(target.cpus, 4);
}
END_TEST

START_TEST(negated_flag)
{
	ck_assert_int_eq(parse("--color"), 0);
	ck_assert(target.color);
	ck_assert_int_eq(parse("--color --no-color"), 0);
	ck_assert(!target.color);
	ck_assert_int_eq(parse("--no-color --color"), 0);
	ck_assert(target.color);
}
END_TEST

START_TEST(repeated_option)
{
	ck_assert_int_eq(parse("-d a -d b,ro --disk=c"), 0);
	ck_assert_int_eq(target.disks, 3);
	ck_assert_str_eq(target.last_disk, "c");
}
END_TEST

START_TEST(operands_between_options)
{
	ck_assert_int_eq(parse("one -c 2 two - --rng three"), 0);
	ck_assert_int_eq(ops.argc, 4);
	ck_assert_str_eq(ops.argv[0], "one");
	ck_assert_str_eq(ops.argv[1], "two");
	ck_assert_str_eq(ops.argv[2], "-");
	ck_assert_str_eq(ops.argv[3], "three");
	ck_assert_ptr_null(ops.argv[4]);
	ck_assert_ptr_null(ops.rest);
	ck_assert(target.rng);
}
END_TEST

START_TEST(rest_after_dashes)
{
	ck_assert_int_eq(parse("Image -- make -j2 --rng -- x"), 0);
	ck_assert_int_eq(ops.argc, 1);
	ck_assert_int_eq(ops.nr_rest, 5);
	ck_assert_str_eq(ops.rest[0], "make");
	ck_assert_str_eq(ops.rest[3], "--");
	ck_assert_str_eq(ops.rest[4], "x");
	ck_assert(!target.rng);
	ck_assert_int_eq(parse("-r --"), 0);
	ck_assert_ptr_nonnull(ops.rest);
	ck_assert_int_eq(ops.nr_rest, 0);
}
END_TEST

START_TEST(stop_at_operand)
{
	struct option_table t = table;

	t.stop_at_operand = true;
	ck_assert_int_eq(parse_with(&t, "-r run --rng -- -h"), 0);
	ck_assert_int_eq(ops.argc, 4);
	ck_assert_str_eq(ops.argv[1], "--rng");
	ck_assert_str_eq(ops.argv[2], "--");
	ck_assert_str_eq(ops.argv[3], "-h");
	ck_assert_ptr_null(ops.rest);
}
END_TEST

START_TEST(operands_refused)
{
	struct option_table t = table;

	t.operands = NULL;
	ck_assert_int_eq(parse_with(&t, "-r"), 0);
	ck_assert_int_eq(parse_with(&t, "-r --"), 0);
	ck_assert_int_eq(parse_with(&t, "-r Image"), -1);
	ck_assert_str_eq(err.msg, "'Image' is no option of lkvm run, which takes nothing else");
	ck_assert_int_eq(parse_with(&t, "-r -- sh"), -1);
	ck_assert_str_eq(err.msg, "'sh' is no option of lkvm run, which takes nothing else");
}
END_TEST

static const char *const help_lines[] = {
	"-h", "--help", "-rh", "-c 4 --help --nonsense", "Image -h",
};

START_TEST(help_asked)
{
	ck_assert_int_eq(parse(help_lines[_i]), 1);
	ck_assert_str_eq(err.msg, "");
	ck_assert_ptr_null(ops.argv);
}
END_TEST

static int set_own_help(void *t, const struct option_spec *opt, const char *value, bool on,
			struct error *e)
{
	(void)opt;
	(void)value;
	(void)e;
	((struct target *)t)->rng = on;
	return 0;
}

START_TEST(own_letter_h)
{
	static const struct option_spec own_rows[] = {
		{.name = "human", .letter = 'h', .help = "x", .set = set_own_help},
		{0},
	};
	struct option_table t = {.command = "list", .rows = own_rows};

	ck_assert_int_eq(parse_with(&t, "-h"), 0);
	ck_assert(target.rng);
	ck_assert_int_eq(parse_with(&t, "--help"), 1);
}
END_TEST

/* What is refused, and in which words. */
static const struct {
	const char *line, *message;
} refused[] = {
	{"--kernal Image", "unknown option --kernal; did you mean --kernel?"},
	{"--kernal=Image", "unknown option --kernal; did you mean --kernel?"},
	{"--krenel=x", "unknown option --krenel; did you mean --kernel?"},
	{"--cpu 4", "unknown option --cpu; did you mean --cpus?"},
	{"--CPUS 4", "unknown option --CPUS; did you mean --cpus?"},
	{"--net x", "unknown option --net; did you mean --network?"},
	{"--no-colour", "unknown option --no-colour; did you mean --no-color?"},
	{"--hlep", "unknown option --hlep; did you mean --help?"},
	{"--no-rng", "unknown option --no-rng; see lkvm run --help"},
	{"--nothing-like-it", "unknown option --nothing-like-it; see lkvm run --help"},
	{"--=x", "unknown option --; see lkvm run --help"},
	{"-z", "unknown option -z; see lkvm run --help"},
	{"-rz", "unknown option -z in -rz; see lkvm run --help"},
	{"-kernel Image", "unknown option -kernel; did you mean --kernel?"},
	{"-mem=64", "unknown option -mem; did you mean --mem?"},
	{"--kernel", "--kernel needs a value: FILE"},
	{"-r -k", "--kernel needs a value: FILE"},
	{"-k --cpus 4",
	 "--kernel needs a value: FILE; '--cpus' follows (write --kernel=--cpus to mean that)"},
	{"-k --cpus=4",
	 "--kernel needs a value: FILE; '--cpus=4' follows (write --kernel=--cpus=4 to mean "
	 "that)"},
	{"-k -- sh", "--kernel needs a value: FILE; '--' follows (write --kernel=-- to mean that)"},
	{"--rng=yes", "--rng takes no value, 'yes' was given"},
	{"--rng=", "--rng takes no value, '' was given"},
	{"--no-color=1", "--no-color takes no value, '1' was given"},
	{"--help=run", "--help takes no value, 'run' was given"},
	{"--cpus abc", "--cpus abc: not a whole number"},
	{"-c abc", "--cpus abc: not a whole number"},
	{"-c=4", "--cpus =4: not a whole number"},
	{"--cpus -1", "--cpus -1: below 0"},
	{"--cpus 4294967296", "--cpus 4294967296: above the limit of 4294967295"},
	{"--cpus=", "--cpus '': not a whole number"},
	{"--mem 1X", "--mem 1X: not a size such as 512M or 2G"},
	{"--mem 16777216T", "--mem 16777216T: more bytes than 64 bits can count"},
	{"-d ''", "--disk '': a path is missing"},
};

START_TEST(refusals)
{
	ck_assert_int_eq(parse(refused[_i].line), -1);
	ck_assert_str_eq(err.msg, refused[_i].message);
	ck_assert_ptr_null(ops.argv);
}
END_TEST

START_TEST(long_words)
{
	char value[2000], option[2010];
	char *argv[3];

	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = 0;
	argv[0] = strdup("--cpus");
	argv[1] = value;
	ck_assert_int_eq(options_parse(&table, &target, 2, argv, &ops, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.msg, "...: not a whole number"));
	snprintf(option, sizeof(option), "--%s", value);
	argv[1] = option;
	ck_assert_int_eq(options_parse(&table, &target, 1, argv + 1, &ops, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.msg, "see lkvm run --help"));
	option[1] = 'x'; /* a bundle of 2000 unknown letters */
	ck_assert_int_eq(options_parse(&table, &target, 1, argv + 1, &ops, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.msg, "unknown option -x"));
	free(argv[0]);
}
END_TEST

START_TEST(no_error_struct)
{
	char *argv[] = {strdup("--kernal")};

	ck_assert_int_eq(options_parse(&table, &target, 1, argv, &ops, NULL), -1);
	free(argv[0]);
}
END_TEST

static const struct {
	const char *word, *nearest;
} nearest[] = {
	{"kernal", "kernel"},
	{"kernle", "kernel"},
	{"kerenl", "kernel"},
	{"kern", "kernel"},
	{"kernel-image", "kernel"},
	{"kernels", "kernel"},
	{"cpus", "cpus"},
	{"cpu", "cpus"},
	{"vcpus", "cpus"},
	{"Kernel", "kernel"},
	{"vfio_pci", "vfio-pci"},
	{"disable-sbi-bdcn", "disable-sbi-dbcn"},
	{"isa", "isa"},
	{"ias", "isa"},
	{"x", NULL},
	{"", NULL},
	{"zzzz", NULL},
	{"consolation", NULL},
	{"foo", NULL},
};

START_TEST(nearest_names)
{
	static const char *const names[] = {"kernel",		"cpus",	    "isa",
					    "initrd",		"vfio-pci", "disable-sbi-dbcn",
					    "disable-sbi-susp", NULL};
	const char *got = nearest_name(nearest[_i].word, names);

	if (nearest[_i].nearest)
		ck_assert_pstr_eq(got, nearest[_i].nearest);
	else
		ck_assert_ptr_null(got);
}
END_TEST

START_TEST(nearest_of_long_words)
{
	char word[300];
	const char *const names[] = {word, "kernel", NULL};

	memset(word, 'k', sizeof(word));
	word[sizeof(word) - 1] = 0;
	ck_assert_ptr_null(nearest_name(word, names));
	ck_assert_str_eq(nearest_name("kernal", names), "kernel");
	word[64] = 0;
	ck_assert_ptr_eq(nearest_name(word, names), word);
}
END_TEST

static const struct {
	const char *text;
	uint64_t max;
	uint64_t value;
	const char *message;
} uints[] = {
	{"0", 0, 0, NULL},
	{"7", 10, 7, NULL},
	{"010", 10, 10, NULL},
	{"0x10", 16, 16, NULL},
	{"0XfF", 255, 255, NULL},
	{"18446744073709551615", UINT64_MAX, UINT64_MAX, NULL},
	{"0xffffffffffffffff", UINT64_MAX, UINT64_MAX, NULL},
	{"11", 10, 0, "above the limit of 10"},
	{"18446744073709551616", UINT64_MAX, 0, "above the limit of 18446744073709551615"},
	{"99999999999999999999999", 10, 0, "above the limit of 10"},
	{"0x10000000000000000", UINT64_MAX, 0, "above the limit of 18446744073709551615"},
	{"", 10, 0, "not a whole number"},
	{" 1", 10, 0, "not a whole number"},
	{"1 ", 10, 0, "not a whole number"},
	{"+1", 10, 0, "not a whole number"},
	{"1.5", 10, 0, "not a whole number"},
	{"0x", 10, 0, "not a whole number"},
	{"0xg", 10, 0, "not a whole number"},
	{"a", 10, 0, "not a whole number"},
	{"12a", 99, 0, "not a whole number"},
	{"-", 10, 0, "not a whole number"},
	{"-x", 10, 0, "not a whole number"},
	{"-1", 10, 0, "below 0"},
	{"-0x1", 10, 0, "below 0"},
};

START_TEST(whole_numbers)
{
	uint64_t v = 42;
	int r = parse_uint(uints[_i].text, uints[_i].max, &v, &err);

	if (uints[_i].message) {
		ck_assert_int_eq(r, -1);
		ck_assert_str_eq(err.msg, uints[_i].message);
		ck_assert_uint_eq(v, 42);
	} else {
		ck_assert_int_eq(r, 0);
		ck_assert_uint_eq(v, uints[_i].value);
	}
}
END_TEST

#define NOT_A_SIZE "not a size such as 512M or 2G"
#define TOO_BIG "more bytes than 64 bits can count"

static const struct {
	const char *text;
	uint64_t unit;
	uint64_t bytes;
	const char *message;
} sizes[] = {
	{"512", 1, 512, NULL},
	{"512", MIB, 512 * MIB, NULL},
	{"512B", MIB, 512, NULL},
	{"64k", 1, 64 * KIB, NULL},
	{"64K", MIB, 64 * KIB, NULL},
	{"64KiB", 1, 64 * KIB, NULL},
	{"64kb", 1, 64 * KIB, NULL},
	{"3M", 1, 3 * MIB, NULL},
	{"1G", MIB, GIB, NULL},
	{"1g", MIB, GIB, NULL},
	{"2TiB", 1, 2 * TIB, NULL},
	{"0", MIB, 0, NULL},
	{"0x1000", 1, 0x1000, NULL},
	{"0x10M", 1, 16 * MIB, NULL},
	{"0x1B", 1, 27, NULL},
	{"16777215T", 1, 16777215 * TIB, NULL},
	{"18446744073709551615", 1, UINT64_MAX, NULL},
	{"17592186044415", MIB, UINT64_MAX - MIB + 1, NULL},
	{"17592186044416", MIB, 0, TOO_BIG},
	{"16777216T", 1, 0, TOO_BIG},
	{"18446744073709551616", 1, 0, TOO_BIG},
	{"", MIB, 0, NOT_A_SIZE},
	{"G", MIB, 0, NOT_A_SIZE},
	{"1.5G", MIB, 0, NOT_A_SIZE},
	{"1GG", MIB, 0, NOT_A_SIZE},
	{"1Gi", MIB, 0, NOT_A_SIZE},
	{"1iB", MIB, 0, NOT_A_SIZE},
	{"1X", MIB, 0, NOT_A_SIZE},
	{"1 G", MIB, 0, NOT_A_SIZE},
	{"512MB/s", MIB, 0, NOT_A_SIZE},
	{"-1G", MIB, 0, "below 0"},
};

START_TEST(byte_sizes)
{
	uint64_t v = 42;
	int r = parse_size(sizes[_i].text, sizes[_i].unit, &v, &err);

	if (sizes[_i].message) {
		ck_assert_int_eq(r, -1);
		ck_assert_str_eq(err.msg, sizes[_i].message);
		ck_assert_uint_eq(v, 42);
	} else {
		ck_assert_int_eq(r, 0);
		ck_assert_uint_eq(v, sizes[_i].bytes);
	}
}
END_TEST

/* The help page as text, with no line wider than 80 columns. */
static char *help_text(const struct option_table *t)
{
	static char text[16384];
	FILE *file = tmpfile();
	int column = 0;
	size_t n;

	options_help(t, fileno(file));
	rewind(file);
	n = fread(text, 1, sizeof(text) - 1, file);
	text[n] = 0;
	fclose(file);
	for (const char *p = text; *p; p++) {
		if (*p == '\n') {
			if (p > text)
				ck_assert_msg(p[-1] != ' ', "trailing space:\n%s", text);
			column = 0;
		} else if (((unsigned char)*p & 0xc0) != 0x80) {
			ck_assert_msg(++column <= 80, "too wide:\n%s", text);
		}
	}
	return text;
}

START_TEST(help_page)
{
	const char *text = help_text(&table);

	ck_assert_ptr_eq(strstr(text, "Usage: lkvm run [options] [KERNEL] [-- CMD…]\n\nStart a"),
			 text);
	ck_assert_ptr_nonnull(strstr(text, "\nLoading:\n  -k, --kernel FILE"));
	ck_assert_ptr_nonnull(strstr(text, "\nMachine:\n  -c, --cpus N"));
	ck_assert_ptr_nonnull(strstr(text, "\n  -m, --mem SIZE[@GPA]        Memory, in MiB"));
	ck_assert_ptr_nonnull(strstr(text, "\n      --[no-]color            Colours…\n"));
	ck_assert_ptr_nonnull(strstr(text, "\n  -h, --help                  Show this help\n"));
	ck_assert_ptr_null(strstr(text, "--memory"));
}
END_TEST

START_TEST(help_with_very_long_words)
{
	static const struct option_spec long_rows[] = {
		{.name = "a-name-that-leaves-no-room-for-help-beside-it",
		 .letter = 'a',
		 .arg = "VALUE",
		 .help = "Help",
		 .set = option_set_string},
		{.name = "x",
		 .set = option_set_string,
		 .arg = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
			"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
			"a",
		 .help = "ééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééé"},
		{0},
	};
	struct option_table t = {.command = "x", .rows = long_rows};
	const char *text = help_text(&t);

	ck_assert_ptr_nonnull(strstr(text, "\nOptions:\n"));
	ck_assert_ptr_nonnull(strstr(text, "--a-name-that-leaves-no-room-for-help-beside-it VALUE\n"
					   "                              Help\n"));
}
END_TEST

START_TEST(help_without_rows)
{
	static const struct option_spec no_rows[] = {{0}};
	struct option_table t = {.command = "version", .rows = no_rows};

	ck_assert_str_eq(help_text(&t),
			 "Usage: lkvm version\n\n  -h, --help                  Show this help\n");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("options");
	TCase *tc = tcase_create("parse");

	tcase_add_checked_fixture(tc, NULL, teardown);
	tcase_add_test(tc, no_words);
	tcase_add_loop_test(tc, value_spellings, 0, ARRAY_SIZE(kernel_lines));
	tcase_add_test(tc, given_twice);
	tcase_add_test(tc, empty_value);
	tcase_add_test(tc, value_holds_equals_sign);
	tcase_add_test(tc, value_that_looks_like_an_option);
	tcase_add_test(tc, bundled_flags);
	tcase_add_test(tc, negated_flag);
	tcase_add_test(tc, repeated_option);
	tcase_add_test(tc, operands_between_options);
	tcase_add_test(tc, rest_after_dashes);
	tcase_add_test(tc, stop_at_operand);
	tcase_add_test(tc, operands_refused);
	tcase_add_loop_test(tc, help_asked, 0, ARRAY_SIZE(help_lines));
	tcase_add_test(tc, own_letter_h);
	tcase_add_loop_test(tc, refusals, 0, ARRAY_SIZE(refused));
	tcase_add_test(tc, long_words);
	tcase_add_test(tc, no_error_struct);
	suite_add_tcase(suite, tc);

	tc = tcase_create("names");
	tcase_add_loop_test(tc, nearest_names, 0, ARRAY_SIZE(nearest));
	tcase_add_test(tc, nearest_of_long_words);
	suite_add_tcase(suite, tc);

	tc = tcase_create("numbers");
	tcase_add_loop_test(tc, whole_numbers, 0, ARRAY_SIZE(uints));
	tcase_add_loop_test(tc, byte_sizes, 0, ARRAY_SIZE(sizes));
	suite_add_tcase(suite, tc);

	tc = tcase_create("help");
	tcase_add_test(tc, help_page);
	tcase_add_test(tc, help_with_very_long_words);
	tcase_add_test(tc, help_without_rows);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
