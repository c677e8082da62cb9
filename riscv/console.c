// SPDX-License-Identifier: GPL-2.0-only
/*
 * The machine's consoles: the 8250 and the SBI console, both writing to the
 * guest's console, one of them reading from it.
 *
 * Output of the serial port leaves in bursts. The first byte of a burst arms a
 * timer of one millisecond; whatever the guest has written by then goes out in
 * one write. A full buffer goes out at once.
 *
 * Input wakes a guest that is suspended to RAM.
 *
 * Thread and lock: the serial port calls its env under its own lock, from vCPU
 * threads or the loop; the SBI functions run on vCPU threads and take @lock for
 * the input buffer. Lock order: serial -> guest console. What is saved: the port
 * by itself; waiting SBI input is not (the sender sees it as sent to a machine
 * that lost power).
 */
#include "machine.h"

#include "lkvm/guest_console.h"

#include <string.h>

/* Long enough to gather a burst, short enough that nobody sees it. */
#define BURST_NS NSEC_PER_MSEC

static size_t serial_write(void *opaque, const uint8_t *buf, size_t len)
{
	struct arch_vm *a = opaque;

	return a->vm->console ? guest_console_write(a->vm->console, buf, len) : len;
}

static void serial_flush_soon(void *opaque)
{
	struct arch_vm *a = opaque;

	loop_timer_arm(&a->console.flush, now_ns() + BURST_NS);
}

static void serial_rx_has_room(void *opaque)
{
	struct arch_vm *a = opaque;

	if (a->vm->console && a->console.to_serial)
		guest_console_want_input(a->vm->console);
}

static const struct serial_env serial_env = {
	.write = serial_write,
	.flush_soon = serial_flush_soon,
	.rx_room = serial_rx_has_room,
};

static void flush_burst(void *opaque)
{
	struct arch_vm *a = opaque;

	serial_flush(a->console.serial);
}

static size_t input_room(void *opaque)
{
	struct arch_vm *a = opaque;
	struct machine_console *c = &a->console;
	size_t room;

	if (c->to_serial)
		return serial_rx_room(c->serial);
	pthread_mutex_lock(&c->lock);
	room = SBI_CONSOLE_BUFFER - c->len;
	pthread_mutex_unlock(&c->lock);
	return room;
}

static void input(void *opaque, const uint8_t *buf, size_t len)
{
	struct arch_vm *a = opaque;
	struct machine_console *c = &a->console;
	size_t i;

	if (c->to_serial) {
		serial_rx(c->serial, buf, len);
	} else {
		pthread_mutex_lock(&c->lock);
		for (i = 0; i < len && c->len < SBI_CONSOLE_BUFFER; i++)
			c->buf[(c->head + c->len++) % SBI_CONSOLE_BUFFER] = buf[i];
		pthread_mutex_unlock(&c->lock);
	}
	vm_wake(a->vm);
}

static void drained(void *opaque)
{
	struct arch_vm *a = opaque;

	serial_flush(a->console.serial);
}

static const struct stream_ops sink = {
	.room = input_room,
	.input = input,
	.drained = drained,
};

struct device *machine_console_build(struct arch_vm *a, struct irq_line irq, struct error *err)
{
	struct machine_console *c = &a->console;

	pthread_mutex_init(&c->lock, NULL);
	c->to_serial = a->vm->cfg->console == CONSOLE_SERIAL;
	loop_timer_init(&c->flush, a->vm->loop, flush_burst, a);
	c->serial = serial_create("serial0", irq, &serial_env, a);
	if (!c->serial) {
		fail(err, "no memory for the serial port");
		return NULL;
	}
	return serial_device(c->serial);
}

int machine_console_connect(struct arch_vm *a, struct error *err)
{
	const struct vm_config *cfg = a->vm->cfg;

	a->vm->console =
		guest_console_create(a->vm, cfg->console_in, cfg->console_out, &sink, a, err);
	return a->vm->console ? 0 : -1;
}

void machine_console_flush(struct arch_vm *a)
{
	struct machine_console *c = &a->console;

	if (!serial_flush(c->serial) && a->vm->console) {
		/* A slow reader holds back the last of the port's own buffer. */
		guest_console_flush(a->vm->console);
		serial_flush(c->serial);
	}
}

void machine_console_finish(struct arch_vm *a)
{
	struct machine_console *c = &a->console;

	if (!c->serial)
		return;
	loop_timer_cancel(&c->flush);
	if (a->vm->console) {
		machine_console_flush(a);
		guest_console_flush(a->vm->console);
		guest_console_destroy(a->vm->console);
		a->vm->console = NULL;
	}
	pthread_mutex_destroy(&c->lock);
}

void machine_console_reset(struct arch_vm *a)
{
	struct machine_console *c = &a->console;

	serial_flush(c->serial);
	pthread_mutex_lock(&c->lock);
	c->len = 0;
	pthread_mutex_unlock(&c->lock);
}

size_t machine_console_put(void *opaque, const uint8_t *buf, size_t len)
{
	struct arch_vm *a = opaque;

	/* What the port holds was written before this: keep the order on the screen. */
	serial_flush(a->console.serial);
	return a->vm->console ? guest_console_write(a->vm->console, buf, len) : len;
}

size_t machine_console_get(void *opaque, uint8_t *buf, size_t len)
{
	struct arch_vm *a = opaque;
	struct machine_console *c = &a->console;
	size_t done = 0;

	pthread_mutex_lock(&c->lock);
	while (done < len && c->len) {
		buf[done++] = c->buf[c->head];
		c->head = (c->head + 1) % SBI_CONSOLE_BUFFER;
		c->len--;
	}
	pthread_mutex_unlock(&c->lock);
	if (done && a->vm->console && !c->to_serial)
		guest_console_want_input(a->vm->console);
	return done;
}

bool machine_console_has_input(struct arch_vm *a)
{
	struct machine_console *c = &a->console;
	bool waiting;

	if (c->to_serial)
		return serial_rx_waiting(c->serial) > 0;
	pthread_mutex_lock(&c->lock);
	waiting = c->len;
	pthread_mutex_unlock(&c->lock);
	return waiting;
}
