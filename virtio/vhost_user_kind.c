// SPDX-License-Identifier: GPL-2.0-only
/*
 * --vhost-user: from the option's words to a device over a socket, and the table of what
 * lkvm knows of each type of device (include/lkvm/virtio/vhost_user.h).
 *
 * The type is a name from the table or any device ID of the specification. Of a type
 * without a row all its own feature bits are offered that the back end offers; how many
 * queues and how large a configuration space it has, the user says.
 *
 * Feature bits of a row are those whose configuration fields lkvm asks the back end for,
 * or that have none, and that need nothing of a front end: no control queue for network
 * devices, no zones for disks. Section numbers are those of virtio 1.2.
 *
 * Thread and lock: while the VM is built. Nothing is saved: the words are.
 */
#include "lkvm/suboptions.h"
#include "lkvm/virtio/net.h"
#include "lkvm/virtio/vhost_user.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define QUEUE_SIZE 256
#define QUEUE_SIZE_LIMIT 1024

/*
 * It bounds the pages of a Linux guest's request. Writing takes the host more for each page of a
 * request that has more of them (tests/bench/README.md).
 */
#define FS_QUEUE_SIZE 128
#define ID_LIMIT 63

/* Feature bits that belong to the type of device (section 2.2): 0 to 23, 50 to 63. */
#define TYPE_FEATURES (~UINT64_C(0) << 50 | (VIRTIO_BIT(24) - 1))

/* 5.2: up to write-zeroes; secure erase (16), zones (17) and what comes later are not there. */
#define BLK_CONFIG 60
#define BLK_NUM_QUEUES 34
#define BLK_WRITEBACK 32
#define BLK_FEATURES                                                                               \
	(VIRTIO_BIT(1) | VIRTIO_BIT(2) | VIRTIO_BIT(4) | VIRTIO_BIT(5) | VIRTIO_BIT(6) |           \
	 VIRTIO_BIT(9) | VIRTIO_BIT(10) | VIRTIO_BIT(11) | VIRTIO_BIT(12) | VIRTIO_BIT(13) |       \
	 VIRTIO_BIT(14))
#define BLK_F_FLUSH 9
#define BLK_F_CONFIG_WCE 11

/*
 * 5.1: checksums and segmentation both ways, mergeable buffers, lengths of headers, joined
 * segments. Not those that have fields in the configuration space (hash report) or requests in
 * the control queue.
 */
#define NET_FEATURES                                                                               \
	(VIRTIO_BIT(0) | VIRTIO_BIT(1) | VIRTIO_BIT(7) | VIRTIO_BIT(8) | VIRTIO_BIT(9) |           \
	 VIRTIO_BIT(10) | VIRTIO_BIT(11) | VIRTIO_BIT(12) | VIRTIO_BIT(13) | VIRTIO_BIT(14) |      \
	 VIRTIO_BIT(15) | VIRTIO_BIT(54) | VIRTIO_BIT(55) | VIRTIO_BIT(56) | VIRTIO_BIT(59) |      \
	 VIRTIO_BIT(61))

static void fill_blk(uint8_t *config, unsigned int queues)
{
	uint16_t nr = htole16((uint16_t)queues);

	memcpy(config + BLK_NUM_QUEUES, &nr, sizeof(nr));
}

static uint64_t trim_blk(uint64_t offered)
{
	return offered & VIRTIO_BIT(BLK_F_FLUSH) ? offered
						 : offered & ~VIRTIO_BIT(BLK_F_CONFIG_WCE);
}

static void fill_fs(uint8_t *config, unsigned int queues)
{
	uint32_t nr = htole32(queues);

	memcpy(config + VHOST_USER_FS_TAG_MAX, &nr, sizeof(nr));
}

static const struct vhost_user_type types[] = {
	{.name = "blk",
	 .id = 2,
	 .queue_max = QUEUE_SIZE,
	 .features = BLK_FEATURES,
	 .config_size = BLK_CONFIG,
	 .writable_at = BLK_WRITEBACK,
	 .writable_len = 1,
	 .stateless = true,
	 .trim = trim_blk,
	 .fill = fill_blk},
	/* 5.11: the first queue is for requests that must not wait. */
	{.name = "fs",
	 .id = 26,
	 .extra_queues = 1,
	 .queue_max = FS_QUEUE_SIZE,
	 /* What it was up to now: not what others have. */
	 .queue_max_was = 256,
	 .fill = fill_fs},
	{.name = "net",
	 .id = 1,
	 .queues = 2,
	 .pairs = true,
	 .queue_max = QUEUE_SIZE,
	 .features = NET_FEATURES,
	 .stateless = true,
	 .link_at = 6,
	 .trim = virtio_net_trim},
	{.name = "rng", .id = 4, .queues = 1, .queue_max = QUEUE_SIZE, .stateless = true},
	/* 5.10: receive, transmit, event; the guest's address. */
	{.name = "vsock",
	 .id = 19,
	 .queues = 3,
	 .queue_max = QUEUE_SIZE,
	 .features = VIRTIO_BIT(0) | VIRTIO_BIT(1),
	 .config_size = 8},
	{.name = NULL},
};

const struct vhost_user_type *vhost_user_type_find(const char *name)
{
	const struct vhost_user_type *t;

	for (t = types; t->name; t++)
		if (!strcmp(t->name, name))
			return t;
	return NULL;
}

struct words {
	const char *type, *socket, *tag;
	uint64_t queues, queue_size, config_size;
};

static const struct suboption rows[] = {
	{"socket", SUBOPTION_STRING, offsetof(struct words, socket), .arg = "PATH",
	 .help = "where that program listens"},
	{"tag", SUBOPTION_STRING, offsetof(struct words, tag), .arg = "NAME",
	 .help = "fs: what the guest mounts it by"},
	{"queues", SUBOPTION_UINT, offsetof(struct words, queues), VIRTIO_MAX_QUEUES,
	 .help = "blk, fs, or an ID: how many (as vCPUs)"},
	{"queue-size", SUBOPTION_UINT, offsetof(struct words, queue_size), QUEUE_SIZE_LIMIT,
	 .help = "entries of each, up to 1024 (256; fs: 128)"},
	{"config-size", SUBOPTION_UINT, offsetof(struct words, config_size), VIRTIO_CONFIG_MAX,
	 .help = "an ID: bytes of configuration space (0)"},
	{.name = NULL},
};

/* A name, or a device ID: then the rest is the back end's and the user's to say. */
static int find_type(const struct words *w, struct vhost_user_type *type, struct error *err)
{
	const struct vhost_user_type *known = vhost_user_type_find(w->type);
	char *end;
	unsigned long id;

	if (known) {
		*type = *known;
		if (w->config_size)
			return fail(err, "'config-size' is for types without a name");
		if (w->queues && known->queues)
			return fail(err, "'%s' has %u queues, which can't be chosen", w->type,
				    known->queues);
	} else {
		errno = 0;
		id = strtoul(w->type, &end, 10);
		if (!*w->type || *end || errno || !id || id > ID_LIMIT)
			return fail(err,
				    "which type? blk, fs, net, rng, vsock or a device ID from 1 to "
				    "%d, not '%s'",
				    ID_LIMIT, w->type);
		*type = (struct vhost_user_type){.name = "vhost-user",
						 .id = (uint32_t)id,
						 .queues = 1,
						 .queue_max = QUEUE_SIZE,
						 .features = TYPE_FEATURES,
						 .config_size = (uint32_t)w->config_size,
						 .writable_len = (uint32_t)w->config_size};
	}
	if (w->queue_size && !is_power_of_two(w->queue_size))
		return fail(err, "'queue-size' is a power of two");
	if (w->queue_size) {
		type->queue_max = (uint16_t)w->queue_size;
		type->queue_max_was = 0;
	}
	return 0;
}

static int check_tag(const struct words *w, const struct vhost_user_type *type, struct error *err)
{
	bool fs = type->fill == fill_fs;

	if (fs != !!w->tag)
		return fail(err, fs ? "under which name does the guest mount it? (tag=NAME)"
				    : "only fs has a 'tag'");
	if (fs && (!*w->tag || strlen(w->tag) > VHOST_USER_FS_TAG_MAX))
		return fail(err, "'tag' has 1 to %d bytes", VHOST_USER_FS_TAG_MAX);
	return 0;
}

/* A dry run connects to nothing, but can see whether there is something. */
static int check_socket(const char *path, struct error *err)
{
	struct stat st;

	if (stat(path, &st))
		return fail_errno(err, errno, "%s", path);
	return S_ISSOCK(st.st_mode) ? 0 : fail(err, "%s is no socket", path);
}

static int build_words(const struct virtio_world *world, const struct words *w,
		       struct virtio_device **vdev, struct error *err)
{
	uint8_t config[VHOST_USER_FS_CONFIG] = {0};
	struct vhost_user_type type = {.name = NULL};
	struct vhost_user_setup setup = {
		.type = &type, .fd = -1, .queues = (unsigned int)w->queues, .config = config};
	struct vhost_user_device *dev;

	if (find_type(w, &type, err) || check_tag(w, &type, err))
		return -1;
	if (!w->socket)
		return fail(err, "where is the back end? (%s,socket=PATH)", w->type);
	if (w->tag) {
		memcpy(config, w->tag, strlen(w->tag));
		setup.config_len = sizeof(config);
	}
	if (world->dry_run) {
		if (check_socket(w->socket, err))
			return -1;
	} else {
		setup.fd = vhost_user_connect(w->socket, err);
		if (setup.fd < 0)
			return -1;
	}
	dev = vhost_user_device_create(world, &setup, err);
	if (!dev)
		return -1;
	*vdev = vhost_user_device(dev);
	return 0;
}

static int build(const struct virtio_world *world, const char *text, struct virtio_device **vdev,
		 struct error *err)
{
	struct words w = {0};
	char *copy;
	int ret = suboptions_parse(text, &w.type, rows, &w, &copy, err);

	if (!ret)
		ret = build_words(world, &w, vdev, err);
	free(copy);
	return ret;
}

static bool shares_memory(const char *text)
{
	(void)text;
	return true;
}

static bool claim(const char *name, const char *text, char what[VIRTIO_CLAIM_MAX])
{
	struct words w = {0};
	struct error ignored;
	bool claims = false;
	char *copy;

	(void)name;
	if (!suboptions_parse(text, &w.type, rows, &w, &copy, &ignored)) {
		claims = w.tag || !strcmp(w.type, "vsock");
		if (w.tag)
			snprintf(what, VIRTIO_CLAIM_MAX, VIRTIO_CLAIM_TAG, w.tag);
		else
			snprintf(what, VIRTIO_CLAIM_MAX, VIRTIO_CLAIM_VSOCK);
	}
	free(copy);
	return claims;
}

const struct virtio_kind virtio_vhost_user_kind = {
	.option = "vhost-user",
	.arg = "TYPE,socket=PATH[,WORD...]",
	.help = "a device that another program serves: blk, fs, net, rng, vsock or a virtio "
		"device ID",
	.words = rows,
	.prefix = "vhost-user",
	.shares_memory = shares_memory,
	.claim = claim,
	.build = build,
};
