// SPDX-License-Identifier: GPL-2.0-only
/*
 * The event loop: epoll(7) for descriptors, a sorted list for timers, a queue
 * for work posted by other threads.
 *
 * One thread, the loop's, turns it: fetch events, call for each, call the timers
 * that are due, call the work that was queued when the turn began. Descriptors,
 * their watches and the fetched events belong to that thread alone. Timers and
 * work are shared with the vCPU threads under one mutex, which is never held
 * across a callback.
 *
 * Waking. Under the mutex the loop's thread writes down until when it is going to
 * sleep, and that it sleeps. Whoever queues work or arms an earlier timer finds
 * that under the same mutex and writes the eventfd, once per sleep. So nothing is
 * missed, and a post to a busy loop, or a timer later than the first one, costs
 * no system call. The eventfd is watched edge triggered: each write is an edge,
 * and it never needs to be read.
 *
 * Fetched events stay in the loop until they are served: removing a descriptor
 * strikes out its entry, a callback that turns the loop itself goes on with the
 * rest, and loop_stop() in the middle loses nothing, edges included.
 *
 * Nothing here is saved: owners save their deadlines and arm anew.
 */
#include "lkvm/loop.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 35)
#define HAVE_EPOLL_PWAIT2 1
#else
#define HAVE_EPOLL_PWAIT2 0
#endif

#define EVENTS_PER_TURN 16
#define FOREVER UINT64_MAX

struct watch {
	int fd;
	uint32_t events;
	loop_fd_fn fn;
	void *opaque;
	struct watch *next;
};

struct loop {
	int epoll_fd;
	int wake_fd;

	/* The loop's thread only. */
	struct watch *watches;
	struct epoll_event fetched[EVENTS_PER_TURN]; /* data.ptr: the watch, NULL: struck out */
	int next_event, nr_events;
#if HAVE_EPOLL_PWAIT2
	bool no_pwait2;
#endif

	atomic_bool stop;

	pthread_mutex_t lock; /* all below */
	int result;
	bool asleep; /* in epoll, or about to be */
	bool woken;  /* the eventfd was written in this sleep */
	uint64_t sleep_until;
	/* Both lists are rings through a head, so that taking out needs no list. */
	struct loop_timer timers; /* by deadline */
	struct loop_timer due;	  /* taken from timers in this turn, not called yet */
	struct loop_work *first_work, *last_work;
	unsigned int nr_work;
};

struct loop *loop_create(struct error *err)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop) {
		fail(err, "no memory for an event loop");
		return NULL;
	}
	loop->wake_fd = -1;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0) {
		fail_errno(err, errno, "cannot create an epoll descriptor");
		goto fail;
	}
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake_fd < 0) {
		fail_errno(err, errno, "cannot create an event descriptor");
		goto fail;
	}
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &ev)) {
		fail_errno(err, errno, "cannot watch an event descriptor");
		goto fail;
	}
	atomic_init(&loop->stop, false);
	pthread_mutex_init(&loop->lock, NULL);
	loop->timers.next = loop->timers.prev = &loop->timers;
	loop->due.next = loop->due.prev = &loop->due;
	return loop;
fail:
	if (loop->wake_fd >= 0)
		close(loop->wake_fd);
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
	free(loop);
	return NULL;
}

void loop_destroy(struct loop *loop)
{
	struct watch *watch, *next;

	if (!loop)
		return;
	for (watch = loop->watches; watch; watch = next) {
		next = watch->next;
		free(watch);
	}
	close(loop->wake_fd);
	close(loop->epoll_fd);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

/* With the lock held, so that the descriptor is not closed in between. */
static void wake(struct loop *loop)
{
	static const uint64_t one = 1;

	if (!loop->asleep || loop->woken)
		return;
	loop->woken = true;
	/* Fails only when 2^64 - 2 wake-ups have been counted. */
	if (write(loop->wake_fd, &one, sizeof(one)) < 0)
		loop->woken = false;
}

/* Descriptors. */

static struct watch **find_watch(struct loop *loop, int fd)
{
	struct watch **link = &loop->watches;

	while (*link && (*link)->fd != fd)
		link = &(*link)->next;
	return link;
}

int loop_add_fd(struct loop *loop, int fd, uint32_t epoll_events, loop_fd_fn fn, void *opaque)
{
	struct epoll_event ev = {.events = epoll_events};
	struct watch *watch;

	if (*find_watch(loop, fd))
		return -EEXIST;
	watch = calloc(1, sizeof(*watch));
	if (!watch)
		return -ENOMEM;
	ev.data.ptr = watch;
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev)) {
		int errnum = errno;

		free(watch);
		return -errnum;
	}
	watch->fd = fd;
	watch->events = epoll_events;
	watch->fn = fn;
	watch->opaque = opaque;
	watch->next = loop->watches;
	loop->watches = watch;
	return 0;
}

int loop_modify_fd(struct loop *loop, int fd, uint32_t epoll_events)
{
	struct watch *watch = *find_watch(loop, fd);
	struct epoll_event ev = {.events = epoll_events};

	if (!watch)
		return -ENOENT;
	ev.data.ptr = watch;
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, fd, &ev))
		return -errno;
	watch->events = epoll_events;
	return 0;
}

void loop_remove_fd(struct loop *loop, int fd)
{
	struct watch **link = find_watch(loop, fd);
	struct watch *watch = *link;

	if (!watch)
		return;
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	*link = watch->next;
	for (int i = loop->next_event; i < loop->nr_events; i++) {
		if (loop->fetched[i].data.ptr == watch)
			loop->fetched[i].data.ptr = NULL;
	}
	free(watch);
}

/* Timers. */

static void timer_take_out(struct loop_timer *timer)
{
	timer->prev->next = timer->next;
	timer->next->prev = timer->prev;
	timer->prev = timer->next = NULL;
}

static void timer_insert_before(struct loop_timer *timer, struct loop_timer *place)
{
	timer->next = place;
	timer->prev = place->prev;
	place->prev->next = timer;
	place->prev = timer;
}

void loop_timer_init(struct loop_timer *timer, struct loop *loop, loop_fn fn, void *opaque)
{
	*timer = (struct loop_timer){.loop = loop, .fn = fn, .opaque = opaque};
}

void loop_timer_arm(struct loop_timer *timer, uint64_t deadline_ns)
{
	struct loop *loop = timer->loop;
	struct loop_timer *place;

	pthread_mutex_lock(&loop->lock);
	if (timer->armed)
		timer_take_out(timer);
	timer->armed = true;
	timer->deadline = deadline_ns;
	/* After its equals: first armed, first called. */
	place = loop->timers.next;
	while (place != &loop->timers && place->deadline <= deadline_ns)
		place = place->next;
	timer_insert_before(timer, place);
	if (deadline_ns < loop->sleep_until)
		wake(loop);
	pthread_mutex_unlock(&loop->lock);
}

void loop_timer_cancel(struct loop_timer *timer)
{
	struct loop *loop = timer->loop;

	pthread_mutex_lock(&loop->lock);
	if (timer->armed) {
		timer_take_out(timer);
		timer->armed = false;
	}
	pthread_mutex_unlock(&loop->lock);
}

/* Work. */

void loop_work_init(struct loop_work *work, loop_fn fn, void *opaque)
{
	*work = (struct loop_work){.fn = fn, .opaque = opaque};
}

void loop_post(struct loop *loop, struct loop_work *work)
{
	pthread_mutex_lock(&loop->lock);
	if (!work->queued) {
		work->queued = true;
		work->next = NULL;
		if (loop->last_work)
			loop->last_work->next = work;
		else
			loop->first_work = work;
		loop->last_work = work;
		loop->nr_work++;
		wake(loop);
	}
	pthread_mutex_unlock(&loop->lock);
}

void loop_unpost(struct loop *loop, struct loop_work *work)
{
	struct loop_work **link = &loop->first_work;
	struct loop_work *before = NULL;

	pthread_mutex_lock(&loop->lock);
	while (work->queued && *link) {
		if (*link == work) {
			*link = work->next;
			if (loop->last_work == work)
				loop->last_work = before;
			loop->nr_work--;
			work->queued = false;
			break;
		}
		before = *link;
		link = &before->next;
	}
	pthread_mutex_unlock(&loop->lock);
}

/* Turning. */

static int epoll_wait_ns(struct loop *loop, uint64_t ns)
{
	uint64_t ms;

#if HAVE_EPOLL_PWAIT2
	if (!loop->no_pwait2) {
		struct timespec ts = {
			.tv_sec = (time_t)(ns / NSEC_PER_SEC),
			.tv_nsec = (long)(ns % NSEC_PER_SEC),
		};
		int n = epoll_pwait2(loop->epoll_fd, loop->fetched, EVENTS_PER_TURN,
				     ns == FOREVER ? NULL : &ts, NULL);

		/* A kernel older than 5.11, or a filter that does not know the call. */
		if (n >= 0 || (errno != ENOSYS && errno != EPERM))
			return n;
		loop->no_pwait2 = true;
	}
#endif
	/* Up, never down: a timer must not be called early, nor the loop spin until it is due. */
	ms = ns / NSEC_PER_MSEC + (ns % NSEC_PER_MSEC != 0);
	return epoll_wait(loop->epoll_fd, loop->fetched, EVENTS_PER_TURN,
			  ns == FOREVER ? -1 : (int)min_u64(ms, INT_MAX));
}

/* Sleep until something happens or is due, at most until @limit. */
static int fetch(struct loop *loop, uint64_t limit, bool obey_stop)
{
	uint64_t wait = 0;
	int n;

	pthread_mutex_lock(&loop->lock);
	/* Under the lock: a loop_stop() before this is seen, one after it wakes us. */
	if (obey_stop && atomic_load(&loop->stop))
		limit = 0;
	if (limit && !loop->first_work && loop->due.next == &loop->due) {
		if (loop->timers.next != &loop->timers)
			limit = min_u64(limit, loop->timers.next->deadline);
		if (limit == FOREVER) {
			wait = FOREVER;
		} else {
			uint64_t now = now_ns();

			wait = limit > now ? limit - now : 0;
		}
		loop->sleep_until = limit;
		loop->asleep = wait != 0;
		loop->woken = false;
	}
	pthread_mutex_unlock(&loop->lock);

	n = epoll_wait_ns(loop, wait);
	if (n < 0)
		n = errno == EINTR ? 0 : -errno;

	if (wait) {
		pthread_mutex_lock(&loop->lock);
		loop->asleep = false;
		pthread_mutex_unlock(&loop->lock);
	}
	loop->next_event = 0;
	loop->nr_events = n > 0 ? n : 0;
	return n;
}

static int serve_descriptors(struct loop *loop, bool obey_stop)
{
	int calls = 0;

	while (loop->next_event < loop->nr_events) {
		struct epoll_event *ev;
		struct watch *watch;
		uint32_t events;

		if (obey_stop && atomic_load(&loop->stop))
			break;
		ev = &loop->fetched[loop->next_event++];
		watch = ev->data.ptr;
		if (!watch) /* the eventfd, or removed */
			continue;
		/* It may have been modified since the event was fetched. */
		events = ev->events & (watch->events | EPOLLERR | EPOLLHUP);
		if (!events)
			continue;
		watch->fn(watch->opaque, events);
		calls++;
	}
	return calls;
}

static int serve_timers(struct loop *loop, bool obey_stop)
{
	int calls = 0;

	pthread_mutex_lock(&loop->lock);
	if (loop->timers.next != &loop->timers) {
		uint64_t now = now_ns();

		while (loop->timers.next != &loop->timers && loop->timers.next->deadline <= now) {
			struct loop_timer *timer = loop->timers.next;

			timer_take_out(timer);
			timer_insert_before(timer, &loop->due);
		}
	}
	while (loop->due.next != &loop->due && !(obey_stop && atomic_load(&loop->stop))) {
		struct loop_timer *timer = loop->due.next;
		void *opaque = timer->opaque;
		loop_fn fn = timer->fn;

		timer_take_out(timer);
		timer->armed = false;
		pthread_mutex_unlock(&loop->lock);
		fn(opaque);
		calls++;
		pthread_mutex_lock(&loop->lock);
	}
	pthread_mutex_unlock(&loop->lock);
	return calls;
}

static int serve_work(struct loop *loop, bool obey_stop)
{
	unsigned int budget;
	int calls = 0;

	pthread_mutex_lock(&loop->lock);
	/* What comes in meanwhile is for the next turn, after descriptors and timers. */
	budget = loop->nr_work;
	while (budget-- && loop->first_work && !(obey_stop && atomic_load(&loop->stop))) {
		struct loop_work *work = loop->first_work;
		void *opaque = work->opaque;
		loop_fn fn = work->fn;

		loop->first_work = work->next;
		if (!loop->first_work)
			loop->last_work = NULL;
		loop->nr_work--;
		work->queued = false;
		pthread_mutex_unlock(&loop->lock);
		fn(opaque);
		calls++;
		pthread_mutex_lock(&loop->lock);
	}
	pthread_mutex_unlock(&loop->lock);
	return calls;
}

/* @limit: CLOCK_MONOTONIC ns, 0 to not wait. */
static int turn(struct loop *loop, uint64_t limit, bool obey_stop)
{
	int calls;

	if (loop->next_event >= loop->nr_events) {
		int n = fetch(loop, limit, obey_stop);

		if (n < 0)
			return n;
	}
	calls = serve_descriptors(loop, obey_stop);
	calls += serve_timers(loop, obey_stop);
	calls += serve_work(loop, obey_stop);
	return calls;
}

int loop_run_once(struct loop *loop, int timeout_ms)
{
	uint64_t limit = FOREVER;

	if (timeout_ms == 0)
		limit = 0;
	else if (timeout_ms > 0)
		limit = now_ns() + (uint64_t)timeout_ms * NSEC_PER_MSEC;
	return turn(loop, limit, false);
}

int loop_run(struct loop *loop)
{
	for (;;) {
		int n;

		if (atomic_load(&loop->stop)) {
			int result;

			pthread_mutex_lock(&loop->lock);
			atomic_store(&loop->stop, false);
			result = loop->result;
			pthread_mutex_unlock(&loop->lock);
			return result;
		}
		n = turn(loop, FOREVER, true);
		if (n < 0)
			return n;
	}
}

void loop_stop(struct loop *loop, int result)
{
	pthread_mutex_lock(&loop->lock);
	loop->result = result;
	atomic_store(&loop->stop, true);
	wake(loop);
	pthread_mutex_unlock(&loop->lock);
}
