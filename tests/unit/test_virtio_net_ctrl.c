// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control queue of the network device (C8): each command, each way in which its
 * data can be wrong, and what the receive filter then lets in.
 */
#include "net_rig.h"
#include "prng.h"
#include "unit.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define BIT(f) VIRTIO_BIT(NET_F_##f)

#define OK 0
#define ERR 1

#define RX 0
#define MAC 1
#define VLAN 2
#define ANNOUNCE 3
#define MQ 4
#define OFFLOADS 5
#define NOTF_COAL 6

#define EVERYTHING                                                                                 \
	(BIT(MRG_RXBUF) | BIT(STATUS) | BIT(CTRL_VQ) | BIT(CTRL_RX) | BIT(CTRL_RX_EXTRA) |         \
	 BIT(CTRL_MAC_ADDR) | BIT(GUEST_ANNOUNCE) | BIT(MQ) | BIT(CTRL_GUEST_OFFLOADS) |           \
	 BIT(GUEST_CSUM) | BIT(GUEST_TSO4) | BIT(GUEST_TSO6))

static const uint8_t on = 1, off;
static uint8_t bytes[NET_HEADER + NET_FRAME_MAX];

static void start(struct net_rig *rig, uint64_t features)
{
	net_rig_create(rig, &net_rig_config, 2, true);
	net_rig_go(rig, features);
	net_rig_buffers(rig, 0, RIG_NUM, 200);
}

static bool gets(struct net_rig *rig, uint8_t a, uint8_t b, uint8_t c, uint8_t d, uint8_t e,
		 uint8_t f)
{
	const uint8_t to[NET_MAC] = {a, b, c, d, e, f};
	uint8_t frame[NET_HEADER + 60] = {0};
	size_t len;

	net_rig_make(frame + NET_HEADER, 60, 0);
	memcpy(frame + NET_HEADER, to, NET_MAC);
	net_rig_arrives(rig, 0, frame, sizeof(frame));
	len = net_rig_received(rig, 0, bytes, NULL);
	if (len)
		net_rig_buffers(rig, 0, 1, 200);
	return len;
}

#define gets_own(rig) gets(rig, 2, 0, 0, 0, 0, 1)
#define gets_other(rig) gets(rig, 2, 0, 0, 0, 0, 2)
#define gets_broadcast(rig) gets(rig, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
#define gets_group(rig) gets(rig, 1, 0, 0x5e, 0, 0, 1)

static void mode(struct net_rig *rig, uint8_t command, uint8_t value)
{
	ck_assert_int_eq(net_rig_command(rig, RX, command, &value, 1), OK);
}

/* --- receive modes and tables ----------------------------------------------------------- */

START_TEST(modes)
{
	struct net_rig rig;

	start(&rig, EVERYTHING);
	/* Promiscuous until the driver says what it wants. */
	ck_assert(gets_own(&rig) && gets_other(&rig) && gets_broadcast(&rig) && gets_group(&rig));
	mode(&rig, 0, 0);
	ck_assert(gets_own(&rig) && !gets_other(&rig) && gets_broadcast(&rig) && !gets_group(&rig));
	mode(&rig, 1, 1); /* all groups */
	ck_assert(gets_own(&rig) && !gets_other(&rig) && gets_group(&rig));
	mode(&rig, 3, 1); /* no groups */
	ck_assert(!gets_group(&rig) && gets_broadcast(&rig));
	mode(&rig, 3, 0);
	mode(&rig, 1, 0);
	mode(&rig, 2, 1); /* all single addresses */
	ck_assert(gets_other(&rig) && !gets_group(&rig));
	mode(&rig, 4, 1); /* none of them */
	ck_assert(!gets_other(&rig) && !gets_own(&rig) && gets_broadcast(&rig));
	mode(&rig, 5, 1); /* no broadcast */
	ck_assert(!gets_broadcast(&rig));
	mode(&rig, 0, 1);
	ck_assert(gets_own(&rig) && gets_other(&rig) && gets_broadcast(&rig) && gets_group(&rig));
	/* A reset forgets all of it. */
	mode(&rig, 0, 0);
	net_rig_go(&rig, EVERYTHING);
	net_rig_buffers(&rig, 0, RIG_NUM, 200);
	ck_assert(gets_other(&rig));
	net_rig_stop(&rig);
}
END_TEST

START_TEST(bad_modes)
{
	static const uint8_t two[] = {1, 1};
	uint8_t value = 2;
	struct net_rig rig;
	uint8_t command;

	start(&rig, EVERYTHING);
	for (command = 0; command < 6; command++) {
		ck_assert_int_eq(net_rig_command(&rig, RX, command, NULL, 0), ERR);
		ck_assert_int_eq(net_rig_command(&rig, RX, command, two, 2), ERR);
		ck_assert_int_eq(net_rig_command(&rig, RX, command, &value, 1), ERR);
	}
	ck_assert_int_eq(net_rig_command(&rig, RX, 6, &on, 1), ERR);
	ck_assert_int_eq(net_rig_command(&rig, RX, 255, &on, 1), ERR);
	ck_assert(gets_other(&rig));
	/* Only what was negotiated. */
	net_rig_go(&rig, BIT(CTRL_VQ) | BIT(CTRL_RX));
	ck_assert_int_eq(net_rig_command(&rig, RX, 1, &on, 1), OK);
	ck_assert_int_eq(net_rig_command(&rig, RX, 2, &on, 1), ERR);
	net_rig_go(&rig, BIT(CTRL_VQ) | BIT(CTRL_RX_EXTRA));
	ck_assert_int_eq(net_rig_command(&rig, RX, 0, &off, 1), ERR);
	ck_assert_int_eq(net_rig_command(&rig, RX, 5, &on, 1), OK);
	net_rig_stop(&rig);
}
END_TEST

/* Two tables: @uni and @multi addresses, 02::i and 33:33::i. */
static size_t tables(uint8_t *data, uint32_t uni, uint32_t multi)
{
	uint32_t nr[2] = {uni, multi}, table, i;
	size_t len = 0;

	for (table = 0; table < 2; table++) {
		uint32_t le = htole32(nr[table]);

		memcpy(data + len, &le, 4);
		len += 4;
		for (i = 0; i < nr[table]; i++, len += NET_MAC) {
			memset(data + len, table ? 0x33 : 0, NET_MAC);
			data[len] = table ? 0x33 : 2;
			data[len + 5] = (uint8_t)i;
		}
	}
	return len;
}

START_TEST(filter)
{
	uint8_t data[3000];
	struct net_rig rig;
	size_t len;

	start(&rig, EVERYTHING);
	mode(&rig, 0, 0);
	len = tables(data, 3, 5);
	ck_assert_int_eq(net_rig_command(&rig, MAC, 0, data, len), OK);
	ck_assert(gets(&rig, 2, 0, 0, 0, 0, 2) && !gets(&rig, 2, 0, 0, 0, 0, 3));
	ck_assert(gets(&rig, 0x33, 0x33, 0x33, 0x33, 0x33, 4));
	ck_assert(!gets(&rig, 0x33, 0x33, 0x33, 0x33, 0x33, 5));
	ck_assert(gets_own(&rig));
	/* As many as fit, and more: then all are let in. */
	len = tables(data, 64, 64);
	ck_assert_int_eq(net_rig_command(&rig, MAC, 0, data, len), OK);
	ck_assert(gets(&rig, 2, 0, 0, 0, 0, 63) && !gets(&rig, 2, 0, 0, 0, 0, 64));
	ck_assert(!gets(&rig, 0x33, 0x33, 0x33, 0x33, 0x33, 64));
	len = tables(data, 65, 64);
	ck_assert_int_eq(net_rig_command(&rig, MAC, 0, data, len), OK);
	ck_assert(gets(&rig, 2, 0, 0, 0, 0, 99) && !gets_group(&rig));
	len = tables(data, 0, 200);
	ck_assert_int_eq(net_rig_command(&rig, MAC, 0, data, len), OK);
	ck_assert(!gets_other(&rig) && gets_group(&rig));
	len = tables(data, 0, 0);
	ck_assert_int_eq(net_rig_command(&rig, MAC, 0, data, len), OK);
	ck_assert(!gets_other(&rig) && !gets_group(&rig) && gets_own(&rig));
	net_rig_stop(&rig);
}
END_TEST

/* Counts that promise more than there is, in every way; nothing changes. */
START_TEST(bad_tables)
{
	static const uint32_t counts[] = {4, 65, 1000, 0x2aaaaaab, 0x80000000, 0xffffffff};
	uint8_t data[3000];
	struct net_rig rig;
	size_t len, i;
	uint32_t le;

	start(&rig, EVERYTHING);
	mode(&rig, 0, 0);
	len = tables(data, 3, 3);
	ck_assert_int_eq(net_rig_command(&rig, MAC, 0, data, len), OK);
	for (i = 0; i < len; i++)
		ck_assert_int_eq(net_rig_command(&rig, MAC, 0, data, i), ERR);
	data[len] = 0;
	ck_assert_int_eq(net_rig_command(&rig, MAC, 0, data, len + 1), ERR);
	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		len = tables(data, 1, 1);
		le = htole32(counts[i]);
		memcpy(data, &le, 4);
		ck_assert_int_eq(net_rig_command(&rig, MAC, 0, data, len), ERR);
		len = tables(data, 1, 1);
		memcpy(data + 10, &le, 4);
		ck_assert_int_eq(net_rig_command(&rig, MAC, 0, data, len), ERR);
	}
	ck_assert(gets(&rig, 2, 0, 0, 0, 0, 2));
	net_rig_go(&rig, BIT(CTRL_VQ));
	len = tables(data, 1, 1);
	ck_assert_int_eq(net_rig_command(&rig, MAC, 0, data, len), ERR);
	net_rig_stop(&rig);
}
END_TEST

/* --- the address -------------------------------------------------------------------------- */

START_TEST(address)
{
	static const uint8_t mac[NET_MAC] = {2, 0, 0, 0, 0, 0x42};
	struct virtio_net_config fixed = net_rig_config;
	struct net_rig rig;

	start(&rig, EVERYTHING);
	mode(&rig, 0, 0);
	ck_assert_int_eq(net_rig_command(&rig, MAC, 1, mac, 6), OK);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 4) & 0xffff, 0x4200);
	ck_assert(gets(&rig, 2, 0, 0, 0, 0, 0x42) && !gets_own(&rig));
	ck_assert_int_eq(net_rig_command(&rig, MAC, 1, mac, 5), ERR);
	ck_assert_int_eq(net_rig_command(&rig, MAC, 2, mac, 6), ERR);
	/* A reset brings its own back. */
	net_rig_go(&rig, BIT(CTRL_VQ));
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 4) & 0xffff, 0x0100);
	ck_assert_int_eq(net_rig_command(&rig, MAC, 1, mac, 6), ERR);
	net_rig_stop(&rig);

	fixed.fixed = true;
	net_rig_create(&rig, &fixed, 2, true);
	net_rig_go(&rig, EVERYTHING);
	ck_assert_int_eq(net_rig_command(&rig, MAC, 1, mac, 6), ERR);
	ck_assert_int_eq(net_rig_command(&rig, MAC, 1, fixed.mac, 6), OK);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 4) & 0xffff, 0x0100);
	net_rig_stop(&rig);
}
END_TEST

/* Where another address is allowed, it is the one that is enforced. */
START_TEST(enforced_address_moves)
{
	static const uint8_t mac[NET_MAC] = {2, 0, 0, 0, 0, 0x42};
	struct virtio_net_config config = net_rig_config;
	struct net_rig rig;

	config.enforce = true;
	net_rig_create(&rig, &config, 2, true);
	net_rig_go(&rig, EVERYTHING);
	ck_assert_int_eq(net_rig_command(&rig, MAC, 1, mac, 6), OK);
	net_rig_frame(&rig, 100, 0);
	ck_assert(net_rig_send(&rig, 0, NULL, 100));
	ck_assert_uint_eq(rig.fake.nr_out, 0);
	net_rig_frame(&rig, 100, 0)[NET_MAC + 5] = 0x42;
	ck_assert(net_rig_send(&rig, 0, NULL, 100));
	ck_assert_uint_eq(rig.fake.nr_out, 1);
	net_rig_stop(&rig);
}
END_TEST

/* --- the others ----------------------------------------------------------------------------- */

START_TEST(offloads)
{
	const uint64_t some = BIT(GUEST_CSUM) | BIT(GUEST_TSO4);
	uint64_t le = htole64(some), bad = htole64(some | BIT(GUEST_UFO));
	struct net_rig rig;

	start(&rig, EVERYTHING);
	/* To begin with, all that was negotiated. */
	ck_assert_uint_eq(rig.fake.offloads, EVERYTHING & NET_GUEST_OFFLOADS);
	ck_assert_int_eq(net_rig_command(&rig, OFFLOADS, 0, &le, 8), OK);
	ck_assert_uint_eq(rig.fake.offloads, some);
	ck_assert_int_eq(net_rig_command(&rig, OFFLOADS, 0, &bad, 8), ERR);
	ck_assert_int_eq(net_rig_command(&rig, OFFLOADS, 0, &le, 7), ERR);
	ck_assert_int_eq(net_rig_command(&rig, OFFLOADS, 1, &le, 8), ERR);
	bad = htole64(BIT(CSUM));
	ck_assert_int_eq(net_rig_command(&rig, OFFLOADS, 0, &bad, 8), ERR);
	ck_assert_uint_eq(rig.fake.offloads, some);
	le = 0;
	ck_assert_int_eq(net_rig_command(&rig, OFFLOADS, 0, &le, 8), OK);
	ck_assert_uint_eq(rig.fake.offloads, 0);
	net_rig_go(&rig, BIT(CTRL_VQ) | BIT(GUEST_CSUM));
	ck_assert_int_eq(net_rig_command(&rig, OFFLOADS, 0, &le, 8), ERR);
	net_rig_stop(&rig);
}
END_TEST

START_TEST(announce)
{
	struct net_rig rig;

	start(&rig, EVERYTHING);
	ck_assert_int_eq(net_rig_command(&rig, ANNOUNCE, 0, NULL, 0), OK);
	ck_assert_int_eq(net_rig_command(&rig, ANNOUNCE, 0, &on, 1), ERR);
	ck_assert_int_eq(net_rig_command(&rig, ANNOUNCE, 1, NULL, 0), ERR);
	net_rig_go(&rig, BIT(CTRL_VQ));
	ck_assert_int_eq(net_rig_command(&rig, ANNOUNCE, 0, NULL, 0), ERR);
	net_rig_stop(&rig);
}
END_TEST

/* RSS configurations and hash reports come in class 4 as well. */
START_TEST(pairs)
{
	static const uint16_t one = 1, two = 2, three = 3, zero;
	uint8_t rss[500];
	struct net_rig rig;

	start(&rig, EVERYTHING);
	ck_assert_int_eq(net_rig_command(&rig, MQ, 0, &two, 2), OK);
	ck_assert_int_eq(net_rig_command(&rig, MQ, 0, &two, 1), ERR);
	ck_assert_int_eq(net_rig_command(&rig, MQ, 0, &three, 2), ERR);
	ck_assert_int_eq(net_rig_command(&rig, MQ, 0, &zero, 2), ERR);
	memset(rss, 0xff, sizeof(rss));
	ck_assert_int_eq(net_rig_command(&rig, MQ, 1, rss, sizeof(rss)), ERR);
	ck_assert_int_eq(net_rig_command(&rig, MQ, 2, rss, sizeof(rss)), ERR);
	ck_assert_int_eq(net_rig_command(&rig, MQ, 0, rss, sizeof(rss)), ERR);
	ck_assert_uint_eq(rig.fake.pairs, 2);
	ck_assert_int_eq(net_rig_command(&rig, MQ, 0, &one, 2), OK);
	ck_assert_uint_eq(rig.fake.pairs, 1);
	net_rig_stop(&rig);
}
END_TEST

START_TEST(unknown)
{
	uint8_t data[16] = {0};
	struct net_rig rig;
	unsigned int class, command;

	start(&rig, EVERYTHING);
	for (command = 0; command < 4; command++) {
		ck_assert_int_eq(net_rig_command(&rig, VLAN, (uint8_t)command, data, 2), ERR);
		ck_assert_int_eq(net_rig_command(&rig, NOTF_COAL, (uint8_t)command, data, 8), ERR);
	}
	for (class = 7; class < 256; class ++)
		ck_assert_int_eq(net_rig_command(&rig, (uint8_t) class, 0, data, 16), ERR);
	ck_assert_uint_eq(virtio_net_device(rig.net)->status & ST_NEEDS_RESET, 0);
	net_rig_stop(&rig);
}
END_TEST

/* --- framing ---------------------------------------------------------------------------------- */

/* A request with nothing to read, or no place to answer, is given back (B13). */
START_TEST(malformed)
{
	struct net_rig rig;
	struct drv_ring *ring = &rig.ring[4];
	uint8_t *answer;
	uint32_t id, len;

	start(&rig, EVERYTHING);
	answer = drv_ptr(&rig.mem, RIG_HEAD, 8);
	memset(answer, 0x77, 8);
	drv_add(ring, &(struct drv_seg){RIG_HEAD, 1, DRV_WRITE}, 1);
	drv_wr(&rig.drv, R_NOTIFY, 4);
	ck_assert(drv_get_used(ring, &id, &len));
	ck_assert(len == 1 && answer[0] == ERR);
	drv_add(ring, &(struct drv_seg){RIG_HEAD, 3, 0}, 1);
	drv_wr(&rig.drv, R_NOTIFY, 4);
	ck_assert(drv_get_used(ring, &id, &len));
	ck_assert_uint_eq(len, 0);
	drv_add(ring, &(struct drv_seg){RIG_HEAD, 0, 0}, 1);
	drv_wr(&rig.drv, R_NOTIFY, 4);
	ck_assert(drv_get_used(ring, &id, &len));
	ck_assert_uint_eq(len, 0);
	/* One byte of the two. */
	drv_add(ring, (const struct drv_seg[]){{RIG_HEAD, 1, 0}, {RIG_HEAD + 1, 4, DRV_WRITE}}, 2);
	drv_wr(&rig.drv, R_NOTIFY, 4);
	ck_assert(drv_get_used(ring, &id, &len));
	/* The answer is the first writable byte; what follows belongs to commands not here. */
	ck_assert(len == 1 && answer[1] == ERR && answer[2] == 0x77);
	/* Every byte in a piece of its own. */
	memcpy(answer, "\0\1\1\x77", 4);
	drv_add(ring,
		(const struct drv_seg[]){{RIG_HEAD, 1, 0},
					 {RIG_HEAD + 1, 1, 0},
					 {RIG_HEAD + 2, 1, 0},
					 {RIG_HEAD + 3, 1, DRV_WRITE}},
		4);
	drv_wr(&rig.drv, R_NOTIFY, 4);
	ck_assert(drv_get_used(ring, &id, &len));
	ck_assert(len == 1 && answer[3] == OK);
	net_rig_stop(&rig);
}
END_TEST

/* Random commands: each is answered, and frames pass afterwards. */
START_TEST(random_commands)
{
	struct prng p = prng_start("net commands");
	static uint8_t data[4000];
	struct net_rig rig;
	unsigned int i, k, ok = 0;

	start(&rig, EVERYTHING);
	for (i = 0; i < 100000; i++) {
		uint8_t class = (uint8_t)prng_below(&p, 7), command = (uint8_t)prng_below(&p, 7);
		size_t len = prng_below(&p, prng_below(&p, 2) ? 10 : 900);
		int answer;

		for (k = 0; k < len; k++)
			data[k] = prng_below(&p, 2) ? (uint8_t)prng_below(&p, 3)
						    : (uint8_t)prng_u64(&p);
		answer = net_rig_command(&rig, class, command, data, len);
		if (answer != OK && answer != ERR)
			ck_abort_msg("command %u/%u was answered %d", class, command, answer);
		ok += answer == OK;
		if (i % 1000 == 0) {
			net_rig_frame(&rig, 60, 0);
			ck_assert(net_rig_send(&rig, 0, NULL, 60));
		}
	}
	ck_assert_uint_gt(ok, 100);
	net_rig_go(&rig, EVERYTHING);
	net_rig_buffers(&rig, 0, 8, 200);
	ck_assert(gets_own(&rig));
	net_rig_stop(&rig);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio-net control");
	TCase *t = tcase_create("control");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, modes);
	tcase_add_test(t, bad_modes);
	tcase_add_test(t, filter);
	tcase_add_test(t, bad_tables);
	tcase_add_test(t, address);
	tcase_add_test(t, enforced_address_moves);
	tcase_add_test(t, offloads);
	tcase_add_test(t, announce);
	tcase_add_test(t, pairs);
	tcase_add_test(t, unknown);
	tcase_add_test(t, malformed);
	tcase_add_test(t, random_commands);
	suite_add_tcase(s, t);
	return unit_main(s);
}
