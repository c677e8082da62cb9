/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's vhost: queues of a virtio device that the kernel serves itself
 * (/dev/vhost-net, /dev/vhost-vsock).
 *
 * One struct vhost is one open descriptor: two queues that lie next to each other in
 * their device (receive, transmit). A network device with several pairs has one for
 * each. How a device uses it:
 *
 *   build     vhost_open(), then vdev->offered = vhost_offer(...)
 *   start     vhost_attach(): from here the kernel knows this process
 *   go        vhost_start(): both queues are handed over; then the back end's own step
 *             (vhost_net_start() does both)
 *   notify    vhost_kick()
 *   halt      the back end's own step; vhost_stop() (vhost_net_stop() does both)
 *   destroy   vhost_close(), after virtio_device_fini()
 *
 * The rings are checked and frozen by the core before the kernel hears of them, and
 * nothing of a ring is told to the kernel while it runs.
 *
 * Source: Linux <linux/vhost.h>, drivers/vhost.
 */
#ifndef LKVM_VIRTIO_VHOST_H
#define LKVM_VIRTIO_VHOST_H

#include "lkvm/loop.h"
#include "lkvm/virtio/device.h"

/* Queues of one descriptor. */
#define VHOST_QUEUES 2

/**
 * struct vhost_sys_ops - the system calls beneath; errors are returned as -errno
 * @open: open @path for reading and writing, close-on-exec
 * @ioctl: as ioctl(2)
 *
 * The seam at which tests put a scripted kernel.
 */
struct vhost_sys_ops {
	int (*open)(void *opaque, const char *path);
	int (*ioctl)(void *opaque, int fd, unsigned long request, void *arg);
	void (*close)(void *opaque, int fd);
};

struct vhost_sys {
	const struct vhost_sys_ops *ops;
	void *opaque;
};

/* The real ones. */
extern const struct vhost_sys_ops vhost_sys_linux;

struct vhost;

/**
 * struct vhost_ring - one queue; private
 * @kick: written to tell the kernel; @call: by the kernel, to interrupt the driver;
 *        @err: by the kernel, where the driver broke a rule of the ring
 */
struct vhost_ring {
	struct vhost *vhost;
	unsigned int index; /* in the device */
	uint16_t next;	    /* where the kernel started */
	bool away;
	int kick, call, err;
};

/**
 * struct vhost - one open vhost descriptor, embedded in its device; private but for:
 * @fd: -1 where it is not open
 * @features: what the kernel offers
 */
struct vhost {
	int fd;
	uint64_t features;
	/* private */
	struct vhost_sys sys;
	const char *path;
	struct virtio_device *vdev;
	struct loop *loop;
	struct vhost_ring rings[VHOST_QUEUES];
};

/**
 * vhost_open() - open @path ("/dev/vhost-net"), which must stay, and ask what it can do
 *
 * Nothing is changed in the world by it.
 *
 * Return: 0, or -errno with @err set: missing and forbidden are told apart, each with
 * what to do. @v is then closed.
 */
int vhost_open(struct vhost *v, struct vhost_sys sys, const char *path, struct error *err);

/**
 * vhost_offer() - @offered without what the kernel would have to do and can't
 * @own: the feature bits of this kind of device that are the kernel's business
 *       (VIRTIO_NET_F_MRG_RXBUF, VIRTIO_VSOCK_F_SEQPACKET)
 */
uint64_t vhost_offer(const struct vhost *v, uint64_t offered, uint64_t own);

/**
 * vhost_attach() - make this process the owner; watch what the kernel signals
 * @first: @vdev's queue that is ring 0; the next one is ring 1
 *
 * Loop's thread, or before the loop runs.
 *
 * Return: 0, or -1 with @err set.
 */
int vhost_attach(struct vhost *v, struct virtio_device *vdev, unsigned int first, struct loop *loop,
		 struct error *err);

/**
 * vhost_ioctl() - a back end's own request
 *
 * Return: what ioctl(2) does, or -errno.
 */
int vhost_ioctl(const struct vhost *v, unsigned long request, void *arg);

/**
 * vhost_start() - hand both queues over (inside, from go)
 *
 * The features that the driver accepted, memory and rings are told to the kernel; it
 * does not run before the back end's own step.
 *
 * Return: 0; 1 where the driver left one of the queues out, or broke it, and nothing
 * was handed over; or -errno, which was logged: the queues are broken then and the
 * device needs a reset.
 */
int vhost_start(struct vhost *v);

/**
 * vhost_stop() - take the queues back (inside, from halt); the back end stopped before
 *
 * Does nothing where they are not away.
 */
void vhost_stop(struct vhost *v);

/**
 * vhost_failed() - the back end's own step went wrong after vhost_start() (inside)
 * @what: the step; @errnum: positive
 *
 * Takes the queues back and breaks them, and says why. Return: -@errnum.
 */
int vhost_failed(struct vhost *v, const char *what, int errnum);

/**
 * vhost_kick() - the driver notified the device's queue @index (inside)
 */
void vhost_kick(struct vhost *v, unsigned int index);

/**
 * vhost_running() - are the queues with the kernel? (inside)
 */
bool vhost_running(const struct vhost *v);

/**
 * vhost_set_memory() - tell the kernel where guest memory lies now (inside)
 *
 * vhost_start() does it; needed again only where regions come while it runs.
 *
 * Return: 0 or -errno.
 */
int vhost_set_memory(const struct vhost *v);

/**
 * vhost_reopen() - a new descriptor for the same file, in place of the old one (inside)
 *
 * The kernel forgets all that it knew of the old one. The queues are not away. Where it
 * can't be opened (no /proc) the old one stays.
 *
 * Return: 0 or -errno.
 */
int vhost_reopen(struct vhost *v);

/**
 * vhost_close() - stop watching and close (loop's thread, or after the loop)
 *
 * A struct vhost that was never opened must have @fd -1.
 */
void vhost_close(struct vhost *v);

/* --- network ------------------------------------------------------------------------ */

#define VHOST_NET_PATH "/dev/vhost-net"

/**
 * vhost_net_start() - vhost_start(), and frames flow between the queues and @tap_fd
 * @tap_fd: one queue of a tap device with IFF_VNET_HDR and a header of 12 bytes
 *          (TUNSETVNETHDRSZ), and offloads set as the driver accepted them. Nobody
 *          else may read or write it until vhost_net_stop().
 *
 * Ring 0 receives, ring 1 transmits. Return: as vhost_start().
 */
int vhost_net_start(struct vhost *v, int tap_fd);

/**
 * vhost_net_stop() - the kernel lets go of the tap; vhost_stop()
 */
void vhost_net_stop(struct vhost *v);

#endif /* LKVM_VIRTIO_VHOST_H */
