// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a process has only once: signal dispositions, the saved terminal, and
 * the thread-local pointer that the kick signal's handler follows.
 *
 * This is the one file with mutable file-scope state, because a signal handler
 * has no other way to find anything, and because a process has one table of
 * dispositions and one terminal however many VMs live in it.
 *
 * What a handler may do: store one byte (kick), put the terminal back by
 * tcsetattr(2) or say a word by write(2), which POSIX counts among the
 * async-signal-safe functions. The saved terminal is published by an atomic flag after
 * all of it was written.
 *
 * Signals that end a process by a bug or by default: the handler restores the
 * terminal, puts back the disposition that process_init() found (the default, or
 * a sanitizer's) and returns. A faulting instruction then runs into it again, so
 * that a core file shows the place; a signal that came otherwise is raised again.
 *
 * Nothing here is part of a VM's saved state.
 */
#include "lkvm/process.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

/* The first FAULTS come from an instruction that faults again when it is resumed. */
#define FAULTS 4
static const int last_signals[] = {SIGSEGV, SIGBUS,  SIGILL,  SIGFPE,  SIGABRT,
				   SIGSYS,  SIGTRAP, SIGXCPU, SIGALRM, SIGUSR2};

/* Where this thread's kick signal stores a 1. */
static _Thread_local volatile uint8_t *kick_flag;

static struct {
	bool ready;
	struct sigaction previous[ARRAY_SIZE(last_signals)];
} handlers;

static struct {
	atomic_bool raw; /* the fields below are valid */
	bool at_exit;
	int fd;	   /* our own descriptor of the terminal */
	pid_t pid; /* a forked child must not touch its parent's terminal */
	struct termios before;
} tty;

int process_kick_signal(void)
{
	/*
	 * Not a real-time signal: those queue up, one entry per kick, against
	 * RLIMIT_SIGPENDING. Kicks that meet may well become one.
	 */
	return SIGUSR1;
}

void process_set_kick_flag(volatile uint8_t *flag)
{
	kick_flag = flag;
}

static void on_kick(int sig)
{
	volatile uint8_t *flag = kick_flag;

	(void)sig;
	if (flag)
		__atomic_store_n(flag, 1, __ATOMIC_RELAXED);
}

/* Async-signal-safe. */
static void tty_put_back(void)
{
	sigset_t ttou, old;

	if (!atomic_load(&tty.raw) || tty.pid != getpid())
		return;
	/* Without this a process in the background would be stopped here. */
	sigemptyset(&ttou);
	sigaddset(&ttou, SIGTTOU);
	pthread_sigmask(SIG_BLOCK, &ttou, &old);
	/* Not TCSADRAIN: output that Ctrl-s holds back would hang the exit. */
	tcsetattr(tty.fd, TCSANOW, &tty.before);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void on_last_signal(int sig, siginfo_t *info, void *context)
{
	static const char lost[] = "Error: a file that is mapped became shorter, or the disk "
				   "beneath it is full or broken\n";
	int saved_errno = errno;
	bool again = false;

	(void)context;
	tty_put_back();
	if (sig == SIGBUS && info->si_code == BUS_ADRERR)
		(void)!write(STDERR_FILENO, lost, sizeof(lost) - 1);
	for (size_t i = 0; i < ARRAY_SIZE(last_signals); i++) {
		if (last_signals[i] != sig)
			continue;
		sigaction(sig, &handlers.previous[i], NULL);
		/* Not where somebody sent it, or where the kernel reports a page lost elsewhere. */
		again = i < FAULTS && info->si_code > 0 &&
			!(sig == SIGBUS && info->si_code == BUS_MCEERR_AO);
	}
	if (!again)
		raise(sig); /* blocked until we return */
	errno = saved_errno;
}

void process_keep_faults(void *set)
{
	for (size_t i = 0; i < ARRAY_SIZE(last_signals); i++)
		sigdelset(set, last_signals[i]);
}

int process_init(struct error *err)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	struct sigaction kick = {.sa_handler = on_kick, .sa_flags = SA_RESTART};
	struct sigaction last = {.sa_sigaction = on_last_signal, .sa_flags = SA_SIGINFO};
	static const int ignored[] = {SIGPIPE, SIGXFSZ, SIGTTIN, SIGTTOU};

	if (handlers.ready)
		return 0;
	/* Else the first file opened becomes "standard error" and is written to. */
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			return fail_errno(err, errno,
					  "cannot open /dev/null for the closed descriptor %d", fd);
	}
	sigemptyset(&ignore.sa_mask);
	sigemptyset(&kick.sa_mask);
	sigemptyset(&last.sa_mask);
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++) {
		if (sigaction(ignored[i], &ignore, NULL))
			return fail_errno(err, errno, "cannot ignore signal %d", ignored[i]);
	}
	if (sigaction(process_kick_signal(), &kick, NULL))
		return fail_errno(err, errno, "cannot handle signal %d", process_kick_signal());
	for (size_t i = 0; i < ARRAY_SIZE(last_signals); i++) {
		/* Read first: the handler may be entered as soon as it is in place. */
		if (sigaction(last_signals[i], NULL, &handlers.previous[i]))
			return fail_errno(err, errno, "cannot handle signal %d", last_signals[i]);
		if (handlers.previous[i].sa_handler == SIG_IGN)
			continue;
		if (sigaction(last_signals[i], &last, NULL))
			return fail_errno(err, errno, "cannot handle signal %d", last_signals[i]);
	}
	handlers.ready = true;
	return 0;
}

bool process_ending(void)
{
	sigset_t set;

	return !sigpending(&set) && (sigismember(&set, SIGINT) || sigismember(&set, SIGTERM) ||
				     sigismember(&set, SIGHUP) || sigismember(&set, SIGQUIT));
}

/* The last one changes a window and ends nothing. */
static const int told_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH};
#define ENDING (ARRAY_SIZE(told_signals) - 1)

/* Block the first @nr of them. Return: a descriptor that tells of them, or -1 with @err set. */
static int block_signals(size_t nr, struct error *err)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	for (size_t i = 0; i < nr; i++) {
		struct sigaction now;

		/*
		 * A blocked signal is queued even where it is ignored, so that
		 * nohup(1) would be undone by the mask: leave those alone.
		 */
		if (!sigaction(told_signals[i], NULL, &now) && now.sa_handler != SIG_IGN)
			sigaddset(&set, told_signals[i]);
	}
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return fail_errno(err, errno, "cannot create a signal descriptor");
	errno = pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (errno) {
		fail_errno(err, errno, "cannot block signals");
		close(fd);
		return -1;
	}
	return fd;
}

int process_signal_fd(struct error *err)
{
	return block_signals(ARRAY_SIZE(told_signals), err);
}

int process_end_fd(struct error *err)
{
	return block_signals(ENDING, err);
}

void process_end_fd_close(int fd)
{
	sigset_t set;

	close(fd);
	sigemptyset(&set);
	for (size_t i = 0; i < ENDING; i++)
		sigaddset(&set, told_signals[i]);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

void process_die_by(int sig)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t set;

	process_tty_restore();
	sigemptyset(&dfl.sa_mask);
	sigaction(sig, &dfl, NULL);
	sigemptyset(&set);
	sigaddset(&set, sig);
	pthread_kill(pthread_self(), sig);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	/* Still here: a container's first process, which default actions do not end. */
	_exit(128 + sig);
}

void process_leave(int status)
{
	tty_put_back();
	_exit(status);
}

bool process_tty_background(int fd)
{
	pid_t foreground = tcgetpgrp(fd);

	/*
	 * Job control is for the controlling terminal only. tcgetpgrp(3) fails for
	 * others, but not for a pty's master, which tells of its other side.
	 */
	return foreground > 0 && foreground != getpgrp() && tcgetsid(fd) == getsid(0);
}

int process_tty_raw(int fd, struct error *err)
{
	struct termios raw;
	int own;

	if (atomic_load(&tty.raw))
		return fail(err, "another terminal is in use by this process already");
	if (tcgetattr(fd, &raw))
		return fail_errno(err, errno, "descriptor %d is no terminal", fd);
	if (process_tty_background(fd))
		return fail(err, "the terminal is in use by another job");
	own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (own < 0)
		return fail_errno(err, errno, "cannot keep the terminal");
	if (!tty.at_exit && atexit(process_tty_restore)) {
		close(own);
		return fail(err, "no memory to restore the terminal at exit");
	}
	tty.at_exit = true;
	tty.fd = own;
	tty.pid = getpid();
	tty.before = raw;
	/* Before the change, so that no crash in between leaves it raw. */
	atomic_store(&tty.raw, true);

	cfmakeraw(&raw);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	if (tcsetattr(fd, TCSANOW, &raw)) {
		int errnum = errno;

		process_tty_restore();
		return fail_errno(err, errnum, "cannot make the terminal raw");
	}
	return 0;
}

void process_tty_restore(void)
{
	tty_put_back();
	if (atomic_exchange(&tty.raw, false))
		close(tty.fd);
}
