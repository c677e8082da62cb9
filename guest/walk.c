// SPDX-License-Identifier: GPL-2.0-only
/*
 * walk: what a load costs that misses every TLB.
 *
 * Theory of operation: one word in each 4 KiB page of a piece of RAM holds the
 * address of the next one, all in one cycle in random order (Sattolo's shuffle,
 * SplitMix64 with a fixed seed: the same cycle in each run). Following it is a
 * chain of dependent loads, each in a page that was last seen as many loads ago as
 * there are pages. The word's place within its page varies, so that the words do
 * not share cache sets. The words are written and the page tables of every first
 * stage that is wanted are built before the first load that counts, so every
 * G-stage mapping is there. A pass goes on in the cycle where the last one stopped,
 * whatever its first stage. The clock is read every 128 loads: what takes the CPU
 * away for a while (the host's ticks, other work on an emulated host's machine)
 * falls into few of these pieces, and their median does not know of it.
 *
 * The command line says
 *
 *	walk.mib=N	RAM to walk (1024); 64 MiB more must be there for tables
 *	walk.loads=N	loads in a pass (one for each page), in whole 128
 *	walk.first=A,B	first stages: bare, sv39, sv48, sv57 with 4 KiB pages, or
 *			sv39:2m, sv48:2m, sv57:2m with 2 MiB pages (bare)
 *	walk.repeat=N	passes under each, in turn (3)
 *	walk.ask=1	instead: the console says, line by line, a first stage for
 *			one pass, or "quit"
 *
 * When it is ready it says "walk: N pages"; a pass is the line
 * "walk: first sv39 loads N ticks N hz N median N": the median for 128 loads.
 */
#include "guest.h"

#define TABLES_MIB 64
#define LINES (PAGE_SIZE / 64)
#define MAX_FIRST 8

/* A few loads before the clock is read: code and console are far away then. */
#define WARM_UP 64

#define PIECE 128
#define MAX_PIECES 2048

static const struct kind {
	const char *name;
	unsigned int levels, leaf;
} kinds[] = {
	{"bare", 0, 0},	   {"sv39", 3, 0},    {"sv48", 4, 0},	 {"sv57", 5, 0},
	{"sv39:2m", 3, 1}, {"sv48:2m", 4, 1}, {"sv57:2m", 5, 1},
};

struct first {
	const struct kind *kind;
	uint64_t root;
};

struct walk {
	const struct guest *guest;
	uint64_t loads;
	uint64_t *at;
	struct first firsts[MAX_FIRST];
	size_t nr;
	uint64_t ticks[MAX_PIECES];
};

static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static uint64_t *word_of(uint64_t buffer, uint64_t page)
{
	uint64_t state = page;

	return (uint64_t *)(buffer + page * PAGE_SIZE + next_random(&state) % LINES * 64);
}

/* One cycle through all pages. */
static void tie(uint64_t buffer, uint32_t *order, uint64_t pages)
{
	uint64_t i, j, state = 1;
	uint32_t t;

	for (i = 0; i < pages; i++)
		order[i] = (uint32_t)i;
	for (i = pages - 1; i > 0; i--) {
		j = next_random(&state) % i;
		t = order[i];
		order[i] = order[j];
		order[j] = t;
	}
	for (i = 0; i < pages; i++)
		*word_of(buffer, i) = (uint64_t)word_of(buffer, order[i]);
}

static uint64_t *follow(uint64_t *from, uint64_t loads)
{
	uint64_t *volatile *p = (uint64_t *volatile *)from;

	while (loads--)
		p = (uint64_t *volatile *)*p;
	return (uint64_t *)p;
}

static bool add_first(struct walk *w, const char *name, struct tables *tables, uint64_t end)
{
	struct first *f = &w->firsts[w->nr];
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (same(kinds[i].name, name))
			f->kind = &kinds[i];
	if (!f->kind || w->nr == MAX_FIRST - 1) {
		print("walk: walk.first: %s is unknown, or one too many\n", name);
		return false;
	}
	w->nr++;
	if (!f->kind->levels)
		return true;
	f->root = map_identity(tables, w->guest->ram[0].base, end, f->kind->levels, f->kind->leaf);
	if (!f->root)
		print("walk: no room for the page tables of %s\n", name);
	return f->root;
}

static bool add_firsts(struct walk *w, char *list, struct tables *tables, uint64_t end)
{
	while (*list) {
		char *name = list;

		while (*list && *list != ',')
			list++;
		if (*list)
			*list++ = '\0';
		if (!add_first(w, name, tables, end))
			return false;
	}
	return true;
}

static uint64_t median(uint64_t *v, size_t n)
{
	size_t i, j;

	for (i = 1; i < n; i++) {
		uint64_t t = v[i];

		for (j = i; j && v[j - 1] > t; j--)
			v[j] = v[j - 1];
		v[j] = t;
	}
	return v[n / 2];
}

static void pass(struct walk *w, const struct first *first)
{
	const struct kind *kind = first->kind;
	size_t i, n = w->loads / PIECE;
	uint64_t start, last, now;

	if (!set_satp(first->root, kind->levels)) {
		print("walk: first %s is not there\n", kind->name);
		return;
	}
	w->at = follow(w->at, WARM_UP);
	start = last = read_time();
	for (i = 0; i < n; i++) {
		w->at = follow(w->at, PIECE);
		now = read_time();
		w->ticks[i] = now - last;
		last = now;
	}
	set_satp(0, 0);
	print("walk: first %s loads %u ticks %u hz %u median %u\n", kind->name, w->loads,
	      last - start, w->guest->timebase, median(w->ticks, n));
}

static void ask(struct walk *w)
{
	char line[32];
	size_t i;

	for (;;) {
		read_line(w->guest, line, sizeof(line));
		if (same(line, "quit"))
			return;
		for (i = 0; i < w->nr && !same(w->firsts[i].kind->name, line); i++)
			;
		if (i < w->nr)
			pass(w, &w->firsts[i]);
		else
			print("walk: what is %s?\n", line);
	}
}

bool guest_main(const struct guest *guest)
{
	uint64_t bytes = option_number(guest, "walk.mib", 1024) * MIB;
	uint64_t pages = bytes / PAGE_SIZE;
	uint64_t repeat = option_number(guest, "walk.repeat", 3);
	uint64_t buffer = guest->ram[0].base + TABLES_MIB * MIB, end = buffer + bytes;
	static struct walk w;
	struct tables tables;
	char list[80] = "bare", word[4];
	size_t i;

	w.guest = guest;
	w.loads = option_number(guest, "walk.loads", pages);
	if (w.loads > MAX_PIECES * PIECE)
		w.loads = MAX_PIECES * PIECE;
	w.loads = w.loads < PIECE ? PIECE : w.loads / PIECE * PIECE;
	tables.next = (guest->free + 4 * pages + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
	tables.end = buffer;
	if (pages < 2 || tables.next > buffer || end > guest->ram[0].base + guest->ram[0].size) {
		print("walk: %u MiB are too few, or do not fit the RAM of %u MiB\n", bytes / MIB,
		      guest->ram[0].size / MIB);
		return false;
	}
	tie(buffer, (uint32_t *)guest->free, pages);
	w.at = word_of(buffer, 0);
	option(guest, "walk.first", list, sizeof(list));
	if (!add_firsts(&w, list, &tables, end))
		return false;
	print("walk: %u pages\n", pages);
	if (option(guest, "walk.ask", word, sizeof(word))) {
		ask(&w);
		return true;
	}
	while (repeat--)
		for (i = 0; i < w.nr; i++)
			pass(&w, &w.firsts[i]);
	return true;
}
