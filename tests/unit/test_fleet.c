// SPDX-License-Identifier: GPL-2.0-only
/*
 * Twenty VMs side by side in one process, each on a host of its own, with its control
 * socket, its console and a balloon; twenty clients that at the same time look, pause,
 * resume, set the balloon, attach, listen and stop, and one that sends nonsense to all. Each
 * gets the answers of its own VM.
 */
#include "control_rig.h"
#include "lkvm/attach.h"
#include "lkvm/guest_console.h"
#include "lkvm/virtio/balloon.h"
#include "lkvm/virtio/kind.h"
#include "unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define NR 20
#define ROUNDS 5

static struct member {
	struct rig rig;
	char name[8];
	unsigned int nr;
	pthread_t thread;
} fleet[NR];

static char runtime[64];
static atomic_bool over;

/* A command to one of them; the answer as compact JSON. */
static void ask(const struct member *m, const char *command, const char *arguments,
		const char *wanted)
{
	char got[1024];
	json_t *result;
	struct error err;
	size_t len;

	if (control_ask(m->name, command, arguments ? json_loads(arguments, 0, NULL) : NULL,
			&result, &err)) {
		snprintf(got, sizeof(got), "%s", err.msg);
	} else {
		len = json_dumpb(result, got, sizeof(got) - 1, JSON_COMPACT);
		got[min_u64(len, sizeof(got) - 1)] = '\0';
		json_decref(result);
	}
	ck_assert_msg(strstr(got, wanted), "%s, %s: %s instead of %s", m->name, command, got,
		      wanted);
}

static void set_balloon(const struct member *m, unsigned int round)
{
	char words[80], wanted[40];

	snprintf(words, sizeof(words), "{\"device\":\"balloon0\",\"words\":\"target %u\"}",
		 (m->nr + round + 1) << 20);
	snprintf(wanted, sizeof(wanted), "target %uM, ", m->nr + round + 1);
	ask(m, "device", words, "{\"text\":\"\"}");
	ask(m, "device", "{\"device\":\"balloon0\",\"words\":\"show\"}", wanted);
}

/* What this VM's guest says is heard here, and nothing that another's says. */
static void sit_at(const struct member *m, unsigned int round)
{
	struct control_client *c;
	struct error err;
	json_t *result;
	char words[64], heard[64] = "";
	size_t len = 0;
	int pair[2];
	ssize_t n;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	c = control_connect(m->name, &err);
	ck_assert_msg(c, "%s", err.msg);
	ck_assert_int_eq(control_send(c, "attach", NULL, pair[1], &err), 0);
	ck_assert_msg(!control_result(c, CONTROL_ANSWER_MS, &result, &err), "%s", err.msg);
	json_decref(result);
	control_hang_up(c);
	close(pair[1]);
	snprintf(words, sizeof(words), "words of %s in round %u\n", m->name, round);
	ck_assert_uint_eq(guest_console_write(m->rig.vm->console, words, strlen(words)),
			  strlen(words));
	while (len < strlen(words)) {
		n = read(pair[0], heard + len, sizeof(heard) - 1 - len);
		ck_assert_int_gt(n, 0);
		len += (size_t)n;
	}
	ck_assert_str_eq(heard, words);
	close(pair[0]);
}

static void status_is(const struct member *m, const char *state)
{
	char wanted[64];

	snprintf(wanted, sizeof(wanted), "{\"name\":\"%s\",", m->name);
	ask(m, "status", NULL, wanted);
	snprintf(wanted, sizeof(wanted), "\"state\":\"%s\"", state);
	ask(m, "status", NULL, wanted);
	snprintf(wanted, sizeof(wanted), "\"memory\":%llu",
		 (unsigned long long)((64 + m->nr) * MIB));
	ask(m, "status", NULL, wanted);
}

/* Events: all of them are of this VM, and as many as there were. */
static struct control_client *listen_to(const struct member *m)
{
	struct error err;
	struct control_client *c = control_connect(m->name, &err);
	json_t *result;

	ck_assert_msg(c, "%s", err.msg);
	ck_assert_int_eq(control_send(c, "events", NULL, -1, &err), 0);
	ck_assert_int_eq(control_result(c, CONTROL_ANSWER_MS, &result, &err), 0);
	json_decref(result);
	return c;
}

static void check_events(const struct member *m, struct control_client *c)
{
	unsigned int pauses = 0, resumes = 0, stops = 0, others = 0;
	struct error err;
	json_t *event;
	int ret;

	while (!(ret = control_next_event(c, 20000, &event, &err))) {
		const char *name = json_string_value(json_object_get(event, "event"));

		ck_assert_str_eq(json_string_value(json_object_get(event, "vm")), m->name);
		pauses += !strcmp(name, "paused");
		resumes += !strcmp(name, "resumed");
		stops += !strcmp(name, "stopped");
		others += !strcmp(name, "reset") || !strcmp(name, "panic");
		json_decref(event);
		if (stops)
			break;
	}
	ck_assert_uint_eq(pauses, ROUNDS);
	ck_assert_uint_eq(resumes, ROUNDS);
	ck_assert_uint_eq(stops, 1);
	ck_assert_uint_eq(others, 0);
	control_hang_up(c);
}

static void *be_client(void *opaque)
{
	struct member *m = opaque;
	struct control_client *events = listen_to(m);
	unsigned int round;

	for (round = 0; round < ROUNDS; round++) {
		status_is(m, "running");
		ask(m, "pause", NULL, "{}");
		status_is(m, "paused");
		set_balloon(m, round);
		ask(m, "resume", NULL, "{\"woken\":false}");
		sit_at(m, round);
	}
	ask(m, "stop", "{\"how\":\"kill\"}", "{\"ended\":\"stopped\",\"forced\":true}");
	check_events(m, events);
	return NULL;
}

/* Half a message, nothing, nonsense, to one after the other, until all is over. */
static void *be_nuisance(void *opaque)
{
	static const char *const words[] = {"", "{\"version\":1,\"comm", "\0\0\0\0\n", "[]\n",
					    "{\"version\":1,\"command\":\"attach\"}\n"};
	unsigned int i;

	(void)opaque;
	for (i = 0; !atomic_load(&over); i++) {
		struct sockaddr_un addr = {.sun_family = AF_UNIX};
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

		snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/lkvm/%s.sock", runtime,
			 fleet[i % NR].name);
		if (!connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
			send(fd, words[i % ARRAY_SIZE(words)],
			     i % 5 == 2 ? 5 : strlen(words[i % ARRAY_SIZE(words)]), MSG_NOSIGNAL);
		usleep(2000);
		close(fd);
	}
	return NULL;
}

static void launch(struct member *m, unsigned int nr)
{
	static const struct control_command *const tables[] = {control_core_commands,
							       attach_commands, NULL};

	m->nr = nr;
	snprintf(m->name, sizeof(m->name), "vm%u", nr);
	rig_init(&m->rig, FAKE_7_2);
	m->rig.cfg.name = m->name;
	m->rig.cfg.mem[0].size = (64 + nr) * MIB;
	m->rig.cfg.console_in = -1;
	m->rig.cfg.virtio[m->rig.cfg.nr_virtio++] =
		(struct virtio_request){&virtio_balloon_kind, ""};
	rig_create(&m->rig);
	m->rig.vm->control = control_create(m->rig.vm, tables, &m->rig.err);
	ck_assert_msg(m->rig.vm->control, "%s", m->rig.err.msg);
	rig_start(&m->rig);
	ck_assert(fake_wait_idle(m->rig.host, 0));
}

START_TEST(twenty)
{
	char **names, text[1024], dir[80];
	pthread_t nuisance;
	struct error err;
	size_t before = open_fds();
	unsigned int i;

	snprintf(runtime, sizeof(runtime), "/tmp/lkvm-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(runtime));
	setenv("XDG_RUNTIME_DIR", runtime, 1);
	for (i = 0; i < NR; i++)
		launch(&fleet[i], i);
	ck_assert_int_eq(control_names(&names, &err), NR);
	ck_assert_str_eq(names[0], "vm0");
	ck_assert_str_eq(names[NR - 1], "vm9");
	control_names_free(names);
	ck_assert_int_eq(pthread_create(&nuisance, NULL, be_nuisance, NULL), 0);
	for (i = 0; i < NR; i++)
		ck_assert_int_eq(pthread_create(&fleet[i].thread, NULL, be_client, &fleet[i]), 0);
	for (i = 0; i < NR; i++) {
		ck_assert_int_eq(pthread_join(fleet[i].thread, NULL), 0);
		ck_assert_int_eq(rig_join(&fleet[i].rig), VM_QUIT);
	}
	atomic_store(&over, true);
	ck_assert_int_eq(pthread_join(nuisance, NULL), 0);
	for (i = 0; i < NR; i++) {
		vm_destroy(fleet[i].rig.vm);
		fleet[i].rig.vm = NULL;
	}
	for (i = 0; i < NR; i++) {
		unsigned int round;
		char *p = text;

		rig_output(&fleet[i].rig, text, sizeof(text));
		for (round = 0; round < ROUNDS; round++) {
			char line[64];
			int len = snprintf(line, sizeof(line), "words of %s in round %u\n",
					   fleet[i].name, round);

			ck_assert_msg(!strncmp(p, line, (size_t)len), "%s", text);
			p += len;
		}
		ck_assert_str_eq(p, "");
		/* All VMs are gone: what is left of each is the rig's own log, kernel and pipes. */
		fleet[i].rig.fds_before = open_fds() - 6;
		rig_end(&fleet[i].rig);
	}
	ck_assert_uint_eq(open_fds(), before);
	snprintf(dir, sizeof(dir), "%s/lkvm", runtime);
	ck_assert_int_eq(rmdir(dir), 0);
	ck_assert_int_eq(rmdir(runtime), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fleet");
	TCase *tc = tcase_create("fleet");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, twenty);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
