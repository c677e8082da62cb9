// SPDX-License-Identifier: GPL-2.0-only
/*
 * The mistakes that people make most, and what they are told, word for word: what it was, which
 * option, which value, which limit, and what to do.
 */
#include "command_line.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOBODY 65534

static char dir[64];
static struct command_line line;

static void put(const char *path, const void *bytes, size_t len, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes, len), (ssize_t)len);
	close(fd);
}

static void put_kernel(void)
{
	uint8_t image[4096] = {0};

	/* Linux Documentation/arch/riscv/boot-image-header.rst */
	image[8 + 2] = 0x20;
	image[16 + 1] = 0x20;
	image[32] = 2;
	memcpy(image + 48, "RISCV\0\0\0", 8);
	memcpy(image + 56, "RSC\x05", 4);
	put("Image", image, sizeof(image), 0644);
	memset(image, 0, sizeof(image));
	memcpy(image,
	       "\x7f"
	       "ELF\2\1\1",
	       7);
	image[16] = 2;
	image[18] = 0x3e;
	image[20] = 1;
	put("vmlinux.x86", image, sizeof(image), 0644);
}

static void setup(void)
{
	snprintf(dir, sizeof(dir), "/tmp/lkvm-mistakes-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	put_kernel();
	put("notes.txt", "hello\n", 6, 0644);
	put("empty", "", 0, 0644);
	put("secret.img", "x", 1, 0);
	umask(0);
	put("disk.qcow2", "QFI\xfb\0\0\0\3", 8, 0666);
	put("vm.conf", "# a VM\nkernel = Image\ncpu = 2\n", 30, 0644);
	ck_assert_int_eq(mkdir("folder", 0755), 0);
	setenv("XDG_RUNTIME_DIR", dir, 1);
	line.host = fake_host_new(FAKE_7_2);
	/* Root may read everything, and makes other mistakes. */
	if (!geteuid()) {
		ck_assert_int_eq(chown(dir, NOBODY, NOBODY), 0);
		ck_assert_int_eq(setegid(NOBODY), 0);
		ck_assert_int_eq(seteuid(NOBODY), 0);
	}
}

static void teardown(void)
{
	static const char *const files[] = {"Image",	  "vmlinux.x86", "notes.txt", "empty",
					    "secret.img", "disk.qcow2",	 "vm.conf"};
	size_t i;

	fake_host_free(line.host);
	if (!getuid())
		ck_assert_int_eq(seteuid(0), 0);
	for (i = 0; i < ARRAY_SIZE(files); i++)
		unlink(files[i]);
	rmdir("folder");
	rmdir(dir);
}

static const struct {
	const char *words, *message;
	int no_kvm; /* what opening /dev/kvm fails with */
} mistakes[] = {
	{"rum -k Image", "Fatal: rum is neither a command nor a file; did you mean \"lkvm run\"?",
	 0},
	{"Imgae", "Fatal: Imgae is neither a command nor a file; \"lkvm help\" lists the commands",
	 0},
	{"run --kernal Image", "Fatal: unknown option --kernal; did you mean --kernel?", 0},
	{"run -kernel Image", "Fatal: unknown option -kernel; did you mean --kernel?", 0},
	{"run -k Image -nographic",
	 "Fatal: -nographic: the console is standard input and output already", 0},
	{"run -k Image -append x", "Fatal: -append: -p TEXT is the kernel's command line", 0},
	{"run -k Image -smp 4", "Fatal: -smp: -c N is the number of vCPUs", 0},
	{"run -k Image --drive file=x", "Fatal: --drive: -d PATH is a disk", 0},
	{"setup web",
	 "Fatal: setup: lkvm keeps no root file systems; \"lkvm run -- COMMAND\" uses the host's "
	 "files",
	 0},
	{"run -k Image --cpus", "Fatal: --cpus needs a value: N", 0},
	{"run -k nosuch", "Fatal: Unable to open kernel nosuch: No such file or directory", 0},
	{"./nosuch", "Fatal: Unable to open kernel ./nosuch: No such file or directory", 0},
	{"run -k folder", "Fatal: kernel folder is a directory: -k wants a regular file", 0},
	{"run -k notes.txt",
	 "Fatal: kernel notes.txt is a text file: -k takes a RISC-V Image, plain or "
	 "gzip-compressed, an EFI zboot Image (gzip), or a RISC-V ELF; -f takes a raw S-mode "
	 "binary",
	 0},
	{"run -k empty", "Fatal: kernel empty is empty (-k)", 0},
	{"run -k vmlinux.x86",
	 "Fatal: kernel vmlinux.x86 is an ELF for machine 62 (x86-64), not for RISC-V (243)", 0},
	{"run -k secret.img", "Fatal: Unable to open kernel secret.img: Permission denied", 0},
	{"run -k", "Fatal: --kernel needs a value: FILE", 0},
	{"run Image Image", "Fatal: Image: only one kernel can be started, and it is Image", 0},
	{"run -k Image Image", "Fatal: -k Image and Image: only one kernel can be started", 0},
	{"run -k Image -k Image", "Fatal: --kernel Image: given twice, the first time as Image", 0},
	{"run -k Image -f Image", "Fatal: -f Image and -k Image: a VM starts one of them", 0},
	{"run -k Image -i nosuch", "Fatal: Unable to open initrd nosuch: No such file or directory",
	 0},
	{"run -k Image -m 1",
	 "Fatal: -m: at least 16 MiB of RAM must lie at 0x80000000, where the guest starts", 0},
	{"run -k Image -m 0", "Fatal: --mem 0: RAM comes in whole MiB, at least one", 0},
	{"run -k Image -m 512MB/s", "Fatal: --mem 512MB/s: not a size such as 512M or 2G", 0},
	{"run -k Image -m 1.5G", "Fatal: --mem 1.5G: not a size such as 512M or 2G", 0},
	{"run -k Image -m 536870912",
	 "Fatal: -m: cannot reserve 512T of address space (a size without a suffix is in MiB): "
	 "Cannot allocate memory",
	 0},
	{"run -k Image -m 128M@0x1000",
	 "Fatal: --mem 128M@0x1000: the address must be a multiple of 2 MiB", 0},
	{"run -k Image -m 128M@0x200000",
	 "Fatal: -m 128M@0x200000: devices live below 0x80000000, so RAM must not", 0},
	{"run -k Image -m 128M@0x80000000 -m 128M@0x84000000",
	 "Fatal: -m: 128M at 0x80000000 and 128M at 0x84000000 overlap", 0},
	{"run -k Image -c 0", "Fatal: --cpus 0: a VM has at least one vCPU", 0},
	{"run -k Image -c two", "Fatal: --cpus two: not a whole number", 0},
	{"run -k Image -c 100000",
	 "Warning: -c 100000: KVM on this host takes at most 1024, so the VM has 1024 vCPUs", 0},
	{"run -k Image -d nosuch.img",
	 "Fatal: --disk nosuch.img: cannot open nosuch.img: No such file or directory", 0},
	{"run -k Image -d secret.img",
	 "Fatal: --disk secret.img: cannot open secret.img for writing (',ro' reads only): "
	 "Permission denied",
	 0},
	{"run -k Image -d folder",
	 "Fatal: --disk folder: a disk is a regular file or a block device: folder is a directory "
	 "(--share gives one to a guest)",
	 0},
	{"run -k Image -d disk.qcow2",
	 "Fatal: --disk disk.qcow2: disk.qcow2 is a qcow2 image, and lkvm itself reads and writes "
	 "raw ones only: convert it (qemu-img convert -O raw), or serve it by qemu-storage-daemon "
	 "and --vhost-user blk; ',format=raw' takes it as it is",
	 0},
	{"run -k Image -d disk.qcow2,format=qcow2",
	 "Fatal: --disk disk.qcow2,format=qcow2: lkvm itself reads and writes raw images only, not "
	 "'format=qcow2': let qemu-storage-daemon serve the image (--blockdev … --export "
	 "type=vhost-user-blk,…), and name its socket: --vhost-user blk,socket=PATH",
	 0},
	{"run -k Image -d notes.txt,readonly",
	 "Fatal: --disk notes.txt,readonly: unknown word 'readonly': there are ro, direct, serial, "
	 "format, queues, queue-size, aio",
	 0},
	{"run -k Image -n bridge",
	 "Fatal: --network bridge: the mode is one of user, tap, fd, vhost-user, none, not "
	 "'bridge'",
	 0},
	{"run -k Image -n tap=tap0",
	 "Fatal: --network tap=tap0: unknown word 'tap': did you mean 'tapif'?", 0},
	{"run -k Image --vsock 2",
	 "Fatal: --vsock 2: 2 is no CID of a guest: a number from 3 to 4294967294 is", 0},
	{"run -k Image --9p nosuch,tag",
	 "Fatal: --9p nosuch,tag: the directory 'nosuch' can't be opened: No such file or "
	 "directory",
	 0},
	{"run -k Image --9p folder",
	 "Fatal: --9p folder: DIR,TAG is needed: the directory, and the tag by which the guest "
	 "mounts it",
	 0},
	{"run -k Image --rng --rng", "Fatal: --rng: a VM has one of these at most", 0},
	{"run -k Image --console tty", "Fatal: --console tty: must be one of serial, hv, virtio",
	 0},
	{"run -k Image --hgatp sv32",
	 "Fatal: --hgatp sv32: must be one of auto, host, sv39, sv48, sv57", 0},
	{"run -k Image --disable-sstx",
	 "Fatal: unknown option --disable-sstx; did you mean --disable-sstc?", 0},
	{"run -k Image --isa rv64gc_zfoo",
	 "Fatal: --isa rv64gc_zfoo: no extension is called \"zfoo\"", 0},
	{"run -k Image --name 'my vm'",
	 "Fatal: --name my vm: a name is 1 to 64 of the characters A-Z a-z 0-9 . _ -", 0},
	{"run -k Image --timeout 0", "Fatal: --timeout 0: a time limit is at least one second", 0},
	{"run -k Image --loglevel verbose",
	 "Fatal: --loglevel verbose: not one of error, warning, info, debug", 0},
	{"run -k Image --env A=b", "Fatal: --env is for a command, and there is none after \"--\"",
	 0},
	{"run --config vm.conf", "Fatal: vm.conf:3: unknown option cpu; did you mean cpus?", 0},
	{"run --config nosuch.conf", "Fatal: --config nosuch.conf: No such file or directory", 0},
	{"run -k Image",
	 "Fatal: /dev/kvm is missing: this host has no KVM, because its processor lacks the H "
	 "extension or the kvm module is not loaded (try modprobe kvm)",
	 ENOENT},
	{"run -k Image",
	 "Fatal: /dev/kvm is forbidden to this user: join its group, usually by \"sudo usermod -aG "
	 "kvm $USER\" and a new login",
	 EACCES},
	{"stop",
	 "Fatal: lkvm stop wants the name of a VM, or -a for all (\"lkvm list\" shows them)", 0},
	{"stop web", "Fatal: no VM runs here", 0},
	{"stop -a web", "Fatal: -a and web: all VMs, or one of them", 0},
	{"stop -n web --graceful --kill",
	 "Fatal: --graceful and --kill: a VM is stopped in one of these ways", 0},
	{"pause web db", "Fatal: web and db: lkvm pause takes one VM, or -a for all", 0},
	{"list web", "Fatal: 'web' is no option of lkvm list, which takes nothing else", 0},
	{"snapshot web", "Fatal: lkvm snapshot wants the name of a VM and a FILE", 0},
	{"snapshot info nosuch.snap", "Fatal: cannot open nosuch.snap: No such file or directory",
	 0},
	{"restore notes.txt",
	 "Fatal: notes.txt: header: the file has 6 bytes, a snapshot at least 4096", 0},
	{"restore", "Fatal: lkvm restore wants one FILE", 0},
	{"help snapsot", "Fatal: there is no command snapsot; did you mean \"lkvm help snapshot\"?",
	 0},
};

START_TEST(mistake)
{
	int status;

	if (mistakes[_i].no_kvm)
		fake_arm(line.host, FAKE_OPEN, 1, mistakes[_i].no_kvm);
	status = command_line_try(&line, mistakes[_i].words, true);
	ck_assert_str_eq(line.message, mistakes[_i].message);
	/* 125: nothing was started. Commands to running VMs: 1. A warning is no mistake. */
	if (!strncmp(line.message, "Warning", 7))
		ck_assert_int_eq(status, 0);
	else
		ck_assert(status == 125 || status == 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mistakes");
	TCase *tc = tcase_create("mistakes");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, mistake, 0, ARRAY_SIZE(mistakes));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
