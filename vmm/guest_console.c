// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's console (include/lkvm/guest_console.h).
 *
 * The panic watch is a search for one sentence in a byte stream: a running match
 * of the longest prefix, a few instructions a byte, no buffer. The sentence's
 * first character stands nowhere else in it, so that a failed match can only
 * restart at that character.
 *
 * The tail. The last bytes are kept in a ring, for whoever has to say why a guest ended
 * whose console nobody saw.
 *
 * Thread and lock: writes come from devices on any thread, under the device's
 * lock; @lock guards the match. The verdict is atomic so that the loop may read it.
 * Nothing is saved: a restored guest starts a new watch.
 */
#include "lkvm/guest_console.h"

#include "lkvm/console.h"

#include <stdlib.h>
#include <string.h>

#define NEVER UINT64_MAX

/* Registers, call traces and modules of a panic fit in this several times. */
#define PANIC_TAIL (64 * KIB)

/* Linux kernel/panic.c prints this before every panic's own words. */
static const char panic_words[] = "Kernel panic - not syncing";

struct guest_console {
	struct vm *vm;
	struct console *con;
	pthread_mutex_t lock; /* guards what follows: serial port and SBI calls write at once */
	unsigned int matched;
	uint64_t written;
	char tail[GUEST_CONSOLE_TAIL];
	_Atomic uint64_t since; /* bytes since the words were seen; NEVER before */
};

static void quit(void *opaque)
{
	struct guest_console *con = opaque;

	vm_end(con->vm, VM_QUIT);
}

struct guest_console *guest_console_create(struct vm *vm, int in, int out,
					   const struct stream_ops *sink, void *opaque,
					   struct error *err)
{
	struct guest_console *con = calloc(1, sizeof(*con));

	if (!con) {
		fail(err, "no memory for the console");
		return NULL;
	}
	con->vm = vm;
	pthread_mutex_init(&con->lock, NULL);
	atomic_init(&con->since, NEVER);
	con->con = console_create(vm->loop, vm->log, in, out, sink, opaque, quit, con, err);
	if (!con->con) {
		pthread_mutex_destroy(&con->lock);
		free(con);
		return NULL;
	}
	return con;
}

void guest_console_destroy(struct guest_console *con)
{
	if (!con)
		return;
	console_destroy(con->con);
	pthread_mutex_destroy(&con->lock);
	free(con);
}

static void watch(struct guest_console *con, const uint8_t *buf, size_t len)
{
	unsigned int matched = con->matched;
	uint64_t since = atomic_load(&con->since);
	size_t i;

	if (since != NEVER)
		since += len;
	for (i = 0; i < len; i++) {
		if (buf[i] == (uint8_t)panic_words[matched]) {
			if (!panic_words[++matched]) {
				since = len - i - 1;
				matched = 0;
			}
		} else {
			matched = buf[i] == (uint8_t)panic_words[0];
		}
	}
	con->matched = matched;
	atomic_store(&con->since, since);
}

static void keep(struct guest_console *con, const uint8_t *buf, size_t len)
{
	size_t cut = len > sizeof(con->tail) ? len - sizeof(con->tail) : 0;

	con->written += cut;
	buf += cut;
	len -= cut;
	while (len) {
		size_t at = con->written % sizeof(con->tail);
		size_t n = min_u64(len, sizeof(con->tail) - at);

		memcpy(con->tail + at, buf, n);
		con->written += n;
		buf += n;
		len -= n;
	}
}

size_t guest_console_tail(struct guest_console *con, char *buf)
{
	uint64_t at, n;
	size_t len = 0;

	if (!con)
		return 0;
	pthread_mutex_lock(&con->lock);
	n = min_u64(con->written, sizeof(con->tail));
	for (at = con->written - n; at < con->written; at++)
		buf[len++] = con->tail[at % sizeof(con->tail)];
	pthread_mutex_unlock(&con->lock);
	return len;
}

size_t guest_console_write(struct guest_console *con, const void *buf, size_t len)
{
	size_t taken = console_write(con->con, buf, len);

	pthread_mutex_lock(&con->lock);
	watch(con, buf, taken);
	keep(con, buf, taken);
	pthread_mutex_unlock(&con->lock);
	return taken;
}

void guest_console_want_input(struct guest_console *con)
{
	console_want_input(con->con);
}

bool guest_console_size(const struct guest_console *con, uint16_t *cols, uint16_t *rows)
{
	return console_size(con->con, cols, rows);
}

size_t guest_console_flush(struct guest_console *con, bool patient)
{
	size_t before, left = console_waiting(con->con);

	do {
		before = left;
		if (console_flush(con->con, 1000))
			return 0;
		left = console_waiting(con->con);
	} while (patient && left < before);
	return left;
}

bool guest_console_panicked(struct guest_console *con)
{
	return atomic_load(&con->since) <= PANIC_TAIL;
}

void guest_console_restarted(struct guest_console *con)
{
	pthread_mutex_lock(&con->lock);
	con->matched = 0;
	pthread_mutex_unlock(&con->lock);
	atomic_store(&con->since, NEVER);
}
