/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A virtqueue, seen from the device: the only code that follows descriptors.
 *
 * A device takes requests from it, reaches their bytes by cursors or as iovecs of
 * host memory, and gives them back. It never sees a guest address, a length that
 * was not checked, or a descriptor that the guest can still change.
 *
 *   virtq_init -> { virtq_enable -> { virtq_pop -> read, write -> virtq_push }* ->
 *   virtq_disable }* -> virtq_destroy
 *
 * A queue has no lock: it belongs to its device, whose lock is held for every call
 * here but the cursor functions. Those work on a request that was popped, which
 * belongs to whoever carries it out until it is pushed.
 */
#ifndef LKVM_VIRTIO_QUEUE_H
#define LKVM_VIRTIO_QUEUE_H

#include "lkvm/memory.h"
#include "lkvm/xfer.h"

#include <sys/uio.h>

/* The specification's limit; a device's own limit is lower. */
#define VIRTQ_SIZE_LIMIT 32768

struct ring_ops;
struct virtq;

/**
 * struct virtq_layout - what the driver says about a queue before it enables it
 * @num: entries
 * @desc: descriptor table ("descriptor area")
 * @avail: available ring ("driver area")
 * @used: used ring ("device area")
 */
struct virtq_layout {
	uint32_t num;
	gpa_t desc, avail, used;
};

/**
 * struct virtq_request - one descriptor chain, checked
 * @queue: where it came from
 * @readable: bytes the device may read; @nr_readable: iovecs that hold them
 * @writable: bytes the device may write; @nr_writable: iovecs that hold them
 * @iov: host memory: first the readable part, then the writable one
 * @filled: bytes written without a gap from the first writable one: the used length
 * @done: what virtq_put_back() said of it; 0 the first time
 */
struct virtq_request {
	struct virtq *queue;
	uint32_t readable, writable;
	unsigned int nr_readable, nr_writable;
	struct iovec *iov;
	uint32_t filled, done;
	/* private */
	unsigned int max;
	uint16_t id;	/* head, or buffer ID of a packed ring */
	uint16_t slots; /* of a packed ring */
	struct virtq_request *next;
	max_align_t priv[];
};

/**
 * struct virtq - a queue; all fields but @max, @ready and @broken are private
 * @max: most entries the driver may ask for
 * @ready: enabled by the driver
 * @away: somebody else serves it: the rings are not touched
 * @broken: the driver broke a rule: nothing is taken or given back any more
 * @why: which rule, for a message
 */
struct virtq {
	uint16_t max;
	bool ready, away, broken;
	const char *why;

	struct guest_memory *mem;
	size_t priv_size;
	struct virtq_layout layout;
	bool indirect, event_idx;
	/* The rings, as the host sees them. */
	const struct ring_ops *ring;
	const uint8_t *desc;
	uint8_t *avail, *used;
	/* The device's own view; what the guest's memory says is not trusted. */
	uint16_t last_avail, used_idx, signalled;
	bool given;	     /* something, since the driver's wish was last looked at */
	unsigned int slots;  /* of a packed ring, in flight */
	bool quiet;	     /* the driver was told not to notify */
	unsigned int budget; /* requests left in this pass */
	bool more;	     /* the pass ended because the budget did */
	unsigned int inflight;
	uint32_t done;	/* of the request that was put back */
	uint64_t *busy; /* heads in flight */
	struct virtq_request *free;
};

/**
 * virtq_init() - a queue that is not enabled
 * @max: power of two up to VIRTQ_SIZE_LIMIT
 * @priv_size: bytes the device wants with each request, see virtq_priv()
 *
 * Return: 0, or -ENOMEM or -EINVAL.
 */
int virtq_init(struct virtq *q, struct guest_memory *mem, uint16_t max, size_t priv_size);

/**
 * virtq_destroy() - free it; nothing is in flight
 */
void virtq_destroy(struct virtq *q);

/* For virtq_enable(): features that were negotiated. */
#define VIRTQ_INDIRECT 1
#define VIRTQ_EVENT_IDX 2
#define VIRTQ_PACKED 4

/**
 * virtq_enable() - check the layout, freeze it, start at index 0
 * @flags: VIRTQ_*
 *
 * The same check serves the driver's register and a loaded state.
 *
 * Return: 0, or -1 with @err naming the rule that was broken; then the queue is as
 * before.
 */
int virtq_enable(struct virtq *q, const struct virtq_layout *layout, unsigned int flags,
		 struct error *err);

/**
 * virtq_disable() - forget the rings; nothing is in flight
 */
void virtq_disable(struct virtq *q);

/**
 * virtq_begin() - start a pass: at most as many pops as the queue has entries
 *
 * Tells the driver not to notify until the queue was seen empty.
 */
void virtq_begin(struct virtq *q);

/**
 * virtq_pop() - the next request, or NULL
 *
 * NULL means: empty (the driver will notify again), or the pass is over
 * (virtq_more() is true; come back), or the queue is broken or not enabled.
 * A device that stops popping before it saw NULL must come back by itself too.
 */
struct virtq_request *virtq_pop(struct virtq *q);

/**
 * virtq_waiting() - is there a request? Unlike virtq_pop() this does not ask the driver
 * to notify where there is none.
 */
bool virtq_waiting(struct virtq *q);

/**
 * virtq_linger() - end the pass as if there were work left: virtq_more() is true
 *
 * For a device that expects more in a moment: before virtq_pop() gave NULL, so that the
 * driver need not notify meanwhile.
 */
static inline void virtq_linger(struct virtq *q)
{
	q->more = true;
}

/**
 * virtq_more() - did the last pass end with work left?
 */
static inline bool virtq_more(const struct virtq *q)
{
	return q->more;
}

/**
 * virtq_push() - give @req back; the used length is what was written
 *
 * @req is gone afterwards. Into a queue that is broken or not enabled nothing is
 * written.
 */
void virtq_push(struct virtq *q, struct virtq_request *req);

/**
 * virtq_drop() - free @req without telling the driver
 */
void virtq_drop(struct virtq *q, struct virtq_request *req);

/**
 * virtq_put_back() - leave @req, the request popped last, in the ring after all
 * @done: how much of it is done, in the device's own measure
 * @again: end the pass here as if it had taken all it may: virtq_more() is true
 *
 * For a device that waits for the world: nothing is in flight meanwhile. Nothing may
 * have been written into @req, which is gone. The next virtq_pop() reads it anew, and
 * the driver may have changed it.
 */
void virtq_put_back(struct virtq *q, struct virtq_request *req, uint32_t done, bool again);

/**
 * virtq_gpa() - the address of @req's iovec @index, for who marks what was written, and for a
 * device that gives pages back to the host (balloon); others need none
 */
static inline gpa_t virtq_gpa(const struct virtq_request *req, unsigned int index)
{
	gpa_t gpa = 0;

	memory_gpa_of(req->queue->mem, req->iov[index].iov_base, &gpa);
	return gpa;
}

/**
 * virtq_should_signal() - does the driver want to hear of what was pushed since
 * this was last asked?
 */
bool virtq_should_signal(struct virtq *q);

/**
 * virtq_break() - the driver broke a rule that only the device knows
 * @why: a string that stays
 */
void virtq_break(struct virtq *q, const char *why);

/**
 * virtq_hand_over() - somebody else serves the queue from now, which is ready
 * @layout: where the rings are
 *
 * Nothing is in flight. Return: index in the available ring of the next request.
 */
uint16_t virtq_hand_over(struct virtq *q, struct virtq_layout *layout);

/**
 * virtq_take_back() - nobody else serves it any more; all before index @next is done
 */
void virtq_take_back(struct virtq *q, uint16_t next);

/**
 * virtq_priv() - the device's own bytes of @req, zeroed by virtq_pop()
 */
static inline void *virtq_priv(struct virtq_request *req)
{
	return req->priv;
}

/**
 * virtq_transfer_layout() ... virtq_transfer_indexes() - the state of a queue with
 * nothing in flight
 *
 * The caller walks both with @q a scratch queue, which must have been enabled with
 * the loaded layout in between where @q->ready is said to be.
 */
void virtq_transfer_layout(struct xfer *x, struct virtq_layout *layout);
void virtq_transfer_indexes(struct xfer *x, struct virtq *q);

/**
 * struct virtq_cursor - a place in the readable or in the writable part of a request
 * @left: bytes from here to the end of the part
 */
struct virtq_cursor {
	struct virtq_request *req;
	unsigned int index; /* of the iovec */
	size_t offset;	    /* in it */
	uint32_t pos;	    /* from the part's start */
	uint32_t left;
};

/**
 * virtq_reader() / virtq_writer() - a cursor at the start of the part
 */
struct virtq_cursor virtq_reader(struct virtq_request *req);
struct virtq_cursor virtq_writer(struct virtq_request *req);

/**
 * virtq_read() - copy up to @len bytes out of the readable part and move on
 *
 * Return: bytes copied: less than @len only at the end of the part.
 */
size_t virtq_read(struct virtq_cursor *c, void *buf, size_t len);

/**
 * virtq_write() - copy up to @len bytes into the writable part and move on
 *
 * They count as written (used length, dirty pages). Return: as virtq_read().
 */
size_t virtq_write(struct virtq_cursor *c, const void *buf, size_t len);

/**
 * virtq_map() - the next @len bytes as host memory, without moving
 * @max: entries in @iov; fewer bytes are given where they do not suffice
 *
 * Return: entries filled; *@mapped (not NULL) says how many bytes they hold.
 */
unsigned int virtq_map(const struct virtq_cursor *c, size_t len, struct iovec *iov,
		       unsigned int max, size_t *mapped);

/**
 * virtq_iovecs() - the next @len bytes as iovecs of the request's own, without copying
 * @nr: how many
 *
 * Return: NULL where they do not begin and end with an iovec. Good until the request
 * is given back.
 */
const struct iovec *virtq_iovecs(const struct virtq_cursor *c, size_t len, unsigned int *nr);

/**
 * virtq_skip() - move on by up to @len bytes without touching them
 */
void virtq_skip(struct virtq_cursor *c, size_t len);

/**
 * virtq_filled() - the next @len bytes of the writable part were written through
 * virtq_map(): count them as written and move on
 */
void virtq_filled(struct virtq_cursor *c, size_t len);

#endif /* LKVM_VIRTIO_QUEUE_H */
