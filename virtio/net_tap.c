// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tap devices as a back end: Linux, Documentation/networking/tuntap.rst, <linux/if_tun.h>.
 *
 * A frame is one read(2) or write(2). With IFF_VNET_HDR the virtio header goes with it,
 * so checksums and segmentation are left to whoever needs them: the kernel fills in and
 * cuts what a guest sends, and hands to the guest what it said it takes in
 * (TUNSETOFFLOAD). The kernel checks the header; what makes no sense there is refused
 * and dropped. When nobody reads, the interface's own queue fills up and drops.
 *
 * An interface that exists, made for our user ("ip tuntap add NAME mode tap user NAME"),
 * is opened without any privilege and left as it is. One that does not exist is made,
 * which takes CAP_NET_ADMIN, taken up, and vanishes when it is closed.
 *
 * Queues. Each pair has a descriptor of its own (IFF_MULTI_QUEUE). Those of pairs that
 * are not in use are detached, or the kernel would steer frames to them. A detached
 * descriptor reports EPOLLERR for ever, so it leaves the loop first: detaching is the
 * loop's thread's, attaching is done at once.
 *
 * The link. When the cable is pulled the interface loses its carrier (TUNSETCARRIER),
 * which bridges and daemons on the host notice. An interface that is deleted on the
 * host takes the device's carrier away, as soon as frames are waited for.
 *
 * Thread and lock: the device's lock for queues and buffers, the loop's thread for
 * watching and detaching. What is saved: nothing.
 */
#include "net_tap_internal.h"

#include "lkvm/helper.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define SCRIPT_MS 30000

/* --- frames ------------------------------------------------------------------------ */

static struct tap_queue *queue_of(void *opaque, unsigned int pair)
{
	return &((struct net_tap *)opaque)->queues[pair];
}

/* Send the frame that waits. */
static void push(struct tap_queue *q)
{
	if (!q->waits || (write(q->fd, q->out, q->waits) < 0 && errno == EAGAIN))
		return;
	q->waits = 0;
	net_watch_set(&q->watch, EPOLLOUT, false);
}

static bool tap_room(void *opaque, unsigned int pair)
{
	struct tap_queue *q = queue_of(opaque, pair);

	push(q);
	q->blocked = q->waits;
	return !q->waits;
}

static void keep(struct tap_queue *q, const struct iovec *iov, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		memcpy(q->out + q->waits, iov[i].iov_base, iov[i].iov_len);
		q->waits += iov[i].iov_len;
	}
	net_watch_set(&q->watch, EPOLLOUT, true);
}

static int tap_send(void *opaque, unsigned int pair, const struct iovec *iov, unsigned int nr,
		    size_t len)
{
	struct tap_queue *q = queue_of(opaque, pair);

	(void)len;
	if (writev(q->fd, iov, (int)nr) >= 0)
		return 0;
	if (errno != EAGAIN)
		return -errno;
	keep(q, iov, nr);
	return 0;
}

static long tap_recv(void *opaque, unsigned int pair, const uint8_t **frame)
{
	struct tap_queue *q = queue_of(opaque, pair);
	ssize_t n = read(q->fd, q->in, sizeof(q->in));

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	*frame = q->in;
	return n;
}

static void tap_poll(void *opaque, unsigned int pair, bool on)
{
	net_watch_set(&queue_of(opaque, pair)->watch, EPOLLIN, on);
}

/* --- the loop's side ------------------------------------------------------------------ */

static void tap_gone(struct net_tap *tap)
{
	char why[IFNAMSIZ + 64];
	unsigned int i;

	if (tap->gone)
		return;
	tap->gone = true;
	for (i = 0; i < tap->nr; i++)
		net_watch_stop(&tap->queues[i].watch);
	snprintf(why, sizeof(why), "the interface %s is gone", tap->name);
	virtio_net_carrier(tap->net, false, why);
}

static void tap_ready(void *opaque, uint32_t events)
{
	struct tap_queue *q = opaque;
	struct virtio_net *net = q->tap->net;
	bool room;

	if (events & (EPOLLERR | EPOLLHUP)) {
		tap_gone(q->tap);
		return;
	}
	if (events & EPOLLOUT) {
		virtio_enter_device(virtio_net_device(net));
		push(q);
		room = q->blocked && !q->waits;
		virtio_leave(virtio_net_device(net));
		if (room)
			virtio_net_writable(net, q->pair);
	}
	if (events & EPOLLIN)
		virtio_net_readable(net, q->pair);
}

static int set_queue(struct tap_queue *q, bool on)
{
	struct ifreq ifr = {.ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE};

	return ioctl(q->fd, TUNSETQUEUE, &ifr) ? -errno : 0;
}

/* Watch those that are in use; let go of the others. */
static int sync_queue(struct tap_queue *q)
{
	struct net_tap *tap = q->tap;
	struct virtio_device *vdev = virtio_net_device(tap->net);
	bool wanted;

	virtio_enter_device(vdev);
	wanted = q->pair < tap->in_use;
	if (wanted && !q->attached)
		virtio_complain(vdev, "the kernel does not attach queue %u of %s: no frames there",
				q->pair, tap->name);
	virtio_leave(vdev);
	if (wanted && !q->watch.watched)
		return net_watch_start(&q->watch, tap->loop, vdev, q->fd, tap_ready, q);
	if (wanted)
		return 0;
	net_watch_stop(&q->watch);
	virtio_enter_device(vdev);
	/* It may be wanted again by now. */
	if (q->attached && q->pair >= tap->in_use)
		q->attached = set_queue(q, false) != 0;
	wanted = q->pair < tap->in_use;
	virtio_leave(vdev);
	return wanted ? net_watch_start(&q->watch, tap->loop, vdev, q->fd, tap_ready, q) : 0;
}

static void sync_queues(void *opaque)
{
	struct net_tap *tap = opaque;
	unsigned int i;

	for (i = 0; i < tap->nr && !tap->gone; i++)
		if (sync_queue(&tap->queues[i]))
			log_warning(tap->log, "%s: pair %u of %s can't be watched: no frames there",
				    virtio_net_device(tap->net)->name, i, tap->name);
}

static void tap_pairs(void *opaque, unsigned int n)
{
	struct net_tap *tap = opaque;
	unsigned int i;

	if (tap->nr == 1 || n == tap->in_use)
		return;
	tap->in_use = n;
	for (i = 0; i < n; i++) {
		struct tap_queue *q = &tap->queues[i];

		if (!q->attached)
			q->attached = !set_queue(q, true);
	}
	loop_post(tap->loop, &tap->sync_work);
}

/* --- settings --------------------------------------------------------------------------- */

static void tap_offloads(void *opaque, uint64_t bits)
{
	const struct net_tap *tap = opaque;

	/* Only what was tried when it was opened is ever asked for. */
	if (tap->header)
		net_tap_set_offloads(tap, bits);
}

static void tap_link(void *opaque, bool up)
{
	const struct net_tap *tap = opaque;
	int on = up;

	/* Linux 4.20; macvtap has no carrier of its own. */
	ioctl(tap->queues[0].fd, TUNSETCARRIER, &on);
}

static int tap_fd(void *opaque, unsigned int pair)
{
	return queue_of(opaque, pair)->fd;
}

/* --- scripts ------------------------------------------------------------------------------ */

static int run_script(struct net_tap *tap, char *script, struct error *err)
{
	char *argv[] = {script, tap->name, NULL};
	struct helper_request req = {.what = script, .argv = argv};

	return helper_run(tap->loop, tap->log, &req, SCRIPT_MS, err);
}

/* --- life cycle ---------------------------------------------------------------------------- */

static void tap_attach(void *opaque, struct virtio_net *net)
{
	((struct net_tap *)opaque)->net = net;
}

static int tap_start(void *opaque, struct error *err)
{
	struct net_tap *tap = opaque;
	unsigned int i;
	int ret;

	if (tap->script) {
		if (run_script(tap, tap->script, err))
			return -1;
		tap->ran_script = true;
	}
	for (i = 0; i < tap->nr; i++) {
		ret = sync_queue(&tap->queues[i]);
		if (ret)
			return fail_errno(err, -ret, "cannot watch %s", tap->name);
	}
	return 0;
}

static void tap_close(void *opaque)
{
	struct net_tap *tap = opaque;
	struct error err;
	unsigned int i;

	loop_unpost(tap->loop, &tap->sync_work);
	for (i = 0; i < tap->nr; i++)
		net_watch_stop(&tap->queues[i].watch);
	if (tap->downscript && (tap->ran_script || !tap->script) &&
	    run_script(tap, tap->downscript, &err))
		log_warning(tap->log, "%s: %s", tap->name, err.msg);
	for (i = 0; i < tap->nr; i++)
		close(tap->queues[i].fd);
	net_tap_free(tap);
}

const struct net_backend_ops net_tap_ops = {
	.attach = tap_attach,
	.start = tap_start,
	.room = tap_room,
	.send = tap_send,
	.recv = tap_recv,
	.poll = tap_poll,
	.offloads = tap_offloads,
	.pairs = tap_pairs,
	.link = tap_link,
	.tap = tap_fd,
	.close = tap_close,
};

void net_tap_free(struct net_tap *tap)
{
	free(tap->script);
	free(tap->downscript);
	free(tap->queues);
	free(tap);
}

struct net_tap *net_tap_new(unsigned int nr, struct loop *loop, struct log *log)
{
	struct net_tap *tap = calloc(1, sizeof(*tap));
	unsigned int i;

	if (!tap)
		return NULL;
	tap->queues = aligned_alloc(_Alignof(struct tap_queue), nr * sizeof(*tap->queues));
	if (!tap->queues) {
		free(tap);
		return NULL;
	}
	memset(tap->queues, 0, nr * sizeof(*tap->queues));
	tap->loop = loop;
	tap->log = log;
	tap->nr = nr;
	/* The first is there before anybody asks; see tap_pairs(). */
	tap->in_use = 1;
	loop_work_init(&tap->sync_work, sync_queues, tap);
	for (i = 0; i < nr; i++) {
		tap->queues[i].tap = tap;
		tap->queues[i].pair = i;
		tap->queues[i].fd = -1;
		tap->queues[i].attached = true;
	}
	return tap;
}
