// SPDX-License-Identifier: GPL-2.0-only
/*
 * huge: how many exits to KVM does it cost a guest to touch its memory?
 *
 * Theory of operation: a VM is made with the product's own memory and KVM code,
 * and its one vCPU stores a word in every 4 KiB page of a memslot. A G-stage
 * mapping of 2 MiB is made by one fault, 512 pages of 4 KiB by as many, so the
 * exits that KVM counts for the vCPU (KVM_GET_STATS_FD, "exits"; Linux
 * Documentation/virt/kvm/api.rst) tell which kind was made. Timer ticks of the host
 * are exits too; they are few. Three ways to lay the slot out:
 *
 *	aligned		as the product does: HVA and GPA agree modulo 2 MiB
 *	misaligned	the HVA is one 4 KiB page further: host pages may be huge,
 *			G-stage mappings can't
 *	partial		aligned, but the slot begins and ends in the middle of 2 MiB
 *
 * A huge host page that lies in a slot in part only makes Linux 7.2 warn when it
 * looks for idle pages (kvm_age_gfn() expects whole ones), so the last two layouts
 * have small host pages at their two ends. lkvm's own slots can't come to that: the
 * host's mapping ends where the slot ends.
 *
 * A run gives the line "huge: LAYOUT N MiB: touches N exits N AnonHugePages N KiB
 * us N". The memory is touched by the guest only: that is where the faults are.
 *
 * usage: huge MIB [LAYOUT...]
 *
 * One thread; nothing stays. RISC-V only: the guest is code of this program.
 */
#include "lkvm/kvm.h"
#include "lkvm/memory.h"
#include "lkvm/riscv/regs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define CODE_GPA UINT64_C(0x80000000)
#define RAM_GPA UINT64_C(0x100000000)
#define TOUCH 4096

/* a0: first address, a1: end. The store of zero to address 0 ends it: MMIO. */
__asm__(".pushsection .rodata\n"
	"	.balign 4\n"
	"touch_code:\n"
	"	li t0, 4096\n"
	"1:	sd a0, 0(a0)\n"
	"	add a0, a0, t0\n"
	"	bltu a0, a1, 1b\n"
	"	sw zero, 0(zero)\n"
	"2:	j 2b\n"
	"touch_end:\n"
	"	.popsection\n");
extern const char touch_code[], touch_end[];

static void stop(const char *what, int ret)
{
	fprintf(stderr, "huge: %s: %s\n", what, strerror(-ret));
	exit(1);
}

static void need(const char *what, int ret)
{
	if (ret < 0)
		stop(what, ret);
}

static uint64_t count_exits(const struct kvm_vcpu *vcpu)
{
	int fd = kvm_vcpu_ioctl(vcpu, KVM_GET_STATS_FD, 0);
	struct kvm_stats_header head;
	struct kvm_stats_desc *desc;
	uint64_t value = UINT64_MAX;
	size_t size;
	uint32_t i;

	need("KVM_GET_STATS_FD", fd);
	if (pread_all(fd, &head, sizeof(head), 0) != sizeof(head))
		stop("statistics", -EIO);
	size = sizeof(*desc) + head.name_size;
	desc = calloc(1, size);
	if (!desc)
		stop("statistics", -ENOMEM);
	for (i = 0; i < head.num_desc; i++)
		if (pread_all(fd, desc, size, head.desc_offset + i * size) == (long)size &&
		    !strcmp((char *)(desc + 1), "exits"))
			pread_all(fd, &value, sizeof(value), head.data_offset + desc->offset);
	free(desc);
	close(fd);
	if (value == UINT64_MAX)
		stop("no statistic named exits", -ENOENT);
	return value;
}

static unsigned long huge_kib(void)
{
	FILE *f = fopen("/proc/self/smaps_rollup", "r");
	unsigned long kib = 0;
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "AnonHugePages: %lu", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib;
}

static void set_long(const struct kvm_vcpu *vcpu, unsigned int index, uint64_t value)
{
	unsigned long v = value;

	need("a register", kvm_set_reg(vcpu, reg_long(REG_CORE, 0, index), &v));
}

static void touch(const struct kvm_vcpu *vcpu, gpa_t gpa, uint64_t size)
{
	int ret;

	set_long(vcpu, CORE_PC, CODE_GPA);
	set_long(vcpu, CORE_A0, gpa);
	set_long(vcpu, CORE_A1, gpa + size);
	do
		ret = kvm_vcpu_run(vcpu);
	while (ret == -EINTR);
	need("KVM_RUN", ret);
	if (vcpu->run->exit_reason != KVM_EXIT_MMIO || vcpu->run->mmio.phys_addr)
		stop("the guest went astray", -EIO);
}

static void run(const char *layout, uint64_t size)
{
	struct guest_memory mem;
	struct memory_region *code, *ram;
	struct kvm_vcpu vcpu;
	struct kvm kvm;
	struct error err;
	uint64_t before, start, skip = 0, shift = 0;

	if (!strcmp(layout, "misaligned"))
		shift = 4096;
	else if (!strcmp(layout, "partial"))
		skip = MIB;
	else if (strcmp(layout, "aligned") != 0)
		stop(layout, -EINVAL);
	memory_init(&mem);
	code = memory_add(&mem, CODE_GPA, 2 * MIB, 2 * MIB, &err);
	/* Some more than the slot, so that it can be shifted. */
	ram = code ? memory_add(&mem, RAM_GPA, size + 2 * MIB, 2 * MIB, &err) : NULL;
	if (!ram || kvm_open(&kvm, (struct kvm_sys){.ops = &kvm_sys_linux}, &err)) {
		fprintf(stderr, "huge: %s\n", err.msg);
		exit(1);
	}
	/* Adding sorts and numbers the regions. */
	code = &mem.regions[0];
	ram = &mem.regions[1];
	if (skip || shift) {
		madvise(ram->hva, 2 * MIB, MADV_NOHUGEPAGE);
		madvise((char *)ram->hva + size, 2 * MIB, MADV_NOHUGEPAGE);
	}
	need("KVM_CREATE_VM", kvm_vm_create(&kvm));
	memory_write(&mem, CODE_GPA, touch_code, (uintptr_t)touch_end - (uintptr_t)touch_code);
	need("memslot", kvm_set_memory(&kvm, 0, code->gpa, code->size, code->hva, 0));
	need("memslot",
	     kvm_set_memory(&kvm, 1, ram->gpa + skip, size, (char *)ram->hva + skip + shift, 0));
	need("KVM_CREATE_VCPU", kvm_vcpu_create(&kvm, 0, &vcpu));
	before = count_exits(&vcpu);
	start = now_ns();
	touch(&vcpu, ram->gpa + skip, size);
	start = now_ns() - start;
	printf("huge: %s %llu MiB: touches %llu exits %llu AnonHugePages %lu KiB us %llu\n", layout,
	       (unsigned long long)(size / MIB), (unsigned long long)(size / TOUCH),
	       (unsigned long long)(count_exits(&vcpu) - before), huge_kib(),
	       (unsigned long long)(start / 1000));
	fflush(stdout);
	kvm_vcpu_destroy(&vcpu);
	kvm_close(&kvm);
	memory_destroy(&mem);
}

int main(int argc, char **argv)
{
	uint64_t mib = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
	int i;

	if (!mib) {
		fprintf(stderr, "usage: huge MIB [aligned|misaligned|partial...]\n");
		return 2;
	}
	for (i = 2; i < argc; i++)
		run(argv[i], mib * MIB);
	if (argc == 2) {
		run("aligned", mib * MIB);
		run("misaligned", mib * MIB);
		run("partial", mib * MIB);
	}
	return 0;
}
