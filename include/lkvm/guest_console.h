/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest's console: between the device that the guest writes to (8250, SBI,
 * virtio) and the console a person or a program sits at. It passes bytes both ways and
 * looks at what goes out for the sentences that say a Linux guest died, or hangs.
 * Besides that console there may be listeners: a script, a log, terminals that were
 * attached later.
 */
#ifndef LKVM_GUEST_CONSOLE_H
#define LKVM_GUEST_CONSOLE_H

#include "lkvm/stream.h"
#include "lkvm/vm.h"

struct guest_console;

/* Bytes of output that are kept. */
#define GUEST_CONSOLE_TAIL 4096

/**
 * struct console_listener_ops - who hears the console; NULL entries are not called
 * @output: the guest said this (any thread; with the console's lock held: it must not
 *          block, nor call the console)
 * @trouble: the guest said what a dead one or one that hangs says; @what: in words, for
 *           ever valid (as @output)
 * @room: the device has room for input (as @output). Needed only after
 *        guest_console_room() said 0
 * @gone: the console ends, all was said; @con may be asked for its tail (loop thread)
 */
struct console_listener_ops {
	void (*output)(void *opaque, const uint8_t *buf, size_t len);
	void (*trouble)(void *opaque, const char *what);
	void (*room)(void *opaque);
	void (*gone)(void *opaque, struct guest_console *con);
};

/**
 * struct console_listener - one of them, embedded in its owner
 */
struct console_listener {
	const struct console_listener_ops *ops;
	void *opaque;
	struct console_listener *next;
};

/**
 * guest_console_create() - connect standard input and output
 * @sink: the device's side, as for stream_create()
 *
 * Those in @vm->listeners hear all from the first byte.
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
 * guest_console_listen() - from now on tell @l, which stays the caller's (loop thread)
 * @recent: begin with the tail of what was said, nothing missing in between
 *
 * guest_console_unlisten() is for the loop's thread too; no call is under way when it is
 * back.
 */
void guest_console_listen(struct guest_console *con, struct console_listener *l, bool recent);
void guest_console_unlisten(struct guest_console *con, struct console_listener *l);

/**
 * guest_console_room() - bytes that guest_console_input() takes now (loop thread)
 */
size_t guest_console_room(struct guest_console *con);

/**
 * guest_console_input() - type @len bytes, at most what guest_console_room() said just
 * before (loop thread)
 */
void guest_console_input(struct guest_console *con, const void *buf, size_t len);

/**
 * guest_console_set_size() - a window's size instead of the terminal's own; 0: that again
 * (loop thread; then arch_window_changed())
 *
 * guest_console_size() - this size, else as console_size() (loop thread)
 */
void guest_console_set_size(struct guest_console *con, uint16_t cols, uint16_t rows);
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
