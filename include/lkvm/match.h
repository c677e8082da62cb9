/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Search for one text in a stream of bytes that comes in pieces. Bytes, not characters:
 * no locale, no pattern. What has gone by is not kept, however long the stream.
 */
#ifndef LKVM_MATCH_H
#define LKVM_MATCH_H

#include "lkvm/util.h"

#define MATCH_MAX 4096

/**
 * struct match - one search; the fields are private
 * @text, @len: what is looked for
 * @at: so many of its bytes have been seen
 * @back: for each number of bytes seen, how many of them may still begin a match when the
 *        next byte does not fit
 */
struct match {
	const uint8_t *text;
	size_t len, at;
	uint16_t *back;
};

/**
 * match_init() - look for @text, which stays the caller's and outlives the search
 * @len: 1 to MATCH_MAX
 *
 * Return: 0, or -ENOMEM; match_free() in any case.
 */
int match_init(struct match *m, const void *text, size_t len);
void match_free(struct match *m);

/**
 * match_feed() - the next bytes of the stream
 *
 * Return: how many bytes of @buf there are up to the end of the first match, or 0. The
 * search then begins anew: matches don't overlap.
 */
size_t match_feed(struct match *m, const void *buf, size_t len);

/**
 * match_forget() - what comes is another stream
 */
void match_forget(struct match *m);

#endif /* LKVM_MATCH_H */
