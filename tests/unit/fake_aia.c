// SPDX-License-Identifier: GPL-2.0-only
/*
 * The fake host's AIA (fake_aia.h), after Linux arch/riscv/kvm/aia_device.c. What KVM
 * accepts here is what was seen to be accepted by 6.12, 7.2 and 7.3.
 */
#include "fake_aia.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define MODE 0
#define IDS 1
#define SRCS 2
#define GROUP_BITS 3
#define GROUP_SHIFT 4
#define HART_BITS 5
#define GUEST_BITS 6

void fake_aia_init(struct fake_aia *aia, bool files, uint32_t host_ids)
{
	memset(aia, 0, sizeof(*aia));
	aia->fd = -1;
	aia->files = files;
	aia->host_ids = host_ids;
	aia->config[MODE] = files ? 2 : 0;
	aia->config[IDS] = host_ids - 1;
	aia->config[GROUP_SHIFT] = 24;
}

static int set_config(struct fake_aia *aia, uint64_t attr, uint32_t v)
{
	if (aia->started)
		return -EBUSY;
	switch (attr) {
	case MODE:
		if (v > 2 || (v && !aia->files))
			return -EINVAL;
		break;
	case IDS:
		if (v < 63 || v > 2047 || (v & 63) != 63 || v >= aia->host_ids)
			return -EINVAL;
		break;
	case SRCS:
		if (v > 1023 || v >= aia->host_ids)
			return -EINVAL;
		break;
	case GROUP_BITS:
	case GUEST_BITS:
		if (v > 7)
			return -EINVAL;
		break;
	case GROUP_SHIFT:
		if (v < 24 || v > 55)
			return -EINVAL;
		break;
	case HART_BITS:
		if (v > 15)
			return -EINVAL;
		break;
	default:
		return -ENXIO;
	}
	aia->config[attr] = v;
	return 0;
}

static int set_address(struct fake_aia *aia, uint64_t attr, uint64_t v, unsigned int harts)
{
	if (aia->started)
		return -EBUSY;
	if (v & 4095)
		return -EINVAL;
	if (!attr) {
		aia->aplic = v;
		aia->has_aplic = true;
		return 0;
	}
	if (attr - 1 >= harts || attr > FAKE_AIA_MAX_HARTS)
		return -ENXIO;
	aia->imsic[attr - 1] = v;
	aia->has_imsic[attr - 1] = true;
	return 0;
}

static int start(struct fake_aia *aia, unsigned int harts)
{
	uint64_t mask = ~((UINT64_C(1) << (12 + aia->config[HART_BITS])) - 1);
	unsigned int i;

	if (aia->started)
		return -EBUSY;
	if (aia->config[SRCS] > aia->config[IDS] || (aia->config[SRCS] && !aia->has_aplic))
		return -EINVAL;
	for (i = 0; i < harts; i++)
		if (!aia->has_imsic[i] || (aia->imsic[i] & mask) != (aia->imsic[0] & mask))
			return -EINVAL;
	/* The hart's number is read out of the address. */
	for (i = 0; i < harts; i++)
		if ((aia->imsic[i] >> 12 & ~(mask >> 12)) != i)
			return -EINVAL;
	aia->started = true;
	return 0;
}

/* But for the first enables the registers of an interrupt file take anything. */
static int file_attr(struct fake_aia *aia, bool set, uint64_t attr, uint64_t *value,
		     unsigned int harts)
{
	uint64_t hart = attr >> 12;

	if (!aia->started || hart >= harts || hart >= FAKE_AIA_MAX_HARTS)
		return -ENODEV;
	if ((attr & 0xfff) < 0x70 || (attr & 0xfff) > 0xff)
		return -ENOENT;
	if ((attr & 0xfff) != 0xc0) {
		if (set)
			aia->file[hart][attr & 0xff] = *value;
		else
			*value = aia->file[hart][attr & 0xff];
		return 0;
	}
	if (!set)
		*value = aia->half_files ? (uint64_t)(int32_t)aia->eie0[hart] : aia->eie0[hart];
	else if (aia->half_files)
		aia->eie0[hart] = (uint32_t)*value & ~1U;
	else
		aia->eie0[hart] = *value & ~UINT64_C(1);
	return 0;
}

/* The APLIC's registers take anything. */
static int aplic_attr(struct fake_aia *aia, bool set, uint64_t attr, uint32_t *value)
{
	if (!aia->started || attr % 4 || attr >= sizeof(aia->aplic_regs))
		return -ENODEV;
	if (set)
		aia->aplic_regs[attr / 4] = *value;
	else
		*value = aia->aplic_regs[attr / 4];
	return 0;
}

int fake_aia_attr(struct fake_aia *aia, bool set, const struct kvm_device_attr *attr,
		  unsigned int harts)
{
	uint32_t *v32 = (uint32_t *)(uintptr_t)attr->addr;
	uint64_t *v64 = (uint64_t *)(uintptr_t)attr->addr;

	switch (attr->group) {
	case 0:
		if (attr->attr > GUEST_BITS)
			return -ENXIO;
		if (set)
			return set_config(aia, attr->attr, *v32);
		*v32 = aia->config[attr->attr];
		return 0;
	case 1:
		return set ? set_address(aia, attr->attr, *v64, harts) : -ENXIO;
	case 2:
		return set && !attr->attr ? start(aia, harts) : -ENXIO;
	case 3:
		return aplic_attr(aia, set, attr->attr, v32);
	case 4:
		return file_attr(aia, set, attr->attr, v64, harts);
	default:
		return -ENXIO;
	}
}

int fake_aia_line(struct fake_aia *aia, const struct kvm_irq_level *line)
{
	if (aia->fd < 0)
		return -ENXIO;
	if (!aia->started)
		return -EBUSY;
	if (!line->irq || line->irq > aia->config[SRCS])
		return -ENODEV;
	aia->levels[line->irq] = line->level;
	aia->line_calls++;
	return 0;
}

int fake_aia_msi(struct fake_aia *aia, const struct kvm_msi *msi)
{
	if (aia->fd < 0)
		return -EINVAL;
	if (!aia->started)
		return -EBUSY;
	if (!msi->data)
		return -ENODEV;
	if (msi->data > aia->config[IDS])
		return -EINVAL;
	if (aia->nr_msis < FAKE_AIA_MAX_MSIS) {
		aia->msis[aia->nr_msis].address = msi->address_lo | (uint64_t)msi->address_hi << 32;
		aia->msis[aia->nr_msis].data = msi->data;
		aia->nr_msis++;
	}
	return 1;
}

/* --- eventfds ------------------------------------------------------------------------- */

int fake_aia_routing(struct fake_aia *aia, const struct kvm_irq_routing *table, uint32_t max_routes)
{
	uint32_t i;

	if (aia->fd < 0 || table->nr > max_routes || table->flags)
		return -EINVAL;
	for (i = 0; i < table->nr; i++) {
		const struct kvm_irq_routing_entry *e = &table->entries[i];

		if (e->gsi >= FAKE_MAX_ROUTES || e->flags || e->type != KVM_IRQ_ROUTING_MSI)
			return -EINVAL;
	}
	memcpy(aia->routes, table->entries, table->nr * sizeof(aia->routes[0]));
	aia->nr_routes = table->nr;
	return 0;
}

static int find_irqfd(const struct fake_aia *aia, int fd)
{
	int i;

	for (i = 0; i < FAKE_AIA_MAX_IRQFDS; i++)
		if (aia->irqfds[i].used && aia->irqfds[i].fd == fd)
			return i;
	return -1;
}

int fake_aia_irqfd(struct fake_aia *aia, const struct kvm_irqfd *irqfd)
{
	int i = find_irqfd(aia, (int)irqfd->fd);

	if (irqfd->flags & KVM_IRQFD_FLAG_DEASSIGN) {
		/* One that is not there is no error. */
		if (i >= 0 && aia->irqfds[i].gsi == irqfd->gsi)
			aia->irqfds[i].used = false;
		return 0;
	}
	if (i >= 0)
		return -EBUSY;
	for (i = 0; i < FAKE_AIA_MAX_IRQFDS && aia->irqfds[i].used; i++)
		;
	if (i == FAKE_AIA_MAX_IRQFDS)
		return -ENOMEM;
	aia->irqfds[i].used = true;
	aia->irqfds[i].fd = (int)irqfd->fd;
	aia->irqfds[i].gsi = irqfd->gsi;
	return 0;
}

bool fake_aia_has_irqfd(const struct fake_aia *aia, int fd)
{
	return find_irqfd(aia, fd) >= 0;
}

unsigned int fake_aia_irqfds(const struct fake_aia *aia)
{
	unsigned int i, n = 0;

	for (i = 0; i < FAKE_AIA_MAX_IRQFDS; i++)
		n += aia->irqfds[i].used;
	return n;
}

static void send(struct fake_aia *aia, uint32_t gsi)
{
	uint32_t i;

	for (i = 0; i < aia->nr_routes; i++) {
		const struct kvm_irq_routing_entry *e = &aia->routes[i];
		const struct kvm_msi msi = {.address_lo = e->u.msi.address_lo,
					    .address_hi = e->u.msi.address_hi,
					    .data = e->u.msi.data};

		if (e->gsi == gsi)
			fake_aia_msi(aia, &msi);
	}
}

void fake_aia_deliver(struct fake_aia *aia)
{
	uint64_t count;
	int i;

	for (i = 0; i < FAKE_AIA_MAX_IRQFDS; i++)
		if (aia->irqfds[i].used && read(aia->irqfds[i].fd, &count, sizeof(count)) > 0)
			send(aia, aia->irqfds[i].gsi);
}

static bool same_bell(const struct kvm_ioeventfd *a, const struct kvm_ioeventfd *b)
{
	return a->len == b->len && a->addr == b->addr &&
	       ((a->flags ^ b->flags) & KVM_IOEVENTFD_FLAG_DATAMATCH) == 0 &&
	       (!(a->flags & KVM_IOEVENTFD_FLAG_DATAMATCH) || a->datamatch == b->datamatch);
}

int fake_aia_ioeventfd(struct fake_aia *aia, const struct kvm_ioeventfd *bell)
{
	struct kvm_ioeventfd *place = NULL;
	unsigned int i;

	for (i = 0; i < FAKE_MAX_DOORBELLS; i++) {
		struct kvm_ioeventfd *b = &aia->doorbells[i];

		if (b->len && same_bell(b, bell)) {
			if (!(bell->flags & KVM_IOEVENTFD_FLAG_DEASSIGN))
				return -EEXIST;
			if (b->fd != bell->fd)
				continue;
			b->len = 0;
			return 0;
		}
		if (!b->len)
			place = b;
	}
	if (bell->flags & KVM_IOEVENTFD_FLAG_DEASSIGN)
		return -ENOENT;
	if (!place)
		return -ENOSPC;
	*place = *bell;
	return 0;
}

unsigned int fake_aia_doorbells(const struct fake_aia *aia)
{
	unsigned int i, n = 0;

	for (i = 0; i < FAKE_MAX_DOORBELLS; i++)
		n += aia->doorbells[i].len != 0;
	return n;
}

bool fake_aia_store(struct fake_aia *aia, uint64_t gpa, unsigned int size, uint64_t value)
{
	static const uint64_t one = 1;
	unsigned int i;

	for (i = 0; i < FAKE_MAX_DOORBELLS; i++) {
		const struct kvm_ioeventfd *b = &aia->doorbells[i];

		if (b->len != size || b->addr != gpa ||
		    (b->flags & KVM_IOEVENTFD_FLAG_DATAMATCH && b->datamatch != value))
			continue;
		return write(b->fd, &one, sizeof(one)) > 0;
	}
	return false;
}
