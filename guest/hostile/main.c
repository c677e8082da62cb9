// SPDX-License-Identifier: GPL-2.0-only
/*
 * hostile: the frame around the pokes.
 *
 * The command line says
 *
 *	poke=NAME	what to do; "list" prints the transport's names with the device they need
 *	bus=mmio|pci	which transport
 *	count=N		for storms (1000)
 *
 * The console says, line by line, and a line from the console is awaited in between
 * so that whoever watches can look at the process:
 *
 *	hostile: ready		devices found and working; waits. The line "over" ends it here.
 *	hostile: poked		the device answered as it must; all others still work; waits
 *	hostile: after		after a reset the device works again, as the others do; waits
 *	hostile: busy		it waits to be killed, with work in flight (C5-killed)
 *	hostile: good		or "hostile: wrong: WHAT VALUE"
 */
#include "hostile.h"

#define BUF_PAGES 16

static const struct poke *const all[] = {
	transport_pokes, pci_pokes,   ring_pokes,  packed_pokes,  blk_pokes, misc_pokes,
	net_pokes,	 vsock_pokes, share_pokes, message_pokes, end_pokes,
};

bool wrong(const char *what, uint64_t value)
{
	print("hostile: wrong: %s %x\n", what, value);
	return false;
}

bool up(struct stage *s, struct vdev *v, uint64_t features, uint32_t num)
{
	uint32_t i;

	if (!v_begin(v, features))
		return wrong("features are refused, status", v_status(v));
	for (i = 0; i < V_MAX_QUEUES && v_queue_max(v, i); i++)
		if (!v_queue(v, s->bus, i, num))
			return wrong("no queue", i);
	v_set_status(v, V_RUNS);
	if (v_status(v) != V_RUNS)
		return wrong("status", v_status(v));
	return true;
}

void blk_request(struct stage *s, uint32_t type, uint64_t sector, const volatile void *data,
		 uint32_t len, bool write)
{
	struct vring *r = &s->v->ring[0];

	BLK_HEADER(s)->type = type;
	BLK_HEADER(s)->reserved = 0;
	BLK_HEADER(s)->sector = sector;
	*BLK_STATUS(s) = 0xff;
	v_desc(r, 0, BLK_HEADER(s), 16, VD_NEXT, data ? 1 : 2);
	v_desc(r, 1, data, len, (uint16_t)(VD_NEXT | (write ? VD_WRITE : 0)), 2);
	v_desc(r, 2, BLK_STATUS(s), 1, VD_WRITE, 0);
}

/* --- requests that make sense ------------------------------------------------- */

static bool blk_works(struct stage *s, struct vdev *v)
{
	struct stage on = *s;
	uint32_t len = 0;

	on.v = v;
	blk_request(&on, BLK_IN, 0, BLK_DATA(s), 512, true);
	v_offer(&v->ring[0], 0);
	if (!v_wait(v, s->guest, 0, NULL, &len))
		return wrong("a disk does not answer, status", v_status(v));
	if (*BLK_STATUS(s))
		return wrong("a read fails with", *BLK_STATUS(s));
	return len == 513 || wrong("a read's length is", len);
}

static bool one_buffer(struct stage *s, struct vdev *v, uint32_t queue, uint32_t len,
		       uint16_t flags)
{
	uint32_t used = 0;

	v_desc(&v->ring[queue], 0, BLK_DATA(s), len, flags, 0);
	v_offer(&v->ring[queue], 0);
	if (!v_wait(v, s->guest, queue, NULL, &used))
		return wrong("a device does not answer, ID", v->id);
	if (flags & VD_WRITE && !used)
		return wrong("a device fills nothing, ID", v->id);
	return true;
}

/* Tversion (size, type 100, tag, msize, "9P2000.L") and room for the answer. */
static bool share_works(struct stage *s, struct vdev *v)
{
	static const uint8_t version[] = {21, 0, 0,   0,   100, 0xff, 0xff, 0,	 0x20, 0,  0,
					  8,  0, '9', 'P', '2', '0',  '0',  '0', '.',  'L'};
	struct vring *r = &v->ring[0];
	uint32_t len = 0;
	size_t i;

	for (i = 0; i < sizeof(version); i++)
		BLK_DATA(s)[i] = version[i];
	v_desc(r, 0, BLK_DATA(s), sizeof(version), VD_NEXT, 1);
	v_desc(r, 1, BLK_DATA(s) + 512, 512, VD_WRITE, 0);
	v_offer(r, 0);
	if (!v_wait(v, s->guest, 0, NULL, &len))
		return wrong("a share does not answer, status", v_status(v));
	return (len == 21 && BLK_DATA(s)[512 + 4] == 101) ||
	       wrong("a share's answer has length", len);
}

static bool net_works(struct stage *s, struct vdev *v)
{
	size_t i;

	/* 12 bytes of virtio header, then a broadcast from ourselves of a type nobody has. */
	for (i = 0; i < 12 + 60; i++)
		BLK_DATA(s)[i] = i < 12 ? 0 : i < 18 ? 0xff : 0;
	for (i = 0; i < 6; i++)
		BLK_DATA(s)[18 + i] = rd8(v_config(v) + i);
	BLK_DATA(s)[24] = 0x88;
	BLK_DATA(s)[25] = 0xb5;
	return one_buffer(s, v, 1, 12 + 60, 0);
}

/* A packet to a port where nobody listens; the answer comes on queue 0. */
static bool vsock_works(struct stage *s, struct vdev *v)
{
	uint64_t at = (uint64_t)BLK_DATA(s), answer = at + 2048;
	uint32_t cid = rd32(v_config(v)), len = 0;
	size_t i;

	for (i = 0; i < 44; i += 4)
		wr32(at + i, 0);
	wr32(at, cid);	 /* from us, port 77 */
	wr32(at + 8, 2); /* to the host, port 99 */
	wr32(at + 16, 77);
	wr32(at + 20, 99);
	wr16(at + 28, 1); /* stream */
	wr16(at + 30, 1); /* REQUEST */
	v_desc(&v->ring[0], 0, (void *)answer, 2048, VD_WRITE, 0);
	v_offer(&v->ring[0], 0);
	if (!one_buffer(s, v, 1, 44, 0))
		return false;
	if (!v_wait(v, s->guest, 0, NULL, &len))
		return wrong("vsock sends no answer, status", v_status(v));
	return (len >= 44 && rd16(answer + 30) == 3) ||
	       wrong("vsock's answer is", rd16(answer + 30));
}

/* A flush. */
static bool pmem_works(struct stage *s, struct vdev *v)
{
	struct vring *r = &v->ring[0];
	uint64_t at = (uint64_t)BLK_DATA(s);
	uint32_t len = 0;

	wr32(at, 0);
	wr32(at + 64, 0xffffffff);
	v_desc(r, 0, (void *)at, 4, VD_NEXT, 1);
	v_desc(r, 1, (void *)(at + 64), 4, VD_WRITE, 0);
	v_offer(r, 0);
	if (!v_wait(v, s->guest, 0, NULL, &len))
		return wrong("persistent memory does not answer, status", v_status(v));
	return (len == 4 && !rd32(at + 64)) || wrong("a flush fails with", rd32(at + 64));
}

bool works(struct stage *s, struct vdev *v)
{
	switch (v->id) {
	case V_ID_BLK:
		return blk_works(s, v);
	case V_ID_RNG:
		return one_buffer(s, v, 0, 8, VD_WRITE);
	case V_ID_CONSOLE:
		BLK_DATA(s)[0] = '.';
		return one_buffer(s, v, 1, 1, 0);
	case V_ID_BALLOON:
		wr32((uint64_t)BLK_DATA(s), (uint32_t)((uint64_t)s->buf >> 12) + 8);
		return one_buffer(s, v, 0, 4, 0) && one_buffer(s, v, 1, 4, 0);
	case V_ID_NET:
		return net_works(s, v);
	case V_ID_VSOCK:
		return vsock_works(s, v);
	case V_ID_9P:
		return share_works(s, v);
	case V_ID_PMEM:
		return pmem_works(s, v);
	default:
		return true;
	}
}

bool sane(struct stage *s, struct vdev *v)
{
	return up(s, v, 0, 16) && works(s, v);
}

bool needs_reset(struct stage *s)
{
	uint32_t why;

	if (!(v_status(s->v) & V_NEEDS_RESET))
		return wrong("no NEEDS_RESET in status", v_status(s->v));
	why = v_interrupt(s->v);
	return why & 2 || wrong("no configuration interrupt in", why);
}

bool broke(struct stage *s, uint32_t queue, uint16_t head)
{
	uint64_t until = read_time() + s->guest->timebase;

	v_offer(&s->v->ring[queue], head);
	v_notify(s->v, queue);
	while (!(v_status(s->v) & V_NEEDS_RESET) && read_time() < until)
		;
	if (v_get(&s->v->ring[queue], NULL, NULL))
		return wrong("a broken chain was given back, head", head);
	return needs_reset(s);
}

/* --- the play -------------------------------------------------------------------- */

static const struct poke *find(const char *name)
{
	const struct poke *p;
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		for (p = all[i]; p->name; p++)
			if (same(p->name, name))
				return p;
	return NULL;
}

static bool list(bool pci)
{
	const struct poke *p;
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		for (p = all[i]; p->name; p++)
			if (pci || all[i] != pci_pokes)
				print("%s %u\n", p->name, (uint64_t)p->id);
	return true;
}

/* False: it is over already. */
static bool pause_for(const struct guest *guest, const char *what)
{
	char line[8];

	print("hostile: %s\n", what);
	read_line(guest, line, sizeof(line));
	return !same(line, "over");
}

/* Those of other kinds run on as they were. */
static bool others_work(struct stage *s)
{
	size_t i;

	for (i = 0; i < s->bus->nr; i++)
		if (s->bus->dev[i].id != s->v->id && !works(s, &s->bus->dev[i]))
			return wrong("another device is disturbed, ID", s->bus->dev[i].id);
	return true;
}

static bool play(struct stage *s, const struct poke *poke)
{
	size_t i;

	/* What is made at first use is there when the first look is taken. */
	for (i = 0; i < s->bus->nr; i++)
		if (!sane(s, &s->bus->dev[i]))
			return false;
	if (!pause_for(s->guest, "ready"))
		return true;
	if (!poke->play(s) || !others_work(s))
		return false;
	pause_for(s->guest, "poked");
	/* Its like may have been used for the poke. */
	for (i = 0; i < s->bus->nr; i++)
		if (s->bus->dev[i].id == s->v->id && !sane(s, &s->bus->dev[i]))
			return false;
	if (!others_work(s))
		return false;
	pause_for(s->guest, "after");
	return leave(s, poke->name);
}

bool guest_main(const struct guest *guest)
{
	/* Too big for the stack. */
	static struct vbus bus;
	struct stage s = {.guest = guest, .bus = &bus};
	char name[32] = "", transport[8] = "mmio";
	const struct poke *poke;
	size_t i;

	option(guest, "poke", name, sizeof(name));
	option(guest, "bus", transport, sizeof(transport));
	s.count = option_number(guest, "count", 1000);
	s.pci = same(transport, "pci");
	if (same(name, "list"))
		return list(s.pci);
	poke = find(name);
	if (!poke)
		return wrong("there is no such poke", 0);
	vbus_find(&bus, guest, s.pci);
	s.buf = vbus_pages(&bus, BUF_PAGES);
	s.v = vbus_device(&bus, poke->id, 0);
	for (i = 0; i < bus.nr && !s.other; i++)
		if (bus.dev[i].id != poke->id)
			s.other = &bus.dev[i];
	if (!s.v || !s.buf)
		return wrong("there is no such device, ID", poke->id);
	if (!play(&s, poke))
		return false;
	print("hostile: good\n");
	return true;
}
