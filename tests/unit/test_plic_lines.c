// SPDX-License-Identifier: GPL-2.0-only
/*
 * Level interrupts through the PLIC with the devices that make them, served as a guest
 * does: a 16550A's flood, PCI functions that share a line, pulses while the source is
 * masked, a level held across mask and unmask. Then what all that costs: the ioctls of a
 * whole machine on a scripted host, counted.
 */
#include "mmio.h"
#include "rig.h"
#include "unit.h"

#include "lkvm/hw/pci.h"
#include "lkvm/hw/serial.h"
#include "lkvm/riscv/plic.h"

#include "../../riscv/machine.h"

#include <string.h>

#define PRIORITY(s) (UINT64_C(4) * (s))
#define PENDING(w) (UINT64_C(0x1000) + 4 * (w))
#define ENABLE(c, w) (UINT64_C(0x2000) + UINT64_C(0x80) * (c) + 4 * (w))
#define THRESHOLD(c) (UINT64_C(0x200000) + UINT64_C(0x1000) * (c))
#define CLAIM(c) (THRESHOLD(c) + 4)

#define SERIAL 10
#define PINS 20 /* of slot 0: 20 to 23 */
#define SLOTS 9

/* Where the machine has it. */
#define PLIC UINT64_C(0x0c000000)

enum {
	UART_DATA,
	UART_IER,
	UART_IIR,
	UART_LCR,
	UART_MCR,
	UART_LSR,
};

/* --- devices on a PLIC ------------------------------------------------------------- */

struct board {
	struct plic *plic;
	bool out[2];
	unsigned int calls, repeats;
	struct serial *port;
	uint64_t sent;
	struct pci_host *host;
	struct pci_function fn[SLOTS];
};

static struct board b;

static void on_output(void *opaque, unsigned int context, bool level)
{
	(void)opaque;
	b.calls++;
	b.repeats += b.out[context] == level;
	b.out[context] = level;
}

static size_t on_write(void *opaque, const uint8_t *buf, size_t len)
{
	(void)opaque;
	(void)buf;
	b.sent += len;
	return len;
}

static void on_nothing(void *opaque)
{
	(void)opaque;
}

static const struct serial_env env = {
	.write = on_write, .flush_soon = on_nothing, .rx_room = on_nothing};

static const struct pci_function_ops no_ops;

static uint32_t rd(uint64_t offset)
{
	return (uint32_t)plic_ops.read(b.plic, offset, 4);
}

static void wr(uint64_t offset, uint32_t value)
{
	plic_ops.write(b.plic, offset, value, 4);
}

static uint8_t uart_rd(unsigned int reg)
{
	return (uint8_t)serial_ops.read(b.port, reg, 1);
}

static void uart_wr(unsigned int reg, uint8_t value)
{
	serial_ops.write(b.port, reg, value, 1);
}

/* To context 0. */
static void use(unsigned int source)
{
	wr(PRIORITY(source), 1);
	wr(ENABLE(0, source / 32), rd(ENABLE(0, source / 32)) | UINT32_C(1) << source % 32);
}

static bool pending(unsigned int source)
{
	return rd(PENDING(source / 32)) >> source % 32 & 1;
}

static void setup(void)
{
	static const struct pci_id id = {.vendor = 0x1af4, .device = 0x1234};
	struct pci_host_config config = {.name = "pci0"};
	unsigned int i;

	memset(&b, 0, sizeof(b));
	b.plic = plic_create("plic0", 31, 2, on_output, NULL, NULL);
	ck_assert_ptr_nonnull(b.plic);
	b.port = serial_create("serial0", (struct irq_line){plic_chip(b.plic), SERIAL}, &env, NULL);
	ck_assert_ptr_nonnull(b.port);
	for (i = 0; i < PCI_PINS; i++)
		config.lines[i] = (struct irq_line){plic_chip(b.plic), PINS + i};
	b.host = pci_host_create(&config);
	ck_assert_ptr_nonnull(b.host);
	for (i = 0; i < SLOTS; i++) {
		pci_function_init(&b.fn[i], &no_ops, "toy", &id);
		ck_assert_int_eq(pci_attach(b.host, &b.fn[i]), 0);
	}
}

static void teardown(void)
{
	struct device *devs[] = {pci_host_device(b.host), serial_device(b.port),
				 plic_device(b.plic)};
	size_t i;

	ck_assert_uint_eq(b.repeats, 0);
	for (i = 0; i < SLOTS; i++)
		pci_detach(&b.fn[i]);
	for (i = 0; i < ARRAY_SIZE(devs); i++)
		devs[i]->ops->destroy(devs[i]);
}

/* What a driver's handler does until its port has nothing more to say; what came. */
static unsigned int serve_port(unsigned int *left)
{
	unsigned int came = 0;
	uint8_t id;

	while (!((id = uart_rd(UART_IIR) & 0x0f) & 1)) {
		switch (id) {
		case 0x02: /* the transmitter is empty */
			uart_wr(*left ? UART_DATA : UART_IER, *left ? 0x55 : 1);
			*left -= *left > 0;
			break;
		case 0x04: /* data, and data that waits for more */
		case 0x0c:
			ck_assert_uint_eq(uart_rd(UART_DATA), 0x55);
			came++;
			break;
		default:
			ck_abort_msg("IIR 0x%x", id);
		}
	}
	return came;
}

/* Each claim serves the port, each completion with the line down ends it. */
START_TEST(serial_flood)
{
	unsigned int rounds, left, served = 0, came = 0;

	use(SERIAL);
	uart_wr(UART_MCR, 0x10); /* what goes out comes back */
	uart_wr(UART_IIR, 0x07);
	for (rounds = 0; rounds < 1000; rounds++) {
		left = 100;
		uart_wr(UART_IER, 0);
		uart_wr(UART_IER, 3);
		ck_assert(b.out[0]);
		while (b.out[0]) {
			ck_assert_uint_eq(rd(CLAIM(0)), SERIAL);
			ck_assert(!b.out[0]);
			came += serve_port(&left);
			wr(CLAIM(0), SERIAL);
			served++;
		}
		ck_assert_uint_eq(left, 0);
		ck_assert(!pending(SERIAL));
	}
	ck_assert_uint_eq(came, 100 * rounds);
	ck_assert_uint_ge(served, rounds);
	/* Up and down once for each interrupt that was served, and not more often. */
	ck_assert_uint_eq(b.calls, 2 * served);
	ck_assert_uint_eq(plic_source_count(b.plic, SERIAL), served);
}
END_TEST

/* A handler that takes one byte only is called as often as there are bytes. */
START_TEST(serial_held)
{
	unsigned int i;

	use(SERIAL);
	uart_wr(UART_MCR, 0x10);
	uart_wr(UART_IIR, 0x07);
	uart_wr(UART_IER, 1);
	for (i = 0; i < SERIAL_FIFO; i++)
		uart_wr(UART_DATA, (uint8_t)i);
	for (i = 0; i < SERIAL_FIFO; i++) {
		ck_assert_uint_eq(rd(CLAIM(0)), SERIAL);
		ck_assert_uint_eq(uart_rd(UART_DATA), i);
		wr(CLAIM(0), SERIAL);
		ck_assert(b.out[0] == (i < SERIAL_FIFO - 1));
	}
	ck_assert_uint_eq(rd(CLAIM(0)), 0);
}
END_TEST

/* Every fourth slot is on one line: it is up while one of them is. */
START_TEST(shared_or)
{
	static const unsigned int sharing[] = {0, 4, 8};
	unsigned int set, i, up;
	const unsigned int line = PINS + pci_line(b.fn[0].devfn >> 3, 1);

	use(line);
	for (set = 1; set < 8; set++) {
		up = 0;
		for (i = 0; i < 3; i++) {
			if (!(set >> i & 1))
				continue;
			pci_intx(&b.fn[sharing[i]], true);
			up++;
			ck_assert(pending(line) && b.out[0]);
		}
		/* Each interrupt serves one; the others' level brings the next. */
		for (i = 0; i < 3; i++) {
			if (!(set >> i & 1))
				continue;
			ck_assert_uint_eq(rd(CLAIM(0)), line);
			pci_intx(&b.fn[sharing[i]], false);
			up--;
			wr(CLAIM(0), line);
			ck_assert(b.out[0] == (up > 0));
		}
		ck_assert_uint_eq(rd(CLAIM(0)), 0);
	}
	/* On another line nothing was heard. */
	for (i = PINS; i < PINS + PCI_PINS; i++)
		ck_assert(!pending(i));
}
END_TEST

/* The second device raises while the first is served: not a new request, but not lost. */
START_TEST(shared_during_service)
{
	const unsigned int line = PINS + pci_line(b.fn[1].devfn >> 3, 1);

	use(line);
	pci_intx(&b.fn[1], true);
	ck_assert_uint_eq(rd(CLAIM(0)), line);
	pci_intx(&b.fn[5], true);
	pci_intx(&b.fn[1], false);
	ck_assert(!pending(line) && !b.out[0]);
	wr(CLAIM(0), line);
	ck_assert(b.out[0]);
	ck_assert_uint_eq(rd(CLAIM(0)), line);
	pci_intx(&b.fn[5], false);
	wr(CLAIM(0), line);
	ck_assert(!b.out[0] && !pending(line));
	ck_assert_uint_eq(b.calls, 4);
}
END_TEST

/*
 * Up and down while masked, by each of the three masks: one interrupt afterwards, since a
 * level's request stays when the level drops, and nothing after that.
 */
START_TEST(pulse_while_masked)
{
	static const unsigned int times[] = {1, 2, 50};
	unsigned int mask, n, i;

	use(PINS);
	for (mask = 0; mask < 3; mask++) {
		for (n = 0; n < ARRAY_SIZE(times); n++) {
			wr(PRIORITY(PINS), mask != 0);
			wr(ENABLE(0, 0), mask == 1 ? 0 : UINT32_C(1) << PINS);
			wr(THRESHOLD(0), mask == 2 ? 7 : 0);
			for (i = 0; i < times[n]; i++) {
				pci_intx(&b.fn[3], true);
				pci_intx(&b.fn[3], false);
			}
			ck_assert(pending(PINS) && !b.out[0]);
			wr(PRIORITY(PINS), 1);
			wr(ENABLE(0, 0), UINT32_C(1) << PINS);
			wr(THRESHOLD(0), 0);
			ck_assert(b.out[0]);
			ck_assert_uint_eq(rd(CLAIM(0)), PINS);
			wr(CLAIM(0), PINS);
			ck_assert(!b.out[0] && !pending(PINS));
			ck_assert_uint_eq(rd(CLAIM(0)), 0);
		}
	}
}
END_TEST

/* The line stays up while the handler masks its source, completes, and unmasks it later. */
START_TEST(held_across_mask)
{
	unsigned int i;

	use(PINS);
	pci_intx(&b.fn[3], true);
	for (i = 0; i < 10; i++) {
		ck_assert_uint_eq(rd(CLAIM(0)), PINS);
		wr(PRIORITY(PINS), 0);
		wr(CLAIM(0), PINS);
		ck_assert(pending(PINS) && !b.out[0]);
		wr(PRIORITY(PINS), 1);
		ck_assert(b.out[0]);
	}
	/* Lowered in service, while masked: then it is quiet. */
	ck_assert_uint_eq(rd(CLAIM(0)), PINS);
	wr(PRIORITY(PINS), 0);
	pci_intx(&b.fn[3], false);
	wr(CLAIM(0), PINS);
	wr(PRIORITY(PINS), 1);
	ck_assert(!b.out[0] && !pending(PINS));
}
END_TEST

/* The same with the enable bit: a completion counts only where the source is enabled. */
START_TEST(held_across_disable)
{
	use(PINS);
	pci_intx(&b.fn[3], true);
	ck_assert_uint_eq(rd(CLAIM(0)), PINS);
	wr(ENABLE(0, 0), 0);
	wr(CLAIM(0), PINS);
	ck_assert(!pending(PINS));
	wr(ENABLE(0, 0), UINT32_C(1) << PINS);
	ck_assert(!b.out[0]);
	wr(CLAIM(0), PINS);
	ck_assert(b.out[0]);
	/* To another hart, the level still up. */
	wr(ENABLE(0, 0), 0);
	wr(ENABLE(1, 0), UINT32_C(1) << PINS);
	ck_assert(!b.out[0] && b.out[1]);
	ck_assert_uint_eq(rd(CLAIM(1)), PINS);
	pci_intx(&b.fn[3], false);
	wr(CLAIM(1), PINS);
	ck_assert(!b.out[1]);
}
END_TEST

/* --- what KVM is asked to do --------------------------------------------------------- */

static struct rig rig;

static void rig_setup(void)
{
	rig_init(&rig, FAKE_7_2);
	rig.arch.irqchip = IRQCHIP_PLIC;
	rig.cfg.cpus = 2;
	rig_create(&rig);
}

static void rig_teardown(void)
{
	rig_end(&rig);
}

static uint32_t machine_rd(uint64_t offset)
{
	uint64_t value = UINT64_MAX;

	ck_assert(bus_read(&rig.vm->bus, PLIC + offset, 4, &value));
	return (uint32_t)value;
}

static void machine_wr(uint64_t offset, uint32_t value)
{
	ck_assert(bus_write(&rig.vm->bus, PLIC + offset, 4, value));
}

static unsigned long interrupts(void)
{
	return fake_calls(rig.host, KVM_INTERRUPT);
}

#define WIRE 100

/* One interrupt, all its way: two ioctls, and no other than these. */
START_TEST(two_ioctls)
{
	struct irq_line wire = machine_irq(rig.vm->arch, WIRE);
	unsigned long before, all;
	unsigned int i;

	machine_wr(PRIORITY(WIRE), 1);
	machine_wr(ENABLE(1, WIRE / 32), UINT32_C(1) << WIRE % 32);
	before = interrupts();
	all = rig.host->all_calls;
	for (i = 1; i <= 100; i++) {
		irq_line_set(&wire, true);
		ck_assert_uint_eq(interrupts(), before + 2 * i - 1);
		ck_assert(fake_vcpu(rig.host, 1)->line);
		ck_assert_uint_eq(machine_rd(CLAIM(1)), WIRE);
		ck_assert_uint_eq(interrupts(), before + 2 * i);
		ck_assert(!fake_vcpu(rig.host, 1)->line);
		/* Lowering the wire, the second claim of Linux' handler, the completion. */
		irq_line_set(&wire, false);
		machine_wr(CLAIM(1), WIRE);
		ck_assert_uint_eq(machine_rd(CLAIM(1)), 0);
		ck_assert_uint_eq(interrupts(), before + 2 * i);
	}
	ck_assert_uint_eq(rig.host->all_calls - all, 2 * 100);
	ck_assert_uint_eq(atomic_load(&fake_vcpu(rig.host, 0)->irq_sets), 0);
}
END_TEST

/* What leaves every output as it is makes no ioctl at all. */
START_TEST(no_ioctls)
{
	struct irq_line wire = machine_irq(rig.vm->arch, WIRE);
	struct irq_line other = machine_irq(rig.vm->arch, WIRE + 1);
	unsigned long all;
	unsigned int i;

	machine_wr(PRIORITY(WIRE), 2);
	machine_wr(PRIORITY(WIRE + 1), 1);
	machine_wr(ENABLE(0, WIRE / 32), UINT32_C(3) << WIRE % 32);
	irq_line_set(&wire, true);
	ck_assert(fake_vcpu(rig.host, 0)->line);
	all = rig.host->all_calls;
	for (i = 0; i < 10; i++) {
		irq_line_set(&wire, true);
		irq_line_set(&wire, false);
		irq_line_set(&other, true);
		machine_wr(PRIORITY(WIRE), 3 + i % 2);
		machine_wr(THRESHOLD(0), i % 2);
		machine_wr(THRESHOLD(1), 7);
		machine_wr(PENDING(0), UINT32_MAX);
		machine_wr(CLAIM(0), WIRE);
		machine_wr(CLAIM(1), WIRE);
		ck_assert_uint_eq(machine_rd(CLAIM(1)), 0);
	}
	/* Two are pending: to claim one leaves the output up. */
	machine_wr(THRESHOLD(0), 0);
	ck_assert_uint_eq(machine_rd(CLAIM(0)), WIRE);
	/* Completed with the wire down, another one pending: still up. */
	machine_wr(CLAIM(0), WIRE);
	ck_assert_uint_eq(rig.host->all_calls, all);
	ck_assert_uint_eq(machine_rd(CLAIM(0)), WIRE + 1);
	ck_assert_uint_eq(rig.host->all_calls, all + 1);
	ck_assert(!fake_vcpu(rig.host, 0)->line);
}
END_TEST

/* A completion with the wire still up raises the output once. */
START_TEST(completion_raises_once)
{
	struct irq_line wire = machine_irq(rig.vm->arch, WIRE);
	unsigned long all;
	unsigned int i;

	machine_wr(PRIORITY(WIRE), 1);
	machine_wr(ENABLE(0, WIRE / 32), UINT32_C(1) << WIRE % 32);
	machine_wr(ENABLE(1, WIRE / 32), UINT32_C(1) << WIRE % 32);
	irq_line_set(&wire, true);
	/* Both harts hear of it, the claim takes it from both. */
	ck_assert_uint_eq(machine_rd(CLAIM(0)), WIRE);
	all = rig.host->all_calls;
	for (i = 1; i <= 10; i++) {
		machine_wr(CLAIM(0), WIRE);
		ck_assert_uint_eq(rig.host->all_calls, all + 4 * i - 2);
		ck_assert_uint_eq(machine_rd(CLAIM(0)), WIRE);
		ck_assert_uint_eq(rig.host->all_calls, all + 4 * i);
	}
}
END_TEST

/* Nonsense of every kind: the guest hears 0, KVM hears nothing. */
START_TEST(nonsense)
{
	static const uint32_t ids[] = {0, 1, WIRE, 127, 128, 1023, 1024, 0x80000001, UINT32_MAX};
	static const unsigned int sizes[] = {1, 2, 8};
	unsigned long all = rig.host->all_calls;
	uint64_t value;
	size_t i, j;

	machine_wr(PRIORITY(WIRE), 1);
	machine_wr(ENABLE(0, WIRE / 32), UINT32_C(1) << WIRE % 32);
	for (i = 0; i < ARRAY_SIZE(ids); i++)
		for (j = 0; j < 4; j++)
			machine_wr(CLAIM(j), ids[i]);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		bus_write(&rig.vm->bus, PLIC + CLAIM(0), sizes[i], WIRE);
		bus_write(&rig.vm->bus, PLIC + ENABLE(0, 0), sizes[i], UINT64_MAX);
		bus_write(&rig.vm->bus, PLIC + PRIORITY(WIRE), sizes[i], 7);
		value = UINT64_MAX;
		bus_read(&rig.vm->bus, PLIC + PRIORITY(WIRE), sizes[i], &value);
		ck_assert_uint_eq(value, 0);
	}
	machine_wr(ENABLE(2, 0), UINT32_MAX);
	machine_wr(THRESHOLD(2), UINT32_MAX);
	ck_assert_uint_eq(machine_rd(ENABLE(2, 0)), 0);
	ck_assert_uint_eq(machine_rd(CLAIM(2)), 0);
	ck_assert_uint_eq(machine_rd(PRIORITY(WIRE)), 1);
	ck_assert_uint_eq(rig.host->all_calls, all);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("plic_lines");
	TCase *lines = tcase_create("lines"), *cost = tcase_create("cost");

	tcase_add_checked_fixture(lines, setup, teardown);
	tcase_add_test(lines, serial_flood);
	tcase_add_test(lines, serial_held);
	tcase_add_test(lines, shared_or);
	tcase_add_test(lines, shared_during_service);
	tcase_add_test(lines, pulse_while_masked);
	tcase_add_test(lines, held_across_mask);
	tcase_add_test(lines, held_across_disable);
	suite_add_tcase(suite, lines);
	tcase_add_checked_fixture(cost, rig_setup, rig_teardown);
	tcase_add_test(cost, two_ioctls);
	tcase_add_test(cost, no_ioctls);
	tcase_add_test(cost, completion_raises_once);
	tcase_add_test(cost, nonsense);
	suite_add_tcase(suite, cost);
	return unit_main(suite);
}
