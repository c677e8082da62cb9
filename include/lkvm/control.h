/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The control socket of a running VM: how a second lkvm process reaches it.
 *
 * One stream socket a VM, NAME.sock in the runtime directory ($XDG_RUNTIME_DIR/lkvm,
 * else ~/.lkvm; directory 0700, socket 0600), served by the VM's loop. A request
 * is one line, "lkvm/1 WORD\n"; the answer is "ok" and a space or newline before
 * any text, or one line "error TEXT"; then the VM closes. The word "device" is followed
 * by a device's name and a command for it ("device disk0 resize 10G"). Requests come only from the
 * same user (the kernel tells who the peer is) and are bounded in size, number and time.
 */
#ifndef LKVM_CONTROL_H
#define LKVM_CONTROL_H

#include "lkvm/util.h"
#include "lkvm/vm.h"

#define VM_NAME_MAX 64

struct control;

/**
 * control_name_ok() - is @name of [A-Za-z0-9._-]{1,64}, and not "." or ".."?
 */
bool control_name_ok(const char *name);

/**
 * control_create() - listen for commands to @vm under its name
 *
 * A socket that no living process serves is taken over; one that answers makes
 * this fail.
 *
 * Return: the control, or NULL with @err set.
 */
struct control *control_create(struct vm *vm, struct error *err);

/**
 * control_destroy() - stop listening and remove the socket, if it is still ours
 */
void control_destroy(struct control *control);

/**
 * control_request() - ask the VM @name to do @word (from another process)
 * @answer: receives the text after "ok", its newline included; may be empty
 *
 * Return: 0; -1 with @err set (no such VM, refused, no answer in time).
 */
int control_request(const char *name, const char *word, char *answer, size_t len,
		    struct error *err);

#endif /* LKVM_CONTROL_H */
