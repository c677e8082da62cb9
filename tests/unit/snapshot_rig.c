// SPDX-License-Identifier: GPL-2.0-only
/*
 * The rig of snapshot_rig.h.
 */
#include "snapshot_rig.h"

#include "lkvm/riscv/isa.h"
#include "lkvm/riscv/regs.h"
#include "unit.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct error err;

const struct fake_op snapshot_hello[] = {
	{.kind = FAKE_STORE, .addr = PLIC + 4 * 10, .value = 3, .size = 4},
	{.kind = FAKE_STORE, .addr = PLIC + 0x2000, .value = 1 << 10, .size = 4},
	{.kind = FAKE_PRINT, .addr = UART, .text = "before the file\n"},
	/* The transmitter is empty: an interrupt from the serial port. */
	{.kind = FAKE_STORE, .addr = UART + 1, .value = 2, .size = 1},
	{.kind = FAKE_STORE, .addr = 0x00101010, .value = 1, .size = 4},
	{.kind = FAKE_WAIT},
	{.kind = FAKE_PRINT, .addr = UART, .text = "never seen\n"},
	{.kind = FAKE_END},
};

/* What a guest might have in a hart. */
void scribble(struct fake_vcpu *v)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(v->core); i++)
		v->core[i] = 0x1111000000000000u * (v->id + 1) + i;
	v->core[CORE_MODE] = 0;
	for (i = 0; i < ARRAY_SIZE(v->csr); i++)
		v->csr[i] = 0x2222000000000000u + i;
	v->csr[CSR_SIP] = 0x2;
	v->csr[CSR_SATP] = UINT64_C(9) << 60 | 0x1234;
	for (i = 0; i < 32; i++)
		v->fp[i] = 0x4444555566660000u + i;
	v->fcsr = 0x21;
	for (i = 0; i < 4; i++)
		v->vector[i] = 3 + i;
	for (i = 0; i < ARRAY_SIZE(v->v); i++)
		memset(v->v[i], (int)(0x40 + i), sizeof(v->v[i]));
	for (i = 0; i < ARRAY_SIZE(v->aia); i++)
		v->aia[i] = 0x5555000000000000u + i;
	v->sstateen0 = 0x6666;
	v->fwft[1] = 1;
	v->fwft[2] = 1;
	v->compare = 0x123456 + v->id;
	v->sta[0] = 0x80004040;
	v->sta[1] = 0;
}

static void saved(void *opaque, const struct snapshot_result *result, const struct error *why)
{
	struct save *s = opaque;

	s->ret = result ? 0 : -1;
	if (result)
		s->result = *result;
	else
		s->why = *why;
	sem_post(&s->over);
}

void begin_save(struct rig *rig, void *arg)
{
	struct save *s = arg;

	sem_init(&s->over, 0, 0);
	s->ret = snapshot_begin(rig->vm, &s->req, saved, s, &s->why);
	if (s->ret)
		sem_post(&s->over);
}

int end_save(struct save *s)
{
	while (sem_wait(&s->over))
		;
	sem_destroy(&s->over);
	return s->ret;
}

int save_as(struct rig *rig, enum snapshot_encoding encoding)
{
	struct save s = {
		.req = {.fd = memfd_create("snapshot", MFD_CLOEXEC), .encoding = encoding}};

	ck_assert_int_ge(s.req.fd, 0);
	/* It stays open when the rig looks whether anything does. */
	rig->fds_before++;
	rig_call(rig, begin_save, &s);
	ck_assert_msg(!end_save(&s), "%s", s.why.msg);
	return s.req.fd;
}

void do_pause(struct rig *rig, void *arg)
{
	(void)arg;
	ck_assert_int_eq(vm_pause(rig->vm, 5000), 0);
}

void do_unpause(struct rig *rig, void *arg)
{
	(void)arg;
	vm_unpause(rig->vm);
}

void do_reset(struct rig *rig, void *arg)
{
	(void)arg;
	vm_reset(rig->vm);
}

void quit(struct rig *rig)
{
	vm_end(rig->vm, VM_QUIT);
	ck_assert_int_eq(rig_join(rig), VM_QUIT);
	rig_end(rig);
}

static void fill_memory(struct rig *rig)
{
	uint64_t i;

	for (i = 0; i < 64 * MIB; i += 1234567)
		memset(memory_for_write(&rig->vm->mem, RAM + i, 77), (int)(i >> 8 & 0xff) + 1, 77);
}

void first_vm(struct rig *rig, enum fake_kernel kernel)
{
	rig_init(rig, kernel);
	rig->cfg.cpus = 2;
	rig->cfg.params = "quiet";
	rig->host->programs[0] = snapshot_hello;
	rig_create(rig);
	fill_memory(rig);
	rig_start(rig);
	ck_assert(fake_wait_idle(rig->host, 0));
	ck_assert(fake_wait_idle(rig->host, 1));
	rig_call(rig, do_pause, NULL);
	scribble(fake_vcpu(rig->host, 0));
	scribble(fake_vcpu(rig->host, 1));
	fake_vm(rig->host)->time = 777;
}

void with_svadu(struct rig *rig, bool on)
{
	rig->host->host_isa[ISA_EXT_SVADU] = on;
	rig->host->hw_ad = on;
}

void second_init(struct second *s, int fd, enum fake_kernel kernel)
{
	rig_init(&s->rig, kernel);
	ck_assert_msg(!snapshot_open(&s->file, fd, &err), "%s", err.msg);
	ck_assert_msg(!snapshot_saved_read(&s->saved, &s->file, &s->rig.arch, &err), "%s", err.msg);
	s->saved.cfg.console_in = s->rig.guest_in;
	s->saved.cfg.console_out = s->rig.guest_out;
	snapshot_image(&s->image, &s->file, &s->saved);
	s->saved.cfg.image = &s->image.image;
	s->rig.cfg = s->saved.cfg;
}

void second_end(struct second *s)
{
	quit(&s->rig);
	snapshot_saved_free(&s->saved);
	snapshot_close(&s->file);
}

off_t place_of(int fd, gpa_t gpa)
{
	struct snapshot_memory m;
	struct snapshot_file f;
	off_t at;

	ck_assert_int_eq(snapshot_open(&f, fd, &err), 0);
	ck_assert_int_eq(snapshot_memory_open(&m, &f, &err), 0);
	at = (off_t)(m.regions[0].offset + gpa - m.regions[0].gpa);
	snapshot_memory_close(&m);
	snapshot_close(&f);
	return at;
}

long long differs_at(int a, int b)
{
	struct stat x, y;
	uint8_t *p, *q;
	off_t i;

	ck_assert_int_eq(fstat(a, &x), 0);
	ck_assert_int_eq(fstat(b, &y), 0);
	p = mmap(NULL, (size_t)x.st_size, PROT_READ, MAP_SHARED, a, 0);
	q = mmap(NULL, (size_t)y.st_size, PROT_READ, MAP_SHARED, b, 0);
	for (i = 0; i < x.st_size && i < y.st_size && p[i] == q[i]; i++)
		;
	munmap(p, (size_t)x.st_size);
	munmap(q, (size_t)y.st_size);
	return i == x.st_size && i == y.st_size ? -1 : i;
}

void same_file(int a, int b)
{
	long long at = differs_at(a, b);

	ck_assert_msg(at < 0, "byte %lld differs", at);
}

bool has_reason(const struct reasons *why, const char *text)
{
	unsigned int i;

	for (i = 0; i < why->nr && i < REASONS_MAX; i++)
		if (strstr(why->list[i].msg, text))
			return true;
	return false;
}
