// SPDX-License-Identifier: GPL-2.0-only
/*
 * Descriptors of network back ends in the event loop (virtio/net_internal.h).
 *
 * Waiting is level triggered: who has read all there is need not ask once more to be
 * sure, and who can't take more says so, which costs a call of the loop's thread each
 * time, but only then.
 *
 * Thread and lock: want belongs to the device's lock, and loop to who has it or is the
 * loop's thread; all else to the loop's thread.
 * Nothing is saved.
 */
#include "net_internal.h"

#include <string.h>

static void apply(void *opaque)
{
	struct net_watch *w = opaque;
	uint32_t want;

	virtio_enter_device(w->vdev);
	want = w->want;
	virtio_leave(w->vdev);
	if (w->watched && want != w->now && !loop_modify_fd(w->loop, w->fd, want))
		w->now = want;
}

int net_watch_start(struct net_watch *w, struct loop *loop, struct virtio_device *vdev, int fd,
		    loop_fd_fn fn, void *opaque)
{
	uint32_t want;
	int ret;

	virtio_enter_device(vdev);
	/* Once: it may be posted while the descriptor is not watched. */
	if (!w->loop)
		loop_work_init(&w->work, apply, w);
	w->loop = loop;
	w->vdev = vdev;
	w->fd = fd;
	/* Looked at once: what is said from now on is posted, and apply() sees it. */
	want = w->want;
	virtio_leave(vdev);
	ret = loop_add_fd(loop, fd, want, fn, opaque);
	if (!ret) {
		w->watched = true;
		w->now = want;
	}
	return ret;
}

void net_watch_set(struct net_watch *w, uint32_t events, bool on)
{
	uint32_t want = on ? w->want | events : w->want & ~events;

	if (want == w->want)
		return;
	w->want = want;
	if (w->loop)
		loop_post(w->loop, &w->work);
}

void net_watch_stop(struct net_watch *w)
{
	if (!w->loop)
		return;
	loop_unpost(w->loop, &w->work);
	if (w->watched)
		loop_remove_fd(w->loop, w->fd);
	w->watched = false;
}
