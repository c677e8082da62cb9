// SPDX-License-Identifier: GPL-2.0-only
/*
 * The console device against a driver that knows the rules and one that doesn't:
 * output to hosts that take everything, little, nothing; input before, while and after
 * the driver listens; the control queues' whole talk; hostile messages (C13); resets,
 * save and load in the middle of it.
 */
#include "prng.h"
#include "unit.h"
#include "virtio_driver.h"

#include "lkvm/virtio/console.h"
#include "lkvm/virtio/mmio.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#define NUM 16
#define RINGS (DRV_RAM + 0x10000)
#define DATA (DRV_RAM + MIB)
#define BUFFERS (DRV_RAM + 2 * MIB)
#define MAX_PORTS 4
#define NR_QUEUES (2 * MAX_PORTS + 2)

#define F_SIZE UINT64_C(1)
#define F_MULTIPORT UINT64_C(2)
#define F_EMERG UINT64_C(4)

#define HELD (256 * 1024)

/* One port's host. */
struct host {
	uint8_t held[HELD];
	size_t len;	/* of what it was given, also beyond HELD */
	size_t takes;	/* how much more it takes */
	size_t largest; /* one write */
	unsigned int writes, wants, destroyed;
};

struct rig {
	struct guest_memory mem;
	struct drv drv;
	struct virtio_console *con;
	struct virtio_mmio *mmio;
	struct drv_ring ring[NR_QUEUES];
	struct host host[MAX_PORTS];
	unsigned int nr, soons, nr_queues;
};

static size_t on_write(void *opaque, const void *buf, size_t len)
{
	struct host *h = opaque;

	h->writes++;
	if (len > h->largest)
		h->largest = len;
	len = min_u64(len, h->takes);
	if (h->len < HELD)
		memcpy(h->held + h->len, buf, min_u64(len, HELD - h->len));
	h->len += len;
	h->takes -= len;
	return len;
}

static void on_want_input(void *opaque)
{
	((struct host *)opaque)->wants++;
}

static void on_destroy(void *opaque)
{
	((struct host *)opaque)->destroyed++;
}

static const struct virtio_console_port_ops port_ops = {
	.write = on_write,
	.want_input = on_want_input,
	.destroy = on_destroy,
};

static void run_soon(void *opaque)
{
	((struct rig *)opaque)->soons++;
}

static const struct virtio_transport_env transport_env = {.run_soon = run_soon};

static void make(struct rig *rig, const struct virtio_console_port *ports, unsigned int nr)
{
	rig->nr = nr;
	rig->nr_queues = nr > 1 ? 2 * nr + 2 : 2;
	rig->con = virtio_console_create("console0", &rig->mem, NULL, ports, nr);
	ck_assert_ptr_nonnull(rig->con);
	rig->mmio = virtio_mmio_create(virtio_console_device(rig->con), drv_line(&rig->drv),
				       &transport_env, rig);
	rig->drv.dev = rig->mmio;
	ck_assert_uint_eq(drv_rd(&rig->drv, R_DEVICE_ID), 3);
}

static void start(struct rig *rig)
{
	const struct virtio_console_port port = {&port_ops, &rig->host[0], NULL, true, true};

	memset(rig, 0, sizeof(*rig));
	drv_memory(&rig->mem);
	rig->host[0].takes = SIZE_MAX;
	make(rig, &port, 1);
}

/* Port 0 a console where @console, 1 connected, 2 not, 3 none at all. */
static void make_ports(struct rig *rig, bool console)
{
	struct virtio_console_port ports[MAX_PORTS] = {
		{&port_ops, &rig->host[0], NULL, true, true},
		{&port_ops, &rig->host[1], "org.example.one", false, true},
		{&port_ops, &rig->host[2], "two", false, false},
		{.ops = NULL},
	};

	if (!console)
		ports[0] = (struct virtio_console_port){.ops = NULL};
	make(rig, ports, MAX_PORTS);
}

static void start_ports(struct rig *rig, bool console)
{
	unsigned int i;

	memset(rig, 0, sizeof(*rig));
	drv_memory(&rig->mem);
	for (i = 0; i < MAX_PORTS; i++)
		rig->host[i].takes = SIZE_MAX;
	make_ports(rig, console);
}

/* The driver, with all queues. */
static void go(struct rig *rig, uint64_t features)
{
	gpa_t at = RINGS;
	unsigned int i, nr = features & F_MULTIPORT ? rig->nr_queues : 2;

	ck_assert(drv_start(&rig->drv, features));
	for (i = 0; i < nr; i++) {
		at = drv_ring_init(&rig->ring[i], &rig->mem, NUM, at);
		ck_assert(drv_queue(&rig->drv, i, &rig->ring[i]));
	}
	drv_go(&rig->drv);
}

static void stop(struct rig *rig)
{
	virtio_mmio_device(rig->mmio)->ops->destroy(virtio_mmio_device(rig->mmio));
	memory_destroy(&rig->mem);
}

static void kick(struct rig *rig, unsigned int queue)
{
	drv_wr(&rig->drv, R_NOTIFY, queue);
}

/* Send @len bytes at DATA; they are pattern bytes where @text is NULL. */
static void send(struct rig *rig, unsigned int queue, const char *text, uint32_t len)
{
	if (text)
		memcpy(drv_ptr(&rig->mem, DATA, len), text, len);
	drv_add(&rig->ring[queue], &(struct drv_seg){DATA, len, 0}, 1);
	kick(rig, queue);
}

static unsigned int used(struct rig *rig, unsigned int queue)
{
	uint32_t id, len;
	unsigned int n = 0;

	while (drv_get_used(&rig->ring[queue], &id, &len))
		n++;
	return n;
}

/* Offer @nr receive buffers of @len bytes. */
static void offer(struct rig *rig, unsigned int queue, unsigned int nr, uint32_t len)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		uint16_t at = rig->ring[queue].next % NUM;

		drv_add(&rig->ring[queue],
			&(struct drv_seg){BUFFERS + queue * 0x20000 + at * 0x1000, len, DRV_WRITE},
			1);
	}
	kick(rig, queue);
}

/* The next filled receive buffer: its bytes, or NULL. */
static const uint8_t *got(struct rig *rig, unsigned int queue, uint32_t *len)
{
	uint32_t id;

	if (!drv_get_used(&rig->ring[queue], &id, len))
		return NULL;
	return drv_ptr(&rig->mem, BUFFERS + queue * 0x20000 + (gpa_t)id * 0x1000, 0x1000);
}

static void ck_got(struct rig *rig, unsigned int queue, const char *text)
{
	uint32_t len;
	const uint8_t *p = got(rig, queue, &len);

	ck_assert_ptr_nonnull(p);
	ck_assert_uint_eq(len, strlen(text));
	ck_assert_int_eq(memcmp(p, text, len), 0);
}

static void control(struct rig *rig, uint32_t id, uint16_t event, uint16_t value)
{
	const uint64_t message = htole64(id | (uint64_t)event << 32 | (uint64_t)value << 48);

	send(rig, 3, (const char *)&message, 8);
	used(rig, 3);
}

/* The next control message is this, and what follows its head is @tail. */
static void ck_control(struct rig *rig, uint32_t id, uint16_t event, uint16_t value,
		       const void *tail, uint32_t tail_len)
{
	uint32_t len;
	const uint8_t *p = got(rig, 2, &len);
	uint64_t message;

	ck_assert_msg(p, "no message %u for port %u", event, id);
	ck_assert_uint_eq(len, 8 + tail_len);
	memcpy(&message, p, 8);
	message = le64toh(message);
	ck_assert_uint_eq((uint32_t)message, id);
	ck_assert_uint_eq((uint16_t)(message >> 32), event);
	ck_assert_uint_eq((uint16_t)(message >> 48), value);
	ck_assert_int_eq(memcmp(p + 8, tail, tail_len), 0);
}

static void ck_silent(struct rig *rig)
{
	uint32_t len;

	ck_assert_ptr_null(got(rig, 2, &len));
}

/* A driver as Linux is, up to all ports open. */
static void open_ports(struct rig *rig)
{
	go(rig, F_MULTIPORT);
	offer(rig, 2, NUM, 128);
	control(rig, UINT32_MAX, 0, 1);
	ck_control(rig, 1, 1, 1, "", 0);
	ck_control(rig, 2, 1, 1, "", 0);
	ck_silent(rig);
	control(rig, 1, 3, 1);
	ck_control(rig, 1, 7, 1, "org.example.one", 15);
	ck_control(rig, 1, 6, 1, "", 0);
	control(rig, 2, 3, 1);
	ck_control(rig, 2, 7, 1, "two", 3);
	ck_silent(rig);
	control(rig, 1, 6, 1);
	control(rig, 2, 6, 1);
	offer(rig, 2, 5, 128);
	ck_silent(rig);
}

/* --- configuration -------------------------------------------------------------- */

START_TEST(features_and_config)
{
	const struct virtio_console_port none = {.ops = NULL};
	struct virtio_console_port many[VIRTIO_CONSOLE_MAX_PORTS + 1] = {{.ops = NULL}};
	struct guest_memory mem;
	struct rig rig;

	start(&rig);
	ck_assert_uint_eq(drv_features(&rig.drv) & 0xff, F_SIZE | F_EMERG);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG), 0);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 4), 0);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 8), 0);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 12), 0);
	/* Two queues and no more. */
	drv_wr(&rig.drv, R_QUEUE_SEL, 1);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_QUEUE_NUM_MAX), 128);
	drv_wr(&rig.drv, R_QUEUE_SEL, 2);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_QUEUE_NUM_MAX), 0);
	stop(&rig);
	ck_assert_uint_eq(rig.host[0].destroyed, 1);

	start_ports(&rig, true);
	ck_assert_uint_eq(drv_features(&rig.drv) & 0xff, F_SIZE | F_EMERG | F_MULTIPORT);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 4), MAX_PORTS);
	stop(&rig);
	start_ports(&rig, false);
	ck_assert_uint_eq(drv_features(&rig.drv) & 0xff, F_MULTIPORT);
	virtio_console_resize(rig.con, 80, 25);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG), 0);
	stop(&rig);

	memory_init(&mem);
	ck_assert_ptr_null(virtio_console_create("c", &mem, NULL, &none, 0));
	ck_assert_ptr_null(
		virtio_console_create("c", &mem, NULL, many, VIRTIO_CONSOLE_MAX_PORTS + 1));
}
END_TEST

START_TEST(window_size)
{
	struct rig rig;
	uint32_t generation;

	start(&rig);
	virtio_console_resize(rig.con, 80, 25);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG), 80 | 25 << 16);
	ck_assert(!rig.drv.level);
	go(&rig, F_SIZE);
	generation = drv_rd(&rig.drv, R_GENERATION);
	virtio_console_resize(rig.con, 80, 25);
	ck_assert(!rig.drv.level);
	virtio_console_resize(rig.con, 132, 43);
	ck_assert_uint_eq(drv_ack(&rig.drv), 2);
	ck_assert_uint_ne(drv_rd(&rig.drv, R_GENERATION), generation);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG), 132 | 43 << 16);
	/* Read-only, as are the ports. */
	drv_wr(&rig.drv, R_CONFIG, 0xffffffff);
	drv_wr(&rig.drv, R_CONFIG + 4, 0xffffffff);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG), 132 | 43 << 16);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 4), 0);
	ck_assert_uint_eq(rig.host[0].len, 0);
	stop(&rig);
}
END_TEST

START_TEST(emergency_write)
{
	struct rig rig;

	start(&rig);
	/* Nothing is set up; 'H' with garbage above it. */
	drv_wr(&rig.drv, R_CONFIG + 8, 0xffffff00 | 'H');
	virtio_mmio_ops.write(rig.drv.dev, R_CONFIG + 8, 'e', 1);
	virtio_mmio_ops.write(rig.drv.dev, R_CONFIG + 8, 'l', 2);
	virtio_mmio_ops.write(rig.drv.dev, R_CONFIG + 9, 'X', 1);
	virtio_mmio_ops.write(rig.drv.dev, R_CONFIG + 10, 'X', 2);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 8), 0);
	/* And when all is lost. */
	go(&rig, 0);
	drv_wr(&rig.drv, R_STATUS, ST_ACK | ST_DRIVER | ST_FEATURES_OK | ST_DRIVER_OK | ST_FAILED);
	drv_wr(&rig.drv, R_CONFIG + 8, 'p');
	ck_assert_uint_eq(rig.host[0].len, 4);
	ck_assert_int_eq(memcmp(rig.host[0].held, "Help", 4), 0);
	/* A host that takes nothing does not hold it up. */
	rig.host[0].takes = 0;
	drv_wr(&rig.drv, R_CONFIG + 8, 'x');
	drv_wr(&rig.drv, R_CONFIG + 8, 'x');
	ck_assert_uint_eq(rig.host[0].len, 4);
	rig.host[0].takes = SIZE_MAX;
	virtio_console_drained(rig.con, 0);
	drv_wr(&rig.drv, R_CONFIG + 8, '!');
	ck_assert_uint_eq(rig.host[0].len, 5);
	stop(&rig);
	/* No console, no emergency. */
	start_ports(&rig, false);
	drv_wr(&rig.drv, R_CONFIG + 8, 'H');
	ck_assert_uint_eq(rig.host[1].len, 0);
	stop(&rig);
}
END_TEST

/* --- output ------------------------------------------------------------------- */

START_TEST(output)
{
	const struct drv_seg segs[] = {{DATA, 5, 0}, {DATA + 0x100, 0, 0}, {DATA + 0x200, 7, 0}};
	const struct drv_seg both[] = {{DATA, 5, 0}, {DATA + 0x300, 4, DRV_WRITE}};
	struct rig rig;
	uint32_t id, len;

	start(&rig);
	go(&rig, 0);
	send(&rig, 1, "Hello", 5);
	ck_assert(drv_get_used(&rig.ring[1], &id, &len));
	ck_assert_uint_eq(len, 0);
	ck_assert(rig.drv.level);
	memcpy(drv_ptr(&rig.mem, DATA, 5), ", the", 5);
	memcpy(drv_ptr(&rig.mem, DATA + 0x200, 7), " world\n", 7);
	drv_add(&rig.ring[1], segs, 3);
	kick(&rig, 1);
	ck_assert_uint_eq(used(&rig, 1), 1);
	ck_assert_uint_eq(rig.host[0].len, 17);
	ck_assert_int_eq(memcmp(rig.host[0].held, "Hello, the world\n", 17), 0);
	/* Nothing at all, and a part that no driver should send. */
	send(&rig, 1, NULL, 0);
	memset(drv_ptr(&rig.mem, DATA + 0x300, 4), 0x5a, 4);
	drv_add(&rig.ring[1], both, 2);
	kick(&rig, 1);
	ck_assert_uint_eq(used(&rig, 1), 2);
	ck_assert_uint_eq(rig.host[0].len, 22);
	ck_assert_uint_eq(*(uint8_t *)drv_ptr(&rig.mem, DATA + 0x300, 1), 0x5a);
	stop(&rig);
}
END_TEST

/* The reader takes 3 bytes, then some, then all. */
START_TEST(slow_reader)
{
	struct rig rig;

	start(&rig);
	go(&rig, 0);
	rig.host[0].takes = 3;
	send(&rig, 1, "first ", 6);
	send(&rig, 1, "second", 6);
	ck_assert_uint_eq(used(&rig, 1), 0);
	ck_assert_uint_eq(rig.host[0].len, 3);
	/* It is not asked again before it says so. */
	ck_assert_uint_eq(rig.host[0].writes, 1);
	rig.host[0].takes = 1;
	kick(&rig, 1);
	ck_assert_uint_eq(rig.host[0].writes, 1);
	virtio_console_drained(rig.con, 0);
	ck_assert_uint_eq(rig.host[0].len, 4);
	ck_assert_uint_eq(used(&rig, 1), 0);
	rig.host[0].takes = SIZE_MAX;
	/* The bytes are read from the guest when they are written, and not before. */
	memcpy(drv_ptr(&rig.mem, DATA, 6), "SECOND", 6);
	virtio_console_drained(rig.con, 0);
	ck_assert_uint_eq(used(&rig, 1), 2);
	ck_assert_uint_eq(rig.host[0].len, 12);
	ck_assert_int_eq(memcmp(rig.host[0].held, "firoNDSECOND", 12), 0);
	stop(&rig);
}
END_TEST

/* C13: a gigabyte at a reader that takes nothing, and at one that takes all. */
START_TEST(gigabyte)
{
	struct drv_seg segs[NUM];
	struct rig rig;
	uint64_t total = 0;
	unsigned int i;

	start(&rig);
	go(&rig, 0);
	for (i = 0; i < NUM; i++)
		segs[i] = (struct drv_seg){DRV_RAM + DRV_BANK, (uint32_t)DRV_BANK, 0};
	rig.host[0].takes = 0;
	for (i = 0; i < 16; i++) {
		drv_chain(&rig.ring[1], segs, NUM);
		drv_offer(&rig.ring[1], 0);
		kick(&rig, 1);
		ck_assert_uint_eq(used(&rig, 1), 0);
		if (i)
			continue;
		/* The same head is not offered again before it was used. */
		ck_assert_uint_eq(rig.host[0].writes, 1);
		rig.host[0].takes = SIZE_MAX;
		virtio_console_drained(rig.con, 0);
		while (rig.soons) {
			rig.soons = 0;
			/* One pass writes a MiB at most. */
			ck_assert_uint_le(rig.host[0].len - total, MIB);
			total = rig.host[0].len;
			virtio_device_run(virtio_console_device(rig.con));
		}
		ck_assert_uint_eq(rig.host[0].len, NUM * DRV_BANK);
		ck_assert_uint_eq(used(&rig, 1), 1);
		i = 15;
	}
	/* 1 GiB in all, piece by piece. */
	for (total = rig.host[0].len; total < GIB;) {
		drv_offer(&rig.ring[1], 0);
		kick(&rig, 1);
		while (rig.soons) {
			rig.soons = 0;
			virtio_device_run(virtio_console_device(rig.con));
		}
		ck_assert_uint_eq(used(&rig, 1), 1);
		total += NUM * DRV_BANK;
	}
	ck_assert_uint_eq(rig.host[0].len, GIB);
	ck_assert_uint_le(rig.host[0].largest, MIB);
	stop(&rig);
}
END_TEST

static uint64_t enough_at;

static bool on_finish(void *opaque, uint64_t deadline)
{
	(void)opaque;
	ck_assert(enough_at ? deadline == enough_at : deadline > now_ns());
	ck_assert_uint_lt(deadline, now_ns() + 10 * NSEC_PER_SEC);
	enough_at = deadline;
	return true;
}

static const struct virtio_console_port_ops finish_ops = {
	.write = on_write,
	.finish = on_finish,
};

/* The guest ends with a request of which one pass has taken a part, and who is not served
 * then does not hold up the end. */
START_TEST(ends_in_the_middle)
{
	struct virtio_device *vdev;
	struct rig rig;

	memset(&rig, 0, sizeof(rig));
	drv_memory(&rig.mem);
	rig.host[0].takes = SIZE_MAX;
	make(&rig, &(struct virtio_console_port){&finish_ops, &rig.host[0], NULL, true, true}, 1);
	vdev = virtio_console_device(rig.con);
	go(&rig, 0);
	enough_at = 0;
	drv_add(&rig.ring[1], &(struct drv_seg){DRV_RAM + DRV_BANK, 3 * MIB, 0}, 1);
	kick(&rig, 1);
	ck_assert_uint_eq(rig.host[0].len, MIB);
	if (_i == 1)
		drv_wr(&rig.drv, R_STATUS, 0x8f);
	else if (_i == 2)
		virtio_device_quiesce(vdev);
	else if (_i == 3)
		drv_set_avail_idx(&rig.ring[1], 100);
	vdev->ops->finish(vdev);
	ck_assert_uint_eq(rig.host[0].len, _i ? MIB : 3 * MIB);
	stop(&rig);
}
END_TEST

/* One port that stands still does not hold up the others, nor the control queue. */
START_TEST(only_this_port)
{
	struct rig rig;

	start_ports(&rig, false);
	open_ports(&rig);
	rig.host[1].takes = 0;
	send(&rig, 5, "stuck", 5);
	ck_assert_uint_eq(used(&rig, 5), 0);
	virtio_console_connect(rig.con, 2, true);
	ck_control(&rig, 2, 6, 1, "", 0);
	send(&rig, 7, "flows", 5);
	ck_assert_uint_eq(used(&rig, 7), 1);
	ck_assert_int_eq(memcmp(rig.host[2].held, "flows", 5), 0);
	/* The reader leaves: what waits is dropped, the guest goes on. */
	virtio_console_connect(rig.con, 1, false);
	ck_control(&rig, 1, 6, 0, "", 0);
	ck_assert_uint_eq(used(&rig, 5), 1);
	send(&rig, 5, "nobody", 6);
	ck_assert_uint_eq(used(&rig, 5), 1);
	ck_assert_uint_eq(rig.host[1].len, 0);
	rig.host[1].takes = SIZE_MAX;
	virtio_console_connect(rig.con, 1, true);
	ck_control(&rig, 1, 6, 1, "", 0);
	send(&rig, 5, "again", 5);
	ck_assert_uint_eq(rig.host[1].len, 5);
	stop(&rig);
}
END_TEST

/* --- input -------------------------------------------------------------------- */

START_TEST(input)
{
	struct rig rig;
	char text[VIRTIO_CONSOLE_INPUT + 1];
	uint32_t len;
	const uint8_t *p;

	start(&rig);
	ck_assert_uint_eq(virtio_console_room(rig.con, 0), 0);
	go(&rig, 0);
	ck_assert_uint_eq(rig.host[0].wants, 0);
	offer(&rig, 0, 2, 5);
	ck_assert_uint_eq(rig.host[0].wants, 1);
	ck_assert_uint_eq(virtio_console_room(rig.con, 0), VIRTIO_CONSOLE_INPUT);
	ck_assert_uint_eq(used(&rig, 0), 0);
	virtio_console_input(rig.con, 0, "abc", 3);
	ck_assert(rig.drv.level);
	ck_got(&rig, 0, "abc");
	/* Two buffers' worth and more: the rest waits. */
	virtio_console_input(rig.con, 0, "defghij", 7);
	ck_got(&rig, 0, "defgh");
	ck_assert_ptr_null(got(&rig, 0, &len));
	ck_assert_uint_eq(virtio_console_waiting(rig.con, 0), 2);
	ck_assert_uint_eq(virtio_console_room(rig.con, 0), VIRTIO_CONSOLE_INPUT - 2);
	offer(&rig, 0, 1, 5);
	ck_got(&rig, 0, "ij");
	/* As much as there is room for, with no buffer at all. */
	memset(text, 'x', sizeof(text));
	virtio_console_input(rig.con, 0, text, VIRTIO_CONSOLE_INPUT);
	ck_assert_uint_eq(virtio_console_room(rig.con, 0), 0);
	/* Who sends more than that loses it, and nothing else happens. */
	virtio_console_input(rig.con, 0, text, sizeof(text));
	rig.host[0].wants = 0;
	offer(&rig, 0, 1, 4000);
	ck_assert_uint_eq(rig.host[0].wants, 0);
	p = got(&rig, 0, &len);
	ck_assert_ptr_nonnull(p);
	ck_assert_uint_eq(len, 4000);
	offer(&rig, 0, 3, 4000);
	ck_assert_uint_eq(rig.host[0].wants, 1);
	p = got(&rig, 0, &len);
	ck_assert_ptr_nonnull(p);
	ck_assert_uint_eq(len, VIRTIO_CONSOLE_INPUT - 4000);
	ck_assert_ptr_null(got(&rig, 0, &len));
	stop(&rig);
}
END_TEST

/* What drivers must not do: buffers to read, of no bytes. They come back empty. */
START_TEST(bad_receive_buffers)
{
	struct rig rig;
	uint32_t id, len;

	start(&rig);
	go(&rig, 0);
	memset(drv_ptr(&rig.mem, DATA, 8), 0x5a, 8);
	drv_add(&rig.ring[0], &(struct drv_seg){DATA, 8, 0}, 1);
	drv_add(&rig.ring[0], &(struct drv_seg){DATA, 0, DRV_WRITE}, 1);
	offer(&rig, 0, 1, 8);
	virtio_console_input(rig.con, 0, "abc", 3);
	ck_assert(drv_get_used(&rig.ring[0], &id, &len));
	ck_assert_uint_eq(len, 0);
	ck_assert(drv_get_used(&rig.ring[0], &id, &len));
	ck_assert_uint_eq(len, 0);
	ck_got(&rig, 0, "abc");
	ck_assert_uint_eq(*(uint8_t *)drv_ptr(&rig.mem, DATA, 1), 0x5a);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_STATUS) & ST_NEEDS_RESET, 0);
	stop(&rig);
}
END_TEST

/* Input is not lost to a reset: the next system gets it. */
START_TEST(input_over_a_reset)
{
	struct rig rig;

	start(&rig);
	go(&rig, 0);
	virtio_console_input(rig.con, 0, "early", 5);
	ck_assert_uint_eq(virtio_console_room(rig.con, 0), VIRTIO_CONSOLE_INPUT - 5);
	drv_wr(&rig.drv, R_STATUS, 0);
	ck_assert_uint_eq(virtio_console_room(rig.con, 0), 0);
	go(&rig, 0);
	offer(&rig, 0, 1, 100);
	ck_got(&rig, 0, "early");
	stop(&rig);
}
END_TEST

/* --- control ------------------------------------------------------------------ */

START_TEST(talk)
{
	const uint16_t size[2] = {htole16(100), htole16(30)};
	struct rig rig;

	start_ports(&rig, true);
	virtio_console_resize(rig.con, 100, 30);
	go(&rig, F_MULTIPORT | F_SIZE);
	offer(&rig, 2, NUM, 128);
	ck_silent(&rig);
	control(&rig, 0, 0, 1);
	ck_control(&rig, 0, 1, 1, "", 0);
	ck_control(&rig, 1, 1, 1, "", 0);
	ck_control(&rig, 2, 1, 1, "", 0);
	ck_silent(&rig);
	/* Ready again: a port is added once. */
	control(&rig, 0, 0, 1);
	ck_silent(&rig);
	control(&rig, 0, 3, 1);
	ck_control(&rig, 0, 4, 1, "", 0);
	ck_control(&rig, 0, 5, 1, size, 4);
	ck_control(&rig, 0, 6, 1, "", 0);
	control(&rig, 0, 3, 1);
	control(&rig, 2, 3, 0);
	ck_silent(&rig);
	control(&rig, 2, 3, 1);
	ck_control(&rig, 2, 7, 1, "two", 3);
	/* No room before the driver opens a port; then it is asked for. */
	ck_assert_uint_eq(virtio_console_room(rig.con, 0), 0);
	offer(&rig, 0, 1, 100);
	ck_assert_uint_eq(rig.host[0].wants, 0);
	control(&rig, 0, 6, 1);
	ck_assert_uint_eq(rig.host[0].wants, 1);
	ck_assert_uint_eq(virtio_console_room(rig.con, 0), VIRTIO_CONSOLE_INPUT);
	ck_assert_uint_eq(virtio_console_room(rig.con, 2), 0);
	virtio_console_input(rig.con, 0, "hi", 2);
	ck_got(&rig, 0, "hi");
	control(&rig, 0, 6, 0);
	ck_assert_uint_eq(virtio_console_room(rig.con, 0), 0);
	/* The window grows; both ways tell of it. */
	drv_ack(&rig.drv);
	virtio_console_resize(rig.con, 30, 100);
	ck_assert_uint_eq(drv_ack(&rig.drv), 3);
	ck_control(&rig, 0, 5, 1, (const uint16_t[]){htole16(30), htole16(100)}, 4);
	/* Who connects, and leaves, and does so while the driver has no buffers. */
	virtio_console_connect(rig.con, 2, true);
	ck_control(&rig, 2, 6, 1, "", 0);
	virtio_console_connect(rig.con, 2, true);
	ck_silent(&rig);
	virtio_console_connect(rig.con, 2, false);
	ck_control(&rig, 2, 6, 0, "", 0);
	stop(&rig);
}
END_TEST

/* Messages wait for buffers, in order, and only the last word counts. */
START_TEST(no_control_buffers)
{
	struct rig rig;

	start_ports(&rig, false);
	go(&rig, F_MULTIPORT);
	control(&rig, 0, 0, 1);
	control(&rig, 0, 0, 1);
	offer(&rig, 2, 1, 128);
	ck_control(&rig, 1, 1, 1, "", 0);
	control(&rig, 1, 3, 1);
	/* Port 2 does not exist for the driver yet. */
	control(&rig, 2, 3, 1);
	control(&rig, 2, 6, 1);
	virtio_console_connect(rig.con, 1, false);
	virtio_console_connect(rig.con, 1, true);
	virtio_console_connect(rig.con, 1, false);
	offer(&rig, 2, 8, 128);
	ck_control(&rig, 1, 7, 1, "org.example.one", 15);
	ck_control(&rig, 2, 1, 1, "", 0);
	ck_silent(&rig);
	control(&rig, 2, 3, 1);
	ck_control(&rig, 2, 7, 1, "two", 3);
	ck_silent(&rig);
	stop(&rig);
}
END_TEST

START_TEST(hostile_control)
{
	static const uint32_t ids[] = {0, 3, 4, 31, 32, 0x7fffffff, 0x80000000, UINT32_MAX};
	struct rig rig;
	uint32_t id, len;
	size_t i;
	unsigned int event;

	start_ports(&rig, false);
	open_ports(&rig);
	/* Ports that do not exist, one of them below the maximum; every event there is. */
	for (i = 0; i < ARRAY_SIZE(ids); i++)
		for (event = 1; event < 16; event++)
			control(&rig, ids[i], (uint16_t)event, 0xffff);
	for (event = 1; event < 0x10000; event += 97)
		if (event != 6)
			control(&rig, 1, (uint16_t)event, 1);
	control(&rig, 0, 0, 0);
	ck_silent(&rig);
	/* Too short, in pieces, too long. */
	for (len = 0; len < 8; len++)
		send(&rig, 3, "\0\0\0\0\0\0\0", len);
	drv_add(&rig.ring[3],
		(const struct drv_seg[]){{DATA, 4, 0}, {DATA + 4, 3, 0}, {DATA + 7, 100, 0}}, 3);
	drv_add(&rig.ring[3], &(struct drv_seg){DATA, 8, DRV_WRITE}, 1);
	kick(&rig, 3);
	ck_assert_uint_eq(used(&rig, 3), 10);
	ck_silent(&rig);
	stop(&rig);

	/* Buffers that no message fits: cut, told in the log, never beyond. */
	start_ports(&rig, false);
	go(&rig, F_MULTIPORT);
	drv_add(&rig.ring[2], &(struct drv_seg){DATA, 8, 0}, 1);
	offer(&rig, 2, 1, 3);
	offer(&rig, 2, 4, 12);
	control(&rig, 0, 0, 1);
	ck_assert(drv_get_used(&rig.ring[2], &id, &len));
	ck_assert_uint_eq(len, 0);
	ck_assert(drv_get_used(&rig.ring[2], &id, &len));
	ck_assert_uint_eq(len, 3);
	ck_control(&rig, 2, 1, 1, "", 0);
	control(&rig, 1, 3, 1);
	ck_control(&rig, 1, 7, 1, "org.", 4);
	ck_control(&rig, 1, 6, 1, "", 0);
	stop(&rig);

	/* A driver that asks without end gets what its buffers hold. */
	start_ports(&rig, false);
	open_ports(&rig);
	for (i = 0; i < 10000; i++) {
		control(&rig, 1, 3, 1);
		control(&rig, 1, 6, (uint16_t)i);
		control(&rig, 0, 0, 1);
	}
	ck_silent(&rig);
	stop(&rig);
}
END_TEST

/* Without MULTIPORT the other queues do not exist, whatever is written to them. */
START_TEST(multiport_not_taken)
{
	struct rig rig;
	unsigned int i;

	start_ports(&rig, true);
	ck_assert(drv_start(&rig.drv, 0));
	for (i = 0; i < rig.nr_queues; i++) {
		drv_ring_init(&rig.ring[i], &rig.mem, NUM, RINGS + 0x1000 * i);
		ck_assert(drv_queue(&rig.drv, i, &rig.ring[i]));
	}
	drv_go(&rig.drv);
	offer(&rig, 2, 4, 128);
	offer(&rig, 0, 1, 128);
	control(&rig, 0, 0, 1);
	send(&rig, 5, "xyz", 3);
	ck_silent(&rig);
	ck_assert_uint_eq(rig.host[1].len, 0);
	send(&rig, 1, "xyz", 3);
	ck_assert_uint_eq(rig.host[0].len, 3);
	virtio_console_input(rig.con, 0, "abc", 3);
	ck_got(&rig, 0, "abc");
	virtio_console_connect(rig.con, 1, false);
	virtio_console_resize(rig.con, 1, 2);
	ck_silent(&rig);
	stop(&rig);
	/* A port 0 that is not there drops what it is given. */
	start_ports(&rig, false);
	go(&rig, 0);
	send(&rig, 1, "xyz", 3);
	offer(&rig, 0, 1, 128);
	ck_assert_uint_eq(used(&rig, 1), 1);
	stop(&rig);
}
END_TEST

/* --- resets ------------------------------------------------------------------- */

START_TEST(resets)
{
	struct rig rig;
	unsigned int i;

	start_ports(&rig, false);
	open_ports(&rig);
	rig.host[1].takes = 2;
	send(&rig, 5, "stuck", 5);
	/* Everything is told anew; what was half written is forgotten. */
	open_ports(&rig);
	rig.host[1].takes = SIZE_MAX;
	virtio_console_drained(rig.con, 1);
	send(&rig, 5, "fresh", 5);
	ck_assert_uint_eq(rig.host[1].len, 7);
	ck_assert_int_eq(memcmp(rig.host[1].held, "stfresh", 7), 0);
	for (i = 0; i < 1000; i++)
		drv_wr(&rig.drv, R_STATUS, 0);
	ck_assert_uint_eq(virtio_console_room(rig.con, 1), 0);
	open_ports(&rig);
	stop(&rig);

	/* A queue that is reset alone. */
	start(&rig);
	go(&rig, FEAT_RING_RESET);
	rig.host[0].takes = 2;
	send(&rig, 1, "stuck", 5);
	drv_wr(&rig.drv, R_QUEUE_SEL, 1);
	drv_wr(&rig.drv, R_QUEUE_RESET, 1);
	drv_ring_init(&rig.ring[1], &rig.mem, NUM, RINGS + 0x10000);
	ck_assert(drv_queue(&rig.drv, 1, &rig.ring[1]));
	rig.host[0].takes = SIZE_MAX;
	virtio_console_drained(rig.con, 0);
	send(&rig, 1, "fresh", 5);
	ck_assert_int_eq(memcmp(rig.host[0].held, "stfresh", 7), 0);
	stop(&rig);
}
END_TEST

/* A broken transmit queue is its own affair. */
START_TEST(broken_queue)
{
	struct rig rig;

	start_ports(&rig, false);
	open_ports(&rig);
	virtio_console_connect(rig.con, 2, true);
	drv_offer(&rig.ring[5], NUM + 3);
	kick(&rig, 5);
	ck_assert(drv_rd(&rig.drv, R_STATUS) & ST_NEEDS_RESET);
	send(&rig, 7, "flows", 5);
	ck_assert_uint_eq(rig.host[2].len, 5);
	virtio_console_drained(rig.con, 1);
	virtio_console_connect(rig.con, 2, false);
	open_ports(&rig);
	send(&rig, 5, "mended", 6);
	ck_assert_uint_eq(rig.host[1].len, 6);
	stop(&rig);
}
END_TEST

/* --- save and load ------------------------------------------------------------ */

static void save(struct rig *rig, struct xfer *x)
{
	struct device *dev = virtio_mmio_device(rig->mmio);

	dev->ops->quiesce(dev);
	xfer_save_init(x);
	dev->ops->transfer(dev, x);
	ck_assert_int_eq(xfer_done(x, NULL), 0);
}

static int load(struct rig *rig, const void *buf, size_t len)
{
	struct device *dev = virtio_mmio_device(rig->mmio);
	struct xfer x;

	xfer_load_init(&x, buf, len);
	dev->ops->transfer(dev, &x);
	return xfer_done(&x, NULL);
}

/* In the middle of everything: half a request written, input that waits, messages due. */
START_TEST(save_and_load)
{
	struct rig rig;
	struct xfer x, y;
	struct device *dev;
	struct virtio_mmio *old;
	size_t i;

	start_ports(&rig, false);
	open_ports(&rig);
	rig.host[1].takes = 2;
	send(&rig, 5, "stuck", 5);
	while (!(drv_rd(&rig.drv, R_INT_STATUS) & 2)) {
		/* Use up the driver's control buffers, so that one message stays due. */
		virtio_console_connect(rig.con, 2, true);
		virtio_console_connect(rig.con, 2, false);
		if (rig.ring[2].avail_idx == drv_used_idx(&rig.ring[2]))
			break;
	}
	used(&rig, 2);
	/* Now, as a port whose input waits is not told to be closed. */
	offer(&rig, 6, 1, 3);
	virtio_console_input(rig.con, 2, "waiting", 7);
	ck_got(&rig, 6, "wai");
	virtio_console_connect(rig.con, 2, true);
	ck_silent(&rig);
	save(&rig, &x);

	/* Into a device that knows nothing, with others connected than before. */
	old = rig.mmio;
	memset(rig.host, 0, sizeof(rig.host));
	rig.host[1].takes = SIZE_MAX;
	rig.host[2].takes = SIZE_MAX;
	make_ports(&rig, false);
	ck_assert_int_eq(load(&rig, x.buf, x.len), 0);
	save(&rig, &y);
	ck_assert_uint_eq(x.len, y.len);
	ck_assert_int_eq(memcmp(x.buf, y.buf, x.len), 0);
	xfer_free(&y);
	dev = virtio_mmio_device(rig.mmio);
	dev->ops->resume(dev);
	ck_assert_int_eq(memcmp(rig.host[1].held, "uck", 3), 0);
	ck_assert_uint_eq(rig.host[1].len, 3);
	ck_assert_uint_eq(used(&rig, 5), 1);
	offer(&rig, 6, 1, 100);
	ck_got(&rig, 6, "ting");
	/* Nobody is at port 2 here, and that is what the driver knew last. */
	offer(&rig, 2, 4, 128);
	ck_silent(&rig);
	virtio_console_connect(rig.con, 1, false);
	ck_control(&rig, 1, 6, 0, "", 0);

	/* Cut off anywhere, and with any byte changed: refused, or taken as a good state. */
	for (i = 0; i < x.len; i++) {
		dev->ops->quiesce(dev);
		ck_assert_int_ne(load(&rig, x.buf, i), 0);
	}
	for (i = 0; i < x.len; i++) {
		uint8_t was = x.buf[i];

		x.buf[i] ^= 0x81;
		if (!load(&rig, x.buf, x.len))
			ck_assert_uint_le(virtio_console_waiting(rig.con, 2), VIRTIO_CONSOLE_INPUT);
		x.buf[i] = was;
	}
	xfer_free(&x);
	stop(&rig);
	virtio_mmio_device(old)->ops->destroy(virtio_mmio_device(old));
}
END_TEST

/* Another machine's console is refused. */
START_TEST(load_elsewhere)
{
	struct rig rig, other;
	struct xfer x;

	start_ports(&rig, true);
	go(&rig, F_MULTIPORT);
	offer(&rig, 2, NUM, 128);
	control(&rig, 0, 0, 1);
	save(&rig, &x);
	start_ports(&other, false);
	ck_assert_int_ne(load(&other, x.buf, x.len), 0);
	stop(&other);
	start(&other);
	ck_assert_int_ne(load(&other, x.buf, x.len), 0);
	stop(&other);
	xfer_free(&x);
	stop(&rig);
}
END_TEST

/* Any order of reads, writes and blocks gives the host the bytes the guest sent. */
START_TEST(any_order)
{
	struct prng p = prng_start("any_order");
	struct rig rig;
	uint8_t next_out = 0, next_in = 0, seen_out = 0, seen_in = 0;
	unsigned int step, outstanding = 0;
	size_t checked = 0;

	start(&rig);
	go(&rig, FEAT_EVENT_IDX);
	rig.host[0].takes = 0;
	for (step = 0; step < 20000 && rig.host[0].len < HELD; step++) {
		unsigned int len = prng_below(&p, 40), i, n;
		uint8_t *bytes, buf[64];
		uint32_t got_len;
		const uint8_t *in;

		switch (prng_below(&p, 5)) {
		case 0: /* output; each request has its own bytes */
			if (outstanding == NUM)
				break;
			n = rig.ring[1].next % NUM;
			bytes = drv_ptr(&rig.mem, DATA + n * 64, 64);
			for (i = 0; i < len; i++)
				bytes[i] = next_out++;
			drv_add(&rig.ring[1], &(struct drv_seg){DATA + n * 64, len, 0}, 1);
			kick(&rig, 1);
			outstanding++;
			break;
		case 1: /* the reader reads */
			rig.host[0].takes = len;
			virtio_console_drained(rig.con, 0);
			break;
		case 2: /* input */
			len = (unsigned int)min_u64(len, virtio_console_room(rig.con, 0));
			for (i = 0; i < len; i++)
				buf[i] = next_in++;
			virtio_console_input(rig.con, 0, buf, len);
			break;
		case 3: /* the driver looks at what came, and gives buffers again */
			while ((in = got(&rig, 0, &got_len)))
				for (i = 0; i < got_len; i++)
					ck_assert_uint_eq(in[i], seen_in++);
			n = (uint16_t)(rig.ring[0].avail_idx - rig.ring[0].last_used);
			if (n < NUM)
				offer(&rig, 0, 1 + prng_below(&p, NUM - n), 1 + prng_below(&p, 30));
			break;
		default:
			outstanding -= used(&rig, 1);
			if (rig.soons)
				virtio_device_run(virtio_console_device(rig.con));
			rig.soons = 0;
			break;
		}
		for (; checked < rig.host[0].len; checked++)
			ck_assert_uint_eq(rig.host[0].held[checked], seen_out++);
	}
	ck_assert_uint_gt(rig.host[0].len, 20000);
	stop(&rig);
}
END_TEST

/* --- two threads -------------------------------------------------------------- */

struct race {
	struct rig rig;
	pthread_mutex_t lock; /* the host's pipe */
	size_t space, sum;
	atomic_bool blocked, over;
	atomic_uint received;
};

static size_t race_write(void *opaque, const void *buf, size_t len)
{
	struct race *r = opaque;

	(void)buf;
	pthread_mutex_lock(&r->lock);
	if (len > r->space) {
		len = r->space;
		atomic_store(&r->blocked, true);
	}
	r->space -= len;
	r->sum += len;
	pthread_mutex_unlock(&r->lock);
	return len;
}

static void race_want(void *opaque)
{
	(void)opaque;
}

static const struct virtio_console_port_ops race_ops = {
	.write = race_write,
	.want_input = race_want,
};

#define RACE_REQUESTS 2000
#define RACE_BYTES 100

static void *race_guest(void *arg)
{
	struct race *r = arg;
	struct rig *rig = &r->rig;
	unsigned int sent = 0, back = 0, i;
	uint32_t id, len;

	offer(rig, 0, NUM, 64);
	while (back < RACE_REQUESTS && !atomic_load(&r->over)) {
		if (sent < RACE_REQUESTS && sent - back < NUM) {
			drv_add(&rig->ring[1], &(struct drv_seg){DATA, RACE_BYTES, 0}, 1);
			kick(rig, 1);
			sent++;
		}
		back += used(rig, 1);
		for (i = 0; drv_get_used(&rig->ring[0], &id, &len); i++)
			atomic_fetch_add(&r->received, len);
		if (i)
			offer(rig, 0, i, 64);
		else
			sched_yield();
	}
	return (void *)(uintptr_t)back;
}

START_TEST(threads)
{
	struct race r = {.space = 0, .lock = PTHREAD_MUTEX_INITIALIZER};
	struct virtio_console_port port = {&race_ops, &r, NULL, true, true};
	uint64_t end = now_ns() + 60 * NSEC_PER_SEC;
	unsigned int given = 0, turn = 0;
	pthread_t thread;
	void *back;

	drv_memory(&r.rig.mem);
	make(&r.rig, &port, 1);
	go(&r.rig, F_SIZE);
	ck_assert_int_eq(pthread_create(&thread, NULL, race_guest, &r), 0);
	while (now_ns() < end) {
		pthread_mutex_lock(&r.lock);
		r.space += 777;
		if (r.sum == (size_t)RACE_REQUESTS * RACE_BYTES)
			end = 0;
		pthread_mutex_unlock(&r.lock);
		if (atomic_exchange(&r.blocked, false))
			virtio_console_drained(r.rig.con, 0);
		if (virtio_console_room(r.rig.con, 0) >= 50) {
			virtio_console_input(r.rig.con, 0,
					     "12345678901234567890123456789012345678901234567890",
					     50);
			given += 50;
		}
		virtio_console_resize(r.rig.con, (uint16_t)++turn, 25);
		sched_yield();
	}
	ck_assert_int_eq(pthread_join(thread, &back), 0);
	ck_assert_uint_eq((uintptr_t)back, RACE_REQUESTS);
	ck_assert_uint_le(atomic_load(&r.received), given);
	stop(&r.rig);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio-console");
	TCase *t = tcase_create("console");

	tcase_add_test(t, features_and_config);
	tcase_add_test(t, window_size);
	tcase_add_test(t, emergency_write);
	tcase_add_test(t, output);
	tcase_add_test(t, slow_reader);
	tcase_add_test(t, gigabyte);
	tcase_add_loop_test(t, ends_in_the_middle, 0, 4);
	tcase_add_test(t, only_this_port);
	tcase_add_test(t, input);
	tcase_add_test(t, bad_receive_buffers);
	tcase_add_test(t, input_over_a_reset);
	tcase_add_test(t, talk);
	tcase_add_test(t, no_control_buffers);
	tcase_add_test(t, hostile_control);
	tcase_add_test(t, multiport_not_taken);
	tcase_add_test(t, resets);
	tcase_add_test(t, broken_queue);
	tcase_add_test(t, save_and_load);
	tcase_add_test(t, load_elsewhere);
	tcase_add_test(t, any_order);
	tcase_add_test(t, threads);
	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	return unit_main(s);
}
