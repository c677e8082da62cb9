/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest's init for one command: what its parts know of each other.
 */
#ifndef INIT_H
#define INIT_H

#include "sys.h"

#define MAX_ARGS 4096
#define MAX_GROUPS 256

enum stream { STREAM_IN, STREAM_OUT, STREAM_ERR, NR_STREAMS };

/**
 * struct plan - what the host asked for (plan.c reads it)
 * @argv, @envp: NULL behind the last
 * @tty: this one of the command's streams is the terminal, and no pipe
 * @status: the port that receives the verdict, -1 before it was found
 */
struct plan {
	const char *argv[MAX_ARGS + 1], *envp[MAX_ARGS + 1];
	unsigned int argc, envc;
	const char *cwd;
	uint32_t uid, gid, groups[MAX_GROUPS];
	unsigned int nr_groups;
	bool tty[NR_STREAMS];
	int status;
};

/* Carry out the plan up to the command: modules, mounts. */
void plan_carry_out(struct plan *p);

/* The descriptor of the console port @name, or a negative errno. */
int port_open(const char *name, int flags);

/* Run the command; the status a shell would give it. */
unsigned int command_run(struct plan *p);

/* Tell the host why there is no command, and power off. */
void give_up(struct plan *p, const char *what, const char *which, long error)
	__attribute__((noreturn));

/* Tell the host @word and @n ("status 7"), and power off. */
void power_off(struct plan *p, const char *text) __attribute__((noreturn));

#endif /* INIT_H */
