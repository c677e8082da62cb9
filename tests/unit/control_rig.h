/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VM of the rig with a control socket in a runtime directory of its own, and clients
 * that behave and that do not.
 */
#ifndef LKVM_TESTS_CONTROL_RIG_H
#define LKVM_TESTS_CONTROL_RIG_H

#include "lkvm/control.h"
#include "lkvm/control_client.h"
#include "rig.h"

/**
 * struct control_rig - the VM "a" and where its socket is
 * @runtime: XDG_RUNTIME_DIR; @dir: lkvm's directory in it, made by lkvm
 */
struct control_rig {
	struct rig rig;
	char runtime[64], dir[80];
	struct error err;
};

void control_rig_init(struct control_rig *r);

/**
 * control_rig_end() - fails the test where a file was left that is not the test's own
 */
void control_rig_end(struct control_rig *r);

/**
 * control_rig_listen() - give a VM a control socket with the core's commands
 */
void control_rig_listen(struct control_rig *r, struct rig *rig);

/**
 * control_rig_start() - create, listen, run, wait until hart 0 idles
 */
void control_rig_start(struct control_rig *r);

/**
 * control_rig_stop() - "stop" without asking, and join
 */
void control_rig_stop(struct control_rig *r);

/**
 * control_rig_ask() - a command to VM "a", with arguments as JSON or NULL
 *
 * Return: the answer as compact JSON, or the error's text; good until the next call.
 */
const char *control_rig_ask(struct control_rig *r, const char *command, const char *arguments);

/**
 * control_rig_path() - of a file in @dir; good until the next call
 */
const char *control_rig_path(struct control_rig *r, const char *leaf);

/**
 * control_rig_dial() - a bare connection to a socket there; reads time out after 20 s
 */
int control_rig_dial(struct control_rig *r, const char *leaf);

/**
 * control_rig_hear() - all that comes until the VM closes; good until the next call
 */
const char *control_rig_hear(int fd);

/**
 * control_rig_say() - dial "a", send @len bytes, and hear; @end: nothing more will come
 */
const char *control_rig_say(struct control_rig *r, const char *text, size_t len, bool end);

/**
 * control_rig_button_driver - a guest with a driver for its power button, which powers off when
 *                             poked
 */
extern const struct fake_op control_rig_button_driver[];

#endif /* LKVM_TESTS_CONTROL_RIG_H */
