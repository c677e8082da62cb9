/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The subcommands: one file each, one row each in the table of main.c.
 */
#ifndef CMD_H
#define CMD_H

#include "lkvm/log.h"
#include "lkvm/options.h"

/* Exit statuses that lkvm itself decides (lkvm(1)). */
#define STATUS_NOT_STARTED 125

/**
 * struct command - one subcommand
 * @run: does it; @argv starts after the command's name
 * @common: "lkvm help" lists it
 * @table: its options
 * @make: in place of @table where rows come from other tables: makes one, which the caller
 *        frees; NULL where there is no memory
 *
 * @run returns the process's exit status.
 */
struct command {
	const char *name;
	const char *summary;
	int (*run)(struct log *log, int argc, char **argv);
	bool common;
	const struct option_table *table;
	struct option_table *(*make)(void);
};

/* All of them; ended by a row without a name. */
extern const struct command commands[];

/**
 * command_find() - the row of that name, or NULL
 */
const struct command *command_find(const char *name);

/**
 * command_near() - the name nearest to @word of those that "lkvm help" lists, or NULL
 */
const char *command_near(const char *word);

/**
 * command_unknown() - say that @word is none, and which one is near
 *
 * Return: -1 with @err set.
 */
int command_unknown(const char *word, struct error *err);

extern const struct option_table caps_table;
extern const struct option_table list_table;
extern const struct option_table info_table;
extern const struct option_table stat_table;
extern const struct option_table events_table;
extern const struct option_table pause_table;
extern const struct option_table resume_table;
extern const struct option_table stop_table;
extern const struct option_table reset_table;
extern const struct option_table attach_table;
extern const struct option_table debug_table;
extern const struct option_table dump_table;
extern const struct option_table balloon_table;
extern const struct option_table link_table;
extern const struct option_table resize_table;
extern const struct option_table snapshot_table;
extern const struct option_table help_table;
extern const struct option_table version_table;
extern const struct option_table complete_table;

struct option_table *run_table(void);
struct option_table *restore_table(void);

int cmd_run(struct log *log, int argc, char **argv);
int cmd_help(struct log *log, int argc, char **argv);
int cmd_version(struct log *log, int argc, char **argv);
int cmd_caps(struct log *log, int argc, char **argv);
int cmd_info(struct log *log, int argc, char **argv);
int cmd_list(struct log *log, int argc, char **argv);
int cmd_stat(struct log *log, int argc, char **argv);
int cmd_events(struct log *log, int argc, char **argv);
int cmd_reset(struct log *log, int argc, char **argv);
int cmd_debug(struct log *log, int argc, char **argv);
int cmd_pause(struct log *log, int argc, char **argv);
int cmd_resume(struct log *log, int argc, char **argv);
int cmd_stop(struct log *log, int argc, char **argv);
int cmd_attach(struct log *log, int argc, char **argv);
int cmd_balloon(struct log *log, int argc, char **argv);
int cmd_link(struct log *log, int argc, char **argv);
int cmd_resize(struct log *log, int argc, char **argv);
int cmd_dump(struct log *log, int argc, char **argv);
int cmd_snapshot(struct log *log, int argc, char **argv);
int cmd_restore(struct log *log, int argc, char **argv);
int cmd_complete(struct log *log, int argc, char **argv);

struct snapshot_file;

/**
 * snapshot_path_open() - snapshot_open() of the file at @path; snapshot_path_close()
 *
 * Return: 0, or -1 with @err set, which names it.
 */
int snapshot_path_open(const char *path, struct snapshot_file *f, struct error *err);
void snapshot_path_close(struct snapshot_file *f);

struct control_command;

/* What a VM's control socket understands: tables of it (vm_commands.c). */
extern const struct control_command *const vm_commands[];

/**
 * not_started() - print @err as the one line that says why, and give the status
 */
int not_started(struct log *log, const struct error *err);

#endif /* CMD_H */
