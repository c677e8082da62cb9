// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pokes at a disk: virtio 1.2, section 5.2.6. The host sees to it that the image is
 * as long as before.
 */
#include "hostile.h"

#define S_OK 0
#define S_IOERR 1
#define S_UNSUPP 2

/* Carry out what blk_request() built; its status. */
static int ask(struct stage *s)
{
	v_offer(&s->v->ring[0], 0);
	if (!v_wait(s->v, s->guest, 0, NULL, NULL)) {
		wrong("no answer, status", v_status(s->v));
		return -1;
	}
	return *BLK_STATUS(s);
}

static uint64_t sectors(struct stage *s)
{
	return rd64(v_config(s->v));
}

static bool fails(struct stage *s, uint32_t type, uint64_t sector, uint32_t len)
{
	bool in = type == BLK_IN || type == BLK_GET_ID;
	int status;

	blk_request(s, type, sector, BLK_DATA(s), len, in);
	status = ask(s);
	return status == S_IOERR || status == S_UNSUPP || wrong("status", (uint64_t)status);
}

/* Beyond the end in every way arithmetic knows. */
static bool beyond(struct stage *s)
{
	const uint64_t end = sectors(s);
	const uint64_t at[] = {
		end,	      end - 1,		UINT64_C(1) << 55, (UINT64_C(1) << 55) - 1,
		~UINT64_C(0), ~UINT64_C(0) - 1, UINT64_C(1) << 63};
	size_t i;

	for (i = 0; i < sizeof(at) / sizeof(at[0]); i++)
		if (!fails(s, BLK_IN, at[i], 1024) || !fails(s, BLK_OUT, at[i], 1024))
			return wrong("sector", at[i]);
	return true;
}

/* Each buffer ends inside the disk, all together do not. */
static bool beyond_together(struct stage *s)
{
	struct vring *r = &s->v->ring[0];
	uint16_t i;
	int status;

	blk_request(s, BLK_OUT, sectors(s) - 1, BLK_DATA(s), 512, false);
	for (i = 1; i < 8; i++)
		v_desc(r, i, BLK_DATA(s), 512, VD_NEXT, (uint16_t)(i + 1));
	v_desc(r, 8, BLK_STATUS(s), 1, VD_WRITE, 0);
	status = ask(s);
	return status == S_IOERR || wrong("status", (uint64_t)status);
}

static bool odd_length(struct stage *s)
{
	static const uint32_t lengths[] = {1, 511, 513, 1023};
	size_t i;

	for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
		if (!fails(s, BLK_IN, 0, lengths[i]) || !fails(s, BLK_OUT, 0, lengths[i]))
			return wrong("length", lengths[i]);
	return true;
}

/* The second disk is read-only. */
static bool read_only(struct stage *s)
{
	struct stage on = *s;

	on.v = vbus_device(s->bus, V_ID_BLK, 1);
	if (!on.v)
		return wrong("no second disk", 1);
	/* Without negotiating RO. */
	if (!up(&on, on.v, 0, 16))
		return false;
	if (!fails(&on, BLK_OUT, 0, 512) || !fails(&on, BLK_DISCARD, 0, 16) ||
	    !fails(&on, BLK_WRITE_ZEROES, 0, 16))
		return false;
	return works(s, on.v);
}

static bool unknown_types(struct stage *s)
{
	static const uint32_t types[] = {2,  3,	 5,  7,	  9,	      10,	  12,
					 14, 15, 16, 100, 0x7fffffff, 0x80000000, 0xffffffff};
	size_t i;
	int status;

	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		blk_request(s, types[i], 0, BLK_DATA(s), 512, i & 1);
		status = ask(s);
		if (status != S_UNSUPP && status != S_IOERR)
			return wrong("status", (uint64_t)status);
	}
	/* Flush, discard and write-zeroes were not negotiated. */
	blk_request(s, BLK_FLUSH, 0, BLK_DATA(s), 0, false);
	if (ask(s) == S_OK)
		return wrong("a flush that was not negotiated", 0);
	return fails(s, BLK_DISCARD, 0, 16) && fails(s, BLK_WRITE_ZEROES, 0, 16);
}

static bool short_id(struct stage *s)
{
	unsigned int i, len;

	for (len = 0; len < 24; len += 5) {
		for (i = 0; i < 32; i++)
			BLK_DATA(s)[i] = 0xa5;
		blk_request(s, BLK_GET_ID, 0, BLK_DATA(s), len, true);
		if (ask(s) < 0)
			return false;
		for (i = len; i < 32; i++)
			if (BLK_DATA(s)[i] != 0xa5)
				return wrong("written behind the buffer at", i);
	}
	return true;
}

/* Ranges that are too many, too long, or half a range. */
static bool discard_ranges(struct stage *s)
{
	volatile struct {
		uint64_t sector;
		uint32_t sectors, flags;
	} *range = (volatile void *)BLK_DATA(s);
	unsigned int i;

	if (!up(s, s->v, ~UINT64_C(0) & ~(V_F_EVENT_IDX | V_F_RING_PACKED), 16))
		return false;
	for (i = 0; i < 200; i++) {
		range[i].sector = 0;
		range[i].sectors = 1;
		range[i].flags = 0;
	}
	if (!fails(s, BLK_DISCARD, 0, 200 * 16) || !fails(s, BLK_DISCARD, 0, 15) ||
	    !fails(s, BLK_DISCARD, 0, 17) || !fails(s, BLK_DISCARD, 0, 0))
		return false;
	range[0].sectors = 0xffffffff;
	if (!fails(s, BLK_DISCARD, 0, 16) || !fails(s, BLK_WRITE_ZEROES, 0, 16))
		return false;
	range[0].sectors = 8;
	range[0].sector = sectors(s) - 4;
	if (!fails(s, BLK_DISCARD, 0, 16) || !fails(s, BLK_WRITE_ZEROES, 0, 16))
		return false;
	range[0].sector = ~UINT64_C(0) - 3;
	if (!fails(s, BLK_DISCARD, 0, 16) || !fails(s, BLK_WRITE_ZEROES, 0, 16))
		return false;
	range[0].sector = 0;
	range[0].flags = 0xffffffff;
	return fails(s, BLK_DISCARD, 0, 16) && fails(s, BLK_WRITE_ZEROES, 0, 16);
}

/* The first sector becomes a qcow2 header that names a file of the host. */
static bool qcow2_header(struct stage *s)
{
	static const uint8_t header[] = {'Q', 'F', 'I', 0xfb, 0, 0,    0, 3, 0, 0,
					 0,   0,   0,	0,    0, 0x68, 0, 0, 0, 11};
	static const char name[] = "/etc/passwd";
	unsigned int i;

	for (i = 0; i < 512; i++)
		BLK_DATA(s)[i] = i < sizeof(header) ? header[i] : 0;
	for (i = 0; name[i]; i++)
		BLK_DATA(s)[0x68 + i] = (uint8_t)name[i];
	blk_request(s, BLK_OUT, 0, BLK_DATA(s), 512, false);
	if (ask(s))
		return wrong("a write fails", *BLK_STATUS(s));
	for (i = 0; i < 512; i++)
		BLK_DATA(s)[i] = 0;
	blk_request(s, BLK_IN, 0, BLK_DATA(s), 512, true);
	if (ask(s))
		return wrong("a read fails", *BLK_STATUS(s));
	return (BLK_DATA(s)[0] == 'Q' && BLK_DATA(s)[0x68] == '/') ||
	       wrong("sector 0 starts with", BLK_DATA(s)[0]);
}

const struct poke blk_pokes[] = {
	{"C1", V_ID_BLK, beyond},
	{"C1-sum", V_ID_BLK, beyond_together},
	{"C1-length", V_ID_BLK, odd_length},
	{"C2", V_ID_BLK, read_only},
	{"C3", V_ID_BLK, unknown_types},
	{"C3-id", V_ID_BLK, short_id},
	{"C3-ranges", V_ID_BLK, discard_ranges},
	{"E1", V_ID_BLK, qcow2_header},
	{NULL, 0, NULL},
};
