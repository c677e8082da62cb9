// SPDX-License-Identifier: GPL-2.0-only
/*
 * --9p DIR,TAG: a shared directory as an option (the spelling is kvmtool's).
 *
 * The directory is opened here, before the guest runs, and never by path again. A
 * share holds a descriptor for each file that the guest uses at a time, so the
 * process's soft limit of descriptors is raised to the hard one.
 *
 * No state; before the guest runs.
 */
#include "lkvm/suboptions.h"
#include "lkvm/virtio/p9.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static void raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	/* Where that is refused there are fewer. */
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int build(const struct virtio_world *world, const char *dir,
		 const struct virtio_p9_config *config, struct virtio_device **vdev,
		 struct error *err)
{
	struct virtio_p9 *p9;
	int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return fail_errno(err, errno, "the directory '%s' can't be opened", dir);
	if (faccessat(fd, ".", X_OK, 0)) {
		fail_errno(err, errno, "the directory '%s' can't be searched", dir);
		close(fd);
		return -1;
	}
	if (!world->dry_run)
		raise_limit();
	p9 = virtio_p9_create(world->name, world->mem, world->log, fd, config, err);
	if (!p9) {
		close(fd);
		return -1;
	}
	*vdev = virtio_p9_device(p9);
	return 0;
}

int p9_build(const struct virtio_world *world, const char *dir, const char *tag, bool ro,
	     struct virtio_device **vdev, struct error *err)
{
	struct virtio_p9_config config = {.tag = tag, .read_only = ro};

	return build(world, dir, &config, vdev, err);
}

/* --- the option --------------------------------------------------------------------------- */

/* DIR,TAG,WORDS: cut TAG out; what is left has the usual form. */
static int cut_tag(char *text, char *tag, struct error *err)
{
	char *from = text + (suboptions_end(text) - text), *to;
	size_t len;

	if (!*from)
		return fail(err, "DIR,TAG is needed: the directory, and the tag by which the "
				 "guest mounts it");
	to = from + 1 + (suboptions_end(from + 1) - (from + 1));
	len = (size_t)(to - from) - 1;
	if (memchr(from + 1, '=', len))
		return fail(err, "the mount tag must follow the directory, not '%.*s'", (int)len,
			    from + 1);
	if (memchr(from + 1, ',', len))
		return fail(err, "the mount tag has a comma");
	if (len > VIRTIO_P9_TAG_MAX)
		return fail(err, "the mount tag has %zu bytes; the limit is %d", len,
			    VIRTIO_P9_TAG_MAX);
	memcpy(tag, from + 1, len);
	tag[len] = '\0';
	memmove(from, to, strlen(to) + 1);
	return 0;
}

struct words {
	bool ro;
	int security;
};

static const char *const security_words[] = {
	[P9_PASSTHROUGH] = "passthrough",
	[P9_SQUASH] = "squash",
	[P9_TRUSTED] = "trusted",
	NULL,
};

static const struct suboption rows[] = {
	{"ro", SUBOPTION_FLAG, offsetof(struct words, ro), .help = "read-only"},
	{"security", SUBOPTION_WORD, offsetof(struct words, security), .words = security_words,
	 .help = "whose files are: the guest says (without root: the caller's); squash: the "
		 "caller's; trusted: the guest says, set-user-ID bits too (passthrough)"},
	{.name = NULL},
};

/* @dir points into @copy, which the caller frees, also after an error. */
static int parse(const char *text, const char **dir, char tag[VIRTIO_P9_TAG_MAX + 1],
		 struct words *words, char **copy, struct error *err)
{
	char *cut = strdup(text);
	int ret = -1;

	*copy = NULL;
	if (!cut)
		fail(err, "no memory");
	else if (!cut_tag(cut, tag, err))
		ret = suboptions_parse(cut, dir, rows, words, copy, err);
	free(cut);
	return ret;
}

static int build_option(const struct virtio_world *world, const char *text,
			struct virtio_device **vdev, struct error *err)
{
	struct words words = {.security = P9_PASSTHROUGH};
	struct virtio_p9_config config = {0};
	char tag[VIRTIO_P9_TAG_MAX + 1], *copy;
	const char *dir;
	int ret = parse(text, &dir, tag, &words, &copy, err);

	if (!ret) {
		config.tag = tag;
		config.read_only = words.ro;
		config.security = (enum p9_security)words.security;
		ret = build(world, dir, &config, vdev, err);
	}
	free(copy);
	return ret;
}

static bool share(const char *name, const char *text, struct virtio_shared *shared)
{
	struct words words = {0};
	struct error ignored;
	const char *dir;
	char *copy;
	bool good = !parse(text, &dir, shared->tag, &words, &copy, &ignored);

	(void)name;
	if (good) {
		shared->read_only = words.ro;
		shared->dir = strdup(dir);
		good = shared->dir;
	}
	free(copy);
	return good;
}

const struct virtio_kind virtio_p9_kind = {
	.option = "9p",
	.arg = "DIR,TAG[,WORD...]",
	.help = "share a directory, which the guest mounts as TAG (mount -t 9p -o "
		"trans=virtio,version=9p2000.L TAG /mnt)",
	.words = rows,
	.prefix = "9p",
	.share = share,
	.build = build_option,
};
