// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tap devices, for real, in a network namespace of the test's own: opening and what is
 * said where it can't be, frames through the kernel both ways, offloads, several
 * queues, the carrier, scripts, adopted descriptors, and an interface that is deleted.
 *
 * Needs /dev/net/tun and the right to make a namespace; without these the tests pass
 * with a word to say so.
 */
#include "net_rig.h"
#include "unit.h"

#include "lkvm/virtio/net_backend.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define BIT(f) VIRTIO_BIT(NET_F_##f)
#define TYPE 0x88b5

static struct loop *loop;
static struct net_rig rig;
static uint8_t bytes[NET_HEADER + NET_FRAME_MAX + 4096];

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!write(fd, text, strlen(text));
	close(fd);
}

/* A world of its own. False where that can't be. */
static bool have_world(void)
{
	char map[64];
	uid_t uid = getuid();
	int fd;

	if (unshare(CLONE_NEWNET)) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNET)) {
			printf("no network namespace here: not tested\n");
			return false;
		}
		write_text("/proc/self/setgroups", "deny");
		snprintf(map, sizeof(map), "0 %d 1", (int)uid);
		write_text("/proc/self/uid_map", map);
	}
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		printf("no /dev/net/tun here: not tested\n");
		return false;
	}
	close(fd);
	return true;
}

static void settle(void)
{
	while (loop_run_once(loop, 20) > 0)
		;
}

/* Does the loop come to rest? The kernel sends something of its own now and then. */
static bool quiet(void)
{
	unsigned int i;

	for (i = 0; i < 20; i++)
		if (!loop_run_once(loop, 30))
			return true;
	return false;
}

static int flags_of(const char *name)
{
	struct ifreq ifr = {.ifr_flags = 0};
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	ret = ioctl(sock, SIOCGIFFLAGS, &ifr);
	close(sock);
	return ret ? -1 : (unsigned short)ifr.ifr_flags;
}

static void set_flags(const char *name, int flags)
{
	struct ifreq ifr = {.ifr_flags = (short)flags};
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	ck_assert_int_eq(ioctl(sock, SIOCSIFFLAGS, &ifr), 0);
	close(sock);
}

/* A socket on the host's side of the interface. */
static int packet_socket(const char *name)
{
	struct sockaddr_ll addr = {.sll_family = AF_PACKET,
				   .sll_protocol = htons(TYPE),
				   .sll_ifindex = (int)if_nametoindex(name)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(TYPE));

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static bool open_tap(const struct net_tap_config *config, struct error *err)
{
	struct net_backend backend;

	loop = loop_create(NULL);
	net_rig_prepare(&rig);
	if (net_tap_open(config, loop, &rig.log, &backend, err))
		return false;
	net_rig_over(&rig, &net_rig_config, backend);
	return true;
}

static void start_tap(void)
{
	struct virtio_device *vdev = virtio_net_device(rig.net);
	struct error err;

	ck_assert_msg(vdev->ops->start(vdev, &err) == 0, "%s", err.msg);
}

static void start(const struct net_tap_config *config, uint64_t features)
{
	struct error err;

	ck_assert_msg(open_tap(config, &err), "%s", err.msg);
	start_tap();
	net_rig_go(&rig, features);
	settle();
}

static void stop(void)
{
	net_rig_stop(&rig);
	loop_destroy(loop);
}

/* The next frame of ours that the device got, without what the kernel itself sends. */
static size_t next_frame(unsigned int pair, unsigned int *nr)
{
	size_t len;

	settle();
	while ((len = net_rig_received(&rig, pair, bytes, nr)))
		if (len > NET_HEADER + 14 && bytes[NET_HEADER + 12] == TYPE >> 8 &&
		    bytes[NET_HEADER + 13] == (TYPE & 0xff))
			return len;
	return 0;
}

static const struct net_tap_config one = {.name = "t0", .pairs = 1};

#define PLAIN (BIT(MRG_RXBUF) | BIT(STATUS))

/* --- frames --------------------------------------------------------------------------- */

START_TEST(both_ways)
{
	uint8_t got[2000], out[1000];
	unsigned int i, nr;
	int host;

	if (!have_world())
		return;
	start(&one, PLAIN);
	/* Made and taken up. */
	ck_assert(flags_of("t0") & IFF_UP);
	host = packet_socket("t0");
	for (i = 0; i < 10; i++) {
		const uint8_t *frame = net_rig_frame(&rig, 100 + i, (uint8_t)i);

		ck_assert(net_rig_send(&rig, 0, NULL, 100 + i));
		ck_assert_int_eq(recv(host, got, sizeof(got), 0), 100 + i);
		ck_assert_mem_eq(got, frame, 100 + i);
	}
	net_rig_buffers(&rig, 0, RIG_NUM, 300);
	for (i = 0; i < 10; i++) {
		net_rig_make(out, 500 + i, (uint8_t)i);
		ck_assert_int_eq(send(host, out, 500 + i, 0), 500 + i);
		ck_assert_uint_eq(next_frame(0, &nr), NET_HEADER + 500 + i);
		ck_assert_uint_eq(nr, 2);
		ck_assert_mem_eq(bytes + NET_HEADER, out, 500 + i);
	}
	/* No header to be seen where nothing was negotiated. */
	ck_assert_mem_eq(bytes, "\0\0\0\0\0\0\0\0\0\0\2\0", NET_HEADER);
	close(host);
	stop();
	/* It is gone with the VM. */
	ck_assert_int_eq(flags_of("t0"), -1);
}
END_TEST

START_TEST(no_buffers)
{
	uint8_t out[200];
	unsigned int i;
	int host;

	if (!have_world())
		return;
	start(&one, PLAIN);
	host = packet_socket("t0");
	/* Let go of what the kernel itself sends. */
	net_rig_buffers(&rig, 0, RIG_NUM, 2000);
	settle();
	net_rig_go(&rig, PLAIN);
	settle();
	for (i = 0; i < 3000; i++) {
		net_rig_make(out, sizeof(out), (uint8_t)i);
		(void)!send(host, out, sizeof(out), MSG_DONTWAIT);
	}
	settle();
	/* The interface's own queue is full and drops; nothing turns here. */
	ck_assert(quiet());
	net_rig_buffers(&rig, 0, RIG_NUM, 2000);
	for (i = 0; i < RIG_NUM / 2; i++)
		ck_assert_uint_gt(next_frame(0, NULL), 0);
	close(host);
	stop();
}
END_TEST

START_TEST(nonsense_headers)
{
	static const uint8_t headers[][NET_HEADER] = {
		{1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff},
		{1, 1, 0, 0, 0, 0, 0, 0, 0, 0},
		{0, 1, 0xff, 0xff, 1, 0, 0, 0, 0, 0},
		{1, 4, 10, 0, 0xff, 0xff, 34, 0, 0xff, 0},
		{1, 5, 0, 0, 1, 0, 99, 0, 0, 0},
	};
	struct net_rig *r = &rig;
	size_t i;

	if (!have_world())
		return;
	start(&one, PLAIN | NET_HOST_OFFLOADS);
	for (i = 0; i < ARRAY_SIZE(headers); i++) {
		net_rig_frame(r, 100, 0);
		ck_assert(net_rig_send(r, 0, headers[i], 100));
	}
	stop();
}
END_TEST

/* C10: behind an address that is fixed nobody else sends, and the kernel, which would not look, is
 * not asked to serve. */
START_TEST(fixed_address)
{
	struct virtio_net_config config = net_rig_config;
	struct net_backend backend;
	struct virtio_device *vdev = NULL;
	struct virtio_world world;
	struct error err;
	uint8_t got[200];
	int host;

	if (!have_world())
		return;
	config.fixed = config.enforce = true;
	loop = loop_create(NULL);
	net_rig_prepare(&rig);
	ck_assert_int_eq(net_tap_open(&one, loop, &rig.log, &backend, &err), 0);
	net_rig_over(&rig, &config, backend);
	start_tap();
	net_rig_go(&rig, PLAIN);
	host = packet_socket("t0");
	net_rig_frame(&rig, 100, 1)[NET_MAC + 5] ^= 1;
	ck_assert(net_rig_send(&rig, 0, NULL, 100));
	net_rig_frame(&rig, 90, 1);
	ck_assert(net_rig_send(&rig, 0, NULL, 90));
	ck_assert_int_eq(recv(host, got, sizeof(got), 0), 90);
	ck_assert_int_lt(recv(host, got, sizeof(got), MSG_DONTWAIT), 0);
	close(host);
	world = (struct virtio_world){
		.name = "net0", .mem = &rig.mem, .loop = loop, .log = &rig.log, .vm_name = "vm"};
	ck_assert_int_lt(virtio_net_kind.build(&world,
					       "tap,tapif=t1,guest_mac=02:00:00:00:00:01,vhost=on",
					       &vdev, &err),
			 0);
	ck_assert_ptr_nonnull(strstr(err.msg, "does not drop frames from other addresses"));
	ck_assert_ptr_null(vdev);
	stop();
}
END_TEST

/* The guest takes a whole TCP segment of many packets' size, and sends one. */
START_TEST(offloads)
{
	const uint64_t wanted = BIT(CSUM) | BIT(HOST_TSO4) | BIT(GUEST_CSUM) | BIT(GUEST_TSO4) |
				BIT(HOST_ECN) | BIT(GUEST_ECN);
	struct error err;

	if (!have_world())
		return;
	ck_assert(open_tap(&one, &err));
	ck_assert_uint_eq(drv_features(&rig.drv) & wanted, wanted);
	start_tap();
	net_rig_go(&rig, PLAIN | wanted);
	net_rig_go(&rig, PLAIN);
	net_rig_go(&rig, PLAIN | (drv_features(&rig.drv) & NET_GUEST_OFFLOADS));
	stop();
}
END_TEST

/* --- the link ---------------------------------------------------------------------------- */

/* The kernel's link watch takes up to a second. */
static bool runs(bool wanted)
{
	uint64_t end = now_ns() + 5 * NSEC_PER_SEC;
	bool is;

	do
		is = flags_of("t0") & IFF_RUNNING;
	while (is != wanted && now_ns() < end && !usleep(10000));
	return is;
}

START_TEST(carrier)
{
	if (!have_world())
		return;
	start(&one, PLAIN);
	ck_assert(runs(true));
	virtio_net_set_link(rig.net, false);
	ck_assert(!runs(false));
	virtio_net_set_link(rig.net, true);
	ck_assert(runs(true));
	stop();
}
END_TEST

/* Taken down on the host: frames are lost, no more. */
START_TEST(host_takes_it_down)
{
	uint8_t got[200];
	int host;

	if (!have_world())
		return;
	start(&one, PLAIN);
	host = packet_socket("t0");
	set_flags("t0", 0);
	net_rig_frame(&rig, 100, 0);
	ck_assert(net_rig_send(&rig, 0, NULL, 100));
	settle();
	set_flags("t0", IFF_UP);
	ck_assert(net_rig_send(&rig, 0, NULL, 100));
	/* The socket was told of the end in between. */
	while (recv(host, got, sizeof(got), 0) != 100)
		;
	close(host);
	stop();
}
END_TEST

static void delete_interface(const char *name)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg info;
	} msg = {
		.h = {.nlmsg_len = sizeof(msg),
		      .nlmsg_type = RTM_DELLINK,
		      .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
		.info = {.ifi_index = (int)if_nametoindex(name)},
	};
	struct {
		struct nlmsghdr h;
		struct nlmsgerr e;
	} answer;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	ck_assert_int_eq(send(fd, &msg, sizeof(msg), 0), sizeof(msg));
	ck_assert_int_gt(recv(fd, &answer, sizeof(answer), 0), 0);
	ck_assert_int_eq(answer.e.error, 0);
	close(fd);
}

START_TEST(deleted)
{
	if (!have_world())
		return;
	start(&one, PLAIN);
	net_rig_buffers(&rig, 0, RIG_NUM, 2000);
	settle();
	delete_interface("t0");
	settle();
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 4) >> 16 & 1, 0);
	ck_assert_uint_eq(net_rig_logged(&rig, "the interface t0 is gone; its link is down"), 1);
	ck_assert(quiet());
	net_rig_frame(&rig, 100, 0);
	ck_assert(net_rig_send(&rig, 0, NULL, 100));
	net_rig_go(&rig, PLAIN);
	settle();
	stop();
}
END_TEST

/* --- several queues ------------------------------------------------------------------------- */

START_TEST(queues)
{
	static const struct net_tap_config several = {.name = "t0", .pairs = 3};
	static const uint16_t nr_pairs[] = {3, 1, 2, 3, 1};
	uint8_t got[200];
	unsigned int i, k;
	int host;

	if (!have_world())
		return;
	start(&several, PLAIN | BIT(CTRL_VQ) | BIT(MQ));
	host = packet_socket("t0");
	for (k = 0; k < ARRAY_SIZE(nr_pairs); k++) {
		ck_assert_int_eq(net_rig_command(&rig, 4, 0, &nr_pairs[k], 2), 0);
		settle();
		for (i = 0; i < nr_pairs[k]; i++) {
			net_rig_frame(&rig, 100, (uint8_t)i);
			ck_assert(net_rig_send(&rig, i, NULL, 100));
			ck_assert_int_eq(recv(host, got, sizeof(got), 0), 100);
		}
		/* What comes from the host comes to one of those in use. */
		for (i = 0; i < nr_pairs[k]; i++)
			net_rig_buffers(&rig, i, 8, 2000);
		settle();
		net_rig_make(got, 150, 1);
		ck_assert_int_eq(send(host, got, 150, 0), 150);
		for (i = 0; i < nr_pairs[k]; i++)
			if (next_frame(i, NULL))
				break;
		ck_assert_uint_lt(i, nr_pairs[k]);
		/* Queues that were let go do not keep the loop busy. */
		ck_assert(quiet());
	}
	net_rig_go(&rig, PLAIN);
	settle();
	ck_assert(quiet());
	close(host);
	stop();
}
END_TEST

/* --- opening ---------------------------------------------------------------------------------- */

/* An interface that stays. */
static void make_interface(const char *name, short extra, uid_t owner)
{
	struct ifreq ifr = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | extra)};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	ck_assert_int_eq(ioctl(fd, TUNSETIFF, &ifr), 0);
	ck_assert_int_eq(ioctl(fd, TUNSETOWNER, owner), 0);
	ck_assert_int_eq(ioctl(fd, TUNSETPERSIST, 1), 0);
	close(fd);
}

START_TEST(existing)
{
	struct net_tap_config config = one;

	if (!have_world())
		return;
	make_interface("t0", 0, getuid());
	start(&config, PLAIN);
	ck_assert(!(flags_of("t0") & IFF_UP));
	ck_assert_uint_eq(net_rig_logged(&rig, "t0 is down"), 1);
	stop();
	ck_assert_int_ge(flags_of("t0"), 0);
	/* One of several queues is good for one, too. */
	make_interface("t1", IFF_MULTI_QUEUE, getuid());
	config.name = "t1";
	start(&config, PLAIN);
	stop();
	config.pairs = 2;
	start(&config, PLAIN);
	stop();
	ck_assert_int_ge(flags_of("t1"), 0);
}
END_TEST

static void refused(const struct net_tap_config *config, const char *text)
{
	struct error err;

	ck_assert(!open_tap(config, &err));
	ck_assert_msg(strstr(err.msg, text) != NULL, "%s", err.msg);
	close(rig.log_fd);
	free(rig.fake.in);
	free(rig.fake.out);
	memory_destroy(&rig.mem);
	loop_destroy(loop);
}

START_TEST(refusals)
{
	struct net_tap_config config = one;
	struct loop *first_loop;
	struct net_rig first;

	if (!have_world())
		return;
	config.name = "";
	refused(&config, "no name of an interface");
	config.name = "0123456789abcdef";
	refused(&config, "up to 15 characters");
	config.name = "a/b";
	refused(&config, "no name of an interface");
	config.name = "tap%d";
	refused(&config, "no name of an interface");
	config.name = "lo";
	refused(&config, "lo is no tap interface");
	make_interface("t0", 0, getuid());
	config = one;
	config.pairs = 2;
	refused(&config, "multi_queue");
	start(&one, PLAIN);
	first = rig;
	first_loop = loop;
	refused(&one, "in use by another process");
	rig = first;
	loop = first_loop;
	stop();
	config = (struct net_tap_config){.name = "t9", .pairs = 1, .host_ip = "1.2.3"};
	refused(&config, "host_ip=1.2.3");
	ck_assert_int_eq(flags_of("t9"), -1);
}
END_TEST

/* Without privilege: one's own interface works, a new one is refused with the cure. */
START_TEST(unprivileged)
{
	struct net_tap_config config = one;

	if (!have_world() || getuid())
		return;
	make_interface("t0", 0, 65534);
	make_interface("t1", 0, 65533);
	ck_assert_int_eq(setgid(65534), 0);
	ck_assert_int_eq(setuid(65534), 0);
	if (access("/dev/net/tun", R_OK | W_OK)) {
		config.name = "t1";
		refused(&config, "can't be opened by this user");
		return;
	}
	start(&config, PLAIN);
	stop();
	config.name = "t1";
	refused(&config, "belongs to another user");
	config.name = "t2";
	refused(&config, "ip tuntap add t2 mode tap user");
	config.name = NULL;
	refused(&config, "ip tuntap add tap0 mode tap user");
}
END_TEST

START_TEST(new_interface)
{
	const struct net_tap_config config = {.pairs = 1, .mtu = 9000, .host_ip = "192.168.77.1"};
	struct ifreq ifr = {.ifr_name = "tap0"};
	int sock;

	if (!have_world())
		return;
	start(&config, PLAIN);
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(ioctl(sock, SIOCGIFMTU, &ifr), 0);
	ck_assert_int_eq(ifr.ifr_mtu, 9000);
	ck_assert_int_eq(ioctl(sock, SIOCGIFADDR, &ifr), 0);
	close(sock);
	stop();
}
END_TEST

START_TEST(scripts)
{
	char dir[] = "/tmp/lkvm-test-tap-XXXXXX", up[64], down[64], text[256];
	struct net_tap_config config = {.name = "t0", .pairs = 1, .script = up, .downscript = down};
	struct virtio_device *vdev;
	struct error err;
	FILE *out;

	if (!have_world())
		return;
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(up, sizeof(up), "%s/up", dir);
	snprintf(down, sizeof(down), "%s/down", dir);
	out = fopen(up, "we");
	fprintf(out, "#!/bin/sh\necho up $# $1 >>%s/log\n", dir);
	fclose(out);
	out = fopen(down, "we");
	fprintf(out, "#!/bin/sh\necho down $# $1 >>%s/log\n", dir);
	fclose(out);
	chmod(up, 0755);
	chmod(down, 0755);
	start(&config, PLAIN);
	/* Taking it up is the script's business then. */
	ck_assert(!(flags_of("t0") & IFF_UP));
	stop();
	snprintf(text, sizeof(text), "%s/log", dir);
	out = fopen(text, "re");
	ck_assert_uint_gt(fread(text, 1, sizeof(text), out), 0);
	fclose(out);
	ck_assert_mem_eq(text, "up 1 t0\ndown 1 t0\n", 18);
	/* One that fails ends the start. */
	out = fopen(up, "we");
	fprintf(out, "#!/bin/sh\necho no bridge; exit 3\n");
	fclose(out);
	ck_assert(open_tap(&config, &err));
	vdev = virtio_net_device(rig.net);
	ck_assert_int_eq(vdev->ops->start(vdev, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.msg, "status 3: no bridge"));
	stop();
	snprintf(text, sizeof(text), "%s/log", dir);
	unlink(text);
	unlink(up);
	unlink(down);
	rmdir(dir);
}
END_TEST

/* --- adopted descriptors ---------------------------------------------------------------------- */

static int tap_fd(const char *name, short flags)
{
	struct ifreq ifr = {.ifr_flags = flags};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	ck_assert_int_eq(ioctl(fd, TUNSETIFF, &ifr), 0);
	return fd;
}

static int adopt(const int *fds, unsigned int nr, struct net_backend *backend, struct error *err)
{
	return net_tap_adopt(fds, nr, loop, &rig.log, backend, err);
}

START_TEST(adopted)
{
	struct net_backend backend;
	struct error err;
	uint8_t got[200];
	int fds[2], host, pair[2];

	if (!have_world())
		return;
	/* With a header and without. */
	for (int header = 0; header < 2; header++) {
		loop = loop_create(NULL);
		net_rig_prepare(&rig);
		fds[0] = tap_fd("t0", (short)(IFF_TAP | IFF_NO_PI | (header ? IFF_VNET_HDR : 0)));
		set_flags("t0", IFF_UP);
		ck_assert_int_eq(adopt(fds, 1, &backend, &err), 0);
		ck_assert_int_eq(backend.header, header);
		ck_assert_int_eq(!!backend.offloads, header);
		net_rig_over(&rig, &net_rig_config, backend);
		start_tap();
		net_rig_go(&rig, PLAIN);
		host = packet_socket("t0");
		net_rig_frame(&rig, 100, 1);
		ck_assert(net_rig_send(&rig, 0, NULL, 100));
		ck_assert_int_eq(recv(host, got, sizeof(got), 0), 100);
		net_rig_buffers(&rig, 0, 8, 2000);
		net_rig_make(got, 150, 1);
		ck_assert_int_eq(send(host, got, 150, 0), 150);
		ck_assert_uint_eq(next_frame(0, NULL), NET_HEADER + 150);
		ck_assert_mem_eq(bytes + NET_HEADER, got, 150);
		close(host);
		stop();
	}
	/* What is no tap device is told apart from what is a wrong one. */
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_int_eq(adopt(pair, 1, &backend, &err), 1);
	fds[0] = tap_fd("u0", IFF_TUN | IFF_NO_PI);
	ck_assert_int_eq(adopt(fds, 1, &backend, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.msg, "tun device"));
	close(fds[0]);
	fds[0] = tap_fd("a0", IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE | IFF_VNET_HDR);
	fds[1] = tap_fd("a1", IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE | IFF_VNET_HDR);
	ck_assert_int_eq(adopt(fds, 2, &backend, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.msg, "another interface"));
	close(fds[1]);
	fds[1] = pair[0];
	ck_assert_int_eq(adopt(fds, 2, &backend, &err), -1);
	fds[1] = tap_fd("a0", IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE | IFF_VNET_HDR);
	ck_assert_int_eq(adopt(fds, 2, &backend, &err), 0);
	ck_assert_uint_eq(backend.pairs, 2);
	loop = loop_create(NULL);
	net_rig_prepare(&rig);
	backend.ops->close(backend.opaque);
	loop_destroy(loop);
	close(pair[0]);
	close(pair[1]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio-net tap");
	TCase *t = tcase_create("tap");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, both_ways);
	tcase_add_test(t, no_buffers);
	tcase_add_test(t, nonsense_headers);
	tcase_add_test(t, fixed_address);
	tcase_add_test(t, offloads);
	tcase_add_test(t, carrier);
	tcase_add_test(t, host_takes_it_down);
	tcase_add_test(t, deleted);
	tcase_add_test(t, queues);
	tcase_add_test(t, existing);
	tcase_add_test(t, refusals);
	tcase_add_test(t, unprivileged);
	tcase_add_test(t, new_interface);
	tcase_add_test(t, scripts);
	tcase_add_test(t, adopted);
	suite_add_tcase(s, t);
	return unit_main(s);
}
