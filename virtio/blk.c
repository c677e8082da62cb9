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
 * Two steps: blk_start() takes and checks, inside the device's lock;
 * virtio_blk_execute() does the input and output without it and completes, at once
 * or later on another thread. In between the request keeps all it needs with it
 * (struct blk_op), so that nothing is read from guest memory twice.
 *
 * A host that says ENOSPC or EIO is a failed request for the guest and a rate
 * limited line for the person.
 *
 * Thread and lock: the virtio device's. capacity and the cache mode are read inside;
 * the back end takes care of itself. What is saved: the capacity, as a check, and
 * `writeback`.
 */
#include "lkvm/virtio/blk.h"

#include <endian.h>
#include <errno.h>
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
/* 1 GiB: what one range may hold, so that zeroing by hand ends in time. */
#define MAX_RANGE_SECTORS (UINT32_C(1) << 21)

/* As in guest memory. */
struct blk_header {
	uint32_t type, reserved;
	uint64_t sector;
};

struct blk_range {
	uint64_t sector;
	uint32_t sectors, flags;
};

/**
 * struct blk_op - a request under way
 * @blk: whose it is
 * @data: what is read or written
 * @offset: in bytes
 * @sync: the write must be stable before it is reported
 * @ranges: of a discard or write-zeroes, in sectors
 */
struct blk_op {
	struct virtio_blk *blk;
	uint32_t type;
	bool sync;
	uint64_t offset;
	struct virtq_cursor data;
	uint32_t len;
	unsigned int nr_ranges;
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
	if (op->len % VIRTIO_BLK_SECTOR || !inside(blk, sector, op->len / VIRTIO_BLK_SECTOR))
		return S_IOERR;
	op->offset = sector * VIRTIO_BLK_SECTOR;
	return S_OK;
}

static uint8_t check_ranges(struct virtio_blk *blk, struct blk_op *op)
{
	unsigned int i;

	if (!virtio_has(&blk->vdev, op->type == T_DISCARD ? F_DISCARD : F_WRITE_ZEROES))
		return S_UNSUPP;
	op->nr_ranges = op->len / sizeof(struct blk_range);
	if (!op->nr_ranges || op->len % sizeof(struct blk_range) || op->nr_ranges > MAX_RANGES)
		return S_IOERR;
	virtq_read(&op->data, op->ranges, op->len);
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
	case T_OUT:
		return check_rw(blk, op, sector);
	case T_FLUSH:
		return virtio_has(&blk->vdev, F_FLUSH) ? S_OK : S_UNSUPP;
	case T_DISCARD:
	case T_WRITE_ZEROES:
		return check_ranges(blk, op);
	case T_GET_ID:
		return S_OK;
	default:
		return S_UNSUPP;
	}
}

/* --- carrying out --------------------------------------------------------------- */

static uint8_t host_error(struct virtio_blk *blk, const char *what, uint64_t offset, int errnum)
{
	if (blk->vdev.log)
		log_ratelimited(blk->vdev.log, &blk->host_errors, LOG_LEVEL_WARNING,
				"%s: %s at byte %llu failed: %s", blk->vdev.name, what,
				(unsigned long long)offset, strerror(errnum));
	return S_IOERR;
}

static uint8_t do_rw(struct virtio_blk *blk, struct blk_op *op)
{
	bool out = op->type == T_OUT;
	struct iovec iov[BLK_BATCH];
	uint32_t left = op->len;
	uint64_t offset = op->offset;

	while (left) {
		size_t mapped;
		unsigned int nr = virtq_map(&op->data, left, iov, BLK_BATCH, &mapped);
		long n = out ? blk->backend.ops->writev(blk->backend.opaque, iov, nr, offset)
			     : blk->backend.ops->readv(blk->backend.opaque, iov, nr, offset);

		if (n == -EINTR)
			continue;
		/* A file that was cut short under us reads as nothing. */
		if (n <= 0 || (size_t)n > mapped)
			return host_error(blk, out ? "writing" : "reading", offset,
					  n < 0 ? (int)-n : EIO);
		if (out)
			virtq_skip(&op->data, (size_t)n);
		else
			virtq_filled(&op->data, (size_t)n);
		left -= (uint32_t)n;
		offset += (uint64_t)n;
	}
	return S_OK;
}

static uint8_t do_ranges(struct virtio_blk *blk, const struct blk_op *op)
{
	const struct blk_backend *b = &blk->backend;
	unsigned int i;

	for (i = 0; i < op->nr_ranges; i++) {
		uint64_t offset = op->ranges[i].sector * VIRTIO_BLK_SECTOR;
		uint64_t len = (uint64_t)op->ranges[i].sectors * VIRTIO_BLK_SECTOR;
		int ret;

		if (!len)
			continue;
		if (op->type == T_DISCARD)
			ret = b->ops->discard(b->opaque, offset, len);
		else
			ret = b->ops->zero(b->opaque, offset, len,
					   op->ranges[i].flags & RANGE_F_UNMAP);
		if (ret)
			return host_error(blk, op->type == T_DISCARD ? "discarding" : "zeroing",
					  offset, -ret);
	}
	return S_OK;
}

static uint8_t do_sync(struct virtio_blk *blk)
{
	int ret = blk->backend.ops->sync(blk->backend.opaque);

	return ret ? host_error(blk, "syncing", 0, -ret) : S_OK;
}

static uint8_t execute(struct virtio_blk *blk, struct blk_op *op)
{
	uint8_t status = S_OK;

	switch (op->type) {
	case T_IN:
	case T_OUT:
		status = do_rw(blk, op);
		break;
	case T_FLUSH:
		return do_sync(blk);
	case T_GET_ID:
		virtq_write(&op->data, blk->serial, min_u64(op->len, sizeof(blk->serial)));
		break;
	default:
		status = do_ranges(blk, op);
		break;
	}
	if (status == S_OK && op->sync)
		status = do_sync(blk);
	return status;
}

/* The status byte is the last of the writable part. */
static void put_status(struct virtq_request *req, uint8_t status)
{
	struct virtq_cursor c = virtq_writer(req);

	virtq_skip(&c, req->writable - 1);
	virtq_write(&c, &status, 1);
}

void virtio_blk_execute(struct virtq_request *req)
{
	struct blk_op *op = virtq_priv(req);
	struct virtio_blk *blk = op->blk;

	put_status(req, execute(blk, op));
	virtio_enter_device(&blk->vdev);
	virtio_complete(&blk->vdev, req);
	virtio_leave(&blk->vdev);
}

/* Take @req apart. True where it is to be carried out; else it was given back. */
static bool blk_start(struct virtio_blk *blk, struct virtq_request *req)
{
	struct blk_op *op = virtq_priv(req);
	struct virtq_cursor in = virtq_reader(req);
	struct blk_header header;
	uint8_t status = S_IOERR;

	op->blk = blk;
	if (!req->writable) {
		virtio_complain(&blk->vdev, "a request has no place for its status");
		virtio_complete(&blk->vdev, req);
		return false;
	}
	if (virtq_read(&in, &header, sizeof(header)) == sizeof(header)) {
		op->type = le32toh(header.type);
		if (op->type == T_IN || op->type == T_GET_ID) {
			op->data = virtq_writer(req);
			op->len = req->writable - 1;
		} else {
			op->data = in;
			op->len = in.left;
		}
		op->sync = (op->type == T_OUT || op->type == T_WRITE_ZEROES) && must_sync(blk);
		status = check(blk, op, le64toh(header.sector));
	}
	if (status == S_OK)
		return true;
	put_status(req, status);
	virtio_complete(&blk->vdev, req);
	return false;
}

static void blk_notify(struct virtio_device *vdev, unsigned int index)
{
	struct virtio_blk *blk = to_blk(vdev);
	struct virtq_request *req;

	while ((req = virtq_pop(virtio_queue(vdev, index)))) {
		if (!blk_start(blk, req))
			continue;
		if (blk->env) {
			blk->env->submit(blk->opaque, req);
		} else {
			put_status(req, execute(blk, virtq_priv(req)));
			virtio_complete(vdev, req);
		}
	}
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
		put32(config + CFG_DISCARD_ALIGNMENT, 1);
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

	virtio_device_fini(vdev);
	if (blk->backend.ops->close)
		blk->backend.ops->close(blk->backend.opaque);
	free(blk);
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
	if (backend->ops->discard)
		f |= VIRTIO_BIT(F_DISCARD);
	if (backend->ops->zero)
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

int virtio_blk_resize(struct virtio_blk *blk, uint64_t size)
{
	if (size % VIRTIO_BLK_SECTOR)
		return -EINVAL;
	virtio_enter(&blk->vdev);
	if (size / VIRTIO_BLK_SECTOR != blk->sectors) {
		blk->backend.size = size;
		blk->sectors = size / VIRTIO_BLK_SECTOR;
		virtio_config_changed(&blk->vdev);
	}
	virtio_leave(&blk->vdev);
	return 0;
}
