// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fields of 9P messages: little-endian integers without padding, strings as a 16-bit
 * length and that many bytes, qids of 13 bytes (type, version, path).
 *
 * Reading never goes beyond the end of what was copied out of guest memory, whatever
 * a length says: the field is then 0 or empty and `bad` is set, and an operation asks
 * for that once, before it does anything. Writing never goes beyond the buffer.
 *
 * Pure functions; no thread, no lock, nothing saved.
 */
#include "p9_internal.h"

#include <errno.h>
#include <string.h>

static uint64_t get(struct p9_in *in, unsigned int bytes)
{
	uint64_t v = 0;
	unsigned int i;

	if (in->bad || (size_t)(in->end - in->at) < bytes) {
		in->bad = true;
		return 0;
	}
	for (i = 0; i < bytes; i++)
		v |= (uint64_t)*in->at++ << 8 * i;
	return v;
}

uint8_t p9_get_u8(struct p9_in *in)
{
	return (uint8_t)get(in, 1);
}

uint16_t p9_get_u16(struct p9_in *in)
{
	return (uint16_t)get(in, 2);
}

uint32_t p9_get_u32(struct p9_in *in)
{
	return (uint32_t)get(in, 4);
}

uint64_t p9_get_u64(struct p9_in *in)
{
	return get(in, 8);
}

struct p9_string p9_get_string(struct p9_in *in)
{
	struct p9_string str = {"", p9_get_u16(in)};

	if (in->bad || in->end - in->at < str.len) {
		in->bad = true;
		str.len = 0;
		return str;
	}
	str.s = (const char *)in->at;
	in->at += str.len;
	return str;
}

int p9_check_name(const char *s, size_t len, bool dotdot)
{
	if (!len)
		return EINVAL;
	if (len > P9_NAME_MAX)
		return ENAMETOOLONG;
	if (memchr(s, '/', len) || memchr(s, '\0', len))
		return EINVAL;
	if (s[0] == '.' && (len == 1 || (len == 2 && s[1] == '.' && !dotdot)))
		return EINVAL;
	return 0;
}

int p9_get_name(struct p9_in *in, char *name, bool dotdot)
{
	struct p9_string str = p9_get_string(in);
	int ret = p9_check_name(str.s, str.len, dotdot);

	*name = '\0';
	if (in->bad || ret)
		return in->bad ? EINVAL : ret;
	memcpy(name, str.s, str.len);
	name[str.len] = '\0';
	return 0;
}

static void put(struct p9_out *out, uint64_t v, unsigned int bytes)
{
	unsigned int i;

	if (out->full || out->max - out->len < bytes) {
		out->full = true;
		return;
	}
	for (i = 0; i < bytes; i++)
		out->buf[out->len++] = (uint8_t)(v >> 8 * i);
}

void p9_put_u8(struct p9_out *out, uint8_t v)
{
	put(out, v, 1);
}

void p9_put_u16(struct p9_out *out, uint16_t v)
{
	put(out, v, 2);
}

void p9_put_u32(struct p9_out *out, uint32_t v)
{
	put(out, v, 4);
}

void p9_put_u64(struct p9_out *out, uint64_t v)
{
	put(out, v, 8);
}

void p9_put_string(struct p9_out *out, const char *s, size_t len)
{
	if (out->full || len > UINT16_MAX || out->max - out->len < len + 2) {
		out->full = true;
		return;
	}
	p9_put_u16(out, (uint16_t)len);
	memcpy(out->buf + out->len, s, len);
	out->len += len;
}

void p9_put_qid(struct p9_out *out, const struct p9_qid *qid)
{
	p9_put_u8(out, qid->type);
	p9_put_u32(out, qid->version);
	p9_put_u64(out, qid->path);
}
