// SPDX-License-Identifier: GPL-2.0-only
/*
 * Carry out the plan: the file /lkvm/plan is a list of strings, each with a NUL behind
 * it: a word that says what to do, and its values. They are done in their order:
 *
 *   module FILE              load it; one that is there already is none too many
 *   status NAME              the port that the verdict goes to
 *   root TYPE TAG            the share that the command sees as /, read-only beneath an
 *                            overlay in memory
 *   share TYPE TAG PATH MODE a share in it, MODE ro or rw
 *   enter                    / is the new root from here on
 *   uid N, gid N, group N, cwd PATH, env NAME=VALUE, arg WORD
 *   tty in|out|err           that stream is the terminal hvc0
 *
 * TYPE is 9p, virtiofs, or any: whichever finds the tag. The host wrote the plan, so nothing in it
 * is suspicious; what the guest's kernel lacks is told by the name of the option that brings it.
 */
#include "init.h"

#include <linux/if.h>
#include <linux/mount.h>
#include <linux/sockios.h>
#include <linux/stat.h>

#define PLAN_MAX (4u << 20)

/* finit_module(2): the kernel unpacks it (CONFIG_MODULE_DECOMPRESS). */
#define INIT_COMPRESSED_FILE 4

#define P9_OPTIONS "trans=virtio,version=9p2000.L,msize=524288,cache=loose"

static long mount_at(const char *what, const char *where, const char *type, unsigned long flags,
		     const char *options)
{
	return sys(__NR_mount, what, where, type, flags, options);
}

/* All directories of @path, as far as they are not there. */
static void make_dirs(const char *path)
{
	char part[4096];
	size_t i;

	for (i = 0; path[i] && i + 1 < sizeof(part); i++) {
		part[i] = path[i];
		if (i && (path[i + 1] == '/' || !path[i + 1])) {
			part[i + 1] = '\0';
			sys(__NR_mkdirat, AT_FDCWD, part, 0755);
		}
	}
}

static void basics(struct plan *p)
{
	long ret;

	make_dirs("/proc");
	make_dirs("/sys");
	make_dirs("/dev");
	ret = mount_at("proc", "/proc", "proc", 0, NULL);
	if (!ret)
		ret = mount_at("sysfs", "/sys", "sysfs", 0, NULL);
	if (ret)
		give_up(p, "cannot mount /proc and /sys", NULL, ret);
	ret = mount_at("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	if (ret && ret != -EBUSY)
		give_up(p, "the kernel lacks CONFIG_DEVTMPFS", NULL, ret);
}

static bool ends_in(const char *s, const char *end)
{
	size_t n = str_len(s), m = str_len(end);

	return n >= m && str_same(s + n - m, end);
}

static void load_module(struct plan *p, const char *file)
{
	long fd = sys(__NR_openat, AT_FDCWD, file, O_RDONLY | O_CLOEXEC), ret;

	if (fd < 0)
		give_up(p, "there is no", file, fd);
	ret = sys(__NR_finit_module, fd, "", ends_in(file, ".ko") ? 0 : INIT_COMPRESSED_FILE);
	if (ret && ret != -EEXIST)
		give_up(p,
			ret == -EOPNOTSUPP ? "the kernel lacks CONFIG_MODULE_DECOMPRESS for"
					   : "the kernel refuses the module",
			file, ret);
	sys(__NR_close, fd);
}

static const char *option_of(const char *type)
{
	return str_same(type, "9p") ? "the kernel lacks CONFIG_9P_FS and CONFIG_NET_9P_VIRTIO, or"
				    : "the kernel lacks CONFIG_VIRTIO_FS, or";
}

static long mount_tag(const char *type, const char *tag, const char *where, unsigned long flags)
{
	bool any = str_same(type, "any");
	long ret = -ENODEV;

	if (any || str_same(type, "virtiofs"))
		ret = mount_at(tag, where, "virtiofs", flags, NULL);
	if (ret && (any || str_same(type, "9p")))
		ret = mount_at(tag, where, "9p", flags, P9_OPTIONS);
	return ret;
}

/* The device behind the tag may still be on its way. */
static void mount_share(struct plan *p, const char *type, const char *tag, const char *where,
			bool ro)
{
	unsigned long flags = ro ? MS_RDONLY : 0;
	long ret = -ENOENT;
	int tries;

	for (tries = 0; tries < 1000 && (ret == -ENOENT || ret == -EINVAL); tries++) {
		ret = mount_tag(type, tag, where, flags);
		if (ret)
			sleep_ms(5);
	}
	if (ret == -ENODEV)
		give_up(p, option_of(type), "its module was not found", ret);
	if (ret)
		give_up(p, "cannot mount the share", tag, ret);
}

static void mount_root(struct plan *p, const char *type, const char *tag)
{
	long ret;

	make_dirs("/lkvm/lower");
	make_dirs("/lkvm/memory");
	make_dirs("/lkvm/root");
	mount_share(p, type, tag, "/lkvm/lower", true);
	ret = mount_at("tmpfs", "/lkvm/memory", "tmpfs", 0, "mode=755");
	if (ret)
		give_up(p, "the kernel lacks CONFIG_TMPFS", NULL, ret);
	make_dirs("/lkvm/memory/upper");
	make_dirs("/lkvm/memory/work");
	ret = mount_at("overlay", "/lkvm/root", "overlay", 0,
		       "lowerdir=/lkvm/lower,upperdir=/lkvm/memory/upper,"
		       "workdir=/lkvm/memory/work");
	if (ret == -ENODEV)
		give_up(p, "the kernel lacks CONFIG_OVERLAY_FS, or its module was not found", NULL,
			ret);
	if (ret)
		give_up(p, "cannot lay memory over the root", NULL, ret);
}

static void mount_beneath(struct plan *p, const char *type, const char *tag, const char *path,
			  bool ro)
{
	char where[4096] = "/lkvm/root";

	str_add(where, sizeof(where), path);
	make_dirs(where);
	mount_share(p, type, tag, where, ro);
}

/* What every program expects, where the root has a place for it. */
static void mount_kernel_files(void)
{
	static const struct {
		const char *what, *where, *options;
	} rows[] = {
		{"proc", "/lkvm/root/proc", NULL},
		{"sysfs", "/lkvm/root/sys", NULL},
		{"devtmpfs", "/lkvm/root/dev", NULL},
		{"devpts", "/lkvm/root/dev/pts", "mode=620,ptmxmode=666"},
		{"tmpfs", "/lkvm/root/dev/shm", "mode=1777"},
		{"tmpfs", "/lkvm/root/run", "mode=755"},
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		make_dirs(rows[i].where);
		mount_at(rows[i].what, rows[i].where, rows[i].what, 0, rows[i].options);
	}
}

/* Links in /dev that udev would make. */
static void link_streams(void)
{
	sys(__NR_symlinkat, "/proc/self/fd", AT_FDCWD, "/dev/fd");
	sys(__NR_symlinkat, "/proc/self/fd/0", AT_FDCWD, "/dev/stdin");
	sys(__NR_symlinkat, "/proc/self/fd/1", AT_FDCWD, "/dev/stdout");
	sys(__NR_symlinkat, "/proc/self/fd/2", AT_FDCWD, "/dev/stderr");
}

static void loopback_up(void)
{
	long fd = sys(__NR_socket, 2 /* AF_INET */, 2 /* SOCK_DGRAM */, 0);
	struct ifreq ifr = {.ifr_flags = IFF_UP};

	if (fd < 0)
		return;
	ifr.ifr_name[0] = 'l';
	ifr.ifr_name[1] = 'o';
	sys(__NR_ioctl, fd, SIOCSIFFLAGS, &ifr);
	sys(__NR_close, fd);
}

static void enter_root(struct plan *p)
{
	long ret;

	mount_kernel_files();
	ret = sys(__NR_chdir, "/lkvm/root");
	if (!ret)
		ret = mount_at(".", "/", NULL, MS_MOVE, NULL);
	if (!ret)
		ret = sys(__NR_chroot, ".");
	if (!ret)
		ret = sys(__NR_chdir, "/");
	if (ret)
		give_up(p, "cannot enter the new root", NULL, ret);
	link_streams();
	loopback_up();
}

int port_open(const char *name, int flags)
{
	static char entries[4096];
	char path[300], text[100];
	long fd = sys(__NR_openat, AT_FDCWD, "/sys/class/virtio-ports",
		      O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	long n = 0, at, ret = -ENOENT;

	if (fd < 0)
		return (int)fd;
	while (ret == -ENOENT && (n = sys(__NR_getdents64, fd, entries, sizeof(entries))) > 0) {
		for (at = 0; at < n && ret == -ENOENT;) {
			const char *entry = entries + at;
			const char *port = entry + 19;
			uint16_t size = (uint16_t)((uint8_t)entry[16] | (uint8_t)entry[17] << 8);

			at += size;
			path[0] = '\0';
			str_add(path, sizeof(path), "/sys/class/virtio-ports/");
			str_add(path, sizeof(path), port);
			str_add(path, sizeof(path), "/name");
			if (port[0] == '.' || read_file(path, text, sizeof(text)) <= 0)
				continue;
			text[str_len(text) - 1] = '\0';
			if (!str_same(text, name))
				continue;
			path[0] = '\0';
			str_add(path, sizeof(path), "/dev/");
			str_add(path, sizeof(path), port);
			ret = sys(__NR_openat, AT_FDCWD, path, flags | O_CLOEXEC);
		}
	}
	sys(__NR_close, fd);
	return (int)ret;
}

/* Ports are announced one after the other once the driver is there. */
static void find_status(struct plan *p, const char *name)
{
	int tries;

	for (tries = 0; tries < 2000 && p->status < 0; tries++) {
		p->status = port_open(name, O_WRONLY);
		if (p->status < 0)
			sleep_ms(5);
	}
	if (p->status < 0)
		give_up(p,
			"no console port: the kernel lacks CONFIG_VIRTIO_CONSOLE, "
			"CONFIG_VIRTIO_MMIO or CONFIG_VIRTIO_PCI, or",
			"its module was not found", p->status);
}

static enum stream stream_of(const char *word)
{
	return str_same(word, "in") ? STREAM_IN : str_same(word, "out") ? STREAM_OUT : STREAM_ERR;
}

/* The next string behind @s. */
static const char *after(const char *s)
{
	return s + str_len(s) + 1;
}

/* One word of the plan and its values; returns what follows them. */
static const char *carry_out(struct plan *p, const char *word)
{
	const char *a = after(word), *b, *c, *d;

	if (str_same(word, "module")) {
		load_module(p, a);
	} else if (str_same(word, "status")) {
		find_status(p, a);
	} else if (str_same(word, "root")) {
		b = after(a);
		mount_root(p, a, b);
		return after(b);
	} else if (str_same(word, "share")) {
		b = after(a);
		c = after(b);
		d = after(c);
		mount_beneath(p, a, b, c, str_same(d, "ro"));
		return after(d);
	} else if (str_same(word, "enter")) {
		enter_root(p);
		return a;
	} else if (str_same(word, "uid")) {
		p->uid = (uint32_t)str_number(a);
	} else if (str_same(word, "gid")) {
		p->gid = (uint32_t)str_number(a);
	} else if (str_same(word, "group") && p->nr_groups < MAX_GROUPS) {
		p->groups[p->nr_groups++] = (uint32_t)str_number(a);
	} else if (str_same(word, "cwd")) {
		p->cwd = a;
	} else if (str_same(word, "env") && p->envc < MAX_ARGS) {
		p->envp[p->envc++] = a;
	} else if (str_same(word, "arg") && p->argc < MAX_ARGS) {
		p->argv[p->argc++] = a;
	} else if (str_same(word, "tty")) {
		p->tty[stream_of(a)] = true;
	} else {
		give_up(p, "the plan has a word that this init does not know:", word, 0);
	}
	return after(a);
}

void plan_carry_out(struct plan *p)
{
	static char text[PLAN_MAX];
	const char *s = text;
	long len;

	basics(p);
	len = read_file("/lkvm/plan", text, sizeof(text));
	if (len <= 0)
		give_up(p, "there is no /lkvm/plan", NULL, len);
	while (s < text + len)
		s = carry_out(p, s);
	if (!p->argc || !p->cwd)
		give_up(p, "the plan names no command", NULL, 0);
}
