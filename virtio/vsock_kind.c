// SPDX-License-Identifier: GPL-2.0-only
/*
 * "--vsock CID[,uds=PATH][,vhost=auto|on|off][,ready=PORT]": which form of the socket
 * device a VM gets. By vhost=auto it is the kernel's where /dev/vhost-vsock can be opened and no
 * path for unix sockets was given, and unix sockets else; which one is said when the VM
 * starts, as a warning where it is not the one that was preferred. No state.
 */
#include "lkvm/suboptions.h"
#include "lkvm/virtio/vsock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VHOST_AUTO, VHOST_ON, VHOST_OFF };

#define NO_PORT UINT64_MAX

/**
 * struct vsock_words - the option's parts
 */
struct vsock_words {
	const char *uds;
	int vhost;
	uint64_t ready;
};

static const char *const vhost_words[] = {"auto", "on", "off", NULL};

static const struct suboption rows[] = {
	{"uds", SUBOPTION_STRING, offsetof(struct vsock_words, uds), .arg = "PATH",
	 .help = "by unix sockets: PATH takes connections to the guest (\"CONNECT PORT\"), "
		 "PATH_PORT gets those from it"},
	{"vhost", SUBOPTION_WORD, offsetof(struct vsock_words, vhost), .words = vhost_words,
	 .help = "by the host's kernel (AF_VSOCK); auto: where that is to be had and there is "
		 "no uds="},
	{"ready", SUBOPTION_UINT, offsetof(struct vsock_words, ready), .max = UINT32_MAX - 1,
	 .arg = "PORT",
	 .help = "the VM is ready when the guest says READY=1 to port PORT of the host"},
	{.name = NULL},
};

static int parse_cid(const char *text, uint64_t *cid, struct error *err)
{
	char *end;

	*cid = strtoull(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || *cid < VSOCK_MIN_CID || *cid > VSOCK_MAX_CID)
		return fail(err, "%s is no CID of a guest: a number from %d to %u is", text,
			    VSOCK_MIN_CID, VSOCK_MAX_CID);
	return 0;
}

static int choose(const struct virtio_world *world, uint64_t cid, const struct vsock_words *words,
		  struct vsock_ready *ready, struct virtio_device **vdev, struct error *err)
{
	struct error why;
	struct vhost vhost = {.fd = -1};
	int ret = -1;

	if (words->vhost == VHOST_ON && words->uds)
		return fail(err, "vhost=on and uds=%s: the kernel's form has no unix sockets",
			    words->uds);
	if (words->vhost == VHOST_ON || (words->vhost == VHOST_AUTO && !words->uds)) {
		ret = vhost_open(&vhost, (struct vhost_sys){.ops = &vhost_sys_linux},
				 VHOST_VSOCK_PATH, &why);
		if (ret && words->vhost == VHOST_ON)
			return fail(err, "vhost=on: %s", why.msg);
		if (ret)
			log_warning(world->log,
				    "%s: by unix sockets, because %s; programs on the host that "
				    "use AF_VSOCK don't reach it (vhost=off: no such warning)",
				    world->name, why.msg);
	}
	if (!ret)
		*vdev = vsock_vhost_build(world, cid, &vhost, ready, err);
	else
		*vdev = vsock_unix_build(world, cid, words->uds, ready, err);
	if (!ret && !*vdev)
		vhost_close(&vhost);
	return *vdev ? 0 : -1;
}

static int build(const struct virtio_world *world, const char *text, struct virtio_device **vdev,
		 struct error *err)
{
	struct vsock_words words = {.vhost = VHOST_AUTO, .ready = NO_PORT};
	struct vsock_ready *ready = NULL;
	const char *cid_text = NULL;
	char *copy = NULL;
	uint64_t cid;
	int ret;

	*vdev = NULL;
	ret = suboptions_parse(text, &cid_text, rows, &words, &copy, err);
	if (!ret)
		ret = parse_cid(cid_text ? cid_text : "", &cid, err);
	if (!ret && !words.ready)
		ret = fail(err, "ready=0: a port of the host is 1 to %u", UINT32_MAX - 1);
	if (!ret && words.ready != NO_PORT) {
		ready = vsock_ready_new(world, cid, (uint32_t)words.ready, err);
		ret = ready ? 0 : -1;
	}
	if (!ret)
		ret = choose(world, cid, &words, ready, vdev, err);
	if (ret)
		vsock_ready_free(ready);
	free(copy);
	return ret;
}

/* Linux as a guest takes but one, whoever serves it. */
static bool claim(const char *name, const char *text, char what[VIRTIO_CLAIM_MAX])
{
	(void)name;
	(void)text;
	snprintf(what, VIRTIO_CLAIM_MAX, VIRTIO_CLAIM_VSOCK);
	return true;
}

const struct virtio_kind virtio_vsock_kind = {
	.option = "vsock",
	.arg = "CID[,WORD...]",
	.help = "sockets between host and guest, which has context ID CID (3 and up): by the "
		"host's kernel, or by unix sockets",
	.words = rows,
	.prefix = "vsock",
	.single = true,
	.claim = claim,
	.build = build,
};
