/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest's socket driver, for tests: packets are written and read raw, so that every
 * rule can be broken.
 */
#ifndef LKVM_TESTS_VSOCK_DRIVER_H
#define LKVM_TESTS_VSOCK_DRIVER_H

#include "virtio_driver.h"

#include "lkvm/virtio/mmio.h"
#include "lkvm/virtio/vsock.h"

#define VD_NUM 64
#define VD_CID 42

#define HDR 44

enum {
	OP_REQUEST = 1,
	OP_RESPONSE,
	OP_RST,
	OP_SHUTDOWN,
	OP_RW,
	OP_UPDATE,
	OP_CREDIT,
};

/**
 * struct pkt - a packet, in the host's byte order
 */
struct pkt {
	uint64_t src, dst;
	uint32_t sport, dport, len;
	uint16_t type, op;
	uint32_t flags, alloc, fwd;
	const uint8_t *data; /* of one that was received */
};

/**
 * struct vd - a guest with a socket device
 * @answers: receive buffers in the ring
 */
struct vd {
	struct guest_memory mem;
	struct drv drv;
	struct virtio_mmio *mmio;
	struct virtio_device *vdev;
	struct drv_ring rx, tx, ev;
	uint32_t buf_size; /* of a receive buffer */
	unsigned int next_buf;
	gpa_t at[VD_NUM]; /* by head */
};

/**
 * vd_memory() - before the device is made; vd_start() - put it behind a transport and
 * bring its driver up with @features
 */
void vd_memory(struct vd *vd);
void vd_start(struct vd *vd, struct virtio_device *vdev, uint64_t features);

/**
 * vd_bring_up() - again, after a reset
 */
void vd_bring_up(struct vd *vd, uint64_t features);
void vd_stop(struct vd *vd);

/**
 * vd_packet() - one from port @guest_port to host port @host_port, all fields set
 */
struct pkt vd_packet(uint16_t op, uint32_t guest_port, uint32_t host_port);

/**
 * vd_send_only() - send @p with @bytes behind the header, in @cuts descriptors
 * vd_send() - in one; was it taken?
 */
void vd_send_only(struct vd *vd, const struct pkt *p, const void *bytes, uint32_t len,
		  unsigned int cuts);
bool vd_send(struct vd *vd, const struct pkt *p, const void *bytes, uint32_t len);

/**
 * vd_op() - vd_packet() and vd_send() of a packet without data, which must be taken
 */
void vd_op(struct vd *vd, uint16_t op, uint32_t guest_port, uint32_t host_port);

/**
 * vd_buffers() - @nr receive buffers of @size bytes, and notify
 */
void vd_buffers(struct vd *vd, unsigned int nr, uint32_t size);

/**
 * vd_get() - the next packet that was received, if there is one
 *
 * Its data stay until 64 buffers later.
 */
bool vd_get(struct vd *vd, struct pkt *p);

/**
 * vd_expect() - it must be @op on these ports
 */
struct pkt vd_expect(struct vd *vd, uint16_t op, uint32_t guest_port, uint32_t host_port);

#endif /* LKVM_TESTS_VSOCK_DRIVER_H */
