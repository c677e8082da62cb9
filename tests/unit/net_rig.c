// SPDX-License-Identifier: GPL-2.0-only
/*
 * A network device for tests; see net_rig.h. The receive buffers of a ring are its own
 * and lie one after the other, so that a used entry's head tells where its bytes are.
 */
#include "net_rig.h"
#include "unit.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const struct virtio_net_config net_rig_config = {.mac = {2, 0, 0, 0, 0, 1}};

/* --- the back end ------------------------------------------------------------------- */

static void fake_attach(void *opaque, struct virtio_net *net)
{
	((struct fake_net *)opaque)->net = net;
}

static bool fake_room(void *opaque, unsigned int pair)
{
	(void)pair;
	return !((struct fake_net *)opaque)->no_room;
}

static bool in_guest_ram(const struct guest_memory *mem, const void *at)
{
	size_t i;

	for (i = 0; i < mem->nr; i++) {
		const char *hva = mem->regions[i].hva;

		if ((const char *)at >= hva && (const char *)at < hva + mem->regions[i].size)
			return true;
	}
	return false;
}

static int fake_send(void *opaque, unsigned int pair, const struct iovec *iov, unsigned int nr,
		     size_t len)
{
	struct fake_net *f = opaque;
	struct rig_frame *frame = &f->out[f->nr_out++ % RIG_FRAMES];
	unsigned int i;

	f->first_in_ram |= in_guest_ram(f->mem, iov[0].iov_base);
	frame->pair = pair;
	frame->len = 0;
	for (i = 0; i < nr; i++) {
		ck_assert_uint_le(frame->len + iov[i].iov_len, sizeof(frame->bytes));
		memcpy(frame->bytes + frame->len, iov[i].iov_base, iov[i].iov_len);
		frame->len += iov[i].iov_len;
	}
	if (frame->len != len)
		ck_abort_msg("pieces of %zu bytes for a frame of %zu", frame->len, len);
	return f->send_answer;
}

static void fake_flush(void *opaque, unsigned int pair)
{
	(void)pair;
	((struct fake_net *)opaque)->flushes++;
}

static long fake_recv(void *opaque, unsigned int pair, const uint8_t **bytes)
{
	struct fake_net *f = opaque;
	struct rig_frame *frame;

	f->recvs++;
	if (f->recv_answer)
		return f->recv_answer;
	frame = &f->in[f->in_head % RIG_FRAMES];
	if (f->in_head == f->in_tail || frame->pair != pair)
		return 0;
	f->in_head++;
	*bytes = frame->bytes;
	return (long)frame->len;
}

static void fake_poll(void *opaque, unsigned int pair, bool on)
{
	struct fake_net *f = opaque;

	f->polls++;
	f->polled[pair] = on;
}

static void fake_offloads(void *opaque, uint64_t bits)
{
	((struct fake_net *)opaque)->offloads = bits;
}

static void fake_pairs(void *opaque, unsigned int n)
{
	((struct fake_net *)opaque)->pairs = n;
}

static void fake_link(void *opaque, bool up)
{
	struct fake_net *f = opaque;

	f->link = up;
	f->links++;
}

static void fake_close(void *opaque)
{
	((struct fake_net *)opaque)->closes++;
}

static const struct net_backend_ops fake_ops = {
	.attach = fake_attach,
	.room = fake_room,
	.send = fake_send,
	.flush = fake_flush,
	.recv = fake_recv,
	.poll = fake_poll,
	.offloads = fake_offloads,
	.pairs = fake_pairs,
	.link = fake_link,
	.close = fake_close,
};

/* --- the device ------------------------------------------------------------------------ */

static void run_soon(void *opaque)
{
	((struct net_rig *)opaque)->soon++;
}

static const struct virtio_mmio_env mmio_env = {
	.run_soon = run_soon,
};

void net_rig_prepare(struct net_rig *rig)
{
	memset(rig, 0, sizeof(*rig));
	drv_memory(&rig->mem);
	rig->log_fd = memfd_create("log", MFD_CLOEXEC);
	log_init(&rig->log, rig->log_fd, LOG_LEVEL_INFO);
	rig->fake.mem = &rig->mem;
	rig->fake.in = calloc(RIG_FRAMES, sizeof(*rig->fake.in));
	rig->fake.out = calloc(RIG_FRAMES, sizeof(*rig->fake.out));
}

void net_rig_create(struct net_rig *rig, const struct virtio_net_config *config, unsigned int pairs,
		    bool header)
{
	struct net_backend backend = {
		.ops = &fake_ops,
		.opaque = &rig->fake,
		.header = header,
		.offloads = header ? NET_GUEST_OFFLOADS | NET_HOST_OFFLOADS : 0,
		.pairs = pairs,
	};

	net_rig_prepare(rig);
	net_rig_over(rig, config, backend);
}

void net_rig_over(struct net_rig *rig, const struct virtio_net_config *config,
		  struct net_backend backend)
{
	struct error err;

	rig->real = backend.ops != &fake_ops;
	rig->nr_pairs = backend.pairs;
	rig->net = virtio_net_create("net0", &rig->mem, &rig->log, config, &backend, &err);
	ck_assert_msg(rig->net != NULL, "%s", err.msg);
	rig->mmio = virtio_mmio_create(virtio_net_device(rig->net), drv_line(&rig->drv), &mmio_env,
				       rig);
	rig->drv.dev = rig->mmio;
}

void net_rig_go(struct net_rig *rig, uint64_t features)
{
	gpa_t at = DRV_RAM + 0x1000;
	unsigned int i;

	rig->features = features;
	rig->ctrl = features & VIRTIO_BIT(NET_F_MQ) ? 2 * rig->nr_pairs : 2;
	ck_assert(drv_start(&rig->drv, features));
	for (i = 0; i <= rig->ctrl; i++) {
		/* Not before: until the reset the rings are the device's too. */
		at = drv_ring_init(&rig->ring[i], &rig->mem, RIG_NUM, at);
		ck_assert(drv_queue(&rig->drv, i, &rig->ring[i]));
	}
	drv_go(&rig->drv);
}

void net_rig_start(struct net_rig *rig, uint64_t features)
{
	net_rig_create(rig, &net_rig_config, 1, false);
	net_rig_go(rig, features);
}

void net_rig_stop(struct net_rig *rig)
{
	virtio_mmio_device(rig->mmio)->ops->destroy(virtio_mmio_device(rig->mmio));
	ck_assert_uint_eq(rig->fake.closes, rig->real ? 0 : 1);
	free(rig->fake.in);
	free(rig->fake.out);
	close(rig->log_fd);
	memory_destroy(&rig->mem);
}

/* --- the driver --------------------------------------------------------------------------- */

void net_rig_make(uint8_t *bytes, size_t len, uint8_t seed)
{
	static const uint8_t start[NET_FRAME_MIN] = {2, 0, 0, 0, 0, 1,	  2,
						     0, 0, 0, 0, 9, 0x88, 0xb5};
	size_t i;

	for (i = 0; i < len; i++)
		bytes[i] = i < sizeof(start) ? start[i] : (uint8_t)(seed + i);
}

uint8_t *net_rig_frame(struct net_rig *rig, size_t len, uint8_t seed)
{
	uint8_t *frame = drv_ptr(&rig->mem, RIG_TX, len);

	net_rig_make(frame, len, seed);
	/* To somebody else, from the device. */
	if (len >= 2 * NET_MAC) {
		memset(frame, 0xff, NET_MAC);
		memcpy(frame + NET_MAC, net_rig_config.mac, NET_MAC);
	}
	return frame;
}

void net_rig_run(struct net_rig *rig)
{
	while (rig->soon) {
		rig->soon = 0;
		virtio_device_run(virtio_net_device(rig->net));
	}
}

bool net_rig_send(struct net_rig *rig, unsigned int pair, const uint8_t header[NET_HEADER],
		  size_t len)
{
	static const uint8_t plain[NET_HEADER];
	struct drv_ring *ring = &rig->ring[2 * pair + 1];
	const struct drv_seg segs[] = {{RIG_HEAD, NET_HEADER, 0}, {RIG_TX, (uint32_t)len, 0}};
	uint32_t id, used;

	memcpy(drv_ptr(&rig->mem, RIG_HEAD, NET_HEADER), header ? header : plain, NET_HEADER);
	drv_add(ring, segs, 2);
	drv_wr(&rig->drv, R_NOTIFY, 2 * pair + 1);
	net_rig_run(rig);
	if (!drv_get_used(ring, &id, &used))
		return false;
	ck_assert_uint_eq(used, 0);
	return true;
}

static gpa_t rx_at(unsigned int pair)
{
	return RIG_RX + (gpa_t)RIG_RX_SIZE * pair;
}

void net_rig_buffers(struct net_rig *rig, unsigned int pair, unsigned int nr, uint32_t size)
{
	struct drv_ring *ring = &rig->ring[2 * pair];
	gpa_t step = RIG_RX_SIZE / RIG_NUM;

	if (size > step)
		step = align_up(size, 4096);
	while (nr--) {
		gpa_t at = rx_at(pair) + step * (ring->next % (RIG_RX_SIZE / step));

		drv_add(ring, &(struct drv_seg){at, size, DRV_WRITE}, 1);
	}
	drv_wr(&rig->drv, R_NOTIFY, 2 * pair);
}

void net_rig_arrives(struct net_rig *rig, unsigned int pair, const void *bytes, size_t len)
{
	struct fake_net *f = &rig->fake;
	struct rig_frame *frame = &f->in[f->in_tail % RIG_FRAMES];

	ck_assert_uint_lt(f->in_tail - f->in_head, RIG_FRAMES);
	frame->pair = pair;
	frame->len = len;
	if (len <= sizeof(frame->bytes))
		memcpy(frame->bytes, bytes, len);
	f->in_tail++;
	if (f->polled[pair])
		virtio_net_readable(rig->net, pair);
}

static size_t take_buffer(struct net_rig *rig, struct drv_ring *ring, uint8_t *bytes, bool *any)
{
	uint32_t id, used;
	uint64_t desc[2];

	*any = drv_get_used(ring, &id, &used);
	if (!*any)
		return 0;
	memcpy(desc, drv_ptr(&rig->mem, ring->desc + 16 * (gpa_t)id, 16), sizeof(desc));
	ck_assert_uint_le(used, (uint32_t)desc[1]);
	memcpy(bytes, drv_ptr(&rig->mem, desc[0], used), used);
	return used;
}

size_t net_rig_received(struct net_rig *rig, unsigned int pair, uint8_t *bytes, unsigned int *nr)
{
	struct drv_ring *ring = &rig->ring[2 * pair];
	uint16_t buffers, i;
	size_t len;
	bool any;

	len = take_buffer(rig, ring, bytes, &any);
	if (!any)
		return 0;
	if (len < NET_HEADER)
		return len;
	memcpy(&buffers, bytes + 10, sizeof(buffers));
	buffers = le16toh(buffers);
	ck_assert_uint_ge(buffers, 1);
	for (i = 1; i < buffers; i++) {
		len += take_buffer(rig, ring, bytes + len, &any);
		ck_assert(any);
	}
	if (nr)
		*nr = buffers;
	return len;
}

int net_rig_command(struct net_rig *rig, uint8_t class, uint8_t command, const void *data,
		    size_t len)
{
	struct drv_ring *ring = &rig->ring[rig->ctrl];
	uint8_t *head = drv_ptr(&rig->mem, RIG_HEAD, 4096);
	const struct drv_seg segs[] = {{RIG_HEAD, 2, 0},
				       {RIG_HEAD + 2, (uint32_t)len, 0},
				       {RIG_HEAD + 4095, 1, DRV_WRITE}};
	uint32_t id, used;

	head[0] = class;
	head[1] = command;
	if (len)
		memcpy(head + 2, data, len);
	head[4095] = 0x77;
	drv_add(ring, segs, 3);
	drv_wr(&rig->drv, R_NOTIFY, rig->ctrl);
	if (!drv_get_used(ring, &id, &used))
		return -1;
	ck_assert_uint_eq(used, 1);
	return head[4095];
}

unsigned int net_rig_logged(struct net_rig *rig, const char *text)
{
	char *bytes = calloc(1, 1 << 20), *at = bytes;
	unsigned int n = 0;

	(void)!pread(rig->log_fd, bytes, (1 << 20) - 1, 0);
	while ((at = strstr(at, text))) {
		n++;
		at++;
	}
	free(bytes);
	return n;
}
