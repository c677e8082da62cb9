/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Small things that every part uses: sizes, array helpers, the guest physical
 * address type, and the error message that travels up a call chain.
 *
 * No state, no lock: everything here is pure.
 */
#ifndef LKVM_UTIL_H
#define LKVM_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)

#define NSEC_PER_SEC UINT64_C(1000000000)
#define NSEC_PER_MSEC UINT64_C(1000000)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define __printf(fmt, args) __attribute__((format(printf, fmt, args)))

/**
 * gpa_t - a guest physical address
 *
 * An integer on purpose: following it as a pointer does not compile. The only
 * way from here to host memory is include/lkvm/memory.h.
 */
typedef uint64_t gpa_t;

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/**
 * hex_digit() - the value of a hexadecimal digit, or -1
 */
static inline int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/**
 * align_up() - round @v up to a multiple of the power of two @a
 *
 * Wraps to 0 where the result does not fit 64 bits; callers that take @v from
 * outside check for that.
 */
static inline uint64_t align_up(uint64_t v, uint64_t a)
{
	return (v + a - 1) & ~(a - 1);
}

static inline uint64_t align_down(uint64_t v, uint64_t a)
{
	return v & ~(a - 1);
}

static inline bool is_power_of_two(uint64_t v)
{
	return v && !(v & (v - 1));
}

/* Long enough for a sentence that names an option, a path and a limit. */
#define ERROR_MAX 512

/**
 * struct error - the one line that says why something was refused
 * @msg: the sentence, without newline and without a "Fatal:" or "Error:" prefix
 *
 * Functions that can fail for a reason a person should read take one and fill
 * it by fail(). The caller that knows the option adds it; the caller that owns
 * the screen prints it.
 */
struct error {
	char msg[ERROR_MAX];
};

/**
 * fail() - set the message and return -1, so that `return fail(err, …)` works
 * @err: where to put it; NULL drops the message
 * @fmt: what is wrong, with which value, and which limit
 */
int fail(struct error *err, const char *fmt, ...) __printf(2, 3);

/**
 * fail_errno() - like fail(), with ": " and the text of @errnum appended
 */
int fail_errno(struct error *err, int errnum, const char *fmt, ...) __printf(3, 4);

/**
 * format_size() - write @bytes as a short exact text: "512M", "1536K", "4097"
 * @buf: at least 32 bytes
 *
 * Return: @buf.
 */
const char *format_size(char *buf, size_t len, uint64_t bytes);

/**
 * now_ns() - CLOCK_MONOTONIC in nanoseconds
 */
uint64_t now_ns(void);

/**
 * wall_ns() - CLOCK_REALTIME in nanoseconds since 1970
 */
uint64_t wall_ns(void);

/**
 * write_all() / read_all() - the whole buffer, through EINTR and short counts
 *
 * For descriptors that block. read_all() stops early at end of file.
 *
 * Return: bytes done, or -1 with errno.
 */
long write_all(int fd, const void *buf, size_t len);
long read_all(int fd, void *buf, size_t len);

/**
 * pread_all() - like read_all() at @offset, leaving the file position alone
 */
long pread_all(int fd, void *buf, size_t len, uint64_t offset);

#endif /* LKVM_UTIL_H */
