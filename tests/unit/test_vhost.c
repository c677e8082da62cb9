// SPDX-License-Identifier: GPL-2.0-only
/*
 * Queues served by a scripted kernel: what it is told and when, that nothing of a ring
 * is told while it runs (C22), what it signals, faults at every single request, and the
 * two devices on top: vhost-vsock, and a plain one as vhost-net is used.
 */
#include "unit.h"
#include "vsock_driver.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define FEAT_SEQPACKET 2
#define FEAT_MRG_RXBUF (1 << 15)

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
 * @file: what @fd stands for is open; @files: opened so far
 * @left: requests until one fails by @fault; 0: none does
 * @requests: made so far
 */
struct kernel {
	int open_error, reopen_error, cid_error, fault;
	int fd, dead_fd, files;
	unsigned int left, requests;
	uint64_t features, acked, cid;
	bool owner, running, has_memory, runs_cid;
	struct vhost_memory_region memory[8];
	unsigned int nr_memory;
	struct kernel_ring rings[2];
	char last_path[64];
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
		snprintf(k->last_path, sizeof(k->last_path), "%s", path);
	k->dead_fd = k->fd;
	k->fd = 1000 + k->files++;
	if (!again)
		k->dead_fd = -1;
	k->owner = k->running = k->has_memory = false;
	k->cid = 0;
	return k->fd;
}

static void k_close(void *opaque, int fd)
{
	struct kernel *k = opaque;

	if (k->dead_fd >= 0) {
		ck_assert_int_eq(fd, k->dead_fd);
		k->dead_fd = -1;
	} else {
		ck_assert_int_eq(fd, k->fd);
		k->fd = -1;
	}
}

static struct kernel_ring *ring_of(struct kernel *k, unsigned int index)
{
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

static int set_memory(struct kernel *k, const struct vhost_memory *m)
{
	ck_assert_uint_le(m->nregions, 8);
	k->nr_memory = m->nregions;
	memcpy(k->memory, m->regions, m->nregions * sizeof(m->regions[0]));
	k->has_memory = true;
	return 0;
}

/* All that may be said of a ring; never while it runs. */
static int set_ring(struct kernel *k, unsigned long request, void *arg)
{
	struct vhost_vring_state *state = arg;
	struct vhost_vring_file *file = arg;
	struct kernel_ring *r = ring_of(k, state->index);

	ck_assert(k->owner);
	ck_assert(k->has_memory);
	ck_assert_msg(!k->running, "a ring is changed while it runs");
	ck_assert_int_lt(r->backend, 0);
	switch (request) {
	case VHOST_SET_VRING_NUM:
		ck_assert(state->num && !(state->num & (state->num - 1)));
		r->num = state->num;
		break;
	case VHOST_SET_VRING_BASE:
		ck_assert_uint_le(state->num, 0xffff);
		r->base = state->num;
		break;
	case VHOST_SET_VRING_ADDR:
		r->addr = *(struct vhost_vring_addr *)arg;
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

static int k_ioctl(void *opaque, int fd, unsigned long request, void *arg)
{
	struct kernel *k = opaque;

	k->requests++;
	ck_assert_int_eq(fd, k->fd);
	if (k->left && !--k->left)
		return k->fault;
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
	case VHOST_SET_MEM_TABLE:
		return set_memory(k, arg);
	case VHOST_SET_VRING_NUM:
	case VHOST_SET_VRING_BASE:
	case VHOST_SET_VRING_ADDR:
	case VHOST_SET_VRING_KICK:
	case VHOST_SET_VRING_CALL:
	case VHOST_SET_VRING_ERR:
		return set_ring(k, request, arg);
	case VHOST_GET_VRING_BASE:
		ck_assert(!k->running);
		ck_assert_int_lt(ring_of(k, ((struct vhost_vring_state *)arg)->index)->backend, 0);
		((struct vhost_vring_state *)arg)->num =
			ring_of(k, ((struct vhost_vring_state *)arg)->index)->base;
		return 0;
	case VHOST_VSOCK_SET_GUEST_CID:
		if (k->cid_error)
			return k->cid_error;
		k->cid = *(uint64_t *)arg;
		return 0;
	case VHOST_VSOCK_SET_RUNNING:
		k->running = *(int *)arg;
		k->runs_cid |= k->running && k->cid;
		return 0;
	case VHOST_NET_SET_BACKEND:
		ring_of(k, ((struct vhost_vring_file *)arg)->index)->backend =
			((struct vhost_vring_file *)arg)->fd;
		return 0;
	default:
		ck_abort_msg("request 0x%lx", request);
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
		      FEAT_MRG_RXBUF | UINT64_C(1) << 33 | UINT64_C(1) << 26;
	k->fd = k->dead_fd = -1;
	k->rings[0].backend = k->rings[1].backend = -1;
}

/* --- opening ------------------------------------------------------------------------- */

START_TEST(opening)
{
	struct vhost v;
	struct kernel k;
	struct vhost_sys sys = {&kernel_ops, &k};
	struct error err;

	kernel_init(&k);
	ck_assert_int_eq(vhost_open(&v, sys, VHOST_NET_PATH, &err), 0);
	ck_assert_str_eq(k.last_path, "/dev/vhost-net");
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

static int open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int nr = 0;

	while (readdir(dir))
		nr++;
	closedir(dir);
	return nr;
}

static struct virtio_device *make(struct rig *rig)
{
	struct virtio_world world;
	struct virtio_device *vdev;
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
	vdev = vsock_vhost_build(&world, VD_CID, &vhost, &err);
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

static uint64_t count(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == (ssize_t)sizeof(n) ? n : 0;
}

static void signal_fd(int fd)
{
	uint64_t one = 1;

	ck_assert_int_eq(write(fd, &one, sizeof(one)), 8);
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
	ck_assert_ptr_eq((void *)(uintptr_t)r->addr.desc_user_addr,
			 drv_ptr(&rig->vd.mem, ring->desc, 1));
	ck_assert_ptr_eq((void *)(uintptr_t)r->addr.avail_user_addr,
			 drv_ptr(&rig->vd.mem, ring->avail, 1));
	ck_assert_ptr_eq((void *)(uintptr_t)r->addr.used_user_addr,
			 drv_ptr(&rig->vd.mem, ring->used, 1));
}

START_TEST(vsock_runs)
{
	int before = open_fds();
	uint64_t features;
	struct rig rig;

	start(&rig);
	features = drv_features(&rig.vd.drv);
	ck_assert_uint_eq(features, FEAT_VERSION_1 | FEAT_INDIRECT | FEAT_EVENT_IDX | FEAT_SEQPACKET);
	ck_assert_uint_eq(drv_rd(&rig.vd.drv, R_CONFIG), VD_CID);
	ck_assert(rig.k.running);
	ck_assert_uint_eq(rig.k.acked, FEAT_VERSION_1 | FEAT_INDIRECT | FEAT_EVENT_IDX);
	ck_assert_uint_eq(rig.k.nr_memory, 2);
	ck_assert_uint_eq(rig.k.memory[0].guest_phys_addr, DRV_RAM);
	ck_assert_uint_eq(rig.k.memory[1].memory_size, DRV_BANK);
	ck_assert_ptr_eq((void *)(uintptr_t)rig.k.memory[1].userspace_addr,
			 drv_ptr(&rig.vd.mem, DRV_RAM + DRV_BANK, 1));
	check_ring(&rig, 0, &rig.vd.rx, 0);
	check_ring(&rig, 1, &rig.vd.tx, 0);
	/* The driver's notifications become the kernel's. */
	count(rig.k.rings[0].kick);
	count(rig.k.rings[1].kick);
	vd_op(&(struct vd){0}, 0, 0, 0) /* placeholder */;
	stop(&rig);
	ck_assert_int_eq(open_fds(), before);
}
END_TEST
