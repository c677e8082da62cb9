/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where traps go while interrupts are on: what the calling convention lets a callee
 * change is put on the stack of whatever ran, irq_taken() is called with scause, and
 * it goes on. An exception is as unexpected here as in start.S, and ends the same way.
 */
	.option norvc
	.text
	.balign 4
	.globl irq_vector
irq_vector:
	addi sp, sp, -128
	sd ra, 0(sp)
	sd t0, 8(sp)
	sd t1, 16(sp)
	sd t2, 24(sp)
	sd t3, 32(sp)
	sd t4, 40(sp)
	sd t5, 48(sp)
	sd t6, 56(sp)
	sd a0, 64(sp)
	sd a1, 72(sp)
	sd a2, 80(sp)
	sd a3, 88(sp)
	sd a4, 96(sp)
	sd a5, 104(sp)
	sd a6, 112(sp)
	sd a7, 120(sp)
	csrr a0, scause
	bgez a0, 1f
	call irq_taken
	ld ra, 0(sp)
	ld t0, 8(sp)
	ld t1, 16(sp)
	ld t2, 24(sp)
	ld t3, 32(sp)
	ld t4, 40(sp)
	ld t5, 48(sp)
	ld t6, 56(sp)
	ld a0, 64(sp)
	ld a1, 72(sp)
	ld a2, 80(sp)
	ld a3, 88(sp)
	ld a4, 96(sp)
	ld a5, 104(sp)
	ld a6, 112(sp)
	ld a7, 120(sp)
	addi sp, sp, 128
	sret
1:	csrr a1, sepc
	csrr a2, stval
	call guest_trap
2:	wfi
	j 2b

	.section .note.GNU-stack, "", @progbits
