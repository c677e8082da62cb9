/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shared directories by virtio-9p: a 9P2000.L server inside lkvm, which resolves
 * every name beneath the shared directory.
 */
#ifndef LKVM_VIRTIO_P9_H
#define LKVM_VIRTIO_P9_H

#include "lkvm/virtio/kind.h"

/* Longest mount tag, in bytes. */
#define VIRTIO_P9_TAG_MAX 126

/**
 * enum p9_security - whose the guest's files are, and what it may make of them
 * @P9_PASSTHROUGH: owner and mode on the host are what the guest says. Needs root;
 *                  else new files belong to the user who runs lkvm, and a change of
 *                  owner fails with EPERM. The guest can't set a set-user-ID or
 *                  set-group-ID bit on a file.
 * @P9_SQUASH: everything belongs to the user who runs lkvm; a change of owner is
 *             accepted and forgotten
 * @P9_TRUSTED: as P9_PASSTHROUGH, set-user-ID and set-group-ID bits included
 */
enum p9_security {
	P9_PASSTHROUGH,
	P9_SQUASH,
	P9_TRUSTED,
};

/**
 * struct virtio_p9_config - how a share shall be
 * @tag: what the guest mounts it by: 1 to VIRTIO_P9_TAG_MAX bytes, no control characters
 * @read_only: nothing beneath the directory is ever changed
 * @max_fids: files and directories the guest may hold at a time; 0: by its memory
 * @max_open: host descriptors held for them; 0: by the process's limit
 */
struct virtio_p9_config {
	const char *tag;
	bool read_only;
	enum p9_security security;
	uint32_t max_fids, max_open;
};

struct virtio_p9;

/**
 * virtio_p9_create() - a share of the directory @dir
 * @dir: a descriptor of a directory (O_PATH will do); belongs to the share when this
 *       succeeds
 *
 * Return: NULL with @err set (tag, no directory, no /proc).
 */
struct virtio_p9 *virtio_p9_create(const char *name, struct guest_memory *mem, struct log *log,
				   int dir, const struct virtio_p9_config *config,
				   struct error *err);

/**
 * virtio_p9_device() - for the transport, which owns it then
 */
struct virtio_device *virtio_p9_device(struct virtio_p9 *p9);

/**
 * p9_build() - the same by the directory's path, for who builds a VM's devices
 * @ro: read-only
 *
 * For options that can be served by several means, of which this one is always there.
 *
 * Return: 0, or -1 with @err set.
 */
int p9_build(const struct virtio_world *world, const char *dir, const char *tag, bool ro,
	     struct virtio_device **vdev, struct error *err);

/* --9p */
extern const struct virtio_kind virtio_p9_kind;

#endif /* LKVM_VIRTIO_P9_H */
