// SPDX-License-Identifier: GPL-2.0-only
/*
 * -n/--network: the words, which of them belong together, the address that is made up,
 * inherited descriptors; and that a dry run changes nothing.
 */
#include "net_rig.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct guest_memory mem;
static struct loop *loop;
static struct log log_;
static struct error err;
static struct virtio_device *vdev;

static void setup(void)
{
	drv_memory(&mem);
	loop = loop_create(NULL);
	log_init(&log_, STDERR_FILENO, LOG_LEVEL_WARNING);
	vdev = NULL;
}

static void teardown(void)
{
	if (vdev)
		vdev->ops->destroy(vdev);
	loop_destroy(loop);
	memory_destroy(&mem);
}

static int build_in(const char *text, bool dry_run, const char *vm_name, const char *name)
{
	const struct virtio_world world = {
		.name = name,
		.mem = &mem,
		.loop = loop,
		.log = &log_,
		.nr_vcpus = 1,
		.vm_name = vm_name,
		.dry_run = dry_run,
	};

	if (vdev)
		vdev->ops->destroy(vdev);
	vdev = NULL;
	err.msg[0] = '\0';
	return virtio_net_kind.build(&world, text, &vdev, &err);
}

static int build(const char *text)
{
	return build_in(text, true, "vm", "net0");
}

static void refused(const char *text, const char *why)
{
	ck_assert_msg(build(text) == -1, "%s was taken", text);
	ck_assert_ptr_null(vdev);
	ck_assert_msg(strstr(err.msg, why) != NULL, "%s: %s", text, err.msg);
}

static void taken(const char *text)
{
	ck_assert_msg(build(text) == 0, "%s: %s", text, err.msg);
	ck_assert_ptr_nonnull(vdev);
}

static const uint8_t *mac_of(struct virtio_device *dev)
{
	static uint8_t config[VIRTIO_CONFIG_MAX];

	memset(config, 0, sizeof(config));
	dev->ops->config_get(dev, config);
	return config;
}

START_TEST(none)
{
	ck_assert_int_eq(build("none"), 0);
	ck_assert_ptr_null(vdev);
	ck_assert_int_eq(build("mode=none"), 0);
	ck_assert_ptr_null(vdev);
	refused("none,guest_mac=02:00:00:00:00:01", "'guest_mac' means nothing with mode=none");
}
END_TEST

START_TEST(modes)
{
	taken("mode=tap");
	taken("tap");
	taken("tap,tapif=tap0,guest_mac=02:00:00:00:00:09");
	/* kvmtool's own words. */
	taken("mode=tap,tapif=tap0,script=none,guest_mac=02:15:15:15:15:15,vhost=1");
	taken("mode=tap,host_ip=192.168.33.1,mq=4,vhost=0");
	taken("mode=user,guest_ip=10.0.0.2,host_ip=10.0.0.1,host_mac=02:00:00:00:00:07");
	taken("");
	taken("publish=8080:80,host=on");
	taken("user,publish=8080:80,mtu=1400,publish=2222:22,publish=[::1]:53:53/udp");
	refused("mode=bridge", "user, tap, fd, vhost-user, none");
	refused("bridge", "'bridge'");
	refused("tap,mode=user", "one of them is enough");
	refused("mode=tap,mode=tap", "twice");
	refused("mode=tap,tapfi=x", "tapif");
	refused("mode=tap,trans=mmio", "--virtio-transport");
	refused("mode=tap,queues=2,mq=2", "mean the same");
	refused("mode=tap,queues=17", "queues");
	refused("mode=tap,mtu=67", "MTU");
	refused("mode=tap,mtu=65536", "mtu");
	refused("mode=fd", "which descriptor");
	refused("mode=vhost-user", "socket=PATH");
}
END_TEST

START_TEST(words_of_other_modes)
{
	static const char *const wrong[] = {"user,tapif=tap0",
					    "user,script=x",
					    "user,fd=3",
					    "user,vhost=on",
					    "user,queues=2",
					    "user,socket=/x",
					    "tap,guest_ip=1.2.3.4",
					    "tap,publish=80:80",
					    "tap,host=on",
					    "tap,fd=3",
					    "fd,fd=3,tapif=t",
					    "fd,fd=3,host_ip=1.2.3.4",
					    "vhost-user,spoof=on,socket=/x",
					    "vhost-user,queues=2,socket=/x"};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(wrong); i++)
		refused(wrong[i], "means nothing with mode=");
}
END_TEST

START_TEST(addresses)
{
	static const uint8_t want[NET_MAC] = {0x02, 0xab, 0xCD, 0x0f, 0xf0, 0x99};
	static const char *const bad[] = {"",
					  "02",
					  "02:00:00:00:00",
					  "02:00:00:00:00:01:02",
					  "02:00:00:00:00:0g",
					  "2:0:0:0:0:1",
					  "02-00-00-00-00-01",
					  "02:00:00:00:00:01 ",
					  "0200:00:00:00:001",
					  "02:00:00:00:00:0000"};
	char text[64];
	size_t i;

	taken("tap,guest_mac=02:ab:CD:0f:F0:99");
	ck_assert_mem_eq(mac_of(vdev), want, NET_MAC);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(text, sizeof(text), "tap,guest_mac=%s", bad[i]);
		refused(text, *bad[i] ? "is no address like" : "needs a value");
	}
	refused("tap,guest_mac=01:00:5e:00:00:01", "group");
	refused("tap,guest_mac=ff:ff:ff:ff:ff:ff", "group");
}
END_TEST

/* What two devices must not both have, however it is spelled. */
START_TEST(claims)
{
	static const char *const nothing[] = {"",	  "tap",
					      "none",	  "user,guest_mac=",
					      "bad,word", "tap,guest_mac=01:00:5e:00:00:01"};
	char one[VIRTIO_CLAIM_MAX], other[VIRTIO_CLAIM_MAX];
	size_t i;

	ck_assert(virtio_net_kind.claim("net0", "guest_mac=02:ab:cd:0f:f0:99", one));
	ck_assert_str_eq(one, "network device with the address 02:ab:cd:0f:f0:99");
	ck_assert(virtio_net_kind.claim("net1", "tap,guest_mac=02:AB:CD:0f:F0:99", other));
	ck_assert_str_eq(one, other);
	for (i = 0; i < ARRAY_SIZE(nothing); i++)
		ck_assert(!virtio_net_kind.claim("net0", nothing[i], one));
}
END_TEST

/* The same for the same VM and device, another for another. */
START_TEST(made_address)
{
	uint8_t first[NET_MAC];

	if (access("/etc/machine-id", R_OK))
		return;
	taken("tap");
	memcpy(first, mac_of(vdev), NET_MAC);
	ck_assert_uint_eq(first[0], 2);
	taken("tap");
	ck_assert_mem_eq(mac_of(vdev), first, NET_MAC);
	ck_assert_int_eq(build_in("tap", true, "vm", "net1"), 0);
	ck_assert_mem_ne(mac_of(vdev), first, NET_MAC);
	ck_assert_int_eq(build_in("tap", true, "other", "net0"), 0);
	ck_assert_mem_ne(mac_of(vdev), first, NET_MAC);
}
END_TEST

START_TEST(features)
{
	taken("tap,mtu=1400");
	ck_assert(vdev->offered & VIRTIO_BIT(NET_F_MTU));
	ck_assert_uint_eq(mac_of(vdev)[10] | mac_of(vdev)[11] << 8, 1400);
	taken("tap,queues=4");
	ck_assert(vdev->offered & VIRTIO_BIT(NET_F_MQ));
	ck_assert_uint_eq(vdev->nr_queues, 9);
	taken("tap");
	ck_assert(!(vdev->offered & (VIRTIO_BIT(NET_F_MQ) | VIRTIO_BIT(NET_F_MTU))));
}
END_TEST

START_TEST(too_many_published)
{
	char text[1024] = "user";
	int i;

	for (i = 0; i < 32; i++)
		strcat(text, ",publish=80:80");
	taken(text);
	strcat(text, ",publish=80:80");
	refused(text, "more than 32 times");
}
END_TEST

/* Does the kind know before RAM is mapped that it will be shared? */
START_TEST(shares_memory)
{
	ck_assert(virtio_net_kind.shares_memory("mode=vhost-user,socket=/x"));
	ck_assert(virtio_net_kind.shares_memory("vhost-user,socket=/x"));
	ck_assert(!virtio_net_kind.shares_memory("mode=tap"));
	ck_assert(!virtio_net_kind.shares_memory("nonsense"));
	ck_assert(!virtio_net_kind.shares_memory(""));
}
END_TEST

/* --- inherited descriptors ----------------------------------------------------------------- */

static int build_fd(const char *text)
{
	return build_in(text, false, "vm", "net0");
}

START_TEST(descriptors)
{
	int pair[2], file;
	char text[64];

	/* As inherited ones are: not close-on-exec. */
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	snprintf(text, sizeof(text), "mode=fd,fd=%d", pair[0]);
	ck_assert_msg(build_fd(text) == 0, "%s", err.msg);
	/* It is the device's now: a second one can't have it. */
	ck_assert_int_eq(fcntl(pair[0], F_GETFD), FD_CLOEXEC);
	vdev->ops->destroy(vdev);
	vdev = NULL;
	ck_assert_int_eq(fcntl(pair[0], F_GETFD), -1);
	fcntl(pair[1], F_SETFD, FD_CLOEXEC);
	snprintf(text, sizeof(text), "mode=fd,fd=%d", pair[1]);
	ck_assert_int_eq(build_fd(text), -1);
	ck_assert_ptr_nonnull(strstr(err.msg, "did not inherit"));
	close(pair[1]);
	ck_assert_int_eq(build_fd(text), -1);
	ck_assert_int_eq(build_fd("mode=fd,fd=1"), -1);
	ck_assert_int_eq(build_fd("mode=fd,fd=x"), -1);
	ck_assert_int_eq(build_fd("mode=fd,fd=99999999999"), -1);
	ck_assert_int_eq(build_fd("mode=fd,fd=3:"), -1);

	file = open("/dev/null", O_RDWR);
	snprintf(text, sizeof(text), "mode=fd,fd=%d", file);
	ck_assert_int_eq(build_fd(text), -1);
	ck_assert_ptr_nonnull(strstr(err.msg, "is no socket"));
	/* It stays whose it was. */
	ck_assert_int_eq(fcntl(file, F_GETFD), 0);
	close(file);

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
	snprintf(text, sizeof(text), "fd,fd=%d:%d", pair[0], pair[1]);
	ck_assert_int_eq(build_fd(text), -1);
	ck_assert_ptr_nonnull(strstr(err.msg, "only a tap device"));
	snprintf(text, sizeof(text), "fd,fd=%d,queues=2", pair[0]);
	ck_assert_int_eq(build_fd(text), -1);
	ck_assert_ptr_nonnull(strstr(err.msg, "queues=2"));
	/* It would be closed twice, the second time as another's. */
	snprintf(text, sizeof(text), "fd,fd=%d:%d", pair[0], pair[0]);
	ck_assert_int_eq(build_fd(text), -1);
	ck_assert_ptr_nonnull(strstr(err.msg, "stands there twice"));
	/* vhost needs a tap device. */
	snprintf(text, sizeof(text), "fd,fd=%d,vhost=on", pair[0]);
	ck_assert_int_eq(build_fd(text), -1);
	ck_assert_ptr_nonnull(strstr(err.msg, "no tap device"));
	close(pair[1]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio-net option");
	TCase *t = tcase_create("option");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, none);
	tcase_add_test(t, modes);
	tcase_add_test(t, words_of_other_modes);
	tcase_add_test(t, addresses);
	tcase_add_test(t, claims);
	tcase_add_test(t, made_address);
	tcase_add_test(t, features);
	tcase_add_test(t, too_many_published);
	tcase_add_test(t, shares_memory);
	tcase_add_test(t, descriptors);
	suite_add_tcase(s, t);
	return unit_main(s);
}
