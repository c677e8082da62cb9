/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * "lkvm run ... -- CMD": a VM that runs one command and ends with its status.
 */
#ifndef CMD_COMMAND_H
#define CMD_COMMAND_H

#include "lkvm/config.h"
#include "lkvm/log.h"
#include "lkvm/options.h"
#include "lkvm/vm.h"

#define COMMAND_ENV_MAX 64

/* Strings that live as long as the VM's configuration. */
#define COMMAND_TEXTS_MAX 128

/**
 * struct command_run - one command, as asked for and under way
 * @modules: directory of kernel modules, NULL: /lib/modules and the kernel's release
 * @env, @nr_env: "NAME=VALUE", or "NAME" as it is here
 * @status: where the guest tells how it ended, read end; @ports: what is handed to the VM
 * @initrd: the archive
 * @vm: that runs it
 */
struct command_run {
	const char *modules;
	const char *env[COMMAND_ENV_MAX];
	size_t nr_env;
	char *texts[COMMAND_TEXTS_MAX];
	size_t nr_texts;
	int status, ports[4], initrd;
	struct vm *vm;
};

/**
 * command_prepare() - add to @vm what the command @argv needs (before vm_create())
 * @argv: @argc words, at least one
 *
 * Return: 0, or -1 with @err set. command_free() in any case.
 */
int command_prepare(struct command_run *c, struct vm_config *vm, int argc, char **argv,
		    struct log *log, struct error *err);

/**
 * command_watch() - end @vm when the guest has told how the command ended (before vm_run())
 *
 * Return: 0, or -1 with @err set.
 */
int command_watch(struct command_run *c, struct vm *vm, struct error *err);

/**
 * command_verdict() - the process's exit status, and a line for whoever has to know why
 * @tail, @len: what the guest's console said last
 *
 * After vm_destroy(), when all that the guest said has come.
 */
int command_verdict(struct command_run *c, enum vm_verdict verdict, const char *tail, size_t len,
		    struct log *log);

void command_free(struct command_run *c);

#endif /* CMD_COMMAND_H */
