// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where the GDB stub listens: the value of --gdb (include/lkvm/gdb.h).
 *
 * Who can connect owns the guest, and the protocol knows no password. So only addresses of
 * this machine itself are taken.
 *
 * No state. Thread: that of the command line.
 */
#include "lkvm/gdb.h"

#include "lkvm/options.h"
#include "lkvm/suboptions.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static const char unix_prefix[] = "unix:";

static int parse_unix(const char *path, struct gdb_address *a, struct error *err)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&a->address;

	if (!*path)
		return fail(err, "unix: wants a path");
	if (strlen(path) >= sizeof(un->sun_path))
		return fail(err, "a socket's path has at most %zu bytes", sizeof(un->sun_path) - 1);
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, path, strlen(path) + 1);
	a->len = sizeof(*un);
	return 0;
}

static void set_ipv4(struct gdb_address *a, struct in_addr host, uint16_t port)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&a->address;

	in->sin_family = AF_INET;
	in->sin_addr = host;
	in->sin_port = htons(port);
	a->len = sizeof(*in);
}

static void set_ipv6(struct gdb_address *a, uint16_t port)
{
	struct sockaddr_in6 *in = (struct sockaddr_in6 *)&a->address;

	in->sin6_family = AF_INET6;
	in->sin6_addr = in6addr_loopback;
	in->sin6_port = htons(port);
	a->len = sizeof(*in);
}

static int parse_host(const char *host, uint16_t port, struct gdb_address *a, struct error *err)
{
	struct in_addr address = {.s_addr = htonl(INADDR_LOOPBACK)};

	if (!strcmp(host, "::1") || !strcmp(host, "[::1]")) {
		set_ipv6(a, port);
		return 0;
	}
	if (*host && strcmp(host, "localhost") != 0 &&
	    (inet_pton(AF_INET, host, &address) != 1 ||
	     ntohl(address.s_addr) >> 24 != IN_LOOPBACKNET))
		return fail(err,
			    "whoever can connect owns the guest, so the host is 127.0.0.1, ::1 or "
			    "localhost; from elsewhere go through ssh -L");
	set_ipv4(a, address, port);
	return 0;
}

static int parse_address(char *text, struct gdb_address *a, struct error *err)
{
	char *colon = strrchr(text, ':');
	uint64_t port;

	if (!strncmp(text, unix_prefix, strlen(unix_prefix)))
		return parse_unix(text + strlen(unix_prefix), a, err);
	if (parse_uint(colon ? colon + 1 : text, UINT16_MAX, &port, err) || !port)
		return fail(err, "say PORT (1 to 65535), HOST:PORT or unix:PATH");
	if (colon)
		*colon = '\0';
	return parse_host(colon ? text : "", (uint16_t)port, a, err);
}

int gdb_parse(const char *text, struct gdb_address *address, struct error *err)
{
	static const struct suboption rows[] = {
		{.name = "wait",
		 .type = SUBOPTION_FLAG,
		 .offset = offsetof(struct gdb_address, wait)},
		{.name = NULL},
	};
	const char *first;
	char *copy;
	int ret;

	memset(address, 0, sizeof(*address));
	ret = suboptions_parse(text, &first, rows, address, &copy, err);
	if (!ret)
		ret = parse_address((char *)(uintptr_t)first, address, err);
	free(copy);
	return ret;
}
