// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a process has once: signals and the terminal. Every test forks a process
 * that does the thing, and looks at how it ended and at the pty it left behind.
 */
#include "lkvm/process.h"

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static int master, slave;
static struct termios before;

static void setup(void)
{
	struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
	master = posix_openpt(O_RDWR | O_NOCTTY);
	ck_assert_int_ge(master, 0);
	ck_assert_int_eq(grantpt(master), 0);
	ck_assert_int_eq(unlockpt(master), 0);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	ck_assert_int_ge(slave, 0);
	ck_assert_int_eq(tcgetattr(slave, &before), 0);
}

static void teardown(void)
{
	close(slave);
	close(master);
}

static bool is_raw(void)
{
	struct termios now;

	ck_assert_int_eq(tcgetattr(slave, &now), 0);
	return !(now.c_lflag & (ICANON | ECHO | ISIG)) && !(now.c_oflag & OPOST) &&
	       !(now.c_iflag & (ICRNL | IXON)) && now.c_cc[VMIN] == 1 && now.c_cc[VTIME] == 0;
}

static void check_restored(void)
{
	struct termios now;

	ck_assert_int_eq(tcgetattr(slave, &now), 0);
	ck_assert_uint_eq(now.c_iflag, before.c_iflag);
	ck_assert_uint_eq(now.c_oflag, before.c_oflag);
	ck_assert_uint_eq(now.c_lflag, before.c_lflag);
	ck_assert_uint_eq(now.c_cflag, before.c_cflag);
	ck_assert_mem_eq(now.c_cc, before.c_cc, sizeof(now.c_cc));
}

/* Run @fn in a process of its own; returns its wait status. */
static int run(void (*fn)(void))
{
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (!pid) {
		fn();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

/* In a forked process: a failure is an exit status, not Check's business. */
#define must(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			_exit(99);                                                                 \
		}                                                                                  \
	} while (0)

#define check_exit(status, code)                                                                   \
	do {                                                                                       \
		ck_assert(WIFEXITED(status));                                                      \
		ck_assert_int_eq(WEXITSTATUS(status), code);                                       \
	} while (0)

static void raw_and_back(void)
{
	struct error err;
	struct termios now;

	must(!process_tty_raw(slave, &err));
	must(is_raw());
	must(process_tty_raw(slave, &err) == -1);
	must(!strcmp(err.msg, "another terminal is in use by this process already"));
	must(is_raw());
	process_tty_restore();
	must(!tcgetattr(slave, &now) && now.c_lflag == before.c_lflag);
	process_tty_restore();
	/* And once more, from a descriptor that is closed meanwhile. */
	int copy = dup(slave);

	must(!process_tty_raw(copy, &err));
	close(copy);
	must(is_raw());
	process_tty_restore();
}

START_TEST(tty_raw_and_restored)
{
	check_exit(run(raw_and_back), 0);
	check_restored();
}
END_TEST

static void not_a_tty(void)
{
	struct error err;
	int p[2];

	must(!pipe(p));
	must(process_tty_raw(p[0], &err) == -1);
	must(strstr(err.msg, "is no terminal"));
	must(process_tty_raw(-1, &err) == -1);
	must(!process_tty_background(p[0]));
	must(!process_tty_raw(slave, &err));
}

START_TEST(tty_refused)
{
	check_exit(run(not_a_tty), 0);
}
END_TEST

static void raw_and_exit(void)
{
	struct error err;

	must(!process_init(&err));
	must(!process_tty_raw(slave, &err));
	must(is_raw());
	exit(7);
}

START_TEST(tty_restored_at_exit)
{
	check_exit(run(raw_and_exit), 7);
	check_restored();
}
END_TEST

static void child_exits(void)
{
	struct error err;
	pid_t pid;

	must(!process_tty_raw(slave, &err));
	pid = fork();
	if (!pid)
		exit(0); /* with the inherited exit handler */
	must(waitpid(pid, NULL, 0) == pid);
	must(is_raw());
	process_tty_restore();
}

START_TEST(tty_left_alone_by_children)
{
	check_exit(run(child_exits), 0);
	check_restored();
}
END_TEST

static const int deadly[] = {
	SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP, SIGXCPU, SIGALRM, SIGUSR2,
};

static int die_of;

/* A sanitizer has handlers of its own for some; here the default is wanted. */
static void prepare(void)
{
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(deadly); i++)
		signal(deadly[i], SIG_DFL);
	must(!process_init(&err));
	must(!process_init(&err));
	must(!process_tty_raw(slave, &err));
	must(is_raw());
}

static void be_killed(void)
{
	prepare();
	kill(getpid(), die_of);
	pause();
}

START_TEST(tty_restored_by_signals)
{
	int status;

	die_of = deadly[_i];
	status = run(be_killed);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), die_of);
	check_restored();
}
END_TEST

static void *forbidden_page(void)
{
	void *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(page != MAP_FAILED);
	return page;
}

static void touch_nothing(void)
{
	volatile int *nowhere = forbidden_page();

	prepare();
	*nowhere = 1;
}

static void call_abort(void)
{
	prepare();
	abort();
}

static void *crash_thread(void *opaque)
{
	volatile int *nowhere = forbidden_page();

	(void)opaque;
	*nowhere = 1;
	return NULL;
}

static void crash_in_thread(void)
{
	pthread_t thread;

	prepare();
	pthread_create(&thread, NULL, crash_thread, NULL);
	pthread_join(thread, NULL);
}

START_TEST(tty_restored_by_crashes)
{
	int status = run(touch_nothing);

	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGSEGV);
	check_restored();
	status = run(crash_in_thread);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGSEGV);
	check_restored();
	status = run(call_abort);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGABRT);
	check_restored();
}
END_TEST

static void die_by(void)
{
	struct error err;

	prepare();
	must(process_signal_fd(&err) >= 0); /* blocks some of them */
	process_die_by(die_of);
}

static const int ends[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGABRT, SIGSEGV, SIGPIPE};

START_TEST(death_by_signal)
{
	int status;

	die_of = ends[_i];
	status = run(die_by);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), die_of);
	check_restored();
}
END_TEST

/* A signal that does not end a process still gives the status a shell would. */
START_TEST(death_by_harmless_signal)
{
	die_of = SIGWINCH;
	check_exit(run(die_by), 128 + SIGWINCH);
	check_restored();
}
END_TEST

static void take_signals(void)
{
	static const int sigs[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH};
	struct signalfd_siginfo info;
	struct error err;
	int fd = process_signal_fd(&err);

	must(fd >= 0);
	must(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	must(read(fd, &info, sizeof(info)) == -1 && errno == EAGAIN);
	for (size_t i = 0; i < ARRAY_SIZE(sigs); i++) {
		struct pollfd pfd = {.fd = fd, .events = POLLIN};

		kill(getpid(), sigs[i]);
		must(poll(&pfd, 1, 5000) == 1);
		must(read(fd, &info, sizeof(info)) == sizeof(info));
		must(info.ssi_signo == (uint32_t)sigs[i]);
	}
}

START_TEST(signals_as_descriptor)
{
	check_exit(run(take_signals), 0);
}
END_TEST

static void keep_ignoring(void)
{
	struct signalfd_siginfo info;
	struct error err;
	int fd;

	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	fd = process_signal_fd(&err);
	must(fd >= 0);
	kill(getpid(), SIGHUP);
	kill(getpid(), SIGINT);
	kill(getpid(), SIGTERM);
	must(read(fd, &info, sizeof(info)) == sizeof(info));
	must(info.ssi_signo == SIGTERM);
	must(read(fd, &info, sizeof(info)) == -1 && errno == EAGAIN);
}

START_TEST(nohup_stays)
{
	check_exit(run(keep_ignoring), 0);
}
END_TEST

static void broken_pipe(void)
{
	struct error err;
	int p[2];

	must(!process_init(&err));
	must(!pipe(p));
	close(p[0]);
	must(write(p[1], "x", 1) == -1 && errno == EPIPE);
}

START_TEST(sigpipe_ignored)
{
	check_exit(run(broken_pipe), 0);
}
END_TEST

static void file_limit(void)
{
	struct rlimit limit = {10, 10};
	struct error err;
	int fd = fileno(tmpfile());

	must(!process_init(&err));
	must(!setrlimit(RLIMIT_FSIZE, &limit));
	must(write(fd, "0123456789", 10) == 10);
	must(write(fd, "x", 1) == -1 && errno == EFBIG);
}

START_TEST(sigxfsz_ignored)
{
	check_exit(run(file_limit), 0);
}
END_TEST

static void closed_standards(void)
{
	struct error err;
	int fd;

	close(0);
	close(2);
	if (process_init(&err))
		_exit(1);
	fd = open("/dev/zero", O_RDONLY);
	if (fd < 3)
		_exit(2);
	if (write(2, "x", 1) != 1 || read(0, &fd, 1) != 0)
		_exit(3);
}

START_TEST(closed_descriptors_filled)
{
	check_exit(run(closed_standards), 0);
}
END_TEST

/* Kicks. */

struct kicked {
	pthread_t thread;
	volatile uint8_t flag;
	atomic_int ready;
	int pipe[2];
};

static bool kick_came(struct kicked *k)
{
	return __atomic_load_n(&k->flag, __ATOMIC_RELAXED);
}

static void *wait_for_kick(void *opaque)
{
	struct kicked *k = opaque;

	process_set_kick_flag(&k->flag);
	atomic_store(&k->ready, 1);
	while (!kick_came(k))
		usleep(1000);
	__atomic_store_n(&k->flag, 0, __ATOMIC_RELAXED);
	process_set_kick_flag(NULL);
	atomic_store(&k->ready, 2);
	while (atomic_load(&k->ready) == 2)
		usleep(1000);
	return NULL;
}

static void kick_two(void)
{
	static struct kicked k[2];
	struct error err;

	must(!process_init(&err));
	for (int i = 0; i < 2; i++) {
		must(!pthread_create(&k[i].thread, NULL, wait_for_kick, &k[i]));
		while (!atomic_load(&k[i].ready))
			usleep(1000);
	}
	pthread_kill(k[0].thread, process_kick_signal());
	while (atomic_load(&k[0].ready) != 2)
		usleep(1000);
	/* Only the kicked thread's flag was stored to. */
	must(atomic_load(&k[1].ready) == 1 && !kick_came(&k[1]));
	/* A thread that names no flag takes a kick without harm. */
	pthread_kill(k[0].thread, process_kick_signal());
	raise(process_kick_signal());
	usleep(10000);
	must(!kick_came(&k[0]) && !kick_came(&k[1]));
	pthread_kill(k[1].thread, process_kick_signal());
	for (int i = 0; i < 2; i++) {
		while (atomic_load(&k[i].ready) != 2)
			usleep(1000);
		atomic_store(&k[i].ready, 3);
		pthread_join(k[i].thread, NULL);
	}
}

START_TEST(kick_flags)
{
	check_exit(run(kick_two), 0);
}
END_TEST

/* Job control: a session of our own with the pty as its terminal. */

static void become_session_leader(void)
{
	must(setsid() > 0);
	must(!ioctl(slave, TIOCSCTTY, 0));
	/* The leader moves the terminal between jobs, from wherever it is itself. */
	signal(SIGTTOU, SIG_IGN);
	must(tcgetpgrp(slave) == getpgrp());
}

static void wait_byte(int fd)
{
	char c;

	must(read(fd, &c, 1) == 1);
}

static void send_byte(int fd)
{
	must(write(fd, "x", 1) == 1);
}

static void job_control(void)
{
	int down[2], up[2], status;
	pid_t pid;

	become_session_leader();
	must(!process_tty_background(slave));
	must(!pipe(down) && !pipe(up));
	pid = fork();
	if (!pid) {
		struct error err;

		signal(SIGTTOU, SIG_DFL);
		setpgid(0, 0);
		must(!process_init(&err));
		must(process_tty_background(slave));
		must(process_tty_raw(slave, &err) == -1);
		must(!strcmp(err.msg, "the terminal is in use by another job"));
		must(!is_raw());
		send_byte(up[1]);
		wait_byte(down[0]); /* in the foreground now */
		must(!process_tty_background(slave));
		must(!process_tty_raw(slave, &err));
		must(is_raw());
		send_byte(up[1]);
		wait_byte(down[0]); /* and in the background again */
		signal(SIGTTOU, SIG_DFL);
		must(process_tty_background(slave));
		process_tty_restore(); /* neither stops us nor fails */
		_exit(33);
	}
	setpgid(pid, pid);
	wait_byte(up[0]);
	must(!tcsetpgrp(slave, pid));
	send_byte(down[1]);
	wait_byte(up[0]);
	must(!tcsetpgrp(slave, getpgrp()));
	send_byte(down[1]);
	must(waitpid(pid, &status, WUNTRACED) == pid);
	must(WIFEXITED(status) && WEXITSTATUS(status) == 33);
}

START_TEST(terminal_of_another_job)
{
	check_exit(run(job_control), 0);
	check_restored();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("process");
	TCase *tc = tcase_create("terminal");

	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, tty_raw_and_restored);
	tcase_add_test(tc, tty_refused);
	tcase_add_test(tc, tty_restored_at_exit);
	tcase_add_test(tc, tty_left_alone_by_children);
	tcase_add_loop_test(tc, tty_restored_by_signals, 0, ARRAY_SIZE(deadly));
	tcase_add_test(tc, tty_restored_by_crashes);
	tcase_add_loop_test(tc, death_by_signal, 0, ARRAY_SIZE(ends));
	tcase_add_test(tc, death_by_harmless_signal);
	tcase_add_test(tc, terminal_of_another_job);
	suite_add_tcase(suite, tc);

	tc = tcase_create("signals");
	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, signals_as_descriptor);
	tcase_add_test(tc, nohup_stays);
	tcase_add_test(tc, sigpipe_ignored);
	tcase_add_test(tc, sigxfsz_ignored);
	tcase_add_test(tc, closed_descriptors_filled);
	tcase_add_test(tc, kick_flags);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
