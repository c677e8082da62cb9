// SPDX-License-Identifier: GPL-2.0-only
/*
 * Queues served by a scripted kernel: what it is told and when, that nothing of a ring
 * is told while it runs (C22), what it signals, faults at every single request, and the
 * two devices on top: vhost-vsock, and a plain one that uses vhost-net.
 */
#include "unit.h"
#include "vsock_driver.h"

#include <dirent.h>
#include <errno.h>
#include <linux/vhost.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define FEAT_SEQPACKET 2
#define FEAT_MRG_RXBUF (1 << 15)
#define FEAT_PLATFORM (UINT64_C(1) << 33)

/**
 * struct kernel_ring - what the kernel was told of one
 */
struct kernel_ring {
	uint32_t num, base;
	struct vhost_vring_addr addr;
	int kick, call, err, backend;
};

/**
 * struct kernel - the scripted one; breaking a rule of the real one fails the test
 * @fd: open; @old_fd: still open behind it
 * @left: requests until one fails by @fault; 0: none does
 * @requests: made so far
 * @stops, @opens: how often
 */
struct kernel {
	int open_error, reopen_error, cid_error, fault;
	int fd, old_fd;
	unsigned int left, requests, stops, opens;
	uint64_t features, acked, cid;
	bool owner, running, has_memory;
	struct vhost_memory_region memory[8];
	unsigned int nr_memory;
	struct kernel_ring rings[2];
	char path[64];
};

static int k_open(void *opaque, const char *path)
{
	struct kernel *k = opaque;
	bool again = !strncmp(path, "/proc/self/fd/", 14);

	if (again ? k->reopen_error : k->open_error)
		return again ? k->reopen_error : k->open_error;
	if (again)
		ck_assert_int_eq(atoi(path + 14), k->fd);
	else
		snprintf(k->path, sizeof(k->path), "%s", path);
	/* Closing the old one ends all it did. */
	k->running = false;
	k->rings[0].backend = k->rings[1].backend = -1;
	k->old_fd = again ? k->fd : -1;
	k->fd = 1000 + (int)k->opens++;
	k->owner = k->has_memory = false;
	k->cid = 0;
	return k->fd;
}

static void k_close(void *opaque, int fd)
{
	struct kernel *k = opaque;
	int *which = k->old_fd >= 0 ? &k->old_fd : &k->fd;

	ck_assert_int_eq(fd, *which);
	*which = -1;
}

static struct kernel_ring *ring_of(struct kernel *k, const void *arg)
{
	/* The index comes first in each of these. */
	unsigned int index = *(const unsigned int *)arg;

	ck_assert_uint_lt(index, 2);
	return &k->rings[index];
}

static bool in_memory(const struct kernel *k, uint64_t hva)
{
	unsigned int i;

	for (i = 0; i < k->nr_memory; i++)
		if (hva - k->memory[i].userspace_addr < k->memory[i].memory_size)
			return true;
	return false;
}

/* All that may be said of a ring, and never while it runs. */
static int set_ring(struct kernel *k, unsigned long request, const void *arg)
{
	const struct vhost_vring_state *state = arg;
	const struct vhost_vring_file *file = arg;
	struct kernel_ring *r = ring_of(k, arg);

	ck_assert(k->has_memory);
	ck_assert_msg(!k->running && r->backend < 0, "a ring is changed while it runs");
	switch (request) {
	case VHOST_SET_VRING_NUM:
		ck_assert(is_power_of_two(state->num));
		r->num = state->num;
		break;
	case VHOST_SET_VRING_BASE:
		ck_assert_uint_le(state->num, 0xffff);
		r->base = state->num;
		break;
	case VHOST_SET_VRING_ADDR:
		r->addr = *(const struct vhost_vring_addr *)arg;
		ck_assert_uint_eq(r->addr.flags, 0);
		ck_assert(in_memory(k, r->addr.desc_user_addr));
		ck_assert(in_memory(k, r->addr.avail_user_addr));
		ck_assert(in_memory(k, r->addr.used_user_addr));
		break;
	case VHOST_SET_VRING_KICK:
		r->kick = file->fd;
		break;
	case VHOST_SET_VRING_CALL:
		r->call = file->fd;
		break;
	default:
		r->err = file->fd;
		break;
	}
	return 0;
}

static int set_memory(struct kernel *k, const struct vhost_memory *m)
{
	ck_assert_uint_le(m->nregions, 8);
	k->nr_memory = m->nregions;
	memcpy(k->memory, m->regions, m->nregions * sizeof(m->regions[0]));
	k->has_memory = true;
	return 0;
}

/* What anybody may ask. */
static int k_ioctl_free(struct kernel *k, unsigned long request, void *arg)
{
	switch (request) {
	case VHOST_GET_FEATURES:
		*(uint64_t *)arg = k->features;
		return 0;
	case VHOST_SET_OWNER:
		ck_assert(!k->owner);
		k->owner = true;
		return 0;
	case VHOST_SET_FEATURES:
		ck_assert(!k->running);
		k->acked = *(uint64_t *)arg;
		ck_assert_uint_eq(k->acked & ~k->features, 0);
		return 0;
	case VHOST_VSOCK_SET_GUEST_CID:
		if (!k->cid_error)
			k->cid = *(uint64_t *)arg;
		return k->cid_error;
	default:
		return -ENOTTY;
	}
}

static int k_ioctl(void *opaque, int fd, unsigned long request, void *arg)
{
	struct kernel *k = opaque;
	int ret;

	k->requests++;
	ck_assert_int_eq(fd, k->fd);
	if (k->left && !--k->left)
		return k->fault;
	ret = k_ioctl_free(k, request, arg);
	if (ret != -ENOTTY)
		return ret;
	if (!k->owner)
		return -EPERM;
	switch (request) {
	case VHOST_SET_MEM_TABLE:
		return set_memory(k, arg);
	case VHOST_GET_VRING_BASE:
		ck_assert(!k->running && ring_of(k, arg)->backend < 0);
		((struct vhost_vring_state *)arg)->num = ring_of(k, arg)->base;
		return 0;
	case VHOST_VSOCK_SET_RUNNING:
		k->stops += k->running && !*(int *)arg;
		k->running = *(int *)arg;
		return 0;
	case VHOST_NET_SET_BACKEND:
		ring_of(k, arg)->backend = ((struct vhost_vring_file *)arg)->fd;
		return 0;
	default:
		return set_ring(k, request, arg);
	}
}

static const struct vhost_sys_ops kernel_ops = {
	.open = k_open,
	.ioctl = k_ioctl,
	.close = k_close,
};

static void kernel_init(struct kernel *k)
{
	memset(k, 0, sizeof(*k));
	k->features = FEAT_VERSION_1 | FEAT_INDIRECT | FEAT_EVENT_IDX | FEAT_SEQPACKET |
		      FEAT_MRG_RXBUF | FEAT_PLATFORM;
	k->fd = k->old_fd = -1;
	k->rings[0].backend = k->rings[1].backend = -1;
}

static int open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int nr = 0;

	while (readdir(dir))
		nr++;
	closedir(dir);
	return nr;
}

static uint64_t fetch(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == (ssize_t)sizeof(n) ? n : 0;
}

static void signal_fd(int fd)
{
	uint64_t one = 1;

	ck_assert_int_eq(write(fd, &one, sizeof(one)), 8);
}

/* --- opening ------------------------------------------------------------------------- */

START_TEST(opening)
{
	struct kernel k;
	struct vhost_sys sys = {&kernel_ops, &k};
	struct error err;
	struct vhost v;

	kernel_init(&k);
	ck_assert_int_eq(vhost_open(&v, sys, VHOST_NET_PATH, &err), 0);
	ck_assert_str_eq(k.path, "/dev/vhost-net");
	ck_assert_uint_eq(v.features, k.features);
	ck_assert_uint_eq(k.requests, 1);
	/* What the kernel would have to do and can't is not offered; the rest is ours. */
	ck_assert_uint_eq(vhost_offer(&v, FEAT_VERSION_1 | FEAT_EVENT_IDX | 1, 0),
			  FEAT_VERSION_1 | FEAT_EVENT_IDX | 1);
	ck_assert_uint_eq(vhost_offer(&v, FEAT_RING_RESET | UINT64_C(1) << 34 | 1, 1), 0);
	v.features &= ~(FEAT_INDIRECT | FEAT_MRG_RXBUF);
	ck_assert_uint_eq(
		vhost_offer(&v, FEAT_INDIRECT | FEAT_MRG_RXBUF | FEAT_VERSION_1, FEAT_MRG_RXBUF),
		FEAT_VERSION_1);
	vhost_close(&v);
	vhost_close(&v);
	ck_assert_int_eq(k.fd, -1);

	k.open_error = -ENOENT;
	ck_assert_int_eq(vhost_open(&v, sys, VHOST_VSOCK_PATH, &err), -ENOENT);
	ck_assert_ptr_nonnull(strstr(err.msg, "modprobe vhost_vsock"));
	ck_assert_int_eq(v.fd, -1);
	k.open_error = -EACCES;
	ck_assert_int_eq(vhost_open(&v, sys, VHOST_VSOCK_PATH, &err), -EACCES);
	ck_assert_ptr_nonnull(strstr(err.msg, "usermod -aG kvm"));
	k.open_error = -EMFILE;
	ck_assert_int_eq(vhost_open(&v, sys, VHOST_VSOCK_PATH, &err), -EMFILE);
	k.open_error = 0;
	k.left = 1;
	k.fault = -ENOTTY;
	ck_assert_int_eq(vhost_open(&v, sys, VHOST_VSOCK_PATH, &err), -ENOTTY);
	ck_assert_int_eq(k.fd, -1);
	k.features &= ~FEAT_VERSION_1;
	ck_assert_int_ne(vhost_open(&v, sys, VHOST_VSOCK_PATH, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.msg, "virtio 1.0"));
	ck_assert_int_eq(k.fd, -1);
}
END_TEST

/* --- vhost-vsock ------------------------------------------------------------------------ */

struct rig {
	struct vd vd;
	struct kernel k;
	struct loop *loop;
};

static struct virtio_device *make(struct rig *rig)
{
	struct virtio_device *vdev;
	struct virtio_world world;
	struct vhost vhost;
	struct error err;

	memset(rig, 0, sizeof(*rig));
	vd_memory(&rig->vd);
	kernel_init(&rig->k);
	rig->loop = loop_create(NULL);
	world = (struct virtio_world){
		.name = "vsock0", .mem = &rig->vd.mem, .loop = rig->loop, .nr_vcpus = 1};
	ck_assert_int_eq(vhost_open(&vhost, (struct vhost_sys){&kernel_ops, &rig->k},
				    VHOST_VSOCK_PATH, &err),
			 0);
	vdev = vsock_vhost_build(&world, VD_CID, &vhost, NULL, &err);
	ck_assert_ptr_nonnull(vdev);
	/* Until here the world does not know. */
	ck_assert_uint_eq(rig->k.cid, 0);
	ck_assert(!rig->k.owner);
	return vdev;
}

static void start(struct rig *rig)
{
	struct virtio_device *vdev = make(rig);
	struct error err;

	ck_assert_int_eq(virtio_device_start(vdev, &err), 0);
	ck_assert_uint_eq(rig->k.cid, VD_CID);
	vd_start(&rig->vd, vdev, FEAT_INDIRECT | FEAT_EVENT_IDX);
}

static void stop(struct rig *rig)
{
	vd_stop(&rig->vd);
	ck_assert_int_eq(rig->k.fd, -1);
	ck_assert(!rig->k.running);
	loop_destroy(rig->loop);
}

static void turn(struct rig *rig)
{
	while (loop_run_once(rig->loop, 0) > 0)
		;
}

static void check_ring(struct rig *rig, unsigned int i, const struct drv_ring *ring, uint32_t base)
{
	const struct kernel_ring *r = &rig->k.rings[i];

	ck_assert_uint_eq(r->num, VD_NUM);
	ck_assert_uint_eq(r->base, base);
	ck_assert_uint_eq(r->addr.desc_user_addr, (uintptr_t)drv_ptr(&rig->vd.mem, ring->desc, 1));
	ck_assert_uint_eq(r->addr.avail_user_addr,
			  (uintptr_t)drv_ptr(&rig->vd.mem, ring->avail, 1));
	ck_assert_uint_eq(r->addr.used_user_addr, (uintptr_t)drv_ptr(&rig->vd.mem, ring->used, 1));
}

static struct device *dev_of(struct rig *rig)
{
	return virtio_mmio_device(rig->vd.mmio);
}

START_TEST(runs)
{
	int before = open_fds();
	struct pkt p;
	struct rig rig;

	start(&rig);
	ck_assert_uint_eq(drv_features(&rig.vd.drv),
			  FEAT_VERSION_1 | FEAT_INDIRECT | FEAT_EVENT_IDX | FEAT_SEQPACKET);
	ck_assert_uint_eq(drv_rd(&rig.vd.drv, R_CONFIG), VD_CID);
	ck_assert(rig.k.running);
	ck_assert_uint_eq(rig.k.acked, FEAT_VERSION_1 | FEAT_INDIRECT | FEAT_EVENT_IDX);
	ck_assert_uint_eq(rig.k.nr_memory, 2);
	ck_assert_uint_eq(rig.k.memory[0].guest_phys_addr, DRV_RAM);
	ck_assert_uint_eq(rig.k.memory[1].memory_size, DRV_BANK);
	ck_assert_uint_eq(rig.k.memory[1].userspace_addr,
			  (uintptr_t)drv_ptr(&rig.vd.mem, DRV_RAM + DRV_BANK, 1));
	check_ring(&rig, 0, &rig.vd.rx, 0);
	check_ring(&rig, 1, &rig.vd.tx, 0);
	/* What lay in the rings already is looked at. */
	ck_assert_uint_ge(fetch(rig.k.rings[0].kick), 1);
	ck_assert_uint_ge(fetch(rig.k.rings[1].kick), 1);
	/* The driver's notifications become the kernel's. */
	p = vd_packet(OP_REQUEST, 1, 2);
	vd_send_only(&rig.vd, &p, NULL, 0, 1);
	ck_assert_uint_eq(fetch(rig.k.rings[0].kick), 0);
	ck_assert_uint_eq(fetch(rig.k.rings[1].kick), 1);
	vd_buffers(&rig.vd, 1, 4096);
	ck_assert_uint_eq(fetch(rig.k.rings[0].kick), 1);
	/* The rings are the kernel's alone. */
	ck_assert_uint_eq(drv_used_idx(&rig.vd.tx), 0);
	/* Its signals become the driver's. */
	ck_assert(!rig.vd.drv.level);
	signal_fd(rig.k.rings[1].call);
	turn(&rig);
	ck_assert(rig.vd.drv.level);
	ck_assert_uint_eq(drv_ack(&rig.vd.drv), 1);
	turn(&rig);
	ck_assert(!rig.vd.drv.level);
	stop(&rig);
	ck_assert_int_eq(open_fds(), before);
}
END_TEST

START_TEST(pauses)
{
	struct rig rig;
	int call;

	start(&rig);
	fetch(rig.k.rings[0].kick);
	rig.k.rings[0].base = 7;
	rig.k.rings[1].base = 65535;
	call = rig.k.rings[0].call;
	/* A signal the loop did not see yet is not lost. */
	signal_fd(call);
	dev_of(&rig)->ops->quiesce(dev_of(&rig));
	ck_assert(!rig.k.running);
	ck_assert_uint_eq(rig.k.stops, 1);
	ck_assert_uint_eq(drv_ack(&rig.vd.drv), 1);
	turn(&rig);
	/* Notifications meanwhile are for nobody, and stray signals too. */
	drv_wr(&rig.vd.drv, R_NOTIFY, 0);
	ck_assert_uint_eq(fetch(rig.k.rings[0].kick), 0);
	signal_fd(call);
	signal_fd(rig.k.rings[0].err);
	turn(&rig);
	ck_assert(!rig.vd.drv.level);
	dev_of(&rig)->ops->resume(dev_of(&rig));
	ck_assert(rig.k.running);
	check_ring(&rig, 0, &rig.vd.rx, 7);
	check_ring(&rig, 1, &rig.vd.tx, 65535);
	ck_assert_uint_ge(fetch(rig.k.rings[0].kick), 1);
	/* Not opened anew: connections live through it. */
	ck_assert_uint_eq(rig.k.opens, 1);
	ck_assert_uint_eq(drv_rd(&rig.vd.drv, R_STATUS), 15);
	stop(&rig);
}
END_TEST

START_TEST(resets)
{
	struct rig rig;

	start(&rig);
	rig.k.rings[0].base = 9;
	drv_wr(&rig.vd.drv, R_STATUS, 0);
	ck_assert(!rig.k.running);
	/* Its connections went with the descriptor; the CID is ours again. */
	ck_assert_uint_eq(rig.k.opens, 2);
	ck_assert_uint_eq(rig.k.cid, VD_CID);
	/* One that did not run since keeps it. */
	drv_wr(&rig.vd.drv, R_STATUS, 0);
	ck_assert_uint_eq(rig.k.opens, 2);
	vd_bring_up(&rig.vd, 0);
	ck_assert(rig.k.running);
	check_ring(&rig, 0, &rig.vd.rx, 0);
	/* No /proc: the old one goes on. */
	rig.k.reopen_error = -ENOENT;
	vd_bring_up(&rig.vd, 0);
	ck_assert(rig.k.running);
	ck_assert_uint_eq(rig.k.opens, 2);
	rig.k.reopen_error = 0;
	/* Somebody took the CID: tried again by each reset. */
	rig.k.cid_error = -EADDRINUSE;
	vd_bring_up(&rig.vd, 0);
	ck_assert_uint_eq(rig.k.cid, 0);
	rig.k.cid_error = 0;
	vd_bring_up(&rig.vd, 0);
	ck_assert_uint_eq(rig.k.cid, VD_CID);
	/* FAILED is an end as well. */
	drv_wr(&rig.vd.drv, R_STATUS, 15 | ST_FAILED);
	ck_assert(!rig.k.running);
	stop(&rig);
}
END_TEST

/* C22: the driver changes its rings while the kernel serves them. */
START_TEST(ring_changes)
{
	struct drv_ring other;
	struct rig rig;
	unsigned int requests, i;

	start(&rig);
	drv_ring_init(&other, &rig.vd.mem, 8, DRV_RAM + 2 * MIB);
	requests = rig.k.requests;
	for (i = 0; i < 2; i++) {
		drv_set_queue(&rig.vd.drv, i, &other);
		drv_wr(&rig.vd.drv, R_QUEUE_READY, 1);
		drv_wr(&rig.vd.drv, R_QUEUE_RESET, 1);
	}
	drv_accept(&rig.vd.drv, FEAT_VERSION_1);
	drv_wr(&rig.vd.drv, R_STATUS, 15);
	ck_assert_uint_eq(rig.k.requests, requests);
	ck_assert(rig.k.running);
	check_ring(&rig, 1, &rig.vd.tx, 0);
	/* Taking a queue away stops both before; it can't come back before a reset. */
	rig.k.rings[0].base = 3;
	drv_wr(&rig.vd.drv, R_QUEUE_SEL, 1);
	drv_wr(&rig.vd.drv, R_QUEUE_READY, 0);
	ck_assert(!rig.k.running);
	ck_assert_uint_eq(rig.k.stops, 1);
	drv_set_queue(&rig.vd.drv, 1, &other);
	drv_wr(&rig.vd.drv, R_QUEUE_READY, 1);
	ck_assert_uint_eq(drv_rd(&rig.vd.drv, R_QUEUE_READY), 0);
	ck_assert(!rig.k.running);
	drv_wr(&rig.vd.drv, R_NOTIFY, 0);
	vd_bring_up(&rig.vd, 0);
	ck_assert(rig.k.running);
	check_ring(&rig, 1, &rig.vd.tx, 0);
	stop(&rig);
}
END_TEST

/* A driver that leaves a queue out, or makes a bad one, gets nothing started. */
START_TEST(queue_missing)
{
	struct rig rig;

	start(&rig);
	ck_assert(drv_start(&rig.vd.drv, 0));
	ck_assert(drv_queue(&rig.vd.drv, 1, &rig.vd.tx));
	drv_go(&rig.vd.drv);
	ck_assert(!rig.k.running);
	drv_wr(&rig.vd.drv, R_NOTIFY, 1);
	dev_of(&rig)->ops->quiesce(dev_of(&rig));
	dev_of(&rig)->ops->resume(dev_of(&rig));
	ck_assert(!rig.k.running);
	vd_bring_up(&rig.vd, 0);
	ck_assert(rig.k.running);
	stop(&rig);
}
END_TEST

/* What the driver put into a ring is too much for the kernel. */
START_TEST(kernel_gives_up)
{
	struct rig rig;

	start(&rig);
	drv_ack(&rig.vd.drv);
	signal_fd(rig.k.rings[1].err);
	turn(&rig);
	ck_assert_uint_eq(drv_rd(&rig.vd.drv, R_STATUS), 15 | ST_NEEDS_RESET);
	ck_assert_uint_eq(drv_ack(&rig.vd.drv) & 2, 2);
	/* Notifications of it lead nowhere. */
	fetch(rig.k.rings[1].kick);
	drv_wr(&rig.vd.drv, R_NOTIFY, 1);
	ck_assert_uint_eq(fetch(rig.k.rings[1].kick), 0);
	vd_bring_up(&rig.vd, 0);
	ck_assert_uint_eq(drv_rd(&rig.vd.drv, R_STATUS), 15);
	ck_assert(rig.k.running);
	stop(&rig);
}
END_TEST

/* Every request fails once: before the guest runs that is said, later it needs a reset. */
START_TEST(faults)
{
	unsigned int n, before, refused = 0, broken = 0, good = 0;

	for (n = 1; n < 60; n++) {
		int fds = open_fds();
		struct virtio_device *vdev;
		struct error err;
		struct rig rig;

		vdev = make(&rig);
		rig.k.fault = n % 2 ? -ENOMEM : -EINVAL;
		rig.k.left = n;
		before = rig.k.requests;
		if (virtio_device_start(vdev, &err)) {
			refused++;
			ck_assert_ptr_nonnull(strstr(err.msg, "/dev/vhost-vsock"));
			vdev->ops->destroy(vdev);
			memory_destroy(&rig.vd.mem);
			loop_destroy(rig.loop);
			ck_assert_int_eq(open_fds(), fds);
			continue;
		}
		vd_start(&rig.vd, vdev, 0);
		dev_of(&rig)->ops->quiesce(dev_of(&rig));
		dev_of(&rig)->ops->resume(dev_of(&rig));
		if (drv_rd(&rig.vd.drv, R_STATUS) & ST_NEEDS_RESET)
			broken++;
		else
			good++;
		vd_bring_up(&rig.vd, 0);
		if (rig.k.requests - before >= n)
			rig.k.left = 0;
		vd_bring_up(&rig.vd, 0);
		vd_bring_up(&rig.vd, 0);
		ck_assert(rig.k.left || rig.k.running);
		ck_assert(rig.k.left || rig.k.cid == VD_CID);
		stop(&rig);
		ck_assert_int_eq(open_fds(), fds);
	}
	ck_assert_uint_eq(refused, 2);
	ck_assert_uint_gt(broken, 20);
	ck_assert_uint_gt(good, 0);
}
END_TEST

START_TEST(cid_taken)
{
	struct virtio_device *vdev;
	struct error err;
	struct rig rig;

	vdev = make(&rig);
	rig.k.cid_error = -EADDRINUSE;
	ck_assert_int_ne(virtio_device_start(vdev, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.msg, "CID 42 belongs to another VM"));
	vdev->ops->destroy(vdev);
	ck_assert_int_eq(rig.k.fd, -1);
	memory_destroy(&rig.vd.mem);
	loop_destroy(rig.loop);
}
END_TEST

static void save(struct rig *rig, struct xfer *x)
{
	xfer_save_init(x);
	dev_of(rig)->ops->transfer(dev_of(rig), x);
	ck_assert_int_eq(xfer_done(x, NULL), 0);
}

static int load(struct rig *rig, const struct xfer *from)
{
	struct xfer x;

	xfer_load_init(&x, from->buf, from->len);
	dev_of(rig)->ops->transfer(dev_of(rig), &x);
	return xfer_done(&x, NULL);
}

START_TEST(save_and_load)
{
	const struct drv_seg event = {DRV_RAM + 2 * MIB, 4, DRV_WRITE};
	struct xfer first, again;
	uint32_t id, len;
	struct rig rig;

	start(&rig);
	rig.k.rings[0].base = 5;
	drv_add(&rig.vd.ev, &event, 1);
	dev_of(&rig)->ops->quiesce(dev_of(&rig));
	save(&rig, &first);
	dev_of(&rig)->ops->resume(dev_of(&rig));
	rig.k.rings[0].base = 50;
	dev_of(&rig)->ops->quiesce(dev_of(&rig));
	ck_assert_int_eq(load(&rig, &first), 0);
	save(&rig, &again);
	ck_assert_uint_eq(first.len, again.len);
	ck_assert_mem_eq(first.buf, again.buf, first.len);
	memset(first.buf + first.len - 4, 0xff, 4);
	ck_assert_int_ne(load(&rig, &first), 0);
	dev_of(&rig)->ops->resume(dev_of(&rig));
	check_ring(&rig, 0, &rig.vd.rx, 5);
	ck_assert(drv_get_used(&rig.vd.ev, &id, &len));
	ck_assert_uint_eq(len, 4);
	ck_assert(!drv_get_used(&rig.vd.ev, &id, &len));
	xfer_free(&first);
	xfer_free(&again);
	stop(&rig);
}
END_TEST

/* --- vhost-net ------------------------------------------------------------------------------ */

#define TAP 77

/* As a network device uses it; a pair of queues and one more of its own. */
struct plain {
	struct virtio_device vdev;
	struct vhost vhost;
	int started;
};

static void plain_go(struct virtio_device *vdev)
{
	struct plain *p = container_of(vdev, struct plain, vdev);

	p->started = vhost_net_start(&p->vhost, TAP);
}

static void plain_halt(struct virtio_device *vdev)
{
	vhost_net_stop(&container_of(vdev, struct plain, vdev)->vhost);
}

static void plain_notify(struct virtio_device *vdev, unsigned int index)
{
	vhost_kick(&container_of(vdev, struct plain, vdev)->vhost, index);
}

static void plain_destroy(struct virtio_device *vdev)
{
	struct plain *p = container_of(vdev, struct plain, vdev);

	virtio_device_fini(vdev);
	vhost_close(&p->vhost);
}

static const struct virtio_device_ops plain_ops = {
	.kind = "plain",
	.id = 1,
	.go = plain_go,
	.halt = plain_halt,
	.notify = plain_notify,
	.destroy = plain_destroy,
};

START_TEST(net)
{
	int before = open_fds();
	struct plain plain;
	unsigned int n;
	struct rig rig;

	memset(&rig, 0, sizeof(rig));
	vd_memory(&rig.vd);
	kernel_init(&rig.k);
	rig.loop = loop_create(NULL);
	ck_assert_int_eq(vhost_open(&plain.vhost, (struct vhost_sys){&kernel_ops, &rig.k},
				    VHOST_NET_PATH, NULL),
			 0);
	ck_assert_int_eq(virtio_device_init(&plain.vdev, &plain_ops, "net0", &rig.vd.mem, NULL,
					    FEAT_MRG_RXBUF, 3, VD_NUM, 0, NULL),
			 0);
	plain.vdev.offered = vhost_offer(&plain.vhost, plain.vdev.offered, FEAT_MRG_RXBUF);
	ck_assert_int_eq(vhost_attach(&plain.vhost, &plain.vdev, 0, rig.loop, NULL), 0);
	vd_start(&rig.vd, &plain.vdev, FEAT_MRG_RXBUF);
	ck_assert_int_eq(plain.started, 0);
	ck_assert_uint_eq(rig.k.acked, FEAT_VERSION_1 | FEAT_MRG_RXBUF);
	ck_assert_int_eq(rig.k.rings[0].backend, TAP);
	ck_assert_int_eq(rig.k.rings[1].backend, TAP);
	drv_wr(&rig.vd.drv, R_NOTIFY, 1);
	ck_assert_uint_eq(fetch(rig.k.rings[1].kick), 1);
	dev_of(&rig)->ops->quiesce(dev_of(&rig));
	ck_assert_int_eq(rig.k.rings[0].backend, -1);
	ck_assert_int_eq(rig.k.rings[1].backend, -1);
	dev_of(&rig)->ops->resume(dev_of(&rig));
	ck_assert_int_eq(rig.k.rings[1].backend, TAP);
	/* Memory that came later. */
	ck_assert_int_eq(vhost_set_memory(&plain.vhost), 0);
	/* Faults: never half a pair. */
	for (n = 1; n < 20; n++) {
		rig.k.left = 0;
		drv_wr(&rig.vd.drv, R_STATUS, 0);
		rig.k.left = n;
		rig.k.fault = -EBUSY;
		vd_bring_up(&rig.vd, 0);
		ck_assert_int_eq(plain.started, n <= 16 ? -EBUSY : 0);
		ck_assert_int_eq(rig.k.rings[0].backend, rig.k.rings[1].backend);
		ck_assert_int_eq(rig.k.rings[0].backend, n <= 16 ? -1 : TAP);
	}
	rig.k.left = 0;
	/* The kernel does not let go. */
	for (n = 1; n < 3; n++) {
		vd_bring_up(&rig.vd, 0);
		ck_assert_int_eq(plain.started, 0);
		rig.k.left = n;
		dev_of(&rig)->ops->quiesce(dev_of(&rig));
		ck_assert_int_eq(rig.k.rings[0].backend, -1);
		ck_assert_int_eq(rig.k.rings[1].backend, -1);
		ck_assert_uint_eq(drv_rd(&rig.vd.drv, R_STATUS), 15 | ST_NEEDS_RESET);
		dev_of(&rig)->ops->resume(dev_of(&rig));
	}
	stop(&rig);
	ck_assert_int_eq(open_fds(), before);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vhost");
	TCase *t = tcase_create("vhost");

	tcase_add_test(t, opening);
	tcase_add_test(t, runs);
	tcase_add_test(t, pauses);
	tcase_add_test(t, resets);
	tcase_add_test(t, ring_changes);
	tcase_add_test(t, queue_missing);
	tcase_add_test(t, kernel_gives_up);
	tcase_add_test(t, faults);
	tcase_add_test(t, cid_taken);
	tcase_add_test(t, save_and_load);
	tcase_add_test(t, net);
	suite_add_tcase(s, t);
	return unit_main(s);
}
