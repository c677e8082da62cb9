// SPDX-License-Identifier: GPL-2.0-only
/*
 * Options that people know from kvmtool and QEMU, and that "lkvm run" does not have: what to say in
 * their place. Where lkvm has an option of kvmtool's it has kvmtool's spelling.
 *
 * Constant.
 */
#include "vm_options.h"

#define SAY(option, text)                                                                          \
	{                                                                                          \
		.name = (option), .help = (text), .set = option_refuse, .hidden = true             \
	}

/* Where lkvm had one of these itself, its own row would come first. */
const struct option_spec foreign_rows[] = {
	/* kvmtool */
	SAY("dev", "lkvm uses /dev/kvm and no other"),
	SAY("debug", "--loglevel debug says more"),
	SAY("debug-single-step", "--gdb lets GDB in, which steps"),
	SAY("debug-ioport", "RISC-V has no I/O ports"),
	SAY("debug-mmio", "--loglevel debug tells of accesses that no device takes"),
	SAY("debug-iodelay", "there is no delay to insert"),
	SAY("tty", "--console-port NAME,console,pty gives the guest another console"),
	SAY("sandbox", "\"lkvm run [options] -- COMMAND\" runs a command in a guest"),
	SAY("shmem", "--pmem FILE maps a file that others can map too"),
	SAY("virtio-9p", "--9p DIR,TAG shares a directory"),
	SAY("no-dhcp", "lkvm does not set up the guest's network; the guest does, or leaves it"),
	SAY("flash", "there is no flash; -f FILE starts a firmware"),
	SAY("vfio-pci", "the host's PCI devices can't be given to guests"),
	SAY("hugetlbfs", "guest memory takes transparent huge pages by itself"),
	SAY("sdl", "there is no picture; the console is standard input and output"),
	SAY("gtk", "there is no picture; the console is standard input and output"),
	SAY("vnc", "there is no picture; the console is standard input and output"),
	/* QEMU */
	SAY("nographic", "the console is standard input and output already"),
	SAY("append", "-p TEXT is the kernel's command line"),
	SAY("smp", "-c N is the number of vCPUs"),
	SAY("drive", "-d PATH is a disk"),
	SAY("hda", "-d PATH is a disk"),
	SAY("bios", "-f FILE starts a firmware"),
	SAY("machine", "there is one machine; \"lkvm help run\" has what can be chosen"),
	SAY("enable-kvm", "there is nothing but KVM here"),
	SAY("netdev", "-n mode=user is a network device"),
	{.name = NULL},
};
