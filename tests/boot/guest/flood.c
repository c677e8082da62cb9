// SPDX-License-Identifier: GPL-2.0-only
/*
 * flood ADDRESS COUNT [WINDOW [SIZE]]: that many ICMP echo requests of SIZE bytes (8),
 * WINDOW (32) of them on their way at a time, each to be answered. Ten seconds without an answer
 * are the end: then something is stuck, or lost. Prints "COUNT sent, COUNT answered, N ms"; status
 * 0 where all were answered.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define STUCK_MS 10000
#define SIZE_MAX_BYTES 1472

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static uint16_t checksum(const void *bytes, size_t len)
{
	const uint16_t *p = bytes;
	uint32_t sum = 0;

	for (; len > 1; len -= 2)
		sum += *p++;
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t) ~(sum + (sum >> 16));
}

static int send_one(int fd, unsigned int seq, size_t size)
{
	struct {
		struct icmphdr icmp;
		uint8_t data[SIZE_MAX_BYTES];
	} msg = {.icmp = {.type = ICMP_ECHO}};

	msg.icmp.un.echo.id = (uint16_t)getpid();
	msg.icmp.un.echo.sequence = (uint16_t)seq;
	/* The data are zeroes, which do not count. */
	msg.icmp.checksum = checksum(&msg.icmp, sizeof(msg.icmp));
	return send(fd, &msg, size, 0) < 0 ? -1 : 0;
}

/* Is it an answer to us? */
static int read_one(int fd)
{
	uint8_t buf[2048];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
	size_t ip = n > 0 ? (size_t)(buf[0] & 15) * 4 : 0;
	struct icmphdr icmp;

	if (n < (ssize_t)(ip + sizeof(icmp)))
		return 0;
	memcpy(&icmp, buf + ip, sizeof(icmp));
	return icmp.type == ICMP_ECHOREPLY && icmp.un.echo.id == (uint16_t)getpid();
}

static int bulk(const char *address, int port, unsigned int mib)
{
	static const uint8_t zeroes[65536];
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	uint64_t begin = now_ms(), left = (uint64_t)mib << 20;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char c;

	if (inet_pton(AF_INET, address, &to.sin_addr) != 1 ||
	    connect(fd, (struct sockaddr *)&to, sizeof(to)))
		return 2;
	while (left) {
		ssize_t n = write(fd, zeroes, left < sizeof(zeroes) ? left : sizeof(zeroes));

		if (n <= 0)
			return 1;
		left -= (uint64_t)n;
	}
	shutdown(fd, SHUT_WR);
	if (read(fd, &c, 1))
		return 1;
	printf("%u MiB sent, %llu ms\n", mib, (unsigned long long)(now_ms() - begin));
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	unsigned int count, window, sent = 0, answered = 0;
	size_t size = sizeof(struct icmphdr);
	uint64_t begin = now_ms();
	int fd, room = 1 << 20;

	if (argc == 5 && !strcmp(argv[1], "tcp"))
		return bulk(argv[2], atoi(argv[3]), (unsigned int)atoi(argv[4]));
	if (argc < 3 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1)
		return 2;
	count = (unsigned int)atoi(argv[2]);
	window = argc > 3 ? (unsigned int)atoi(argv[3]) : 32;
	if (argc > 4)
		size = (size_t)atoi(argv[4]);
	if (size < sizeof(struct icmphdr) || size > SIZE_MAX_BYTES)
		return 2;
	fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)))
		return 2;
	while (answered < count) {
		struct pollfd p = {.fd = fd, .events = POLLIN};

		for (; sent < count && sent - answered < window; sent++)
			if (send_one(fd, sent, size)) {
				printf("sending: %s\n", strerror(errno));
				return 1;
			}
		if (poll(&p, 1, STUCK_MS) <= 0)
			break;
		/* All that is there: a window's answers come in bunches. */
		while (poll(&p, 1, 0) > 0)
			answered += (unsigned int)read_one(fd);
	}
	printf("%u sent, %u answered, %llu ms\n", sent, answered,
	       (unsigned long long)(now_ms() - begin));
	return answered != count;
}
