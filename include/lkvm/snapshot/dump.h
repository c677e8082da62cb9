/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VM's memory and registers as an ELF core file, for debuggers. Nothing goes on from it:
 * that is a snapshot.
 */
#ifndef LKVM_SNAPSHOT_DUMP_H
#define LKVM_SNAPSHOT_DUMP_H

#include "lkvm/snapshot/io.h"
#include "lkvm/vm.h"

/**
 * struct dump_result - what came of it
 * @written: bytes; the file is as long as RAM, with holes
 * @paused_ns: how long the guest stood still
 */
struct dump_result {
	uint64_t written;
	uint64_t paused_ns;
};

/**
 * dump_write() - pause the VM, write it, and let it go on (loop thread)
 * @fd: of an empty file
 *
 * Return: 0, or -1 with @err set; the file is worth nothing then.
 */
int dump_write(struct vm *vm, struct snapshot_io io, int fd, struct dump_result *result,
	       struct error *err);

#endif /* LKVM_SNAPSHOT_DUMP_H */
