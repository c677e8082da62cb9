// SPDX-License-Identifier: GPL-2.0-only
/*
 * irq: bytes through the serial port, one interrupt after the other.
 *
 * A 16550A (PC16550D data sheet). In loopback each byte that is sent comes back, so
 * that a flood of transmitter and receiver interrupts is to be seen in its bytes and
 * not on the console. Then some go out, and as many come in as the command line says.
 */
#include "irq.h"

#define UART_DATA 0
#define UART_IER 1
#define UART_IIR 2
#define UART_FCR 2
#define UART_MCR 4
#define IER_DATA 1
#define IER_THRE 2
#define IIR_NONE 1
#define IIR_MASK 0x0f
#define IIR_THRE 0x02
#define IIR_DATA 0x04
#define IIR_TIMEOUT 0x0c
#define FCR_ENABLE_AND_CLEAR 0x07
#define MCR_LOOP 0x10

/**
 * struct flow - bytes on their way; one wire, so one of it
 * @text: what goes out; NULL: counting bytes
 * @out, @in: so many went and came
 * @total: so many shall go
 * @wrong: came, but are not what went
 */
struct flow {
	const char *text;
	volatile uint32_t out, in, total, wrong;
};

static struct flow *flow(void)
{
	static struct flow f;

	return &f;
}

static void send(struct wire *w, struct flow *f)
{
	if (f->out == f->total) {
		/* Only what comes back from ourselves is wanted. */
		wr8(w->base + UART_IER, f->text ? 0 : IER_DATA);
		return;
	}
	wr8(w->base + UART_DATA, f->text ? (uint8_t)f->text[f->out] : (uint8_t)f->out);
	f->out++;
}

static void serve_bytes(struct wire *w, struct hart *h)
{
	struct flow *f = flow();
	uint8_t id;

	(void)h;
	while (!((id = rd8(w->base + UART_IIR) & IIR_MASK) & IIR_NONE)) {
		if (id == IIR_THRE) {
			send(w, f);
		} else if (id == IIR_DATA || id == IIR_TIMEOUT) {
			f->wrong += rd8(w->base + UART_DATA) != (uint8_t)f->in;
			f->in++;
		} else {
			f->wrong++;
			return;
		}
	}
}

static bool run(struct bench *b, struct wire *w, const volatile uint32_t *counter, uint32_t want)
{
	struct watch watch = {0};
	uint64_t moves = 0;

	while (*counter < want && goes_on(b, &watch, *counter)) {
		b->chip->route(b, w->source, moves++ % b->nr);
		nap(b);
	}
	settle(b);
	b->chip->mask(b, w->source);
	wr8(w->base + UART_IER, 0);
	return *counter == want || differs("bytes of", want, *counter, want);
}

static void begin(struct bench *b, struct wire *w, const char *text, uint32_t total)
{
	*flow() = (struct flow){.text = text, .total = total};
	/* Enabling the transmitter's interrupt anew is what makes it come. */
	wr8(w->base + UART_IER, 0);
	fence();
	w->serve = serve_bytes;
	b->by_id[w->id] = w;
	forget(b);
	b->chip->route(b, w->source, 0);
}

static bool loop(struct bench *b, struct wire *w)
{
	struct flow *f = flow();
	bool good;

	wr8(w->base + UART_MCR, MCR_LOOP);
	wr8(w->base + UART_FCR, FCR_ENABLE_AND_CLEAR);
	begin(b, w, NULL, 4 * b->flood);
	wr8(w->base + UART_IER, IER_DATA | IER_THRE);
	good = run(b, w, &f->in, f->total);
	wr8(w->base + UART_MCR, 0);
	return good && (!f->wrong || differs("wrong bytes of", f->total, f->wrong, 0));
}

static bool out(struct bench *b, struct wire *w)
{
	static const char text[] = "# these bytes went out one by one, an interrupt each\n";

	begin(b, w, text, sizeof(text) - 1);
	wr8(w->base + UART_IER, IER_THRE);
	return run(b, w, &flow()->out, sizeof(text) - 1);
}

/* 'a', 'b', ... come; serve_bytes() counts from 0. */
static bool in(struct bench *b, struct wire *w, uint32_t total)
{
	begin(b, w, NULL, 0);
	wr8(w->base + UART_FCR, FCR_ENABLE_AND_CLEAR);
	wr8(w->base + UART_IER, IER_DATA);
	return run(b, w, &flow()->in, total);
}

void serial_checks(struct bench *b)
{
	uint32_t input = (uint32_t)option_number(b->guest, "irq.input", 0);
	struct wire *w = &b->wire[0];

	check(b, loop(b, w), "serial: a flood of bytes in loopback");
	check(b, out(b, w), "serial: bytes go out");
	if (input)
		check(b, in(b, w, input), "serial: bytes come in");
	w->serve = NULL;
}
