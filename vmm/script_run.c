// SPDX-License-Identifier: GPL-2.0-only
/*
 * A script at a VM's console (include/lkvm/script.h).
 *
 * @reached is the "expect" whose text is searched for. It moves on the thread that brings
 * the guest's bytes, under the console's lock, so that no byte is missed between two
 * steps; each move posts work for the loop, which types what lies before it and sets the
 * clock of the step that is now waited for: a "send" as long as the guest takes no input,
 * else that "expect".
 *
 * Thread and lock: as said; @reached, @typing and @trouble are atomic, all else is the
 * loop's. The searches (struct match of a step) belong to the console's lock.
 */
#include "lkvm/script.h"

#include <stdlib.h>
#include <string.h>

/* A dead kernel's registers and call trace are there by then; panic=1 resets it before. */
#define GRACE_NS (3 * NSEC_PER_SEC)

static size_t next_expect(const struct script *s, size_t from)
{
	while (from < s->nr && s->steps[from].kind != SCRIPT_EXPECT)
		from++;
	return from;
}

static void on_output(void *opaque, const uint8_t *buf, size_t len)
{
	struct script_run *run = opaque;
	size_t at = atomic_load(&run->reached), n;
	bool moved = false;

	while (len && at < run->script->nr) {
		n = match_feed(&run->script->steps[at].match, buf, len);
		if (!n)
			break;
		buf += n;
		len -= n;
		at = next_expect(run->script, at + 1);
		moved = true;
	}
	if (!moved)
		return;
	atomic_store(&run->reached, at);
	loop_post(run->vm->loop, &run->work);
}

static void on_trouble(void *opaque, const char *what)
{
	struct script_run *run = opaque;

	if (atomic_load(&run->trouble))
		return;
	atomic_store(&run->trouble, what);
	loop_post(run->vm->loop, &run->work);
}

static void on_room(void *opaque)
{
	struct script_run *run = opaque;

	if (atomic_load(&run->typing))
		loop_post(run->vm->loop, &run->work);
}

static void on_gone(void *opaque, struct guest_console *con)
{
	struct script_run *run = opaque;

	loop_unpost(run->vm->loop, &run->work);
	loop_timer_cancel(&run->timer);
	loop_timer_cancel(&run->grace);
	run->tail_len = guest_console_tail(con, run->tail);
}

static const struct console_listener_ops listener_ops = {
	.output = on_output,
	.trouble = on_trouble,
	.room = on_room,
	.gone = on_gone,
};

/* Return: true where all of it has been typed. */
static bool type(struct script_run *run, const struct script_step *step)
{
	size_t n;

	/* Before the question: room that comes behind it posts this work again. */
	atomic_store(&run->typing, true);
	while (run->sent_bytes < step->len) {
		n = min_u64(guest_console_room(run->vm->console), step->len - run->sent_bytes);
		if (!n)
			return false;
		guest_console_input(run->vm->console, step->text + run->sent_bytes, n);
		run->sent_bytes += n;
	}
	atomic_store(&run->typing, false);
	run->sent_bytes = 0;
	return true;
}

static void finish(struct script_run *run)
{
	run->done = true;
	loop_timer_cancel(&run->timer);
	loop_timer_cancel(&run->grace);
	if (run->stop)
		vm_end(run->vm, VM_QUIT);
	if (run->on_done)
		run->on_done(run->opaque);
}

/* The step that is waited for has its own time, from now. */
static void set_clock(struct script_run *run)
{
	const struct script_step *step = &run->script->steps[run->sent];

	if (run->timed == run->sent)
		return;
	run->timed = run->sent;
	if (step->timeout_s)
		loop_timer_arm(&run->timer, now_ns() + step->timeout_s * NSEC_PER_SEC);
	else
		loop_timer_cancel(&run->timer);
}

static void go_on(void *opaque)
{
	struct script_run *run = opaque;
	size_t reached = atomic_load(&run->reached);

	if (run->done || run->late)
		return;
	while (run->sent < reached) {
		const struct script_step *step = &run->script->steps[run->sent];

		if (step->kind == SCRIPT_SEND && !type(run, step))
			break;
		run->sent++;
	}
	if (run->sent == run->script->nr) {
		finish(run);
		return;
	}
	if (atomic_load(&run->trouble) && !run->grace_given) {
		run->grace_given = true;
		loop_timer_arm(&run->grace, now_ns() + GRACE_NS);
	}
	set_clock(run);
}

static void time_is_up(void *opaque)
{
	struct script_run *run = opaque;
	size_t was = run->timed;

	/* It may be fulfilled by what was posted just before. */
	go_on(run);
	if (run->done || run->timed != was)
		return;
	run->late = true;
	vm_end(run->vm, VM_TIMEOUT);
}

static void grace_is_over(void *opaque)
{
	struct script_run *run = opaque;

	go_on(run);
	if (run->done)
		return;
	run->died = true;
	vm_end(run->vm, VM_DIED);
}

void script_run_start(struct script_run *run, struct vm *vm)
{
	run->vm = vm;
	run->timed = SIZE_MAX;
	run->listener = (struct console_listener){&listener_ops, run, vm->listeners};
	vm->listeners = &run->listener;
	atomic_init(&run->reached, next_expect(run->script, 0));
	atomic_init(&run->typing, false);
	atomic_init(&run->trouble, NULL);
	loop_work_init(&run->work, go_on, run);
	loop_timer_init(&run->timer, vm->loop, time_is_up, run);
	loop_timer_init(&run->grace, vm->loop, grace_is_over, run);
	/* With the first turn of the loop: the console is there then. */
	loop_post(vm->loop, &run->work);
}

bool script_run_done(const struct script_run *run)
{
	return script_run_step(run) == run->script->nr;
}

size_t script_run_step(const struct script_run *run)
{
	size_t reached = atomic_load(&run->reached), step = run->sent;

	/* What was found at the very end released sends that nobody was left to take. */
	while (step < reached && run->script->steps[step].kind == SCRIPT_EXPECT)
		step++;
	return step;
}
