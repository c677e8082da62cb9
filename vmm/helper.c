// SPDX-License-Identifier: GPL-2.0-only
/*
 * Helper programs (include/lkvm/helper.h): passt, virtiofsd, a tap script.
 *
 * Starting. vfork(2): the child borrows our memory and we sleep until it has called
 * execve(2) or given up, so that a VM with a large RAM costs no more than a small one
 * (and may be started where memory must not be promised twice). The child runs one
 * function that never returns and makes nothing but system calls; where one fails, it
 * says which by a pipe that a successful exec closes. All signals are blocked until
 * their dispositions are the default again: a handler of ours never runs in the child.
 *
 * What the child inherits is chosen: descriptors 0 to 2 (/dev/null, and twice a pipe
 * to our log), the given ones from 3 on, and none above, whatever their flags say
 * (close_range(2); Linux has it since 5.9, and KVM for RISC-V came with 5.16). The
 * wanted ones are first copied above the target range, so that none overwrites
 * another. The environment is made anew.
 *
 * Watching. A pidfd becomes readable when the process ends: no SIGCHLD. The process is
 * our child and not yet waited for when it is taken, so its number can't be another's. The pipe is
 * read a piece at a time, so a helper that prints without end takes its turn in the loop like
 * everybody else. A line that is longer than LINE_MAX_BYTES is cut into several. Where it ended by
 * itself, its last lines say why, and are errors; where a signal ended it they are what it said
 * before, about something else.
 *
 * Ending. PR_SET_PDEATHSIG kills it when our thread ends; a parent that died before
 * that was set is noticed by its number. Nothing of it is part of a VM's saved state.
 *
 * Thread and lock: the loop's thread alone; no lock.
 */
#include "lkvm/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define OTHER_PLACES "/usr/libexec:/usr/lib/qemu:/usr/sbin:/usr/lib:/usr/local/libexec"

#define LINE_MAX_BYTES 500
#define LAST_LINES 4
#define READ_CHUNK 4096
#define STOP_MS 1000
#define WHAT_MAX 32
#define ENV_MAX 6

/* CLOSE_RANGE_CLOEXEC of <linux/close_range.h> (5.11): set the flag, close nothing. */
#define CLOEXEC_RANGE 4U

struct helper {
	struct loop *loop;
	struct log *log;
	char what[WHAT_MAX];
	pid_t pid;
	bool alive; /* not reaped yet */
	int pidfd;
	int output; /* our end of the pipe; -1: closed by the other side */
	void (*died)(void *opaque, int status);
	void *opaque;
	size_t line_len;
	char line[LINE_MAX_BYTES + 1];
	unsigned int nr_last; /* lines printed so far */
	char last[LAST_LINES][LINE_MAX_BYTES + 1];
	/* helper_wait() */
	bool (*ready)(void *opaque, const char *line);
	void *ready_opaque;
	bool is_ready;
};

/**
 * struct child - what the child works on; it changes nothing here
 * @output: its end of the pipe to our log; @complain: its end of the other one
 */
struct child {
	const char *path;
	char *const *argv;
	char *const *env;
	const int *fds;
	int nr_fds;
	int output, complain;
	pid_t parent;
};

/**
 * struct complaint - what the child says where a call failed
 */
struct complaint {
	int errnum;
	char step[20];
};

/* --- finding -------------------------------------------------------------------- */

static bool is_program(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISREG(st.st_mode) && !access(path, X_OK);
}

static bool find_in(const char *dirs, const char *name, char *path)
{
	while (*dirs) {
		size_t len = strcspn(dirs, ":");
		int n = snprintf(path, PATH_MAX, "%.*s/%s", (int)len, dirs, name);

		if (len && dirs[0] == '/' && n > 0 && n < PATH_MAX && is_program(path))
			return true;
		dirs += len;
		dirs += *dirs == ':';
	}
	return false;
}

static const char *search_path(void)
{
	const char *path = getenv("PATH");

	return path && *path ? path : DEFAULT_PATH;
}

bool helper_find(const char *name, char *path)
{
	if (strchr(name, '/')) {
		int n = snprintf(path, PATH_MAX, "%s", name);

		return n > 0 && n < PATH_MAX && is_program(path);
	}
	return *name && (find_in(search_path(), name, path) || find_in(OTHER_PLACES, name, path));
}

static int not_found(const struct helper_request *req, struct error *err)
{
	const char *name = req->argv[0];
	int len;

	if (strchr(name, '/'))
		len = snprintf(err->msg, sizeof(err->msg), "%s is no program that can be started",
			       name);
	else
		len = snprintf(err->msg, sizeof(err->msg),
			       "the program %s is not installed (looked for it in PATH and in %s)",
			       name, OTHER_PLACES);
	if (req->package && len > 0 && (size_t)len < sizeof(err->msg))
		snprintf(err->msg + len, sizeof(err->msg) - (size_t)len,
			 "; the package is called %s", req->package);
	return -1;
}

/* --- what it prints ---------------------------------------------------------------- */

static void end_line(struct helper *h)
{
	char *to = h->last[h->nr_last % LAST_LINES];

	h->line[h->line_len] = '\0';
	if (h->ready && !h->is_ready)
		h->is_ready = h->ready(h->ready_opaque, h->line);
	log_debug(h->log, "%s: %s", h->what, h->line);
	if (h->line_len) {
		memcpy(to, h->line, h->line_len + 1);
		h->nr_last++;
	}
	h->line_len = 0;
}

static void take_output(struct helper *h, const char *buf, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (buf[i] == '\n' || h->line_len == LINE_MAX_BYTES)
			end_line(h);
		if (buf[i] != '\n' && buf[i] != '\r' && buf[i])
			h->line[h->line_len++] = buf[i];
	}
}

static void close_output(struct helper *h)
{
	if (h->output < 0)
		return;
	loop_remove_fd(h->loop, h->output);
	close(h->output);
	h->output = -1;
	if (h->line_len)
		end_line(h);
}

/* One piece. True where there may be more. */
static bool read_output(struct helper *h)
{
	char buf[READ_CHUNK];
	ssize_t n = h->output < 0 ? 0 : read(h->output, buf, sizeof(buf));

	if (n > 0) {
		take_output(h, buf, (size_t)n);
		return true;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return errno == EINTR;
	close_output(h);
	return false;
}

static void output_ready(void *opaque, uint32_t events)
{
	(void)events;
	read_output(opaque);
}

/* --- its end --------------------------------------------------------------------- */

const char *helper_status(int status, char *buf)
{
	if (WIFSIGNALED(status))
		snprintf(buf, HELPER_STATUS_MAX, "was ended by signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		snprintf(buf, HELPER_STATUS_MAX, "ended with status %d", WEXITSTATUS(status));
	return buf;
}

/* It has ended, or is about to: take its number back. */
static int reap(struct helper *h)
{
	int status = 0;

	/* Its number is ours until it is reaped. What it started goes with it. */
	kill(-h->pid, SIGKILL);
	while (waitpid(h->pid, &status, 0) < 0 && errno == EINTR)
		;
	h->alive = false;
	if (h->pidfd >= 0) {
		loop_remove_fd(h->loop, h->pidfd);
		close(h->pidfd);
		h->pidfd = -1;
	}
	/* What it said last may still be on its way to us; children of its may say more. */
	for (int i = 0; i < 64 && read_output(h); i++)
		;
	close_output(h);
	return status;
}

/* Could it say why it ends? Signals but that of abort(3) come from elsewhere, without warning. */
static bool ended_by_itself(int status)
{
	return !WIFSIGNALED(status) || WTERMSIG(status) == SIGABRT;
}

static void say_last_lines(struct helper *h, int status)
{
	enum log_level level = ended_by_itself(status) ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO;
	unsigned int i = h->nr_last > LAST_LINES ? h->nr_last - LAST_LINES : 0;

	for (; i < h->nr_last; i++)
		log_message(h->log, level, "%s: %s", h->what, h->last[i % LAST_LINES]);
}

static void process_ended(void *opaque, uint32_t events)
{
	struct helper *h = opaque;
	int status = reap(h);

	(void)events;
	say_last_lines(h, status);
	if (h->died)
		h->died(h->opaque, status);
}

/* --- starting, in the child -------------------------------------------------------- */

static _Noreturn void give_up(const struct child *c, const char *step)
{
	struct complaint complaint = {.errnum = errno};

	strncpy(complaint.step, step, sizeof(complaint.step) - 1);
	(void)!write(c->complain, &complaint, sizeof(complaint));
	_exit(127);
}

static void default_signals(const struct child *c)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t none;
	int sig;

	sigemptyset(&dfl.sa_mask);
	for (sig = 1; sig < NSIG; sig++)
		sigaction(sig, &dfl, NULL); /* KILL, STOP and the C library's own can't be set */
	sigemptyset(&none);
	/* pthread_sigmask() and sigprocmask() are the same here. */
	if (sigprocmask(SIG_SETMASK, &none, NULL))
		give_up(c, "signals");
}

/* Copy what is wanted above all targets, then down; close the rest at exec. */
static void choose_descriptors(struct child *c)
{
	const int above = 3 + HELPER_MAX_FDS;
	int wanted[3 + HELPER_MAX_FDS], i;

	c->complain = fcntl(c->complain, F_DUPFD_CLOEXEC, above);
	if (c->complain < 0)
		_exit(127);
	wanted[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	wanted[1] = wanted[2] = c->output;
	for (i = 0; i < c->nr_fds; i++)
		wanted[3 + i] = c->fds[i];
	for (i = 0; i < 3 + c->nr_fds; i++) {
		wanted[i] = fcntl(wanted[i], F_DUPFD_CLOEXEC, above);
		if (wanted[i] < 0)
			give_up(c, "descriptors");
	}
	for (i = 0; i < 3 + c->nr_fds; i++)
		if (dup2(wanted[i], i) < 0)
			give_up(c, "descriptors");
	/* Not closed yet: we may still have to complain. */
	if (syscall(SYS_close_range, 3U + (unsigned int)c->nr_fds, ~0U, CLOEXEC_RANGE))
		give_up(c, "close_range");
}

/* By value: what is changed here is the child's, memory shared or not. */
static _Noreturn __attribute__((noinline)) void child_main(struct child c)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL))
		give_up(&c, "PR_SET_PDEATHSIG");
	if (getppid() != c.parent)
		_exit(127);
	setsid();
	choose_descriptors(&c);
	default_signals(&c);
	execve(c.path, c.argv, c.env);
	give_up(&c, "exec");
}

/* --- starting, in the parent ---------------------------------------------------------- */

/**
 * struct environment - what a helper is given
 */
struct environment {
	char *vars[ENV_MAX + 1];
	size_t nr;
	bool failed;
};

static void add_var(struct environment *env, const char *name, const char *value)
{
	if (!value)
		return;
	if (asprintf(&env->vars[env->nr], "%s=%s", name, value) < 0)
		env->failed = true;
	else
		env->nr++;
	env->vars[env->nr] = NULL;
}

static void make_environment(struct environment *env)
{
	memset(env, 0, sizeof(*env));
	add_var(env, "PATH", search_path());
	add_var(env, "LANG", "C");
	add_var(env, "TMPDIR", getenv("TMPDIR"));
	add_var(env, "HOME", getenv("HOME"));
	add_var(env, "XDG_RUNTIME_DIR", getenv("XDG_RUNTIME_DIR"));
}

static void free_environment(struct environment *env)
{
	while (env->nr)
		free(env->vars[--env->nr]);
}

/* The process number, or -errno. */
static pid_t spawn(const struct child *c)
{
	sigset_t all, old;
	pid_t pid;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	/* Deprecated for what children do to their parent's memory; see above. */
	pid = vfork(); // NOLINT(clang-analyzer-security.insecureAPI.vfork)
	if (!pid)
		child_main(*c); // NOLINT(clang-analyzer-unix.Vfork)
	if (pid < 0)
		pid = -errno;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return pid;
}

/* Start it with all pipes there. 0, or -1 with @err set. */
static int spawn_watched(struct helper *h, struct child *c, int complaints, struct error *err)
{
	struct complaint complaint;
	int ret;

	c->parent = getpid();
	ret = spawn(c);
	close(c->complain);
	c->complain = -1;
	if (ret < 0)
		return fail_errno(err, -ret, "cannot start %s", h->what);
	h->pid = ret;
	h->alive = true;
	h->pidfd = (int)syscall(SYS_pidfd_open, h->pid, 0U);
	if (h->pidfd < 0)
		return fail_errno(err, errno, "cannot watch %s", h->what);
	if (read_all(complaints, &complaint, sizeof(complaint)) == (long)sizeof(complaint)) {
		complaint.step[sizeof(complaint.step) - 1] = '\0';
		return fail_errno(err, complaint.errnum, "cannot start %s (%s)", c->path,
				  complaint.step);
	}
	return 0;
}

static int start_program(struct helper *h, const struct helper_request *req, const char *path,
			 struct error *err)
{
	int to_log[2] = {-1, -1}, complaints[2] = {-1, -1}, ret = -1;
	struct environment env;
	struct child c = {.path = path,
			  .argv = req->argv,
			  .env = env.vars,
			  .fds = req->fds,
			  .nr_fds = (int)req->nr_fds};

	make_environment(&env);
	if (env.failed) {
		fail(err, "no memory for %s", h->what);
	} else if (pipe2(to_log, O_CLOEXEC) || pipe2(complaints, O_CLOEXEC)) {
		fail_errno(err, errno, "cannot make a pipe for %s", h->what);
	} else {
		/* Our end only: the two are not one open file. */
		fcntl(to_log[0], F_SETFL, O_NONBLOCK);
		c.output = to_log[1];
		c.complain = complaints[1];
		ret = spawn_watched(h, &c, complaints[0], err);
		complaints[1] = -1;
	}
	h->output = to_log[0];
	if (to_log[1] >= 0)
		close(to_log[1]);
	if (complaints[0] >= 0)
		close(complaints[0]);
	free_environment(&env);
	return ret;
}

static int watch(struct helper *h, struct error *err)
{
	int ret = loop_add_fd(h->loop, h->output, EPOLLIN, output_ready, h);

	if (!ret)
		ret = loop_add_fd(h->loop, h->pidfd, EPOLLIN, process_ended, h);
	return ret ? fail_errno(err, -ret, "cannot watch %s", h->what) : 0;
}

struct helper *helper_start(struct loop *loop, struct log *log, const struct helper_request *req,
			    struct error *err)
{
	char path[PATH_MAX];
	struct helper *h;

	if (req->nr_fds > HELPER_MAX_FDS) {
		fail(err, "%s can't be given %zu descriptors", req->what, req->nr_fds);
		return NULL;
	}
	if (!helper_find(req->argv[0], path)) {
		not_found(req, err);
		return NULL;
	}
	h = calloc(1, sizeof(*h));
	if (!h) {
		fail(err, "no memory for %s", req->what);
		return NULL;
	}
	h->loop = loop;
	h->log = log;
	h->pidfd = -1;
	h->output = -1;
	h->died = req->died;
	h->opaque = req->opaque;
	snprintf(h->what, sizeof(h->what), "%s", req->what);
	if (start_program(h, req, path, err) || watch(h, err)) {
		helper_stop(h);
		return NULL;
	}
	log_debug(log, "%s: started %s as process %d", h->what, path, (int)h->pid);
	return h;
}

/* --- waiting, stopping ------------------------------------------------------------------- */

/* Wait for output or the end. True where it has ended. */
static bool wait_once(struct helper *h, int ms)
{
	struct pollfd fds[2] = {{.fd = h->pidfd, .events = POLLIN},
				{.fd = h->output, .events = POLLIN}};

	if (poll(fds, 2, ms) <= 0)
		return false;
	if (fds[1].revents)
		read_output(h);
	return fds[0].revents;
}

static int ms_until(uint64_t deadline)
{
	uint64_t now = now_ns();

	return now >= deadline ? 0 : (int)((deadline - now + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC);
}

/* How it ended, and what it said last. */
static int fail_ended(const struct helper *h, int status, struct error *err)
{
	char text[HELPER_STATUS_MAX];

	return fail(err, "%s %s%s%s", h->what, helper_status(status, text),
		    h->nr_last ? ": " : " and said nothing",
		    h->nr_last ? h->last[(h->nr_last - 1) % LAST_LINES] : "");
}

int helper_wait(struct helper *h, int timeout_ms, bool (*ready)(void *opaque, const char *line),
		void *opaque, struct error *err)
{
	uint64_t deadline = now_ns() + (uint64_t)timeout_ms * NSEC_PER_MSEC;
	bool ended = !h->alive;
	int left = 0;

	h->ready = ready;
	h->ready_opaque = opaque;
	h->is_ready = false;
	while (!ended && !h->is_ready && (left = ms_until(deadline)) > 0)
		ended = wait_once(h, left);
	h->ready = NULL;
	if (h->is_ready)
		return 0;
	if (!ended)
		return ready ? 1 : 0;
	if (!h->alive)
		return fail(err, "%s has ended", h->what);
	return fail_ended(h, reap(h), err);
}

int helper_run(struct loop *loop, struct log *log, const struct helper_request *req, int timeout_ms,
	       struct error *err)
{
	uint64_t deadline = now_ns() + (uint64_t)timeout_ms * NSEC_PER_MSEC;
	struct helper *h = helper_start(loop, log, req, err);
	bool ended = false;
	int left, status, ret = 0;

	if (!h)
		return -1;
	while (!ended && (left = ms_until(deadline)) > 0)
		ended = wait_once(h, left);
	if (!ended) {
		ret = fail(err, "%s did not end within %d seconds", h->what, timeout_ms / 1000);
	} else {
		status = reap(h);
		if (status)
			ret = fail_ended(h, status, err);
	}
	helper_stop(h);
	return ret;
}

int helper_pid(const struct helper *h)
{
	return h->pid;
}

void helper_stop(struct helper *h)
{
	uint64_t deadline = now_ns() + STOP_MS * NSEC_PER_MSEC;
	bool ended = false;
	int left;

	if (!h)
		return;
	if (h->alive) {
		kill(h->pid, SIGTERM);
		while (!ended && (left = ms_until(deadline)) > 0)
			ended = wait_once(h, left);
		if (!ended)
			kill(-h->pid, SIGKILL);
		reap(h);
	}
	close_output(h);
	free(h);
}
