// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz the network device: frames to be sent with headers and lengths of any kind,
 * buffers of any size for frames from the host, which are of any kind too; commands of
 * any bytes; a back end that has no room, dies, comes back; the cable out and in; rings
 * that are spoilt, resets, save and load.
 *
 * Besides what the sanitizers see: what goes out is a frame within bounds that asks for
 * nothing the driver did not negotiate and comes from the device's address where that is
 * enforced; what comes in asks for nothing the driver does not take; a device that was
 * reset sends a frame.
 */
#include "virtio_guest.h"

#include "lkvm/virtio/net.h"

#include <errno.h>

#define PAIRS 2
#define IN_MAX 4

#define BIT(f) VIRTIO_BIT(NET_F_##f)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct rig {
	struct guest g;
	struct virtio_net *net;
	bool header, enforce, no_room, dead;
	unsigned int sent, nr_in;
	bool polled[PAIRS];
	uint64_t offloads;
	size_t in_len[IN_MAX];
	uint8_t in[IN_MAX][256];
	uint8_t lent[NET_HEADER + NET_FRAME_MAX + 100];
};

static bool on_room(void *opaque, unsigned int pair)
{
	need(pair < PAIRS);
	return !((struct rig *)opaque)->no_room;
}

static int on_send(void *opaque, unsigned int pair, const struct iovec *iov, unsigned int nr,
		   size_t len)
{
	struct rig *rig = opaque;
	size_t header = rig->header ? NET_HEADER : 0, sum = 0;
	uint8_t config[VIRTIO_CONFIG_MAX] = {0};
	const uint8_t *first = iov[0].iov_base;
	unsigned int i;

	need(pair < PAIRS && !rig->no_room && nr && nr <= 1 + NET_QUEUE_MAX);
	need(len >= header + NET_FRAME_MIN && len <= header + NET_FRAME_MAX);
	need(iov[0].iov_len == header + NET_FRAME_MIN);
	for (i = 0; i < nr; i++) {
		const volatile uint8_t *p = iov[i].iov_base;

		sum += iov[i].iov_len;
		if (iov[i].iov_len)
			(void)(p[0] + p[iov[i].iov_len - 1]);
	}
	need(sum == len);
	rig->g.vdev->ops->config_get(rig->g.vdev, config);
	if (rig->enforce)
		need(!memcmp(first + header + NET_MAC, config, NET_MAC));
	if (rig->header) {
		need(!(first[0] & ~1));
		need(!first[0] || virtio_has(rig->g.vdev, NET_F_CSUM));
		need(!first[1] || rig->g.vdev->driver & NET_HOST_OFFLOADS);
	}
	rig->sent++;
	return rig->dead ? -EIO : 0;
}

static long on_recv(void *opaque, unsigned int pair, const uint8_t **frame)
{
	struct rig *rig = opaque;
	size_t len;

	need(pair < PAIRS);
	if (rig->dead)
		return -EPIPE;
	if (!rig->nr_in)
		return 0;
	len = rig->in_len[--rig->nr_in];
	memset(rig->lent, 0, sizeof(rig->lent));
	memcpy(rig->lent, rig->in[rig->nr_in], sizeof(rig->in[0]));
	*frame = rig->lent;
	return (long)len;
}

static void on_poll(void *opaque, unsigned int pair, bool on)
{
	struct rig *rig = opaque;

	need(pair < PAIRS && rig->polled[pair] != on);
	rig->polled[pair] = on;
}

static void on_offloads(void *opaque, uint64_t bits)
{
	struct rig *rig = opaque;

	need(!(bits & ~(NET_GUEST_OFFLOADS & rig->g.vdev->driver)));
	rig->offloads = bits;
}

static void on_pairs(void *opaque, unsigned int n)
{
	(void)opaque;
	need(n >= 1 && n <= PAIRS);
}

static void on_close(void *opaque)
{
	(void)opaque;
}

static const struct net_backend_ops ops = {
	.room = on_room,
	.send = on_send,
	.recv = on_recv,
	.poll = on_poll,
	.offloads = on_offloads,
	.pairs = on_pairs,
	.close = on_close,
};

/* A frame of the driver's: header, addresses, and so many bytes behind. */
static void send_frame(struct rig *rig, struct input *in, unsigned int q)
{
	uint64_t how = take(in, 1);
	uint32_t len = how & 0x80 ? (uint32_t)take(in, 2) : NET_HEADER + 14 + (how & 63);
	uint8_t *at = ram(&rig->g, DATA, 64);
	unsigned int i;

	memset(at, 0, 64);
	if (how & 0x40)
		for (i = 0; i < NET_HEADER; i++)
			at[i] = (uint8_t)take(in, 1);
	memcpy(at + NET_HEADER + NET_MAC, "\2\0\0\0\0\1", NET_MAC);
	if (how & 0x20)
		at[NET_HEADER + NET_MAC + 5] = (uint8_t)take(in, 1);
	guest_chain(&rig->g, in, q, DATA, len, 0);
}

static void arrives(struct rig *rig, struct input *in)
{
	uint64_t how = take(in, 1);
	uint8_t *at = rig->in[rig->nr_in];
	unsigned int i;

	if (rig->nr_in == IN_MAX)
		return;
	memset(at, 0, sizeof(rig->in[0]));
	for (i = 0; i < (how & 31); i++)
		at[i] = (uint8_t)take(in, 1);
	rig->in_len[rig->nr_in++] = how & 0x80 ? 1 + take(in, 3) % (sizeof(rig->lent) - 1)
					       : 14 + NET_HEADER + (how & 0x7f);
	virtio_net_readable(rig->net, (how & 0x20) != 0);
}

/* What the driver got: only what it takes. */
static void look(struct rig *rig, unsigned int q)
{
	uint32_t id, len;
	uint64_t desc[2];
	const uint8_t *h;

	while (guest_used(&rig->g, q, &id, &len)) {
		if (rig->g.spoilt)
			continue;
		need(id < NUM);
		memcpy(desc, ram(&rig->g, RING(q) + 16 * id, 16), 16);
		if (len < NET_HEADER || (uint32_t)desc[1] < NET_HEADER)
			continue;
		h = ram(&rig->g, desc[0], NET_HEADER);
		/* Another part of a merged frame begins with data; only a first one is known. */
		if (!(rig->g.vdev->driver & BIT(MRG_RXBUF)))
			need(!(h[0] & ~3) && h[10] == 1 && !h[11]);
	}
}

static void command(struct rig *rig, struct input *in, unsigned int q)
{
	uint8_t *at = ram(&rig->g, DATA + 0x400, 128);
	uint64_t how = take(in, 1);
	unsigned int i, len = how & 31;

	at[0] = (uint8_t)(how >> 5);
	for (i = 1; i < 2 + len; i++)
		at[i] = (uint8_t)take(in, 1);
	guest_desc(&rig->g, q, rig->g.next[q], DATA + 0x400, 2 + len, NEXT,
		   (rig->g.next[q] + 1) % NUM);
	guest_desc(&rig->g, q, rig->g.next[q] + 1U, DATA + 0x4f0, (uint32_t)take(in, 1) % 3, WRITE,
		   0);
	guest_offer(&rig->g, q, rig->g.next[q] % NUM);
	rig->g.next[q] += 2;
	guest_notify(&rig->g, q);
}

static void step(struct rig *rig, struct input *in)
{
	uint64_t op = take(in, 1);
	struct guest *g = &rig->g;
	unsigned int pair = op >> 4 & 1, i;

	switch (op & 15) {
	case 0:
		guest_go(g, op & 0x80 ? take(in, 8)
				      : g->vdev->offered & (op & 0x40 ? ~BIT(MQ) : UINT64_MAX));
		break;
	case 1:
	case 2:
		if (guest_free(g, 2 * pair + 1))
			send_frame(rig, in, 2 * pair + 1);
		break;
	case 3:
	case 4: /* receive buffers */
		for (i = 0; i < (op >> 5) + 1 && guest_free(g, 2 * pair); i++)
			guest_chain(g, in, 2 * pair, DATA + 0x1000 + 0x800 * i,
				    (uint32_t)take(in, 1) * 8, op & 0x80 ? 0 : WRITE);
		break;
	case 5:
	case 6:
		arrives(rig, in);
		break;
	case 7:
	case 8:
		i = g->vdev->driver & BIT(MQ) ? 2 * PAIRS : 2;
		if (guest_free(g, i))
			command(rig, in, i);
		break;
	case 9:
		rig->no_room = op & 0x10;
		if (!rig->no_room)
			virtio_net_writable(rig->net, op >> 5 & 1);
		break;
	case 10:
		virtio_net_set_link(rig->net, op & 0x10);
		break;
	case 11:
		rig->dead = op & 0x10;
		virtio_net_carrier(rig->net, !rig->dead, "dead");
		break;
	case 12:
		guest_save_load(g, in, op & 0x80);
		break;
	case 13:
		guest_spoil(g, in);
		break;
	case 14:
		virtio_mmio_ops.write(g->mmio, 0x100 + take(in, 1) % 24, take(in, 2),
				      1U << (op >> 4 & 3));
		break;
	default:
		guest_run(g);
		break;
	}
	for (i = 0; i < g->nr; i++)
		look(rig, i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtio_net_config config = {.mac = {2, 0, 0, 0, 0, 1}};
	struct input in = {data, size};
	struct rig *rig = calloc(1, sizeof(*rig));
	struct net_backend backend = {.ops = &ops, .opaque = rig, .pairs = PAIRS};
	uint64_t setup = take(&in, 1);
	unsigned int turns = 0, before;

	need(rig != NULL);
	rig->header = setup & 1;
	rig->enforce = setup & 2;
	config.enforce = rig->enforce;
	config.fixed = setup & 4;
	config.mtu = setup & 8 ? 1500 : 0;
	backend.header = rig->header;
	backend.offloads = rig->header ? NET_GUEST_OFFLOADS | NET_HOST_OFFLOADS : 0;
	guest_memory_init(&rig->g);
	rig->net = virtio_net_create("net0", &rig->g.mem, NULL, &config, &backend, NULL);
	need(rig->net != NULL);
	guest_plug(&rig->g, virtio_net_device(rig->net), 2 * PAIRS + 1);
	guest_go(&rig->g, rig->g.vdev->offered & ~(setup & 16 ? BIT(MRG_RXBUF) : 0));
	while (in.size && turns++ < 400)
		step(rig, &in);
	/* After a reset the device is as good as new, but for the cable. */
	rig->no_room = rig->dead = false;
	virtio_net_set_link(rig->net, true);
	virtio_net_carrier(rig->net, true, NULL);
	guest_go(&rig->g, 0);
	before = rig->sent;
	memset(ram(&rig->g, DATA, 100), 0, 100);
	rig->g.vdev->ops->config_get(rig->g.vdev, rig->lent);
	memcpy(ram(&rig->g, DATA + NET_HEADER + NET_MAC, NET_MAC), rig->lent, NET_MAC);
	guest_desc(&rig->g, 1, 0, DATA, 80, 0, 0);
	guest_offer(&rig->g, 1, 0);
	guest_notify(&rig->g, 1);
	need(rig->sent == before + 1);
	guest_end(&rig->g);
	free(rig);
	return 0;
}
