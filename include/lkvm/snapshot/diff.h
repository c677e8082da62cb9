/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * In what two snapshots differ: told one by one, in the order of the first file. One thread.
 */
#ifndef LKVM_SNAPSHOT_DIFF_H
#define LKVM_SNAPSHOT_DIFF_H

#include "lkvm/snapshot/format.h"

/**
 * struct diff_sink - who is told
 * @tell: @part of the file ("vcpu0", "memory"), @what of it ("sp", "0x80001000"), and what it
 *        is in either; NULL: it is not there
 * @nr: how many differences there were
 */
struct diff_sink {
	void (*tell)(void *opaque, const char *part, const char *what, const char *a,
		     const char *b);
	void *opaque;
	uint64_t nr;
};

void diff_tell(struct diff_sink *sink, const char *part, const char *what, const char *a,
	       const char *b);

/**
 * diff_text() / diff_number() - tell where they differ; a NULL text is one that is not there
 */
void diff_text(struct diff_sink *sink, const char *part, const char *what, const char *a,
	       const char *b);
void diff_number(struct diff_sink *sink, const char *part, const char *what, uint64_t a,
		 uint64_t b);

/**
 * snapshot_diff() - compare two files: configuration, registers, devices, memory
 *
 * How memory is encoded does not count, nor who wrote the file. What is read is checked.
 *
 * Return: 0 with @sink->nr telling; -1 with @err set: one of them is not good.
 */
int snapshot_diff(const struct snapshot_file *a, const struct snapshot_file *b,
		  struct diff_sink *sink, struct error *err);

#endif /* LKVM_SNAPSHOT_DIFF_H */
