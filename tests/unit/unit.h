/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What unit test programs share: a main() body that runs one suite and lets Check
 * print its own summary line; how many threads there are.
 */
#ifndef LKVM_TESTS_UNIT_H
#define LKVM_TESTS_UNIT_H

#include <check.h>

/* Check's old name for ck_abort_msg(); here fail() is util.h's. */
#undef fail

/**
 * unit_main() - run @suite; CK_VERBOSITY and CK_FORK are honoured
 *
 * Return: the status for main().
 */
int unit_main(Suite *suite);

/**
 * unit_threads() - threads of this process, the kernel's for it too
 */
unsigned int unit_threads(void);

/**
 * unit_settle() - wait for @threads, for some seconds; fails the test where there are others
 *
 * Who has ended, or was joined, is counted for a while yet.
 */
void unit_settle(unsigned int threads);

#endif /* LKVM_TESTS_UNIT_H */
