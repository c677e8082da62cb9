// SPDX-License-Identifier: GPL-2.0-only
/*
 * The rig of control_rig.h.
 */
#include "control_rig.h"

#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define STATUS_STORE(word)                                                                         \
	{                                                                                          \
		.kind = FAKE_STORE, .addr = 0x10001070, .value = (word), .size = 4                 \
	}
const struct fake_op control_rig_button_driver[] = {
	STATUS_STORE(1),
	STATUS_STORE(3),
	{.kind = FAKE_STORE, .addr = 0x10001024, .value = 1, .size = 4},
	{.kind = FAKE_STORE, .addr = 0x10001020, .value = 1, .size = 4},
	STATUS_STORE(11),
	STATUS_STORE(15),
	{.kind = FAKE_WAIT},
	{.kind = FAKE_EVENT, .value = KVM_SYSTEM_EVENT_SHUTDOWN},
	{.kind = FAKE_END},
};

void control_rig_init(struct control_rig *r)
{
	memset(r, 0, sizeof(*r));
	snprintf(r->runtime, sizeof(r->runtime), "/tmp/lkvm-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(r->runtime));
	setenv("XDG_RUNTIME_DIR", r->runtime, 1);
	snprintf(r->dir, sizeof(r->dir), "%s/lkvm", r->runtime);
	rig_init(&r->rig, FAKE_7_2);
	r->rig.cfg.name = "a";
}

void control_rig_end(struct control_rig *r)
{
	rig_end(&r->rig);
	rmdir(r->dir);
	ck_assert_int_eq(rmdir(r->runtime), 0);
}

void control_rig_listen(struct control_rig *r, struct rig *rig)
{
	static const struct control_command *const tables[] = {control_core_commands, NULL};

	rig->vm->control = control_create(rig->vm, tables, &r->err);
	ck_assert_msg(rig->vm->control, "%s", r->err.msg);
}

void control_rig_start(struct control_rig *r)
{
	rig_create(&r->rig);
	control_rig_listen(r, &r->rig);
	rig_start(&r->rig);
	ck_assert(fake_wait_idle(r->rig.host, 0));
}

void control_rig_stop(struct control_rig *r)
{
	ck_assert_str_eq(control_rig_ask(r, "stop", "{\"how\":\"kill\"}"),
			 "{\"ended\":\"stopped\",\"forced\":true}");
	ck_assert_int_eq(rig_join(&r->rig), VM_QUIT);
}

const char *control_rig_ask(struct control_rig *r, const char *command, const char *arguments)
{
	static char answer[65536];
	json_t *result, *object = NULL;
	size_t len;

	if (arguments) {
		object = json_loads(arguments, 0, NULL);
		ck_assert_msg(object, "%s is no JSON", arguments);
	}
	r->err.msg[0] = '\0';
	if (control_ask("a", command, object, &result, &r->err))
		return r->err.msg;
	len = json_dumpb(result, answer, sizeof(answer) - 1, JSON_COMPACT);
	ck_assert_uint_lt(len, sizeof(answer));
	answer[len] = '\0';
	json_decref(result);
	return answer;
}

const char *control_rig_path(struct control_rig *r, const char *leaf)
{
	static char text[200];

	snprintf(text, sizeof(text), "%s/%s", r->dir, leaf);
	return text;
}

int control_rig_dial(struct control_rig *r, const char *leaf)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = 20};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_uint_lt(snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s", r->dir, leaf),
			  sizeof(addr.sun_path));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

const char *control_rig_hear(int fd)
{
	static char answer[65536];
	size_t got = 0;
	ssize_t n;

	while (got < sizeof(answer) - 1 &&
	       (n = recv(fd, answer + got, sizeof(answer) - 1 - got, 0)) > 0)
		got += (size_t)n;
	answer[got] = '\0';
	return answer;
}

const char *control_rig_say(struct control_rig *r, const char *text, size_t len, bool end)
{
	int fd = control_rig_dial(r, "a.sock");
	const char *answer;

	/* The VM may have closed already. */
	if (send(fd, text, len, MSG_NOSIGNAL) < 0)
		ck_assert_int_eq(errno, EPIPE);
	if (end)
		shutdown(fd, SHUT_WR);
	answer = control_rig_hear(fd);
	close(fd);
	return answer;
}
