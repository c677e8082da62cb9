// SPDX-License-Identifier: GPL-2.0-only
/*
 * "--vsock ...,ready=PORT": the guest's word that it is ready, through the rings and from a
 * program, in every form it may have; what else is said there; and AF_VSOCK, where the
 * kernel has a loopback for it.
 */
#include "../../virtio/vsock_internal.h"
#include "unit.h"
#include "vsock_driver.h"

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

#include <linux/vm_sockets.h>

#define PORT 9001

static struct vd vd;
static struct loop *loop;
static struct log quiet;
static struct virtio_world world;
static char dir[32], path[64], port_path[80];
static int will, told;
static char status[256];

static void on_ready(void *opaque, const char *text)
{
	ck_assert_ptr_eq(opaque, &vd);
	if (!text) {
		will++;
		return;
	}
	told++;
	snprintf(status, sizeof(status), "%s", text);
}

static void setup(void)
{
	strcpy(dir, "/tmp/lkvm-ready.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/v", dir);
	snprintf(port_path, sizeof(port_path), "%s_%d", path, PORT);
	vd_memory(&vd);
	loop = loop_create(NULL);
	log_init(&quiet, 2, LOG_LEVEL_FATAL);
	will = told = 0;
	world = (struct virtio_world){.name = "vsock0",
				      .mem = &vd.mem,
				      .loop = loop,
				      .log = &quiet,
				      .nr_vcpus = 1,
				      .vm_name = "vm",
				      .ready = on_ready,
				      .opaque = &vd};
}

static void teardown(void)
{
	loop_destroy(loop);
	/* Nothing is left behind. */
	ck_assert_int_eq(rmdir(dir), 0);
}

static void turn(void)
{
	while (loop_run_once(loop, 0) > 0)
		;
}

static struct virtio_device *build(void)
{
	struct virtio_device *vdev;
	struct error err;
	char text[128];

	snprintf(text, sizeof(text), "42,uds=%s,ready=%d", path, PORT);
	ck_assert_msg(!virtio_vsock_kind.build(&world, text, &vdev, &err), "%s", err.msg);
	ck_assert_int_eq(will, 1);
	/* Nothing is there before the start. */
	ck_assert_int_ne(access(port_path, F_OK), 0);
	ck_assert_msg(!virtio_device_start(vdev, &err), "%s", err.msg);
	return vdev;
}

static int program(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, port_path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	turn();
	return fd;
}

static void put(int fd, const char *text, size_t len)
{
	ck_assert_int_eq(send(fd, text, len, MSG_NOSIGNAL), (ssize_t)len);
	turn();
}

START_TEST(through_the_rings)
{
	static const char words[] = "STATUS=up and running\nREADY=1";
	struct stat st;
	struct pkt p;

	vd_start(&vd, build(), 0);
	ck_assert_int_eq(stat(port_path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	vd_buffers(&vd, 16, 4096);
	vd_op(&vd, OP_REQUEST, 1000, PORT);
	vd_expect(&vd, OP_RESPONSE, 1000, PORT);
	p = vd_packet(OP_RW, 1000, PORT);
	p.len = strlen(words);
	ck_assert(vd_send(&vd, &p, words, p.len));
	turn();
	/* The line has no end yet. */
	ck_assert_int_eq(told, 0);
	p = vd_packet(OP_SHUTDOWN, 1000, PORT);
	p.flags = 2;
	ck_assert(vd_send(&vd, &p, NULL, 0));
	turn();
	ck_assert_int_eq(told, 1);
	ck_assert_str_eq(status, "up and running");
	vd_stop(&vd);
	ck_assert_int_ne(access(port_path, F_OK), 0);
}
END_TEST

static const struct {
	const char *words;
	bool end, told;
	const char *status;
} sayings[] = {
	{"READY=1\n", false, true, ""},
	{"READY=1", true, true, ""},
	{"X_SYSTEMD_HOSTNAME=a\nREADY=1\nSTATUS=Startup finished\n", false, true,
	 "Startup finished"},
	{"READY=1\nSTATUS=cut", true, true, "cut"},
	{"STATUS=a\033[2Jb\303\244\nREADY=1\n", false, true, "a?[2Jb??"},
	{"READY=0\n", true, false, NULL},
	{"READY=10\n", true, false, NULL},
	{"READY\n=1\n", true, false, NULL},
	{"NOTREADY=1\n", true, false, NULL},
	{"STOPPING=1\n", true, false, NULL},
	{"", true, false, NULL},
	{"\n\n\n", true, false, NULL},
};

START_TEST(saying)
{
	struct virtio_device *vdev = build();
	int fd = program();

	put(fd, sayings[_i].words, strlen(sayings[_i].words));
	if (sayings[_i].end)
		shutdown(fd, SHUT_WR);
	turn();
	ck_assert_int_eq(told, sayings[_i].told);
	if (sayings[_i].told)
		ck_assert_str_eq(status, sayings[_i].status);
	close(fd);
	turn();
	ck_assert_int_eq(told, sayings[_i].told);
	vdev->ops->destroy(vdev);
	memory_destroy(&vd.mem);
}
END_TEST

/* In pieces; too much; a byte of zero; one that says nothing while another does; again. */
START_TEST(callers)
{
	struct virtio_device *vdev = build();
	char flood[8192], answer;
	int fd, other;

	fd = program();
	put(fd, "REA", 3);
	put(fd, "DY=1", 4);
	ck_assert_int_eq(told, 0);
	put(fd, "\n", 1);
	ck_assert_int_eq(told, 1);
	/* It is not listened to any more. */
	ck_assert_int_eq(recv(fd, &answer, 1, MSG_DONTWAIT), 0);
	close(fd);

	memset(flood, 'x', sizeof(flood));
	memcpy(flood + sizeof(flood) - 9, "\nREADY=1\n", 9);
	fd = program();
	put(fd, flood, sizeof(flood));
	ck_assert_int_eq(told, 1);
	ck_assert_int_le(send(fd, "READY=1\n", 8, MSG_NOSIGNAL), 0);
	close(fd);

	fd = program();
	put(fd, "a\0\nREADY=1\n", 11);
	ck_assert_int_eq(told, 1);
	close(fd);

	fd = program();
	other = program();
	put(other, "READY=1\n", 8);
	ck_assert_int_eq(told, 2);
	close(other);
	/* The silent one had to give way. */
	ck_assert_int_eq(recv(fd, &answer, 1, MSG_DONTWAIT), 0);
	close(fd);
	turn();
	vdev->ops->destroy(vdev);
	memory_destroy(&vd.mem);
}
END_TEST

static void refused(const char *text, const char *why)
{
	struct virtio_device *vdev;
	struct error err;

	if (!virtio_vsock_kind.build(&world, text, &vdev, &err)) {
		ck_assert_int_ne(virtio_device_start(vdev, &err), 0);
		vdev->ops->destroy(vdev);
	}
	ck_assert_msg(strstr(err.msg, why), "%s: %s", text, err.msg);
}

START_TEST(refusals)
{
	struct virtio_device *vdev;
	char text[160], want[160];
	int fd;

	refused("3,vhost=off,ready=0", "ready=0: a port of the host is 1 to 4294967294");
	refused("3,vhost=off,ready=4294967295", "ready");
	refused("3,vhost=off,ready=soon", "ready");
	/* Somebody else's file. */
	fd = creat(port_path, 0600);
	close(fd);
	snprintf(text, sizeof(text), "3,uds=%s,ready=%d", path, PORT);
	snprintf(want, sizeof(want), "ready=%d: %s exists and is no socket", PORT, port_path);
	refused(text, want);
	unlink(port_path);
	/* Nobody asks: it listens and says nothing. */
	world.ready = NULL;
	will = 1;
	vdev = build();
	fd = program();
	put(fd, "READY=1\n", 8);
	close(fd);
	turn();
	vdev->ops->destroy(vdev);
	ck_assert_int_eq(told, 0);
	memory_destroy(&vd.mem);
}
END_TEST

/* The kernel's loopback, where it has one, says that the caller has CID 1. */
static bool call_by_vsock(void)
{
	struct sockaddr_vm addr = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_LOCAL, .svm_port = PORT};
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct pollfd pfd = {.fd = fd, .events = POLLOUT};
	bool ok = fd >= 0;
	int i;

	if (ok && connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		ok = errno == EINPROGRESS;
	ok = ok && poll(&pfd, 1, 1000) == 1 && pfd.revents == POLLOUT;
	if (ok) {
		turn();
		(void)!send(fd, "READY=1\n", 8, MSG_NOSIGNAL);
		pfd.events = POLLRDHUP;
		/* It is handed over by the kernel's own thread. */
		for (i = 0; i < 100 && poll(&pfd, 1, 10) == 0; i++)
			turn();
	}
	if (fd >= 0)
		close(fd);
	return ok;
}

START_TEST(by_the_kernel)
{
	struct vsock_ready *mine, *second;
	struct error err;

	mine = vsock_ready_new(&world, VMADDR_CID_LOCAL, PORT, &err);
	if (!vsock_ready_start(mine, NULL, &err)) {
		second = vsock_ready_new(&world, VD_CID, PORT, &err);
		ck_assert_int_ne(vsock_ready_start(second, NULL, &err), 0);
		ck_assert_str_eq(err.msg, "ready=9001: port 9001 of AF_VSOCK is in use: a VM needs "
					  "one of its own");
		vsock_ready_free(second);
		if (call_by_vsock())
			ck_assert_int_eq(told, 1);
		else
			puts("AF_VSOCK has no loopback here");
	} else {
		puts("no AF_VSOCK here");
	}
	vsock_ready_free(mine);
	/* A guest that is not ours. */
	told = 0;
	mine = vsock_ready_new(&world, VD_CID, PORT, &err);
	if (!vsock_ready_start(mine, NULL, &err))
		call_by_vsock();
	ck_assert_int_eq(told, 0);
	vsock_ready_free(mine);
	memory_destroy(&vd.mem);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio_vsock_ready");
	TCase *tc = tcase_create("ready");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, through_the_rings);
	tcase_add_loop_test(tc, saying, 0, ARRAY_SIZE(sayings));
	tcase_add_test(tc, callers);
	tcase_add_test(tc, refusals);
	tcase_add_test(tc, by_the_kernel);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
