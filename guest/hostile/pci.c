// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pokes at PCI: configuration space, BARs, MSI-X, the configuration access
 * capability. PCI Local Bus 3.0, sections 6.2 and 6.8.2; virtio 1.2, section 4.1.4.9.
 * Without PCI there is nothing to poke and each is well.
 */
#include "hostile.h"

#define PCI_COMMAND 0x04
#define PCI_BAR0 0x10
#define C_CONFIG_VECTOR 0x10
#define C_QUEUE_VECTOR 0x1a
#define NO_VECTOR 0xffff
#define MSIX_ENABLE 0x8000
#define MSIX_MASK_ALL 0x4000
#define ENTRY 16

static bool vectors(struct stage *s)
{
	static const uint16_t bad[] = {0x7ff, 0x8000, 0xfffe, 2048};
	struct vdev *v = s->v;
	size_t i;

	if (!s->pci || !v->vectors)
		return true;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		wr16(v->common + C_CONFIG_VECTOR, bad[i]);
		if (rd16(v->common + C_CONFIG_VECTOR) != NO_VECTOR)
			return wrong("the configuration's vector is",
				     rd16(v->common + C_CONFIG_VECTOR));
		wr16(v->common + C_QUEUE_VECTOR, bad[i]);
		if (rd16(v->common + C_QUEUE_VECTOR) != NO_VECTOR)
			return wrong("a queue's vector is", rd16(v->common + C_QUEUE_VECTOR));
	}
	wr16(v->common + C_QUEUE_VECTOR, (uint16_t)v->vectors);
	if (rd16(v->common + C_QUEUE_VECTOR) != NO_VECTOR)
		return wrong("a vector behind the last is taken", v->vectors);
	return works(s, v);
}

/* The table and the pending bits in every width, and behind their ends. */
static bool msix_table(struct stage *s)
{
	struct vdev *v = s->v;
	uint64_t at, end = v->msix + (uint64_t)(v->vectors + 4) * ENTRY;
	uint64_t i;

	if (!s->pci || !v->vectors)
		return true;
	wr16(v->function + v->msix_cap + 2, MSIX_ENABLE | MSIX_MASK_ALL);
	for (at = v->msix; at < end; at++) {
		wr8(at, 0xff);
		rd8(at);
		if (!(at & 1)) {
			wr16(at, 0xffff);
			rd16(at);
		}
		if (!(at & 3)) {
			wr32(at, 0xffffffff);
			rd32(at);
		}
		if (!(at & 7)) {
			wr64(at, ~UINT64_C(0));
			rd64(at);
		}
	}
	for (at = v->pba; at < v->pba + 64; at += 8) {
		wr64(at, ~UINT64_C(0));
		wr32(at, 0xffffffff);
		rd64(at);
	}
	for (i = 0; i < s->count / 4; i++) {
		wr32(v->msix + 12, i & 1);
		wr16(v->function + v->msix_cap + 2,
		     (uint16_t)(MSIX_ENABLE | (i & 2 ? MSIX_MASK_ALL : 0)));
	}
	/* Messages to nowhere in particular: RAM, devices, nothing. */
	wr32(v->msix + 12, 0);
	wr16(v->common + C_QUEUE_VECTOR, 0);
	wr16(v->function + v->msix_cap + 2, MSIX_ENABLE);
	for (i = 0; i < 4; i++) {
		const uint64_t to[] = {(uint64_t)s->buf, s->guest->plic, 0, ~UINT64_C(0) - 3};

		wr32(v->msix, (uint32_t)to[i]);
		wr32(v->msix + 4, (uint32_t)(to[i] >> 32));
		wr32(v->msix + 8, 0x12345678);
		if (!works(s, v))
			return false;
	}
	wr16(v->function + v->msix_cap + 2, 0);
	return works(s, v);
}

/* The window through configuration space onto BARs. */
static bool config_access(struct stage *s)
{
	static const uint32_t offsets[] = {0, 4, 0x1000, 0x3fff, 0x4000, 0x7fffffff, 0xfffffffc};
	static const uint32_t lengths[] = {0, 1, 2, 3, 4, 5, 8, 0xffffffff};
	uint64_t cap = s->v->function + s->v->cfg_access;
	size_t i, j;
	int bar;

	if (!s->pci || !s->v->cfg_access)
		return true;
	for (bar = 0; bar < 256; bar += bar < 8 ? 1 : 31)
		for (i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++)
			for (j = 0; j < sizeof(lengths) / sizeof(lengths[0]); j++) {
				wr8(cap + 4, (uint8_t)bar);
				wr32(cap + 8, offsets[i]);
				wr32(cap + 12, lengths[j]);
				rd32(cap + 16);
				rd8(cap + 19);
				/* Harmless where it hits: the ISR and behind. */
				if (offsets[i] >= 0x1000)
					wr32(cap + 16, 0);
			}
	wr32(cap + 12, 0);
	return v_reset(s->v) || wrong("status", v_status(s->v));
}

/* A BAR wherever it must not be: what lies there still answers, not the BAR. */
static bool moved_bars(struct stage *s)
{
	const uint64_t places[] = {s->guest->ram[0].base,
				   s->guest->plic,
				   s->guest->serial,
				   s->guest->ecam.base,
				   0xfffff000,
				   0,
				   s->guest->pci_mem.base + s->guest->pci_mem.size - 16,
				   s->guest->pci_mem.base - 16};
	uint64_t f = s->v->function, other;
	uint32_t old[6], i, bar;

	if (!s->pci)
		return true;
	other = s->other ? rd32(s->other->function + PCI_BAR0) & ~15U : 0;
	for (i = 0; i < 6; i++)
		old[i] = rd32(f + PCI_BAR0 + 4 * i);
	for (bar = 0; bar < 6; bar++) {
		for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
			wr32(f + PCI_BAR0 + 4 * bar, (uint32_t)places[i]);
			rd8(s->guest->serial + 5);
			rd32(s->guest->plic + 4);
		}
		/* Onto a neighbour: one of the two answers there, and both do afterwards. */
		wr32(f + PCI_BAR0 + 4 * bar, (uint32_t)other);
		if (s->other)
			rd32(other);
		/* Size it while decoding is on, and put it back. */
		wr32(f + PCI_BAR0 + 4 * bar, 0xffffffff);
		wr32(f + PCI_BAR0 + 4 * bar, old[bar]);
		if (s->other && !works(s, s->other))
			return wrong("a neighbour is lost after BAR", bar);
	}
	for (i = 0; i < 100; i++)
		wr16(f + PCI_COMMAND, (uint16_t)(i & 1 ? 6 : 0));
	return works(s, s->v);
}

/* Functions and buses that are not there, every width, across words. */
static bool ecam(struct stage *s)
{
	uint64_t base = s->guest->ecam.base, at, i;

	if (!s->pci)
		return true;
	if (rd32(base + 31 * 0x8000 + 7 * 0x1000) != 0xffffffff ||
	    rd16(base + 31 * 0x8000) != 0xffff)
		return wrong("an absent function reads", rd32(base + 31 * 0x8000));
	wr32(base + 31 * 0x8000 + 4, 0x12345678);
	for (at = s->guest->ecam.size - 64; at < s->guest->ecam.size; at += 8)
		rd64(base + at);
	/* All of our own space: reads as they come, writes but for the command and BARs. */
	at = s->v->function;
	for (i = 0; i < 4096; i++) {
		rd8(at + i);
		if (!(i & 7))
			rd64(at + i);
		if (i >= 0x28)
			wr8(at + i, 0xff);
		if (i >= 0x28 && !(i & 7)) {
			wr64(at + i, ~UINT64_C(0));
			wr32(at + i, 0);
		}
	}
	/* The host bridge has nothing to write either. */
	for (i = 0; i < 256; i += 4)
		wr32(base + i, 0xffffffff);
	if (s->v->msix_cap)
		wr16(at + s->v->msix_cap + 2, 0);
	return v_reset(s->v) || wrong("status", v_status(s->v));
}

const struct poke pci_pokes[] = {
	{"A12-vectors", V_ID_BLK, vectors},
	{"A13", V_ID_BLK, msix_table},
	{"A14", V_ID_BLK, config_access},
	{"A15", V_ID_BLK, moved_bars},
	{"A16", V_ID_BLK, ecam},
	{NULL, 0, NULL},
};
