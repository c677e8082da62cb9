/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Talking to running VMs: the client's side of lkvm/control.h. Calls block, each with a
 * limit; nothing here has state beyond what it returns, so any thread may use it.
 *
 * What comes back from a VM is that of another process: types are checked by whoever
 * takes an answer apart (jansson's accessors give 0 or NULL for another type).
 */
#ifndef LKVM_CONTROL_CLIENT_H
#define LKVM_CONTROL_CLIENT_H

#include "lkvm/util.h"

#include <jansson.h>

struct control_client;

/* How long an answer may take that needs no work: a VM that hangs is not waited for. */
#define CONTROL_ANSWER_MS 10000

/**
 * control_connect() - reach the VM @name
 *
 * Where none of this name runs, what a killed one left behind is removed.
 *
 * Return: the connection, or NULL with @err set.
 */
struct control_client *control_connect(const char *name, struct error *err);

/**
 * control_hang_up() - close it; NULL is allowed
 */
void control_hang_up(struct control_client *c);

/**
 * control_watch() - as soon as @fd can be read from, calls that wait fail; -1: none
 */
void control_watch(struct control_client *c, int fd);

/**
 * control_fd() - to poll(2) for something to read
 * control_has_more() - has a line been received that was not given out yet?
 */
int control_fd(const struct control_client *c);
bool control_has_more(const struct control_client *c);

/**
 * control_send() - send a request
 * @arguments: reference taken over; NULL: none
 * @fd: a descriptor to hand over, or -1; stays the caller's
 *
 * Return: 0, or -1 with @err set.
 */
int control_send(struct control_client *c, const char *command, json_t *arguments, int fd,
		 struct error *err);

/**
 * control_result() - wait for the answer to the request sent last
 * @timeout_ms: -1: for ever
 * @result: out: its "return", a new reference
 *
 * Events that come meanwhile are dropped.
 *
 * Return: 0; -1 with @err set, which begins with the VM's name.
 */
int control_result(struct control_client *c, int timeout_ms, json_t **result, struct error *err);

/**
 * control_event_fn - an event came; @event is a JSON object, borrowed
 */
typedef void (*control_event_fn)(void *opaque, json_t *event);

/**
 * control_result_events() - control_result() that hands events to @fn (NULL: drops them)
 */
int control_result_events(struct control_client *c, int timeout_ms, control_event_fn fn,
			  void *opaque, json_t **result, struct error *err);

/**
 * control_next_event() - wait for the next event, after the command "events"
 * @event: out: the whole object, a new reference
 *
 * Return: 0; 1: the VM has closed the connection; -1 with @err set.
 */
int control_next_event(struct control_client *c, int timeout_ms, json_t **event, struct error *err);

/**
 * control_wait_gone() - wait until the VM closes the connection: it has ended
 *
 * Return: 0; -1 with @err set where it did not in time.
 */
int control_wait_gone(struct control_client *c, int timeout_ms, struct error *err);

/**
 * control_ask() - connect, send, wait CONTROL_ANSWER_MS, hang up
 * @arguments: reference taken over; NULL: none
 * @result: out: new reference, an object
 *
 * Return: 0, or -1 with @err set.
 */
int control_ask(const char *name, const char *command, json_t *arguments, json_t **result,
		struct error *err);

/**
 * control_names() - the VMs of this user that have a socket, in order
 * @names: out: ended by NULL; freed by control_names_free()
 *
 * What killed VMs left behind is removed.
 *
 * Return: how many, or -1 with @err set.
 */
int control_names(char ***names, struct error *err);
void control_names_free(char **names);

#endif /* LKVM_CONTROL_CLIENT_H */
