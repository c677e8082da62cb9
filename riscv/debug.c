// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a debugger wants of a hart (include/lkvm/arch_debug.h): addresses, breakpoint
 * instructions, single steps.
 *
 * Addresses go through the hart's satp. Before a kernel has turned paging on, a debugger
 * already names what it is linked for: Linux for 64 bits lies at LINUX_LINK (Linux
 * Documentation/arch/riscv/vm-layout.rst), unless it was moved (KASLR), and lkvm knows
 * where it put the image.
 *
 * Steps. KVM on RISC-V has none. What changes the flow is carried out here, on the
 * registers: jumps, branches, waits. Any other instruction is run, with a breakpoint behind it
 * and one where traps go (stvec), so that a step onto a page that is not there ends in the
 * guest's handler. Interrupts are masked by sie meanwhile, for their handlers may go
 * anywhere; an instruction that could see that is run unmasked. An atomic sequence (lr to
 * sc) is one step: a stop in the middle would make its store fail each time.
 *
 * Breakpoint exceptions are given to the guest as a hart would take them (RISC-V privileged
 * architecture, "Supervisor Trap Handling").
 *
 * Thread and lock: the caller's, who has the vCPU parked. Nothing is saved.
 */
#include "machine.h"

#include "lkvm/arch_debug.h"
#include "lkvm/riscv/insn.h"
#include "lkvm/riscv/regs.h"
#include "lkvm/riscv/walk.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define LINUX_LINK UINT64_C(0xffffffff80000000)

#define CODE_EBREAK 0x00100073u
#define CODE_C_EBREAK 0x9002u

#define CAUSE_BREAKPOINT 3

#define SSTATUS_SIE (UINT64_C(1) << 1)
#define SSTATUS_SPIE (UINT64_C(1) << 5)
#define SSTATUS_SPP (UINT64_C(1) << 8)

/* In the hart's own numbering: what shows whether interrupts are masked. */
#define CSR_NR_SIE 0x104u

/* No constrained atomic sequence is longer (RISC-V "A" extension, 16 instructions). */
#define SEQUENCE_MAX 16

static uint64_t csr(const struct kvm_vcpu *vcpu, unsigned int index)
{
	return reg_long_or_zero(vcpu, REG_CSR, index);
}

static bool translate_bare(const struct vm *vm, uint64_t va, gpa_t *gpa, uint64_t *len)
{
	const struct boot_layout *boot = &vm->arch->layout;
	const struct memory_region *r;

	*gpa = va;
	if (va >= LINUX_LINK && !vm->arch->firmware) {
		if (va - LINUX_LINK >= boot->kernel_size)
			return false;
		*gpa = boot->kernel + (va - LINUX_LINK);
	}
	r = memory_find(&vm->mem, *gpa, 0);
	if (!r)
		return false;
	*len = r->gpa + r->size - *gpa;
	return true;
}

bool arch_debug_translate(struct vcpu *vcpu, uint64_t va, gpa_t *gpa, uint64_t *len)
{
	uint64_t satp = csr(&vcpu->kvm, CSR_SATP);

	if (walk_is_bare(satp))
		return translate_bare(vcpu->vm, va, gpa, len);
	return walk(&vcpu->vm->mem, satp, va, gpa, len);
}

size_t arch_debug_breakpoint(struct vcpu *vcpu, uint8_t *insn)
{
	uint64_t isa = reg_long_or_zero(&vcpu->kvm, REG_CONFIG, CONFIG_ISA);
	bool compressed = isa >> ('c' - 'a') & 1;
	uint32_t code = htole32(compressed ? CODE_C_EBREAK : CODE_EBREAK);

	memcpy(insn, &code, sizeof(code));
	return compressed ? 2 : 4;
}

int arch_debug_give(struct vcpu *vcpu)
{
	const struct kvm_vcpu *kvm = &vcpu->kvm;
	uint64_t pc = arch_debug_pc(vcpu), status = csr(kvm, CSR_SSTATUS);
	uint64_t mode = reg_long_or_zero(kvm, REG_CORE, CORE_MODE);
	uint64_t taken = status & ~(SSTATUS_SIE | SSTATUS_SPIE | SSTATUS_SPP);

	if (status & SSTATUS_SIE)
		taken |= SSTATUS_SPIE;
	if (mode)
		taken |= SSTATUS_SPP;
	if (reg_set_long(kvm, REG_CSR, 0, CSR_SEPC, pc) ||
	    reg_set_long(kvm, REG_CSR, 0, CSR_SCAUSE, CAUSE_BREAKPOINT) ||
	    reg_set_long(kvm, REG_CSR, 0, CSR_STVAL, pc) ||
	    reg_set_long(kvm, REG_CSR, 0, CSR_SSTATUS, taken) ||
	    reg_set_long(kvm, REG_CORE, 0, CORE_MODE, 1))
		return -EIO;
	return arch_debug_set_pc(vcpu, csr(kvm, CSR_STVEC) & ~UINT64_C(3));
}

/* --- steps -------------------------------------------------------------------------------- */

/**
 * struct stepping - a step that is being prepared
 */
struct stepping {
	struct vcpu *vcpu;
	arch_debug_fetch_fn fetch;
	void *opaque;
	struct debug_step *step;
	uint64_t x[32];
};

static void stop_at(struct debug_step *step, uint64_t pc)
{
	if (step->nr < DEBUG_STEP_STOPS)
		step->stops[step->nr++] = pc;
}

static bool fetch_at(const struct stepping *s, uint64_t pc, struct insn *insn)
{
	uint16_t half[2] = {0, 0};

	if (!s->fetch(s->opaque, pc, &half[0], 2))
		return false;
	half[0] = le16toh(half[0]);
	if (insn_size(half[0]) == 4 && !s->fetch(s->opaque, pc + 2, &half[1], 2))
		return false;
	*insn = insn_decode(half[0] | (uint32_t)le16toh(half[1]) << 16, pc, s->x);
	return true;
}

static int go_to(const struct stepping *s, uint64_t pc)
{
	s->step->done = true;
	return arch_debug_set_pc(s->vcpu, pc);
}

/* Behind the sequence that begins at @pc, and wherever a branch leaves it. */
static void stop_behind_sequence(const struct stepping *s, uint64_t pc, unsigned int size)
{
	struct debug_step *step = s->step;
	size_t before = step->nr;
	struct insn insn;
	unsigned int i;

	for (i = 1; i < SEQUENCE_MAX; i++) {
		pc += size;
		if (!fetch_at(s, pc, &insn))
			break;
		size = insn.size;
		if (insn.kind == INSN_BRANCH)
			stop_at(step, insn.target);
		if (insn.kind == INSN_JUMP)
			break;
		if (insn.kind == INSN_SC) {
			stop_at(step, pc + size);
			return;
		}
	}
	/* It is none: like any other instruction. */
	step->nr = before;
}

/* Keep interrupts away, unless the instruction could tell. */
static void mask(const struct stepping *s, const struct insn *insn)
{
	struct debug_step *step = s->step;

	if (insn->kind == INSN_CSR && insn->csr == CSR_NR_SIE)
		return;
	step->saved = csr(&s->vcpu->kvm, CSR_SIE);
	step->masked = !reg_set_long(&s->vcpu->kvm, REG_CSR, 0, CSR_SIE, 0);
}

static int jump(const struct stepping *s, const struct insn *insn, uint64_t next)
{
	int ret = 0;

	if (insn->rd)
		ret = reg_set_long(&s->vcpu->kvm, REG_CORE, 0, insn->rd, next);
	return ret ? ret : go_to(s, insn->target);
}

static int plan(const struct stepping *s, uint64_t pc, const struct insn *insn)
{
	bool supervisor = reg_long_or_zero(&s->vcpu->kvm, REG_CORE, CORE_MODE);
	size_t before = s->step->nr;

	switch (insn->kind) {
	case INSN_JUMP:
		return jump(s, insn, pc + insn->size);
	case INSN_BRANCH:
		return go_to(s, insn->taken ? insn->target : pc + insn->size);
	case INSN_WAIT:
		if (supervisor)
			return go_to(s, pc + insn->size);
		break;
	case INSN_SRET:
		stop_at(s->step, csr(&s->vcpu->kvm, CSR_SEPC) & ~UINT64_C(1));
		break;
	case INSN_LR:
		stop_behind_sequence(s, pc, insn->size);
		break;
	default:
		break;
	}
	if (s->step->nr == before)
		stop_at(s->step, pc + insn->size);
	mask(s, insn);
	return 0;
}

int arch_debug_step(struct vcpu *vcpu, arch_debug_fetch_fn fetch, void *opaque,
		    struct debug_step *step)
{
	struct stepping s = {.vcpu = vcpu, .fetch = fetch, .opaque = opaque, .step = step};
	uint64_t pc = arch_debug_pc(vcpu);
	struct insn insn;
	unsigned int i;
	int ret;

	*step = (struct debug_step){.done = false};
	for (i = 1; i < ARRAY_SIZE(s.x); i++) {
		ret = reg_get_long(&vcpu->kvm, REG_CORE, 0, i, &s.x[i]);
		if (ret)
			return ret;
	}
	/* Any instruction may trap, not being there among others. */
	stop_at(step, csr(&vcpu->kvm, CSR_STVEC) & ~UINT64_C(3));
	return fetch_at(&s, pc, &insn) ? plan(&s, pc, &insn) : 0;
}

void arch_debug_stepped(struct vcpu *vcpu, struct debug_step *step)
{
	if (step->masked)
		reg_set_long(&vcpu->kvm, REG_CSR, 0, CSR_SIE, step->saved);
	step->masked = false;
}
