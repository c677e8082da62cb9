/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest's init for one command (guest/init), as bytes of this program: for RISC-V
 * whatever lkvm itself is built for. Empty where no compiler for RISC-V was there.
 */
	.section .rodata
	.globl guest_init, guest_init_size
	.balign 8
guest_init:
	.incbin GUEST_INIT
guest_init_end:
	.balign 8
guest_init_size:
	.8byte guest_init_end - guest_init
	.section .note.GNU-stack, "", %progbits
