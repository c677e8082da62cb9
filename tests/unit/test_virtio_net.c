// SPDX-License-Identifier: GPL-2.0-only
/*
 * The network device: what it offers, frames in both directions with everything that
 * can be wrong with them (C6, C7, C10), several pairs, the link, its life cycle, and
 * random traffic against an oracle. The control queue has a file of its own.
 */
#include "net_rig.h"
#include "prng.h"
#include "unit.h"

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define BIT(f) VIRTIO_BIT(NET_F_##f)

#define NEEDS_CSUM 1
#define DATA_VALID 2
#define GSO_TCPV4 1
#define GSO_UDP 3
#define GSO_TCPV6 4
#define GSO_UDP_L4 5
#define GSO_ECN 0x80

#define LEN 100

static uint8_t bytes[NET_HEADER + NET_FRAME_MAX + 4096];

static struct rig_frame *last_out(struct net_rig *rig)
{
	return &rig->fake.out[(rig->fake.nr_out - 1) % RIG_FRAMES];
}

/* --- what it is --------------------------------------------------------------------- */

START_TEST(configuration)
{
	const uint64_t always = BIT(MAC) | BIT(STATUS) | BIT(MRG_RXBUF) | BIT(CTRL_VQ) |
				BIT(CTRL_RX) | BIT(CTRL_RX_EXTRA) | BIT(CTRL_MAC_ADDR) |
				BIT(GUEST_ANNOUNCE);
	const uint64_t core = VIRTIO_CORE_FEATURES;
	struct virtio_net_config config = net_rig_config;
	struct net_rig rig;

	net_rig_create(&rig, &config, 1, false);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_DEVICE_ID), 1);
	ck_assert_uint_eq(drv_features(&rig.drv) & ~core, always);
	/* Readable before anything is negotiated. */
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG), 0x00000002);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 4), 0x00010100);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 8), 0);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 12), 0);
	/* None of it can be written. */
	net_rig_go(&rig, always);
	drv_wr(&rig.drv, R_CONFIG, 0xffffffff);
	drv_wr(&rig.drv, R_CONFIG + 4, 0xffffffff);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG), 0x00000002);
	net_rig_stop(&rig);

	config.mtu = 9000;
	net_rig_create(&rig, &config, 3, true);
	ck_assert_uint_eq(drv_features(&rig.drv) & ~core,
			  always | BIT(MTU) | BIT(MQ) | BIT(CTRL_GUEST_OFFLOADS) |
				  NET_GUEST_OFFLOADS | NET_HOST_OFFLOADS);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 8), 9000 << 16 | 3);
	net_rig_stop(&rig);
}
END_TEST

START_TEST(bad_configuration)
{
	struct virtio_net_config config = net_rig_config;
	struct net_backend backend = {.pairs = 0};
	struct guest_memory mem;
	struct error err;

	memory_init(&mem);
	ck_assert_ptr_null(virtio_net_create("net0", &mem, NULL, &config, &backend, &err));
	backend.pairs = NET_MAX_PAIRS + 1;
	ck_assert_ptr_null(virtio_net_create("net0", &mem, NULL, &config, &backend, &err));
	backend.pairs = 1;
	config.mtu = 67;
	ck_assert_ptr_null(virtio_net_create("net0", &mem, NULL, &config, &backend, &err));
	ck_assert_ptr_nonnull(strstr(err.msg, "68"));
}
END_TEST

/* A subset that makes no sense is not accepted (5.1.3.1). */
START_TEST(dependent_features)
{
	static const uint64_t bad[] = {BIT(GUEST_TSO4),	   BIT(GUEST_TSO6),
				       BIT(GUEST_UFO),	   BIT(GUEST_USO4),
				       BIT(HOST_TSO4),	   BIT(HOST_TSO6),
				       BIT(HOST_UFO),	   BIT(HOST_USO),
				       BIT(CTRL_RX),	   BIT(MQ),
				       BIT(CTRL_MAC_ADDR), BIT(CTRL_GUEST_OFFLOADS),
				       BIT(CTRL_RX_EXTRA), BIT(GUEST_ANNOUNCE)};
	struct net_rig rig;
	size_t i;

	net_rig_create(&rig, &net_rig_config, 2, true);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		ck_assert(!drv_start(&rig.drv, bad[i]));
	ck_assert(drv_start(&rig.drv, BIT(GUEST_CSUM) | BIT(GUEST_TSO4)));
	ck_assert(drv_start(&rig.drv, 0));
	net_rig_stop(&rig);
}
END_TEST

/* --- sending ------------------------------------------------------------------------------ */

/* A feature without what it needs is not offered. */
START_TEST(trim)
{
	static const uint64_t tso = BIT(CSUM) | BIT(HOST_TSO4) | BIT(HOST_ECN) | BIT(RSC_EXT);

	ck_assert_uint_eq(virtio_net_trim(tso), tso);
	ck_assert_uint_eq(virtio_net_trim(tso & ~BIT(CSUM)), 0);
	ck_assert_uint_eq(virtio_net_trim(tso & ~BIT(HOST_TSO4)), BIT(CSUM));
	ck_assert_uint_eq(virtio_net_trim(BIT(GUEST_ECN) | BIT(GUEST_TSO6) | BIT(MAC)), BIT(MAC));
	ck_assert_uint_eq(virtio_net_trim(BIT(MQ) | BIT(MTU)), BIT(MTU));
}
END_TEST

START_TEST(send)
{
	struct net_rig rig;
	uint8_t *frame;

	net_rig_start(&rig, 0);
	frame = net_rig_frame(&rig, LEN, 1);
	ck_assert(net_rig_send(&rig, 0, NULL, LEN));
	ck_assert_uint_eq(rig.fake.nr_out, 1);
	ck_assert_uint_eq(last_out(&rig)->len, LEN);
	ck_assert_mem_eq(last_out(&rig)->bytes, frame, LEN);
	ck_assert_uint_eq(rig.fake.flushes, 1);
	net_rig_stop(&rig);

	/* With a header in the back end it comes first. */
	net_rig_create(&rig, &net_rig_config, 1, true);
	net_rig_go(&rig, 0);
	frame = net_rig_frame(&rig, LEN, 1);
	ck_assert(net_rig_send(&rig, 0, NULL, LEN));
	ck_assert_uint_eq(last_out(&rig)->len, NET_HEADER + LEN);
	ck_assert_mem_eq(last_out(&rig)->bytes + NET_HEADER, frame, LEN);
	/* What was checked can't be changed by the guest afterwards (B9). */
	ck_assert(!rig.fake.first_in_ram);
	net_rig_stop(&rig);
}
END_TEST

/* However the driver cuts it. */
START_TEST(send_framing)
{
	struct drv_seg segs[RIG_NUM];
	struct net_rig rig;
	uint8_t flat[NET_HEADER + 50] = {0};
	unsigned int cut, i;
	uint32_t id, used;

	net_rig_create(&rig, &net_rig_config, 1, true);
	net_rig_go(&rig, 0);
	memcpy(flat + NET_HEADER, net_rig_frame(&rig, 50, 3), 50);
	memcpy(drv_ptr(&rig.mem, RIG_HEAD, sizeof(flat)), flat, sizeof(flat));
	for (cut = 1; cut < sizeof(flat); cut++) {
		segs[0] = (struct drv_seg){RIG_HEAD, cut, 0};
		segs[1] = (struct drv_seg){RIG_HEAD + cut, (uint32_t)sizeof(flat) - cut, 0};
		drv_add(&rig.ring[1], segs, 2);
		drv_wr(&rig.drv, R_NOTIFY, 1);
		net_rig_run(&rig);
		ck_assert(drv_get_used(&rig.ring[1], &id, &used));
		ck_assert_uint_eq(last_out(&rig)->len, sizeof(flat));
		ck_assert_mem_eq(last_out(&rig)->bytes, flat, sizeof(flat));
	}
	/* A piece for each byte. */
	for (i = 0; i < sizeof(flat); i++)
		segs[i] = (struct drv_seg){RIG_HEAD + i, 1, 0};
	drv_add(&rig.ring[1], segs, sizeof(flat));
	drv_wr(&rig.drv, R_NOTIFY, 1);
	net_rig_run(&rig);
	ck_assert(drv_get_used(&rig.ring[1], &id, &used));
	ck_assert_mem_eq(last_out(&rig)->bytes, flat, sizeof(flat));
	/* A writable part is none of the device's business. */
	segs[0] = (struct drv_seg){RIG_HEAD, sizeof(flat), 0};
	segs[1] = (struct drv_seg){RIG_HEAD + 0x800, 100, DRV_WRITE};
	drv_add(&rig.ring[1], segs, 2);
	drv_wr(&rig.drv, R_NOTIFY, 1);
	net_rig_run(&rig);
	ck_assert(drv_get_used(&rig.ring[1], &id, &used));
	ck_assert_uint_eq(used, 0);
	ck_assert_mem_eq(last_out(&rig)->bytes, flat, sizeof(flat));
	net_rig_stop(&rig);
}
END_TEST

/* C6: dropped, counted, completed. */
START_TEST(send_lengths)
{
	const struct drv_seg huge[] = {{DRV_RAM, (uint32_t)DRV_BANK, 0},
				       {DRV_RAM, (uint32_t)DRV_BANK, 0},
				       {DRV_RAM, (uint32_t)DRV_BANK, 0}};
	struct net_rig rig;
	uint32_t id, used, len;

	net_rig_start(&rig, 0);
	for (len = 0; len < NET_HEADER + NET_FRAME_MIN; len++) {
		drv_add(&rig.ring[1], &(struct drv_seg){RIG_HEAD, len, 0}, 1);
		drv_wr(&rig.drv, R_NOTIFY, 1);
		net_rig_run(&rig);
		ck_assert(drv_get_used(&rig.ring[1], &id, &used));
	}
	ck_assert_uint_eq(rig.fake.nr_out, 0);
	net_rig_frame(&rig, NET_FRAME_MAX + 1, 0);
	ck_assert(net_rig_send(&rig, 0, NULL, NET_FRAME_MIN));
	ck_assert(net_rig_send(&rig, 0, NULL, NET_FRAME_MAX));
	ck_assert_uint_eq(rig.fake.nr_out, 2);
	ck_assert_uint_eq(last_out(&rig)->len, NET_FRAME_MAX);
	ck_assert(net_rig_send(&rig, 0, NULL, NET_FRAME_MAX + 1));
	drv_add(&rig.ring[1], huge, 3);
	drv_wr(&rig.drv, R_NOTIFY, 1);
	net_rig_run(&rig);
	ck_assert(drv_get_used(&rig.ring[1], &id, &used));
	/* Only a writable part. */
	drv_add(&rig.ring[1], &(struct drv_seg){RIG_HEAD, 100, DRV_WRITE}, 1);
	drv_wr(&rig.drv, R_NOTIFY, 1);
	net_rig_run(&rig);
	ck_assert(drv_get_used(&rig.ring[1], &id, &used));
	ck_assert_uint_eq(used, 0);
	ck_assert_uint_eq(rig.fake.nr_out, 2);
	/* A few lines, not one for each. */
	ck_assert_uint_le(net_rig_logged(&rig, "dropped"), RATELIMIT_BURST);
	/* What the back end refuses is given back all the same. */
	rig.fake.send_answer = -EINVAL;
	ck_assert(net_rig_send(&rig, 0, NULL, LEN));
	net_rig_stop(&rig);
}
END_TEST

static bool sends(struct net_rig *rig, uint8_t flags, uint8_t gso)
{
	const uint8_t header[NET_HEADER] = {flags, gso,	 0x22, 0x33, 0x44, 0x55,
					    0x66,  0x77, 0x88, 0x99, 0xaa, 0xbb};
	unsigned int before = rig->fake.nr_out;

	net_rig_frame(rig, LEN, 0);
	ck_assert(net_rig_send(rig, 0, header, LEN));
	return rig->fake.nr_out == before + 1;
}

START_TEST(send_offloads)
{
	static const struct {
		uint8_t gso;
		uint64_t feature;
	} kinds[] = {
		{GSO_TCPV4, BIT(HOST_TSO4)},
		{GSO_TCPV6, BIT(HOST_TSO6)},
		{GSO_UDP, BIT(HOST_UFO)},
		{GSO_UDP_L4, BIT(HOST_USO)},
		{GSO_TCPV4 | GSO_ECN, BIT(HOST_TSO4) | BIT(HOST_ECN)},
	};
	struct net_rig rig;
	size_t i;

	net_rig_create(&rig, &net_rig_config, 1, true);
	net_rig_go(&rig, 0);
	ck_assert(sends(&rig, 0, 0));
	ck_assert(!sends(&rig, NEEDS_CSUM, 0));
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		ck_assert(!sends(&rig, 0, kinds[i].gso));
	net_rig_go(&rig, BIT(CSUM));
	ck_assert(sends(&rig, NEEDS_CSUM, 0));
	/* The rest of the header passes as it is, but for what the driver has no say in. */
	ck_assert_mem_eq(last_out(&rig)->bytes, "\x01\x00\x22\x33\x44\x55\x66\x77\x88\x99\x00\x00",
			 NET_HEADER);
	/* Unknown flags are ignored, unknown kinds of segments are not sent. */
	ck_assert(sends(&rig, 0xfe, 0));
	ck_assert_uint_eq(last_out(&rig)->bytes[0], 0);
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		net_rig_go(&rig, BIT(CSUM) | kinds[i].feature);
		ck_assert(sends(&rig, NEEDS_CSUM, kinds[i].gso));
		ck_assert(!sends(&rig, NEEDS_CSUM, 2));
		ck_assert(!sends(&rig, NEEDS_CSUM, 0x7f));
		ck_assert(!sends(&rig, NEEDS_CSUM, 0xff));
	}
	net_rig_stop(&rig);
}
END_TEST

/* C10 */
START_TEST(send_from_elsewhere)
{
	struct virtio_net_config config = net_rig_config;
	struct net_rig rig;

	net_rig_create(&rig, &config, 1, false);
	net_rig_go(&rig, 0);
	net_rig_frame(&rig, LEN, 0)[NET_MAC + 5] = 7;
	ck_assert(net_rig_send(&rig, 0, NULL, LEN));
	ck_assert_uint_eq(rig.fake.nr_out, 1);
	net_rig_stop(&rig);

	config.enforce = true;
	net_rig_create(&rig, &config, 1, false);
	net_rig_go(&rig, 0);
	net_rig_frame(&rig, LEN, 0)[NET_MAC + 5] = 7;
	ck_assert(net_rig_send(&rig, 0, NULL, LEN));
	ck_assert_uint_eq(rig.fake.nr_out, 0);
	ck_assert_uint_eq(net_rig_logged(&rig, "not the device's"), 1);
	net_rig_frame(&rig, LEN, 0);
	ck_assert(net_rig_send(&rig, 0, NULL, LEN));
	ck_assert_uint_eq(rig.fake.nr_out, 1);
	net_rig_stop(&rig);
}
END_TEST

START_TEST(send_waits_for_room)
{
	struct net_rig rig;
	uint32_t id, used;

	net_rig_start(&rig, 0);
	net_rig_frame(&rig, LEN, 0);
	rig.fake.no_room = true;
	ck_assert(!net_rig_send(&rig, 0, NULL, LEN));
	ck_assert(!net_rig_send(&rig, 0, NULL, LEN));
	virtio_net_writable(rig.net, 0);
	ck_assert_uint_eq(rig.fake.nr_out, 0);
	rig.fake.no_room = false;
	virtio_net_writable(rig.net, 0);
	ck_assert_uint_eq(rig.fake.nr_out, 2);
	ck_assert(drv_get_used(&rig.ring[1], &id, &used));
	ck_assert(drv_get_used(&rig.ring[1], &id, &used));
	ck_assert(rig.drv.level);
	/* A reset does not wait for room, nor does a quiesce; then nothing is sent. */
	rig.fake.no_room = true;
	ck_assert(!net_rig_send(&rig, 0, NULL, LEN));
	virtio_device_quiesce(virtio_net_device(rig.net));
	rig.fake.no_room = false;
	virtio_net_writable(rig.net, 0);
	ck_assert_uint_eq(rig.fake.nr_out, 2);
	virtio_device_resume(virtio_net_device(rig.net));
	ck_assert_uint_eq(rig.fake.nr_out, 3);
	ck_assert(drv_get_used(&rig.ring[1], &id, &used));
	rig.fake.no_room = true;
	ck_assert(!net_rig_send(&rig, 0, NULL, LEN));
	drv_wr(&rig.drv, R_STATUS, 0);
	rig.fake.no_room = false;
	virtio_net_writable(rig.net, 0);
	ck_assert_uint_eq(rig.fake.nr_out, 3);
	net_rig_stop(&rig);
}
END_TEST

/*
 * Frame after frame with nothing coming back: after the second notification the device
 * comes by itself, and asks for no more until it finds nothing new.
 */
START_TEST(send_a_stream)
{
	const struct drv_seg segs[] = {{RIG_HEAD, NET_HEADER, 0}, {RIG_TX, LEN, 0}};
	struct virtio_device *vdev;
	uint8_t frame[LEN];
	struct net_rig rig;
	unsigned int i;

	net_rig_start(&rig, BIT(MRG_RXBUF));
	vdev = virtio_net_device(rig.net);
	net_rig_frame(&rig, LEN, 0);
	for (i = 1; i <= 2; i++) {
		ck_assert_uint_eq(drv_used_flags(&rig.ring[1]), 0);
		drv_add(&rig.ring[1], segs, 2);
		drv_wr(&rig.drv, R_NOTIFY, 1);
		/* Each of them goes at once. */
		ck_assert_uint_eq(rig.fake.nr_out, i);
	}
	ck_assert_uint_eq(rig.soon, 1);
	ck_assert_uint_eq(drv_used_flags(&rig.ring[1]), 1);
	/* No exit any more; one that comes all the same buys nothing. */
	for (i = 0; i < 5; i++)
		drv_add(&rig.ring[1], segs, 2);
	drv_wr(&rig.drv, R_NOTIFY, 1);
	ck_assert_uint_eq(rig.fake.nr_out, 2);
	virtio_device_run(vdev);
	ck_assert_uint_eq(rig.fake.nr_out, 7);
	ck_assert_uint_eq(rig.soon, 2);
	ck_assert_uint_eq(drv_used_flags(&rig.ring[1]), 1);
	virtio_device_run(vdev);
	ck_assert_uint_eq(rig.soon, 2);
	ck_assert_uint_eq(drv_used_flags(&rig.ring[1]), 0);
	/* Without room it does not turn without end. */
	for (i = 0; i < 2; i++) {
		drv_add(&rig.ring[1], segs, 2);
		drv_wr(&rig.drv, R_NOTIFY, 1);
	}
	ck_assert_uint_eq(rig.soon, 3);
	rig.fake.no_room = true;
	drv_add(&rig.ring[1], segs, 2);
	virtio_device_run(vdev);
	ck_assert_uint_eq(rig.soon, 3);
	ck_assert_uint_eq(rig.fake.nr_out, 9);
	rig.fake.no_room = false;
	virtio_net_writable(rig.net, 0);
	ck_assert_uint_eq(rig.fake.nr_out, 10);
	net_rig_run(&rig);
	/* Question and answer: never. */
	net_rig_go(&rig, BIT(MRG_RXBUF));
	rig.soon = 0;
	net_rig_make(frame, LEN, 0);
	for (i = 0; i < 10; i++) {
		drv_add(&rig.ring[1], segs, 2);
		drv_wr(&rig.drv, R_NOTIFY, 1);
		net_rig_buffers(&rig, 0, 1, 200);
		net_rig_arrives(&rig, 0, frame, LEN);
	}
	ck_assert_uint_eq(rig.soon, 0);
	net_rig_stop(&rig);
}
END_TEST

/* --- receiving ------------------------------------------------------------------------------- */

START_TEST(receive)
{
	struct net_rig rig;
	uint8_t frame[LEN];
	unsigned int nr;

	net_rig_start(&rig, BIT(MRG_RXBUF));
	ck_assert(rig.fake.polled[0]);
	net_rig_buffers(&rig, 0, 4, 2000);
	net_rig_make(frame, LEN, 5);
	net_rig_arrives(&rig, 0, frame, LEN);
	ck_assert_uint_eq(net_rig_received(&rig, 0, bytes, &nr), NET_HEADER + LEN);
	ck_assert_uint_eq(nr, 1);
	ck_assert_mem_eq(bytes, "\0\0\0\0\0\0\0\0\0\0\1\0", NET_HEADER);
	ck_assert_mem_eq(bytes + NET_HEADER, frame, LEN);
	ck_assert(rig.drv.level);
	ck_assert(rig.fake.polled[0]);
	/* The others are still the driver's to be filled. */
	ck_assert_uint_eq(drv_used_idx(&rig.ring[0]), 1);
	net_rig_stop(&rig);

	/* Without mergeable buffers the header is as long, and says 1 (5.1.6.4.1). */
	net_rig_start(&rig, 0);
	net_rig_buffers(&rig, 0, 1, 2000);
	net_rig_arrives(&rig, 0, frame, LEN);
	ck_assert_uint_eq(net_rig_received(&rig, 0, bytes, &nr), NET_HEADER + LEN);
	ck_assert_mem_eq(bytes, "\0\0\0\0\0\0\0\0\0\0\1\0", NET_HEADER);
	net_rig_stop(&rig);
}
END_TEST

START_TEST(receive_merged)
{
	struct net_rig rig;
	uint8_t *frame = calloc(1, NET_FRAME_MAX);
	unsigned int nr;
	size_t len;

	net_rig_start(&rig, BIT(MRG_RXBUF));
	for (len = NET_FRAME_MIN; len < 400; len++) {
		net_rig_make(frame, len, (uint8_t)len);
		net_rig_buffers(&rig, 0, 7, 100);
		net_rig_arrives(&rig, 0, frame, len);
		ck_assert_uint_eq(net_rig_received(&rig, 0, bytes, &nr), NET_HEADER + len);
		ck_assert_uint_eq(nr, (NET_HEADER + len + 99) / 100);
		ck_assert_mem_eq(bytes + NET_HEADER, frame, len);
		/* What was taken too much is there for the next one. */
		net_rig_go(&rig, BIT(MRG_RXBUF));
	}
	/* The longest one there is. */
	net_rig_make(frame, NET_FRAME_MAX, 1);
	net_rig_buffers(&rig, 0, RIG_NUM, 1536);
	net_rig_arrives(&rig, 0, frame, NET_FRAME_MAX);
	ck_assert_uint_eq(net_rig_received(&rig, 0, bytes, &nr), NET_HEADER + NET_FRAME_MAX);
	ck_assert_mem_eq(bytes + NET_HEADER, frame, NET_FRAME_MAX);
	net_rig_stop(&rig);
	free(frame);
}
END_TEST

/* No buffers: nothing is read, nothing is lost, and it goes on when there are some. */
START_TEST(receive_waits)
{
	struct net_rig rig;
	uint8_t frame[LEN];
	unsigned int recvs, i, nr;

	net_rig_start(&rig, BIT(MRG_RXBUF));
	for (i = 0; i < 10; i++) {
		net_rig_make(frame, LEN, (uint8_t)i);
		net_rig_arrives(&rig, 0, frame, LEN);
	}
	ck_assert(!rig.fake.polled[0]);
	recvs = rig.fake.recvs;
	ck_assert_uint_le(recvs, 2);
	/* A late word from the back end changes nothing. */
	virtio_net_readable(rig.net, 0);
	ck_assert_uint_eq(rig.fake.recvs, recvs);
	ck_assert(!rig.fake.polled[0]);
	/* Too few for the frame: they are put back, not kept. */
	net_rig_buffers(&rig, 0, 1, 60);
	ck_assert_uint_eq(drv_used_idx(&rig.ring[0]), 0);
	ck_assert_uint_eq(rig.fake.recvs, recvs);
	net_rig_buffers(&rig, 0, 2, 60);
	ck_assert_uint_eq(net_rig_received(&rig, 0, bytes, &nr), NET_HEADER + LEN);
	ck_assert_uint_eq(nr, 2);
	ck_assert_uint_eq(bytes[NET_HEADER + 20], 20);
	net_rig_buffers(&rig, 0, 20, 60);
	for (i = 1; i < 10; i++) {
		ck_assert_uint_eq(net_rig_received(&rig, 0, bytes, &nr), NET_HEADER + LEN);
		ck_assert_uint_eq(bytes[NET_HEADER + 20], 20 + i);
	}
	ck_assert(rig.fake.polled[0]);
	net_rig_stop(&rig);
}
END_TEST

/* C7: buffers that can never hold a frame do not stop the queue for good. */
START_TEST(receive_too_small)
{
	struct net_rig rig;
	uint8_t frame[1500];
	unsigned int i, nr;

	net_rig_start(&rig, BIT(MRG_RXBUF));
	net_rig_make(frame, sizeof(frame), 0);
	net_rig_buffers(&rig, 0, RIG_NUM, 20);
	for (i = 0; i < 3; i++)
		net_rig_arrives(&rig, 0, frame, sizeof(frame));
	ck_assert_uint_eq(drv_used_idx(&rig.ring[0]), 0);
	ck_assert_uint_eq(rig.fake.in_head, 3);
	ck_assert(rig.fake.polled[0]);
	net_rig_arrives(&rig, 0, frame, 60);
	ck_assert_uint_eq(net_rig_received(&rig, 0, bytes, &nr), NET_HEADER + 60);
	ck_assert_uint_eq(nr, 4);

	/* One buffer must do where they can't be merged. */
	net_rig_go(&rig, 0);
	net_rig_buffers(&rig, 0, 8, 100);
	net_rig_arrives(&rig, 0, frame, sizeof(frame));
	net_rig_arrives(&rig, 0, frame, 89);
	ck_assert_uint_eq(drv_used_idx(&rig.ring[0]), 0);
	ck_assert(rig.fake.polled[0]);
	net_rig_arrives(&rig, 0, frame, 88);
	ck_assert_uint_eq(net_rig_received(&rig, 0, bytes, &nr), 100);
	net_rig_stop(&rig);
}
END_TEST

/* Buffers with no place for the header are given back, and are in nobody's way. */
START_TEST(receive_no_place_for_header)
{
	struct net_rig rig;
	uint8_t frame[LEN];

	net_rig_start(&rig, BIT(MRG_RXBUF));
	net_rig_make(frame, LEN, 0);
	net_rig_buffers(&rig, 0, 3, NET_HEADER - 1);
	/* Only readable, or nothing at all. */
	drv_add(&rig.ring[0], &(struct drv_seg){RIG_HEAD, 100, 0}, 1);
	drv_add(&rig.ring[0], &(struct drv_seg){RIG_HEAD, 0, DRV_WRITE}, 1);
	net_rig_buffers(&rig, 0, 1, 200);
	net_rig_arrives(&rig, 0, frame, LEN);
	ck_assert_uint_eq(drv_used_idx(&rig.ring[0]), 6);
	while (drv_used_idx(&rig.ring[0]) - rig.ring[0].last_used > 1)
		ck_assert_uint_eq(net_rig_received(&rig, 0, bytes, NULL), 0);
	ck_assert_uint_eq(net_rig_received(&rig, 0, bytes, NULL), NET_HEADER + LEN);
	net_rig_stop(&rig);
}
END_TEST

/* Header and data across descriptors, in buffers of several pieces. */
START_TEST(receive_framing)
{
	const struct drv_seg segs[] = {{RIG_HEAD, 5, DRV_WRITE},
				       {RIG_HEAD + 5, 8, DRV_WRITE},
				       {RIG_HEAD + 13, 1, DRV_WRITE},
				       {RIG_HEAD + 14, 200, DRV_WRITE}};
	struct net_rig rig;
	uint8_t frame[LEN];
	uint32_t id, used;

	net_rig_start(&rig, BIT(MRG_RXBUF));
	net_rig_make(frame, LEN, 9);
	drv_add(&rig.ring[0], segs, 4);
	net_rig_arrives(&rig, 0, frame, LEN);
	ck_assert(drv_get_used(&rig.ring[0], &id, &used));
	ck_assert_uint_eq(used, NET_HEADER + LEN);
	ck_assert_mem_eq((char *)drv_ptr(&rig.mem, RIG_HEAD, 300) + NET_HEADER, frame, LEN);
	ck_assert_uint_eq(((uint8_t *)drv_ptr(&rig.mem, RIG_HEAD, 300))[NET_HEADER + LEN], 0);
	net_rig_stop(&rig);
}
END_TEST

/* What a frame from the host may ask of the driver is what the driver takes in. */
START_TEST(receive_offloads)
{
	static const struct {
		uint8_t flags, gso;
		uint64_t needs;
	} kinds[] = {
		{NEEDS_CSUM, 0, 0},
		{0, GSO_TCPV4, BIT(GUEST_TSO4)},
		{0, GSO_TCPV6, BIT(GUEST_TSO6)},
		{0, GSO_UDP, BIT(GUEST_UFO)},
		{0, GSO_UDP_L4, BIT(GUEST_USO4) | BIT(GUEST_USO6)},
		{NEEDS_CSUM, GSO_TCPV6 | GSO_ECN, BIT(GUEST_TSO6) | BIT(GUEST_ECN)},
	};
	uint8_t frame[NET_HEADER + LEN] = {0};
	struct net_rig rig;
	size_t i;

	net_rig_create(&rig, &net_rig_config, 1, true);
	net_rig_make(frame + NET_HEADER, LEN, 0);
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		net_rig_go(&rig, BIT(MRG_RXBUF));
		ck_assert_uint_eq(rig.fake.offloads, 0);
		net_rig_buffers(&rig, 0, 4, 2000);
		frame[0] = kinds[i].flags;
		frame[1] = kinds[i].gso;
		net_rig_arrives(&rig, 0, frame, sizeof(frame));
		ck_assert_uint_eq(net_rig_received(&rig, 0, bytes, NULL), 0);
		net_rig_go(&rig, BIT(MRG_RXBUF) | BIT(GUEST_CSUM) | kinds[i].needs);
		ck_assert_uint_eq(rig.fake.offloads, BIT(GUEST_CSUM) | kinds[i].needs);
		net_rig_buffers(&rig, 0, 4, 2000);
		net_rig_arrives(&rig, 0, frame, sizeof(frame));
		ck_assert_uint_eq(net_rig_received(&rig, 0, bytes, NULL), sizeof(frame));
		ck_assert_mem_eq(bytes, frame, 10);
	}
	/* "Checked already" is a favour that only some understand; the rest is nobody's. */
	frame[0] = 0xff & ~NEEDS_CSUM;
	frame[1] = 0;
	net_rig_arrives(&rig, 0, frame, sizeof(frame));
	ck_assert_uint_eq(net_rig_received(&rig, 0, bytes, NULL), sizeof(frame));
	ck_assert_uint_eq(bytes[0], DATA_VALID);
	net_rig_go(&rig, BIT(MRG_RXBUF));
	net_rig_buffers(&rig, 0, 4, 2000);
	net_rig_arrives(&rig, 0, frame, sizeof(frame));
	ck_assert_uint_eq(net_rig_received(&rig, 0, bytes, NULL), sizeof(frame));
	ck_assert_uint_eq(bytes[0], 0);
	frame[1] = 2;
	net_rig_arrives(&rig, 0, frame, sizeof(frame));
	ck_assert_uint_eq(net_rig_received(&rig, 0, bytes, NULL), 0);
	net_rig_stop(&rig);
}
END_TEST

/* Where the driver was told an MTU, nothing longer comes, unless it is to be cut. */
START_TEST(receive_mtu)
{
	static const uint8_t tags[] = {0x81, 0, 0, 5, 0x88, 0xa8, 0, 6, 0x81, 0, 0, 7};
	struct virtio_net_config config = net_rig_config;
	uint8_t frame[NET_HEADER + 2000] = {0};
	struct net_rig rig;
	unsigned int nr;

	config.mtu = 100;
	net_rig_create(&rig, &config, 1, true);
	net_rig_go(&rig, BIT(MTU) | BIT(GUEST_CSUM) | BIT(GUEST_TSO4));
	net_rig_buffers(&rig, 0, 8, 2000);
	/* No tag, one, two, and a third that is payload. */
	for (nr = 0; nr <= 3; nr++) {
		size_t longest = NET_HEADER + NET_FRAME_MIN + 100 + (nr < 2 ? nr : 2) * 4;

		net_rig_make(frame + NET_HEADER, 1900, 0);
		memcpy(frame + NET_HEADER + 12, tags, nr * 4);
		net_rig_arrives(&rig, 0, frame, longest + 1);
		ck_assert_uint_eq(net_rig_received(&rig, 0, bytes, NULL), 0);
		net_rig_arrives(&rig, 0, frame, longest);
		ck_assert_uint_eq(net_rig_received(&rig, 0, bytes, NULL), longest);
	}
	net_rig_make(frame + NET_HEADER, 1900, 0);
	frame[0] = NEEDS_CSUM;
	frame[1] = GSO_TCPV4;
	net_rig_arrives(&rig, 0, frame, NET_HEADER + 1900);
	ck_assert_uint_eq(net_rig_received(&rig, 0, bytes, NULL), NET_HEADER + 1900);
	/* Who was told nothing gets all of it; and what is sent is nobody's to cut. */
	frame[0] = frame[1] = 0;
	net_rig_go(&rig, 0);
	net_rig_buffers(&rig, 0, 1, 2000);
	net_rig_arrives(&rig, 0, frame, NET_HEADER + 1900);
	ck_assert_uint_eq(net_rig_received(&rig, 0, bytes, NULL), NET_HEADER + 1900);
	net_rig_stop(&rig);
}
END_TEST

/* The back end is a peer: what it lends may be of any length. */
START_TEST(receive_lengths)
{
	struct net_rig rig;
	size_t len;

	net_rig_create(&rig, &net_rig_config, 1, true);
	net_rig_go(&rig, BIT(MRG_RXBUF));
	net_rig_buffers(&rig, 0, RIG_NUM, 2000);
	memset(bytes, 0, sizeof(bytes));
	for (len = 1; len < NET_HEADER + NET_FRAME_MIN; len++)
		net_rig_arrives(&rig, 0, bytes, len);
	net_rig_arrives(&rig, 0, bytes, NET_HEADER + NET_FRAME_MAX + 1);
	ck_assert_uint_eq(drv_used_idx(&rig.ring[0]), 0);
	ck_assert(rig.fake.polled[0]);
	net_rig_arrives(&rig, 0, bytes, NET_HEADER + NET_FRAME_MIN);
	ck_assert_uint_eq(drv_used_idx(&rig.ring[0]), 1);
	/* Gone for good: no more reading. */
	rig.fake.recv_answer = -EPIPE;
	virtio_net_readable(rig.net, 0);
	ck_assert_uint_eq(drv_used_idx(&rig.ring[0]), 1);
	net_rig_stop(&rig);
}
END_TEST

/* A pass has an end, and what is left has its turn. */
START_TEST(receive_passes)
{
	struct net_rig rig;
	uint8_t frame[LEN];
	unsigned int i, before;

	net_rig_start(&rig, BIT(MRG_RXBUF));
	net_rig_make(frame, LEN, 0);
	/* Each frame takes three of 64: the pass ends in the middle of the 22nd. */
	rig.fake.polled[0] = false;
	for (i = 0; i < 40; i++)
		net_rig_arrives(&rig, 0, frame, LEN);
	net_rig_buffers(&rig, 0, RIG_NUM, 40);
	virtio_net_readable(rig.net, 0);
	before = drv_used_idx(&rig.ring[0]);
	ck_assert_uint_eq(before, 63);
	net_rig_buffers(&rig, 0, 60, 40);
	virtio_device_run(virtio_net_device(rig.net));
	ck_assert_uint_eq(drv_used_idx(&rig.ring[0]), 40 * 3);
	/* Frames that nobody wants are not read without end either. */
	virtio_net_set_link(rig.net, false);
	before = rig.fake.recvs;
	for (i = 0; i < 60; i++)
		net_rig_arrives(&rig, 0, frame, LEN);
	ck_assert_uint_eq(drv_used_idx(&rig.ring[0]), 40 * 3);
	ck_assert_uint_eq(rig.fake.in_head, rig.fake.in_tail);
	net_rig_stop(&rig);
}
END_TEST

/* No driver: frames wait outside. */
START_TEST(receive_without_driver)
{
	struct net_rig rig;
	uint8_t frame[LEN];

	net_rig_create(&rig, &net_rig_config, 1, false);
	ck_assert(!rig.fake.polled[0]);
	net_rig_make(frame, LEN, 1);
	virtio_net_readable(rig.net, 0);
	net_rig_arrives(&rig, 0, frame, LEN);
	ck_assert_uint_eq(rig.fake.recvs, 0);
	net_rig_go(&rig, BIT(MRG_RXBUF));
	ck_assert(rig.fake.polled[0]);
	net_rig_buffers(&rig, 0, 1, 200);
	virtio_net_readable(rig.net, 0);
	ck_assert_uint_eq(net_rig_received(&rig, 0, bytes, NULL), NET_HEADER + LEN);
	/* A frame that waited for buffers is forgotten with the driver. */
	net_rig_make(frame, LEN, 2);
	net_rig_arrives(&rig, 0, frame, LEN);
	net_rig_make(frame, LEN, 3);
	net_rig_arrives(&rig, 0, frame, LEN);
	drv_wr(&rig.drv, R_STATUS, 0);
	virtio_net_readable(rig.net, 0);
	ck_assert(!rig.fake.polled[0]);
	net_rig_go(&rig, BIT(MRG_RXBUF));
	net_rig_buffers(&rig, 0, 1, 200);
	ck_assert_uint_eq(net_rig_received(&rig, 0, bytes, NULL), NET_HEADER + LEN);
	ck_assert_uint_eq(bytes[NET_HEADER + 20], 23);
	net_rig_stop(&rig);
}
END_TEST

/* A broken queue, and one that was reset by itself. */
START_TEST(receive_queue_trouble)
{
	struct net_rig rig;
	uint8_t frame[LEN];

	net_rig_create(&rig, &net_rig_config, 1, false);
	net_rig_go(&rig, BIT(MRG_RXBUF) | FEAT_RING_RESET);
	net_rig_make(frame, LEN, 1);
	drv_set_avail_idx(&rig.ring[0], 1000);
	net_rig_arrives(&rig, 0, frame, LEN);
	ck_assert(drv_rd(&rig.drv, R_STATUS) & ST_NEEDS_RESET);
	ck_assert(!rig.fake.polled[0]);
	/* The other direction goes on. */
	net_rig_frame(&rig, LEN, 0);
	ck_assert(net_rig_send(&rig, 0, NULL, LEN));
	net_rig_go(&rig, BIT(MRG_RXBUF) | FEAT_RING_RESET);
	net_rig_buffers(&rig, 0, 2, 200);
	virtio_net_readable(rig.net, 0);
	drv_wr(&rig.drv, R_QUEUE_SEL, 0);
	drv_wr(&rig.drv, R_QUEUE_RESET, 1);
	net_rig_arrives(&rig, 0, frame, LEN);
	ck_assert(!rig.fake.polled[0]);
	drv_ring_init(&rig.ring[0], &rig.mem, RIG_NUM, rig.ring[0].desc);
	ck_assert(drv_queue(&rig.drv, 0, &rig.ring[0]));
	net_rig_buffers(&rig, 0, 2, 200);
	ck_assert_uint_eq(net_rig_received(&rig, 0, bytes, NULL), NET_HEADER + LEN);
	ck_assert(rig.fake.polled[0]);
	net_rig_stop(&rig);
}
END_TEST

/* --- several pairs ------------------------------------------------------------------------------
 */

START_TEST(pairs)
{
	static const uint16_t none, all = RIG_PAIRS, too_many = RIG_PAIRS + 1, two = 2;
	struct net_rig rig;
	uint8_t frame[LEN];
	unsigned int i;

	net_rig_create(&rig, &net_rig_config, RIG_PAIRS, true);
	net_rig_go(&rig, BIT(MRG_RXBUF) | BIT(CTRL_VQ) | BIT(MQ));
	/* Only the first until the driver says otherwise. */
	ck_assert_uint_eq(rig.fake.pairs, 1);
	ck_assert(rig.fake.polled[0] && !rig.fake.polled[1]);
	ck_assert_int_eq(net_rig_command(&rig, 4, 0, &none, 2), 1);
	ck_assert_int_eq(net_rig_command(&rig, 4, 0, &too_many, 2), 1);
	ck_assert_uint_eq(rig.fake.pairs, 1);
	ck_assert_int_eq(net_rig_command(&rig, 4, 0, &all, 2), 0);
	ck_assert_uint_eq(rig.fake.pairs, RIG_PAIRS);
	for (i = 0; i < RIG_PAIRS; i++) {
		ck_assert(rig.fake.polled[i]);
		net_rig_frame(&rig, LEN, (uint8_t)i);
		ck_assert(net_rig_send(&rig, i, NULL, LEN));
		ck_assert_uint_eq(last_out(&rig)->pair, i);
		net_rig_buffers(&rig, i, 2, 2000);
		memset(frame, 0, sizeof(frame));
		net_rig_make(frame + NET_HEADER, LEN - NET_HEADER, (uint8_t)i);
		net_rig_arrives(&rig, i, frame, LEN);
		ck_assert_uint_eq(net_rig_received(&rig, i, bytes, NULL), LEN);
	}
	ck_assert_int_eq(net_rig_command(&rig, 4, 0, &two, 2), 0);
	ck_assert(rig.fake.polled[1] && !rig.fake.polled[2]);
	/* Sending on one that is not in use is the driver's affair; it goes out somewhere. */
	net_rig_frame(&rig, LEN, 0);
	ck_assert(net_rig_send(&rig, 3, NULL, LEN));
	/* A reset puts it back. */
	drv_wr(&rig.drv, R_STATUS, 0);
	ck_assert_uint_eq(rig.fake.pairs, 1);
	ck_assert(!rig.fake.polled[0] && !rig.fake.polled[1]);
	net_rig_stop(&rig);
}
END_TEST

/* Without MQ the control queue is the third, and nothing lies behind it (5.1.2). */
START_TEST(pairs_not_negotiated)
{
	static const uint16_t two = 2;
	static const uint8_t on = 1;
	struct net_rig rig;

	net_rig_create(&rig, &net_rig_config, RIG_PAIRS, true);
	net_rig_go(&rig, BIT(MRG_RXBUF) | BIT(CTRL_VQ) | BIT(CTRL_RX));
	ck_assert_uint_eq(rig.ctrl, 2);
	ck_assert_int_eq(net_rig_command(&rig, 0, 0, &on, 1), 0);
	ck_assert_int_eq(net_rig_command(&rig, 4, 0, &two, 2), 1);
	drv_ring_init(&rig.ring[5], &rig.mem, RIG_NUM, DRV_RAM + 0x80000);
	net_rig_go(&rig, BIT(MRG_RXBUF) | BIT(CTRL_VQ));
	drv_wr(&rig.drv, R_NOTIFY, 5);
	drv_wr(&rig.drv, R_NOTIFY, 8);
	drv_wr(&rig.drv, R_NOTIFY, 9);
	drv_wr(&rig.drv, R_NOTIFY, 0xffff);
	ck_assert_uint_eq(rig.fake.nr_out, 0);
	net_rig_stop(&rig);
}
END_TEST

/* --- the link -----------------------------------------------------------------------------------
 */

static unsigned int status_of(struct net_rig *rig)
{
	return drv_rd(&rig->drv, R_CONFIG + 4) >> 16;
}

START_TEST(link)
{
	struct net_rig rig;
	uint8_t frame[LEN];

	net_rig_start(&rig, BIT(MRG_RXBUF) | BIT(STATUS));
	net_rig_make(frame, LEN, 1);
	net_rig_buffers(&rig, 0, 8, 200);
	net_rig_frame(&rig, LEN, 1);
	drv_ack(&rig.drv);
	virtio_net_set_link(rig.net, true);
	ck_assert_uint_eq(drv_ack(&rig.drv), 0);
	ck_assert_uint_eq(status_of(&rig), 1);
	virtio_net_set_link(rig.net, false);
	ck_assert_uint_eq(drv_ack(&rig.drv), 2);
	ck_assert_uint_eq(status_of(&rig), 0);
	ck_assert(rig.fake.links == 1 && !rig.fake.link);
	/* Nothing passes, nothing piles up. */
	ck_assert(net_rig_send(&rig, 0, NULL, LEN));
	net_rig_arrives(&rig, 0, frame, LEN);
	ck_assert_uint_eq(rig.fake.nr_out, 0);
	ck_assert_uint_eq(rig.fake.in_head, 1);
	ck_assert_uint_eq(drv_used_idx(&rig.ring[0]), 0);
	/* A reset leaves the cable out. */
	net_rig_go(&rig, BIT(MRG_RXBUF) | BIT(STATUS));
	ck_assert_uint_eq(status_of(&rig), 0);
	drv_ack(&rig.drv);
	virtio_net_set_link(rig.net, true);
	ck_assert_uint_eq(drv_ack(&rig.drv), 2);
	ck_assert_uint_eq(status_of(&rig), 1);
	ck_assert(rig.fake.links == 2 && rig.fake.link);
	net_rig_buffers(&rig, 0, 8, 200);
	ck_assert(net_rig_send(&rig, 0, NULL, LEN));
	net_rig_arrives(&rig, 0, frame, LEN);
	ck_assert_uint_eq(rig.fake.nr_out, 1);
	ck_assert_uint_eq(net_rig_received(&rig, 0, bytes, NULL), NET_HEADER + LEN);
	net_rig_stop(&rig);
}
END_TEST

/* What waited for room goes when the link does. */
START_TEST(link_down_while_sending_waits)
{
	struct net_rig rig;
	uint32_t id, used;

	net_rig_start(&rig, 0);
	net_rig_frame(&rig, LEN, 0);
	rig.fake.no_room = true;
	ck_assert(!net_rig_send(&rig, 0, NULL, LEN));
	virtio_net_set_link(rig.net, false);
	ck_assert(drv_get_used(&rig.ring[1], &id, &used));
	ck_assert_uint_eq(rig.fake.nr_out, 0);
	net_rig_stop(&rig);
}
END_TEST

START_TEST(carrier)
{
	struct net_rig rig;

	net_rig_start(&rig, BIT(STATUS));
	drv_ack(&rig.drv);
	virtio_net_carrier(rig.net, false, "passt ended with status 1");
	ck_assert_uint_eq(drv_ack(&rig.drv), 2);
	ck_assert_uint_eq(status_of(&rig), 0);
	ck_assert_uint_eq(net_rig_logged(&rig, "net0: passt ended with status 1; its link is down"),
			  1);
	virtio_net_carrier(rig.net, false, "again");
	ck_assert_uint_eq(net_rig_logged(&rig, "again"), 0);
	/* Both have to be there. */
	virtio_net_set_link(rig.net, false);
	virtio_net_carrier(rig.net, true, NULL);
	ck_assert_uint_eq(status_of(&rig), 0);
	virtio_net_set_link(rig.net, true);
	ck_assert_uint_eq(status_of(&rig), 1);
	net_rig_stop(&rig);
}
END_TEST

static const char *command(struct net_rig *rig, const char *words)
{
	struct virtio_device *vdev = virtio_net_device(rig->net);
	static char reply[64];
	struct error err;

	if (vdev->ops->command(vdev, words, reply, sizeof(reply), &err))
		snprintf(reply, sizeof(reply), "error");
	return reply;
}

START_TEST(link_command)
{
	struct net_rig rig;

	net_rig_start(&rig, BIT(STATUS));
	ck_assert_str_eq(command(&rig, "link"), "up");
	ck_assert_str_eq(command(&rig, "link down"), "down");
	ck_assert_uint_eq(status_of(&rig), 0);
	ck_assert_str_eq(command(&rig, "link up"), "up");
	ck_assert_str_eq(command(&rig, "link sideways"), "error");
	ck_assert_str_eq(command(&rig, ""), "error");
	virtio_net_carrier(rig.net, false, "gone");
	ck_assert_str_eq(command(&rig, "link"), "down: the other side is gone");
	net_rig_stop(&rig);
}
END_TEST

/* --- save and load
 * ---------------------------------------------------------------------------------- */

static void save(struct net_rig *rig, struct xfer *x)
{
	struct device *dev = virtio_mmio_device(rig->mmio);

	virtio_device_quiesce(virtio_net_device(rig->net));
	xfer_save_init(x);
	dev->ops->transfer(dev, x);
	ck_assert_int_eq(xfer_done(x, NULL), 0);
}

static int load(struct net_rig *rig, const void *state, size_t len, struct error *err)
{
	struct device *dev = virtio_mmio_device(rig->mmio);
	struct xfer x;

	xfer_load_init(&x, state, len);
	dev->ops->transfer(dev, &x);
	return xfer_done(&x, err);
}

#define SAVED                                                                                      \
	(BIT(MRG_RXBUF) | BIT(STATUS) | BIT(CTRL_VQ) | BIT(CTRL_RX) | BIT(CTRL_RX_EXTRA) |         \
	 BIT(CTRL_MAC_ADDR) | BIT(GUEST_ANNOUNCE) | BIT(MQ) | BIT(GUEST_CSUM) | BIT(GUEST_TSO4) |  \
	 BIT(CTRL_GUEST_OFFLOADS))

/* A device with a state worth saving. */
static void rich(struct net_rig *rig)
{
	static const uint8_t off, on = 1, mac[NET_MAC] = {2, 0, 0, 0, 0, 0x55};
	static const uint8_t tables[] = {1, 0, 0, 0,	2, 0, 0, 0,    0,    7, 2, 0, 0,
					 0, 1, 0, 0x5e, 0, 0, 1, 0x33, 0x33, 0, 0, 0, 1};
	static const uint16_t two = 2;
	const uint64_t offloads = htole64(BIT(GUEST_CSUM));

	net_rig_create(rig, &net_rig_config, 2, true);
	net_rig_go(rig, SAVED);
	ck_assert_int_eq(net_rig_command(rig, 0, 0, &off, 1), 0);
	ck_assert_int_eq(net_rig_command(rig, 0, 5, &on, 1), 0);
	ck_assert_int_eq(net_rig_command(rig, 1, 0, tables, sizeof(tables) - 1), 1);
	ck_assert_int_eq(net_rig_command(rig, 1, 1, mac, 6), 0);
	ck_assert_int_eq(net_rig_command(rig, 4, 0, &two, 2), 0);
	ck_assert_int_eq(net_rig_command(rig, 5, 0, &offloads, 8), 0);
	ck_assert_int_eq(net_rig_command(rig, 1, 0, tables, sizeof(tables)), 0);
	net_rig_buffers(rig, 0, 4, 200);
	net_rig_buffers(rig, 1, 4, 200);
}

START_TEST(save_and_load)
{
	struct net_rig a, b;
	uint8_t frame[NET_HEADER + LEN] = {0};
	struct xfer x, y;
	struct error err;

	rich(&a);
	save(&a, &x);
	net_rig_create(&b, &net_rig_config, 2, true);
	ck_assert_msg(load(&b, x.buf, x.len, &err) == 0, "%s", err.msg);
	save(&b, &y);
	ck_assert_uint_eq(x.len, y.len);
	ck_assert_mem_eq(x.buf, y.buf, x.len);

	/* It goes on there, announces itself, and filters as before. */
	memcpy(drv_ptr(&b.mem, DRV_RAM, DRV_BANK), drv_ptr(&a.mem, DRV_RAM, DRV_BANK), DRV_BANK);
	memcpy(b.ring, a.ring, sizeof(b.ring));
	for (size_t i = 0; i < RIG_RINGS; i++)
		b.ring[i].mem = &b.mem;
	b.ctrl = a.ctrl;
	drv_ack(&b.drv);
	virtio_device_resume(virtio_net_device(b.net));
	ck_assert_uint_eq(drv_ack(&b.drv) & 2, 2);
	ck_assert_uint_eq(status_of(&b), 3);
	ck_assert_uint_eq(drv_rd(&b.drv, R_CONFIG + 4) & 0xffff, 0x5500);
	ck_assert_int_eq(net_rig_command(&b, 3, 0, NULL, 0), 0);
	ck_assert_uint_eq(status_of(&b), 1);
	ck_assert_uint_eq(b.fake.pairs, 2);
	ck_assert_uint_eq(b.fake.offloads, BIT(GUEST_CSUM));
	net_rig_make(frame + NET_HEADER, LEN, 0);
	net_rig_arrives(&b, 1, frame, sizeof(frame));
	ck_assert_uint_eq(net_rig_received(&b, 1, bytes, NULL), 0);
	frame[NET_HEADER + 5] = 0x55;
	net_rig_arrives(&b, 1, frame, sizeof(frame));
	ck_assert_uint_eq(net_rig_received(&b, 1, bytes, NULL), sizeof(frame));
	/* The device that was saved goes on too, without announcing. */
	virtio_device_resume(virtio_net_device(a.net));
	ck_assert_uint_eq(status_of(&a), 1);
	xfer_free(&x);
	xfer_free(&y);
	net_rig_stop(&a);
	net_rig_stop(&b);
}
END_TEST

/* A cable that was out is out on the other side too, when the VM goes on or the driver comes. */
START_TEST(load_link_down)
{
	struct net_rig a, b;
	struct xfer x;
	struct error err;
	bool running;

	for (running = false;; running = true) {
		net_rig_create(&a, &net_rig_config, 1, false);
		if (running)
			net_rig_go(&a, 0);
		virtio_net_set_link(a.net, false);
		save(&a, &x);
		net_rig_create(&b, &net_rig_config, 1, false);
		b.fake.link = true;
		ck_assert_msg(load(&b, x.buf, x.len, &err) == 0, "%s", err.msg);
		virtio_device_resume(virtio_net_device(b.net));
		if (!running)
			net_rig_go(&b, BIT(STATUS));
		ck_assert(!b.fake.link);
		ck_assert_uint_eq(status_of(&b), 0);
		virtio_net_set_link(b.net, true);
		ck_assert(b.fake.link);
		ck_assert_uint_eq(b.fake.links, 2);
		xfer_free(&x);
		net_rig_stop(&a);
		net_rig_stop(&b);
		if (running)
			break;
	}
}
END_TEST

START_TEST(load_garbage)
{
	struct virtio_net_config fixed = net_rig_config;
	struct prng p = prng_start("net load");
	struct net_rig a, b;
	struct xfer x;
	struct error err;
	uint8_t *copy;
	size_t i;

	rich(&a);
	virtio_net_set_link(a.net, false);
	save(&a, &x);
	copy = malloc(x.len + 1);
	net_rig_create(&b, &net_rig_config, 2, true);
	/* Cut short anywhere, and one byte too many. */
	for (i = 0; i < x.len; i++)
		ck_assert_int_eq(load(&b, x.buf, i, &err), -1);
	memcpy(copy, x.buf, x.len);
	copy[x.len] = 0;
	ck_assert_int_eq(load(&b, copy, x.len + 1, &err), -1);
	/* Any byte wrong: refused, or a state that can be saved again. */
	for (i = 0; i < 3 * x.len; i++) {
		struct xfer y;

		memcpy(copy, x.buf, x.len);
		copy[i % x.len] ^= (uint8_t)(1 + prng_below(&p, 255));
		if (load(&b, copy, x.len, &err))
			continue;
		save(&b, &y);
		ck_assert_mem_eq(y.buf, copy, x.len);
		xfer_free(&y);
	}
	net_rig_stop(&b);

	/* Other devices: fewer pairs, other offloads, another MTU, a fixed address. */
	net_rig_create(&b, &net_rig_config, 1, true);
	ck_assert_int_eq(load(&b, x.buf, x.len, &err), -1);
	net_rig_stop(&b);
	net_rig_create(&b, &net_rig_config, 2, false);
	ck_assert_int_eq(load(&b, x.buf, x.len, &err), -1);
	net_rig_stop(&b);
	/* … which the driver of the saved one had changed: here it could not have. */
	fixed.fixed = true;
	net_rig_create(&b, &fixed, 2, true);
	ck_assert_int_eq(load(&b, x.buf, x.len, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.msg, "guest_mac"));
	xfer_free(&x);
	virtio_device_resume(virtio_net_device(a.net));
	ck_assert_int_eq(net_rig_command(&a, 1, 1, fixed.mac, NET_MAC), 0);
	save(&a, &x);
	ck_assert_int_eq(load(&b, x.buf, x.len, &err), 0);
	net_rig_stop(&b);
	fixed.mac[5] = 9;
	net_rig_create(&b, &fixed, 2, true);
	ck_assert_int_eq(load(&b, x.buf, x.len, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.msg, "guest_mac"));
	net_rig_stop(&b);
	free(copy);
	xfer_free(&x);
	net_rig_stop(&a);
}
END_TEST

/* --- traffic
 * ------------------------------------------------------------------------------------------- */

/*
 * Random frames both ways, random buffers, room that comes and goes, quiesce and
 * resume: every frame that was taken arrives whole, once, and in order.
 */
START_TEST(random_traffic)
{
	struct prng p = prng_start("net traffic");
	uint8_t *frame = malloc(NET_FRAME_MAX);
	unsigned int sent = 0, seen_out = 0, arrived = 0, received = 0, i;
	uint32_t id, used;
	struct net_rig rig;
	size_t len;

	net_rig_start(&rig, BIT(MRG_RXBUF) | FEAT_EVENT_IDX | FEAT_INDIRECT);
	for (i = 0; i < 200000; i++) {
		switch (prng_below(&p, 8)) {
		case 0:
		case 1:
			if ((uint16_t)(rig.ring[1].avail_idx - drv_used_idx(&rig.ring[1])) >= 8)
				break;
			/* The length tells which one it is. */
			len = 14 + sent % 1400;
			net_rig_frame(&rig, len, 0);
			sent++;
			while (!net_rig_send(&rig, 0, NULL, len)) {
				rig.fake.no_room = false;
				virtio_net_writable(rig.net, 0);
				if (drv_get_used(&rig.ring[1], &id, &used))
					break;
			}
			ck_assert_uint_eq(rig.fake.nr_out, sent);
			ck_assert_uint_eq(last_out(&rig)->len, len);
			seen_out++;
			break;
		case 2:
			rig.fake.no_room = prng_below(&p, 2);
			break;
		case 3:
		case 4:
			if (rig.fake.in_tail - rig.fake.in_head == RIG_FRAMES)
				break;
			len = 14 + arrived % 3000;
			net_rig_make(frame, len, (uint8_t)arrived);
			arrived++;
			net_rig_arrives(&rig, 0, frame, len);
			break;
		case 5:
			/* Not those that were used and not looked at yet. */
			len = (uint16_t)(rig.ring[0].avail_idx - rig.ring[0].last_used);
			net_rig_buffers(&rig, 0, prng_below(&p, (unsigned int)(RIG_NUM - len) + 1),
					12 + prng_below(&p, 2000));
			break;
		case 6:
			while ((len = net_rig_received(&rig, 0, bytes, NULL))) {
				net_rig_make(frame, 14 + received % 3000, (uint8_t)received);
				if (len != NET_HEADER + 14 + received % 3000 ||
				    memcmp(frame, bytes + NET_HEADER, 14 + received % 3000))
					ck_abort_msg("frame %u arrived as another", received);
				received++;
			}
			break;
		default:
			if (prng_below(&p, 50))
				break;
			virtio_device_quiesce(virtio_net_device(rig.net));
			virtio_device_resume(virtio_net_device(rig.net));
			break;
		}
		net_rig_run(&rig);
		/* Level triggered. */
		if (rig.fake.polled[0] && rig.fake.in_head != rig.fake.in_tail)
			virtio_net_readable(rig.net, 0);
	}
	ck_assert_uint_eq(seen_out, sent);
	ck_assert_uint_gt(sent, 10000);
	ck_assert_uint_gt(received, 5000);
	ck_assert_uint_le(arrived - received, RIG_FRAMES + RIG_NUM);
	net_rig_stop(&rig);
	free(frame);
}
END_TEST

/* One thread sends as a hart would, another is the loop: receives, resets, links. */
struct two {
	struct net_rig rig;
	atomic_bool stop;
};

static void *other_thread(void *opaque)
{
	struct two *two = opaque;
	unsigned int i;

	for (i = 0; !atomic_load(&two->stop); i++) {
		virtio_net_readable(two->rig.net, 0);
		virtio_net_writable(two->rig.net, 0);
		if (i % 16 == 0)
			virtio_net_set_link(two->rig.net, i % 32);
	}
	return NULL;
}

START_TEST(two_threads)
{
	struct two two;
	pthread_t thread;
	unsigned int i;

	net_rig_start(&two.rig, BIT(MRG_RXBUF));
	atomic_init(&two.stop, false);
	net_rig_frame(&two.rig, LEN, 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, other_thread, &two), 0);
	for (i = 0; i < 5000; i++) {
		if (!net_rig_send(&two.rig, 0, NULL, LEN))
			ck_abort_msg("frame %u was not given back", i);
		if (i % 500 == 0)
			net_rig_go(&two.rig, BIT(MRG_RXBUF));
	}
	atomic_store(&two.stop, true);
	pthread_join(thread, NULL);
	net_rig_stop(&two.rig);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio-net");
	TCase *t = tcase_create("net");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, configuration);
	tcase_add_test(t, bad_configuration);
	tcase_add_test(t, dependent_features);
	tcase_add_test(t, trim);
	tcase_add_test(t, send);
	tcase_add_test(t, send_framing);
	tcase_add_test(t, send_lengths);
	tcase_add_test(t, send_offloads);
	tcase_add_test(t, send_from_elsewhere);
	tcase_add_test(t, send_waits_for_room);
	tcase_add_test(t, send_a_stream);
	tcase_add_test(t, receive);
	tcase_add_test(t, receive_merged);
	tcase_add_test(t, receive_waits);
	tcase_add_test(t, receive_too_small);
	tcase_add_test(t, receive_no_place_for_header);
	tcase_add_test(t, receive_framing);
	tcase_add_test(t, receive_offloads);
	tcase_add_test(t, receive_mtu);
	tcase_add_test(t, receive_lengths);
	tcase_add_test(t, receive_passes);
	tcase_add_test(t, receive_without_driver);
	tcase_add_test(t, receive_queue_trouble);
	tcase_add_test(t, pairs);
	tcase_add_test(t, pairs_not_negotiated);
	tcase_add_test(t, link);
	tcase_add_test(t, link_down_while_sending_waits);
	tcase_add_test(t, carrier);
	tcase_add_test(t, link_command);
	tcase_add_test(t, save_and_load);
	tcase_add_test(t, load_link_down);
	tcase_add_test(t, load_garbage);
	tcase_add_test(t, random_traffic);
	tcase_add_test(t, two_threads);
	suite_add_tcase(s, t);
	return unit_main(s);
}
