/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A file that all the guest's console says is written to (--console-log), fit to be shown:
 * carriage returns are left out, other control characters but newline and tab are written
 * as ^X. Bytes from 0x80 on are as they come.
 */
#ifndef LKVM_CONSOLE_LOG_H
#define LKVM_CONSOLE_LOG_H

#include "lkvm/guest_console.h"

/**
 * struct console_log - one file; the fields are private
 */
struct console_log {
	struct console_listener listener;
	struct log *log;
	const char *path;
	int fd; /* 0: none */
	bool broken;
};

/**
 * console_log_open() - make @path empty and open it; @path must outlive the log
 *
 * Return: 0, or -1 with @err set.
 */
int console_log_open(struct console_log *cl, const char *path, struct error *err);

/**
 * console_log_start() - hear @vm's console, before vm_run(), until it ends
 */
void console_log_start(struct console_log *cl, struct vm *vm);

/**
 * console_log_close() - after vm_destroy(); nothing where none is open
 */
void console_log_close(struct console_log *cl);

#endif /* LKVM_CONSOLE_LOG_H */
