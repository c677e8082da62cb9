// SPDX-License-Identifier: GPL-2.0-only
/*
 * GDB itself, as people have it (gdb-multiarch), at the stub of a VM that executes
 * instructions, and with a core file of one. The other tests of both speak as we read the
 * documents; here it shows that we read them right. A kernel is debugged in
 * tests/boot/gdb-multiarch.sh. Skipped (77) where there is no gdb-multiarch.
 */
#include "gdb_rig.h"
#include "lkvm/riscv/regs.h"
#include "lkvm/snapshot/dump.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAM "gdb-multiarch"
#define SKIPPED 77
#define LIMIT_MS 60000
#define MAX_COMMANDS 32
/* 3.125, in the format of IEEE 754 */
#define PI_ALMOST UINT64_C(0x4009000000000000)

static struct gdb_rig r;
/* All that it printed. */
static char said[65536];

static void setup(void)
{
	gdb_rig_init(&r, 2);
}

static void teardown(void)
{
	gdb_rig_end(&r);
}

/* Read to the end, or to the time limit: then GDB is killed. */
static void listen_to(pid_t pid, int fd)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	size_t len = 0;
	ssize_t n = 1;

	while (n > 0 && len < sizeof(said) - 1) {
		if (poll(&pfd, 1, LIMIT_MS) != 1) {
			kill(pid, SIGKILL);
			break;
		}
		n = read(fd, said + len, sizeof(said) - 1 - len);
		len += n > 0 ? (size_t)n : 0;
	}
	said[len] = '\0';
}

/* Run it with a command each, up to NULL; what it prints is in said[]. */
static void run_gdb(const char *const *commands)
{
	static const char *const first[] = {"set architecture riscv:rv64", "set height 0",
					    "set width 0", "set confirm off"};
	const char *argv[2 * (MAX_COMMANDS + ARRAY_SIZE(first)) + 4] = {PROGRAM, "-nx", "-batch"};
	extern char **environ;
	posix_spawn_file_actions_t actions;
	size_t argc = 3, i;
	int fds[2], status;
	pid_t pid;

	for (i = 0; i < ARRAY_SIZE(first); i++) {
		argv[argc++] = "-ex";
		argv[argc++] = first[i];
	}
	for (; *commands; commands++) {
		ck_assert_uint_lt(argc, ARRAY_SIZE(argv) - 3);
		argv[argc++] = "-ex";
		argv[argc++] = *commands;
	}
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, fds[1], 1);
	posix_spawn_file_actions_adddup2(&actions, fds[1], 2);
	ck_assert_int_eq(posix_spawnp(&pid, PROGRAM, &actions, NULL, (char **)argv, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	close(fds[1]);
	listen_to(pid, fds[0]);
	close(fds[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status), "gdb: status 0x%x: %s", status,
		      said);
}

/* It printed each of these, in this order. */
static void printed(const char *const *texts)
{
	const char *at = said;

	for (; *texts; texts++) {
		const char *found = strstr(at, *texts);

		ck_assert_msg(found, "\"%s\" is not said, or not there:\n%s", *texts, said);
		at = found + strlen(*texts);
	}
}

/* On the loop's thread, where nothing of the VM changes meanwhile. */
static void set_fs1(struct rig *rig, void *arg)
{
	(void)arg;
	fake_vcpu(rig->host, 1)->fp[9] = PI_ALMOST;
}

/* It goes on without the debugger, and without its breakpoint. */
static void check_after(struct rig *rig, void *arg)
{
	uint32_t word = 0;

	(void)arg;
	ck_assert(memory_read(&rig->vm->mem, 0x80300000, &word, sizeof(word)));
	ck_assert_uint_eq(word, 0x12345678);
	ck_assert_uint_eq(rig->vm->paused, 0);
	ck_assert(memory_read(&rig->vm->mem, CODE_FUNC, &word, sizeof(word)));
	ck_assert_uint_eq(word, 0x00168693);
}

/* A breakpoint, both harts, a backtrace, registers, memory and instructions, steps. */
START_TEST(session)
{
	char target[128];
	const char *const commands[] = {target,
					"info threads",
					"break *0x80200010",
					"continue",
					"printf \"<at %lx from %lx>\\n\", $pc, $ra",
					"backtrace",
					"x/2i $pc",
					"set $a3 = 41",
					"stepi",
					"printf \"<a3 %ld>\\n\", $a3",
					"thread 2",
					"printf \"<stvec %lx priv %d>\\n\", $stvec, $priv",
					"printf \"<fs1 %g>\\n\", $fs1.double",
					"x/2xw 0x80200008",
					"delete",
					"set *(int *)0x80300000 = 0x12345678",
					"detach",
					NULL};
	const char *const answers[] = {"Thread 1 (hart 0, started)",
				       "Thread 2 (hart 1, started)",
				       "Breakpoint 1 at 0x80200010",
				       "<at 80200010 from 8020000c>",
				       "#0  0x0000000080200010 in",
				       "a3,a3,1",
				       "ret",
				       "<a3 42>",
				       "[Switching to thread 2",
				       "<stvec 802000c0 priv 1>",
				       "<fs1 3.125>",
				       "0x80200008:\t0x008000ef\t0xff5ff06f",
				       "[Inferior 1 (Remote target) detached]",
				       NULL};

	snprintf(target, sizeof(target), "target remote %s", r.path);
	gdb_rig_start(&r, true);
	rig_call(&r.rig, set_fs1, NULL);
	run_gdb(commands);
	printed(answers);
	rig_call(&r.rig, check_after, NULL);
	gdb_rig_stop(&r);
}
END_TEST

struct dumped {
	int fd, ret;
};

static void do_dump(struct rig *rig, void *arg)
{
	struct dumped *d = arg;
	struct dump_result result;
	struct snapshot_io io = {.ops = &snapshot_io_linux};

	d->ret = dump_write(rig->vm, io, d->fd, &result, &rig->err);
}

static void set_all(struct rig *rig, void *arg)
{
	unsigned int i;

	(void)arg;
	for (i = 0; i < 2; i++) {
		fake_vcpu(rig->host, i)->core[CORE_PC] = CODE_STAY;
		fake_vcpu(rig->host, i)->core[31] = 0x3131 + i;
		fake_vcpu(rig->host, i)->fp[9] = PI_ALMOST;
	}
	ck_assert(memory_write(&rig->vm->mem, 0x80300000, "a string", 9));
}

START_TEST(core)
{
	struct dumped d = {.ret = -1};
	char path[128], open_it[160];
	const char *const commands[] = {open_it,
					"info threads",
					"thread apply all printf \"<pc %lx t6 %lx>\\n\", $pc, $t6",
					"thread 2",
					"printf \"<fs1 %g>\\n\", $fs1.double",
					"info registers pc sp",
					"x/s 0x80300000",
					"x/2i 0x80200010",
					NULL};
	const char *const answers[] = {"Thread",
				       "<pc 802000c4 t6 3132>",
				       "<pc 802000c4 t6 3131>",
				       "[Switching to thread 2",
				       "<fs1 3.125>",
				       "pc             0x802000c4",
				       "\"a string\"",
				       "a3,a3,1",
				       "ret",
				       NULL};

	gdb_rig_start(&r, true);
	rig_call(&r.rig, set_all, NULL);
	snprintf(path, sizeof(path), "%s/core", r.dir);
	d.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(d.fd, 0);
	rig_call(&r.rig, do_dump, &d);
	ck_assert_msg(!d.ret, "%s", r.rig.err.msg);
	close(d.fd);
	snprintf(open_it, sizeof(open_it), "core-file %s", path);
	run_gdb(commands);
	unlink(path);
	printed(answers);
	gdb_rig_stop(&r);
}
END_TEST

static bool is_there(void)
{
	const char *path = getenv("PATH");
	char file[4096];
	size_t len;

	for (; path && *path; path += len + (path[len] == ':')) {
		len = strcspn(path, ":");
		snprintf(file, sizeof(file), "%.*s/%s", (int)len, path, PROGRAM);
		if (!access(file, X_OK))
			return true;
	}
	return false;
}

int main(void)
{
	Suite *suite = suite_create("gdb_multiarch");
	TCase *tc = tcase_create("gdb_multiarch");

	if (!is_there()) {
		puts("there is no " PROGRAM);
		return SKIPPED;
	}
	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, session);
	tcase_add_test(tc, core);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
