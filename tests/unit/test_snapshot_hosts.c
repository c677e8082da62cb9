// SPDX-License-Identifier: GPL-2.0-only
/*
 * Other hosts: what the check beforehand says of each difference alone, and what happens
 * when it is tried all the same. Who is accepted starts; who is refused is told why, by
 * name, and either does not start, or would run on something that is not what it was told
 * of, which KVM does not notice (@starts).
 */
#include "snapshot_rig.h"
#include "unit.h"

#include "lkvm/riscv/isa.h"
#include "lkvm/riscv/regs.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EXT_F 3
#define EXT_D 2
#define EXT_V 15
#define EXT_SMSTATEEN 23
#define EXT_ZBA 17
#define SBI_STA 10

static struct error err;

/* --- what can be different ---------------------------------------------------------------- */

static void timebase(struct fake_host *h)
{
	h->timebase = 24000000;
}

static void vector(struct fake_host *h)
{
	h->host_isa[EXT_V] = true;
}

static void long_vectors(struct fake_host *h)
{
	h->host_isa[EXT_V] = true;
	h->vlenb = 32;
}

static void large_blocks(struct fake_host *h)
{
	h->block_size = 128;
}

static void no_blocks(struct fake_host *h)
{
	h->host_isa[ISA_EXT_ZICBOM] = h->host_isa[ISA_EXT_ZICBOZ] = false;
	h->host_isa[ISA_EXT_ZICBOP] = false;
}

static void no_zba(struct fake_host *h)
{
	h->host_isa[EXT_ZBA] = false;
}

static void stuck_zba(struct fake_host *h)
{
	h->stuck[EXT_ZBA] = true;
}

static void no_floats(struct fake_host *h)
{
	h->host_isa[EXT_F] = h->host_isa[EXT_D] = false;
}

static void no_sstc(struct fake_host *h)
{
	h->host_isa[ISA_EXT_SSTC] = false;
}

static void no_sta(struct fake_host *h)
{
	h->host_sbi[SBI_STA] = false;
}

static void no_dbcn(struct fake_host *h)
{
	h->host_sbi[SBI_EXT_DBCN] = false;
}

static void sv39(struct fake_host *h)
{
	h->satp_mode = 8;
}

static void sv57(struct fake_host *h)
{
	h->satp_mode = 10;
}

static void g_sv39(struct fake_host *h)
{
	h->max_bits = 41;
}

static void g_sv57(struct fake_host *h)
{
	h->max_bits = 59;
}

static void one_vcpu(struct fake_host *h)
{
	h->max_vcpus = 1;
}

static void other_maker(struct fake_host *h)
{
	h->ids[0] = 0xaaaa;
	h->ids[1] = 0xbbbb;
	h->ids[2] = 0xcccc;
}

static void aia(struct fake_host *h)
{
	h->host_aia = h->host_isa[ISA_EXT_SSAIA] = true;
}

/* What KVM does not take away without Smstateen. */
static void aia_stuck(struct fake_host *h)
{
	aia(h);
	h->host_isa[EXT_SMSTATEEN] = false;
}

static void aia_files(struct fake_host *h)
{
	aia(h);
	h->aia_files = true;
}

static void aia_narrow(struct fake_host *h)
{
	aia(h);
	h->aia_ids = 128;
}

static void aia_half(struct fake_host *h)
{
	aia(h);
	h->aia_half_files = true;
}

static void aia_wide(struct fake_host *h)
{
	aia(h);
	h->aia_ids = 512;
}

static void many(struct fake_host *h)
{
	timebase(h);
	no_zba(h);
	sv39(h);
	no_sta(h);
}

/* --- what the VM can be --------------------------------------------------------------------- */

static void vm_high(struct rig *rig)
{
	rig->cfg.mem[1] =
		(struct mem_request){.size = 64 * MIB, .placed = true, .gpa = UINT64_C(1) << 41};
	rig->cfg.nr_mem = 2;
}

static void vm_aia(struct rig *rig)
{
	rig->arch.irqchip = IRQCHIP_AIA;
}

/* Its devices go by as many. */
static void vm_255(struct rig *rig)
{
	rig->arch.irqchip = IRQCHIP_AIA;
	rig->arch.identities = 255;
}

static void vm_sv48(struct rig *rig)
{
	rig->arch.satp = SATP_SV48;
}

/* As any host can be; Zba is on all the same, where it is stuck. */
static void vm_least(struct rig *rig)
{
	rig->arch.isa.list = "rv64imafdc_sstc";
}

static void vm_untimed(struct rig *rig)
{
	rig->arch.isa.list = "rv64imafdc";
}

/* The first stage that the guest uses. */
static void bare(struct fake_vcpu *v)
{
	v->csr[CSR_SATP] = 0;
}

/**
 * struct row - a difference
 * @kernel: of the host that the VM comes from, and of the other
 * @from, @to: what these hosts are; NULL: as they come
 * @vm, @hart: what the VM is
 * @reasons: parts of all that is told; none: it is accepted
 * @starts: where it is refused: KVM would not notice
 */
static const struct row {
	const char *name;
	enum fake_kernel kernel[2];
	void (*from)(struct fake_host *h);
	void (*to)(struct fake_host *h);
	void (*vm)(struct rig *rig);
	void (*hart)(struct fake_vcpu *v);
	const char *reasons[6];
	bool starts;
} rows[] = {
	{"the same 6.12", {FAKE_6_12, FAKE_6_12}, .reasons = {NULL}},
	{"the same 7.2", {FAKE_7_2, FAKE_7_2}, .reasons = {NULL}},
	{"the same 7.3", {FAKE_7_3, FAKE_7_3}, .reasons = {NULL}},
	{"a newer kernel", {FAKE_6_12, FAKE_7_2}, .reasons = {NULL}},
	{"the newest kernel", {FAKE_7_2, FAKE_7_3}, .reasons = {NULL}},
	{"timebase",
	 {FAKE_7_2, FAKE_7_2},
	 .to = timebase,
	 .reasons = {"10000000 Hz, the host's 24000000 Hz"},
	 .starts = true},
	{"no vectors",
	 {FAKE_7_2, FAKE_7_2},
	 .from = vector,
	 .reasons = {"ISA extension v, which KVM here does not have"}},
	{"vectors where there were none", {FAKE_7_2, FAKE_7_2}, .to = vector},
	{"longer vectors",
	 {FAKE_7_2, FAKE_7_2},
	 .from = vector,
	 .to = long_vectors,
	 .reasons = {"vector registers (vlenb) have 16 bytes, here 32"}},
	{"shorter vectors",
	 {FAKE_7_2, FAKE_7_2},
	 .from = long_vectors,
	 .to = vector,
	 .reasons = {"vector registers (vlenb) have 32 bytes, here 16"}},
	{"no floats",
	 {FAKE_7_2, FAKE_7_2},
	 .to = no_floats,
	 .reasons = {"ISA extension d,", "ISA extension f,"}},
	{"one ISA extension less",
	 {FAKE_7_2, FAKE_7_2},
	 .to = no_zba,
	 .reasons = {"ISA extension zba, which KVM here does not have"}},
	{"one less that the guest knows nothing of",
	 {FAKE_7_2, FAKE_7_2},
	 .from = stuck_zba,
	 .to = no_zba,
	 .vm = vm_least},
	{"cache blocks that the guest knows nothing of",
	 {FAKE_7_2, FAKE_7_2},
	 .to = large_blocks,
	 .vm = vm_least},
	{"no Sstc, of which the guest was not told",
	 {FAKE_7_2, FAKE_7_2},
	 .to = no_sstc,
	 .vm = vm_untimed,
	 .reasons = {"ISA extension sstc,"}},
	{"one more", {FAKE_7_2, FAKE_7_2}, .from = no_zba},
	{"cache blocks",
	 {FAKE_7_2, FAKE_7_2},
	 .to = large_blocks,
	 .reasons = {"zicbom-block-size is 64, here 128", "zicboz-block-size is 64, here 128",
		     "zicbop-block-size is 64, here 128"},
	 .starts = true},
	{"cache blocks that nobody uses",
	 {FAKE_7_2, FAKE_7_2},
	 .from = no_blocks,
	 .to = large_blocks},
	{"no Sstc", {FAKE_7_2, FAKE_7_2}, .to = no_sstc, .reasons = {"ISA extension sstc,"}},
	{"Sstc where there was none", {FAKE_7_2, FAKE_7_2}, .from = no_sstc},
	{"one SBI extension less",
	 {FAKE_7_2, FAKE_7_2},
	 .to = no_sta,
	 .reasons = {"SBI extension sta, which KVM here does not have"}},
	{"one more of the SBI", {FAKE_7_2, FAKE_7_2}, .from = no_sta},
	{"no firmware console",
	 {FAKE_7_2, FAKE_7_2},
	 .to = no_dbcn,
	 .reasons = {"SBI extension dbcn,"}},
	{"narrower first stage, in use",
	 {FAKE_7_2, FAKE_7_2},
	 .to = sv39,
	 .vm = vm_sv48,
	 .reasons = {"the guest was told of sv48 page tables, this host has up to sv39",
		     "vCPU 0: the guest uses sv48 page tables, this host has up to sv39"}},
	{"narrower first stage, which the guest was not told of",
	 {FAKE_7_2, FAKE_7_2},
	 .to = sv39,
	 .hart = bare},
	{"narrower first stage, not in use yet",
	 {FAKE_7_2, FAKE_7_2},
	 .to = sv39,
	 .vm = vm_sv48,
	 .hart = bare,
	 .reasons = {"the guest was told of sv48 page tables"}},
	{"wider first stage", {FAKE_7_2, FAKE_7_2}, .to = sv57},
	{"narrower G-stage", {FAKE_7_2, FAKE_7_2}, .from = g_sv57, .to = g_sv39},
	{"wider G-stage", {FAKE_7_2, FAKE_7_2}, .from = g_sv39, .to = g_sv57},
	{"narrower G-stage than the memory",
	 {FAKE_7_2, FAKE_7_2},
	 .to = g_sv39,
	 .vm = vm_high,
	 .reasons = {"0x20000000000"}},
	{"fewer vCPUs",
	 {FAKE_7_2, FAKE_7_2},
	 .to = one_vcpu,
	 .reasons = {"the VM has 2 vCPUs, KVM here takes at most 1"}},
	{"another maker", {FAKE_7_2, FAKE_7_2}, .to = other_maker},
	{"no AIA",
	 {FAKE_7_2, FAKE_7_2},
	 .from = aia,
	 .vm = vm_aia,
	 .reasons = {"KVM offers no AIA", "ISA extension ssaia,"}},
	{"no AIA, for a VM with a PLIC", {FAKE_7_2, FAKE_7_2}, .from = aia_stuck},
	{"an AIA where there was none", {FAKE_7_2, FAKE_7_2}, .to = aia},
	{"an AIA with guest files",
	 {FAKE_7_2, FAKE_7_2},
	 .from = aia,
	 .to = aia_files,
	 .vm = vm_aia},
	{"an AIA without guest files",
	 {FAKE_7_2, FAKE_7_2},
	 .from = aia_files,
	 .to = aia,
	 .vm = vm_aia},
	{"fewer identities",
	 {FAKE_7_2, FAKE_7_2},
	 .from = aia,
	 .to = aia_narrow,
	 .vm = vm_255,
	 .reasons = {"255 interrupt identities, here 127"}},
	{"fewer identities than all machines have",
	 {FAKE_7_2, FAKE_7_2},
	 .from = aia,
	 .to = aia_narrow,
	 .vm = vm_aia,
	 .reasons = {"255 interrupt identities, here 127"}},
	{"identities that do not work",
	 {FAKE_7_2, FAKE_7_2},
	 .from = aia,
	 .to = aia_half,
	 .vm = vm_255,
	 .reasons = {"up to 255 identities, of which only 31 work here"},
	 .starts = true},
	{"more identities", {FAKE_7_2, FAKE_7_2}, .from = aia, .to = aia_wide, .vm = vm_255},
	{"several at once",
	 {FAKE_7_2, FAKE_7_2},
	 .to = many,
	 .vm = vm_sv48,
	 .reasons = {"24000000 Hz", "extension zba", "told of sv48", "uses sv48", "extension sta"}},
};

static unsigned int nr_reasons(const struct row *row)
{
	unsigned int n = 0;

	while (n < ARRAY_SIZE(row->reasons) && row->reasons[n])
		n++;
	return n;
}

/* The VM, saved. */
static int save_there(const struct row *row)
{
	struct rig a;
	int fd;

	rig_init(&a, row->kernel[0]);
	if (row->from)
		row->from(a.host);
	if (row->vm)
		row->vm(&a);
	a.cfg.cpus = 2;
	a.host->programs[0] = snapshot_hello;
	rig_create(&a);
	rig_start(&a);
	ck_assert(fake_wait_idle(a.host, 0));
	rig_call(&a, do_pause, NULL);
	scribble(fake_vcpu(a.host, 0));
	if (row->hart)
		row->hart(fake_vcpu(a.host, 0));
	fd = save_as(&a, SNAPSHOT_RAW);
	quit(&a);
	return fd;
}

static bool settled(struct rig *rig)
{
	struct fake_vcpu *v = fake_vcpu(rig->host, 0);

	return v && atomic_load(&v->idle);
}

/* Restored without asking first: does it run? */
static bool try_here(struct rig *rig)
{
	bool over = false;
	int i;

	rig->vm = vm_create(&rig->cfg, fake_host_sys(rig->host), &rig->log, &rig->err);
	if (!rig->vm)
		return false;
	rig_start(rig);
	for (i = 0; i < 1000 && !settled(rig) && !over; i++) {
		over = !pthread_tryjoin_np(rig->thread, NULL);
		usleep(2000);
	}
	if (over) {
		rig->running = false;
		return false;
	}
	vm_end(rig->vm, VM_QUIT);
	rig_join(rig);
	return true;
}

static void dump(const struct row *row, const struct reasons *why)
{
	unsigned int i;

	for (i = 0; i < why->nr && i < REASONS_MAX; i++)
		printf("%s: %s\n", row->name, why->list[i].msg);
}

START_TEST(alone)
{
	const struct row *row = &rows[_i];
	unsigned int i, nr = nr_reasons(row);
	struct reasons why = {0};
	int fd = save_there(row);
	struct second b;
	bool started;

	second_init(&b, fd, row->kernel[1]);
	if (row->to)
		row->to(b.rig.host);
	ck_assert_msg(!arch_host_check(&b.file, b.saved.arch, &b.rig.cfg, fake_host_sys(b.rig.host),
				       &why, &err),
		      "%s: %s", row->name, err.msg);
	if (why.nr != nr)
		dump(row, &why);
	ck_assert_msg(why.nr == nr, "%s: %u reasons, not %u", row->name, why.nr, nr);
	for (i = 0; i < nr; i++)
		ck_assert_msg(has_reason(&why, row->reasons[i]), "%s: not told: %s (told: %s)",
			      row->name, row->reasons[i], why.list[i].msg);
	started = try_here(&b.rig);
	ck_assert_msg(nr || started, "%s: accepted, and it does not start: %s", row->name,
		      b.rig.err.msg);
	ck_assert_msg(!nr || started == row->starts, "%s: refused, and it %s", row->name,
		      started ? "starts" : "does not start");
	rig_end(&b.rig);
	snapshot_saved_free(&b.saved);
	snapshot_close(&b.file);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("snapshot_hosts");
	TCase *tc = tcase_create("snapshot_hosts");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, alone, 0, ARRAY_SIZE(rows));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
