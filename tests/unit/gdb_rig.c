// SPDX-License-Identifier: GPL-2.0-only
/*
 * The rig of gdb_rig.h.
 */
#include "gdb_rig.h"

#include "lkvm/riscv/regs.h"
#include "unit.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* What GNU as makes of the text beside it; nop where nothing is said. */
static const uint32_t code[] = {
	[0x00 / 4] = 0x00150513,			    /* addi a0, a0, 1 */
	[0x04 / 4] = 0x00010505,			    /* c.addi a0, 1; c.nop */
	[0x08 / 4] = 0x008000ef,			    /* jal ra, CODE_FUNC */
	[0x0c / 4] = 0xff5ff06f,			    /* j CODE_LOOP */
	[0x10 / 4] = 0x00168693,			    /* addi a3, a3, 1 */
	[0x14 / 4] = 0x00008067,			    /* ret */
	[0x40 / 4] = 0x100537af,			    /* lr.d a5, (a0) */
	[0x44 / 4] = 0x00170713,			    /* addi a4, a4, 1 */
	[0x48 / 4] = 0x18c5372f,			    /* sc.d a4, a2, (a0) */
	[0x4c / 4] = 0xfe071ae3,			    /* bnez a4, CODE_SEQUENCE */
	[0x50 / 4] = 0x0000006f,			    /* j . */
	[0x80 / 4] = 0x00100073,			    /* ebreak */
	[0x84 / 4] = 0x0000006f,  [0xc0 / 4] = 0x00160613,  /* addi a2, a2, 1 */
	[0xc4 / 4] = 0x0000006f,  [0x100 / 4] = 0x10500073, /* wfi */
	[0x104 / 4] = 0x10200073,			    /* sret */
};

static const struct fake_op cpu[] = {{.kind = FAKE_CPU}};

static const struct fake_op *program(void *opaque, unsigned int generation, unsigned int hart)
{
	(void)opaque;
	(void)generation;
	(void)hart;
	return cpu;
}

void gdb_rig_init(struct gdb_rig *r, unsigned int cpus)
{
	memset(r, 0, sizeof(*r));
	r->fd = -1;
	rig_init(&r->rig, FAKE_7_2);
	r->rig.cfg.cpus = cpus;
	r->rig.host->program = program;
	snprintf(r->dir, sizeof(r->dir), "/tmp/lkvm-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(r->dir));
	snprintf(r->path, sizeof(r->path), "%s/gdb", r->dir);
}

void gdb_rig_end(struct gdb_rig *r)
{
	if (r->fd >= 0)
		close(r->fd);
	rig_end(&r->rig);
	/* The stub's socket has gone with it. */
	ck_assert_int_eq(rmdir(r->dir), 0);
}

static void prepare(struct gdb_rig *r)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(code); i++) {
		uint32_t word = htole32(code[i] ? code[i] : 0x00000013);

		ck_assert(memory_write(&r->rig.vm->mem, CODE + 4 * i, &word, 4));
	}
	for (i = 0; i < r->rig.cfg.cpus; i++) {
		struct fake_vcpu *v = fake_vcpu(r->rig.host, i);

		v->stopped = false;
		v->core[CORE_PC] = CODE_LOOP;
		v->csr[CSR_STVEC] = CODE_VECTOR;
	}
}

void gdb_rig_start(struct gdb_rig *r, bool wait)
{
	struct gdb_address address;
	char text[128];

	rig_create(&r->rig);
	prepare(r);
	snprintf(text, sizeof(text), "unix:%s%s", r->path, wait ? ",wait" : "");
	ck_assert_int_eq(gdb_parse(text, &address, &r->rig.err), 0);
	r->rig.vm->gdb = gdb_create(r->rig.vm, &address, &r->rig.err);
	ck_assert_msg(r->rig.vm->gdb, "%s", r->rig.err.msg);
	rig_start(&r->rig);
}

int gdb_rig_dial(struct gdb_rig *r)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = 10};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	memcpy(addr.sun_path, r->path, sizeof(r->path));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

void gdb_rig_send(struct gdb_rig *r, const char *packet)
{
	uint8_t sum = 0;
	char text[4096];
	size_t i;
	int len;

	for (i = 0; packet[i]; i++)
		sum = (uint8_t)(sum + (uint8_t)packet[i]);
	len = snprintf(text, sizeof(text), "$%s#%02x", packet, sum);
	ck_assert_uint_lt(len, sizeof(text));
	ck_assert_int_eq(send(r->fd, text, (size_t)len, MSG_NOSIGNAL), len);
}

const char *gdb_rig_hear(struct gdb_rig *r)
{
	static char text[32768];
	size_t len = 0;
	char c = 0;
	ssize_t n;

	while ((n = recv(r->fd, &c, 1, 0)) == 1 && c != '$')
		;
	while (n == 1 && (n = recv(r->fd, &c, 1, 0)) == 1 && c != '#')
		text[len++] = c;
	if (n != 1)
		return n ? "late" : "closed";
	text[len] = '\0';
	ck_assert_int_eq(recv(r->fd, &c, 1, 0), 1);
	ck_assert_int_eq(recv(r->fd, &c, 1, 0), 1);
	if (r->ack)
		ck_assert_int_eq(send(r->fd, "+", 1, MSG_NOSIGNAL), 1);
	return text;
}

const char *gdb_rig_ask(struct gdb_rig *r, const char *packet)
{
	gdb_rig_send(r, packet);
	return gdb_rig_hear(r);
}

void gdb_rig_attach(struct gdb_rig *r)
{
	r->fd = gdb_rig_dial(r);
	r->ack = true;
	ck_assert_ptr_nonnull(strstr(
		gdb_rig_ask(r, "qSupported:multiprocess+;swbreak+;xmlRegisters=i386"), "swbreak+"));
	ck_assert_str_eq(gdb_rig_ask(r, "QStartNoAckMode"), "OK");
	r->ack = false;
}

uint64_t gdb_rig_number(struct gdb_rig *r, unsigned int nr)
{
	char packet[16];
	const char *text;
	uint64_t value;

	snprintf(packet, sizeof(packet), "p%x", nr);
	text = gdb_rig_ask(r, packet);
	ck_assert_msg(strlen(text) == 16, "register %u: %s", nr, text);
	value = strtoull(text, NULL, 16);
	return __builtin_bswap64(value);
}

void gdb_rig_stop(struct gdb_rig *r)
{
	vm_end(r->rig.vm, VM_QUIT);
	ck_assert_int_eq(rig_join(&r->rig), VM_QUIT);
}
