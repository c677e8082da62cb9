// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a service manager is told of a VM, and when: by its first turn, by who knows better, by
 * the guest, whose words are told once.
 */
#include "../../cmd/service.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct vm vm;
static struct log quiet;
static struct service s;
static struct error err;
static int manager = -1;

static void setup(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	char name[64];

	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	snprintf(name, sizeof(name), "@lkvm-test-service-%d", (int)getpid());
	memcpy(addr.sun_path + 1, name + 1, strlen(name + 1));
	ck_assert_int_eq(bind(manager, (struct sockaddr *)&addr,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
			 0);
	setenv("NOTIFY_SOCKET", name, 1);
	log_init(&quiet, 2, LOG_LEVEL_FATAL);
	memset(&vm, 0, sizeof(vm));
	vm.loop = loop_create(NULL);
	vm.log = &quiet;
	vm.nr_vcpus = 3;
	s = (struct service)SERVICE_INIT;
}

static void teardown(void)
{
	loop_destroy(vm.loop);
	close(manager);
}

static const char *told(void)
{
	static char text[512];
	ssize_t n;

	while (loop_run_once(vm.loop, 0) > 0)
		;
	n = recv(manager, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

START_TEST(first_turn)
{
	ck_assert_int_eq(service_begin(&s, &vm, false, &err), 0);
	ck_assert_str_eq(told(), "READY=1\nSTATUS=running, 3 vCPUs");
	ck_assert_str_eq(told(), "");
	service_end(&s);
	ck_assert_str_eq(told(), "STOPPING=1");
}
END_TEST

START_TEST(later)
{
	ck_assert_int_eq(service_begin(&s, &vm, true, &err), 0);
	ck_assert_str_eq(told(), "");
	vm.paused = 1;
	service_ready(&s);
	ck_assert_str_eq(told(), "READY=1\nSTATUS=paused, 3 vCPUs");
	service_end(&s);
	ck_assert_str_eq(told(), "STOPPING=1");
}
END_TEST

START_TEST(by_the_guest)
{
	static const char *const words[] = {"", "serving"};
	static const char *const answers[] = {"READY=1\nSTATUS=running, 3 vCPUs",
					      "READY=1\nSTATUS=serving"};

	ck_assert_int_eq(service_begin(&s, &vm, true, &err), 0);
	service_guest_ready(&s, words[_i]);
	ck_assert_str_eq(told(), answers[_i]);
	service_guest_ready(&s, "again");
	ck_assert_str_eq(told(), "");
	service_end(&s);
	ck_assert_str_eq(told(), "STOPPING=1");
}
END_TEST

START_TEST(nobody)
{
	unsetenv("NOTIFY_SOCKET");
	ck_assert_int_eq(service_begin(&s, &vm, false, &err), 0);
	ck_assert_str_eq(told(), "");
	service_guest_ready(&s, "serving");
	service_end(&s);
	ck_assert_str_eq(told(), "");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("service");
	TCase *tc = tcase_create("service");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, first_turn);
	tcase_add_test(tc, later);
	tcase_add_loop_test(tc, by_the_guest, 0, 2);
	tcase_add_test(tc, nobody);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
