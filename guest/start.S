/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * First instructions of the bare-metal guests, behind a RISC-V Image header
 * (Linux Documentation/arch/riscv/boot-image-header.rst).
 *
 * Theory of operation: the loader starts one hart, with its number in a0 and the
 * device tree in a1, address translation off. It gets a stack and a zeroed BSS and
 * calls guest_start(). Traps are not expected: the handler hands what happened to
 * guest_trap(), which says so and powers off. Nothing here is ever saved.
 */
	.option norvc
	.option norelax
	.section .head, "ax"
	.globl _start
_start:
	j boot
	.word 0
	.dword 0x200000			/* offset from the start of RAM */
	.dword _image_end - _start	/* what it occupies, stack and BSS included */
	.dword 0			/* little-endian */
	.word 2				/* header version 0.2 */
	.word 0
	.dword 0
	.ascii "RISCV\0\0\0"
	.ascii "RSC\5"
	.word 0

	.text
boot:
	csrw sie, zero
	lla t0, trap
	csrw stvec, t0
	lla t0, _bss_start
	lla t1, _bss_end
1:	bgeu t0, t1, 2f
	sd zero, 0(t0)
	addi t0, t0, 8
	j 1b
2:	lla sp, _stack_top
	call guest_start
3:	wfi
	j 3b

	/* A hart that start_hart() started: a1 is its struct hart_start. */
	.globl hart_entry
hart_entry:
	csrw sie, zero
	lla t0, trap
	csrw stvec, t0
	ld sp, 0(a1)
	ld t0, 8(a1)
	ld a0, 16(a1)
	jalr t0
	j 3b

	.balign 4
trap:
	csrr a0, scause
	csrr a1, sepc
	csrr a2, stval
	lla sp, _stack_top
	call guest_trap
	j 3b

	.section .note.GNU-stack, "", @progbits
