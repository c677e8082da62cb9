/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest that boots in no time: a flat RISC-V Image that knows the serial port and five SBI calls.
 *
 * Theory of operation: the boot hart says "tiny: hart N", starts hart 0, 1, 2 ... by HSM until KVM
 * says that there is none of that number, waits until each of them has counted itself, says
 * "tiny: N harts" and does what it was built for: power off, -DRESET reset, -DIDLE wait for ever,
 * -DEXITS say in ticks how long 20,000 loads from a register of the serial port took, and power off.
 * It uses no stack and only memory in its own image, has no relocations and so runs anywhere.
 * Image header: Linux Documentation/arch/riscv/boot-image-header.rst; calls: SBI 3.0.
 */
#define UART 0x10000000
#define UART_LSR 5
#define LSR_THRE 0x20
#define UART_SCR 7
#define LOADS 20000

#define SBI_HSM 0x48534d
#define HSM_START 0
#define HSM_STOP 1
#define SBI_SRST 0x53525354

	.option norvc
	.option norelax
	.text
	.globl _start
_start:
	j boot
	.word 0
	.dword 0x200000
	.dword image_end - _start
	.dword 0
	.word 2
	.word 0
	.dword 0
	.ascii "RISCV\0\0\0"
	.ascii "RSC\5"
	.word 0

boot:
	mv s1, a0
	li s0, UART
	lla a0, text_hart
	call puts
	mv a0, s1
	call putnum
	lla a0, text_newline
	call puts

	li s2, 0
	li s3, 0
next_hart:
	beq s2, s1, itself
	li a7, SBI_HSM
	li a6, HSM_START
	mv a0, s2
	lla a1, other_hart
	li a2, 0
	ecall
	bnez a0, all_started
	addi s3, s3, 1
itself:
	addi s2, s2, 1
	j next_hart
all_started:
	lla t0, arrived
	ld t1, 0(t0)
	bne t1, s3, all_started

	lla a0, text_tiny
	call puts
	addi a0, s3, 1
	call putnum
	lla a0, text_harts
	call puts
#ifdef EXITS
	li s4, LOADS
	rdtime s5
next_load:
	lbu t0, UART_SCR(s0)
	addi s4, s4, -1
	bnez s4, next_load
	rdtime s6
	lla a0, text_loads
	call puts
	sub a0, s6, s5
	call putnum
	lla a0, text_ticks
	call puts
#endif

#ifdef IDLE
idle:
	wfi
	j idle
#else
	li a7, SBI_SRST
	li a6, 0
#ifdef RESET
	li a0, 1
#else
	li a0, 0
#endif
	li a1, 0
	ecall
	/* It returned: there is no such call. */
	lla a0, text_no_srst
	call puts
stuck:
	j stuck
#endif

other_hart:
	lla t0, arrived
	li t1, 1
	amoadd.d zero, t1, (t0)
	li a7, SBI_HSM
	li a6, HSM_STOP
	ecall
	j other_hart

/* a0: text; changes t0 to t2 */
puts:
	mv t0, a0
1:	lbu t1, 0(t0)
	beqz t1, 2f
	addi t0, t0, 1
3:	lbu t2, UART_LSR(s0)
	andi t2, t2, LSR_THRE
	beqz t2, 3b
	sb t1, 0(s0)
	j 1b
2:	ret

/* a0: a number; the digits are made from the last one on */
putnum:
	lla t0, digits_end
	li t1, 10
1:	remu t2, a0, t1
	divu a0, a0, t1
	addi t2, t2, '0'
	addi t0, t0, -1
	sb t2, 0(t0)
	bnez a0, 1b
	mv a0, t0
	j puts

text_hart:
	.asciz "tiny: hart "
text_tiny:
	.asciz "tiny: "
text_harts:
	.asciz " harts\n"
text_loads:
	.asciz "tiny: loads took "
text_ticks:
	.asciz " ticks\n"
text_no_srst:
	.ascii "tiny: no SRST"
text_newline:
	.asciz "\n"
	.balign 8
arrived:
	.dword 0
	.zero 24
digits_end:
	.byte 0
	.balign 4096
image_end:
