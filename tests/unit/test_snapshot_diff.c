// SPDX-License-Identifier: GPL-2.0-only
/*
 * Comparing two files: each difference is told once, by name, and there are no others.
 */
#include "snapshot_rig.h"
#include "unit.h"

#include "lkvm/riscv/regs.h"
#include "lkvm/snapshot/diff.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct error err;
static char told[65536];

static void tell(void *opaque, const char *part, const char *what, const char *a, const char *b)
{
	size_t len = strlen(told);

	(void)opaque;
	snprintf(told + len, sizeof(told) - len, "%s: %s: %s, %s\n", part, what, a ? a : "none",
		 b ? b : "none");
}

/* What is told of two files, as text. */
static const char *diff(int a, int b)
{
	struct diff_sink sink = {.tell = tell};
	struct snapshot_file x, y;

	told[0] = '\0';
	ck_assert_int_eq(snapshot_open(&x, a, &err), 0);
	ck_assert_int_eq(snapshot_open(&y, b, &err), 0);
	ck_assert_msg(!snapshot_diff(&x, &y, &sink, &err), "%s", err.msg);
	ck_assert_uint_eq(!sink.nr, !told[0]);
	snapshot_close(&x);
	snapshot_close(&y);
	return told;
}

static void poke(struct rig *rig, gpa_t gpa)
{
	++*(uint8_t *)memory_for_write(&rig->vm->mem, gpa, 1);
}

START_TEST(each_by_name)
{
	struct fake_vcpu *v;
	struct rig a;
	int fd[3], i;

	first_vm(&a, FAKE_7_2);
	fd[0] = save_as(&a, SNAPSHOT_RAW);
	fd[1] = save_as(&a, SNAPSHOT_ZSTD);
	ck_assert_str_eq(diff(fd[0], fd[1]), "");
	v = fake_vcpu(a.host, 1);
	v->fcsr = 0x42;
	v->core[CORE_MODE] = 1;
	v->core[2] = 0x8000;
	v->stopped = !v->stopped;
	poke(&a, RAM + 20 * MIB);
	poke(&a, RAM + 20 * MIB + 4096);
	poke(&a, RAM + 63 * MIB);
	fd[2] = save_as(&a, SNAPSHOT_ZLIB);
	ck_assert_str_eq(diff(fd[0], fd[2]), "vcpu1: hart: stopped, started\n"
					     "vcpu1: fcsr: 0x00000021, 0x00000042\n"
					     "vcpu1: sp: 0x2222000000000002, 0x0000000000008000\n"
					     "vcpu1: mode: 0x0000000000000000, 0x0000000000000001\n"
					     "memory: 0x81400000-0x81401fff: 2 pages, 2 pages\n"
					     "memory: 0x83f00000-0x83f00fff: 1 pages, 1 pages\n");
	quit(&a);
	for (i = 0; i < 3; i++)
		close(fd[i]);
}
END_TEST

/* Other machines altogether. */
START_TEST(other_machines)
{
	struct rig a, b;
	int one, two;

	first_vm(&a, FAKE_7_2);
	one = save_as(&a, SNAPSHOT_RAW);
	quit(&a);
	rig_init(&b, FAKE_7_2);
	b.cfg.mem[0].size = 128 * MIB;
	b.cfg.name = "other";
	b.host->host_aia = b.host->host_isa[ISA_EXT_SSAIA] = true;
	b.arch.irqchip = IRQCHIP_AIA;
	b.host->programs[0] = snapshot_hello;
	rig_create(&b);
	rig_start(&b);
	two = save_as(&b, SNAPSHOT_RAW);
	quit(&b);
	diff(one, two);
	ck_assert_ptr_nonnull(strstr(told, "config: name: rig, other\n"));
	ck_assert_ptr_nonnull(strstr(told, "config: vCPUs: 2, 1\n"));
	ck_assert_ptr_nonnull(strstr(told, "config: RAM 0: 0x4000000 at 0x80000000, "
					   "0x8000000 at 0x80000000\n"));
	ck_assert_ptr_nonnull(strstr(told, "riscv: interrupt chip: PLIC, AIA\n"));
	ck_assert_ptr_nonnull(strstr(told, "vcpu1: section: there, none\n"));
	ck_assert_ptr_nonnull(strstr(told, "device:plic0: section: there, none\n"));
	ck_assert_ptr_nonnull(strstr(told, "vcpu0: isa-ext ssaia: "));
	close(one);
	close(two);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("snapshot_diff");
	TCase *tc = tcase_create("snapshot_diff");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, each_by_name);
	tcase_add_test(tc, other_machines);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
