// SPDX-License-Identifier: GPL-2.0-only
/*
 * The 16550A: each rule of hw/serial.c as a case, the probing of Linux and
 * U-Boot, and a million random operations on two ports side by side, one of
 * which is moved through save and load all the time.
 */
#include "prng.h"
#include "unit.h"

#include "lkvm/hw/serial.h"

#include <string.h>

enum {
	DATA,
	IER,
	IIR, /* written: FCR */
	LCR,
	MCR,
	LSR,
	MSR,
	SCR,
	DLL = DATA,
	DLM = IER,
	FCR = IIR,
};

#define THRE_TEMT 0x60
#define HOST_MAX 65536

/* So many looks at LSR in a row make a guest that polls. */
#define POLLS 16

/* A port and the world around it. */
struct rig {
	struct irq_chip chip;
	struct serial *port;
	bool line;
	unsigned int line_calls, line_repeats;
	unsigned int flush_asked, room_calls;
	size_t credit; /* bytes that the host still takes */
	uint8_t host[HOST_MAX];
	size_t len; /* bytes that the host got; kept as long as there is room */
	uint64_t hash;
	unsigned int writes;
};

static void on_line(struct irq_chip *chip, uint32_t source, bool level)
{
	struct rig *rig = container_of(chip, struct rig, chip);

	ck_assert_uint_eq(source, 10);
	rig->line_calls++;
	rig->line_repeats += rig->line == level;
	rig->line = level;
}

static size_t on_write(void *opaque, const uint8_t *buf, size_t len)
{
	struct rig *rig = opaque;
	size_t i;

	rig->writes++;
	len = len < rig->credit ? len : rig->credit;
	rig->credit -= len;
	for (i = 0; i < len; i++) {
		if (rig->len + i < HOST_MAX)
			rig->host[rig->len + i] = buf[i];
		rig->hash = (rig->hash ^ buf[i]) * UINT64_C(0x100000001b3);
	}
	rig->len += len;
	return len;
}

static void on_flush_soon(void *opaque)
{
	struct rig *rig = opaque;

	rig->flush_asked++;
}

static void on_rx_room(void *opaque)
{
	struct rig *rig = opaque;

	rig->room_calls++;
}

static const struct irq_chip_ops chip_ops = {
	.set_level = on_line,
};

static const struct serial_env env = {
	.write = on_write,
	.flush_soon = on_flush_soon,
	.rx_room = on_rx_room,
};

static void start(struct rig *rig)
{
	memset(rig, 0, sizeof(*rig));
	rig->chip.ops = &chip_ops;
	rig->credit = SIZE_MAX;
	rig->port = serial_create("serial0", (struct irq_line){&rig->chip, 10}, &env, rig);
	ck_assert_ptr_nonnull(rig->port);
}

static void stop(struct rig *rig)
{
	ck_assert_uint_eq(rig->line_repeats, 0);
	serial_device(rig->port)->ops->destroy(serial_device(rig->port));
}

static uint8_t rd(struct rig *rig, unsigned int reg)
{
	return (uint8_t)serial_ops.read(rig->port, reg, 1);
}

static void wr(struct rig *rig, unsigned int reg, uint8_t value)
{
	serial_ops.write(rig->port, reg, value, 1);
}

static void rx(struct rig *rig, const char *text)
{
	serial_rx(rig->port, (const uint8_t *)text, strlen(text));
}

/* The guest waits for input without interrupts. */
static void poll(struct rig *rig)
{
	for (unsigned int i = 0; i < POLLS; i++)
		rd(rig, LSR);
}

static void save(struct rig *rig, struct xfer *x)
{
	xfer_save_init(x);
	serial_device(rig->port)->ops->transfer(serial_device(rig->port), x);
	ck_assert_int_eq(xfer_done(x, NULL), 0);
}

static int load(struct rig *rig, const void *buf, size_t len)
{
	struct xfer x;

	xfer_load_init(&x, buf, len);
	serial_device(rig->port)->ops->transfer(serial_device(rig->port), &x);
	return xfer_done(&x, NULL);
}

START_TEST(power_on_values)
{
	struct rig rig;

	start(&rig);
	ck_assert_uint_eq(rd(&rig, IER), 0);
	ck_assert_uint_eq(rd(&rig, IIR), 0x01);
	ck_assert_uint_eq(rd(&rig, LCR), 0);
	ck_assert_uint_eq(rd(&rig, MCR), 0);
	ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT);
	ck_assert_uint_eq(rd(&rig, MSR), 0xb0);
	ck_assert_uint_eq(rd(&rig, SCR), 0);
	ck_assert_uint_eq(rig.line_calls, 0);
	stop(&rig);
}
END_TEST

START_TEST(register_bits)
{
	struct rig rig;
	unsigned int v;

	start(&rig);
	for (v = 0; v < 256; v++) {
		wr(&rig, SCR, (uint8_t)v);
		ck_assert_uint_eq(rd(&rig, SCR), v);
		wr(&rig, LCR, (uint8_t)v);
		ck_assert_uint_eq(rd(&rig, LCR), v);
		wr(&rig, LCR, 0);
		wr(&rig, IER, (uint8_t)v);
		ck_assert_uint_eq(rd(&rig, IER), v & 0x0f);
		wr(&rig, MCR, (uint8_t)v);
		ck_assert_uint_eq(rd(&rig, MCR), v & 0x1f);
	}
	wr(&rig, IER, 0);
	wr(&rig, MCR, 0);
	rd(&rig, MSR);
	/* LSR and MSR are not for writing. */
	wr(&rig, LSR, 0xff);
	wr(&rig, MSR, 0xff);
	ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT);
	ck_assert_uint_eq(rd(&rig, MSR), 0xb0);
	stop(&rig);
}
END_TEST

START_TEST(divisor_latch)
{
	struct rig rig;

	start(&rig);
	wr(&rig, IER, 0x05);
	wr(&rig, LCR, 0x83);
	wr(&rig, DLL, 0x34);
	wr(&rig, DLM, 0x12);
	ck_assert_uint_eq(rd(&rig, DLL), 0x34);
	ck_assert_uint_eq(rd(&rig, DLM), 0x12);
	wr(&rig, LCR, 0x03);
	ck_assert_uint_eq(rd(&rig, IER), 0x05);
	ck_assert_uint_eq(rig.len, 0);
	ck_assert_uint_eq(rig.flush_asked, 0);
	wr(&rig, LCR, 0x80);
	ck_assert_uint_eq(rd(&rig, DLL), 0x34);
	stop(&rig);
}
END_TEST

START_TEST(wider_access_is_the_byte)
{
	struct rig rig;

	start(&rig);
	serial_ops.write(rig.port, SCR, 0x1234567890abcdefULL, 8);
	ck_assert_uint_eq(rd(&rig, SCR), 0xef);
	wr(&rig, LCR, 0x55);
	wr(&rig, MCR, 0x02);
	ck_assert_uint_eq(serial_ops.read(rig.port, LCR, 4), 0x55);
	ck_assert_uint_eq(serial_ops.read(rig.port, LCR, 2), 0x55);
	serial_ops.write(rig.port, LCR, 0xffff0003, 4);
	ck_assert_uint_eq(rd(&rig, MCR), 0x02);
	/* The bus keeps these away; they are harmless anyway. */
	serial_ops.write(rig.port, SERIAL_WINDOW, 0xff, 1);
	ck_assert_uint_eq(serial_ops.read(rig.port, UINT64_MAX, 1), 0);
	stop(&rig);
}
END_TEST

START_TEST(output_in_bursts)
{
	struct rig rig;
	const char *text = "Hello, world\r\n";
	size_t i;

	start(&rig);
	for (i = 0; text[i]; i++) {
		wr(&rig, DATA, (uint8_t)text[i]);
		ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT);
	}
	ck_assert_uint_eq(rig.len, 0);
	ck_assert_uint_eq(rig.flush_asked, 1);
	ck_assert(serial_flush(rig.port));
	ck_assert_uint_eq(rig.writes, 1);
	ck_assert_uint_eq(rig.len, i);
	ck_assert_mem_eq(rig.host, text, i);
	ck_assert(serial_flush(rig.port));
	ck_assert_uint_eq(rig.writes, 1);
	wr(&rig, DATA, 'x');
	ck_assert_uint_eq(rig.flush_asked, 2);
	stop(&rig);
}
END_TEST

START_TEST(full_buffer_leaves_at_once)
{
	struct rig rig;
	size_t i;

	start(&rig);
	for (i = 0; i < 10 * SERIAL_TX_BUFFER; i++) {
		wr(&rig, DATA, (uint8_t)i);
		ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT);
	}
	serial_flush(rig.port);
	ck_assert_uint_eq(rig.len, i);
	ck_assert_uint_lt(rig.writes, 30);
	for (i = 0; i < rig.len; i++)
		if (rig.host[i] != (uint8_t)i)
			ck_abort_msg("byte %zu is wrong", i);
	stop(&rig);
}
END_TEST

START_TEST(back_pressure)
{
	struct rig rig;
	size_t i;

	start(&rig);
	rig.credit = 0;
	wr(&rig, IER, 0x02);
	ck_assert(rig.line);
	for (i = 0; rd(&rig, LSR) == THRE_TEMT; i++)
		wr(&rig, DATA, (uint8_t)i);
	ck_assert_uint_eq(i, SERIAL_TX_BUFFER - SERIAL_FIFO + 1);
	/* No interrupt, and the rest of a FIFO load still has its place. */
	ck_assert(!rig.line);
	ck_assert_uint_eq(rd(&rig, IIR), 0x01);
	for (; i < SERIAL_TX_BUFFER; i++)
		wr(&rig, DATA, (uint8_t)i);
	/* These overwrite as on the chip. */
	wr(&rig, DATA, 0xee);
	wr(&rig, DATA, 0xee);
	ck_assert_uint_eq(rd(&rig, LSR), 0);
	ck_assert(!serial_flush(rig.port));
	rig.credit = SERIAL_FIFO - 1;
	ck_assert(!serial_flush(rig.port));
	ck_assert(!rig.line);
	rig.credit = 1;
	ck_assert(!serial_flush(rig.port));
	ck_assert(rig.line);
	ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT);
	ck_assert_uint_eq(rd(&rig, IIR), 0x02);
	rig.credit = SIZE_MAX;
	ck_assert(serial_flush(rig.port));
	ck_assert(!rig.line);
	ck_assert_uint_eq(rig.len, SERIAL_TX_BUFFER);
	for (i = 0; i < rig.len; i++)
		if (rig.host[i] != (uint8_t)i)
			ck_abort_msg("byte %zu is wrong", i);
	stop(&rig);
}
END_TEST

/* A driver that loads 16 bytes at each THRE loses nothing, however slow the host. */
START_TEST(slow_host_loses_nothing)
{
	struct rig rig;
	unsigned int sent = 0, idle = 0, i;

	start(&rig);
	rig.credit = 0;
	wr(&rig, FCR, 0x01);
	wr(&rig, IER, 0x02);
	while (sent < 40000) {
		if (rig.line) {
			ck_assert_uint_eq(rd(&rig, IIR), 0xc2);
			for (i = 0; i < SERIAL_FIFO; i++)
				wr(&rig, DATA, (uint8_t)sent++);
		} else {
			idle++;
			rig.credit = 7;
			serial_flush(rig.port);
		}
	}
	ck_assert_uint_gt(idle, 1000);
	rig.credit = SIZE_MAX;
	serial_flush(rig.port);
	ck_assert_uint_eq(rig.len, sent);
	for (i = 0; i < sent; i++)
		if (rig.host[i] != (uint8_t)i)
			ck_abort_msg("byte %u is wrong", i);
	stop(&rig);
}
END_TEST

START_TEST(flush_asked_once)
{
	struct rig rig;

	start(&rig);
	rig.credit = 0;
	wr(&rig, DATA, 'a');
	wr(&rig, DATA, 'b');
	ck_assert_uint_eq(rig.flush_asked, 1);
	ck_assert(!serial_flush(rig.port));
	wr(&rig, DATA, 'c');
	wr(&rig, DATA, 'd');
	ck_assert_uint_eq(rig.flush_asked, 2);
	stop(&rig);
}
END_TEST

START_TEST(thre_interrupt_on_enable)
{
	struct rig rig;

	start(&rig);
	wr(&rig, IER, 0x02);
	ck_assert(rig.line);
	ck_assert_uint_eq(rd(&rig, IIR), 0x02);
	ck_assert(!rig.line);
	ck_assert_uint_eq(rd(&rig, IIR), 0x01);
	/* Enabled again: raised again. Written while enabled: not. */
	wr(&rig, IER, 0x02);
	ck_assert(!rig.line);
	wr(&rig, IER, 0x00);
	wr(&rig, IER, 0x02);
	ck_assert(rig.line);
	wr(&rig, IER, 0x00);
	ck_assert(!rig.line);
	stop(&rig);
}
END_TEST

START_TEST(thre_interrupt_after_byte)
{
	struct rig rig;

	start(&rig);
	wr(&rig, IER, 0x02);
	ck_assert_uint_eq(rd(&rig, IIR), 0x02);
	wr(&rig, DATA, 'a');
	ck_assert(rig.line);
	ck_assert_uint_eq(rd(&rig, IIR), 0x02);
	ck_assert_uint_eq(rd(&rig, IIR), 0x01);
	stop(&rig);
}
END_TEST

START_TEST(iir_clears_thre_only_when_reported)
{
	struct rig rig;

	start(&rig);
	wr(&rig, IER, 0x03);
	rx(&rig, "x");
	ck_assert_uint_eq(rd(&rig, IIR), 0x04);
	ck_assert_uint_eq(rd(&rig, IIR), 0x04);
	ck_assert_uint_eq(rd(&rig, DATA), 'x');
	ck_assert_uint_eq(rd(&rig, IIR), 0x02);
	ck_assert_uint_eq(rd(&rig, IIR), 0x01);
	stop(&rig);
}
END_TEST

START_TEST(iir_priority)
{
	struct rig rig;

	start(&rig);
	wr(&rig, IER, 0x0f);
	/* A modem change, THRE, data, and an overrun. */
	wr(&rig, MCR, 0x10);
	wr(&rig, MCR, 0x00);
	/* FIFO mode is off, and loopback sends faster than anybody reads. */
	wr(&rig, MCR, 0x10);
	wr(&rig, DATA, 'a');
	wr(&rig, DATA, 'b');
	wr(&rig, MCR, 0x00);
	ck_assert_uint_eq(rd(&rig, IIR), 0x06);
	ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT | 0x03);
	ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT | 0x01);
	ck_assert_uint_eq(rd(&rig, IIR), 0x04);
	ck_assert_uint_eq(rd(&rig, DATA), 'b');
	ck_assert_uint_eq(rd(&rig, IIR), 0x02);
	ck_assert_uint_eq(rd(&rig, IIR), 0x00);
	ck_assert(rig.line);
	ck_assert_uint_eq(rd(&rig, MSR), 0xbb);
	ck_assert_uint_eq(rd(&rig, MSR), 0xb0);
	ck_assert(!rig.line);
	ck_assert_uint_eq(rd(&rig, IIR), 0x01);
	stop(&rig);
}
END_TEST

START_TEST(no_fifo_holds_one_byte)
{
	struct rig rig;

	start(&rig);
	wr(&rig, IER, 0x01);
	ck_assert_uint_eq(serial_rx_room(rig.port), 1);
	rx(&rig, "a");
	ck_assert_uint_eq(serial_rx_room(rig.port), 0);
	ck_assert_uint_eq(serial_rx_waiting(rig.port), 1);
	ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT | 0x01);
	ck_assert_uint_eq(rd(&rig, DATA), 'a');
	ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT);
	/* RBR keeps its byte. */
	ck_assert_uint_eq(rd(&rig, DATA), 'a');
	ck_assert_uint_eq(rd(&rig, IIR) & 0xc0, 0);
	/* More than there is room for comes one by one. */
	rx(&rig, "bc");
	ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT | 0x01);
	ck_assert_uint_eq(rd(&rig, DATA), 'b');
	ck_assert(rig.line);
	ck_assert_uint_eq(rd(&rig, DATA), 'c');
	ck_assert(!rig.line);
	stop(&rig);
}
END_TEST

START_TEST(no_fifo_overrun)
{
	struct rig rig;

	start(&rig);
	wr(&rig, MCR, 0x10);
	wr(&rig, DATA, 'a');
	wr(&rig, DATA, 'b');
	wr(&rig, DATA, 'c');
	ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT | 0x03);
	/* The newest replaced the others. */
	ck_assert_uint_eq(rd(&rig, DATA), 'c');
	ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT);
	stop(&rig);
}
END_TEST

START_TEST(fifo_holds_sixteen)
{
	struct rig rig;
	unsigned int i;

	start(&rig);
	wr(&rig, FCR, 0x01);
	wr(&rig, IER, 0x01);
	ck_assert_uint_eq(serial_rx_room(rig.port), 16);
	rx(&rig, "0123456789abcdef");
	ck_assert_uint_eq(serial_rx_room(rig.port), 0);
	ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT | 0x01);
	for (i = 0; i < 16; i++)
		ck_assert_uint_eq(rd(&rig, DATA), (uint8_t) "0123456789abcdef"[i]);
	ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT);
	stop(&rig);
}
END_TEST

START_TEST(trigger_levels_and_timeout)
{
	static const unsigned int levels[] = {1, 4, 8, 14};
	struct rig rig;
	unsigned int i, n;

	start(&rig);
	wr(&rig, IER, 0x01);
	for (i = 0; i < 4; i++) {
		wr(&rig, FCR, (uint8_t)(0x03 | i << 6));
		ck_assert_uint_eq(rd(&rig, IIR), 0xc1);
		for (n = 1; n <= 16; n++) {
			rx(&rig, "x");
			ck_assert(rig.line);
			ck_assert_uint_eq(rd(&rig, IIR), n < levels[i] ? 0xcc : 0xc4);
		}
		for (n = 15; n; n--) {
			rd(&rig, DATA);
			ck_assert(rig.line);
			ck_assert_uint_eq(rd(&rig, IIR), n < levels[i] ? 0xcc : 0xc4);
		}
		rd(&rig, DATA);
		ck_assert(!rig.line);
	}
	stop(&rig);
}
END_TEST

START_TEST(fcr_needs_enable)
{
	struct rig rig;

	start(&rig);
	poll(&rig);
	rx(&rig, "a");
	ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT | 0x01);
	wr(&rig, FCR, 0xc6);
	ck_assert_uint_eq(rd(&rig, IIR), 0x01);
	ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT | 0x01);
	wr(&rig, FCR, 0xc1);
	ck_assert_uint_eq(rd(&rig, IIR), 0xc1);
	wr(&rig, FCR, 0xc0);
	ck_assert_uint_eq(rd(&rig, IIR), 0x01);
	stop(&rig);
}
END_TEST

START_TEST(fcr_clears_receiver)
{
	struct rig rig;

	start(&rig);
	wr(&rig, FCR, 0x01);
	wr(&rig, IER, 0x01);
	rx(&rig, "abc");
	rd(&rig, LSR);
	wr(&rig, FCR, 0x01);
	ck_assert_uint_eq(serial_rx_waiting(rig.port), 3);
	wr(&rig, FCR, 0x05);
	ck_assert_uint_eq(serial_rx_waiting(rig.port), 3);
	wr(&rig, FCR, 0x03);
	ck_assert_uint_eq(serial_rx_waiting(rig.port), 0);
	ck_assert(!rig.line);
	/* Not remembered. */
	rx(&rig, "d");
	ck_assert_uint_eq(rd(&rig, DATA), 'd');
	stop(&rig);
}
END_TEST

START_TEST(fcr_toggle_clears)
{
	struct rig rig;

	start(&rig);
	wr(&rig, IER, 0x01);
	rx(&rig, "a");
	rd(&rig, LSR);
	wr(&rig, FCR, 0x01);
	ck_assert_uint_eq(serial_rx_waiting(rig.port), 0);
	rx(&rig, "abc");
	rd(&rig, LSR);
	wr(&rig, FCR, 0x00);
	ck_assert_uint_eq(serial_rx_waiting(rig.port), 0);
	ck_assert_uint_eq(serial_rx_room(rig.port), 1);
	stop(&rig);
}
END_TEST

START_TEST(fcr_clears_transmitter)
{
	struct rig rig;
	size_t i;

	start(&rig);
	rig.credit = 0;
	wr(&rig, FCR, 0x01);
	for (i = 0; i < SERIAL_TX_BUFFER; i++)
		wr(&rig, DATA, (uint8_t)i);
	wr(&rig, IER, 0x02);
	ck_assert(!rig.line);
	wr(&rig, FCR, 0x05);
	ck_assert(rig.line);
	ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT);
	/* Only the chip's own FIFO was lost. */
	rig.credit = SIZE_MAX;
	serial_flush(rig.port);
	ck_assert_uint_eq(rig.len, SERIAL_TX_BUFFER - SERIAL_FIFO);
	stop(&rig);
}
END_TEST

START_TEST(rx_room_once_after_full)
{
	struct rig rig;

	start(&rig);
	wr(&rig, FCR, 0x01);
	wr(&rig, IER, 0x01);
	rx(&rig, "0123456789abcde");
	rd(&rig, DATA);
	ck_assert_uint_eq(rig.room_calls, 0);
	rx(&rig, "fg");
	ck_assert_uint_eq(serial_rx_room(rig.port), 0);
	/* Not for each place, but when a whole load can come. */
	for (int i = 0; i < 15; i++)
		rd(&rig, DATA);
	ck_assert_uint_eq(rig.room_calls, 0);
	rd(&rig, DATA);
	ck_assert_uint_eq(rig.room_calls, 1);
	rd(&rig, DATA);
	ck_assert_uint_eq(rig.room_calls, 1);
	rx(&rig, "0123456789abcdef");
	ck_assert_uint_eq(serial_rx_room(rig.port), 0);
	rd(&rig, LSR);
	wr(&rig, FCR, 0x03);
	ck_assert_uint_eq(rig.room_calls, 2);
	/* Who was not told "no room" is told nothing. */
	rx(&rig, "0123456789abcdef");
	while (rd(&rig, LSR) & 1)
		rd(&rig, DATA);
	ck_assert_uint_eq(rig.room_calls, 2);
	stop(&rig);
}
END_TEST

START_TEST(wire_waits_for_the_driver)
{
	struct rig rig;

	start(&rig);
	wr(&rig, FCR, 0x01);
	ck_assert_uint_eq(serial_rx_room(rig.port), 0);
	ck_assert_uint_eq(rig.room_calls, 0);
	/* Other interrupts are no sign. */
	wr(&rig, IER, 0x0e);
	ck_assert_uint_eq(rig.room_calls, 0);
	wr(&rig, IER, 0x01);
	ck_assert_uint_eq(rig.room_calls, 1);
	ck_assert_uint_eq(serial_rx_room(rig.port), 16);
	/* Off and on again, as Linux does to print: nobody asked meanwhile. */
	wr(&rig, IER, 0x00);
	wr(&rig, IER, 0x01);
	ck_assert_uint_eq(rig.room_calls, 1);
	wr(&rig, IER, 0x00);
	ck_assert_uint_eq(serial_rx_room(rig.port), 0);
	wr(&rig, IER, 0x01);
	ck_assert_uint_eq(rig.room_calls, 2);
	stop(&rig);
}
END_TEST

START_TEST(wire_is_not_seen_by_a_deaf_guest)
{
	struct rig rig;

	start(&rig);
	/* The room was there when the world asked. */
	rx(&rig, "abcdefgh");
	ck_assert_uint_eq(serial_rx_waiting(rig.port), 8);
	ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT);
	rd(&rig, DATA);
	ck_assert_uint_eq(rd(&rig, IIR), 0x01);
	/* A test whether there is an IER. */
	wr(&rig, IER, 0x0f);
	ck_assert(rig.line);
	rd(&rig, IER);
	wr(&rig, IER, 0x00);
	ck_assert(!rig.line);
	wr(&rig, FCR, 0x01);
	wr(&rig, FCR, 0x07);
	wr(&rig, FCR, 0x00);
	rd(&rig, DATA);
	/* The interrupt comes before the last clear, and another hart reads IIR. */
	wr(&rig, IER, 0x05);
	ck_assert(rig.line);
	ck_assert_uint_eq(rd(&rig, IIR), 0x04);
	wr(&rig, FCR, 0x01);
	wr(&rig, FCR, 0x81);
	ck_assert(rig.line);
	ck_assert_uint_eq(rd(&rig, IIR), 0xc4);
	for (int i = 0; i < 8; i++) {
		ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT | 0x01);
		ck_assert_uint_eq(rd(&rig, DATA), 'a' + i);
	}
	ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT);
	ck_assert(!rig.line);
	stop(&rig);
}
END_TEST

START_TEST(wire_survives_reset)
{
	struct rig rig;

	start(&rig);
	wr(&rig, FCR, 0x01);
	wr(&rig, IER, 0x01);
	rx(&rig, "ab");
	serial_device(rig.port)->ops->reset(serial_device(rig.port));
	ck_assert(!rig.line);
	ck_assert_uint_eq(serial_rx_room(rig.port), 0);
	ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT);
	wr(&rig, FCR, 0x07);
	wr(&rig, IER, 0x01);
	ck_assert(rig.line);
	ck_assert_uint_eq(rd(&rig, DATA), 'a');
	/* The first byte's successor is in the receiver by now, and dies with it. */
	serial_device(rig.port)->ops->reset(serial_device(rig.port));
	wr(&rig, IER, 0x01);
	ck_assert(!rig.line);
	ck_assert_uint_eq(rig.room_calls, 1);
	stop(&rig);
}
END_TEST

START_TEST(wire_overrun)
{
	struct rig rig;
	unsigned int i;

	start(&rig);
	wr(&rig, FCR, 0x01);
	rx(&rig, "0123456789abcdefXY");
	ck_assert_uint_eq(serial_rx_waiting(rig.port), 16);
	ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT | 0x02);
	wr(&rig, IER, 0x01);
	for (i = 0; i < 16; i++)
		ck_assert_uint_eq(rd(&rig, DATA), (uint8_t) "0123456789abcdef"[i]);
	ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT);
	stop(&rig);
}
END_TEST

START_TEST(polling_is_listening)
{
	struct rig rig;
	unsigned int i;

	start(&rig);
	wr(&rig, FCR, 0x01);
	ck_assert_uint_eq(serial_rx_room(rig.port), 0);
	/* Sending is not listening, however often LSR is looked at. */
	for (i = 0; i < 100; i++) {
		for (unsigned int n = 0; n < POLLS - 1; n++)
			rd(&rig, LSR);
		wr(&rig, DATA, 'x');
	}
	/* Nor is a look at other registers, or waiting for the transmitter. */
	for (i = 0; i < 100; i++) {
		rd(&rig, IIR);
		rd(&rig, MSR);
	}
	rig.credit = 0;
	while (rd(&rig, LSR) & 0x20)
		wr(&rig, DATA, 'x');
	poll(&rig);
	rig.credit = SIZE_MAX;
	serial_flush(rig.port);
	/* Nor is loopback. */
	wr(&rig, MCR, 0x10);
	poll(&rig);
	wr(&rig, MCR, 0x00);
	ck_assert_uint_eq(rig.room_calls, 0);
	for (i = 0; i < POLLS - 1; i++)
		rd(&rig, LSR);
	ck_assert_uint_eq(rig.room_calls, 0);
	rd(&rig, LSR);
	ck_assert_uint_eq(rig.room_calls, 1);
	ck_assert_uint_eq(serial_rx_room(rig.port), 16);
	rx(&rig, "ok");
	/* It goes on polling when it has said something. */
	wr(&rig, DATA, 'x');
	ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT | 0x01);
	ck_assert_uint_eq(rd(&rig, DATA), 'o');
	ck_assert_uint_eq(rd(&rig, DATA), 'k');
	ck_assert_uint_eq(serial_rx_room(rig.port), 16);
	/* The next driver is another one. */
	wr(&rig, FCR, 0x03);
	ck_assert_uint_eq(serial_rx_room(rig.port), 0);
	poll(&rig);
	ck_assert_uint_eq(serial_rx_room(rig.port), 16);
	/* So is one that enables the interrupt and then no longer does. */
	wr(&rig, IER, 0x01);
	poll(&rig);
	wr(&rig, IER, 0x00);
	ck_assert_uint_eq(serial_rx_room(rig.port), 0);
	poll(&rig);
	serial_device(rig.port)->ops->reset(serial_device(rig.port));
	ck_assert_uint_eq(serial_rx_room(rig.port), 0);
	stop(&rig);
}
END_TEST

START_TEST(line_status_interrupt)
{
	struct rig rig;

	start(&rig);
	wr(&rig, IER, 0x04);
	wr(&rig, MCR, 0x10);
	wr(&rig, DATA, 'a');
	ck_assert(!rig.line);
	wr(&rig, DATA, 'b');
	ck_assert(rig.line);
	ck_assert_uint_eq(rd(&rig, IIR), 0x06);
	rd(&rig, LSR);
	ck_assert(!rig.line);
	stop(&rig);
}
END_TEST

START_TEST(line_not_gated_by_out2)
{
	struct rig rig;

	start(&rig);
	wr(&rig, MCR, 0x00);
	wr(&rig, IER, 0x01);
	rx(&rig, "a");
	ck_assert(rig.line);
	wr(&rig, MCR, 0x08);
	ck_assert(rig.line);
	wr(&rig, MCR, 0x00);
	ck_assert(rig.line);
	ck_assert_uint_eq(rig.line_calls, 1);
	stop(&rig);
}
END_TEST

START_TEST(break_ignored)
{
	struct rig rig;

	start(&rig);
	wr(&rig, LCR, 0x43);
	ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT);
	wr(&rig, DATA, 'a');
	wr(&rig, LCR, 0x03);
	serial_flush(rig.port);
	ck_assert_uint_eq(rig.len, 1);
	stop(&rig);
}
END_TEST

START_TEST(loopback_data)
{
	struct rig rig;
	unsigned int i;

	start(&rig);
	wr(&rig, FCR, 0x01);
	wr(&rig, IER, 0x01);
	wr(&rig, MCR, 0x10);
	for (i = 0; i < 20; i++)
		wr(&rig, DATA, (uint8_t)('a' + i));
	ck_assert(rig.line);
	ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT | 0x03);
	for (i = 0; i < 16; i++)
		ck_assert_uint_eq(rd(&rig, DATA), 'a' + i);
	ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT);
	serial_flush(rig.port);
	ck_assert_uint_eq(rig.len, 0);
	ck_assert_uint_eq(rig.flush_asked, 0);
	stop(&rig);
}
END_TEST

START_TEST(loopback_disconnects_the_wire)
{
	struct rig rig;

	start(&rig);
	wr(&rig, FCR, 0x01);
	wr(&rig, IER, 0x01);
	rx(&rig, "a");
	rd(&rig, LSR);
	wr(&rig, MCR, 0x10);
	ck_assert_uint_eq(serial_rx_room(rig.port), 0);
	/* It was under way: it comes when the wire is there again. */
	rx(&rig, "bc");
	ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT | 0x01);
	ck_assert_uint_eq(rd(&rig, DATA), 'a');
	ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT);
	ck_assert(!rig.line);
	wr(&rig, MCR, 0x00);
	ck_assert(rig.line);
	ck_assert_uint_eq(rig.room_calls, 0);
	ck_assert_uint_eq(rd(&rig, DATA), 'b');
	ck_assert_uint_eq(rd(&rig, DATA), 'c');
	ck_assert_uint_eq(rig.room_calls, 1);
	ck_assert_uint_eq(serial_rx_room(rig.port), 16);
	stop(&rig);
}
END_TEST

START_TEST(loopback_modem_lines)
{
	struct rig rig;
	unsigned int v;

	start(&rig);
	for (v = 0; v < 16; v++) {
		uint8_t want = (uint8_t)((v & 2 ? 0x10 : 0) | (v & 1 ? 0x20 : 0) |
					 (v & 4 ? 0x40 : 0) | (v & 8 ? 0x80 : 0));

		wr(&rig, MCR, (uint8_t)(0x10 | v));
		ck_assert_uint_eq(rd(&rig, MSR) & 0xf0, want);
	}
	stop(&rig);
}
END_TEST

START_TEST(modem_deltas)
{
	struct rig rig;

	start(&rig);
	wr(&rig, IER, 0x08);
	/* CTS, DSR and DCD go away. */
	wr(&rig, MCR, 0x10);
	ck_assert(rig.line);
	ck_assert_uint_eq(rd(&rig, IIR), 0x00);
	ck_assert_uint_eq(rd(&rig, MSR), 0x0b);
	ck_assert(!rig.line);
	/* RI counts when it ends. */
	wr(&rig, MCR, 0x14);
	ck_assert(!rig.line);
	ck_assert_uint_eq(rd(&rig, MSR), 0x40);
	wr(&rig, MCR, 0x10);
	ck_assert(rig.line);
	ck_assert_uint_eq(rd(&rig, MSR), 0x04);
	/* Deltas add up until they are read. */
	wr(&rig, MCR, 0x11);
	wr(&rig, MCR, 0x13);
	ck_assert_uint_eq(rd(&rig, MSR), 0x33);
	stop(&rig);
}
END_TEST

/* What Linux's autoconfig() and the FIFO sizing of 8250_port.c find out. */
START_TEST(linux_autoconfig)
{
	struct rig rig;
	unsigned int i;

	start(&rig);
	ck_assert_uint_eq(serial_rx_room(rig.port), 0);
	wr(&rig, IER, 0);
	ck_assert_uint_eq(rd(&rig, IER) & 0x0f, 0);
	wr(&rig, IER, 0x0f);
	ck_assert_uint_eq(rd(&rig, IER) & 0x0f, 0x0f);
	wr(&rig, IER, 0);
	wr(&rig, MCR, 0x10 | 0x0a);
	ck_assert_uint_eq(rd(&rig, MSR) & 0xf0, 0x90);
	wr(&rig, MCR, 0);
	/* No enhanced feature register in the place of IIR. */
	wr(&rig, LCR, 0xbf);
	wr(&rig, FCR, 0);
	wr(&rig, LCR, 0);
	wr(&rig, FCR, 0x01);
	ck_assert_uint_eq(rd(&rig, IIR) >> 6, 3);
	wr(&rig, LCR, 0x80);
	ck_assert_uint_ne(rd(&rig, IIR), 0);
	wr(&rig, LCR, 0xbf);
	ck_assert_uint_ne(rd(&rig, IIR), 0);
	wr(&rig, LCR, 0);
	/* No UUE bit of an XScale port. */
	wr(&rig, IER, 0x40);
	ck_assert_uint_eq(rd(&rig, IER), 0);
	/* The FIFO's size. */
	wr(&rig, FCR, 0x07);
	wr(&rig, MCR, 0x10);
	for (i = 0; i < 256; i++)
		wr(&rig, DATA, (uint8_t)i);
	for (i = 0; rd(&rig, LSR) & 0x01; i++)
		rd(&rig, DATA);
	ck_assert_uint_eq(i, 16);
	wr(&rig, MCR, 0);
	wr(&rig, FCR, 0);
	ck_assert_uint_eq(rd(&rig, IIR), 0x01);
	ck_assert_uint_eq(rig.len, 0);
	ck_assert_uint_eq(serial_rx_room(rig.port), 0);
	stop(&rig);
}
END_TEST

/* serial8250_do_startup(): the tests for broken THRE interrupts. */
START_TEST(linux_startup)
{
	struct rig rig;

	start(&rig);
	ck_assert_uint_eq(serial_rx_room(rig.port), 0);
	wr(&rig, FCR, 0x01);
	wr(&rig, FCR, 0x07);
	wr(&rig, FCR, 0x00);
	ck_assert_uint_eq(rd(&rig, LSR), 0x60);
	rd(&rig, DATA);
	rd(&rig, IIR);
	rd(&rig, MSR);
	wr(&rig, LCR, 0x03);
	wr(&rig, IER, 0x02);
	ck_assert_uint_eq(rd(&rig, IIR) & 1, 0);
	wr(&rig, IER, 0x00);
	wr(&rig, IER, 0x02);
	ck_assert_uint_eq(rd(&rig, IIR) & 1, 0);
	wr(&rig, IER, 0x00);
	wr(&rig, MCR, 0x08);
	wr(&rig, IER, 0x02);
	ck_assert(rd(&rig, LSR) & 0x40);
	ck_assert_uint_eq(rd(&rig, IIR) & 1, 0);
	wr(&rig, IER, 0x00);
	ck_assert_uint_eq(rd(&rig, LSR), 0x60);
	ck_assert(!rig.line);
	/* The port is in use: receive interrupts, 16 bytes, trigger 8, in this order. */
	ck_assert_uint_eq(rig.room_calls, 0);
	wr(&rig, IER, 0x05);
	ck_assert_uint_eq(rig.room_calls, 1);
	rx(&rig, "ls\r");
	wr(&rig, FCR, 0x01);
	wr(&rig, FCR, 0x81);
	ck_assert(rig.line);
	ck_assert_uint_eq(rd(&rig, IIR), 0xcc);
	for (const char *p = "ls\r"; *p; p++) {
		ck_assert(rd(&rig, LSR) & 1);
		ck_assert_uint_eq(rd(&rig, DATA), (uint8_t)*p);
	}
	ck_assert_uint_eq(rd(&rig, LSR), 0x60);
	ck_assert(!rig.line);
	stop(&rig);
}
END_TEST

/* The ns16550 driver of U-Boot, polling. */
START_TEST(uboot_polling)
{
	struct rig rig;
	const char *p;

	start(&rig);
	ck_assert(rd(&rig, LSR) & 0x40);
	wr(&rig, IER, 0x00);
	wr(&rig, MCR, 0x03);
	wr(&rig, FCR, 0x07);
	wr(&rig, LCR, 0x83);
	wr(&rig, DLL, 2);
	wr(&rig, DLM, 0);
	wr(&rig, LCR, 0x03);
	for (p = "U-Boot"; *p; p++) {
		ck_assert(rd(&rig, LSR) & 0x20);
		wr(&rig, DATA, (uint8_t)*p);
	}
	ck_assert(rd(&rig, LSR) & 0x40);
	ck_assert_uint_eq(rd(&rig, LSR) & 0x01, 0);
	/* Its prompt. */
	ck_assert_uint_eq(serial_rx_room(rig.port), 0);
	for (unsigned int i = 0; !rig.room_calls; i++) {
		ck_assert_uint_lt(i, POLLS);
		ck_assert_uint_eq(rd(&rig, LSR) & 0x01, 0);
	}
	rx(&rig, "v\r");
	ck_assert(rd(&rig, LSR) & 0x01);
	ck_assert_uint_eq(rd(&rig, DATA), 'v');
	ck_assert(rd(&rig, LSR) & 0x20);
	wr(&rig, DATA, 'v');
	ck_assert(rd(&rig, LSR) & 0x01);
	ck_assert_uint_eq(rd(&rig, DATA), '\r');
	serial_flush(rig.port);
	ck_assert_mem_eq(rig.host, "U-Boot", 6);
	ck_assert_uint_eq(rig.line_calls, 0);
	stop(&rig);
}
END_TEST

START_TEST(reset_keeps_what_was_sent)
{
	struct rig rig;

	start(&rig);
	wr(&rig, FCR, 0x81);
	wr(&rig, IER, 0x0f);
	wr(&rig, LCR, 0x83);
	wr(&rig, DLL, 9);
	wr(&rig, LCR, 0x03);
	wr(&rig, MCR, 0x0b);
	wr(&rig, SCR, 0x5a);
	rx(&rig, "abc");
	wr(&rig, DATA, 'z');
	ck_assert(rig.line);
	rd(&rig, LSR);
	serial_device(rig.port)->ops->reset(serial_device(rig.port));
	ck_assert(!rig.line);
	ck_assert_uint_eq(rd(&rig, IER), 0);
	ck_assert_uint_eq(rd(&rig, IIR), 0x01);
	ck_assert_uint_eq(rd(&rig, LCR), 0);
	ck_assert_uint_eq(rd(&rig, MCR), 0);
	ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT);
	ck_assert_uint_eq(rd(&rig, SCR), 0);
	ck_assert(serial_flush(rig.port));
	ck_assert_uint_eq(rig.len, 1);
	stop(&rig);
}
END_TEST

START_TEST(reset_with_full_buffer)
{
	struct rig rig;
	size_t i;

	start(&rig);
	rig.credit = 0;
	for (i = 0; i < SERIAL_TX_BUFFER; i++)
		wr(&rig, DATA, (uint8_t)i);
	ck_assert_uint_eq(rd(&rig, LSR), 0);
	serial_device(rig.port)->ops->reset(serial_device(rig.port));
	ck_assert_uint_eq(rd(&rig, LSR), THRE_TEMT);
	wr(&rig, IER, 0x02);
	ck_assert_uint_eq(rd(&rig, IIR), 0x02);
	rig.credit = SIZE_MAX;
	serial_flush(rig.port);
	ck_assert_uint_eq(rig.len, SERIAL_TX_BUFFER - SERIAL_FIFO);
	stop(&rig);
}
END_TEST

START_TEST(quiesce_flushes)
{
	struct rig rig;

	start(&rig);
	wr(&rig, DATA, 'z');
	serial_device(rig.port)->ops->quiesce(serial_device(rig.port));
	ck_assert_uint_eq(rig.len, 1);
	stop(&rig);
}
END_TEST

START_TEST(save_load_round_trip)
{
	struct rig a, b;
	struct xfer x, y;
	size_t i;

	start(&a);
	a.credit = 100;
	wr(&a, FCR, 0xc1);
	wr(&a, IER, 0x0d);
	wr(&a, SCR, 0x77);
	for (i = 0; i < 5000; i++)
		wr(&a, DATA, (uint8_t)i);
	serial_flush(a.port);
	rx(&a, "0123456789");
	for (i = 0; i < 5; i++)
		rd(&a, DATA);
	/* Five in the receiver, eleven on the wire. */
	rx(&a, "0123456789a");
	ck_assert(a.line);
	save(&a, &x);
	start(&b);
	ck_assert_int_eq(load(&b, x.buf, x.len), 0);
	ck_assert(!b.line);
	ck_assert_uint_eq(b.flush_asked, 0);
	serial_device(b.port)->ops->resume(serial_device(b.port));
	ck_assert(b.line);
	ck_assert_uint_eq(b.flush_asked, 1);
	save(&b, &y);
	ck_assert_uint_eq(x.len, y.len);
	ck_assert_mem_eq(x.buf, y.buf, x.len);
	ck_assert_uint_eq(serial_rx_room(b.port), 0);
	ck_assert_uint_eq(rd(&b, IIR), 0xc4);
	ck_assert_uint_eq(rd(&b, LSR), 0x01);
	for (i = 0; i < 16; i++)
		ck_assert_uint_eq(rd(&b, DATA), (uint8_t) "567890123456789a"[i]);
	ck_assert_uint_eq(b.room_calls, 1);
	serial_flush(b.port);
	ck_assert_uint_eq(b.len, SERIAL_TX_BUFFER);
	for (i = 0; i < b.len; i++)
		if (b.host[i] != (uint8_t)(100 + i))
			ck_abort_msg("byte %zu is wrong", i);
	xfer_free(&x);
	xfer_free(&y);
	stop(&a);
	stop(&b);
}
END_TEST

START_TEST(load_refuses_bad_states)
{
	/* ier lcr mcr scr dll dlm fcr delta overrun thre rx wire polls tx:2 */
	static const struct {
		size_t at;
		uint8_t value;
	} bad[] = {
		{0, 0x10}, {2, 0x20}, {6, 0x02}, {6, 0x40}, {7, 0x10},	     {8, 0x02},
		{9, 0x02}, {10, 2},   {10, 255}, {11, 17},  {12, POLLS + 1}, {14, 0x10},
	};
	struct rig a;
	struct xfer x, y;
	size_t i, len;

	start(&a);
	save(&a, &x);
	for (len = 0; len < x.len; len++)
		ck_assert_int_ne(load(&a, x.buf, len), 0);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		uint8_t good = x.buf[bad[i].at];

		x.buf[bad[i].at] = bad[i].value;
		if (!load(&a, x.buf, x.len))
			ck_abort_msg("row %zu was taken", i);
		x.buf[bad[i].at] = good;
	}
	/* THRE's interrupt while THRE is 0: 4096 bytes waiting. */
	x.buf[14] = 0x10;
	x.buf = realloc(x.buf, x.len + SERIAL_TX_BUFFER);
	memset(x.buf + x.len, 0, SERIAL_TX_BUFFER);
	x.buf[9] = 1;
	ck_assert_int_ne(load(&a, x.buf, x.len + SERIAL_TX_BUFFER), 0);
	x.buf[9] = 0;
	ck_assert_int_eq(load(&a, x.buf, x.len + SERIAL_TX_BUFFER), 0);
	x.buf[9] = 1;
	x.buf[14] = 0;
	ck_assert_int_eq(load(&a, x.buf, x.len), 0);
	save(&a, &y);
	ck_assert_uint_eq(x.len, y.len);
	ck_assert_mem_eq(x.buf, y.buf, x.len);
	xfer_free(&x);
	xfer_free(&y);
	stop(&a);
}
END_TEST

/* A state goes into a new port, which takes the old one's place. */
static void move_house(struct rig *rig)
{
	struct serial *old = rig->port;
	struct xfer x, y;

	save(rig, &x);
	rig->port = serial_create("serial0", (struct irq_line){&rig->chip, 10}, &env, rig);
	ck_assert_ptr_nonnull(rig->port);
	ck_assert_int_eq(load(rig, x.buf, x.len), 0);
	save(rig, &y);
	ck_assert_uint_eq(x.len, y.len);
	ck_assert_mem_eq(x.buf, y.buf, x.len);
	serial_device(rig->port)->ops->resume(serial_device(rig->port));
	/* Resume says the level again, and must say the same. */
	ck_assert_uint_eq(rig->line_repeats, 1);
	rig->line_repeats = 0;
	xfer_free(&x);
	xfer_free(&y);
	serial_device(old)->ops->destroy(serial_device(old));
}

START_TEST(random_twins)
{
	struct prng p = prng_start("serial");
	struct rig *rigs = calloc(2, sizeof(*rigs)), *a = &rigs[0], *b = &rigs[1];
	unsigned int n, i, waiting = 0, moved = 0;
	size_t full = 0, deaf = 0;

	ck_assert_ptr_nonnull(rigs);
	start(a);
	start(b);
	a->credit = b->credit = 0;
	for (n = 0; n < 1000000; n++) {
		unsigned int kind = prng_below(&p, 1000), reg = prng_below(&p, 8);
		uint8_t v = (uint8_t)prng_u64(&p), buf[24];
		size_t before = serial_rx_waiting(a->port);

		/* DLAB and loopback mostly off, or little else would happen. */
		if (prng_below(&p, 8)) {
			if (reg == LCR)
				v &= 0x7f;
			if (reg == MCR)
				v &= 0xef;
		}
		if (kind < 300) {
			wr(a, DATA, v);
			wr(b, DATA, v);
		} else if (kind < 600) {
			bool line = a->line;
			uint8_t got = rd(a, reg);

			if (got != rd(b, reg))
				ck_abort_msg("op %u: register %u differs", n, reg);
			if (reg == IIR && line != !(got & 1))
				ck_abort_msg("op %u: IIR 0x%02x with line %d", n, got, line);
			if (reg == LSR && !(got & 0x20) != !(got & 0x40))
				ck_abort_msg("op %u: LSR 0x%02x", n, got);
			if (reg == LSR && got & 0x01 && !before)
				ck_abort_msg("op %u: LSR 0x%02x", n, got);
			deaf += reg == LSR && !(got & 0x01) && before;
			full += reg == LSR && !(got & 0x20);
		} else if (kind < 700) {
			wr(a, reg, v);
			wr(b, reg, v);
		} else if (kind < 800) {
			size_t len = prng_below(&p, 24), room = serial_rx_room(a->port);

			for (i = 0; i < len; i++)
				buf[i] = (uint8_t)prng_u64(&p);
			serial_rx(a->port, buf, len);
			serial_rx(b->port, buf, len);
			waiting = (unsigned int)serial_rx_waiting(a->port);
			if (waiting > before + len || waiting < before + (len < room ? len : room))
				ck_abort_msg("op %u: %u bytes received", n, waiting);
		} else if (kind < 990) {
			/* The host takes about what is written, sometimes stops for long. */
			if (n / 40000 % 2)
				a->credit = b->credit = prng_below(&p, 8);
			if (serial_flush(a->port) != serial_flush(b->port))
				ck_abort_msg("op %u: flush differs", n);
		} else if (kind < 991) {
			size_t room = serial_rx_room(b->port);

			moved++;
			move_house(b);
			if (room != serial_rx_room(b->port))
				ck_abort_msg("op %u: room changed", n);
		} else if (!prng_below(&p, 200)) {
			serial_device(a->port)->ops->reset(serial_device(a->port));
			serial_device(b->port)->ops->reset(serial_device(b->port));
		}
		if (a->line != b->line || a->len != b->len || a->hash != b->hash)
			ck_abort_msg("op %u (kind %u): the twins differ", n, kind);
		if (a->line_repeats || b->line_repeats)
			ck_abort_msg("op %u (kind %u): the line told twice", n, kind);
		if (serial_rx_room(a->port) != serial_rx_room(b->port) ||
		    serial_rx_waiting(a->port) != serial_rx_waiting(b->port))
			ck_abort_msg("op %u (kind %u): the twins' receivers differ", n, kind);
		if (serial_rx_room(a->port) > 16 || serial_rx_waiting(a->port) > 32)
			ck_abort_msg("op %u: more than FIFO and wire hold", n);
	}
	ck_assert_uint_gt(a->len, 50000);
	ck_assert_uint_gt(full, 100);
	ck_assert_uint_gt(deaf, 100);
	ck_assert_uint_gt(moved, 100);
	stop(a);
	stop(b);
	free(rigs);
}
END_TEST

static Suite *serial_suite(void)
{
	const TTest *const cases[] = {
		power_on_values,
		register_bits,
		divisor_latch,
		wider_access_is_the_byte,
		output_in_bursts,
		full_buffer_leaves_at_once,
		back_pressure,
		slow_host_loses_nothing,
		flush_asked_once,
		thre_interrupt_on_enable,
		thre_interrupt_after_byte,
		iir_clears_thre_only_when_reported,
		iir_priority,
		no_fifo_holds_one_byte,
		no_fifo_overrun,
		fifo_holds_sixteen,
		trigger_levels_and_timeout,
		fcr_needs_enable,
		fcr_clears_receiver,
		fcr_toggle_clears,
		fcr_clears_transmitter,
		rx_room_once_after_full,
		wire_waits_for_the_driver,
		wire_is_not_seen_by_a_deaf_guest,
		wire_survives_reset,
		wire_overrun,
		polling_is_listening,
		line_status_interrupt,
		line_not_gated_by_out2,
		break_ignored,
		loopback_data,
		loopback_disconnects_the_wire,
		loopback_modem_lines,
		modem_deltas,
		linux_autoconfig,
		linux_startup,
		uboot_polling,
		reset_keeps_what_was_sent,
		reset_with_full_buffer,
		quiesce_flushes,
		save_load_round_trip,
		load_refuses_bad_states,
		random_twins,
	};
	Suite *suite = suite_create("serial");
	TCase *tc = tcase_create("serial");
	size_t i;

	tcase_set_timeout(tc, 120);
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		tcase_add_test(tc, cases[i]);
	suite_add_tcase(suite, tc);
	return suite;
}

int main(void)
{
	return unit_main(serial_suite());
}
