// SPDX-License-Identifier: GPL-2.0-only
/*
 * The console over a pty: the test sits at the master and types, the console has
 * the slave as its terminal. Standard error is a pipe, or the pty where a test is
 * about that.
 */
#include "lkvm/console.h"
#include "lkvm/process.h"

#include "unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static struct loop *loop;
static struct log logger;
static int log_pipe[2], master, slave;
static struct console *con;
static struct termios before;

/* The consumer. */
static uint8_t got[4 * STREAM_BUFFER];
static size_t nr_got, room;
static unsigned int eofs, quits, drained;

static size_t on_room(void *opaque)
{
	(void)opaque;
	return room;
}

static void on_input(void *opaque, const uint8_t *buf, size_t len)
{
	(void)opaque;
	ck_assert_uint_gt(len, 0);
	ck_assert_uint_le(len, room);
	ck_assert_uint_eq(eofs, 0);
	room -= len;
	memcpy(got + nr_got, buf, len);
	nr_got += len;
}

static void on_eof(void *opaque)
{
	(void)opaque;
	eofs++;
}

static void on_drained(void *opaque)
{
	(void)opaque;
	drained++;
}

static void on_quit(void *opaque)
{
	ck_assert_ptr_eq(opaque, &quits);
	quits++;
}

static const struct stream_ops ops = {
	.room = on_room,
	.input = on_input,
	.eof = on_eof,
	.drained = on_drained,
};

static void setup(void)
{
	loop = loop_create(NULL);
	ck_assert_ptr_nonnull(loop);
	ck_assert_int_eq(pipe2(log_pipe, O_NONBLOCK), 0);
	log_init(&logger, log_pipe[1], LOG_LEVEL_ERROR);
	master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
	ck_assert_int_eq(grantpt(master), 0);
	ck_assert_int_eq(unlockpt(master), 0);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	ck_assert_int_ge(slave, 0);
	tcgetattr(slave, &before);
	room = sizeof(got);
	nr_got = 0;
	eofs = quits = drained = 0;
	con = NULL;
}

static void teardown(void)
{
	console_destroy(con);
	loop_destroy(loop);
}

static void open_console(int in, int out)
{
	struct error err = {.msg = ""};

	con = console_create(loop, &logger, in, out, &ops, NULL, NULL, on_quit, &quits, &err);
	ck_assert_msg(con, "%s", err.msg);
}

static void settle(void)
{
	while (loop_run_once(loop, 20) > 0)
		;
}

/* A pty hands bytes over in its own time: wait for what must come, then for silence. */
static bool turns_left(uint64_t until)
{
	ck_assert_int_ge(loop_run_once(loop, 5), 0);
	return now_ns() < until;
}

#define WAIT_NS (20 * NSEC_PER_SEC)

static void check_count(const unsigned int *counter, unsigned int value)
{
	uint64_t until = now_ns() + WAIT_NS;

	while (*counter < value && turns_left(until))
		;
	settle();
	ck_assert_uint_eq(*counter, value);
}

static void type_bytes(const char *keys, size_t len)
{
	while (len) {
		ssize_t n = write(master, keys, len);

		if (n > 0) {
			keys += n;
			len -= (size_t)n;
		}
		ck_assert_int_ge(loop_run_once(loop, 1), 0);
	}
	settle();
}

static void type(const char *keys)
{
	type_bytes(keys, strlen(keys));
}

static const char *read_text(int fd)
{
	static char text[8192];
	ssize_t n = read(fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = 0;
	return text;
}

static void check_length(size_t len)
{
	uint64_t until = now_ns() + WAIT_NS;

	while (nr_got < len && turns_left(until))
		;
	settle();
	ck_assert_uint_eq(nr_got, len);
}

static void check_got(const char *text, size_t len)
{
	check_length(len);
	ck_assert_mem_eq(got, text, len);
	nr_got = 0;
}

#define check_input(text) check_got(text, sizeof(text) - 1)

/* All that @fd gives until @needle is among it. */
static const char *read_until(int fd, const char *needle)
{
	static char text[8192];
	uint64_t until = now_ns() + WAIT_NS;
	size_t len = 0;

	do {
		ssize_t n = read(fd, text + len, sizeof(text) - 1 - len);

		len += n > 0 ? (size_t)n : 0;
		text[len] = 0;
	} while (!strstr(text, needle) && turns_left(until));
	return text;
}

static tcflag_t local_modes(void)
{
	struct termios now;

	ck_assert_int_eq(tcgetattr(slave, &now), 0);
	return now.c_lflag;
}

START_TEST(terminal_goes_raw_and_back)
{
	open_console(slave, slave);
	ck_assert_uint_eq(local_modes() & (ICANON | ECHO | ISIG), 0);
	/* Said once, also where only errors are printed. */
	ck_assert_str_eq(read_text(log_pipe[0]),
			 "Ctrl-a x quits, Ctrl-a h helps, Ctrl-a a sends Ctrl-a\n");
	type("ls\r\003\032\n");
	check_input("ls\r\003\032\n"); /* nothing is translated, echoed or a signal */
	ck_assert_str_eq(read_text(master), "");
	ck_assert_uint_eq(console_write(con, "out\n", 4), 4);
	ck_assert_str_eq(read_until(master, "\n"), "out\n");
	ck_assert(console_flush(con, 0));
	console_destroy(con);
	con = NULL;
	ck_assert_uint_eq(local_modes(), before.c_lflag);
	console_destroy(NULL);
	ck_assert_str_eq(read_text(log_pipe[0]), "");
}
END_TEST

START_TEST(keys)
{
	open_console(slave, slave);
	type("\001a");
	check_input("\001");
	type("\001A\001a");
	check_input("\001\001");
	type("\001b\001\001");
	check_input("\001b\001\001");
	ck_assert_uint_eq(quits, 0);
	type("\001x");
	check_input("");
	check_count(&quits, 1);
	type("x\001");
	check_input("x");
	type("X");
	check_input("");
	check_count(&quits, 2);
	/* After that all goes on, if the owner lets it. */
	type("y");
	check_input("y");
}
END_TEST

/* The same bytes in every cut give the same. */
START_TEST(keys_across_reads)
{
	static const char typed[] = "p\001aq\001z\001\001r\001h\001";
	static const char wanted[] = "p\001q\001z\001\001r";
	size_t len = sizeof(typed) - 1;

	open_console(slave, slave);
	for (size_t cut = 0; cut <= len; cut++) {
		type_bytes(typed, cut);
		type_bytes(typed + cut, len - cut);
		check_input(wanted);
		type("a");
		check_input("\001");
	}
	for (size_t i = 0; i < len; i++)
		type_bytes(typed + i, 1);
	check_input(wanted);
}
END_TEST

START_TEST(help_on_stderr_of_a_terminal)
{
	const char *text;

	log_init(&logger, slave, LOG_LEVEL_INFO);
	open_console(slave, slave);
	ck_assert(atomic_load(&logger.crlf));
	ck_assert_str_eq(read_until(master, "\n"),
			 "Ctrl-a x quits, Ctrl-a h helps, Ctrl-a a sends Ctrl-a\r\n");
	log_info(&logger, "while raw");
	ck_assert_str_eq(read_until(master, "\n"), "Info: while raw\r\n");
	type("\001h");
	text = read_until(master, "sends both\r\n");
	ck_assert_ptr_nonnull(strstr(text, "\r\nCtrl-a x  end the virtual machine and lkvm\r\n"));
	ck_assert_ptr_nonnull(strstr(text, "\r\nCtrl-a h  show these keys\r\n"));
	ck_assert_ptr_nonnull(strstr(text, "\r\nCtrl-a a  send Ctrl-a to the guest\r\n"));
	check_input("");
	console_destroy(con);
	con = NULL;
	ck_assert(!atomic_load(&logger.crlf));
}
END_TEST

/* lkvm run 2> log: the keys are shown to the person, and the file gets no CR. */
START_TEST(help_with_stderr_elsewhere)
{
	open_console(slave, slave);
	ck_assert(!atomic_load(&logger.crlf));
	read_text(log_pipe[0]);
	type("\001?");
	ck_assert_ptr_nonnull(
		strstr(read_until(master, "sends both\r\n"), "\r\nCtrl-a h  show these keys\r\n"));
	ck_assert_str_eq(read_text(log_pipe[0]), "");
}
END_TEST

/* lkvm run > file: help must not end up among the guest's output. */
START_TEST(help_with_output_elsewhere)
{
	int out[2];

	ck_assert_int_eq(pipe2(out, O_NONBLOCK), 0);
	open_console(slave, out[1]);
	read_text(log_pipe[0]);
	type("\001h");
	ck_assert_str_eq(read_text(out[0]), "");
	ck_assert_ptr_nonnull(
		strstr(read_until(log_pipe[0], "sends both\n"), "\nCtrl-a h  show these keys\n"));
}
END_TEST

/* A guest that reads nothing: keys wait, and Ctrl-a x works all the same. */
START_TEST(quit_without_room)
{
	room = 0;
	open_console(slave, slave);
	for (int i = 0; i < 100; i++)
		type("help! ");
	ck_assert_uint_eq(nr_got, 0);
	type("\001x");
	check_count(&quits, 1);
	room = 7;
	console_want_input(con);
	settle();
	check_input("help! h");
	room = sizeof(got);
	console_want_input(con);
	check_length(600 - 7);
}
END_TEST

/* Ctrl-a k is two bytes for a consumer with room for one at a time. */
START_TEST(expansion_respects_room)
{
	char all[64] = "";
	size_t n = 0;

	room = 0;
	open_console(slave, slave);
	type("a\001kb\001\001c\001ad");
	while (n < 9) {
		room = 1;
		console_want_input(con);
		check_length(1);
		all[n++] = (char)got[0];
		nr_got = 0;
	}
	ck_assert_str_eq(all, "a\001kb\001\001c\001d");
	room = 1;
	console_want_input(con);
	settle();
	ck_assert_uint_eq(nr_got, 0);
}
END_TEST

/* A big paste at a guest that does not read is held back by the terminal, not lost. */
START_TEST(paste_is_held_back)
{
	static char text[2 * STREAM_BUFFER];
	size_t sent = 0, idle = 0, len = 0;

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)('A' + i % 26 + 32 * (i / 26 % 2));
	/* Sends both, so the queue fills with two bytes for one read. */
	for (size_t i = 100; i + 1 < sizeof(text); i += 200) {
		text[i] = '\001';
		text[i + 1] = '\001';
	}
	room = 0;
	open_console(slave, slave);
	while (sent < sizeof(text) && idle < 50) {
		ssize_t n = write(master, text + sent, sizeof(text) - sent);

		idle = n > 0 ? 0 : idle + 1;
		if (n > 0)
			sent += (size_t)n;
		ck_assert_int_ge(loop_run_once(loop, 1), 0);
	}
	ck_assert_uint_lt(sent, sizeof(text));
	ck_assert_uint_gt(sent, STREAM_BUFFER / 2);
	while (len < sizeof(text)) {
		room = 1000;
		console_want_input(con);
		loop_run_once(loop, 1);
		if (sent < sizeof(text)) {
			ssize_t n = write(master, text + sent, sizeof(text) - sent);

			if (n > 0)
				sent += (size_t)n;
		}
		len = nr_got;
	}
	settle();
	check_got(text, sizeof(text));
}
END_TEST

START_TEST(hang_up)
{
	room = 2;
	open_console(slave, slave);
	type("typed");
	check_length(2);
	close(master);
	settle();
	/* What was typed comes first. */
	ck_assert_uint_eq(nr_got, 2);
	ck_assert_uint_eq(eofs, 0);
	room = sizeof(got);
	console_want_input(con);
	settle();
	check_input("typed");
	check_count(&eofs, 1);
	ck_assert_int_eq(loop_run_once(loop, 50), 0);
	console_want_input(con);
	settle();
	check_count(&eofs, 1);
}
END_TEST

START_TEST(pipe_passes_unchanged)
{
	int in[2];

	ck_assert_int_eq(pipe(in), 0);
	open_console(in[0], slave);
	ck_assert_uint_eq(local_modes(), before.c_lflag);
	ck_assert_str_eq(read_text(log_pipe[0]), "");
	room = 3;
	ck_assert_int_eq(write(in[1], "\001x\001h\003", 5), 5);
	settle();
	ck_assert_uint_eq(nr_got, 3);
	room = 10;
	console_want_input(con);
	settle();
	check_input("\001x\001h\003");
	ck_assert_uint_eq(quits, 0);
	close(in[1]);
	settle();
	check_count(&eofs, 1);
}
END_TEST

START_TEST(output_only_consumer)
{
	static const struct stream_ops none = {0};
	struct error err;

	/* A terminal is still read for its keys; a pipe is not read at all. */
	con = console_create(loop, &logger, slave, slave, &none, NULL, NULL, on_quit, &quits, &err);
	ck_assert_ptr_nonnull(con);
	type("lost\001x");
	check_count(&quits, 1);
	console_destroy(con);
	con = console_create(loop, &logger, log_pipe[0], -1, &none, NULL, NULL, NULL, NULL, &err);
	ck_assert_ptr_nonnull(con);
	settle();
}
END_TEST

START_TEST(drained_passes)
{
	char text[4096] = "";
	int out[2], in[2];

	ck_assert_int_eq(pipe(out), 0);
	ck_assert_int_eq(pipe(in), 0);
	open_console(in[0], out[1]);
	while (console_write(con, text, sizeof(text)) == sizeof(text))
		;
	settle();
	ck_assert(!console_flush(con, 1));
	ck_assert_uint_eq(drained, 0);
	while (!drained) {
		ck_assert_int_gt(read(out[0], text, sizeof(text)), 0);
		loop_run_once(loop, 0);
	}
	ck_assert_uint_eq(drained, 1);
}
END_TEST

START_TEST(second_terminal_refused)
{
	struct error err;
	struct console *second;

	open_console(slave, slave);
	second = console_create(loop, &logger, slave, slave, &ops, NULL, NULL, on_quit, &quits,
				&err);
	ck_assert_ptr_null(second);
	ck_assert_str_eq(err.msg, "another terminal is in use by this process already");
	/* The first is not disturbed. */
	ck_assert_uint_eq(local_modes() & ICANON, 0);
	type("k");
	check_input("k");
	second = console_create(loop, &logger, 250, -1, &ops, NULL, NULL, on_quit, &quits, &err);
	ck_assert_ptr_null(second);
	settle();
}
END_TEST

/* "lkvm run &", then "fg". */

static int background_job(int ready, int go)
{
	uint8_t c;

	open_console(slave, slave);
	settle();
	if (nr_got || eofs || !(local_modes() & ICANON))
		return 1;
	if (write(ready, "x", 1) != 1 || read(go, &c, 1) != 1)
		return 2;
	for (int i = 0; i < 50 && !quits; i++)
		loop_run_once(loop, 100);
	if (local_modes() & ICANON)
		return 3;
	if (nr_got != 2 || memcmp(got, "hi", 2) || quits != 1)
		return 4;
	console_destroy(con);
	return local_modes() == before.c_lflag ? 42 : 5;
}

START_TEST(job_control)
{
	pid_t leader = fork();
	int status;

	if (!leader) {
		int ready[2], go[2];
		struct termios now;
		pid_t job;
		char c;

		setsid();
		ioctl(slave, TIOCSCTTY, 0);
		signal(SIGTTOU, SIG_IGN);
		if (pipe(ready) || pipe(go))
			_exit(10);
		job = fork();
		if (!job) {
			setpgid(0, 0);
			signal(SIGTTOU, SIG_DFL);
			_exit(background_job(ready[1], go[0]));
		}
		setpgid(job, job);
		close(ready[1]);
		if (read(ready[0], &c, 1) == 1) {
			tcsetpgrp(slave, job);
			if (write(go[1], "x", 1) != 1)
				_exit(11);
			/* Typed only when it is raw, or the line discipline keeps it. */
			do {
				usleep(20000);
				tcgetattr(slave, &now);
			} while ((now.c_lflag & ICANON) && waitpid(job, &status, WNOHANG) == 0);
			if (write(master, "hi\001x", 4) != 4)
				_exit(12);
		}
		if (waitpid(job, &status, WUNTRACED) != job)
			_exit(13);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 14);
	}
	ck_assert_int_eq(waitpid(leader, &status, 0), leader);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 42);
}
END_TEST

/* An error path that only calls exit(3) leaves the terminal as it was. */
START_TEST(restored_by_exit)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		open_console(slave, slave);
		exit(local_modes() & ICANON ? 1 : 9);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 9);
	ck_assert_uint_eq(local_modes(), before.c_lflag);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("console");
	TCase *tc = tcase_create("console");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, terminal_goes_raw_and_back);
	tcase_add_test(tc, keys);
	tcase_add_test(tc, keys_across_reads);
	tcase_add_test(tc, help_on_stderr_of_a_terminal);
	tcase_add_test(tc, help_with_stderr_elsewhere);
	tcase_add_test(tc, help_with_output_elsewhere);
	tcase_add_test(tc, quit_without_room);
	tcase_add_test(tc, expansion_respects_room);
	tcase_add_test(tc, paste_is_held_back);
	tcase_add_test(tc, hang_up);
	tcase_add_test(tc, pipe_passes_unchanged);
	tcase_add_test(tc, output_only_consumer);
	tcase_add_test(tc, drained_passes);
	tcase_add_test(tc, second_terminal_refused);
	tcase_add_test(tc, job_control);
	tcase_add_test(tc, restored_by_exit);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
