/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What "run" and "restore" have in common: options that both know, and the life of the VM
 * that they keep in the foreground.
 */
#ifndef CMD_VM_OPTIONS_H
#define CMD_VM_OPTIONS_H

#include "lkvm/gdb.h"
#include "lkvm/options.h"
#include "lkvm/virtio/net.h"
#include "lkvm/vm.h"

/* Kinds of virtio device that a table has rows for. */
#define MAX_VIRTIO_ROWS 32

/**
 * struct vm_options - the target of these setters: the first member of a command's own
 * @publish, @nr_publish: ports, for vm_options_settle() to hand on
 * @debug: a debugger may come, at @gdb
 */
struct vm_options {
	struct vm_config vm;
	enum log_level level;
	const char *publish[VIRTIO_NET_MAX_PUBLISH];
	size_t nr_publish;
	char *network; /* the words of the device that got them */
	bool debug;
	struct gdb_address gdb;
};

/* In the order of the enums that they stand for. */
extern const char *const paging_words[];
extern const char *const reset_words[];

/* What options of others' are refused with (foreign.c); ended by a row without a name. */
#define MAX_FOREIGN_ROWS 40
extern const struct option_spec foreign_rows[];

/* "--gdb" */
#define GDB_ROW                                                                                    \
	{                                                                                          \
		"gdb", 0, "ADDR[,wait]",                                                           \
			"let GDB in at PORT, HOST:PORT or unix:PATH; wait: do not start without",  \
			NULL, .set = set_gdb                                                       \
	}

/* Setters: "--name", "--loglevel" and "--gdb". */
int set_vm_name(void *target, const struct option_spec *opt, const char *value, bool on,
		struct error *err);
int set_loglevel(void *target, const struct option_spec *opt, const char *value, bool on,
		 struct error *err);
int set_gdb(void *target, const struct option_spec *opt, const char *value, bool on,
	    struct error *err);

/**
 * vm_let_debug() - listen for a debugger, where one was asked for; before vm_run()
 */
int vm_let_debug(struct vm *vm, const struct vm_options *o, struct error *err);

/**
 * vm_options_settle() - put what was said of other options into these
 * vm_options_free() - after the VM's end, or in place of it
 */
int vm_options_settle(struct vm_options *o, struct error *err);
void vm_options_free(struct vm_options *o);

/**
 * add_virtio_rows() - a row for each kind of virtio device, and --publish, from @rows[@row] on
 * @group: heading of the first, or NULL
 *
 * Return: the next row.
 */
size_t add_virtio_rows(struct option_spec *rows, size_t row, const char *group);

/**
 * add_console() - the console's own device, which comes first whatever else there is
 */
int add_console(struct vm_config *vm, struct error *err);

/**
 * vm_open() - prepare this process, and build the VM
 *
 * Return: the VM, or NULL with @err set.
 */
struct vm *vm_open(const struct vm_config *cfg, struct log *log, struct error *err);

/**
 * vm_close() - after vm_run(): destroy it; ends this process where a signal ended the VM
 *
 * Return: the exit status for @verdict.
 */
int vm_close(struct vm *vm, enum vm_verdict verdict);

#endif /* CMD_VM_OPTIONS_H */
