// SPDX-License-Identifier: GPL-2.0-only
/*
 * The serial port: a 16550A, by National Semiconductor's PC16550D data sheet
 * ("registers" below are its section 8, "FIFO" its FIFO interrupt mode).
 *
 * Registers are bytes, one after the other. A wider access acts on the byte at
 * its offset: a read is extended with zeros, a write uses the low byte.
 *
 * Transmitter. A real port shifts bits out at the speed of its line; this one
 * hands a byte to a buffer of SERIAL_TX_BUFFER bytes in no time and gives that
 * to the host in bursts: when the buffer's owner calls serial_flush(), which
 * flush_soon asked for, or at once when the buffer has become full. So THRE and
 * TEMT are 1 (all bytes have left, as far as the guest can tell) and THRE's
 * interrupt comes right after each byte. Where the host does not take what it
 * is given, the last SERIAL_FIFO places of the buffer play the part of the
 * transmitter's FIFO: as soon as one of them is in use THRE and TEMT are 0 and
 * there is no THRE interrupt until the host took some. A driver that writes 16
 * bytes after having seen THRE therefore never loses one. What is written when
 * even these places are full is lost, as on the chip.
 *
 * Receiver. A FIFO of 16 bytes, or without FIFO mode the one RBR. The data
 * interrupt comes at the trigger level; below it the character timeout interrupt
 * is there at once, since nothing is gained by waiting for four character times.
 *
 * The wire. When a byte arrives is this model's choice, and it is made so that
 * nothing is lost that was sent before the guest was ready: drivers clear the
 * FIFOs and read RBR when they set the port up, and Linux enables the data
 * interrupt shortly before it clears the FIFO for the last time. So there is room
 * for the world's bytes only while somebody listens: the data interrupt is enabled,
 * or the guest polls, which is LISTEN_POLLS looks at an idle LSR in a row without
 * sending anything between (U-Boot's prompt; who only sends looks once or twice a
 * byte). A poller counts as one until it clears the receiver. And what was
 * taken stays on the wire until the guest reads LSR or RBR while it listens: only
 * then has it arrived and is a FIFO clear's prey. IIR, which Linux reads without
 * its lock, and the interrupt count the wire's bytes as arrived: so they will have
 * when the guest looks. Overrun thus happens in loopback: in FIFO mode the newer
 * byte is lost, without it it replaces the older; both set OE. A sender that does
 * not ask for room loses what is over the wire's 16 places, which sets OE too.
 *
 * Interrupts, highest first: line status, received data and timeout, THRE,
 * modem status. The THRE interrupt is a latch: set when THRE becomes 1, when a
 * byte leaves, and when the guest enables it while THRE is 1 (Linux starts to
 * transmit that way); cleared by reading IIR when that is what IIR reports, and
 * by writing THR. OUT2 does not gate the line: that is wiring on PC boards and
 * not part of the chip, and device tree platforms have none of it.
 *
 * Modem lines: nothing is connected, CTS, DSR and DCD are always asserted. In
 * loopback (MCR bit 4) they follow RTS, DTR and OUT2, RI follows OUT1, bytes go
 * from THR to the receiver, and the wire is disconnected: there is no room for the
 * world's bytes, and none arrives, until loopback ends.
 *
 * Not modelled: baud rate and frame (DLL, DLM and LCR are kept and given back),
 * parity and framing errors, break, DMA mode.
 *
 * Reset is the master reset pin: the FIFOs are emptied, and the scratch and
 * divisor registers get the values that they have here at power-on. Bytes that
 * wait for the host are kept, for the guest they left before; and so are those on
 * the wire, which the next system reads.
 *
 * Threads: one mutex around everything; registers are used by vCPU threads, the
 * rest by the loop's. The interrupt line is set under the mutex and only when
 * its level changes (and by resume, which says it again).
 *
 * Saved: all registers, the bytes of the receiver and of the wire, and those that
 * the host did not take yet. Loading touches no line and asks for nothing: resume does.
 */
#include "lkvm/hw/serial.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Offsets. */
#define REG_DATA 0 /* RBR, THR; DLL with DLAB */
#define REG_IER 1  /* DLM with DLAB */
#define REG_IIR 2  /* written: FCR */
#define REG_LCR 3
#define REG_MCR 4
#define REG_LSR 5
#define REG_MSR 6
#define REG_SCR 7

#define IER_DATA 0x01
#define IER_THRE 0x02
#define IER_LINE 0x04
#define IER_MODEM 0x08
#define IER_MASK 0x0f

#define IIR_NONE 0x01
#define IIR_MODEM 0x00
#define IIR_THRE 0x02
#define IIR_DATA 0x04
#define IIR_LINE 0x06
#define IIR_TIMEOUT 0x0c
#define IIR_FIFOS 0xc0

#define FCR_ENABLE 0x01
#define FCR_CLEAR_RX 0x02
#define FCR_CLEAR_TX 0x04
#define FCR_TRIGGER 0xc0
#define FCR_KEPT (FCR_ENABLE | FCR_TRIGGER)

#define LCR_DLAB 0x80

#define MCR_DTR 0x01
#define MCR_RTS 0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10
#define MCR_MASK 0x1f

#define LSR_DATA 0x01
#define LSR_OVERRUN 0x02
#define LSR_THRE 0x20
#define LSR_TEMT 0x40

#define MSR_DELTA 0x0f
#define MSR_RI_EDGE 0x04
#define MSR_CTS 0x10
#define MSR_DSR 0x20
#define MSR_RI 0x40
#define MSR_DCD 0x80
#define MSR_LINES 0xf0

/* Waiting bytes up to here leave the transmitter's FIFO empty. */
#define TX_THRE_MAX (SERIAL_TX_BUFFER - SERIAL_FIFO)

/* More than any driver looks at LSR in a row while it sets the port up. */
#define LISTEN_POLLS 16

/**
 * struct serial_regs - what is saved
 * @ier ... @dlm: as written
 * @fcr: the enable and trigger bits
 * @delta: low half of MSR
 * @overrun: OE of LSR
 * @thre_pending: the latch of the THRE interrupt; only ever set while THRE is 1
 * @polls: looks at LSR since the guest did something else, at most LISTEN_POLLS
 * @rx: received bytes, the oldest at @rx_head
 * @wire: bytes that have not arrived yet, in order
 * @tx: bytes for the host, the oldest at @tx_head
 */
struct serial_regs {
	uint8_t ier, lcr, mcr, scr, dll, dlm, fcr, delta;
	bool overrun;
	bool thre_pending;
	uint8_t rx[SERIAL_FIFO];
	uint8_t rx_head, rx_count;
	uint8_t polls;
	/* Reset keeps what follows. */
	uint8_t wire[SERIAL_FIFO];
	uint8_t wire_count;
	uint8_t tx[SERIAL_TX_BUFFER];
	uint16_t tx_head, tx_count;
};

struct serial {
	struct device dev;
	pthread_mutex_t lock;
	struct irq_line irq;
	const struct serial_env *env;
	void *opaque;
	bool level;   /* what the line was last set to */
	bool asked;   /* flush_soon was called and serial_flush() was not */
	bool starved; /* the world was told "no room" and rx_room was not called since */
	struct serial_regs r;
};

static bool fifo_mode(const struct serial_regs *r)
{
	return r->fcr & FCR_ENABLE;
}

static bool loopback(const struct serial_regs *r)
{
	return r->mcr & MCR_LOOP;
}

static bool thre(const struct serial_regs *r)
{
	return r->tx_count <= TX_THRE_MAX;
}

static unsigned int rx_size(const struct serial_regs *r)
{
	return fifo_mode(r) ? SERIAL_FIFO : 1;
}

/* Received bytes that make the data interrupt. */
static unsigned int rx_trigger(const struct serial_regs *r)
{
	static const uint8_t levels[] = {1, 4, 8, 14};

	return fifo_mode(r) ? levels[r->fcr >> 6] : 1;
}

/* The upper half of MSR. */
static uint8_t modem_lines(uint8_t mcr)
{
	if (!(mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (mcr & MCR_RTS ? MSR_CTS : 0) | (mcr & MCR_DTR ? MSR_DSR : 0) |
	       (mcr & MCR_OUT1 ? MSR_RI : 0) | (mcr & MCR_OUT2 ? MSR_DCD : 0);
}

/* Does the guest want the wire's bytes? */
static bool listening(const struct serial_regs *r)
{
	return !loopback(r) && (r->ier & IER_DATA || r->polls == LISTEN_POLLS);
}

/* Bytes that the guest finds in the receiver when it looks. */
static unsigned int rx_seen(const struct serial_regs *r)
{
	unsigned int n = r->rx_count + (listening(r) ? r->wire_count : 0U);

	return n < rx_size(r) ? n : rx_size(r);
}

/* The interrupt that IIR reports now. */
static uint8_t interrupt_id(const struct serial_regs *r)
{
	unsigned int seen;

	/* Nothing is enabled: a port that is polled comes here with each access. */
	if (!r->ier)
		return IIR_NONE;
	seen = rx_seen(r);
	if (r->ier & IER_LINE && r->overrun)
		return IIR_LINE;
	if (r->ier & IER_DATA && seen)
		return seen >= rx_trigger(r) ? IIR_DATA : IIR_TIMEOUT;
	if (r->ier & IER_THRE && r->thre_pending)
		return IIR_THRE;
	if (r->ier & IER_MODEM && r->delta)
		return IIR_MODEM;
	return IIR_NONE;
}

/* Bytes that the world may send now. */
static unsigned int wire_room(const struct serial_regs *r)
{
	return listening(r) ? rx_size(r) - rx_seen(r) : 0;
}

/* Tell the world what changed. Ends every function that changes something. */
static void update(struct serial *port)
{
	bool level = interrupt_id(&port->r) != IIR_NONE;

	if (level != port->level) {
		port->level = level;
		irq_line_set(&port->irq, level);
	}
	/* Not at the first free place: the world's way here costs more than a FIFO load. */
	if (port->starved && wire_room(&port->r) && !rx_seen(&port->r)) {
		port->starved = false;
		port->env->rx_room(port->opaque);
	}
}

static void rx_push(struct serial_regs *r, uint8_t byte)
{
	if (r->rx_count < rx_size(r)) {
		r->rx[(r->rx_head + r->rx_count) % SERIAL_FIFO] = byte;
		r->rx_count++;
		return;
	}
	r->overrun = true;
	if (!fifo_mode(r))
		r->rx[r->rx_head] = byte;
}

static uint8_t rx_pop(struct serial_regs *r)
{
	uint8_t byte = r->rx[r->rx_head];

	/* An empty receiver gives its last byte again, as RBR does. */
	if (!r->rx_count)
		return r->rx[(r->rx_head + SERIAL_FIFO - 1) % SERIAL_FIFO];
	r->rx_head = (r->rx_head + 1) % SERIAL_FIFO;
	r->rx_count--;
	return byte;
}

/* A driver that clears the receiver is not the one that polled. */
static void rx_clear(struct serial_regs *r)
{
	memset(r->rx, 0, sizeof(r->rx));
	r->rx_head = 0;
	r->rx_count = 0;
	r->polls = 0;
}

/* The guest looks at the receiver: what is on the wire arrives, as far as it fits. */
static void wire_arrive(struct serial_regs *r)
{
	unsigned int n = rx_seen(r) - r->rx_count, i;

	if (!n)
		return;
	for (i = 0; i < n; i++)
		rx_push(r, r->wire[i]);
	r->wire_count = (uint8_t)(r->wire_count - n);
	memmove(r->wire, r->wire + n, r->wire_count);
}

/* LSR was read. */
static void count_poll(struct serial_regs *r)
{
	if (r->ier & IER_DATA || loopback(r) || r->rx_count || !thre(r))
		return;
	if (r->polls < LISTEN_POLLS)
		r->polls++;
}

/* Give the host what it takes. */
static void tx_drain(struct serial *port)
{
	struct serial_regs *r = &port->r;
	bool before = thre(r);

	while (r->tx_count) {
		size_t run = SERIAL_TX_BUFFER - r->tx_head;
		size_t taken;

		if (run > r->tx_count)
			run = r->tx_count;
		taken = port->env->write(port->opaque, &r->tx[r->tx_head], run);
		if (taken > run)
			taken = run;
		r->tx_head = (uint16_t)((r->tx_head + taken) % SERIAL_TX_BUFFER);
		r->tx_count = (uint16_t)(r->tx_count - taken);
		if (taken < run)
			break;
	}
	if (!before && thre(r))
		r->thre_pending = true;
}

/* Bytes wait: see to it that somebody comes for them. */
static void tx_ask(struct serial *port)
{
	if (!port->r.tx_count || port->asked)
		return;
	port->asked = true;
	port->env->flush_soon(port->opaque);
}

/* FCR's transmitter reset: the buffer's other bytes left the chip long ago. */
static void tx_clear(struct serial_regs *r)
{
	if (thre(r))
		return;
	r->tx_count = TX_THRE_MAX;
	r->thre_pending = true;
}

static void write_thr(struct serial *port, uint8_t byte)
{
	struct serial_regs *r = &port->r;

	if (loopback(r)) {
		rx_push(r, byte);
		r->thre_pending = thre(r);
		return;
	}
	if (r->polls < LISTEN_POLLS)
		r->polls = 0;
	r->thre_pending = false;
	if (r->tx_count < SERIAL_TX_BUFFER) {
		r->tx[(r->tx_head + r->tx_count) % SERIAL_TX_BUFFER] = byte;
		r->tx_count++;
	}
	if (!thre(r))
		tx_drain(port);
	r->thre_pending = thre(r);
	tx_ask(port);
}

static void write_ier(struct serial_regs *r, uint8_t value)
{
	value &= IER_MASK;
	if (value & ~r->ier & IER_THRE && thre(r))
		r->thre_pending = true;
	if (value & IER_DATA)
		r->polls = 0;
	r->ier = value;
}

static void write_fcr(struct serial_regs *r, uint8_t value)
{
	bool toggled = (value ^ r->fcr) & FCR_ENABLE;

	if (toggled || (value & FCR_ENABLE && value & FCR_CLEAR_RX))
		rx_clear(r);
	if (toggled || (value & FCR_ENABLE && value & FCR_CLEAR_TX))
		tx_clear(r);
	/* The other bits are programmed only with the enable bit. */
	r->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0;
}

static void write_mcr(struct serial_regs *r, uint8_t value)
{
	uint8_t before = modem_lines(r->mcr), after, changed;

	r->mcr = value & MCR_MASK;
	after = modem_lines(r->mcr);
	changed = before ^ after;
	/* RI has no delta bit: it counts when it goes away. */
	if (changed & MSR_RI && after & MSR_RI)
		changed &= (uint8_t)~MSR_RI;
	r->delta |= changed >> 4;
}

static uint8_t read_reg(struct serial_regs *r, unsigned int reg)
{
	uint8_t value;

	switch (reg) {
	case REG_DATA:
		if (r->lcr & LCR_DLAB)
			return r->dll;
		wire_arrive(r);
		return rx_pop(r);
	case REG_IER:
		return r->lcr & LCR_DLAB ? r->dlm : r->ier;
	case REG_IIR:
		value = interrupt_id(r);
		if (value == IIR_THRE)
			r->thre_pending = false;
		return value | (fifo_mode(r) ? IIR_FIFOS : 0);
	case REG_LCR:
		return r->lcr;
	case REG_MCR:
		return r->mcr;
	case REG_LSR:
		wire_arrive(r);
		count_poll(r);
		value = (r->rx_count ? LSR_DATA : 0) | (r->overrun ? LSR_OVERRUN : 0) |
			(thre(r) ? LSR_THRE | LSR_TEMT : 0);
		r->overrun = false;
		return value;
	case REG_MSR:
		value = modem_lines(r->mcr) | r->delta;
		r->delta = 0;
		return value;
	default:
		return r->scr;
	}
}

static void write_reg(struct serial *port, unsigned int reg, uint8_t value)
{
	struct serial_regs *r = &port->r;

	switch (reg) {
	case REG_DATA:
		if (r->lcr & LCR_DLAB)
			r->dll = value;
		else
			write_thr(port, value);
		break;
	case REG_IER:
		if (r->lcr & LCR_DLAB)
			r->dlm = value;
		else
			write_ier(r, value);
		break;
	case REG_IIR:
		write_fcr(r, value);
		break;
	case REG_LCR:
		r->lcr = value;
		break;
	case REG_MCR:
		write_mcr(r, value);
		break;
	case REG_SCR:
		r->scr = value;
		break;
	default:
		/* LSR and MSR: writing is for factory tests. */
		break;
	}
}

static uint64_t serial_read(void *dev, uint64_t offset, unsigned int size)
{
	struct serial *port = dev;
	uint8_t value;

	(void)size;
	if (offset >= SERIAL_WINDOW)
		return 0;
	pthread_mutex_lock(&port->lock);
	value = read_reg(&port->r, (unsigned int)offset);
	update(port);
	pthread_mutex_unlock(&port->lock);
	return value;
}

static void serial_write(void *dev, uint64_t offset, uint64_t value, unsigned int size)
{
	struct serial *port = dev;

	(void)size;
	if (offset >= SERIAL_WINDOW)
		return;
	pthread_mutex_lock(&port->lock);
	write_reg(port, (unsigned int)offset, (uint8_t)value);
	update(port);
	pthread_mutex_unlock(&port->lock);
}

size_t serial_rx_room(struct serial *port)
{
	size_t room;

	pthread_mutex_lock(&port->lock);
	room = wire_room(&port->r);
	if (!room)
		port->starved = true;
	pthread_mutex_unlock(&port->lock);
	return room;
}

size_t serial_rx_waiting(struct serial *port)
{
	size_t waiting;

	pthread_mutex_lock(&port->lock);
	waiting = (size_t)port->r.rx_count + port->r.wire_count;
	pthread_mutex_unlock(&port->lock);
	return waiting;
}

void serial_rx(struct serial *port, const uint8_t *buf, size_t len)
{
	struct serial_regs *r = &port->r;
	size_t i;

	pthread_mutex_lock(&port->lock);
	/* Even where there is no room any more: the guest may have closed it meanwhile. */
	for (i = 0; i < len && r->wire_count < SERIAL_FIFO; i++)
		r->wire[r->wire_count++] = buf[i];
	if (i < len)
		r->overrun = true;
	update(port);
	pthread_mutex_unlock(&port->lock);
}

bool serial_flush(struct serial *port)
{
	bool empty;

	pthread_mutex_lock(&port->lock);
	port->asked = false;
	tx_drain(port);
	empty = !port->r.tx_count;
	update(port);
	pthread_mutex_unlock(&port->lock);
	return empty;
}

/*
 * The state after power-on, but what waits for the host stays, since it left the
 * chip long ago, and what is on the wire, since it did not reach it. The divisor is any that a
 * driver does not take for "none".
 */
static void regs_reset(struct serial_regs *r)
{
	tx_clear(r);
	memset(r, 0, offsetof(struct serial_regs, wire));
	r->dll = 1;
	r->thre_pending = true;
}

/* Turn a ring so that it starts at 0: the bytes alone make the state. */
static void unroll(uint8_t *to, const uint8_t *ring, size_t size, size_t head, size_t count)
{
	size_t run = size - head < count ? size - head : count;

	memcpy(to, ring + head, run);
	memcpy(to + run, ring, count - run);
}

/* Walk over @r, whose rings start at 0. */
static void transfer_regs(struct serial_regs *r, struct xfer *x)
{
	xfer_u8(x, &r->ier);
	xfer_u8(x, &r->lcr);
	xfer_u8(x, &r->mcr);
	xfer_u8(x, &r->scr);
	xfer_u8(x, &r->dll);
	xfer_u8(x, &r->dlm);
	xfer_u8(x, &r->fcr);
	xfer_u8(x, &r->delta);
	xfer_bool(x, &r->overrun);
	xfer_bool(x, &r->thre_pending);
	xfer_u8(x, &r->rx_count);
	xfer_u8(x, &r->wire_count);
	xfer_u8(x, &r->polls);
	xfer_u16(x, &r->tx_count);
	xfer_check(x, !(r->ier & ~IER_MASK), "serial: unknown bits in IER");
	xfer_check(x, !(r->mcr & ~MCR_MASK), "serial: unknown bits in MCR");
	xfer_check(x, !(r->fcr & ~FCR_KEPT) && (!r->fcr || fifo_mode(r)),
		   "serial: unknown bits in FCR");
	xfer_check(x, !(r->delta & ~MSR_DELTA), "serial: unknown bits in MSR");
	xfer_check(x, r->rx_count <= rx_size(r), "serial: more received bytes than the FIFO has");
	xfer_check(x, r->wire_count <= SERIAL_FIFO, "serial: more than 16 bytes on the wire");
	xfer_check(x, r->polls <= LISTEN_POLLS, "serial: more polls than are counted");
	xfer_check(x, r->tx_count <= SERIAL_TX_BUFFER, "serial: more than 4096 bytes to send");
	xfer_check(x, !r->thre_pending || thre(r), "serial: THRE pending with THRE clear");
	xfer_bytes(x, r->rx, SERIAL_FIFO);
	xfer_bytes(x, r->wire, r->wire_count);
	xfer_bytes(x, r->tx, r->tx_count);
}

static void serial_transfer(struct device *dev, struct xfer *x)
{
	struct serial *port = container_of(dev, struct serial, dev);
	struct serial_regs *scratch = calloc(1, sizeof(*scratch));

	if (!scratch) {
		x->failed = true;
		fail(&x->err, "serial: out of memory");
		return;
	}
	pthread_mutex_lock(&port->lock);
	if (x->loading) {
		transfer_regs(scratch, x);
		if (xfer_commit(x)) {
			port->r = *scratch;
			port->asked = false;
		}
	} else {
		*scratch = port->r;
		/* All 16 places: an empty receiver still shows its last byte. */
		unroll(scratch->rx, port->r.rx, SERIAL_FIFO, port->r.rx_head, SERIAL_FIFO);
		unroll(scratch->tx, port->r.tx, SERIAL_TX_BUFFER, port->r.tx_head,
		       port->r.tx_count);
		transfer_regs(scratch, x);
	}
	pthread_mutex_unlock(&port->lock);
	free(scratch);
}

static void serial_quiesce(struct device *dev)
{
	serial_flush(container_of(dev, struct serial, dev));
}

static void serial_resume(struct device *dev)
{
	struct serial *port = container_of(dev, struct serial, dev);

	pthread_mutex_lock(&port->lock);
	/* After a load the line may stand anywhere. */
	port->level = interrupt_id(&port->r) != IIR_NONE;
	irq_line_set(&port->irq, port->level);
	update(port);
	tx_ask(port);
	pthread_mutex_unlock(&port->lock);
}

static void serial_reset(struct device *dev)
{
	struct serial *port = container_of(dev, struct serial, dev);

	pthread_mutex_lock(&port->lock);
	regs_reset(&port->r);
	update(port);
	pthread_mutex_unlock(&port->lock);
}

static void serial_destroy(struct device *dev)
{
	struct serial *port = container_of(dev, struct serial, dev);

	pthread_mutex_destroy(&port->lock);
	free(port);
}

static const struct device_ops serial_device_ops = {
	.kind = "serial",
	.quiesce = serial_quiesce,
	.resume = serial_resume,
	.transfer = serial_transfer,
	.reset = serial_reset,
	.destroy = serial_destroy,
};

const struct mmio_ops serial_ops = {
	.read = serial_read,
	.write = serial_write,
};

struct serial *serial_create(const char *name, struct irq_line irq, const struct serial_env *env,
			     void *opaque)
{
	struct serial *port = calloc(1, sizeof(*port));

	if (!port)
		return NULL;
	if (pthread_mutex_init(&port->lock, NULL)) {
		free(port);
		return NULL;
	}
	port->dev.ops = &serial_device_ops;
	port->dev.name = name;
	port->irq = irq;
	port->env = env;
	port->opaque = opaque;
	regs_reset(&port->r);
	return port;
}

struct device *serial_device(struct serial *port)
{
	return &port->dev;
}
