// SPDX-License-Identifier: GPL-2.0-only
/*
 * vhost-user with a back end that is broken or hostile (C23): every request answered in
 * every wrong way, disconnects anywhere, floods on its channel, descriptors that nobody
 * asked for, flags of shared descriptors changed. After each of it the process lives, no
 * call took longer than its time limit, no descriptor leaked, and the driver knows that
 * the device needs a reset, or went on undisturbed.
 */
#include "unit.h"
#include "vhost_user_rig.h"

#include "lkvm/device.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* One exchange may take this long; a whole life not much more than a few of it. */
#define LIMIT_MS 100

static const struct vhost_user_type *blk(void)
{
	return vhost_user_type_find("blk");
}

static struct device *machine_device(struct vu_rig *rig)
{
	return virtio_mmio_device(rig->mmio);
}

static bool needs_reset(struct vu_rig *rig)
{
	return drv_rd(&rig->drv, R_STATUS) & ST_NEEDS_RESET;
}

/* A device with a state, so that a life asks for everything there is. */
static const struct vhost_user_type thinker = {
	.name = "thinker",
	.id = 26,
	.queues = RIG_QUEUES,
	.queue_max = 64,
	.config_size = 8,
	.writable_at = 4,
	.writable_len = 4,
};

static int load_what_was_saved(struct vu_rig *rig)
{
	struct xfer x, y;
	int ret;

	xfer_save_init(&x);
	machine_device(rig)->ops->transfer(machine_device(rig), &x);
	ret = xfer_done(&x, NULL);
	if (!ret) {
		xfer_load_init(&y, x.buf, x.len);
		machine_device(rig)->ops->transfer(machine_device(rig), &y);
		ret = xfer_done(&y, NULL);
	}
	xfer_free(&x);
	return ret;
}

/* All stations; where one fails the rest must still be possible. */
static void live(struct vu_rig *rig, bool *made, bool *died)
{
	uint64_t start = now_ns();

	*died = false;
	*made = vu_rig_device(rig, &thinker);
	if (!*made)
		return;
	vu_rig_go(rig);
	drv_wr(&rig->drv, R_NOTIFY, 1);
	drv_wr(&rig->drv, R_CONFIG + 4, 0x01020304);
	fake_vu_lock(&rig->fake);
	if (rig->fake.channel >= 0) {
		fake_vu_unlock(&rig->fake);
		fake_vu_ask(&rig->fake, 2, 1 | 8, NULL, 0, 0);
	} else {
		fake_vu_unlock(&rig->fake);
	}
	vu_rig_turn(rig, 2);
	machine_device(rig)->ops->quiesce(machine_device(rig));
	load_what_was_saved(rig);
	machine_device(rig)->ops->resume(machine_device(rig));
	vu_rig_turn(rig, 2);
	*died = needs_reset(rig);
	drv_wr(&rig->drv, R_STATUS, 0);
	vu_rig_turn(rig, 2);
	/* A dead device takes no features any more; a living one goes on. */
	vu_rig_go(rig);
	machine_device(rig)->ops->reset(machine_device(rig));
	ck_assert_uint_eq(drv_rd(&rig->drv, R_STATUS), 0);
	ck_assert_uint_lt(now_ns() - start, 5 * NSEC_PER_SEC);
}

static const uint32_t requests[] = {
	VU_GET_FEATURES,       VU_SET_FEATURES,		 VU_SET_MEM_TABLE,
	VU_SET_VRING_NUM,      VU_SET_VRING_ADDR,	 VU_SET_VRING_BASE,
	VU_GET_VRING_BASE,     VU_SET_VRING_KICK,	 VU_SET_VRING_CALL,
	VU_SET_VRING_ERR,      VU_GET_PROTOCOL_FEATURES, VU_GET_QUEUE_NUM,
	VU_SET_VRING_ENABLE,   VU_SET_BACKEND_REQ_FD,	 VU_GET_CONFIG,
	VU_SET_CONFIG,	       VU_RESET_DEVICE,		 VU_SET_DEVICE_STATE_FD,
	VU_CHECK_DEVICE_STATE,
};

/* Requests that are made while the device is built: then it is not built. */
static bool while_built(uint32_t request, unsigned int after)
{
	return !after && (request == VU_GET_FEATURES || request == VU_GET_PROTOCOL_FEATURES ||
			  request == VU_GET_QUEUE_NUM || request == VU_SET_BACKEND_REQ_FD ||
			  request == VU_GET_CONFIG);
}

/* Answers that are good by the protocol, whatever they mean. */
static bool may_go_well(uint32_t request, enum fake_vu_way way)
{
	switch (way) {
	case FAKE_GOOD:
	case FAKE_ALL_ZEROES:
		return true;
	case FAKE_TWICE:
		/* Seen at the next request only. */
		return true;
	case FAKE_ALL_ONES:
		return request != VU_GET_VRING_BASE && request != VU_GET_CONFIG;
	case FAKE_EMPTY:
		/* The way to refuse. */
		return request == VU_GET_CONFIG;
	default:
		return false;
	}
}

static void every_way(unsigned int after)
{
	struct vu_rig rig;
	unsigned int i;
	int way;

	for (i = 0; i < ARRAY_SIZE(requests); i++) {
		for (way = FAKE_GOOD; way < FAKE_WAYS; way++) {
			bool made, died, came;

			vu_rig_init(&rig);
			rig.fake.state = "x";
			rig.fake.state_len = 1;
			rig.fake.bad_request = requests[i];
			rig.fake.way = way;
			rig.fake.bad_after = after;
			rig.timeout_ms =
				way == FAKE_SILENT || way == FAKE_HALF_HEADER ? LIMIT_MS : 4000;
			live(&rig, &made, &died);
			fake_vu_lock(&rig.fake);
			came = rig.fake.seen[requests[i]] > after;
			fake_vu_unlock(&rig.fake);
			if (!came || may_go_well(requests[i], way))
				;
			else if (while_built(requests[i], after))
				ck_assert_msg(!made, "request %u, way %d: made", requests[i], way);
			else
				ck_assert_msg(died || rig.fake.seen[requests[i]] > after + 1 ||
						      requests[i] == VU_RESET_DEVICE ||
						      requests[i] == VU_GET_VRING_BASE,
					      "request %u, way %d: not dead", requests[i], way);
			if (way == FAKE_GOOD)
				ck_assert_msg(made && !died &&
						      came == (rig.fake.seen[requests[i]] > after),
					      "request %u", requests[i]);
			vu_rig_drop(&rig);
		}
	}
}

START_TEST(every_request_every_way)
{
	every_way(0);
}
END_TEST

START_TEST(every_second_request_every_way)
{
	every_way(1);
}
END_TEST

/* Refused by the book: an acknowledgement that is not zero. The driver may try again. */
START_TEST(refusals)
{
	static const uint32_t set_up[] = {VU_SET_FEATURES,   VU_SET_MEM_TABLE,	 VU_SET_VRING_NUM,
					  VU_SET_VRING_ADDR, VU_SET_VRING_BASE,	 VU_SET_VRING_KICK,
					  VU_SET_VRING_CALL, VU_SET_VRING_ENABLE};
	struct vu_rig rig;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(set_up); i++) {
		vu_rig_init(&rig);
		rig.fake.bad_request = set_up[i];
		rig.fake.way = FAKE_ALL_ONES;
		rig.fake.bad_times = 1;
		/* Of the second ring, where there are two. */
		rig.fake.bad_after = set_up[i] >= VU_SET_VRING_NUM;
		ck_assert(vu_rig_device(&rig, blk()));
		ck_assert(vu_rig_go(&rig));
		ck_assert_msg(needs_reset(&rig), "request %u", set_up[i]);
		ck_assert_uint_eq(drv_ack(&rig.drv) & 2, 2);
		/* Not again: after a reset all is well. */
		ck_assert(vu_rig_go(&rig));
		ck_assert(!needs_reset(&rig));
		vu_rig_ask(&rig, 1, 1, 1);
		ck_assert(vu_rig_served(&rig, 1, 1, 1));
		vu_rig_stop(&rig);
	}
	/* A write to the configuration that is refused is just that. */
	vu_rig_init(&rig);
	rig.fake.bad_request = VU_SET_CONFIG;
	rig.fake.way = FAKE_ALL_ONES;
	ck_assert(vu_rig_device(&rig, blk()));
	ck_assert(vu_rig_go(&rig));
	virtio_mmio_ops.write(rig.mmio, R_CONFIG + 32, 1, 1);
	ck_assert(!needs_reset(&rig));
	vu_rig_ask(&rig, 0, 1, 1);
	ck_assert(vu_rig_served(&rig, 0, 1, 1));
	vu_rig_stop(&rig);
}
END_TEST

/* --- it goes away ------------------------------------------------------------------- */

START_TEST(gone_while_running)
{
	struct vu_rig rig;
	unsigned int i;

	vu_rig_start(&rig);
	vu_rig_ask(&rig, 0, 1, 1);
	ck_assert(vu_rig_served(&rig, 0, 1, 1));
	fake_vu_stop(&rig.fake);
	vu_rig_turn(&rig, 50);
	ck_assert(needs_reset(&rig));
	ck_assert_uint_eq(drv_ack(&rig.drv) & 2, 2);
	/* The driver may go on poking. */
	for (i = 0; i < 3; i++) {
		drv_wr(&rig.drv, R_NOTIFY, 0);
		drv_wr(&rig.drv, R_CONFIG + 32, 1);
	}
	machine_device(&rig)->ops->quiesce(machine_device(&rig));
	ck_assert_int_ne(load_what_was_saved(&rig), 0);
	machine_device(&rig)->ops->resume(machine_device(&rig));
	ck_assert(needs_reset(&rig));
	for (i = 0; i < 3; i++)
		ck_assert(!vu_rig_go(&rig));
	/* The loop rests: nothing is watched that is always ready. */
	vu_rig_turn(&rig, 20);
	ck_assert_int_eq(loop_run_once(rig.loop, 0), 0);
	vu_rig_drop(&rig);
}
END_TEST

/* What it did before it went is not lost: the interrupt still comes. */
START_TEST(gone_after_an_answer)
{
	struct vu_rig rig;
	unsigned int i;

	vu_rig_start(&rig);
	vu_rig_ask(&rig, 0, 1, 1);
	for (i = 0; !drv_used_idx(&rig.rings[0]) && i < 400; i++)
		usleep(10000);
	usleep(20000);
	fake_vu_stop(&rig.fake);
	machine_device(&rig)->ops->quiesce(machine_device(&rig));
	ck_assert_uint_eq(drv_ack(&rig.drv), 3);
	vu_rig_drop(&rig);
}
END_TEST

/* The driver is not there yet, or not any more. */
START_TEST(gone_before_the_driver_came)
{
	struct vu_rig rig;

	vu_rig_init(&rig);
	ck_assert(vu_rig_device(&rig, blk()));
	fake_vu_stop(&rig.fake);
	vu_rig_turn(&rig, 50);
	ck_assert_uint_eq(drv_ack(&rig.drv), 0);
	ck_assert(!vu_rig_go(&rig));
	vu_rig_drop(&rig);
}
END_TEST

START_TEST(said_to_be_gone)
{
	struct vu_rig rig;

	vu_rig_start(&rig);
	vhost_user_device_gone(rig.dev, "it was eaten");
	vhost_user_device_gone(rig.dev, "twice");
	ck_assert(needs_reset(&rig));
	vu_rig_turn(&rig, 20);
	vu_rig_stop(&rig);
}
END_TEST

/* --- its channel ---------------------------------------------------------------------- */

START_TEST(channel_nonsense)
{
	static const uint8_t zeroes[256];
	uint32_t request;
	struct vu_rig rig;
	struct {
		uint32_t request, flags, size;
		uint64_t value;
	} __attribute__((packed)) reply;

	/* All numbers there are, and some there are not: refused, and nothing more. */
	vu_rig_start(&rig);
	for (request = 0; request < 14; request++) {
		if (request == 2)
			continue;
		fake_vu_ask(&rig.fake, request, 1 | 8, zeroes, 32, 0);
		vu_rig_turn(&rig, 5);
		fake_vu_lock(&rig.fake);
		ck_assert_int_eq(read(rig.fake.channel, &reply, sizeof(reply)), 20);
		fake_vu_unlock(&rig.fake);
		ck_assert_uint_eq(reply.request, request);
		ck_assert_uint_eq(reply.flags, 5);
		ck_assert_uint_eq(reply.size, 8);
		ck_assert_uint_eq(reply.value, 1);
		ck_assert(!needs_reset(&rig));
	}
	/* Not asked for: not answered. */
	fake_vu_ask(&rig.fake, 9, 1, zeroes, 32, 0);
	vu_rig_turn(&rig, 5);
	fake_vu_lock(&rig.fake);
	fcntl(rig.fake.channel, F_SETFL, O_NONBLOCK);
	ck_assert_int_eq(read(rig.fake.channel, &reply, sizeof(reply)), -1);
	fake_vu_unlock(&rig.fake);
	ck_assert(!needs_reset(&rig));
	vu_rig_stop(&rig);
}
END_TEST

static void channel_ends(uint32_t flags, uint32_t size, unsigned int fds)
{
	static const uint8_t zeroes[512];
	struct vu_rig rig;

	vu_rig_start(&rig);
	fake_vu_ask(&rig.fake, 2, flags, zeroes, size, fds);
	vu_rig_turn(&rig, 20);
	ck_assert(needs_reset(&rig));
	ck_assert_int_eq(loop_run_once(rig.loop, 0), 0);
	vu_rig_stop(&rig);
}

START_TEST(channel_breaks)
{
	channel_ends(1, 100000, 0);
	channel_ends(1, UINT32_MAX, 0);
	channel_ends(2, 0, 0);
	channel_ends(1, 0, 1);
	channel_ends(1, 0, 40);
}
END_TEST

/* Half a message keeps nobody waiting; a flood of them takes turns with the rest. */
START_TEST(channel_flood)
{
	static const uint8_t zeroes[256];
	struct vu_rig rig;
	unsigned int i;
	uint64_t start = now_ns();

	vu_rig_start(&rig);
	fake_vu_lock(&rig.fake);
	ck_assert_int_eq(write(rig.fake.channel, "\2\0\0", 3), 3);
	fake_vu_unlock(&rig.fake);
	vu_rig_turn(&rig, 5);
	ck_assert_uint_lt(now_ns() - start, 2 * NSEC_PER_SEC);
	vu_rig_ask(&rig, 0, 1, 1);
	ck_assert(vu_rig_served(&rig, 0, 1, 1));
	fake_vu_lock(&rig.fake);
	ck_assert_int_eq(write(rig.fake.channel, "\0\1\0\0\0\0\0\0\0", 9), 9);
	fake_vu_unlock(&rig.fake);
	for (i = 0; i < 200; i++)
		fake_vu_ask(&rig.fake, 9, 1, zeroes, 8, 0);
	ck_assert_int_le(loop_run_once(rig.loop, 0), 3);
	vu_rig_ask(&rig, 0, 2, 1);
	ck_assert(vu_rig_served(&rig, 0, 2, 1));
	vu_rig_turn(&rig, 5);
	ck_assert(!needs_reset(&rig));
	/* Asks, and never reads the answers. */
	for (i = 0; i < 20000 && !needs_reset(&rig); i++) {
		fake_vu_ask(&rig.fake, 9, 1 | 8, NULL, 0, 0);
		loop_run_once(rig.loop, 0);
	}
	ck_assert(needs_reset(&rig));
	vu_rig_stop(&rig);
}
END_TEST

/* --- descriptors that are shared with it ------------------------------------------------- */

/* The eventfds are the same open files on both sides: it can make them block. */
START_TEST(blocking_descriptors)
{
	static const uint64_t full = UINT64_MAX - 1;
	struct vu_rig rig;
	uint64_t count;
	unsigned int i;

	vu_rig_start(&rig);
	fake_vu_lock(&rig.fake);
	/* It turns away from one, and leaves it full. */
	rig.fake.rings[0].enabled = false;
	(void)!read(rig.fake.rings[0].kick, &count, 8);
	ck_assert_int_eq(write(rig.fake.rings[0].kick, &full, 8), 8);
	for (i = 0; i < RIG_QUEUES; i++) {
		fcntl(rig.fake.rings[i].call, F_SETFL, 0);
		fcntl(rig.fake.rings[i].kick, F_SETFL, 0);
		fcntl(rig.fake.rings[i].err, F_SETFL, 0);
	}
	fake_vu_unlock(&rig.fake);
	for (i = 0; i < 3; i++)
		drv_wr(&rig.drv, R_NOTIFY, 0);
	/* Nothing to fetch in "call": must not wait for it. */
	machine_device(&rig)->ops->quiesce(machine_device(&rig));
	machine_device(&rig)->ops->resume(machine_device(&rig));
	drv_wr(&rig.drv, R_STATUS, 0);
	ck_assert(vu_rig_go(&rig));
	vu_rig_drop(&rig);
}
END_TEST

struct filler {
	struct vu_rig rig;
	atomic_uint rung;
	atomic_bool over;
};

/* It makes "kick" block and fills it, again and again; it lets no one go who waits there. */
static void *fill(void *opaque)
{
	static const uint64_t full = UINT64_MAX - 1;
	struct filler *filler = opaque;
	int fd = filler->rig.fake.rings[0].kick;
	uint64_t count;

	while (!atomic_load(&filler->over)) {
		struct iovec iov = {&count, sizeof(count)};
		unsigned int rung = atomic_load(&filler->rung);

		(void)!preadv2(fd, &iov, 1, -1, RWF_NOWAIT);
		fcntl(fd, F_SETFL, 0);
		(void)!write(fd, &full, sizeof(full));
		while (atomic_load(&filler->rung) - rung < 2 && !atomic_load(&filler->over))
			sched_yield();
	}
	return NULL;
}

/* Whatever it does with "kick", whoever notifies is not kept waiting. */
START_TEST(kick_is_filled)
{
	struct filler filler = {.over = false};
	uint64_t start = now_ns(), count;
	unsigned int i;
	pthread_t thread;
	int fd;

	vu_rig_start(&filler.rig);
	fake_vu_lock(&filler.rig.fake);
	fd = filler.rig.fake.rings[0].kick;
	ck_assert_int_eq(pthread_create(&thread, NULL, fill, &filler), 0);
	for (i = 0; now_ns() - start < 2 * NSEC_PER_SEC; i++) {
		drv_wr(&filler.rig.drv, R_NOTIFY, 0);
		atomic_fetch_add(&filler.rung, 1);
	}
	ck_assert_uint_ge(i, 1000);
	atomic_store(&filler.over, true);
	/* It may wait itself. */
	for (i = 0; i < 10; i++) {
		struct iovec iov = {&count, sizeof(count)};

		(void)!preadv2(fd, &iov, 1, -1, RWF_NOWAIT);
		usleep(10000);
	}
	pthread_join(thread, NULL);
	/* Its other thread may be about to fetch one. */
	count = 1;
	ck_assert_int_eq(write(fd, &count, sizeof(count)), sizeof(count));
	fake_vu_unlock(&filler.rig.fake);
	vu_rig_drop(&filler.rig);
}
END_TEST

/* "call" without end: one turn of the loop each, and the driver is asked to come once. */
START_TEST(call_storm)
{
	static const uint64_t one = 1;
	struct vu_rig rig;
	unsigned int i;

	vu_rig_start(&rig);
	for (i = 0; i < 1000; i++) {
		fake_vu_lock(&rig.fake);
		ck_assert_int_eq(write(rig.fake.rings[0].call, &one, 8), 8);
		fake_vu_unlock(&rig.fake);
		ck_assert_int_le(loop_run_once(rig.loop, 0), 1);
	}
	ck_assert_uint_eq(rig.drv.edges, 1);
	/* After the device was stopped it means nothing. */
	drv_ack(&rig.drv);
	drv_wr(&rig.drv, R_STATUS, 0);
	fake_vu_lock(&rig.fake);
	ck_assert_int_eq(write(rig.fake.rings[0].call, &one, 8), 8);
	fake_vu_unlock(&rig.fake);
	vu_rig_turn(&rig, 5);
	ck_assert(!rig.drv.level);
	vu_rig_stop(&rig);
}
END_TEST

struct storm {
	struct vu_rig rig;
	atomic_bool over;
};

/* Its configuration changes while it is being read, without end. */
static void *change_again(void *opaque)
{
	struct storm *storm = opaque;
	unsigned int i;

	for (i = 0; i < 3000; i++)
		fake_vu_ask(&storm->rig.fake, 2, 1, NULL, 0, 0);
	atomic_store(&storm->over, true);
	return NULL;
}

START_TEST(config_storm)
{
	struct storm storm = {.over = false};
	pthread_t thread;

	vu_rig_start(&storm.rig);
	ck_assert_int_eq(pthread_create(&thread, NULL, change_again, &storm), 0);
	/* Well or dead, but it comes to an end: its messages are taken as they come. */
	while (!atomic_load(&storm.over))
		loop_run_once(storm.rig.loop, 1);
	pthread_join(thread, NULL);
	vu_rig_turn(&storm.rig, 5);
	vu_rig_stop(&storm.rig);
}
END_TEST

/*
 * Slow, and its configuration changes with each answer: the loop is there for others most of the
 * time, and in the end it is given up.
 */
START_TEST(slow_and_restless)
{
	struct vu_rig rig;
	uint64_t start, begin, asleep = 0, took;

	vu_rig_init(&rig);
	rig.timeout_ms = 1000;
	ck_assert(vu_rig_device(&rig, blk()));
	ck_assert(vu_rig_go(&rig));
	fake_vu_lock(&rig.fake);
	rig.fake.slow_ms = 500;
	rig.fake.restless = true;
	fake_vu_unlock(&rig.fake);
	start = now_ns();
	fake_vu_ask(&rig.fake, 2, 1, NULL, 0, 0);
	while (!needs_reset(&rig) && now_ns() - start < 30 * NSEC_PER_SEC) {
		/* A descriptor that is ready now waits as long as a turn without sleep. */
		begin = now_ns();
		loop_run_once(rig.loop, 0);
		took = now_ns() - begin;
		ck_assert_uint_lt(took, 1300 * NSEC_PER_MSEC);
		asleep += took;
		usleep(1000);
	}
	ck_assert(needs_reset(&rig));
	ck_assert_uint_ge(now_ns() - start, 2 * NSEC_PER_SEC);
	ck_assert_uint_lt(asleep, (now_ns() - start) * 3 / 4);
	vu_rig_drop(&rig);
}
END_TEST

/* Each answer comes in time, if late; all of them together are no longer waited for than one. */
START_TEST(slow_in_everything)
{
	struct vu_rig rig;
	uint64_t start;

	vu_rig_init(&rig);
	rig.timeout_ms = 600;
	ck_assert(vu_rig_device(&rig, blk()));
	ck_assert(vu_rig_go(&rig));
	fake_vu_lock(&rig.fake);
	rig.fake.slow_ms = 300;
	fake_vu_unlock(&rig.fake);
	start = now_ns();
	drv_wr(&rig.drv, R_STATUS, 0);
	vu_rig_go(&rig);
	ck_assert_uint_lt(now_ns() - start, 1500 * NSEC_PER_MSEC);
	vu_rig_turn(&rig, 10);
	vu_rig_drop(&rig);
}
END_TEST

/* Slow once is no crime, nor is being asked much. */
START_TEST(slow_once)
{
	struct vu_rig rig;
	unsigned int i;

	vu_rig_init(&rig);
	rig.timeout_ms = 2000;
	ck_assert(vu_rig_device(&rig, blk()));
	fake_vu_lock(&rig.fake);
	rig.fake.slow_ms = 300;
	fake_vu_unlock(&rig.fake);
	virtio_mmio_ops.write(rig.mmio, R_CONFIG + 32, 1, 1);
	fake_vu_lock(&rig.fake);
	rig.fake.slow_ms = 0;
	fake_vu_unlock(&rig.fake);
	for (i = 0; i < 100; i++)
		ck_assert(vu_rig_go(&rig));
	ck_assert(!needs_reset(&rig));
	vu_rig_stop(&rig);
}
END_TEST

/* The index at which it stopped is any: the guest has to live with it, not we. */
START_TEST(wrong_base)
{
	struct vu_rig rig;

	vu_rig_start(&rig);
	fake_vu_lock(&rig.fake);
	rig.fake.rings[0].last = 0x7654;
	fake_vu_unlock(&rig.fake);
	machine_device(&rig)->ops->quiesce(machine_device(&rig));
	machine_device(&rig)->ops->resume(machine_device(&rig));
	fake_vu_lock(&rig.fake);
	ck_assert_uint_eq(rig.fake.rings[0].base, 0x7654);
	rig.fake.rings[0].enabled = false;
	fake_vu_unlock(&rig.fake);
	machine_device(&rig)->ops->quiesce(machine_device(&rig));
	ck_assert_int_eq(load_what_was_saved(&rig), 0);
	drv_wr(&rig.drv, R_STATUS, 0);
	machine_device(&rig)->ops->resume(machine_device(&rig));
	ck_assert(vu_rig_go(&rig));
	vu_rig_ask(&rig, 0, 2, 1);
	ck_assert(vu_rig_served(&rig, 0, 2, 1));
	vu_rig_drop(&rig);
}
END_TEST

/* --- its state ------------------------------------------------------------------------------ */

/* It keeps the pipe open, in either direction, and nothing moves. */
START_TEST(state_without_end)
{
	static char large[300000];
	struct vu_rig rig;
	uint64_t start = now_ns();
	struct xfer x, y;

	vu_rig_init(&rig);
	rig.timeout_ms = 5 * LIMIT_MS;
	rig.fake.state = "x";
	rig.fake.state_len = 1;
	rig.fake.hold_state = true;
	ck_assert(vu_rig_device(&rig, &thinker));
	ck_assert(vu_rig_go(&rig));
	machine_device(&rig)->ops->quiesce(machine_device(&rig));
	ck_assert_int_ne(load_what_was_saved(&rig), 0);
	ck_assert(needs_reset(&rig));
	vu_rig_stop(&rig);

	vu_rig_init(&rig);
	rig.timeout_ms = 5 * LIMIT_MS;
	rig.fake.state = large;
	rig.fake.state_len = sizeof(large);
	ck_assert(vu_rig_device(&rig, &thinker));
	ck_assert(vu_rig_go(&rig));
	machine_device(&rig)->ops->quiesce(machine_device(&rig));
	xfer_save_init(&x);
	machine_device(&rig)->ops->transfer(machine_device(&rig), &x);
	ck_assert_msg(!xfer_done(&x, &rig.err), "%s", rig.err.msg);
	ck_assert_uint_gt(x.len, sizeof(large));
	fake_vu_lock(&rig.fake);
	rig.fake.hold_state = true;
	fake_vu_unlock(&rig.fake);
	xfer_load_init(&y, x.buf, x.len);
	machine_device(&rig)->ops->transfer(machine_device(&rig), &y);
	ck_assert_int_eq(xfer_done(&y, NULL), 0);
	machine_device(&rig)->ops->resume(machine_device(&rig));
	ck_assert(needs_reset(&rig));
	xfer_free(&x);
	vu_rig_stop(&rig);
	ck_assert_uint_lt(now_ns() - start, 30 * NSEC_PER_SEC);
}
END_TEST

/* --- several threads ------------------------------------------------------------------------ */

static void *turn(void *opaque)
{
	struct vu_rig *rig = opaque;

	loop_run(rig->loop);
	return NULL;
}

/* The loop's thread and a vCPU's: calls, channel, stopping and starting all at once. */
START_TEST(threads)
{
	struct vu_rig rig;
	pthread_t loop;
	unsigned int i, round;
	uint32_t id, len;

	vu_rig_start(&rig);
	ck_assert_int_eq(pthread_create(&loop, NULL, turn, &rig), 0);
	for (round = 0; round < 60; round++) {
		for (i = 0; i < 4; i++)
			vu_rig_ask(&rig, i % 2, 1, 1);
		fake_vu_ask(&rig.fake, 2, 1, NULL, 0, 0);
		if (round % 3 == 1) {
			machine_device(&rig)->ops->quiesce(machine_device(&rig));
			machine_device(&rig)->ops->resume(machine_device(&rig));
		}
		if (round % 3 == 2) {
			drv_wr(&rig.drv, R_STATUS, 0);
			ck_assert(vu_rig_go(&rig));
		}
		while (drv_get_used(&rig.rings[0], &id, &len))
			;
	}
	ck_assert(!needs_reset(&rig));
	/* And its end in the middle of that. */
	vu_rig_ask(&rig, 0, 1, 1);
	fake_vu_stop(&rig.fake);
	for (i = 0; !needs_reset(&rig) && i < 400; i++)
		usleep(10000);
	ck_assert(needs_reset(&rig));
	loop_stop(rig.loop, 0);
	pthread_join(loop, NULL);
	vu_rig_stop(&rig);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vhost-user-hostile");
	TCase *t = tcase_create("hostile");

	tcase_set_timeout(t, 180);
	tcase_add_test(t, every_request_every_way);
	tcase_add_test(t, every_second_request_every_way);
	tcase_add_test(t, refusals);
	tcase_add_test(t, gone_while_running);
	tcase_add_test(t, gone_after_an_answer);
	tcase_add_test(t, gone_before_the_driver_came);
	tcase_add_test(t, said_to_be_gone);
	tcase_add_test(t, channel_nonsense);
	tcase_add_test(t, channel_breaks);
	tcase_add_test(t, channel_flood);
	tcase_add_test(t, blocking_descriptors);
	tcase_add_test(t, kick_is_filled);
	tcase_add_test(t, call_storm);
	tcase_add_test(t, config_storm);
	tcase_add_test(t, slow_and_restless);
	tcase_add_test(t, slow_in_everything);
	tcase_add_test(t, slow_once);
	tcase_add_test(t, wrong_base);
	tcase_add_test(t, state_without_end);
	tcase_add_test(t, threads);
	suite_add_tcase(s, t);
	return unit_main(s);
}
