// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kinds of virtio device there are, in the order of help. Each lives in a file of
 * its own; nothing else in lkvm knows their names.
 */
#include "lkvm/virtio/balloon.h"
#include "lkvm/virtio/blk.h"
#include "lkvm/virtio/button.h"
#include "lkvm/virtio/console.h"
#include "lkvm/virtio/fs.h"
#include "lkvm/virtio/net.h"
#include "lkvm/virtio/p9.h"
#include "lkvm/virtio/pmem.h"
#include "lkvm/virtio/rng.h"
#include "lkvm/virtio/vhost_user.h"
#include "lkvm/virtio/vsock.h"

/* clang-format off */
const struct virtio_kind *const virtio_kinds[] = {
	&virtio_blk_kind,
	&virtio_pmem_kind,
	&virtio_net_kind,
	&virtio_vsock_kind,
	&virtio_vhost_user_kind,
	&virtio_share_kind,
	&virtio_p9_kind,
	&virtio_console_port_kind,
	&virtio_rng_kind,
	&virtio_balloon_kind,
	&virtio_button_kind,
	NULL,
};
/* clang-format on */
