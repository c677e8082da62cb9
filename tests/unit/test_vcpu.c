// SPDX-License-Identifier: GPL-2.0-only
/*
 * vCPU exits, one by one, and the pause barrier with vCPUs in every state.
 *
 * The first half calls vcpu_handle_exit() on a VM that never runs; the second
 * runs vCPU threads against scripted guests.
 */
#include "lkvm/arch.h"
#include "lkvm/riscv/regs.h"
#include "lkvm/vcpu.h"
#include "rig.h"
#include "unit.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEVICE UINT64_C(0x20000000)
#define SERIAL UINT64_C(0x10000000)
#define RAM UINT64_C(0x80000000)
#define EID_DBCN 0x4442434e
#define EID_SUSP 0x53555350

struct device_log {
	_Atomic uint64_t offset, value;
	uint64_t answer;
	atomic_uint size, reads, writes;
};

static uint64_t dev_read(void *dev, uint64_t offset, unsigned int size)
{
	struct device_log *d = dev;

	d->offset = offset;
	d->size = size;
	atomic_fetch_add(&d->reads, 1);
	return d->answer;
}

static void dev_write(void *dev, uint64_t offset, uint64_t value, unsigned int size)
{
	struct device_log *d = dev;

	d->offset = offset;
	d->size = size;
	d->value = value;
	atomic_fetch_add(&d->writes, 1);
}

static const struct mmio_ops dev_ops = {.read = dev_read, .write = dev_write};

static struct rig rig;
static struct device_log device;

static void add_device(const struct mmio_ops *ops, void *dev)
{
	ck_assert_int_eq(bus_add(&rig.vm->bus, &(struct mmio_region){.name = "test",
								     .base = DEVICE,
								     .size = 0x1000,
								     .ops = ops,
								     .dev = dev}),
			 0);
}

static void setup(void)
{
	memset(&device, 0, sizeof(device));
	rig_init(&rig, FAKE_7_2);
	rig_create(&rig);
	add_device(&dev_ops, &device);
}

static void teardown(void)
{
	rig_end(&rig);
}

static const char *logged(void)
{
	static char text[65536];

	return rig_log(&rig, text, sizeof(text));
}

static unsigned int lines(const char *text, const char *word)
{
	unsigned int n = 0;

	while ((text = strstr(text, word))) {
		n++;
		text++;
	}
	return n;
}

static struct kvm_run *run_area(void)
{
	return rig.vm->vcpus[0].kvm.run;
}

static enum vcpu_next handle(uint32_t reason)
{
	run_area()->exit_reason = reason;
	return vcpu_handle_exit(&rig.vm->vcpus[0]);
}

/* --- exits ------------------------------------------------------------ */

START_TEST(reasons_nobody_knows)
{
	static const uint32_t bad[] = {
		KVM_EXIT_UNKNOWN,
		KVM_EXIT_EXCEPTION,
		KVM_EXIT_IO,
		KVM_EXIT_HYPERCALL,
		KVM_EXIT_HLT,
		KVM_EXIT_IRQ_WINDOW_OPEN,
		KVM_EXIT_SHUTDOWN,
		KVM_EXIT_SET_TPR,
		31 /* dirty ring full */,
		34,
		37,
		38,
		39 /* memory fault */,
		40,
		1000,
		UINT32_MAX,
	};
	char want[64];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		memset(run_area(), 0, sizeof(struct kvm_run));
		rig.vm->verdict = VM_ALIVE;
		ck_assert_int_eq(handle(bad[i]), VCPU_PARK);
		ck_assert_int_eq(rig.vm->verdict, VM_DIED);
		snprintf(want, sizeof(want), "hart 0: KVM exit reason %u, which", bad[i]);
		ck_assert_msg(lines(logged(), want) == 1, "%s", logged());
	}
	ck_assert_uint_eq(lines(logged(), "Fatal: "), ARRAY_SIZE(bad));
	ck_assert_uint_eq(lines(logged(), "(pc 0x"), ARRAY_SIZE(bad));
}
END_TEST

START_TEST(reasons_with_words)
{
	ck_assert_int_eq(handle(KVM_EXIT_DEBUG), VCPU_PARK);
	ck_assert_int_eq(rig.vm->verdict, VM_DIED);
	ck_assert_ptr_nonnull(strstr(logged(), "breakpoint"));
	rig.vm->verdict = VM_ALIVE;
	run_area()->fail_entry.hardware_entry_failure_reason = 0x600;
	ck_assert_int_eq(handle(KVM_EXIT_FAIL_ENTRY), VCPU_PARK);
	ck_assert_int_eq(rig.vm->verdict, VM_DIED);
	ck_assert_ptr_nonnull(strstr(logged(), "0x600"));
	rig.vm->verdict = VM_ALIVE;
	run_area()->internal.suberror = 3;
	ck_assert_int_eq(handle(KVM_EXIT_INTERNAL_ERROR), VCPU_PARK);
	ck_assert_int_eq(rig.vm->verdict, VM_DIED);
	ck_assert_ptr_nonnull(strstr(logged(), "internal error 3"));
	rig.vm->verdict = VM_ALIVE;
	ck_assert_int_eq(handle(KVM_EXIT_INTR), VCPU_RUN);
	ck_assert_int_eq(rig.vm->verdict, VM_ALIVE);
}
END_TEST

START_TEST(system_events)
{
	static const struct {
		uint32_t type, ndata;
		uint64_t reason;
		enum vm_verdict verdict;
	} events[] = {
		{KVM_SYSTEM_EVENT_SHUTDOWN, 1, 0, VM_POWEROFF},
		{KVM_SYSTEM_EVENT_SHUTDOWN, 0, 1, VM_POWEROFF},
		{KVM_SYSTEM_EVENT_SHUTDOWN, 1, 1, VM_DIED},
		{KVM_SYSTEM_EVENT_SHUTDOWN, 1, 2, VM_POWEROFF},
		{KVM_SYSTEM_EVENT_SHUTDOWN, 1, UINT32_MAX, VM_POWEROFF},
		{KVM_SYSTEM_EVENT_RESET, 1, 0, VM_RESET},
		{KVM_SYSTEM_EVENT_RESET, 1, 1, VM_RESET},
		{KVM_SYSTEM_EVENT_CRASH, 0, 0, VM_DIED},
		{4, 0, 0, VM_DIED},
		{0, 0, 0, VM_DIED},
		{UINT32_MAX, 0, 0, VM_DIED},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(events); i++) {
		rig.vm->verdict = VM_ALIVE;
		run_area()->system_event.type = events[i].type;
		run_area()->system_event.ndata = events[i].ndata;
		run_area()->system_event.data[0] = events[i].reason;
		ck_assert_int_eq(handle(KVM_EXIT_SYSTEM_EVENT), VCPU_PARK);
		ck_assert_int_eq(rig.vm->verdict, events[i].verdict);
	}
}
END_TEST

START_TEST(errors)
{
	static const struct {
		int errnum;
		const char *word;
	} bad[] = {
		{EIO, "misaligned"},	      {EOPNOTSUPP, "cannot decode"},
		{EFAULT, "guest memory"},     {ENOMEM, "out of memory"},
		{EINVAL, "Invalid argument"}, {ENOEXEC, "KVM cannot go on"},
		{9999, "KVM cannot go on"},
	};
	struct vcpu *vcpu = &rig.vm->vcpus[0];
	size_t i;

	ck_assert_int_eq(vcpu_handle_error(vcpu, EINTR), VCPU_RUN);
	ck_assert_int_eq(vcpu_handle_error(vcpu, EAGAIN), VCPU_RUN);
	ck_assert_int_eq(rig.vm->verdict, VM_ALIVE);
	ck_assert_str_eq(logged(), "");
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		rig.vm->verdict = VM_ALIVE;
		ck_assert_int_eq(vcpu_handle_error(vcpu, bad[i].errnum), VCPU_PARK);
		ck_assert_int_eq(rig.vm->verdict, VM_DIED);
		ck_assert_msg(strstr(logged(), bad[i].word), "%s", logged());
	}
	ck_assert_uint_eq(lines(logged(), "Fatal: hart 0: "), ARRAY_SIZE(bad));
}
END_TEST

static enum vcpu_next mmio(gpa_t gpa, unsigned int size, bool write, uint64_t value)
{
	struct kvm_run *run = run_area();
	unsigned int i;

	run->mmio.phys_addr = gpa;
	run->mmio.len = size;
	run->mmio.is_write = write;
	for (i = 0; i < 8; i++)
		run->mmio.data[i] = write ? (uint8_t)(value >> (8 * i)) : 0xa5;
	return handle(KVM_EXIT_MMIO);
}

START_TEST(mmio_sizes_and_order_of_bytes)
{
	static const uint8_t loaded[] = {0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11};
	unsigned int size, i;

	device.answer = 0x1122334455667788;
	for (size = 1; size <= 8; size *= 2) {
		ck_assert_int_eq(mmio(DEVICE + 0x10, size, false, 0), VCPU_RUN);
		ck_assert_uint_eq(device.size, size);
		ck_assert_uint_eq(device.offset, 0x10);
		/* Least significant byte at the lowest address; nothing of the host behind it. */
		for (i = 0; i < 8; i++)
			ck_assert_uint_eq(run_area()->mmio.data[i], i < size ? loaded[i] : 0);
		ck_assert_int_eq(mmio(DEVICE + 0x18, size, true, 0xffeeddccbbaa9988), VCPU_RUN);
		ck_assert_uint_eq(device.value,
				  0xffeeddccbbaa9988 & (UINT64_MAX >> (64 - 8 * size)));
	}
	ck_assert(rig.vm->vcpus[0].unfinished);
	ck_assert_uint_eq(atomic_load(&rig.vm->vcpus[0].mmio_exits), 8);
}
END_TEST

START_TEST(mmio_lengths_that_cannot_be)
{
	static const unsigned int bad[] = {0, 3, 5, 7, 9, 16, UINT32_MAX};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		ck_assert_int_eq(mmio(DEVICE, bad[i], false, 0), VCPU_RUN);
		ck_assert_uint_eq(run_area()->mmio.data[0], 0);
		ck_assert_int_eq(mmio(DEVICE, bad[i], true, 1), VCPU_RUN);
	}
	ck_assert_uint_eq(atomic_load(&device.reads) + atomic_load(&device.writes), 0);
}
END_TEST

START_TEST(mmio_nobody_claims)
{
	static const gpa_t bad[] = {
		0,	 0x1000,	 DEVICE - 1, DEVICE + 0x1000, DEVICE + 0xffe,
		RAM - 4, UINT64_MAX - 3, UINT64_MAX};
	unsigned int i, size;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		for (size = 4; size <= 8; size *= 2) {
			ck_assert_int_eq(mmio(bad[i], size, false, 0), VCPU_RUN);
			ck_assert_uint_eq(run_area()->mmio.data[0], 0);
			ck_assert_uint_eq(run_area()->mmio.data[size - 1], 0);
			ck_assert_int_eq(mmio(bad[i], size, true, UINT64_MAX), VCPU_RUN);
		}
	for (i = 0; i < 10000; i++)
		mmio(0x5000 + 8 * i, 8, true, 1);
	ck_assert_uint_eq(atomic_load(&device.reads) + atomic_load(&device.writes), 0);
	ck_assert_int_eq(rig.vm->verdict, VM_ALIVE);
	/* Said, but not ten thousand times. */
	ck_assert_uint_ge(lines(logged(), "where nothing is"), 1);
	ck_assert_uint_le(lines(logged(), "where nothing is"), 2 * RATELIMIT_BURST);
}
END_TEST

START_TEST(forwarded_csrs)
{
	static const unsigned long others[] = {0x151, 0x15c, 0, 0xfff, UINT32_MAX};
	struct kvm_run *run = run_area();
	size_t i;

	run->riscv_csr.csr_num = 0x015;
	ck_assert_int_eq(handle(KVM_EXIT_RISCV_CSR), VCPU_RUN);
	/* The state says "sixteen bits of entropy", and nothing else is set. */
	ck_assert_uint_eq(run->riscv_csr.ret_value >> 30, 2);
	ck_assert_uint_eq(run->riscv_csr.ret_value >> 16 & 0x3fff, 0);
	for (i = 0; i < ARRAY_SIZE(others); i++) {
		run->riscv_csr.csr_num = others[i];
		run->riscv_csr.ret_value = 0xdead;
		ck_assert_int_eq(handle(KVM_EXIT_RISCV_CSR), VCPU_RUN);
		ck_assert_uint_eq(run->riscv_csr.ret_value, 0);
	}
	ck_assert(rig.vm->vcpus[0].unfinished);
	ck_assert_int_eq(rig.vm->verdict, VM_ALIVE);
}
END_TEST

START_TEST(forwarded_sbi_calls)
{
	struct kvm_run *run = run_area();
	unsigned int i;

	for (i = 0; i < 1000; i++) {
		memset(&run->riscv_sbi, 0xff, sizeof(run->riscv_sbi));
		run->riscv_sbi.extension_id = 0x09000000 + i;
		ck_assert_int_eq(handle(KVM_EXIT_RISCV_SBI), VCPU_RUN);
		ck_assert_int_eq((long)run->riscv_sbi.ret[0], -2);
		ck_assert_int_eq((long)run->riscv_sbi.ret[1], 0);
	}
	ck_assert_uint_le(lines(logged(), "is not supported"), RATELIMIT_BURST + 1);
	memset(&run->riscv_sbi, 0, sizeof(run->riscv_sbi));
	run->riscv_sbi.extension_id = EID_DBCN;
	run->riscv_sbi.args[0] = 4;
	run->riscv_sbi.args[1] = RAM - 2;
	ck_assert_int_eq(handle(KVM_EXIT_RISCV_SBI), VCPU_RUN);
	ck_assert_int_eq((long)run->riscv_sbi.ret[0], -3);
	/* Suspend: the loop is asked to look for a reason not to. */
	memset(&run->riscv_sbi, 0, sizeof(run->riscv_sbi));
	run->riscv_sbi.extension_id = EID_SUSP;
	ck_assert_int_eq(handle(KVM_EXIT_RISCV_SBI), VCPU_SUSPEND);
	ck_assert(vm_suspended(rig.vm));
	ck_assert(vm_wake(rig.vm));
	ck_assert_int_eq(rig.vm->verdict, VM_ALIVE);
}
END_TEST

/* --- threads ---------------------------------------------------------- */

/* A device that holds its vCPU until told. */
struct slow_device {
	sem_t entered, leave;
};

static uint64_t slow_read(void *dev, uint64_t offset, unsigned int size)
{
	struct slow_device *d = dev;

	(void)offset;
	(void)size;
	sem_post(&d->entered);
	while (sem_wait(&d->leave))
		;
	return 0x77;
}

static void slow_write(void *dev, uint64_t offset, uint64_t value, unsigned int size)
{
	(void)value;
	slow_read(dev, offset, size);
}

static const struct mmio_ops slow_ops = {.read = slow_read, .write = slow_write};

static void thread_setup(void)
{
	memset(&device, 0, sizeof(device));
	rig_init(&rig, FAKE_7_2);
}

static void do_quit(struct rig *r, void *arg)
{
	(void)arg;
	vm_end(r->vm, VM_QUIT);
}

static void finish(void)
{
	rig_call(&rig, do_quit, NULL);
	ck_assert_int_eq(rig_join(&rig), VM_QUIT);
}

struct pause_arg {
	int timeout_ms, ret;
};

static void do_pause(struct rig *r, void *arg)
{
	struct pause_arg *p = arg;

	p->ret = vm_pause(r->vm, p->timeout_ms);
}

static void do_unpause(struct rig *r, void *arg)
{
	(void)arg;
	vm_unpause(r->vm);
}

static int pause_vm(int timeout_ms)
{
	struct pause_arg p = {timeout_ms, 1};

	rig_call(&rig, do_pause, &p);
	return p.ret;
}

static void unpause_vm(void)
{
	rig_call(&rig, do_unpause, NULL);
}

static void *pause_thread(void *opaque)
{
	*(int *)opaque = pause_vm(5000);
	return NULL;
}

static void wait_gate(enum vm_gate gate)
{
	unsigned int i;

	for (i = 0; i < 5000 && atomic_load(&rig.vm->gate) != gate; i++)
		usleep(1000);
	ck_assert_int_eq(atomic_load(&rig.vm->gate), gate);
}

START_TEST(half_done_exit_is_completed_once)
{
	static const struct fake_op program[] = {
		{.kind = FAKE_LOAD, .addr = DEVICE, .size = 4},
		{.kind = FAKE_LOAD, .addr = DEVICE + 0x800, .size = 4},
		{.kind = FAKE_END},
	};
	struct slow_device slow;
	struct fake_vcpu *v;
	pthread_t thread;
	int ret = 1;

	sem_init(&slow.entered, 0, 0);
	sem_init(&slow.leave, 0, 0);
	rig.host->programs[0] = program;
	rig_create(&rig);
	add_device(&slow_ops, &slow);
	rig_start(&rig);
	sem_wait(&slow.entered);
	/* The vCPU is inside the device: the barrier waits for it. */
	ck_assert_int_eq(pthread_create(&thread, NULL, pause_thread, &ret), 0);
	wait_gate(GATE_CLOSED);
	v = fake_vcpu(rig.host, 0);
	ck_assert_uint_eq(atomic_load(&v->completions), 0);
	sem_post(&slow.leave);
	pthread_join(thread, NULL);
	ck_assert_int_eq(ret, 0);
	/* The load has its result in the guest's registers; the guest did nothing more. */
	ck_assert_uint_eq(atomic_load(&v->completions), 1);
	ck_assert_uint_eq(atomic_load(&v->completed_parked), 1);
	ck_assert_uint_eq(atomic_load(&v->immediate_runs), 1);
	ck_assert_uint_eq(atomic_load(&v->entries), 2);
	ck_assert_uint_eq(v->results[0], 0x77);
	ck_assert_uint_eq(rig.vm->parked, 1);
	/* Nested: nothing happens again. */
	ck_assert_int_eq(pause_vm(1000), 0);
	ck_assert_uint_eq(atomic_load(&v->immediate_runs), 1);
	unpause_vm();
	ck_assert_int_eq(atomic_load(&rig.vm->gate), GATE_CLOSED);
	ck_assert_uint_eq(atomic_load(&v->immediate_runs), 1);
	sem_post(&slow.leave); /* for the second load */
	unpause_vm();
	ck_assert(fake_wait_results(rig.host, 0, 2));
	ck_assert(fake_wait_idle(rig.host, 0));
	ck_assert_uint_eq(atomic_load(&v->completions), 2);
	ck_assert_uint_eq(atomic_load(&v->completed_parked), 1);
	/* A kick that came late may cost one more run that does nothing. */
	ck_assert_uint_le(atomic_load(&v->immediate_runs), 2);
	finish();
	sem_destroy(&slow.entered);
	sem_destroy(&slow.leave);
}
END_TEST

START_TEST(pause_in_every_state)
{
	/* 0 is idle in the guest, 1 busy with a device, 2 stopped, 3 stopped itself. */
	static const struct fake_op zero[] = {
		{.kind = FAKE_START, .value = 1},
		{.kind = FAKE_START, .value = 3},
		{.kind = FAKE_LOAD, .addr = DEVICE, .size = 8},
		{.kind = FAKE_WAIT},
		{.kind = FAKE_LOAD, .addr = DEVICE, .size = 8},
		{.kind = FAKE_END},
	};
	static const struct fake_op one[] = {
		{.kind = FAKE_STORE, .addr = DEVICE + 8, .size = 4, .value = 1},
		{.kind = FAKE_GOTO, .value = 0},
	};
	static const struct fake_op three[] = {
		{.kind = FAKE_LOAD, .addr = DEVICE, .size = 1},
		{.kind = FAKE_STOP},
		{.kind = FAKE_END},
	};
	unsigned int i, writes;

	rig.host->programs[0] = zero;
	rig.host->programs[1] = one;
	rig.host->programs[3] = three;
	rig.cfg.cpus = 4;
	rig_create(&rig);
	add_device(&dev_ops, &device);
	rig_start(&rig);
	ck_assert(fake_wait_results(rig.host, 0, 1));
	ck_assert(fake_wait_results(rig.host, 3, 1));
	for (i = 0; i < 50; i++) {
		ck_assert_int_eq(pause_vm(5000), 0);
		ck_assert_uint_eq(rig.vm->parked, 4);
		writes = atomic_load(&device.writes);
		/* Each store the device saw is finished in the guest. */
		ck_assert_uint_eq(atomic_load(&fake_vcpu(rig.host, 1)->completions), writes);
		usleep(100);
		ck_assert_uint_eq(atomic_load(&device.writes), writes);
		unpause_vm();
	}
	fake_poke(rig.host, 0);
	ck_assert(fake_wait_results(rig.host, 0, 2));
	ck_assert_uint_eq(atomic_load(&fake_vcpu(rig.host, 2)->completions), 0);
	finish();
}
END_TEST

START_TEST(pause_gives_up)
{
	static const struct fake_op program[] = {
		{.kind = FAKE_STUCK},
		{.kind = FAKE_LOAD, .addr = DEVICE, .size = 8},
		{.kind = FAKE_END},
	};
	uint64_t start;

	rig.host->programs[1] = program;
	static const struct fake_op zero[] = {
		{.kind = FAKE_START, .value = 1},
		{.kind = FAKE_LOAD, .addr = DEVICE, .size = 8},
		{.kind = FAKE_WAIT},
		{.kind = FAKE_LOAD, .addr = DEVICE, .size = 8},
		{.kind = FAKE_END},
	};
	rig.host->programs[0] = zero;
	rig.cfg.cpus = 2;
	rig_create(&rig);
	add_device(&dev_ops, &device);
	rig_start(&rig);
	ck_assert(fake_wait_results(rig.host, 0, 1));
	ck_assert(fake_wait_idle(rig.host, 1));
	start = now_ns();
	ck_assert_int_eq(pause_vm(100), -ETIMEDOUT);
	ck_assert_uint_ge(now_ns() - start, 100 * NSEC_PER_MSEC);
	ck_assert_uint_lt(now_ns() - start, 5 * NSEC_PER_SEC);
	ck_assert_uint_eq(rig.vm->paused, 0);
	/* The other one runs on. */
	fake_poke(rig.host, 0);
	ck_assert(fake_wait_results(rig.host, 0, 2));
	fake_poke(rig.host, 1);
	ck_assert(fake_wait_results(rig.host, 1, 1));
	ck_assert_int_eq(pause_vm(5000), 0);
	unpause_vm();
	finish();
}
END_TEST

START_TEST(suspend_and_wake)
{
	static const struct fake_op program[] = {
		{.kind = FAKE_SBI, .addr = EID_SUSP, .value = 0},
		{.kind = FAKE_LOAD, .addr = DEVICE, .size = 8},
		{.kind = FAKE_SBI, .addr = EID_SUSP, .value = 0},
		{.kind = FAKE_LOAD, .addr = DEVICE, .size = 8},
		{.kind = FAKE_END},
	};
	struct fake_vcpu *v;
	unsigned int i;

	rig.host->programs[0] = program;
	rig_create(&rig);
	add_device(&dev_ops, &device);
	ck_assert(!vm_wake(rig.vm));
	rig_start(&rig);
	/* KVM may finish the call already; the guest does not go on. */
	ck_assert(fake_wait_results(rig.host, 0, 2));
	for (i = 0; i < 1000 && !vm_suspended(rig.vm); i++)
		usleep(1000);
	ck_assert(vm_suspended(rig.vm));
	v = fake_vcpu(rig.host, 0);
	ck_assert_uint_eq(v->results[0], 0);
	/* Suspended counts as parked; pausing does not wake, unpausing neither. */
	ck_assert_int_eq(pause_vm(5000), 0);
	ck_assert_int_eq(pause_vm(5000), 0);
	unpause_vm();
	unpause_vm();
	usleep(20000);
	ck_assert_uint_eq(atomic_load(&device.reads), 0);
	ck_assert_uint_eq(atomic_load(&v->nr_results), 2);
	ck_assert(vm_wake(rig.vm));
	ck_assert(fake_wait_results(rig.host, 0, 5));
	/* Woken while paused: goes on when both are over. */
	for (i = 0; i < 1000 && !vm_suspended(rig.vm); i++)
		usleep(1000);
	ck_assert_int_eq(pause_vm(5000), 0);
	ck_assert(vm_wake(rig.vm));
	usleep(20000);
	ck_assert_uint_eq(atomic_load(&v->nr_results), 5);
	unpause_vm();
	ck_assert(fake_wait_results(rig.host, 0, 6));
	ck_assert(!vm_wake(rig.vm));
	ck_assert_uint_eq(atomic_load(&v->completions), 4);
	finish();
}
END_TEST

START_TEST(suspended_vm_ends)
{
	static const struct fake_op program[] = {
		{.kind = FAKE_SBI, .addr = EID_SUSP, .value = 0},
		{.kind = FAKE_END},
	};

	rig.host->programs[0] = program;
	rig_create(&rig);
	rig_start(&rig);
	ck_assert(fake_wait_results(rig.host, 0, 2));
	finish();
}
END_TEST

/* Kicks that hit any place between the gate and KVM_RUN: none lost, nothing done twice. */
START_TEST(pause_storm)
{
	static const struct fake_op program[] = {
		{.kind = FAKE_STORE, .addr = DEVICE, .size = 4, .value = 1},
		{.kind = FAKE_STORE, .addr = DEVICE, .size = 4, .value = 2},
		{.kind = FAKE_LOAD, .addr = DEVICE, .size = 4},
		{.kind = FAKE_GOTO, .value = 0},
	};
	struct fake_vcpu *v;
	unsigned int i;

	rig.host->programs[0] = program;
	rig_create(&rig);
	add_device(&dev_ops, &device);
	rig_start(&rig);
	v = fake_vcpu(rig.host, 0);
	for (i = 0; i < 300; i++) {
		ck_assert_int_eq(pause_vm(5000), 0);
		ck_assert_uint_eq(atomic_load(&v->completions),
				  atomic_load(&device.reads) + atomic_load(&device.writes));
		unpause_vm();
	}
	finish();
}
END_TEST

START_TEST(errors_end_the_vm)
{
	static const int errnums[] = {EIO, EOPNOTSUPP, EFAULT, ENOMEM, EINVAL};
	struct fake_op program[] = {
		{.kind = FAKE_LOAD, .addr = 0, .size = 8},
		{.kind = FAKE_ERROR, .value = (uint64_t)errnums[_i]},
		{.kind = FAKE_END},
	};

	rig.host->programs[0] = program;
	rig_create(&rig);
	rig_start(&rig);
	ck_assert_int_eq(rig_join(&rig), VM_DIED);
	ck_assert_uint_eq(lines(logged(), "Fatal: "), 1);
	/* KVM_RUN is not tried again: each try would be a line in the host's log. */
	ck_assert_uint_eq(atomic_load(&fake_vcpu(rig.host, 0)->entries), 2);
}
END_TEST

START_TEST(errors_that_are_tried_again)
{
	static const struct fake_op program[] = {
		{.kind = FAKE_ERROR, .value = EINTR},
		{.kind = FAKE_ERROR, .value = EAGAIN},
		{.kind = FAKE_ERROR, .value = EINTR},
		{.kind = FAKE_EVENT, .value = KVM_SYSTEM_EVENT_SHUTDOWN},
		{.kind = FAKE_END},
	};

	rig.host->programs[0] = program;
	rig_create(&rig);
	rig_start(&rig);
	ck_assert_int_eq(rig_join(&rig), VM_POWEROFF);
	ck_assert_uint_eq(lines(logged(), "Fatal"), 0);
}
END_TEST

/* One hart dies while another is idle and one is stopped: all threads come home. */
START_TEST(one_dies_all_end)
{
	static const struct fake_op zero[] = {
		{.kind = FAKE_START, .value = 1},
		{.kind = FAKE_END},
	};
	static const struct fake_op one[] = {
		{.kind = FAKE_RAW, .value = KVM_EXIT_HLT},
		{.kind = FAKE_END},
	};

	rig.host->programs[0] = zero;
	rig.host->programs[1] = one;
	rig.cfg.cpus = 3;
	rig_create(&rig);
	rig_start(&rig);
	ck_assert_int_eq(rig_join(&rig), VM_DIED);
	ck_assert_ptr_nonnull(strstr(logged(), "Fatal: hart 1: KVM exit reason 5"));
}
END_TEST

START_TEST(input_interrupts_the_guest)
{
	/* The guest opens the PLIC for the serial port, waits, and reads what came. */
	static const struct fake_op program[] = {
		{.kind = FAKE_STORE, .addr = 0x0c000000 + 4 * 10, .size = 4, .value = 1},
		{.kind = FAKE_STORE, .addr = 0x0c002000, .size = 4, .value = 1 << 10},
		{.kind = FAKE_STORE, .addr = 0x0c200000, .size = 4, .value = 0},
		{.kind = FAKE_STORE, .addr = SERIAL + 1, .size = 1, .value = 1},
		{.kind = FAKE_WAIT_IRQ},
		{.kind = FAKE_LOAD, .addr = 0x0c200004, .size = 4},
		{.kind = FAKE_LOAD, .addr = SERIAL, .size = 1},
		{.kind = FAKE_STORE, .addr = 0x0c200004, .size = 4, .value = 10},
		{.kind = FAKE_LOAD, .addr = SERIAL + 5, .size = 1},
		{.kind = FAKE_END},
	};
	struct fake_vcpu *v;

	rig.host->programs[0] = program;
	rig_create(&rig);
	rig_start(&rig);
	v = fake_vcpu(rig.host, 0);
	ck_assert(fake_wait_idle(rig.host, 0));
	ck_assert_int_eq(write_all(rig.in, "k", 1), 1);
	ck_assert(fake_wait_results(rig.host, 0, 3));
	ck_assert_uint_eq(v->results[0], 10);
	ck_assert_uint_eq(v->results[1], 'k');
	ck_assert_uint_eq(v->results[2] & 1, 0);
	ck_assert(fake_wait_idle(rig.host, 0));
	ck_assert_uint_ge(atomic_load(&v->irq_sets), 1);
	ck_assert_uint_ge(atomic_load(&v->irq_unsets), 1);
	finish();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("vcpu");
	TCase *exits = tcase_create("exits");
	TCase *threads = tcase_create("threads");

	tcase_add_checked_fixture(exits, setup, teardown);
	tcase_set_timeout(exits, 30);
	tcase_add_test(exits, reasons_nobody_knows);
	tcase_add_test(exits, reasons_with_words);
	tcase_add_test(exits, system_events);
	tcase_add_test(exits, errors);
	tcase_add_test(exits, mmio_sizes_and_order_of_bytes);
	tcase_add_test(exits, mmio_lengths_that_cannot_be);
	tcase_add_test(exits, mmio_nobody_claims);
	tcase_add_test(exits, forwarded_csrs);
	tcase_add_test(exits, forwarded_sbi_calls);
	suite_add_tcase(suite, exits);

	tcase_add_checked_fixture(threads, thread_setup, teardown);
	tcase_set_timeout(threads, 120);
	tcase_add_test(threads, half_done_exit_is_completed_once);
	tcase_add_test(threads, pause_in_every_state);
	tcase_add_test(threads, pause_gives_up);
	tcase_add_test(threads, suspend_and_wake);
	tcase_add_test(threads, suspended_vm_ends);
	tcase_add_test(threads, pause_storm);
	tcase_add_loop_test(threads, errors_end_the_vm, 0, 5);
	tcase_add_test(threads, errors_that_are_tried_again);
	tcase_add_test(threads, one_dies_all_end);
	tcase_add_test(threads, input_interrupts_the_guest);
	suite_add_tcase(suite, threads);
	return unit_main(suite);
}
