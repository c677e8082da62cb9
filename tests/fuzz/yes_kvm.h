/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A host that says yes to everything, for a VM whose vCPUs never start. A fuzzer has its own
 * ioctl for what it wants to be otherwise, and yes_answer() for the rest.
 */
#ifndef LKVM_TESTS_YES_KVM_H
#define LKVM_TESTS_YES_KVM_H

#include "lkvm/kvm.h"

#include <stdlib.h>

/* A descriptor that nobody has. */
#define YES_FD (1 << 29)

static inline int yes_open(void *opaque)
{
	(void)opaque;
	return YES_FD;
}

static inline int yes_answer(unsigned long request, unsigned long arg)
{
	switch (request) {
	case KVM_GET_API_VERSION:
		return KVM_API_VERSION;
	case KVM_GET_VCPU_MMAP_SIZE:
		return 8192;
	case KVM_CREATE_VM:
	case KVM_CREATE_VCPU:
		return YES_FD;
	case KVM_CHECK_EXTENSION:
		return arg == KVM_CAP_MAX_VCPUS;
	default:
		return 0;
	}
}

static inline void *yes_map(void *opaque, int fd, size_t size, off_t offset)
{
	(void)opaque;
	(void)fd;
	(void)offset;
	return calloc(1, size);
}

static inline void yes_unmap(void *opaque, void *addr, size_t size)
{
	(void)opaque;
	(void)size;
	free(addr);
}

static inline void yes_close(void *opaque, int fd)
{
	(void)opaque;
	(void)fd;
}

#endif /* LKVM_TESTS_YES_KVM_H */
