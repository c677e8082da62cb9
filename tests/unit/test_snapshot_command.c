// SPDX-License-Identifier: GPL-2.0-only
/*
 * "lkvm snapshot" as a process of its own, beside a VM that runs: a signal ends it, and leaves no
 * file behind, the old one in place and the VM running; killed at any moment it leaves a good file
 * in place each time; and what it says of files, as text and as JSON.
 */
#include "command_line.h"
#include "prng.h"
#include "saving_rig.h"
#include "unit.h"

#include "lkvm/control.h"
#include "lkvm/riscv/isa.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct error err;

/* @random: MiB that can't be compressed, so that saving takes its time. */
static void running_vm(struct rig *rig, uint64_t random)
{
	struct prng p = prng_start("memory");
	uint64_t i, *ram;

	rig_init(rig, FAKE_7_2);
	rig->host->programs[0] = snapshot_hello;
	rig->host->host_sbi[SBI_EXT_PMU] = rig->host->host_isa[ISA_EXT_SSCOFPMF] = true;
	rig_create(rig);
	ram = memory_for_write(&rig->vm->mem, RAM, random * MIB);
	for (i = 0; i < random * MIB / sizeof(*ram); i++)
		ram[i] = prng_u64(&p);
	saving_rig_run(rig);
}

static bool runs(const struct rig *rig)
{
	return atomic_load(&rig->vm->gate) == GATE_OPEN;
}

/* Soon: before all of a long save would be over. */
static bool runs_within(const struct rig *rig, unsigned int ms)
{
	for (; ms && !runs(rig); ms -= ms < 10 ? ms : 10)
		usleep(10000);
	return runs(rig);
}

/* A process of its own that carries out @line. */
static pid_t begin(const char *line)
{
	const struct rlimit no_core = {0, 0};
	struct command_line c = {.host = NULL};
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid)
		return pid;
	setrlimit(RLIMIT_CORE, &no_core);
	/* It prints where the file is. */
	if (!freopen("/dev/null", "w", stdout))
		_exit(77);
	_exit(command_line_try(&c, line, false));
}

static int status_of(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

/* The temporary file's bytes on the disk, or -1 where there is none. */
static long long unfinished(void)
{
	DIR *d = opendir(saving_dir);
	struct dirent *e;
	struct stat st;
	long long blocks = -1;

	while ((e = readdir(d)))
		if (!strncmp(e->d_name, ".file.lkvm-", 11) && !fstatat(dirfd(d), e->d_name, &st, 0))
			blocks = st.st_blocks;
	closedir(d);
	return blocks;
}

static void remove_unfinished(void)
{
	DIR *d = opendir(saving_dir);
	struct dirent *e;

	while ((e = readdir(d)))
		if (!strncmp(e->d_name, ".file.lkvm-", 11))
			unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
}

static void put_old(void)
{
	int fd = open(saving_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_eq(write(fd, "old", 3), 3);
	close(fd);
}

static void old_stands(void)
{
	char text[8] = "";
	int fd = open(saving_path, O_RDONLY | O_CLOEXEC);

	ck_assert_int_eq(read(fd, text, sizeof(text) - 1), 3);
	ck_assert_str_eq(text, "old");
	close(fd);
}

static const struct {
	int sig;
	const char *options;
} ends[] = {
	{SIGINT, ""},
	{SIGTERM, "--pause "},
	{SIGHUP, "--kill "},
	{SIGQUIT, ""},
};

/* In the middle of the writing. */
START_TEST(signals)
{
	struct rig rig;
	char line[160];
	int status;
	pid_t pid;

	/* What a background job of a script ignores is left alone. */
	signal(ends[_i].sig, SIG_DFL);
	running_vm(&rig, 56);
	put_old();
	snprintf(line, sizeof(line), "snapshot %s--compress zlib rig %s", ends[_i].options,
		 saving_path);
	pid = begin(line);
	while (unfinished() <= 0)
		usleep(1000);
	ck_assert(!runs(&rig));
	ck_assert_int_eq(kill(pid, ends[_i].sig), 0);
	status = status_of(pid);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), ends[_i].sig);
	ck_assert_int_eq(unfinished(), -1);
	old_stands();
	ck_assert(runs_within(&rig, 20000));
	ck_assert(fake_wait_idle(rig.host, 0));
	ck_assert_uint_eq(rig.vm->paused, 0);
	quit(&rig);
}
END_TEST

/* One that was ignored stays so: nohup(1). */
START_TEST(ignored)
{
	struct rig rig;
	char line[160];
	int status;
	pid_t pid;

	signal(SIGHUP, SIG_IGN);
	running_vm(&rig, 8);
	snprintf(line, sizeof(line), "snapshot --compress zlib rig %s", saving_path);
	pid = begin(line);
	while (unfinished() < 0)
		usleep(1000);
	ck_assert_int_eq(kill(pid, SIGHUP), 0);
	status = status_of(pid);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
	ck_assert(runs_within(&rig, 20000));
	signal(SIGHUP, SIG_DFL);
	quit(&rig);
}
END_TEST

static void good_file(uint8_t id[SNAPSHOT_ID_SIZE])
{
	struct snapshot_file f;
	int fd = open(saving_path, O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_msg(!snapshot_open(&f, fd, &err), "%s", err.msg);
	ck_assert_msg(!snapshot_verify(&f, &err), "%s", err.msg);
	memcpy(id, f.header.id, SNAPSHOT_ID_SIZE);
	snapshot_close(&f);
	close(fd);
}

struct word {
	uint64_t value;
	bool written;
};

/* A save that is under way reads on a thread of its own: not now. */
static void write_word(struct rig *rig, void *arg)
{
	struct word *w = arg;

	w->written = !rig->vm->reader;
	if (w->written)
		*(uint64_t *)memory_for_write(&rig->vm->mem, RAM + 4096, 8) = w->value;
}

/* The VM has something else to save. The old save of one that was killed may still be ending. */
static bool changes_within(struct rig *rig, uint64_t value, unsigned int ms)
{
	struct word w = {.value = value};

	for (;; ms -= 10) {
		rig_call(rig, write_word, &w);
		if (w.written || ms < 10)
			return w.written;
		usleep(10000);
	}
}

/* No signal to catch: a file may be left beside it, but what is in its place is good. */
START_TEST(killed)
{
	uint8_t id[SNAPSHOT_ID_SIZE], last[SNAPSHOT_ID_SIZE] = {0};
	/* All 200 where somebody wants the long form. */
	unsigned int i, rounds = getenv("LKVM_LONG") ? 200 : 40, early = 0, replaced = 0, us;
	struct prng p = prng_start("killed");
	uint64_t before;
	struct rig rig;
	char line[160];

	running_vm(&rig, 2);
	snprintf(line, sizeof(line), "snapshot rig %s", saving_path);
	before = now_ns();
	ck_assert_int_eq(status_of(begin(line)), 0);
	us = (unsigned int)((now_ns() - before) / 1000);
	for (i = 0; i < rounds; i++) {
		pid_t pid;

		ck_assert(changes_within(&rig, i + 1, 20000));
		pid = begin(line);
		/* A moment of the time that it takes, and a bit beyond. */
		usleep(prng_below(&p, us + us / 4));
		kill(pid, SIGKILL);
		early += WIFSIGNALED(status_of(pid));
		good_file(id);
		replaced += memcmp(id, last, sizeof(id)) != 0;
		memcpy(last, id, sizeof(id));
		remove_unfinished();
	}
	ck_assert(runs_within(&rig, 20000));
	printf("killed: %u of %u before the end, the file was replaced %u times\n", early, rounds,
	       replaced);
	quit(&rig);
}
END_TEST

static json_t *said_json(const char *line)
{
	struct command_line c = {.host = NULL};
	char text[4096];
	int out = dup(STDOUT_FILENO), tmp = open(saving_dir, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	json_t *object;
	long len;

	fflush(stdout);
	dup2(tmp, STDOUT_FILENO);
	ck_assert_msg(!command_line_try(&c, line, false), "%s", c.message);
	fflush(stdout);
	dup2(out, STDOUT_FILENO);
	close(out);
	len = pread_all(tmp, text, sizeof(text), 0);
	close(tmp);
	object = json_loadb(text, (size_t)len, 0, NULL);
	ck_assert_msg(object, "%.*s", (int)len, text);
	return object;
}

START_TEST(looking)
{
	struct command_line c = {.host = NULL};
	json_t *info, *machine;
	struct rig rig;
	char line[160];

	running_vm(&rig, 2);
	/* What the host does not give is named to who saves. */
	snprintf(line, sizeof(line), "snapshot --json rig %s", saving_path);
	info = said_json(line);
	ck_assert_uint_eq(json_array_size(json_object_get(info, "lost")), 1);
	ck_assert_ptr_nonnull(strstr(
		json_string_value(json_array_get(json_object_get(info, "lost"), 0)), "SBI PMU"));
	json_decref(info);
	snprintf(line, sizeof(line), "snapshot info --json %s", saving_path);
	info = said_json(line);
	ck_assert_str_eq(json_string_value(json_object_get(info, "name")), "rig");
	ck_assert_uint_eq(strlen(json_string_value(json_object_get(info, "id"))), 32);
	ck_assert(json_is_null(json_object_get(info, "parent")));
	ck_assert_str_eq(json_string_value(json_object_get(info, "compress")), "none");
	ck_assert_int_ge(json_integer_value(json_object_get(info, "used")), 2 * (int)MIB);
	machine = json_object_get(info, "machine");
	ck_assert_int_eq(json_integer_value(json_object_get(machine, "vcpus")), 1);
	ck_assert_str_eq(json_string_value(json_object_get(machine, "irqchip")), "plic");
	ck_assert(json_is_array(json_object_get(machine, "sbi")));
	json_decref(info);
	snprintf(line, sizeof(line), "snapshot verify --json %s", saving_path);
	info = said_json(line);
	ck_assert(json_is_true(json_object_get(info, "good")));
	json_decref(info);
	snprintf(line, sizeof(line), "snapshot info --kill %s", saving_path);
	ck_assert_int_eq(command_line_try(&c, line, false), 1);
	ck_assert_ptr_nonnull(strstr(c.message, "nothing is saved"));
	quit(&rig);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("snapshot_command");
	TCase *tc = tcase_create("snapshot_command");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, saving_rig_begin, saving_rig_end);
	tcase_add_loop_test(tc, signals, 0, (int)ARRAY_SIZE(ends));
	tcase_add_test(tc, ignored);
	tcase_add_test(tc, killed);
	tcase_add_test(tc, looking);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
