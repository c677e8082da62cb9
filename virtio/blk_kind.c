// SPDX-License-Identifier: GPL-2.0-only
/*
 * -d/--disk: from the option's words to a disk (include/lkvm/virtio/kind.h).
 *
 * A disk has a queue for each vCPU, so that a guest's CPUs need not share one, and
 * queues of 512 entries, so that a request of 1 MiB in pages (256 of them) is one.
 *
 * Thread and lock: while the VM is built. Nothing is saved: the words are.
 */
#include "lkvm/suboptions.h"
#include "lkvm/virtio/blk.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_QUEUE_SIZE 512
#define QUEUE_SIZE_LIMIT 1024

static const char *const aio_words[] = {
	[BLK_AIO_AUTO] = "auto",
	[BLK_AIO_URING] = "uring",
	[BLK_AIO_THREADS] = "threads",
	[BLK_AIO_NONE] = "none",
	NULL,
};

struct disk_words {
	bool ro, direct;
	const char *serial, *format;
	uint64_t queues, queue_size;
	int aio;
};

static const struct suboption rows[] = {
	{"ro", SUBOPTION_FLAG, offsetof(struct disk_words, ro), .help = "read-only"},
	{"direct", SUBOPTION_FLAG, offsetof(struct disk_words, direct),
	 .help = "past the host's page cache"},
	{"serial", SUBOPTION_STRING, offsetof(struct disk_words, serial), .arg = "S",
	 .help = "serial number that the guest reads"},
	{"format", SUBOPTION_STRING, offsetof(struct disk_words, format), .arg = "raw",
	 .help = "the only format; --vhost-user brings others"},
	{"queues", SUBOPTION_UINT, offsetof(struct disk_words, queues), VIRTIO_BLK_MAX_QUEUES,
	 .help = "up to 16 (as many as vCPUs)"},
	{"queue-size", SUBOPTION_UINT, offsetof(struct disk_words, queue_size), QUEUE_SIZE_LIMIT,
	 .help = "entries of each, up to 1024 (512)"},
	{"aio", SUBOPTION_WORD, offsetof(struct disk_words, aio), .words = aio_words,
	 .help = "who carries requests out: io_uring, threads, or the vCPU itself; auto: "
		 "io_uring where there is one, else threads"},
	{.name = NULL},
};

static bool printable(const char *text)
{
	for (; *text; text++)
		if (*text <= ' ' || *text > '~')
			return false;
	return true;
}

static int check(const char *path, const struct disk_words *w, struct error *err)
{
	if (!*path)
		return fail(err, "which file? (PATH[,ro][,direct]…)");
	if (w->format && strcmp(w->format, "raw") != 0)
		return fail(
			err,
			"lkvm itself reads and writes raw images only, not 'format=%s': let "
			"qemu-storage-daemon serve the image (--blockdev … --export "
			"type=vhost-user-blk,…), and name its socket: --vhost-user blk,socket=PATH",
			w->format);
	if (w->serial && !printable(w->serial))
		return fail(err, "'serial' consists of printable characters without spaces");
	return 0;
}

/*
 * A qcow2 image taken for a raw one gives the guest nonsense, and is ruined by what the guest
 * writes. Who says "format=raw" means it.
 */
static int check_content(const char *path, const struct disk_words *w, struct error *err)
{
	static const char magic[] = {'Q', 'F', 'I', '\xfb'};
	char begin[sizeof(magic)] = "";
	struct stat st;
	int fd;

	if (w->format || stat(path, &st) || !S_ISREG(st.st_mode))
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0; /* opening it for good says why */
	if (read_all(fd, begin, sizeof(begin)) < 0)
		begin[0] = '\0';
	close(fd);
	if (memcmp(begin, magic, sizeof(magic)) != 0)
		return 0;
	return fail(
		err,
		"%s is a qcow2 image, and lkvm itself reads and writes raw ones only: convert it "
		"(qemu-img convert -O raw), or serve it by qemu-storage-daemon and "
		"--vhost-user blk; ',format=raw' takes it as it is",
		path);
}

/* @backend is the disk's or closed afterwards. */
static struct virtio_blk *make_disk(const struct virtio_world *world, const struct disk_words *w,
				    const struct blk_backend *backend, struct error *err)
{
	const struct virtio_blk_config config = {
		.serial = w->serial,
		.queues = (unsigned int)w->queues,
		.queue_max = (uint16_t)w->queue_size,
	};
	const struct virtio_blk_env *env = NULL;
	struct virtio_blk *blk = NULL;
	struct blk_aio *aio = NULL;

	if (w->aio != BLK_AIO_NONE) {
		env = &blk_aio_env;
		aio = blk_aio_create((enum blk_aio_mode)w->aio, world->name, backend, world->log,
				     err);
	}
	if (!env || aio)
		blk = virtio_blk_create(world->name, world->mem, world->log, &config, backend, env,
					aio, err);
	if (!blk && aio)
		env->destroy(aio);
	if (!blk)
		backend->ops->close(backend->opaque);
	return blk;
}

static int build(const struct virtio_world *world, const char *text, struct virtio_device **vdev,
		 struct error *err)
{
	struct disk_words w = {
		.queues = min_u64(world->nr_vcpus, VIRTIO_BLK_MAX_QUEUES),
		.queue_size = DEFAULT_QUEUE_SIZE,
		.aio = BLK_AIO_AUTO,
	};
	struct blk_file_config image = {0};
	struct virtio_blk *blk = NULL;
	struct blk_backend backend;
	char *copy;

	if (!suboptions_parse(text, &image.path, rows, &w, &copy, err) &&
	    !check(image.path, &w, err) && !check_content(image.path, &w, err)) {
		image.read_only = w.ro;
		image.direct = w.direct;
		if (!blk_file_open(&image, !world->dry_run, world->log, &backend, err))
			blk = make_disk(world, &w, &backend, err);
	}
	free(copy);
	if (!blk)
		return -1;
	*vdev = virtio_blk_device(blk);
	return 0;
}

const struct virtio_kind virtio_blk_kind = {
	.option = "disk",
	.letter = 'd',
	.arg = "PATH[,WORD...]",
	.help = "a raw image or block device as a disk",
	.words = rows,
	.prefix = "disk",
	.build = build,
};
