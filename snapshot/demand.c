// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory that comes out of the file when it is used (private.h).
 *
 * Where memory must not be mapped from the file (arch_writes_unseen()), its pages are plain
 * ones that are made when somebody touches them: a vCPU, a device, a system call. All wait for
 * one thread, which reads the whole chunk that the page is in, checks it, and fills it in
 * (userfaultfd). So nothing that is damaged, or could not be read, is ever seen: it is told, the
 * loop ends the VM, and then who waits gets zeroes, so that its thread can end. Only where the
 * loop itself is among those that wait it gets them before, after a second.
 *
 * The thread touches neither guest memory nor a lock under which somebody else may. Chunks that
 * were all zero when the VM was saved are mostly not registered at all, and come as any other
 * memory does, huge pages included.
 *
 * Threads: begin and end belong to the loop's; @lock guards @told and @err. Nothing is saved:
 * who saves the VM touches all its memory, and so it comes.
 */
#include "private.h"

#include "lkvm/userfault.h"
#include "lkvm/workers.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PATIENCE_S 1

/**
 * struct snapshot_demand
 * @fd: of userfault_open(); @over_fd: readable: it is over
 * @done: for each region one byte a chunk: it was filled in
 * @bad: the thread's own: there was damage
 * @found: tells the loop; @told: the loop has ended the VM, for @err
 */
struct snapshot_demand {
	struct vm *vm;
	const struct snapshot_memory *m;
	struct chunk_reader reader;
	int fd, over_fd;
	bool *done[MEMORY_MAX_REGIONS];
	bool bad;
	struct workers *workers;
	struct worker_job job;
	struct loop_work found;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool told;
	struct error err;
};

static void damaged(void *opaque)
{
	struct snapshot_demand *d = opaque;

	log_fatal(d->vm->log, "the snapshot that the VM runs from is not good: %s", d->err.msg);
	vm_end(d->vm, VM_DIED);
	pthread_mutex_lock(&d->lock);
	d->told = true;
	pthread_cond_broadcast(&d->cond);
	pthread_mutex_unlock(&d->lock);
}

/* Have the loop end the VM, before anybody gets anything. */
static void tell(struct snapshot_demand *d, const struct error *err)
{
	struct timespec until;
	int ret = 0;

	d->bad = true;
	d->err = *err;
	loop_post(d->vm->loop, &d->found);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE_S;
	pthread_mutex_lock(&d->lock);
	while (!d->told && ret != ETIMEDOUT)
		ret = pthread_cond_timedwait(&d->cond, &d->lock, &until);
	pthread_mutex_unlock(&d->lock);
}

/* Return: 0 or -errno. */
static int fill_pages(const struct snapshot_demand *d, const struct snapshot_region *r,
		      uint64_t chunk, uint8_t *to)
{
	uint64_t pages = r->chunks[chunk].pages;
	uint64_t nr =
		min_u64(SNAPSHOT_CHUNK_PAGES, (r->size - chunk * SNAPSHOT_CHUNK) / SNAPSHOT_PAGE);
	const uint8_t *from = d->reader.pages;
	unsigned int i = 0, n;
	int ret = 0;

	while (i < nr && !ret) {
		n = chunk_run(pages, i);
		if (n) {
			ret = userfault_fill(d->fd, to + i * SNAPSHOT_PAGE, from,
					     n * SNAPSHOT_PAGE);
			from += n * SNAPSHOT_PAGE;
		} else {
			n = (unsigned int)min_u64(chunk_run(~pages, i), nr - i);
			ret = userfault_fill(d->fd, to + i * SNAPSHOT_PAGE, NULL,
					     n * SNAPSHOT_PAGE);
		}
		i += n;
	}
	return ret;
}

/* Fill in chunk @i, which lies at @to. */
static int bring(struct snapshot_demand *d, const struct snapshot_region *r, uint64_t i,
		 uint8_t *to, struct error *err)
{
	int ret;

	if (r->chunks[i].pages && chunk_read(&d->reader, r, i, err))
		return -1;
	ret = fill_pages(d, r, i, to);
	if (ret)
		return fail_errno(err, -ret, "guest memory at 0x%llx",
				  (unsigned long long)(r->gpa + i * SNAPSHOT_CHUNK));
	/* There may be code in it, and nobody else tells the instruction caches. */
	__builtin___clear_cache((char *)to, (char *)to + SNAPSHOT_PAGE);
	return 0;
}

static void serve(struct snapshot_demand *d, void *page)
{
	const struct snapshot_region *r = d->m->regions;
	struct error err;
	uint64_t i;
	gpa_t gpa;

	/* The regions are the VM's own (load.c has compared them). */
	if (!memory_gpa_of(&d->vm->mem, page, &gpa))
		return;
	while (gpa - r->gpa >= r->size)
		r++;
	i = (gpa - r->gpa) / SNAPSHOT_CHUNK;
	/* Two may have waited for one chunk. */
	if (!d->bad && !d->done[r - d->m->regions][i]) {
		d->done[r - d->m->regions][i] = true;
		if (bring(d, r, i, (uint8_t *)page - (gpa - r->gpa) % SNAPSHOT_CHUNK, &err))
			tell(d, &err);
	}
	if (d->bad && userfault_fill(d->fd, page, NULL, SNAPSHOT_PAGE))
		return;
	userfault_wake(d->fd, page, SNAPSHOT_PAGE);
}

static void run(struct worker_job *job)
{
	struct snapshot_demand *d = container_of(job, struct snapshot_demand, job);
	struct pollfd fds[] = {{.fd = d->fd, .events = POLLIN},
			       {.fd = d->over_fd, .events = POLLIN}};
	void *page;

	while (!fds[1].revents) {
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			break;
		while (userfault_next(d->fd, &page) == 1)
			serve(d, page);
	}
}

static int register_piece(void *opaque, const struct snapshot_region *r, uint64_t at, uint64_t len)
{
	struct snapshot_demand *d = opaque;

	return memory_on_demand(&d->vm->mem, r->gpa + at, len, d->fd);
}

static int begin(struct snapshot_demand *d, struct error *why)
{
	uint32_t i;
	int ret;

	d->over_fd = eventfd(0, EFD_CLOEXEC);
	d->workers = workers_create("snapshot-pages", 1);
	if (chunk_reader_init(&d->reader, d->m, why))
		return -1;
	for (i = 0; i < d->m->nr; i++)
		d->done[i] = calloc(d->m->regions[i].nr_chunks, sizeof(*d->done[i]));
	if (d->over_fd < 0 || !d->workers || !d->done[d->m->nr - 1])
		return fail(why, "no memory");
	d->fd = userfault_open();
	if (d->fd < 0)
		return fail_errno(why, -d->fd, "userfaultfd");
	for (i = 0, ret = 0; i < d->m->nr && !ret; i++)
		ret = snapshot_pieces(&d->m->regions[i], register_piece, d);
	if (ret)
		return fail_errno(why, -ret, "userfaultfd");
	return workers_post(d->workers, &d->job) ? 0 : fail(why, "no thread");
}

struct snapshot_demand *snapshot_demand_new(struct vm *vm, const struct snapshot_memory *m,
					    struct error *why)
{
	struct snapshot_demand *d = calloc(1, sizeof(*d));
	struct error ignored;

	if (!d) {
		fail(why, "no memory");
		return NULL;
	}
	d->vm = vm;
	d->m = m;
	d->fd = -1;
	d->job.fn = run;
	loop_work_init(&d->found, damaged, d);
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->cond, NULL);
	if (!begin(d, why))
		return d;
	snapshot_demand_end(d);
	/* Nobody has touched it: that is about what was registered before. */
	memory_forget(&vm->mem, &ignored);
	return NULL;
}

void snapshot_demand_end(struct snapshot_demand *d)
{
	uint32_t i;

	if (!d)
		return;
	if (d->over_fd >= 0)
		eventfd_write(d->over_fd, 1);
	workers_destroy(d->workers);
	loop_unpost(d->vm->loop, &d->found);
	if (d->fd >= 0)
		close(d->fd);
	if (d->over_fd >= 0)
		close(d->over_fd);
	for (i = 0; i < d->m->nr; i++)
		free(d->done[i]);
	chunk_reader_free(&d->reader);
	pthread_cond_destroy(&d->cond);
	pthread_mutex_destroy(&d->lock);
	free(d);
}
