// SPDX-License-Identifier: GPL-2.0-only
/*
 * Checking the memory of a VM that runs in it already (include/lkvm/snapshot/snapshot.h).
 *
 * Mapped memory is used before its checksums can be looked at, and memory that comes on demand
 * may not be used for long. A thread of its own reads the file from one end to the other, as
 * "lkvm snapshot verify" does, and gives way to vCPUs and to who brings their memory, where there
 * are not CPUs enough for all. What is found damaged ends the VM, with the address: where memory
 * is mapped it may have acted on what it should not have read, but it does not go on.
 *
 * Who saves such a VM goes on with the check by itself, from where the thread is, so that damage
 * never gets a good checksum, and the VM, which stands still then, does not wait for a thread that
 * gives way to everybody.
 *
 * Threads and lock: begin and end belong to the loop's thread. Whoever reads has @reading; the walk
 * is its own until it gives that back. @lock guards that, @posted, @over and what was found.
 * Nothing is saved.
 */
#include "private.h"

#include "lkvm/workers.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>

/* About a tenth of what another thread gets, where they share a CPU. */
#define NICE 10

/**
 * struct snapshot_check
 * @walk: how far reading is
 * @nice: the thread's nice value
 * @stop: the thread is to leave it there: somebody else goes on, or it all ends
 * @posted: @job has not begun yet, and must not be posted again
 * @reading: somebody reads
 * @over: nothing is left to be read; then @ret (0, or -1) and @err are what was found
 */
struct snapshot_check {
	struct vm *vm;
	struct memory_walk walk;
	int nice;
	_Atomic bool stop;
	struct workers *workers;
	struct worker_job job;
	struct loop_work begin, found;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool posted, reading, over;
	int ret;
	struct error err;
};

/* Until the end, or @stop. With the lock, which is not held meanwhile. */
static void read_on(struct snapshot_check *c, const _Atomic bool *stop)
{
	struct error err;
	int ret;

	c->reading = true;
	pthread_mutex_unlock(&c->lock);
	ret = memory_walk_on(&c->walk, stop, &err);
	pthread_mutex_lock(&c->lock);
	c->reading = false;
	pthread_cond_broadcast(&c->cond);
	if (ret > 0)
		return;
	memory_walk_end(&c->walk);
	c->over = true;
	c->ret = ret;
	if (!ret)
		return;
	c->err = err;
	loop_post(c->vm->loop, &c->found);
}

static void check(struct snapshot_check *c)
{
	pthread_mutex_lock(&c->lock);
	c->posted = false;
	if (!c->reading && !c->over)
		read_on(c, &c->stop);
	pthread_mutex_unlock(&c->lock);
}

static void run(struct worker_job *job)
{
	struct snapshot_check *c = container_of(job, struct snapshot_check, job);

	/* Of this thread alone, as Linux has it. Where that fails it just doesn't give way. */
	setpriority(PRIO_PROCESS, 0, c->nice);
	check(c);
}

static void damaged(void *opaque)
{
	struct snapshot_check *c = opaque;

	log_fatal(c->vm->log, "the snapshot that the VM runs from is not good: %s", c->err.msg);
	vm_end(c->vm, VM_DIED);
}

/*
 * In the loop's first turn, so that the vCPUs are on their way before; and after a save that was
 * given up.
 */
static void begin(void *opaque)
{
	struct snapshot_check *c = opaque;
	bool posted;

	pthread_mutex_lock(&c->lock);
	posted = c->posted;
	c->posted = true;
	pthread_mutex_unlock(&c->lock);
	if (posted)
		return;
	if (!workers_post(c->workers, &c->job)) {
		log_warning(c->vm->log, "no thread to check guest memory by: it is done at once");
		check(c);
	}
}

struct snapshot_check *snapshot_check_new(struct vm *vm, const struct snapshot_memory *m,
					  struct error *err)
{
	struct snapshot_check *c = calloc(1, sizeof(*c));

	if (c)
		c->workers = workers_create("snapshot-check", 1);
	if (!c || !c->workers || memory_walk_begin(&c->walk, m, NULL, err)) {
		if (c)
			workers_destroy(c->workers);
		free(c);
		fail(err, "no memory to check guest memory");
		return NULL;
	}
	c->vm = vm;
	c->nice = getpriority(PRIO_PROCESS, 0) + NICE;
	c->job.fn = run;
	loop_work_init(&c->begin, begin, c);
	loop_work_init(&c->found, damaged, c);
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->cond, NULL);
	loop_post(vm->loop, &c->begin);
	return c;
}

int snapshot_check_finish(struct snapshot_check *c, const _Atomic bool *cancel, struct error *err)
{
	int ret;

	if (!c)
		return 0;
	pthread_mutex_lock(&c->lock);
	atomic_store(&c->stop, true);
	/* That is no longer than it takes to read a chunk. */
	while (c->reading)
		pthread_cond_wait(&c->cond, &c->lock);
	if (!c->over)
		read_on(c, cancel);
	ret = c->over ? c->ret : 1;
	if (!c->over) {
		fail(err, "given up");
		atomic_store(&c->stop, false);
		loop_post(c->vm->loop, &c->begin);
	} else if (ret) {
		fail(err, "the VM's memory is not good: %s", c->err.msg);
	}
	pthread_mutex_unlock(&c->lock);
	return ret;
}

void snapshot_check_end(struct snapshot_check *c)
{
	if (!c)
		return;
	atomic_store(&c->stop, true);
	loop_unpost(c->vm->loop, &c->begin);
	workers_destroy(c->workers);
	loop_unpost(c->vm->loop, &c->found);
	memory_walk_end(&c->walk);
	pthread_cond_destroy(&c->cond);
	pthread_mutex_destroy(&c->lock);
	free(c);
}
