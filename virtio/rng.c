// SPDX-License-Identifier: GPL-2.0-only
/*
 * The entropy device: virtio 1.2 and 1.3, section 5.4. One queue, no features, no
 * configuration.
 *
 * The writable part of a request is filled, up to VIRTIO_RNG_MAX_REQUEST bytes and
 * up to what is left of the current period; a readable part, which no driver should
 * send, is ignored. When a period's bytes are used up, requests stay in the ring
 * until a timer says that the next period has begun: nothing is held in between, so
 * there is nothing to cancel on a reset.
 *
 * Thread and lock: the virtio device's. What is saved: nothing of its own; a period
 * starts anew after a load.
 */
#include "lkvm/virtio/rng.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#define RNG_ID 4
#define RNG_QUEUE_MAX 8

struct virtio_rng {
	struct virtio_device vdev;
	const struct virtio_rng_env *env;
	void *opaque;
	uint64_t bytes, period_ns; /* the limit */
	uint64_t start_ns, left;   /* this period */
	bool armed;
};

long virtio_rng_host_fill(void *opaque, void *buf, size_t len)
{
	ssize_t n;

	(void)opaque;
	do
		n = getrandom(buf, len, 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Bytes that may be given now; where none, the timer is on its way. */
static uint64_t allowance(struct virtio_rng *rng)
{
	uint64_t now;

	if (!rng->bytes)
		return UINT64_MAX;
	now = rng->env->now(rng->opaque);
	if (now - rng->start_ns >= rng->period_ns) {
		rng->start_ns = now;
		rng->left = rng->bytes;
	}
	if (!rng->left && !rng->armed) {
		rng->armed = true;
		rng->env->arm(rng->opaque, rng->start_ns + rng->period_ns);
	}
	return rng->left;
}

static void serve(struct virtio_rng *rng, struct virtq_request *req, uint64_t limit)
{
	struct virtq_cursor c = virtq_writer(req);

	limit = min_u64(limit, VIRTIO_RNG_MAX_REQUEST);
	while (limit && c.left) {
		struct iovec iov;
		size_t len;
		long n;

		virtq_map(&c, (size_t)limit, &iov, 1, &len);
		n = rng->env->fill(rng->opaque, iov.iov_base, len);
		if (n <= 0 || (size_t)n > len) {
			virtio_complain(&rng->vdev, "the host gives no random bytes (error %ld)",
					-n);
			break;
		}
		virtq_filled(&c, (size_t)n);
		limit -= (uint64_t)n;
	}
	if (rng->bytes)
		rng->left -= req->filled;
}

static void rng_notify(struct virtio_device *vdev, unsigned int index)
{
	struct virtio_rng *rng = container_of(vdev, struct virtio_rng, vdev);
	struct virtq_request *req;
	uint64_t limit;

	while ((limit = allowance(rng))) {
		req = virtq_pop(virtio_queue(vdev, index));
		if (!req)
			return;
		serve(rng, req, limit);
		virtio_complete(vdev, req);
	}
}

static void rng_destroy(struct virtio_device *vdev)
{
	struct virtio_rng *rng = container_of(vdev, struct virtio_rng, vdev);

	virtio_device_fini(vdev);
	if (rng->env->destroy)
		rng->env->destroy(rng->opaque);
	free(rng);
}

static const struct virtio_device_ops rng_ops = {
	.kind = "rng",
	.id = RNG_ID,
	.notify = rng_notify,
	.destroy = rng_destroy,
};

struct virtio_rng *virtio_rng_create(const char *name, struct guest_memory *mem, struct log *log,
				     uint64_t bytes, uint64_t period_ns,
				     const struct virtio_rng_env *env, void *opaque)
{
	struct virtio_rng *rng = calloc(1, sizeof(*rng));

	if (!rng)
		return NULL;
	if (virtio_device_init(&rng->vdev, &rng_ops, name, mem, log, 0, 1, RNG_QUEUE_MAX, 0,
			       NULL)) {
		free(rng);
		return NULL;
	}
	rng->env = env;
	rng->opaque = opaque;
	rng->bytes = bytes;
	rng->period_ns = period_ns;
	rng->left = bytes;
	if (bytes)
		rng->start_ns = env->now(opaque);
	return rng;
}

struct virtio_device *virtio_rng_device(struct virtio_rng *rng)
{
	return &rng->vdev;
}

void virtio_rng_tick(struct virtio_rng *rng)
{
	virtio_enter(&rng->vdev);
	rng->armed = false;
	virtio_queue_notify(&rng->vdev, 0);
	virtio_leave(&rng->vdev);
}
