// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest's socket driver, for tests; see vsock_driver.h.
 */
#include "vsock_driver.h"
#include "unit.h"

#include <endian.h>
#include <string.h>

#define RINGS (DRV_RAM + 0x1000)
#define OUT (DRV_RAM + MIB)	      /* a packet to send */
#define OUT_SMALL (DRV_RAM + 3 * MIB) /* small ones, which may have to wait in the ring */
#define OUT_SLOT 4096
#define IN (DRV_RAM + DRV_BANK)

/* A receive buffer's place; they are larger than any test needs. */
#define IN_SLOT (32 * KIB)

static void run_soon(void *opaque)
{
	(void)opaque;
}

static const struct virtio_mmio_env mmio_env = {
	.run_soon = run_soon,
};

void vd_memory(struct vd *vd)
{
	memset(vd, 0, sizeof(*vd));
	drv_memory(&vd->mem);
}

void vd_bring_up(struct vd *vd, uint64_t features)
{
	gpa_t at = RINGS;

	ck_assert(drv_start(&vd->drv, features));
	at = drv_ring_init(&vd->rx, &vd->mem, VD_NUM, at);
	at = drv_ring_init(&vd->tx, &vd->mem, VD_NUM, at);
	drv_ring_init(&vd->ev, &vd->mem, VD_NUM, at);
	ck_assert(drv_queue(&vd->drv, 0, &vd->rx));
	ck_assert(drv_queue(&vd->drv, 1, &vd->tx));
	ck_assert(drv_queue(&vd->drv, 2, &vd->ev));
	drv_go(&vd->drv);
}

void vd_start(struct vd *vd, struct virtio_device *vdev, uint64_t features)
{
	ck_assert_ptr_nonnull(vdev);
	vd->vdev = vdev;
	vd->mmio = virtio_mmio_create(vdev, drv_line(&vd->drv), &mmio_env, vd);
	vd->drv.dev = vd->mmio;
	vd_bring_up(vd, features);
}

void vd_stop(struct vd *vd)
{
	virtio_mmio_device(vd->mmio)->ops->destroy(virtio_mmio_device(vd->mmio));
	memory_destroy(&vd->mem);
}

struct pkt vd_packet(uint16_t op, uint32_t guest_port, uint32_t host_port)
{
	return (struct pkt){
		.src = VD_CID,
		.dst = VSOCK_HOST_CID,
		.sport = guest_port,
		.dport = host_port,
		.type = 1,
		.op = op,
		.alloc = 65536,
	};
}

static void put(uint8_t *p, uint64_t v, unsigned int bytes)
{
	while (bytes--) {
		*p++ = (uint8_t)v;
		v >>= 8;
	}
}

static uint64_t get(const uint8_t *p, unsigned int bytes)
{
	uint64_t v = 0;

	while (bytes--)
		v = v << 8 | p[bytes];
	return v;
}

void vd_send_only(struct vd *vd, const struct pkt *p, const void *bytes, uint32_t len,
		  unsigned int cuts)
{
	uint32_t total = HDR + len, done = 0, i, part;
	gpa_t at = total > OUT_SLOT ? OUT : OUT_SMALL + OUT_SLOT * (vd->tx.avail_idx % VD_NUM);
	uint8_t *h = drv_ptr(&vd->mem, at, total);
	struct drv_seg segs[VD_NUM];

	put(h, p->src, 8);
	put(h + 8, p->dst, 8);
	put(h + 16, p->sport, 4);
	put(h + 20, p->dport, 4);
	put(h + 24, p->len, 4);
	put(h + 28, p->type, 2);
	put(h + 30, p->op, 2);
	put(h + 32, p->flags, 4);
	put(h + 36, p->alloc, 4);
	put(h + 40, p->fwd, 4);
	if (len)
		memcpy(h + HDR, bytes, len);
	for (i = 0; i < cuts; i++) {
		part = i + 1 < cuts ? total / cuts : total - done;
		segs[i] = (struct drv_seg){at + done, part, 0};
		done += part;
	}
	drv_add(&vd->tx, segs, cuts);
	drv_wr(&vd->drv, R_NOTIFY, 1);
}

bool vd_send(struct vd *vd, const struct pkt *p, const void *bytes, uint32_t len)
{
	uint32_t id, used;

	vd_send_only(vd, p, bytes, len, 1);
	if (!drv_get_used(&vd->tx, &id, &used))
		return false;
	ck_assert_uint_eq(used, 0);
	return true;
}

void vd_op(struct vd *vd, uint16_t op, uint32_t guest_port, uint32_t host_port)
{
	struct pkt p = vd_packet(op, guest_port, host_port);

	ck_assert(vd_send(vd, &p, NULL, 0));
}

void vd_buffers(struct vd *vd, unsigned int nr, uint32_t size)
{
	uint16_t head;
	gpa_t at;

	while (nr--) {
		at = IN + (uint64_t)IN_SLOT * (vd->next_buf++ % VD_NUM);
		head = drv_add(&vd->rx, &(struct drv_seg){at, size, DRV_WRITE}, 1);
		vd->at[head] = at;
	}
	drv_wr(&vd->drv, R_NOTIFY, 0);
}

bool vd_get(struct vd *vd, struct pkt *p)
{
	uint32_t id, len;
	const uint8_t *h;

	if (!drv_get_used(&vd->rx, &id, &len))
		return false;
	h = drv_ptr(&vd->mem, vd->at[id], HDR);
	ck_assert_uint_ge(len, HDR);
	*p = (struct pkt){
		.src = get(h, 8),
		.dst = get(h + 8, 8),
		.sport = (uint32_t)get(h + 16, 4),
		.dport = (uint32_t)get(h + 20, 4),
		.len = (uint32_t)get(h + 24, 4),
		.type = (uint16_t)get(h + 28, 2),
		.op = (uint16_t)get(h + 30, 2),
		.flags = (uint32_t)get(h + 32, 4),
		.alloc = (uint32_t)get(h + 36, 4),
		.fwd = (uint32_t)get(h + 40, 4),
		.data = h + HDR,
	};
	ck_assert_uint_eq(len, HDR + p->len);
	ck_assert_uint_eq(p->dst, VD_CID);
	return true;
}

struct pkt vd_expect(struct vd *vd, uint16_t op, uint32_t guest_port, uint32_t host_port)
{
	struct pkt p;

	ck_assert_msg(vd_get(vd, &p), "no packet where op %u was expected", op);
	ck_assert_uint_eq(p.op, op);
	ck_assert_uint_eq(p.src, VSOCK_HOST_CID);
	ck_assert_uint_eq(p.type, 1);
	ck_assert_uint_eq(p.dport, guest_port);
	ck_assert_uint_eq(p.sport, host_port);
	if (op != OP_RW)
		ck_assert_uint_eq(p.len, 0);
	return p;
}
