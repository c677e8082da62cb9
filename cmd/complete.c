// SPDX-License-Identifier: GPL-2.0-only
/*
 * "lkvm complete -- WORD...": what the last of these words, which may be empty, can become,
 * if the others stand behind "lkvm" already. For the completion scripts of shells
 * (completion/), which know nothing about options themselves, and so can't be out of date.
 *
 * A line for each: the word, a tab, what it is. A last line ":files" or ":dirs": or a path,
 * which the shell knows better how to complete.
 *
 * What is due comes from the option tables: the words an option's value may be, else the
 * name of its value; for what is no option the operands as the usage line has them ("NAME
 * FILE | info FILE": a NAME is a running VM's, what is in small letters is meant literally).
 */
#include "cmd.h"
#include "lkvm/control_client.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a shell has to complete itself. */
enum paths {
	PATHS_NONE,
	PATHS_DIRS,
	PATHS_FILES,
};

/**
 * struct completion - the question
 * @word: the last word
 * @skip: bytes of "--option=" in front of its part that is to be completed
 * @paths: what to add
 */
struct completion {
	const struct option_table *table;
	const char *word;
	size_t skip;
	enum paths paths;
};

static void offer(const struct completion *c, const char *word, const char *help)
{
	if (strncmp(word, c->word + c->skip, strlen(c->word + c->skip)) != 0)
		return;
	printf("%.*s%s\t", (int)c->skip, c->word, word);
	/* One line, whatever the table has. */
	for (; help && *help && *help != '\n'; help++)
		putchar(*help);
	putchar('\n');
}

static void offer_commands(const struct completion *c)
{
	const struct command *command;

	for (command = commands; command->name; command++)
		if (command->common)
			offer(c, command->name, command->summary);
}

static void offer_vms(const struct completion *c)
{
	struct error err;
	char **names = NULL;
	int i, nr = control_names(&names, &err);

	for (i = 0; i < nr; i++)
		offer(c, names[i], "running VM");
	control_names_free(names);
}

/* Return: how many there are. */
static unsigned int offer_options(const struct completion *c, bool hidden)
{
	const struct option_spec *row;
	unsigned int n = 0;
	char name[80];

	for (row = c->table->rows; row->name; row++) {
		if (row->hidden != hidden || row->set == option_refuse)
			continue;
		snprintf(name, sizeof(name), "--%s", row->name);
		n += !strncmp(name, c->word, strlen(c->word));
		offer(c, name, row->help);
		if (!row->negatable)
			continue;
		snprintf(name, sizeof(name), "--no-%s", row->name);
		n += !strncmp(name, c->word, strlen(c->word));
		offer(c, name, row->help);
	}
	return n;
}

static bool begins(const char *text, const char *start)
{
	return !strncmp(text, start, strlen(start));
}

static void offer_value(struct completion *c, const struct option_spec *row)
{
	const char *const *word;

	for (word = row->words; word && *word; word++)
		offer(c, *word, row->help);
	if (begins(row->arg, "FILE") || begins(row->arg, "PATH"))
		c->paths = PATHS_FILES;
	else if (begins(row->arg, "DIR"))
		c->paths = PATHS_DIRS;
	else if (!strcmp(row->arg, "NAME") && c->table->operands &&
		 strstr(c->table->operands, "NAME"))
		offer_vms(c);
}

static const struct option_spec *find_row(const struct option_table *table, const char *name,
					  size_t len)
{
	const struct option_spec *row;

	for (row = table->rows; row->name; row++)
		if (strlen(row->name) == len && !strncmp(row->name, name, len))
			return row;
	return NULL;
}

/* The option whose value the word behind @word is, or NULL. */
static const struct option_spec *wants_value(const struct option_table *table, const char *word)
{
	const struct option_spec *row;

	if (word[0] != '-' || !word[1])
		return NULL;
	if (word[1] == '-') {
		row = find_row(table, word + 2, strlen(word + 2));
		return row && row->arg ? row : NULL;
	}
	for (word++; *word; word++) {
		for (row = table->rows; row->name && row->letter != *word; row++)
			;
		if (!row->name)
			return NULL;
		if (row->arg)
			return word[1] ? NULL : row;
	}
	return NULL;
}

/* One word of a usage line: "[NAME]", "FILE", "info", "[up|down]". */
static void offer_operand(struct completion *c, char *operand)
{
	char *save = NULL, *word;

	for (word = strtok_r(operand, "[]|", &save); word; word = strtok_r(NULL, "[]|", &save)) {
		if (!strcmp(word, "NAME"))
			offer_vms(c);
		else if (!strcmp(word, "FILE") || !strcmp(word, "KERNEL"))
			c->paths = PATHS_FILES;
		else if (!strcmp(word, "COMMAND"))
			offer_commands(c);
		else if (islower((unsigned char)*word))
			offer(c, word, "");
	}
}

/* One form of the usage line, where those that stand there already fit it. */
static void offer_form(struct completion *c, char *form, const char *const *there, int nr)
{
	char *save = NULL, *operand;
	int at = 0;

	for (operand = strtok_r(form, " ", &save); operand; operand = strtok_r(NULL, " ", &save)) {
		if (at == nr) {
			offer_operand(c, operand);
			return;
		}
		/* What is in small letters stands there, or it is another form. */
		if (islower((unsigned char)*operand) && there[at] &&
		    strcmp(operand, there[at]) != 0)
			return;
		at++;
	}
}

/* @there: operands that stand there already; NULL for a NAME that -n has said */
static void offer_operands(struct completion *c, const char *const *there, int nr)
{
	char *forms = strdup(c->table->operands ? c->table->operands : "");
	char *form = forms, *next;

	while (form) {
		next = strstr(form, " | ");
		if (next) {
			*next = '\0';
			next += 3;
		}
		if (!begins(form, "[--"))
			offer_form(c, form, there, nr);
		form = next;
	}
	free(forms);
}

/* All but the last of @words, which follow the command's name. */
static void complete_in(struct completion *c, char **words, int nr)
{
	const char **there = calloc((size_t)nr + 2, sizeof(*there));
	const struct option_spec *row = NULL;
	const char *equals;
	int i, nr_there = 0;

	for (i = 0; there && i < nr; i++) {
		if (row) { /* its value */
			row = NULL;
			continue;
		}
		if (!strcmp(words[i], "--")) { /* another program's */
			c->paths = PATHS_FILES;
			free(there);
			return;
		}
		row = wants_value(c->table, words[i]);
		if (!nr_there && c->table->operands && strstr(c->table->operands, "NAME") &&
		    (begins(words[i], "-n") || begins(words[i], "--name") ||
		     !strcmp(words[i], "-a") || !strcmp(words[i], "--all")))
			there[nr_there++] = NULL;
		else if (words[i][0] != '-')
			there[nr_there++] = words[i];
	}
	equals = strchr(c->word, '=');
	if (row) {
		offer_value(c, row);
	} else if (begins(c->word, "--") && equals) {
		row = find_row(c->table, c->word + 2, (size_t)(equals - c->word) - 2);
		c->skip = (size_t)(equals - c->word) + 1;
		if (row && row->arg)
			offer_value(c, row);
	} else if (*c->word == '-') {
		if (!offer_options(c, false))
			offer_options(c, true);
		offer(c, "--help", "show its help");
	} else if (there) {
		offer_operands(c, there, nr_there);
	}
	free(there);
}

static void complete(struct completion *c, char **words, int nr)
{
	const struct command *named = nr > 1 ? command_find(words[0]) : NULL;
	const struct command *command = named ? named : command_find("run");
	struct option_table *made;

	if (nr == 1 && c->word[0] != '-') {
		offer_commands(c);
		c->paths = PATHS_FILES; /* a kernel */
		return;
	}
	made = command->make ? command->make() : NULL;
	c->table = made ? made : command->table;
	if (c->table)
		complete_in(c, named ? words + 1 : words, named ? nr - 2 : nr - 1);
	free(made);
}

const struct option_table complete_table = {
	"complete", "-- WORD...", "What the last WORD can become, for the completion of shells.",
	(const struct option_spec[]){{.name = NULL}}, true};

int cmd_complete(struct log *log, int argc, char **argv)
{
	struct completion c = {.word = NULL};
	struct operands ops;
	struct error err;
	int ret = options_parse(&complete_table, NULL, argc, argv, &ops, &err);

	if (ret < 0)
		return not_started(log, &err);
	if (ret > 0) {
		options_help(&complete_table, STDOUT_FILENO);
	} else if (ops.nr_rest) {
		c.word = ops.rest[ops.nr_rest - 1];
		complete(&c, ops.rest, ops.nr_rest);
		if (c.paths != PATHS_NONE)
			puts(c.paths == PATHS_DIRS ? ":dirs" : ":files");
	}
	operands_free(&ops);
	return 0;
}
