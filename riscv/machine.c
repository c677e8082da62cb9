// SPDX-License-Identifier: GPL-2.0-only
/*
 * The RISC-V machine: its memory map, its table of devices, and the
 * architecture's half of a VM's life (include/lkvm/arch.h).
 *
 * To see what a guest finds, read machine_rows from top to bottom. The order is
 * the order of building, of activating and of saving; the other way round for
 * quiescing and destroying. Interrupt numbers are the chip's sources.
 *
 *   0x00101000  RTC
 *   0x00102000  generation id
 *   0x0c000000  PLIC, or with the kernel's AIA 0x0d000000 and 0x28000000 (irqchip.c)
 *   0x10000000  serial port
 *   0x10001000  virtio-mmio windows, one for each device asked for (virtio.c)
 *   0x30000000  PCI, where a device sits behind it (pci.c), with windows
 *   0x40000000  for BARs below RAM and above
 *   0x80000000  RAM, upwards
 *
 * The places below RAM are where QEMU's virt machine has the same devices, so
 * early consoles and firmware with built-in addresses work.
 *
 * Thread and lock: as arch.h says; arch_handle_exit() and arch_mmio_done() run on
 * vCPU threads and touch only what has its own lock, and struct hart of their own.
 * What is saved: each device by its transfer function.
 */
#include "machine.h"

#include "lkvm/arch.h"
#include "lkvm/arch_state.h"
#include "lkvm/guest_console.h"
#include "lkvm/riscv/regs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAP_RTC UINT64_C(0x00101000)
#define MAP_GENERATION UINT64_C(0x00102000)
#define MAP_SERIAL UINT64_C(0x10000000)

#define IRQ_SERIAL 10
#define IRQ_RTC 11
#define IRQ_GENERATION 12

/* The UART's input clock; 115200 baud divides it evenly. */
#define SERIAL_CLOCK 3686400

/* Linux reads the first 512 bytes at most; 64 are plenty to seed its pool. */
#define RNG_SEED 64

/* Never blocks: the host's pool is seeded long before anybody starts a VM. */
static bool random_bytes(void *buf, size_t len)
{
	return getrandom(buf, len, GRND_NONBLOCK) == (ssize_t)len;
}

/* --- devices ---------------------------------------------------------- */

static void describe_serial(struct fdt_builder *b, const struct arch_vm *a,
			    const struct machine_device *d)
{
	fdt_node_begin_at(b, "serial", d->base);
	fdt_prop_string(b, "compatible", "ns16550a");
	fdt_prop_reg(b, d->base, d->size);
	fdt_prop_u32(b, "clock-frequency", SERIAL_CLOCK);
	fdt_prop_u32(b, "current-speed", 115200);
	machine_describe_irq(b, a, d->irq);
	fdt_node_end(b);
}

static uint64_t rtc_now(void *opaque)
{
	(void)opaque;
	return wall_ns();
}

/*
 * The loop's timers run on the monotonic clock and the alarm is in wall-clock
 * time: rtc_expire() looks again when the timer fires, and a long wait is cut
 * into pieces so that a clock that was set meanwhile is noticed.
 */
static void rtc_arm(void *opaque, uint64_t deadline)
{
	struct arch_vm *a = opaque;
	uint64_t now = rtc_now(NULL);
	uint64_t wait = deadline > now ? deadline - now : 0;

	loop_timer_arm(&a->rtc_timer, now_ns() + min_u64(wait, 60 * NSEC_PER_SEC));
}

static void rtc_disarm(void *opaque)
{
	struct arch_vm *a = opaque;

	loop_timer_cancel(&a->rtc_timer);
}

static void rtc_alarm(void *opaque)
{
	struct arch_vm *a = opaque;

	vm_wake(a->vm);
}

static const struct rtc_env rtc_env = {
	.now = rtc_now,
	.arm = rtc_arm,
	.disarm = rtc_disarm,
	.alarm = rtc_alarm,
};

static void rtc_timer(void *opaque)
{
	struct arch_vm *a = opaque;

	rtc_expire(a->rtc);
}

static struct device *build_rtc(struct arch_vm *a, struct irq_line irq, struct error *err)
{
	loop_timer_init(&a->rtc_timer, a->vm->loop, rtc_timer, a);
	a->rtc = rtc_create("rtc0", irq, &rtc_env, a);
	if (!a->rtc) {
		fail(err, "no memory for the clock");
		return NULL;
	}
	return rtc_device(a->rtc);
}

static void describe_rtc(struct fdt_builder *b, const struct arch_vm *a,
			 const struct machine_device *d)
{
	fdt_node_begin_at(b, "rtc", d->base);
	fdt_prop_string(b, "compatible", "google,goldfish-rtc");
	fdt_prop_reg(b, d->base, d->size);
	machine_describe_irq(b, a, d->irq);
	fdt_node_end(b);
}

static struct device *build_generation(struct arch_vm *a, struct irq_line irq, struct error *err)
{
	a->generation = generation_create("generation0", irq, random_bytes);
	if (!a->generation) {
		fail(err, "no memory or no random bytes for a generation id");
		return NULL;
	}
	return generation_device(a->generation);
}

/* Linux Documentation/devicetree/bindings/rng/microsoft,vmgenid.yaml; its driver is of 6.10. */
static void describe_generation(struct fdt_builder *b, const struct arch_vm *a,
				const struct machine_device *d)
{
	fdt_node_begin_at(b, "rng", d->base);
	fdt_prop_string(b, "compatible", "microsoft,vmgenid");
	fdt_prop_reg(b, d->base, d->size);
	machine_describe_irq(b, a, d->irq);
	fdt_node_end(b);
}

/* The machine. */
static const struct machine_row {
	gpa_t base;
	uint64_t size;
	uint32_t irq;
	struct device *(*build)(struct arch_vm *a, struct irq_line irq, struct error *err);
	void (*describe)(struct fdt_builder *b, const struct arch_vm *a,
			 const struct machine_device *d);
	const struct mmio_ops *ops;
} machine_rows[] = {
	{MAP_SERIAL, SERIAL_WINDOW, IRQ_SERIAL, machine_console_build, describe_serial,
	 &serial_ops},
	{MAP_RTC, RTC_WINDOW, IRQ_RTC, build_rtc, describe_rtc, &rtc_ops},
	{MAP_GENERATION, GENERATION_WINDOW, IRQ_GENERATION, build_generation, describe_generation,
	 &generation_ops},
};

static const struct fdt_alias aliases[] = {
	{"serial0", "/soc/serial@10000000"},
	{"rtc0", "/soc/rtc@101000"},
};

int machine_add(struct arch_vm *a, const struct machine_device *row, const struct mmio_ops *ops,
		void *opaque, struct error *err)
{
	struct mmio_region region = {.name = row->device->name,
				     .base = row->base,
				     .size = row->size,
				     .ops = ops,
				     .dev = opaque};
	int ret;

	if (a->nr_devices == ARRAY_SIZE(a->devices))
		return fail(err, "%s: a machine has at most %zu devices", row->device->name,
			    ARRAY_SIZE(a->devices));
	ret = row->function || row->in_kernel ? 0 : bus_add(&a->vm->bus, &region);
	if (ret)
		return fail_errno(err, -ret, "%s does not fit at 0x%llx", row->device->name,
				  (unsigned long long)row->base);
	a->devices[a->nr_devices++] = *row;
	return 0;
}

static int build_devices(struct arch_vm *a, struct error *err)
{
	size_t i;

	if (machine_irqchip_build(a, err))
		return -1;
	for (i = 0; i < ARRAY_SIZE(machine_rows); i++) {
		const struct machine_row *row = &machine_rows[i];
		struct machine_device d = {
			.device = row->build(a, machine_irq(a, row->irq), err),
			.describe = row->describe,
			.base = row->base,
			.size = row->size,
			.irq = row->irq,
		};

		if (!d.device)
			return -1;
		/* The device struct is the first member of what the ops take. */
		if (machine_add(a, &d, row->ops, d.device, err)) {
			d.device->ops->destroy(d.device);
			return -1;
		}
	}
	return machine_virtio_build(a, err);
}

static int activate_devices(struct arch_vm *a, struct error *err)
{
	size_t i;

	for (i = 0; i < a->nr_devices; i++) {
		struct device *d = a->devices[i].device;

		if (d->ops->activate && d->ops->activate(d, err))
			return -1;
	}
	return 0;
}

/* --- plan ------------------------------------------------------------- */

gpa_t arch_ram_base(void)
{
	return LAYOUT_RAM_BASE;
}

static int open_source(struct boot_source *src, const char *what, const char *path,
		       struct error *err)
{
	src->name = path;
	src->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (src->fd >= 0)
		return 0;
	/* Scripts that look for a usable VMM know the words of the missing kernel. */
	return fail_errno(err, errno, "Unable to open %s %s", what, path);
}

static int open_files(struct arch_vm *a, struct error *err)
{
	const struct vm_config *cfg = a->vm->cfg;

	a->firmware = cfg->firmware;
	/* What goes on from a saved state boots when the guest resets, if at all. */
	if (cfg->image && !cfg->kernel && !cfg->firmware)
		return 0;
	if (open_source(&a->kernel, cfg->firmware ? "firmware" : "kernel",
			cfg->firmware ? cfg->firmware : cfg->kernel, err))
		return -1;
	if (cfg->initrd_fd) {
		a->initrd.name = "for the command";
		a->initrd.fd = fcntl(cfg->initrd_fd, F_DUPFD_CLOEXEC, 3);
		return a->initrd.fd < 0 ? fail_errno(err, errno, "the initrd") : 0;
	}
	if (cfg->initrd)
		return open_source(&a->initrd, "initrd", cfg->initrd, err);
	return 0;
}

int arch_plan(struct vm *vm, struct error *err)
{
	struct arch_vm *a = calloc(1, sizeof(*a));

	if (!a)
		return fail(err, "no memory for the machine");
	vm->arch = a;
	a->vm = vm;
	a->cfg = vm->cfg->arch;
	a->isa_request = a->cfg->isa;
	/* Else Linux makes the firmware's console hvc0, and the virtio console hvc1. */
	if (vm->cfg->console == CONSOLE_VIRTIO)
		a->isa_request.hide_sbi[SBI_EXT_DBCN] = true;
	a->kernel.fd = -1;
	a->initrd.fd = -1;
	a->harts = calloc(vm->nr_vcpus, sizeof(*a->harts));
	if (!a->harts)
		return fail(err, "no memory for %u harts", vm->nr_vcpus);
	if (hgatp_probe(&vm->kvm, &a->hgatp_host, err) ||
	    layout_plan(vm->cfg->mem, vm->cfg->nr_mem, a->hgatp_host.max_bits, &a->map, err) ||
	    hgatp_select(&a->hgatp_host, &a->cfg->hgatp, &a->map.need, &a->hgatp, err))
		return -1;
	return open_files(a, err);
}

int arch_kvm_setup(struct vm *vm, struct error *err)
{
	return hgatp_apply(&vm->kvm, &vm->arch->hgatp_host, &vm->arch->hgatp, err);
}

static int build_memory(struct arch_vm *a, struct error *err)
{
	size_t i;

	if (machine_virtio_shares_memory(a))
		memory_share(&a->vm->mem);
	for (i = 0; i < a->map.nr_ram; i++) {
		const struct layout_region *r = &a->map.ram[i];
		uint64_t align = r->size >= GIB ? LAYOUT_ALIGN_GIB : LAYOUT_ALIGN;

		if (!memory_add(&a->vm->mem, r->gpa, r->size, align, err))
			return -1;
	}
	return 0;
}

static void check_wake(void *opaque)
{
	struct arch_vm *a = opaque;

	if (machine_console_has_input(a) || rtc_pending(a->rtc))
		vm_wake(a->vm);
	else
		machine_console_watch(a);
}

int arch_build(struct vm *vm, struct error *err)
{
	struct arch_vm *a = vm->arch;

	loop_work_init(&a->wake_check, check_wake, a);
	machine_harts_init(a);
	if (build_memory(a, err) || build_devices(a, err))
		return -1;
	a->sbi = (struct sbi_env){.mem = &vm->mem,
				  .xlen = 8 * sizeof(long),
				  .put = machine_console_put,
				  .get = machine_console_get,
				  .opaque = a};
	return 0;
}

/* --- vCPUs ------------------------------------------------------------ */

/*
 * The kernel command line. Linux 6.12 looks for the widest paging mode whatever
 * the tree's mmu-type says, and obeys these two words; 7.x obeys both.
 */
static int make_bootargs(struct arch_vm *a, struct error *err)
{
	const struct vm_config *cfg = a->vm->cfg;
	static const char *const consoles[] = {
		[CONSOLE_SERIAL] = "console=ttyS0",
		[CONSOLE_SBI] = "console=hvc0 earlycon=sbi",
		/*
		 * Until its driver is there, which may be a module, the serial port tells
		 * what happens. Linux would not say it again on hvc0: it loses what it
		 * wants to print there first.
		 */
		[CONSOLE_VIRTIO] = "console=hvc0 earlycon=uart8250,mmio,0x10000000",
	};
	const char *console = consoles[cfg->console];
	const char *levels = a->satp_mode >= a->isa.satp_mode ? ""
			     : a->satp_mode == 8	      ? " no4lvl"
			     : a->satp_mode == 9	      ? " no5lvl"
							      : "";
	const char *params = cfg->params ? cfg->params : "";
	int ret;

	if (cfg->nodefaults || cfg->firmware) {
		a->bootargs = cfg->params ? strdup(params) : NULL;
		return cfg->params && !a->bootargs ? fail(err, "no memory for the command line")
						   : 0;
	}
	/*
	 * The user's words come last, so that they win. A kernel that is to be quiet is told so
	 * before its early console, which would say all that was said until then.
	 */
	ret = asprintf(&a->bootargs, "%s%s panic=1%s%s%s", cfg->quiet ? "quiet " : "", console,
		       levels, *params ? " " : "", params);
	if (ret < 0) {
		a->bootargs = NULL;
		return fail(err, "no memory for the command line");
	}
	return 0;
}

int arch_vcpu_setup(struct vm *vm, struct vcpu *vcpu, struct error *err)
{
	struct arch_vm *a = vm->arch;
	int ret;

	if (!vcpu->id && !a->isa_decided) {
		if (isa_decide(&vcpu->kvm, &a->isa_request, machine_has_aia(a), vm->log, &a->isa,
			       err))
			return -1;
		ret = layout_satp(&a->map, a->cfg->satp, (unsigned int)a->isa.satp_mode,
				  &a->satp_mode, err);
		if (ret < 0)
			return -1;
		if (ret)
			log_warning(vm->log, "%s", err->msg);
		if (make_bootargs(a, err))
			return -1;
		a->isa_decided = true;
	} else if (isa_apply(&vcpu->kvm, &a->isa_request, &a->isa, err)) {
		return -1;
	}
	machine_hart_fresh(a, vcpu);
	return 0;
}

static const char *mmu_type(unsigned int satp_mode)
{
	switch (satp_mode) {
	case 1:
		return "riscv,sv32";
	case 9:
		return "riscv,sv48";
	case 10:
		return "riscv,sv57";
	default:
		return "riscv,sv39";
	}
}

static void describe_devices(struct fdt_builder *b, void *opaque)
{
	const struct arch_vm *a = opaque;
	size_t i;

	for (i = 0; i < a->nr_devices; i++)
		if (a->devices[i].describe)
			a->devices[i].describe(b, a, &a->devices[i]);
}

static int write_file(const char *path, const void *data, size_t len, struct error *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

	if (fd < 0)
		return fail_errno(err, errno, "--dump-dtb: cannot write %s", path);
	if (write_all(fd, data, len) < 0) {
		fail_errno(err, errno, "--dump-dtb: cannot write %s", path);
		close(fd);
		return -1;
	}
	if (close(fd))
		return fail_errno(err, errno, "--dump-dtb: cannot write %s", path);
	return 0;
}

static void *build_fdt(struct arch_vm *a, const struct boot_layout *layout, const uint8_t *seed,
		       uint64_t kaslr_seed, size_t *size, struct error *err)
{
	char isa[ISA_STRING_MAX];
	const char *names[ISA_EXT_COUNT + 1];
	struct fdt_machine m = {
		.model = "linux,lkvm",
		.nr_harts = a->vm->nr_vcpus,
		.timebase = (uint32_t)a->isa.timebase,
		.xlen = a->isa.xlen,
		.isa_legacy = isa,
		.isa_extensions = names,
		.mmu_type = mmu_type(a->satp_mode),
		.cbom = a->isa.cbom,
		.cboz = a->isa.cboz,
		.cbop = a->isa.cbop,
		.mem = &a->vm->mem,
		.bootargs = a->bootargs,
		.stdout_path = a->vm->cfg->console == CONSOLE_SERIAL ? "serial0:115200n8" : NULL,
		.initrd = layout->initrd,
		.initrd_size = layout->initrd_size,
		.rng_seed = seed,
		.rng_seed_len = seed ? RNG_SEED : 0,
		.kaslr_seed = kaslr_seed,
		.aliases = aliases,
		.nr_aliases = ARRAY_SIZE(aliases),
		.describe = describe_devices,
		.opaque = a,
	};

	isa_legacy_string(&a->isa, isa);
	isa_names(&a->isa, names);
	return fdt_build(&m, size, err);
}

int arch_boot(struct vm *vm, struct error *err)
{
	struct arch_vm *a = vm->arch;
	struct kvm_vcpu *boot = &vm->vcpus[0].kvm;
	struct boot_request req = {
		.kernel = a->kernel,
		.firmware = a->firmware,
		.initrd = a->initrd,
		.xlen = a->isa.xlen,
	};
	/* The same shape as the real one: only its size is asked. */
	struct boot_layout guess = {.initrd = 1, .initrd_size = a->initrd.fd >= 0};
	uint8_t seed[RNG_SEED];
	uint64_t kaslr_seed = 0;
	bool seeded;
	size_t size;
	void *fdt;
	int ret;

	if (a->kernel.fd < 0)
		return fail(err, "no kernel was named (-k) when the VM was restored");
	seeded = random_bytes(seed, sizeof(seed)) && random_bytes(&kaslr_seed, sizeof(kaslr_seed));
	if (!seeded)
		log_warning(vm->log, "the host has no random bytes yet: the guest gets no seed");
	fdt = build_fdt(a, &guess, seeded ? seed : NULL, seeded ? kaslr_seed | 1 : 0, &size, err);
	if (!fdt)
		return -1;
	free(fdt);
	req.fdt_size = size;
	if (boot_load(&req, &vm->mem, &a->layout, err))
		return -1;
	fdt = build_fdt(a, &a->layout, seeded ? seed : NULL, seeded ? kaslr_seed | 1 : 0, &size,
			err);
	if (!fdt)
		return -1;
	if (vm->cfg->dump_dtb && !a->dumped && write_file(vm->cfg->dump_dtb, fdt, size, err)) {
		free(fdt);
		return -1;
	}
	a->dumped = true;
	if (!memory_write(&vm->mem, a->layout.fdt, fdt, size)) {
		free(fdt);
		return fail(err, "no room for the device tree at 0x%llx",
			    (unsigned long long)a->layout.fdt);
	}
	free(fdt);

	/* Linux Documentation/arch/riscv/boot.rst: a0 hart, a1 tree, satp 0, S-mode. */
	ret = reg_set_long(boot, REG_CORE, 0, CORE_PC, a->layout.entry);
	if (!ret)
		ret = reg_set_long(boot, REG_CORE, 0, CORE_A0, 0);
	if (!ret)
		ret = reg_set_long(boot, REG_CORE, 0, CORE_A1, a->layout.fdt);
	if (ret)
		return fail_errno(err, -ret, "KVM refused the boot hart's registers");
	return 0;
}

void arch_window_changed(struct vm *vm)
{
	machine_console_resized(vm->arch);
}

int arch_start(struct vm *vm, struct error *err)
{
	if (activate_devices(vm->arch, err))
		return -1;
	return machine_console_connect(vm->arch, err);
}

void arch_flush(struct vm *vm)
{
	machine_console_flush(vm->arch, false);
}

void arch_reset(struct vm *vm)
{
	struct arch_vm *a = vm->arch;
	bool held = arch_held(vm);
	size_t i;

	machine_state_free(a);
	for (i = 0; i < a->nr_devices; i++)
		if (a->devices[i].device->ops->reset)
			a->devices[i].device->ops->reset(a->devices[i].device);
	machine_irqchip_reset(a);
	/* What was loaded and had not gone on yet is no more: nobody else lets its devices go. */
	if (held)
		arch_quiet(vm, false);
}

void arch_destroy(struct vm *vm)
{
	struct arch_vm *a = vm->arch;

	if (!a)
		return;
	machine_harts_finish(a);
	machine_state_free(a);
	loop_unpost(vm->loop, &a->wake_check);
	if (vm->verdict == VM_POWEROFF || vm->verdict == VM_RESET || vm->verdict == VM_DIED)
		machine_virtio_flush(a);
	machine_console_finish(a);
	machine_pci_finish(a);
	if (a->rtc)
		loop_timer_cancel(&a->rtc_timer);
	while (a->nr_devices--) {
		struct device *device = a->devices[a->nr_devices].device;

		if (!a->devices[a->nr_devices].function && !a->devices[a->nr_devices].in_kernel)
			bus_remove(&vm->bus, a->devices[a->nr_devices].base);
		device->ops->destroy(device);
	}
	machine_virtio_finish(a);
	machine_irqchip_finish(a);
	if (a->kernel.fd >= 0)
		close(a->kernel.fd);
	if (a->initrd.fd >= 0)
		close(a->initrd.fd);
	free(a->bootargs);
	free(a->harts);
	free(a);
	vm->arch = NULL;
}

/* --- exits ------------------------------------------------------------ */

/* CSR numbers (privileged architecture, "CSR listing"). */
#define CSR_NUM_SEED 0x015

/* seed CSR (Zkr): the state in bits 31:30; with ES16 sixteen bits of entropy below. */
#define SEED_WAIT (UINT64_C(1) << 30)
#define SEED_ES16 (UINT64_C(2) << 30)

static int handle_csr(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->kvm.run;
	uint16_t entropy;

	vcpu->unfinished = true;
	if (run->riscv_csr.csr_num == CSR_NUM_SEED) {
		run->riscv_csr.ret_value =
			random_bytes(&entropy, sizeof(entropy)) ? SEED_ES16 | entropy : SEED_WAIT;
		return VCPU_RUN;
	}
	/* The interrupt-file CSRs of a guest that was given none: nothing there. */
	log_ratelimited(vcpu->vm->log, &vcpu->vm->csr_rl, LOG_LEVEL_DEBUG,
			"hart %u: CSR 0x%lx reads as 0", vcpu->id, run->riscv_csr.csr_num);
	run->riscv_csr.ret_value = 0;
	return VCPU_RUN;
}

static int handle_sbi(struct vcpu *vcpu)
{
	struct arch_vm *a = vcpu->vm->arch;
	struct kvm_run *run = vcpu->kvm.run;
	uint64_t args[6], value;
	enum sbi_outcome outcome;
	int64_t error;
	size_t i;

	vcpu->unfinished = true;
	for (i = 0; i < ARRAY_SIZE(args); i++)
		args[i] = run->riscv_sbi.args[i];
	outcome = sbi_call(&a->sbi, run->riscv_sbi.extension_id, run->riscv_sbi.function_id, args,
			   &error, &value);
	run->riscv_sbi.ret[0] = (unsigned long)error;
	run->riscv_sbi.ret[1] = (unsigned long)value;
	if (error == SBI_ERR_NOT_SUPPORTED)
		log_ratelimited(vcpu->vm->log, &vcpu->vm->sbi_rl, LOG_LEVEL_DEBUG,
				"hart %u: SBI extension 0x%lx function %lu is not supported",
				vcpu->id, run->riscv_sbi.extension_id, run->riscv_sbi.function_id);
	if (outcome != SBI_SUSPEND)
		return VCPU_RUN;
	a->sleeper = vcpu->id;
	a->sleep_in_kvm = true;
	vm_suspend(vcpu->vm);
	/* What came in just before has no later event to wake the guest. */
	loop_post(vcpu->vm->loop, &a->wake_check);
	return VCPU_SUSPEND;
}

int arch_handle_exit(struct vcpu *vcpu)
{
	switch (vcpu->kvm.run->exit_reason) {
	case KVM_EXIT_RISCV_SBI:
		return handle_sbi(vcpu);
	case KVM_EXIT_RISCV_CSR:
		return handle_csr(vcpu);
	default:
		return -1;
	}
}

const char *arch_vcpu_where(struct vcpu *vcpu, char *buf, size_t len)
{
	const struct kvm_vcpu *k = &vcpu->kvm;

	snprintf(buf, len, "pc 0x%llx ra 0x%llx sp 0x%llx scause 0x%llx stval 0x%llx",
		 (unsigned long long)reg_long_or_zero(k, REG_CORE, CORE_PC),
		 (unsigned long long)reg_long_or_zero(k, REG_CORE, CORE_RA),
		 (unsigned long long)reg_long_or_zero(k, REG_CORE, CORE_SP),
		 (unsigned long long)reg_long_or_zero(k, REG_CSR, CSR_SCAUSE),
		 (unsigned long long)reg_long_or_zero(k, REG_CSR, CSR_STVAL));
	return buf;
}

const char *arch_run_error(int errnum)
{
	switch (errnum) {
	case EIO:
		return "the guest made a misaligned access to a device";
	case EOPNOTSUPP:
		return "the guest touched a device with an instruction KVM cannot decode, or "
		       "jumped "
		       "to where no memory is";
	case EFAULT:
		return "a page of guest memory could not be provided";
	case ENOMEM:
		return "the host is out of memory";
	default:
		return NULL;
	}
}

void arch_print_plan(struct vm *vm, FILE *out)
{
	struct arch_vm *a = vm->arch;
	char size[32], id[2 * GENERATION_ID + 1];
	size_t i;

	fprintf(out, "G-stage: %s, %u bits of guest physical address (%s; %s)\n",
		hgatp_name(a->hgatp.bits), a->hgatp.bits, a->hgatp.why,
		hgatp_interface_name(a->hgatp.interface));
	fprintf(out, "vCPUs: %u, first stage up to %s\n", vm->nr_vcpus, mmu_type(a->satp_mode) + 6);
	machine_irqchip_print(a, out);
	for (i = 0; i < a->nr_devices; i++) {
		const struct machine_device *d = &a->devices[i];

		if (d->function)
			fprintf(out, "  PCI 00:%02x.%x %12s  %s",
				d->function->devfn / PCI_FUNCTIONS,
				d->function->devfn % PCI_FUNCTIONS, "", d->device->name);
		else
			fprintf(out, "  0x%012llx %8s  %s", (unsigned long long)d->base,
				format_size(size, sizeof(size), d->size), d->device->name);
		if (d->irq)
			fprintf(out, ", interrupt %u", d->irq);
		if (d->vectors > 1)
			fprintf(out, " or %u MSI-X vectors", d->vectors);
		fprintf(out, "\n");
	}
	for (i = 0; i < vm->mem.nr; i++)
		fprintf(out, "  0x%012llx %8s  %s\n", (unsigned long long)vm->mem.regions[i].gpa,
			format_size(size, sizeof(size), vm->mem.regions[i].size),
			vm->mem.regions[i].file ? "file" : "RAM");
	machine_pci_print(a, out);
	fprintf(out, "%s %s at 0x%llx, entry 0x%llx\n", boot_format_name(a->layout.format),
		a->kernel.name, (unsigned long long)a->layout.kernel,
		(unsigned long long)a->layout.entry);
	if (a->layout.initrd_size)
		fprintf(out, "initrd %s at 0x%llx, %s\n", a->initrd.name,
			(unsigned long long)a->layout.initrd,
			format_size(size, sizeof(size), a->layout.initrd_size));
	fprintf(out, "device tree at 0x%llx\n", (unsigned long long)a->layout.fdt);
	if (!vm->cfg->dry_run)
		fprintf(out, "generation id: %s\n", generation_text(a->generation, id));
	if (a->bootargs)
		fprintf(out, "command line: %s\n", a->bootargs);
}
