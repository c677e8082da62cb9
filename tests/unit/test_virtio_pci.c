// SPDX-License-Identifier: GPL-2.0-only
/*
 * The virtio-pci transport, driven through the bus as a guest does it: capabilities
 * are found, BARs assigned, and registers reached where the capabilities say. Fields
 * of every width, negotiation, queues, interrupts by pin and by MSI-X, the access
 * capability, bus mastering, reset, save and load, random operations with and without
 * a save in between. The device behind it is a probe with two queues that fills what
 * it gets, or holds it until told.
 */
#include "pci_rig.h"
#include "prng.h"
#include "unit.h"
#include "virtio_driver.h"

#include "lkvm/virtio/pci.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define QUEUES 2
#define VECTORS (QUEUES + 1)
#define NUM 16
#define PROBE_ID 42
#define PROBE_FEATURE (UINT64_C(1) << 3)
#define CONFIG_SIZE 11
#define CONFIG_WRITABLE 8
#define DATA (DRV_RAM + MIB)
#define BAR_AT (RIG_HIGH + 7 * MIB)
#define BAR_SIZE 0x8000
#define DEVFN (1 * PCI_FUNCTIONS)
#define NO_VECTOR 0xffff
#define MSIX_ENABLE 0x8000
#define MSIX_FMASK 0x4000

/* Common configuration, by the specification's struct. */
#define C_DEV_SEL 0x00
#define C_DEV 0x04
#define C_DRV_SEL 0x08
#define C_DRV 0x0c
#define C_CONFIG_VECTOR 0x10
#define C_NUM_QUEUES 0x12
#define C_STATUS 0x14
#define C_GENERATION 0x15
#define C_SELECT 0x16
#define C_SIZE 0x18
#define C_VECTOR 0x1a
#define C_ENABLE 0x1c
#define C_NOTIFY_OFF 0x1e
#define C_DESC 0x20
#define C_AVAIL 0x28
#define C_USED 0x30
#define C_NOTIFY_DATA 0x38
#define C_RESET 0x3a
#define C_END 0x3c

static const struct {
	unsigned int at, size;
} fields[] = {
	{C_DEV_SEL, 4},	      {C_DEV, 4},	 {C_DRV_SEL, 4}, {C_DRV, 4},
	{C_CONFIG_VECTOR, 2}, {C_NUM_QUEUES, 2}, {C_STATUS, 1},	 {C_GENERATION, 1},
	{C_SELECT, 2},	      {C_SIZE, 2},	 {C_VECTOR, 2},	 {C_ENABLE, 2},
	{C_NOTIFY_OFF, 2},    {C_DESC, 8},	 {C_AVAIL, 8},	 {C_USED, 8},
	{C_NOTIFY_DATA, 2},   {C_RESET, 2},
};

/* --- the probe ------------------------------------------------------------------------ */

struct probe {
	struct virtio_device vdev;
	struct {
		uint8_t config[CONFIG_SIZE];
	} s;
	bool hold, cancel;
	struct drv_ring *endless; /* its driver adds one for each that is answered */
	struct virtq_request *held[NUM * QUEUES];
	unsigned int nr_held, notified, gone, halted, resets;
};

static struct probe *to_probe(struct virtio_device *vdev)
{
	return container_of(vdev, struct probe, vdev);
}

static void probe_config_get(struct virtio_device *vdev, uint8_t *config)
{
	memcpy(config, to_probe(vdev)->s.config, CONFIG_SIZE);
}

static void probe_config_set(struct virtio_device *vdev, uint32_t offset, const uint8_t *bytes,
			     uint32_t len)
{
	ck_assert(offset < CONFIG_SIZE && len <= CONFIG_SIZE - offset);
	if (offset <= CONFIG_WRITABLE && CONFIG_WRITABLE - offset < len)
		to_probe(vdev)->s.config[CONFIG_WRITABLE] = bytes[CONFIG_WRITABLE - offset];
}

static void fill(struct virtq_request *req)
{
	struct virtq_cursor c = virtq_writer(req);
	uint8_t byte = 0x5a;

	while (virtq_write(&c, &byte, 1))
		;
}

static void probe_notify(struct virtio_device *vdev, unsigned int index)
{
	struct probe *probe = to_probe(vdev);
	struct virtq_request *req;

	probe->notified++;
	while ((req = virtq_pop(virtio_queue(vdev, index)))) {
		if (probe->hold) {
			probe->held[probe->nr_held++] = req;
			continue;
		}
		fill(req);
		virtio_complete(vdev, req);
		if (probe->endless)
			drv_add(probe->endless, &(struct drv_seg){DATA, 7, DRV_WRITE}, 1);
	}
}

static void probe_go(struct virtio_device *vdev)
{
	to_probe(vdev)->gone++;
}

static void probe_drain(struct virtio_device *vdev)
{
	struct probe *probe = to_probe(vdev);

	while (probe->cancel && probe->nr_held)
		virtio_cancel(vdev, probe->held[--probe->nr_held]);
}

static void probe_reset(struct virtio_device *vdev)
{
	to_probe(vdev)->resets++;
}

static void probe_transfer(struct virtio_device *vdev, struct xfer *x, void *state)
{
	(void)vdev;
	xfer_bytes(x, state, CONFIG_SIZE);
}

static void probe_destroy(struct virtio_device *vdev)
{
	virtio_device_fini(vdev);
	free(to_probe(vdev));
}

static const struct virtio_device_ops probe_ops = {
	.kind = "probe",
	.id = PROBE_ID,
	.config_size = CONFIG_SIZE,
	.state_size = CONFIG_SIZE,
	.config_get = probe_config_get,
	.config_set = probe_config_set,
	.go = probe_go,
	.notify = probe_notify,
	.drain = probe_drain,
	.reset = probe_reset,
	.transfer = probe_transfer,
	.destroy = probe_destroy,
};

/* --- the driver --------------------------------------------------------------------------- */

struct world {
	struct pci_rig rig;
	struct guest_memory mem;
	struct log log;
	int log_fd;
	struct probe *probe;
	struct virtio_pci *pci;
	struct drv_ring ring[QUEUES];
	unsigned int soon;
	bool quiet;
	/* What the capabilities say. */
	gpa_t common, isr, config, notify, table, pba;
	uint32_t multiplier, config_length;
	unsigned int access, msix;
};

static void run_soon(void *opaque)
{
	((struct world *)opaque)->soon++;
}

static const struct virtio_transport_env env = {.run_soon = run_soon};

/* What a driver does first: look where everything is. */
static void find_parts(struct world *w)
{
	unsigned int cap = 0, seen = 0, type;

	while ((cap = rig_find_cap(&w->rig, DEVFN, 9, cap))) {
		gpa_t at = BAR_AT + rig_config_read(&w->rig, DEVFN, cap + 8, 4);
		uint32_t length = (uint32_t)rig_config_read(&w->rig, DEVFN, cap + 12, 4);

		ck_assert_uint_eq(rig_config_read(&w->rig, DEVFN, cap + 4, 1), 0);
		ck_assert_uint_eq(at % 4, 0);
		ck_assert_uint_le(at + length, BAR_AT + BAR_SIZE);
		type = (unsigned int)rig_config_read(&w->rig, DEVFN, cap + 3, 1);
		ck_assert(!(seen >> type & 1));
		seen |= 1U << type;
		ck_assert_uint_eq(rig_config_read(&w->rig, DEVFN, cap + 2, 1),
				  type == 2 || type == 5 ? 20 : 16);
		switch (type) {
		case 1:
			w->common = at;
			ck_assert_uint_eq(length, C_END);
			break;
		case 2:
			w->notify = at;
			w->multiplier = (uint32_t)rig_config_read(&w->rig, DEVFN, cap + 16, 4);
			ck_assert(is_power_of_two(w->multiplier) && w->multiplier > 1);
			ck_assert_uint_ge(length, (QUEUES - 1) * w->multiplier + 2);
			break;
		case 3:
			w->isr = at;
			break;
		case 4:
			w->config = at;
			w->config_length = length;
			break;
		case 5:
			w->access = cap;
			break;
		}
	}
	ck_assert_uint_eq(seen, 0x3e);
	w->msix = rig_find_cap(&w->rig, DEVFN, PCI_CAP_ID_MSIX, 0);
	w->table = BAR_AT + rig_config_read(&w->rig, DEVFN, w->msix + 4, 4);
	w->pba = BAR_AT + rig_config_read(&w->rig, DEVFN, w->msix + 8, 4);
}

static void make_device(struct world *w, struct msi_sink *sink)
{
	unsigned int i;

	w->probe = calloc(1, sizeof(*w->probe));
	ck_assert_int_eq(virtio_device_init(&w->probe->vdev, &probe_ops, "probe0", &w->mem, &w->log,
					    PROBE_FEATURE, QUEUES, NUM, 8, &w->probe->s),
			 0);
	for (i = 0; i < CONFIG_SIZE; i++)
		w->probe->s.config[i] = (uint8_t)(0x10 + i);
	w->pci = virtio_pci_create(&w->probe->vdev, w->rig.host, sink, &env, w);
	ck_assert_ptr_nonnull(w->pci);
	ck_assert_ptr_eq(virtio_pci_vdev(w->pci), &w->probe->vdev);
	ck_assert_uint_eq(virtio_pci_function(w->pci)->devfn, DEVFN);
}

static void map_bar(struct world *w)
{
	rig_set_bar64(&w->rig, DEVFN, 0, BAR_AT);
	rig_command(&w->rig, DEVFN, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0);
}

static void start(struct world *w)
{
	gpa_t at = DRV_RAM + 0x1000;
	unsigned int i;

	memset(w, 0, sizeof(*w));
	w->log_fd = memfd_create("log", 0);
	log_init(&w->log, w->log_fd, LOG_LEVEL_DEBUG);
	pci_rig_start(&w->rig, &w->log);
	drv_memory(&w->mem);
	make_device(w, &w->rig.sink);
	find_parts(w);
	map_bar(w);
	for (i = 0; i < QUEUES; i++)
		at = drv_ring_init(&w->ring[i], &w->mem, NUM, at);
}

static void stop(struct world *w)
{
	struct device *dev = virtio_pci_device(w->pci);
	unsigned int i;

	for (i = 0; i < PCI_PINS; i++)
		ck_assert_uint_eq(w->rig.repeats[i], 0);
	dev->ops->destroy(dev);
	for (i = 0; i < PCI_PINS; i++)
		ck_assert(!w->rig.level[i]);
	pci_rig_stop(&w->rig);
	memory_destroy(&w->mem);
	close(w->log_fd);
}

static unsigned int field_size(unsigned int at)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fields); i++)
		if (fields[i].at == at)
			return fields[i].size;
	ck_abort_msg("no field at 0x%x", at);
}

static uint64_t rd(struct world *w, unsigned int field)
{
	return rig_read(&w->rig, w->common + field, field_size(field));
}

static void wr(struct world *w, unsigned int field, uint64_t value)
{
	rig_write(&w->rig, w->common + field, value, field_size(field));
}

static uint64_t features(struct world *w)
{
	uint64_t value;

	wr(w, C_DEV_SEL, 1);
	value = rd(w, C_DEV) << 32;
	wr(w, C_DEV_SEL, 0);
	return value | rd(w, C_DEV);
}

static bool negotiate(struct world *w, uint64_t want)
{
	want |= FEAT_VERSION_1;
	wr(w, C_STATUS, 0);
	ck_assert_uint_eq(rd(w, C_STATUS), 0);
	wr(w, C_STATUS, ST_ACK);
	wr(w, C_STATUS, ST_ACK | ST_DRIVER);
	wr(w, C_DRV_SEL, 0);
	wr(w, C_DRV, (uint32_t)want);
	wr(w, C_DRV_SEL, 1);
	wr(w, C_DRV, want >> 32);
	wr(w, C_STATUS, ST_ACK | ST_DRIVER | ST_FEATURES_OK);
	return rd(w, C_STATUS) & ST_FEATURES_OK;
}

static void set_queue(struct world *w, unsigned int index)
{
	const struct drv_ring *ring = &w->ring[index];

	wr(w, C_SELECT, index);
	wr(w, C_SIZE, ring->num);
	wr(w, C_DESC, ring->desc);
	/* By halves, as Linux does it. */
	rig_write(&w->rig, w->common + C_AVAIL, (uint32_t)ring->avail, 4);
	rig_write(&w->rig, w->common + C_AVAIL + 4, ring->avail >> 32, 4);
	rig_write(&w->rig, w->common + C_USED + 4, ring->used >> 32, 4);
	rig_write(&w->rig, w->common + C_USED, (uint32_t)ring->used, 4);
}

static bool enable_queue(struct world *w, unsigned int index)
{
	drv_ring_init(&w->ring[index], &w->mem, NUM, w->ring[index].desc);
	set_queue(w, index);
	wr(w, C_ENABLE, 1);
	return rd(w, C_ENABLE);
}

static void set_msix(struct world *w, uint16_t control)
{
	rig_config_write(&w->rig, DEVFN, w->msix + 2, control, 2);
}

/* Vector v of the table: address 0x28000000 + 4 v, data 100 + v. */
static void unmask_vectors(struct world *w)
{
	unsigned int v;

	for (v = 0; v < VECTORS; v++) {
		rig_write(&w->rig, w->table + 16 * v, 0x28000000 + 4 * v, 8);
		rig_write(&w->rig, w->table + 16 * v + 8, 100 + v, 8);
	}
}

static void bring_up(struct world *w, uint64_t want, bool msix)
{
	unsigned int i;

	ck_assert(negotiate(w, want));
	set_msix(w, msix ? MSIX_ENABLE : 0);
	for (i = 0; i < QUEUES; i++) {
		wr(w, C_SELECT, i);
		wr(w, C_VECTOR, msix ? i + 1 : NO_VECTOR);
		ck_assert_uint_eq(rd(w, C_VECTOR), msix ? i + 1 : NO_VECTOR);
		ck_assert(enable_queue(w, i));
	}
	wr(w, C_CONFIG_VECTOR, msix ? 0 : NO_VECTOR);
	wr(w, C_STATUS, 15);
	ck_assert_uint_eq(rd(w, C_STATUS), 15);
}

static void kick(struct world *w, unsigned int index)
{
	wr(w, C_SELECT, index);
	rig_write(&w->rig, w->notify + rd(w, C_NOTIFY_OFF) * w->multiplier, index, 2);
}

static uint64_t isr(struct world *w)
{
	return rig_read(&w->rig, w->isr, 1);
}

static bool pin(const struct world *w)
{
	return w->rig.level[1];
}

static bool status_bit(struct world *w)
{
	return rig_config_read(&w->rig, DEVFN, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT;
}

static void offer(struct world *w, unsigned int index)
{
	drv_add(&w->ring[index], &(struct drv_seg){DATA, 7, DRV_WRITE}, 1);
}

static bool answered(struct world *w, unsigned int index)
{
	uint32_t head, len;

	if (!drv_get_used(&w->ring[index], &head, &len))
		return false;
	ck_assert_uint_eq(len, 7);
	return true;
}

/* A driver that knows its trade, and requests that must be answered. */
static void sane_request(struct world *w, bool msix)
{
	unsigned int i, sent;

	map_bar(w);
	if (msix)
		unmask_vectors(w);
	rig_command(&w->rig, DEVFN, 0, PCI_COMMAND_INTX_DISABLE);
	bring_up(w, 0, msix);
	for (i = 0; i < QUEUES; i++) {
		sent = w->rig.sent;
		offer(w, i);
		kick(w, i);
		ck_assert(answered(w, i));
		if (msix) {
			ck_assert_uint_eq(w->rig.sent, sent + 1);
			ck_assert_uint_eq(w->rig.last.address, 0x28000000 + 4 * (i + 1));
			ck_assert_uint_eq(w->rig.last.data, 101 + i);
			ck_assert(!pin(w));
			ck_assert_uint_eq(isr(w), 0);
		} else {
			ck_assert_uint_eq(w->rig.sent, sent);
			ck_assert(pin(w) && status_bit(w));
			ck_assert_uint_eq(isr(w), 1);
			ck_assert(!pin(w) && !status_bit(w));
			ck_assert_uint_eq(isr(w), 0);
		}
	}
}

/* --- discovery ------------------------------------------------------------------------------- */

START_TEST(identity)
{
	static struct world w;
	unsigned int v;

	start(&w);
	ck_assert_uint_eq(rig_config_read(&w.rig, DEVFN, PCI_VENDOR_ID, 2), 0x1af4);
	ck_assert_uint_eq(rig_config_read(&w.rig, DEVFN, PCI_DEVICE_ID, 2), 0x1040 + PROBE_ID);
	ck_assert_uint_ge(rig_config_read(&w.rig, DEVFN, PCI_REVISION_ID, 1), 1);
	ck_assert_uint_ge(rig_config_read(&w.rig, DEVFN, PCI_SUBSYSTEM_ID, 2), 0x40);
	ck_assert_uint_eq(rig_config_read(&w.rig, DEVFN, PCI_INTERRUPT_PIN, 1), 1);
	ck_assert(w.common && w.isr && w.config && w.notify && w.access && w.msix);
	ck_assert_uint_eq(w.config_length, CONFIG_SIZE);
	ck_assert_uint_eq(rig_config_read(&w.rig, DEVFN, w.msix + 2, 2), VECTORS - 1);
	for (v = 0; v < VECTORS; v++)
		ck_assert_uint_eq(rig_read(&w.rig, w.table + 16 * v + 12, 4), 1);
	stop(&w);
}
END_TEST

/* Other kinds: their IDs, classes, and what there is for one without configuration. */
START_TEST(kinds)
{
	static const struct {
		uint32_t id, class;
	} known[] = {{1, 0x020000},  {2, 0x018000},  {3, 0x078000}, {4, 0x00ff00},
		     {19, 0x028000}, {26, 0x018000}, {63, 0x00ff00}};
	static struct virtio_device_ops ops[ARRAY_SIZE(known)];
	struct virtio_pci *pci[ARRAY_SIZE(known)];
	static struct world w;
	unsigned int devfn, cap, seen;
	struct probe *probe;
	size_t i;

	start(&w);
	for (i = 0; i < ARRAY_SIZE(known); i++) {
		ops[i] = probe_ops;
		ops[i].id = known[i].id;
		ops[i].config_size = 0;
		probe = calloc(1, sizeof(*probe));
		ck_assert_int_eq(virtio_device_init(&probe->vdev, &ops[i], "probe", &w.mem, NULL, 0,
						    1, NUM, 8, &probe->s),
				 0);
		pci[i] = virtio_pci_create(&probe->vdev, w.rig.host, NULL, &env, &w);
		ck_assert_ptr_nonnull(pci[i]);
		devfn = virtio_pci_function(pci[i])->devfn;
		ck_assert_uint_eq(devfn, rig_devfn((unsigned int)i + 2, 0));
		ck_assert_uint_eq(rig_config_read(&w.rig, devfn, PCI_DEVICE_ID, 2),
				  0x1040 + known[i].id);
		ck_assert_uint_eq(rig_config_read(&w.rig, devfn, PCI_REVISION_ID, 4),
				  known[i].class << 8 | 1);
		for (seen = 0, cap = 0; (cap = rig_find_cap(&w.rig, devfn, 9, cap));)
			seen |= 1U << rig_config_read(&w.rig, devfn, cap + 3, 1);
		ck_assert_uint_eq(seen, 0x2e);
	}
	for (i = 0; i < ARRAY_SIZE(known); i++)
		virtio_pci_device(pci[i])->ops->destroy(virtio_pci_device(pci[i]));
	stop(&w);
}
END_TEST

START_TEST(good_way)
{
	static struct world w;

	start(&w);
	ck_assert_uint_eq(rd(&w, C_STATUS), 0);
	ck_assert_uint_eq(rd(&w, C_NUM_QUEUES), QUEUES);
	ck_assert_uint_eq(features(&w), w.probe->vdev.offered);
	ck_assert(features(&w) & FEAT_VERSION_1);
	wr(&w, C_DEV_SEL, 2);
	ck_assert_uint_eq(rd(&w, C_DEV), 0);
	sane_request(&w, false);
	sane_request(&w, true);
	sane_request(&w, false);
	ck_assert_uint_eq(w.probe->gone, 3);
	ck_assert_int_eq(lseek(w.log_fd, 0, SEEK_END), 0);
	stop(&w);
}
END_TEST

/* 4.1.4.3.1: what is there after a reset. */
START_TEST(defaults)
{
	static struct world w;
	unsigned int round, q;

	start(&w);
	for (round = 0; round < 2; round++) {
		ck_assert_uint_eq(rd(&w, C_STATUS), 0);
		ck_assert_uint_eq(rd(&w, C_CONFIG_VECTOR), NO_VECTOR);
		ck_assert_uint_eq(rd(&w, C_DEV_SEL), 0);
		ck_assert_uint_eq(rd(&w, C_DRV_SEL), 0);
		ck_assert_uint_eq(rd(&w, C_DRV), 0);
		ck_assert_uint_eq(rd(&w, C_SELECT), 0);
		ck_assert_uint_eq(isr(&w), 0);
		for (q = 0; q < QUEUES; q++) {
			wr(&w, C_SELECT, q);
			ck_assert_uint_eq(rd(&w, C_SIZE), NUM);
			ck_assert_uint_eq(rd(&w, C_VECTOR), NO_VECTOR);
			ck_assert_uint_eq(rd(&w, C_ENABLE), 0);
			ck_assert_uint_eq(rd(&w, C_NOTIFY_OFF), q);
			ck_assert_uint_eq(rd(&w, C_DESC), 0);
			ck_assert_uint_eq(rd(&w, C_RESET), 0);
		}
		wr(&w, C_SELECT, 0);
		bring_up(&w, PROBE_FEATURE | FEAT_RING_RESET, true);
		wr(&w, C_DEV_SEL, 1);
		offer(&w, 0);
		kick(&w, 0);
		virtio_enter_device(&w.probe->vdev);
		virtio_config_changed(&w.probe->vdev);
		virtio_leave(&w.probe->vdev);
		wr(&w, C_STATUS, 0);
	}
	stop(&w);
}
END_TEST

START_TEST(driver_features_read_back)
{
	static struct world w;

	start(&w);
	wr(&w, C_STATUS, 1);
	wr(&w, C_STATUS, 3);
	wr(&w, C_DRV_SEL, 0);
	wr(&w, C_DRV, 0x12345678);
	wr(&w, C_DRV_SEL, 1);
	wr(&w, C_DRV, 0x9abcdef0);
	ck_assert_uint_eq(rd(&w, C_DRV), 0x9abcdef0);
	wr(&w, C_DRV_SEL, 0);
	ck_assert_uint_eq(rd(&w, C_DRV), 0x12345678);
	wr(&w, C_DRV_SEL, 2);
	ck_assert_uint_eq(rd(&w, C_DRV), 0);
	/* A6 */
	wr(&w, C_STATUS, 11);
	ck_assert_uint_eq(rd(&w, C_STATUS), 3);
	ck_assert(!negotiate(&w, UINT64_MAX));
	ck_assert(negotiate(&w, PROBE_FEATURE));
	wr(&w, C_DRV_SEL, 0);
	wr(&w, C_DRV, UINT32_MAX);
	ck_assert_uint_eq(rd(&w, C_DRV), PROBE_FEATURE);
	sane_request(&w, false);
	stop(&w);
}
END_TEST

/* A11: every width at every offset; only a field's own does something. */
START_TEST(widths)
{
	static struct world w;
	unsigned int at, size;
	size_t i;

	start(&w);
	bring_up(&w, 0, false);
	for (size = 1; size <= 8; size *= 2) {
		for (at = 0; at + size <= 0x1000; at++) {
			bool field = false;

			for (i = 0; i < ARRAY_SIZE(fields); i++)
				field |= (at == fields[i].at && size == fields[i].size) ||
					 (fields[i].size == 8 && size == 4 &&
					  (at == fields[i].at || at == fields[i].at + 4));
			if (field)
				continue;
			ck_assert_uint_eq(rig_read(&w.rig, w.common + at, size), 0);
			rig_write(&w.rig, w.common + at, 0, size);
			rig_write(&w.rig, w.common + at, UINT64_MAX, size);
			rig_write(&w.rig, w.isr + at, UINT64_MAX, size);
			if (at || size > 1)
				ck_assert_uint_eq(rig_read(&w.rig, w.isr + at, size), 0);
			/* Writable pages that are nobody's. */
			rig_write(&w.rig, BAR_AT + 0x6000 + at, UINT64_MAX, size);
			ck_assert_uint_eq(rig_read(&w.rig, BAR_AT + 0x6000 + at, size), 0);
			ck_assert_uint_eq(rig_read(&w.rig, w.notify + at, size), 0);
		}
	}
	ck_assert_uint_eq(rd(&w, C_STATUS), 15);
	/* Read-only fields. */
	wr(&w, C_DEV, 0);
	wr(&w, C_NUM_QUEUES, 1);
	wr(&w, C_GENERATION, 9);
	wr(&w, C_NOTIFY_OFF, 9);
	wr(&w, C_NOTIFY_DATA, 9);
	ck_assert_uint_eq(rd(&w, C_NUM_QUEUES), QUEUES);
	ck_assert_uint_eq(rd(&w, C_GENERATION), 0);
	ck_assert_uint_eq(rd(&w, C_NOTIFY_OFF), 1);
	ck_assert_uint_eq(rd(&w, C_NOTIFY_DATA), 0);
	offer(&w, 0);
	kick(&w, 0);
	ck_assert(answered(&w, 0));
	/* The rings were read and written as 64 bits and by halves. */
	wr(&w, C_SELECT, 1);
	ck_assert_uint_eq(rd(&w, C_AVAIL), w.ring[1].avail);
	ck_assert_uint_eq(rig_read(&w.rig, w.common + C_USED, 4), (uint32_t)w.ring[1].used);
	ck_assert_uint_eq(rig_read(&w.rig, w.common + C_USED + 4, 4), w.ring[1].used >> 32);
	stop(&w);
}
END_TEST

/* --- queues -------------------------------------------------------------------------------------
 */

/* A1 */
START_TEST(absent_queue)
{
	static const uint16_t absent[] = {QUEUES, 63, 64, 0x7fff, 0xffff};
	static struct world w;
	size_t i;

	start(&w);
	negotiate(&w, FEAT_RING_RESET);
	for (i = 0; i < ARRAY_SIZE(absent); i++) {
		wr(&w, C_SELECT, absent[i]);
		ck_assert_uint_eq(rd(&w, C_SELECT), absent[i]);
		ck_assert_uint_eq(rd(&w, C_SIZE), 0);
		wr(&w, C_SIZE, 8);
		wr(&w, C_DESC, w.ring[0].desc);
		wr(&w, C_AVAIL, w.ring[0].avail);
		wr(&w, C_USED, w.ring[0].used);
		wr(&w, C_VECTOR, 0);
		wr(&w, C_ENABLE, 1);
		wr(&w, C_RESET, 1);
		ck_assert_uint_eq(rd(&w, C_SIZE), 0);
		ck_assert_uint_eq(rd(&w, C_ENABLE), 0);
		ck_assert_uint_eq(rd(&w, C_DESC), 0);
		ck_assert_uint_eq(rd(&w, C_VECTOR), NO_VECTOR);
		ck_assert_uint_eq(rd(&w, C_NOTIFY_OFF), 0);
	}
	ck_assert_uint_eq(rd(&w, C_STATUS) & ST_NEEDS_RESET, 0);
	sane_request(&w, false);
	stop(&w);
}
END_TEST

/* A2 */
START_TEST(notify_out_of_place)
{
	static struct world w;
	unsigned int at, size;

	start(&w);
	rig_write(&w.rig, w.notify, 0, 2);
	ck_assert(negotiate(&w, 0));
	ck_assert(enable_queue(&w, 0));
	offer(&w, 0);
	rig_write(&w.rig, w.notify, 0, 2);
	ck_assert_uint_eq(w.probe->notified, 0);
	wr(&w, C_STATUS, 15);
	for (size = 1; size <= 8; size *= 2)
		for (at = 0; at + size <= 0x1000; at++)
			if (at || size != 2)
				rig_write(&w.rig, w.notify + at, 0, size);
	/* Queue 1 is there and not enabled; all others are not. */
	ck_assert_uint_eq(w.probe->notified, 0);
	rig_write(&w.rig, w.notify, 0, 2);
	ck_assert_uint_eq(w.probe->notified, 1);
	ck_assert(answered(&w, 0));
	sane_request(&w, false);
	stop(&w);
}
END_TEST

/* A pass ends, and the loop is asked to go on. */
START_TEST(endless_work)
{
	static struct world w;

	start(&w);
	bring_up(&w, 0, false);
	w.probe->endless = &w.ring[0];
	offer(&w, 0);
	kick(&w, 0);
	ck_assert_uint_eq(w.soon, 1);
	ck_assert_uint_eq(drv_used_idx(&w.ring[0]), NUM);
	virtio_device_run(virtio_pci_vdev(w.pci));
	ck_assert_uint_eq(w.soon, 2);
	ck_assert_uint_eq(drv_used_idx(&w.ring[0]), 2 * NUM);
	w.probe->endless = NULL;
	sane_request(&w, false);
	stop(&w);
}
END_TEST

/* A3, A5: what the core refuses; the driver sees it. */
START_TEST(bad_layout)
{
	static const uint16_t sizes[] = {0, 3, 15, NUM + 1, 2 * NUM, 0x8000, 0xffff};
	static struct world w;
	size_t i;

	start(&w);
	for (i = 0; i < ARRAY_SIZE(sizes) + 3; i++) {
		ck_assert(negotiate(&w, 0));
		set_queue(&w, 0);
		if (i < ARRAY_SIZE(sizes)) {
			wr(&w, C_SIZE, sizes[i]);
			ck_assert(!rd(&w, C_SIZE) || is_power_of_two(rd(&w, C_SIZE)));
		} else if (i == ARRAY_SIZE(sizes))
			wr(&w, C_DESC, w.ring[0].desc + 8);
		else if (i == ARRAY_SIZE(sizes) + 1)
			wr(&w, C_USED, DRV_RAM_END - 4);
		else
			wr(&w, C_AVAIL, UINT64_MAX - 1);
		wr(&w, C_ENABLE, 1);
		ck_assert_uint_eq(rd(&w, C_ENABLE), 0);
		ck_assert(rd(&w, C_STATUS) & ST_NEEDS_RESET);
		ck_assert(!pin(&w));
		/* Told when the driver says that it is ready. */
		wr(&w, C_STATUS, 15);
		ck_assert(pin(&w));
		ck_assert_uint_eq(isr(&w), 2);
	}
	sane_request(&w, false);
	stop(&w);
}
END_TEST

/* A packed ring may have any size, and shows it. */
START_TEST(packed_size)
{
	static struct world w;
	unsigned int size;

	start(&w);
	for (size = 0; size <= NUM + 1; size++) {
		bool good = size && size <= NUM;

		ck_assert(negotiate(&w, FEAT_RING_PACKED));
		set_queue(&w, 0);
		wr(&w, C_AVAIL, align_up(w.ring[0].avail, 4));
		wr(&w, C_SIZE, size);
		ck_assert_uint_eq(rd(&w, C_SIZE), size);
		wr(&w, C_ENABLE, 1);
		ck_assert_uint_eq(rd(&w, C_ENABLE), good);
		ck_assert_int_eq(!(rd(&w, C_STATUS) & ST_NEEDS_RESET), good);
	}
	sane_request(&w, false);
	stop(&w);
}
END_TEST

/* A4 */
START_TEST(frozen_layout)
{
	static struct world w;

	start(&w);
	bring_up(&w, 0, false);
	wr(&w, C_SELECT, 0);
	wr(&w, C_SIZE, 4);
	wr(&w, C_DESC, DRV_RAM);
	wr(&w, C_AVAIL, DRV_RAM);
	rig_write(&w.rig, w.common + C_USED, 0, 4);
	ck_assert_uint_eq(rd(&w, C_SIZE), NUM);
	ck_assert_uint_eq(rd(&w, C_DESC), w.ring[0].desc);
	ck_assert_uint_eq(rd(&w, C_AVAIL), w.ring[0].avail);
	ck_assert_uint_eq(rd(&w, C_USED), w.ring[0].used);
	/* Nor is there a way to stop it but a reset. */
	wr(&w, C_ENABLE, 0);
	ck_assert_uint_eq(rd(&w, C_ENABLE), 1);
	wr(&w, C_ENABLE, 2);
	wr(&w, C_RESET, 1); /* RING_RESET was not negotiated */
	ck_assert_uint_eq(rd(&w, C_ENABLE), 1);
	offer(&w, 0);
	kick(&w, 0);
	ck_assert(answered(&w, 0));
	stop(&w);
}
END_TEST

START_TEST(queue_reset)
{
	static struct world w;
	unsigned int n;

	start(&w);
	unmask_vectors(&w);
	bring_up(&w, FEAT_RING_RESET, true);
	for (n = 0; n < 3; n++) {
		offer(&w, 0);
		kick(&w, 0);
		ck_assert(answered(&w, 0));
		wr(&w, C_SELECT, 0);
		wr(&w, C_RESET, 0);
		wr(&w, C_RESET, 2);
		ck_assert_uint_eq(rd(&w, C_ENABLE), 1);
		wr(&w, C_RESET, 1);
		ck_assert_uint_eq(rd(&w, C_RESET), 0);
		ck_assert_uint_eq(rd(&w, C_ENABLE), 0);
		ck_assert_uint_eq(rd(&w, C_VECTOR), NO_VECTOR);
		ck_assert_uint_eq(rd(&w, C_SIZE), NUM);
		ck_assert_uint_eq(rd(&w, C_DESC), 0);
		offer(&w, 0);
		kick(&w, 0);
		ck_assert(!answered(&w, 0));
		/* The other queue goes on. */
		offer(&w, 1);
		kick(&w, 1);
		ck_assert(answered(&w, 1));
		wr(&w, C_SELECT, 0);
		wr(&w, C_VECTOR, 2);
		ck_assert(enable_queue(&w, 0));
		ck_assert_uint_eq(rd(&w, C_RESET), 0);
	}
	offer(&w, 0);
	kick(&w, 0);
	ck_assert(answered(&w, 0));
	ck_assert_uint_eq(w.rig.last.data, 102);
	stop(&w);
}
END_TEST

/* A7, A8 */
START_TEST(status_and_storms)
{
	static struct world w;
	unsigned int i;

	start(&w);
	wr(&w, C_STATUS, 4);
	wr(&w, C_STATUS, 8);
	wr(&w, C_STATUS, 0xff);
	ck_assert_uint_eq(rd(&w, C_STATUS), 0);
	ck_assert(negotiate(&w, 0));
	wr(&w, C_STATUS, 3);
	ck_assert_uint_eq(rd(&w, C_STATUS), 11);
	for (i = 0; i < 200; i++)
		ck_assert(i % 2 ? rd(&w, C_ENABLE) : enable_queue(&w, 0));
	for (i = 0; i < 20000; i++)
		wr(&w, C_STATUS, i % 3);
	sane_request(&w, false);
	stop(&w);
}
END_TEST

/* --- interrupts
 * ------------------------------------------------------------------------------------ */

static void change_config(struct world *w)
{
	virtio_enter_device(&w->probe->vdev);
	virtio_config_changed(&w->probe->vdev);
	virtio_leave(&w->probe->vdev);
}

START_TEST(isr_status)
{
	static struct world w;

	start(&w);
	change_config(&w);
	ck_assert_uint_eq(isr(&w), 0);
	bring_up(&w, 0, false);
	change_config(&w);
	ck_assert(pin(&w));
	offer(&w, 0);
	kick(&w, 0);
	ck_assert_uint_eq(w.rig.edges[1], 1);
	ck_assert_uint_eq(isr(&w), 3);
	ck_assert(!pin(&w));
	ck_assert_uint_eq(isr(&w), 0);
	/* Cut off by the command register. */
	rig_command(&w.rig, DEVFN, PCI_COMMAND_INTX_DISABLE, 0);
	change_config(&w);
	ck_assert(!pin(&w) && status_bit(&w));
	rig_command(&w.rig, DEVFN, 0, PCI_COMMAND_INTX_DISABLE);
	ck_assert(pin(&w));
	/* With MSI-X on there is no pin; the configuration bit stands in any case. */
	set_msix(&w, MSIX_ENABLE);
	ck_assert(!pin(&w) && !status_bit(&w));
	ck_assert_uint_eq(isr(&w), 2);
	change_config(&w);
	ck_assert(!pin(&w));
	offer(&w, 0);
	kick(&w, 0);
	ck_assert(answered(&w, 0));
	set_msix(&w, 0);
	ck_assert(pin(&w));
	ck_assert_uint_eq(isr(&w), 2);
	ck_assert(!pin(&w));
	stop(&w);
}
END_TEST

/* A12 */
START_TEST(vectors)
{
	static const uint16_t none[] = {VECTORS, 64, 0x7ff, 0x800, 0xfffe, 0xffff};
	static struct world w;
	unsigned int v, q;
	size_t i;

	start(&w);
	unmask_vectors(&w);
	bring_up(&w, 0, true);
	for (q = 0; q < QUEUES; q++) {
		wr(&w, C_SELECT, q);
		for (v = 0; v < VECTORS; v++) {
			wr(&w, C_VECTOR, v);
			ck_assert_uint_eq(rd(&w, C_VECTOR), v);
			w.rig.sent = 0;
			offer(&w, q);
			kick(&w, q);
			ck_assert(answered(&w, q));
			ck_assert_uint_eq(w.rig.sent, 1);
			ck_assert_uint_eq(w.rig.last.data, 100 + v);
		}
		for (i = 0; i < ARRAY_SIZE(none); i++) {
			wr(&w, C_VECTOR, 0);
			wr(&w, C_VECTOR, none[i]);
			ck_assert_uint_eq(rd(&w, C_VECTOR), NO_VECTOR);
			wr(&w, C_CONFIG_VECTOR, none[i]);
			ck_assert_uint_eq(rd(&w, C_CONFIG_VECTOR), NO_VECTOR);
			w.rig.sent = 0;
			offer(&w, q);
			kick(&w, q);
			change_config(&w);
			ck_assert(answered(&w, q));
			ck_assert_uint_eq(w.rig.sent, 0);
		}
	}
	for (v = 0; v < VECTORS; v++) {
		wr(&w, C_CONFIG_VECTOR, v);
		w.rig.sent = 0;
		change_config(&w);
		ck_assert_uint_eq(w.rig.sent, 1);
		ck_assert_uint_eq(w.rig.last.data, 100 + v);
	}
	stop(&w);
}
END_TEST

START_TEST(masked_vectors)
{
	static struct world w;

	start(&w);
	unmask_vectors(&w);
	bring_up(&w, 0, true);
	rig_write(&w.rig, w.table + 16 + 12, 1, 4);
	offer(&w, 0);
	kick(&w, 0);
	ck_assert_uint_eq(w.rig.sent, 0);
	ck_assert_uint_eq(rig_read(&w.rig, w.pba, 8), 2);
	set_msix(&w, MSIX_ENABLE | MSIX_FMASK);
	rig_write(&w.rig, w.table + 16 + 12, 0, 4);
	offer(&w, 1);
	kick(&w, 1);
	change_config(&w);
	ck_assert_uint_eq(w.rig.sent, 0);
	ck_assert_uint_eq(rig_read(&w.rig, w.pba, 8), 7);
	rig_write(&w.rig, w.pba, 0, 8);
	ck_assert_uint_eq(rig_read(&w.rig, w.pba, 8), 7);
	set_msix(&w, MSIX_ENABLE);
	ck_assert_uint_eq(w.rig.sent, 3);
	ck_assert_uint_eq(rig_read(&w.rig, w.pba, 8), 0);
	stop(&w);
}
END_TEST

/* --- MSI-X switched on and off while the device works ------------------------------------ */

/* What the pin has told, and nobody has read, is told by messages. */
START_TEST(switched_on_late)
{
	static struct world w;

	start(&w);
	unmask_vectors(&w);
	bring_up(&w, 0, true);
	set_msix(&w, 0);
	ck_assert(!pin(&w));
	offer(&w, 1);
	kick(&w, 1);
	ck_assert(pin(&w));
	set_msix(&w, MSIX_ENABLE);
	ck_assert(!pin(&w));
	/* Which queue it was the ISR status does not say. */
	ck_assert_uint_eq(w.rig.sent, QUEUES);
	ck_assert_uint_eq(isr(&w), 1);
	set_msix(&w, 0);
	w.rig.sent = 0;
	change_config(&w);
	set_msix(&w, MSIX_ENABLE);
	ck_assert_uint_eq(w.rig.sent, 1);
	ck_assert_uint_eq(w.rig.last.data, 100);
	/* What has been read is done with. */
	ck_assert_uint_eq(isr(&w), 2);
	set_msix(&w, 0);
	set_msix(&w, MSIX_ENABLE);
	ck_assert_uint_eq(w.rig.sent, 1);
	stop(&w);
}
END_TEST

/* What waits in a masked vector is told by the pin. */
START_TEST(switched_off_while_masked)
{
	static struct world w;

	start(&w);
	unmask_vectors(&w);
	bring_up(&w, 0, true);
	set_msix(&w, MSIX_ENABLE | MSIX_FMASK);
	set_msix(&w, 0);
	ck_assert(!pin(&w));
	set_msix(&w, MSIX_ENABLE | MSIX_FMASK);
	offer(&w, 0);
	kick(&w, 0);
	ck_assert_uint_eq(w.rig.sent, 0);
	set_msix(&w, 0);
	ck_assert(pin(&w));
	ck_assert_uint_eq(isr(&w), 1);
	ck_assert(!pin(&w));
	stop(&w);
}
END_TEST

/* The vector's route goes, and the device does not know yet that the pin is the way now. */
static void nobody_enters(struct pci_rig *rig)
{
	struct world *w = container_of(rig, struct world, rig);

	ck_assert_int_eq(pthread_mutex_trylock(&w->probe->vdev.lock), EBUSY);
}

START_TEST(switching_is_one_step)
{
	static struct world w;

	start(&w);
	unmask_vectors(&w);
	bring_up(&w, 0, true);
	w.rig.on_release = nobody_enters;
	set_msix(&w, 0);
	ck_assert_uint_eq(w.rig.live, 0);
	w.rig.on_release = NULL;
	stop(&w);
}
END_TEST

static void make_device_without_sink(struct world *w)
{
	struct device *dev = virtio_pci_device(w->pci);

	dev->ops->destroy(dev);
	pci_rig_stop(&w->rig);
	pci_rig_start(&w->rig, &w->log);
	make_device(w, NULL);
}

/* Nothing takes messages: the pin is all there is. */
START_TEST(no_messages)
{
	static struct world w;

	start(&w);
	make_device_without_sink(&w);
	ck_assert_uint_eq(rig_find_cap(&w.rig, DEVFN, PCI_CAP_ID_MSIX, 0), 0);
	ck_assert_uint_eq(virtio_pci_vectors(w.pci), 0);
	map_bar(&w);
	ck_assert(negotiate(&w, 0));
	wr(&w, C_SELECT, 1);
	wr(&w, C_VECTOR, 0);
	ck_assert_uint_eq(rd(&w, C_VECTOR), NO_VECTOR);
	wr(&w, C_CONFIG_VECTOR, 0);
	ck_assert_uint_eq(rd(&w, C_CONFIG_VECTOR), NO_VECTOR);
	rig_write(&w.rig, w.table, UINT64_MAX, 8);
	ck_assert_uint_eq(rig_read(&w.rig, w.table, 8), 0);
	ck_assert_uint_eq(rig_read(&w.rig, w.pba, 8), 0);
	w.msix = 0x40; /* a vendor's capability: nothing to write */
	sane_request(&w, false);
	change_config(&w);
	ck_assert_uint_eq(isr(&w), 2);
	ck_assert_uint_eq(w.rig.updates, 0);
	stop(&w);
}
END_TEST

/* --- configuration space of the device
 * ---------------------------------------------------------------- */

/* A9, A10 */
START_TEST(device_config)
{
	static struct world w;
	unsigned int at, size, i;
	uint64_t want;

	start(&w);
	for (size = 1; size <= 8; size *= 2) {
		for (at = 0; at < 0x100; at++) {
			for (want = 0, i = 0; i < size && at + i < CONFIG_SIZE; i++)
				want |= (uint64_t)(0x10 + at + i) << 8 * i;
			ck_assert_uint_eq(rig_read(&w.rig, w.config + at, size), want);
			rig_write(&w.rig, w.config + at, UINT64_MAX, size);
		}
	}
	ck_assert(negotiate(&w, 0));
	for (at = 0; at < 0x1000; at++)
		rig_write(&w.rig, w.config + at, 0xee, 1);
	for (at = 0; at < CONFIG_SIZE; at++)
		ck_assert_uint_eq(rig_read(&w.rig, w.config + at, 1),
				  at == CONFIG_WRITABLE ? 0xee : 0x10 + at);
	ck_assert_uint_eq(rd(&w, C_GENERATION), 0);
	change_config(&w);
	ck_assert_uint_eq(rd(&w, C_GENERATION), 1);
	/* Eight bits tell a change from none, however often it changed. */
	for (i = 0; i < 256; i++)
		change_config(&w);
	ck_assert_uint_eq(rd(&w, C_GENERATION), 2);
	ck_assert_uint_eq(rd(&w, C_GENERATION), 2);
	stop(&w);
}
END_TEST

/* --- the configuration access capability
 * ------------------------------------------------------------------ */

static void set_access(struct world *w, uint32_t bar, uint32_t offset, uint32_t length)
{
	rig_config_write(&w->rig, DEVFN, w->access + 4, bar, 1);
	rig_config_write(&w->rig, DEVFN, w->access + 8, offset, 4);
	rig_config_write(&w->rig, DEVFN, w->access + 12, length, 4);
}

static uint32_t access_read(struct world *w, uint32_t offset, uint32_t length)
{
	set_access(w, 0, offset, length);
	return (uint32_t)rig_config_read(&w->rig, DEVFN, w->access + 16, length);
}

static void access_write(struct world *w, uint32_t offset, uint32_t value, uint32_t length)
{
	set_access(w, 0, offset, length);
	rig_config_write(&w->rig, DEVFN, w->access + 16, value, length);
}

START_TEST(access_capability)
{
	static struct world w;
	uint32_t common, config, notify, table;

	start(&w);
	bring_up(&w, 0, false);
	common = (uint32_t)(w.common - BAR_AT);
	config = (uint32_t)(w.config - BAR_AT);
	notify = (uint32_t)(w.notify - BAR_AT);
	table = (uint32_t)(w.table - BAR_AT);
	/* Without memory decoding, as firmware does it. */
	rig_command(&w.rig, DEVFN, 0, PCI_COMMAND_MEMORY);
	ck_assert_uint_eq(access_read(&w, common + C_STATUS, 1), 15);
	ck_assert_uint_eq(access_read(&w, common + C_NUM_QUEUES, 2), QUEUES);
	ck_assert_uint_eq(access_read(&w, config, 4), 0x13121110);
	access_write(&w, common + C_SELECT, 1, 2);
	ck_assert_uint_eq(access_read(&w, common + C_SELECT, 2), 1);
	access_write(&w, common + C_CONFIG_VECTOR, 0xffff0002, 2);
	ck_assert_uint_eq(access_read(&w, common + C_CONFIG_VECTOR, 2), 2);
	access_write(&w, table, 0x1234567c, 4);
	ck_assert_uint_eq(access_read(&w, table, 4), 0x1234567c);
	/* A field needs its own width here as well. */
	ck_assert_uint_eq(access_read(&w, common + C_STATUS, 4), 0);
	offer(&w, 0);
	access_write(&w, notify, 0, 2);
	ck_assert(answered(&w, 0));
	ck_assert(pin(&w));
	ck_assert_uint_eq(access_read(&w, (uint32_t)(w.isr - BAR_AT), 1), 1);
	ck_assert(!pin(&w));
	/* The data is there to be read by other widths; each read is an access. */
	set_access(&w, 0, config, 4);
	ck_assert_uint_eq(rig_config_read(&w.rig, DEVFN, w.access + 17, 1), 0x11);
	ck_assert_uint_eq(rig_config_read(&w.rig, DEVFN, w.access + 18, 2), 0x1312);
	stop(&w);
}
END_TEST

/* A14 */
START_TEST(access_nonsense)
{
	static const uint32_t lengths[] = {0, 3, 5, 8, 16, 0x10000, UINT32_MAX};
	static const uint32_t offsets[] = {BAR_SIZE,   BAR_SIZE - 2,   0x10000,
					   UINT32_MAX, UINT32_MAX - 3, 0x80000000};
	static struct world w;
	size_t i;
	unsigned int bar;

	start(&w);
	bring_up(&w, 0, false);
	set_access(&w, 0, 0, 0);
	rig_config_write(&w.rig, DEVFN, w.access + 16, 0xa5a5a5a5, 4);
	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		set_access(&w, 0, (uint32_t)(w.common - BAR_AT) + C_STATUS, lengths[i]);
		ck_assert_uint_eq(rig_config_read(&w.rig, DEVFN, w.access + 12, 4), lengths[i]);
		ck_assert_uint_eq(rig_config_read(&w.rig, DEVFN, w.access + 16, 4), 0xa5a5a5a5);
		rig_config_write(&w.rig, DEVFN, w.access + 16, 0, 1);
		rig_config_write(&w.rig, DEVFN, w.access + 16, 0xa5, 1);
	}
	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		set_access(&w, 0, offsets[i], 4);
		ck_assert_uint_eq(rig_config_read(&w.rig, DEVFN, w.access + 16, 4), 0xa5a5a5a5);
		rig_config_write(&w.rig, DEVFN, w.access + 16, 0xa5a5a5a5, 4);
	}
	/* Not aligned. */
	set_access(&w, 0, (uint32_t)(w.config - BAR_AT) + 1, 4);
	ck_assert_uint_eq(rig_config_read(&w.rig, DEVFN, w.access + 16, 4), 0xa5a5a5a5);
	for (bar = 1; bar < 256; bar++) {
		set_access(&w, bar, (uint32_t)(w.common - BAR_AT) + C_STATUS, 1);
		ck_assert_uint_eq(rig_config_read(&w.rig, DEVFN, w.access + 16, 1), 0xa5);
		rig_config_write(&w.rig, DEVFN, w.access + 16, 0, 1);
		rig_config_write(&w.rig, DEVFN, w.access + 16, 0xa5, 1);
	}
	ck_assert_uint_eq(rd(&w, C_STATUS), 15);
	/* The last byte that is there. */
	set_access(&w, 0, BAR_SIZE - 4, 4);
	ck_assert_uint_eq(rig_config_read(&w.rig, DEVFN, w.access + 16, 4), 0);
	/* What surrounds it can't be written. */
	rig_config_write(&w.rig, DEVFN, w.access, 0, 4);
	ck_assert_uint_eq(rig_config_read(&w.rig, DEVFN, w.access + 3, 1), 5);
	sane_request(&w, false);
	stop(&w);
}
END_TEST

/* --- bus master, reset
 * ----------------------------------------------------------------------------------------- */

START_TEST(bus_master)
{
	static struct world w;

	start(&w);
	bring_up(&w, 0, false);
	offer(&w, 0);
	rig_command(&w.rig, DEVFN, 0, PCI_COMMAND_MASTER);
	kick(&w, 0);
	ck_assert(!answered(&w, 0));
	ck_assert_uint_eq(rd(&w, C_STATUS), 15);
	/* Nothing is lost. */
	rig_command(&w.rig, DEVFN, PCI_COMMAND_MASTER, 0);
	ck_assert(answered(&w, 0));
	ck_assert_uint_eq(isr(&w), 1);
	ck_assert_uint_eq(w.probe->gone, 2);
	/* A pause does not turn it on behind the guest's back. */
	rig_command(&w.rig, DEVFN, 0, PCI_COMMAND_MASTER);
	offer(&w, 1);
	kick(&w, 1);
	virtio_pci_device(w.pci)->ops->quiesce(virtio_pci_device(w.pci));
	virtio_pci_device(w.pci)->ops->resume(virtio_pci_device(w.pci));
	ck_assert(!answered(&w, 1));
	rig_command(&w.rig, DEVFN, PCI_COMMAND_MASTER, 0);
	ck_assert(answered(&w, 1));
	/* A driver that never turns it on gets nothing. */
	rig_command(&w.rig, DEVFN, 0, PCI_COMMAND_MASTER);
	bring_up(&w, 0, false);
	ck_assert_uint_eq(w.probe->gone, 3);
	offer(&w, 0);
	kick(&w, 0);
	ck_assert(!answered(&w, 0));
	sane_request(&w, false);
	stop(&w);
}
END_TEST

/* Who holds the device for a moment does not let it go while the guest forbids it memory. */
START_TEST(bus_master_while_held)
{
	static struct world w;
	struct device *dev;

	start(&w);
	dev = virtio_pci_device(w.pci);
	bring_up(&w, 0, false);
	virtio_device_quiesce(&w.probe->vdev);
	rig_command(&w.rig, DEVFN, 0, PCI_COMMAND_MASTER);
	virtio_device_resume(&w.probe->vdev);
	offer(&w, 0);
	kick(&w, 0);
	ck_assert(!answered(&w, 0));
	/* And the other way round. */
	virtio_device_quiesce(&w.probe->vdev);
	rig_command(&w.rig, DEVFN, PCI_COMMAND_MASTER, 0);
	ck_assert(!answered(&w, 0));
	virtio_device_resume(&w.probe->vdev);
	ck_assert(answered(&w, 0));
	/* A machine's reset in a pause. */
	dev->ops->quiesce(dev);
	dev->ops->reset(dev);
	dev->ops->resume(dev);
	sane_request(&w, false);
	stop(&w);
}
END_TEST

START_TEST(machine_reset)
{
	static struct world w;
	struct device *dev;
	struct xfer before, after;

	start(&w);
	dev = virtio_pci_device(w.pci);
	dev->ops->reset(dev);
	xfer_save_init(&before);
	dev->ops->transfer(dev, &before);
	unmask_vectors(&w);
	map_bar(&w);
	unmask_vectors(&w);
	bring_up(&w, 0, true);
	set_access(&w, 7, 8, 9);
	offer(&w, 0);
	kick(&w, 0);
	change_config(&w);
	rig_command(&w.rig, DEVFN, PCI_COMMAND_INTX_DISABLE, 0);
	set_msix(&w, 0);
	dev->ops->reset(dev);
	ck_assert(!pin(&w));
	ck_assert_uint_eq(w.rig.live, 0);
	ck_assert_uint_eq(rig_read(&w.rig, w.common, 4), UINT32_MAX);
	w.probe->vdev.generation = 0;
	w.probe->vdev.config_stale = false;
	xfer_save_init(&after);
	dev->ops->transfer(dev, &after);
	ck_assert_uint_eq(before.len, after.len);
	ck_assert_mem_eq(before.buf, after.buf, before.len);
	xfer_free(&before);
	xfer_free(&after);
	sane_request(&w, true);
	sane_request(&w, false);
	stop(&w);
}
END_TEST

static void *complete_later(void *arg)
{
	struct world *w = arg;
	struct probe *probe = w->probe;
	unsigned int i;

	for (i = 0; i < 3; i++) {
		usleep(2000);
		virtio_enter_device(&probe->vdev);
		if (probe->nr_held) {
			fill(probe->held[probe->nr_held - 1]);
			virtio_complete(&probe->vdev, probe->held[--probe->nr_held]);
		}
		virtio_leave(&probe->vdev);
	}
	return NULL;
}

/* A8: with requests in flight: reset, bus master off, and the machine's reset wait. */
START_TEST(in_flight)
{
	static struct world w;
	pthread_t thread;
	unsigned int i;

	start(&w);
	w.probe->hold = true;
	bring_up(&w, 0, false);
	for (i = 0; i < 3; i++)
		offer(&w, 0);
	kick(&w, 0);
	ck_assert_uint_eq(w.probe->nr_held, 3);
	ck_assert_int_eq(pthread_create(&thread, NULL, complete_later, &w), 0);
	if (_i == 0)
		wr(&w, C_STATUS, 0);
	else if (_i == 1)
		rig_command(&w.rig, DEVFN, 0, PCI_COMMAND_MASTER);
	else
		virtio_pci_device(w.pci)->ops->reset(virtio_pci_device(w.pci));
	ck_assert_uint_eq(w.probe->nr_held, 0);
	pthread_join(thread, NULL);
	if (_i == 1)
		for (i = 0; i < 3; i++)
			ck_assert(answered(&w, 0));
	w.probe->hold = false;
	sane_request(&w, false);
	stop(&w);
}
END_TEST

/* --- save and load
 * ------------------------------------------------------------------------------------------------
 */

/* As the machine does: however often, one resume follows. */
static void quiesce(struct world *w)
{
	struct device *dev = virtio_pci_device(w->pci);

	if (!w->quiet)
		dev->ops->quiesce(dev);
	w->quiet = true;
}

static void save(struct world *w, struct xfer *x)
{
	struct device *host = pci_host_device(w->rig.host), *dev = virtio_pci_device(w->pci);

	xfer_save_init(x);
	host->ops->transfer(host, x);
	quiesce(w);
	dev->ops->transfer(dev, x);
	ck_assert_int_eq(xfer_done(x, NULL), 0);
}

static void resume(struct world *w)
{
	struct device *host = pci_host_device(w->rig.host), *dev = virtio_pci_device(w->pci);
	unsigned int i;

	host->ops->resume(host);
	dev->ops->resume(dev);
	w->quiet = false;
	for (i = 0; i < PCI_PINS; i++)
		w->rig.repeats[i] = 0;
}

static bool load(struct world *w, const uint8_t *buf, size_t len)
{
	struct device *host = pci_host_device(w->rig.host), *dev = virtio_pci_device(w->pci);
	struct xfer x, y;

	xfer_load_init(&x, buf, PCI_CONFIG_SIZE);
	host->ops->transfer(host, &x);
	ck_assert_int_eq(xfer_done(&x, NULL), 0);
	xfer_load_init(&y, buf + PCI_CONFIG_SIZE, len - PCI_CONFIG_SIZE);
	quiesce(w);
	dev->ops->transfer(dev, &y);
	return !xfer_done(&y, NULL);
}

/* The other machine has the same memory. */
static void copy_memory(struct world *to, struct world *from)
{
	memcpy(drv_ptr(&to->mem, DRV_RAM, DRV_BANK), drv_ptr(&from->mem, DRV_RAM, DRV_BANK),
	       DRV_BANK);
	memcpy(to->ring, from->ring, sizeof(to->ring));
	to->ring[0].mem = to->ring[1].mem = &to->mem;
}

START_TEST(save_load)
{
	static struct world w, other;
	bool msix = _i & 1;
	struct xfer x, y;

	start(&w);
	start(&other);
	if (msix)
		unmask_vectors(&w);
	bring_up(&w, PROBE_FEATURE, msix);
	rig_write(&w.rig, w.config + CONFIG_WRITABLE, 0x77, 1);
	set_access(&w, 0, 4, 4);
	if (msix)
		rig_write(&w.rig, w.table + 16 + 12, 1, 4);
	offer(&w, 0);
	kick(&w, 0);
	change_config(&w);
	save(&w, &x);
	/* What was made available meanwhile is found after the resume. */
	offer(&w, 1);
	copy_memory(&other, &w);
	other.rig.level[3] = true;
	ck_assert(load(&other, x.buf, x.len));
	ck_assert(!other.rig.level[1]);
	ck_assert_uint_eq(other.rig.live, 0);
	save(&other, &y);
	ck_assert_uint_eq(x.len, y.len);
	ck_assert_mem_eq(x.buf, y.buf, x.len);
	other.rig.sent = 0;
	if (_i & 2) {
		/* What happens to a machine that has not gone on yet is told when it does. */
		change_config(&other);
		ck_assert_uint_eq(other.rig.sent, 0);
		resume(&other);
		ck_assert_uint_eq(other.rig.sent, msix ? 2 : 0);
		ck_assert_uint_eq(isr(&other), msix ? 2 : 3);
		goto out;
	}
	resume(&other);
	ck_assert(!other.rig.level[3]);
	ck_assert_uint_eq(pin(&other), !msix);
	ck_assert(answered(&other, 0));
	ck_assert(answered(&other, 1));
	if (msix) {
		ck_assert_uint_eq(other.rig.sent, 1);
		ck_assert_uint_eq(rig_read(&other.rig, other.pba, 8), 2);
		rig_write(&other.rig, other.table + 16 + 12, 0, 4);
		ck_assert_uint_eq(other.rig.sent, 2);
		ck_assert_uint_eq(other.rig.last.data, 101);
	}
	ck_assert_uint_eq(isr(&other), msix ? 2 : 3);
	ck_assert_uint_eq(rig_read(&other.rig, other.config + CONFIG_WRITABLE, 1), 0x77);
	offer(&other, 1);
	kick(&other, 1);
	ck_assert(answered(&other, 1));
out:
	sane_request(&other, msix);
	xfer_free(&x);
	xfer_free(&y);
	stop(&w);
	stop(&other);
}
END_TEST

START_TEST(load_garbage)
{
	static struct world w;
	struct prng p = prng_start("virtio_pci: load_garbage");
	struct xfer good, x, y;
	unsigned int n, refused = 0;
	size_t len;

	start(&w);
	unmask_vectors(&w);
	bring_up(&w, PROBE_FEATURE, true);
	save(&w, &good);
	for (len = PCI_CONFIG_SIZE; len < good.len; len++)
		ck_assert(!load(&w, good.buf, len));
	for (n = 0; n < 20000; n++) {
		size_t at = PCI_CONFIG_SIZE +
			    prng_below(&p, (unsigned int)(good.len - PCI_CONFIG_SIZE));
		uint8_t old = good.buf[at];

		good.buf[at] = (uint8_t)prng_u64(&p);
		if (load(&w, good.buf, good.len)) {
			/* What was taken is what comes out. */
			save(&w, &x);
			ck_assert_mem_eq(x.buf, good.buf, good.len);
			xfer_free(&x);
			resume(&w);
			rd(&w, C_STATUS);
		} else {
			refused++;
		}
		good.buf[at] = old;
	}
	ck_assert_uint_gt(refused, 1000);
	ck_assert(load(&w, good.buf, good.len));
	save(&w, &y);
	ck_assert_mem_eq(y.buf, good.buf, good.len);
	resume(&w);
	sane_request(&w, true);
	xfer_free(&good);
	xfer_free(&y);
	stop(&w);
}
END_TEST

/* --- at random
 * ------------------------------------------------------------------------------------------------------
 */

static uint64_t random_bar_access(struct world *w, struct prng *p)
{
	unsigned int size = 1U << prng_below(p, 4), part = prng_below(p, 8);
	uint64_t at = BAR_AT + 0x1000 * part + prng_below(p, part == 4 ? 64 : 0x48);
	uint64_t value = prng_u64(p) >> prng_below(p, 64);

	if (prng_below(p, 2))
		return rig_read(&w->rig, at, size);
	rig_write(&w->rig, at, value, size);
	return 0;
}

static uint64_t random_field(struct world *w, struct prng *p)
{
	size_t f = prng_below(p, ARRAY_SIZE(fields));
	uint64_t value = prng_below(p, 4) ? prng_below(p, 20) : prng_u64(p);

	if (prng_below(p, 2))
		return rd(w, fields[f].at);
	/* Not the status, nearly always: it would be 0 all the time. */
	if (fields[f].at != C_STATUS || !prng_below(p, 8))
		wr(w, fields[f].at, value);
	return 0;
}

static uint64_t random_access_cap(struct world *w, struct prng *p)
{
	uint32_t offset = 0x1000 * prng_below(p, 6) + prng_below(p, 0x40);

	if (prng_below(p, 2))
		return access_read(w, offset, 1U << prng_below(p, 3));
	if (offset != C_STATUS)
		access_write(w, offset, prng_below(p, 300), 1U << prng_below(p, 3));
	return 0;
}

static uint64_t random_step(struct world *w, struct prng *p)
{
	unsigned int q = prng_below(p, QUEUES);
	uint64_t got = 0;

	switch (prng_below(p, 14)) {
	case 0:
	case 1:
		return random_bar_access(w, p);
	case 2:
	case 3:
		return random_field(w, p);
	case 4:
		return random_access_cap(w, p);
	case 5:
		set_msix(w, (uint16_t)(prng_below(p, 4) << 14));
		return rig_config_read(&w->rig, DEVFN, w->msix, 4);
	case 6:
		rig_config_write(&w->rig, DEVFN, PCI_COMMAND, prng_below(p, 3) ? 6 : prng_u64(p),
				 2);
		return rig_config_read(&w->rig, DEVFN, PCI_COMMAND, 4);
	case 7:
		map_bar(w);
		wr(w, C_STATUS, 0);
		bring_up(w, prng_below(p, 2) ? FEAT_RING_RESET : FEAT_EVENT_IDX, prng_below(p, 2));
		return 0;
	case 8:
		rig_write(&w->rig, w->table + 16 * prng_below(p, VECTORS) + 12, prng_below(p, 2),
			  4);
		return rig_read(&w->rig, w->pba, 8);
	case 9:
		return isr(w);
	case 10:
		change_config(w);
		return 0;
	default:
		if (prng_below(p, 2))
			offer(w, q);
		rig_write(&w->rig, w->notify + 4 * q, q, 2);
		got = drv_used_idx(&w->ring[q]);
		return got;
	}
}

/* The same steps, with and without a save and a load somewhere, have the same results. */
START_TEST(random_with_save_load)
{
	static struct world one, two, three;
	struct prng p = prng_start("virtio_pci: random_with_save_load"), q = p, cut = p;
	struct world *here = &two, *there = &three, *swap;
	unsigned int n = 60000, answers = 0, sent;
	struct xfer x;

	cut.state++;
	start(&one);
	start(&two);
	start(&three);
	while (n--) {
		uint64_t a, b;

		sent = here->rig.sent;
		one.rig.sent = 0;
		a = random_step(&one, &p);
		b = random_step(here, &q);
		answers += one.rig.sent;
		if (a != b || one.rig.sent != here->rig.sent - sent ||
		    memcmp(one.rig.level, here->rig.level, sizeof(one.rig.level)))
			ck_abort_msg("%u steps before the end: 0x%llx and 0x%llx", n,
				     (unsigned long long)a, (unsigned long long)b);
		if (prng_below(&cut, 40))
			continue;
		/* A pause of both, so that both look into their rings again. */
		quiesce(&one);
		resume(&one);
		save(here, &x);
		copy_memory(there, here);
		ck_assert(load(there, x.buf, x.len));
		resume(there);
		xfer_free(&x);
		swap = here;
		here = there;
		there = swap;
	}
	ck_assert_uint_gt(answers, 100);
	stop(&one);
	stop(&two);
	stop(&three);
}
END_TEST

/* --- threads
 * ------------------------------------------------------------------------------------------------------------
 */

static void *toggler(void *arg)
{
	struct world *w = arg;
	unsigned int i;

	for (i = 0; i < 3000; i++) {
		rig_command(&w->rig, DEVFN, i % 2 ? PCI_COMMAND_MASTER : 0,
			    i % 2 ? 0 : PCI_COMMAND_MASTER);
		set_msix(w, i % 3 ? MSIX_ENABLE : 0);
		rig_set_bar64(&w->rig, DEVFN, 0, BAR_AT + i % 2 * BAR_SIZE);
		rig_write(&w->rig, w->table + 16 + 12, i % 5 == 0, 4);
		access_read(w, 0x2000, 4);
	}
	rig_command(&w->rig, DEVFN, PCI_COMMAND_MASTER, 0);
	return NULL;
}

START_TEST(two_harts)
{
	static struct world w;
	pthread_t thread;
	unsigned int i;

	start(&w);
	unmask_vectors(&w);
	bring_up(&w, 0, true);
	ck_assert_int_eq(pthread_create(&thread, NULL, toggler, &w), 0);
	for (i = 0; i < 3000; i++) {
		if ((uint16_t)(w.ring[0].avail_idx - drv_used_idx(&w.ring[0])) < NUM)
			offer(&w, 0);
		rig_write(&w.rig, w.notify, 0, 2);
		isr(&w);
		rd(&w, C_STATUS);
	}
	pthread_join(thread, NULL);
	sane_request(&w, true);
	stop(&w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_pci");
	TCase *t = tcase_create("virtio_pci");

	tcase_add_test(t, identity);
	tcase_add_test(t, kinds);
	tcase_add_test(t, good_way);
	tcase_add_test(t, defaults);
	tcase_add_test(t, driver_features_read_back);
	tcase_add_test(t, widths);
	tcase_add_test(t, absent_queue);
	tcase_add_test(t, notify_out_of_place);
	tcase_add_test(t, endless_work);
	tcase_add_test(t, bad_layout);
	tcase_add_test(t, packed_size);
	tcase_add_test(t, frozen_layout);
	tcase_add_test(t, queue_reset);
	tcase_add_test(t, status_and_storms);
	tcase_add_test(t, isr_status);
	tcase_add_test(t, vectors);
	tcase_add_test(t, masked_vectors);
	tcase_add_test(t, switched_on_late);
	tcase_add_test(t, switched_off_while_masked);
	tcase_add_test(t, switching_is_one_step);
	tcase_add_test(t, no_messages);
	tcase_add_test(t, device_config);
	tcase_add_test(t, access_capability);
	tcase_add_test(t, access_nonsense);
	tcase_add_test(t, bus_master);
	tcase_add_test(t, bus_master_while_held);
	tcase_add_test(t, machine_reset);
	tcase_add_loop_test(t, in_flight, 0, 3);
	tcase_add_loop_test(t, save_load, 0, 4);
	tcase_add_test(t, load_garbage);
	tcase_add_test(t, random_with_save_load);
	tcase_add_test(t, two_harts);
	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	return unit_main(s);
}
