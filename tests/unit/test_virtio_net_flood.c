// SPDX-License-Identifier: GPL-2.0-only
/*
 * Many small packets through a network device, and no notification nor interrupt more
 * than the event indexes ask for: a driver on one thread (a vCPU), the event loop on
 * another, and a back end between them that sends each frame back and often has no room.
 *
 * The driver believes in interrupts: when it finds nothing to do it says from where on it
 * wants one, looks once more, and waits. So a completion that is not signalled, a
 * notification that the device talked the driver out of, a pass that nobody comes back for:
 * each ends in a wait without end, which is how the test fails. Split and packed rings, the
 * size of bursts left to chance.
 */
#include "net_rig.h"
#include "prng.h"
#include "unit.h"

#include <endian.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define COUNT 100000
#define LEN 60
#define SIZE (NET_HEADER + LEN)
#define NUMBER NET_FRAME_MIN /* of the frame, behind addresses and type */

/* Frames under way at most, and how many of them the back end takes. */
#define WINDOW 48
#define ROOM 24

/* Receive buffers: fewer, so that frames have to wait for them. */
#define BUFFERS 12

#define FRAMES 64

#define STUCK_S 60
#define NAP_US 20

#define SLOT_AVAIL 0x80
#define SLOT_USED 0x8000
#define EVENTS_AT_SLOT 2

/* --- the driver's rings: one descriptor a request, given back in order -------------------------
 */

/**
 * struct ring - either kind; buffer i goes with slot i
 * @added: requests the device was not asked to be notified of yet
 * @next, @used: requests offered and seen again since the start
 */
struct ring {
	struct drv_ring r;
	struct drv *drv;
	unsigned int index, added;
	uint32_t next, used;
	gpa_t buffers;
	uint16_t write;
	bool packed;
};

static uint16_t *word(const struct ring *ring, gpa_t at)
{
	return drv_ptr(ring->r.mem, at, sizeof(uint16_t));
}

static bool wrap_of(uint32_t count)
{
	return !(count / RIG_NUM % 2);
}

/* A slot and its round, as event fields have it. */
static uint16_t place(uint32_t count)
{
	return (uint16_t)(count % RIG_NUM | (wrap_of(count) ? 0x8000 : 0));
}

static void add(struct ring *ring, uint32_t len)
{
	unsigned int slot = ring->next % RIG_NUM;
	gpa_t at = ring->r.desc + 16 * (gpa_t)slot, buffer = ring->buffers + 128 * (gpa_t)slot;

	if (ring->packed) {
		uint16_t flags = wrap_of(ring->next) ? SLOT_AVAIL : SLOT_USED;
		uint64_t *half = drv_ptr(ring->r.mem, at, 16);

		__atomic_store_n(&half[0], htole64(buffer), __ATOMIC_RELAXED);
		__atomic_store_n((uint32_t *)(void *)&half[1], htole32(len), __ATOMIC_RELAXED);
		__atomic_store_n(word(ring, at + 12), htole16((uint16_t)slot), __ATOMIC_RELAXED);
		__atomic_store_n(word(ring, at + 14), htole16(flags | ring->write),
				 __ATOMIC_RELEASE);
	} else {
		drv_desc(&ring->r, slot, buffer, len, ring->write, 0);
		drv_offer(&ring->r, (uint16_t)slot);
	}
	ring->next++;
	ring->added++;
}

/* Did the device ask to hear of what was added since the last time? */
static bool asked_for(const struct ring *ring)
{
	uint32_t both;
	uint16_t event;

	if (!ring->packed) {
		event = drv_avail_event(&ring->r);
		return (uint16_t)(ring->next - event - 1) < ring->added;
	}
	/* The slot in the lower half, what it means in the upper one. */
	both = le32toh(
		__atomic_load_n((uint32_t *)(void *)word(ring, ring->r.used), __ATOMIC_ACQUIRE));
	event = (uint16_t)both;
	if ((both >> 16) != EVENTS_AT_SLOT)
		return !(both >> 16);
	return (uint16_t)(ring->next % RIG_NUM - (event & 0x7fff) +
			  (wrap_of(ring->next) == !!(event & 0x8000) ? 0 : RIG_NUM) - 1) <
	       ring->added;
}

static void kick(struct ring *ring)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (ring->added && asked_for(ring))
		drv_wr(ring->drv, R_NOTIFY, ring->index);
	ring->added = 0;
}

static bool has_used(const struct ring *ring)
{
	uint16_t flags;

	if (!ring->packed)
		return drv_used_idx(&ring->r) != (uint16_t)ring->used;
	flags = le16toh(
		__atomic_load_n(word(ring, ring->r.desc + 16 * (gpa_t)(ring->used % RIG_NUM) + 14),
				__ATOMIC_ACQUIRE));
	return !!(flags & SLOT_AVAIL) == wrap_of(ring->used) &&
	       !!(flags & SLOT_USED) == wrap_of(ring->used);
}

/* From now on an interrupt for the next one, please. */
static void arm(const struct ring *ring)
{
	if (ring->packed) {
		__atomic_store_n(word(ring, ring->r.avail), htole16(place(ring->used)),
				 __ATOMIC_RELAXED);
		__atomic_store_n(word(ring, ring->r.avail + 2), htole16(EVENTS_AT_SLOT),
				 __ATOMIC_RELEASE);
	} else {
		struct drv_ring r = ring->r;

		drv_set_used_event(&r, (uint16_t)ring->used);
	}
}

/* --- the back end: every frame comes back -------------------------------------------------------
 */

/**
 * struct echo - frames on their way back: in[head] to in[tail - 1]
 * @blocked: the device was told that there is no room
 */
struct echo {
	uint8_t in[FRAMES][SIZE];
	unsigned int head, tail;
	bool polled, blocked;
};

static bool echo_room(void *opaque, unsigned int pair)
{
	struct echo *e = opaque;

	(void)pair;
	e->blocked = e->tail - e->head >= ROOM;
	return !e->blocked;
}

static int echo_send(void *opaque, unsigned int pair, const struct iovec *iov, unsigned int nr,
		     size_t len)
{
	struct echo *e = opaque;
	uint8_t *to = e->in[e->tail++ % FRAMES];
	unsigned int i;

	(void)pair;
	ck_assert_uint_eq(len, LEN);
	for (i = 0; i < nr; to += iov[i++].iov_len)
		memcpy(to, iov[i].iov_base, iov[i].iov_len);
	return 0;
}

static long echo_recv(void *opaque, unsigned int pair, const uint8_t **frame)
{
	struct echo *e = opaque;

	(void)pair;
	if (e->head == e->tail)
		return 0;
	*frame = e->in[e->head++ % FRAMES];
	return LEN;
}

static void echo_poll(void *opaque, unsigned int pair, bool on)
{
	(void)pair;
	((struct echo *)opaque)->polled = on;
}

static void echo_close(void *opaque)
{
	(void)opaque;
}

static const struct net_backend_ops echo_ops = {
	.room = echo_room,
	.send = echo_send,
	.recv = echo_recv,
	.poll = echo_poll,
	.close = echo_close,
};

/* --- the loop ------------------------------------------------------------------------------------
 */

struct world {
	struct net_rig rig;
	struct echo echo;
	struct ring rx, tx;
	atomic_bool stop;
};

/* It does what it was asked to do, and nothing else. */
static void *loop_thread(void *opaque)
{
	struct world *w = opaque;
	struct virtio_device *vdev = virtio_net_device(w->rig.net);
	unsigned int done = 0;

	while (!atomic_load(&w->stop)) {
		bool again, readable, writable;

		virtio_enter_device(vdev);
		again = w->rig.soon != done;
		done = w->rig.soon;
		readable = w->echo.polled && w->echo.head != w->echo.tail;
		writable = w->echo.blocked && w->echo.tail - w->echo.head < ROOM;
		virtio_leave(vdev);
		if (again)
			virtio_device_run(vdev);
		if (readable)
			virtio_net_readable(w->rig.net, 0);
		if (writable)
			virtio_net_writable(w->rig.net, 0);
		if (!again && !readable && !writable)
			usleep(NAP_US);
	}
	return NULL;
}

/* --- the driver
 * ------------------------------------------------------------------------------------ */

static void init_ring(struct world *w, struct ring *ring, unsigned int index, bool packed)
{
	*ring = (struct ring){
		.r = w->rig.ring[index],
		.drv = &w->rig.drv,
		.index = index,
		.buffers = index ? RIG_TX : RIG_RX,
		.write = index ? 0 : DRV_WRITE,
		.packed = packed,
	};
	arm(ring);
}

static uint8_t *buffer_of(const struct ring *ring, uint32_t count)
{
	return drv_ptr(ring->r.mem, ring->buffers + 128 * (gpa_t)(count % RIG_NUM), SIZE);
}

static void send_one(struct world *w)
{
	uint8_t *at = buffer_of(&w->tx, w->tx.next);

	memset(at, 0, NET_HEADER);
	net_rig_make(at + NET_HEADER, LEN, 0);
	memcpy(at + NET_HEADER + NUMBER, &w->tx.next, sizeof(w->tx.next));
	add(&w->tx, SIZE);
}

/* Frames come back in the order in which they went. */
static void receive_one(struct world *w)
{
	uint32_t number;

	memcpy(&number, buffer_of(&w->rx, w->rx.used) + NET_HEADER + NUMBER, sizeof(number));
	if (number != w->rx.used)
		ck_abort_msg("frame %u came as number %u", number, w->rx.used);
	w->rx.used++;
	add(&w->rx, 128);
}

/* Often one, else up to @max. */
static unsigned int some(struct prng *prng, unsigned int max)
{
	return prng_below(prng, 3) ? 1 + prng_below(prng, max) : 1;
}

/* What there is to do now, in bursts. Was there anything? */
static bool work(struct world *w, unsigned int window, unsigned int burst)
{
	bool any = false;

	for (; has_used(&w->tx); any = true)
		w->tx.used++;
	for (; has_used(&w->rx); any = true) {
		receive_one(w);
		if (w->rx.added >= burst)
			kick(&w->rx);
	}
	kick(&w->rx);
	while (w->tx.next < COUNT && w->tx.next - w->rx.used < window &&
	       w->tx.next - w->tx.used < RIG_NUM) {
		send_one(w);
		any = true;
		if (w->tx.added >= burst)
			kick(&w->tx);
	}
	kick(&w->tx);
	return any;
}

static void await_interrupt(struct world *w)
{
	unsigned int naps = 0;

	while (!drv_rd(&w->rig.drv, R_INT_STATUS)) {
		if (naps++ > STUCK_S * (1000000 / NAP_US) / 4)
			ck_abort_msg("no interrupt: %u offered, %u given back, %u received",
				     w->tx.next, w->tx.used, w->rx.used);
		usleep(NAP_US);
	}
}

static void drive(struct world *w)
{
	struct prng prng = prng_start("flood");

	while (w->rx.used < COUNT || w->tx.used < COUNT) {
		unsigned int window = some(&prng, WINDOW), burst = some(&prng, 16);

		drv_ack(&w->rig.drv);
		while (work(w, window, burst))
			;
		if (w->rx.used == COUNT && w->tx.used == COUNT)
			break;
		arm(&w->tx);
		arm(&w->rx);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (!has_used(&w->tx) && !has_used(&w->rx))
			await_interrupt(w);
	}
}

static void flood(uint64_t features, bool packed)
{
	static struct world w;
	struct net_backend backend = {.ops = &echo_ops, .opaque = &w.echo, .pairs = 1};
	pthread_t thread;
	unsigned int i;

	memset(&w, 0, sizeof(w));
	net_rig_prepare(&w.rig);
	net_rig_over(&w.rig, &net_rig_config, backend);
	net_rig_go(&w.rig, features);
	init_ring(&w, &w.rx, 0, packed);
	init_ring(&w, &w.tx, 1, packed);
	for (i = 0; i < BUFFERS; i++)
		add(&w.rx, 128);
	kick(&w.rx);
	atomic_init(&w.stop, false);
	ck_assert_int_eq(pthread_create(&thread, NULL, loop_thread, &w), 0);
	drive(&w);
	atomic_store(&w.stop, true);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(w.tx.used, COUNT);
	ck_assert_uint_eq(w.rx.used, COUNT);
	net_rig_stop(&w.rig);
}

START_TEST(split_ring)
{
	flood(VIRTIO_BIT(NET_F_MRG_RXBUF) | FEAT_EVENT_IDX, false);
}
END_TEST

START_TEST(packed_ring)
{
	flood(VIRTIO_BIT(NET_F_MRG_RXBUF) | FEAT_EVENT_IDX | FEAT_RING_PACKED, true);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio-net-flood");
	TCase *t = tcase_create("flood");

	tcase_set_timeout(t, 240);
	tcase_add_test(t, split_ring);
	tcase_add_test(t, packed_ring);
	suite_add_tcase(s, t);
	return unit_main(s);
}
