// SPDX-License-Identifier: GPL-2.0-only
/*
 * Queues that somebody else serves, connected past lkvm: doorbells that follow the
 * registers where the guest rings, and eventfds that follow the MSI-X vectors the driver
 * chose, its masks, resets and BARs. Behind both transports, with a device that hands over
 * queue 0 and 1 and serves queue 2 itself.
 */
#include "pci_rig.h"
#include "prng.h"
#include "unit.h"
#include "virtio_driver.h"

#include "lkvm/virtio/mmio.h"
#include "lkvm/virtio/pci.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define QUEUES 3
#define AWAY 2
#define NUM 8
#define BELLS 16
#define BAR_AT (RIG_HIGH + 7 * MIB)
#define DEVFN (1 * PCI_FUNCTIONS)
#define NOTIFY 0x3000
#define TABLE 0x4000
#define PBA 0x5000
#define MSIX_ENABLE 0x8000
#define MSIX_FMASK 0x4000
#define ADDRESS UINT64_C(0x28000000)

/* Eventfds are numbers here: nobody reads or writes them. */
#define KICK(i) (100 + (int)(i))
#define CALL(i) (200 + (int)(i))

struct world {
	struct virtio_device vdev;
	struct guest_memory mem;
	struct virtio_doorbell bells[BELLS]; /* size 0: free */
	bool refuse;
	unsigned int rung, signalled;
	struct pci_rig rig;
	struct virtio_pci *pci;
	struct drv drv;
	struct drv_ring ring[QUEUES];
	struct virtq_layout layout[AWAY];
	uint16_t next[AWAY];
	bool away;
};

static struct world w;

/* --- the device ------------------------------------------------------------------------ */

static void on_go(struct virtio_device *vdev)
{
	unsigned int i;

	for (i = 0; i < AWAY; i++)
		if (!virtio_queue_ready(vdev, i))
			return;
	for (i = 0; i < AWAY; i++) {
		w.next[i] = virtio_hand_over(vdev, i, &w.layout[i]);
		virtio_served(vdev, i, KICK(i), CALL(i));
	}
	w.away = true;
}

static void on_halt(struct virtio_device *vdev)
{
	unsigned int i;

	for (i = 0; w.away && i < AWAY; i++)
		virtio_take_back(vdev, i, w.next[i]);
	w.away = false;
}

static void on_notify(struct virtio_device *vdev, unsigned int index)
{
	(void)vdev;
	(void)index;
	w.rung++;
}

static void on_destroy(struct virtio_device *vdev)
{
	virtio_device_fini(vdev);
}

static const struct virtio_device_ops ops = {
	.kind = "direct",
	.id = 42,
	.go = on_go,
	.halt = on_halt,
	.notify = on_notify,
	.destroy = on_destroy,
};

/* --- the world ---------------------------------------------------------------------------- */

static void run_soon(void *opaque)
{
	(void)opaque;
}

static bool same(const struct virtio_doorbell *a, const struct virtio_doorbell *b)
{
	return a->size == b->size && a->address == b->address && a->match == b->match &&
	       a->value == b->value;
}

static int doorbell(void *opaque, const struct virtio_doorbell *bell, bool on)
{
	struct virtio_doorbell *place = NULL;
	unsigned int i;

	(void)opaque;
	for (i = 0; i < BELLS; i++) {
		if (w.bells[i].size && same(&w.bells[i], bell)) {
			ck_assert(!on);
			ck_assert_int_eq(w.bells[i].fd, bell->fd);
			w.bells[i].size = 0;
			return 0;
		}
		if (!w.bells[i].size)
			place = &w.bells[i];
	}
	ck_assert(on && place);
	if (w.refuse)
		return -ENOSPC;
	*place = *bell;
	return 0;
}

static const struct virtio_transport_env env = {.run_soon = run_soon, .doorbell = doorbell};

static unsigned int bells(void)
{
	unsigned int i, n = 0;

	for (i = 0; i < BELLS; i++)
		n += w.bells[i].size != 0;
	return n;
}

/* The eventfd that a store rings; 0: it comes to lkvm. */
static int rings(uint64_t address, unsigned int size, uint32_t value)
{
	unsigned int i;

	for (i = 0; i < BELLS; i++)
		if (w.bells[i].size == size && w.bells[i].address == address &&
		    (!w.bells[i].match || w.bells[i].value == value))
			return w.bells[i].fd;
	return 0;
}

static void start_device(void)
{
	gpa_t at = DRV_RAM + 0x1000;
	unsigned int i;

	memset(&w, 0, sizeof(w));
	drv_memory(&w.mem);
	ck_assert_int_eq(
		virtio_device_init(&w.vdev, &ops, "direct0", &w.mem, NULL, 0, QUEUES, NUM, 0, NULL),
		0);
	for (i = 0; i < QUEUES; i++)
		at = drv_ring_init(&w.ring[i], &w.mem, NUM, at);
}

/* --- mmio ------------------------------------------------------------------------------------ */

static struct virtio_mmio *start_mmio(void)
{
	struct virtio_mmio *mmio;

	start_device();
	mmio = virtio_mmio_create(&w.vdev, drv_line(&w.drv), &env, &w);
	ck_assert_ptr_nonnull(mmio);
	w.drv.dev = mmio;
	return mmio;
}

static void stop_mmio(struct virtio_mmio *mmio)
{
	virtio_mmio_device(mmio)->ops->destroy(virtio_mmio_device(mmio));
	ck_assert_uint_eq(bells(), 0);
	memory_destroy(&w.mem);
}

static void drive_mmio(void)
{
	unsigned int i;

	ck_assert(drv_start(&w.drv, 0));
	for (i = 0; i < QUEUES; i++)
		ck_assert(drv_queue(&w.drv, i, &w.ring[i]));
	drv_go(&w.drv);
}

START_TEST(mmio)
{
	struct virtio_mmio *m = start_mmio();
	struct device *dev = virtio_mmio_device(m);

	ck_assert_uint_eq(bells(), 0);
	drive_mmio();
	ck_assert_uint_eq(bells(), AWAY);
	ck_assert_int_eq(rings(0x50, 4, 0), KICK(0));
	ck_assert_int_eq(rings(0x50, 4, 1), KICK(1));
	ck_assert_int_eq(rings(0x50, 4, 2), 0);
	/* What comes anyhow is passed on, and a call interrupts by the line. */
	drv_wr(&w.drv, R_NOTIFY, 0);
	ck_assert_uint_eq(w.rung, 1);
	virtio_enter_device(&w.vdev);
	virtio_signal(&w.vdev, 1);
	virtio_leave(&w.vdev);
	ck_assert(w.drv.level);
	dev->ops->quiesce(dev);
	ck_assert_uint_eq(bells(), 0);
	dev->ops->resume(dev);
	ck_assert_uint_eq(bells(), AWAY);
	drv_wr(&w.drv, R_STATUS, 0);
	ck_assert_uint_eq(bells(), 0);
	/* No room in KVM: exits. */
	w.refuse = true;
	drive_mmio();
	ck_assert_uint_eq(bells(), 0);
	drv_wr(&w.drv, R_NOTIFY, 0);
	ck_assert_uint_gt(w.rung, 1);
	w.refuse = false;
	drv_wr(&w.drv, R_STATUS, 0);
	drive_mmio();
	ck_assert_uint_eq(bells(), AWAY);
	stop_mmio(m);
}
END_TEST

/* --- pci ---------------------------------------------------------------------------------------
 */

/* @vectors: 0 for as many as the device wants */
static void start_pci_with(unsigned int vectors)
{
	start_device();
	w.vdev.vectors = vectors;
	pci_rig_start(&w.rig, NULL);
	w.pci = virtio_pci_create(&w.vdev, w.rig.host, &w.rig.sink, &env, &w);
	ck_assert_ptr_nonnull(w.pci);
	rig_set_bar64(&w.rig, DEVFN, 0, BAR_AT);
	rig_command(&w.rig, DEVFN, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0);
}

static void start_pci(void)
{
	start_pci_with(0);
}

static void stop_pci(void)
{
	struct device *dev = virtio_pci_device(w.pci);

	dev->ops->destroy(dev);
	ck_assert_uint_eq(bells(), 0);
	ck_assert_uint_eq(rig_fds(&w.rig), 0);
	pci_rig_stop(&w.rig);
	memory_destroy(&w.mem);
}

static void put(uint64_t offset, uint64_t value, unsigned int size)
{
	rig_write(&w.rig, BAR_AT + offset, value, size);
}

static void control(uint16_t value)
{
	rig_config_write(&w.rig, DEVFN, rig_find_cap(&w.rig, DEVFN, PCI_CAP_ID_MSIX, 0) + 2, value,
			 2);
}

static void vector(unsigned int queue, uint16_t vector)
{
	put(0x16, queue, 2);
	put(0x1a, vector, 2);
}

static void mask(unsigned int i, bool on)
{
	put(TABLE + 16 * i + 12, on, 4);
}

/* Vector i sends i + 1 to hart i; queue i has vector i + 1. */
static void drive_pci(void)
{
	unsigned int i;

	control(MSIX_ENABLE);
	for (i = 0; i <= QUEUES; i++) {
		put(TABLE + 16 * i, ADDRESS + 4096 * i, 8);
		put(TABLE + 16 * i + 8, i + 1, 4);
		mask(i, false);
	}
	put(0x14, 0, 1);
	put(0x14, 3, 1);
	put(0x08, 1, 4);
	put(0x0c, 1, 4);
	put(0x14, 11, 1);
	for (i = 0; i < QUEUES; i++) {
		vector(i, (uint16_t)(i + 1));
		put(0x18, NUM, 2);
		put(0x20, w.ring[i].desc, 8);
		put(0x28, w.ring[i].avail, 8);
		put(0x30, w.ring[i].used, 8);
		put(0x1c, 1, 2);
	}
	put(0x14, 15, 1);
	ck_assert(w.away);
}

/* The data of the message that a call on queue @i becomes; 0: lkvm has to do it. */
static uint32_t call(unsigned int i)
{
	const struct rig_route *route = rig_fd_route(&w.rig, CALL(i));

	return route ? route->data : 0;
}

/* As the loop does it when it finds a call in the eventfd. */
static void call_by_loop(unsigned int i)
{
	virtio_enter_device(&w.vdev);
	virtio_signal(&w.vdev, i);
	virtio_leave(&w.vdev);
}

START_TEST(pci_calls)
{
	start_pci();
	drive_pci();
	ck_assert_uint_eq(call(0), 2);
	ck_assert_uint_eq(call(1), 3);
	ck_assert_uint_eq(call(2), 0);
	/* Masked: lkvm hears of it, and what came is delivered at the end of it. */
	mask(1, true);
	ck_assert_uint_eq(call(0), 0);
	ck_assert_uint_eq(call(1), 3);
	call_by_loop(0);
	ck_assert_uint_eq(w.rig.sent, 0);
	ck_assert_uint_eq(rig_read(&w.rig, BAR_AT + PBA, 4), 2);
	put(TABLE + 16 + 8, 77, 4);
	mask(1, false);
	ck_assert_uint_eq(w.rig.sent, 1);
	ck_assert_uint_eq(w.rig.last.data, 77);
	ck_assert_uint_eq(rig_read(&w.rig, BAR_AT + PBA, 4), 0);
	ck_assert_uint_eq(call(0), 77);
	/* Changed while it can send. */
	put(TABLE + 16 + 8, 78, 4);
	ck_assert_uint_eq(call(0), 78);
	/* All of them, by the function's mask and by the switch. */
	control(MSIX_ENABLE | MSIX_FMASK);
	ck_assert_uint_eq(rig_fds(&w.rig), 0);
	control(MSIX_ENABLE);
	ck_assert_uint_eq(rig_fds(&w.rig), 2);
	control(0);
	ck_assert_uint_eq(rig_fds(&w.rig), 0);
	call_by_loop(0);
	ck_assert(w.rig.level[pci_line(1, 1)]);
	control(MSIX_ENABLE);
	ck_assert_uint_eq(rig_fds(&w.rig), 2);
	/* Both queues to one vector, to none, to one that is not there. */
	vector(0, 2);
	ck_assert_uint_eq(call(0), 3);
	ck_assert_uint_eq(call(1), 3);
	vector(0, 0xffff);
	ck_assert_uint_eq(call(0), 0);
	vector(1, 55);
	ck_assert_uint_eq(rig_fds(&w.rig), 0);
	vector(0, 1);
	vector(1, 1);
	ck_assert_uint_eq(rig_fds(&w.rig), 2);
	stop_pci();
}
END_TEST

/* Fewer vectors than queues: they share one, and those behind the last are not there. */
START_TEST(few_vectors)
{
	unsigned int cap, i;

	start_pci_with(2);
	cap = rig_find_cap(&w.rig, DEVFN, PCI_CAP_ID_MSIX, 0);
	ck_assert_uint_eq(rig_config_read(&w.rig, DEVFN, cap + 2, 2) & 0x7ff, 1);
	drive_pci();
	ck_assert_uint_eq(rig_read(&w.rig, BAR_AT + TABLE + 2 * 16 + 8, 4), 0);
	put(0x16, 1, 2);
	ck_assert_uint_eq(rig_read(&w.rig, BAR_AT + 0x1a, 2), 0xffff);
	ck_assert_uint_eq(rig_fds(&w.rig), 1);
	for (i = 0; i < QUEUES; i++)
		vector(i, 1);
	ck_assert_uint_eq(rig_fds(&w.rig), AWAY);
	ck_assert_uint_eq(call(0), 2);
	ck_assert_uint_eq(call(1), 2);
	mask(1, true);
	ck_assert_uint_eq(rig_fds(&w.rig), 0);
	stop_pci();
	/* One for all, and more than it wants. */
	start_pci_with(1);
	drive_pci();
	for (i = 0; i < QUEUES; i++)
		vector(i, 0);
	ck_assert_uint_eq(call(1), 1);
	stop_pci();
	start_pci_with(100);
	cap = rig_find_cap(&w.rig, DEVFN, PCI_CAP_ID_MSIX, 0);
	ck_assert_uint_eq(rig_config_read(&w.rig, DEVFN, cap + 2, 2) & 0x7ff, QUEUES);
	stop_pci();
}
END_TEST

START_TEST(pci_bells)
{
	static const gpa_t places[] = {BAR_AT, RIG_LOW + 3 * MIB, RIG_HIGH + 32 * GIB};
	struct device *dev;
	size_t i;

	start_pci();
	drive_pci();
	ck_assert_uint_eq(bells(), AWAY);
	for (i = 0; i < ARRAY_SIZE(places); i++) {
		rig_set_bar64(&w.rig, DEVFN, 0, places[i]);
		ck_assert_uint_eq(bells(), AWAY);
		ck_assert_int_eq(rings(places[i] + NOTIFY, 2, 0), KICK(0));
		ck_assert_int_eq(rings(places[i] + NOTIFY + 4, 2, 1), KICK(1));
		ck_assert_int_eq(rings(places[i] + NOTIFY + 8, 2, 2), 0);
	}
	/* Where there is no window, and without decoding, nothing rings. */
	rig_set_bar64(&w.rig, DEVFN, 0, DRV_RAM);
	ck_assert_uint_eq(bells(), 0);
	rig_set_bar64(&w.rig, DEVFN, 0, BAR_AT);
	ck_assert_uint_eq(bells(), AWAY);
	rig_command(&w.rig, DEVFN, 0, PCI_COMMAND_MEMORY);
	ck_assert_uint_eq(bells(), 0);
	rig_command(&w.rig, DEVFN, PCI_COMMAND_MEMORY, 0);
	ck_assert_uint_eq(bells(), AWAY);
	/* A function that may not touch memory does not run. */
	rig_command(&w.rig, DEVFN, 0, PCI_COMMAND_MASTER);
	ck_assert_uint_eq(bells(), 0);
	ck_assert_uint_eq(rig_fds(&w.rig), 0);
	rig_command(&w.rig, DEVFN, PCI_COMMAND_MASTER, 0);
	ck_assert_uint_eq(bells(), AWAY);
	ck_assert_uint_eq(rig_fds(&w.rig), 2);
	/* The driver's reset, and the machine's. */
	put(0x14, 0, 1);
	ck_assert_uint_eq(bells(), 0);
	ck_assert_uint_eq(rig_fds(&w.rig), 0);
	drive_pci();
	ck_assert_uint_eq(bells(), AWAY);
	dev = virtio_pci_device(w.pci);
	dev->ops->reset(dev);
	ck_assert_uint_eq(bells(), 0);
	ck_assert_uint_eq(rig_fds(&w.rig), 0);
	rig_set_bar64(&w.rig, DEVFN, 0, BAR_AT);
	rig_command(&w.rig, DEVFN, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0);
	/* No room in KVM: exits, until it moves to where there is. */
	w.refuse = true;
	drive_pci();
	ck_assert_uint_eq(bells(), 0);
	w.rung = 0;
	put(NOTIFY, 0, 2);
	ck_assert_uint_eq(w.rung, 1);
	w.refuse = false;
	stop_pci();
}
END_TEST

/* Another function's BAR is put over this one's and taken away again. */
START_TEST(pci_overlap)
{
	static const struct pci_function_ops nothing = {0};
	static const struct pci_id id = {.vendor = 1, .device = 2};
	struct pci_function other;
	gpa_t at;

	start_device();
	pci_rig_start(&w.rig, NULL);
	pci_function_init(&other, &nothing, "other", &id);
	pci_add_bar(&other, 0, 0x8000, true);
	ck_assert_int_eq(pci_attach(w.rig.host, &other), 0);
	w.pci = virtio_pci_create(&w.vdev, w.rig.host, NULL, &env, &w);
	ck_assert_ptr_nonnull(w.pci);
	rig_set_bar64(&w.rig, 2 * PCI_FUNCTIONS, 0, BAR_AT);
	rig_command(&w.rig, 2 * PCI_FUNCTIONS, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0);
	rig_command(&w.rig, DEVFN, PCI_COMMAND_MEMORY, 0);
	virtio_enter(&w.vdev);
	virtio_set_status(&w.vdev, 3);
	virtio_set_features(&w.vdev, 1, 1);
	virtio_set_status(&w.vdev, 11);
	for (at = 0; at < QUEUES; at++) {
		struct virtq_layout *l = virtio_queue_setup(&w.vdev, (uint32_t)at);

		*l = (struct virtq_layout){.num = NUM,
					   .desc = w.ring[at].desc,
					   .avail = w.ring[at].avail,
					   .used = w.ring[at].used};
		virtio_queue_enable(&w.vdev, (uint32_t)at, true);
	}
	virtio_set_status(&w.vdev, 15);
	virtio_leave(&w.vdev);
	ck_assert_uint_eq(bells(), AWAY);
	rig_set_bar64(&w.rig, DEVFN, 0, BAR_AT);
	ck_assert_uint_eq(bells(), 0);
	rig_set_bar64(&w.rig, DEVFN, 0, BAR_AT + MIB);
	ck_assert_uint_eq(bells(), AWAY);
	ck_assert_int_eq(rings(BAR_AT + NOTIFY, 2, 0), KICK(0));
	stop_pci();
}
END_TEST

/* Random pokes: what is connected is always what the registers say. */
START_TEST(pci_random)
{
	struct prng rng = prng_start("virtio_direct");
	unsigned int i, q;

	start_pci();
	drive_pci();
	for (i = 0; i < 20000; i++) {
		uint32_t r = (uint32_t)prng_u64(&rng);

		switch (r % 8) {
		case 0:
			control((uint16_t)((r & 0x100 ? MSIX_ENABLE : 0) |
					   (r & 0x200 ? MSIX_FMASK : 0)));
			break;
		case 1:
		case 2:
			mask((r >> 8) % (QUEUES + 1), r & 0x80);
			break;
		case 3:
			vector((r >> 8) % QUEUES, (uint16_t)((r >> 16) % 6));
			break;
		case 4:
			rig_command(&w.rig, DEVFN, PCI_COMMAND_MASTER, 0);
			break;
		case 5:
			rig_command(&w.rig, DEVFN, 0, r & 0x100 ? PCI_COMMAND_MASTER : 0);
			break;
		case 6:
			put(TABLE + 16 * ((r >> 8) % (QUEUES + 1)) + 8, r >> 16, 4);
			break;
		default:
			put(0x14, 0, 1);
			drive_pci();
			break;
		}
		rig_command(&w.rig, DEVFN, PCI_COMMAND_MASTER, 0);
		ck_assert_uint_eq(bells(), AWAY);
		for (q = 0; q < AWAY; q++) {
			uint64_t v, masked = 1, data = 0;
			uint16_t c = (uint16_t)rig_config_read(
				&w.rig, DEVFN, rig_find_cap(&w.rig, DEVFN, PCI_CAP_ID_MSIX, 0) + 2,
				2);

			put(0x16, q, 2);
			v = rig_read(&w.rig, BAR_AT + 0x1a, 2);
			if (v <= QUEUES) {
				masked = rig_read(&w.rig, BAR_AT + TABLE + 16 * v + 12, 4);
				data = rig_read(&w.rig, BAR_AT + TABLE + 16 * v + 8, 4);
			}
			if (masked || !(c & MSIX_ENABLE) || c & MSIX_FMASK)
				ck_assert_ptr_null(rig_fd_route(&w.rig, CALL(q)));
			else
				ck_assert_uint_eq(call(q), data);
		}
	}
	stop_pci();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio_direct");
	TCase *tc = tcase_create("virtio_direct");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, mmio);
	tcase_add_test(tc, pci_calls);
	tcase_add_test(tc, few_vectors);
	tcase_add_test(tc, pci_bells);
	tcase_add_test(tc, pci_overlap);
	tcase_add_test(tc, pci_random);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
