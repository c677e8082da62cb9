/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The one life cycle that every device has.
 *
 *   xxx_create() -> activate -> { quiesce -> transfer -> resume }* -> reset* -> destroy
 *
 * The machine's device table (riscv/machine.c) is walked from top to bottom for
 * activate, resume, reset and transfer, and from bottom to top for quiesce and
 * destroy. All of these run on the loop's thread; for quiesce, transfer, resume
 * and reset all vCPUs are parked.
 */
#ifndef LKVM_DEVICE_H
#define LKVM_DEVICE_H

#include "lkvm/stat.h"
#include "lkvm/util.h"
#include "lkvm/xfer.h"

struct device;

/**
 * struct device_ops - what a kind of device does at each station; NULL: nothing
 * @kind: a short fixed name ("plic", "serial"); part of the snapshot format
 * @activate: everything exists, the guest has not run: connect to the world
 * @quiesce: stop touching guest memory and lines, drain what is under way
 * @resume: the other way round
 * @transfer: save or load all state the guest can see (see xfer.h)
 * @reset: back to the state after power-on
 * @stat: its figures, @dev->name being the owner; the VM may run
 * @destroy: free everything, the device included
 */
struct device_ops {
	const char *kind;
	int (*activate)(struct device *dev, struct error *err);
	void (*quiesce)(struct device *dev);
	void (*resume)(struct device *dev);
	void (*transfer)(struct device *dev, struct xfer *x);
	void (*reset)(struct device *dev);
	void (*stat)(struct device *dev, const struct stat_sink *sink);
	void (*destroy)(struct device *dev);
};

/**
 * struct device - embedded first in each device's own struct
 * @ops: its kind
 * @name: unique in its VM ("serial0"), for messages and snapshots
 */
struct device {
	const struct device_ops *ops;
	const char *name;
};

#endif /* LKVM_DEVICE_H */
