// SPDX-License-Identifier: GPL-2.0-only
/*
 * A console's last lines on standard error (last_lines.h). No state; any thread.
 */
#include "last_lines.h"

#define TAIL_LINES 40

void show_last_lines(struct log *log, const char *tail, size_t len)
{
	size_t start = len, lines = 0, i;
	char line[256];
	size_t n = 0;

	while (start && lines <= TAIL_LINES)
		lines += tail[--start] == '\n' && start + 1 < len && tail[start + 1] != '\r';
	for (i = start; i < len; i++) {
		unsigned char ch = (unsigned char)tail[i];

		if (ch >= ' ' && ch != 0x7f && n + 1 < sizeof(line))
			line[n++] = (char)ch;
		if ((ch == '\n' || i + 1 == len) && n) {
			line[n] = '\0';
			log_plain(log, "  | %s", line);
			n = 0;
		}
	}
}
