// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz the forwarded SBI calls: the input is a sequence of calls with any
 * registers, most of them near what exists.
 *
 * Besides what the sanitizers see: errors are ones the specification has, counts
 * never exceed what was asked, the console is given only what lies in RAM, and
 * what was refused moved no byte.
 */
#include "lkvm/riscv/sbi.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BASE UINT64_C(0x80000000)
#define SIZE (64 * KIB)

struct input {
	const uint8_t *data;
	size_t size;
};

struct world {
	const struct memory_region *low, *high;
	size_t room, waiting, moved;
};

static uint64_t take(struct input *in, unsigned int bytes)
{
	uint64_t v = 0;

	while (bytes-- && in->size) {
		v = v << 8 | *in->data++;
		in->size--;
	}
	return v;
}

static bool inside(const struct memory_region *r, const uint8_t *buf, size_t len)
{
	const uint8_t *base = r->hva;

	return buf >= base && len <= r->size && (size_t)(buf - base) <= r->size - len;
}

static size_t on_put(void *opaque, const uint8_t *buf, size_t len)
{
	struct world *w = opaque;
	size_t done = len < w->room ? len : w->room;
	uint8_t sum = 0;
	size_t i;

	if (len > 1 && !inside(w->low, buf, len) && !inside(w->high, buf, len))
		abort();
	for (i = 0; i < done; i++)
		sum ^= buf[i];
	w->room -= done;
	w->moved += done + (sum & 0);
	return done;
}

static size_t on_get(void *opaque, uint8_t *buf, size_t len)
{
	struct world *w = opaque;
	size_t done = len < w->waiting ? len : w->waiting;

	memset(buf, 'i', done);
	w->waiting -= done;
	w->moved += done;
	return done;
}

/* Interesting numbers, now and then any. */
static uint64_t number(struct input *in)
{
	switch (take(in, 1) % 12) {
	case 0:
		return 0;
	case 1:
		return BASE + take(in, 2);
	case 2:
		return BASE + SIZE - take(in, 1);
	case 3:
		return BASE + 2 * SIZE - take(in, 1);
	case 4:
		return take(in, 1);
	case 5:
		return take(in, 3);
	case 6:
		return UINT64_MAX - take(in, 1);
	case 7:
		return 0 - BASE + take(in, 1);
	case 8:
		return take(in, 4);
	case 9:
		return BASE - take(in, 1);
	default:
		return take(in, 8);
	}
}

static uint64_t extension(struct input *in)
{
	static const uint64_t known[] = {SBI_EID_PUTCHAR, SBI_EID_GETCHAR, SBI_EID_BASE,
					 SBI_EID_DBCN,	  SBI_EID_DBCN,	   SBI_EID_DBCN,
					 SBI_EID_SUSP};
	uint64_t pick = take(in, 1);

	return pick < 200 ? known[pick % ARRAY_SIZE(known)] : number(in);
}

static void check_dbcn(const struct world *w, uint64_t fid, uint64_t asked, int64_t error,
		       uint64_t value)
{
	if (error != SBI_SUCCESS && error != SBI_ERR_INVALID_PARAM &&
	    error != SBI_ERR_NOT_SUPPORTED)
		abort();
	if (error && (value || w->moved))
		abort();
	if (fid <= SBI_DBCN_READ && (value > asked || value != w->moved))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct guest_memory mem;
	struct world w = {.room = 0};
	struct sbi_env env = {.mem = &mem, .put = on_put, .get = on_get, .opaque = &w};
	struct error err;

	memory_init(&mem);
	if (!memory_add(&mem, BASE, SIZE, 4096, &err) ||
	    !memory_add(&mem, BASE + SIZE, SIZE, 4096, &err))
		abort();
	memory_log_dirty(&mem, true);
	w.low = &mem.regions[0];
	w.high = &mem.regions[1];
	env.xlen = take(&in, 1) & 1 ? 32 : 64;
	while (in.size) {
		uint64_t eid = extension(&in), fid = take(&in, 1) % 5, args[6], value = 99;
		enum sbi_outcome outcome;
		int64_t error = 99;
		size_t i;

		if (fid == 4)
			fid = number(&in);
		for (i = 0; i < ARRAY_SIZE(args); i++)
			args[i] = i < 3 ? number(&in) : 0;
		w.room = take(&in, 2);
		w.waiting = take(&in, 2);
		w.moved = 0;
		outcome = sbi_call(&env, eid, fid, args, &error, &value);
		if (error == 99 || (outcome == SBI_SUSPEND && eid != SBI_EID_SUSP))
			abort();
		if (eid == SBI_EID_DBCN)
			check_dbcn(&w, fid, args[0], error, value);
		else if (eid != SBI_EID_PUTCHAR && eid != SBI_EID_GETCHAR && w.moved)
			abort();
	}
	memory_destroy(&mem);
	return 0;
}
