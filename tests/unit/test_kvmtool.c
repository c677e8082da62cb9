// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmtool's users are at home: the options of its README, its man page and its help that make
 * sense on RISC-V, and command lines that others' scripts use, mean here what they mean there;
 * those that can't be had are refused with what there is in their place.
 */
#include "command_line.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct command_line line;

static void setup(void)
{
	line.host = fake_host_new(FAKE_7_2);
	setenv("XDG_RUNTIME_DIR", "/nonexistent", 1);
}

static void teardown(void)
{
	fake_host_free(line.host);
}

/* What would be started: as command_line.c describes it; 512M is what nobody asked for. */
static const struct {
	const char *words, *plan;
} taken[] = {
	{"run -k Image", "kernel=Image cpus=1 mem=512M"},
	{"run --kernel Image", "kernel=Image cpus=1 mem=512M"},
	{"run --kernel=Image", "kernel=Image cpus=1 mem=512M"},
	{"run ./Image", "kernel=./Image cpus=1 mem=512M"},
	{"./Image", "kernel=./Image cpus=1 mem=512M"},
	{"run -k Image -c 4", "kernel=Image cpus=4 mem=512M"},
	{"run -k Image -c4", "kernel=Image cpus=4 mem=512M"},
	{"run -k Image --cpus 4", "kernel=Image cpus=4 mem=512M"},
	{"run -k Image -m 256", "kernel=Image cpus=1 mem=256M"},
	{"run -k Image --mem 256", "kernel=Image cpus=1 mem=256M"},
	{"run -k Image -m 2G", "kernel=Image cpus=1 mem=2G"},
	{"run -k Image -m 512M@0x80000000", "kernel=Image cpus=1 mem=512M@0x80000000"},
	{"run -k Image -p 'root=/dev/vda rw'",
	 "kernel=Image params=[root=/dev/vda rw] cpus=1 mem=512M"},
	{"run -k Image --params quiet", "kernel=Image params=[quiet] cpus=1 mem=512M"},
	{"run -k Image -i initrd.img", "kernel=Image initrd=initrd.img cpus=1 mem=512M"},
	{"run -k Image --initrd initrd.img", "kernel=Image initrd=initrd.img cpus=1 mem=512M"},
	{"run -f u-boot.bin", "firmware=u-boot.bin cpus=1 mem=512M"},
	{"run --firmware u-boot.bin", "firmware=u-boot.bin cpus=1 mem=512M"},
	{"run -k Image -d root.img", "kernel=Image cpus=1 mem=512M disk[root.img]"},
	{"run -k Image --disk root.img,ro -d /dev/sdb",
	 "kernel=Image cpus=1 mem=512M disk[root.img,ro] disk[/dev/sdb]"},
	{"run -k Image --disk root.img,direct",
	 "kernel=Image cpus=1 mem=512M disk[root.img,direct]"},
	{"run --disk linux-0.2.img --kernel ../../arch/riscv/boot/Image",
	 "kernel=../../arch/riscv/boot/Image cpus=1 mem=512M disk[linux-0.2.img]"},
	{"run -k Image --console serial", "kernel=Image cpus=1 mem=512M"},
	{"run -k Image --console virtio",
	 "kernel=Image cpus=1 mem=512M console=virtio console[virtio]"},
	{"run -k Image --console hv", "kernel=Image cpus=1 mem=512M console=hv"},
	{"run -k Image --rng", "kernel=Image cpus=1 mem=512M rng[]"},
	{"run -k Image --balloon", "kernel=Image cpus=1 mem=512M balloon[]"},
	{"run -k Image --vsock 3", "kernel=Image cpus=1 mem=512M vsock[3]"},
	{"run -k Image --9p /srv,data", "kernel=Image cpus=1 mem=512M 9p[/srv,data]"},
	{"run -k Image -n mode=user", "kernel=Image cpus=1 mem=512M network[mode=user]"},
	{"run -k Image --network mode=none", "kernel=Image cpus=1 mem=512M network[mode=none]"},
	{"run -k Image -n mode=tap,tapif=tap0,guest_mac=02:15:15:15:15:15,script=none",
	 "kernel=Image cpus=1 mem=512M "
	 "network[mode=tap,tapif=tap0,guest_mac=02:15:15:15:15:15,script=none]"},
	{"run -k Image -n mode=tap,host_ip=192.168.33.1,vhost=1",
	 "kernel=Image cpus=1 mem=512M network[mode=tap,host_ip=192.168.33.1,vhost=1]"},
	{"run -k Image --name web", "kernel=Image cpus=1 mem=512M name=web"},
	{"run -k Image --nodefaults", "kernel=Image nodefaults cpus=1 mem=512M"},
	{"run -k Image --loglevel=warning", "kernel=Image cpus=1 mem=512M"},
	{"run -k Image --loglevel error", "kernel=Image cpus=1 mem=512M"},
	{"run -k Image --loglevel debug", "kernel=Image cpus=1 mem=512M"},
	{"run -k Image --dump-dtb guest.dtb", "kernel=Image cpus=1 mem=512M dump-dtb=guest.dtb"},
	{"run -k Image --virtio-transport pci", "kernel=Image cpus=1 mem=512M transport=pci"},
	{"run -k Image --virtio-transport mmio", "kernel=Image cpus=1 mem=512M transport=mmio"},
	{"run -k Image --irqchip aia", "kernel=Image cpus=1 mem=512M irqchip=aia"},
	{"run -k Image --disable-sstc --disable-sbi-pmu",
	 "kernel=Image cpus=1 mem=512M without-sstc without-sbi-pmu"},
	{"run -k Image --custom-mvendorid 1 --custom-marchid 2 --custom-mimpid 3",
	 "kernel=Image cpus=1 mem=512M mvendorid=1 marchid=2 mimpid=3"},
	/* Scripts of others: kvm-unit-tests, an emulated board, a bare-metal test. */
	{"run --nodefaults --network mode=none --loglevel=warning --kernel test.flat "
	 "--params 'smp 2' --initrd env.txt --cpus 2 --console serial",
	 "kernel=test.flat initrd=env.txt params=[smp 2] nodefaults cpus=2 mem=512M "
	 "network[mode=none]"},
	{"run -m 256 -c1 --console serial -p 'console=ttyS0 earlycon' -k ./Image",
	 "kernel=./Image params=[console=ttyS0 earlycon] cpus=1 mem=256M"},
	{"run --disk out.ext4,ro --kernel Image --cpus 1 --mem 8192 --network mode=none "
	 "--params root=/dev/vda --rng",
	 "kernel=Image params=[root=/dev/vda] cpus=1 mem=8G disk[out.ext4,ro] network[mode=none] "
	 "rng[]"},
};

START_TEST(same_meaning)
{
	int status = command_line_try(&line, taken[_i].words, false);

	ck_assert_str_eq(line.message, "");
	ck_assert_int_eq(status, 0);
	ck_assert_str_eq(line.plan, taken[_i].plan);
}
END_TEST

/* Commands to running VMs: their words are understood, and there is no VM. */
static const char *const asked[] = {
	"pause -n web", "pause --name web", "resume -n web",	 "resume --name web",
	"stop -n web",	"stop --name web",  "debug -n web",	 "debug --name web",
	"stat -n web",	"stat --name web",  "balloon -n web 64", "pause -a",
	"resume --all", "stop --all",	    "stat -a",		 "debug --all",
};

START_TEST(commands)
{
	bool all = strstr(asked[_i], " -a") || strstr(asked[_i], " --all");

	ck_assert_int_eq(command_line_try(&line, asked[_i], true), !all);
	ck_assert_str_eq(line.message, all ? "" : "Fatal: no VM runs here");
}
END_TEST

START_TEST(listing)
{
	ck_assert_int_eq(command_line_try(&line, "list", true), 0);
	ck_assert_int_eq(command_line_try(&line, "list --run", true), 0);
	ck_assert_int_eq(command_line_try(&line, "list -i", true), 0);
	ck_assert_int_eq(command_line_try(&line, "version", true), 0);
}
END_TEST

static const struct {
	const char *words, *message;
} refused[] = {
	{"run -k Image --dev /dev/kvm", "Fatal: --dev: lkvm uses /dev/kvm and no other"},
	{"run -k Image --debug", "Fatal: --debug: --loglevel debug says more"},
	{"run -k Image --debug-single-step",
	 "Fatal: --debug-single-step: --gdb lets GDB in, which steps"},
	{"run -k Image --debug-ioport", "Fatal: --debug-ioport: RISC-V has no I/O ports"},
	{"run -k Image --tty 1",
	 "Fatal: --tty: --console-port NAME,console,pty gives the guest another console"},
	{"run -k Image --sandbox x",
	 "Fatal: --sandbox: \"lkvm run [options] -- COMMAND\" runs a command in a guest"},
	{"run -k Image --virtio-9p /srv,data",
	 "Fatal: --virtio-9p: --9p DIR,TAG shares a directory"},
	{"run -k Image --hugetlbfs /mnt",
	 "Fatal: --hugetlbfs: guest memory takes transparent huge pages by itself"},
	{"run -k Image --flash x", "Fatal: --flash: there is no flash; -f FILE starts a firmware"},
	{"run -k Image --vfio-pci 0000:00:01.0",
	 "Fatal: --vfio-pci: the host's PCI devices can't be given to guests"},
	{"run -k Image --shmem 0x1000:8K",
	 "Fatal: --shmem: --pmem FILE maps a file that others can map too"},
	{"run -k Image --sdl",
	 "Fatal: --sdl: there is no picture; the console is standard input and output"},
	{"run -k Image --no-dhcp",
	 "Fatal: --no-dhcp: lkvm does not set up the guest's network; the "
	 "guest does, or leaves it"},
	{"setup web", "Fatal: setup: lkvm keeps no root file systems; \"lkvm run -- COMMAND\" uses "
		      "the host's files"},
	{"sandbox -k Image -- ls",
	 "Fatal: sandbox: \"lkvm run [options] -- COMMAND\" runs a command in a guest"},
	{"balloon -n web --inflate 64",
	 "Fatal: --inflate: say how large the balloon is to be: lkvm balloon NAME SIZE"},
	{"balloon -n web -d 64",
	 "Fatal: -d: say how large the balloon is to be: lkvm balloon NAME SIZE"},
	{"list --rootfs", "Fatal: --rootfs: lkvm keeps no root file systems"},
	{"list -r", "Fatal: -r: lkvm keeps no root file systems"},
	{"stat -n web -m",
	 "Fatal: -m: \"lkvm balloon NAME\" shows the guest's own figures of its memory"},
	{"debug -n web --nmi 0", "Fatal: --nmi: RISC-V guests have no NMI"},
	{"debug -n web -s t", "Fatal: -s: a guest's SysRq is reached by its own console"},
};

START_TEST(refusals)
{
	int status = command_line_try(&line, refused[_i].words, false);

	ck_assert_str_eq(line.message, refused[_i].message);
	ck_assert(status == 125 || status == 1);
}
END_TEST

/* The devices that these words ask for are made by them. */
static const char *const built[] = {
	"run -k /proc/self/fd/9 --rng --balloon --network mode=none --console virtio",
	"run -k /proc/self/fd/9 --9p /tmp,data -c 2 -m 64",
	/* The bare-metal line. */
	("run --nodefaults --network mode=none --loglevel=warning --kernel /proc/self/fd/9 "
	 "--params 'smp 2' --initrd /proc/self/fd/8 --cpus 2 --console serial"),
};

START_TEST(machines)
{
	uint8_t image[4096] = {0};
	int fd;

	/* Linux Documentation/arch/riscv/boot-image-header.rst */
	image[8 + 2] = 0x20;
	image[16 + 1] = 0x20;
	image[32] = 2;
	memcpy(image + 48, "RISCV\0\0\0", 8);
	memcpy(image + 56, "RSC\x05", 4);
	fd = fileno(tmpfile());
	ck_assert_int_eq(write_all(fd, image, sizeof(image)), sizeof(image));
	ck_assert_int_eq(dup2(fd, 9), 9);
	fd = fileno(tmpfile());
	ck_assert_int_eq(write_all(fd, "NR_CPUS=2\n", 10), 10);
	ck_assert_int_eq(dup2(fd, 8), 8);
	ck_assert_int_eq(command_line_try(&line, built[_i], true), 0);
	ck_assert_str_eq(line.message, "");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kvmtool");
	TCase *tc = tcase_create("kvmtool");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, same_meaning, 0, ARRAY_SIZE(taken));
	tcase_add_loop_test(tc, commands, 0, ARRAY_SIZE(asked));
	tcase_add_test(tc, listing);
	tcase_add_loop_test(tc, refusals, 0, ARRAY_SIZE(refused));
	tcase_add_loop_test(tc, machines, 0, ARRAY_SIZE(built));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
