/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The platform-level interrupt controller, as a pure model of the RISC-V PLIC
 * specification 1.0.0: no ioctl, no file, no clock. One supervisor context per
 * hart, context i belonging to hart i.
 *
 * Memory map (offsets from its base): priority 4 * source; pending bits 0x1000;
 * enables 0x2000 + 0x80 * context; threshold 0x200000 + 0x1000 * context;
 * claim/complete 4 above that. Any access width and any address in the window
 * has a defined answer (see riscv/plic.c).
 *
 * One lock inside; every function may be called from any thread. The output
 * callback runs with that lock held, so it must not call back into the PLIC.
 */
#ifndef LKVM_RISCV_PLIC_H
#define LKVM_RISCV_PLIC_H

#include "lkvm/bus.h"
#include "lkvm/device.h"
#include "lkvm/irq.h"
#include "lkvm/log.h"

#define PLIC_WINDOW UINT64_C(0x4000000)
#define PLIC_MAX_SOURCES 1023
#define PLIC_MAX_CONTEXTS 1024
#define PLIC_MAX_PRIORITY 7

enum plic_trigger {
	PLIC_LEVEL,
	PLIC_EDGE,
};

/**
 * plic_output_fn - the external interrupt wire of context @context is now @level
 *
 * Called only when the level really changed.
 */
typedef void (*plic_output_fn)(void *opaque, unsigned int context, bool level);

struct plic;

/**
 * plic_create() - a PLIC in its reset state: everything 0, all sources level
 * @name: stays the caller's and must live as long as the PLIC
 * @sources: highest source number, 1 to PLIC_MAX_SOURCES
 * @contexts: 1 to PLIC_MAX_CONTEXTS
 * @output: takes the external interrupt wires
 * @opaque: for @output
 * @log: for accesses that hit no register (debug level, rate limited); may be NULL
 *
 * Return: the PLIC, or NULL where there is no memory or a number is out of range.
 */
struct plic *plic_create(const char *name, unsigned int sources, unsigned int contexts,
			 plic_output_fn output, void *opaque, struct log *log);

/**
 * plic_device() - the device inside, for the machine's table
 */
struct device *plic_device(struct plic *plic);

/**
 * plic_chip() - the interrupt chip that lines connect to
 *
 * A source number of 0 or beyond the last one is ignored. A reset keeps the
 * wires' levels: they are the devices'.
 */
struct irq_chip *plic_chip(struct plic *plic);

/**
 * plic_set_trigger() - how the gateway of @source reads its wire; survives reset
 *
 * Part of the machine, not of the guest's state: a state is loaded only into a
 * PLIC with the same triggers.
 */
void plic_set_trigger(struct plic *plic, unsigned int source, enum plic_trigger trigger);

/**
 * plic_ops - for a struct mmio_region of PLIC_WINDOW bytes whose dev is the PLIC
 */
extern const struct mmio_ops plic_ops;

/**
 * plic_is_threshold() - does @offset belong to a context's threshold register?
 *
 * Linux writes it on each hart that comes up, on that hart: the machine takes
 * that as the sign that a hart (re)started.
 */
bool plic_is_threshold(uint64_t offset);

/**
 * plic_drive_output() - call the output function for one context, changed or not
 *
 * After KVM reset a hart: it forgot what its wire was.
 */
void plic_drive_output(struct plic *plic, unsigned int context);

/**
 * plic_drive_outputs() - call the output function for every context, changed or not
 *
 * After a restore, when the kernel's idea of the wires is fresh: loading a state
 * computes the wires but tells no one.
 */
void plic_drive_outputs(struct plic *plic);

/**
 * plic_source_count() - how many times @source was claimed since creation
 */
uint64_t plic_source_count(struct plic *plic, unsigned int source);

#endif /* LKVM_RISCV_PLIC_H */
