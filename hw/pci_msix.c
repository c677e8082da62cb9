// SPDX-License-Identifier: GPL-2.0-only
/*
 * MSI-X: PCI Local Bus Specification 3.0, section 6.8.2 and 6.8.3.
 *
 * A vector can send where MSI-X is enabled, neither the function nor the vector is
 * masked, and the command register lets the function write (bus master). While it can,
 * and only then, it holds a route of the sink, which is kept equal to its table entry.
 * An event that can't be sent sets the vector's pending bit; it is sent when the vector
 * can send again. Any change goes through settle(), which makes that true for one
 * vector.
 *
 * A sink may refuse a message (no routes left, an address where nothing takes
 * messages): that is logged, the vector stays pending, and the next event or change
 * tries again. A message that it took a route for and then can't send is gone, as a store
 * of a number that no interrupt has is.
 *
 * Where there is no sink there is no capability, and no vector: a driver that enabled it
 * would wait for ever.
 *
 * An eventfd of somebody else's (vhost, a vhost-user back end) can stand for a vector's
 * events. It is attached to the vector's route as long as there is one, so the sink may
 * send without a thread of lkvm's; while the vector is masked the device's own reader
 * finds the event in the eventfd and tells it here, where it becomes pending.
 *
 * The table is read and written by 4 or 8 aligned bytes, as the specification says
 * software must. Address bits 1:0 and all of vector control but bit 0 read as 0.
 *
 * Thread and lock: one mutex; the sink is called with it held. What is saved: table
 * and pending bits (enabled and masked are in configuration space). Loading gives all
 * routes back; resume gets new ones.
 */
#include "lkvm/hw/pci_msix.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CAP_SIZE 12
#define CAP_CONTROL 2
#define CAP_TABLE 4
#define CAP_PBA 8
/* The control register's high byte. */
#define CONTROL_ENABLE 0x80
#define CONTROL_MASK 0x40

#define ENTRY_ADDRESS_LOW 0
#define ENTRY_ADDRESS_HIGH 4
#define ENTRY_DATA 8
#define ENTRY_CONTROL 12

static void power_on(struct msix_entry *entries, unsigned int nr)
{
	while (nr--)
		entries[nr] = (struct msix_entry){.masked = true};
}

static void free_arrays(struct pci_msix *msix)
{
	free(msix->entries);
	free(msix->handles);
	free(msix->sources);
	free(msix->counts);
	msix->entries = NULL;
	msix->handles = NULL;
	msix->sources = NULL;
	msix->counts = NULL;
}

static int make_arrays(struct pci_msix *msix, unsigned int nr)
{
	unsigned int i;

	msix->entries = calloc(nr, sizeof(*msix->entries));
	msix->handles = calloc(nr, sizeof(*msix->handles));
	msix->sources = calloc(nr, sizeof(*msix->sources));
	msix->counts = calloc(nr, sizeof(*msix->counts));
	if (!msix->entries || !msix->handles || !msix->sources || !msix->counts)
		return -ENOMEM;
	msix->nr = nr;
	msix->nr_sources = nr;
	power_on(msix->entries, nr);
	for (i = 0; i < nr; i++) {
		msix->handles[i] = MSI_NONE;
		msix->sources[i].fd = -1;
	}
	return 0;
}

static int add_capability(struct pci_msix *msix, uint32_t table, uint32_t pba)
{
	struct pci_function *fn = msix->fn;

	msix->cap = pci_add_capability(fn, PCI_CAP_ID_MSIX, CAP_SIZE);
	if (!msix->cap)
		return -ENOSPC;
	pci_put(fn, msix->cap + CAP_CONTROL, msix->nr - 1, 2);
	fn->writable[msix->cap + CAP_CONTROL + 1] = CONTROL_ENABLE | CONTROL_MASK;
	pci_put(fn, msix->cap + CAP_TABLE, table, 4);
	pci_put(fn, msix->cap + CAP_PBA, pba, 4);
	return 0;
}

int pci_msix_init(struct pci_msix *msix, struct pci_function *fn, unsigned int nr, unsigned int bar,
		  uint32_t table, uint32_t pba, struct msi_sink *sink, struct log *log)
{
	int ret = 0;

	*msix = (struct pci_msix){.fn = fn, .sink = sink, .log = log};
	if (!nr || nr > PCI_MSIX_MAX_VECTORS || bar >= PCI_BARS || table % 8 || pba % 8)
		return -EINVAL;
	if (sink)
		ret = make_arrays(msix, nr);
	if (sink && !ret)
		ret = add_capability(msix, table | bar, pba | bar);
	if (!ret && pthread_mutex_init(&msix->lock, NULL))
		ret = -ENOMEM;
	if (ret)
		free_arrays(msix);
	return ret;
}

void pci_msix_limit(struct pci_msix *msix, unsigned int nr)
{
	if (!nr || nr >= msix->nr)
		return;
	msix->nr = nr;
	pci_put(msix->fn, msix->cap + CAP_CONTROL, nr - 1, 2);
}

/* --- one vector ---------------------------------------------------------------- */

/* Attach or detach eventfd @fd, where the vector has a route and the sink can do that. */
static void connect_fd(struct pci_msix *msix, unsigned int vector, int fd, bool on)
{
	if (fd < 0 || vector >= msix->nr || msix->handles[vector] == MSI_NONE ||
	    !msix->sink->ops->attach)
		return;
	if (on)
		msix->sink->ops->attach(msix->sink, msix->handles[vector], fd);
	else
		msix->sink->ops->detach(msix->sink, msix->handles[vector], fd);
	msix->changed = true;
}

static void connect_all(struct pci_msix *msix, unsigned int vector, bool on)
{
	unsigned int i;

	for (i = 0; i < msix->nr_sources; i++)
		if (msix->sources[i].vector == vector)
			connect_fd(msix, vector, msix->sources[i].fd, on);
}

static void release(struct pci_msix *msix, unsigned int vector)
{
	if (msix->handles[vector] == MSI_NONE)
		return;
	connect_all(msix, vector, false);
	msix->sink->ops->release(msix->sink, msix->handles[vector]);
	msix->handles[vector] = MSI_NONE;
}

/* All changes by one call, and unlock. */
static void leave(struct pci_msix *msix)
{
	if (msix->changed && msix->sink->ops->commit)
		msix->sink->ops->commit(msix->sink);
	msix->changed = false;
	pthread_mutex_unlock(&msix->lock);
}

/* Give the sink the entry's message; false: it does not take it. */
static bool route(struct pci_msix *msix, unsigned int vector)
{
	const struct msix_entry *e = &msix->entries[vector];
	bool had = msix->handles[vector] != MSI_NONE;
	int ret = msix->sink->ops->update(msix->sink, &msix->handles[vector], e->address, e->data);

	if (!ret) {
		if (!had)
			connect_all(msix, vector, true);
		msix->changed = true;
		return true;
	}
	/* Not to where the message went before. */
	release(msix, vector);
	if (msix->log)
		log_ratelimited(msix->log, &msix->refused, LOG_LEVEL_WARNING,
				"%s: MSI-X vector %u: nothing takes a message to 0x%llx: %s",
				msix->fn->name, vector, (unsigned long long)e->address,
				strerror(-ret));
	return false;
}

static bool can_send(const struct pci_msix *msix, const struct msix_entry *e)
{
	return msix->enabled && msix->master && !msix->masked && !e->masked;
}

/*
 * Have a route where the vector can send and only there; send what is pending.
 * @fresh: the message changed, or may have.
 */
static void settle(struct pci_msix *msix, unsigned int vector, bool fresh)
{
	struct msix_entry *e = &msix->entries[vector];

	if (!can_send(msix, e)) {
		release(msix, vector);
		return;
	}
	if ((fresh || msix->handles[vector] == MSI_NONE) && !route(msix, vector))
		return;
	if (e->pending && !msix->sink->ops->send(msix->sink, e->address, e->data))
		msix->counts[vector].sent++;
	e->pending = false;
}

static void settle_all(struct pci_msix *msix)
{
	unsigned int i;

	for (i = 0; i < msix->nr; i++) {
		/* Who disables MSI-X is not to find old events when it is enabled again. */
		if (!msix->enabled)
			msix->entries[i].pending = false;
		settle(msix, i, false);
	}
}

void pci_msix_fire(struct pci_msix *msix, unsigned int vector)
{
	pthread_mutex_lock(&msix->lock);
	if (msix->enabled || msix->loaded) {
		msix->counts[vector].fired++;
		msix->entries[vector].pending = true;
		settle(msix, vector, false);
	}
	leave(msix);
}

void pci_msix_bind(struct pci_msix *msix, unsigned int source, unsigned int vector, int fd)
{
	struct msix_source *s;

	if (source >= msix->nr_sources)
		return;
	pthread_mutex_lock(&msix->lock);
	s = &msix->sources[source];
	if (s->fd != fd || s->vector != vector) {
		connect_fd(msix, s->vector, s->fd, false);
		*s = (struct msix_source){fd, vector};
		connect_fd(msix, vector, fd, true);
	}
	leave(msix);
}

static void stat_vector(const struct stat_sink *sink, const char *owner, unsigned int vector,
			const struct msix_count *count, bool may_send, bool by_fd)
{
	if (!count->fired && !may_send)
		return;
	stat_part(sink, owner, "vector", vector, "fired", count->fired);
	stat_part(sink, owner, "vector", vector, "sent", count->sent);
	stat_part(sink, owner, "vector", vector, "can_send", may_send);
	stat_part(sink, owner, "vector", vector, "by_eventfd", by_fd);
}

void pci_msix_stat(struct pci_msix *msix, const char *owner, const struct stat_sink *sink)
{
	unsigned int vector, i;

	for (vector = 0; vector < msix->nr; vector++) {
		bool may_send, by_fd = false;
		struct msix_count count;

		pthread_mutex_lock(&msix->lock);
		count = msix->counts[vector];
		may_send = can_send(msix, &msix->entries[vector]);
		for (i = 0; i < msix->nr_sources; i++)
			by_fd |= msix->sources[i].fd >= 0 && msix->sources[i].vector == vector;
		pthread_mutex_unlock(&msix->lock);
		stat_vector(sink, owner, vector, &count, may_send, by_fd);
	}
}

static uint8_t control(const struct pci_msix *msix, const uint8_t *config)
{
	return msix->cap ? config[msix->cap + CAP_CONTROL + 1] : 0;
}

bool pci_msix_enabled(const struct pci_msix *msix, const uint8_t *config)
{
	return control(msix, config) & CONTROL_ENABLE;
}

bool pci_msix_pending(struct pci_msix *msix)
{
	bool pending = false;
	unsigned int i;

	pthread_mutex_lock(&msix->lock);
	for (i = 0; i < msix->nr && !pending; i++)
		pending = msix->entries[i].pending;
	pthread_mutex_unlock(&msix->lock);
	return pending;
}

bool pci_msix_config(struct pci_msix *msix)
{
	bool enabled = pci_msix_enabled(msix, msix->fn->config);
	bool masked = control(msix, msix->fn->config) & CONTROL_MASK;
	bool master = pci_command(msix->fn) & PCI_COMMAND_MASTER;

	pthread_mutex_lock(&msix->lock);
	msix->loaded = false;
	if (enabled != msix->enabled || masked != msix->masked || master != msix->master) {
		msix->enabled = enabled;
		msix->masked = masked;
		msix->master = master;
		settle_all(msix);
	}
	leave(msix);
	return enabled;
}

/* --- table and pending bits --------------------------------------------------------- */

static uint32_t read_word(const struct msix_entry *e, unsigned int reg)
{
	switch (reg) {
	case ENTRY_ADDRESS_LOW:
		return (uint32_t)e->address;
	case ENTRY_ADDRESS_HIGH:
		return (uint32_t)(e->address >> 32);
	case ENTRY_DATA:
		return e->data;
	default:
		return e->masked;
	}
}

static void write_word(struct msix_entry *e, unsigned int reg, uint32_t value)
{
	switch (reg) {
	case ENTRY_ADDRESS_LOW:
		e->address = (e->address & ~(uint64_t)UINT32_MAX) | (value & ~3U);
		break;
	case ENTRY_ADDRESS_HIGH:
		e->address = (uint32_t)e->address | (uint64_t)value << 32;
		break;
	case ENTRY_DATA:
		e->data = value;
		break;
	default:
		e->masked = value & 1;
		break;
	}
}

static bool good(uint64_t offset, unsigned int size, uint64_t limit)
{
	return (size == 4 || size == 8) && !(offset % size) && offset < limit;
}

uint64_t pci_msix_table_read(struct pci_msix *msix, uint64_t offset, unsigned int size)
{
	uint64_t value = 0;
	unsigned int i;

	if (!good(offset, size, (uint64_t)msix->nr * PCI_MSIX_ENTRY))
		return 0;
	pthread_mutex_lock(&msix->lock);
	for (i = 0; i < size; i += 4)
		value |= (uint64_t)read_word(&msix->entries[offset / PCI_MSIX_ENTRY],
					     offset % PCI_MSIX_ENTRY + i)
			 << 8 * i;
	pthread_mutex_unlock(&msix->lock);
	return value;
}

void pci_msix_table_write(struct pci_msix *msix, uint64_t offset, uint64_t value, unsigned int size)
{
	unsigned int i, vector = (unsigned int)(offset / PCI_MSIX_ENTRY);
	struct msix_entry old;
	struct msix_entry *e;

	if (!good(offset, size, (uint64_t)msix->nr * PCI_MSIX_ENTRY))
		return;
	pthread_mutex_lock(&msix->lock);
	e = &msix->entries[vector];
	old = *e;
	for (i = 0; i < size; i += 4)
		write_word(e, offset % PCI_MSIX_ENTRY + i, (uint32_t)(value >> 8 * i));
	settle(msix, vector, e->address != old.address || e->data != old.data);
	leave(msix);
}

uint64_t pci_msix_pba_read(struct pci_msix *msix, uint64_t offset, unsigned int size)
{
	uint64_t value = 0;
	unsigned int i;

	if (!good(offset, size, align_up(msix->nr, 64) / 8))
		return 0;
	pthread_mutex_lock(&msix->lock);
	for (i = 0; i < 8 * size && 8 * offset + i < msix->nr; i++)
		value |= (uint64_t)msix->entries[8 * offset + i].pending << i;
	pthread_mutex_unlock(&msix->lock);
	return value;
}

/* --- life cycle ----------------------------------------------------------------------- */

static void release_all(struct pci_msix *msix)
{
	unsigned int i;

	for (i = 0; i < msix->nr; i++)
		release(msix, i);
}

void pci_msix_fini(struct pci_msix *msix)
{
	release_all(msix);
	pthread_mutex_destroy(&msix->lock);
	free_arrays(msix);
}

void pci_msix_reset(struct pci_msix *msix)
{
	pthread_mutex_lock(&msix->lock);
	release_all(msix);
	power_on(msix->entries, msix->nr);
	leave(msix);
	pci_msix_config(msix);
}

struct msix_entry *pci_msix_transfer(struct pci_msix *msix, struct xfer *x)
{
	/* One more: there may be none. */
	struct msix_entry *entries = calloc(msix->nr + 1, sizeof(*entries));
	uint32_t nr = msix->nr;
	unsigned int i;

	if (!entries) {
		x->failed = true;
		fail(&x->err, "%s: out of memory", msix->fn->name);
		return NULL;
	}
	pthread_mutex_lock(&msix->lock);
	for (i = 0; i < msix->nr; i++)
		entries[i] = msix->entries[i];
	pthread_mutex_unlock(&msix->lock);
	xfer_u32(x, &nr);
	xfer_check(x, nr == msix->nr, "MSI-X: another number of vectors");
	for (i = 0; i < msix->nr; i++) {
		xfer_u64(x, &entries[i].address);
		xfer_check(x, !(entries[i].address & 3), "MSI-X: an address that is not aligned");
		xfer_u32(x, &entries[i].data);
		xfer_bool(x, &entries[i].masked);
		xfer_bool(x, &entries[i].pending);
	}
	if (x->loading)
		return entries;
	free(entries);
	return NULL;
}

void pci_msix_load(struct pci_msix *msix, struct msix_entry *entries)
{
	pthread_mutex_lock(&msix->lock);
	release_all(msix);
	free(msix->entries);
	msix->entries = entries;
	/* Nothing is sent before the device's resume: until then events become pending. */
	msix->enabled = false;
	msix->loaded = true;
	leave(msix);
}
