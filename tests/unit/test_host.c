// SPDX-License-Identifier: GPL-2.0-only
/*
 * What "lkvm caps" learns: on the scripted hosts, all fields; that nothing is left
 * open whatever fails; and that probing a switch leaves no VM behind to be wrong.
 */
#include "fake_kvm.h"
#include "lkvm/riscv/host.h"
#include "unit.h"

#include <errno.h>
#include <string.h>

static struct fake_host *fake;
static struct host host;
static struct error err;

static void begin(enum fake_kernel kernel)
{
	fake = fake_host_new(kernel);
	err.msg[0] = '\0';
	memset(&host, 0x5a, sizeof(host));
}

static void end(void)
{
	const char *complaint = fake_complaint(fake);

	ck_assert_msg(!complaint, "%s", complaint ? complaint : "");
	ck_assert_uint_eq(fake_live(fake), 0);
	fake_host_free(fake);
}

static void probe(void)
{
	ck_assert_msg(!host_probe(fake_host_sys(fake), &host, &err), "%s", err.msg);
}

START_TEST(everything)
{
	begin(FAKE_7_2);
	fake->max_bits = 59;
	fake->satp_mode = 10;
	fake->host_aia = true;
	probe();
	ck_assert_uint_eq(host.gstage.max_bits, 59);
	ck_assert_int_eq(host.gstage.interface, HGATP_GPA_BITS);
	ck_assert_uint_eq(host.satp_mode, 10);
	ck_assert_uint_eq(host.timebase, 10000000);
	ck_assert_uint_eq(host.cbom, 64);
	ck_assert_uint_eq(host.cboz, 64);
	ck_assert_uint_eq(host.cbop, 64);
	ck_assert_uint_eq(host.vlenb, 0);
	ck_assert(host.aia);
	ck_assert_int_eq(host.vcpus_max, 1024);
	ck_assert_int_eq(host.vcpus_advised, 2);
	ck_assert_int_eq(host.memslots, 32767);
	ck_assert_int_gt(host.registers, 100);
	ck_assert_uint_eq(host.mvendorid, 0x1234);
	ck_assert_uint_eq(host.marchid, 0x5678);
	ck_assert_uint_eq(host.mimpid, 0x9abc);
	end();
}
END_TEST

START_TEST(extensions)
{
	const struct host_ext *h, *d, *a, *dbcn, *v01;

	begin(FAKE_7_2);
	fake->stuck[3] = true; /* F can't be switched off on this one */
	probe();
	h = &host.isa[ISA_EXT_H];
	d = &host.isa[2];
	a = &host.isa[0];
	dbcn = &host.sbi[SBI_EXT_DBCN];
	v01 = &host.sbi[0];
	/* Not for guests, one that can be hidden, one that can't, one that is off at first. */
	ck_assert(h->there && !h->on && !h->switchable);
	ck_assert(d->there && d->on && d->switchable);
	ck_assert(a->there && a->on && !a->switchable);
	ck_assert(host.isa[3].there && host.isa[3].on && !host.isa[3].switchable);
	ck_assert(dbcn->there && !dbcn->on && dbcn->switchable);
	ck_assert(v01->there && v01->on && v01->switchable);
	ck_assert(!host.isa[15].there && !host.isa[15].on && !host.isa[15].switchable);
	end();
}
END_TEST

START_TEST(vectors)
{
	begin(FAKE_7_2);
	fake->host_isa[15] = true;
	fake->vlenb = 32;
	probe();
	ck_assert(host.isa[15].there);
	ck_assert_uint_eq(host.vlenb, 32);
	end();
}
END_TEST

START_TEST(kinds_of_kernel)
{
	static const struct {
		enum fake_kernel kernel;
		enum fake_mode_cap cap;
		unsigned int bits;
		enum hgatp_interface interface;
	} kinds[] = {
		{FAKE_6_12, FAKE_NO_MODE_CAP, 59, HGATP_FIXED},
		{FAKE_6_12, FAKE_OTHER_CAP, 59, HGATP_FIXED},
		{FAKE_6_12, FAKE_POSTED_V4, 59, HGATP_POSTED_247},
		{FAKE_6_12, FAKE_POSTED_V7, 50, HGATP_POSTED_248},
		{FAKE_6_12, FAKE_POSTED_V4, 41, HGATP_FIXED},
		{FAKE_7_2, FAKE_NO_MODE_CAP, 41, HGATP_GPA_BITS},
		{FAKE_7_3, FAKE_OTHER_CAP, 50, HGATP_GPA_BITS},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		begin(kinds[i].kernel);
		fake->mode_cap = kinds[i].cap;
		fake->max_bits = kinds[i].bits;
		probe();
		ck_assert_uint_eq(host.gstage.max_bits, kinds[i].bits);
		ck_assert_int_eq(host.gstage.interface, kinds[i].interface);
		end();
	}
}
END_TEST

START_TEST(refused)
{
	static const struct {
		unsigned long request;
		int errnum;
		const char *message;
	} cases[] = {
		{FAKE_OPEN, ENOENT, NULL},
		{FAKE_OPEN, EACCES, NULL},
		{KVM_CREATE_VM, ENOMEM, "KVM could not create a VM: Cannot allocate memory"},
		{KVM_CREATE_VCPU, EBUSY, "KVM could not create a vCPU: Device or resource busy"},
		{FAKE_MAP, ENOMEM, "KVM could not create a vCPU: Cannot allocate memory"},
		{KVM_ENABLE_CAP, EIO,
		 "KVM_CAP_VM_GPA_BITS: KVM refused Sv48x4: Input/output error"},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		begin(FAKE_7_2);
		fake_arm(fake, cases[i].request, 1, cases[i].errnum);
		ck_assert_int_eq(host_probe(fake_host_sys(fake), &host, &err), -1);
		if (cases[i].message)
			ck_assert_str_eq(err.msg, cases[i].message);
		ck_assert_uint_gt(strlen(err.msg), 0);
		end();
	}
}
END_TEST

START_TEST(no_register_list)
{
	begin(FAKE_7_2);
	fake_arm(fake, KVM_GET_REG_LIST, 1, EINVAL);
	probe();
	ck_assert_int_eq(host.registers, -1);
	end();
}
END_TEST

/* Whichever call fails, with whatever: an answer or a sentence, and nothing left open. */
START_TEST(every_failure)
{
	static const int errnos[] = {EINVAL, EIO, ENOMEM, ENOENT, EPERM};
	unsigned long nth, calls;
	size_t i;
	int ret;

	begin(FAKE_7_2);
	probe();
	calls = fake_calls(fake, FAKE_ANY);
	end();
	ck_assert_uint_gt(calls, 100);
	for (nth = 1; nth <= calls; nth++)
		for (i = 0; i < ARRAY_SIZE(errnos); i++) {
			begin(FAKE_7_2);
			fake_arm(fake, FAKE_ANY, nth, errnos[i]);
			ret = host_probe(fake_host_sys(fake), &host, &err);
			ck_assert(!ret || strlen(err.msg) > 10);
			end();
		}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("host");
	TCase *tc = tcase_create("host");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, everything);
	tcase_add_test(tc, extensions);
	tcase_add_test(tc, vectors);
	tcase_add_test(tc, kinds_of_kernel);
	tcase_add_test(tc, refused);
	tcase_add_test(tc, no_register_list);
	tcase_add_test(tc, every_failure);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
