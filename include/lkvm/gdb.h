/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A GDB remote stub (--gdb): a debugger connects to the running VM by a socket and speaks
 * the protocol of "GDB Remote Serial Protocol" (GDB's manual, appendix E).
 *
 * One debugger at a time. It can do anything to the guest, and nothing to the host; the
 * stub does not ask who it is beyond that it comes from this machine (from this user,
 * by a unix socket). Each hart is a thread, numbered from 1. When it comes the VM stops,
 * when it leaves the VM goes on without breakpoints.
 *
 * Threads: the loop's, but for gdb_hit().
 */
#ifndef LKVM_GDB_H
#define LKVM_GDB_H

#include "lkvm/vm.h"

#include <sys/socket.h>

struct gdb;

/**
 * struct gdb_address - where the stub listens
 * @wait: the VM does not run before a debugger lets it
 * @address, @len: a unix socket, or a port of 127.0.0.1 or ::1
 */
struct gdb_address {
	bool wait;
	struct sockaddr_storage address;
	socklen_t len;
};

/**
 * gdb_parse() - "PORT", "HOST:PORT" or "unix:PATH", and ",wait"
 *
 * Return: 0, or -1 with @err set.
 */
int gdb_parse(const char *text, struct gdb_address *address, struct error *err);

/**
 * gdb_create() - listen; before vm_run()
 *
 * Return: it, or NULL with @err set (KVM can't debug guests, the address is taken).
 */
struct gdb *gdb_create(struct vm *vm, const struct gdb_address *address, struct error *err);

/**
 * gdb_serve() - a debugger is connected by @fd, which is taken over
 */
void gdb_serve(struct gdb *gdb, int fd);

/**
 * gdb_attached() - is a debugger there? gdb_stopped() - did it stop the VM? NULL is allowed
 */
bool gdb_attached(const struct gdb *gdb);
bool gdb_stopped(const struct gdb *gdb);

/**
 * gdb_hit() - as debug_hit() (the vCPU's own thread)
 *
 * Return: false where @gdb is NULL: nobody debugs this VM.
 */
bool gdb_hit(struct gdb *gdb, struct vcpu *vcpu);

/**
 * gdb_restarted() - as debug_restarted(), NULL is allowed
 */
int gdb_restarted(struct gdb *gdb, struct error *err);

/**
 * gdb_ended() - tell the debugger that the VM has ended; NULL is allowed
 * @status: what lkvm's exit status will be
 */
void gdb_ended(struct gdb *gdb, int status);

/**
 * gdb_destroy() - hang up, stop listening, remove the socket; NULL is allowed
 */
void gdb_destroy(struct gdb *gdb);

#endif /* LKVM_GDB_H */
