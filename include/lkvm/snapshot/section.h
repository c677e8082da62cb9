/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sections that are walks over fields (lkvm/xfer.h): saved and loaded by one function.
 */
#ifndef LKVM_SNAPSHOT_SECTION_H
#define LKVM_SNAPSHOT_SECTION_H

#include "lkvm/snapshot/format.h"
#include "lkvm/xfer.h"

/**
 * section_walk - one walk over a section's fields, in the direction of @x
 *
 * Loading, it may not assume that anything but @x is sane.
 */
typedef void (*section_walk)(void *opaque, struct xfer *x);

/**
 * section_save() - walk, and add the bytes to @w
 */
int section_save(struct snapshot_writer *w, const char *name, uint32_t flags, section_walk walk,
		 void *opaque, struct error *err);

/**
 * section_load() - walk over a section of @f; it has to end where the section does
 *
 * Return: 0, or -1 with @err naming the section.
 */
int section_load(const struct snapshot_file *f, const char *name, section_walk walk, void *opaque,
		 struct error *err);

/**
 * section_text() - a string in a walk: u32 length and bytes, with a NUL behind in memory
 * @text: loading: a new string, to be freed; saving: NULL counts as none, which is kept
 * @max: bytes it may have
 */
void section_text(struct xfer *x, char **text, uint32_t max);

#endif /* LKVM_SNAPSHOT_SECTION_H */
