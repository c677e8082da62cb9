// SPDX-License-Identifier: GPL-2.0-only
/*
 * Opening tap devices: interfaces that are there, new ones, descriptors that were
 * inherited (virtio/net_tap.c says what they do then).
 *
 * What the kernel can do is found by asking for it: TUNSETOFFLOAD refuses a set that
 * holds a flag it does not know. Everything is set back to nothing afterwards; the
 * driver's wishes come later.
 *
 * Runs before the guest; nothing is locked, nothing is saved.
 */
#include "net_tap_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Since Linux 6.2: frames to be cut into UDP datagrams. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

#define TUN_PATH "/dev/net/tun"

/* --- offloads --------------------------------------------------------------------------- */

static const struct {
	uint64_t bits;
	unsigned int flags;
} offload_flags[] = {
	{VIRTIO_BIT(NET_F_GUEST_CSUM), TUN_F_CSUM},
	{VIRTIO_BIT(NET_F_GUEST_TSO4), TUN_F_TSO4},
	{VIRTIO_BIT(NET_F_GUEST_TSO6), TUN_F_TSO6},
	{VIRTIO_BIT(NET_F_GUEST_ECN), TUN_F_TSO_ECN},
	{VIRTIO_BIT(NET_F_GUEST_UFO), TUN_F_UFO},
	/* The kernel has both or none, and so has the check of what is received. */
	{VIRTIO_BIT(NET_F_GUEST_USO4) | VIRTIO_BIT(NET_F_GUEST_USO6), TUN_F_USO4 | TUN_F_USO6},
};

static unsigned int tun_flags(uint64_t bits)
{
	unsigned int flags = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(offload_flags); i++)
		if ((bits & offload_flags[i].bits) == offload_flags[i].bits)
			flags |= offload_flags[i].flags;
	/* Cutting needs checksums, and ECN is a way of cutting. */
	if (!(flags & TUN_F_CSUM))
		return 0;
	if (!(flags & (TUN_F_TSO4 | TUN_F_TSO6)))
		flags &= ~(unsigned int)TUN_F_TSO_ECN;
	return flags;
}

int net_tap_set_offloads(const struct net_tap *tap, uint64_t bits)
{
	return ioctl(tap->queues[0].fd, TUNSETOFFLOAD, (unsigned long)tun_flags(bits)) ? -errno : 0;
}

/* What this kernel can do. */
static uint64_t probe_offloads(const struct net_tap *tap)
{
	const uint64_t uso = VIRTIO_BIT(NET_F_GUEST_USO4) | VIRTIO_BIT(NET_F_GUEST_USO6);
	uint64_t bits = (NET_GUEST_OFFLOADS | NET_HOST_OFFLOADS);

	if (!tap->header)
		return 0;
	if (net_tap_set_offloads(tap, bits))
		bits &= ~(uso | VIRTIO_BIT(NET_F_HOST_USO));
	if (net_tap_set_offloads(tap, bits))
		bits &= ~(VIRTIO_BIT(NET_F_GUEST_UFO) | VIRTIO_BIT(NET_F_HOST_UFO));
	if (net_tap_set_offloads(tap, bits))
		bits = VIRTIO_BIT(NET_F_CSUM) | VIRTIO_BIT(NET_F_GUEST_CSUM);
	if (net_tap_set_offloads(tap, bits))
		bits = 0;
	net_tap_set_offloads(tap, 0);
	return bits;
}

/* As a path from here, never a name to be looked for. */
static char *script_path(const char *script)
{
	char *path;

	if (!script)
		return NULL;
	return asprintf(&path, "%s%s", strchr(script, '/') ? "" : "./", script) < 0 ? NULL : path;
}

/* The descriptors are open and attached to an interface. */
static int finish(struct net_tap *tap, struct net_backend *backend, struct error *err)
{
	const int header = NET_HEADER;

	if (tap->header && ioctl(tap->queues[0].fd, TUNSETVNETHDRSZ, &header))
		return fail_errno(err, errno, "%s: cannot set the size of its header", tap->name);
	*backend = (struct net_backend){
		.ops = &net_tap_ops,
		.opaque = tap,
		.header = tap->header,
		.offloads = probe_offloads(tap),
		.pairs = tap->nr,
	};
	return 0;
}

/* --- opening ---------------------------------------------------------------------------------- */

static int refuse(const struct net_tap_config *config, bool existed, int errnum, struct error *err)
{
	const char *name = config->name ? config->name : "a new interface";

	switch (errnum) {
	case EPERM:
	case EACCES:
		if (existed)
			return fail(err,
				    "%s belongs to another user: make it for yours with \"ip "
				    "tuntap add %s mode tap user $USER\"",
				    name, name);
		return fail(err,
			    "%s can't be made without privilege: have \"ip tuntap add %s mode tap "
			    "user $USER\" run once, and name it with tapif=",
			    name, config->name ? config->name : "tap0");
	case EBUSY:
		return fail(err, "%s is in use by another process", name);
	case EINVAL:
		return fail(err,
			    "%s is no tap interface%s (\"ip tuntap add %s mode tap%s\" makes one)",
			    name, config->pairs > 1 ? " of several queues" : "", name,
			    config->pairs > 1 ? " multi_queue" : "");
	default:
		return fail_errno(err, errnum, "cannot open %s", name);
	}
}

static int open_queue(struct net_tap *tap, unsigned int i, short extra)
{
	struct ifreq ifr = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | extra)};
	int fd = open(TUN_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	memcpy(ifr.ifr_name, tap->name, IFNAMSIZ);
	if (ioctl(fd, TUNSETIFF, &ifr)) {
		ret = -errno;
		close(fd);
		return ret;
	}
	memcpy(tap->name, ifr.ifr_name, IFNAMSIZ);
	tap->queues[i].fd = fd;
	return 0;
}

static int open_queues(struct net_tap *tap)
{
	short extra = tap->nr > 1 ? IFF_MULTI_QUEUE : 0;
	unsigned int i;
	int ret = open_queue(tap, 0, extra);

	/* An interface of several queues can be used with one. */
	if (ret == -EINVAL && tap->nr == 1) {
		extra = IFF_MULTI_QUEUE;
		ret = open_queue(tap, 0, extra);
	}
	for (i = 1; !ret && i < tap->nr; i++)
		ret = open_queue(tap, i, extra);
	return ret;
}

static int set_up(int sock, const char *name, struct error *err)
{
	struct ifreq ifr = {.ifr_flags = 0};

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (ioctl(sock, SIOCGIFFLAGS, &ifr))
		return fail_errno(err, errno, "cannot ask for the state of %s", name);
	ifr.ifr_flags |= IFF_UP;
	if (ioctl(sock, SIOCSIFFLAGS, &ifr))
		return fail_errno(err, errno, "cannot take %s up", name);
	return 0;
}

static int set_address(int sock, const char *name, const char *host_ip, struct error *err)
{
	struct ifreq ifr = {.ifr_flags = 0};
	struct sockaddr_in *addr = (struct sockaddr_in *)(void *)&ifr.ifr_addr;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	addr->sin_family = AF_INET;
	if (inet_pton(AF_INET, host_ip, &addr->sin_addr) != 1)
		return fail(err, "host_ip=%s is no IPv4 address", host_ip);
	if (ioctl(sock, SIOCSIFADDR, &ifr))
		return fail_errno(err, errno, "cannot give %s the address %s", name, host_ip);
	return 0;
}

static int set_mtu(int sock, const char *name, uint16_t mtu, struct error *err)
{
	struct ifreq ifr = {.ifr_mtu = mtu};

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (ioctl(sock, SIOCSIFMTU, &ifr))
		return fail_errno(err, errno, "cannot give %s an MTU of %u", name, mtu);
	return 0;
}

/* Make a new interface ready. */
static int set_interface(const struct net_tap *tap, const struct net_tap_config *config,
			 struct error *err)
{
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret = 0;

	if (sock < 0)
		return fail_errno(err, errno, "cannot make a socket to set up %s", tap->name);
	if (config->mtu)
		ret = set_mtu(sock, tap->name, config->mtu, err);
	if (!ret && config->host_ip)
		ret = set_address(sock, tap->name, config->host_ip, err);
	if (!ret && !config->script)
		ret = set_up(sock, tap->name, err);
	close(sock);
	return ret;
}

/* One that was there is left alone, but silence would be odd where it is down. */
static void look_at_interface(const struct net_tap *tap)
{
	struct ifreq ifr = {.ifr_flags = 0};
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (sock < 0)
		return;
	memcpy(ifr.ifr_name, tap->name, IFNAMSIZ);
	if (!ioctl(sock, SIOCGIFFLAGS, &ifr) && !(ifr.ifr_flags & IFF_UP))
		log_warning(tap->log, "%s is down: nothing passes before \"ip link set %s up\"",
			    tap->name, tap->name);
	close(sock);
}

/* Before anything can be run or saved. */
static void give_up(struct net_tap *tap)
{
	unsigned int i;

	for (i = 0; i < tap->nr; i++)
		if (tap->queues[i].fd >= 0)
			close(tap->queues[i].fd);
	net_tap_free(tap);
}

static int look_for_device(struct error *err)
{
	if (access(TUN_PATH, F_OK))
		return fail(err, TUN_PATH " is missing: the host's kernel has no tap devices (try "
					  "modprobe tun)");
	/* By the effective user, as open(2) does it. */
	if (eaccess(TUN_PATH, R_OK | W_OK))
		return fail_errno(err, errno,
				  TUN_PATH
				  " can't be opened by this user (its usual mode is 0666)");
	return 0;
}

static int open_tap(struct net_tap *tap, const struct net_tap_config *config,
		    struct net_backend *backend, struct error *err)
{
	bool existed = config->name && if_nametoindex(config->name);
	int ret;

	if (look_for_device(err))
		return -1;
	snprintf(tap->name, sizeof(tap->name), "%s", config->name ? config->name : "tap%d");
	ret = open_queues(tap);
	if (ret)
		return refuse(config, existed, -ret, err);
	tap->header = true;
	tap->script = script_path(config->script);
	tap->downscript = script_path(config->downscript);
	if ((config->script && !tap->script) || (config->downscript && !tap->downscript))
		return fail(err, "no memory for a network device");
	if (existed && (config->host_ip || config->mtu))
		log_info(tap->log, "%s exists: its address and MTU are left as they are",
			 tap->name);
	if (!existed && set_interface(tap, config, err))
		return -1;
	if (existed && !config->script)
		look_at_interface(tap);
	return finish(tap, backend, err);
}

int net_tap_open(const struct net_tap_config *config, struct loop *loop, struct log *log,
		 struct net_backend *backend, struct error *err)
{
	struct net_tap *tap;

	if (config->name &&
	    (!*config->name || strlen(config->name) >= IFNAMSIZ || strpbrk(config->name, "/: %")))
		return fail(err, "'%s' is no name of an interface (up to %d characters)",
			    config->name, IFNAMSIZ - 1);
	tap = net_tap_new(config->pairs, loop, log);
	if (!tap)
		return fail(err, "no memory for a network device");
	if (!open_tap(tap, config, backend, err))
		return 0;
	give_up(tap);
	return -1;
}

static int adopt(struct net_tap *tap, unsigned int i, int fd, struct error *err)
{
	struct ifreq ifr = {.ifr_flags = 0};
	bool header;

	if (ioctl(fd, TUNGETIFF, &ifr))
		return i ? fail(err, "descriptor %d is no tap device", fd) : 1;
	header = ifr.ifr_flags & IFF_VNET_HDR;
	if (!(ifr.ifr_flags & IFF_TAP) || !(ifr.ifr_flags & IFF_NO_PI))
		return fail(err,
			    "descriptor %d is a tun device: its frames have no Ethernet header "
			    "(or another one before it)",
			    fd);
	if (i && (memcmp(ifr.ifr_name, tap->name, IFNAMSIZ) || header != tap->header))
		return fail(err, "descriptor %d is another interface than the first one", fd);
	if (fcntl(fd, F_SETFL, O_NONBLOCK | fcntl(fd, F_GETFL)))
		return fail_errno(err, errno, "descriptor %d", fd);
	memcpy(tap->name, ifr.ifr_name, IFNAMSIZ);
	tap->header = header;
	tap->queues[i].fd = fd;
	return 0;
}

int net_tap_adopt(const int *fds, unsigned int nr, struct loop *loop, struct log *log,
		  struct net_backend *backend, struct error *err)
{
	struct net_tap *tap = net_tap_new(nr, loop, log);
	unsigned int i;
	int ret = 0;

	if (!tap)
		return fail(err, "no memory for a network device");
	for (i = 0; !ret && i < nr; i++)
		ret = adopt(tap, i, fds[i], err);
	if (!ret)
		ret = finish(tap, backend, err);
	/* The descriptors stay the caller's. */
	if (ret)
		net_tap_free(tap);
	return ret;
}
