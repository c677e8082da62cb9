// SPDX-License-Identifier: GPL-2.0-only
/*
 * User-mode networking: passt, started by lkvm beside the VM, speaks TCP, UDP and ICMP
 * for the guest by the host's ordinary sockets, and answers its DHCP, NDP and DNS. No
 * privilege is needed on either side. lkvm itself looks into no packet.
 *
 * The two are joined by a socket pair (virtio/net_socket.c): passt is given its end as
 * descriptor 3, stays in the foreground and ends when ours is closed. When it dies the
 * link goes down and the VM goes on; it is not started again, since all connections of
 * the guest died with it.
 *
 * Ready. passt says nothing when it is up, and a port that can't be bound ends it some
 * moments after it was started. So a first frame is sent, of a type that nobody takes
 * (0x88b5, IEEE 802's for experiments), from the guest's address: when the kernel
 * counts it as read, passt has set itself up. Only then the guest starts, and an error
 * is told as one of lkvm's start.
 *
 * What the guest reaches. passt would let the gateway's address lead to the host, its
 * loopback included, where services trust whoever can connect; that is asked for here
 * (host=on), or does not happen. One thing depends on it: a host whose only resolver
 * listens on the loopback. systemd-resolved writes down its own servers, and those are
 * given to the guest then; else there is a warning.
 *
 * Thread: the loop's, and before it. Nothing is saved.
 */
#include "net_internal.h"

#include "lkvm/helper.h"
#include "lkvm/options.h"
#include "lkvm/virtio/net_backend.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define PASST "passt"
#define MAX_ARGS 128
#define MAX_RESOLVERS 4
#define READY_MS 5000
#define READY_STEP_MS 2
#define LAST_WORDS_MS 1000
#define PATIENCE_NS (200 * NSEC_PER_MSEC)

#define RESOLV_CONF "/etc/resolv.conf"
#define SYSTEMD_RESOLV_CONF "/run/systemd/resolve/resolv.conf"

struct net_user {
	struct loop *loop;
	struct log *log;
	struct net_backend socket;
	struct helper *helper;
	int ours, theirs; /* the two ends; ours belongs to the socket back end */
	size_t argc;
	char *argv[MAX_ARGS + 1];
};

/* --- the command line ---------------------------------------------------------------- */

static int add_arg(struct net_user *u, struct error *err, const char *fmt, ...) __printf(3, 4);

static int add_arg(struct net_user *u, struct error *err, const char *fmt, ...)
{
	va_list ap;
	int ret;

	if (u->argc == MAX_ARGS)
		return fail(err, "passt would get more than %d arguments", MAX_ARGS);
	va_start(ap, fmt);
	ret = vasprintf(&u->argv[u->argc], fmt, ap);
	va_end(ap);
	if (ret < 0) {
		u->argv[u->argc] = NULL;
		return fail(err, "no memory for a network device");
	}
	u->argc++;
	return 0;
}

/* An option with its value; none where there is no value. */
static int add_option(struct net_user *u, const char *option, const char *value, struct error *err)
{
	if (!value)
		return 0;
	return add_arg(u, err, "%s", option) || add_arg(u, err, "%s", value) ? -1 : 0;
}

static bool is_address(const char *text)
{
	struct in6_addr addr;

	return inet_pton(AF_INET, text, &addr) == 1 || inet_pton(AF_INET6, text, &addr) == 1;
}

static bool is_port(const char *text)
{
	uint64_t port;

	return !parse_uint(text, 65535, &port, NULL) && port;
}

/**
 * struct published - a forwarded port, taken apart
 * @addr: of the host, NULL: all it has
 */
struct published {
	char copy[128], *addr, *host, *guest;
	bool udp;
};

/*
 * "[::1]:8080:80/udp": what follows the last colon is the guest's port, what follows the
 * one before it the host's; the rest is an address.
 */
static bool take_apart(const char *text, struct published *p)
{
	char *slash;

	if (snprintf(p->copy, sizeof(p->copy), "%s", text) >= (int)sizeof(p->copy))
		return false;
	slash = strchr(p->copy, '/');
	if (slash && strcmp(slash, "/udp") && strcmp(slash, "/tcp"))
		return false;
	p->udp = slash && !strcmp(slash, "/udp");
	if (slash)
		*slash = '\0';
	p->guest = strrchr(p->copy, ':');
	if (!p->guest)
		return false;
	*p->guest++ = '\0';
	p->host = strrchr(p->copy, ':');
	p->addr = p->host ? p->copy : NULL;
	if (p->host)
		*p->host++ = '\0';
	else
		p->host = p->copy;
	if (p->addr && p->addr[0] == '[' && p->addr[strlen(p->addr) - 1] == ']') {
		p->addr[strlen(p->addr) - 1] = '\0';
		p->addr++;
	}
	return is_port(p->host) && is_port(p->guest) && (!p->addr || is_address(p->addr));
}

int virtio_net_check_publish(const char *text, struct error *err)
{
	struct published p;

	return take_apart(text, &p) ? 0 : fail(err, "not [ADDRESS:]HOSTPORT:GUESTPORT[/udp]");
}

/* That one becomes "-u ::1/8080:80". */
static int add_publish(struct net_user *u, const char *text, struct error *err)
{
	struct published p;

	if (!take_apart(text, &p))
		return fail(err, "publish=%s is not [ADDRESS:]HOSTPORT:GUESTPORT[/udp]", text);
	return add_arg(u, err, p.udp ? "-u" : "-t") ||
			       add_arg(u, err, "%s%s%s:%s", p.addr ? p.addr : "", p.addr ? "/" : "",
				       p.host, p.guest)
		       ? -1
		       : 0;
}

/* --- name servers ----------------------------------------------------------------------- */

/**
 * struct resolvers - name servers of a file
 * @loopback: how many listen on the loopback; @nr: others, @text of them
 */
struct resolvers {
	unsigned int loopback, nr;
	char text[MAX_RESOLVERS][INET6_ADDRSTRLEN];
};

static void add_resolver(struct resolvers *r, const char *text)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (inet_pton(AF_INET, text, &v4) == 1) {
		if (ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET) {
			r->loopback++;
			return;
		}
	} else if (inet_pton(AF_INET6, text, &v6) != 1) {
		return;
	} else if (IN6_IS_ADDR_LOOPBACK(&v6)) {
		r->loopback++;
		return;
	}
	if (r->nr < MAX_RESOLVERS)
		snprintf(r->text[r->nr++], sizeof(r->text[0]), "%s", text);
}

static void read_resolvers(const char *path, struct resolvers *r)
{
	FILE *in = fopen(path, "re");
	char line[256], text[INET6_ADDRSTRLEN];

	memset(r, 0, sizeof(*r));
	if (!in)
		return;
	while (fgets(line, sizeof(line), in))
		if (sscanf(line, "nameserver %45s", text) == 1)
			add_resolver(r, text);
	fclose(in);
}

static int add_resolvers(struct net_user *u, struct error *err)
{
	struct resolvers r;
	unsigned int i;

	read_resolvers(RESOLV_CONF, &r);
	/* passt takes them from there itself, and those on the loopback it can't use. */
	if (r.nr || !r.loopback)
		return 0;
	read_resolvers(SYSTEMD_RESOLV_CONF, &r);
	if (!r.nr)
		log_warning(u->log, "the host's name server listens on its loopback only: the "
				    "guest can't use it without host=on");
	for (i = 0; i < r.nr; i++)
		if (add_option(u, "--dns", r.text[i], err))
			return -1;
	return 0;
}

static int make_command(struct net_user *u, const struct net_user_config *config, struct error *err)
{
	char mtu[8];
	size_t i;

	snprintf(mtu, sizeof(mtu), "%u", config->mtu);
	if (add_arg(u, err, PASST) || add_arg(u, err, "--foreground") ||
	    add_option(u, "--fd", "3", err) ||
	    add_option(u, "--mtu", config->mtu ? mtu : NULL, err) ||
	    add_option(u, "--address", config->guest_ip, err) ||
	    add_option(u, "--gateway", config->host_ip, err) ||
	    add_option(u, "--mac-addr", config->host_mac, err))
		return -1;
	if (!config->reach_host && (add_arg(u, err, "--no-map-gw") || add_resolvers(u, err)))
		return -1;
	for (i = 0; i < config->nr_publish; i++)
		if (add_publish(u, config->publish[i], err))
			return -1;
	return 0;
}

/* --- starting --------------------------------------------------------------------------- */

static void passt_died(void *opaque, int status)
{
	struct net_user *u = opaque;
	char text[HELPER_STATUS_MAX], why[HELPER_STATUS_MAX + 16];

	snprintf(why, sizeof(why), PASST " %s", helper_status(status, text));
	net_socket_end(&u->socket, why);
}

/* A frame that is nothing to anybody, with its length before it. */
static bool send_first_frame(const struct net_user *u, const uint8_t *from)
{
	struct {
		uint32_t prefix;
		uint8_t to[NET_MAC], from[NET_MAC], type[2], nothing[46];
	} __attribute__((packed)) first = {
		.prefix = htobe32(sizeof(first) - sizeof(first.prefix)),
		.to = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		.type = {0x88, 0xb5},
	};

	memcpy(first.from, from, NET_MAC);
	return send(u->ours, &first, sizeof(first), MSG_DONTWAIT | MSG_NOSIGNAL) ==
	       (ssize_t)sizeof(first);
}

/* Did the other side close its end? What was not read then counts as read. */
static bool is_closed(const struct net_user *u)
{
	char c;
	ssize_t n = recv(u->ours, &c, 1, MSG_PEEK | MSG_DONTWAIT);

	return !n || (n < 0 && errno != EAGAIN && errno != EINTR);
}

/* The socket is closed, so passt should be about to end, and say why. */
static int fail_closed(struct net_user *u, struct error *err)
{
	if (helper_wait(u->helper, LAST_WORDS_MS, NULL, NULL, err) < 0)
		return -1;
	return fail(err, "passt closed its socket");
}

static int wait_until_ready(struct net_user *u, struct error *err)
{
	int ms, unread;

	for (ms = 0; ms < READY_MS; ms += READY_STEP_MS) {
		if (is_closed(u))
			return fail_closed(u, err);
		if (ioctl(u->ours, SIOCOUTQ, &unread) || !unread)
			return is_closed(u) ? fail_closed(u, err) : 0;
		if (helper_wait(u->helper, READY_STEP_MS, NULL, NULL, err) < 0)
			return -1;
	}
	log_warning(u->log, "passt reads nothing after %d seconds; the VM starts all the same",
		    READY_MS / 1000);
	return 0;
}

static int user_start(void *opaque, struct virtio_net *net, struct error *err)
{
	struct net_user *u = opaque;
	const struct helper_request req = {
		.what = PASST,
		.argv = u->argv,
		.package = PASST,
		.fds = &u->theirs,
		.nr_fds = 1,
		.died = passt_died,
		.opaque = u,
	};

	u->helper = helper_start(u->loop, u->log, &req, err);
	if (!u->helper)
		return -1;
	close(u->theirs);
	u->theirs = -1;
	if (!send_first_frame(u, net->s.mac))
		return fail_closed(u, err);
	return wait_until_ready(u, err);
}

static void free_user(struct net_user *u)
{
	if (u->theirs >= 0)
		close(u->theirs);
	while (u->argc)
		free(u->argv[--u->argc]);
	free(u);
}

static void user_close(void *opaque)
{
	struct net_user *u = opaque;

	helper_stop(u->helper);
	free_user(u);
}

static const struct net_socket_owner user_owner = {
	.start = user_start,
	.patience_ns = PATIENCE_NS,
	.close = user_close,
};

static int make_pair(struct net_user *u, struct net_backend *backend, struct error *err)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return fail_errno(err, errno, "cannot make a socket pair for passt");
	u->theirs = fds[1];
	if (net_socket_open(fds[0], u->loop, &u->socket, err)) {
		close(fds[0]);
		return -1;
	}
	u->ours = fds[0];
	net_socket_own(&u->socket, &user_owner, u);
	*backend = u->socket;
	return 0;
}

int net_user_open(const struct net_user_config *config, struct loop *loop, struct log *log,
		  struct net_backend *backend, struct error *err)
{
	struct net_user *u = calloc(1, sizeof(*u));

	if (!u)
		return fail(err, "no memory for a network device");
	u->loop = loop;
	u->log = log;
	u->theirs = -1;
	if (make_command(u, config, err) || make_pair(u, backend, err)) {
		free_user(u);
		return -1;
	}
	return 0;
}
