/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the words behind "lkvm run" ask for, before anything is started: for the command
 * itself, and for tests.
 */
#ifndef CMD_RUN_H
#define CMD_RUN_H

#include "lkvm/config.h"
#include "lkvm/log.h"

struct run_options;

/**
 * run_parse() - understand @argv, and settle what it leaves open
 * @o: what it says; run_options_free() it in any case
 *
 * Sets the log's level.
 *
 * Return: 0; 1: help was asked for and printed; -1 with @err set.
 */
int run_parse(int argc, char **argv, struct log *log, struct run_options **o, struct error *err);

/**
 * run_config() - the VM that it says, after run_parse() returned 0
 */
const struct vm_config *run_config(const struct run_options *o);

void run_options_free(struct run_options *o);

#endif /* CMD_RUN_H */
