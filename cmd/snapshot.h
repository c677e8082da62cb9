/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of "lkvm snapshot" share.
 */
#ifndef CMD_SNAPSHOT_H
#define CMD_SNAPSHOT_H

#include "lkvm/util.h"

/**
 * snapshot_look() - "info" or "verify": print what a file has, or whether it is good
 * @json: as one line of JSON
 *
 * Return: 0; -1 with @err set, which names the file.
 */
int snapshot_look(const char *word, const char *path, bool json, struct error *err);

/**
 * snapshot_compare() - print in what two files differ
 *
 * Return: 0: in nothing; 1; -1 with @err set.
 */
int snapshot_compare(const char *one, const char *other, bool json, struct error *err);

#endif /* CMD_SNAPSHOT_H */
