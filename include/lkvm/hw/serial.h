/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The serial port: a National Semiconductor 16550A (8250 family) as a pure
 * model. Bytes leave and enter through struct serial_env; no system call here.
 *
 * One lock inside; every function may be called from any thread. The env
 * callbacks run with that lock held and must not call back into the port.
 */
#ifndef LKVM_HW_SERIAL_H
#define LKVM_HW_SERIAL_H

#include "lkvm/bus.h"
#include "lkvm/device.h"
#include "lkvm/irq.h"

#define SERIAL_WINDOW 8
#define SERIAL_FIFO 16
/* Bytes that wait for the host to take them: one host write per burst. */
#define SERIAL_TX_BUFFER 4096

/**
 * struct serial_env - the world of a serial port
 * @write: bytes for the host, non-blocking; returns how many were taken
 * @flush_soon: bytes wait and nothing is scheduled: call serial_flush() within
 *              about a millisecond; asked once until serial_flush() was called
 * @rx_room: the guest listens and its receiver is empty (called once after
 *           serial_rx_room() was 0)
 *
 * All are needed. @write may also be called from a vCPU thread, when the buffer
 * is full, without a flush_soon before.
 */
struct serial_env {
	size_t (*write)(void *opaque, const uint8_t *buf, size_t len);
	void (*flush_soon)(void *opaque);
	void (*rx_room)(void *opaque);
};

struct serial;

/**
 * serial_create() - a port in its reset state, or NULL where there is no memory
 * @name, @env: stay the caller's and must live as long as the port
 */
struct serial *serial_create(const char *name, struct irq_line irq, const struct serial_env *env,
			     void *opaque);

/**
 * serial_device() - the device inside, for the machine's table
 */
struct device *serial_device(struct serial *port);

/**
 * serial_ops - for a struct mmio_region of SERIAL_WINDOW bytes whose dev is the port
 */
extern const struct mmio_ops serial_ops;

/**
 * serial_rx_room() - how many bytes serial_rx() takes now
 *
 * At most 1 where the guest has not enabled the FIFOs. 0 in loopback, and while
 * nobody listens: neither is the data interrupt enabled nor does the guest poll.
 * After a 0 rx_room says when to ask again.
 */
size_t serial_rx_room(struct serial *port);

/**
 * serial_rx_waiting() - how many bytes of serial_rx() the guest has not read yet
 */
size_t serial_rx_waiting(struct serial *port);

/**
 * serial_rx() - bytes are put on the wire
 *
 * As many as the last serial_rx_room() said are safe whatever the guest did since:
 * they wait until it listens. Of more, what is over SERIAL_FIFO is lost (overrun).
 */
void serial_rx(struct serial *port, const uint8_t *buf, size_t len);

/**
 * serial_flush() - hand waiting bytes to the host
 *
 * Called after flush_soon, when the host drained, and before the VM ends.
 *
 * Return: true where nothing waits any more. False: the host took less; call
 * again when it takes more. A guest that waits for the transmitter starts again
 * only by that call.
 */
bool serial_flush(struct serial *port);

#endif /* LKVM_HW_SERIAL_H */
