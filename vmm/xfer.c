// SPDX-License-Identifier: GPL-2.0-only
/*
 * The walk over a device's state, see xfer.h.
 *
 * Saving appends to a buffer that grows by doubling; loading reads from one that
 * belongs to the caller. Integers are little-endian with no padding between
 * fields, so that the bytes say the same thing on every host. Nothing in here
 * trusts a length that came out of the buffer: the caller names every length,
 * and what is left is compared by subtraction, which can't wrap.
 *
 * A struct xfer belongs to one thread; no lock.
 */
#include "lkvm/xfer.h"

#include <stdlib.h>
#include <string.h>

/* Holds the state of the small devices without growing. */
#define XFER_FIRST_SIZE 1024

void xfer_save_init(struct xfer *x)
{
	memset(x, 0, sizeof(*x));
}

void xfer_load_init(struct xfer *x, const void *buf, size_t len)
{
	memset(x, 0, sizeof(*x));
	x->loading = true;
	/* Only read through while loading. */
	x->buf = (uint8_t *)(uintptr_t)buf;
	x->len = len;
}

void xfer_free(struct xfer *x)
{
	if (!x->loading)
		free(x->buf);
	x->buf = NULL;
	x->len = 0;
	x->max = 0;
	x->pos = 0;
}

/* Only the first thing that went wrong is worth telling. */
static void xfer_fail(struct xfer *x, const char *what)
{
	if (x->failed)
		return;
	x->failed = true;
	fail(&x->err, "%s", what);
}

/* Room for @len more bytes, or NULL with the error set. */
static uint8_t *xfer_append(struct xfer *x, size_t len)
{
	uint8_t *at;

	if (len > x->max - x->len) {
		size_t max = x->max ? x->max : XFER_FIRST_SIZE;
		uint8_t *buf;

		while (max - x->len < len) {
			if (max > SIZE_MAX / 2) {
				xfer_fail(x, "the device state does not fit memory");
				return NULL;
			}
			max *= 2;
		}
		buf = realloc(x->buf, max);
		if (!buf) {
			xfer_fail(x, "out of memory for the device state");
			return NULL;
		}
		x->buf = buf;
		x->max = max;
	}
	at = x->buf + x->len;
	x->len += len;
	return at;
}

/* The next @len bytes, or NULL with the error set. */
static const uint8_t *xfer_take(struct xfer *x, size_t len)
{
	const uint8_t *at;

	if (len > x->len - x->pos) {
		if (!x->failed) {
			x->failed = true;
			fail(&x->err, "the state ends early: byte %zu of %zu, %zu more wanted",
			     x->pos, x->len, len);
		}
		return NULL;
	}
	at = x->buf + x->pos;
	x->pos += len;
	return at;
}

/* One little-endian integer of @size bytes; false leaves *@v as it was. */
static bool xfer_int(struct xfer *x, uint64_t *v, unsigned int size)
{
	unsigned int i;

	if (x->failed)
		return false;
	if (x->loading) {
		const uint8_t *from = xfer_take(x, size);

		if (!from)
			return false;
		*v = 0;
		for (i = 0; i < size; i++)
			*v |= (uint64_t)from[i] << (8 * i);
	} else {
		uint8_t *to = xfer_append(x, size);

		if (!to)
			return false;
		for (i = 0; i < size; i++)
			to[i] = (uint8_t)(*v >> (8 * i));
	}
	return true;
}

void xfer_u8(struct xfer *x, uint8_t *v)
{
	uint64_t n = *v;

	if (xfer_int(x, &n, sizeof(*v)))
		*v = (uint8_t)n;
}

void xfer_u16(struct xfer *x, uint16_t *v)
{
	uint64_t n = *v;

	if (xfer_int(x, &n, sizeof(*v)))
		*v = (uint16_t)n;
}

void xfer_u32(struct xfer *x, uint32_t *v)
{
	uint64_t n = *v;

	if (xfer_int(x, &n, sizeof(*v)))
		*v = (uint32_t)n;
}

void xfer_u64(struct xfer *x, uint64_t *v)
{
	uint64_t n = *v;

	if (xfer_int(x, &n, sizeof(*v)))
		*v = n;
}

void xfer_bool(struct xfer *x, bool *v)
{
	uint64_t n = *v;

	if (!xfer_int(x, &n, 1))
		return;
	if (n > 1) {
		xfer_fail(x, "a yes/no field is neither 0 nor 1");
		return;
	}
	*v = n;
}

void xfer_bytes(struct xfer *x, void *v, size_t len)
{
	if (x->failed || !len)
		return;
	if (x->loading) {
		const uint8_t *from = xfer_take(x, len);

		if (from)
			memcpy(v, from, len);
	} else {
		uint8_t *to = xfer_append(x, len);

		if (to)
			memcpy(to, v, len);
	}
}

void xfer_check(struct xfer *x, bool ok, const char *what)
{
	if (x->loading && !ok)
		xfer_fail(x, what);
}

bool xfer_commit(struct xfer *x)
{
	if (!x->loading || x->failed)
		return false;
	if (x->pos == x->len)
		return true;
	x->failed = true;
	fail(&x->err, "%zu bytes are left over after the state's %zu", x->len - x->pos, x->pos);
	return false;
}

int xfer_done(struct xfer *x, struct error *err)
{
	if (x->loading)
		xfer_commit(x);
	return x->failed ? fail(err, "%s", x->err.msg) : 0;
}
