// SPDX-License-Identifier: GPL-2.0-only
/*
 * The virtio devices of the machine: those the user asked for, built in that order
 * and put behind a transport each.
 *
 *   0x10001000 + i * 0x1000   virtio-mmio window i, interrupt source 40 + i
 *
 * or a function of the PCI bus (pci.c). Unless --virtio-transport says which, that is PCI
 * where the kernel's AIA takes messages, so that an interrupt costs no exit, and mmio
 * with the PLIC, where a PCI pin is worth no more. Whether the AIA can be had is certain
 * only when it stands, so devices are built before and put behind their transport after.
 *
 * Addresses and interrupt numbers depend on the order of the options and on the
 * interrupt chip alone: the same command line gives the same machine on hosts that give
 * the same chip, which a restore relies on.
 *
 * Thread and lock: building is before the guest; the work item runs on the loop's
 * thread. What is saved: each transport with its device, as rows of the machine.
 */
#include "machine.h"

#include "lkvm/arch.h"
#include "lkvm/control.h"
#include "lkvm/virtio/kind.h"
#include "lkvm/virtio/mmio.h"
#include "lkvm/virtio/pci.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAP_VIRTIO UINT64_C(0x10001000)
#define VIRTIO_STEP UINT64_C(0x1000)

/**
 * struct machine_virtio - one virtio device of the machine
 * @vdev: NULL where none was asked for after all
 * @attached: it belongs to its transport
 * @base: of its window; 0 for a function on the PCI bus
 * @again: calls virtio_device_run() on the loop's thread
 */
struct machine_virtio {
	struct arch_vm *a;
	struct virtio_device *vdev;
	bool attached;
	gpa_t base;
	struct loop_work again;
	char name[VIRTIO_NAME_MAX];
};

static void run_again(void *opaque)
{
	struct machine_virtio *v = opaque;

	virtio_device_run(v->vdev);
}

static void run_soon(void *opaque)
{
	struct machine_virtio *v = opaque;

	loop_post(v->a->vm->loop, &v->again);
}

static int doorbell(void *opaque, const struct virtio_doorbell *bell, bool on)
{
	const struct machine_virtio *v = opaque;
	const struct kvm_doorbell at = {.gpa = v->base + bell->address,
					.size = bell->size,
					.match = bell->match,
					.value = bell->value,
					.fd = bell->fd};

	/* Between two lives of the VM: all that it had has gone with it. */
	if (v->a->vm->kvm.vm_fd < 0)
		return -ENODEV;
	return kvm_ioeventfd(&v->a->vm->kvm, &at, on);
}

static const struct virtio_transport_env transport_env = {
	.run_soon = run_soon,
	.doorbell = doorbell,
};

static void describe_mmio(struct fdt_builder *b, const struct arch_vm *a,
			  const struct machine_device *d)
{
	fdt_node_begin_at(b, "virtio_mmio", d->base);
	fdt_prop_string(b, "compatible", "virtio,mmio");
	fdt_prop_reg(b, d->base, d->size);
	fdt_prop_empty(b, "dma-coherent");
	machine_describe_irq(b, a, d->irq);
	fdt_node_end(b);
}

/* Put the row into the machine; the transport owns the virtio device already. */
static int add_row(struct arch_vm *a, struct machine_virtio *v, const struct machine_device *row,
		   const struct mmio_ops *ops, void *opaque, struct error *err)
{
	if (!machine_add(a, row, ops, opaque, err))
		return 0;
	row->device->ops->destroy(row->device);
	v->vdev = NULL;
	return -1;
}

static int add_pci(struct arch_vm *a, struct machine_virtio *v, struct error *err)
{
	struct pci_host *host = machine_pci(a, err);
	struct machine_device row = {.describe = NULL};
	struct virtio_pci *pci;

	if (!host)
		return -1;
	pci = virtio_pci_create(v->vdev, host, a->msi, &transport_env, v);
	if (!pci)
		return fail(err, "no memory for %s", v->name);
	row.device = virtio_pci_device(pci);
	row.function = virtio_pci_function(pci);
	row.irq = machine_pci_irq(row.function);
	row.vectors = a->msi ? virtio_pci_vectors(pci) : 0;
	return add_row(a, v, &row, NULL, NULL, err);
}

static int add_mmio(struct arch_vm *a, struct machine_virtio *v, size_t index, struct error *err)
{
	uint32_t irq = IRQ_VIRTIO + (uint32_t)index;
	struct machine_device row = {
		.describe = describe_mmio,
		.base = MAP_VIRTIO + index * VIRTIO_STEP,
		.size = VIRTIO_MMIO_WINDOW,
		.irq = irq,
	};
	struct virtio_mmio *mmio =
		virtio_mmio_create(v->vdev, machine_irq(a, irq), &transport_env, v);

	if (!mmio)
		return fail(err, "no memory for %s", v->name);
	v->base = row.base;
	row.device = virtio_mmio_device(mmio);
	return add_row(a, v, &row, &virtio_mmio_ops, mmio, err);
}

/*
 * A file's place is the upper end of the 64-bit PCI window, which gets smaller: that
 * lies above all RAM, and guest addresses reach it.
 */
static gpa_t place(void *opaque, int fd, uint64_t size, bool read_only, struct error *err)
{
	struct arch_vm *a = opaque;
	struct layout_region *window = &a->map.pci64;
	uint64_t taken = align_up(size, LAYOUT_ALIGN_GIB);
	char text[32];
	gpa_t gpa;

	if (taken < size || taken > window->size) {
		fail(err, "no room for %s above RAM: try a wider --hgatp",
		     format_size(text, sizeof(text), size));
		return 0;
	}
	gpa = window->gpa + window->size - taken;
	if (!memory_add_file(&a->vm->mem, gpa, size, LAYOUT_ALIGN, fd, read_only, err))
		return 0;
	window->size -= taken;
	return gpa;
}

static void tell(void *opaque, const char *event, const char *device, const char *figure,
		 uint64_t value)
{
	const struct arch_vm *a = opaque;

	control_event(a->vm->control, event,
		      json_pack("{s:s, s:I}", "device", device, figure, (json_int_t)value));
}

static void ready(void *opaque, const char *status)
{
	struct vm *vm = ((const struct arch_vm *)opaque)->vm;

	if (!status) {
		vm->ready.awaited = true;
		return;
	}
	control_event(vm->control, "ready", json_pack("{s:s}", "status", status));
	if (vm->ready.heard)
		vm->ready.heard(vm->ready.opaque, status);
}

static int build_one(struct arch_vm *a, size_t index, struct machine_virtio *v, struct error *err)
{
	const struct vm_config *cfg = a->vm->cfg;
	const struct virtio_request *req = &cfg->virtio[index];
	struct virtio_world world = {
		.name = v->name,
		.mem = &a->vm->mem,
		.loop = a->vm->loop,
		.log = a->vm->log,
		.nr_vcpus = a->vm->nr_vcpus,
		.vm_name = a->vm->cfg->name,
		.dry_run = a->vm->cfg->dry_run,
		.console = cfg->console == CONSOLE_VIRTIO ? &a->console.host : NULL,
		.asked = cfg->virtio,
		.nr_asked = cfg->nr_virtio,
		.index = index,
		.place = place,
		.event = tell,
		.ready = ready,
		.opaque = a,
	};
	struct error why;

	v->vdev = NULL;
	if (!req->kind->build(&world, req->text, &v->vdev, &why))
		return 0;
	return fail(err, "--%s%s%s: %s", req->kind->option, *req->text ? " " : "", req->text,
		    why.msg);
}

bool machine_virtio_shares_memory(const struct arch_vm *a)
{
	const struct vm_config *cfg = a->vm->cfg;
	size_t i;

	for (i = 0; i < cfg->nr_virtio; i++) {
		const struct virtio_kind *kind = cfg->virtio[i].kind;

		if (kind->shares_memory && kind->shares_memory(cfg->virtio[i].text))
			return true;
	}
	return false;
}

int machine_virtio_build(struct arch_vm *a, struct error *err)
{
	const struct vm_config *cfg = a->vm->cfg;
	size_t i;

	if (!cfg->nr_virtio)
		return 0;
	if (virtio_asked_check(cfg->virtio, cfg->nr_virtio, err))
		return -1;
	a->virtio = calloc(cfg->nr_virtio, sizeof(*a->virtio));
	if (!a->virtio)
		return fail(err, "no memory for %zu devices", cfg->nr_virtio);
	a->nr_virtio = cfg->nr_virtio;
	/* All devices before the first transport: they may take room from the PCI windows. */
	for (i = 0; i < a->nr_virtio; i++) {
		struct machine_virtio *v = &a->virtio[i];

		v->a = a;
		loop_work_init(&v->again, run_again, v);
		virtio_asked_name(cfg->virtio, i, v->name);
		if (build_one(a, i, v, err))
			return -1;
	}
	return 0;
}

static bool behind_pci(const struct arch_vm *a)
{
	switch (a->vm->cfg->transport) {
	case TRANSPORT_PCI:
		return true;
	case TRANSPORT_MMIO:
		return false;
	default:
		return a->msi;
	}
}

/*
 * Vectors for all devices, so that their interrupts fit on one hart, where a guest may put
 * them all: two for each, one for the configuration and one for all queues, as long as
 * there are any; then one for each queue, in the devices' order. Drivers use the pin where
 * they get less than two.
 */
static void share_vectors(struct arch_vm *a)
{
	uint32_t left = machine_identities(a) - machine_other_identities(a) - PCI_PINS;
	size_t i;

	for (i = 0; i < a->nr_virtio; i++) {
		struct virtio_device *vdev = a->virtio[i].vdev;

		if (!vdev)
			continue;
		vdev->vectors = left >= 2 ? 2 : 1;
		left -= left >= 2 ? 2 : 0;
	}
	for (i = 0; i < a->nr_virtio; i++) {
		struct virtio_device *vdev = a->virtio[i].vdev;

		if (!vdev || vdev->vectors < 2 || left < vdev->nr_queues - 1)
			continue;
		left -= vdev->nr_queues - 1;
		vdev->vectors = vdev->nr_queues + 1;
	}
}

uint32_t machine_virtio_interrupts(const struct arch_vm *a)
{
	uint32_t n = 0;
	size_t i;

	for (i = 0; i < a->nr_virtio; i++) {
		const struct virtio_device *vdev = a->virtio[i].vdev;

		if (vdev)
			n += a->vm->cfg->transport == TRANSPORT_MMIO ? 1 : vdev->nr_queues + 1;
	}
	return n;
}

int machine_virtio_attach(struct arch_vm *a, struct error *err)
{
	bool pci = behind_pci(a);
	size_t i;

	if (pci && a->msi)
		share_vectors(a);
	for (i = 0; i < a->nr_virtio; i++) {
		struct machine_virtio *v = &a->virtio[i];

		if (!v->vdev || v->attached)
			continue;
		if (pci ? add_pci(a, v, err) : add_mmio(a, v, i, err))
			return -1;
		v->attached = true;
	}
	return 0;
}

void machine_virtio_flush(struct arch_vm *a)
{
	size_t i;

	for (i = 0; i < a->nr_virtio; i++) {
		struct virtio_device *vdev = a->virtio[i].vdev;

		if (vdev && vdev->ops->finish)
			vdev->ops->finish(vdev);
	}
}

void machine_virtio_finish(struct arch_vm *a)
{
	size_t i;

	for (i = 0; i < a->nr_virtio; i++) {
		struct machine_virtio *v = &a->virtio[i];

		loop_unpost(a->vm->loop, &v->again);
		if (v->vdev && !v->attached)
			v->vdev->ops->destroy(v->vdev);
	}
	free(a->virtio);
	a->virtio = NULL;
	a->nr_virtio = 0;
}

struct virtio_device *machine_virtio_find(struct arch_vm *a, const char *name)
{
	size_t i;

	for (i = 0; i < a->nr_virtio; i++)
		if (a->virtio[i].vdev && !strcmp(a->virtio[i].name, name))
			return a->virtio[i].vdev;
	return NULL;
}

int arch_device_command(struct vm *vm, const char *name, const char *words, char *reply, size_t len,
			struct error *err)
{
	struct virtio_device *vdev = machine_virtio_find(vm->arch, name);

	if (!vdev)
		return fail(err, "the VM has no device '%s'", name);
	if (!vdev->ops->command)
		return fail(err, "%s takes no commands", name);
	*reply = '\0';
	return vdev->ops->command(vdev, words, reply, len, err);
}

int arch_power_button(struct vm *vm, struct error *err)
{
	char reply[64];

	if (!machine_virtio_find(vm->arch, "button0"))
		return fail(err, "the VM has no power button by which to ask its guest "
				 "(lkvm run --power-button)");
	return arch_device_command(vm, "button0", "press", reply, sizeof(reply), err);
}
