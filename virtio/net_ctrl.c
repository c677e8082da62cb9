// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control queue of a network device: virtio 1.2 and 1.3, section 5.1.6.5.
 *
 * A command is two readable bytes (class, command) and readable data, all of it copied
 * once, and a writable byte for the answer, OK or ERR. Every length
 * and every count in the data is compared with what is there before it is used, and
 * nothing is changed by a command that is answered ERR. A request with no place for an
 * answer is given back with length 0.
 *
 *   class 0  receive modes (CTRL_RX, CTRL_RX_EXTRA)
 *   class 1  filter tables (CTRL_RX); own address (CTRL_MAC_ADDR), not where it is fixed
 *   class 3  "I announced myself" (GUEST_ANNOUNCE)
 *   class 4  number of pairs (MQ); no RSS, no hash report
 *   class 5  offloads (CTRL_GUEST_OFFLOADS)
 *
 * Everything else, VLAN filters and coalescing among it, is not offered and answered
 * ERR.
 *
 * The filter is exact as long as its tables hold what the driver wants (NET_FILTER_MAX
 * each), and lets all in where they do not. With vhost the kernel delivers, and does
 * not filter: the driver must be able to live with more than it asked for (5.1.6.5.1).
 *
 * Thread and lock: the virtio device's. What is saved: the modes, the tables, the
 * address, the pairs, the offloads (virtio/net.c).
 */
#include "net_internal.h"

#include <endian.h>
#include <string.h>

#define CTRL_OK 0
#define CTRL_ERR 1

#define CLASS_RX 0
#define CLASS_MAC 1
#define CLASS_ANNOUNCE 3
#define CLASS_MQ 4
#define CLASS_OFFLOADS 5

#define RX_ALLMULTI 1
#define RX_NOBCAST 5
#define MAC_TABLE_SET 0
#define MAC_ADDR_SET 1
#define ANNOUNCE_ACK 0
#define MQ_PAIRS_SET 0
#define OFFLOADS_SET 0

/* --- the receive filter -------------------------------------------------------------- */

static bool in_table(const struct net_filter *table, const uint8_t *mac)
{
	unsigned int i;

	if (table->overflow)
		return true;
	for (i = 0; i < table->nr; i++)
		if (!memcmp(table->mac[i], mac, NET_MAC))
			return true;
	return false;
}

bool net_accepts(const struct virtio_net *net, const uint8_t *to)
{
	static const uint8_t broadcast[NET_MAC] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	uint8_t modes = net->s.modes;

	if (modes & NET_RX_PROMISC)
		return true;
	if (!memcmp(to, broadcast, NET_MAC))
		return !(modes & NET_RX_NOBCAST);
	if (to[0] & 1)
		return !(modes & NET_RX_NOMULTI) &&
		       (modes & NET_RX_ALLMULTI || in_table(&net->s.multi, to));
	if (modes & NET_RX_NOUNI)
		return false;
	return modes & NET_RX_ALLUNI || !memcmp(to, net->s.mac, NET_MAC) ||
	       in_table(&net->s.uni, to);
}

/* --- commands ------------------------------------------------------------------------- */

/* True where all @len bytes were there, and nothing behind them. */
static bool read_all_of(struct virtq_cursor *c, void *buf, size_t len)
{
	return c->left == len && virtq_read(c, buf, len) == len;
}

static uint8_t set_mode(struct virtio_net *net, uint8_t command, struct virtq_cursor *c)
{
	unsigned int feature = command <= RX_ALLMULTI ? NET_F_CTRL_RX : NET_F_CTRL_RX_EXTRA;
	uint8_t on;

	if (command > RX_NOBCAST || !virtio_has(&net->vdev, feature) ||
	    !read_all_of(c, &on, sizeof(on)) || on > 1)
		return CTRL_ERR;
	if (on)
		net->s.modes |= (uint8_t)(1U << command);
	else
		net->s.modes &= (uint8_t) ~(1U << command);
	return CTRL_OK;
}

static bool read_table(struct virtq_cursor *c, struct net_filter *table)
{
	uint32_t nr;

	memset(table, 0, sizeof(*table));
	if (virtq_read(c, &nr, sizeof(nr)) != sizeof(nr))
		return false;
	nr = le32toh(nr);
	if (nr > c->left / NET_MAC)
		return false;
	table->overflow = nr > NET_FILTER_MAX;
	if (table->overflow) {
		virtq_skip(c, (size_t)nr * NET_MAC);
		return true;
	}
	table->nr = (uint8_t)nr;
	return virtq_read(c, table->mac, (size_t)nr * NET_MAC) == (size_t)nr * NET_MAC;
}

static uint8_t set_tables(struct virtio_net *net, struct virtq_cursor *c)
{
	struct net_filter uni, multi;

	if (!virtio_has(&net->vdev, NET_F_CTRL_RX) || !read_table(c, &uni) ||
	    !read_table(c, &multi) || c->left)
		return CTRL_ERR;
	net->s.uni = uni;
	net->s.multi = multi;
	return CTRL_OK;
}

static uint8_t set_address(struct virtio_net *net, struct virtq_cursor *c)
{
	uint8_t mac[NET_MAC];

	if (!virtio_has(&net->vdev, NET_F_CTRL_MAC_ADDR) || !read_all_of(c, mac, sizeof(mac)))
		return CTRL_ERR;
	if (net->config.fixed && memcmp(mac, net->s.mac, NET_MAC)) {
		virtio_complain(&net->vdev,
				"the driver wants another address; guest_mac= fixed it");
		return CTRL_ERR;
	}
	memcpy(net->s.mac, mac, NET_MAC);
	return CTRL_OK;
}

static uint8_t announced(struct virtio_net *net, struct virtq_cursor *c)
{
	if (!virtio_has(&net->vdev, NET_F_GUEST_ANNOUNCE) || c->left)
		return CTRL_ERR;
	net->s.announce = false;
	return CTRL_OK;
}

static uint8_t set_pairs(struct virtio_net *net, struct virtq_cursor *c)
{
	uint16_t pairs;

	if (!virtio_has(&net->vdev, NET_F_MQ) || !read_all_of(c, &pairs, sizeof(pairs)))
		return CTRL_ERR;
	pairs = le16toh(pairs);
	if (!pairs || pairs > net->backend.pairs)
		return CTRL_ERR;
	net->s.pairs = pairs;
	net_update(net);
	return CTRL_OK;
}

static uint8_t set_offloads(struct virtio_net *net, struct virtq_cursor *c)
{
	uint64_t bits;

	if (!virtio_has(&net->vdev, NET_F_CTRL_GUEST_OFFLOADS) ||
	    !read_all_of(c, &bits, sizeof(bits)))
		return CTRL_ERR;
	bits = le64toh(bits);
	if (bits & ~(net->vdev.driver & NET_GUEST_OFFLOADS))
		return CTRL_ERR;
	net_set_offloads(net, bits);
	return CTRL_OK;
}

static uint8_t carry_out(struct virtio_net *net, struct virtq_request *req)
{
	struct virtq_cursor c = virtq_reader(req);
	uint8_t head[2];

	if (virtq_read(&c, head, sizeof(head)) != sizeof(head))
		return CTRL_ERR;
	switch (head[0]) {
	case CLASS_RX:
		return set_mode(net, head[1], &c);
	case CLASS_MAC:
		if (head[1] == MAC_TABLE_SET)
			return set_tables(net, &c);
		return head[1] == MAC_ADDR_SET ? set_address(net, &c) : CTRL_ERR;
	case CLASS_ANNOUNCE:
		return head[1] == ANNOUNCE_ACK ? announced(net, &c) : CTRL_ERR;
	case CLASS_MQ:
		return head[1] == MQ_PAIRS_SET ? set_pairs(net, &c) : CTRL_ERR;
	case CLASS_OFFLOADS:
		return head[1] == OFFLOADS_SET ? set_offloads(net, &c) : CTRL_ERR;
	default:
		return CTRL_ERR;
	}
}

void net_control(struct virtio_net *net, unsigned int index)
{
	struct virtq_request *req;

	while ((req = virtq_pop(virtio_queue(&net->vdev, index)))) {
		if (req->writable) {
			uint8_t answer = carry_out(net, req);
			struct virtq_cursor c = virtq_writer(req);

			virtq_write(&c, &answer, sizeof(answer));
		} else {
			virtio_complain(&net->vdev, "a command has no place for its answer");
		}
		virtio_complete(&net->vdev, req);
	}
}
