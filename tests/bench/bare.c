// SPDX-License-Identifier: GPL-2.0-only
/*
 * bare: the least that runs a guest: what an exit to user space costs before a VMM does anything.
 *
 * Theory of operation: one memslot at 2 GiB with a flat image (tests/boot/tiny.S) 2 MiB above its
 * start, one vCPU, and KVM_RUN in a loop. A load gives 0, but of the serial port's line status
 *"ready"; a store to the port's first register is a byte of output. A power-off ends it. Nothing
 *else is known.
 *
 *	bare IMAGE		one thread, as little as can be
 *	bare IMAGE threads	beside one that sleeps: the kernel counts uses of each descriptor
 *where the table is shared, as in every VMM whose vCPUs have threads
 */
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define RAM 0x80000000
#define RAM_SIZE (4ul << 20)
#define LOAD_AT (2ul << 20)
#define SERIAL 0x10000000
#define SERIAL_READY 0x60

static int must(const char *what, int ret)
{
	if (ret < 0)
		err(1, "%s", what);
	return ret;
}

static void *sleeper(void *nothing)
{
	pause();
	return nothing;
}

static void exit_mmio(struct kvm_run *run)
{
	if (!run->mmio.is_write) {
		memset(run->mmio.data, 0, sizeof(run->mmio.data));
		if (run->mmio.phys_addr == SERIAL + 5)
			run->mmio.data[0] = SERIAL_READY;
	} else if (run->mmio.phys_addr == SERIAL) {
		putchar(run->mmio.data[0]);
	}
}

int main(int argc, char **argv)
{
	int kvm = must("/dev/kvm", open("/dev/kvm", O_RDWR | O_CLOEXEC));
	int vm = must("KVM_CREATE_VM", ioctl(kvm, KVM_CREATE_VM, 0)), vcpu, image;
	struct kvm_userspace_memory_region slot = {.guest_phys_addr = RAM, .memory_size = RAM_SIZE};
	uint64_t pc = RAM + LOAD_AT;
	struct kvm_one_reg reg = {.id = KVM_REG_RISCV | KVM_REG_SIZE_U64 | KVM_REG_RISCV_CORE |
					KVM_REG_RISCV_CORE_REG(regs.pc),
				  .addr = (uintptr_t)&pc};
	struct kvm_run *run;
	pthread_t thread;
	char *ram;

	image = must("image", open(argc > 1 ? argv[1] : "", O_RDONLY | O_CLOEXEC));
	ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must("read", (int)read(image, ram + LOAD_AT, RAM_SIZE - LOAD_AT));
	slot.userspace_addr = (uintptr_t)ram;
	must("memslot", ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot));
	vcpu = must("KVM_CREATE_VCPU", ioctl(vm, KVM_CREATE_VCPU, 0));
	must("pc", ioctl(vcpu, KVM_SET_ONE_REG, &reg));
	run = mmap(NULL, (size_t)must("size", ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0)),
		   PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (argc > 2 && pthread_create(&thread, NULL, sleeper, NULL))
		errx(1, "no thread");
	for (;;) {
		must("KVM_RUN", ioctl(vcpu, KVM_RUN, 0));
		if (run->exit_reason == KVM_EXIT_MMIO)
			exit_mmio(run);
		else if (run->exit_reason == KVM_EXIT_SYSTEM_EVENT)
			return 0;
		else
			errx(1, "exit %u", run->exit_reason);
	}
}
