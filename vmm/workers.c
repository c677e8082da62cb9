// SPDX-License-Identifier: GPL-2.0-only
/*
 * Worker threads (include/lkvm/workers.h).
 *
 * A queue of jobs under one mutex. Who posts wakes an idle thread, or makes another
 * one while there are fewer than allowed. A thread that has waited IDLE_SECONDS for
 * a job ends, so a VM that does nothing has none. Threads are detached; the count of
 * them is what workers_destroy() waits for, and the last thing a thread touches.
 *
 * All signals but those that a bug raises are blocked, whatever the mask of the
 * thread that posts.
 *
 * Lock: the mutex is a leaf; jobs run without it. Nothing is saved.
 */
#include "lkvm/workers.h"

#include "lkvm/process.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define IDLE_SECONDS 2

/* The calls made here are shallow. */
#define WORKER_STACK (256 * KIB)

struct workers {
	pthread_mutex_t lock;
	pthread_cond_t more, ended;
	struct worker_job *first, **last;
	unsigned int max, threads, idle, jobs;
	bool over;
	char name[16];
};

struct workers *workers_create(const char *name, unsigned int max)
{
	struct workers *w = calloc(1, sizeof(*w));
	pthread_condattr_t attr;

	if (!w)
		return NULL;
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->more, &attr);
	pthread_cond_init(&w->ended, NULL);
	pthread_condattr_destroy(&attr);
	w->last = &w->first;
	w->max = max;
	snprintf(w->name, sizeof(w->name), "%s", name);
	return w;
}

/* Wait for a job. NULL: there was none for long, or there will be none. */
static struct worker_job *next_job(struct workers *w)
{
	struct worker_job *job;
	struct timespec limit;
	int ret = 0;

	clock_gettime(CLOCK_MONOTONIC, &limit);
	limit.tv_sec += IDLE_SECONDS;
	w->idle++;
	while (!w->first && !w->over && ret != ETIMEDOUT)
		ret = pthread_cond_timedwait(&w->more, &w->lock, &limit);
	w->idle--;
	job = w->first;
	if (!job)
		return NULL;
	w->first = job->next;
	if (!w->first)
		w->last = &w->first;
	w->jobs--;
	return job;
}

static void *worker(void *arg)
{
	struct workers *w = arg;
	struct worker_job *job;

	pthread_setname_np(pthread_self(), w->name);
	pthread_mutex_lock(&w->lock);
	while ((job = next_job(w))) {
		pthread_mutex_unlock(&w->lock);
		job->fn(job);
		pthread_mutex_lock(&w->lock);
	}
	w->threads--;
	pthread_cond_signal(&w->ended);
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static int start_thread(struct workers *w)
{
	sigset_t all, old;
	pthread_attr_t attr;
	pthread_t thread;
	int ret;

	ret = pthread_attr_init(&attr);
	if (ret)
		return ret;
	pthread_attr_setstacksize(&attr, WORKER_STACK);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	process_keep_faults(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&thread, &attr, worker, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return ret;
}

bool workers_post(struct workers *w, struct worker_job *job)
{
	bool taken = true;

	pthread_mutex_lock(&w->lock);
	/* Each idle thread takes one of the jobs that are waiting. */
	if (w->idle > w->jobs)
		pthread_cond_signal(&w->more);
	else if (w->threads < w->max && !start_thread(w))
		w->threads++;
	else
		taken = w->threads;
	if (taken) {
		job->next = NULL;
		*w->last = job;
		w->last = &job->next;
		w->jobs++;
	}
	pthread_mutex_unlock(&w->lock);
	return taken;
}

void workers_destroy(struct workers *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->over = true;
	pthread_cond_broadcast(&w->more);
	while (w->threads)
		pthread_cond_wait(&w->ended, &w->lock);
	pthread_mutex_unlock(&w->lock);
	pthread_cond_destroy(&w->more);
	pthread_cond_destroy(&w->ended);
	pthread_mutex_destroy(&w->lock);
	free(w);
}
