/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A list of reasons why something can't be done, each one sentence: so that a person
 * learns all of them at once. One thread.
 */
#ifndef LKVM_SNAPSHOT_REASONS_H
#define LKVM_SNAPSHOT_REASONS_H

#include "lkvm/util.h"

#define REASONS_MAX 32

/**
 * struct reasons - the list; starts as {0}
 * @nr: how many were added; beyond REASONS_MAX they are only counted
 */
struct reasons {
	unsigned int nr;
	struct error list[REASONS_MAX];
};

/**
 * reasons_add() - one more
 */
void reasons_add(struct reasons *why, const char *fmt, ...) __printf(2, 3);

/**
 * reasons_fail() - all of them in one message, as far as it has room
 * @what: the words in front ("FILE can't be restored here")
 *
 * Return: 0 where there is no reason, else -1 with @err set.
 */
int reasons_fail(const struct reasons *why, const char *what, struct error *err);

#endif /* LKVM_SNAPSHOT_REASONS_H */
