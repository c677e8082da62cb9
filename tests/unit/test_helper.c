// SPDX-License-Identifier: GPL-2.0-only
/*
 * Helper programs, with /bin/sh as one: where they are found, what they inherit and
 * what not, what becomes of their words, and every way in which they or we can end.
 */
#include "unit.h"

#include "lkvm/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct loop *loop;
static struct log out;
static int log_fd[2];
static struct error err;

/* What died() was told. */
static struct {
	unsigned int calls;
	int status;
	struct helper **stop;
} death;

static void on_died(void *opaque, int status)
{
	ck_assert_ptr_eq(opaque, &death);
	death.calls++;
	death.status = status;
	if (death.stop) {
		helper_stop(*death.stop);
		*death.stop = NULL;
	}
}

static void setup(void)
{
	int size = 1 << 20;

	loop = loop_create(NULL);
	ck_assert_ptr_nonnull(loop);
	/* A datagram socket keeps lines apart, and a large one keeps them all. */
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, log_fd), 0);
	setsockopt(log_fd[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	log_init(&out, log_fd[1], LOG_LEVEL_DEBUG);
	memset(&death, 0, sizeof(death));
}

static void teardown(void)
{
	loop_destroy(loop);
	close(log_fd[0]);
	close(log_fd[1]);
}

static const char *next_line(void)
{
	static char line[8192];
	ssize_t n = recv(log_fd[0], line, sizeof(line) - 1, MSG_DONTWAIT);

	line[n > 0 ? n : 0] = 0;
	return line;
}

/* The next line that sh itself wrote, without what is put before and behind it. */
static const char *next_word(void)
{
	static char word[8192];
	const char *line;

	do
		line = next_line();
	while (*line && (strncmp(line, "Debug: sh: ", 11) || strstr(line, ": started ")));
	snprintf(word, sizeof(word), "%s", *line ? line + 11 : "");
	word[strcspn(word, "\n")] = '\0';
	return word;
}

static struct helper *start_fds(const char *script, const int *fds, size_t nr)
{
	char *argv[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c",
			(char *)(uintptr_t)script, NULL};
	const struct helper_request req = {.what = "sh",
					   .argv = argv,
					   .fds = fds,
					   .nr_fds = nr,
					   .died = on_died,
					   .opaque = &death};

	return helper_start(loop, &out, &req, &err);
}

static struct helper *start(const char *script)
{
	struct helper *h = start_fds(script, NULL, 0);

	ck_assert_msg(h != NULL, "%s", err.msg);
	return h;
}

static void until_dead(void)
{
	uint64_t end = now_ns() + 10 * NSEC_PER_SEC;

	while (!death.calls && now_ns() < end)
		loop_run_once(loop, 100);
	ck_assert_uint_eq(death.calls, 1);
}

/* Run @script to its end. */
static void run(const char *script)
{
	struct helper *h = start(script);

	until_dead();
	helper_stop(h);
}

static bool is(void *opaque, const char *line)
{
	return !strcmp(opaque, line);
}

static void wait_for(struct helper *h, const char *line)
{
	ck_assert_int_eq(helper_wait(h, 10000, is, (void *)(uintptr_t)line, &err), 0);
}

static unsigned int open_fds(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* True where the other end of @fd was closed within ten seconds. */
static bool closes(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char c;

	return poll(&p, 1, 10000) == 1 && read(fd, &c, 1) == 0;
}

/* --- finding --------------------------------------------------------------------- */

static void touch(const char *dir, const char *name, mode_t mode)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode);
	ck_assert_int_ge(fd, 0);
	close(fd);
	ck_assert_int_eq(chmod(path, mode), 0);
}

START_TEST(find)
{
	char dir[] = "/tmp/lkvm-test-helper-XXXXXX", value[128], want[128], path[PATH_MAX];

	ck_assert_ptr_nonnull(mkdtemp(dir));
	touch(dir, "mine", 0755);
	touch(dir, "plain", 0644);
	snprintf(value, sizeof(value), "relative::%s:/bin", dir);
	ck_assert_int_eq(setenv("PATH", value, 1), 0);
	snprintf(want, sizeof(want), "%s/mine", dir);
	ck_assert(helper_find("mine", path));
	ck_assert_str_eq(path, want);
	ck_assert(helper_find(want, path));
	ck_assert_str_eq(path, want);
	/* Not a file that can't be started, a directory, what is not there, nothing. */
	ck_assert(geteuid() == 0 || !helper_find("plain", path));
	ck_assert(!helper_find(dir, path));
	ck_assert(!helper_find("/nonexistent/sh", path));
	ck_assert(!helper_find("no-such-program", path));
	ck_assert(!helper_find("", path));
	/* Not in the working directory, whatever PATH says. */
	ck_assert_int_eq(chdir(dir), 0);
	ck_assert_int_eq(setenv("PATH", ":.:", 1), 0);
	ck_assert(!helper_find("mine", path));
	ck_assert_int_eq(unsetenv("PATH"), 0);
	ck_assert(helper_find("sh", path));
	unlink("mine");
	unlink("plain");
	ck_assert_int_eq(chdir("/"), 0);
	rmdir(dir);
}
END_TEST

START_TEST(missing)
{
	char *argv[] = {(char *)(uintptr_t) "no-such-program", NULL};
	struct helper_request req = {.what = "thing", .argv = argv};

	ck_assert_ptr_null(helper_start(loop, &out, &req, &err));
	ck_assert_ptr_nonnull(strstr(err.msg, "no-such-program is not installed"));
	ck_assert_ptr_nonnull(strstr(err.msg, "/usr/libexec"));
	req.package = "passt";
	ck_assert_ptr_null(helper_start(loop, &out, &req, &err));
	ck_assert_ptr_nonnull(strstr(err.msg, "the package is called passt"));
	argv[0] = (char *)(uintptr_t) "/nonexistent/x";
	ck_assert_ptr_null(helper_start(loop, &out, &req, &err));
	ck_assert_ptr_nonnull(strstr(err.msg, "/nonexistent/x"));
}
END_TEST

/* What is no program at all: the kernel's word for it comes back. */
START_TEST(exec_fails)
{
	char path[] = "/tmp/lkvm-test-helper-XXXXXX";
	char *argv[] = {path, NULL};
	const struct helper_request req = {
		.what = "thing", .argv = argv, .died = on_died, .opaque = &death};
	int fd = mkostemp(path, O_CLOEXEC);
	unsigned int before;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, "\177ELFnonsense", 12), 12);
	ck_assert_int_eq(fchmod(fd, 0755), 0);
	close(fd);
	before = open_fds();
	ck_assert_ptr_null(helper_start(loop, &out, &req, &err));
	ck_assert_ptr_nonnull(strstr(err.msg, path));
	ck_assert_ptr_nonnull(strstr(err.msg, strerror(ENOEXEC)));
	ck_assert_uint_eq(open_fds(), before);
	/* No child is left, and nobody is told of a death. */
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	ck_assert_int_eq(loop_run_once(loop, 0), 0);
	ck_assert_uint_eq(death.calls, 0);
	unlink(path);
}
END_TEST

START_TEST(no_descriptors_left)
{
	unsigned int before = open_fds(), room;
	struct rlimit old, low;
	int high = dup(0);
	struct helper *h;

	close(high);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	/* A pipe takes two, a pidfd one; the child wants numbers above the given ones. */
	for (room = 0; room < 40; room++) {
		low = old;
		low.rlim_cur = (rlim_t)high + room;
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
		h = start_fds("exit 0", NULL, 0);
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
		if (h)
			break;
		ck_assert_uint_eq(open_fds(), before);
	}
	ck_assert_uint_gt(room, 2);
	ck_assert_ptr_nonnull(h);
	helper_stop(h);
	ck_assert_uint_eq(open_fds(), before);
}
END_TEST

START_TEST(too_many_descriptors)
{
	int fds[HELPER_MAX_FDS + 1] = {0};

	ck_assert_ptr_null(start_fds("exit 0", fds, HELPER_MAX_FDS + 1));
	ck_assert_ptr_nonnull(strstr(err.msg, "descriptors"));
}
END_TEST

/* --- what it inherits -------------------------------------------------------------- */

START_TEST(environment)
{
	setenv("SECRET", "1", 1);
	setenv("LANG", "xx_YY", 1);
	setenv("TMPDIR", "/somewhere", 1);
	setenv("XDG_RUNTIME_DIR", "/run/me", 1);
	unsetenv("HOME");
	setenv("PATH", "/usr/bin:/bin", 1);
	run("exec env | grep -v -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD= | sort");
	ck_assert_str_eq(next_word(), "LANG=C");
	ck_assert_str_eq(next_word(), "PATH=/usr/bin:/bin");
	ck_assert_str_eq(next_word(), "TMPDIR=/somewhere");
	ck_assert_str_eq(next_word(), "XDG_RUNTIME_DIR=/run/me");
	ck_assert_str_eq(next_word(), "");
}
END_TEST

/* In any order, over each other's numbers; others are not there, close-on-exec or not. */
START_TEST(descriptors)
{
	int pipes[HELPER_MAX_FDS][2], fds[HELPER_MAX_FDS], stray, overlaps = 0, i;
	struct helper *h;
	char buf[8], want[8];

	stray = open("/dev/zero", O_RDONLY); /* no O_CLOEXEC, as an inherited one */
	ck_assert_int_ge(dup2(stray, 100), 0);
	for (i = 0; i < HELPER_MAX_FDS; i++)
		ck_assert_int_eq(pipe2(pipes[i], i % 2 ? O_CLOEXEC : 0), 0);
	/* Backwards; and one of them twice. */
	for (i = 0; i < HELPER_MAX_FDS; i++) {
		fds[i] = pipes[HELPER_MAX_FDS - 1 - i][1];
		overlaps += fds[i] < 3 + HELPER_MAX_FDS && fds[i] != 3 + i;
	}
	fds[1] = fds[0];
	ck_assert_int_gt(overlaps, 2);
	h = start_fds("i=3; while [ $i -lt 19 ]; do echo $i >/proc/$$/fd/$i; i=$((i + 1)); done;"
		      "readlink /proc/$$/fd/0; i=0; while [ $i -lt 128 ]; do "
		      /* Not by ls: a pipe to it would be one more. */
		      "[ ! -e /proc/$$/fd/$i ] || printf '%s ' $i; i=$((i + 1)); done",
		      fds, HELPER_MAX_FDS);
	ck_assert_msg(h != NULL, "%s", err.msg);
	until_dead();
	helper_stop(h);
	ck_assert_int_eq(read(pipes[HELPER_MAX_FDS - 1][0], buf, sizeof(buf)), 4);
	ck_assert_mem_eq(buf, "3\n4\n", 4);
	for (i = 2; i < HELPER_MAX_FDS; i++) {
		int len = snprintf(want, sizeof(want), "%d\n", 3 + i);

		ck_assert_int_eq(read(pipes[HELPER_MAX_FDS - 1 - i][0], buf, sizeof(buf)), len);
		ck_assert_mem_eq(buf, want, len);
		/* They stay ours. */
		ck_assert_int_ge(fcntl(fds[i], F_GETFD), 0);
	}
	ck_assert_str_eq(next_word(), "/dev/null");
	ck_assert_str_eq(next_word(), "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 ");
}
END_TEST

START_TEST(signals)
{
	sigset_t set, before, after;
	uint64_t ignored;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, &set, &before), 0);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	run("exec sed -n '/^Sig[BIC]/p' /proc/self/status");
	ck_assert_str_eq(next_word(), "SigBlk:\t0000000000000000");
	/* But for signals 32 and 33, which the C library keeps from us: a caller may ignore them.
	 */
	ignored = strtoull(next_word() + strlen("SigIgn:\t"), NULL, 16);
	ck_assert_uint_eq(ignored & ~UINT64_C(0x180000000), 0);
	ck_assert_str_eq(next_word(), "SigCgt:\t0000000000000000");
	/* Ours are as they were. */
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	ck_assert(sigismember(&after, SIGINT) && sigismember(&after, SIGTERM) &&
		  !sigismember(&after, SIGUSR1));
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}
END_TEST

START_TEST(session)
{
	struct helper *h = start("echo $$; cut -d' ' -f5,6 /proc/$$/stat");
	char want[32];

	snprintf(want, sizeof(want), "%d", helper_pid(h));
	until_dead();
	ck_assert_str_eq(next_word(), want);
	snprintf(want, sizeof(want), "%d %d", helper_pid(h), helper_pid(h));
	ck_assert_str_eq(next_word(), want);
	helper_stop(h);
}
END_TEST

/* --- what it says ----------------------------------------------------------------------- */

START_TEST(last_words)
{
	char text[HELPER_STATUS_MAX];
	int i;

	atomic_store(&out.level, LOG_LEVEL_ERROR);
	run("for i in 1 2 3 4 5 6; do echo line $i; echo; done; printf 'no newline' >&2; exit 3");
	for (i = 4; i <= 6; i++) {
		snprintf(text, sizeof(text), "Error: sh: line %d\n", i);
		ck_assert_str_eq(next_line(), text);
	}
	ck_assert_str_eq(next_line(), "Error: sh: no newline\n");
	ck_assert_str_eq(next_line(), "");
	ck_assert_str_eq(helper_status(death.status, text), "ended with status 3");
}
END_TEST

/* Who is killed did not say why, whatever it said before; who calls abort(3) may have. */
START_TEST(last_words_of_the_killed)
{
	atomic_store(&out.level, LOG_LEVEL_INFO);
	run("echo all is well; kill -KILL $$");
	ck_assert_str_eq(next_line(), "Info: sh: all is well\n");
	ck_assert_str_eq(next_line(), "");
	memset(&death, 0, sizeof(death));
	run("echo this is wrong; kill -ABRT $$");
	ck_assert_str_eq(next_line(), "Error: sh: this is wrong\n");
	ck_assert_str_eq(next_line(), "");
}
END_TEST

START_TEST(long_lines)
{
	size_t total = 0;
	const char *word;

	run("head -c 1200 /dev/zero | tr '\\0' x; echo; printf 'a\\000b\\r\\n'; printf "
	    "'\\033[31m'");
	while (*(word = next_word()) == 'x') {
		ck_assert_uint_le(strlen(word), 500);
		total += strlen(word);
	}
	ck_assert_uint_eq(total, 1200);
	ck_assert_str_eq(word, "ab");
	ck_assert_str_eq(next_word(), "\\x1b[31m");
}
END_TEST

/* One that prints without end takes its turn like others, and can be stopped. */
START_TEST(flood)
{
	struct helper *h;
	unsigned int i;

	atomic_store(&out.level, LOG_LEVEL_ERROR);
	h = start("exec yes");
	for (i = 0; i < 100; i++)
		ck_assert_int_le(loop_run_once(loop, 100), 2);
	helper_stop(h);
	ck_assert_uint_eq(death.calls, 0);
}
END_TEST

START_TEST(closes_its_output)
{
	struct helper *h = start("exec >&- 2>&-; sleep 30");
	unsigned int i;

	for (i = 0; i < 10; i++)
		loop_run_once(loop, 20);
	/* Nothing turns any more. */
	ck_assert_int_eq(loop_run_once(loop, 50), 0);
	ck_assert_uint_eq(death.calls, 0);
	helper_stop(h);
}
END_TEST

/* --- waiting --------------------------------------------------------------------------------- */

START_TEST(waiting)
{
	struct helper *h = start("echo not yet; sleep 0.1; echo ready; read x; sleep 30");

	wait_for(h, "ready");
	ck_assert_int_eq(helper_wait(h, 50, is, (void *)(uintptr_t) "never", &err), 1);
	ck_assert_int_eq(helper_wait(h, 20, NULL, NULL, &err), 0);
	ck_assert_uint_eq(death.calls, 0);
	helper_stop(h);
}
END_TEST

START_TEST(waiting_in_vain)
{
	struct helper *h = start("echo cannot bind port 80; exit 1");

	ck_assert_int_eq(helper_wait(h, 10000, is, (void *)(uintptr_t) "ready", &err), -1);
	ck_assert_str_eq(err.msg, "sh ended with status 1: cannot bind port 80");
	ck_assert_int_eq(helper_wait(h, 10000, is, (void *)(uintptr_t) "ready", &err), -1);
	ck_assert_int_eq(loop_run_once(loop, 50), 0);
	ck_assert_uint_eq(death.calls, 0);
	helper_stop(h);

	h = start("kill -9 $$");
	ck_assert_int_eq(helper_wait(h, 10000, NULL, NULL, &err), -1);
	ck_assert_str_eq(err.msg, "sh was ended by signal 9 (Killed) and said nothing");
	helper_stop(h);
}
END_TEST

static int run_script(const char *script, int timeout_ms)
{
	char *argv[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c",
			(char *)(uintptr_t)script, NULL};
	const struct helper_request req = {
		.what = "the script", .argv = argv, .died = on_died, .opaque = &death};

	return helper_run(loop, &out, &req, timeout_ms, &err);
}

START_TEST(to_its_end)
{
	unsigned int before = open_fds();

	ck_assert_int_eq(run_script("sleep 0.1; echo done", 10000), 0);
	ck_assert_int_eq(run_script("echo no such bridge >&2; exit 2", 10000), -1);
	ck_assert_str_eq(err.msg, "the script ended with status 2: no such bridge");
	ck_assert_int_eq(run_script("sleep 60", 1000), -1);
	ck_assert_str_eq(err.msg, "the script did not end within 1 seconds");
	ck_assert_int_eq(loop_run_once(loop, 20), 0);
	ck_assert_uint_eq(death.calls, 0);
	ck_assert_uint_eq(open_fds(), before);
}
END_TEST

/* --- ends --------------------------------------------------------------------------------------
 */

START_TEST(killed)
{
	unsigned int before = open_fds();
	struct helper *h = start("sleep 30");
	char text[HELPER_STATUS_MAX];

	ck_assert_int_eq(kill(helper_pid(h), SIGKILL), 0);
	until_dead();
	ck_assert(WIFSIGNALED(death.status));
	ck_assert_str_eq(helper_status(death.status, text), "was ended by signal 9 (Killed)");
	ck_assert_int_eq(loop_run_once(loop, 20), 0);
	helper_stop(h);
	ck_assert_uint_eq(open_fds(), before);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
}
END_TEST

START_TEST(stopped_in_died)
{
	struct helper *h = start("exit 7");

	death.stop = &h;
	until_dead();
	ck_assert_ptr_null(h);
	ck_assert_int_eq(WEXITSTATUS(death.status), 7);
	ck_assert_int_eq(loop_run_once(loop, 20), 0);
}
END_TEST

START_TEST(stop_at_once)
{
	uint64_t begin = now_ns();
	struct helper *h = start("sleep 30");

	helper_stop(h);
	ck_assert_uint_lt(now_ns() - begin, NSEC_PER_SEC);
	ck_assert_uint_eq(death.calls, 0);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	helper_stop(NULL);
}
END_TEST

/* It and what it started end, even where SIGTERM is ignored. */
START_TEST(stop_the_stubborn)
{
	int fds[2];
	struct helper *h;

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	h = start_fds("trap '' TERM; sleep 60 & echo up; while :; do sleep 1; done", &fds[1], 1);
	ck_assert_ptr_nonnull(h);
	close(fds[1]);
	wait_for(h, "up");
	helper_stop(h);
	ck_assert(closes(fds[0]));
	close(fds[0]);
}
END_TEST

/* What it started ends too where it ends by itself. */
START_TEST(leaves_children)
{
	int fds[2];
	struct helper *h;

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	h = start_fds("sleep 60 & exit 0", &fds[1], 1);
	ck_assert_ptr_nonnull(h);
	close(fds[1]);
	until_dead();
	ck_assert(closes(fds[0]));
	helper_stop(h);
	close(fds[0]);
}
END_TEST

/* We end without a word to anybody. */
static void orphan(bool by_signal)
{
	int fds[2], status;
	pid_t pid;

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		struct helper *h = start_fds("echo up; exec sleep 60", &fds[1], 1);

		if (!h || helper_wait(h, 10000, is, (void *)(uintptr_t) "up", &err))
			_exit(1);
		if (by_signal)
			raise(SIGKILL);
		_exit(0);
	}
	close(fds[1]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(by_signal ? WIFSIGNALED(status) : !WEXITSTATUS(status));
	ck_assert(closes(fds[0]));
	close(fds[0]);
}

START_TEST(never_outlives_us)
{
	orphan(false);
	orphan(true);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("helper");
	TCase *t = tcase_create("helper");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, find);
	tcase_add_test(t, missing);
	tcase_add_test(t, exec_fails);
	tcase_add_test(t, no_descriptors_left);
	tcase_add_test(t, too_many_descriptors);
	tcase_add_test(t, environment);
	tcase_add_test(t, descriptors);
	tcase_add_test(t, signals);
	tcase_add_test(t, session);
	tcase_add_test(t, last_words);
	tcase_add_test(t, last_words_of_the_killed);
	tcase_add_test(t, long_lines);
	tcase_add_test(t, flood);
	tcase_add_test(t, closes_its_output);
	tcase_add_test(t, waiting);
	tcase_add_test(t, waiting_in_vain);
	tcase_add_test(t, to_its_end);
	tcase_add_test(t, killed);
	tcase_add_test(t, stopped_in_died);
	tcase_add_test(t, stop_at_once);
	tcase_add_test(t, stop_the_stubborn);
	tcase_add_test(t, leaves_children);
	tcase_add_test(t, never_outlives_us);
	suite_add_tcase(s, t);
	return unit_main(s);
}
