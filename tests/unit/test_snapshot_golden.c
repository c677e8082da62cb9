// SPDX-License-Identifier: GPL-2.0-only
/*
 * Files of format 1 as they were when it was new (tests/unit/golden): whatever has changed in lkvm
 * since, they are good, the VM comes back from them, and saved again it is the same state.
 *
 * With LKVM_GOLDEN=write in the environment they are made anew: when the format gets another
 * version, under another name.
 */
#include "snapshot_rig.h"
#include "unit.h"

#include "lkvm/riscv/isa.h"
#include "lkvm/snapshot/diff.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXT_V 15

static struct error err;

/* All that there are registers for. */
static void rich(struct fake_host *h)
{
	h->host_isa[EXT_V] = true;
	h->host_aia = h->host_isa[ISA_EXT_SSAIA] = h->host_isa[ISA_EXT_SMSTATEEN] = true;
}

static const struct {
	const char *path;
	enum fake_kernel kernel;
	enum irqchip_choice irqchip;
	enum snapshot_encoding encoding;
	void (*host)(struct fake_host *h);
} files[] = {
	{"tests/unit/golden/plic-1.snap", FAKE_6_12, IRQCHIP_PLIC, SNAPSHOT_ZLIB, NULL},
	{"tests/unit/golden/aia-1.snap", FAKE_7_2, IRQCHIP_AIA, SNAPSHOT_ZSTD, rich},
};

static void make(int i)
{
	struct save s = {.req = {.encoding = files[i].encoding}};
	struct rig a;

	rig_init(&a, files[i].kernel);
	if (files[i].host)
		files[i].host(a.host);
	a.arch.irqchip = files[i].irqchip;
	a.cfg.cpus = 2;
	a.cfg.mem[0].size = 16 * MIB;
	a.host->programs[0] = snapshot_hello;
	rig_create(&a);
	memset(memory_for_write(&a.vm->mem, RAM + 4 * MIB, 70000), 0x5a, 70000);
	rig_start(&a);
	ck_assert(fake_wait_idle(a.host, 0));
	rig_call(&a, do_pause, NULL);
	scribble(fake_vcpu(a.host, 0));
	s.req.fd = open(files[i].path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ck_assert_int_ge(s.req.fd, 0);
	rig_call(&a, begin_save, &s);
	ck_assert_msg(!end_save(&s), "%s", s.why.msg);
	close(s.req.fd);
	quit(&a);
}

static void differs(void *opaque, const char *part, const char *what, const char *a, const char *b)
{
	(void)opaque;
	printf("%s: %s: %s, %s\n", part, what, a ? a : "none", b ? b : "none");
}

START_TEST(still_read)
{
	struct diff_sink sink = {.tell = differs};
	const char *make_them = getenv("LKVM_GOLDEN");
	struct snapshot_file again;
	struct second b;
	int fd, two;

	if (make_them && !strcmp(make_them, "write"))
		make(_i);
	fd = open(files[_i].path, O_RDONLY | O_CLOEXEC);
	ck_assert_msg(fd >= 0, "%s: to be run where the tree is", files[_i].path);
	second_init(&b, fd, files[_i].kernel);
	if (files[_i].host)
		files[_i].host(b.rig.host);
	ck_assert_uint_eq(b.file.header.version, 1);
	ck_assert_msg(!snapshot_verify(&b.file, &err), "%s", err.msg);
	b.rig.cfg.paused = true;
	rig_create(&b.rig);
	rig_start(&b.rig);
	two = save_as(&b.rig, files[_i].encoding);
	ck_assert_msg(!snapshot_open(&again, two, &err), "%s", err.msg);
	ck_assert_msg(!snapshot_diff(&b.file, &again, &sink, &err), "%s", err.msg);
	ck_assert_uint_eq(sink.nr, 0);
	snapshot_close(&again);
	second_end(&b);
	close(two);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("snapshot_golden");
	TCase *tc = tcase_create("snapshot_golden");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, still_read, 0, (int)ARRAY_SIZE(files));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
