/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Moving a device's state: one function per device walks its fields once, and
 * the direction decides whether they are written to a buffer or read from it.
 * Save and load can't drift apart, because they are the same code.
 *
 * The layout is fixed and little-endian, whatever the host. A buffer that ends
 * too early, or a value that its check refuses, sets the error; every later call
 * then does nothing and leaves the fields alone, so a device needs no checks
 * between fields. Loading goes into a scratch copy that is committed only when
 * the whole of it was good.
 */
#ifndef LKVM_XFER_H
#define LKVM_XFER_H

#include "lkvm/util.h"

/**
 * struct xfer - one walk over a device's state
 * @loading: true: buffer to fields; false: fields to buffer
 * @failed: something did not fit; @err says what
 * @buf: the bytes; when saving grown as needed (free by xfer_free())
 * @len: bytes in @buf: written so far, or given
 * @pos: next byte to read
 */
struct xfer {
	bool loading;
	bool failed;
	struct error err;
	uint8_t *buf;
	size_t len, max, pos;
};

/**
 * xfer_save_init() - an empty buffer that grows; xfer_free() it at the end
 */
void xfer_save_init(struct xfer *x);

/**
 * xfer_load_init() - read from @len bytes at @buf, which stay the caller's
 */
void xfer_load_init(struct xfer *x, const void *buf, size_t len);

/**
 * xfer_free() - free what saving allocated
 */
void xfer_free(struct xfer *x);

/**
 * xfer_u8() ... xfer_bytes() - one field, in the direction of @x
 *
 * Little-endian, no padding; xfer_bool() is one byte and refuses anything but
 * 0 and 1. After a failure they leave *@v alone.
 */
void xfer_u8(struct xfer *x, uint8_t *v);
void xfer_u16(struct xfer *x, uint16_t *v);
void xfer_u32(struct xfer *x, uint32_t *v);
void xfer_u64(struct xfer *x, uint64_t *v);
void xfer_bool(struct xfer *x, bool *v);
void xfer_bytes(struct xfer *x, void *v, size_t len);

/**
 * xfer_check() - while loading, refuse the state unless @ok
 * @what: names the field and the limit, for the message
 *
 * Does nothing while saving.
 */
void xfer_check(struct xfer *x, bool ok, const char *what);

/**
 * xfer_commit() - last call of a device's walk: may the scratch copy be committed?
 *
 * Return: true when loading, where nothing failed and nothing is left over (which
 * is a failure too); false when saving.
 */
bool xfer_commit(struct xfer *x);

/**
 * xfer_done() - 0 where all went well (and, when loading, nothing was left over)
 *
 * Return: 0, or -1 with @err (may be NULL) saying what the first failure was.
 */
int xfer_done(struct xfer *x, struct error *err);

#endif /* LKVM_XFER_H */
