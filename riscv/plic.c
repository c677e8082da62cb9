// SPDX-License-Identifier: GPL-2.0-only
/*
 * The PLIC: RISC-V Platform-Level Interrupt Controller specification 1.0.0.
 *
 * Three parts, as in the specification:
 *
 * Gateway, one per source ("Interrupt Gateways"). It turns the wire into
 * requests, one at a time: while a request is pending or in service no other
 * is forwarded. A level gateway forwards when the wire goes up, and looks at
 * the wire again at completion; a level that drops earlier does not take the
 * request back. An edge gateway forwards on a rising edge; edges that come
 * while the request is still pending melt into it (its handler has yet to
 * run), and of those that come while it is in service one is remembered and
 * forwarded at completion. (The specification leaves the depth of that counter
 * open.)
 *
 * Core: pending bits, priorities (WARL, 0 to 7, 0 never interrupts), and per
 * context enables and a threshold (WARL, 0 to 7). A context's wire is up while
 * a source is pending, enabled there and of a priority above the threshold.
 *
 * Claim and complete. A claim takes the pending source of the highest priority
 * that is enabled in the context, the lowest number first among equals, and
 * moves it from pending to in service. By the text of "Interrupt Claim Process"
 * it "is not affected by the setting of the priority threshold register"; a
 * source of priority 0 is disabled and never claimed. A completion counts from
 * any context in which the source is enabled, whoever claimed it ("does not
 * check whether the completion ID is the same as the last claim ID"); it is
 * ignored where the source is not enabled, and also where it is not in
 * service: the gateway is not waiting for it then.
 *
 * Access: the registers are 32 bits wide and take aligned 32-bit accesses only,
 * as "Memory Map" says. All other widths and unaligned offsets, reserved
 * offsets, and sources and contexts that are not there read as 0 and ignore
 * writes.
 *
 * Cost. Claim and complete are two exits of every interrupt of every guest, so
 * no access looks at single sources one after the other. Beside the state there
 * are indexes, all derived: above[t] are the sources whose priority is greater
 * than t, so that "anything for this context?" is an AND of three bitmaps over
 * those words that have a pending bit at all (pending_words); targets[] lists
 * for a source the contexts that enable it, so that a change of one source
 * looks at those contexts only (one, with the way Linux routes interrupts).
 *
 * Reset drops all requests and all settings; the wires keep their levels, since
 * they belong to the devices. A level that is still up then is forwarded when
 * the guest gives its source a priority: before that it could not interrupt
 * anyone, and a device that lowers its wire in its own reset, which may come
 * after the PLIC's, leaves no stray request behind.
 *
 * Threads: one mutex around everything, as vCPU threads and device threads come
 * in at once. The output callback runs under it: the order in which outputs
 * change is the order in which they are told.
 *
 * Saved: wires, pending, in service, remembered edges, priorities, thresholds,
 * enables, and, to be compared, the numbers of sources and contexts and the
 * triggers, which come from the machine. Indexes and outputs are computed anew;
 * plic_drive_outputs() tells the world after a load. Claim counts are statistics
 * of this process and not saved.
 */
#include "lkvm/riscv/plic.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PENDING_BASE UINT64_C(0x1000)
#define ENABLE_BASE UINT64_C(0x2000)
#define ENABLE_STRIDE UINT64_C(0x80)
#define CONTEXT_BASE UINT64_C(0x200000)
#define CONTEXT_STRIDE UINT64_C(0x1000)
#define CONTEXT_THRESHOLD 0
#define CONTEXT_CLAIM 4
#define BITMAP_BYTES UINT64_C(0x80)

/* Priorities and thresholds have this many writable bits. */
#define PRIORITY_MASK PLIC_MAX_PRIORITY

/* Bitmaps over sources and over contexts both have at most 1024 bits. */
#define WORD_BITS 64
#define SOURCE_WORDS ((PLIC_MAX_SOURCES + 1) / WORD_BITS)
#define CONTEXT_WORDS (PLIC_MAX_CONTEXTS / WORD_BITS)

/**
 * struct plic_state - what is saved; all bitmaps over sources
 * @level: the wires
 * @pending: requests not claimed yet (the IP bits)
 * @claimed: requests in service; never pending at the same time
 * @latched: an edge was seen while in service
 */
struct plic_state {
	uint64_t level[SOURCE_WORDS];
	uint64_t pending[SOURCE_WORDS];
	uint64_t claimed[SOURCE_WORDS];
	uint64_t latched[SOURCE_WORDS];
	uint8_t priority[PLIC_MAX_SOURCES + 1];
	uint8_t threshold[PLIC_MAX_CONTEXTS];
	uint64_t enable[][SOURCE_WORDS]; /* one row per context */
};

struct plic {
	struct device dev;
	struct irq_chip chip;
	pthread_mutex_t lock;
	unsigned int sources, contexts;
	unsigned int context_words; /* words of a bitmap over the contexts there are */
	plic_output_fn output;
	void *opaque;
	struct log *log;
	struct ratelimit stray;

	uint64_t valid[SOURCE_WORDS]; /* sources that exist */
	uint64_t edge[SOURCE_WORDS];  /* their triggers */
	struct plic_state *state;

	/* Derived from state. */
	uint64_t above[PLIC_MAX_PRIORITY + 1][SOURCE_WORDS];
	uint32_t pending_words;	     /* bit w: pending[w] is not 0 */
	uint64_t *targets;	     /* context_words words for each source */
	uint64_t out[CONTEXT_WORDS]; /* wires that are up */

	uint64_t claims[PLIC_MAX_SOURCES + 1];
};

static bool get_bit(const uint64_t *map, unsigned int n)
{
	return map[n / WORD_BITS] >> (n % WORD_BITS) & 1;
}

static void put_bit(uint64_t *map, unsigned int n, bool on)
{
	uint64_t bit = UINT64_C(1) << (n % WORD_BITS);

	if (on)
		map[n / WORD_BITS] |= bit;
	else
		map[n / WORD_BITS] &= ~bit;
}

/* The number of the lowest bit, which it clears; @mask is not 0. */
static unsigned int take_lowest(uint64_t *mask)
{
	unsigned int n = (unsigned int)__builtin_ctzll(*mask);

	*mask &= *mask - 1;
	return n;
}

/* The 32-bit register @index of a bitmap. */
static uint32_t bitmap_reg(const uint64_t *map, unsigned int index)
{
	return (uint32_t)(map[index / 2] >> (index % 2 * 32));
}

static uint64_t *targets_of(struct plic *plic, unsigned int source)
{
	return plic->targets + (size_t)source * plic->context_words;
}

/* Should the wire of @context be up? */
static bool context_wants(const struct plic *plic, unsigned int context)
{
	const struct plic_state *s = plic->state;
	const uint64_t *enable = s->enable[context];
	const uint64_t *above = plic->above[s->threshold[context]];
	uint64_t words = plic->pending_words;

	while (words) {
		unsigned int w = take_lowest(&words);

		if (s->pending[w] & enable[w] & above[w])
			return true;
	}
	return false;
}

static void set_output(struct plic *plic, unsigned int context, bool level)
{
	if (get_bit(plic->out, context) == level)
		return;
	put_bit(plic->out, context, level);
	plic->output(plic->opaque, context, level);
}

/* @context's own registers changed. */
static void update_context(struct plic *plic, unsigned int context)
{
	set_output(plic, context, context_wants(plic, context));
}

/* The pending bit or the priority of @source changed: who enables it may hear of it. */
static void update_targets(struct plic *plic, unsigned int source)
{
	const uint64_t *targets = targets_of(plic, source);
	unsigned int i;

	for (i = 0; i < plic->context_words; i++) {
		uint64_t word = targets[i];

		while (word)
			update_context(plic, i * WORD_BITS + take_lowest(&word));
	}
}

static void set_pending(struct plic *plic, unsigned int source, bool on)
{
	uint64_t *pending = plic->state->pending;
	unsigned int w = source / WORD_BITS;

	put_bit(pending, source, on);
	if (pending[w])
		plic->pending_words |= 1U << w;
	else
		plic->pending_words &= ~(1U << w);
}

static bool gateway_busy(const struct plic *plic, unsigned int source)
{
	return get_bit(plic->state->pending, source) || get_bit(plic->state->claimed, source);
}

/* Is there a level that no request speaks for? Then forward one. */
static void gateway_sample(struct plic *plic, unsigned int source)
{
	if (get_bit(plic->state->level, source) && !get_bit(plic->edge, source) &&
	    !gateway_busy(plic, source))
		set_pending(plic, source, true);
}

static void plic_set_level(struct irq_chip *chip, uint32_t source, bool level)
{
	struct plic *plic = container_of(chip, struct plic, chip);
	struct plic_state *s;

	if (!source || source > plic->sources)
		return;
	pthread_mutex_lock(&plic->lock);
	s = plic->state;
	if (get_bit(s->level, source) != level) {
		put_bit(s->level, source, level);
		if (level && !gateway_busy(plic, source)) {
			set_pending(plic, source, true);
			update_targets(plic, source);
		} else if (level && get_bit(plic->edge, source) && get_bit(s->claimed, source)) {
			put_bit(s->latched, source, true);
		}
	}
	pthread_mutex_unlock(&plic->lock);
}

/* The source that a claim by @context takes, or 0. */
static unsigned int best_source(const struct plic *plic, unsigned int context)
{
	const struct plic_state *s = plic->state;
	const uint64_t *enable = s->enable[context];
	unsigned int priority;

	if (!plic->pending_words)
		return 0;
	for (priority = PLIC_MAX_PRIORITY; priority; priority--) {
		/* What was higher is known not to be there: this is "exactly priority". */
		const uint64_t *above = plic->above[priority - 1];
		uint64_t words = plic->pending_words;

		while (words) {
			unsigned int w = take_lowest(&words);
			uint64_t found = s->pending[w] & enable[w] & above[w];

			if (found)
				return w * WORD_BITS + take_lowest(&found);
		}
	}
	return 0;
}

static uint32_t claim(struct plic *plic, unsigned int context)
{
	unsigned int source = best_source(plic, context);

	if (!source)
		return 0;
	set_pending(plic, source, false);
	put_bit(plic->state->claimed, source, true);
	plic->claims[source]++;
	update_targets(plic, source);
	return source;
}

static void complete(struct plic *plic, unsigned int context, uint32_t source)
{
	struct plic_state *s = plic->state;

	/* Source 0 is never enabled. */
	if (source > plic->sources || !get_bit(s->enable[context], source) ||
	    !get_bit(s->claimed, source))
		return;
	put_bit(s->claimed, source, false);
	if (get_bit(s->latched, source)) {
		put_bit(s->latched, source, false);
		set_pending(plic, source, true);
	} else {
		gateway_sample(plic, source);
	}
	/* Not pending before; so nothing changed where it is not pending now. */
	if (get_bit(s->pending, source))
		update_targets(plic, source);
}

/* Bring the bitmaps by priority in line with @source's priority. */
static void index_priority(struct plic *plic, unsigned int source)
{
	unsigned int t;

	for (t = 0; t <= PLIC_MAX_PRIORITY; t++)
		put_bit(plic->above[t], source, plic->state->priority[source] > t);
}

static void write_priority(struct plic *plic, unsigned int source, uint32_t value)
{
	struct plic_state *s = plic->state;
	uint8_t priority = value & PRIORITY_MASK;

	if (!source || source > plic->sources || s->priority[source] == priority)
		return;
	s->priority[source] = priority;
	index_priority(plic, source);
	/* Finds something only after a reset with the wire up. */
	gateway_sample(plic, source);
	if (get_bit(s->pending, source))
		update_targets(plic, source);
}

static void write_enable(struct plic *plic, unsigned int context, unsigned int index,
			 uint32_t value)
{
	unsigned int w = index / 2, shift = index % 2 * 32;
	uint64_t *enable = &plic->state->enable[context][w];
	uint64_t now, changed;

	now = (*enable & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)value << shift;
	now &= plic->valid[w];
	changed = now ^ *enable;
	if (!changed)
		return;
	*enable = now;
	while (changed) {
		unsigned int bit = take_lowest(&changed);

		put_bit(targets_of(plic, w * WORD_BITS + bit), context, now >> bit & 1);
	}
	update_context(plic, context);
}

/* A guest driver's mistake is worth a line to whoever writes that driver. */
static void stray(struct plic *plic, const char *what, uint64_t offset, unsigned int size)
{
	if (plic->log)
		log_ratelimited(plic->log, &plic->stray, LOG_LEVEL_DEBUG,
				"%s: the guest's %s of %u bytes at offset 0x%llx is no register",
				plic->dev.name, what, size, (unsigned long long)offset);
}

static uint64_t plic_read(void *dev, uint64_t offset, unsigned int size)
{
	struct plic *plic = dev;
	struct plic_state *s;
	bool known = true;
	uint64_t value = 0, n;

	if (size != 4 || offset % 4 || offset >= PLIC_WINDOW) {
		stray(plic, "read", offset, size);
		return 0;
	}
	pthread_mutex_lock(&plic->lock);
	s = plic->state;
	if (offset < PENDING_BASE) {
		n = offset / 4;
		value = s->priority[n];
		known = n <= plic->sources;
	} else if (offset < PENDING_BASE + BITMAP_BYTES) {
		value = bitmap_reg(s->pending, (unsigned int)(offset - PENDING_BASE) / 4);
	} else if (offset >= CONTEXT_BASE) {
		n = (offset - CONTEXT_BASE) / CONTEXT_STRIDE;
		known = n < plic->contexts;
		if (known && offset % CONTEXT_STRIDE == CONTEXT_THRESHOLD)
			value = s->threshold[n];
		else if (known && offset % CONTEXT_STRIDE == CONTEXT_CLAIM)
			value = claim(plic, (unsigned int)n);
		else
			known = false;
	} else {
		n = offset < ENABLE_BASE ? UINT64_MAX : (offset - ENABLE_BASE) / ENABLE_STRIDE;
		known = n < plic->contexts;
		if (known)
			value = bitmap_reg(s->enable[n],
					   (unsigned int)(offset % ENABLE_STRIDE) / 4);
	}
	pthread_mutex_unlock(&plic->lock);
	if (!known)
		stray(plic, "read", offset, size);
	return value;
}

static void plic_write(void *dev, uint64_t offset, uint64_t value, unsigned int size)
{
	struct plic *plic = dev;
	uint32_t v = (uint32_t)value;
	bool known = true;
	uint64_t n;

	if (size != 4 || offset % 4 || offset >= PLIC_WINDOW) {
		stray(plic, "write", offset, size);
		return;
	}
	pthread_mutex_lock(&plic->lock);
	if (offset < PENDING_BASE) {
		n = offset / 4;
		known = n <= plic->sources;
		write_priority(plic, (unsigned int)n, v);
	} else if (offset < PENDING_BASE + BITMAP_BYTES) {
		/* The pending bits are read-only. */
	} else if (offset >= CONTEXT_BASE) {
		n = (offset - CONTEXT_BASE) / CONTEXT_STRIDE;
		known = n < plic->contexts;
		if (known && offset % CONTEXT_STRIDE == CONTEXT_THRESHOLD) {
			plic->state->threshold[n] = v & PRIORITY_MASK;
			update_context(plic, (unsigned int)n);
		} else if (known && offset % CONTEXT_STRIDE == CONTEXT_CLAIM) {
			complete(plic, (unsigned int)n, v);
		} else {
			known = false;
		}
	} else {
		n = offset < ENABLE_BASE ? UINT64_MAX : (offset - ENABLE_BASE) / ENABLE_STRIDE;
		known = n < plic->contexts;
		if (known)
			write_enable(plic, (unsigned int)n,
				     (unsigned int)(offset % ENABLE_STRIDE) / 4, v);
	}
	pthread_mutex_unlock(&plic->lock);
	if (!known)
		stray(plic, "write", offset, size);
}

static size_t state_size(const struct plic *plic)
{
	return sizeof(struct plic_state) + plic->contexts * sizeof(plic->state->enable[0]);
}

/* Compute all that is derived, but the outputs. */
static void build_indexes(struct plic *plic)
{
	struct plic_state *s = plic->state;
	unsigned int source, context, w;

	plic->pending_words = 0;
	for (w = 0; w < SOURCE_WORDS; w++)
		if (s->pending[w])
			plic->pending_words |= 1U << w;
	for (source = 1; source <= plic->sources; source++)
		index_priority(plic, source);
	memset(plic->targets, 0,
	       ((size_t)plic->sources + 1) * plic->context_words * sizeof(*plic->targets));
	for (context = 0; context < plic->contexts; context++) {
		for (w = 0; w < SOURCE_WORDS; w++) {
			uint64_t word = s->enable[context][w];

			while (word) {
				source = w * WORD_BITS + take_lowest(&word);
				put_bit(targets_of(plic, source), context, true);
			}
		}
	}
}

static void transfer_bitmap(struct xfer *x, uint64_t *map)
{
	unsigned int w;

	for (w = 0; w < SOURCE_WORDS; w++)
		xfer_u64(x, &map[w]);
}

/* Walk over all fields of @s; while loading refuses what a guest could not have made. */
static void transfer_state(struct plic *plic, struct plic_state *s, struct xfer *x)
{
	uint32_t sources = plic->sources, contexts = plic->contexts;
	uint64_t edge[SOURCE_WORDS];
	unsigned int i, w;

	xfer_u32(x, &sources);
	xfer_u32(x, &contexts);
	xfer_check(x, sources == plic->sources, "plic: another number of sources");
	xfer_check(x, contexts == plic->contexts, "plic: another number of contexts");
	memcpy(edge, plic->edge, sizeof(edge));
	transfer_bitmap(x, edge);
	xfer_check(x, !memcmp(edge, plic->edge, sizeof(edge)), "plic: other triggers");
	transfer_bitmap(x, s->level);
	transfer_bitmap(x, s->pending);
	transfer_bitmap(x, s->claimed);
	transfer_bitmap(x, s->latched);
	for (w = 0; w < SOURCE_WORDS; w++) {
		uint64_t all = s->level[w] | s->pending[w] | s->claimed[w] | s->latched[w];

		xfer_check(x, !(all & ~plic->valid[w]), "plic: a bit of a source not there");
		xfer_check(x, !(s->pending[w] & s->claimed[w]),
			   "plic: a source both pending and in service");
		xfer_check(x, !(s->latched[w] & ~(s->claimed[w] & plic->edge[w])),
			   "plic: an edge remembered outside service");
	}
	for (i = 1; i <= plic->sources; i++) {
		xfer_u8(x, &s->priority[i]);
		xfer_check(x, s->priority[i] <= PLIC_MAX_PRIORITY, "plic: a priority above 7");
	}
	for (i = 0; i < plic->contexts; i++) {
		xfer_u8(x, &s->threshold[i]);
		xfer_check(x, s->threshold[i] <= PLIC_MAX_PRIORITY, "plic: a threshold above 7");
		transfer_bitmap(x, s->enable[i]);
		for (w = 0; w < SOURCE_WORDS; w++)
			xfer_check(x, !(s->enable[i][w] & ~plic->valid[w]),
				   "plic: a source enabled that is not there");
	}
}

static void plic_transfer(struct device *dev, struct xfer *x)
{
	struct plic *plic = container_of(dev, struct plic, dev);
	struct plic_state *scratch, *old;
	unsigned int i;

	if (!x->loading) {
		pthread_mutex_lock(&plic->lock);
		transfer_state(plic, plic->state, x);
		pthread_mutex_unlock(&plic->lock);
		return;
	}
	scratch = calloc(1, state_size(plic));
	if (!scratch) {
		xfer_check(x, false, "plic: out of memory");
		return;
	}
	pthread_mutex_lock(&plic->lock);
	transfer_state(plic, scratch, x);
	old = scratch;
	if (xfer_commit(x)) {
		old = plic->state;
		plic->state = scratch;
		build_indexes(plic);
		for (i = 0; i < plic->contexts; i++)
			put_bit(plic->out, i, context_wants(plic, i));
	}
	pthread_mutex_unlock(&plic->lock);
	free(old);
}

static void plic_reset(struct device *dev)
{
	struct plic *plic = container_of(dev, struct plic, dev);
	uint64_t level[SOURCE_WORDS];
	unsigned int i;

	pthread_mutex_lock(&plic->lock);
	memcpy(level, plic->state->level, sizeof(level));
	memset(plic->state, 0, state_size(plic));
	memcpy(plic->state->level, level, sizeof(level));
	build_indexes(plic);
	for (i = 0; i < plic->contexts; i++)
		set_output(plic, i, false);
	pthread_mutex_unlock(&plic->lock);
}

static void plic_destroy(struct device *dev)
{
	struct plic *plic = container_of(dev, struct plic, dev);

	pthread_mutex_destroy(&plic->lock);
	free(plic->targets);
	free(plic->state);
	free(plic);
}

static void plic_stat(struct device *dev, const struct stat_sink *sink)
{
	struct plic *plic = container_of(dev, struct plic, dev);
	unsigned int i;

	for (i = 1; i <= plic->sources; i++) {
		uint64_t claimed = plic_source_count(plic, i);

		if (claimed)
			stat_part(sink, dev->name, "source", i, "claimed", claimed);
	}
}

static const struct device_ops plic_device_ops = {
	.kind = "plic",
	.transfer = plic_transfer,
	.reset = plic_reset,
	.stat = plic_stat,
	.destroy = plic_destroy,
};

static const struct irq_chip_ops plic_chip_ops = {
	.set_level = plic_set_level,
};

const struct mmio_ops plic_ops = {
	.read = plic_read,
	.write = plic_write,
};

struct plic *plic_create(const char *name, unsigned int sources, unsigned int contexts,
			 plic_output_fn output, void *opaque, struct log *log)
{
	struct plic *plic;
	unsigned int i;

	if (!sources || sources > PLIC_MAX_SOURCES || !contexts || contexts > PLIC_MAX_CONTEXTS)
		return NULL;
	plic = calloc(1, sizeof(*plic));
	if (!plic)
		return NULL;
	plic->dev.ops = &plic_device_ops;
	plic->dev.name = name;
	plic->chip.ops = &plic_chip_ops;
	plic->sources = sources;
	plic->contexts = contexts;
	plic->context_words = (contexts + WORD_BITS - 1) / WORD_BITS;
	plic->output = output;
	plic->opaque = opaque;
	plic->log = log;
	for (i = 1; i <= sources; i++)
		put_bit(plic->valid, i, true);
	plic->state = calloc(1, state_size(plic));
	plic->targets = calloc(((size_t)sources + 1) * plic->context_words, sizeof(*plic->targets));
	if (!plic->state || !plic->targets || pthread_mutex_init(&plic->lock, NULL)) {
		free(plic->targets);
		free(plic->state);
		free(plic);
		return NULL;
	}
	return plic;
}

struct device *plic_device(struct plic *plic)
{
	return &plic->dev;
}

struct irq_chip *plic_chip(struct plic *plic)
{
	return &plic->chip;
}

void plic_set_trigger(struct plic *plic, unsigned int source, enum plic_trigger trigger)
{
	if (!source || source > plic->sources)
		return;
	pthread_mutex_lock(&plic->lock);
	put_bit(plic->edge, source, trigger == PLIC_EDGE);
	if (trigger == PLIC_LEVEL) {
		put_bit(plic->state->latched, source, false);
		gateway_sample(plic, source);
		if (get_bit(plic->state->pending, source))
			update_targets(plic, source);
	}
	pthread_mutex_unlock(&plic->lock);
}

bool plic_is_threshold(uint64_t offset)
{
	return offset >= CONTEXT_BASE &&
	       offset < CONTEXT_BASE + PLIC_MAX_CONTEXTS * CONTEXT_STRIDE &&
	       offset % CONTEXT_STRIDE == CONTEXT_THRESHOLD;
}

void plic_drive_output(struct plic *plic, unsigned int context)
{
	if (context >= plic->contexts)
		return;
	pthread_mutex_lock(&plic->lock);
	plic->output(plic->opaque, context, get_bit(plic->out, context));
	pthread_mutex_unlock(&plic->lock);
}

void plic_drive_outputs(struct plic *plic)
{
	unsigned int i;

	pthread_mutex_lock(&plic->lock);
	for (i = 0; i < plic->contexts; i++)
		plic->output(plic->opaque, i, get_bit(plic->out, i));
	pthread_mutex_unlock(&plic->lock);
}

uint64_t plic_source_count(struct plic *plic, unsigned int source)
{
	uint64_t count;

	if (source > plic->sources)
		return 0;
	pthread_mutex_lock(&plic->lock);
	count = plic->claims[source];
	pthread_mutex_unlock(&plic->lock);
	return count;
}
