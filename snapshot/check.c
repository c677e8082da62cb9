// SPDX-License-Identifier: GPL-2.0-only
/*
 * Checking the memory of a VM that runs in it already (include/lkvm/snapshot/snapshot.h).
 *
 * Mapped memory is used before its checksums can be looked at, and memory that comes on demand
 * may not be used for long. A thread of its own reads the file from one end to the other, as
 * "lkvm snapshot verify" does, behind the vCPUs and whoever brings their memory where there are
 * not CPUs enough for all. What is found damaged ends the VM, with the address: where memory
 * is mapped it may have acted on what it should not have read, but it does not go on. Who saves
 * such a VM waits for the end of the check first (snapshot_check_wait()), so that damage never
 * gets a good checksum.
 *
 * Threads and lock: begin and end belong to the loop's thread, the reading to the
 * checking one. @lock guards @over and what was found. Nothing is saved.
 */
#include "private.h"

#include "lkvm/workers.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>

/* A tenth of what another thread gets, where they share a CPU. */
#define NICE 10

struct snapshot_check {
	struct vm *vm;
	const struct snapshot_memory *m;
	struct snapshot_progress progress;
	struct workers *workers;
	struct worker_job job;
	struct loop_work begin, found;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool over;
	int ret;
	struct error err;
};

static void check(struct snapshot_check *c)
{
	struct error err;
	int ret = snapshot_memory_read(c->m, NULL, &c->progress, &err);

	pthread_mutex_lock(&c->lock);
	c->over = true;
	c->ret = ret;
	if (ret)
		c->err = err;
	pthread_cond_broadcast(&c->cond);
	pthread_mutex_unlock(&c->lock);
	if (ret && !atomic_load(&c->progress.cancel))
		loop_post(c->vm->loop, &c->found);
}

static void run(struct worker_job *job)
{
	/* Of this thread alone, as Linux has it; that it stays as it was does no harm. */
	setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + NICE);
	check(container_of(job, struct snapshot_check, job));
}

static void damaged(void *opaque)
{
	struct snapshot_check *c = opaque;

	log_fatal(c->vm->log, "the snapshot that the VM runs from is not good: %s", c->err.msg);
	vm_end(c->vm, VM_DIED);
}

/* In the loop's first turn, so that the vCPUs are on their way before. */
static void begin(void *opaque)
{
	struct snapshot_check *c = opaque;

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
	if (!c || !c->workers) {
		free(c);
		fail(err, "no memory to check guest memory");
		return NULL;
	}
	c->vm = vm;
	c->m = m;
	c->job.fn = run;
	loop_work_init(&c->begin, begin, c);
	loop_work_init(&c->found, damaged, c);
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->cond, NULL);
	loop_post(vm->loop, &c->begin);
	return c;
}

int snapshot_check_wait(struct snapshot_check *c, struct snapshot_progress *mine, struct error *err)
{
	struct timespec until;
	int ret;

	if (!c)
		return 0;
	pthread_mutex_lock(&c->lock);
	while (!c->over && !atomic_load(&mine->cancel)) {
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec++;
		pthread_cond_timedwait(&c->cond, &c->lock, &until);
	}
	ret = !c->over ? fail(err, "given up") : c->ret;
	if (c->over && ret)
		fail(err, "the VM's memory is not good: %s", c->err.msg);
	pthread_mutex_unlock(&c->lock);
	return ret;
}

void snapshot_check_end(struct snapshot_check *c)
{
	if (!c)
		return;
	atomic_store(&c->progress.cancel, true);
	loop_unpost(c->vm->loop, &c->begin);
	workers_destroy(c->workers);
	loop_unpost(c->vm->loop, &c->found);
	pthread_cond_destroy(&c->cond);
	pthread_mutex_destroy(&c->lock);
	free(c);
}
