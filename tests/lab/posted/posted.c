// SPDX-License-Identifier: GPL-2.0-only
/*
 * posted: make this host's KVM look like one that was posted but never merged.
 *
 * Theory of operation
 * -------------------
 * Before the G-stage mode of a VM could be chosen by KVM_CAP_VM_GPA_BITS (207),
 * patches offered it by a capability of its own, KVM_CAP_RISCV_SET_HGATP_MODE:
 * number 247 with the modes in bits 0 to 2 of what KVM_CHECK_EXTENSION says, later
 * 248 with bits 8 to 10 (KVM mailing list, "RISC-V: KVM: add
 * KVM_CAP_RISCV_SET_HGATP_MODE", v4 and v7). This program runs another one under
 * ptrace(2) on a host whose KVM has 207, and rewrites its KVM_CHECK_EXTENSION and
 * KVM_ENABLE_CAP calls on the way in and their results on the way out. All else,
 * KVM_RUN above all, is not stopped: a seccomp filter picks these two out.
 *
 *	posted 247 COMMAND…	207 can be read, not enabled; 247 is the posted one
 *	posted 248 COMMAND…	the same with 248
 *	posted other=N COMMAND…	207 can be read, not enabled; 247 says N and is
 *				something else, which nobody should enable
 *
 * The real kernel is always asked 207: only that can change a VM's mode there.
 * Each of these calls is told on stderr, with what the kernel was asked and said:
 *
 *	posted: CHECK_EXTENSION(247) = 7
 *	posted: ENABLE_CAP(247, 8) = 0; the kernel: ENABLE_CAP(207, 41) = 0
 *	posted: CHECK_EXTENSION(207) = 41; the kernel: CHECK_EXTENSION(207) = 41
 *
 * What a posted kernel could not survive ends with status 99 and a line
 * "posted: FATAL: …": the mode capabilities or 207 asked on /dev/kvm, where these
 * patches followed a null pointer; and 247 enabled where it is something else.
 * Otherwise the status is the command's.
 *
 * One thread; it knows its tracees by what waitpid(2) says.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define CAP_GPA_BITS 207
#define STATUS_FATAL 99
#define STATUS_SETUP 98

/* NT_PRSTATUS on riscv64: pc, then x1 to x31; a0 is x10. */
#define NOTE_PRSTATUS 1
#define NR_REGS 32
#define REG_A0 10
#define REG_A1 11
#define REG_A2 12

enum kind {
	POSTED_247,
	POSTED_248,
	OTHER,
};

/* What is to be done when the call comes back. */
enum fate {
	PASS,	/* give the kernel's result */
	ANSWER, /* give ours */
	ENABLE, /* put the caller's struct back, then give the kernel's result */
};

struct thread {
	pid_t tid;
	bool inside;
	enum fate fate;
	char what[64], kernel[64];
	long answer;
	uint64_t addr;
	struct kvm_enable_cap saved;
	struct thread *next;
};

struct posted {
	enum kind kind;
	int other;
	int max_bits;
	pid_t child;
	struct thread *threads;
};

static void die(const char *what)
{
	fprintf(stderr, "posted: %s: %s\n", what, strerror(errno));
	exit(STATUS_SETUP);
}

static void fatal(struct posted *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fatal(struct posted *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "posted: FATAL: ");
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\n");
	va_end(ap);
	kill(p->child, SIGKILL);
	exit(STATUS_FATAL);
}

/* --- the command's side ----------------------------------------------------- */

static void filter(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_RISCV64, 0, 6),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)KVM_CHECK_EXTENSION, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)KVM_ENABLE_CAP, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		die("no_new_privs");
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0))
		die("seccomp");
}

static void become(char **argv)
{
	raise(SIGSTOP); /* until we are traced */
	filter();
	execvp(argv[0], argv);
	die(argv[0]);
}

/* --- the tracer's side ------------------------------------------------------ */

static void change_regs(pid_t tid, int first, int nr, const uint64_t *values)
{
	uint64_t regs[NR_REGS];
	struct iovec iov = {regs, sizeof(regs)};

	if (ptrace(PTRACE_GETREGSET, tid, NOTE_PRSTATUS, &iov))
		die("reading registers");
	memcpy(&regs[first], values, (size_t)nr * sizeof(*values));
	if (ptrace(PTRACE_SETREGSET, tid, NOTE_PRSTATUS, &iov))
		die("writing registers");
}

static void copy(pid_t tid, uint64_t addr, struct kvm_enable_cap *cap, bool out)
{
	struct iovec here = {cap, sizeof(*cap)}, there = {(void *)addr, sizeof(*cap)};
	ssize_t n = out ? process_vm_writev(tid, &here, 1, &there, 1, 0)
			: process_vm_readv(tid, &here, 1, &there, 1, 0);

	if (n != (ssize_t)sizeof(*cap))
		die("the command's memory");
}

static struct thread *thread_of(struct posted *p, pid_t tid)
{
	struct thread *t;

	for (t = p->threads; t; t = t->next)
		if (t->tid == tid)
			return t;
	t = calloc(1, sizeof(*t));
	if (!t)
		die("memory");
	t->tid = tid;
	t->next = p->threads;
	p->threads = t;
	return t;
}

static bool is_vm(pid_t tid, uint64_t fd)
{
	char path[64], name[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)tid, (int)fd);
	n = readlink(path, name, sizeof(name) - 1);
	if (n < 0)
		return false;
	name[n] = '\0';
	return !strcmp(name, "anon_inode:kvm-vm");
}

/* Let the kernel be asked something harmless instead. */
static void divert(struct thread *t, long answer)
{
	const uint64_t harmless[] = {KVM_CHECK_EXTENSION, CAP_GPA_BITS};

	change_regs(t->tid, REG_A1, 2, harmless);
	t->fate = ANSWER;
	t->answer = answer;
	t->kernel[0] = '\0';
}

static long mask(const struct posted *p, uint64_t cap)
{
	long modes = p->max_bits >= 59 ? 7 : p->max_bits >= 50 ? 3 : 1;

	if (p->kind == OTHER)
		return cap == 247 ? p->other : 0;
	if (cap == 247)
		return p->kind == POSTED_247 ? modes : 0;
	return p->kind == POSTED_248 ? modes << 8 : 0;
}

static void check_extension(struct posted *p, struct thread *t, bool vm, uint64_t cap)
{
	bool ours = cap == 247 || cap == 248;

	if (!vm && (ours || cap == CAP_GPA_BITS))
		fatal(p, "capability %d asked on /dev/kvm", (int)cap);
	snprintf(t->what, sizeof(t->what), "CHECK_EXTENSION(%d)", (int)cap);
	if (ours)
		divert(t, mask(p, cap));
	else
		snprintf(t->kernel, sizeof(t->kernel), "%s", t->what);
}

static void enable_cap(struct posted *p, struct thread *t, uint64_t addr)
{
	struct kvm_enable_cap cap = {.cap = 0};
	uint64_t bits;

	copy(t->tid, addr, &cap, false);
	snprintf(t->what, sizeof(t->what), "ENABLE_CAP(%u, %llu)", cap.cap,
		 (unsigned long long)cap.args[0]);
	if (cap.cap == 247 && p->kind == OTHER)
		fatal(p, "%s, which is something else here", t->what);
	if (cap.cap == CAP_GPA_BITS || cap.cap == 247 || cap.cap == 248) {
		bits = 41 + 9 * (cap.args[0] - 8);
		if (cap.cap != (p->kind == POSTED_247 ? 247 : 248) || p->kind == OTHER ||
		    cap.flags || cap.args[0] < 8 || bits > (uint64_t)p->max_bits) {
			divert(t, -EINVAL);
			return;
		}
		t->saved = cap;
		t->addr = addr;
		t->fate = ENABLE;
		cap.cap = CAP_GPA_BITS;
		cap.args[0] = bits;
		copy(t->tid, addr, &cap, true);
	}
	snprintf(t->kernel, sizeof(t->kernel), "ENABLE_CAP(%u, %llu)", cap.cap,
		 (unsigned long long)cap.args[0]);
}

static void get_call(pid_t tid, struct __ptrace_syscall_info *info)
{
	if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(*info), info) < 0)
		die("asking for the system call");
}

/* Return: does the way out matter? */
static bool entered(struct posted *p, struct thread *t)
{
	struct __ptrace_syscall_info info;
	bool vm;

	get_call(t->tid, &info);
	if (info.op != PTRACE_SYSCALL_INFO_SECCOMP)
		return false;
	vm = is_vm(t->tid, info.seccomp.args[0]);
	t->fate = PASS;
	if ((uint32_t)info.seccomp.args[1] == KVM_CHECK_EXTENSION)
		check_extension(p, t, vm, info.seccomp.args[2]);
	else if (vm)
		enable_cap(p, t, info.seccomp.args[2]);
	else
		return false;
	t->inside = true;
	return true;
}

static void left(struct thread *t)
{
	struct __ptrace_syscall_info info;
	uint64_t result;

	t->inside = false;
	get_call(t->tid, &info);
	if (info.op != PTRACE_SYSCALL_INFO_EXIT)
		die("the order of stops");
	result = (uint64_t)info.exit.rval;
	if (t->fate == ENABLE)
		copy(t->tid, t->addr, &t->saved, true);
	if (t->fate == ANSWER) {
		result = (uint64_t)t->answer;
		change_regs(t->tid, REG_A0, 1, &result);
	}
	if (t->kernel[0])
		fprintf(stderr, "posted: %s = %ld; the kernel: %s = %ld\n", t->what, (long)result,
			t->kernel, (long)info.exit.rval);
	else
		fprintf(stderr, "posted: %s = %ld\n", t->what, (long)result);
}

static void resume(struct posted *p, pid_t tid, int status)
{
	int sig = WSTOPSIG(status), event = status >> 16;
	struct thread *t = thread_of(p, tid);
	unsigned long how = PTRACE_CONT;

	if (event == PTRACE_EVENT_SECCOMP) {
		if (entered(p, t))
			how = PTRACE_SYSCALL;
		sig = 0;
	} else if (event == PTRACE_EVENT_STOP) {
		/* Stopped as a group, or a new thread. */
		if (sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU)
			how = PTRACE_LISTEN;
		sig = 0;
	} else if (event) {
		sig = 0;
	} else if (sig == (SIGTRAP | 0x80)) {
		if (t->inside)
			left(t);
		sig = 0;
	}
	/* A thread may be killed at any time. */
	if (ptrace((enum __ptrace_request)how, tid, 0, sig) && errno != ESRCH)
		die("resuming");
}

static int trace(struct posted *p)
{
	unsigned long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACESECCOMP |
				PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
				PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
	int status;
	pid_t tid;

	if (waitpid(p->child, &status, WUNTRACED) < 0 || !WIFSTOPPED(status))
		die("the command's start");
	if (ptrace(PTRACE_SEIZE, p->child, 0, options))
		die("ptrace");
	kill(p->child, SIGCONT);
	for (;;) {
		tid = waitpid(-1, &status, __WALL);
		if (tid < 0 && errno == EINTR)
			continue;
		if (tid < 0)
			die("waiting");
		if (WIFSTOPPED(status)) {
			resume(p, tid, status);
		} else if (tid == p->child) {
			break;
		}
	}
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	signal(WTERMSIG(status), SIG_DFL);
	raise(WTERMSIG(status));
	return 128 + WTERMSIG(status);
}

/* What the real one has: its widest mode. */
static int ask_kernel(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm, bits;
	struct kvm_enable_cap cap = {.cap = CAP_GPA_BITS};

	if (fd < 0)
		die("/dev/kvm");
	vm = ioctl(fd, KVM_CREATE_VM, 0);
	if (vm < 0)
		die("KVM_CREATE_VM");
	bits = ioctl(vm, KVM_CHECK_EXTENSION, CAP_GPA_BITS);
	cap.args[0] = (uint64_t)bits;
	if (ioctl(vm, KVM_ENABLE_CAP, &cap))
		die("this host's KVM_CAP_VM_GPA_BITS can't be enabled, so nothing can be shown");
	close(vm);
	close(fd);
	return bits;
}

int main(int argc, char **argv)
{
	struct posted p = {.kind = OTHER};

	if (argc > 2 && !strcmp(argv[1], "247")) {
		p.kind = POSTED_247;
	} else if (argc > 2 && !strcmp(argv[1], "248")) {
		p.kind = POSTED_248;
	} else if (argc > 2 && !strncmp(argv[1], "other=", 6)) {
		p.other = (int)strtol(argv[1] + 6, NULL, 0);
	} else {
		fprintf(stderr, "usage: posted 247|248|other=N COMMAND [ARGS...]\n");
		return STATUS_SETUP;
	}
	p.max_bits = ask_kernel();
	p.child = fork();
	if (p.child < 0)
		die("fork");
	if (!p.child)
		become(argv + 2);
	/* What a terminal sends goes to the command as well: it decides. */
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	return trace(&p);
}
