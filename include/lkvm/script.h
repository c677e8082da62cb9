/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Scripted boots: steps that wait for the guest to say something, and steps that type.
 *
 * A script is made of a command line's options, in their order, or of a file: a step a
 * line, "expect TEXT", "send TEXT", "timeout SECONDS"; a line that begins with # and an
 * empty one are none. A text in a file may stand in double quotes, which keep spaces at
 * its ends.
 *
 *   expect   waits until the guest's console says TEXT: these bytes, no pattern. What the
 *            previous "expect" has found is not looked at again
 *   send     types TEXT and the Enter key (CR); with \c at its end, without it
 *   timeout  how long each step from here on may take (120 s); 0: for ever
 *
 * In a text \n \r \t \e \\ \" and \xHH mean what they do elsewhere. Any other backslash is
 * refused.
 *
 * Running it (struct script_run): the search is made where the guest writes, on any
 * thread; typing and time are the loop's. A text that the guest says between the end of a
 * match and the next "send" counts for the "expect" behind that. A kernel that says that
 * it died, or that one of its CPUs hangs, has a moment to say why, and for the script to be
 * fulfilled; then the VM is ended.
 */
#ifndef LKVM_SCRIPT_H
#define LKVM_SCRIPT_H

#include "lkvm/guest_console.h"
#include "lkvm/match.h"
#include "lkvm/vm.h"

#define SCRIPT_STEPS_MAX 1024
#define SCRIPT_TEXT_MAX MATCH_MAX
#define SCRIPT_SECONDS 120
#define SCRIPT_SECONDS_MAX 1000000000

/* A step in words: "step 3 (expect "login:")". */
#define SCRIPT_WORDS_MAX 128

enum script_kind {
	SCRIPT_EXPECT,
	SCRIPT_SEND,
};

/**
 * struct script_step - one step
 * @text, @len: what is waited for, or typed
 * @timeout_s: how long it may take; 0: for ever
 * @file, @line: where it stands; NULL: on the command line
 * @match: the search, of an "expect"
 */
struct script_step {
	enum script_kind kind;
	uint8_t *text;
	size_t len;
	unsigned int timeout_s;
	const char *file;
	unsigned int line;
	struct match match;
};

/**
 * struct script - all of them; start with SCRIPT_INIT
 * @timeout_s: of the steps that are added from now on
 */
struct script {
	struct script_step *steps;
	size_t nr;
	unsigned int timeout_s;
};

#define SCRIPT_INIT                                                                                \
	{                                                                                          \
		.timeout_s = SCRIPT_SECONDS                                                        \
	}

/**
 * script_add() - one more step
 * @text: as it is written, with its backslashes
 *
 * Return: 0, or -1 with @err set.
 */
int script_add(struct script *s, enum script_kind kind, const char *text, struct error *err);

/**
 * script_read() - the steps of a file; @path must outlive the script
 *
 * Return: 0, or -1 with @err set, which names file and line.
 */
int script_read(struct script *s, const char *path, struct error *err);
void script_free(struct script *s);

/**
 * script_step_words() - which step that is, for a person, in @buf of SCRIPT_WORDS_MAX
 */
const char *script_step_words(const struct script *s, size_t step, char *buf);

/**
 * struct script_run - a script and the VM it is for
 * @stop: end the VM (VM_QUIT) when all is done; else it goes on
 * @on_done: called then, or NULL (loop thread)
 * @tail, @tail_len: what the console had said when it ended
 *
 * @late: a step took too long, and so the VM was ended; @died: and it was because the guest
 * said @trouble
 *
 * The rest is private.
 */
struct script_run {
	struct script *script;
	struct vm *vm;
	bool stop;
	loop_fn on_done;
	void *opaque;
	char tail[GUEST_CONSOLE_TAIL];
	size_t tail_len;

	struct console_listener listener;
	atomic_size_t reached;	     /* the "expect" that is waited for; any thread sets it */
	atomic_bool typing;	     /* a "send" before that is not finished */
	const char *_Atomic trouble; /* the guest told of it */
	size_t sent, sent_bytes;     /* steps before this are done with, and bytes of it typed */
	size_t timed;		     /* the step that the timer is for */
	bool done, late, died, grace_given;
	struct loop_work work;
	struct loop_timer timer, grace;
};

/**
 * script_run_start() - hear @vm's console, before vm_run()
 *
 * @run's public fields are set; it stays where it is until vm_destroy() is back.
 */
void script_run_start(struct script_run *run, struct vm *vm);

/**
 * script_run_done() - has every step been fulfilled? (after vm_destroy(): also by what was
 * said last)
 */
bool script_run_done(const struct script_run *run);

/**
 * script_run_step() - the first step that was not
 */
size_t script_run_step(const struct script_run *run);

#endif /* LKVM_SCRIPT_H */
