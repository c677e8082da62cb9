// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kinds of virtio device there are, in the order of help. Each lives in a file of
 * its own; nothing else in lkvm knows their names.
 */
#include "lkvm/virtio/kind.h"

const struct virtio_kind *const virtio_kinds[] = {
	NULL,
};
