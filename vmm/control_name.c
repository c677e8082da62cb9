// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VM's name, and the files that stand for it in the runtime directory.
 *
 * Ownership of a name is a lock: NAME.lock, held by flock(2) for the VM's life. Whoever
 * holds it may remove a socket that an earlier, dead VM left behind; nobody guesses from
 * process numbers. The lock is taken on an inode and then compared with the path, so two
 * that race with a VM's end can't both win. Files are removed only while the lock is
 * held, the lock's own file last.
 *
 * Who only cleans up holds the lock for microseconds; a VM that starts just then tries
 * again for a moment before it takes the name for taken.
 *
 * Thread and lock: any thread; no state but the caller's. Nothing is saved.
 */
#include "control_parts.h"

#include "lkvm/control_client.h"
#include "lkvm/runtime.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOCK_SUFFIX ".sock"
#define LOCK_SUFFIX ".lock"

/* A VM of the same name that is just ending has let go by then. */
#define TAKE_TRIES 20
#define TAKE_PAUSE_US 10000

bool control_name_ok(const char *name)
{
	size_t len = strlen(name);

	return len >= 1 && len <= VM_NAME_MAX && strcmp(name, ".") && strcmp(name, "..") &&
	       strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") ==
		       len;
}

int control_name_paths(struct control_name *n, const char *name, bool make, struct error *err)
{
	char dir[CONTROL_PATH_MAX];
	int len;

	n->fd = -1;
	if (!control_name_ok(name))
		return fail(err, "%.80s is not a VM's name", name);
	if (runtime_dir(dir, sizeof(dir), make, err))
		return -1;
	len = snprintf(n->sock, sizeof(n->sock), "%s/%s" SOCK_SUFFIX, dir, name);
	if (len < 0 || (size_t)len >= sizeof(n->sock))
		return fail(err, "%s/%s" SOCK_SUFFIX " is too long a path for a socket", dir, name);
	/* As long as the socket's path, which fits. */
	if (snprintf(n->lock, sizeof(n->lock), "%s/%s" LOCK_SUFFIX, dir, name) != len)
		return fail(err, "%s/%s" LOCK_SUFFIX " is too long a path", dir, name);
	return 0;
}

/* Is the lock that we hold still the one that the path names? */
static bool holds(const struct control_name *n, int fd)
{
	struct stat by_fd, by_path;

	return !fstat(fd, &by_fd) && !lstat(n->lock, &by_path) && by_fd.st_ino == by_path.st_ino &&
	       by_fd.st_dev == by_path.st_dev;
}

/* Return: 0, or -errno; -EWOULDBLOCK: somebody else has it. */
static int try_lock(struct control_name *n)
{
	int fd, errnum;

	for (;;) {
		fd = open(n->lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return -errno;
		if (flock(fd, LOCK_EX | LOCK_NB)) {
			errnum = errno;
			close(fd);
			return -errnum;
		}
		if (holds(n, fd))
			break;
		close(fd); /* the last owner removed it between our open and our lock */
	}
	n->fd = fd;
	return 0;
}

int control_name_take(struct control_name *n, const char *name, struct error *err)
{
	int ret = try_lock(n), tries;

	for (tries = 1; ret == -EWOULDBLOCK && tries < TAKE_TRIES; tries++) {
		usleep(TAKE_PAUSE_US);
		ret = try_lock(n);
	}
	if (ret == -EWOULDBLOCK)
		return fail(err, "--name %s: a VM of this name runs already", name);
	if (ret)
		return fail_errno(err, -ret, "cannot lock %s", n->lock);
	return 0;
}

void control_name_release(struct control_name *n)
{
	if (n->fd < 0)
		return;
	/* Somebody may have removed our files, and another VM taken the name. */
	if (holds(n, n->fd)) {
		unlink(n->sock);
		unlink(n->lock);
	}
	close(n->fd);
	n->fd = -1;
}

void control_name_clean(const char *name)
{
	struct control_name n;

	if (control_name_paths(&n, name, false, NULL) || try_lock(&n))
		return;
	control_name_release(&n);
}

/* A file of ours in the runtime directory: whose? */
static bool name_of(const char *leaf, char *name, size_t size)
{
	size_t len = strlen(leaf), suffix = strlen(SOCK_SUFFIX);

	if (len <= suffix || len - suffix >= size ||
	    (strcmp(leaf + len - suffix, SOCK_SUFFIX) && strcmp(leaf + len - suffix, LOCK_SUFFIX)))
		return false;
	memcpy(name, leaf, len - suffix);
	name[len - suffix] = '\0';
	return control_name_ok(name);
}

/* Does a VM of this name run? What is left of a dead one is removed. */
static bool name_lives(const char *name)
{
	struct control_name n;

	if (control_name_paths(&n, name, false, NULL))
		return false;
	if (try_lock(&n) != -EWOULDBLOCK) {
		control_name_release(&n);
		return false;
	}
	/* Without a socket it is just starting, or just ending. */
	return !access(n.sock, F_OK);
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool listed(char **names, size_t nr, const char *name)
{
	size_t i;

	for (i = 0; i < nr; i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

int control_names(char ***names, struct error *err)
{
	char dir[CONTROL_PATH_MAX], name[VM_NAME_MAX + 1];
	struct dirent *entry;
	char **list = calloc(1, sizeof(*list)), **longer;
	size_t nr = 0;
	DIR *d = NULL;

	*names = list;
	if (!list)
		return fail(err, "no memory for a list of VMs");
	/* No directory: no VM has run yet. */
	if (runtime_dir(dir, sizeof(dir), false, err)) {
		struct stat st;

		return *dir && lstat(dir, &st) && errno == ENOENT ? 0 : -1;
	}
	d = opendir(dir);
	if (!d)
		return fail_errno(err, errno, "cannot read %s", dir);
	while ((entry = readdir(d))) {
		if (!name_of(entry->d_name, name, sizeof(name)) || listed(list, nr, name) ||
		    !name_lives(name))
			continue;
		longer = realloc(list, (nr + 2) * sizeof(*list));
		if (longer) {
			*names = list = longer;
			list[nr] = strdup(name);
			list[nr + 1] = NULL;
		}
		if (!longer || !list[nr++]) {
			closedir(d);
			return fail(err, "no memory for a list of VMs");
		}
	}
	closedir(d);
	qsort(list, nr, sizeof(*list), compare);
	return (int)nr;
}

void control_names_free(char **names)
{
	size_t i;

	for (i = 0; names && names[i]; i++)
		free(names[i]);
	free(names);
}
