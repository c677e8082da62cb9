// SPDX-License-Identifier: GPL-2.0-only
/*
 * Network back ends over sockets, with real sockets and a real loop: frames in a
 * stream, cut anywhere; a peer that reads slowly, sends garbage, goes away; messages;
 * and passt, played by a shell script.
 */
#include "net_rig.h"
#include "prng.h"
#include "unit.h"

#include "lkvm/virtio/net_backend.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define BIT(f) VIRTIO_BIT(NET_F_##f)
#define PREFIX 4

static struct loop *loop;
static struct net_rig rig;
static int peer; /* the other end */
static uint8_t bytes[NET_HEADER + NET_FRAME_MAX + 4096];

static void settle(void)
{
	do
		net_rig_run(&rig);
	while (loop_run_once(loop, 20) > 0);
}

static void start(int type)
{
	struct virtio_device *vdev;
	struct net_backend backend;
	struct error err;
	int fds[2];

	loop = loop_create(NULL);
	ck_assert_int_eq(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds), 0);
	peer = fds[1];
	net_rig_prepare(&rig);
	ck_assert_int_eq(net_socket_open(fds[0], loop, &backend, &err), 0);
	net_rig_over(&rig, &net_rig_config, backend);
	vdev = virtio_net_device(rig.net);
	ck_assert_int_eq(vdev->ops->start(vdev, &err), 0);
	net_rig_go(&rig, BIT(MRG_RXBUF) | BIT(STATUS));
}

static void stop(void)
{
	net_rig_stop(&rig);
	if (peer >= 0)
		close(peer);
	loop_destroy(loop);
}

static void put_prefix(uint8_t *at, size_t len)
{
	uint32_t be = htonl((uint32_t)len);

	memcpy(at, &be, PREFIX);
}

static bool link_is_up(void)
{
	return drv_rd(&rig.drv, R_CONFIG + 4) >> 16 & 1;
}

/* --- frames in a stream ----------------------------------------------------------- */

static struct net_frames *new_frames(void)
{
	struct net_frames *f = calloc(1, sizeof(*f));

	ck_assert_ptr_nonnull(f);
	return f;
}

static void put(struct net_frames *f, const void *data, size_t len)
{
	size_t room;
	uint8_t *at = net_frames_space(f, &room);

	ck_assert_uint_ge(room, len);
	memcpy(at, data, len);
	net_frames_filled(f, len);
}

START_TEST(frames_cut_anywhere)
{
	uint8_t stream[2 * (PREFIX + 20)];
	const uint8_t *frame;
	size_t cut;

	put_prefix(stream, 20);
	net_rig_make(stream + PREFIX, 20, 1);
	put_prefix(stream + 24, 20);
	net_rig_make(stream + 24 + PREFIX, 20, 2);
	for (cut = 0; cut < sizeof(stream); cut++) {
		struct net_frames *f = new_frames();
		unsigned int seen = 0;
		long n;

		put(f, stream, cut);
		while ((n = net_frames_next(f, &frame))) {
			ck_assert_int_eq(n, 20);
			ck_assert_mem_eq(frame, stream + PREFIX + 24 * seen, 20);
			seen++;
		}
		ck_assert_uint_eq(seen, cut / 24);
		put(f, stream + cut, sizeof(stream) - cut);
		while ((n = net_frames_next(f, &frame))) {
			ck_assert_int_eq(n, 20);
			ck_assert_mem_eq(frame, stream + PREFIX + 24 * seen, 20);
			seen++;
		}
		ck_assert_uint_eq(seen, 2);
		free(f);
	}
}
END_TEST

START_TEST(frames_that_are_none)
{
	static const uint32_t bad[] = {
		0, 1, NET_FRAME_MIN - 1, NET_SOCKET_FRAME_MAX + 1, 0x80000000, 0xffffffff};
	uint8_t prefix[PREFIX];
	const uint8_t *frame;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		struct net_frames *f = new_frames();

		put_prefix(prefix, bad[i]);
		put(f, prefix, 3);
		ck_assert_int_eq(net_frames_next(f, &frame), 0);
		put(f, prefix + 3, 1);
		ck_assert_int_eq(net_frames_next(f, &frame), -EPROTO);
		/* For good. */
		put_prefix(prefix, 20);
		put(f, prefix, PREFIX);
		ck_assert_int_eq(net_frames_next(f, &frame), -EPROTO);
		free(f);
	}
}
END_TEST

/* The longest frames, back to back, read in pieces as large as they fit. */
START_TEST(frames_full_buffer)
{
	const size_t max = NET_SOCKET_FRAME_MAX;
	size_t total = 10 * (PREFIX + max), done = 0, room;
	uint8_t *stream = malloc(total);
	struct net_frames *f = new_frames();
	unsigned int seen = 0, i;
	const uint8_t *frame;
	long n;

	for (i = 0; i < 10; i++) {
		put_prefix(stream + i * (PREFIX + max), max);
		net_rig_make(stream + i * (PREFIX + max) + PREFIX, max, (uint8_t)i);
	}
	while (seen < 10) {
		uint8_t *at = net_frames_space(f, &room);

		ck_assert_uint_gt(room, 0);
		room = min_u64(room, total - done);
		memcpy(at, stream + done, room);
		net_frames_filled(f, room);
		done += room;
		while ((n = net_frames_next(f, &frame))) {
			ck_assert_int_eq(n, (long)max);
			ck_assert_mem_eq(frame, stream + seen * (PREFIX + max) + PREFIX, max);
			seen++;
		}
	}
	free(f);
	free(stream);
}
END_TEST

/* --- stream sockets -------------------------------------------------------------------- */

START_TEST(stream_sends)
{
	uint8_t *frame, got[1000];
	unsigned int i;

	start(SOCK_STREAM);
	frame = net_rig_frame(&rig, 200, 7);
	/* One notification, one write. */
	for (i = 0; i < 3; i++) {
		const struct drv_seg segs[] = {{RIG_HEAD, NET_HEADER, 0}, {RIG_TX, 200, 0}};

		drv_add(&rig.ring[1], segs, 2);
	}
	drv_wr(&rig.drv, R_NOTIFY, 1);
	ck_assert_int_eq(recv(peer, got, sizeof(got), MSG_DONTWAIT), 3 * (PREFIX + 200));
	for (i = 0; i < 3; i++) {
		ck_assert_mem_eq(got + i * (PREFIX + 200), "\0\0\0\310", PREFIX);
		ck_assert_mem_eq(got + i * (PREFIX + 200) + PREFIX, frame, 200);
	}
	/* What is too long for the peer is dropped, and the stream stays whole. */
	net_rig_frame(&rig, NET_SOCKET_FRAME_MAX + 1, 0);
	ck_assert(net_rig_send(&rig, 0, NULL, NET_SOCKET_FRAME_MAX + 1) || true);
	net_rig_frame(&rig, 60, 0);
	net_rig_send(&rig, 0, NULL, 60);
	ck_assert_int_eq(recv(peer, got, sizeof(got), MSG_DONTWAIT), PREFIX + 60);
	stop();
}
END_TEST

static void read_exactly(int fd, void *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = recv(fd, (char *)buf + done, len - done, MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN) {
			net_rig_run(&rig);
			ck_assert_int_ge(loop_run_once(loop, 1000), 0);
			continue;
		}
		ck_assert_int_gt(n, 0);
		done += (size_t)n;
	}
}

/* A reader that is slower than the guest: everything arrives, whole and in order. */
START_TEST(stream_slow_reader)
{
	struct prng p = prng_start("net slow reader");
	unsigned int sent = 0, seen = 0, size = 4096;
	bool blocked = false;
	uint32_t id, used;

	start(SOCK_STREAM);
	setsockopt(peer, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	net_rig_frame(&rig, 65000, 0);
	while (seen < 400) {
		while (sent < 400 &&
		       (uint16_t)(rig.ring[1].avail_idx - rig.ring[1].last_used) < 8) {
			/* The number is the frame's source, the length is made of it. */
			uint8_t *frame = drv_ptr(&rig.mem, RIG_TX + 0x10000 * (sent % 16), 65000);
			const struct drv_seg segs[] = {
				{RIG_HEAD, NET_HEADER, 0},
				{RIG_TX + 0x10000 * (sent % 16), 14 + sent * 7919 % 64000, 0}};

			net_rig_make(frame, 14 + sent * 7919 % 64000, (uint8_t)sent);
			drv_add(&rig.ring[1], segs, 2);
			sent++;
		}
		drv_wr(&rig.drv, R_NOTIFY, 1);
		blocked |= drv_used_idx(&rig.ring[1]) != rig.ring[1].avail_idx;
		while (drv_get_used(&rig.ring[1], &id, &used))
			;
		if (prng_below(&p, 4) == 0 || sent == 400) {
			uint32_t prefix;
			size_t len = 14 + seen * 7919 % 64000;
			static uint8_t got[65536], want[65536];

			read_exactly(peer, &prefix, sizeof(prefix));
			ck_assert_uint_eq(ntohl(prefix), len);
			read_exactly(peer, got, len);
			net_rig_make(want, len, (uint8_t)seen);
			ck_assert_mem_eq(got, want, len);
			seen++;
		}
	}
	/* It did come to a stop in between, and the driver was told by an interrupt. */
	ck_assert(blocked);
	settle();
	ck_assert_uint_eq(drv_used_idx(&rig.ring[1]), rig.ring[1].avail_idx);
	stop();
}
END_TEST

START_TEST(stream_receives)
{
	uint8_t out[3 * (PREFIX + 100)];
	unsigned int i, nr;
	size_t cut;

	start(SOCK_STREAM);
	net_rig_buffers(&rig, 0, RIG_NUM, 2000);
	for (i = 0; i < 3; i++) {
		put_prefix(out + i * (PREFIX + 100), 100);
		net_rig_make(out + i * (PREFIX + 100) + PREFIX, 100, (uint8_t)i);
	}
	settle();
	for (cut = 1; cut < 18; cut++) {
		ck_assert_int_eq(send(peer, out, cut * 17, 0), (ssize_t)cut * 17);
		settle();
		ck_assert_int_eq(send(peer, out + cut * 17, sizeof(out) - cut * 17, 0),
				 (ssize_t)(sizeof(out) - cut * 17));
		settle();
		for (i = 0; i < 3; i++) {
			ck_assert_uint_eq(net_rig_received(&rig, 0, bytes, &nr), NET_HEADER + 100);
			ck_assert_mem_eq(bytes + NET_HEADER, out + i * (PREFIX + 100) + PREFIX,
					 100);
		}
	}
	/* Nothing turns when nothing comes. */
	ck_assert_int_eq(loop_run_once(loop, 30), 0);
	stop();
}
END_TEST

/* A guest without buffers holds the peer up, and nothing else. */
START_TEST(stream_without_buffers)
{
	static uint8_t out[PREFIX + 1000];
	unsigned int sent = 0, i, nr;

	start(SOCK_STREAM);
	put_prefix(out, 1000);
	net_rig_make(out + PREFIX, 1000, 3);
	while (send(peer, out, sizeof(out), MSG_DONTWAIT) == (ssize_t)sizeof(out)) {
		sent++;
		loop_run_once(loop, 0);
	}
	settle();
	ck_assert_int_eq(loop_run_once(loop, 30), 0);
	for (i = 0; i + RIG_NUM / 2 < sent; i += RIG_NUM / 2) {
		unsigned int j;

		net_rig_buffers(&rig, 0, RIG_NUM / 2, 2000);
		settle();
		for (j = 0; j < RIG_NUM / 2; j++)
			ck_assert_uint_eq(net_rig_received(&rig, 0, bytes, &nr), NET_HEADER + 1000);
	}
	ck_assert(link_is_up());
	stop();
}
END_TEST

START_TEST(stream_garbage)
{
	start(SOCK_STREAM);
	net_rig_buffers(&rig, 0, 4, 2000);
	drv_ack(&rig.drv);
	ck_assert_int_eq(send(peer, "what is this", 12, 0), 12);
	settle();
	ck_assert(!link_is_up());
	ck_assert_uint_eq(drv_ack(&rig.drv) & 2, 2);
	ck_assert_uint_eq(net_rig_logged(&rig, "what is no frame; its link is down"), 1);
	ck_assert_int_eq(loop_run_once(loop, 30), 0);
	/* The guest may go on sending into nothing, and be reset. */
	net_rig_frame(&rig, 100, 0);
	ck_assert(net_rig_send(&rig, 0, NULL, 100));
	net_rig_go(&rig, BIT(MRG_RXBUF) | BIT(STATUS));
	ck_assert(!link_is_up());
	net_rig_buffers(&rig, 0, 4, 2000);
	settle();
	stop();
}
END_TEST

START_TEST(stream_peer_goes)
{
	unsigned int i;

	/* While nothing is under way. */
	start(SOCK_STREAM);
	close(peer);
	peer = -1;
	settle();
	ck_assert(!link_is_up());
	ck_assert_uint_eq(net_rig_logged(&rig, "closed the connection"), 1);
	ck_assert_int_eq(loop_run_once(loop, 30), 0);
	stop();

	/* Noticed by sending, while the loop does something else. */
	start(SOCK_STREAM);
	net_rig_frame(&rig, 100, 0);
	shutdown(peer, SHUT_RDWR);
	for (i = 0; i < 5; i++)
		ck_assert(net_rig_send(&rig, 0, NULL, 100));
	settle();
	ck_assert(!link_is_up());
	stop();

	/* While a part of a frame waits. */
	start(SOCK_STREAM);
	net_rig_frame(&rig, 65000, 0);
	for (i = 0; i < 30; i++)
		net_rig_send(&rig, 0, NULL, 65000);
	close(peer);
	peer = -1;
	settle();
	ck_assert(!link_is_up());
	ck_assert_uint_eq(drv_used_idx(&rig.ring[1]), rig.ring[1].avail_idx);
	stop();

	/* Before the driver is there. */
	start(SOCK_STREAM);
	drv_wr(&rig.drv, R_STATUS, 0);
	close(peer);
	peer = -1;
	settle();
	ck_assert_int_eq(loop_run_once(loop, 30), 0);
	net_rig_go(&rig, BIT(STATUS));
	ck_assert(!link_is_up());
	stop();
}
END_TEST

/* --- messages ----------------------------------------------------------------------------- */

static void messages(int type)
{
	uint8_t *frame, got[2000];
	unsigned int nr, i;

	start(type);
	settle();
	frame = net_rig_frame(&rig, 300, 1);
	ck_assert(net_rig_send(&rig, 0, NULL, 300));
	ck_assert_int_eq(recv(peer, got, sizeof(got), MSG_DONTWAIT), 300);
	ck_assert_mem_eq(got, frame, 300);
	net_rig_buffers(&rig, 0, RIG_NUM, 2000);
	net_rig_make(got, 500, 9);
	ck_assert_int_eq(send(peer, got, 500, 0), 500);
	/* What is no frame is dropped, what is too long too. */
	ck_assert_int_eq(send(peer, got, 5, 0), 5);
	if (type == SOCK_DGRAM)
		ck_assert_int_eq(send(peer, got, 0, 0), 0);
	ck_assert_int_eq(send(peer, bytes, NET_FRAME_MAX + 100, 0), NET_FRAME_MAX + 100);
	ck_assert_int_eq(send(peer, got, 501, 0), 501);
	settle();
	ck_assert_uint_eq(net_rig_received(&rig, 0, bytes, &nr), NET_HEADER + 500);
	ck_assert_mem_eq(bytes + NET_HEADER, got, 500);
	ck_assert_uint_eq(net_rig_received(&rig, 0, bytes, &nr), NET_HEADER + 501);
	ck_assert_uint_eq(net_rig_received(&rig, 0, bytes, &nr), 0);
	/* Nobody reads: one waits, the others stay in the ring. */
	net_rig_frame(&rig, 300, 1);
	for (i = 0; i < RIG_NUM / 2 - 2; i++) {
		const struct drv_seg segs[] = {{RIG_HEAD, NET_HEADER, 0}, {RIG_TX, 300, 0}};

		drv_add(&rig.ring[1], segs, 2);
		drv_wr(&rig.drv, R_NOTIFY, 1);
	}
	for (i = 0; i < RIG_NUM / 2 - 2; i++) {
		ck_assert_int_eq(recv(peer, got, sizeof(got), MSG_DONTWAIT), 300);
		settle();
	}
	ck_assert_int_eq(recv(peer, got, sizeof(got), MSG_DONTWAIT), -1);
	ck_assert_uint_eq(drv_used_idx(&rig.ring[1]), rig.ring[1].avail_idx);
	/* Gone. */
	close(peer);
	peer = -1;
	ck_assert(net_rig_send(&rig, 0, NULL, 300) || true);
	settle();
	ck_assert(!link_is_up());
	ck_assert_int_eq(loop_run_once(loop, 30), 0);
	stop();
}

START_TEST(datagrams)
{
	messages(SOCK_DGRAM);
}
END_TEST

START_TEST(seqpackets)
{
	messages(SOCK_SEQPACKET);
}
END_TEST

START_TEST(no_socket)
{
	struct net_backend backend;
	struct error err;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	ck_assert_int_eq(net_socket_open(fd, NULL, &backend, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.msg, "no socket"));
	close(fd);
}
END_TEST

/* --- passt ---------------------------------------------------------------------------------- */

static char dir[64];

/* A program called passt, first in the PATH. */
static void make_passt(const char *script)
{
	char path[128];
	int fd;

	snprintf(dir, sizeof(dir), "/tmp/lkvm-test-net-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/passt", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	dprintf(fd, "#!/bin/sh\n%s\n", script);
	close(fd);
	snprintf(path, sizeof(path), "%s:/usr/bin:/bin", dir);
	setenv("PATH", path, 1);
}

static void remove_passt(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/passt", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/out", dir);
	unlink(path);
	rmdir(dir);
}

static int open_user(const struct net_user_config *config, struct error *err)
{
	struct net_backend backend;

	net_rig_prepare(&rig);
	atomic_store(&rig.log.level, LOG_LEVEL_DEBUG);
	if (net_user_open(config, loop, &rig.log, &backend, err))
		return -1;
	net_rig_over(&rig, &net_rig_config, backend);
	return 0;
}

static int start_user(const struct net_user_config *config, struct error *err)
{
	struct virtio_device *vdev;

	peer = -1;
	loop = loop_create(NULL);
	ck_assert_int_eq(open_user(config, err), 0);
	vdev = virtio_net_device(rig.net);
	return vdev->ops->start(vdev, err);
}

/* The first frame is 64 bytes with its length. */
#define READ_FIRST "head -c 64 <&3 >/dev/null; "

START_TEST(passt_arguments)
{
	static const char *const publish[] = {"8080:80", "127.0.0.1:5353:53/udp",
					      "[::1]:2222:22/tcp", "::1:1:2"};
	const struct net_user_config config = {.mtu = 1400,
					       .guest_ip = "10.1.2.3",
					       .host_ip = "10.1.2.1",
					       .host_mac = "02:00:00:00:00:02",
					       .reach_host = true,
					       .publish = publish,
					       .nr_publish = 4};
	struct error err;

	make_passt("echo \"args: $*\"; " READ_FIRST "exec sleep 60 <&3");
	ck_assert_msg(start_user(&config, &err) == 0, "%s", err.msg);
	loop_run_once(loop, 1000);
	settle();
	ck_assert_uint_eq(net_rig_logged(&rig, "args: --foreground --fd 3 --mtu 1400 --address "
					       "10.1.2.3 --gateway 10.1.2.1 --mac-addr "
					       "02:00:00:00:00:02 -t 8080:80 -u 127.0.0.1/5353:53 "
					       "-t ::1/2222:22 -t ::1/1:2"),
			  1);
	stop();
	remove_passt();
}
END_TEST

START_TEST(passt_defaults)
{
	const struct net_user_config config = {.mtu = 0};
	struct error err;

	make_passt("echo \"args: $*\"; " READ_FIRST "exec sleep 60 <&3");
	ck_assert_msg(start_user(&config, &err) == 0, "%s", err.msg);
	loop_run_once(loop, 1000);
	settle();
	/* The host's loopback is not given away unasked. */
	ck_assert_uint_eq(net_rig_logged(&rig, "args: --foreground --fd 3 --no-map-gw"), 1);
	stop();
	remove_passt();
}
END_TEST

START_TEST(passt_bad_publish)
{
	static const char *const bad[] = {"",
					  "80",
					  "80:",
					  ":80",
					  "0:80",
					  "80:0",
					  "65536:80",
					  "80:65536",
					  "x:80",
					  "80:x",
					  "80:80/icmp",
					  "80:80/",
					  "1.2.3:80:80",
					  "[::1:80:80",
					  "host:80:80",
					  "-1:80",
					  " 80:80",
					  "80:80 ",
					  "[]:80:80",
					  "1.2.3.4:80/",
					  "80:80/udp/udp",
					  ":80:80",
					  "~80:80",
					  "80-90:80"};
	size_t i;

	loop = loop_create(NULL);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		const struct net_user_config config = {
			.publish = &bad[i], .nr_publish = 1, .reach_host = true};
		struct net_backend backend;
		struct error err;

		ck_assert_msg(net_user_open(&config, loop, NULL, &backend, &err) == -1, "%s",
			      bad[i]);
		ck_assert_ptr_nonnull(strstr(err.msg, "publish="));
		ck_assert_int_eq(virtio_net_check_publish(bad[i], &err), -1);
		ck_assert_ptr_nonnull(strstr(err.msg, "HOSTPORT:GUESTPORT"));
	}
	ck_assert_int_eq(virtio_net_check_publish("[::1]:5353:53/udp", NULL), 0);
	ck_assert_int_eq(virtio_net_check_publish("80:80/tcp", NULL), 0);
	loop_destroy(loop);
}
END_TEST

START_TEST(passt_missing)
{
	const struct net_user_config config = {.mtu = 0};
	struct error err;

	setenv("PATH", "/nonexistent", 1);
	if (!access("/usr/sbin/passt", X_OK))
		return;
	ck_assert_int_eq(start_user(&config, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.msg, "passt is not installed"));
	ck_assert_ptr_nonnull(strstr(err.msg, "package is called passt"));
	stop();
}
END_TEST

START_TEST(passt_ends_at_once)
{
	const struct net_user_config config = {.mtu = 0};
	struct error err;

	make_passt("echo 'Failed to bind port 80 (Permission denied)' >&2; exit 1");
	ck_assert_int_eq(start_user(&config, &err), -1);
	ck_assert_str_eq(err.msg, "passt ended with status 1: Failed to bind port 80 (Permission "
				  "denied)");
	stop();
	remove_passt();
}
END_TEST

static void until_link_is_down(void)
{
	uint64_t end = now_ns() + 5 * NSEC_PER_SEC;

	while (link_is_up() && now_ns() < end)
		loop_run_once(loop, 100);
	ck_assert(!link_is_up());
	settle();
}

START_TEST(passt_dies)
{
	const struct net_user_config config = {.mtu = 0};
	struct error err;

	make_passt(READ_FIRST "sleep 0.2; echo bug in tcp.c; kill -ABRT $$");
	ck_assert_msg(start_user(&config, &err) == 0, "%s", err.msg);
	net_rig_go(&rig, BIT(MRG_RXBUF) | BIT(STATUS));
	until_link_is_down();
	ck_assert_uint_eq(net_rig_logged(&rig, "net0: passt was ended by signal 6 (Aborted); its "
					       "link is down, the VM goes on"),
			  1);
	ck_assert_uint_eq(net_rig_logged(&rig, "Error: passt: bug in tcp.c"), 1);
	stop();
	remove_passt();
}
END_TEST

/* It closes the socket and lives on. */
START_TEST(passt_closes)
{
	const struct net_user_config config = {.mtu = 0};
	struct error err;

	make_passt(READ_FIRST "sleep 0.2; exec 3>&-; exec sleep 60");
	ck_assert_msg(start_user(&config, &err) == 0, "%s", err.msg);
	net_rig_go(&rig, BIT(MRG_RXBUF) | BIT(STATUS));
	until_link_is_down();
	ck_assert_uint_eq(net_rig_logged(&rig, "closed the connection; its link is down"), 1);
	stop();
	remove_passt();
}
END_TEST

/* Frames both ways through a peer that sends them back. */
START_TEST(passt_traffic)
{
	const struct net_user_config config = {.mtu = 0};
	struct error err;
	uint8_t *frame;
	unsigned int i, nr;

	make_passt(READ_FIRST "exec cat <&3 >&3");
	ck_assert_msg(start_user(&config, &err) == 0, "%s", err.msg);
	net_rig_go(&rig, BIT(MRG_RXBUF) | BIT(STATUS));
	net_rig_buffers(&rig, 0, RIG_NUM, 2000);
	frame = net_rig_frame(&rig, 1400, 1);
	for (i = 0; i < 20; i++)
		ck_assert(net_rig_send(&rig, 0, NULL, 1400));
	for (i = 0; i < 20; i++) {
		uint64_t end = now_ns() + 5 * NSEC_PER_SEC;

		while (drv_used_idx(&rig.ring[0]) == rig.ring[0].last_used && now_ns() < end)
			loop_run_once(loop, 100);
		ck_assert_uint_eq(net_rig_received(&rig, 0, bytes, &nr), NET_HEADER + 1400);
		ck_assert_mem_eq(bytes + NET_HEADER, frame, 1400);
	}
	stop();
	remove_passt();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio-net sockets");
	TCase *t = tcase_create("frames");

	tcase_add_test(t, frames_cut_anywhere);
	tcase_add_test(t, frames_that_are_none);
	tcase_add_test(t, frames_full_buffer);
	suite_add_tcase(s, t);
	t = tcase_create("sockets");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, stream_sends);
	tcase_add_test(t, stream_slow_reader);
	tcase_add_test(t, stream_receives);
	tcase_add_test(t, stream_without_buffers);
	tcase_add_test(t, stream_garbage);
	tcase_add_test(t, stream_peer_goes);
	tcase_add_test(t, datagrams);
	tcase_add_test(t, seqpackets);
	tcase_add_test(t, no_socket);
	suite_add_tcase(s, t);
	t = tcase_create("passt");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, passt_arguments);
	tcase_add_test(t, passt_defaults);
	tcase_add_test(t, passt_bad_publish);
	tcase_add_test(t, passt_missing);
	tcase_add_test(t, passt_ends_at_once);
	tcase_add_test(t, passt_dies);
	tcase_add_test(t, passt_closes);
	tcase_add_test(t, passt_traffic);
	suite_add_tcase(s, t);
	return unit_main(s);
}
