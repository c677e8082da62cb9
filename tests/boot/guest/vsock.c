// SPDX-License-Identifier: GPL-2.0-only
/*
 * Talk over AF_VSOCK, or over unix sockets that lead there; on either side.
 *
 * Theory of operation: a server sends back what it hears. A client sends bytes of a known
 * pattern and compares what comes back, reading while it writes, so that buffers are full
 * both ways. Addresses:
 *
 *	vsock:PORT		to serve: this machine's port
 *	vsock:CID:PORT		to connect
 *	unix:PATH		to serve: a listening socket there
 *	connect:PATH:PORT	to connect: the unix socket PATH, "CONNECT PORT", "OK N"
 *
 *	vsock serve ADDRESS		says "vsock: serving", and never ends
 *	vsock echo ADDRESS BYTES [N]	N connections (1), one after the other: says
 *					"vsock: N times BYTES bytes, sum SUM, MS ms"
 *	vsock hold ADDRESS N		N connections at a time, a byte on each: says "vsock: held",
 *					and "vsock: N ended" when the other side has ended all
 *	vsock refused ADDRESS		says "vsock: refused" where nobody answers
 *	vsock say ADDRESS LINE...	says these lines there, and leaves
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define CHUNK 65536
#define SERVED_MAX 64

static _Noreturn void die(const char *what)
{
	printf("vsock: %s: %s\n", what, strerror(errno));
	fflush(stdout);
	exit(1);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static struct sockaddr_un unix_address(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	return a;
}

static int bind_to(const char *address)
{
	struct sockaddr_vm v = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY};
	struct sockaddr_un u;
	int fd, ret;

	if (!strncmp(address, "unix:", 5)) {
		u = unix_address(address + 5);
		unlink(u.sun_path);
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		ret = bind(fd, (struct sockaddr *)&u, sizeof(u));
	} else {
		v.svm_port = (unsigned int)strtoul(address + 6, NULL, 10);
		fd = socket(AF_VSOCK, SOCK_STREAM, 0);
		ret = bind(fd, (struct sockaddr *)&v, sizeof(v));
	}
	if (fd < 0 || ret || listen(fd, 32))
		die("bind");
	return fd;
}

/* The answer, a byte at a time: what is behind the line is not ours. */
static int read_ok(int fd)
{
	char line[32];
	size_t n = 0;

	while (n < sizeof(line) && read(fd, line + n, 1) == 1)
		if (line[n++] == '\n')
			return strncmp(line, "OK ", 3);
	return -1;
}

/* -1 where nobody answers. */
static int connect_to(const char *address)
{
	struct sockaddr_vm v = {.svm_family = AF_VSOCK};
	char path[108], line[32];
	struct sockaddr_un u;
	unsigned int port;
	int fd, ret;

	if (sscanf(address, "connect:%107[^:]:%u", path, &port) == 2) {
		u = unix_address(path);
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		ret = connect(fd, (struct sockaddr *)&u, sizeof(u));
		snprintf(line, sizeof(line), "CONNECT %u\n", port);
		if (!ret && write(fd, line, strlen(line)) == (ssize_t)strlen(line))
			ret = read_ok(fd);
	} else if (sscanf(address, "vsock:%u:%u", &v.svm_cid, &v.svm_port) == 2) {
		fd = socket(AF_VSOCK, SOCK_STREAM, 0);
		/* Linux' own two seconds are little on an emulated machine. */
		setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &(struct timeval){60, 0},
			   sizeof(struct timeval));
		ret = connect(fd, (struct sockaddr *)&v, sizeof(v));
	} else {
		errno = EINVAL;
		die(address);
	}
	if (fd < 0)
		die("socket");
	if (!ret)
		return fd;
	close(fd);
	return -1;
}

/* A connection that is served: what it said, and @at of it was sent back. */
struct served {
	char *buf;
	ssize_t len, at;
};

/* Read, or send what was read; false at the end. */
static int serve_one(int fd, struct served *s)
{
	ssize_t n;

	if (s->at == s->len) {
		s->at = 0;
		s->len = recv(fd, s->buf, CHUNK, MSG_DONTWAIT);
		if (s->len < 0 && errno == EAGAIN)
			s->len = 0;
		else if (s->len <= 0)
			return 0;
	}
	n = send(fd, s->buf + s->at, (size_t)(s->len - s->at), MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN)
		return 0;
	s->at += n > 0 ? n : 0;
	return 1;
}

static _Noreturn void serve(const char *address)
{
	struct pollfd p[SERVED_MAX + 1] = {{.fd = bind_to(address), .events = POLLIN}};
	struct served served[SERVED_MAX + 1];
	int i, nr = 1;

	printf("vsock: serving\n");
	fflush(stdout);
	for (;;) {
		if (poll(p, (nfds_t)nr, -1) < 0)
			die("poll");
		for (i = nr - 1; i > 0; i--) {
			if (!p[i].revents || serve_one(p[i].fd, &served[i])) {
				p[i].events = served[i].at < served[i].len ? POLLOUT : POLLIN;
				continue;
			}
			close(p[i].fd);
			free(served[i].buf);
			nr--;
			p[i] = p[nr];
			served[i] = served[nr];
		}
		if (!(p[0].revents & POLLIN) || nr > SERVED_MAX)
			continue;
		p[nr].fd = accept(p[0].fd, NULL, NULL);
		if (p[nr].fd < 0)
			die("accept");
		p[nr].events = POLLIN;
		p[nr].revents = 0;
		served[nr] = (struct served){.buf = malloc(CHUNK)};
		nr++;
	}
}

static uint8_t pattern(uint64_t at)
{
	return (uint8_t)(at * 13 >> 3 ^ at >> 11);
}

/* Send and hear @bytes; FNV-1a of what was heard. */
static uint32_t echo_one(int fd, uint64_t bytes)
{
	static uint8_t out[CHUNK], in[CHUNK];
	uint64_t sent = 0, heard = 0, i, n;
	uint32_t sum = 2166136261;
	struct pollfd p = {.fd = fd};
	ssize_t done;

	while (heard < bytes) {
		p.events = (short)(sent < bytes ? POLLIN | POLLOUT : POLLIN);
		if (poll(&p, 1, 60000) <= 0)
			die("poll: nothing happens");
		if (p.revents & POLLOUT) {
			n = bytes - sent < CHUNK ? bytes - sent : CHUNK;
			for (i = 0; i < n; i++)
				out[i] = pattern(sent + i);
			done = send(fd, out, n, MSG_DONTWAIT | MSG_NOSIGNAL);
			if (done < 0 && errno != EAGAIN)
				die("send");
			sent += done > 0 ? (uint64_t)done : 0;
			if (sent == bytes)
				shutdown(fd, SHUT_WR);
		}
		if (p.revents & (POLLIN | POLLHUP | POLLERR)) {
			done = recv(fd, in, sizeof(in), MSG_DONTWAIT);
			if (!done || (done < 0 && errno != EAGAIN))
				die("recv: it ended early");
			for (i = 0; done > 0 && i < (uint64_t)done; i++) {
				if (in[i] != pattern(heard + i)) {
					printf("vsock: byte %llu is wrong\n",
					       (unsigned long long)(heard + i));
					exit(1);
				}
				sum = (sum ^ in[i]) * 16777619;
			}
			heard += done > 0 ? (uint64_t)done : 0;
		}
	}
	if (recv(fd, in, 1, 0) != 0)
		die("recv: it did not end");
	return sum;
}

static int echo(const char *address, uint64_t bytes, unsigned int times)
{
	uint64_t start = now_ms();
	uint32_t sum = 0;
	unsigned int i;
	int fd;

	for (i = 0; i < times; i++) {
		fd = connect_to(address);
		if (fd < 0)
			die("connect");
		sum = echo_one(fd, bytes);
		close(fd);
	}
	printf("vsock: %u times %llu bytes, sum %08x, %llu ms\n", times, (unsigned long long)bytes,
	       sum, (unsigned long long)(now_ms() - start));
	return 0;
}

static int hold(const char *address, unsigned int nr)
{
	struct pollfd *p = calloc(nr, sizeof(*p));
	unsigned int i, ended = 0;
	char byte = 'x';

	for (i = 0; p && i < nr; i++) {
		p[i].fd = connect_to(address);
		p[i].events = POLLIN;
		if (p[i].fd < 0 || write(p[i].fd, &byte, 1) != 1 || read(p[i].fd, &byte, 1) != 1)
			die("hold");
	}
	printf("vsock: held\n");
	fflush(stdout);
	while (p && ended < nr) {
		if (poll(p, nr, -1) < 0)
			die("poll");
		for (i = 0; i < nr; i++) {
			if (p[i].fd < 0 || !p[i].revents)
				continue;
			if (read(p[i].fd, &byte, 1) > 0)
				die("a byte came");
			close(p[i].fd);
			p[i].fd = -1;
			ended++;
		}
	}
	printf("vsock: %u ended\n", ended);
	free(p);
	return 0;
}

static int say(const char *address, char *const *lines)
{
	int fd = connect_to(address);

	if (fd < 0)
		die(address);
	for (; *lines; lines++)
		if (dprintf(fd, "%s\n", *lines) < 0)
			die("send");
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	const char *word = argc > 2 ? argv[1] : "";

	signal(SIGPIPE, SIG_IGN);
	if (!strcmp(word, "serve"))
		serve(argv[2]);
	if (!strcmp(word, "echo") && argc > 3)
		return echo(argv[2], strtoull(argv[3], NULL, 10),
			    argc > 4 ? (unsigned int)atoi(argv[4]) : 1);
	if (!strcmp(word, "hold") && argc > 3)
		return hold(argv[2], (unsigned int)atoi(argv[3]));
	if (!strcmp(word, "say"))
		return say(argv[2], argv + 3);
	if (!strcmp(word, "refused")) {
		if (connect_to(argv[2]) >= 0)
			return 1;
		printf("vsock: refused\n");
		return 0;
	}
	fprintf(stderr, "usage: vsock serve|echo|hold|refused|say ADDRESS [BYTES|NR|LINE [...]]\n");
	return 2;
}
