// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VM from a snapshot (include/lkvm/snapshot/snapshot.h): the three places at which
 * vm_create() and vm_run() ask for it.
 *
 * Header, table, the state's sections and the index of memory are checked before any vCPU
 * runs. Memory that lies in the file as in the guest is mapped from there (memory_map.c) or, where
 * that must not be (arch_writes_unseen()), brought as it is used (demand.c), so that a start
 * takes as long for much of it as for little; and it is checked by a thread while the guest runs
 * (check.c), or before, or not, as the user says. All else is read and checked before: a file
 * that is not what its checksums say ends here then, and no guest has run.
 *
 * Thread: the loop's. What is saved: see save.c.
 */
#include "private.h"

#include <string.h>

int snapshot_check_sections(const struct snapshot_file *f, struct error *err)
{
	static const char *const known[] = {"config", "riscv", "platform", SNAPSHOT_SECTION_MEMORY};
	uint32_t i;
	size_t k;

	if (f->header.machine != SNAPSHOT_MACHINE_RISCV || f->header.xlen != 8 * sizeof(long))
		return fail(err,
			    "header: a VM of machine %u (ELF's number) and %u bits; this lkvm "
			    "runs RISC-V of %zu bits",
			    f->header.machine, f->header.xlen, 8 * sizeof(long));
	for (i = 0; i < f->header.sections; i++) {
		const struct snapshot_entry *e = &f->entries[i];

		if (!(e->flags & SNAPSHOT_MANDATORY) || !strncmp(e->name, "vcpu", 4) ||
		    !strncmp(e->name, "device:", 7))
			continue;
		for (k = 0; k < ARRAY_SIZE(known) && strcmp(e->name, known[k]); k++)
			;
		if (k == ARRAY_SIZE(known))
			return fail(err,
				    "section %s must be understood, and this lkvm does not know it",
				    e->name);
	}
	return 0;
}

static int load_vcpus(void *opaque, struct vm *vm, struct error *err)
{
	struct snapshot_image *i = opaque;

	if (vm->nr_vcpus != i->saved->cpus)
		return fail(err, "the VM has %u vCPUs, here it would have %u", i->saved->cpus,
			    vm->nr_vcpus);
	return arch_load_vcpus(vm, i->file, err);
}

/* The same regions of RAM, no more and no fewer. */
static int compare_memory(const struct snapshot_memory *m, const struct vm *vm, struct error *err)
{
	uint32_t nr = 0;
	size_t i;

	for (i = 0; i < vm->mem.nr; i++) {
		const struct memory_region *r = &vm->mem.regions[i];

		if (r->file)
			continue;
		if (nr >= m->nr || m->regions[nr].gpa != r->gpa || m->regions[nr].size != r->size)
			return fail(err, "memory: RAM at 0x%llx is not what the file has",
				    (unsigned long long)r->gpa);
		nr++;
	}
	return nr == m->nr ? 0 : fail(err, "memory: the file has more RAM than the VM");
}

/*
 * Have memory be the file's, as it is used. Return: 1; 0: it has to be read, which checks it on
 * the way; -1 with @err set: it is not good.
 */
static int take_memory(struct snapshot_image *i, struct vm *vm, struct error *err)
{
	bool before = i->verify == SNAPSHOT_VERIFY_BEFORE;
	struct error why;

	if (i->memory.encoding != SNAPSHOT_RAW)
		return 0;
	if (!arch_writes_unseen(vm)) {
		if (before && snapshot_memory_read(&i->memory, NULL, err))
			return -1;
		return snapshot_memory_map(&i->memory, &vm->mem);
	}
	/* What is read to be checked may as well stay. */
	if (before)
		return 0;
	i->demand = snapshot_demand_new(vm, &i->memory, &why);
	if (!i->demand)
		log_info(vm->log, "memory is read before the guest runs, not when it is used: %s",
			 why.msg);
	return i->demand != NULL;
}

static int fill_memory(struct snapshot_image *i, struct vm *vm, struct error *err)
{
	int taken;

	if (compare_memory(&i->memory, vm, err))
		return -1;
	taken = take_memory(i, vm, err);
	if (taken < 0 || (!taken && snapshot_memory_read(&i->memory, &vm->mem, err)))
		return -1;
	if (taken && i->verify == SNAPSHOT_VERIFY_MEANWHILE) {
		i->check = snapshot_check_new(vm, &i->memory, err);
		if (!i->check)
			return -1;
	}
	/*
	 * There is code in what was read, or is in the host's page cache, and nobody else tells the
	 * instruction caches. The kernel does so for all memory, whatever the range.
	 */
	__builtin___clear_cache(vm->mem.regions[0].hva,
				(char *)vm->mem.regions[0].hva + SNAPSHOT_PAGE);
	return 0;
}

static void end_image(void *opaque)
{
	struct snapshot_image *i = opaque;

	snapshot_check_end(i->check);
	snapshot_demand_end(i->demand);
	snapshot_memory_close(&i->memory);
	i->check = NULL;
	i->demand = NULL;
}

static int load_memory(void *opaque, struct vm *vm, struct error *err)
{
	struct snapshot_image *i = opaque;

	if (snapshot_memory_open(&i->memory, i->file, err))
		return -1;
	if (fill_memory(i, vm, err))
		return -1;
	if (!i->check && !i->demand)
		snapshot_memory_close(&i->memory);
	return 0;
}

static int load_state(void *opaque, struct vm *vm, struct error *err)
{
	struct snapshot_image *i = opaque;

	if (arch_load_state(vm, i->file, err))
		return -1;
	vm->origin.known = true;
	vm->origin.left = false;
	memcpy(vm->origin.id, i->file->header.id, sizeof(vm->origin.id));
	memcpy(vm->origin.parent, i->file->header.parent, sizeof(vm->origin.parent));
	return 0;
}

void snapshot_image(struct snapshot_image *i, const struct snapshot_file *f,
		    const struct snapshot_saved *s)
{
	*i = (struct snapshot_image){.image = {.vcpus = load_vcpus,
					       .memory = load_memory,
					       .state = load_state,
					       .end = end_image,
					       .opaque = i},
				     .file = f,
				     .saved = s};
}
