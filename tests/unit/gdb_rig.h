/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VM of the rig that executes a few instructions (fake_cpu.c), and a debugger at the
 * other end of a socket.
 */
#ifndef LKVM_TESTS_GDB_RIG_H
#define LKVM_TESTS_GDB_RIG_H

#include "lkvm/gdb.h"
#include "rig.h"

/* Where the code is: what gdb_rig.c says at each. */
#define CODE UINT64_C(0x80200000)
#define CODE_LOOP CODE		    /* four instructions, a call, and again */
#define CODE_FUNC (CODE + 0x10)	    /* two instructions */
#define CODE_SEQUENCE (CODE + 0x40) /* from lr.d to sc.d and a branch */
#define CODE_OWN (CODE + 0x80)	    /* ebreak, and stay */
#define CODE_VECTOR (CODE + 0xc0)   /* stvec: a2 counts */
#define CODE_WAIT (CODE + 0x100)    /* wfi, sret */
#define CODE_STAY (CODE + 0xc4)	    /* j . */

/**
 * struct gdb_rig - the VM, and the peer's end
 * @fd: the connection, or -1
 * @dir, @path: of the stub's own socket
 * @ack: packets are acknowledged
 */
struct gdb_rig {
	struct rig rig;
	int fd;
	char dir[64], path[96];
	bool ack;
};

/**
 * gdb_rig_init() - @cpus harts that all execute from CODE_LOOP on; nothing runs yet
 */
void gdb_rig_init(struct gdb_rig *r, unsigned int cpus);
void gdb_rig_end(struct gdb_rig *r);

/**
 * gdb_rig_start() - run the VM with a stub; @wait as in its address
 */
void gdb_rig_start(struct gdb_rig *r, bool wait);

/**
 * gdb_rig_dial() - a connection to the stub's socket
 */
int gdb_rig_dial(struct gdb_rig *r);

/**
 * gdb_rig_attach() - dial, and turn acknowledgements off
 */
void gdb_rig_attach(struct gdb_rig *r);

void gdb_rig_send(struct gdb_rig *r, const char *packet);

/**
 * gdb_rig_hear() - the next packet's payload; "closed" where there is none any more, "late"
 * after 10 s. Good until the next call.
 */
const char *gdb_rig_hear(struct gdb_rig *r);

/**
 * gdb_rig_ask() - send and hear
 */
const char *gdb_rig_ask(struct gdb_rig *r, const char *packet);

/**
 * gdb_rig_number() - a register of 8 bytes of the current hart
 */
uint64_t gdb_rig_number(struct gdb_rig *r, unsigned int nr);

/**
 * gdb_rig_stop() - end the VM and join
 */
void gdb_rig_stop(struct gdb_rig *r);

#endif /* LKVM_TESTS_GDB_RIG_H */
