// SPDX-License-Identifier: GPL-2.0-only
/*
 * The state of the kernel's AIA through its attributes, against a model of KVM's: all of it
 * moves, in the order that sends no message twice, and what fits no other AIA is refused.
 */
#include "unit.h"

#include "lkvm/riscv/aia_state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define AIA_FD 7
#define VM_FD 8
#define HARTS 3
#define SOURCES 70
#define IDS 127

/* The KVM side: registers by attribute, and what happened that should not have. */
struct chip {
	uint64_t file[HARTS][0x100];
	uint32_t aplic[0x4000 / 4];
	bool level[SOURCES + 1];
	unsigned int calls, fail_at, messages;
	const char *wrong;
};

static struct chip from, to;
static struct error err;

static void wrong(struct chip *c, const char *what)
{
	if (!c->wrong)
		c->wrong = what;
}

static bool configured(const struct chip *c)
{
	unsigned int i;

	for (i = 1; i <= SOURCES; i++)
		if (c->aplic[i])
			return true;
	return false;
}

/* Level-high sources take pending only where the wire is high. */
static uint32_t takes(const struct chip *c, unsigned int word, uint32_t pending)
{
	unsigned int i;

	for (i = 0; i < 32; i++) {
		unsigned int source = 32 * word + i;

		if (source && source <= SOURCES && c->aplic[source] == 6 && !c->level[source])
			pending &= ~(UINT32_C(1) << i);
	}
	return pending;
}

static int aplic_attr(struct chip *c, uint64_t attr, uint32_t *value, bool set)
{
	unsigned int i;

	if (attr >= 0x4000 || attr % 4)
		return -EOPNOTSUPP;
	if (!set) {
		*value = c->aplic[attr / 4];
		return 0;
	}
	if (c->aplic[0] & 0x100 && attr)
		wrong(c, "the APLIC was changed with messages on");
	if (attr == 0x3000)
		wrong(c, "genmsi was written");
	if (attr >= 0x1c00 && attr < 0x1c80)
		*value = takes(c, (unsigned int)(attr - 0x1c00) / 4, *value);
	c->aplic[attr / 4] = *value;
	/* Messages are let go: what is pending and enabled is sent. */
	for (i = 0; !attr && *value & 0x100 && i <= SOURCES / 32; i++)
		c->messages += (unsigned int)__builtin_popcount(c->aplic[0x1c00 / 4 + i] &
								c->aplic[0x1e00 / 4 + i]);
	return 0;
}

static int imsic_attr(struct chip *c, uint64_t attr, uint64_t *value, bool set)
{
	uint64_t hart = attr >> 12, isel = attr & 0xfff;

	if (hart >= HARTS || isel < 0x70 || isel > 0xff || (isel >= 0x80 && isel % 2))
		return -EINVAL;
	if (isel >= 0x80 && (isel & 0x3f) / 2 >= (IDS + 1) / 64)
		return -EINVAL;
	if (!set) {
		*value = c->file[hart][isel];
		return 0;
	}
	if (c->file[hart][0x70])
		wrong(c, "an interrupt file was changed with delivery on");
	c->file[hart][isel] = *value;
	return 0;
}

static int on_ioctl(void *opaque, int fd, unsigned long request, unsigned long arg)
{
	const struct kvm_device_attr *a = (const struct kvm_device_attr *)arg;
	const struct kvm_irq_level *line = (const struct kvm_irq_level *)arg;
	struct chip *c = opaque;
	void *value;

	if (++c->calls == c->fail_at)
		return -EIO;
	if (fd == VM_FD && request == KVM_IRQ_LINE) {
		if (configured(c))
			wrong(c, "a wire was set with sources active");
		c->level[line->irq] = line->level;
		return 0;
	}
	if (fd != AIA_FD)
		return -EBADF;
	value = (void *)(uintptr_t)a->addr;
	if (a->group == AIA_GROUP_APLIC)
		return aplic_attr(c, a->attr, value, request == KVM_SET_DEVICE_ATTR);
	if (a->group == AIA_GROUP_IMSIC)
		return imsic_attr(c, a->attr, value, request == KVM_SET_DEVICE_ATTR);
	return -ENXIO;
}

static const struct kvm_sys_ops ops = {.ioctl = on_ioctl};

/* An AIA as a guest may have left it. */
static void fill(struct chip *c)
{
	unsigned int i, hart;

	for (hart = 0; hart < HARTS; hart++) {
		c->file[hart][0x70] = 1;
		c->file[hart][0x72] = hart;
		for (i = 0; i < 2; i++) {
			c->file[hart][0x80 + 2 * i] = UINT64_C(0x123400000000) << i | hart;
			c->file[hart][0xc0 + 2 * i] = UINT64_C(0xff00ff00ff00) + i;
		}
	}
	c->aplic[0] = 0x80000104;
	for (i = 1; i <= SOURCES; i++) {
		c->aplic[i] = i % 3 ? 6 : 0;
		c->aplic[0x3004 / 4 + i - 1] = i | (i % HARTS) << 18;
	}
	c->aplic[0x1e00 / 4] = 0xfffffff0;
	c->aplic[0x1e00 / 4 + 1] = 0x55;
	c->level[35] = true;
	c->aplic[0x1c00 / 4 + 1] = 1 << 3; /* source 35, not enabled: it waits */
	c->aplic[0x1e00 / 4 + 1] &= ~(UINT32_C(1) << 3);
}

static struct kvm kvm_of(struct chip *c)
{
	return (struct kvm){.sys = {.ops = &ops, .opaque = c}, .vm_fd = VM_FD};
}

static int move(struct chip *a, uint64_t *levels, struct xfer *x)
{
	struct kvm kvm = kvm_of(a);
	struct aia aia = {.kvm = &kvm, .fd = AIA_FD, .ids = IDS, .sources = SOURCES};

	aia_state_transfer(&aia, HARTS, levels, x);
	return xfer_done(x, &err);
}

static void setup(void)
{
	memset(&from, 0, sizeof(from));
	memset(&to, 0, sizeof(to));
	fill(&from);
}

START_TEST(round_trip)
{
	uint64_t levels[2] = {UINT64_C(1) << 35, 0}, got[2] = {0};
	struct xfer x, y, in;

	xfer_save_init(&x);
	ck_assert_msg(!move(&from, levels, &x), "%s", err.msg);
	xfer_load_init(&in, x.buf, x.len);
	ck_assert_msg(!move(&to, got, &in), "%s", err.msg);
	ck_assert_msg(!to.wrong, "%s", to.wrong);
	ck_assert_mem_eq(got, levels, sizeof(got));
	ck_assert_mem_eq(to.file, from.file, sizeof(to.file));
	ck_assert_mem_eq(to.aplic, from.aplic, sizeof(to.aplic));
	ck_assert_mem_eq(to.level, from.level, sizeof(to.level));
	ck_assert_uint_eq(to.messages, 0);
	xfer_save_init(&y);
	ck_assert_int_eq(move(&to, got, &y), 0);
	ck_assert_uint_eq(y.len, x.len);
	ck_assert_mem_eq(y.buf, x.buf, x.len);
	xfer_free(&x);
	xfer_free(&y);
}
END_TEST

/* Cut off, too long, or of an AIA with other numbers: refused before anything is written. */
START_TEST(refused)
{
	uint64_t levels[2] = {0};
	struct xfer x, in;
	size_t i;

	xfer_save_init(&x);
	ck_assert_int_eq(move(&from, levels, &x), 0);
	for (i = 0; i < x.len; i += i < 100 ? 1 : 97) {
		xfer_load_init(&in, x.buf, i);
		ck_assert_int_eq(move(&to, levels, &in), -1);
	}
	for (i = 0; i < 12; i++) {
		x.buf[i] ^= 1;
		xfer_load_init(&in, x.buf, x.len);
		ck_assert_int_eq(move(&to, levels, &in), -1);
		x.buf[i] ^= 1;
	}
	ck_assert_uint_eq(to.calls, 0);
	xfer_free(&x);
}
END_TEST

/* Each call fails once: told, and the walk stops there. */
START_TEST(faults)
{
	uint64_t levels[2] = {UINT64_C(1) << 35, 0};
	unsigned int calls, i;
	struct xfer x, in;

	xfer_save_init(&x);
	ck_assert_int_eq(move(&from, levels, &x), 0);
	calls = from.calls;
	for (i = 1; i <= calls; i++) {
		struct xfer y;

		from.calls = to.calls = 0;
		from.fail_at = to.fail_at = i;
		xfer_save_init(&y);
		ck_assert_int_eq(move(&from, levels, &y), -1);
		xfer_free(&y);
		xfer_load_init(&in, x.buf, x.len);
		ck_assert_int_eq(move(&to, levels, &in), -1);
		ck_assert_ptr_nonnull(strstr(err.msg, "KVM refused"));
		ck_assert_uint_eq(to.calls, i);
		memset(&to, 0, sizeof(to));
	}
	xfer_free(&x);
}
END_TEST

/* --- for people ------------------------------------------------------------------------------ */

static void note_word(void *opaque, const char *name, uint64_t value)
{
	char *text = opaque;

	sprintf(text + strlen(text), "%s=%llx ", name, (unsigned long long)value);
}

START_TEST(file_each)
{
	struct kvm kvm = kvm_of(&from);
	struct aia aia = {.kvm = &kvm, .fd = AIA_FD, .ids = IDS, .sources = SOURCES};
	char text[256] = "";

	ck_assert_int_eq(aia_file_each(&aia, 2, note_word, text), 0);
	ck_assert_str_eq(text, "eidelivery=1 eie0=ff00ff00ff00 eie2=ff00ff00ff01 "
			       "eip0=123400000002 eip2=246800000002 ");
	ck_assert_int_lt(aia_file_each(&aia, HARTS, note_word, text), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("aia_state");
	TCase *tc = tcase_create("aia_state");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, round_trip);
	tcase_add_test(tc, refused);
	tcase_add_test(tc, faults);
	tcase_add_test(tc, file_each);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
