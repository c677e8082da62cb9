/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's AIA: the in-kernel APLIC and IMSICs of a VM, as a device that is
 * configured, started, and given wired interrupts and messages.
 */
#ifndef LKVM_RISCV_AIA_H
#define LKVM_RISCV_AIA_H

#include "lkvm/kvm.h"

enum aia_choice {
	AIA_AUTO,    /* KVM's own choice: hardware files while there are free ones */
	AIA_EMUL,    /* interrupt files in software */
	AIA_HWACCEL, /* guest interrupt files of the hardware */
};

/**
 * struct aia_request - what the machine wants
 * @aplic, @imsic: bases of their windows
 * @harts: vCPUs; hart numbers are vCPU ids, from 0 on
 * @sources: wired sources
 * @ids: identities that each file is to have: 63, 127 and so on; KVM's most where that is less
 * @mode: where the interrupt files live
 */
struct aia_request {
	gpa_t aplic, imsic;
	unsigned int harts;
	uint32_t sources, ids;
	enum aia_choice mode;
};

#define AIA_APLIC_WINDOW 0x4000
#define AIA_IMSIC_WINDOW 0x1000 /* of each hart */
#define AIA_MAX_SOURCES 1023

/**
 * struct aia - the device
 * @fd: -1 where there is none
 * @ids: interrupt identities of each file
 * @usable: how many of them, from 1 on, an interrupt can come by (see riscv/aia.c)
 * @halves: files in software can't hold the others
 * @sources: wired sources
 * @hart_bits: of a message's address
 * @mode: as KVM says
 */
struct aia {
	const struct kvm *kvm;
	int fd;
	uint32_t ids, usable, sources, hart_bits;
	uint32_t mode;
	bool halves;
};

/**
 * aia_offered() - can KVM make an AIA for this VM?
 *
 * Only asks. Return: 0, or -1 with @err saying what is missing.
 */
int aia_offered(const struct kvm *kvm, struct error *err);

/**
 * aia_setup() - create, configure and start it
 *
 * All vCPUs exist and none has run. Linux arch/riscv/kvm/aia_device.c; the order is
 * one that 6.12, 7.2 and 7.3 take.
 *
 * Return: 0, or -1 with @err naming the step and why; then the KVM VM is in a state
 * nothing is known of and has to be thrown away.
 */
int aia_setup(struct aia *aia, const struct kvm *kvm, const struct aia_request *req,
	      struct error *err);

/**
 * aia_close() - forget it; KVM keeps the device as long as the VM
 */
void aia_close(struct aia *aia);

/**
 * aia_set_line() - the wire of source @source is now @level (any thread)
 * aia_send() - a message: a store of @data to @address (any thread)
 *
 * Return: 0 or -errno.
 */
int aia_set_line(const struct aia *aia, uint32_t source, bool level);
int aia_send(const struct aia *aia, uint64_t address, uint32_t data);

/**
 * aia_get() / aia_set() - an attribute of the device (KVM_GET_DEVICE_ATTR)
 * @value: 4 bytes for the groups CONFIG and APLIC, 8 for ADDR and IMSIC
 */
int aia_get(const struct aia *aia, uint32_t group, uint64_t attr, void *value);
int aia_set(const struct aia *aia, uint32_t group, uint64_t attr, const void *value);

typedef void (*aia_word_fn)(void *opaque, const char *name, uint64_t value);

/**
 * aia_file_each() - hand on the registers of @hart's interrupt file that tell what it waits for:
 * eidelivery, eie0, eie2, ..., eip0, eip2, ...
 *
 * @hart's vCPU does not run (its file may move with it). Return: 0 or -errno.
 */
int aia_file_each(const struct aia *aia, unsigned int hart, aia_word_fn each, void *opaque);

/* Groups of attributes (Linux arch/riscv/include/uapi/asm/kvm.h, since 6.5). */
#define AIA_GROUP_CONFIG 0
#define AIA_GROUP_ADDR 1
#define AIA_GROUP_CTRL 2
#define AIA_GROUP_APLIC 3
#define AIA_GROUP_IMSIC 4

/**
 * aia_all_in_hardware() - is the mode one that has no files in software ("hwaccel")?
 */
bool aia_all_in_hardware(const struct aia *aia);

/**
 * aia_mode_name() - "emul", "hwaccel", "auto" for a mode as KVM counts them
 */
const char *aia_mode_name(uint32_t mode);

#endif /* LKVM_RISCV_AIA_H */
