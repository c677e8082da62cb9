// SPDX-License-Identifier: GPL-2.0-only
/*
 * Packets of GDB's remote protocol (GDB's manual, "Remote Protocol: Overview"):
 * "$payload#xx", xx the sum of the payload's bytes as they were sent. '}' in it says that
 * the next byte has bit 5 flipped. Between packets there are '+' and '-' (understood or
 * not) and 0x03 (interrupt). All else there is noise.
 *
 * Nothing here trusts a length: a packet that is too long is read to its end and dropped.
 *
 * Pure, no lock; the state is the connection's. Nothing is saved.
 */
#include "gdb_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ESCAPE '}'
#define FLIP 0x20

enum state {
	OUTSIDE,
	PAYLOAD,
	CHECK_HIGH,
	CHECK_LOW,
};

static enum gdb_event outside(struct gdb_input *in, uint8_t byte)
{
	switch (byte) {
	case '$':
		in->state = PAYLOAD;
		in->len = 0;
		in->sum = 0;
		in->escaped = false;
		in->too_long = false;
		return GDB_NOTHING;
	case 0x03:
		return GDB_INTERRUPT;
	case '-':
		return GDB_AGAIN;
	default:
		return GDB_NOTHING;
	}
}

static void payload(struct gdb_input *in, uint8_t byte)
{
	in->sum = (uint8_t)(in->sum + byte);
	if (byte == ESCAPE && !in->escaped) {
		in->escaped = true;
		return;
	}
	if (in->escaped)
		byte ^= FLIP;
	in->escaped = false;
	if (in->len < GDB_PACKET_MAX)
		in->buf[in->len++] = (char)byte;
	else
		in->too_long = true;
}

static enum gdb_event finish(struct gdb_input *in, uint8_t byte)
{
	int low = hex_digit((char)byte);

	in->state = OUTSIDE;
	in->buf[in->len] = '\0';
	if (low < 0 || in->check == UINT8_MAX || (in->check << 4 | low) != in->sum)
		return GDB_DAMAGED;
	return in->too_long ? GDB_TOO_LONG : GDB_PACKET;
}

enum gdb_event gdb_feed(struct gdb_input *in, uint8_t byte)
{
	int high;

	switch (in->state) {
	case OUTSIDE:
		return outside(in, byte);
	case PAYLOAD:
		if (byte == '#')
			in->state = CHECK_HIGH;
		else if (byte == '$') /* the one before was cut off */
			outside(in, byte);
		else
			payload(in, byte);
		return GDB_NOTHING;
	case CHECK_HIGH:
		high = hex_digit((char)byte);
		in->check = high < 0 ? UINT8_MAX : (uint8_t)high;
		in->state = CHECK_LOW;
		return GDB_NOTHING;
	default:
		return finish(in, byte);
	}
}

size_t gdb_frame(const struct gdb_reply *reply, char *out)
{
	uint8_t sum = 0;
	size_t n = 0, i;

	out[n++] = '$';
	for (i = 0; i < reply->len; i++) {
		char c = reply->buf[i];

		if (c == '#' || c == '$' || c == ESCAPE || c == '*') {
			out[n++] = ESCAPE;
			c ^= FLIP;
		}
		out[n++] = c;
	}
	for (i = 1; i < n; i++)
		sum = (uint8_t)(sum + (uint8_t)out[i]);
	return n + (size_t)sprintf(out + n, "#%02x", sum);
}

bool gdb_number(const char **at, uint64_t *value)
{
	const char *p = *at;
	uint64_t v = 0;

	for (; hex_digit(*p) >= 0; p++) {
		if (v >> 60)
			return false;
		v = v << 4 | (uint64_t)hex_digit(*p);
	}
	if (p == *at)
		return false;
	*at = p;
	*value = v;
	return true;
}

bool gdb_skip(const char **at, const char *text)
{
	size_t len = strlen(text);

	if (strncmp(*at, text, len) != 0)
		return false;
	*at += len;
	return true;
}

bool gdb_bytes(const char **at, void *buf, size_t len)
{
	const char *p = *at;
	uint8_t *bytes = buf;
	size_t i;

	for (i = 0; i < len; i++, p += 2) {
		if (hex_digit(p[0]) < 0 || hex_digit(p[1]) < 0)
			return false;
		bytes[i] = (uint8_t)(hex_digit(p[0]) << 4 | hex_digit(p[1]));
	}
	*at = p;
	return true;
}

void gdb_put(struct gdb_reply *r, const char *fmt, ...)
{
	size_t room = sizeof(r->buf) - r->len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(r->buf + r->len, room, fmt, ap);
	va_end(ap);
	if (n > 0 && (size_t)n < room)
		r->len += (size_t)n;
}

void gdb_put_bytes(struct gdb_reply *r, const void *buf, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *bytes = buf;
	size_t i;

	if (len > (GDB_PACKET_MAX - r->len) / 2)
		return;
	for (i = 0; i < len; i++) {
		r->buf[r->len++] = digits[bytes[i] >> 4];
		r->buf[r->len++] = digits[bytes[i] & 15];
	}
}

void gdb_put_raw(struct gdb_reply *r, char byte)
{
	if (r->len < GDB_PACKET_MAX)
		r->buf[r->len++] = byte;
}
