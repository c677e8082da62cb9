// SPDX-License-Identifier: GPL-2.0-only
/*
 * The block device: virtio 1.2 and 1.3, section 5.2. Read, write, flush, discard,
 * write-zeroes, get-ID; several queues; a cache mode that the driver may switch. No
 * SCSI, no zones, no secure erase, no lifetime: those types are answered UNSUPP.
 *
 * A request is a header of 16 readable bytes, readable data for what is written,
 * writable data for what is read, and one writable status byte at the very end. How
 * the driver cut that into descriptors means nothing. It is checked as a whole
 * before anything is done: the header is copied once, the data's length is the
 * chain's, and sector and length together must lie inside the capacity; the ranges
 * of a discard or write-zeroes are copied and checked all before the first is
 * carried out. What is wrong gets IOERR or UNSUPP in the status byte. A chain with
 * no place for a status is given back with length 0.
 *
 * Stable writes. Where neither FLUSH nor CONFIG_WCE was negotiated, or where
 * `writeback` is 0, a write or write-zeroes is synced before it is reported.
 *
 * Then it is cut into steps (struct blk_io): parts of a read or write, one range after
 * the other, the sync that follows a stable write. virtio_blk_next() gives the next one
 * and virtio_blk_result() takes what came of it, so whoever carries steps out - this
 * file, threads, the kernel's ring - goes the same way, short counts and errors
 * included. Between the two a request keeps all it needs with it (struct blk_op):
 * nothing is read from guest memory twice.
 *
 * What the back end can do at once is done on the notifying thread, which costs no
 * other thread's wake-up; after NOW_BYTES of it in one pass the vCPU is let go, and the
 * rest goes the way of what waits: to the executor. Without an executor everything is
 * carried out on the notifying thread.
 *
 * How much is under way is bounded by its size (UNDERWAY_MAX), beside the number of
 * requests: a pause, a snapshot and a resize wait for it. What is beyond stays in the ring
 * until there is room. A request is at most REQUEST_MAX large, for the same reason. A
 * reset, a queue's stop and the VM's end do not wait for it: what is lost
 * (virtio_is_lost()) ends with the step that it is in, and steps are small (STEP_MAX,
 * MAX_RANGE_SECTORS).
 *
 * A host that says ENOSPC or EIO is a failed request for the guest and a rate
 * limited line for the person.
 *
 * Thread and lock: the virtio device's. Capacity and the cache mode are read inside; a
 * request under way belongs to who carries it out. What is saved: the capacity, as a check, and
 * `writeback`.
 */
#include "lkvm/virtio/blk.h"

#include "lkvm/options.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLK_ID 2

#define F_SEG_MAX 2
#define F_RO 5
#define F_BLK_SIZE 6
#define F_FLUSH 9
#define F_CONFIG_WCE 11
#define F_MQ 12
#define F_DISCARD 13
#define F_WRITE_ZEROES 14

#define T_IN 0
#define T_OUT 1
#define T_FLUSH 4
#define T_GET_ID 8
#define T_DISCARD 11
#define T_WRITE_ZEROES 13

#define S_OK 0
#define S_IOERR 1
#define S_UNSUPP 2

#define RANGE_F_UNMAP 1

/* Configuration space. */
#define CFG_CAPACITY 0
#define CFG_SEG_MAX 12
#define CFG_BLK_SIZE 20
#define CFG_WRITEBACK 32
#define CFG_NUM_QUEUES 34
#define CFG_MAX_DISCARD_SECTORS 36
#define CFG_MAX_DISCARD_SEG 40
#define CFG_DISCARD_ALIGNMENT 44
#define CFG_MAX_ZEROES_SECTORS 48
#define CFG_MAX_ZEROES_SEG 52
#define CFG_ZEROES_MAY_UNMAP 56
#define CFG_SIZE 60

/* Header and status take two places of a chain. */
#define CHAIN_OVERHEAD 2

#define MAX_RANGES 16
/* In sectors: smaller holes free nothing in a file system. */
#define DISCARD_ALIGNMENT 8
/* 64 MiB: what one range may hold, and a step with it, as zeroing may be done by hand. */
#define MAX_RANGE_SECTORS (UINT32_C(1) << 17)
/* Bytes that a request may read or write; as many as its ranges can name. */
#define REQUEST_MAX GIB
/* Bytes that a step reads or writes. */
#define STEP_MAX (16 * MIB)

/* As in guest memory. */
struct blk_header {
	uint32_t type, reserved;
	uint64_t sector;
};

struct blk_range {
	uint64_t sector;
	uint32_t sectors, flags;
};

/* What one pass copies on a vCPU's thread before it goes on elsewhere. */
#define NOW_BYTES (4 * MIB)

/*
 * The most that executors owe, or that a pass carries out itself, but for the last request.
 * Twice what 32 requests of 1 MiB want, which is as deep as guests go with such large ones.
 * Where less than half of it is left, more is taken from the rings.
 */
#define UNDERWAY_MAX (64 * MIB)

/* Of UNDERWAY_MAX: ranges are mostly changed without touching each byte. */
#define DISCARD_COST MIB
#define ZEROES_DISCOUNT 16

/**
 * struct blk_op - a request under way
 * @req: whose it is
 * @status: what is to be said
 * @sync: it must be stable before it is reported
 * @synced: a flush is done
 * @cost: what it takes of UNDERWAY_MAX
 * @data: what is read or written; @offset: its place in bytes; @left: bytes of it
 * @ranges: of a discard or write-zeroes, in sectors; @range: the next one
 */
struct blk_op {
	struct blk_task task;
	struct virtio_blk *blk;
	struct virtq_request *req;
	uint32_t type;
	uint8_t status;
	bool sync, synced;
	uint64_t cost;
	uint64_t offset;
	struct virtq_cursor data;
	uint32_t left;
	unsigned int nr_ranges, range;
	struct blk_range ranges[MAX_RANGES];
};

/**
 * struct blk_state - what is saved
 */
struct blk_state {
	uint8_t writeback;
};

struct virtio_blk {
	struct virtio_device vdev;
	struct blk_backend backend;
	const struct virtio_blk_env *env;
	void *opaque;
	struct ratelimit host_errors;
	char serial[VIRTIO_BLK_SERIAL];
	uint64_t sectors;
	uint64_t now_left; /* of NOW_BYTES */
	uint64_t underway; /* of UNDERWAY_MAX */
	bool starved;	   /* that left requests in the rings */
	unsigned int turn; /* which queue is looked at first then */
	struct blk_state s;
};

static struct virtio_blk *to_blk(struct virtio_device *vdev)
{
	return container_of(vdev, struct virtio_blk, vdev);
}

/* --- checking ------------------------------------------------------------------ */

/* Does [sector, sector + sectors) exist? */
static bool inside(const struct virtio_blk *blk, uint64_t sector, uint64_t sectors)
{
	return sector <= blk->sectors && sectors <= blk->sectors - sector;
}

static bool must_sync(const struct virtio_blk *blk)
{
	if (virtio_has(&blk->vdev, F_CONFIG_WCE))
		return !blk->s.writeback;
	return !virtio_has(&blk->vdev, F_FLUSH);
}

static uint8_t check_rw(struct virtio_blk *blk, struct blk_op *op, uint64_t sector)
{
	if (op->type == T_OUT && blk->backend.read_only)
		return S_IOERR;
	if (op->left > REQUEST_MAX || op->left % VIRTIO_BLK_SECTOR ||
	    !inside(blk, sector, op->left / VIRTIO_BLK_SECTOR))
		return S_IOERR;
	op->offset = sector * VIRTIO_BLK_SECTOR;
	return S_OK;
}

static uint8_t check_ranges(struct virtio_blk *blk, struct blk_op *op)
{
	unsigned int i;

	if (!virtio_has(&blk->vdev, op->type == T_DISCARD ? F_DISCARD : F_WRITE_ZEROES))
		return S_UNSUPP;
	op->nr_ranges = op->left / sizeof(struct blk_range);
	if (!op->nr_ranges || op->left % sizeof(struct blk_range) || op->nr_ranges > MAX_RANGES)
		return S_IOERR;
	virtq_read(&op->data, op->ranges, op->left);
	op->left = 0;
	for (i = 0; i < op->nr_ranges; i++) {
		struct blk_range *r = &op->ranges[i];

		r->sector = le64toh(r->sector);
		r->sectors = le32toh(r->sectors);
		r->flags = le32toh(r->flags);
		if (r->flags & ~(op->type == T_DISCARD ? 0U : RANGE_F_UNMAP))
			return S_UNSUPP;
	}
	for (i = 0; i < op->nr_ranges; i++)
		if (op->ranges[i].sectors > MAX_RANGE_SECTORS ||
		    !inside(blk, op->ranges[i].sector, op->ranges[i].sectors))
			return S_IOERR;
	return S_OK;
}

static uint8_t check(struct virtio_blk *blk, struct blk_op *op, uint64_t sector)
{
	switch (op->type) {
	case T_IN:
		return check_rw(blk, op, sector);
	case T_OUT:
		op->sync = must_sync(blk);
		return check_rw(blk, op, sector);
	case T_FLUSH:
		op->sync = true;
		op->left = 0;
		return virtio_has(&blk->vdev, F_FLUSH) ? S_OK : S_UNSUPP;
	case T_WRITE_ZEROES:
		op->sync = must_sync(blk);
		return check_ranges(blk, op);
	case T_DISCARD:
		return check_ranges(blk, op);
	case T_GET_ID:
		virtq_write(&op->data, blk->serial, min_u64(op->left, sizeof(blk->serial)));
		op->left = 0;
		return S_OK;
	default:
		return S_UNSUPP;
	}
}

/* --- steps ----------------------------------------------------------------------- */

static struct blk_op *to_op(struct blk_task *task)
{
	return container_of(task, struct blk_op, task);
}

static void host_error(struct blk_op *op, const char *what, uint64_t offset, int errnum)
{
	struct virtio_blk *blk = op->blk;

	op->status = S_IOERR;
	if (blk->vdev.log)
		log_ratelimited(blk->vdev.log, &blk->host_errors, LOG_LEVEL_WARNING,
				"%s: %s at byte %llu failed: %s", blk->vdev.name, what,
				(unsigned long long)offset, strerror(errnum));
}

/* The next range that is not empty. */
static bool next_range(struct blk_op *op, struct blk_io *io)
{
	const struct blk_range *r;

	while (op->range < op->nr_ranges && !op->ranges[op->range].sectors)
		op->range++;
	if (op->range == op->nr_ranges)
		return false;
	r = &op->ranges[op->range];
	*io = (struct blk_io){
		.type = op->type == T_DISCARD ? BLK_DISCARD : BLK_ZERO,
		.unmap = r->flags & RANGE_F_UNMAP,
		.offset = r->sector * VIRTIO_BLK_SECTOR,
		.len = (uint64_t)r->sectors * VIRTIO_BLK_SECTOR,
	};
	return true;
}

static bool next_data(struct blk_op *op, struct blk_io *io, struct iovec *iov, unsigned int max)
{
	size_t mapped;

	if (!op->left)
		return false;
	io->type = op->type == T_IN ? BLK_READ : BLK_WRITE;
	io->offset = op->offset;
	io->len = min_u64(op->left, STEP_MAX);
	io->iov = virtq_iovecs(&op->data, io->len, &io->nr);
	if (io->iov)
		return true;
	io->iov = iov;
	io->nr = virtq_map(&op->data, io->len, iov, max, &mapped);
	io->len = mapped;
	return true;
}

bool virtio_blk_next(struct blk_task *task, struct blk_io *io, struct iovec *iov, unsigned int max)
{
	struct blk_op *op = to_op(task);
	bool more = false;

	if (op->status == S_OK && virtio_is_lost(op->req))
		op->status = S_IOERR;
	if (op->status != S_OK)
		return false;
	*io = (struct blk_io){.type = BLK_SYNC};
	if (op->type == T_IN || op->type == T_OUT)
		more = next_data(op, io, iov, max);
	else if (op->type != T_FLUSH)
		more = next_range(op, io);
	return more || (op->sync && !op->synced);
}

static void data_done(struct blk_op *op, long n)
{
	bool out = op->type == T_OUT;

	/* A file that was cut short under us reads as nothing. */
	if (n <= 0 || n > (long)op->left) {
		host_error(op, out ? "writing" : "reading", op->offset, n < 0 ? (int)-n : EIO);
		return;
	}
	if (out)
		virtq_skip(&op->data, (size_t)n);
	else
		virtq_filled(&op->data, (size_t)n);
	op->left -= (uint32_t)n;
	op->offset += (uint64_t)n;
}

void virtio_blk_result(struct blk_task *task, long result)
{
	struct blk_op *op = to_op(task);

	if (result == -EINTR)
		return;
	if (op->left) {
		data_done(op, result);
	} else if (op->range < op->nr_ranges) {
		if (result)
			host_error(op, op->type == T_DISCARD ? "discarding" : "zeroing",
				   op->ranges[op->range].sector * VIRTIO_BLK_SECTOR, (int)-result);
		op->range++;
	} else {
		if (result)
			host_error(op, "syncing", 0, (int)-result);
		op->synced = true;
	}
}

void virtio_blk_perform(struct blk_task *task)
{
	const struct blk_backend *b = &to_op(task)->blk->backend;
	struct iovec iov[BLK_BATCH];
	struct blk_io io;

	while (virtio_blk_next(task, &io, iov, BLK_BATCH))
		virtio_blk_result(task, b->ops->perform(b->opaque, &io));
}

/* The status byte is the last of the writable part. */
static void put_status(struct virtq_request *req, uint8_t status)
{
	struct virtq_cursor c = virtq_writer(req);

	virtq_skip(&c, req->writable - 1);
	virtq_write(&c, &status, 1);
}

static void finish(struct blk_op *op)
{
	put_status(op->req, op->status);
	op->blk->underway -= op->cost;
	virtio_complete(&op->blk->vdev, op->req);
}

/* There is room again: look into the rings, into another one first each time. */
static void feed(struct virtio_blk *blk)
{
	struct virtio_device *vdev = &blk->vdev;
	unsigned int i, first = blk->turn++;

	blk->starved = false;
	for (i = 0; i < vdev->nr_queues; i++)
		virtio_queue_notify(vdev, (first + i) % vdev->nr_queues);
}

void virtio_blk_finish(struct blk_task *tasks)
{
	struct virtio_blk *blk;

	if (!tasks)
		return;
	blk = to_op(tasks)->blk;
	virtio_enter_device(&blk->vdev);
	while (tasks) {
		struct blk_task *next = tasks->next;

		finish(to_op(tasks));
		tasks = next;
	}
	if (blk->starved && blk->underway <= UNDERWAY_MAX / 2)
		feed(blk);
	virtio_leave(&blk->vdev);
}

/* --- a pass ------------------------------------------------------------------------ */

/* Take @req apart. NULL: it was no good and has been given back. */
static struct blk_op *blk_start(struct virtio_blk *blk, struct virtq_request *req)
{
	struct blk_op *op = virtq_priv(req);
	struct virtq_cursor in = virtq_reader(req);
	struct blk_header header;

	op->blk = blk;
	op->req = req;
	op->status = S_IOERR;
	if (!req->writable) {
		virtio_complain(&blk->vdev, "a request has no place for its status");
		virtio_complete(&blk->vdev, req);
		return NULL;
	}
	if (virtq_read(&in, &header, sizeof(header)) == sizeof(header)) {
		op->type = le32toh(header.type);
		if (op->type == T_IN || op->type == T_GET_ID) {
			op->data = virtq_writer(req);
			op->left = req->writable - 1;
		} else {
			op->data = in;
			op->left = in.left;
		}
		op->status = check(blk, op, le64toh(header.sector));
	}
	if (op->status == S_OK)
		return op;
	finish(op);
	return NULL;
}

/* Carry out what is possible here and now. False: something is left. */
static bool try_now(struct virtio_blk *blk, struct blk_op *op)
{
	const struct blk_backend *b = &blk->backend;
	struct iovec iov[BLK_BATCH];
	struct blk_io io;
	long n;

	while (virtio_blk_next(&op->task, &io, iov, BLK_BATCH)) {
		if (!b->ops->now || io.len > blk->now_left)
			return false;
		n = b->ops->now(b->opaque, &io);
		if (n == -EAGAIN)
			return false;
		virtio_blk_result(&op->task, n);
		blk->now_left -= io.len;
	}
	return true;
}

/* What is left of @op to be done. */
static uint64_t cost_of(const struct blk_op *op)
{
	uint64_t sectors = 0;
	unsigned int i;

	if (op->status != S_OK)
		return 0;
	if (op->type == T_DISCARD)
		return (op->nr_ranges - op->range) * DISCARD_COST;
	for (i = op->range; i < op->nr_ranges; i++)
		sectors += op->ranges[i].sectors;
	return op->left + sectors * VIRTIO_BLK_SECTOR / ZEROES_DISCOUNT;
}

static bool submit(struct virtio_blk *blk, struct blk_op *op)
{
	/* Before it is another thread's. */
	op->cost = cost_of(op);
	blk->underway += op->cost;
	if (blk->env->submit(blk->opaque, &op->task))
		return true;
	blk->underway -= op->cost;
	op->cost = 0;
	return false;
}

static void blk_notify(struct virtio_device *vdev, unsigned int index)
{
	struct virtio_blk *blk = to_blk(vdev);
	struct virtq *q = virtio_queue(vdev, index);
	struct virtq_request *req;
	bool submitted = false;
	uint64_t here = 0;

	blk->now_left = NOW_BYTES;
	while (here < UNDERWAY_MAX && blk->underway < UNDERWAY_MAX && (req = virtq_pop(q))) {
		struct blk_op *op = blk_start(blk, req);

		if (!op)
			continue;
		if (blk->env && !try_now(blk, op) && submit(blk, op)) {
			submitted = true;
			continue;
		}
		here += cost_of(op);
		virtio_blk_perform(&op->task);
		finish(op);
	}
	/* Who stops early comes back: on the loop's thread, or when something has ended. */
	if (here >= UNDERWAY_MAX)
		virtq_linger(q);
	else if (blk->underway >= UNDERWAY_MAX)
		blk->starved = true;
	if (submitted && blk->env->commit)
		blk->env->commit(blk->opaque);
}

/* --- configuration ---------------------------------------------------------------- */

static void put16(uint8_t *at, uint16_t value)
{
	value = htole16(value);
	memcpy(at, &value, sizeof(value));
}

static void put32(uint8_t *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, sizeof(value));
}

static void put64(uint8_t *at, uint64_t value)
{
	value = htole64(value);
	memcpy(at, &value, sizeof(value));
}

static void blk_config_get(struct virtio_device *vdev, uint8_t *config)
{
	struct virtio_blk *blk = to_blk(vdev);

	put64(config + CFG_CAPACITY, blk->sectors);
	put32(config + CFG_SEG_MAX, virtio_queue(vdev, 0)->max - CHAIN_OVERHEAD);
	put32(config + CFG_BLK_SIZE, VIRTIO_BLK_SECTOR);
	config[CFG_WRITEBACK] = blk->s.writeback;
	put16(config + CFG_NUM_QUEUES, (uint16_t)vdev->nr_queues);
	if (vdev->offered & VIRTIO_BIT(F_DISCARD)) {
		put32(config + CFG_MAX_DISCARD_SECTORS, MAX_RANGE_SECTORS);
		put32(config + CFG_MAX_DISCARD_SEG, MAX_RANGES);
		put32(config + CFG_DISCARD_ALIGNMENT, DISCARD_ALIGNMENT);
	}
	if (vdev->offered & VIRTIO_BIT(F_WRITE_ZEROES)) {
		put32(config + CFG_MAX_ZEROES_SECTORS, MAX_RANGE_SECTORS);
		put32(config + CFG_MAX_ZEROES_SEG, MAX_RANGES);
		config[CFG_ZEROES_MAY_UNMAP] = 1;
	}
}

/* The cache mode is the one thing to be set, and 0 and 1 its values. */
static void blk_config_set(struct virtio_device *vdev, uint32_t offset, const uint8_t *bytes,
			   uint32_t len)
{
	struct virtio_blk *blk = to_blk(vdev);

	if (!virtio_has(vdev, F_CONFIG_WCE) || offset > CFG_WRITEBACK ||
	    CFG_WRITEBACK - offset >= len || bytes[CFG_WRITEBACK - offset] > 1)
		return;
	blk->s.writeback = bytes[CFG_WRITEBACK - offset];
}

static bool blk_negotiate(struct virtio_device *vdev, uint64_t features)
{
	to_blk(vdev)->s.writeback = features & VIRTIO_BIT(F_FLUSH) ? 1 : 0;
	return true;
}

/* --- life cycle --------------------------------------------------------------------- */

static void blk_reset(struct virtio_device *vdev)
{
	to_blk(vdev)->s.writeback = 1;
}

static void blk_transfer(struct virtio_device *vdev, struct xfer *x, void *state)
{
	struct blk_state *s = state;
	uint64_t sectors = to_blk(vdev)->sectors;

	xfer_u64(x, &sectors);
	xfer_check(x, sectors == to_blk(vdev)->sectors, "virtio-blk: a disk of another size");
	xfer_u8(x, &s->writeback);
	xfer_check(x, s->writeback <= 1, "virtio-blk: a cache mode that is neither 0 nor 1");
}

static void blk_destroy(struct virtio_device *vdev)
{
	struct virtio_blk *blk = to_blk(vdev);

	/* Nothing is under way any more, but an executor's thread may still be on its way out. */
	virtio_device_end(vdev);
	if (blk->env && blk->env->destroy)
		blk->env->destroy(blk->opaque);
	virtio_device_fini(vdev);
	if (blk->backend.ops->close)
		blk->backend.ops->close(blk->backend.opaque);
	free(blk);
}

/* "resize": look how large the image is; "resize SIZE": make it so large. */
static int blk_command(struct virtio_device *vdev, const char *words, char *reply, size_t len,
		       struct error *err)
{
	struct virtio_blk *blk = to_blk(vdev);
	char text[32];
	uint64_t size;
	int ret;

	if (!strcmp(words, "resize"))
		ret = virtio_blk_look(blk, err);
	else if (strncmp(words, "resize ", 7))
		return fail(err, "a disk knows the command 'resize [SIZE]', not '%s'", words);
	else
		ret = parse_size(words + 7, 1, &size, err) || virtio_blk_set_size(blk, size, err);
	if (ret)
		return -1;
	snprintf(reply, len, "%s has %s", vdev->name,
		 format_size(text, sizeof(text), blk->backend.size));
	return 0;
}

static const struct virtio_device_ops blk_ops = {
	.kind = "blk",
	.id = BLK_ID,
	.config_size = CFG_SIZE,
	.state_size = sizeof(struct blk_state),
	.negotiate = blk_negotiate,
	.config_get = blk_config_get,
	.config_set = blk_config_set,
	.notify = blk_notify,
	.reset = blk_reset,
	.transfer = blk_transfer,
	.command = blk_command,
	.destroy = blk_destroy,
};

static uint64_t features_of(const struct virtio_blk_config *config,
			    const struct blk_backend *backend)
{
	uint64_t f = VIRTIO_BIT(F_SEG_MAX) | VIRTIO_BIT(F_BLK_SIZE) | VIRTIO_BIT(F_FLUSH) |
		     VIRTIO_BIT(F_CONFIG_WCE);

	if (config->queues > 1)
		f |= VIRTIO_BIT(F_MQ);
	if (backend->read_only)
		return f | VIRTIO_BIT(F_RO);
	if (backend->discards)
		f |= VIRTIO_BIT(F_DISCARD);
	if (backend->zeroes)
		f |= VIRTIO_BIT(F_WRITE_ZEROES);
	return f;
}

struct virtio_blk *virtio_blk_create(const char *name, struct guest_memory *mem, struct log *log,
				     const struct virtio_blk_config *config,
				     const struct blk_backend *backend,
				     const struct virtio_blk_env *env, void *opaque,
				     struct error *err)
{
	const char *serial = config->serial ? config->serial : "";
	struct virtio_blk *blk;

	if (strlen(serial) > VIRTIO_BLK_SERIAL) {
		fail(err, "the serial number '%s' is longer than %d characters", serial,
		     VIRTIO_BLK_SERIAL);
		return NULL;
	}
	if (!config->queues || config->queues > VIRTIO_BLK_MAX_QUEUES) {
		fail(err, "a disk has 1 to %d queues, not %u", VIRTIO_BLK_MAX_QUEUES,
		     config->queues);
		return NULL;
	}
	if (!is_power_of_two(config->queue_max) || config->queue_max < 4 ||
	    config->queue_max > 1024) {
		fail(err, "a disk's queue size is a power of two from 4 to 1024, not %u",
		     config->queue_max);
		return NULL;
	}
	blk = calloc(1, sizeof(*blk));
	if (!blk ||
	    virtio_device_init(&blk->vdev, &blk_ops, name, mem, log, features_of(config, backend),
			       config->queues, config->queue_max, sizeof(struct blk_op), &blk->s)) {
		free(blk);
		fail(err, "no memory for the disk");
		return NULL;
	}
	/* No terminator where all 20 bytes are used. */
	memcpy(blk->serial, serial, strlen(serial));
	blk->backend = *backend;
	blk->sectors = backend->size / VIRTIO_BLK_SECTOR;
	blk->env = env;
	blk->opaque = opaque;
	blk->s.writeback = 1;
	return blk;
}

struct virtio_device *virtio_blk_device(struct virtio_blk *blk)
{
	return &blk->vdev;
}

/* Nothing is under way: from here the disk has @size bytes. */
static int resized(struct virtio_blk *blk, uint64_t size, bool set, struct error *err)
{
	const struct blk_backend *b = &blk->backend;
	int ret;

	if (!size || size % VIRTIO_BLK_SECTOR)
		return fail(err, "a disk has whole sectors of %d bytes: not %llu bytes",
			    VIRTIO_BLK_SECTOR, (unsigned long long)size);
	if (set) {
		ret = b->ops->set_size(b->opaque, size);
		if (ret)
			return fail_errno(err, -ret, "cannot give the disk another size");
	}
	if (size == b->size)
		return 0;
	virtio_enter(&blk->vdev);
	blk->backend.size = size;
	blk->sectors = size / VIRTIO_BLK_SECTOR;
	virtio_config_changed(&blk->vdev);
	virtio_leave(&blk->vdev);
	return 0;
}

static int resize(struct virtio_blk *blk, uint64_t size, bool set, struct error *err)
{
	int ret;

	virtio_device_quiesce(&blk->vdev);
	ret = resized(blk, size, set, err);
	virtio_device_resume(&blk->vdev);
	return ret;
}

int virtio_blk_look(struct virtio_blk *blk, struct error *err)
{
	const struct blk_backend *b = &blk->backend;
	int64_t size = b->ops->size ? b->ops->size(b->opaque) : -EOPNOTSUPP;

	if (size < 0)
		return fail_errno(err, (int)-size, "cannot find the size of the disk");
	return resize(blk, (uint64_t)size, false, err);
}

int virtio_blk_set_size(struct virtio_blk *blk, uint64_t size, struct error *err)
{
	if (blk->backend.read_only || !blk->backend.ops->set_size)
		return fail(err, "this disk's size can't be changed from here");
	return resize(blk, size, true, err);
}
