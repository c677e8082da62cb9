/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The control socket of a running VM: how a second process reaches it. This is the VM's
 * side; lkvm/control_client.h is the other one.
 *
 * One stream socket a VM, NAME.sock in the runtime directory ($XDG_RUNTIME_DIR/lkvm,
 * else ~/.lkvm; directory 0700, socket 0600), served by the VM's loop. Requests, answers
 * and events are JSON objects, one a line (Documentation/lkvm-protocol.7 has all of it):
 *
 *   -> {"version":1,"id":7,"command":"stop","arguments":{"how":"ask","timeout":30}}
 *   <- {"version":1,"id":7,"return":{"ended":"poweroff","forced":false}}
 *   <- {"version":1,"id":7,"error":{"message":"the VM is paused"}}
 *   <- {"version":1,"event":"reset","time":1763740000123,"vm":"a","data":{}}
 *
 * A request that has members or arguments which the VM does not know is refused; a client
 * ignores members that it does not know. That, new commands and new events are how the
 * protocol grows; "version" changes when something loses its meaning.
 *
 * Commands are rows of tables: control_create() is given a list of tables, the core's
 * own (control_core_commands) and those of parts that bring more.
 *
 * Threads: everything here belongs to the loop's thread.
 */
#ifndef LKVM_CONTROL_H
#define LKVM_CONTROL_H

#include "lkvm/util.h"
#include "lkvm/vm.h"

#include <jansson.h>

#define VM_NAME_MAX 64

#define CONTROL_VERSION 1

/* Bytes of a request's line, its newline included, and of an answer's. */
#define CONTROL_REQUEST_MAX 65536
#define CONTROL_ANSWER_MAX (4u << 20)

struct control;
struct control_later;

/**
 * struct control_call - one request while it is carried out
 * @vm: whom it is for
 * @control: its socket
 * @arguments: an object, empty where there were none; control_arguments() takes it apart
 * @fd: the descriptor that came with the request (SCM_RIGHTS), or -1. It is closed after
 *      the handler; who keeps it sets this to -1
 */
struct control_call {
	struct vm *vm;
	struct control *control;
	json_t *arguments;
	int fd;

	/* private */
	json_t *id;
	size_t client;
	uint64_t serial;
	bool later;
};

/* What a handler returns that took control_later(): the answer comes in time. */
#define CONTROL_LATER 1

/**
 * control_fn - carry out a request (loop thread; vCPUs run unless the handler pauses them)
 * @result: out: a new object, the answer's "return"; left alone it is {}
 *
 * No other request is carried out meanwhile, also where the handler turns the loop.
 *
 * Return: 0; -1 with @err set; CONTROL_LATER.
 */
typedef int (*control_fn)(struct control_call *call, json_t **result, struct error *err);

/**
 * struct control_command - a row: what a client calls it, what does it, one line of help
 *
 * A table ends with a row whose name is NULL.
 */
struct control_command {
	const char *name;
	control_fn handler;
	const char *help;
};

/* status, info, stat, pause, resume, stop, reset, events, device, debug, commands. */
extern const struct control_command control_core_commands[];

/**
 * control_arguments() - take the arguments apart, as json_unpack(3) does
 * @format: of an object, e.g. "{s:s, s?i}"; values are borrowed from the request
 *
 * Arguments that @format does not name are refused.
 *
 * Return: 0, or -1 with @err set.
 */
int control_arguments(struct control_call *call, struct error *err, const char *format, ...);

/**
 * control_later() - the answer comes after the handler, which returns CONTROL_LATER
 *
 * Return: the handle, or NULL with @err set. Each is to be answered once; where the VM
 * ends before, the client is told so and the handle becomes invalid (control_ended()).
 */
struct control_later *control_later(struct control_call *call, struct error *err);

/**
 * control_answer() - answer it and free the handle
 * @result: reference taken over; NULL: {}
 * @err: where not NULL it is the answer instead
 *
 * A client that has left meanwhile does not matter.
 */
void control_answer(struct control_later *later, json_t *result, const struct error *err);

/**
 * control_awaited() - is the client that @later is for still there?
 *
 * One that has closed its side, or was killed, is not.
 */
bool control_awaited(const struct control_later *later);

/**
 * control_event() - tell all who listen
 * @control: NULL: nobody can be listening
 * @name: the event's
 * @data: an object, reference taken over; NULL: {}
 */
void control_event(struct control *control, const char *name, json_t *data);

/**
 * control_name_ok() - is @name of [A-Za-z0-9._-]{1,64}, and not "." or ".."?
 */
bool control_name_ok(const char *name);

/**
 * control_create() - listen for commands to @vm under its name
 * @tables: of commands; ended by NULL; they outlive the control
 *
 * A socket that no living process serves is taken over; a name that a living one has
 * makes this fail. Where the VM is paused already it stays so until "resume".
 *
 * Return: the control, or NULL with @err set.
 */
struct control *control_create(struct vm *vm, const struct control_command *const *tables,
			       struct error *err);

/**
 * control_started() - the vCPUs run for the first time; NULL is allowed
 *
 * Told to who listens from then on as the first event, with the time at which it was.
 */
void control_started(struct control *control);

/**
 * control_ended() - the VM has ended: say so to who asked for it and to who listens
 *
 * NULL is allowed. No request is carried out after this.
 */
void control_ended(struct control *control, enum vm_verdict verdict);

/**
 * control_destroy() - stop listening and remove the socket, if it is still ours
 *
 * NULL is allowed. The clients' connections end here, which tells them that the VM's
 * name is free again.
 */
void control_destroy(struct control *control);

#endif /* LKVM_CONTROL_H */
