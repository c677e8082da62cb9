/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The VM's table of messages: which ones devices may send at present, and which of them
 * KVM sends by itself when an eventfd is written (KVM_SET_GSI_ROUTING, KVM_IRQFD).
 *
 * The only user of KVM's routing table. One lock, taken in each function; any thread.
 * Lock order: device -> MSI-X -> this.
 */
#ifndef LKVM_RISCV_MSI_TABLE_H
#define LKVM_RISCV_MSI_TABLE_H

#include "lkvm/kvm.h"
#include "lkvm/log.h"

#include <pthread.h>

/* Messages of all devices that may be sent at once. */
#define MSI_TABLE_MAX 4096u

/**
 * struct msi_route - a message that may be sent
 * @gsi: its place in KVM's table, or MSI_NONE
 */
struct msi_route {
	uint64_t address;
	uint32_t data, gsi;
	bool used;
};

/**
 * struct msi_gsi - a place in KVM's table
 * @address, @data: what KVM has there, once it is @known
 * @used: a route holds it
 */
struct msi_gsi {
	uint64_t address;
	uint32_t data;
	bool known, used;
};

/**
 * struct msi_fd - an eventfd that is to send the message of a route
 * @owner: the route's handle, plus 1; 0: a free place
 * @attached: KVM knows
 */
struct msi_fd {
	uint32_t owner;
	int fd;
	bool attached;
};

/**
 * struct msi_table - private
 * @kvm: NULL while there is no VM with interrupt files
 * @max_gsis: what KVM has room for
 * @tables: how often it was written
 * @stale: KVM's table is not what @gsis says; @waiting: an eventfd is to be attached
 */
struct msi_table {
	const struct kvm *kvm;
	struct log *log;
	struct ratelimit complaints;
	pthread_mutex_t lock;
	struct msi_route *routes;
	struct msi_gsi *gsis;
	struct msi_fd *fds;
	uint32_t nr_routes, nr_gsis, nr_fds, max_gsis;
	bool stale, waiting;
	uint64_t tables;
};

/**
 * msi_table_init() - an empty table; 0 or -ENOMEM
 * msi_table_fini() - nothing is attached any more
 */
int msi_table_init(struct msi_table *t, struct log *log);
void msi_table_fini(struct msi_table *t);

/**
 * msi_table_open() - @kvm's VM has interrupt files: eventfds can be attached
 * msi_table_close() - it has gone, and all that was attached in it; routes stay
 */
void msi_table_open(struct msi_table *t, const struct kvm *kvm);
void msi_table_close(struct msi_table *t);

/*
 * As struct msi_sink_ops says.
 */
int msi_table_update(struct msi_table *t, uint32_t *handle, uint64_t address, uint32_t data);
void msi_table_release(struct msi_table *t, uint32_t handle);
void msi_table_attach(struct msi_table *t, uint32_t handle, int fd);
void msi_table_detach(struct msi_table *t, uint32_t handle, int fd);
void msi_table_commit(struct msi_table *t);

/**
 * struct msi_table_count - how things stand
 * @routes: messages that may be sent at present; @gsis: of them, those with a place in
 *          KVM's table
 * @eventfds: that are to send a message; @irqfds: of them, those that KVM listens to
 * @tables: how often KVM was given a new table
 */
struct msi_table_count {
	uint32_t routes, gsis, eventfds, irqfds;
	uint64_t tables;
};

struct msi_table_count msi_table_count(struct msi_table *t);

#endif /* LKVM_RISCV_MSI_TABLE_H */
