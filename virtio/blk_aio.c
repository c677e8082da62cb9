// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who waits for a disk: the executor behind struct virtio_blk_env.
 *
 * What the kernel can do by itself (direct I/O, reads that the page cache has not)
 * goes through an io_uring; what blocks a thread in any case (buffered writes, sync,
 * discard) goes to a few worker threads, and so does everything where there is no
 * io_uring. The ring would hand the second sort to threads of the kernel's: two hops
 * more.
 *
 * The ring has a thread, made when it is first needed, that submits and reaps. A vCPU
 * does neither: the kernel finishes a request on the thread that submitted it, and
 * would get the vCPU out of the guest for each. Tasks come over in a list; the thread,
 * asleep in the ring, is woken by an eventfd that the ring polls. All completions of a
 * turn are given to the guest together, with one interrupt.
 *
 * Iovecs of a step are the kernel's once it was submitted (IORING_FEAT_SUBMIT_STABLE),
 * so one small array serves all: when it is full, what was prepared is submitted. A kernel
 * that is short of memory may take a part of that or nothing; until it has taken all, the
 * array is not used anew, and what comes goes to workers where it does not fit.
 *
 * Thread and lock: the mutex guards the list, `asleep` and what workers have done; it
 * is a leaf, and the device's lock may be held around it. The ring belongs to its
 * thread. What is under way is not saved: the device drains first.
 */
#include "lkvm/process.h"
#include "lkvm/virtio/blk.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_WORKERS 8

/* Submission queue entries; one is the eventfd's. */
#define RING_ENTRIES 64
#define RING_INFLIGHT (RING_ENTRIES - 1)

#define NR_IOVECS (2 * BLK_BATCH)

#define RING_STACK (256 * KIB)

/* Linux 6.0 and 6.1: newer than the oldest headers. */
#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#endif
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)
#endif

/**
 * struct task_list - tasks in order
 */
struct task_list {
	struct blk_task *first, **last;
};

/**
 * struct blk_aio
 * @has_ring: it is there and can be used; @disabled: it waits for its thread's word
 * @todo: for the ring's thread; @asleep: which wants to be woken for it
 * @over: the ring's thread ends
 * @done: by workers, waiting for the one that is @finishing
 * @inflight, @iov, @nr_iov: the ring's thread's own
 */
struct blk_aio {
	struct blk_backend backend;
	struct workers *workers;
	struct log *log;
	const char *name;
	pthread_mutex_t lock;

	struct io_uring ring;
	bool has_ring, disabled, started;
	int event_fd;
	pthread_t thread;
	struct task_list todo;
	bool asleep, over;

	struct task_list done;
	bool finishing;

	unsigned int inflight, nr_iov;
	struct iovec iov[NR_IOVECS];
};

static void list_init(struct task_list *list)
{
	list->first = NULL;
	list->last = &list->first;
}

static void list_add(struct task_list *list, struct blk_task *task)
{
	task->next = NULL;
	*list->last = task;
	list->last = &task->next;
}

static struct blk_task *list_take(struct task_list *list)
{
	struct blk_task *task = list->first;

	if (task) {
		list->first = task->next;
		if (!list->first)
			list->last = &list->first;
	}
	return task;
}

/* --- workers ---------------------------------------------------------------------- */

/* Give back what was done; while one worker is at it, it does so for the others too. */
static void finish_done(struct blk_aio *aio, struct blk_task *task)
{
	pthread_mutex_lock(&aio->lock);
	list_add(&aio->done, task);
	if (!aio->finishing) {
		aio->finishing = true;
		while (aio->done.first) {
			struct blk_task *tasks = aio->done.first;

			list_init(&aio->done);
			pthread_mutex_unlock(&aio->lock);
			virtio_blk_finish(tasks);
			pthread_mutex_lock(&aio->lock);
		}
		aio->finishing = false;
	}
	pthread_mutex_unlock(&aio->lock);
}

static void work(struct worker_job *job)
{
	struct blk_task *task = container_of(job, struct blk_task, job);

	virtio_blk_perform(task);
	finish_done(task->owner, task);
}

static bool to_workers(struct blk_aio *aio, struct blk_task *task)
{
	task->owner = aio;
	task->job.fn = work;
	return workers_post(aio->workers, &task->job);
}

/* --- the ring's thread --------------------------------------------------------------- */

/* To a worker, or where there is none carried out here. */
static void hand_on(struct blk_aio *aio, struct blk_task *task, struct task_list *done)
{
	if (to_workers(aio, task))
		return;
	virtio_blk_perform(task);
	list_add(done, task);
}

/* Is there room for the iovecs of a step? */
static bool iovecs_free(struct blk_aio *aio)
{
	if (!io_uring_sq_ready(&aio->ring))
		aio->nr_iov = 0;
	return aio->nr_iov + BLK_BATCH <= NR_IOVECS;
}

/* The next step of @task, or its end, which puts it into @done. */
static void step(struct blk_aio *aio, struct blk_task *task, struct task_list *done)
{
	const struct blk_backend *b = &aio->backend;
	struct io_uring_sqe *sqe;
	struct blk_io io;
	int fd;

	if (!iovecs_free(aio)) {
		io_uring_submit(&aio->ring);
		if (!iovecs_free(aio)) {
			hand_on(aio, task, done);
			return;
		}
	}
	if (!virtio_blk_next(task, &io, &aio->iov[aio->nr_iov], BLK_BATCH)) {
		list_add(done, task);
		return;
	}
	fd = io.type == BLK_READ || io.type == BLK_WRITE ? b->ops->ring_fd(b->opaque, &io) : -1;
	sqe = fd >= 0 ? io_uring_get_sqe(&aio->ring) : NULL;
	if (!sqe) {
		hand_on(aio, task, done);
		return;
	}
	if (io.type == BLK_READ)
		io_uring_prep_readv(sqe, fd, io.iov, io.nr, io.offset);
	else
		io_uring_prep_writev(sqe, fd, io.iov, io.nr, io.offset);
	io_uring_sqe_set_data(sqe, task);
	if (io.iov == &aio->iov[aio->nr_iov])
		aio->nr_iov += io.nr;
	aio->inflight++;
}

static void watch_event(struct blk_aio *aio)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&aio->ring);

	/* There is one: an entry is kept for it. */
	if (!sqe)
		return;
	io_uring_prep_poll_multishot(sqe, aio->event_fd, POLLIN);
	io_uring_sqe_set_data(sqe, NULL);
}

/* Look at what has ended. */
static void reap(struct blk_aio *aio, struct task_list *done)
{
	struct io_uring_cqe *cqe;

	while (!io_uring_peek_cqe(&aio->ring, &cqe)) {
		struct blk_task *task = io_uring_cqe_get_data(cqe);
		int result = cqe->res;
		bool more = cqe->flags & IORING_CQE_F_MORE;

		io_uring_cqe_seen(&aio->ring, cqe);
		if (!task) {
			/* Each write wakes us; that the count is never read does not matter. */
			if (!more)
				watch_event(aio);
			continue;
		}
		aio->inflight--;
		/* The kernel could not do it without waiting, nor wait: we can. */
		if (result == -EAGAIN && to_workers(aio, task))
			continue;
		virtio_blk_result(task, result);
		step(aio, task, done);
	}
}

/* What there is to start. Return: false where the thread shall end. */
static bool take_todo(struct blk_aio *aio, struct task_list *batch)
{
	unsigned int room = RING_INFLIGHT - aio->inflight;
	struct blk_task *task;
	bool go;

	pthread_mutex_lock(&aio->lock);
	while (room && (task = list_take(&aio->todo))) {
		list_add(batch, task);
		room--;
	}
	aio->asleep = !aio->todo.first;
	go = !aio->over || batch->first || aio->inflight;
	pthread_mutex_unlock(&aio->lock);
	return go;
}

static void *ring_thread(void *arg)
{
	struct blk_aio *aio = arg;
	struct task_list batch, done;

	pthread_setname_np(pthread_self(), aio->name);
	/* From here the ring is this thread's. Not liburing's call: its 2.3 forgot to export it. */
	if (aio->disabled)
		syscall(__NR_io_uring_register, aio->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS,
			NULL, 0);
	watch_event(aio);
	list_init(&batch);
	while (take_todo(aio, &batch)) {
		struct blk_task *task;
		int ret;

		list_init(&done);
		while ((task = list_take(&batch)))
			step(aio, task, &done);
		ret = io_uring_submit_and_wait(&aio->ring, done.first ? 0 : 1);
		/* The kernel has no memory for it just now. */
		if (ret < 0 && ret != -EINTR)
			usleep(1000);
		reap(aio, &done);
		virtio_blk_finish(done.first);
	}
	return NULL;
}

static int start_thread(struct blk_aio *aio)
{
	sigset_t all, old;
	pthread_attr_t attr;
	int ret = pthread_attr_init(&attr);

	if (ret)
		return ret;
	pthread_attr_setstacksize(&attr, RING_STACK);
	sigfillset(&all);
	process_keep_faults(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&aio->thread, &attr, ring_thread, aio);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return ret;
}

static void wake(struct blk_aio *aio)
{
	uint64_t one = 1;
	bool asleep;

	pthread_mutex_lock(&aio->lock);
	asleep = aio->asleep;
	aio->asleep = false;
	pthread_mutex_unlock(&aio->lock);
	if (asleep)
		(void)!write(aio->event_fd, &one, sizeof(one));
}

/* --- for the disk ------------------------------------------------------------------------ */

static bool for_ring(struct blk_aio *aio, struct blk_task *task)
{
	const struct blk_backend *b = &aio->backend;
	struct iovec iov[BLK_BATCH];
	struct blk_io io;

	return aio->has_ring && virtio_blk_next(task, &io, iov, BLK_BATCH) &&
	       (io.type == BLK_READ || io.type == BLK_WRITE) &&
	       b->ops->ring_fd(b->opaque, &io) >= 0;
}

static bool on_submit(void *opaque, struct blk_task *task)
{
	struct blk_aio *aio = opaque;

	if (!for_ring(aio, task))
		return to_workers(aio, task);
	if (!aio->started && start_thread(aio)) {
		log_warning(aio->log, "%s: no thread for its io_uring; it uses worker threads",
			    aio->name);
		aio->has_ring = false;
		return to_workers(aio, task);
	}
	aio->started = true;
	pthread_mutex_lock(&aio->lock);
	list_add(&aio->todo, task);
	pthread_mutex_unlock(&aio->lock);
	return true;
}

static void on_commit(void *opaque)
{
	struct blk_aio *aio = opaque;

	if (aio->started)
		wake(aio);
}

static void close_ring(struct blk_aio *aio)
{
	io_uring_queue_exit(&aio->ring);
	close(aio->event_fd);
	aio->has_ring = false;
}

static void on_destroy(void *opaque)
{
	struct blk_aio *aio = opaque;

	workers_destroy(aio->workers);
	if (aio->started) {
		pthread_mutex_lock(&aio->lock);
		aio->over = true;
		pthread_mutex_unlock(&aio->lock);
		wake(aio);
		pthread_join(aio->thread, NULL);
	}
	if (aio->event_fd >= 0)
		close_ring(aio);
	pthread_mutex_destroy(&aio->lock);
	free(aio);
}

const struct virtio_blk_env blk_aio_env = {
	.submit = on_submit,
	.commit = on_commit,
	.destroy = on_destroy,
};

/* 0 or -errno. */
static int open_ring(struct blk_aio *aio)
{
	struct io_uring_params p = {.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER |
					     IORING_SETUP_DEFER_TASKRUN};
	int ret = io_uring_queue_init_params(RING_ENTRIES, &aio->ring, &p);

	aio->disabled = !ret;
	if (ret == -EINVAL) {
		p = (struct io_uring_params){0};
		ret = io_uring_queue_init_params(RING_ENTRIES, &aio->ring, &p);
	}
	if (ret)
		return ret;
	aio->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ret = aio->event_fd < 0 ? -errno : 0;
	if (!ret && !(p.features & IORING_FEAT_SUBMIT_STABLE && p.features & IORING_FEAT_NODROP))
		ret = -EOPNOTSUPP;
	if (ret) {
		io_uring_queue_exit(&aio->ring);
		if (aio->event_fd >= 0)
			close(aio->event_fd);
		aio->event_fd = -1;
		return ret;
	}
	aio->has_ring = true;
	return 0;
}

struct blk_aio *blk_aio_create(enum blk_aio_mode mode, const char *name,
			       const struct blk_backend *backend, struct log *log,
			       struct error *err)
{
	struct blk_aio *aio = calloc(1, sizeof(*aio));
	int ret = 0;

	if (aio)
		aio->workers = workers_create(name, MAX_WORKERS);
	if (!aio || !aio->workers) {
		free(aio);
		fail(err, "no memory for the disk's input and output");
		return NULL;
	}
	aio->backend = *backend;
	aio->log = log;
	aio->name = name;
	aio->event_fd = -1;
	list_init(&aio->todo);
	list_init(&aio->done);
	pthread_mutex_init(&aio->lock, NULL);
	if (mode != BLK_AIO_THREADS && backend->ops->ring_fd)
		ret = open_ring(aio);
	if (ret && mode == BLK_AIO_URING) {
		fail_errno(err, -ret, "'aio=uring': this host gives no io_uring");
		on_destroy(aio);
		return NULL;
	}
	if (ret)
		log_info(log, "%s: no io_uring (%s): input and output by threads", name,
			 strerror(-ret));
	return aio;
}

bool blk_aio_has_ring(const struct blk_aio *aio)
{
	return aio->has_ring;
}
