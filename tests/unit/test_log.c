// SPDX-License-Identifier: GPL-2.0-only
/*
 * Messages: prefixes, levels, one line per write, what is made harmless, the
 * limiter, and a reader that takes nothing.
 */
#include "lkvm/log.h"

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct log log_under_test;
static struct log *const out = &log_under_test;
static int fd[2];

/* A datagram socket keeps writes apart: one recv(2) is one write(2). */
static void setup(void)
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, fd), 0);
	log_init(out, fd[1], LOG_LEVEL_INFO);
}

static void teardown(void)
{
	close(fd[0]);
	close(fd[1]);
}

/* The next line, "" where there is none. */
static const char *next_line(void)
{
	static char line[8192];
	ssize_t n = recv(fd[0], line, sizeof(line) - 1, MSG_DONTWAIT);

	line[n > 0 ? n : 0] = 0;
	return line;
}

START_TEST(prefixes)
{
	atomic_store(&out->level, LOG_LEVEL_DEBUG);
	log_fatal(out, "no %s", "kernel");
	ck_assert_str_eq(next_line(), "Fatal: no kernel\n");
	log_error(out, "%d", 1);
	ck_assert_str_eq(next_line(), "Error: 1\n");
	log_warning(out, "w");
	ck_assert_str_eq(next_line(), "Warning: w\n");
	log_info(out, "i");
	ck_assert_str_eq(next_line(), "Info: i\n");
	log_debug(out, "d");
	ck_assert_str_eq(next_line(), "Debug: d\n");
	log_plain(out, "p");
	ck_assert_str_eq(next_line(), "p\n");
	log_plain(out, "%s", "");
	ck_assert_str_eq(next_line(), "\n");
	log_error(NULL, "nowhere");
	log_plain(NULL, "nowhere");
	ck_assert_str_eq(next_line(), "");
}
END_TEST

START_TEST(levels)
{
	log_debug(out, "no");
	ck_assert_str_eq(next_line(), "");
	atomic_store(&out->level, LOG_LEVEL_ERROR);
	log_warning(out, "no");
	log_info(out, "no");
	ck_assert_str_eq(next_line(), "");
	log_error(out, "yes");
	ck_assert_str_eq(next_line(), "Error: yes\n");
	log_fatal(out, "yes");
	ck_assert_str_eq(next_line(), "Fatal: yes\n");
	log_plain(out, "yes");
	ck_assert_str_eq(next_line(), "yes\n");
}
END_TEST

START_TEST(level_names)
{
	static const struct {
		const char *name;
		enum log_level level;
	} names[] = {
		{"error", LOG_LEVEL_ERROR},
		{"warning", LOG_LEVEL_WARNING},
		{"info", LOG_LEVEL_INFO},
		{"debug", LOG_LEVEL_DEBUG},
	};
	enum log_level level;
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		level = LOG_LEVEL_FATAL;
		ck_assert_int_eq(log_level_parse(names[i].name, &level, &err), 0);
		ck_assert_int_eq(level, names[i].level);
	}
	ck_assert_int_eq(log_level_parse("Error", &level, &err), -1);
	ck_assert_int_eq(log_level_parse("", &level, &err), -1);
	ck_assert_int_eq(log_level_parse("loud", &level, &err), -1);
	ck_assert_str_eq(err.msg, "not one of error, warning, info, debug");
}
END_TEST

START_TEST(line_ends)
{
	log_info(out, "one\n");
	ck_assert_str_eq(next_line(), "Info: one\n");
	atomic_store(&out->crlf, true);
	log_info(out, "two");
	ck_assert_str_eq(next_line(), "Info: two\r\n");
	log_plain(out, "three");
	ck_assert_str_eq(next_line(), "three\r\n");
	atomic_store(&out->crlf, false);
	log_info(out, "four");
	ck_assert_str_eq(next_line(), "Info: four\n");
}
END_TEST

static const struct {
	const char *text, *shown;
} harmless[] = {
	{"plain ~ text", "plain ~ text"},
	{"tab\there", "tab\there"},
	{"\033[2J\033]0;title\007", "\\x1b[2J\\x1b]0;title\\x07"},
	{"two\nlines\r", "two\\x0alines\\x0d"},
	{"\x7f\x01\x08", "\\x7f\\x01\\x08"},
	{"Grüße, 世界 🙂", "Grüße, 世界 🙂"},
	{"c1 \xc2\x9b"
	 "2J",
	 "c1 \\xc2\\x9b2J"},
	{"nbsp \xc2\xa0", "nbsp \xc2\xa0"},
	{"raw \x9b"
	 "2J",
	 "raw \\x9b2J"},
	{"latin1 \xfc", "latin1 \\xfc"},
	{"overlong \xc0\x9b", "overlong \\xc0\\x9b"},
	{"overlong \xe0\x82\x9b", "overlong \\xe0\\x82\\x9b"},
	{"surrogate \xed\xa0\x80", "surrogate \\xed\\xa0\\x80"},
	{"beyond \xf4\x90\x80\x80", "beyond \\xf4\\x90\\x80\\x80"},
	{"cut \xe4\xb8", "cut \\xe4\\xb8"},
	{"cut \xf0\x9f\x99", "cut \\xf0\\x9f\\x99"},
};

START_TEST(guest_text_is_harmless)
{
	char want[256];

	snprintf(want, sizeof(want), "Info: %s.\n", harmless[_i].shown);
	log_info(out, "%s.", harmless[_i].text);
	ck_assert_str_eq(next_line(), want);
}
END_TEST

START_TEST(long_messages)
{
	char text[5000];
	const char *line;
	size_t len;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	log_info(out, "%s", text);
	line = next_line();
	len = strlen(line);
	ck_assert_uint_lt(len, 1100);
	ck_assert_str_eq(line + len - 5, "x...\n");

	/* The most that escaping can make of it is still one line below PIPE_BUF. */
	memset(text, '\033', sizeof(text) - 1);
	log_info(out, "%s", text);
	line = next_line();
	len = strlen(line);
	ck_assert_uint_lt(len, 4096);
	ck_assert_uint_gt(len, 3900);
	ck_assert_str_eq(line + len - 8, "\\x1b...\n");

	/* No half character at the cut, wherever it falls. */
	for (size_t shift = 0; shift < 4; shift++) {
		memset(text, 'x', shift);
		for (size_t i = shift; i + 4 < sizeof(text); i += 4)
			memcpy(text + i, "🙂", 5);
		log_info(out, "%s", text);
		line = next_line();
		ck_assert_ptr_null(strchr(line, '\\'));
		ck_assert_str_eq(line + strlen(line) - 8, "🙂...\n");
	}
}
END_TEST

START_TEST(limiter)
{
	struct ratelimit rl = {0};
	uint64_t start;

	/* What is not printed uses nothing up. */
	for (int i = 0; i < 50; i++)
		log_ratelimited(out, &rl, LOG_LEVEL_DEBUG, "quiet");
	for (int i = 0; i < 1000; i++)
		log_ratelimited(out, &rl, LOG_LEVEL_WARNING, "bad descriptor %d", i);
	for (int i = 0; i < RATELIMIT_BURST; i++) {
		char want[64];

		snprintf(want, sizeof(want), "Warning: bad descriptor %d\n", i);
		ck_assert_str_eq(next_line(), want);
	}
	ck_assert_str_eq(next_line(), "");

	/* Five seconds later: turn the limiter's clock back instead of waiting. */
	start = atomic_load(&rl.start_ns);
	ck_assert_uint_gt(start, 0);
	atomic_store(&rl.start_ns, start - RATELIMIT_INTERVAL_NS);
	log_ratelimited(out, &rl, LOG_LEVEL_WARNING, "again");
	ck_assert_str_eq(next_line(), "Warning: again (990 more suppressed)\n");
	log_ratelimited(out, &rl, LOG_LEVEL_WARNING, "and");
	ck_assert_str_eq(next_line(), "Warning: and\n");
}
END_TEST

START_TEST(limiters_are_apart)
{
	struct ratelimit a = {0}, b = {0};

	for (int i = 0; i < RATELIMIT_BURST + 5; i++)
		log_ratelimited(out, &a, LOG_LEVEL_INFO, "a");
	for (int i = 0; i < RATELIMIT_BURST; i++)
		ck_assert_str_eq(next_line(), "Info: a\n");
	log_ratelimited(out, &b, LOG_LEVEL_INFO, "b");
	ck_assert_str_eq(next_line(), "Info: b\n");
}
END_TEST

#define THREADS 4
#define LINES 500

static struct ratelimit shared;

static void *log_much(void *opaque)
{
	const char *name = opaque;

	for (int i = 0; i < LINES; i++) {
		log_info(out, "%s %s %s %s", name, name, name, name);
		log_ratelimited(out, &shared, LOG_LEVEL_WARNING, "limited");
	}
	return NULL;
}

/* Through a pipe, whose bytes could mix, to a reader that keeps up. */
START_TEST(threads)
{
	static const char *const names[THREADS] = {"aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc",
						   "dddddddddd"};
	unsigned int seen[THREADS] = {0}, limited = 0, lines = 0;
	pthread_t thread[THREADS];
	char line[256];
	int p[2];
	FILE *file;

	ck_assert_int_eq(pipe(p), 0);
	ck_assert_int_ge(fcntl(p[1], F_SETPIPE_SZ, 1 << 20), 0);
	log_init(out, p[1], LOG_LEVEL_INFO);
	memset(&shared, 0, sizeof(shared));
	for (int i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, log_much, (void *)(uintptr_t)names[i]);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	close(p[1]);
	file = fdopen(p[0], "r");
	while (fgets(line, sizeof(line), file)) {
		lines++;
		if (!strcmp(line, "Warning: limited\n"))
			limited++;
		for (int i = 0; i < THREADS; i++) {
			char want[128];

			snprintf(want, sizeof(want), "Info: %s %s %s %s\n", names[i], names[i],
				 names[i], names[i]);
			seen[i] += !strcmp(line, want);
		}
	}
	fclose(file);
	for (int i = 0; i < THREADS; i++)
		ck_assert_uint_eq(seen[i], LINES);
	ck_assert_uint_eq(limited + THREADS * LINES, lines);
	ck_assert_uint_ge(limited, RATELIMIT_BURST);
	ck_assert_uint_le(limited, RATELIMIT_BURST + THREADS);
}
END_TEST

/* Nobody reads: no line holds the caller up, and the loss is told afterwards. */
START_TEST(reader_takes_nothing)
{
	char buf[65536], *text;
	uint64_t before = now_ns();
	unsigned int lost;
	ssize_t n;
	int p[2];

	ck_assert_int_eq(pipe(p), 0);
	log_init(out, p[1], LOG_LEVEL_INFO);
	for (int i = 0; i < 5000; i++)
		log_info(out, "a line that is about forty bytes long %d", i);
	ck_assert_uint_lt(now_ns() - before, 5 * NSEC_PER_SEC);
	lost = atomic_load(&out->lost);
	ck_assert_uint_gt(lost, 1000);
	n = read(p[0], buf, sizeof(buf));
	ck_assert_int_gt(n, 0);
	log_info(out, "after");
	ck_assert_uint_eq(atomic_load(&out->lost), 0);
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	for (text = buf; (n = read(p[0], text, (size_t)(buf + sizeof(buf) - 1 - text))) > 0;)
		text += n;
	*text = 0;
	text = strstr(buf, "Warning: ");
	ck_assert_ptr_nonnull(text);
	ck_assert_uint_eq((unsigned int)strtoul(text + 9, NULL, 10), lost);
	ck_assert_ptr_nonnull(strstr(text, " lines lost here: the reader of messages was too slow\n"
					   "Info: after\n"));
	close(p[0]);
	close(p[1]);
}
END_TEST

START_TEST(nowhere_to_write)
{
	log_init(out, -1, LOG_LEVEL_INFO);
	log_info(out, "x");
	log_init(out, 999, LOG_LEVEL_INFO);
	log_fatal(out, "x");
}
END_TEST

START_TEST(errno_is_kept)
{
	log_init(out, 999, LOG_LEVEL_INFO);
	errno = ENXIO;
	log_info(out, "x");
	ck_assert_int_eq(errno, ENXIO);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("log");
	TCase *tc = tcase_create("log");

	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, prefixes);
	tcase_add_test(tc, levels);
	tcase_add_test(tc, level_names);
	tcase_add_test(tc, line_ends);
	tcase_add_loop_test(tc, guest_text_is_harmless, 0, ARRAY_SIZE(harmless));
	tcase_add_test(tc, long_messages);
	tcase_add_test(tc, limiter);
	tcase_add_test(tc, limiters_are_apart);
	tcase_add_test(tc, threads);
	tcase_add_test(tc, reader_takes_nothing);
	tcase_add_test(tc, nowhere_to_write);
	tcase_add_test(tc, errno_is_kept);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
