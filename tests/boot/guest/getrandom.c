// SPDX-License-Identifier: GPL-2.0-only
/*
 * When does getrandom(2) answer?
 *
 * Theory of operation: ask for 32 bytes, first without waiting, then with. Says "getrandom: at
 * once, uptime N ms" or "getrandom: after N ms", and a second line with the bytes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>

static uint64_t uptime_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int main(void)
{
	uint64_t start = uptime_ms();
	unsigned char buf[32];
	size_t i;

	if (getrandom(buf, sizeof(buf), GRND_NONBLOCK) == (ssize_t)sizeof(buf)) {
		printf("getrandom: at once, uptime %llu ms\n", (unsigned long long)start);
	} else if (getrandom(buf, sizeof(buf), 0) == (ssize_t)sizeof(buf)) {
		printf("getrandom: after %llu ms\n", (unsigned long long)(uptime_ms() - start));
	} else {
		perror("getrandom");
		return 1;
	}
	printf("bytes: ");
	for (i = 0; i < sizeof(buf); i++)
		printf("%02x", buf[i]);
	printf("\n");
	return 0;
}
