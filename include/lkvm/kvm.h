/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The one seam to KVM. Every ioctl that lkvm makes on /dev/kvm, on a VM or on a
 * vCPU goes through struct kvm_sys, so that unit tests drive the same code
 * against a scripted host: kernels with and without a capability, each errno,
 * each register list, and faults armed at the nth call.
 *
 * The functions return 0 (or a useful number) or -errno; they print nothing and
 * do not explain: the caller knows what was wanted. Any thread may use a struct
 * kvm; per-vCPU calls that KVM serialises with KVM_RUN wait for it to return.
 *
 * Source: Linux Documentation/virt/kvm/api.rst. Generic numbers come from
 * <linux/kvm.h>; what is RISC-V's own is stated in lkvm/riscv/regs.h.
 */
#ifndef LKVM_KVM_H
#define LKVM_KVM_H

#include "lkvm/util.h"

#include <linux/kvm.h>
#include <sys/types.h>

/**
 * struct kvm_sys_ops - the system calls beneath; errors are returned as -errno
 * @open: open /dev/kvm
 * @ioctl: as ioctl(2); @arg is a number or a pointer
 * @map: map @size bytes of @fd at @offset, shared, readable and writable
 * @read: as pread(2)
 */
struct kvm_sys_ops {
	int (*open)(void *opaque);
	int (*ioctl)(void *opaque, int fd, unsigned long request, unsigned long arg);
	void *(*map)(void *opaque, int fd, size_t size, off_t offset);
	void (*unmap)(void *opaque, void *addr, size_t size);
	long (*read)(void *opaque, int fd, void *buf, size_t len, uint64_t offset);
	void (*close)(void *opaque, int fd);
};

struct kvm_sys {
	const struct kvm_sys_ops *ops;
	void *opaque;
};

/* The real one: path is "/dev/kvm". */
extern const struct kvm_sys_ops kvm_sys_linux;

/**
 * struct kvm - one open /dev/kvm, and the VM made from it
 * @fd: /dev/kvm
 * @vm_fd: the VM, or -1
 * @run_size: bytes of a vCPU's shared area
 */
struct kvm {
	struct kvm_sys sys;
	int fd;
	int vm_fd;
	size_t run_size;
};

/**
 * kvm_open() - open /dev/kvm and check that it speaks the one API version there is
 *
 * Return: 0, or -1 with @err set: missing and forbidden are told apart, each with
 * what to do.
 */
int kvm_open(struct kvm *kvm, struct kvm_sys sys, struct error *err);
void kvm_close(struct kvm *kvm);

/**
 * kvm_vm_create() / kvm_vm_destroy() - the VM descriptor
 *
 * Return: 0 or -errno.
 */
int kvm_vm_create(struct kvm *kvm);
void kvm_vm_destroy(struct kvm *kvm);

/**
 * kvm_check() - KVM_CHECK_EXTENSION on the VM descriptor, never on /dev/kvm:
 * some values are per VM, and one kernel series crashed when asked globally
 *
 * Return: the capability's value, 0 where there is none or the call failed.
 */
int kvm_check(const struct kvm *kvm, unsigned int cap);

/**
 * kvm_enable_cap() - KVM_ENABLE_CAP on the VM with flags 0 and one argument
 */
int kvm_enable_cap(const struct kvm *kvm, unsigned int cap, uint64_t arg);

/**
 * kvm_set_memory() - create, change or (size 0) delete a memslot
 * @flags: KVM_MEM_*
 */
int kvm_set_memory(const struct kvm *kvm, uint32_t slot, gpa_t gpa, uint64_t size, void *hva,
		   uint32_t flags);

/**
 * kvm_vm_ioctl() - any other request on the VM
 */
int kvm_vm_ioctl(const struct kvm *kvm, unsigned long request, unsigned long arg);

/**
 * kvm_fd_ioctl() - any request on a descriptor that a VM gave out (a device's)
 */
int kvm_fd_ioctl(const struct kvm *kvm, int fd, unsigned long request, unsigned long arg);

/**
 * kvm_fd_read() - read from such a descriptor at @offset
 *
 * Return: bytes read, fewer at the end of it; or -errno.
 */
long kvm_fd_read(const struct kvm *kvm, int fd, void *buf, size_t len, uint64_t offset);

/**
 * struct kvm_vcpu - a vCPU's descriptor and its shared area
 */
struct kvm_vcpu {
	const struct kvm *kvm;
	int fd;
	struct kvm_run *run;
};

/**
 * kvm_vcpu_create() - create vCPU @id (on RISC-V the hart id)
 *
 * The first vCPU that is created starts RUNNABLE, all later ones STOPPED.
 */
int kvm_vcpu_create(const struct kvm *kvm, unsigned int id, struct kvm_vcpu *vcpu);
void kvm_vcpu_destroy(struct kvm_vcpu *vcpu);

int kvm_vcpu_ioctl(const struct kvm_vcpu *vcpu, unsigned long request, unsigned long arg);

/**
 * kvm_vcpu_run() - KVM_RUN: 0 with run->exit_reason set, or -errno
 */
int kvm_vcpu_run(const struct kvm_vcpu *vcpu);

/**
 * kvm_get_reg() / kvm_set_reg() - one register; the id's size field says how many
 * bytes @value has
 */
int kvm_get_reg(const struct kvm_vcpu *vcpu, uint64_t id, void *value);
int kvm_set_reg(const struct kvm_vcpu *vcpu, uint64_t id, const void *value);

/**
 * kvm_get_reg_list() - all register ids KVM offers for this vCPU now
 * @ids: out: to be freed by the caller
 *
 * Return: how many, or -errno.
 */
long kvm_get_reg_list(const struct kvm_vcpu *vcpu, uint64_t **ids);

/**
 * kvm_guest_debug() - have the guest's breakpoint instructions come to lkvm, or not
 *
 * The vCPU must be out of KVM_RUN, or this waits for it.
 */
int kvm_guest_debug(const struct kvm_vcpu *vcpu, bool on);

int kvm_get_mp_state(const struct kvm_vcpu *vcpu, uint32_t *state);
int kvm_set_mp_state(const struct kvm_vcpu *vcpu, uint32_t state);

/**
 * kvm_interrupt() - drive the hart's external interrupt wire (KVM_INTERRUPT)
 *
 * Works from any thread while the vCPU runs. Only without an in-kernel chip.
 */
int kvm_interrupt(const struct kvm_vcpu *vcpu, bool level);

/**
 * kvm_set_routing() - replace the VM's whole table of interrupt routes
 */
int kvm_set_routing(const struct kvm *kvm, const struct kvm_irq_routing *table);

/**
 * kvm_irqfd() - connect eventfd @fd to route @gsi, or (@on false) cut it off again
 *
 * While they are connected KVM takes what is written to @fd before anybody who waits for
 * it. When cutting off returns, nothing is sent any more. On RISC-V for routes of
 * messages only: a wire would never be lowered.
 */
int kvm_irqfd(const struct kvm *kvm, uint32_t gsi, int fd, bool on);

/**
 * struct kvm_doorbell - a store by the guest that rings an eventfd
 * @size: of the store in bytes
 * @match: only a store of @value
 */
struct kvm_doorbell {
	gpa_t gpa;
	unsigned int size;
	bool match;
	uint64_t value;
	int fd;
};

/**
 * kvm_ioeventfd() - let such stores ring the eventfd instead of coming to lkvm, or
 * (@on false) come to lkvm again
 */
int kvm_ioeventfd(const struct kvm *kvm, const struct kvm_doorbell *bell, bool on);

#endif /* LKVM_KVM_H */
