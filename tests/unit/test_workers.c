// SPDX-License-Identifier: GPL-2.0-only
/*
 * Worker threads: every job is called once, never on the thread that posts, several
 * at a time, and threads come and go with the work.
 */
#include "unit.h"

#include "lkvm/workers.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#define JOBS 2000

struct job {
	struct worker_job job;
	atomic_uint calls;
	struct gate *gate;
};

/* Holds jobs until so many are inside. */
struct gate {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned int inside, wanted;
};

/* How many calls are under way, and the most there were. */
struct crowd {
	struct worker_job job;
	atomic_uint *inside, *most, *calls;
};

static void count(struct worker_job *job)
{
	container_of(job, struct job, job)->calls++;
}

static void jostle(struct worker_job *job)
{
	struct crowd *c = container_of(job, struct crowd, job);
	unsigned int n = ++*c->inside, most = *c->most;

	while (n > most && !atomic_compare_exchange_weak(c->most, &most, n))
		;
	--*c->inside;
	++*c->calls;
}

static void meet(struct worker_job *job)
{
	struct gate *g = container_of(job, struct job, job)->gate;
	sigset_t set;

	/* Signals are for others. */
	pthread_sigmask(SIG_SETMASK, NULL, &set);
	ck_assert(sigismember(&set, SIGTERM) && sigismember(&set, SIGUSR1));
	ck_assert(!sigismember(&set, SIGSEGV));
	pthread_mutex_lock(&g->lock);
	g->inside++;
	pthread_cond_broadcast(&g->cond);
	while (g->inside < g->wanted)
		pthread_cond_wait(&g->cond, &g->lock);
	pthread_mutex_unlock(&g->lock);
	count(job);
}

START_TEST(each_once)
{
	static struct crowd jobs[JOBS];
	struct workers *w = workers_create("a name that is long", 3);
	atomic_uint inside = 0, most = 0, calls = 0;
	unsigned int i;

	for (i = 0; i < JOBS; i++) {
		jobs[i] = (struct crowd){{.fn = jostle}, &inside, &most, &calls};
		ck_assert(workers_post(w, &jobs[i].job));
	}
	workers_destroy(w);
	ck_assert_uint_eq(calls, JOBS);
	ck_assert_uint_ge(most, 1);
	ck_assert_uint_le(most, 3);
	workers_destroy(NULL);
}
END_TEST

START_TEST(side_by_side)
{
	struct gate g = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
	struct workers *w = workers_create("side", 4);
	struct job jobs[4];
	unsigned int i;

	g.wanted = 4;
	for (i = 0; i < 4; i++) {
		jobs[i] = (struct job){.job.fn = meet, .gate = &g};
		ck_assert(workers_post(w, &jobs[i].job));
	}
	/* None of them gets out before all are in. */
	workers_destroy(w);
	ck_assert_uint_eq(g.inside, 4);
}
END_TEST

START_TEST(come_and_go)
{
	struct workers *w = workers_create("idle", 4);
	unsigned int before = 0, i;
	struct job job = {.job.fn = count};

	/* Nothing to do: nobody there. (A sanitizer may add a thread at the first one.) */
	for (i = 1; i <= 3; i++) {
		unsigned int tries = 100;

		ck_assert(workers_post(w, &job.job));
		if (i == 1) {
			usleep(3000000);
			before = unit_threads();
			continue;
		}
		ck_assert_uint_eq(unit_threads(), before + 1);
		while (job.calls < i && tries--)
			usleep(50000);
		ck_assert_uint_eq(job.calls, i);
		unit_settle(before);
	}
	workers_destroy(w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("workers");
	TCase *t = tcase_create("workers");

	tcase_add_test(t, each_once);
	tcase_add_test(t, side_by_side);
	tcase_add_test(t, come_and_go);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return unit_main(s);
}
