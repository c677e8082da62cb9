/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a debugger wants of the architecture (riscv/ implements it): registers by number, a
 * description of them, the way from a virtual address to guest memory, breakpoint
 * instructions, and single steps, which KVM on RISC-V does not have.
 *
 * All on the loop's thread, for vCPUs that are not in KVM_RUN.
 */
#ifndef LKVM_ARCH_DEBUG_H
#define LKVM_ARCH_DEBUG_H

#include "lkvm/util.h"
#include "lkvm/vcpu.h"

/* Bytes of the largest register. */
#define ARCH_DEBUG_REG_MAX 8192

/**
 * arch_debug_target() - the registers of a hart as a GDB target description (XML)
 *
 * Return: text that the caller frees, or NULL without memory.
 */
char *arch_debug_target(struct vcpu *vcpu);

/**
 * arch_debug_general() - how many registers, from number 0, a "g" packet holds
 */
unsigned int arch_debug_general(void);

/**
 * arch_debug_get() / arch_debug_set() - the register that the description gives number @nr
 * @value: ARCH_DEBUG_REG_MAX bytes, the least significant first
 *
 * Return: its size in bytes, or -errno (-ENOENT: no such register; -EPERM: KVM does not
 * let it be set, or setting it would lose interrupts). arch_debug_set() wants the exact
 * @size and returns 0.
 */
long arch_debug_get(struct vcpu *vcpu, unsigned int nr, void *value);
int arch_debug_set(struct vcpu *vcpu, unsigned int nr, const void *value, size_t size);

uint64_t arch_debug_pc(struct vcpu *vcpu);
int arch_debug_set_pc(struct vcpu *vcpu, uint64_t pc);

/**
 * arch_debug_translate() - where is the virtual address @va of this hart?
 * @gpa: out; @len: out: bytes from there that are mapped without a gap
 *
 * Whether the hart might access it does not matter. Before Linux has turned its paging on,
 * the addresses that it is linked for are those of its image in memory.
 *
 * Return: false where nothing is mapped.
 */
bool arch_debug_translate(struct vcpu *vcpu, uint64_t va, gpa_t *gpa, uint64_t *len);

/**
 * arch_debug_breakpoint() - the instruction to put where the hart is to stop
 * @insn: out: 4 bytes
 *
 * Return: how many of them.
 */
size_t arch_debug_breakpoint(struct vcpu *vcpu, uint8_t *insn);

/**
 * arch_debug_give() - the breakpoint instruction at the hart's pc is the guest's own:
 * have the guest take the exception
 */
int arch_debug_give(struct vcpu *vcpu);

/* One step may end at so many places: an atomic sequence has several ways out. */
#define DEBUG_STEP_STOPS 12

/**
 * struct debug_step - how one instruction is stepped over
 * @done: it has been carried out already
 * @stops, @nr: else where the hart is to be stopped
 * @masked, @saved: interrupts were kept away meanwhile
 */
struct debug_step {
	bool done;
	uint64_t stops[DEBUG_STEP_STOPS];
	size_t nr;
	bool masked;
	uint64_t saved;
};

/**
 * arch_debug_fetch_fn - read guest code at @va as the guest wrote it
 *
 * Return: true where all of @len bytes were read.
 */
typedef bool (*arch_debug_fetch_fn)(void *opaque, uint64_t va, void *buf, size_t len);

/**
 * arch_debug_step() - begin a step of one instruction
 *
 * Jumps, branches and waits are carried out here. For the rest interrupts are masked, and
 * the hart is to run alone until it comes to one of the stops; then arch_debug_stepped().
 *
 * Return: 0 or -errno.
 */
int arch_debug_step(struct vcpu *vcpu, arch_debug_fetch_fn fetch, void *opaque,
		    struct debug_step *step);
void arch_debug_stepped(struct vcpu *vcpu, struct debug_step *step);

#endif /* LKVM_ARCH_DEBUG_H */
