/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of "lkvm snapshot" share.
 */
#ifndef CMD_SNAPSHOT_H
#define CMD_SNAPSHOT_H

#include "lkvm/util.h"

/**
 * snapshot_compare() - print in what two files differ
 *
 * Return: 0: in nothing; 1; -1 with @err set.
 */
int snapshot_compare(const char *one, const char *other, bool json, struct error *err);

#endif /* CMD_SNAPSHOT_H */
