// SPDX-License-Identifier: GPL-2.0-only
/*
 * A PCI host bridge with one bus, as "pci-host-ecam-generic" describes it: PCI
 * Firmware Specification, ECAM (PCI Express 4.0, section 7.2.2), IEEE 1275 PCI binding.
 *
 * Configuration. Address bits 19:15 of the ECAM window name the slot, 14:12 the
 * function, 11:0 the register. An access of 1, 2 or 4 bytes inside one doubleword of
 * a function's 256 bytes is carried out; any other, and one to a function that is not
 * there, reads as all ones and does nothing.
 *
 * BARs. The windows are regions of the machine's bus for good; which BAR lies where in
 * them is this file's own table, because a configuration write changes it from inside
 * a dispatch of that bus. The table is a function of all configuration spaces alone,
 * not of what happened before: in the order of functions and BARs, each one that
 * decodes, lies wholly inside one window, and overlaps none that is already there,
 * is there. One that does not answers nowhere until some write makes it fit. So a BAR
 * can't be put over RAM, another device or a BAR of a lower function, a half-written
 * 64-bit address does no harm, and a loaded state finds the same table. A window reads
 * as all ones where no BAR is.
 *
 * A device that wants to know where its BAR lies (for a doorbell in KVM) is told of every
 * change: first all that went, then all that came, so that two may change places.
 *
 * Interrupts. The pin of a function drives line (slot + pin - 1) modulo 4, and a line
 * is the OR of its pins that the command register does not cut off.
 *
 * Places. Devices come one behind the other: slot 1 to 31, function 0; then function 1
 * of each. So what is added behind others moves none of them.
 *
 * Thread and lock: see include/lkvm/hw/pci.h. What is saved: the bridge's own
 * configuration space; each function's is its device's. Loading touches no line:
 * resume does.
 */
#include "lkvm/hw/pci.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/*
 * What guests know as a generic ECAM bridge that needs no driver: the ID that QEMU
 * gives its own (its docs/specs/pci-ids.rst).
 */
#define BRIDGE_VENDOR 0x1b36
#define BRIDGE_DEVICE 0x0008
#define BRIDGE_CLASS 0x060000

/* What a read gets where nothing answers. */
#define ALL_ONES UINT64_MAX

struct pci_window {
	struct pci_host *host;
	gpa_t base;
	uint64_t size;
};

/**
 * struct pci_mapped - a BAR that answers
 */
struct pci_mapped {
	gpa_t base;
	uint64_t size;
	struct pci_function *fn;
	unsigned int bar;
};

/**
 * struct pci_host - the bridge
 * @config_lock: all configuration spaces
 * @map_lock: @map, which is sorted; held in shared mode while a BAR is accessed
 * @lines_lock: @asserted (how many functions drive each line), and each function's pin
 */
struct pci_host {
	struct device dev;
	struct log *log;
	struct ratelimit refused;
	pthread_mutex_t config_lock;
	struct pci_function bridge;
	struct pci_function *functions[PCI_MAX_FUNCTIONS];
	unsigned int nr_devices;
	pthread_rwlock_t map_lock;
	struct pci_window windows[PCI_WINDOWS];
	struct pci_mapped map[PCI_MAX_FUNCTIONS * PCI_BARS];
	size_t nr_mapped;
	pthread_mutex_t lines_lock;
	struct irq_line lines[PCI_PINS];
	unsigned int asserted[PCI_PINS];
};

/* --- configuration accesses --------------------------------------------------- */

void pci_host_lock(struct pci_host *host)
{
	pthread_mutex_lock(&host->config_lock);
}

void pci_host_unlock(struct pci_host *host)
{
	pthread_mutex_unlock(&host->config_lock);
}

/* The function that an access is for, or NULL. */
static struct pci_function *target(struct pci_host *host, uint64_t offset, unsigned int size)
{
	uint64_t reg = offset % 4096;

	if (size > 4 || offset % 4 + size > 4 || reg >= PCI_CONFIG_SIZE)
		return NULL;
	return host->functions[offset / 4096 % PCI_MAX_FUNCTIONS];
}

static uint64_t ecam_read(void *dev, uint64_t offset, unsigned int size)
{
	struct pci_host *host = dev;
	struct pci_function *fn;
	uint64_t value = ALL_ONES;

	pci_host_lock(host);
	fn = target(host, offset, size);
	if (fn)
		value = pci_config_read(fn, offset % 4096, size);
	pci_host_unlock(host);
	return value;
}

static void ecam_write(void *dev, uint64_t offset, uint64_t value, unsigned int size)
{
	struct pci_host *host = dev;
	struct pci_function *fn;

	pci_host_lock(host);
	fn = target(host, offset, size);
	if (fn)
		pci_config_write(fn, offset % 4096, (uint32_t)value, size);
	pci_host_unlock(host);
}

const struct mmio_ops pci_ecam_ops = {
	.read = ecam_read,
	.write = ecam_write,
};

/* --- BARs ------------------------------------------------------------------------ */

static bool in_window(const struct pci_host *host, gpa_t base, uint64_t size)
{
	unsigned int i;

	for (i = 0; i < PCI_WINDOWS; i++) {
		const struct pci_window *w = &host->windows[i];

		if (base >= w->base && base - w->base < w->size &&
		    size <= w->size - (base - w->base))
			return true;
	}
	return false;
}

/* Index of the first BAR that starts above @gpa. */
static size_t upper_bound(const struct pci_host *host, gpa_t gpa)
{
	size_t lo = 0, hi = host->nr_mapped;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (host->map[mid].base <= gpa)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void map_bar(struct pci_host *host, struct pci_function *fn, unsigned int bar)
{
	struct pci_mapped m = {.size = fn->bars[bar].size, .fn = fn, .bar = bar};
	size_t i;

	if (!pci_bar_decodes(fn, bar, &m.base))
		return;
	i = upper_bound(host, m.base);
	if (!in_window(host, m.base, m.size) ||
	    (i && m.base - host->map[i - 1].base < host->map[i - 1].size) ||
	    (i < host->nr_mapped && host->map[i].base - m.base < m.size)) {
		if (host->log)
			log_ratelimited(host->log, &host->refused, LOG_LEVEL_DEBUG,
					"%s: BAR %u at 0x%llx is not in a window or overlaps "
					"another: it does not answer",
					fn->name, bar, (unsigned long long)m.base);
		return;
	}
	memmove(&host->map[i + 1], &host->map[i], (host->nr_mapped - i) * sizeof(m));
	host->map[i] = m;
	host->nr_mapped++;
	fn->bars[bar].will = true;
	fn->bars[bar].next = m.base;
}

static bool moves(const struct pci_bar *b)
{
	return b->here != b->will || (b->here && b->at != b->next);
}

static void tell_gone(struct pci_host *host, struct pci_function *fn, unsigned int bar)
{
	struct pci_bar *b = &fn->bars[bar];

	(void)host;
	if (!b->here || !moves(b))
		return;
	b->here = false;
	if (fn->ops->moved)
		fn->ops->moved(fn, bar, false, b->at);
}

static void tell_come(struct pci_host *host, struct pci_function *fn, unsigned int bar)
{
	struct pci_bar *b = &fn->bars[bar];

	(void)host;
	if (!b->will || !moves(b))
		return;
	b->here = true;
	b->at = b->next;
	if (fn->ops->moved)
		fn->ops->moved(fn, bar, true, b->at);
}

static void for_each_bar(struct pci_host *host,
			 void (*act)(struct pci_host *host, struct pci_function *fn,
				     unsigned int bar))
{
	unsigned int devfn, bar;

	for (devfn = 0; devfn < PCI_MAX_FUNCTIONS; devfn++)
		for (bar = 0; host->functions[devfn] && bar < PCI_BARS; bar++)
			act(host, host->functions[devfn], bar);
}

static void forget_bar(struct pci_host *host, struct pci_function *fn, unsigned int bar)
{
	(void)host;
	fn->bars[bar].will = false;
}

/* When it returns nobody is inside a BAR any more that answers no longer. */
void pci_host_remap(struct pci_host *host)
{
	pthread_rwlock_wrlock(&host->map_lock);
	host->nr_mapped = 0;
	for_each_bar(host, forget_bar);
	for_each_bar(host, map_bar);
	for_each_bar(host, tell_gone);
	for_each_bar(host, tell_come);
	pthread_rwlock_unlock(&host->map_lock);
}

bool pci_bar_at(struct pci_function *fn, unsigned int bar, gpa_t *gpa)
{
	struct pci_host *host = fn->host;
	bool found = false;
	size_t i;

	if (!host)
		return false;
	pthread_rwlock_rdlock(&host->map_lock);
	for (i = 0; i < host->nr_mapped && !found; i++) {
		found = host->map[i].fn == fn && host->map[i].bar == bar;
		*gpa = host->map[i].base;
	}
	pthread_rwlock_unlock(&host->map_lock);
	return found;
}

/* The BAR that holds all of an access, or NULL (map lock). */
static const struct pci_mapped *find(const struct pci_host *host, gpa_t gpa, unsigned int size)
{
	size_t i = upper_bound(host, gpa);
	const struct pci_mapped *m;
	uint64_t offset;

	if (!i)
		return NULL;
	m = &host->map[i - 1];
	offset = gpa - m->base;
	return offset < m->size && size <= m->size - offset ? m : NULL;
}

static uint64_t window_read(void *dev, uint64_t offset, unsigned int size)
{
	struct pci_window *w = dev;
	const struct pci_mapped *m;
	uint64_t value = ALL_ONES;

	pthread_rwlock_rdlock(&w->host->map_lock);
	m = find(w->host, w->base + offset, size);
	if (m)
		value = m->fn->ops->bar_read(m->fn, m->bar, w->base + offset - m->base, size);
	pthread_rwlock_unlock(&w->host->map_lock);
	return value;
}

static void window_write(void *dev, uint64_t offset, uint64_t value, unsigned int size)
{
	struct pci_window *w = dev;
	const struct pci_mapped *m;

	pthread_rwlock_rdlock(&w->host->map_lock);
	m = find(w->host, w->base + offset, size);
	if (m)
		m->fn->ops->bar_write(m->fn, m->bar, w->base + offset - m->base, value, size);
	pthread_rwlock_unlock(&w->host->map_lock);
}

const struct mmio_ops pci_window_ops = {
	.read = window_read,
	.write = window_write,
};

void *pci_host_window(struct pci_host *host, unsigned int index)
{
	return &host->windows[index];
}

/* --- lines -------------------------------------------------------------------------- */

/* The function's pin or its gate changed; @tell: the chip too (lines lock). */
static void drive(struct pci_function *fn, bool tell)
{
	struct pci_host *host = fn->host;
	bool wired = fn->intx && !fn->intx_disabled;
	unsigned int line = pci_line(fn->devfn / PCI_FUNCTIONS, fn->config[PCI_INTERRUPT_PIN]);

	if (wired == fn->wired)
		return;
	fn->wired = wired;
	if (wired)
		host->asserted[line]++;
	else
		host->asserted[line]--;
	if (tell && host->asserted[line] == wired)
		irq_line_set(&host->lines[line], wired);
}

void pci_intx(struct pci_function *fn, bool level)
{
	if (!fn->host)
		return;
	pthread_mutex_lock(&fn->host->lines_lock);
	fn->intx = level;
	drive(fn, true);
	pthread_mutex_unlock(&fn->host->lines_lock);
}

void pci_host_disable_intx(struct pci_function *fn, bool disabled)
{
	pthread_mutex_lock(&fn->host->lines_lock);
	fn->intx_disabled = disabled;
	drive(fn, true);
	pthread_mutex_unlock(&fn->host->lines_lock);
}

bool pci_host_intx_state(struct pci_function *fn)
{
	bool state;

	pthread_mutex_lock(&fn->host->lines_lock);
	state = fn->intx;
	pthread_mutex_unlock(&fn->host->lines_lock);
	return state;
}

void pci_host_load_intx(struct pci_function *fn, bool intx, bool disabled)
{
	pthread_mutex_lock(&fn->host->lines_lock);
	fn->intx = intx;
	fn->intx_disabled = disabled;
	drive(fn, false);
	pthread_mutex_unlock(&fn->host->lines_lock);
}

/* --- who is on the bus ---------------------------------------------------------------- */

static void put_on_bus(struct pci_host *host, struct pci_function *fn, unsigned int devfn)
{
	fn->host = host;
	fn->devfn = devfn;
	if (devfn)
		fn->config[PCI_INTERRUPT_PIN] = (uint8_t)(1 + devfn % PCI_FUNCTIONS % PCI_PINS);
	memcpy(fn->power_on, fn->config, sizeof(fn->power_on));
	host->functions[devfn] = fn;
}

int pci_attach(struct pci_host *host, struct pci_function *fn)
{
	unsigned int slot = 1 + host->nr_devices % (PCI_SLOTS - 1);
	unsigned int function = host->nr_devices / (PCI_SLOTS - 1);
	struct pci_function *first = host->functions[slot * PCI_FUNCTIONS];

	if (host->nr_devices >= PCI_MAX_DEVICES)
		return -ENOSPC;
	pci_host_lock(host);
	host->nr_devices++;
	put_on_bus(host, fn, slot * PCI_FUNCTIONS + function);
	if (function && first) {
		first->config[PCI_HEADER_TYPE] |= PCI_HEADER_MULTI_FUNCTION;
		first->power_on[PCI_HEADER_TYPE] |= PCI_HEADER_MULTI_FUNCTION;
	}
	pci_host_unlock(host);
	return 0;
}

void pci_detach(struct pci_function *fn)
{
	struct pci_host *host = fn->host;

	if (!host)
		return;
	pci_intx(fn, false);
	pci_host_lock(host);
	fn->config[PCI_COMMAND] &= (uint8_t)~PCI_COMMAND_MEMORY;
	pci_host_remap(host);
	host->functions[fn->devfn] = NULL;
	fn->host = NULL;
	pci_host_unlock(host);
}

/* --- life cycle --------------------------------------------------------------------------- */

static void host_resume(struct device *dev)
{
	struct pci_host *host = container_of(dev, struct pci_host, dev);
	unsigned int i;

	pthread_mutex_lock(&host->lines_lock);
	/* After a load the lines may stand anywhere. */
	for (i = 0; i < PCI_PINS; i++)
		irq_line_set(&host->lines[i], host->asserted[i]);
	pthread_mutex_unlock(&host->lines_lock);
}

static void host_transfer(struct device *dev, struct xfer *x)
{
	struct pci_host *host = container_of(dev, struct pci_host, dev);
	uint8_t config[PCI_CONFIG_SIZE];

	pci_function_transfer(&host->bridge, x, config);
	if (xfer_commit(x))
		pci_function_load(&host->bridge, config, false);
}

static void host_reset(struct device *dev)
{
	pci_function_reset(&container_of(dev, struct pci_host, dev)->bridge);
}

static void host_destroy(struct device *dev)
{
	struct pci_host *host = container_of(dev, struct pci_host, dev);

	pthread_mutex_destroy(&host->lines_lock);
	pthread_rwlock_destroy(&host->map_lock);
	pthread_mutex_destroy(&host->config_lock);
	free(host);
}

static const struct device_ops host_device_ops = {
	.kind = "pci-host",
	.resume = host_resume,
	.transfer = host_transfer,
	.reset = host_reset,
	.destroy = host_destroy,
};

static bool init_locks(struct pci_host *host)
{
	if (pthread_mutex_init(&host->config_lock, NULL))
		return false;
	if (!pthread_rwlock_init(&host->map_lock, NULL)) {
		if (!pthread_mutex_init(&host->lines_lock, NULL))
			return true;
		pthread_rwlock_destroy(&host->map_lock);
	}
	pthread_mutex_destroy(&host->config_lock);
	return false;
}

struct pci_host *pci_host_create(const struct pci_host_config *config)
{
	static const struct pci_function_ops bridge_ops = {0};
	static const struct pci_id bridge = {
		.vendor = BRIDGE_VENDOR, .device = BRIDGE_DEVICE, .class = BRIDGE_CLASS};
	struct pci_host *host = calloc(1, sizeof(*host));
	unsigned int i;

	if (!host)
		return NULL;
	if (!init_locks(host)) {
		free(host);
		return NULL;
	}
	host->dev.ops = &host_device_ops;
	host->dev.name = config->name;
	host->log = config->log;
	for (i = 0; i < PCI_WINDOWS; i++)
		host->windows[i] =
			(struct pci_window){host, config->windows[i].base, config->windows[i].size};
	memcpy(host->lines, config->lines, sizeof(host->lines));
	pci_function_init(&host->bridge, &bridge_ops, config->name, &bridge);
	put_on_bus(host, &host->bridge, 0);
	return host;
}

struct device *pci_host_device(struct pci_host *host)
{
	return &host->dev;
}
