// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory that comes out of the file when it is used (private.h).
 *
 * Where memory must not be mapped from the file (arch_writes_unseen()), its pages are plain
 * ones that are made when somebody touches them: a vCPU, a device, a system call. All wait for
 * one thread, which reads the whole chunk that the page is in, checks it, and fills it in
 * (userfaultfd). What was all zero when the VM was saved is mostly not registered at all, and
 * comes as any other memory does. When all of a block of 2 MiB is there, it is plain memory too,
 * of which the host can make a huge page; when all blocks are, the thread ends.
 *
 * What is damaged, or can't be read, is never seen. There is nothing to give to who waits then:
 * zeroes would find their way to a disk, and any error that the kernel can be made to return
 * becomes a signal where this program itself looks. So that ends the process, after a word on what
 * was lost. Where the loop is not among those that wait, it tells clients before; who waits does
 * not move any more.
 *
 * The thread touches neither guest memory nor a lock under which somebody else may. Who waits for
 * it can't be interrupted: a file system that hangs holds the VM up until SIGKILL.
 *
 * Threads: begin and end belong to the loop's, all else to this one. Nothing is saved: who saves
 * the VM touches all its memory, and so it comes.
 */
#include "private.h"

#include "lkvm/process.h"
#include "lkvm/userfault.h"
#include "lkvm/workers.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define BLOCK (SNAPSHOT_BLOCK_CHUNKS * SNAPSHOT_CHUNK)

/* How long the host may have no memory, tried again in steps. */
#define NO_MEMORY_NS (5 * NSEC_PER_SEC)
#define NO_MEMORY_STEP_US 20000

/* How long the loop may take to tell clients of the end. */
#define LAST_WORDS_US 1000000

/* How often a block that is plain again may part a mapping; the host allows 65530 of these. */
#define MAX_PARTS 32768

/**
 * struct snapshot_demand
 * @fd: of userfault_open(); @over_fd: readable: it is over
 * @come: for each region one byte a chunk: it was filled in
 * @missing: for each region one byte a block: chunks with pages that have not come
 * @left: blocks with any
 * @parts: how many mappings there are more by blocks that are plain, about
 * @last_words: has the loop tell clients
 */
struct snapshot_demand {
	struct vm *vm;
	const struct snapshot_memory *m;
	struct chunk_reader reader;
	int fd, over_fd;
	bool *come[MEMORY_MAX_REGIONS];
	uint8_t *missing[MEMORY_MAX_REGIONS];
	uint64_t left;
	int64_t parts;
	struct loop_work last_words;
	struct workers *workers;
	struct worker_job job;
};

static void say_last_words(void *opaque)
{
	struct snapshot_demand *d = opaque;

	vm_tell_end(d->vm, VM_DIED);
	process_leave(vm_verdict_status(VM_DIED));
}

/* Nobody can go on without what is lost. */
static _Noreturn void end_process(struct snapshot_demand *d, const char *what,
				  const struct error *err)
{
	log_fatal(d->vm->log, "%s: %s", what, err->msg);
	loop_post(d->vm->loop, &d->last_words);
	usleep(LAST_WORDS_US);
	process_leave(vm_verdict_status(VM_DIED));
}

/* Is @errnum the host's, and is it to be tried again? */
static bool no_memory_yet(int errnum, uint64_t since)
{
	if (errnum != ENOMEM || now_ns() - since > NO_MEMORY_NS)
		return false;
	usleep(NO_MEMORY_STEP_US);
	return true;
}

static void fill(struct snapshot_demand *d, uint8_t *to, const uint8_t *from, size_t len)
{
	uint64_t since = now_ns();
	struct error err;
	int ret;

	do
		ret = userfault_fill(d->fd, to, from, len);
	while (ret && no_memory_yet(-ret, since));
	if (!ret)
		return;
	fail_errno(&err, -ret, "userfaultfd");
	end_process(d, "the host can't make a page of the VM's memory", &err);
}

static void read_chunk(struct snapshot_demand *d, const struct snapshot_region *r, uint64_t i)
{
	uint64_t since = now_ns();
	struct error err;
	int ret;

	do {
		errno = 0;
		ret = chunk_read(&d->reader, r, i, &err);
	} while (ret && no_memory_yet(errno, since));
	if (ret)
		end_process(d, "the snapshot that the VM runs from is not good, or can't be read",
			    &err);
}

static void fill_pages(struct snapshot_demand *d, const struct snapshot_region *r, uint64_t chunk,
		       uint8_t *to)
{
	uint64_t pages = r->chunks[chunk].pages;
	uint64_t nr =
		min_u64(SNAPSHOT_CHUNK_PAGES, (r->size - chunk * SNAPSHOT_CHUNK) / SNAPSHOT_PAGE);
	const uint8_t *from = d->reader.pages;
	unsigned int i = 0, n;

	while (i < nr) {
		n = chunk_run(pages, i);
		if (n) {
			fill(d, to + i * SNAPSHOT_PAGE, from, n * SNAPSHOT_PAGE);
			from += n * SNAPSHOT_PAGE;
		} else {
			n = (unsigned int)min_u64(chunk_run(~pages, i), nr - i);
			fill(d, to + i * SNAPSHOT_PAGE, NULL, n * SNAPSHOT_PAGE);
		}
		i += n;
	}
}

/* Block @block, which lies at @hva, has all its pages. */
static void make_plain(struct snapshot_demand *d, uint32_t region, uint64_t block, uint8_t *hva)
{
	const struct snapshot_region *r = &d->m->regions[region];
	const uint8_t *missing = d->missing[region];
	/* Where its neighbours are plain already, mappings grow together. */
	int more = (block && missing[block - 1]) + !!missing[block + 1] - 1;

	d->left--;
	if (more > 0 && d->parts >= MAX_PARTS)
		return;
	d->parts += more;
	/* Where that fails, it stays as it is: all there. */
	userfault_unregister(d->fd, hva, (size_t)min_u64(BLOCK, r->size - block * BLOCK));
}

/* Fill in chunk @i, which lies at @to. */
static void bring(struct snapshot_demand *d, uint32_t region, uint64_t i, uint8_t *to)
{
	const struct snapshot_region *r = &d->m->regions[region];
	uint64_t pages = r->chunks[i].pages, block = i / SNAPSHOT_BLOCK_CHUNKS;

	if (pages)
		read_chunk(d, r, i);
	fill_pages(d, r, i, to);
	/*
	 * There may be code in it, and nobody else tells the instruction caches. Who waited is
	 * woken after that; a hart that comes just now can be quicker, as it can where any host
	 * brings memory while the guest runs.
	 */
	__builtin___clear_cache((char *)to, (char *)to + SNAPSHOT_PAGE);
	userfault_wake(d->fd, to, (size_t)min_u64(SNAPSHOT_CHUNK, r->size - i * SNAPSHOT_CHUNK));
	d->come[region][i] = true;
	if (pages && !--d->missing[region][block])
		make_plain(d, region, block, to - i % SNAPSHOT_BLOCK_CHUNKS * SNAPSHOT_CHUNK);
}

static void serve(struct snapshot_demand *d, void *page)
{
	uint32_t region = 0;
	uint64_t offset, i;
	gpa_t gpa;

	/* The regions are the VM's own (load.c has compared them). */
	if (!memory_gpa_of(&d->vm->mem, page, &gpa))
		return;
	while (gpa - d->m->regions[region].gpa >= d->m->regions[region].size)
		region++;
	offset = gpa - d->m->regions[region].gpa;
	i = offset / SNAPSHOT_CHUNK;
	/* Two may have waited for one chunk; and one for a page that was given back meanwhile. */
	if (d->come[region][i])
		userfault_wake(d->fd, page, SNAPSHOT_PAGE);
	else
		bring(d, region, i, (uint8_t *)page - offset % SNAPSHOT_CHUNK);
}

static void run(struct worker_job *job)
{
	struct snapshot_demand *d = container_of(job, struct snapshot_demand, job);
	struct pollfd fds[] = {{.fd = d->fd, .events = POLLIN},
			       {.fd = d->over_fd, .events = POLLIN}};
	void *page;

	while (!fds[1].revents && d->left) {
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			break;
		while (userfault_next(d->fd, &page) == 1)
			serve(d, page);
	}
	/* Whatever of it is still registered is plain memory from here on. */
	if (!d->left) {
		close(d->fd);
		d->fd = -1;
	}
}

static int register_piece(void *opaque, const struct snapshot_region *r, uint64_t at, uint64_t len)
{
	struct snapshot_demand *d = opaque;

	return memory_on_demand(&d->vm->mem, r->gpa + at, len, d->fd);
}

/* What is to come of region @i. */
static bool count(struct snapshot_demand *d, uint32_t i)
{
	const struct snapshot_region *r = &d->m->regions[i];
	uint64_t k;

	d->come[i] = calloc(r->nr_chunks, sizeof(*d->come[i]));
	d->missing[i] = calloc(r->nr_chunks / SNAPSHOT_BLOCK_CHUNKS + 2, sizeof(*d->missing[i]));
	if (!d->come[i] || !d->missing[i])
		return false;
	for (k = 0; k < r->nr_chunks; k++)
		if (r->chunks[k].pages && !d->missing[i][k / SNAPSHOT_BLOCK_CHUNKS]++)
			d->left++;
	return true;
}

static int begin(struct snapshot_demand *d, struct error *why)
{
	uint32_t i;
	int ret = 0;

	if (d->vm->mem.shared)
		return fail(why, "it is shared with other processes");
	d->fd = userfault_open();
	if (d->fd < 0)
		return fail_errno(why, -d->fd, "userfaultfd");
	d->over_fd = eventfd(0, EFD_CLOEXEC);
	d->workers = workers_create("snapshot-pages", 1);
	if (chunk_reader_init(&d->reader, d->m, why))
		return -1;
	if (d->over_fd < 0 || !d->workers)
		return fail(why, "no memory");
	for (i = 0; i < d->m->nr; i++)
		if (!count(d, i))
			return fail(why, "no memory");
	for (i = 0; i < d->m->nr && !ret; i++)
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
	d->over_fd = -1;
	d->job.fn = run;
	loop_work_init(&d->last_words, say_last_words, d);
	if (!begin(d, why))
		return d;
	snapshot_demand_end(d);
	/* Nobody has touched it: that is about what was registered, and is plain by now. */
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
	if (d->fd >= 0)
		close(d->fd);
	if (d->over_fd >= 0)
		close(d->over_fd);
	for (i = 0; i < d->m->nr; i++) {
		free(d->come[i]);
		free(d->missing[i]);
	}
	chunk_reader_free(&d->reader);
	free(d);
}
