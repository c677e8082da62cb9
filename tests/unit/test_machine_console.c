// SPDX-License-Identifier: GPL-2.0-only
/*
 * --console virtio in a whole machine on a scripted host: output and input by hvc0's
 * queues, a panic that is seen, a reader that comes late, a guest that sleeps; and the
 * user's commands for a device.
 */
#include "rig.h"
#include "unit.h"
#include "virtio_driver.h"

#include "lkvm/arch.h"
#include "lkvm/virtio/balloon.h"
#include "lkvm/virtio/console.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WINDOW UINT64_C(0x10001000)
#define RINGS UINT64_C(0x83000000)
#define DATA UINT64_C(0x83010000)
#define BUFFERS UINT64_C(0x83100000)
#define NUM 16
#define EID_SUSP 0x53555350

static struct rig rig;
static struct drv_ring rx, tx;
static struct fake_op program[64];
static unsigned int nr_ops;

static void op(struct fake_op o)
{
	ck_assert_uint_lt(nr_ops, ARRAY_SIZE(program));
	program[nr_ops++] = o;
}

static void wr(uint64_t reg, uint64_t value)
{
	op((struct fake_op){.kind = FAKE_STORE, .addr = WINDOW + reg, .value = value, .size = 4});
}

static void queue(unsigned int index, const struct drv_ring *ring)
{
	wr(R_QUEUE_SEL, index);
	wr(R_QUEUE_NUM, NUM);
	wr(R_DESC, ring->desc);
	wr(R_AVAIL, ring->avail);
	wr(R_USED, ring->used);
	wr(R_QUEUE_READY, 1);
}

static void setup(void)
{
	rig_init(&rig, FAKE_7_2);
	nr_ops = 0;
	memset(program, 0, sizeof(program));
	rig.host->programs[0] = program;
	rig.cfg.console = CONSOLE_VIRTIO;
	rig.cfg.virtio[rig.cfg.nr_virtio++] =
		(struct virtio_request){&virtio_console_kind, "virtio"};
}

static void teardown(void)
{
	rig_end(&rig);
}

/* A driver that is up, with @nr buffers for input. */
static void create(unsigned int nr)
{
	unsigned int i;
	gpa_t at;

	rig_create(&rig);
	at = drv_ring_init(&rx, &rig.vm->mem, NUM, RINGS);
	drv_ring_init(&tx, &rig.vm->mem, NUM, at);
	for (i = 0; i < nr; i++)
		drv_add(&rx, &(struct drv_seg){BUFFERS + 64 * i, 64, DRV_WRITE}, 1);
	wr(R_STATUS, ST_ACK | ST_DRIVER);
	wr(R_DRV_FEATURES_SEL, 1);
	wr(R_DRV_FEATURES, 1);
	wr(R_STATUS, ST_ACK | ST_DRIVER | ST_FEATURES_OK);
	queue(0, &rx);
	queue(1, &tx);
	wr(R_STATUS, ST_ACK | ST_DRIVER | ST_FEATURES_OK | ST_DRIVER_OK);
	wr(R_NOTIFY, 0);
}

static void print(const char *text)
{
	static gpa_t at = DATA;
	uint32_t len = (uint32_t)strlen(text);

	ck_assert(memory_write(&rig.vm->mem, at, text, len));
	drv_add(&tx, &(struct drv_seg){at, len, 0}, 1);
	at += len;
}

static const char *printed(void)
{
	static char text[65536];

	return rig_output(&rig, text, sizeof(text));
}

START_TEST(out_and_in)
{
	char back[64] = "";
	uint32_t id, len;

	create(4);
	print("hello ");
	print("from hvc0\n");
	wr(R_NOTIFY, 1);
	/* The serial port goes the same way. */
	op((struct fake_op){.kind = FAKE_PRINT, .addr = 0x10000000, .text = "and serial\n"});
	op((struct fake_op){.kind = FAKE_WAIT});
	op((struct fake_op){.kind = FAKE_EVENT, .value = KVM_SYSTEM_EVENT_SHUTDOWN});
	/* Before the driver listens it stays in the pipe. */
	ck_assert_int_eq(write_all(rig.in, "ls\n", 3), 3);
	rig_start(&rig);
	ck_assert(fake_wait_idle(rig.host, 0));
	usleep(50000);
	ck_assert_int_eq(write_all(rig.in, "exit\n", 5), 5);
	usleep(50000);
	fake_poke(rig.host, 0);
	ck_assert_int_eq(rig_join(&rig), VM_POWEROFF);
	ck_assert_str_eq(printed(), "hello from hvc0\nand serial\n");
	ck_assert(drv_get_used(&tx, &id, &len));
	ck_assert(drv_get_used(&tx, &id, &len));
	ck_assert(drv_get_used(&rx, &id, &len));
	ck_assert(memory_read(&rig.vm->mem, BUFFERS + 64 * id, back, len));
	ck_assert_str_eq(back, "ls\n");
	ck_assert(drv_get_used(&rx, &id, &len));
	ck_assert_uint_eq(len, 5);
}
END_TEST

START_TEST(panic)
{
	create(0);
	print("Kernel panic - not ");
	print("syncing: test\n");
	wr(R_NOTIFY, 1);
	op((struct fake_op){.kind = FAKE_EVENT, .value = KVM_SYSTEM_EVENT_RESET});
	rig_start(&rig);
	ck_assert_int_eq(rig_join(&rig), VM_DIED);
}
END_TEST

/* More than pipe and buffer hold, and a reader who only begins when the guest is gone. */
START_TEST(late_reader)
{
	static char all[800 * 1024];
	size_t len = 0;
	unsigned int i;
	ssize_t n;

	create(0);
	for (i = 0; i < 12; i++)
		drv_add(&tx, &(struct drv_seg){DATA, 0x10000, 0}, 1);
	memset(drv_ptr(&rig.vm->mem, DATA, 0x10000), 'x', 0x10000);
	wr(R_NOTIFY, 1);
	op((struct fake_op){.kind = FAKE_EVENT, .value = KVM_SYSTEM_EVENT_SHUTDOWN});
	rig_start(&rig);
	usleep(200000);
	ck_assert(rig.running);
	/* The end of the VM waits for whoever still reads. */
	ck_assert_int_eq(rig_join(&rig), VM_POWEROFF);
	for (i = 0; i < 20 && len < 12 * 0x10000; i++) {
		n = read(rig.out, all + len, 65536);
		ck_assert_int_gt(n, 0);
		len += (size_t)n;
		arch_flush(rig.vm);
	}
	ck_assert_uint_eq(len, 12 * 0x10000);
	ck_assert_uint_eq(drv_used_idx(&tx), 12);
}
END_TEST

/* The driver of a guest that sleeps does not listen; what comes wakes it. */
START_TEST(suspended)
{
	rig_create(&rig);
	op((struct fake_op){.kind = FAKE_SBI, .addr = EID_SUSP});
	op((struct fake_op){.kind = FAKE_EVENT, .value = KVM_SYSTEM_EVENT_SHUTDOWN});
	rig_start(&rig);
	ck_assert(fake_wait_results(rig.host, 0, 2));
	usleep(20000);
	ck_assert(vm_suspended(rig.vm));
	ck_assert_int_eq(write_all(rig.in, "x", 1), 1);
	ck_assert_int_eq(rig_join(&rig), VM_POWEROFF);
}
END_TEST

/* No firmware console beside it, which Linux would call hvc0. */
START_TEST(hvc0)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	rig_create(&rig);
	arch_print_plan(rig.vm, out);
	fclose(out);
	ck_assert_ptr_nonnull(strstr(text, "console=hvc0 earlycon=uart8250,mmio,0x10000000"));
	ck_assert_ptr_nonnull(strstr(text, "console0"));
	free(text);
	/* A window of no terminal has no size. */
	arch_window_changed(rig.vm);
}
END_TEST

static int command(const char *device, const char *words, char *reply)
{
	return arch_device_command(rig.vm, device, words, reply, 256, &rig.err);
}

START_TEST(commands)
{
	char reply[256];

	rig.cfg.virtio[rig.cfg.nr_virtio++] = (struct virtio_request){&virtio_balloon_kind, ""};
	rig_create(&rig);
	ck_assert_int_eq(command("balloon0", "target 1048576", reply), 0);
	ck_assert_str_eq(reply, "");
	ck_assert_int_eq(command("balloon0", "show", reply), 0);
	ck_assert_ptr_nonnull(strstr(reply, "target 1M, actual 0, of 64M"));
	ck_assert_int_lt(command("balloon0", "target 1G", reply), 0);
	ck_assert_int_lt(command("balloon1", "show", reply), 0);
	ck_assert_ptr_nonnull(strstr(rig.err.msg, "balloon1"));
	ck_assert_int_lt(command("console0", "show", reply), 0);
	ck_assert_ptr_nonnull(strstr(rig.err.msg, "takes no commands"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("machine-console");
	TCase *t = tcase_create("console");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, out_and_in);
	tcase_add_test(t, panic);
	tcase_add_test(t, late_reader);
	tcase_add_test(t, suspended);
	tcase_add_test(t, hvc0);
	tcase_add_test(t, commands);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return unit_main(s);
}
