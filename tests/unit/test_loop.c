// SPDX-License-Identifier: GPL-2.0-only
/*
 * The event loop: descriptors, timers, posted work, stopping and waking.
 *
 * Where a test must prove that something does not happen, it lets the loop turn
 * with a short time limit; no test depends on an upper bound below a second.
 */
#include "lkvm/loop.h"

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static struct loop *loop;

/* How many callbacks ran in this test. */
static unsigned int order;

static void setup(void)
{
	struct error err;

	order = 0;
	loop = loop_create(&err);
	ck_assert_ptr_nonnull(loop);
}

static void teardown(void)
{
	loop_destroy(loop);
}

/* A callback that counts, and writes down when and in which order it came. */
struct probe {
	unsigned int calls;
	unsigned int order;
	uint64_t at;
	uint32_t events;
	int fd;
	void (*then)(struct probe *);
	void *arg;
};

static void count(void *opaque)
{
	struct probe *p = opaque;

	p->calls++;
	p->at = now_ns();
	p->order = ++order;
	if (p->then)
		p->then(p);
}

static void count_events(void *opaque, uint32_t events)
{
	struct probe *p = opaque;

	p->events = events;
	count(p);
}

/* Turn until nothing is due for some milliseconds. */
static void settle(void)
{
	while (loop_run_once(loop, 20) > 0)
		;
}

static void make_pipe(int fd[2])
{
	ck_assert_int_eq(pipe2(fd, O_CLOEXEC | O_NONBLOCK), 0);
}

/* Descriptors. */

START_TEST(fd_is_served)
{
	struct probe p = {0};
	int fd[2];
	char c;

	make_pipe(fd);
	ck_assert_int_eq(loop_add_fd(loop, fd[0], EPOLLIN, count_events, &p), 0);
	ck_assert_int_eq(loop_run_once(loop, 0), 0);
	ck_assert_int_eq(write(fd[1], "x", 1), 1);
	ck_assert_int_eq(loop_run_once(loop, 1000), 1);
	ck_assert_uint_eq(p.events, EPOLLIN);
	/* Level triggered: again until it was read. */
	ck_assert_int_eq(loop_run_once(loop, 1000), 1);
	ck_assert_int_eq(read(fd[0], &c, 1), 1);
	ck_assert_int_eq(loop_run_once(loop, 0), 0);
	close(fd[1]);
	ck_assert_int_eq(loop_run_once(loop, 1000), 1);
	ck_assert_uint_eq(p.events, EPOLLHUP);
	loop_remove_fd(loop, fd[0]);
	ck_assert_int_eq(loop_run_once(loop, 10), 0);
	ck_assert_uint_eq(p.calls, 3);
	close(fd[0]);
}
END_TEST

START_TEST(fd_edge_triggered)
{
	struct probe p = {0};
	int fd[2];

	make_pipe(fd);
	ck_assert_int_eq(loop_add_fd(loop, fd[0], EPOLLIN | EPOLLET, count_events, &p), 0);
	ck_assert_int_eq(write(fd[1], "x", 1), 1);
	settle();
	ck_assert_uint_eq(p.calls, 1);
	ck_assert_int_eq(write(fd[1], "x", 1), 1);
	settle();
	ck_assert_uint_eq(p.calls, 2);
	close(fd[1]);
	settle();
	ck_assert_uint_eq(p.calls, 3);
	ck_assert(p.events & EPOLLHUP);
	loop_remove_fd(loop, fd[0]);
	close(fd[0]);
}
END_TEST

START_TEST(fd_modified)
{
	struct probe p = {0};
	int fd[2];

	make_pipe(fd);
	ck_assert_int_eq(loop_add_fd(loop, fd[0], 0, count_events, &p), 0);
	ck_assert_int_eq(write(fd[1], "x", 1), 1);
	ck_assert_int_eq(loop_run_once(loop, 10), 0);
	ck_assert_int_eq(loop_modify_fd(loop, fd[0], EPOLLIN), 0);
	ck_assert_int_eq(loop_run_once(loop, 1000), 1);
	ck_assert_int_eq(loop_modify_fd(loop, fd[0], 0), 0);
	ck_assert_int_eq(loop_run_once(loop, 10), 0);
	loop_remove_fd(loop, fd[0]);
	close(fd[0]);
	close(fd[1]);
}
END_TEST

START_TEST(fd_errors)
{
	struct probe p = {0};
	FILE *file = tmpfile();
	int fd[2];

	make_pipe(fd);
	ck_assert_int_eq(loop_add_fd(loop, fileno(file), EPOLLIN, count_events, &p), -EPERM);
	ck_assert_int_eq(loop_add_fd(loop, 999, EPOLLIN, count_events, &p), -EBADF);
	ck_assert_int_eq(loop_add_fd(loop, fd[0], EPOLLIN, count_events, &p), 0);
	ck_assert_int_eq(loop_add_fd(loop, fd[0], EPOLLIN, count_events, &p), -EEXIST);
	ck_assert_int_eq(loop_modify_fd(loop, fd[1], EPOLLOUT), -ENOENT);
	loop_remove_fd(loop, fd[1]);
	loop_remove_fd(loop, fd[0]);
	loop_remove_fd(loop, fd[0]);
	fclose(file);
	close(fd[0]);
	close(fd[1]);
}
END_TEST

static void remove_other(struct probe *p)
{
	struct probe *other = p->arg;

	loop_remove_fd(loop, p->fd);
	loop_remove_fd(loop, other->fd);
	close(other->fd);
	close(p->fd);
}

/* Both are ready and fetched together; whichever is served first removes the other. */
START_TEST(fd_removed_while_fetched)
{
	struct probe a = {.then = remove_other}, b = {.then = remove_other};
	int x[2], y[2];

	make_pipe(x);
	make_pipe(y);
	a.fd = x[0];
	a.arg = &b;
	b.fd = y[0];
	b.arg = &a;
	ck_assert_int_eq(loop_add_fd(loop, a.fd, EPOLLIN, count_events, &a), 0);
	ck_assert_int_eq(loop_add_fd(loop, b.fd, EPOLLIN, count_events, &b), 0);
	ck_assert_int_eq(write(x[1], "x", 1), 1);
	ck_assert_int_eq(write(y[1], "y", 1), 1);
	settle();
	ck_assert_uint_eq(a.calls + b.calls, 1);
	close(x[1]);
	close(y[1]);
}
END_TEST

static void take_over(struct probe *p)
{
	struct probe *other = p->arg;
	int number = other->fd;
	int fd[2];

	/* The same number, watched anew for somebody else, with nothing to read. */
	loop_remove_fd(loop, p->fd);
	loop_remove_fd(loop, number);
	close(number);
	make_pipe(fd);
	ck_assert_int_eq(fd[0], number);
	ck_assert_int_eq(loop_add_fd(loop, fd[0], EPOLLIN, count_events, other), 0);
}

START_TEST(fd_number_reused_while_fetched)
{
	struct probe a = {.then = take_over}, b = {.then = take_over};
	int x[2], y[2];

	make_pipe(x);
	make_pipe(y);
	a.fd = x[0];
	a.arg = &b;
	b.fd = y[0];
	b.arg = &a;
	ck_assert_int_eq(loop_add_fd(loop, a.fd, EPOLLIN, count_events, &a), 0);
	ck_assert_int_eq(loop_add_fd(loop, b.fd, EPOLLIN, count_events, &b), 0);
	ck_assert_int_eq(write(x[1], "x", 1), 1);
	ck_assert_int_eq(write(y[1], "y", 1), 1);
	settle();
	ck_assert_uint_eq(a.calls + b.calls, 1);
}
END_TEST

static void ignore_other(struct probe *p)
{
	struct probe *other = p->arg;

	loop_modify_fd(loop, p->fd, 0);
	loop_modify_fd(loop, other->fd, 0);
}

START_TEST(fd_modified_while_fetched)
{
	struct probe a = {.then = ignore_other}, b = {.then = ignore_other};
	int x[2], y[2];

	make_pipe(x);
	make_pipe(y);
	a.fd = x[0];
	a.arg = &b;
	b.fd = y[0];
	b.arg = &a;
	ck_assert_int_eq(loop_add_fd(loop, a.fd, EPOLLIN, count_events, &a), 0);
	ck_assert_int_eq(loop_add_fd(loop, b.fd, EPOLLIN, count_events, &b), 0);
	ck_assert_int_eq(write(x[1], "x", 1), 1);
	ck_assert_int_eq(write(y[1], "y", 1), 1);
	settle();
	ck_assert_uint_eq(a.calls + b.calls, 1);
}
END_TEST

#define MANY 100

START_TEST(fd_many)
{
	static struct probe p[MANY];
	int fd[MANY][2];

	for (int i = 0; i < MANY; i++) {
		make_pipe(fd[i]);
		ck_assert_int_eq(
			loop_add_fd(loop, fd[i][0], EPOLLIN | EPOLLET, count_events, &p[i]), 0);
		ck_assert_int_eq(write(fd[i][1], "x", 1), 1);
	}
	settle();
	for (int i = 0; i < MANY; i++)
		ck_assert_uint_eq(p[i].calls, 1);
}
END_TEST

static void drain_once(struct probe *p)
{
	char c;

	ck_assert_int_eq(read(p->fd, &c, 1), 1);
	if (p->arg)
		ck_assert_int_ge(loop_run_once(loop, 0), 0);
}

/* A callback that turns the loop itself goes on with what was fetched already. */
START_TEST(fd_nested_turn)
{
	static struct probe p[8];
	int fd[8][2];

	for (int i = 0; i < 8; i++) {
		make_pipe(fd[i]);
		p[i].fd = fd[i][0];
		p[i].then = drain_once;
		p[i].arg = &p;
		ck_assert_int_eq(loop_add_fd(loop, fd[i][0], EPOLLIN, count_events, &p[i]), 0);
		ck_assert_int_eq(write(fd[i][1], "x", 1), 1);
	}
	settle();
	for (int i = 0; i < 8; i++)
		ck_assert_uint_eq(p[i].calls, 1);
}
END_TEST

/* Timers. */

START_TEST(timer_not_early)
{
	struct probe p = {0};
	struct loop_timer t;

	loop_timer_init(&t, loop, count, &p);
	for (unsigned int us = 1; us < 3000; us = us * 3 + 1) {
		uint64_t deadline = now_ns() + us * UINT64_C(1000);

		p.calls = 0;
		loop_timer_arm(&t, deadline);
		while (!p.calls)
			ck_assert_int_ge(loop_run_once(loop, -1), 0);
		ck_assert_uint_ge(p.at, deadline);
		ck_assert_uint_lt(p.at, deadline + NSEC_PER_SEC);
	}
	ck_assert_int_eq(loop_run_once(loop, 5), 0);
}
END_TEST

START_TEST(timers_in_order)
{
	struct probe p[5] = {0};
	struct loop_timer t[5];
	static const int at[5] = {3, 1, 4, 1, 2};
	uint64_t now = now_ns();

	for (int i = 0; i < 5; i++) {
		loop_timer_init(&t[i], loop, count, &p[i]);
		loop_timer_arm(&t[i], now + (uint64_t)at[i] * NSEC_PER_MSEC);
	}
	settle();
	ck_assert_uint_eq(p[1].order, 1);
	ck_assert_uint_eq(p[3].order, 2);
	ck_assert_uint_eq(p[4].order, 3);
	ck_assert_uint_eq(p[0].order, 4);
	ck_assert_uint_eq(p[2].order, 5);
}
END_TEST

START_TEST(timer_moved_and_cancelled)
{
	struct probe p = {0}, q = {0};
	struct loop_timer t, u;

	loop_timer_init(&t, loop, count, &p);
	loop_timer_init(&u, loop, count, &q);
	loop_timer_cancel(&t);
	loop_timer_arm(&t, UINT64_MAX);
	ck_assert_int_eq(loop_run_once(loop, 5), 0);
	loop_timer_arm(&u, now_ns() + NSEC_PER_MSEC);
	loop_timer_arm(&t, 0);
	settle();
	ck_assert_uint_eq(p.calls, 1);
	ck_assert_uint_eq(q.calls, 1);
	ck_assert_uint_lt(p.order, q.order);
	loop_timer_arm(&t, now_ns());
	loop_timer_arm(&t, now_ns() + 5 * NSEC_PER_MSEC);
	loop_timer_arm(&u, now_ns());
	loop_timer_cancel(&u);
	settle();
	ck_assert_uint_eq(p.calls, 2);
	ck_assert_uint_eq(q.calls, 1);
}
END_TEST

static void cancel_other(struct probe *p)
{
	loop_timer_cancel(p->arg);
}

/* Both are due in one turn, and the first takes the second back. */
START_TEST(timer_cancelled_when_due)
{
	struct probe p = {.then = cancel_other}, q = {0};
	struct loop_timer t, u;

	p.arg = &u;
	loop_timer_init(&t, loop, count, &p);
	loop_timer_init(&u, loop, count, &q);
	loop_timer_arm(&t, 1);
	loop_timer_arm(&u, 2);
	settle();
	ck_assert_uint_eq(p.calls, 1);
	ck_assert_uint_eq(q.calls, 0);
}
END_TEST

static void arm_again(struct probe *p)
{
	if (p->calls < 1000)
		loop_timer_arm(p->arg, 0);
}

/* A timer that is always late does not keep others from their turn. */
START_TEST(timer_rearms_itself)
{
	struct probe p = {.then = arm_again}, q = {0}, f = {0};
	struct loop_timer t, u;
	int fd[2];

	make_pipe(fd);
	ck_assert_int_eq(write(fd[1], "x", 1), 1);
	ck_assert_int_eq(loop_add_fd(loop, fd[0], EPOLLIN | EPOLLET, count_events, &f), 0);
	p.arg = &t;
	loop_timer_init(&t, loop, count, &p);
	loop_timer_init(&u, loop, count, &q);
	loop_timer_arm(&t, 0);
	loop_timer_arm(&u, now_ns());
	ck_assert_int_eq(loop_run_once(loop, 0), 3);
	ck_assert_uint_eq(q.calls, 1);
	settle();
	ck_assert_uint_eq(p.calls, 1000);
	ck_assert_uint_eq(f.calls, 1);
}
END_TEST

/* Work. */

START_TEST(work_runs_once_in_order)
{
	struct probe p[3] = {0};
	struct loop_work w[3];

	for (int i = 0; i < 3; i++)
		loop_work_init(&w[i], count, &p[i]);
	loop_post(loop, &w[2]);
	loop_post(loop, &w[0]);
	loop_post(loop, &w[2]);
	loop_post(loop, &w[1]);
	ck_assert_int_eq(loop_run_once(loop, -1), 3);
	ck_assert_int_eq(loop_run_once(loop, 0), 0);
	ck_assert_uint_eq(p[2].order, 1);
	ck_assert_uint_eq(p[0].order, 2);
	ck_assert_uint_eq(p[1].order, 3);
	loop_post(loop, &w[1]);
	ck_assert_int_eq(loop_run_once(loop, -1), 1);
	ck_assert_uint_eq(p[1].calls, 2);
}
END_TEST

START_TEST(work_taken_back)
{
	struct probe p[4] = {0};
	struct loop_work w[4];

	for (int i = 0; i < 4; i++) {
		loop_work_init(&w[i], count, &p[i]);
		loop_post(loop, &w[i]);
	}
	loop_unpost(loop, &w[3]);
	loop_unpost(loop, &w[1]);
	loop_unpost(loop, &w[1]);
	loop_unpost(loop, &w[0]);
	loop_post(loop, &w[1]);
	settle();
	ck_assert_uint_eq(p[0].calls, 0);
	ck_assert_uint_eq(p[1].calls, 1);
	ck_assert_uint_eq(p[2].calls, 1);
	ck_assert_uint_eq(p[3].calls, 0);
	loop_unpost(loop, &w[2]);
	loop_post(loop, &w[2]);
	settle();
	ck_assert_uint_eq(p[2].calls, 2);
}
END_TEST

static void post_again(struct probe *p)
{
	loop_post(loop, p->arg);
}

START_TEST(work_posts_itself)
{
	struct probe p = {.then = post_again}, f = {0};
	struct loop_work w;
	int fd[2];

	make_pipe(fd);
	ck_assert_int_eq(loop_add_fd(loop, fd[0], EPOLLIN | EPOLLET, count_events, &f), 0);
	p.arg = &w;
	loop_work_init(&w, count, &p);
	loop_post(loop, &w);
	for (unsigned int i = 1; i < 50; i++) {
		ck_assert_int_eq(loop_run_once(loop, -1), 1);
		ck_assert_uint_eq(p.calls, i);
	}
	ck_assert_int_eq(write(fd[1], "x", 1), 1);
	ck_assert_int_eq(loop_run_once(loop, -1), 2);
	ck_assert_uint_eq(f.calls, 1);
}
END_TEST

/* Threads. */

struct poster {
	pthread_t thread;
	struct loop_work work;
	atomic_uint stored; /* what the work must have seen in the end */
	unsigned int seen;
	struct loop_timer timer;
	unsigned int timer_calls;
};

#define POSTS 20000
#define POSTERS 4

static atomic_uint finished;

static void see(void *opaque)
{
	struct poster *p = opaque;
	unsigned int before = p->seen;

	p->seen = atomic_load(&p->stored);
	/* The work of the last post but one may see the last value already: counted once. */
	if (p->seen == POSTS && before != POSTS && atomic_fetch_add(&finished, 1) == POSTERS - 1)
		loop_stop(loop, 77);
}

static void timer_call(void *opaque)
{
	((struct poster *)opaque)->timer_calls++;
}

static void *post_much(void *opaque)
{
	struct poster *p = opaque;

	for (unsigned int i = 1; i <= POSTS; i++) {
		atomic_store(&p->stored, i);
		if (!(i % 16))
			loop_timer_arm(&p->timer, now_ns() + 10000 * (i % 7));
		if (!(i % 1000))
			loop_timer_cancel(&p->timer);
		/* Let the loop fall asleep now and then, so that it must be woken. */
		if (!(i % 512))
			usleep(200);
		loop_post(loop, &p->work);
	}
	return NULL;
}

START_TEST(threads_post_and_arm)
{
	static struct poster posters[POSTERS];

	for (int i = 0; i < POSTERS; i++) {
		struct poster *p = &posters[i];

		loop_work_init(&p->work, see, p);
		loop_timer_init(&p->timer, loop, timer_call, p);
		ck_assert_int_eq(pthread_create(&p->thread, NULL, post_much, p), 0);
	}
	/* No post is lost: the last value of each was seen, or this hangs. */
	ck_assert_int_eq(loop_run(loop), 77);
	for (int i = 0; i < POSTERS; i++) {
		pthread_join(posters[i].thread, NULL);
		ck_assert_uint_eq(posters[i].seen, POSTS);
		ck_assert_uint_gt(posters[i].timer_calls, 0);
	}
}
END_TEST

static struct probe woken;
static struct loop_work wake_work;
static struct loop_timer wake_timer;

static void *post_later(void *opaque)
{
	(void)opaque;
	usleep(30000);
	loop_post(loop, &wake_work);
	return NULL;
}

static void *arm_later(void *opaque)
{
	(void)opaque;
	usleep(30000);
	loop_timer_arm(&wake_timer, now_ns());
	return NULL;
}

static void *stop_later(void *opaque)
{
	(void)opaque;
	usleep(30000);
	loop_stop(loop, 5);
	return NULL;
}

/* Asleep for ever, or for a timer in an hour: each kind of call ends that. */
START_TEST(sleep_is_ended)
{
	void *(*const threads[])(void *) = {post_later, arm_later, stop_later};
	struct probe hour = {0};
	struct loop_timer t;
	pthread_t thread;

	loop_work_init(&wake_work, count, &woken);
	loop_timer_init(&wake_timer, loop, count, &woken);
	loop_timer_init(&t, loop, count, &hour);
	if (_i % 2)
		loop_timer_arm(&t, now_ns() + 3600 * NSEC_PER_SEC);
	ck_assert_int_eq(pthread_create(&thread, NULL, threads[_i / 2], NULL), 0);
	if (_i / 2 == 2) {
		ck_assert_int_eq(loop_run(loop), 5);
	} else {
		while (!woken.calls)
			ck_assert_int_ge(loop_run_once(loop, -1), 0);
	}
	pthread_join(thread, NULL);
	ck_assert_uint_eq(hour.calls, 0);
}
END_TEST

static void stop_with_arg(struct probe *p)
{
	loop_stop(loop, *(int *)p->arg);
}

START_TEST(stop_before_run)
{
	loop_stop(loop, 3);
	ck_assert_int_eq(loop_run(loop), 3);
	loop_stop(loop, 1);
	loop_stop(loop, 2);
	ck_assert_int_eq(loop_run(loop), 2);
}
END_TEST

/* After the stopping callback nothing else is called, and nothing is lost either. */
START_TEST(stop_keeps_what_is_due)
{
	int result = 9;
	struct probe f[2] = {0}, t[2] = {0}, w[2] = {0};
	struct loop_timer timer[2];
	struct loop_work work[2];
	int fd[2][2];

	for (int i = 0; i < 2; i++) {
		make_pipe(fd[i]);
		ck_assert_int_eq(write(fd[i][1], "x", 1), 1);
		ck_assert_int_eq(
			loop_add_fd(loop, fd[i][0], EPOLLIN | EPOLLET, count_events, &f[i]), 0);
		f[i].then = stop_with_arg;
		f[i].arg = &result;
		t[i] = f[i];
		w[i] = f[i];
		loop_timer_init(&timer[i], loop, count, &t[i]);
		loop_timer_arm(&timer[i], 0);
		loop_work_init(&work[i], count, &w[i]);
		loop_post(loop, &work[i]);
	}
	for (unsigned int i = 0; i < 6; i++) {
		ck_assert_int_eq(loop_run(loop), 9);
		ck_assert_uint_eq(f[0].calls + f[1].calls + t[0].calls + t[1].calls + w[0].calls +
					  w[1].calls,
				  i + 1);
	}
	ck_assert_uint_eq(f[0].calls, 1);
	ck_assert_uint_eq(t[0].calls, 1);
	ck_assert_uint_eq(w[0].calls, 1);
	ck_assert_int_eq(loop_run_once(loop, 5), 0);
}
END_TEST

static void nothing(int sig)
{
	(void)sig;
}

START_TEST(signal_interrupts_nothing)
{
	struct sigaction act = {.sa_handler = nothing};
	struct itimerspec every = {.it_value = {.tv_nsec = 1000000},
				   .it_interval = {.tv_nsec = 1000000}};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2};
	struct probe p = {0};
	struct loop_timer t;
	uint64_t deadline = now_ns() + 30 * NSEC_PER_MSEC;
	timer_t id;

	sigaction(SIGUSR2, &act, NULL);
	ck_assert_int_eq(timer_create(CLOCK_MONOTONIC, &event, &id), 0);
	timer_settime(id, 0, &every, NULL);
	loop_timer_init(&t, loop, count, &p);
	loop_timer_arm(&t, deadline);
	while (!p.calls)
		ck_assert_int_ge(loop_run_once(loop, -1), 0);
	timer_delete(id);
	ck_assert_uint_ge(p.at, deadline);
}
END_TEST

/* An hour's wait sleeps: hardly any CPU time goes by. */
START_TEST(idle_sleeps)
{
	struct rusage before, after;
	struct probe p = {0};
	struct loop_timer t;

	loop_timer_init(&t, loop, count, &p);
	loop_timer_arm(&t, now_ns() + 3600 * NSEC_PER_SEC);
	getrusage(RUSAGE_THREAD, &before);
	ck_assert_int_eq(loop_run_once(loop, 300), 0);
	getrusage(RUSAGE_THREAD, &after);
	ck_assert_int_le(after.ru_nvcsw + after.ru_nivcsw, before.ru_nvcsw + before.ru_nivcsw + 20);
	ck_assert_int_eq(after.ru_utime.tv_sec, before.ru_utime.tv_sec);
}
END_TEST

/* Posting to a loop that is awake makes no system call: the eventfd stays silent. */
START_TEST(busy_loop_is_not_woken)
{
	struct probe p = {0};
	struct loop_work w;
	struct loop_timer t;

	loop_work_init(&w, count, &p);
	loop_timer_init(&t, loop, count, &p);
	for (int i = 0; i < 100; i++) {
		loop_post(loop, &w);
		loop_timer_arm(&t, now_ns() + 3600 * NSEC_PER_SEC);
		loop_unpost(loop, &w);
	}
	loop_timer_cancel(&t);
	/* A write would make epoll return at once, with 0 callbacks. */
	uint64_t before = now_ns();

	ck_assert_int_eq(loop_run_once(loop, 50), 0);
	ck_assert_uint_ge(now_ns() - before, 45 * NSEC_PER_MSEC);
}
END_TEST

START_TEST(two_loops)
{
	struct loop *other = loop_create(NULL);
	struct probe p = {0}, q = {0};
	struct loop_work w, v;

	ck_assert_ptr_nonnull(other);
	loop_work_init(&w, count, &p);
	loop_work_init(&v, count, &q);
	loop_post(loop, &w);
	loop_post(other, &v);
	ck_assert_int_eq(loop_run_once(other, 0), 1);
	ck_assert_uint_eq(p.calls, 0);
	ck_assert_int_eq(loop_run_once(loop, 0), 1);
	loop_destroy(other);
	loop_destroy(NULL);
}
END_TEST

START_TEST(no_descriptors_left)
{
	struct rlimit limit, few;
	struct error err;
	struct loop *none;

	getrlimit(RLIMIT_NOFILE, &limit);
	few = limit;
	few.rlim_cur = 3;
	setrlimit(RLIMIT_NOFILE, &few);
	none = loop_create(&err);
	setrlimit(RLIMIT_NOFILE, &limit);
	ck_assert_ptr_null(none);
	ck_assert_ptr_nonnull(strstr(err.msg, "cannot create an epoll descriptor: "));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("loop");
	TCase *tc = tcase_create("descriptors");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, fd_is_served);
	tcase_add_test(tc, fd_edge_triggered);
	tcase_add_test(tc, fd_modified);
	tcase_add_test(tc, fd_errors);
	tcase_add_test(tc, fd_removed_while_fetched);
	tcase_add_test(tc, fd_number_reused_while_fetched);
	tcase_add_test(tc, fd_modified_while_fetched);
	tcase_add_test(tc, fd_many);
	tcase_add_test(tc, fd_nested_turn);
	suite_add_tcase(suite, tc);

	tc = tcase_create("timers");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, timer_not_early);
	tcase_add_test(tc, timers_in_order);
	tcase_add_test(tc, timer_moved_and_cancelled);
	tcase_add_test(tc, timer_cancelled_when_due);
	tcase_add_test(tc, timer_rearms_itself);
	suite_add_tcase(suite, tc);

	tc = tcase_create("work");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, work_runs_once_in_order);
	tcase_add_test(tc, work_taken_back);
	tcase_add_test(tc, work_posts_itself);
	suite_add_tcase(suite, tc);

	tc = tcase_create("turning");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, threads_post_and_arm);
	tcase_add_loop_test(tc, sleep_is_ended, 0, 6);
	tcase_add_test(tc, stop_before_run);
	tcase_add_test(tc, stop_keeps_what_is_due);
	tcase_add_test(tc, signal_interrupts_nothing);
	tcase_add_test(tc, idle_sleeps);
	tcase_add_test(tc, busy_loop_is_not_woken);
	tcase_add_test(tc, two_loops);
	tcase_add_test(tc, no_descriptors_left);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
