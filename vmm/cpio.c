// SPDX-License-Identifier: GPL-2.0-only
/*
 * Archives for initial RAM file systems (include/lkvm/cpio.h).
 *
 * An entry is a header of 110 characters (a magic number and thirteen fields of eight hex
 * digits), the name with a NUL, and the content, each of them padded to a multiple of four.
 * Owner and times are 0, so that the same content makes the same archive. No state.
 */
#include "lkvm/cpio.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define HEADER 110

static void put(struct cpio *c, const void *data, size_t len)
{
	static const char zeroes[4];
	size_t pad = -len % sizeof(zeroes);

	if (c->error)
		return;
	if (write_all(c->fd, data, len) < 0 || write_all(c->fd, zeroes, pad) < 0)
		c->error = errno;
}

void cpio_add(struct cpio *c, const char *name, mode_t mode, dev_t device, const void *data,
	      size_t len)
{
	char head[HEADER + 256 + 1];
	int n;

	if (len > UINT32_MAX || strlen(name) >= sizeof(head) - HEADER) {
		c->error = c->error ? c->error : EFBIG;
		return;
	}
	/* ino mode uid gid nlink mtime size, the device it is on, the one it is, name, sum */
	n = snprintf(head, sizeof(head),
		     "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s", ++c->inode,
		     (unsigned int)mode, 0, 0, S_ISDIR(mode) ? 2 : 1, 0, (unsigned int)len, 0, 0,
		     major(device), minor(device), (unsigned int)strlen(name) + 1, 0, name);
	put(c, head, (size_t)n + 1);
	put(c, data, len);
}

int cpio_end(struct cpio *c)
{
	c->inode = UINT32_MAX;
	cpio_add(c, "TRAILER!!!", 0, 0, NULL, 0);
	return -c->error;
}
