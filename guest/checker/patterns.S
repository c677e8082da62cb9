/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Registers full of patterns while time passes: struct state of checker.h by its offsets.
 *
 * The loop keeps the time in t0 and its end in t1; all else is what was loaded, until it is
 * stored. Interrupts may come: they save what they change (guest/irq/vector.S).
 */
	.option norvc
	.option norelax
	.option arch, +f, +d, +v

#define F 256
#define FCSR 512
#define VL 520
#define VTYPE 528
#define VCSR 536
#define VECTOR 544
#define VSTART 552
#define V 1024

	.text
	.balign 4
	.globl patterns
patterns:
	addi sp, sp, -128
	sd ra, 0(sp)
	sd gp, 8(sp)
	sd s0, 16(sp)
	sd s1, 24(sp)
	sd s2, 32(sp)
	sd s3, 40(sp)
	sd s4, 48(sp)
	sd s5, 56(sp)
	sd s6, 64(sp)
	sd s7, 72(sp)
	sd s8, 80(sp)
	sd s9, 88(sp)
	sd s10, 96(sp)
	sd s11, 104(sp)
	sd a0, 112(sp)
	sd a1, 120(sp)
	mv t0, a0

	.irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	fld f\n, F + 8 * \n(t0)
	.endr
	ld t1, FCSR(t0)
	csrw fcsr, t1

	ld t1, VECTOR(t0)
	beqz t1, 1f
	csrw vstart, zero
	csrr t2, vlenb
	slli t2, t2, 3
	addi t1, t0, V
	vl8re8.v v0, (t1)
	add t1, t1, t2
	vl8re8.v v8, (t1)
	add t1, t1, t2
	vl8re8.v v16, (t1)
	add t1, t1, t2
	vl8re8.v v24, (t1)
	ld t1, VL(t0)
	ld t2, VTYPE(t0)
	vsetvl zero, t1, t2
	ld t1, VCSR(t0)
	/*
	 * QEMU's CPU (11.1) does not count a write to vcsr as a change that the hypervisor has to
	 * keep, sstatus.VS; the instruction before makes it one, if no interrupt comes between:
	 * QEMU takes none within a run of instructions without a jump, on one page, without -icount.
	 */
	.balign 8
	vmv1r.v v0, v0
	csrw vcsr, t1

1:	mv t1, a2
	.irp n, 1,3,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	ld x\n, 8 * \n(t0)
	.endr
2:	rdtime t0
	bltu t0, t1, 2b

	ld t0, 120(sp)
	.irp n, 1,3,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	sd x\n, 8 * \n(t0)
	.endr
	.irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	fsd f\n, F + 8 * \n(t0)
	.endr
	csrr t1, fcsr
	sd t1, FCSR(t0)

	ld t1, 112(sp)
	ld t1, VECTOR(t1)
	beqz t1, 3f
	csrr t1, vl
	sd t1, VL(t0)
	csrr t1, vtype
	sd t1, VTYPE(t0)
	csrr t1, vcsr
	sd t1, VCSR(t0)
	csrr t1, vstart
	sd t1, VSTART(t0)
	csrr t2, vlenb
	slli t2, t2, 3
	addi t1, t0, V
	vs8r.v v0, (t1)
	add t1, t1, t2
	vs8r.v v8, (t1)
	add t1, t1, t2
	vs8r.v v16, (t1)
	add t1, t1, t2
	vs8r.v v24, (t1)

3:	ld ra, 0(sp)
	ld gp, 8(sp)
	ld s0, 16(sp)
	ld s1, 24(sp)
	ld s2, 32(sp)
	ld s3, 40(sp)
	ld s4, 48(sp)
	ld s5, 56(sp)
	ld s6, 64(sp)
	ld s7, 72(sp)
	ld s8, 80(sp)
	ld s9, 88(sp)
	ld s10, 96(sp)
	ld s11, 104(sp)
	addi sp, sp, 128
	ret

	.section .note.GNU-stack, "", @progbits
