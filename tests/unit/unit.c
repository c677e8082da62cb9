// SPDX-License-Identifier: GPL-2.0-only
/*
 * The shared main() body of the unit tests; see unit.h.
 */
#include "unit.h"

#include <stdlib.h>

int unit_main(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
