// SPDX-License-Identifier: GPL-2.0-only
/*
 * The cable of a network device that a vhost-user back end serves: virtio 1.2, 5.1.4 (the
 * status word of the configuration space, which is lkvm's own) and "lkvm link".
 *
 * While the cable is out the rings are stopped: the back end drops what comes for the
 * guest, and what the guest sends stays in its ring, where its driver, told by STATUS that
 * the link is down, leaves off soon. A driver without STATUS just finds that nothing goes
 * through.
 *
 * Announcing. After a load the guest may be somewhere else. A device of this kind has no
 * control queue, so its driver can't be asked to announce itself; the protocol has a
 * request for that (RARP), where the back end does: it sends the frame in the guest's
 * place. One that can't is told once in a line.
 *
 * Thread and lock: as vhost_user_device.c. What is saved: the status word.
 */
#include "vhost_user_internal.h"

#include <stdio.h>
#include <string.h>

#define LINK_UP 1

static bool has_link(const struct vhost_user_device *dev)
{
	return dev->type.link_at && dev->ops.config_size >= dev->type.link_at + 2;
}

bool vhost_user_link_is_down(const struct vhost_user_device *dev)
{
	return has_link(dev) && !(dev->state.config[dev->type.link_at] & LINK_UP);
}

bool vhost_user_is_link(const struct vhost_user_device *dev, uint32_t offset)
{
	return has_link(dev) && offset - dev->type.link_at < 2;
}

void vhost_user_check_link(const struct vhost_user_device *dev, struct xfer *x,
			   const uint8_t *config)
{
	const uint8_t *word = config + dev->type.link_at;

	if (has_link(dev))
		xfer_check(x, word[0] <= LINK_UP && !word[1],
			   "vhost-user: a link's status that does not exist");
}

static void set_link(struct vhost_user_device *dev, bool up)
{
	struct virtio_device *vdev = &dev->vdev;

	virtio_enter_device(vdev);
	if (up == vhost_user_link_is_down(dev)) {
		dev->state.config[dev->type.link_at] = up ? LINK_UP : 0;
		if (vdev->going && up)
			vdev->ops->go(vdev);
		else if (vdev->going)
			vdev->ops->halt(vdev);
		virtio_config_changed(vdev);
	}
	virtio_leave(vdev);
}

int vhost_user_link_command(struct virtio_device *vdev, const char *words, char *reply, size_t len,
			    struct error *err)
{
	struct vhost_user_device *dev = vhost_user_device_of(vdev);

	if (!has_link(dev))
		return fail(err,
			    "%s has no link that lkvm could take down: as -n "
			    "vhost-user,socket=PATH it has",
			    vdev->name);
	if (!strcmp(words, "link up"))
		set_link(dev, true);
	else if (!strcmp(words, "link down"))
		set_link(dev, false);
	else if (strcmp(words, "link") != 0)
		return fail(err, "%s knows the commands link, link up, link down", vdev->name);
	virtio_enter_device(vdev);
	snprintf(reply, len, "%s",
		 vhost_user_link_is_down(dev) ? "down"
		 : dev->dead		      ? "down: its back end is lost"
					      : "up");
	virtio_leave(vdev);
	return 0;
}

void vhost_user_announce(struct vhost_user_device *dev)
{
	struct error err;

	if (!dev->announce || dev->dead)
		return;
	dev->announce = false;
	if (!vhost_user_has(&dev->conn, VHOST_USER_PROTOCOL_RARP))
		log_warning(dev->vdev.log,
			    "%s: its back end can't announce the guest to the network (no RARP): "
			    "others learn where it is when it sends something",
			    dev->vdev.name);
	else if (vhost_user_send_rarp(&dev->conn, dev->state.config, &err))
		vhost_user_device_failed(dev, &err);
}
