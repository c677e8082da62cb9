// SPDX-License-Identifier: GPL-2.0-only
/*
 * Shared directories by virtiofsd, without virtiofsd: this program itself stands in for it
 * where it is started under that name. A directory with such a link is PATH; how the
 * stand-in behaves is said by the last word of the shared directory's name:
 *
 *   good       takes the connection and behaves
 *   cages      the same, but can't make namespaces or chroot
 *   old        does not know --readonly
 *   gone       behaves, and ends when the driver comes
 *   nothing    can't be caged at all
 *
 * Also which means --share takes, and what it says of that.
 */
#include "unit.h"
#include "vhost_user_rig.h"

#include "lkvm/device.h"
#include "lkvm/virtio/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- in the place of virtiofsd --------------------------------------------------- */

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && !strcmp(text + len - end_len, end);
}

static int give_up(const char *why)
{
	fprintf(stderr, "%s\n", why);
	return 1;
}

static int stand_in(int argc, char **argv)
{
	const char *dir = "", *cage = "namespace";
	bool ro = false, fd = false, over = false, driver = false;
	struct fake_vu f;
	int i;

	for (i = 1; i < argc; i++) {
		fd = fd || !strcmp(argv[i], "--fd=3");
		if (!strcmp(argv[i], "--shared-dir"))
			dir = argv[++i];
		else if (!strcmp(argv[i], "--sandbox"))
			cage = argv[++i];
		else if (!strcmp(argv[i], "--readonly"))
			ro = true;
	}
	if (!fd || fcntl(3, F_GETFD) < 0 || fcntl(4, F_GETFD) >= 0)
		return give_up("descriptors");
	if (ends_with(dir, "old") && ro)
		return give_up("error: unexpected argument '--readonly' found");
	if (ends_with(dir, "nothing") || (ends_with(dir, "cages") && strcmp(cage, "none")))
		return give_up("Error entering sandbox");
	fprintf(stderr, "cage %s%s\n", cage, ro ? " read-only" : "");
	fake_vu_init(&f);
	f.queues = 2;
	f.protocol &= ~UINT64_C(0x220);
	f.state = "inodes";
	f.state_len = 6;
	fake_vu_serve(&f, 3);
	while (!over) {
		usleep(2000);
		fake_vu_lock(&f);
		over = f.hung_up;
		driver = f.rings[1].enabled;
		fake_vu_unlock(&f);
		if (driver && ends_with(dir, "gone"))
			kill(getpid(), SIGKILL);
	}
	fake_vu_stop(&f);
	return 0;
}

/* --- the world --------------------------------------------------------------------- */

static struct vu_rig rig;
static char home[] = "/tmp/lkvm-test-XXXXXX";
static char dir[PATH_MAX];
static int log_fd[2];

static void path_to(const char *name)
{
	snprintf(dir, sizeof(dir), "%s/%s", home, name);
}

static void setup(void)
{
	char self[PATH_MAX];
	int size = 1 << 20;
	ssize_t n;

	memcpy(home + sizeof(home) - 7, "XXXXXX", 6);
	ck_assert_ptr_nonnull(mkdtemp(home));
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	ck_assert_int_gt(n, 0);
	self[n] = '\0';
	path_to("virtiofsd");
	ck_assert_int_eq(symlink(self, dir), 0);
	setenv("PATH", home, 1);
	setenv("XDG_RUNTIME_DIR", home, 1);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, log_fd), 0);
	setsockopt(log_fd[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	vu_rig_init(&rig);
	rig.world.name = "share0";
	log_init(&rig.log, log_fd[1], LOG_LEVEL_DEBUG);
}

static void teardown(void)
{
	char command[PATH_MAX + 16];

	vu_rig_drop(&rig);
	close(log_fd[0]);
	close(log_fd[1]);
	/* Only the link and directories of ours: a socket that was left over makes it fail. */
	path_to("virtiofsd");
	unlink(dir);
	snprintf(command, sizeof(command), "/bin/rmdir %s/* 2>/dev/null", home);
	ck_assert_int_ge(system(command), 0);
	ck_assert_int_eq(rmdir(home), 0);
}

/* Is there a line with @part in it? Lines before it are dropped. */
static bool said(const char *part)
{
	char line[8192];
	ssize_t n;

	while ((n = recv(log_fd[0], line, sizeof(line) - 1, MSG_DONTWAIT)) > 0) {
		line[n] = '\0';
		if (strstr(line, part))
			return true;
	}
	return false;
}

static void run_soon(void *opaque)
{
	(void)opaque;
}

static const struct virtio_mmio_env mmio_env = {
	.run_soon = run_soon,
};

static void plug_in(struct virtio_device *vdev)
{
	rig.mmio = virtio_mmio_create(vdev, drv_line(&rig.drv), &mmio_env, &rig);
	ck_assert_ptr_nonnull(rig.mmio);
	rig.drv.dev = rig.mmio;
}

static int build_fs(const char *name, const char *tag, bool ro)
{
	struct virtio_device *vdev = NULL;

	path_to(name);
	mkdir(dir, 0700);
	if (virtio_fs_build(&rig.world, dir, tag, ro, &vdev, &rig.err))
		return -1;
	plug_in(vdev);
	return 0;
}

static int build_share(const char *text)
{
	struct virtio_device *vdev = NULL;

	if (virtio_share_kind.build(&rig.world, text, &vdev, &rig.err))
		return -1;
	plug_in(vdev);
	return 0;
}

static void tag_is(const char *tag)
{
	char bytes[37] = "";
	unsigned int i;

	for (i = 0; i < 36; i++)
		bytes[i] = (char)virtio_mmio_ops.read(rig.mmio, R_CONFIG + i, 1);
	ck_assert_str_eq(bytes, tag);
}

/* --- virtio-fs ------------------------------------------------------------------------ */

START_TEST(good)
{
	ck_assert_msg(!build_fs("good", "home", false), "%s", rig.err.msg);
	ck_assert(said("--sandbox namespace"));
	ck_assert_uint_eq(drv_rd(&rig.drv, R_DEVICE_ID), 26);
	tag_is("home");
	/* One queue of requests, and the one for priority. */
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 36), 1);
	ck_assert_uint_eq(drv_features(&rig.drv), FEAT_VERSION_1 | FEAT_INDIRECT | FEAT_EVENT_IDX);
	drv_wr(&rig.drv, R_QUEUE_SEL, 1);
	ck_assert_uint_ge(drv_rd(&rig.drv, R_QUEUE_NUM_MAX), 64);
	drv_wr(&rig.drv, R_QUEUE_SEL, 2);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_QUEUE_NUM_MAX), 0);
	ck_assert(vu_rig_go(&rig));
	vu_rig_ask(&rig, 1, 3, 30);
	ck_assert(vu_rig_served(&rig, 1, 3, 30));
	vu_rig_ask(&rig, 0, 3, 30);
	ck_assert(vu_rig_served(&rig, 0, 3, 30));
	/* The configuration space is not for writing. */
	drv_wr(&rig.drv, R_CONFIG, 0);
	tag_is("home");
}
END_TEST

START_TEST(longest_tag)
{
	ck_assert_msg(!build_fs("good", "123456789012345678901234567890123456", false), "%s",
		      rig.err.msg);
	tag_is("123456789012345678901234567890123456");
	ck_assert_uint_eq(drv_rd(&rig.drv, R_CONFIG + 36), 1);
}
END_TEST

START_TEST(read_only)
{
	ck_assert_msg(!build_fs("good", "home", true), "%s", rig.err.msg);
	vu_rig_turn(&rig, 50);
	ck_assert(said("cage namespace read-only"));
}
END_TEST

/* One cage after the other; chroot only where that is possible at all. */
START_TEST(cages)
{
	ck_assert_msg(!build_fs("cages", "home", false), "%s", rig.err.msg);
	ck_assert(said("--sandbox namespace: virtiofsd ended with status 1: Error entering"));
	if (!geteuid())
		ck_assert(said("--sandbox chroot: "));
	/* A weaker one is not taken silently. */
	ck_assert(said("Warning: share0: virtiofsd has no sandbox of its own, because virtiofsd "
		       "ended with status 1: Error entering"));
	ck_assert(said("served by virtiofsd (--sandbox none)"));
}
END_TEST

/* Whatever the level: the guest has to know by which kind to mount. */
START_TEST(which_kind)
{
	atomic_store(&rig.log.level, LOG_LEVEL_WARNING);
	ck_assert_msg(!build_fs("good", "home", false), "%s", rig.err.msg);
	ck_assert(said("is served by virtiofsd (--sandbox namespace): mount -t virtiofs home DIR"));
}
END_TEST

START_TEST(no_cage)
{
	ck_assert_int_eq(build_fs("nothing", "home", false), -1);
	ck_assert_ptr_nonnull(strstr(rig.err.msg, "Error entering sandbox"));
}
END_TEST

/* The VM goes on without it; one line says what happened. */
START_TEST(ends_while_running)
{
	unsigned int i;

	ck_assert_msg(!build_fs("gone", "home", false), "%s", rig.err.msg);
	ck_assert(vu_rig_go(&rig));
	for (i = 0; !(drv_rd(&rig.drv, R_STATUS) & ST_NEEDS_RESET) && i < 400; i++)
		loop_run_once(rig.loop, 10);
	ck_assert(drv_rd(&rig.drv, R_STATUS) & ST_NEEDS_RESET);
	ck_assert(said("of no use to the guest any more"));
	vu_rig_turn(&rig, 100);
	ck_assert(!vu_rig_go(&rig));
	ck_assert_int_eq(loop_run_once(rig.loop, 0), 0);
}
END_TEST

START_TEST(dry_run)
{
	rig.world.dry_run = true;
	ck_assert_msg(!build_fs("nothing", "home", false), "%s", rig.err.msg);
	ck_assert_uint_eq(drv_rd(&rig.drv, R_DEVICE_ID), 26);
	tag_is("home");
}
END_TEST

START_TEST(runtime_directory_too_deep)
{
	char deep[160];

	memset(deep, 'x', sizeof(deep));
	deep[0] = '/';
	deep[sizeof(deep) - 1] = '\0';
	setenv("XDG_RUNTIME_DIR", deep, 1);
	ck_assert_int_eq(build_fs("good", "home", false), -1);
	ck_assert_ptr_nonnull(strstr(rig.err.msg, "XDG_RUNTIME_DIR"));
	deep[40] = '\0';
	setenv("XDG_RUNTIME_DIR", deep, 1);
	ck_assert_int_eq(build_fs("good", "home", false), -1);
	ck_assert_ptr_nonnull(strstr(rig.err.msg, deep));
}
END_TEST

static struct device *machine_device(void)
{
	return virtio_mmio_device(rig.mmio);
}

START_TEST(save_load_save)
{
	struct xfer x, y, z;

	ck_assert_msg(!build_fs("good", "home", false), "%s", rig.err.msg);
	ck_assert(vu_rig_go(&rig));
	machine_device()->ops->quiesce(machine_device());
	xfer_save_init(&x);
	machine_device()->ops->transfer(machine_device(), &x);
	ck_assert_msg(!xfer_done(&x, &rig.err), "%s", rig.err.msg);
	ck_assert_ptr_nonnull(memmem(x.buf, x.len, "inodes", 6));
	xfer_load_init(&y, x.buf, x.len);
	machine_device()->ops->transfer(machine_device(), &y);
	ck_assert_msg(!xfer_done(&y, &rig.err), "%s", rig.err.msg);
	xfer_save_init(&z);
	machine_device()->ops->transfer(machine_device(), &z);
	ck_assert_int_eq(xfer_done(&z, NULL), 0);
	ck_assert_uint_eq(z.len, x.len);
	ck_assert_mem_eq(z.buf, x.buf, x.len);
	machine_device()->ops->resume(machine_device());
	ck_assert(!(drv_rd(&rig.drv, R_STATUS) & ST_NEEDS_RESET));
	vu_rig_ask(&rig, 1, 3, 30);
	ck_assert(vu_rig_served(&rig, 1, 3, 30));
	xfer_free(&x);
	xfer_free(&z);
}
END_TEST

/* --- --share ------------------------------------------------------------------------------- */

START_TEST(share_prefers_virtiofsd)
{
	char text[PATH_MAX + 32];

	path_to("good");
	mkdir(dir, 0700);
	ck_assert(virtio_share_kind.shares_memory(dir));
	snprintf(text, sizeof(text), "%s:x", dir);
	ck_assert_msg(!build_share(text), "%s", rig.err.msg);
	ck_assert(said("share0: "));
	tag_is("x");
}
END_TEST

/* Without a tag it is the device's name. */
START_TEST(share_default_tag)
{
	path_to("good");
	mkdir(dir, 0700);
	ck_assert_msg(!build_share(dir), "%s", rig.err.msg);
	tag_is("share0");
}
END_TEST

START_TEST(share_without_virtiofsd)
{
	setenv("PATH", "/nonexistent", 1);
	/* The usual places are looked at as well. */
	if (virtio_fs_installed())
		return;
	path_to("good");
	mkdir(dir, 0700);
	ck_assert(!virtio_share_kind.shares_memory(dir));
	ck_assert_msg(!build_share(dir), "%s", rig.err.msg);
	ck_assert(said("Warning: share0: "));
	ck_assert_uint_eq(drv_rd(&rig.drv, R_DEVICE_ID), 9);
}
END_TEST

/* Installed, but of no use: the reason is said. */
START_TEST(share_falls_back)
{
	char text[PATH_MAX + 32];

	path_to("old");
	mkdir(dir, 0700);
	snprintf(text, sizeof(text), "%s:x,ro", dir);
	ck_assert_msg(!build_share(text), "%s", rig.err.msg);
	ck_assert(said("unexpected argument '--readonly'"));
	ck_assert(said("Warning: share0: "));
	ck_assert_uint_eq(drv_rd(&rig.drv, R_DEVICE_ID), 9);
}
END_TEST

START_TEST(share_refusals)
{
	static const struct {
		const char *text, *part;
	} cases[] = {
		{"", "which directory"},
		{":tag", "which directory"},
		{"/nonexistent/x", "/nonexistent/x"},
		{"/proc/self/exe", "no directory"},
		{"/tmp:", "the tag"},
		{"/tmp:a b", "the tag"},
		{"/tmp:1234567890123456789012345678901234567", "the tag"},
		{"/tmp,rw", "unknown word"},
		{"/tmp:x,ro=maybe", "on or off"},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		ck_assert_int_eq(build_share(cases[i].text), -1);
		ck_assert_msg(strstr(rig.err.msg, cases[i].part), "%s: %s", cases[i].text,
			      rig.err.msg);
	}
}
END_TEST

int main(int argc, char **argv)
{
	Suite *s;
	TCase *t;

	if (ends_with(argv[0], "virtiofsd"))
		return stand_in(argc, argv);
	s = suite_create("virtio-fs");
	t = tcase_create("fs");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, good);
	tcase_add_test(t, longest_tag);
	tcase_add_test(t, read_only);
	tcase_add_test(t, cages);
	tcase_add_test(t, which_kind);
	tcase_add_test(t, no_cage);
	tcase_add_test(t, ends_while_running);
	tcase_add_test(t, dry_run);
	tcase_add_test(t, runtime_directory_too_deep);
	tcase_add_test(t, save_load_save);
	tcase_add_test(t, share_prefers_virtiofsd);
	tcase_add_test(t, share_default_tag);
	tcase_add_test(t, share_without_virtiofsd);
	tcase_add_test(t, share_falls_back);
	tcase_add_test(t, share_refusals);
	suite_add_tcase(s, t);
	return unit_main(s);
}
