// SPDX-License-Identifier: GPL-2.0-only
/*
 * Virtqueues: virtio 1.2 and 1.3, sections 2.6 to 2.9. What both kinds of ring share
 * is here; queue_split.c and queue_packed.c know how each lies in memory, and
 * queue_cursor.c reaches the bytes of requests.
 *
 * Trust. Everything in guest memory may change at any time under our hands. So
 * each thing is read once, into memory of ours, and the copy is checked and used:
 * an index, a head, a descriptor. Addresses become host pointers in one
 * place, by memory.h, which knows no more than RAM. Where the driver stands and
 * where we stand is kept here (last_avail, used_idx), never read back. The rings'
 * geometry is checked once when the driver enables the queue, and frozen.
 *
 * A driver that breaks a rule breaks its queue: `broken` is set with the rule's
 * name, nothing is taken or given back any more, and the device (virtio/device.c)
 * tells the driver that it needs a reset. The rules, beside those of each ring:
 *
 *   a head or buffer that is in flight already is made available
 *   a chain longer than the queue, which a loop is too
 *   INDIRECT without the feature, inside a table, or together with NEXT
 *   an indirect table that is empty, no multiple of 16 bytes, longer than a next
 *   index reaches, or not inside one region of RAM
 *   a buffer not inside one region of RAM (or of a file that is guest memory, and for
 *   writing only where that is no read-only one); readable after writable; 2^32 bytes
 *
 * Work is bounded: a pass takes at most as many requests as the queue has entries,
 * each of at most as many descriptors. No more requests than entries exist, and
 * they are freed when the queue is disabled.
 *
 * Thread and lock: see include/lkvm/virtio/queue.h. What is saved: layout and
 * indexes, with nothing in flight, and how far the request is that was put back.
 */
#include "queue_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Enough for what drivers mostly send; more grows. */
#define FIRST_IOVECS 8

static void set_busy(struct virtq *q, uint16_t id, bool on)
{
	uint64_t bit = UINT64_C(1) << (id % 64);

	q->busy[id / 64] = on ? q->busy[id / 64] | bit : q->busy[id / 64] & ~bit;
}

int virtq_init(struct virtq *q, struct guest_memory *mem, uint16_t max, size_t priv_size)
{
	memset(q, 0, sizeof(*q));
	if (!is_power_of_two(max) || max > VIRTQ_SIZE_LIMIT)
		return -EINVAL;
	q->busy = calloc((max + 63U) / 64, sizeof(*q->busy));
	if (!q->busy)
		return -ENOMEM;
	q->mem = mem;
	q->max = max;
	q->priv_size = priv_size;
	return 0;
}

static void free_requests(struct virtq *q)
{
	while (q->free) {
		struct virtq_request *req = q->free;

		q->free = req->next;
		free(req->iov);
		free(req);
	}
}

void virtq_destroy(struct virtq *q)
{
	free_requests(q);
	free(q->busy);
	q->busy = NULL;
	q->ready = false;
}

static bool overlap(gpa_t a, uint64_t a_len, gpa_t b, uint64_t b_len)
{
	/* Neither wraps: both lie inside a region of RAM. */
	return a < b + b_len && b < a + a_len;
}

int virtq_find_rings(struct virtq *q, const struct virtq_layout *l, uint64_t desc_len,
		     uint64_t avail_len, uint64_t used_len, struct error *err)
{
	const void *desc = memory_for_ring(q->mem, l->desc, desc_len);
	const void *avail = memory_for_ring(q->mem, l->avail, avail_len);
	const void *used = memory_for_ring(q->mem, l->used, used_len);

	if (!desc || !avail || !used)
		return fail(err, "its %s at 0x%llx is not inside RAM",
			    !desc ? "descriptor table" : (!avail ? "available ring" : "used ring"),
			    (unsigned long long)(!desc ? l->desc : (!avail ? l->avail : l->used)));
	if (overlap(l->desc, desc_len, l->avail, avail_len) ||
	    overlap(l->desc, desc_len, l->used, used_len) ||
	    overlap(l->avail, avail_len, l->used, used_len))
		return fail(err, "its rings overlap");
	q->desc = desc;
	/* Of these two the guest's half is only read, ours only written. */
	q->avail = (uint8_t *)(uintptr_t)avail;
	q->used = (uint8_t *)(uintptr_t)used;
	return 0;
}

int virtq_enable(struct virtq *q, const struct virtq_layout *layout, unsigned int flags,
		 struct error *err)
{
	const struct ring_ops *ring = flags & VIRTQ_PACKED ? &packed_ring : &split_ring;

	if (ring->check(q, layout, err))
		return -1;
	q->ring = ring;
	q->layout = *layout;
	q->indirect = flags & VIRTQ_INDIRECT;
	q->event_idx = flags & VIRTQ_EVENT_IDX;
	q->quiet = false;
	q->budget = 0;
	q->done = 0;
	q->slots = 0;
	q->more = false;
	q->broken = false;
	q->why = NULL;
	q->given = false;
	ring->start(q);
	q->ready = true;
	return 0;
}

void virtq_disable(struct virtq *q)
{
	q->ready = false;
	q->broken = false;
	q->why = NULL;
	q->more = false;
	q->budget = 0;
	q->desc = NULL;
	q->avail = NULL;
	q->used = NULL;
	memset(q->busy, 0, (q->max + 63U) / 64 * sizeof(*q->busy));
	free_requests(q);
}

void virtq_break(struct virtq *q, const char *why)
{
	if (q->broken)
		return;
	q->broken = true;
	q->why = why;
	q->more = false;
}

static void notify_off(struct virtq *q)
{
	if (!q->quiet)
		q->ring->notify(q, false);
	q->quiet = true;
}

static void notify_on(struct virtq *q)
{
	q->quiet = false;
	q->ring->notify(q, true);
}

void virtq_begin(struct virtq *q)
{
	q->more = false;
	q->budget = 0;
	if (!q->ready || q->broken)
		return;
	q->budget = q->layout.num;
	notify_off(q);
}

bool virtq_grow(struct virtq_request *req)
{
	unsigned int max = req->max ? req->max * 2 : FIRST_IOVECS;
	struct iovec *iov = realloc(req->iov, max * sizeof(*iov));

	if (!iov)
		return false;
	req->iov = iov;
	req->max = max;
	return true;
}

void *virtq_find_buffer(const struct virtq *q, gpa_t addr, uint32_t len, bool writable,
			const char **why)
{
	const void *hva = memory_look_up(q->mem, addr, len);

	if (!hva)
		*why = "a buffer is not inside RAM";
	else if (writable && !memory_may_write(q->mem, addr, len))
		*why = "a buffer to be written is in a read-only file";
	else
		return (void *)(uintptr_t)hva;
	return NULL;
}

struct desc_halves virtq_load_unaligned(const uint8_t *at)
{
	uint64_t half[2];

	memcpy(half, at, sizeof(half));
	return (struct desc_halves){le64toh(half[0]), le64toh(half[1])};
}

const uint8_t *virtq_indirect_table(struct virtq *q, struct desc d, const char **why)
{
	const uint8_t *table;

	if (!q->indirect)
		*why = "an indirect descriptor was not negotiated";
	else if (d.flags & DESC_F_NEXT)
		*why = "an indirect descriptor has a next one";
	else if (!d.len || d.len % DESC_SIZE || d.len / DESC_SIZE > INDIRECT_MAX)
		*why = "an indirect table has a bad length";
	else if ((table = memory_for_ring(q->mem, d.addr, d.len)))
		return table;
	else
		*why = "an indirect table is not inside RAM";
	return NULL;
}

static struct virtq_request *get_request(struct virtq *q)
{
	struct virtq_request *req = q->free;

	if (req)
		q->free = req->next;
	else
		req = calloc(1, sizeof(*req) + q->priv_size);
	if (!req)
		return NULL;
	req->queue = q;
	req->readable = 0;
	req->writable = 0;
	req->nr_readable = 0;
	req->nr_writable = 0;
	req->filled = 0;
	req->next = NULL;
	memset(req->priv, 0, q->priv_size);
	return req;
}

static void put_request(struct virtq *q, struct virtq_request *req)
{
	req->next = q->free;
	q->free = req;
}

/* Is there something to take? Where not, the driver is asked to notify. */
static bool available(struct virtq *q)
{
	if (q->ring->available(q))
		return true;
	if (q->broken)
		return false;
	notify_on(q);
	if (!q->ring->available(q))
		return false;
	notify_off(q);
	return true;
}

bool virtq_waiting(struct virtq *q)
{
	return q->ready && !q->away && !q->broken && q->ring->available(q);
}

struct virtq_request *virtq_pop(struct virtq *q)
{
	struct virtq_request *req;
	const char *why;

	if (!q->ready || q->away || q->broken || !available(q))
		return NULL;
	if (!q->budget) {
		q->more = true;
		return NULL;
	}
	req = get_request(q);
	if (!req) {
		virtq_break(q, "the host has no memory for a request");
		return NULL;
	}
	why = q->ring->take(q, req);
	if (why) {
		put_request(q, req);
		virtq_break(q, why);
		return NULL;
	}
	set_busy(q, req->id, true);
	q->inflight++;
	q->budget--;
	req->done = q->done;
	q->done = 0;
	return req;
}

void virtq_put_back(struct virtq *q, struct virtq_request *req, uint32_t done, bool again)
{
	if (q->ready && !q->broken) {
		q->ring->untake(q, req);
		q->done = done;
		q->more = again;
	}
	virtq_drop(q, req);
}

void virtq_drop(struct virtq *q, struct virtq_request *req)
{
	set_busy(q, req->id, false);
	q->inflight--;
	q->slots -= req->slots;
	put_request(q, req);
}

void virtq_push(struct virtq *q, struct virtq_request *req)
{
	if (q->ready && !q->broken) {
		q->ring->give(q, req);
		q->given = true;
	}
	virtq_drop(q, req);
}

bool virtq_should_signal(struct virtq *q)
{
	if (!q->ready || q->away || q->broken || !q->given)
		return false;
	q->given = false;
	return q->ring->wants_signal(q);
}

uint16_t virtq_hand_over(struct virtq *q, struct virtq_layout *layout)
{
	q->away = true;
	*layout = q->layout;
	return q->last_avail;
}

void virtq_take_back(struct virtq *q, uint16_t next)
{
	q->away = false;
	q->last_avail = next;
	q->used_idx = next;
	q->signalled = next;
	q->done = 0;
}

void virtq_transfer_layout(struct xfer *x, struct virtq_layout *layout)
{
	xfer_u32(x, &layout->num);
	xfer_u64(x, &layout->desc);
	xfer_u64(x, &layout->avail);
	xfer_u64(x, &layout->used);
}

void virtq_transfer_indexes(struct xfer *x, struct virtq *q)
{
	if (!x->loading && q->inflight) {
		x->failed = true;
		fail(&x->err, "a virtqueue has %u requests in flight", q->inflight);
		return;
	}
	q->ring->transfer(q, x);
	xfer_u32(x, &q->done);
	xfer_check(x, q->last_avail == q->used_idx || q->broken,
		   "virtio: a queue with requests in flight");
	/* Whoever left the device last asked virtq_should_signal(). */
	if (x->loading && !x->failed && q->ring == &split_ring)
		q->signalled = q->used_idx;
}
