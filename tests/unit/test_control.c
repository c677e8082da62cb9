// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control socket: what each command does, how requests, answers and events look, and
 * whose a name is.
 */
#include "../../cmd/cmd.h"
#include "control_rig.h"
#include "lkvm/virtio/button.h"
#include "lkvm/virtio/kind.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define EID_SUSP 0x53555350

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

static json_t *result_of(const char *command, const char *arguments)
{
	const char *text = control_rig_ask(&r, command, arguments);
	json_t *result = json_loads(text, 0, NULL);

	ck_assert_msg(result, "%s", text);
	return result;
}

static const char *word_of(const char *command, const char *key)
{
	static char word[64];
	json_t *result = result_of(command, NULL);

	snprintf(word, sizeof(word), "%s", json_string_value(json_object_get(result, key)));
	json_decref(result);
	return word;
}

START_TEST(names)
{
	char longest[VM_NAME_MAX + 2];
	json_t *result;

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
	ck_assert_int_eq(control_ask("../a", "pause", NULL, &result, &r.err), -1);
	ck_assert_ptr_nonnull(strstr(r.err.msg, "not a VM's name"));
	ck_assert_int_eq(control_ask("", "pause", NULL, &result, &r.err), -1);
}
END_TEST

START_TEST(pause_resume_stop)
{
	struct stat st;

	control_rig_start(&r);
	ck_assert_int_eq(lstat(r.dir, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0700);
	ck_assert_int_eq(lstat(control_rig_path(&r, "a.sock"), &st), 0);
	ck_assert(S_ISSOCK(st.st_mode));
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_str_eq(ask("resume"), "a: the VM is neither paused nor suspended");
	ck_assert_str_eq(ask("pause"), "{}");
	ck_assert_uint_eq(r.rig.vm->parked, 1);
	ck_assert_str_eq(ask("pause"), "a: the VM is paused already");
	ck_assert_str_eq(ask("resume"), "{\"woken\":false}");
	ck_assert(fake_wait_idle(r.rig.host, 0));
	ck_assert_str_eq(ask("pause"), "{}");
	control_rig_stop(&r); /* also while paused */
	vm_destroy(r.rig.vm);
	r.rig.vm = NULL;
	ck_assert_int_eq(access(control_rig_path(&r, "a.sock"), F_OK), -1);
	ck_assert_int_eq(access(control_rig_path(&r, "a.lock"), F_OK), -1);
	ck_assert_str_eq(ask("pause"), "no VM called a runs here");
}
END_TEST

START_TEST(status_and_info)
{
	json_t *result, *lines;

	control_rig_start(&r);
	result = result_of("status", NULL);
	ck_assert_str_eq(json_string_value(json_object_get(result, "name")), "a");
	ck_assert_str_eq(json_string_value(json_object_get(result, "state")), "running");
	ck_assert_int_eq(json_integer_value(json_object_get(result, "pid")), getpid());
	ck_assert_int_eq(json_integer_value(json_object_get(result, "vcpus")), 1);
	ck_assert_int_eq(json_integer_value(json_object_get(result, "memory")), 64 * MIB);
	ck_assert_int_eq(json_integer_value(json_object_get(result, "restarts")), 0);
	ck_assert_ptr_null(json_object_get(result, "machine"));
	json_decref(result);
	result = result_of("info", NULL);
	lines = json_object_get(result, "machine");
	ck_assert_uint_gt(json_array_size(lines), 5);
	ck_assert_int_eq(strncmp(json_string_value(json_array_get(lines, 0)), "G-stage: ", 9), 0);
	json_decref(result);
	ck_assert_str_eq(ask("pause"), "{}");
	ck_assert_str_eq(word_of("status", "state"), "paused");
	control_rig_stop(&r);
}
END_TEST

START_TEST(all_commands)
{
	json_t *result, *one;
	size_t i, n = 0;

	control_rig_start(&r);
	result = result_of("commands", NULL);
	json_array_foreach (json_object_get(result, "commands"), i, one)
		n += !!json_string_value(json_object_get(one, "help"));
	ck_assert_uint_ge(n, 11);
	json_decref(result);
	control_rig_stop(&r);
}
END_TEST

START_TEST(figures)
{
	json_t *result, *all;

	control_rig_start(&r);
	result = result_of("stat", "{\"exits\":false}");
	all = json_object_get(result, "figures");
	ck_assert(json_is_integer(json_object_get(json_object_get(all, "vcpu0"), "mmio_exits")));
	json_decref(result);
	/* This host's KVM has no figures of its own. */
	ck_assert_ptr_nonnull(strstr(control_rig_ask(&r, "stat", "{\"exits\":true}"),
				     "KVM does not tell its figures"));
	control_rig_stop(&r);
}
END_TEST

START_TEST(debug)
{
	json_t *result, *hart, *registers;

	r.rig.cfg.cpus = 2;
	control_rig_start(&r);
	result = result_of("debug", NULL);
	ck_assert_uint_eq(json_array_size(json_object_get(result, "harts")), 2);
	hart = json_array_get(json_object_get(result, "harts"), 0);
	ck_assert_str_eq(json_string_value(json_object_get(hart, "state")), "started");
	registers = json_object_get(hart, "registers");
	/* Where the kernel was loaded: RAM base + 2 MiB. */
	ck_assert_str_eq(json_string_value(json_object_get(registers, "pc")), "0x0000000080200000");
	ck_assert_ptr_nonnull(json_object_get(registers, "t6"));
	ck_assert_ptr_nonnull(json_object_get(registers, "satp"));
	ck_assert_ptr_nonnull(json_object_get(registers, "f31"));
	ck_assert_str_eq(json_string_value(json_object_get(
				 json_array_get(json_object_get(result, "harts"), 1), "state")),
			 "stopped");
	json_decref(result);
	/* It goes on. */
	ck_assert_uint_eq(r.rig.vm->paused, 0);
	ck_assert(fake_wait_idle(r.rig.host, 0));
	ck_assert_str_eq(word_of("status", "state"), "running");
	control_rig_stop(&r);
}
END_TEST

START_TEST(reset)
{
	/* Whatever is configured for the guest's own. */
	r.rig.cfg.on_reset = RESET_EXIT;
	control_rig_start(&r);
	ck_assert_str_eq(ask("reset"), "{}");
	ck_assert(fake_wait_generation(r.rig.host, 1));
	ck_assert(fake_wait_idle(r.rig.host, 0));
	ck_assert_str_eq(word_of("status", "state"), "running");
	/* A paused VM is restarted and stays paused. */
	ck_assert_str_eq(ask("pause"), "{}");
	ck_assert_str_eq(ask("reset"), "{}");
	ck_assert(fake_wait_generation(r.rig.host, 2));
	ck_assert_str_eq(word_of("status", "state"), "paused");
	ck_assert_str_eq(ask("resume"), "{\"woken\":false}");
	ck_assert(fake_wait_idle(r.rig.host, 0));
	control_rig_stop(&r);
}
END_TEST

/* The next event of the VM; its data as JSON text. */
static const char *event(struct control_client *c, const char *name)
{
	static char text[256];
	json_t *object, *data;

	ck_assert_msg(!control_next_event(c, 10000, &object, &r.err), "%s", r.err.msg);
	ck_assert_str_eq(json_string_value(json_object_get(object, "event")), name);
	ck_assert_str_eq(json_string_value(json_object_get(object, "vm")), "a");
	ck_assert_int_gt(json_integer_value(json_object_get(object, "time")), 1700000000000);
	data = json_object_get(object, "data");
	ck_assert(json_is_object(data));
	text[json_dumpb(data, text, sizeof(text) - 1, JSON_COMPACT)] = '\0';
	json_decref(object);
	return text;
}

START_TEST(events)
{
	struct control_client *c;
	json_t *result, *none;

	control_rig_start(&r);
	c = control_connect("a", &r.err);
	ck_assert_ptr_nonnull(c);
	ck_assert_int_eq(control_send(c, "events", NULL, -1, &r.err), 0);
	ck_assert_int_eq(control_result(c, 10000, &result, &r.err), 0);
	json_decref(result);
	ck_assert_str_eq(event(c, "started"), "{}");
	ask("pause");
	ck_assert_str_eq(event(c, "paused"), "{}");
	ask("resume");
	ck_assert_str_eq(event(c, "resumed"), "{\"woken\":false}");
	/* The same connection takes further requests. */
	ck_assert_int_eq(control_send(c, "reset", NULL, -1, &r.err), 0);
	ck_assert_int_eq(control_result(c, 10000, &result, &r.err), 0);
	json_decref(result);
	ck_assert_str_eq(event(c, "reset"), "{}");
	ck_assert(fake_wait_idle(r.rig.host, 0));
	/* Nothing more: nothing has happened. */
	ck_assert_int_eq(control_next_event(c, 50, &none, &r.err), -1);
	control_rig_stop(&r);
	ck_assert_str_eq(event(c, "stopped"), "{\"reason\":\"stopped\"}");
	vm_destroy(r.rig.vm);
	r.rig.vm = NULL;
	ck_assert_int_eq(control_next_event(c, 10000, &none, &r.err), 1);
	control_hang_up(c);
}
END_TEST

/* "lkvm events" prints what it has heard, also where all came in one piece. */
START_TEST(events_at_once)
{
	char name[] = "a", *words[] = {name, NULL};
	struct pollfd pfd = {.events = POLLIN};
	char text[512];
	int fds[2];
	ssize_t n;
	pid_t pid;

	control_rig_start(&r);
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		dup2(fds[1], STDOUT_FILENO);
		_exit(cmd_events(&r.rig.log, 1, words));
	}
	close(fds[1]);
	pfd.fd = fds[0];
	ck_assert_int_eq(poll(&pfd, 1, 3000), 1);
	n = read(fds[0], text, sizeof(text) - 1);
	ck_assert_int_gt(n, 0);
	text[n] = '\0';
	ck_assert_ptr_nonnull(strstr(text, "\"event\":\"started\""));
	control_rig_stop(&r);
	vm_destroy(r.rig.vm);
	r.rig.vm = NULL;
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	close(fds[0]);
}
END_TEST

static void many_events(struct rig *rig, void *arg)
{
	unsigned int i, *nr = arg;

	for (i = 0; i < *nr; i++)
		control_event(rig->vm->control, "tick", json_pack("{s:i}", "nr", i));
}

/* Who takes none loses some, is told how many, and holds up nobody. */
START_TEST(slow_listener)
{
	unsigned int nr = 20000, got = 0, lost = 0;
	struct control_client *c;
	json_t *result, *one;
	const char *name;

	control_rig_start(&r);
	c = control_connect("a", &r.err);
	ck_assert_int_eq(control_send(c, "events", NULL, -1, &r.err), 0);
	ck_assert_int_eq(control_result(c, 10000, &result, &r.err), 0);
	json_decref(result);
	ck_assert_str_eq(event(c, "started"), "{}");
	rig_call(&r.rig, many_events, &nr);
	ck_assert_str_eq(word_of("status", "state"), "running");
	while (got + lost < nr) {
		ck_assert_msg(!control_next_event(c, 10000, &one, &r.err), "%s", r.err.msg);
		name = json_string_value(json_object_get(one, "event"));
		result = json_object_get(one, "data");
		if (!strcmp(name, "lost"))
			lost += (unsigned int)json_integer_value(json_object_get(result, "events"));
		else
			ck_assert_int_eq(json_integer_value(json_object_get(result, "nr")), got++);
		json_decref(one);
	}
	ck_assert_uint_gt(lost, 0);
	ck_assert_uint_gt(got, 100);
	ask("pause");
	ck_assert_str_eq(event(c, "paused"), "{}");
	control_hang_up(c);
	control_rig_stop(&r);
}
END_TEST

START_TEST(panic)
{
	static const struct fake_op program[] = {
		{.kind = FAKE_WAIT},
		{.kind = FAKE_PRINT, .addr = 0x10000000, .text = "Kernel panic - not syncing: x\n"},
		{.kind = FAKE_EVENT, .value = 2},
		{.kind = FAKE_END},
	};
	struct control_client *c;
	json_t *result;

	r.rig.host->programs[0] = program;
	control_rig_start(&r);
	c = control_connect("a", &r.err);
	ck_assert_int_eq(control_send(c, "events", NULL, -1, &r.err), 0);
	ck_assert_int_eq(control_result(c, 10000, &result, &r.err), 0);
	json_decref(result);
	ck_assert_str_eq(event(c, "started"), "{}");
	fake_poke(r.rig.host, 0);
	ck_assert_str_eq(event(c, "panic"), "{}");
	ck_assert_str_eq(event(c, "stopped"), "{\"reason\":\"died\"}");
	ck_assert_int_eq(rig_join(&r.rig), VM_DIED);
	control_hang_up(c);
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

	r.rig.host->programs[0] = program;
	rig_create(&r.rig);
	control_rig_listen(&r, &r.rig);
	rig_start(&r.rig);
	for (i = 0; i < 5000 && !vm_suspended(r.rig.vm); i++)
		usleep(1000);
	ck_assert(vm_suspended(r.rig.vm));
	ck_assert_str_eq(word_of("status", "state"), "suspended");
	ck_assert_ptr_nonnull(strstr(ask("stop"), "has suspended itself"));
	ck_assert_str_eq(ask("pause"), "{}");
	ck_assert_str_eq(ask("resume"), "{\"woken\":false}");
	ck_assert_str_eq(ask("resume"), "{\"woken\":true}");
	ck_assert_int_eq(rig_join(&r.rig), VM_POWEROFF);
}
END_TEST

START_TEST(made_paused)
{
	/* As a restored VM may be. */
	rig_create(&r.rig);
	ck_assert_int_eq(vm_pause(r.rig.vm, 0), 0);
	control_rig_listen(&r, &r.rig);
	rig_start(&r.rig);
	ck_assert_str_eq(word_of("status", "state"), "paused");
	ck_assert_str_eq(ask("resume"), "{\"woken\":false}");
	ck_assert(fake_wait_idle(r.rig.host, 0));
	control_rig_stop(&r);
}
END_TEST

START_TEST(a_vcpu_that_does_not_stop)
{
	static const struct fake_op program[] = {{.kind = FAKE_STUCK}, {.kind = FAKE_END}};

	r.rig.host->programs[0] = program;
	control_rig_start(&r);
	ck_assert_str_eq(ask("pause"), "a: a vCPU did not stop in time; the VM goes on");
	fake_poke(r.rig.host, 0);
	ck_assert_str_eq(ask("pause"), "{}");
	control_rig_stop(&r);
}
END_TEST

/* Nobody can be asked: the plain command ends the VM and says why, the other refuses. */
START_TEST(stop_without_button)
{
	json_t *result;

	control_rig_start(&r);
	ck_assert_ptr_nonnull(
		strstr(control_rig_ask(&r, "stop", "{\"how\":\"ask\"}"), "no power button"));
	ck_assert_ptr_nonnull(
		strstr(control_rig_ask(&r, "stop", "{\"how\":\"softly\"}"), "\"ask\" or \"kill\""));
	ck_assert_ptr_nonnull(
		strstr(control_rig_ask(&r, "stop", "{\"timeout\":-1}"), "0 to 86400"));
	result = result_of("stop", "{}");
	ck_assert_str_eq(json_string_value(json_object_get(result, "ended")), "stopped");
	ck_assert(json_is_true(json_object_get(result, "forced")));
	ck_assert_ptr_nonnull(
		strstr(json_string_value(json_object_get(result, "unasked")), "no power button"));
	json_decref(result);
	ck_assert_int_eq(rig_join(&r.rig), VM_QUIT);
}
END_TEST

static void start_with_button(const struct fake_op *program)
{
	r.rig.cfg.virtio[r.rig.cfg.nr_virtio++] =
		(struct virtio_request){.kind = &virtio_button_kind, .text = ""};
	r.rig.cfg.transport = TRANSPORT_MMIO;
	r.rig.host->programs[0] = program;
	control_rig_start(&r);
}

static struct control_client *stopping(int timeout)
{
	struct control_client *c = control_connect("a", &r.err);

	ck_assert_ptr_nonnull(c);
	ck_assert_int_eq(control_send(c, "stop",
				      json_pack("{s:s, s:i}", "how", "ask", "timeout", timeout), -1,
				      &r.err),
			 0);
	return c;
}

static const char *how_ended(struct control_client *c)
{
	static char text[128];
	json_t *result;

	ck_assert_msg(!control_result(c, 20000, &result, &r.err), "%s", r.err.msg);
	text[json_dumpb(result, text, sizeof(text) - 1, JSON_COMPACT)] = '\0';
	json_decref(result);
	return text;
}

START_TEST(stop_asked)
{
	struct control_client *c, *other;
	json_t *result;

	start_with_button(control_rig_button_driver);
	/* A guest that stands still can't be asked. */
	ask("pause");
	ck_assert_ptr_nonnull(
		strstr(control_rig_ask(&r, "stop", "{\"how\":\"ask\"}"), "is paused"));
	ck_assert_ptr_nonnull(strstr(ask("stop"), "is paused"));
	ask("resume");
	c = stopping(600);
	other = stopping(600);
	/* It takes its time, and others are served meanwhile. */
	ck_assert_int_eq(control_result(c, 100, &result, &r.err), -1);
	ck_assert_str_eq(word_of("status", "state"), "running");
	fake_poke(r.rig.host, 0);
	ck_assert_str_eq(how_ended(c), "{\"ended\":\"poweroff\",\"forced\":false}");
	ck_assert_str_eq(how_ended(other), "{\"ended\":\"poweroff\",\"forced\":false}");
	ck_assert_int_eq(rig_join(&r.rig), VM_POWEROFF);
	/* The VM's name is free when the connection ends. */
	vm_destroy(r.rig.vm);
	r.rig.vm = NULL;
	ck_assert_int_eq(control_wait_gone(c, 10000, &r.err), 0);
	ck_assert_str_eq(ask("status"), "no VM called a runs here");
	control_hang_up(c);
	control_hang_up(other);
}
END_TEST

START_TEST(stop_in_vain)
{
	uint64_t begin = now_ns();
	struct control_client *c;

	start_with_button(control_rig_button_driver);
	c = stopping(1);
	ck_assert_str_eq(how_ended(c), "{\"ended\":\"stopped\",\"forced\":true}");
	ck_assert_uint_ge(now_ns() - begin, NSEC_PER_SEC);
	control_hang_up(c);
	ck_assert_int_eq(rig_join(&r.rig), VM_QUIT);
}
END_TEST

/* The client leaves; the VM's patience ends all the same. */
START_TEST(stop_and_leave)
{
	start_with_button(control_rig_button_driver);
	control_hang_up(stopping(0));
	ck_assert_int_eq(rig_join(&r.rig), VM_QUIT);
}
END_TEST

START_TEST(stop_impatiently)
{
	struct control_client *c;

	start_with_button(control_rig_button_driver);
	c = stopping(600);
	control_rig_stop(&r);
	ck_assert_str_eq(how_ended(c), "{\"ended\":\"stopped\",\"forced\":true}");
	control_hang_up(c);
}
END_TEST

START_TEST(stop_without_driver)
{
	static const struct fake_op program[] = {{.kind = FAKE_END}};

	start_with_button(program);
	ck_assert_ptr_nonnull(
		strstr(control_rig_ask(&r, "stop", "{\"how\":\"ask\"}"), "no driver"));
	ck_assert_ptr_nonnull(strstr(control_rig_ask(&r, "stop", NULL), "no driver"));
	ck_assert_int_eq(rig_join(&r.rig), VM_QUIT);
}
END_TEST

/* --- later answers, descriptors --------------------------------------------- */

static struct control_later *waiting[2];
static size_t nr_waiting;

static int do_later(struct control_call *call, json_t **result, struct error *err)
{
	(void)result;
	waiting[nr_waiting] = control_later(call, err);
	return waiting[nr_waiting++] ? CONTROL_LATER : -1;
}

static int do_at_once(struct control_call *call, json_t **result, struct error *err)
{
	struct control_later *later = control_later(call, err);

	(void)result;
	control_answer(later, json_pack("{s:i}", "at", 1), NULL);
	return CONTROL_LATER;
}

/* Another request comes while the handler turns the loop: it has to wait. */
static int do_turn(struct control_call *call, json_t **result, struct error *err)
{
	uint64_t begin = now_ns();

	(void)err;
	while (now_ns() - begin < 300 * NSEC_PER_MSEC)
		loop_run_once(call->vm->loop, 50);
	*result = json_pack("{s:b}", "paused", call->vm->paused != 0);
	return 0;
}

static int do_take(struct control_call *call, json_t **result, struct error *err)
{
	char text[16] = "";

	if (call->fd < 0)
		return fail(err, "no descriptor came");
	ck_assert_int_ge(pread(call->fd, text, sizeof(text) - 1, 0), 0);
	*result = json_pack("{s:s}", "text", text);
	return 0;
}

static const struct control_command more_commands[] = {
	{"later", do_later, "answers when told to"},
	{"at-once", do_at_once, "answers before it comes back"},
	{"turn", do_turn, "turns the loop"},
	{"take", do_take, "reads from a descriptor"},
	{NULL, NULL, NULL},
};

static void start_with_more(void)
{
	static const struct control_command *const tables[] = {control_core_commands, more_commands,
							       NULL};

	nr_waiting = 0;
	rig_create(&r.rig);
	r.rig.vm->control = control_create(r.rig.vm, tables, &r.err);
	ck_assert_ptr_nonnull(r.rig.vm->control);
	rig_start(&r.rig);
	ck_assert(fake_wait_idle(r.rig.host, 0));
}

static void answer_first(struct rig *rig, void *arg)
{
	(void)rig;
	control_answer(waiting[0], json_pack("{s:s}", "word", (const char *)arg), NULL);
}

static struct control_client *asking(const char *command)
{
	struct control_client *c = control_connect("a", &r.err);

	ck_assert_msg(c, "%s", r.err.msg);
	ck_assert_int_eq(control_send(c, command, NULL, -1, &r.err), 0);
	return c;
}

START_TEST(later)
{
	struct control_client *first, *second;
	static char word[] = "done";
	json_t *result;

	start_with_more();
	ck_assert_str_eq(ask("at-once"), "{\"at\":1}");
	first = asking("later");
	/* What is asked behind it waits for it. */
	ck_assert_int_eq(control_send(first, "status", NULL, -1, &r.err), 0);
	/* Others do not. */
	ck_assert_str_eq(word_of("status", "state"), "running");
	ck_assert_int_eq(control_result(first, 50, &result, &r.err), -1);
	rig_call(&r.rig, answer_first, word);
	ck_assert_int_eq(control_result(first, 10000, &result, &r.err), 0);
	ck_assert_str_eq(json_string_value(json_object_get(result, "state")), "running");
	json_decref(result);
	/* One that leaves before it is answered. */
	nr_waiting = 0;
	second = asking("later");
	ck_assert_str_eq(word_of("status", "state"), "running");
	control_hang_up(second);
	ck_assert_str_eq(word_of("status", "state"), "running");
	rig_call(&r.rig, answer_first, word);
	/* One that is not answered before the VM ends. */
	nr_waiting = 0;
	second = asking("later");
	ck_assert_str_eq(word_of("status", "state"), "running");
	control_rig_stop(&r);
	vm_destroy(r.rig.vm);
	r.rig.vm = NULL;
	ck_assert_int_eq(control_result(second, 10000, &result, &r.err), -1);
	ck_assert_str_eq(r.err.msg, "a: the VM has ended");
	control_hang_up(second);
	control_hang_up(first);
}
END_TEST

START_TEST(one_at_a_time)
{
	struct control_client *first, *second;
	json_t *result;

	start_with_more();
	first = asking("turn");
	usleep(50000);
	second = asking("pause");
	ck_assert_int_eq(control_result(first, 10000, &result, &r.err), 0);
	ck_assert(json_is_false(json_object_get(result, "paused")));
	json_decref(result);
	ck_assert_int_eq(control_result(second, 10000, &result, &r.err), 0);
	json_decref(result);
	ck_assert_str_eq(word_of("status", "state"), "paused");
	control_hang_up(first);
	/* One that leaves while its own request is at work. */
	first = asking("turn");
	usleep(50000);
	control_hang_up(first);
	ck_assert_str_eq(word_of("status", "state"), "paused");
	control_hang_up(second);
	control_rig_stop(&r);
}
END_TEST

START_TEST(passed_descriptor)
{
	struct control_client *c;
	json_t *result;
	int fd = memfd_create("passed", MFD_CLOEXEC), i;
	size_t before;

	ck_assert_int_eq(write(fd, "content", 7), 7);
	start_with_more();
	before = open_fds();
	c = control_connect("a", &r.err);
	ck_assert_int_eq(control_send(c, "take", NULL, fd, &r.err), 0);
	ck_assert_int_eq(control_result(c, 10000, &result, &r.err), 0);
	ck_assert_str_eq(json_string_value(json_object_get(result, "text")), "content");
	json_decref(result);
	ck_assert_int_eq(control_send(c, "take", NULL, -1, &r.err), 0);
	ck_assert_int_eq(control_result(c, 10000, &result, &r.err), -1);
	ck_assert_str_eq(r.err.msg, "a: no descriptor came");
	/* To a command that wants none, or to none at all: closed. */
	ck_assert_int_eq(control_send(c, "status", NULL, fd, &r.err), 0);
	ck_assert_int_eq(control_result(c, 10000, &result, &r.err), 0);
	json_decref(result);
	for (i = 0; i < 10; i++) {
		ck_assert_int_eq(control_send(c, "dance", NULL, fd, &r.err), 0);
		ck_assert_int_eq(control_result(c, 10000, &result, &r.err), -1);
	}
	control_hang_up(c);
	ck_assert_str_eq(word_of("status", "state"), "running");
	for (i = 0; i < 100 && open_fds() > before; i++)
		usleep(10000);
	ck_assert_uint_eq(open_fds(), before);
	control_rig_stop(&r);
	close(fd);
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
	tcase_add_test(tc, status_and_info);
	tcase_add_test(tc, all_commands);
	tcase_add_test(tc, figures);
	tcase_add_test(tc, debug);
	tcase_add_test(tc, reset);
	tcase_add_test(tc, events);
	tcase_add_test(tc, events_at_once);
	tcase_add_test(tc, slow_listener);
	tcase_add_test(tc, panic);
	tcase_add_test(tc, wake_from_suspend);
	tcase_add_test(tc, made_paused);
	tcase_add_test(tc, a_vcpu_that_does_not_stop);
	tcase_add_test(tc, stop_without_button);
	tcase_add_test(tc, stop_asked);
	tcase_add_test(tc, stop_in_vain);
	tcase_add_test(tc, stop_and_leave);
	tcase_add_test(tc, stop_impatiently);
	tcase_add_test(tc, stop_without_driver);
	tcase_add_test(tc, later);
	tcase_add_test(tc, one_at_a_time);
	tcase_add_test(tc, passed_descriptor);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
