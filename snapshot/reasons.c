// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lists of reasons (include/lkvm/snapshot/reasons.h). No state but the list, which
 * belongs to one thread; nothing saved.
 */
#include "lkvm/snapshot/reasons.h"

#include <stdarg.h>
#include <stdio.h>

void reasons_add(struct reasons *why, const char *fmt, ...)
{
	va_list ap;

	if (why->nr < REASONS_MAX) {
		va_start(ap, fmt);
		vsnprintf(why->list[why->nr].msg, sizeof(why->list[0].msg), fmt, ap);
		va_end(ap);
	}
	why->nr++;
}

int reasons_fail(const struct reasons *why, const char *what, struct error *err)
{
	char text[ERROR_MAX] = "";
	size_t len = 0;
	unsigned int i, told = 0;

	if (!why->nr)
		return 0;
	for (i = 0; i < why->nr && i < REASONS_MAX; i++) {
		int n = snprintf(text + len, sizeof(text) - len, "%s%s", i ? "; " : "",
				 why->list[i].msg);

		/* Room for the words in front and for "and N more". */
		if (i && len + (size_t)n > sizeof(text) - 160)
			break;
		len = min_u64(len + (size_t)n, sizeof(text) - 1);
		told++;
	}
	text[len] = '\0';
	if (told < why->nr)
		return fail(err, "%s: %s; and %u more", what, text, why->nr - told);
	return fail(err, "%s: %s", what, text);
}
