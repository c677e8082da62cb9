/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A few threads for calls that may block: disk I/O, syncing.
 *
 * No thread exists until there is something to do, and who found nothing to do for
 * a while ends. Jobs start in the order in which they were posted and run side by
 * side.
 */
#ifndef LKVM_WORKERS_H
#define LKVM_WORKERS_H

#include "lkvm/util.h"

struct workers;

/**
 * struct worker_job - a call to be made; embedded in its owner
 * @fn: what to call; the job is the callee's from then on
 */
struct worker_job {
	void (*fn)(struct worker_job *job);
	struct worker_job *next; /* private */
};

/**
 * workers_create() - a group of threads, none of which exists yet
 * @name: for whoever lists threads; its first 15 characters count
 * @max: most threads at a time, at least 1
 *
 * Return: NULL where there is no memory.
 */
struct workers *workers_create(const char *name, unsigned int max);

/**
 * workers_post() - have @job called by one of the threads (any thread; does not wait)
 *
 * Return: false where no thread is there and none can be made; then nothing is
 * called.
 */
bool workers_post(struct workers *workers, struct worker_job *job);

/**
 * workers_destroy() - wait for all jobs, end the threads, free; NULL is allowed
 *
 * Nobody posts any more.
 */
void workers_destroy(struct workers *workers);

#endif /* LKVM_WORKERS_H */
