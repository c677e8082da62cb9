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
 * struct virtq_chain - the buffers of a request that is being taken apart
 * @iov: the next iovec; @end: behind the last one that there is room for
 * @window: where most buffers lie
 * @bytes: in all buffers so far
 * @readable, @nr_readable: bytes and iovecs before the first to be written, where there is
 *	one already (@writing)
 *
 * On the stack of whoever takes it apart, and never given away by its address, so that it stays
 * in registers: there may be a buffer for each 4 KiB of a large request.
 */
struct virtq_chain {
	struct iovec *iov, *end;
	struct memory_window window;
	uint64_t bytes, readable;
	unsigned int nr_readable;
	bool writing;
};

/**
 * virtq_grow() - make room for more iovecs; false where there is no memory
 */
bool virtq_grow(struct virtq_request *req);

/**
 * virtq_find_buffer() - host memory of a buffer that is not in the window; NULL with @*why set
 *
 * Not inline, as it is rare: so that compilers have virtq_add_buffer() inline.
 */
void *virtq_find_buffer(const struct virtq *q, gpa_t addr, uint32_t len, bool writable,
			const char **why);

static inline struct virtq_chain virtq_begin_chain(const struct virtq *q,
						   const struct virtq_request *req)
{
	return (struct virtq_chain){.iov = req->iov,
				    .end = req->iov ? req->iov + req->max : NULL,
				    .window = memory_window(q->mem)};
}

/**
 * virtq_add_buffer() - add a buffer to @c; NULL, or the rule that it breaks
 */
static inline const char *virtq_add_buffer(const struct virtq *q, struct virtq_request *req,
					   struct virtq_chain *c, gpa_t addr, uint32_t len,
					   bool writable)
{
	void *hva;

	if (c->writing && !writable)
		return "a readable buffer follows a writable one";
	if (!len)
		return NULL;
	hva = memory_in_window(&c->window, addr, len);
	if (!hva) {
		const char *why;

		hva = virtq_find_buffer(q, addr, len, writable, &why);
		if (!hva)
			return why;
	}
	if (c->iov == c->end) {
		size_t nr = req->max;

		if (!virtq_grow(req))
			return "the host has no memory for a request";
		c->iov = req->iov + nr;
		c->end = req->iov + req->max;
	}
	if (writable && !c->writing) {
		c->writing = true;
		c->readable = c->bytes;
		c->nr_readable = (unsigned int)(c->iov - req->iov);
	}
	c->iov->iov_base = hva;
	c->iov->iov_len = len;
	c->iov++;
	c->bytes += len;
	return NULL;
}

/**
 * virtq_end_chain() - @req has all its buffers; NULL, or the rule that they break
 */
static inline const char *virtq_end_chain(struct virtq_request *req, const struct virtq_chain *c)
{
	unsigned int nr = (unsigned int)(c->iov - req->iov);

	if (c->bytes > UINT32_MAX)
		return "a chain holds 4 GiB or more";
	req->readable = (uint32_t)(c->writing ? c->readable : c->bytes);
	req->nr_readable = c->writing ? c->nr_readable : nr;
	req->writable = (uint32_t)c->bytes - req->readable;
	req->nr_writable = nr - req->nr_readable;
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
