// SPDX-License-Identifier: GPL-2.0-only
/*
 * The directory of a user's running VMs (include/lkvm/runtime.h). Only its last
 * component is made by us; what is there already must be nobody else's. No state; any
 * thread.
 */
#include "lkvm/runtime.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int runtime_dir(char *dir, size_t size, bool make, struct error *err)
{
	const char *base = getenv("XDG_RUNTIME_DIR");
	const char *leaf = "lkvm";
	struct stat st;
	int len;

	if (!base || base[0] != '/') {
		base = getenv("HOME");
		leaf = ".lkvm";
	}
	if (!base || base[0] != '/')
		return fail(err, "neither XDG_RUNTIME_DIR nor HOME names a directory");
	len = snprintf(dir, size, "%s/%s", base, leaf);
	if (len < 0 || (size_t)len >= size)
		return fail(err, "%s/%s is too long a path for a socket", base, leaf);
	if (make && mkdir(dir, 0700) && errno != EEXIST)
		return fail_errno(err, errno, "cannot make %s", dir);
	if (lstat(dir, &st))
		return !make && errno == ENOENT ? fail(err, "no VM runs here")
						: fail_errno(err, errno, "%s", dir);
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || st.st_mode & 077)
		return fail(err, "%s must be a directory of your own with mode 0700", dir);
	return 0;
}
