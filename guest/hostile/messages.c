// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pokes at interrupt chips and at messages to them: the PLIC (PLIC specification 1.0.0),
 * or the kernel's APLIC and IMSICs (AIA 1.0) and MSI-X vectors that point at them, beside
 * them and far away. A chip that is not there is not poked, and each poke is well.
 */
#include "hostile.h"

#define C_QUEUE_SELECT 0x16
#define C_QUEUE_VECTOR 0x1a
#define MSIX_ENABLE 0x8000
#define E_ADDRESS 0
#define E_DATA 8
#define E_CONTROL 12
#define PAGE 4096

/* --- chips ------------------------------------------------------------------------------- */

static bool plic_sweep(struct stage *s)
{
	static const uint32_t ids[] = {0, 1, 127, 128, 1023, 1024, 0x80000000, 0xffffffff};
	uint64_t plic = s->guest->plic, at, context, i;

	/* Priorities, pending bits, enables, and what lies behind their ends. */
	for (at = 0; at < 0x400000; at += at < 0x100 ? 4 : at < 0x2200 ? 0x40 : 0x8000) {
		wr32(plic + at, 0xffffffff);
		rd32(plic + at);
		rd8(plic + at);
		wr64(plic + at / 8 * 8, ~UINT64_C(0));
		wr32(plic + at, 0);
	}
	for (context = 0; context < 2048; context += context < 4 ? 1 : 255) {
		at = plic + 0x200000 + 0x1000 * context;
		wr32(at, 0xffffffff);
		wr32(at, 0);
		for (i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
			rd32(at + 4);
			wr32(at + 4, ids[i]);
			wr16(at + 4, (uint16_t)ids[i]);
		}
	}
	return rd32(plic) ? wrong("source 0 has a priority", rd32(plic)) : true;
}

/* KVM's own registers: what it makes of them is between it and this guest. */
static bool aia_sweep(struct stage *s)
{
	uint64_t aplic = s->guest->aplic, imsic = s->guest->imsic, at;
	unsigned int hart;

	for (at = 0; at < 0x8000; at += at < 0x40 ? 4 : 0x40) {
		rd32(aplic + at);
		wr32(aplic + at, 0xffffffff);
		wr32(aplic + at, 0);
	}
	/* Each hart's page, and those of harts and guests that are not there. */
	for (hart = 0; hart < s->guest->nr_harts + 8; hart++) {
		for (at = imsic + hart * PAGE; at < imsic + (hart + 1) * PAGE; at += 0x7fc) {
			rd32(at);
			wr32(at, 0);
			wr32(at, 0xffffffff);
		}
	}
	return true;
}

static bool sweep(struct stage *s)
{
	if (s->guest->plic && !plic_sweep(s))
		return false;
	if (s->guest->imsic && !aia_sweep(s))
		return false;
	return works(s, s->v);
}

/* --- messages ----------------------------------------------------------------------------- */

static void aim(struct vdev *v, uint64_t address, uint32_t data)
{
	wr32(v->msix + E_CONTROL, 1);
	wr32(v->msix + E_ADDRESS, (uint32_t)address);
	wr32(v->msix + E_ADDRESS + 4, (uint32_t)(address >> 32));
	wr32(v->msix + E_DATA, data);
	wr32(v->msix + E_CONTROL, 0);
}

static bool messages_on(struct stage *s)
{
	struct vdev *v = s->v;

	if (!s->pci || !v->vectors || !s->guest->imsic)
		return false;
	wr16(v->function + v->msix_cap + 2, MSIX_ENABLE);
	wr16(v->common + C_QUEUE_SELECT, 0);
	wr16(v->common + C_QUEUE_VECTOR, 0);
	return true;
}

static bool messages_off(struct stage *s)
{
	wr16(s->v->function + s->v->msix_cap + 2, 0);
	return works(s, s->v);
}

/* Where no interrupt file is: not sent, and pending until the vector points at one. */
static bool nobodys_addresses(struct stage *s)
{
	uint64_t imsic = s->guest->imsic, nr = s->guest->nr_harts;
	const uint64_t bad[] = {imsic + nr * PAGE,
				imsic + (nr + 1) * PAGE,
				imsic + 1023 * PAGE,
				imsic - 4,
				imsic + (UINT64_C(1) << 24),
				imsic | UINT64_C(1) << 63,
				imsic | UINT64_C(1) << 32,
				s->guest->aplic,
				(uint64_t)s->buf,
				0,
				~UINT64_C(3)};
	struct vdev *v = s->v;
	size_t i;

	if (!messages_on(s))
		return true;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		aim(v, bad[i], 5);
		if (!works(s, v))
			return false;
		if (!(rd32(v->pba) & 1))
			return wrong("a message went to", bad[i]);
	}
	aim(v, imsic, 5);
	if (rd32(v->pba) & 1)
		return wrong("a vector stays pending, bits", rd32(v->pba));
	return messages_off(s);
}

/* Identities that a file does not have, registers of a page that are none. */
static bool odd_identities(struct stage *s)
{
	static const uint32_t ids[] = {0,   1,	  62,	 63,	     64,	 255,
				       256, 2047, 0x800, 0x10000001, 0x80000000, 0xffffffff};
	static const uint32_t offsets[] = {0, 4, 8, 0x800, 0xffc};
	struct vdev *v = s->v;
	size_t i, j;

	if (!messages_on(s))
		return true;
	for (i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		for (j = 0; j < sizeof(offsets) / sizeof(offsets[0]); j++) {
			aim(v, s->guest->imsic + offsets[j], ids[i]);
			if (!works(s, v))
				return false;
		}
	}
	return messages_off(s);
}

/* Masked, unmasked and changed over and over, by halves and as a whole, with requests. */
static bool mask_storm(struct stage *s)
{
	struct vdev *v = s->v;
	uint64_t i;

	if (!messages_on(s))
		return true;
	for (i = 0; i < s->count; i++) {
		uint64_t page = s->guest->imsic + i % (s->guest->nr_harts + 1) * PAGE;

		switch (i % 4) {
		case 0:
			wr32(v->msix + E_CONTROL, (uint32_t)(i / 4 & 1));
			break;
		case 1:
			wr64(v->msix + E_ADDRESS, page);
			break;
		case 2:
			wr64(v->msix + E_DATA, 1 + i % 255);
			break;
		default:
			wr32(v->msix + E_ADDRESS, (uint32_t)page | 3);
			break;
		}
		if (i % 32 == 31 && !works(s, v))
			return false;
	}
	/* Whatever was pending is sent now, and nothing afterwards. */
	aim(v, s->guest->imsic, 7);
	if (!works(s, v) || rd32(v->pba) & 1)
		return wrong("pending after the storm, bits", rd32(v->pba));
	return messages_off(s);
}

/* An interrupt for each request, to a hart and to nobody, with the queue's vector moving. */
static bool message_storm(struct stage *s)
{
	struct vdev *v = s->v;
	uint64_t i;

	if (!messages_on(s))
		return true;
	for (i = 0; i < s->count / 4; i++) {
		if (i % 16 == 0)
			aim(v, s->guest->imsic + (i & 16 ? 512 * PAGE : 0), 9);
		if (i % 16 == 8)
			wr16(v->common + C_QUEUE_VECTOR, (uint16_t)(i & 8 ? 0 : 0xffff));
		if (!works(s, v))
			return false;
	}
	return messages_off(s);
}

const struct poke message_pokes[] = {
	{"D2", V_ID_BLK, sweep},
	{"D11-address", V_ID_BLK, nobodys_addresses},
	{"D11-identity", V_ID_BLK, odd_identities},
	{"A13-storm", V_ID_BLK, mask_storm},
	{"A17-message", V_ID_BLK, message_storm},
	{NULL, 0, NULL},
};
