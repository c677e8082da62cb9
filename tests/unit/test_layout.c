// SPDX-License-Identifier: GPL-2.0-only
/*
 * The memory map: placement and each refusal by hand, and as a property random
 * requests on random hosts, compared with a slow placement of its own, with what
 * must hold of every map, and together with the G-stage's choice.
 */
#include "lkvm/riscv/layout.h"
#include "prng.h"
#include "unit.h"

#include <string.h>

#define BASE LAYOUT_RAM_BASE
#define PB (UINT64_C(1) << 50)

static struct layout map;
static struct error err;

#define AT(address, bytes)                                                                         \
	{                                                                                          \
		.size = (bytes), .placed = true, .gpa = (address)                                  \
	}
#define FREE(bytes)                                                                                \
	{                                                                                          \
		.size = (bytes)                                                                    \
	}

#define PLAN(max_bits, ...)                                                                        \
	plan((const struct mem_request[]){__VA_ARGS__},                                            \
	     sizeof((const struct mem_request[]){__VA_ARGS__}) / sizeof(struct mem_request),       \
	     (max_bits))

static int plan(const struct mem_request *mem, size_t nr, unsigned int max_bits)
{
	err.msg[0] = '\0';
	return layout_plan(mem, nr, max_bits, &map, &err);
}

static void region(size_t i, gpa_t gpa, uint64_t size)
{
	ck_assert_uint_lt(i, map.nr_ram);
	ck_assert_uint_eq(map.ram[i].gpa, gpa);
	ck_assert_uint_eq(map.ram[i].size, size);
}

static void says(int ret, const char *message)
{
	ck_assert_int_eq(ret, -1);
	ck_assert_str_eq(err.msg, message);
}

START_TEST(one_region)
{
	ck_assert_int_eq(PLAN(59, FREE(512 * MIB)), 0);
	ck_assert_uint_eq(map.nr_ram, 1);
	region(0, BASE, 512 * MIB);
	ck_assert_uint_eq(map.need.top, BASE + 512 * MIB);
	ck_assert_str_eq(map.need.what, "RAM of 512M at 0x80000000 (ending at 0xa0000000)");
	ck_assert_uint_eq(map.pci64.gpa, 3 * GIB);
	ck_assert_uint_eq(map.pci64.size, 64 * GIB);
	ck_assert_int_eq(PLAN(41, AT(BASE, LAYOUT_MIN_RAM)), 0);
	region(0, BASE, LAYOUT_MIN_RAM);
}
END_TEST

START_TEST(several_regions)
{
	ck_assert_int_eq(PLAN(59, FREE(256 * MIB), AT(UINT64_C(0x30000000000), 128 * MIB)), 0);
	ck_assert_uint_eq(map.nr_ram, 2);
	region(0, BASE, 256 * MIB);
	region(1, UINT64_C(0x30000000000), 128 * MIB);
	ck_assert_uint_eq(map.need.top, UINT64_C(0x30008000000));
	ck_assert_str_eq(map.need.what, "RAM of 128M at 0x30000000000 (ending at 0x30008000000)");

	/* Whatever the order, the unnamed ones start at the base. */
	ck_assert_int_eq(PLAN(59, AT(UINT64_C(0x30000000000), 128 * MIB), FREE(256 * MIB)), 0);
	region(0, UINT64_C(0x30000000000), 128 * MIB);
	region(1, BASE, 256 * MIB);
	ck_assert_uint_eq(map.need.top, UINT64_C(0x30008000000));

	/* One after the other, at the next 2 MiB. */
	ck_assert_int_eq(PLAN(59, FREE(17 * MIB), AT(64 * GIB, GIB), FREE(3 * MIB), FREE(MIB)), 0);
	region(0, BASE, 17 * MIB);
	region(2, BASE + 18 * MIB, 3 * MIB);
	region(3, BASE + 22 * MIB, MIB);

	/* Behind a named one that is there already, and the next one behind that. */
	ck_assert_int_eq(PLAN(59, FREE(16 * MIB), AT(BASE + 64 * MIB, MIB), AT(BASE, 64 * MIB)), 0);
	region(0, BASE + 66 * MIB, 16 * MIB);
}
END_TEST

START_TEST(refused_places)
{
	says(PLAN(59, FREE(GIB), AT(0x40000000, 16 * MIB)),
	     "-m 16M@0x40000000: devices live below 0x80000000, so RAM must not");
	says(PLAN(59, FREE(GIB), AT(0, 16 * MIB)),
	     "-m 16M@0x0: devices live below 0x80000000, so RAM must not");
	says(PLAN(59, FREE(GIB), AT(UINT64_C(1) << 56, 16 * MIB)),
	     "-m 16M: at 0x100000000000000 it would end beyond 0xfffffffffff000, the last address "
	     "that a guest's page tables can name (56 bits, less a spare page)");
	says(PLAN(59, FREE(GIB), AT((UINT64_C(1) << 56) - 16 * MIB, 16 * MIB)),
	     "-m 16M: at 0xffffffff000000 it would end beyond 0xfffffffffff000, the last address "
	     "that a guest's page tables can name (56 bits, less a spare page)");
	says(PLAN(59, FREE(UINT64_MAX - 4095)),
	     "-m 18014398509481980K: at 0x80000000 it would end beyond 0xfffffffffff000, the last "
	     "address that a guest's page tables can name (56 bits, less a spare page)");
	says(PLAN(59, FREE(GIB), AT(UINT64_MAX - MIB + 1, 16 * MIB)),
	     "-m 16M: at 0xfffffffffff00000 it would end beyond 0xfffffffffff000, the last "
	     "address that a guest's page tables can name (56 bits, less a spare page)");
	ck_assert_int_eq(PLAN(59, FREE(GIB), AT((UINT64_C(1) << 56) - 16 * MIB, 15 * MIB)), 0);
}
END_TEST

START_TEST(refused_overlaps)
{
	says(PLAN(59, FREE(GIB), AT(BASE + 512 * MIB, GIB)),
	     "-m: 1G at 0x80000000 and 1G at 0xa0000000 overlap");
	says(PLAN(59, FREE(16 * MIB), AT(8 * GIB, GIB), AT(9 * GIB - 2 * MIB, 2 * MIB)),
	     "-m: 1G at 0x200000000 and 2M at 0x23fe00000 overlap");
	says(PLAN(59, AT(BASE, GIB), AT(BASE, GIB)),
	     "-m: 1G at 0x80000000 and 1G at 0x80000000 overlap");
	/* Neighbours do not. */
	ck_assert_int_eq(PLAN(59, AT(BASE, GIB), AT(BASE + GIB, GIB)), 0);
}
END_TEST

START_TEST(refused_base)
{
	static const char message[] =
		"-m: at least 16 MiB of RAM must lie at 0x80000000, where the guest starts";

	says(PLAN(59, AT(GIB * 8, GIB)), message);
	says(PLAN(59, FREE(LAYOUT_MIN_RAM - MIB)), message);
	says(PLAN(59, FREE(MIB), AT(BASE + 2 * MIB, GIB)), message);
	says(plan(NULL, 0, 59), message);
}
END_TEST

START_TEST(pci_window)
{
	/* It never makes a wider mode necessary: it shrinks to what is left. */
	ck_assert_int_eq(PLAN(59, FREE(GIB), AT(2 * TIB - 10 * GIB, GIB)), 0);
	ck_assert_uint_eq(map.pci64.gpa, 2 * TIB - 9 * GIB);
	ck_assert_uint_eq(map.pci64.size, 8 * GIB);
	ck_assert_int_eq(PLAN(59, FREE(GIB), AT(2 * TIB - 2 * GIB, GIB)), 0);
	ck_assert_uint_eq(map.pci64.size, 0);
	ck_assert_int_eq(PLAN(59, FREE(GIB), AT(2 * TIB - MIB * 4, MIB * 3)), 0);
	ck_assert_uint_eq(map.pci64.size, 0);
	/* RAM that needs Sv48x4 anyway gives room again. */
	ck_assert_int_eq(PLAN(59, FREE(GIB), AT(2 * TIB - GIB, GIB)), 0);
	ck_assert_uint_eq(map.pci64.gpa, 2 * TIB);
	ck_assert_uint_eq(map.pci64.size, 64 * GIB);
	ck_assert_int_eq(PLAN(59, FREE(GIB), AT(4 * PB, GIB)), 0);
	ck_assert_uint_eq(map.pci64.gpa, 4 * PB + GIB);
	/* RAM beyond the host: no window; who chooses the mode refuses. */
	ck_assert_int_eq(PLAN(41, FREE(GIB), AT(4 * TIB, GIB)), 0);
	ck_assert_uint_eq(map.pci64.size, 0);
	/* rv32: 34 bits. */
	ck_assert_int_eq(PLAN(34, FREE(GIB)), 0);
	ck_assert_uint_eq(map.pci64.gpa, 3 * GIB);
	ck_assert_uint_eq(map.pci64.size, 12 * GIB);
}
END_TEST

/* --- the first stage ---------------------------------------------------- */

static int satp(gpa_t top, enum satp_choice choice, unsigned int host, unsigned int *mode)
{
	struct layout l = {.need = {.top = top, .what = "RAM"}};

	err.msg[0] = '\0';
	return layout_satp(&l, choice, host, mode, &err);
}

static void satp_is(gpa_t top, enum satp_choice choice, unsigned int host, unsigned int want)
{
	unsigned int mode = 0;

	ck_assert_msg(!satp(top, choice, host, &mode), "%s", err.msg);
	ck_assert_uint_eq(mode, want);
}

/* It works, and part of the RAM will not be used: one line says so. */
static void satp_warns(gpa_t top, enum satp_choice choice, unsigned int host, unsigned int want)
{
	unsigned int mode = 0;

	ck_assert_int_eq(satp(top, choice, host, &mode), 1);
	ck_assert_uint_eq(mode, want);
	ck_assert_ptr_nonnull(strstr(err.msg, "it will leave the rest unused"));
}

START_TEST(satp_auto)
{
	satp_is(BASE + GIB, SATP_AUTO, 10, 8);
	satp_is(BASE + 124 * GIB, SATP_AUTO, 10, 8);
	satp_is(BASE + 124 * GIB + 4096, SATP_AUTO, 10, 9);
	satp_is(BASE + 124 * GIB + 4096, SATP_AUTO, 9, 9);
	satp_is(BASE + 64 * TIB, SATP_AUTO, 10, 9);
	satp_is(BASE + 64 * TIB + 4096, SATP_AUTO, 10, 10);
	satp_is(4 * PB, SATP_AUTO, 10, 10);
	/* What the host does not have it can't give: Linux uses what it reaches. */
	satp_warns(4 * PB, SATP_AUTO, 9, 9);
	satp_warns(4 * PB, SATP_AUTO, 8, 8);
	satp_warns(BASE + 124 * GIB + 4096, SATP_AUTO, 8, 8);
	satp_warns(BASE + 200 * GIB, SATP_HOST, 8, 8);
	ck_assert_str_eq(err.msg,
			 "RAM ends 200G above its start, and this host's guests have at most sv39, "
			 "in which Linux reaches 124G: it will leave the rest unused");
	satp_is(BASE + GIB, SATP_AUTO, 8, 8);
	satp_is(BASE + GIB, SATP_AUTO, 1, 1);
}
END_TEST

START_TEST(satp_asked)
{
	unsigned int mode = 77;

	satp_is(BASE + GIB, SATP_HOST, 10, 10);
	satp_is(BASE + GIB, SATP_HOST, 8, 8);
	satp_is(BASE + GIB, SATP_HOST, 1, 1);
	satp_is(BASE + GIB, SATP_SV39, 10, 8);
	says(satp(BASE + 200 * GIB, SATP_SV39, 10, &mode),
	     "--satp sv39: in it Linux reaches 124G of RAM, and -m puts the end of RAM 200G above "
	     "its "
	     "start");
	satp_is(BASE + GIB, SATP_SV48, 10, 9);
	satp_is(BASE + GIB, SATP_SV48, 9, 9);
	satp_is(BASE + GIB, SATP_SV57, 10, 10);
	says(satp(BASE + GIB, SATP_SV48, 8, &mode),
	     "--satp sv48: this host's own first stage is at most sv39");
	says(satp(BASE + GIB, SATP_SV57, 9, &mode),
	     "--satp sv57: this host's own first stage is at most sv48");
	says(satp(BASE + GIB, SATP_SV39, 1, &mode),
	     "--satp sv39: this host's own first stage is at most sv32");
	says(satp(BASE + GIB, SATP_SV39, 0, &mode),
	     "--satp sv39: this host's own first stage is at most bare");
	ck_assert_uint_eq(mode, 77);
}
END_TEST

/* --- the properties ------------------------------------------------------ */

#define MAX_REGIONS 6

struct request {
	struct mem_request mem[MAX_REGIONS];
	size_t nr;
};

static void random_request(struct prng *p, struct request *q)
{
	size_t i;

	q->nr = 1 + prng_below(p, MAX_REGIONS);
	for (i = 0; i < q->nr; i++) {
		struct mem_request *m = &q->mem[i];
		unsigned int shift =
			prng_below(p, 8) ? 20 + prng_below(p, 16) : 20 + prng_below(p, 38);

		/* Mostly what makes sense; sometimes next to a limit, or nonsense. */
		*m = (struct mem_request){.size = MIB * (1 + prng_below(p, 2000))};
		if (!prng_below(p, 3))
			m->size = UINT64_C(1) << shift;
		m->placed = prng_below(p, 2);
		if (!m->placed)
			continue;
		shift = 31 + prng_below(p, 27);
		m->gpa = (prng_u64(p) & ((UINT64_C(1) << shift) - 1)) | UINT64_C(1) << shift;
		if (!prng_below(p, 4))
			m->gpa = (UINT64_C(1) << (prng_below(p, 2)   ? 41
						  : prng_below(p, 2) ? 50
								     : 56)) -
				 m->size * prng_below(p, 3);
		else if (!prng_below(p, 4))
			m->gpa = BASE + prng_below(p, 64) * 256 * MIB;
		else if (!prng_below(p, 20))
			m->gpa = prng_below(p, 1024) * 2 * MIB;
		m->gpa = align_down(m->gpa, 2 * MIB);
	}
	/* Most have the first region where it must be. */
	if (prng_below(p, 5))
		q->mem[0] = (struct mem_request){.size = (16 + prng_below(p, 2000)) * MIB};
}

/* The same placement by trying every 2 MiB boundary that could matter. */
static bool slow_place(const struct request *q, unsigned __int128 *at)
{
	unsigned __int128 next = BASE, limit = ((unsigned __int128)1 << 56) - 4096;
	size_t i, k;

	for (i = 0; i < q->nr; i++)
		if (q->mem[i].placed)
			at[i] = q->mem[i].gpa;
	for (i = 0; i < q->nr; i++) {
		bool inside = true;

		if (q->mem[i].placed)
			continue;
		while (inside) {
			inside = false;
			for (k = 0; k < q->nr; k++)
				if (q->mem[k].placed && next >= at[k] &&
				    next < at[k] + q->mem[k].size) {
					next = (at[k] + q->mem[k].size + 2 * MIB - 1) / (2 * MIB) *
					       (2 * MIB);
					inside = true;
				}
		}
		at[i] = next;
		next = (next + q->mem[i].size + 2 * MIB - 1) / (2 * MIB) * (2 * MIB);
	}
	for (i = 0; i < q->nr; i++)
		if (at[i] < BASE || at[i] + q->mem[i].size > limit)
			return false;
	for (i = 0; i < q->nr; i++)
		for (k = 0; k < i; k++)
			if (at[i] < at[k] + q->mem[k].size && at[k] < at[i] + q->mem[i].size)
				return false;
	for (i = 0; i < q->nr; i++)
		if (at[i] == BASE && q->mem[i].size >= 16 * MIB)
			return true;
	return false;
}

static gpa_t top_of(const struct layout *l)
{
	gpa_t top = 0;
	size_t i;

	for (i = 0; i < l->nr_ram; i++)
		top = max_u64(top, l->ram[i].gpa + l->ram[i].size);
	return top;
}

static unsigned int narrowest(gpa_t top, unsigned int max_bits)
{
	if (max_bits == 34)
		return top <= (UINT64_C(1) << 34) - 4096 ? 34 : 0;
	if (top <= (UINT64_C(1) << 41) - 4096)
		return 41;
	if (top <= PB - 4096 && max_bits >= 50)
		return 50;
	return top <= (UINT64_C(1) << 56) - 4096 && max_bits >= 59 ? 59 : 0;
}

static void check_map(const struct layout *l, unsigned int max_bits)
{
	gpa_t top = top_of(l);
	unsigned int bits = narrowest(top, max_bits);
	unsigned int usable = bits > 56 ? 56 : bits;
	size_t i;

	ck_assert_uint_eq(l->need.top, top);
	ck_assert_ptr_eq(l->need.what, l->what);
	for (i = 0; i < l->nr_ram; i++)
		ck_assert_uint_eq(l->ram[i].gpa % LAYOUT_ALIGN, 0);
	if (!l->pci64.size)
		return;
	ck_assert_uint_ne(bits, 0);
	ck_assert_uint_ge(l->pci64.gpa, top);
	ck_assert_uint_eq(l->pci64.gpa % GIB, 0);
	ck_assert_uint_eq(l->pci64.size % GIB, 0);
	ck_assert_uint_le(l->pci64.size, 64 * GIB);
	/* Inside the mode that RAM alone needs, its last page free. */
	ck_assert_uint_lt(l->pci64.gpa + l->pci64.size, UINT64_C(1) << usable);
}

/* The window is as large as can be. */
static void check_window(const struct layout *l, unsigned int max_bits)
{
	unsigned int bits = narrowest(top_of(l), max_bits);
	unsigned int usable = bits > 56 ? 56 : bits;
	uint64_t base = align_up(top_of(l), GIB), room = 0, end;

	if (bits) {
		end = (UINT64_C(1) << usable) - GIB;
		room = end > base ? min_u64(64 * GIB, end - base) : 0;
	}
	ck_assert_uint_eq(l->pci64.size, room);
}

START_TEST(property_plan)
{
	static const unsigned int widths[] = {34, 41, 50, 59};
	static const char *const reasons[] = {"devices live below", "it would end beyond",
					      "overlap", "must lie at 0x80000000"};
	unsigned int good = 0, why[ARRAY_SIZE(reasons)] = {0};
	struct prng p = prng_start("layout");
	unsigned __int128 at[MAX_REGIONS];
	struct request q;
	size_t i;
	int n;

	for (n = 0; n < 100000; n++) {
		unsigned int max_bits = widths[prng_below(&p, 4)];
		bool want;
		int ret;

		random_request(&p, &q);
		want = slow_place(&q, at);
		ret = plan(q.mem, q.nr, max_bits);
		ck_assert_msg(!ret == want, "case %d: %s", n, err.msg);
		if (!ret) {
			good++;
			ck_assert_uint_eq(map.nr_ram, q.nr);
			for (i = 0; i < q.nr; i++)
				region(i, (gpa_t)at[i], q.mem[i].size);
			check_map(&map, max_bits);
			check_window(&map, max_bits);
			continue;
		}
		for (i = 0; i < ARRAY_SIZE(reasons) && !strstr(err.msg, reasons[i]); i++)
			;
		ck_assert_msg(i < ARRAY_SIZE(reasons), "%s", err.msg);
		why[i]++;
	}
	ck_assert_uint_gt(good, 10000);
	for (i = 0; i < ARRAY_SIZE(reasons); i++)
		ck_assert_msg(why[i] > 100, "only %u cases of: %s", why[i], reasons[i]);
}
END_TEST

/* Layout and G-stage together: what a VM does before it has any memory. */
START_TEST(property_together)
{
	static const unsigned int widths[] = {34, 41, 50, 59};
	struct prng p = prng_start("layout and hgatp");
	unsigned int had = 0, refused = 0;
	struct request q;
	int n;

	for (n = 0; n < 100000; n++) {
		struct hgatp_host host = {widths[prng_below(&p, 4)],
					  (enum hgatp_interface)prng_below(&p, 4)};
		struct hgatp_request req = {HGATP_AUTO, 0};
		unsigned int want, mode = 0, host_mode, satp_want;
		struct hgatp h;
		uint64_t span;

		random_request(&p, &q);
		if (plan(q.mem, q.nr, host.max_bits))
			continue;
		want = narrowest(map.need.top, host.max_bits);
		if (want && host.interface == HGATP_FIXED)
			want = host.max_bits;
		if (hgatp_select(&host, &req, &map.need, &h, &err)) {
			ck_assert_msg(!want, "%s", err.msg);
			/* It names the region that needs too much. */
			ck_assert_msg(strstr(err.msg, map.what), "%s", err.msg);
			refused++;
			continue;
		}
		had++;
		ck_assert_uint_eq(h.bits, want);
		/* Everything, and a page, fits what was chosen. */
		ck_assert_uint_le(map.need.top, hgatp_limit(h.bits));
		if (map.pci64.size)
			ck_assert_uint_le(map.pci64.gpa + map.pci64.size, hgatp_limit(h.bits));

		host_mode = host.max_bits == 34 ? 1 : 8 + prng_below(&p, 3);
		span = map.need.top - BASE;
		satp_want = span <= 124 * GIB ? 8 : span <= 64 * TIB ? 9 : 10;
		ck_assert_int_eq(
			layout_satp(&map, SATP_AUTO, host_mode, &mode, &err),
			span > layout_reach(satp_want < host_mode ? satp_want : host_mode));
		ck_assert_uint_eq(mode, satp_want < host_mode ? satp_want : host_mode);
	}
	ck_assert_uint_gt(had, 10000);
	ck_assert_uint_gt(refused, 1000);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("layout");
	TCase *tc = tcase_create("layout");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, one_region);
	tcase_add_test(tc, several_regions);
	tcase_add_test(tc, refused_places);
	tcase_add_test(tc, refused_overlaps);
	tcase_add_test(tc, refused_base);
	tcase_add_test(tc, pci_window);
	tcase_add_test(tc, satp_auto);
	tcase_add_test(tc, satp_asked);
	tcase_add_test(tc, property_plan);
	tcase_add_test(tc, property_together);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
