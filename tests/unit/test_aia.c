// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's AIA: how a VM gets one on the fake host, what each failing step leads
 * to, and what wires and messages become. A whole VM is built each time; none runs but
 * where a reset is tried.
 */
#include "lkvm/arch.h"
#include "lkvm/riscv/regs.h"
#include "lkvm/virtio/balloon.h"
#include "lkvm/virtio/rng.h"
#include "rig.h"
#include "unit.h"

#include "../../riscv/machine.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define PLIC UINT64_C(0x0c000000)
#define APLIC UINT64_C(0x0d000000)
#define IMSIC UINT64_C(0x28000000)

static struct rig rig;
static char log_text[8192];

static const char *logged(void)
{
	return rig_log(&rig, log_text, sizeof(log_text));
}

static void setup(void)
{
	rig_init(&rig, FAKE_7_2);
	rig.host->host_aia = true;
	rig.host->host_isa[ISA_EXT_SSAIA] = true;
	rig.arch.irqchip = IRQCHIP_AUTO;
}

static void teardown(void)
{
	rig_end(&rig);
}

static struct fake_aia *aia(void)
{
	return &fake_vm(rig.host)->aia;
}

static struct machine_irqchip *chip(void)
{
	return &rig.vm->arch->irq;
}

static size_t count(const char *text, const char *what)
{
	size_t n = 0;

	while ((text = strstr(text, what))) {
		n++;
		text++;
	}
	return n;
}

/* Up to many harts: addresses, bits and counts are what KVM's own checks want. */
START_TEST(had)
{
	static const unsigned int cpus[] = {1, 2, 3, 4, 5, 8, 33, 64, 1023, 1024};
	static const uint32_t bits[] = {0, 1, 2, 2, 3, 3, 6, 6, 10, 10};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cpus); i++) {
		rig_end(&rig);
		setup();
		rig.cfg.cpus = cpus[i];
		rig_create(&rig);
		ck_assert(aia()->started);
		ck_assert_ptr_null(chip()->plic);
		ck_assert_uint_eq(aia()->aplic, APLIC);
		ck_assert_uint_eq(aia()->imsic[cpus[i] - 1], IMSIC + 4096 * (cpus[i] - 1));
		ck_assert_uint_eq(chip()->aia.hart_bits, bits[i]);
		ck_assert_uint_eq(chip()->aia.ids, 255);
		ck_assert_uint_eq(chip()->aia.sources, 35);
		/* One KVM VM was enough. */
		ck_assert_uint_eq(rig.host->generations, 1);
		ck_assert_str_eq(logged(), "");
	}
}
END_TEST

START_TEST(modes)
{
	struct vm *vm;

	rig.arch.aia = AIA_EMUL;
	rig.host->aia_files = true;
	rig_create(&rig);
	ck_assert_uint_eq(aia()->config[0], 0);
	rig_end(&rig);
	setup();
	rig.arch.aia = AIA_HWACCEL;
	rig.host->aia_files = true;
	rig_create(&rig);
	ck_assert_uint_eq(aia()->config[0], 1);
	rig_end(&rig);
	/* Files that are not there: refused by name, where the AIA was asked for. */
	setup();
	rig.arch.irqchip = IRQCHIP_AIA;
	rig.arch.aia = AIA_HWACCEL;
	vm = vm_create(&rig.cfg, fake_host_sys(rig.host), &rig.log, &rig.err);
	ck_assert_ptr_null(vm);
	ck_assert_ptr_nonnull(strstr(rig.err.msg, "--irqchip aia"));
	ck_assert_ptr_nonnull(strstr(rig.err.msg, "hwaccel"));
}
END_TEST

/* A host without: auto says so and has the PLIC, aia is refused. */
START_TEST(not_offered)
{
	struct vm *vm;

	rig.host->host_aia = false;
	rig_create(&rig);
	ck_assert_ptr_nonnull(chip()->plic);
	ck_assert_uint_eq(count(logged(), "interrupts: the PLIC"), 1);
	rig_end(&rig);
	setup();
	rig.host->host_aia = false;
	rig.arch.irqchip = IRQCHIP_AIA;
	vm = vm_create(&rig.cfg, fake_host_sys(rig.host), &rig.log, &rig.err);
	ck_assert_ptr_null(vm);
	ck_assert_ptr_nonnull(strstr(rig.err.msg, "--irqchip aia"));
}
END_TEST

/* Who hides Ssaia from the guest gets the PLIC, and can't ask for the other. */
START_TEST(hidden)
{
	struct vm *vm;

	rig.arch.isa.hide_isa[ISA_EXT_SSAIA] = true;
	rig_create(&rig);
	ck_assert_ptr_nonnull(chip()->plic);
	ck_assert_ptr_nonnull(strstr(logged(), "--disable-ssaia"));
	rig_end(&rig);
	setup();
	rig.arch.isa.list = "rv64imafdc_sstc";
	rig_create(&rig);
	ck_assert_ptr_nonnull(chip()->plic);
	ck_assert_ptr_nonnull(strstr(logged(), "--isa"));
	rig_end(&rig);
	setup();
	rig.arch.isa.hide_isa[ISA_EXT_SSAIA] = true;
	rig.arch.irqchip = IRQCHIP_AIA;
	vm = vm_create(&rig.cfg, fake_host_sys(rig.host), &rig.log, &rig.err);
	ck_assert_ptr_null(vm);
	ck_assert_ptr_nonnull(strstr(rig.err.msg, "--irqchip aia"));
	ck_assert_ptr_nonnull(strstr(rig.err.msg, "--disable-ssaia"));
}
END_TEST

/* Each step fails in turn: a PLIC machine and one line that names the step. */
START_TEST(each_step_fails)
{
	static const struct {
		uint32_t group;
		uint64_t attr;
		const char *step;
	} steps[] = {
		{0, 2, "sources"}, {0, 5, "hart bits"}, {1, 0, "APLIC"},
		{1, 1, "IMSIC"},   {1, 3, "IMSIC"},	{2, 0, "starting"},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		rig_end(&rig);
		setup();
		rig.cfg.cpus = 3;
		fake_arm_aia(rig.host, steps[i].group, steps[i].attr, EINVAL);
		rig_create(&rig);
		ck_assert_ptr_nonnull(chip()->plic);
		ck_assert(!fake_vm(rig.host)->aia.started);
		ck_assert_int_lt(fake_vm(rig.host)->aia.fd, 0);
		ck_assert_uint_eq(rig.host->generations, 2);
		ck_assert_uint_eq(count(logged(), "Warning: interrupts: the PLIC"), 1);
		ck_assert_ptr_nonnull(strstr(logged(), steps[i].step));
		/* The guest is told nothing of Ssaia. */
		ck_assert(!rig.vm->arch->isa.shown[ISA_EXT_SSAIA]);
		ck_assert_ptr_null(rig.vm->arch->msi);
		/* Wires lead to the PLIC. */
		irq_line_set(&(struct irq_line){&chip()->chip, 10}, true);
		irq_line_set(&(struct irq_line){&chip()->chip, 10}, false);
	}
}
END_TEST

START_TEST(create_fails)
{
	fake_arm(rig.host, KVM_CREATE_DEVICE, 2, EBUSY); /* the first one only asks */
	rig_create(&rig);
	ck_assert_ptr_nonnull(chip()->plic);
	ck_assert_ptr_nonnull(strstr(logged(), "creating the device"));
}
END_TEST

/* The machine works with its PLIC: a wire reaches the hart, the guest powers off. */
static void plic_works(void)
{
	static const struct fake_op off[] = {
		/* Priority and enable of source 10, then its claim. */
		{.kind = FAKE_STORE, .addr = PLIC + 40, .size = 4, .value = 1},
		{.kind = FAKE_STORE, .addr = PLIC + 0x2000, .size = 4, .value = 1 << 10},
		{.kind = FAKE_WAIT_IRQ},
		{.kind = FAKE_LOAD, .addr = PLIC + 0x200004, .size = 4},
		{.kind = FAKE_EVENT, .value = KVM_SYSTEM_EVENT_SHUTDOWN},
		{.kind = FAKE_END}};

	fake_vcpu(rig.host, 0)->program = off;
	irq_line_set(&(struct irq_line){&chip()->chip, 10}, true);
	rig_start(&rig);
	ck_assert_int_eq(rig_join(&rig), VM_POWEROFF);
	ck_assert_uint_eq(fake_vcpu(rig.host, 0)->results[0], 10);
}

/*
 * Every call that the set-up makes fails in turn, whatever it is: a machine with a PLIC,
 * and one line that names the step and why. Returns how many calls there were.
 */
static unsigned int fail_each(unsigned long request, enum aia_choice mode, const char *line)
{
	unsigned int nth;

	for (nth = 1;; nth++) {
		rig_end(&rig);
		setup();
		rig.cfg.cpus = 3;
		rig.host->aia_ids = 512; /* more than are wanted */
		rig.host->aia_files = true;
		rig.arch.aia = mode;
		fake_arm(rig.host, request, nth, EIO);
		rig_create(&rig);
		if (!rig.host->armed_hit)
			break;
		ck_assert_ptr_nonnull(chip()->plic);
		ck_assert_ptr_null(rig.vm->arch->msi);
		ck_assert_uint_eq(count(logged(), "interrupts: "), 1);
		ck_assert_msg(strstr(logged(), line), "%s", logged());
		ck_assert_ptr_nonnull(strstr(logged(), strerror(EIO)));
		plic_works();
	}
	ck_assert_ptr_null(chip()->plic);
	ck_assert_str_eq(logged(), "");
	return nth - 1;
}

START_TEST(every_call_fails)
{
	static const char failed[] = "interrupts: the PLIC, because the kernel's AIA failed: ";

	/*
	 * The mode; identities, sources and hart bits; the APLIC and an IMSIC for each hart; the
	 * start; a look at a file.
	 */
	ck_assert_uint_eq(fail_each(KVM_SET_DEVICE_ATTR, AIA_EMUL, failed), 1 + 3 + 4 + 1 + 2);
	ck_assert_uint_eq(fail_each(KVM_SET_DEVICE_ATTR, AIA_HWACCEL, failed), 1 + 3 + 4 + 1 + 2);
	ck_assert_uint_eq(fail_each(KVM_SET_DEVICE_ATTR, AIA_AUTO, failed), 3 + 4 + 1 + 2);
	/* The mode and the identities; the look. */
	ck_assert_uint_eq(fail_each(KVM_GET_DEVICE_ATTR, AIA_AUTO, failed), 2 + 1);
	/* Can it be had, and the device itself. */
	ck_assert_uint_eq(fail_each(KVM_CREATE_DEVICE, AIA_AUTO, "interrupts: the PLIC"), 2);
}
END_TEST

static const char *kind_of(const char *name)
{
	size_t i;

	for (i = 0; i < rig.vm->arch->nr_devices; i++)
		if (!strcmp(rig.vm->arch->devices[i].device->name, name))
			return rig.vm->arch->devices[i].device->ops->kind;
	return "none";
}

/* What a device sits behind follows the chip that was had, not the one that was tried. */
START_TEST(transport_follows)
{
	static const struct {
		enum transport_choice asked;
		bool fails;
		const char *kind;
	} cases[] = {
		{TRANSPORT_AUTO, false, "virtio-pci"},	{TRANSPORT_AUTO, true, "virtio-mmio"},
		{TRANSPORT_PCI, false, "virtio-pci"},	{TRANSPORT_PCI, true, "virtio-pci"},
		{TRANSPORT_MMIO, false, "virtio-mmio"}, {TRANSPORT_MMIO, true, "virtio-mmio"},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		rig_end(&rig);
		setup();
		rig.cfg.transport = cases[i].asked;
		rig.cfg.virtio[0] = (struct virtio_request){&virtio_rng_kind, ""};
		rig.cfg.virtio[1] = (struct virtio_request){&virtio_rng_kind, ""};
		rig.cfg.nr_virtio = 2;
		if (cases[i].fails)
			fake_arm_aia(rig.host, 2, 0, EINVAL);
		rig_create(&rig);
		ck_assert_str_eq(kind_of("rng0"), cases[i].kind);
		ck_assert_str_eq(kind_of("rng1"), cases[i].kind);
		ck_assert_int_eq(rig.vm->arch->msi != NULL, !cases[i].fails);
		if (cases[i].fails)
			plic_works();
	}
	/* Without any AIA in the host, and with the PLIC asked for. */
	for (i = 0; i < 2; i++) {
		rig_end(&rig);
		setup();
		rig.host->host_aia = i;
		rig.arch.irqchip = i ? IRQCHIP_PLIC : IRQCHIP_AUTO;
		rig.cfg.virtio[0] = (struct virtio_request){&virtio_rng_kind, ""};
		rig.cfg.nr_virtio = 1;
		rig_create(&rig);
		ck_assert_str_eq(kind_of("rng0"), "virtio-mmio");
	}
}
END_TEST

static unsigned int vectors(size_t index)
{
	const struct arch_vm *a = rig.vm->arch;
	size_t i;

	/* Message control's Table Size of the first capability that is MSI-X. */
	for (i = 0; i < a->nr_devices; i++) {
		const struct pci_function *fn = a->devices[i].function;
		unsigned int cap;

		if (!fn || index--)
			continue;
		for (cap = pci_get(fn, 0x34, 1); cap; cap = pci_get(fn, cap + 1, 1))
			if (pci_get(fn, cap, 1) == 0x11)
				return (pci_get(fn, cap + 2, 2) & 0x7ff) + 1;
	}
	return 0;
}

static void with_devices(unsigned int balloons, unsigned int rngs)
{
	rig_end(&rig);
	setup();
	rig.host->aia_half_files = true;
	rig.cfg.nr_virtio = 0;
	while (balloons--)
		rig.cfg.virtio[rig.cfg.nr_virtio++] =
			(struct virtio_request){&virtio_balloon_kind, ""};
	while (rngs--)
		rig.cfg.virtio[rig.cfg.nr_virtio++] = (struct virtio_request){&virtio_rng_kind, ""};
}

/*
 * Where KVM's files in software take the lower 31 identities only, all vectors together
 * with what else interrupts stay below that: two for each device, and more as long as
 * there are any.
 */
START_TEST(half_files)
{
	unsigned int i, sum;

	with_devices(1, 3);
	rig_create(&rig);
	ck_assert_uint_eq(chip()->aia.usable, 31);
	ck_assert_uint_eq(fake_vm(rig.host)->aia.eie0[0], 0);
	ck_assert_uint_gt(vectors(0), 2);
	for (i = 1; i < 4; i++)
		ck_assert_uint_eq(vectors(i), 2);
	with_devices(1, 40);
	rig_create(&rig);
	for (i = 0, sum = 0; i < 41; i++) {
		ck_assert_uint_eq(vectors(i), i < 11 ? 2 : 1);
		sum += vectors(i) > 1 ? vectors(i) : 0;
	}
	ck_assert_uint_le(sum, 31 - 8);
	/* Guest files are whole, and so is a KVM that keeps all it is told. */
	with_devices(1, 40);
	rig.host->aia_files = true;
	rig.arch.aia = AIA_HWACCEL;
	rig_create(&rig);
	ck_assert_uint_eq(chip()->aia.usable, 255);
	ck_assert_uint_eq(vectors(40), 2);
	with_devices(1, 40);
	rig.host->aia_half_files = false;
	rig_create(&rig);
	ck_assert_uint_eq(chip()->aia.usable, 255);
	ck_assert_uint_gt(vectors(0), 2);
	ck_assert_uint_eq(vectors(40), 2);
}
END_TEST

/* As many sources and identities as the devices may need; more than KVM has: the PLIC. */
START_TEST(from_need)
{
	with_devices(0, 1);
	rig.host->aia_ids = 64;
	rig_create(&rig);
	ck_assert_uint_eq(aia()->config[1], 63);
	ck_assert_uint_eq(aia()->config[2], 35);
	with_devices(0, 27);
	rig.cfg.transport = TRANSPORT_MMIO;
	rig_create(&rig);
	ck_assert_uint_eq(aia()->config[1], 255);
	ck_assert_uint_eq(aia()->config[2], 66);
	with_devices(0, 27);
	rig.cfg.transport = TRANSPORT_MMIO;
	rig.host->aia_ids = 64;
	rig_create(&rig);
	ck_assert_ptr_nonnull(chip()->plic);
	ck_assert_ptr_nonnull(strstr(logged(), "63 identities for 66 sources"));
	/* Not all that KVM has, but two for each interrupt, as long as there are so many. */
	with_devices(0, 20);
	rig.host->aia_ids = 2048;
	rig_create(&rig);
	ck_assert_uint_eq(aia()->config[1], 255);
	with_devices(0, 62);
	rig.host->aia_ids = 2048;
	rig_create(&rig);
	ck_assert_uint_eq(aia()->config[1], 319);
	with_devices(0, 62);
	rig.host->aia_ids = 256;
	rig_create(&rig);
	ck_assert_uint_eq(aia()->config[1], 255);
}
END_TEST

/* KVM before 6.18 loses wake-ups by files in hardware: they are had by name only. */
START_TEST(old_kvm)
{
	static const enum aia_choice asked[] = {AIA_AUTO, AIA_EMUL, AIA_HWACCEL};
	static const uint32_t got[] = {0, 0, 1};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(asked); i++) {
		rig_end(&rig);
		rig_init(&rig, FAKE_6_12);
		rig.arch.irqchip = IRQCHIP_AUTO;
		rig.host->host_aia = rig.host->host_isa[ISA_EXT_SSAIA] = true;
		rig.host->aia_files = true;
		rig.arch.aia = asked[i];
		rig_create(&rig);
		ck_assert(aia()->started);
		ck_assert_uint_eq(aia()->config[0], got[i]);
	}
}
END_TEST

/* No file is left for a vCPU on the CPU where it runs now: what can be done is said. */
START_TEST(entry_fails)
{
	struct kvm_run *run;
	char text[ARCH_ENTRY_FAILURE_MAX];

	rig.host->aia_files = true;
	rig.arch.aia = AIA_HWACCEL;
	rig_create(&rig);
	run = rig.vm->vcpus[0].kvm.run;
	run->fail_entry.cpu = UINT32_MAX;
	run->fail_entry.hardware_entry_failure_reason = 0x600;
	arch_entry_failure(&rig.vm->vcpus[0], text, sizeof(text));
	ck_assert_str_eq(text, "host CPU 4294967295 has no interrupt file left: --aia hwaccel "
			       "needs one for each vCPU that runs there, --aia auto does not");
	rig_end(&rig);
	setup();
	rig.arch.irqchip = IRQCHIP_PLIC;
	rig_create(&rig);
	rig.vm->vcpus[0].kvm.run->fail_entry.hardware_entry_failure_reason = 0x600;
	arch_entry_failure(&rig.vm->vcpus[0], text, sizeof(text));
	ck_assert_str_eq(text, "KVM could not enter the guest, reason 0x600");
}
END_TEST

/* --aia with a chip that has no files: refused by name, or a word that it was not had. */
START_TEST(files_of_no_chip)
{
	char text[4096] = "";
	FILE *out = fmemopen(text, sizeof(text) - 1, "w");
	struct vm *vm;

	rig.arch.irqchip = IRQCHIP_PLIC;
	rig.arch.aia = AIA_HWACCEL;
	vm = vm_create(&rig.cfg, fake_host_sys(rig.host), &rig.log, &rig.err);
	ck_assert_ptr_null(vm);
	ck_assert_ptr_nonnull(strstr(rig.err.msg, "--aia: with --irqchip plic there are no"));
	rig_end(&rig);
	setup();
	rig.host->host_aia = false;
	rig.arch.aia = AIA_EMUL;
	rig_create(&rig);
	ck_assert_uint_eq(count(logged(), "Warning: interrupts: the PLIC, without --aia: "), 1);
	arch_print_plan(rig.vm, out);
	fclose(out);
	ck_assert_ptr_nonnull(strstr(text,
				     "interrupts: PLIC in user space, 127 sources (KVM offers "
				     "no AIA: "));
}
END_TEST

static void save_chip(struct xfer *x)
{
	xfer_save_init(x);
	chip()->dev.ops->transfer(&chip()->dev, x);
	ck_assert(!x->failed);
}

static bool load_chip(const struct xfer *from, struct error *err)
{
	struct xfer x;

	xfer_load_init(&x, from->buf, from->len);
	chip()->dev.ops->transfer(&chip()->dev, &x);
	*err = x.err;
	return !x.failed;
}

/* What a KVM gives that has half registers is no more than that; what it can't hold is refused. */
START_TEST(saved_by_halves)
{
	struct error err;
	struct xfer x;

	rig.host->aia_half_files = true;
	rig_create(&rig);
	aia()->eie0[0] = 0x80000006;
	save_chip(&x);
	rig_end(&rig);
	setup();
	rig_create(&rig);
	ck_assert(load_chip(&x, &err));
	ck_assert_uint_eq(aia()->eie0[0], 0x80000006);
	xfer_free(&x);
	aia()->eie0[0] |= UINT64_C(1) << 40;
	save_chip(&x);
	rig_end(&rig);
	setup();
	rig.host->aia_half_files = true;
	rig_create(&rig);
	ck_assert(!load_chip(&x, &err));
	ck_assert_ptr_nonnull(strstr(err.msg, "interrupt identity 40"));
	xfer_free(&x);
}
END_TEST

/*
 * Nothing of a hart's start comes to user space here. An old guest's are looked at for good, so
 * that one that is stopped and started again can read the time.
 */
START_TEST(counters)
{
	static const struct fake_op boot[] = {
		{.kind = FAKE_START, .value = 1},
		{.kind = FAKE_WAIT},
		{.kind = FAKE_START, .value = 1},
		{.kind = FAKE_WAIT},
		{.kind = FAKE_EVENT, .value = KVM_SYSTEM_EVENT_SHUTDOWN},
		{.kind = FAKE_END},
	};
	static const struct fake_op second[] = {
		{.kind = FAKE_WAIT},
		{.kind = FAKE_STOP},
		{.kind = FAKE_WAIT},
		{.kind = FAKE_END},
	};
	struct hart *hart;

	rig.host->programs[0] = boot;
	rig.host->programs[1] = second;
	rig.cfg.cpus = 2;
	rig_create(&rig);
	hart = &rig.vm->arch->harts[1];
	rig_start(&rig);
	while (!hart->seen)
		usleep(1000);
	fake_poke(rig.host, 1);
	while (!hart->gone)
		usleep(1000);
	fake_poke(rig.host, 0);
	while (!hart->seen)
		usleep(1000);
	fake_poke(rig.host, 0);
	ck_assert_int_eq(rig_join(&rig), VM_POWEROFF);
	ck_assert_uint_eq(fake_vcpu(rig.host, 1)->csr[CSR_SCOUNTEREN], 7);
}
END_TEST

static void kick(struct rig *r, void *arg)
{
	(void)arg;
	vcpu_kick(&r->vm->vcpus[0]);
}

/*
 * Linux leaves the counters to whoever wakes it from suspend to RAM. A kick that met the hart
 * asleep is no sign that KVM has reset it.
 */
START_TEST(counters_after_suspend)
{
	static const struct fake_op boot[] = {
		{.kind = FAKE_SBI, .addr = SBI_EID_SUSP, .args = {0, 0x80300000, 0}},
		{.kind = FAKE_WAIT},
		{.kind = FAKE_EVENT, .value = KVM_SYSTEM_EVENT_SHUTDOWN},
		{.kind = FAKE_END},
	};
	struct hart *hart;

	rig.host->programs[0] = boot;
	rig_create(&rig);
	hart = &rig.vm->arch->harts[0];
	rig_start(&rig);
	ck_assert(fake_wait_results(rig.host, 0, 2));
	while (!vm_suspended(rig.vm))
		usleep(1000);
	usleep(20000);
	rig_call(&rig, kick, NULL);
	usleep(20000);
	ck_assert(vm_wake(rig.vm));
	while (!hart->seen)
		usleep(1000);
	fake_poke(rig.host, 0);
	ck_assert_int_eq(rig_join(&rig), VM_POWEROFF);
	ck_assert_uint_eq(fake_vcpu(rig.host, 0)->csr[CSR_SCOUNTEREN], 7);
}
END_TEST

/* What --dry-run and info say of interrupts. */
START_TEST(plan_tells)
{
	char text[4096] = "";
	FILE *out = fmemopen(text, sizeof(text) - 1, "w");

	with_devices(1, 1);
	rig_create(&rig);
	arch_print_plan(rig.vm, out);
	fclose(out);
	ck_assert_ptr_nonnull(strstr(text, "interrupts: AIA in the kernel, 35 sources, 255 "
					   "identities (31 usable), mode emul"));
	ck_assert_ptr_nonnull(strstr(text, "aplic0"));
	ck_assert_ptr_nonnull(strstr(text, "rng0, interrupt 34 or 2 MSI-X vectors\n"));
}
END_TEST

/* A wire for each device needs an identity for each: with too many the PLIC it is. */
START_TEST(too_many_wires)
{
	struct vm *vm;

	with_devices(0, 27);
	rig.cfg.transport = TRANSPORT_MMIO;
	rig_create(&rig);
	ck_assert_ptr_null(chip()->plic);
	with_devices(0, 28);
	rig.cfg.transport = TRANSPORT_MMIO;
	rig_create(&rig);
	ck_assert_ptr_nonnull(chip()->plic);
	ck_assert_uint_eq(count(logged(), "28 devices behind virtio-mmio"), 1);
	ck_assert_int_lt(chip()->aia.fd, 0);
	plic_works();
	with_devices(0, 28);
	rig.cfg.transport = TRANSPORT_MMIO;
	rig.arch.irqchip = IRQCHIP_AIA;
	vm = vm_create(&rig.cfg, fake_host_sys(rig.host), &rig.log, &rig.err);
	ck_assert_ptr_null(vm);
	ck_assert_ptr_nonnull(strstr(rig.err.msg, "28 devices behind virtio-mmio"));
}
END_TEST

/* A wire is told when it changes, rising and falling. */
START_TEST(wires)
{
	struct irq_line line;
	unsigned int calls;

	rig_create(&rig);
	line = (struct irq_line){&chip()->chip, 33};
	calls = aia()->line_calls;
	irq_line_set(&line, false);
	ck_assert_uint_eq(aia()->line_calls, calls);
	irq_line_set(&line, true);
	irq_line_set(&line, true);
	ck_assert_uint_eq(aia()->line_calls, calls + 1);
	ck_assert(aia()->levels[33]);
	irq_line_set(&line, false);
	ck_assert_uint_eq(aia()->line_calls, calls + 2);
	ck_assert(!aia()->levels[33]);
	irq_line_set(&(struct irq_line){&chip()->chip, 4000}, true);
	ck_assert_uint_eq(aia()->line_calls, calls + 2);
}
END_TEST

START_TEST(messages)
{
	struct msi_sink *sink;
	uint32_t a = MSI_NONE, b = MSI_NONE, handles[5000], nr;

	rig.cfg.cpus = 2;
	rig_create(&rig);
	sink = rig.vm->arch->msi;
	ck_assert_ptr_nonnull(sink);
	ck_assert_int_eq(sink->ops->update(sink, &a, IMSIC, 7), 0);
	ck_assert_int_eq(sink->ops->update(sink, &b, IMSIC + 4096, 8), 0);
	ck_assert_uint_ne(a, b);
	ck_assert_int_eq(sink->ops->send(sink, IMSIC + 4096, 8), 0);
	ck_assert_uint_eq(aia()->nr_msis, 1);
	ck_assert_uint_eq(aia()->msis[0].address, IMSIC + 4096);
	ck_assert_uint_eq(aia()->msis[0].data, 8);
	/* Moved, and what is refused changes nothing. */
	ck_assert_int_eq(sink->ops->update(sink, &b, IMSIC, 9), 0);
	ck_assert_int_eq(sink->ops->update(sink, &b, IMSIC + 2 * 4096, 9), -EINVAL);
	ck_assert_int_eq(sink->ops->update(sink, &b, IMSIC - 4, 9), -EINVAL);
	ck_assert_int_eq(sink->ops->update(sink, &b, 0x80000000, 9), -EINVAL);
	ck_assert_int_eq(sink->ops->update(sink, &b, UINT64_MAX - 3, 9), -EINVAL);
	/* What KVM does not take is told. */
	ck_assert_int_eq(sink->ops->send(sink, IMSIC, 4000), -EINVAL);
	ck_assert_uint_eq(aia()->nr_msis, 1);
	sink->ops->release(sink, b);
	sink->ops->release(sink, MSI_NONE);
	/* There is an end, and what is given back can be had again. */
	for (nr = 0; nr < ARRAY_SIZE(handles); nr++) {
		handles[nr] = MSI_NONE;
		if (sink->ops->update(sink, &handles[nr], IMSIC, nr))
			break;
	}
	ck_assert_uint_eq(nr, 4095);
	ck_assert_uint_eq(handles[nr], MSI_NONE);
	sink->ops->release(sink, handles[1000]);
	ck_assert_int_eq(sink->ops->update(sink, &handles[nr], IMSIC, 1), 0);
	ck_assert_uint_eq(handles[nr], handles[1000]);
}
END_TEST

static const struct fake_op *three_lives(void *opaque, unsigned int generation, unsigned int hart)
{
	static const struct fake_op reset[] = {
		{.kind = FAKE_EVENT, .value = KVM_SYSTEM_EVENT_RESET}, {.kind = FAKE_END}};
	static const struct fake_op off[] = {
		{.kind = FAKE_EVENT, .value = KVM_SYSTEM_EVENT_SHUTDOWN}, {.kind = FAKE_END}};
	static const struct fake_op nothing[] = {{.kind = FAKE_END}};

	(void)opaque;
	if (hart)
		return nothing;
	return generation < 2 ? reset : off;
}

/* The guest's reset makes a new KVM VM with a new AIA, which is told of wires that are up. */
START_TEST(comes_back_after_reset)
{
	rig.host->program = three_lives;
	rig.cfg.cpus = 2;
	rig_create(&rig);
	irq_line_set(&(struct irq_line){&chip()->chip, 60}, true);
	irq_line_set(&(struct irq_line){&chip()->chip, 33}, true);
	rig_start(&rig);
	ck_assert_int_eq(rig_join(&rig), VM_POWEROFF);
	ck_assert_uint_eq(rig.host->generations, 3);
	ck_assert(aia()->started);
	ck_assert_uint_eq(chip()->aia.hart_bits, 1);
	ck_assert(aia()->levels[33]);
	ck_assert(!aia()->levels[32]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("aia");
	TCase *tc = tcase_create("aia");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, had);
	tcase_add_test(tc, modes);
	tcase_add_test(tc, not_offered);
	tcase_add_test(tc, hidden);
	tcase_add_test(tc, each_step_fails);
	tcase_add_test(tc, create_fails);
	tcase_add_test(tc, every_call_fails);
	tcase_add_test(tc, transport_follows);
	tcase_add_test(tc, half_files);
	tcase_add_test(tc, from_need);
	tcase_add_test(tc, old_kvm);
	tcase_add_test(tc, entry_fails);
	tcase_add_test(tc, files_of_no_chip);
	tcase_add_test(tc, saved_by_halves);
	tcase_add_test(tc, counters);
	tcase_add_test(tc, counters_after_suspend);
	tcase_add_test(tc, plan_tells);
	tcase_add_test(tc, too_many_wires);
	tcase_add_test(tc, wires);
	tcase_add_test(tc, messages);
	tcase_add_test(tc, comes_back_after_reset);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
