// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-fs: virtio 1.2 and 1.3, section 5.11, with virtiofsd behind vhost-user. The
 * device itself is vhost_user_device.c; here virtiofsd is started and ended.
 *
 * How they meet. virtiofsd wants a socket that listens. It gets one as descriptor 3, with
 * our connection waiting in it already: the name that it had to be bound to lay in a
 * directory which only we can enter, and is gone before virtiofsd starts. When our end
 * closes, virtiofsd ends; when virtiofsd ends, the device needs a reset that it can't come
 * back from, one line says so, and the VM goes on.
 *
 * Its cage. virtiofsd can lock itself up in the shared directory by namespaces, as root
 * also by chroot, or not at all. Which of them works depends on the host (users may not
 * be allowed to make namespaces; the root of an initramfs can't be pivoted), so they are
 * tried in this order, the next where virtiofsd gave up, and the one that worked is told; that
 * there is none, as a warning with the reason. Without any of them the guest still reaches
 * nothing but the directory, as virtiofsd resolves names one at a time and never follows a link
 * for the guest; what is missing is the second fence.
 *
 * Whose files. Run by root, virtiofsd gives files the owners and modes that the guest
 * asks for, set-user-ID bits included. Run by a user, everything is that user's: the
 * guest's root stands for them, and other owners can't be made.
 *
 * Thread and lock: building and the end of virtiofsd are the loop's thread, or before it.
 * What is saved: virtiofsd's own state, where its version can give it.
 */
#include "lkvm/virtio/fs.h"

#include "lkvm/helper.h"
#include "lkvm/virtio/vhost_user.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* How long it may take until it answers, on a machine that has much to do. */
#define START_MS 20000

/* How long virtiofsd may take to end after it failed, so that its reason can be told. */
#define LAST_WORDS_MS 5000

/**
 * struct fs - the virtiofsd of one share
 */
struct fs {
	struct helper *helper;
	struct vhost_user_device *dev;
};

bool virtio_fs_installed(void)
{
	char path[PATH_MAX];

	return helper_find(VIRTIO_FS_PROGRAM, path);
}

/* --- the socket -------------------------------------------------------------------- */

/* A name for a socket in a new directory of our own; @dir is its length in @path. */
static int private_name(char *path, size_t len, size_t *dir, struct error *err)
{
	const char *base = getenv("XDG_RUNTIME_DIR");
	int n = snprintf(path, len, "%s/lkvm-fs-XXXXXX", base && *base == '/' ? base : "/tmp");

	if (n < 0 || (size_t)n + sizeof("/s") > len)
		return fail(err, "the path of XDG_RUNTIME_DIR is too long for a socket");
	if (!mkdtemp(path))
		return fail_errno(err, errno, "cannot make a directory for a socket (%s)", path);
	*dir = (size_t)n;
	memcpy(path + n, "/s", sizeof("/s"));
	return 0;
}

/* fds[0]: connected; fds[1]: listens, and has that connection waiting. */
static int meet(int fds[2], struct error *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	size_t dir = 0;
	int ret;

	if (private_name(addr.sun_path, sizeof(addr.sun_path), &dir, err))
		return -1;
	fds[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	fds[1] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ret = fds[0] < 0 || fds[1] < 0 || bind(fds[1], (struct sockaddr *)&addr, sizeof(addr)) ||
	      listen(fds[1], 1) || connect(fds[0], (struct sockaddr *)&addr, sizeof(addr));
	if (ret)
		fail_errno(err, errno, "cannot make a socket for %s", VIRTIO_FS_PROGRAM);
	unlink(addr.sun_path);
	addr.sun_path[dir] = '\0';
	rmdir(addr.sun_path);
	if (!ret)
		return 0;
	if (fds[0] >= 0)
		close(fds[0]);
	if (fds[1] >= 0)
		close(fds[1]);
	return -1;
}

/* --- virtiofsd ----------------------------------------------------------------------- */

static void ended(void *opaque, int status)
{
	struct fs *fs = opaque;
	char how[HELPER_STATUS_MAX], why[HELPER_STATUS_MAX + 32];

	snprintf(why, sizeof(why), "%s %s", VIRTIO_FS_PROGRAM, helper_status(status, how));
	vhost_user_device_gone(fs->dev, why);
}

static void destroy(void *opaque)
{
	struct fs *fs = opaque;

	helper_stop(fs->helper);
	free(fs);
}

static struct helper *start(const struct virtio_world *world, struct fs *fs, const char *dir,
			    bool ro, const char *cage, int fd, struct error *err)
{
	/* execve(2) does not write to them. */
	char *argv[] = {(char *)(uintptr_t)VIRTIO_FS_PROGRAM,
			(char *)(uintptr_t) "--fd=3",
			(char *)(uintptr_t) "--shared-dir",
			(char *)(uintptr_t)dir,
			(char *)(uintptr_t) "--sandbox",
			(char *)(uintptr_t)cage,
			(char *)(uintptr_t)(ro ? "--readonly" : NULL),
			NULL};
	const struct helper_request req = {.what = VIRTIO_FS_PROGRAM,
					   .argv = argv,
					   .package = VIRTIO_FS_PROGRAM,
					   .fds = &fd,
					   .nr_fds = 1,
					   .died = ended,
					   .opaque = fs};

	return helper_start(world->loop, world->log, &req, err);
}

static struct vhost_user_device *make_device(const struct virtio_world *world, const char *tag,
					     int fd, struct error *err)
{
	uint8_t config[VHOST_USER_FS_CONFIG] = {0};
	const struct vhost_user_setup setup = {.type = vhost_user_type_find("fs"),
					       .fd = fd,
					       .greet_ms = START_MS,
					       .config = config,
					       .config_len = sizeof(config)};

	memcpy(config, tag, strnlen(tag, VHOST_USER_FS_TAG_MAX));
	return vhost_user_device_create(world, &setup, err);
}

/*
 * One attempt, in one kind of cage. Returns 1 where virtiofsd gave up, so that another
 * kind may do; one that is only slow is no reason for a weaker cage.
 */
static int try_cage(const struct virtio_world *world, const char *dir, const char *tag, bool ro,
		    const char *cage, struct fs *fs, struct error *err)
{
	struct error words;
	int fds[2], ret = -1;

	if (meet(fds, err))
		return -1;
	fs->helper = start(world, fs, dir, ro, cage, fds[1], err);
	close(fds[1]);
	if (!fs->helper) {
		close(fds[0]);
		return -1;
	}
	fs->dev = make_device(world, tag, fds[0], err);
	if (fs->dev)
		return 0;
	/* A program that gave up said why; one that lives on and does not answer did not. */
	if (helper_wait(fs->helper, LAST_WORDS_MS, NULL, NULL, &words) < 0) {
		*err = words;
		ret = 1;
	}
	helper_stop(fs->helper);
	fs->helper = NULL;
	return ret;
}

/* What was chosen; @why there is none, where there is no cage. */
static void tell(const struct virtio_world *world, const char *dir, const char *tag,
		 const char *cage, const struct error *why)
{
	if (!strcmp(cage, "none"))
		log_warning(world->log, "%s: %s has no sandbox of its own, because %s", world->name,
			    VIRTIO_FS_PROGRAM, why->msg);
	/* At any level: who mounts it has to know. */
	log_plain(world->log, "%s: %s is served by %s (--sandbox %s): mount -t virtiofs %s DIR",
		  world->name, dir, VIRTIO_FS_PROGRAM, cage, tag);
}

int virtio_fs_build(const struct virtio_world *world, const char *dir, const char *tag, bool ro,
		    struct virtio_device **vdev, struct error *err)
{
	static const char *const cages[] = {"namespace", "chroot", "none"};
	struct fs *fs = calloc(1, sizeof(*fs));
	size_t i;
	int ret = 1;

	if (!fs)
		return fail(err, "no memory for a shared directory");
	if (world->dry_run) {
		fs->dev = make_device(world, tag, -1, err);
		ret = fs->dev ? 0 : -1;
	}
	for (i = 0; ret > 0 && !world->dry_run && i < ARRAY_SIZE(cages); i++) {
		if (!strcmp(cages[i], "chroot") && geteuid())
			continue;
		ret = try_cage(world, dir, tag, ro, cages[i], fs, err);
		if (ret)
			log_debug(world->log, "%s: %s --sandbox %s: %s", world->name,
				  VIRTIO_FS_PROGRAM, cages[i], err->msg);
		else
			tell(world, dir, tag, cages[i], err);
	}
	if (ret) {
		free(fs);
		return -1;
	}
	vhost_user_device_on_destroy(fs->dev, destroy, fs);
	*vdev = vhost_user_device(fs->dev);
	return 0;
}
