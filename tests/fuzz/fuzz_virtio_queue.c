// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz the walk over a virtqueue, split or packed: the input's first bytes choose size and
 * features, then come the bytes of descriptors and rings, then operations: more of
 * the available ring, passes, requests read and written, kept and given back,
 * indexes that jump, save and load.
 *
 * Besides what the sanitizers see (guest memory ends at PROT_NONE pages): every
 * iovec lies inside RAM, and is the buffer that a walk of our own finds, the sums agree,
 * a pass takes no more than the queue has, nothing is in flight twice, and the used
 * index moves by one for each request.
 */
#include "lkvm/virtio/queue.h"

#include <stdlib.h>
#include <string.h>

#define RAM UINT64_C(0x80000000)
#define BANK (64 * KIB)
#define MAX 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t size;
};

static uint64_t take(struct input *in, unsigned int bytes)
{
	uint64_t v = 0;

	while (bytes-- && in->size) {
		v = v << 8 | *in->data++;
		in->size--;
	}
	return v;
}

static void need(bool ok)
{
	if (!ok)
		abort();
}

static uint8_t *ram(struct guest_memory *mem, gpa_t at, uint64_t len)
{
	const struct memory_region *r = memory_find(mem, at, len);

	need(r != NULL);
	return (uint8_t *)r->hva + (at - r->gpa);
}

/* An address where something is, more often than chance would find it. */
static gpa_t some_gpa(struct input *in)
{
	uint64_t v = take(in, 2);

	switch (v >> 13 & 3) {
	case 0:
		return RAM + 2 * BANK - (v & 0xff);
	case 1:
		return RAM + BANK - 64 + (v & 0x7f);
	case 2:
		return v & 0x100 ? UINT64_MAX - (v & 0xff) : take(in, 8);
	default:
		return RAM + 0x1000 + (v & 0x1fff);
	}
}

static void put_desc(struct guest_memory *mem, gpa_t at, struct input *in)
{
	uint64_t addr = some_gpa(in), flags = take(in, 1);
	uint64_t len = flags & 0x80 ? take(in, 4) : take(in, 1);
	uint64_t next = flags & 0x40 ? take(in, 2) : take(in, 1) % MAX;
	uint64_t half = len | (flags & 7) << 32 | next << 48;

	if (flags & 4 && !(flags & 0x80))
		half &= ~UINT64_C(15);
	memcpy(ram(mem, at, 16), &addr, 8);
	memcpy(ram(mem, at + 8, 8), &half, 8);
}

static void check_request(struct guest_memory *mem, struct virtq_request *req)
{
	unsigned int i, nr = req->nr_readable + req->nr_writable;
	uint64_t readable = 0, writable = 0;

	need(nr <= req->queue->layout.num);
	for (i = 0; i < nr; i++) {
		need(req->iov[i].iov_base == ram(mem, virtq_gpa(req, i), req->iov[i].iov_len));
		if (i < req->nr_readable)
			readable += req->iov[i].iov_len;
		else
			writable += req->iov[i].iov_len;
	}
	need(readable == req->readable && writable == req->writable);
}

/* The bytes of a descriptor as two numbers; @half: its length and all behind. */
static gpa_t get_desc(struct guest_memory *mem, gpa_t at, uint64_t *half)
{
	uint64_t addr;

	memcpy(&addr, ram(mem, at, 16), 8);
	memcpy(half, ram(mem, at + 8, 8), 8);
	return addr;
}

/* Iovec @n is this buffer, where it has any bytes. */
static unsigned int check_buffer(struct guest_memory *mem, const struct virtq_request *req,
				 unsigned int n, gpa_t addr, uint32_t len, bool writable)
{
	if (!len)
		return n;
	need(n < req->nr_readable + req->nr_writable);
	need(req->iov[n].iov_base == ram(mem, addr, len) && req->iov[n].iov_len == len);
	need(writable == (n >= req->nr_readable));
	return n + 1;
}

/* What was taken just now is what the table says. */
static void check_split(struct guest_memory *mem, const struct virtq_request *req)
{
	gpa_t table = req->queue->layout.desc, addr;
	unsigned int n = 0, index = req->id;
	uint64_t half;

	for (;;) {
		addr = get_desc(mem, table + 16 * (uint64_t)index, &half);
		index = (unsigned int)(half >> 48);
		if (half >> 32 & 4) {
			table = addr;
			index = 0;
			continue;
		}
		n = check_buffer(mem, req, n, addr, (uint32_t)half, half >> 32 & 2);
		if (!(half >> 32 & 1))
			break;
	}
	need(n == req->nr_readable + req->nr_writable);
}

/* The same of a packed ring; @slot: its first. */
static void check_packed(struct guest_memory *mem, const struct virtq_request *req,
			 unsigned int slot)
{
	const struct virtq_layout *layout = &req->queue->layout;
	uint64_t half, inner;
	unsigned int n = 0;
	gpa_t addr, at;

	do {
		addr = get_desc(mem, layout->desc + 16 * (uint64_t)(slot++ % layout->num), &half);
		if (half >> 48 & 4)
			for (at = addr; at < addr + (uint32_t)half / 16 * 16; at += 16) {
				gpa_t buffer = get_desc(mem, at, &inner);

				n = check_buffer(mem, req, n, buffer, (uint32_t)inner,
						 inner >> 48 & 2);
			}
		else
			n = check_buffer(mem, req, n, addr, (uint32_t)half, half >> 48 & 2);
	} while (half >> 48 & 1);
	need(n == req->nr_readable + req->nr_writable);
}

static void work(struct virtq_request *req, struct input *in)
{
	struct virtq_cursor r = virtq_reader(req), w = virtq_writer(req);
	uint8_t buf[256];
	struct iovec iov[4];
	size_t mapped;

	virtq_skip(&r, take(in, 1));
	virtq_read(&r, buf, sizeof(buf));
	if (take(in, 1) & 1)
		virtq_skip(&w, take(in, 1));
	memset(buf, 0x5a, sizeof(buf));
	virtq_write(&w, buf, take(in, 1));
	virtq_map(&w, take(in, 2), iov, 1 + take(in, 1) % 4, &mapped);
	virtq_filled(&w, mapped);
	need(req->filled <= req->writable);
	need(w.pos + (uint64_t)w.left == req->writable);
}

/* A slot of a packed ring, available or nearly so. */
static void offer_slot(struct guest_memory *mem, const struct virtq *q,
		       const struct virtq_layout *layout, uint64_t op, struct input *in)
{
	unsigned int slot = (q->last_avail + (op >> 6)) & 0x7fff;
	bool wrap = q->last_avail & 0x8000;
	uint16_t flags;
	uint8_t *at;

	slot %= layout->num;
	put_desc(mem, layout->desc + 16 * (uint64_t)slot, in);
	at = ram(mem, layout->desc + 16 * (uint64_t)slot, 16);
	at[12] %= 2 * MAX;
	at[13] = 0;
	flags = (uint16_t)(take(in, 1) & 7) | (wrap ? 0x80 : 0x8000);
	memcpy(at + 14, &flags, sizeof(flags));
}

static void save_load(struct virtq *q, const struct virtq_layout *layout, unsigned int flags)
{
	struct virtq twin;
	struct xfer x, y;

	if (q->inflight || !q->ready)
		return;
	xfer_save_init(&x);
	virtq_transfer_indexes(&x, q);
	need(!xfer_done(&x, NULL));
	need(!virtq_init(&twin, q->mem, MAX, 0));
	need(!virtq_enable(&twin, layout, flags, NULL));
	if (q->broken)
		virtq_break(&twin, "loaded");
	xfer_load_init(&y, x.buf, x.len);
	virtq_transfer_indexes(&y, &twin);
	need(!xfer_done(&y, NULL));
	need(twin.used_idx == q->used_idx && twin.last_avail == q->last_avail);
	virtq_destroy(&twin);
	xfer_free(&x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct guest_memory mem;
	struct virtq q;
	struct virtq_layout layout;
	struct virtq_request *kept[MAX];
	unsigned int nr_kept = 0, i, flags;
	uint64_t setup = take(&in, 1);
	bool packed = setup & 0x20;

	flags = (setup & 8 ? VIRTQ_INDIRECT : 0) | (setup & 0x10 ? VIRTQ_EVENT_IDX : 0) |
		(packed ? VIRTQ_PACKED : 0);

	memory_init(&mem);
	need(memory_add(&mem, RAM, BANK, 4096, NULL) &&
	     memory_add(&mem, RAM + BANK, BANK, 4096, NULL));
	need(!virtq_init(&q, &mem, MAX, 16));
	if (setup & 0x80)
		need(!memory_log_dirty(&mem, true));
	layout = (struct virtq_layout){UINT32_C(1) << (setup & 3) << (setup >> 2 & 1), RAM,
				       RAM + 0x400, RAM + 0x800};
	if (setup & 0x40) {
		/* A layout of the guest's. */
		layout.num = (uint32_t)take(&in, 1);
		layout.desc = some_gpa(&in);
		layout.avail = some_gpa(&in);
		layout.used = some_gpa(&in);
	}
	if (!virtq_enable(&q, &layout, flags, NULL)) {
		/* What was accepted lies in RAM, whole. */
		ram(&mem, layout.desc, 16 * (uint64_t)layout.num);
		ram(&mem, layout.avail, packed ? 4 : 6 + 2 * (uint64_t)layout.num);
		ram(&mem, layout.used, packed ? 4 : 6 + 8 * (uint64_t)layout.num);
	}
	while (in.size && q.ready) {
		uint64_t op = take(&in, 1);
		uint16_t before = q.used_idx, v;
		unsigned int taken = 0, slot;
		struct virtq_request *req;

		switch (op & 7) {
		case 0: /* a descriptor, of the table or somewhere else */
			put_desc(&mem, layout.desc + 16 * (op >> 3) % (16 * layout.num), &in);
			break;
		case 1:
			put_desc(&mem, RAM + 0x2000 + (op >> 3) * 16, &in);
			break;
		case 2: /* a head made available, or more than one */
			if (packed) {
				offer_slot(&mem, &q, &layout, op, &in);
				break;
			}
			v = (uint16_t)take(&in, op & 0x80 ? 2 : 1);
			if (!(op & 0x80))
				v %= layout.num;
			memcpy(ram(&mem, layout.avail + 4 + 2 * (q.last_avail % layout.num), 2), &v,
			       2);
			v = (uint16_t)(q.last_avail + (op & 0x40 ? take(&in, 2) : 1));
			memcpy(ram(&mem, layout.avail + 2, 2), &v, 2);
			break;
		case 3: /* any byte of the rings */
			if (packed) {
				ram(&mem, layout.avail, 4)[op >> 3 & 3] = (uint8_t)take(&in, 1);
				ram(&mem, layout.used, 4)[op >> 5 & 3] = (uint8_t)take(&in, 1);
				break;
			}
			ram(&mem, layout.avail, 1)[take(&in, 1) % (6 + 2 * layout.num)] =
				(uint8_t)take(&in, 1);
			ram(&mem, layout.used, 1)[take(&in, 1) % (6 + 8 * layout.num)] =
				(uint8_t)take(&in, 1);
			break;
		case 4:
		case 5: /* a pass */
			virtq_begin(&q);
			slot = q.last_avail & 0x7fff;
			while ((req = virtq_pop(&q))) {
				need(++taken <= layout.num);
				check_request(&mem, req);
				if (packed)
					check_packed(&mem, req, slot);
				else
					check_split(&mem, req);
				slot = q.last_avail & 0x7fff;
				for (i = 0; i < nr_kept; i++)
					need(kept[i]->id != req->id);
				if (op & 0x40) {
					need(nr_kept < MAX);
					kept[nr_kept++] = req;
					continue;
				}
				work(req, &in);
				virtq_push(&q, req);
				if (!q.broken && !packed)
					before++;
				need(before == q.used_idx || packed);
			}
			need(nr_kept == q.inflight);
			break;
		case 6: /* give back */
			if (nr_kept) {
				i = (unsigned int)take(&in, 1) % nr_kept;
				req = kept[i];
				kept[i] = kept[--nr_kept];
				check_request(&mem, req);
				work(req, &in);
				virtq_push(&q, req);
			}
			virtq_should_signal(&q);
			break;
		default:
			save_load(&q, &layout, flags);
			if (q.broken && !nr_kept) {
				virtq_disable(&q);
				need(!virtq_enable(&q, &layout, flags, NULL));
			}
			break;
		}
	}
	while (nr_kept)
		virtq_drop(&q, kept[--nr_kept]);
	need(!q.inflight);
	virtq_destroy(&q);
	memory_destroy(&mem);
	return 0;
}
