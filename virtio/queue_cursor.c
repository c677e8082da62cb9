// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reaching the bytes of a request (include/lkvm/virtio/queue.h): by copying, or as
 * iovecs of host memory. Everything was checked when the request was taken; what a
 * cursor knows are the request's own iovecs.
 *
 * Dirty pages are marked after bytes were written and before the driver hears of
 * it, so a page is never reported clean with a new content.
 *
 * Thread and lock: none; a request belongs to whoever carries it out. Nothing is
 * saved.
 */
#include "lkvm/virtio/queue.h"

#include <string.h>

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

/* The next @len bytes were written: the used length. */
static void count(struct virtq_cursor *c, size_t len)
{
	struct virtq_request *req = c->req;

	if (c->pos == req->filled)
		req->filled += (uint32_t)len;
	else if (c->pos < req->filled && c->pos + len > req->filled)
		req->filled = c->pos + (uint32_t)len;
}

/* @len bytes of the current iovec were written. */
static void wrote(struct virtq_cursor *c, size_t len)
{
	struct guest_memory *mem = c->req->queue->mem;

	if (memory_is_logged(mem))
		memory_for_write(mem, virtq_gpa(c->req, c->index) + c->offset, len);
	count(c, len);
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

const struct iovec *virtq_iovecs(const struct virtq_cursor *c, size_t len, unsigned int *nr)
{
	const struct virtq_request *req = c->req;
	unsigned int end = c->index < req->nr_readable ? req->nr_readable
						       : req->nr_readable + req->nr_writable;
	size_t rest = c->left - len;

	if (!len || len > c->left || c->offset)
		return NULL;
	/* What follows is short mostly: a status. */
	while (rest && rest >= req->iov[end - 1].iov_len)
		rest -= req->iov[--end].iov_len;
	if (rest)
		return NULL;
	*nr = end - c->index;
	return &req->iov[c->index];
}

/* By the end of the part, from which @rest bytes are left then. */
static void skip_backwards(struct virtq_cursor *c, size_t rest)
{
	const struct virtq_request *req = c->req;
	unsigned int end = c->index < req->nr_readable ? req->nr_readable
						       : req->nr_readable + req->nr_writable;

	c->pos += c->left - (uint32_t)rest;
	c->left = (uint32_t)rest;
	while (rest && rest >= req->iov[end - 1].iov_len)
		rest -= req->iov[--end].iov_len;
	c->index = rest ? end - 1 : end;
	c->offset = rest ? req->iov[end - 1].iov_len - rest : 0;
}

void virtq_skip(struct virtq_cursor *c, size_t len)
{
	len = min_u64(len, c->left);
	if (len > c->left / 2) {
		skip_backwards(c, c->left - len);
		return;
	}
	while (len) {
		size_t n = min_u64(run(c).iov_len, len);

		move(c, n);
		len -= n;
	}
}

void virtq_filled(struct virtq_cursor *c, size_t len)
{
	len = min_u64(len, c->left);
	if (!memory_is_logged(c->req->queue->mem)) {
		count(c, len);
		virtq_skip(c, len);
		return;
	}
	while (len) {
		size_t n = min_u64(run(c).iov_len, len);

		wrote(c, n);
		move(c, n);
		len -= n;
	}
}
