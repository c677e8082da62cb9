// SPDX-License-Identifier: GPL-2.0-only
/*
 * Scripted boots on the command line (script.h).
 *
 * Status: 0, all steps were fulfilled, and the VM was stopped at once behind the last one
 * (--after-script continue: it goes on, and ends as a VM without a script does); 1, the
 * guest ended before; 124, a step took too long, or --timeout ran out; 126, the guest's
 * kernel panicked, or its watchdog found a CPU that hangs. Where it is not 0 the step is
 * named, and the console's last lines are shown. "git bisect run" takes all of these but 0
 * for "bad", and 125, that nothing was started, for "skip".
 *
 * Standard input is left alone, so that a script does the same whatever it is started
 * from, unless the VM goes on behind it.
 *
 * Thread: that of the command line.
 */
#include "script.h"

#include "last_lines.h"

const char *const after_words[] = {"stop", "continue", NULL};

#define STATUS_NOT_DONE 1

static struct script_options *options_of(void *target, const struct option_spec *opt)
{
	return (struct script_options *)((char *)target + opt->offset);
}

int script_set_expect(void *target, const struct option_spec *opt, const char *value, bool on,
		      struct error *err)
{
	(void)on;
	return script_add(&options_of(target, opt)->script, SCRIPT_EXPECT, value, err);
}

int script_set_send(void *target, const struct option_spec *opt, const char *value, bool on,
		    struct error *err)
{
	(void)on;
	return script_add(&options_of(target, opt)->script, SCRIPT_SEND, value, err);
}

int script_set_timeout(void *target, const struct option_spec *opt, const char *value, bool on,
		       struct error *err)
{
	struct script_options *o = options_of(target, opt);
	uint64_t seconds;

	(void)on;
	if (parse_uint(value, SCRIPT_SECONDS_MAX, &seconds, err))
		return -1;
	o->script.timeout_s = (unsigned int)seconds;
	o->says_timeout = true;
	return 0;
}

int script_set_file(void *target, const struct option_spec *opt, const char *value, bool on,
		    struct error *err)
{
	(void)on;
	return script_read(&options_of(target, opt)->script, value, err);
}

int script_set_after(void *target, const struct option_spec *opt, const char *value, bool on,
		     struct error *err)
{
	struct script_options *o = options_of(target, opt);
	const struct option_spec field = {.offset = 0, .words = after_words};

	o->says_after = true;
	return option_set_word(&o->after, &field, value, on, err);
}

int script_set_log(void *target, const struct option_spec *opt, const char *value, bool on,
		   struct error *err)
{
	(void)on;
	(void)err;
	options_of(target, opt)->log_path = value;
	return 0;
}

int script_settle(struct script_options *o, struct vm_config *vm, bool command, struct error *err)
{
	const char *lone = o->says_after ? "--after-script" : "--step-timeout";

	if (!o->script.nr && (o->says_after || o->says_timeout))
		return fail(err,
			    "%s is for a script, and there is neither --expect nor --send nor "
			    "--script",
			    lone);
	if (o->script.nr && command)
		return fail(err, "a script and a command after \"--\": a VM does one of them");
	if (o->script.nr && o->after == AFTER_STOP)
		vm->console_in = -1;
	return 0;
}

bool script_goes_on(const struct script_options *o)
{
	return o->script.nr && o->after == AFTER_CONTINUE;
}

int script_begin(struct script_options *o, struct vm *vm, struct error *err)
{
	if (o->log_path) {
		if (console_log_open(&o->console_log, o->log_path, err))
			return -1;
		console_log_start(&o->console_log, vm);
	}
	if (!o->script.nr)
		return 0;
	o->run.script = &o->script;
	o->run.stop = o->after == AFTER_STOP;
	script_run_start(&o->run, vm);
	return 0;
}

/* Why the script came to no end. */
static void tell(const struct script_options *o, enum vm_verdict verdict, struct log *log)
{
	static const char *const ends[] = {[VM_POWEROFF] = "the guest powered off",
					   [VM_RESET] = "the guest reset itself",
					   [VM_DIED] = "the guest died",
					   [VM_TIMEOUT] = "time was up",
					   [VM_QUIT] = "the VM was stopped"};
	const struct script_run *run = &o->run;
	size_t nr = script_run_step(run);
	const struct script_step *step = &o->script.steps[nr];
	char words[SCRIPT_WORDS_MAX];

	script_step_words(&o->script, nr, words);
	if (run->late)
		log_error(log,
			  "%s: the guest did not %s it within %u s; the console said last:", words,
			  step->kind == SCRIPT_SEND ? "take" : "say", step->timeout_s);
	else
		log_error(log, "%s before %s; the console said last:",
			  run->died ? run->trouble : ends[verdict], words);
	show_last_lines(log, run->tail, run->tail_len);
}

int script_verdict(const struct script_options *o, enum vm_verdict verdict, int status,
		   struct log *log)
{
	if (!o->script.nr || verdict == VM_NOT_STARTED)
		return status;
	if (script_run_done(&o->run))
		return o->after == AFTER_STOP ? 0 : status;
	tell(o, verdict, log);
	return status ? status : STATUS_NOT_DONE;
}

void script_options_free(struct script_options *o)
{
	console_log_close(&o->console_log);
	script_free(&o->script);
}
