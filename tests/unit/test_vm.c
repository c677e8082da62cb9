// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of a VM on scripted hosts: building it with every call failing once,
 * ending it in every way, restarting it, and two of them side by side.
 */
#include "lkvm/arch.h"
#include "lkvm/guest_console.h"
#include "lkvm/process.h"
#include "lkvm/riscv/regs.h"
#include "rig.h"
#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SERIAL UINT64_C(0x10000000)
#define PLIC UINT64_C(0x0c000000)
#define RTC UINT64_C(0x00101000)
#define THRESHOLD(hart) (UINT64_C(0x0c200000) + 0x1000 * (hart))
#define EID_DBCN 0x4442434e
#define EID_SUSP 0x53555350

#define SCRIPT(name) static const struct fake_op name[] =

SCRIPT(off){{.kind = FAKE_EVENT, .value = KVM_SYSTEM_EVENT_SHUTDOWN}, {.kind = FAKE_END}};
SCRIPT(reset){{.kind = FAKE_EVENT, .value = KVM_SYSTEM_EVENT_RESET}, {.kind = FAKE_END}};

static struct rig rig;

static void setup(void)
{
	rig_init(&rig, FAKE_7_2);
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

static const char *printed(void)
{
	static char text[65536];

	return rig_output(&rig, text, sizeof(text));
}

static void call_end(struct rig *r, void *arg)
{
	vm_end(r->vm, *(enum vm_verdict *)arg);
}

static void quit(struct rig *r)
{
	enum vm_verdict verdict = VM_QUIT;

	rig_call(r, call_end, &verdict);
	ck_assert_int_eq(rig_join(r), VM_QUIT);
}

static enum vm_verdict run_it(void)
{
	rig_start(&rig);
	return rig_join(&rig);
}

/* --- building --------------------------------------------------------- */

START_TEST(create_on_every_kernel)
{
	struct fake_vcpu *v;
	unsigned int i;

	rig_end(&rig);
	rig_init(&rig, (enum fake_kernel)_i);
	rig.cfg.cpus = 4;
	rig.cfg.nr_mem = 2;
	rig.cfg.mem[1] = (struct mem_request){.size = 32 * MIB};
	rig_create(&rig);
	ck_assert_uint_eq(rig.vm->nr_vcpus, 4);
	ck_assert_uint_eq(rig.vm->mem.nr, 2);
	ck_assert_uint_eq(fake_vm(rig.host)->slots[0].gpa, 0x80000000);
	ck_assert_uint_eq(fake_vm(rig.host)->slots[0].size, 64 * MIB);
	ck_assert_uint_eq(fake_vm(rig.host)->slots[1].gpa, 0x84000000);
	v = fake_vcpu(rig.host, 0);
	ck_assert(!v->stopped);
	ck_assert_uint_eq(v->core[CORE_PC], 0x80200000);
	ck_assert_uint_eq(v->core[CORE_A0], 0);
	ck_assert_uint_eq(v->core[CORE_A1] % 8, 0);
	ck_assert_uint_ge(v->core[CORE_A1], 0x80202000);
	ck_assert_uint_eq(v->core[CORE_MODE], 1);
	ck_assert_uint_eq(v->csr[CSR_SATP], 0);
	for (i = 1; i < 4; i++)
		ck_assert(fake_vcpu(rig.host, i)->stopped);
	/* Nothing has run, and the loop has started nothing. */
	ck_assert_uint_eq(fake_calls(rig.host, KVM_RUN), 0);
	ck_assert(!strstr(logged(), "Warning"));
}
END_TEST

/* Each call fails once, in turn: an error in one line, or life without it; no leak ever. */
START_TEST(every_call_fails_once)
{
	static const int errnums[] = {ENOMEM, EINVAL, EBUSY, EPERM};
	bool failed[3] = {false};
	unsigned long n, refused = 0, tolerated = 0, request;

	for (n = 1;; n++) {
		rig_end(&rig);
		rig_init(&rig, (enum fake_kernel)_i);
		rig.cfg.cpus = 3;
		/* What is asked of KVM is the more the user asks. */
		rig.arch.isa.hide_isa[2] = true;
		rig.arch.isa.set_mimpid = true;
		fake_arm(rig.host, FAKE_ANY, n, errnums[n % 4]);
		rig.err.msg[0] = '\0';
		rig.vm = vm_create(&rig.cfg, fake_host_sys(rig.host), &rig.log, &rig.err);
		request = rig.host->armed_request;
		if (!rig.host->armed_hit)
			break;
		if (rig.vm) {
			tolerated++;
			/* Only questions may go unanswered. */
			ck_assert_msg(
				request == KVM_CHECK_EXTENSION || request == KVM_GET_ONE_REG ||
					request == KVM_GET_REG_LIST || request == KVM_ENABLE_CAP ||
					request == KVM_SET_ONE_REG,
				"call %lu, request 0x%lx", n, request);
			continue;
		}
		refused++;
		failed[0] |= request == KVM_CREATE_VM;
		failed[1] |= request == KVM_CREATE_VCPU;
		failed[2] |= request == KVM_SET_USER_MEMORY_REGION;
		ck_assert_msg(rig_one_line(rig.err.msg), "call %lu: \"%s\"", n, rig.err.msg);
		ck_assert_uint_eq(fake_live(rig.host), 0);
	}
	ck_assert_ptr_nonnull(rig.vm);
	ck_assert(failed[0] && failed[1] && failed[2]);
	ck_assert_uint_gt(refused, 15);
	ck_assert_uint_gt(tolerated, 0);
}
END_TEST

START_TEST(kvm_missing)
{
	fake_arm(rig.host, FAKE_OPEN, 1, ENOENT);
	ck_assert_ptr_null(vm_create(&rig.cfg, fake_host_sys(rig.host), &rig.log, &rig.err));
	ck_assert_ptr_nonnull(strstr(rig.err.msg, "/dev/kvm is missing"));
}
END_TEST

START_TEST(kernel_missing)
{
	rig.cfg.kernel = "/nonexistent/Image";
	ck_assert_ptr_null(vm_create(&rig.cfg, fake_host_sys(rig.host), &rig.log, &rig.err));
	ck_assert_ptr_nonnull(strstr(rig.err.msg, "/nonexistent/Image"));
	ck_assert(rig_one_line(rig.err.msg));
}
END_TEST

START_TEST(memory_that_cannot_be)
{
	static const struct mem_request bad[] = {
		{.size = 1 * MIB},
		{.size = 2 * TIB, .placed = true, .gpa = 0x80000000}, /* beyond 41 bits */
		{.size = 64 * MIB, .placed = true, .gpa = 0x40000000},
		{.size = 64 * MIB, .placed = true, .gpa = UINT64_MAX - 4095},
		{.size = UINT64_MAX - 4095, .placed = true, .gpa = 0x80000000},
		{.size = 64 * MIB, .placed = true, .gpa = 0x100000000},
	};
	size_t i;

	rig.host->max_bits = 41;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		rig.cfg.mem[0] = bad[i];
		rig.err.msg[0] = '\0';
		ck_assert_ptr_null(
			vm_create(&rig.cfg, fake_host_sys(rig.host), &rig.log, &rig.err));
		ck_assert_msg(rig_one_line(rig.err.msg), "%zu: \"%s\"", i, rig.err.msg);
		ck_assert_uint_eq(fake_live(rig.host), 0);
	}
}
END_TEST

START_TEST(too_many_cpus)
{
	rig.host->max_vcpus = 3;
	rig.cfg.cpus = 100000;
	rig_create(&rig);
	ck_assert_uint_eq(rig.vm->nr_vcpus, 3);
	ck_assert_ptr_nonnull(strstr(logged(), "Warning: -c 100000: "));
	ck_assert_ptr_eq(strstr(logged(), "Warning"), strstr(logged(), "Warning: -c"));
	ck_assert_ptr_nonnull(strstr(logged(), "at most 3"));
}
END_TEST

START_TEST(many_cpus)
{
	rig.cfg.cpus = 64;
	rig.host->programs[0] = off;
	rig_create(&rig);
	ck_assert_uint_eq(rig.vm->nr_vcpus, 64);
	ck_assert_int_eq(run_it(), VM_POWEROFF);
}
END_TEST

START_TEST(gstage_modes)
{
	static const struct {
		enum fake_kernel kernel;
		enum fake_mode_cap cap;
		enum hgatp_choice choice;
		unsigned int max, want; /* 0: refused */
	} cases[] = {
		{FAKE_6_12, FAKE_NO_MODE_CAP, HGATP_AUTO, 50, 50},
		{FAKE_6_12, FAKE_NO_MODE_CAP, HGATP_SV48, 50, 50},
		{FAKE_6_12, FAKE_NO_MODE_CAP, HGATP_SV39, 50, 0},
		{FAKE_6_12, FAKE_POSTED_V4, HGATP_SV39, 59, 41},
		{FAKE_6_12, FAKE_POSTED_V4, HGATP_SV48, 59, 50},
		{FAKE_6_12, FAKE_POSTED_V7, HGATP_SV39, 50, 41},
		{FAKE_6_12, FAKE_OTHER_CAP, HGATP_SV39, 50, 0},
		{FAKE_6_12, FAKE_OTHER_CAP, HGATP_AUTO, 59, 59},
		{FAKE_7_2, FAKE_NO_MODE_CAP, HGATP_SV39, 50, 41},
		{FAKE_7_2, FAKE_NO_MODE_CAP, HGATP_SV57, 59, 59},
		{FAKE_7_2, FAKE_NO_MODE_CAP, HGATP_SV57, 50, 0},
		{FAKE_7_2, FAKE_NO_MODE_CAP, HGATP_AUTO, 59, 41},
		{FAKE_7_3, FAKE_OTHER_CAP, HGATP_SV48, 59, 50},
		{FAKE_7_3, FAKE_NO_MODE_CAP, HGATP_HOST, 50, 50},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		rig_end(&rig);
		rig_init(&rig, cases[i].kernel);
		rig.host->mode_cap = cases[i].cap;
		rig.host->max_bits = cases[i].max;
		rig.arch.hgatp.choice = cases[i].choice;
		rig.vm = vm_create(&rig.cfg, fake_host_sys(rig.host), &rig.log, &rig.err);
		if (!cases[i].want) {
			ck_assert_msg(!rig.vm, "case %zu", i);
			ck_assert_msg(rig_one_line(rig.err.msg), "%s", rig.err.msg);
			continue;
		}
		ck_assert_msg(rig.vm, "case %zu: %s", i, rig.err.msg);
		ck_assert_msg(fake_vm(rig.host)->bits == cases[i].want, "case %zu: %u", i,
			      fake_vm(rig.host)->bits);
	}
}
END_TEST

START_TEST(dry_run_prints_a_plan)
{
	char text[4096] = "";
	FILE *out = fmemopen(text, sizeof(text), "w");

	rig_create(&rig);
	arch_print_plan(rig.vm, out);
	fclose(out);
	ck_assert_ptr_nonnull(strstr(text, "RAM"));
	ck_assert_uint_eq(fake_calls(rig.host, KVM_RUN), 0);
}
END_TEST

/* --- ending ----------------------------------------------------------- */

START_TEST(statuses)
{
	ck_assert_int_eq(vm_verdict_status(VM_POWEROFF), 0);
	ck_assert_int_eq(vm_verdict_status(VM_RESET), 0);
	ck_assert_int_eq(vm_verdict_status(VM_QUIT), 0);
	ck_assert_int_eq(vm_verdict_status(VM_TIMEOUT), 124);
	ck_assert_int_eq(vm_verdict_status(VM_NOT_STARTED), 125);
	ck_assert_int_eq(vm_verdict_status(VM_DIED), 126);
	ck_assert_int_eq(vm_verdict_status(VM_ALIVE), 126);
}
END_TEST

START_TEST(power_off_prints_all)
{
	SCRIPT(program){
		{.kind = FAKE_PRINT, .addr = SERIAL, .text = "last words\n"},
		{.kind = FAKE_EVENT, .value = KVM_SYSTEM_EVENT_SHUTDOWN},
		{.kind = FAKE_END},
	};

	rig.host->programs[0] = program;
	rig_create(&rig);
	ck_assert_int_eq(run_it(), VM_POWEROFF);
	vm_destroy(rig.vm);
	rig.vm = NULL;
	ck_assert_str_eq(printed(), "last words\n");
}
END_TEST

START_TEST(exit_on_reset)
{
	rig.host->programs[0] = reset;
	rig.cfg.on_reset = RESET_EXIT;
	rig_create(&rig);
	ck_assert_int_eq(run_it(), VM_RESET);
	ck_assert_uint_eq(rig.vm->resets, 0);
}
END_TEST

START_TEST(timeout)
{
	uint64_t start = now_ns();

	rig.cfg.timeout_s = 1;
	rig.cfg.cpus = 2;
	rig_create(&rig);
	ck_assert_int_eq(run_it(), VM_TIMEOUT);
	ck_assert_uint_ge(now_ns() - start, NSEC_PER_SEC - NSEC_PER_MSEC);
	ck_assert_ptr_nonnull(strstr(logged(), "--timeout 1"));
}
END_TEST

START_TEST(first_verdict_counts)
{
	rig_create(&rig);
	vm_end(rig.vm, VM_POWEROFF);
	vm_end(rig.vm, VM_DIED);
	vm_end(rig.vm, VM_RESET);
	ck_assert_int_eq(run_it(), VM_POWEROFF);
}
END_TEST

START_TEST(end_goes_before_reset)
{
	rig_create(&rig);
	vm_end(rig.vm, VM_RESET);
	vm_end(rig.vm, VM_QUIT);
	ck_assert_int_eq(run_it(), VM_QUIT);
	ck_assert_uint_eq(rig.vm->resets, 0);
}
END_TEST

START_TEST(threads_cannot_start)
{
	/* No console: the loop cannot watch an output that is no descriptor. */
	rig_create(&rig);
	rig.cfg.console_in = 987654;
	ck_assert_int_eq(run_it(), VM_NOT_STARTED);
	ck_assert_ptr_nonnull(strstr(logged(), "Fatal: "));
	ck_assert_uint_eq(fake_calls(rig.host, KVM_RUN), 0);
}
END_TEST

START_TEST(signals)
{
	rig_create(&rig);
	rig.vm->signal_fd = process_signal_fd(&rig.err);
	ck_assert_int_ge(rig.vm->signal_fd, 0);
	rig_start(&rig);
	ck_assert(fake_wait_idle(rig.host, 0));
	ck_assert_int_eq(kill(getpid(), SIGWINCH), 0);
	ck_assert_int_eq(kill(getpid(), SIGTERM), 0);
	ck_assert_int_eq(rig_join(&rig), VM_SIGNAL);
	ck_assert_int_eq(rig.vm->end_signal, SIGTERM);
	close(rig.vm->signal_fd);
}
END_TEST

/* --- restarting ------------------------------------------------------- */

static const struct fake_op *ten_lives(void *opaque, unsigned int generation, unsigned int hart)
{
	SCRIPT(life){
		{.kind = FAKE_START, .value = 1},
		{.kind = FAKE_STORE, .addr = RTC + 0x10, .size = 4, .value = 1},
		{.kind = FAKE_PRINT, .addr = SERIAL, .text = "life\n"},
		{.kind = FAKE_EVENT, .value = KVM_SYSTEM_EVENT_RESET},
		{.kind = FAKE_END},
	};

	(void)opaque;
	if (hart)
		return NULL;
	return generation < 10 ? life : off;
}

START_TEST(ten_resets)
{
	size_t fds, live, slots = 0, i;
	char c = 1;

	rig.host->program = ten_lives;
	rig.cfg.cpus = 2;
	rig_create(&rig);
	fds = open_fds();
	live = fake_live(rig.host);
	/* Left by the first life, gone in the next. */
	ck_assert(memory_write(&rig.vm->mem, 0x83000000, &c, 1));
	ck_assert_int_eq(run_it(), VM_POWEROFF);
	ck_assert_uint_eq(rig.vm->resets, 10);
	ck_assert_uint_eq(rig.host->generations, 11);
	ck_assert_uint_eq(fake_live(rig.host), live);
	ck_assert(memory_read(&rig.vm->mem, 0x83000000, &c, 1));
	ck_assert_uint_eq(c, 0);
	for (i = 0; i < FAKE_MAX_SLOTS; i++)
		slots += fake_vm(rig.host)->slots[i].used;
	ck_assert_uint_eq(slots, 1);
	ck_assert_uint_eq(fake_vm(rig.host)->bits, 41);
	/* Set up as the first one was. */
	ck_assert_uint_eq(fake_vcpu(rig.host, 0)->core[CORE_PC], 0x80200000);
	ck_assert(fake_vcpu(rig.host, 0)->sbi[SBI_EXT_DBCN]);
	ck_assert(fake_vcpu(rig.host, 1)->sbi[SBI_EXT_DBCN]);
	/* The console's descriptors are there since vm_run(): nothing per life. */
	ck_assert_uint_le(open_fds(), fds + 4);
	vm_destroy(rig.vm);
	rig.vm = NULL;
	ck_assert_str_eq(printed(), "life\nlife\nlife\nlife\nlife\nlife\nlife\nlife\nlife\nlife\n");
}
END_TEST

/* A restart in which each call fails in turn: the VM ends with a report. */
START_TEST(restart_fails)
{
	static const struct {
		unsigned long request;
		unsigned int nth;
	} bad[] = {
		{KVM_CREATE_VM, 1},   {KVM_SET_USER_MEMORY_REGION, 1},
		{KVM_CREATE_VCPU, 1}, {KVM_CREATE_VCPU, 2},
		{FAKE_MAP, 2},	      {KVM_SET_ONE_REG, 1},
	};
	SCRIPT(program){
		{.kind = FAKE_WAIT},
		{.kind = FAKE_EVENT, .value = KVM_SYSTEM_EVENT_RESET},
		{.kind = FAKE_END},
	};

	rig.host->programs[0] = program;
	rig.cfg.cpus = 2;
	rig_create(&rig);
	rig_start(&rig);
	ck_assert(fake_wait_idle(rig.host, 0));
	fake_arm(rig.host, bad[_i].request, bad[_i].nth, ENOMEM);
	fake_poke(rig.host, 0);
	ck_assert_int_eq(rig_join(&rig), VM_DIED);
	ck_assert_ptr_nonnull(strstr(logged(), "Fatal: the guest could not be restarted: "));
}
END_TEST

/* Two harts ask at once: one restart, and the guest lives on. */
START_TEST(two_harts_reset_at_once)
{
	enum vm_verdict verdict = VM_RESET;
	unsigned int i;

	rig.cfg.cpus = 2;
	rig_create(&rig);
	rig_start(&rig);
	for (i = 0; i < 20; i++) {
		rig_call(&rig, call_end, &verdict);
		vm_end(rig.vm, VM_RESET);
	}
	ck_assert(fake_wait_generation(rig.host, 1));
	ck_assert(fake_wait_idle(rig.host, 0));
	quit(&rig);
}
END_TEST

static const struct fake_op *panicking(void *opaque, unsigned int generation, unsigned int hart)
{
	SCRIPT(panic){
		{.kind = FAKE_PRINT,
		 .addr = SERIAL,
		 .text = "[    1.0] Kernel panic - not syncing: no init\n"},
		{.kind = FAKE_EVENT, .value = KVM_SYSTEM_EVENT_RESET},
		{.kind = FAKE_END},
	};

	(void)opaque;
	(void)hart;
	return generation ? off : panic;
}

/* panic=-1: the words and the reset come together. */
START_TEST(panic_then_reset_at_once)
{
	rig.host->program = panicking;
	rig_create(&rig);
	ck_assert_int_eq(run_it(), VM_DIED);
	ck_assert_ptr_nonnull(strstr(logged(), "panicked"));
}
END_TEST

START_TEST(panic_then_reset_later)
{
	SCRIPT(program){
		{.kind = FAKE_PRINT, .addr = SERIAL, .text = "Kernel panic - not syncing: x\n"},
		{.kind = FAKE_WAIT},
		{.kind = FAKE_EVENT, .value = KVM_SYSTEM_EVENT_RESET},
		{.kind = FAKE_END},
	};

	rig.host->programs[0] = program;
	rig_create(&rig);
	rig_start(&rig);
	ck_assert(fake_wait_idle(rig.host, 0));
	usleep(20000);
	fake_poke(rig.host, 0);
	ck_assert_int_eq(rig_join(&rig), VM_DIED);
}
END_TEST

START_TEST(reset_while_paused)
{
	SCRIPT(program){
		{.kind = FAKE_WAIT},
		{.kind = FAKE_END},
	};
	enum vm_verdict verdict = VM_RESET;

	rig.host->programs[0] = program;
	rig_create(&rig);
	ck_assert_int_eq(vm_pause(rig.vm, 100), 0); /* before it runs: starts parked */
	rig_start(&rig);
	rig_call(&rig, call_end, &verdict);
	ck_assert(fake_wait_generation(rig.host, 1));
	usleep(20000);
	ck_assert_uint_eq(fake_calls(rig.host, KVM_RUN), 0);
	verdict = VM_QUIT;
	quit(&rig);
}
END_TEST

/* --- the machine ------------------------------------------------------ */

START_TEST(counters_of_the_boot_hart)
{
	struct fake_vcpu *v;

	rig_end(&rig);
	rig_init(&rig, (enum fake_kernel)_i);
	rig_create(&rig);
	v = fake_vcpu(rig.host, 0);
	ck_assert_uint_eq(v->csr[CSR_SCOUNTEREN], 7);
}
END_TEST

START_TEST(counters_of_other_harts)
{
	SCRIPT(boot){
		{.kind = FAKE_STORE, .addr = THRESHOLD(0), .size = 4},
		{.kind = FAKE_START, .value = 1},
		{.kind = FAKE_START, .value = 2},
		{.kind = FAKE_WAIT},
		{.kind = FAKE_START, .value = 1}, /* hot-plugged again */
		{.kind = FAKE_WAIT},
		{.kind = FAKE_EVENT, .value = KVM_SYSTEM_EVENT_SHUTDOWN},
		{.kind = FAKE_END},
	};
	SCRIPT(plain){
		{.kind = FAKE_STORE, .addr = THRESHOLD(1), .size = 4},
		{.kind = FAKE_LOAD, .addr = SERIAL + 5, .size = 1},
		{.kind = FAKE_STOP},
		{.kind = FAKE_STORE, .addr = THRESHOLD(1), .size = 4},
		{.kind = FAKE_LOAD, .addr = SERIAL + 5, .size = 1},
		{.kind = FAKE_END},
	};
	SCRIPT(choosy){
		{.kind = FAKE_SCOUNTEREN, .value = 2}, /* its own choice */
		{.kind = FAKE_STORE, .addr = THRESHOLD(2), .size = 4},
		{.kind = FAKE_LOAD, .addr = SERIAL + 5, .size = 1},
		{.kind = FAKE_END},
	};

	rig.host->programs[0] = boot;
	rig.host->programs[1] = plain;
	rig.host->programs[2] = choosy;
	rig.cfg.cpus = 4;
	rig_create(&rig);
	rig_start(&rig);
	ck_assert(fake_wait_results(rig.host, 1, 1));
	ck_assert(fake_wait_results(rig.host, 2, 1));
	ck_assert(fake_wait_idle(rig.host, 1));
	fake_poke(rig.host, 0);
	ck_assert(fake_wait_results(rig.host, 1, 2));
	fake_poke(rig.host, 0);
	ck_assert_int_eq(rig_join(&rig), VM_POWEROFF);
	ck_assert_uint_eq(fake_vcpu(rig.host, 0)->csr[CSR_SCOUNTEREN], 7);
	ck_assert_uint_eq(fake_vcpu(rig.host, 1)->csr[CSR_SCOUNTEREN], 7);
	ck_assert_uint_eq(fake_vcpu(rig.host, 2)->csr[CSR_SCOUNTEREN], 2);
	ck_assert_uint_eq(fake_vcpu(rig.host, 3)->csr[CSR_SCOUNTEREN], 0);
}
END_TEST

START_TEST(boot_hart_chooses)
{
	SCRIPT(program){
		{.kind = FAKE_SCOUNTEREN, .value = 1},
		{.kind = FAKE_STORE, .addr = THRESHOLD(0), .size = 4},
		{.kind = FAKE_EVENT, .value = KVM_SYSTEM_EVENT_SHUTDOWN},
		{.kind = FAKE_END},
	};

	rig.host->programs[0] = program;
	rig_create(&rig);
	ck_assert_int_eq(run_it(), VM_POWEROFF);
	ck_assert_uint_eq(fake_vcpu(rig.host, 0)->csr[CSR_SCOUNTEREN], 1);
}
END_TEST

START_TEST(counters_after_suspend)
{
	SCRIPT(program){
		{.kind = FAKE_SBI, .addr = EID_SUSP, .args = {0, 0x80400000, 0x77}},
		{.kind = FAKE_STORE, .addr = SERIAL + 7, .size = 1, .value = 1},
		{.kind = FAKE_EVENT, .value = KVM_SYSTEM_EVENT_SHUTDOWN},
		{.kind = FAKE_END},
	};
	struct fake_vcpu *v;
	unsigned int i;

	rig.host->programs[0] = program;
	rig_create(&rig);
	rig_start(&rig);
	for (i = 0; i < 5000 && !vm_suspended(rig.vm); i++)
		usleep(1000);
	usleep(20000);
	ck_assert(vm_wake(rig.vm));
	ck_assert_int_eq(rig_join(&rig), VM_POWEROFF);
	v = fake_vcpu(rig.host, 0);
	ck_assert_uint_eq(v->core[CORE_PC], 0x80400000);
	ck_assert_uint_eq(v->core[CORE_A1], 0x77);
	ck_assert_uint_eq(v->csr[CSR_SCOUNTEREN], 7);
}
END_TEST

/* KVM's reset forgets the wire that the PLIC holds up: it is told again. */
START_TEST(interrupt_survives_suspend)
{
	SCRIPT(program){
		{.kind = FAKE_STORE, .addr = PLIC + 4 * 10, .size = 4, .value = 1},
		{.kind = FAKE_STORE, .addr = PLIC + 0x2000, .size = 4, .value = 1 << 10},
		{.kind = FAKE_STORE, .addr = PLIC + 0x200000, .size = 4, .value = 0},
		{.kind = FAKE_STORE, .addr = SERIAL + 1, .size = 1, .value = 2},
		{.kind = FAKE_SBI, .addr = EID_SUSP, .args = {0, 0x80400000, 0x77}},
		{.kind = FAKE_STORE, .addr = SERIAL + 7, .size = 1, .value = 1},
		{.kind = FAKE_EVENT, .value = KVM_SYSTEM_EVENT_SHUTDOWN},
		{.kind = FAKE_END},
	};
	unsigned int i;

	rig.host->programs[0] = program;
	rig_create(&rig);
	rig_start(&rig);
	for (i = 0; i < 5000 && !vm_suspended(rig.vm); i++)
		usleep(1000);
	usleep(20000);
	ck_assert(vm_wake(rig.vm));
	ck_assert_int_eq(rig_join(&rig), VM_POWEROFF);
	ck_assert(fake_vcpu(rig.host, 0)->line);
}
END_TEST

START_TEST(suspended_guest_wakes_by_input)
{
	SCRIPT(program){
		{.kind = FAKE_SBI, .addr = EID_SUSP},
		{.kind = FAKE_EVENT, .value = KVM_SYSTEM_EVENT_SHUTDOWN},
		{.kind = FAKE_END},
	};

	rig.host->programs[0] = program;
	rig_create(&rig);
	rig_start(&rig);
	ck_assert(fake_wait_results(rig.host, 0, 2));
	usleep(20000);
	ck_assert(vm_suspended(rig.vm));
	ck_assert_int_eq(write_all(rig.in, "x", 1), 1);
	ck_assert_int_eq(rig_join(&rig), VM_POWEROFF);
}
END_TEST

/* Input that came before the suspend, and that nobody reads, wakes at once. */
START_TEST(suspend_with_input_waiting)
{
	SCRIPT(program){
		{.kind = FAKE_WAIT},
		{.kind = FAKE_SBI, .addr = EID_SUSP},
		{.kind = FAKE_EVENT, .value = KVM_SYSTEM_EVENT_SHUTDOWN},
		{.kind = FAKE_END},
	};

	rig.host->programs[0] = program;
	rig_create(&rig);
	ck_assert_int_eq(write_all(rig.in, "x", 1), 1);
	rig_start(&rig);
	ck_assert(fake_wait_idle(rig.host, 0));
	usleep(50000);
	fake_poke(rig.host, 0);
	ck_assert_int_eq(rig_join(&rig), VM_POWEROFF);
}
END_TEST

START_TEST(sbi_console_out_and_in)
{
	SCRIPT(program){
		{.kind = FAKE_SBI, .addr = EID_DBCN, .value = 0, .args = {5, 0x83000000, 0}},
		{.kind = FAKE_SBI, .addr = EID_DBCN, .value = 2, .args = {'!'}},
		{.kind = FAKE_SBI, .addr = 1, .value = 9, .args = {'?', 77}},
		{.kind = FAKE_WAIT},
		{.kind = FAKE_SBI, .addr = EID_DBCN, .value = 1, .args = {100, 0x83000100, 0}},
		{.kind = FAKE_SBI, .addr = 2, .args = {0, 5}},
		{.kind = FAKE_EVENT, .value = KVM_SYSTEM_EVENT_SHUTDOWN},
		{.kind = FAKE_END},
	};
	struct fake_vcpu *v;
	char back[4] = "";

	rig.host->programs[0] = program;
	rig.cfg.console = CONSOLE_SBI;
	rig_create(&rig);
	ck_assert(memory_write(&rig.vm->mem, 0x83000000, "hello", 5));
	rig_start(&rig);
	ck_assert(fake_wait_results(rig.host, 0, 6));
	ck_assert_int_eq(write_all(rig.in, "key", 3), 3);
	usleep(50000);
	fake_poke(rig.host, 0);
	ck_assert_int_eq(rig_join(&rig), VM_POWEROFF);
	v = fake_vcpu(rig.host, 0);
	ck_assert_uint_eq(v->results[1], 5);
	ck_assert_uint_eq(v->results[5], 77);
	ck_assert_uint_eq(v->results[6], 0);
	ck_assert_uint_eq(v->results[7], 3);
	ck_assert_int_eq((long)v->results[8], -1);
	ck_assert_uint_eq(v->results[9], 5);
	ck_assert(memory_read(&rig.vm->mem, 0x83000100, back, 3));
	ck_assert_str_eq(back, "key");
	vm_destroy(rig.vm);
	rig.vm = NULL;
	ck_assert_str_eq(printed(), "hello!?");
}
END_TEST

/* --- two of them ------------------------------------------------------ */

#define LINES 300

static void make_lines(struct fake_op *ops, const char *text)
{
	unsigned int i;

	for (i = 0; i < LINES; i++)
		ops[i] = (struct fake_op){.kind = FAKE_PRINT, .addr = SERIAL, .text = text};
	ops[i++] = (struct fake_op){.kind = FAKE_EVENT, .value = KVM_SYSTEM_EVENT_SHUTDOWN};
	ops[i] = (struct fake_op){.kind = FAKE_END};
}

static void check_lines(struct rig *r, const char *text)
{
	static char all[65536];
	const char *p = rig_output(r, all, sizeof(all));
	unsigned int i;

	for (i = 0; i < LINES; i++, p += strlen(text))
		ck_assert(!strncmp(p, text, strlen(text)));
	ck_assert_str_eq(p, "");
}

START_TEST(two_vms_in_one_process)
{
	static struct fake_op one[LINES + 2], two[LINES + 2];
	struct rig other;

	make_lines(one, "one: a line of the first guest\n");
	make_lines(two, "TWO: and one of the second\n");
	rig_end(&rig);
	rig_init(&rig, FAKE_7_2);
	rig_init(&other, FAKE_6_12);
	rig.host->programs[0] = one;
	other.host->programs[0] = two;
	rig.cfg.cpus = other.cfg.cpus = 2;
	rig_create(&rig);
	rig_create(&other);
	rig_start(&rig);
	rig_start(&other);
	ck_assert_int_eq(rig_join(&rig), VM_POWEROFF);
	ck_assert_int_eq(rig_join(&other), VM_POWEROFF);
	vm_destroy(other.vm);
	other.vm = NULL;
	vm_destroy(rig.vm);
	rig.vm = NULL;
	check_lines(&rig, "one: a line of the first guest\n");
	check_lines(&other, "TWO: and one of the second\n");
	rig_end(&other);
}
END_TEST

/* One is paused, restarted and ended; the other does not notice. */
START_TEST(two_vms_keep_apart)
{
	SCRIPT(waiting){
		{.kind = FAKE_LOAD, .addr = SERIAL + 5, .size = 1},
		{.kind = FAKE_WAIT},
		{.kind = FAKE_GOTO, .value = 0},
	};
	enum vm_verdict verdict = VM_RESET;
	struct rig other;
	unsigned int i;

	rig_end(&rig);
	rig_init(&rig, FAKE_7_2);
	rig_init(&other, FAKE_7_3);
	other.host->programs[0] = waiting;
	rig_create(&rig);
	rig_create(&other);
	rig_start(&rig);
	rig_start(&other);
	for (i = 1; i <= 10; i++) {
		ck_assert(fake_wait_results(other.host, 0, i));
		rig_call(&rig, call_end, &verdict);
		ck_assert(fake_wait_generation(rig.host, i));
		ck_assert(fake_wait_idle(rig.host, 0));
		fake_poke(other.host, 0);
	}
	quit(&rig);
	ck_assert(fake_wait_results(other.host, 0, 11));
	ck_assert_uint_eq(other.host->generations, 1);
	ck_assert_uint_eq(other.vm->resets, 0);
	quit(&other);
	vm_destroy(rig.vm);
	rig.vm = NULL;
	rig_end(&other);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("vm");
	TCase *tc = tcase_create("vm");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, create_on_every_kernel, FAKE_6_12, FAKE_7_3 + 1);
	tcase_add_loop_test(tc, every_call_fails_once, FAKE_6_12, FAKE_7_3 + 1);
	tcase_add_test(tc, kvm_missing);
	tcase_add_test(tc, kernel_missing);
	tcase_add_test(tc, memory_that_cannot_be);
	tcase_add_test(tc, too_many_cpus);
	tcase_add_test(tc, many_cpus);
	tcase_add_test(tc, gstage_modes);
	tcase_add_test(tc, dry_run_prints_a_plan);
	tcase_add_test(tc, statuses);
	tcase_add_test(tc, power_off_prints_all);
	tcase_add_test(tc, exit_on_reset);
	tcase_add_test(tc, timeout);
	tcase_add_test(tc, first_verdict_counts);
	tcase_add_test(tc, end_goes_before_reset);
	tcase_add_test(tc, threads_cannot_start);
	tcase_add_test(tc, signals);
	tcase_add_test(tc, ten_resets);
	tcase_add_loop_test(tc, restart_fails, 0, 6);
	tcase_add_test(tc, two_harts_reset_at_once);
	tcase_add_test(tc, panic_then_reset_at_once);
	tcase_add_test(tc, panic_then_reset_later);
	tcase_add_test(tc, reset_while_paused);
	tcase_add_loop_test(tc, counters_of_the_boot_hart, FAKE_6_12, FAKE_7_3 + 1);
	tcase_add_test(tc, counters_of_other_harts);
	tcase_add_test(tc, boot_hart_chooses);
	tcase_add_test(tc, counters_after_suspend);
	tcase_add_test(tc, interrupt_survives_suspend);
	tcase_add_test(tc, suspended_guest_wakes_by_input);
	tcase_add_test(tc, suspend_with_input_waiting);
	tcase_add_test(tc, sbi_console_out_and_in);
	tcase_add_test(tc, two_vms_in_one_process);
	tcase_add_test(tc, two_vms_keep_apart);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
