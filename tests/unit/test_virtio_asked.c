// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is seen of the devices asked for before one is built: their names, and two that
 * want what a VM has but once.
 */
#include "unit.h"

#include "lkvm/virtio/balloon.h"
#include "lkvm/virtio/blk.h"
#include "lkvm/virtio/fs.h"
#include "lkvm/virtio/net.h"
#include "lkvm/virtio/p9.h"
#include "lkvm/virtio/vhost_user.h"
#include "lkvm/virtio/vsock.h"

#include <stdlib.h>
#include <string.h>

START_TEST(names)
{
	const struct virtio_request asked[] = {
		{&virtio_blk_kind, "a"},    {&virtio_p9_kind, "a,b"},	{&virtio_blk_kind, "b"},
		{&virtio_share_kind, "c"},  {&virtio_share_kind, "d"},	{&virtio_blk_kind, "c"},
		{&virtio_balloon_kind, ""}, {&virtio_share_kind, "e:x"}};
	static const char *const want[] = {"disk0",  "9p0",   "disk1",	  "share0",
					   "share1", "disk2", "balloon0", "share2"};
	char name[VIRTIO_NAME_MAX];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(asked); i++) {
		virtio_asked_name(asked, i, name);
		ck_assert_str_eq(name, want[i]);
	}
}
END_TEST

/* --publish goes to the first network device that is in user mode. */
START_TEST(publish)
{
	static const char *const ports[] = {"8080:80", "[::1]:53:53/udp"};
	struct virtio_request asked[] = {{&virtio_blk_kind, "a"},
					 {&virtio_net_kind, "tap,tapif=t"},
					 {&virtio_net_kind, "none"},
					 {&virtio_net_kind, "mtu=1400"},
					 {&virtio_net_kind, "user"}};
	struct virtio_request all = {&virtio_net_kind, ""};
	struct error err;
	char *text;

	ck_assert_int_eq(virtio_asked_publish(asked, 5, ports, 2, &text, &err), 0);
	ck_assert_str_eq(asked[3].text, "mtu=1400,publish=8080:80,publish=[::1]:53:53/udp");
	ck_assert_str_eq(asked[4].text, "user");
	free(text);
	ck_assert_int_eq(virtio_asked_publish(&all, 1, ports, 1, &text, &err), 0);
	ck_assert_str_eq(all.text, "publish=8080:80");
	free(text);
	/* None, or a text that is wrong in itself: building it says so. */
	ck_assert_int_eq(virtio_asked_publish(asked, 3, ports, 1, &text, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.msg, "--publish 8080:80: "));
	ck_assert_ptr_nonnull(strstr(err.msg, "-n user"));
	ck_assert_ptr_null(text);
	asked[2].text = "uesr";
	ck_assert_int_eq(virtio_asked_publish(asked, 3, ports, 1, &text, &err), 0);
	ck_assert_str_eq(asked[2].text, "uesr,publish=8080:80");
	free(text);
}
END_TEST

START_TEST(claims)
{
	static const struct {
		struct virtio_request first, second;
		const char *says; /* NULL: both can be had */
	} cases[] = {
		{{&virtio_p9_kind, "/a,tag"},
		 {&virtio_p9_kind, "/b,tag,ro"},
		 "--9p /a,tag and --9p /b,tag,ro: a VM has only one share with the tag 'tag'"},
		{{&virtio_p9_kind, "/a,tag"},
		 {&virtio_share_kind, "/b:tag"},
		 "--9p /a,tag and --share /b:tag: a VM has only one share with the tag 'tag'"},
		{{&virtio_share_kind, "/b:tag,ro"},
		 {&virtio_vhost_user_kind, "fs,socket=/s,tag=tag"},
		 "--share /b:tag,ro and --vhost-user fs,socket=/s,tag=tag: a VM has only one share"
		 " with the tag 'tag'"},
		/* A name that is given by lkvm, and the same by the user. */
		{{&virtio_share_kind, "/a"},
		 {&virtio_p9_kind, "/b,share0"},
		 "--share /a and --9p /b,share0: a VM has only one share with the tag 'share0'"},
		{{&virtio_share_kind, "/a:share1"},
		 {&virtio_share_kind, "/b"},
		 "--share /a:share1 and --share /b: a VM has only one share with the tag"
		 " 'share1'"},
		{{&virtio_vsock_kind, "3"},
		 {&virtio_vhost_user_kind, "vsock,socket=/s"},
		 "--vsock 3 and --vhost-user vsock,socket=/s: a VM has only one socket device"
		 " (vsock)"},
		{{&virtio_vhost_user_kind, "vsock,socket=/s"},
		 {&virtio_vhost_user_kind, "vsock,socket=/t"},
		 "a VM has only one socket device"},
		{{&virtio_share_kind, "/a"}, {&virtio_share_kind, "/a"}, NULL},
		{{&virtio_p9_kind, "/a,tag"}, {&virtio_p9_kind, "/a,Tag"}, NULL},
		{{&virtio_p9_kind, "/a:tag,x"}, {&virtio_share_kind, "/a:tag"}, NULL},
		{{&virtio_vhost_user_kind, "rng,socket=/s"},
		 {&virtio_vhost_user_kind, "rng,socket=/t"},
		 NULL},
		{{&virtio_vsock_kind, "3"}, {&virtio_balloon_kind, ""}, NULL},
		/* What is wrong with these is said when they are built. */
		{{&virtio_p9_kind, "/a"}, {&virtio_p9_kind, "/a"}, NULL},
		{{&virtio_share_kind, "/a:x,y"}, {&virtio_share_kind, "/a:x,y"}, NULL},
		{{&virtio_vhost_user_kind, "fs,tag=x,y=z"}, {&virtio_share_kind, "/a:x"}, NULL},
	};
	struct error err;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		/* With something between them that has nothing to do with it. */
		const struct virtio_request asked[] = {
			cases[i].first, {&virtio_blk_kind, "disk"}, cases[i].second};

		err.msg[0] = '\0';
		if (!cases[i].says) {
			ck_assert_msg(!virtio_asked_check(asked, 3, &err), "%zu: %s", i, err.msg);
			continue;
		}
		ck_assert_int_eq(virtio_asked_check(asked, 3, &err), -1);
		ck_assert_msg(strstr(err.msg, cases[i].says), "%zu: %s", i, err.msg);
	}
}
END_TEST

/* Who mounts them for the user has to know them. */
START_TEST(shares)
{
	static const struct {
		const struct virtio_kind *kind;
		const char *text, *dir, *tag; /* NULL: faulty */
		bool read_only;
	} cases[] = {
		{&virtio_p9_kind, "/a,tag", "/a", "tag", false},
		{&virtio_p9_kind, "/a,tag,ro", "/a", "tag", true},
		{&virtio_p9_kind, "/a,,b:c,ro", "/a,b:c", "ro", false},
		{&virtio_p9_kind, "/a,rome,security=squash", "/a", "rome", false},
		{&virtio_p9_kind, "/a,tag,room", NULL, NULL, false},
		{&virtio_p9_kind, "/a", NULL, NULL, false},
		{&virtio_share_kind, "/a", "/a", "dev7", false},
		{&virtio_share_kind, "/a:tag,ro", "/a", "tag", true},
		{&virtio_share_kind, "/a:b/c", "/a:b/c", "dev7", false},
		{&virtio_share_kind, "/a,rw", NULL, NULL, false},
	};
	struct virtio_shared shared;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		bool good = cases[i].kind->share("dev7", cases[i].text, &shared);

		ck_assert_msg(good == !!cases[i].dir, "%s", cases[i].text);
		if (!good)
			continue;
		ck_assert_str_eq(shared.dir, cases[i].dir);
		ck_assert_str_eq(shared.tag, cases[i].tag);
		ck_assert_int_eq(shared.read_only, cases[i].read_only);
		free(shared.dir);
	}
}
END_TEST

/* The longest tag there is, and one beyond it. */
START_TEST(long_tags)
{
	char text[2][400];
	struct virtio_request asked[] = {{&virtio_p9_kind, text[0]}, {&virtio_share_kind, text[1]}};
	struct error err;

	memset(text, 'x', sizeof(text));
	memcpy(text[0], "/,", 2);
	memcpy(text[1], "/:", 2);
	text[0][2 + VIRTIO_P9_TAG_MAX] = text[1][2 + VIRTIO_P9_TAG_MAX] = '\0';
	ck_assert_int_eq(virtio_asked_check(asked, 2, &err), -1);
	/* Too long for 9p, which says so when it is built; cut for --share, which does too. */
	text[0][2 + VIRTIO_P9_TAG_MAX] = text[1][2 + VIRTIO_P9_TAG_MAX] = 'x';
	text[0][399] = text[1][399] = '\0';
	ck_assert_int_eq(virtio_asked_check(asked, 2, &err), 0);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *s = suite_create("virtio-asked");
	TCase *t = tcase_create("asked");

	(void)argc;
	(void)argv;
	tcase_add_test(t, names);
	tcase_add_test(t, publish);
	tcase_add_test(t, claims);
	tcase_add_test(t, shares);
	tcase_add_test(t, long_tags);
	suite_add_tcase(s, t);
	return unit_main(s);
}
