/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What all virtio devices share: status, features, configuration space, queues,
 * reset, and the way their state is moved. A transport (virtio/mmio.c) stands on
 * one side of it, a kind of device (virtio/blk.c) on the other; neither knows the
 * other.
 *
 * One mutex a device. Who comes from outside enters and leaves:
 *
 *   virtio_enter() ... virtio_leave()               a transport, for the guest
 *   virtio_enter_device() ... virtio_leave()        a device, when something that
 *                                                   was under way has ended
 *
 * virtio_leave() tells the guest what happened meanwhile, at most once a queue.
 * Every function below that says "inside" is called between the two; callbacks of
 * struct virtio_device_ops and struct virtio_transport_ops run inside.
 *
 * Lock order: device -> interrupt chip.
 */
#ifndef LKVM_VIRTIO_DEVICE_H
#define LKVM_VIRTIO_DEVICE_H

#include "lkvm/log.h"
#include "lkvm/stat.h"
#include "lkvm/virtio/queue.h"

#include <pthread.h>
#include <stdatomic.h>

#define VIRTIO_STATUS_ACKNOWLEDGE 1
#define VIRTIO_STATUS_DRIVER 2
#define VIRTIO_STATUS_DRIVER_OK 4
#define VIRTIO_STATUS_FEATURES_OK 8
#define VIRTIO_STATUS_NEEDS_RESET 64
#define VIRTIO_STATUS_FAILED 128

#define VIRTIO_F_INDIRECT_DESC 28
#define VIRTIO_F_EVENT_IDX 29
#define VIRTIO_F_VERSION_1 32
#define VIRTIO_F_RING_PACKED 34
#define VIRTIO_F_RING_RESET 40

#define VIRTIO_BIT(n) (UINT64_C(1) << (n))

/* What the core offers for every device. */
#define VIRTIO_CORE_FEATURES                                                                       \
	(VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC) | VIRTIO_BIT(VIRTIO_F_EVENT_IDX) |                     \
	 VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_F_RING_PACKED) |                       \
	 VIRTIO_BIT(VIRTIO_F_RING_RESET))

/* The largest configuration space of a device here. */
#define VIRTIO_CONFIG_MAX 256

#define VIRTIO_MAX_QUEUES 64

struct virtio_device;
struct virtio_transport;

/**
 * struct virtio_device_ops - a kind of device; what is NULL is not needed
 * @kind: a short fixed name ("blk"); part of the snapshot format
 * @id: the specification's device ID
 * @config_size: bytes of configuration space, up to VIRTIO_CONFIG_MAX
 * @queue_max_was: entries of a queue in an earlier version, which a saved state may have
 *                 instead; 0: none
 * @state_size: bytes at virtio_device.state that @transfer walks over
 * @negotiate: the driver wants @features (a subset of those offered, with
 *             VERSION_1): is that possible?
 * @config_get: fill in the whole space (zeroed before)
 * @config_set: the driver wrote @len bytes at @offset, inside the space
 * @config_early: that is for @config_set in any status, and not only from FEATURES_OK on
 * @start: the guest is about to run for the first time: start helpers, connect them.
 *         May still change what is offered. Not called for a VM that is only shown.
 *         Outside. 0, or -1 with @err set.
 * @go: the device runs from here: DRIVER_OK was set, or it was quiesced and goes on.
 *      Whoever hands queues to someone else (virtio_hand_over()) does it here.
 * @halt: the device ceases to run (reset, quiesce, a queue stopped, FAILED): stop
 *        whoever serves queues that were handed over, and take them back
 *        (virtio_take_back()). A device with this operation offers no RING_RESET.
 * @notify: look at queue @index: it is ready and may hold requests. Called for the
 *          driver's notifications, after a resume, and where the last pass ended
 *          early. For a queue that was handed over: tell who serves it.
 * @drain: requests in flight shall end soon: what waits for the outside world is
 *         cancelled (virtio_cancel()). Then the core waits until none is in flight.
 *         So completions come from a worker thread, never from the loop's.
 * @reset: nothing is in flight, no queue is enabled: forget what the driver said
 * @transfer: walk over the copy of the state at @state (see xfer.h)
 * @obstacle: why the state can't be saved now, or NULL where it can
 * @command: a user's command for this device ("resize"); @words is what follows the
 *           device's name. Outside, loop's thread. Fills in @reply (one line, may stay
 *           empty) and returns 0, or -1 with @err set.
 * @finish: the guest has ended by itself and no vCPU runs: hand on what it gave before,
 *          also to a slow peer. Outside, loop's thread.
 * @destroy: free everything, after virtio_device_fini()
 */
struct virtio_device_ops {
	const char *kind;
	uint32_t id;
	uint32_t config_size;
	uint16_t queue_max_was;
	size_t state_size;
	bool (*negotiate)(struct virtio_device *vdev, uint64_t features);
	void (*config_get)(struct virtio_device *vdev, uint8_t *config);
	void (*config_set)(struct virtio_device *vdev, uint32_t offset, const uint8_t *bytes,
			   uint32_t len);
	bool config_early;
	int (*start)(struct virtio_device *vdev, struct error *err);
	void (*go)(struct virtio_device *vdev);
	void (*halt)(struct virtio_device *vdev);
	void (*notify)(struct virtio_device *vdev, unsigned int index);
	void (*drain)(struct virtio_device *vdev);
	void (*reset)(struct virtio_device *vdev);
	void (*transfer)(struct virtio_device *vdev, struct xfer *x, void *state);
	const char *(*obstacle)(struct virtio_device *vdev);
	int (*command)(struct virtio_device *vdev, const char *words, char *reply, size_t len,
		       struct error *err);
	void (*finish)(struct virtio_device *vdev);
	void (*destroy)(struct virtio_device *vdev);
};

/**
 * struct virtio_transport_ops - what a transport does for its device
 * @used: the driver wants to hear of buffers used in queue @index
 * @config: the configuration changed, or the device needs a reset
 * @again: call virtio_device_run() soon, from the loop's thread
 * @reset: the device was reset
 * @served: queue @index, which was handed over, hears of the driver by eventfd @kick and
 *          says by @call that the driver is to be interrupted. The transport may connect
 *          both to KVM, which then takes them from whoever else waits for them; where it
 *          does not, notify and virtio_signal() go on. -1: there is none (any more).
 *          May be NULL.
 */
struct virtio_transport_ops {
	void (*used)(struct virtio_transport *transport, unsigned int index);
	void (*config)(struct virtio_transport *transport);
	void (*again)(struct virtio_transport *transport);
	void (*reset)(struct virtio_transport *transport);
	void (*served)(struct virtio_transport *transport, unsigned int index, int kick, int call);
};

struct virtio_transport {
	const struct virtio_transport_ops *ops;
};

/**
 * struct virtio_doorbell - see struct virtio_transport_env
 */
struct virtio_doorbell {
	uint64_t address;
	unsigned int size;
	bool match;
	uint32_t value;
	int fd;
};

/**
 * struct virtio_transport_env - the world of a transport
 * @run_soon: call virtio_device_run() from the loop's thread soon (for instance by
 *            loop_post()). Called with the device's lock held; may come again before
 *            that happened.
 * @doorbell: let the guest's stores of @size bytes to @address, or where @match is set
 *            only those of @value, write eventfd @fd instead of coming to the transport;
 *            or (@on false) come again. @address counts from the transport's window
 *            (virtio-mmio), or is the guest's own (PCI). NULL: can't be had. Returns 0 or
 *            -errno: they come to the transport then.
 */
struct virtio_transport_env {
	void (*run_soon)(void *opaque);
	int (*doorbell)(void *opaque, const struct virtio_doorbell *bell, bool on);
};

/**
 * struct virtio_queue - one queue of a device; private to the core
 * @q: the queue
 * @setup: what the driver wrote; frozen while @q is enabled
 * @again: its last pass ended with work left
 * @told: the driver knows that it is broken
 * @served: the transport was told of eventfds
 * @lost: see virtio_is_lost(); read by whoever carries a request out
 * @notified, @signalled: notifications that came to lkvm, and interrupts that it asked for
 */
struct virtio_queue {
	struct virtq q;
	struct virtq_layout setup;
	bool again, told, served;
	atomic_bool lost;
	uint64_t notified, signalled;
};

/**
 * struct virtio_device - embedded in each kind's own struct
 * @ops: its kind
 * @name: unique in its VM ("disk0"), for messages
 * @transport: set by the transport that takes the device
 * @vectors: how many MSI-X vectors a transport may give it, which it reads when it takes
 *           the device; 0: one for each queue and one for the configuration
 * @offered: feature bits; @driver: those the driver wrote
 * @status: as the driver reads it
 * @generation: of the configuration space, as the driver saw it last; @config_stale: it
 *              changed since
 * @state: what ops->transfer saves, ops->state_size bytes inside the kind's struct
 */
struct virtio_device {
	const struct virtio_device_ops *ops;
	const char *name;
	struct guest_memory *mem;
	struct log *log;
	struct ratelimit complaints;
	struct virtio_transport *transport;
	unsigned int vectors;
	uint64_t offered, driver;
	uint8_t status;
	uint32_t generation;
	bool config_stale;
	void *state;
	/* private */
	pthread_mutex_t lock;
	pthread_cond_t changed; /* a request or a drain ended */
	bool draining, going;
	unsigned int held; /* by so many virtio_device_quiesce() */
	unsigned int nr_queues;
	struct virtio_queue *queues;
};

/**
 * virtio_device_init() - the core's half of a device, in its reset state
 * @features: those of the kind; the core adds its own
 * @queue_max: entries of each queue
 * @priv_size: see virtq_init()
 * @state: see struct virtio_device
 *
 * Return: 0, or -ENOMEM or -EINVAL (nothing to undo).
 */
int virtio_device_init(struct virtio_device *vdev, const struct virtio_device_ops *ops,
		       const char *name, struct guest_memory *mem, struct log *log,
		       uint64_t features, unsigned int nr_queues, uint16_t queue_max,
		       size_t priv_size, void *state);

/**
 * virtio_device_end() - nothing is answered any more; waits for requests in flight, which
 * are lost
 *
 * For a kind's @destroy that has to end those who carry requests out before
 * virtio_device_fini(), which does the same.
 */
void virtio_device_end(struct virtio_device *vdev);

/**
 * virtio_device_fini() - free what virtio_device_init() made; waits for requests in flight
 */
void virtio_device_fini(struct virtio_device *vdev);

/**
 * virtio_enter() - lock for a transport: waits while the device drains
 * virtio_enter_device() - lock for the device itself
 * virtio_leave() - tell the guest what happened, and unlock
 *
 * Any thread.
 */
void virtio_enter(struct virtio_device *vdev);
void virtio_enter_device(struct virtio_device *vdev);
void virtio_leave(struct virtio_device *vdev);

/* --- for devices, inside ------------------------------------------------------ */

/**
 * virtio_queue() - queue @index, below nr_queues
 */
struct virtq *virtio_queue(struct virtio_device *vdev, unsigned int index);

/**
 * virtio_has() - was feature bit @bit negotiated?
 */
bool virtio_has(const struct virtio_device *vdev, unsigned int bit);

/**
 * virtio_complete() - give a request back to the driver (virtq_push())
 * virtio_cancel() - or drop it, because the device drains
 */
void virtio_complete(struct virtio_device *vdev, struct virtq_request *req);
void virtio_cancel(struct virtio_device *vdev, struct virtq_request *req);

/**
 * virtio_is_lost() - does nobody read any more what comes of @req, which is in flight?
 *
 * Its queue is being reset, or the VM ends: who carries it out may stop in the middle, and
 * shall soon complete it as if it had failed. Any thread, inside or not.
 */
bool virtio_is_lost(const struct virtq_request *req);

/**
 * virtio_hand_over() - queue @index is served by somebody else (vhost) from now
 * @layout: where it is: checked and frozen
 *
 * Return: the index in the available ring at which to start. The core touches the
 * rings no more, and virtq_pop() gives nothing, until virtio_take_back().
 */
uint16_t virtio_hand_over(struct virtio_device *vdev, unsigned int index,
			  struct virtq_layout *layout);

/**
 * virtio_served() - who serves queue @index now, which was handed over, is told of requests
 * by eventfd @kick, and by writing @call interrupts the driver
 *
 * So the transport may connect them to KVM, and notify and the reader of @call see only
 * what does not go that way. Ends with virtio_take_back().
 */
void virtio_served(struct virtio_device *vdev, unsigned int index, int kick, int call);

/**
 * virtio_take_back() - nobody else serves queue @index any more
 * @next: index in the available ring of the first request that was not taken; all
 *        before it have been given back
 */
void virtio_take_back(struct virtio_device *vdev, unsigned int index, uint16_t next);

/**
 * virtio_signal() - who serves queue @index says that the driver shall be interrupted
 */
void virtio_signal(struct virtio_device *vdev, unsigned int index);

/**
 * virtio_config_changed() - the driver shall read the configuration space again
 */
void virtio_config_changed(struct virtio_device *vdev);

/**
 * virtio_needs_reset() - the device can't go on before the driver resets it
 *
 * For a device whose back end failed; a queue that is broken does it by itself.
 */
void virtio_needs_reset(struct virtio_device *vdev);

/**
 * virtio_complain() - a rate-limited line about what the guest did
 */
void virtio_complain(struct virtio_device *vdev, const char *fmt, ...) __printf(2, 3);

/* --- for transports, inside ---------------------------------------------------- */

/**
 * virtio_features() / virtio_driver_features() / virtio_set_features() - word @word (32
 * bits each) of the features offered / accepted / to be accepted; words beyond 1 do
 * not exist
 *
 * Setting is ignored once FEATURES_OK stands.
 */
uint32_t virtio_features(const struct virtio_device *vdev, uint32_t word);
uint32_t virtio_driver_features(const struct virtio_device *vdev, uint32_t word);
void virtio_set_features(struct virtio_device *vdev, uint32_t word, uint32_t value);

/**
 * virtio_set_status() - the driver wrote @value; 0 resets
 *
 * What is no legal step is ignored as a whole.
 */
void virtio_set_status(struct virtio_device *vdev, uint32_t value);

/**
 * virtio_queue_setup() - where the driver's layout of queue @index is kept, or NULL
 * where there is no such queue or it can't be changed now
 */
struct virtq_layout *virtio_queue_setup(struct virtio_device *vdev, uint32_t index);

/**
 * virtio_queue_layout() - the same for reading: what the driver wrote, or the default;
 * NULL only where there is no such queue
 */
const struct virtq_layout *virtio_queue_layout(const struct virtio_device *vdev, uint32_t index);

/**
 * virtio_put_half() - write the low or the high 32 bits of an address of a layout
 */
static inline void virtio_put_half(gpa_t *address, uint32_t value, bool high)
{
	unsigned int shift = high ? 32 : 0;

	*address = (*address & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)value << shift;
}

/**
 * virtio_queue_max() - entries queue @index may have; 0: there is no such queue
 */
uint16_t virtio_queue_max(const struct virtio_device *vdev, uint32_t index);

/**
 * virtio_queue_ready() / virtio_queue_enable() - is it enabled; enable or stop it
 *
 * A layout that is refused leaves it stopped and the device in need of a reset.
 * Stopping waits for what is in flight.
 */
bool virtio_queue_ready(const struct virtio_device *vdev, uint32_t index);
void virtio_queue_enable(struct virtio_device *vdev, uint32_t index, bool on);

/**
 * virtio_queue_reset() - back to its default state, where RING_RESET was negotiated
 */
void virtio_queue_reset(struct virtio_device *vdev, uint32_t index);

/**
 * virtio_queue_notify() - the driver says that queue @index has work
 */
void virtio_queue_notify(struct virtio_device *vdev, uint32_t index);

/**
 * virtio_generation() - the driver reads the configuration space's generation
 */
uint32_t virtio_generation(struct virtio_device *vdev);

/**
 * virtio_config_read() / virtio_config_write() - @size (1, 2, 4, 8) bytes at @offset
 *
 * What lies beyond the space reads as 0 and is dropped.
 */
uint64_t virtio_config_read(struct virtio_device *vdev, uint64_t offset, unsigned int size);
void virtio_config_write(struct virtio_device *vdev, uint64_t offset, uint64_t value,
			 unsigned int size);

/* --- for transports, outside ---------------------------------------------------- */

/**
 * virtio_device_run() - go on where a pass ended early (loop's thread, after @again)
 */
void virtio_device_run(struct virtio_device *vdev);

/**
 * virtio_device_stat() - its figures: of each queue the notifications that came to lkvm
 * and the interrupts that it asked for
 *
 * What KVM and whoever serves a queue settle between them is not in these.
 */
void virtio_device_stat(struct virtio_device *vdev, const struct stat_sink *sink);

/**
 * virtio_device_start() - the start operation (from the transport's activate)
 */
int virtio_device_start(struct virtio_device *vdev, struct error *err);

/**
 * virtio_device_quiesce() / virtio_device_resume() - see device.h
 *
 * They nest: the device is quiet until each quiesce has had its resume.
 */
void virtio_device_quiesce(struct virtio_device *vdev);
void virtio_device_resume(struct virtio_device *vdev);

/**
 * virtio_device_reset() - as if the driver had written status 0
 */
void virtio_device_reset(struct virtio_device *vdev);

/**
 * virtio_device_transfer() - the last part of a transport's walk: it commits
 *
 * Return: true where a loaded state was committed; the transport then commits its
 * own.
 */
bool virtio_device_transfer(struct virtio_device *vdev, struct xfer *x);

#endif /* LKVM_VIRTIO_DEVICE_H */
