// SPDX-License-Identifier: GPL-2.0-only
/*
 * Packets of the GDB protocol: framing, escapes, damage, lengths; and where the stub may
 * listen.
 */
#include "../../vmm/gdb_parts.h"
#include "prng.h"
#include "rig.h"
#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

/* libFuzzer and Check alike: too large for a stack. */
static struct gdb_input in;
static struct gdb_reply reply;
static char out[GDB_OUT_MAX];

static void setup(void)
{
	memset(&in, 0, sizeof(in));
	memset(&reply, 0, sizeof(reply));
}

/* The last thing that @text brought about. */
static enum gdb_event feed(const char *text, size_t len)
{
	enum gdb_event event = GDB_NOTHING, last = GDB_NOTHING;
	size_t i;

	for (i = 0; i < len; i++) {
		event = gdb_feed(&in, (uint8_t)text[i]);
		last = event != GDB_NOTHING ? event : last;
	}
	return last;
}

static enum gdb_event say(const char *text)
{
	return feed(text, strlen(text));
}

START_TEST(frames)
{
	ck_assert_int_eq(say("$qC#b4"), GDB_PACKET);
	ck_assert_str_eq(in.buf, "qC");
	ck_assert_int_eq(say("+$?#3F"), GDB_PACKET);
	ck_assert_str_eq(in.buf, "?");
	ck_assert_int_eq(say("$#00"), GDB_PACKET);
	ck_assert_uint_eq(in.len, 0);
	ck_assert_int_eq(say("-"), GDB_AGAIN);
	ck_assert_int_eq(say("\x03"), GDB_INTERRUPT);
	/* One that is cut off gives way to the next. */
	ck_assert_int_eq(say("$m800$qC#b4"), GDB_PACKET);
	ck_assert_str_eq(in.buf, "qC");
	ck_assert_int_eq(say("noise#00\r\n"), GDB_NOTHING);
}
END_TEST

START_TEST(damage)
{
	ck_assert_int_eq(say("$qC#b5"), GDB_DAMAGED);
	ck_assert_int_eq(say("$qC#xy"), GDB_DAMAGED);
	ck_assert_int_eq(say("$qC#b "), GDB_DAMAGED);
	ck_assert_int_eq(say("$#ff"), GDB_DAMAGED);
	ck_assert_int_eq(say("$qC#b4"), GDB_PACKET);
}
END_TEST

START_TEST(too_long)
{
	size_t i;

	ck_assert_int_eq(say("$"), GDB_NOTHING);
	for (i = 0; i < 5 * GDB_PACKET_MAX; i++)
		ck_assert(gdb_feed(&in, 0) == GDB_NOTHING);
	ck_assert_int_eq(say("#00"), GDB_TOO_LONG);
	ck_assert_int_eq(say("$qC#b4"), GDB_PACKET);
	/* As long as may be. */
	say("$");
	for (i = 0; i < GDB_PACKET_MAX; i++)
		gdb_feed(&in, 0);
	ck_assert_int_eq(say("#00"), GDB_PACKET);
	ck_assert_uint_eq(in.len, GDB_PACKET_MAX);
}
END_TEST

/* All bytes there are come back as they were sent, in the largest packet. */
START_TEST(there_and_back)
{
	size_t i, len;

	while (reply.len < GDB_PACKET_MAX)
		gdb_put_raw(&reply, (char)(reply.len * 7));
	gdb_put_raw(&reply, 'x');
	ck_assert_uint_eq(reply.len, GDB_PACKET_MAX);
	len = gdb_frame(&reply, out);
	ck_assert_uint_lt(len, GDB_OUT_MAX);
	ck_assert_int_eq(feed(out, len), GDB_PACKET);
	ck_assert_uint_eq(in.len, reply.len);
	for (i = 0; i < in.len; i++)
		ck_assert_int_eq(in.buf[i], reply.buf[i]);
	/* Nothing but what needs it: the worst case has room. */
	memset(reply.buf, '}', GDB_PACKET_MAX);
	ck_assert_uint_eq(gdb_frame(&reply, out), 2 * GDB_PACKET_MAX + 4);
}
END_TEST

START_TEST(any_bytes)
{
	struct prng p = prng_start("any_bytes");
	unsigned int i;

	for (i = 0; i < 3000000; i++) {
		gdb_feed(&in, (uint8_t)prng_u64(&p));
		if (in.len > GDB_PACKET_MAX)
			ck_abort_msg("%zu bytes", in.len);
	}
}
END_TEST

START_TEST(numbers)
{
	const char *at = "ffffffff80000000,10:x";
	uint8_t bytes[2] = {0};
	uint64_t v;

	ck_assert(gdb_number(&at, &v) && v == UINT64_C(0xffffffff80000000));
	ck_assert(!gdb_number(&at, &v));
	ck_assert(gdb_skip(&at, ","));
	ck_assert(gdb_number(&at, &v) && v == 16);
	ck_assert(!gdb_skip(&at, ",") && gdb_skip(&at, ":"));
	ck_assert(!gdb_number(&at, &v));
	ck_assert_str_eq(at, "x");
	at = "10000000000000000";
	ck_assert(!gdb_number(&at, &v));
	at = "12f";
	ck_assert(!gdb_bytes(&at, bytes, 2));
	ck_assert_str_eq(at, "12f");
	at = "12fE";
	ck_assert(gdb_bytes(&at, bytes, 2));
	ck_assert_uint_eq(bytes[1], 0xfe);
}
END_TEST

static void refused(const char *text, const char *why)
{
	struct gdb_address a;
	struct error err;

	ck_assert_msg(gdb_parse(text, &a, &err) && strstr(err.msg, why), "%s: %s", text, err.msg);
}

START_TEST(addresses)
{
	const struct sockaddr_in *v4;
	const struct sockaddr_in6 *v6;
	const struct sockaddr_un *un;
	struct gdb_address a;
	struct error err;

	v4 = (const struct sockaddr_in *)&a.address;
	v6 = (const struct sockaddr_in6 *)&a.address;
	un = (const struct sockaddr_un *)&a.address;
	ck_assert_int_eq(gdb_parse("1234", &a, &err), 0);
	ck_assert(v4->sin_family == AF_INET && ntohs(v4->sin_port) == 1234 &&
		  ntohl(v4->sin_addr.s_addr) == INADDR_LOOPBACK && !a.wait);
	ck_assert_int_eq(gdb_parse(":1234,wait", &a, &err), 0);
	ck_assert(ntohs(v4->sin_port) == 1234 && a.wait);
	ck_assert_int_eq(gdb_parse("127.0.0.9:65535", &a, &err), 0);
	ck_assert(ntohl(v4->sin_addr.s_addr) == 0x7f000009);
	ck_assert_int_eq(gdb_parse("localhost:1", &a, &err), 0);
	ck_assert(ntohl(v4->sin_addr.s_addr) == INADDR_LOOPBACK);
	ck_assert_int_eq(gdb_parse("[::1]:1234", &a, &err), 0);
	ck_assert(v6->sin6_family == AF_INET6 && ntohs(v6->sin6_port) == 1234);
	ck_assert_int_eq(gdb_parse("unix:/tmp/x:1,wait", &a, &err), 0);
	ck_assert(un->sun_family == AF_UNIX && a.wait);
	ck_assert_str_eq(un->sun_path, "/tmp/x:1");
	refused("0.0.0.0:1234", "127.0.0.1");
	refused("192.168.1.1:1234", "127.0.0.1");
	refused("example.org:1234", "127.0.0.1");
	refused("[::]:1234", "127.0.0.1");
	refused("0", "PORT");
	refused("65536", "PORT");
	refused("tcp", "PORT");
	refused("", "PORT");
	refused("unix:", "path");
	refused("1234,nowait", "wait");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("gdb_packet");
	TCase *tc = tcase_create("gdb_packet");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, frames);
	tcase_add_test(tc, damage);
	tcase_add_test(tc, too_long);
	tcase_add_test(tc, there_and_back);
	tcase_add_test(tc, any_bytes);
	tcase_add_test(tc, numbers);
	tcase_add_test(tc, addresses);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
