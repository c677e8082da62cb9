// SPDX-License-Identifier: GPL-2.0-only
/*
 * The persistent memory device: virtio 1.2 and 1.3, section 5.19. A region of guest
 * addresses, named by the configuration space, that is a file; and one queue, by which
 * the guest asks for a flush. The region is a memslot of its own, so the guest reads and
 * writes the host's page cache with no help from here (no SHMEM_REGION is offered: the
 * address is in the configuration space).
 *
 * A request is four readable bytes, the type, and four writable ones, the answer: 0, or
 * -1 where the host could not (or the type is none). A chain with no place for the answer
 * is given back with length 0.
 *
 * A flush waits for the host's disk, so it is carried out by a worker. One job at a time
 * takes all requests that have come until it begins: one flush of the file is as good
 * for all of them, and a guest that asks a thousand times costs no more than one that
 * asks twice. What comes during a flush waits for the next one.
 *
 * Read-only. The memslot is read-only too: what the guest writes there comes out of KVM
 * as an access to a device that is not there, and is dropped. The specification has no
 * word for that, so the guest is not told; it mounts such a file with "ro". A flush is
 * answered at once.
 *
 * The file may become shorter under us. A guest that touches what is gone ends its VM
 * (KVM_RUN fails with EFAULT, exit status 126). lkvm itself reaches the region only where
 * a request's data lie in it, by the host's system calls for disks and networks (which
 * fail as the guest's requests then), else with a message by the SIGBUS handler; rings
 * and indirect tables are never there (see memory_for_ring()).
 *
 * Thread and lock: the virtio device's; @waiting and @busy are guarded by it. The job
 * holds no lock while it flushes. What is saved: where the region is, as a check. Its
 * contents are not: a restore is given the file again, as it is with disks.
 */
#include "lkvm/virtio/pmem.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define PMEM_ID 27
#define PMEM_QUEUE_MAX 64

#define T_FLUSH 0

#define S_OK 0
#define S_FAILED UINT32_MAX /* -1 */

/* As in the configuration space. */
struct pmem_space {
	uint64_t start, size;
};

/**
 * struct pmem_op - kept with each request
 * @next: in one of the lists
 */
struct pmem_op {
	struct virtq_request *req;
	struct pmem_op *next;
};

/**
 * struct virtio_pmem
 * @waiting: requests for the next flush
 * @busy: the job is under way
 * @job: carries out flushes until none is waiting
 */
struct virtio_pmem {
	struct virtio_device vdev;
	struct virtio_pmem_config config;
	const struct virtio_pmem_env *env;
	void *opaque;
	struct ratelimit host_errors;
	struct pmem_op *waiting;
	bool busy;
	struct worker_job job;
};

static struct virtio_pmem *to_pmem(struct virtio_device *vdev)
{
	return container_of(vdev, struct virtio_pmem, vdev);
}

static void answer(struct virtio_pmem *pmem, struct virtq_request *req, uint32_t status)
{
	struct virtq_cursor out = virtq_writer(req);

	status = htole32(status);
	virtq_write(&out, &status, sizeof(status));
	virtio_complete(&pmem->vdev, req);
}

/* All of a list. */
static void answer_all(struct virtio_pmem *pmem, struct pmem_op *op, uint32_t status)
{
	while (op) {
		struct pmem_op *next = op->next;

		answer(pmem, op->req, status);
		op = next;
	}
}

/* One flush for all that is waiting: what they are answered. */
static uint32_t flush(struct virtio_pmem *pmem)
{
	int ret = pmem->env->flush(pmem->opaque);

	if (!ret)
		return S_OK;
	if (pmem->vdev.log)
		log_ratelimited(pmem->vdev.log, &pmem->host_errors, LOG_LEVEL_WARNING,
				"%s: flushing failed: %s", pmem->vdev.name, strerror(-ret));
	return S_FAILED;
}

/* A worker's thread. */
static void flush_job(struct worker_job *job)
{
	struct virtio_pmem *pmem = container_of(job, struct virtio_pmem, job);
	struct pmem_op *ops;

	virtio_enter_device(&pmem->vdev);
	while ((ops = pmem->waiting)) {
		uint32_t status;

		pmem->waiting = NULL;
		virtio_leave(&pmem->vdev);
		status = flush(pmem);
		virtio_enter_device(&pmem->vdev);
		answer_all(pmem, ops, status);
	}
	pmem->busy = false;
	virtio_leave(&pmem->vdev);
}

/* Take @req apart: true where it asks for a flush; else it has been given back. */
static bool is_flush(struct virtio_pmem *pmem, struct virtq_request *req)
{
	struct virtq_cursor in = virtq_reader(req);
	uint32_t type;

	if (req->writable < sizeof(uint32_t)) {
		virtio_complain(&pmem->vdev, "a request has no place for its answer");
		virtio_complete(&pmem->vdev, req);
		return false;
	}
	if (virtq_read(&in, &type, sizeof(type)) == sizeof(type) && le32toh(type) == T_FLUSH)
		return true;
	virtio_complain(&pmem->vdev, "a request is no flush");
	answer(pmem, req, S_FAILED);
	return false;
}

static void pmem_notify(struct virtio_device *vdev, unsigned int index)
{
	struct virtio_pmem *pmem = to_pmem(vdev);
	struct virtq_request *req;

	while ((req = virtq_pop(virtio_queue(vdev, index)))) {
		struct pmem_op *op = virtq_priv(req);

		if (!is_flush(pmem, req))
			continue;
		if (pmem->config.read_only) {
			answer(pmem, req, S_OK);
			continue;
		}
		op->req = req;
		op->next = pmem->waiting;
		pmem->waiting = op;
	}
	if (!pmem->waiting || pmem->busy)
		return;
	pmem->busy = pmem->env->post(pmem->opaque, &pmem->job);
	if (!pmem->busy) {
		/* The host has no thread for it. Better late than "failed", which ends a file
		 * system. */
		struct pmem_op *ops = pmem->waiting;

		pmem->waiting = NULL;
		answer_all(pmem, ops, flush(pmem));
	}
}

static void pmem_config_get(struct virtio_device *vdev, uint8_t *config)
{
	const struct virtio_pmem_config *c = &to_pmem(vdev)->config;
	const struct pmem_space space = {htole64(c->start), htole64(c->size)};

	memcpy(config, &space, sizeof(space));
}

static void pmem_transfer(struct virtio_device *vdev, struct xfer *x, void *state)
{
	const struct virtio_pmem_config *c = &to_pmem(vdev)->config;
	struct virtio_pmem_config said = *c;

	(void)state;
	xfer_u64(x, &said.start);
	xfer_u64(x, &said.size);
	xfer_bool(x, &said.read_only);
	xfer_check(x, said.start == c->start && said.size == c->size,
		   "virtio-pmem: a region of another place or size");
	xfer_check(x, said.read_only == c->read_only, "virtio-pmem: 'ro' is not as it was");
}

static void pmem_destroy(struct virtio_device *vdev)
{
	struct virtio_pmem *pmem = to_pmem(vdev);

	/* Nothing is in flight any more, but the job may still be on its way out. */
	virtio_device_end(vdev);
	if (pmem->env->destroy)
		pmem->env->destroy(pmem->opaque);
	virtio_device_fini(vdev);
	free(pmem);
}

static const struct virtio_device_ops pmem_ops = {
	.kind = "pmem",
	.id = PMEM_ID,
	.config_size = sizeof(struct pmem_space),
	.config_get = pmem_config_get,
	.notify = pmem_notify,
	.transfer = pmem_transfer,
	.destroy = pmem_destroy,
};

struct virtio_pmem *virtio_pmem_create(const char *name, struct guest_memory *mem, struct log *log,
				       const struct virtio_pmem_config *config,
				       const struct virtio_pmem_env *env, void *opaque)
{
	struct virtio_pmem *pmem = calloc(1, sizeof(*pmem));

	if (!pmem)
		return NULL;
	if (virtio_device_init(&pmem->vdev, &pmem_ops, name, mem, log, 0, 1, PMEM_QUEUE_MAX,
			       sizeof(struct pmem_op), NULL)) {
		free(pmem);
		return NULL;
	}
	pmem->config = *config;
	pmem->env = env;
	pmem->opaque = opaque;
	pmem->job.fn = flush_job;
	return pmem;
}

struct virtio_device *virtio_pmem_device(struct virtio_pmem *pmem)
{
	return &pmem->vdev;
}
