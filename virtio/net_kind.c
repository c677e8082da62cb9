// SPDX-License-Identifier: GPL-2.0-only
/*
 * -n/--network: from the option's words to a network device (include/lkvm/virtio/kind.h).
 * The words are kvmtool's, and some more.
 *
 * Which words belong to which mode is a table: a word that would mean nothing is
 * refused, never passed over. publish= may come several times, so these are taken out
 * before the rest is taken apart.
 *
 * The address, where the user gives none, is made from the host's machine ID and the
 * names of VM and device: the same VM has the same one each time, two hosts do not have
 * the same, and a random one is made only where the host has no ID. Its first byte
 * says "locally administered".
 *
 * Descriptors that were inherited are never close-on-exec, and all of lkvm's own are:
 * that tells a wrong number.
 *
 * Thread and lock: while the VM is built. Nothing is saved: the words are.
 */
#include "net_internal.h"

#include "lkvm/options.h"
#include "lkvm/suboptions.h"
#include "lkvm/virtio/net_backend.h"
#include "lkvm/virtio/vhost_user.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_PUBLISH VIRTIO_NET_MAX_PUBLISH
#define MACHINE_ID "/etc/machine-id"

enum mode { MODE_USER, MODE_TAP, MODE_FD, MODE_VHOST_USER, MODE_NONE };

static const char *const modes[] = {[MODE_USER] = "user", [MODE_TAP] = "tap",
				    [MODE_FD] = "fd",	  [MODE_VHOST_USER] = "vhost-user",
				    [MODE_NONE] = "none", NULL};

/* The last two are kvmtool's way to say it. */
enum { VHOST_WORD_AUTO, VHOST_WORD_ON, VHOST_WORD_OFF, VHOST_WORD_1, VHOST_WORD_0 };
static const char *const vhost_words[] = {"auto", "on", "off", "1", "0", NULL};

static const char *const on_off[] = {"off", "on", NULL};

struct net_words {
	const char *first;
	int mode, vhost, spoof, host; /* -1: not given */
	const char *guest_mac, *host_mac, *guest_ip, *host_ip;
	const char *tapif, *script, *downscript, *fd, *socket, *trans;
	uint64_t mtu, queues, mq;
	const char *no_field; /* of words that are not for suboptions_parse() */
	const char *publish[MAX_PUBLISH];
	size_t nr_publish;
};

#define WORD(name) name, SUBOPTION_WORD
#define TEXT(name) name, SUBOPTION_STRING
#define NUMBER(name) name, SUBOPTION_UINT
#define AT(field) offsetof(struct net_words, field)

/* In the order of help: what all have, and then by mode. publish= is taken out before. */
static const struct suboption rows[] = {
	{WORD("mode"), AT(mode), .words = modes, .help = "(user); \"mode=\" may be left out"},
	{TEXT("guest_mac"), AT(guest_mac), .arg = "ADDRESS",
	 .help = "the card's, which the guest can't change or send from another one (one made of "
		 "the host's and the VM's name)"},
	{NUMBER("mtu"), AT(mtu), 65535, .help = "what the guest is told, 68 to 65535"},
	{WORD("spoof"), AT(spoof), .words = on_off,
	 .help = "user, tap, fd: on lets the guest send from any address (off with guest_mac=)"},
	{TEXT("publish"), AT(no_field), .arg = "[ADDRESS:]HOSTPORT:GUESTPORT[/udp]",
	 .help = "user: connections to this port of the host reach the guest; repeat for more; "
		 "--publish says the same"},
	{WORD("host"), AT(host), .words = on_off,
	 .help = "user: on lets the guest reach the host itself, its loopback too, by the "
		 "gateway's address (off)"},
	{TEXT("guest_ip"), AT(guest_ip), .arg = "ADDRESS",
	 .help = "user: of the guest (as the host has)"},
	{TEXT("host_ip"), AT(host_ip), .arg = "ADDRESS",
	 .help = "user: of the gateway; tap: of a new interface on the host"},
	{TEXT("host_mac"), AT(host_mac), .arg = "ADDRESS",
	 .help = "user: the gateway's Ethernet address"},
	{TEXT("tapif"), AT(tapif), .arg = "NAME",
	 .help = "tap: the interface, which may exist (a new one)"},
	{TEXT("script"), AT(script), .arg = "FILE",
	 .help = "tap: run with the interface's name when it is open"},
	{TEXT("downscript"), AT(downscript), .arg = "FILE",
	 .help = "tap: the same when the VM ends"},
	{TEXT("fd"), AT(fd), .arg = "N[:N...]",
	 .help = "fd: inherited descriptors: a tap device's, one a queue, or a socket's"},
	{NUMBER("queues"), AT(queues), NET_MAX_PAIRS, .help = "tap, fd: pairs of queues (1)"},
	{NUMBER("mq"), AT(mq), NET_MAX_PAIRS, .help = "the same"},
	{WORD("vhost"), AT(vhost), .words = vhost_words, .arg = "auto|on|off",
	 .help = "tap, fd: the host's kernel serves the queues; auto: where it can and nothing "
		 "is asked that it does not do"},
	{TEXT("socket"), AT(socket), .arg = "PATH",
	 .help = "vhost-user: where the other program listens"},
	/* kvmtool's, refused with a word on what there is. */
	{TEXT("trans"), AT(trans), .help = NULL},
	{.name = NULL},
};

/* --- which words make sense ----------------------------------------------------------- */

#define IN(mode) (1U << (mode))

static int check_modes(const struct net_words *w, struct error *err)
{
	const struct {
		const char *name;
		bool given;
		unsigned int modes;
	} uses[] = {
		{"guest_ip", w->guest_ip, IN(MODE_USER)},
		{"host_ip", w->host_ip, IN(MODE_USER) | IN(MODE_TAP)},
		{"host_mac", w->host_mac, IN(MODE_USER)},
		{"host", w->host >= 0, IN(MODE_USER)},
		{"publish", w->nr_publish, IN(MODE_USER)},
		{"tapif", w->tapif, IN(MODE_TAP)},
		{"script", w->script, IN(MODE_TAP)},
		{"downscript", w->downscript, IN(MODE_TAP)},
		{"fd", w->fd, IN(MODE_FD)},
		{"socket", w->socket, IN(MODE_VHOST_USER)},
		{"vhost", w->vhost >= 0, IN(MODE_TAP) | IN(MODE_FD)},
		{"spoof", w->spoof >= 0, IN(MODE_USER) | IN(MODE_TAP) | IN(MODE_FD)},
		{"queues", w->queues, IN(MODE_TAP) | IN(MODE_FD)},
		{"mtu", w->mtu, IN(MODE_USER) | IN(MODE_TAP) | IN(MODE_FD) | IN(MODE_VHOST_USER)},
		{"guest_mac", w->guest_mac,
		 IN(MODE_USER) | IN(MODE_TAP) | IN(MODE_FD) | IN(MODE_VHOST_USER)},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(uses); i++)
		if (uses[i].given && !(uses[i].modes & IN(w->mode)))
			return fail(err, "'%s' means nothing with mode=%s", uses[i].name,
				    modes[w->mode]);
	if (w->mode == MODE_FD && !w->fd)
		return fail(err, "which descriptor? (mode=fd,fd=N)");
	if (w->mode == MODE_VHOST_USER && !w->socket)
		return fail(err, "where is the other program? (mode=vhost-user,socket=PATH)");
	return 0;
}

/* A first word without "=" is the mode. */
static int settle_mode(struct net_words *w, struct error *err)
{
	int i;

	if (!*w->first) {
		if (w->mode < 0)
			w->mode = MODE_USER;
		return 0;
	}
	for (i = 0; modes[i] && strcmp(modes[i], w->first); i++)
		;
	if (!modes[i])
		return fail(err, "the mode is one of user, tap, fd, vhost-user, none, not '%s'",
			    w->first);
	if (w->mode >= 0)
		return fail(err, "'%s' and 'mode=%s': one of them is enough", w->first,
			    modes[w->mode]);
	w->mode = i;
	return 0;
}

static int settle(struct net_words *w, struct error *err)
{
	if (settle_mode(w, err))
		return -1;
	if (w->trans)
		return fail(err,
			    "'trans=%s': the transport is chosen for all devices, by "
			    "--virtio-transport pci or mmio",
			    w->trans);
	if (w->mq && w->queues)
		return fail(err, "'mq' and 'queues' mean the same");
	if (w->mq)
		w->queues = w->mq;
	/* kvmtool's way to say that there is none. */
	if (w->script && !strcmp(w->script, "none"))
		w->script = NULL;
	if (w->vhost == VHOST_WORD_1)
		w->vhost = VHOST_WORD_ON;
	if (w->vhost == VHOST_WORD_0)
		w->vhost = VHOST_WORD_OFF;
	return check_modes(w, err);
}

/* --- taking the text apart -------------------------------------------------------------- */

/*
 * Split @text into @rest, without its publish= words, and those words in @values, ended
 * by zeroes. Both have room for all of it.
 */
static int split_publish(const char *text, char *rest, char *values, struct net_words *w,
			 struct error *err)
{
	static const char word[] = "publish=";
	bool first = true;

	for (;;) {
		const char *end = suboptions_end(text);
		size_t len = (size_t)(end - text);

		if (!strncmp(text, word, sizeof(word) - 1)) {
			if (w->nr_publish == MAX_PUBLISH)
				return fail(err, "more than %d times publish=", MAX_PUBLISH);
			len -= sizeof(word) - 1;
			memcpy(values, text + sizeof(word) - 1, len);
			w->publish[w->nr_publish++] = values;
			values += len;
			*values++ = '\0';
		} else {
			if (!first)
				*rest++ = ',';
			memcpy(rest, text, len);
			rest += len;
			first = false;
		}
		if (!*end)
			break;
		text = end + 1;
	}
	*rest = '\0';
	return 0;
}

/**
 * struct parsed - the words, and what they point into
 */
struct parsed {
	struct net_words w;
	char *rest, *values, *copy;
};

static void free_parsed(struct parsed *p)
{
	free(p->rest);
	free(p->values);
	free(p->copy);
}

static int parse(const char *text, struct parsed *p, struct error *err)
{
	size_t len = strlen(text);
	const char *first = "";
	bool has_first;

	memset(p, 0, sizeof(*p));
	p->w.mode = p->w.vhost = p->w.spoof = p->w.host = -1;
	p->rest = malloc(len + 1);
	p->values = malloc(len + 1);
	if (!p->rest || !p->values)
		return fail(err, "no memory");
	if (split_publish(text, p->rest, p->values, &p->w, err))
		return -1;
	has_first = !memchr(p->rest, '=', (size_t)(suboptions_end(p->rest) - p->rest));
	if (suboptions_parse(p->rest, has_first ? &first : NULL, rows, &p->w, &p->copy, err))
		return -1;
	p->w.first = first;
	return settle(&p->w, err);
}

/* --- the address -------------------------------------------------------------------------- */

static int parse_mac(const char *text, uint8_t *mac, struct error *err)
{
	const char *at = text;
	unsigned int i;

	for (i = 0; i < NET_MAC; i++, at += 3) {
		int high = hex_digit(at[0]), low = high < 0 ? -1 : hex_digit(at[1]);

		if (low < 0 || at[2] != (i + 1 < NET_MAC ? ':' : '\0'))
			return fail(err, "'%s' is no address like 02:00:00:00:00:01", text);
		mac[i] = (uint8_t)(high << 4 | low);
	}
	if (mac[0] & 1)
		return fail(err, "%s is a group's address, not a device's", text);
	return 0;
}

/* FNV-1a: nothing secret, only different for what is different. */
static uint64_t mix(uint64_t hash, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;

	while (len--)
		hash = (hash ^ *p++) * UINT64_C(0x100000001b3);
	return hash;
}

static void make_mac(const struct virtio_world *world, uint8_t *mac)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	char id[64];
	int fd = open(MACHINE_ID, O_RDONLY | O_CLOEXEC);
	long len = fd < 0 ? 0 : read_all(fd, id, sizeof(id));

	if (fd >= 0)
		close(fd);
	if (len <= 0)
		len = getrandom(id, sizeof(id), 0);
	hash = mix(hash, id, len > 0 ? (size_t)len : 0);
	hash = mix(hash, world->vm_name, strlen(world->vm_name) + 1);
	hash = htole64(mix(hash, world->name, strlen(world->name)));
	memcpy(mac, &hash, NET_MAC);
	mac[0] = 0x02;
}

/* --- back ends ------------------------------------------------------------------------------ */

static bool nothing_room(void *opaque, unsigned int pair)
{
	(void)opaque;
	(void)pair;
	return true;
}

static int nothing_send(void *opaque, unsigned int pair, const struct iovec *iov, unsigned int nr,
			size_t len)
{
	(void)opaque;
	(void)pair;
	(void)iov;
	(void)nr;
	(void)len;
	return 0;
}

static long nothing_recv(void *opaque, unsigned int pair, const uint8_t **frame)
{
	(void)opaque;
	(void)pair;
	(void)frame;
	return 0;
}

static void nothing_poll(void *opaque, unsigned int pair, bool on)
{
	(void)opaque;
	(void)pair;
	(void)on;
}

static void nothing_close(void *opaque)
{
	(void)opaque;
}

/* For a VM that is only shown. */
static const struct net_backend_ops nothing_ops = {
	.room = nothing_room,
	.send = nothing_send,
	.recv = nothing_recv,
	.poll = nothing_poll,
	.close = nothing_close,
};

static int parse_fds(const char *text, int *fds, unsigned int *nr, struct error *err)
{
	char copy[128], *at = copy, *word;
	unsigned int i;

	*nr = 0;
	if (snprintf(copy, sizeof(copy), "%s", text) >= (int)sizeof(copy))
		return fail(err, "'fd' is too long");
	while ((word = strsep(&at, ":"))) {
		uint64_t fd;
		int flags;

		if (*nr == NET_MAX_PAIRS || parse_uint(word, INT32_MAX, &fd, NULL))
			return fail(err, "'fd=%s': up to %d numbers with colons between them", text,
				    NET_MAX_PAIRS);
		flags = fcntl((int)fd, F_GETFD);
		if (flags < 0 || flags & FD_CLOEXEC || fd <= STDERR_FILENO)
			return fail(err,
				    "'fd=%s': lkvm did not inherit a descriptor %d, or uses "
				    "it already",
				    text, (int)fd);
		for (i = 0; i < *nr; i++)
			if (fds[i] == (int)fd)
				return fail(err, "'fd=%s': %d stands there twice", text, (int)fd);
		fds[(*nr)++] = (int)fd;
	}
	return 0;
}

static int open_fds(const struct virtio_world *world, const struct net_words *w,
		    struct net_backend *backend, struct error *err)
{
	int fds[NET_MAX_PAIRS], ret;
	unsigned int nr, i;

	if (parse_fds(w->fd, fds, &nr, err))
		return -1;
	if (w->queues && w->queues != nr) {
		fail(err, "'queues=%u' and %u descriptors: one for each is needed",
		     (unsigned int)w->queues, nr);
		return -1;
	}
	ret = net_tap_adopt(fds, nr, world->loop, world->log, backend, err);
	if (ret == 1 && nr > 1) {
		fail(err, "only a tap device can have several descriptors");
		return -1;
	}
	if (ret == 1)
		ret = net_socket_open(fds[0], world->loop, backend, err);
	if (!ret)
		for (i = 0; i < nr; i++)
			fcntl(fds[i], F_SETFD, FD_CLOEXEC);
	return ret;
}

static int open_backend(const struct virtio_world *world, const struct net_words *w,
			struct net_backend *backend, struct error *err)
{
	const struct net_user_config user = {
		.mtu = (uint16_t)w->mtu,
		.guest_ip = w->guest_ip,
		.host_ip = w->host_ip,
		.host_mac = w->host_mac,
		.reach_host = w->host == 1,
		.publish = w->publish,
		.nr_publish = w->nr_publish,
	};
	const struct net_tap_config tap = {
		.name = w->tapif,
		.pairs = w->queues ? (unsigned int)w->queues : 1,
		.mtu = (uint16_t)w->mtu,
		.script = w->script,
		.downscript = w->downscript,
		.host_ip = w->host_ip,
	};

	if (w->mode == MODE_USER)
		return net_user_open(&user, world->loop, world->log, backend, err);
	if (world->dry_run) {
		*backend = (struct net_backend){.ops = &nothing_ops, .pairs = tap.pairs};
		return 0;
	}
	if (w->mode == MODE_TAP)
		return net_tap_open(&tap, world->loop, world->log, backend, err);
	return open_fds(world, w, backend, err);
}

/* --- the device ------------------------------------------------------------------------------- */

/* The kernel's vhost, where it can be had and does what is asked of us. */
static int choose_vhost(const struct virtio_world *world, const struct net_words *w,
			struct virtio_net *net, struct error *err)
{
	bool must = w->vhost == VHOST_WORD_ON;
	const char *why = NULL;
	struct error problem;

	if (w->vhost == VHOST_WORD_OFF || world->dry_run)
		return 0;
	if (!net->backend.ops->tap || !net->backend.header)
		why = "this is no tap device with a header";
	else if (net->config.enforce)
		why = "the kernel does not drop frames from other addresses than guest_mac= (with "
		      "spoof=on nobody does)";
	else if (virtio_net_use_vhost(net, world->loop, &problem))
		why = problem.msg;
	if (why && must)
		return fail(err, "'vhost=on': %s", why);
	if (net->backend.ops->tap)
		log_info(world->log, "%s: vhost %s%s", world->name, why ? "is not used: " : "",
			 why ? why : "serves the queues");
	return 0;
}

static int build_own(const struct virtio_world *world, const struct net_words *w,
		     const struct virtio_net_config *config, struct virtio_device **vdev,
		     struct error *err)
{
	struct net_backend backend;
	struct virtio_net *net;

	if (open_backend(world, w, &backend, err))
		return -1;
	net = virtio_net_create(world->name, world->mem, world->log, config, &backend, err);
	if (!net) {
		backend.ops->close(backend.opaque);
		return -1;
	}
	if (choose_vhost(world, w, net, err)) {
		virtio_net_device(net)->ops->destroy(virtio_net_device(net));
		return -1;
	}
	*vdev = virtio_net_device(net);
	return 0;
}

/* All but address, link and MTU is the other program's. */
static int build_vhost_user(const struct virtio_world *world, const struct net_words *w,
			    const struct virtio_net_config *net, struct virtio_device **vdev,
			    struct error *err)
{
	struct {
		uint8_t mac[NET_MAC];
		uint16_t status, pairs, mtu;
	} config = {.status = htole16(1) /* the link is up */, .mtu = htole16(net->mtu)};
	const struct vhost_user_setup setup = {
		.type = vhost_user_type_find("net"),
		.fd = -1,
		.features = VIRTIO_BIT(NET_F_MAC) | VIRTIO_BIT(NET_F_STATUS) |
			    (net->mtu ? VIRTIO_BIT(NET_F_MTU) : 0),
		.config = &config,
		.config_len = sizeof(config),
	};
	struct vhost_user_setup with_fd = setup;
	struct vhost_user_device *dev;

	memcpy(config.mac, net->mac, NET_MAC);
	if (!world->dry_run) {
		with_fd.fd = vhost_user_connect(w->socket, err);
		if (with_fd.fd < 0)
			return -1;
	}
	dev = vhost_user_device_create(world, &with_fd, err);
	if (!dev)
		return -1;
	*vdev = vhost_user_device(dev);
	return 0;
}

static int build_words(const struct virtio_world *world, const struct net_words *w,
		       struct virtio_device **vdev, struct error *err)
{
	struct virtio_net_config config = {.mtu = (uint16_t)w->mtu};

	if (w->mode == MODE_NONE)
		return 0;
	if (w->guest_mac && parse_mac(w->guest_mac, config.mac, err))
		return -1;
	config.fixed = w->guest_mac;
	config.enforce = w->spoof < 0 ? config.fixed : !w->spoof;
	if (!w->guest_mac)
		make_mac(world, config.mac);
	if (w->mode == MODE_VHOST_USER)
		return build_vhost_user(world, w, &config, vdev, err);
	return build_own(world, w, &config, vdev, err);
}

static int build(const struct virtio_world *world, const char *text, struct virtio_device **vdev,
		 struct error *err)
{
	struct parsed p;
	int ret = parse(text, &p, err);

	*vdev = NULL;
	if (!ret)
		ret = build_words(world, &p.w, vdev, err);
	free_parsed(&p);
	return ret;
}

static bool shares_memory(const char *text)
{
	struct parsed p;
	bool shares = !parse(text, &p, NULL) && p.w.mode == MODE_VHOST_USER;

	free_parsed(&p);
	return shares;
}

static bool publishes(const char *text)
{
	struct parsed p;
	bool good = !parse(text, &p, NULL), user = p.w.mode == MODE_USER;

	free_parsed(&p);
	return user || !good;
}

/* Of two cards with one address neither hears all of what is meant for it. */
static bool claim(const char *name, const char *text, char what[VIRTIO_CLAIM_MAX])
{
	struct parsed p;
	uint8_t mac[NET_MAC] = {0};
	bool given = !parse(text, &p, NULL) && p.w.mode != MODE_NONE && p.w.guest_mac &&
		     !parse_mac(p.w.guest_mac, mac, NULL);

	(void)name;
	if (given)
		snprintf(what, VIRTIO_CLAIM_MAX,
			 "network device with the address %02x:%02x:%02x:%02x:%02x:%02x", mac[0],
			 mac[1], mac[2], mac[3], mac[4], mac[5]);
	free_parsed(&p);
	return given;
}

const struct virtio_kind virtio_net_kind = {
	.option = "network",
	.letter = 'n',
	.arg = "[mode=]MODE[,WORD...]",
	.help = "a network device: user (the host's network, by passt), tap, fd (open already), "
		"vhost-user (another program), none",
	.words = rows,
	.prefix = "net",
	.shares_memory = shares_memory,
	.claim = claim,
	.publishes = publishes,
	.build = build,
};
