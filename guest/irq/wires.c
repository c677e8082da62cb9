// SPDX-License-Identifier: GPL-2.0-only
/*
 * irq: interrupt lines of devices, the same checks on both chips.
 *
 * A wire is the serial port's, which is up from the moment that the transmitter's
 * interrupt is enabled until IIR is read, or a disk's, up from the end of a request
 * until the interrupt status is acknowledged (PCI: read). On PCI two disks share a
 * line, as the slots' pins are swizzled over four.
 */
#include "irq.h"

#define UART_IER 1
#define UART_IIR 2
#define IER_THRE 2

#define IIR_NONE 1

#define BLK_GET_ID 8
#define COMMON_QUEUE_VECTOR 0x1a

/* --- raising and lowering ------------------------------------------------------- */

static void serial_raise(struct wire *w)
{
	wr8(w->base + UART_IER, 0);
	wr8(w->base + UART_IER, IER_THRE);
}

static bool serial_lower(struct wire *w)
{
	return !(rd8(w->base + UART_IIR) & IIR_NONE);
}

static void disk_raise(struct wire *w)
{
	v_offer(&w->v->ring[0], 0);
	v_notify(w->v, 0);
}

static bool disk_lower(struct wire *w)
{
	bool up = v_interrupt(w->v);

	while (v_get(&w->v->ring[0], NULL, NULL))
		;
	return up;
}

/* --- finding -------------------------------------------------------------------- */

static uint32_t source_of(struct bench *b, const struct vdev *v)
{
	const struct guest *guest = b->guest;
	size_t i;

	if (!v->base)
		return guest->pci_irq[(v->function - guest->ecam.base) >> 15 & 3];
	for (i = 0; i < guest->nr_virtio; i++)
		if (guest->virtio[i] == v->base)
			return guest->virtio_irq[i];
	return 0;
}

bool ready_disk(struct bench *b, struct vdev *v, bool vector)
{
	volatile uint32_t *header = vbus_pages(&b->bus, 1);

	if (!header || !v_begin(v, 0) || !v_queue(v, &b->bus, 0, 4))
		return false;
	header[0] = BLK_GET_ID;
	v_desc(&v->ring[0], 0, header, 16, VD_NEXT, 1);
	v_desc(&v->ring[0], 1, header + 16, 20, VD_NEXT | VD_WRITE, 2);
	v_desc(&v->ring[0], 2, header + 32, 1, VD_WRITE, 0);
	if (vector) {
		/* This selects the queue. */
		v_queue_max(v, 0);
		wr16(v->common + COMMON_QUEUE_VECTOR, 0);
		if (rd16(v->common + COMMON_QUEUE_VECTOR))
			return false;
	}
	v_set_status(v, V_RUNS);
	return v_status(v) == V_RUNS;
}

bool find_wires(struct bench *b)
{
	static const char *const names[] = {"disk0", "disk1", "disk2", "disk3", "disk4"};
	struct vdev *v;
	size_t i;

	b->wire[0] = (struct wire){.name = "serial",
				   .source = b->guest->serial_irq,
				   .base = b->guest->serial,
				   .raise = serial_raise,
				   .lower = serial_lower};
	b->nr_wires = 1;
	if (!b->guest->serial || !b->wire[0].source)
		return false;
	wr8(b->guest->serial + UART_IER, 0);
	vbus_find(&b->bus, b->guest, b->pci);
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct wire *w = &b->wire[b->nr_wires];

		v = vbus_device(&b->bus, V_ID_BLK, (unsigned int)i);
		if (!v)
			break;
		*w = (struct wire){.name = names[i],
				   .source = source_of(b, v),
				   .v = v,
				   .raise = disk_raise,
				   .lower = disk_lower};
		if (!w->source || !ready_disk(b, v, false))
			return false;
		b->nr_wires++;
	}
	for (i = 0; i < b->nr_wires; i++) {
		b->wire[i].id = b->chip->identity(b->wire[i].source);
		if (b->wire[i].id >= MAX_IDS)
			return false;
		print("# %s has interrupt source %u\n", b->wire[i].name,
		      (uint64_t)b->wire[i].source);
	}
	return b->nr_wires > 2;
}

/* --- checks --------------------------------------------------------------------- */

static void begin(struct bench *b, struct wire *w, uint64_t hart)
{
	w->serve = NULL;
	w->hold = 0;
	b->by_id[w->id] = w;
	b->chip->route(b, w->source, hart);
	forget(b);
}

static bool taken(struct bench *b, const struct wire *w, uint64_t hart, uint32_t want)
{
	/* Too few, or then too many? */
	came(b, &b->hart[hart].count[w->id], want);
	settle(b);
	return only(b, w->id, hart, want);
}

static bool to_each(struct bench *b, struct wire *w)
{
	uint64_t h;

	for (h = 0; h < b->nr; h++) {
		begin(b, w, h);
		w->raise(w);
		if (!taken(b, w, h, 1))
			return false;
	}
	return true;
}

static bool held(struct bench *b, struct wire *w)
{
	uint64_t h = b->nr - 1;

	begin(b, w, h);
	w->hold = 3;
	w->raise(w);
	return taken(b, w, h, 4);
}

static bool raised_while_masked(struct bench *b, struct wire *w)
{
	uint64_t h;

	for (h = 0; h < b->nr; h++) {
		begin(b, w, h);
		b->chip->mask(b, w->source);
		w->raise(w);
		settle(b);
		if (!only(b, w->id, h, 0))
			return false;
		b->chip->unmask(b, w->source);
		if (!taken(b, w, h, 1))
			return false;
	}
	return true;
}

/* The device was raised while masked, and on another hart than before. */
static bool moved_while_masked(struct bench *b, struct wire *w)
{
	uint64_t h;

	for (h = 0; h < b->nr; h++) {
		begin(b, w, (h + 1) % b->nr);
		b->chip->mask(b, w->source);
		w->raise(w);
		settle(b);
		b->chip->route(b, w->source, h);
		if (!taken(b, w, h, 1))
			return false;
	}
	return true;
}

static void serve_by_masking(struct wire *w, struct hart *h)
{
	w->serve = NULL;
	h->bench->chip->mask(h->bench, w->source);
}

static bool held_over_mask(struct bench *b, struct wire *w)
{
	uint64_t h = b->nr / 2;

	begin(b, w, h);
	w->serve = serve_by_masking;
	w->raise(w);
	if (!taken(b, w, h, 1))
		return false;
	b->chip->unmask(b, w->source);
	return taken(b, w, h, 2);
}

/* The line is down again before it is unmasked: at most one interrupt, and it works on. */
static bool dropped_while_masked(struct bench *b, struct wire *w)
{
	uint32_t n;

	begin(b, w, 0);
	b->chip->mask(b, w->source);
	w->raise(w);
	settle(b);
	w->lower(w);
	b->chip->unmask(b, w->source);
	settle(b);
	n = b->hart[0].count[w->id];
	print("# %s: raised and lowered while masked: %u interrupts\n", w->name, (uint64_t)n);
	if (n > 1)
		return differs("interrupts", 0, n, 1);
	w->raise(w);
	return taken(b, w, 0, n + 1);
}

/* The next one goes to the next hart: else a hart would never come out of its handler. */
static void pass_on(struct wire *w, struct hart *h)
{
	h->bench->chip->route(h->bench, w->source, (h->id + 1) % h->bench->nr);
}

static void serve_flood(struct wire *w, struct hart *h)
{
	if (!w->lower(w))
		return;
	w->left--;
	pass_on(w, h);
	if (w->left)
		w->raise(w);
}

/* Nothing is lost while handlers and the boot hart move the interrupt as fast as can be. */
static bool flood(struct bench *b, struct wire *w)
{
	uint64_t begun = read_time(), moves = 0;
	struct watch watch = {0};

	begin(b, w, 0);
	w->left = b->flood;
	w->serve = serve_flood;
	w->raise(w);
	while (w->left && goes_on(b, &watch, w->left)) {
		moves++;
		b->chip->route(b, w->source, moves % b->nr);
		nap(b);
	}
	if (w->left)
		return differs("a flood is stuck, left after moves", moves, w->left, 0);
	begun = (read_time() - begun) * 1000000 / b->guest->timebase;
	/* Its last handler counts at its end. */
	watch = (struct watch){0};
	while (sum(b, w->id) < b->flood && goes_on(b, &watch, sum(b, w->id)))
		nap(b);
	print("# %s: %u interrupts, each moved, %u moves beside, %u us\n", w->name,
	      (uint64_t)b->flood, moves, begun);
	/* An APLIC may have sent two messages for one level, to the hart before and the one now. */
	return sum(b, w->id) >= b->flood ||
	       differs("interrupts of a flood", 0, sum(b, w->id), b->flood);
}

/* --- two on a line ----------------------------------------------------------------- */

/* One device for each interrupt: the other one's level brings the next. */
static void serve_one(struct wire *w, struct hart *h)
{
	(void)h;
	if (!v_interrupt(w->v))
		v_interrupt(w->partner->v);
}

static bool share(struct bench *b, struct wire *w)
{
	uint64_t h;

	for (h = 0; h < b->nr; h++) {
		begin(b, w, h);
		w->serve = serve_one;
		b->chip->mask(b, w->source);
		w->raise(w);
		w->partner->raise(w->partner);
		settle(b);
		b->chip->unmask(b, w->source);
		if (!taken(b, w, h, 2))
			return false;
		disk_lower(w);
		disk_lower(w->partner);
	}
	return true;
}

static void again(struct wire *w)
{
	if (!v_interrupt(w->v) || !v_get(&w->v->ring[0], NULL, NULL))
		return;
	w->left--;
	if (w->left)
		w->raise(w);
}

static void serve_both(struct wire *w, struct hart *h)
{
	again(w);
	again(w->partner);
	pass_on(w, h);
}

static bool shared_flood(struct bench *b, struct wire *w)
{
	struct wire *p = w->partner;
	struct watch watch = {0};
	uint64_t moves = 0;

	begin(b, w, 0);
	w->left = p->left = b->flood;
	w->serve = serve_both;
	w->raise(w);
	p->raise(p);
	while ((w->left || p->left) && goes_on(b, &watch, w->left + p->left)) {
		moves++;
		b->chip->route(b, w->source, moves % b->nr);
		nap(b);
	}
	print("# shared: %u requests, %u interrupts, %u moves beside\n", 2 * (uint64_t)b->flood,
	      (uint64_t)sum(b, w->id), moves);
	if (w->left || p->left)
		return differs("stuck, requests left", w->left, p->left, 0);
	settle(b);
	disk_lower(w);
	disk_lower(p);
	return true;
}

/* --- cost ------------------------------------------------------------------------ */

/* Whoever counts exits does so meanwhile. */
static void rest(struct bench *b, uint32_t nth)
{
	uint64_t until = read_time() + b->rest * b->guest->timebase;

	if (!b->rest)
		return;
	print("# rest %u\n", nth);
	while (read_time() < until)
		;
}

/*
 * What an interrupt of the serial port costs this hart beside the port's own registers:
 * taken, claimed, completed, nothing more to claim. The same is done with and without.
 */
void cost_checks(struct bench *b)
{
	struct wire *w = &b->wire[0];
	uint64_t without, with;
	uint32_t i;

	begin(b, w, 0);
	b->chip->mask(b, w->source);
	rest(b, 1);
	without = read_time();
	for (i = 0; i < b->flood; i++) {
		w->raise(w);
		w->lower(w);
	}
	without = read_time() - without;
	rest(b, 2);
	b->chip->unmask(b, w->source);
	settle(b);
	forget(b);
	rest(b, 3);
	with = read_time();
	for (i = 0; i < b->flood; i++)
		w->raise(w);
	with = read_time() - with;
	rest(b, 4);
	b->chip->mask(b, w->source);
	check(b, only(b, w->id, 0, b->flood), "cost: all came");
	print("# an interrupt costs %u ns, its device %u ns\n",
	      (with - without) * 1000 / (b->guest->timebase / 1000000) / b->flood,
	      without * 1000 / (b->guest->timebase / 1000000) / b->flood);
}

static void all_of(struct bench *b, bool (*play)(struct bench *b, struct wire *w), const char *name)
{
	bool good = true;
	size_t i;

	for (i = 0; i < b->nr_wires; i++) {
		good = play(b, &b->wire[i]) && good;
		b->chip->mask(b, b->wire[i].source);
		b->wire[i].lower(&b->wire[i]);
		if (!good) {
			print("# that was %s\n", b->wire[i].name);
			break;
		}
	}
	check(b, good, name);
}

void wire_checks(struct bench *b)
{
	size_t i, j;

	all_of(b, to_each, "lines: to each hart in turn");
	all_of(b, held, "lines: comes again while the level is held");
	all_of(b, raised_while_masked, "lines: raised while masked, comes when unmasked");
	all_of(b, moved_while_masked, "lines: raised while masked, comes where it was moved to");
	all_of(b, held_over_mask, "lines: held across mask and unmask");
	all_of(b, dropped_while_masked, "lines: raised and lowered while masked");
	all_of(b, flood, "lines: a flood, moved from hart to hart");
	for (i = 0; i < b->nr_wires; i++) {
		for (j = i + 1; j < b->nr_wires; j++) {
			struct wire *w = &b->wire[i];

			if (w->source != b->wire[j].source)
				continue;
			w->partner = &b->wire[j];
			check(b, share(b, w), "lines: two devices on one");
			check(b, shared_flood(b, w), "lines: two devices flood one");
			b->chip->mask(b, w->source);
		}
	}
}
