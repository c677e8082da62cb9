/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The virtio socket device: connections between programs in the guest and programs
 * on the host, by context ID (CID) and port.
 *
 * Two forms. In the one of virtio_vsock_create() lkvm carries the bytes itself,
 * between the guest's packets and streams that a host side (struct vsock_host_ops)
 * gives it; vsock_unix_build() makes the one whose streams are unix sockets. In the
 * one of vsock_vhost_build() the host's kernel does (/dev/vhost-vsock), and programs
 * on the host use AF_VSOCK.
 */
#ifndef LKVM_VIRTIO_VSOCK_H
#define LKVM_VIRTIO_VSOCK_H

#include "lkvm/virtio/kind.h"
#include "lkvm/virtio/vhost.h"

/* The host's CID, by the specification. */
#define VSOCK_HOST_CID 2

/* The least and the largest CID a guest can have. */
#define VSOCK_MIN_CID 3
#define VSOCK_MAX_CID UINT32_C(0xfffffffe)

/* Connections of one VM, in any state. */
#define VSOCK_MAX_CONNECTIONS 256

/* What the guest may send ahead of a host program that does not read, per connection. */
#define VSOCK_BUFFER (256 * KIB)

/* Ports of connections that the host opens: from here on. */
#define VSOCK_FIRST_PORT UINT32_C(0x40000000)
#define VSOCK_LAST_PORT UINT32_C(0x7fffffff)

/* Flags of a shutdown, as in the packets: who says so will not ... */
#define VSOCK_SHUT_RECEIVE 1
#define VSOCK_SHUT_SEND 2

struct virtio_vsock;
struct vsock_conn;
struct vsock_ready;

/**
 * struct vsock_host_ops - the host's side of a socket device
 * @start: the guest is about to run (outside; see struct virtio_device_ops)
 * @connect: the guest wants to reach host port @port. *@stream is the new stream, of
 *           which @conn is to be told. 0: it is connected; -EINPROGRESS:
 *           virtio_vsock_connected() will be called; another -errno: it can't be.
 * @accepted: the guest took the connection that virtio_vsock_open() asked for
 * @recv: up to the size of @iov; bytes, 0 at the stream's end, or -errno (-EAGAIN:
 *        nothing now, VSOCK_READABLE will be said). Clears *@more where nothing is
 *        left and VSOCK_READABLE will be said.
 * @send: bytes taken, or -errno (-EAGAIN: none now)
 * @want_send: say VSOCK_WRITABLE when @send can take bytes, or no more
 * @shutdown: as shutdown(2): SHUT_RD or SHUT_WR
 * @close: the stream's end; it is gone
 * @arm: call virtio_vsock_tick() at @deadline_ns, from the loop's thread
 * @now: CLOCK_MONOTONIC in ns
 * @destroy: free everything; all streams were closed
 *
 * None blocks. All but @start and @destroy are called inside, on any thread.
 */
struct vsock_host_ops {
	int (*start)(void *opaque, struct error *err);
	int (*connect)(void *opaque, struct vsock_conn *conn, uint32_t port, void **stream);
	void (*accepted)(void *stream, uint32_t host_port);
	long (*recv)(void *stream, const struct iovec *iov, unsigned int nr, bool *more);
	long (*send)(void *stream, const struct iovec *iov, unsigned int nr);
	void (*want_send)(void *stream, bool on);
	void (*shutdown)(void *stream, int how);
	void (*close)(void *stream);
	void (*arm)(void *opaque, uint64_t deadline_ns);
	uint64_t (*now)(void *opaque);
	void (*destroy)(void *opaque);
};

/**
 * virtio_vsock_create() - a socket device
 * @cid: the guest's, VSOCK_MIN_CID to VSOCK_MAX_CID
 * @opaque: the host's side, which belongs to the device when this succeeds
 *
 * Return: NULL where there is no memory.
 */
struct virtio_vsock *virtio_vsock_create(const char *name, struct guest_memory *mem,
					 struct log *log, uint64_t cid,
					 const struct vsock_host_ops *host, void *opaque);

/**
 * virtio_vsock_device() - for the transport, which owns it then
 */
struct virtio_device *virtio_vsock_device(struct virtio_vsock *vsock);

/* --- for the host's side, inside -------------------------------------------------- */

/**
 * virtio_vsock_open() - a host program wants to reach the guest's port @port
 *
 * Return: the connection, or NULL where the guest has no driver at work, or there are
 * too many. Then accepted or close is called, not from within this.
 */
struct vsock_conn *virtio_vsock_open(struct virtio_vsock *vsock, uint32_t port, void *stream);

/**
 * virtio_vsock_connected() - what ops->connect began is done, or (@ok false) can't be
 *
 * In the second case the stream is closed.
 */
void virtio_vsock_connected(struct vsock_conn *conn, bool ok);

#define VSOCK_READABLE 1
#define VSOCK_WRITABLE 2
#define VSOCK_ENDING 4 /* the program sends no more than what can be read */
#define VSOCK_GONE 8   /* and takes nothing more */

/**
 * virtio_vsock_ready() - something happened at @conn's stream, which may be closed
 * when this returns
 * @what: VSOCK_* bits
 */
void virtio_vsock_ready(struct vsock_conn *conn, unsigned int what);

/**
 * virtio_vsock_flush() - give the guest what has come up; after the calls above
 */
void virtio_vsock_flush(struct virtio_vsock *vsock);

/* --- for the host's side, outside ---------------------------------------------------- */

/**
 * virtio_vsock_tick() - the time that was armed has come (loop's thread)
 */
void virtio_vsock_tick(struct virtio_vsock *vsock);

/* --- the forms a VM uses -------------------------------------------------------------- */

/**
 * vsock_ready_new() - listen for the guest's word that it is ready
 * @port: of the host, which the guest connects to
 *
 * Return: for one of the two below; NULL with @err set.
 */
struct vsock_ready *vsock_ready_new(const struct virtio_world *world, uint64_t cid, uint32_t port,
				    struct error *err);

/**
 * vsock_ready_free() - listen no more (loop's thread); NULL is allowed
 */
void vsock_ready_free(struct vsock_ready *ready);

/**
 * vsock_unix_build() - a socket device whose host side is unix sockets
 * @path: of the socket to listen on; port P of the host is the socket @path_P. NULL:
 *        NAME.vsock in the directory of the control socket
 * @ready: belongs to the device when this succeeds; NULL: none
 *
 * The guest's programs are reached by connecting to @path and saying "CONNECT PORT\n";
 * the answer is "OK HOSTPORT\n", or the end. The socket is made by the start operation
 * with mode 0600 and is removed at the end.
 *
 * Return: the device, or NULL with @err set.
 */
struct virtio_device *vsock_unix_build(const struct virtio_world *world, uint64_t cid,
				       const char *path, struct vsock_ready *ready,
				       struct error *err);

/**
 * vsock_vhost_build() - a socket device that the kernel serves
 * @vhost: /dev/vhost-vsock, open; it belongs to the device when this succeeds
 * @ready: likewise; NULL: none
 *
 * Return: the device, or NULL with @err set.
 */
struct virtio_device *vsock_vhost_build(const struct virtio_world *world, uint64_t cid,
					const struct vhost *vhost, struct vsock_ready *ready,
					struct error *err);

#define VHOST_VSOCK_PATH "/dev/vhost-vsock"

/* "--vsock CID[,uds=PATH][,vhost=auto|on|off][,ready=PORT]" */
extern const struct virtio_kind virtio_vsock_kind;

#endif /* LKVM_VIRTIO_VSOCK_H */
