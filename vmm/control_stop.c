// SPDX-License-Identifier: GPL-2.0-only
/*
 * The commands "stop" and "reset" of the control socket.
 *
 * "stop" asks the guest by its power button and gives it time; a guest that does not
 * power off by then is ended by force, and so is one that can't be asked, unless the
 * client insists on asking. The time is the VM's own business: a client that
 * leaves changes nothing. The answer comes when the VM has ended, and says which way.
 *
 * Thread and lock: the loop's thread alone; no lock. Nothing is saved.
 */
#include "control_parts.h"

#include "lkvm/arch.h"

#include <stdlib.h>
#include <string.h>

#define STOP_SECONDS 30
#define STOP_SECONDS_MAX 86400

/**
 * struct control_stop - somebody waits for the VM's end
 * @unasked: why the guest was not asked first; "" where it was
 */
struct control_stop {
	struct control_stop *next;
	struct control_later *later;
	struct error unasked;
};

static void time_is_up(void *opaque)
{
	struct control *control = opaque;

	log_warning(control->vm->log, "the guest did not power off when asked, and is stopped");
	control->stop_forced = true;
	vm_end(control->vm, VM_QUIT);
}

void control_stop_init(struct control *control)
{
	loop_timer_init(&control->stop_timer, control->vm->loop, time_is_up, control);
}

const char *control_verdict_word(enum vm_verdict verdict)
{
	switch (verdict) {
	case VM_POWEROFF:
		return "poweroff";
	case VM_RESET:
		return "reset";
	case VM_DIED:
		return "died";
	case VM_TIMEOUT:
		return "timeout";
	case VM_QUIT:
		return "stopped";
	case VM_SIGNAL:
		return "signal";
	default:
		return "not-started";
	}
}

void control_stop_finish(struct control *control, enum vm_verdict verdict)
{
	struct control_stop *stop;

	loop_timer_cancel(&control->stop_timer);
	while ((stop = control->stops)) {
		json_t *result = json_pack("{s:s, s:b}", "ended", control_verdict_word(verdict),
					   "forced", (int)control->stop_forced);

		control->stops = stop->next;
		if (*stop->unasked.msg)
			json_object_set_new(result, "unasked", json_string(stop->unasked.msg));
		control_answer(stop->later, result, NULL);
		free(stop);
	}
}

/* A guest that stands still can't be asked now; that is no reason to end it unasked. */
static int may_be_asked(struct control *control, struct error *err)
{
	if (control->paused)
		return fail(err,
			    "the VM is paused, so its guest can't be asked: resume it, or stop "
			    "it with --kill");
	if (vm_suspended(control->vm))
		return fail(err, "the guest has suspended itself, so it can't be asked: resume it, "
				 "or stop it with --kill");
	return 0;
}

/* The shortest patience counts, where several ask. */
static void be_patient(struct control *control, int seconds)
{
	uint64_t deadline = now_ns() + (uint64_t)seconds * NSEC_PER_SEC;

	if (control->stop_deadline && control->stop_deadline <= deadline)
		return;
	control->stop_deadline = deadline;
	loop_timer_arm(&control->stop_timer, deadline);
}

int control_stop(struct control_call *call, json_t **result, struct error *err)
{
	struct control *control = call->control;
	const char *how = "";
	int seconds = STOP_SECONDS;
	struct control_stop *stop;
	bool kill;

	(void)result;
	if (control_arguments(call, err, "{s?s, s?i}", "how", &how, "timeout", &seconds))
		return -1;
	if (*how && strcmp(how, "ask") && strcmp(how, "kill"))
		return fail(err, "how to stop is \"ask\" or \"kill\"");
	if (seconds < 0 || seconds > STOP_SECONDS_MAX)
		return fail(err, "a time limit is 0 to %d seconds", STOP_SECONDS_MAX);
	kill = !strcmp(how, "kill");
	if (!kill && may_be_asked(control, err))
		return -1;
	stop = calloc(1, sizeof(*stop));
	if (!stop)
		return fail(err, "no memory");
	*stop->unasked.msg = '\0';
	if (!kill && arch_power_button(control->vm, &stop->unasked)) {
		if (*how) {
			*err = stop->unasked;
			free(stop);
			return -1;
		}
		kill = true;
	}
	stop->later = control_later(call, err);
	if (!stop->later) {
		free(stop);
		return -1;
	}
	stop->next = control->stops;
	control->stops = stop;
	if (kill) {
		control->stop_forced = true;
		vm_end(control->vm, VM_QUIT);
	} else {
		be_patient(control, seconds);
	}
	return CONTROL_LATER;
}

int control_reset(struct control_call *call, json_t **result, struct error *err)
{
	(void)result;
	if (control_arguments(call, err, "{}"))
		return -1;
	vm_reset(call->vm);
	return 0;
}
