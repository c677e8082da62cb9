/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Writing an initial RAM file system: a cpio archive in the format "newc" that Linux
 * unpacks (Documentation/driver-api/early-userspace/buffer-format.rst).
 *
 * Any thread, one at a time. The first failure sticks and is told by cpio_end().
 */
#ifndef LKVM_CPIO_H
#define LKVM_CPIO_H

#include "lkvm/util.h"

#include <sys/types.h>

/**
 * struct cpio - an archive under way
 * @fd: where it goes, from the file's position on, which is a multiple of 4
 * @inode: of the entry written last
 * @error: errno of the first failure, 0: none
 */
struct cpio {
	int fd;
	uint32_t inode;
	int error;
};

static inline void cpio_begin(struct cpio *c, int fd)
{
	*c = (struct cpio){.fd = fd};
}

/**
 * cpio_add() - an entry called @name (no leading slash; its directories come before it)
 * @mode: type and permissions; @device: of a device node, else 0
 * @data: @len bytes of content, up to 4 GiB less one
 */
void cpio_add(struct cpio *c, const char *name, mode_t mode, dev_t device, const void *data,
	      size_t len);

/**
 * cpio_end() - the entry that ends it
 *
 * Return: 0, or a negative errno: -EFBIG an entry was too large, else a write failed.
 */
int cpio_end(struct cpio *c);

#endif /* LKVM_CPIO_H */
