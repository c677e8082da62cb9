/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest's console: between the device that the guest writes to (8250, SBI)
 * and the console a person or a script sits at. It passes bytes both ways and
 * looks at what goes out for the one sentence that says a Linux guest died.
 */
#ifndef LKVM_GUEST_CONSOLE_H
#define LKVM_GUEST_CONSOLE_H

#include "lkvm/stream.h"
#include "lkvm/vm.h"

struct guest_console;

/* Bytes of output that are kept. */
#define GUEST_CONSOLE_TAIL 4096

/**
 * guest_console_create() - connect standard input and output
 * @sink: the device's side, as for stream_create()
 *
 * Return: the console, or NULL with @err set.
 */
struct guest_console *guest_console_create(struct vm *vm, int in, int out,
					   const struct stream_ops *sink, void *opaque,
					   struct error *err);
void guest_console_destroy(struct guest_console *con);

/**
 * guest_console_write() - output of the guest, non-blocking (any thread)
 *
 * Return: bytes taken.
 */
size_t guest_console_write(struct guest_console *con, const void *buf, size_t len);

/**
 * guest_console_want_input() - the device has room again (any thread)
 */
void guest_console_want_input(struct guest_console *con);

/**
 * guest_console_size() - as console_size()
 */
bool guest_console_size(const struct guest_console *con, uint16_t *cols, uint16_t *rows);

/**
 * guest_console_flush() - wait for a slow reader (loop thread)
 * @patient: as long as it takes some bytes each second; else one second in all
 *
 * Return: how many bytes were not taken.
 */
size_t guest_console_flush(struct guest_console *con, bool patient);

/**
 * guest_console_panicked() - did the guest just say "Kernel panic"?
 *
 * What a panic prints after its words is short; a guest that goes on and prints
 * more than 64 KiB was only quoting them.
 */
bool guest_console_panicked(struct guest_console *con);

/**
 * guest_console_tail() - what the guest said last (any thread)
 * @con: NULL: there was no console yet
 * @buf: GUEST_CONSOLE_TAIL bytes
 *
 * Return: how many there are.
 */
size_t guest_console_tail(struct guest_console *con, char *buf);

/**
 * guest_console_restarted() - the guest starts anew: forget what it said
 */
void guest_console_restarted(struct guest_console *con);

#endif /* LKVM_GUEST_CONSOLE_H */
