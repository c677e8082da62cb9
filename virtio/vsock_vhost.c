// SPDX-License-Identifier: GPL-2.0-only
/*
 * The socket device whose packets the host's kernel carries: /dev/vhost-vsock. Virtio
 * 1.2, section 5.10; Linux drivers/vhost/vsock.c. Programs on the host use AF_VSOCK
 * with the guest's CID, which is one namespace for the whole host: a CID belongs to one
 * VM, which claims it when it starts.
 *
 * The kernel has the receive and the transmit queue while the device runs; the event
 * queue stays here, for the one event there is (virtio/vsock.c).
 *
 * Reset. The kernel's connections would outlive the guest's: a program on the host that
 * only reads would never learn that the guest was restarted. They end with the
 * descriptor, so a device that ran gets a new one for the same file by a reset. Where
 * that can't be had the old one is kept, and connections end as soon as the host sends.
 *
 * Thread and lock: the virtio device's mutex. What is saved: as the user-space form
 * does, so that a state fits both.
 */
#include "vsock_internal.h"

#include <errno.h>
#include <linux/vhost.h>
#include <stdlib.h>

/**
 * struct vsock_vhost - the device
 * @ran: the kernel may have connections of before the next reset
 */
struct vsock_vhost {
	struct virtio_device vdev;
	struct vhost vhost;
	struct loop *loop;
	uint64_t cid;
	struct vsock_state state;
	struct vsock_ready *ready;
	bool ran;
};

static struct vsock_vhost *from_vdev(struct virtio_device *vdev)
{
	return container_of(vdev, struct vsock_vhost, vdev);
}

static void on_config_get(struct virtio_device *vdev, uint8_t *config)
{
	vsock_config(from_vdev(vdev)->cid, config);
}

static int claim_cid(struct vsock_vhost *v)
{
	return vhost_ioctl(&v->vhost, VHOST_VSOCK_SET_GUEST_CID, &v->cid);
}

static int on_start(struct virtio_device *vdev, struct error *err)
{
	struct vsock_vhost *v = from_vdev(vdev);
	int ret;

	if (vhost_attach(&v->vhost, vdev, VSOCK_RX, v->loop, err))
		return -1;
	ret = claim_cid(v);
	if (ret == -EADDRINUSE)
		return fail(err,
			    "CID %llu belongs to another VM of this host: choose another, or give "
			    "vhost=off",
			    (unsigned long long)v->cid);
	if (ret < 0)
		return fail_errno(err, -ret, "%s refused CID %llu", VHOST_VSOCK_PATH,
				  (unsigned long long)v->cid);
	log_info(vdev->log, "%s: by the kernel (%s), CID %llu", vdev->name, VHOST_VSOCK_PATH,
		 (unsigned long long)v->cid);
	return vsock_ready_start(v->ready, NULL, err);
}

static int set_running(struct vsock_vhost *v, int on)
{
	return vhost_ioctl(&v->vhost, VHOST_VSOCK_SET_RUNNING, &on);
}

static void on_go(struct virtio_device *vdev)
{
	struct vsock_vhost *v = from_vdev(vdev);
	int ret;

	if (vhost_start(&v->vhost))
		return;
	ret = set_running(v, 1);
	if (ret < 0) {
		vhost_failed(&v->vhost, "VHOST_VSOCK_SET_RUNNING", -ret);
		return;
	}
	v->ran = true;
	/* What the driver put there before is looked at too. */
	vhost_kick(&v->vhost, VSOCK_RX);
	vhost_kick(&v->vhost, VSOCK_TX);
}

static void on_halt(struct virtio_device *vdev)
{
	struct vsock_vhost *v = from_vdev(vdev);
	int ret;

	if (!vhost_running(&v->vhost))
		return;
	ret = set_running(v, 0);
	if (ret < 0) {
		/* A kernel that does not obey is left by closing the descriptor. */
		vhost_reopen(&v->vhost);
		vhost_failed(&v->vhost, "VHOST_VSOCK_SET_RUNNING", -ret);
		return;
	}
	vhost_stop(&v->vhost);
}

static void on_notify(struct virtio_device *vdev, unsigned int index)
{
	struct vsock_vhost *v = from_vdev(vdev);

	if (index == VSOCK_EVENT)
		vsock_event(vdev, &v->state);
	else
		vhost_kick(&v->vhost, index);
}

static void on_reset(struct virtio_device *vdev)
{
	struct vsock_vhost *v = from_vdev(vdev);
	int ret;

	v->state.reset_due = false;
	if (!v->ran)
		return;
	ret = vhost_reopen(&v->vhost);
	if (!ret)
		ret = claim_cid(v);
	/* Where that failed, the next reset tries again. */
	v->ran = ret < 0;
	if (ret < 0)
		virtio_complain(vdev, "%s: connections were not ended by the reset (error %d)",
				VHOST_VSOCK_PATH, -ret);
}

static void on_destroy(struct virtio_device *vdev)
{
	struct vsock_vhost *v = from_vdev(vdev);

	virtio_device_fini(vdev);
	vsock_ready_free(v->ready);
	vhost_close(&v->vhost);
	free(v);
}

static const struct virtio_device_ops vsock_vhost_ops = {
	.kind = "vsock",
	.id = VSOCK_ID,
	.config_size = VSOCK_CONFIG_SIZE,
	.state_size = sizeof(struct vsock_state),
	.config_get = on_config_get,
	.start = on_start,
	.go = on_go,
	.halt = on_halt,
	.notify = on_notify,
	.reset = on_reset,
	.transfer = vsock_transfer,
	.destroy = on_destroy,
};

struct virtio_device *vsock_vhost_build(const struct virtio_world *world, uint64_t cid,
					const struct vhost *vhost, struct vsock_ready *ready,
					struct error *err)
{
	const uint64_t own = VIRTIO_BIT(VSOCK_F_SEQPACKET);
	struct vsock_vhost *v = calloc(1, sizeof(*v));

	if (!v ||
	    virtio_device_init(&v->vdev, &vsock_vhost_ops, world->name, world->mem, world->log, own,
			       VSOCK_QUEUES, VSOCK_QUEUE_MAX, 0, &v->state)) {
		fail(err, "no memory for a socket device");
		free(v);
		return NULL;
	}
	v->vhost = *vhost;
	v->loop = world->loop;
	v->cid = cid;
	v->ready = ready;
	v->state.next_port = VSOCK_FIRST_PORT;
	v->vdev.offered = vhost_offer(vhost, v->vdev.offered, own);
	return &v->vdev;
}
