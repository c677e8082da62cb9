// SPDX-License-Identifier: GPL-2.0-only
/*
 * Kernel modules and what they need (include/lkvm/modules.h).
 *
 * A line of modules.dep names a module's file and, behind a colon, all that have to be
 * loaded before it, directly or not; of these each one may need those that follow it. So
 * the order of loading is the line from its end to its beginning. The file is the
 * user's and is read as text; a path with "..", or an absolute one, is passed over.
 */
#include "lkvm/modules.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEP_MAX (64 * MIB)

/* Is the file's base name, without .ko and what follows, @name? */
static bool is_module(const char *file, size_t len, const char *name)
{
	size_t i;

	for (i = len; i && file[i - 1] != '/'; i--)
		;
	for (; *name && i < len; name++, i++)
		if (*name != file[i] && !(strchr("-_", *name) && strchr("-_", file[i])))
			return false;
	return !*name && len - i >= 3 && !memcmp(file + i, ".ko", 3);
}

static bool is_there(const struct modules *m, const char *file)
{
	size_t i;

	for (i = 0; i < m->nr; i++)
		if (!strcmp(m->files[i], file))
			return true;
	return false;
}

static int take_file(struct modules *m, const char *word, size_t len, struct error *err)
{
	char *file = strndup(word, len);

	if (file && *file && *file != '/' && !strstr(file, "..") && !is_there(m, file)) {
		if (m->nr < MODULES_MAX) {
			m->files[m->nr++] = file;
			return 0;
		}
		free(file);
		return fail(err, "more than %d modules are needed", MODULES_MAX);
	}
	free(file);
	return file ? 0 : fail(err, "no memory for a list of modules");
}

/* The words of a line of @len characters, last first. */
static int take_line(struct modules *m, const char *line, size_t len, struct error *err)
{
	while (len) {
		size_t start = len, end = len;

		while (start && line[start - 1] != ' ')
			start--;
		if (end > start && line[end - 1] == ':')
			end--;
		if (end > start && take_file(m, line + start, end - start, err))
			return -1;
		len = start ? start - 1 : 0;
	}
	return 0;
}

static int take_module(struct modules *m, const char *text, const char *name, struct error *err)
{
	const char *colon;
	size_t len;

	for (; *text; text += len + (text[len] == '\n')) {
		len = strcspn(text, "\n");
		colon = memchr(text, ':', len);
		if (colon && is_module(text, (size_t)(colon - text), name))
			return take_line(m, text, len, err);
	}
	return 0;
}

static char *read_text(const char *path, struct error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char *text = NULL;
	struct stat st;
	long n = -1;

	if (fd < 0 || fstat(fd, &st)) {
		fail_errno(err, errno, "%s", path);
	} else if (!S_ISREG(st.st_mode) || st.st_size <= 0 || (uint64_t)st.st_size > DEP_MAX) {
		fail(err, "%s is no list of modules", path);
	} else {
		text = calloc(1, (size_t)st.st_size + 1);
		n = text ? read_all(fd, text, (size_t)st.st_size) : -1;
		if (n < 0)
			fail_errno(err, errno, "cannot read %s", path);
	}
	if (fd >= 0)
		close(fd);
	if (n >= 0)
		return text;
	free(text);
	return NULL;
}

int modules_find(struct modules *m, const char *dir, const char *const *names, struct error *err)
{
	char path[4096];
	char *text;
	int ret = 0;

	memset(m, 0, sizeof(*m));
	snprintf(path, sizeof(path), "%s/modules.dep", dir);
	text = read_text(path, err);
	if (!text)
		return -1;
	for (; *names && !ret; names++)
		ret = take_module(m, text, *names, err);
	free(text);
	return ret;
}

void modules_free(struct modules *m)
{
	while (m->nr)
		free(m->files[--m->nr]);
}
