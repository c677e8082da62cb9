/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * MSI-X of one PCI function: the capability, the table, the pending bits. A pure
 * model; messages go to a struct msi_sink.
 *
 * The function that has it passes on accesses to the part of its BAR where table and
 * pending bits lie, and configuration writes. One lock inside; any thread. Lock order:
 * configuration -> device -> MSI-X -> sink.
 */
#ifndef LKVM_HW_PCI_MSIX_H
#define LKVM_HW_PCI_MSIX_H

#include "lkvm/hw/pci.h"
#include "lkvm/msi.h"
#include "lkvm/stat.h"

#include <pthread.h>

#define PCI_MSIX_MAX_VECTORS 2048u
#define PCI_MSIX_ENTRY 16u

/**
 * struct msix_entry - one vector
 * @address, @data: its message
 * @masked: bit 0 of its vector control
 * @pending: it has fired, and could not be sent
 */
struct msix_entry {
	uint64_t address;
	uint32_t data;
	bool masked, pending;
};

/**
 * struct msix_source - an eventfd that stands for events of @vector; @fd -1: there is none
 */
struct msix_source {
	int fd;
	unsigned int vector;
};

/**
 * struct msix_count - since power-on: events told by pci_msix_fire(), and messages that
 * the sink has taken for them
 */
struct msix_count {
	uint64_t fired, sent;
};

/**
 * struct pci_msix - embedded in a device; private
 * @enabled, @masked, @master: as configuration space says
 * @loaded: it says so from the resume on that follows
 * @handles: of each vector, MSI_NONE where it has no route
 * @counts: @nr of them; @sources: @nr_sources
 * @changed: the sink has something to commit
 */
struct pci_msix {
	struct pci_function *fn;
	struct msi_sink *sink;
	struct log *log;
	struct ratelimit refused;
	unsigned int cap, nr, nr_sources;
	pthread_mutex_t lock;
	bool enabled, masked, master, changed, loaded;
	struct msix_entry *entries;
	uint32_t *handles;
	struct msix_source *sources;
	struct msix_count *counts;
};

/**
 * pci_msix_init() - add the capability to @fn, which is not attached yet
 * @nr: vectors, 1 to PCI_MSIX_MAX_VECTORS
 * @bar, @table, @pba: where table and pending bits will be; offsets are multiples of 8
 * @sink: NULL: no capability is added, and there are no vectors
 *
 * Return: 0, -ENOMEM, -EINVAL or -ENOSPC (nothing to undo).
 */
int pci_msix_init(struct pci_msix *msix, struct pci_function *fn, unsigned int nr, unsigned int bar,
		  uint32_t table, uint32_t pba, struct msi_sink *sink, struct log *log);

/**
 * pci_msix_limit() - have fewer vectors than @nr of pci_msix_init(), at least 1; as many
 * eventfds as before; the function is not attached yet
 */
void pci_msix_limit(struct pci_msix *msix, unsigned int nr);

/**
 * pci_msix_fini() - give back all routes and free
 */
void pci_msix_fini(struct pci_msix *msix);

/**
 * pci_msix_config() - obey configuration space, which may have changed
 *
 * From config_written, and from the device's resume.
 *
 * Return: is MSI-X enabled?
 */
bool pci_msix_config(struct pci_msix *msix);

/**
 * pci_msix_enabled() - does configuration space @config of this function enable it?
 */
bool pci_msix_enabled(const struct pci_msix *msix, const uint8_t *config);

/**
 * pci_msix_fire() - the function has an event for @vector, below @nr
 *
 * Nothing while MSI-X is not enabled. Where the vector is masked, by itself, with all
 * others, or by a command register that forbids the function to write, it becomes
 * pending and is sent when that ends.
 */
void pci_msix_fire(struct pci_msix *msix, unsigned int vector);

/**
 * pci_msix_pending() - does any vector wait to be sent?
 */
bool pci_msix_pending(struct pci_msix *msix);

/**
 * pci_msix_bind() - what is written to eventfd @fd is an event for @vector
 * @source: below the @nr of pci_msix_init(), else nothing; has one eventfd at a time
 * @vector: at or above @nr: none
 * @fd: -1: no eventfd any more: when that returns nothing is sent for it
 *
 * While the vector can send, the sink may send the message by itself when @fd is written.
 * At any other time, and where it can't, whoever else waits for @fd is to read it and
 * call pci_msix_fire().
 */
void pci_msix_bind(struct pci_msix *msix, unsigned int source, unsigned int vector, int fd);

/**
 * pci_msix_stat() - figures of each vector that was ever used or can be: events and
 * messages since power-on; can it send now, and does an eventfd stand for its events?
 * @owner: the function's device
 */
void pci_msix_stat(struct pci_msix *msix, const char *owner, const struct stat_sink *sink);

/**
 * pci_msix_table_read() ... pci_msix_pba_read() - @size bytes at @offset from the
 * beginning of the table or the pending bits
 *
 * 4 and 8 bytes, aligned; everything else and everything beyond reads as 0 and is
 * dropped. Pending bits can't be written.
 */
uint64_t pci_msix_table_read(struct pci_msix *msix, uint64_t offset, unsigned int size);
void pci_msix_table_write(struct pci_msix *msix, uint64_t offset, uint64_t value,
			  unsigned int size);
uint64_t pci_msix_pba_read(struct pci_msix *msix, uint64_t offset, unsigned int size);

/**
 * pci_msix_reset() - all vectors masked and nothing pending; after pci_function_reset()
 */
void pci_msix_reset(struct pci_msix *msix);

/**
 * pci_msix_transfer() - table and pending bits, as part of a device's walk
 *
 * Return: when loading a scratch table, to be given to pci_msix_load() or to free();
 * NULL when saving, or where there is no memory (which fails the walk).
 */
struct msix_entry *pci_msix_transfer(struct pci_msix *msix, struct xfer *x);

/**
 * pci_msix_load() - commit; gives all routes back: pci_msix_config(), which the
 * device's resume calls, gets new ones
 */
void pci_msix_load(struct pci_msix *msix, struct msix_entry *entries);

#endif /* LKVM_HW_PCI_MSIX_H */
