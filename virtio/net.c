// SPDX-License-Identifier: GPL-2.0-only
/*
 * The network device: virtio 1.2 and 1.3, section 5.1. Pairs of queues, a control
 * queue, mergeable receive buffers, address, MTU, link status, announcement; checksum
 * and segmentation offloads where the back end has a header for them. No RSS, no hash
 * report, no VLAN filter, no coalescing, no standby.
 *
 * Queues. Pair i is queues 2i (receive) and 2i + 1 (transmit); the control queue is the
 * last of them where MQ was negotiated, else it is queue 2 (5.1.2). What goes through
 * the pairs is virtio/net_data.c's, commands are virtio/net_ctrl.c's.
 *
 * Link. The driver sees the link up while the cable is in (virtio_net_set_link()) and
 * the back end is alive (virtio_net_carrier()). While it is down frames are dropped in
 * both directions; they do not pile up. After a load the driver is told to announce
 * itself, since it may be somewhere else now, and the back end where the cable is.
 *
 * Address. Where the user fixed it, the driver can't change it, and frames it sends
 * from another address are dropped, unless the user says otherwise: a guest that
 * bridges needs that, one that is not trusted must not have it. An address that lkvm
 * made up is no promise to anybody: nothing is enforced. The kernel's vhost does not
 * look at addresses, so it is not used where that is enforced.
 *
 * vhost. A pair that the kernel serves is handed over when the device goes, the link is
 * up and the pair is in use, and taken back when one of these ends; then the code here
 * serves it, which with the link down means: drops. net_update() makes it so.
 *
 * Thread and lock: the virtio device's lock covers all; see virtio/net_data.c for which
 * thread does what. What is saved: struct net_state, and the MTU as a check.
 */
#include "net_internal.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NET_ID 1

/* Configuration space. */
#define CFG_MAC 0
#define CFG_STATUS 6
#define CFG_MAX_PAIRS 8
#define CFG_MTU 10
#define CFG_SIZE 12

#define STATUS_LINK_UP 1
#define STATUS_ANNOUNCE 2

#define MTU_MIN 68

/* Features that are worth nothing without others (5.1.3.1): each comes after those it needs. */
static const struct {
	uint8_t bit, needs;
} dependencies[] = {
	{NET_F_GUEST_TSO4, NET_F_GUEST_CSUM},
	{NET_F_GUEST_TSO6, NET_F_GUEST_CSUM},
	{NET_F_GUEST_UFO, NET_F_GUEST_CSUM},
	{NET_F_GUEST_USO4, NET_F_GUEST_CSUM},
	{NET_F_GUEST_USO6, NET_F_GUEST_CSUM},
	{NET_F_HOST_TSO4, NET_F_CSUM},
	{NET_F_HOST_TSO6, NET_F_CSUM},
	{NET_F_HOST_UFO, NET_F_CSUM},
	{NET_F_HOST_USO, NET_F_CSUM},
	{NET_F_CTRL_RX, NET_F_CTRL_VQ},
	{NET_F_CTRL_RX_EXTRA, NET_F_CTRL_VQ},
	{NET_F_CTRL_MAC_ADDR, NET_F_CTRL_VQ},
	{NET_F_CTRL_GUEST_OFFLOADS, NET_F_CTRL_VQ},
	{NET_F_GUEST_ANNOUNCE, NET_F_CTRL_VQ},
	{NET_F_MQ, NET_F_CTRL_VQ},
};

/* --- what runs ----------------------------------------------------------------------- */

static unsigned int control_index(const struct virtio_net *net)
{
	return 2 * (virtio_has(&net->vdev, NET_F_MQ) ? net->backend.pairs : 1);
}

void net_set_offloads(struct virtio_net *net, uint64_t bits)
{
	net->s.offloads = bits;
	if (net->backend.ops->offloads)
		net->backend.ops->offloads(net->backend.opaque, bits);
}

static void run_vhost(struct virtio_net *net, unsigned int pair, bool on)
{
	struct vhost *v = &net->vhost[pair];

	if (on == vhost_running(v))
		return;
	if (on) {
		net_poll(net, pair, false);
		vhost_net_start(v, net->backend.ops->tap(net->backend.opaque, pair));
		return;
	}
	vhost_net_stop(v);
	/* What the kernel had not come to; it also kept the driver from notifying. */
	virtio_queue_notify(&net->vdev, 2 * pair + 1);
}

void net_update(struct virtio_net *net)
{
	bool up = net_link_up(net), going = net->vdev.going;
	unsigned int i;

	if (up != net->was_up) {
		net->was_up = up;
		virtio_config_changed(&net->vdev);
	}
	if (net->s.up != net->told_up && net->backend.ops->link)
		net->backend.ops->link(net->backend.opaque, net->s.up);
	net->told_up = net->s.up;
	if (net->backend.ops->pairs)
		net->backend.ops->pairs(net->backend.opaque, net->s.pairs);
	for (i = 0; i < net->backend.pairs; i++) {
		bool in_use = going && i < net->s.pairs;

		if (net->use_vhost)
			run_vhost(net, i, in_use && up);
		if (!in_use || (net->use_vhost && vhost_running(&net->vhost[i]))) {
			net_poll(net, i, false);
			continue;
		}
		net->pair[i].readable = true;
		net_poll(net, i, true);
	}
}

static void net_go(struct virtio_device *vdev)
{
	struct virtio_net *net = to_net(vdev);

	if (net->s.loaded) {
		net->s.loaded = false;
		net->s.announce = virtio_has(vdev, NET_F_GUEST_ANNOUNCE);
		net->was_up = net_link_up(net);
		virtio_config_changed(vdev);
	}
	net_set_offloads(net, net->s.offloads & vdev->driver);
	net_update(net);
}

static void net_halt(struct virtio_device *vdev)
{
	net_update(to_net(vdev));
}

static void net_notify(struct virtio_device *vdev, unsigned int index)
{
	struct virtio_net *net = to_net(vdev);

	if (index == control_index(net)) {
		net_control(net, index);
		return;
	}
	/* Without MQ nothing lies behind the control queue. */
	if (index > control_index(net))
		return;
	if (net->use_vhost && vhost_running(&net->vhost[index / 2])) {
		vhost_kick(&net->vhost[index / 2], index);
		return;
	}
	net->pair[index / 2].turned = true;
	if (index % 2)
		net_transmit(net, index / 2);
	else
		net_receive(net, index / 2);
}

/* --- what back ends and the user say ------------------------------------------------------ */

void virtio_net_readable(struct virtio_net *net, unsigned int pair)
{
	struct net_pair *p = &net->pair[pair];

	virtio_enter_device(&net->vdev);
	p->readable = true;
	p->turned = false;
	virtio_queue_notify(&net->vdev, 2 * pair);
	/* No driver, no queue, or its turn comes later: don't ask again and again. */
	if (!p->turned)
		net_poll(net, pair, false);
	virtio_leave(&net->vdev);
}

void virtio_net_writable(struct virtio_net *net, unsigned int pair)
{
	virtio_enter_device(&net->vdev);
	virtio_queue_notify(&net->vdev, 2 * pair + 1);
	virtio_leave(&net->vdev);
}

/* Frames that wait for room, or that nobody takes any more, have to go. */
static void link_changed(struct virtio_net *net)
{
	unsigned int i;

	net_update(net);
	for (i = 0; i < net->s.pairs; i++)
		virtio_queue_notify(&net->vdev, 2 * i + 1);
}

void virtio_net_set_link(struct virtio_net *net, bool up)
{
	virtio_enter_device(&net->vdev);
	if (up != net->s.up) {
		net->s.up = up;
		link_changed(net);
	}
	virtio_leave(&net->vdev);
}

void virtio_net_carrier(struct virtio_net *net, bool up, const char *why)
{
	virtio_enter_device(&net->vdev);
	if (up != net->carrier) {
		net->carrier = up;
		link_changed(net);
		if (!up)
			log_warning(net->vdev.log, "%s: %s; its link is down, the VM goes on",
				    net->vdev.name, why);
	}
	virtio_leave(&net->vdev);
}

static int net_command(struct virtio_device *vdev, const char *words, char *reply, size_t len,
		       struct error *err)
{
	struct virtio_net *net = to_net(vdev);
	bool up;

	if (!strcmp(words, "link up"))
		virtio_net_set_link(net, true);
	else if (!strcmp(words, "link down"))
		virtio_net_set_link(net, false);
	else if (strcmp(words, "link"))
		return fail(err, "%s knows the commands link, link up, link down", vdev->name);
	virtio_enter_device(vdev);
	up = net_link_up(net);
	snprintf(reply, len, "%s",
		 up ? "up" : (net->s.up ? "down: the other side is gone" : "down"));
	virtio_leave(vdev);
	return 0;
}

/* --- configuration ------------------------------------------------------------------------ */

static void put16(uint8_t *at, uint16_t value)
{
	value = htole16(value);
	memcpy(at, &value, sizeof(value));
}

static void net_config_get(struct virtio_device *vdev, uint8_t *config)
{
	const struct virtio_net *net = to_net(vdev);

	memcpy(config + CFG_MAC, net->s.mac, NET_MAC);
	put16(config + CFG_STATUS,
	      (net_link_up(net) ? STATUS_LINK_UP : 0) | (net->s.announce ? STATUS_ANNOUNCE : 0));
	if (net->backend.pairs > 1)
		put16(config + CFG_MAX_PAIRS, (uint16_t)net->backend.pairs);
	put16(config + CFG_MTU, net->config.mtu);
}

uint64_t virtio_net_trim(uint64_t features)
{
	static const uint64_t guest_tso =
		VIRTIO_BIT(NET_F_GUEST_TSO4) | VIRTIO_BIT(NET_F_GUEST_TSO6);
	static const uint64_t host_tso = VIRTIO_BIT(NET_F_HOST_TSO4) | VIRTIO_BIT(NET_F_HOST_TSO6);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(dependencies); i++)
		if (!(features & VIRTIO_BIT(dependencies[i].needs)))
			features &= ~VIRTIO_BIT(dependencies[i].bit);
	if (!(features & guest_tso))
		features &= ~VIRTIO_BIT(NET_F_GUEST_ECN);
	if (!(features & host_tso))
		features &= ~(VIRTIO_BIT(NET_F_HOST_ECN) | VIRTIO_BIT(NET_F_RSC_EXT));
	return features;
}

static bool net_negotiate(struct virtio_device *vdev, uint64_t features)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(dependencies); i++)
		if (features & VIRTIO_BIT(dependencies[i].bit) &&
		    !(features & VIRTIO_BIT(dependencies[i].needs)))
			return false;
	to_net(vdev)->s.offloads = features & NET_GUEST_OFFLOADS;
	return true;
}

/* --- life cycle ------------------------------------------------------------------------------ */

static int net_start(struct virtio_device *vdev, struct error *err)
{
	struct virtio_net *net = to_net(vdev);
	unsigned int i;

	if (net->backend.ops->start && net->backend.ops->start(net->backend.opaque, err))
		return -1;
	for (i = 0; net->use_vhost && i < net->backend.pairs; i++)
		if (vhost_attach(&net->vhost[i], vdev, 2 * i, net->loop, err))
			return -1;
	return 0;
}

/* What a driver finds. The cable stays as it is: it is not the driver's. */
static void default_state(struct virtio_net *net)
{
	memcpy(net->s.mac, net->s.own, NET_MAC);
	net->s.announce = false;
	/* Until the driver says what it wants it gets everything. */
	net->s.modes = NET_RX_PROMISC;
	net->s.pairs = 1;
	net->s.offloads = 0;
	memset(&net->s.uni, 0, sizeof(net->s.uni));
	memset(&net->s.multi, 0, sizeof(net->s.multi));
}

static void net_reset(struct virtio_device *vdev)
{
	struct virtio_net *net = to_net(vdev);
	unsigned int i;

	default_state(net);
	for (i = 0; i < net->backend.pairs; i++) {
		net->pair[i].len = 0;
		net->pair[i].lingers = false;
		net->pair[i].kicks = 0;
	}
	net_update(net);
}

static void transfer_filter(struct xfer *x, struct net_filter *table)
{
	unsigned int i;

	xfer_bool(x, &table->overflow);
	xfer_u8(x, &table->nr);
	xfer_check(x, table->nr <= NET_FILTER_MAX && !(table->overflow && table->nr),
		   "virtio-net: a filter table that is too long");
	for (i = 0; !x->failed && i < table->nr; i++)
		xfer_bytes(x, table->mac[i], NET_MAC);
}

static void net_transfer(struct virtio_device *vdev, struct xfer *x, void *state)
{
	struct virtio_net *net = to_net(vdev);
	struct net_state *s = state;
	uint16_t mtu = net->config.mtu;

	xfer_u16(x, &mtu);
	xfer_check(x, mtu == net->config.mtu, "virtio-net: another MTU");
	xfer_bytes(x, s->own, NET_MAC);
	xfer_check(x, !net->config.fixed || !memcmp(s->own, net->config.mac, NET_MAC),
		   "virtio-net: another address than guest_mac= asks for");
	xfer_bytes(x, s->mac, NET_MAC);
	xfer_check(x, !net->config.fixed || !memcmp(s->mac, net->config.mac, NET_MAC),
		   "virtio-net: the driver has another address than guest_mac= asks for");
	xfer_bool(x, &s->up);
	xfer_bool(x, &s->announce);
	xfer_u8(x, &s->modes);
	xfer_check(x, !(s->modes & ~NET_RX_MODES), "virtio-net: unknown receive modes");
	xfer_u16(x, &s->pairs);
	xfer_check(x, s->pairs && s->pairs <= net->backend.pairs,
		   "virtio-net: more pairs of queues in use than there are");
	xfer_u64(x, &s->offloads);
	xfer_check(x, !(s->offloads & ~(vdev->offered & NET_GUEST_OFFLOADS)),
		   "virtio-net: offloads that are not offered here");
	transfer_filter(x, &s->uni);
	transfer_filter(x, &s->multi);
	if (x->loading)
		s->loaded = true;
}

static void net_destroy(struct virtio_device *vdev)
{
	struct virtio_net *net = to_net(vdev);
	unsigned int i;

	virtio_device_fini(vdev);
	for (i = 0; net->use_vhost && i < net->backend.pairs; i++)
		vhost_close(&net->vhost[i]);
	net->backend.ops->close(net->backend.opaque);
	free(net);
}

/* clang-format off */
#define NET_OPS \
	.kind = "net", \
	.id = NET_ID, \
	.config_size = CFG_SIZE, \
	.state_size = sizeof(struct net_state), \
	.negotiate = net_negotiate, \
	.config_get = net_config_get, \
	.start = net_start, \
	.go = net_go, \
	.notify = net_notify, \
	.reset = net_reset, \
	.transfer = net_transfer, \
	.command = net_command, \
	.destroy = net_destroy
/* clang-format on */

static const struct virtio_device_ops net_ops = {
	NET_OPS,
};

/* Queues that are handed over have to be taken back. */
static const struct virtio_device_ops net_vhost_ops = {
	NET_OPS,
	.halt = net_halt,
};

static uint64_t features_of(const struct virtio_net_config *config,
			    const struct net_backend *backend)
{
	uint64_t f = VIRTIO_BIT(NET_F_MAC) | VIRTIO_BIT(NET_F_STATUS) |
		     VIRTIO_BIT(NET_F_MRG_RXBUF) | VIRTIO_BIT(NET_F_CTRL_VQ) |
		     VIRTIO_BIT(NET_F_CTRL_RX) | VIRTIO_BIT(NET_F_CTRL_RX_EXTRA) |
		     VIRTIO_BIT(NET_F_CTRL_MAC_ADDR) | VIRTIO_BIT(NET_F_GUEST_ANNOUNCE);

	f |= backend->offloads;
	if (backend->offloads & NET_GUEST_OFFLOADS)
		f |= VIRTIO_BIT(NET_F_CTRL_GUEST_OFFLOADS);
	if (backend->pairs > 1)
		f |= VIRTIO_BIT(NET_F_MQ);
	if (config->mtu)
		f |= VIRTIO_BIT(NET_F_MTU);
	return f;
}

struct virtio_net *virtio_net_create(const char *name, struct guest_memory *mem, struct log *log,
				     const struct virtio_net_config *config,
				     const struct net_backend *backend, struct error *err)
{
	struct virtio_net *net;
	unsigned int i;

	if (!backend->pairs || backend->pairs > NET_MAX_PAIRS) {
		fail(err, "a network device has 1 to %d pairs of queues, not %u", NET_MAX_PAIRS,
		     backend->pairs);
		return NULL;
	}
	if (config->mtu && config->mtu < MTU_MIN) {
		fail(err, "the MTU is from %d to 65535, not %u", MTU_MIN, config->mtu);
		return NULL;
	}
	net = calloc(1, sizeof(*net));
	if (!net ||
	    virtio_device_init(&net->vdev, &net_ops, name, mem, log, features_of(config, backend),
			       2 * backend->pairs + 1, NET_QUEUE_MAX, 0, &net->s)) {
		free(net);
		fail(err, "no memory for a network device");
		return NULL;
	}
	net->config = *config;
	net->backend = *backend;
	memcpy(net->s.own, config->mac, NET_MAC);
	default_state(net);
	net->s.up = true;
	net->carrier = true;
	net->was_up = true;
	net->told_up = true;
	for (i = 0; i < NET_MAX_PAIRS; i++)
		net->vhost[i].fd = -1;
	if (net->backend.ops->attach)
		net->backend.ops->attach(net->backend.opaque, net);
	return net;
}

int virtio_net_use_vhost(struct virtio_net *net, struct loop *loop, struct error *err)
{
	const struct vhost_sys sys = {.ops = &vhost_sys_linux};
	uint64_t offered = net->vdev.offered;
	unsigned int i;

	for (i = 0; i < net->backend.pairs; i++) {
		if (vhost_open(&net->vhost[i], sys, VHOST_NET_PATH, err)) {
			while (i--)
				vhost_close(&net->vhost[i]);
			return -1;
		}
		offered = vhost_offer(&net->vhost[i], offered, VIRTIO_BIT(NET_F_MRG_RXBUF));
	}
	net->vdev.ops = &net_vhost_ops;
	/* What the core itself leaves out where somebody else serves queues (virtio_device_init()).
	 */
	net->vdev.offered =
		offered & ~(VIRTIO_BIT(VIRTIO_F_RING_RESET) | VIRTIO_BIT(VIRTIO_F_RING_PACKED));
	net->use_vhost = true;
	net->loop = loop;
	return 0;
}

struct virtio_device *virtio_net_device(struct virtio_net *net)
{
	return &net->vdev;
}
