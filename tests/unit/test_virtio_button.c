// SPDX-License-Identifier: GPL-2.0-only
/*
 * The power button: what the driver is told, a press with buffers and without, save and
 * load, and a driver that means no good.
 */
#include "unit.h"
#include "virtio_driver.h"

#include "lkvm/virtio/button.h"
#include "lkvm/virtio/mmio.h"

#include <endian.h>
#include <string.h>

#define NUM 8
#define DATA (DRV_RAM + MIB)

struct rig {
	struct guest_memory mem;
	struct drv drv;
	struct virtio_device *vdev;
	struct virtio_mmio *mmio;
	struct drv_ring events, status;
	struct error err;
};

static void run_soon(void *opaque)
{
	(void)opaque;
}

static const struct virtio_transport_env mmio_env = {
	.run_soon = run_soon,
};

static void make(struct rig *rig)
{
	memset(rig, 0, sizeof(*rig));
	drv_memory(&rig->mem);
	rig->vdev = virtio_button_create("button0", &rig->mem, NULL);
	ck_assert_ptr_nonnull(rig->vdev);
	rig->mmio = virtio_mmio_create(rig->vdev, drv_line(&rig->drv), &mmio_env, rig);
	rig->drv.dev = rig->mmio;
}

static void start(struct rig *rig)
{
	make(rig);
	ck_assert_uint_eq(drv_rd(&rig->drv, R_DEVICE_ID), 18);
	ck_assert(drv_start(&rig->drv, 0));
	drv_ring_init(&rig->events, &rig->mem, NUM, DRV_RAM + 0x1000);
	drv_ring_init(&rig->status, &rig->mem, NUM, DRV_RAM + 0x3000);
	ck_assert(drv_queue(&rig->drv, 0, &rig->events));
	ck_assert(drv_queue(&rig->drv, 1, &rig->status));
	drv_go(&rig->drv);
}

static void stop(struct rig *rig)
{
	virtio_mmio_device(rig->mmio)->ops->destroy(virtio_mmio_device(rig->mmio));
	memory_destroy(&rig->mem);
}

static int press(struct rig *rig)
{
	char reply[64];

	return rig->vdev->ops->command(rig->vdev, "press", reply, sizeof(reply), &rig->err);
}

static uint8_t config(struct rig *rig, uint32_t offset)
{
	return (uint8_t)virtio_mmio_ops.read(rig->mmio, R_CONFIG + offset, 1);
}

static void choose(struct rig *rig, uint8_t select, uint8_t subsel)
{
	virtio_mmio_ops.write(rig->mmio, R_CONFIG, select, 1);
	virtio_mmio_ops.write(rig->mmio, R_CONFIG + 1, subsel, 1);
	ck_assert_uint_eq(config(rig, 0), select);
	ck_assert_uint_eq(config(rig, 1), subsel);
}

static void offer(struct rig *rig, unsigned int nr, uint32_t len)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		drv_add(&rig->events,
			&(struct drv_seg){DATA + (rig->events.avail_idx % NUM) * 8, len, DRV_WRITE},
			1);
	drv_wr(&rig->drv, R_NOTIFY, 0);
}

/* The next event is this one. */
static void expect(struct rig *rig, unsigned int nth, uint16_t type, uint16_t code, uint32_t value)
{
	uint8_t *p = drv_ptr(&rig->mem, DATA + nth % NUM * 8, 8);
	uint32_t id, len, word;
	uint16_t half[2];

	ck_assert(drv_get_used(&rig->events, &id, &len));
	ck_assert_uint_eq(len, 8);
	memcpy(half, p, sizeof(half));
	memcpy(&word, p + 4, sizeof(word));
	ck_assert_uint_eq(le16toh(half[0]), type);
	ck_assert_uint_eq(le16toh(half[1]), code);
	ck_assert_uint_eq(le32toh(word), value);
}

START_TEST(configuration)
{
	struct rig rig;
	char name[128] = "";
	unsigned int i, set = 0;

	start(&rig);
	choose(&rig, 1, 0);
	for (i = 0; i < config(&rig, 2); i++)
		name[i] = (char)config(&rig, 8 + i);
	ck_assert_str_eq(name, "lkvm power button");
	choose(&rig, 3, 0);
	ck_assert_uint_eq(config(&rig, 2), 8);
	/* One kind of event, one key. */
	for (i = 0; i < 256; i++) {
		choose(&rig, 0x11, (uint8_t)i);
		ck_assert_uint_eq(config(&rig, 2), i == 1 ? 15 : 0);
	}
	choose(&rig, 0x11, 1);
	for (i = 0; i < 128 * 8; i++)
		set += config(&rig, 8 + i / 8) >> i % 8 & 1 ? i : 0;
	ck_assert_uint_eq(set, 116);
	/* No serial number, no properties, no axes, nothing else. */
	for (i = 0; i < 256; i++) {
		if (i == 1 || i == 3 || i == 0x11)
			continue;
		choose(&rig, (uint8_t)i, 0);
		ck_assert_uint_eq(config(&rig, 2), 0);
	}
	/* The rest is read-only. */
	virtio_mmio_ops.write(rig.mmio, R_CONFIG + 2, 99, 1);
	virtio_mmio_ops.write(rig.mmio, R_CONFIG + 135, 99, 1);
	ck_assert_uint_eq(config(&rig, 2), 0);
	ck_assert_uint_eq(config(&rig, 135), 0);
	stop(&rig);
}
END_TEST

START_TEST(a_press)
{
	struct rig rig;

	start(&rig);
	offer(&rig, 8, 8);
	ck_assert_uint_eq(drv_used_idx(&rig.events), 0);
	ck_assert_int_eq(press(&rig), 0);
	ck_assert_uint_eq(drv_used_idx(&rig.events), 4);
	expect(&rig, 0, 1, 116, 1);
	expect(&rig, 1, 0, 0, 0);
	expect(&rig, 2, 1, 116, 0);
	expect(&rig, 3, 0, 0, 0);
	ck_assert(rig.drv.level);
	/* What the driver sends comes back. */
	drv_add(&rig.status, &(struct drv_seg){DATA, 8, 0}, 1);
	drv_wr(&rig.drv, R_NOTIFY, 1);
	ck_assert_uint_eq(drv_used_idx(&rig.status), 1);
	stop(&rig);
}
END_TEST

START_TEST(few_buffers)
{
	struct rig rig;

	start(&rig);
	ck_assert_int_eq(press(&rig), 0);
	ck_assert_int_eq(press(&rig), 0); /* the same press */
	offer(&rig, 1, 8);
	expect(&rig, 0, 1, 116, 1);
	offer(&rig, 1, 4); /* too small: spoilt, but not for ever */
	offer(&rig, 4, 8);
	ck_assert_uint_eq(drv_used_idx(&rig.events), 4);
	/* A reset forgets what was still to go. */
	ck_assert_int_eq(press(&rig), 0);
	ck_assert_uint_eq(drv_used_idx(&rig.events), 6);
	drv_wr(&rig.drv, R_STATUS, 0);
	ck_assert(drv_start(&rig.drv, 0));
	drv_ring_init(&rig.events, &rig.mem, NUM, DRV_RAM + 0x1000);
	ck_assert(drv_queue(&rig.drv, 0, &rig.events));
	drv_go(&rig.drv);
	offer(&rig, 4, 8);
	ck_assert_uint_eq(drv_used_idx(&rig.events), 0);
	stop(&rig);
}
END_TEST

START_TEST(no_driver)
{
	struct rig rig;
	char reply[64];

	make(&rig);
	ck_assert_int_eq(press(&rig), -1);
	ck_assert_ptr_nonnull(strstr(rig.err.msg, "no driver"));
	ck_assert_int_eq(rig.vdev->ops->command(rig.vdev, "hold", reply, sizeof(reply), &rig.err),
			 -1);
	stop(&rig);
}
END_TEST

START_TEST(saved)
{
	struct virtio_mmio *old;
	struct device *dev;
	struct xfer x, y;
	struct rig rig;
	size_t i;

	start(&rig);
	offer(&rig, 1, 8);
	choose(&rig, 0x11, 1);
	ck_assert_int_eq(press(&rig), 0);
	expect(&rig, 0, 1, 116, 1);
	old = rig.mmio;
	dev = virtio_mmio_device(old);
	dev->ops->quiesce(dev);
	xfer_save_init(&x);
	dev->ops->transfer(dev, &x);
	ck_assert_int_eq(xfer_done(&x, NULL), 0);

	rig.vdev = virtio_button_create("button0", &rig.mem, NULL);
	rig.mmio = virtio_mmio_create(rig.vdev, drv_line(&rig.drv), &mmio_env, &rig);
	rig.drv.dev = rig.mmio;
	dev = virtio_mmio_device(rig.mmio);
	for (i = 0; i <= x.len; i++) {
		xfer_load_init(&y, x.buf, i);
		dev->ops->transfer(dev, &y);
		ck_assert_int_eq(xfer_done(&y, NULL), i < x.len ? -1 : 0);
	}
	xfer_save_init(&y);
	dev->ops->transfer(dev, &y);
	ck_assert_uint_eq(x.len, y.len);
	ck_assert_int_eq(memcmp(x.buf, y.buf, x.len), 0);
	dev->ops->resume(dev);
	/* The rest of the press. */
	ck_assert_uint_eq(config(&rig, 2), 15);
	offer(&rig, 3, 8);
	expect(&rig, 1, 0, 0, 0);
	expect(&rig, 2, 1, 116, 0);
	expect(&rig, 3, 0, 0, 0);
	xfer_free(&x);
	xfer_free(&y);
	stop(&rig);
	virtio_mmio_device(old)->ops->destroy(virtio_mmio_device(old));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio button");
	TCase *tc = tcase_create("virtio button");

	tcase_add_test(tc, configuration);
	tcase_add_test(tc, a_press);
	tcase_add_test(tc, few_buffers);
	tcase_add_test(tc, no_driver);
	tcase_add_test(tc, saved);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
