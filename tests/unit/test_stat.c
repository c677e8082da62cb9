// SPDX-License-Identifier: GPL-2.0-only
/*
 * The figures of a machine: order and names, and that what happens is counted, on fake
 * hosts with the PLIC and with the kernel's AIA.
 */
#include "lkvm/arch.h"
#include "lkvm/virtio/rng.h"
#include "mmio.h"
#include "rig.h"
#include "unit.h"

#include "../../riscv/machine.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PLIC UINT64_C(0x0c000000)
#define IMSIC UINT64_C(0x28000000)
#define MAX_ROWS 256

static struct rig rig;

struct row {
	char owner[32], part[16], name[32];
	unsigned int index;
	uint64_t value;
};

static struct row rows[MAX_ROWS];
static size_t nr_rows;

static void take(void *opaque, const struct stat_row *row)
{
	struct row *r = &rows[nr_rows++];

	(void)opaque;
	ck_assert_uint_le(nr_rows, MAX_ROWS);
	snprintf(r->owner, sizeof(r->owner), "%s", row->owner);
	snprintf(r->part, sizeof(r->part), "%s", row->part ? row->part : "");
	snprintf(r->name, sizeof(r->name), "%s", row->name);
	r->index = row->index;
	r->value = row->value;
}

static void look(void)
{
	const struct stat_sink sink = {take, NULL};

	nr_rows = 0;
	arch_stat(rig.vm, &sink);
}

/* The figure with this path; UINT64_MAX: there is none. */
static uint64_t figure(const char *owner, const char *part, unsigned int index, const char *name)
{
	size_t i;

	for (i = 0; i < nr_rows; i++)
		if (!strcmp(rows[i].owner, owner) && !strcmp(rows[i].part, part) &&
		    rows[i].index == index && !strcmp(rows[i].name, name))
			return rows[i].value;
	return UINT64_MAX;
}

/* Owner by owner and part by part: none comes again after another one. */
static void well_ordered(void)
{
	size_t i, j;

	for (i = 1; i < nr_rows; i++) {
		bool owner = strcmp(rows[i].owner, rows[i - 1].owner) != 0;
		bool part = owner || strcmp(rows[i].part, rows[i - 1].part) != 0 ||
			    rows[i].index != rows[i - 1].index;

		for (j = 0; j < i; j++) {
			if (strcmp(rows[j].owner, rows[i].owner))
				continue;
			ck_assert_msg(!owner, "%s comes twice", rows[i].owner);
			ck_assert(!part || strcmp(rows[j].part, rows[i].part) ||
				  rows[j].index != rows[i].index);
			ck_assert(strcmp(rows[j].part, rows[i].part) ||
				  rows[j].index != rows[i].index ||
				  strcmp(rows[j].name, rows[i].name));
		}
	}
}

static void setup(void)
{
	rig_init(&rig, FAKE_7_2);
	rig.cfg.cpus = 2;
	rig.cfg.virtio[0] = (struct virtio_request){&virtio_rng_kind, ""};
	rig.cfg.nr_virtio = 1;
}

static void teardown(void)
{
	rig_end(&rig);
}

START_TEST(with_the_plic)
{
	uint64_t value;

	rig_create(&rig);
	look();
	well_ordered();
	ck_assert_str_eq(rows[0].owner, "vcpu0");
	ck_assert_uint_eq(figure("vcpu1", "", 0, "mmio_exits"), 0);
	ck_assert_uint_eq(figure("rng0", "queue", 0, "notified"), 0);
	ck_assert_uint_eq(figure("plic0", "source", 10, "claimed"), UINT64_MAX);
	bus_write(&rig.vm->bus, PLIC + 40, 4, 1);
	bus_write(&rig.vm->bus, PLIC + 0x2000, 4, 1 << 10);
	irq_line_set(&(struct irq_line){&rig.vm->arch->irq.chip, 10}, true);
	bus_read(&rig.vm->bus, PLIC + 0x200004, 4, &value);
	ck_assert_uint_eq(value, 10);
	/* QueueNotify of the first window. */
	bus_write(&rig.vm->bus, 0x10001050, 4, 0);
	rig.vm->vcpus[1].mmio_exits = 7;
	look();
	well_ordered();
	ck_assert_uint_eq(figure("plic0", "source", 10, "claimed"), 1);
	ck_assert_uint_eq(figure("rng0", "queue", 0, "notified"), 1);
	ck_assert_uint_eq(figure("rng0", "queue", 0, "signalled"), 0);
	ck_assert_uint_eq(figure("rng0", "vector", 0, "sent"), UINT64_MAX);
	ck_assert_uint_eq(figure("vcpu1", "", 0, "mmio_exits"), 7);
	ck_assert_uint_eq(figure("msi", "", 0, "routes"), UINT64_MAX);
}
END_TEST

START_TEST(with_the_aia)
{
	struct msi_sink *sink;
	uint32_t handle = MSI_NONE;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	rig.arch.irqchip = IRQCHIP_AUTO;
	rig.host->host_aia = true;
	rig.host->host_isa[ISA_EXT_SSAIA] = true;
	rig_create(&rig);
	sink = rig.vm->arch->msi;
	look();
	well_ordered();
	ck_assert_uint_eq(figure("msi", "", 0, "routes"), 0);
	ck_assert_int_eq(sink->ops->update(sink, &handle, IMSIC, 5), 0);
	ck_assert_int_eq(sink->ops->send(sink, IMSIC, 5), 0);
	ck_assert_int_eq(sink->ops->send(sink, IMSIC, 5), 0);
	/* Not taken: not sent. */
	ck_assert_int_eq(sink->ops->send(sink, IMSIC, 4000), -EINVAL);
	sink->ops->attach(sink, handle, fd);
	sink->ops->commit(sink);
	irq_line_set(&(struct irq_line){&rig.vm->arch->irq.chip, 10}, true);
	irq_line_set(&(struct irq_line){&rig.vm->arch->irq.chip, 10}, true);
	irq_line_set(&(struct irq_line){&rig.vm->arch->irq.chip, 10}, false);
	look();
	well_ordered();
	ck_assert_uint_eq(figure("aplic0", "source", 10, "raised"), 1);
	ck_assert_uint_eq(figure("msi", "", 0, "sent"), 2);
	ck_assert_uint_eq(figure("msi", "", 0, "routes"), 1);
	ck_assert_uint_eq(figure("msi", "", 0, "routes_in_kvm"), 1);
	ck_assert_uint_eq(figure("msi", "", 0, "eventfds"), 1);
	ck_assert_uint_eq(figure("msi", "", 0, "irqfds"), 1);
	ck_assert_uint_eq(figure("msi", "", 0, "tables_written"), 1);
	ck_assert_uint_eq(figure("rng0", "queue", 0, "notified"), 0);
	/* None of its vectors was used or can be. */
	ck_assert_uint_eq(figure("rng0", "vector", 0, "sent"), UINT64_MAX);
	sink->ops->detach(sink, handle, fd);
	sink->ops->release(sink, handle);
	look();
	ck_assert_uint_eq(figure("msi", "", 0, "routes"), 0);
	ck_assert_uint_eq(figure("msi", "", 0, "irqfds"), 0);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("stat");
	TCase *tc = tcase_create("stat");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, with_the_plic);
	tcase_add_test(tc, with_the_aia);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
