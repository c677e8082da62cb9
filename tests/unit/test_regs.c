// SPDX-License-Identifier: GPL-2.0-only
/*
 * The register catalogue and sets of registers, against scripted hosts: names, KVM's own
 * list and the walk that replaces it, a round trip that loses nothing, the orders that
 * KVM's traps ask for, what a host can't take, and bytes that are none.
 */
#include "fake_kvm.h"
#include "prng.h"
#include "unit.h"

#include "lkvm/riscv/reg_set.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { EXT_D = 2, EXT_F = 3, EXT_V = 15, EXT_ZFH = 46, SBI_STA = 10, SBI_FWFT = 12 };

/* A scripted host with one vCPU. */
struct box {
	struct fake_host *host;
	struct kvm kvm;
	struct kvm_vcpu vcpu;
	struct error err;
};

static void box_open(struct box *b)
{
	ck_assert_int_eq(kvm_open(&b->kvm, fake_host_sys(b->host), &b->err), 0);
	ck_assert_int_eq(kvm_vm_create(&b->kvm), 0);
	ck_assert_int_eq(kvm_vcpu_create(&b->kvm, 0, &b->vcpu), 0);
}

static void box_init(struct box *b, enum fake_kernel kernel)
{
	memset(b, 0, sizeof(*b));
	b->host = fake_host_new(kernel);
}

static void box_close(struct box *b)
{
	kvm_vcpu_destroy(&b->vcpu);
	kvm_close(&b->kvm);
	ck_assert_msg(!fake_complaint(b->host), "%s", fake_complaint(b->host));
	ck_assert_uint_eq(fake_live(b->host), 0);
	fake_host_free(b->host);
}

/* The vCPU of the scripted host as a guest might leave it: nothing is 0. */
static void scribble(struct fake_vcpu *v)
{
	unsigned int i, k;

	for (i = 0; i < ARRAY_SIZE(v->core); i++)
		v->core[i] = 0x1111000000000000u + i;
	v->core[CORE_MODE] = 0;
	for (i = 0; i < ARRAY_SIZE(v->csr); i++)
		v->csr[i] = 0x2222000000000000u + i;
	v->csr[CSR_SIP] = 0x222;
	v->csr[CSR_SATP] = UINT64_C(9) << 60 | 0x1234;
	for (i = 0; i < ARRAY_SIZE(v->aia); i++)
		v->aia[i] = v->isa[ISA_EXT_SSAIA] ? 0x3333 + i : 0;
	for (i = 0; i < 32; i++)
		v->fp[i] = 0x4444555566660000u + i;
	v->fcsr = 0x21;
	v->ssp = 0x7777;
	for (i = 0; i < 4; i++)
		v->vector[i] = 5 + i;
	for (i = 0; i < 32; i++)
		for (k = 0; k < 64; k++)
			v->v[i][k] = (uint8_t)(i + k);
	v->compare = 0x123456;
	v->timer_state = 0;
	v->sta[0] = 0x80004040;
	v->sta[1] = 0;
	v->fwft[0] = 1;
	v->fwft[1] = 1;
	v->fwft[2] = 1;
	v->ids[0] = 0xabc;
}

START_TEST(names)
{
	char name[REG_NAME_MAX];

#define NAME(id) reg_name(id, name)
	ck_assert_str_eq(NAME(reg_long(REG_CORE, 0, CORE_SP)), "sp");
	ck_assert_str_eq(NAME(reg_long(REG_CORE, 0, CORE_MODE)), "mode");
	ck_assert_str_eq(NAME(reg_long(REG_CSR, 0, CSR_SSTATUS)), "sstatus");
	ck_assert_str_eq(NAME(reg_long(REG_CSR, 0, CSR_SENVCFG)), "senvcfg");
	ck_assert_str_eq(NAME(reg_long(REG_CSR, 1, 0)), "siselect");
	ck_assert_str_eq(NAME(reg_long(REG_CSR, 3, 0)), "ssp");
	ck_assert_str_eq(NAME(reg_id(REG_FP_D, 0, 31, REG_SIZE_U64)), "f31");
	ck_assert_str_eq(NAME(reg_id(REG_FP_D, 0, 32, REG_SIZE_U32)), "fcsr");
	ck_assert_str_eq(NAME(reg_id(REG_VECTOR, 0, 6, 4)), "v0");
	ck_assert_str_eq(NAME(reg_id(REG_VECTOR, 0, 37, 4)), "v31");
	ck_assert_str_eq(NAME(reg_long(REG_VECTOR, 0, 3)), "vcsr");
	ck_assert_str_eq(NAME(reg_long(REG_ISA_EXT, EXT_SINGLE, 17)), "isa-ext zba");
	ck_assert_str_eq(NAME(reg_long(REG_SBI_EXT, EXT_SINGLE, 12)), "sbi-ext fwft");
	ck_assert_str_eq(NAME(reg_long(REG_SBI_STATE, 0, 1)), "sta shmem-hi");
	ck_assert_str_eq(NAME(reg_long(REG_SBI_STATE, 1, 14)), "fwft shadow-stack value");
	ck_assert_str_eq(NAME(reg_id(REG_TIMER, 0, 3, REG_SIZE_U64)), "timer-state");
	ck_assert_str_eq(NAME(reg_long(REG_CSR, 0, 99)), "register 0x8030000003000063");
	ck_assert_uint_eq(reg_size(reg_id(REG_VECTOR, 0, 6, 5)), 32);
	ck_assert_uint_eq(reg_size(reg_id(REG_FP_D, 0, 32, REG_SIZE_U32)), 4);
}
END_TEST

static int by_id(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Each kernel: every register it lists is known, and the walk finds the same ones. */
START_TEST(list_and_walk_agree)
{
	uint64_t *ids, *walked;
	char name[REG_NAME_MAX];
	struct box b;
	long nr, n, i;

	box_init(&b, (enum fake_kernel)_i);
	b.host->host_isa[EXT_V] = b.host->host_isa[ISA_EXT_SSAIA] = true;
	box_open(&b);
	nr = regs_list(&b.vcpu, &ids);
	ck_assert_int_gt(nr, 150);
	for (i = 0; i < nr; i++)
		ck_assert_msg(reg_info(ids[i]).known, "%s", reg_name(ids[i], name));
	fake_arm(b.host, KVM_GET_REG_LIST, 1, EINVAL);
	n = regs_list(&b.vcpu, &walked);
	qsort(ids, (size_t)nr, sizeof(*ids), by_id);
	qsort(walked, (size_t)n, sizeof(*walked), by_id);
	for (i = 0; i < nr && i < n; i++)
		ck_assert_msg(ids[i] == walked[i], "%s", reg_name(ids[i], name));
	ck_assert_int_eq(n, nr);
	free(ids);
	free(walked);
	box_close(&b);
}
END_TEST

static void save(struct box *b, struct reg_set *set)
{
	memset(set, 0, sizeof(*set));
	ck_assert_msg(!reg_set_save(set, &b->vcpu, &b->err), "%s", b->err.msg);
}

static void restore(struct box *b, const struct reg_set *set)
{
	ck_assert_msg(!reg_set_configure(set, &b->vcpu, &b->err) &&
			      !reg_set_restore(set, &b->vcpu, &b->err) &&
			      !reg_set_restore_timer(set, &b->vcpu, &b->err),
		      "%s", b->err.msg);
}

static struct xfer to_bytes(struct reg_set *set)
{
	struct xfer x;

	xfer_save_init(&x);
	reg_set_transfer(set, &x, NULL);
	ck_assert_int_eq(xfer_done(&x, NULL), 0);
	return x;
}

/* Save, through bytes, into another vCPU: every field there, and the same bytes again. */
START_TEST(round_trip)
{
	struct fake_vcpu *from, *to;
	struct reasons why = {0};
	struct reg_set set, loaded = {0}, again;
	struct xfer x, y, in;
	struct box a, b;

	box_init(&a, (enum fake_kernel)_i);
	box_init(&b, (enum fake_kernel)_i);
	a.host->host_isa[EXT_V] = b.host->host_isa[EXT_V] = true;
	a.host->host_isa[ISA_EXT_SSAIA] = b.host->host_isa[ISA_EXT_SSAIA] = true;
	box_open(&a);
	box_open(&b);
	from = fake_vcpu(a.host, 0);
	to = fake_vcpu(b.host, 0);
	scribble(from);
	save(&a, &set);
	/* Whether an external interrupt is pending is for its chip to say. */
	from->csr[CSR_SIP] &= ~SIP_SEIP;
	/* Nothing of the other view of D: writing it would spoil D. */
	ck_assert_ptr_null(reg_set_find(&set, reg_id(REG_FP_F, 0, 3, REG_SIZE_U32)));
	ck_assert_ptr_null(reg_set_find(&set, reg_id(REG_TIMER, 0, TIMER_TIME, REG_SIZE_U64)));
	x = to_bytes(&set);
	xfer_load_init(&in, x.buf, x.len);
	reg_set_transfer(&loaded, &in, &why);
	ck_assert_msg(!xfer_done(&in, &a.err), "%s", a.err.msg);
	ck_assert_uint_eq(loaded.nr, set.nr);

	reg_set_check(&loaded, &b.vcpu, "vCPU 0", &why);
	ck_assert_msg(!why.nr, "%s", why.list[0].msg);
	restore(&b, &loaded);
	ck_assert_mem_eq(to->core, from->core, sizeof(to->core));
	ck_assert_uint_eq(to->csr[CSR_SIP], 0x022);
	ck_assert_mem_eq(to->csr, from->csr, sizeof(to->csr));
	ck_assert_mem_eq(to->aia, from->aia, sizeof(to->aia));
	ck_assert_mem_eq(to->fp, from->fp, sizeof(to->fp));
	ck_assert_mem_eq(to->vector, from->vector, sizeof(to->vector));
	ck_assert_mem_eq(to->v[31], from->v[31], 16);
	ck_assert_mem_eq(to->sta, from->sta, sizeof(to->sta));
	ck_assert_uint_eq(to->fcsr, from->fcsr);
	ck_assert_uint_eq(to->compare, from->compare);
	ck_assert_uint_eq(to->ids[0], from->ids[0]);
	if (_i != FAKE_6_12)
		ck_assert_mem_eq(to->fwft, from->fwft, sizeof(to->fwft));
	if (_i == FAKE_7_3)
		ck_assert_uint_eq(to->ssp, from->ssp);

	save(&b, &again);
	y = to_bytes(&again);
	ck_assert_uint_eq(y.len, x.len);
	ck_assert_mem_eq(y.buf, x.buf, x.len);
	xfer_free(&x);
	xfer_free(&y);
	reg_set_free(&set);
	reg_set_free(&loaded);
	reg_set_free(&again);
	box_close(&a);
	box_close(&b);
}
END_TEST

/* A host without D: the single-precision view is all there is. */
START_TEST(only_f)
{
	struct reg_set set;
	struct box a, b;

	box_init(&a, FAKE_7_2);
	box_init(&b, FAKE_7_2);
	a.host->host_isa[EXT_D] = b.host->host_isa[EXT_D] = false;
	box_open(&a);
	box_open(&b);
	scribble(fake_vcpu(a.host, 0));
	save(&a, &set);
	restore(&b, &set);
	ck_assert_mem_eq(fake_vcpu(b.host, 0)->fp, fake_vcpu(a.host, 0)->fp, 128);
	ck_assert_uint_eq(fake_vcpu(b.host, 0)->fcsr, 0x21);
	reg_set_free(&set);
	box_close(&a);
	box_close(&b);
}
END_TEST

/* An armed timer without Sstc: 6.12 overwrites compare when it is armed. */
START_TEST(armed_timer)
{
	struct reg_set set;
	struct box a, b;

	box_init(&a, (enum fake_kernel)_i);
	box_init(&b, (enum fake_kernel)_i);
	a.host->host_isa[ISA_EXT_SSTC] = b.host->host_isa[ISA_EXT_SSTC] = false;
	box_open(&a);
	box_open(&b);
	scribble(fake_vcpu(a.host, 0));
	fake_vcpu(a.host, 0)->timer_state = 1;
	save(&a, &set);
	restore(&b, &set);
	ck_assert_uint_eq(fake_vcpu(b.host, 0)->timer_state, 1);
	ck_assert_uint_eq(fake_vcpu(b.host, 0)->compare, 0x123456);
	reg_set_free(&set);
	box_close(&a);
	box_close(&b);
}
END_TEST

/* From a host without Sstc to one with it: what went off stays so, what did not does not. */
START_TEST(gaining_sstc)
{
	struct reg_set set;
	struct box a, b;

	box_init(&a, FAKE_7_2);
	box_init(&b, FAKE_7_2);
	a.host->host_isa[ISA_EXT_SSTC] = false;
	box_open(&a);
	box_open(&b);
	scribble(fake_vcpu(a.host, 0));
	fake_vcpu(a.host, 0)->csr[CSR_SIP] = _i ? 0x20 : 0;
	save(&a, &set);
	restore(&b, &set);
	ck_assert_uint_eq(fake_vcpu(b.host, 0)->csr[CSR_SIP], 0);
	ck_assert_uint_eq(fake_vcpu(b.host, 0)->compare, _i ? 0x123456 : UINT64_MAX);
	reg_set_free(&set);
	box_close(&a);
	box_close(&b);
}
END_TEST

static void refused(struct box *b, const struct reg_set *set, const char *text)
{
	struct reasons why = {0};
	unsigned int i;

	reg_set_check(set, &b->vcpu, "vCPU 0", &why);
	for (i = 0; i < why.nr; i++)
		if (strstr(why.list[i].msg, text))
			return;
	ck_abort_msg("no reason says '%s'; %u reasons, the first: %s", text, why.nr,
		     why.nr ? why.list[0].msg : "");
}

START_TEST(other_hosts)
{
	static const struct {
		const char *text;
		enum fake_kernel kernel;
		unsigned int ext;
		uint64_t timebase, vlenb, satp, block;
	} hosts[] = {
		{"clock counts 10000000 Hz, the host's 24000000 Hz", FAKE_7_2, 0, 24000000, 16, 9,
		 64},
		{"(vlenb) have 16 bytes, here 32", FAKE_7_2, 0, 10000000, 32, 9, 64},
		{"sv48 page tables, this host has up to sv39", FAKE_7_2, 0, 10000000, 16, 8, 64},
		{"zicbom-block-size is 64, here 128", FAKE_7_2, 0, 10000000, 16, 9, 128},
		{"ISA extension zfh, which KVM here does not have", FAKE_7_2, EXT_ZFH, 10000000, 16,
		 9, 64},
		{"ISA extension v, which", FAKE_7_2, EXT_V, 10000000, 16, 9, 64},
		{"SBI extension fwft, which KVM here does not have", FAKE_6_12, 0, 10000000, 16, 9,
		 64},
	};
	struct reg_set set;
	struct box a, b;

	box_init(&a, FAKE_7_2);
	a.host->host_isa[EXT_V] = true;
	box_open(&a);
	scribble(fake_vcpu(a.host, 0));
	save(&a, &set);
	box_init(&b, hosts[_i].kernel);
	b.host->host_isa[EXT_V] = true;
	if (hosts[_i].ext)
		b.host->host_isa[hosts[_i].ext] = false;
	b.host->timebase = hosts[_i].timebase;
	b.host->vlenb = hosts[_i].vlenb;
	b.host->satp_mode = hosts[_i].satp;
	b.host->block_size = hosts[_i].block;
	box_open(&b);
	refused(&b, &set, hosts[_i].text);
	reg_set_free(&set);
	box_close(&a);
	box_close(&b);
}
END_TEST

/* What the target has more does not keep a guest away, in both directions of age. */
START_TEST(more_is_no_obstacle)
{
	struct reasons why = {0};
	struct reg_set set;
	struct box a, b;

	box_init(&a, FAKE_6_12);
	box_init(&b, FAKE_7_3);
	b.host->host_isa[EXT_V] = true;
	b.host->satp_mode = 10;
	box_open(&a);
	box_open(&b);
	scribble(fake_vcpu(a.host, 0));
	save(&a, &set);
	reg_set_check(&set, &b.vcpu, "vCPU 0", &why);
	ck_assert_msg(!why.nr, "%s", why.list[0].msg);
	restore(&b, &set);
	ck_assert_mem_eq(fake_vcpu(b.host, 0)->core, fake_vcpu(a.host, 0)->core,
			 sizeof(fake_vcpu(a.host, 0)->core));
	ck_assert(!fake_vcpu(b.host, 0)->isa[EXT_V]);
	ck_assert(!fake_vcpu(b.host, 0)->sbi[SBI_FWFT]);
	reg_set_free(&set);
	box_close(&a);
	box_close(&b);
}
END_TEST

/* A register from the future: kept as it is, written back, reported in one line. */
START_TEST(unknown_registers)
{
	uint64_t id = reg_id(REG_SBI_STATE, 7, 3, REG_SIZE_U64), value = 0x1234, got;
	struct reg_set set, loaded = {0};
	struct reasons why = {0};
	struct xfer x, in;
	char text[512];
	struct log log;
	struct box b;
	int fd = memfd_create("log", MFD_CLOEXEC);
	ssize_t n;

	box_init(&b, FAKE_7_2);
	box_open(&b);
	save(&b, &set);
	ck_assert(reg_set_put(&set, id, &value));
	log_init(&log, fd, LOG_LEVEL_WARNING);
	reg_set_report(&set, &log);
	n = pread(fd, text, sizeof(text) - 1, 0);
	ck_assert_int_gt(n, 0);
	text[n] = '\0';
	ck_assert_ptr_nonnull(strstr(text, "1 registers that lkvm has no name for"));
	x = to_bytes(&set);
	xfer_load_init(&in, x.buf, x.len);
	reg_set_transfer(&loaded, &in, &why);
	ck_assert_int_eq(xfer_done(&in, NULL), 0);
	got = reg_set_get(&loaded, id, 0);
	ck_assert_uint_eq(got, value);
	ck_assert_int_eq(reg_info(id).place, REG_PLACE_UNKNOWN);
	refused(&b, &loaded, "KVM here has no register register 0x");
	xfer_free(&x);
	reg_set_free(&set);
	reg_set_free(&loaded);
	close(fd);
	box_close(&b);
}
END_TEST

/* Any byte changed or cut off: taken or refused, but never followed out of bounds. */
START_TEST(garbage)
{
	struct prng p = prng_start("garbage");
	struct reg_set set;
	struct xfer x;
	struct box b;
	size_t i;

	box_init(&b, FAKE_7_2);
	box_open(&b);
	save(&b, &set);
	x = to_bytes(&set);
	for (i = 0; i < x.len; i++) {
		struct reg_set loaded = {0};
		struct reasons why = {0};
		struct xfer in;

		xfer_load_init(&in, x.buf, i);
		reg_set_transfer(&loaded, &in, &why);
		ck_assert_int_eq(xfer_done(&in, NULL), -1);
		reg_set_free(&loaded);
	}
	for (i = 0; i < 20000; i++) {
		struct reg_set loaded = {0};
		struct reasons why = {0};
		size_t at = prng_below(&p, (unsigned int)x.len);
		uint8_t old = x.buf[at];
		struct xfer in;

		x.buf[at] ^= (uint8_t)(1u << prng_below(&p, 8));
		xfer_load_init(&in, x.buf, x.len);
		reg_set_transfer(&loaded, &in, &why);
		reg_set_free(&loaded);
		x.buf[at] = old;
	}
	xfer_free(&x);
	reg_set_free(&set);
	box_close(&b);
}
END_TEST

START_TEST(pending_start)
{
	struct fake_vcpu *v;
	struct box b;
	unsigned long word;

	box_init(&b, FAKE_7_2);
	box_open(&b);
	v = fake_vcpu(b.host, 0);
	ck_assert(!reg_set_start_is_pending(&b.vcpu, true));
	ck_assert(reg_set_start_is_pending(&b.vcpu, false));
	word = 0x80000000;
	ck_assert_int_eq(kvm_set_reg(&b.vcpu, reg_long(REG_CORE, 0, CORE_PC), &word), 0);
	ck_assert(!reg_set_start_is_pending(&b.vcpu, false));
	v->core[CORE_A0 + 7] = 0x48534d;
	v->core[CORE_A0 + 6] = 1;
	ck_assert(reg_set_start_is_pending(&b.vcpu, false));
	ck_assert(reg_set_start_is_pending(&b.vcpu, true));
	v->core[CORE_A0] = 1;
	ck_assert(!reg_set_start_is_pending(&b.vcpu, true));
	v->core[CORE_A0] = 0;
	ck_assert_int_eq(kvm_set_mp_state(&b.vcpu, KVM_MP_STATE_STOPPED), 0);
	ck_assert(!reg_set_start_is_pending(&b.vcpu, false));
	box_close(&b);
}
END_TEST

/* Every register that KVM may refuse, refused: the message names it. */
START_TEST(faults)
{
	struct reg_set set;
	struct box a, b;

	box_init(&a, FAKE_7_2);
	box_init(&b, FAKE_7_2);
	box_open(&a);
	box_open(&b);
	save(&a, &set);
	fake_arm(b.host, KVM_SET_ONE_REG, 5, EIO);
	ck_assert(reg_set_configure(&set, &b.vcpu, &b.err) ||
		  reg_set_restore(&set, &b.vcpu, &b.err));
	ck_assert_ptr_nonnull(strstr(b.err.msg, "KVM refused "));
	reg_set_free(&set);
	memset(&set, 0, sizeof(set));
	fake_arm(a.host, KVM_GET_ONE_REG, 20, EIO);
	ck_assert_int_eq(reg_set_save(&set, &a.vcpu, &a.err), -1);
	ck_assert_ptr_nonnull(strstr(a.err.msg, "KVM does not give "));
	reg_set_free(&set);
	box_close(&a);
	box_close(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("regs");
	TCase *tc = tcase_create("regs");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, names);
	tcase_add_loop_test(tc, list_and_walk_agree, FAKE_6_12, FAKE_7_3 + 1);
	tcase_add_loop_test(tc, round_trip, FAKE_6_12, FAKE_7_3 + 1);
	tcase_add_test(tc, only_f);
	tcase_add_loop_test(tc, armed_timer, FAKE_6_12, FAKE_7_3 + 1);
	tcase_add_loop_test(tc, gaining_sstc, 0, 2);
	tcase_add_loop_test(tc, other_hosts, 0, 7);
	tcase_add_test(tc, more_is_no_obstacle);
	tcase_add_test(tc, unknown_registers);
	tcase_add_test(tc, garbage);
	tcase_add_test(tc, pending_start);
	tcase_add_test(tc, faults);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
