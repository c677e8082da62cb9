// SPDX-License-Identifier: GPL-2.0-only
/*
 * The steps of a scripted boot: from text to struct script (include/lkvm/script.h).
 *
 * Thread: that of the command line, before there is a VM. The file is the user's own; yet
 * it is read within bounds, and a mistake in it is told with its line.
 */
#include "lkvm/script.h"

#include "lkvm/options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (1024 * KIB)

/* Of a text, in a message. */
#define SHOWN 60

/* The character behind a backslash at @p. Return: how many it took, or 0. */
static size_t unescape_one(const char *p, uint8_t *byte)
{
	static const char names[] = "nrte\\\"", values[] = "\n\r\t\033\\\"";
	const char *at = *p ? strchr(names, *p) : NULL;
	int high, low;

	if (at) {
		*byte = (uint8_t)values[at - names];
		return 1;
	}
	high = *p == 'x' ? hex_digit(p[1]) : -1;
	low = high >= 0 ? hex_digit(p[2]) : -1;
	if (high < 0 || low < 0)
		return 0;
	*byte = (uint8_t)(high * 16 + low);
	return 3;
}

/* @text without its backslashes, in @step, which has the room. */
static int unescape(struct script_step *step, const char *text, struct error *err)
{
	const char *p = text;
	bool enter = step->kind == SCRIPT_SEND;
	size_t took;

	while (*p) {
		if (*p != '\\') {
			step->text[step->len++] = (uint8_t)*p++;
			continue;
		}
		p++;
		if (enter && p[0] == 'c' && !p[1]) {
			enter = false;
			break;
		}
		took = unescape_one(p, &step->text[step->len]);
		if (!took)
			return fail(err,
				    "\\%.1s is not known: there are \\n \\r \\t \\e \\\\ \\\" "
				    "\\xHH%s",
				    p, step->kind == SCRIPT_SEND ? ", and \\c at the end" : "");
		step->len++;
		p += took;
	}
	if (enter)
		step->text[step->len++] = '\r';
	if (!step->len)
		return fail(err, step->kind == SCRIPT_SEND ? "there is nothing to send"
							   : "an empty text is always there");
	return 0;
}

static void step_free(struct script_step *step)
{
	match_free(&step->match);
	free(step->text);
}

static int no_memory(struct error *err)
{
	return fail(err, "no memory for the script");
}

/* The text of @step, which has nothing yet but its kind and its limit. */
static int fill(struct script_step *step, const char *text, struct error *err)
{
	step->text = malloc(strlen(text) + 2);
	if (!step->text)
		return no_memory(err);
	if (unescape(step, text, err))
		return -1;
	if (step->kind == SCRIPT_EXPECT && match_init(&step->match, step->text, step->len))
		return no_memory(err);
	return 0;
}

int script_add(struct script *s, enum script_kind kind, const char *text, struct error *err)
{
	struct script_step *longer;

	if (s->nr == SCRIPT_STEPS_MAX)
		return fail(err, "a script has at most %d steps", SCRIPT_STEPS_MAX);
	if (strlen(text) >= SCRIPT_TEXT_MAX)
		return fail(err, "a text is shorter than %d bytes", SCRIPT_TEXT_MAX);
	longer = realloc(s->steps, (s->nr + 1) * sizeof(*s->steps));
	if (!longer)
		return no_memory(err);
	s->steps = longer;
	s->steps[s->nr] = (struct script_step){.kind = kind, .timeout_s = s->timeout_s};
	if (fill(&s->steps[s->nr], text, err)) {
		step_free(&s->steps[s->nr]);
		return -1;
	}
	s->nr++;
	return 0;
}

void script_free(struct script *s)
{
	while (s->nr)
		step_free(&s->steps[--s->nr]);
	free(s->steps);
	s->steps = NULL;
}

/* --- a file ---------------------------------------------------------------------- */

/* The text of a step in a line: what is between the quotes, or all. NULL: a quote too few. */
static char *text_of(char *rest)
{
	char *p;

	if (*rest != '"')
		return rest;
	for (p = ++rest; *p && *p != '"'; p++)
		if (*p == '\\' && p[1])
			p++;
	if (*p != '"' || p[1])
		return NULL;
	*p = '\0';
	return rest;
}

static int take_timeout(struct script *s, const char *text, struct error *err)
{
	uint64_t seconds;

	if (parse_uint(text, SCRIPT_SECONDS_MAX, &seconds, err))
		return -1;
	s->timeout_s = (unsigned int)seconds;
	return 0;
}

/* One line, without its end. */
static int take_line(struct script *s, char *line, struct error *err)
{
	static const char blank[] = " \t\r";
	size_t len = strlen(line), word;
	char *text;

	while (len && strchr(blank, line[len - 1]))
		line[--len] = '\0';
	line += strspn(line, blank);
	if (!*line || *line == '#')
		return 0;
	word = strcspn(line, blank);
	text = line + word + strspn(line + word, blank);
	line[word] = '\0';
	if (!strcmp(line, "timeout"))
		return take_timeout(s, text, err);
	if (strcmp(line, "expect") && strcmp(line, "send"))
		return fail(err, "%.*s is no step: there are expect, send and timeout", SHOWN,
			    line);
	text = text_of(text);
	if (!text)
		return fail(err, "a text that begins with a quote ends with one (\\\" is a quote "
				 "within)");
	return script_add(s, *line == 'e' ? SCRIPT_EXPECT : SCRIPT_SEND, text, err);
}

static int take_lines(struct script *s, const char *path, char *all, size_t len, struct error *err)
{
	unsigned int nr = 0, before_s = s->timeout_s;
	char *line, *rest = all;
	struct error why;
	size_t before;

	if (memchr(all, '\0', len))
		return fail(err, "%s is no text: it has zero bytes", path);
	while ((line = strsep(&rest, "\n"))) {
		before = s->nr;
		nr++;
		if (take_line(s, line, &why))
			return fail(err, "%s, line %u: %s", path, nr, why.msg);
		if (s->nr > before) {
			s->steps[before].file = path;
			s->steps[before].line = nr;
		}
	}
	/* Limits hold within the file. */
	s->timeout_s = before_s;
	return 0;
}

int script_read(struct script *s, const char *path, struct error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret = -1;
	char *all = NULL;
	long len;

	if (fd < 0)
		return fail_errno(err, errno, "cannot open %s", path);
	all = malloc(FILE_MAX + 1);
	len = all ? read_all(fd, all, FILE_MAX) : -ENOMEM;
	if (len < 0) {
		fail_errno(err, all ? errno : ENOMEM, "cannot read %s", path);
	} else if ((size_t)len == FILE_MAX) {
		fail(err, "%s is longer than a script may be (1 MiB)", path);
	} else {
		all[len] = '\0';
		ret = take_lines(s, path, all, (size_t)len, err);
	}
	free(all);
	close(fd);
	return ret;
}

/* --- in words -------------------------------------------------------------------- */

const char *script_step_words(const struct script *s, size_t nr, char *buf)
{
	const struct script_step *step = &s->steps[nr];
	char shown[SHOWN + 4];
	size_t i, n = 0, len = step->len;

	if (step->kind == SCRIPT_SEND && len > 1 && step->text[len - 1] == '\r')
		len--;
	for (i = 0; i < len && n < SHOWN; i++)
		shown[n++] =
			step->text[i] < ' ' || step->text[i] == 0x7f ? '.' : (char)step->text[i];
	snprintf(shown + n, sizeof(shown) - n, "%s", i < len ? "..." : "");
	if (step->file)
		snprintf(buf, SCRIPT_WORDS_MAX, "%s \"%s\" in line %u of the script",
			 step->kind == SCRIPT_SEND ? "send" : "expect", shown, step->line);
	else
		snprintf(buf, SCRIPT_WORDS_MAX, "%s \"%s\", step %zu of %zu",
			 step->kind == SCRIPT_SEND ? "--send" : "--expect", shown, nr + 1, s->nr);
	return buf;
}
