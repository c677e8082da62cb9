/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Options: one table per command. Parsing, help, nearest-name suggestions, man
 * page checks and shell completion all read the same table.
 *
 * Spelling: "--name VALUE", "--name=VALUE", "-n VALUE", "-nVALUE", flags may be
 * bundled ("-ab"), "--no-name" clears a flag that says so, "--" ends options.
 * Options and operands may mix until "--". Names are not abbreviated. "-" alone is
 * an operand.
 *
 * Refused because it would be a silent surprise: "-kernel X" (which spells
 * "-k ernel" X), and "--kernel --cpus" (an option's name where a value is due;
 * "--kernel=--cpus" says that it is meant).
 *
 * A configuration file (option_set_file) says the same, an option a line: "kernel =
 * Image", "rng", "rng = off"; names have no dashes and no letters. A line that begins with
 * "#" is a comment. A value is what stands between "=" and the end of the line without
 * the blanks around it, or, in double quotes, all between the first quote and the last. What
 * the command line says wins over the file; what may be repeated is added to it.
 */
#ifndef LKVM_OPTIONS_H
#define LKVM_OPTIONS_H

#include "lkvm/util.h"

struct option_spec;
struct suboption;

/**
 * option_set_fn - store one occurrence of an option
 * @target: the struct that the table describes
 * @opt: the table row
 * @value: the text, NULL for a flag; "" where "--name=" was given
 * @on: false for "--no-name"
 *
 * Return: 0, or -1 with @err set: what is wrong with the value and what would be
 * right; the parser puts the option and the value in front ("--cpus abc: not a
 * whole number").
 */
typedef int (*option_set_fn)(void *target, const struct option_spec *opt, const char *value,
			     bool on, struct error *err);

/**
 * struct option_spec - one row
 * @name: long name without dashes
 * @letter: short name or 0
 * @arg: what the value is called in help ("SIZE[@GPA]"), NULL for a flag
 * @help: one sentence for help
 * @group: a heading in help; NULL continues the last one ("Options" at first)
 * @set: stores it
 * @offset: for the common setters below: where in the target
 * @negatable: "--no-NAME" is understood (flags only)
 * @hidden: understood, not listed in short help (aliases)
 * @operand: the first operand is another way to say it
 * @many: each occurrence adds to those before it; else the command line wins over a file
 * @words: what the value may be, where that is one of a few words; ended by NULL
 * @parts: the words inside the value, for help; NULL: it has none
 */
struct option_spec {
	const char *name;
	char letter;
	const char *arg;
	const char *help;
	const char *group;
	option_set_fn set;
	size_t offset;
	bool negatable;
	bool hidden;
	bool operand;
	bool many;
	const char *const *words;
	const struct suboption *parts;
};

/* Common setters. The field at @offset is named after the arrow. */
int option_set_flag(void *target, const struct option_spec *opt, const char *value, bool on,
		    struct error *err); /* -> bool */
int option_set_string(void *target, const struct option_spec *opt, const char *value, bool on,
		      struct error *err); /* -> const char *, points into argv */
int option_set_uint(void *target, const struct option_spec *opt, const char *value, bool on,
		    struct error *err); /* -> unsigned int, decimal or 0x */
int option_set_word(void *target, const struct option_spec *opt, const char *value, bool on,
		    struct error *err); /* -> enum or unsigned int: which of @words */

/**
 * option_set_file() - the value names a configuration file with more options
 *
 * The parser reads it; one row of a table has this setter, and it may come once.
 */
int option_set_file(void *target, const struct option_spec *opt, const char *value, bool on,
		    struct error *err);

/**
 * option_refuse() - an option of others' that there is not here: @help says what there is
 *
 * Said as soon as the name is met, with or without a value, by "-name" as well, and by a letter.
 */
int option_refuse(void *target, const struct option_spec *opt, const char *value, bool on,
		  struct error *err);

/**
 * struct option_table - a command's options
 * @command: as typed after "lkvm"
 * @operands: for the usage line, e.g. "[-- CMD…]"; NULL: none are taken, and the
 *            parser refuses any
 * @summary: one sentence
 * @rows: ended by a row whose name is NULL
 * @stop_at_operand: the first operand ends options; all after it are operands,
 *                   a "--" too (for "lkvm help CMD")
 */
struct option_table {
	const char *command;
	const char *operands;
	const char *summary;
	const struct option_spec *rows;
	bool stop_at_operand;
};

/**
 * struct operands - what was not an option
 * @argv: pointers to the caller's words, ended by NULL; freed by operands_free()
 * @argc: how many came before "--"
 * @rest: all that followed "--", NULL where there was no "--"
 * @nr_rest: how many
 * @text: what values from a configuration file point into; freed by operands_free()
 */
struct operands {
	const char **argv;
	int argc;
	char **rest;
	int nr_rest;
	char *text;
};

/**
 * options_parse() - fill @target from a command line
 * @argc: words after the command's name
 * @argv: likewise
 *
 * An unknown option names the nearest row. "-h" and "--help" are known to every
 * table and make the function return 1 as soon as they are reached. When all words
 * are understood the setters run, from left to right, those of a configuration file before
 * those of the command line. What is wrong in a file is said as "FILE:LINE: why".
 *
 * Return: 0; 1 help was asked for; -1 with @err set (nothing may be assumed about
 * @target then). @ops is empty unless 0 is returned.
 */
int options_parse(const struct option_table *table, void *target, int argc, char **argv,
		  struct operands *ops, struct error *err);

/**
 * operands_free() - after any return of options_parse()
 */
void operands_free(struct operands *ops);

/**
 * options_help() - print usage and all rows to @fd, at most 80 columns wide
 */
void options_help(const struct option_table *table, int fd);

/**
 * nearest_name() - the entry of @names closest to @word, or NULL where none is near
 * @names: ended by NULL
 *
 * Near: one starts with the other (two letters at least), or few enough slips lie
 * between them: a letter too many, too few, wrong, or two neighbours exchanged.
 * Case and "_" for "-" do not count.
 */
const char *nearest_name(const char *word, const char *const *names);

/**
 * parse_uint() - a whole number, decimal or 0x, all of @text, at most @max
 *
 * Return: 0, or -1 with @err set ("not a whole number"; the caller names the value).
 */
int parse_uint(const char *text, uint64_t max, uint64_t *value, struct error *err);

/**
 * parse_size() - "512", "1G", "64k", "0x1000" to bytes
 * @unit: what a number without suffix counts in (MIB for -m)
 *
 * Suffixes K M G T (either case, an optional "iB" or "B" after it), or B for
 * bytes, which is a digit in a 0x number. Refuses what does not fit 64 bits.
 *
 * Return: 0, or -1 with @err set.
 */
int parse_size(const char *text, uint64_t unit, uint64_t *bytes, struct error *err);

#endif /* LKVM_OPTIONS_H */
