/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A file that a running VM writes, for "lkvm snapshot" and "lkvm dump".
 */
#ifndef CMD_SAVING_H
#define CMD_SAVING_H

#include "lkvm/control_client.h"
#include "lkvm/snapshot/io.h"

/**
 * struct saving - one such file, and the VM
 * @end_fd: tells of the signals that end us
 */
struct saving {
	struct control_client *client;
	int end_fd;
};

/**
 * saving_begin() - connect to the VM @name; from here on a signal only ends waiting
 *
 * Return: 0, or -1 with @err set.
 */
int saving_begin(struct saving *s, const char *name, struct error *err);

/**
 * saving_ask() - send a request and wait for what comes of it, however long that takes
 * @arguments: reference taken over; NULL: none
 * @fd: to hand over, or -1
 * @fn, @opaque: who is told of events; NULL
 */
int saving_ask(struct saving *s, const char *command, json_t *arguments, int fd,
	       control_event_fn fn, void *opaque, json_t **result, struct error *err);

/**
 * saving_file() - have the VM write a file, and put it in place at @path
 * @command, @arguments, @fn, @opaque, @result: as for saving_ask()
 *
 * Return: 0; -1 with @err set: @path is what it was, and nothing is left beside it.
 */
int saving_file(struct saving *s, const char *path, const char *command, json_t *arguments,
		control_event_fn fn, void *opaque, json_t **result, struct error *err);

/**
 * saving_end() - hang up; a signal that has come ends the process here
 */
void saving_end(struct saving *s);

#endif /* CMD_SAVING_H */
