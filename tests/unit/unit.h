/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What every unit test program shares: a main() body that runs one suite and
 * lets Check print its own summary line.
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

#endif /* LKVM_TESTS_UNIT_H */
