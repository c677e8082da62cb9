// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz the vhost-user front end with what its peer says. The input is two programs that
 * run against each other: the even bytes drive the device as a transport and the loop do
 * (status, notifications, quiesce, save and load, writes to the configuration space), the
 * odd ones are the back end's: how each request is answered (well, or with a header and a
 * payload of the input's, cut off, twice, with descriptors, not at all) and what comes on
 * its channel. A back end that has no input left behaves.
 *
 * Besides what the sanitizers see: each life ends, and leaves no descriptor open.
 */
#include "lkvm/virtio/vhost_user.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RAM UINT64_C(0x80000000)
#define BANK (64 * KIB)
#define QUEUES 2
#define MAX_FDS 12

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t size, pos;
};

static uint8_t take(struct input *in)
{
	uint8_t v = in->pos < in->size ? in->data[in->pos] : 0;

	in->pos += 2;
	return v;
}

static bool left(const struct input *in)
{
	return in->pos < in->size;
}

static void need(bool ok)
{
	if (!ok)
		abort();
}

/* --- the peer ------------------------------------------------------------------- */

struct message {
	uint32_t request, flags, size;
	uint8_t payload[400];
};

struct peer {
	struct input in;
	int fd, channel;
};

static void put(int fd, const void *bytes, size_t len, unsigned int nr_fds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(MAX_FDS * sizeof(int))];
	} control;
	struct iovec iov = {(void *)(uintptr_t)bytes, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	unsigned int i;

	if (nr_fds) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(nr_fds * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nr_fds * sizeof(int));
		for (i = 0; i < nr_fds; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(int), &fd, sizeof(int));
	}
	(void)!sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* What a well-behaved back end would say. */
static bool good_answer(const struct message *q, struct message *m)
{
	uint64_t v = 0;

	m->request = q->request;
	m->flags = 1 | 4;
	m->size = sizeof(v);
	switch (q->request) {
	case 1:
		v = VIRTIO_BIT(32) | VIRTIO_BIT(30) | VIRTIO_BIT(29) | VIRTIO_BIT(28);
		break;
	case 15:
		v = UINT64_MAX;
		break;
	case 17:
		v = QUEUES;
		break;
	case 11:
	case 24:
		m->size = q->size;
		memcpy(m->payload, q->payload, sizeof(m->payload));
		return true;
	case 42:
		v = 0x100;
		break;
	default:
		if (!(q->flags & 8) && q->request != 43)
			return false;
		break;
	}
	memcpy(m->payload, &v, sizeof(v));
	return true;
}

/* Replace some of @m, in the way that the input says. */
static void spoil(struct peer *p, struct message *m, uint8_t how)
{
	unsigned int i, nr = how >> 4;

	if (how & 1)
		for (i = 0; i < nr; i++)
			m->payload[i] = take(&p->in);
	if (how & 2)
		m->size = take(&p->in);
	if (how & 4)
		((uint8_t *)m)[take(&p->in) % 12] ^= take(&p->in);
}

static void talk_on_channel(struct peer *p)
{
	struct message m = {2, 1, 0, {0}};
	uint8_t how = take(&p->in);

	if (p->channel < 0)
		return;
	if (how & 8)
		m.flags |= 8;
	spoil(p, &m, how);
	put(p->channel, &m, 12 + (m.size < sizeof(m.payload) ? m.size : 9), how & 0x80 ? 1 : 0);
}

static bool answer(struct peer *p, const struct message *q)
{
	struct message m = {0};
	uint8_t how;
	size_t len;

	/* Mostly good, so that lives are long. */
	how = take(&p->in);
	if (how < 0xa0)
		how = 0;
	if (how & 0x20)
		talk_on_channel(p);
	if (!good_answer(q, &m) && !(how & 0x40))
		return true;
	len = 12 + (size_t)m.size;
	if (how & 1) {
		spoil(p, &m, take(&p->in));
		len = 12 + (m.size < sizeof(m.payload) ? m.size : sizeof(m.payload));
	}
	if (how & 2)
		len = take(&p->in) % (len + 1);
	put(p->fd, &m, len, how & 4 ? 1 + how % MAX_FDS : 0);
	if ((how & 0x18) == 0x10)
		put(p->fd, &m, len, 0);
	return (how & 0x18) != 0x18;
}

/* Descriptors that came with @q: one becomes the channel, another takes or gives a state. */
static void take_fds(struct peer *p, const struct message *q, struct msghdr *msg)
{
	static const uint8_t state[512] = {1, 2, 3};
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	size_t i, nr = c ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;

	for (i = 0; i < nr; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
		if (q->request == 21 && p->channel < 0) {
			p->channel = fd;
			continue;
		}
		if (q->request == 42 && !q->payload[0])
			(void)!write(fd, state, 2 * (size_t)take(&p->in));
		close(fd);
	}
}

static void *peer_main(void *opaque)
{
	struct peer *p = opaque;
	struct message q = {0};

	for (;;) {
		union {
			struct cmsghdr align;
			char bytes[CMSG_SPACE(8 * sizeof(int))];
		} control;
		struct iovec iov = {&q, 12};
		struct msghdr msg = {.msg_iov = &iov,
				     .msg_iovlen = 1,
				     .msg_control = control.bytes,
				     .msg_controllen = sizeof(control)};

		if (recvmsg(p->fd, &msg, MSG_WAITALL) != 12)
			break;
		need(q.size <= sizeof(q.payload) && (q.flags & 7) == 1);
		if (q.size && recv(p->fd, q.payload, q.size, MSG_WAITALL) != (ssize_t)q.size)
			q.size = 0;
		take_fds(p, &q, &msg);
		if (!answer(p, &q))
			break;
	}
	shutdown(p->fd, SHUT_RDWR);
	return NULL;
}

/* --- the device --------------------------------------------------------------------- */

static void save_and_load(struct virtio_device *vdev, struct input *in)
{
	struct xfer x, y;
	uint8_t how = take(in);

	xfer_save_init(&x);
	virtio_enter(vdev);
	virtio_device_transfer(vdev, &x);
	if (!xfer_done(&x, NULL)) {
		if (how & 1 && x.len)
			x.buf[(how * 7U) % x.len] ^= take(in);
		xfer_load_init(&y, x.buf, how & 2 ? x.len * how / 256 : x.len);
		virtio_device_transfer(vdev, &y);
	}
	virtio_leave(vdev);
	xfer_free(&x);
}

static void set_up(struct virtio_device *vdev)
{
	unsigned int i;

	virtio_set_status(vdev, 0);
	virtio_set_status(vdev, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
	virtio_set_features(vdev, 0, virtio_features(vdev, 0));
	virtio_set_features(vdev, 1, virtio_features(vdev, 1));
	virtio_set_status(vdev, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER |
					VIRTIO_STATUS_FEATURES_OK);
	for (i = 0; i < QUEUES; i++) {
		struct virtq_layout *l = virtio_queue_setup(vdev, i);

		if (!l)
			continue;
		*l = (struct virtq_layout){8, RAM + i * BANK, RAM + i * BANK + 0x100,
					   RAM + i * BANK + 0x200};
		virtio_queue_enable(vdev, i, true);
	}
	virtio_set_status(vdev, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER |
					VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
}

static void drive(struct virtio_device *vdev, struct loop *loop, struct input *in)
{
	while (left(in)) {
		uint8_t op = take(in);

		if (op % 8 == 6) {
			loop_run_once(loop, 0);
			continue;
		}
		if (op % 8 == 4) {
			virtio_device_quiesce(vdev);
			if (op & 0x10)
				save_and_load(vdev, in);
			virtio_device_resume(vdev);
			continue;
		}
		virtio_enter(vdev);
		switch (op % 8) {
		case 0:
		case 1:
			set_up(vdev);
			break;
		case 2:
			virtio_queue_notify(vdev, op >> 7);
			break;
		case 3:
			virtio_config_write(vdev, take(in) % 70, take(in), 1U << (op >> 6));
			break;
		case 5:
			virtio_queue_enable(vdev, op >> 7, false);
			break;
		default:
			virtio_set_status(vdev, 0);
			break;
		}
		virtio_leave(vdev);
	}
}

static const struct vhost_user_type type = {
	.name = "fuzz",
	.id = 26,
	.queues = QUEUES,
	.queue_max = 16,
	.config_size = 60,
	.writable_at = 8,
	.writable_len = 8,
};

/* Made once: memory and the loop have targets of their own. */
struct fixture {
	struct guest_memory mem;
	struct loop *loop;
	struct virtio_world world;
};

static void make_fixture(struct fixture *f)
{
	signal(SIGPIPE, SIG_IGN);
	memory_init(&f->mem);
	memory_share(&f->mem);
	need(memory_add(&f->mem, RAM, BANK, 4096, NULL) &&
	     memory_add(&f->mem, RAM + BANK, BANK, 4096, NULL));
	f->loop = loop_create(NULL);
	need(f->loop != NULL);
	f->world = (struct virtio_world){
		.name = "fuzz0", .mem = &f->mem, .loop = f->loop, .nr_vcpus = 1, .vm_name = "fuzz"};
}

static void free_fixture(struct fixture *f)
{
	loop_destroy(f->loop);
	memory_destroy(&f->mem);
}

/* The lowest number that is free. */
static int next_fd(void)
{
	int fd = dup(STDERR_FILENO);

	close(fd);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size, 0};
	struct peer peer = {.in = {data, size, 1}, .channel = -1};
	struct vhost_user_setup setup = {.type = &type, .timeout_ms = 10};
	struct vhost_user_device *dev;
	struct fixture f;
	pthread_t thread;
	int fds[2], before = next_fd();

	make_fixture(&f);
	need(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
	setup.fd = fds[0];
	peer.fd = fds[1];
	need(!pthread_create(&thread, NULL, peer_main, &peer));
	dev = vhost_user_device_create(&f.world, &setup, NULL);
	if (dev) {
		struct virtio_device *vdev = vhost_user_device(dev);

		drive(vdev, f.loop, &in);
		vdev->ops->destroy(vdev);
	}
	shutdown(fds[1], SHUT_RDWR);
	pthread_join(thread, NULL);
	close(fds[1]);
	if (peer.channel >= 0)
		close(peer.channel);
	free_fixture(&f);
	need(next_fd() == before);
	return 0;
}
