// SPDX-License-Identifier: GPL-2.0-only
/*
 * The table of messages (include/lkvm/riscv/msi_table.h).
 *
 * A route needs nothing of KVM's while only lkvm sends its message: KVM_SIGNAL_MSI takes
 * address and data as they are. A route to which an eventfd is attached has a place (GSI)
 * in KVM's routing table besides. KVM replaces that table as a whole and waits for all
 * its readers, so changes are gathered and written by one call (msi_table_commit());
 * and a place that was given back keeps its message in KVM's table, where a route that
 * wants the same again finds it and writes nothing: a guest that masks and unmasks a
 * vector costs an eventfd's coming and going, and no table.
 *
 * Too many. Places are bounded by KVM_CAP_IRQ_ROUTING. Where none is left, or KVM refuses
 * a table or an eventfd, an eventfd stays unattached: then the loop reads it as it does
 * while a vector is masked, and lkvm sends the message. The guest that asks for too much
 * gets slower interrupts, and nobody else notices. It is tried again when something
 * changes.
 *
 * Thread and lock: one mutex, held across the calls of KVM, which sleep; nobody who sends a
 * message takes it. What is saved:
 * nothing; MSI-X tables are, and make all of this anew.
 */
#include "lkvm/riscv/msi_table.h"

#include "lkvm/msi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int msi_table_init(struct msi_table *t, struct log *log)
{
	memset(t, 0, sizeof(*t));
	t->log = log;
	return -pthread_mutex_init(&t->lock, NULL);
}

void msi_table_fini(struct msi_table *t)
{
	free(t->routes);
	free(t->gsis);
	free(t->fds);
	pthread_mutex_destroy(&t->lock);
}

void msi_table_open(struct msi_table *t, const struct kvm *kvm)
{
	uint32_t max = (uint32_t)kvm_check(kvm, KVM_CAP_IRQ_ROUTING);

	pthread_mutex_lock(&t->lock);
	t->kvm = kvm;
	t->max_gsis = max < MSI_TABLE_MAX ? max : MSI_TABLE_MAX;
	pthread_mutex_unlock(&t->lock);
}

void msi_table_close(struct msi_table *t)
{
	uint32_t i;

	pthread_mutex_lock(&t->lock);
	t->kvm = NULL;
	for (i = 0; i < t->nr_fds; i++)
		t->fds[i].attached = false;
	for (i = 0; i < t->nr_gsis; i++)
		t->gsis[i].known = false;
	t->waiting = t->nr_fds;
	pthread_mutex_unlock(&t->lock);
}

/* @array with twice as many elements, the new ones zero; false: no memory. */
static bool grow(void **array, uint32_t *nr, size_t size)
{
	uint32_t more = *nr ? 2 * *nr : 16;
	void *grown = realloc(*array, more * size);

	if (!grown)
		return false;
	memset((char *)grown + *nr * size, 0, (more - *nr) * size);
	*array = grown;
	*nr = more;
	return true;
}

/* --- KVM's table ------------------------------------------------------------------ */

static bool same(const struct msi_gsi *g, const struct msi_route *r)
{
	return g->address == r->address && g->data == r->data;
}

/* A free place: the one where KVM has the route's message already, or any. */
static uint32_t find_gsi(const struct msi_table *t, const struct msi_route *r)
{
	uint32_t i, best = MSI_NONE;

	for (i = 0; i < t->nr_gsis && i < t->max_gsis; i++) {
		const struct msi_gsi *g = &t->gsis[i];

		if (g->used)
			continue;
		if (g->known && same(g, r))
			return i;
		if (best == MSI_NONE || !g->known)
			best = i;
	}
	return best;
}

static bool take_gsi(struct msi_table *t, struct msi_route *r)
{
	uint32_t i = find_gsi(t, r), nr = t->nr_gsis;
	void *gsis = t->gsis;

	if (i == MSI_NONE && nr < t->max_gsis && grow(&gsis, &t->nr_gsis, sizeof(*t->gsis))) {
		t->gsis = gsis;
		i = nr;
	}
	if (i == MSI_NONE)
		return false;
	t->gsis[i].used = true;
	r->gsi = i;
	return true;
}

/* What KVM has at the route's place is the route's message, or will be. */
static void fill_gsi(struct msi_table *t, const struct msi_route *r)
{
	struct msi_gsi *g = &t->gsis[r->gsi];

	if (g->known && same(g, r))
		return;
	*g = (struct msi_gsi){r->address, r->data, false, true};
	t->stale = true;
}

static struct kvm_irq_routing_entry entry(uint32_t gsi, const struct msi_gsi *g)
{
	return (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_MSI,
		.u.msi = {.address_lo = (uint32_t)g->address,
			  .address_hi = (uint32_t)(g->address >> 32),
			  .data = g->data},
	};
}

/* Write the whole table; false: KVM's is still the old one. */
static bool write_table(struct msi_table *t)
{
	struct kvm_irq_routing *table;
	uint32_t i;
	int ret;

	table = calloc(1, sizeof(*table) + t->nr_gsis * sizeof(table->entries[0]));
	if (!table)
		return false;
	for (i = 0; i < t->nr_gsis; i++)
		if (t->gsis[i].used || t->gsis[i].known)
			table->entries[table->nr++] = entry(i, &t->gsis[i]);
	ret = kvm_set_routing(t->kvm, table);
	t->tables++;
	free(table);
	if (ret) {
		log_ratelimited(t->log, &t->complaints, LOG_LEVEL_WARNING,
				"KVM refused its table of interrupt routes: %s", strerror(-ret));
		return false;
	}
	for (i = 0; i < t->nr_gsis; i++)
		t->gsis[i].known = t->gsis[i].used || t->gsis[i].known;
	t->stale = false;
	return true;
}

/* --- routes ------------------------------------------------------------------------- */

int msi_table_update(struct msi_table *t, uint32_t *handle, uint64_t address, uint32_t data)
{
	uint32_t i = *handle;
	void *routes;
	int ret = 0;

	pthread_mutex_lock(&t->lock);
	if (i == MSI_NONE)
		for (i = 0; i < t->nr_routes && t->routes[i].used; i++)
			;
	routes = t->routes;
	if (i >= MSI_TABLE_MAX)
		ret = -ENOSPC;
	else if (i >= t->nr_routes && !grow(&routes, &t->nr_routes, sizeof(*t->routes)))
		ret = -ENOMEM;
	t->routes = routes;
	if (!ret) {
		struct msi_route *r = &t->routes[i];

		if (!r->used)
			r->gsi = MSI_NONE;
		r->used = true;
		r->address = address;
		r->data = data;
		if (r->gsi != MSI_NONE)
			fill_gsi(t, r);
		*handle = i;
	}
	pthread_mutex_unlock(&t->lock);
	return ret;
}

static void give_back_gsi(struct msi_table *t, struct msi_route *r)
{
	if (r->gsi != MSI_NONE)
		t->gsis[r->gsi].used = false;
	r->gsi = MSI_NONE;
}

void msi_table_release(struct msi_table *t, uint32_t handle)
{
	pthread_mutex_lock(&t->lock);
	if (handle < t->nr_routes) {
		give_back_gsi(t, &t->routes[handle]);
		t->routes[handle].used = false;
	}
	pthread_mutex_unlock(&t->lock);
}

/* --- eventfds ----------------------------------------------------------------------- */

void msi_table_attach(struct msi_table *t, uint32_t handle, int fd)
{
	void *fds;
	uint32_t i;

	pthread_mutex_lock(&t->lock);
	fds = t->fds;
	for (i = 0; i < t->nr_fds && t->fds[i].owner; i++)
		;
	if (i < t->nr_fds || grow(&fds, &t->nr_fds, sizeof(*t->fds))) {
		t->fds = fds;
		t->fds[i] = (struct msi_fd){handle + 1, fd, false};
		t->waiting = true;
	}
	pthread_mutex_unlock(&t->lock);
}

static bool has_fds(const struct msi_table *t, uint32_t handle)
{
	uint32_t i;

	for (i = 0; i < t->nr_fds; i++)
		if (t->fds[i].owner == handle + 1)
			return true;
	return false;
}

void msi_table_detach(struct msi_table *t, uint32_t handle, int fd)
{
	struct msi_route *r;
	uint32_t i;

	pthread_mutex_lock(&t->lock);
	for (i = 0; i < t->nr_fds; i++)
		if (t->fds[i].owner == handle + 1 && t->fds[i].fd == fd)
			break;
	if (i < t->nr_fds) {
		r = &t->routes[handle];
		if (t->fds[i].attached && t->kvm)
			kvm_irqfd(t->kvm, r->gsi, fd, false);
		t->fds[i] = (struct msi_fd){0};
		if (!has_fds(t, handle))
			give_back_gsi(t, r);
		/* There may be one that found no place. */
		t->waiting = true;
	}
	pthread_mutex_unlock(&t->lock);
}

/* Places for those who wait, as far as there are any. */
static void find_places(struct msi_table *t)
{
	uint32_t i;

	for (i = 0; i < t->nr_fds; i++) {
		struct msi_route *r;

		if (!t->fds[i].owner || t->fds[i].attached)
			continue;
		r = &t->routes[t->fds[i].owner - 1];
		if (r->gsi != MSI_NONE || take_gsi(t, r))
			fill_gsi(t, r);
	}
}

static void attach_one(struct msi_table *t, struct msi_fd *f)
{
	const struct msi_route *r = &t->routes[f->owner - 1];
	int ret = r->gsi == MSI_NONE ? -ENOSPC : kvm_irqfd(t->kvm, r->gsi, f->fd, true);

	f->attached = !ret;
	if (ret)
		log_ratelimited(t->log, &t->complaints, LOG_LEVEL_DEBUG,
				"an interrupt goes the long way, for KVM has no route for it: %s",
				strerror(-ret));
}

/* KVM did not take the table: nothing is to be sent by what it had there before. */
static void cut_off_unknown(struct msi_table *t)
{
	uint32_t i;

	for (i = 0; i < t->nr_fds; i++) {
		struct msi_fd *f = &t->fds[i];
		uint32_t gsi = f->attached ? t->routes[f->owner - 1].gsi : MSI_NONE;

		if (gsi == MSI_NONE || t->gsis[gsi].known)
			continue;
		kvm_irqfd(t->kvm, gsi, f->fd, false);
		f->attached = false;
		t->waiting = true;
	}
}

static void commit(struct msi_table *t)
{
	uint32_t i;

	if (t->waiting)
		find_places(t);
	if (t->stale && !write_table(t)) {
		cut_off_unknown(t);
		return;
	}
	for (i = 0; t->waiting && i < t->nr_fds; i++)
		if (t->fds[i].owner && !t->fds[i].attached)
			attach_one(t, &t->fds[i]);
	t->waiting = false;
}

void msi_table_commit(struct msi_table *t)
{
	pthread_mutex_lock(&t->lock);
	if (t->kvm)
		commit(t);
	pthread_mutex_unlock(&t->lock);
}

struct msi_table_count msi_table_count(struct msi_table *t)
{
	struct msi_table_count n = {0};
	uint32_t i;

	pthread_mutex_lock(&t->lock);
	n.tables = t->tables;
	for (i = 0; i < t->nr_routes; i++)
		n.routes += t->routes[i].used;
	for (i = 0; i < t->nr_gsis; i++)
		n.gsis += t->gsis[i].used;
	for (i = 0; i < t->nr_fds; i++) {
		n.eventfds += t->fds[i].owner != 0;
		n.irqfds += t->fds[i].attached;
	}
	pthread_mutex_unlock(&t->lock);
	return n;
}
