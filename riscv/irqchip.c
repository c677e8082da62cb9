// SPDX-License-Identifier: GPL-2.0-only
/*
 * The interrupt chip of the machine: which one it is, and what devices hold of it.
 *
 *   PLIC   0x0c000000  in user space (plic.c), one wire to each hart
 *   APLIC  0x0d000000  in the kernel (aia.c), turns wires into messages
 *   IMSIC  0x28000000  in the kernel, one page for each hart, takes messages
 *
 * Whether the kernel's AIA can be had is known only when all its steps have succeeded,
 * which is after devices and vCPUs exist. So devices hold lines and routes of one chip
 * here, which hands on to the PLIC or to the kernel. With --irqchip auto the machine
 * is built with a PLIC; where the AIA comes up it takes the PLIC's row in the machine's
 * table, and where a step fails a new KVM VM is filled without it, and one line says
 * which step it was.
 *
 * Messages that lkvm sends go by KVM_SIGNAL_MSI, which takes address and data as they are.
 * Those that somebody else raises by an eventfd (vhost, a vhost-user back end) go from
 * there to the guest without lkvm, by a route in KVM's own table (msi_table.c). An address
 * that is no interrupt file's is refused: KVM would drop it without a word.
 *
 * Wires into the APLIC are level triggered; a level is told when it changes. No eventfd is
 * ever connected to one: KVM would raise it and never lower it.
 *
 * Thread and lock: lines and messages come from any thread; the table of messages has a
 * mutex, levels are atomic (two threads never drive one wire at once: each wire is one
 * device's, with its lock held). What is saved: the PLIC by itself; the AIA by
 * aia_state.c, with the levels; messages by the devices that send them.
 */
#include "machine.h"

#include "lkvm/arch.h"
#include "lkvm/riscv/aia_state.h"
#include "lkvm/riscv/regs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAP_PLIC UINT64_C(0x0c000000)
#define MAP_APLIC UINT64_C(0x0d000000)
#define MAP_IMSIC UINT64_C(0x28000000)

/* Device tree binding riscv,aplic: a wire that is active while it is high. */
#define APLIC_LEVEL_HIGH 4

/* --- lines ---------------------------------------------------------------- */

static void tell_level(struct machine_irqchip *c, uint32_t source, bool level)
{
	int ret = aia_set_line(&c->aia, source, level);

	if (ret)
		log_ratelimited(c->a->vm->log, &c->complaints, LOG_LEVEL_ERROR,
				"KVM refused interrupt %u: %s", source, strerror(-ret));
}

static void set_level(struct irq_chip *chip, uint32_t source, bool level)
{
	struct machine_irqchip *c = container_of(chip, struct machine_irqchip, chip);
	uint64_t bit = UINT64_C(1) << (source % 64), before;

	if (c->plic) {
		struct irq_line wire = {plic_chip(c->plic), source};

		irq_line_set(&wire, level);
		return;
	}
	if (source > MACHINE_SOURCES)
		return;
	before = level ? atomic_fetch_or(&c->levels[source / 64], bit)
		       : atomic_fetch_and(&c->levels[source / 64], ~bit);
	if (!!(before & bit) == level)
		return;
	if (level)
		atomic_fetch_add_explicit(&c->raised[source], 1, memory_order_relaxed);
	/* Between two lives of the machine: the next one is told by arch_irqchip(). */
	if (c->aia.fd >= 0)
		tell_level(c, source, level);
}

static const struct irq_chip_ops chip_ops = {
	.set_level = set_level,
};

struct irq_line machine_irq(struct arch_vm *a, uint32_t source)
{
	if (source && source < 64)
		a->irq.wires |= UINT64_C(1) << source;
	return (struct irq_line){&a->irq.chip, source};
}

size_t machine_irq_cells(const struct arch_vm *a, uint32_t irq, uint32_t *cells)
{
	cells[0] = irq;
	cells[1] = APLIC_LEVEL_HIGH;
	return a->irq.plic ? 1 : 2;
}

void machine_describe_irq(struct fdt_builder *b, const struct arch_vm *a, uint32_t irq)
{
	uint32_t cells[MACHINE_IRQ_CELLS];

	fdt_prop_u32(b, "interrupt-parent", FDT_PHANDLE_IRQCHIP);
	fdt_prop_cells(b, "interrupts", cells, machine_irq_cells(a, irq, cells));
}

/* --- messages --------------------------------------------------------------- */

static bool is_imsic(const struct machine_irqchip *c, uint64_t address)
{
	return address - MAP_IMSIC < (uint64_t)c->a->vm->nr_vcpus * AIA_IMSIC_WINDOW &&
	       address % 4 == 0;
}

static int update(struct msi_sink *sink, uint32_t *handle, uint64_t address, uint32_t data)
{
	struct machine_irqchip *c = container_of(sink, struct machine_irqchip, sink);

	if (c->plic)
		return -ENODEV;
	if (!is_imsic(c, address))
		return -EINVAL;
	return msi_table_update(&c->messages, handle, address, data);
}

static int send_message(struct msi_sink *sink, uint64_t address, uint32_t data)
{
	struct machine_irqchip *c = container_of(sink, struct machine_irqchip, sink);
	int ret;

	/* Between two lives of the machine. */
	if (c->aia.fd < 0)
		return -ENODEV;
	ret = aia_send(&c->aia, address, data);
	if (!ret)
		atomic_fetch_add_explicit(&c->sent, 1, memory_order_relaxed);
	else
		log_ratelimited(c->a->vm->log, &c->complaints, LOG_LEVEL_WARNING,
				"a message 0x%x to 0x%llx is none KVM takes: %s", data,
				(unsigned long long)address, strerror(-ret));
	return ret;
}

static void release(struct msi_sink *sink, uint32_t handle)
{
	msi_table_release(&container_of(sink, struct machine_irqchip, sink)->messages, handle);
}

static void attach(struct msi_sink *sink, uint32_t handle, int fd)
{
	msi_table_attach(&container_of(sink, struct machine_irqchip, sink)->messages, handle, fd);
}

static void detach(struct msi_sink *sink, uint32_t handle, int fd)
{
	msi_table_detach(&container_of(sink, struct machine_irqchip, sink)->messages, handle, fd);
}

static void commit(struct msi_sink *sink)
{
	msi_table_commit(&container_of(sink, struct machine_irqchip, sink)->messages);
}

static const struct msi_sink_ops sink_ops = {
	.update = update,
	.send = send_message,
	.release = release,
	.attach = attach,
	.detach = detach,
	.commit = commit,
};

/* --- PLIC -------------------------------------------------------------------- */

static void plic_output(void *opaque, unsigned int context, bool level)
{
	struct arch_vm *a = opaque;
	struct kvm_vcpu *vcpu = &a->vm->vcpus[context].kvm;

	int ret = vcpu->run ? kvm_interrupt(vcpu, level) : 0;

	if (ret)
		log_ratelimited(a->vm->log, &a->irq.complaints, LOG_LEVEL_ERROR,
				"hart %u: KVM refused its external interrupt: %s", context,
				strerror(-ret));
}

/* Each hart's supervisor external interrupt. */
static void describe_outputs(struct fdt_builder *b, const struct arch_vm *a)
{
	uint32_t cells[2 * PLIC_MAX_CONTEXTS];
	unsigned int i, nr = a->vm->nr_vcpus;

	for (i = 0; i < nr; i++) {
		cells[2 * i] = fdt_phandle_hart(i);
		cells[2 * i + 1] = 9;
	}
	fdt_prop_cells(b, "interrupts-extended", cells, 2 * (size_t)nr);
}

static void describe_plic(struct fdt_builder *b, const struct arch_vm *a,
			  const struct machine_device *d)
{
	fdt_node_begin_at(b, "interrupt-controller", d->base);
	fdt_prop_strings(b, "compatible", "sifive,plic-1.0.0", "riscv,plic0", NULL);
	fdt_prop_reg(b, d->base, d->size);
	fdt_prop_empty(b, "interrupt-controller");
	fdt_prop_u32(b, "#interrupt-cells", 1);
	fdt_prop_u32(b, "#address-cells", 0);
	describe_outputs(b, a);
	fdt_prop_u32(b, "riscv,ndev", MACHINE_SOURCES);
	fdt_prop_u32(b, "phandle", FDT_PHANDLE_IRQCHIP);
	fdt_node_end(b);
}

static int add_plic(struct arch_vm *a, struct error *err)
{
	struct machine_device row = {
		.describe = describe_plic, .base = MAP_PLIC, .size = PLIC_WINDOW};

	a->irq.plic =
		plic_create("plic0", MACHINE_SOURCES, a->vm->nr_vcpus, plic_output, a, a->vm->log);
	if (!a->irq.plic)
		return fail(err, "no memory for the interrupt controller");
	row.device = plic_device(a->irq.plic);
	if (!machine_add(a, &row, &plic_ops, a->irq.plic, err))
		return 0;
	row.device->ops->destroy(row.device);
	a->irq.plic = NULL;
	return -1;
}

/* --- AIA --------------------------------------------------------------------- */

static void describe_aia(struct fdt_builder *b, const struct arch_vm *a,
			 const struct machine_device *d)
{
	const struct aia *aia = &a->irq.aia;

	fdt_node_begin_at(b, "imsics", MAP_IMSIC);
	fdt_prop_strings(b, "compatible", "qemu,imsics", "riscv,imsics", NULL);
	fdt_prop_reg(b, MAP_IMSIC, (uint64_t)a->vm->nr_vcpus * AIA_IMSIC_WINDOW);
	fdt_prop_empty(b, "interrupt-controller");
	fdt_prop_u32(b, "#interrupt-cells", 0);
	fdt_prop_empty(b, "msi-controller");
	fdt_prop_u32(b, "#msi-cells", 0);
	describe_outputs(b, a);
	fdt_prop_u32(b, "riscv,num-ids", aia->ids);
	fdt_prop_u32(b, "riscv,hart-index-bits", aia->hart_bits);
	fdt_prop_u32(b, "phandle", FDT_PHANDLE_MSI);
	fdt_node_end(b);

	fdt_node_begin_at(b, "interrupt-controller", d->base);
	fdt_prop_strings(b, "compatible", "qemu,aplic", "riscv,aplic", NULL);
	fdt_prop_reg(b, d->base, d->size);
	fdt_prop_empty(b, "interrupt-controller");
	fdt_prop_u32(b, "#interrupt-cells", 2);
	fdt_prop_u32(b, "#address-cells", 0);
	fdt_prop_u32(b, "msi-parent", FDT_PHANDLE_MSI);
	fdt_prop_u32(b, "riscv,num-sources", aia->sources);
	fdt_prop_u32(b, "phandle", FDT_PHANDLE_IRQCHIP);
	fdt_node_end(b);
}

static void aia_transfer(struct device *dev, struct xfer *x)
{
	struct machine_irqchip *c = container_of(dev, struct machine_irqchip, dev);
	uint64_t levels[AIA_LEVEL_WORDS];
	unsigned int i;

	for (i = 0; i < AIA_LEVEL_WORDS; i++)
		levels[i] = atomic_load(&c->levels[i]);
	aia_state_transfer(&c->aia, c->a->vm->nr_vcpus, levels, x);
	for (i = 0; x->loading && i < AIA_LEVEL_WORDS; i++)
		atomic_store(&c->levels[i], levels[i]);
}

static void aia_stat(struct device *dev, const struct stat_sink *sink)
{
	struct machine_irqchip *c = container_of(dev, struct machine_irqchip, dev);
	struct msi_table_count n = msi_table_count(&c->messages);
	unsigned int i;

	for (i = 1; i <= MACHINE_SOURCES; i++) {
		uint64_t raised = atomic_load_explicit(&c->raised[i], memory_order_relaxed);

		if (raised)
			stat_part(sink, dev->name, "source", i, "raised", raised);
	}
	stat_whole(sink, "msi", "sent", atomic_load_explicit(&c->sent, memory_order_relaxed));
	stat_whole(sink, "msi", "routes", n.routes);
	stat_whole(sink, "msi", "routes_in_kvm", n.gsis);
	stat_whole(sink, "msi", "eventfds", n.eventfds);
	stat_whole(sink, "msi", "irqfds", n.irqfds);
	stat_whole(sink, "msi", "tables_written", n.tables);
}

/* The rest of the machine owns it. */
static void aia_destroy(struct device *dev)
{
	(void)dev;
}

static const struct device_ops aia_ops = {
	.kind = "aia",
	.transfer = aia_transfer,
	.stat = aia_stat,
	.destroy = aia_destroy,
};

static struct machine_device aia_row(struct arch_vm *a)
{
	a->irq.dev = (struct device){&aia_ops, "aplic0"};
	return (struct machine_device){
		.device = &a->irq.dev,
		.describe = describe_aia,
		.base = MAP_APLIC,
		.size = AIA_APLIC_WINDOW,
		.in_kernel = true,
	};
}

/* Could the kernel's AIA serve this VM? -1 with @err saying why not. */
static int aia_possible(struct arch_vm *a, struct error *err)
{
	const struct isa_request *isa = &a->cfg->isa;

	if (isa->hide_isa[ISA_EXT_SSAIA])
		return fail(err, "--disable-ssaia hides the AIA's registers");
	if (isa->list && !strcasestr(isa->list, "ssaia"))
		return fail(err, "--isa does not name ssaia, the AIA's registers");
	return aia_offered(&a->vm->kvm, err);
}

static int plan(struct arch_vm *a, struct error *err)
{
	struct error why;

	if (a->cfg->irqchip == IRQCHIP_PLIC && a->cfg->aia != AIA_AUTO)
		return fail(err, "--aia: with --irqchip plic there are no interrupt files");
	if (a->cfg->irqchip == IRQCHIP_PLIC)
		return 0;
	if (!aia_possible(a, &why)) {
		a->irq.try_aia = true;
		return 0;
	}
	if (a->cfg->irqchip == IRQCHIP_AIA)
		return fail(err, "--irqchip aia: %s", why.msg);
	a->irq.why_plic = why;
	/* Who says more of the AIA wants it; the others are told when they ask. */
	if (a->cfg->aia != AIA_AUTO)
		log_warning(a->vm->log, "interrupts: the PLIC, without --aia: %s", why.msg);
	else
		log_info(a->vm->log, "interrupts: the PLIC: %s", why.msg);
	return 0;
}

int machine_irqchip_build(struct arch_vm *a, struct error *err)
{
	struct machine_irqchip *c = &a->irq;
	struct machine_device row;

	c->a = a;
	c->chip.ops = &chip_ops;
	c->sink.ops = &sink_ops;
	c->aia.fd = -1;
	if (plan(a, err))
		return -1;
	if (msi_table_init(&c->messages, a->vm->log))
		return fail(err, "no memory for the interrupt chip");
	c->built = true;
	a->msi = c->try_aia ? &c->sink : NULL;
	if (a->cfg->irqchip != IRQCHIP_AIA)
		return add_plic(a, err);
	row = aia_row(a);
	return machine_add(a, &row, NULL, NULL, err);
}

/* The AIA is up: the PLIC, which has had no part in anything yet, makes room. */
static void replace_plic(struct arch_vm *a)
{
	struct device *plic = plic_device(a->irq.plic);

	bus_remove(&a->vm->bus, MAP_PLIC);
	plic->ops->destroy(plic);
	a->irq.plic = NULL;
	a->devices[0] = aia_row(a);
}

/* Behind virtio-mmio each device has a wire, which takes an identity of its own. */
static int enough_identities(const struct arch_vm *a, struct error *err)
{
	if (a->vm->cfg->transport != TRANSPORT_MMIO ||
	    a->nr_virtio + machine_other_identities(a) <= a->irq.aia.usable)
		return 0;
	return fail(err,
		    "%zu devices behind virtio-mmio are too many for the %u interrupts that can "
		    "reach a hart",
		    a->nr_virtio, a->irq.aia.usable);
}

/* The last wire that anything drives. */
static uint32_t last_wire(const struct arch_vm *a)
{
	return a->vm->cfg->transport == TRANSPORT_MMIO && a->nr_virtio
		       ? IRQ_VIRTIO - 1 + (uint32_t)a->nr_virtio
		       : IRQ_PCI + 3;
}

/*
 * Of each file: for all interrupts there can be on one hart, twice, because one that is moved
 * has two for a while; a guest may have uses of its own for some more. Not KVM's most, which
 * may be 2047: at each interrupt it goes through all of a file that is in software.
 */
#define IDENTITIES 255u

static uint32_t needed_identities(const struct arch_vm *a)
{
	uint32_t n = machine_other_identities(a) + PCI_PINS + machine_virtio_interrupts(a);

	return (uint32_t)max_u64(IDENTITIES, (2 * n + 64) / 64 * 64 - 1);
}

/*
 * KVM before Linux 6.18 looks for the file of a hart that sleeps on the CPU where its thread is
 * just then. Of one that was moved since, it sees nothing pending and asks for no wake-up: the
 * hart sleeps on, whatever comes. Mended by "Move HGEI[E|P] CSR access to IMSIC virtualization"
 * (6.16) and "Read HGEIP CSR on the correct cpu" (6.18, whose first release candidate brought
 * FWFT).
 */
static bool wakes_by_hardware_files(const struct vm *vm)
{
	uint64_t on;

	return !reg_get_long(&vm->vcpus[0].kvm, REG_SBI_EXT, EXT_SINGLE, SBI_EXT_FWFT, &on);
}

static enum aia_choice files(const struct vm *vm)
{
	const struct arch_vm *a = vm->arch;

	return a->cfg->aia == AIA_AUTO && !wakes_by_hardware_files(vm) ? AIA_EMUL : a->cfg->aia;
}

/* A new KVM VM has all wires down. */
static void tell_levels(struct machine_irqchip *c)
{
	uint32_t i;

	for (i = 1; i <= c->aia.sources; i++)
		if (atomic_load(&c->levels[i / 64]) >> i % 64 & 1)
			tell_level(c, i, true);
}

int arch_irqchip(struct vm *vm, struct error *err)
{
	struct arch_vm *a = vm->arch;
	struct machine_irqchip *c = &a->irq;
	struct aia_request req = {
		.aplic = MAP_APLIC,
		.imsic = MAP_IMSIC,
		.harts = vm->nr_vcpus,
		.sources = last_wire(a),
		.ids = a->cfg->identities ? a->cfg->identities : needed_identities(a),
		.mode = files(vm),
	};
	struct error why;

	if (!c->try_aia)
		return machine_virtio_attach(a, err);
	if (!aia_setup(&c->aia, &vm->kvm, &req, &why) && !enough_identities(a, &why)) {
		msi_table_open(&c->messages, &vm->kvm);
		tell_levels(c);
		if (c->plic)
			replace_plic(a);
		return machine_virtio_attach(a, err);
	}
	aia_close(&c->aia);
	/* After the first time there is no way back: the guest knows its machine. */
	if (!c->plic)
		return fail(err, "%sthe kernel's AIA: %s",
			    a->cfg->irqchip == IRQCHIP_AIA ? "--irqchip aia: " : "", why.msg);
	log_warning(vm->log, "interrupts: the PLIC, because the kernel's AIA failed: %s", why.msg);
	c->why_plic = why;
	c->try_aia = false;
	a->msi = NULL;
	a->isa_decided = false;
	free(a->bootargs);
	a->bootargs = NULL;
	return 1;
}

void machine_irqchip_reset(struct arch_vm *a)
{
	msi_table_close(&a->irq.messages);
	aia_close(&a->irq.aia);
}

void machine_irqchip_finish(struct arch_vm *a)
{
	aia_close(&a->irq.aia);
	if (a->irq.built)
		msi_table_fini(&a->irq.messages);
}

uint32_t machine_other_identities(const struct arch_vm *a)
{
	uint64_t wires = a->irq.wires & ((UINT64_C(1) << IRQ_PCI) - 1);

	/* And IPIs. */
	return 1 + (uint32_t)__builtin_popcountll(wires);
}

uint32_t machine_identities(const struct arch_vm *a)
{
	if (a->irq.plic)
		return UINT32_MAX;
	return a->cfg->usable ? a->cfg->usable : a->irq.aia.usable;
}

bool machine_has_aia(const struct arch_vm *a)
{
	return a->irq.try_aia;
}

const char *arch_entry_failure(struct vcpu *vcpu, char *buf, size_t len)
{
	const struct machine_irqchip *c = &vcpu->vm->arch->irq;
	const struct kvm_run *run = vcpu->kvm.run;

	if (!c->plic && aia_all_in_hardware(&c->aia))
		snprintf(buf, len,
			 "host CPU %u has no interrupt file left: --aia hwaccel needs one for each "
			 "vCPU that runs there, --aia auto does not",
			 run->fail_entry.cpu);
	else
		snprintf(buf, len, "KVM could not enter the guest, reason 0x%llx",
			 (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
	return buf;
}

void machine_irqchip_print(const struct arch_vm *a, FILE *out)
{
	const struct aia *aia = &a->irq.aia;

	if (a->irq.plic)
		fprintf(out, "interrupts: PLIC in user space, %u sources%s%s%s\n", MACHINE_SOURCES,
			a->irq.why_plic.msg[0] ? " (" : "", a->irq.why_plic.msg,
			a->irq.why_plic.msg[0] ? ")" : "");
	else
		fprintf(out,
			"interrupts: AIA in the kernel, %u sources, %u identities (%u usable), "
			"mode %s; IMSICs at 0x%llx\n",
			aia->sources, aia->ids, aia->usable, aia_mode_name(aia->mode),
			(unsigned long long)MAP_IMSIC);
}

bool machine_is_plic_threshold(const struct arch_vm *a, gpa_t gpa)
{
	return a->irq.plic && gpa - MAP_PLIC < PLIC_WINDOW && plic_is_threshold(gpa - MAP_PLIC);
}
