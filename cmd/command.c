// SPDX-License-Identifier: GPL-2.0-only
/*
 * "lkvm run ... -- CMD" (command.h): the host's half. The guest's is guest/init.
 *
 * The VM gets
 *
 *   an initial RAM file system   guest/init as /init, the kernel modules that it needs and
 *                                the plan it follows; the user's own initrd lies before it
 *   --9p /,lkvm.root,ro          the host's files, over which the guest lays memory
 *   --share, --9p of the user    mounted where they are on the host
 *   four console ports           the command's streams, and its verdict
 *
 * Where standard input and output are both a terminal, the guest's console hvc0 is it, and
 * the command runs there. Else the console is hidden, and its last lines are shown where
 * the guest ends without a verdict.
 *
 * Status (lkvm-run(1)): the command's own; 124, 128+n as for any VM; 125 where the guest
 * could not get as far as the command, for want of something in its kernel; 126 where it
 * ended before the command did.
 *
 * When the guest has told the status, lkvm ends the VM: the guest, which has synced its
 * disks, does not go on to power off, for Linux resets its devices then and would lose
 * what a slow reader of the command's output has not taken yet.
 *
 * Thread: that of the command line. What the guest says is a stranger's: of its verdict
 * a line is read and shown without control characters.
 */
#include "command.h"

#include "cmd.h"
#include "last_lines.h"
#include "lkvm/cpio.h"
#include "lkvm/modules.h"
#include "lkvm/riscv/boot.h"
#include "lkvm/virtio/console.h"
#include "lkvm/virtio/kind.h"
#include "lkvm/virtio/p9.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#define ROOT_TAG "lkvm.root"
#define MODULE_MAX (256 * MIB)
#define MAX_GROUPS 256

extern const char guest_init[];
extern const uint64_t guest_init_size;

enum { PORT_IN, PORT_OUT, PORT_ERR, PORT_STATUS, NR_PORTS };

static const char *const port_names[NR_PORTS] = {"lkvm.in", "lkvm.out", "lkvm.err", "lkvm.status"};

/* What any program expects to find, and no more of this shell's business. */
static const char *const env_names[] = {"PATH", "HOME",	    "USER", "LOGNAME", "SHELL",
					"LANG", "LANGUAGE", "TERM", "TZ",      NULL};

/* What every such guest needs, and what each kind of device does. */
static const char *const base_modules[] = {"virtio_mmio",  "virtio_pci", "virtio_console",
					   "9pnet_virtio", "9p",	 "overlay"};

static const struct {
	const char *option, *module;
} kind_modules[] = {
	{"disk", "virtio_blk"},	       {"network", "virtio_net"},
	{"share", "virtiofs"},	       {"vsock", "vmw_vsock_virtio_transport"},
	{"pmem", "virtio_pmem"},       {"rng", "virtio_rng"},
	{"balloon", "virtio_balloon"},
};

/* --- strings ------------------------------------------------------------------- */

static const char *text(struct command_run *c, const char *fmt, ...) __printf(2, 3);

/* A string that lives as long as @c; NULL: no memory. */
static const char *text(struct command_run *c, const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;

	if (c->nr_texts == ARRAY_SIZE(c->texts))
		return NULL;
	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	if (s)
		c->texts[c->nr_texts++] = s;
	return s;
}

static int no_memory(struct error *err)
{
	return fail(err, "no memory for the command");
}

/* --- devices -------------------------------------------------------------------- */

static int add_device(struct vm_config *vm, const struct virtio_kind *kind, const char *words,
		      struct error *err)
{
	if (!words)
		return no_memory(err);
	if (vm->nr_virtio == ARRAY_SIZE(vm->virtio))
		return fail(err, "a VM has at most %zu virtio devices; a command needs some",
			    ARRAY_SIZE(vm->virtio));
	vm->virtio[vm->nr_virtio++] = (struct virtio_request){.kind = kind, .text = words};
	return 0;
}

/* The port's own descriptor, as if it were inherited: the numbers 0 to 2 stay lkvm's. */
static int add_port(struct command_run *c, struct vm_config *vm, unsigned int port, int fd,
		    struct error *err)
{
	c->ports[port] = fcntl(fd, F_DUPFD, STDERR_FILENO + 1);
	if (c->ports[port] < 0)
		return fail_errno(err, errno, "cannot hand on descriptor %d", fd);
	return add_device(vm, &virtio_console_port_kind,
			  text(c, "%s,fd=%d,wait", port_names[port], c->ports[port]), err);
}

static int add_status_port(struct command_run *c, struct vm_config *vm, struct error *err)
{
	int fds[2], ret;

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK))
		return fail_errno(err, errno, "no pipe for the command's status");
	c->status = fds[0];
	ret = add_port(c, vm, PORT_STATUS, fds[1], err);
	close(fds[1]);
	return ret;
}

/* --- the plan --------------------------------------------------------------------- */

static void say(FILE *plan, const char *word, const char *value)
{
	fwrite(word, 1, strlen(word) + 1, plan);
	fwrite(value, 1, strlen(value) + 1, plan);
}

static void say_number(FILE *plan, const char *word, unsigned long value)
{
	char number[24];

	snprintf(number, sizeof(number), "%lu", value);
	say(plan, word, number);
}

/* The shares that the user asked for are where they are on the host. */
static void say_shares(const struct vm_config *vm, FILE *plan)
{
	char name[VIRTIO_NAME_MAX], *real;
	struct virtio_shared shared;
	size_t i;

	for (i = 0; i < vm->nr_virtio; i++) {
		const struct virtio_kind *kind = vm->virtio[i].kind;

		if (!kind->share)
			continue;
		virtio_asked_name(vm->virtio, i, name);
		/* What is wrong with it is said when the device is built. */
		if (!kind->share(name, vm->virtio[i].text, &shared))
			continue;
		real = realpath(shared.dir, NULL);
		say(plan, "share", kind == &virtio_p9_kind ? "9p" : "any");
		say(plan, shared.tag, real ? real : shared.dir);
		fwrite(shared.read_only ? "ro" : "rw", 1, 3, plan);
		free(real);
		free(shared.dir);
	}
}

static void say_user(FILE *plan)
{
	gid_t groups[MAX_GROUPS];
	int i, nr = getgroups(MAX_GROUPS, groups);

	say_number(plan, "uid", geteuid());
	say_number(plan, "gid", getegid());
	for (i = 0; i < nr; i++)
		say_number(plan, "group", groups[i]);
}

static int say_env(struct command_run *c, FILE *plan, struct error *err)
{
	extern char **environ;
	const char *const *name;
	char **all;
	size_t i;

	for (name = env_names; *name; name++) {
		const char *value = getenv(*name);
		const char *pair = value ? text(c, "%s=%s", *name, value) : "";

		if (!pair)
			return no_memory(err);
		if (value)
			say(plan, "env", pair);
	}
	for (all = environ; *all; all++)
		if (!strncmp(*all, "LC_", 3))
			say(plan, "env", *all);
	for (i = 0; i < c->nr_env; i++) {
		const char *value = strchr(c->env[i], '=') ? "" : getenv(c->env[i]);
		const char *pair;

		if (!value)
			return fail(err,
				    "--env %s: there is no such variable here; --env %s=VALUE "
				    "sets it",
				    c->env[i], c->env[i]);
		pair = *value ? text(c, "%s=%s", c->env[i], value) : c->env[i];
		if (!pair)
			return no_memory(err);
		say(plan, "env", pair);
	}
	return 0;
}

static int say_all(struct command_run *c, const struct vm_config *vm, FILE *plan, bool tty,
		   bool tty_err, int argc, char **argv, struct error *err)
{
	char cwd[4096];
	int i;

	if (!getcwd(cwd, sizeof(cwd)))
		return fail_errno(err, errno, "the working directory");
	say(plan, "status", port_names[PORT_STATUS]);
	say(plan, "root", "9p");
	fwrite(ROOT_TAG, 1, sizeof(ROOT_TAG), plan);
	say_shares(vm, plan);
	fwrite("enter", 1, sizeof("enter"), plan);
	say_user(plan);
	say(plan, "cwd", cwd);
	if (say_env(c, plan, err))
		return -1;
	if (tty) {
		say(plan, "tty", "in");
		say(plan, "tty", "out");
	}
	if (tty_err)
		say(plan, "tty", "err");
	for (i = 0; i < argc; i++)
		say(plan, "arg", argv[i]);
	return 0;
}

/* --- modules ------------------------------------------------------------------------ */

static void choose_modules(const struct vm_config *vm, const char **names)
{
	size_t i, k, nr = 0;

	for (i = 0; i < ARRAY_SIZE(base_modules); i++)
		names[nr++] = base_modules[i];
	for (k = 0; k < ARRAY_SIZE(kind_modules); k++) {
		bool asked = false;

		for (i = 0; i < vm->nr_virtio; i++)
			asked |= !strcmp(vm->virtio[i].kind->option, kind_modules[k].option);
		if (asked)
			names[nr++] = kind_modules[k].module;
	}
	names[nr] = NULL;
}

static int add_module(struct cpio *cpio, const char *dir, const char *file, FILE *plan,
		      struct error *err)
{
	const char *base = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
	char path[4096], name[256];
	char *data = NULL;
	struct stat st;
	int fd, ret = -1;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	snprintf(name, sizeof(name), "lkvm/modules/%s", base);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st)) {
		fail_errno(err, errno, "kernel module %s", path);
	} else if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > MODULE_MAX) {
		fail(err, "kernel module %s is no file of a sensible size", path);
	} else {
		data = malloc((size_t)st.st_size + 1);
		if (!data)
			no_memory(err);
		else if (read_all(fd, data, (size_t)st.st_size) != st.st_size)
			fail_errno(err, errno, "cannot read kernel module %s", path);
		else
			ret = 0;
	}
	if (!ret) {
		cpio_add(cpio, name, S_IFREG | 0644, 0, data, (size_t)st.st_size);
		snprintf(path, sizeof(path), "/%s", name);
		say(plan, "module", path);
	}
	free(data);
	if (fd >= 0)
		close(fd);
	return ret;
}

/* The release out of the kernel; false: not a Linux that says so. */
static bool kernel_release(const struct vm_config *vm, char *release, struct error *err)
{
	struct boot_source kernel = {
		.fd = open(vm->kernel, O_RDONLY | O_CLOEXEC | O_NONBLOCK),
		.name = vm->kernel,
	};
	int ret;

	/* That it can't be opened is said in one place. */
	if (kernel.fd < 0)
		return false;
	ret = boot_kernel_release(&kernel, release, err);
	close(kernel.fd);
	return !ret;
}

static int add_modules(struct command_run *c, const struct vm_config *vm, struct cpio *cpio,
		       FILE *plan, struct log *log, struct error *err)
{
	const char *names[ARRAY_SIZE(base_modules) + ARRAY_SIZE(kind_modules) + 1];
	char release[BOOT_RELEASE_MAX];
	const char *dir = c->modules;
	struct modules modules;
	size_t i;
	int ret;

	if (!dir && !kernel_release(vm, release, err)) {
		log_info(log, "kernel modules are not looked for: %s", err->msg);
		return 0;
	}
	if (!dir)
		dir = text(c, "/lib/modules/%s", release);
	if (!dir)
		return no_memory(err);
	choose_modules(vm, names);
	ret = modules_find(&modules, dir, names, err);
	if (ret && !c->modules) {
		/* A kernel of one's own often has all of it built in. */
		log_info(log, "no kernel modules: %s", err->msg);
		ret = 0;
	} else if (ret) {
		struct error why = *err;

		fail(err, "--modules: %s", why.msg);
	}
	for (i = 0; i < modules.nr && !ret; i++)
		ret = add_module(cpio, dir, modules.files[i], plan, err);
	modules_free(&modules);
	return ret;
}

/* --- the archive ---------------------------------------------------------------------- */

static int copy_initrd(int to, const char *path, struct error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	static const char zeroes[4];
	uint64_t size = 0;
	char buf[65536];
	long n = -1;

	if (fd < 0)
		return fail_errno(err, errno, "Unable to open initrd %s", path);
	while ((n = read_all(fd, buf, sizeof(buf))) > 0 && write_all(to, buf, (size_t)n) >= 0)
		size += (uint64_t)n;
	close(fd);
	if (n || write_all(to, zeroes, -size % sizeof(zeroes)) < 0)
		return fail_errno(err, errno, "cannot copy initrd %s", path);
	return 0;
}

static void add_fixed(struct cpio *cpio)
{
	cpio_add(cpio, "dev", S_IFDIR | 0755, 0, NULL, 0);
	cpio_add(cpio, "dev/console", S_IFCHR | 0600, makedev(5, 1), NULL, 0);
	cpio_add(cpio, "lkvm", S_IFDIR | 0755, 0, NULL, 0);
	cpio_add(cpio, "lkvm/modules", S_IFDIR | 0755, 0, NULL, 0);
	cpio_add(cpio, "init", S_IFREG | 0755, 0, guest_init, (size_t)guest_init_size);
}

static int make_archive(struct command_run *c, struct vm_config *vm, bool tty, bool tty_err,
			int argc, char **argv, struct log *log, struct error *err)
{
	struct cpio cpio;
	char *plan_text = NULL;
	size_t plan_len = 0;
	FILE *plan;
	int ret;

	c->initrd = memfd_create("lkvm-initrd", MFD_CLOEXEC);
	if (c->initrd < 0)
		return fail_errno(err, errno, "no memory file for the initrd");
	if (vm->initrd && copy_initrd(c->initrd, vm->initrd, err))
		return -1;
	plan = open_memstream(&plan_text, &plan_len);
	if (!plan)
		return no_memory(err);
	cpio_begin(&cpio, c->initrd);
	add_fixed(&cpio);
	ret = add_modules(c, vm, &cpio, plan, log, err);
	if (!ret)
		ret = say_all(c, vm, plan, tty, tty_err, argc, argv, err);
	if (fclose(plan) && !ret)
		ret = no_memory(err);
	if (!ret) {
		cpio_add(&cpio, "lkvm/plan", S_IFREG | 0600, 0, plan_text, plan_len);
		ret = cpio_end(&cpio);
		if (ret)
			ret = fail_errno(err, -ret, "cannot write the initrd");
	}
	free(plan_text);
	vm->initrd = NULL;
	vm->initrd_fd = c->initrd;
	return ret;
}

/* --- before and after -------------------------------------------------------------------- */

static int add_streams(struct command_run *c, struct vm_config *vm, bool tty, bool tty_err,
		       struct error *err)
{
	if (!tty && (add_port(c, vm, PORT_IN, STDIN_FILENO, err) ||
		     add_port(c, vm, PORT_OUT, STDOUT_FILENO, err)))
		return -1;
	if (!tty_err && add_port(c, vm, PORT_ERR, STDERR_FILENO, err))
		return -1;
	return add_status_port(c, vm, err);
}

int command_prepare(struct command_run *c, struct vm_config *vm, int argc, char **argv,
		    struct log *log, struct error *err)
{
	bool tty = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	bool tty_err = tty && isatty(STDERR_FILENO);

	if (!guest_init_size)
		return fail(err, "this lkvm was built without the guest's init: no compiler for "
				 "RISC-V was there");
	if (vm->firmware)
		return fail(err,
			    "-f %s and a command after \"--\": only a Linux kernel (-k) runs "
			    "a command",
			    vm->firmware);
	/* The shares of the user's are mounted in the root: so it is the last. */
	if (make_archive(c, vm, tty, tty_err, argc, argv, log, err) ||
	    add_device(vm, &virtio_p9_kind, "/," ROOT_TAG ",ro", err) ||
	    add_streams(c, vm, tty, tty_err, err))
		return -1;
	if (tty)
		vm->console = CONSOLE_VIRTIO;
	else
		vm->console_in = vm->console_out = -1;
	vm->quiet = true;
	vm->on_reset = RESET_EXIT;
	return 0;
}

static void close_fd(int *fd)
{
	if (*fd > 0)
		close(*fd);
	*fd = 0;
}

static void on_status(void *opaque, uint32_t events)
{
	struct command_run *c = opaque;

	(void)events;
	loop_remove_fd(c->vm->loop, c->status);
	vm_end(c->vm, VM_POWEROFF);
}

int command_watch(struct command_run *c, struct vm *vm, struct error *err)
{
	int ret;

	if (!c->status)
		return 0;
	close_fd(&c->initrd);
	c->vm = vm;
	ret = loop_add_fd(vm->loop, c->status, EPOLLIN, on_status, c);
	return ret ? fail_errno(err, -ret, "cannot watch the command's status") : 0;
}

/* What the guest told, in one line; false: nothing. */
static bool read_status(const struct command_run *c, char *line, size_t size)
{
	ssize_t n = c->status > 0 ? read(c->status, line, size - 1) : -1;
	size_t i;

	if (n <= 0)
		return false;
	for (i = 0; i < (size_t)n && line[i] >= ' ' && line[i] < 0x7f; i++)
		;
	line[i] = '\0';
	return i > 0;
}

int command_verdict(struct command_run *c, enum vm_verdict verdict, const char *tail, size_t len,
		    struct log *log)
{
	static const char *const ends[] = {
		[VM_POWEROFF] = "powered off", [VM_RESET] = "was reset", [VM_QUIT] = "was stopped"};
	bool told;
	char line[512];
	unsigned int status;
	char more;

	told = read_status(c, line, sizeof(line));
	if (verdict == VM_TIMEOUT || verdict == VM_NOT_STARTED)
		return vm_verdict_status(verdict);
	if (verdict == VM_POWEROFF && told && sscanf(line, "status %u%c", &status, &more) == 1 &&
	    status <= 255)
		return (int)status;
	if (verdict == VM_POWEROFF && told && !strncmp(line, "error ", 6)) {
		log_error(log, "the guest could not run the command: %s", line + 6);
		return STATUS_NOT_STARTED;
	}
	if (verdict != VM_DIED)
		log_error(log, "the guest %s before the command ended; its console said last:",
			  ends[verdict]);
	show_last_lines(log, tail, len);
	return vm_verdict_status(VM_DIED);
}

void command_free(struct command_run *c)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(c->ports); i++)
		close_fd(&c->ports[i]);
	close_fd(&c->status);
	close_fd(&c->initrd);
	while (c->nr_texts)
		free(c->texts[--c->nr_texts]);
}
