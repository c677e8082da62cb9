/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vhost-user: virtio devices whose queues another process on this host serves
 * (virtiofsd, qemu-storage-daemon, passt, …): the general seam for back ends that
 * lkvm does not have itself.
 *
 * Three layers, one file each:
 *
 *   the wire      vhost_user_exchange(): one message and its answer, with a time limit
 *                 (virtio/vhost_user_wire.c)
 *   the requests  one function for each thing to ask (virtio/vhost_user.c)
 *   the device    a virtio device of any type over a connection
 *                 (virtio/vhost_user_device.c); a type costs one struct vhost_user_type
 *
 * The peer is not trusted: it may send anything, in any order and number, or nothing,
 * and may be gone at any time. What breaks the protocol ends the connection; the
 * device then needs a reset it can't come back from, and the VM goes on. What the peer
 * can do by design is to read and write all of guest memory, as the guest can.
 *
 * Source: QEMU's docs/interop/vhost-user.rst, the protocol's specification.
 */
#ifndef LKVM_VIRTIO_VHOST_USER_H
#define LKVM_VIRTIO_VHOST_USER_H

#include "lkvm/virtio/kind.h"

/* Regions of guest memory that every back end can take. */
#define VHOST_USER_MAX_REGIONS 8

/* The largest answer that is not a stream: a configuration space with its header. */
#define VHOST_USER_PAYLOAD_MAX (12 + VIRTIO_CONFIG_MAX)

/* What a back end may have to say about its own state. */
#define VHOST_USER_STATE_MAX (256 * MIB)

/* Protocol features. */
#define VHOST_USER_PROTOCOL_MQ 0
#define VHOST_USER_PROTOCOL_RARP 2
#define VHOST_USER_PROTOCOL_REPLY_ACK 3
#define VHOST_USER_PROTOCOL_BACKEND_REQ 5
#define VHOST_USER_PROTOCOL_CONFIG 9
#define VHOST_USER_PROTOCOL_RESET_DEVICE 13
#define VHOST_USER_PROTOCOL_DEVICE_STATE 19

/* --- the wire ----------------------------------------------------------------- */

/**
 * struct vhost_user_inbox - a message on its way in; private
 */
struct vhost_user_inbox {
	uint8_t bytes[12 + VHOST_USER_PAYLOAD_MAX];
	size_t have;
};

/**
 * struct vhost_user - one connection
 * @fd: the socket; stays open, though shut down, when the connection is broken, so
 *      that a loop that watches it sees its end
 * @channel: our end of the socket on which the back end asks, or -1
 * @timeout_ms: for one exchange (vhost_user_set_timeout())
 * @features: virtio features that the back end offers
 * @protocol: protocol features in use
 * @broken: it is over; nothing is sent any more
 * @config_changed: the back end said so; whoever reads the configuration clears it
 *
 * No lock: one thread at a time, see struct vhost_user_device.
 */
struct vhost_user {
	int fd, channel;
	unsigned int timeout_ms;
	uint64_t features, protocol;
	bool broken, config_changed;
	/* private */
	uint64_t patience_ns, since_ns;
	struct vhost_user_inbox in, channel_in;
};

/**
 * struct vhost_user_message - a request to be sent
 * @request: its number
 * @payload, @size: what follows the header
 * @fds, @nr_fds: descriptors that go with it; they stay the caller's
 * @reply: receives the answer, @reply_max bytes at most, @reply_len of them came;
 *         NULL: there is none but an acknowledgement
 */
struct vhost_user_message {
	uint32_t request;
	const void *payload;
	size_t size;
	const int *fds;
	size_t nr_fds;
	void *reply;
	size_t reply_max, reply_len;
};

/**
 * vhost_user_connect() - connect to the socket at @path
 *
 * Return: the descriptor, or -1 with @err set.
 */
int vhost_user_connect(const char *path, struct error *err);

/**
 * vhost_user_init() - a connection over @fd, a stream socket, which it owns from now
 */
void vhost_user_init(struct vhost_user *c, int fd);

/**
 * vhost_user_set_timeout() - how long one exchange may take
 *
 * It is also all the patience there is: what the back end takes is taken off, and comes
 * back slowly, so that one that is slow each time holds us for a small part of the time.
 */
void vhost_user_set_timeout(struct vhost_user *c, unsigned int ms);

/**
 * vhost_user_patience() - how long it may be waited for now, in ns, from @now on
 * vhost_user_waited() - it was waited for since @begin
 */
uint64_t vhost_user_patience(struct vhost_user *c, uint64_t now);
void vhost_user_waited(struct vhost_user *c, uint64_t begin);

/**
 * vhost_user_close() - end it
 */
void vhost_user_close(struct vhost_user *c);

/**
 * vhost_user_break() - no more exchanges: the socket is shut down
 *
 * Return: -1, with @err saying @fmt.
 */
int vhost_user_break(struct vhost_user *c, struct error *err, const char *fmt, ...) __printf(3, 4);

/**
 * vhost_user_has() - is protocol feature @bit in use?
 */
static inline bool vhost_user_has(const struct vhost_user *c, unsigned int bit)
{
	return c->protocol >> bit & 1;
}

/**
 * vhost_user_exchange() - send @m, wait for what must come back
 *
 * A request without an answer of its own is acknowledged where the back end can do
 * that. Waits as long as there is patience, and answers meanwhile what the back end asks on its
 * channel, which may be what it waits for.
 *
 * Return: 0; 1 where the back end refused (the connection is still good); -1 where
 * the connection is broken now. @err is set for both.
 */
int vhost_user_exchange(struct vhost_user *c, struct vhost_user_message *m, struct error *err);

/**
 * vhost_user_channel() - answer the next message on the back end's channel
 *
 * For the loop, when the channel is readable; never waits. One message a call. Only
 * "the configuration changed" is understood; all else is refused.
 *
 * Return: 0, or -1 where the connection is broken now, with @err set.
 */
int vhost_user_channel(struct vhost_user *c, struct error *err);

/* --- the requests --------------------------------------------------------------- */

/*
 * All return 0, or -1 with @err set; whether the connection is over then is in
 * broken.
 */

/**
 * vhost_user_hello() - become the owner, settle the protocol features
 *
 * Return: as said above; a back end without virtio 1.0 is refused here.
 */
int vhost_user_hello(struct vhost_user *c, struct error *err);

/**
 * vhost_user_queues() - how many queues the back end has; 0: it does not say
 */
int vhost_user_queues(struct vhost_user *c, uint64_t *nr, struct error *err);

/**
 * vhost_user_open_channel() - let the back end ask, where it wants to
 */
int vhost_user_open_channel(struct vhost_user *c, struct error *err);

/**
 * vhost_user_get_config() - the first @len bytes of the configuration space
 * vhost_user_set_config() - the driver wrote to it
 */
int vhost_user_get_config(struct vhost_user *c, void *config, uint32_t len, struct error *err);
int vhost_user_set_config(struct vhost_user *c, uint32_t offset, const void *bytes, uint32_t len,
			  struct error *err);

/**
 * vhost_user_set_features() - what the driver accepted
 */
int vhost_user_set_features(struct vhost_user *c, uint64_t features, struct error *err);

/**
 * vhost_user_set_memory() - all of guest RAM, which must be shared (memory_share());
 * not what is another device's own (pmem)
 */
int vhost_user_set_memory(struct vhost_user *c, const struct guest_memory *mem, struct error *err);

/**
 * struct vhost_user_ring - what a back end is told about a queue
 * @base: index in the available ring of the first request to take
 * @desc, @avail, @used: addresses in this process
 * @kick: it is told by this eventfd that there are requests
 * @call: it tells by this one that the driver shall be interrupted
 * @err: and by this one that the driver broke a rule of the ring
 */
struct vhost_user_ring {
	unsigned int index;
	uint32_t num;
	uint16_t base;
	const void *desc, *avail, *used;
	int kick, call, err;
};

/**
 * vhost_user_start_ring() - describe a ring and start it
 * vhost_user_stop_ring() - stop it; *@base is the first request that was not taken
 */
int vhost_user_start_ring(struct vhost_user *c, const struct vhost_user_ring *ring,
			  struct error *err);
int vhost_user_stop_ring(struct vhost_user *c, unsigned int index, uint16_t *base,
			 struct error *err);

/**
 * vhost_user_send_rarp() - announce the guest, whose Ethernet address is @mac (6 bytes), to its
 * network; needs VHOST_USER_PROTOCOL_RARP
 */
int vhost_user_send_rarp(struct vhost_user *c, const uint8_t *mac, struct error *err);

/**
 * vhost_user_reset() - back to the initial state, where the back end offers that
 */
int vhost_user_reset(struct vhost_user *c, struct error *err);

/**
 * vhost_user_save_state() - the back end's own state, while all rings are stopped
 * @state: receives memory that the caller frees; NULL for an empty state
 *
 * vhost_user_load_state() - put it back, before a ring is started
 *
 * Both need VHOST_USER_PROTOCOL_DEVICE_STATE.
 */
int vhost_user_save_state(struct vhost_user *c, void **state, size_t *len, struct error *err);
int vhost_user_load_state(struct vhost_user *c, const void *state, size_t len, struct error *err);

/* --- the device ------------------------------------------------------------------- */

/**
 * struct vhost_user_type - what lkvm must know of a type of device to offer it
 * @name: as users write it; part of the snapshot format
 * @id: the specification's device ID
 * @extra_queues: queues besides those that can be counted (fs: 1, for priority)
 * @queues: how many of the counted ones where nothing else is said; 0: as many as the
 *          VM has vCPUs and the back end has queues
 * @pairs: the back end counts its queues in pairs (net)
 * @queue_max: entries of each; @queue_max_was: see virtio_device_ops
 * @features: bits of this type that the back end serves alone: offered where it does
 * @config_size: bytes of configuration space that the back end is asked for
 * @writable_at, @writable_len: which of them the driver may write (@writable_len 0: none)
 * @link_at: where in the space the status of a link is, which lkvm keeps; the address is at 0.
 *           0: there is none
 * @stateless: the rings' indexes are all that a back end remembers
 * @trim: @offered without those that need others which are not offered; NULL: none do
 * @fill: complete the space: @queues counted ones. @config is zero or the back end's. May
 *        be NULL.
 */
struct vhost_user_type {
	const char *name;
	uint32_t id;
	unsigned int extra_queues, queues;
	bool pairs;
	uint16_t queue_max, queue_max_was;
	uint64_t features;
	uint32_t config_size;
	uint32_t writable_at, writable_len;
	uint32_t link_at;
	bool stateless;
	uint64_t (*trim)(uint64_t offered);
	void (*fill)(uint8_t *config, unsigned int queues);
};

/**
 * vhost_user_type_find() - the type that users call @name, or NULL
 */
const struct vhost_user_type *vhost_user_type_find(const char *name);

/* Configuration space of a file system: its tag, filled up with zeroes; the type adds the rest. */
#define VHOST_USER_FS_TAG_MAX 36
#define VHOST_USER_FS_CONFIG 40

/**
 * struct vhost_user_setup - one device
 * @type: copied, but for its name, which must stay
 * @fd: connection to its back end, or -1 for a device that is shown only. It is owned by
 *      the device from now, also where creating it fails.
 * @queues: counted queues; 0: as the type says
 * @features: bits that lkvm serves itself (net: MAC): offered whatever the back end does
 * @config, @config_len: lkvm's own part of the configuration space, from offset 0; the
 *                       space is as large as this or the type's, whichever is larger
 * @timeout_ms: for one exchange; 0: the usual few seconds
 * @greet_ms: the same while the back end is greeted, which may have to start first; 0: as
 *            @timeout_ms
 */
struct vhost_user_setup {
	const struct vhost_user_type *type;
	int fd;
	unsigned int queues;
	uint64_t features;
	const void *config;
	uint32_t config_len;
	unsigned int timeout_ms, greet_ms;
};

struct vhost_user_device;

/**
 * vhost_user_device_create() - a device over a connection: greets the back end, which
 * must answer now
 *
 * Before the loop runs. Uses @world's name, mem, loop, log and nr_vcpus.
 *
 * Return: the device, or NULL with @err set.
 */
struct vhost_user_device *vhost_user_device_create(const struct virtio_world *world,
						   const struct vhost_user_setup *setup,
						   struct error *err);

/**
 * vhost_user_device() - as the core sees it; destroyed by its destroy operation
 */
struct virtio_device *vhost_user_device(struct vhost_user_device *dev);

/**
 * vhost_user_device_on_destroy() - call @fn last of all, to end a helper
 */
void vhost_user_device_on_destroy(struct vhost_user_device *dev, void (*fn)(void *opaque),
				  void *opaque);

/**
 * vhost_user_device_gone() - the back end has ended: say @why (loop's thread)
 *
 * For those who know more than a closed socket tells. Said once.
 */
void vhost_user_device_gone(struct vhost_user_device *dev, const char *why);

/* --vhost-user TYPE,socket=PATH… */
extern const struct virtio_kind virtio_vhost_user_kind;

#endif /* LKVM_VIRTIO_VHOST_USER_H */
