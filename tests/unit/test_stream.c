// SPDX-License-Identifier: GPL-2.0-only
/*
 * Streams over everything a shell may connect: pipes, files, sockets, ptys,
 * devices; slow readers, ends of file, threads, and what must not be left behind
 * on inherited descriptors.
 */
#include "lkvm/stream.h"

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

/* A consumer that keeps what it was given. */
struct sink {
	size_t room; /* SIZE_MAX: any */
	size_t largest;
	uint8_t *data;
	size_t len, size;
	unsigned int eofs, drained;
	struct stream *stream;
	void (*on_drained)(struct sink *);
};

static struct loop *loop;
static struct log logger;
static int log_pipe[2];
static struct sink sink;
static int descriptors_before;

static size_t sink_room(void *opaque)
{
	return ((struct sink *)opaque)->room;
}

static void sink_input(void *opaque, const uint8_t *buf, size_t len)
{
	struct sink *s = opaque;

	ck_assert_uint_gt(len, 0);
	ck_assert_uint_le(len, s->room);
	ck_assert_uint_eq(s->eofs, 0);
	if (s->room != SIZE_MAX)
		s->room -= len;
	if (len > s->largest)
		s->largest = len;
	if (s->len + len > s->size) {
		s->size = 2 * (s->len + len);
		s->data = realloc(s->data, s->size);
	}
	memcpy(s->data + s->len, buf, len);
	s->len += len;
}

static void sink_eof(void *opaque)
{
	((struct sink *)opaque)->eofs++;
}

static void sink_drained(void *opaque)
{
	struct sink *s = opaque;

	s->drained++;
	if (s->on_drained)
		s->on_drained(s);
}

static const struct stream_ops ops = {
	.room = sink_room,
	.input = sink_input,
	.eof = sink_eof,
	.drained = sink_drained,
};

static int count_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void setup(void)
{
	signal(SIGPIPE, SIG_IGN);
	loop = loop_create(NULL);
	ck_assert_ptr_nonnull(loop);
	ck_assert_int_eq(pipe2(log_pipe, O_NONBLOCK), 0);
	log_init(&logger, log_pipe[1], LOG_LEVEL_INFO);
	memset(&sink, 0, sizeof(sink));
	sink.room = SIZE_MAX;
	descriptors_before = count_descriptors();
}

static void teardown(void)
{
	stream_destroy(sink.stream);
	free(sink.data);
	loop_destroy(loop);
	close(log_pipe[0]);
	close(log_pipe[1]);
}

static struct stream *open_stream(int in, int out)
{
	struct error err = {.msg = ""};

	sink.stream = stream_create(loop, &logger, in, out, &ops, &sink, &err);
	ck_assert_msg(sink.stream, "%s", err.msg);
	return sink.stream;
}

static void close_stream(void)
{
	stream_destroy(sink.stream);
	sink.stream = NULL;
}

/* Turn until nothing is due for a while. */
static void settle(void)
{
	while (loop_run_once(loop, 20) > 0)
		;
}

static void turn_until(const unsigned int *counter, unsigned int value)
{
	uint64_t until = now_ns() + 20 * NSEC_PER_SEC;

	while (*counter < value) {
		ck_assert_int_ge(loop_run_once(loop, 100), 0);
		ck_assert_uint_lt(now_ns(), until);
	}
}

/* An ended or idle stream lets the loop sleep. */
static void check_quiet(void)
{
	struct rusage before, after;

	settle();
	getrusage(RUSAGE_THREAD, &before);
	ck_assert_int_eq(loop_run_once(loop, 100), 0);
	getrusage(RUSAGE_THREAD, &after);
	ck_assert_int_le(after.ru_nvcsw - before.ru_nvcsw, 10);
}

static const char *log_text(void)
{
	static char text[4096];
	ssize_t n = read(log_pipe[0], text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = 0;
	return text;
}

/* A pty hands bytes over in its own time: wait for what must come, then for silence. */
static void check_length(size_t len)
{
	uint64_t until = now_ns() + 20 * NSEC_PER_SEC;

	while (sink.len < len && now_ns() < until)
		ck_assert_int_ge(loop_run_once(loop, 5), 0);
	settle();
	ck_assert_uint_eq(sink.len, len);
}

static void check_input(const char *text)
{
	check_length(strlen(text));
	ck_assert_mem_eq(sink.data, text, sink.len);
}

static uint8_t pattern(size_t i)
{
	return (uint8_t)(i ^ (i >> 8) * 7 ^ (i >> 16) * 13);
}

static void fill_pattern(uint8_t *buf, size_t at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = pattern(at + i);
}

static void check_pattern(const uint8_t *buf, size_t at, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (buf[i] != pattern(at + i))
			ck_abort_msg("byte %zu is wrong", at + i);
	}
}

static void open_pty(int *master, int *slave)
{
	struct termios modes;

	*master = posix_openpt(O_RDWR | O_NOCTTY);
	ck_assert_int_ge(*master, 0);
	ck_assert_int_eq(grantpt(*master), 0);
	ck_assert_int_eq(unlockpt(*master), 0);
	*slave = open(ptsname(*master), O_RDWR | O_NOCTTY);
	ck_assert_int_ge(*slave, 0);
	tcgetattr(*slave, &modes);
	cfmakeraw(&modes);
	tcsetattr(*slave, TCSANOW, &modes);
}

/* Pairs that input can come through: [0] is read. */
enum kind { PIPE, SOCKET, SOCKET_REVERSED, PTY_SLAVE, PTY_MASTER, NR_KINDS };

static void make_pair(enum kind kind, int fd[2])
{
	switch (kind) {
	case PIPE:
		ck_assert_int_eq(pipe(fd), 0);
		break;
	case SOCKET:
	case SOCKET_REVERSED:
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
		break;
	case PTY_SLAVE:
		open_pty(&fd[1], &fd[0]);
		break;
	default:
		open_pty(&fd[0], &fd[1]);
		break;
	}
}

/* Input. */

START_TEST(input_arrives)
{
	int fd[2], flags;

	make_pair((enum kind)_i, fd);
	flags = fcntl(fd[0], F_GETFL);
	open_stream(fd[0], -1);
	settle();
	ck_assert_uint_eq(sink.len, 0);
	ck_assert_int_eq(write(fd[1], "hello", 5), 5);
	settle();
	ck_assert_int_eq(write(fd[1], " world", 6), 6);
	settle();
	check_input("hello world");
	ck_assert_uint_eq(sink.eofs, 0);
	check_quiet();
	/* What was inherited is not made non-blocking; a pty's master cannot be helped. */
	if (_i != PTY_MASTER)
		ck_assert_int_eq(fcntl(fd[0], F_GETFL), flags);
	close_stream();
	ck_assert_int_eq(fcntl(fd[0], F_GETFL), flags);
	close(fd[0]);
	close(fd[1]);
	ck_assert_int_eq(count_descriptors(), descriptors_before);
}
END_TEST

/* The other side closes: what it sent arrives, then the end, once, then silence. */
START_TEST(input_ends)
{
	int fd[2];

	make_pair((enum kind)_i, fd);
	open_stream(fd[0], -1);
	settle();
	ck_assert_int_eq(write(fd[1], "last words", 10), 10);
	close(fd[1]);
	settle();
	if (_i == PTY_MASTER) {
		/* Somebody may open the pty again. */
		check_input("last words");
		ck_assert_uint_eq(sink.eofs, 0);
		check_quiet();
		fd[1] = open(ptsname(fd[0]), O_RDWR | O_NOCTTY);
		ck_assert_int_eq(write(fd[1], "!", 1), 1);
		settle();
		check_input("last words!");
		close(fd[1]);
	} else {
		if (_i != PTY_SLAVE) /* whose bytes a hang-up throws away */
			check_input("last words");
		ck_assert_uint_eq(sink.eofs, 1);
	}
	check_quiet();
	stream_want_input(sink.stream);
	check_quiet();
	ck_assert_uint_le(sink.eofs, 1);
	close(fd[0]);
}
END_TEST

/* "echo text | lkvm run": the writer is gone before the stream is made. */
START_TEST(input_of_a_finished_writer)
{
	int fd[2];

	make_pair((enum kind)_i, fd);
	ck_assert_int_eq(write(fd[1], "text", 4), 4);
	close(fd[1]);
	open_stream(fd[0], -1);
	settle();
	check_input("text");
	ck_assert_uint_eq(sink.eofs, 1);
	check_quiet();
	close(fd[0]);
}
END_TEST

/* Never more than there is room for, nothing lost, and no turning while there is none. */
START_TEST(room_is_respected)
{
	char text[1000];
	int fd[2];
	size_t given = 0;

	make_pair((enum kind)_i, fd);
	fill_pattern((uint8_t *)text, 0, sizeof(text));
	sink.room = 0;
	open_stream(fd[0], -1);
	ck_assert_int_eq(write(fd[1], text, sizeof(text)), sizeof(text));
	if (_i != PTY_SLAVE && _i != PTY_MASTER)
		close(fd[1]); /* with EPOLLHUP pending all the while */
	check_quiet();
	ck_assert_uint_eq(sink.len, 0);
	for (size_t step = 1; given < sizeof(text); step += 3) {
		sink.room = step;
		stream_want_input(sink.stream);
		given = min_u64(given + step, sizeof(text));
		check_length(given);
		ck_assert_uint_eq(sink.room, given == sizeof(text) ? sink.room : 0);
	}
	check_pattern(sink.data, 0, sizeof(text));
	sink.room = 1;
	stream_want_input(sink.stream);
	settle();
	ck_assert_uint_eq(sink.eofs, _i != PTY_SLAVE && _i != PTY_MASTER);
	check_quiet();
}
END_TEST

START_TEST(file_as_input)
{
	uint8_t *text = malloc(1 << 20);
	FILE *file = tmpfile();

	fill_pattern(text, 0, 1 << 20);
	ck_assert_uint_eq(fwrite(text, 1, 1 << 20, file), 1 << 20);
	rewind(file);
	sink.room = 100000;
	open_stream(fileno(file), -1);
	check_quiet();
	ck_assert_uint_eq(sink.len, 100000);
	ck_assert_uint_eq(sink.eofs, 0);
	sink.room = SIZE_MAX;
	stream_want_input(sink.stream);
	turn_until(&sink.eofs, 1);
	ck_assert_uint_eq(sink.len, 1 << 20);
	check_pattern(sink.data, 0, 1 << 20);
	check_quiet();
	ck_assert_uint_eq(sink.eofs, 1);
	fclose(file);
	free(text);
}
END_TEST

START_TEST(null_device)
{
	int fd = open("/dev/null", O_RDWR);

	open_stream(fd, fd);
	settle();
	ck_assert_uint_eq(sink.eofs, 1);
	ck_assert_uint_eq(stream_write(sink.stream, "x", 1), 1);
	check_quiet();
	close(fd);
}
END_TEST

/* A source without end leaves the loop's other customers their turn. */
START_TEST(zero_device)
{
	int fd = open("/dev/zero", O_RDONLY);

	sink.room = 1 << 20;
	open_stream(fd, -1);
	for (int i = 0; i < 1000 && sink.room; i++) {
		size_t had = sink.len;

		ck_assert_int_ge(loop_run_once(loop, 0), 0);
		ck_assert_uint_le(sink.len - had, 65536);
	}
	ck_assert_uint_eq(sink.len, 1 << 20);
	check_quiet();
	close(fd);
}
END_TEST

START_TEST(terminal_with_vmin_0)
{
	struct termios modes;
	int master, slave;

	open_pty(&master, &slave);
	tcgetattr(slave, &modes);
	modes.c_cc[VMIN] = 0;
	tcsetattr(slave, TCSANOW, &modes);
	open_stream(slave, -1);
	check_quiet();
	ck_assert_uint_eq(sink.eofs, 0);
	ck_assert_int_eq(write(master, "a", 1), 1);
	settle();
	check_input("a");
	ck_assert_uint_eq(sink.eofs, 0);
	close(master);
	settle();
	ck_assert_uint_eq(sink.eofs, 1);
	check_quiet();
	close(slave);
}
END_TEST

START_TEST(socket_reset)
{
	int fd[2];
	char c;

	make_pair(SOCKET, fd);
	ck_assert_int_eq(write(fd[0], "unread", 6), 6);
	open_stream(fd[0], fd[0]);
	close(fd[1]); /* with bytes unread: the kernel says ECONNRESET */
	settle();
	ck_assert_uint_eq(sink.eofs, 1);
	ck_assert_uint_eq(stream_write(sink.stream, "x", 1), 1);
	check_quiet();
	ck_assert_ptr_nonnull(strstr(log_text(), "output is dropped from now on: "));
	ck_assert_int_le(read(fd[0], &c, 1), 0);
	close(fd[0]);
}
END_TEST

/* Output. */

START_TEST(output_arrives)
{
	char buf[16] = "";
	int fd[2];

	make_pair((enum kind)_i, fd);
	open_stream(-1, fd[_i == PIPE]);
	ck_assert_uint_eq(stream_write(sink.stream, "hello", 5), 5);
	ck_assert_uint_eq(stream_write(sink.stream, "", 0), 0);
	ck_assert_int_eq(read(fd[_i != PIPE], buf, sizeof(buf)), 5);
	ck_assert_str_eq(buf, "hello");
	ck_assert(stream_flush(sink.stream, 0));
	check_quiet();
}
END_TEST

/* A reader that stops: bounded, short counts, drained, every byte in order. */
START_TEST(slow_reader)
{
	enum { TOTAL = 1 << 20 };
	uint8_t *text = malloc(TOTAL), *got = malloc(TOTAL);
	size_t sent = 0, received = 0;
	unsigned int stalls = 0;
	int fd[2], reader;

	make_pair((enum kind)_i, fd);
	reader = fd[_i != PIPE];
	fcntl(reader, F_SETFL, O_NONBLOCK);
	fill_pattern(text, 0, TOTAL);
	open_stream(-1, fd[_i == PIPE]);
	while (received < TOTAL) {
		uint64_t before = now_ns();
		size_t n = min_u64(TOTAL - sent, 5000);

		while (n && (n = stream_write(sink.stream, text + sent,
					      min_u64(TOTAL - sent, 5000))) > 0)
			sent += n;
		ck_assert_uint_lt(now_ns() - before, 5 * NSEC_PER_SEC);
		if (sent < TOTAL) {
			/* Full: nothing more is taken, and the loop rests. */
			unsigned int drained = sink.drained;

			stalls++;
			ck_assert_uint_eq(stream_write(sink.stream, text + sent, 1), 0);
			if (stalls == 1)
				check_quiet();
			ck_assert(!stream_flush(sink.stream, 1));
			ck_assert_uint_eq(sink.drained, drained);
			while (sink.drained == drained) {
				ssize_t r = read(reader, got + received,
						 min_u64(3000, TOTAL - received));

				if (r > 0)
					received += (size_t)r;
				ck_assert_int_ge(loop_run_once(loop, r > 0 ? 0 : 1), 0);
			}
			ck_assert_uint_eq(sink.drained, drained + 1);
		} else {
			ssize_t r = read(reader, got + received, TOTAL - received);

			if (r > 0)
				received += (size_t)r;
			ck_assert_int_ge(loop_run_once(loop, r > 0 ? 0 : 1), 0);
		}
	}
	ck_assert_uint_gt(stalls, 2);
	check_pattern(got, 0, TOTAL);
	ck_assert(stream_flush(sink.stream, 0));
	check_quiet();
	free(text);
	free(got);
}
END_TEST

static uint8_t more[3 * STREAM_BUFFER];
static size_t more_sent;

static void send_more(struct sink *s)
{
	more_sent += stream_write(s->stream, more + more_sent, sizeof(more) - more_sent);
}

static void *read_all_slowly(void *opaque)
{
	static uint8_t got[sizeof(more)];
	size_t len = 0;

	while (len < sizeof(got)) {
		ssize_t n = read(*(int *)opaque, got + len, min_u64(7000, sizeof(got) - len));

		if (n <= 0)
			break;
		len += (size_t)n;
		usleep(500);
	}
	return len == sizeof(got) ? got : NULL;
}

/* Flushing waits for what the consumer sends from drained as well. */
START_TEST(flush_waits)
{
	pthread_t thread;
	void *got;
	int fd[2];

	make_pair(PIPE, fd);
	fill_pattern(more, 0, sizeof(more));
	open_stream(-1, fd[1]);
	sink.on_drained = send_more;
	send_more(&sink);
	ck_assert_uint_lt(more_sent, sizeof(more));
	ck_assert(!stream_flush(sink.stream, 20));
	ck_assert_int_eq(pthread_create(&thread, NULL, read_all_slowly, &fd[0]), 0);
	ck_assert(stream_flush(sink.stream, 20000));
	ck_assert_uint_eq(more_sent, sizeof(more));
	pthread_join(thread, &got);
	ck_assert_ptr_nonnull(got);
	check_pattern(got, 0, sizeof(more));
	check_quiet();
}
END_TEST

START_TEST(reader_goes_away)
{
	char text[4096] = "";
	int fd[2];

	make_pair((enum kind)_i, fd);
	open_stream(-1, fd[_i == PIPE]);
	while (stream_write(sink.stream, text, sizeof(text)) == sizeof(text))
		;
	settle();
	close(fd[_i != PIPE]);
	settle();
	/* From now on everything is taken, and dropped; the refused writer is told. */
	ck_assert_uint_eq(sink.drained, 1);
	ck_assert_uint_eq(stream_write(sink.stream, text, sizeof(text)), sizeof(text));
	ck_assert(stream_flush(sink.stream, 0));
	check_quiet();
	for (int i = 0; i < 1000; i++)
		ck_assert_uint_eq(stream_write(sink.stream, text, sizeof(text)), sizeof(text));
	ck_assert_uint_eq(sink.drained, 1);
	const char *said = log_text();

	ck_assert_ptr_eq(strstr(said, "Warning: console output is dropped from now on: "), said);
	ck_assert_ptr_eq(strchr(said, '\n'), said + strlen(said) - 1);
}
END_TEST

/* Writing finds out itself, and from whatever thread it runs on. */
START_TEST(reader_gone_before)
{
	int fd[2];

	make_pair((enum kind)_i, fd);
	open_stream(-1, fd[_i == PIPE]);
	close(fd[_i != PIPE]);
	for (int i = 0; i < 10; i++)
		ck_assert_uint_eq(stream_write(sink.stream, "x", 1), 1);
	check_quiet();
	ck_assert_uint_eq(sink.drained, 0);
	ck_assert_ptr_nonnull(strstr(log_text(), "Warning: console output is dropped from now on"));
	ck_assert_str_eq(log_text(), "");
}
END_TEST

START_TEST(full_device)
{
	int fd = open("/dev/full", O_WRONLY);

	open_stream(-1, fd);
	ck_assert_uint_eq(stream_write(sink.stream, "x", 1), 1);
	ck_assert_uint_eq(stream_write(sink.stream, "x", 1), 1);
	check_quiet();
	ck_assert_str_eq(log_text(),
			 "Warning: console output is dropped from now on: No space left "
			 "on device\n");
	close(fd);
}
END_TEST

START_TEST(no_descriptors)
{
	open_stream(-1, -1);
	ck_assert_uint_eq(stream_write(sink.stream, "gone", 4), 4);
	ck_assert(stream_flush(sink.stream, 0));
	stream_want_input(sink.stream);
	check_quiet();
	ck_assert_uint_eq(sink.eofs, 0);
	close_stream();
	stream_destroy(NULL);
	ck_assert_int_eq(count_descriptors(), descriptors_before);
}
END_TEST

START_TEST(file_as_output)
{
	uint8_t *text = malloc(1 << 20);
	FILE *file = tmpfile();

	fill_pattern(text, 0, 1 << 20);
	open_stream(-1, fileno(file));
	ck_assert_uint_eq(stream_write(sink.stream, text, 1 << 20), 1 << 20);
	ck_assert(stream_flush(sink.stream, 0));
	memset(text, 0, 1 << 20);
	ck_assert_int_eq(pread(fileno(file), text, 1 << 20, 0), 1 << 20);
	check_pattern(text, 0, 1 << 20);
	fclose(file);
	free(text);
}
END_TEST

/* Both directions. */

START_TEST(one_descriptor_for_both)
{
	char text[4096], buf[4096];
	int fd[2], flags;

	make_pair((enum kind)_i, fd);
	flags = fcntl(fd[0], F_GETFL);
	open_stream(fd[0], fd[0]);
	memset(text, 'o', sizeof(text));
	/* Full one way, and still open the other way. */
	while (stream_write(sink.stream, text, sizeof(text)) == sizeof(text))
		;
	settle();
	ck_assert_int_eq(write(fd[1], "input", 5), 5);
	settle();
	check_input("input");
	fcntl(fd[1], F_SETFL, O_NONBLOCK);
	while (!sink.drained) {
		ck_assert_int_ne(read(fd[1], buf, sizeof(buf)), 0);
		ck_assert_int_ge(loop_run_once(loop, 1), 0);
	}
	ck_assert_int_eq(write(fd[1], "more", 4), 4);
	settle();
	check_input("inputmore");
	close_stream();
	ck_assert_int_eq(fcntl(fd[0], F_GETFL), flags);
	close(fd[0]);
	close(fd[1]);
	ck_assert_int_eq(count_descriptors(), descriptors_before);
}
END_TEST

START_TEST(pipe_directions_are_kept)
{
	int fd[2];
	char c;

	make_pair(PIPE, fd);
	/* A stream over the read end must not count as a writer, nor the other way. */
	open_stream(fd[0], -1);
	close(fd[1]);
	settle();
	ck_assert_uint_eq(sink.eofs, 1);
	close_stream();
	close(fd[0]);

	make_pair(PIPE, fd);
	open_stream(-1, fd[1]);
	close(fd[0]);
	ck_assert_uint_eq(stream_write(sink.stream, "x", 1), 1);
	ck_assert_ptr_nonnull(strstr(log_text(), "Broken pipe"));
	close_stream();
	close(fd[1]);

	/* Destroyed: the reader sees the end. */
	make_pair(PIPE, fd);
	open_stream(-1, fd[1]);
	close_stream();
	close(fd[1]);
	ck_assert_int_eq(read(fd[0], &c, 1), 0);
	close(fd[0]);
	ck_assert_int_eq(count_descriptors(), descriptors_before);
}
END_TEST

/* What cannot be used is refused at once, with the reason. */
START_TEST(refused)
{
	static const struct stream_ops in_only = {.input = sink_input};
	struct error err;
	int fd[2], dir;

	make_pair(PIPE, fd);
	dir = open("/", O_RDONLY | O_DIRECTORY);
	ck_assert_ptr_null(stream_create(loop, &logger, fd[1], -1, &in_only, &sink, &err));
	ck_assert_ptr_nonnull(strstr(err.msg, "is not open for reading"));
	ck_assert_ptr_null(stream_create(loop, &logger, -1, fd[0], &ops, &sink, &err));
	ck_assert_ptr_nonnull(strstr(err.msg, "is not open for writing"));
	ck_assert_ptr_null(stream_create(loop, &logger, dir, -1, &ops, &sink, &err));
	ck_assert_ptr_nonnull(strstr(err.msg, "is a directory"));
	ck_assert_ptr_null(stream_create(loop, &logger, 200, -1, &ops, &sink, &err));
	ck_assert_str_eq(err.msg, "cannot use descriptor 200: Bad file descriptor");
	close(dir);
	close(fd[0]);
	close(fd[1]);
	ck_assert_int_eq(count_descriptors(), descriptors_before);
	settle();
}
END_TEST

static const struct stream_ops no_input = {.room = sink_room, .eof = sink_eof};

START_TEST(input_not_wanted)
{
	int fd[2];

	make_pair(PIPE, fd);
	sink.stream = stream_create(loop, &logger, fd[0], -1, &no_input, &sink, NULL);
	ck_assert_ptr_nonnull(sink.stream);
	ck_assert_int_eq(write(fd[1], "x", 1), 1);
	check_quiet();
	stream_want_input(sink.stream);
	check_quiet();
}
END_TEST

START_TEST(nonblocking_already)
{
	int fd[2];

	make_pair((enum kind)_i, fd);
	fcntl(fd[0], F_SETFL, fcntl(fd[0], F_GETFL) | O_NONBLOCK);
	open_stream(fd[0], -1);
	ck_assert_int_eq(write(fd[1], "x", 1), 1);
	settle();
	check_input("x");
	close_stream();
	ck_assert(fcntl(fd[0], F_GETFL) & O_NONBLOCK);
}
END_TEST

/* Threads. */

#define WRITERS 4
#define RECORDS 4000
#define RECORD 64

static pthread_barrier_t start;

/* Whole records, again where the stream was full: drained is not waited for here. */
static void *write_records(void *opaque)
{
	uint8_t name = (uint8_t)(uintptr_t)opaque;
	uint8_t record[RECORD];

	pthread_barrier_wait(&start);
	for (int i = 0; i < RECORDS; i++) {
		memset(record, name, sizeof(record));
		record[1] = (uint8_t)i;
		record[2] = (uint8_t)(i >> 8);
		for (size_t done = 0; done < RECORD;) {
			size_t n = stream_write(sink.stream, record + done, RECORD - done);

			done += n;
			if (!n)
				usleep(100);
		}
	}
	return NULL;
}

static uint8_t records[WRITERS * RECORDS * RECORD];

static void *read_records(void *opaque)
{
	size_t len = 0;

	while (len < sizeof(records)) {
		ssize_t n =
			read(*(int *)opaque, records + len, min_u64(sizeof(records) - len, 10000));

		if (n <= 0)
			break;
		len += (size_t)n;
	}
	loop_stop(loop, len == sizeof(records) ? 1 : -1);
	return NULL;
}

/* Bytes of one writer stay in order, and none is lost or made up. */
START_TEST(threads_write)
{
	unsigned int next[WRITERS] = {0}, bytes[WRITERS] = {0};
	pthread_t writer[WRITERS], reader;
	int fd[2], source;

	make_pair((enum kind)_i, fd);
	source = fd[_i != PIPE];
	open_stream(-1, fd[_i == PIPE]);
	pthread_barrier_init(&start, NULL, WRITERS);
	ck_assert_int_eq(pthread_create(&reader, NULL, read_records, &source), 0);
	for (int i = 0; i < WRITERS; i++)
		ck_assert_int_eq(pthread_create(&writer[i], NULL, write_records,
						(void *)(uintptr_t)(0xf0 + i)),
				 0);
	ck_assert_int_eq(loop_run(loop), 1);
	for (int i = 0; i < WRITERS; i++)
		pthread_join(writer[i], NULL);
	pthread_join(reader, NULL);
	/*
	 * Records may be cut where the buffer was full, so only whole ones tell their
	 * number; the count of bytes per writer tells the rest.
	 */
	for (size_t i = 0; i < sizeof(records); i++) {
		if (records[i] >= 0xf0 && records[i] < 0xf0 + WRITERS)
			bytes[records[i] - 0xf0]++;
	}
	for (size_t i = 0; i + RECORD <= sizeof(records);) {
		uint8_t name = records[i];
		unsigned int number = records[i + 1] + 256u * records[i + 2];
		bool whole = name >= 0xf0 && name < 0xf0 + WRITERS;

		for (size_t j = 3; whole && j < RECORD; j++)
			whole = records[i + j] == name;
		if (!whole) {
			i++;
			continue;
		}
		ck_assert_uint_ge(number, next[name - 0xf0]);
		next[name - 0xf0] = number + 1;
		i += RECORD;
	}
	for (int i = 0; i < WRITERS; i++) {
		/* A record's own number may look like a name in few places. */
		ck_assert_uint_ge(bytes[i], RECORDS * (RECORD - 2));
		ck_assert_uint_gt(next[i], 0);
	}
	pthread_barrier_destroy(&start);
}
END_TEST

/* A consumer on another thread, as a vCPU is: it empties a small FIFO and asks for more. */
struct fifo {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	uint8_t data[16];
	size_t len;
	bool eof;
	struct stream *stream;
	uint8_t *got;
	size_t nr_got;
};

static size_t fifo_room(void *opaque)
{
	struct fifo *f = opaque;
	size_t room;

	pthread_mutex_lock(&f->lock);
	room = sizeof(f->data) - f->len;
	pthread_mutex_unlock(&f->lock);
	return room;
}

static void fifo_input(void *opaque, const uint8_t *buf, size_t len)
{
	struct fifo *f = opaque;

	pthread_mutex_lock(&f->lock);
	memcpy(f->data + f->len, buf, len);
	f->len += len;
	pthread_cond_signal(&f->filled);
	pthread_mutex_unlock(&f->lock);
}

static void fifo_eof(void *opaque)
{
	struct fifo *f = opaque;

	pthread_mutex_lock(&f->lock);
	f->eof = true;
	pthread_cond_signal(&f->filled);
	pthread_mutex_unlock(&f->lock);
}

static const struct stream_ops fifo_ops = {
	.room = fifo_room,
	.input = fifo_input,
	.eof = fifo_eof,
};

static void *empty_fifo(void *opaque)
{
	struct fifo *f = opaque;

	pthread_mutex_lock(&f->lock);
	for (;;) {
		while (!f->len && !f->eof)
			pthread_cond_wait(&f->filled, &f->lock);
		if (!f->len)
			break;
		memcpy(f->got + f->nr_got, f->data, f->len);
		f->nr_got += f->len;
		f->len = 0;
		/* With the device's lock held, as devices do. */
		stream_want_input(f->stream);
	}
	pthread_mutex_unlock(&f->lock);
	loop_stop(loop, 1);
	return NULL;
}

#define PUSHED (256 * 1024)

static void *push(void *opaque)
{
	static uint8_t text[PUSHED];
	int fd = *(int *)opaque;

	fill_pattern(text, 0, sizeof(text));
	write_all(fd, text, sizeof(text));
	close(fd);
	return NULL;
}

START_TEST(threads_read)
{
	struct fifo f = {.lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER};
	pthread_t vcpu, writer;
	int fd[2];

	make_pair((enum kind)_i, fd);
	f.got = malloc(PUSHED);
	f.stream = stream_create(loop, &logger, fd[0], -1, &fifo_ops, &f, NULL);
	ck_assert_ptr_nonnull(f.stream);
	ck_assert_int_eq(pthread_create(&vcpu, NULL, empty_fifo, &f), 0);
	ck_assert_int_eq(pthread_create(&writer, NULL, push, &fd[1]), 0);
	ck_assert_int_eq(loop_run(loop), 1);
	pthread_join(vcpu, NULL);
	pthread_join(writer, NULL);
	ck_assert_uint_eq(f.nr_got, PUSHED);
	check_pattern(f.got, 0, PUSHED);
	stream_destroy(f.stream);
	free(f.got);
}
END_TEST

/* Job control. */

static void run_in_background(int slave, int ready, int go)
{
	struct error err;
	uint8_t c;

	loop = loop_create(&err);
	open_stream(slave, slave);
	settle();
	if (sink.len || sink.eofs)
		_exit(1);
	/* It rests meanwhile. */
	check_quiet();
	if (stream_write(sink.stream, "out", 3) != 3)
		_exit(2);
	if (write(ready, "x", 1) != 1 || read(go, &c, 1) != 1)
		_exit(3);
	/* Ours now: within a second or so the bytes that were typed arrive. */
	for (int i = 0; i < 50 && !sink.len; i++)
		loop_run_once(loop, 100);
	_exit(sink.len == 5 && !memcmp(sink.data, "typed", 5) && !sink.eofs ? 42 : 4);
}

START_TEST(background_terminal)
{
	int master, slave, ready[2], go[2], status;
	pid_t leader;

	open_pty(&master, &slave);
	ck_assert_int_eq(write(master, "typed", 5), 5);
	leader = fork();
	if (!leader) {
		char c;
		pid_t job;

		setsid();
		ioctl(slave, TIOCSCTTY, 0);
		signal(SIGTTOU, SIG_IGN);
		if (pipe(ready) || pipe(go))
			_exit(10);
		job = fork();
		if (!job) {
			setpgid(0, 0);
			/* Even where nobody ignores SIGTTIN, reading must not stop us. */
			run_in_background(slave, ready[1], go[0]);
		}
		setpgid(job, job);
		if (read(ready[0], &c, 1) == 1) {
			tcsetpgrp(slave, job);
			if (write(go[1], "x", 1) != 1)
				_exit(11);
		}
		close(go[1]);
		if (waitpid(job, &status, WUNTRACED) != job)
			_exit(12);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 13);
	}
	ck_assert_int_eq(waitpid(leader, &status, 0), leader);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 42);
	close(master);
	close(slave);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("stream");
	TCase *tc = tcase_create("input");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, input_arrives, 0, NR_KINDS);
	tcase_add_loop_test(tc, input_ends, 0, NR_KINDS);
	tcase_add_loop_test(tc, input_of_a_finished_writer, 0, SOCKET + 1);
	tcase_add_loop_test(tc, room_is_respected, 0, NR_KINDS);
	tcase_add_test(tc, file_as_input);
	tcase_add_test(tc, null_device);
	tcase_add_test(tc, zero_device);
	tcase_add_test(tc, terminal_with_vmin_0);
	tcase_add_test(tc, socket_reset);
	tcase_add_test(tc, input_not_wanted);
	tcase_add_loop_test(tc, nonblocking_already, 0, NR_KINDS);
	tcase_add_test(tc, background_terminal);
	suite_add_tcase(suite, tc);

	tc = tcase_create("output");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, output_arrives, 0, NR_KINDS);
	tcase_add_loop_test(tc, slow_reader, 0, NR_KINDS);
	tcase_add_test(tc, flush_waits);
	tcase_add_loop_test(tc, reader_goes_away, 0, PTY_SLAVE + 1);
	tcase_add_loop_test(tc, reader_gone_before, 0, PTY_SLAVE + 1);
	tcase_add_test(tc, full_device);
	tcase_add_test(tc, no_descriptors);
	tcase_add_test(tc, file_as_output);
	suite_add_tcase(suite, tc);

	tc = tcase_create("both");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, one_descriptor_for_both, SOCKET, NR_KINDS);
	tcase_add_test(tc, pipe_directions_are_kept);
	tcase_add_test(tc, refused);
	suite_add_tcase(suite, tc);

	tc = tcase_create("threads");
	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, threads_write, 0, NR_KINDS);
	tcase_add_loop_test(tc, threads_read, 0, SOCKET + 1);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
