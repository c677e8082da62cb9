// SPDX-License-Identifier: GPL-2.0-only
/*
 * --pmem: from the option's words to a file that is guest memory
 * (include/lkvm/virtio/kind.h).
 *
 * The file keeps its size: it is mapped as it is, whole, and has to be a multiple of
 * 2 MiB, as what the guest makes of it comes in such blocks and the rest would be lost.
 * It is locked as a disk's image is, so that it can't be both at a time.
 *
 * Not shared with vhost-user back ends (they are given RAM only), and no pages of it are
 * ever discarded: a guest that offers its addresses to the balloon is ignored.
 *
 * Thread and lock: building is before the guest; a flush is a worker's. Nothing is
 * saved: the words are.
 */
#include "lkvm/suboptions.h"
#include "lkvm/virtio/blk.h"
#include "lkvm/virtio/pmem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/**
 * struct pmem_file - what the device's environment is
 */
struct pmem_file {
	int fd;
	struct workers *workers;
};

static const struct suboption rows[] = {
	{"ro", SUBOPTION_FLAG, offsetof(struct blk_file_config, read_only), .help = "read-only"},
	{.name = NULL},
};

/* What the guest wrote by itself is dirty in the page cache, as if it were written. */
static int file_flush(void *opaque)
{
	struct pmem_file *file = opaque;
	int ret;

	do
		ret = fdatasync(file->fd);
	while (ret && errno == EINTR);
	return ret ? -errno : 0;
}

static bool file_post(void *opaque, struct worker_job *job)
{
	struct pmem_file *file = opaque;

	return workers_post(file->workers, job);
}

static void file_destroy(void *opaque)
{
	struct pmem_file *file = opaque;

	workers_destroy(file->workers);
	if (file->fd >= 0)
		close(file->fd);
	free(file);
}

static const struct virtio_pmem_env file_env = {
	.flush = file_flush,
	.post = file_post,
	.destroy = file_destroy,
};

/* A regular file of a good size, open; or -1. */
static int open_file(const struct blk_file_config *c, uint64_t *size, struct error *err)
{
	struct stat st;
	char text[32];
	int fd;

	/* Before it is opened: opening a FIFO or a device can do something. */
	if (stat(c->path, &st))
		return fail_errno(err, errno, "cannot open %s", c->path);
	if (!S_ISREG(st.st_mode))
		return fail(err, "%s is no regular file", c->path);
	fd = open(c->path, (c->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return fail_errno(err, errno, "cannot open %s%s", c->path,
				  c->read_only ? "" : " for writing (',ro' reads only)");
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		fail(err, "%s is no regular file", c->path);
	} else if (st.st_size <= 0 || (uint64_t)st.st_size % VIRTIO_PMEM_ALIGN) {
		fail(err,
		     "%s has %lld bytes: persistent memory comes in blocks of %s, at least one",
		     c->path, (long long)st.st_size,
		     format_size(text, sizeof(text), VIRTIO_PMEM_ALIGN));
	} else {
		*size = (uint64_t)st.st_size;
		return fd;
	}
	close(fd);
	return -1;
}

/* @file belongs to the device where there is one. */
static struct virtio_pmem *make(const struct virtio_world *world, const struct blk_file_config *c,
				struct pmem_file *file, struct error *err)
{
	struct virtio_pmem_config region = {.read_only = c->read_only};
	struct virtio_pmem *pmem;

	file->fd = open_file(c, &region.size, err);
	if (file->fd < 0 || (!world->dry_run && blk_file_lock(file->fd, c, world->log, err)))
		return NULL;
	file->workers = workers_create(world->name, 1);
	if (!file->workers) {
		fail(err, "no memory");
		return NULL;
	}
	region.start = world->place(world->opaque, file->fd, region.size, c->read_only, err);
	if (!region.start)
		return NULL;
	pmem = virtio_pmem_create(world->name, world->mem, world->log, &region, &file_env, file);
	if (!pmem)
		fail(err, "no memory");
	return pmem;
}

static int build(const struct virtio_world *world, const char *text, struct virtio_device **vdev,
		 struct error *err)
{
	struct pmem_file *file = calloc(1, sizeof(*file));
	struct blk_file_config c = {0};
	struct virtio_pmem *pmem = NULL;
	char *copy = NULL;

	if (!file)
		return fail(err, "no memory");
	file->fd = -1;
	if (!suboptions_parse(text, &c.path, rows, &c, &copy, err)) {
		if (*c.path)
			pmem = make(world, &c, file, err);
		else
			fail(err, "which file? (PATH[,ro])");
	}
	free(copy);
	if (!pmem) {
		file_destroy(file);
		return -1;
	}
	*vdev = virtio_pmem_device(pmem);
	return 0;
}

const struct virtio_kind virtio_pmem_kind = {
	.option = "pmem",
	.arg = "PATH[,ro]",
	.help = "a file as the guest's persistent memory (a multiple of 2M; /dev/pmem0, mount -o "
		"dax)",
	.words = rows,
	.prefix = "pmem",
	.build = build,
};
