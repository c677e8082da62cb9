/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The in-kernel AIA of the fake host: what KVM's device accepts and refuses, and what
 * it was told. Part of struct fake_vm; its lock is the host's.
 */
#ifndef LKVM_TESTS_FAKE_AIA_H
#define LKVM_TESTS_FAKE_AIA_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAKE_AIA_MAX_HARTS 64
#define FAKE_AIA_MAX_MSIS 64

/**
 * struct fake_aia - one device
 * @fd: -1 where it was not created
 * @files: the host has guest interrupt files
 * @host_ids: identities of the host's files, 0 included
 */
struct fake_aia {
	int fd;
	bool open, started, files;
	uint32_t host_ids;
	uint32_t config[7];
	uint64_t aplic, imsic[FAKE_AIA_MAX_HARTS];
	bool has_aplic, has_imsic[FAKE_AIA_MAX_HARTS];
	bool levels[1024];
	unsigned int line_calls;
	struct {
		uint64_t address;
		uint32_t data;
	} msis[FAKE_AIA_MAX_MSIS];
	unsigned int nr_msis;
};

/* A VM without one. */
void fake_aia_init(struct fake_aia *aia, bool files, uint32_t host_ids);

/* KVM_SET_DEVICE_ATTR or KVM_GET_DEVICE_ATTR; @harts: vCPUs that exist. */
int fake_aia_attr(struct fake_aia *aia, bool set, const struct kvm_device_attr *attr,
		  unsigned int harts);

int fake_aia_line(struct fake_aia *aia, const struct kvm_irq_level *line);
int fake_aia_msi(struct fake_aia *aia, const struct kvm_msi *msi);

#endif /* LKVM_TESTS_FAKE_AIA_H */
