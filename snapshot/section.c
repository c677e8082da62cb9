// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sections as walks (include/lkvm/snapshot/section.h). No state; the caller's thread.
 */
#include "lkvm/snapshot/section.h"

#include <stdlib.h>
#include <string.h>

#define NO_TEXT UINT32_MAX

int section_save(struct snapshot_writer *w, const char *name, uint32_t flags, section_walk walk,
		 void *opaque, struct error *err)
{
	struct error why;
	struct xfer x;
	int ret;

	xfer_save_init(&x);
	walk(opaque, &x);
	ret = xfer_done(&x, &why) ? fail(err, "%s: %s", name, why.msg)
				  : snapshot_add(w, name, 1, flags, x.buf, x.len, err);
	xfer_free(&x);
	return ret;
}

int section_load(const struct snapshot_file *f, const char *name, section_walk walk, void *opaque,
		 struct error *err)
{
	struct error why;
	uint8_t *data;
	struct xfer x;
	size_t len;
	int ret;

	if (snapshot_read(f, name, 1, &data, &len, err))
		return -1;
	xfer_load_init(&x, data, len);
	walk(opaque, &x);
	ret = xfer_done(&x, &why) ? fail(err, "%s: %s", name, why.msg) : 0;
	free(data);
	return ret;
}

void section_text(struct xfer *x, char **text, uint32_t max)
{
	uint32_t len = NO_TEXT;

	if (!x->loading && *text)
		len = (uint32_t)min_u64(strlen(*text), max);
	xfer_u32(x, &len);
	if (!x->loading) {
		if (len != NO_TEXT)
			xfer_bytes(x, *text, len);
		return;
	}
	*text = NULL;
	if (len == NO_TEXT)
		return;
	xfer_check(x, len <= max, "a text is longer than any can be");
	if (x->failed)
		return;
	*text = calloc(1, (size_t)len + 1);
	xfer_check(x, *text, "no memory for a text");
	if (*text)
		xfer_bytes(x, *text, len);
	if (*text)
		xfer_check(x, strlen(*text) == len, "a text has a zero byte in it");
}
