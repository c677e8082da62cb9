// SPDX-License-Identifier: GPL-2.0-only
/*
 * Messages to standard error.
 *
 * A message is formatted on the caller's stack, made harmless, and written by
 * one write(2) of less than PIPE_BUF bytes, which the kernel does not mix with
 * another's: there is no lock. Any thread may log. Nothing here is saved.
 *
 * Harmless: text may come from a guest (a device name, a console line), and a
 * terminal obeys control characters. So whatever is below space or DEL, the C1
 * controls (U+0080 to U+009F, which xterm obeys in UTF-8 too) and bytes that are
 * not UTF-8 appear as \xNN. Only tab stays.
 *
 * Never held up: standard error may be a pipe that nobody reads. A line is
 * written only where poll(2) says that there is room, else counted as lost. Two
 * writers at once may both see the last room; one of them then waits for the
 * reader. That takes a reader that stopped within those microseconds.
 */
#include "lkvm/log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Formatted text; each byte may become four, and the line must stay under PIPE_BUF. */
#define TEXT_MAX 1000
#define LINE_BYTES (4 * TEXT_MAX + 64)
_Static_assert(LINE_BYTES < PIPE_BUF, "a line must be one atomic write to a pipe");

#define FATAL_WAIT_MS 1000

static const char *const level_word[] = {
	[LOG_LEVEL_FATAL] = "Fatal: ",	   [LOG_LEVEL_ERROR] = "Error: ",
	[LOG_LEVEL_WARNING] = "Warning: ", [LOG_LEVEL_INFO] = "Info: ",
	[LOG_LEVEL_DEBUG] = "Debug: ",
};

void log_init(struct log *log, int fd, enum log_level level)
{
	log->fd = fd;
	atomic_init(&log->level, level);
	atomic_init(&log->crlf, false);
	atomic_init(&log->lost, 0);
}

int log_level_parse(const char *text, enum log_level *level, struct error *err)
{
	static const struct {
		const char *name;
		enum log_level level;
	} names[] = {
		{"error", LOG_LEVEL_ERROR},
		{"warning", LOG_LEVEL_WARNING},
		{"info", LOG_LEVEL_INFO},
		{"debug", LOG_LEVEL_DEBUG},
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(text, names[i].name)) {
			*level = names[i].level;
			return 0;
		}
	}
	return fail(err, "not one of error, warning, info, debug");
}

/* How many bytes at @p are one character that a terminal only draws; 0 for none. */
static size_t drawn_bytes(const unsigned char *p)
{
	size_t len;

	if (p[0] < 0x80)
		return p[0] == '\t' || (p[0] >= 0x20 && p[0] != 0x7f);
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		len = 2;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
		len = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		len = 4;
	else
		return 0;
	/* The terminating 0 is no continuation byte, so this stops there. */
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	if (p[0] == 0xc2 && p[1] < 0xa0)
		return 0;
	/* Over-long forms, surrogates and what is above U+10FFFF. */
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return len;
}

static size_t append(char *line, size_t pos, const char *text)
{
	size_t len = strlen(text);

	memcpy(line + pos, text, len + 1);
	return pos + len;
}

/* Append @text to the line at @pos; @text is at most TEXT_MAX bytes, so all of it fits. */
static size_t append_harmless(char *line, size_t pos, const char *text)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *p = (const unsigned char *)text;

	while (*p) {
		size_t n = drawn_bytes(p);

		if (n) {
			memcpy(line + pos, p, n);
			pos += n;
			p += n;
			continue;
		}
		line[pos++] = '\\';
		line[pos++] = 'x';
		line[pos++] = hex[*p >> 4];
		line[pos++] = hex[*p & 15];
		p++;
	}
	return pos;
}

static bool put_line(struct log *log, const char *line, size_t len, int wait_ms)
{
	struct pollfd pfd = {.fd = log->fd, .events = POLLOUT};
	ssize_t n;

	if (poll(&pfd, 1, wait_ms) <= 0 || !(pfd.revents & POLLOUT))
		return false;
	do
		n = write(log->fd, line, len);
	while (n < 0 && errno == EINTR);
	return n >= 0;
}

static size_t end_line(struct log *log, char *line, size_t pos)
{
	if (atomic_load_explicit(&log->crlf, memory_order_relaxed))
		line[pos++] = '\r';
	line[pos++] = '\n';
	return pos;
}

static void report_lost(struct log *log)
{
	unsigned int lost = atomic_exchange(&log->lost, 0);
	char line[128];
	size_t pos;

	if (!lost)
		return;
	pos = (size_t)snprintf(line, sizeof(line) - 2,
			       "Warning: %u lines lost here: the reader of messages was too slow",
			       lost);
	if (!put_line(log, line, end_line(log, line, pos), 0))
		atomic_fetch_add(&log->lost, lost);
}

/* @missed: lines that a limiter swallowed, said after the text. */
static void log_line(struct log *log, const char *word, int wait_ms, unsigned int missed,
		     const char *fmt, va_list ap)
{
	int saved_errno = errno;
	char text[TEXT_MAX];
	char line[LINE_BYTES];
	size_t pos = append(line, 0, word);
	size_t len;
	int n;

	n = vsnprintf(text, sizeof(text), fmt, ap);
	if (n < 0)
		append(text, 0, "(a message that could not be formatted)");
	len = strlen(text);
	if (len && text[len - 1] == '\n')
		text[len - 1] = 0;

	if ((size_t)n >= sizeof(text) && n > 0) {
		/* A character cut in two must not show up as garbage. */
		while (len && ((unsigned char)text[len - 1] & 0xc0) == 0x80)
			len--;
		if (len && (unsigned char)text[len - 1] >= 0xc0)
			len--;
		text[len] = 0;
		pos = append_harmless(line, pos, text);
		pos = append(line, pos, "...");
	} else {
		pos = append_harmless(line, pos, text);
	}
	if (missed)
		pos += (size_t)snprintf(line + pos, sizeof(line) - pos, " (%u more suppressed)",
					missed);
	pos = end_line(log, line, pos);

	if (atomic_load_explicit(&log->lost, memory_order_relaxed))
		report_lost(log);
	if (!put_line(log, line, pos, wait_ms))
		atomic_fetch_add(&log->lost, 1);
	errno = saved_errno;
}

static bool printed(struct log *log, enum log_level level)
{
	return log && level <= atomic_load_explicit(&log->level, memory_order_relaxed);
}

void log_message(struct log *log, enum log_level level, const char *fmt, ...)
{
	va_list ap;

	if (!printed(log, level))
		return;
	va_start(ap, fmt);
	log_line(log, level_word[level], level == LOG_LEVEL_FATAL ? FATAL_WAIT_MS : 0, 0, fmt, ap);
	va_end(ap);
}

void log_plain(struct log *log, const char *fmt, ...)
{
	va_list ap;

	if (!log)
		return;
	va_start(ap, fmt);
	log_line(log, "", 0, 0, fmt, ap);
	va_end(ap);
}

void log_ratelimited(struct log *log, struct ratelimit *rl, enum log_level level, const char *fmt,
		     ...)
{
	unsigned int missed = 0;
	uint64_t start, now;
	va_list ap;

	if (!printed(log, level))
		return;
	now = max_u64(now_ns(), 1); /* 0 means that no interval ever started */
	start = atomic_load(&rl->start_ns);
	/* The signed difference: another thread's start may be a little later than our now. */
	if ((!start || (int64_t)(now - start) >= (int64_t)RATELIMIT_INTERVAL_NS) &&
	    atomic_compare_exchange_strong(&rl->start_ns, &start, now)) {
		atomic_store(&rl->printed, 0);
		missed = atomic_exchange(&rl->missed, 0);
	}
	/* Looked at before it is counted up, so that no flood can make it wrap. */
	if (atomic_load(&rl->printed) >= RATELIMIT_BURST ||
	    atomic_fetch_add(&rl->printed, 1) >= RATELIMIT_BURST) {
		atomic_fetch_add(&rl->missed, missed + 1);
		return;
	}
	va_start(ap, fmt);
	log_line(log, level_word[level], 0, missed, fmt, ap);
	va_end(ap);
}
