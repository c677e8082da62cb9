/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Figures of a running VM: counts since it was created, which a restart of the guest
 * does not clear, and a few that say how things stand now.
 *
 * A figure has a path: whose it is ("disk0"), of which part of it ("queue", 1), and what
 * it is ("notified"). Whoever has figures hands them to a function, one at a time, in an
 * order that stays: owner by owner, and part by part within an owner.
 */
#ifndef LKVM_STAT_H
#define LKVM_STAT_H

#include <stdint.h>

/**
 * struct stat_row - one figure; the strings live as long as the call
 * @owner: "vcpu0", "plic0", "disk0": unique in the VM
 * @part: "queue", "vector", "source"; NULL: of the owner as a whole
 * @index: number of that part
 * @name: of the figure: small letters, digits and '_'
 * @value: a count, or 0 and 1 for no and yes
 */
struct stat_row {
	const char *owner, *part;
	unsigned int index;
	const char *name;
	uint64_t value;
};

/**
 * struct stat_sink - who takes figures
 * @emit: called with no lock held; it may not call back into what it is told of
 */
struct stat_sink {
	void (*emit)(void *opaque, const struct stat_row *row);
	void *opaque;
};

/**
 * stat_whole() - a figure of @owner as a whole
 * stat_part() - of one of its parts
 */
static inline void stat_part(const struct stat_sink *sink, const char *owner, const char *part,
			     unsigned int index, const char *name, uint64_t value)
{
	const struct stat_row row = {owner, part, index, name, value};

	sink->emit(sink->opaque, &row);
}

static inline void stat_whole(const struct stat_sink *sink, const char *owner, const char *name,
			      uint64_t value)
{
	stat_part(sink, owner, (const char *)0, 0, name, value);
}

#endif /* LKVM_STAT_H */
