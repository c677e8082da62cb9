/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the control socket share: control_name.c (a VM's name and its files),
 * control.c (socket and clients), control_call.c (requests and answers),
 * control_commands.c and control_stop.c (the core's commands).
 */
#ifndef LKVM_VMM_CONTROL_PARTS_H
#define LKVM_VMM_CONTROL_PARTS_H

#include "lkvm/control.h"

#include <sys/un.h>

#define CONTROL_CLIENTS_MAX 32

#define CONTROL_PATH_MAX sizeof(((struct sockaddr_un *)NULL)->sun_path)

/**
 * struct control_name - a VM's name as files
 * @sock, @lock: paths
 * @fd: the lock, or -1
 */
struct control_name {
	char sock[CONTROL_PATH_MAX];
	char lock[CONTROL_PATH_MAX];
	int fd;
};

/**
 * control_name_paths() - fill in the paths, take nothing
 * @make: make the directory where it is missing
 */
int control_name_paths(struct control_name *n, const char *name, bool make, struct error *err);

/**
 * control_name_take() - own the name, or fail because another VM does
 *
 * Return: 0; -1 with @err set.
 */
int control_name_take(struct control_name *n, const char *name, struct error *err);

/**
 * control_name_release() - remove the files, where they are still ours, and let it go
 */
void control_name_release(struct control_name *n);

/**
 * control_name_clean() - remove what a dead VM of this name left behind, if it is dead
 */
void control_name_clean(const char *name);

/* What a client is waited for. */
enum client_wait {
	WAIT_NOTHING,
	WAIT_REQUEST, /* the rest of a request, or its beginning */
	WAIT_READER,  /* to take its answer */
};

/**
 * struct client - a place for one client
 * @fd: -1: the place is free
 * @serial: tells clients apart that have the same place after each other
 * @in, @in_len, @in_size, @looked: what has come, and how far it has no newline
 * @out, @out_len, @out_size, @sent: what is to go
 * @passed: a descriptor that came along, or -1
 * @later: an answer is due that will come later
 * @listens: to events; @lost: how many it was too slow for; @greeted: it knows that the VM
 *           started
 * @eof: nothing more comes; @closing: it is closed when all is sent
 */
struct client {
	struct control *control;
	int fd;
	uint64_t serial;
	char *in, *out;
	size_t in_len, in_size, looked;
	size_t out_len, out_size, sent;
	int passed;
	bool later, listens, greeted, eof, closing;
	uint64_t lost;
	enum client_wait wait;
	struct loop_timer timer;
};

struct control {
	struct vm *vm;
	const struct control_command *const *tables;
	struct control_name name;
	int fd;
	uint64_t serials;
	uint64_t begin_ns;
	json_int_t started_ms; /* CLOCK_REALTIME; 0: not yet */
	bool busy;	       /* a handler is at work */
	bool ended;	       /* no handler will be any more */
	bool paused;
	struct loop_timer listen_again;
	struct loop_work serve_all;
	struct control_later *laters;
	struct client clients[CONTROL_CLIENTS_MAX];

	/* control_stop.c */
	bool stop_forced;
	uint64_t stop_deadline; /* 0: none */
	struct control_stop *stops;
	struct loop_timer stop_timer;
};

/**
 * struct control_later - an answer that is due
 */
struct control_later {
	struct control *control;
	struct control_later *next;
	json_t *id;
	size_t client;
	uint64_t serial;
};

/**
 * control_handle_line() - carry out one request of @c and queue its answer
 * @line: without its newline
 */
void control_handle_line(struct client *c, const char *line, size_t len);

/**
 * client_put() - queue @message as a line for a client, reference taken over
 */
void client_put(struct client *c, json_t *message);

/**
 * client_refuse() - queue an error that answers no request, and close when it is sent
 */
void client_refuse(struct client *c, const char *why);

/**
 * client_settle() - send what can be sent, and decide what to wait for; may drop @c
 */
void client_settle(struct client *c);

/* control_call.c: forget all that is due; who waits is told why. */
void control_answer_all(struct control *control, const char *why);

/* control_stop.c */
int control_stop(struct control_call *call, json_t **result, struct error *err);
int control_reset(struct control_call *call, json_t **result, struct error *err);
void control_stop_init(struct control *control);
void control_stop_finish(struct control *control, enum vm_verdict verdict);
const char *control_verdict_word(enum vm_verdict verdict);

#endif /* LKVM_VMM_CONTROL_PARTS_H */
