// SPDX-License-Identifier: GPL-2.0-only
/*
 * The machine's consoles: the 8250, the SBI console and the virtio console, all
 * writing to the guest's console, one of them reading from it (--console).
 *
 * Output of the serial port leaves in bursts. The first byte of a burst arms a
 * timer of one millisecond; whatever the guest has written by then goes out in
 * one write. A full buffer goes out at once.
 *
 * Input wakes a guest that is suspended to RAM. Its driver does not listen then, so
 * what comes waits here and enters the device when the driver is back.
 *
 * Thread and lock: the serial port and the virtio console call their functions here
 * under their own lock, from vCPU threads or the loop; the SBI functions run on vCPU
 * threads and take @lock for the input buffer. Lock order: virtio console -> serial
 * port -> guest console. What is saved: the devices by themselves; waiting input will
 * be when there are snapshots.
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

static void feed_soon(void *opaque)
{
	struct arch_vm *a = opaque;

	loop_post(a->vm->loop, &a->console.feed);
}

static const struct serial_env serial_env = {
	.write = serial_write,
	.flush_soon = serial_flush_soon,
	.rx_room = feed_soon,
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

/* The SBI console is none that is fed: it asks. */
static bool is_fed(const struct arch_vm *a)
{
	return a->vm->cfg->console != CONSOLE_SBI;
}

/* What the device that gets the input takes now. */
static size_t device_room(struct arch_vm *a)
{
	if (a->vm->cfg->console == CONSOLE_VIRTIO)
		return a->console.virtio ? virtio_console_room(a->console.virtio, 0) : 0;
	return serial_rx_room(a->console.serial);
}

static void device_input(struct arch_vm *a, const uint8_t *buf, size_t len)
{
	if (a->vm->cfg->console == CONSOLE_VIRTIO)
		virtio_console_input(a->console.virtio, 0, buf, len);
	else
		serial_rx(a->console.serial, buf, len);
}

/* The device has room: first what waited, then what comes. */
static void feed(void *opaque)
{
	struct arch_vm *a = opaque;
	struct machine_console *c = &a->console;
	uint8_t buf[SERIAL_FIFO];
	size_t room, len;

	while (is_fed(a) && (room = device_room(a)) > 0) {
		len = take_waiting(c, buf, min_u64(room, sizeof(buf)));
		if (!len) {
			if (a->vm->console)
				guest_console_want_input(a->vm->console);
			return;
		}
		device_input(a, buf, len);
	}
}

static size_t input_room(void *opaque)
{
	struct arch_vm *a = opaque;
	struct machine_console *c = &a->console;
	size_t used = waiting(c);

	if (!is_fed(a))
		return CONSOLE_BUFFER - used;
	/* A sleeping guest's driver does not listen, but input must be seen to wake it. */
	if (used || vm_suspended(a->vm))
		return vm_suspended(a->vm) ? CONSOLE_BUFFER - used : 0;
	return device_room(a);
}

static void input(void *opaque, const uint8_t *buf, size_t len)
{
	struct arch_vm *a = opaque;
	struct machine_console *c = &a->console;

	if (is_fed(a) && !waiting(c) && device_room(a) >= len)
		device_input(a, buf, len);
	else
		put_waiting(c, buf, len);
	vm_wake(a->vm);
	/* The guest may have begun to listen since its driver was asked. */
	if (is_fed(a) && waiting(c))
		loop_post(a->vm->loop, &c->feed);
}

static void drained(void *opaque)
{
	struct arch_vm *a = opaque;

	serial_flush(a->console.serial);
	if (a->console.virtio)
		virtio_console_drained(a->console.virtio, 0);
}

static const struct stream_ops sink = {
	.room = input_room,
	.input = input,
	.drained = drained,
};

static size_t virtio_write(void *opaque, const void *buf, size_t len)
{
	return machine_console_put(opaque, buf, len);
}

static const struct virtio_console_port_ops virtio_ops = {
	.write = virtio_write,
	.want_input = feed_soon,
};

static void virtio_attach(void *opaque, struct virtio_console *con)
{
	struct arch_vm *a = opaque;

	a->console.virtio = con;
}

struct device *machine_console_build(struct arch_vm *a, struct irq_line irq, struct error *err)
{
	struct machine_console *c = &a->console;

	pthread_mutex_init(&c->lock, NULL);
	c->host = (struct virtio_console_host){&virtio_ops, a, virtio_attach};
	loop_timer_init(&c->flush, a->vm->loop, flush_burst, a);
	loop_work_init(&c->feed, feed, a);
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
	if (!a->vm->console)
		return -1;
	machine_console_resized(a);
	return 0;
}

void machine_console_resized(struct arch_vm *a)
{
	uint16_t cols, rows;

	if (a->console.virtio && a->vm->console && guest_console_size(a->vm->console, &cols, &rows))
		virtio_console_resize(a->console.virtio, cols, rows);
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

	if (is_fed(a))
		return 0;
	done = take_waiting(c, buf, len);
	if (done && a->vm->console)
		guest_console_want_input(a->vm->console);
	return done;
}

bool machine_console_has_input(struct arch_vm *a)
{
	struct machine_console *c = &a->console;

	if (waiting(c))
		return true;
	if (a->vm->cfg->console == CONSOLE_VIRTIO)
		return c->virtio && virtio_console_waiting(c->virtio, 0);
	return is_fed(a) && serial_rx_waiting(c->serial);
}
