/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a guest's console said last, for whoever has to know why it ended.
 */
#ifndef CMD_LAST_LINES_H
#define CMD_LAST_LINES_H

#include "lkvm/log.h"

/**
 * show_last_lines() - the last 40 lines of @tail, "  | " in front of each
 * @tail, @len: of guest_console_tail()
 *
 * A stranger's words: control characters are left out, and empty lines.
 */
void show_last_lines(struct log *log, const char *tail, size_t len);

#endif /* CMD_LAST_LINES_H */
