// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's console (include/lkvm/guest_console.h).
 *
 * The watch for last words is a search for a few sentences in the stream that goes out. A
 * panic's counts until much more was said; that a watchdog of the guest's own found
 * something is told to who listens, and changes nothing here: a guest may live on.
 *
 * The tail. The last bytes are kept in a ring, for whoever has to say why a guest ended
 * whose console nobody saw.
 *
 * Listeners hear what standard output has taken, and may type as well. All of them and
 * standard input hand their bytes to the device as it has room, each piece whole; who of
 * them is first is not settled.
 *
 * Thread and lock: writes come from devices on any thread, under the device's
 * lock; @lock guards the searches, the tail and the list of listeners, which are called
 * with it held. The panic is atomic so that the loop may read it. Input and the size are
 * the loop's. Nothing is saved: a restored guest starts a new watch.
 */
#include "lkvm/guest_console.h"

#include "lkvm/console.h"
#include "lkvm/match.h"

#include <stdlib.h>
#include <string.h>

#define NEVER UINT64_MAX

/* Registers, call traces and modules of a panic fit in this several times. */
#define PANIC_TAIL (64 * KIB)

enum { WORDS_PANIC, WORDS_SOFT_LOCKUP, WORDS_HARD_LOCKUP, NR_WORDS };

static const struct {
	const char *text, *what;
} last_words[NR_WORDS] = {
	/* Linux kernel/panic.c prints this before every panic's own words, */
	[WORDS_PANIC] = {"Kernel panic - not syncing", "the guest's kernel panicked"},
	/* and kernel/watchdog.c these. */
	[WORDS_SOFT_LOCKUP] = {"watchdog: BUG: soft lockup",
			       "the guest's watchdog found a CPU that does not schedule"},
	[WORDS_HARD_LOCKUP] = {"Watchdog detected hard LOCKUP",
			       "the guest's watchdog found a CPU that takes no interrupts"},
};

struct guest_console {
	struct vm *vm;
	struct console *con;
	const struct stream_ops *sink;
	void *opaque;
	uint16_t cols, rows;  /* as told; 0: as the terminal says */
	pthread_mutex_t lock; /* guards what follows: serial port and SBI calls write at once */
	struct match words[NR_WORDS];
	struct console_listener *listeners;
	uint64_t written;
	char tail[GUEST_CONSOLE_TAIL];
	_Atomic uint64_t since; /* bytes since the words were seen; NEVER before */
};

static void quit(void *opaque)
{
	struct guest_console *con = opaque;

	vm_end(con->vm, VM_QUIT);
}

static void free_words(struct guest_console *con)
{
	size_t i;

	for (i = 0; i < NR_WORDS; i++)
		match_free(&con->words[i]);
}

struct guest_console *guest_console_create(struct vm *vm, int in, int out,
					   const struct stream_ops *sink, void *opaque,
					   struct error *err)
{
	struct guest_console *con = calloc(1, sizeof(*con));
	bool ok = con;
	size_t i;

	for (i = 0; ok && i < NR_WORDS; i++)
		ok = !match_init(&con->words[i], last_words[i].text, strlen(last_words[i].text));
	if (!ok) {
		if (con)
			free_words(con);
		free(con);
		fail(err, "no memory for the console");
		return NULL;
	}
	con->vm = vm;
	con->sink = sink;
	con->opaque = opaque;
	con->listeners = vm->listeners;
	pthread_mutex_init(&con->lock, NULL);
	atomic_init(&con->since, NEVER);
	con->con = console_create(vm->loop, vm->log, in, out, sink, opaque, NULL, quit, con, err);
	if (!con->con) {
		pthread_mutex_destroy(&con->lock);
		free_words(con);
		free(con);
		return NULL;
	}
	return con;
}

void guest_console_destroy(struct guest_console *con)
{
	struct console_listener *l, *next;

	if (!con)
		return;
	for (l = con->listeners; l; l = next) {
		next = l->next;
		if (l->ops->gone)
			l->ops->gone(l->opaque, con);
	}
	console_destroy(con->con);
	pthread_mutex_destroy(&con->lock);
	free_words(con);
	free(con);
}

static void tell_trouble(struct guest_console *con, const char *what)
{
	struct console_listener *l;

	for (l = con->listeners; l; l = l->next)
		if (l->ops->trouble)
			l->ops->trouble(l->opaque, what);
}

static void watch(struct guest_console *con, const uint8_t *buf, size_t len)
{
	uint64_t since = atomic_load(&con->since);
	size_t i, end, done;

	if (since != NEVER)
		since += len;
	for (i = 0; i < NR_WORDS; i++) {
		for (done = 0; (end = match_feed(&con->words[i], buf + done, len - done));) {
			done += end;
			if (i == WORDS_PANIC)
				since = len - done;
			tell_trouble(con, last_words[i].what);
		}
	}
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

/* With @lock held. */
static size_t copy_tail(const struct guest_console *con, char *buf)
{
	uint64_t n = min_u64(con->written, sizeof(con->tail)), at;
	size_t len = 0;

	for (at = con->written - n; at < con->written; at++)
		buf[len++] = con->tail[at % sizeof(con->tail)];
	return len;
}

size_t guest_console_tail(struct guest_console *con, char *buf)
{
	size_t len;

	if (!con)
		return 0;
	pthread_mutex_lock(&con->lock);
	len = copy_tail(con, buf);
	pthread_mutex_unlock(&con->lock);
	return len;
}

static void hand_round(struct guest_console *con, const uint8_t *buf, size_t len)
{
	struct console_listener *l;

	for (l = con->listeners; l && len; l = l->next)
		if (l->ops->output)
			l->ops->output(l->opaque, buf, len);
}

size_t guest_console_write(struct guest_console *con, const void *buf, size_t len)
{
	size_t taken = console_write(con->con, buf, len);

	pthread_mutex_lock(&con->lock);
	hand_round(con, buf, taken);
	watch(con, buf, taken);
	keep(con, buf, taken);
	pthread_mutex_unlock(&con->lock);
	return taken;
}

void guest_console_want_input(struct guest_console *con)
{
	struct console_listener *l;

	console_want_input(con->con);
	pthread_mutex_lock(&con->lock);
	for (l = con->listeners; l; l = l->next)
		if (l->ops->room)
			l->ops->room(l->opaque);
	pthread_mutex_unlock(&con->lock);
}

size_t guest_console_room(struct guest_console *con)
{
	return con->sink->room ? con->sink->room(con->opaque) : SIZE_MAX;
}

void guest_console_input(struct guest_console *con, const void *buf, size_t len)
{
	if (con->sink->input)
		con->sink->input(con->opaque, buf, len);
}

void guest_console_listen(struct guest_console *con, struct console_listener *l, bool recent)
{
	char tail[GUEST_CONSOLE_TAIL];
	size_t len;

	pthread_mutex_lock(&con->lock);
	len = recent ? copy_tail(con, tail) : 0;
	if (len && l->ops->output)
		l->ops->output(l->opaque, (const uint8_t *)tail, len);
	l->next = con->listeners;
	con->listeners = l;
	pthread_mutex_unlock(&con->lock);
}

void guest_console_unlisten(struct guest_console *con, struct console_listener *l)
{
	struct console_listener **at = &con->listeners;

	pthread_mutex_lock(&con->lock);
	while (*at && *at != l)
		at = &(*at)->next;
	if (*at)
		*at = l->next;
	pthread_mutex_unlock(&con->lock);
}

void guest_console_set_size(struct guest_console *con, uint16_t cols, uint16_t rows)
{
	con->cols = cols;
	con->rows = rows;
}

bool guest_console_size(const struct guest_console *con, uint16_t *cols, uint16_t *rows)
{
	if (!con->cols || !con->rows)
		return console_size(con->con, cols, rows);
	*cols = con->cols;
	*rows = con->rows;
	return true;
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
	size_t i;

	pthread_mutex_lock(&con->lock);
	for (i = 0; i < NR_WORDS; i++)
		match_forget(&con->words[i]);
	pthread_mutex_unlock(&con->lock);
	atomic_store(&con->since, NEVER);
}
