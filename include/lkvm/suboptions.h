/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The words inside an option's value: "PATH,ro,serial=X", "mode=tap,tapif=tap0".
 * A table says which words there are; parsing fills a struct.
 */
#ifndef LKVM_SUBOPTIONS_H
#define LKVM_SUBOPTIONS_H

#include "lkvm/util.h"

enum suboption_type {
	SUBOPTION_FLAG,	  /* -> bool: "ro", "ro=on", "ro=off" */
	SUBOPTION_STRING, /* -> const char * into the copy */
	SUBOPTION_UINT,	  /* -> uint64_t, decimal or 0x, at most @max */
	SUBOPTION_SIZE,	  /* -> uint64_t, bytes without a suffix */
	SUBOPTION_WORD,	  /* -> int: the index in @words */
};

/**
 * struct suboption - one row; a table ends with a row whose name is NULL
 * @name: the word before "="
 * @offset: of the field in the target
 * @max: for SUBOPTION_UINT
 * @words: for SUBOPTION_WORD, ended by NULL
 * @arg: what the value is called in help; NULL: by its type (N, SIZE, or @words)
 * @help: what it means, for the help of the option; NULL: not listed there
 */
struct suboption {
	const char *name;
	enum suboption_type type;
	size_t offset;
	uint64_t max;
	const char *const *words;
	const char *arg;
	const char *help;
};

/**
 * suboptions_parse() - take @text apart
 * @first: where the part before the first comma goes that is no "name=value" (a path);
 *         NULL: the text starts with a word like the others. It may be empty.
 * @target: the struct that @rows describe
 * @copy: what the strings point into; the caller frees it when they are done with,
 *        also after an error
 *
 * A comma that belongs to a value is written twice. A word may come once. An unknown
 * word names the nearest row.
 *
 * Return: 0, or -1 with @err set.
 */
int suboptions_parse(const char *text, const char **first, const struct suboption *rows,
		     void *target, char **copy, struct error *err);

/**
 * suboptions_end() - the comma that ends the word at @text, or its end; a doubled comma is
 * part of the word
 */
const char *suboptions_end(const char *text);

/**
 * suboptions_spelling() - "queues=N", "aio=auto|uring", "ro": how @row is written, for help
 *
 * What does not fit is cut off.
 */
void suboptions_spelling(const struct suboption *row, char *text, size_t len);

#endif /* LKVM_SUBOPTIONS_H */
