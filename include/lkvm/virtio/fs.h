/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shared directories by virtio-fs: the file system is served by virtiofsd, a program of
 * its own, which lkvm starts and speaks vhost-user with.
 */
#ifndef LKVM_VIRTIO_FS_H
#define LKVM_VIRTIO_FS_H

#include "lkvm/virtio/kind.h"

/* The program, looked for as helper_find() does. */
#define VIRTIO_FS_PROGRAM "virtiofsd"

/**
 * virtio_fs_installed() - is there a virtiofsd?
 */
bool virtio_fs_installed(void);

/**
 * virtio_fs_build() - a share of the directory @dir under the name @tag
 * @dir: absolute path of a directory
 * @tag: 1 to VHOST_USER_FS_TAG_MAX bytes
 * @ro: virtiofsd lets nothing be changed
 *
 * Starts virtiofsd, caged as well as it can be here, and waits until it answers. For a
 * dry run nothing is started. Guest memory must be shared (memory_share()).
 *
 * Return: 0 (and one line at info level says how it is served), or -1 with @err set.
 */
int virtio_fs_build(const struct virtio_world *world, const char *dir, const char *tag, bool ro,
		    struct virtio_device **vdev, struct error *err);

/* --share: virtio-fs where it can be had, else virtio-9p (virtio/share.c) */
extern const struct virtio_kind virtio_share_kind;

#endif /* LKVM_VIRTIO_FS_H */
