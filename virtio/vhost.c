// SPDX-License-Identifier: GPL-2.0-only
/*
 * Queues that the kernel serves: the common half of /dev/vhost-net and
 * /dev/vhost-vsock (include/lkvm/virtio/vhost.h says how a device uses it).
 *
 * What the kernel is told when a device starts: the features that the driver
 * accepted, where guest memory lies in this process, and for each ring its size,
 * place and start index. Those come from the core, which checked and froze them
 * (virtio 1.2, section 2.7), so a guest that writes its queue registers while the
 * kernel serves them changes nothing: whatever could matter stops the device first.
 *
 * Three eventfds a ring. "kick" is written by the device's notify operation. "call"
 * is written by the kernel when it wants the driver interrupted (it looks at the
 * ring's suppression itself) and becomes virtio_signal(). "err" is written when the
 * kernel gives up on a ring because of what the driver put there; the queue is
 * broken then as if the core had seen it. They are made once and watched by the loop
 * all the time: starting and stopping happens on vCPU threads, which may not touch
 * the loop's descriptors. While a ring runs the transport may connect kick and call to KVM,
 * which then takes what is written to call before the loop sees it (virtio_served()).
 *
 * Stopping. The back end's own step comes first; after it the kernel's worker takes
 * nothing more from a ring, and all that it took has been given back. A call that the
 * loop did not fetch yet is delivered then, not lost.
 *
 * Thread and lock: the device's mutex for all that is said to be inside; the loop's
 * thread for the callbacks, vhost_attach() and vhost_close(). Nothing is saved: the
 * indexes are the core's as soon as the queues are back. Pages that the kernel writes
 * are not logged as dirty.
 */
#include "lkvm/virtio/vhost.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Feature bits 24 to 41 are about queues (virtio 1.3, section 6): the kernel's business. */
#define QUEUE_FEATURES (VIRTIO_BIT(42) - VIRTIO_BIT(24))

static int sys_open(void *opaque, const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	(void)opaque;
	return fd < 0 ? -errno : fd;
}

static int sys_ioctl(void *opaque, int fd, unsigned long request, void *arg)
{
	int ret = ioctl(fd, request, arg);

	(void)opaque;
	return ret < 0 ? -errno : ret;
}

static void sys_close(void *opaque, int fd)
{
	(void)opaque;
	close(fd);
}

const struct vhost_sys_ops vhost_sys_linux = {
	.open = sys_open,
	.ioctl = sys_ioctl,
	.close = sys_close,
};

int vhost_ioctl(const struct vhost *v, unsigned long request, void *arg)
{
	return v->sys.ops->ioctl(v->sys.opaque, v->fd, request, arg);
}

/* --- opening ------------------------------------------------------------------ */

/* The module's name: that of the device, with another dash. */
static void module_name(const char *path, char *name, size_t size)
{
	const char *base = strrchr(path, '/');
	size_t i;

	base = base ? base + 1 : path;
	for (i = 0; base[i] && i + 1 < size; i++)
		name[i] = base[i] == '-' ? '_' : base[i];
	name[i] = '\0';
}

static int refuse_open(const char *path, int errnum, struct error *err)
{
	char module[32];

	module_name(path, module, sizeof(module));
	switch (errnum) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		fail(err,
		     "%s is missing: this host's kernel module for it is not loaded (try modprobe "
		     "%s)",
		     path, module);
		break;
	case EACCES:
	case EPERM:
		fail(err,
		     "%s is forbidden to this user: join its group, usually by \"sudo usermod "
		     "-aG kvm $USER\" and a new login",
		     path);
		break;
	default:
		fail_errno(err, errnum, "cannot open %s", path);
		break;
	}
	return -errnum;
}

int vhost_open(struct vhost *v, struct vhost_sys sys, const char *path, struct error *err)
{
	unsigned int i;
	int ret;

	memset(v, 0, sizeof(*v));
	v->sys = sys;
	v->path = path;
	for (i = 0; i < VHOST_QUEUES; i++)
		v->rings[i] = (struct vhost_ring){.kick = -1, .call = -1, .err = -1};
	v->fd = sys.ops->open(sys.opaque, path);
	if (v->fd < 0) {
		ret = v->fd;
		v->fd = -1;
		return refuse_open(path, -ret, err);
	}
	ret = vhost_ioctl(v, VHOST_GET_FEATURES, &v->features);
	if (ret < 0) {
		fail_errno(err, -ret, "%s does not answer as vhost does", path);
	} else if (!(v->features & VIRTIO_BIT(VIRTIO_F_VERSION_1))) {
		ret = -EOPNOTSUPP;
		fail(err, "%s does not know virtio 1.0 (features 0x%llx)", path,
		     (unsigned long long)v->features);
	} else {
		return 0;
	}
	vhost_close(v);
	return ret;
}

uint64_t vhost_offer(const struct vhost *v, uint64_t offered, uint64_t own)
{
	return offered & (~(QUEUE_FEATURES | own) | v->features);
}

/* --- what the kernel signals ------------------------------------------------------ */

/* Was it written since the last time? */
static bool fetch(int fd)
{
	uint64_t count;

	return read(fd, &count, sizeof(count)) == (ssize_t)sizeof(count);
}

static void on_call(void *opaque, uint32_t events)
{
	struct vhost_ring *ring = opaque;
	struct virtio_device *vdev = ring->vhost->vdev;

	(void)events;
	virtio_enter_device(vdev);
	if (fetch(ring->call) && ring->away)
		virtio_signal(vdev, ring->index);
	virtio_leave(vdev);
}

static void on_err(void *opaque, uint32_t events)
{
	struct vhost_ring *ring = opaque;
	struct virtio_device *vdev = ring->vhost->vdev;

	(void)events;
	virtio_enter_device(vdev);
	if (fetch(ring->err) && ring->away)
		virtq_break(virtio_queue(vdev, ring->index), "the kernel's vhost refused it");
	virtio_leave(vdev);
}

static int watch(struct vhost *v, int *fd, loop_fd_fn fn, struct vhost_ring *ring)
{
	*fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (*fd < 0)
		return -errno;
	return fn ? loop_add_fd(v->loop, *fd, EPOLLIN, fn, ring) : 0;
}

int vhost_attach(struct vhost *v, struct virtio_device *vdev, unsigned int first, struct loop *loop,
		 struct error *err)
{
	unsigned int i;
	int ret = vhost_ioctl(v, VHOST_SET_OWNER, NULL);

	if (ret < 0)
		return fail_errno(err, -ret, "%s: the kernel refused to serve this process",
				  v->path);
	v->vdev = vdev;
	v->loop = loop;
	for (i = 0; i < VHOST_QUEUES; i++) {
		struct vhost_ring *ring = &v->rings[i];

		ring->vhost = v;
		ring->index = first + i;
		ret = watch(v, &ring->kick, NULL, ring);
		if (!ret)
			ret = watch(v, &ring->call, on_call, ring);
		if (!ret)
			ret = watch(v, &ring->err, on_err, ring);
		if (ret)
			return fail_errno(err, -ret, "%s: cannot make an event descriptor",
					  v->path);
	}
	return 0;
}

static void unwatch(struct vhost *v, int *fd)
{
	if (*fd < 0)
		return;
	loop_remove_fd(v->loop, *fd);
	close(*fd);
	*fd = -1;
}

void vhost_close(struct vhost *v)
{
	unsigned int i;

	if (v->fd < 0)
		return;
	for (i = 0; i < VHOST_QUEUES; i++) {
		unwatch(v, &v->rings[i].kick);
		unwatch(v, &v->rings[i].call);
		unwatch(v, &v->rings[i].err);
	}
	v->sys.ops->close(v->sys.opaque, v->fd);
	v->fd = -1;
}

int vhost_reopen(struct vhost *v)
{
	char path[32];
	int fd, ret;

	/* The file itself, whatever its path has become. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", v->fd);
	fd = v->sys.ops->open(v->sys.opaque, path);
	if (fd < 0)
		return fd;
	v->sys.ops->close(v->sys.opaque, v->fd);
	v->fd = fd;
	ret = vhost_ioctl(v, VHOST_SET_OWNER, NULL);
	return ret < 0 ? ret : 0;
}

/* --- starting and stopping ----------------------------------------------------------- */

int vhost_set_memory(const struct vhost *v)
{
	const struct guest_memory *mem = v->vdev->mem;
	struct vhost_memory *table;
	size_t i;
	int ret;

	table = calloc(1, sizeof(*table) + mem->nr * sizeof(table->regions[0]));
	if (!table)
		return -ENOMEM;
	table->nregions = (uint32_t)mem->nr;
	for (i = 0; i < mem->nr; i++) {
		table->regions[i].guest_phys_addr = mem->regions[i].gpa;
		table->regions[i].memory_size = mem->regions[i].size;
		table->regions[i].userspace_addr = (uintptr_t)mem->regions[i].hva;
	}
	ret = vhost_ioctl(v, VHOST_SET_MEM_TABLE, table);
	free(table);
	return ret;
}

/* One request about ring @i; NULL where it worked, else its name. */
static const char *tell_ring(const struct vhost *v, unsigned int i,
			     const struct virtq_layout *layout, int *ret)
{
	const struct vhost_ring *ring = &v->rings[i];
	const struct guest_memory *mem = v->vdev->mem;
	struct vhost_vring_state num = {i, layout->num}, base = {i, ring->next};
	struct vhost_vring_addr addr = {
		.index = i,
		/* Checked when the queue was enabled; the first byte stands for the whole. */
		.desc_user_addr = (uintptr_t)memory_for_read(mem, layout->desc, 1),
		.avail_user_addr = (uintptr_t)memory_for_read(mem, layout->avail, 1),
		.used_user_addr = (uintptr_t)memory_for_read(mem, layout->used, 1),
	};
	struct vhost_vring_file kick = {i, ring->kick}, call = {i, ring->call},
				err = {i, ring->err};
	const struct {
		unsigned long request;
		void *arg;
		const char *name;
	} steps[] = {
		{VHOST_SET_VRING_NUM, &num, "VHOST_SET_VRING_NUM"},
		{VHOST_SET_VRING_BASE, &base, "VHOST_SET_VRING_BASE"},
		{VHOST_SET_VRING_ADDR, &addr, "VHOST_SET_VRING_ADDR"},
		{VHOST_SET_VRING_KICK, &kick, "VHOST_SET_VRING_KICK"},
		{VHOST_SET_VRING_CALL, &call, "VHOST_SET_VRING_CALL"},
		{VHOST_SET_VRING_ERR, &err, "VHOST_SET_VRING_ERR"},
	};
	unsigned int step;

	for (step = 0; step < ARRAY_SIZE(steps); step++) {
		*ret = vhost_ioctl(v, steps[step].request, steps[step].arg);
		if (*ret < 0)
			return steps[step].name;
	}
	return NULL;
}

int vhost_failed(struct vhost *v, const char *what, int errnum)
{
	struct error text;
	unsigned int i;

	/* A guest that starts the device again and again makes it fail again and again. */
	fail_errno(&text, errnum, "%s: %s", v->path, what);
	if (v->vdev->log)
		log_ratelimited(v->vdev->log, &v->vdev->complaints, LOG_LEVEL_ERROR, "%s: %s",
				v->vdev->name, text.msg);
	for (i = 0; i < VHOST_QUEUES; i++)
		virtq_break(virtio_queue(v->vdev, v->rings[i].index),
			    "the kernel's vhost can't serve it");
	vhost_stop(v);
	return -errnum;
}

int vhost_start(struct vhost *v)
{
	uint64_t features = v->vdev->driver & v->features;
	struct virtq_layout layout;
	const char *what;
	unsigned int i;
	int ret;

	for (i = 0; i < VHOST_QUEUES; i++) {
		const struct virtq *q = virtio_queue(v->vdev, v->rings[i].index);

		if (!q->ready || q->broken)
			return 1;
	}
	ret = vhost_ioctl(v, VHOST_SET_FEATURES, &features);
	if (ret < 0)
		return vhost_failed(v, "VHOST_SET_FEATURES", -ret);
	ret = vhost_set_memory(v);
	if (ret < 0)
		return vhost_failed(v, "VHOST_SET_MEM_TABLE", -ret);
	for (i = 0; i < VHOST_QUEUES; i++) {
		struct vhost_ring *ring = &v->rings[i];

		ring->next = virtio_hand_over(v->vdev, ring->index, &layout);
		ring->away = true;
		/* What an earlier run left behind. */
		fetch(ring->err);
		what = tell_ring(v, i, &layout, &ret);
		if (what)
			return vhost_failed(v, what, -ret);
	}
	for (i = 0; i < VHOST_QUEUES; i++)
		virtio_served(v->vdev, v->rings[i].index, v->rings[i].kick, v->rings[i].call);
	return 0;
}

void vhost_stop(struct vhost *v)
{
	unsigned int i;

	for (i = 0; i < VHOST_QUEUES; i++) {
		struct vhost_ring *ring = &v->rings[i];
		struct vhost_vring_state base = {.index = i};

		if (!ring->away)
			continue;
		/* From here on nobody else takes a call. */
		virtio_served(v->vdev, ring->index, -1, -1);
		if (fetch(ring->call))
			virtio_signal(v->vdev, ring->index);
		if (vhost_ioctl(v, VHOST_GET_VRING_BASE, &base) < 0) {
			base.num = ring->next;
			virtq_break(virtio_queue(v->vdev, ring->index),
				    "the kernel's vhost does not say where it stopped");
		}
		ring->away = false;
		virtio_take_back(v->vdev, ring->index, (uint16_t)base.num);
	}
}

bool vhost_running(const struct vhost *v)
{
	return v->rings[0].away;
}

void vhost_kick(struct vhost *v, unsigned int index)
{
	static const uint64_t one = 1;
	unsigned int i;

	for (i = 0; i < VHOST_QUEUES; i++)
		/* Fails only where 2^64 - 2 kicks were not fetched. */
		if (v->rings[i].away && v->rings[i].index == index)
			(void)!write(v->rings[i].kick, &one, sizeof(one));
}

/* --- network ---------------------------------------------------------------------------- */

static int set_backend(const struct vhost *v, unsigned int ring, int fd)
{
	struct vhost_vring_file file = {ring, fd};

	return vhost_ioctl(v, VHOST_NET_SET_BACKEND, &file);
}

/*
 * Both rings let go, in any state of starting. A kernel that does not obey is left by
 * closing the descriptor.
 */
static int net_release(struct vhost *v)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < VHOST_QUEUES; i++) {
		int failed = set_backend(v, i, VHOST_FILE_UNBIND);

		if (failed < 0)
			ret = failed;
	}
	if (ret)
		vhost_reopen(v);
	return ret;
}

int vhost_net_start(struct vhost *v, int tap_fd)
{
	unsigned int i;
	int ret = vhost_start(v);

	for (i = 0; !ret && i < VHOST_QUEUES; i++) {
		int failed = set_backend(v, i, tap_fd);

		if (failed < 0) {
			net_release(v);
			ret = vhost_failed(v, "VHOST_NET_SET_BACKEND", -failed);
		}
	}
	return ret;
}

void vhost_net_stop(struct vhost *v)
{
	int ret;

	if (!vhost_running(v))
		return;
	ret = net_release(v);
	if (ret)
		vhost_failed(v, "VHOST_NET_SET_BACKEND", -ret);
	else
		vhost_stop(v);
}
