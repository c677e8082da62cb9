// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control socket against who means no good, or does not know better: other users,
 * nonsense, silence, floods; and against what dead VMs and planted files leave in its
 * directory.
 */
#include "control_rig.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAUSE "{\"version\":1,\"command\":\"pause\"}\n"
#define RESUME "{\"version\":1,\"command\":\"resume\"}\n"
#define ERROR(id, text) "{\"version\":1,\"id\":" id ",\"error\":{\"message\":\"" text "\"}}\n"

static struct control_rig r;

static void setup(void)
{
	control_rig_init(&r);
}

static void teardown(void)
{
	control_rig_end(&r);
}

static const char *ask(const char *command)
{
	return control_rig_ask(&r, command, NULL);
}

static void still_there(void)
{
	ck_assert_str_eq(ask("pause"), "{}");
	ck_assert_str_eq(ask("resume"), "{\"woken\":false}");
}

START_TEST(odd_requests)
{
	static const struct {
		const char *text, *answer;
	} odd[] = {
		{"{\"version\":1,\"id\":1,\"command\":\"dance\"}",
		 ERROR("1", "this VM knows no command dance")},
		{"{\"version\":1,\"id\":\"x\",\"command\":\"Pause\"}",
		 ERROR("\"x\"", "this VM knows no command Pause")},
		{"{\"version\":2,\"id\":1,\"command\":\"pause\"}",
		 ERROR("1", "this VM speaks version 1 of the control protocol")},
		{"{\"version\":\"1\",\"command\":\"pause\"}",
		 ERROR("null", "this VM speaks version 1 of the control protocol")},
		{"{\"id\":1,\"command\":\"pause\"}",
		 ERROR("1", "this VM speaks version 1 of the control protocol")},
		{"{\"version\":1}", ERROR("null", "the request names no command")},
		{"{\"version\":1,\"command\":7}", ERROR("null", "the request names no command")},
		{"{\"version\":1,\"command\":\"pause\",\"arguments\":[]}",
		 ERROR("null", "the arguments are no object")},
		{"{\"version\":1,\"command\":\"pause\",\"argument\":{}}",
		 ERROR("null", "the request has a member \\\"argument\\\", which this VM does not "
			       "know")},
		{"{\"version\":1,\"command\":\"pause\",\"id\":{}}",
		 ERROR("null", "the request's id is neither a number nor a string")},
		{"{\"version\":1,\"command\":\"pause\",\"arguments\":{\"long\":1}}",
		 ERROR("null", "arguments: 1 object item(s) left unpacked: long")},
		{"{\"version\":1,\"command\":\"stop\",\"arguments\":{\"how\":1}}",
		 ERROR("null", "arguments: Expected string, got integer")},
		{"[]", ERROR("null", "the request is no JSON object")},
		{"lkvm/1 stop", ERROR("null", "the request is no JSON: '[' or '{' expected near "
					      "'lkvm'")},
		{"", ERROR("null", "the request is no JSON: '[' or '{' expected near end of file")},
	};
	char line[256];
	size_t i;

	control_rig_start(&r);
	for (i = 0; i < ARRAY_SIZE(odd); i++) {
		snprintf(line, sizeof(line), "%s\n", odd[i].text);
		ck_assert_str_eq(control_rig_say(&r, line, strlen(line), true), odd[i].answer);
	}
	/* Zero bytes, what is no UTF-8, two of one name, a depth without end. */
	ck_assert_ptr_nonnull(strstr(control_rig_say(&r, "\0\0\0\n", 4, true), "no JSON"));
	ck_assert_ptr_nonnull(strstr(control_rig_say(&r, "\xff\xff\n", 3, true), "no JSON"));
	ck_assert_ptr_nonnull(strstr(
		control_rig_say(&r, "{\"version\":1,\"version\":1}\n", 26, true), "duplicate"));
	still_there();
	control_rig_stop(&r);
}
END_TEST

START_TEST(several_requests)
{
	static const char text[] = PAUSE RESUME "\n" PAUSE;

	control_rig_start(&r);
	/* In order; what follows nonsense is not looked at. */
	ck_assert_str_eq(
		control_rig_say(&r, text, strlen(text), true),
		"{\"version\":1,\"id\":null,\"return\":{}}\n"
		"{\"version\":1,\"id\":null,\"return\":{\"woken\":false}}\n" ERROR(
			"null", "the request is no JSON: '[' or '{' expected near end of file"));
	still_there();
	control_rig_stop(&r);
}
END_TEST

START_TEST(too_long)
{
	static char text[200000];
	size_t len;

	control_rig_start(&r);
	memset(text, ' ', sizeof(text));
	for (len = CONTROL_REQUEST_MAX; len <= sizeof(text); len += 67232)
		ck_assert_ptr_nonnull(strstr(control_rig_say(&r, text, len, true), "64 KiB"));
	/* The longest there can be. */
	memcpy(text, PAUSE, strlen(PAUSE) - 1);
	text[CONTROL_REQUEST_MAX - 1] = '\n';
	ck_assert_str_eq(control_rig_say(&r, text, CONTROL_REQUEST_MAX, true),
			 "{\"version\":1,\"id\":null,\"return\":{}}\n");
	ck_assert_str_eq(ask("resume"), "{\"woken\":false}");
	/* As deep as that allows. */
	memset(text, '[', CONTROL_REQUEST_MAX);
	text[CONTROL_REQUEST_MAX - 1] = '\n';
	ck_assert_ptr_nonnull(strstr(control_rig_say(&r, text, CONTROL_REQUEST_MAX, true),
				     "the request is no JSON"));
	still_there();
	control_rig_stop(&r);
}
END_TEST

START_TEST(in_pieces)
{
	char answer[64] = "";
	int fd;
	size_t i;

	control_rig_start(&r);
	fd = control_rig_dial(&r, "a.sock");
	for (i = 0; i < strlen(PAUSE); i++) {
		ck_assert_int_eq(send(fd, &PAUSE[i], 1, MSG_NOSIGNAL), 1);
		usleep(500);
	}
	ck_assert_int_gt(recv(fd, answer, sizeof(answer) - 1, 0), 0);
	ck_assert_str_eq(answer, "{\"version\":1,\"id\":null,\"return\":{}}\n");
	close(fd);
	ck_assert_str_eq(ask("resume"), "{\"woken\":false}");
	control_rig_stop(&r);
}
END_TEST

START_TEST(half_a_message)
{
	uint64_t begin = now_ns();
	struct pollfd pfd;
	int fd, gone;

	control_rig_start(&r);
	fd = control_rig_dial(&r, "a.sock");
	ck_assert_int_eq(send(fd, PAUSE, 10, 0), 10);
	/* Others are served meanwhile. */
	still_there();
	/* One that leaves in the middle. */
	gone = control_rig_dial(&r, "a.sock");
	ck_assert_int_eq(send(gone, PAUSE, 9, 0), 9);
	close(gone);
	still_there();
	/* Then its time is over, which one more byte does not lengthen. */
	usleep(1000000);
	ck_assert_int_eq(send(fd, "x", 1, 0), 1);
	pfd = (struct pollfd){.fd = fd, .events = POLLIN};
	ck_assert_int_eq(poll(&pfd, 1, 15000), 1);
	ck_assert_str_eq(control_rig_hear(fd), ERROR("null", "no request came in time"));
	ck_assert_uint_ge(now_ns() - begin, 4 * NSEC_PER_SEC);
	close(fd);
	still_there();
	control_rig_stop(&r);
}
END_TEST

/* Asks for more and more, and reads nothing. */
START_TEST(deaf_client)
{
	static const char request[] = "{\"version\":1,\"command\":\"info\"}\n";
	int fd, i;

	control_rig_start(&r);
	fd = control_rig_dial(&r, "a.sock");
	for (i = 0; i < 100000; i++)
		if (send(fd, request, strlen(request), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			break;
	/* We were held up, not the VM's memory filled. */
	ck_assert_int_lt(i, 100000);
	still_there();
	close(fd);
	still_there();
	control_rig_stop(&r);
}
END_TEST

static void wait_for_fds(size_t nr)
{
	int i;

	for (i = 0; i < 500 && open_fds() > nr; i++)
		usleep(10000);
	/* Fewer where a client of an earlier test was still being let go at the start. */
	ck_assert_uint_le(open_fds(), nr);
}

START_TEST(a_thousand_connections)
{
	int fds[100], fd;
	size_t before, i;

	control_rig_start(&r);
	/* They come and go at once. */
	before = open_fds();
	for (i = 0; i < 1000; i++) {
		fd = control_rig_dial(&r, "a.sock");
		if (i % 3)
			(void)!send(fd, PAUSE, i % 10, MSG_NOSIGNAL | MSG_DONTWAIT);
		close(fd);
	}
	still_there();
	wait_for_fds(before);
	/* They stay and say nothing: the oldest lose their places, and others are served. */
	for (i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = control_rig_dial(&r, "a.sock");
	still_there();
	ck_assert_uint_le(open_fds(), before + ARRAY_SIZE(fds) + 33);
	ck_assert_str_eq(control_rig_hear(fds[0]),
			 ERROR("null", "others need the place of a client that says nothing"));
	for (i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	wait_for_fds(before);
	still_there();
	control_rig_stop(&r);
}
END_TEST

/* All places are held by who may stay: told so, not left hanging. */
START_TEST(too_many_listeners)
{
	struct control_client *c[40], *one;
	json_t *result;
	size_t i, in = 0;

	control_rig_start(&r);
	for (i = 0; i < ARRAY_SIZE(c); i++) {
		c[i] = control_connect("a", &r.err);
		ck_assert_ptr_nonnull(c[i]);
		ck_assert_int_eq(control_send(c[i], "events", NULL, -1, &r.err), 0);
		if (!control_result(c[i], 10000, &result, &r.err)) {
			json_decref(result);
			in++;
		}
	}
	ck_assert_uint_eq(in, 32);
	ck_assert_str_eq(r.err.msg, "a: the VM serves as many clients as it can");
	ck_assert_str_eq(ask("pause"), "a: the VM serves as many clients as it can");
	control_hang_up(c[0]);
	do {
		one = control_connect("a", &r.err);
		ck_assert_int_eq(control_send(one, "pause", NULL, -1, &r.err), 0);
		i = (size_t)control_result(one, 10000, &result, &r.err);
		control_hang_up(one);
	} while (i);
	json_decref(result);
	for (i = 1; i < ARRAY_SIZE(c); i++)
		control_hang_up(c[i]);
	control_rig_stop(&r);
}
END_TEST

/* No descriptor is free: the loop does not spin, and serves again later. */
START_TEST(out_of_descriptors)
{
	struct rlimit old, tight;
	struct rusage before, after;
	int fds[2];
	uint64_t used;

	control_rig_start(&r);
	fds[0] = control_rig_dial(&r, "a.sock");
	usleep(50000);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	fds[1] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* The next accept4() finds none. */
	tight = old;
	tight.rlim_cur = (rlim_t)fds[1] + 1;
	{
		struct sockaddr_un addr = {.sun_family = AF_UNIX};

		snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/a.sock", r.dir);
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);
		ck_assert_int_eq(connect(fds[1], (struct sockaddr *)&addr, sizeof(addr)), 0);
	}
	getrusage(RUSAGE_SELF, &before);
	usleep(500000);
	getrusage(RUSAGE_SELF, &after);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	used = (uint64_t)(after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec -
			  before.ru_stime.tv_sec) *
		       1000000 +
	       (uint64_t)(after.ru_utime.tv_usec - before.ru_utime.tv_usec +
			  after.ru_stime.tv_usec - before.ru_stime.tv_usec);
	ck_assert_uint_lt(used, 300000);
	close(fds[0]);
	close(fds[1]);
	still_there();
	control_rig_stop(&r);
}
END_TEST

/* A stranger who got as far as the socket. Only root can play one. */
START_TEST(another_user)
{
	const char *answer;
	int status;
	pid_t pid;

	if (geteuid())
		return;
	control_rig_start(&r);
	ck_assert_int_eq(chmod(r.runtime, 0755), 0);
	ck_assert_int_eq(chmod(r.dir, 0755), 0);
	ck_assert_int_eq(chmod(control_rig_path(&r, "a.sock"), 0666), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
			_exit(2);
		answer = control_rig_say(&r, PAUSE, strlen(PAUSE), true);
		_exit(strcmp(answer, ERROR("null", "this VM belongs to another user")) ? 1 : 0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(chmod(r.dir, 0700), 0);
	still_there();
	control_rig_stop(&r);
}
END_TEST

/* --- files ------------------------------------------------------------------- */

static void touch(const char *leaf)
{
	int fd = open(control_rig_path(&r, leaf), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	close(fd);
}

static bool there(const char *leaf)
{
	struct stat st;

	return !lstat(control_rig_path(&r, leaf), &st);
}

/* A socket that nobody listens at. */
static int leave_socket(const char *leaf)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s", r.dir, leaf);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	ck_assert_int_eq(listen(fd, 0), 0);
	return fd;
}

/* A VM that hangs holds up a command for seconds, not for ever. */
START_TEST(nobody_answers)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	uint64_t begin;
	int server, fds[8];
	size_t i;

	ck_assert_int_eq(mkdir(r.dir, 0700), 0);
	server = leave_socket("a.sock");
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/a.sock", r.dir);
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
	ck_assert_int_eq(unlink(control_rig_path(&r, "a.sock")), 0);
}
END_TEST

/* What a VM may be made to answer by somebody who sits at its place. */
START_TEST(odd_answers)
{
	static const char *const odd[] = {
		"",
		"\n",
		"lkvm\n",
		"[]\n",
		"{}\n",
		"{\"id\":1}\n",
		"{\"id\":null}\n",
		"{\"id\":1,\"error\":7}\n",
		"{\"id\":1,\"return\":[]}\n",
		"{\"id\":1,\"return\":{}",
	};
	struct control_client *c;
	json_t *result;
	int server, fd;
	size_t i;

	ck_assert_int_eq(mkdir(r.dir, 0700), 0);
	server = leave_socket("a.sock");
	for (i = 0; i < ARRAY_SIZE(odd); i++) {
		c = control_connect("a", &r.err);
		fd = accept(server, NULL, NULL);
		ck_assert_int_eq(control_send(c, "status", NULL, -1, &r.err), 0);
		ck_assert_int_ge(send(fd, odd[i], strlen(odd[i]), MSG_NOSIGNAL), 0);
		close(fd);
		ck_assert_msg(control_result(c, 10000, &result, &r.err) == -1, "%s", odd[i]);
		ck_assert_int_eq(strncmp(r.err.msg, "a: ", 3), 0);
		control_hang_up(c);
	}
	close(server);
	ck_assert_int_eq(unlink(control_rig_path(&r, "a.sock")), 0);
}
END_TEST

START_TEST(no_such_vm)
{
	char **names;

	/* Not even the directory. */
	ck_assert_ptr_nonnull(strstr(ask("pause"), "no VM"));
	ck_assert_int_eq(control_names(&names, &r.err), 0);
	ck_assert_ptr_null(names[0]);
	control_names_free(names);
	ck_assert_int_eq(access(r.dir, F_OK), -1);
	ck_assert_int_eq(mkdir(r.dir, 0700), 0);
	ck_assert_str_eq(ask("pause"), "no VM called a runs here");
	ck_assert(!there("a.lock"));
}
END_TEST

/* A VM that was killed leaves both files behind: the next command that looks cleans up. */
START_TEST(stale_socket)
{
	char **names;
	int fd;

	ck_assert_int_eq(mkdir(r.dir, 0700), 0);
	close(leave_socket("a.sock"));
	touch("a.lock");
	ck_assert_str_eq(ask("pause"), "no VM called a runs here");
	ck_assert(!there("a.sock"));
	ck_assert(!there("a.lock"));
	close(leave_socket("b.sock"));
	touch("b.lock");
	touch("c.lock");
	close(leave_socket("d.sock"));
	/* Not ours: left alone. */
	touch("e.vsock");
	touch("f g.lock");
	/* Held by one that lives, and is just starting. */
	touch("h.lock");
	fd = open(control_rig_path(&r, "h.lock"), O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
	ck_assert_int_eq(control_names(&names, &r.err), 0);
	control_names_free(names);
	ck_assert(!there("b.sock") && !there("b.lock"));
	ck_assert(!there("c.lock"));
	ck_assert(!there("d.sock") && !there("d.lock"));
	ck_assert(there("e.vsock") && there("f g.lock") && there("h.lock"));
	close(fd);
	unlink(control_rig_path(&r, "e.vsock"));
	unlink(control_rig_path(&r, "f g.lock"));
	unlink(control_rig_path(&r, "h.lock"));
	/* And so does one that takes the name. */
	close(leave_socket("a.sock"));
	touch("a.lock");
	control_rig_start(&r);
	still_there();
	control_rig_stop(&r);
}
END_TEST

START_TEST(same_name_twice)
{
	static const struct control_command *const tables[] = {control_core_commands, NULL};
	struct rig other;
	char **names;

	control_rig_start(&r);
	rig_init(&other, FAKE_7_2);
	other.cfg.name = "a";
	rig_create(&other);
	ck_assert_ptr_null(control_create(other.vm, tables, &r.err));
	ck_assert_ptr_nonnull(strstr(r.err.msg, "--name a: a VM of this name runs already"));
	/* Another name is fine, and the first was not disturbed. */
	other.cfg.name = "b";
	control_rig_listen(&r, &other);
	ck_assert_int_eq(control_names(&names, &r.err), 2);
	ck_assert_str_eq(names[0], "a");
	ck_assert_str_eq(names[1], "b");
	ck_assert_ptr_null(names[2]);
	control_names_free(names);
	vm_destroy(other.vm);
	other.vm = NULL;
	ck_assert(!there("b.sock"));
	rig_end(&other);
	still_there();
	control_rig_stop(&r);
}
END_TEST

static void *keep_cleaning(void *opaque)
{
	atomic_bool *stop = opaque;
	char **names;

	while (!atomic_load(stop)) {
		if (control_names(&names, NULL) >= 0)
			control_names_free(names);
	}
	return NULL;
}

/* Starts and ends while somebody cleans up all the time: no start is refused. */
START_TEST(race_with_cleaners)
{
	atomic_bool stop = false;
	pthread_t thread;
	int i;

	rig_create(&r.rig);
	ck_assert_int_eq(mkdir(r.dir, 0700), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, keep_cleaning, &stop), 0);
	for (i = 0; i < 200; i++) {
		control_rig_listen(&r, &r.rig);
		ck_assert(there("a.sock") && there("a.lock"));
		control_destroy(r.rig.vm->control);
		r.rig.vm->control = NULL;
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	ck_assert(!there("a.sock") && !there("a.lock"));
}
END_TEST

/* A cleaner removed the files; a new VM took the name: the old one leaves it alone. */
START_TEST(only_its_own_files)
{
	struct rig other;

	/* The old VM is the inner one, so that its end can be looked at. */
	rig_create(&r.rig);
	rig_init(&other, FAKE_7_2);
	other.cfg.name = "a";
	rig_create(&other);
	control_rig_listen(&r, &other);
	ck_assert_int_eq(unlink(control_rig_path(&r, "a.sock")), 0);
	ck_assert_int_eq(unlink(control_rig_path(&r, "a.lock")), 0);
	control_rig_listen(&r, &r.rig);
	control_destroy(other.vm->control);
	other.vm->control = NULL;
	ck_assert(there("a.sock"));
	ck_assert(there("a.lock"));
	control_destroy(r.rig.vm->control);
	r.rig.vm->control = NULL;
	ck_assert(!there("a.sock"));
	rig_end(&other);
}
END_TEST

START_TEST(planted_symlinks)
{
	static const struct control_command *const tables[] = {control_core_commands, NULL};
	struct stat st;
	int fd;

	ck_assert_int_eq(mkdir(r.dir, 0700), 0);
	fd = open(control_rig_path(&r, "target"), O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
	ck_assert_int_eq(write_all(fd, "mine", 4), 4);
	close(fd);
	rig_create(&r.rig);
	ck_assert_int_eq(symlink("target", control_rig_path(&r, "a.lock")), 0);
	ck_assert_ptr_null(control_create(r.rig.vm, tables, &r.err));
	ck_assert_ptr_nonnull(strstr(r.err.msg, "a.lock"));
	ck_assert_int_eq(lstat(control_rig_path(&r, "a.lock"), &st), 0);
	ck_assert(S_ISLNK(st.st_mode));
	ck_assert_int_eq(unlink(control_rig_path(&r, "a.lock")), 0);
	/* At the socket's place: replaced, not followed. */
	ck_assert_int_eq(symlink("target", control_rig_path(&r, "a.sock")), 0);
	control_rig_listen(&r, &r.rig);
	ck_assert_int_eq(lstat(control_rig_path(&r, "a.sock"), &st), 0);
	ck_assert(S_ISSOCK(st.st_mode));
	ck_assert_int_eq(stat(control_rig_path(&r, "target"), &st), 0);
	ck_assert_int_eq(st.st_size, 4);
	ck_assert_uint_eq(st.st_mode & 07777, 0640);
	control_destroy(r.rig.vm->control);
	r.rig.vm->control = NULL;
	unlink(control_rig_path(&r, "target"));
}
END_TEST

START_TEST(bad_directories)
{
	static const struct control_command *const tables[] = {control_core_commands, NULL};
	char longest[200], **names;

	rig_create(&r.rig);
	ck_assert_int_eq(mkdir(r.dir, 0755), 0);
	ck_assert_ptr_null(control_create(r.rig.vm, tables, &r.err));
	ck_assert_ptr_nonnull(strstr(r.err.msg, "mode 0700"));
	ck_assert_int_eq(control_names(&names, &r.err), -1);
	control_names_free(names);
	ck_assert_int_eq(rmdir(r.dir), 0);
	/* A symlink to a good one is no directory of our own. */
	ck_assert_int_eq(symlink("/tmp", r.dir), 0);
	ck_assert_ptr_null(control_create(r.rig.vm, tables, &r.err));
	ck_assert_int_eq(unlink(r.dir), 0);
	if (!geteuid()) {
		ck_assert_int_eq(mkdir(r.dir, 0700), 0);
		ck_assert_int_eq(chown(r.dir, 1, 1), 0);
		ck_assert_ptr_null(control_create(r.rig.vm, tables, &r.err));
		ck_assert_ptr_nonnull(strstr(r.err.msg, "your own"));
		ck_assert_int_eq(rmdir(r.dir), 0);
	}
	memset(longest, 'x', sizeof(longest));
	longest[0] = '/';
	longest[sizeof(longest) - 1] = '\0';
	setenv("XDG_RUNTIME_DIR", longest, 1);
	ck_assert_ptr_null(control_create(r.rig.vm, tables, &r.err));
	ck_assert_ptr_nonnull(strstr(r.err.msg, "too long a path"));
	/* Long enough that the directory fits and the socket does not. */
	longest[90] = '\0';
	setenv("XDG_RUNTIME_DIR", longest, 1);
	ck_assert_ptr_null(control_create(r.rig.vm, tables, &r.err));
	setenv("XDG_RUNTIME_DIR", "relative", 1);
	unsetenv("HOME");
	ck_assert_ptr_null(control_create(r.rig.vm, tables, &r.err));
	ck_assert_ptr_nonnull(strstr(r.err.msg, "HOME"));
	/* Without a runtime directory: a hidden one at home. */
	setenv("HOME", r.runtime, 1);
	unsetenv("XDG_RUNTIME_DIR");
	control_rig_listen(&r, &r.rig);
	snprintf(longest, sizeof(longest), "%s/.lkvm/a.sock", r.runtime);
	ck_assert_int_eq(access(longest, F_OK), 0);
	control_destroy(r.rig.vm->control);
	r.rig.vm->control = NULL;
	snprintf(longest, sizeof(longest), "%s/.lkvm", r.runtime);
	ck_assert_int_eq(rmdir(longest), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("control, hostile");
	TCase *tc = tcase_create("control, hostile");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, odd_requests);
	tcase_add_test(tc, several_requests);
	tcase_add_test(tc, too_long);
	tcase_add_test(tc, in_pieces);
	tcase_add_test(tc, half_a_message);
	tcase_add_test(tc, deaf_client);
	tcase_add_test(tc, a_thousand_connections);
	tcase_add_test(tc, too_many_listeners);
	tcase_add_test(tc, out_of_descriptors);
	tcase_add_test(tc, another_user);
	tcase_add_test(tc, nobody_answers);
	tcase_add_test(tc, odd_answers);
	tcase_add_test(tc, no_such_vm);
	tcase_add_test(tc, stale_socket);
	tcase_add_test(tc, same_name_twice);
	tcase_add_test(tc, race_with_cleaners);
	tcase_add_test(tc, only_its_own_files);
	tcase_add_test(tc, planted_symlinks);
	tcase_add_test(tc, bad_directories);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
