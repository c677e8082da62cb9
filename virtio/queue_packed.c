// SPDX-License-Identifier: GPL-2.0-only
/*
 * Packed rings: virtio 1.2 and 1.3, section 2.8.
 *
 * One ring of descriptors serves both directions. The driver makes a slot available by
 * setting its AVAIL flag to its wrap counter and USED to the opposite; the device gives
 * a request back by writing one slot in which both flags equal its own wrap counter,
 * and passes over as many slots as the request had. Both walk round in order, whatever
 * order requests end in, so the device's writing place never overtakes its reading
 * place: what it overwrites it has read.
 *
 * Beside the rules in queue.c a driver breaks the queue where
 *
 *   a buffer ID is not below the queue's size (2.8.6 leaves its meaning to the driver;
 *   drivers number their slots)
 *   INDIRECT stands in a chain
 *
 * In struct virtq the indexes are slots in the lower 15 bits and the wrap counter in
 * bit 15, the form of the event fields; @signalled counts the slots given since the
 * last look.
 *
 * Order. A slot's flags are loaded with acquire before the rest of it, and stored with
 * release after the rest; of a chain, the first slot's flags were made available last
 * (2.8.14), so what follows is there. Full barriers as in queue_split.c.
 *
 * Thread and lock: the queue's. What is saved: both indexes, which agree because
 * nothing is in flight.
 */
#include "queue_internal.h"

#include <string.h>

#define SLOT_F_AVAIL 0x80
#define SLOT_F_USED 0x8000

/* A slot: address (8 bytes), length (4), buffer ID (2), flags (2). */
#define SLOT_LEN 8
#define SLOT_ID 12
#define SLOT_FLAGS 14

/* Event suppression, in 16-bit units: slot and wrap counter, flags. */
#define EVENT_SLOT 0
#define EVENT_FLAGS 1
#define EVENT_SIZE 4
#define EVENTS_ON 0
#define EVENTS_OFF 1
#define EVENTS_AT_SLOT 2

#define WRAP 0x8000
#define SLOT(index) ((index) & ~(unsigned int)WRAP)

static int packed_check(struct virtq *q, const struct virtq_layout *l, struct error *err)
{
	if (!l->num || l->num > q->max)
		return fail(err, "its size is %u: not from 1 to %u", l->num, q->max);
	if (l->desc % 16 || l->avail % 4 || l->used % 4)
		return fail(err,
			    "a ring is not aligned (descriptors 0x%llx, events 0x%llx, 0x%llx)",
			    (unsigned long long)l->desc, (unsigned long long)l->avail,
			    (unsigned long long)l->used);
	return virtq_find_rings(q, l, (uint64_t)DESC_SIZE * l->num, EVENT_SIZE, EVENT_SIZE, err);
}

/* Both wrap counters start at 1. */
static void packed_start(struct virtq *q)
{
	q->last_avail = WRAP;
	q->used_idx = WRAP;
	q->signalled = 0;
}

/* @index moved by @slots (at most the ring), back where that is negative. */
static uint16_t move(const struct virtq *q, uint16_t index, int slots)
{
	int at = (int)SLOT(index) + slots, num = (int)q->layout.num;
	uint16_t wrap = index & WRAP;

	if (at >= num || at < 0) {
		at += at < 0 ? num : -num;
		wrap ^= WRAP;
	}
	return (uint16_t)at | wrap;
}

static uint16_t *slot16(const struct virtq *q, uint16_t index, unsigned int field)
{
	return (uint16_t *)(void *)((uint8_t *)(uintptr_t)q->desc +
				    (size_t)DESC_SIZE * SLOT(index) + field);
}

static void store_event(struct virtq *q, unsigned int field, uint16_t value)
{
	__atomic_store_n((uint16_t *)(void *)q->used + field, htole16(value), __ATOMIC_RELAXED);
	memory_for_write(q->mem, q->layout.used + 2 * field, sizeof(value));
}

static void packed_notify(struct virtq *q, bool on)
{
	if (on && q->event_idx)
		store_event(q, EVENT_SLOT, q->last_avail);
	store_event(q, EVENT_FLAGS, !on ? EVENTS_OFF : q->event_idx ? EVENTS_AT_SLOT : EVENTS_ON);
	if (on)
		full_barrier();
}

/* Made available in the round that @index is in? */
static bool is_available(uint16_t index, uint16_t flags)
{
	bool wrap = index & WRAP;

	return !!(flags & SLOT_F_AVAIL) == wrap && !!(flags & SLOT_F_USED) != wrap;
}

static uint16_t load_flags(const struct virtq *q, uint16_t index)
{
	return le16toh(__atomic_load_n(slot16(q, index, SLOT_FLAGS), __ATOMIC_ACQUIRE));
}

/* With all slots in flight the next one still says the round before: not available. */
static bool packed_available(struct virtq *q)
{
	return is_available(q->last_avail, load_flags(q, q->last_avail));
}

/* inline: gcc makes it a call otherwise, for each buffer. */
static inline struct desc load_slot(const uint8_t *at)
{
	struct desc_halves d = virtq_load_halves(at);

	return (struct desc){
		.addr = d.low,
		.len = (uint32_t)d.high,
		.next = (uint16_t)(d.high >> 32),
		.flags = (uint16_t)(d.high >> 48),
	};
}

/* All of a table is one chain; only WRITE means something in it (2.8.8). */
static const char *take_table(struct virtq *q, struct virtq_request *req, struct virtq_chain *chain,
			      struct desc d)
{
	const char *why = NULL;
	const uint8_t *table = virtq_indirect_table(q, d, &why);
	struct virtq_chain whole = *chain;
	unsigned int i;

	if (table && d.len / DESC_SIZE > q->layout.num)
		return "a chain is longer than the queue";
	for (i = 0; table && !why && i < d.len / DESC_SIZE; i++) {
		struct desc buffer = load_slot(table + (size_t)DESC_SIZE * i);

		why = virtq_add_buffer(q, req, &whole, buffer.addr, buffer.len,
				       buffer.flags & DESC_F_WRITE);
	}
	*chain = whole;
	return why;
}

static const char *packed_take(struct virtq *q, struct virtq_request *req)
{
	uint16_t index = q->last_avail;
	struct virtq_chain chain = virtq_begin_chain(q, req);
	unsigned int slots = 0;
	const char *why;
	struct desc d;

	do {
		if (slots == q->layout.num)
			return "a chain is longer than the queue";
		d = load_slot(q->desc + (size_t)DESC_SIZE * SLOT(index));
		if (d.flags & DESC_F_INDIRECT)
			why = slots ? "an indirect descriptor lies in a chain"
				    : take_table(q, req, &chain, d);
		else
			why = virtq_add_buffer(q, req, &chain, d.addr, d.len,
					       d.flags & DESC_F_WRITE);
		if (why)
			return why;
		index = move(q, index, 1);
		slots++;
	} while (d.flags & DESC_F_NEXT);
	why = virtq_end_chain(req, &chain);
	if (why)
		return why;
	/* The last slot of a chain carries the ID of all. */
	if (d.next >= q->layout.num)
		return "a buffer ID is beyond the queue";
	if (virtq_is_busy(q, d.next))
		return "a buffer ID is available that is in flight";
	if (slots > q->layout.num - q->slots)
		return "slots are available that are in flight";
	req->id = d.next;
	req->slots = (uint16_t)slots;
	q->slots += slots;
	q->last_avail = index;
	return NULL;
}

static void packed_untake(struct virtq *q, const struct virtq_request *req)
{
	q->last_avail = move(q, q->last_avail, -(int)req->slots);
}

static void packed_give(struct virtq *q, const struct virtq_request *req)
{
	uint8_t *at = (uint8_t *)slot16(q, q->used_idx, 0);
	uint16_t flags = q->used_idx & WRAP ? SLOT_F_AVAIL | SLOT_F_USED : 0;

	if (req->filled)
		flags |= DESC_F_WRITE;
	__atomic_store_n((uint32_t *)(void *)(at + SLOT_LEN), htole32(req->filled),
			 __ATOMIC_RELAXED);
	__atomic_store_n((uint16_t *)(void *)(at + SLOT_ID), htole16(req->id), __ATOMIC_RELAXED);
	__atomic_store_n((uint16_t *)(void *)(at + SLOT_FLAGS), htole16(flags), __ATOMIC_RELEASE);
	memory_for_write(q->mem, q->layout.desc + (uint64_t)DESC_SIZE * SLOT(q->used_idx),
			 DESC_SIZE);
	q->used_idx = move(q, q->used_idx, req->slots);
	/* More than a round says no more than a round. */
	q->signalled = (uint16_t)min_u64(q->signalled + req->slots, q->layout.num);
}

/* Is the slot the driver named among the @given ones before our writing place? */
static bool passed(const struct virtq *q, uint16_t event, unsigned int given)
{
	unsigned int at = SLOT(q->used_idx), back;

	if (SLOT(event) >= q->layout.num)
		return true;
	if ((event & WRAP) == (q->used_idx & WRAP))
		back = at - SLOT(event); /* wraps to a huge one where it lies ahead */
	else
		back = at + q->layout.num - SLOT(event);
	return back - 1 < given;
}

static bool packed_wants_signal(struct virtq *q)
{
	const uint16_t *event = (const uint16_t *)(const void *)q->avail;
	unsigned int given = q->signalled;

	full_barrier();
	q->signalled = 0;
	switch (load16(&event[EVENT_FLAGS]) & 3) {
	case EVENTS_OFF:
		return false;
	case EVENTS_AT_SLOT:
		return !q->event_idx || passed(q, load16(&event[EVENT_SLOT]), given);
	default:
		return true;
	}
}

static void packed_transfer(struct virtq *q, struct xfer *x)
{
	xfer_u16(x, &q->last_avail);
	xfer_u16(x, &q->used_idx);
	xfer_check(x, SLOT(q->last_avail) < q->layout.num && SLOT(q->used_idx) < q->layout.num,
		   "virtio: an index beyond a packed ring");
}

const struct ring_ops packed_ring = {
	.check = packed_check,
	.start = packed_start,
	.notify = packed_notify,
	.available = packed_available,
	.take = packed_take,
	.untake = packed_untake,
	.give = packed_give,
	.wants_signal = packed_wants_signal,
	.transfer = packed_transfer,
};
