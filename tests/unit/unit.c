// SPDX-License-Identifier: GPL-2.0-only
/*
 * What unit tests share; see unit.h.
 */
#include "unit.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

int unit_main(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

unsigned int unit_threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	unsigned int n = 0;

	/* Also asked outside tests. */
	if (!dir)
		abort();
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 2;
}

void unit_settle(unsigned int threads)
{
	unsigned int tries = 400;

	while (unit_threads() != threads && tries--)
		usleep(25000);
	ck_assert_uint_eq(unit_threads(), threads);
}
