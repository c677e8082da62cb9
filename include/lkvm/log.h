/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Messages: levels, one line each, to one descriptor (standard error).
 *
 * A struct log belongs to whoever created it (main, or a test) and is handed
 * down by pointer: there is no global logger, so two VMs in one process can
 * log to two places. Any thread may log; a line is written by one write(2) of
 * less than PIPE_BUF bytes, so lines never mix.
 *
 * What a guest can trigger goes through log_ratelimited() with a struct
 * ratelimit that lives in the device that speaks. Text may hold what a guest
 * wrote: control characters and what is not UTF-8 are shown as \xNN.
 */
#ifndef LKVM_LOG_H
#define LKVM_LOG_H

#include "lkvm/util.h"

#include <stdarg.h>
#include <stdatomic.h>

enum log_level {
	LOG_LEVEL_FATAL,   /* printed as "Fatal: …"; the caller then ends what it was doing */
	LOG_LEVEL_ERROR,   /* "Error: …" */
	LOG_LEVEL_WARNING, /* "Warning: …" */
	LOG_LEVEL_INFO,	   /* "Info: …" */
	LOG_LEVEL_DEBUG,   /* "Debug: …" */
};

/**
 * struct log - where messages go
 * @fd: descriptor written to
 * @level: the last level that is printed
 * @crlf: end lines with CR LF (the terminal is raw); any thread may flip it
 * @lost: lines dropped because @fd's reader was too slow, not yet reported
 */
struct log {
	int fd;
	_Atomic enum log_level level;
	atomic_bool crlf;
	atomic_uint lost;
};

/**
 * log_init() - write to @fd, which the caller keeps open, up to @level
 */
void log_init(struct log *log, int fd, enum log_level level);

/**
 * log_level_parse() - "error", "warning", "info", "debug" to a level
 *
 * Return: 0, or -1 with @err set.
 */
int log_level_parse(const char *text, enum log_level *level, struct error *err);

/**
 * log_message() - one line with its level's word in front (any thread)
 * @log: NULL drops the message
 * @fmt: without prefix and newline; what is over about 1000 bytes ends in "..."
 *
 * A reader that takes nothing does not hold the caller up (it may be a vCPU
 * thread): the line is dropped, and the next one that gets through says how
 * many were. Only LOG_LEVEL_FATAL waits, up to a second. errno is kept.
 */
void log_message(struct log *log, enum log_level level, const char *fmt, ...) __printf(3, 4);

/**
 * log_plain() - one line without prefix, whatever the level: an answer to a
 * person at the console (any thread)
 */
void log_plain(struct log *log, const char *fmt, ...) __printf(2, 3);

#define log_fatal(log, ...) log_message((log), LOG_LEVEL_FATAL, __VA_ARGS__)
#define log_error(log, ...) log_message((log), LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(log, ...) log_message((log), LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(log, ...) log_message((log), LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(log, ...) log_message((log), LOG_LEVEL_DEBUG, __VA_ARGS__)

/**
 * struct ratelimit - the memory of one limiter: 10 lines in 5 seconds
 *
 * Zero it to start. Lives in the device whose guest-triggered messages it
 * limits. When the next interval's first line is printed, the number of lines
 * swallowed since is said with it: "(12 more suppressed)".
 */
struct ratelimit {
	_Atomic uint64_t start_ns;
	atomic_uint printed;
	atomic_uint missed;
};

#define RATELIMIT_BURST 10
#define RATELIMIT_INTERVAL_NS (5 * NSEC_PER_SEC)

/**
 * log_ratelimited() - log_message() for what a guest can trigger at full speed
 *
 * Any thread; threads that share @rl may let a line or two more through. A level
 * that is not printed uses nothing up.
 */
void log_ratelimited(struct log *log, struct ratelimit *rl, enum log_level level, const char *fmt,
		     ...) __printf(4, 5);

#endif /* LKVM_LOG_H */
