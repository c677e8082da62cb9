// SPDX-License-Identifier: GPL-2.0-only
/*
 * The start of the program, and what the compiler and the rest take for granted of a C
 * library (sys.h).
 *
 * Thread: there is one.
 */
#include "sys.h"

#include <linux/time.h>

int main(int argc, char **argv);
void start(long *sp) __attribute__((noreturn));

/* The kernel enters with argc at the stack pointer, and argv behind it. */
__asm__(".globl _start\n"
	"_start:\n"
	"	mv a0, sp\n"
	"	andi sp, sp, -16\n"
	"	call start\n");

void start(long *sp)
{
	sys(__NR_exit_group, main((int)sp[0], (char **)(sp + 1)));
	for (;;)
		;
}

/* The compiler calls these by name. */
void *memcpy(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);

void *memcpy(void *dst, const void *src, size_t n)
{
	const char *s = src;
	char *d = dst;

	while (n--)
		*d++ = *s++;
	return dst;
}

void *memset(void *dst, int c, size_t n)
{
	char *d = dst;

	while (n--)
		*d++ = (char)c;
	return dst;
}

size_t str_len(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

bool str_same(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

void str_add(char *dst, size_t size, const char *src)
{
	size_t n = str_len(dst);

	while (*src && n + 1 < size)
		dst[n++] = *src++;
	dst[n] = '\0';
}

void str_add_number(char *dst, size_t size, unsigned long n)
{
	char digits[24];
	size_t i = sizeof(digits) - 1;

	digits[i] = '\0';
	do {
		digits[--i] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	str_add(dst, size, digits + i);
}

unsigned long str_number(const char *s)
{
	unsigned long n = 0;

	while (*s >= '0' && *s <= '9')
		n = 10 * n + (unsigned long)(*s++ - '0');
	return n;
}

long read_file(const char *path, char *buf, size_t size)
{
	long fd = sys(__NR_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC), n = 0;
	size_t len = 0;

	if (fd < 0)
		return fd;
	while (len + 1 < size) {
		n = sys(__NR_read, fd, buf + len, size - 1 - len);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	sys(__NR_close, fd);
	buf[len] = '\0';
	return n < 0 ? n : (long)len;
}

void sleep_ms(long ms)
{
	struct __kernel_timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	sys(__NR_nanosleep, &t, NULL);
}

bool write_whole(int fd, const char *buf, size_t len)
{
	while (len) {
		long n = sys(__NR_write, fd, buf, len);

		if (n == -EINTR || n == -EAGAIN) {
			sleep_ms(1);
			continue;
		}
		if (n <= 0)
			return false;
		buf += n;
		len -= (size_t)n;
	}
	return true;
}
