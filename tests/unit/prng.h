/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Random numbers for property tests: SplitMix64, the same on every machine for
 * the same seed. The seed is printed, and may be set by LKVM_TEST_SEED.
 */
#ifndef LKVM_TESTS_PRNG_H
#define LKVM_TESTS_PRNG_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct prng {
	uint64_t state;
};

static inline uint64_t prng_u64(struct prng *p)
{
	uint64_t z = p->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* 0 to @n - 1. */
static inline unsigned int prng_below(struct prng *p, unsigned int n)
{
	return (unsigned int)((prng_u64(p) >> 32) * n >> 32);
}

static inline struct prng prng_start(const char *what)
{
	const char *text = getenv("LKVM_TEST_SEED");
	struct prng p = {text ? strtoull(text, NULL, 0) : UINT64_C(20240607)};

	printf("%s: LKVM_TEST_SEED=%llu\n", what, (unsigned long long)p.state);
	fflush(stdout);
	return p;
}

#endif /* LKVM_TESTS_PRNG_H */
