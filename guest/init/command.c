// SPDX-License-Identifier: GPL-2.0-only
/*
 * The command and its streams.
 *
 * The command has pipes, as it would have in a shell's pipeline, and not the console's
 * ports: a port can be opened once only, so that /dev/stderr would fail. One loop carries
 * bytes between pipes and ports, a buffer each way, until the command has ended and what
 * it wrote is with the host. A program that it left behind is not waited for. Streams that
 * are a terminal at the host's side are the terminal hvc0 here, and are nobody else's.
 *
 * Status, as a shell has it: the command's own; 128 and the signal that ended it; 127
 * where there is no such command, 126 where it can't be run.
 */
#include "init.h"

#include <asm/signal.h>
#include <asm/termios.h>
#include <linux/poll.h>
#include <linux/wait.h>

#define BUFFER 65536

#define NO_COMMAND 127
#define NOT_RUNNABLE 126

static const char *const port_names[NR_STREAMS] = {"lkvm.in", "lkvm.out", "lkvm.err"};

/**
 * struct carrier - bytes on their way from @from to @to, -1: that end is closed
 * @start, @len: of them in @buf
 */
struct carrier {
	int from, to;
	size_t start, len;
	char buf[BUFFER];
};

/**
 * struct command - the command under way
 * @mine: the other end of each of its streams, or -1
 */
struct command {
	struct carrier carriers[NR_STREAMS];
	int theirs[NR_STREAMS];
	long pid;
};

static void close_end(int *fd)
{
	if (*fd >= 0)
		sys(__NR_close, *fd);
	*fd = -1;
}

static void open_streams(struct plan *p, struct command *c)
{
	int i, pipe[2], port;
	long ret;

	for (i = 0; i < NR_STREAMS; i++) {
		struct carrier *k = &c->carriers[i];

		k->from = k->to = -1;
		if (p->tty[i]) {
			ret = sys(__NR_openat, AT_FDCWD, "/dev/hvc0",
				  O_RDWR | O_NOCTTY | O_CLOEXEC);
			if (ret < 0)
				give_up(p, "there is no /dev/hvc0", NULL, ret);
			c->theirs[i] = (int)ret;
			continue;
		}
		port = port_open(port_names[i], (i ? O_WRONLY : O_RDONLY) | O_NONBLOCK);
		if (port < 0)
			give_up(p, "there is no port", port_names[i], port);
		ret = sys(__NR_pipe2, pipe, O_CLOEXEC);
		if (ret)
			give_up(p, "no pipe", NULL, ret);
		c->theirs[i] = pipe[i ? 1 : 0];
		k->from = i ? pipe[0] : port;
		k->to = i ? port : pipe[1];
		sys(__NR_fcntl, pipe[i ? 0 : 1], F_SETFL, O_NONBLOCK);
	}
}

/* --- the command's own process ------------------------------------------------- */

static void complain(const char *command, long error)
{
	char text[512] = "lkvm: ";

	str_add(text, sizeof(text), command);
	str_add(text, sizeof(text),
		error == -ENOENT    ? ": no such command in the guest\n"
		: error == -EACCES  ? ": permission denied\n"
		: error == -ENOEXEC ? ": no program for this machine\n"
				    : ": cannot be run\n");
	write_whole(2, text, str_len(text));
}

/* A text without "#!" is a shell's, as execvp(3) has it. */
static long exec_file(struct plan *p, const char *file)
{
	const char *argv[MAX_ARGS + 2] = {"sh", file};
	unsigned int i;
	long ret = sys(__NR_execve, file, p->argv, p->envp);

	if (ret != -ENOEXEC)
		return ret;
	for (i = 1; i < p->argc; i++)
		argv[i + 1] = p->argv[i];
	argv[p->argc + 1] = NULL;
	return sys(__NR_execve, "/bin/sh", argv, p->envp);
}

static const char *path_variable(const struct plan *p)
{
	static const char name[] = "PATH=";
	unsigned int i;
	size_t n;

	for (i = 0; i < p->envc; i++) {
		for (n = 0; name[n] && p->envp[i][n] == name[n]; n++)
			;
		if (!name[n])
			return p->envp[i] + n;
	}
	return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

static bool has_slash(const char *s)
{
	while (*s && *s != '/')
		s++;
	return *s;
}

static long exec_by_path(struct plan *p)
{
	const char *dir = path_variable(p);
	long ret, worst = -ENOENT;
	char file[4096];
	size_t n;

	for (;;) {
		for (n = 0; dir[n] && dir[n] != ':' && n + 1 < sizeof(file); n++)
			file[n] = dir[n];
		file[n] = '\0';
		str_add(file, sizeof(file), n ? "/" : "./");
		str_add(file, sizeof(file), p->argv[0]);
		ret = exec_file(p, file);
		if (ret != -ENOENT && ret != -ENOTDIR)
			worst = ret;
		if (worst != -ENOENT && worst != -EACCES)
			return worst;
		if (!dir[n])
			return worst;
		dir += n + 1;
	}
}

static void become_command(struct plan *p, struct command *c)
{
	int i, tty = -1;
	long ret;

	sys(__NR_setsid);
	for (i = 0; i < NR_STREAMS; i++) {
		sys(__NR_dup3, c->theirs[i], i, 0);
		if (p->tty[i])
			tty = i;
	}
	if (tty >= 0)
		sys(__NR_ioctl, tty, TIOCSCTTY, 0);
	ret = sys(__NR_setgroups, p->nr_groups, p->groups);
	if (!ret)
		ret = sys(__NR_setresgid, p->gid, p->gid, p->gid);
	if (!ret)
		ret = sys(__NR_setresuid, p->uid, p->uid, p->uid);
	if (!ret)
		ret = sys(__NR_chdir, p->cwd);
	if (ret) {
		complain(p->cwd, ret);
		sys(__NR_exit_group, NOT_RUNNABLE);
	}
	ret = has_slash(p->argv[0]) ? exec_file(p, p->argv[0]) : exec_by_path(p);
	complain(p->argv[0], ret);
	sys(__NR_exit_group, ret == -ENOENT || ret == -ENOTDIR ? NO_COMMAND : NOT_RUNNABLE);
}

/* --- streams -------------------------------------------------------------------- */

static void carry(struct carrier *k, int i)
{
	long n;

	if (!k->len && k->from >= 0) {
		n = sys(__NR_read, k->from, k->buf, sizeof(k->buf));
		k->start = 0;
		if (n > 0)
			k->len = (size_t)n;
		else if (n != -EAGAIN && n != -EINTR)
			close_end(&k->from);
	}
	if (k->len && k->to >= 0) {
		n = sys(__NR_write, k->to, k->buf + k->start, k->len);
		if (n > 0) {
			k->start += (size_t)n;
			k->len -= (size_t)n;
		} else if (n != -EAGAIN && n != -EINTR) {
			/* Nobody reads: who writes is to notice. */
			close_end(&k->from);
			close_end(&k->to);
		}
	}
	if (k->to < 0)
		k->len = 0;
	/* The end of input is passed on; ports stay open. */
	if (k->from < 0 && !k->len && i == STREAM_IN)
		close_end(&k->to);
}

/* What is to be waited for: room for what is held, or else more. */
static void want(const struct carrier *k, struct pollfd *pfd)
{
	*pfd = (struct pollfd){.fd = -1};
	if (k->len && k->to >= 0)
		*pfd = (struct pollfd){.fd = k->to, .events = POLLOUT};
	else if (k->from >= 0)
		*pfd = (struct pollfd){.fd = k->from, .events = POLLIN};
}

/* Everything the command wrote is in @c's carriers or gone; carry that out. */
static bool left_over(struct command *c)
{
	bool left = false;
	int i;

	for (i = STREAM_OUT; i < NR_STREAMS; i++) {
		struct carrier *k = &c->carriers[i];

		if (!k->len && k->from >= 0) {
			long n = sys(__NR_read, k->from, k->buf, sizeof(k->buf));

			k->start = 0;
			k->len = n > 0 ? (size_t)n : 0;
		}
		left |= k->len && k->to >= 0;
	}
	return left;
}

static bool ended(struct command *c, int *status)
{
	long pid;

	do {
		pid = sys(__NR_wait4, -1, status, WNOHANG, NULL);
	} while (pid > 0 && pid != c->pid);
	return pid == c->pid;
}

static void carry_all(struct command *c)
{
	int i;

	for (i = 0; i < NR_STREAMS; i++)
		carry(&c->carriers[i], i);
}

/* A child's end wakes the wait. */
static long child_signals(void)
{
	unsigned long set = 1UL << (SIGCHLD - 1) | 1UL << (SIGPIPE - 1);

	sys(__NR_rt_sigprocmask, SIG_BLOCK, &set, NULL, sizeof(set));
	set = 1UL << (SIGCHLD - 1);
	return sys(__NR_signalfd4, -1, &set, sizeof(set), O_NONBLOCK | O_CLOEXEC);
}

static void serve(struct command *c, int signals, int *status)
{
	struct pollfd pfd[NR_STREAMS + 1];
	char info[128];
	bool done = false;
	int i;

	while (!done || left_over(c)) {
		for (i = 0; i < NR_STREAMS; i++)
			want(&c->carriers[i], &pfd[i]);
		if (done)
			pfd[STREAM_IN].fd = -1;
		pfd[NR_STREAMS] = (struct pollfd){.fd = signals, .events = POLLIN};
		sys(__NR_ppoll, pfd, NR_STREAMS + 1, NULL, NULL, 0);
		while (sys(__NR_read, signals, info, sizeof(info)) > 0)
			;
		carry_all(c);
		done = done || ended(c, status);
	}
}

unsigned int command_run(struct plan *p)
{
	static struct command c;
	unsigned long none = 0;
	long signals = child_signals();
	int status = 0, i;

	if (signals < 0)
		give_up(p, "the kernel lacks CONFIG_SIGNALFD", NULL, signals);
	open_streams(p, &c);
	c.pid = sys(__NR_clone, SIGCHLD, 0, 0, 0, 0);
	if (c.pid < 0)
		give_up(p, "no process for the command", NULL, c.pid);
	if (!c.pid) {
		sys(__NR_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof(none));
		become_command(p, &c);
	}
	for (i = 0; i < NR_STREAMS; i++)
		close_end(&c.theirs[i]);
	serve(&c, (int)signals, &status);
	return status & 0x7f ? 128 + (unsigned int)(status & 0x7f) : (unsigned int)(status >> 8);
}
