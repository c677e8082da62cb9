// SPDX-License-Identifier: GPL-2.0-only
/*
 * Split rings: virtio 1.2 and 1.3, section 2.7, with indirect descriptors (2.7.5.3)
 * and both kinds of notification suppression (2.7.7, 2.7.10).
 *
 * Beside the rules in queue.c a driver breaks the queue where
 *
 *   the available index runs ahead by more than the queue's size
 *   a head or a next index is beyond its table
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
 * Thread and lock: the queue's. What is saved: both indexes, which agree because
 * nothing is in flight.
 */
#include "queue_internal.h"

#include <string.h>

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

static int split_check(struct virtq *q, const struct virtq_layout *l, struct error *err)
{
	if (!is_power_of_two(l->num) || l->num > q->max)
		return fail(err, "its size is %u: not a power of two from 1 to %u", l->num, q->max);
	if (l->desc % 16 || l->avail % 2 || l->used % 4)
		return fail(err,
			    "a ring is not aligned (descriptors 0x%llx, available 0x%llx, used "
			    "0x%llx)",
			    (unsigned long long)l->desc, (unsigned long long)l->avail,
			    (unsigned long long)l->used);
	return virtq_find_rings(q, l, (uint64_t)DESC_SIZE * l->num, 6 + 2 * (uint64_t)l->num,
				6 + USED_ELEM * (uint64_t)l->num, err);
}

static void split_start(struct virtq *q)
{
	q->last_avail = 0;
	q->used_idx = 0;
	q->signalled = 0;
}

static uint16_t *avail(const struct virtq *q)
{
	return (uint16_t *)(void *)q->avail;
}

static void used_store16(struct virtq *q, uint64_t offset, uint16_t value, int order)
{
	uint16_t *p = (uint16_t *)(void *)(q->used + offset);

	if (order == __ATOMIC_RELEASE)
		__atomic_store_n(p, htole16(value), __ATOMIC_RELEASE);
	else
		__atomic_store_n(p, htole16(value), __ATOMIC_RELAXED);
	/* Marks only: where the ring is was settled when it was enabled. */
	memory_for_write(q->mem, q->layout.used + offset, sizeof(value));
}

/* Where the driver is: all that it wrote before is visible after this. */
static uint16_t avail_idx(const struct virtq *q)
{
	return le16toh(__atomic_load_n(&avail(q)[AVAIL_IDX], __ATOMIC_ACQUIRE));
}

/*
 * With event indexes silence needs no word: the driver notifies when it passes
 * avail_event, which stays behind while we are at work.
 */
static void split_notify(struct virtq *q, bool on)
{
	if (q->event_idx && on)
		used_store16(q, USED_RING + (uint64_t)USED_ELEM * q->layout.num, q->last_avail,
			     __ATOMIC_RELAXED);
	else if (!q->event_idx)
		used_store16(q, USED_FLAGS, on ? 0 : USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
	if (on)
		full_barrier();
}

static bool split_available(struct virtq *q)
{
	uint16_t ahead = (uint16_t)(avail_idx(q) - q->last_avail);

	if (ahead <= q->layout.num)
		return ahead;
	virtq_break(q, "the available index ran ahead");
	return false;
}

static struct desc to_desc(struct desc_halves d)
{
	return (struct desc){
		.addr = d.low,
		.len = (uint32_t)d.high,
		.flags = (uint16_t)(d.high >> 32),
		.next = (uint16_t)(d.high >> 48),
	};
}

/* Follow the chain that starts at req->id. NULL, or the rule that it breaks. */
static const char *walk(struct virtq *q, struct virtq_request *req)
{
	const uint8_t *table = q->desc;
	unsigned int count = q->layout.num, left = count, index = req->id;
	struct virtq_chain chain = virtq_begin_chain(q, req);
	bool inside = false;

	for (;;) {
		struct desc_halves d = virtq_load_halves(table + (size_t)DESC_SIZE * index);
		uint64_t flags = d.high >> 32;
		const char *why;

		if (flags & DESC_F_INDIRECT) {
			if (inside)
				return "an indirect descriptor lies inside an indirect table";
			table = virtq_indirect_table(q, to_desc(d), &why);
			if (!table)
				return why;
			inside = true;
			count = (uint32_t)d.high / DESC_SIZE;
			index = 0;
			continue;
		}
		if (!left--)
			return "a chain is longer than the queue";
		why = virtq_add_buffer(q, req, &chain, d.low, (uint32_t)d.high,
				       flags & DESC_F_WRITE);
		if (why)
			return why;
		if (!(flags & DESC_F_NEXT))
			return virtq_end_chain(req, &chain);
		index = (unsigned int)(d.high >> 48);
		if (index >= count)
			return "a next index is beyond the table";
	}
}

static const char *split_take(struct virtq *q, struct virtq_request *req)
{
	const char *why;

	req->id = load16(&avail(q)[AVAIL_RING + (q->last_avail & (q->layout.num - 1))]);
	if (req->id >= q->layout.num)
		return "a head is beyond the descriptor table";
	if (virtq_is_busy(q, req->id))
		return "a head is available that is in flight";
	why = walk(q, req);
	if (!why)
		q->last_avail++;
	return why;
}

static void split_untake(struct virtq *q, const struct virtq_request *req)
{
	(void)req;
	q->last_avail--;
}

static void split_give(struct virtq *q, const struct virtq_request *req)
{
	uint64_t offset = USED_RING + (uint64_t)USED_ELEM * (q->used_idx & (q->layout.num - 1));
	uint32_t *elem = (uint32_t *)(void *)(q->used + offset);

	__atomic_store_n(&elem[0], htole32(req->id), __ATOMIC_RELAXED);
	__atomic_store_n(&elem[1], htole32(req->filled), __ATOMIC_RELAXED);
	memory_for_write(q->mem, q->layout.used + offset, USED_ELEM);
	q->used_idx++;
	used_store16(q, USED_IDX, q->used_idx, __ATOMIC_RELEASE);
}

static bool split_wants_signal(struct virtq *q)
{
	uint16_t last = q->signalled, event;

	full_barrier();
	q->signalled = q->used_idx;
	if (!q->event_idx)
		return !(load16(&avail(q)[AVAIL_FLAGS]) & AVAIL_F_NO_INTERRUPT);
	/* Did an entry at the index the driver named come with those since the last time? */
	event = load16(&avail(q)[AVAIL_RING + q->layout.num]);
	return (uint16_t)(event - last) < (uint16_t)(q->used_idx - last);
}

static void split_transfer(struct virtq *q, struct xfer *x)
{
	xfer_u16(x, &q->last_avail);
	xfer_u16(x, &q->used_idx);
}

const struct ring_ops split_ring = {
	.check = split_check,
	.start = split_start,
	.notify = split_notify,
	.available = split_available,
	.take = split_take,
	.untake = split_untake,
	.give = split_give,
	.wants_signal = split_wants_signal,
	.transfer = split_transfer,
};
