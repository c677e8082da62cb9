/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of option parsing share: options.c (words), options_file.c (a
 * configuration file), options_help.c.
 */
#ifndef LKVM_VMM_OPTIONS_PARTS_H
#define LKVM_VMM_OPTIONS_PARTS_H

#include "lkvm/options.h"

/* With "no-" in front and its end. */
#define OPTION_NAME_MAX 68

/* "-h, --help", which every command has. */
extern const struct option_spec option_help_row;

/**
 * struct option_use - one occurrence of an option
 * @value: as for option_set_fn
 * @line: of the configuration file; 0: a word of the command line
 */
struct option_use {
	const struct option_spec *row;
	const char *value;
	bool on;
	unsigned int line;
};

/**
 * struct option_uses - in the order of their occurrence; free(@list) when done with
 */
struct option_uses {
	struct option_use *list;
	size_t nr, room;
};

int option_use_add(struct option_uses *uses, const struct option_use *use, struct error *err);

/**
 * option_find() - the row of that long name, @len bytes, or NULL; "help" is option_help_row
 */
const struct option_spec *option_find(const struct option_table *table, const char *name,
				      size_t len);
const struct option_spec *option_find_letter(const struct option_table *table, char letter);

/**
 * option_nearest() - the long name, perhaps with "no-", that is nearest to @name
 *
 * Return: is there one?
 */
bool option_nearest(const struct option_table *table, const char *name, size_t len,
		    char nearest[OPTION_NAME_MAX]);

/**
 * option_file_read() - note all options of the configuration file @path
 * @text: what the values point into: the caller frees it, also after an error
 *
 * Return: 0, or -1 with @err set: "FILE:LINE: why".
 */
int option_file_read(const struct option_table *table, const char *path, struct option_uses *uses,
		     char **text, struct error *err);

#endif /* LKVM_VMM_OPTIONS_PARTS_H */
