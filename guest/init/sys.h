/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a program needs that runs with no C library: system calls of RISC-V Linux, and a
 * few functions on strings. Results are the kernel's: a negative number is an errno.
 */
#ifndef SYS_H
#define SYS_H

#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline long sys6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long a0 __asm__("a0") = a;
	register long a1 __asm__("a1") = b;
	register long a2 __asm__("a2") = c;
	register long a3 __asm__("a3") = d;
	register long a4 __asm__("a4") = e;
	register long a5 __asm__("a5") = f;
	register long a7 __asm__("a7") = nr;

	__asm__ volatile("ecall"
			 : "+r"(a0)
			 : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5), "r"(a7)
			 : "memory");
	return a0;
}

#define SYS_PICK(nr, a, b, c, d, e, f, ...)                                                        \
	sys6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define sys(...) SYS_PICK(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

/* The rest of libc that is used. */
size_t str_len(const char *s);
bool str_same(const char *a, const char *b);
/* @src behind what @dst holds, which has @size bytes; what does not fit is cut off. */
void str_add(char *dst, size_t size, const char *src);
void str_add_number(char *dst, size_t size, unsigned long n);
unsigned long str_number(const char *s);

/* The whole of @path into @buf, with a NUL behind it; bytes, or a negative errno. */
long read_file(const char *path, char *buf, size_t size);
void sleep_ms(long ms);
bool write_whole(int fd, const char *buf, size_t len);

#endif /* SYS_H */
