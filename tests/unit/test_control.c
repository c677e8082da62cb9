// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control socket: what a command gets, what a broken or hostile client gets,
 * and who owns a name.
 */
#include "lkvm/control.h"

#include "rig.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define EID_SUSP 0x53555350

static struct rig rig;
static char runtime[64], dir[80];
static struct error err;

static const char *path(const char *leaf)
{
	static char text[200];

	snprintf(text, sizeof(text), "%s/%s", dir, leaf);
	return text;
}

static void setup(void)
{
	snprintf(runtime, sizeof(runtime), "/tmp/lkvm-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(runtime));
	setenv("XDG_RUNTIME_DIR", runtime, 1);
	snprintf(dir, sizeof(dir), "%s/lkvm", runtime);
	rig_init(&rig, FAKE_7_2);
	rig.cfg.name = "a";
}

static void teardown(void)
{
	static const char *const leaves[] = {"a.sock", "a.lock", "target", "b.sock", "b.lock"};
	size_t i;

	rig_end(&rig);
	for (i = 0; i < ARRAY_SIZE(leaves); i++)
		unlink(path(leaves[i]));
	rmdir(dir);
	ck_assert_int_eq(rmdir(runtime), 0);
}

static void listen_on(struct rig *r)
{
	r->vm->control = control_create(r->vm, &err);
	ck_assert_msg(r->vm->control, "%s", err.msg);
}

static void start(void)
{
	rig_create(&rig);
	listen_on(&rig);
	rig_start(&rig);
	ck_assert(fake_wait_idle(rig.host, 0));
}

static const char *ask(const char *word)
{
	static char answer[4096];

	snprintf(answer, sizeof(answer), "unset");
	err.msg[0] = '\0';
	if (control_request("a", word, answer, sizeof(answer), &err))
		return err.msg;
	/* One line, but for info. */
	if (strchr(answer, '\n') && !strchr(answer, '\n')[1])
		*strchr(answer, '\n') = '\0';
	return answer;
}

static void set_path(struct sockaddr_un *addr, const char *leaf)
{
	const char *text = path(leaf);

	ck_assert_uint_lt(strlen(text), sizeof(addr->sun_path));
	memcpy(addr->sun_path, text, strlen(text) + 1);
}

static void stop(void)
{
	ck_assert_str_eq(ask("stop"), "stopping");
	ck_assert_int_eq(rig_join(&rig), VM_QUIT);
}

static int dial(const char *leaf)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = 20};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	set_path(&addr, leaf);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

/* Send @len bytes and return all that comes back until the VM closes. */
static const char *say(const char *text, size_t len)
{
	static char answer[600];
	int fd = dial("a.sock");
	size_t got = 0;
	ssize_t n;

	/* The VM may have closed already. */
	if (send(fd, text, len, MSG_NOSIGNAL) < 0)
		ck_assert_int_eq(errno, EPIPE);
	while (got < sizeof(answer) - 1 &&
	       (n = recv(fd, answer + got, sizeof(answer) - 1 - got, 0)) > 0)
		got += (size_t)n;
	answer[got] = '\0';
	close(fd);
	return answer;
}

START_TEST(names)
{
	char longest[VM_NAME_MAX + 2];

	memset(longest, 'x', sizeof(longest));
	longest[VM_NAME_MAX] = '\0';
	ck_assert(control_name_ok("a"));
	ck_assert(control_name_ok("guest-123.old_A"));
	ck_assert(control_name_ok("..."));
	ck_assert(control_name_ok(longest));
	longest[VM_NAME_MAX] = 'x';
	longest[VM_NAME_MAX + 1] = '\0';
	ck_assert(!control_name_ok(longest));
	ck_assert(!control_name_ok(""));
	ck_assert(!control_name_ok("."));
	ck_assert(!control_name_ok(".."));
	ck_assert(!control_name_ok("../a"));
	ck_assert(!control_name_ok("a/b"));
	ck_assert(!control_name_ok("a b"));
	ck_assert(!control_name_ok("a\nb"));
	ck_assert(!control_name_ok("\xc3\xa4"));
	ck_assert_int_eq(control_request("../a", "pause", longest, 8, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.msg, "not a VM's name"));
	ck_assert_int_eq(control_request("", "pause", longest, 8, &err), -1);
}
END_TEST

START_TEST(pause_resume_stop)
{
	struct stat st;

	start();
	ck_assert_int_eq(lstat(dir, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0700);
	ck_assert_int_eq(lstat(path("a.sock"), &st), 0);
	ck_assert(S_ISSOCK(st.st_mode));
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_str_eq(ask("resume"), "a: the VM is neither paused nor suspended");
	ck_assert_str_eq(ask("pause"), "paused");
	ck_assert_uint_eq(rig.vm->parked, 1);
	ck_assert_str_eq(ask("pause"), "a: the VM is paused already");
	ck_assert_str_eq(ask("resume"), "resumed");
	ck_assert(fake_wait_idle(rig.host, 0));
	ck_assert_str_eq(ask("pause"), "paused");
	stop(); /* also while paused */
	vm_destroy(rig.vm);
	rig.vm = NULL;
	ck_assert_int_eq(access(path("a.sock"), F_OK), -1);
	ck_assert_int_eq(access(path("a.lock"), F_OK), -1);
	ck_assert_str_eq(ask("pause"), "no VM called a runs here");
}
END_TEST

START_TEST(info)
{
	const char *text;

	start();
	text = ask("info");
	ck_assert_ptr_nonnull(strstr(text, "name: a\nstate: running\nrestarts: 0\n"));
	ck_assert_ptr_nonnull(strstr(text, "RAM"));
	ck_assert_str_eq(ask("pause"), "paused");
	ck_assert_ptr_nonnull(strstr(ask("info"), "state: paused\n"));
	/* One who asks and leaves without reading. */
	for (int i = 0; i < 50; i++) {
		int fd = dial("a.sock");

		ck_assert_int_eq(send(fd, "lkvm/1 info\n", 12, MSG_NOSIGNAL), 12);
		close(fd);
	}
	stop();
}
END_TEST

START_TEST(wake_from_suspend)
{
	static const struct fake_op program[] = {
		{.kind = FAKE_SBI, .addr = EID_SUSP},
		{.kind = FAKE_EVENT, .value = 1},
		{.kind = FAKE_END},
	};
	unsigned int i;

	rig.host->programs[0] = program;
	rig_create(&rig);
	listen_on(&rig);
	rig_start(&rig);
	for (i = 0; i < 5000 && !vm_suspended(rig.vm); i++)
		usleep(1000);
	ck_assert(vm_suspended(rig.vm));
	ck_assert_str_eq(ask("pause"), "paused");
	ck_assert_str_eq(ask("resume"), "resumed");
	ck_assert_str_eq(ask("resume"), "woken from suspend");
	ck_assert_int_eq(rig_join(&rig), VM_POWEROFF);
}
END_TEST

START_TEST(odd_requests)
{
	static const struct {
		const char *text;
		size_t len;
		const char *answer;
	} odd[] = {
		{"lkvm/1 dance\n", 13, "error unknown request\n"},
		{"lkvm/1 \n", 8, "error unknown request\n"},
		{"lkvm/1 Pause\n", 13, "error unknown request\n"},
		{"lkvm/1 pause \n", 14, "error unknown request\n"},
		{"lkvm/1 resume\r\n", 15, "error unknown request\n"},
		{"lkvm/2 pause\n", 13, "error this VM speaks lkvm/1\n"},
		{"lkvm/1\n", 7, "error this VM speaks lkvm/1\n"},
		{"pause\n", 6, "error this VM speaks lkvm/1\n"},
		{"\n", 1, "error this VM speaks lkvm/1\n"},
		{"\0\0\0\0\n", 5, "error unknown request\n"},
		{"lkvm/1 stop\0x\n", 14, "error unknown request\n"},
		{"\xff\xff\xff\xff\n", 5, "error this VM speaks lkvm/1\n"},
	};
	size_t i;

	start();
	for (i = 0; i < ARRAY_SIZE(odd); i++)
		ck_assert_msg(!strcmp(say(odd[i].text, odd[i].len), odd[i].answer),
			      "request %zu: %s", i, say(odd[i].text, odd[i].len));
	/* Two lines: one request, one answer. */
	ck_assert_str_eq(say("lkvm/1 resume\nlkvm/1 stop\n", 26),
			 "error the VM is neither paused nor suspended\n");
	stop();
}
END_TEST

START_TEST(too_long)
{
	static char text[70000];
	size_t len;

	start();
	memset(text, 'x', sizeof(text));
	for (len = 256; len <= 258; len++)
		ck_assert_str_eq(say(text, len), "error the request is too long\n");
	/* The longest line there can be. */
	text[255] = '\n';
	ck_assert_str_eq(say(text, 256), "error this VM speaks lkvm/1\n");
	text[255] = 'x';
	/* A request and then a flood: the answer, or nothing, but no harm. */
	memcpy(text, "lkvm/1 dance\n", 13);
	say(text, sizeof(text));
	stop();
}
END_TEST

START_TEST(in_pieces)
{
	static const char text[] = "lkvm/1 pause\n";
	char answer[32] = "";
	int fd;
	size_t i;

	start();
	fd = dial("a.sock");
	for (i = 0; i < strlen(text); i++) {
		ck_assert_int_eq(send(fd, text + i, 1, MSG_NOSIGNAL), 1);
		usleep(500);
	}
	ck_assert_int_gt(recv(fd, answer, sizeof(answer) - 1, 0), 0);
	ck_assert_str_eq(answer, "ok paused\n");
	close(fd);
	/* Closed for writing by the client: the answer still comes. */
	fd = dial("a.sock");
	ck_assert_int_eq(send(fd, "lkvm/1 resume\n", 14, 0), 14);
	shutdown(fd, SHUT_WR);
	memset(answer, 0, sizeof(answer));
	ck_assert_int_gt(recv(fd, answer, sizeof(answer) - 1, 0), 0);
	ck_assert_str_eq(answer, "ok resumed\n");
	close(fd);
	stop();
}
END_TEST

START_TEST(half_a_message)
{
	struct pollfd pfd;
	uint64_t begin = now_ns();
	char c;
	int fd, gone;

	start();
	fd = dial("a.sock");
	ck_assert_int_eq(send(fd, "lkvm/1 pau", 10, 0), 10);
	/* Others are served meanwhile. */
	ck_assert_str_eq(ask("pause"), "paused");
	ck_assert_str_eq(ask("resume"), "resumed");
	/* One that leaves in the middle. */
	gone = dial("a.sock");
	ck_assert_int_eq(send(gone, "lkvm/1 st", 9, 0), 9);
	close(gone);
	ck_assert_str_eq(ask("pause"), "paused");
	ck_assert_str_eq(ask("resume"), "resumed");
	/* Then its time is over. */
	pfd = (struct pollfd){.fd = fd, .events = POLLIN};
	ck_assert_int_eq(poll(&pfd, 1, 15000), 1);
	ck_assert_int_eq(recv(fd, &c, 1, 0), 0);
	ck_assert_uint_ge(now_ns() - begin, 4 * NSEC_PER_SEC);
	close(fd);
	stop();
}
END_TEST

START_TEST(a_thousand_connections)
{
	int fds[64], fd;
	size_t before, i;

	start();
	/* They come and go at once. */
	before = open_fds();
	for (i = 0; i < 1000; i++) {
		fd = dial("a.sock");
		if (i % 3)
			(void)!send(fd, "lkvm/1 x\n", i % 10, MSG_NOSIGNAL | MSG_DONTWAIT);
		close(fd);
	}
	ck_assert_str_eq(ask("pause"), "paused");
	ck_assert_str_eq(ask("resume"), "resumed");
	for (i = 0; i < 100 && open_fds() > before; i++)
		usleep(10000);
	ck_assert_uint_eq(open_fds(), before);
	/* They stay and say nothing: the VM keeps a few, drops the rest, and recovers. */
	for (i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = dial("a.sock");
	usleep(100000);
	ck_assert_uint_le(open_fds(), before + ARRAY_SIZE(fds) + 8);
	for (i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	usleep(100000);
	ck_assert_str_eq(ask("pause"), "paused");
	stop();
}
END_TEST

START_TEST(a_vcpu_that_does_not_stop)
{
	static const struct fake_op program[] = {{.kind = FAKE_STUCK}, {.kind = FAKE_END}};

	rig.host->programs[0] = program;
	start();
	ck_assert_str_eq(ask("pause"), "a: a vCPU did not stop in time; the VM goes on");
	fake_poke(rig.host, 0);
	ck_assert_str_eq(ask("pause"), "paused");
	stop();
}
END_TEST

/* A VM that hangs holds up a command for seconds, not for ever. */
START_TEST(nobody_answers)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fds[8];
	uint64_t begin;
	size_t i;

	ck_assert_int_eq(mkdir(dir, 0700), 0);
	set_path(&addr, "a.sock");
	ck_assert_int_eq(bind(server, (struct sockaddr *)&addr, sizeof(addr)), 0);
	ck_assert_int_eq(listen(server, 0), 0);
	for (i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		(void)!connect(fds[i], (struct sockaddr *)&addr, sizeof(addr));
	}
	begin = now_ns();
	ck_assert_str_eq(ask("pause"), "a: the VM did not answer");
	ck_assert_uint_lt(now_ns() - begin, 20 * NSEC_PER_SEC);
	for (i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	close(server);
}
END_TEST

START_TEST(no_such_vm)
{
	/* Not even the directory. */
	ck_assert_ptr_nonnull(strstr(ask("pause"), "no VM"));
	ck_assert_int_eq(access(dir, F_OK), -1);
	ck_assert_int_eq(mkdir(dir, 0700), 0);
	ck_assert_str_eq(ask("pause"), "no VM called a runs here");
}
END_TEST

START_TEST(stale_socket)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* A VM that was killed leaves both files behind. */
	ck_assert_int_eq(mkdir(dir, 0700), 0);
	set_path(&addr, "a.sock");
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	close(fd);
	fd = open(path("a.lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	close(fd);
	ck_assert_str_eq(ask("pause"), "no VM called a runs here");
	start();
	ck_assert_str_eq(ask("pause"), "paused");
	stop();
}
END_TEST

START_TEST(same_name_twice)
{
	struct rig other;

	start();
	rig_init(&other, FAKE_7_2);
	other.cfg.name = "a";
	rig_create(&other);
	ck_assert_ptr_null(control_create(other.vm, &err));
	ck_assert_ptr_nonnull(strstr(err.msg, "--name a: a VM of this name runs already"));
	/* Another name is fine, and the first was not disturbed. */
	other.cfg.name = "b";
	listen_on(&other);
	vm_destroy(other.vm);
	other.vm = NULL;
	ck_assert_int_eq(access(path("b.sock"), F_OK), -1);
	rig_end(&other);
	ck_assert_str_eq(ask("pause"), "paused");
	stop();
}
END_TEST

/* A cleaner removed the files; a new VM took the name: the old one leaves it alone. */
START_TEST(only_its_own_files)
{
	struct rig other;

	/* The old VM is the inner one, so that its end can be looked at. */
	rig_create(&rig);
	rig_init(&other, FAKE_7_2);
	other.cfg.name = "a";
	rig_create(&other);
	listen_on(&other);
	ck_assert_int_eq(unlink(path("a.sock")), 0);
	ck_assert_int_eq(unlink(path("a.lock")), 0);
	listen_on(&rig);
	control_destroy(other.vm->control);
	other.vm->control = NULL;
	ck_assert_int_eq(access(path("a.sock"), F_OK), 0);
	ck_assert_int_eq(access(path("a.lock"), F_OK), 0);
	control_destroy(rig.vm->control);
	rig.vm->control = NULL;
	ck_assert_int_eq(access(path("a.sock"), F_OK), -1);
	rig_end(&other);
}
END_TEST

START_TEST(planted_symlinks)
{
	struct stat st;
	int fd;

	ck_assert_int_eq(mkdir(dir, 0700), 0);
	fd = open(path("target"), O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
	ck_assert_int_eq(write_all(fd, "mine", 4), 4);
	close(fd);
	rig_create(&rig);
	ck_assert_int_eq(symlink("target", path("a.lock")), 0);
	ck_assert_ptr_null(control_create(rig.vm, &err));
	ck_assert_ptr_nonnull(strstr(err.msg, "a.lock"));
	ck_assert_int_eq(lstat(path("a.lock"), &st), 0);
	ck_assert(S_ISLNK(st.st_mode));
	ck_assert_int_eq(unlink(path("a.lock")), 0);
	/* At the socket's place: replaced, not followed. */
	ck_assert_int_eq(symlink("target", path("a.sock")), 0);
	listen_on(&rig);
	ck_assert_int_eq(lstat(path("a.sock"), &st), 0);
	ck_assert(S_ISSOCK(st.st_mode));
	ck_assert_int_eq(stat(path("target"), &st), 0);
	ck_assert_int_eq(st.st_size, 4);
	ck_assert_uint_eq(st.st_mode & 07777, 0640);
}
END_TEST

START_TEST(bad_directories)
{
	char longest[200];

	rig_create(&rig);
	ck_assert_int_eq(mkdir(dir, 0755), 0);
	ck_assert_ptr_null(control_create(rig.vm, &err));
	ck_assert_ptr_nonnull(strstr(err.msg, "mode 0700"));
	ck_assert_int_eq(rmdir(dir), 0);
	/* A symlink to a good one is no directory of our own. */
	ck_assert_int_eq(symlink("/tmp", dir), 0);
	ck_assert_ptr_null(control_create(rig.vm, &err));
	ck_assert_int_eq(unlink(dir), 0);
	if (!geteuid()) {
		ck_assert_int_eq(mkdir(dir, 0700), 0);
		ck_assert_int_eq(chown(dir, 1, 1), 0);
		ck_assert_ptr_null(control_create(rig.vm, &err));
		ck_assert_ptr_nonnull(strstr(err.msg, "your own"));
		ck_assert_int_eq(rmdir(dir), 0);
	}
	memset(longest, 'x', sizeof(longest));
	longest[0] = '/';
	longest[sizeof(longest) - 1] = '\0';
	setenv("XDG_RUNTIME_DIR", longest, 1);
	ck_assert_ptr_null(control_create(rig.vm, &err));
	ck_assert_ptr_nonnull(strstr(err.msg, "too long a path"));
	/* Long enough that the directory fits and the socket does not. */
	longest[90] = '\0';
	setenv("XDG_RUNTIME_DIR", longest, 1);
	ck_assert_ptr_null(control_create(rig.vm, &err));
	setenv("XDG_RUNTIME_DIR", "relative", 1);
	unsetenv("HOME");
	ck_assert_ptr_null(control_create(rig.vm, &err));
	ck_assert_ptr_nonnull(strstr(err.msg, "HOME"));
	/* Without a runtime directory: a hidden one at home. */
	setenv("HOME", runtime, 1);
	unsetenv("XDG_RUNTIME_DIR");
	listen_on(&rig);
	snprintf(longest, sizeof(longest), "%s/.lkvm/a.sock", runtime);
	ck_assert_int_eq(access(longest, F_OK), 0);
	control_destroy(rig.vm->control);
	rig.vm->control = NULL;
	snprintf(longest, sizeof(longest), "%s/.lkvm", runtime);
	ck_assert_int_eq(rmdir(longest), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("control");
	TCase *tc = tcase_create("control");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, names);
	tcase_add_test(tc, pause_resume_stop);
	tcase_add_test(tc, info);
	tcase_add_test(tc, wake_from_suspend);
	tcase_add_test(tc, odd_requests);
	tcase_add_test(tc, too_long);
	tcase_add_test(tc, in_pieces);
	tcase_add_test(tc, half_a_message);
	tcase_add_test(tc, a_thousand_connections);
	tcase_add_test(tc, a_vcpu_that_does_not_stop);
	tcase_add_test(tc, nobody_answers);
	tcase_add_test(tc, no_such_vm);
	tcase_add_test(tc, stale_socket);
	tcase_add_test(tc, same_name_twice);
	tcase_add_test(tc, only_its_own_files);
	tcase_add_test(tc, planted_symlinks);
	tcase_add_test(tc, bad_directories);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
