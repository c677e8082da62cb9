// SPDX-License-Identifier: GPL-2.0-only
/*
 * The seam to KVM: what kvm_open() says to a person, the thin wrappers, and that
 * the scripted host itself behaves as KVM was seen to.
 */
#include "fake_kvm.h"
#include "lkvm/riscv/regs.h"
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BASE UINT64_C(0x80000000)

static struct fake_host *host;
static struct kvm kvm;
static struct error err;

static void teardown(void)
{
	const char *complaint = fake_complaint(host);

	ck_assert_msg(!complaint, "%s", complaint ? complaint : "");
	ck_assert_uint_eq(fake_live(host), 0);
	fake_host_free(host);
}

static void open_host(enum fake_kernel kernel)
{
	host = fake_host_new(kernel);
	ck_assert_int_eq(kvm_open(&kvm, fake_host_sys(host), &err), 0);
	ck_assert_int_eq(kvm_vm_create(&kvm), 0);
}

static void refused(unsigned long request, int errnum, const char *word)
{
	host = fake_host_new(FAKE_7_2);
	fake_arm(host, request, 1, errnum);
	err.msg[0] = '\0';
	ck_assert_int_eq(kvm_open(&kvm, fake_host_sys(host), &err), -1);
	ck_assert_msg(strstr(err.msg, word), "%s", err.msg);
	ck_assert_ptr_null(strchr(err.msg, '\n'));
	kvm_close(&kvm); /* harmless after a failure */
	teardown();
}

START_TEST(open_messages)
{
	refused(FAKE_OPEN, ENOENT, "modprobe kvm");
	refused(FAKE_OPEN, ENODEV, "no KVM");
	refused(FAKE_OPEN, ENXIO, "no KVM");
	refused(FAKE_OPEN, EACCES, "usermod -aG kvm");
	refused(FAKE_OPEN, EPERM, "forbidden");
	refused(FAKE_OPEN, EMFILE, "Too many open files");
	refused(KVM_GET_API_VERSION, ENOTTY, "does not answer as KVM");
	refused(KVM_GET_VCPU_MMAP_SIZE, EINVAL, "shared area");
}
END_TEST

START_TEST(open_versions)
{
	static const int versions[] = {0, 11, 13};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(versions); i++) {
		host = fake_host_new(FAKE_7_2);
		host->api_version = versions[i];
		ck_assert_int_eq(kvm_open(&kvm, fake_host_sys(host), &err), -1);
		ck_assert_msg(strstr(err.msg, "API version"), "%s", err.msg);
		teardown();
	}
	host = fake_host_new(FAKE_7_2);
	host->run_size = 64;
	ck_assert_int_eq(kvm_open(&kvm, fake_host_sys(host), &err), -1);
	ck_assert_msg(strstr(err.msg, "64 bytes"), "%s", err.msg);
	teardown();
}
END_TEST

START_TEST(create_vm)
{
	host = fake_host_new(FAKE_7_2);
	ck_assert_int_eq(kvm_open(&kvm, fake_host_sys(host), &err), 0);
	/* Interrupted while it sets up: tried again. */
	fake_arm(host, KVM_CREATE_VM, 1, EINTR);
	fake_arm(host, KVM_CREATE_VM, 2, EINTR);
	ck_assert_int_eq(kvm_vm_create(&kvm), 0);
	ck_assert_uint_eq(fake_calls(host, KVM_CREATE_VM), 3);
	kvm_vm_destroy(&kvm);
	kvm_vm_destroy(&kvm);
	fake_arm(host, KVM_CREATE_VM, 1, ENOMEM);
	ck_assert_int_eq(kvm_vm_create(&kvm), -ENOMEM);
	ck_assert_int_eq(kvm.vm_fd, -1);
	kvm_close(&kvm);
	teardown();
}
END_TEST

START_TEST(wrappers)
{
	struct kvm_vcpu vcpu, second;
	unsigned long value = 0;
	uint32_t state = 99, word = 0;
	uint64_t *ids;
	long n, i;

	open_host(FAKE_7_2);
	ck_assert_int_eq(kvm_check(&kvm, KVM_CAP_MAX_VCPUS), 1024);
	ck_assert_int_eq(kvm_check(&kvm, 4711), 0);
	fake_arm(host, KVM_CHECK_EXTENSION, 1, EIO);
	ck_assert_int_eq(kvm_check(&kvm, KVM_CAP_MAX_VCPUS), 0);

	/* No descriptor is left where mapping fails, and destroying what is not there is fine. */
	fake_arm(host, FAKE_MAP, 1, ENOMEM);
	ck_assert_int_eq(kvm_vcpu_create(&kvm, 0, &vcpu), -ENOMEM);
	kvm_vcpu_destroy(&vcpu);
	ck_assert_int_eq(kvm_vcpu_create(&kvm, 0, &vcpu), -EEXIST);
	kvm_vcpu_destroy(&vcpu);
	ck_assert_int_eq(kvm_vcpu_create(&kvm, 1024, &vcpu), -EINVAL);
	ck_assert_int_eq(kvm_vcpu_create(&kvm, 1, &vcpu), 0);
	ck_assert_int_eq(kvm_vcpu_create(&kvm, 2, &second), 0);

	ck_assert_int_eq(kvm_get_mp_state(&vcpu, &state), 0);
	ck_assert_uint_eq(state, 5); /* hart 0 was created first, if only for a moment */
	ck_assert_int_eq(kvm_set_mp_state(&vcpu, 0), 0);
	ck_assert_int_eq(kvm_get_mp_state(&vcpu, &state), 0);
	ck_assert_uint_eq(state, 0);
	ck_assert_int_eq(kvm_set_mp_state(&vcpu, 7), -EINVAL);
	ck_assert_int_eq(kvm_set_mp_state(&vcpu, 2), -EINVAL);
	ck_assert_int_eq(kvm_enable_cap(&kvm, 242, 0), 0);
	ck_assert_int_eq(kvm_set_mp_state(&vcpu, 2), 0);

	value = 0x1234;
	ck_assert_int_eq(kvm_set_reg(&vcpu, reg_long(REG_CORE, 0, CORE_A0), &value), 0);
	value = 0;
	ck_assert_int_eq(kvm_get_reg(&vcpu, reg_long(REG_CORE, 0, CORE_A0), &value), 0);
	ck_assert_uint_eq(value, 0x1234);
	ck_assert_int_eq(kvm_get_reg(&vcpu, reg_id(REG_FP_F, 0, 32, REG_SIZE_U32), &word), 0);
	ck_assert_int_eq(kvm_get_reg(&vcpu, reg_long(REG_FP_F, 0, 0), &value), -EINVAL);
	ck_assert_int_eq(kvm_get_reg(&vcpu, reg_long(REG_CORE, 0, 33), &value), -ENOENT);

	n = kvm_get_reg_list(&vcpu, &ids);
	ck_assert_int_gt(n, 100);
	for (i = 0; i < n; i++)
		ck_assert(reg_sub_of(ids[i]) == EXT_SINGLE || reg_class_of(ids[i]) == REG_CSR ||
			  reg_class_of(ids[i]) == REG_SBI_STATE);
	free(ids);
	fake_arm(host, KVM_GET_REG_LIST, 1, EFAULT);
	ck_assert_int_eq(kvm_get_reg_list(&vcpu, &ids), -EFAULT);
	ck_assert_ptr_null(ids);
	fake_arm(host, KVM_GET_REG_LIST, 2, ENOMEM);
	ck_assert_int_eq(kvm_get_reg_list(&vcpu, &ids), -ENOMEM);
	ck_assert_ptr_null(ids);

	ck_assert_int_eq(kvm_interrupt(&vcpu, true), 0);
	ck_assert_uint_eq(atomic_load(&fake_vcpu(host, 1)->irq_sets), 1);
	ck_assert_int_eq(kvm_interrupt(&vcpu, false), 0);
	ck_assert_uint_eq(atomic_load(&fake_vcpu(host, 1)->irq_unsets), 1);

	vcpu.run->immediate_exit = 1;
	ck_assert_int_eq(kvm_vcpu_run(&vcpu), -EINTR);
	kvm_vcpu_destroy(&vcpu);
	kvm_vcpu_destroy(&vcpu);
	kvm_vcpu_destroy(&second);
	kvm_close(&kvm);
	teardown();
}
END_TEST

START_TEST(fake_gpa_bits)
{
	static char page[4096] __attribute__((aligned(4096)));
	struct kvm_vcpu vcpu;

	open_host(FAKE_6_12);
	ck_assert_int_eq(kvm_check(&kvm, KVM_CAP_VM_GPA_BITS), 50);
	ck_assert_int_eq(kvm_enable_cap(&kvm, KVM_CAP_VM_GPA_BITS, 50), -EINVAL);
	kvm_close(&kvm);
	teardown();

	open_host(FAKE_7_2);
	ck_assert_int_eq(kvm_enable_cap(&kvm, KVM_CAP_VM_GPA_BITS, 60), -EINVAL);
	ck_assert_int_eq(kvm_enable_cap(&kvm, KVM_CAP_VM_GPA_BITS, 51), -EINVAL);
	ck_assert_int_eq(kvm_enable_cap(&kvm, KVM_CAP_VM_GPA_BITS, 0), 0);
	ck_assert_int_eq(kvm_check(&kvm, KVM_CAP_VM_GPA_BITS), 41);
	ck_assert_int_eq(kvm_enable_cap(&kvm, KVM_CAP_VM_GPA_BITS, 42), 0);
	ck_assert_int_eq(kvm_check(&kvm, KVM_CAP_VM_GPA_BITS), 50);
	ck_assert_int_eq(kvm_enable_cap(&kvm, KVM_CAP_VM_GPA_BITS, 41), 0);
	/* Ends at, or beyond, the limit. */
	ck_assert_int_eq(kvm_set_memory(&kvm, 0, (UINT64_C(1) << 41) - 4096, 4096, page, 0),
			 -EFAULT);
	ck_assert_int_eq(kvm_set_memory(&kvm, 0, UINT64_C(1) << 41, 4096, page, 0), -EFAULT);
	ck_assert_int_eq(kvm_set_memory(&kvm, 0, BASE, 4096, page, 0), 0);
	ck_assert_int_eq(kvm_set_memory(&kvm, 1, BASE, 4096, page, 0), -EEXIST);
	ck_assert_int_eq(kvm_set_memory(&kvm, 1, BASE + 1, 4096, page, 0), -EINVAL);
	ck_assert_int_eq(kvm_enable_cap(&kvm, KVM_CAP_VM_GPA_BITS, 41), -EBUSY);
	ck_assert_int_eq(kvm_enable_cap(&kvm, KVM_CAP_VM_GPA_BITS, 60), -EINVAL);
	ck_assert_int_eq(kvm_set_memory(&kvm, 0, BASE, 0, NULL, 0), 0);
	ck_assert_int_eq(kvm_enable_cap(&kvm, KVM_CAP_VM_GPA_BITS, 50), 0);
	ck_assert_int_eq(kvm_vcpu_create(&kvm, 0, &vcpu), 0);
	ck_assert_int_eq(kvm_enable_cap(&kvm, KVM_CAP_VM_GPA_BITS, 50), -EBUSY);
	ck_assert_int_eq(kvm_enable_cap(&kvm, KVM_CAP_VM_GPA_BITS, 59), -EINVAL);
	kvm_vcpu_destroy(&vcpu);
	kvm_close(&kvm);
	teardown();

	open_host(FAKE_7_3);
	ck_assert_int_eq(kvm_set_memory(&kvm, 0, (UINT64_C(1) << 50) - 4096, 4096, page, 0), 0);
	kvm_close(&kvm);
	teardown();
}
END_TEST

static int set(struct kvm_vcpu *vcpu, uint64_t id, uint64_t value)
{
	return kvm_set_reg(vcpu, id, &value);
}

static uint64_t get(struct kvm_vcpu *vcpu, uint64_t id)
{
	uint64_t value = 0;

	ck_assert_int_eq(kvm_get_reg(vcpu, id, &value), 0);
	return value;
}

START_TEST(fake_register_traps)
{
	const uint64_t d = reg_long(REG_ISA_EXT, EXT_SINGLE, 2);
	const uint64_t c = reg_long(REG_ISA_EXT, EXT_SINGLE, 1);
	const uint64_t dbcn = reg_long(REG_SBI_EXT, EXT_SINGLE, SBI_EXT_DBCN);
	const uint64_t sip = reg_long(REG_CSR, 0, CSR_SIP);
	const uint64_t timer = reg_id(REG_TIMER, 0, 0, REG_SIZE_U64);
	const uint64_t sta = reg_long(REG_SBI_STATE, 0, 0);
	struct kvm_vcpu vcpu;

	open_host(FAKE_7_2);
	ck_assert_int_eq(kvm_vcpu_create(&kvm, 0, &vcpu), 0);
	ck_assert_uint_eq(get(&vcpu, reg_long(REG_CSR, 0, CSR_SCOUNTEREN)), 0);
	ck_assert_int_eq(set(&vcpu, timer + TIMER_FREQUENCY, 10000001), -EINVAL);
	ck_assert_int_eq(set(&vcpu, timer + TIMER_FREQUENCY, 10000000), 0);
	ck_assert_int_eq(set(&vcpu, timer + TIMER_STATE, 0), -EINVAL);
	ck_assert_int_eq(set(&vcpu, reg_long(REG_CONFIG, 0, CONFIG_SATP_MODE), 8), -EINVAL);
	ck_assert_int_eq(set(&vcpu, reg_long(REG_CONFIG, 0, CONFIG_SATP_MODE), 9), 0);
	ck_assert_int_eq(set(&vcpu, sip, UINT64_MAX), 0);
	ck_assert_uint_eq(get(&vcpu, sip), 0x2222);
	ck_assert_int_eq(set(&vcpu, c, 0), -EINVAL);
	ck_assert_int_eq(set(&vcpu, c, 1), 0);
	ck_assert_int_eq(set(&vcpu, d, 2), -EINVAL);
	ck_assert_int_eq(set(&vcpu, d, 0), 0);
	ck_assert_int_eq(set(&vcpu, d, 1), 0);
	ck_assert_int_eq(set(&vcpu, reg_long(REG_ISA_EXT, EXT_SINGLE, ISA_EXT_H), 1), -EINVAL);
	ck_assert_int_eq(set(&vcpu, reg_long(REG_ISA_EXT, EXT_SINGLE, 79), 1), -ENOENT);
	ck_assert_uint_eq(get(&vcpu, dbcn), 0);
	ck_assert_int_eq(set(&vcpu, dbcn, 1), 0);
	ck_assert_uint_eq(
		get(&vcpu, reg_long(REG_SBI_EXT, EXT_MULTI_ENABLE, 0)) >> SBI_EXT_DBCN & 1, 1);
	ck_assert_int_eq(set(&vcpu, sta, 64), 0);
	ck_assert_int_eq(set(&vcpu, sta + 1, 0), 0);
	ck_assert_uint_eq(get(&vcpu, sta), 0); /* hi erased lo */
	ck_assert_int_eq(set(&vcpu, sta, 65), -EINVAL);
	/* An immediate_exit run counts as having run. */
	vcpu.run->immediate_exit = 1;
	ck_assert_int_eq(kvm_vcpu_run(&vcpu), -EINTR);
	ck_assert_int_eq(set(&vcpu, d, 1), 0);
	ck_assert_int_eq(set(&vcpu, d, 0), -EBUSY);
	ck_assert_int_eq(set(&vcpu, dbcn, 1), -EBUSY);
	ck_assert_int_eq(set(&vcpu, reg_long(REG_CONFIG, 0, CONFIG_MIMPID), 1), -EBUSY);
	kvm_vcpu_destroy(&vcpu);
	kvm_close(&kvm);
	teardown();

	open_host(FAKE_6_12);
	ck_assert_int_eq(kvm_vcpu_create(&kvm, 0, &vcpu), 0);
	ck_assert_uint_eq(get(&vcpu, reg_long(REG_CSR, 0, CSR_SCOUNTEREN)), 7);
	ck_assert_int_eq(set(&vcpu, reg_long(REG_SBI_EXT, EXT_SINGLE, SBI_EXT_SUSP), 1), -ENOENT);
	ck_assert_int_eq(set(&vcpu, timer + TIMER_STATE, 1), 0);
	ck_assert_uint_eq(get(&vcpu, timer + TIMER_COMPARE), 1);
	kvm_vcpu_destroy(&vcpu);
	kvm_close(&kvm);
	teardown();
}
END_TEST

/* The list is what can be read, and written back but for timer.state. */
START_TEST(fake_list_round_trip)
{
	struct kvm_vcpu vcpu;
	uint64_t *ids, value[8];
	long n, i;
	int ret;

	open_host((enum fake_kernel)_i);
	ck_assert_int_eq(kvm_vcpu_create(&kvm, 0, &vcpu), 0);
	n = kvm_get_reg_list(&vcpu, &ids);
	ck_assert_int_gt(n, 0);
	for (i = 0; i < n; i++) {
		ck_assert_int_eq(kvm_get_reg(&vcpu, ids[i], value), 0);
		ret = kvm_set_reg(&vcpu, ids[i], value);
		if (ids[i] == reg_id(REG_TIMER, 0, TIMER_STATE, REG_SIZE_U64))
			ck_assert_int_eq(ret, -EINVAL);
		else
			ck_assert_msg(!ret, "id 0x%llx: %d", (unsigned long long)ids[i], ret);
	}
	free(ids);
	kvm_vcpu_destroy(&vcpu);
	kvm_close(&kvm);
	teardown();
}
END_TEST

START_TEST(fake_posted_modes)
{
	open_host(FAKE_6_12);
	host->mode_cap = FAKE_POSTED_V4;
	ck_assert_int_eq(kvm_check(&kvm, 247), 3);
	ck_assert_int_eq(kvm_check(&kvm, 248), 0);
	ck_assert_int_eq(kvm_enable_cap(&kvm, 247, 10), -EINVAL);
	ck_assert_int_eq(kvm_enable_cap(&kvm, 247, 41), -EINVAL);
	ck_assert_int_eq(kvm_enable_cap(&kvm, 247, 8), 0);
	ck_assert_int_eq(kvm_check(&kvm, KVM_CAP_VM_GPA_BITS), 41);
	host->mode_cap = FAKE_POSTED_V7;
	ck_assert_int_eq(kvm_check(&kvm, 247), 0);
	ck_assert_int_eq(kvm_check(&kvm, 248), 0x300);
	ck_assert_int_eq(kvm_enable_cap(&kvm, 248, 9), 0);
	ck_assert_int_eq(kvm_check(&kvm, KVM_CAP_VM_GPA_BITS), 50);
	kvm_close(&kvm);
	teardown();
}
END_TEST

/* What real KVM would punish is noticed. */
START_TEST(fake_complaints)
{
	struct kvm_sys sys;

	open_host(FAKE_7_2);
	sys = fake_host_sys(host);
	ck_assert_ptr_null(fake_complaint(host));
	sys.ops->ioctl(sys.opaque, kvm.fd, KVM_CHECK_EXTENSION, KVM_CAP_VM_GPA_BITS);
	ck_assert_ptr_nonnull(fake_complaint(host));
	host->complaint[0] = '\0';
	sys.ops->ioctl(sys.opaque, kvm.fd, KVM_CHECK_EXTENSION, 247);
	ck_assert_ptr_nonnull(fake_complaint(host));
	host->complaint[0] = '\0';
	sys.ops->ioctl(sys.opaque, 3, KVM_CREATE_VCPU, 0);
	ck_assert_ptr_nonnull(fake_complaint(host));
	host->complaint[0] = '\0';
	sys.ops->close(sys.opaque, 3);
	ck_assert_ptr_nonnull(fake_complaint(host));
	host->complaint[0] = '\0';
	ck_assert_uint_eq(fake_live(host), 2);
	kvm_close(&kvm);
	teardown();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kvm");
	TCase *tc = tcase_create("kvm");

	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, open_messages);
	tcase_add_test(tc, open_versions);
	tcase_add_test(tc, create_vm);
	tcase_add_test(tc, wrappers);
	tcase_add_test(tc, fake_gpa_bits);
	tcase_add_test(tc, fake_register_traps);
	tcase_add_loop_test(tc, fake_list_round_trip, FAKE_6_12, FAKE_7_3 + 1);
	tcase_add_test(tc, fake_posted_modes);
	tcase_add_test(tc, fake_complaints);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
