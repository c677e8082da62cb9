// SPDX-License-Identifier: GPL-2.0-only
/*
 * Terminals attached to a VM's console: bare sockets that behave and that do not, and the
 * terminal's side at a pty.
 */
#include "lkvm/attach.h"

#include "../../riscv/machine.h"
#include "control_rig.h"
#include "lkvm/guest_console.h"
#include "lkvm/process.h"
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
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static struct control_rig r;
static char text[1 << 20];

static void setup(void)
{
	control_rig_init(&r);
	r.rig.cfg.console_in = -1;
	r.rig.cfg.console = CONSOLE_SBI;
}

static void teardown(void)
{
	control_rig_end(&r);
}

static void start(void)
{
	static const struct control_command *const tables[] = {control_core_commands,
							       attach_commands, NULL};

	rig_create(&r.rig);
	r.rig.vm->control = control_create(r.rig.vm, tables, &r.err);
	ck_assert_msg(r.rig.vm->control, "%s", r.err.msg);
	rig_start(&r.rig);
	ck_assert(fake_wait_idle(r.rig.host, 0));
}

/* "attach" with a descriptor. Return: the terminal's number, or 0 with r.err set. */
static json_int_t attach_fd(int fd, const char *arguments)
{
	struct control_client *c = control_connect("a", &r.err);
	json_t *result;
	json_int_t id = 0;

	ck_assert_msg(c, "%s", r.err.msg);
	ck_assert_int_eq(control_send(c, "attach", json_loads(arguments, 0, NULL), fd, &r.err), 0);
	if (!control_result(c, CONTROL_ANSWER_MS, &result, &r.err)) {
		id = json_integer_value(json_object_get(result, "terminal"));
		json_decref(result);
	}
	control_hang_up(c);
	return id;
}

static int attach(const char *arguments)
{
	const struct timeval limit = {.tv_sec = 20};
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_msg(attach_fd(pair[1], arguments), "%s", r.err.msg);
	close(pair[1]);
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return pair[0];
}

static void say(const char *words)
{
	ck_assert_uint_eq(guest_console_write(r.rig.vm->console, words, strlen(words)),
			  strlen(words));
}

static void sees(int fd, const char *words)
{
	char got[4096] = "";
	size_t len = 0;
	ssize_t n;

	while (len < strlen(words)) {
		n = read(fd, got + len, strlen(words) - len);
		ck_assert_msg(n > 0, "\"%s\" instead of \"%s\"", got, words);
		len += (size_t)n;
	}
	ck_assert_str_eq(got, words);
}

/* The guest hears exactly this, and for a while nothing more. */
static void hears(const char *words)
{
	uint64_t until = now_ns() + 10 * NSEC_PER_SEC;
	char heard[4096];
	size_t len = 0;

	while (len < strlen(words) && now_ns() < until) {
		len += machine_console_get(r.rig.vm->arch, (uint8_t *)heard + len, 100);
		usleep(1000);
	}
	usleep(20000);
	len += machine_console_get(r.rig.vm->arch, (uint8_t *)heard + len, 100);
	heard[len] = '\0';
	ck_assert_str_eq(heard, words);
}

static void any_watchers(struct rig *rig, void *arg)
{
	*(bool *)arg = rig->vm->watchers;
}

/* Until nobody is attached any more. */
static void all_left(void)
{
	uint64_t until = now_ns() + 10 * NSEC_PER_SEC;
	bool any = true;

	while (any && now_ns() < until) {
		usleep(1000);
		rig_call(&r.rig, any_watchers, &any);
	}
	ck_assert(!any);
}

static void put(int fd, const char *words)
{
	ck_assert_int_eq(write_all(fd, words, strlen(words)), (long)strlen(words));
}

START_TEST(both_ways)
{
	int one, two;

	start();
	say("before ");
	one = attach("{}");
	say("first ");
	sees(one, "first ");
	put(one, "ls\r");
	hears("ls\r");
	/* A second one hears and types as well, and what was said last where it wants that. */
	two = attach("{\"recent\":true}");
	say("both");
	sees(one, "both");
	sees(two, "before first both");
	put(two, "x");
	hears("x");
	put(one, "y");
	hears("y");
	/* The VM's own output has all of it. */
	ck_assert_str_eq(rig_output(&r.rig, text, sizeof(text)), "before first both");
	close(one);
	say("!");
	sees(two, "!");
	close(two);
	all_left();
	say("alone");
	control_rig_stop(&r);
}
END_TEST

START_TEST(read_only)
{
	int one, two;

	start();
	one = attach("{\"read-only\":true}");
	two = attach("{}");
	put(one, "not this ");
	usleep(50000);
	put(two, "this");
	hears("this");
	say("words");
	sees(one, "words");
	close(one);
	close(two);
	all_left();
	control_rig_stop(&r);
}
END_TEST

START_TEST(as_many_as_there_can_be)
{
	int fds[WATCHERS_MAX], pair[2], i;

	start();
	for (i = 0; i < WATCHERS_MAX; i++)
		fds[i] = attach("{}");
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_int_eq(attach_fd(pair[1], "{}"), 0);
	ck_assert_str_eq(r.err.msg,
			 "a: 8 terminals are attached already, which is all there can be");
	close(pair[0]);
	close(pair[1]);
	for (i = 0; i < WATCHERS_MAX; i++)
		close(fds[i]);
	all_left();
	i = attach("{}");
	say("again");
	sees(i, "again");
	close(i);
	all_left();
	control_rig_stop(&r);
}
END_TEST

/* One that reads nothing: the guest never waits, others miss nothing, and it is told. */
START_TEST(slow_reader)
{
	static const char line[] =
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\n";
	unsigned long long lost = 0;
	size_t i, got = 0, sent = 0, len = 0;
	int slow, keen;
	char *note;
	ssize_t n;

	r.rig.cfg.console_out = -1;
	start();
	slow = attach("{}");
	keen = attach("{}");
	for (i = 0; i < 20000; i++) {
		say(line);
		sent += sizeof(line) - 1;
		/* The keen one reads what is there. */
		while ((n = recv(keen, text, sizeof(text), MSG_DONTWAIT)) > 0)
			got += (size_t)n;
	}
	while (got < sent && (n = recv(keen, text, sizeof(text), 0)) > 0)
		got += (size_t)n;
	ck_assert_uint_eq(got, sent);
	/* Now it reads: what there was room for, and how much is missing. */
	while (!(note = memmem(text, len, "bytes are missing here]\r\n", 25))) {
		n = recv(slow, text + len, sizeof(text) - len, 0);
		ck_assert_int_gt(n, 0);
		len += (size_t)n;
	}
	note = memmem(text, len, "\r\n[lkvm: ", 9);
	ck_assert_ptr_nonnull(note);
	ck_assert_int_eq(sscanf(note, "\r\n[lkvm: %llu bytes", &lost), 1);
	ck_assert_uint_eq((size_t)(note - text) + lost, sent);
	say("after");
	sees(slow, "after");
	close(slow);
	close(keen);
	all_left();
	control_rig_stop(&r);
}
END_TEST

/* A guest that takes little gets all that is typed, in order. */
START_TEST(slow_guest)
{
	static char typed[20001], heard[20001];
	size_t i, len = 0;
	int one;

	for (i = 0; i < sizeof(typed) - 1; i++)
		typed[i] = (char)('a' + i % 26);
	start();
	one = attach("{}");
	put(one, typed);
	for (; len < sizeof(typed) - 1; usleep(500))
		len += machine_console_get(r.rig.vm->arch, (uint8_t *)heard + len,
					   min_u64(700, sizeof(typed) - 1 - len));
	ck_assert_str_eq(heard, typed);
	close(one);
	all_left();
	control_rig_stop(&r);
}
END_TEST

START_TEST(no_sockets)
{
	int pipes[2], pair[2];
	uint64_t until = now_ns() + 10 * NSEC_PER_SEC;
	size_t before;

	start();
	before = open_fds();
	ck_assert_int_eq(attach_fd(-1, "{}"), 0);
	ck_assert_str_eq(r.err.msg, "a: attach wants a connected stream socket with the request");
	ck_assert_int_eq(pipe(pipes), 0);
	ck_assert_int_eq(attach_fd(pipes[1], "{}"), 0);
	ck_assert_ptr_nonnull(strstr(r.err.msg, "stream socket"));
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
	ck_assert_int_eq(attach_fd(pair[1], "{}"), 0);
	close(pair[0]);
	close(pair[1]);
	ck_assert_int_eq(attach_fd(pipes[1], "{\"columns\":-1}"), 0);
	ck_assert_str_eq(r.err.msg, "a: a window has 0 to 65535 columns and rows");
	ck_assert_int_eq(attach_fd(pipes[1], "{\"columns\":65536}"), 0);
	ck_assert_int_eq(attach_fd(pipes[1], "{\"column\":1}"), 0);
	close(pipes[0]);
	close(pipes[1]);
	/* One that nobody is connected to: it leaves by itself. */
	pair[0] = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_gt(attach_fd(pair[0], "{}"), 0);
	say("words");
	all_left();
	close(pair[0]);
	ck_assert_str_eq(
		control_rig_ask(&r, "window", "{\"terminal\":1,\"columns\":80,\"rows\":24}"),
		"a: no such terminal is attached");
	/* The VM's side of the clients' connections goes in its own time. */
	while (open_fds() > before && now_ns() < until)
		usleep(1000);
	ck_assert_uint_le(open_fds(), before);
	control_rig_stop(&r);
}
END_TEST

struct size {
	uint16_t cols, rows;
	bool known;
};

static void ask_size(struct rig *rig, void *arg)
{
	struct size *size = arg;

	size->known = guest_console_size(rig->vm->console, &size->cols, &size->rows);
}

static void size_is(unsigned int cols, unsigned int rows)
{
	struct size size;

	rig_call(&r.rig, ask_size, &size);
	ck_assert_int_eq(size.known, cols > 0);
	if (cols) {
		ck_assert_uint_eq(size.cols, cols);
		ck_assert_uint_eq(size.rows, rows);
	}
}

START_TEST(window)
{
	int one, two;

	start();
	size_is(0, 0);
	one = attach("{\"columns\":80,\"rows\":24}");
	size_is(80, 24);
	two = attach("{}");
	size_is(80, 24);
	/* Who told last is it, as long as it is there. */
	ck_assert_str_eq(
		control_rig_ask(&r, "window", "{\"terminal\":2,\"columns\":132,\"rows\":50}"),
		"{}");
	size_is(132, 50);
	close(two);
	while (!strcmp(control_rig_ask(&r, "window", "{\"terminal\":2,\"columns\":1,\"rows\":1}"),
		       "{}"))
		;
	size_is(80, 24);
	close(one);
	all_left();
	size_is(0, 0);
	control_rig_stop(&r);
}
END_TEST

/* The VM ends: its last words, then the end. Also for who does not read. */
START_TEST(last_words)
{
	int one, deaf;
	size_t i;

	r.rig.cfg.console_out = -1;
	start();
	one = attach("{}");
	deaf = attach("{}");
	say("Power down\n");
	sees(one, "Power down\n");
	for (i = 0; i < 20000; i++)
		say("and so on and so on and so on and so on\n");
	control_rig_stop(&r);
	vm_destroy(r.rig.vm);
	r.rig.vm = NULL;
	while (read(one, text, sizeof(text)) > 0)
		;
	ck_assert_int_eq(read(one, text, 1), 0);
	close(one);
	close(deaf);
}
END_TEST

/* --- the terminal's side -------------------------------------------------------------- */

static struct {
	struct attach_options o;
	struct log log;
	pthread_t thread;
	enum attach_end end;
	int master, slave, sig;
	struct termios before;
	struct error err;
} term;

static void *sit(void *opaque)
{
	(void)opaque;
	term.end = attach_run("a", &term.o, &term.log, &term.sig, &term.err);
	return NULL;
}

static void term_open(void)
{
	struct winsize size = {.ws_col = 100, .ws_row = 40};

	memset(&term, 0, sizeof(term));
	term.master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	ck_assert_int_eq(grantpt(term.master), 0);
	ck_assert_int_eq(unlockpt(term.master), 0);
	term.slave = open(ptsname(term.master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	ck_assert_int_ge(term.slave, 0);
	tcgetattr(term.slave, &term.before);
	ck_assert_int_eq(ioctl(term.master, TIOCSWINSZ, &size), 0);
	log_init(&term.log, r.rig.log_fd, LOG_LEVEL_WARNING);
	term.o = (struct attach_options){
		.recent = true, .in = term.slave, .out = term.slave, .signal_fd = -1};
}

static bool is_raw(void)
{
	struct termios now;

	tcgetattr(term.slave, &now);
	return !(now.c_lflag & (ICANON | ECHO));
}

static void term_sit(void)
{
	uint64_t until = now_ns() + 10 * NSEC_PER_SEC;

	ck_assert_int_eq(pthread_create(&term.thread, NULL, sit, NULL), 0);
	while (!is_raw() && now_ns() < until)
		usleep(1000);
	ck_assert(is_raw());
}

static void term_close(enum attach_end end)
{
	struct termios now;

	ck_assert_int_eq(pthread_join(term.thread, NULL), 0);
	ck_assert_msg(term.end == end, "%d: %s", term.end, term.err.msg);
	tcgetattr(term.slave, &now);
	ck_assert_uint_eq(now.c_lflag, term.before.c_lflag);
	ck_assert_uint_eq(now.c_iflag, term.before.c_iflag);
	ck_assert_uint_eq(now.c_oflag, term.before.c_oflag);
	close(term.slave);
	close(term.master);
}

START_TEST(at_a_terminal)
{
	start();
	term_open();
	say("before\r\n");
	term_sit();
	sees(term.master, "before\r\n");
	size_is(100, 40);
	/* Bytes as they are: no line, no echo, no signal, the escape key by itself. */
	put(term.master, "ls\r\003\004\001a\001q");
	hears("ls\r\003\004\001\001q");
	say("\033[31mred\n");
	sees(term.master, "\033[31mred\n");
	put(term.master, "\001d");
	term_close(ATTACH_LEFT);
	all_left();
	size_is(0, 0);
	/* Once more, and x does it too. */
	term_open();
	term_sit();
	put(term.master, "\001x");
	term_close(ATTACH_LEFT);
	ck_assert_ptr_nonnull(
		strstr(rig_log(&r.rig, text, sizeof(text)), "Ctrl-a d leaves, and the VM goes on"));
	control_rig_stop(&r);
}
END_TEST

START_TEST(the_vm_ends)
{
	start();
	term_open();
	term_sit();
	say("Power down\r\n");
	control_rig_stop(&r);
	vm_destroy(r.rig.vm);
	r.rig.vm = NULL;
	sees(term.master, "Power down\r\n");
	term_close(ATTACH_ENDED);
}
END_TEST

START_TEST(window_and_signals)
{
	struct winsize size = {.ws_col = 90, .ws_row = 30};
	struct size now = {.cols = 0};
	uint64_t until;

	/* Before any thread: all have them blocked. */
	term_open();
	term.o.signal_fd = process_signal_fd(&r.err);
	ck_assert_int_ge(term.o.signal_fd, 0);
	start();
	term_sit();
	size_is(100, 40);
	ck_assert_int_eq(ioctl(term.master, TIOCSWINSZ, &size), 0);
	kill(getpid(), SIGWINCH);
	for (until = now_ns() + 10 * NSEC_PER_SEC; now.cols != 90 && now_ns() < until;) {
		usleep(1000);
		rig_call(&r.rig, ask_size, &now);
	}
	size_is(90, 30);
	kill(getpid(), SIGTERM);
	term_close(ATTACH_SIGNAL);
	ck_assert_int_eq(term.sig, SIGTERM);
	close(term.o.signal_fd);
	all_left();
	control_rig_stop(&r);
}
END_TEST

/* A terminal that shows nothing (Ctrl-s) holds up neither the guest nor the escape keys. */
START_TEST(stopped_terminal)
{
	size_t i;

	r.rig.cfg.console_out = -1;
	start();
	term_open();
	term_sit();
	for (i = 0; i < 20000; i++)
		say("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n");
	put(term.master, "\001d");
	term_close(ATTACH_LEFT);
	all_left();
	control_rig_stop(&r);
}
END_TEST

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

/* Whoever waits for a reader costs nothing, on either side; nor does input at its end. */
START_TEST(waits_quietly)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), fds[2], deaf;
	uint64_t before;
	size_t i;

	r.rig.cfg.console_out = -1;
	start();
	deaf = attach("{}");
	term_open();
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	term.o.in = null;
	term.o.out = fds[1];
	ck_assert_int_eq(pthread_create(&term.thread, NULL, sit, NULL), 0);
	for (i = 0; i < 20000; i++)
		say("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n");
	usleep(500000);
	before = cpu_ns();
	sleep(1);
	ck_assert_uint_lt(cpu_ns() - before, NSEC_PER_SEC / 5);
	control_rig_stop(&r);
	vm_destroy(r.rig.vm);
	r.rig.vm = NULL;
	/* It reads to the end what it may, and so hears of the end. */
	ck_assert_int_eq(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	while (pthread_tryjoin_np(term.thread, NULL) == EBUSY)
		if (read(fds[0], text, sizeof(text)) < 0)
			usleep(1000);
	close(fds[0]);
	close(fds[1]);
	ck_assert_int_eq(term.end, ATTACH_ENDED);
	close(term.master);
	close(term.slave);
	close(null);
	close(deaf);
}
END_TEST

START_TEST(slow_terminal_gets_it_all)
{
	static const char line[] =
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\n";
	size_t got = 0, want = 0, i;
	ssize_t n;

	r.rig.cfg.console_out = -1;
	start();
	term_open();
	term_sit();
	/* As much as there is room for on the way. */
	for (i = 0; i < 1000; i++, want += sizeof(line) - 1)
		say(line);
	while (got < want) {
		n = read(term.master, text, 1000);
		ck_assert_int_gt(n, 0);
		for (i = 0; i < (size_t)n; i++, got++)
			ck_assert_int_eq(text[i], line[got % (sizeof(line) - 1)]);
		usleep(200);
	}
	put(term.master, "\001d");
	term_close(ATTACH_LEFT);
	control_rig_stop(&r);
}
END_TEST

START_TEST(looks_only)
{
	start();
	term_open();
	term.o.read_only = true;
	term_sit();
	put(term.master, "rm -rf\r");
	hears("");
	say("words");
	sees(term.master, "words");
	put(term.master, "\001d");
	term_close(ATTACH_LEFT);
	control_rig_stop(&r);
}
END_TEST

START_TEST(nobody_there)
{
	start();
	control_rig_stop(&r);
	vm_destroy(r.rig.vm);
	r.rig.vm = NULL;
	term_open();
	sit(NULL);
	ck_assert_int_eq(term.end, ATTACH_FAILED);
	ck_assert_str_eq(term.err.msg, "no VM called a runs here");
	ck_assert(!is_raw());
	close(term.slave);
	close(term.master);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("attach");
	TCase *tc = tcase_create("attach");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, both_ways);
	tcase_add_test(tc, read_only);
	tcase_add_test(tc, as_many_as_there_can_be);
	tcase_add_test(tc, slow_reader);
	tcase_add_test(tc, slow_guest);
	tcase_add_test(tc, no_sockets);
	tcase_add_test(tc, window);
	tcase_add_test(tc, last_words);
	tcase_add_test(tc, at_a_terminal);
	tcase_add_test(tc, the_vm_ends);
	tcase_add_test(tc, window_and_signals);
	tcase_add_test(tc, stopped_terminal);
	tcase_add_test(tc, waits_quietly);
	tcase_add_test(tc, slow_terminal_gets_it_all);
	tcase_add_test(tc, looks_only);
	tcase_add_test(tc, nobody_there);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
