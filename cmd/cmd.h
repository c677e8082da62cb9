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
 * @options: its table: name, summary, rows; for "run" made when it is called
 * @run: does it; @argv starts after the command's name
 *
 * @run returns the process's exit status.
 */
struct command {
	const char *name;
	const char *summary;
	int (*run)(struct log *log, int argc, char **argv);
	bool common;
};

extern const struct command commands[];

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
int cmd_balloon(struct log *log, int argc, char **argv);
int cmd_link(struct log *log, int argc, char **argv);
int cmd_resize(struct log *log, int argc, char **argv);
int cmd_dump(struct log *log, int argc, char **argv);
int cmd_snapshot(struct log *log, int argc, char **argv);
int cmd_restore(struct log *log, int argc, char **argv);

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
