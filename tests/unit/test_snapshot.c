// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whole VMs into files and back, on scripted hosts: nothing of the state is lost, a VM
 * that was loaded and not let go is the file again byte by byte, what can't be saved or
 * taken is refused by name, and every KVM call that fails on the way leaves nothing behind.
 */
#include "snapshot_rig.h"
#include "unit.h"

#include "../../riscv/machine.h"

#include "lkvm/process.h"
#include "lkvm/riscv/regs.h"
#include "lkvm/vcpu.h"
#include "lkvm/virtio/kind.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct error err;

static const struct fake_op after[] = {
	{.kind = FAKE_WAIT_IRQ},
	{.kind = FAKE_LOAD, .addr = PLIC + 0x200004, .size = 4},
	{.kind = FAKE_LOAD, .addr = PLIC + 4 * 10, .size = 4},
	{.kind = FAKE_PRINT, .addr = UART, .text = "after it\n"},
	{.kind = FAKE_END},
};

/* Save, load paused, save: the same bytes; and the first VM has gone on undisturbed. */
START_TEST(identical)
{
	enum fake_kernel kernel = (enum fake_kernel)(_i / 3);
	enum snapshot_encoding encoding = (enum snapshot_encoding)(_i % 3);
	struct fake_vcpu *from, *to;
	struct snapshot_file f;
	struct second b;
	struct rig a;
	int one, two, three;
	unsigned int i;

	first_vm(&a, kernel);
	one = save_as(&a, encoding);
	/* Saving changed nothing. */
	two = save_as(&a, encoding);
	same_file(one, two);
	close(two);
	a.fds_before--;

	second_init(&b, one, kernel);
	b.rig.cfg.paused = true;
	b.rig.cfg.cpus = b.saved.cfg.cpus;
	rig_create(&b.rig);
	rig_start(&b.rig);
	two = save_as(&b.rig, encoding);
	same_file(one, two);
	for (i = 0; i < 2; i++) {
		from = fake_vcpu(a.host, i);
		to = fake_vcpu(b.rig.host, i);
		ck_assert_mem_eq(to->core, from->core, sizeof(to->core));
		ck_assert_mem_eq(to->csr, from->csr, sizeof(to->csr));
		ck_assert_mem_eq(to->fp, from->fp, sizeof(to->fp));
		ck_assert_uint_eq(to->fcsr, from->fcsr);
		ck_assert_mem_eq(to->sta, from->sta, sizeof(to->sta));
		ck_assert_int_eq(to->stopped, from->stopped);
	}
	ck_assert(!memcmp(a.vm->mem.regions[0].hva, b.rig.vm->mem.regions[0].hva, 64 * MIB));

	rig_call(&b.rig, do_unpause, NULL);
	ck_assert_uint_eq(fake_vm(b.rig.host)->time, 777);
	for (i = 0; i < 2; i++)
		ck_assert_uint_eq(fake_vcpu(b.rig.host, i)->compare, 0x123456 + i);
	/* It has run since: a state of its own, that came from the first. */
	three = save_as(&b.rig, encoding);
	ck_assert_int_eq(snapshot_open(&f, three, &err), 0);
	ck_assert_mem_eq(f.header.parent, b.file.header.id, SNAPSHOT_ID_SIZE);
	snapshot_close(&f);
	second_end(&b);

	/* The first one goes on. */
	a.fds_before += 2;
	fake_poke(a.host, 0);
	rig_call(&a, do_unpause, NULL);
	ck_assert(fake_wait_idle(a.host, 0));
	quit(&a);
	close(one);
	close(two);
	close(three);
}
END_TEST

/* It goes on: the interrupt that was pending comes, the PLIC knows what it was told. */
START_TEST(goes_on)
{
	struct second b;
	char text[256] = "";
	size_t len = 0;
	struct rig a;
	int fd, i;

	first_vm(&a, FAKE_7_2);
	fd = save_as(&a, SNAPSHOT_RAW);
	/* Output that was under way is the first VM's. */
	for (i = 0; i < 200; i++) {
		rig_output(&a, text + len, sizeof(text) - len);
		len += strlen(text + len);
		if (strstr(text, "before the file\n"))
			break;
		usleep(10000);
	}
	ck_assert_int_lt(i, 200);
	quit(&a);

	second_init(&b, fd, FAKE_7_2);
	b.rig.host->programs[0] = after;
	rig_create(&b.rig);
	rig_start(&b.rig);
	ck_assert(fake_wait_results(b.rig.host, 0, 2));
	ck_assert_uint_eq(fake_vcpu(b.rig.host, 0)->results[0], 10);
	ck_assert_uint_eq(fake_vcpu(b.rig.host, 0)->results[1], 3);
	ck_assert(fake_wait_idle(b.rig.host, 0));
	/* A second hart that had a software interrupt is woken by kicks. */
	usleep(200000);
	ck_assert_uint_ge(atomic_load(&fake_vcpu(b.rig.host, 0)->entries), 5);
	second_end(&b);
	close(fd);
}
END_TEST

/* The guest resets after a restore: with a kernel it boots, without one the VM ends. */
START_TEST(reset_after)
{
	static const struct fake_op reset[] = {
		{.kind = FAKE_EVENT, .value = KVM_SYSTEM_EVENT_RESET},
		{.kind = FAKE_END},
	};
	struct second b;
	struct rig a;
	char log[4096];
	int fd;

	first_vm(&a, FAKE_7_2);
	fd = save_as(&a, SNAPSHOT_RAW);
	quit(&a);
	second_init(&b, fd, FAKE_7_2);
	b.rig.host->programs[0] = reset;
	if (!_i)
		b.rig.cfg.kernel = b.rig.kernel;
	rig_create(&b.rig);
	rig_start(&b.rig);
	if (_i) {
		ck_assert_int_eq(rig_join(&b.rig), VM_DIED);
		ck_assert_ptr_nonnull(
			strstr(rig_log(&b.rig, log, sizeof(log)), "no kernel was named"));
	} else {
		ck_assert(fake_wait_generation(b.rig.host, 3));
		vm_end(b.rig.vm, VM_QUIT);
		rig_join(&b.rig);
	}
	rig_end(&b.rig);
	snapshot_saved_free(&b.saved);
	snapshot_close(&b.file);
	close(fd);
}
END_TEST

/* A hart that another one has started, whose registers KVM still holds back. */
START_TEST(start_in_flight)
{
	struct second b;
	struct rig a;
	int fd;

	rig_init(&a, FAKE_7_2);
	a.cfg.cpus = 2;
	a.host->programs[0] = snapshot_hello;
	rig_create(&a);
	rig_start(&a);
	ck_assert(fake_wait_idle(a.host, 0));
	ck_assert(fake_wait_idle(a.host, 1));
	rig_call(&a, do_pause, NULL);
	fake_vcpu(a.host, 1)->stopped = false;
	fake_vcpu(a.host, 1)->start_pending = true;
	fd = save_as(&a, SNAPSHOT_RAW);
	ck_assert_uint_eq(fake_vcpu(a.host, 1)->core[CORE_PC], 0x80000000);
	second_init(&b, fd, FAKE_7_2);
	b.rig.cfg.paused = true;
	rig_create(&b.rig);
	rig_start(&b.rig);
	rig_call(&b.rig, do_unpause, NULL);
	ck_assert_uint_eq(fake_vcpu(b.rig.host, 1)->core[CORE_PC], 0x80000000);
	ck_assert(!fake_vcpu(b.rig.host, 1)->stopped);
	second_end(&b);
	quit(&a);
	close(fd);
}
END_TEST

/* Suspended to RAM: it sleeps on, and wakes up where it said. */
START_TEST(suspended)
{
	static const struct fake_op sleep[] = {
		{.kind = FAKE_SBI, .addr = 0x53555350, .args = {0, 0x80200000, 7}},
		{.kind = FAKE_END},
	};
	static const struct fake_op awake[] = {
		{.kind = FAKE_LOAD, .addr = PLIC + 4 * 10, .size = 4},
		{.kind = FAKE_END},
	};
	struct fake_vcpu *v;
	struct second b;
	struct rig a;
	int i, one, two;

	rig_init(&a, FAKE_7_2);
	a.host->programs[0] = sleep;
	a.cfg.cpus = 2;
	rig_create(&a);
	rig_start(&a);
	for (i = 0; i < 500 && !vm_suspended(a.vm); i++)
		usleep(10000);
	one = save_as(&a, SNAPSHOT_RAW);
	quit(&a);

	second_init(&b, one, FAKE_7_2);
	b.rig.host->programs[0] = awake;
	b.rig.cfg.paused = true;
	rig_create(&b.rig);
	rig_start(&b.rig);
	two = save_as(&b.rig, SNAPSHOT_RAW);
	same_file(one, two);
	rig_call(&b.rig, do_unpause, NULL);
	usleep(100000);
	v = fake_vcpu(b.rig.host, 0);
	ck_assert_uint_eq(atomic_load(&v->nr_results), 0);
	ck_assert(vm_suspended(b.rig.vm));
	ck_assert_uint_eq(v->core[CORE_PC], 0x80200000);
	ck_assert_uint_eq(v->core[CORE_A1], 7);
	ck_assert_uint_eq(v->core[CORE_MODE], 1);
	ck_assert(vm_wake(b.rig.vm));
	ck_assert(fake_wait_results(b.rig.host, 0, 1));
	second_end(&b);
	close(one);
	close(two);
}
END_TEST

/* The kernel's AIA: its registers, and the wires' levels, come back. */
START_TEST(kernel_aia)
{
	struct fake_aia *from, *to;
	struct fake_host *host;
	struct second b;
	struct rig a;
	int one, two, i;

	rig_init(&a, FAKE_7_2);
	a.host->host_aia = a.host->host_isa[ISA_EXT_SSAIA] = true;
	a.arch.irqchip = IRQCHIP_AIA;
	a.arch.identities = 255;
	a.cfg.cpus = 2;
	a.host->programs[0] = snapshot_hello;
	rig_create(&a);
	rig_start(&a);
	ck_assert(fake_wait_idle(a.host, 0));
	from = &fake_vm(a.host)->aia;
	from->file[1][0x72] = 5;
	from->file[1][0x80] = 0x1234;
	from->file[0][0x70] = 1;
	from->aplic_regs[10] = 6;
	from->aplic_regs[0] = 0x80000104;
	ck_assert(from->levels[10]);
	one = save_as(&a, SNAPSHOT_RAW);

	second_init(&b, one, FAKE_7_2);
	b.rig.host->host_aia = b.rig.host->host_isa[ISA_EXT_SSAIA] = true;
	host = fake_host_new(FAKE_7_2);
	for (i = 0; i < 4; i++) {
		static const char *const reasons[] = {
			"KVM offers no AIA", "255 interrupt identities, here 127",
			"up to 255 identities, of which only 31 work here", NULL};
		struct reasons why = {0};

		host->host_aia = host->host_isa[ISA_EXT_SSAIA] = i;
		host->aia_ids = i == 1 ? 128 : 256;
		host->aia_half_files = i == 2;
		ck_assert_int_eq(arch_host_check(&b.file, b.saved.arch, &b.rig.cfg,
						 fake_host_sys(host), &why, &err),
				 0);
		ck_assert(reasons[i] ? has_reason(&why, reasons[i]) : !why.nr);
	}
	fake_host_free(host);
	b.rig.cfg.paused = true;
	rig_create(&b.rig);
	rig_start(&b.rig);
	two = save_as(&b.rig, SNAPSHOT_RAW);
	same_file(one, two);
	to = &fake_vm(b.rig.host)->aia;
	ck_assert_mem_eq(to->file, from->file, sizeof(to->file));
	ck_assert_mem_eq(to->aplic_regs, from->aplic_regs, sizeof(to->aplic_regs));
	ck_assert_mem_eq(to->levels, from->levels, sizeof(to->levels));
	rig_call(&b.rig, do_unpause, NULL);
	second_end(&b);
	a.fds_before++;
	quit(&a);
	close(one);
	close(two);
}
END_TEST

static void with_interrupt_files(struct fake_host *h)
{
	h->host_aia = h->host_isa[ISA_EXT_SSAIA] = h->aia_files = true;
}

/* What was asked for by name; "auto" is each host's own choice. */
START_TEST(interrupt_files)
{
	static const enum aia_choice choices[] = {AIA_AUTO, AIA_EMUL, AIA_HWACCEL};
	uint32_t mode;
	struct second b;
	struct rig a;
	int one;

	rig_init(&a, FAKE_7_2);
	with_interrupt_files(a.host);
	a.arch.irqchip = IRQCHIP_AIA;
	a.arch.aia = choices[_i];
	a.host->programs[0] = snapshot_hello;
	rig_create(&a);
	rig_start(&a);
	ck_assert(fake_wait_idle(a.host, 0));
	mode = fake_vm(a.host)->aia.config[0];
	one = save_as(&a, SNAPSHOT_RAW);

	second_init(&b, one, FAKE_7_2);
	with_interrupt_files(b.rig.host);
	b.rig.cfg.paused = true;
	rig_create(&b.rig);
	rig_start(&b.rig);
	ck_assert_int_eq(b.rig.arch.aia, choices[_i]);
	ck_assert_uint_eq(fake_vm(b.rig.host)->aia.config[0], mode);
	rig_call(&b.rig, do_unpause, NULL);
	second_end(&b);
	quit(&a);
	close(one);
}
END_TEST

/* Linux Documentation/admin-guide/mm/pagemap.rst: it is there, and of no file. */
static bool is_own(const void *page)
{
	int map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;

	ck_assert_int_ge(map, 0);
	ck_assert_int_eq(pread(map, &entry, 8, (off_t)((uintptr_t)page / 4096 * 8)), 8);
	close(map);
	return entry >> 63 && !(entry >> 61 & 1);
}

/* Harts that write page tables by themselves must find no page that has to be copied first. */
START_TEST(pages_of_its_own)
{
	const char *page;
	struct second b;
	struct rig a;
	int one;

	rig_init(&a, FAKE_7_2);
	with_svadu(&a, _i);
	a.host->programs[0] = snapshot_hello;
	rig_create(&a);
	memset(memory_for_write(&a.vm->mem, RAM + 4 * MIB, 70000), 0x5a, 70000);
	rig_start(&a);
	ck_assert(fake_wait_idle(a.host, 0));
	one = save_as(&a, SNAPSHOT_RAW);

	second_init(&b, one, FAKE_7_2);
	with_svadu(&b.rig, _i);
	rig_create(&b.rig);
	rig_start(&b.rig);
	page = memory_for_read(&b.rig.vm->mem, RAM + 4 * MIB, 70000);
	ck_assert_int_eq(page[0], 0x5a);
	ck_assert_int_eq(is_own(page), _i);
	ck_assert_int_eq(page[69999], 0x5a);
	ck_assert_int_eq(is_own(page + 69999), _i);
	second_end(&b);
	quit(&a);
	close(one);
}
END_TEST

static const struct virtio_kind *kind_of(const char *option)
{
	size_t i;

	for (i = 0; virtio_kinds[i]; i++)
		if (!strcmp(virtio_kinds[i]->option, option))
			return virtio_kinds[i];
	return NULL;
}

/* Devices: in the file's order whatever the command line's, and each missing one named. */
START_TEST(devices)
{
	const struct virtio_request asked[] = {{kind_of("balloon"), ""}, {kind_of("rng"), ""}};
	struct reasons why = {0};
	struct virtio_device *rng;
	struct second b;
	struct rig a;
	int one, two;

	rig_init(&a, FAKE_7_2);
	a.host->programs[0] = snapshot_hello;
	a.cfg.virtio[0] = asked[1];
	a.cfg.virtio[1] = asked[0];
	a.cfg.nr_virtio = 2;
	rig_create(&a);
	rig_start(&a);
	ck_assert(fake_wait_idle(a.host, 0));
	one = save_as(&a, SNAPSHOT_RAW);
	quit(&a);

	second_init(&b, one, FAKE_7_2);
	snapshot_saved_match(&b.saved, asked, 1, &why);
	ck_assert_uint_eq(why.nr, 1);
	ck_assert_str_eq(why.list[0].msg, "the VM has rng0 (--rng), and none was given");
	why.nr = 0;
	snapshot_saved_match(&b.saved, asked, 2, &why);
	ck_assert_uint_eq(why.nr, 0);
	b.rig.cfg = b.saved.cfg;
	b.rig.cfg.paused = true;
	rig_create(&b.rig);
	rig_start(&b.rig);
	two = save_as(&b.rig, SNAPSHOT_RAW);
	same_file(one, two);
	/* A reset before it has gone on: its devices are let go too. */
	rng = machine_virtio_find(b.rig.vm->arch, "rng0");
	ck_assert_uint_eq(rng->held, 1);
	rig_call(&b.rig, do_reset, NULL);
	/* There is nothing to boot here. */
	ck_assert_int_eq(rig_join(&b.rig), VM_DIED);
	ck_assert_uint_eq(rng->held, 0);
	rig_end(&b.rig);
	snapshot_saved_free(&b.saved);
	snapshot_close(&b.file);
	close(one);
	close(two);
}
END_TEST

/* A VM that is paused besides, when it was saved, does nothing in the world until it goes on. */
START_TEST(stays_quiet)
{
	struct virtio_device *rng;
	struct rig a;
	int fd[4];
	unsigned int i;

	rig_init(&a, FAKE_7_2);
	a.host->programs[0] = snapshot_hello;
	a.cfg.virtio[0] = (struct virtio_request){kind_of("rng"), ""};
	a.cfg.nr_virtio = 1;
	a.cfg.on_reset = RESET_RESTART;
	rig_create(&a);
	rig_start(&a);
	ck_assert(fake_wait_idle(a.host, 0));
	rng = machine_virtio_find(a.vm->arch, "rng0");
	fd[0] = save_as(&a, SNAPSHOT_RAW);
	ck_assert_uint_eq(rng->held, 0);
	rig_call(&a, do_pause, NULL);
	ck_assert_uint_eq(rng->held, 0);
	fd[1] = save_as(&a, SNAPSHOT_RAW);
	ck_assert_uint_eq(rng->held, 1);
	fd[2] = save_as(&a, SNAPSHOT_RAW);
	ck_assert_uint_eq(rng->held, 1);
	same_file(fd[1], fd[2]);
	rig_call(&a, do_unpause, NULL);
	ck_assert_uint_eq(rng->held, 0);
	rig_call(&a, do_pause, NULL);
	fd[3] = save_as(&a, SNAPSHOT_RAW);
	ck_assert_uint_eq(rng->held, 1);
	rig_call(&a, do_reset, NULL);
	ck_assert(fake_wait_generation(a.host, 1));
	rig_call(&a, do_unpause, NULL);
	ck_assert_uint_eq(rng->held, 0);
	quit(&a);
	for (i = 0; i < ARRAY_SIZE(fd); i++)
		close(fd[i]);
}
END_TEST

/* What the check beforehand says, and what happens. */
START_TEST(other_host)
{
	struct fake_host *host = fake_host_new(FAKE_6_12);
	struct reasons why = {0};
	struct second b;
	struct rig a;
	int fd;

	first_vm(&a, FAKE_7_2);
	fd = save_as(&a, SNAPSHOT_RAW);
	quit(&a);
	second_init(&b, fd, FAKE_7_2);
	ck_assert_int_eq(arch_host_check(&b.file, b.saved.arch, &b.rig.cfg,
					 fake_host_sys(b.rig.host), &why, &err),
			 0);
	ck_assert_msg(!why.nr, "%s", why.list[0].msg);
	host->max_vcpus = 1;
	host->timebase = 5;
	ck_assert_int_eq(
		arch_host_check(&b.file, b.saved.arch, &b.rig.cfg, fake_host_sys(host), &why, &err),
		0);
	ck_assert_uint_ge(why.nr, 3);
	ck_assert_int_eq(reasons_fail(&why, "here", &err), -1);
	ck_assert(has_reason(&why, "2 vCPUs"));
	ck_assert(has_reason(&why, "SBI extension fwft"));
	ck_assert(has_reason(&why, "5 Hz"));
	fake_host_free(host);
	rig_create(&b.rig);
	rig_start(&b.rig);
	second_end(&b);
	close(fd);
}
END_TEST

static bool hit(struct rig *rig)
{
	bool was;

	pthread_mutex_lock(&rig->host->lock);
	was = rig->host->armed_hit;
	pthread_mutex_unlock(&rig->host->lock);
	return was;
}

static bool settled(struct rig *rig)
{
	struct fake_vcpu *v = fake_vcpu(rig->host, 0);

	return v && atomic_load(&v->idle);
}

/* Each KVM call of a restore fails once: refused, and nothing is left open. */
START_TEST(failing_calls)
{
	struct rig a;
	unsigned long nth;
	int fd, failed = 0, i;

	first_vm(&a, FAKE_7_2);
	fd = save_as(&a, SNAPSHOT_RAW);
	quit(&a);
	for (nth = 1; nth < 4000; nth += nth < 40 ? 1 : 97) {
		struct second b;

		second_init(&b, fd, FAKE_7_2);
		fake_arm(b.rig.host, FAKE_ANY, nth, EIO);
		b.rig.vm = vm_create(&b.rig.cfg, fake_host_sys(b.rig.host), &b.rig.log, &b.rig.err);
		if (b.rig.vm) {
			rig_start(&b.rig);
			for (i = 0; i < 200 && !hit(&b.rig) && !settled(&b.rig); i++)
				usleep(1000);
			failed += hit(&b.rig);
			vm_end(b.rig.vm, VM_QUIT);
			rig_join(&b.rig);
		} else {
			failed++;
			ck_assert(rig_one_line(b.rig.err.msg));
		}
		rig_end(&b.rig);
		snapshot_saved_free(&b.saved);
		snapshot_close(&b.file);
	}
	ck_assert_int_gt(failed, 30);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("snapshot");
	TCase *tc = tcase_create("snapshot");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, identical, 0, 9);
	tcase_add_test(tc, goes_on);
	tcase_add_loop_test(tc, reset_after, 0, 2);
	tcase_add_test(tc, start_in_flight);
	tcase_add_test(tc, suspended);
	tcase_add_test(tc, kernel_aia);
	tcase_add_loop_test(tc, interrupt_files, 0, 3);
	tcase_add_loop_test(tc, pages_of_its_own, 0, 2);
	tcase_add_test(tc, devices);
	tcase_add_test(tc, stays_quiet);
	tcase_add_test(tc, other_host);
	tcase_add_test(tc, failing_calls);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
