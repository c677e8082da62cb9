// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host's side of a VM that runs: what a helper program could inherit, what listens to
 * a network, sizes beyond all bounds, and signals. (Who talks to the control socket:
 * test_control_hostile.c. Helpers, their environment and their death: test_helper.c,
 * test_virtio_net_socket.c, test_virtio_fs.c. The terminal: test_process.c.)
 */
#include "control_rig.h"
#include "lkvm/attach.h"
#include "lkvm/console_log.h"
#include "lkvm/guest_console.h"
#include "lkvm/options.h"
#include "lkvm/process.h"
#include "lkvm/virtio/blk.h"
#include "lkvm/virtio/button.h"
#include "lkvm/virtio/kind.h"
#include "lkvm/virtio/p9.h"
#include "lkvm/virtio/rng.h"
#include "unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct control_rig r;
static bool theirs[1024]; /* descriptors that were open before: the test framework's */

static void setup(void)
{
	int fd;

	for (fd = 0; fd < (int)ARRAY_SIZE(theirs); fd++)
		theirs[fd] = fcntl(fd, F_GETFD) >= 0;
	control_rig_init(&r);
}

static void teardown(void)
{
	control_rig_end(&r);
}

/* All descriptors that the VM and its rig have opened. */
static void each_descriptor(void (*fn)(int fd, const char *what))
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	char what[256];
	ssize_t n;

	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir))) {
		int fd = atoi(entry->d_name);

		if (fd == dirfd(dir) || (fd < (int)ARRAY_SIZE(theirs) && theirs[fd]))
			continue;
		n = readlinkat(dirfd(dir), entry->d_name, what, sizeof(what) - 1);
		/* Gone meanwhile: a client's. */
		if (n <= 0)
			continue;
		what[n] = '\0';
		fn(fd, what);
	}
	closedir(dir);
}

static void closes_by_itself(int fd, const char *what)
{
	int flags = fcntl(fd, F_GETFD);

	if (flags >= 0)
		ck_assert_msg(flags & FD_CLOEXEC, "a program started now would inherit %s", what);
}

/* /proc/net/tcp: a line has "sl: local remote st ... inode" ; 0A: it listens. */
static bool listens(const char *path, unsigned long inode)
{
	FILE *f = fopen(path, "re");
	unsigned long nr;
	char line[256];
	unsigned int st;
	bool found = false;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " %*s %*s %*s %x %*s %*s %*s %*s %*s %lu", &st, &nr) == 2)
			found |= st == 0x0a && nr == inode;
	if (f)
		fclose(f);
	return found;
}

static void is_no_server(int fd, const char *what)
{
	static const char *const tables[] = {"/proc/net/tcp", "/proc/net/tcp6"};
	struct stat st;
	size_t i;

	if (fstat(fd, &st) || !S_ISSOCK(st.st_mode))
		return;
	for (i = 0; i < ARRAY_SIZE(tables); i++)
		ck_assert_msg(!listens(tables[i], st.st_ino), "%s listens to a network", what);
}

static void client_and_terminal(int pair[2])
{
	struct control_client *c = control_connect("a", &r.err);
	json_t *result;

	ck_assert_msg(c, "%s", r.err.msg);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_int_eq(control_send(c, "attach", NULL, pair[1], &r.err), 0);
	ck_assert_msg(!control_result(c, CONTROL_ANSWER_MS, &result, &r.err), "%s", r.err.msg);
	json_decref(result);
	control_hang_up(c);
}

/* With devices that have files, a log, a terminal; none needs a helper. */
START_TEST(descriptors)
{
	static const struct control_command *const tables[] = {control_core_commands,
							       attach_commands, NULL};
	static char disk[100], share[100], logfile[100];
	struct console_log cl = {.fd = 0};
	int pair[2], fd;

	snprintf(disk, sizeof(disk), "%s/disk", r.runtime);
	snprintf(share, sizeof(share), "%s,tag", r.runtime);
	snprintf(logfile, sizeof(logfile), "%s/log", r.runtime);
	fd = open(disk, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	ck_assert_int_eq(ftruncate(fd, MIB), 0);
	close(fd);
	r.rig.cfg.virtio[0] = (struct virtio_request){&virtio_blk_kind, disk};
	r.rig.cfg.virtio[1] = (struct virtio_request){&virtio_p9_kind, share};
	r.rig.cfg.virtio[2] = (struct virtio_request){&virtio_rng_kind, ""};
	r.rig.cfg.virtio[3] = (struct virtio_request){&virtio_button_kind, ""};
	r.rig.cfg.nr_virtio = 4;
	rig_create(&r.rig);
	ck_assert_msg(!console_log_open(&cl, logfile, &r.err), "%s", r.err.msg);
	console_log_start(&cl, r.rig.vm);
	r.rig.vm->control = control_create(r.rig.vm, tables, &r.err);
	ck_assert_msg(r.rig.vm->control, "%s", r.err.msg);
	rig_start(&r.rig);
	ck_assert(fake_wait_idle(r.rig.host, 0));
	client_and_terminal(pair);
	each_descriptor(closes_by_itself);
	each_descriptor(is_no_server);
	close(pair[0]);
	close(pair[1]);
	control_rig_stop(&r);
	vm_destroy(r.rig.vm);
	r.rig.vm = NULL;
	console_log_close(&cl);
	unlink(disk);
	unlink(logfile);
}
END_TEST

/* The check above would find one: the same for a socket that does listen. */
START_TEST(servers_are_seen)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat st;

	if (fd >= 0 && !listen(fd, 1)) {
		ck_assert_int_eq(fstat(fd, &st), 0);
		ck_assert(listens("/proc/net/tcp", st.st_ino));
	}
	close(fd);
}
END_TEST

/* --- sizes ------------------------------------------------------------------------ */

static long resident_kib(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss;
}

START_TEST(sizes)
{
	static const char *const bad[] = {
		"99999999T",
		"18446744073709551615T",
		"18446744073709551616",
		"0x1ffffffffffffffff",
		"-1",
		"1e9",
		"16777216T",
		"",
	};
	static const uint64_t huge[] = {UINT64_MAX - MIB + 1, UINT64_C(1) << 63, UINT64_C(1) << 60};
	long before = resident_kib();
	uint64_t bytes;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		r.err.msg[0] = '\0';
		ck_assert_msg(parse_size(bad[i], MIB, &bytes, &r.err) == -1, "%s: %llu", bad[i],
			      (unsigned long long)bytes);
		ck_assert_msg(*r.err.msg, "%s", bad[i]);
	}
	/* What fits a number fits no machine: one line, and nothing is touched. */
	for (i = 0; i < ARRAY_SIZE(huge); i++) {
		r.rig.cfg.mem[0].size = huge[i] / MIB * MIB;
		r.err.msg[0] = '\0';
		ck_assert_ptr_null(
			vm_create(&r.rig.cfg, fake_host_sys(r.rig.host), &r.rig.log, &r.err));
		ck_assert_msg(rig_one_line(r.err.msg), "%s", r.err.msg);
	}
	/* Two that are each possible, and together go round. */
	r.rig.cfg.mem[0].size = UINT64_C(1) << 63;
	r.rig.cfg.mem[1] = (struct mem_request){.size = UINT64_C(1) << 63, .placed = true};
	r.rig.cfg.nr_mem = 2;
	ck_assert_ptr_null(vm_create(&r.rig.cfg, fake_host_sys(r.rig.host), &r.rig.log, &r.err));
	ck_assert_msg(rig_one_line(r.err.msg), "%s", r.err.msg);
	ck_assert_int_le(resident_kib() - before, 64 * 1024);
}
END_TEST

/* Many vCPUs become as many as KVM takes, with one line; large RAM is not taken before use. */
START_TEST(large_but_possible)
{
	long before = resident_kib();

	r.rig.host->max_vcpus = 8;
	r.rig.cfg.cpus = 100000;
	r.rig.cfg.mem[0].size = 64 * UINT64_C(1024) * MIB;
	rig_create(&r.rig);
	ck_assert_uint_eq(r.rig.vm->nr_vcpus, 8);
	ck_assert_int_le(resident_kib() - before, 64 * 1024);
}
END_TEST

/* --- signals ---------------------------------------------------------------------- */

static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

/* An orderly end: the VM's verdict, its name free, its output out. */
START_TEST(ended_by_signal)
{
	char text[64];
	int fd;

	/* Before there is a thread. */
	fd = process_signal_fd(&r.err);
	ck_assert_int_ge(fd, 0);
	rig_create(&r.rig);
	control_rig_listen(&r, &r.rig);
	r.rig.vm->signal_fd = fd;
	rig_start(&r.rig);
	ck_assert(fake_wait_idle(r.rig.host, 0));
	guest_console_write(r.rig.vm->console, "last words\n", 11);
	kill(getpid(), ends[_i]);
	ck_assert_int_eq(rig_join(&r.rig), VM_SIGNAL);
	ck_assert_int_eq(r.rig.vm->end_signal, ends[_i]);
	vm_destroy(r.rig.vm);
	r.rig.vm = NULL;
	ck_assert_int_eq(access(control_rig_path(&r, "a.sock"), F_OK), -1);
	ck_assert_int_eq(access(control_rig_path(&r, "a.lock"), F_OK), -1);
	ck_assert_str_eq(rig_output(&r.rig, text, sizeof(text)), "last words\n");
	close(fd);
}
END_TEST

/* SIGTERM asks a guest that has a button, and a second one ends the VM, as any other does. */
START_TEST(asked_by_signal)
{
	int fd = process_signal_fd(&r.err);

	r.rig.cfg.virtio[r.rig.cfg.nr_virtio++] = (struct virtio_request){&virtio_button_kind, ""};
	r.rig.cfg.transport = TRANSPORT_MMIO;
	r.rig.host->programs[0] = control_rig_button_driver;
	rig_create(&r.rig);
	control_rig_listen(&r, &r.rig);
	r.rig.vm->signal_fd = fd;
	rig_start(&r.rig);
	ck_assert(fake_wait_idle(r.rig.host, 0));
	if (_i == 2)
		ck_assert_str_eq(control_rig_ask(&r, "pause", NULL), "{}");
	kill(getpid(), SIGTERM);
	if (_i < 2) {
		usleep(100000);
		ck_assert_str_eq(control_rig_ask(&r, "pause", NULL), "{}");
		ck_assert_str_eq(control_rig_ask(&r, "resume", NULL), "{\"woken\":false}");
		if (_i)
			kill(getpid(), SIGTERM);
		else
			fake_poke(r.rig.host, 0);
	}
	/* A guest that stands still can't be asked. */
	ck_assert_int_eq(rig_join(&r.rig), _i ? VM_SIGNAL : VM_POWEROFF);
	close(fd);
}
END_TEST

/* Whoever read the console is gone: that is a line, and the guest lives on. */
START_TEST(reader_gone)
{
	static char text[65536];
	int i;

	control_rig_start(&r);
	close(r.rig.out);
	for (i = 0; i < 1000; i++)
		ck_assert_uint_eq(guest_console_write(r.rig.vm->console, "words\n", 6), 6);
	r.rig.out = dup(r.rig.log_fd);
	rig_log(&r.rig, text, sizeof(text));
	ck_assert_ptr_nonnull(strstr(text, "Warning: console output is dropped from now on: "
					   "Broken pipe"));
	ck_assert_str_eq(control_rig_ask(&r, "pause", NULL), "{}");
	ck_assert_str_eq(control_rig_ask(&r, "resume", NULL), "{\"woken\":false}");
	control_rig_stop(&r);
}
END_TEST

/* A client killed in the middle of its answer, or of its being served. */
START_TEST(clients_killed)
{
	static const char request[] = "{\"version\":1,\"command\":\"info\"}\n";
	int i, status;
	pid_t pid;

	control_rig_start(&r);
	for (i = 0; i < 20; i++) {
		pid = fork();
		if (!pid) {
			int fd = control_rig_dial(&r, "a.sock");

			for (;;)
				if (write(fd, request, sizeof(request) - 1) < 0)
					pause();
		}
		usleep(20000);
		kill(pid, SIGKILL);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_str_eq(control_rig_ask(&r, "pause", NULL), "{}");
		ck_assert_str_eq(control_rig_ask(&r, "resume", NULL), "{\"woken\":false}");
	}
	control_rig_stop(&r);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("host_hostile");
	TCase *tc = tcase_create("host");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, descriptors);
	tcase_add_test(tc, servers_are_seen);
	tcase_add_test(tc, sizes);
	tcase_add_test(tc, large_but_possible);
	tcase_add_loop_test(tc, ended_by_signal, 0, ARRAY_SIZE(ends));
	tcase_add_loop_test(tc, asked_by_signal, 0, 3);
	tcase_add_test(tc, reader_gone);
	tcase_add_test(tc, clients_killed);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
