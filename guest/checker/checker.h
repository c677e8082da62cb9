/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * checker: harts that know what they have in every register, and notice when that changes.
 */
#ifndef LKVM_GUEST_CHECKER_H
#define LKVM_GUEST_CHECKER_H

#include "../guest.h"

#define MAX_HARTS 8

/* Vector registers up to this many bytes; longer ones are not looked at. */
#define MAX_VLENB 128

/**
 * struct state - registers, as patterns.S knows them by their offsets
 * @x: not x0, sp, tp, and t0 and t1, which the waiting needs
 * @vector: there are vector registers
 * @v: one behind the other, each as long as the hart's are
 */
struct state {
	uint64_t x[32], f[32];
	uint64_t fcsr, vl, vtype, vcsr, vector, vstart;
	uint8_t unused[1024 - 70 * 8];
	uint8_t v[32 * MAX_VLENB];
};

/**
 * patterns() - load all of @in, wait until time @until, store all to @out (patterns.S)
 *
 * Interrupts may be on.
 */
void patterns(const struct state *in, struct state *out, uint64_t until);

#define MEMORY_WORDS 8192

struct hart;

/**
 * begin_paging() - make the tables of all harts (paging.c); on the boot hart, interrupts are on
 *
 * Return: do harts set the A bit of an entry by themselves?
 */
bool begin_paging(struct hart *harts, unsigned int nr);

/**
 * check_paging() - a load through the next table, which has rested long
 * @got, @want: out: what was wrong
 *
 * Return: NULL: all was well; what was not.
 */
const char *check_paging(struct hart *h, uint64_t *got, uint64_t *want);

/**
 * struct hart - what a hart knows; written by itself, but for what another one wants of it
 * @epoch: how often it has been through all checks
 * @timers: timer interrupts taken
 * @wanted, @seen: the last IPI that somebody wants it to take, and took
 * @msi_wanted, @msi_seen: the same of messages
 * @steal: the last steal time it was told; @sta: where it is told
 * @resting: it has no check under way, and still answers
 * @doing: its last check
 */
struct hart {
	uint64_t id;
	volatile uint64_t epoch;
	volatile uint32_t timers, wanted, seen, msi_wanted, msi_seen;
	bool fwft, has_sta;
	uint64_t steal;
	volatile bool up, done, resting;
	const char *volatile doing;
	volatile uint64_t sta[8] __attribute__((aligned(64)));
	uint64_t memory[MEMORY_WORDS];
	struct state in, out;
};

/**
 * struct checker - what all harts share
 * @line: numbered lines that were said
 * @idle_until: no timer is set to an earlier time
 * @go: all harts are up: they may ask one another
 * @sleep: all harts come to rest
 * @may_stop: and all of them have
 */
struct checker {
	const struct guest *guest;
	struct hart hart[MAX_HARTS];
	unsigned int nr;
	uint64_t vlenb, spin, line;
	volatile uint32_t failed, stop, lock, go, sleep, may_stop;
	volatile uint64_t last_time, idle_until;
};

#endif /* LKVM_GUEST_CHECKER_H */
