// SPDX-License-Identifier: GPL-2.0-only
/*
 * The socket device over real unix sockets, in a temporary directory: who may connect
 * and how, what a client can do wrong, both directions in bulk, what is left behind;
 * and the option.
 */
#include "prng.h"
#include "unit.h"
#include "vsock_driver.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct rig {
	struct vd vd;
	struct loop *loop;
	struct log log;
	struct virtio_world world;
	char dir[32], path[64];
};

static void world_init(struct rig *rig)
{
	memset(rig, 0, sizeof(*rig));
	strcpy(rig->dir, "/tmp/lkvm-vsock.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(rig->dir));
	snprintf(rig->path, sizeof(rig->path), "%s/v", rig->dir);
	vd_memory(&rig->vd);
	rig->loop = loop_create(NULL);
	log_init(&rig->log, 2, LOG_LEVEL_FATAL);
	rig->world = (struct virtio_world){
		.name = "vsock0",
		.mem = &rig->vd.mem,
		.loop = rig->loop,
		.log = &rig->log,
		.nr_vcpus = 1,
		.vm_name = "vm",
	};
}

static void start(struct rig *rig)
{
	struct virtio_device *vdev;
	struct error err;

	world_init(rig);
	vdev = vsock_unix_build(&rig->world, VD_CID, rig->path, NULL, &err);
	ck_assert_ptr_nonnull(vdev);
	/* Nothing is there before the start. */
	ck_assert_int_ne(access(rig->path, F_OK), 0);
	ck_assert_msg(!virtio_device_start(vdev, &err), "%s", err.msg);
	vd_start(&rig->vd, vdev, 0);
}

static void world_fini(struct rig *rig)
{
	char path[300];
	struct dirent *e;
	DIR *dir = opendir(rig->dir);

	while ((e = readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s", rig->dir, e->d_name);
		if (e->d_name[0] != '.')
			unlink(path);
	}
	closedir(dir);
	loop_destroy(rig->loop);
	ck_assert_int_eq(rmdir(rig->dir), 0);
}

static void stop(struct rig *rig)
{
	vd_stop(&rig->vd);
	ck_assert_int_ne(access(rig->path, F_OK), 0);
	world_fini(rig);
}

static void turn(struct rig *rig)
{
	while (loop_run_once(rig->loop, 0) > 0)
		;
}

static int open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int nr = 0;

	while (readdir(dir))
		nr++;
	closedir(dir);
	return nr;
}

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	strcpy(addr.sun_path, path);
	return addr;
}

static int client(struct rig *rig)
{
	struct sockaddr_un addr = address(rig->path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static int listener(struct rig *rig, uint32_t port, int backlog)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct sockaddr_un addr;
	char path[80];

	snprintf(path, sizeof(path), "%s_%u", rig->path, port);
	addr = address(path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	ck_assert_int_eq(listen(fd, backlog), 0);
	return fd;
}

static void put(int fd, const char *text)
{
	ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Text, "" for the end, NULL for nothing yet. */
static const char *hear(int fd, char *buf, size_t size)
{
	ssize_t n = recv(fd, buf, size - 1, 0);

	if (n < 0) {
		ck_assert(errno == EAGAIN || errno == ECONNRESET);
		if (errno == EAGAIN)
			return NULL;
		n = 0;
	}
	buf[n] = '\0';
	return buf;
}

/* A client's connection to guest port 52 that stands; *@port is the host's. */
static int connected(struct rig *rig, uint32_t *port)
{
	int fd = client(rig);
	char buf[64], want[64];
	struct pkt p;

	put(fd, "CONNECT 52\n");
	vd_buffers(&rig->vd, 1, 4096);
	turn(rig);
	ck_assert(vd_get(&rig->vd, &p));
	ck_assert_uint_eq(p.op, OP_REQUEST);
	ck_assert_uint_eq(p.dport, 52);
	*port = p.sport;
	ck_assert_ptr_null(hear(fd, buf, sizeof(buf)));
	vd_op(&rig->vd, OP_RESPONSE, 52, *port);
	turn(rig);
	snprintf(want, sizeof(want), "OK %u\n", *port);
	ck_assert_str_eq(hear(fd, buf, sizeof(buf)), want);
	return fd;
}

/* --- the socket -------------------------------------------------------------------- */

START_TEST(the_socket)
{
	struct stat st;
	struct rig rig;
	int before = open_fds();

	start(&rig);
	ck_assert_int_eq(stat(rig.path, &st), 0);
	ck_assert(S_ISSOCK(st.st_mode));
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	stop(&rig);
	ck_assert_int_eq(open_fds(), before);
	/* Somebody else's in the meantime. */
	start(&rig);
	unlink(rig.path);
	close(open(rig.path, O_CREAT | O_WRONLY, 0600));
	vd_stop(&rig.vd);
	ck_assert_int_eq(access(rig.path, F_OK), 0);
	world_fini(&rig);
}
END_TEST

static int try_start(struct rig *rig, const char *path, struct error *err)
{
	struct virtio_device *vdev = vsock_unix_build(&rig->world, VD_CID, path, NULL, err);
	int ret;

	if (!vdev)
		return -1;
	ret = virtio_device_start(vdev, err);
	vdev->ops->destroy(vdev);
	return ret;
}

START_TEST(paths)
{
	char longest[120];
	struct sockaddr_un addr;
	struct error err;
	struct rig rig;
	int fd;

	world_init(&rig);
	addr = address(rig.path);
	/* A socket whose listener died. */
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(fd);
	ck_assert_int_eq(try_start(&rig, rig.path, &err), 0);
	ck_assert_int_ne(access(rig.path, F_OK), 0);
	/* One that lives. */
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	ck_assert_int_eq(listen(fd, 5), 0);
	ck_assert_int_ne(try_start(&rig, rig.path, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.msg, "in use"));
	ck_assert_int_eq(access(rig.path, F_OK), 0);
	close(fd);
	unlink(rig.path);
	/* No socket at all. */
	close(open(rig.path, O_CREAT | O_WRONLY, 0600));
	ck_assert_int_ne(try_start(&rig, rig.path, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.msg, "no socket"));
	ck_assert_int_eq(access(rig.path, F_OK), 0);
	ck_assert_int_ne(try_start(&rig, "/nowhere/at/all", &err), 0);
	ck_assert_ptr_nonnull(strstr(err.msg, "/nowhere/at/all"));
	/* "_4294967295" and a zero byte have to fit behind it, into 108. */
	memset(longest, 'a', sizeof(longest));
	memcpy(longest, "/nowhere/", 9);
	longest[97] = '\0';
	ck_assert_int_ne(try_start(&rig, longest, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.msg, "1 to 96 bytes"));
	longest[96] = '\0';
	ck_assert_int_ne(try_start(&rig, longest, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.msg, "cannot make the socket"));
	ck_assert_int_ne(try_start(&rig, "", &err), 0);
	memory_destroy(&rig.vd.mem);
	world_fini(&rig);
}
END_TEST

START_TEST(default_path)
{
	char path[80];
	struct virtio_device *vdev;
	struct error err;
	struct stat st;
	struct rig rig;

	world_init(&rig);
	setenv("XDG_RUNTIME_DIR", rig.dir, 1);
	vdev = vsock_unix_build(&rig.world, VD_CID, NULL, NULL, &err);
	ck_assert_msg(!virtio_device_start(vdev, &err), "%s", err.msg);
	snprintf(path, sizeof(path), "%s/lkvm/vm.vsock", rig.dir);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	vdev->ops->destroy(vdev);
	ck_assert_int_ne(access(path, F_OK), 0);
	/* A directory that others can look into. */
	snprintf(path, sizeof(path), "%s/lkvm", rig.dir);
	ck_assert_int_eq(chmod(path, 0755), 0);
	ck_assert_int_ne(try_start(&rig, NULL, &err), 0);
	ck_assert_int_eq(rmdir(path), 0);
	/* A name that makes the path too long. */
	rig.world.vm_name =
		"0123456789012345678901234567890123456789012345678901234567890123456789";
	ck_assert_int_ne(try_start(&rig, NULL, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.msg, "too long"));
	rmdir(path);
	memory_destroy(&rig.vd.mem);
	world_fini(&rig);
}
END_TEST

/* --- clients ------------------------------------------------------------------------- */

START_TEST(client_connects)
{
	uint32_t port, second;
	struct rig rig;
	struct pkt p;
	char buf[64];
	int fd, other;

	start(&rig);
	fd = connected(&rig, &port);
	other = connected(&rig, &second);
	ck_assert_uint_ne(port, second);
	put(fd, "ping");
	vd_buffers(&rig.vd, 4, 4096);
	turn(&rig);
	p = vd_expect(&rig.vd, OP_RW, 52, port);
	ck_assert_mem_eq(p.data, "ping", 4);
	/* One packet a message, and nothing in vain. */
	ck_assert(!vd_get(&rig.vd, &p));
	p = vd_packet(OP_RW, 52, port);
	p.len = 4;
	ck_assert(vd_send(&rig.vd, &p, "pong", 4));
	ck_assert_str_eq(hear(fd, buf, sizeof(buf)), "pong");
	ck_assert_ptr_null(hear(other, buf, sizeof(buf)));
	/* The end, from the client. */
	close(fd);
	turn(&rig);
	ck_assert_uint_eq(vd_expect(&rig.vd, OP_SHUTDOWN, 52, port).flags, 3);
	vd_op(&rig.vd, OP_RST, 52, port);
	/* From the guest. */
	p = vd_packet(OP_SHUTDOWN, 52, second);
	p.flags = 3;
	ck_assert(vd_send(&rig.vd, &p, NULL, 0));
	vd_expect(&rig.vd, OP_RST, 52, second);
	ck_assert_str_eq(hear(other, buf, sizeof(buf)), "");
	close(other);
	stop(&rig);
}
END_TEST

/* The line in pieces, and more behind it than the line. */
START_TEST(line_in_pieces)
{
	uint32_t port;
	struct rig rig;
	struct pkt p;
	int fd;

	start(&rig);
	vd_buffers(&rig.vd, 4, 4096);
	fd = client(&rig);
	put(fd, "CONN");
	turn(&rig);
	put(fd, "ECT 5");
	turn(&rig);
	ck_assert(!vd_get(&rig.vd, &p));
	put(fd, "2\nfirst words");
	shutdown(fd, SHUT_WR);
	turn(&rig);
	ck_assert(vd_get(&rig.vd, &p));
	ck_assert_uint_eq(p.op, OP_REQUEST);
	port = p.sport;
	ck_assert(!vd_get(&rig.vd, &p));
	vd_op(&rig.vd, OP_RESPONSE, 52, port);
	turn(&rig);
	p = vd_expect(&rig.vd, OP_RW, 52, port);
	ck_assert_uint_eq(p.len, 11);
	ck_assert_mem_eq(p.data, "first words", 11);
	/* And that it said no more. */
	ck_assert_uint_eq(vd_expect(&rig.vd, OP_SHUTDOWN, 52, port).flags, 2);
	close(fd);
	stop(&rig);
}
END_TEST

START_TEST(bad_lines)
{
	static const char *const lines[] = {
		"\n",
		"CONNECT\n",
		"CONNECT \n",
		"CONNECT 4294967296\n",
		"CONNECT 99999999999\n",
		"CONNECT -1\n",
		"CONNECT 0x10\n",
		"CONNECT 52 \n",
		" CONNECT 52\n",
		"connect 52\n",
		"GET / HTTP/1.1\r\n",
		"CONNECT 00000000000000000000000052",
	};
	struct rig rig;
	struct pkt p;
	char buf[64];
	size_t i;
	int fd;

	start(&rig);
	vd_buffers(&rig.vd, 4, 4096);
	for (i = 0; i < ARRAY_SIZE(lines); i++) {
		fd = client(&rig);
		put(fd, lines[i]);
		turn(&rig);
		ck_assert_msg(hear(fd, buf, sizeof(buf)) && !*buf, "%s is taken", lines[i]);
		close(fd);
	}
	fd = client(&rig);
	ck_assert_int_eq(send(fd, "CONNECT 5\0002\n", 12, 0), 12);
	turn(&rig);
	ck_assert_str_eq(hear(fd, buf, sizeof(buf)), "");
	close(fd);
	ck_assert(!vd_get(&rig.vd, &p));
	/* The limits are good. */
	fd = client(&rig);
	put(fd, "CONNECT 4294967295\n");
	turn(&rig);
	ck_assert(vd_get(&rig.vd, &p));
	ck_assert_uint_eq(p.dport, UINT32_MAX);
	/* Refused by the guest. */
	vd_op(&rig.vd, OP_RST, UINT32_MAX, p.sport);
	ck_assert_str_eq(hear(fd, buf, sizeof(buf)), "");
	close(fd);
	/* No driver: the end at once. */
	drv_wr(&rig.vd.drv, R_STATUS, 0);
	fd = client(&rig);
	put(fd, "CONNECT 52\n");
	turn(&rig);
	ck_assert_str_eq(hear(fd, buf, sizeof(buf)), "");
	close(fd);
	stop(&rig);
}
END_TEST

/* Those who say nothing hold nobody up, and are sent away in the end. */
START_TEST(silent_clients)
{
	int fds[20], before, late;
	struct rig rig;
	uint32_t port;
	char buf[64];
	size_t i;

	start(&rig);
	before = open_fds();
	for (i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = client(&rig);
		turn(&rig);
	}
	/* The oldest made room. */
	for (i = 0; i < ARRAY_SIZE(fds); i++) {
		const char *text = hear(fds[i], buf, sizeof(buf));

		ck_assert_int_eq(text != NULL, i < 4);
	}
	late = connected(&rig, &port);
	/* Nobody else went because of it but one. */
	for (i = 5; i < ARRAY_SIZE(fds); i++)
		ck_assert_ptr_null(hear(fds[i], buf, sizeof(buf)));
	while (loop_run_once(rig.loop, 6000) > 0)
		if (hear(fds[ARRAY_SIZE(fds) - 1], buf, sizeof(buf)))
			break;
	for (i = 5; i < ARRAY_SIZE(fds); i++)
		ck_assert_ptr_nonnull(hear(fds[i], buf, sizeof(buf)));
	ck_assert_ptr_null(hear(late, buf, sizeof(buf)));
	for (i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	close(late);
	turn(&rig);
	vd_buffers(&rig.vd, 1, 4096);
	vd_expect(&rig.vd, OP_SHUTDOWN, 52, port);
	ck_assert_int_eq(open_fds(), before);
	stop(&rig);
}
END_TEST

/* Clients that leave: before the line, behind it, while the guest thinks. */
START_TEST(clients_leave)
{
	struct rig rig;
	struct pkt p;
	int fd, before;

	start(&rig);
	before = open_fds();
	vd_buffers(&rig.vd, 8, 4096);
	fd = client(&rig);
	turn(&rig);
	close(fd);
	turn(&rig);
	fd = client(&rig);
	put(fd, "CONNECT 1\n");
	close(fd);
	turn(&rig);
	fd = client(&rig);
	put(fd, "CONNECT 2\n");
	turn(&rig);
	close(fd);
	turn(&rig);
	while (vd_get(&rig.vd, &p))
		if (p.op == OP_REQUEST)
			vd_op(&rig.vd, OP_RESPONSE, p.dport, p.sport);
	turn(&rig);
	while (vd_get(&rig.vd, &p))
		if (p.op == OP_SHUTDOWN)
			vd_op(&rig.vd, OP_RST, p.dport, p.sport);
	ck_assert_int_eq(open_fds(), before);
	stop(&rig);
}
END_TEST

/* --- connections from the guest ------------------------------------------------------- */

START_TEST(guest_connects)
{
	struct rig rig;
	struct pkt p;
	char buf[64];
	int fd, s, before;

	start(&rig);
	vd_buffers(&rig.vd, 16, 4096);
	before = open_fds();
	/* Nobody there; then somebody. */
	vd_op(&rig.vd, OP_REQUEST, 1000, 22);
	vd_expect(&rig.vd, OP_RST, 1000, 22);
	ck_assert_int_eq(open_fds(), before);
	s = listener(&rig, 22, 5);
	vd_op(&rig.vd, OP_REQUEST, 1000, 22);
	vd_expect(&rig.vd, OP_RESPONSE, 1000, 22);
	fd = accept4(s, NULL, NULL, SOCK_NONBLOCK);
	ck_assert_int_ge(fd, 0);
	p = vd_packet(OP_RW, 1000, 22);
	p.len = 5;
	ck_assert(vd_send(&rig.vd, &p, "hello", 5));
	ck_assert_str_eq(hear(fd, buf, sizeof(buf)), "hello");
	/* It stops sending; the program may still answer. */
	p = vd_packet(OP_SHUTDOWN, 1000, 22);
	p.flags = 2;
	ck_assert(vd_send(&rig.vd, &p, NULL, 0));
	ck_assert_str_eq(hear(fd, buf, sizeof(buf)), "");
	put(fd, "answer");
	turn(&rig);
	ck_assert_mem_eq(vd_expect(&rig.vd, OP_RW, 1000, 22).data, "answer", 6);
	/* Both have stopped: all is over. */
	shutdown(fd, SHUT_WR);
	turn(&rig);
	ck_assert_uint_eq(vd_expect(&rig.vd, OP_SHUTDOWN, 1000, 22).flags, 3);
	vd_op(&rig.vd, OP_RST, 1000, 22);
	close(fd);
	/* It does not listen: the program is told. */
	vd_op(&rig.vd, OP_REQUEST, 1001, 22);
	vd_expect(&rig.vd, OP_RESPONSE, 1001, 22);
	fd = accept4(s, NULL, NULL, SOCK_NONBLOCK);
	p = vd_packet(OP_SHUTDOWN, 1001, 22);
	p.flags = 1;
	ck_assert(vd_send(&rig.vd, &p, NULL, 0));
	ck_assert_int_eq(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	ck_assert_int_eq(errno, EPIPE);
	close(fd);
	turn(&rig);
	vd_expect(&rig.vd, OP_SHUTDOWN, 1001, 22);
	/* The largest port there is. */
	close(s);
	s = listener(&rig, UINT32_MAX, 5);
	vd_op(&rig.vd, OP_REQUEST, 1002, UINT32_MAX);
	vd_expect(&rig.vd, OP_RESPONSE, 1002, UINT32_MAX);
	close(s);
	stop(&rig);
}
END_TEST

/* A listener that does not keep up. */
START_TEST(full_backlog)
{
	unsigned int i, nr = 0, answered = 0, reset = 0;
	struct rig rig;
	struct pkt p;
	int s;

	start(&rig);
	vd_buffers(&rig.vd, 60, 4096);
	s = listener(&rig, 22, 3);
	for (i = 0; i < 10; i++)
		vd_op(&rig.vd, OP_REQUEST, i, 22);
	while (vd_get(&rig.vd, &p))
		nr++;
	ck_assert_uint_lt(nr, 10);
	/* It wakes up: everybody gets through, each after a while. */
	while (nr < 10) {
		close(accept(s, NULL, NULL));
		loop_run_once(rig.loop, 1000);
		while (vd_get(&rig.vd, &p))
			nr += p.op == OP_RESPONSE;
	}
	/* It does not. */
	for (i = 100; i < 120; i++)
		vd_op(&rig.vd, OP_REQUEST, i, 22);
	while (answered + reset < 20) {
		loop_run_once(rig.loop, 3000);
		while (vd_get(&rig.vd, &p)) {
			answered += p.dport >= 100 && p.op == OP_RESPONSE;
			reset += p.dport >= 100 && p.op == OP_RST;
		}
	}
	ck_assert_uint_gt(reset, 0);
	close(s);
	stop(&rig);
}
END_TEST

/* --- what a peer may send, and what is left ---------------------------------------------- */

static void send_with_fd(int fd, const char *text)
{
	struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.buf,
			     .msg_controllen = sizeof(control.buf)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	ck_assert_int_eq(sendmsg(fd, &msg, 0), (ssize_t)strlen(text));
}

/* Descriptors that a peer sends along end nowhere, and hold nothing up. */
START_TEST(descriptors_sent)
{
	char got[64] = "";
	uint32_t port;
	struct rig rig;
	struct pkt p;
	int fd, before, i;

	start(&rig);
	fd = connected(&rig, &port);
	before = open_fds();
	for (i = 0; i < 4; i++)
		send_with_fd(fd, "some ");
	put(fd, "more");
	vd_buffers(&rig.vd, 32, 4096);
	turn(&rig);
	while (vd_get(&rig.vd, &p))
		if (p.op == OP_RW)
			strncat(got, (const char *)p.data, p.len);
	ck_assert_str_eq(got, "some some some some more");
	ck_assert_int_eq(open_fds(), before);
	close(fd);
	stop(&rig);
}
END_TEST

/* A reset of the guest, connections in every phase: nothing stays open. */
START_TEST(reset_with_connections)
{
	int before, s, fds[30], nr = 0, round, i;
	uint32_t port;
	struct rig rig;
	struct pkt p;
	char buf[64];

	start(&rig);
	s = listener(&rig, 22, 50);
	before = open_fds();
	for (round = 0; round < 3; round++) {
		nr = 0;
		for (i = 0; i < 5; i++) {
			vd_buffers(&rig.vd, 3, 4096);
			while (vd_get(&rig.vd, &p))
				ck_assert_uint_eq(p.op, OP_REQUEST);
			vd_op(&rig.vd, OP_REQUEST, (uint32_t)i, 22);
			fds[nr++] = accept4(s, NULL, NULL, SOCK_NONBLOCK);
			vd_expect(&rig.vd, OP_RESPONSE, (uint32_t)i, 22);
			fds[nr++] = connected(&rig, &port);
			vd_bring_up(&rig.vd, 0);
			fds[nr++] = client(&rig);
			put(fds[nr - 1], "CONNECT 9\n");
			turn(&rig);
		}
		vd_bring_up(&rig.vd, 0);
		for (i = 0; i < nr; i++) {
			ck_assert_str_eq(hear(fds[i], buf, sizeof(buf)), "");
			close(fds[i]);
		}
		ck_assert_int_eq(open_fds(), before);
	}
	close(s);
	stop(&rig);
}
END_TEST

/* Out of descriptors: the loop rests, and goes on when there are some again. */
START_TEST(no_descriptors)
{
	struct rlimit limit, low;
	uint32_t port;
	struct rig rig;
	struct pkt p;
	int fd, calls = 0;

	start(&rig);
	vd_buffers(&rig.vd, 4, 4096);
	fd = client(&rig);
	put(fd, "CONNECT 52\n");
	getrlimit(RLIMIT_NOFILE, &limit);
	low = limit;
	low.rlim_cur = (rlim_t)fd + 1;
	setrlimit(RLIMIT_NOFILE, &low);
	vd_op(&rig.vd, OP_REQUEST, 1000, 22);
	vd_expect(&rig.vd, OP_RST, 1000, 22);
	while (loop_run_once(rig.loop, 0) > 0)
		ck_assert_int_lt(calls++, 10);
	setrlimit(RLIMIT_NOFILE, &limit);
	while (!vd_get(&rig.vd, &p))
		ck_assert_int_gt(loop_run_once(rig.loop, 3000), 0);
	ck_assert_uint_eq(p.op, OP_REQUEST);
	close(fd);
	turn(&rig);
	vd_expect(&rig.vd, OP_RST, 52, p.sport);
	fd = connected(&rig, &port);
	close(fd);
	stop(&rig);
}
END_TEST

/* --- bulk, with threads --------------------------------------------------------------------- */

#define BULK (4 * MIB)

struct bulk {
	struct rig rig;
	int fd;
	atomic_bool done;
};

static void *run_loop(void *opaque)
{
	struct bulk *b = opaque;

	while (!atomic_load(&b->done))
		loop_run_once(b->rig.loop, 20);
	return NULL;
}

/* The host program: says BULK bytes, and hears BULK bytes, as they come. */
static void *program(void *opaque)
{
	struct bulk *b = opaque;
	uint8_t *buf = malloc(100000);
	size_t said = 0, heard = 0, i;

	while (said < BULK || heard < BULK) {
		size_t n = min_u64(100000, BULK - said);
		ssize_t done;

		for (i = 0; i < n; i++)
			buf[i] = (uint8_t)((said + i) * 13 >> 3);
		done = n ? send(b->fd, buf, n, MSG_DONTWAIT) : 0;
		said += done > 0 ? (size_t)done : 0;
		done = recv(b->fd, buf, 100000, MSG_DONTWAIT);
		for (i = 0; done > 0 && i < (size_t)done; i++)
			if (buf[i] != (uint8_t)((heard + i) * 11 >> 2))
				ck_abort_msg("byte %zu to the host is wrong", heard + i);
		heard += done > 0 ? (size_t)done : 0;
		if (done <= 0)
			usleep(200);
	}
	free(buf);
	return NULL;
}

/* The guest on this thread, the loop and the program on theirs. */
START_TEST(bulk)
{
	static struct bulk b;
	uint32_t port, fwd = 0, sent = 0, got = 0, told = 0, i;
	pthread_t loop_thread, program_thread;
	uint8_t *bytes = malloc(60000);
	struct pkt p;

	start(&b.rig);
	b.fd = connected(&b.rig, &port);
	vd_buffers(&b.rig.vd, 60, 4096);
	pthread_create(&loop_thread, NULL, run_loop, &b);
	pthread_create(&program_thread, NULL, program, &b);
	while (sent < BULK || got < BULK) {
		uint32_t room = (uint32_t)VSOCK_BUFFER - (sent - fwd);
		uint32_t n = (uint32_t)min_u64(min_u64(60000, room), BULK - sent);

		if (n) {
			for (i = 0; i < n; i++)
				bytes[i] = (uint8_t)((sent + i) * 11 >> 2);
			p = vd_packet(OP_RW, 52, port);
			p.len = n;
			p.fwd = got;
			ck_assert(vd_send(&b.rig.vd, &p, bytes, n));
			sent += n;
		} else if (got - told > 20000) {
			told = got;
			p = vd_packet(OP_UPDATE, 52, port);
			p.fwd = got;
			ck_assert(vd_send(&b.rig.vd, &p, NULL, 0));
		} else {
			usleep(200);
		}
		for (n = 0; vd_get(&b.rig.vd, &p); n++) {
			ck_assert_uint_ne(p.op, OP_RST);
			fwd = p.fwd;
			for (i = 0; i < p.len; i++)
				if (p.data[i] != (uint8_t)((got + i) * 13 >> 3))
					ck_abort_msg("byte %u to the guest is wrong", got + i);
			got += p.len;
			if (p.op == OP_CREDIT)
				told = got - 20001;
		}
		if (n)
			vd_buffers(&b.rig.vd, n, 4096);
	}
	pthread_join(program_thread, NULL);
	atomic_store(&b.done, true);
	pthread_join(loop_thread, NULL);
	close(b.fd);
	stop(&b.rig);
	free(bytes);
}
END_TEST

/* --- the option ------------------------------------------------------------------------------- */

static void refused(struct rig *rig, const char *text, const char *word)
{
	struct virtio_device *vdev;
	struct error err;

	ck_assert_msg(virtio_vsock_kind.build(&rig->world, text, &vdev, &err), "%s is taken", text);
	ck_assert_msg(strstr(err.msg, word) != NULL, "%s: %s", text, err.msg);
	ck_assert_ptr_null(vdev);
}

START_TEST(option)
{
	struct virtio_device *vdev;
	char text[100], line[500] = "";
	struct error err;
	struct rig rig;
	int log_fd[2];

	world_init(&rig);
	ck_assert_int_eq(pipe2(log_fd, O_CLOEXEC | O_NONBLOCK), 0);
	rig.world.dry_run = true;
	refused(&rig, "", "CID");
	refused(&rig, "2", "from 3");
	refused(&rig, "x", "from 3");
	refused(&rig, "-3", "from 3");
	refused(&rig, "3x", "from 3");
	refused(&rig, "4294967295", "4294967294");
	refused(&rig, "18446744073709551619", "4294967294");
	refused(&rig, "3,uds", "uds");
	refused(&rig, "3,vhost=maybe", "maybe");
	refused(&rig, "3,vhots=on", "vhots");
	refused(&rig, "3,vhost=on,uds=/tmp/x", "uds=/tmp/x");
	if (access(VHOST_VSOCK_PATH, R_OK | W_OK))
		refused(&rig, "3,vhost=on", VHOST_VSOCK_PATH);
	ck_assert_int_eq(virtio_vsock_kind.build(&rig.world, "3,vhost=off", &vdev, &err), 0);
	ck_assert_str_eq(vdev->name, "vsock0");
	vdev->ops->destroy(vdev);
	log_init(&rig.log, log_fd[1], LOG_LEVEL_WARNING);
	ck_assert_int_eq(virtio_vsock_kind.build(&rig.world, "4294967294", &vdev, &err), 0);
	/* At the level that is usual: it is not what other programs may count on. */
	(void)!read(log_fd[0], line, sizeof(line) - 1);
	if (access(VHOST_VSOCK_PATH, R_OK | W_OK))
		ck_assert_ptr_nonnull(strstr(line, "Warning: vsock0: by unix sockets, because "));
	log_init(&rig.log, 2, LOG_LEVEL_FATAL);
	close(log_fd[0]);
	close(log_fd[1]);
	vdev->ops->destroy(vdev);
	snprintf(text, sizeof(text), "3,uds=%s", rig.path);
	ck_assert_int_eq(virtio_vsock_kind.build(&rig.world, text, &vdev, &err), 0);
	/* Shown, not started: nothing is there. */
	ck_assert_int_ne(access(rig.path, F_OK), 0);
	vdev->ops->destroy(vdev);
	memory_destroy(&rig.vd.mem);
	world_fini(&rig);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio-vsock-unix");
	TCase *t = tcase_create("unix");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, the_socket);
	tcase_add_test(t, paths);
	tcase_add_test(t, default_path);
	tcase_add_test(t, client_connects);
	tcase_add_test(t, line_in_pieces);
	tcase_add_test(t, bad_lines);
	tcase_add_test(t, silent_clients);
	tcase_add_test(t, clients_leave);
	tcase_add_test(t, guest_connects);
	tcase_add_test(t, full_backlog);
	tcase_add_test(t, descriptors_sent);
	tcase_add_test(t, reset_with_connections);
	tcase_add_test(t, no_descriptors);
	tcase_add_test(t, bulk);
	tcase_add_test(t, option);
	suite_add_tcase(s, t);
	return unit_main(s);
}
