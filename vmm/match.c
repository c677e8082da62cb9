// SPDX-License-Identifier: GPL-2.0-only
/*
 * Search in a stream (include/lkvm/match.h), by the method of Knuth, Morris and Pratt: each
 * byte is looked at once, and never again, so that nothing has to be kept of the stream. Where
 * nothing of the text has been seen, memchr(3) goes to its first byte, several times as fast.
 *
 * No lock: the caller's. Nothing is saved.
 */
#include "lkvm/match.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* To call memchr() costs as much as to look at so many bytes. */
#define WORTH_A_CALL 8

int match_init(struct match *m, const void *text, size_t len)
{
	size_t i, k = 0;

	*m = (struct match){.text = text, .len = len};
	m->back = calloc(len, sizeof(*m->back));
	if (!m->back)
		return -ENOMEM;
	for (i = 1; i < len; i++) {
		while (k && m->text[i] != m->text[k])
			k = m->back[k - 1];
		k += m->text[i] == m->text[k];
		m->back[i] = (uint16_t)k;
	}
	return 0;
}

void match_free(struct match *m)
{
	free(m->back);
	m->back = NULL;
}

size_t match_feed(struct match *m, const void *buf, size_t len)
{
	const uint8_t *bytes = buf;
	size_t i;

	for (i = 0; i < len; i++) {
		if (!m->at && len - i >= WORTH_A_CALL) {
			const uint8_t *first = memchr(bytes + i, m->text[0], len - i);

			if (!first)
				return 0;
			i = (size_t)(first - bytes);
		}
		while (m->at && bytes[i] != m->text[m->at])
			m->at = m->back[m->at - 1];
		m->at += bytes[i] == m->text[m->at];
		if (m->at == m->len) {
			m->at = 0;
			return i + 1;
		}
	}
	return 0;
}

void match_forget(struct match *m)
{
	m->at = 0;
}
