// SPDX-License-Identifier: GPL-2.0-only
/*
 * --share DIR[:TAG][,ro]: a shared directory by the best means there is.
 *
 * That is virtio-fs where virtiofsd is installed and starts (virtio/fs.c), and else
 * virtio-9p, which lkvm serves itself. The guest has to name the kind when it mounts, so
 * the choice is said at any level: as a plain line for the first, as a warning with the
 * reason for the second. A restore comes here too, with the same words; it fails in the device's
 * own checks where the choice differs from that of the saved VM.
 *
 * Thread and lock: while the VM is built. Nothing is saved: the words are.
 */
#include "lkvm/suboptions.h"
#include "lkvm/virtio/fs.h"
#include "lkvm/virtio/p9.h"
#include "lkvm/virtio/vhost_user.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct words {
	bool ro;
};

static const struct suboption rows[] = {
	{"ro", SUBOPTION_FLAG, offsetof(struct words, ro), .help = "read-only"},
	{.name = NULL},
};

/*
 * What follows the last colon is the tag, unless it can only be part of a path. A
 * directory with a colon in its last component is said with a tag.
 */
static const char *cut_tag(char *text)
{
	char *colon = strrchr(text, ':');

	if (!colon || strchr(colon, '/'))
		return NULL;
	*colon = '\0';
	return colon + 1;
}

static bool good_tag(const char *tag)
{
	size_t i;

	for (i = 0; tag[i]; i++)
		if (tag[i] <= ' ' || tag[i] > '~')
			return false;
	return i >= 1 && i <= VHOST_USER_FS_TAG_MAX;
}

static int fall_back(const struct virtio_world *world, const char *dir, const char *tag, bool ro,
		     const char *why, struct virtio_device **vdev, struct error *err)
{
	if (p9_build(world, dir, tag, ro, vdev, err))
		return -1;
	log_warning(world->log,
		    "%s: %s is served by 9p, because %s: mount -t 9p -o trans=virtio %s DIR",
		    world->name, dir, why, tag);
	return 0;
}

static int build_share(const struct virtio_world *world, const char *dir, const char *tag, bool ro,
		       struct virtio_device **vdev, struct error *err)
{
	struct error why;

	if (!virtio_fs_installed())
		fail(&why, "%s is not installed", VIRTIO_FS_PROGRAM);
	else if (!virtio_fs_build(world, dir, tag, ro, vdev, &why))
		return 0;
	return fall_back(world, dir, tag, ro, why.msg, vdev, err);
}

static int build_words(const struct virtio_world *world, char *first, const struct words *w,
		       struct virtio_device **vdev, struct error *err)
{
	const char *tag = cut_tag(first);
	struct stat st;
	char *dir;
	int ret;

	if (!*first)
		return fail(err, "which directory? (DIR[:TAG][,ro])");
	if (tag && !good_tag(tag))
		return fail(err, "the tag is 1 to %d printable characters without spaces, not '%s'",
			    VHOST_USER_FS_TAG_MAX, tag);
	dir = realpath(first, NULL);
	if (!dir || stat(dir, &st)) {
		fail_errno(err, errno, "%s", first);
		free(dir);
		return -1;
	}
	if (S_ISDIR(st.st_mode))
		ret = build_share(world, dir, tag ? tag : world->name, w->ro, vdev, err);
	else
		ret = fail(err, "%s is no directory", first);
	free(dir);
	return ret;
}

static int build(const struct virtio_world *world, const char *text, struct virtio_device **vdev,
		 struct error *err)
{
	struct words w = {0};
	const char *first;
	char *copy;
	int ret = suboptions_parse(text, &first, rows, &w, &copy, err);

	/* It points into the copy, which is ours. */
	if (!ret)
		ret = build_words(world, (char *)(uintptr_t)first, &w, vdev, err);
	free(copy);
	return ret;
}

static bool shares_memory(const char *text)
{
	(void)text;
	return virtio_fs_installed();
}

static bool share(const char *name, const char *text, struct virtio_shared *shared)
{
	struct words w = {0};
	const char *first, *tag;
	struct error ignored;
	char *copy;
	bool good = !suboptions_parse(text, &first, rows, &w, &copy, &ignored);

	if (good) {
		tag = cut_tag((char *)(uintptr_t)first);
		snprintf(shared->tag, sizeof(shared->tag), "%s", tag ? tag : name);
		shared->read_only = w.ro;
		shared->dir = strdup(first);
		good = shared->dir;
	}
	free(copy);
	return good;
}

const struct virtio_kind virtio_share_kind = {
	.option = "share",
	.arg = "DIR[:TAG][,ro]",
	.help = "a directory of the host, which the guest mounts as TAG (share0, ...): by "
		"virtiofsd "
		"where it is installed (mount -t virtiofs), else by 9p",
	.words = rows,
	.prefix = "share",
	.shares_memory = shares_memory,
	.share = share,
	.build = build,
};
