// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the bare-metal guests share (guest.h).
 *
 * Text goes out by the SBI Debug Console, or byte by byte through the legacy call
 * where that is missing; the end is a System Reset call (SBI 3.0, chapters
 * "Debug Console", "Legacy Extensions", "System Reset").
 *
 * Waiting for input, the hart sleeps until its timer is pending; the interrupt
 * itself is never taken. The timer is stimecmp where the hart has it, as in Linux:
 * with it, KVM (7.2 at least) forgets what SBI set_timer was told when the hart's
 * thread is preempted before the guest goes on, because that writes the CSR only,
 * and the next load of the vCPU restores the value from before.
 *
 * The device tree is read front to back in one pass (Devicetree Specification 0.4,
 * chapter "Flattened Devicetree"), expecting addresses and sizes of two cells. Page
 * tables: privileged architecture, "Supervisor-Level ISA"; accessed and dirty bits
 * are set from the start, so that walks never write.
 *
 * One hart, and those that start_hart() adds, which share what they are handed; no
 * lock, nothing saved.
 */
#include "guest.h"

#include <stdarg.h>

#define SBI_LEGACY_PUTCHAR 1
#define SBI_DBCN 0x4442434e
#define DBCN_WRITE 0
#define DBCN_READ 1
#define SBI_TIME 0x54494d45
#define SBI_SRST 0x53525354
#define SRST_SHUTDOWN 0
#define SRST_NO_REASON 0
#define SRST_FAILURE 1

#define FDT_MAGIC 0xd00dfeed
#define FDT_BEGIN_NODE 1
#define FDT_END_NODE 2
#define FDT_PROP 3
#define FDT_NOP 4

#define PTE_V 0x01
#define PTE_LEAF 0xcf /* D, A, X, W, R, V */

#define SATP_MODE_SHIFT 60

/* How long to sleep between two looks for input. */
#define LOOKS_PER_SECOND 50
#define SIE_STIE 0x20

extern char _image_end[];
void hart_entry(void); /* start.S */

/* The compiler calls these by itself. */
void *memset(void *s, int c, size_t n);
void *memcpy(void *dst, const void *src, size_t n);

void *memset(void *s, int c, size_t n)
{
	volatile char *p = s;

	while (n--)
		*p++ = (char)c;
	return s;
}

void *memcpy(void *dst, const void *src, size_t n)
{
	volatile char *d = dst;
	const char *s = src;

	while (n--)
		*d++ = *s++;
	return dst;
}

bool same(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

static bool begins(const char *text, const char *with)
{
	while (*with && *text == *with) {
		text++;
		with++;
	}
	return !*with;
}

long sbi(uint64_t extension, uint64_t function, uint64_t arg0, uint64_t arg1, uint64_t arg2,
	 uint64_t *value)
{
	register uint64_t a0 __asm__("a0") = arg0;
	register uint64_t a1 __asm__("a1") = arg1;
	register uint64_t a2 __asm__("a2") = arg2;
	register uint64_t a6 __asm__("a6") = function;
	register uint64_t a7 __asm__("a7") = extension;

	__asm__ volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a6), "r"(a7) : "memory");
	if (value)
		*value = a1;
	return (long)a0;
}

/* What start.S finds for a hart that is started: its stack, then what to call. */
struct hart_start {
	void *stack;
	void (*entry)(void *arg);
	void *arg;
};

static uint64_t place_start(void (*entry)(void *arg), void *arg, void *stack)
{
	struct hart_start *start = (struct hart_start *)stack - 1;

	/* The calling convention wants 16 bytes of alignment. */
	*start = (struct hart_start){(void *)((uintptr_t)start & ~UINT64_C(15)), entry, arg};
	__asm__ volatile("fence rw, rw" ::: "memory");
	return (uint64_t)start;
}

bool start_hart(uint64_t hart, void (*entry)(void *arg), void *arg, void *stack)
{
	return !sbi(SBI_HSM, HSM_START, hart, (uint64_t)hart_entry, place_start(entry, arg, stack),
		    NULL);
}

void stop_hart(void)
{
	sbi(SBI_HSM, HSM_STOP, 0, 0, 0, NULL);
}

long suspend_to_ram(void (*entry)(void *arg), void *arg, void *stack)
{
	return sbi(SBI_SUSP, SUSP_SYSTEM, SUSP_TO_RAM, (uint64_t)hart_entry,
		   place_start(entry, arg, stack), NULL);
}

static long sbi_call(uint64_t extension, uint64_t function, uint64_t arg0, uint64_t arg1)
{
	uint64_t value;
	long error = sbi(extension, function, arg0, arg1, 0, &value);

	/* Legacy calls have no second result. */
	if (extension == SBI_DBCN && !error)
		return (long)value;
	return error < 0 ? error : 0;
}

static void put(const char *text, size_t len)
{
	while (len) {
		long n = sbi_call(SBI_DBCN, DBCN_WRITE, len, (uintptr_t)text);

		if (n < 0) {
			sbi_call(SBI_LEGACY_PUTCHAR, 0, (unsigned char)*text, 0);
			n = 1;
		}
		text += n;
		len -= (size_t)n;
	}
}

static void put_number(uint64_t v, unsigned int base)
{
	char buf[24];
	size_t i = sizeof(buf);

	do {
		buf[--i] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	if (base == 16) {
		buf[--i] = 'x';
		buf[--i] = '0';
	}
	put(buf + i, sizeof(buf) - i);
}

static void put_string(const char *s)
{
	size_t len = 0;

	while (s[len])
		len++;
	put(s, len);
}

void print(const char *fmt, ...)
{
	va_list ap;
	size_t n;

	va_start(ap, fmt);
	while (*fmt) {
		for (n = 0; fmt[n] && fmt[n] != '%'; n++)
			;
		put(fmt, n);
		fmt += n;
		if (!*fmt)
			break;
		switch (fmt[1]) {
		case 's':
			put_string(va_arg(ap, const char *));
			break;
		case 'u':
			put_number(va_arg(ap, uint64_t), 10);
			break;
		case 'x':
			put_number(va_arg(ap, uint64_t), 16);
			break;
		default:
			put("?", 1);
			break;
		}
		fmt += 2;
	}
	va_end(ap);
}

void set_timer(const struct guest *guest, uint64_t when)
{
	/* stimecmp, by number: the assembler need not know Sstc. */
	if (guest->sstc)
		__asm__ volatile("csrw 0x14d, %0" ::"r"(when) : "memory");
	else
		sbi_call(SBI_TIME, 0, when, 0);
}

static void sleep_ticks(const struct guest *guest, uint64_t ticks)
{
	set_timer(guest, read_time() + ticks);
	__asm__ volatile("csrs sie, %0\n\twfi\n\tcsrc sie, %0" ::"r"(SIE_STIE) : "memory");
	set_timer(guest, UINT64_MAX);
}

void read_line(const struct guest *guest, char *buf, size_t len)
{
	size_t n = 0;
	char c;

	for (;;) {
		if (sbi_call(SBI_DBCN, DBCN_READ, 1, (uintptr_t)&c) != 1) {
			sleep_ticks(guest, guest->timebase / LOOKS_PER_SECOND);
			continue;
		}
		if (c == '\n' || c == '\r')
			break;
		if (n + 1 < len)
			buf[n++] = c;
	}
	buf[n] = '\0';
}

/* --- device tree and command line ----------------------------------------- */

static uint32_t be32(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint64_t be64(const unsigned char *p)
{
	return (uint64_t)be32(p) << 32 | be32(p + 4);
}

enum node {
	NODE_OTHER,
	NODE_MEMORY,
	NODE_CHOSEN,
	NODE_CPUS,
};

static enum node node_of(const char *name)
{
	if (begins(name, "memory@"))
		return NODE_MEMORY;
	if (same(name, "chosen"))
		return NODE_CHOSEN;
	return same(name, "cpus") ? NODE_CPUS : NODE_OTHER;
}

static bool has_string(const char *list, uint32_t len, const char *text)
{
	uint32_t i;

	for (i = 0; i < len; i++)
		if ((!i || !list[i - 1]) && same(list + i, text))
			return true;
	return false;
}

static void take_property(struct guest *guest, enum node node, const char *name,
			  const unsigned char *value, uint32_t len)
{
	if (node == NODE_MEMORY && same(name, "reg") && len == 16 &&
	    guest->nr_ram < GUEST_MAX_RAM) {
		guest->ram[guest->nr_ram].base = be64(value);
		guest->ram[guest->nr_ram++].size = be64(value + 8);
	} else if (node == NODE_CHOSEN && same(name, "bootargs") && len && !value[len - 1]) {
		guest->bootargs = (const char *)value;
	} else if (node == NODE_CPUS && same(name, "timebase-frequency") && len == 4) {
		guest->timebase = be32(value);
	} else if (same(name, "riscv,isa-extensions") && len && !value[len - 1]) {
		guest->sstc = has_string((const char *)value, len, "sstc");
		guest->vector = has_string((const char *)value, len, "v");
	}
}

/**
 * struct fdt_node - what was seen of a device's node
 */
struct fdt_node {
	const char *compatible;
	uint32_t compatible_len;
	struct guest_region reg;
	const unsigned char *ranges, *map;
	uint32_t ranges_len, map_len;
	uint32_t irq, nr_ids;
	bool disabled;
};

static void take_device_property(struct fdt_node *node, const char *name,
				 const unsigned char *value, uint32_t len)
{
	if (same(name, "compatible") && len && !value[len - 1]) {
		node->compatible = (const char *)value;
		node->compatible_len = len;
	} else if (same(name, "reg") && len >= 16) {
		node->reg = (struct guest_region){be64(value), be64(value + 8)};
	} else if (same(name, "ranges")) {
		node->ranges = value;
		node->ranges_len = len;
	} else if (same(name, "interrupt-map")) {
		node->map = value;
		node->map_len = len;
	} else if (same(name, "interrupts") && len >= 4) {
		node->irq = be32(value);
	} else if (same(name, "status") && len && !value[len - 1]) {
		node->disabled = same((const char *)value, "disabled");
	} else if (same(name, "riscv,num-ids") && len == 4) {
		node->nr_ids = be32(value);
	}
}

static bool is_a(const struct fdt_node *node, const char *compatible)
{
	return node->compatible && has_string(node->compatible, node->compatible_len, compatible);
}

/* Ranges of a PCI host: three cells there, two here, two of size (IEEE 1275 PCI binding). */
#define PCI_RANGE 28
#define PCI_SPACE(cell) ((cell) >> 24 & 3)
#define PCI_MEM32 2

/*
 * A row of the interrupt map: three cells of address, the pin, the interrupt chip and
 * one cell for a PLIC's source, two for an APLIC's. Rows for all pins of slots 0 to 3.
 */
#define MAP_ROWS (GUEST_PCI_PINS * GUEST_PCI_PINS)
#define MAP_SLOT(cell) ((cell) >> 11 & 31)
#define MAP_PIN 12
#define MAP_SOURCE 20
#define PIN_INTA 1

static void take_pci(struct guest *guest, const struct fdt_node *node)
{
	uint32_t at, row = node->map_len / MAP_ROWS;

	guest->ecam = node->reg;
	for (at = 0; at + PCI_RANGE <= node->ranges_len; at += PCI_RANGE)
		if (PCI_SPACE(be32(node->ranges + at)) == PCI_MEM32)
			guest->pci_mem = (struct guest_region){be64(node->ranges + at + 12),
							       be64(node->ranges + at + 20)};
	for (at = 0; row > MAP_SOURCE && at + row <= node->map_len; at += row)
		if (be32(node->map + at + MAP_PIN) == PIN_INTA)
			guest->pci_irq[MAP_SLOT(be32(node->map + at)) % GUEST_PCI_PINS] =
				be32(node->map + at + MAP_SOURCE);
}

static void take_device(struct guest *guest, const struct fdt_node *node)
{
	if (node->disabled)
		return;
	if (is_a(node, "riscv"))
		guest->nr_harts++;
	if (is_a(node, "virtio,mmio") && guest->nr_virtio < GUEST_MAX_VIRTIO) {
		guest->virtio_irq[guest->nr_virtio] = node->irq;
		guest->virtio[guest->nr_virtio++] = node->reg.base;
	}
	if (is_a(node, "riscv,plic0"))
		guest->plic = node->reg.base;
	if (is_a(node, "riscv,aplic"))
		guest->aplic = node->reg.base;
	if (is_a(node, "riscv,imsics")) {
		guest->imsic = node->reg.base;
		guest->nr_ids = node->nr_ids;
	}
	if (is_a(node, "ns16550a")) {
		guest->serial = node->reg.base;
		guest->serial_irq = node->irq;
	}
	if (is_a(node, "pci-host-ecam-generic"))
		take_pci(guest, node);
}

/* Return: bytes of the tree, 0 where there is none. */
static uint32_t read_fdt(const unsigned char *fdt, struct guest *guest)
{
	const unsigned char *p = fdt + be32(fdt + 8);
	const char *strings = (const char *)fdt + be32(fdt + 12);
	enum node node = NODE_OTHER;
	struct fdt_node device = {.compatible = NULL};
	unsigned int depth = 0;
	uint32_t len;

	if (be32(fdt) != FDT_MAGIC)
		return 0;
	for (;;) {
		uint32_t token = be32(p);

		p += 4;
		switch (token) {
		case FDT_BEGIN_NODE:
			/* The root is at depth 1, its children at 2. */
			node = ++depth == 2 ? node_of((const char *)p) : NODE_OTHER;
			/* Devices are children of /soc. */
			if (depth == 3)
				device = (struct fdt_node){.compatible = NULL};
			for (len = 0; p[len]; len++)
				;
			p += (len + 4) & ~UINT32_C(3);
			break;
		case FDT_PROP:
			len = be32(p);
			take_property(guest, node, strings + be32(p + 4), p + 8, len);
			if (depth == 3)
				take_device_property(&device, strings + be32(p + 4), p + 8, len);
			p += 8 + ((len + 3) & ~UINT32_C(3));
			break;
		case FDT_END_NODE:
			if (depth-- == 3)
				take_device(guest, &device);
			node = NODE_OTHER;
			break;
		case FDT_NOP:
			break;
		default:
			return be32(fdt + 4);
		}
	}
}

bool option(const struct guest *guest, const char *name, char *buf, size_t len)
{
	const char *p = guest->bootargs;
	size_t n, i = 0;

	for (n = 0; name[n]; n++)
		;
	while (*p) {
		while (*p == ' ')
			p++;
		if (begins(p, name) && p[n] == '=') {
			for (p += n + 1; *p && *p != ' ' && i + 1 < len; p++)
				buf[i++] = *p;
			buf[i] = '\0';
			return true;
		}
		while (*p && *p != ' ')
			p++;
	}
	return false;
}

uint64_t option_number(const struct guest *guest, const char *name, uint64_t otherwise)
{
	char buf[24];
	uint64_t v = 0;
	size_t i;

	if (!option(guest, name, buf, sizeof(buf)))
		return otherwise;
	for (i = 0; buf[i] >= '0' && buf[i] <= '9'; i++)
		v = 10 * v + (uint64_t)(buf[i] - '0');
	return v;
}

/* --- translation ------------------------------------------------------------ */

static uint64_t new_table(struct tables *tables)
{
	uint64_t *t = (uint64_t *)tables->next;
	size_t i;

	if (tables->end - tables->next < PAGE_SIZE)
		return 0;
	tables->next += PAGE_SIZE;
	for (i = 0; i < 512; i++)
		t[i] = 0;
	return (uint64_t)t;
}

uint64_t map_identity(struct tables *tables, uint64_t start, uint64_t end, unsigned int levels,
		      unsigned int leaf)
{
	uint64_t step = PAGE_SIZE << 9 * leaf, root = new_table(tables), va;
	unsigned int level;

	for (va = start & ~(step - 1); root && va < end; va += step) {
		uint64_t *pte = (uint64_t *)root;

		for (level = levels - 1;; level--) {
			pte += va >> (12 + 9 * level) & 511;
			if (level == leaf)
				break;
			if (!*pte) {
				uint64_t t = new_table(tables);

				if (!t)
					return 0;
				*pte = t >> 12 << 10 | PTE_V;
			}
			pte = (uint64_t *)(*pte >> 10 << 12);
		}
		*pte = va >> 12 << 10 | PTE_LEAF;
	}
	return root;
}

bool set_satp(uint64_t root, unsigned int levels)
{
	uint64_t want = levels ? (uint64_t)(levels + 5) << SATP_MODE_SHIFT | root >> 12 : 0;
	uint64_t have;

	__asm__ volatile("sfence.vma\n\tcsrw satp, %1\n\tsfence.vma\n\tcsrr %0, satp"
			 : "=r"(have)
			 : "r"(want)
			 : "memory");
	return have == want;
}

/* --- life ------------------------------------------------------------------- */

void guest_end(bool good)
{
	set_satp(0, 0);
	sbi_call(SBI_SRST, 0, SRST_SHUTDOWN, good ? SRST_NO_REASON : SRST_FAILURE);
	print("guest: this machine has no power-off\n");
}

void guest_start(uint64_t hart, uint64_t fdt)
{
	struct guest guest = {.bootargs = ""};
	uint64_t behind = (uint64_t)_image_end;
	uint32_t size = read_fdt((const unsigned char *)fdt, &guest);

	(void)hart;
	if (!size || !guest.nr_ram || !guest.timebase) {
		print("guest: no device tree, or no memory or timebase in it\n");
		guest_end(false);
		return;
	}
	if (fdt + size > behind)
		behind = fdt + size;
	guest.free = (behind + 2 * MIB - 1) & ~(2 * MIB - 1);
	guest_end(guest_main(&guest));
}

void guest_trap(uint64_t cause, uint64_t pc, uint64_t value)
{
	print("guest: trap: scause %x sepc %x stval %x\n", cause, pc, value);
	guest_end(false);
}
