// SPDX-License-Identifier: GPL-2.0-only
/*
 * Saving a VM (include/lkvm/snapshot/snapshot.h): the order of things.
 *
 *   1. every reason why it can't be saved is found, before anything stands still
 *   2. the vCPUs are parked; each has finished the exit that it was in
 *   3. harts that another hart has started, and that KVM has not given their registers
 *      yet, are let run for a moment each, until there are none
 *   4. devices become quiet: nothing in flight
 *   5. configuration and state are gathered in memory
 *   6. a thread of its own writes them, and guest memory, which holds still
 *   7. devices and vCPUs go on
 *
 * During 6 the loop serves clients, consoles and timers. Nothing that they do reaches guest
 * memory, for the devices are quiet, nor the state, which is gathered: for the file it has
 * not happened yet. A pause or a resume counts when the save is over. What ends or restarts
 * the VM ends the save first (struct vm_reader).
 *
 * A VM that was loaded and has not run since is the state that it was loaded from: same
 * bytes, same name, same parent.
 *
 * Thread: the loop's, but for write_out(), which has the writer, the request and guest
 * memory to itself until it posts @done.
 */
#include "lkvm/gdb.h"
#include "lkvm/vcpu.h"
#include "lkvm/workers.h"
#include "private.h"

#include <stdlib.h>
#include <string.h>

#define PAUSE_MS 5000

/* How often who asked learns how far it is. */
#define TICK_MS 200

/*
 * How long a hart that is being started is let run at a time, and for how long that is done again
 * with all of them: a busy host may not come to it at once.
 */
#define START_MS 2
#define ALL_STARTS_MS 500

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
	uint64_t until = now_ns() + ALL_STARTS_MS * NSEC_PER_MSEC;
	unsigned int i;
	bool any;

	/* What was loaded and has not gone on is as it was saved, and must not run. */
	if (arch_held(vm))
		return 0;
	do {
		any = false;
		for (i = 0; i < vm->nr_vcpus && now_ns() < until; i++) {
			if (!arch_hart_starting(&vm->vcpus[i]))
				continue;
			any = true;
			if (vm_step(vm, i, START_MS))
				return fail(err, "hart %u did not stop in time", i);
		}
	} while (any && now_ns() < until);
	/* Only registers that look like it by chance stay so. */
	return 0;
}

/**
 * struct snapshot_save - a save that is under way
 * @reader: the VM ends it by this
 * @check: who checks the VM's memory still, or NULL
 * @parent: what the file names as such, where @has_parent
 * @begin: when the pause was asked for
 * @workers, @job: the thread that writes; @ret, @err: what became of that
 * @damaged: the VM's memory is not good, and it is about to end
 * @done: it has ended; @tick: it is time to tell how far it is
 * @fn, @opaque: who is told
 */
struct snapshot_save {
	struct vm_reader reader;
	struct vm *vm;
	struct snapshot_request req;
	struct snapshot_writer w;
	struct snapshot_progress progress;
	struct snapshot_result result;
	struct snapshot_check *check;
	uint8_t parent[SNAPSHOT_ID_SIZE];
	bool has_parent;
	uint64_t begin;
	struct workers *workers;
	struct worker_job job;
	int ret;
	bool damaged;
	struct error err;
	struct loop_work done;
	struct loop_timer tick;
	snapshot_done_fn fn;
	void *opaque;
};

/* The thread's part. */
static void write_out(struct worker_job *job)
{
	struct snapshot_save *s = container_of(job, struct snapshot_save, job);

	s->ret = snapshot_check_finish(s->check, &s->progress.cancel, &s->err);
	s->damaged = s->ret < 0;
	if (!s->ret)
		s->ret = snapshot_finish(&s->w, &s->vm->mem, s->req.encoding,
					 s->has_parent ? s->parent : NULL, s->result.id, &s->err);
	loop_post(s->vm->loop, &s->done);
}

/* The thread has ended or never was: the VM goes on, and who asked is told. */
static void finish(struct snapshot_save *s)
{
	struct vm *vm = s->vm;

	workers_destroy(s->workers);
	loop_unpost(vm->loop, &s->done);
	loop_timer_cancel(&s->tick);
	vm->reader = NULL;
	/*
	 * Who is paused besides, and so may be ended, does no more than was saved: a request in a
	 * ring would be carried out here and once more where the file goes on.
	 */
	if (!s->ret && vm->paused > 1 && !vm->quiet && !arch_held(vm))
		vm->quiet = true;
	else if (!s->damaged)
		arch_quiet(vm, false);
	/* What is about to end, by what it should not have read, does nothing any more. */
	if (!s->damaged)
		vm_unpause(vm);
	s->result.written = s->w.written;
	s->result.paused_ns = now_ns() - s->begin;
	arch_state_losses(vm, &s->result.lost);
	s->fn(s->opaque, s->ret ? NULL : &s->result, &s->err);
	snapshot_writer_free(&s->w);
	free(s);
}

static void written(void *opaque)
{
	finish(opaque);
}

static void cancel(struct vm_reader *reader)
{
	struct snapshot_save *s = container_of(reader, struct snapshot_save, reader);

	atomic_store(&s->progress.cancel, true);
	finish(s);
}

static void tick(void *opaque)
{
	struct snapshot_save *s = opaque;
	uint64_t now = atomic_load(&s->progress.done);

	if (s->req.progress && !s->req.progress(s->opaque, now, s->progress.total))
		atomic_store(&s->progress.cancel, true);
	loop_timer_arm(&s->tick, now_ns() + TICK_MS * NSEC_PER_MSEC);
}

static struct snapshot_save *new_save(struct vm *vm, const struct snapshot_request *req,
				      snapshot_done_fn fn, void *opaque)
{
	static const struct snapshot_io real = {.ops = &snapshot_io_linux};
	const struct vm_origin *origin = &vm->origin;
	struct snapshot_save *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->vm = vm;
	s->req = *req;
	s->fn = fn;
	s->opaque = opaque;
	s->reader.cancel = cancel;
	s->job.fn = write_out;
	s->begin = now_ns();
	s->progress.total = memory_total(&vm->mem);
	s->has_parent = origin->known;
	memcpy(s->parent, origin->left ? origin->id : origin->parent, sizeof(s->parent));
	snapshot_writer_init(&s->w, req->io.ops ? req->io : real, req->fd);
	s->w.progress = &s->progress;
	if (vm->cfg->image)
		s->check = container_of(vm->cfg->image, struct snapshot_image, image)->check;
	loop_work_init(&s->done, written, s);
	loop_timer_init(&s->tick, vm->loop, tick, s);
	return s;
}

/* The VM stands still and is quiet. */
static int gather(struct snapshot_save *s, struct error *err)
{
	if (saved_write(s->vm, &s->w, err) || arch_save(s->vm, &s->w, err))
		return -1;
	s->workers = workers_create("snapshot", 1);
	if (!s->workers || !workers_post(s->workers, &s->job))
		return fail(err, "no thread to write the snapshot");
	return 0;
}

/* Return: 0 with the vCPUs parked, -1 with the VM as it was. */
static int stand_still(struct vm *vm, struct error *err)
{
	if (vm_pause(vm, PAUSE_MS))
		return fail(err, "a vCPU did not stop in time; the VM goes on");
	if (!finish_starts(vm, err) && !may_save(vm, err))
		return 0;
	vm_unpause(vm);
	return -1;
}

int snapshot_begin(struct vm *vm, const struct snapshot_request *req, snapshot_done_fn fn,
		   void *opaque, struct error *err)
{
	struct snapshot_save *s;

	if (vm->reader)
		return fail(err, "the VM is being saved already");
	if (may_save(vm, err))
		return -1;
	s = new_save(vm, req, fn, opaque);
	if (!s)
		return fail(err, "no memory to save the VM");
	if (stand_still(vm, err))
		goto out;
	arch_quiet(vm, true);
	if (!gather(s, err)) {
		vm->reader = &s->reader;
		loop_timer_arm(&s->tick, now_ns() + TICK_MS * NSEC_PER_MSEC);
		return 0;
	}
	workers_destroy(s->workers);
	arch_quiet(vm, false);
	vm_unpause(vm);
out:
	snapshot_writer_free(&s->w);
	free(s);
	return -1;
}
