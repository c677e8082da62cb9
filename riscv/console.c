// SPDX-License-Identifier: GPL-2.0-only
/*
 * The machine's consoles: the 8250 and the SBI console, both writing to the
 * guest's console, one of them reading from it.
 *
 * Output of the serial port leaves in bursts. The first byte of a burst arms a
 * timer of one millisecond; whatever the guest has written by then goes out in
 * one write. A full buffer goes out at once.
 *
 * Input wakes a guest that is suspended to RAM. Its driver does not listen then, so
 * what comes waits here and enters the port when the driver is back.
 *
 * Thread and lock: the serial port calls its env under its own lock, from vCPU
 * threads or the loop; the SBI functions run on vCPU threads and take @lock for
 * the input buffer. Lock order: serial -> guest console. What is saved: the port
 * by itself; waiting input will be when there are snapshots.
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

	loop_post(a->vm->loop, &a->console.feed);
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

static void put_waiting(struct machine_console *c, const uint8_t *buf, size_t len)
{
	pthread_mutex_lock(&c->lock);
	while (len-- && c->len < CONSOLE_BUFFER)
		c->buf[(c->head + c->len++) % CONSOLE_BUFFER] = *buf++;
	pthread_mutex_unlock(&c->lock);
}

static size_t take_waiting(struct machine_console *c, uint8_t *buf, size_t len)
{
	size_t done = 0;

	pthread_mutex_lock(&c->lock);
	while (done < len && c->len) {
		buf[done++] = c->buf[c->head];
		c->head = (c->head + 1) % CONSOLE_BUFFER;
		c->len--;
	}
	pthread_mutex_unlock(&c->lock);
	return done;
}

static size_t waiting(struct machine_console *c)
{
	size_t len;

	pthread_mutex_lock(&c->lock);
	len = c->len;
	pthread_mutex_unlock(&c->lock);
	return len;
}

/* The serial port has room: first what waited, then what comes. */
static void feed_serial(void *opaque)
{
	struct arch_vm *a = opaque;
	struct machine_console *c = &a->console;
	uint8_t buf[SERIAL_FIFO];
	size_t room, len;

	while ((room = serial_rx_room(c->serial)) > 0) {
		len = take_waiting(c, buf, min_u64(room, sizeof(buf)));
		if (!len) {
			if (a->vm->console && c->to_serial)
				guest_console_want_input(a->vm->console);
			return;
		}
		serial_rx(c->serial, buf, len);
	}
}

static size_t input_room(void *opaque)
{
	struct arch_vm *a = opaque;
	struct machine_console *c = &a->console;
	size_t used = waiting(c);

	if (!c->to_serial)
		return CONSOLE_BUFFER - used;
	/* A sleeping guest's driver does not listen, but input must be seen to wake it. */
	if (used || vm_suspended(a->vm))
		return vm_suspended(a->vm) ? CONSOLE_BUFFER - used : 0;
	return serial_rx_room(c->serial);
}

static void input(void *opaque, const uint8_t *buf, size_t len)
{
	struct arch_vm *a = opaque;
	struct machine_console *c = &a->console;

	if (c->to_serial && !waiting(c) && serial_rx_room(c->serial) >= len)
		serial_rx(c->serial, buf, len);
	else
		put_waiting(c, buf, len);
	vm_wake(a->vm);
	/* The guest may have begun to listen since its driver was asked. */
	if (c->to_serial && waiting(c))
		loop_post(a->vm->loop, &c->feed);
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
	loop_work_init(&c->feed, feed_serial, a);
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

size_t machine_console_flush(struct arch_vm *a, bool patient)
{
	size_t left = 0;

	/* A slow reader holds back what the port gathers too: hand it over by turns. */
	while (!serial_flush(a->console.serial) && a->vm->console && !left)
		left = guest_console_flush(a->vm->console, patient);
	if (a->vm->console && !left)
		left = guest_console_flush(a->vm->console, patient);
	return left;
}

void machine_console_finish(struct arch_vm *a)
{
	struct machine_console *c = &a->console;
	enum vm_verdict verdict = a->vm->verdict;
	size_t left;

	if (!c->serial)
		return;
	loop_timer_cancel(&c->flush);
	loop_unpost(a->vm->loop, &c->feed);
	if (a->vm->console) {
		/* Whoever ends a VM from outside does not want to wait for its reader. */
		left = machine_console_flush(a, verdict == VM_POWEROFF || verdict == VM_RESET ||
							verdict == VM_DIED);
		if (left)
			log_warning(
				a->vm->log,
				"nobody reads the console: at least %zu bytes of output are lost",
				left);
		guest_console_destroy(a->vm->console);
		a->vm->console = NULL;
	}
	pthread_mutex_destroy(&c->lock);
}

void machine_console_watch(struct arch_vm *a)
{
	/* input_room() answers otherwise while the guest sleeps: have it asked again. */
	if (a->vm->console)
		guest_console_want_input(a->vm->console);
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
	size_t done;

	if (c->to_serial)
		return 0;
	done = take_waiting(c, buf, len);
	if (done && a->vm->console)
		guest_console_want_input(a->vm->console);
	return done;
}

bool machine_console_has_input(struct arch_vm *a)
{
	struct machine_console *c = &a->console;

	return waiting(c) || (c->to_serial && serial_rx_waiting(c->serial));
}
