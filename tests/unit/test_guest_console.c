// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's console: bytes both ways, and the watch for a kernel's last words.
 */
#include "lkvm/guest_console.h"

#include "rig.h"
#include "unit.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WORDS "Kernel panic - not syncing"

static struct rig rig;
static struct guest_console *con;
static char typed[64];
static size_t nr_typed, room;
static unsigned int drained;

static size_t on_room(void *opaque)
{
	(void)opaque;
	return room;
}

static void on_input(void *opaque, const uint8_t *buf, size_t len)
{
	(void)opaque;
	ck_assert_uint_le(len, room);
	memcpy(typed + nr_typed, buf, len);
	nr_typed += len;
	room -= len;
}

static void on_drained(void *opaque)
{
	(void)opaque;
	drained++;
}

static const struct stream_ops sink = {.room = on_room, .input = on_input, .drained = on_drained};

static void setup(void)
{
	rig_init(&rig, FAKE_7_2);
	rig_create(&rig);
	nr_typed = drained = 0;
	memset(typed, 0, sizeof(typed));
	room = sizeof(typed);
	con = guest_console_create(rig.vm, rig.guest_in, rig.guest_out, &sink, NULL, &rig.err);
	ck_assert_msg(con, "%s", rig.err.msg);
}

static void teardown(void)
{
	guest_console_destroy(con);
	guest_console_destroy(NULL);
	rig_end(&rig);
}

static void put(const char *text)
{
	ck_assert_uint_eq(guest_console_write(con, text, strlen(text)), strlen(text));
}

static const char *printed(void)
{
	static char text[65536];

	return rig_output(&rig, text, sizeof(text));
}

/* The last bytes are kept, in whatever pieces they came. */
START_TEST(tail)
{
	static char text[3 * GUEST_CONSOLE_TAIL], got[GUEST_CONSOLE_TAIL];
	size_t i, n;

	for (i = 0; i < sizeof(text); i++)
		text[i] = (char)('a' + i % 23);
	ck_assert_uint_eq(guest_console_tail(NULL, got), 0);
	ck_assert_uint_eq(guest_console_tail(con, got), 0);
	put("abc");
	ck_assert_uint_eq(guest_console_tail(con, got), 3);
	ck_assert(!memcmp(got, "abc", 3));
	for (i = 0; i < sizeof(text); i += n) {
		n = min_u64(i ? 1000 : 2 * GUEST_CONSOLE_TAIL + 5, sizeof(text) - i);
		ck_assert_uint_eq(guest_console_write(con, text + i, n), n);
		printed();
	}
	ck_assert_uint_eq(guest_console_tail(con, got), sizeof(got));
	ck_assert(!memcmp(got, text + sizeof(text) - sizeof(got), sizeof(got)));
}
END_TEST

START_TEST(both_ways)
{
	put("out");
	ck_assert_str_eq(printed(), "out");
	ck_assert_int_eq(write_all(rig.in, "in", 2), 2);
	ck_assert_int_ge(loop_run_once(rig.vm->loop, 1000), 1);
	ck_assert_str_eq(typed, "in");
	/* No room: nothing comes until there is. */
	room = 0;
	ck_assert_int_eq(write_all(rig.in, "more", 4), 4);
	loop_run_once(rig.vm->loop, 20);
	ck_assert_str_eq(typed, "in");
	room = 2;
	guest_console_want_input(con);
	loop_run_once(rig.vm->loop, 1000);
	loop_run_once(rig.vm->loop, 20);
	ck_assert_str_eq(typed, "inmo");
	room = 60;
	guest_console_want_input(con);
	loop_run_once(rig.vm->loop, 1000);
	loop_run_once(rig.vm->loop, 20);
	ck_assert_str_eq(typed, "inmore");
}
END_TEST

START_TEST(panic_is_seen)
{
	static const char *const good[] = {
		WORDS,
		"[    1.234567] " WORDS ": Attempted to kill init!\n",
		"KKernel panic - not syncing",
		"KeKerKernel panic - not syncing",
		"Kernel panic - not syKernel panic - not syncing",
		"Kernel panic - not syncinKernel panic - not syncing",
		"Kernel Kernel panic - not syncing\r\n",
	};
	size_t i, cut;

	for (i = 0; i < ARRAY_SIZE(good); i++) {
		put(good[i]);
		ck_assert_msg(guest_console_panicked(con), "%s", good[i]);
		/* It stays until the guest starts anew. */
		put("and more");
		ck_assert(guest_console_panicked(con));
		guest_console_restarted(con);
		ck_assert(!guest_console_panicked(con));
		/* Cut anywhere. */
		for (cut = 0; cut <= strlen(good[i]); cut++) {
			ck_assert_uint_eq(guest_console_write(con, good[i], cut), cut);
			put(good[i] + cut);
			ck_assert(guest_console_panicked(con));
			guest_console_restarted(con);
		}
		printed();
	}
}
END_TEST

START_TEST(panic_is_not_imagined)
{
	static const char *const bad[] = {
		"kernel panic - not syncing",
		"Kernel panic - not syncin",
		"Kernel panic - not\nsyncing",
		"Kernel  panic - not syncing",
		"Kernel panic",
		"",
		"K",
		"\xffKernel panic - not syncin\xff",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		put(bad[i]);
		ck_assert_msg(!guest_console_panicked(con), "%s", bad[i]);
		/* What one life began, the next does not end. */
		guest_console_restarted(con);
	}
	put("Kernel panic - not ");
	guest_console_restarted(con);
	put("syncing");
	ck_assert(!guest_console_panicked(con));
}
END_TEST

/* A reader that takes nothing: short counts, no byte counted twice, none lost. */
START_TEST(slow_reader)
{
	static char chunk[4096], back[1 << 20];
	size_t sent = 0, got = 0, n, i;

	for (i = 0; i < sizeof(chunk); i++)
		chunk[i] = (char)('a' + i % 26);
	do {
		n = guest_console_write(con, chunk + sent % 26, sizeof(chunk) - 26);
		sent += n;
	} while (n == sizeof(chunk) - 26 && sent < sizeof(back));
	ck_assert_uint_lt(sent, sizeof(back));
	ck_assert_uint_eq(guest_console_write(con, chunk, 100), 0);
	while (got < sent) {
		size_t more = strlen(rig_output(&rig, back + got, sizeof(back) - got));

		got += more;
		if (!more)
			ck_assert_int_ge(loop_run_once(rig.vm->loop, 1000), 0);
	}
	ck_assert_uint_eq(got, sent);
	for (i = 0; i < got; i++)
		ck_assert_int_eq(back[i], 'a' + (int)(i % 26));
	ck_assert_uint_ge(drained, 1);
}
END_TEST

#define WRITERS 3
#define ROUNDS 200

static void *writer(void *opaque)
{
	unsigned int i;

	(void)opaque;
	for (i = 0; i < ROUNDS; i++) {
		guest_console_write(con, "Kernel panic", 12);
		guest_console_panicked(con);
	}
	return NULL;
}

START_TEST(writers_at_once)
{
	pthread_t threads[WRITERS];
	unsigned int i;

	for (i = 0; i < WRITERS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, writer, NULL), 0);
	for (i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	guest_console_flush(con, false);
	ck_assert_uint_eq(strlen(printed()), 12 * WRITERS * ROUNDS);
	ck_assert(!guest_console_panicked(con));
}
END_TEST

START_TEST(bad_descriptors)
{
	ck_assert_ptr_null(
		guest_console_create(rig.vm, 987654, rig.guest_out, &sink, NULL, &rig.err));
	ck_assert(rig_one_line(rig.err.msg));
}
END_TEST

START_TEST(no_descriptors)
{
	struct guest_console *none;

	none = guest_console_create(rig.vm, -1, -1, &sink, NULL, &rig.err);
	ck_assert_ptr_nonnull(none);
	ck_assert_uint_eq(guest_console_write(none, WORDS, strlen(WORDS)), strlen(WORDS));
	ck_assert(guest_console_panicked(none));
	guest_console_flush(none, false);
	guest_console_destroy(none);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("guest_console");
	TCase *tc = tcase_create("guest_console");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, both_ways);
	tcase_add_test(tc, tail);
	tcase_add_test(tc, panic_is_seen);
	tcase_add_test(tc, panic_is_not_imagined);
	tcase_add_test(tc, slow_reader);
	tcase_add_test(tc, writers_at_once);
	tcase_add_test(tc, bad_descriptors);
	tcase_add_test(tc, no_descriptors);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
