// SPDX-License-Identifier: GPL-2.0-only
/*
 * The core of every virtio device: virtio 1.2 and 1.3, sections 2.1 (status), 2.2
 * (features), 2.4 (reset), 2.5 (configuration space), 2.6.1 (queue reset), 3.1
 * (initialization). No legacy and no transitional interface.
 *
 * Status. The driver may only add bits, in the order of initialization (several at
 * once are fine); FAILED at any time; 0 resets. Anything else it writes is ignored
 * as a whole. FEATURES_OK sticks only if the features it wrote were all offered,
 * hold VERSION_1, and suit the device. After that features are fixed.
 *
 * Queues. The driver writes a layout, which counts when it enables the queue: then
 * it is checked and frozen. Layouts and enabling are open from FEATURES_OK to
 * DRIVER_OK, and later only where RING_RESET was negotiated.
 *
 * Errors. A driver that breaks a rule of its rings stops that queue; NEEDS_RESET
 * appears in the status and, once DRIVER_OK was set, a configuration interrupt says
 * so. The device's other queues go on. One line is logged, rate limited.
 *
 * Passes. A notification makes one pass over a queue, which takes at most as many
 * requests as it has entries, so that a guest which keeps adding can't keep the
 * thread that serves it. What is left is done by virtio_device_run() on the loop's
 * thread. A pass ends with one interrupt at most.
 *
 * Draining. A reset, a queue's stop and a quiesce wait until no request is in
 * flight: only then the guest may use the memory for something else. Meanwhile
 * completions come in (virtio_enter_device()), and transports wait
 * (virtio_enter()). Nobody reads what comes of requests of a queue that is reset, or
 * at the VM's end: these are lost (virtio_is_lost()), and end early.
 *
 * Holds. Several may want the device quiet at once (a pause, a guest that forbids it
 * memory, a resize): each quiesces and resumes for itself, and the last one lets it go.
 *
 * Queues served elsewhere. A device may hand queues over to somebody else (the
 * kernel's vhost, a vhost-user back end) while it runs: then the core touches their
 * rings no more, passes notifications on (as far as the transport has not connected them
 * to KVM), and takes the queues back before anything that needs them at rest. All that was taken
 * from the ring has been given back by then, so one index says where both rings stand.
 *
 * Thread and lock: one mutex, see include/lkvm/virtio/device.h. What is saved:
 * status, features, generation, the layout and the indexes of each queue, and what
 * the kind of device adds. A loaded state goes through the checks that the
 * driver's register writes go through, into scratch queues, before it is committed.
 */
#include "lkvm/virtio/device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The steps of initialization. */
#define STATUS_STEPS                                                                               \
	(VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK |            \
	 VIRTIO_STATUS_DRIVER_OK)

void virtio_complain(struct virtio_device *vdev, const char *fmt, ...)
{
	struct error text;
	va_list ap;

	if (!vdev->log)
		return;
	va_start(ap, fmt);
	vsnprintf(text.msg, sizeof(text.msg), fmt, ap);
	va_end(ap);
	log_ratelimited(vdev->log, &vdev->complaints, LOG_LEVEL_WARNING, "%s: %s", vdev->name,
			text.msg);
}

static void default_setup(struct virtio_queue *vq)
{
	vq->setup = (struct virtq_layout){.num = vq->q.max};
	vq->again = false;
	atomic_store(&vq->lost, false);
	vq->told = false;
}

int virtio_device_init(struct virtio_device *vdev, const struct virtio_device_ops *ops,
		       const char *name, struct guest_memory *mem, struct log *log,
		       uint64_t features, unsigned int nr_queues, uint16_t queue_max,
		       size_t priv_size, void *state)
{
	unsigned int i;
	int ret = 0;

	memset(vdev, 0, sizeof(*vdev));
	if (!nr_queues || nr_queues > VIRTIO_MAX_QUEUES || ops->config_size > VIRTIO_CONFIG_MAX)
		return -EINVAL;
	vdev->queues = calloc(nr_queues, sizeof(*vdev->queues));
	if (!vdev->queues)
		return -ENOMEM;
	for (i = 0; i < nr_queues && !ret; i++) {
		ret = virtq_init(&vdev->queues[i].q, mem, queue_max, priv_size);
		default_setup(&vdev->queues[i]);
	}
	if (!ret && pthread_mutex_init(&vdev->lock, NULL))
		ret = -ENOMEM;
	else if (!ret && pthread_cond_init(&vdev->changed, NULL)) {
		pthread_mutex_destroy(&vdev->lock);
		ret = -ENOMEM;
	}
	if (ret) {
		while (i--)
			virtq_destroy(&vdev->queues[i].q);
		free(vdev->queues);
		return ret;
	}
	vdev->ops = ops;
	vdev->name = name;
	vdev->mem = mem;
	vdev->log = log;
	vdev->offered = features | VIRTIO_CORE_FEATURES;
	/* Who serves queues elsewhere starts and stops all together, and by one index. */
	if (ops->halt)
		vdev->offered &=
			~(VIRTIO_BIT(VIRTIO_F_RING_RESET) | VIRTIO_BIT(VIRTIO_F_RING_PACKED));
	vdev->nr_queues = nr_queues;
	vdev->state = state;
	return 0;
}

/* --- lock, drain ------------------------------------------------------------- */

void virtio_enter(struct virtio_device *vdev)
{
	pthread_mutex_lock(&vdev->lock);
	while (vdev->draining)
		pthread_cond_wait(&vdev->changed, &vdev->lock);
}

void virtio_enter_device(struct virtio_device *vdev)
{
	pthread_mutex_lock(&vdev->lock);
}

void virtio_needs_reset(struct virtio_device *vdev)
{
	vdev->status |= VIRTIO_STATUS_NEEDS_RESET;
	if (vdev->status & VIRTIO_STATUS_DRIVER_OK && vdev->transport)
		vdev->transport->ops->config(vdev->transport);
}

static void signal_used(struct virtio_device *vdev, unsigned int index)
{
	vdev->queues[index].signalled++;
	if (vdev->transport)
		vdev->transport->ops->used(vdev->transport, index);
}

void virtio_leave(struct virtio_device *vdev)
{
	unsigned int i;

	for (i = 0; i < vdev->nr_queues; i++) {
		struct virtio_queue *vq = &vdev->queues[i];

		if (vq->q.broken && !vq->told) {
			vq->told = true;
			virtio_complain(vdev, "queue %u is broken: %s; the device needs a reset", i,
					vq->q.why);
			virtio_needs_reset(vdev);
		}
		if (virtq_should_signal(&vq->q))
			signal_used(vdev, i);
	}
	pthread_mutex_unlock(&vdev->lock);
}

static bool idle(const struct virtio_device *vdev, const struct virtio_queue *only)
{
	unsigned int i;

	for (i = 0; i < vdev->nr_queues; i++)
		if (vdev->queues[i].q.inflight && (!only || only == &vdev->queues[i]))
			return false;
	return true;
}

static void set_lost(struct virtio_device *vdev, const struct virtio_queue *only, bool lost)
{
	unsigned int i;

	for (i = 0; i < vdev->nr_queues; i++)
		if (!only || only == &vdev->queues[i])
			atomic_store(&vdev->queues[i].lost, lost);
}

/*
 * Wait until nothing is in flight, in @only or (NULL) anywhere; where that is @lost, it need
 * not be carried out any more.
 */
static void drain(struct virtio_device *vdev, const struct virtio_queue *only, bool lost)
{
	if (idle(vdev, only))
		return;
	vdev->draining = true;
	set_lost(vdev, only, lost);
	if (vdev->ops->drain)
		vdev->ops->drain(vdev);
	while (!idle(vdev, only))
		pthread_cond_wait(&vdev->changed, &vdev->lock);
	set_lost(vdev, only, false);
	vdev->draining = false;
	pthread_cond_broadcast(&vdev->changed);
}

/* --- running -------------------------------------------------------------------- */

static bool running(const struct virtio_device *vdev)
{
	return vdev->status & VIRTIO_STATUS_DRIVER_OK && !(vdev->status & VIRTIO_STATUS_FAILED);
}

static void go(struct virtio_device *vdev)
{
	if (vdev->going || vdev->held || !running(vdev))
		return;
	vdev->going = true;
	if (vdev->ops->go)
		vdev->ops->go(vdev);
}

static void halt(struct virtio_device *vdev)
{
	if (!vdev->going)
		return;
	vdev->going = false;
	if (vdev->ops->halt)
		vdev->ops->halt(vdev);
}

static void hold(struct virtio_device *vdev, bool lost)
{
	vdev->held++;
	halt(vdev);
	drain(vdev, NULL, lost);
}

void virtio_device_end(struct virtio_device *vdev)
{
	virtio_enter(vdev);
	hold(vdev, true);
	pthread_mutex_unlock(&vdev->lock);
}

void virtio_device_fini(struct virtio_device *vdev)
{
	unsigned int i;

	virtio_device_end(vdev);
	for (i = 0; i < vdev->nr_queues; i++)
		virtq_destroy(&vdev->queues[i].q);
	free(vdev->queues);
	pthread_cond_destroy(&vdev->changed);
	pthread_mutex_destroy(&vdev->lock);
}

/* --- for devices --------------------------------------------------------------- */

struct virtq *virtio_queue(struct virtio_device *vdev, unsigned int index)
{
	return &vdev->queues[index].q;
}

bool virtio_has(const struct virtio_device *vdev, unsigned int bit)
{
	return vdev->driver >> bit & 1;
}

bool virtio_is_lost(const struct virtq_request *req)
{
	return atomic_load(&container_of(req->queue, struct virtio_queue, q)->lost);
}

static void ended(struct virtio_device *vdev)
{
	if (vdev->draining)
		pthread_cond_broadcast(&vdev->changed);
}

void virtio_complete(struct virtio_device *vdev, struct virtq_request *req)
{
	virtq_push(req->queue, req);
	ended(vdev);
}

void virtio_cancel(struct virtio_device *vdev, struct virtq_request *req)
{
	virtq_drop(req->queue, req);
	ended(vdev);
}

uint16_t virtio_hand_over(struct virtio_device *vdev, unsigned int index,
			  struct virtq_layout *layout)
{
	return virtq_hand_over(&vdev->queues[index].q, layout);
}

void virtio_served(struct virtio_device *vdev, unsigned int index, int kick, int call)
{
	if (vdev->transport && vdev->transport->ops->served)
		vdev->transport->ops->served(vdev->transport, index, kick, call);
	vdev->queues[index].served = kick >= 0 || call >= 0;
}

void virtio_take_back(struct virtio_device *vdev, unsigned int index, uint16_t next)
{
	if (vdev->queues[index].served)
		virtio_served(vdev, index, -1, -1);
	virtq_take_back(&vdev->queues[index].q, next);
}

void virtio_signal(struct virtio_device *vdev, unsigned int index)
{
	if (vdev->queues[index].q.ready)
		signal_used(vdev, index);
}

void virtio_config_changed(struct virtio_device *vdev)
{
	vdev->config_stale = true;
	if (vdev->status & VIRTIO_STATUS_DRIVER_OK && vdev->transport)
		vdev->transport->ops->config(vdev->transport);
}

/*
 * One number for all changes since the last look: a driver that looks before and after it
 * reads sees another one, however many changes there were (PCI shows 8 bits of it).
 */
uint32_t virtio_generation(struct virtio_device *vdev)
{
	vdev->generation += vdev->config_stale;
	vdev->config_stale = false;
	return vdev->generation;
}

/* --- status, features ------------------------------------------------------------ */

static bool features_good(struct virtio_device *vdev, uint64_t features)
{
	return !(features & ~vdev->offered) && features & VIRTIO_BIT(VIRTIO_F_VERSION_1) &&
	       (!vdev->ops->negotiate || vdev->ops->negotiate(vdev, features));
}

uint32_t virtio_features(const struct virtio_device *vdev, uint32_t word)
{
	return word < 2 ? (uint32_t)(vdev->offered >> 32 * word) : 0;
}

uint32_t virtio_driver_features(const struct virtio_device *vdev, uint32_t word)
{
	return word < 2 ? (uint32_t)(vdev->driver >> 32 * word) : 0;
}

void virtio_set_features(struct virtio_device *vdev, uint32_t word, uint32_t value)
{
	if (vdev->status & (VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_FAILED))
		return;
	if (word < 2)
		vdev->driver = (vdev->driver & ~((uint64_t)UINT32_MAX << 32 * word)) |
			       (uint64_t)value << 32 * word;
}

static void do_reset(struct virtio_device *vdev)
{
	unsigned int i;

	halt(vdev);
	drain(vdev, NULL, true);
	for (i = 0; i < vdev->nr_queues; i++) {
		virtq_disable(&vdev->queues[i].q);
		default_setup(&vdev->queues[i]);
	}
	vdev->status = 0;
	vdev->driver = 0;
	if (vdev->ops->reset)
		vdev->ops->reset(vdev);
	if (vdev->transport)
		vdev->transport->ops->reset(vdev->transport);
}

/*
 * Each step needs the one before; but for ACKNOWLEDGE, which means nothing to a device:
 * U-Boot (2025.01) does not say it again after its reset.
 */
static bool in_order(uint32_t status)
{
	if (status & VIRTIO_STATUS_FEATURES_OK && !(status & VIRTIO_STATUS_DRIVER))
		return false;
	return !(status & VIRTIO_STATUS_DRIVER_OK) || status & VIRTIO_STATUS_FEATURES_OK;
}

void virtio_set_status(struct virtio_device *vdev, uint32_t value)
{
	uint32_t old = vdev->status & ~(uint32_t)VIRTIO_STATUS_NEEDS_RESET, fresh;

	if (!value) {
		do_reset(vdev);
		return;
	}
	/* The device's own bit may come back with the driver's. */
	value &= ~(uint32_t)VIRTIO_STATUS_NEEDS_RESET;
	if (value & ~(uint32_t)(STATUS_STEPS | VIRTIO_STATUS_FAILED) || old & ~value ||
	    old & VIRTIO_STATUS_FAILED || !in_order(value)) {
		virtio_complain(vdev, "the driver's status 0x%x after 0x%x is no step; ignored",
				value, old);
		return;
	}
	fresh = value & ~old;
	if (fresh & VIRTIO_STATUS_FEATURES_OK && !features_good(vdev, vdev->driver)) {
		virtio_complain(
			vdev, "the driver's features 0x%llx are refused (0x%llx are offered)",
			(unsigned long long)vdev->driver, (unsigned long long)vdev->offered);
		fresh &= ~(uint32_t)(VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
	}
	vdev->status |= (uint8_t)fresh;
	if (fresh & VIRTIO_STATUS_FAILED)
		halt(vdev);
	/* A broken set-up was told silently until now. */
	if (fresh & VIRTIO_STATUS_DRIVER_OK && vdev->status & VIRTIO_STATUS_NEEDS_RESET)
		virtio_needs_reset(vdev);
	go(vdev);
}

/* --- queues ------------------------------------------------------------------------ */

/* May the driver set up queues now? */
static bool setup_open(const struct virtio_device *vdev)
{
	if (!(vdev->status & VIRTIO_STATUS_FEATURES_OK) || vdev->status & VIRTIO_STATUS_FAILED)
		return false;
	return !(vdev->status & VIRTIO_STATUS_DRIVER_OK) || virtio_has(vdev, VIRTIO_F_RING_RESET);
}

struct virtq_layout *virtio_queue_setup(struct virtio_device *vdev, uint32_t index)
{
	if (index >= vdev->nr_queues || vdev->queues[index].q.ready || !setup_open(vdev))
		return NULL;
	return &vdev->queues[index].setup;
}

const struct virtq_layout *virtio_queue_layout(const struct virtio_device *vdev, uint32_t index)
{
	return index < vdev->nr_queues ? &vdev->queues[index].setup : NULL;
}

uint16_t virtio_queue_max(const struct virtio_device *vdev, uint32_t index)
{
	return index < vdev->nr_queues ? vdev->queues[index].q.max : 0;
}

bool virtio_queue_ready(const struct virtio_device *vdev, uint32_t index)
{
	return index < vdev->nr_queues && vdev->queues[index].q.ready;
}

static int enable(struct virtq *q, const struct virtq_layout *setup, uint64_t features,
		  struct error *err)
{
	unsigned int flags = 0;

	if (features & VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC))
		flags |= VIRTQ_INDIRECT;
	if (features & VIRTIO_BIT(VIRTIO_F_EVENT_IDX))
		flags |= VIRTQ_EVENT_IDX;
	if (features & VIRTIO_BIT(VIRTIO_F_RING_PACKED))
		flags |= VIRTQ_PACKED;
	return virtq_enable(q, setup, flags, err);
}

static void stop_queue(struct virtio_device *vdev, struct virtio_queue *vq)
{
	unsigned int i;

	if (vq->q.away)
		halt(vdev);
	drain(vdev, vq, true);
	virtq_disable(&vq->q);
	vq->again = false;
	vq->told = false;
	go(vdev);
	/* Passes over the others may have been put off. */
	for (i = 0; i < vdev->nr_queues; i++)
		if (vdev->queues[i].again && vdev->transport)
			vdev->transport->ops->again(vdev->transport);
}

void virtio_queue_enable(struct virtio_device *vdev, uint32_t index, bool on)
{
	struct virtio_queue *vq;
	struct error err;

	if (index >= vdev->nr_queues)
		return;
	vq = &vdev->queues[index];
	if (!on && vq->q.ready)
		stop_queue(vdev, vq);
	if (!on || vq->q.ready || !setup_open(vdev))
		return;
	if (enable(&vq->q, &vq->setup, vdev->driver, &err)) {
		virtio_complain(vdev, "queue %u can't be enabled: %s", index, err.msg);
		virtio_needs_reset(vdev);
	}
}

void virtio_queue_reset(struct virtio_device *vdev, uint32_t index)
{
	if (index >= vdev->nr_queues || !virtio_has(vdev, VIRTIO_F_RING_RESET) ||
	    !(vdev->status & VIRTIO_STATUS_FEATURES_OK))
		return;
	stop_queue(vdev, &vdev->queues[index]);
	default_setup(&vdev->queues[index]);
}

static void run_queue(struct virtio_device *vdev, unsigned int index)
{
	struct virtio_queue *vq = &vdev->queues[index];

	/* Not while somebody waits for requests to end. Whoever did so looks again, or resumes. */
	vq->again = vdev->draining;
	/* Who is not served now has no turn left: a resume looks at all queues. */
	if (vdev->draining || !running(vdev) || vdev->held || !vq->q.ready || vq->q.broken)
		return;
	if (vq->q.away) {
		vdev->ops->notify(vdev, index);
		return;
	}
	virtq_begin(&vq->q);
	vdev->ops->notify(vdev, index);
	if (virtq_more(&vq->q)) {
		vq->again = true;
		if (vdev->transport)
			vdev->transport->ops->again(vdev->transport);
	}
}

void virtio_queue_notify(struct virtio_device *vdev, uint32_t index)
{
	if (index >= vdev->nr_queues)
		return;
	vdev->queues[index].notified++;
	/* What is left of the last pass has its own turn: a notification buys no other. */
	if (!vdev->queues[index].again)
		run_queue(vdev, index);
}

void virtio_device_run(struct virtio_device *vdev)
{
	unsigned int i;

	virtio_enter(vdev);
	for (i = 0; i < vdev->nr_queues; i++)
		if (vdev->queues[i].again)
			run_queue(vdev, i);
	virtio_leave(vdev);
}

void virtio_device_stat(struct virtio_device *vdev, const struct stat_sink *sink)
{
	unsigned int i;

	for (i = 0; i < vdev->nr_queues; i++) {
		uint64_t notified, signalled;

		virtio_enter_device(vdev);
		notified = vdev->queues[i].notified;
		signalled = vdev->queues[i].signalled;
		virtio_leave(vdev);
		stat_part(sink, vdev->name, "queue", i, "notified", notified);
		stat_part(sink, vdev->name, "queue", i, "signalled", signalled);
	}
}

/* --- configuration space -------------------------------------------------------------- */

uint64_t virtio_config_read(struct virtio_device *vdev, uint64_t offset, unsigned int size)
{
	uint8_t config[VIRTIO_CONFIG_MAX] = {0};
	uint64_t value = 0;
	unsigned int i;

	if (offset >= vdev->ops->config_size || !vdev->ops->config_get)
		return 0;
	vdev->ops->config_get(vdev, config);
	for (i = 0; i < size && offset + i < vdev->ops->config_size; i++)
		value |= (uint64_t)config[offset + i] << 8 * i;
	return value;
}

void virtio_config_write(struct virtio_device *vdev, uint64_t offset, uint64_t value,
			 unsigned int size)
{
	uint8_t bytes[sizeof(value)];
	unsigned int i, len;

	/* The driver writes after it knows which fields there are. */
	if (offset >= vdev->ops->config_size || !vdev->ops->config_set ||
	    !(vdev->ops->config_early || vdev->status & VIRTIO_STATUS_FEATURES_OK) ||
	    size > sizeof(bytes))
		return;
	len = (unsigned int)min_u64(size, vdev->ops->config_size - offset);
	for (i = 0; i < len; i++)
		bytes[i] = (uint8_t)(value >> 8 * i);
	vdev->ops->config_set(vdev, (uint32_t)offset, bytes, len);
}

/* --- life cycle ------------------------------------------------------------------------- */

int virtio_device_start(struct virtio_device *vdev, struct error *err)
{
	return vdev->ops->start ? vdev->ops->start(vdev, err) : 0;
}

void virtio_device_quiesce(struct virtio_device *vdev)
{
	virtio_enter(vdev);
	hold(vdev, false);
	virtio_leave(vdev);
}

void virtio_device_resume(struct virtio_device *vdev)
{
	unsigned int i;

	virtio_enter(vdev);
	if (vdev->held)
		vdev->held--;
	go(vdev);
	/* A notification may have been ignored, or come before the state was saved. */
	for (i = 0; i < vdev->nr_queues; i++)
		run_queue(vdev, i);
	virtio_leave(vdev);
}

void virtio_device_reset(struct virtio_device *vdev)
{
	virtio_enter(vdev);
	do_reset(vdev);
	virtio_leave(vdev);
}

/* --- save and load ------------------------------------------------------------------------- */

/**
 * struct core_state - what moves, besides the queues and the kind's own
 */
struct core_state {
	uint64_t driver;
	uint8_t status;
	uint32_t generation;
	bool config_stale;
};

static void transfer_core(struct virtio_device *vdev, struct core_state *s, struct xfer *x)
{
	uint32_t id = vdev->ops->id, nr = vdev->nr_queues;
	uint8_t steps;

	xfer_u32(x, &id);
	xfer_check(x, id == vdev->ops->id, "virtio: another kind of device");
	xfer_u32(x, &nr);
	xfer_check(x, nr == vdev->nr_queues, "virtio: another number of queues");
	xfer_u64(x, &s->driver);
	xfer_u8(x, &s->status);
	xfer_u32(x, &s->generation);
	xfer_bool(x, &s->config_stale);
	steps = s->status & STATUS_STEPS;
	xfer_check(
		x,
		!(s->status & ~(STATUS_STEPS | VIRTIO_STATUS_FAILED | VIRTIO_STATUS_NEEDS_RESET)) &&
			in_order(steps),
		"virtio: a status no driver can make");
}

/*
 * What was saved when the queues of such a device had another size keeps that, until it ends: it
 * is what its driver has seen.
 */
static bool take_size(struct virtq *q, uint16_t max, uint16_t was)
{
	struct virtq older;

	if (!was || max != was || max == q->max)
		return true;
	if (virtq_init(&older, q->mem, max, q->priv_size))
		return false;
	virtq_destroy(q);
	*q = older;
	return true;
}

/* One queue; while loading @vq is an initialised scratch queue. @was: queue_max_was */
static void transfer_queue(struct virtio_queue *vq, uint16_t was, const struct core_state *s,
			   struct xfer *x)
{
	bool ready = vq->q.ready, broken = vq->q.broken;
	uint16_t max = vq->q.max;
	struct error err;

	xfer_u16(x, &max);
	xfer_check(x, !x->loading || take_size(&vq->q, max, was), "virtio: no memory for a queue");
	xfer_check(x, max == vq->q.max, "virtio: another queue size");
	virtq_transfer_layout(x, &vq->setup);
	xfer_bool(x, &ready);
	xfer_bool(x, &broken);
	xfer_check(x, !broken || ready, "virtio: a broken queue that is not enabled");
	xfer_check(x, !ready || s->status & VIRTIO_STATUS_FEATURES_OK,
		   "virtio: a queue enabled before features");
	if (x->failed || !ready)
		return;
	if (x->loading) {
		if (enable(&vq->q, &vq->setup, s->driver, &err)) {
			x->failed = true;
			fail(&x->err, "a virtqueue can't be enabled: %s", err.msg);
			return;
		}
		if (broken)
			virtq_break(&vq->q, "as it was when it was saved");
		vq->told = broken;
	}
	virtq_transfer_indexes(x, &vq->q);
}

static void free_scratch(struct virtio_queue *queues, unsigned int nr, void *state)
{
	while (nr--)
		virtq_destroy(&queues[nr].q);
	free(queues);
	free(state);
}

static bool load(struct virtio_device *vdev, struct xfer *x)
{
	struct core_state s = {0};
	struct virtio_queue *queues = calloc(vdev->nr_queues, sizeof(*queues));
	void *state = calloc(1, vdev->ops->state_size + 1);
	unsigned int i, nr = 0;

	for (; queues && state && nr < vdev->nr_queues; nr++) {
		const struct virtq *q = &vdev->queues[nr].q;

		if (virtq_init(&queues[nr].q, q->mem, q->max, q->priv_size))
			break;
	}
	if (nr < vdev->nr_queues) {
		x->failed = true;
		fail(&x->err, "%s: out of memory", vdev->name);
		free_scratch(queues, nr, state);
		return false;
	}
	transfer_core(vdev, &s, x);
	xfer_check(x, idle(vdev, NULL), "virtio: a device with requests in flight can't be loaded");
	/* What else the kind wants to know of the features, it checks with its own state. */
	xfer_check(
		x,
		!(s.status & VIRTIO_STATUS_FEATURES_OK) ||
			(!(s.driver & ~vdev->offered) && s.driver & VIRTIO_BIT(VIRTIO_F_VERSION_1)),
		"virtio: features that are not offered here");
	for (i = 0; i < nr; i++)
		transfer_queue(&queues[i], vdev->ops->queue_max_was, &s, x);
	if (vdev->ops->transfer)
		vdev->ops->transfer(vdev, x, state);
	if (!xfer_commit(x)) {
		free_scratch(queues, nr, state);
		return false;
	}
	vdev->driver = s.driver;
	vdev->status = s.status;
	vdev->generation = s.generation;
	vdev->config_stale = s.config_stale;
	if (vdev->ops->state_size)
		memcpy(vdev->state, state, vdev->ops->state_size);
	free(state);
	for (i = 0; i < nr; i++)
		virtq_destroy(&vdev->queues[i].q);
	free(vdev->queues);
	vdev->queues = queues;
	return true;
}

bool virtio_device_transfer(struct virtio_device *vdev, struct xfer *x)
{
	struct core_state s = {vdev->driver, vdev->status, vdev->generation, vdev->config_stale};
	unsigned int i;

	if (x->loading)
		return load(vdev, x);
	transfer_core(vdev, &s, x);
	for (i = 0; i < vdev->nr_queues; i++)
		transfer_queue(&vdev->queues[i], 0, &s, x);
	if (vdev->ops->transfer)
		vdev->ops->transfer(vdev, x, vdev->state);
	return false;
}
