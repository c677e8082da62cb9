// SPDX-License-Identifier: GPL-2.0-only
/*
 * Saving a VM (include/lkvm/snapshot/snapshot.h): the order of things.
 *
 *   1. every reason why it can't be saved is found, before anything stands still
 *   2. the vCPUs are parked; each has finished the exit that it was in
 *   3. harts that another hart has started, and that KVM has not given their registers
 *      yet, are let run for a moment each, until there are none
 *   4. devices become quiet: nothing in flight
 *   5. configuration, state, memory are written
 *   6. devices and vCPUs go on
 *
 * A VM that was loaded and has not run since is the state that it was loaded from: same
 * bytes, same name, same parent.
 *
 * Thread: the loop's, which serves nothing else meanwhile.
 */
#include "lkvm/gdb.h"
#include "lkvm/vcpu.h"
#include "private.h"

#include <errno.h>
#include <string.h>

#define PAUSE_MS 5000

/* How often and how long a hart that is being started is let run. */
#define START_ROUNDS 20
#define START_MS 2

static int may_save(struct vm *vm, struct error *err)
{
	struct reasons why = {0};

	pthread_mutex_lock(&vm->lock);
	if (vm->verdict != VM_ALIVE)
		reasons_add(&why, "it is about to end or to restart");
	pthread_mutex_unlock(&vm->lock);
	if (gdb_attached(vm->gdb))
		reasons_add(&why,
			    "a debugger is attached, which may have breakpoints in its memory");
	arch_state_obstacles(vm, &why);
	return reasons_fail(&why, "the VM can't be saved", err);
}

/* One hart may start the next: all are looked at again after each step. */
static int finish_starts(struct vm *vm, struct error *err)
{
	unsigned int round, i;
	bool any = true;

	for (round = 0; any && round < START_ROUNDS; round++) {
		any = false;
		for (i = 0; i < vm->nr_vcpus; i++) {
			if (!arch_hart_starting(&vm->vcpus[i]))
				continue;
			any = true;
			if (vm_step(vm, i, START_MS))
				return fail(err, "hart %u did not stop in time", i);
		}
	}
	/* Only registers that look like it by chance stay so. */
	return 0;
}

static int write_file(struct vm *vm, const struct snapshot_request *req,
		      struct snapshot_result *result, struct error *err)
{
	static const struct snapshot_io real = {.ops = &snapshot_io_linux};
	const struct vm_origin *origin = &vm->origin;
	const uint8_t *parent = NULL;
	struct snapshot_writer w;
	int ret;

	if (origin->known)
		parent = origin->left ? origin->id : origin->parent;
	snapshot_writer_init(&w, req->io.ops ? req->io : real, req->fd);
	ret = saved_write(vm, &w, err);
	if (!ret)
		ret = arch_save(vm, &w, err);
	if (!ret)
		ret = snapshot_finish(&w, &vm->mem, req->encoding, parent, result->id, err);
	result->written = w.written;
	snapshot_writer_free(&w);
	return ret;
}

static void tell_losses(struct vm *vm)
{
	struct reasons lost = {0};
	unsigned int i;

	arch_state_losses(vm, &lost);
	for (i = 0; i < lost.nr && i < REASONS_MAX; i++)
		log_warning(vm->log, "snapshot: %s", lost.list[i].msg);
}

int snapshot_save(struct vm *vm, const struct snapshot_request *req, struct snapshot_result *result,
		  struct error *err)
{
	uint64_t begin = now_ns();
	int ret;

	memset(result, 0, sizeof(*result));
	if (may_save(vm, err))
		return -1;
	if (vm_pause(vm, PAUSE_MS))
		return fail(err, "a vCPU did not stop in time; the VM goes on");
	ret = finish_starts(vm, err);
	if (!ret)
		ret = may_save(vm, err);
	if (!ret) {
		arch_quiet(vm, true);
		ret = write_file(vm, req, result, err);
		arch_quiet(vm, false);
	}
	vm_unpause(vm);
	result->paused_ns = now_ns() - begin;
	if (!ret)
		tell_losses(vm);
	return ret;
}
