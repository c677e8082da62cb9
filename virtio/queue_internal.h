/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kinds of ring (queue_split.c, queue_packed.c) and the queue (queue.c) know
 * of each other. Private to this folder.
 */
#ifndef VIRTIO_QUEUE_INTERNAL_H
#define VIRTIO_QUEUE_INTERNAL_H

#include "lkvm/virtio/queue.h"

#include <endian.h>

#define DESC_SIZE 16
#define DESC_F_NEXT 1
#define DESC_F_WRITE 2
#define DESC_F_INDIRECT 4

/* A next index has 16 bits: what is further is out of reach. */
#define INDIRECT_MAX 65536

/**
 * struct ring_ops - what differs between kinds of ring
 * @check: is @layout possible, and where are its parts? Fills in @q's pointers.
 * @start: indexes at the beginning
 * @notify: tell the driver to notify (and look again whether it has something), or not to
 * @available: is there a request? May break the queue.
 * @take: read the next request into @req and move on. NULL, or the rule it breaks
 *        (then nothing has moved).
 * @untake: move back by @req, which was taken last
 * @give: write @req as used and move on
 * @wants_signal: has the driver asked to hear of what was given since this was asked?
 *                Something was.
 * @transfer: walk over the indexes
 */
struct ring_ops {
	int (*check)(struct virtq *q, const struct virtq_layout *layout, struct error *err);
	void (*start)(struct virtq *q);
	void (*notify)(struct virtq *q, bool on);
	bool (*available)(struct virtq *q);
	const char *(*take)(struct virtq *q, struct virtq_request *req);
	void (*untake)(struct virtq *q, const struct virtq_request *req);
	void (*give)(struct virtq *q, const struct virtq_request *req);
	bool (*wants_signal)(struct virtq *q);
	void (*transfer)(struct virtq *q, struct xfer *x);
};

extern const struct ring_ops split_ring, packed_ring;

/**
 * struct desc - one descriptor, copied; @tail is the last 16 bits but the flags
 */
struct desc {
	gpa_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next; /* split: next index; packed: buffer ID */
};

/**
 * struct desc_halves - the 16 bytes of a descriptor, as they lie in memory
 */
struct desc_halves {
	uint64_t low, high;
};

/**
 * virtq_load_halves() - load a descriptor, each half once
 *
 * An indirect table need not be aligned; then it is copied by bytes.
 */
struct desc_halves virtq_load_unaligned(const uint8_t *at);

static inline struct desc_halves virtq_load_halves(const uint8_t *at)
{
	const uint64_t *half = (const uint64_t *)(const void *)at;

	if ((uintptr_t)at % sizeof(*half))
		return virtq_load_unaligned(at);
	return (struct desc_halves){
		le64toh(__atomic_load_n(&half[0], __ATOMIC_RELAXED)),
		le64toh(__atomic_load_n(&half[1], __ATOMIC_RELAXED)),
	};
}

/**
 * virtq_find_rings() - host pointers of the three parts of a layout, which must not overlap
 */
int virtq_find_rings(struct virtq *q, const struct virtq_layout *layout, uint64_t desc_len,
		     uint64_t avail_len, uint64_t used_len, struct error *err);

/**
 * virtq_grow() - make room for more iovecs; false where there is no memory
 */
bool virtq_grow(struct virtq_request *req);

/**
 * virtq_add_buffer() - add @d's buffer to @req; NULL, or the rule that it breaks
 *
 * Inline: it is called for each 4 KiB of a large request.
 */
static inline const char *virtq_add_buffer(struct virtq *q, struct virtq_request *req,
					   const struct desc *d)
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
	if (writable && !memory_may_write(q->mem, d->addr, d->len))
		return "a buffer to be written is in a read-only file";
	if (nr == req->max && !virtq_grow(req))
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

/**
 * virtq_indirect_table() - the table that @d, a descriptor outside tables, names
 *
 * Return: NULL with *@why set.
 */
const uint8_t *virtq_indirect_table(struct virtq *q, struct desc d, const char **why);

/**
 * virtq_is_busy() - is head or buffer @id in flight?
 */
static inline bool virtq_is_busy(const struct virtq *q, uint16_t id)
{
	return q->busy[id / 64] >> (id % 64) & 1;
}

static inline uint16_t load16(const uint16_t *p)
{
	return le16toh(__atomic_load_n(p, __ATOMIC_RELAXED));
}

/* Everything before is visible to the guest before anything after is looked at. */
static inline void full_barrier(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

#endif /* VIRTIO_QUEUE_INTERNAL_H */
