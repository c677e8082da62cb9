// SPDX-License-Identifier: GPL-2.0-only
/*
 * The GDB stub with a VM behind it that executes instructions: sessions as a debugger has
 * them, registers, memory, breakpoints, steps, harts, and debuggers that do not behave.
 */
#include "gdb_rig.h"
#include "lkvm/riscv/regs.h"
#include "lkvm/snapshot/snapshot.h"
#include "prng.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define A0 10u
#define A2 12u
#define A3 13u
#define A4 14u
#define PC 32u
#define CSR(n) (65u + (n))
#define SSTATUS CSR(0x100)
#define SIE CSR(0x104)
#define SEPC CSR(0x141)
#define SCAUSE CSR(0x142)

static struct gdb_rig r;

static void setup(void)
{
	gdb_rig_init(&r, 1);
}

static void setup_two(void)
{
	gdb_rig_init(&r, 2);
}

static void teardown(void)
{
	gdb_rig_end(&r);
}

static const char *ask(const char *packet)
{
	return gdb_rig_ask(&r, packet);
}

static void says(const char *packet, const char *answer)
{
	const char *text = ask(packet);

	ck_assert_msg(!strcmp(text, answer), "%s: %s, not %s", packet, text, answer);
}

static void set(unsigned int nr, uint64_t value)
{
	char packet[64];

	snprintf(packet, sizeof(packet), "P%x=%016llx", nr,
		 (unsigned long long)__builtin_bswap64(value));
	says(packet, "OK");
}

static void pc_is(uint64_t pc)
{
	uint64_t now = gdb_rig_number(&r, PC);

	ck_assert_msg(now == pc, "pc is 0x%llx, not 0x%llx", (unsigned long long)now,
		      (unsigned long long)pc);
}

static void at(const char *what, uint64_t address, const char *more, const char *answer)
{
	char packet[64];

	snprintf(packet, sizeof(packet), "%s%llx%s", what, (unsigned long long)address, more);
	says(packet, answer);
}

static void insert(uint64_t address)
{
	at("Z0,", address, ",2", "OK");
}

static void remove_one(uint64_t address)
{
	at("z0,", address, ",2", "OK");
}

static void interrupt(void)
{
	ck_assert_int_eq(send(r.fd, "\x03", 1, MSG_NOSIGNAL), 1);
}

static void step_to(uint64_t pc)
{
	says("vCont;s:1", "T05thread:1;");
	pc_is(pc);
}

/* The VM executes: a0 moves. */
static void runs(void)
{
	struct fake_vcpu *v = fake_vcpu(r.rig.host, 0);
	unsigned int entries = atomic_load(&v->entries), tries = 1000;

	while (atomic_load(&v->entries) == entries && !atomic_load(&v->inside) && tries--)
		usleep(10000);
	ck_assert(atomic_load(&v->inside) || atomic_load(&v->entries) != entries);
}

/* --- sessions ------------------------------------------------------------------------------ */

START_TEST(session)
{
	const char *text;

	gdb_rig_start(&r, false);
	gdb_rig_attach(&r);
	ck_assert(gdb_attached(r.rig.vm->gdb) && gdb_stopped(r.rig.vm->gdb));
	ck_assert_uint_eq(r.rig.vm->parked, 1);
	says("vMustReplyEmpty", "");
	says("qTStatus", "");
	says("?", "T05thread:1;");
	says("qC", "QC1");
	says("qAttached", "1");
	says("qfThreadInfo", "m1");
	says("qsThreadInfo", "l");
	says("qThreadExtraInfo,1", "6861727420302c2073746172746564"); /* hart 0, started */
	says("T1", "OK");
	says("T2", "E16");
	says("Hg1", "OK");
	says("Hc-1", "OK");
	says("Hg2", "E16");
	says("vCont?", "vCont;c;C;s;S");
	text = ask("g");
	ck_assert_uint_eq(strlen(text), 33 * 16);
	says("D", "OK");
	ck_assert_str_eq(gdb_rig_hear(&r), "closed");
	runs();
	ck_assert(!gdb_attached(r.rig.vm->gdb));
	/* And once more. */
	close(r.fd);
	gdb_rig_attach(&r);
	says("qC", "QC1");
	gdb_rig_stop(&r);
	/* It is told how the VM ended. */
	ck_assert_str_eq(gdb_rig_hear(&r), "W00");
}
END_TEST

static void target(char *xml, size_t size)
{
	char packet[80];
	const char *text;
	size_t len = 0;

	do {
		snprintf(packet, sizeof(packet), "qXfer:features:read:target.xml:%zx,1f3", len);
		text = ask(packet);
		ck_assert(*text == 'm' || *text == 'l');
		ck_assert_uint_lt(len + strlen(text), size);
		strcpy(xml + len, text + 1);
		len += strlen(text + 1);
	} while (*text == 'm');
}

START_TEST(description)
{
	static char xml[32768];

	r.rig.host->host_isa[15] = true; /* v */
	gdb_rig_start(&r, false);
	gdb_rig_attach(&r);
	target(xml, sizeof(xml));
	ck_assert_ptr_nonnull(strstr(xml, "<architecture>riscv:rv64</architecture>"));
	ck_assert_ptr_nonnull(strstr(xml, "org.gnu.gdb.riscv.cpu"));
	ck_assert_ptr_nonnull(strstr(xml, "org.gnu.gdb.riscv.fpu"));
	ck_assert_ptr_nonnull(strstr(xml, "name=\"pc\" bitsize=\"64\" regnum=\"32\""));
	ck_assert_ptr_nonnull(strstr(xml, "name=\"ft0\" bitsize=\"64\" regnum=\"33\""));
	ck_assert_ptr_nonnull(strstr(xml, "name=\"satp\" bitsize=\"64\" regnum=\"449\""));
	ck_assert_ptr_nonnull(strstr(xml, "name=\"v31\" bitsize=\"128\" regnum=\"4193\""));
	ck_assert_ptr_nonnull(strstr(xml, "name=\"priv\""));
	ck_assert_str_eq(xml + strlen(xml) - 10, "</target>\n");
	says("qXfer:features:read:target.xml:ffffffff,100", "l");
	says("qXfer:features:read:other.xml:0,100", "");
	says("qXfer:features:read:target.xml:0", "E16");
	gdb_rig_stop(&r);
}
END_TEST

START_TEST(registers)
{
	char packet[80];

	r.rig.host->host_isa[15] = true; /* v */
	gdb_rig_start(&r, true);
	gdb_rig_attach(&r);
	pc_is(CODE_LOOP);
	set(A0, UINT64_C(0x1122334455667788));
	ck_assert(gdb_rig_number(&r, A0) == UINT64_C(0x1122334455667788));
	ck_assert(fake_vcpu(r.rig.host, 0)->core[A0] == UINT64_C(0x1122334455667788));
	set(0, 5);
	ck_assert_uint_eq(gdb_rig_number(&r, 0), 0);
	/* f5, fcsr in parts. */
	set(33 + 5, 77);
	ck_assert_uint_eq(fake_vcpu(r.rig.host, 0)->fp[5], 77);
	says("P44=ff000000", "OK"); /* fcsr */
	says("P43=02000000", "OK"); /* frm */
	says("p44", "5f000000");
	says("p42", "1f000000");
	set(SSTATUS, 2);
	ck_assert_uint_eq(fake_vcpu(r.rig.host, 0)->csr[CSR_SSTATUS], 2);
	/* sip, and vlenb, are not to be set; the mode can be. */
	ck_assert_uint_eq(gdb_rig_number(&r, CSR(0x144)), 0);
	snprintf(packet, sizeof(packet), "P%x=0000000000000000", CSR(0x144));
	says(packet, "E01");
	ck_assert_uint_eq(gdb_rig_number(&r, CSR(0xc22)), 16);
	ck_assert_uint_eq(gdb_rig_number(&r, 4161), 1);
	/* v3 */
	snprintf(packet, sizeof(packet), "P%x=000102030405060708090a0b0c0d0e0f", 4162 + 3);
	says(packet, "OK");
	ck_assert_uint_eq(fake_vcpu(r.rig.host, 0)->v[3][9], 9);
	says("P1=12", "E16");
	says("pffff", "E02");
	says("p", "E16");
	says("p10000000a", "E16");
	says("P1", "E16");
	says("G12", "E16");
	gdb_rig_stop(&r);
}
END_TEST

START_TEST(memory)
{
	uint8_t byte;

	gdb_rig_start(&r, true);
	gdb_rig_attach(&r);
	at("m", CODE, ",8", "1305150005050100");
	at("M", CODE + 0x200, ",4:01020304", "OK");
	at("X", CODE + 0x204, ",3:abc", "OK");
	at("m", CODE + 0x200, ",7", "01020304616263");
	/* What is not RAM; and what is only in part. */
	says("m1000,4", "E0e");
	says("M1000,1:00", "E0e");
	at("m", 0x84000000 - 2, ",8", "0000");
	at("M", 0x84000000 - 2, ",4:00000000", "E0e");
	says("mffffffffffffffff,ffffffffffffffff", "E0e");
	at("m", CODE, "", "E16");
	at("M", CODE, ",4:0102", "E16");
	at("M", CODE, ",ffffffff:00", "E16");
	at("X", CODE, ",4:abc", "E16");
	/* The kernel's own addresses, before it has turned paging on; not beyond its image. */
	says("mffffffff80000000,4", "13051500");
	says("mffffffff80002000,4", "E0e");
	/* By page table: one page of 1 GiB, then by physical address. */
	byte = 0xcf; /* to 0x80000000, with the flags of a leaf */
	ck_assert(memory_write(&r.rig.vm->mem, CODE + 0x1000 + 8 * 511, &byte, 1));
	byte = 0x20;
	ck_assert(memory_write(&r.rig.vm->mem, CODE + 0x1000 + 8 * 511 + 3, &byte, 1));
	set(CSR(0x180), UINT64_C(8) << 60 | (CODE + 0x1000) >> 12);
	says("mffffffffc0200000,4", "13051500");
	at("m", CODE, ",4", "E0e");
	says("qqemu.PhyMemMode", "0");
	says("Qqemu.PhyMemMode:1", "OK");
	says("qqemu.PhyMemMode", "1");
	at("m", CODE, ",4", "13051500");
	gdb_rig_stop(&r);
}
END_TEST

/* --- breakpoints and steps ----------------------------------------------------------------- */

START_TEST(breakpoints)
{
	uint8_t now[2];

	gdb_rig_start(&r, true);
	gdb_rig_attach(&r);
	insert(CODE_FUNC);
	insert(CODE_FUNC);
	ck_assert(memory_read(&r.rig.vm->mem, CODE_FUNC, now, 2));
	ck_assert(now[0] == 0x02 && now[1] == 0x90);
	/* It does not show, and what is written goes beneath it. */
	at("m", CODE_FUNC - 1, ",6", "ff9386160067");
	at("M", CODE_FUNC, ",2:9386", "OK");
	at("M", CODE_FUNC + 1, ",1:86", "OK");
	says("vCont;c", "T05thread:1;swbreak:;");
	pc_is(CODE_FUNC);
	ck_assert_uint_eq(gdb_rig_number(&r, A3), 0);
	ck_assert_uint_eq(gdb_rig_number(&r, A0), 2);
	/* Over it, and round once more. */
	step_to(CODE_FUNC + 4);
	ck_assert_uint_eq(gdb_rig_number(&r, A3), 1);
	says("c", "T05thread:1;swbreak:;");
	pc_is(CODE_FUNC);
	ck_assert_uint_eq(gdb_rig_number(&r, A0), 4);
	remove_one(CODE_FUNC);
	remove_one(CODE_FUNC);
	ck_assert(memory_read(&r.rig.vm->mem, CODE_FUNC, now, 2));
	ck_assert(now[0] == 0x93 && now[1] == 0x86);
	gdb_rig_send(&r, "vCont;c:-1");
	runs();
	interrupt();
	ck_assert_str_eq(gdb_rig_hear(&r), "T02thread:1;");
	ck_assert_uint_gt(gdb_rig_number(&r, A3), 1);
	/* Hardware breakpoints and watchpoints there are none. */
	at("Z1,", CODE, ",4", "");
	at("Z2,", CODE, ",4", "");
	says("Z0,1000,2", "E0e");
	at("Z0,", CODE + 1, ",2", "E16");
	insert(CODE_LOOP + 4);
	insert(CODE_LOOP);
	says("D", "OK");
	runs();
	ck_assert(memory_read(&r.rig.vm->mem, CODE_LOOP, now, 2));
	ck_assert(now[0] == 0x13);
	gdb_rig_stop(&r);
}
END_TEST

START_TEST(many_breakpoints)
{
	uint64_t address = 0x81000000;
	char packet[64];
	unsigned int i;

	gdb_rig_start(&r, true);
	gdb_rig_attach(&r);
	for (i = 0; i < 1024; i++)
		insert(address + 2 * i);
	snprintf(packet, sizeof(packet), "Z0,%llx,2", (unsigned long long)address + 4096);
	says(packet, "E1c");
	remove_one(address);
	says(packet, "OK");
	gdb_rig_stop(&r);
}
END_TEST

START_TEST(steps)
{
	gdb_rig_start(&r, true);
	gdb_rig_attach(&r);
	insert(CODE_LOOP);
	insert(CODE_LOOP + 6);
	step_to(CODE_LOOP + 4);
	ck_assert_uint_eq(gdb_rig_number(&r, A0), 1);
	step_to(CODE_LOOP + 6);
	ck_assert_uint_eq(gdb_rig_number(&r, A0), 2);
	step_to(CODE_LOOP + 8);
	step_to(CODE_FUNC);
	ck_assert_uint_eq(gdb_rig_number(&r, 1), CODE_LOOP + 12);
	step_to(CODE_FUNC + 4);
	step_to(CODE_LOOP + 12);
	step_to(CODE_LOOP);
	says("s", "T05thread:1;");
	pc_is(CODE_LOOP + 4);
	/* An atomic sequence is one step, and succeeds. */
	set(PC, CODE_SEQUENCE);
	step_to(CODE_SEQUENCE + 12);
	ck_assert_uint_eq(gdb_rig_number(&r, A4), 0);
	step_to(CODE_SEQUENCE + 16);
	step_to(CODE_SEQUENCE + 16); /* j . */
	/* A wait ends; sret goes where sepc says. */
	set(PC, CODE_WAIT);
	step_to(CODE_WAIT + 4);
	set(SEPC, CODE_FUNC);
	set(SSTATUS, 0x120);
	step_to(CODE_FUNC);
	/* One that is no instruction ends in the guest's handler. */
	at("M", CODE + 0x300, ",4:00000000", "OK");
	set(PC, CODE + 0x300);
	step_to(CODE_VECTOR);
	ck_assert_uint_eq(gdb_rig_number(&r, SCAUSE), 2);
	gdb_rig_stop(&r);
}
END_TEST

START_TEST(step_without_interrupts)
{
	gdb_rig_start(&r, true);
	gdb_rig_attach(&r);
	set(SSTATUS, 2);
	set(SIE, 0x222);
	fake_vcpu(r.rig.host, 0)->csr[CSR_SIP] = 2;
	step_to(CODE_LOOP + 4);
	step_to(CODE_LOOP + 6);
	ck_assert_uint_eq(gdb_rig_number(&r, SIE), 0x222);
	/* Let go, it is taken. */
	insert(CODE_VECTOR);
	says("vCont;c", "T05thread:1;swbreak:;");
	pc_is(CODE_VECTOR);
	ck_assert_uint_eq(gdb_rig_number(&r, SEPC), CODE_LOOP + 6);
	gdb_rig_stop(&r);
}
END_TEST

/* The guest's own breakpoints are the guest's. */
START_TEST(own)
{
	gdb_rig_start(&r, true);
	gdb_rig_attach(&r);
	set(PC, CODE_OWN);
	set(SSTATUS, 2);
	insert(CODE_STAY);
	says("vCont;c", "T05thread:1;swbreak:;");
	pc_is(CODE_STAY);
	ck_assert_uint_eq(gdb_rig_number(&r, A2), 1);
	ck_assert_uint_eq(gdb_rig_number(&r, SEPC), CODE_OWN);
	ck_assert_uint_eq(gdb_rig_number(&r, SCAUSE), 3);
	ck_assert_uint_eq(gdb_rig_number(&r, SSTATUS), 0x120); /* SPP, SPIE */
	/* A step over it ends in the handler; from user mode, too. */
	set(PC, CODE_OWN);
	set(4161, 0);
	step_to(CODE_VECTOR);
	ck_assert_uint_eq(gdb_rig_number(&r, 4161), 1);
	ck_assert_uint_eq(gdb_rig_number(&r, SSTATUS), 0);
	gdb_rig_stop(&r);
}
END_TEST

START_TEST(harts)
{
	gdb_rig_start(&r, true);
	gdb_rig_attach(&r);
	says("qfThreadInfo", "m1,2");
	says("Hg2", "OK");
	set(PC, CODE_FUNC);
	insert(CODE_FUNC + 4);
	/* Only the second goes. */
	says("vCont;c:2", "T05thread:2;swbreak:;");
	pc_is(CODE_FUNC + 4);
	says("Hg1", "OK");
	pc_is(CODE_LOOP);
	ck_assert_uint_eq(gdb_rig_number(&r, A0), 0);
	/* One steps, the others stand meanwhile. */
	says("vCont;s:1;c", "T05thread:1;");
	pc_is(CODE_LOOP + 4);
	says("Hg2", "OK");
	pc_is(CODE_FUNC + 4);
	ck_assert_uint_eq(gdb_rig_number(&r, A0), 0);
	/* By the old words. */
	says("Hc2", "OK");
	says("s", "T05thread:2;");
	says("Hg2", "OK");
	pc_is(0);
	says("vCont;x", "E16");
	says("vCont;c:3", "E16");
	says("vCont;c:", "E16");
	gdb_rig_stop(&r);
}
END_TEST

/* --- what else happens to the VM ----------------------------------------------------------- */

static void reset(struct rig *rig, void *arg)
{
	(void)arg;
	vm_reset(rig->vm);
}

START_TEST(restarted)
{
	uint8_t now[2];

	gdb_rig_start(&r, false);
	gdb_rig_attach(&r);
	insert(CODE_FUNC);
	says("vCont;c", "T05thread:1;swbreak:;");
	remove_one(CODE_FUNC);
	insert(0x81000000);
	gdb_rig_send(&r, "vCont;c");
	rig_call(&r.rig, reset, NULL);
	/* It stands before its first instruction, and is what was loaded. */
	ck_assert_str_eq(gdb_rig_hear(&r), "T05thread:1;");
	pc_is(CODE);
	remove_one(0x81000000);
	ck_assert(memory_read(&r.rig.vm->mem, 0x81000000, now, 2));
	ck_assert(!now[0] && !now[1]);
	ck_assert(fake_vcpu(r.rig.host, 0)->debug);
	gdb_rig_stop(&r);
}
END_TEST

START_TEST(killed)
{
	gdb_rig_start(&r, false);
	gdb_rig_attach(&r);
	gdb_rig_send(&r, "k");
	ck_assert_int_eq(rig_join(&r.rig), VM_QUIT);
}
END_TEST

START_TEST(waits)
{
	struct fake_vcpu *v;

	gdb_rig_start(&r, true);
	v = fake_vcpu(r.rig.host, 0);
	usleep(100000);
	ck_assert_uint_eq(atomic_load(&v->entries), 0);
	gdb_rig_attach(&r);
	pc_is(CODE_LOOP);
	ck_assert_uint_eq(atomic_load(&v->entries), 0);
	/* The debugger that leaves lets it go, however it leaves. */
	close(r.fd);
	r.fd = -1;
	runs();
	gdb_rig_stop(&r);
}
END_TEST

static void save(struct rig *rig, void *arg)
{
	const struct snapshot_request req = {.fd = -1};

	ck_assert_int_eq(snapshot_begin(rig->vm, &req, NULL, NULL, arg), -1);
}

/* Nobody is to find breakpoints in a file. */
START_TEST(not_saved)
{
	struct error err;

	gdb_rig_start(&r, false);
	gdb_rig_attach(&r);
	rig_call(&r.rig, save, &err);
	ck_assert_ptr_nonnull(strstr(err.msg, "a debugger is attached"));
	gdb_rig_stop(&r);
}
END_TEST

START_TEST(without_kvm)
{
	struct gdb_address address;

	r.rig.host->no_debug = true;
	rig_create(&r.rig);
	ck_assert_int_eq(gdb_parse("unix:/nowhere/x", &address, &r.rig.err), 0);
	ck_assert_ptr_null(gdb_create(r.rig.vm, &address, &r.rig.err));
	ck_assert_ptr_nonnull(strstr(r.rig.err.msg, "KVM_CAP_SET_GUEST_DEBUG"));
	r.rig.host->no_debug = false;
	ck_assert_ptr_null(gdb_create(r.rig.vm, &address, &r.rig.err));
	ck_assert_ptr_nonnull(strstr(r.rig.err.msg, "--gdb: cannot make the socket /nowhere/x"));
}
END_TEST

/* --- who does not behave ------------------------------------------------------------------- */

START_TEST(damaged)
{
	char c;

	gdb_rig_start(&r, false);
	r.fd = gdb_rig_dial(&r);
	ck_assert_int_eq(send(r.fd, "$qC#00", 6, MSG_NOSIGNAL), 6);
	ck_assert_int_eq(recv(r.fd, &c, 1, 0), 1);
	ck_assert_int_eq(c, '-');
	says("qC", "QC1");
	/* Not understood: once more. */
	ck_assert_int_eq(send(r.fd, "-", 1, MSG_NOSIGNAL), 1);
	ck_assert_str_eq(gdb_rig_hear(&r), "QC1");
	says("QStartNoAckMode", "OK");
	ck_assert_int_eq(send(r.fd, "$qC#00", 6, MSG_NOSIGNAL), 6);
	ck_assert_str_eq(gdb_rig_hear(&r), "closed");
	runs();
	gdb_rig_stop(&r);
}
END_TEST

START_TEST(second)
{
	int fd;
	char c;

	gdb_rig_start(&r, false);
	gdb_rig_attach(&r);
	fd = gdb_rig_dial(&r);
	ck_assert_int_eq(recv(fd, &c, 1, 0), 0);
	close(fd);
	says("qC", "QC1");
	/* While it runs only an interrupt is served. */
	gdb_rig_send(&r, "c");
	says("qC", "E0b");
	interrupt();
	ck_assert_str_eq(gdb_rig_hear(&r), "T02thread:1;");
	gdb_rig_stop(&r);
}
END_TEST

static void nothing(struct rig *rig, void *arg)
{
	(void)rig;
	(void)arg;
}

/* Asks and asks, and never reads: the loop serves others, and memory does not grow. */
START_TEST(no_reader)
{
	static const char flood[] = "$m80200000,1000#00";
	unsigned int i;

	gdb_rig_start(&r, false);
	gdb_rig_attach(&r);
	for (i = 0; i < 100000; i++)
		if (send(r.fd, "$m80200000,1000#de", sizeof(flood) - 1,
			 MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			break;
	ck_assert_uint_lt(i, 100000);
	rig_call(&r.rig, nothing, NULL);
	close(r.fd);
	r.fd = -1;
	rig_call(&r.rig, nothing, NULL);
	runs();
	gdb_rig_stop(&r);
}
END_TEST

/* Packets of random words, good in frame; then it hangs up in the middle of one. */
START_TEST(nonsense)
{
	static const char *const words[] = {
		"m",
		"M",
		"X",
		"g",
		"G",
		"p",
		"P",
		"Z0,",
		"z0,",
		"Z1",
		"H",
		"T",
		"vCont;",
		";s:1",
		"s",
		"c",
		":",
		",",
		"=",
		"8",
		"02",
		"00000",
		"ff",
		"-1",
		"qXfer:features:read:target.xml:",
		"q",
		"C",
		"qThreadExtraInfo,",
		"vCont?",
		"Q",
		"D1",
		"qqemu.PhyMemMode",
		"10",
		"?",
		"}",
		"*",
		"80200000",
		"ffffffff80000000",
		"~",
	};
	struct prng p = prng_start("nonsense");
	char packet[256];
	unsigned int i, n;

	gdb_rig_start(&r, true);
	for (i = 0; i < 3000; i++) {
		if (r.fd < 0)
			gdb_rig_attach(&r);
		packet[0] = '\0';
		for (n = prng_below(&p, 6) + 1; n; n--)
			strcat(packet, words[prng_below(&p, ARRAY_SIZE(words))]);
		if (packet[0] == 'k')
			continue;
		gdb_rig_send(&r, packet);
		/* What lets it go is answered when it stops; it may have hung up, too. */
		send(r.fd, "\x03", 1, MSG_NOSIGNAL);
		if (!strcmp(gdb_rig_hear(&r), "closed") || packet[0] == 'D') {
			close(r.fd);
			r.fd = -1;
		}
	}
	if (r.fd >= 0) {
		send(r.fd, "$m8020", 6, MSG_NOSIGNAL);
		close(r.fd);
		r.fd = -1;
	}
	rig_call(&r.rig, nothing, NULL);
	gdb_rig_stop(&r);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("gdb");
	TCase *tc = tcase_create("gdb"), *two = tcase_create("two harts");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, session);
	tcase_add_test(tc, description);
	tcase_add_test(tc, registers);
	tcase_add_test(tc, memory);
	tcase_add_test(tc, breakpoints);
	tcase_add_test(tc, many_breakpoints);
	tcase_add_test(tc, steps);
	tcase_add_test(tc, step_without_interrupts);
	tcase_add_test(tc, own);
	tcase_add_test(tc, restarted);
	tcase_add_test(tc, killed);
	tcase_add_test(tc, waits);
	tcase_add_test(tc, not_saved);
	tcase_add_test(tc, without_kvm);
	tcase_add_test(tc, damaged);
	tcase_add_test(tc, second);
	tcase_add_test(tc, no_reader);
	tcase_add_test(tc, nonsense);
	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(two, setup_two, teardown);
	tcase_set_timeout(two, 60);
	tcase_add_test(two, harts);
	suite_add_tcase(suite, two);
	return unit_main(suite);
}
