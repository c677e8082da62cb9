// SPDX-License-Identifier: GPL-2.0-only
/*
 * Would it be noticed? A host that does not let one register through, while it says that all
 * went well, is what a build would be that skips it. Each such build must fail the two
 * things that the tests of snapshots look at: the state of the harts, and the file that a
 * loaded VM is saved into. The privilege mode, fcsr and an interrupt file first; then every
 * register there is.
 */
#include "snapshot_rig.h"
#include "unit.h"

#include "lkvm/riscv/reg_set.h"
#include "lkvm/riscv/regs.h"
#include "lkvm/vcpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXT_V 15
#define EXT_SMSTATEEN 23

/* With Sstc it says nothing, and is not written. */
#define UNSEEN " timer-state"

static struct error err;

/* A host with all that there are registers for. */
static void rich(struct fake_host *h)
{
	h->host_isa[EXT_V] = h->host_isa[EXT_SMSTATEEN] = true;
	h->host_aia = h->host_isa[ISA_EXT_SSAIA] = true;
}

/* What of a hart's state is not what it was, or NULL. */
static const char *hart_differs(const struct fake_vcpu *a, const struct fake_vcpu *b)
{
	if (memcmp(a->core, b->core, sizeof(a->core)))
		return "core";
	if (memcmp(a->csr, b->csr, sizeof(a->csr)) || memcmp(a->aia, b->aia, sizeof(a->aia)) ||
	    a->sstateen0 != b->sstateen0)
		return "csr";
	if (memcmp(a->fp, b->fp, sizeof(a->fp)) || a->fcsr != b->fcsr)
		return "fp";
	if (memcmp(a->vector, b->vector, sizeof(a->vector)))
		return "vector";
	if (memcmp(a->v, b->v, sizeof(a->v)))
		return "v";
	if (memcmp(a->sta, b->sta, sizeof(a->sta)) || memcmp(a->fwft, b->fwft, sizeof(a->fwft)))
		return "sbi";
	return a->stopped != b->stopped ? "mp_state" : NULL;
}

/**
 * struct outcome - what is noticed of a way there and back
 * @state: what of the loaded VM's state is another; NULL: nothing
 * @file: the file it is saved into is another
 */
struct outcome {
	const char *state;
	bool file;
};

static void first(struct rig *a, uint64_t unlisted)
{
	unsigned int i, k;

	rig_init(a, FAKE_7_2);
	rich(a->host);
	a->arch.irqchip = IRQCHIP_AIA;
	a->cfg.cpus = 2;
	a->cfg.mem[0].size = 16 * MIB;
	a->host->unlisted = unlisted;
	a->host->programs[0] = snapshot_hello;
	rig_create(a);
	rig_start(a);
	ck_assert(fake_wait_idle(a->host, 0));
	rig_call(a, do_pause, NULL);
	for (i = 0; i < 2; i++) {
		scribble(fake_vcpu(a->host, i));
		/* Only the length of the host's registers counts. */
		memset(fake_vcpu(a->host, i)->v, 0, sizeof(fake_vcpu(a->host, i)->v));
		for (k = 0; k < 32; k++)
			memset(fake_vcpu(a->host, i)->v[k], (int)(0x40 + k + i), a->host->vlenb);
		fake_vcpu(a->host, i)->fwft[0] = 1;
		fake_vm(a->host)->aia.file[i][0x70] = 1;
		fake_vm(a->host)->aia.file[i][0x80] = 0x1230 + i;
	}
}

static struct outcome there_and_back(uint64_t unlisted, uint64_t unheard, unsigned int deaf_file)
{
	struct outcome o = {NULL, false};
	struct second b;
	struct rig a;
	int one, two;
	unsigned int i;

	first(&a, unlisted);
	one = save_as(&a, SNAPSHOT_RAW);
	second_init(&b, one, FAKE_7_2);
	rich(b.rig.host);
	b.rig.host->unlisted = unlisted;
	b.rig.host->unheard = unheard;
	b.rig.host->deaf_file = deaf_file;
	b.rig.cfg.paused = true;
	rig_create(&b.rig);
	rig_start(&b.rig);
	two = save_as(&b.rig, SNAPSHOT_RAW);
	o.file = differs_at(one, two) >= 0;
	for (i = 0; i < 2 && !o.state; i++)
		o.state = hart_differs(fake_vcpu(a.host, i), fake_vcpu(b.rig.host, i));
	if (!o.state && memcmp(fake_vm(a.host)->aia.file, fake_vm(b.rig.host)->aia.file,
			       sizeof(fake_vm(a.host)->aia.file)))
		o.state = "imsic";
	/* Timers wait until it goes on. */
	rig_call(&b.rig, do_unpause, NULL);
	for (i = 0; i < 2 && !o.state; i++)
		if (fake_vcpu(a.host, i)->compare != fake_vcpu(b.rig.host, i)->compare)
			o.state = "timer";
	second_end(&b);
	close(one);
	close(two);
	a.fds_before--;
	quit(&a);
	return o;
}

static void noticed(struct outcome o, const char *state)
{
	ck_assert_ptr_nonnull(o.state);
	ck_assert_str_eq(o.state, state);
}

/* Nothing is lost: nothing is noticed. */
START_TEST(whole)
{
	struct outcome o = there_and_back(0, 0, 0);

	ck_assert_msg(!o.state, "%s", o.state);
	ck_assert(!o.file);
}
END_TEST

START_TEST(by_name)
{
	const uint64_t fcsr = reg_id(REG_FP_D, 0, 32, REG_SIZE_U32);
	const uint64_t mode = reg_long(REG_CORE, 0, CORE_MODE);
	struct outcome o;

	/* A build that does not save it; one that does not restore it. */
	noticed(there_and_back(fcsr, 0, 0), "fp");
	o = there_and_back(0, fcsr, 0);
	noticed(o, "fp");
	ck_assert(o.file);
	noticed(there_and_back(mode, 0, 0), "core");
	o = there_and_back(0, mode, 0);
	noticed(o, "core");
	ck_assert(o.file);
	o = there_and_back(0, 0, 2);
	noticed(o, "imsic");
	ck_assert(o.file);
}
END_TEST

/* The ids of all that is state. */
static size_t state_ids(uint64_t *ids, size_t max)
{
	struct reg_set set = {0};
	struct reasons why = {0};
	struct rig a;
	size_t nr = 0, i;

	first(&a, 0);
	ck_assert_int_eq(reg_set_save(&set, &a.vm->vcpus[0].kvm, &err), 0);
	for (i = 0; i < set.nr && nr < max; i++) {
		struct reg_info info = reg_info(set.regs[i].id);

		if (info.rule == REG_RULE_WRITE && info.place >= REG_PLACE_CSR)
			ids[nr++] = set.regs[i].id;
	}
	reg_set_free(&set);
	ck_assert_uint_eq(why.nr, 0);
	quit(&a);
	return nr;
}

START_TEST(every_register)
{
	uint64_t ids[512];
	size_t nr = state_ids(ids, ARRAY_SIZE(ids)), i;
	char name[REG_NAME_MAX], unseen[2048] = "";

	for (i = 0; i < nr; i++) {
		struct outcome o = there_and_back(0, ids[i], 0);

		if (!o.state)
			snprintf(unseen + strlen(unseen), sizeof(unseen) - strlen(unseen), " %s",
				 reg_name(ids[i], name));
	}
	printf("every_register: %zu, unseen:%s\n", nr, unseen);
	ck_assert_uint_gt(nr, 100);
	ck_assert_str_eq(unseen, UNSEEN);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("snapshot_lost");
	TCase *tc = tcase_create("snapshot_lost");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, whole);
	tcase_add_test(tc, by_name);
	tcase_add_test(tc, every_register);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
