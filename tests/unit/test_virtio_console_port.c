// SPDX-License-Identifier: GPL-2.0-only
/*
 * What named console ports are connected to: files, sockets, ptys and descriptors, with
 * a real loop and a driver on the other side; words that are refused; the options that
 * make one device together.
 */
#include "unit.h"
#include "virtio_driver.h"

#include "lkvm/config.h"
#include "lkvm/virtio/console_port.h"
#include "lkvm/virtio/kind.h"
#include "lkvm/virtio/mmio.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#define NUM 8
#define MAX 4
#define DATA (DRV_RAM + MIB)
#define BUFFERS (DRV_RAM + 2 * MIB)

static char dir[64];
static struct error err;

struct rig {
	struct guest_memory mem;
	struct drv drv;
	struct loop *loop;
	struct log log;
	int log_fd;
	struct virtio_request asked[MAX];
	struct virtio_device *vdev;
	struct virtio_mmio *mmio;
	struct drv_ring ring[2 * MAX + 4];
	unsigned int nr;
	unsigned int opened; /* ports the device said were connected from the start */
};

static const char *path(const char *leaf)
{
	static char text[128];

	snprintf(text, sizeof(text), "%s/%s", dir, leaf);
	return text;
}

static const char *words(const char *head, const char *leaf)
{
	static char text[4][256];
	static unsigned int next;
	char *t = text[next++ % 4];

	snprintf(t, sizeof(text[0]), "%s%s", head, leaf ? path(leaf) : "");
	return t;
}

static void make_dir(void)
{
	snprintf(dir, sizeof(dir), "/tmp/lkvm-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void remove_dir(void)
{
	static const char *const leaves[] = {"file", "sock", "fifo", "link"};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(leaves); i++)
		unlink(path(leaves[i]));
	ck_assert_int_eq(rmdir(dir), 0);
}

static void run_soon(void *opaque)
{
	(void)opaque;
}

static const struct virtio_transport_env transport_env = {.run_soon = run_soon};

static void start(struct rig *rig)
{
	memset(rig, 0, sizeof(*rig));
	drv_memory(&rig->mem);
	rig->loop = loop_create(&err);
	ck_assert_ptr_nonnull(rig->loop);
	rig->log_fd = memfd_create("log", MFD_CLOEXEC);
	log_init(&rig->log, rig->log_fd, LOG_LEVEL_WARNING);
}

/* Build what was asked for, as the machine does; the first is what is built. */
static int build(struct rig *rig, const char *const *texts, bool dry_run)
{
	struct virtio_world world = {.name = "ports0",
				     .mem = &rig->mem,
				     .loop = rig->loop,
				     .log = &rig->log,
				     .dry_run = dry_run,
				     .asked = rig->asked};

	for (rig->nr = 0; texts[rig->nr]; rig->nr++)
		rig->asked[rig->nr] =
			(struct virtio_request){&virtio_console_port_kind, texts[rig->nr]};
	world.nr_asked = rig->nr;
	rig->vdev = NULL;
	if (virtio_console_port_kind.build(&world, texts[0], &rig->vdev, &err))
		return -1;
	/* The others come with it. */
	for (world.index = 1; world.index < rig->nr; world.index++) {
		struct virtio_device *none = NULL;

		ck_assert_int_eq(
			virtio_console_port_kind.build(&world, texts[world.index], &none, &err), 0);
		ck_assert_ptr_null(none);
	}
	return 0;
}

#define BUILD(rig, ...) build(rig, (const char *const[]){__VA_ARGS__, NULL}, false)

static void used(struct rig *rig, unsigned int queue, unsigned int nr)
{
	uint32_t id, len;

	while (nr--)
		ck_assert(drv_get_used(&rig->ring[queue], &id, &len));
	ck_assert(!drv_get_used(&rig->ring[queue], &id, &len));
}

static void offer(struct rig *rig, unsigned int queue, unsigned int nr)
{
	while (nr--) {
		uint16_t at = rig->ring[queue].next % NUM;

		drv_add(&rig->ring[queue],
			&(struct drv_seg){BUFFERS + queue * 0x10000 + at * 0x1000, 0x1000,
					  DRV_WRITE},
			1);
	}
	drv_wr(&rig->drv, R_NOTIFY, queue);
}

static void control(struct rig *rig, uint32_t id, uint16_t event)
{
	const uint64_t message = htole64(id | (uint64_t)event << 32 | UINT64_C(1) << 48);

	memcpy(drv_ptr(&rig->mem, DATA, 8), &message, 8);
	drv_add(&rig->ring[3], &(struct drv_seg){DATA, 8, 0}, 1);
	drv_wr(&rig->drv, R_NOTIFY, 3);
	used(rig, 3, 1);
}

/* The next control message's event and value, or -1. */
static int message(struct rig *rig)
{
	uint32_t id, len;
	uint64_t text;

	if (!drv_get_used(&rig->ring[2], &id, &len))
		return -1;
	memcpy(&text, drv_ptr(&rig->mem, BUFFERS + 0x20000 + (gpa_t)id * 0x1000, 8), 8);
	offer(rig, 2, 1);
	return (int)(le64toh(text) >> 32);
}

#define ADD (1 | 1 << 16)
#define NAME (7 | 1 << 16)
#define OPENED (6 | 1 << 16)
#define CLOSED 6

/* The guest's driver, with all ports open. */
static void go(struct rig *rig)
{
	gpa_t at = DRV_RAM + 0x10000;
	unsigned int i;

	rig->mmio = virtio_mmio_create(rig->vdev, drv_line(&rig->drv), &transport_env, rig);
	rig->drv.dev = rig->mmio;
	ck_assert(drv_start(&rig->drv, 2));
	for (i = 0; i < 2 * rig->nr + 4; i++) {
		at = drv_ring_init(&rig->ring[i], &rig->mem, NUM, at);
		ck_assert(drv_queue(&rig->drv, i, &rig->ring[i]));
	}
	drv_go(&rig->drv);
	offer(rig, 2, NUM);
	control(rig, 0, 0);
	for (i = 1; i <= rig->nr; i++)
		ck_assert_int_eq(message(rig), ADD);
	for (i = 1; i <= rig->nr; i++) {
		offer(rig, 2 * i + 2, 4);
		control(rig, i, 3);
		ck_assert_int_eq(message(rig), NAME);
		rig->opened += message(rig) == OPENED;
		control(rig, i, 6);
	}
	ck_assert_int_eq(message(rig), -1);
}

static void stop(struct rig *rig)
{
	struct stat st;

	virtio_mmio_device(rig->mmio)->ops->destroy(virtio_mmio_device(rig->mmio));
	loop_destroy(rig->loop);
	memory_destroy(&rig->mem);
	ck_assert_int_eq(fstat(rig->log_fd, &st), 0);
	ck_assert_int_eq(st.st_size, 0);
	close(rig->log_fd);
}

static void turn(struct rig *rig)
{
	int i;

	for (i = 0; i < 20 && loop_run_once(rig->loop, 10) > 0; i++)
		;
}

static void transmit(struct rig *rig, unsigned int port, const char *text)
{
	uint32_t len = (uint32_t)strlen(text);

	memcpy(drv_ptr(&rig->mem, DATA, len), text, len);
	drv_add(&rig->ring[2 * port + 3], &(struct drv_seg){DATA, len, 0}, 1);
	drv_wr(&rig->drv, R_NOTIFY, 2 * port + 3);
}

/* What the guest received on a port is this, in one buffer. */
static void ck_received(struct rig *rig, unsigned int port, const char *text)
{
	uint32_t id, len;

	turn(rig);
	ck_assert(drv_get_used(&rig->ring[2 * port + 2], &id, &len));
	ck_assert_uint_eq(len, strlen(text));
	ck_assert_int_eq(
		memcmp(drv_ptr(&rig->mem, BUFFERS + (2 * port + 2) * 0x10000 + (gpa_t)id * 0x1000,
			       len),
		       text, len),
		0);
	offer(rig, 2 * port + 2, 1);
}

static void ck_reads(int fd, const char *text)
{
	char buf[256];
	ssize_t n = read(fd, buf, sizeof(buf));

	ck_assert_int_eq(n, (ssize_t)strlen(text));
	ck_assert_int_eq(memcmp(buf, text, (size_t)n), 0);
}

static int dial(const char *leaf)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	memcpy(addr.sun_path, path(leaf), strlen(path(leaf)));
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		close(fd);
		return -1;
	}
	return fd;
}

static void ck_refused(struct rig *rig, const char *text, const char *why)
{
	ck_assert_msg(BUILD(rig, text) < 0, "taken: %s", text);
	ck_assert_msg(strstr(err.msg, why), "%s: %s", text, err.msg);
	ck_assert_ptr_null(rig->vdev);
}

START_TEST(bad_words)
{
	static const char long_name[] =
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,pty";
	char long_path[200] = "a,socket=", fd_word[16];
	struct rig rig;

	start(&rig);
	ck_refused(&rig, "", "name is");
	ck_refused(&rig, ",pty", "name is");
	ck_refused(&rig, "a/b,pty", "name is");
	ck_refused(&rig, "a b,pty", "name is");
	ck_refused(&rig, long_name, "name is");
	ck_refused(&rig, "a", "one of");
	ck_refused(&rig, "a,console", "one of");
	ck_refused(&rig, "a,pty,fd=5", "one of");
	ck_refused(&rig, "a,path=x,socket=y", "one of");
	ck_refused(&rig, "a,pyt", "did you mean");
	ck_refused(&rig, "a,fd=1", "above 2");
	ck_refused(&rig, "a,fd=1000", "fd=1000");
	ck_refused(&rig, "a,fd=x", "number");
	ck_refused(&rig, "a,path=/nonexistent/x", "/nonexistent/x");
	ck_refused(&rig, words("a,path=", ""), "Is a directory");
	ck_refused(&rig, "a,socket=", "value");
	memset(long_path + 9, 'x', sizeof(long_path) - 10);
	ck_refused(&rig, long_path, "bytes");
	ck_refused(&rig, "a,socket=/nonexistent/x", "/nonexistent/x");
	ck_assert_int_eq(mkfifo(path("fifo"), 0600), 0);
	ck_refused(&rig, words("a,path=", "fifo"), "neither a file");
	/* Two of one name; the second's trouble is told as the second's. */
	ck_assert_int_lt(BUILD(&rig, "a,path=/dev/null", "b,path=/dev/null", "a,path=/dev/null"),
			 0);
	ck_assert_ptr_nonnull(strstr(err.msg, "and a,path=/dev/null: there is a port called a"));
	/* Two that would write over each other. */
	ck_assert_int_eq(symlink("file", path("link")), 0);
	ck_assert_int_lt(BUILD(&rig, words("a,path=", "file"), words("b,path=", "link")), 0);
	ck_assert_ptr_nonnull(strstr(err.msg, "the port a writes to this file already"));
	ck_assert_ptr_null(rig.vdev);
	snprintf(fd_word, sizeof(fd_word), "a,fd=%d", rig.log_fd);
	ck_refused(&rig, fd_word, "no inherited descriptor");
	loop_destroy(rig.loop);
	memory_destroy(&rig.mem);
	close(rig.log_fd);
}
END_TEST

START_TEST(dry_run)
{
	const char *const texts[] = {words("a,socket=", "sock"), words("b,path=", "file"), "c,pty",
				     "d,fd=999", NULL};
	struct rig rig;

	start(&rig);
	ck_assert_int_eq(build(&rig, texts, true), 0);
	ck_assert_int_eq(access(path("sock"), F_OK), -1);
	ck_assert_int_eq(access(path("file"), F_OK), -1);
	rig.vdev->ops->destroy(rig.vdev);
	loop_destroy(rig.loop);
	memory_destroy(&rig.mem);
	close(rig.log_fd);
}
END_TEST

START_TEST(file)
{
	struct rig rig;
	int fd = open(path("file"), O_RDWR | O_CREAT, 0600);

	ck_assert_int_eq(write(fd, "what was there before", 21), 21);
	start(&rig);
	ck_assert_int_eq(BUILD(&rig, words("log,path=", "file")), 0);
	go(&rig);
	ck_assert_uint_eq(rig.opened, 1);
	transmit(&rig, 1, "one ");
	transmit(&rig, 1, "two");
	used(&rig, 5, 2);
	lseek(fd, 0, SEEK_SET);
	ck_reads(fd, "one two");
	close(fd);
	stop(&rig);
}
END_TEST

/* What the guest left in its ring is written, unless lkvm is told to end. */
START_TEST(ends_in_the_middle)
{
	struct rig rig;
	struct stat st;
	sigset_t term;

	start(&rig);
	ck_assert_int_eq(BUILD(&rig, words("log,wait,path=", "file")), 0);
	go(&rig);
	drv_add(&rig.ring[5], &(struct drv_seg){DRV_RAM + DRV_BANK, 3 * MIB, 0}, 1);
	drv_wr(&rig.drv, R_NOTIFY, 5);
	if (_i) {
		sigemptyset(&term);
		sigaddset(&term, SIGTERM);
		ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, &term, NULL), 0);
		raise(SIGTERM);
	}
	rig.vdev->ops->finish(rig.vdev);
	ck_assert_int_eq(stat(path("file"), &st), 0);
	ck_assert_int_ge(st.st_size, MIB);
	ck_assert_int_eq(st.st_size == 3 * MIB, !_i);
	/* It was said. */
	ck_assert_int_eq(ftruncate(rig.log_fd, 0), 0);
	stop(&rig);
}
END_TEST

START_TEST(unix_socket)
{
	struct rig rig;
	struct stat st;
	char byte;
	int one, two, i;

	start(&rig);
	ck_assert_int_eq(BUILD(&rig, words("agent,socket=", "sock"), "null,path=/dev/null"), 0);
	ck_assert_int_eq(lstat(path("sock"), &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	go(&rig);
	ck_assert_uint_eq(rig.opened, 1); /* the second port */
	/* Nobody is there: output is dropped. */
	transmit(&rig, 1, "lost");
	used(&rig, 5, 1);
	one = dial("sock");
	ck_assert_int_ge(one, 0);
	ck_assert_int_eq(write(one, "hello", 5), 5);
	ck_received(&rig, 1, "hello");
	ck_assert_int_eq(message(&rig), OPENED);
	transmit(&rig, 1, "welcome");
	ck_reads(one, "welcome");
	/* A second client waits; what it says comes when the first is gone. */
	two = dial("sock");
	ck_assert_int_ge(two, 0);
	ck_assert_int_eq(write(two, "and me", 6), 6);
	turn(&rig);
	ck_assert_int_eq(message(&rig), -1);
	/* Last words count. */
	ck_assert_int_eq(write(one, "bye", 3), 3);
	close(one);
	ck_received(&rig, 1, "bye");
	ck_assert_int_eq(message(&rig), CLOSED);
	ck_received(&rig, 1, "and me");
	ck_assert_int_eq(message(&rig), OPENED);
	/* A client that does not read: the port stands still, and goes on when it leaves. */
	for (i = 0; i < 1000 && drv_used_idx(&rig.ring[5]) == rig.ring[5].avail_idx; i++) {
		rig.ring[5].last_used = drv_used_idx(&rig.ring[5]);
		drv_add(&rig.ring[5], &(struct drv_seg){DATA, 65536, 0}, 1);
		drv_wr(&rig.drv, R_NOTIFY, 5);
	}
	ck_assert_int_lt(i, 1000);
	transmit(&rig, 2, "others go on");
	used(&rig, 7, 1);
	close(two);
	turn(&rig);
	ck_assert_int_eq(message(&rig), CLOSED);
	used(&rig, 5, 1);
	/* Whoever comes next starts afresh. */
	one = dial("sock");
	turn(&rig);
	ck_assert_int_eq(message(&rig), OPENED);
	ck_assert_int_eq(read(one, &byte, 1), -1);
	ck_assert_int_eq(errno, EAGAIN);
	/* It ends its half, and has its answer yet. */
	ck_assert_int_eq(write(one, "last", 4), 4);
	ck_assert_int_eq(shutdown(one, SHUT_WR), 0);
	ck_received(&rig, 1, "last");
	ck_assert_int_eq(message(&rig), -1);
	transmit(&rig, 1, "answer");
	ck_reads(one, "answer");
	close(one);
	turn(&rig);
	ck_assert_int_eq(message(&rig), CLOSED);
	one = dial("sock");
	turn(&rig);
	ck_assert_int_eq(message(&rig), OPENED);
	shutdown(one, SHUT_WR);
	turn(&rig);
	stop(&rig);
	close(one);
	ck_assert_int_eq(access(path("sock"), F_OK), -1);
}
END_TEST

/* Which files are replaced, and which are removed at the end. */
START_TEST(socket_files)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct rig rig;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(addr.sun_path, path("sock"), strlen(path("sock")));
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	start(&rig);
	/* Somebody serves it. */
	ck_refused(&rig, words("a,socket=", "sock"), "in use");
	ck_assert_int_eq(access(path("sock"), F_OK), 0);
	/* Nobody does. */
	close(fd);
	ck_assert_int_eq(BUILD(&rig, words("a,socket=", "sock")), 0);
	go(&rig);
	/* It is somebody else's by now. */
	ck_assert_int_eq(unlink(path("sock")), 0);
	close(open(path("sock"), O_CREAT, 0600));
	stop(&rig);
	ck_assert_int_eq(access(path("sock"), F_OK), 0);
	/* A file is never replaced. */
	start(&rig);
	ck_refused(&rig, words("a,socket=", "sock"), "no socket");
	ck_assert_int_eq(unlink(path("sock")), 0);
	loop_destroy(rig.loop);
	memory_destroy(&rig.mem);
	close(rig.log_fd);
}
END_TEST

START_TEST(new_pty)
{
	struct termios modes;
	struct rig rig;
	char line[256] = "", *name;
	int fd;

	start(&rig);
	ck_assert_int_eq(BUILD(&rig, "tty,pty"), 0);
	ck_assert_int_gt(pread(rig.log_fd, line, sizeof(line) - 1, 0), 0);
	name = strstr(line, "/dev/pts/");
	ck_assert_ptr_nonnull(name);
	ck_assert_ptr_nonnull(strstr(line, "port tty is"));
	name[strcspn(name, "\r\n")] = '\0';
	ck_assert_int_eq(ftruncate(rig.log_fd, 0), 0);
	go(&rig);
	ck_assert_uint_eq(rig.opened, 1);
	/* Before anybody opens it: kept. */
	transmit(&rig, 1, "login: ");
	used(&rig, 5, 1);
	fd = open(name, O_RDWR | O_NOCTTY);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(tcgetattr(fd, &modes), 0);
	ck_assert_uint_eq(modes.c_lflag & (ECHO | ICANON), 0);
	ck_reads(fd, "login: ");
	ck_assert_int_eq(write(fd, "root\r", 5), 5);
	ck_received(&rig, 1, "root\r");
	close(fd);
	turn(&rig);
	/* Whoever opens it later goes on. */
	fd = open(name, O_RDWR | O_NOCTTY);
	transmit(&rig, 1, "again");
	ck_reads(fd, "again");
	close(fd);
	ck_assert_int_eq(message(&rig), -1);
	stop(&rig);
}
END_TEST

START_TEST(descriptors)
{
	struct rig rig;
	int pair[2], in[2], out[2];
	char a[32], b[32], c[32];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	ck_assert_int_eq(pipe(in), 0);
	ck_assert_int_eq(pipe(out), 0);
	snprintf(a, sizeof(a), "a,fd=%d", pair[0]);
	snprintf(b, sizeof(b), "b,fd=%d", in[0]);
	snprintf(c, sizeof(c), "c,fd=%d", out[1]);
	start(&rig);
	ck_assert_int_eq(BUILD(&rig, a, b, c), 0);
	ck_assert(fcntl(pair[0], F_GETFD) & FD_CLOEXEC);
	go(&rig);
	ck_assert_uint_eq(rig.opened, 3);
	transmit(&rig, 1, "to a");
	ck_reads(pair[1], "to a");
	ck_assert_int_eq(write(pair[1], "from a", 6), 6);
	ck_received(&rig, 1, "from a");
	ck_assert_int_eq(write(in[1], "from b", 6), 6);
	ck_received(&rig, 2, "from b");
	transmit(&rig, 2, "nobody reads this");
	used(&rig, 7, 1);
	transmit(&rig, 3, "to c");
	ck_reads(out[0], "to c");
	/* The ends of input. */
	close(in[1]);
	close(pair[1]);
	turn(&rig);
	ck_assert_int_eq(message(&rig), CLOSED);
	ck_assert_int_eq(message(&rig), CLOSED);
	ck_assert_int_eq(message(&rig), -1);
	stop(&rig);
	/* They stay the user's. */
	ck_assert_int_ge(fcntl(pair[0], F_GETFD), 0);
	close(pair[0]);
	close(in[0]);
	close(out[0]);
	close(out[1]);
}
END_TEST

/* Input that stands there before the driver does; none is taken before it listens. */
START_TEST(early_input)
{
	struct rig rig;
	int fd;

	start(&rig);
	ck_assert_int_eq(BUILD(&rig, words("a,socket=", "sock")), 0);
	fd = dial("sock");
	ck_assert_int_eq(write(fd, "early bird", 10), 10);
	turn(&rig);
	go(&rig);
	ck_assert_uint_eq(rig.opened, 1);
	ck_received(&rig, 1, "early bird");
	close(fd);
	stop(&rig);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio-console-port");
	TCase *t = tcase_create("ports");

	tcase_add_checked_fixture(t, make_dir, remove_dir);
	tcase_add_test(t, bad_words);
	tcase_add_test(t, dry_run);
	tcase_add_test(t, file);
	tcase_add_loop_test(t, ends_in_the_middle, 0, 2);
	tcase_add_test(t, unix_socket);
	tcase_add_test(t, socket_files);
	tcase_add_test(t, new_pty);
	tcase_add_test(t, descriptors);
	tcase_add_test(t, early_input);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return unit_main(s);
}
