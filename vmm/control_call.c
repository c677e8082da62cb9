// SPDX-License-Identifier: GPL-2.0-only
/*
 * Requests and answers of the control protocol (include/lkvm/control.h): a line of JSON
 * in, a handler called, a line of JSON out, at once or later.
 *
 * What a client sends is parsed by jansson within CONTROL_REQUEST_MAX bytes: strict
 * RFC 8259, no zero bytes, valid UTF-8, a bounded depth, no member twice.
 *
 * Thread and lock: the loop's thread alone; no lock. Nothing is saved.
 */
#include "control_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What is wrong with a request that can't be carried out, in a line's space. */
#define SHORT 120

static const struct control_command *find(const struct control *control, const char *name)
{
	const struct control_command *const *table, *row;

	for (table = control->tables; *table; table++)
		for (row = *table; row->name; row++)
			if (!strcmp(row->name, name))
				return row;
	return NULL;
}

static json_t *message(json_t *id, const char *key, json_t *value)
{
	/* "O" for null too: an answer always says which request it answers. */
	return json_pack("{s:i, s:O, s:o}", "version", CONTROL_VERSION, "id", id, key, value);
}

static json_t *error_message(json_t *id, const char *text)
{
	json_t *value = json_pack("{s:s}", "message", text);

	/* A text that is no UTF-8 (a file's name) is no JSON string. */
	if (!value)
		value = json_pack("{s:s}", "message", "refused, for a reason that is no text");
	return message(id, "error", value);
}

static json_t *good_message(json_t *id, json_t *result)
{
	return message(id, "return", result ? result : json_object());
}

void client_refuse(struct client *c, const char *why)
{
	json_t *null = json_null();

	client_put(c, error_message(null, why));
	c->closing = true;
}

int control_arguments(struct control_call *call, struct error *err, const char *format, ...)
{
	json_error_t why;
	va_list ap;
	int ret;

	va_start(ap, format);
	ret = json_vunpack_ex(call->arguments, &why, JSON_STRICT, format, ap);
	va_end(ap);
	return ret ? fail(err, "arguments: %.*s", SHORT, why.text) : 0;
}

struct control_later *control_later(struct control_call *call, struct error *err)
{
	struct control_later *later = malloc(sizeof(*later));

	if (!later) {
		fail(err, "no memory");
		return NULL;
	}
	*later = (struct control_later){.control = call->control,
					.next = call->control->laters,
					.id = json_incref(call->id),
					.client = call->client,
					.serial = call->serial};
	call->control->laters = later;
	call->later = true;
	return later;
}

static struct client *client_of(struct control *control, size_t index, uint64_t serial)
{
	struct client *c = &control->clients[index];

	return c->fd >= 0 && c->serial == serial ? c : NULL;
}

/* It may have been given before its handler came back. */
static bool answer_due(const struct control *control, const struct client *c)
{
	const struct control_later *later;

	for (later = control->laters; later; later = later->next)
		if (later->serial == c->serial)
			return true;
	return false;
}

bool control_awaited(const struct control_later *later)
{
	return client_of(later->control, later->client, later->serial);
}

/* It is out of the list; the handle is freed. */
static void give(struct control_later *later, json_t *result, const struct error *err)
{
	struct control *control = later->control;
	struct client *c = client_of(control, later->client, later->serial);

	if (c) {
		c->later = false;
		client_put(c, err ? error_message(later->id, err->msg)
				  : good_message(later->id, result));
		/* Its next request may be here already. */
		client_settle(c);
		loop_post(control->vm->loop, &control->serve_all);
	}
	if (!c || err)
		json_decref(result);
	json_decref(later->id);
	free(later);
}

void control_answer(struct control_later *later, json_t *result, const struct error *err)
{
	struct control_later **at = &later->control->laters;

	while (*at != later)
		at = &(*at)->next;
	*at = later->next;
	give(later, result, err);
}

void control_answer_all(struct control *control, const char *why)
{
	struct control_later *later;
	struct error err;

	fail(&err, "%s", why);
	while ((later = control->laters)) {
		control->laters = later->next;
		give(later, NULL, &err);
	}
}

/* The request's own members. Return: the row, or NULL with @err set. */
static const struct control_command *take_apart(struct control *control, json_t *request,
						struct control_call *call, struct error *err)
{
	const struct control_command *row;
	const char *word, *key;
	json_t *value;

	json_object_foreach (request, key, value) {
		if (strcmp(key, "version") && strcmp(key, "id") && strcmp(key, "command") &&
		    strcmp(key, "arguments")) {
			fail(err, "the request has a member \"%.*s\", which this VM does not know",
			     SHORT, key);
			return NULL;
		}
	}
	value = json_object_get(request, "version");
	if (!json_is_integer(value) || json_integer_value(value) != CONTROL_VERSION) {
		fail(err, "this VM speaks version %d of the control protocol", CONTROL_VERSION);
		return NULL;
	}
	word = json_string_value(json_object_get(request, "command"));
	if (!word) {
		fail(err, "the request names no command");
		return NULL;
	}
	row = find(control, word);
	if (!row) {
		fail(err, "this VM knows no command %.*s", SHORT, word);
		return NULL;
	}
	value = json_object_get(request, "arguments");
	if (value && !json_is_object(value)) {
		fail(err, "the arguments are no object");
		return NULL;
	}
	call->arguments = value ? json_incref(value) : json_object();
	return row;
}

static void carry_out(struct client *c, json_t *request)
{
	struct control *control = c->control;
	struct control_call call = {.vm = control->vm,
				    .control = control,
				    .fd = c->passed,
				    .client = (size_t)(c - control->clients),
				    .serial = c->serial};
	const struct control_command *row;
	json_t *result = NULL, *id = json_object_get(request, "id");
	struct error err = {""};
	int ret = -1;

	call.id = json_is_integer(id) || json_is_string(id) ? id : json_null();
	if (id && call.id != id) {
		fail(&err, "the request's id is neither a number nor a string");
	} else {
		row = take_apart(control, request, &call, &err);
		if (row) {
			c->passed = -1;
			control->busy = true;
			ret = row->handler(&call, &result, &err);
			control->busy = false;
			/* Others may have come meanwhile, where the handler turned the loop. */
			loop_post(control->vm->loop, &control->serve_all);
			if (call.fd >= 0)
				close(call.fd);
		}
		json_decref(call.arguments);
	}
	c = client_of(control, call.client, call.serial);
	if (ret == CONTROL_LATER && call.later) {
		if (c)
			c->later = answer_due(control, c);
	} else if (c) {
		client_put(c, ret < 0 ? error_message(call.id, err.msg)
				      : good_message(call.id, json_incref(result)));
	}
	json_decref(result);
}

void control_handle_line(struct client *c, const char *line, size_t len)
{
	json_error_t why;
	json_t *request = json_loadb(line, len, JSON_REJECT_DUPLICATES, &why);
	char text[SHORT + 64];

	if (request && json_is_object(request) && !c->control->ended) {
		carry_out(c, request);
	} else if (request) {
		client_refuse(c, c->control->ended ? "the VM has ended"
						   : "the request is no JSON object");
	} else {
		snprintf(text, sizeof(text), "the request is no JSON: %.*s", SHORT, why.text);
		client_refuse(c, text);
	}
	json_decref(request);
}
