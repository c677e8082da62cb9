/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Message-signalled interrupts: where a device's messages go.
 *
 * A message is a store of 32 bits to an address that the guest chose. Who takes
 * messages (the kernel's interrupt files, a recorder in a test) is a sink; it keeps a
 * route for each message that may be sent at present, and gives it a handle. A device
 * holds a handle while its vector is enabled and not masked, tells of every change,
 * and gives it back when the vector is masked, disabled or reset. So a sink's table of
 * routes never holds more than what can fire. To send a message needs no route's handle
 * and none of the sink's locks: whoever changes routes, which may take long, delays nobody
 * who sends.
 *
 * A machine that takes no messages has no sink, and its devices no MSI-X.
 *
 * Any thread, with the device's locks held. Lock order: device -> sink.
 */
#ifndef LKVM_MSI_H
#define LKVM_MSI_H

#include "lkvm/util.h"

struct msi_sink;

/* No route. */
#define MSI_NONE UINT32_MAX

/**
 * struct msi_sink_ops - what a sink offers to devices; the last three may be NULL
 * @update: from now on the route *@handle stands for a store of @data to @address;
 *          where *@handle is MSI_NONE a route is made and its handle put there.
 *          Returns 0, or a negative errno (no route left, an address that no
 *          interrupt file has); then *@handle is as before, and so is its route.
 * @send: @data to @address, for which the caller has a route. Returns 0, or a negative
 *        errno: it has not been taken, and the sink has said so.
 * @release: give a route back; it is not used any more, and no eventfd is attached to it
 * @attach: what is written to eventfd @fd shall send the route's message, without a thread
 *          of this process where the sink can do that; counts from @commit on. Where the
 *          sink can't, who else waits for @fd sees it as before.
 * @detach: not any more: when it returns nothing is sent for @fd
 * @commit: carry out all that was updated and attached since the last time
 *
 * Changes to a route that has eventfds attached count from @commit on.
 */
struct msi_sink_ops {
	int (*update)(struct msi_sink *sink, uint32_t *handle, uint64_t address, uint32_t data);
	int (*send)(struct msi_sink *sink, uint64_t address, uint32_t data);
	void (*release)(struct msi_sink *sink, uint32_t handle);
	void (*attach)(struct msi_sink *sink, uint32_t handle, int fd);
	void (*detach)(struct msi_sink *sink, uint32_t handle, int fd);
	void (*commit)(struct msi_sink *sink);
};

struct msi_sink {
	const struct msi_sink_ops *ops;
};

#endif /* LKVM_MSI_H */
