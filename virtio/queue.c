// SPDX-License-Identifier: GPL-2.0-only
/*
 * Split virtqueues: virtio 1.2 and 1.3, section 2.7, with indirect descriptors
 * (2.7.5.3) and both kinds of notification suppression (2.7.7, 2.7.10).
 *
 * Trust. Everything in guest memory may change at any time under our hands. So
 * each thing is read once, into memory of ours, and the copy is checked and used:
 * the available index, a head, a descriptor. Addresses become host pointers in one
 * place, by memory.h, which knows no more than RAM. Where the driver stands and
 * where we stand is kept here (last_avail, used_idx), never read back. The rings'
 * geometry is checked once when the driver enables the queue, and frozen.
 *
 * A driver that breaks a rule breaks its queue: `broken` is set with the rule's
 * name, nothing is taken or given back any more, and the device (virtio/device.c)
 * tells the driver that it needs a reset. The rules:
 *
 *   the available index runs ahead by more than the queue's size
 *   a head or a next index beyond its table; a head that is in flight already
 *   a chain longer than the queue, which a loop is too
 *   INDIRECT without the feature, inside a table, or together with NEXT
 *   an indirect table that is empty, no multiple of 16 bytes, longer than a next
 *   index reaches, or not inside one region of RAM
 *   a buffer not inside one region of RAM; readable after writable; 2^32 bytes
 *
 * Work is bounded: a pass takes at most as many requests as the queue has entries,
 * each of at most as many descriptors. No more requests than entries exist, and
 * they are freed when the queue is disabled.
 *
 * Order. Guest and device run on different harts, which may be weakly ordered:
 *   - the available index is loaded with acquire, before ring and descriptors;
 *   - the used index is stored with release, after the entry and all data;
 *   - between telling something (used index, "notify me") and looking whether the
 *     other side meanwhile said the opposite there is a full barrier, on both
 *     sides, so that one of the two notices.
 * Ring fields are accessed by relaxed atomics at least, so that each is loaded and
 * stored whole and once.
 *
 * Dirty pages are marked after bytes were written and before the driver hears of
 * it, so a page is never reported clean with a new content.
 *
 * Thread and lock: see include/lkvm/virtio/queue.h. What is saved: layout and
 * indexes, with nothing in flight.
 */
#include "lkvm/virtio/queue.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DESC_SIZE 16
#define DESC_F_NEXT 1
#define DESC_F_WRITE 2
#define DESC_F_INDIRECT 4

#define AVAIL_F_NO_INTERRUPT 1
#define USED_F_NO_NOTIFY 1

/* Available ring, in 16-bit units: flags, idx, ring[num], used_event. */
#define AVAIL_FLAGS 0
#define AVAIL_IDX 1
#define AVAIL_RING 2

/* Used ring, in bytes: flags, idx, ring[num] of 8, avail_event. */
#define USED_FLAGS 0
#define USED_IDX 2
#define USED_RING 4
#define USED_ELEM 8

/* A next index has 16 bits: what is further is out of reach. */
#define INDIRECT_MAX 65536

/* Enough for what drivers mostly send; more grows. */
#define FIRST_IOVECS 8

/* One descriptor, copied. */
struct desc {
	gpa_t addr;
	uint32_t len;
	uint16_t flags, next;
};

static uint64_t desc_size(uint32_t num)
{
	return (uint64_t)DESC_SIZE * num;
}

static uint64_t avail_size(uint32_t num)
{
	return 6 + 2 * (uint64_t)num;
}

static uint64_t used_size(uint32_t num)
{
	return 6 + USED_ELEM * (uint64_t)num;
}

static uint16_t load16(const uint16_t *p)
{
	return le16toh(__atomic_load_n(p, __ATOMIC_RELAXED));
}

/* Everything before is visible to the guest before anything after is looked at. */
static void full_barrier(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static bool get_busy(const struct virtq *q, uint16_t head)
{
	return q->busy[head / 64] >> (head % 64) & 1;
}

static void put_busy(struct virtq *q, uint16_t head, bool on)
{
	uint64_t bit = UINT64_C(1) << (head % 64);

	q->busy[head / 64] = on ? q->busy[head / 64] | bit : q->busy[head / 64] & ~bit;
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
		free(req->gpa);
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

int virtq_enable(struct virtq *q, const struct virtq_layout *layout, bool indirect, bool event_idx,
		 struct error *err)
{
	struct virtq_layout l = *layout;
	const void *desc, *avail, *used;

	if (!is_power_of_two(l.num) || l.num > q->max)
		return fail(err, "its size is %u: not a power of two from 1 to %u", l.num, q->max);
	if (l.desc % 16 || l.avail % 2 || l.used % 4)
		return fail(err,
			    "a ring is not aligned (descriptors 0x%llx, available 0x%llx, used "
			    "0x%llx)",
			    (unsigned long long)l.desc, (unsigned long long)l.avail,
			    (unsigned long long)l.used);
	desc = memory_for_read(q->mem, l.desc, desc_size(l.num));
	avail = memory_for_read(q->mem, l.avail, avail_size(l.num));
	used = memory_for_read(q->mem, l.used, used_size(l.num));
	if (!desc || !avail || !used)
		return fail(err, "its %s at 0x%llx is not inside RAM",
			    !desc ? "descriptor table" : (!avail ? "available ring" : "used ring"),
			    (unsigned long long)(!desc ? l.desc : (!avail ? l.avail : l.used)));
	if (overlap(l.desc, desc_size(l.num), l.avail, avail_size(l.num)) ||
	    overlap(l.desc, desc_size(l.num), l.used, used_size(l.num)) ||
	    overlap(l.avail, avail_size(l.num), l.used, used_size(l.num)))
		return fail(err, "its rings overlap");

	q->layout = l;
	q->desc = desc;
	/* Of these two the guest's half is only read, ours only written. */
	q->avail = (uint16_t *)(uintptr_t)avail;
	q->used = (uint8_t *)(uintptr_t)used;
	q->indirect = indirect;
	q->event_idx = event_idx;
	q->last_avail = 0;
	q->used_idx = 0;
	q->signalled = 0;
	q->quiet = false;
	q->budget = 0;
	q->more = false;
	q->broken = false;
	q->why = NULL;
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

static void used_dirty(struct virtq *q, uint64_t offset, uint64_t len)
{
	/* Marks only: where the ring is was settled when it was enabled. */
	memory_for_write(q->mem, q->layout.used + offset, len);
}

static void used_store16(struct virtq *q, uint64_t offset, uint16_t value, int order)
{
	uint16_t *p = (uint16_t *)(void *)(q->used + offset);

	if (order == __ATOMIC_RELEASE)
		__atomic_store_n(p, htole16(value), __ATOMIC_RELEASE);
	else
		__atomic_store_n(p, htole16(value), __ATOMIC_RELAXED);
	used_dirty(q, offset, sizeof(value));
}

/* Where the driver is: all that it wrote before is visible after this. */
static uint16_t avail_idx(const struct virtq *q)
{
	return le16toh(__atomic_load_n(&q->avail[AVAIL_IDX], __ATOMIC_ACQUIRE));
}

/*
 * With event indexes silence needs no word: the driver notifies when it passes
 * avail_event, which stays behind while we are at work.
 */
static void notify_off(struct virtq *q)
{
	if (q->quiet)
		return;
	q->quiet = true;
	if (!q->event_idx)
		used_store16(q, USED_FLAGS, USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
}

static void notify_on(struct virtq *q)
{
	q->quiet = false;
	if (q->event_idx)
		used_store16(q, USED_RING + (uint64_t)USED_ELEM * q->layout.num, q->last_avail,
			     __ATOMIC_RELAXED);
	else
		used_store16(q, USED_FLAGS, 0, __ATOMIC_RELAXED);
	full_barrier();
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

static struct desc load_desc(const uint8_t *table, unsigned int index)
{
	const uint8_t *at = table + (size_t)DESC_SIZE * index;
	uint64_t half[2];

	/* An indirect table need not be aligned. */
	if ((uintptr_t)at % sizeof(half[0])) {
		memcpy(half, at, sizeof(half));
	} else {
		const uint64_t *from = (const uint64_t *)(const void *)at;

		half[0] = __atomic_load_n(&from[0], __ATOMIC_RELAXED);
		half[1] = __atomic_load_n(&from[1], __ATOMIC_RELAXED);
	}
	half[1] = le64toh(half[1]);
	return (struct desc){
		.addr = le64toh(half[0]),
		.len = (uint32_t)half[1],
		.flags = (uint16_t)(half[1] >> 32),
		.next = (uint16_t)(half[1] >> 48),
	};
}

static bool grow(struct virtq_request *req)
{
	unsigned int max = req->max ? req->max * 2 : FIRST_IOVECS;
	struct iovec *iov = realloc(req->iov, max * sizeof(*iov));
	gpa_t *gpa;

	if (!iov)
		return false;
	req->iov = iov;
	gpa = realloc(req->gpa, max * sizeof(*gpa));
	if (!gpa)
		return false;
	req->gpa = gpa;
	req->max = max;
	return true;
}

/* Add @d's buffer to @req. NULL, or the rule that it breaks. */
static const char *add_buffer(struct virtq *q, struct virtq_request *req, const struct desc *d)
{
	bool writable = d->flags & DESC_F_WRITE;
	unsigned int nr = req->nr_readable + req->nr_writable;
	const void *hva;

	if (!writable && req->nr_writable)
		return "a readable buffer follows a writable one";
	if (d->len > UINT32_MAX - req->readable - req->writable)
		return "a chain holds 4 GiB or more";
	if (!d->len)
		return NULL;
	hva = memory_for_read(q->mem, d->addr, d->len);
	if (!hva)
		return "a buffer is not inside RAM";
	if (nr == req->max && !grow(req))
		return "the host has no memory for a request";
	req->iov[nr].iov_base = (void *)(uintptr_t)hva;
	req->iov[nr].iov_len = d->len;
	req->gpa[nr] = d->addr;
	if (writable) {
		req->nr_writable++;
		req->writable += d->len;
	} else {
		req->nr_readable++;
		req->readable += d->len;
	}
	return NULL;
}

/* Follow the chain that starts at req->head. NULL, or the rule that it breaks. */
static const char *walk(struct virtq *q, struct virtq_request *req)
{
	const uint8_t *table = q->desc;
	unsigned int count = q->layout.num, left = count, index = req->head;
	bool inside = false;

	for (;;) {
		struct desc d = load_desc(table, index);
		const char *why;

		if (d.flags & DESC_F_INDIRECT) {
			if (!q->indirect)
				return "an indirect descriptor was not negotiated";
			if (inside)
				return "an indirect descriptor lies inside an indirect table";
			if (d.flags & DESC_F_NEXT)
				return "an indirect descriptor has a next one";
			if (!d.len || d.len % DESC_SIZE || d.len / DESC_SIZE > INDIRECT_MAX)
				return "an indirect table has a bad length";
			table = memory_for_read(q->mem, d.addr, d.len);
			if (!table)
				return "an indirect table is not inside RAM";
			inside = true;
			count = d.len / DESC_SIZE;
			index = 0;
			continue;
		}
		if (!left--)
			return "a chain is longer than the queue";
		why = add_buffer(q, req, &d);
		if (why)
			return why;
		if (!(d.flags & DESC_F_NEXT))
			return NULL;
		if (d.next >= count)
			return "a next index is beyond the table";
		index = d.next;
	}
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
	uint16_t idx = avail_idx(q);

	if (idx == q->last_avail) {
		notify_on(q);
		idx = avail_idx(q);
		if (idx == q->last_avail)
			return false;
		notify_off(q);
	}
	if ((uint16_t)(idx - q->last_avail) > q->layout.num) {
		virtq_break(q, "the available index ran ahead");
		return false;
	}
	return true;
}

struct virtq_request *virtq_pop(struct virtq *q)
{
	struct virtq_request *req;
	const char *why;
	uint16_t head;

	if (!q->ready || q->away || q->broken || !available(q))
		return NULL;
	if (!q->budget) {
		q->more = true;
		return NULL;
	}
	head = load16(&q->avail[AVAIL_RING + q->last_avail % q->layout.num]);
	if (head >= q->layout.num) {
		virtq_break(q, "a head is beyond the descriptor table");
		return NULL;
	}
	if (get_busy(q, head)) {
		virtq_break(q, "a head is available that is in flight");
		return NULL;
	}
	req = get_request(q);
	if (!req) {
		virtq_break(q, "the host has no memory for a request");
		return NULL;
	}
	req->head = head;
	why = walk(q, req);
	if (why) {
		put_request(q, req);
		virtq_break(q, why);
		return NULL;
	}
	put_busy(q, head, true);
	q->inflight++;
	q->budget--;
	q->last_avail++;
	return req;
}

void virtq_drop(struct virtq *q, struct virtq_request *req)
{
	put_busy(q, req->head, false);
	q->inflight--;
	put_request(q, req);
}

void virtq_push(struct virtq *q, struct virtq_request *req)
{
	if (q->ready && !q->broken) {
		uint64_t offset =
			USED_RING + (uint64_t)USED_ELEM * (q->used_idx & (q->layout.num - 1));
		uint32_t *elem = (uint32_t *)(void *)(q->used + offset);

		__atomic_store_n(&elem[0], htole32(req->head), __ATOMIC_RELAXED);
		__atomic_store_n(&elem[1], htole32(req->filled), __ATOMIC_RELAXED);
		used_dirty(q, offset, USED_ELEM);
		q->used_idx++;
		used_store16(q, USED_IDX, q->used_idx, __ATOMIC_RELEASE);
	}
	virtq_drop(q, req);
}

bool virtq_should_signal(struct virtq *q)
{
	uint16_t last = q->signalled, event;

	if (!q->ready || q->away || q->broken || last == q->used_idx)
		return false;
	full_barrier();
	q->signalled = q->used_idx;
	if (!q->event_idx)
		return !(load16(&q->avail[AVAIL_FLAGS]) & AVAIL_F_NO_INTERRUPT);
	/* Did an entry at the index the driver named come with those since the last time? */
	event = load16(&q->avail[AVAIL_RING + q->layout.num]);
	return (uint16_t)(event - last) < (uint16_t)(q->used_idx - last);
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
	xfer_u16(x, &q->last_avail);
	xfer_u16(x, &q->used_idx);
	xfer_check(x, q->last_avail == q->used_idx || q->broken,
		   "virtio: a queue with requests in flight");
	/* Whoever left the device last asked virtq_should_signal(). */
	if (x->loading && !x->failed)
		q->signalled = q->used_idx;
}

/* --- cursors ---------------------------------------------------------------- */

struct virtq_cursor virtq_reader(struct virtq_request *req)
{
	return (struct virtq_cursor){.req = req, .left = req->readable};
}

struct virtq_cursor virtq_writer(struct virtq_request *req)
{
	return (struct virtq_cursor){.req = req, .index = req->nr_readable, .left = req->writable};
}

/* The bytes of the current iovec from here on. */
static struct iovec run(const struct virtq_cursor *c)
{
	const struct iovec *iov = &c->req->iov[c->index];

	return (struct iovec){(char *)iov->iov_base + c->offset, iov->iov_len - c->offset};
}

static void move(struct virtq_cursor *c, size_t len)
{
	c->offset += len;
	c->pos += (uint32_t)len;
	c->left -= (uint32_t)len;
	if (c->offset == c->req->iov[c->index].iov_len) {
		c->index++;
		c->offset = 0;
	}
}

/* @len bytes of the current iovec were written. */
static void wrote(struct virtq_cursor *c, size_t len)
{
	struct virtq_request *req = c->req;

	memory_for_write(req->queue->mem, req->gpa[c->index] + c->offset, len);
	if (c->pos == req->filled)
		req->filled += (uint32_t)len;
	else if (c->pos < req->filled && c->pos + len > req->filled)
		req->filled = c->pos + (uint32_t)len;
}

size_t virtq_read(struct virtq_cursor *c, void *buf, size_t len)
{
	size_t done = 0;

	len = min_u64(len, c->left);
	while (done < len) {
		struct iovec part = run(c);
		size_t n = min_u64(part.iov_len, len - done);

		memcpy((char *)buf + done, part.iov_base, n);
		move(c, n);
		done += n;
	}
	return done;
}

size_t virtq_write(struct virtq_cursor *c, const void *buf, size_t len)
{
	size_t done = 0;

	len = min_u64(len, c->left);
	while (done < len) {
		struct iovec part = run(c);
		size_t n = min_u64(part.iov_len, len - done);

		memcpy(part.iov_base, (const char *)buf + done, n);
		wrote(c, n);
		move(c, n);
		done += n;
	}
	return done;
}

unsigned int virtq_map(const struct virtq_cursor *c, size_t len, struct iovec *iov,
		       unsigned int max, size_t *mapped)
{
	struct virtq_cursor at = *c;
	unsigned int nr = 0;

	*mapped = 0;
	len = min_u64(len, at.left);
	while (nr < max && *mapped < len) {
		iov[nr] = run(&at);
		iov[nr].iov_len = min_u64(iov[nr].iov_len, len - *mapped);
		*mapped += iov[nr].iov_len;
		move(&at, iov[nr].iov_len);
		nr++;
	}
	return nr;
}

void virtq_skip(struct virtq_cursor *c, size_t len)
{
	len = min_u64(len, c->left);
	while (len) {
		size_t n = min_u64(run(c).iov_len, len);

		move(c, n);
		len -= n;
	}
}

void virtq_filled(struct virtq_cursor *c, size_t len)
{
	len = min_u64(len, c->left);
	while (len) {
		size_t n = min_u64(run(c).iov_len, len);

		wrote(c, n);
		move(c, n);
		len -= n;
	}
}
