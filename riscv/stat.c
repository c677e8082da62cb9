// SPDX-License-Identifier: GPL-2.0-only
/*
 * The figures of a machine (include/lkvm/stat.h): of its vCPUs, then of each device of
 * its table, in the table's order, which begins with the interrupt chip.
 *
 * Thread and lock: the loop's thread; each device takes its own lock for each of its
 * parts and gives it back before the figure is handed on. What is saved: nothing.
 */
#include "machine.h"

#include "lkvm/arch.h"

#include <stdio.h>

static void stat_vcpu(const struct vcpu *vcpu, const struct stat_sink *sink)
{
	char name[16];

	snprintf(name, sizeof(name), "vcpu%u", vcpu->id);
	stat_whole(sink, name, "mmio_exits",
		   atomic_load_explicit(&vcpu->mmio_exits, memory_order_relaxed));
	stat_whole(sink, name, "other_exits",
		   atomic_load_explicit(&vcpu->other_exits, memory_order_relaxed));
}

void arch_stat(struct vm *vm, const struct stat_sink *sink)
{
	const struct arch_vm *a = vm->arch;
	unsigned int i;

	for (i = 0; i < vm->nr_vcpus; i++)
		stat_vcpu(&vm->vcpus[i], sink);
	for (i = 0; i < a->nr_devices; i++) {
		struct device *d = a->devices[i].device;

		if (d->ops->stat)
			d->ops->stat(d, sink);
	}
}
