// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a guest is told that goes on from a file: another generation id each time, by an
 * interrupt, but none while it only lies there; and its time, as the user wants it.
 */
#include "snapshot_rig.h"
#include "unit.h"

#include <string.h>
#include <unistd.h>

#define GENERATION UINT64_C(0x00102000)

/* The interrupt comes; it is claimed, the id read, and the claim completed. */
static const struct fake_op told[] = {
	{.kind = FAKE_STORE, .addr = PLIC + 4 * 12, .value = 7, .size = 4},
	{.kind = FAKE_STORE, .addr = PLIC + 0x2000, .value = 1 << 12, .size = 4},
	{.kind = FAKE_WAIT_IRQ},
	{.kind = FAKE_LOAD, .addr = PLIC + 0x200004, .size = 4},
	{.kind = FAKE_LOAD, .addr = GENERATION, .size = 8},
	{.kind = FAKE_LOAD, .addr = GENERATION + 8, .size = 8},
	{.kind = FAKE_STORE, .addr = PLIC + 0x200004, .value = 12, .size = 4},
	{.kind = FAKE_LOAD, .addr = PLIC + 0x1000, .size = 4},
	{.kind = FAKE_END},
};

static const struct fake_op before[] = {
	{.kind = FAKE_LOAD, .addr = GENERATION, .size = 8},
	{.kind = FAKE_LOAD, .addr = GENERATION + 8, .size = 8},
	{.kind = FAKE_WAIT},
	{.kind = FAKE_LOAD, .addr = GENERATION, .size = 8},
	{.kind = FAKE_LOAD, .addr = GENERATION + 8, .size = 8},
	{.kind = FAKE_END},
};

START_TEST(another_id_each_time)
{
	uint64_t ids[3][2];
	struct second b;
	struct rig a;
	int fd, i, k;

	rig_init(&a, FAKE_7_2);
	a.host->programs[0] = before;
	rig_create(&a);
	rig_start(&a);
	ck_assert(fake_wait_results(a.host, 0, 2));
	fd = save_as(&a, SNAPSHOT_RAW);
	/* Who goes on after a save is who it was. */
	fake_poke(a.host, 0);
	ck_assert(fake_wait_results(a.host, 0, 4));
	for (k = 0; k < 2; k++) {
		ids[0][k] = fake_vcpu(a.host, 0)->results[k];
		ck_assert_uint_eq(fake_vcpu(a.host, 0)->results[2 + k], ids[0][k]);
	}
	quit(&a);
	for (i = 1; i < 3; i++) {
		struct fake_vcpu *v;

		second_init(&b, fd, FAKE_7_2);
		b.rig.host->programs[0] = told;
		rig_create(&b.rig);
		rig_start(&b.rig);
		ck_assert(fake_wait_results(b.rig.host, 0, 4));
		v = fake_vcpu(b.rig.host, 0);
		ck_assert_uint_eq(v->results[0], 12);
		ids[i][0] = v->results[1];
		ids[i][1] = v->results[2];
		/* Reading took the line down. */
		ck_assert_uint_eq(v->results[3] & 1 << 12, 0);
		second_end(&b);
	}
	for (i = 0; i < 3; i++)
		for (k = 0; k < 2; k++)
			ck_assert_uint_ne(ids[i][k], ids[(i + 1) % 3][k]);
	close(fd);
}
END_TEST

/* A second between save and restore: it counts, or it does not. */
START_TEST(clock_policy)
{
	uint64_t begin, ticks, limit;
	struct second b;
	struct rig a;
	int fd;

	first_vm(&a, FAKE_7_2);
	begin = wall_ns();
	fd = save_as(&a, SNAPSHOT_RAW);
	ticks = a.host->timebase;
	quit(&a);
	usleep(1000000);
	second_init(&b, fd, FAKE_7_2);
	b.rig.cfg.clock = (enum clock_choice)_i;
	rig_create(&b.rig);
	rig_start(&b.rig);
	ck_assert(fake_wait_idle(b.rig.host, 0));
	/* It was paused, by first_vm(), a little before it was saved. */
	limit = (wall_ns() - begin) / NSEC_PER_MSEC + 100;
	if (_i == CLOCK_CONTINUE) {
		ck_assert_uint_eq(fake_vm(b.rig.host)->time, 777);
	} else {
		ck_assert_uint_ge(fake_vm(b.rig.host)->time, 777 + ticks);
		ck_assert_uint_le(fake_vm(b.rig.host)->time, 777 + ticks / 1000 * limit);
	}
	second_end(&b);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("snapshot_told");
	TCase *tc = tcase_create("snapshot_told");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, another_id_each_time);
	tcase_add_loop_test(tc, clock_policy, CLOCK_CONTINUE, CLOCK_HOST + 1);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
