// SPDX-License-Identifier: GPL-2.0-only
/*
 * ISA and SBI extensions: what is read from KVM, what the user takes away, with
 * and without KVM's help, and the strings the guest is told.
 */
#include "fake_kvm.h"
#include "lkvm/riscv/isa.h"
#include "lkvm/riscv/regs.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	A = 0,
	C = 1,
	D = 2,
	F = 3,
	I = 5,
	M = 6,
	V = 15,
	ZBA = 17,
	ZICSR = 20,
	STA = 10,
	FWFT = 12
};

static struct fake_host *host;
static struct kvm kvm;
static struct kvm_vcpu vcpu;
static struct isa_request req;
static struct isa isa;
static struct error err;
static struct log logger;

static void setup(void)
{
	host = NULL;
	memset(&req, 0, sizeof(req));
	log_init(&logger, memfd_create("log", MFD_CLOEXEC), LOG_LEVEL_DEBUG);
	ck_assert_int_eq(fcntl(logger.fd, F_SETFL, O_APPEND), 0);
}

static const char *logged(void)
{
	static char text[8192];
	ssize_t n = pread(logger.fd, text, sizeof(text) - 1, 0);

	ck_assert_int_ge(n, 0);
	text[n] = '\0';
	return text;
}

/* Tests change the host between these two. */
static void new_host(enum fake_kernel kernel)
{
	host = fake_host_new(kernel);
}

static void new_vcpu(void)
{
	ck_assert_int_eq(kvm_open(&kvm, fake_host_sys(host), &err), 0);
	ck_assert_int_eq(kvm_vm_create(&kvm), 0);
	ck_assert_int_eq(kvm_vcpu_create(&kvm, 0, &vcpu), 0);
}

static void drop_host(void)
{
	const char *complaint;

	if (!host)
		return;
	kvm_vcpu_destroy(&vcpu);
	kvm_close(&kvm);
	complaint = fake_complaint(host);
	ck_assert_msg(!complaint, "%s", complaint ? complaint : "");
	ck_assert_uint_eq(fake_live(host), 0);
	fake_host_free(host);
	host = NULL;
}

static void teardown(void)
{
	drop_host();
	close(logger.fd);
}

static void decide(void)
{
	int ret = isa_decide(&vcpu, &req, false, &logger, &isa, &err);

	ck_assert_msg(!ret, "%s", err.msg);
}

static void refused(const char *word)
{
	err.msg[0] = '\0';
	ck_assert_int_eq(isa_decide(&vcpu, &req, false, &logger, &isa, &err), -1);
	ck_assert_msg(strstr(err.msg, word), "\"%s\" lacks \"%s\"", err.msg, word);
	ck_assert_ptr_null(strchr(err.msg, '\n'));
}

START_TEST(names)
{
	unsigned int i, k;

	for (i = 0; i < ISA_EXT_COUNT; i++) {
		const char *name = isa_ext_name(i);

		ck_assert_ptr_nonnull(name);
		ck_assert_int_eq(isa_ext_by_name(name, strlen(name)), (int)i);
		for (k = 0; k < i; k++)
			ck_assert_str_ne(name, isa_ext_name(k));
	}
	for (i = 0; i < SBI_EXT_COUNT; i++)
		ck_assert_ptr_nonnull(sbi_ext_name(i));
	ck_assert_ptr_null(isa_ext_name(ISA_EXT_COUNT));
	ck_assert_ptr_null(isa_ext_name(UINT32_MAX));
	ck_assert_ptr_null(sbi_ext_name(SBI_EXT_COUNT));
	ck_assert_int_eq(isa_ext_by_name("", 0), -1);
	ck_assert_int_eq(isa_ext_by_name("zb", 2), -1);
	ck_assert_int_eq(isa_ext_by_name("zbaa", 3), 17);
	ck_assert_int_eq(isa_ext_by_name("ZBA", 3), 17);
	/* The numbers lkvm decides by, against their names. */
	ck_assert_str_eq(isa_ext_name(ISA_EXT_H), "h");
	ck_assert_str_eq(isa_ext_name(ISA_EXT_SSTC), "sstc");
	ck_assert_str_eq(isa_ext_name(ISA_EXT_ZICBOM), "zicbom");
	ck_assert_str_eq(isa_ext_name(ISA_EXT_ZICBOZ), "zicboz");
	ck_assert_str_eq(isa_ext_name(ISA_EXT_SSAIA), "ssaia");
	ck_assert_str_eq(isa_ext_name(ISA_EXT_ZKR), "zkr");
	ck_assert_str_eq(isa_ext_name(ISA_EXT_SSCOFPMF), "sscofpmf");
	ck_assert_str_eq(isa_ext_name(ISA_EXT_ZICBOP), "zicbop");
	ck_assert_str_eq(isa_ext_name(61), "zawrs");   /* the last of 6.12 */
	ck_assert_str_eq(isa_ext_name(77), "zalasr");  /* of 7.2 */
	ck_assert_str_eq(isa_ext_name(79), "zicfiss"); /* of 7.3 */
	ck_assert_str_eq(sbi_ext_name(SBI_EXT_PMU), "pmu");
	ck_assert_str_eq(sbi_ext_name(SBI_EXT_DBCN), "dbcn");
	ck_assert_str_eq(sbi_ext_name(SBI_EXT_SUSP), "susp");
	ck_assert_str_eq(sbi_ext_name(SBI_EXT_MPXY), "mpxy");
}
END_TEST

START_TEST(plain_host)
{
	char text[ISA_STRING_MAX];

	new_host((enum fake_kernel)_i);
	new_vcpu();
	decide();
	ck_assert_uint_eq(isa.timebase, 10000000);
	ck_assert_uint_eq(isa.satp_mode, 9);
	ck_assert_uint_eq(isa.xlen, 64);
	ck_assert(isa.isa[I] && isa.shown[I]);
	ck_assert(isa.isa[D] && isa.shown[D]);
	ck_assert(!isa.isa[V]);
	ck_assert(!isa.shown[ISA_EXT_H]);
	ck_assert_uint_eq(isa.cbom, 64);
	ck_assert_uint_eq(isa.cboz, 64);
	ck_assert_uint_eq(isa.cbop, _i == FAKE_6_12 ? 0 : 64);
	/* DBCN is on though it is off by default, SUSP where there is such a thing. */
	ck_assert(isa.sbi[SBI_EXT_DBCN]);
	ck_assert_int_eq(isa.sbi[SBI_EXT_SUSP], _i != FAKE_6_12);
	ck_assert(!isa.sbi[SBI_EXT_MPXY]);
	ck_assert(!isa.sbi[SBI_EXT_PMU]);
	ck_assert(fake_vcpu(host, 0)->sbi[SBI_EXT_DBCN]);
	isa_legacy_string(&isa, text);
	ck_assert_msg(!strncmp(text, "rv64imafdc_", 11), "%s", text);
	ck_assert_ptr_null(strstr(text, "_h"));
	ck_assert_ptr_null(strstr(logged(), "Warning"));
}
END_TEST

START_TEST(words_and_singles_agree)
{
	struct isa words;

	new_host(FAKE_7_2);
	host->host_isa[V] = true;
	new_vcpu();
	decide();
	words = isa;
	drop_host();
	new_host(FAKE_7_2);
	host->host_isa[V] = true;
	host->no_multi = true;
	new_vcpu();
	decide();
	ck_assert(!memcmp(&words, &isa, sizeof(isa)));
	ck_assert(isa.shown[V]);
	/* The words save ioctls: that is what they are for. */
	ck_assert_uint_gt(fake_calls(host, KVM_GET_ONE_REG), 80);
}
END_TEST

START_TEST(few_ioctls)
{
	new_host(FAKE_7_2);
	new_vcpu();
	decide();
	ck_assert_uint_lt(fake_calls(host, KVM_GET_ONE_REG), 40);
}
END_TEST

START_TEST(disable_with_kvm)
{
	new_host(FAKE_7_2);
	new_vcpu();
	req.hide_isa[D] = req.hide_isa[ISA_EXT_ZICBOZ] = true;
	decide();
	ck_assert(!isa.isa[D] && !isa.shown[D] && isa.off[D]);
	ck_assert(!fake_vcpu(host, 0)->isa[D]);
	ck_assert_uint_eq(isa.cboz, 0);
	ck_assert_uint_eq(isa.cbom, 64);
	ck_assert_ptr_null(strstr(logged(), "Warning"));
}
END_TEST

START_TEST(disable_without_kvm)
{
	new_host(FAKE_7_2);
	new_vcpu();
	req.hide_isa[ZBA] = req.hide_isa[C] = true;
	decide();
	ck_assert(isa.isa[ZBA] && !isa.shown[ZBA] && !isa.off[ZBA]);
	ck_assert(isa.isa[C] && !isa.shown[C]);
	ck_assert_msg(strstr(logged(), "Warning: --disable-zba: KVM cannot take it away"), "%s",
		      logged());
	ck_assert_ptr_nonnull(strstr(logged(), "--disable-c:"));
}
END_TEST

/* A guest that does not know of Sstc, on a host that has it. */
START_TEST(timers_that_may_be_lost)
{
	static const char *const lists[] = {"rv64ima_sstc", NULL, "rv64ima"};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lists); i++) {
		new_host(FAKE_7_2);
		host->host_isa[ISA_EXT_SSTC] = true;
		new_vcpu();
		req.list = lists[i];
		decide();
		ck_assert_int_eq(!!strstr(logged(), "Warning: the guest is not told of Sstc"),
				 i == 2);
		drop_host();
	}
}
END_TEST

START_TEST(disable_what_is_not_there)
{
	new_host(FAKE_7_2);
	new_vcpu();
	req.hide_isa[V] = true;
	req.hide_isa[79] = true;
	decide();
	ck_assert(!isa.off[V] && !isa.off[79]);
	ck_assert_ptr_null(strstr(logged(), "Warning"));
}
END_TEST

START_TEST(interrupt_files)
{
	/* Ssaia in the host: a guest with the PLIC is not told, and loses it if it can. */
	new_host(FAKE_7_2);
	host->host_isa[ISA_EXT_SSAIA] = true;
	host->host_isa[23] = true; /* smstateen: makes it possible */
	new_vcpu();
	decide();
	ck_assert(!isa.shown[ISA_EXT_SSAIA] && !isa.isa[ISA_EXT_SSAIA] && isa.off[ISA_EXT_SSAIA]);
	drop_host();
	new_host(FAKE_7_2);
	host->host_isa[ISA_EXT_SSAIA] = true;
	new_vcpu();
	decide();
	ck_assert(!isa.shown[ISA_EXT_SSAIA] && isa.isa[ISA_EXT_SSAIA]);
	ck_assert_ptr_null(strstr(logged(), "Warning"));
	ck_assert_int_eq(isa_decide(&vcpu, &req, true, &logger, &isa, &err), 0);
	ck_assert(isa.shown[ISA_EXT_SSAIA]);
}
END_TEST

START_TEST(counter_overflow)
{
	new_host(FAKE_7_2);
	host->host_isa[ISA_EXT_SSAIA] = host->host_isa[ISA_EXT_SSCOFPMF] = true;
	host->host_sbi[SBI_EXT_PMU] = true;
	new_vcpu();
	decide();
	ck_assert(isa.sbi[SBI_EXT_PMU] && isa.shown[ISA_EXT_SSCOFPMF]);
	req.hide_sbi[SBI_EXT_PMU] = true;
	decide();
	ck_assert(!isa.sbi[SBI_EXT_PMU] && !isa.shown[ISA_EXT_SSCOFPMF]);
}
END_TEST

static void shown_exactly(const char *want)
{
	const char *got[ISA_EXT_COUNT + 1];
	char text[1024] = "";
	unsigned int i;

	isa_names(&isa, got);
	for (i = 0; got[i]; i++) {
		strcat(text, i ? " " : "");
		strcat(text, got[i]);
	}
	ck_assert_str_eq(text, want);
}

START_TEST(lists)
{
	static const struct {
		const char *list, *want;
	} good[] = {
		{"rv64ima", "i m a"},
		{"ima", "i m a"},
		{"rv64imafdc", "i m a f d c"},
		{"rv64gc", "i m a f d c zicsr zifencei"},
		{"RV64GC_ZBA", "i m a f d c zba zicsr zifencei"},
		{"rv64cami_zbb_zba", "i m a c zbb zba"}, /* any order in, canonical order out */
		{"i,m,a,zba", "i m a zba"},
		{"rv64ima_zicbom_", "i m a zicbom"},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(good); i++) {
		new_host(FAKE_7_2);
		new_vcpu();
		req.list = good[i].list;
		decide();
		shown_exactly(good[i].want);
		drop_host();
	}
}
END_TEST

START_TEST(bad_lists)
{
	static const struct {
		const char *list, *word;
	} bad[] = {
		{"", "at least i, m and a"},
		{"rv64", "at least i, m and a"},
		{"rv64ic", "at least i, m and a"},
		{"rv64imax", "\"x\""},
		{"rv64ima_zbx", "\"zbx\""},
		{"rv64ima_zb", "\"zb\""},
		{"rv64gcv", "does not offer v"},
		{"rv64ima_zicfiss", "does not offer zicfiss"},
		{"rv64im a", "\" \""},
		{"rv64ima__zba", "\"\""},
		{"rv64ima_"
		 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		 "aaa"},
	};
	size_t i;

	new_host(FAKE_7_2);
	new_vcpu();
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		req.list = bad[i].list;
		refused(bad[i].word);
	}
	req.list = "rv64ima_zba";
	req.hide_isa[ZBA] = true;
	refused("--disable-zba");
}
END_TEST

START_TEST(ids)
{
	struct fake_vcpu *v;

	new_host(FAKE_7_2);
	new_vcpu();
	req.set_mvendorid = req.set_mimpid = true;
	req.mvendorid = 0;
	req.mimpid = UINT64_MAX;
	decide();
	v = fake_vcpu(host, 0);
	ck_assert_uint_eq(v->ids[0], 0);
	ck_assert_uint_eq(v->ids[1], 0x5678);
	ck_assert_uint_eq(v->ids[2], UINT64_MAX);
}
END_TEST

START_TEST(apply_to_others)
{
	struct kvm_vcpu second;
	struct fake_vcpu *one, *two;

	new_host(FAKE_7_2);
	new_vcpu();
	req.hide_isa[D] = true;
	req.hide_sbi[STA] = req.hide_sbi[FWFT] = true;
	req.set_marchid = true;
	req.marchid = 77;
	decide();
	ck_assert_int_eq(kvm_vcpu_create(&kvm, 1, &second), 0);
	ck_assert_int_eq(isa_apply(&second, &req, &isa, &err), 0);
	one = fake_vcpu(host, 0);
	two = fake_vcpu(host, 1);
	ck_assert(!memcmp(one->isa, two->isa, sizeof(one->isa)));
	ck_assert(!memcmp(one->sbi, two->sbi, sizeof(one->sbi)));
	ck_assert(!memcmp(one->ids, two->ids, sizeof(one->ids)));
	ck_assert(!two->sbi[STA] && !two->sbi[FWFT] && two->sbi[SBI_EXT_DBCN]);
	kvm_vcpu_destroy(&second);

	/* A vCPU that is not like the first is an error, not a surprise. */
	ck_assert_int_eq(kvm_vcpu_create(&kvm, 2, &second), 0);
	fake_arm(host, KVM_SET_ONE_REG, 1, EINVAL);
	err.msg[0] = '\0';
	ck_assert_int_eq(isa_apply(&second, &req, &isa, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.msg, "extension d off"));
	kvm_vcpu_destroy(&second);
}
END_TEST

START_TEST(sbi_hidden_everywhere)
{
	unsigned int i;

	new_host(FAKE_7_2);
	new_vcpu();
	for (i = 0; i < SBI_EXT_COUNT; i++)
		req.hide_sbi[i] = true;
	decide();
	for (i = 0; i < SBI_EXT_COUNT; i++) {
		ck_assert(!isa.sbi[i]);
		ck_assert(!fake_vcpu(host, 0)->sbi[i]);
	}
}
END_TEST

START_TEST(ioctls_that_fail)
{
	new_host(FAKE_7_2);
	new_vcpu();
	fake_arm(host, KVM_GET_ONE_REG, 1, EIO);
	refused("frequency of the time CSR");
	fake_arm(host, KVM_SET_ONE_REG, 1, EBUSY);
	refused("dbcn");
	/* A list that cannot be had costs a debug line at most. */
	fake_arm(host, KVM_GET_REG_LIST, 1, EIO);
	decide();
	req.set_mimpid = true;
	drop_host();
	new_host(FAKE_7_2);
	new_vcpu();
	fake_arm(host, KVM_SET_ONE_REG, 3, EINVAL); /* after DBCN and SUSP */
	refused("--custom-mimpid");
}
END_TEST

START_TEST(everything_fits_the_strings)
{
	const char *got[ISA_EXT_COUNT + 1];
	char text[ISA_STRING_MAX];
	unsigned int i;

	memset(&isa, 0, sizeof(isa));
	memset(isa.shown, true, sizeof(isa.shown));
	isa.xlen = 64;
	isa_legacy_string(&isa, text);
	ck_assert_uint_lt(strlen(text), ISA_STRING_MAX - 1);
	ck_assert_ptr_nonnull(strstr(text, "_zicfiss"));
	isa_names(&isa, got);
	for (i = 0; got[i]; i++)
		;
	ck_assert_uint_eq(i, ISA_EXT_COUNT);
	memset(isa.shown, false, sizeof(isa.shown));
	isa.xlen = 32;
	isa_legacy_string(&isa, text);
	ck_assert_str_eq(text, "rv32");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("isa");
	TCase *tc = tcase_create("isa");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, names);
	tcase_add_loop_test(tc, plain_host, FAKE_6_12, FAKE_7_3 + 1);
	tcase_add_test(tc, words_and_singles_agree);
	tcase_add_test(tc, few_ioctls);
	tcase_add_test(tc, disable_with_kvm);
	tcase_add_test(tc, disable_without_kvm);
	tcase_add_test(tc, timers_that_may_be_lost);
	tcase_add_test(tc, disable_what_is_not_there);
	tcase_add_test(tc, interrupt_files);
	tcase_add_test(tc, counter_overflow);
	tcase_add_test(tc, lists);
	tcase_add_test(tc, bad_lists);
	tcase_add_test(tc, ids);
	tcase_add_test(tc, apply_to_others);
	tcase_add_test(tc, sbi_hidden_everywhere);
	tcase_add_test(tc, ioctls_that_fail);
	tcase_add_test(tc, everything_fits_the_strings);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
