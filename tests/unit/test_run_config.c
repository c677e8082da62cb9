// SPDX-License-Identifier: GPL-2.0-only
/*
 * "lkvm run --config FILE": the file's options and those of the command line become one machine.
 */
#include "command_line.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[64];
static struct command_line line;

static void setup(void)
{
	FILE *f;

	snprintf(dir, sizeof(dir), "/tmp/lkvm-config-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	f = fopen("web.conf", "w");
	ck_assert_ptr_nonnull(f);
	fputs("# a machine\n"
	      "kernel = Image\n"
	      "params = root=/dev/vda  quiet\n"
	      "cpus = 2\n"
	      "mem = 256M\n"
	      "mem = 128M@0x30000000000\n"
	      "console = virtio\n"
	      "disk = root.img,serial=root\n"
	      "network = mode=none\n"
	      "rng\n"
	      "disable-sstc\n"
	      "timeout = 60\n",
	      f);
	ck_assert_int_eq(fclose(f), 0);
}

static void teardown(void)
{
	unlink("web.conf");
	rmdir(dir);
}

static const struct {
	const char *words, *plan;
} cases[] = {
	{"run --config web.conf",
	 "kernel=Image params=[root=/dev/vda  quiet] cpus=2 mem=256M mem=128M@0x30000000000 "
	 "console=virtio console[virtio] disk[root.img,serial=root] network[mode=none] rng[] "
	 "timeout=60 without-sstc"},
	/* The command line wins, wherever the file is named; RAM is taken from one of them. */
	{"run -c 4 --config=web.conf -m 1G --console serial -p single --timeout 5",
	 "kernel=Image params=[single] cpus=4 mem=1G disk[root.img,serial=root] "
	 "network[mode=none] rng[] timeout=5 without-sstc"},
	/* What may be repeated is added, what a machine has once is not. */
	{"run --config web.conf -m 1G -p single --console serial -d data.img --rng "
	 "--disable-sbi-pmu",
	 "kernel=Image params=[single] cpus=2 mem=1G disk[root.img,serial=root] "
	 "network[mode=none] disk[data.img] rng[] timeout=60 without-sstc without-sbi-pmu"},
	/* The kernel may also be an operand, and no word at all be needed for run. */
	{"--config web.conf ./other -m 1G -p single --console serial",
	 "kernel=./other params=[single] cpus=2 mem=1G disk[root.img,serial=root] "
	 "network[mode=none] rng[] timeout=60 without-sstc"},
};

START_TEST(file_and_words)
{
	ck_assert_int_eq(command_line_try(&line, cases[_i].words, false), 0);
	ck_assert_str_eq(line.message, "");
	ck_assert_str_eq(line.plan, cases[_i].plan);
}
END_TEST

/* One parser of values: what the command line refuses is refused in the same words. */
static const char *const values[][2] = {
	{"cpus", "0"},		{"cpus", "two"},    {"mem", "1.5G"},	 {"mem", "1M@3"},
	{"hgatp", "sv32"},	{"name", "a b"},    {"timeout", "0"},	 {"gpa-bits", "12"},
	{"loglevel", "loud"},	{"env", "=x"},	    {"on-reboot", "no"}, {"irqchip", "apic"},
	{"custom-mimpid", "x"}, {"console", "tty"},
};

START_TEST(same_words)
{
	const char *name = values[_i][0], *value = values[_i][1];
	char words[128], from_words[512];
	FILE *f = fopen("web.conf", "w");

	ck_assert_ptr_nonnull(f);
	fprintf(f, "kernel = Image\n%s = %s\n", name, value);
	ck_assert_int_eq(fclose(f), 0);
	snprintf(words, sizeof(words), "run -k Image '--%s=%s'", name, value);
	ck_assert_int_eq(command_line_try(&line, words, false), 125);
	ck_assert(!strncmp(line.message, "Fatal: --", 9));
	snprintf(from_words, sizeof(from_words), "Fatal: web.conf:2: %.400s", line.message + 9);
	ck_assert_int_eq(command_line_try(&line, "run --config web.conf", false), 125);
	ck_assert_str_eq(line.message, from_words);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("run_config");
	TCase *tc = tcase_create("run_config");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, file_and_words, 0, ARRAY_SIZE(cases));
	tcase_add_loop_test(tc, same_words, 0, ARRAY_SIZE(values));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
