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

#define FAKE_AIA_MAX_HARTS 1024
#define FAKE_AIA_MAX_MSIS 64
#define FAKE_AIA_MAX_IRQFDS 128
#define FAKE_MAX_DOORBELLS 128
#define FAKE_MAX_ROUTES 4096

/**
 * struct fake_aia - one device
 * @fd: -1 where it was not created
 * @files: the host has guest interrupt files
 * @half_files: files in software lose the upper half of what is written to a register
 * @host_ids: identities of the host's files, 0 included
 */
struct fake_aia {
	int fd;
	bool open, started, files, half_files;
	uint32_t host_ids;
	uint32_t config[7];
	uint64_t eie0[FAKE_AIA_MAX_HARTS];
	uint64_t file[FAKE_AIA_MAX_HARTS][256];
	uint32_t aplic_regs[0x4000 / 4];
	uint64_t aplic, imsic[FAKE_AIA_MAX_HARTS];
	bool has_aplic, has_imsic[FAKE_AIA_MAX_HARTS];
	bool levels[1024];
	unsigned int line_calls;
	struct {
		uint64_t address;
		uint32_t data;
	} msis[FAKE_AIA_MAX_MSIS];
	unsigned int nr_msis;
	struct kvm_irq_routing_entry routes[FAKE_MAX_ROUTES];
	uint32_t nr_routes;
	struct {
		bool used;
		int fd;
		uint32_t gsi;
	} irqfds[FAKE_AIA_MAX_IRQFDS];
	struct kvm_ioeventfd doorbells[FAKE_MAX_DOORBELLS]; /* len 0: free */
};

/* A VM without one. */
void fake_aia_init(struct fake_aia *aia, bool files, uint32_t host_ids);

/* KVM_SET_DEVICE_ATTR or KVM_GET_DEVICE_ATTR; @harts: vCPUs that exist. */
int fake_aia_attr(struct fake_aia *aia, bool set, const struct kvm_device_attr *attr,
		  unsigned int harts);

int fake_aia_line(struct fake_aia *aia, const struct kvm_irq_level *line);
int fake_aia_msi(struct fake_aia *aia, const struct kvm_msi *msi);

/*
 * KVM_SET_GSI_ROUTING, KVM_IRQFD and KVM_IOEVENTFD; @max_routes: what KVM_CAP_IRQ_ROUTING
 * says.
 */
int fake_aia_routing(struct fake_aia *aia, const struct kvm_irq_routing *table,
		     uint32_t max_routes);
int fake_aia_irqfd(struct fake_aia *aia, const struct kvm_irqfd *irqfd);
int fake_aia_ioeventfd(struct fake_aia *aia, const struct kvm_ioeventfd *bell);

/* Has eventfd @fd an irqfd? */
bool fake_aia_has_irqfd(const struct fake_aia *aia, int fd);
unsigned int fake_aia_irqfds(const struct fake_aia *aia);
unsigned int fake_aia_doorbells(const struct fake_aia *aia);

/* What KVM does when somebody has written to eventfds: it takes that and sends messages. */
void fake_aia_deliver(struct fake_aia *aia);

/* A guest's store: false: it rings nothing and comes to user space. */
bool fake_aia_store(struct fake_aia *aia, uint64_t gpa, unsigned int size, uint64_t value);

#endif /* LKVM_TESTS_FAKE_AIA_H */
