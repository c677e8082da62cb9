/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A machine with nothing but a PCI host on its bus, for tests: a guest's accesses go
 * through the bus, lines and messages end in recorders that check their contracts.
 */
#ifndef LKVM_TESTS_PCI_RIG_H
#define LKVM_TESTS_PCI_RIG_H

#include "lkvm/bus.h"
#include "lkvm/hw/pci.h"
#include "lkvm/irq.h"
#include "lkvm/msi.h"

#define RIG_ECAM UINT64_C(0x30000000)
#define RIG_LOW UINT64_C(0x40000000)
#define RIG_LOW_SIZE UINT64_C(0x40000000)
#define RIG_HIGH UINT64_C(0x200000000)
#define RIG_HIGH_SIZE (64 * GIB)

#define RIG_ROUTES 4096
#define RIG_FDS 64
#define RIG_FIRST_SOURCE 32

struct rig_route {
	bool used;
	uint64_t address;
	uint32_t data;
};

/**
 * struct pci_rig - the machine
 * @level, @edges, @repeats: of each of the four lines
 * @routes: those of the sink, of which @live are used; at most @room of them
 * @sent: messages so far; @last: the last one; @deaf: no more of them are taken
 * @on_release: is called when a route is given back
 * @fds: eventfds that are attached to routes, fd 0: a free place; @commits: so far
 */
struct pci_rig {
	struct bus bus;
	struct pci_host *host;
	struct irq_chip chip;
	bool level[PCI_PINS];
	unsigned int edges[PCI_PINS], repeats[PCI_PINS];
	struct msi_sink sink;
	struct rig_route routes[RIG_ROUTES];
	unsigned int live, room, updates;
	unsigned int sent;
	bool deaf;
	struct rig_route last;
	void (*on_release)(struct pci_rig *rig);
	struct {
		uint32_t handle;
		int fd;
	} fds[RIG_FDS];
	unsigned int commits;
};

void pci_rig_start(struct pci_rig *rig, struct log *log);
void pci_rig_stop(struct pci_rig *rig);

static inline unsigned int rig_devfn(unsigned int slot, unsigned int function)
{
	return slot * PCI_FUNCTIONS + function;
}

/* Configuration and memory accesses of a guest, through the bus. */
uint64_t rig_config_read(struct pci_rig *rig, unsigned int devfn, unsigned int reg,
			 unsigned int size);
void rig_config_write(struct pci_rig *rig, unsigned int devfn, unsigned int reg, uint64_t value,
		      unsigned int size);
uint64_t rig_read(struct pci_rig *rig, gpa_t gpa, unsigned int size);
void rig_write(struct pci_rig *rig, gpa_t gpa, uint64_t value, unsigned int size);

/* Both halves of a 64-bit BAR; set or clear bits of the command register. */
void rig_set_bar64(struct pci_rig *rig, unsigned int devfn, unsigned int bar, gpa_t gpa);
void rig_command(struct pci_rig *rig, unsigned int devfn, uint16_t set, uint16_t clear);

/**
 * rig_find_cap() - the first capability with this ID behind @from (0: from the start)
 *
 * Return: where it is, 0: there is none. A list that does not end fails the test.
 */
unsigned int rig_find_cap(struct pci_rig *rig, unsigned int devfn, uint8_t id, unsigned int from);

/**
 * rig_fd_route() - the route that eventfd @fd is attached to, or NULL
 * rig_fds() - how many are attached
 */
const struct rig_route *rig_fd_route(const struct pci_rig *rig, int fd);
unsigned int rig_fds(const struct pci_rig *rig);

#endif /* LKVM_TESTS_PCI_RIG_H */
