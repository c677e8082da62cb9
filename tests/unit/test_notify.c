// SPDX-License-Identifier: GPL-2.0-only
/*
 * Words to a service manager: by a path, by an abstract name, to nobody, to one that does
 * not listen, and names that are none.
 */
#include "lkvm/notify.h"

#include "unit.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct notify n;
static struct error err;

static int listen_at(const char *name, bool abstract)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memcpy(addr.sun_path, name, strlen(name));
	if (abstract)
		addr.sun_path[0] = '\0';
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
			 0);
	return fd;
}

START_TEST(told)
{
	char name[80], got[80] = "";
	int fd;

	snprintf(name, sizeof(name), "%slkvm-test-notify-%d", _i ? "@" : "/tmp/", (int)getpid());
	fd = listen_at(name, _i);
	setenv("NOTIFY_SOCKET", name, 1);
	ck_assert_int_eq(notify_open(&n, &err), 0);
	/* No program that is started from here is the service. */
	ck_assert_ptr_null(getenv("NOTIFY_SOCKET"));
	ck_assert_int_eq(notify_tell(&n, "READY=1\nSTATUS=x"), 0);
	ck_assert_int_eq(notify_tell(&n, "STOPPING=1"), 0);
	ck_assert_int_eq(recv(fd, got, sizeof(got), MSG_DONTWAIT), 16);
	ck_assert_str_eq(got, "READY=1\nSTATUS=x");
	ck_assert_int_eq(recv(fd, got, sizeof(got), MSG_DONTWAIT), 10);
	/* Gone, or deaf: an error, and never a wait. */
	if (_i) {
		while (!notify_tell(&n, "STATUS=again"))
			;
		ck_assert_int_eq(notify_tell(&n, "STATUS=again"), -EAGAIN);
	}
	close(fd);
	ck_assert_int_eq(notify_tell(&n, "STATUS=again"), -ECONNREFUSED);
	notify_close(&n);
	notify_close(&n);
	ck_assert_int_eq(notify_tell(&n, "STATUS=again"), 0);
	if (!_i)
		unlink(name);
}
END_TEST

START_TEST(nobody)
{
	unsetenv("NOTIFY_SOCKET");
	ck_assert_int_eq(notify_open(&n, &err), 0);
	ck_assert_int_eq(notify_tell(&n, "READY=1"), 0);
	setenv("NOTIFY_SOCKET", "", 1);
	ck_assert_int_eq(notify_open(&n, &err), 0);
	ck_assert_int_eq(n.fd, -1);
	notify_close(&n);
}
END_TEST

START_TEST(no_names)
{
	char longest[200];

	setenv("NOTIFY_SOCKET", "run/notify", 1);
	ck_assert_int_eq(notify_open(&n, &err), -1);
	ck_assert_str_eq(err.msg, "NOTIFY_SOCKET=run/notify: neither a path nor @ and a name");
	memset(longest, '/', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	setenv("NOTIFY_SOCKET", longest, 1);
	ck_assert_int_eq(notify_open(&n, &err), -1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("notify");
	TCase *tc = tcase_create("notify");

	tcase_add_loop_test(tc, told, 0, 2);
	tcase_add_test(tc, nobody);
	tcase_add_test(tc, no_names);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
