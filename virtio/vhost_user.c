// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a vhost-user front end asks of a back end: the messages of the protocol
 * (QEMU's docs/interop/vhost-user.rst) that lkvm uses, one function each.
 *
 * Of the protocol features these are used where the back end has them: MQ (how many
 * queues it has), REPLY_ACK (every request is acknowledged, so that a refusal is known
 * at once and in place), RARP (announcing the guest), CONFIG with BACKEND_REQ (configuration space,
 * and the word that it changed), RESET_DEVICE, and DEVICE_STATE (what it would have to remember
 * over a snapshot). Rings are described by our own addresses, as the protocol wants it; the back
 * end finds them in the table of regions. No IOMMU, no dirty log, no in-band notifications, no
 * shared objects.
 *
 * An answer is checked in the same function that asked: its length, and every value
 * that is used later.
 *
 * Thread and lock: the caller's, see struct vhost_user. Nothing is saved here.
 */
#include "lkvm/virtio/vhost_user.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The feature bit that says "ask for my protocol features". */
#define F_PROTOCOL_FEATURES 30

#define GET_FEATURES 1
#define SET_FEATURES 2
#define SET_OWNER 3
#define SET_MEM_TABLE 5
#define SET_VRING_NUM 8
#define SET_VRING_ADDR 9
#define SET_VRING_BASE 10
#define GET_VRING_BASE 11
#define SET_VRING_KICK 12
#define SET_VRING_CALL 13
#define SET_VRING_ERR 14
#define GET_PROTOCOL_FEATURES 15
#define SET_PROTOCOL_FEATURES 16
#define GET_QUEUE_NUM 17
#define SET_VRING_ENABLE 18
#define SEND_RARP 19
#define SET_BACKEND_REQ_FD 21
#define GET_CONFIG 24
#define SET_CONFIG 25
#define RESET_DEVICE 34
#define SET_DEVICE_STATE_FD 42
#define CHECK_DEVICE_STATE 43

#define WANTED                                                                                     \
	(VIRTIO_BIT(VHOST_USER_PROTOCOL_MQ) | VIRTIO_BIT(VHOST_USER_PROTOCOL_RARP) |               \
	 VIRTIO_BIT(VHOST_USER_PROTOCOL_REPLY_ACK) |                                               \
	 VIRTIO_BIT(VHOST_USER_PROTOCOL_RESET_DEVICE) |                                            \
	 VIRTIO_BIT(VHOST_USER_PROTOCOL_DEVICE_STATE))
#define WANTED_TOGETHER                                                                            \
	(VIRTIO_BIT(VHOST_USER_PROTOCOL_CONFIG) | VIRTIO_BIT(VHOST_USER_PROTOCOL_BACKEND_REQ))

/* SET_CONFIG's flags: written by the driver. (There is a bit for restores; not all know it.) */
#define CONFIG_DRIVER 0

/* SET_DEVICE_STATE_FD: which way, and the answer. */
#define STATE_SAVE 0
#define STATE_LOAD 1
#define STATE_NO_FD 0x100
#define STATE_ERROR 0xff

/* A state may take as long as this number of exchanges: half a minute. */
#define STATE_TIMEOUTS 6
#define STATE_CHUNK (64 * KIB)

struct region {
	uint64_t gpa, size, user, offset;
};

struct regions {
	uint32_t nr, padding;
	struct region region[VHOST_USER_MAX_REGIONS];
};

struct vring_state {
	uint32_t index, num;
};

struct vring_addr {
	uint32_t index, flags;
	uint64_t desc, used, avail, log;
};

struct config {
	uint32_t offset, size, flags;
	uint8_t bytes[VIRTIO_CONFIG_MAX];
};

#define CONFIG_HEADER offsetof(struct config, bytes)

/* --- shapes of requests --------------------------------------------------------- */

/* A request without an answer of its own. */
static int tell(struct vhost_user *c, uint32_t request, const void *payload, size_t size,
		struct error *err)
{
	struct vhost_user_message m = {.request = request, .payload = payload, .size = size};

	return vhost_user_exchange(c, &m, err) ? -1 : 0;
}

/* A question that is answered by one number. */
static int ask(struct vhost_user *c, uint32_t request, uint64_t *value, struct error *err)
{
	struct vhost_user_message m = {
		.request = request, .reply = value, .reply_max = sizeof(*value)};

	if (vhost_user_exchange(c, &m, err))
		return -1;
	if (m.reply_len != sizeof(*value))
		return vhost_user_break(c, err, "the back end answered request %u with %zu bytes",
					request, m.reply_len);
	return 0;
}

static int tell_vring(struct vhost_user *c, uint32_t request, unsigned int index, uint32_t num,
		      struct error *err)
{
	struct vring_state state = {index, num};

	return tell(c, request, &state, sizeof(state), err);
}

static int give_vring_fd(struct vhost_user *c, uint32_t request, unsigned int index, int fd,
			 struct error *err)
{
	uint64_t payload = index;
	struct vhost_user_message m = {.request = request,
				       .payload = &payload,
				       .size = sizeof(payload),
				       .fds = &fd,
				       .nr_fds = 1};

	return vhost_user_exchange(c, &m, err) ? -1 : 0;
}

/* --- greeting -------------------------------------------------------------------- */

int vhost_user_hello(struct vhost_user *c, struct error *err)
{
	uint64_t features = 0, protocol = 0;

	if (tell(c, SET_OWNER, NULL, 0, err) || ask(c, GET_FEATURES, &features, err))
		return -1;
	if (!(features & VIRTIO_BIT(VIRTIO_F_VERSION_1)))
		return vhost_user_break(c, err,
					"the back end does not know virtio 1.0 (features 0x%llx)",
					(unsigned long long)features);
	c->features = features;
	if (!(features & VIRTIO_BIT(F_PROTOCOL_FEATURES)))
		return 0;
	if (ask(c, GET_PROTOCOL_FEATURES, &protocol, err))
		return -1;
	if ((protocol & WANTED_TOGETHER) == WANTED_TOGETHER)
		protocol &= WANTED | WANTED_TOGETHER;
	else
		protocol &= WANTED | VIRTIO_BIT(VHOST_USER_PROTOCOL_CONFIG);
	if (tell(c, SET_PROTOCOL_FEATURES, &protocol, sizeof(protocol), err))
		return -1;
	c->protocol = protocol;
	return 0;
}

int vhost_user_queues(struct vhost_user *c, uint64_t *nr, struct error *err)
{
	*nr = 0;
	return vhost_user_has(c, VHOST_USER_PROTOCOL_MQ) ? ask(c, GET_QUEUE_NUM, nr, err) : 0;
}

int vhost_user_open_channel(struct vhost_user *c, struct error *err)
{
	struct vhost_user_message m = {.request = SET_BACKEND_REQ_FD, .nr_fds = 1};
	int fds[2], ret;

	if (!vhost_user_has(c, VHOST_USER_PROTOCOL_BACKEND_REQ))
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return fail_errno(err, errno, "cannot make a socket");
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	m.fds = &fds[1];
	ret = vhost_user_exchange(c, &m, err);
	close(fds[1]);
	if (ret)
		close(fds[0]);
	else
		c->channel = fds[0];
	return ret ? -1 : 0;
}

int vhost_user_set_features(struct vhost_user *c, uint64_t features, struct error *err)
{
	features |= c->features & VIRTIO_BIT(F_PROTOCOL_FEATURES);
	return tell(c, SET_FEATURES, &features, sizeof(features), err);
}

int vhost_user_reset(struct vhost_user *c, struct error *err)
{
	if (!vhost_user_has(c, VHOST_USER_PROTOCOL_RESET_DEVICE))
		return 0;
	return tell(c, RESET_DEVICE, NULL, 0, err);
}

/* --- configuration space ------------------------------------------------------------ */

int vhost_user_get_config(struct vhost_user *c, void *config, uint32_t len, struct error *err)
{
	struct config request = {.size = len}, reply = {0};
	struct vhost_user_message m = {.request = GET_CONFIG,
				       .payload = &request,
				       .size = CONFIG_HEADER + len,
				       .reply = &reply,
				       .reply_max = sizeof(reply)};

	if (!len || len > VIRTIO_CONFIG_MAX)
		return fail(err, "a configuration space of %u bytes", len);
	if (!vhost_user_has(c, VHOST_USER_PROTOCOL_CONFIG))
		return fail(err, "the back end gives no configuration space");
	if (vhost_user_exchange(c, &m, err))
		return -1;
	/* No payload, or none behind its header: it can't. */
	if (!m.reply_len || (m.reply_len >= CONFIG_HEADER && !reply.size))
		return fail(err, "the back end refused to give %u bytes of configuration space",
			    len);
	if (m.reply_len != CONFIG_HEADER + len || reply.offset || reply.size != len)
		return vhost_user_break(c, err,
					"the back end gave %zu bytes of configuration space "
					"instead of %u",
					m.reply_len, len);
	memcpy(config, reply.bytes, len);
	return 0;
}

int vhost_user_set_config(struct vhost_user *c, uint32_t offset, const void *bytes, uint32_t len,
			  struct error *err)
{
	struct config request = {.offset = offset, .size = len, .flags = CONFIG_DRIVER};

	if (!len || len > VIRTIO_CONFIG_MAX)
		return fail(err, "a write of %u bytes", len);
	if (!vhost_user_has(c, VHOST_USER_PROTOCOL_CONFIG))
		return fail(err, "the back end takes no configuration");
	memcpy(request.bytes, bytes, len);
	return tell(c, SET_CONFIG, &request, CONFIG_HEADER + len, err);
}

/* --- memory ------------------------------------------------------------------------- */

int vhost_user_set_memory(struct vhost_user *c, const struct guest_memory *mem, struct error *err)
{
	struct regions table = {.nr = 0};
	int fds[VHOST_USER_MAX_REGIONS];
	struct vhost_user_message m = {.request = SET_MEM_TABLE, .payload = &table, .fds = fds};
	size_t i;

	for (i = 0; i < mem->nr; i++) {
		const struct memory_region *r = &mem->regions[i];

		/* Another device's file is none of this back end's business. */
		if (r->file)
			continue;
		if (r->fd < 0)
			return fail(err, "guest memory at 0x%llx can't be shared",
				    (unsigned long long)r->gpa);
		if (table.nr == VHOST_USER_MAX_REGIONS)
			return fail(err, "a vhost-user back end takes at most %d regions of memory",
				    VHOST_USER_MAX_REGIONS);
		table.region[table.nr] = (struct region){r->gpa, r->size, (uintptr_t)r->hva, 0};
		fds[table.nr++] = r->fd;
	}
	m.nr_fds = table.nr;
	m.size = offsetof(struct regions, region) + table.nr * sizeof(struct region);
	return vhost_user_exchange(c, &m, err) ? -1 : 0;
}

/* --- rings ------------------------------------------------------------------------- */

int vhost_user_start_ring(struct vhost_user *c, const struct vhost_user_ring *ring,
			  struct error *err)
{
	struct vring_addr addr = {.index = ring->index,
				  .desc = (uintptr_t)ring->desc,
				  .used = (uintptr_t)ring->used,
				  .avail = (uintptr_t)ring->avail};

	if (tell_vring(c, SET_VRING_NUM, ring->index, ring->num, err) ||
	    tell_vring(c, SET_VRING_BASE, ring->index, ring->base, err) ||
	    tell(c, SET_VRING_ADDR, &addr, sizeof(addr), err) ||
	    give_vring_fd(c, SET_VRING_ERR, ring->index, ring->err, err) ||
	    give_vring_fd(c, SET_VRING_CALL, ring->index, ring->call, err) ||
	    give_vring_fd(c, SET_VRING_KICK, ring->index, ring->kick, err))
		return -1;
	/* Without protocol features a ring is enabled from the start. */
	if (!(c->features & VIRTIO_BIT(F_PROTOCOL_FEATURES)))
		return 0;
	return tell_vring(c, SET_VRING_ENABLE, ring->index, 1, err);
}

int vhost_user_stop_ring(struct vhost_user *c, unsigned int index, uint16_t *base,
			 struct error *err)
{
	struct vring_state request = {.index = index}, reply = {0};
	struct vhost_user_message m = {.request = GET_VRING_BASE,
				       .payload = &request,
				       .size = sizeof(request),
				       .reply = &reply,
				       .reply_max = sizeof(reply)};

	if (vhost_user_exchange(c, &m, err))
		return -1;
	if (m.reply_len != sizeof(reply) || reply.index != index || reply.num > UINT16_MAX)
		return vhost_user_break(c, err,
					"the back end stopped ring %u at 0x%x instead of ring %u",
					reply.index, reply.num, index);
	*base = (uint16_t)reply.num;
	return 0;
}

int vhost_user_send_rarp(struct vhost_user *c, const uint8_t *mac, struct error *err)
{
	uint8_t payload[8] = {0};

	memcpy(payload, mac, 6);
	return tell(c, SEND_RARP, payload, sizeof(payload), err);
}

/* --- the back end's own state -------------------------------------------------------- */

static uint64_t state_deadline(const struct vhost_user *c)
{
	return now_ns() + STATE_TIMEOUTS * c->timeout_ms * NSEC_PER_MSEC;
}

/* Wait until @fd is ready, or the back end is gone. */
static int wait_for_state(struct vhost_user *c, int fd, short events, uint64_t deadline,
			  struct error *err)
{
	for (;;) {
		struct pollfd fds[2] = {{.fd = fd, .events = events}, {.fd = c->fd}};
		uint64_t now = now_ns();
		int n;

		if (now >= deadline)
			break;
		n = poll(fds, 2, (int)((deadline - now) / NSEC_PER_MSEC) + 1);
		if (n > 0 && fds[0].revents)
			return 0;
		if (n > 0)
			return vhost_user_break(c, err,
						"the back end closed the connection while its "
						"state was moved");
	}
	return vhost_user_break(c, err, "the back end does not get on with its state");
}

/*
 * Settle the way of the state: *@fd becomes our end of a pipe. A back end may want
 * another way and send a descriptor in its place. That is not taken: its flags are not
 * ours alone, so reading it might block.
 */
static int open_state(struct vhost_user *c, uint32_t direction, int *fd, struct error *err)
{
	uint32_t payload[2] = {direction, 0 /* all rings are stopped */};
	uint64_t reply = 0;
	int fds[2], ours = direction == STATE_SAVE ? 0 : 1;
	struct vhost_user_message m = {.request = SET_DEVICE_STATE_FD,
				       .payload = payload,
				       .size = sizeof(payload),
				       .nr_fds = 1,
				       .reply = &reply,
				       .reply_max = sizeof(reply)};
	int ret;

	if (pipe2(fds, O_CLOEXEC))
		return fail_errno(err, errno, "cannot make a pipe");
	fcntl(fds[ours], F_SETFL, O_NONBLOCK);
	m.fds = &fds[!ours];
	ret = vhost_user_exchange(c, &m, err);
	close(fds[!ours]);
	if (!ret && (m.reply_len != sizeof(reply) || !(reply & (STATE_NO_FD | STATE_ERROR))))
		ret = vhost_user_break(c, err,
				       "the back end answered 0x%llx for its state's descriptor",
				       (unsigned long long)reply);
	else if (!ret && reply & STATE_ERROR)
		ret = fail(err, "the back end refused to move its state (error %llu)",
			   (unsigned long long)(reply & STATE_ERROR));
	if (ret)
		close(fds[ours]);
	*fd = fds[ours];
	return ret ? -1 : 0;
}

/* Did the back end get through with it? */
static int check_state(struct vhost_user *c, struct error *err)
{
	uint64_t result;

	if (ask(c, CHECK_DEVICE_STATE, &result, err))
		return -1;
	if (result)
		return fail(err, "the back end says that moving its state failed (error %llu)",
			    (unsigned long long)result);
	return 0;
}

/* Reading or writing gave @errnum: may it be tried again? */
static int moved(struct vhost_user *c, int fd, short events, int errnum, uint64_t deadline,
		 struct error *err)
{
	if (errnum == EINTR)
		return 0;
	if (errnum == EAGAIN)
		return wait_for_state(c, fd, events, deadline, err);
	return fail_errno(err, errnum, "cannot move the back end's state");
}

static int grow_state(struct vhost_user *c, uint8_t **state, size_t *max, struct error *err)
{
	size_t larger = *max ? 2 * *max : STATE_CHUNK;
	uint8_t *more;

	if (larger > VHOST_USER_STATE_MAX)
		return vhost_user_break(c, err, "the back end's state is larger than %llu MiB",
					(unsigned long long)(VHOST_USER_STATE_MAX / MIB));
	more = realloc(*state, larger);
	if (!more)
		return fail(err, "no memory for the back end's state");
	*state = more;
	*max = larger;
	return 0;
}

static int read_state(struct vhost_user *c, int fd, uint8_t **state, size_t *len, struct error *err)
{
	uint64_t deadline = state_deadline(c);
	size_t max = 0;

	for (;;) {
		ssize_t n;

		if (*len == max && grow_state(c, state, &max, err))
			return -1;
		n = read(fd, *state + *len, max - *len);
		if (!n)
			return 0;
		if (n > 0)
			*len += (size_t)n;
		else if (moved(c, fd, POLLIN, errno, deadline, err))
			return -1;
	}
}

int vhost_user_save_state(struct vhost_user *c, void **state, size_t *len, struct error *err)
{
	uint8_t *bytes = NULL;
	int fd = -1, ret;

	*state = NULL;
	*len = 0;
	if (open_state(c, STATE_SAVE, &fd, err))
		return -1;
	ret = read_state(c, fd, &bytes, len, err);
	close(fd);
	if (!ret)
		ret = check_state(c, err);
	if (ret) {
		free(bytes);
		*len = 0;
		return -1;
	}
	*state = bytes;
	return 0;
}

static int write_state(struct vhost_user *c, int fd, const uint8_t *state, size_t len,
		       struct error *err)
{
	uint64_t deadline = state_deadline(c);
	size_t done = 0;

	while (done < len) {
		ssize_t n = write(fd, state + done, len - done);

		if (n >= 0)
			done += (size_t)n;
		else if (moved(c, fd, POLLOUT, errno, deadline, err))
			return -1;
	}
	return 0;
}

int vhost_user_load_state(struct vhost_user *c, const void *state, size_t len, struct error *err)
{
	int fd = -1, ret;

	if (open_state(c, STATE_LOAD, &fd, err))
		return -1;
	ret = write_state(c, fd, state, len, err);
	close(fd);
	return ret ? ret : check_state(c, err);
}
