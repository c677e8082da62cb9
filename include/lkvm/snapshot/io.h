/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The file system as snapshots see it: one table of calls, so that tests can have any of
 * them fail, and a file that replaces another one whole or not at all.
 */
#ifndef LKVM_SNAPSHOT_IO_H
#define LKVM_SNAPSHOT_IO_H

#include "lkvm/util.h"

/**
 * struct snapshot_io_ops - the calls beneath; errors are returned as -errno
 * @write: may write less than asked
 */
struct snapshot_io_ops {
	long (*write)(void *opaque, int fd, const void *buf, size_t len, uint64_t offset);
	int (*truncate)(void *opaque, int fd, uint64_t size);
	int (*sync)(void *opaque, int fd);
	int (*rename)(void *opaque, int dir, const char *from, const char *to);
};

struct snapshot_io {
	const struct snapshot_io_ops *ops;
	void *opaque;
};

/* The real one. */
extern const struct snapshot_io_ops snapshot_io_linux;

/**
 * struct snapshot_target - a file that is made beside the one that it will replace
 * @fd: to be written through; open for reading too
 */
struct snapshot_target {
	struct snapshot_io io;
	int fd, dir;
	char name[256], temporary[256];
};

/**
 * snapshot_target_open() - a new empty file beside @path, in the same directory
 *
 * What is at @path must be a plain file, or nothing.
 *
 * Return: 0, or -1 with @err set.
 */
int snapshot_target_open(struct snapshot_target *t, struct snapshot_io io, const char *path,
			 struct error *err);

/**
 * snapshot_target_commit() - bring it to the disk, put it in place, and close
 *
 * Return: 0; -1 with @err set: @path is what it was before. (But where the last step, the
 * directory's own way to the disk, fails: then the new file is in place, and may not be
 * after a crash of the host.)
 */
int snapshot_target_commit(struct snapshot_target *t, struct error *err);

/**
 * snapshot_target_abort() - remove it and close; @path is what it was before
 */
void snapshot_target_abort(struct snapshot_target *t);

#endif /* LKVM_SNAPSHOT_IO_H */
