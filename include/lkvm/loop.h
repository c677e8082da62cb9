/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The event loop: one thread, epoll, timers on CLOCK_MONOTONIC, and work posted
 * from other threads. Each VM has one; it is the thread that called vm_run().
 *
 * Callbacks run one after another on the loop's thread with no loop lock held,
 * so a callback may call anything here but loop_run() and loop_destroy(). Where
 * "any thread" is not said, a function belongs to the loop's thread (or to a time
 * before loop_run()). An idle loop makes no system call at all. Posting work and
 * arming a timer cost one uncontended lock, and a system call only where the loop
 * sleeps and would sleep too long.
 */
#ifndef LKVM_LOOP_H
#define LKVM_LOOP_H

#include "lkvm/util.h"

struct loop;

typedef void (*loop_fd_fn)(void *opaque, uint32_t epoll_events);
typedef void (*loop_fn)(void *opaque);

/**
 * loop_create() - an empty loop, or NULL with @err set
 */
struct loop *loop_create(struct error *err);

/**
 * loop_destroy() - free it; descriptors that were added are not closed
 *
 * Timers that are armed and work that is queued are forgotten; neither may be
 * touched by another thread any more. NULL is allowed.
 */
void loop_destroy(struct loop *loop);

/**
 * loop_add_fd() - call @fn when @fd has one of @epoll_events
 *
 * Level triggered, unless EPOLLET is among @epoll_events. No event that was
 * fetched is lost by loop_stop(). A descriptor number is added once (dup(2) it
 * for a second watcher).
 *
 * Return: 0 or -errno (-EPERM: the kernel cannot poll this kind of file, which
 * is then always ready; -EEXIST: it is watched already).
 */
int loop_add_fd(struct loop *loop, int fd, uint32_t epoll_events, loop_fd_fn fn, void *opaque);

/**
 * loop_modify_fd() - wait for other events; 0 keeps the place and waits for none
 *
 * EPOLLHUP and EPOLLERR are reported by the kernel unasked: a descriptor that
 * reached its end must be removed, or the loop turns without rest.
 *
 * Return: 0 or -errno (-ENOENT: not watched).
 */
int loop_modify_fd(struct loop *loop, int fd, uint32_t epoll_events);

/**
 * loop_remove_fd() - stop watching; @fn is not called again, not even for an
 * event that was fetched together with the current one. Call before close(2).
 * Nothing happens where @fd is not watched.
 */
void loop_remove_fd(struct loop *loop, int fd);

/**
 * struct loop_timer - one deadline, embedded in its owner; the fields are private
 */
struct loop_timer {
	struct loop *loop;
	loop_fn fn;
	void *opaque;
	uint64_t deadline;		/* CLOCK_MONOTONIC, ns */
	struct loop_timer *prev, *next; /* the loop's list, by deadline */
	bool armed;
};

/**
 * loop_timer_init() - set what is called; once, before all else
 */
void loop_timer_init(struct loop_timer *timer, struct loop *loop, loop_fn fn, void *opaque);

/**
 * loop_timer_arm() - call fn once at or after @deadline_ns (any thread)
 *
 * Arming an armed timer moves it. UINT64_MAX is never. A deadline that has passed
 * is served in the loop's next turn, so a timer that arms itself again does not
 * starve the rest.
 */
void loop_timer_arm(struct loop_timer *timer, uint64_t deadline_ns);

/**
 * loop_timer_cancel() - no call after this returns, where the caller is on the
 * loop's thread; from another thread a call may be under way (any thread)
 */
void loop_timer_cancel(struct loop_timer *timer);

/**
 * struct loop_work - a call to be made on the loop's thread; fields are private
 */
struct loop_work {
	loop_fn fn;
	void *opaque;
	struct loop_work *next;
	bool queued;
};

/**
 * loop_work_init() - set what is called
 */
void loop_work_init(struct loop_work *work, loop_fn fn, void *opaque);

/**
 * loop_post() - run @work on the loop's thread soon (any thread)
 *
 * Posting what is queued already changes nothing: one call is made. It counts as
 * queued until just before the call, so what was stored before loop_post() is
 * seen by a call that starts later. @work must stay alive until its call started
 * or loop_unpost() took it back. First posted, first called; work posted from a
 * callback runs in the next turn.
 */
void loop_post(struct loop *loop, struct loop_work *work);

/**
 * loop_unpost() - take @work back where it is still queued (loop thread)
 */
void loop_unpost(struct loop *loop, struct loop_work *work);

/**
 * loop_run() - serve until loop_stop()
 *
 * Return: the value given to loop_stop(), or -errno where epoll itself failed.
 */
int loop_run(struct loop *loop);

/**
 * loop_run_once() - serve what is due, waiting at most @timeout_ms (-1: forever)
 *
 * For tests, and for waiting in the loop's thread (also from a callback) while
 * the loop goes on: the callback that waits may then be entered again. Does not
 * obey loop_stop(), which is kept for loop_run(), but is woken by it.
 *
 * Return: number of callbacks made (0 also where it was woken for nothing), or
 * -errno.
 */
int loop_run_once(struct loop *loop, int timeout_ms);

/**
 * loop_stop() - make loop_run() return @result after the current callback (any thread)
 *
 * Called before loop_run(), makes it return at once. The last of several results
 * counts. What was due and not served yet is served by the next loop_run().
 */
void loop_stop(struct loop *loop, int result);

#endif /* LKVM_LOOP_H */
